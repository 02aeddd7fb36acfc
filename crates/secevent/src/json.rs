//! JSON from strangers: read within bounds, once through, before anything else looks at it.
//!
//! [`check`] refuses what two parsers could read in two ways (a member named twice, lone surrogates, bytes
//! that are not UTF-8) and what would cost without end (size, nesting). Everything after it may trust the
//! text's form.

use crate::Invalid;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// The bounds within which foreign JSON is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes_max: usize,
    /// The deepest nesting of objects and arrays; the outermost counts as one.
    pub depth_max: usize,
}

impl Limits {
    /// For the claims of one token: 64 KiB, 16 levels.
    pub const TOKEN: Self = Self { bytes_max: 64 * 1024, depth_max: 16 };
    /// For a body of the management API or of a poll: 1 MiB, 16 levels.
    pub const BODY: Self = Self { bytes_max: 1024 * 1024, depth_max: 16 };
}

/// Checks that `bytes` are one JSON object within `limits` that every parser reads alike, and gives its text.
///
/// ```
/// use secevent::json::{Limits, check};
///
/// assert!(check(br#"{"iss":"https://idp.example"}"#, Limits::TOKEN).is_ok());
/// let twice = check(br#"{"sub_id":{"format":"opaque","id":"a","id":"b"}}"#, Limits::TOKEN).unwrap_err();
/// assert_eq!(twice.to_string(), "`sub_id.id` is there twice [E-33]");
/// ```
pub fn check(bytes: &[u8], limits: Limits) -> Result<&str, Invalid> {
    if bytes.len() > limits.bytes_max {
        return Err(Invalid::new("", "JWTBCP-19", format!("is longer than {} bytes", limits.bytes_max)));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Invalid::new("", "JWTBCP-09", "is not UTF-8"))?;
    let mut walk = Walk {
        names: Vec::with_capacity(NAMES_SEARCHED_MAX),
        depth: 0,
        depth_max: limits.depth_max,
        breach: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let walked = Value { walk: &mut walk, under: None }.deserialize(&mut json).and_then(|is_object| {
        json.end()?;
        Ok(is_object)
    });
    match (walked, walk.breach) {
        (Ok(true), _) => Ok(text),
        (Ok(false), _) => Err(Invalid::new("", "SET-01", "must be a JSON object")),
        (Err(_), Some(breach)) => Err(breach),
        (Err(error), None) => Err(syntax(&error)),
    }
}

/// The document without the byte order mark that some servers put before it.
///
/// For documents that are fetched, such as metadata and key sets (RFC 8259 section 8.1 allows a parser to skip the mark).
/// Tokens are read as they are.
pub fn without_bom(document: &[u8]) -> &[u8] {
    document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document)
}

/// What a parser says of text that is no JSON.
pub(crate) fn syntax(error: &serde_json::Error) -> Invalid {
    Invalid::new("", "RFC8259", format!("is not JSON: {}", problem(error)))
}

/// A parser's message with the place of the error: the column alone in the first line. JSON is often one line of
/// something longer, such as a batch of events, whose own line numbers would contradict "line 1".
///
/// ```
/// use secevent::json::problem;
///
/// let error = serde_json::from_str::<serde_json::Value>("{\"a\":1} x").unwrap_err();
/// assert_eq!(problem(&error), "trailing characters at column 9");
/// ```
pub fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    match error.line() {
        0 => what.to_owned(),
        1 => format!("{what} at column {}", error.column()),
        line => format!("{what} at line {line}, column {}", error.column()),
    }
}

struct Walk<'de> {
    /// The names of the members seen so far, of all objects that are open; each object looks at its own tail.
    names: Vec<Cow<'de, str>>,
    depth: usize,
    depth_max: usize,
    breach: Option<Invalid>,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(&mut self, breach: Invalid) -> E {
        self.breach = Some(breach);
        E::custom("refused")
    }

    fn locate(&mut self, place: &str) {
        self.breach = self.breach.take().map(|breach| breach.within(place));
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.depth_max {
            let problem = format!("is nested deeper than {} levels", self.depth_max);
            return Err(self.refuse(Invalid::new("", "JWTBCP-19", problem)));
        }
        Ok(())
    }
}

/// One value; deserializing it tells whether it is an object.
struct Value<'w, 'de> {
    walk: &'w mut Walk<'de>,
    /// The name of the member that this is the value of.
    under: Option<&'w str>,
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        self.walk.enter()?;
        let first = self.walk.names.len();
        // A short object is searched in its own list; a long one, which only an attacker sends, by hash.
        let mut many: Option<HashSet<Cow<'de, str>>> = None;
        while let Some(name) = map.next_key_seed(Name)? {
            let seen = &self.walk.names[first..];
            let twice = match &mut many {
                None => seen.contains(&name),
                Some(many) => !many.insert(name.clone()),
            };
            if twice {
                let rule =
                    if self.walk.depth == 2 && self.under == Some("events") { "SET-15" } else { "E-33" };
                return Err(self.walk.refuse(Invalid::new(name, rule, "is there twice")));
            }
            if name == RAW_VALUE {
                return Err(self.walk.refuse(Invalid::new(name, "RFC8259", "is no name for a member here")));
            }
            if many.is_none() {
                self.walk.names.push(name.clone());
                if self.walk.names.len() - first > NAMES_SEARCHED_MAX {
                    many = Some(self.walk.names[first..].iter().cloned().collect());
                }
            }
            if let Err(error) = map.next_value_seed(Value { walk: self.walk, under: Some(&name) }) {
                self.walk.locate(&name);
                return Err(error);
            }
        }
        self.walk.names.truncate(first);
        self.walk.depth -= 1;
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        self.walk.enter()?;
        let mut place = 0;
        loop {
            match seq.next_element_seed(Value { walk: self.walk, under: None }) {
                Ok(Some(_)) => place += 1,
                Ok(None) => break,
                Err(error) => {
                    self.walk.locate(&format!("[{place}]"));
                    return Err(error);
                }
            }
        }
        self.walk.depth -= 1;
        Ok(false)
    }

    fn visit_borrowed_str<E>(self, _: &'de str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

const NAMES_SEARCHED_MAX: usize = 16;

/// How `serde_json` marks a value that it carries as text. A stranger's object with such a member would become
/// whatever JSON that text holds, past every check here.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// A member name, borrowed from the text unless it is written with escapes.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(16), "]".repeat(16));
        let many: String = (0..40).map(|n| format!("\"m{n}\":{n},")).collect();
        let cases: &[(&str, &str)] = &[
            ("{}", ""),
            (r#" {"a":[1,-2,3.5,true,null,"x",{"b":"\u00e9"}]} "#, ""),
            (&format!("{{{many}\"last\":1}}"), ""),
            (&format!("{{{many}\"m7\":1}}"), "`m7` is there twice [E-33]"),
            (r#"{"a":1,"\u0061":2}"#, "`a` is there twice [E-33]"),
            (r#"{"x":[0,{"y":{"z":1,"z":1}}]}"#, "`x[1].y.z` is there twice [E-33]"),
            (r#"{"events":{"u:1":{},"u:1":{}}}"#, "`events.u:1` is there twice [SET-15]"),
            (
                r#"{"sub_id":{"$serde_json::private::RawValue":"{\"a\":1,\"a\":2}"}}"#,
                "`sub_id.$serde_json::private::RawValue` is no name for a member here [RFC8259]",
            ),
            ("[]", "the document must be a JSON object [SET-01]"),
            ("3", "the document must be a JSON object [SET-01]"),
            (&deep, "is nested deeper than 16 levels [JWTBCP-19]"),
            ("", "the document is not JSON: EOF while parsing a value at column 0 [RFC8259]"),
            (r#"{"a":1} {"b":2}"#, "the document is not JSON: trailing characters at column 9 [RFC8259]"),
            (r#"{"a":"\ud800"}"#, "is not JSON"),
            (r#"{"a":1,}"#, "is not JSON"),
        ];
        for (text, refusal) in cases {
            match check(text.as_bytes(), Limits::TOKEN) {
                Ok(back) => assert_eq!((back, *refusal), (*text, "")),
                Err(error) => {
                    assert!(
                        !refusal.is_empty() && error.to_string().ends_with(refusal)
                            || error.to_string().contains(refusal),
                        "{text}: {error}"
                    );
                    assert!(!refusal.is_empty(), "{text}: {error}");
                }
            }
        }
        assert_eq!(check(b"{\"a\":\"\xff\"}", Limits::TOKEN).unwrap_err().rule(), "JWTBCP-09");
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024));
        assert_eq!(check(long.as_bytes(), Limits::TOKEN).unwrap_err().rule(), "JWTBCP-19");
    }
}
