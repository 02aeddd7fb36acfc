//! `token-claims-change`: claims in a token that is already issued have new values (CAEP 1.0 section 3.2).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Claims in a token that is already issued have new values.
///
/// The subject is mostly the token itself, in the format `jwt_id` or `saml_assertion_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaimsChange {
    /// The claims that changed, with their new values.
    pub claims: Map<String, Value>,
    /// When the values changed.
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

impl TokenClaimsChange {
    /// The event with its required members alone.
    pub fn new(claims: Map<String, Value>) -> Self {
        Self { claims, event_timestamp: None, initiating_entity: None, reason_admin: None, reason_user: None }
    }
}

impl EventType for TokenClaimsChange {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/token-claims-change";
    const NAME: &'static str = "caep:token-claims-change";
    const ABOUT: &'static str = "Claims in an already issued token have new values.";
    // A printing slip of SSE ID1 (LEGACY-26).
    const ALIASES: &'static [&'static str] =
        &["https://schemas.openid.net/secevent/caep/event-type/token-claims-changed"];
    const MEMBERS: &'static [Member] = &[
        Member::required("claims", Shape::Object { members_min: 1 }, "CAEP-12"),
        event_timestamp("CAEP-13"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}
