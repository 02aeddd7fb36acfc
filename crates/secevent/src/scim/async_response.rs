//! `misc:asyncresp`: an asynchronous SCIM request is finished (RFC 9967 section 2.5.1.3).

use super::{NO_SUB_ID, SUBJECT, VERSION, neither};
use crate::text_enum::text_enum;
use crate::{EventType, Invalid, Member, Shape, Strictness, SubjectRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An asynchronous SCIM request is finished: one operation of a bulk response (RFC 7644 section 3.7).
///
/// The token's `txn` is the `Set-Txn` of the 202 that the requester got; for one operation of a bulk request
/// see [`bulk_txn`](super::bulk_txn).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncResponse {
    /// The HTTP verb of the request.
    pub method: ScimMethod,
    /// The HTTP status code, as text: `"200"`.
    pub status: String,
    /// The client's name of the operation in a bulk request.
    #[serde(rename = "bulkId", skip_serializing_if = "Option::is_none")]
    pub bulk_id: Option<String>,
    /// The version (ETag) of the resource after the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the resource is; given whenever there is one (E-127).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The SCIM error, if the request failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Map<String, Value>>,
}

impl AsyncResponse {
    /// The event with its required members alone.
    pub fn new(method: ScimMethod, status: u16) -> Self {
        let status = status.to_string();
        Self { method, status, bulk_id: None, version: None, location: None, response: None }
    }

    /// Whether the request did what it asked for.
    pub fn succeeded(&self) -> bool {
        is_success(&self.status)
    }
}

impl EventType for AsyncResponse {
    const URI: &'static str = "urn:ietf:params:scim:event:misc:asyncresp";
    const NAME: &'static str = "scim:misc:asyncresp";
    const ABOUT: &'static str = "An asynchronous SCIM request is finished.";
    const ALIASES: &'static [&'static str] = &["urn:ietf:params:SCIM:event:misc:asyncresp"];
    const MEMBERS: &'static [Member] = &[
        Member::required("method", Shape::OneOf(ScimMethod::KNOWN), "SCIM-34"),
        Member::required("status", Shape::Text, "SCIM-34"),
        Member::optional("bulkId", Shape::Text, "SCIM-34"),
        VERSION,
        Member::optional("location", Shape::Text, "SCIM-34"),
        Member::optional("response", Shape::Object { members_min: 0 }, "SCIM-35"),
        neither("data", "SCIM-34"),
        neither("attributes", "SCIM-34"),
        NO_SUB_ID,
    ];
    const SUBJECT: SubjectRule = SUBJECT;

    fn check(payload: &Map<String, Value>, strictness: Strictness) -> Result<(), Invalid> {
        // A reader knows from the status alone that a request failed, whatever is left out.
        if strictness == Strictness::Lenient {
            return Ok(());
        }
        let status = payload.get("status").and_then(Value::as_str).unwrap_or_default();
        if !is_status(status) {
            return Err(Invalid::new("status", "SCIM-34", "must be an HTTP status code, three digits"));
        }
        if is_success(status) {
            return Ok(());
        }
        let Some(response) = payload.get("response") else {
            return Err(Invalid::new("response", "SCIM-35", "is required when the status is not 2xx"));
        };
        // The other two, `scimType` and `detail`, are optional in a SCIM error (RFC 7644 section 3.12).
        match ["schemas", "status"].iter().find(|name| response.get(**name).is_none()) {
            Some(name) => {
                Err(Invalid::new(format!("response.{name}"), "SCIM-35", "is required in a SCIM error"))
            }
            None => Ok(()),
        }
    }
}

fn is_status(status: &str) -> bool {
    status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit())
}

fn is_success(status: &str) -> bool {
    is_status(status) && status.starts_with('2')
}

text_enum! {
    /// The HTTP verb of a SCIM request that may be answered later (RFC 9967 section 2.5.1.3).
    ScimMethod {
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
    }
}
