//! `prov:activate`: the resource is ready for use (RFC 9967 section 2.4.5).

use super::{NO_SUB_ID, SUBJECT, VERSION, neither};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// A resource is ready for use.
///
/// What that means is for the two parties to agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvActivate {
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvActivate {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:activate";
    const NAME: &'static str = "scim:prov:activate";
    const ABOUT: &'static str = "A resource is ready for use.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:activate"];
    const MEMBERS: &'static [Member] =
        &[VERSION, neither("data", "SCIM-22"), neither("attributes", "SCIM-22"), NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
