//! Which subjects a stream is about: added and removed by the receiver (SSF 1.0 sections 8.1.3.2, 8.1.3.3).
//!
//! Both answers have an empty body: 200 for adding, 204 for removing. A success promises no events (SSF-143).

use crate::members::Members;
use crate::{StreamId, Tolerance};
use secevent::{Invalid, Subject};
use serde::Serialize;

/// A receiver's request to add a subject to a stream.
///
/// ```
/// use secevent_ssf::{AddSubject, Tolerance};
///
/// let body = br#"{"stream_id":"s1","subject":{"format":"email","email":"alice@example.com"}}"#;
/// let request = AddSubject::read(body, Tolerance::NONE)?;
/// assert!(request.verified, "that is how a request without `verified` is meant");
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddSubject {
    /// Which stream.
    #[serde(skip_serializing_if = "StreamId::is_implicit")]
    pub stream_id: StreamId,
    /// Whom to add.
    pub subject: Subject,
    /// Whether the receiver has verified that the subject is who it says; absent counts as true (SSF-140).
    pub verified: bool,
}

impl AddSubject {
    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-144")?;
        Ok(Self {
            stream_id: members.stream_id("SSF-139", tolerance)?,
            subject: members.subject("SSF-139", tolerance)?,
            verified: members.boolean("verified", "SSF-139")?.unwrap_or(true),
        })
    }

    /// The request as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("subjects are always JSON")
    }
}

/// A receiver's request to remove a subject from a stream.
///
/// ```
/// use secevent_ssf::RemoveSubject;
///
/// let subject = secevent::Subject::opaque("u-1")?;
/// let request = RemoveSubject { stream_id: "s1".parse()?, subject };
/// assert_eq!(request.to_json(), r#"{"stream_id":"s1","subject":{"format":"opaque","id":"u-1"}}"#);
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemoveSubject {
    /// Which stream.
    #[serde(skip_serializing_if = "StreamId::is_implicit")]
    pub stream_id: StreamId,
    /// Whom to remove.
    pub subject: Subject,
}

impl RemoveSubject {
    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-148")?;
        Ok(Self {
            stream_id: members.stream_id("SSF-146", tolerance)?,
            subject: members.subject("SSF-146", tolerance)?,
        })
    }

    /// The request as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("subjects are always JSON")
    }
}
