//! `client-disabled`: the client was disabled (OAuth Event Types 1.0 draft, section 3.4).

use super::CLIENT;
use crate::{EventStatus, EventType, SubjectRule};
use serde::{Deserialize, Serialize};

/// The client was disabled.
///
/// The draft names the client by the token's `aud`; over SSF it is the subject, in the format `oauth_client`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDisabled {}

impl EventType for ClientDisabled {
    const URI: &'static str = "https://schemas.openid.net/secevent/oauth/event-type/client-disabled";
    const NAME: &'static str = "oauth:client-disabled";
    const ABOUT: &'static str = "The client was disabled.";
    const STATUS: EventStatus = EventStatus::Draft;
    const SUBJECT: SubjectRule = CLIENT;
}
