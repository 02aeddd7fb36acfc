//! Dead letters, redrive, replay.

use crate::network::{ACCEPT, Reply};
use crate::world::{PATIENCE, World, email, jtis, txns};
use secevent::{Strictness, Subject};
use secevent_ssf::{Status, StreamId};
use secevent_store::{AttemptResult, Cause, ChangeFilter, DropReason, Outbox as _};
use secevent_transmitter::{DeliveryState, RecoverError, Redriven, Replay, ReplayRequest, ReplayState};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// A stream whose receiver has refused these, each about somebody else.
async fn with_dead(names: &[&str]) -> (World, StreamId) {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Refuse("invalid_request"));
    for name in names {
        world.emit(name, name).await;
    }
    world.store.all_settled().await;
    world.network.answer(|_| ACCEPT);
    (world, id)
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may fail")]
fn redriven(count: u64) -> Result<Redriven, RecoverError> {
    Ok(Redriven { count, superseded: 0 })
}

async fn ended(world: &World, replay: &Replay) -> Replay {
    let ending = async {
        loop {
            let replays = world.transmitter.replays().await.unwrap();
            let now = replays.into_iter().find(|one| one.id == replay.id).unwrap();
            if now.state != ReplayState::Running {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ending).await.expect("the replay ends")
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_can_be_looked_at_and_delivered_after_all() {
    let (world, id) = with_dead(&["e1", "e2", "e3"]).await;
    let sent = world.network.pushes();
    let dead = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    assert_eq!(dead.len(), 3);
    assert_eq!((dead[0].jti.as_str(), dead[0].cause), (sent[1].jti(), Cause::Rejected));
    assert_eq!(dead[0].reason, "invalid_request: no");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(dead[0].claims.as_deref().unwrap()).unwrap(),
        sent[1].claims
    );
    assert_eq!(dead[0].stream.as_ref(), Some(&id));
    let page = world.transmitter.dead_letters(None, Some(dead[0].place), 1).await.unwrap();
    assert_eq!(page[0].jti, dead[1].jti);
    let one = world.transmitter.dead_letter_of(&id, &dead[2].jti).await.unwrap();
    assert_eq!(one.event_id, dead[2].event_id);

    let named = world.transmitter.redrive(&id, Some(std::slice::from_ref(&dead[1].jti))).await;
    assert_eq!(named, redriven(1));
    world.store.all_settled().await;
    let pushes = world.network.pushes();
    assert_eq!(pushes.len(), 5);
    assert_eq!(pushes[4].claims, sent[2].claims, "the same SET");
    assert_eq!(world.transmitter.redrive(&id, None).await, redriven(2), "all that are left");
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[4..], ["e2", "e1", "e3"]);
    assert_eq!(world.transmitter.redrive(&id, None).await, redriven(0));
    let backlog = world.store.backlog_of(1).await;
    assert_eq!(
        (backlog.rejected, backlog.dead, backlog.pending),
        (3, 0, 0),
        "they were refused once, all the same"
    );
    assert_eq!(world.transmitter.figures().again, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_again_is_dead_again() {
    let (world, id) = with_dead(&["e1"]).await;
    world.network.answer(|_| Reply::Refuse("invalid_request"));
    assert_eq!(world.transmitter.redrive(&id, None).await, redriven(1));
    world.store.all_settled().await;
    let dead = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(world.transmitter.discard(&id, Some(&[dead[0].jti.clone()])).await, Ok(1));
    let gone = world.transmitter.dead_letter_of(&id, &dead[0].jti).await.unwrap_err();
    assert_eq!(gone, RecoverError::NoSuchSet(dead[0].jti.clone()));
}

/// The log tells of it first: nothing is done that leaves no trace.
#[tokio::test(start_paused = true)]
async fn dead_letters_stay_where_they_are_if_the_log_cannot_be_written() {
    let (world, id) = with_dead(&["e1", "e2"]).await;
    let dead = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    let named = [dead[0].jti.clone()];
    world.store.enter_fails.store(true, SeqCst);
    for jtis in [None, Some(&named[..])] {
        assert!(world.transmitter.redrive(&id, jtis).await.is_err());
        assert!(world.transmitter.discard(&id, jtis).await.is_err());
    }
    let backlog = world.store.backlog_of(1).await;
    assert_eq!((backlog.dead, backlog.pending), (2, 0));
    world.store.enter_fails.store(false, SeqCst);
    assert_eq!(world.transmitter.discard(&id, Some(&named)).await, Ok(1));
    let told = world.transmitter.changes(ChangeFilter::default(), None, 1).await.unwrap();
    let told = &told[0].change;
    assert_eq!(told.action, "dead.discard");
    let after = told.after.as_deref().unwrap();
    assert!(after.contains(&named[0]) && after.contains("\"count\":1"), "{after}");
}

/// I6: to deliver all of them again ends, although they die again as fast.
#[tokio::test(start_paused = true)]
async fn all_are_delivered_again_once_even_if_they_die_again_meanwhile() {
    let names: Vec<String> = (0..600).map(|number| format!("e{number}")).collect();
    let (world, id) = with_dead(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.network.answer(|_| Reply::Refuse("invalid_request"));
    let redriven = tokio::time::timeout(Duration::from_secs(60), world.transmitter.redrive(&id, None)).await;
    assert_eq!(redriven.unwrap(), self::redriven(600));
    world.store.all_settled().await;
    assert_eq!(world.network.pushes().len(), 1 + 2 * 600);
    assert_eq!(world.store.backlog_of(1).await.dead, 600);
}

#[tokio::test(start_paused = true)]
async fn identifiers_of_others_name_nothing() {
    let (world, id) = with_dead(&["e1"]).await;
    let other = world.push_stream_to("other").await;
    let dead = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    let unknown = RecoverError::NoSuchSet(dead[0].jti.clone());
    assert_eq!(world.transmitter.redrive(&other, Some(&[dead[0].jti.clone()])).await, Err(unknown));
    let nobody: StreamId = "nobody".parse().unwrap();
    assert_eq!(world.transmitter.redrive(&nobody, None).await, Err(RecoverError::NoSuchStream));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_replayed_from_a_time_as_the_same_sets() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.emit("before", "alice").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let since = Some(world.now());
    for name in ["e1", "e2", "e3"] {
        world.emit(name, "alice").await;
    }
    world.store.all_settled().await;
    let sent = world.network.pushes();
    let request = ReplayRequest { since, ..ReplayRequest::default() };
    let preview = world.transmitter.preview_replay(&id, &request).await.unwrap();
    assert_eq!((preview.count, preview.newer), (3, true), "the first is older than the last");
    assert_eq!(world.network.pushes().len(), sent.len(), "a preview delivers nothing");

    let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
    assert_eq!(replay.total, 3);
    let replay = ended(&world, &replay).await;
    assert_eq!((replay.state, replay.count), (ReplayState::Done, 3));
    world.store.all_settled().await;
    let again = &world.network.pushes()[sent.len()..];
    let claims =
        |pushes: &[crate::network::Push]| pushes.iter().map(|push| push.claims.clone()).collect::<Vec<_>>();
    assert_eq!(claims(again), claims(&sent[2..]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_replayed_from_an_identifier_or_for_a_subject() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for (txn, user) in [("e1", "alice"), ("e2", "bob"), ("e3", "alice")] {
        world.emit(txn, user).await;
    }
    let mut all = Vec::new();
    loop {
        let answer = world.poll(&id, &json!({"ack": all, "returnImmediately": true})).await;
        if answer.sets.is_empty() {
            break;
        }
        all.extend(jtis(&answer).into_iter().map(str::to_owned));
    }
    assert_eq!(all.len(), 3);
    let replayed = async |request: ReplayRequest| {
        let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
        ended(&world, &replay).await;
        let mut names = Vec::new();
        loop {
            let answer = world.poll(&id, &json!({"returnImmediately": true})).await;
            if answer.sets.is_empty() {
                return names;
            }
            names.extend(txns(&answer));
            world.poll(&id, &json!({"ack": jtis(&answer), "maxEvents": 0})).await;
        }
    };
    let from_jti = Some(all[1].clone());
    assert_eq!(replayed(ReplayRequest { from_jti, ..ReplayRequest::default() }).await, ["e2", "e3"]);
    let subject = Some(Subject::from_value(email("alice"), Strictness::Strict).unwrap());
    let request = ReplayRequest { subject, ..ReplayRequest::default() };
    assert_eq!(replayed(request.clone()).await, ["e1", "e3"]);
    let preview = world.transmitter.preview_replay(&id, &request).await.unwrap();
    assert_eq!(preview.count, 2);
    let unknown =
        ReplayRequest { from_jti: Some("AAAAAAAAAAAAAAAAAAAAAA".to_owned()), ..ReplayRequest::default() };
    assert!(matches!(world.transmitter.start_replay(&id, &unknown).await, Err(RecoverError::NoSuchSet(_))));
}

/// SEM-1: `replay --fresh-jti` counts up: a new SET, same `txn`.
#[tokio::test(start_paused = true)]
async fn a_replay_may_make_new_sets_of_the_same_events() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    let request = ReplayRequest { fresh_jti: true, ..ReplayRequest::default() };
    for _ in 0..2 {
        let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
        ended(&world, &replay).await;
        world.store.all_settled().await;
    }
    let pushes = world.network.pushes();
    let mut all: Vec<&str> = pushes[1..].iter().map(crate::network::Push::jti).collect();
    assert_eq!(world.network.txns()[1..], ["e1", "e1", "e1"]);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_to_its_pace_and_goes_on_after_a_restart() {
    let world = World::new().await;
    let id = world.push_stream().await;
    for number in 0..1_000 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.store.all_settled().await;
    let before = world.network.pushes().len();
    let request = ReplayRequest { per_second: Some(100), ..ReplayRequest::default() };
    let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(4_950)).await;
    let sent = world.network.pushes().len() - before;
    assert!((400..=520).contains(&sent), "{sent} in five seconds");
    let next = world.restarted().await;
    let replay = ended(&next, &replay).await;
    assert_eq!((replay.state, replay.total), (ReplayState::Done, 1_000));
    next.store.all_settled().await;
    let mut all = [world.network.txns().split_off(before), next.network.txns()].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_replay_can_be_called_off_and_ends_with_its_stream() {
    let world = World::new().await;
    let id = world.push_stream().await;
    for number in 0..100 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.store.all_settled().await;
    let request = ReplayRequest { per_second: Some(10), ..ReplayRequest::default() };
    let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cancelled = world.transmitter.cancel_replay(&replay.id).await.unwrap();
    assert_eq!(cancelled.state, ReplayState::Cancelled);
    // What it owed again a moment before is still delivered.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sent = world.network.pushes().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.network.pushes().len(), sent);
    assert_eq!(world.transmitter.cancel_replay("nothing").await, Err(RecoverError::NoSuchReplay));

    let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
    world.delete(&id).await;
    assert_eq!(ended(&world, &replay).await.state, ReplayState::Cancelled);
}

/// A disabled stream is owed nothing: what it would be owed again is dropped when it is enabled.
#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_again_to_a_disabled_stream() {
    let (world, id) = with_dead(&["e1", "e2"]).await;
    let request = ReplayRequest { per_second: Some(1), ..ReplayRequest::default() };
    let running = world.transmitter.start_replay(&id, &request).await.unwrap();
    world.set_status(&id, "disabled").await;
    assert_eq!(ended(&world, &running).await.state, ReplayState::Cancelled);
    assert_eq!(world.transmitter.redrive(&id, None).await, Err(RecoverError::Disabled));
    assert_eq!(world.transmitter.start_replay(&id, &request).await, Err(RecoverError::Disabled));
    world.set_status(&id, "enabled").await;
    assert_eq!(world.store.backlog_of(1).await.dead, 1, "the replay has delivered the other");
    assert_eq!(world.transmitter.redrive(&id, None).await, redriven(1));
    world.store.all_settled().await;
    assert_eq!(world.store.backlog_of(1).await.dead, 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_waits_for_its_receiver_writes_nothing_and_can_be_called_off() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.emit("old", "alice").await;
    world.store.all_settled().await;
    world.set_status(&id, "paused").await;
    for number in 0..1_000 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    let replay = world.transmitter.start_replay(&id, &ReplayRequest::default()).await.unwrap();
    let before = world.store.puts.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.store.puts.load(SeqCst), before);
    world.transmitter.cancel_replay(&replay.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    assert_eq!(world.transmitter.figures().again, 0);
}

#[tokio::test(start_paused = true)]
async fn as_many_replays_as_may_be_and_no_more() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Unreachable);
    for number in 0..100 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.set_status(&id, "disabled").await;
    world.set_status(&id, "enabled").await;
    let request = ReplayRequest { per_second: Some(1), ..ReplayRequest::default() };
    for _ in 0..16 {
        world.transmitter.start_replay(&id, &request).await.unwrap();
    }
    assert_eq!(world.transmitter.start_replay(&id, &request).await, Err(RecoverError::TooManyReplays(16)));
}

/// SEM-6: redrive and replay say when newer events about the subject were delivered.
#[tokio::test(start_paused = true)]
async fn who_delivers_what_is_old_is_told_of_what_is_new() {
    let (world, id) = with_dead(&["alice", "bob"]).await;
    world.emit("new", "alice").await;
    world.store.all_settled().await;
    let dead = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    let newer =
        async |place: usize| world.transmitter.dead_letter_of(&id, &dead[place].jti).await.unwrap().newer;
    assert_eq!((newer(0).await, newer(1).await), (Some(true), Some(false)));
    let preview = async |user: &str| {
        let subject = Some(Subject::from_value(email(user), Strictness::Strict).unwrap());
        let request = ReplayRequest { subject, ..ReplayRequest::default() };
        world.transmitter.preview_replay(&id, &request).await.unwrap()
    };
    assert!(preview("alice").await.newer);
    let bob = preview("bob").await;
    assert_eq!((bob.count, bob.newer), (1, false));
    assert_eq!(bob.span, Some((dead[1].accepted_at, dead[1].accepted_at)));
}

/// SEM-6: what is delivered again stands outside the order, and neither side starves.
#[tokio::test(start_paused = true)]
async fn a_replay_goes_beside_what_is_new() {
    let world = World::new().await;
    let id = world.push_stream().await;
    for number in 0..300 {
        world.emit(&format!("old{number}"), &format!("user{number}")).await;
    }
    world.store.all_settled().await;
    let before = world.network.pushes().len();
    world.network.answer(|_| ACCEPT.after(Duration::from_secs(1)));
    let request = ReplayRequest { per_second: Some(10_000), ..ReplayRequest::default() };
    world.transmitter.start_replay(&id, &request).await.unwrap();
    world.network.sent(before + 1).await;
    for number in 0..300 {
        world.emit(&format!("new{number}"), &format!("nobody{number}")).await;
    }
    world.store.all_settled().await;
    let txns = world.network.txns().split_off(before);
    assert_eq!(txns.len(), 600);
    let half = &txns[..300];
    let old = half.iter().filter(|txn| txn.starts_with("old")).count();
    assert!((50..250).contains(&old), "{old} of the first 300 are old");
}

/// A status that is not true any more is not told by delivering dead letters again.
// finding: C7
#[tokio::test(start_paused = true)]
async fn what_a_newer_status_has_replaced_is_not_dead() {
    // One answer takes its time. Without it the stream would be paused after days, and that status replaces another.
    let world = World::with(|config| config.push_timeout = Duration::from_secs(300)).await;
    let id = world.push_stream().await;
    let refuse_control =
        |push: &crate::network::Push| match push.claims["events"].to_string().contains("/ssf/") {
            true => Reply::Refuse("invalid_request"),
            false => ACCEPT,
        };
    world.network.answer(refuse_control);
    let hold = async |status| {
        world.transmitter.hold_stream(&id, status, None).await.unwrap();
        world.store.all_settled().await;
    };
    let dead = async || world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    hold(Status::Paused).await;
    let letters = dead().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].event_type.ends_with("/stream-updated"), "{letters:?}");
    assert_eq!(letters[0].attempts, 1);
    hold(Status::Enabled).await;
    let newer = dead().await;
    assert_eq!(newer.len(), 1, "the first was replaced: {newer:?}");
    assert_ne!(newer[0].jti, letters[0].jti);
    let story = world.transmitter.story(&letters[0].jti).await.unwrap().unwrap();
    let state = &story.deliveries[0].state;
    assert!(matches!(state, DeliveryState::Dropped { reason: DropReason::Superseded, .. }), "{state:?}");

    // Verification events replace one another, and no status event.
    world.verify(&id, "first").await;
    world.store.all_settled().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.verify(&id, "second").await;
    world.store.all_settled().await;
    let both = dead().await;
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].claims.as_deref().unwrap().contains("enabled"));
    assert!(both[1].claims.as_deref().unwrap().contains("second"));

    // What is refused while a newer one waits already is not dead either.
    world.network.answer(|push| match push.claims.to_string().contains("third") {
        true => Reply::Refuse("invalid_request").after(Duration::from_secs(100)),
        false => ACCEPT,
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = world.network.pushes().len();
    world.verify(&id, "third").await;
    world.network.sent(before + 1).await;
    assert_eq!(dead().await.len(), 1, "\"second\" is replaced");
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.verify(&id, "fourth").await;
    let asked = world.now();
    world.store.all_settled().await;
    assert_eq!(world.now(), asked.plus(Duration::from_secs(40)), "\"third\" was refused");
    let left = dead().await;
    assert_eq!(left.iter().map(|one| &one.jti).collect::<Vec<_>>(), [&newer[0].jti]);
}

/// All are delivered again but those that say what is not true any more; how many that were is told.
// finding: C7
#[tokio::test(start_paused = true)]
async fn stale_letters_are_passed_over_and_counted() {
    let (world, id) = with_dead(&["e1", "e2"]).await;
    // As an older release left them: two status events are dead, though the second has replaced the first.
    world.network.answer(|_| Reply::Refuse("invalid_request"));
    for status in [Status::Paused, Status::Enabled] {
        world.transmitter.hold_stream(&id, status, None).await.unwrap();
        world.store.all_settled().await;
    }
    let letters = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    let control = letters.iter().find(|one| one.event_type.ends_with("/stream-updated")).unwrap();
    let story = world.transmitter.story(&control.jti).await.unwrap().unwrap();
    let first = secevent_store::NewEvent {
        accepted_at: world.now(),
        body: format!(
            r#""sub_id":{{"format":"opaque","id":"{id}"}},"events":{{"{}":{{"status":"paused"}}}}"#,
            story.event_type.unwrap()
        )
        .into(),
        lanes: [].into(),
        idempotency: None,
        owed: vec![secevent_store::Owed {
            stream: control.place.stream,
            queue: control.place.queue,
            rendering: secevent_store::Rendering(1),
        }],
        dropped: Vec::new(),
    };
    world.store.record(vec![first]).await.unwrap();
    world.store.all_settled().await;
    let letters = world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap();
    assert_eq!(letters.len(), 4, "{letters:?}");
    world.network.answer(|_| ACCEPT);
    let before = world.network.pushes().len();
    let redriven = world.transmitter.redrive(&id, None).await.unwrap();
    assert_eq!(redriven, Redriven { count: 3, superseded: 1 });
    world.store.all_settled().await;
    let sent = &world.network.pushes()[before..];
    assert_eq!(sent.len(), 3);
    assert!(!sent.iter().any(|push| push.jti() == control.jti));
    assert_eq!(world.transmitter.dead_letters(Some(&id), None, 10).await.unwrap().len(), 0);
}

/// What is pending is not delivered again, and not counted either.
// finding: C7
#[tokio::test(start_paused = true)]
async fn a_preview_counts_what_would_be_sent() {
    let (world, id) = with_dead(&["e1"]).await;
    world.emit("e2", "bob").await;
    world.store.all_settled().await;
    world.set_status(&id, "paused").await;
    for name in ["e3", "e4"] {
        world.emit(name, name).await;
    }
    let request = ReplayRequest::default();
    let preview = world.transmitter.preview_replay(&id, &request).await.unwrap();
    assert_eq!(preview.count, 2, "the dead and the delivered one");
    let replay = world.transmitter.start_replay(&id, &request).await.unwrap();
    assert_eq!(replay.total, 4, "it looks at all of them");
    assert_eq!(ended(&world, &replay).await.count, 2, "as the preview said");
}

/// A letter says how often its SET was tried, and how; and is one no more once a replay has delivered the SET.
// finding: C7
#[tokio::test(start_paused = true)]
async fn a_letter_tells_its_attempts_and_ends_when_a_replay_delivers() {
    let world = World::new().await;
    let (pushed, polled) = (world.push_stream().await, world.poll_stream().await);
    world.network.answer_first([Reply::Status(500), Reply::Status(429), Reply::Refuse("invalid_request")]);
    world.emit("e1", "alice").await;
    let handed = world.poll(&polled, &json!({"returnImmediately": true})).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.poll(&polled, &json!({"returnImmediately": true})).await.sets.len(), 1);
    let errors = json!({jtis(&handed)[0]: {"err": "invalid_request", "description": "no"}});
    world.poll(&polled, &json!({"setErrs": errors, "maxEvents": 0})).await;
    world.store.all_settled().await;

    let mut letters = Vec::new();
    for id in [&pushed, &polled] {
        let listed = world.transmitter.dead_letters(Some(id), None, 10).await.unwrap().remove(0);
        let letter = world.transmitter.dead_letter_of(id, &listed.jti).await.unwrap();
        assert_eq!((listed.attempts, &listed.event_type), (letter.attempts, &letter.event_type));
        assert_eq!(letter.event_type, crate::world::SESSION_REVOKED);
        letters.push(letter);
    }
    let results: Vec<_> = letters[0].last_attempts.iter().map(|one| (one.result, one.status)).collect();
    let (busy, rejected) = (AttemptResult::Busy, AttemptResult::Rejected);
    assert_eq!(results, [(busy, Some(500)), (busy, Some(429)), (rejected, Some(400))]);
    assert_eq!((letters[0].attempts, letters[1].attempts), (3, 2));
    assert_eq!(letters[1].last_attempts.len(), 1, "offers are counted alone");

    let replay = world.transmitter.start_replay(&pushed, &ReplayRequest::default()).await.unwrap();
    ended(&world, &replay).await;
    world.store.all_settled().await;
    assert_eq!(world.transmitter.dead_letters(Some(&pushed), None, 10).await.unwrap().len(), 0);
    assert_eq!(world.transmitter.dead_letters(Some(&polled), None, 10).await.unwrap().len(), 1);
    let story = world.transmitter.story(&letters[0].event_id).await.unwrap().unwrap();
    let delivered = story.deliveries.iter().find(|one| one.stream.as_ref() == Some(&pushed)).unwrap();
    assert!(matches!(delivered.state, DeliveryState::Delivered { .. }), "{delivered:?}");
    assert_eq!((delivered.attempts, delivered.last_attempts.len()), (Some(4), 4));
}

/// Whoever asks for a verification does not make the server read what else is dead.
// finding: B8
#[tokio::test(start_paused = true)]
async fn a_verification_reads_few_dead_letters() {
    let names: Vec<String> = (0..600).map(|number| format!("e{number}")).collect();
    let (world, id) = with_dead(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Half of them are dead for the second time, and with them what the stream said about itself.
    world.network.answer(|_| Reply::Refuse("invalid_request"));
    world.transmitter.hold_stream(&id, Status::Paused, None).await.unwrap();
    world.transmitter.hold_stream(&id, Status::Enabled, None).await.unwrap();
    world.store.all_settled().await;
    let dead = world.transmitter.dead_letters(Some(&id), None, 300).await.unwrap();
    let jtis: Vec<String> = dead.into_iter().map(|one| one.jti).collect();
    assert_eq!(world.transmitter.redrive(&id, Some(&jtis)).await, redriven(300));
    world.store.all_settled().await;
    assert_eq!(world.store.backlog_of(1).await.dead, 601);
    for state in ["first", "second", "third"] {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before = world.store.dead_read.load(SeqCst);
        world.verify(&id, state).await;
        let read = world.store.dead_read.load(SeqCst) - before;
        assert!(read <= 2, "{read} dead letters were read");
        world.store.all_settled().await;
    }
    let backlog = world.store.backlog_of(1).await;
    assert_eq!(backlog.dead, 602, "the status and the last verification are dead");
    // A newer status ends the one that was delivered again and died again.
    world.transmitter.hold_stream(&id, Status::Paused, None).await.unwrap();
    world.store.all_settled().await;
    assert_eq!(world.store.backlog_of(1).await.dead, 602);
}
