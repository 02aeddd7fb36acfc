//! `feed:remove`: the resource left the feed (RFC 9967 section 2.3.2).

use super::{NO_SUB_ID, SUBJECT, neither};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// The resource left the feed; not a deletion.
///
/// Receivers keep the account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedRemove {}

impl EventType for FeedRemove {
    const URI: &'static str = "urn:ietf:params:scim:event:feed:remove";
    const NAME: &'static str = "scim:feed:remove";
    const ABOUT: &'static str = "The resource left the feed; not a deletion.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:feed:remove"];
    const MEMBERS: &'static [Member] =
        &[neither("data", "SCIM-16"), neither("attributes", "SCIM-16"), NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
