//! `opt-in`: the account joined the exchange of RISC events (RISC 1.0 section 2.8.1).

use crate::EventType;
use serde::{Deserialize, Serialize};

/// The account joined RISC event exchange.
///
/// See [`RiscState`](super::RiscState).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptIn {}

impl EventType for OptIn {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/opt-in";
    const NAME: &'static str = "risc:opt-in";
    const ABOUT: &'static str = "The account joined RISC event exchange.";
}
