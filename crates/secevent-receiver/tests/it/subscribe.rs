//! From an issuer's name to a stream that is known to work.

use crate::transmitter::{AUDIENCE, ISSUER, SESSION_REVOKED, push_authorization, with_body};
use crate::world::{World, poll_source, push_source};
use secevent_receiver::{ClientError, ReceiverConfig, SubscribeError};
use secevent_ssf::Method;
use secevent_store::Documents as _;
use serde_json::{Value, json};
use std::time::Duration;

// spec: INTEROP-16, SSF-37, SSF-66, SSF-159
#[tokio::test(start_paused = true)]
async fn the_whole_story_by_push() {
    let world = World::with(push_source()).await;
    world.transmitter.state().push_to = Some(world.endpoint());
    let subscription = world.receiver.subscribe("idp").await.unwrap();
    assert!(subscription.is_verified);
    assert_eq!(subscription.configuration.delivery.method, Method::Push);

    let created: Value =
        serde_json::from_slice(world.transmitter.requests("/odd/streams")[0].body()).unwrap();
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
