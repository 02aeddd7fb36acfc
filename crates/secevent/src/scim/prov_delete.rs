//! `prov:delete`: the resource was deleted (RFC 9967 section 2.4.4).

use super::{NO_SUB_ID, SUBJECT, neither};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// A resource was deleted and left the feed.
///
/// No `feed:remove` is sent along with it (SCIM-21).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvDelete {}

impl EventType for ProvDelete {
    const URI: &'static str = "urn:ietf:params:scim:event:prov:delete";
    const NAME: &'static str = "scim:prov:delete";
    const ABOUT: &'static str = "A resource was deleted and left the feed.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:prov:delete"];
    const MEMBERS: &'static [Member] =
        &[neither("data", "SCIM-21"), neither("attributes", "SCIM-21"), NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
