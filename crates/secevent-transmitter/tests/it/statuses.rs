//! When the transmitter itself changes the status of a stream (SEM-7, SEM-8, SEM-9).

use crate::network::{ACCEPT, Push, Reply};
use crate::world::{ISSUER, STREAM_UPDATED, World, claims_of};
use secevent_ssf::{Status, StreamId, Tolerance, UpdateStatus};
use secevent_store::{DropReason, Queue};
use secevent_transmitter::{DeliveryState, ManageError, Overflow};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

fn status_told(push: &Push) -> Option<&Value> {
    push.claims["events"].get(STREAM_UPDATED)
}

async fn hold(world: &World, id: &StreamId, status: Status) {
    world.transmitter.hold_stream(id, status, Some("maintenance".to_owned())).await.unwrap();
}

// spec: SSF-133, SSF-166, SSF-167, SSF-168, SSF-169
/// SEM-7: `stream-updated` with paused is a barrier: what is on its way ends, it goes last, then silence.
#[tokio::test(start_paused = true)]
async fn a_receiver_is_told_of_a_pause_last_of_all() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| ACCEPT.after(Duration::from_secs(2)));
    for number in 0..10 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.sent(5).await;
    hold(&world, &id, Status::Paused).await;
    let pushes = world.network.sent(6).await;
    assert_eq!(status_told(&pushes[5]), Some(&json!({"status": "paused", "reason": "maintenance"})));
    assert_eq!(pushes[5].claims["sub_id"], json!({"format": "opaque", "id": id.as_str()}));
    assert_eq!(pushes[5].at - pushes[4].at, Duration::from_secs(2), "when the others had ended");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), 6, "then silence");

    hold(&world, &id, Status::Enabled).await;
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    assert_eq!(
        status_told(&pushes[6]).map(|told| &told["status"]),
        Some(&json!("enabled")),
        "before the rest"
    );
    assert_eq!(pushes.len(), 1 + 10 + 2);
}

// spec: SSF-169
/// The store fails when it is to be recorded that the stream goes on: nothing goes before that is told, and it is told.
#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_tells_so_first_though_the_store_fails() {
    let world = World::new().await;
    let id = world.push_stream().await;
    hold(&world, &id, Status::Paused).await;
    world.store.all_settled().await;
    world.emit("e1", "alice").await;
    let before = world.network.pushes().len();
    world.store.record_fails.store(true, SeqCst);
    let refused = world.transmitter.hold_stream(&id, Status::Enabled, Some("maintenance".to_owned())).await;
    assert!(refused.is_err(), "{refused:?}");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), before);
    world.store.record_fails.store(false, SeqCst);
    let pushes = world.network.sent(before + 2).await;
    assert_eq!(status_told(&pushes[before]).map(|told| &told["status"]), Some(&json!("enabled")));
    assert_eq!(pushes.len(), before + 2, "and then what was held, once");
}

/// SEM-7: what is settled while a stream is being paused may be of the transmitter's own, and is not what tells of it.
#[tokio::test(start_paused = true)]
async fn a_verification_that_is_answered_during_a_pause_does_not_tell_of_it() {
    let world = World::new().await;
    world.network.answer(|_| ACCEPT.after(Duration::from_secs(2)));
    let id = world.push_stream_unverified().await;
    world.network.sent(1).await;
    world.store.commits_slowly.send_replace(Some(Queue::Control));
    let transmitter = Arc::clone(&world.transmitter);
    let of = id.clone();
    let holding = tokio::spawn(async move { transmitter.hold_stream(&of, Status::Paused, None).await });
    world.store.all_settled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.store.commits_slowly.send_replace(None);
    holding.await.unwrap().unwrap();
    let pushes = world.network.sent(2).await;
    assert_eq!(status_told(&pushes[1]).unwrap()["status"], "paused");
}

/// SEM-7: if it cannot be delivered, the next status replaces it.
#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_told_is_replaced_by_the_next_one() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    hold(&world, &id, Status::Paused).await;
    world.network.sent(3).await;
    hold(&world, &id, Status::Disabled).await;
    world.network.answer(|_| ACCEPT);
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    let last = status_told(pushes.last().unwrap()).unwrap();
    assert_eq!(last["status"], "disabled");
    let accepted_pauses =
        pushes.iter().filter(|push| status_told(push).is_some_and(|told| told["status"] == "paused"));
    assert!(accepted_pauses.count() >= 2, "it was tried");
}

/// SEM-7: what was to be said last is said after a restart too.
#[tokio::test(start_paused = true)]
async fn a_status_that_was_not_told_yet_is_told_by_the_next_process() {
    for status in [Status::Paused, Status::Disabled] {
        let world = World::new().await;
        let id = world.push_stream().await;
        world.network.answer(|_| Reply::Hang);
        hold(&world, &id, status).await;
        world.network.sent(2).await;
        let next = world.restarted().await;
        let told = next.network.sent(1).await;
        assert_eq!(status_told(&told[0]).unwrap()["status"], status.as_str());
        next.store.all_settled().await;
        next.emit("e1", "alice").await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(next.network.pushes().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poller_is_told_too() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    hold(&world, &id, Status::Paused).await;
    let answer = world.poll(&id, &json!({})).await;
    assert_eq!(answer.sets.len(), 1, "the event is held");
    let (jti, token) = answer.sets.first().unwrap();
    assert!(claims_of(token)["events"].get(STREAM_UPDATED).is_some());
    let answer = world.poll(&id, &json!({"ack": [jti], "returnImmediately": true})).await;
    assert!(answer.sets.is_empty());
}

/// SEM-8: an operator's pause cannot be lifted by the receiver.
#[tokio::test(start_paused = true)]
async fn what_an_operator_has_paused_its_receiver_cannot_enable() {
    let world = World::new().await;
    let id = world.push_stream().await;
    hold(&world, &id, Status::Paused).await;
    let set = async |status: &str| {
        let request = json!({"stream_id": id.as_str(), "status": status}).to_string();
        let request = UpdateStatus::read(request.as_bytes(), Tolerance::NONE).unwrap();
        world.transmitter.set_stream_status(ISSUER, "rp", request).await
    };
    assert_eq!(set("enabled").await, Err(ManageError::Held));
    hold(&world, &id, Status::Enabled).await;
    assert!(set("paused").await.is_ok());
    assert!(set("enabled").await.is_ok(), "its own pause it can");
}

/// SEM-8: SSF `paused` is set only after a stated time, and the receiver ends it.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_for_too_long_finds_its_stream_paused() {
    let world = World::with(|config| {
        config.pause_after = Duration::from_secs(3600);
        config.retry.delay_max = Duration::from_secs(60);
    })
    .await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.emit("e1", "alice").await;
    let status = || world.transmitter.stream_status(ISSUER, "rp", &id).unwrap();
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(status().status, Status::Enabled);
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(status().status, Status::Paused);
    assert!(status().reason.unwrap().contains("nobody listens"));
    world.network.answer(|_| ACCEPT);
    let before = world.network.pushes().len();
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    assert_eq!(
        world.network.txns()[before..],
        ["e1"],
        "it was held, and nothing is said of a pause that is over"
    );
}

/// SEM-7: an operator who says it again has it said again, until the receiver knows.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_set_again_is_still_told() {
    for status in [Status::Paused, Status::Disabled] {
        let world = World::new().await;
        let id = world.push_stream().await;
        world.network.answer(|_| Reply::Unreachable);
        hold(&world, &id, status).await;
        world.network.sent(2).await;
        let again = world.transmitter.hold_stream(&id, status, Some("for longer".to_owned()));
        again.await.unwrap();
        world.network.answer(|_| ACCEPT);
        let before = world.network.pushes().len();
        world.store.all_settled().await;
        let pushes = &world.network.pushes()[before..];
        let told = pushes.iter().find_map(status_told);
        assert_eq!(told, Some(&json!({"status": status.as_str(), "reason": "for longer"})));
        // Nothing is left to be told by the next process.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = world.restarted().await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(next.network.pushes().len(), 0);
    }
}

/// SEM-16: what its receiver ends meanwhile does not come back as paused.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_disabled_while_it_is_to_be_paused_stays_disabled() {
    let world = World::with(|config| config.backlog.deliveries_max = 3).await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.store.puts_held.send_replace(true);
    let (transmitter, of) = (Arc::clone(&world.transmitter), id.clone());
    let disabling = tokio::spawn(async move {
        let request = json!({"stream_id": of.as_str(), "status": "disabled"}).to_string();
        let request = UpdateStatus::read(request.as_bytes(), Tolerance::NONE).unwrap();
        transmitter.set_stream_status(ISSUER, "rp", request).await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 0..5 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.store.puts_held.send_replace(false);
    disabling.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.transmitter.stream_status(ISSUER, "rp", &id).unwrap().status, Status::Disabled);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_store_does_not_take_is_tried_again() {
    let world = World::with(|config| config.backlog.deliveries_max = 3).await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.store.put_fails.store(true, SeqCst);
    for number in 0..5 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let status = || world.transmitter.stream_status(ISSUER, "rp", &id).unwrap().status;
    assert_eq!(status(), Status::Enabled);
    world.store.put_fails.store(false, SeqCst);
    world.emit("more", "alice").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(), Status::Paused);
}

/// SEM-9: a stream's bound is met by its own policy: by default it is paused, told, and everything is kept.
#[tokio::test(start_paused = true)]
async fn a_stream_that_holds_as_much_as_it_may_is_paused_and_loses_nothing() {
    let world = World::with(|config| config.backlog.deliveries_max = 20).await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    for number in 0..40 {
        let accepted = world.emit(&format!("e{number}"), &format!("user{number}")).await;
        assert_eq!(accepted.deliveries, 1);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = world.transmitter.stream_status(ISSUER, "rp", &id).unwrap();
    assert_eq!(status.status, Status::Paused);
    assert_eq!(status.reason.as_deref(), Some("more is waiting than a stream may hold"));
    world.network.answer(|_| ACCEPT);
    world.set_status(&id, "enabled").await;
    world.emit("more", "alice").await;
    world.store.all_settled().await;
    let txns = world.network.txns();
    for number in 0..40 {
        assert!(txns.contains(&format!("e{number}")));
    }
    assert_eq!(world.transmitter.stream_status(ISSUER, "rp", &id).unwrap().status, Status::Enabled);
}

/// SEM-9: counted drops only if the operator chose so; other streams and the producer see nothing of it.
#[tokio::test(start_paused = true)]
async fn a_stream_may_drop_what_is_new_and_that_is_counted() {
    let world = World::with(|config| {
        config.backlog.bytes_max = 2_000;
        config.backlog.overflow = Overflow::Drop;
    })
    .await;
    let id = world.push_stream().await;
    let other = world.poll_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    let mut owed = Vec::new();
    for number in 0..40 {
        let accepted = world.emit(&format!("e{number}"), &format!("user{number}")).await;
        owed.push(accepted.deliveries);
    }
    let kept = owed.iter().filter(|deliveries| **deliveries == 2).count();
    assert!((5..15).contains(&kept), "{kept} of some 200 bytes");
    let dropped = world.store.backlog_of(1).await.dropped;
    // The one that is polled reaches its bound too.
    assert_eq!(usize::try_from(dropped).unwrap(), 40 - kept);
    assert_eq!(world.transmitter.figures().dropped, 2 * dropped);
    world.network.answer(|_| ACCEPT);
    world.store.settled(1).await;
    world.emit("later", "alice").await;
    world.store.settled(1).await;
    assert_eq!(world.network.txns().last().unwrap(), "later", "there is room again");
    assert_eq!(world.transmitter.stream_status(ISSUER, "rp", &id).unwrap().status, Status::Enabled);
    assert_eq!(world.transmitter.stream_status(ISSUER, "rp", &other).unwrap().status, Status::Enabled);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_does_not_take_along_what_a_receiver_is_still_to_be_told() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    world.store.commits_slowly.send_replace(Some(Queue::Regular));
    let transmitter = Arc::clone(&world.transmitter);
    let event = crate::world::event("e1", &crate::world::email("alice"));
    let accepting =
        tokio::spawn(async move { transmitter.accept(ISSUER, "producer", None, &[event]).await.unwrap() });
    tokio::task::yield_now().await;
    hold(&world, &id, Status::Disabled).await;
    world.store.commits_slowly.send_replace(None);
    accepting.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let backlog = world.store.backlog_of(1).await;
    assert_eq!(backlog.pending, 1, "the status");
    world.network.answer(|_| ACCEPT);
    world.store.all_settled().await;
    assert_eq!(status_told(world.network.pushes().last().unwrap()).unwrap()["status"], "disabled");
}

/// SEM-16: what was matched when a stream still was there is owed to nobody in the end.
#[tokio::test(start_paused = true)]
async fn what_is_committed_after_a_stream_has_ended_is_dropped_without_a_restart() {
    for end in ["delete", "disable"] {
        let world = World::new().await;
        let id = world.push_stream().await;
        let before = world.network.pushes().len();
        world.store.commits_slowly.send_replace(Some(Queue::Regular));
        let transmitter = Arc::clone(&world.transmitter);
        let event = crate::world::event("e1", &crate::world::email("alice"));
        let accepting =
            tokio::spawn(
                async move { transmitter.accept(ISSUER, "producer", None, &[event]).await.unwrap() },
            );
        tokio::task::yield_now().await;
        match end {
            "delete" => world.delete(&id).await,
            _ => world.set_status(&id, "disabled").await,
        }
        world.store.commits_slowly.send_replace(None);
        assert_eq!(accepting.await.unwrap()[0].deliveries, 1);
        world.store.settled(1).await;
        assert_eq!(world.store.backlog_of(1).await.dropped, 1);
        assert_eq!(world.network.pushes().len(), before);
    }
}

/// SEM-7: nothing goes after the status that tells of a pause or an end. What waited ends for the reason that is true.
// finding: C7
#[tokio::test(start_paused = true)]
async fn what_is_not_sent_any_more_ends_for_its_own_reason() {
    for (status, reason) in [(Status::Paused, DropReason::Paused), (Status::Disabled, DropReason::Disabled)] {
        let world = World::new().await;
        let id = world.push_stream().await;
        let before = world.network.pushes().len();
        world.network.answer(|_| Reply::Unreachable);
        world.verify(&id, "waits").await;
        world.network.sent(before + 1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let verification = world.network.pushes()[before].jti().to_owned();
        hold(&world, &id, status).await;
        let told = |push: &Push| status_told(push).is_some_and(|told| told["status"] == status.as_str());
        while !world.network.pushes().iter().any(told) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let pushes = world.network.pushes();
        let stale = pushes.iter().find(|push| told(push)).unwrap().jti().to_owned();
        hold(&world, &id, Status::Enabled).await;
        world.network.answer(|_| ACCEPT);
        world.store.all_settled().await;
        for (jti, expected) in [(verification, reason), (stale, DropReason::Superseded)] {
            let story = world.transmitter.story(&jti).await.unwrap().unwrap();
            let DeliveryState::Dropped { reason, .. } = story.deliveries[0].state else {
                panic!("{:?}", story.deliveries[0])
            };
            assert_eq!(reason, expected, "{status}");
        }
    }
}
