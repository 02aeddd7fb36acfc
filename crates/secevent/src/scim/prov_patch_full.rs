//! `prov:patch:full`: a resource was patched; with the PatchOp body (RFC 9967 section 2.4.2).

use super::{DATA, NO_ATTRIBUTES, NO_SUB_ID, SUBJECT, VERSION};
use crate::{EventType, Invalid, Member, Strictness, SubjectRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A resource was patched; with the PatchOp body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvPatchFull {
    /// The PatchOp message: `schemas` and `Operations`.
    pub data: Map<String, Value>,
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvPatchFull {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:patch:full";
    const NAME: &'static str = "scim:prov:patch:full";
    const ABOUT: &'static str = "A resource was patched; with the PatchOp body.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:patch:full"];
    const MEMBERS: &'static [Member] = &[DATA, VERSION, NO_ATTRIBUTES, NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;

    fn check(payload: &Map<String, Value>, strictness: Strictness) -> Result<(), Invalid> {
        // Section 2.4 can be read to ask for the whole resource here (E-123): readers take either.
        if strictness == Strictness::Lenient {
            return Ok(());
        }
        let data = payload.get("data");
        match ["schemas", "Operations"].iter().find(|name| data.is_none_or(|data| !data[**name].is_array())) {
            Some(name) => {
                Err(Invalid::new(format!("data.{name}"), "SCIM-19", "must be an array, as in a PatchOp"))
            }
            None => Ok(()),
        }
    }
}
