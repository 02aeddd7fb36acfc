//! `verification`: proof that a stream works end to end (SSF 1.0 section 8.1.4.1).

use crate::{EventType, Member, Shape, SubjectRule};
use serde::{Deserialize, Serialize};

/// Proof that a stream works end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// What the receiver gave along when it asked, unchanged; none if the transmitter began by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl EventType for Verification {
    const URI: &'static str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    const NAME: &'static str = "ssf:verification";
    const ABOUT: &'static str =
        "Proof that a stream works end to end; carries back the state the receiver chose.";
    // SSE ID1 (LEGACY-04) and Google (LEGACY-19).
    const ALIASES: &'static [&'static str] = &[
        "https://schemas.openid.net/secevent/sse/event-type/verification",
        "https://schemas.openid.net/secevent/risc/event-type/verification",
    ];
    const MEMBERS: &'static [Member] = &[Member::optional("state", Shape::Text, "SSF-155")];
    const SUBJECT: SubjectRule = SubjectRule::Formats(&["opaque"], "SSF-154");
}
