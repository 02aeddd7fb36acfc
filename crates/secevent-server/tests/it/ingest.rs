//! Events come in over HTTP.

use crate::world::{Answer, World};
use axum::body::Body;
use http::{Method, Request};
use secevent_store::StoreError;
use serde_json::{Value, json};

const EVENTS: &str = "/tenant-a/events";
const UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

struct Ingest {
    world: World,
    producer: String,
    receiver: String,
    stream: Value,
}

impl Ingest {
    async fn new() -> Self {
        let world = World::new().await;
        let (producer, receiver) = (world.token("producer").await, world.token("rp").await);
        let stream = world.stream(&receiver, "/tenant-a").await;
        let ingest = Self { world, producer, receiver, stream };
        assert_eq!(ingest.stored().await, 1, "the verification, which nobody acknowledges");
        ingest
    }

    async fn one(&self, event: &Value) -> Answer {
        self.world.post(&self.producer, EVENTS, event).await
    }

    async fn lines(&self, lines: impl Into<Body>) -> Answer {
        self.world.send_as(Method::POST, &self.producer, EVENTS, "application/x-ndjson", lines).await
    }

    async fn named(&self, key: &str, kind: &str, body: String) -> Answer {
        let request = Request::post(EVENTS)
            .header("authorization", format!("Bearer {}", self.producer))
            .header("content-type", kind)
            .header("idempotency-key", key);
        self.world.call(request.body(Body::from(body)).unwrap()).await
    }

    /// How many SETs a poll gets that it did not get before.
    async fn stored(&self) -> usize {
        self.world.waiting(&self.receiver, "/tenant-a", &self.stream).await.len()
    }
}

fn event(user: &str) -> Value {
    json!({"type": "caep:session-revoked", "subject": {"format": "email", "email": format!("{user}@example.com")}})
}

fn with(member: &str, value: Value) -> Value {
    let mut event = event("alice");
    event[member] = value;
    event
}

#[tokio::test]
async fn an_accepted_event_is_told_by_its_names() {
    let ingest = Ingest::new().await;
    let told = ingest.one(&event("alice")).await.is_answer(202);
    assert_eq!(told, json!({"event_id": told["event_id"], "txn": told["event_id"], "deliveries": 1}));
    let told = ingest.one(&with("txn", json!("mine"))).await.is_answer(202);
    assert_eq!((&told["txn"], told["txn"] == told["event_id"]), (&json!("mine"), false));
    assert_eq!(ingest.stored().await, 1, "the second waits for the first");
}

#[tokio::test]
async fn a_wrong_event_is_told_by_member_and_rule_and_stores_nothing() {
    let ingest = Ingest::new().await;
    let future = ingest.world.now() + 1;
    for (event, member, rule) in [
        (json!({"subject": {}}), json!("type"), "ingest"),
        (with("type", json!("no:such")), json!("type"), "ingest"),
        (with("subject", json!({"format": "email"})), json!("subject.email"), "SUBJ-09"),
        (with("subject", json!("alice")), json!("subject"), "SUBJ-01"),
        // finding: C9
        (
            with("subject", json!({"format": "emial", "email": "a@b.example"})),
            json!("subject.format"),
            "SUBJ-05",
        ),
        // finding: C17
        (with("type", json!("ssf:verification")), json!("type"), "ingest.control"),
        (with("type", json!(UPDATED)), json!("type"), "ingest.control"),
        (with("type", json!(UPDATED.replace("/ssf/", "/sse/"))), json!("type"), "ingest.control"),
        (with("data", json!({"event_timestamp": "now"})), json!("data.event_timestamp"), "CAEP-10"),
        (with("occurred_at", json!("now")), json!("occurred_at"), "SET-19"),
        (with("occurred_at", json!(future)), json!("occurred_at"), "SET-19"),
        (with("colour", json!("red")), json!("colour"), "ingest"),
        (json!([]), Value::Null, "SET-01"),
    ] {
        let problem = ingest.one(&event).await.is_problem(400, "invalid_request");
        assert_eq!((&problem["member"], &problem["rule"]), (&member, &json!(rule)), "{event}: {problem}");
    }
    assert_eq!(ingest.stored().await, 0);
}

// finding: C17
// spec: SSF-30
#[tokio::test]
async fn an_event_may_say_more_than_its_type_defines() {
    let ingest = Ingest::new().await;
    ingest.one(&with("data", json!({"initiating_entitty": "admin"}))).await.is_answer(202);
    let subject = json!({"format": "com.example.badge", "number": 7});
    ingest.one(&with("subject", subject)).await.is_answer(202);
    assert_eq!(ingest.stored().await, 2);
}

#[tokio::test]
async fn many_events_are_lines_and_come_all_or_none() {
    let ingest = Ingest::new().await;
    let body = format!("{}\n\n{}\r\n", event("alice"), event("bob"));
    let told = ingest.lines(body).await.is_answer(202);
    assert_eq!(told["events"].as_array().unwrap().len(), 2);
    assert_eq!(ingest.stored().await, 2);

    let future = with("occurred_at", json!(ingest.world.now() + 60));
    for (third, member) in [
        (with("subject", json!({"format": "email"})).to_string(), "line 4.subject.email"),
        (with("colour", json!("red")).to_string(), "line 4.colour"),
        (future.to_string(), "line 4.occurred_at"),
        ("{".to_owned(), "line 4"),
    ] {
        let body = format!("{}\n\n{}\n{third}\n{}", event("carol"), event("dave"), event("erin"));
        let problem = ingest.lines(body).await.is_problem(400, "invalid_request");
        assert_eq!(problem["member"], member, "{problem}");
    }
    ingest.lines("\n \n").await.is_problem(400, "invalid_request");
    assert_eq!(ingest.stored().await, 0);
}

#[tokio::test]
async fn a_request_is_bounded() {
    let ingest = Ingest::new().await;
    let lines = |count: usize| {
        (0..count).map(|number| event(&format!("u{number}")).to_string() + "\n").collect::<String>()
    };
    ingest.lines(lines(1_001)).await.is_problem(400, "invalid_request");
    assert_eq!(ingest.stored().await, 0);
    assert_eq!(ingest.lines(lines(1_000)).await.is_answer(202)["events"].as_array().unwrap().len(), 1_000);
    ingest.lines(vec![b'\n'; 1024 * 1024 + 1]).await.is_problem(413, "invalid_request");
    ingest.one(&with("txn", json!("x".repeat(1024 * 1024)))).await.is_problem(413, "invalid_request");
    let kind = "text/plain";
    let answer =
        ingest.world.send_as(Method::POST, &ingest.producer, EVENTS, kind, event("alice").to_string()).await;
    answer.is_problem(415, "invalid_request");
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_another_body_is_refused() {
    let ingest = Ingest::new().await;
    let json = "application/json";
    let first = ingest.named("key", json, event("alice").to_string()).await.is_answer(202);
    assert_eq!(ingest.named("key", json, event("alice").to_string()).await.is_answer(202), first);
    let refused = ingest.named("key", json, event("bob").to_string()).await;
    refused.is_problem(422, "idempotency_key_reused");
    let batch = format!("{}\n{}", event("carol"), event("dave"));
    let many = ingest.named("batch", "application/x-ndjson", batch.clone()).await.is_answer(202);
    assert_eq!(ingest.named("batch", "application/x-ndjson", batch).await.is_answer(202), many);
    // finding: B22, the third
    for key in ["", "ü", "a\tb", &"k".repeat(257)] {
        ingest.named(key, json, event("erin").to_string()).await.is_problem(400, "invalid_request");
    }
    let twice = Request::post(EVENTS)
        .header("authorization", format!("Bearer {}", ingest.producer))
        .header("content-type", json)
        .header("idempotency-key", "one")
        .header("idempotency-key", "other");
    let twice = twice.body(Body::from(event("erin").to_string())).unwrap();
    ingest.world.call(twice).await.is_problem(400, "invalid_request");
    assert_eq!(ingest.stored().await, 3);
}

#[tokio::test]
async fn events_of_one_issuer_are_not_anothers() {
    let ingest = Ingest::new().await;
    let told = ingest.world.post(&ingest.producer, "/events", &event("alice")).await.is_answer(202);
    assert_eq!(told["deliveries"], 0);
    assert_eq!(ingest.stored().await, 0);
}

/// The store's troubles are told as such, with the time after which another try makes sense (SEM-9).
#[tokio::test]
async fn a_store_that_takes_nothing_is_told_with_the_time_to_come_back() {
    let ingest = Ingest::new().await;
    for (trouble, seconds) in [
        (StoreError::Busy, "1"),
        (StoreError::Full, "30"),
        (StoreError::Unavailable("/secret/path: disk failure".to_owned()), "5"),
    ] {
        ingest.world.store.fail(Some(trouble));
        let answer = ingest.one(&event("alice")).await;
        let problem = answer.is_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some(seconds), "{problem}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    ingest.world.store.fail(None);
    ingest.one(&event("alice")).await.is_answer(202);
    assert_eq!(ingest.stored().await, 1);
}
