//! Accepting events: durable or refused, all or none, once per name.

use crate::world::{ISSUER, SESSION_REVOKED, World, email, event, read};
use secevent::Vocabulary;
use secevent_transmitter::{AcceptError, Incoming, TransmitterError};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_event_is_owed_to_the_streams_that_asked_for_it() {
    let world = World::new().await;
    world.push_stream().await;
    world.create(&json!({"events_requested": [SESSION_REVOKED]})).await;
    world.create(&json!({"events_requested": ["https://x.example/unknown"]})).await;
    world.create(&json!({"events_requested": []})).await;
    assert_eq!(world.emit("e1", "alice").await.deliveries, 2);
    let other = json!({"type": "risc:account-disabled", "subject": email("alice")});
    assert_eq!(world.accept(None, &[read(&other)]).await.unwrap()[0].deliveries, 0);
    // finding: C1. Who asks for nothing in particular gets everything.
    world.create(&json!({})).await;
    assert_eq!(world.emit("e2", "alice").await.deliveries, 3);
    assert_eq!(world.accept(None, &[read(&other)]).await.unwrap()[0].deliveries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_under_one_key_gets_the_first_answer_and_is_sent_once() {
    let world = World::new().await;
    world.push_stream().await;
    let same = [event("e1", &email("alice"))];
    let first = world.accept(Some(("key", b"same")), &same).await.unwrap();
    // Who subscribes between does not change the answer.
    world.push_stream().await;
    assert_eq!(world.accept(Some(("key", b"same")), &same).await.unwrap(), first);
    world.store.all_settled().await;
    assert_eq!(world.network.txns().iter().filter(|txn| *txn == "e1").count(), 1);

    let other = world.accept(Some(("key", b"other")), &[event("e2", &email("bob"))]).await;
    assert_eq!(other, Err(AcceptError::KeyUsedForAnotherEvent));
    let elsewhere = world.transmitter.accept(ISSUER, "somebody else", Some(("key", b"other")), &same).await;
    assert_ne!(elsewhere.unwrap()[0].event_id, first[0].event_id, "names of different producers do not meet");
}

#[tokio::test(start_paused = true)]
async fn keys_of_batches_do_not_meet_those_of_others() {
    let world = World::new().await;
    let batch = [event("e1", &email("alice")), event("e2", &email("bob"))];
    let first = world.accept(Some(("key", b"batch")), &batch).await.unwrap();
    assert_eq!(world.accept(Some(("key", b"batch")), &batch).await.unwrap(), first);
    assert!(world.accept(Some(("key 1", b"single")), &[event("e3", &email("carol"))]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    let world = World::new().await;
    world.push_stream().await;
    let later = world.now().as_seconds() + 60;
    let bad = read(&json!({"type": "caep:session-revoked", "subject": email("bob"), "occurred_at": later}));
    let refused = world.accept(None, &[event("e1", &email("alice")), bad]).await.unwrap_err();
    let AcceptError::Invalid { place, breach } = refused else { panic!("{refused:?}") };
    assert_eq!((place, breach.member(), breach.rule()), (1, "occurred_at", "SET-19"));
    assert_eq!(world.store.backlog_of(1).await.pending, 0);

    world.store.record_fails.store(true, SeqCst);
    let refused = world.accept(None, &[event("e1", &email("alice")), event("e2", &email("bob"))]).await;
    assert!(matches!(refused, Err(AcceptError::Ours(TransmitterError::Store(_)))));
    world.store.record_fails.store(false, SeqCst);
    world.emit("e3", "alice").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["e3"]);
}

#[test]
fn a_slip_in_an_event_is_named() {
    let subject = email("alice");
    let read =
        |event: serde_json::Value| Incoming::read(event.to_string().as_bytes(), Vocabulary::standard());
    for (event, member) in [
        (json!({"subject": subject}), "type"),
        (json!({"type": "no-such", "subject": subject}), "type"),
        (json!({"type": 1, "subject": subject}), "type"),
        (json!({"type": "caep:session-revoked"}), "subject"),
        (json!({"type": "caep:session-revoked", "subject": "alice"}), "subject"),
        (json!({"type": "caep:session-revoked", "subject": {"format": "email"}}), "subject.email"),
        (json!({"type": "caep:session-revoked", "subject": subject, "data": []}), "data"),
        (json!({"type": "caep:session-revoked", "subject": subject, "occurred_at": "now"}), "occurred_at"),
        (json!({"type": "caep:session-revoked", "subject": subject, "txn": ""}), "txn"),
        (json!({"type": "caep:session-revoked", "subject": subject, "txn": "x".repeat(257)}), "txn"),
        (json!({"type": "caep:session-revoked", "subject": subject, "colour": "red"}), "colour"),
        (json!(["caep:session-revoked"]), ""),
    ] {
        let text = event.to_string();
        let breach = read(event).unwrap_err();
        assert_eq!(breach.member(), member, "{text}: {breach}");
    }
    let twice = br#"{"type":"caep:session-revoked","type":"caep:session-revoked","subject":{}}"#;
    assert!(Incoming::read(twice, Vocabulary::standard()).is_err());
}

/// A producer's name for an event holds for a day, and is forgotten then: the store does not grow with it (SEM-15).
#[tokio::test(start_paused = true)]
async fn a_key_is_forgotten_after_a_day() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::new().await;
    let send = |content: &'static [u8]| {
        let events = [event("e", &email("alice"))];
        let world = &world;
        async move { world.accept(Some(("k", content)), &events).await }
    };
    let first = send(b"one").await.unwrap();
    tokio::time::sleep(23 * HOUR).await;
    assert_eq!(send(b"one").await.unwrap(), first);
    assert_eq!(send(b"other").await.unwrap_err(), AcceptError::KeyUsedForAnotherEvent);
    tokio::time::sleep(2 * HOUR).await;
    assert_ne!(send(b"other").await.unwrap(), first);
}
