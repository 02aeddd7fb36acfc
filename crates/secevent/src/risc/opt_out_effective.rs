//! `opt-out-effective`: the account has left; there are no more events (RISC 1.0 section 2.8.4).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account has left; no more events.
///
/// See [`RiscState`](super::RiscState).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutEffective {}

impl EventType for OptOutEffective {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/opt-out-effective";
    const NAME: &'static str = "risc:opt-out-effective";
    const ABOUT: &'static str = "The account has left; no more events.";
}
