//! A server with two issuers and a few clients, and what its answers have in common.

use crate::ailing::{Ailing, Copies};
use crate::elsewhere::Elsewhere;
use crate::recipient::Recipient;
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use secevent::{Clock, Timestamp, Vocabulary};
use secevent_jose::Algorithm;
use secevent_server::{
    AdminConfig, ClientConfig, ClientPorts, Clients, ClientsConfig, ListenCounts, MetricsAccess, Scope,
    ServerConfig, TokenDigest, admin_router, transmitter_paths, transmitter_router,
};
use secevent_ssf::Transport;
use secevent_store::Vault;
use secevent_transmitter::{IssuerConfig, Transmitter, TransmitterConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use tower::ServiceExt as _;

pub(crate) const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const PUSH: &str = "urn:ietf:rfc:8935";
pub(crate) const POLL: &str = "urn:ietf:rfc:8936";
/// What the receiver wants to see in pushes. No answer may ever contain it.
pub(crate) const CREDENTIAL: &str = "Bearer credential-of-rp";
/// The token that the command line on the server's machine has.
pub(crate) const LOCAL: &str = "local-token";
/// When it begins.
const START: i64 = 1_795_000_000;
const SECRETS: [&str; 3] = ["credential-of-rp", "top-secret", LOCAL];

pub(crate) struct World {
    router: Router,
    admin: Router,
    clock: Arc<ManualClock>,
    /// The paths of the public listener.
    pub(crate) paths: Vec<String>,
    /// Other servers, as far as there are any.
    pub(crate) elsewhere: Arc<Elsewhere>,
    pub(crate) store: Arc<Ailing>,
    pub(crate) copies: Arc<Copies>,
    pub(crate) recipient: Arc<Recipient>,
}

/// In microseconds: how far it has come, and by how much it was set.
#[derive(Debug)]
struct ManualClock(AtomicI64, AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(SeqCst) + self.1.load(SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(SeqCst).cast_unsigned())
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|config| config.streams_per_client_max = 3, MetricsAccess::Token).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut TransmitterConfig), metrics: MetricsAccess) -> Self {
        Self::start(change, metrics, |_| {}, Arc::new(Ailing::new()), START * 1_000_000).await
    }

    /// A world with other clients, or other words about them.
    pub(crate) async fn with_clients(change: impl FnOnce(&mut ClientsConfig)) -> Self {
        let many = |config: &mut TransmitterConfig| config.streams_per_client_max = 10_000;
        Self::start(many, MetricsAccess::Token, change, Arc::new(Ailing::new()), START * 1_000_000).await
    }

    /// The next process on the same store.
    pub(crate) async fn restarted(&self, change: impl FnOnce(&mut ClientsConfig)) -> Self {
        let now = self.clock.0.load(SeqCst);
        Self::start(|_| {}, MetricsAccess::Token, change, Arc::clone(&self.store), now).await
    }

    async fn start(
        change: impl FnOnce(&mut TransmitterConfig),
        metrics: MetricsAccess,
        change_clients: impl FnOnce(&mut ClientsConfig),
        store: Arc<Ailing>,
        now_micros: i64,
    ) -> Self {
        let clock = Arc::new(ManualClock(AtomicI64::new(now_micros), AtomicI64::new(0)));
        let issuer = |url: &str| IssuerConfig {
            algorithm: Algorithm::EdDsa,
            ..IssuerConfig::new(url.parse().unwrap())
        };
        let issuers = vec![issuer("https://tr.example"), issuer("https://tr.example/tenant-a")];
        let mut config = TransmitterConfig { signing_threads: 1, ..TransmitterConfig::new(issuers) };
        change(&mut config);
        let recipient = Arc::new(Recipient::new());
        let transmitter = Transmitter::start(
            config,
            Arc::clone(&store) as Arc<dyn secevent_store::Store>,
            Arc::clone(&recipient) as Arc<dyn Transport>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Vault::new(&[7; 32]),
            Vocabulary::standard().clone(),
            [42; 32],
        );
        let client = |id: &str, scopes: &[Scope]| {
            ClientConfig::new(id, secret(id), scopes.to_vec(), "https://rp.example".into())
        };
        let clients = vec![
            client("rp", &[Scope::Manage]),
            client("other", &[Scope::Manage]),
            client("reader", &[Scope::Read]),
            client("producer", &[Scope::Write]),
            client("operator", &[Scope::Admin]),
        ];
        let public_url = "https://tr.example";
        let transmitter = transmitter.await.unwrap();
        let elsewhere = Arc::new(Elsewhere::default());
        let ports = ClientPorts {
            store: Arc::clone(&store) as Arc<dyn secevent_store::Store>,
            vault: Vault::new(&[7; 32]),
            transport: Arc::clone(&elsewhere) as Arc<dyn Transport>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        };
        let mut clients_config = ClientsConfig::new(public_url, clients);
        change_clients(&mut clients_config);
        let clients = Clients::open(clients_config, ports, &transmitter).await.unwrap();
        let config = ServerConfig::default();
        let router = transmitter_router(&config, &transmitter, &clients);
        let paths = transmitter_paths(&config, &transmitter, &clients);
        let copies = Arc::new(Copies::default());
        let config = AdminConfig {
            address: "127.0.0.1:8081".parse().unwrap(),
            names: vec!["secevent.internal".to_owned()],
            local_token: Some(TokenDigest::of(LOCAL)),
            metrics,
            backup: Some(Arc::clone(&copies) as Arc<dyn secevent_store::Backup>),
            listeners: vec![("public", ListenCounts::default()), ("admin", ListenCounts::default())],
        };
        let admin = admin_router(config, &transmitter, &clients, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { router, admin, clock, paths, elsewhere, store, copies, recipient }
    }

    /// What the public listener serves.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.later_by(Duration::from_secs(seconds.cast_unsigned()));
    }

    pub(crate) fn later_by(&self, time: Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_micros()).unwrap(), SeqCst);
    }

    /// Somebody sets the clock. No time passes.
    pub(crate) fn set_clock_by(&self, seconds: i64) {
        self.clock.1.fetch_add(seconds * 1_000_000, SeqCst);
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().as_seconds()
    }

    /// Every answer is looked through for secrets.
    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        Self::ask(&self.router, request).await
    }

    /// A request to the admin listener, as it is.
    pub(crate) async fn call_admin(&self, request: Request<Body>) -> Answer {
        Self::ask(&self.admin, request).await
    }

    /// A request to the admin listener, rightly addressed.
    pub(crate) async fn admin(&self, method: Method, token: &str, path: &str, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8081");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.call_admin(request.body(body).unwrap()).await
    }

    async fn ask(router: &Router, request: Request<Body>) -> Answer {
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = format!("{:?} {}", parts.headers, String::from_utf8_lossy(&body));
        assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "a secret is told: {text}");
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A bearer token of a client.
    pub(crate) async fn token(&self, client: &str) -> String {
        let answer = self.ask_for_token(&basic(client), "grant_type=client_credentials").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn ask_for_token(&self, authorization: &str, form: &str) -> Answer {
        let mut request =
            Request::post("/oauth/token").header("content-type", "application/x-www-form-urlencoded");
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        self.call(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(Method::GET, token, path, "").await
    }

    /// A request with a body of JSON, or of whatever the test takes for it.
    pub(crate) async fn send(
        &self,
        method: Method,
        token: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        self.send_as(method, token, path, "application/json", body).await
    }

    pub(crate) async fn send_as(
        &self,
        method: Method,
        token: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", content_type);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.call(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, token, path, body.to_string()).await
    }

    /// A new poll stream below `base`, as its configuration tells it.
    pub(crate) async fn stream(&self, token: &str, base: &str) -> Value {
        let answer = self
            .post(token, &format!("{base}/ssf/stream"), &json!({"events_requested": [SESSION_REVOKED]}))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// What a poll that does not wait gets. It acknowledges nothing.
    pub(crate) async fn waiting(&self, token: &str, base: &str, stream: &Value) -> Vec<String> {
        let path = format!("{base}/poll/{}", stream["stream_id"].as_str().unwrap());
        let answer = self.post(token, &path, &json!({"returnImmediately": true})).await.json();
        answer["sets"].as_object().unwrap().values().map(|token| token.as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn secret(client: &str) -> String {
    format!("top-secret={client}&more")
}

/// As most clients write it: without encoding.
pub(crate) fn basic(client: &str) -> String {
    let pair = format!("{client}:{}", secret(client));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A problem document, complete, with this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, err: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["err"]), (&json!(status), &json!(err)));
        assert!(problem["detail"].is_string(), "{problem}");
        // finding: D4. A problem without a type is titled as its status is (RFC 9457 section 4.2.1).
        let phrase = match status {
            413 => "Content Too Large",
            422 => "Unprocessable Content",
            other => http::StatusCode::from_u16(other).unwrap().canonical_reason().unwrap(),
        };
        assert_eq!((&problem["title"], problem.get("type")), (&json!(phrase), None), "{problem}");
        if status == 401 {
            assert!(self.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        problem
    }

    /// An answer of the management API.
    #[track_caller]
    pub(crate) fn is_answer(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        self.json()
    }

    #[track_caller]
    pub(crate) fn is_empty(&self, status: u16) {
        assert_eq!((self.status, self.body.len()), (status, 0), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }
}
