//! A transmitter inside somebody else's server: its own logins, its own router, axum or plain hyper.

use crate::world::SESSION_REVOKED;
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::request::Parts;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use secevent::{Clock, Subject, Timestamp, Vocabulary, caep::SessionRevoked};
use secevent_jose::Algorithm;
use secevent_server::{
    Authenticate, Caller, HostConfig, Refusal, Scope, SystemClock, hosted_transmitter_router,
};
use secevent_ssf::BoxFuture;
use secevent_store::{Epoch, MemoryStore, Vault};
use secevent_transmitter::{
    Incoming, IssuerConfig, NoTransport, Transmitter, TransmitterConfig, TransmitterError,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

const ISSUER: &str = "https://id.example/signals";

async fn transmitter() -> Arc<Transmitter> {
    start(&[ISSUER]).await.unwrap()
}

async fn start(issuers: &[&str]) -> Result<Arc<Transmitter>, TransmitterError> {
    let issuer =
        |url: &&str| IssuerConfig { algorithm: Algorithm::EdDsa, ..IssuerConfig::new(url.parse().unwrap()) };
    let issuers = issuers.iter().map(issuer).collect();
    let config = TransmitterConfig { signing_threads: 1, ..TransmitterConfig::new(issuers) };
    let started = Transmitter::start(
        config,
        Arc::new(MemoryStore::new(Epoch(1))),
        Arc::new(NoTransport),
        Arc::new(SystemClock) as Arc<dyn Clock>,
        Vault::new(&[7; 32]),
        Vocabulary::standard().clone(),
        [42; 32],
    );
    started.await
}

/// Where endpoints are follows from the path alone: a router could not tell such issuers apart.
#[tokio::test]
async fn issuers_in_one_place_are_refused_at_the_start() {
    for other in ["https://other.example/signals", "https://id.example/signals/", ISSUER] {
        let refused = start(&[ISSUER, other]).await.unwrap_err().to_string();
        assert!(refused.contains("have the same path") && refused.contains(other), "{refused}");
    }
    let apart = start(&[ISSUER, "https://id.example", "https://id.example/signals/b"]).await.unwrap();
    assert_eq!(apart.issuers().count(), 3);
}

/// What the host's own middleware leaves in a request that it knows.
#[derive(Clone)]
struct LoggedIn(&'static str);

fn by_extension() -> Arc<dyn Authenticate> {
    Arc::new(|request: &Parts| match request.extensions.get::<LoggedIn>() {
        Some(LoggedIn("reader")) => Ok(Caller::new("shop", "https://shop.example", [Scope::Read])),
        Some(LoggedIn("banned")) => Err(Refusal::forbidden("you know why")),
        Some(LoggedIn(client)) => Ok(Caller::new(*client, "https://shop.example", [Scope::Manage])),
        None => Err(Refusal::unknown("Session realm=\"id\"", "log in first")),
    })
}

struct Answer {
    status: u16,
    challenge: Option<String>,
    body: Value,
}

async fn ask(router: &Router, who: Option<&'static str>, method: Method, path: &str, body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(who) = who {
        request = request.extension(LoggedIn(who));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let challenge = parts.headers.get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: parts.status.as_u16(),
        challenge,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

// spec: SSF-64
#[tokio::test]
async fn the_hosts_logins_open_the_transmitters_doors() {
    let transmitter = transmitter().await;
    let router = hosted_transmitter_router(&HostConfig::default(), &transmitter, by_extension());
    let streams = "/signals/ssf/stream";
    let nobody = ask(&router, None, Method::GET, streams, &Value::Null).await;
    assert_eq!((nobody.status, nobody.challenge.as_deref()), (401, Some("Session realm=\"id\"")));
    assert_eq!(nobody.body["detail"], "log in first");
    let banned = ask(&router, Some("banned"), Method::GET, streams, &Value::Null).await;
    assert_eq!((banned.status, &banned.body["detail"]), (403, &json!("you know why")));
    assert_eq!(ask(&router, Some("reader"), Method::POST, streams, &json!({})).await.status, 403);

    let wished = json!({"events_requested": [SESSION_REVOKED]});
    let created = ask(&router, Some("shop"), Method::POST, streams, &wished).await;
    assert_eq!((created.status, &created.body["aud"]), (201, &json!("https://shop.example")));
    assert_eq!(created.body["iss"], ISSUER);
    let event =
        Incoming::new(&SessionRevoked::default(), Subject::email("alice@example.com").unwrap()).unwrap();
    assert!(event.clone().txn("").is_err() && event.clone().txn("x".repeat(257)).is_err());
    let event = event.txn("logout-1").unwrap().occurred_at(Timestamp::from_seconds(1_700_000_000));
    let accepted = transmitter.accept(ISSUER, "identity", None, &[event]).await.unwrap();
    assert_eq!((accepted[0].deliveries, accepted[0].txn.as_str()), (1, "logout-1"));
    let poll = format!("/signals/poll/{}", created.body["stream_id"].as_str().unwrap());
    let polled = ask(&router, Some("shop"), Method::POST, &poll, &json!({"returnImmediately": true})).await;
    assert_eq!(polled.body["sets"].as_object().unwrap().len(), 2, "the unasked verification event, and ours");
    // The streams of one are nobody else's.
    assert_eq!(ask(&router, Some("other"), Method::POST, &poll, &json!({})).await.status, 404);
    assert_eq!(ask(&router, Some("other"), Method::GET, streams, &Value::Null).await.body, json!([]));
}

#[tokio::test]
async fn what_is_not_the_transmitters_is_left_to_the_host() {
    let transmitter = transmitter().await;
    let own = Router::new()
        .route("/", get(|| async { "\"the host's page\"" }))
        .fallback(|| async { (http::StatusCode::NOT_FOUND, "\"the host's own\"") });
    let hosted = hosted_transmitter_router(&HostConfig::default(), &transmitter, by_extension());
    let router = own.merge(hosted);
    let read = async |path: &str| ask(&router, None, Method::GET, path, &Value::Null).await;
    let metadata = read("/.well-known/ssf-configuration/signals").await.body;
    assert_eq!(metadata["configuration_endpoint"], "https://id.example/signals/ssf/stream");
    assert!(
        metadata.get("authorization_schemes").is_none(),
        "how one logs in is the host's secret: {metadata}"
    );
    assert_eq!(read("/").await.body, "the host's page");
    for path in [
        "/nowhere",
        "/oauth/token",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/signals",
        "/signals/events",
    ] {
        let answer = read(path).await;
        assert_eq!((answer.status, &answer.body), (404, &json!("the host's own")), "{path}");
    }
}

// spec: INTEROP-27
#[tokio::test]
async fn the_hosts_authorization_server_is_named() {
    let transmitter = transmitter().await;
    let config = HostConfig {
        authorization_server: Some("https://id.example/oauth".to_owned()),
        ingest: true,
        ..HostConfig::default()
    };
    let router = hosted_transmitter_router(&config, &transmitter, by_extension());
    let read = async |path: &str| ask(&router, None, Method::GET, path, &Value::Null).await;
    let resource = read("/.well-known/oauth-protected-resource/signals").await.body;
    assert_eq!(resource["authorization_servers"], json!(["https://id.example/oauth"]));
    assert_eq!(resource["resource"], ISSUER);
    let metadata = read("/.well-known/ssf-configuration/signals").await.body;
    assert_eq!(metadata["authorization_schemes"], json!([{"spec_urn": "urn:ietf:rfc:6749"}]));
    assert_eq!(read("/oauth/token").await.status, 404);
    let event =
        json!({"type": "caep:session-revoked", "subject": {"format": "email", "email": "a@x.example"}});
    let told = ask(&router, Some("shop"), Method::POST, "/signals/events", &event).await;
    assert_eq!(told.status, 403, "to manage streams is not to tell events");
}

/// A host whose sessions are somewhere else.
struct Elsewhere;

impl Authenticate for Elsewhere {
    fn caller<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Caller, Refusal>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            match request.headers.get("x-api-key") {
                Some(key) if key == "shop-1" => {
                    Ok(Caller::new("shop", "https://shop.example", [Scope::Read]))
                }
                Some(_) => Err(Refusal::unavailable("the sessions are not there")),
                None => Err(Refusal::unknown("ApiKey", "bring a key")),
            }
        })
    }
}

/// The router is a `tower::Service` over the types of `http`: hyper serves it without axum.
#[tokio::test]
async fn plain_hyper_serves_it_too() {
    let transmitter = transmitter().await;
    let router = hosted_transmitter_router(&HostConfig::default(), &transmitter, Arc::new(Elsewhere));
    let ask = async |key: &str| {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let service = TowerToHyperService::new(router.clone());
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let serving = tokio::spawn(serving);
        let head =
            format!("GET /signals/ssf/stream HTTP/1.1\r\nHost: id.example\r\nConnection: close\r\n{key}\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        serving.await.unwrap().unwrap();
        answer
    };
    let known = ask("X-Api-Key: shop-1\r\n").await;
    assert!(known.starts_with("HTTP/1.1 200 ") && known.ends_with("[]"), "{known}");
    assert!(ask("").await.contains("www-authenticate: ApiKey"));
    assert!(ask("X-Api-Key: other\r\n").await.starts_with("HTTP/1.1 503 "));
}

/// What the book shows is what runs: each piece of code in it stands in the example.
#[test]
fn the_book_shows_the_example() {
    let page = include_str!("../../../../docs/book/embedding.md");
    let example = include_str!("../../../../examples/identity_server.rs");
    let pieces: Vec<&str> =
        page.split("```rust\n").skip(1).map(|piece| piece.split("```").next().unwrap()).collect();
    assert!(pieces.len() >= 3, "the page has lost its code");
    for piece in pieces {
        assert!(example.contains(piece), "this is not in the example:\n{piece}");
    }
}
