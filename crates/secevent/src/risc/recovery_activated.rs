//! `recovery-activated`: a recovery flow was started (RISC 1.0 section 2.9).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// An account recovery flow was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryActivated {}

impl EventType for RecoveryActivated {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/recovery-activated";
    const NAME: &'static str = "risc:recovery-activated";
    const ABOUT: &'static str = "An account recovery flow was started.";
}
