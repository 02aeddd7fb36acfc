//! Push delivery: one SET per request (RFC 8935).
//!
//! A push is either [accepted], with 202 and an empty body, or [refused](refusal), with 400 and an
//! [`Error`] that says whose fault it is. Any other answer is about the transport, not about the SET.

use crate::{Endpoint, HeadDecides, Secret};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use secevent::json::{Limits, check};
use secevent::{Fault, escape};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;

/// The media type of a SET.
pub const MEDIA_TYPE: &str = "application/secevent+jwt";

/// The language of the descriptions that this crate's users write.
pub const LANGUAGE: &str = "en";

/// The request that delivers `token` to `endpoint`. `authorization` is the value that the receiver gave for
/// it; without one there is no `Authorization` header (SSF-38, SSF-39).
///
/// ```
/// use secevent_ssf::push;
///
/// let request = push::request(&"https://rp.example/events".parse()?, "eyJ0eXAi.e30.c2ln", None);
/// assert_eq!(request.method(), "POST");
/// assert_eq!(request.headers()["content-type"], "application/secevent+jwt");
/// assert_eq!(request.headers()["accept"], "application/json");
/// # Ok::<(), secevent::Invalid>(())
/// ```
pub fn request(
    endpoint: &Endpoint,
    token: impl Into<Bytes>,
    authorization: Option<&Secret<HeaderValue>>,
) -> Request<Bytes> {
    let mut request = Request::new(token.into());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    request.extensions_mut().insert(HeadDecides);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization.header());
    }
    request
}

/// Whether a request's `Content-Type` says that its body is a SET: in any letter case, with or without
/// parameters (LEGACY-28).
///
/// ```
/// use secevent_ssf::push::is_set;
///
/// assert!(is_set("application/secevent+jwt") && is_set("Application/SecEvent+JWT; charset=utf-8"));
/// assert!(!is_set("application/jwt") && !is_set("application/secevent+jwt-set"));
/// ```
pub fn is_set(content_type: &str) -> bool {
    let media_type = content_type.split_once(';').map_or(content_type, |(media_type, _)| media_type);
    media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// The token in the body of a push: the body without the one line end that some senders put behind it
/// (LEGACY-29).
pub fn token(body: &[u8]) -> &[u8] {
    match body.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => body,
    }
}

/// The answer to a SET that is taken: 202, and nothing else.
pub fn accepted() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Whether an answer says that the receiver has the SET. Its head decides (SEM-8).
///
/// 202 is the standard's answer (RFC 8935 section 2.2). Some receivers answer 200 or 204 instead; a page of HTML is not
/// from them, but from a proxy that wants somebody to log in.
///
/// ```
/// use http::Response;
/// use secevent_ssf::push;
///
/// let answer = |status| Response::builder().status(status);
/// assert!(push::is_delivered(&answer(202).body(()).unwrap()));
/// let page = answer(200).header("content-type", "text/html; charset=utf-8").body(()).unwrap();
/// assert!(!push::is_delivered(&page));
/// ```
pub fn is_delivered<B>(answer: &Response<B>) -> bool {
    match answer.status() {
        StatusCode::ACCEPTED => true,
        StatusCode::OK | StatusCode::NO_CONTENT => !is_html(answer),
        _ => false,
    }
}

fn is_html<B>(answer: &Response<B>) -> bool {
    let content_type = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    ["text/html", "application/xhtml+xml"].iter().any(|html| media_type.eq_ignore_ascii_case(html.as_bytes()))
}

/// The answer to a SET that is not taken: 400, with whose fault it is and an English sentence for people.
///
/// ```
/// use secevent::Fault;
/// use secevent_ssf::push;
///
/// let response = push::refusal(Fault::InvalidKey, "Key ID 12345 has been revoked.");
/// assert_eq!(response.status(), 400);
/// assert_eq!(response.headers()["content-language"], "en");
/// assert_eq!(&response.body()[..], br#"{"err":"invalid_key","description":"Key ID 12345 has been revoked."}"#);
/// ```
pub fn refusal(fault: Fault, description: &str) -> Response<Bytes> {
    let mut response = Response::new(Error::new(fault, description).to_json().into());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(LANGUAGE));
    response
}

/// Why a receiver refuses a SET: the body of a refused push, and a value of `setErrs` in a poll.
///
/// Reading is lenient: an unknown code is kept, a missing description is empty, a long one is cut. `Display`
/// shows both parts escaped, on one line: they are the receiver's words, and may hold anything.
///
/// ```
/// use secevent::Fault;
/// use secevent_ssf::push::{Error, ErrorCode};
///
/// let error = Error::read(br#"{"err":"invalid_audience","description":"not us"}"#).unwrap();
/// assert_eq!(error.err, ErrorCode::Known(Fault::InvalidAudience));
/// let error = Error::read(br#"{"err":"brand_new"}"#).unwrap();
/// assert_eq!(error.err.as_str(), "brand_new");
/// assert_eq!(Error::read(b"<html>Bad Request</html>"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Error {
    /// Whose fault it is.
    pub err: ErrorCode,
    /// The same for people.
    pub description: String,
}

impl Error {
    /// The longest description that is kept, in characters; a longer one is cut.
    pub const DESCRIPTION_CHARS_MAX: usize = 1000;

    /// An error of our own.
    pub fn new(fault: Fault, description: impl Into<String>) -> Self {
        Self { err: ErrorCode::Known(fault), description: description.into() }
    }

    /// Reads the body of a refusal. None if it is not one: then only the status counts.
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::from_json(check(body, Limits::TOKEN).ok()?)
    }

    pub(crate) fn from_json(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body<'a> {
            err: String,
            #[serde(borrow)]
            description: Option<&'a RawValue>,
        }
        let body: Body<'_> = serde_json::from_str(json).ok()?;
        let description = body.description.and_then(|text| serde_json::from_str(text.get()).ok());
        let description = cut(description.unwrap_or_default(), Self::DESCRIPTION_CHARS_MAX);
        Some(Self { err: body.err.into(), description })
    }

    /// The error as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings are always JSON")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = escape(self.err.as_str(), ErrorCode::OTHER_CHARS_MAX);
        write!(f, "{code}: {}", escape(&self.description, Self::DESCRIPTION_CHARS_MAX))
    }
}

/// The code of an [`Error`]. The registry grows, so an unknown code is kept and no mistake of the peer's
/// (PUSH-24).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A code of the registry.
    Known(Fault),
    /// A code that this version does not know, at most [`ErrorCode::OTHER_CHARS_MAX`] characters of it.
    Other(String),
}

impl ErrorCode {
    /// How much of an unknown code is kept, in characters.
    pub const OTHER_CHARS_MAX: usize = 64;

    /// The code as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(fault) => fault.code(),
            Self::Other(code) => code,
        }
    }
}

impl From<String> for ErrorCode {
    fn from(code: String) -> Self {
        match code.parse() {
            Ok(fault) => Self::Known(fault),
            Err(_) => Self::Other(cut(code, Self::OTHER_CHARS_MAX)),
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
    text
}
