//! `account-disabled`: the account was disabled and may come back (RISC 1.0 section 2.3).

use crate::text_enum::text_enum;
use crate::{EventType, Member, Shape};
use serde::{Deserialize, Serialize};

/// The account was disabled and may come back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDisabled {
    /// Why. A reason that is not known counts as none given (RISC-05).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DisabledReason>,
}

impl EventType for AccountDisabled {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
    const NAME: &'static str = "risc:account-disabled";
    const ABOUT: &'static str = "The account was disabled and may come back.";
    const MEMBERS: &'static [Member] =
        &[Member::optional("reason", Shape::Suggested(DisabledReason::KNOWN), "RISC-04")];
}

text_enum! {
    /// Why an account was disabled (RISC 1.0 section 2.3).
    DisabledReason {
        /// It was taken over by somebody else.
        Hijacking = "hijacking",
        /// It was one of many opened in bulk.
        BulkAccount = "bulk-account",
    }
}
