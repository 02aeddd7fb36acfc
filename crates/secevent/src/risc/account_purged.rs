//! `account-purged`: the account was deleted for good (RISC 1.0 section 2.2).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account was deleted for good.
///
/// There is no way back; [`AccountDisabled`](super::AccountDisabled) leaves one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPurged {}

impl EventType for AccountPurged {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";
    const NAME: &'static str = "risc:account-purged";
    const ABOUT: &'static str = "The account was deleted for good.";
}
