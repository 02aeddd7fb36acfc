//! `prov:put:full`: a resource was replaced; with the PUT body (RFC 9967 section 2.4.3).

use super::{DATA, NO_ATTRIBUTES, NO_SUB_ID, SUBJECT, VERSION};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A resource was replaced; with the PUT body.
///
/// `data` is the body of the PUT (E-123 tells of another reading).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvPutFull {
    /// The body of the PUT.
    pub data: Map<String, Value>,
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvPutFull {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:put:full";
    const NAME: &'static str = "scim:prov:put:full";
    const ABOUT: &'static str = "A resource was replaced; with the PUT body.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:put:full"];
    const MEMBERS: &'static [Member] = &[DATA, VERSION, NO_ATTRIBUTES, NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
