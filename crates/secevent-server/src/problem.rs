//! Errors on the wire: RFC 9457 problem documents, in one place.

use crate::clients::invalid_token;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use secevent::{Invalid, escape_json, escape_message};
use secevent_store::StoreError;
use secevent_transmitter::{AcceptError, ManageError, NameError, PollError, RetryError, TransmitterError};
use serde::Serialize;
use std::time::Duration;
use tracing::{debug, error, warn};

/// What a caller is told when a request fails. Clients decide by the status; the rest is for people (SEM-26).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    title: &'static str,
    /// A short code, as push errors have one (E-03).
    err: &'static str,
    detail: String,
    /// The member of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Box<str>>,
    /// The requirement that it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip)]
    challenge: Option<Box<str>>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// How much of a detail is sent, in characters.
    const DETAIL_CHARS_MAX: usize = 1_000;

    /// The short codes that there are.
    pub(crate) const ERRS: [&str; 12] = [
        "access_denied",
        "authentication_failed",
        "conflict",
        "idempotency_key_reused",
        "invalid_request",
        "misdirected",
        "not_found",
        "not_ready",
        "precondition_failed",
        "too_often",
        "unavailable",
        "unsupported_content_encoding",
    ];

    fn new(status: StatusCode, err: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(Self::ERRS.contains(&err), "{err} is to be added to the list");
        // It may repeat what the request says.
        let detail = escape_message(&detail.into(), Self::DETAIL_CHARS_MAX).to_string();
        Self {
            status,
            // A problem without a `type` is one of its status, and is titled so (RFC 9457 section 4.2.1).
            title: phrase(status),
            err,
            detail,
            member: None,
            rule: None,
            challenge: None,
            retry_after_seconds: None,
        }
    }

    /// The request breaks a rule.
    pub(crate) fn invalid(breach: &Invalid) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid_request", breach.to_string());
        problem.member = Some(breach.member()).filter(|member| !member.is_empty()).map(Into::into);
        problem.rule = Some(breach.rule());
        problem
    }

    /// A request that is malformed outside its body.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// The caller has not shown who it is (RFC 6750 section 3.1).
    pub(crate) fn unauthenticated(challenge: String, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "authentication_failed", detail);
        Self { challenge: Some(challenge.into()), ..problem }
    }

    /// The caller may not do this.
    pub(crate) fn forbidden(challenge: String, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::FORBIDDEN, "access_denied", detail);
        Self { challenge: Some(challenge.into()), ..problem }
    }

    /// The caller may do this, but not with what it says: one of the restrictions of its client stands against it.
    pub(crate) fn forbidden_by(rule: &'static str, member: String, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::FORBIDDEN, "access_denied", detail);
        Self { rule: Some(rule), member: Some(member.into()), ..problem }
    }

    /// There is nothing there, as far as this caller may know.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The state of things does not allow it.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// What the caller saw is not what is there any more.
    pub(crate) fn precondition_failed() -> Self {
        let detail = "it was changed since the caller read it; read it again";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
    }

    /// The body is of a type that is not read here.
    pub(crate) fn unsupported_media_type(expected: &'static str) -> Self {
        let detail = format!("the Content-Type must be {expected}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", detail)
    }

    /// The verb is not one of this resource.
    pub(crate) fn method_not_allowed() -> Self {
        let detail = "this resource does not know the method; see the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", detail)
    }

    /// The body is longer than we read.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body must not be longer than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", detail)
    }

    /// The body ended before its end, or its framing is broken.
    pub(crate) fn unreadable_body() -> Self {
        Self::bad_request("the body of the request could not be read")
    }

    /// The body did not come in time.
    pub(crate) fn request_timeout() -> Self {
        let detail = "the body of the request took too long";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", detail)
    }

    /// There is no room for the body of the request (SEM-31).
    pub(crate) fn bodies_full() -> Self {
        Self::for_a_while(1, "the server holds too many unfinished request bodies, try again")
    }

    /// The body has a content coding, and none is read here (RFC 9110 section 15.5.16).
    pub(crate) fn unsupported_content_encoding() -> Self {
        let detail = "the body must be sent without a Content-Encoding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail)
    }

    /// The caller may do much, but not this, whatever token it brings.
    pub(crate) fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", detail)
    }

    /// The request was meant for somebody else.
    pub(crate) fn misdirected() -> Self {
        let detail = "the request is addressed to a host that is not allowed here: use an address of this listener, or \
                      add the host name to the setting server.admin_names";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail)
    }

    /// The caller asks too often.
    pub(crate) fn too_often(wait: Duration, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_often", detail);
        Self { retry_after_seconds: Some(seconds_to_wait(wait)), ..problem }
    }

    /// The server cannot do its work at the moment.
    pub(crate) fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail)
    }

    /// It did not work just now, through no fault of the caller.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::for_a_while(1, detail)
    }

    /// The same, where it is known how long it lasts.
    pub(crate) fn unavailable_for(wait: Duration, detail: impl Into<String>) -> Self {
        Self::for_a_while(seconds_to_wait(wait), detail)
    }

    fn for_a_while(seconds: u32, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Self { retry_after_seconds: Some(seconds), ..problem }
    }

    /// The status that it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Its short code.
    pub(crate) fn err(&self) -> &'static str {
        self.err
    }

    /// The headers that come with it, and what they say.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let challenge =
            self.challenge.is_some().then_some(("WWW-Authenticate", "What a token lacks (RFC 6750)"));
        let retry = self.retry_after_seconds.is_some();
        let retry = retry.then_some(("Retry-After", "After how many seconds to send the request again"));
        challenge.into_iter().chain(retry)
    }

    /// Whether it is the caller's request that is at fault.
    pub(crate) fn is_the_callers(&self) -> bool {
        self.status.is_client_error()
    }

    /// Our own trouble. The caller is told whether it can try again; the operator is told why, once, here.
    pub(crate) fn ours(error: &TransmitterError) -> Self {
        const AGAIN: &str = "the request could not be carried out, try again";
        match error {
            TransmitterError::UnknownIssuer(_) => Self::not_found("there is no such issuer"),
            TransmitterError::Store(StoreError::Busy) => {
                // There is one for each request that is too many, and metrics tell it too.
                debug!("A request is turned away: the store has too much to do");
                Self::for_a_while(1, AGAIN)
            }
            TransmitterError::Store(StoreError::Full) => {
                warn!("A request is turned away: the store holds as much as it may");
                Self::for_a_while(30, "the store is full, try again later")
            }
            TransmitterError::Store(StoreError::DiskFull) => {
                // The store has logged it, once.
                debug!("Request rejected: disk is full");
                Self::for_a_while(30, "the store is full, try again later")
            }
            TransmitterError::Store(StoreError::Conflict) => {
                Self::conflict("it was changed by somebody else at this moment")
            }
            error => {
                error!(%error, "A request failed through no fault of its caller");
                Self::for_a_while(5, AGAIN)
            }
        }
    }
}

/// What RFC 9110 calls a status.
fn phrase(status: StatusCode) -> &'static str {
    match status {
        // The crate has the phrases of RFC 7231.
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        other => other.canonical_reason().unwrap_or("Error"),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self).expect("a problem is text and numbers");
        let body = escape_json(&body).into_owned();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(challenge) = self.challenge.and_then(|challenge| HeaderValue::from_str(&challenge).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(breach: Invalid) -> Self {
        Self::invalid(&breach)
    }
}

// These name each error: a new one must be given a status here.

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Invalid(breach) => Self::invalid(&breach),
            ManageError::NoSuchStream => Self::not_found("there is no such stream"),
            ManageError::Changed => Self::precondition_failed(),
            ManageError::TooManyStreams(_) | ManageError::Busy => Self::conflict(error.to_string()),
            // Only the operator ends what the operator began (SEM-8), and changes what configuration declares. And a
            // bound does not go away by trying again, which 429 would say (SSF-144).
            ManageError::Held | ManageError::Declared(_) | ManageError::TooManySubjects => {
                Self::refused(error.to_string())
            }
            ManageError::TooOften(wait) => Self::too_often(wait, error.to_string()),
            ManageError::Ours(error) => Self::ours(&error),
        }
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Unknown(_) | NameError::TooShort(_) => Self::not_found(error.to_string()),
            NameError::Ambiguous { .. } => Self::conflict(error.to_string()),
        }
    }
}

impl From<RetryError> for Problem {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::NoSuchStream => Self::not_found(error.to_string()),
            RetryError::Polled | RetryError::NotEnabled(_) | RetryError::ClientDisabled => {
                Self::conflict(error.to_string())
            }
            RetryError::Ours(error) => Self::ours(&error),
        }
    }
}

impl From<PollError> for Problem {
    fn from(error: PollError) -> Self {
        match error {
            PollError::NoSuchStream => Self::not_found("there is no such stream"),
            // It was switched off while it waited: its token is not good any more.
            PollError::SwitchedOff => invalid_token(),
            PollError::TooOften(wait) => Self::too_often(wait, "polls that do not wait come too often"),
            PollError::Ours(error) => Self::ours(&error),
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Invalid { breach, .. } => Self::invalid(&breach),
            AcceptError::Ours(error) => Self::ours(&error),
            AcceptError::KeyUsedForAnotherEvent => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", error.to_string())
            }
        }
    }
}
/// Whole seconds, rounded up: a moment too early is too early.
fn seconds_to_wait(wait: Duration) -> u32 {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}
