//! What the next process finds.

use crate::network::Reply;
use crate::world::{ISSUER, World, jtis, txns};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn what_was_pending_goes_out_again_with_the_same_claims_and_keys() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Hang);
    for (txn, user) in [("e1", "alice"), ("e2", "alice"), ("e3", "bob")] {
        world.emit(txn, user).await;
    }
    let sent = world.network.sent(3).await;
    let keys = world.transmitter.public_keys(ISSUER).unwrap().to_json();

    let next = world.restarted().await;
    next.store.all_settled().await;
    assert_eq!(next.transmitter.public_keys(ISSUER).unwrap().to_json(), keys);
    let again = next.network.pushes();
    assert_eq!(again.len(), 3);
    let claims_of = |txn: &str| again.iter().find(|push| push.txn() == txn).unwrap().claims.clone();
    assert_eq!(claims_of("e1"), sent[1].claims, "the same SET, to be recognised by its jti");
    assert_eq!(claims_of("e3"), sent[2].claims);
    let order: Vec<&str> = again.iter().map(crate::network::Push::txn).filter(|txn| *txn != "e3").collect();
    assert_eq!(order, ["e1", "e2"]);

    next.emit("e4", "alice").await;
    let pushes = next.network.sent(4).await;
    let mut all: Vec<&str> = pushes.iter().map(crate::network::Push::jti).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn streams_keep_what_they_are() {
    let world = World::new().await;
    let paused = world.push_stream().await;
    let polled = world.poll_stream().await;
    world.set_status(&paused, "paused").await;
    world.emit("e1", "alice").await;
    let before = world.transmitter.list_streams(ISSUER, "rp");

    let next = world.restarted().await;
    assert_eq!(next.transmitter.list_streams(ISSUER, "rp"), before);
    assert_eq!(txns(&next.poll(&polled, &json!({})).await), ["e1"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(next.network.pushes().is_empty());
    next.set_status(&paused, "enabled").await;
    let pushes = next.network.sent(1).await;
    assert_eq!(pushes[0].parts.headers["authorization"], "Bearer abc", "the sealed credential opens");
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_out_before_a_restart_can_be_acknowledged_after_it() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    let handed_out = world.poll(&id, &json!({})).await;
    let next = world.restarted().await;
    let answer = next.poll(&id, &json!({"ack": jtis(&handed_out), "returnImmediately": true})).await;
    assert!(answer.sets.is_empty());
    assert_eq!(next.store.backlog_of(1).await.pending, 0);
}

#[tokio::test(start_paused = true)]
async fn an_identifier_from_before_a_backup_was_restored_acknowledges_nothing_new() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let restored = world.restarted().await;
    world.emit("lost with the disk", "alice").await;
    let lost = world.poll(&id, &json!({})).await;

    restored.emit("new at the same place", "alice").await;
    let ack = json!({"ack": jtis(&lost), "returnImmediately": true});
    assert_eq!(txns(&restored.poll(&id, &ack).await), ["new at the same place"]);
    restored.poll(&id, &json!({"ack": jtis(&lost), "maxEvents": 0, "returnImmediately": true})).await;
    assert_eq!(restored.store.backlog_of(1).await.pending, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_is_remembered() {
    let world = World::new().await;
    world.push_stream().await;
    let events = [crate::world::event("e1", &crate::world::email("alice"))];
    let first = world.accept(Some(("key", b"same")), &events).await.unwrap();
    let next = world.restarted().await;
    assert_eq!(next.accept(Some(("key", b"same")), &events).await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_on_its_way_and_for_its_answer_to_be_stored() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Status(202).after(Duration::from_secs(5)));
    for number in 0..10 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.sent(5).await;
    let began = tokio::time::Instant::now();
    world.transmitter.close().await;
    assert_eq!(began.elapsed().as_secs(), 5);
    let sent = world.network.pushes().len();
    assert_eq!(
        usize::try_from(world.store.backlog_of(1).await.pending).unwrap(),
        10 - (sent - 1),
        "what was answered is stored"
    );
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), sent, "and nothing new is sent");
}

#[tokio::test(start_paused = true)]
async fn closing_answers_who_waits_and_gives_up_on_who_never_answers() {
    let world = World::new().await;
    world.push_stream().await;
    let polled = world.poll_stream().await;
    let waiting = world.spawn_poll(&polled, json!({}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    world.transmitter.close().await;
    assert!(waiting.await.unwrap().sets.is_empty());
    assert!(began.elapsed() < Duration::from_secs(1));

    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Hang);
    world.emit("e1", "alice").await;
    world.network.sent(2).await;
    let began = tokio::time::Instant::now();
    world.transmitter.close().await;
    assert!(began.elapsed() <= Duration::from_secs(11));
    assert_eq!(world.store.backlog_of(1).await.pending, 1);
}

/// SEM-28: what was in flight at a crash is due at once, also if the clock was ahead and is set right by then.
#[tokio::test(start_paused = true)]
async fn what_failed_under_a_clock_that_was_ahead_is_due_at_once() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.emit("e1", "alice").await;
    world.network.sent(3).await;
    let next = world.restarted_earlier(Duration::from_secs(3600)).await;
    let began = tokio::time::Instant::now();
    let again = next.network.sent(1).await;
    assert_eq!(again[0].at, began);
}
