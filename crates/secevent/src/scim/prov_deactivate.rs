//! `prov:deactivate`: the resource was disabled (RFC 9967 section 2.4.6).

use super::{NO_SUB_ID, SUBJECT, VERSION, neither};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// A resource was disabled.
///
/// What that means is for the two parties to agree (SCIM-23).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvDeactivate {
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvDeactivate {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:deactivate";
    const NAME: &'static str = "scim:prov:deactivate";
    const ABOUT: &'static str = "A resource was disabled.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:deactivate"];
    const MEMBERS: &'static [Member] =
        &[VERSION, neither("data", "SCIM-22"), neither("attributes", "SCIM-22"), NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
