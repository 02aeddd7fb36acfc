//! Push in, through the endpoint that a server mounts.

use crate::transmitter::{AUDIENCE, ISSUER, SESSION_REVOKED, VERIFICATION, status};
use crate::world::{START_SECONDS, World, claims, err, push_request, push_source};
use bytes::Bytes;
use http::header::{
    ACCEPT_LANGUAGE, ALLOW, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request};
use secevent::{Profile, Timestamp};
use secevent_jose::{Algorithm, Signer, SigningKey};
use secevent_receiver::{HandleError, ReceiverConfig, Unauthenticated};
use secevent_store::Inbox as _;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";

// spec: PUSH-11
#[tokio::test(start_paused = true)]
async fn a_good_set_is_accepted_and_handed_on() {
    let world = World::pushed().await;
    let response = world.push_set("a").await;
    assert_eq!((response.status().as_u16(), response.body().len()), (202, 0));
    world.until_handled(&["a"]).await;
    assert_eq!(world.receiver.counts().received, 1);
}

/// A token with claims that are changed so.
fn token(world: &World, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims("x");
    change(&mut claims);
    world.transmitter.sign(&claims)
}

fn without(claims: &mut Value, name: &str) {
    claims.as_object_mut().unwrap().remove(name);
}

/// Pushes each token, and compares the codes of the refusals.
async fn expect_refusals(world: &World, cases: Vec<(&str, String, &str)>) {
    for (name, token, code) in cases {
        let response = world.push(token).await;
        assert_eq!((response.status().as_u16(), err(&response).as_str()), (400, code), "{name}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json", "{name}");
        assert_eq!(response.headers()[CONTENT_LANGUAGE], "en", "{name}");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert!(body["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert!(world.handler.handled().is_empty());
    assert_eq!(world.store.waiting(0, 10).await.unwrap().len(), 0, "nothing of a refused SET is kept");
}

// spec: PUSH-06, PUSH-12, PUSH-13, PUSH-14
#[tokio::test(start_paused = true)]
async fn what_is_no_set_is_refused() {
    let world = World::pushed().await;
    let good = token(&world, |_| {});
    let cases = vec![
        ("not a token", "abc".to_owned(), "invalid_request"),
        ("nothing", String::new(), "invalid_request"),
        ("two parts", "e30.e30".to_owned(), "invalid_request"),
        ("encrypted", "a.b.c.d.e".to_owned(), "invalid_request"),
        ("json around it", format!("{{\"set\":\"{good}\"}}"), "invalid_request"),
        ("two tokens", format!("{good}\n{good}"), "invalid_request"),
        ("no object", world.transmitter.sign(&json!([1])), "invalid_request"),
        ("no iss", token(&world, |claims| without(claims, "iss")), "invalid_request"),
        ("no jti", token(&world, |claims| without(claims, "jti")), "invalid_request"),
        ("no iat", token(&world, |claims| without(claims, "iat")), "invalid_request"),
        ("no events", token(&world, |claims| without(claims, "events")), "invalid_request"),
        ("empty events", token(&world, |claims| claims["events"] = json!({})), "invalid_request"),
        (
            "payload no object",
            token(&world, |claims| claims["events"] = json!({"urn:x:y": 1})),
            "invalid_request",
        ),
    ];
    expect_refusals(&world, cases).await;
}

// spec: PUSH-08, PUSH-09, PUSH-20, PUSH-21, SSF-22
#[tokio::test(start_paused = true)]
async fn a_set_of_or_for_somebody_else_is_refused() {
    let world = World::pushed().await;
    let cases = vec![
        (
            "other iss",
            token(&world, |claims| claims["iss"] = json!("https://other.example")),
            "invalid_issuer",
        ),
        (
            "iss with a slash",
            token(&world, |claims| claims["iss"] = json!(format!("{ISSUER}/"))),
            "invalid_issuer",
        ),
        (
            "other aud",
            token(&world, |claims| claims["aud"] = json!("https://other.example")),
            "invalid_audience",
        ),
        ("other auds", token(&world, |claims| claims["aud"] = json!(["a", "b"])), "invalid_audience"),
        ("no aud", token(&world, |claims| without(claims, "aud")), "invalid_audience"),
    ];
    expect_refusals(&world, cases).await;
    let ours_too = token(&world, |claims| claims["aud"] = json!(["https://other.example", AUDIENCE]));
    assert_eq!(world.push(ours_too).await.status(), 202);
}

// spec: SSF-18, SSF-19, SSF-20, LEGACY-27
#[tokio::test(start_paused = true)]
async fn what_ssf_forbids_is_refused_by_default_and_taken_from_legacy_peers() {
    let world = World::pushed().await;
    let key = world.transmitter.state().signer.key().clone();
    let typed = |typ: &str| Signer::new(key.clone(), typ).sign(claims("t").to_string().as_bytes()).unwrap();
    let cases = vec![
        ("sub", token(&world, |claims| claims["sub"] = json!("alice")), "invalid_request"),
        ("exp", token(&world, |claims| claims["exp"] = json!(START_SECONDS + 60)), "invalid_request"),
        ("no sub_id", token(&world, |claims| without(claims, "sub_id")), "invalid_request"),
        ("typ JWT", typed("JWT"), "invalid_request"),
        ("typ at+jwt", typed("at+jwt"), "invalid_request"),
        ("typ logout+jwt", typed("logout+jwt"), "invalid_request"),
    ];
    expect_refusals(&world, cases).await;

    let mut source = push_source();
    source.profile = Profile::Legacy;
    let legacy = World::with(source).await;
    let token = token(&legacy, |claims| claims["sub"] = json!("alice"));
    assert_eq!(legacy.push(token).await.status(), 202);
}

// spec: SET-23
#[tokio::test(start_paused = true)]
async fn a_typ_is_a_media_type() {
    let world = World::pushed().await;
    let key = world.transmitter.state().signer.key().clone();
    for typ in ["application/secevent+jwt", "SECEVENT+JWT"] {
        let token = Signer::new(key.clone(), typ).sign(claims(typ).to_string().as_bytes()).unwrap();
        assert_eq!(world.push(token).await.status(), 202, "{typ}");
    }
}

// spec: PUSH-07, PUSH-19, SET-25
#[tokio::test(start_paused = true)]
async fn a_set_that_the_issuer_did_not_sign_is_refused() {
    let world = World::pushed().await;
    let payload = claims("x").to_string();
    let stranger = |kid: &str, algorithm| {
        let key = SigningKey::generate(algorithm).unwrap().with_kid(kid).unwrap();
        Signer::new(key, Signer::SECURITY_EVENT).sign(payload.as_bytes()).unwrap()
    };
    let none = "eyJhbGciOiJub25lIiwidHlwIjoic2VjZXZlbnQrand0In0.e30.".to_owned();
    let good = token(&world, |_| {});
    let (signed, _) = good.rsplit_once('.').unwrap();
    let cases = vec![
        // The first one, so that the keys are fetched after it came.
        ("another's key", stranger("key-9", Algorithm::EdDsa), "invalid_key"),
        ("another's key, our kid", stranger("key-1", Algorithm::EdDsa), "invalid_key"),
        ("another algorithm", stranger("key-1", Algorithm::Es256), "invalid_key"),
        ("no algorithm", none, "invalid_key"),
        ("no signature", format!("{signed}."), "invalid_key"),
    ];
    expect_refusals(&world, cases).await;
}

// spec: PUSH-18
#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_its_definition_is_refused() {
    let mut source = push_source();
    source.payloads = secevent::Strictness::Strict;
    let world = World::with(source).await;
    let broken = token(&world, |claims| {
        claims["events"] = json!({ CREDENTIAL_CHANGE: {"credential_type": "password"} });
    });
    expect_refusals(&world, vec![("no change_type", broken, "invalid_request")]).await;
}

// finding: A8
#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_understood_costs_no_set() {
    let world = World::pushed().await;
    for (jti, payload) in [
        ("no change_type", json!({"credential_type": "password"})),
        (
            "a time in words",
            json!({"credential_type": "password", "change_type": "update", "event_timestamp": "now"}),
        ),
    ] {
        let token = token(&world, |claims| {
            claims["jti"] = json!(jti);
            claims["events"] = json!({ CREDENTIAL_CHANGE: payload });
        });
        assert_eq!(world.push(token).await.status(), 202, "{jti}");
    }
}

// spec: PUSH-39, SSF-31
#[tokio::test(start_paused = true)]
async fn what_is_unknown_does_no_harm() {
    let world = World::pushed().await;
    let unknown = token(&world, |claims| {
        claims["events"] = json!({"https://example.com/event/brand-new": {"x": {"y": [1]}}});
        claims["another"] = json!({"claim": null});
    });
    assert_eq!(world.push(unknown).await.status(), 202);
    let members = token(&world, |claims| {
        claims["jti"] = json!("y");
        claims["events"][SESSION_REVOKED]["another"] = json!(7);
        claims["sub_id"]["another"] = json!(true);
    });
    assert_eq!(world.push(members).await.status(), 202);
}

// spec: PUSH-10
#[tokio::test(start_paused = true)]
async fn a_transmitter_may_not_send_the_sets_of_another_one() {
    let mut other = push_source();
    other.name = "other".to_owned();
    other.peer.issuer = "https://other.example".parse().unwrap();
    let config = ReceiverConfig { sources: vec![push_source(), other], ..ReceiverConfig::default() };
    let world = World::configured(config).await;
    let endpoint = world.receiver.push_endpoint("other").unwrap();
    let response = endpoint.handle(push_request(token(&world, |_| {}))).await;
    assert_eq!((response.status().as_u16(), err(&response).as_str()), (400, "invalid_issuer"));
}

// spec: PUSH-22
#[tokio::test(start_paused = true)]
async fn a_push_without_the_agreed_credential_is_refused() {
    let world = World::pushed().await;
    let good = token(&world, |_| {});
    let with = |values: &[&str]| {
        let mut request = push_request(good.clone());
        request.headers_mut().remove(AUTHORIZATION);
        for value in values {
            request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
        }
        request
    };
    let right = "Bearer push-secret";
    for wrong in
        [&[][..], &["Bearer push-secreT"], &["push-secret"], &["Bearer push-secret2"], &[right, right]]
    {
        let response = world.endpoint().handle(with(wrong)).await;
        assert_eq!(
            (response.status().as_u16(), err(&response).as_str()),
            (400, "authentication_failed"),
            "{wrong:?}"
        );
        assert_eq!(response.headers()[CONTENT_LANGUAGE], "en");
    }
    // finding: B8
    assert_eq!(world.receiver.counts().unauthenticated, 5);
    assert_eq!(world.endpoint().handle(with(&[right])).await.status(), 202);

    let config = ReceiverConfig {
        sources: vec![push_source()],
        unauthenticated: Unauthenticated::Unauthorized,
        ..ReceiverConfig::default()
    };
    let world = World::configured(config).await;
    let response = world.endpoint().handle(with(&[])).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[WWW_AUTHENTICATE]),
        (401, &"Bearer".parse().unwrap())
    );
}

// spec: PUSH-25
#[tokio::test(start_paused = true)]
async fn trouble_with_the_request_has_the_status_that_http_has_for_it() {
    let world = World::pushed().await;
    let (endpoint, good) = (world.endpoint(), token(&world, |_| {}));
    let changed = |change: &dyn Fn(&mut Request<Bytes>)| {
        let mut request = push_request(good.clone());
        change(&mut request);
        endpoint.handle(request)
    };
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = changed(&|request| *request.method_mut() = method.clone()).await;
        assert_eq!((response.status().as_u16(), &response.headers()[ALLOW]), (405, &"POST".parse().unwrap()));
    }
    for wrong in ["text/plain", "application/json", "application/jwt", "application/secevent+jwt-set", ""] {
        let response = changed(&|request| {
            request.headers_mut().insert(CONTENT_TYPE, wrong.parse().unwrap());
        });
        assert_eq!(response.await.status(), 415, "{wrong}");
    }
    let response = changed(&|request| drop(request.headers_mut().remove(CONTENT_TYPE)));
    assert_eq!(response.await.status(), 415);

    let max = world.endpoint().body_bytes_max();
    for (bytes, code) in [(max, 400), (max + 1, 413)] {
        let response = changed(&|request| *request.body_mut() = vec![b'a'; bytes].into());
        assert_eq!(response.await.status(), code, "{bytes} bytes");
    }
    assert_eq!(world.receiver.counts().received, 0);
}

// spec: LEGACY-28, LEGACY-29
#[tokio::test(start_paused = true)]
async fn spellings_of_the_wild_are_taken() {
    let world = World::pushed().await;
    for (place, (content_type, end)) in [
        ("application/secevent+jwt; charset=utf-8", ""),
        ("Application/SecEvent+JWT", ""),
        ("application/secevent+jwt", "\n"),
        ("application/secevent+jwt", "\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let token = token(&world, |claims| claims["jti"] = json!(place.to_string()));
        let mut request = push_request(format!("{token}{end}"));
        request.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(world.endpoint().handle(request).await.status(), 202, "{content_type} {end:?}");
    }
}

// spec: LEGACY-30
#[tokio::test(start_paused = true)]
async fn a_set_may_be_old_and_a_little_ahead() {
    let world = World::pushed().await;
    let year = 365 * 24 * 3600;
    for (offset, code) in [(-year, 202), (0, 202), (30, 202), (60, 202), (62, 400), (24 * 3600, 400)] {
        let token = token(&world, |claims| {
            claims["iat"] = json!(START_SECONDS + offset);
            claims["jti"] = json!(offset.to_string());
        });
        assert_eq!(world.push(token).await.status(), code, "{offset}");
    }
}

// spec: PUSH-28
#[tokio::test(start_paused = true)]
async fn a_repeat_is_accepted_and_not_handed_on() {
    let world = World::pushed().await;
    let token = token(&world, |_| {});
    for _ in 0..3 {
        let response = world.push(token.clone()).await;
        assert_eq!((response.status().as_u16(), response.body().len()), (202, 0));
    }
    world.push_set("after").await;
    world.until_handled(&["x", "after"]).await;
    let counts = world.receiver.counts();
    assert_eq!((counts.received, counts.repeated), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn another_set_under_the_same_jti_is_refused_and_counted() {
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    let mut other = claims("a");
    other["sub_id"]["email"] = json!("bob@example.com");
    let response = world.push(world.transmitter.sign(&other)).await;
    assert_eq!((response.status().as_u16(), err(&response).as_str()), (400, "invalid_request"));
    assert_eq!(world.receiver.counts().changed, 1);
    world.until_handled(&["a"]).await;
}

// spec: PUSH-26, PUSH-27
#[tokio::test(start_paused = true)]
async fn neither_a_slow_nor_a_failing_handler_shows_in_the_answer() {
    let world = World::pushed().await;
    world.handler.block();
    assert_eq!(world.push_set("slow").await.status(), 202);
    world.until_handled(&["slow"]).await;
    assert_eq!(world.push_set("slow too").await.status(), 202);

    let world = World::pushed().await;
    world.handler.fail([HandleError::Never("broken".to_owned())]);
    assert_eq!(world.push_set("a").await.status(), 202);
    world.until(|| world.receiver.counts().dead == 1).await;
    assert_eq!(world.push_set("a").await.status(), 202, "the answer stays the same");
}

// spec: PUSH-29, PUSH-38
#[tokio::test(start_paused = true)]
async fn what_was_accepted_survives_a_crash() {
    let config = || ReceiverConfig { sources: vec![push_source()], ..ReceiverConfig::default() };
    let world = World::configured(config()).await;
    world.handler.block();
    let token = token(&world, |_| {});
    assert_eq!(world.push(token.clone()).await.status(), 202);
    let stored = world.store.waiting(0, 10).await.unwrap();
    assert_eq!(stored[0].received.token, token.as_bytes(), "the evidence is kept as it came");
    assert_eq!(stored[0].received.at, Timestamp::from_seconds(START_SECONDS));

    let world = world.crashed(config()).await;
    world.until_handled(&["x"]).await;
    assert_eq!(world.push(token).await.status(), 202, "and it is still known");
    world.push_set("after").await;
    world.until_handled(&["x", "after"]).await;
}

// spec: PUSH-16
#[tokio::test(start_paused = true)]
async fn an_english_reader_understands_the_answer() {
    let world = World::pushed().await;
    for languages in [None, Some("xx"), Some("de, fr;q=0.5")] {
        let mut request = push_request("abc");
        if let Some(languages) = languages {
            request.headers_mut().insert(ACCEPT_LANGUAGE, languages.parse().unwrap());
        }
        let response = world.endpoint().handle(request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_LANGUAGE]),
            (400, &"en".parse().unwrap())
        );
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            body["description"],
            "the token is malformed: the document must be three parts with dots between them [SET-01]"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_before_it_is_stored() {
    let world = World::pushed().await;
    world.inbox.fail(1);
    let response = world.push_set("a").await;
    assert_eq!((response.status().as_u16(), response.body().len()), (503, 0));
    assert_eq!(response.headers()[RETRY_AFTER], "5");
    assert_eq!(world.push_set("a").await.status(), 202);
    world.until_handled(&["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_keys_cannot_be_had_the_transmitter_is_asked_to_come_again() {
    let world = World::pushed().await;
    world.transmitter.script("/odd/keys", Ok(status(500)));
    let response = world.push_set("a").await;
    assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (503, &"5".parse().unwrap()));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(world.push_set("a").await.status(), 202);
}

// spec: SSF-152, SSF-158
#[tokio::test(start_paused = true)]
async fn a_verification_event_has_no_state_or_one_that_was_asked_for() {
    let world = World::pushed().await;
    let verification = |jti: &str, event: Value| {
        let mut claims = claims(jti);
        claims["sub_id"] = json!({"format": "opaque", "id": "s1"});
        claims["events"] = json!({ VERIFICATION: event });
        world.transmitter.sign(&claims)
    };
    assert_eq!(world.push(verification("v1", json!({}))).await.status(), 202);
    let response = world.push(verification("v2", json!({"state": "guess"}))).await;
    assert_eq!((response.status().as_u16(), err(&response).as_str()), (400, "invalid_state"));
    world.push_set("after").await;
    world.until_handled(&["after"]).await;
}

/// The messages of this thread's log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn count(&self, message: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(message)).count()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("secevent_receiver")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, "{}={value:?} ", field.name());
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

// finding: B16
#[tokio::test(start_paused = true)]
async fn the_log_sums_up_rejected_sets() {
    let log = Log::default();
    // While there is one subscriber alone, the thread that reaches a line first decides for all whether it is wanted.
    let _other = tracing::Dispatch::new(Log::default());
    let _guard = tracing::subscriber::set_default(log.clone());
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    for number in 0..1_000 {
        assert_eq!(world.push(format!("junk {number}")).await.status(), 400);
        let mut request = push_request("junk");
        request.headers_mut().remove(AUTHORIZATION);
        assert_eq!(world.endpoint().handle(request).await.status(), 400);
    }
    assert_eq!((log.count("Rejected SET"), log.count("Further SETs")), (20, 0));
    // What the transmitter has signed is not hidden by what strangers send.
    let changed = token(&world, |claims| {
        claims["jti"] = "a".into();
        claims["txn"] = "other".into();
    });
    assert_eq!(world.push(changed).await.status(), 400);
    assert_eq!(log.count("its jti was used before"), 1);
    sleep(Duration::from_secs(61)).await;
    let sums = log.count("count=980 ");
    assert_eq!((log.count("Further SETs not taken"), sums), (1, 1), "{:?}", log.0);
    assert_eq!(log.count("wrong or missing credential"), 2, "the first one, and a sum");
    assert!(log.count("") < 30, "{:?}", log.0);
}
