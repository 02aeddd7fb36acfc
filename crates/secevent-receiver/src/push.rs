//! Push in: the endpoint to which a transmitter sends its SETs (RFC 8935).

use crate::intake::Intake;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use secevent::Fault;
use secevent_ssf::push;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How a push without the right `Authorization` is answered (E-90).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unauthenticated {
    /// 400 with `authentication_failed`, which every transmitter understands.
    #[default]
    BadRequest,
    /// 401 with `WWW-Authenticate`.
    Unauthorized,
}

/// The endpoint of one source. It is a pure function of the request and our memory; a server mounts it.
///
/// An answer of 202 means that the SET is stored: it will be handled even if we crash the moment after.
#[derive(Clone)]
pub struct PushEndpoint {
    intake: Arc<Intake>,
    unauthenticated: Unauthenticated,
}

impl PushEndpoint {
    /// How long a transmitter is asked to wait when we cannot take its SET, unless more is known.
    pub const RETRY_AFTER_SECONDS: u64 = 5;

    pub(crate) fn new(intake: Arc<Intake>, unauthenticated: Unauthenticated) -> Self {
        Self { intake, unauthenticated }
    }

    /// Answers a push. The body should be read no further than to one byte beyond
    /// [`PushEndpoint::body_bytes_max`]: what is longer is answered with 413.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        if request.method() != Method::POST {
            return with(StatusCode::METHOD_NOT_ALLOWED, &[(ALLOW, "POST")]);
        }
        if !self.is_authenticated(request.headers()) {
            self.report_unauthenticated();
            return match self.unauthenticated {
                Unauthenticated::BadRequest => push::refusal(
                    Fault::AuthenticationFailed,
                    "The request does not carry the agreed credential.",
                ),
                Unauthenticated::Unauthorized => {
                    with(StatusCode::UNAUTHORIZED, &[(WWW_AUTHENTICATE, "Bearer")])
                }
            };
        }
        if !is_set(request.headers()) {
            return with(StatusCode::UNSUPPORTED_MEDIA_TYPE, &[]);
        }
        if request.body().len() > self.body_bytes_max() {
            return with(StatusCode::PAYLOAD_TOO_LARGE, &[]);
        }
        let body = request.into_body();
        let token = body.slice_ref(push::token(&body));
        match self.intake.take(token).await {
            Ok(_) => push::accepted(),
            Err(error) => match error.fault() {
                Some(fault) => push::refusal(fault, &error.description()),
                None => unavailable(error.retry_after()),
            },
        }
    }

    /// The longest body that is taken: the longest token, and a line end.
    pub fn body_bytes_max(&self) -> usize {
        self.intake.source.token_bytes_max + 2
    }

    /// Whether a request with these headers carries the agreed credential, if one is agreed. The body of one that does
    /// not need not be read: [`PushEndpoint::handle`] answers it without.
    pub fn is_authenticated(&self, headers: &HeaderMap) -> bool {
        let Some(agreed) = self.intake.source.push_authorization() else { return true };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        match (given.next(), given.next()) {
            (Some(given), None) => {
                verify_slices_are_equal(given.as_bytes(), agreed.expose().as_bytes()).is_ok()
            }
            _ => false,
        }
    }
}

impl PushEndpoint {
    fn report_unauthenticated(&self) {
        self.intake.counters.unauthenticated.count();
        let source = self.intake.source.name.clone();
        let warn = move |count: u64| {
            warn!(source.id = source, count, "Push rejected: wrong or missing credential");
        };
        if self.intake.log.unauthenticated.admits(warn.clone()) {
            warn(1);
        }
    }
}

impl fmt::Debug for PushEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushEndpoint").field("source", &self.intake.source.name).finish_non_exhaustive()
    }
}

fn is_set(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) => one.to_str().is_ok_and(push::is_set),
        _ => false,
    }
}

fn unavailable(retry_after: Option<Duration>) -> Response<Bytes> {
    let mut response = with(StatusCode::SERVICE_UNAVAILABLE, &[]);
    // Whole seconds, rounded up: a moment too early is too early.
    let seconds = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = retry_after.map_or(PushEndpoint::RETRY_AFTER_SECONDS, |wait| seconds(wait).max(1));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn with(status: StatusCode, headers: &[(http::HeaderName, &'static str)]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
