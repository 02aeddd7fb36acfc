//! Who changed what, as the log tells it.

use crate::world::{ENDPOINT, ISSUER, World, client};
use secevent::Subject;
use secevent_ssf::{CreateStream, Status, Tolerance, UpdateStream};
use secevent_store::{Change, ChangeFilter};
use secevent_transmitter::{Acting, Actor, ReplayRequest};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The changes that are in the log, oldest first.
async fn changes(world: &World) -> Vec<Change> {
    let found = world.transmitter.changes(ChangeFilter::default(), None, 100).await.unwrap();
    found.into_iter().rev().map(|entered| entered.change).collect()
}

fn json(text: &Option<String>) -> Value {
    serde_json::from_str(text.as_deref().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_client_changes_is_told_with_before_and_after_and_without_secrets() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let update = |body: Value| UpdateStream::read(body.to_string().as_bytes(), Tolerance::NONE).unwrap();
    let request = update(json!({"stream_id": id.as_str(), "description": "mine"}));
    world.transmitter.update_stream(ISSUER, "rp", request.clone()).await.unwrap();
    // Another credential is a change, though it is not told; the same description again is none.
    world.transmitter.update_stream(ISSUER, "rp", request).await.unwrap();
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": format!("{ENDPOINT}?key=hidden-key"),
        "authorization_header": "Bearer another"});
    let request = update(json!({"stream_id": id.as_str(), "delivery": delivery}));
    Acting::by_request("r-1".to_owned())
        .run(world.transmitter.update_stream(ISSUER, "rp", request))
        .await
        .unwrap();
    world.set_status(&id, "paused").await;
    world.delete(&id).await;

    let changes = changes(&world).await;
    let told: Vec<_> = changes.iter().map(|change| change.action.as_str()).collect();
    let expected = ["stream.create", "stream.update", "stream.update", "stream.pause", "stream.delete"];
    assert_eq!(told, expected);
    for change in &changes {
        assert_eq!((change.actor.as_str(), change.actor_id.as_deref()), ("client", Some("rp")));
        assert_eq!((change.client.as_deref(), change.stream.as_deref()), (Some("rp"), Some(id.as_str())));
        assert_eq!(change.object, format!("stream/{id}"));
        let text = format!("{change:?}");
        for secret in ["Bearer", "abc", "hidden-key"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(
        (&changes[0].before, json(&changes[0].after)["delivery"]["method"].clone()),
        (&None, json!("push"))
    );
    assert_eq!(json(&changes[1].before)["description"], Value::Null);
    assert_eq!(json(&changes[1].after)["description"], "mine");
    assert_eq!(changes[2].request.as_deref(), Some("r-1"));
    let credential = |text| json(text)["delivery"]["authorization_header"].clone();
    assert_ne!(credential(&changes[2].before), credential(&changes[2].after));
    assert_eq!(json(&changes[3].after)["status"], "paused");
    assert_eq!(changes[4].after, None);
}

#[tokio::test(start_paused = true)]
async fn operators_and_the_transmitter_itself_are_told_apart() {
    let world = World::with(|config| {
        config.backlog.deliveries_max = 1;
        config.audit_kept = Duration::from_secs(3_600);
    })
    .await;
    let id = world.poll_stream().await;
    let operator = Acting::new(Actor::Operator("ops".to_owned()), Some("r-2".to_owned()));
    let paused = operator.clone().run(world.transmitter.hold_stream(&id, Status::Paused, None)).await;
    paused.unwrap();
    assert!(operator.has_entered());
    world.transmitter.hold_stream(&id, Status::Enabled, None).await.unwrap();
    operator.run(world.transmitter.discard(&id, None)).await.unwrap();
    // More than the stream may hold.
    for txn in ["e1", "e2", "e3"] {
        world.emit(txn, txn).await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let changes = changes(&world).await;
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.action.as_str(), change.actor.as_str(), change.actor_id.as_deref()))
        .collect();
    let expected = [
        ("stream.create", "client", Some("rp")),
        ("stream.pause", "operator", Some("ops")),
        ("stream.enable", "transmitter", None),
        ("dead.discard", "operator", Some("ops")),
        ("stream.pause", "transmitter", None),
    ];
    assert_eq!(told, expected);
    assert_eq!(json(&changes[4].after)["reason"], "more is waiting than a stream may hold");
    // They are kept for as long as was said.
    tokio::time::sleep(Duration::from_secs(3_700)).await;
    let left = world.transmitter.changes(ChangeFilter::default(), None, 9).await.unwrap();
    assert_eq!(left, []);
}

/// What is done and what the log tells of it are one: a store that fails between two commits leaves nothing half done.
#[tokio::test(start_paused = true)]
async fn a_change_and_what_is_told_of_it_are_stored_together() {
    let world = World::new().await;
    world.store.enter_fails.store(true, SeqCst);
    let id = world.push_stream().await;
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    let replay = world.transmitter.start_replay(&id, &ReplayRequest::default()).await.unwrap();
    world.transmitter.cancel_replay(&replay.id).await.unwrap();
    world.transmitter.hold_stream(&id, Status::Disabled, None).await.unwrap();
    world.store.all_settled().await;
    world.delete(&id).await;
    let subject = Subject::email("alice@example.com").unwrap();
    world.transmitter.start_erasure(&subject, false).await.unwrap();
    let before = changes(&world).await;
    world.store.put_fails.store(true, SeqCst);
    let request = CreateStream::default();
    assert!(world.transmitter.create_stream(ISSUER, &client("rp"), request).await.is_err());
    let told: Vec<_> = before.iter().map(|change| change.action.as_str()).collect();
    let expected = [
        "stream.create",
        "replay.start",
        "replay.cancel",
        "stream.disable",
        "stream.delete",
        "erasure.start",
    ];
    assert_eq!(told, expected);
    assert_eq!(changes(&world).await.len(), expected.len(), "nothing is told of what was not done");
}
