//! Trouble with a receiver is the stream's, not the SET's (SEM-8).

use crate::network::{ACCEPT, Push, Reply};
use crate::store::Verb;
use crate::world::{ENDPOINT, ISSUER, World};
use secevent::Timestamp;
use secevent_ssf::{Tolerance, UpdateStream};
use secevent_transmitter::TroubleKind;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// A world with a backlog of eight, whose receiver answers so.
async fn world_in_trouble(reply: Reply) -> World {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(move |_| reply.clone());
    for number in 1..=8 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_trouble_is_probed_with_its_oldest_delivery_and_recovers() {
    let troubles = [
        Reply::Unreachable,
        Reply::Hang,
        Reply::Status(500),
        Reply::Status(408),
        Reply::Busy(429, 7),
        Reply::Status(401),
        Reply::Status(403),
        Reply::Refuse("authentication_failed"),
        Reply::Refuse("access_denied"),
        Reply::Refuse("invalid_key"),
        Reply::Refuse("invalid_issuer"),
        Reply::Refuse("invalid_audience"),
    ];
    for trouble in troubles {
        let world = world_in_trouble(trouble.clone()).await;
        // Attempts until it is suspended, and three probes.
        let pushes = world.network.sent(20).await;
        let probes = &pushes[17..];
        assert!(probes.iter().all(|probe| probe.txn() == "e1"), "{trouble:?}: {:?}", world.network.txns());
        let attempted: BTreeSet<&str> = pushes[1..].iter().map(Push::txn).collect();
        assert!(attempted.len() <= 4, "no attempts of others: {trouble:?}: {attempted:?}");
        world.network.answered(20).await;
        world.network.answer(|_| ACCEPT);
        world.store.all_settled().await;
        assert_eq!(world.store.settled_as(Verb::Acked), 1 + 8, "{trouble:?}");
        assert_eq!(world.store.settled_as(Verb::Rejected), 0, "{trouble:?}");
    }
}

// finding: B11
#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_at_random_keeps_its_rate_and_its_order() {
    let mut healthy = None;
    // One in so many fails, and what is kept of the healthy rate at least.
    for (one_in, share) in [(0, 1.0), (100, 0.9), (33, 0.7), (10, 0.5)] {
        let world = World::new().await;
        let id = world.push_stream().await;
        let answer =
            |fails: bool| if fails { Reply::Status(503) } else { ACCEPT }.after(Duration::from_millis(20));
        let mut state = 1_u64;
        world.network.answer(move |_| {
            // A small generator of its own (xorshift): the same in each run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            answer(one_in > 0 && state.is_multiple_of(one_in))
        });
        world.set_status(&id, "paused").await;
        const EVENTS: usize = 6_000;
        for first in (0..EVENTS).step_by(1_000) {
            let event = |number: usize| {
                crate::world::event(
                    &format!("e{number}"),
                    &crate::world::email(&format!("user{}", number % 500)),
                )
            };
            let events: Vec<_> = (first..first + 1_000).map(event).collect();
            world.accept(None, &events).await.unwrap();
        }
        let before = world.network.pushes().len();
        let began = tokio::time::Instant::now();
        world.set_status(&id, "enabled").await;
        world.store.all_settled().await;
        let took = began.elapsed().as_secs_f64();
        let healthy = *healthy.get_or_insert(took);
        assert!(healthy / took >= share, "one in {one_in}: {took} s, and {healthy} s if healthy");
        let mut latest = vec![None; 500];
        let pushes = world.network.pushes();
        for push in pushes[before..]
            .iter()
            .filter(|push| push.claims["txn"].as_str().is_some_and(|txn| txn.starts_with('e')))
        {
            let number: usize = push.txn()[1..].parse().unwrap();
            assert!(latest[number % 500] <= Some(number), "e{number} is offered after a later one");
            latest[number % 500] = Some(number);
        }
        assert_eq!(world.store.settled_as(Verb::Rejected), 0);
        let figures = world.transmitter.stream_figures(&id).await.unwrap().unwrap();
        assert_eq!((figures.delayed, figures.suspended), (0, None));
    }
}

// finding: B11
#[tokio::test(start_paused = true)]
async fn a_set_that_always_fails_waits_alone_until_it_is_too_old() {
    let world = World::with(|config| config.retry.age_max = Duration::from_secs(3600)).await;
    let id = world.push_stream().await;
    world.network.answer(|push| if push.txn() == "poison" { Reply::Status(500) } else { ACCEPT });
    world.emit("before", "bob").await;
    world.emit("poison", "alice").await;
    world.emit("behind", "alice").await;
    for number in 0..2_000 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let figures = world.transmitter.stream_figures(&id).await.unwrap().unwrap();
    assert_eq!((figures.pending, figures.delayed, figures.suspended), (2, 1, None));
    let pushes = world.network.pushes();
    let times: Vec<_> = pushes.iter().filter(|push| push.txn() == "poison").map(|push| push.at).collect();
    assert!((8..30).contains(&times.len()), "{}", times.len());
    assert!(times[1] - times[0] <= Duration::from_millis(12), "it is tried again soon");
    assert!(times[times.len() - 1] - times[times.len() - 2] > Duration::from_secs(2), "and then more seldom");
    assert!(!world.network.txns().contains(&"behind".to_owned()), "it waits for the one before it");
    world.store.all_settled().await;
    assert_eq!(world.store.backlog_of(1).await.abandoned, 2, "both were too old");
    assert!(!world.network.txns().contains(&"behind".to_owned()));
}

// finding: B11
#[tokio::test(start_paused = true)]
async fn a_delivery_that_waits_alone_is_due_at_once_after_a_restart() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|push| if push.txn() == "e1" { Reply::Status(500) } else { ACCEPT });
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    for number in 0..100 {
        world.emit(&format!("other{number}"), "bob").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let attempts = world.store.settled_as(Verb::Retry);
    assert!(attempts > 3, "{attempts}");
    let next = world.restarted().await;
    let began = tokio::time::Instant::now();
    next.store.all_settled().await;
    assert_eq!(next.network.txns(), ["e1", "e2"]);
    assert!(began.elapsed() < Duration::from_secs(1));
}

// finding: B20
#[tokio::test(start_paused = true)]
async fn what_holds_for_every_set_of_a_stream_costs_none_of_them_and_is_shown() {
    for (err, kind) in [
        ("invalid_audience", TroubleKind::Trust),
        ("invalid_issuer", TroubleKind::Trust),
        ("invalid_key", TroubleKind::Trust),
        ("authentication_failed", TroubleKind::Credentials),
        ("access_denied", TroubleKind::Credentials),
    ] {
        let world = World::new().await;
        let id = world.push_stream().await;
        world.network.answer(move |_| Reply::Refuse(err));
        for number in 1..=50 {
            world.emit(&format!("e{number}"), &format!("user{number}")).await;
        }
        world.network.answered(10).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let figures = world.transmitter.stream_figures(&id).await.unwrap().unwrap();
        let suspended = figures.suspended.unwrap();
        assert_eq!((suspended.kind, figures.pending), (kind, 50), "{err}");
        assert_eq!(suspended.reason, format!("400 Bad Request, {err}: no"));
        assert!(suspended.since < suspended.until && suspended.since > Timestamp::default());
        let attempted: BTreeSet<String> = world.network.txns().into_iter().skip(1).collect();
        assert!(attempted.len() <= 4, "{err}: {attempted:?}");
        world.network.answer(|_| ACCEPT);
        world.store.all_settled().await;
        assert_eq!((world.store.settled_as(Verb::Acked), world.store.settled_as(Verb::Rejected)), (51, 0));
    }
}

/// That a SET is given up is no reason not to let its receiver rest.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_busy_is_left_alone_though_the_set_is_too_old() {
    let world = World::with(|config| {
        config.retry.age_max = Duration::from_secs(10);
        config.push_timeout = Duration::from_secs(40);
    })
    .await;
    world.push_stream().await;
    world.network.answer_first([Reply::Busy(503, 30).after(Duration::from_secs(20))]);
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    assert_eq!(world.store.settled_as(Verb::Abandoned), 1);
    world.emit("e2", "bob").await;
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    assert_eq!(pushes.len(), 3);
    assert!(pushes[2].at - pushes[1].at >= Duration::from_secs(20 + 30), "when it asked for");
    assert_eq!(world.transmitter.figures().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn only_one_probe_is_on_its_way_at_a_time() {
    let world = world_in_trouble(Reply::Unreachable).await;
    world.network.sent(6).await;
    world.network.answer(|_| Reply::Hang);
    let before = world.network.pushes().len();
    world.network.sent(before + 1).await;
    for number in 20..30 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    // The probe hangs for its ten seconds.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!((world.network.pushes().len(), world.network.in_flight()), (before + 1, 1));
}

// spec: PUSH-31
#[tokio::test(start_paused = true)]
async fn what_the_receiver_asks_for_is_waited_even_if_others_are_accepted_meanwhile() {
    let world = World::new().await;
    world.push_stream().await;
    let second = Duration::from_secs(1);
    world.network.answer_first([Reply::Busy(429, 60), ACCEPT.after(second), ACCEPT.after(second)]);
    for (txn, user) in [("e1", "alice"), ("e2", "bob"), ("e3", "carol")] {
        world.emit(txn, user).await;
    }
    let pushes = world.network.sent(5).await;
    assert_eq!(pushes[4].txn(), "e1");
    assert!(pushes[4].at - pushes[1].at >= Duration::from_secs(60), "{:?}", pushes[4].at - pushes[1].at);
}

#[tokio::test(start_paused = true)]
async fn delays_grow_up_to_their_bound() {
    let world = World::with(|config| config.retry.delay_max = Duration::from_secs(20)).await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.emit("e1", "alice").await;
    let pushes = world.network.sent(40).await;
    let delays: Vec<Duration> = pushes[1..].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(delays[0] <= Duration::from_millis(12), "{delays:?}");
    assert!(delays[2] <= Duration::from_millis(1_002), "{delays:?}");
    assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(20_002)), "{delays:?}");
    assert!(delays[10..].iter().max() > Some(&Duration::from_secs(8)), "{delays:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_abandoned_and_counted() {
    let world = World::with(|config| config.retry.age_max = Duration::from_secs(3600)).await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    let lasted = pushes.last().unwrap().at - pushes[1].at;
    assert!(lasted > Duration::from_secs(3000) && lasted < Duration::from_secs(4000), "{lasted:?}");
    assert!(!world.network.txns().contains(&"e2".to_owned()), "it waited for e1 until it was too old too");
    assert_eq!(world.store.backlog_of(1).await.abandoned, 2);
    world.network.answer(|_| ACCEPT);
    world.emit("e3", "alice").await;
    world.store.all_settled().await;
    assert_eq!(world.store.settled_as(Verb::Acked), 2);
}

/// SEM-3: endpoint and credentials are read at send, so that a change applies to what waits; claims never change.
#[tokio::test(start_paused = true)]
async fn another_endpoint_is_tried_at_once() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Busy(503, 300));
    world.emit("e1", "alice").await;
    world.network.answered(2).await;
    world.network.answer(|_| ACCEPT);
    let began = tokio::time::Instant::now();
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": "https://new.example/", "authorization_header": null});
    let request = json!({"stream_id": id.as_str(), "delivery": delivery}).to_string();
    let request = UpdateStream::read(request.as_bytes(), Tolerance::NONE).unwrap();
    world.transmitter.update_stream(ISSUER, "rp", request).await.unwrap();
    let pushes = world.network.sent(3).await;
    assert_eq!(pushes[2].parts.uri, "https://new.example/");
    assert!(!pushes[2].parts.headers.contains_key("authorization"));
    assert_eq!(pushes[2].claims, pushes[1].claims);
    assert!(pushes[2].at - began < Duration::from_secs(1));
    assert_eq!(pushes[1].parts.uri, ENDPOINT);
}

#[tokio::test(start_paused = true)]
async fn one_receivers_trouble_is_not_the_others() {
    let world = World::new().await;
    world.push_stream().await;
    world
        .create(&json!({
            "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://down.example/"},
            "events_requested": ["https://schemas.openid.net/secevent/caep/event-type/session-revoked"],
        }))
        .await;
    world.network.sent(2).await;
    world.network.answer(|push| {
        if push.parts.uri.host() == Some("down.example") { Reply::Unreachable } else { ACCEPT }
    });
    let began = tokio::time::Instant::now();
    for number in 0..50 {
        world.emit(&format!("e{number}"), "alice").await;
    }
    world.store.settled(1).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
