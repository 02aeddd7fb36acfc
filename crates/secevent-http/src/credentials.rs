//! How we prove to receivers who we are, where a header that the receiver has told us is not enough: access tokens that
//! we fetch (RFC 6749 section 4.4), and certificates of ours (mutual TLS).

use crate::client::Client;
use crate::config::{ClientConfig, ConfigError};
use crate::destination::Destination;
use crate::pool::Room;
use crate::resolve::{Resolve, SystemResolver};
use crate::tls::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use secevent_ssf::{BoxFuture, OnBehalfOf, ResponseTime, Secret, Transport, TransportError, UrlRefused};
use serde::Deserialize;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A credential, and for which requests it is.
#[derive(Clone, Debug)]
pub struct PushCredential {
    /// For those on behalf of this client's streams ([`OnBehalfOf`]). None is for all.
    pub client: Option<String>,
    /// For those to this URL and what is below it. None is for all.
    pub endpoint: Option<Uri>,
    /// What is shown.
    pub proof: Proof,
}

/// What is shown to a receiver.
#[derive(Clone, Debug)]
pub enum Proof {
    /// An access token. It takes the place of a header that the receiver has told us.
    OAuth(OAuth),
    /// A certificate. A header that the receiver has told us is sent besides.
    Identity(Box<Identity>),
}

/// Where access tokens are fetched, and how.
#[derive(Clone, Debug)]
pub struct OAuth {
    /// Where tokens are given.
    pub token_url: Uri,
    /// Who we are there.
    pub client_id: String,
    /// How we prove that.
    pub secret: Secret<String>,
    /// What to ask for.
    pub scope: Option<String>,
    /// Where the secret stands.
    pub place: SecretPlace,
}

/// Where a client's secret stands in a token request (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the `Authorization` header.
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// A transport that shows receivers what they want to see.
pub struct Credentialed {
    client: Client,
    /// What all clients have in common.
    config: ClientConfig,
    resolver: Arc<dyn Resolve>,
    room: Arc<Room>,
    /// How long a request may take that does not say so itself.
    request_timeout: Duration,
    rules: Vec<Rule>,
}

struct Rule {
    client: Option<String>,
    endpoint: Option<Uri>,
    way: Way,
}

enum Way {
    Tokens(Box<Tokens>),
    /// It is another one when the certificate is renewed: what was connected, or agreed on to go on with, with the one
    /// before is not used again.
    Client(RwLock<Client>),
}

impl Credentialed {
    /// Clients of this configuration, with these credentials. The first one that is for a request is shown.
    pub fn new(config: &ClientConfig, credentials: Vec<PushCredential>) -> Result<Self, ConfigError> {
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::new());
        Self::with_resolver(config, &resolver, credentials)
    }

    /// The same, with a resolver of your own.
    pub fn with_resolver(
        config: &ClientConfig,
        resolver: &Arc<dyn Resolve>,
        credentials: Vec<PushCredential>,
    ) -> Result<Self, ConfigError> {
        // Whatever is shown, it is one process that has the connections.
        let room = Room::new(config.connections_max as usize);
        let rule = |credential: PushCredential| {
            let way = match credential.proof {
                Proof::OAuth(oauth) => Way::Tokens(Box::new(Tokens { oauth, kept: Mutex::default() })),
                Proof::Identity(identity) => {
                    Way::Client(RwLock::new(client_of(config, resolver, &room, Some(*identity))?))
                }
            };
            Ok(Rule { client: credential.client, endpoint: credential.endpoint, way })
        };
        let rules = credentials.into_iter().map(rule).collect::<Result<_, ConfigError>>()?;
        let request_timeout = Duration::from_millis(config.request_timeout_ms.into());
        Ok(Self {
            client: client_of(config, resolver, &room, None)?,
            config: config.clone(),
            resolver: Arc::clone(resolver),
            room,
            request_timeout,
            rules,
        })
    }

    /// Shows another certificate from now on: in the place of that of the credential with this number, counted from 0,
    /// in the list that this was made with. One that cannot be used changes nothing. What is on its way ends as it
    /// began.
    pub fn renew(&self, credential: usize, identity: Identity) -> Result<(), ConfigError> {
        let Some(Way::Client(client)) = self.rules.get(credential).map(|rule| &rule.way) else {
            return Err(ConfigError::NoCertificate);
        };
        let renewed = client_of(&self.config, &self.resolver, &self.room, Some(identity))?;
        *client.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    async fn send_as_wanted(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let Some(rule) = self.rules.iter().find(|rule| rule.is_for(&request)) else {
            return self.client.send(request).await;
        };
        let tokens = match &rule.way {
            Way::Client(client) => {
                let client = client.read().unwrap_or_else(PoisonError::into_inner).clone();
                return client.send(request).await;
            }
            Way::Tokens(tokens) => tokens,
        };
        // Whoever waits for the push must hear in time that it is not the receiver who keeps it waiting.
        let time_max =
            request.extensions().get().map_or(self.request_timeout, |ResponseTime(time)| *time) / 2;
        let token = tokens.token(&self.client, time_max).await?;
        let response = self.client.send(authorized(request.clone(), &token)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(without(&token, response));
        }
        // It may have been revoked before its time. Another one is tried, once.
        tokens.forget(&token).await;
        let token = tokens.token(&self.client, time_max).await?;
        let response = self.client.send(authorized(request, &token)).await?;
        Ok(without(&token, response))
    }
}

fn client_of(
    config: &ClientConfig,
    resolver: &Arc<dyn Resolve>,
    room: &Arc<Room>,
    identity: Option<Identity>,
) -> Result<Client, ConfigError> {
    let mut config = config.clone();
    config.tls.identity = identity.or(config.tls.identity);
    Client::within(config, Arc::clone(resolver), Arc::clone(room))
}

impl Transport for Credentialed {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(self.send_as_wanted(request))
    }

    fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        // Whatever is shown, the same addresses are admitted.
        self.client.check_url(url)
    }
}

impl fmt::Debug for Credentialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentialed").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

impl Rule {
    fn is_for(&self, request: &Request<Bytes>) -> bool {
        let client = request.extensions().get().map(|OnBehalfOf(client)| client);
        self.client.as_ref().is_none_or(|wanted| client.is_some_and(|client| client == wanted))
            && self.endpoint.as_ref().is_none_or(|above| is_below(request.uri(), above))
    }
}

/// Whether a URL is this one, or one below it. Part of a name is not above the whole name.
fn is_below(url: &Uri, above: &Uri) -> bool {
    let same_host = match (Destination::of(url, true), Destination::of(above, true)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    let Some(rest) = url.path().strip_prefix(above.path().trim_end_matches('/')) else { return false };
    // Some servers read more than `..` as a step up, and more than a slash as a slash.
    let rest = rest.to_ascii_lowercase();
    let leads_elsewhere = ["..", "%2e", "%2f", "%5c", "%25", "\\"].iter().any(|step| rest.contains(step));
    same_host && (rest.is_empty() || rest.starts_with('/')) && !leads_elsewhere
}

/// The access tokens of one credential.
struct Tokens {
    oauth: OAuth,
    /// Held while one is fetched, so that many pushes fetch one.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// Why there is none, and until when that is believed.
    failed: Option<(TransportError, Instant)>,
}

struct Token {
    header: HeaderValue,
    fresh_until: Instant,
}

impl Tokens {
    async fn token(&self, client: &Client, time_max: Duration) -> Result<HeaderValue, TransportError> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(token) = kept.token.as_ref().filter(|token| now < token.fresh_until) {
            return Ok(token.header.clone());
        }
        if let Some((error, until)) = &kept.failed
            && now < *until
        {
            return Err(error.clone());
        }
        match self.fetch(client, time_max).await {
            Ok(token) => {
                let header = token.header.clone();
                *kept = Kept { token: Some(token), failed: None };
                Ok(header)
            }
            Err(error) => {
                *kept = Kept { token: None, failed: Some((error.clone(), Instant::now() + FAILED_FOR)) };
                Err(error)
            }
        }
    }

    /// Forgets a token that was refused, unless another one has taken its place.
    async fn forget(&self, refused: &HeaderValue) {
        let mut kept = self.kept.lock().await;
        if kept.token.as_ref().is_some_and(|token| token.header == *refused) {
            kept.token = None;
        }
    }

    async fn fetch(&self, client: &Client, time_max: Duration) -> Result<Token, TransportError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: Option<String>,
            expires_in: Option<u64>,
        }
        // Nothing of the answer is repeated in an error: it may hold a token.
        let none = |reason: String| {
            let host = self.oauth.token_url.host().unwrap_or_default();
            TransportError::Credentials(format!("no access token from {host}: {reason}"))
        };
        let mut request = self.request();
        request.extensions_mut().insert(ResponseTime(time_max));
        let response = client.send(request).await.map_err(|error| none(error.to_string()))?;
        if !response.status().is_success() {
            return Err(none(format!("it answered {}", response.status())));
        }
        let malformed = || none("its answer is malformed".to_owned());
        let answer: Answer = serde_json::from_slice(response.body()).map_err(|_| malformed())?;
        if answer.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(none("it gives no bearer tokens".to_owned()));
        }
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", answer.access_token)).map_err(|_| malformed())?;
        header.set_sensitive(true);
        let life_seconds = answer.expires_in.unwrap_or(LIFE_SECONDS_DEFAULT).min(LIFE_SECONDS_MAX);
        // A token that ends while the request is on its way costs a round trip.
        let margin_seconds = (life_seconds / 10).min(MARGIN_SECONDS_MAX);
        let fresh_until = Instant::now() + Duration::from_secs(life_seconds - margin_seconds);
        Ok(Token { header, fresh_until })
    }

    fn request(&self) -> Request<Bytes> {
        let OAuth { token_url, client_id, secret, scope, place } = &self.oauth;
        let mut form = String::from("grant_type=client_credentials");
        let mut add = |name: &str, value: &str| {
            form = format!("{form}&{name}={}", form_encoded(value));
        };
        if let Some(scope) = scope {
            add("scope", scope);
        }
        if *place == SecretPlace::Post {
            add("client_id", client_id);
            add("client_secret", secret.expose());
        }
        let mut request = Request::new(Bytes::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = token_url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if *place == SecretPlace::Basic {
            // Both halves are form-encoded first (RFC 6749 section 2.3.1).
            let pair = format!("{}:{}", form_encoded(client_id), form_encoded(secret.expose()));
            let basic = format!("Basic {}", STANDARD.encode(pair));
            let mut basic = HeaderValue::from_str(&basic).expect("base64 can stand in a header");
            basic.set_sensitive(true);
            headers.insert(AUTHORIZATION, basic);
        }
        request
    }
}

fn authorized(mut request: Request<Bytes>, token: &HeaderValue) -> Request<Bytes> {
    request.headers_mut().insert(AUTHORIZATION, token.clone());
    request
}

/// A refusal that repeats our token loses its body: it goes into errors and logs.
fn without(token: &HeaderValue, mut response: Response<Bytes>) -> Response<Bytes> {
    let bare = token.as_bytes().strip_prefix(b"Bearer ").unwrap_or(token.as_bytes());
    let repeats = !bare.is_empty() && response.body().windows(bare.len()).any(|window| window == bare);
    if repeats {
        *response.body_mut() = Bytes::new();
    }
    response
}

fn form_encoded(text: &str) -> String {
    let mut form = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                form.push(char::from(byte));
            }
            _ => write!(form, "%{byte:02X}").expect("a string takes any text"),
        }
    }
    form
}

/// How long a failure to get a token stands for all who want one.
const FAILED_FOR: Duration = Duration::from_secs(1);
const LIFE_SECONDS_DEFAULT: u64 = 300;
const LIFE_SECONDS_MAX: u64 = 24 * 3600;
const MARGIN_SECONDS_MAX: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_url() {
        for (url, above, expected) in [
            ("https://rp.example/events", "https://rp.example/events", true),
            ("https://RP.example/events/a", "https://rp.example/events/", true),
            ("https://rp.example/events", "https://rp.example", true),
            ("https://rp.example/eventsx", "https://rp.example/events", false),
            ("https://rp.example:443/events", "https://rp.example/events", true),
            ("https://rp.example/events", "https://rp.example:443", true),
            ("https://rp.example/a%2fb/c", "https://rp.example/a%2fb", true),
            ("https://rp.example/events/a.b;v=1", "https://rp.example/events", true),
            ("https://rp.example/events/../x", "https://rp.example/events", false),
            ("https://rp.example/events/%2E%2e/x", "https://rp.example/events", false),
            ("https://rp.example/events/.%2e/x", "https://rp.example/events", false),
            ("https://rp.example/events/%2e./x", "https://rp.example/events", false),
            ("https://rp.example/events/..;/x", "https://rp.example/events", false),
            ("https://rp.example/events/..%2Fx", "https://rp.example/events", false),
            ("https://rp.example/events/..%5cx", "https://rp.example/events", false),
            ("https://rp.example/events/%252e%252e/x", "https://rp.example/events", false),
            ("https://us@rp.example/events", "https://rp.example/events", false),
            ("https://rp.example.evil.example/events", "https://rp.example/events", false),
            ("https://rp.example:8443/events", "https://rp.example/events", false),
            ("http://rp.example/events", "https://rp.example/events", false),
        ] {
            assert_eq!(is_below(&url.parse().unwrap(), &above.parse().unwrap()), expected, "{url} {above}");
        }
    }
}
