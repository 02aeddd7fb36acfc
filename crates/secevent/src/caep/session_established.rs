//! `session-established`: the transmitter opened a new session for the subject (CAEP 1.0 section 3.6).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// The transmitter opened a new session for the subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEstablished {
    /// A fingerprint of the user agent. It describes a browser and never identifies a session (CAEP-29).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp_ua: Option<String>,
    /// The authentication context class, as in an ID Token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The authentication methods, as in an ID Token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
    /// An identifier of the session outside, to correlate by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_id: Option<String>,
    /// When the session was established; where it is missing, `toe` and then `iat` tell (E-64).
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

impl EventType for SessionEstablished {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/session-established";
    const NAME: &'static str = "caep:session-established";
    const ABOUT: &'static str = "The transmitter opened a new session for the subject.";
    const MEMBERS: &'static [Member] = &[
        Member::optional("fp_ua", Shape::Text, "CAEP-26"),
        Member::optional("acr", Shape::Text, "CAEP-26"),
        Member::optional("amr", Shape::Texts, "CAEP-27"),
        Member::optional("ext_id", Shape::Text, "CAEP-26"),
        event_timestamp("CAEP-28"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}
