//! `session-presented`: the transmitter saw a live session of the subject (CAEP 1.0 section 3.7).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// The transmitter saw a live session of the subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPresented {
    /// A fingerprint of the user agent. It describes a browser and never identifies a session (CAEP-29).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp_ua: Option<String>,
    /// An identifier of the session outside, to correlate by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_id: Option<String>,
    /// When the session was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_timestamp: Option<Timestamp>,
    /// Who set it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiating_entity: Option<InitiatingEntity>,
    /// The reason, for logs and auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<ByLanguage>,
    /// The reason, for the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<ByLanguage>,
}

impl EventType for SessionPresented {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/session-presented";
    const NAME: &'static str = "caep:session-presented";
    const ABOUT: &'static str = "The transmitter saw a live session of the subject.";
    const MEMBERS: &'static [Member] = &[
        Member::optional("fp_ua", Shape::Text, "CAEP-30"),
        Member::optional("ext_id", Shape::Text, "CAEP-30"),
        event_timestamp("CAEP-31"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}
