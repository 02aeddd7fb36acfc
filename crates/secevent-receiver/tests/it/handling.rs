//! Handing on: in order per subject, as often as it takes.

use crate::transmitter::SESSION_REVOKED;
use crate::world::{World, claims, push_source};
use secevent::Subject;
use secevent_receiver::{
    Authority, HandleError, Ports, Receiver, ReceiverConfig, StartError, TransmitterClient,
};
use secevent_store::Inbox as _;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A SET about this user.
async fn push_about(world: &World, jti: &str, email: &str) {
    let mut claims = claims(jti);
    claims["sub_id"]["email"] = json!(email);
    assert_eq!(world.push(world.transmitter.sign(&claims)).await.status(), 202);
}

#[tokio::test(start_paused = true)]
async fn one_subject_is_handled_in_order_and_others_beside_it() {
    let world = World::pushed().await;
    world.handler.block();
    push_about(&world, "alice 1", "alice@example.com").await;
    push_about(&world, "alice 2", "alice@example.com").await;
    push_about(&world, "bob 1", "bob@example.com").await;
    world.until_handled(&["alice 1", "bob 1"]).await;
    world.handler.gate.add_permits(1);
    world.until_handled(&["alice 1", "bob 1", "alice 2"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_before_what_comes_after_it() {
    let world = World::pushed().await;
    let later = || HandleError::Later("not now".to_owned());
    world.handler.fail([later(), later()]);
    push_about(&world, "1", "alice@example.com").await;
    push_about(&world, "2", "alice@example.com").await;
    world.until_handled(&["1", "1", "1", "2"]).await;
    world.until(|| world.receiver.counts().handled == 2).await;
    assert_eq!(world.receiver.counts().dead, 0);
    assert_eq!(world.store.waiting(0, 10).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_goes_to_the_dead_letters() {
    let mut config = ReceiverConfig { sources: vec![push_source()], ..ReceiverConfig::default() };
    config.handling.attempts_max = 3;
    let world = World::configured(config).await;
    world.handler.fail((0..3).map(|_| HandleError::Later("never".to_owned())));
    push_about(&world, "1", "alice@example.com").await;
    push_about(&world, "2", "alice@example.com").await;
    world.until_handled(&["1", "1", "1", "2"]).await;
    world.until(|| world.receiver.counts().handled == 1).await;
    assert_eq!(world.receiver.counts().dead, 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_across_restarts() {
    let config = || {
        let mut config = ReceiverConfig { sources: vec![push_source()], ..ReceiverConfig::default() };
        config.handling.attempts_max = 2;
        config.handling.retry.delay_first = Duration::from_secs(300);
        config
    };
    let world = World::configured(config()).await;
    world.handler.fail([HandleError::Later("not now".to_owned())]);
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1"]).await;
    world.receiver.stop().await;
    assert_eq!(world.store.waiting(0, 10).await.unwrap()[0].attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_set_is_noted_until_it_is_stored() {
    let world = World::pushed().await;
    world.handler.block();
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1"]).await;
    world.inbox.fail(3);
    world.handler.gate.add_permits(1);
    world.until(|| world.inbox.failures_left() == 0).await;
    world.receiver.stop().await;
    assert_eq!(world.store.waiting(0, 10).await.unwrap().len(), 0);
    assert_eq!(world.handler.handled(), ["1"], "it is not handled again for that");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_handled_at_once_than_allowed_nor_read_ahead() {
    let mut config = ReceiverConfig { sources: vec![push_source()], ..ReceiverConfig::default() };
    config.handling.concurrency_max = 2;
    config.handling.read_ahead_max = 3;
    let world = World::configured(config).await;
    world.handler.block();
    for place in 0..10 {
        push_about(&world, &format!("{place}"), &format!("{place}@example.com")).await;
    }
    world.until_handled(&["0", "1"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.handler.handled().len(), 2);
    world.handler.gate.add_permits(100);
    world.until(|| world.receiver.counts().handled == 10).await;
}

/// The clock of this test goes on only when every task waits.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_due_waits_quietly_while_all_hands_are_full() {
    let mut config = ReceiverConfig { sources: vec![push_source()], ..ReceiverConfig::default() };
    config.handling.concurrency_max = 1;
    let world = World::configured(config).await;
    world.handler.fail([HandleError::Later("not now".to_owned())]);
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1"]).await;
    world.handler.block();
    push_about(&world, "2", "bob@example.com").await;
    world.until_handled(&["1", "2"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.handler.gate.add_permits(2);
    world.until_handled(&["1", "2", "1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_has_failed() {
    let world = World::pushed().await;
    world.handler.block();
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1", "1"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_work_when_we_stop_comes_to_its_end() {
    let world = World::pushed().await;
    world.handler.block();
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1"]).await;
    world.handler.gate.add_permits(1);
    world.receiver.stop().await;
    assert_eq!(world.store.waiting(0, 10).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_source_may_not_speak_about_is_recorded_and_not_handed_on() {
    let mut source = push_source();
    source.authority = Authority::Over { email_domains: vec!["example.com".to_owned()], issuers: vec![] };
    let world = World::with(source).await;
    push_about(&world, "foreign", "eve@other.example").await;
    push_about(&world, "own", "alice@example.com").await;
    world.until_handled(&["own"]).await;
    assert_eq!((world.receiver.counts().received, world.receiver.counts().ignored), (2, 1));
}

// spec: SSF-17
#[tokio::test(start_paused = true)]
async fn an_event_with_a_critical_member_that_is_not_understood_is_discarded() {
    let mut source = push_source();
    source.subject_members_understood = vec!["user".to_owned()];
    let world = World::with(source).await;
    world.transmitter.state().metadata["critical_subject_members"] = json!(["tenant"]);
    world.transmitter.state().push_to = Some(world.endpoint());
    world.receiver.subscribe("idp").await.unwrap();
    for (jti, member) in [("tenant", "tenant"), ("device", "device")] {
        let mut claims = claims(jti);
        claims["sub_id"] = json!({
            "format": "complex",
            "user": {"format": "email", "email": "alice@example.com"},
            member: {"format": "opaque", "id": "7"},
        });
        claims["events"] = json!({ SESSION_REVOKED: {} });
        assert_eq!(world.push(world.transmitter.sign(&claims)).await.status(), 202);
    }
    world.until_handled(&["device"]).await;
    assert_eq!(world.receiver.counts().ignored, 1);
}

// finding: D3
// spec: SSF-151
#[tokio::test(start_paused = true)]
async fn events_about_subjects_that_were_removed_are_taken() {
    let world = World::pushed().await;
    world.transmitter.state().push_to = Some(world.endpoint());
    world.receiver.subscribe("idp").await.unwrap();
    let transport = Arc::new(world.transmitter.clone());
    let peer = push_source().peer;
    let client = TransmitterClient::discover(&peer, transport, world.clock.clone()).await.unwrap();
    let streams = client.list().await.unwrap();
    let removed = Subject::email("removed@example.com").unwrap();
    client.add_subject(&streams[0].stream_id, &removed, true).await.unwrap();
    push_about(&world, "while it is there", "removed@example.com").await;
    client.remove_subject(&streams[0].stream_id, &removed).await.unwrap();
    // One that was under way comes afterwards.
    push_about(&world, "after it was removed", "removed@example.com").await;
    world.until_handled(&["while it is there", "after it was removed"]).await;
    let counts = world.receiver.counts();
    assert_eq!((counts.refused, counts.ignored, counts.dead), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_starts_whole_or_not_at_all() {
    let world = World::pushed().await;
    let start = async |change: &dyn Fn(&mut ReceiverConfig)| {
        let ports = Ports {
            transport: Arc::new(world.transmitter.clone()),
            inbox: world.store.clone(),
            documents: world.store.clone(),
            clock: world.clock.clone(),
        };
        let mut config = ReceiverConfig { sources: vec![push_source()], ..ReceiverConfig::default() };
        change(&mut config);
        Receiver::start(config, ports, world.handler.clone()).await.unwrap_err()
    };
    let error = start(&|config| config.sources.push(push_source())).await;
    assert_eq!(error, StartError::SameName("idp".to_owned()));
    assert_eq!(start(&|config| config.poll.acks_max = 0).await, StartError::Zero("poll.acks_max"));
    let error = start(&|config| config.handling.concurrency_max = 0).await;
    assert_eq!(error, StartError::Zero("handling.concurrency_max"));
}

/// What is remembered of each SET has a bound in time: memory does not grow for ever.
#[tokio::test(start_paused = true)]
async fn what_came_long_ago_is_forgotten() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let world = World::pushed().await;
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1"]).await;
    tokio::time::sleep(13 * DAY).await;
    push_about(&world, "1", "alice@example.com").await;
    push_about(&world, "2", "alice@example.com").await;
    world.until_handled(&["1", "2"]).await;
    tokio::time::sleep(2 * DAY).await;
    push_about(&world, "1", "alice@example.com").await;
    world.until_handled(&["1", "2", "1"]).await;
}
