//! Where an event goes and why: what is explained is what is done.

use crate::network::Reply;
use crate::world::{ISSUER, SESSION_REVOKED, World, claims_of, client, email, event};
use secevent_ssf::{CreateStream, StreamId};
use secevent_store::Cause;
use secevent_transmitter::{DeliveryState, Overflow, Rule};
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
        assert_eq!((stands(&pushed).state.clone(), &stands(&pushed).jti), (DeliveryState::Settled, &jti));
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
