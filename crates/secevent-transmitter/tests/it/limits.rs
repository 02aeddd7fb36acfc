//! What a receiver may ask for, and how often; and whether the engine moves (SEM-6, SEM-10).

use crate::network::Reply;
use crate::world::{World, jtis, txns};
use secevent_ssf::poll::{PollLimits, PollRequest};
use secevent_transmitter::{NotReady, PollError, PollOptions, PollOrder, PollRules};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_too_often_is_asked_to_come_later() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let ask = async |request: serde_json::Value| {
        let request = PollRequest::read(request.to_string().as_bytes(), PollLimits::default()).unwrap();
        world.transmitter.poll("rp", &id, &request).await.map(drop)
    };
    let at_once = json!({"returnImmediately": true});
    for _ in 0..20 {
        assert_eq!(ask(at_once.clone()).await, Ok(()));
    }
    assert_eq!(ask(at_once.clone()).await, Err(PollError::TooOften(Duration::from_millis(100))));
    assert_eq!(
        ask(json!({"maxEvents": 0, "returnImmediately": true})).await,
        Ok(()),
        "that asks for nothing"
    );
    assert_eq!(ask(json!({"ack": ["x"], "returnImmediately": true})).await, Ok(()), "that says something");
    assert_eq!(ask(json!({})).await, Ok(()), "that waits");
    world.emit("e1", "alice").await;
    for _ in 0..30 {
        assert_eq!(ask(at_once.clone()).await, Ok(()), "the time has passed, and there was something");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// SEM-6: a poll answer holds at most one unsettled delivery per lane; "batched" lifts this.
#[tokio::test(start_paused = true)]
async fn a_batch_may_be_asked_for_that_the_receiver_keeps_in_order() {
    let batched = World::with(|config| config.poll_order = PollOrder::Batched).await;
    let per_subject = World::new().await;
    for (world, expected) in [(batched, vec!["e1", "e2", "e3"]), (per_subject, vec!["e1"])] {
        let id = world.poll_stream().await;
        world.emit("e1", "alice").await;
        world.emit("e2", "alice").await;
        world.emit("e3", "alice").await;
        let answer = world.poll(&id, &json!({})).await;
        assert_eq!(txns(&answer), expected);
        world.poll(&id, &json!({"ack": jtis(&answer), "maxEvents": 0})).await;
        let next = world.restarted().await;
        let rest = next.poll(&id, &json!({"returnImmediately": true})).await;
        assert_eq!(rest.sets.len(), usize::from(expected.len() == 1), "the store says the same");
    }
}

// finding: A16
#[tokio::test(start_paused = true)]
async fn one_client_may_be_polled_otherwise_than_others() {
    let own = PollOptions { visibility_seconds: Some(5), order: Some(PollOrder::Batched) };
    let world = World::with(|config| config.client_polls = [("rp".to_owned(), own)].into()).await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    let at_once = json!({"returnImmediately": true});
    let polled = || async { txns(&world.poll(&id, &at_once).await) };
    assert_eq!(polled().await, ["e1", "e2"]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(polled().await, [""; 0], "hidden");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(polled().await, ["e1", "e2"], "handed out again");
    let figures = world.transmitter.stream_figures(&id).await.unwrap().unwrap();
    let expected = PollRules { visibility: Duration::from_secs(5), order: PollOrder::Batched };
    assert_eq!(figures.polls, Some(expected));

    // Another client is polled as all are.
    let world = World::with(|config| config.client_polls = [("other".to_owned(), own)].into()).await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    assert_eq!(txns(&world.poll(&id, &at_once).await), ["e1"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.poll(&id, &at_once).await.sets.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_polled_stream_holds_too_long_is_given_up() {
    let world = World::with(|config| config.retry.age_max = Duration::from_secs(3600)).await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    world.poll(&id, &json!({})).await;
    tokio::time::sleep(Duration::from_secs(3000)).await;
    world.emit("e2", "alice").await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    let answer = world.poll(&id, &json!({})).await;
    assert_eq!(txns(&answer), ["e2"]);
    assert_eq!(world.store.backlog_of(1).await.abandoned, 1);
    assert_eq!(world.transmitter.figures().abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_paused_stream_holds_too_long_is_given_up() {
    let world = World::with(|config| config.retry.age_max = Duration::from_secs(3600)).await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    for number in 0..200 {
        world.emit(&format!("e{number}"), &format!("user{}", number % 7)).await;
    }
    tokio::time::sleep(Duration::from_secs(3000)).await;
    world.emit("young", "alice").await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(world.store.backlog_of(1).await.abandoned, 200);
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["young"]);
}

/// SEM-10: readiness fails when the store is gone, and not for a receiver's trouble.
#[tokio::test(start_paused = true)]
async fn readiness_is_about_us() {
    let world = World::new().await;
    world.push_stream().await;
    let paused = world.push_stream().await;
    world.set_status(&paused, "paused").await;
    world.network.answer(|_| Reply::Busy(503, 300));
    for number in 0..100 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.transmitter.ready().await, Ok(()));
    world.transmitter.close().await;
    assert_eq!(world.transmitter.ready().await, Err(NotReady::Closing));
}
