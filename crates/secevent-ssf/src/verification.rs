//! A receiver asks for a verification event (SSF 1.0 section 8.1.4.2).
//!
//! The answer is 204 with an empty body; the event, [`secevent::ssf::Verification`], follows on the stream.

use crate::members::Members;
use crate::{StreamId, Tolerance};
use secevent::Invalid;
use serde::Serialize;

/// A receiver's request for a verification event.
///
/// ```
/// use secevent_ssf::{Tolerance, VerificationRequest};
///
/// let request = VerificationRequest::read(br#"{"stream_id":"s1","state":"\u00fc\u4e16/+="}"#, Tolerance::NONE)?;
/// assert_eq!(request.state.as_deref(), Some("ü世/+="), "what the event will say, to the letter");
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerificationRequest {
    /// Which stream.
    #[serde(skip_serializing_if = "StreamId::is_implicit")]
    pub stream_id: StreamId,
    /// What the event shall carry, unchanged: its code points are kept, nothing is normalised (E-32).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl VerificationRequest {
    /// The longest state, in characters.
    pub const STATE_CHARS_MAX: usize = 1024;

    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-163")?;
        Ok(Self {
            stream_id: members.stream_id("SSF-159", tolerance)?,
            state: members.text_within("state", "SSF-159", Self::STATE_CHARS_MAX)?,
        })
    }

    /// The request as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings are always JSON")
    }
}
