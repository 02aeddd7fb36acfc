//! A store that fails or tells little: nothing is lost, nothing goes out of order, and all goes on by itself.

use crate::network::{ACCEPT, Reply};
use crate::store::{TestStore, Verb};
use crate::world::{World, jtis, txns};
use secevent_ssf::poll::PollRequest;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn outcomes_that_cannot_be_stored_are_kept_and_stored_later() {
    let world = World::new().await;
    world.push_stream().await;
    world.store.settle_fails.store(true, SeqCst);
    world.network.answer_first([ACCEPT, Reply::Refuse("invalid_request")]);
    for (txn, user) in [("e1", "alice"), ("e2", "bob"), ("e3", "alice")] {
        world.emit(txn, user).await;
    }
    world.network.answered(4).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.store.backlog_of(1).await.pending, 3);
    world.store.settle_fails.store(false, SeqCst);
    world.store.all_settled().await;
    assert_eq!(world.network.pushes().len(), 4, "nothing was sent twice");
    assert_eq!((world.store.settled_as(Verb::Acked), world.store.settled_as(Verb::Rejected)), (3, 1));
}

/// What the store does not have is sent again after a restart: a stream does not go on for ever without it (I6).
#[tokio::test(start_paused = true)]
async fn a_stream_stops_when_the_store_has_taken_no_outcome_for_long() {
    const EVENTS: usize = 11_000;
    let world = World::new().await;
    world.push_stream().await;
    world.store.settle_fails.store(true, SeqCst);
    for first in (0..EVENTS).step_by(1_000) {
        let event = |number| crate::world::event("e", &crate::world::email(&format!("user{number}")));
        let events: Vec<_> = (first..first + 1_000).map(event).collect();
        world.accept(None, &events).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let pushed = world.network.pushes().len();
    assert!((9_000..10_500).contains(&pushed), "{pushed}");
    world.store.settle_fails.store(false, SeqCst);
    world.store.all_settled().await;
    assert_eq!(world.network.pushes().len(), 1 + EVENTS, "it goes on, and nothing was sent twice");
}

// finding: D2
#[tokio::test(start_paused = true)]
async fn upkeep_of_one_stream_that_fails_does_not_end_that_of_the_others() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::with(|config| config.retry.age_max = HOUR).await;
    let streams = [world.push_stream().await, world.push_stream_to("other").await];
    world.store.all_settled().await;
    for stream in &streams {
        world.set_status(stream, "paused").await;
    }
    world.store.all_settled().await;
    world.emit("e1", "alice").await;
    // The first stream comes first.
    world.store.page_fails_of.store(1, SeqCst);
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(world.store.backlog_of(2).await.abandoned, 1, "it is too old");
    assert_eq!(world.store.backlog_of(1).await.pending, 1);
    world.store.page_fails_of.store(0, SeqCst);
    world.store.all_settled().await;
    assert_eq!(world.store.backlog_of(1).await.abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_cannot_be_read_is_read_later() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    for number in 0..700 {
        world.emit(&format!("e{number}"), "alice").await;
    }
    world.store.page_fails.store(true, SeqCst);
    world.set_status(&id, "enabled").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.store.page_fails.store(false, SeqCst);
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], (0..700).map(|number| format!("e{number}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_cannot_be_answered_loses_nothing() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.store.withhold(|_| true);
    let world = World::on(world.store.clone()).await;
    world.emit("e1", "alice").await;
    let world = World::on(world.store.clone()).await;
    world.store.page_fails.store(true, SeqCst);
    assert!(world.transmitter.poll("rp", &id, &PollRequest::default()).await.is_err());
    world.store.page_fails.store(false, SeqCst);
    let answer = world.poll(&id, &json!({})).await;
    assert_eq!(txns(&answer), ["e1"]);

    world.store.settle_fails.store(true, SeqCst);
    let ack =
        PollRequest::acknowledge_only(jtis(&answer).into_iter().map(str::to_owned).collect(), Vec::new());
    world.transmitter.poll("rp", &id, &ack).await.unwrap();
    assert_eq!(world.store.backlog_of(1).await.pending, 1, "it is not stored yet");
    world.store.settle_fails.store(false, SeqCst);
    world.store.all_settled().await;
    assert_eq!(world.store.settled_as(Verb::Acked), 2);
}

#[tokio::test(start_paused = true)]
async fn hand_overs_that_never_come_leave_neither_gap_nor_double() {
    for every in [1, 2, 3, 7] {
        let store = TestStore::new();
        let seen = AtomicU32::new(0);
        // The last ones come, so that somebody looks.
        store.withhold(move |_| {
            let number = seen.fetch_add(1, SeqCst);
            number < 195 && number.is_multiple_of(every)
        });
        let world = World::on(store).await;
        let polled = world.create(&json!({ "events_requested": [] })).await.stream_id;
        world.push_stream_unverified().await;
        for number in 0..200 {
            world.emit(&format!("e{number}"), "alice").await;
            if number % 11 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        world.store.settled(2).await;
        let txns: Vec<String> =
            world.network.txns().into_iter().filter(|txn| txn.starts_with('e') && txn.len() < 5).collect();
        assert_eq!(txns, (0..200).map(|number| format!("e{number}")).collect::<Vec<_>>(), "every {every}");
        world.delete(&polled).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_while_a_page_is_read_is_sent_once() {
    let world = World::new().await;
    let id = world.push_stream().await;
    // More than is read ahead, so that the rest is read from the store later.
    world.set_status(&id, "paused").await;
    for number in 0..600 {
        world.emit(&format!("e{number}"), "alice").await;
    }
    world.store.pages_held.send_replace(true);
    world.set_status(&id, "enabled").await;
    let mut reading = world.store.pages_asked.subscribe();
    let before = *reading.borrow_and_update();
    reading.wait_for(|asked| *asked > before).await.unwrap();
    for number in 600..620 {
        world.emit(&format!("e{number}"), "alice").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.store.pages_held.send_replace(false);
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], (0..620).map(|number| format!("e{number}")).collect::<Vec<_>>());
}

/// SEM-28: wake-up hints may be lost. What nobody was told of is found all the same.
#[tokio::test(start_paused = true)]
async fn a_hint_that_is_lost_costs_a_minute_and_no_more() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let polled = world.poll_stream().await;
    world.store.withhold(|_| true);
    let world = World::on(world.store.clone()).await;
    world.emit("e1", "alice").await;
    let emitted = tokio::time::Instant::now();
    let pushes = world.network.sent(1).await;
    assert_eq!(pushes[0].txn(), "e1");
    assert!(pushes[0].at - emitted <= Duration::from_secs(61));
    assert_eq!(txns(&world.poll(&polled, &json!({})).await), ["e1"]);
    world.delete(&id).await;
}
