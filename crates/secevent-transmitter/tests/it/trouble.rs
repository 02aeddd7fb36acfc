//! Trouble with a receiver is the stream's, not the SET's (SEM-8).

use crate::network::{ACCEPT, Reply};
use crate::store::Verb;
use crate::world::{ENDPOINT, ISSUER, World};
use secevent_ssf::{Tolerance, UpdateStream};
use serde_json::json;
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
    ];
    for trouble in troubles {
        let world = world_in_trouble(trouble.clone()).await;
        // A window's worth of first attempts, and three probes.
        let pushes = world.network.sent(8).await;
        let window = pushes.len() - 1 - 3;
        assert!(window <= 8, "{trouble:?}");
        assert!(
            pushes[window + 1..].iter().all(|probe| probe.txn() == "e1"),
            "{trouble:?}: {:?}",
            world.network.txns()
        );
        world.network.answered(8).await;
        world.network.answer(|_| ACCEPT);
        world.store.all_settled().await;
        assert_eq!(world.store.settled_as(Verb::Acked), 1 + 8, "{trouble:?}");
        assert_eq!(world.store.settled_as(Verb::Rejected), 0, "{trouble:?}");
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
    assert!(delays[0] <= Duration::from_millis(1_002), "{delays:?}");
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
