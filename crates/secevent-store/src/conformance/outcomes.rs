//! How deliveries ended, and how their last attempts went.

use super::*;
use std::time::Duration;

async fn outcomes(store: &dyn Store, sequence: Sequence) -> Vec<DeliveryOutcome> {
    store.outcomes(sequence).await.expect("outcomes")
}

fn outcome(stream: StreamNumber, ended: Option<(Ending, i64)>, attempts: &[Attempt]) -> DeliveryOutcome {
    let ended = ended.map(|(how, at)| Ended { how, at: seconds(at) });
    let count = u32::try_from(attempts.len()).expect("few");
    let last_attempts = Attempt::last(attempts).to_vec();
    DeliveryOutcome { stream, ended, attempts: count, last_attempts }
}

fn attempt(at: i64, result: AttemptResult, status: Option<u16>) -> Attempt {
    let took = status.map(|status| Duration::from_millis(u64::from(status) - 200));
    Attempt { at: seconds(at), result, status, took }
}

async fn attempted(store: &dyn Store, place: Place, verdict: Verdict, number: u32, attempt: Attempt) {
    let settlement = settlement_at(place, verdict);
    let (attempts, at) = (Some(number), attempt.at);
    store
        .settle(vec![Settlement { at, attempts, attempt: Some(attempt), ..settlement }])
        .await
        .expect("settle");
}

fn retry(attempts: u32) -> Verdict {
    Verdict::Retry { at: seconds(1), attempts, signed: None }
}

/// Of each stream by itself, in any order, and of control events too.
pub async fn how_a_delivery_ended_is_kept_with_its_event(store: Arc<dyn Store>) {
    use AttemptResult::{Accepted, Rejected};
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 1)], ..event(1, &[]) };
    let far = StreamNumber(u32::MAX);
    let places = record(&*store, vec![event(1, &[C, A, far, B]), control, event(1, &[])]).await;
    let pending = |stream| outcome(stream, None, &[]);
    assert_eq!(
        outcomes(&*store, places[0]).await,
        [pending(A), pending(B), pending(C), pending(far)],
        "all of them, by stream"
    );
    assert_eq!(outcomes(&*store, places[1]).await, [pending(A)], "a control event is seen too");
    assert_eq!(outcomes(&*store, places[2]).await, []);
    assert_eq!(outcomes(&*store, Sequence(u64::MAX)).await, []);

    let (accepted, refused) = (attempt(-20, Accepted, Some(202)), attempt(30, Rejected, Some(400)));
    attempted(&*store, regular(B, places[0]), Verdict::Acked, 1, accepted).await;
    attempted(&*store, regular(C, places[0]), Verdict::Rejected("no".to_owned()), 1, refused).await;
    settle(&*store, far, places[0], Verdict::Abandoned("old".to_owned())).await;
    let ended = [
        pending(A),
        outcome(B, Some((Ending::Acked, -20)), &[accepted]),
        outcome(C, Some((Ending::Rejected, 30)), &[refused]),
        outcome(far, Some((Ending::Abandoned, 500)), &[]),
    ];
    assert_eq!(outcomes(&*store, places[0]).await, ended);
    settle(&*store, B, places[0], Verdict::Rejected("late".to_owned())).await;
    assert_eq!(outcomes(&*store, places[0]).await, ended, "what has ended does not end again");
    let dead = store.dead_at(regular(C, places[0])).await.expect("dead").expect("it is dead");
    assert_eq!(dead.delivery.attempts, 1, "that it was tried is known of the dead");

    // All in one call, as when many receivers answer at once.
    let many: Vec<StreamNumber> = (1..=300).map(StreamNumber).collect();
    let wide = record(&*store, vec![event(1, &many)]).await[0];
    let settlements = many.iter().rev().filter(|stream| stream.0 % 2 == 0);
    store
        .settle(settlements.map(|stream| settlement(*stream, wide, Verdict::Acked)).collect())
        .await
        .expect("settle");
    settle(&*store, many[0], wide, Verdict::Acked).await;
    for outcome in outcomes(&*store, wide).await {
        let has_ended = outcome.stream.0 % 2 == 0 || outcome.stream == many[0];
        assert_eq!(outcome.ended.is_some(), has_ended, "{outcome:?}");
    }
}

/// While it is pending, when it has ended, and when it is delivered again; a bounded number of them.
// finding: C13
pub async fn the_last_attempts_are_kept(store: Arc<dyn Store>) {
    use AttemptResult::{Accepted, Busy, Rejected, Unreachable};
    let place = regular(A, record(&*store, vec![event(1, &[A, B])]).await[0]);
    let mut tried = Vec::new();
    for number in 1..=11 {
        let failed = match number % 2 {
            0 => Attempt { took: None, ..attempt(number, Unreachable, None) },
            _ => attempt(number, Busy, Some(503)),
        };
        tried.push(failed);
        attempted(&*store, place, retry(u32::try_from(number).expect("small")), 0, failed).await;
        assert_eq!(outcomes(&*store, place.sequence).await[0], outcome(A, None, &tried), "{number}");
    }
    // One that was offered to a poller is counted and not listed.
    let offered = Settlement { attempt: None, ..settlement_at(place, retry(12)) };
    store.settle(vec![offered]).await.expect("settle");
    let found = outcomes(&*store, place.sequence).await.remove(0);
    assert_eq!((found.attempts, found.last_attempts.len()), (12, Attempt::KEPT_MAX));

    let refused = attempt(20, Rejected, Some(400));
    tried.push(refused);
    attempted(&*store, place, Verdict::Rejected("no".to_owned()), 13, refused).await;
    let rejected =
        |attempts| DeliveryOutcome { attempts, ..outcome(A, Some((Ending::Rejected, 20)), &tried) };
    assert_eq!(outcomes(&*store, place.sequence).await[0], rejected(13));
    let dead = store.dead_at(place).await.expect("dead").expect("it is dead");
    assert_eq!(dead.delivery.attempts, 13);

    // What is delivered again goes on with what is known.
    assert_eq!(store.redrive(vec![place]).await, Ok(1));
    assert_eq!(outcomes(&*store, place.sequence).await[0], rejected(13));
    let again = again_of(A, place.sequence);
    let failed = Attempt { took: Some(Attempt::TOOK_MAX), ..attempt(30, Busy, Some(429)) };
    tried.push(failed);
    attempted(&*store, again, retry(1), 0, failed).await;
    let found = outcomes(&*store, place.sequence).await.remove(0);
    assert_eq!((found.attempts, &found.last_attempts[..]), (14, Attempt::last(&tried)));
    let accepted = attempt(40, Accepted, Some(202));
    tried.push(accepted);
    attempted(&*store, again, Verdict::Acked, 2, accepted).await;
    let found = outcomes(&*store, place.sequence).await;
    let acked = outcome(A, Some((Ending::Acked, 40)), &tried);
    assert_eq!(found, [DeliveryOutcome { attempts: 15, ..acked }, outcome(B, None, &[])]);

    // Tried once, and given up without another attempt.
    let place = regular(A, record(&*store, vec![event(1, &[A])]).await[0]);
    let failed = attempt(45, Busy, Some(503));
    attempted(&*store, place, retry(1), 0, failed).await;
    let given_up = settlement_at(place, Verdict::Abandoned("old".to_owned()));
    store.settle(vec![Settlement { attempts: Some(1), ..given_up }]).await.expect("settle");
    let abandoned = outcome(A, Some((Ending::Abandoned, 500)), &[failed]);
    assert_eq!(outcomes(&*store, place.sequence).await, [abandoned]);

    // Delivered, and delivered again: both are seen.
    let place = regular(A, record(&*store, vec![event(1, &[A])]).await[0]);
    let (first, second) = (attempt(50, Accepted, Some(202)), attempt(60, Accepted, Some(204)));
    attempted(&*store, place, Verdict::Acked, 1, first).await;
    assert_eq!(store.replay(A, vec![place.sequence], 1).await, Ok(1));
    attempted(&*store, again_of(A, place.sequence), Verdict::Acked, 1, second).await;
    let acked = outcome(A, Some((Ending::Acked, 60)), &[first, second]);
    assert_eq!(outcomes(&*store, place.sequence).await, [acked]);
}

/// When and why.
// finding: C13
pub async fn what_is_dropped_is_kept_with_its_reason(store: Arc<dyn Store>) {
    use AttemptResult::Gone;
    let full = NewEvent { dropped: vec![A, C], ..event(3, &[B]) };
    let places = record(&*store, vec![event(1, &[A, B]), full, event(5, &[A])]).await;
    let dropped = |stream, reason, at| outcome(stream, Some((Ending::Dropped(reason), at)), &[]);
    let of_full = [dropped(A, DropReason::Full, 3), outcome(B, None, &[]), dropped(C, DropReason::Full, 3)];
    assert_eq!(outcomes(&*store, places[1]).await, of_full);

    let failed = attempt(9, Gone, Some(410));
    attempted(&*store, regular(A, places[0]), retry(1), 0, failed).await;
    assert_eq!(store.drop_stream(A, DropReason::Disabled, seconds(10)).await, Ok(2));
    assert_eq!(store.drop_stream(B, DropReason::Deleted, seconds(20)).await, Ok(2));
    let disabled = Some((Ending::Dropped(DropReason::Disabled), 10));
    let expected = [outcome(A, disabled, &[failed]), dropped(B, DropReason::Deleted, 20)];
    assert_eq!(outcomes(&*store, places[0]).await, expected);
    assert_eq!(outcomes(&*store, places[1]).await[1], dropped(B, DropReason::Deleted, 20));

    let erased = record(&*store, vec![event(6, &[A, B])]).await[0];
    settle(&*store, B, erased, Verdict::Acked).await;
    let erase = Erase::Event { sequence: erased, streams: vec![A, B], at: seconds(30) };
    store.erase(vec![erase]).await.expect("erase");
    let expected = [dropped(A, DropReason::Erased, 30), outcome(B, Some((Ending::Acked, 500)), &[])];
    assert_eq!(outcomes(&*store, erased).await, expected, "what it said is gone, not what became of it");
}

/// Pending or dead: it is owed no more, counted once, and needs its event no more.
// finding: C7
pub async fn what_is_superseded_is_not_dead(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[A]), event(900, &[])]).await;
    kill(&*store, &[regular(A, places[1])]).await;
    for place in &places[..2] {
        settle(&*store, A, *place, Verdict::Dropped(DropReason::Superseded)).await;
        settle(&*store, A, *place, Verdict::Dropped(DropReason::Superseded)).await;
    }
    settle(&*store, B, places[2], Verdict::Dropped(DropReason::Superseded)).await;
    let counts = backlog(&*store, A).await;
    assert_eq!((counts.pending, counts.dead, counts.rejected, counts.dropped), (1, 0, 1, 1));
    let superseded = outcome(A, Some((Ending::Dropped(DropReason::Superseded), 500)), &[]);
    for place in &places[..2] {
        assert_eq!(outcomes(&*store, *place).await, std::slice::from_ref(&superseded));
        assert_eq!(store.dead_at(regular(A, *place)).await, Ok(None));
    }
    assert_eq!(pending(&*store, A).await, places[2..3]);
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, A).await.len(), 1, "only what is pending is kept");
}

/// Whoever got the event after all is not on the list of those that did not.
// finding: C7
pub async fn a_repetition_that_was_delivered_ends_the_dead(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A, B]), event(1, &[A]), event(900, &[])]).await;
    kill(&*store, &[regular(A, places[0]), regular(B, places[0]), regular(A, places[1])]).await;
    assert_eq!(store.replay(A, vec![places[0]], 0).await, Ok(1));
    assert_eq!(backlog(&*store, A).await.dead, 2, "it may fail again");
    settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    let counts = backlog(&*store, A).await;
    assert_eq!((counts.pending, counts.dead, counts.rejected), (0, 1, 2), "ever is ever");
    assert_eq!(store.dead_at(regular(A, places[0])).await, Ok(None));
    assert_eq!(backlog(&*store, B).await.dead, 1, "the other stream is as it was");
    assert_eq!(store.discard(vec![regular(B, places[0])]).await, Ok(1));
    trim(&*store, seconds(800)).await;
    let left: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
    assert_eq!(left, [places[1]], "nothing needs the first event any more");
}

/// They are kept as long as the event is, and no longer.
// finding: C13
pub async fn outcomes_leave_with_their_event(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(10, &[A]), event(900, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    store.discard(vec![regular(A, places[0])]).await.expect("discard");
    let rejected = outcome(A, Some((Ending::Rejected, 500)), &[]);
    assert_eq!(outcomes(&*store, places[0]).await, [rejected], "although its dead letter is gone");
    trim(&*store, seconds(800)).await;
    assert_eq!(outcomes(&*store, places[0]).await, []);
    assert_eq!(outcomes(&*store, places[1]).await.len(), 1);
}
