//! `recovery-information-changed`: the data for recovery changed (RISC 1.0 section 2.10).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// Recovery data of the account changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryInformationChanged {}

impl EventType for RecoveryInformationChanged {
    const URI: &'static str =
        "https://schemas.openid.net/secevent/risc/event-type/recovery-information-changed";
    const NAME: &'static str = "risc:recovery-information-changed";
    const ABOUT: &'static str = "Recovery data of the account changed.";
}
