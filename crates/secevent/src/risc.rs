//! RISC Profile 1.0: what happened to an account, its identifiers and its recovery.
//!
//! ```
//! use secevent::EventType;
//! use secevent::risc::{AccountDisabled, DisabledReason};
//!
//! let disabled = AccountDisabled { reason: Some(DisabledReason::Hijacking) };
//! assert_eq!(AccountDisabled::NAME, "risc:account-disabled");
//! assert_eq!(serde_json::to_string(&disabled).unwrap(), r#"{"reason":"hijacking"}"#);
//! ```

mod account_credential_change_required;
mod account_disabled;
mod account_enabled;
mod account_purged;
mod credential_compromise;
mod identifier_changed;
mod identifier_recycled;
mod opt_in;
mod opt_out_cancelled;
mod opt_out_effective;
mod opt_out_initiated;
mod recovery_activated;
mod recovery_information_changed;
mod sessions_revoked;
mod state;

pub use account_credential_change_required::AccountCredentialChangeRequired;
pub use account_disabled::{AccountDisabled, DisabledReason};
pub use account_enabled::AccountEnabled;
pub use account_purged::AccountPurged;
pub use credential_compromise::CredentialCompromise;
pub use identifier_changed::IdentifierChanged;
pub use identifier_recycled::IdentifierRecycled;
pub use opt_in::OptIn;
pub use opt_out_cancelled::OptOutCancelled;
pub use opt_out_effective::OptOutEffective;
pub use opt_out_initiated::OptOutInitiated;
pub use recovery_activated::RecoveryActivated;
pub use recovery_information_changed::RecoveryInformationChanged;
pub use sessions_revoked::SessionsRevoked;
pub use state::{NotPossible, RiscChange, RiscState};

use crate::event::Definition;

/// All event types of RISC, in the order of its text.
pub(crate) static DEFINITIONS: [Definition; 14] = [
    Definition::of::<AccountCredentialChangeRequired>(),
    Definition::of::<AccountPurged>(),
    Definition::of::<AccountDisabled>(),
    Definition::of::<AccountEnabled>(),
    Definition::of::<IdentifierChanged>(),
    Definition::of::<IdentifierRecycled>(),
    Definition::of::<CredentialCompromise>(),
    Definition::of::<OptIn>(),
    Definition::of::<OptOutInitiated>(),
    Definition::of::<OptOutCancelled>(),
    Definition::of::<OptOutEffective>(),
    Definition::of::<RecoveryActivated>(),
    Definition::of::<RecoveryInformationChanged>(),
    Definition::of::<SessionsRevoked>(),
];

/// The formats of subjects that are one identifier. The text says `phone`; the registered name is
/// `phone_number`, which is sent, and both are read (RISC-11).
const IDENTIFIERS: &[&str] = &["email", "phone_number"];
