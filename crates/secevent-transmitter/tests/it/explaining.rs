//! Where an event goes and why: what is explained is what is done.

use crate::network::Reply;
use crate::world::{ISSUER, SESSION_REVOKED, World, claims_of, client, email, event};
use secevent_ssf::{CreateStream, Status, StreamId};
use secevent_store::{AttemptResult, Cause, DropReason};
use secevent_transmitter::{DeliveryState, Overflow, Rule, Told};
use serde_json::json;
use std::time::Duration;

const OTHER: &str = "https://tr.example/tenant-b";

#[tokio::test(start_paused = true)]
async fn what_is_explained_is_what_happens() {
    let world = World::with(|config| {
        let mut other = config.issuers[0].clone();
        other.url = OTHER.parse().unwrap();
        other.events = vec!["risc:*".to_owned()];
        config.issuers.push(other);
        (config.backlog.deliveries_max, config.backlog.overflow) = (1, Overflow::Drop);
    })
    .await;
    let (owed, paused, disabled, full) = (
        world.poll_stream().await,
        world.poll_stream().await,
        world.poll_stream().await,
        world.poll_stream().await,
    );
    let mute = world.create(&json!({"events_requested": []})).await.stream_id;
    world.set_status(&paused, "paused").await;
    world.set_status(&disabled, "disabled").await;
    // One stream is owed all that it may be; the others take what they get.
    world.emit("e0", "alice").await;
    for id in [&owed] {
        let polled = world.poll(id, &json!({"returnImmediately": true})).await;
        let acks = crate::world::jtis(&polled);
        world.poll(id, &json!({"ack": acks, "maxEvents": 0, "returnImmediately": true})).await;
    }
    let revoked = event("e1", &email("alice"));
    let told = world.transmitter.explain(ISSUER, &revoked).await.unwrap();
    let rule = |id: &StreamId| told.iter().find(|one| one.stream == *id).unwrap().rule;
    assert_eq!((rule(&owed), rule(&full), rule(&paused)), (Rule::Owed, Rule::Full, Rule::Full));
    assert_eq!((rule(&disabled), rule(&mute)), (Rule::Disabled, Rule::NotRequested));
    assert!(told.iter().all(|one| one.client == "rp"));
    let goes = told.iter().filter(|one| one.rule.goes()).count();
    assert_eq!(world.emit("e1", "alice").await.deliveries, goes, "as it was told");

    let request =
        CreateStream { events_requested: Some(vec![SESSION_REVOKED.to_owned()]), ..CreateStream::default() };
    let foreign = world.transmitter.create_stream(OTHER, &client("rp"), request).await.unwrap().stream_id;
    let told = world.transmitter.explain(OTHER, &revoked).await.unwrap();
    for one in told {
        let expected = if one.stream == foreign { Rule::NotSupported } else { Rule::Issuer };
        assert_eq!(one.rule, expected);
    }
    assert!(world.transmitter.explain("https://nobody.example", &revoked).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_story_of_an_event_is_found_by_each_of_its_names() {
    let world = World::new().await;
    let pushed = world.push_stream().await;
    let polled = world.poll_stream().await;
    let accepted = world.emit("mine", "alice").await;
    world.network.answered(2).await;
    let sent = world.network.pushes();
    let jti = sent[1].jti().to_owned();
    let waiting = world.poll(&polled, &json!({"returnImmediately": true})).await;
    let (polled_jti, token) = &waiting.sets[0];
    assert_eq!(claims_of(token)["txn"], "mine");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for name in [accepted.event_id.as_str(), "mine", &jti, polled_jti] {
        let story = world.transmitter.story(name).await.unwrap().unwrap();
        assert_eq!(
            (story.event_id.as_str(), story.txn.as_str()),
            (accepted.event_id.as_str(), "mine"),
            "{name}"
        );
        assert_eq!(story.issuer.as_deref(), Some(ISSUER));
        let stands =
            |id: &StreamId| story.deliveries.iter().find(|one| one.stream.as_ref() == Some(id)).unwrap();
        assert!(matches!(stands(&pushed).state, DeliveryState::Delivered { .. }), "{story:?}");
        assert_eq!(stands(&pushed).jti, jti);
        assert!(matches!(stands(&polled).state, DeliveryState::Pending { again: false, .. }), "{story:?}");
        assert_eq!(&stands(&polled).jti, polled_jti);
    }
    assert!(world.transmitter.story("nobody's").await.unwrap().is_none());
    assert!(world.transmitter.story(&"A".repeat(22)).await.unwrap().is_none());

    world.network.answer(|_| Reply::Refuse("invalid_request"));
    let refused = world.emit("e2", "bob").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let story = world.transmitter.story(&refused.event_id).await.unwrap().unwrap();
    let dead = story.deliveries.iter().find(|one| one.stream.as_ref() == Some(&pushed)).unwrap();
    assert!(matches!(&dead.state, DeliveryState::Dead { cause: Cause::Rejected, .. }), "{dead:?}");
}

async fn told(world: &World, name: &str, stream: &StreamId) -> Told {
    let story = world.transmitter.story(name).await.unwrap().unwrap();
    story.deliveries.into_iter().find(|one| one.stream.as_ref() == Some(stream)).unwrap()
}

/// What a receiver got and what was dropped do not look the same afterwards, and what was tried is seen.
// finding: C13
#[tokio::test(start_paused = true)]
async fn how_a_delivery_ended_is_told_with_its_attempts() {
    let world = World::new().await;
    let pushed = world.push_stream().await;
    let polled = world.poll_stream().await;
    let slow = |reply: Reply| reply.after(Duration::from_millis(250));
    world.network.answer_first([slow(Reply::Status(503)), Reply::Unreachable, slow(Reply::Status(202))]);
    let accepted = world.emit("e1", "alice").await;
    world.network.answered(3).await;
    let pending = told(&world, &accepted.event_id, &pushed).await;
    assert!(matches!(pending.state, DeliveryState::Pending { .. }), "{pending:?}");
    assert_eq!((pending.attempts, pending.last_attempts.len()), (Some(2), 2));
    let first = pending.last_attempts[0];
    assert_eq!((first.result, first.status), (AttemptResult::Busy, Some(503)));
    assert_eq!(first.took, Some(Duration::from_millis(250)));
    let offered = world.poll(&polled, &json!({"returnImmediately": true})).await;
    world.network.answered(4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let delivered = told(&world, &accepted.event_id, &pushed).await;
    let DeliveryState::Delivered { at } = delivered.state else { panic!("{delivered:?}") };
    let results: Vec<_> = delivered.last_attempts.iter().map(|one| (one.result, one.status)).collect();
    let expected = [
        (AttemptResult::Busy, Some(503)),
        (AttemptResult::Unreachable, None),
        (AttemptResult::Accepted, Some(202)),
    ];
    assert_eq!((results.as_slice(), delivered.attempts), (&expected[..], Some(3)));
    assert_eq!(delivered.last_attempts[2].at, at);

    // Offered twice, and acknowledged.
    assert_eq!(told(&world, &accepted.event_id, &polled).await.attempts, Some(1));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.poll(&polled, &json!({"returnImmediately": true})).await.sets.len(), 1);
    world.poll(&polled, &json!({"ack": crate::world::jtis(&offered), "maxEvents": 0})).await;
    world.store.all_settled().await;
    let acked = told(&world, &accepted.event_id, &polled).await;
    assert!(matches!(acked.state, DeliveryState::Delivered { .. }), "{acked:?}");
    assert_eq!((acked.attempts, acked.last_attempts.len()), (Some(2), 1));

    // Dropped, because an operator disabled the stream; and after the stream is gone.
    world.transmitter.hold_stream(&polled, Status::Paused, None).await.unwrap();
    let dropped = world.emit("e2", "bob").await;
    world.transmitter.hold_stream(&polled, Status::Disabled, None).await.unwrap();
    let at_disabled = told(&world, &dropped.event_id, &polled).await;
    let DeliveryState::Dropped { reason: DropReason::Disabled, at } = at_disabled.state else {
        panic!("{at_disabled:?}")
    };
    assert!(at.since(world.now()).is_zero(), "{at:?}");
    world.transmitter.hold_stream(&pushed, Status::Paused, None).await.unwrap();
    let deleted = world.emit("e3", "carol").await;
    world.delete(&pushed).await;
    let story = world.transmitter.story(&deleted.event_id).await.unwrap().unwrap();
    let [gone] = &story.deliveries[..] else { panic!("{story:?}") };
    assert_eq!(gone.stream, None);
    assert!(matches!(gone.state, DeliveryState::Dropped { reason: DropReason::Deleted, .. }), "{gone:?}");
}

/// Verification and status events are for one stream each, and are found as every other event is.
// finding: C3
#[tokio::test(start_paused = true)]
async fn the_story_of_an_event_about_the_stream_itself_is_told() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let other = world.push_stream_to("other").await;
    world.verify(&id, "a state").await;
    world.store.all_settled().await;
    world.transmitter.hold_stream(&id, Status::Paused, None).await.unwrap();
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    let kinds = ["verification", "verification", "verification", "stream-updated"];
    for ((push, kind), of) in pushes.iter().zip(kinds).zip([&id, &other, &id, &id]) {
        let by_jti = world.transmitter.story(push.jti()).await.unwrap().unwrap();
        assert!(by_jti.event_type.as_deref().unwrap().ends_with(kind), "{by_jti:?}");
        assert_eq!((by_jti.issuer.as_deref(), by_jti.txn.as_str()), (Some(ISSUER), push.txn()));
        assert_eq!(by_jti.elsewhere, [], "it is nobody else's");
        for name in [by_jti.event_id.as_str(), push.txn()] {
            let story = world.transmitter.story(name).await.unwrap().unwrap();
            let [only] = &story.deliveries[..] else { panic!("{story:?}") };
            assert_eq!((only.stream.as_ref(), only.jti.as_str()), (Some(of), push.jti()));
            assert!(matches!(only.state, DeliveryState::Delivered { .. }), "{only:?}");
            assert_eq!(only.last_attempts[0].status, Some(202));
        }
    }
}
