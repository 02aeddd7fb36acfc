//! `opt-out-initiated`: the account asked to leave; events go on for a time (RISC 1.0 section 2.8.2).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account asked to leave; events go on for a time.
///
/// See [`RiscState`](super::RiscState).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutInitiated {}

impl EventType for OptOutInitiated {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/opt-out-initiated";
    const NAME: &'static str = "risc:opt-out-initiated";
    const ABOUT: &'static str = "The account asked to leave; events go on for a time.";
}
