//! `opt-out-cancelled`: the account withdrew its wish to leave (RISC 1.0 section 2.8.3).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account withdrew its wish to leave.
///
/// See [`RiscState`](super::RiscState).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutCancelled {}

impl EventType for OptOutCancelled {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/opt-out-cancelled";
    const NAME: &'static str = "risc:opt-out-cancelled";
    const ABOUT: &'static str = "The account withdrew its wish to leave.";
}
