//! The life of a stream, as far as it concerns what is sent.

use crate::network::{ACCEPT, Reply};
use crate::store::Verb;
use crate::world::{ISSUER, SESSION_REVOKED, World, client};
use secevent_ssf::{CreateStream, ReplaceStream, Status, Tolerance, UpdateStatus, UpdateStream};
use secevent_transmitter::{ManageError, RecoverError, ReplayRequest};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

// spec: SSF-125
#[tokio::test(start_paused = true)]
async fn a_paused_stream_holds_and_sends_later() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    assert_eq!(world.emit("e1", "alice").await.deliveries, 1);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), 1);
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["e1"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_something_is_on_its_way_starts_nothing_new() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Status(503).after(Duration::from_secs(5)));
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    world.network.sent(2).await;
    world.set_status(&id, "paused").await;
    world.network.answer(|_| ACCEPT);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), 2);
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["e1", "e1", "e2"]);
}

// spec: SSF-127
#[tokio::test(start_paused = true)]
async fn a_disabled_stream_drops_what_it_has_and_holds_nothing() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    world.emit("held", "alice").await;
    world.set_status(&id, "disabled").await;
    assert_eq!(world.emit("while disabled", "alice").await.deliveries, 0);
    assert_eq!(world.store.backlog_of(1).await.dropped, 1, "dropped and counted");
    world.set_status(&id, "enabled").await;
    world.emit("after", "alice").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["after"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_was_being_read_when_a_stream_was_disabled_is_not_sent_later() {
    let world = World::new().await;
    world.store.withhold(|_| true);
    let world = World::on(world.store.clone()).await;
    let id = world
        .create(&json!({
            "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://rp.example/"},
            "events_requested": [SESSION_REVOKED],
        }))
        .await
        .stream_id;
    world.set_status(&id, "paused").await;
    world.emit("held", "alice").await;
    world.store.pages_held.send_replace(true);
    world.set_status(&id, "enabled").await;
    let mut reading = world.store.pages_asked.subscribe();
    let before = *reading.borrow_and_update();
    reading.wait_for(|asked| *asked > before).await.unwrap();
    world.set_status(&id, "disabled").await;
    world.store.pages_held.send_replace(false);
    world.set_status(&id, "enabled").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn if_dropping_failed_it_is_done_before_the_stream_goes_on() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    world.emit("held", "alice").await;
    world.store.drop_fails.store(true, SeqCst);
    let request = json!({"stream_id": id.as_str(), "status": "disabled"}).to_string();
    let request = UpdateStatus::read(request.as_bytes(), Tolerance::NONE).unwrap();
    let answer = world.transmitter.set_stream_status(ISSUER, "rp", request).await;
    assert!(matches!(answer, Err(ManageError::Ours(_))));
    world.store.drop_fails.store(false, SeqCst);
    world.set_status(&id, "enabled").await;
    world.emit("after", "alice").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["after"]);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_stream_ends_its_attempts_and_counts_what_is_dropped() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Status(503).after(Duration::from_secs(5)));
    for number in 0..10 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.sent(3).await;
    world.delete(&id).await;
    let sent = world.network.pushes().len();
    assert_eq!(world.emit("late", "alice").await.deliveries, 0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), sent, "no new attempt starts (SEM-16)");
    let backlog = world.store.backlog_of(1).await;
    assert_eq!((backlog.pending, backlog.dropped), (0, 10));
    let figures = world.transmitter.figures();
    assert_eq!((figures.streams, figures.delivered), (0, 1), "its verification stays counted");
    assert_eq!(world.transmitter.read_stream(ISSUER, "rp", &id), Err(ManageError::NoSuchStream));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_dropped_with_its_stream_is_dropped_at_the_next_start() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    world.emit("e1", "alice").await;
    world.store.drop_fails.store(true, SeqCst);
    world.delete(&id).await;
    assert_eq!(world.store.backlog_of(1).await.pending, 1);
    let world = world.restarted().await;
    let backlog = world.store.backlog_of(1).await;
    assert_eq!((backlog.pending, backlog.dropped), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_verification_cannot_be_recorded_is_there_all_the_same() {
    let world = World::new().await;
    world.store.record_fails.store(true, SeqCst);
    let created = world.create(&json!({})).await;
    assert_eq!(world.transmitter.list_streams(ISSUER, "rp"), [created]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_polled_now_is_pushed_to_no_more() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Busy(503, 10));
    world.emit("e1", "alice").await;
    world.emit("e2", "bob").await;
    world.network.answered(3).await;
    let request = json!({"stream_id": id.as_str(), "delivery": {"method": "urn:ietf:rfc:8936"}}).to_string();
    let request = UpdateStream::read(request.as_bytes(), Tolerance::NONE).unwrap();
    world.transmitter.update_stream(ISSUER, "rp", request).await.unwrap();
    let answer = world.poll(&id, &json!({})).await;
    assert_eq!(crate::world::txns(&answer), ["e1", "e2"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.network.pushes().len(), 3);
    let ack = json!({"ack": crate::world::jtis(&answer), "returnImmediately": true});
    assert!(world.poll(&id, &ack).await.sets.is_empty());
    assert_eq!(world.store.settled_as(Verb::Acked), 3);
}

// spec: SSF-91, INTEROP-15
#[tokio::test(start_paused = true)]
async fn a_client_has_a_bounded_number_of_streams() {
    let world = World::with(|config| config.streams_per_client_max = 2).await;
    let id = world.create(&json!({})).await.stream_id;
    assert_ne!(world.create(&json!({})).await.stream_id, id);
    let request = || CreateStream::read(b"{}", Tolerance::NONE).unwrap();
    let third = world.transmitter.create_stream(ISSUER, &client("rp"), request()).await;
    assert_eq!(third.unwrap_err(), ManageError::TooManyStreams(2));
    assert!(world.transmitter.create_stream(ISSUER, &client("other"), request()).await.is_ok());
    world.delete(&id).await;
    assert!(world.transmitter.create_stream(ISSUER, &client("rp"), request()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn streams_are_their_own_clients_alone() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    world.emit("e1", "alice").await;
    assert_eq!(world.transmitter.read_stream(ISSUER, "other", &id), Err(ManageError::NoSuchStream));
    assert_eq!(world.transmitter.delete_stream(ISSUER, "other", &id).await, Err(ManageError::NoSuchStream));
    assert_eq!(world.transmitter.stream_status(ISSUER, "other", &id), Err(ManageError::NoSuchStream));
    assert!(world.transmitter.list_streams(ISSUER, "other").is_empty());
    let poll = world.transmitter.poll("other", &id, &secevent_ssf::poll::PollRequest::default()).await;
    assert_eq!(poll, Err(secevent_transmitter::PollError::NoSuchStream));
    assert_eq!(world.poll(&id, &json!({})).await.sets.len(), 1, "and its queue is untouched");
}

/// Changes of one stream come one after the other: nobody is sent away because somebody else was faster.
#[tokio::test(start_paused = true)]
async fn changes_of_a_stream_wait_for_each_other() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let change = |status: &'static str| {
        let request = json!({"stream_id": id.as_str(), "status": status}).to_string();
        let request = UpdateStatus::read(request.as_bytes(), Tolerance::NONE).unwrap();
        world.transmitter.set_stream_status(ISSUER, "rp", request)
    };
    let hold = world.transmitter.hold_stream(&id, Status::Enabled, None);
    let replay = ReplayRequest { fresh_jti: true, ..ReplayRequest::default() };
    let replay = world.transmitter.start_replay(&id, &replay);
    let (one, other, held, replayed) = tokio::join!(change("paused"), change("enabled"), hold, replay);
    assert!(one.is_ok() && other.is_ok() && held.is_ok() && replayed.is_ok(), "{one:?} {other:?} {held:?}");
}

/// Of two who delete a stream at once, and of those who change it at that moment, the later ones find no stream: that is
/// what they would find a moment later too.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_being_deleted_is_gone_for_all_others() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let delete = || world.transmitter.delete_stream(ISSUER, "rp", &id);
    let status = UpdateStatus::read(
        json!({"stream_id": id.as_str(), "status": "paused"}).to_string().as_bytes(),
        Tolerance::NONE,
    );
    let patch = json!({"stream_id": id.as_str(), "description": "new"}).to_string();
    let (patch, put) = (
        UpdateStream::read(patch.as_bytes(), Tolerance::NONE).unwrap(),
        ReplaceStream::read(patch.as_bytes(), Tolerance::NONE).unwrap(),
    );
    let replay = ReplayRequest { fresh_jti: true, ..ReplayRequest::default() };
    let version = world.transmitter.stream_figures(&id).await.unwrap().unwrap().version;
    let answers = tokio::join!(
        delete(),
        delete(),
        world.transmitter.update_stream(ISSUER, "rp", patch),
        world.transmitter.replace_stream(ISSUER, "rp", put),
        world.transmitter.set_stream_status(ISSUER, "rp", status.unwrap()),
        world.transmitter.hold_stream(&id, Status::Paused, None),
        world.transmitter.remove_stream(&id, Some(std::slice::from_ref(&version))),
        world.transmitter.start_replay(&id, &replay),
    );
    let gone = ManageError::NoSuchStream;
    assert_eq!((answers.0, answers.1), (Ok(()), Err(gone.clone())));
    assert_eq!(answers.2.unwrap_err(), gone, "PATCH");
    assert_eq!(answers.3.unwrap_err(), gone, "PUT");
    assert_eq!(answers.4.unwrap_err(), gone, "status");
    assert_eq!((answers.5, answers.6), (Err(gone.clone()), Err(gone)), "an operator");
    assert_eq!(answers.7.unwrap_err(), RecoverError::NoSuchStream);
}
