//! `account-credential-change-required`: the account was made to change a credential (RISC 1.0 section 2.1).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account was made to change a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCredentialChangeRequired {}

impl EventType for AccountCredentialChangeRequired {
    const URI: &'static str =
        "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required";
    const NAME: &'static str = "risc:account-credential-change-required";
    const ABOUT: &'static str = "The account was made to change a credential.";
}
