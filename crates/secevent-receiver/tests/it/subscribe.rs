//! From an issuer's name to a stream that is known to work.

use crate::transmitter::{
    AUDIENCE, ISSUER, SESSION_REVOKED, authorization_of, json_answer, push_authorization, retry_after,
    status, with_body,
};
use crate::world::{World, poll_source, push_source};
use secevent_receiver::{ClientError, ReceiverConfig, Source, SubscribeError};
use secevent_ssf::{DeliveryRequest, Method, Status};
use secevent_store::Documents as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

// spec: INTEROP-16, SSF-37, SSF-66, SSF-159
#[tokio::test(start_paused = true)]
async fn the_whole_story_by_push() {
    let world = World::with(push_source()).await;
    world.transmitter.state().push_to = Some(world.endpoint());
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert!(subscription.is_verified);
    assert_eq!(subscription.configuration.delivery.method, Method::Push);

    let (method, created) = world.transmitter.changes().remove(0);
    assert_eq!(method, "POST");
    assert_eq!(
        created["delivery"],
        json!({
            "method": "urn:ietf:rfc:8935",
            "endpoint_url": "https://rp.example/receive/idp",
            "authorization_header": "Bearer push-secret",
        })
    );
    let asked: Value = serde_json::from_slice(world.transmitter.requests("/odd/verify")[0].body()).unwrap();
    assert_eq!(asked["stream_id"], "s1");
    assert!(asked["state"].as_str().unwrap().len() >= 32, "nobody guesses it");

    assert_eq!(world.push_set("a").await.status(), 202);
    world.until_handled(&["a"]).await;
    world.receiver.unsubscribe("idp").await.unwrap();
    assert!(world.transmitter.state().streams.is_empty());
}

// spec: INTEROP-16, INTEROP-17, SSF-161
#[tokio::test(start_paused = true)]
async fn the_whole_story_by_poll() {
    let world = World::with(poll_source()).await;
    for endpoint in ["add_subject_endpoint", "remove_subject_endpoint"] {
        world.transmitter.state().metadata.as_object_mut().unwrap().remove(endpoint);
    }
    world.queue_set("came before");
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert!(subscription.is_verified);
    assert_eq!(subscription.events_missing, [] as [&str; 0]);
    world.until_handled(&["came before"]).await;
    world.queue_set("a");
    world.until_handled(&["came before", "a"]).await;
    world.until(|| world.transmitter.state().queue.is_empty()).await;
    world.receiver.unsubscribe("idp").await.unwrap();
    assert!(world.transmitter.state().streams.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_its_stream_again() {
    let config = || ReceiverConfig { sources: vec![poll_source()], ..ReceiverConfig::default() };
    let world = World::configured(config()).await;
    world.receiver.subscribe("idp").await.unwrap();
    world.receiver.subscribe("idp").await.unwrap();
    let world = world.crashed(config()).await;
    world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(world.transmitter.state().streams.keys().collect::<Vec<_>>(), ["s1"]);

    // Somebody deletes it: a new one takes its place.
    world.transmitter.state().streams.clear();
    let again = world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(again.configuration.stream_id.as_str(), "s2");
}

#[tokio::test(start_paused = true)]
async fn what_the_transmitter_calls_us_is_known_after_a_restart_too() {
    let mut source = push_source();
    source.audiences.clear();
    let config = || ReceiverConfig { sources: vec![source.clone()], ..ReceiverConfig::default() };
    let world = World::configured(config()).await;
    assert_eq!(world.push_set("too early").await.status(), 400, "nobody is no audience");
    world.transmitter.state().push_to = Some(world.endpoint());
    world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(world.push_set("a").await.status(), 202);
    let world = world.crashed(config()).await;
    assert_eq!(world.push_set("b").await.status(), 202);
}

// spec: SSF-48, SSF-61
#[tokio::test(start_paused = true)]
async fn metadata_of_another_issuer_leaves_nothing_behind() {
    for (name, change) in [
        ("other issuer", json!({"issuer": "https://other.example"})),
        ("a slash more", json!({"issuer": format!("{ISSUER}/")})),
        ("bad endpoint", json!({"status_endpoint": "http://tr.example/status"})),
        ("no list", json!({"critical_subject_members": "tenant"})),
    ] {
        let world = World::with(poll_source()).await;
        for (member, value) in change.as_object().unwrap() {
            world.transmitter.state().metadata[member] = value.clone();
        }
        let error = world.receiver.subscribe("idp").await.unwrap_err();
        let is_right =
            matches!(error, SubscribeError::Client(ClientError::Issuer(_) | ClientError::Malformed(_)));
        assert!(is_right, "{name}: {error}");
        assert!(world.transmitter.requests("/odd/streams").is_empty(), "{name}");
        assert!(world.transmitter.requests("/odd/keys").is_empty(), "{name}");
        assert_eq!(world.store.list("", None, 10).await.unwrap(), [], "{name}");
    }
}

// spec: SSF-93, SSF-94
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_right_is_deleted_again() {
    for (name, wrong) in [
        ("iss", json!({"iss": "https://other.example"})),
        ("aud", json!({"aud": "https://other.example"})),
        ("events_delivered", json!({"events_delivered": null})),
    ] {
        let mut source = poll_source();
        source.audiences = vec![AUDIENCE.to_owned()];
        let world = World::with(source).await;
        world.transmitter.state().stream_overrides = wrong;
        let error = world.receiver.subscribe("idp").await.unwrap_err();
        let is_right = match name {
            "iss" => matches!(error, SubscribeError::Client(ClientError::Issuer(_))),
            "aud" => matches!(error, SubscribeError::Audience(_)),
            _ => matches!(error, SubscribeError::Client(ClientError::Malformed(_))),
        };
        assert!(is_right, "{name}: {error}");
        assert!(world.transmitter.state().streams.is_empty(), "{name}");
        assert!(world.transmitter.polls().is_empty(), "{name}");
        assert_eq!(world.store.list("", None, 10).await.unwrap(), [], "{name}");
    }
}

// spec: SSF-80
#[tokio::test(start_paused = true)]
async fn what_will_not_come_is_told() {
    let mut source = poll_source();
    source.events_requested.push("https://example.com/event/brand-new".to_owned());
    let world = World::with(source).await;
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(subscription.events_missing, ["https://example.com/event/brand-new"]);
    assert_eq!(subscription.configuration.events_delivered, [SESSION_REVOKED]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_verification_event_is_not_known_to_work() {
    let world = World::with(poll_source()).await;
    world.transmitter.state().answers_verification = false;
    let error = world.receiver.subscribe("idp").await.unwrap_err();
    assert_eq!(error, SubscribeError::NotVerified(Duration::from_secs(60)));
    assert_eq!(world.transmitter.state().streams.len(), 1, "but it stays");
    world.queue_set("a");
    world.until_handled(&["a"]).await;

    let world = World::with(poll_source()).await;
    world.transmitter.state().metadata.as_object_mut().unwrap().remove("verification_endpoint");
    assert!(!world.receiver.subscribe("idp").await.unwrap().is_verified);
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_what_is_printed() {
    let world = World::with(push_source()).await;
    world.transmitter.script("/odd/streams", Ok(json_answer(200, &json!([]))));
    let echo = with_body(400, "bad authorization_header: Bearer push-secret");
    world.transmitter.script("/odd/streams", Ok(echo));
    let error = world.receiver.subscribe("idp").await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("push-secret"), "{error}");
    let source = push_source();
    assert!(!format!("{source:?} {:?}", push_authorization()).contains("push-secret"));
    assert_eq!(
        world.receiver.subscribe("nobody").await.unwrap_err().to_string(),
        "no source is named `nobody`"
    );
}

fn config(source: &Source) -> ReceiverConfig {
    ReceiverConfig { sources: vec![source.clone()], ..ReceiverConfig::default() }
}

// finding: A1
#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing_at_the_transmitter() {
    let mut source = poll_source();
    source.events_requested.push("https://example.com/event/not-supported".to_owned());
    source.description = Some("the shop".to_owned());
    let world = World::configured(config(&source)).await;
    {
        let mut state = world.transmitter.state();
        state.like_keycloak = true;
        state.stream_overrides = json!({ "events_supported": [SESSION_REVOKED] });
    }
    world.receiver.subscribe("idp").await.unwrap();
    world.until(|| world.transmitter.state().queue.is_empty()).await;

    // Somebody else's spelling and order make no difference, nor does what is not supported.
    source.events_requested.reverse();
    let world = world.crashed(config(&source)).await;
    world.queue_set("pending");
    let again = world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(again.configuration.delivery.endpoint_url.as_str(), "https://tr.example/odd/poll");
    world.until_handled(&["pending"]).await;
    let methods: Vec<String> = world.transmitter.changes().into_iter().map(|(method, _)| method).collect();
    assert_eq!(methods, ["POST"], "the stream that was made, and nothing since");
}

// finding: A1
#[tokio::test(start_paused = true)]
async fn only_what_differs_is_sent() {
    let mut source = poll_source();
    let world = World::configured(config(&source)).await;
    world.receiver.subscribe("idp").await.unwrap();
    source.description = Some("the shop".to_owned());
    let world = world.crashed(config(&source)).await;
    world.receiver.subscribe("idp").await.unwrap();
    let expected = ("PATCH".to_owned(), json!({"stream_id": "s1", "description": "the shop"}));
    assert_eq!(world.transmitter.changes().pop().unwrap(), expected);

    source.events_requested = vec!["https://example.com/event/other".to_owned()];
    let world = world.crashed(config(&source)).await;
    world.receiver.subscribe("idp").await.unwrap();
    let expected = json!({"stream_id": "s1", "events_requested": ["https://example.com/event/other"]});
    assert_eq!(world.transmitter.changes().pop().unwrap(), ("PATCH".to_owned(), expected));

    // The way of delivery may change too: then the whole of it is sent.
    source.delivery = push_source().delivery;
    let world = world.crashed(config(&source)).await;
    world.transmitter.state().answers_verification = false;
    world.receiver.subscribe("idp").await.unwrap_err();
    let (_, sent) = world.transmitter.changes().pop().unwrap();
    assert_eq!(sent["delivery"]["endpoint_url"], "https://rp.example/receive/idp");
    assert_eq!(sent["delivery"]["authorization_header"], "Bearer push-secret");
}

/// A credential that no transmitter shows cannot be compared: what was sent last is known by a digest.
// finding: A1
#[tokio::test(start_paused = true)]
async fn the_credential_of_pushes_is_sent_when_it_is_another_one() {
    for shown in [false, true] {
        let mut source = push_source();
        let world = World::configured(config(&source)).await;
        {
            let mut state = world.transmitter.state();
            state.like_keycloak = shown;
            state.push_to = Some(world.endpoint());
        }
        world.receiver.subscribe("idp").await.unwrap();
        let world = world.crashed(config(&source)).await;
        world.transmitter.state().push_to = Some(world.endpoint());
        world.receiver.subscribe("idp").await.unwrap();
        assert_eq!(world.transmitter.changes().len(), 1, "shown: {shown}");

        let secret = secevent_ssf::delivery::authorization("Bearer another").unwrap();
        let endpoint = "https://rp.example/receive/idp".parse().unwrap();
        source.delivery = DeliveryRequest::push(endpoint, Some(secret));
        for _ in 0..2 {
            let world = World::over(
                world.store.clone(),
                world.transmitter.clone(),
                world.handler.clone(),
                config(&source),
            )
            .await;
            world.transmitter.state().answers_verification = false;
            world.receiver.subscribe("idp").await.unwrap_err();
        }
        let changes = world.transmitter.changes();
        assert_eq!(changes.len(), 2, "once, not at each start: {changes:?}");
        assert_eq!(changes[1].1["delivery"]["authorization_header"], "Bearer another");
        let note = world.store.get("receiver/idp").await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&note.body).contains("another"));
    }
}

/// A receiver that died before it noted its stream finds it again, where the transmitter allows many; but it takes no
/// polled stream that somebody else has asked for.
// finding: A1
#[tokio::test(start_paused = true)]
async fn a_stream_without_a_note_is_taken_if_it_is_ours() {
    for (name, source, other, expected) in [
        ("the same", poll_source(), poll_source(), "s1"),
        (
            "somebody else's",
            poll_source(),
            Source { description: Some("x".to_owned()), ..poll_source() },
            "s2",
        ),
        ("pushed to us", push_source(), Source { description: Some("x".to_owned()), ..push_source() }, "s1"),
    ] {
        let world = World::configured(config(&other)).await;
        {
            let mut state = world.transmitter.state();
            state.streams_max = 9;
            state.answers_verification = false;
        }
        world.receiver.subscribe("idp").await.unwrap_err();
        let store = std::sync::Arc::new(secevent_store::MemoryStore::new(secevent_store::Epoch(7)));
        let fresh =
            World::over(store, world.transmitter.clone(), world.handler.clone(), config(&source)).await;
        fresh.receiver.subscribe("idp").await.unwrap_err();
        let note = fresh.store.get("receiver/idp").await.unwrap().unwrap();
        let note: Value = serde_json::from_slice(&note.body).unwrap();
        assert_eq!(note["stream_id"], expected, "{name}");
    }

    // Nor does one source take the stream of another one of the same receiver.
    let twice = || vec![poll_source(), Source { name: "idp-2".to_owned(), ..poll_source() }];
    let world = World::configured(ReceiverConfig { sources: twice(), ..ReceiverConfig::default() }).await;
    world.transmitter.state().streams_max = 9;
    let first = world.receiver.subscribe("idp").await.unwrap().configuration.stream_id;
    world.transmitter.state().answers_verification = false;
    world.receiver.subscribe("idp-2").await.unwrap_err();
    assert_eq!(first.as_str(), "s1");
    assert_eq!(world.transmitter.state().streams.len(), 2);
}

/// An adopted stream is somebody's: that it does not suit us is no reason to delete it.
// finding: A1
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_there_is_not_deleted() {
    let mut source = poll_source();
    source.audiences = vec!["https://other.example".to_owned()];
    let world = World::configured(config(&poll_source())).await;
    world.receiver.subscribe("idp").await.unwrap();
    let store = std::sync::Arc::new(secevent_store::MemoryStore::new(secevent_store::Epoch(7)));
    let fresh = World::over(store, world.transmitter.clone(), world.handler.clone(), config(&source)).await;
    let error = fresh.receiver.subscribe("idp").await.unwrap_err();
    assert!(matches!(error, SubscribeError::Audience(_)), "{error}");
    assert_eq!(fresh.transmitter.state().streams.len(), 1);
}

/// The answer of Keycloak 26.7 after a quick restart; it says in words alone how long to wait.
// finding: A7
#[tokio::test(start_paused = true)]
async fn verification_that_is_asked_too_often_is_asked_again() {
    let world = World::with(poll_source()).await;
    world.transmitter.state().stream_overrides = json!({ "min_verification_interval": 5 });
    let body = r#"{"error":"too_many_requests","error_description":"Wait at least 5 seconds before triggering another verification"}"#;
    world.transmitter.script("/odd/verify", Ok(with_body(429, body)));
    world.transmitter.script("/odd/verify", Ok(retry_after(429, 20)));
    let begun = Instant::now();
    assert!(world.receiver.subscribe("idp").await.unwrap().is_verified);
    let waited = begun.elapsed().as_secs();
    assert!((25..30).contains(&waited), "{waited}");
    assert_eq!(world.transmitter.requests("/odd/verify").len(), 3);

    // Beyond the bound nothing is waited for: the stream is there and flows.
    let world = World::with(poll_source()).await;
    world.transmitter.script("/odd/verify", Ok(retry_after(429, 3600)));
    let begun = Instant::now();
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert!(!subscription.is_verified && begun.elapsed() < Duration::from_secs(1));
    world.queue_set("a");
    world.until_handled(&["a"]).await;

    let world = World::with(poll_source()).await;
    world.transmitter.script("/odd/verify", Ok(status(403)));
    assert!(matches!(world.receiver.subscribe("idp").await, Err(SubscribeError::Client(_))), "only then");
}

// finding: A17
#[tokio::test(start_paused = true)]
async fn a_new_stream_and_its_status_are_read_back() {
    let world = World::with(poll_source()).await;
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(subscription.status.unwrap().status, Status::Enabled);
    let read = world.transmitter.requests("/odd/streams").pop().unwrap();
    assert_eq!((read.method().as_str(), read.uri().query()), ("GET", Some("v=1&stream_id=s1")));
    let told = world.transmitter.requests("/odd/status").pop().unwrap();
    assert_eq!(told.uri().query(), Some("stream_id=s1"));

    // One that is paused sends no verification event, and says so.
    let paused = json!({"stream_id": "s1", "status": "paused", "reason": "night"});
    world.transmitter.script("/odd/status", Ok(json_answer(200, &paused)));
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert_eq!(subscription.status.unwrap().status, Status::Paused);
    assert!(!subscription.is_verified);

    // What cannot be read back is no reason to do without.
    let world = World::with(poll_source()).await;
    world.transmitter.script("/odd/streams", Ok(json_answer(200, &json!([]))));
    let stream = json!({
        "stream_id": "s9", "iss": ISSUER, "aud": AUDIENCE, "events_delivered": [],
        "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "https://tr.example/odd/poll"},
    });
    world.transmitter.script("/odd/streams", Ok(json_answer(201, &stream)));
    world.transmitter.script("/odd/status", Ok(status(500)));
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert_eq!((subscription.configuration.stream_id.as_str(), subscription.status), ("s9", None));
}

// finding: A17
#[tokio::test(start_paused = true)]
async fn a_transmitter_gets_one_request_at_a_time_if_that_is_asked_for() {
    for one in [false, true] {
        let mut source = poll_source();
        source.peer.one_request_at_a_time = one;
        let world = World::with(source).await;
        world.transmitter.state().delay = Duration::from_millis(20);
        assert!(world.receiver.subscribe("idp").await.unwrap().is_verified);
        world.queue_set("a");
        world.until_handled(&["a"]).await;
        let at_once = world.transmitter.state().in_flight_max;
        assert_eq!(at_once > 1, !one, "{at_once}");
        assert!(world.transmitter.polls().iter().all(|poll| poll.return_immediately == one));
    }
}

// finding: A17
#[tokio::test(start_paused = true)]
async fn short_polls_do_not_wait_and_come_again() {
    let mut source = poll_source();
    source.short_polls = true;
    let world = World::with(source).await;
    world.receiver.subscribe("idp").await.unwrap();
    let before = world.transmitter.polls().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let polls = world.transmitter.polls();
    assert!(polls.iter().all(|poll| poll.return_immediately));
    assert!((59..=61).contains(&(polls.len() - before)), "one a second: {}", polls.len() - before);
    world.queue_set("a");
    world.until_handled(&["a"]).await;
}

/// Some transmitters hand out a credential for polling with the stream, and take no other there.
// finding: A10
#[tokio::test(start_paused = true)]
async fn polls_carry_what_was_handed_out_for_them() {
    let mut source = poll_source();
    source.peer.tolerance.legacy = true;
    let world = World::configured(config(&source)).await;
    world.transmitter.state().stream_overrides = json!({
        "delivery": {
            "method": "urn:ietf:rfc:8936", "endpoint_url": "https://tr.example/odd/poll",
            "authorization_header": "Bearer handed-out",
        },
    });
    world.receiver.subscribe("idp").await.unwrap();
    let world = world.crashed(config(&source)).await;
    world.receiver.subscribe("idp").await.unwrap();
    world.queue_set("a");
    world.until_handled(&["a"]).await;
    let note = world.store.get("receiver/idp").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&note.body).contains("handed-out"));
    for poll in world.transmitter.requests("/odd/poll") {
        assert_eq!(authorization_of(&poll), Some("Bearer handed-out"));
    }
    for other in world.transmitter.requests("/odd/verify") {
        assert_eq!(authorization_of(&other), None);
    }
}
