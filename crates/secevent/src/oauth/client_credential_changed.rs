//! `client-credential-changed`: a client has a new credential (OAuth Event Types 1.0 draft, section 3.6).

use super::CLIENT;
use crate::{EventStatus, EventType, SubjectRule};
use serde::{Deserialize, Serialize};

/// A credential of the client changed.
///
/// The draft names the client by the token's `aud`; over SSF it is the subject, in the format `oauth_client`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCredentialChanged {}

impl EventType for ClientCredentialChanged {
    const URI: &'static str =
        "https://schemas.openid.net/secevent/oauth/event-type/client-credential-changed";
    const NAME: &'static str = "oauth:client-credential-changed";
    const ABOUT: &'static str = "A credential of the client changed.";
    const STATUS: EventStatus = EventStatus::Draft;
    const SUBJECT: SubjectRule = CLIENT;
}
