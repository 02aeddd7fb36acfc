//! `feed:add`: the resource joined the feed (RFC 9967 section 2.3.1).

use super::{NO_SUB_ID, SUBJECT, neither};
use crate::{EventType, Member, SubjectRule};
use serde::{Deserialize, Serialize};

/// The resource joined the feed.
///
/// It may have existed for long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedAdd {}

impl EventType for FeedAdd {
    const URI: &'static str = "urn:ietf:params:scim:event:feed:add";
    const NAME: &'static str = "scim:feed:add";
    const ABOUT: &'static str = "The resource joined the feed.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:feed:add"];
    const MEMBERS: &'static [Member] =
        &[neither("data", "SCIM-15"), neither("attributes", "SCIM-15"), NO_SUB_ID];
    const SUBJECT: SubjectRule = SUBJECT;
}
