//! The endpoints of SSF 1.0, one file each.

pub(crate) mod conditional;
pub(crate) mod metadata;
pub(crate) mod poll;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod subjects;
pub(crate) mod verification;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

/// A JSON answer of the management API: never to be stored on the way (SSF-68).
pub(crate) fn answer(status: StatusCode, json: impl Into<bytes::Bytes>) -> Response {
    let mut response = (status, json.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without content.
pub(crate) fn done(status: StatusCode) -> Response {
    let mut response = status.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
