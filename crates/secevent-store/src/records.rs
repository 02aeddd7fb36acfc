//! Events as they are kept: looked at one by one, and erased for good.

use crate::{BoxFuture, Epoch, Rendering, Sequence, StoreError, StreamNumber};
use bytes::Bytes;
use secevent::Timestamp;
use std::sync::Arc;

/// An event, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// In which life of the writer it was recorded.
    pub epoch: Epoch,
    /// Its place.
    pub sequence: Sequence,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The claims that all its SETs share. Empty if it was erased.
    pub body: Bytes,
    /// Fingerprints of its subject's identifiers.
    pub lanes: Arc<[u64]>,
    /// What its producer calls it.
    pub name: Option<String>,
    /// To which streams' regular queues it was owed, and how it was rendered for them.
    pub owed: Vec<(StreamNumber, Rendering)>,
}

/// Something that is to be erased. It is overwritten where it lies, as far as the store can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erase {
    /// An event: what it says, whom it is about and what its producer called it. To these streams it is owed no more,
    /// which is counted as dropped, nor is it dead there.
    Event {
        /// Its place.
        sequence: Sequence,
        /// To which streams it may be owed, in whichever queue.
        streams: Vec<StreamNumber>,
        /// When.
        at: Timestamp,
    },
    /// What an event's producer called it.
    Name(Sequence),
    /// What was said when a delivery died: it becomes this.
    Reason {
        /// Where it is kept.
        place: crate::Place,
        /// What is left of it.
        becomes: String,
    },
    /// What a change was from and to, and of what: it becomes this.
    Change {
        /// Its place in the log.
        place: u64,
        /// The object.
        object: String,
        /// Before.
        before: Option<String>,
        /// After.
        after: Option<String>,
    },
}

/// How much was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Events that said something.
    pub events: u64,
    /// Deliveries that were owed.
    pub dropped: u64,
    /// Dead deliveries.
    pub dead: u64,
    /// Names that producers gave, of other events.
    pub names: u64,
    /// Reasons of other dead deliveries.
    pub reasons: u64,
    /// Changes in the log.
    pub changes: u64,
}

impl Erased {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            dropped: self.dropped + other.dropped,
            dead: self.dead + other.dead,
            names: self.names + other.names,
            reasons: self.reasons + other.reasons,
            changes: self.changes + other.changes,
        }
    }
}

/// Where texts are still found in the files of a store, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces(pub Vec<(String, u64)>);

impl Traces {
    /// How often in all.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

/// Texts that are looked for, such as an e-mail address: each as a word of its own, in whatever letter case.
///
/// ```
/// use secevent_store::Texts;
///
/// let texts = Texts::new(["ann@example.com"]);
/// assert!(texts.are_in(br#"{"email":"Ann@Example.com"}"#));
/// assert!(!texts.are_in(b"joann@example.com"));
/// assert_eq!(texts.masked("asked for Ann@example.com."), Some("asked for (erased).".to_owned()));
/// ```
#[derive(Clone)]
pub struct Texts(Arc<[String]>);

impl Texts {
    /// These texts. Those that are empty are left out.
    pub fn new<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        let lower = texts.into_iter().map(|text| text.into().to_ascii_lowercase());
        Self(lower.filter(|text| !text.is_empty()).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of the longest.
    pub fn longest(&self) -> usize {
        self.0.iter().map(String::len).max().unwrap_or(0)
    }

    /// Whether one of them is in there.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        !self.0.is_empty() && self.find(&bytes.to_ascii_lowercase(), 0, is_of_a_word).is_some()
    }

    /// Whether one of them is in a name that a program made, such as `logout-ann@example.com_7`: what joins words there
    /// ends them. It may be found in a name of somebody else: `jo-ann@example.com`.
    pub fn are_in_name(&self, name: &str) -> bool {
        let lower = name.as_bytes().to_ascii_lowercase();
        !self.0.is_empty()
            && self.find(&lower, 0, |byte| byte.is_ascii_alphanumeric() || byte >= 0x80).is_some()
    }

    /// The text without them. None if they are not in it.
    pub fn masked(&self, text: &str) -> Option<String> {
        let lower = text.as_bytes().to_ascii_lowercase();
        let (mut from, mut masked) = (0, String::new());
        while let Some((at, length)) = self.find(&lower, from, is_of_a_word) {
            masked.push_str(&text[from..at]);
            masked.push_str("(erased)");
            from = at + length;
        }
        (from > 0).then(|| masked + &text[from..])
    }

    /// Where each of them begins, before `end`, also within other words. In a file there is no telling where a word
    /// ends: what lies beside it may be another column.
    pub fn places_in(&self, bytes: &[u8], end: usize) -> Vec<usize> {
        let lower = bytes.to_ascii_lowercase();
        let of = |text: &String| {
            memchr::memmem::find_iter(&lower, text.as_bytes()).take_while(|at| *at < end).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Where the first of them begins, behind `from`, and how long it is. A word is made of what `is_of_a_word` says.
    fn find(&self, lower: &[u8], from: usize, is_of_a_word: fn(u8) -> bool) -> Option<(usize, usize)> {
        let first_of = |text: &String| {
            let text = text.as_bytes();
            let mut at = from;
            loop {
                at += memchr::memmem::find(lower.get(at..)?, text)?;
                let (before, behind) = (at.checked_sub(1).map(|at| lower[at]), lower.get(at + text.len()));
                // A dot may be that of an address, or end a sentence.
                let continues = |next: &u8| is_of_a_word(*next);
                if !before.is_some_and(|byte| is_of_a_word(byte) || byte == b'.')
                    && !behind.is_some_and(continues)
                {
                    return Some((at, text.len()));
                }
                at += 1;
            }
        };
        self.0.iter().filter_map(first_of).min()
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whom they name is nobody's business.
        write!(f, "Texts({})", self.0.len())
    }
}

fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'%' | 0x80..)
}

/// Events as they are kept, in the same store as [`Outbox`](crate::Outbox).
pub trait Records: Send + Sync {
    /// The event at this place.
    fn event(&self, sequence: Sequence) -> BoxFuture<'_, Result<Option<Kept>, StoreError>>;

    /// Events behind `after`, in order: `limit` at most, and perhaps fewer although there are more. None are left if
    /// there are none.
    fn events(&self, after: Sequence, limit: usize) -> BoxFuture<'_, Result<Vec<Kept>, StoreError>>;

    /// Erases. Once this returns nobody reads it any more, and a crash does not bring it back.
    fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'_, Result<Erased, StoreError>>;

    /// Clears what is left of anything that was erased in the files of the store, beside what they are read by, and
    /// finds where the texts are still in there, perhaps within other words. With `rewrite` all of it is rewritten, which takes time,
    /// and other writers wait meanwhile.
    fn clear_traces(&self, texts: Texts, rewrite: bool) -> BoxFuture<'_, Result<Traces, StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_as_words_and_in_files_anywhere() {
        let texts = Texts::new(["ann@example.com", "", "+4915112345678"]);
        for (there, is_in, count) in [
            ("", false, 0),
            ("ann@example.com", true, 1),
            ("\"ANN@example.com\",\"ann@example.com\"", true, 2),
            ("joann@example.com", false, 1),
            ("jo.ann@example.com", false, 1),
            ("ann@example.community", false, 1),
            ("mailto:ann@example.com, tel:+4915112345678!", true, 2),
            ("+49151123456789", false, 1),
            ("joann@example.com ann@example.com.", true, 2),
            ("ünn@example.com annann@example.com", false, 1),
            ("ann@example.org", false, 0),
        ] {
            assert_eq!(texts.are_in(there.as_bytes()), is_in, "{there}");
            assert_eq!(texts.masked(there).is_some(), is_in, "{there}");
            assert_eq!(texts.places_in(there.as_bytes(), there.len()).len(), count, "{there}");
        }
        assert_eq!(texts.places_in(b"ann@example.com ann@example.com", 16), [0], "the second begins at 16");
        for (name, is_in) in [
            ("logout-Ann@example.com", true),
            ("ann@example.com_7", true),
            ("acct:ann@example.com", true),
            ("joann@example.com", false),
            ("jo.ann@example.com", false),
        ] {
            assert_eq!(texts.are_in_name(name), is_in, "{name}");
        }
        assert!(!format!("{texts:?}").contains("ann"));
    }
}
