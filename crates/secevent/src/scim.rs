//! RFC 9967: what happened to a SCIM resource, and how an asynchronous SCIM request ended.
//!
//! Events whose name ends in `full` carry `data`, those that end in `notice` carry only the names of the
//! attributes. Identifiers are sent in lower case; the upper-case `urn:ietf:params:SCIM:event:` of earlier
//! drafts is read as well (SCIM-02).
//!
//! ```
//! use secevent::scim::ProvPatchNotice;
//!
//! let patched = ProvPatchNotice { attributes: vec!["name.familyName".into()], version: None };
//! assert_eq!(serde_json::to_string(&patched).unwrap(), r#"{"attributes":["name.familyName"]}"#);
//! ```

mod async_response;
mod feed_add;
mod feed_remove;
mod prov_activate;
mod prov_create_full;
mod prov_create_notice;
mod prov_deactivate;
mod prov_delete;
mod prov_patch_full;
mod prov_patch_notice;
mod prov_put_full;
mod prov_put_notice;

pub use async_response::{AsyncResponse, ScimMethod};
pub use feed_add::FeedAdd;
pub use feed_remove::FeedRemove;
pub use prov_activate::ProvActivate;
pub use prov_create_full::ProvCreateFull;
pub use prov_create_notice::ProvCreateNotice;
pub use prov_deactivate::ProvDeactivate;
pub use prov_delete::ProvDelete;
pub use prov_patch_full::ProvPatchFull;
pub use prov_patch_notice::ProvPatchNotice;
pub use prov_put_full::ProvPutFull;
pub use prov_put_notice::ProvPutNotice;

use crate::event::{Definition, Member, Shape, SubjectRule};

/// All event types of RFC 9967, in the order of its text.
pub(crate) static DEFINITIONS: [Definition; 12] = [
    Definition::of::<FeedAdd>(),
    Definition::of::<FeedRemove>(),
    Definition::of::<ProvCreateNotice>(),
    Definition::of::<ProvCreateFull>(),
    Definition::of::<ProvPatchNotice>(),
    Definition::of::<ProvPatchFull>(),
    Definition::of::<ProvPutNotice>(),
    Definition::of::<ProvPutFull>(),
    Definition::of::<ProvDelete>(),
    Definition::of::<ProvActivate>(),
    Definition::of::<ProvDeactivate>(),
    Definition::of::<AsyncResponse>(),
];

/// The `txn` of the completion of one operation of a bulk request: the request's `Set-Txn`, a colon, and the
/// place of the operation in the request's `Operations`, counted from zero and kept when the operations are
/// done in another order.
///
/// ```
/// assert_eq!(secevent::scim::bulk_txn("2d80e537a3f64622", 3), "2d80e537a3f64622:3");
/// ```
pub fn bulk_txn(set_txn: &str, index: usize) -> String {
    // RFC 9967 figures 16 to 19 count from one; the text, which says zero, wins (E-120).
    format!("{set_txn}:{index}")
}

const SUBJECT: SubjectRule = SubjectRule::Formats(&["scim"], "SCIM-05");

const DATA: Member = Member::required("data", Shape::Object { members_min: 0 }, "SCIM-14");
const ATTRIBUTES: Member = Member::required("attributes", Shape::Texts, "SCIM-14");
const VERSION: Member = Member::optional("version", Shape::Text, "SCIM-11");
const NO_DATA: Member = neither("data", "SCIM-14");
const NO_ATTRIBUTES: Member = neither("attributes", "SCIM-14");
const NO_SUB_ID: Member = neither("sub_id", "SCIM-03");

/// A member that the event does not have; `rule` is the row that says so.
const fn neither(name: &'static str, rule: &'static str) -> Member {
    Member::optional(name, Shape::Absent, rule)
}
