//! `assurance-level-change`: the strength of authentication behind a login changed (CAEP 1.0 section 3.4).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::text_enum::text_enum;
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// The strength of the authentication behind a login went up or down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssuranceLevelChange {
    /// Where the names of the levels come from.
    pub namespace: Namespace,
    /// The level now.
    pub current_level: String,
    /// The level before. Its absence means that the transmitter does not know it, nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_level: Option<String>,
    /// Whether the level went up or down; it should be given along with the level before (CAEP-23).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_direction: Option<ChangeDirection>,
    /// When the level changed.
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

impl AssuranceLevelChange {
    /// The event with its required members alone.
    pub fn new(namespace: Namespace, current_level: impl Into<String>) -> Self {
        Self {
            namespace,
            current_level: current_level.into(),
            previous_level: None,
            change_direction: None,
            event_timestamp: None,
            initiating_entity: None,
            reason_admin: None,
            reason_user: None,
        }
    }
}

impl EventType for AssuranceLevelChange {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change";
    const NAME: &'static str = "caep:assurance-level-change";
    const ABOUT: &'static str = "The strength of authentication behind a login went up or down.";
    const MEMBERS: &'static [Member] = &[
        Member::required("namespace", Shape::Suggested(Namespace::KNOWN), "CAEP-19"),
        Member::required("current_level", Shape::Text, "CAEP-20"),
        Member::optional("previous_level", Shape::Text, "CAEP-21"),
        Member::optional("change_direction", Shape::OneOf(ChangeDirection::KNOWN), "CAEP-24"),
        event_timestamp("CAEP-20"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}

text_enum! {
    /// Where the names of assurance levels come from (CAEP 1.0 section 3.4.1). The parties may agree on more.
    Namespace {
        /// Authentication method references.
        Rfc8176 = "RFC8176",
        /// The registry of level of assurance profiles.
        Rfc6711 = "RFC6711",
        /// ISO/IEC 29115.
        IsoIec29115 = "ISO-IEC-29115",
        /// NIST identity assurance levels.
        NistIal = "NIST-IAL",
        /// NIST authenticator assurance levels.
        NistAal = "NIST-AAL",
        /// NIST federation assurance levels.
        NistFal = "NIST-FAL",
    }
}

text_enum! {
    /// Which way an assurance level moved (CAEP 1.0 section 3.4.1).
    ChangeDirection {
        /// The level is higher than before.
        Increase = "increase",
        /// The level is lower than before.
        Decrease = "decrease",
    }
}
