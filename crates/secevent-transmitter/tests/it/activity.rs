//! Signs of life: what becomes of a stream whose receiver is silent, and verification events that nobody asked for.

use crate::network::{ACCEPT, Push, Reply};
use crate::world::{ISSUER, STREAM_UPDATED, VERIFICATION, World, claims_of, jtis};
use secevent_ssf::{Status, StreamId, Tolerance, UpdateStatus, VerificationRequest};
use secevent_transmitter::{Ending, Inactivity, ManageError};
use serde_json::json;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn silent_after(timeout: Duration, then: Ending) -> World {
    World::with(|config| config.inactivity = Some(Inactivity { timeout, then })).await
}

fn status(world: &World, id: &StreamId) -> Result<Status, ManageError> {
    // Whoever reads the status is heard of: this asks as an operator does.
    let all = world.transmitter.all_stream_figures(None, 10);
    let found = all.iter().find(|figures| figures.stream == *id).ok_or(ManageError::NoSuchStream)?;
    Ok(Status::ALL.into_iter().find(|status| status.as_str() == found.status.as_str()).unwrap())
}

fn is_verification(push: &Push) -> bool {
    push.claims["events"].get(VERIFICATION).is_some()
}

// spec: SSF-82, SSF-163
#[tokio::test(start_paused = true)]
async fn who_asks_for_verification_again_too_soon_is_asked_to_wait() {
    let world = World::with(|config| config.verification_interval_min = Duration::from_secs(60)).await;
    let stream = world.create(&json!({})).await;
    assert_eq!(stream.min_verification_interval_seconds, Some(60));
    let verify = || {
        let request = VerificationRequest { stream_id: stream.stream_id.clone(), state: None };
        world.transmitter.verify_stream(ISSUER, "rp", request)
    };
    verify().await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(verify().await, Err(ManageError::TooOften(Duration::from_secs(40))));
    tokio::time::sleep(Duration::from_secs(40)).await;
    verify().await.unwrap();
}

/// Whoever asks and never takes the answers does not fill the store (I6).
#[tokio::test(start_paused = true)]
async fn who_takes_no_verification_event_is_not_sent_more_and_more_of_them() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for number in 0..100 {
        world.verify(&id, &format!("{number}")).await;
    }
    let request = || VerificationRequest { stream_id: id.clone(), state: None };
    let refused = world.transmitter.verify_stream(ISSUER, "rp", request()).await;
    assert!(matches!(refused, Err(ManageError::TooOften(_))), "{refused:?}");
    assert_eq!(world.store.backlog_of(1).await.pending, 100);
    let polled = world.poll(&id, &json!({"maxEvents": 1})).await;
    world.poll(&id, &json!({"ack": jtis(&polled), "maxEvents": 0})).await;
    assert_eq!(world.transmitter.verify_stream(ISSUER, "rp", request()).await, Ok(()));
}

// spec: SSF-84, SSF-86
#[tokio::test(start_paused = true)]
async fn a_stream_whose_receiver_is_silent_is_paused_and_told_so() {
    let world = silent_after(24 * HOUR, Ending::Pause).await;
    let stream = world.create(&json!({})).await;
    assert_eq!(stream.inactivity_timeout_seconds, Some(24 * 3600));
    let id = stream.stream_id;
    tokio::time::sleep(23 * HOUR).await;
    assert_eq!(status(&world, &id), Ok(Status::Enabled));
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(status(&world, &id), Ok(Status::Paused));
    let polled = world.poll(&id, &json!({"returnImmediately": true})).await;
    let told = claims_of(&polled.sets.first().unwrap().1);
    assert_eq!(told["events"][STREAM_UPDATED]["status"], "paused");
    assert!(told["events"][STREAM_UPDATED]["reason"].as_str().unwrap().contains("nothing was heard"));
    world.set_status(&id, "enabled").await;
    assert_eq!(status(&world, &id), Ok(Status::Enabled), "its receiver may");
}

// spec: SSF-85
#[tokio::test(start_paused = true)]
async fn polling_managing_and_answering_pushes_are_signs_of_life() {
    let world = silent_after(24 * HOUR, Ending::Disable).await;
    let (polled, read) = (world.poll_stream().await, world.poll_stream().await);
    let pushed = world.push_stream().await;
    for _ in 0..6 {
        tokio::time::sleep(13 * HOUR).await;
        world.poll(&polled, &json!({"returnImmediately": true})).await;
        world.transmitter.stream_status(ISSUER, "rp", &read).unwrap();
    }
    for id in [&polled, &read, &pushed] {
        assert_eq!(status(&world, id), Ok(Status::Enabled));
    }
    // Nothing was pushed to it but what asks whether it is there.
    assert!(world.network.pushes().iter().all(is_verification));
    world.network.answer(|_| Reply::Unreachable);
    tokio::time::sleep(48 * HOUR).await;
    assert_eq!(status(&world, &pushed), Ok(Status::Disabled));
}

/// E-34: what the transmitter has disabled its receiver cannot enable, an operator can.
#[tokio::test(start_paused = true)]
async fn what_was_disabled_for_silence_its_receiver_cannot_enable() {
    let world = silent_after(HOUR, Ending::Disable).await;
    let id = world.poll_stream().await;
    tokio::time::sleep(2 * HOUR).await;
    for wanted in ["enabled", "paused"] {
        let request = json!({"stream_id": id.as_str(), "status": wanted}).to_string();
        let request = UpdateStatus::read(request.as_bytes(), Tolerance::NONE).unwrap();
        let refused = world.transmitter.set_stream_status(ISSUER, "rp", request).await;
        assert_eq!(refused, Err(ManageError::Held), "{wanted}");
    }
    world.transmitter.hold_stream(&id, Status::Enabled, None).await.unwrap();
    assert_eq!(status(&world, &id), Ok(Status::Enabled));
}

/// E-22: a stream that ends is disabled first, which its receiver is told, and deleted then.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_deleted_for_silence_is_told_so_first() {
    let world = silent_after(24 * HOUR, Ending::Delete).await;
    let (listening, gone) = (world.poll_stream().await, world.poll_stream().await);
    tokio::time::sleep(25 * HOUR).await;
    assert_eq!(status(&world, &listening), Ok(Status::Disabled));
    let polled = world.poll(&listening, &json!({"returnImmediately": true})).await;
    let (jti, token) = polled.sets.first().unwrap();
    assert_eq!(claims_of(token)["events"][STREAM_UPDATED]["status"], "disabled");
    world.poll(&listening, &json!({"ack": [jti], "returnImmediately": true})).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(status(&world, &listening), Err(ManageError::NoSuchStream));
    assert_eq!(status(&world, &gone), Ok(Status::Disabled), "it was not told yet");
    tokio::time::sleep(24 * HOUR).await;
    assert_eq!(status(&world, &gone), Err(ManageError::NoSuchStream));
    assert!(world.restarted().await.transmitter.all_stream_figures(None, 10).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_let_a_silent_receiver_begin_anew() {
    let world = silent_after(24 * HOUR, Ending::Pause).await;
    let id = world.poll_stream().await;
    tokio::time::sleep(5 * HOUR).await;
    world.poll(&id, &json!({"returnImmediately": true})).await;
    tokio::time::sleep(18 * HOUR).await;
    let next = world.restarted().await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(status(&next, &id), Ok(Status::Enabled), "it has half of the time");
    tokio::time::sleep(12 * HOUR).await;
    assert_eq!(status(&next, &id), Ok(Status::Paused));
}

// spec: SSF-156
#[tokio::test(start_paused = true)]
async fn an_enabled_stream_gets_a_verification_event_every_so_often() {
    let world = World::with(|config| config.heartbeat = Some(HOUR)).await;
    let id = world.push_stream().await;
    world.network.answer(|_| ACCEPT);
    tokio::time::sleep(4 * HOUR + HOUR / 2).await;
    let beats = world.network.pushes();
    assert_eq!(beats.len(), 1 + 4);
    for beat in &beats {
        assert_eq!(beat.claims["events"][VERIFICATION], json!({}), "it has no state");
    }
    world.network.answer(|_| Reply::Unreachable);
    tokio::time::sleep(10 * HOUR).await;
    assert_eq!(world.store.backlog_of(1).await.pending, 1, "they do not gather");
    world.set_status(&id, "paused").await;
    world.network.answer(|_| ACCEPT);
    let before = world.network.pushes().len();
    tokio::time::sleep(10 * HOUR).await;
    assert_eq!(world.network.pushes().len(), before, "a paused stream gets none");
}
