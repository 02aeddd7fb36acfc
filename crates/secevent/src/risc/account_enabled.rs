//! `account-enabled`: the account was enabled (RISC 1.0 section 2.4).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account was enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEnabled {}

impl EventType for AccountEnabled {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/account-enabled";
    const NAME: &'static str = "risc:account-enabled";
    const ABOUT: &'static str = "The account was enabled.";
}
