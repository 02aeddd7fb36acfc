//! How we prove to a transmitter who we are.

use crate::ClientError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use secevent::json::{Limits, check};
use secevent::{Clock, Timestamp};
use secevent_ssf::{Endpoint, Secret, Transport};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// How we prove to a transmitter who we are.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// With a bearer token that somebody gave us (RFC 6750).
    Bearer(Secret<String>),
    /// With access tokens that we fetch (RFC 6749 section 4.4) and keep until shortly before they end.
    ClientCredentials {
        /// Where tokens are given.
        token_endpoint: Endpoint,
        /// Who we are there.
        client_id: String,
        /// And how we prove that, with HTTP basic authentication.
        secret: Secret<String>,
        /// What to ask for, such as `ssf.manage ssf.read`.
        scope: Option<String>,
    },
}

/// Sends requests to one transmitter with our credentials.
pub(crate) struct Caller {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    credentials: Credentials,
    token: tokio::sync::Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    fresh_until: Timestamp,
}

impl Caller {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        credentials: Credentials,
    ) -> Self {
        Self { transport, clock, credentials, token: tokio::sync::Mutex::default() }
    }

    /// Sends a request. A token that we fetched and that is refused with 401 is fetched anew, once.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let authorization = self.authorization().await?;
        let response = self.transport.send(authorized(request.clone(), authorization.as_ref())).await?;
        let Some(refused) = authorization else { return Ok(response) };
        if response.status() != StatusCode::UNAUTHORIZED || !self.forget(&refused).await {
            return Ok(without(&refused, response));
        }
        let authorization = self.authorization().await?;
        let response = self.transport.send(authorized(request, authorization.as_ref())).await?;
        Ok(without(&authorization.unwrap_or(refused), response))
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        match &self.credentials {
            Credentials::None => Ok(None),
            Credentials::Bearer(token) => bearer(token.expose()).map(Some),
            Credentials::ClientCredentials { token_endpoint, client_id, secret, scope } => {
                // The lock is held while the token is fetched, so that many callers fetch one.
                let mut kept = self.token.lock().await;
                if let Some(token) = kept.as_ref().filter(|token| self.clock.now() < token.fresh_until) {
                    return Ok(Some(token.header.clone()));
                }
                let request = token_request(token_endpoint, client_id, secret, scope.as_deref());
                let token = self.fetch(request).await?;
                Ok(Some(kept.insert(token).header.clone()))
            }
        }
    }

    async fn fetch(&self, request: Request<Bytes>) -> Result<Token, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: Option<String>,
            expires_in: Option<u64>,
        }
        let now = self.clock.now();
        let response = self.transport.send(request).await?;
        if !response.status().is_success() {
            return Err(ClientError::NoToken(format!("the token endpoint answered {}", response.status())));
        }
        // Nothing of the answer is repeated in an error: it may hold a token.
        let malformed = || ClientError::NoToken("the token endpoint's answer is malformed".to_owned());
        let text = check(response.body(), Limits::TOKEN).map_err(|_| malformed())?;
        let answer: Answer = serde_json::from_str(text).map_err(|_| malformed())?;
        if answer.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(ClientError::NoToken("the token endpoint gives no bearer tokens".to_owned()));
        }
        let life_seconds = answer.expires_in.unwrap_or(TOKEN_SECONDS_DEFAULT).min(TOKEN_SECONDS_MAX);
        // A token that ends while the request is on its way costs a round trip.
        let margin_seconds = (life_seconds / 10).min(TOKEN_MARGIN_SECONDS_MAX);
        let fresh_until = now.plus(Duration::from_secs(life_seconds - margin_seconds));
        Ok(Token { header: bearer(&answer.access_token)?, fresh_until })
    }

    /// Forgets a token that was refused. Returns whether another one can be had.
    async fn forget(&self, refused: &HeaderValue) -> bool {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|token| token.header == *refused) {
            *kept = None;
        }
        matches!(self.credentials, Credentials::ClientCredentials { .. })
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

const TOKEN_SECONDS_DEFAULT: u64 = 300;
const TOKEN_SECONDS_MAX: u64 = 24 * 3600;
const TOKEN_MARGIN_SECONDS_MAX: u64 = 30;

fn authorized(mut request: Request<Bytes>, authorization: Option<&HeaderValue>) -> Request<Bytes> {
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }
    request
}

/// A refusal that repeats our token loses its body: it goes into errors and logs.
fn without(authorization: &HeaderValue, mut response: Response<Bytes>) -> Response<Bytes> {
    let token = authorization.as_bytes().strip_prefix(b"Bearer ").unwrap_or(authorization.as_bytes());
    if !response.status().is_success() && contains(response.body(), token) {
        *response.body_mut() = Bytes::from_static(b"(withheld: it repeats a credential)");
    }
    response
}

pub(crate) fn contains(body: &[u8], secret: &[u8]) -> bool {
    !secret.is_empty() && body.windows(secret.len()).any(|window| window == secret)
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let unsendable = |_| ClientError::NoToken("the token cannot stand in a header".to_owned());
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(unsendable)?;
    header.set_sensitive(true);
    Ok(header)
}

fn token_request(
    endpoint: &Endpoint,
    client_id: &str,
    secret: &Secret<String>,
    scope: Option<&str>,
) -> Request<Bytes> {
    let mut form = String::from("grant_type=client_credentials");
    if let Some(scope) = scope {
        form.push_str("&scope=");
        form_encode(scope, &mut form);
    }
    // Both halves are form-encoded first (RFC 6749 section 2.3.1).
    let mut basic = String::new();
    form_encode(client_id, &mut basic);
    basic.push(':');
    form_encode(secret.expose(), &mut basic);
    let authorization = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(basic)));
    let mut authorization = authorization.expect("base64 can stand in a header");
    authorization.set_sensitive(true);

    let mut request = Request::new(Bytes::from(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, authorization);
    request
}

fn form_encode(text: &str, form: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                form.push(char::from(byte));
            }
            _ => write!(form, "%{byte:02X}").expect("a string takes any text"),
        }
    }
}
