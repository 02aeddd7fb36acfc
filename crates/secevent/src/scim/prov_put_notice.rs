//! `prov:put:notice`: a resource was replaced; names only (RFC 9967 section 2.4.3).

use super::{ATTRIBUTES, NO_DATA, NO_SUB_ID, SUBJECT, VERSION};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// A resource was replaced; names only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvPutNotice {
    /// The names of the attributes that were added, changed or removed, spelt like the `path` of a PATCH.
    pub attributes: Vec<String>,
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl EventType for ProvPutNotice {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:put:notice";
    const NAME: &'static str = "scim:prov:put:notice";
    const ABOUT: &'static str = "A resource was replaced; names only.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:put:notice"];
    const MEMBERS: &'static [Member] = &[ATTRIBUTES, VERSION, NO_DATA, NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
