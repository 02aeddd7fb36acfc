//! `risk-level-change`: the assessed risk of a subject changed (CAEP 1.0 section 3.8).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::text_enum::text_enum;
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// The assessed risk of the subject changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskLevelChange {
    /// The kind of entity at risk.
    pub principal: Principal,
    /// The level now.
    pub current_level: RiskLevel,
    /// The level before. Its absence means that the transmitter does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_level: Option<RiskLevel>,
    /// Why the level changed; it should be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_reason: Option<String>,
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

impl RiskLevelChange {
    /// The event with its required members alone.
    pub fn new(principal: Principal, current_level: RiskLevel) -> Self {
        Self {
            principal,
            current_level,
            previous_level: None,
            risk_reason: None,
            event_timestamp: None,
            initiating_entity: None,
            reason_admin: None,
            reason_user: None,
        }
    }
}

impl EventType for RiskLevelChange {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change";
    const NAME: &'static str = "caep:risk-level-change";
    const ABOUT: &'static str = "The assessed risk of a subject changed.";
    const MEMBERS: &'static [Member] = &[
        Member::required("principal", Shape::Suggested(Principal::KNOWN), "CAEP-32"),
        Member::required("current_level", Shape::OneOf(RiskLevel::KNOWN), "CAEP-33"),
        Member::optional("previous_level", Shape::OneOf(RiskLevel::KNOWN), "CAEP-34"),
        Member::optional("risk_reason", Shape::Text, "CAEP-35"),
        event_timestamp("CAEP-35"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}

text_enum! {
    /// The kind of entity at risk (CAEP 1.0 section 3.8.1). Other principals of SSF may be named too.
    Principal {
        /// A user.
        User = "USER",
        /// A device.
        Device = "DEVICE",
        /// A session.
        Session = "SESSION",
        /// A tenant.
        Tenant = "TENANT",
        /// An organisational unit.
        OrgUnit = "ORG_UNIT",
        /// A group.
        Group = "GROUP",
    }
}

text_enum! {
    /// How high a risk is (CAEP 1.0 section 3.8.1).
    RiskLevel {
        /// Low.
        Low = "LOW",
        /// Medium.
        Medium = "MEDIUM",
        /// High.
        High = "HIGH",
    }
}
