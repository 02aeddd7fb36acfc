//! Polling: the same deliveries, fetched (RFC 8936).

use crate::store::Verb;
use crate::world::{VERIFICATION, World, claims_of, jtis, txns};
use secevent_ssf::poll::PollRequest;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::time::Instant;

// spec: POLL-03, POLL-09
#[tokio::test(start_paused = true)]
async fn a_poll_waits_and_is_woken_at_once() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let began = Instant::now();
    let waiting = world.spawn_poll(&id, json!({}));
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(!waiting.is_finished());
    world.emit("e1", "alice").await;
    let answer = waiting.await.unwrap();
    assert_eq!((txns(&answer), began.elapsed()), (vec!["e1".to_owned()], Duration::from_secs(7)));

    world.poll(&id, &json!({"ack": jtis(&answer), "maxEvents": 0})).await;
    let began = Instant::now();
    assert!(world.poll(&id, &json!({})).await.sets.is_empty());
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

// spec: POLL-10, POLL-22
#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_wait_does_not() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let began = Instant::now();
    let request = PollRequest { return_immediately: true, ..Default::default() };
    let answer = world.transmitter.poll("rp", &id, &request).await.unwrap();
    assert_eq!((&answer[..], began.elapsed()), (&br#"{"sets":{}}"#[..], Duration::ZERO));
}

// spec: POLL-04, POLL-05, POLL-06, POLL-21, POLL-23
#[tokio::test(start_paused = true)]
async fn a_poll_gets_at_most_what_it_asks_for_oldest_first() {
    let world = World::with(|config| config.poll_sets_max = 4).await;
    let id = world.poll_stream().await;
    for number in 1..=7 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    let two = world.poll(&id, &json!({"maxEvents": 2})).await;
    assert_eq!((txns(&two), two.more_available), (vec!["e1".to_owned(), "e2".to_owned()], true));
    for (jti, token) in &two.sets {
        assert_eq!(claims_of(token)["jti"], **jti);
    }
    let ours = world.poll(&id, &json!({})).await;
    assert_eq!((ours.sets.len(), ours.more_available), (4, true), "our own bound");
    let rest = world.poll(&id, &json!({"maxEvents": 100})).await;
    assert_eq!((txns(&rest), rest.more_available), (vec!["e7".to_owned()], false));
}

// finding: A15
// spec: POLL-23
#[tokio::test(start_paused = true)]
async fn more_is_available_if_an_acknowledgement_sets_it_free() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for (txn, user) in [("e1", "alice"), ("e2", "alice"), ("e3", "bob"), ("e4", "alice")] {
        world.emit(txn, user).await;
    }
    let at_once = json!({"returnImmediately": true, "maxEvents": 1});
    let first = world.poll(&id, &at_once).await;
    assert_eq!((txns(&first), first.more_available), (vec!["e1".to_owned()], true));
    let second = world.poll(&id, &at_once).await;
    assert_eq!(
        (txns(&second), second.more_available),
        (vec!["e3".to_owned()], false),
        "nothing waits for e3"
    );
    let nothing = world.poll(&id, &at_once).await;
    assert_eq!((nothing.sets.len(), nothing.more_available), (0, false), "e2 waits, but not for this answer");
    let third = world.poll(&id, &json!({"ack": jtis(&first)})).await;
    assert_eq!((txns(&third), third.more_available), (vec!["e2".to_owned()], true));
    let fourth = world.poll(&id, &json!({"ack": jtis(&third)})).await;
    assert_eq!((txns(&fourth), fourth.more_available), (vec!["e4".to_owned()], false));
}

// spec: POLL-07, POLL-13, POLL-42
#[tokio::test(start_paused = true)]
async fn acknowledgements_count_before_anything_is_chosen() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    let first = world.poll(&id, &json!({})).await;
    assert_eq!(
        (txns(&first), first.more_available),
        (vec!["e1".to_owned()], true),
        "one of a subject at a time, and the next once that is acknowledged"
    );
    let second = world.poll(&id, &json!({"ack": jtis(&first)})).await;
    assert_eq!(txns(&second), ["e2"]);
    let only_acknowledged =
        world.poll(&id, &json!({"ack": jtis(&second), "maxEvents": 0, "returnImmediately": true})).await;
    assert!(only_acknowledged.sets.is_empty());
    assert_eq!(world.store.backlog_of(1).await.pending, 0);
    world.emit("e3", "alice").await;
    let nothing = world.poll(&id, &json!({"maxEvents": 0, "returnImmediately": true})).await;
    assert!(nothing.sets.is_empty());
    assert_eq!(txns(&world.poll(&id, &json!({})).await), ["e3"]);
}

// spec: POLL-30, POLL-41
#[tokio::test(start_paused = true)]
async fn one_bad_set_is_no_harm_to_the_others() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for user in ["alice", "bob", "carol"] {
        world.emit(user, user).await;
    }
    let answer = world.poll(&id, &json!({})).await;
    let [good, bad, both] = jtis(&answer)[..] else { panic!("{answer:?}") };
    let error = json!({"err": "invalid_key", "description": "no"});
    let report =
        json!({"ack": [good, both], "setErrs": {bad: error, both: error}, "returnImmediately": true});
    assert!(world.poll(&id, &report).await.sets.is_empty());
    let backlog = world.store.backlog_of(1).await;
    assert_eq!((backlog.pending, backlog.rejected), (0, 2));
    assert_eq!(world.store.settled_as(Verb::Acked), 2);
}

// spec: POLL-40
#[tokio::test(start_paused = true)]
async fn unknown_acknowledgements_are_ignored() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let other = world.poll_stream().await;
    world.emit("e1", "alice").await;
    let foreign = world.poll(&other, &json!({})).await;
    let unknown = json!({"ack": ["nope", "", jtis(&foreign)[0]], "setErrs": {"no": {"err": "invalid_key", "description": ""}}});
    assert_eq!(txns(&world.poll(&id, &unknown).await), ["e1"]);
    assert_eq!(world.store.backlog_of(1).await.pending, 1);
    assert_eq!(world.store.backlog_of(2).await.pending, 1, "another stream's identifier names nothing here");
}

// spec: POLL-26
#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_comes_again_after_its_time_and_not_before() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    let first = world.poll(&id, &json!({})).await;
    let began = Instant::now();
    assert!(world.poll(&id, &json!({})).await.sets.is_empty());
    let again = world.poll(&id, &json!({})).await;
    assert_eq!(again, first, "the same SET, to the byte");
    assert_eq!(began.elapsed(), Duration::from_secs(60));
}

/// What is acknowledged again before the store has it is settled once, and counted once.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_counts_once_however_often_it_comes() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for number in 0..5 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    let answer = world.poll(&id, &json!({"maxEvents": 1})).await;
    let jti = jtis(&answer)[0].to_owned();
    let before = world.transmitter.figures().delivered;
    world.store.settle_fails.store(true, SeqCst);
    let twice = PollRequest { ack: vec![jti.clone(), jti], max_events: Some(0), ..PollRequest::default() };
    for _ in 0..3 {
        world.transmitter.poll("rp", &id, &twice).await.unwrap();
    }
    // Somebody who asked the store before it had them hears of it afterwards.
    world.store.deliveries_held.send_replace(true);
    let (transmitter, stream, request) = (Arc::clone(&world.transmitter), id.clone(), twice.clone());
    let late = tokio::spawn(async move { transmitter.poll("rp", &stream, &request).await });
    tokio::task::yield_now().await;
    world.store.settle_fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.store.deliveries_held.send_replace(false);
    late.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let figures = world.transmitter.figures();
    assert_eq!((figures.delivered - before, figures.pending), (1, 4));
    assert_eq!(world.store.backlog_of(1).await.pending, 4);
    assert_eq!(world.store.settled_as(Verb::Acked), 2, "and the verification event");
}

// finding: B17
/// What was acknowledged long ago is looked up together, however much it is.
#[tokio::test(start_paused = true)]
async fn old_acknowledgements_cost_one_look_up() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for number in 0..101 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    let answer = world.poll(&id, &json!({"maxEvents": 100})).await;
    let old: Vec<String> = jtis(&answer).into_iter().map(str::to_owned).collect();
    assert_eq!(old.len(), 100);
    world.poll(&id, &json!({"ack": old, "maxEvents": 0})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last = world.poll(&id, &json!({})).await;
    let (asked, delivered) =
        (world.store.unsettled_asked.load(SeqCst), world.transmitter.figures().delivered);
    let mut again = old;
    again.push(jtis(&last)[0].to_owned());
    world.poll(&id, &json!({"ack": again, "maxEvents": 0})).await;
    assert_eq!(world.store.unsettled_asked.load(SeqCst) - asked, 1);
    assert_eq!(world.transmitter.figures().delivered - delivered, 1, "the one that was new counts");
    world.store.settled(1).await;
}

/// A receiver that hangs up has acknowledged what was taken from it until then.
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_by_a_poll_that_is_given_up_is_stored() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for user in ["alice", "bob"] {
        world.emit(user, user).await;
    }
    let known = world.poll(&id, &json!({"maxEvents": 1})).await;
    let fresh = world.poll(&id, &json!({"maxEvents": 1})).await;
    world.poll(&id, &json!({"ack": jtis(&known), "maxEvents": 0})).await;
    world.store.deliveries_held.send_replace(true);
    let gone = world.spawn_poll(&id, json!({"ack": [jtis(&fresh)[0], jtis(&known)[0]], "maxEvents": 0}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    gone.abort();
    world.store.settled(1).await;
    tokio::task::yield_now().await;
    assert_eq!(world.transmitter.figures().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn several_pollers_share_the_work_and_never_a_set() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for number in 0..60 {
        world.emit(&format!("e{number}"), &format!("user{}", number % 20)).await;
    }
    let pollers: Vec<_> = (0..4).map(|_| world.spawn_poll(&id, json!({"maxEvents": 6}))).collect();
    let mut seen = BTreeSet::new();
    for poller in pollers {
        let answer = poller.await.unwrap();
        let users: BTreeSet<String> =
            answer.sets.iter().map(|(_, token)| claims_of(token)["sub_id"].to_string()).collect();
        assert_eq!(users.len(), answer.sets.len());
        for (_, token) in &answer.sets {
            // One unsettled SET about a user, across all pollers.
            assert!(seen.insert(claims_of(token)["sub_id"].to_string()));
        }
    }
    assert_eq!(seen.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_sets_free_what_another_poller_waits_for() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    let first = world.poll(&id, &json!({})).await;
    let waiting = world.spawn_poll(&id, json!({}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    world.poll(&id, &json!({"ack": jtis(&first), "maxEvents": 0})).await;
    assert_eq!(txns(&waiting.await.unwrap()), ["e2"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_long_backlog_is_drained_to_the_end() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for number in 0..1_500 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    let (mut ack, mut got) = (Vec::new(), Vec::new());
    loop {
        let answer = world.poll(&id, &json!({"ack": ack, "returnImmediately": true})).await;
        got.extend(txns(&answer));
        ack = jtis(&answer).into_iter().map(str::to_owned).collect();
        if !answer.more_available {
            break;
        }
    }
    // What is fresh does not wait behind the backlog: it is about others (SEM-11).
    got.sort_by_key(|txn| txn[1..].parse::<usize>().unwrap());
    assert_eq!(got, (0..1_500).map(|number| format!("e{number}")).collect::<Vec<_>>(), "each once");
}

#[tokio::test(start_paused = true)]
async fn a_paused_stream_answers_with_nothing_and_wakes_its_poller_when_it_goes_on() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.set_status(&id, "paused").await;
    world.emit("e1", "alice").await;
    let answer = world.poll(&id, &json!({"returnImmediately": true})).await;
    assert_eq!((answer.sets.len(), answer.more_available), (0, false));
    let began = Instant::now();
    assert!(world.poll(&id, &json!({})).await.sets.is_empty());
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    let waiting = world.spawn_poll(&id, json!({}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.set_status(&id, "enabled").await;
    assert_eq!(txns(&waiting.await.unwrap()), ["e1"]);
}

#[tokio::test(start_paused = true)]
async fn a_verification_is_in_the_next_small_poll() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for number in 0..700 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.poll(&id, &json!({"maxEvents": 5})).await;
    world.verify(&id, "state").await;
    let answer = world.poll(&id, &json!({"maxEvents": 10, "returnImmediately": true})).await;
    assert_eq!(claims_of(&answer.sets[0].1)["events"], json!({VERIFICATION: {"state": "state"}}));
}

#[tokio::test(start_paused = true)]
async fn a_poller_that_hangs_up_while_the_store_is_read_stops_nobody() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.store.withhold(|_| true);
    let world = World::on(world.store.clone()).await;
    world.emit("e1", "alice").await;
    let world = World::on(world.store.clone()).await;
    world.store.pages_held.send_replace(true);
    let gone = world.spawn_poll(&id, json!({}));
    let mut reading = world.store.pages_asked.subscribe();
    let before = *reading.borrow_and_update();
    reading.wait_for(|now| *now > before).await.unwrap();
    let waiting = world.spawn_poll(&id, json!({}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    gone.abort();
    world.store.pages_held.send_replace(false);
    assert_eq!(txns(&waiting.await.unwrap()), ["e1"]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_was_reading_when_its_stream_was_paused_hands_out_nothing() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.store.withhold(|_| true);
    let world = World::on(world.store.clone()).await;
    world.emit("e1", "alice").await;
    let world = World::on(world.store.clone()).await;
    world.store.pages_held.send_replace(true);
    let mut reading = world.store.pages_asked.subscribe();
    let before = *reading.borrow_and_update();
    let poll = world.spawn_poll(&id, json!({"returnImmediately": true}));
    reading.wait_for(|now| *now > before).await.unwrap();
    world.set_status(&id, "paused").await;
    world.store.pages_held.send_replace(false);
    assert!(poll.await.unwrap().sets.is_empty());
    world.set_status(&id, "enabled").await;
    assert_eq!(txns(&world.poll(&id, &json!({})).await), ["e1"]);
}

// spec: SET-04
#[tokio::test(start_paused = true)]
async fn ten_thousand_sets_have_ten_thousand_identifiers() {
    const EVENTS: usize = 10_000;
    let world = World::new().await;
    let id = world.poll_stream().await;
    for first in (0..EVENTS).step_by(1_000) {
        let user = |number| crate::world::event("e", &crate::world::email(&format!("user{number}")));
        let events: Vec<_> = (first..first + 1_000).map(user).collect();
        world.accept(None, &events).await.unwrap();
    }
    let (mut seen, mut ack) = (BTreeSet::new(), Vec::new());
    while seen.len() < EVENTS {
        let answer = world.poll(&id, &json!({"ack": ack})).await;
        assert!(!answer.sets.is_empty());
        for (jti, token) in &answer.sets {
            assert_eq!(claims_of(token)["jti"], json!(jti));
            assert!(!jti.is_empty() && seen.insert(jti.clone()), "{jti} comes twice");
        }
        ack = jtis(&answer).into_iter().map(str::to_owned).collect();
    }
}
