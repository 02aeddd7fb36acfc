//! The status of a stream, read and set at the status endpoint (SSF 1.0 section 8.1.2).

use crate::members::{Members, missing};
use crate::{StreamId, Tolerance};
use secevent::Invalid;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Whether a stream sends, holds or drops its events.
///
/// ```
/// use secevent_ssf::Status;
///
/// assert_eq!("paused".parse(), Ok(Status::Paused));
/// assert!("PAUSED".parse::<Status>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Events are sent. A new stream starts so (E-36).
    #[default]
    Enabled,
    /// Events are held, for a time.
    Paused,
    /// Events are neither sent nor held.
    Disabled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Enabled, Self::Paused, Self::Disabled];

    /// The status as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

impl FromStr for Status {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == text);
        known.ok_or_else(|| Invalid::new("", "SSF-123", "must be enabled, paused or disabled"))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Status> for secevent::ssf::StreamStatus {
    fn from(status: Status) -> Self {
        Self::from(status.as_str())
    }
}

/// What the transmitter says of a stream's status: the answer to reading and to setting it.
///
/// ```
/// use secevent_ssf::{Status, StreamStatus};
///
/// let stream_id = "f67e39a0a4d34d56b3aa1bc4cff0069f".parse()?;
/// let paused = StreamStatus { stream_id, status: Status::Paused, reason: None };
/// assert_eq!(paused.to_json(), r#"{"stream_id":"f67e39a0a4d34d56b3aa1bc4cff0069f","status":"paused"}"#);
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamStatus {
    /// Which stream.
    #[serde(skip_serializing_if = "StreamId::is_implicit")]
    pub stream_id: StreamId,
    /// Its status.
    pub status: Status,
    /// Why it has that status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StreamStatus {
    /// Reads the transmitter's answer, as a receiver does.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-122")?;
        let stream_id = StreamId::from_answer(&members, "SSF-122", tolerance)?;
        Ok(Self {
            stream_id,
            status: status(&members, "SSF-122")?,
            reason: members.text("reason", "SSF-122")?,
        })
    }

    /// The answer as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings are always JSON")
    }
}

/// A receiver's request to set the status of a stream.
///
/// ```
/// use secevent_ssf::{Status, Tolerance, UpdateStatus};
///
/// let request = UpdateStatus::read(br#"{"stream_id":"s1","status":"paused"}"#, Tolerance::NONE)?;
/// assert_eq!(request.status, Status::Paused);
/// let error = UpdateStatus::read(br#"{"stream_id":"s1","status":"on"}"#, Tolerance::NONE).unwrap_err();
/// assert_eq!(error.to_string(), "`status` must be enabled, paused or disabled [SSF-123]");
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateStatus {
    /// Which stream.
    #[serde(skip_serializing_if = "StreamId::is_implicit")]
    pub stream_id: StreamId,
    /// The status that it shall have.
    pub status: Status,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl UpdateStatus {
    /// The longest reason, in characters.
    pub const REASON_CHARS_MAX: usize = 1000;

    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-132")?;
        Ok(Self {
            stream_id: members.stream_id("SSF-129", tolerance)?,
            status: status(&members, "SSF-132")?,
            reason: members.text_within("reason", "SSF-129", Self::REASON_CHARS_MAX)?,
        })
    }

    /// The request as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings are always JSON")
    }
}

fn status(members: &Members<'_>, rule: &'static str) -> Result<Status, Invalid> {
    let text = members.text("status", "SSF-123")?.ok_or_else(|| missing("status", rule))?;
    text.parse().map_err(|breach: Invalid| breach.within("status"))
}
