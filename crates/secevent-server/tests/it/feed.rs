//! A feed as its receiver sees it: what streams promise and what then comes.

use crate::recipient::claims_of;
use crate::world::{CREDENTIAL, POLL, PUSH, SESSION_REVOKED, World};
use http::Method;
use secevent_server::MetricsAccess;
use secevent_transmitter::{Ending, Inactivity, TransmitterConfig};
use serde_json::{Value, json};
use std::time::Duration;

const STREAM: &str = "/tenant-a/ssf/stream";
const STATUS: &str = "/tenant-a/ssf/status";
const VERIFY: &str = "/tenant-a/ssf/verify";
const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// A world with a receiver, and a producer beside it.
struct Feed {
    world: World,
    token: String,
    producer: String,
}

impl Feed {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut TransmitterConfig)) -> Self {
        let world = World::with(change, MetricsAccess::Token).await;
        let (token, producer) = (world.token("rp").await, world.token("producer").await);
        Self { world, token, producer }
    }

    /// Lets time pass, and asks for new tokens.
    async fn later(&mut self, seconds: i64) {
        self.world.later(seconds);
        self.token = self.world.token("rp").await;
        self.producer = self.world.token("producer").await;
    }

    async fn push_stream(&self) -> Value {
        let delivery = json!({"method": PUSH, "endpoint_url": "https://rp.example/events", "authorization_header": CREDENTIAL});
        let request = json!({"delivery": delivery, "events_requested": [SESSION_REVOKED, CREDENTIAL_CHANGE]});
        self.world.post(&self.token, STREAM, &request).await.is_answer(201)
    }

    async fn emit(&self, kind: &str, user: &str) -> Value {
        let mut event =
            json!({"type": kind, "subject": {"format": "email", "email": format!("{user}@example.com")}});
        if kind == "caep:credential-change" {
            event["data"] = json!({"credential_type": "password", "change_type": "update"});
        }
        let answer = self.world.post(&self.producer, "/tenant-a/events", &event).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()
    }

    async fn set_status(&self, stream: &Value, status: &str) {
        let request = json!({"stream_id": stream["stream_id"], "status": status});
        self.world.post(&self.token, STATUS, &request).await.is_answer(200);
    }

    /// Polls, and gives the claims by `jti`.
    async fn poll(&self, stream: &Value, request: Value) -> Vec<(String, Value)> {
        let url = stream["delivery"]["endpoint_url"].as_str().unwrap();
        let path = url.strip_prefix("https://tr.example").unwrap();
        let answer = self.world.post(&self.token, path, &request).await.is_answer(200);
        let sets = answer["sets"].as_object().unwrap().clone();
        sets.into_iter().map(|(jti, token)| (jti, claims_of(token.as_str().unwrap()))).collect()
    }

    /// Polls until there is nothing more, and acknowledges everything.
    async fn drained(&self, stream: &Value) -> Vec<Value> {
        let (mut all, mut ack) = (Vec::new(), Vec::new());
        loop {
            let sets = self.poll(stream, json!({"ack": ack, "returnImmediately": true})).await;
            if sets.is_empty() {
                return all;
            }
            ack = sets.iter().map(|(jti, _)| jti.clone()).collect();
            all.extend(sets.into_iter().map(|(_, claims)| claims));
        }
    }
}

fn is(claims: &Value, kind: &str) -> bool {
    claims["events"].get(kind).is_some()
}

fn users(claims: &[Value]) -> Vec<&str> {
    claims.iter().filter_map(|claims| claims["sub_id"]["email"].as_str()).collect()
}

// spec: PUSH-02, PUSH-03, PUSH-04, SSF-34, E-101
#[tokio::test(start_paused = true)]
async fn a_push_is_one_set_with_the_headers_of_the_standard() {
    let feed = Feed::new().await;
    assert_eq!(feed.push_stream().await["delivery"]["method"], "urn:ietf:rfc:8935");
    feed.emit("caep:session-revoked", "alice").await;
    for push in feed.world.recipient.pushed(2).await {
        assert_eq!((push.method(), push.uri().scheme_str()), (&Method::POST, Some("https")));
        assert_eq!(push.headers()["content-type"], "application/secevent+jwt");
        assert_eq!(push.headers()["accept"], "application/json");
        let text = std::str::from_utf8(push.body()).unwrap();
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(
            text.split('.').count() == 3 && text.split('.').all(|part| part.bytes().all(base64url)),
            "{text}"
        );
    }
}

// spec: PUSH-01, SSF-38, E-18
#[tokio::test(start_paused = true)]
async fn a_push_has_the_authorization_that_was_stated_or_none() {
    let feed = Feed::new().await;
    feed.push_stream().await;
    let without = json!({"delivery": {"method": PUSH, "endpoint_url": "https://rp.example/bare"}});
    feed.world.post(&feed.token, STREAM, &without).await.is_answer(201);
    feed.emit("caep:session-revoked", "alice").await;
    for push in feed.world.recipient.pushed(3).await {
        assert_eq!((push.method(), push.uri().scheme_str()), (&Method::POST, Some("https")));
        let sent = push.headers().get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(sent, (push.uri().path() == "/events").then_some(CREDENTIAL));
    }
}

// spec: PUSH-24, E-93
#[tokio::test(start_paused = true)]
async fn a_refusal_that_nobody_knows_ends_that_set_and_not_the_stream() {
    let feed = Feed::new().await;
    let stream = feed.push_stream().await;
    feed.world.recipient.pushed(1).await;
    for err in ["setData", "dup", "invalid_state", "something_new"] {
        feed.world.recipient.refuse_next(err);
        feed.emit("caep:session-revoked", err).await;
    }
    feed.emit("caep:session-revoked", "alice").await;
    let last = feed.world.recipient.claims(6).await;
    assert_eq!(last["sub_id"]["email"], "alice@example.com", "each went out once");
    let path = format!("{STATUS}?stream_id={}", stream["stream_id"].as_str().unwrap());
    assert_eq!(feed.world.get(&feed.token, &path).await.is_answer(200)["status"], "enabled");
}

// spec: SSF-21, SSF-47, SSF-74, SSF-75
#[tokio::test(start_paused = true)]
async fn issuer_and_audience_are_those_of_the_stream_and_of_the_metadata() {
    let feed = Feed::new().await;
    let metadata = feed.world.get("", "/.well-known/ssf-configuration/tenant-a").await.json();
    let stream = feed.push_stream().await;
    feed.emit("caep:session-revoked", "alice").await;
    for number in 1..=2 {
        let claims = feed.world.recipient.claims(number).await;
        assert_eq!(claims["iss"], "https://tr.example/tenant-a");
        assert_eq!((&claims["iss"], &claims["iss"]), (&stream["iss"], &metadata["issuer"]));
        assert_eq!(claims["aud"], stream["aud"]);
    }
    for method in [Method::PATCH, Method::PUT] {
        let change = json!({"stream_id": stream["stream_id"], "aud": "https://other.example"}).to_string();
        feed.world.send(method, &feed.token, STREAM, change).await.is_problem(400, "invalid_request");
    }
}

// spec: SSF-27, E-42, E-43, E-54
#[tokio::test(start_paused = true)]
async fn one_cause_has_one_txn_on_every_stream_and_one_event_in_each_set() {
    let feed = Feed::new().await;
    feed.push_stream().await;
    let polled = feed.world.stream(&feed.token, "/tenant-a").await;
    let first = feed.emit("caep:session-revoked", "alice").await;
    let second = feed.emit("caep:session-revoked", "bob").await;
    let of_poll = feed.drained(&polled).await;
    let of_push = [feed.world.recipient.claims(2).await, feed.world.recipient.claims(3).await];
    let txns = |sets: &[Value]| -> Vec<Value> {
        let told = sets.iter().filter(|set| is(set, SESSION_REVOKED));
        told.map(|set| set["txn"].clone()).collect()
    };
    assert_eq!(txns(&of_push), [first["txn"].clone(), second["txn"].clone()]);
    assert_eq!(txns(&of_poll), txns(&of_push));
    assert_ne!(first["txn"], second["txn"]);
    for claims in of_poll.iter().chain(&of_push) {
        assert_eq!(claims["events"].as_object().unwrap().len(), 1);
        assert!(claims["iat"].as_i64().unwrap() <= feed.world.now(), "whole seconds, never ahead");
    }
}

// spec: SSF-79
#[tokio::test(start_paused = true)]
async fn what_is_said_to_be_delivered_is_delivered_and_nothing_else() {
    let feed = Feed::new().await;
    let stream = feed.push_stream().await;
    let listed = |member: &str| -> Vec<String> {
        let list = stream[member].as_array().unwrap();
        list.iter().map(|uri| uri.as_str().unwrap().to_owned()).collect()
    };
    let delivered = listed("events_delivered");
    let in_both =
        |uri: &&String| listed("events_supported").contains(uri) && listed("events_requested").contains(uri);
    assert_eq!((delivered.len(), delivered.iter().filter(in_both).count()), (2, 2));
    for kind in ["caep:session-revoked", "risc:account-purged", "caep:credential-change"] {
        feed.emit(kind, "alice").await;
    }
    let came: Vec<Value> =
        [feed.world.recipient.claims(2).await, feed.world.recipient.claims(3).await].into();
    for uri in delivered {
        assert!(came.iter().any(|claims| is(claims, &uri)), "{uri} never comes");
    }
}

// spec: SSF-91, E-04, E-05
#[tokio::test(start_paused = true)]
async fn a_method_that_is_not_there_and_a_stream_too_many_have_their_codes() {
    let feed = Feed::with(|config| config.streams_per_client_max = 1).await;
    let (world, token) = (&feed.world, &feed.token);
    let delivery = json!({"delivery": {"method": "urn:x"}});
    world.post(token, STREAM, &delivery).await.is_problem(400, "invalid_request");
    assert_eq!(world.get(token, STREAM).await.is_answer(200), json!([]), "nothing was made");
    let stream = world.stream(token, "/tenant-a").await;
    world.post(token, STREAM, &json!({})).await.is_problem(409, "conflict");
    assert_eq!(world.get(token, STREAM).await.is_answer(200), json!([stream]));
}

// spec: SSF-109, SSF-115, E-01
#[tokio::test(start_paused = true)]
async fn each_mistake_in_a_change_has_its_code() {
    let feed = Feed::new().await;
    let world = &feed.world;
    let stream = world.stream(&feed.token, "/tenant-a").await;
    let (reader, form) = (world.token("reader").await, "grant_type=client_credentials&scope=ssf.read");
    let weak = world.ask_for_token(&crate::world::basic("rp"), form).await.json();
    let weak = weak["access_token"].as_str().unwrap();
    let own = json!({"stream_id": stream["stream_id"]}).to_string();
    let unknown = json!({"stream_id": "unknown"}).to_string();
    let wrong = json!({"stream_id": stream["stream_id"], "iss": "https://other.example"}).to_string();
    for method in [Method::PATCH, Method::PUT] {
        for (token, body, status, err) in [
            ("x", &*own, 401, "authentication_failed"),
            ("x", ";{ broken", 401, "authentication_failed"),
            (&feed.token, ";{ broken", 400, "invalid_request"),
            (&feed.token, "{}", 400, "invalid_request"),
            (&feed.token, &unknown, 404, "not_found"),
            (&reader, &own, 404, "not_found"),
            (weak, &own, 403, "access_denied"),
            (&feed.token, &wrong, 400, "invalid_request"),
        ] {
            let answer = world.send(method.clone(), token, STREAM, body.to_owned()).await;
            answer.is_problem(status, err);
        }
    }
    assert_eq!(world.get(&feed.token, STREAM).await.is_answer(200), json!([stream]), "nothing changed");
}

// spec: E-10, E-11
#[tokio::test(start_paused = true)]
async fn a_configuration_can_be_read_changed_and_written_back() {
    let feed = Feed::new().await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    let path = format!("{STREAM}?stream_id={}", stream["stream_id"].as_str().unwrap());
    for (method, wanted) in [(Method::PATCH, json!([])), (Method::PUT, json!([SESSION_REVOKED]))] {
        let mut whole = feed.world.get(&feed.token, &path).await.is_answer(200);
        whole["events_requested"] = wanted.clone();
        let changed = feed.world.send(method, &feed.token, STREAM, whole.to_string()).await;
        assert_eq!(changed.is_answer(200)["events_delivered"], wanted);
    }
}

// spec: SSF-121, SSF-128, E-02, E-06
#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_there_and_a_bad_token_sees_nothing() {
    let feed = Feed::new().await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    let id = stream["stream_id"].as_str().unwrap();
    for path in [STREAM, STATUS] {
        for id in [id, "unknown"] {
            let answer = feed.world.get("invalid", &format!("{path}?stream_id={id}")).await;
            answer.is_problem(401, "authentication_failed");
        }
        feed.world.get(&feed.token, &format!("{path}?stream_id=unknown")).await.is_problem(404, "not_found");
        let producer = &feed.producer;
        feed.world.get(producer, &format!("{path}?stream_id={id}")).await.is_problem(404, "not_found");
    }
    feed.world.get(&feed.token, STATUS).await.is_problem(400, "invalid_request");
    let status = feed.world.get(&feed.token, &format!("{STATUS}?stream_id={id}")).await.is_answer(200);
    assert_eq!(status, json!({"stream_id": id, "status": "enabled"}));
}

// spec: SSF-124, SSF-125, SSF-127, E-23, E-36
#[tokio::test(start_paused = true)]
async fn a_status_means_what_it_says() {
    let feed = Feed::new().await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    feed.emit("caep:session-revoked", "first").await;
    let sets = feed.drained(&stream).await;
    assert_eq!(users(&sets), ["first@example.com"], "a new stream is enabled");

    feed.set_status(&stream, "paused").await;
    let held = ["held1", "held2", "held3"];
    for _ in held {
        feed.emit("caep:session-revoked", "alice").await;
    }
    let mut expected = Vec::new();
    for user in held {
        expected.push(feed.emit("caep:session-revoked", user).await["txn"].clone());
    }
    let url = stream["delivery"]["endpoint_url"].as_str().unwrap();
    let path = url.strip_prefix("https://tr.example").unwrap();
    let nothing =
        feed.world.post(&feed.token, path, &json!({"returnImmediately": true})).await.is_answer(200);
    assert_eq!(nothing, json!({"sets": {}}));
    feed.set_status(&stream, "enabled").await;
    let sets = feed.drained(&stream).await;
    let of_alice: Vec<&Value> = sets
        .iter()
        .filter(|set| set["sub_id"]["email"] == "alice@example.com")
        .map(|set| &set["iat"])
        .collect();
    assert_eq!((sets.len(), of_alice.len()), (6, 3));
    let txns: Vec<Value> = sets.iter().map(|set| set["txn"].clone()).collect();
    assert!(expected.iter().all(|txn| txns.contains(txn)));

    feed.set_status(&stream, "disabled").await;
    feed.emit("caep:session-revoked", "lost").await;
    feed.set_status(&stream, "enabled").await;
    feed.emit("caep:session-revoked", "later").await;
    assert_eq!(users(&feed.drained(&stream).await), ["later@example.com"]);
}

/// Three events about one person, held while the stream was paused, come one after the other.
// spec: SSF-126
#[tokio::test(start_paused = true)]
async fn held_events_about_one_subject_come_in_their_order() {
    let feed = Feed::new().await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    feed.drained(&stream).await;
    feed.set_status(&stream, "paused").await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(feed.emit("caep:session-revoked", "alice").await["txn"].clone());
    }
    feed.set_status(&stream, "enabled").await;
    let came: Vec<Value> = feed.drained(&stream).await.iter().map(|set| set["txn"].clone()).collect();
    assert_eq!(came, expected);
}

// spec: SSF-133, SSF-168, SSF-169
#[tokio::test(start_paused = true)]
async fn what_an_operator_changes_is_told_before_the_silence_and_after_it() {
    let feed = Feed::new().await;
    let stream = feed.push_stream().await;
    feed.world.recipient.pushed(1).await;
    let path = format!("/admin/v1/streams/{}/status", stream["stream_id"].as_str().unwrap());
    let set = async |status: &str| {
        let body = json!({"status": status, "reason": "maintenance"});
        feed.world.admin(Method::PUT, crate::world::LOCAL, &path, &body).await.is_answer(200);
    };
    set("paused").await;
    let told = feed.world.recipient.claims(2).await;
    assert_eq!(told["events"][UPDATED], json!({"status": "paused", "reason": "maintenance"}));
    assert_eq!(told["sub_id"], json!({"format": "opaque", "id": stream["stream_id"]}));
    feed.emit("caep:session-revoked", "alice").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(feed.world.recipient.pushed(2).await.len(), 2, "silence");
    // Others have their turn while the change is stored, and while what tells of it is.
    feed.world.store.take_time();
    set("enabled").await;
    assert_eq!(
        feed.world.recipient.claims(3).await["events"][UPDATED]["status"],
        "enabled",
        "it comes first"
    );
    assert!(is(&feed.world.recipient.claims(4).await, SESSION_REVOKED));
}

// spec: SSF-156, INTEROP-10, INTEROP-14, E-14, E-35
#[tokio::test(start_paused = true)]
async fn a_verification_is_there_at_once_before_any_backlog() {
    let feed = Feed::new().await;
    let metadata = feed.world.get("", "/.well-known/ssf-configuration/tenant-a").await.json();
    let endpoint = metadata["verification_endpoint"].as_str().unwrap();
    assert_eq!(endpoint, format!("https://tr.example{VERIFY}"));
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    for number in 0..30 {
        feed.emit("caep:session-revoked", &format!("user{number}")).await;
    }
    let request = json!({"stream_id": stream["stream_id"], "state": "\u{1F511} a=b"});
    feed.world.post(&feed.token, VERIFY, &request).await.is_empty(204);
    let sets = feed.poll(&stream, json!({"maxEvents": 10, "returnImmediately": true})).await;
    let told: Vec<&Value> =
        sets.iter().filter_map(|(_, claims)| claims["events"].get(VERIFICATION)).collect();
    let (unasked, asked) = (json!({}), json!({"state": "\u{1F511} a=b"}));
    assert!(
        told == [&unasked, &asked] || told == [&asked, &unasked],
        "nobody asked for one, so it has no state"
    );
    for status in ["paused", "disabled"] {
        feed.set_status(&stream, status).await;
        feed.world.post(&feed.token, VERIFY, &request).await.is_problem(400, "invalid_request");
    }
}

// spec: SSF-82, SSF-163
#[tokio::test(start_paused = true)]
async fn a_verification_that_is_asked_for_too_soon_is_put_off() {
    let feed = Feed::with(|config| config.verification_interval_min = Duration::from_secs(60)).await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    assert_eq!(stream["min_verification_interval"], 60);
    let request = json!({"stream_id": stream["stream_id"]});
    feed.world.post(&feed.token, VERIFY, &request).await.is_empty(204);
    feed.world.later(15);
    let answer = feed.world.post(&feed.token, VERIFY, &request).await;
    answer.is_problem(429, "too_often");
    assert_eq!(answer.header("retry-after"), Some("45"));
    feed.world.later(45);
    feed.world.post(&feed.token, VERIFY, &request).await.is_empty(204);
}

// spec: SSF-85, SSF-86, SSF-84
#[tokio::test(start_paused = true)]
async fn who_is_silent_is_paused_and_told_and_who_polls_is_not() {
    let timeout = Duration::from_secs(3600);
    let mut feed = Feed::with(|config| {
        config.inactivity = Some(Inactivity { timeout, then: Ending::Pause });
    })
    .await;
    let (silent, alive) = (
        feed.world.stream(&feed.token, "/tenant-a").await,
        feed.world.stream(&feed.token, "/tenant-a").await,
    );
    assert_eq!(silent["inactivity_timeout"], 3600);
    for _ in 0..3 {
        feed.later(1800).await;
        feed.drained(&alive).await;
        // The transmitter looks after its streams by its own time.
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    let status = async |stream: &Value| {
        let path = format!("{STATUS}?stream_id={}", stream["stream_id"].as_str().unwrap());
        feed.world.get(&feed.token, &path).await.is_answer(200)["status"].clone()
    };
    assert_eq!((status(&alive).await, status(&silent).await), (json!("enabled"), json!("paused")));
    let told = feed.drained(&silent).await;
    assert_eq!(told.last().unwrap()["events"][UPDATED]["status"], "paused");
}

// spec: INTEROP-06, INTEROP-07, INTEROP-13
#[tokio::test(start_paused = true)]
async fn streams_and_keys_are_where_the_metadata_says() {
    let feed = Feed::new().await;
    let world = &feed.world;
    let metadata = world.get("", "/.well-known/ssf-configuration/tenant-a").await.json();
    let below = |member: &str| {
        let url = metadata[member].as_str().unwrap();
        url.strip_prefix("https://tr.example").unwrap().to_owned()
    };
    let push = json!({"delivery": {"method": PUSH, "endpoint_url": "https://rp.example/"}});
    for (request, method) in [(json!({}), POLL), (push, PUSH)] {
        let created = world.post(&feed.token, &below("configuration_endpoint"), &request).await;
        assert_eq!(created.is_answer(201)["delivery"]["method"], method);
    }
    let keys = world.get("", &below("jwks_uri")).await.json();
    let pushed = world.recipient.pushed(1).await;
    let signed = secevent_jose::Compact::parse(std::str::from_utf8(pushed[0].body()).unwrap()).unwrap();
    let kid = signed.header().kid();
    assert!(kid.is_some());
    assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"].as_str() == kid));
}

/// Methods of delivery are URNs, and formats of subjects have underscores: the older names are nobody's any more.
// spec: E-48
#[tokio::test(start_paused = true)]
async fn names_are_those_that_are_registered() {
    let feed = Feed::new().await;
    let world = &feed.world;
    let metadata = world.get("", "/.well-known/ssf-configuration/tenant-a").await.json();
    assert_eq!(metadata["delivery_methods_supported"], json!([PUSH, POLL]));
    let stream = feed.push_stream().await;
    assert_eq!(stream["delivery"]["method"], PUSH);
    world.recipient.pushed(1).await;
    let subject = json!({"format": "jwt_id", "iss": "https://idp.example", "jti": "B70BA622"});
    let event = json!({"type": "caep:session-revoked", "subject": subject});
    world.post(&feed.producer, "/tenant-a/events", &event).await.is_answer(202);
    assert_eq!(world.recipient.claims(2).await["sub_id"], subject);
}

// spec: INTEROP-25, E-82, E-85
#[tokio::test(start_paused = true)]
async fn a_token_is_got_where_the_resource_says_and_has_to_be_good_and_sufficient() {
    let feed = Feed::new().await;
    let world = &feed.world;
    let resource = world.get("", "/.well-known/oauth-protected-resource/tenant-a").await.json();
    assert_eq!(resource["authorization_servers"], json!(["https://tr.example"]));
    world.get("nonsense", STREAM).await.is_problem(401, "authentication_failed");
    world.get(&feed.producer, STREAM).await.is_problem(403, "access_denied");
    assert_eq!(world.get(&feed.token, STREAM).await.is_answer(200), json!([]));
    world.later(3600);
    world.get(&feed.token, STREAM).await.is_problem(401, "authentication_failed");
}

// spec: E-25, E-26
#[tokio::test(start_paused = true)]
async fn the_metadata_states_the_default_subjects_and_no_events() {
    let metadata = World::new().await.get("", "/.well-known/ssf-configuration").await.json();
    assert!(metadata.get("events_supported").is_none());
    assert_eq!(metadata["default_subjects"], "ALL");
}

// spec: POLL-03, POLL-06, POLL-21, POLL-30
#[tokio::test(start_paused = true)]
async fn a_poll_gets_all_there_is_and_one_refusal_is_of_one_set() {
    let feed = Feed::new().await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    feed.drained(&stream).await;
    for number in 0..20 {
        feed.emit("caep:session-revoked", &format!("user{number}")).await;
    }
    let sets = feed.poll(&stream, json!({})).await;
    assert_eq!(sets.len(), 20, "all there is");
    for (jti, claims) in &sets {
        assert_eq!(claims["jti"], *jti.as_str());
    }
    let refused = json!({&sets[3].0: {"err": "invalid_request", "description": "no"}});
    let ack: Vec<&String> = sets.iter().map(|(jti, _)| jti).filter(|jti| **jti != sets[3].0).collect();
    let request = json!({"ack": ack, "setErrs": refused, "returnImmediately": true});
    assert!(feed.poll(&stream, request).await.is_empty());
    feed.world.store.settles(1 + 20).await;
    let dead = feed.world.admin(Method::GET, crate::world::LOCAL, "/admin/v1/dead", &Value::Null).await;
    assert_eq!(dead.is_answer(200)["dead"].as_array().unwrap().len(), 1);
}

// spec: POLL-09
#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_is_answered_when_something_comes() {
    let feed = Feed::new().await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    feed.drained(&stream).await;
    let began = tokio::time::Instant::now();
    let later = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        feed.emit("caep:session-revoked", "alice").await
    };
    let (sets, _) = tokio::join!(feed.poll(&stream, json!({"returnImmediately": false})), later);
    assert_eq!((sets.len(), began.elapsed()), (1, Duration::from_secs(7)));
}

// spec: E-22, E-34
#[tokio::test(start_paused = true)]
async fn a_stream_that_the_transmitter_ends_is_disabled_and_told_before_it_is_gone() {
    let timeout = Duration::from_secs(3600);
    let mut feed = Feed::with(|config| {
        config.inactivity = Some(Inactivity { timeout, then: Ending::Delete });
    })
    .await;
    let stream = feed.world.stream(&feed.token, "/tenant-a").await;
    feed.drained(&stream).await;
    feed.later(3700).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let request = json!({"stream_id": stream["stream_id"], "status": "enabled"});
    feed.world.post(&feed.token, STATUS, &request).await.is_problem(403, "access_denied");
    let told = feed.drained(&stream).await;
    assert_eq!(told.last().unwrap()["events"][UPDATED]["status"], "disabled");
    tokio::time::sleep(Duration::from_secs(120)).await;
    let path = format!("{STATUS}?stream_id={}", stream["stream_id"].as_str().unwrap());
    feed.world.get(&feed.token, &path).await.is_problem(404, "not_found");
}

// spec: E-60, E-63
#[tokio::test(start_paused = true)]
async fn events_have_the_names_and_forms_that_were_agreed_on() {
    let feed = Feed::new().await;
    let subject = json!({"format": "email", "email": "alice@example.com"});
    let emit = async |event: Value| feed.world.post(&feed.producer, "/tenant-a/events", &event).await;
    let kind = "https://schemas.openid.net/secevent/caep/event-type/token-claims-change";
    let request = json!({"events_requested": [kind]});
    let stream = feed.world.post(&feed.token, STREAM, &request).await.is_answer(201);
    let data = json!({"claims": {"role": "reader"}, "reason_admin": {"en": "moved"}});
    // The older spelling is understood, and not passed on.
    for spelling in [kind, &format!("{kind}d")] {
        assert_eq!(emit(json!({"type": spelling, "subject": subject, "data": data})).await.status, 202);
    }
    let sets = feed.drained(&stream).await;
    assert_eq!(sets.iter().filter(|set| set["events"].get(kind) == Some(&data)).count(), 2);
    let data = json!({"claims": {"a": "b"}, "reason_admin": {}});
    emit(json!({"type": kind, "subject": subject, "data": data})).await.is_problem(400, "invalid_request");
}
