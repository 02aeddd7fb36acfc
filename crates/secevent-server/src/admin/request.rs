//! What operators send: queries, bodies and the names in a path. What is not known is refused by its name, because a
//! slip must not widen what a request does.

use super::{Admin, time};
use crate::context::{form_pairs, json_body};
use crate::entity_tag::Condition;
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, RawPathParams};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use secevent::json::{Limits, check};
use secevent::{Invalid, Timestamp};
use secevent_ssf::StreamId;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The rule that such a request breaks. It is ours: no standard knows the interface.
pub(crate) const RULE: &str = "admin";
/// Entries of one page at most.
const LIMIT_MAX: usize = 500;
const LIMIT: usize = 100;

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query, of which these parameters are known.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Invalid> {
        let pairs = form_pairs(query.unwrap_or_default().as_bytes());
        for (place, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, "parameter", known));
            }
            if pairs[..place].iter().any(|(other, _)| other == name) {
                return Err(Invalid::new(name, RULE, "is there twice"));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is `true`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Invalid> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Invalid::new(name, RULE, "must be true or false")),
        }
    }

    /// The time that a parameter states.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Invalid> {
        let must_be = || Invalid::new(name, RULE, "must be a time as in 2026-01-31T12:00:00Z");
        self.text(name).map(|text| time::read(text).ok_or_else(must_be)).transpose()
    }

    /// How many entries the page is to have.
    pub(crate) fn limit(&self) -> Result<usize, Invalid> {
        let Some(text) = self.text("limit") else { return Ok(LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| Invalid::new("limit", RULE, format!("must be 1 to {LIMIT_MAX}")))
    }
}

/// The members of a body. Each is taken out, and what is left at the end is not known.
#[derive(Debug)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// Reads a body, of which these members are known.
    pub(crate) fn read(headers: &HeaderMap, body: &Bytes, known: &[&str]) -> Result<Self, Problem> {
        let body = json_body(headers, body)?;
        let text = check(&body, Limits::BODY)?;
        let members: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| Invalid::new("", RULE, "must be a JSON object"))?;
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(unknown(name, "member", known).into()),
            None => Ok(Self(members)),
        }
    }

    /// A member of whatever kind. Null is the same as nothing.
    pub(crate) fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        self.read_as(name, "must be a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Invalid> {
        Ok(self.read_as(name, "must be true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<u64>, Invalid> {
        self.read_as(name, "must be a whole number that is not negative", Value::as_u64)
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Invalid> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = |value: &Value| value.as_array()?.iter().map(text).collect();
        self.read_as(name, "must be an array of strings", texts)
    }

    pub(crate) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Invalid> {
        let must_be = "must be a time as in 2026-01-31T12:00:00Z";
        self.read_as(name, must_be, |value| time::read(value.as_str()?))
    }

    fn read_as<T>(
        &mut self,
        name: &str,
        must_be: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Invalid> {
        let Some(value) = self.value(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| Invalid::new(name, RULE, must_be))
    }
}

/// The stream that the part `{stream}` of the path names, in any way that [`Transmitter::find_stream`] knows.
///
/// [`Transmitter::find_stream`]: secevent_transmitter::Transmitter::find_stream
pub(crate) struct OfStream(pub(crate) StreamId);

impl FromRequestParts<Arc<Admin>> for OfStream {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Problem> {
        let named = path_stream(parts).await.ok_or_else(no_such_stream)?;
        Ok(Self(admin.transmitter.find_stream(&named)?))
    }
}

/// The part `{stream}` of the path, if it has one that can be read.
pub(crate) async fn path_stream(parts: &mut Parts) -> Option<String> {
    let path = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    path.iter().find(|(name, _)| *name == "stream").map(|(_, named)| named.to_owned())
}

/// The identifier of ours that the path names: 32 hexadecimal digits, and nothing else names anything.
pub(crate) fn hex_id(path: Result<Path<String>, PathRejection>) -> Option<String> {
    path.ok().map(|Path(id)| id).filter(|id| is_id(id))
}

/// Whether a text has the form of an identifier of ours.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The versions that a change is about (RFC 9110 section 13.1.1). None if it is about any.
pub(crate) fn if_match(headers: &HeaderMap) -> Option<Vec<u64>> {
    let condition = Condition::of(headers, IF_MATCH)?;
    // What we never gave is no version of anything.
    let version = |tag: &str| tag.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok();
    condition.strong_tags().map(|tags| tags.filter_map(version).collect())
}

/// The answer, with the version that it tells.
pub(crate) fn with_etag(mut response: Response, version: u64) -> Response {
    if let Ok(etag) = format!("\"v{version}\"").parse() {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// A path whose text cannot be read names nothing.
pub(crate) fn no_such_stream() -> Problem {
    Problem::not_found("there is no such stream")
}

fn unknown(name: &str, what: &str, known: &[&str]) -> Invalid {
    let problem = match known {
        [] => format!("is no {what} of this request: it has none"),
        known => format!("is no {what} of this request: known are {}", known.join(", ")),
    };
    Invalid::new(name, RULE, problem)
}
