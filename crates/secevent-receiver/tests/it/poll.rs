//! Poll: long poll, verify, store, acknowledge in the next request.

use crate::transmitter::{json_answer, retry_after, status, with_body};
use crate::world::{World, claims, poll_source};
use http::header::{ACCEPT, CONTENT_LANGUAGE, CONTENT_TYPE};
use secevent_receiver::{HandleError, ReceiverConfig};
use secevent_ssf::TransportError;
use secevent_store::Inbox as _;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, advance};

// spec: POLL-01, POLL-02, POLL-12, POLL-18, POLL-31
#[tokio::test(start_paused = true)]
async fn sets_are_polled_and_acknowledged() {
    let world = World::polled().await;
    world.queue_set("a");
    world.until_handled(&["a"]).await;
    world.until(|| world.transmitter.state().acked == ["a"]).await;
    assert!(world.transmitter.state().queue.is_empty());

    let requests = world.transmitter.requests("/odd/poll");
    for request in &requests {
        assert_eq!((request.method().as_str(), request.uri().scheme_str()), ("POST", Some("https")));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(request.headers()[ACCEPT], "application/json");
    }
    assert_eq!(&requests[0].body()[..], br#"{"maxEvents":100}"#, "poll only: nothing to acknowledge yet");
    let polls = world.transmitter.polls();
    assert_eq!(polls.last().unwrap().ack, ["a"], "acknowledge and poll");

    world.queue_set("b");
    world.until_handled(&["a", "b"]).await;
    world.receiver.stop().await;
    let last = world.transmitter.polls().pop().unwrap();
    assert_eq!((last.max_events, last.return_immediately), (Some(0), true), "acknowledge only");
}

// spec: POLL-11
#[tokio::test(start_paused = true)]
async fn the_last_acknowledgement_does_not_wait() {
    let world = World::polled().await;
    // What was polled is stored, and its acknowledgement gets lost.
    world.transmitter.script("/odd/poll", Err(TransportError::Timeout("late".to_owned())));
    world.queue_set("a");
    world.until_handled(&["a"]).await;
    let begun = Instant::now();
    world.receiver.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let last = world.transmitter.polls().pop().unwrap();
    assert_eq!((last.max_events, last.return_immediately), (Some(0), true));
    assert_eq!(last.ack, ["a"]);
    assert!(world.transmitter.state().queue.is_empty());
}

// spec: POLL-24, POLL-04
#[tokio::test(start_paused = true)]
async fn more_is_fetched_at_once() {
    let mut config = ReceiverConfig { sources: vec![poll_source()], ..ReceiverConfig::default() };
    config.poll.sets_max = 2;
    let world = World::configured(config).await;
    for jti in ["a", "b", "c", "d", "e"] {
        world.queue_set(jti);
    }
    let begun = Instant::now();
    world.receiver.subscribe("idp").await.unwrap();
    world.until(|| world.transmitter.state().queue.is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "nothing was waited for");
    assert_eq!(world.handler.handled(), ["a", "b", "c", "d", "e"]);
    assert!(world.transmitter.polls().iter().all(|poll| poll.max_events == Some(2)));
}

// spec: POLL-14, POLL-15, POLL-16, POLL-29, POLL-30
#[tokio::test(start_paused = true)]
async fn each_bad_set_is_refused_under_its_key_and_the_others_are_taken() {
    let world = World::polled().await;
    let sign = |jti: &str, name: &str, value: serde_json::Value| {
        let mut claims = claims(jti);
        claims[name] = value;
        world.transmitter.sign(&claims)
    };
    let other_key = {
        let before = world.transmitter.state().signer.clone();
        world.transmitter.rotate("unpublished");
        let token = world.transmitter.sign(&claims("key"));
        let mut state = world.transmitter.state();
        state.published = secevent_jose::JwkSet::new([before.key().public().clone()]);
        state.signer = before;
        token
    };
    {
        let bad = [
            ("no token", "abc".to_owned()),
            ("iss", sign("iss", "iss", json!("https://other.example"))),
            ("aud", sign("aud", "aud", json!("https://other.example"))),
            ("exp", sign("exp", "exp", json!(1_900_000_060))),
            ("key", other_key),
            ("other", world.transmitter.sign(&claims("inner"))),
        ];
        let mut state = world.transmitter.state();
        state.queue.extend(bad.map(|(jti, token)| (jti.to_owned(), token)));
    }
    world.queue_set("good");
    world.until(|| world.transmitter.state().queue.is_empty()).await;
    world.until_handled(&["good"]).await;

    let mut refused = world.transmitter.state().refused.clone();
    refused.sort();
    let expected = [
        ("aud", "invalid_audience"),
        ("exp", "invalid_request"),
        ("iss", "invalid_issuer"),
        ("key", "invalid_key"),
        ("no token", "invalid_request"),
        ("other", "invalid_request"),
    ];
    assert_eq!(refused, expected.map(|(jti, code)| (jti.to_owned(), code.to_owned())));
    assert_eq!(world.transmitter.state().acked, ["good"], "never under the inner jti (E-96)");
    let request = world.transmitter.requests("/odd/poll").pop().unwrap();
    assert_eq!(request.headers()[CONTENT_LANGUAGE], "en");
}

// spec: POLL-17, POLL-19
#[tokio::test(start_paused = true)]
async fn handlers_neither_delay_nor_change_what_is_acknowledged() {
    let world = World::polled().await;
    world.handler.fail([HandleError::Never("broken".to_owned())]);
    world.queue_set("failing");
    world.until(|| world.receiver.counts().dead == 1).await;
    world.handler.block();
    world.queue_set("slow");
    world.until(|| world.transmitter.state().acked == ["failing", "slow"]).await;
    assert!(world.transmitter.state().refused.is_empty());
    assert_eq!(world.receiver.counts().handled, 0, "the slow one is still in work");
}

// spec: POLL-20
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_a_crash() {
    let world = World::polled().await;
    world.handler.block();
    world.queue_set("a");
    world.until(|| world.transmitter.state().acked == ["a"]).await;
    let config = ReceiverConfig { sources: vec![poll_source()], ..ReceiverConfig::default() };
    let world = world.crashed(config).await;
    world.until_handled(&["a"]).await;
}

// spec: POLL-27
#[tokio::test(start_paused = true)]
async fn repeats_are_acknowledged_again() {
    let world = World::polled().await;
    // A paused transmitter may drop acknowledgements (E-23).
    world.transmitter.state().drops_acks = true;
    world.queue_set("a");
    world.until_handled(&["a"]).await;
    let acks = || world.transmitter.polls().iter().filter(|poll| poll.ack == ["a"]).count();
    world.until(|| acks() >= 3).await;
    world.transmitter.state().drops_acks = false;
    world.until(|| world.transmitter.state().queue.is_empty()).await;
    assert_eq!(
        (world.handler.handled().len(), world.receiver.counts().received),
        (1, 2),
        "the verification too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_transmitter_that_repeats_itself_is_not_asked_ever_faster() {
    let world = World::polled().await;
    world.transmitter.state().drops_acks = true;
    world.queue_set("a");
    world.until_handled(&["a"]).await;
    let before = world.transmitter.polls().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let polls = world.transmitter.polls().len() - before;
    assert!((3..100).contains(&polls), "{polls} polls in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_transmitter_that_does_not_hold_polls_is_asked_once_a_second() {
    let world = World::polled().await;
    for _ in 0..100 {
        world.transmitter.script("/odd/poll", Ok(json_answer(200, &json!({"sets": {}}))));
    }
    world.queue_set("wakes the long poll");
    world.until_handled(&["wakes the long poll"]).await;
    let before = world.transmitter.polls().len();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let polls = world.transmitter.polls().len() - before;
    assert!((25..=31).contains(&polls), "{polls} polls in half a minute");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_it_is_stored() {
    let world = World::polled().await;
    world.inbox.fail(2);
    world.queue_set("a");
    world.until(|| world.transmitter.state().acked == ["a"]).await;
    assert_eq!(world.inbox.failures_left(), 0);
    let bringing = world.transmitter.polls().iter().filter(|poll| poll.ack.is_empty()).count();
    assert!(bringing >= 3, "it was asked for again until it was stored");
    world.until_handled(&["a"]).await;
}

// spec: POLL-33, POLL-34
#[tokio::test(start_paused = true)]
async fn failures_are_waited_out() {
    let world = World::polled().await;
    let failures = [
        Err(TransportError::Unreachable("nobody listens".to_owned())),
        Ok(with_body(400, "<html>Bad Request</html>")),
        Ok(status(500)),
        Ok(status(404)),
        Ok(with_body(200, "<html>Sign in</html>")),
        Ok(with_body(200, r#"{"sets":[]}"#)),
    ];
    let count = failures.len();
    for failure in failures {
        world.transmitter.script("/odd/poll", failure);
    }
    let before = world.transmitter.polls().len();
    world.queue_set("a");
    world.until(|| world.transmitter.state().acked == ["a"]).await;
    assert!(world.transmitter.polls().len() >= before + count, "each failure was met");
    assert_eq!(world.handler.handled(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_transmitter_asks_for_is_respected() {
    let world = World::polled().await;
    world.transmitter.script("/odd/poll", Ok(retry_after(429, 120)));
    world.queue_set("a");
    // The long poll that was under way brings it; its acknowledgement meets the 429.
    world.until_handled(&["a"]).await;
    let begun = Instant::now();
    world.until(|| world.transmitter.state().acked == ["a"]).await;
    assert!(begun.elapsed() >= Duration::from_secs(119), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_go_in_chunks() {
    let mut config = ReceiverConfig { sources: vec![poll_source()], ..ReceiverConfig::default() };
    config.poll.acks_max = 3;
    let world = World::configured(config).await;
    world.receiver.subscribe("idp").await.unwrap();
    world.transmitter.state().queue.clear();
    for place in 0..8 {
        world.queue_set(&format!("{place}"));
    }
    world.until(|| world.transmitter.state().queue.is_empty()).await;
    assert!(world.transmitter.polls().iter().all(|poll| poll.ack.len() + poll.set_errs.len() <= 3));
    world.until(|| world.handler.handled().len() == 8).await;
}

// spec: POLL-43
#[tokio::test(start_paused = true)]
async fn unknown_members_of_the_answer_change_nothing() {
    let world = World::polled().await;
    let token = world.transmitter.sign(&claims("a"));
    let answer = json!({"sets": {"a": token}, "moreAvailable": false, "next": {"x": [1]}});
    world.transmitter.script("/odd/poll", Ok(json_answer(200, &answer)));
    world.queue_set("wakes the long poll");
    world.until(|| world.handler.handled().contains(&"a".to_owned())).await;
}

#[tokio::test(start_paused = true)]
async fn sets_that_cannot_be_judged_are_left_and_come_again() {
    let world = World::polled().await;
    advance(Duration::from_secs(3600)).await;
    world.transmitter.rotate("key-2");
    world.transmitter.script("/odd/keys", Ok(status(500)));
    world.transmitter.script("/odd/keys", Ok(status(500)));
    world.queue_set("a");
    world.until(|| world.transmitter.state().acked == ["a"]).await;
    assert!(world.transmitter.state().refused.is_empty());
    assert_eq!(world.store.waiting(0, 10).await.unwrap().len(), 0);
}
