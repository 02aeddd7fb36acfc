//! `sessions-revoked`: all sessions of the account have ended (RISC 1.0 section 2.11).

use crate::{EventStatus, EventType};
use serde::{Deserialize, Serialize};

/// All sessions of the account were ended.
///
/// It is still read, as the end of all sessions of the account. New transmitters send
/// [`SessionRevoked`](crate::caep::SessionRevoked) instead (RISC-22).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsRevoked {}

impl EventType for SessionsRevoked {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked";
    const NAME: &'static str = "risc:sessions-revoked";
    const ABOUT: &'static str = "All sessions of the account were ended.";
    const STATUS: EventStatus = EventStatus::Deprecated;
}
