//! `prov:patch:notice`: a resource was patched; names only (RFC 9967 section 2.4.2).

use super::{ATTRIBUTES, NO_DATA, NO_SUB_ID, SUBJECT, VERSION};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// A resource was patched; names only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvPatchNotice {
    /// The names of the attributes that were added, changed or removed, spelt like the `path` of a PATCH.
    pub attributes: Vec<String>,
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvPatchNotice {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:patch:notice";
    const NAME: &'static str = "scim:prov:patch:notice";
    const ABOUT: &'static str = "A resource was patched; names only.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:patch:notice"];
    const MEMBERS: &'static [Member] = &[ATTRIBUTES, VERSION, NO_DATA, NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
