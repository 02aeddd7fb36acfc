//! `session-revoked`: one or more sessions that fit the subject have ended (CAEP 1.0 section 3.1).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::{ByLanguage, EventType, Member, Timestamp};
use serde::{Deserialize, Serialize};

/// The sessions that fit the subject have ended.
///
/// With a complex subject it covers every session that fits all the given members: a `user` alone means all
/// sessions of that user, a `user` and a `device` those on that device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRevoked {
    /// When the sessions were revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_timestamp: Option<Timestamp>,
    /// Who set it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiating_entity: Option<InitiatingEntity>,
    /// The reason, for logs and auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<ByLanguage>,
    /// The reason, for the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<ByLanguage>,
}

impl EventType for SessionRevoked {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    const NAME: &'static str = "caep:session-revoked";
    const ABOUT: &'static str = "One or more sessions that fit the subject were ended.";
    const MEMBERS: &'static [Member] =
        &[event_timestamp("CAEP-10"), INITIATING_ENTITY, REASON_ADMIN, REASON_USER];
}
