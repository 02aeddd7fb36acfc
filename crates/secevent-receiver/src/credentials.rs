//! How we prove to a transmitter who we are.

use crate::ClientError;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use secevent::json::{Limits, check};
use secevent::{Clock, Timestamp};
use secevent_jose::Signer;
use secevent_ssf::{Endpoint, Secret, Transport};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

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
    /// The same, with the secret in the form, where the server does not know basic authentication.
    ClientSecretPost {
        /// Where tokens are given.
        token_endpoint: Endpoint,
        /// Who we are there.
        client_id: String,
        /// And how we prove that.
        secret: Secret<String>,
        /// What to ask for.
        scope: Option<String>,
    },
    /// The same, proved with a key of ours and no shared secret (`private_key_jwt`, RFC 7523).
    ClientAssertion {
        /// Where tokens are given.
        token_endpoint: Endpoint,
        /// Who we are there.
        client_id: String,
        /// And the key that proves it.
        key: Arc<Signer>,
        /// What to ask for.
        scope: Option<String>,
    },
    /// With a header of the transmitter's own choosing, such as an API key.
    Header {
        /// The header.
        name: HeaderName,
        /// What it has to be.
        value: Secret<HeaderValue>,
    },
}

impl Credentials {
    /// What access tokens are asked for.
    fn scope(&self) -> Option<&str> {
        match self {
            Self::None | Self::Bearer(_) | Self::Header { .. } => None,
            Self::ClientCredentials { scope, .. }
            | Self::ClientSecretPost { scope, .. }
            | Self::ClientAssertion { scope, .. } => scope.as_deref(),
        }
    }
}

/// Whether there is a scope of SSF in a list of scopes (E-84).
fn has_ssf(scope: &str) -> bool {
    scope.split(' ').any(|scope| scope.starts_with("ssf."))
}

/// Sends requests to one transmitter with our credentials.
pub(crate) struct Caller {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    credentials: Credentials,
    token: tokio::sync::Mutex<Option<Token>>,
}

/// The header by which we are known.
#[derive(Clone, PartialEq)]
struct Proof {
    name: HeaderName,
    value: HeaderValue,
}

struct Token {
    header: Proof,
    /// By [`Clock::elapsed`], so that a wall clock that is set ends no token early and keeps none too long (SEM-30).
    fresh_until: Duration,
    /// What it allows, if the server says so.
    scope: Option<String>,
}

impl Caller {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        credentials: Credentials,
    ) -> Self {
        Self { transport, clock, credentials, token: tokio::sync::Mutex::default() }
    }

    /// Sends a request. A token that we fetched and that is refused with 401 is fetched again, once. A request that has
    /// an `Authorization` of its own is sent with that.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        if let Some(own) = request.headers().get(AUTHORIZATION).cloned() {
            let mut response = self.transport.send(request).await?;
            withhold(&mut response, &own);
            return Ok(response);
        }
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

    async fn authorization(&self) -> Result<Option<Proof>, ClientError> {
        match &self.credentials {
            Credentials::None => Ok(None),
            Credentials::Bearer(token) => bearer(token.expose()).map(Some),
            Credentials::Header { name, value } => {
                let mut value = value.expose().clone();
                value.set_sensitive(true);
                Ok(Some(Proof { name: name.clone(), value }))
            }
            Credentials::ClientCredentials { .. }
            | Credentials::ClientSecretPost { .. }
            | Credentials::ClientAssertion { .. } => {
                // The lock is held while the token is fetched, so that many callers fetch one.
                let mut kept = self.token.lock().await;
                if let Some(token) = kept.as_ref().filter(|token| self.clock.elapsed() < token.fresh_until) {
                    return Ok(Some(token.header.clone()));
                }
                let token = self.fetch(self.token_request()?).await?;
                Ok(Some(kept.insert(token).header.clone()))
            }
        }
    }

    /// Asks for an access token, in the way that the credentials say.
    fn token_request(&self) -> Result<Request<Bytes>, ClientError> {
        match &self.credentials {
            Credentials::ClientCredentials { token_endpoint, client_id, secret, scope } => {
                let mut request = token_request(token_endpoint, scope.as_deref(), &[]);
                request.headers_mut().insert(AUTHORIZATION, basic(client_id, secret));
                Ok(request)
            }
            Credentials::ClientSecretPost { token_endpoint, client_id, secret, scope } => {
                let more = [("client_id", client_id.as_str()), ("client_secret", secret.expose())];
                Ok(token_request(token_endpoint, scope.as_deref(), &more))
            }
            Credentials::ClientAssertion { token_endpoint, client_id, key, scope } => {
                let assertion = assertion(client_id, token_endpoint, key, self.clock.now())?;
                let more = [
                    ("client_id", client_id.as_str()),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    ("client_assertion", &assertion),
                ];
                Ok(token_request(token_endpoint, scope.as_deref(), &more))
            }
            Credentials::None | Credentials::Bearer(_) | Credentials::Header { .. } => {
                Err(ClientError::NoToken("these credentials get none".to_owned()))
            }
        }
    }

    async fn fetch(&self, request: Request<Bytes>) -> Result<Token, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: Option<String>,
            expires_in: Option<u64>,
            scope: Option<String>,
        }
        let asked_at = self.clock.elapsed();
        let response = self.transport.send(request).await?;
        if !response.status().is_success() {
            let why = error_code(response.body()).map(|code| format!(": {code}")).unwrap_or_default();
            let asked = self.credentials.scope().map(|scope| format!(", asked for scope {scope:?}"));
            return Err(ClientError::NoToken(format!(
                "the token endpoint answered {}{why}{}",
                response.status(),
                asked.unwrap_or_default()
            )));
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
        let fresh_until = asked_at.saturating_add(Duration::from_secs(life_seconds - margin_seconds));
        let asked = self.credentials.scope().unwrap_or_default();
        if let Some(granted) = answer.scope.as_deref().filter(|granted| has_ssf(asked) && !has_ssf(granted)) {
            warn!(asked, granted, "Access token carries no ssf scope");
        }
        Ok(Token { header: bearer(&answer.access_token)?, fresh_until, scope: answer.scope })
    }

    /// The scope of the access token that is in use, if one was fetched and the server said its scope.
    pub(crate) fn granted_scope(&self) -> Option<String> {
        // While one is fetched, none is in use.
        self.token.try_lock().ok()?.as_ref()?.scope.clone()
    }

    /// Forgets a token that was refused. Returns whether another one can be had.
    async fn forget(&self, refused: &Proof) -> bool {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|token| token.header == *refused) {
            *kept = None;
        }
        match self.credentials {
            Credentials::None | Credentials::Bearer(_) | Credentials::Header { .. } => false,
            Credentials::ClientCredentials { .. }
            | Credentials::ClientSecretPost { .. }
            | Credentials::ClientAssertion { .. } => true,
        }
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

fn authorized(mut request: Request<Bytes>, proof: Option<&Proof>) -> Request<Bytes> {
    if let Some(Proof { name, value }) = proof {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    request
}

fn without(proof: &Proof, mut response: Response<Bytes>) -> Response<Bytes> {
    withhold(&mut response, &proof.value);
    response
}

/// A refusal that repeats a credential that we sent as the value of a header, with its scheme or without, loses its
/// body: it goes into errors and logs.
pub(crate) fn withhold(response: &mut Response<Bytes>, header: &HeaderValue) {
    if !response.status().is_success() && repeats(response.body(), header.as_bytes()) {
        *response.body_mut() = Bytes::from_static(b"(withheld: it repeats a credential)");
    }
}

fn repeats(body: &[u8], header: &[u8]) -> bool {
    // JSON may be written with more backslashes than it needs.
    let bare = |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(|byte| *byte != b'\\').collect() };
    // Behind the scheme, if there is one.
    let token = header.iter().position(|byte| *byte == b' ').map_or(header, |space| &header[space + 1..]);
    let (body, token) = (bare(body), bare(token.trim_ascii()));
    !token.is_empty() && body.windows(token.len()).any(|window| window == token)
}

fn bearer(token: &str) -> Result<Proof, ClientError> {
    let unsendable = |_| ClientError::NoToken("the token cannot stand in a header".to_owned());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(unsendable)?;
    value.set_sensitive(true);
    Ok(Proof { name: AUTHORIZATION, value })
}

/// The error code of RFC 6749 section 5.2, if the answer has one: nothing else of it is repeated.
fn error_code(body: &[u8]) -> Option<&'static str> {
    const CODES: [&str; 6] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    CODES.into_iter().find(|code| *code == refusal.error)
}

fn basic(client_id: &str, secret: &Secret<String>) -> HeaderValue {
    // Both halves are form-encoded first (RFC 6749 section 2.3.1).
    let mut basic = String::new();
    form_encode(client_id, &mut basic);
    basic.push(':');
    form_encode(secret.expose(), &mut basic);
    let authorization = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(basic)));
    let mut authorization = authorization.expect("base64 can stand in a header");
    authorization.set_sensitive(true);
    authorization
}

/// What proves that we hold the key: for this endpoint, for a minute, and once (RFC 7523 section 3).
fn assertion(
    client_id: &str,
    token_endpoint: &Endpoint,
    key: &Signer,
    now: Timestamp,
) -> Result<String, ClientError> {
    let claims = serde_json::json!({
        "iss": client_id,
        "sub": client_id,
        "aud": token_endpoint.as_str(),
        "jti": URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
        "iat": now.as_seconds(),
        "exp": now.as_seconds() + ASSERTION_SECONDS,
    });
    let unsigned = |_| ClientError::NoToken("the client's key does not sign".to_owned());
    key.sign(claims.to_string().as_bytes()).map_err(unsigned)
}

const ASSERTION_SECONDS: i64 = 60;

fn token_request(endpoint: &Endpoint, scope: Option<&str>, more: &[(&str, &str)]) -> Request<Bytes> {
    let mut form = String::from("grant_type=client_credentials");
    for (name, value) in more.iter().copied().chain(scope.map(|scope| ("scope", scope))) {
        let _ = write!(form, "&{name}=");
        form_encode(value, &mut form);
    }
    let mut request = Request::new(Bytes::from(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
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
