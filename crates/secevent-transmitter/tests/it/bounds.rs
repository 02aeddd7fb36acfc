//! Every bound is reached and kept (I6), and what is idle costs nothing.

use crate::network::{ACCEPT, Reply};
use crate::world::{ENDPOINT, SESSION_REVOKED, World};
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn the_window_of_a_stream_opens_while_it_keeps_up_and_closes_when_it_does_not() {
    let world = World::with(|config| config.pushes_per_stream_max = 16).await;
    world.push_stream().await;
    world.network.answer(|_| ACCEPT.after(SECOND));
    for number in 0..200 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.sent(5).await;
    assert_eq!(world.network.in_flight(), 4, "it starts small");
    world.store.all_settled().await;
    assert_eq!(world.network.in_flight_max(), 16, "and reaches its bound");

    // Most of a window's worth fail, and some succeed.
    let replies = (0..16).map(|number| if number % 4 == 3 { ACCEPT } else { Reply::Status(503) });
    world.network.answer_first(replies.map(|reply| reply.after(SECOND)));
    for number in 0..16 {
        world.emit(&format!("f{number}"), &format!("user{number}")).await;
    }
    world.store.all_settled().await;
    world.network.answer(|_| ACCEPT.after(SECOND));
    for number in 0..16 {
        world.emit(&format!("g{number}"), &format!("user{number}")).await;
    }
    let before = world.network.pushes().len();
    world.network.sent(before + 4).await;
    assert!(world.network.in_flight() <= 8, "half of what it was, or less: {}", world.network.in_flight());
    world.store.all_settled().await;
}

#[tokio::test(start_paused = true)]
async fn all_streams_together_keep_the_common_bound_and_none_starves() {
    let world = World::with(|config| {
        config.pushes_max = 6;
        config.streams_per_client_max = 20;
    })
    .await;
    world.network.answer(|_| ACCEPT.after(SECOND));
    for number in 0..10 {
        world
            .create(&json!({
                "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": format!("{ENDPOINT}/{number}")},
                "events_requested": [SESSION_REVOKED],
            }))
            .await;
    }
    for number in 0..30 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.store.all_settled().await;
    assert_eq!(world.network.in_flight_max(), 6);
    let pushes = world.network.pushes();
    assert_eq!(pushes.len(), 10 + 300);
    // Whoever stands in line for a permit gets one in turn.
    for number in 0..10 {
        let path = format!("/events/{number}");
        let last = pushes.iter().rposition(|push| push.parts.uri.path() == path).unwrap();
        assert!(last > 150, "{path} was served before all others");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_house_makes_no_tasks_that_only_wait() {
    let world = World::with(|config| config.pushes_max = 1).await;
    world.push_stream().await;
    world.network.answer(|_| ACCEPT.after(SECOND));
    let idle = tasks();
    let mut most = 0;
    for number in 0..100 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
        tokio::task::yield_now().await;
        most = most.max(tasks());
    }
    assert!(most <= idle + 2, "{most} tasks");
    world.store.all_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_has_no_task_and_a_transmitter_that_is_dropped_leaves_none() {
    let world = World::with(|config| config.streams_per_client_max = 50).await;
    let idle = tasks();
    for _ in 0..50 {
        world.push_stream().await;
    }
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(tasks(), idle);

    let transmitter = std::sync::Arc::downgrade(&world.transmitter);
    let store = std::sync::Arc::downgrade(&world.store);
    drop(world);
    assert!(transmitter.upgrade().is_none() && store.upgrade().is_none(), "they do not hold each other");
}

/// Requests that come at once do not pass the bound together.
#[tokio::test(start_paused = true)]
async fn a_client_has_no_more_streams_than_it_may_have() {
    let world = World::with(|config| config.streams_per_client_max = 5).await;
    let create = |_| {
        let transmitter = std::sync::Arc::clone(&world.transmitter);
        tokio::spawn(async move {
            let request = secevent_ssf::CreateStream::default();
            transmitter.create_stream(crate::world::ISSUER, &crate::world::client("rp"), request).await
        })
    };
    let mut created = 0;
    for request in (0..50).map(create).collect::<Vec<_>>() {
        created += usize::from(request.await.unwrap().is_ok());
    }
    assert_eq!(created, 5);
}
