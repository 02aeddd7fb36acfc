//! What anybody may keep, and ask whether it is still the same (RFC 9110 section 13.1.2).

use crate::entity_tag::Condition;
use aws_lc_rs::digest::{SHA256, digest};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

/// The document, or that it is still the one that the caller has.
pub(crate) fn unless_same(asked: &HeaderMap, json: impl Into<Bytes>) -> Response {
    let json = json.into();
    let digest = digest(&SHA256, &json);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
    let same = Condition::of(asked, IF_NONE_MATCH).is_some_and(|condition| condition.names_weakly(&tag));
    let mut response = super::metadata::public(json);
    if same {
        let headers = std::mem::take(response.headers_mut());
        response = StatusCode::NOT_MODIFIED.into_response();
        *response.headers_mut() = headers;
        response.headers_mut().remove(http::header::CONTENT_TYPE);
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
    }
    let tag = HeaderValue::from_str(&tag).expect("base64url between quotes");
    response.headers_mut().insert(ETAG, tag);
    response
}
