//! Continuous Access Evaluation Profile 1.0: what changed about a session, a credential, a device.
//!
//! ```
//! use secevent::ByLanguage;
//! use secevent::caep::{InitiatingEntity, SessionRevoked};
//!
//! let revoked = SessionRevoked {
//!     initiating_entity: Some(InitiatingEntity::Policy),
//!     reason_admin: Some(ByLanguage::english("Landspeed policy violation: C076E82F")),
//!     ..SessionRevoked::default()
//! };
//! # let _ = revoked;
//! ```

mod assurance_level_change;
mod credential_change;
mod device_compliance_change;
mod risk_level_change;
mod session_established;
mod session_presented;
mod session_revoked;
mod token_claims_change;

pub use assurance_level_change::{AssuranceLevelChange, ChangeDirection, Namespace};
pub use credential_change::{ChangeType, CredentialChange, CredentialType};
pub use device_compliance_change::{ComplianceStatus, DeviceComplianceChange};
pub use risk_level_change::{Principal, RiskLevel, RiskLevelChange};
pub use session_established::SessionEstablished;
pub use session_presented::SessionPresented;
pub use session_revoked::SessionRevoked;
pub use token_claims_change::TokenClaimsChange;

use crate::event::{Definition, Member, Shape};
use crate::text_enum::text_enum;

/// All event types of CAEP, in the order of its text.
pub(crate) static DEFINITIONS: [Definition; 8] = [
    Definition::of::<SessionRevoked>(),
    Definition::of::<TokenClaimsChange>(),
    Definition::of::<CredentialChange>(),
    Definition::of::<AssuranceLevelChange>(),
    Definition::of::<DeviceComplianceChange>(),
    Definition::of::<SessionEstablished>(),
    Definition::of::<SessionPresented>(),
    Definition::of::<RiskLevelChange>(),
];

text_enum! {
    /// Who set an event off (CAEP 1.0 section 2).
    InitiatingEntity {
        /// An administrator.
        Admin = "admin",
        /// The end user.
        User = "user",
        /// A policy.
        Policy = "policy",
        /// The system, for example a schedule or a clean-up.
        System = "system",
    }
}

/// When the thing happened (CAEP 1.0 section 2); `rule` is the row that gives it its meaning in one event.
const fn event_timestamp(rule: &'static str) -> Member {
    Member::optional("event_timestamp", Shape::Time, rule)
}

const INITIATING_ENTITY: Member =
    Member::optional("initiating_entity", Shape::OneOf(InitiatingEntity::KNOWN), "CAEP-04");
const REASON_ADMIN: Member = Member::optional("reason_admin", Shape::ByLanguage, "CAEP-06");
const REASON_USER: Member = Member::optional("reason_user", Shape::ByLanguage, "CAEP-06");
