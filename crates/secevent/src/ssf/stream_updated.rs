//! `stream-updated`: the transmitter changed the status of the stream on its own (SSF 1.0 section 8.1.5).

use crate::text_enum::text_enum;
use crate::{EventType, Member, Shape, SubjectRule};
use serde::{Deserialize, Serialize};

/// The transmitter changed the status of the stream on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamUpdated {
    /// The status now.
    pub status: StreamStatus,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StreamUpdated {
    /// The event with its required member alone.
    pub fn new(status: StreamStatus) -> Self {
        Self { status, reason: None }
    }
}

impl EventType for StreamUpdated {
    const URI: &'static str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
    const NAME: &'static str = "ssf:stream-updated";
    const ABOUT: &'static str = "The transmitter changed the status of the stream on its own.";
    // SSE ID1 (LEGACY-04).
    const ALIASES: &'static [&'static str] =
        &["https://schemas.openid.net/secevent/sse/event-type/stream-updated"];
    const MEMBERS: &'static [Member] = &[
        Member::required("status", Shape::OneOf(StreamStatus::KNOWN), "SSF-166"),
        Member::optional("reason", Shape::Text, "SSF-166"),
    ];
    const SUBJECT: SubjectRule = SubjectRule::Formats(&["opaque"], "SSF-167");
}

text_enum! {
    /// Whether a stream sends, holds or drops its events (SSF 1.0 section 8.1.2).
    StreamStatus {
        /// Events are sent.
        Enabled = "enabled",
        /// Events are held, for a time.
        Paused = "paused",
        /// Events are neither sent nor held.
        Disabled = "disabled",
    }
}
