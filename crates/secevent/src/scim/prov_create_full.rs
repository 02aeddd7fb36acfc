//! `prov:create:full`: a resource was created; with its data (RFC 9967 section 2.4.1).

use super::{DATA, NO_ATTRIBUTES, NO_SUB_ID, SUBJECT, VERSION};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A resource was created; with its data.
///
/// `data` is the final representation, with the identifier that the service gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvCreateFull {
    /// The resource as it is now.
    pub data: Map<String, Value>,
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvCreateFull {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:create:full";
    const NAME: &'static str = "scim:prov:create:full";
    const ABOUT: &'static str = "A resource was created; with its data.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:create:full"];
    const MEMBERS: &'static [Member] = &[DATA, VERSION, NO_ATTRIBUTES, NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
