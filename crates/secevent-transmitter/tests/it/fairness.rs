//! Nobody waits for somebody else's trouble (SEM-5, SEM-9, SEM-11).

use crate::network::{ACCEPT, Push, Reply};
use crate::world::{World, email, event};
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn emit_many(world: &World, name: &str, user: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|number| event(&format!("{name}{number}"), &email(user))).collect();
    for events in events.chunks(500) {
        world.accept(None, events).await.unwrap();
    }
}

fn when(pushes: &[Push], txn: &str) -> tokio::time::Instant {
    pushes.iter().find(|push| push.txn() == txn).unwrap().at
}

/// SEM-5: one blocked lane may not fill the read-ahead, by push or by poll.
#[tokio::test(start_paused = true)]
async fn one_subject_with_a_long_backlog_does_not_hold_up_the_others() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let polled = world.poll_stream().await;
    world.set_status(&id, "paused").await;
    emit_many(&world, "busy", "alice", 3_000).await;
    world.emit("other", "bob").await;
    world.network.answer(|push| match push.claims["sub_id"]["email"] == "alice@example.com" {
        true => ACCEPT.after(SECOND),
        false => ACCEPT,
    });
    let began = tokio::time::Instant::now();
    world.set_status(&id, "enabled").await;
    loop {
        let pushes = world.network.sent(world.network.pushes().len() + 1).await;
        if pushes.iter().any(|push| push.txn() == "other") {
            assert!(when(&pushes, "other") - began < 2 * SECOND, "{:?}", when(&pushes, "other") - began);
            break;
        }
    }
    let mut got = Vec::new();
    for _ in 0..10 {
        let answer = world.poll(&polled, &json!({})).await;
        got.extend(crate::world::txns(&answer));
        if got.len() == 2 {
            break;
        }
    }
    assert_eq!(got, ["busy0", "other"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_backlog_about_one_subject_is_delivered_whole_and_in_order() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    let names: Vec<String> = (0..3_000).map(|number| format!("e{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let user = if number % 10 == 0 { format!("user{}", number % 70) } else { "alice".to_owned() };
        world.emit(name, &user).await;
    }
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    let mut txns = world.network.txns().split_off(1);
    assert_eq!(txns.len(), 3_000, "each once");
    let alice: Vec<&String> =
        txns.iter().filter(|txn| txn[1..].parse::<usize>().unwrap() % 10 != 0).collect();
    assert!(alice.is_sorted_by_key(|txn| txn[1..].parse::<usize>().unwrap()));
    txns.sort_by_key(|txn| txn[1..].parse::<usize>().unwrap());
    assert_eq!(txns, names);
}

/// SEM-11: fresh events keep their share while the backlog drains.
#[tokio::test(start_paused = true)]
async fn a_fresh_event_does_not_wait_behind_a_backlog_about_others() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    for number in 0..10_000 {
        world.emit(&format!("old{number}"), &format!("user{number}")).await;
    }
    world.network.answer(|_| ACCEPT.after(Duration::from_millis(100)));
    let before = world.network.pushes().len();
    world.network.sent(before + 500).await;
    world.emit("fresh", "somebody-else").await;
    world.emit("conflicting", "user9999").await;
    let emitted = tokio::time::Instant::now();
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    assert!(when(&pushes, "fresh") - emitted <= Duration::from_millis(200));
    assert!(when(&pushes, "conflicting") >= when(&pushes, "old9999") + Duration::from_millis(100));
    assert!(pushes.iter().filter(|push| push.txn() == "fresh").count() == 1);
}

/// SEM-9: suspended streams together hold at most a quarter of the global limit.
#[tokio::test(start_paused = true)]
async fn dead_receivers_hold_a_quarter_of_the_attempts_and_a_fast_one_sees_nothing_of_them() {
    let world = World::with(|config| {
        config.pushes_max = 40;
        config.streams_per_client_max = 200;
    })
    .await;
    let fast = |push: &Push| push.parts.uri.path().ends_with("/fast");
    world.network.answer(move |push| if fast(push) { ACCEPT } else { Reply::Hang });
    for number in 0..100 {
        world.push_stream_to(&format!("dead{number}")).await;
    }
    // Each has met trouble once, and is probed from here on.
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.push_stream_to("fast").await;
    for number in 0..200 {
        let before = tokio::time::Instant::now();
        let txn = format!("e{number}");
        world.emit(&txn, &format!("user{number}")).await;
        loop {
            let pushes = world.network.pushes();
            if let Some(push) = pushes.iter().find(|push| push.txn() == txn && fast(push)) {
                assert_eq!(push.at, before, "at once");
                break;
            }
            world.network.sent(pushes.len() + 1).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(world.network.in_flight() <= 10, "{} probes", world.network.in_flight());
    }
    assert_eq!(world.transmitter.ready().await, Ok(()), "others' trouble is none of ours (SEM-10)");
}

/// SEM-9: slow receivers leave room for those that have few on their way.
#[tokio::test(start_paused = true)]
async fn slow_receivers_leave_room() {
    let world = World::with(|config| {
        config.pushes_max = 64;
        config.streams_per_client_max = 20;
    })
    .await;
    let fast = |push: &Push| push.parts.uri.path().ends_with("/fast");
    world.network.answer(move |push| if fast(push) { ACCEPT } else { ACCEPT.after(5 * SECOND) });
    world.push_stream_to("slow1").await;
    world.push_stream_to("slow2").await;
    for number in 0..2_000 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    tokio::time::sleep(60 * SECOND).await;
    assert!(world.network.in_flight() > 32, "they use what there is");
    world.push_stream_to("fast").await;
    for number in 0..50 {
        let txn = format!("f{number}");
        let emitted = tokio::time::Instant::now();
        world.emit(&txn, &format!("nobody{number}")).await;
        tokio::time::sleep(SECOND).await;
        let pushes = world.network.pushes();
        let push = pushes.iter().find(|push| push.txn() == txn && fast(push));
        assert_eq!(push.unwrap().at, emitted);
    }
}

/// I6: a stream whose receiver is away holds no more in memory than it needs to probe it.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_costs_no_read_ahead() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    for number in 0..2_000 {
        world.emit(&format!("e{number}"), &format!("user{}", number % 50)).await;
    }
    world.network.sent(30).await;
    let figures = world.transmitter.stream_figures(&id).await.unwrap().unwrap();
    assert_eq!(figures.pending, 2_000);
    assert!(figures.in_memory <= 16, "{}", figures.in_memory);
    world.network.answer(|_| ACCEPT);
    world.store.all_settled().await;
    let txns = world.network.txns();
    for user in 0..50 {
        let mine: Vec<usize> = txns[1..]
            .iter()
            .map(|txn| txn[1..].parse().unwrap())
            .filter(|number: &usize| number % 50 == user)
            .collect();
        let mut first_offers = mine.clone();
        first_offers.dedup();
        assert!(first_offers.is_sorted(), "{first_offers:?}");
        assert_eq!(first_offers.len(), 40);
    }
}
