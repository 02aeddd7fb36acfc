//! How an operator names a stream or a replay: by its identifier, by the name that configuration gives it, or by the
//! beginning of its identifier. What an operator asks for finds its stream here, and nowhere else.

use crate::recover::RecoverError;
use crate::transmitter::Transmitter;
use secevent_ssf::StreamId;
use std::fmt;

/// Why a text does not name one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It names nothing. What was looked for, such as `stream`.
    Unknown(&'static str),
    /// It names nothing, and is too short for the beginning of an identifier ([`NameError::PREFIX_CHARS_MIN`]).
    TooShort(&'static str),
    /// It names several things.
    Ambiguous {
        /// What was looked for, such as `stream`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The first of them, [`NameError::CANDIDATES_MAX`] at most: each its identifier, and what is known of it.
        candidates: Vec<String>,
    },
}

impl NameError {
    /// So many characters of an identifier name something, if no other identifier begins with them.
    pub const PREFIX_CHARS_MIN: usize = 4;
    /// So many candidates are listed.
    pub const CANDIDATES_MAX: usize = 5;
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(what) => write!(f, "there is no such {what}"),
            Self::TooShort(what) => write!(
                f,
                "there is no such {what}: of an identifier, give {} characters or more",
                Self::PREFIX_CHARS_MIN
            ),
            Self::Ambiguous { what, count, candidates } => {
                write!(
                    f,
                    "this names {count} {what}s, give more of the identifier: {}",
                    candidates.join(", ")
                )?;
                if *count > candidates.len() {
                    write!(f, ", …")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for NameError {}

/// How well a text fits something: the best wins, so that a whole identifier is never taken for the beginning of another
/// one, and a name never for the beginning of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Identifier,
    Name,
    /// The name of what configuration does not declare any more.
    FormerName,
    Prefix,
}

fn fit(text: &str, id: &str, name: Option<(&str, bool)>) -> Option<Fit> {
    match name {
        _ if text == id => Some(Fit::Identifier),
        Some((name, is_withdrawn)) if text == name => {
            Some(if is_withdrawn { Fit::FormerName } else { Fit::Name })
        }
        _ if text.len() >= NameError::PREFIX_CHARS_MIN && id.starts_with(text) => Some(Fit::Prefix),
        _ => None,
    }
}

/// The only one that fits best: its identifier.
fn pick(
    text: &str,
    what: &'static str,
    fitting: impl Iterator<Item = (Fit, String, String)>,
) -> Result<String, NameError> {
    let mut all: Vec<_> = fitting.collect();
    let best = all.iter().map(|(fit, ..)| *fit).min();
    all.retain(|(fit, ..)| Some(*fit) == best);
    match all.len() {
        1 => Ok(all.remove(0).1),
        0 if text.len() < NameError::PREFIX_CHARS_MIN => Err(NameError::TooShort(what)),
        0 => Err(NameError::Unknown(what)),
        count => {
            all.sort_unstable_by(|(_, one, _), (_, other, _)| one.cmp(other));
            let listed = all.into_iter().take(NameError::CANDIDATES_MAX);
            let candidates = listed.map(|(_, id, of)| format!("{id} ({of})")).collect();
            Err(NameError::Ambiguous { what, count, candidates })
        }
    }
}

impl Transmitter {
    /// The stream that an operator names: by its whole identifier, by the name that configuration gives it, or by 4 and
    /// more characters with which its identifier alone begins. An identifier wins over a name, and a name over the
    /// beginning of an identifier. The name of a stream that configuration does not declare any more stands until
    /// another one has it.
    pub fn find_stream(&self, text: &str) -> Result<StreamId, NameError> {
        if let Some(entry) = self.table.by_id(text) {
            return Ok(entry.settings().stream.stream_id());
        }
        let entries = self.table.all();
        let fitting = entries.iter().filter_map(|entry| {
            let settings = entry.settings();
            let stream = &settings.stream;
            let fit = fit(text, &stream.id, stream.declared_name())?;
            let of = match stream.declared_name() {
                Some((name, _)) => format!("{name:?} of client {:?}", stream.client),
                None => format!("of client {:?}", stream.client),
            };
            Some((fit, stream.id.clone(), of))
        });
        let id = pick(text, "stream", fitting)?;
        Ok(id.parse().expect("the identifiers that we give are well-formed"))
    }

    /// The name by which configuration declares this stream, or did.
    pub fn stream_name(&self, id: &StreamId) -> Option<String> {
        let entry = self.table.by_id(id.as_str())?;
        entry.settings().stream.declared_name().map(|(name, _)| name.to_owned())
    }

    /// The replay that an operator names: by its identifier, or by 4 and more characters with which its identifier alone
    /// begins.
    pub async fn find_replay(&self, text: &str) -> Result<String, RecoverError> {
        // They are few: those that are under way, and the last that ended.
        let replays = self.replays().await?;
        let fitting = replays.iter().filter_map(|replay| {
            let fit = fit(text, &replay.id, None)?;
            Some((fit, replay.id.clone(), format!("of stream {}", replay.stream)))
        });
        Ok(pick(text, "replay", fitting)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: C2
    #[test]
    fn the_best_fit_wins_and_two_of_a_kind_are_told() {
        let things = [
            ("abcd", Some(("main", false))),
            ("abcdef01", None),
            ("abcdef02", Some(("abcdef", false))),
            ("0123ffff", Some(("old", true))),
            ("4567ffff", Some(("old", false))),
            ("89abffff", Some(("gone", true))),
            ("89ac0000", Some(("twice", false))),
            ("89ac0001", Some(("twice", false))),
        ];
        let find = |text: &str| {
            let fitting = things.iter().filter_map(|(id, name)| {
                Some((fit(text, id, *name)?, (*id).to_owned(), "of client x".to_owned()))
            });
            pick(text, "stream", fitting)
        };
        for (text, id) in [
            ("abcd", "abcd"),
            ("main", "abcd"),
            ("abcdef01", "abcdef01"),
            ("abcdef", "abcdef02"),
            ("old", "4567ffff"),
            ("gone", "89abffff"),
            ("89ab", "89abffff"),
            ("0123", "0123ffff"),
        ] {
            assert_eq!(find(text).as_deref(), Ok(id), "{text}");
        }
        for text in ["", "a", "89a", "mai"] {
            assert_eq!(find(text), Err(NameError::TooShort("stream")), "{text}");
        }
        for text in ["ffff", "abcdef03", "ABCDEF01", "mains", "abcdef01 "] {
            assert_eq!(find(text), Err(NameError::Unknown("stream")), "{text}");
        }
        for text in ["89ac", "twice", "89ac000"] {
            let told = find(text).unwrap_err().to_string();
            assert_eq!(
                told,
                "this names 2 streams, give more of the identifier: 89ac0000 (of client x), 89ac0001 (of client x)"
            );
        }
    }

    #[test]
    fn a_long_list_of_candidates_is_cut() {
        let fitting = (0..9).map(|number| (Fit::Prefix, format!("abcd{number}"), "of client x".to_owned()));
        let Err(NameError::Ambiguous { count, candidates, .. }) = pick("abcd", "stream", fitting) else {
            panic!("it is not ambiguous")
        };
        assert_eq!((count, candidates.len()), (9, NameError::CANDIDATES_MAX));
    }
}
