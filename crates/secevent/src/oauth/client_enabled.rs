//! `client-enabled`: the client was enabled (OAuth Event Types 1.0 draft, section 3.5).

use super::CLIENT;
use crate::{EventStatus, EventType, SubjectRule};
use serde::{Deserialize, Serialize};

/// The client was enabled.
///
/// The draft names the client by the token's `aud`; over SSF it is the subject, in the format `oauth_client`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientEnabled {}

impl EventType for ClientEnabled {
    const URI: &'static str = "https://schemas.openid.net/secevent/oauth/event-type/client-enabled";
    const NAME: &'static str = "oauth:client-enabled";
    const ABOUT: &'static str = "The client was enabled.";
    const STATUS: EventStatus = EventStatus::Draft;
    const SUBJECT: SubjectRule = CLIENT;
}
