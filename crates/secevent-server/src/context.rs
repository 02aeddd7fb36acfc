//! What the endpoints of one issuer share.

use crate::authenticate::Authenticate;
use crate::problem::Problem;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use secevent::Issuer;
use secevent_ssf::{StreamId, Tolerance};
use secevent_transmitter::Transmitter;
use std::sync::Arc;

/// One issuer on this server.
pub(crate) struct Context {
    pub(crate) issuer: Issuer,
    pub(crate) transmitter: Arc<Transmitter>,
    /// Who tells who calls.
    pub(crate) authenticate: Arc<dyn Authenticate>,
    /// What is forgiven in the messages of receivers.
    pub(crate) tolerance: Tolerance,
    /// The issuers of the authorization servers whose access tokens are taken, if there are any.
    pub(crate) authorization_servers: Vec<String>,
}

impl Context {
    /// A URL below the issuer.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.as_str().trim_end_matches('/'))
    }

    /// The issuer's name.
    pub(crate) fn iss(&self) -> &str {
        self.issuer.as_str()
    }
}

/// The `stream_id` of a query.
pub(crate) fn stream_id(query: Option<&str>) -> Result<Option<StreamId>, Problem> {
    let Some(value) = parameter(query, "stream_id") else { return Ok(None) };
    match value.parse() {
        Ok(id) => Ok(Some(id)),
        // An identifier that we would never give names no stream of ours.
        Err(_) if !value.is_empty() => Err(Problem::not_found("there is no such stream")),
        Err(_) => Err(Problem::bad_request("`stream_id` must not be empty")),
    }
}

impl Context {
    /// The `stream_id` of a query that must have one. Old receivers do not name their only stream (LEGACY-09,
    /// LEGACY-15).
    pub(crate) fn needed_stream_id(&self, query: Option<&str>) -> Result<StreamId, Problem> {
        match stream_id(query)? {
            Some(id) => Ok(id),
            None if self.tolerance.legacy => Ok(StreamId::IMPLICIT),
            None => Err(Problem::bad_request("the query must name a `stream_id`")),
        }
    }
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = form_pairs(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The pairs of a form or a query (`application/x-www-form-urlencoded`).
pub(crate) fn form_pairs(form: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// Refuses a body that says it is something other than JSON. One that does not say is taken for JSON: the
/// standard's own examples leave the header out.
pub(crate) fn json_body(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Problem> {
    match headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default()) {
        Some(kind) if !is_type(kind, "application/json") => {
            Err(Problem::unsupported_media_type("application/json"))
        }
        _ => Ok(body.clone()),
    }
}

/// Whether a `Content-Type` names this media type, whatever its parameters and letter case.
pub(crate) fn is_type(content_type: &str, expected: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(expected)
}
