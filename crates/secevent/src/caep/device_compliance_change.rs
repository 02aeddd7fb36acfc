//! `device-compliance-change`: a device became compliant or stopped being so (CAEP 1.0 section 3.5).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::text_enum::text_enum;
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// A device became compliant with policy, or stopped being so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceComplianceChange {
    /// The status before.
    pub previous_status: ComplianceStatus,
    /// The status now.
    pub current_status: ComplianceStatus,
    /// When the status changed.
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

impl DeviceComplianceChange {
    /// The event with its required members alone.
    pub fn new(previous_status: ComplianceStatus, current_status: ComplianceStatus) -> Self {
        Self {
            previous_status,
            current_status,
            event_timestamp: None,
            initiating_entity: None,
            reason_admin: None,
            reason_user: None,
        }
    }
}

impl EventType for DeviceComplianceChange {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change";
    const NAME: &'static str = "caep:device-compliance-change";
    const ABOUT: &'static str = "A device became compliant or stopped being so.";
    const MEMBERS: &'static [Member] = &[
        Member::required("previous_status", Shape::OneOf(ComplianceStatus::KNOWN), "CAEP-25"),
        Member::required("current_status", Shape::OneOf(ComplianceStatus::KNOWN), "CAEP-25"),
        event_timestamp("CAEP-25"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}

text_enum! {
    /// Whether a device complies with policy (CAEP 1.0 section 3.5.1).
    ComplianceStatus {
        /// It does.
        Compliant = "compliant",
        /// It does not.
        NotCompliant = "not-compliant",
    }
}
