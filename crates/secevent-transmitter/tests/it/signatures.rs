//! What is sent again is the same, byte for byte (SEM-4).

use crate::network::{ACCEPT, Reply};
use crate::store::Verb;
use crate::world::{World, claims_of};
use serde_json::json;
use std::time::Duration;

/// ES256 draws a new number for every signature: two that are the same were made once.
async fn world() -> World {
    World::with(|config| config.issuers[0].algorithm = secevent_jose::Algorithm::Es256).await
}

/// SEM-4: retries carry the same bytes, after a restart too.
#[tokio::test(start_paused = true)]
async fn a_push_is_repeated_with_the_same_bytes_after_a_restart_too() {
    let world = world().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.emit("e1", "alice").await;
    let pushes = world.network.sent(3).await;
    assert_eq!(pushes[1].token, pushes[2].token);
    while world.store.settled_as(Verb::Retry) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let next = world.restarted().await;
    let again = next.network.sent(1).await;
    assert_eq!(again[0].token, pushes[1].token);
    next.store.all_settled().await;
}

/// SEM-4: signed anew only when the receiver refuses the key.
#[tokio::test(start_paused = true)]
async fn who_does_not_accept_the_key_gets_another_signature_over_the_same_claims() {
    let world = world().await;
    world.push_stream().await;
    world.network.answer_first([Reply::Refuse("invalid_key"), Reply::Status(503)]);
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    assert_eq!(pushes[1].claims, pushes[2].claims);
    assert_ne!(pushes[1].token, pushes[2].token);
    assert_eq!(pushes[2].token, pushes[3].token, "503 is no reason");
}

/// SEM-4: what is handed out again is the same, whoever asks and after a restart.
#[tokio::test(start_paused = true)]
async fn a_poller_that_does_not_acknowledge_gets_the_same_bytes_again() {
    let world = World::with(|config| {
        config.issuers[0].algorithm = secevent_jose::Algorithm::Es256;
        config.poll_visibility = Duration::from_secs(5);
    })
    .await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    let first = world.poll(&id, &json!({})).await;
    let second = world.poll(&id, &json!({})).await;
    assert_eq!(first.sets, second.sets);
    let next = world.restarted().await;
    let third = next.poll(&id, &json!({})).await;
    assert_eq!(first.sets, third.sets);
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_at_once_is_not_written_again() {
    let world = world().await;
    world.push_stream().await;
    world.network.answer(|_| ACCEPT);
    for number in 0..10 {
        world.emit(&format!("e{number}"), "alice").await;
    }
    world.store.all_settled().await;
    assert_eq!(world.store.settled_as(Verb::Retry), 0);
    assert_eq!(claims_of(&world.network.pushes()[1].token)["txn"], "e0");
}
