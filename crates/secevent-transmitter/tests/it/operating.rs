//! What operators order of streams, how they name them, and what they see of them.

use crate::network::{ACCEPT, Reply};
use crate::store::Verb;
use crate::world::{AUDIENCE, ENDPOINT, ISSUER, SESSION_REVOKED, World, client};
use secevent_ssf::{CreateStream, DeliveryRequest, Method, Status, StreamId, Tolerance};
use secevent_store::ChangeFilter;
use secevent_transmitter::{
    Acting, Actor, DeclaredStream, ManageError, NameError, PollOptions, ReplayRequest, Retried, RetryError,
    StreamFigures,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

async fn figures(world: &World, id: &StreamId) -> StreamFigures {
    world.transmitter.stream_figures(id).await.unwrap().unwrap()
}

async fn actions(world: &World, id: &StreamId) -> Vec<(String, Option<String>)> {
    let filter = ChangeFilter { stream: Some(id.to_string()), ..ChangeFilter::default() };
    let changes = world.transmitter.changes(filter, None, 100).await.unwrap();
    changes.into_iter().rev().map(|entered| (entered.change.action, entered.change.actor_id)).collect()
}

async fn create(world: &World, of: &str) -> StreamId {
    let request = json!({"events_requested": [SESSION_REVOKED]}).to_string();
    let request = CreateStream::read(request.as_bytes(), Tolerance::NONE).unwrap();
    world.transmitter.create_stream(ISSUER, &client(of), request).await.unwrap().stream_id
}

fn declared(name: &str, of: &str) -> DeclaredStream {
    DeclaredStream {
        name: name.to_owned(),
        issuer: ISSUER.to_owned(),
        client: client(of),
        events: vec!["caep:*".to_owned()],
        delivery: DeliveryRequest::push(format!("{ENDPOINT}?key=hidden").parse().unwrap(), None),
        polls: PollOptions::default(),
        description: Some("declared".to_owned()),
    }
}

/// Whose receiver answers so, with a backlog of eight, when its stream is suspended.
async fn suspended(reply: Reply) -> (World, StreamId) {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(move |_| reply.clone());
    for number in 1..=8 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.answered(4).await;
    tokio::time::sleep(10 * SECOND).await;
    (world, id)
}

// finding: C8
#[tokio::test(start_paused = true)]
async fn a_receiver_that_works_again_gets_everything_at_once_when_an_operator_asks() {
    let (world, id) = suspended(Reply::Busy(503, 300)).await;
    let rest = figures(&world, &id).await.suspended.unwrap();
    assert!(rest.until.since(rest.since) >= 299 * SECOND, "it would wait for five minutes");
    world.network.answer(|_| ACCEPT);
    tokio::time::sleep(10 * SECOND).await;
    let before = world.network.pushes().len();
    assert_eq!(figures(&world, &id).await.pending, 8, "nobody knows that the receiver works again");

    let began = Instant::now();
    let operator = Acting::new(Actor::Operator("ops".to_owned()), None);
    let retried = operator.run(world.transmitter.retry_stream(&id)).await.unwrap();
    assert_eq!(retried, Retried { suspended_after: Some(1), delayed: 0, in_flight: 0, pending: 8 });
    world.store.all_settled().await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(world.store.settled_as(Verb::Acked), 1 + 8);
    assert_eq!(world.network.txns()[before], "e1", "the oldest goes first");
    let last = actions(&world, &id).await.pop().unwrap();
    assert_eq!(last, ("stream.retry".to_owned(), Some("ops".to_owned())));
}

// finding: C8
#[tokio::test(start_paused = true)]
async fn a_receiver_that_still_fails_gets_one_attempt_and_the_same_rest() {
    let (world, id) = suspended(Reply::Busy(503, 300)).await;
    for _ in 0..20 {
        let before = world.network.pushes().len();
        let asked_at = Instant::now();
        assert_eq!(world.transmitter.retry_stream(&id).await.unwrap().suspended_after, Some(1));
        world.network.answered(before + 1).await;
        let pushes = world.network.pushes();
        assert!(pushes[before].at - asked_at < SECOND);
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.network.pushes().len(), before + 1, "one attempt, and no other");
        let rest = figures(&world, &id).await.suspended.unwrap();
        assert_eq!(rest.failures, 1, "what an operator asks for makes the rest no longer");
        assert!(rest.until.since(world.now()) > 230 * SECOND, "{rest:?}");
    }
    // Left alone, it is tried again when its time has come.
    let before = world.network.pushes().len();
    world.network.answer(|_| ACCEPT);
    let pushes = world.network.sent(before + 1).await;
    assert!(pushes[before].at - pushes[before - 1].at >= 300 * SECOND);
    world.store.all_settled().await;
    assert_eq!(world.store.settled_as(Verb::Acked), 1 + 8);
}

// finding: C8
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_under_way_is_not_doubled() {
    let (world, id) = suspended(Reply::Busy(503, 30)).await;
    world.network.answer(|_| Reply::Hang);
    let before = world.network.pushes().len();
    world.network.sent(before + 1).await;
    for _ in 0..3 {
        let retried = world.transmitter.retry_stream(&id).await.unwrap();
        assert_eq!((retried.suspended_after, retried.in_flight), (Some(1), 1));
    }
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!((world.network.pushes().len(), world.network.in_flight()), (before + 1, 1));
}

// finding: C8
#[tokio::test(start_paused = true)]
async fn what_waits_alone_is_due_at_once_when_an_operator_asks() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|push| if push.txn() == "e1" { Reply::Status(500) } else { ACCEPT });
    world.emit("e1", "alice").await;
    world.emit("e2", "alice").await;
    for number in 0..2_000 {
        world.emit(&format!("other{number}"), "bob").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(figures(&world, &id).await.delayed, 1);
    let attempts = |world: &World| world.network.txns().iter().filter(|txn| *txn == "e1").count();
    let before = attempts(&world);
    // It fails once more, and waits alone again.
    let retried = world.transmitter.retry_stream(&id).await.unwrap();
    assert_eq!(retried, Retried { suspended_after: None, delayed: 1, in_flight: 0, pending: 2 });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((attempts(&world), world.transmitter.ready().await), (before + 1, Ok(())));
    assert_eq!(figures(&world, &id).await.delayed, 1);

    world.network.answer(|_| ACCEPT);
    let began = Instant::now();
    assert_eq!(world.transmitter.retry_stream(&id).await.unwrap().delayed, 1);
    world.store.all_settled().await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    let txns = world.network.txns();
    assert_eq!(txns[txns.len() - 2..], ["e1", "e2"], "in their order");
    let nothing = Retried { suspended_after: None, delayed: 0, in_flight: 0, pending: 0 };
    assert_eq!(world.transmitter.retry_stream(&id).await, Ok(nothing), "nothing was waiting");
}

// finding: C8
#[tokio::test(start_paused = true)]
async fn where_nothing_is_pushed_nothing_is_retried() {
    let world = World::new().await;
    let (pushed, polled) = (world.push_stream().await, world.poll_stream().await);
    let retry = async |id: &StreamId| world.transmitter.retry_stream(id).await;
    assert_eq!(retry(&polled).await, Err(RetryError::Polled));
    assert_eq!(retry(&"nothing".parse().unwrap()).await, Err(RetryError::NoSuchStream));
    world.transmitter.switch_client("rp", false).await.unwrap();
    assert_eq!(retry(&pushed).await, Err(RetryError::ClientDisabled));
    world.transmitter.switch_client("rp", true).await.unwrap();
    world.set_status(&pushed, "paused").await;
    assert_eq!(retry(&pushed).await, Err(RetryError::NotEnabled(Status::Paused)));
    assert!(!actions(&world, &pushed).await.iter().any(|(action, _)| action == "stream.retry"));
}

// finding: C2
#[tokio::test(start_paused = true)]
async fn a_stream_is_found_by_its_name_and_by_how_its_identifier_begins() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(create(&world, &format!("client{number}")).await);
    }
    let find = |text: &str| world.transmitter.find_stream(text);
    for id in &ids {
        assert_eq!(find(id.as_str()).as_ref(), Ok(id));
        assert_eq!(find(&id.as_str()[..8]).as_ref(), Ok(id));
        assert_eq!(find(&id.as_str()[..3]), Err(NameError::TooShort("stream")));
        assert_eq!(find(&format!("{id}0")), Err(NameError::Unknown("stream")));
    }
    // A name that another stream's identifier begins with is that name.
    let name = &ids[0].as_str()[..8];
    let wanted = [declared(name, "rp"), declared("shared", "rp"), declared("shared", "other")];
    let made = world.transmitter.reconcile_streams(wanted.to_vec()).await.unwrap();
    assert_eq!(find(name).as_ref(), Ok(&made[0].stream_id));
    assert_eq!(find(&ids[0].as_str()[..9]).as_ref(), Ok(&ids[0]));
    let Err(NameError::Ambiguous { count: 2, candidates, .. }) = find("shared") else {
        panic!("{:?}", find("shared"))
    };
    let told = candidates.join(" ");
    for part in [made[1].stream_id.as_str(), made[2].stream_id.as_str(), "client \"other\""] {
        assert!(told.contains(part), "{told}");
    }
    // What is not declared any more gives its name to what is.
    world.transmitter.reconcile_streams(wanted[..2].to_vec()).await.unwrap();
    assert_eq!(find("shared").as_ref(), Ok(&made[1].stream_id));
    world.transmitter.reconcile_streams(Vec::new()).await.unwrap();
    assert_eq!(find(name).as_ref(), Ok(&made[0].stream_id), "nothing else has it");

    let replayed = ReplayRequest { since: Some(world.now()), ..ReplayRequest::default() };
    let replay = world.transmitter.start_replay(&ids[1], &replayed).await.unwrap();
    assert_eq!(world.transmitter.find_replay(&replay.id[..4]).await.as_ref(), Ok(&replay.id));
    assert!(world.transmitter.find_replay("nothing").await.is_err());
}

// finding: C2
#[tokio::test(start_paused = true)]
async fn an_operator_sees_what_a_stream_is_and_no_secret() {
    let world = World::new().await;
    let made = world.transmitter.reconcile_streams(vec![declared("main", "rp")]).await.unwrap();
    let id = &made[0].stream_id;
    let operator = Acting::new(Actor::Operator("ops".to_owned()), None);
    operator
        .run(world.transmitter.hold_stream(id, Status::Paused, Some("maintenance".to_owned())))
        .await
        .unwrap();
    let told = figures(&world, id).await;
    assert_eq!((told.name.as_deref(), told.method), (Some("main"), Method::Push));
    assert_eq!(told.endpoint_url, format!("{ENDPOINT}?(hidden)"));
    let details = world.transmitter.stream_details(id).await.unwrap().unwrap();
    assert_eq!(details.audience, AUDIENCE.into());
    assert_eq!(details.description.as_deref(), Some("declared"));
    assert!(details.declared && !details.has_credential);
    assert_eq!(details.events_delivered.len(), 8);
    assert_eq!(details.events_requested.unwrap().len(), 8);
    assert!(details.events_supported.len() > 8);
    let set_by = details.status_set.unwrap();
    assert_eq!((set_by.actor, set_by.at), (Actor::Operator("ops".to_owned()), world.now()));
    assert!(details.created_at <= details.updated.unwrap().at);

    let polled = create(&world, "rp").await;
    let told = figures(&world, &polled).await;
    assert_eq!((told.name, told.method), (None, Method::Poll));
    assert_eq!(told.endpoint_url, format!("{ISSUER}/poll/{polled}"));
    let details = world.transmitter.stream_details(&polled).await.unwrap().unwrap();
    assert_eq!(details.status_set, None, "nobody set it");
    assert_eq!(details.updated.unwrap().actor, Actor::Client("rp".to_owned()));
    assert_eq!(world.transmitter.stream_details(&"nothing".parse().unwrap()).await, Ok(None));
}

// finding: C2
#[tokio::test(start_paused = true)]
async fn an_operator_deletes_a_stream_with_what_is_pending_for_it() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    for number in 0..5 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    let version = figures(&world, &id).await.version;
    let remove = async |expected: Option<&[u64]>| world.transmitter.remove_stream(&id, expected).await;
    assert_eq!(remove(Some(&[version + 1])).await, Err(ManageError::Changed));
    assert_eq!(remove(Some(&[])).await, Err(ManageError::Changed));
    assert_eq!(remove(Some(&[version + 1, version])).await, Ok(()));
    assert_eq!(remove(None).await, Err(ManageError::NoSuchStream));
    assert_eq!((world.store.backlog_of(1).await.pending, world.store.backlog_of(1).await.dropped), (0, 5));
    assert_eq!(world.transmitter.read_stream(ISSUER, "rp", &id), Err(ManageError::NoSuchStream));
    assert_eq!(actions(&world, &id).await.pop().unwrap().0, "stream.delete");
    let before = world.network.pushes().len();
    tokio::time::sleep(1_000 * SECOND).await;
    assert_eq!(world.network.pushes().len(), before, "nothing is sent any more");

    let made = world.transmitter.reconcile_streams(vec![declared("main", "rp")]).await.unwrap();
    let refused = world.transmitter.remove_stream(&made[0].stream_id, None).await;
    assert_eq!(refused, Err(ManageError::Declared("main".to_owned())));
    world.transmitter.reconcile_streams(Vec::new()).await.unwrap();
    assert_eq!(world.transmitter.remove_stream(&made[0].stream_id, None).await, Ok(()));
}
