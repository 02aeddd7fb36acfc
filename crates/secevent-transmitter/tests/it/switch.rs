//! The kill switch: match, queue, push and poll obey it, and the next process too.

use crate::network::{ACCEPT, Reply};
use crate::world::{ISSUER, SESSION_REVOKED, World, client, read, txns};
use secevent_ssf::poll::PollRequest;
use secevent_ssf::{CreateStream, Status, StreamId, Tolerance};
use secevent_transmitter::{Ending, Inactivity, PollError};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn switch(world: &World, on: bool) {
    world.transmitter.switch_client("rp", on).await.unwrap();
    assert_eq!(world.transmitter.client_is_on("rp"), on);
}

async fn create(world: &World, of: &str, request: &Value) -> StreamId {
    let request = CreateStream::read(request.to_string().as_bytes(), Tolerance::NONE).unwrap();
    world.transmitter.create_stream(ISSUER, &client(of), request).await.unwrap().stream_id
}

/// SEM-21: match. What happens while a client is off is not owed to it, and never will be.
#[tokio::test(start_paused = true)]
async fn nothing_is_matched_to_the_streams_of_a_client_that_is_off() {
    let world = World::new().await;
    world.push_stream().await;
    let other = create(&world, "other", &json!({"events_requested": [SESSION_REVOKED]})).await;
    switch(&world, false).await;
    assert_eq!(world.emit("e1", "alice").await.deliveries, 1, "to the other client alone");
    switch(&world, true).await;
    assert_eq!(world.emit("e2", "bob").await.deliveries, 2);
    world.network.sent(2).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.network.txns()[1..], ["e2"], "and the verification before");
    let backlog = world.transmitter.backlog(ISSUER, "other", &other).await.unwrap();
    assert_eq!(backlog.pending, 3, "two events, and a verification");
}

/// Who may not speak is not silent.
#[tokio::test(start_paused = true)]
async fn the_time_in_which_a_client_is_off_does_not_count_as_silence() {
    let world = World::with(|config| {
        config.heartbeat = Some(HOUR);
        config.inactivity = Some(Inactivity { timeout: 12 * HOUR, then: Ending::Delete });
    })
    .await;
    let (pushed, polled) = (world.push_stream().await, world.poll_stream().await);
    switch(&world, false).await;
    tokio::time::sleep(48 * HOUR).await;
    switch(&world, true).await;
    tokio::time::sleep(HOUR / 2).await;
    let beats = world.network.pushes().len() - 1;
    assert_eq!(beats, 1, "those that would have come meanwhile did not gather");
    for id in [&pushed, &polled] {
        assert_eq!(world.transmitter.stream_status(ISSUER, "rp", id).unwrap().status, Status::Enabled);
    }
}

/// SEM-21: queue. What was owed before is kept, and goes on its way when the client is on again.
#[tokio::test(start_paused = true)]
async fn what_was_owed_before_is_kept() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    for number in 0..5 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.sent(2).await;
    switch(&world, false).await;
    world.network.answer(|_| ACCEPT);
    let before = world.network.pushes().len();
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.network.pushes().len(), before, "not even a probe");
    let backlog = world.transmitter.backlog(ISSUER, "rp", &id).await.unwrap();
    assert_eq!((backlog.pending, backlog.dropped), (5, 0));
    assert_eq!(world.transmitter.ready().await, Ok(()), "that is nobody's failure");
    let figures = world.transmitter.stream_figures(&id).await.unwrap().unwrap();
    assert!(figures.switched_off && figures.status == Status::Enabled);
    switch(&world, true).await;
    world.store.all_settled().await;
    let sent: BTreeSet<String> = world.network.txns()[before..].iter().cloned().collect();
    assert_eq!(sent.len(), 5, "{sent:?}");
}

/// SEM-16, SEM-21: push. Once the switch has answered no attempt starts; those that are on their way end.
#[tokio::test(start_paused = true)]
async fn no_push_begins_once_the_switch_has_answered() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| ACCEPT.after(Duration::from_secs(2)));
    for number in 0..20 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.sent(3).await;
    switch(&world, false).await;
    let begun = world.network.pushes().len();
    assert!(begun < 21, "some are still to be sent");
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.network.pushes().len(), begun);
    let number = world.store.backlog_of(1).await;
    assert_eq!(number.pending, 21 - u64::try_from(begun).unwrap(), "what was on its way was settled");
    switch(&world, true).await;
    world.store.all_settled().await;
    assert_eq!(world.network.pushes().len(), 21, "each once");
}

/// SEM-21: poll. Whoever waits is sent away at once, and nobody is handed anything.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_off_is_handed_nothing() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let (transmitter, polled) = (Arc::clone(&world.transmitter), id.clone());
    let waiting = tokio::spawn(async move { transmitter.poll("rp", &polled, &PollRequest::default()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    world.emit("e0", "somebody").await;
    switch(&world, false).await;
    // It was handed the event, or sent away: what it never does is wait.
    let _ = waiting.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let now = PollRequest { return_immediately: true, ..PollRequest::default() };
    assert_eq!(world.transmitter.poll("rp", &id, &now).await, Err(PollError::SwitchedOff));
    let acknowledging = PollRequest { ack: vec!["x".to_owned()], ..now.clone() };
    assert_eq!(world.transmitter.poll("rp", &id, &acknowledging).await, Err(PollError::SwitchedOff));
    world.emit("e1", "alice").await;
    switch(&world, true).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        txns(&world.poll(&id, &json!({})).await),
        ["e0"],
        "it was not acknowledged; e1 was not matched"
    );
}

/// SEM-21: a poll that waits for nothing in particular is ended by the switch.
#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_is_ended() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    let (transmitter, polled) = (Arc::clone(&world.transmitter), id.clone());
    let waiting = tokio::spawn(async move { transmitter.poll("rp", &polled, &PollRequest::default()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    switch(&world, false).await;
    let began = tokio::time::Instant::now();
    assert_eq!(waiting.await.unwrap(), Err(PollError::SwitchedOff));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// SEM-21: the switch survives a restart, for streams that there are and for those that come.
#[tokio::test(start_paused = true)]
async fn the_next_process_obeys_it_too() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Hang);
    world.emit("e1", "alice").await;
    world.network.sent(2).await;
    switch(&world, false).await;
    let next = world.restarted().await;
    assert!(!next.transmitter.client_is_on("rp"));
    assert_eq!(next.emit("e2", "bob").await.deliveries, 0);
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": "https://rp.example/2"});
    create(&next, "rp", &json!({"delivery": delivery, "events_requested": [SESSION_REVOKED]})).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(next.network.pushes().len(), 0);
    assert_eq!(next.transmitter.streams_of_client("rp"), 2);

    switch(&next, true).await;
    next.store.all_settled().await;
    assert_eq!(next.network.pushes().len(), 2, "the event, and the verification of the new stream");
    let last = next.restarted().await;
    assert!(last.transmitter.client_is_on("rp"));
    assert_eq!(last.emit("e3", "carol").await.deliveries, 2);
}

/// Operators in a hurry press twice.
#[tokio::test(start_paused = true)]
async fn to_switch_twice_is_to_switch_once() {
    let world = World::new().await;
    for on in [false, false, true, true] {
        switch(&world, on).await;
    }
    assert!(world.restarted().await.transmitter.client_is_on("rp"));
}

/// SEM-20: what a client may not have is neither delivered to it nor told to be.
#[tokio::test(start_paused = true)]
async fn a_client_gets_the_event_types_that_it_may_have() {
    const CREDENTIAL: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
    let world = World::new().await;
    let asked = json!({"events_requested": [SESSION_REVOKED, CREDENTIAL]});
    let id = create(&world, "rp", &asked).await;
    let delivered = || world.transmitter.read_stream(ISSUER, "rp", &id).unwrap();
    assert_eq!(delivered().events_delivered.len(), 2);
    let limit = |uris: &[&str]| uris.iter().map(|uri| (*uri).to_owned()).collect::<BTreeSet<String>>();
    world.transmitter.limit_events("rp", Some(limit(&[SESSION_REVOKED]))).await;
    assert_eq!(delivered().events_delivered, [SESSION_REVOKED]);
    assert_eq!(delivered().events_supported.unwrap(), [SESSION_REVOKED]);
    assert_eq!(delivered().events_requested.unwrap().len(), 2, "as it asked");
    let event = json!({
        "type": "caep:credential-change",
        "subject": {"format": "email", "email": "alice@example.com"},
        "data": {"credential_type": "password", "change_type": "update"},
    });
    let emit = async || world.accept(None, &[read(&event)]).await.unwrap()[0].deliveries;
    assert_eq!((emit().await, world.emit("e1", "alice").await.deliveries), (0, 1));
    let later = create(&world, "rp", &asked).await;
    let later = world.transmitter.read_stream(ISSUER, "rp", &later).unwrap();
    assert_eq!(later.events_delivered, [SESSION_REVOKED]);
    let other = create(&world, "other", &asked).await;
    let other = world.transmitter.read_stream(ISSUER, "other", &other).unwrap();
    assert_eq!(other.events_delivered.len(), 2, "the others are not concerned");
    world.transmitter.limit_events("rp", None).await;
    assert_eq!(delivered().events_delivered.len(), 2);
    assert_eq!(emit().await, 3);
}

/// A client that goes takes its streams with it.
#[tokio::test(start_paused = true)]
async fn all_streams_of_a_client_are_deleted() {
    let world = World::new().await;
    for of in ["rp", "rp", "other"] {
        create(&world, of, &json!({"events_requested": [SESSION_REVOKED]})).await;
    }
    world.transmitter.delete_streams_of("rp").await.unwrap();
    let left = |of: &str| world.transmitter.streams_of_client(of);
    assert_eq!((left("rp"), left("other")), (0, 1));
    assert_eq!(world.emit("e1", "alice").await.deliveries, 1);
}
