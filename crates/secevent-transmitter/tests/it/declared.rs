//! Streams that configuration declares, from one start to the next.

use crate::world::{AUDIENCE, ENDPOINT, ISSUER, SESSION_REVOKED, STREAM_UPDATED, World, client};
use secevent_ssf::{
    DeliveryRequest, Endpoint, ReplaceStream, Secret, Status, StreamConfiguration, Tolerance, UpdateStatus,
    UpdateStream,
};
use secevent_store::{ChangeFilter, Vault};
use secevent_transmitter::{
    Client, DeclaredChange, DeclaredStream, ManageError, PollOptions, PollOrder, PollRules, Reconciled,
};
use serde_json::json;
use std::time::Duration;

fn pushed(url: &str, authorization: Option<&str>) -> DeliveryRequest {
    let authorization = authorization.map(|value| Secret::new(value.parse().unwrap()));
    DeliveryRequest::push(url.parse::<Endpoint>().unwrap(), authorization)
}

fn declared(name: &str) -> DeclaredStream {
    DeclaredStream {
        name: name.to_owned(),
        issuer: ISSUER.to_owned(),
        client: client("rp"),
        events: vec!["caep:*".to_owned()],
        delivery: pushed(ENDPOINT, Some("Bearer abc")),
        polls: PollOptions::default(),
        description: None,
    }
}

async fn reconcile(world: &World, declared: &[DeclaredStream]) -> Vec<Reconciled> {
    let changes = world.transmitter.reconcile_streams(declared.to_vec()).await.unwrap();
    changes.into_iter().map(|change| change.what).collect()
}

fn the_stream(world: &World) -> StreamConfiguration {
    let mut streams = world.transmitter.list_streams(ISSUER, "rp");
    assert_eq!(streams.len(), 1, "{streams:?}");
    streams.remove(0)
}

fn status(world: &World) -> Status {
    world.transmitter.stream_status(ISSUER, "rp", &the_stream(world).stream_id).unwrap().status
}

// spec: E-29
#[tokio::test(start_paused = true)]
async fn a_declared_stream_is_made_once_and_its_receiver_finds_it() {
    let world = World::new().await;
    let made = world.transmitter.reconcile_streams(vec![declared("main")]).await.unwrap();
    let stream = the_stream(&world);
    let expected = DeclaredChange {
        name: "main".to_owned(),
        client: "rp".to_owned(),
        issuer: ISSUER.to_owned(),
        stream_id: stream.stream_id.clone(),
        what: Reconciled::Created,
    };
    assert_eq!(made, [expected]);
    assert!(stream.events_delivered.contains(&SESSION_REVOKED.to_owned()));
    assert_eq!(stream.events_delivered.len(), 8, "{:?}", stream.events_delivered);
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    assert_eq!(pushes.len(), 2, "the verification event and the event");
    assert_eq!(pushes[1].parts.headers["authorization"], "Bearer abc");

    assert_eq!(reconcile(&world, &[declared("main")]).await, [], "it is as it is declared");
    let next = world.restarted().await;
    assert_eq!(reconcile(&next, &[declared("main")]).await, []);
    assert_eq!(the_stream(&next), stream);
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_otherwise_is_changed_and_nothing_else() {
    let world = World::new().await;
    reconcile(&world, &[declared("main")]).await;
    let id = the_stream(&world).stream_id;
    let mut wanted = declared("main");
    type Change = fn(&mut DeclaredStream);
    let changes: [(&str, Change); 7] = [
        ("delivery", |wanted| wanted.delivery = pushed(ENDPOINT, Some("Bearer new"))),
        ("delivery", |wanted| wanted.delivery = pushed(ENDPOINT, None)),
        ("delivery", |wanted| wanted.delivery = pushed("https://rp.example/other", Some("Bearer abc"))),
        ("events", |wanted| wanted.events = vec!["caep:session-revoked".to_owned()]),
        ("description", |wanted| wanted.description = Some("what rp hears".to_owned())),
        ("audience", |wanted| wanted.client.audience = "https://new.example".into()),
        ("delivery", |wanted| wanted.delivery = DeliveryRequest::poll()),
    ];
    for (part, change) in changes {
        change(&mut wanted);
        assert_eq!(reconcile(&world, std::slice::from_ref(&wanted)).await, [Reconciled::Changed(vec![part])]);
        assert_eq!(reconcile(&world, std::slice::from_ref(&wanted)).await, []);
    }
    let stream = the_stream(&world);
    assert_eq!(stream.stream_id, id, "it is the same stream");
    assert_eq!(stream.aud, "https://new.example".into());
    assert_eq!(stream.events_delivered, [SESSION_REVOKED]);
    assert_eq!(stream.description.as_deref(), Some("what rp hears"));
}

// finding: A16
#[tokio::test(start_paused = true)]
async fn a_declared_stream_may_be_polled_otherwise_than_its_clients_others() {
    let of_client = PollOptions { visibility_seconds: Some(5), order: Some(PollOrder::Batched) };
    let world = World::with(|config| config.client_polls = [("rp".to_owned(), of_client)].into()).await;
    let polls = PollOptions { visibility_seconds: Some(20), order: None };
    let poll = DeclaredStream { delivery: DeliveryRequest::poll(), polls, ..declared("main") };
    assert_eq!(reconcile(&world, std::slice::from_ref(&poll)).await, [Reconciled::Created]);
    assert_eq!(reconcile(&world, std::slice::from_ref(&poll)).await, []);
    let id = the_stream(&world).stream_id;
    let rules =
        async |world: &World| world.transmitter.stream_figures(&id).await.unwrap().unwrap().polls.unwrap();
    let expected = |seconds, order| PollRules { visibility: Duration::from_secs(seconds), order };
    assert_eq!(rules(&world).await, expected(20, PollOrder::Batched));
    // It is stored with the stream, and what the client's configuration says is not.
    let next =
        world.restarted_under(|config| config.client_polls.clear(), Vault::new(&[7; 32])).await.unwrap();
    assert_eq!(rules(&next).await, expected(20, PollOrder::PerSubject));
    let polls = PollOptions { order: Some(PollOrder::Batched), ..PollOptions::default() };
    let changed = reconcile(&next, &[DeclaredStream { polls, ..poll }]).await;
    assert_eq!(changed, [Reconciled::Changed(vec!["polls"])]);
    assert_eq!(rules(&next).await, expected(60, PollOrder::Batched));
    let log = next.transmitter.changes(ChangeFilter::default(), None, 1).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(log[0].change.after.as_ref().unwrap()).unwrap();
    assert_eq!(told["delivery"], json!({"method": "poll", "polls": {"order": "batched"}}));
}

/// SEM-3: what was accepted before the audience changed keeps the claims that it had.
#[tokio::test(start_paused = true)]
async fn another_audience_is_for_new_events_only() {
    let world = World::new().await;
    let poll = DeclaredStream { delivery: DeliveryRequest::poll(), ..declared("main") };
    reconcile(&world, std::slice::from_ref(&poll)).await;
    world.emit("e1", "alice").await;
    let next = world.restarted().await;
    let renamed = Client { audience: "https://new.example".into(), ..client("rp") };
    reconcile(&next, &[DeclaredStream { client: renamed, ..poll }]).await;
    next.emit("e2", "bob").await;
    let id = the_stream(&next).stream_id;
    let sets = next.poll(&id, &json!({})).await;
    let audiences = sets.sets.iter().map(|(_, token)| {
        let claims = crate::world::claims_of(token);
        (claims["txn"].as_str().unwrap().to_owned(), claims["aud"].as_str().unwrap().to_owned())
    });
    let audiences: std::collections::BTreeMap<_, _> = audiences.collect();
    assert_eq!((audiences["e1"].as_str(), audiences["e2"].as_str()), (AUDIENCE, "https://new.example"));
}

#[tokio::test(start_paused = true)]
async fn its_receiver_may_set_its_status_and_verify_it_and_no_more() {
    let world = World::new().await;
    reconcile(&world, &[declared("main")]).await;
    let id = the_stream(&world).stream_id;
    let refused = ManageError::Declared("main".to_owned());
    let body = json!({"stream_id": id.as_str(), "description": "mine"}).to_string();
    let update = UpdateStream::read(body.as_bytes(), Tolerance::NONE).unwrap();
    let replace = ReplaceStream::read(body.as_bytes(), Tolerance::NONE).unwrap();
    let transmitter = &world.transmitter;
    assert_eq!(transmitter.update_stream(ISSUER, "rp", update).await.unwrap_err(), refused);
    assert_eq!(transmitter.replace_stream(ISSUER, "rp", replace).await.unwrap_err(), refused);
    assert_eq!(transmitter.delete_stream(ISSUER, "rp", &id).await.unwrap_err(), refused);
    world.verify(&id, "s").await;
    world.set_status(&id, "paused").await;
    assert_eq!(reconcile(&world, &[declared("main")]).await, []);
    let next = world.restarted().await;
    assert_eq!(reconcile(&next, &[declared("main")]).await, []);
    assert_eq!(status(&next), Status::Paused, "status is not what is declared");
    next.set_status(&id, "enabled").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_no_more_is_disabled_until_it_is_declared_again() {
    let world = World::new().await;
    reconcile(&world, &[declared("main")]).await;
    world.store.all_settled().await;
    let id = the_stream(&world).stream_id;
    let next = world.restarted().await;
    assert_eq!(reconcile(&next, &[]).await, [Reconciled::Withdrawn]);
    assert_eq!(reconcile(&next, &[]).await, [], "that was all");
    assert_eq!(status(&next), Status::Disabled);
    next.store.all_settled().await;
    let told = next.network.pushes();
    assert_eq!(told[0].claims["events"][STREAM_UPDATED]["status"], "disabled", "its receiver is told");
    assert_eq!(next.emit("lost", "alice").await.deliveries, 0);
    let body = json!({"stream_id": id.as_str(), "status": "enabled"}).to_string();
    let enable = UpdateStatus::read(body.as_bytes(), Tolerance::NONE).unwrap();
    assert_eq!(next.transmitter.set_stream_status(ISSUER, "rp", enable).await, Err(ManageError::Held));

    let again = next.restarted().await;
    assert_eq!(reconcile(&again, &[declared("main")]).await, [Reconciled::Restored]);
    assert_eq!((status(&again), the_stream(&again).stream_id), (Status::Enabled, id.clone()));
    assert_eq!(again.emit("seen", "alice").await.deliveries, 1);
    again.store.all_settled().await;
    assert_eq!(again.network.txns().last().unwrap(), "seen");

    // Nobody declares it any more, so its receiver may be done with it.
    reconcile(&again, &[]).await;
    again.delete(&id).await;
    let changes = again.transmitter.changes(ChangeFilter::default(), None, 100).await.unwrap();
    let told: Vec<_> =
        changes.iter().rev().map(|it| (it.change.action.as_str(), it.change.actor.as_str())).collect();
    let by_configuration = ["stream.create", "stream.disable", "stream.enable", "stream.disable"];
    assert_eq!(told[..4], by_configuration.map(|action| (action, "configuration")));
    assert_eq!(told[4..], [("stream.delete", "client")]);
    assert!(again.transmitter.list_streams(ISSUER, "rp").is_empty());
    assert_eq!(reconcile(&again, &[declared("main")]).await, [Reconciled::Created]);
}

#[tokio::test(start_paused = true)]
async fn what_its_receiver_says_of_a_withdrawn_stream_does_not_keep_it_out_of_service() {
    let world = World::new().await;
    reconcile(&world, &[declared("main")]).await;
    let id = the_stream(&world).stream_id;
    reconcile(&world, &[]).await;
    let body = json!({"stream_id": id.as_str(), "status": "disabled", "reason": "as you like"}).to_string();
    let disable = UpdateStatus::read(body.as_bytes(), Tolerance::NONE).unwrap();
    let answer = world.transmitter.set_stream_status(ISSUER, "rp", disable).await.unwrap();
    assert!(answer.reason.unwrap().contains("does not declare"), "the reason is the operator's");
    assert_eq!(reconcile(&world, &[declared("main")]).await, [Reconciled::Restored]);
    assert_eq!(status(&world), Status::Enabled);
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_does_with_a_withdrawn_stream_stands() {
    let world = World::new().await;
    reconcile(&world, &[declared("main")]).await;
    let id = the_stream(&world).stream_id;
    reconcile(&world, &[]).await;
    world.transmitter.hold_stream(&id, Status::Enabled, None).await.unwrap();
    assert_eq!(reconcile(&world, &[]).await, []);
    assert_eq!(status(&world), Status::Enabled);
    world.transmitter.hold_stream(&id, Status::Paused, Some("maintenance".to_owned())).await.unwrap();
    assert_eq!(reconcile(&world, &[declared("main")]).await, [Reconciled::Restored]);
    assert_eq!(status(&world), Status::Paused);
}

#[tokio::test(start_paused = true)]
async fn a_declaration_that_cannot_be_met_changes_nothing() {
    let world = World::new().await;
    for (wrong, told) in [
        (
            DeclaredStream { events: vec!["caep:nothing".to_owned()], ..declared("b") },
            "no event type is named \"caep:nothing\"",
        ),
        (DeclaredStream { issuer: "https://other.example".to_owned(), ..declared("b") }, "is not configured"),
        (declared("a"), "declared twice"),
    ] {
        let refused = world.transmitter.reconcile_streams(vec![declared("a"), wrong]).await.unwrap_err();
        assert!(refused.to_string().contains(told), "{refused}");
        assert!(world.transmitter.list_streams(ISSUER, "rp").is_empty());
    }
}

/// Names are a client's own: two clients may have a stream of the same name, and a stream of the API is nobody's.
#[tokio::test(start_paused = true)]
async fn only_what_was_declared_is_reconciled() {
    let world = World::new().await;
    let own = world.push_stream().await;
    let other = DeclaredStream { client: client("other"), ..declared("main") };
    assert_eq!(
        reconcile(&world, &[declared("main"), other.clone()]).await,
        [Reconciled::Created, Reconciled::Created]
    );
    assert_eq!(reconcile(&world, &[other]).await, [Reconciled::Withdrawn]);
    let status = |id| world.transmitter.stream_status(ISSUER, "rp", id).unwrap().status;
    assert_eq!(status(&own), Status::Enabled);
    assert_eq!(world.transmitter.list_streams(ISSUER, "other").len(), 1);
}
