//! The name of a stream.

use crate::Tolerance;
use crate::members::{Members, missing};
use secevent::Invalid;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// The name that the transmitter gave to a stream.
///
/// A name of our own making has the unreserved characters of a URI only (SSF-72); parsing asks for that.
/// What a foreign transmitter calls its stream is taken as it is, and encoded where it goes into a URL.
///
/// ```
/// use secevent_ssf::StreamId;
///
/// let id: StreamId = "f67e39a0a4d34d56b3aa1bc4cff0069f".parse()?;
/// assert_eq!(id.query(), "stream_id=f67e39a0a4d34d56b3aa1bc4cff0069f");
/// assert_eq!(StreamId::foreign("a/b&c")?.query(), "stream_id=a%2Fb%26c");
/// assert!("a/b&c".parse::<StreamId>().is_err());
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StreamId(Cow<'static, str>);

impl StreamId {
    /// The longest name that parsing takes, in characters.
    pub const CHARS_MAX: usize = 128;

    /// The longest name of a foreign stream, in bytes.
    pub const FOREIGN_BYTES_MAX: usize = 1024;

    /// The only stream of a receiver, which the messages of SSE ID1 do not name (LEGACY-09). It is left out
    /// of what is written, and no stream that has a name is equal to it.
    pub const IMPLICIT: Self = Self(Cow::Borrowed(""));

    /// A name that a foreign transmitter made: any text that is not empty.
    pub fn foreign(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("", "SSF-71", "must not be empty"));
        }
        if text.len() > Self::FOREIGN_BYTES_MAX {
            return Err(Invalid::new("", "SSF-71", "must not be longer than 1024 bytes"));
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// Whether this is [`StreamId::IMPLICIT`].
    pub fn is_implicit(&self) -> bool {
        self.0.is_empty()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The query that names the stream, percent-encoded: what follows `?` when reading or deleting.
    pub fn query(&self) -> String {
        let mut query = String::from("stream_id=");
        for byte in self.0.bytes() {
            match char::from(byte) {
                plain if is_unreserved(byte) => query.push(plain),
                _ => write!(query, "%{byte:02X}").expect("a string takes any text"),
            }
        }
        query
    }

    /// The name in a transmitter's answer. Old peers have one stream and do not name it.
    pub(crate) fn from_answer(
        members: &Members<'_>,
        rule: &'static str,
        tolerance: Tolerance,
    ) -> Result<Self, Invalid> {
        match members.text("stream_id", rule)? {
            Some(text) => Self::foreign(&text).map_err(|breach| breach.within("stream_id")),
            None if tolerance.legacy => Ok(Self::IMPLICIT),
            None => Err(missing("stream_id", rule)),
        }
    }
}

impl FromStr for StreamId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > Self::CHARS_MAX || !text.bytes().all(is_unreserved) {
            let problem = "must be 1 to 128 characters out of letters, digits, - . _ ~";
            return Err(Invalid::new("", "SSF-72", problem));
        }
        Self::foreign(text)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StreamId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
