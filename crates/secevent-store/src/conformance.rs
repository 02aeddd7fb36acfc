//! One contract, one suite, every backend.
//!
//! Each rule of the ports is a function here that takes an empty store and panics if the store breaks the
//! rule. [`conformance!`](crate::conformance!) makes one test of each:
//!
//! ```
//! use secevent_store::{Epoch, MemoryStore};
//! use std::sync::Arc;
//!
//! secevent_store::conformance!(async || Arc::new(MemoryStore::new(Epoch(1))));
//! ```
//!
//! The expression is an async closure that opens an empty store, as an [`Arc`] or as a pair of it and
//! something to keep until the test ends, such as a temporary directory. The tests need `tokio` with `macros`
//! and `rt`.

use crate::{
    Backlog, Cause, CommitObserver, Dead, Delivery, Document, History, Idempotency, Keep, NewEvent, Owed,
    Owing, PAGE_BYTES_MAX, Page, Past, Place, Queue, Receipt, Received, Recorded, Rendering, Sequence,
    Settlement, Signed, Store, StoreError, StreamNumber, Verdict, Version,
};
use bytes::Bytes;
use secevent::Timestamp;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

/// Makes a test of each rule that every store keeps.
#[macro_export]
macro_rules! conformance {
    ($open:expr) => {
        $crate::conformance!(
            $open;
            an_event_is_paged_to_each_stream_that_it_is_owed_to,
            an_event_that_nobody_is_owed_has_a_place,
            a_queue_that_is_named_twice_is_owed_once,
            sequences_are_given_in_order,
            a_page_is_bounded_and_says_if_there_is_more,
            a_page_ends_before_it_is_too_large,
            the_two_queues_are_apart,
            deliveries_are_found_by_their_place,
            bodies_and_lanes_come_back_byte_for_byte,
            a_settled_delivery_is_owed_no_more,
            settling_twice_or_the_unknown_changes_nothing,
            a_retry_keeps_its_attempts_and_its_time,
            a_retry_keeps_the_signature_that_was_sent,
            refused_and_given_up_deliveries_are_counted,
            what_is_dropped_as_it_comes_is_counted,
            a_dropped_stream_is_owed_nothing,
            many_deliveries_are_dropped_and_all_are_counted,
            streams_that_are_owed_something_are_known,
            the_bytes_that_are_owed_are_known,
            the_oldest_pending_delivery_is_known,
            groups_and_calls_are_counted,
            the_dead_are_kept_as_they_were,
            the_dead_are_listed_in_pages,
            a_redriven_delivery_is_owed_again,
            what_is_not_dead_is_not_redriven,
            a_redriven_delivery_may_die_again,
            a_discarded_delivery_is_forgotten_and_counted,
            a_delivery_that_dies_twice_is_dead_once,
            a_dropped_stream_keeps_its_dead,
            a_history_is_what_was_owed_regularly,
            a_history_comes_in_parts,
            a_long_history_comes_in_bounded_steps,
            a_history_ends_where_it_was_trimmed,
            a_replayed_event_is_owed_again,
            what_is_owed_or_never_was_is_not_replayed,
            a_replayed_event_is_kept_until_it_is_settled,
            a_delivery_and_its_repetition_are_settled_apart,
            what_is_delivered_again_is_not_announced,
            a_repeated_name_gets_the_first_answer,
            a_name_is_not_given_to_other_content,
            names_of_different_scopes_do_not_meet,
            concurrent_repeats_are_recorded_once,
            a_name_may_come_twice_in_one_call,
            a_call_is_recorded_whole_or_not_at_all,
            trimming_forgets_old_names_only,
            trimming_ends_and_keeps_what_is_owed,
            trimming_forgets_the_dead_and_then_their_bodies,
            trimming_outlives_a_clock_that_was_ahead,
            trimming_takes_each_event_by_its_own_time,
            sequences_go_on_after_everything_was_trimmed,
            documents_are_compared_and_set,
            a_document_made_again_has_a_new_version,
            documents_are_listed_by_their_beginning,
            documents_are_listed_in_pages,
            stream_numbers_are_given_once,
            a_set_is_received_once,
            a_set_is_received_once_even_in_one_call,
            received_sets_wait_in_their_order,
            handled_sets_leave_and_are_remembered,
            failures_are_counted_until_the_set_is_dead,
            forgetting_forgets_old_identifiers_only,
            forgetting_outlives_a_clock_that_was_ahead,
            places_go_on_after_everything_was_forgotten,
            the_observer_sees_each_delivery_once_in_order,
            the_observer_is_told_what_came_before,
            the_observer_sees_no_repeats,
            what_the_observer_saw_can_be_paged,
            a_call_that_nobody_waits_for_is_carried_out,
        );
    };
    ($open:expr; $($rule:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $rule() {
                let opened = ($open)().await;
                let store = $crate::conformance::Opened::store(&opened);
                $crate::conformance::$rule(store).await;
                drop(opened);
            }
        )+
    };
}

/// What the expression of [`conformance!`](crate::conformance!) may open.
pub trait Opened {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
}

impl<S: Store + 'static> Opened for Arc<S> {
    fn store(&self) -> Arc<dyn Store> {
        self.clone()
    }
}

impl<S: Store + 'static, G> Opened for (Arc<S>, G) {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

const A: StreamNumber = StreamNumber(1);
const B: StreamNumber = StreamNumber(2);
const C: StreamNumber = StreamNumber(3);
const START: Sequence = Sequence(0);

/// The deliveries of an event carry all that was recorded of it; other streams get none.
pub async fn an_event_is_paged_to_each_stream_that_it_is_owed_to(store: Arc<dyn Store>) {
    let event =
        NewEvent { owed: vec![owed(A, Queue::Regular, 3), owed(B, Queue::Regular, 4)], ..event(10, &[]) };
    let recorded = store.record(vec![event.clone()]).await.expect("record");
    let [Recorded::New { epoch, sequence }] = recorded[..] else { unreachable!("{recorded:?}") };
    for (stream, rendering) in [(A, 3), (B, 4)] {
        let expected = Delivery {
            epoch,
            sequence,
            stream,
            queue: Queue::Regular,
            rendering: Rendering(rendering),
            accepted_at: event.accepted_at,
            body: event.body.clone(),
            lanes: event.lanes.clone(),
            generation: 0,
            attempts: 0,
            due_at: event.accepted_at,
            signed: None,
        };
        let page = Page { deliveries: vec![expected], more: false };
        assert_eq!(store.page(stream, Queue::Regular, START, 10).await, Ok(page));
    }
    assert_eq!(store.page(StreamNumber(3), Queue::Regular, START, 10).await, Ok(Page::default()));
}

/// An event that matches no stream is recorded like any other.
pub async fn an_event_that_nobody_is_owed_has_a_place(store: Arc<dyn Store>) {
    let first = record(&*store, vec![event(1, &[])]).await;
    let second = record(&*store, vec![event(1, &[A])]).await;
    assert!(first < second, "{first:?} {second:?}");
    assert_eq!(pending(&*store, A).await, second);
}

/// However often a queue is named for an event, one delivery is owed to it: as it was named first.
pub async fn a_queue_that_is_named_twice_is_owed_once(store: Arc<dyn Store>) {
    let twice = vec![owed(A, Queue::Regular, 3), owed(B, Queue::Regular, 0), owed(A, Queue::Regular, 4)];
    let name = |owed| named("k", 7, NewEvent { owed, ..event(1, &[]) });
    let places = record(&*store, vec![name(twice)]).await;
    assert_eq!(only(store.deliveries(A, places[0]).await).rendering, Rendering(3));
    assert_eq!(backlog(&*store, A).await.pending, 1);
    assert_eq!(history(&*store, A).await[0].rendering, Rendering(3));
    let again = store.record(vec![name(Vec::new())]).await.expect("record");
    assert!(matches!(again[..], [Recorded::Repeated { deliveries: 2, .. }]), "{again:?}");
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle(&*store, B, places[0], Verdict::Acked).await;
    record(&*store, vec![event(100, &[])]).await;
    trim(&*store, seconds(50)).await;
    assert_eq!(history(&*store, A).await, [], "nothing needed it any more");
}

/// Places grow within a call and from call to call; the first is 1.
pub async fn sequences_are_given_in_order(store: Arc<dyn Store>) {
    let mut places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[])]).await;
    places.extend(record(&*store, vec![event(1, &[B])]).await);
    places.extend(record(&*store, vec![event(1, &[A])]).await);
    assert_eq!(places[0], Sequence(1));
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(pending(&*store, A).await, [places[0], places[1], places[4]]);
    assert_eq!(store.record(Vec::new()).await, Ok(Vec::new()), "a call may be empty");
}

/// Pages follow each other without gap or double; due or not makes no difference.
pub async fn a_page_is_bounded_and_says_if_there_is_more(store: Arc<dyn Store>) {
    let places = record(&*store, (0..5).map(|_| event(1, &[A])).collect()).await;
    settle(&*store, A, places[1], Verdict::Retry { at: seconds(9_999), attempts: 1, signed: None }).await;
    for (after, limit, expected, more) in [
        (START, 2, &places[0..2], true),
        (places[1], 2, &places[2..4], true),
        (places[3], 2, &places[4..5], false),
        (places[4], 2, &places[5..5], false),
        (START, 5, &places[0..5], false),
        (START, 4, &places[0..4], true),
        (START, 0, &places[0..0], true),
        (Sequence(u64::MAX), 9, &places[0..0], false),
    ] {
        let page = store.page(A, Queue::Regular, after, limit).await.expect("page");
        let paged: Vec<_> = page.deliveries.iter().map(|delivery| delivery.sequence).collect();
        assert_eq!((paged.as_slice(), page.more), (expected, more), "after {after:?}, {limit}");
    }
}

/// A reader's memory is bounded, however large the bodies are (I6); and a page is never without anything.
pub async fn a_page_ends_before_it_is_too_large(store: Arc<dyn Store>) {
    let large = |part: usize| NewEvent { body: vec![b'x'; PAGE_BYTES_MAX / part].into(), ..event(1, &[A]) };
    let events = vec![large(4), large(4), large(3), large(3), large(1), large(1), event(1, &[A])];
    let mut places = Vec::new();
    for event in events {
        places.extend(record(&*store, vec![event]).await);
    }
    // The event that reaches the bound is the last.
    let mut after = START;
    for (expected, more) in [(0..4, true), (4..5, true), (5..6, true), (6..7, false)] {
        let page = store.page(A, Queue::Regular, after, 100).await.expect("page");
        let found: Vec<_> = page.deliveries.iter().map(|delivery| delivery.sequence).collect();
        assert_eq!((found.as_slice(), page.more), (&places[expected], more));
        after = found[found.len() - 1];
    }
}

/// Control deliveries neither show in the regular queue nor are settled there.
pub async fn the_two_queues_are_apart(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A]), control, event(1, &[A])]).await;
    assert_eq!(pending(&*store, A).await, [places[0], places[2]]);
    let page = store.page(A, Queue::Control, START, 10).await.expect("page");
    assert_eq!((page.deliveries[0].sequence, page.deliveries.len(), page.more), (places[1], 1, false));

    settle(&*store, A, places[1], Verdict::Acked).await;
    let page = store.page(A, Queue::Control, START, 10).await.expect("page");
    assert_eq!(page.deliveries.len(), 1, "it was settled in the other queue");
    assert_eq!(store.backlog(A).await.expect("backlog").pending, 3);
}

/// A place finds its delivery in either queue, and nothing for other streams or once it is settled.
pub async fn deliveries_are_found_by_their_place(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A]), control]).await;
    for (place, queue) in [(places[0], Queue::Regular), (places[1], Queue::Control)] {
        let found = only(store.deliveries(A, place).await);
        assert_eq!((found.sequence, found.queue, found.stream), (place, queue, A));
        assert_eq!(store.deliveries(B, place).await, Ok(Vec::new()));
    }
    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(store.deliveries(A, places[0]).await, Ok(Vec::new()));
    assert_eq!(store.deliveries(A, Sequence(4_711)).await, Ok(Vec::new()));
}

/// What a producer said is not touched, whatever it is.
pub async fn bodies_and_lanes_come_back_byte_for_byte(store: Arc<dyn Store>) {
    let bodies = [Bytes::new(), Bytes::from_static(&[0, 0xff, b'"', 0]), Bytes::from(vec![b'x'; 100_000])];
    let lanes: [&[u64]; 3] = [&[], &[0, u64::MAX, 1 << 63], &[7]];
    let times = [Timestamp::from_micros(-1), Timestamp::from_micros(1_615_305_159_123_456), seconds(0)];
    let events = bodies.iter().zip(lanes).zip(times).map(|((body, lanes), at)| NewEvent {
        accepted_at: at,
        body: body.clone(),
        lanes: lanes.into(),
        idempotency: None,
        owed: vec![owed(A, Queue::Regular, u32::MAX)],
        dropped: Vec::new(),
    });
    store.record(events.collect()).await.expect("record");
    let page = store.page(A, Queue::Regular, START, 10).await.expect("page");
    for (delivery, ((body, lanes), at)) in page.deliveries.iter().zip(bodies.iter().zip(lanes).zip(times)) {
        assert_eq!((&delivery.body, delivery.lanes.as_ref(), delivery.accepted_at), (body, lanes, at));
        assert_eq!(delivery.rendering, Rendering(u32::MAX));
    }
}

/// One stream's acknowledgement says nothing about another stream.
pub async fn a_settled_delivery_is_owed_no_more(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A, B]), event(2, &[A, B])]).await;
    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(pending(&*store, A).await, [places[1]]);
    assert_eq!(pending(&*store, B).await, places);
    let backlog = store.backlog(A).await.expect("backlog");
    assert_eq!((backlog.pending, backlog.rejected, backlog.abandoned), (1, 0, 0), "acknowledged is not dead");
}

/// Outcomes may be told twice, and late: after a crash, or after the stream was dropped.
pub async fn settling_twice_or_the_unknown_changes_nothing(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A, B]), event(1, &[A])]).await;
    settle(&*store, A, places[0], Verdict::Rejected("no".to_owned())).await;
    let before = store.backlog(A).await;
    for verdict in [
        Verdict::Rejected("no".to_owned()),
        Verdict::Abandoned("old".to_owned()),
        Verdict::Acked,
        Verdict::Retry { at: seconds(1), attempts: 7, signed: None },
    ] {
        settle(&*store, A, places[0], verdict.clone()).await;
        settle(&*store, A, Sequence(4_711), verdict.clone()).await;
        settle(&*store, StreamNumber(9), places[1], verdict).await;
    }
    assert_eq!(store.backlog(A).await, before);
    assert_eq!(pending(&*store, A).await, [places[1]]);
    assert_eq!(pending(&*store, B).await, [places[0]], "the other stream still has the whole event");
    assert_eq!(store.backlog(StreamNumber(9)).await, Ok(Backlog::default()));

    let twice = settlement(A, places[1], Verdict::Abandoned("old".to_owned()));
    store.settle(vec![twice.clone(), twice]).await.expect("settle");
    assert_eq!(store.backlog(A).await.expect("backlog").abandoned, 1, "twice in one call");
}

/// A delivery that is to be tried again stays where it is in the order.
pub async fn a_retry_keeps_its_attempts_and_its_time(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(5, &[A, B]), event(5, &[A])]).await;
    settle(&*store, A, places[0], Verdict::Retry { at: seconds(60), attempts: 1, signed: None }).await;
    settle(&*store, A, places[0], Verdict::Retry { at: seconds(90), attempts: 2, signed: None }).await;
    let page = store.page(A, Queue::Regular, START, 10).await.expect("page");
    let seen: Vec<_> = page.deliveries.iter().map(|d| (d.sequence, d.attempts, d.due_at)).collect();
    assert_eq!(seen, [(places[0], 2, seconds(90)), (places[1], 0, seconds(5))]);
    let other = only(store.deliveries(B, places[0]).await);
    assert_eq!((other.attempts, other.due_at), (0, seconds(5)), "attempts are one stream's own");
}

/// A delivery that was sent is sent again with the same bytes, from whichever process (SEM-4).
pub async fn a_retry_keeps_the_signature_that_was_sent(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(5, &[A, B]), event(5, &[A])]).await;
    let retry = |attempts, signed| Verdict::Retry { at: seconds(60), attempts, signed };
    for (given, expected) in [
        (None, None),
        (Some(signed("h..one")), Some(signed("h..one"))),
        (None, Some(signed("h..one"))),
        (Some(signed("h..two")), Some(signed("h..two"))),
        (Some(signed("")), Some(signed(""))),
        (None, Some(signed(""))),
    ] {
        settle(&*store, A, places[0], retry(2, given.clone())).await;
        let found = only(store.deliveries(A, places[0]).await);
        assert_eq!((found.signed, found.attempts), (expected.clone(), 2), "after {given:?}");
        let page = store.page(A, Queue::Regular, START, 10).await.expect("page");
        let paged: Vec<_> = page.deliveries.into_iter().map(|delivery| delivery.signed).collect();
        assert_eq!(paged, [expected, None], "and no other's");
    }
    assert_eq!(only(store.deliveries(B, places[0]).await).signed, None);
}

/// Each delivery ends as acked, rejected, abandoned or dropped, and each is counted (I3).
pub async fn refused_and_given_up_deliveries_are_counted(store: Arc<dyn Store>) {
    let places = record(&*store, (0..4).map(|_| event(1, &[A, B])).collect()).await;
    let settlements = vec![
        settlement(A, places[0], Verdict::Rejected("invalid_audience".to_owned())),
        settlement(A, places[1], Verdict::Abandoned("too old".to_owned())),
        settlement(A, places[2], Verdict::Rejected(String::new())),
        settlement(B, places[0], Verdict::Abandoned("too old".to_owned())),
    ];
    store.settle(settlements).await.expect("settle");
    let a = store.backlog(A).await.expect("backlog");
    assert_eq!((a.pending, a.rejected, a.abandoned), (1, 2, 1));
    let b = store.backlog(B).await.expect("backlog");
    assert_eq!((b.pending, b.rejected, b.abandoned), (3, 0, 1));
    store.trim(keep(seconds(1_000))).await.expect("trim");
    assert_eq!(store.backlog(A).await, Ok(a), "the counts outlive what was trimmed");
}

/// A stream that holds all that it may: what it is not owed for that reason is counted all the same (I3, SEM-9).
pub async fn what_is_dropped_as_it_comes_is_counted(store: Arc<dyn Store>) {
    let dropped = |streams: &[StreamNumber], event| NewEvent { dropped: streams.to_vec(), ..event };
    let first = named("k", 7, dropped(&[B], event(1, &[A])));
    record(&*store, vec![first.clone(), dropped(&[B, C], event(1, &[])), dropped(&[C], event(1, &[A]))])
        .await;
    record(&*store, vec![dropped(&[B], event(1, &[]))]).await;
    for (stream, pending, dropped) in [(A, 2, 0), (B, 0, 3), (C, 0, 2)] {
        let backlog = backlog(&*store, stream).await;
        assert_eq!((backlog.pending, backlog.dropped), (pending, dropped), "{stream}");
        assert_eq!((backlog.rejected, backlog.abandoned, backlog.dead), (0, 0, 0));
    }
    store.record(vec![first.clone()]).await.expect("record");
    store.record(vec![named("k", 8, first), dropped(&[B], event(1, &[]))]).await.expect("record");
    assert_eq!(backlog(&*store, B).await.dropped, 3, "what is not recorded is not dropped");
    assert_eq!(history(&*store, B).await, [], "it was never owed");
    assert_eq!(store.drop_stream(A).await, Ok(2));
    assert_eq!(backlog(&*store, A).await.dropped, 2);
}

/// The end of a stream: what is pending ends as dropped, counted (SEM-16).
pub async fn a_dropped_stream_is_owed_nothing(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A, B]), control, event(1, &[A])]).await;
    assert_eq!(store.drop_stream(A).await, Ok(3));
    assert_eq!(pending(&*store, A).await, []);
    assert_eq!(store.page(A, Queue::Control, START, 9).await, Ok(Page::default()));
    assert_eq!(pending(&*store, B).await, [places[0]]);
    let backlog = store.backlog(A).await.expect("backlog");
    assert_eq!((backlog.pending, backlog.oldest, backlog.dropped), (0, None, 3));
    assert_eq!(store.drop_stream(A).await, Ok(0));
    assert_eq!(store.drop_stream(StreamNumber(9)).await, Ok(0));

    let later = record(&*store, vec![event(2, &[A])]).await;
    assert_eq!(pending(&*store, A).await, later, "a disabled stream may be enabled again");
}

/// However many they are and in however many steps the store does it.
pub async fn many_deliveries_are_dropped_and_all_are_counted(store: Arc<dyn Store>) {
    for _ in 0..30 {
        record(&*store, (0..200).map(|_| event(1, &[A, B])).collect()).await;
    }
    assert_eq!(store.drop_stream(A).await, Ok(6_000));
    assert_eq!(store.backlog(A).await.expect("backlog").dropped, 6_000);
    assert_eq!(store.backlog(B).await.expect("backlog").pending, 6_000);
    assert_eq!(owing_to(&*store).await, [B]);
}

/// After a restart the transmitter asks whom it owes.
pub async fn streams_that_are_owed_something_are_known(store: Arc<dyn Store>) {
    assert_eq!(owing_to(&*store).await, []);
    let far = StreamNumber(u32::MAX);
    let control = NewEvent { owed: vec![owed(far, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[B, A]), event(1, &[A]), control]).await;
    let owing = async || {
        let owing = owing_to(&*store).await;
        let streams: BTreeSet<_> = owing.iter().copied().collect();
        assert_eq!(streams.len(), owing.len(), "each once: {owing:?}");
        streams
    };
    assert_eq!(owing().await, BTreeSet::from([A, B, far]));
    settle(&*store, B, places[0], Verdict::Acked).await;
    settle(&*store, A, places[0], Verdict::Retry { at: seconds(5), attempts: 1, signed: None }).await;
    assert_eq!(owing().await, BTreeSet::from([A, far]));
}

/// Backlogs are bounded in bytes as well: sums of bodies, over all queues and with what is to be tried again.
pub async fn the_bytes_that_are_owed_are_known(store: Arc<dyn Store>) {
    let sized =
        |bytes, streams: &[StreamNumber]| NewEvent { body: vec![b'x'; bytes].into(), ..event(1, streams) };
    let control = NewEvent { owed: vec![owed(B, Queue::Control, 0)], ..sized(1_000, &[]) };
    let places =
        record(&*store, vec![sized(1, &[A]), sized(10, &[A, B]), sized(100, &[A]), control, sized(0, &[C])])
            .await;
    let bytes = async || {
        let owing = store.owing().await.expect("owing");
        for Owing { stream, pending, bytes } in &owing {
            let backlog = backlog(&*store, *stream).await;
            assert_eq!((backlog.pending, backlog.bytes), (*pending, *bytes), "{stream}");
        }
        owing.iter().map(|owing| (owing.stream, owing.pending, owing.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(bytes().await, [(A, 3, 111), (B, 2, 1_010), (C, 1, 0)]);
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle(
        &*store,
        A,
        places[1],
        Verdict::Retry { at: seconds(9), attempts: 1, signed: Some(signed("long")) },
    )
    .await;
    settle(&*store, A, places[2], Verdict::Rejected("no".to_owned())).await;
    settle(&*store, C, places[4], Verdict::Acked).await;
    assert_eq!(bytes().await, [(A, 1, 10), (B, 2, 1_010)], "the dead are not owed");
    assert_eq!(store.redrive(vec![regular(A, places[2])]).await, Ok(1));
    assert_eq!(store.replay(A, vec![places[0]], 1).await, Ok(1));
    assert_eq!(bytes().await, [(A, 3, 111), (B, 2, 1_010)]);
    assert_eq!(store.drop_stream(B).await, Ok(2));
    assert_eq!(bytes().await, [(A, 3, 111)]);
}

/// The age of a backlog is the age of its oldest delivery, in whichever queue.
pub async fn the_oldest_pending_delivery_is_known(store: Arc<dyn Store>) {
    assert_eq!(store.backlog(A).await, Ok(Backlog::default()));
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(30, &[]) };
    let places = record(&*store, vec![event(10, &[A]), event(20, &[A]), control]).await;
    let oldest = async || store.backlog(A).await.expect("backlog").oldest;
    assert_eq!(oldest().await, Some(seconds(10)));
    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(oldest().await, Some(seconds(20)));
    settle(&*store, A, places[1], Verdict::Acked).await;
    assert_eq!(oldest().await, Some(seconds(30)));
}

/// The writer says what it has done.
pub async fn groups_and_calls_are_counted(store: Arc<dyn Store>) {
    let before = store.figures();
    for _ in 0..3 {
        record(&*store, vec![event(1, &[A]), event(1, &[A])]).await;
    }
    let after = store.figures();
    assert_eq!(after.calls - before.calls, 3, "a call is one, whatever is in it");
    assert!((1..=3).contains(&(after.groups - before.groups)), "{before:?} {after:?}");
    assert_eq!(after.failed, before.failed);
    assert!(after.time >= before.time);
    store.page(A, Queue::Regular, START, 10).await.expect("page");
    assert_eq!(store.figures().calls, after.calls, "reading is not writing");
}

/// Somebody looks at the dead to find out what is wrong: everything is as it was.
pub async fn the_dead_are_kept_as_they_were(store: Arc<dyn Store>) {
    let large = NewEvent { body: vec![b'x'; 9_000].into(), lanes: [9, u64::MAX].into(), ..event(7, &[A, B]) };
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 6)], ..event(8, &[]) };
    let places = record(&*store, vec![large, control, event(9, &[A])]).await;
    let retry = Verdict::Retry { at: seconds(60), attempts: 3, signed: Some(signed("h..s")) };
    settle(&*store, A, places[0], retry).await;
    let large = only(store.deliveries(A, places[0]).await);
    let control = only(store.deliveries(A, places[1]).await);
    let ends = [
        (large.clone(), Cause::Rejected, "invalid_audience: \u{e9}\"\0 is not us", seconds(70)),
        (control.clone(), Cause::Abandoned, "", seconds(-80)),
    ];
    for (delivery, cause, reason, at) in ends {
        let Place { stream, queue, sequence } = delivery.place();
        let verdict = match cause {
            Cause::Rejected => Verdict::Rejected(reason.to_owned()),
            Cause::Abandoned => Verdict::Abandoned(reason.to_owned()),
        };
        assert_eq!(store.dead_at(delivery.place()).await, Ok(None), "it is not dead yet");
        store.settle(vec![Settlement { sequence, stream, queue, at, verdict }]).await.expect("settle");
        let expected = Dead { delivery, cause, reason: reason.to_owned(), at };
        assert_eq!(store.dead_at(expected.delivery.place()).await, Ok(Some(expected)));
    }
    let found = store.dead(None, None, 10).await.expect("dead");
    let found: Vec<Delivery> = found.into_iter().map(|dead| dead.delivery).collect();
    assert_eq!(found, [control, large]);
    for nothing in
        [regular(A, places[2]), regular(B, places[0]), regular(A, places[1]), regular(C, places[0])]
    {
        assert_eq!(store.dead_at(nothing).await, Ok(None), "{nothing:?}");
    }
    assert_eq!(store.deliveries(A, places[0]).await, Ok(Vec::new()), "nobody is owed the dead");
}

/// By stream, queue and sequence, each once, from any place on.
pub async fn the_dead_are_listed_in_pages(store: Arc<dyn Store>) {
    let both_queues = |stream| NewEvent {
        owed: vec![owed(stream, Queue::Control, 0), owed(stream, Queue::Regular, 0)],
        ..event(1, &[])
    };
    let places = record(&*store, vec![both_queues(B), both_queues(A), both_queues(C), both_queues(A)]).await;
    let place = |stream, queue, sequence: usize| Place { stream, queue, sequence: places[sequence] };
    let (control, regular) = (Queue::Control, Queue::Regular);
    let mut dead = vec![
        place(C, regular, 2),
        place(A, regular, 1),
        place(B, control, 0),
        place(A, control, 3),
        place(A, regular, 3),
        place(B, regular, 0),
        place(A, control, 1),
    ];
    kill(&*store, &dead).await;
    dead.sort();
    let listed = async |stream, after, limit| {
        let found = store.dead(stream, after, limit).await.expect("dead");
        found.iter().map(|dead| dead.delivery.place()).collect::<Vec<_>>()
    };
    for stream in [None, Some(A), Some(B), Some(C), Some(StreamNumber(0)), Some(StreamNumber(u32::MAX))] {
        let wanted: Vec<Place> =
            dead.iter().copied().filter(|place| stream.is_none_or(|stream| stream == place.stream)).collect();
        assert_eq!(listed(stream, None, 100).await, wanted, "{stream:?}");
        for limit in 0..4 {
            assert_eq!(listed(stream, None, limit).await, wanted[..limit.min(wanted.len())], "{stream:?}");
        }
        // From each of the dead on, and from places where there is none.
        let nowhere =
            [place(A, Queue::Again, 3), place(B, regular, 3), place(StreamNumber(u32::MAX), regular, 0)];
        for after in dead.iter().copied().chain(nowhere) {
            let behind: Vec<Place> = wanted.iter().copied().filter(|place| *place > after).collect();
            assert_eq!(listed(stream, Some(after), 100).await, behind, "{stream:?} behind {after:?}");
            assert_eq!(listed(stream, Some(after), 1).await, behind[..behind.len().min(1)]);
        }
    }
    settle_at(&*store, place(C, control, 2), Verdict::Acked).await;
    assert_eq!(listed(Some(C), None, 100).await, [place(C, regular, 2)], "acknowledged is not dead");
}

/// The same SET again, as if it had never been sent; beside the order, and counted as dead no more.
pub async fn a_redriven_delivery_is_owed_again(store: Arc<dyn Store>) {
    let retry = Verdict::Retry { at: seconds(60), attempts: 3, signed: Some(signed("h..s")) };
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 4)], ..event(6, &[]) };
    let places = record(&*store, vec![event(5, &[A, B]), control, event(7, &[A])]).await;
    settle(&*store, A, places[0], retry.clone()).await;
    let control = Place { stream: A, queue: Queue::Control, sequence: places[1] };
    settle_at(&*store, control, retry).await;
    let before = [only(store.deliveries(A, places[0]).await), only(store.deliveries(A, places[1]).await)];
    kill(&*store, &[regular(A, places[0]), control]).await;
    settle(&*store, A, places[2], Verdict::Abandoned("old".to_owned())).await;
    let dead = backlog(&*store, A).await;
    assert_eq!((dead.pending, dead.rejected, dead.abandoned, dead.dead), (0, 2, 1, 3));

    assert_eq!(store.redrive(vec![control, regular(A, places[0])]).await, Ok(2));
    let again = |delivery: &Delivery| Delivery {
        queue: Queue::Again,
        attempts: 0,
        due_at: delivery.accepted_at,
        signed: None,
        ..delivery.clone()
    };
    let expected: Vec<Delivery> = before.iter().map(again).collect();
    let page = store.page(A, Queue::Again, START, 10).await;
    assert_eq!(page, Ok(Page { deliveries: expected.clone(), more: false }));
    assert_eq!(store.deliveries(A, places[0]).await, Ok(expected[..1].to_vec()));
    assert_eq!(pending(&*store, A).await, [], "it does not go back into the order");
    assert_eq!(store.page(A, Queue::Control, START, 10).await, Ok(Page::default()));
    let redriven = backlog(&*store, A).await;
    assert_eq!((redriven.pending, redriven.dead), (2, 1));
    assert_eq!((redriven.rejected, redriven.abandoned, redriven.dropped), (2, 1, 0), "ever is ever");
    assert_eq!(redriven.oldest, Some(seconds(5)));
    let left = store.dead(None, None, 10).await.expect("dead");
    assert_eq!(left.iter().map(|dead| dead.delivery.place()).collect::<Vec<_>>(), [regular(A, places[2])]);

    settle_at(&*store, again_of(A, places[0]), Verdict::Retry { at: seconds(99), attempts: 1, signed: None })
        .await;
    let retried = only(store.deliveries(A, places[0]).await);
    assert_eq!((retried.attempts, retried.due_at, retried.queue), (1, seconds(99), Queue::Again));
    settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    settle_at(&*store, again_of(A, places[1]), Verdict::Acked).await;
    assert_eq!(store.page(A, Queue::Again, START, 10).await, Ok(Page::default()));
    assert_eq!(pending(&*store, B).await, [places[0]], "the other stream is as it was");
}

/// What the operator's list said may be out of date. Nothing is owed twice for it.
pub async fn what_is_not_dead_is_not_redriven(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    settle(&*store, A, places[1], Verdict::Acked).await;
    let unknown = [
        regular(A, places[1]),
        regular(A, places[2]),
        regular(B, places[0]),
        again_of(A, places[0]),
        regular(A, Sequence(4_711)),
        regular(A, Sequence(u64::MAX)),
    ];
    let before = backlog(&*store, A).await;
    assert_eq!(store.redrive(unknown.to_vec()).await, Ok(0));
    assert_eq!(store.discard(unknown.to_vec()).await, Ok(0));
    assert_eq!(store.redrive(Vec::new()).await, Ok(0));
    assert_eq!(backlog(&*store, A).await, before);
    assert_eq!(backlog(&*store, B).await, Backlog::default());
    let twice = vec![regular(A, places[0]), unknown[0], regular(A, places[0])];
    assert_eq!(store.redrive(twice.clone()).await, Ok(1), "once, though it was named twice");
    assert_eq!(store.redrive(twice).await, Ok(0), "and once more");
    assert_eq!(backlog(&*store, A).await.pending, 2);
}

/// Then it is found as what it is by now, and may be redriven for another time.
pub async fn a_redriven_delivery_may_die_again(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    for round in 1..=3 {
        let dead = if round == 1 { regular(A, places[0]) } else { again_of(A, places[0]) };
        assert_eq!(store.redrive(vec![dead]).await, Ok(1), "round {round}");
        kill(&*store, &[again_of(A, places[0])]).await;
        let backlog = backlog(&*store, A).await;
        assert_eq!((backlog.pending, backlog.dead, backlog.rejected), (0, 1, round + 1));
        let found = store.dead(Some(A), None, 9).await.expect("dead");
        assert_eq!(found[0].delivery.place(), again_of(A, places[0]));
    }

    // An event may be dead twice, as first delivered and as delivered again. One of them is delivered at a time.
    let places = record(&*store, vec![event(2, &[B])]).await;
    kill(&*store, &[regular(B, places[0])]).await;
    assert_eq!(store.replay(B, places.clone(), 7).await, Ok(1));
    kill(&*store, &[again_of(B, places[0])]).await;
    let both = vec![regular(B, places[0]), again_of(B, places[0])];
    assert_eq!(backlog(&*store, B).await.dead, 2);
    assert_eq!(store.redrive(both.clone()).await, Ok(1), "the first of them");
    assert_eq!(only(store.deliveries(B, places[0]).await).generation, 0);
    assert_eq!(store.redrive(both.clone()).await, Ok(0), "the other has to wait");
    assert_eq!(backlog(&*store, B).await.dead, 1);
    settle_at(&*store, both[1], Verdict::Acked).await;
    assert_eq!(store.redrive(both.clone()).await, Ok(1));
    assert_eq!(only(store.deliveries(B, places[0]).await).generation, 7, "the same SET as before");
    settle_at(&*store, both[1], Verdict::Acked).await;
    record(&*store, vec![event(900, &[])]).await;
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, B).await, [], "nothing needs the event any more");
}

/// It leaves at once, its body in time, and what was counted stays counted.
pub async fn a_discarded_delivery_is_forgotten_and_counted(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(900, &[])]).await;
    kill(&*store, &[regular(A, places[0]), regular(A, places[1])]).await;
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, A).await.len(), 2, "the dead keep their events");
    assert_eq!(store.discard(vec![regular(A, places[0]), regular(A, places[0])]).await, Ok(1));
    assert_eq!(store.discard(vec![regular(A, places[0])]).await, Ok(0));
    assert_eq!(store.dead_at(regular(A, places[0])).await, Ok(None));
    let backlog = backlog(&*store, A).await;
    assert_eq!((backlog.pending, backlog.dead, backlog.rejected), (0, 1, 2));
    assert_eq!(store.redrive(vec![regular(A, places[0])]).await, Ok(0));
    trim(&*store, seconds(800)).await;
    let left: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
    assert_eq!(left, [places[1]]);
}

/// What was replayed twice and refused twice is one dead delivery, and needs its event once.
pub async fn a_delivery_that_dies_twice_is_dead_once(store: Arc<dyn Store>) {
    let place = record(&*store, vec![event(1, &[A]), event(9_999, &[])]).await[0];
    settle(&*store, A, place, Verdict::Acked).await;
    for generation in [1, 2] {
        assert_eq!(store.replay(A, vec![place], generation).await, Ok(1));
        let refused = settlement(A, place, Verdict::Rejected("no".to_owned()));
        store.settle(vec![Settlement { queue: Queue::Again, ..refused }]).await.expect("settle");
    }
    let dead = store.dead(Some(A), None, 10).await.expect("dead");
    assert_eq!(dead.iter().map(|dead| dead.delivery.generation).collect::<Vec<_>>(), [2], "the last one");
    assert_eq!(store.discard(vec![dead[0].delivery.place()]).await, Ok(1));
    while store.trim(keep(seconds(5_000))).await.expect("trim") {}
    assert_eq!(store.history(A, START, 10).await.expect("history").events, [], "nothing needs the event");
}

/// What a stream did not take is looked at after its end too. It leaves by its age.
pub async fn a_dropped_stream_keeps_its_dead(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0]), regular(A, places[1])]).await;
    store.redrive(vec![regular(A, places[1])]).await.expect("redrive");
    assert_eq!(store.drop_stream(A).await, Ok(2), "what was to be delivered again included");
    assert_eq!(store.page(A, Queue::Again, START, 9).await, Ok(Page::default()));
    let backlog = backlog(&*store, A).await;
    assert_eq!((backlog.pending, backlog.dead, backlog.dropped, backlog.rejected), (0, 1, 2, 2));
    assert!(store.dead_at(regular(A, places[0])).await.expect("dead").is_some());
}

/// Settled or not, dead or not, as it was recorded; and nothing of other queues or streams.
pub async fn a_history_is_what_was_owed_regularly(store: Arc<dyn Store>) {
    assert_eq!(store.history(A, START, 10).await, Ok(History::default()));
    let of_a = NewEvent { owed: vec![owed(A, Queue::Regular, 3)], lanes: [9, 8].into(), ..event(1, &[]) };
    let of_both = NewEvent {
        owed: vec![owed(B, Queue::Regular, 4), owed(A, Queue::Regular, u32::MAX)],
        ..event(2, &[])
    };
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 5)], ..event(3, &[]) };
    let far = StreamNumber(u32::MAX);
    let recorded =
        store.record(vec![of_a, of_both, control, event(4, &[far]), event(5, &[A])]).await.expect("record");
    let [Recorded::New { epoch, .. }, ..] = recorded[..] else { unreachable!("{recorded:?}") };
    let places: Vec<Sequence> = recorded
        .iter()
        .map(|recorded| match recorded {
            Recorded::New { sequence, .. } => *sequence,
            other => unreachable!("{other:?}"),
        })
        .collect();
    let past = |place: usize, rendering, at, lanes: &[u64]| Past {
        epoch,
        sequence: places[place],
        rendering: Rendering(rendering),
        accepted_at: seconds(at),
        lanes: lanes.into(),
    };
    let expected = [past(0, 3, 1, &[9, 8]), past(1, u32::MAX, 2, &[1, 2]), past(4, 0, 5, &[1, 2])];
    assert_eq!(history(&*store, A).await, expected);
    settle(&*store, A, places[0], Verdict::Acked).await;
    kill(&*store, &[regular(A, places[1])]).await;
    assert_eq!(store.drop_stream(A).await, Ok(2));
    assert_eq!(history(&*store, A).await, expected, "whatever became of them");
    assert_eq!(history(&*store, B).await, [past(1, 4, 2, &[1, 2])]);
    assert_eq!(history(&*store, far).await, [past(3, 0, 4, &[1, 2])]);
    assert_eq!(history(&*store, StreamNumber(9)).await, []);
}

/// Part by part, each event once, from any place on.
pub async fn a_history_comes_in_parts(store: Arc<dyn Store>) {
    let places =
        record(&*store, vec![event(1, &[A]), event(1, &[B]), event(1, &[A]), event(1, &[A, B])]).await;
    let of_a = [places[0], places[2], places[3]];
    for limit in 1..=4 {
        let (mut after, mut found, mut parts) = (START, Vec::new(), 0);
        loop {
            let part = store.history(A, after, limit).await.expect("history");
            assert!(part.events.len() <= limit, "{limit}");
            found.extend(part.events.iter().map(|past| past.sequence));
            parts += 1;
            let Some(next) = part.next else { break };
            assert!(next > after && parts < 10, "it goes on from {after:?} to {next:?}");
            after = next;
        }
        assert_eq!(found, of_a, "{limit} at a time");
    }
    let behind = store.history(A, places[0], 9).await.expect("history");
    assert_eq!(behind.events.iter().map(|past| past.sequence).collect::<Vec<_>>(), of_a[1..]);
    for (after, limit) in [(places[3], 9), (Sequence(u64::MAX), 9), (START, 0)] {
        assert_eq!(store.history(A, after, limit).await.expect("history").events, []);
    }
    assert_ne!(store.history(A, START, 0).await.expect("history").next, None, "there is something");
}

/// Looking for the few events of a quiet stream among many does not take a reader for long: a call may find nothing,
/// and says where to go on.
pub async fn a_long_history_comes_in_bounded_steps(store: Arc<dyn Store>) {
    let first = record(&*store, vec![event(1, &[A])]).await;
    for _ in 0..40 {
        record(&*store, (0..250).map(|_| event(2, &[B])).collect()).await;
    }
    let last = record(&*store, vec![event(3, &[A])]).await;
    let found: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
    assert_eq!(found, [first[0], last[0]]);
    assert_eq!(history(&*store, B).await.len(), 10_000);
    assert_eq!(history(&*store, C).await, []);
}

/// A history is as long as events are kept.
pub async fn a_history_ends_where_it_was_trimmed(store: Arc<dyn Store>) {
    let places =
        record(&*store, vec![event(10, &[A]), event(20, &[A]), event(30, &[A]), event(40, &[A])]).await;
    for place in &places[..3] {
        settle(&*store, A, *place, Verdict::Acked).await;
    }
    for (before, left) in [(10, 0), (11, 1), (30, 2), (31, 3), (1_000, 3)] {
        trim(&*store, seconds(before)).await;
        let found: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
        assert_eq!(found, places[left..], "what was accepted before {before} and is settled is gone");
    }
    assert_eq!(store.replay(A, places.clone(), 1).await, Ok(0), "what is not kept, and what is owed");
    assert_eq!(pending(&*store, A).await, places[3..]);
}

/// Replay: what was settled comes again, as it was rendered then, under the generation that it is asked for in.
pub async fn a_replayed_event_is_owed_again(store: Arc<dyn Store>) {
    let first =
        NewEvent { owed: vec![owed(A, Queue::Regular, 3), owed(B, Queue::Regular, 4)], ..event(1, &[]) };
    let places = record(&*store, vec![first, event(2, &[A, B]), event(3, &[A])]).await;
    let before = only(store.deliveries(A, places[0]).await);
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle(&*store, A, places[1], Verdict::Abandoned("old".to_owned())).await;
    let dead = backlog(&*store, A).await;

    assert_eq!(store.replay(A, vec![places[1], places[0]], 5).await, Ok(2));
    let page = store.page(A, Queue::Again, START, 10).await.expect("page");
    let [first, second] = &page.deliveries[..] else { unreachable!("{page:?}") };
    assert_eq!(*first, Delivery { queue: Queue::Again, generation: 5, ..before });
    assert_eq!((second.sequence, second.generation, second.due_at), (places[1], 5, seconds(2)));
    assert_eq!(store.deliveries(A, places[0]).await, Ok(vec![first.clone()]));
    let replayed = backlog(&*store, A).await;
    assert_eq!(replayed.pending, dead.pending + 2);
    assert_eq!((replayed.dead, replayed.abandoned), (1, 1), "the dead one is still that");
    assert_eq!(pending(&*store, A).await, [places[2]], "the order is as it was");
    assert_eq!(pending(&*store, B).await, places[..2], "and so is the other stream");
    assert_eq!(store.page(B, Queue::Again, START, 10).await, Ok(Page::default()));

    settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    for generation in [0, u16::MAX] {
        assert_eq!(store.replay(A, vec![places[0]], generation).await, Ok(1));
        assert_eq!(only(store.deliveries(A, places[0]).await).generation, generation);
        settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    }
}

/// A replay does not make two of what is under way, nor invents anything.
pub async fn what_is_owed_or_never_was_is_not_replayed(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places =
        record(&*store, vec![event(1, &[A]), event(1, &[B]), control, event(1, &[]), event(1, &[A])]).await;
    for place in &places {
        settle(&*store, B, *place, Verdict::Acked).await;
        settle_at(&*store, Place { stream: A, queue: Queue::Control, sequence: *place }, Verdict::Acked)
            .await;
    }
    settle(&*store, A, places[4], Verdict::Retry { at: seconds(9), attempts: 1, signed: None }).await;
    let before = backlog(&*store, A).await;
    let mut asked_for = places.clone();
    asked_for.extend([Sequence(0), Sequence(4_711), Sequence(u64::MAX)]);
    assert_eq!(store.replay(A, asked_for, 1).await, Ok(0));
    assert_eq!(backlog(&*store, A).await, before);
    assert_eq!(store.replay(A, Vec::new(), 1).await, Ok(0));

    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(
        store.replay(A, vec![places[0], places[0]], 1).await,
        Ok(1),
        "once, though it was named twice"
    );
    assert_eq!(store.replay(A, vec![places[0]], 2).await, Ok(0), "it is owed again already");
    assert_eq!(only(store.deliveries(A, places[0]).await).generation, 1);
    settle(&*store, A, places[4], Verdict::Rejected("no".to_owned())).await;
    store.redrive(vec![regular(A, places[4])]).await.expect("redrive");
    assert_eq!(store.replay(A, vec![places[4]], 2).await, Ok(0), "it is being redriven");
}

/// An event that is owed again is as safe from trimming as a new one.
pub async fn a_replayed_event_is_kept_until_it_is_settled(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A, B]), event(900, &[])]).await;
    for place in &places[..2] {
        settle(&*store, A, *place, Verdict::Acked).await;
        settle(&*store, B, *place, Verdict::Acked).await;
    }
    assert_eq!(store.replay(A, places[1..2].to_vec(), 1).await, Ok(1));
    trim(&*store, seconds(800)).await;
    let page = store.page(A, Queue::Again, START, 10).await.expect("page");
    assert_eq!(page.deliveries.iter().map(|delivery| delivery.sequence).collect::<Vec<_>>(), places[1..2]);
    assert_eq!(page.deliveries[0].body, event(1, &[]).body);
    kill(&*store, &[again_of(A, places[1])]).await;
    trim(&*store, seconds(800)).await;
    assert!(
        store.dead_at(again_of(A, places[1])).await.expect("dead").is_some(),
        "dead it needs its body too"
    );
    assert_eq!(store.redrive(vec![again_of(A, places[1])]).await, Ok(1));
    settle_at(&*store, again_of(A, places[1]), Verdict::Acked).await;
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, A).await, [], "now it is gone");
}

/// Two deliveries of one event: an outcome is told of one of them.
pub async fn a_delivery_and_its_repetition_are_settled_apart(store: Arc<dyn Store>) {
    let both_queues =
        NewEvent { owed: vec![owed(A, Queue::Regular, 0), owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![both_queues.clone(), both_queues]).await;
    let control = |place| Place { stream: A, queue: Queue::Control, sequence: places[place] };
    kill(&*store, &[control(0), regular(A, places[1])]).await;
    assert_eq!(store.redrive(vec![control(0), regular(A, places[1])]).await, Ok(2));
    let queues = async |place: usize| {
        let found = store.deliveries(A, places[place]).await.expect("deliveries");
        found.iter().map(|delivery| delivery.queue).collect::<Vec<_>>()
    };
    assert_eq!(queues(0).await, [Queue::Regular, Queue::Again]);
    assert_eq!(queues(1).await, [Queue::Control, Queue::Again]);
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle_at(&*store, again_of(A, places[1]), Verdict::Acked).await;
    assert_eq!(queues(0).await, [Queue::Again]);
    assert_eq!(queues(1).await, [Queue::Control]);
    settle(&*store, A, places[1], Verdict::Acked).await;
    assert_eq!(queues(1).await, [Queue::Control], "nothing was owed there any more");
    assert_eq!(backlog(&*store, A).await.pending, 2);
}

/// An observer is told of commits of events. Who asks for a repetition reads the queue.
pub async fn what_is_delivered_again_is_not_announced(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    settle(&*store, A, places[1], Verdict::Acked).await;
    let observer = Seen::watching(&*store);
    assert_eq!(store.redrive(vec![regular(A, places[0])]).await, Ok(1));
    assert_eq!(store.replay(A, vec![places[1]], 1).await, Ok(1));
    assert_eq!(observer.take(), []);
    let next = record(&*store, vec![event(1, &[A])]).await;
    let seen: Vec<_> = observer.take().into_iter().map(|(delivery, _)| delivery.sequence).collect();
    assert_eq!(seen, next);
}

/// A producer that missed the answer asks again and changes nothing (SEM-15).
pub async fn a_repeated_name_gets_the_first_answer(store: Arc<dyn Store>) {
    let first = store.record(vec![named("k", 7, event(1, &[A, B]))]).await.expect("record");
    let [Recorded::New { epoch, sequence }] = first[..] else { unreachable!("{first:?}") };
    // The streams may have changed in the meantime: the first answer counts.
    let repeat = named("k", 7, event(2, &[A]));
    for _ in 0..2 {
        let again = store.record(vec![repeat.clone()]).await.expect("record");
        assert_eq!(again, [Recorded::Repeated { epoch, sequence, deliveries: 2 }]);
    }
    settle(&*store, A, sequence, Verdict::Acked).await;
    settle(&*store, B, sequence, Verdict::Acked).await;
    let again = store.record(vec![repeat]).await.expect("record");
    assert_eq!(
        again,
        [Recorded::Repeated { epoch, sequence, deliveries: 2 }],
        "even when it is long settled"
    );
    assert_eq!(pending(&*store, A).await, []);
}

/// The same name with another content is the producer's mistake (SEM-15).
pub async fn a_name_is_not_given_to_other_content(store: Arc<dyn Store>) {
    let places = record(&*store, vec![named("k", 7, event(1, &[A]))]).await;
    let other = store.record(vec![named("k", 8, event(1, &[A]))]).await;
    assert_eq!(other, Ok(vec![Recorded::Different]));
    assert_eq!(pending(&*store, A).await, places, "nothing was stored");
}

/// A name is one producer's own.
pub async fn names_of_different_scopes_do_not_meet(store: Arc<dyn Store>) {
    let scoped = |scope: &str, key: &str| {
        let mut event = named(key, 7, event(1, &[A]));
        if let Some(name) = &mut event.idempotency {
            scope.clone_into(&mut name.scope);
        }
        event
    };
    // Neither may the border between scope and name be lost.
    let events = vec![scoped("a", "k"), scoped("b", "k"), scoped("ak", ""), scoped("", "ak")];
    let places = record(&*store, events).await;
    assert_eq!(pending(&*store, A).await, places);
}

/// A repeat that comes before the first is stored waits for it (SEM-15).
pub async fn concurrent_repeats_are_recorded_once(store: Arc<dyn Store>) {
    let call = || store.record(vec![named("k", 7, event(1, &[A]))]);
    let (one, two) = both(call(), call()).await;
    let (one, two) = (one.expect("record"), two.expect("record"));
    let new = [&one, &two].into_iter().filter(|answer| matches!(answer[..], [Recorded::New { .. }]));
    assert_eq!(new.count(), 1, "{one:?} {two:?}");
    let repeated =
        [&one, &two].into_iter().filter(|answer| matches!(answer[..], [Recorded::Repeated { .. }]));
    assert_eq!(repeated.count(), 1, "{one:?} {two:?}");
    assert_eq!(pending(&*store, A).await.len(), 1);
}

/// Within one call a repeated name is a repeat like any other.
pub async fn a_name_may_come_twice_in_one_call(store: Arc<dyn Store>) {
    let events =
        vec![named("k", 7, event(1, &[A])), named("l", 7, event(1, &[A])), named("k", 7, event(1, &[A]))];
    let recorded = store.record(events).await.expect("record");
    let [Recorded::New { epoch, sequence }, Recorded::New { .. }, third] = recorded[..] else {
        unreachable!("{recorded:?}")
    };
    assert_eq!(third, Recorded::Repeated { epoch, sequence, deliveries: 1 });
    assert_eq!(pending(&*store, A).await.len(), 2);

    let events = vec![named("m", 7, event(1, &[A])), named("m", 8, event(1, &[A]))];
    assert_eq!(store.record(events).await, Ok(vec![Recorded::Different; 2]));
    assert_eq!(pending(&*store, A).await.len(), 2);
}

/// All or nothing: one event that cannot be recorded takes the others with it.
pub async fn a_call_is_recorded_whole_or_not_at_all(store: Arc<dyn Store>) {
    let places = record(&*store, vec![named("k", 7, event(1, &[A]))]).await;
    let events = vec![event(1, &[A]), named("l", 7, event(1, &[A])), named("k", 8, event(1, &[A]))];
    assert_eq!(store.record(events).await, Ok(vec![Recorded::Different; 3]));
    assert_eq!(pending(&*store, A).await, places);
    let later = store.record(vec![named("l", 9, event(1, &[A]))]).await.expect("record");
    assert!(matches!(later[..], [Recorded::New { .. }]), "its name was not taken: {later:?}");
}

/// Names are kept as long as promised and not for ever, also where the event is still owed.
pub async fn trimming_forgets_old_names_only(store: Arc<dyn Store>) {
    record(&*store, vec![named("old", 7, event(10, &[A])), named("young", 7, event(20, &[A]))]).await;
    let old = named("old", 8, event(30, &[]));
    let young = named("young", 8, event(30, &[]));
    trim(&*store, seconds(10)).await;
    assert_eq!(store.record(vec![old.clone()]).await, Ok(vec![Recorded::Different]), "10 is not before 10");
    trim(&*store, seconds(20)).await;
    assert!(matches!(store.record(vec![old.clone()]).await.as_deref(), Ok([Recorded::New { .. }])));
    assert_eq!(store.record(vec![young]).await, Ok(vec![Recorded::Different]));
    let again = store.record(vec![old]).await.expect("record");
    assert!(matches!(again[..], [Recorded::Repeated { .. }]), "it is remembered anew: {again:?}");
}

/// Trimming goes in bounded steps, comes to an end, and takes nothing that is still owed.
pub async fn trimming_ends_and_keeps_what_is_owed(store: Arc<dyn Store>) {
    let mut places = Vec::new();
    for at in 0..20 {
        places.extend(record(&*store, (0..300).map(|_| event(at, &[A, B])).collect()).await);
    }
    let kept = [places[0], places[3_000], places[5_999]];
    let outcomes = places.iter().flat_map(|place| {
        let a = (!kept.contains(place)).then(|| settlement(A, *place, Verdict::Acked));
        a.into_iter().chain([settlement(B, *place, Verdict::Acked)])
    });
    store.settle(outcomes.collect()).await.expect("settle");
    let steps = trim(&*store, seconds(1_000)).await;
    assert!(steps > 1, "six thousand events in one step are not bounded");
    assert_eq!(store.trim(keep(seconds(1_000))).await, Ok(false), "there was no more to do");
    assert_eq!(pending(&*store, A).await, kept, "bodies included");
    settle(&*store, A, kept[0], Verdict::Acked).await;
    trim(&*store, seconds(1_000)).await;
    assert_eq!(pending(&*store, A).await, kept[1..]);
}

/// The dead are kept from a time of their own on, in which they ended; their bodies as long as they are.
pub async fn trimming_forgets_the_dead_and_then_their_bodies(store: Arc<dyn Store>) {
    let mut places = Vec::new();
    for _ in 0..15 {
        places.extend(record(&*store, (0..100).map(|_| event(1, &[A])).collect()).await);
    }
    record(&*store, vec![event(9_999, &[])]).await;
    let died_at = |place: usize| seconds(1_000 + i64::try_from(place).expect("small"));
    let died = places.iter().enumerate().map(|(place, sequence)| Settlement {
        at: died_at(place),
        ..settlement(A, *sequence, Verdict::Abandoned("old".to_owned()))
    });
    store.settle(died.collect()).await.expect("settle");
    let trim = async |history, dead| {
        for steps in 1..10_000 {
            if !store.trim(Keep { history, dead }).await.expect("trim") {
                return steps;
            }
        }
        unreachable!("trimming does not end")
    };
    trim(seconds(5_000), died_at(0)).await;
    assert_eq!(backlog(&*store, A).await.dead, 1_500, "when it was accepted is not when it died");
    trim(seconds(5_000), died_at(2)).await;
    assert_eq!(backlog(&*store, A).await.dead, 1_498);
    assert_eq!(store.dead_at(regular(A, places[1])).await, Ok(None));
    assert!(store.dead_at(regular(A, places[2])).await.expect("dead").is_some());
    assert_eq!(history(&*store, A).await.len(), 1_498, "their bodies are gone with them");
    trim(seconds(1), died_at(4)).await;
    assert_eq!(history(&*store, A).await.len(), 1_498, "the history that was asked for is kept without them");
    let steps = trim(seconds(5_000), died_at(1_499)).await;
    assert!(steps > 1, "fifteen hundred in one step are not bounded");
    let left: Vec<_> = store.dead(None, None, 10).await.expect("dead");
    assert_eq!(left.iter().map(|dead| dead.delivery.sequence).collect::<Vec<_>>(), places[1_499..]);
    assert_eq!(history(&*store, A).await.len(), 1, "all bodies in the same pass");
    let counts = backlog(&*store, A).await;
    assert_eq!((counts.dead, counts.abandoned), (1, 1_500));
}

/// A clock that was years ahead for a moment costs what was forgotten then. What comes after it is remembered as ever.
pub async fn trimming_outlives_a_clock_that_was_ahead(store: Arc<dyn Store>) {
    let ahead = seconds(1_000_000_000);
    record(&*store, vec![named("before", 7, event(100, &[]))]).await;
    let places = record(&*store, vec![event(101, &[A])]).await;
    while store.trim(Keep { history: ahead, dead: ahead }).await.expect("trim") {}
    let repeated = async |key: &str, at| {
        let recorded = store.record(vec![named(key, 7, event(at, &[]))]).await.expect("record");
        matches!(recorded[..], [Recorded::Repeated { .. }])
    };
    assert!(!repeated("before", 110).await, "it was forgotten");
    assert!(repeated("before", 111).await);
    assert!(!repeated("after", 120).await);
    assert!(repeated("after", 121).await);
    trim(&*store, seconds(115)).await;
    assert!(repeated("after", 122).await, "a clock that is right again");
    assert!(!repeated("before", 123).await, "110 is before 115");
    assert_eq!(pending(&*store, A).await, places, "what is owed is kept in any case");
    kill(&*store, &[regular(A, places[0])]).await;
    let past = Timestamp::from_micros(i64::MIN);
    while store.trim(Keep { history: past, dead: past }).await.expect("trim") {}
    assert_eq!(backlog(&*store, A).await.dead, 1);
    assert!(repeated("after", 124).await);
}

/// Clocks step back. An event leaves when its own time has come, whatever came before and after it.
pub async fn trimming_takes_each_event_by_its_own_time(store: Arc<dyn Store>) {
    let at = [100, 50, 101, 7_000, 20, 7_001, 102, 200];
    let places = record(&*store, at.iter().map(|at| event(*at, &[A])).collect()).await;
    for place in &places {
        settle(&*store, A, *place, Verdict::Acked).await;
    }
    // The clock was ahead for long: thousands of events from a time that is still to come.
    for _ in 0..30 {
        record(&*store, (0..100).map(|_| event(8_000, &[])).collect()).await;
    }
    let behind = record(&*store, vec![event(60, &[B]), event(300, &[B]), event(301, &[])]).await;
    settle(&*store, B, behind[0], Verdict::Acked).await;
    settle(&*store, B, behind[1], Verdict::Acked).await;
    let left =
        async |stream| history(&*store, stream).await.iter().map(|past| past.accepted_at).collect::<Vec<_>>();
    trim(&*store, seconds(60)).await;
    assert_eq!(left(A).await, [100, 101, 7_000, 7_001, 102, 200].map(seconds));
    assert_eq!(left(B).await, [60, 300].map(seconds));
    trim(&*store, seconds(102)).await;
    assert_eq!(left(A).await, [7_000, 7_001, 102, 200].map(seconds));
    assert_eq!(left(B).await, [seconds(300)], "those from the future do not stand in the way");
    trim(&*store, seconds(9_000)).await;
    assert_eq!((left(A).await, left(B).await), (vec![], vec![]));
}

/// A place is not given twice, also when nothing is left that remembers it.
pub async fn sequences_go_on_after_everything_was_trimmed(store: Arc<dyn Store>) {
    let before = record(&*store, vec![event(1, &[A]), event(1, &[])]).await;
    settle(&*store, A, before[0], Verdict::Acked).await;
    trim(&*store, seconds(1_000)).await;
    let after = record(&*store, vec![event(1, &[A])]).await;
    assert!(after[0] > before[1], "{before:?} {after:?}");
}

/// Of two who change the same document, the second is told.
pub async fn documents_are_compared_and_set(store: Arc<dyn Store>) {
    let none = Version::default();
    assert_eq!(store.get("a").await, Ok(None));
    let first = store.put("a", none, Some("one".into())).await.expect("put");
    assert_ne!(first, none);
    assert_eq!(
        store.put("a", none, Some("x".into())).await,
        Err(StoreError::Conflict),
        "there is one already"
    );
    let second = store.put("a", first, Some("two".into())).await.expect("put");
    assert_ne!(second, first);
    assert_eq!(store.put("a", first, Some("x".into())).await, Err(StoreError::Conflict));
    assert_eq!(store.put("a", first, None).await, Err(StoreError::Conflict));
    let document = Document { name: "a".to_owned(), version: second, body: "two".into() };
    assert_eq!(store.get("a").await, Ok(Some(document)));

    let (one, two) =
        both(store.put("a", second, Some("3".into())), store.put("a", second, Some("3".into()))).await;
    assert_eq!([&one, &two].into_iter().filter(|answer| answer.is_ok()).count(), 1, "{one:?} {two:?}");
}

/// A deleted document leaves nothing that an old reader could mistake for a new one.
pub async fn a_document_made_again_has_a_new_version(store: Arc<dyn Store>) {
    let none = Version::default();
    assert_eq!(store.put("a", none, None).await, Ok(none), "there is nothing to delete");
    let first = store.put("a", none, Some("one".into())).await.expect("put");
    assert_eq!(store.put("a", first, None).await, Ok(none));
    assert_eq!(store.get("a").await, Ok(None));
    assert_eq!(store.put("a", first, Some("x".into())).await, Err(StoreError::Conflict));
    let again = store.put("a", none, Some("two".into())).await.expect("put");
    assert_ne!(again, first);
}

/// Names are ordered by their bytes; a beginning is not a pattern.
pub async fn documents_are_listed_by_their_beginning(store: Arc<dyn Store>) {
    for name in ["stream/b", "stream/a", "stream", "streams/x", "key/1", "stream/ä", "stream/%", "stream/_"]
    {
        store.put(name, Version::default(), Some(name.to_owned().into())).await.expect("put");
    }
    for (beginning, expected) in [
        ("stream/", &["stream/%", "stream/_", "stream/a", "stream/b", "stream/ä"][..]),
        ("stream/%", &["stream/%"]),
        ("stream/_", &["stream/_"]),
        ("key", &["key/1"]),
        ("nothing", &[]),
        ("z", &[]),
    ] {
        let listed = store.list(beginning, None, 100).await.expect("list");
        let names: Vec<_> = listed.iter().map(|document| document.name.as_str()).collect();
        assert_eq!(names, expected, "{beginning}");
        assert!(listed.iter().all(|document| document.body == document.name));
    }
    assert_eq!(store.list("", None, 100).await.expect("list").len(), 8);
}

/// Page by page, each document once.
pub async fn documents_are_listed_in_pages(store: Arc<dyn Store>) {
    for name in ["a", "s/1", "s/2", "s/3", "t"] {
        store.put(name, Version::default(), Some(Bytes::new())).await.expect("put");
    }
    for (after, limit, expected) in [
        (None, 2, &["s/1", "s/2"][..]),
        (Some("s/2"), 2, &["s/3"]),
        (Some("s/3"), 2, &[]),
        (Some("s/11"), 9, &["s/2", "s/3"]),
        (Some("a"), 9, &["s/1", "s/2", "s/3"]),
        (Some("z"), 9, &[]),
        (None, 0, &[]),
    ] {
        let listed = store.list("s/", after, limit).await.expect("list");
        let names: Vec<_> = listed.iter().map(|document| document.name.as_str()).collect();
        assert_eq!(names, expected, "after {after:?}, {limit}");
    }
}

/// A stream's number never means another stream (SEM-1), nor the event itself, which is number 0.
pub async fn stream_numbers_are_given_once(store: Arc<dyn Store>) {
    let mut given = BTreeSet::from([StreamNumber(0)]);
    for _ in 0..10 {
        let (one, two) = both(store.new_stream_number(), store.new_stream_number()).await;
        for number in [one, two] {
            assert!(given.insert(number.expect("a number")), "given twice: {given:?}");
        }
    }
}

/// The replay guard: by issuer and `jti`, with the payload's digest (SEM-18).
pub async fn a_set_is_received_once(store: Arc<dyn Store>) {
    let receive = async |set: Received| store.receive(vec![set]).await.expect("receive")[0];
    assert_eq!(receive(set("i", "1", 7, 10)).await, Receipt::First);
    assert_eq!(receive(set("i", "1", 7, 11)).await, Receipt::Repeat);
    assert_eq!(receive(set("i", "1", 8, 12)).await, Receipt::Changed);
    assert_eq!(receive(set("i", "1", 7, 13)).await, Receipt::Repeat, "the changed one changed nothing");
    assert_eq!(
        receive(set("j", "1", 8, 14)).await,
        Receipt::First,
        "another issuer's identifiers are its own"
    );
    assert_eq!(receive(set("", "i1", 8, 14)).await, Receipt::First);
    assert_eq!(receive(set("i1", "", 8, 14)).await, Receipt::First);
    let waiting = store.waiting(0, 10).await.expect("waiting");
    let received: Vec<_> = waiting.into_iter().map(|stored| stored.received).collect();
    assert_eq!(
        received,
        [set("i", "1", 7, 10), set("j", "1", 8, 14), set("", "i1", 8, 14), set("i1", "", 8, 14)]
    );
}

/// A poll answer, or two pushes at once, may hold a SET twice.
pub async fn a_set_is_received_once_even_in_one_call(store: Arc<dyn Store>) {
    let sets = vec![set("i", "1", 7, 10), set("i", "1", 7, 10), set("i", "1", 8, 10), set("i", "2", 7, 10)];
    let receipts = store.receive(sets).await.expect("receive");
    assert_eq!(receipts, [Receipt::First, Receipt::Repeat, Receipt::Changed, Receipt::First]);
    assert_eq!(store.receive(Vec::new()).await, Ok(Vec::new()), "a call may be empty");

    let call = || store.receive(vec![set("i", "3", 7, 10)]);
    let (one, two) = both(call(), call()).await;
    let receipts = BTreeSet::from([format!("{one:?}"), format!("{two:?}")]);
    assert_eq!(receipts, BTreeSet::from(["Ok([First])".to_owned(), "Ok([Repeat])".to_owned()]));
    assert_eq!(store.waiting(0, 10).await.expect("waiting").len(), 3);
}

/// Handlers take SETs in the order in which they came.
pub async fn received_sets_wait_in_their_order(store: Arc<dyn Store>) {
    let sets: Vec<Received> = (0..5).map(|n| set("i", &n.to_string(), 7, 10 - n)).collect();
    store.receive(sets[..2].to_vec()).await.expect("receive");
    store.receive(sets[2..].to_vec()).await.expect("receive");
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = store.waiting(after, 2).await.expect("waiting");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.place;
        assert!(page.iter().all(|stored| stored.attempts == 0));
        seen.extend(page.into_iter().map(|stored| stored.received));
    }
    assert_eq!(seen, sets);
}

/// A handled SET is gone, and still known when it comes again (SEM-17).
pub async fn handled_sets_leave_and_are_remembered(store: Arc<dyn Store>) {
    store.receive((0..3).map(|n| set("i", &n.to_string(), 7, 10)).collect()).await.expect("receive");
    let places: Vec<u64> =
        store.waiting(0, 10).await.expect("waiting").iter().map(|stored| stored.place).collect();
    store.handled(vec![places[0], places[2], 4_711]).await.expect("handled");
    store.handled(vec![places[0]]).await.expect("handled");
    let waiting = store.waiting(0, 10).await.expect("waiting");
    assert_eq!(waiting.iter().map(|stored| stored.place).collect::<Vec<_>>(), [places[1]]);
    assert_eq!(store.receive(vec![set("i", "0", 7, 11)]).await, Ok(vec![Receipt::Repeat]));
    assert_eq!(store.receive(vec![set("i", "0", 8, 11)]).await, Ok(vec![Receipt::Changed]));
}

/// A SET that no handler can take does not hold up the others for ever, and is not taken in again.
pub async fn failures_are_counted_until_the_set_is_dead(store: Arc<dyn Store>) {
    store.receive(vec![set("i", "1", 7, 10), set("i", "2", 7, 10)]).await.expect("receive");
    let place = store.waiting(0, 1).await.expect("waiting")[0].place;
    for attempts in 1..=3 {
        store.failed(place, false).await.expect("failed");
        let first = &store.waiting(0, 1).await.expect("waiting")[0];
        assert_eq!((first.place, first.attempts), (place, attempts));
    }
    store.failed(place, true).await.expect("failed");
    store.failed(place, true).await.expect("failed");
    store.failed(4_711, false).await.expect("failed");
    let waiting = store.waiting(0, 10).await.expect("waiting");
    assert_eq!(waiting.iter().map(|stored| stored.received.jti.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(waiting[0].attempts, 0);
    assert_eq!(store.receive(vec![set("i", "1", 7, 11)]).await, Ok(vec![Receipt::Repeat]));
}

/// Identifiers are kept as long as promised and not for ever; what waits is not touched.
pub async fn forgetting_forgets_old_identifiers_only(store: Arc<dyn Store>) {
    store.receive(vec![set("i", "old", 7, 10), set("i", "young", 7, 20)]).await.expect("receive");
    let places = store.waiting(0, 10).await.expect("waiting");
    store.handled(places.iter().map(|stored| stored.place).collect()).await.expect("handled");
    store.receive(vec![set("i", "waits", 7, 5)]).await.expect("receive");
    forget(&*store, seconds(10)).await;
    assert_eq!(
        store.receive(vec![set("i", "old", 7, 30)]).await,
        Ok(vec![Receipt::Repeat]),
        "10 is not before 10"
    );
    forget(&*store, seconds(20)).await;
    let again = vec![set("i", "old", 8, 30), set("i", "young", 7, 30)];
    assert_eq!(store.receive(again).await, Ok(vec![Receipt::First, Receipt::Repeat]));
    assert_eq!(
        store.receive(vec![set("i", "old", 8, 30)]).await,
        Ok(vec![Receipt::Repeat]),
        "remembered anew"
    );
    let waiting = store.waiting(0, 10).await.expect("waiting");
    let waiting: Vec<_> = waiting.iter().map(|stored| stored.received.jti.as_str()).collect();
    assert_eq!(waiting, ["waits", "old"]);
}

/// A clock that was years ahead for a moment must not switch the replay guard off until then (SEM-18).
pub async fn forgetting_outlives_a_clock_that_was_ahead(store: Arc<dyn Store>) {
    let receive = async |jti: &str, at| store.receive(vec![set("i", jti, 7, at)]).await.expect("receive")[0];
    assert_eq!(receive("before", 10).await, Receipt::First);
    forget(&*store, seconds(1_000_000_000)).await;
    assert_eq!(receive("after", 20).await, Receipt::First);
    assert_eq!(receive("after", 21).await, Receipt::Repeat);
    // And for long: thousands of SETs from a time that is still to come.
    for call in 0..30 {
        let ahead = (0..100).map(|n| set("i", &format!("ahead {call} {n}"), 7, 8_000));
        store.receive(ahead.collect()).await.expect("receive");
    }
    assert_eq!(receive("behind", 30).await, Receipt::First);
    assert_eq!(receive("last", 50).await, Receipt::First);
    forget(&*store, seconds(40)).await;
    assert_eq!(receive("last", 51).await, Receipt::Repeat);
    assert_eq!(receive("ahead 7 7", 52).await, Receipt::Repeat, "its time is still to come");
    assert_eq!(receive("behind", 53).await, Receipt::First);
}

/// A place is not given twice, also when nothing is left that remembers it.
pub async fn places_go_on_after_everything_was_forgotten(store: Arc<dyn Store>) {
    let mut before = 0;
    for round in 0..3 {
        store.receive(vec![set("i", "1", 7, 10 + round)]).await.expect("receive");
        let place = store.waiting(0, 1).await.expect("waiting")[0].place;
        assert!(place > before, "{place} after {before}");
        before = place;
        store.handled(vec![place]).await.expect("handled");
        forget(&*store, seconds(11 + round)).await;
    }
}

/// The hand-over from commit to send: each delivery once, in the order of its queue, before the caller knows.
pub async fn the_observer_sees_each_delivery_once_in_order(store: Arc<dyn Store>) {
    record(&*store, vec![event(1, &[A])]).await;
    let observer = Seen::watching(&*store);
    let first = store.record(vec![event(2, &[A, B]), event(3, &[]), event(4, &[B])]);
    let second = store.record(vec![NewEvent { owed: vec![owed(A, Queue::Control, 9)], ..event(5, &[]) }]);
    let (first, second) = both(first, second).await;
    let mut places = vec![];
    for recorded in first.expect("record").into_iter().chain(second.expect("record")) {
        let Recorded::New { sequence, .. } = recorded else { unreachable!("{recorded:?}") };
        places.push(sequence);
    }
    let seen: Vec<_> = observer.take().into_iter().map(|(d, _)| (d.sequence, d.stream, d.queue)).collect();
    let mut expected = vec![
        (places[0], A, Queue::Regular),
        (places[0], B, Queue::Regular),
        (places[2], B, Queue::Regular),
        (places[3], A, Queue::Control),
    ];
    expected.sort_by_key(|(sequence, ..)| *sequence);
    assert_eq!(seen, expected);
}

/// By the link to the one before, an observer knows whether it has missed one (SEM-12).
pub async fn the_observer_is_told_what_came_before(store: Arc<dyn Store>) {
    let observer = Seen::watching(&*store);
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A]), event(1, &[B]), control, event(1, &[A, B])]).await;
    settle(&*store, A, places[3], Verdict::Acked).await;
    record(&*store, vec![event(1, &[A])]).await;
    let mut last = std::collections::HashMap::new();
    for (delivery, before) in observer.take() {
        let expected = last.insert((delivery.stream, delivery.queue), delivery.sequence);
        // A writer that does not know says nothing. It must know of what it has told itself.
        assert!(before == expected || expected.is_none(), "{delivery:?}: {before:?}, not {expected:?}");
    }
    assert_eq!(last.len(), 3);
}

/// What is not stored is not announced.
pub async fn the_observer_sees_no_repeats(store: Arc<dyn Store>) {
    let observer = Seen::watching(&*store);
    record(&*store, vec![named("k", 7, event(1, &[A]))]).await;
    assert_eq!(observer.take().len(), 1);
    store.record(vec![named("k", 7, event(1, &[A])), event(1, &[])]).await.expect("record");
    store.record(vec![named("k", 8, event(1, &[A])), event(1, &[A])]).await.expect("record");
    assert_eq!(observer.take(), []);
}

/// The announcement and the page say the same, so that either may be used (SEM-12).
pub async fn what_the_observer_saw_can_be_paged(store: Arc<dyn Store>) {
    let observer = Seen::watching(&*store);
    let event = NewEvent {
        accepted_at: Timestamp::from_micros(1_234_567),
        lanes: [3, 4].into(),
        owed: vec![owed(A, Queue::Regular, 5)],
        ..event(1, &[])
    };
    record(&*store, vec![event.clone(), event]).await;
    let seen: Vec<Delivery> = observer.take().into_iter().map(|(delivery, _)| delivery).collect();
    assert_eq!(store.page(A, Queue::Regular, START, 10).await, Ok(Page { deliveries: seen, more: false }));
}

/// A caller that gives up waiting leaves no call half done: those behind it find it carried out.
pub async fn a_call_that_nobody_waits_for_is_carried_out(store: Arc<dyn Store>) {
    let mut call = store.record(vec![named("k", 7, event(1, &[A]))]);
    // It is under way from the first poll at the latest.
    let _ = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    drop(call);
    let again = store.record(vec![named("k", 7, event(1, &[A]))]).await.expect("record");
    assert!(matches!(again[..], [Recorded::Repeated { .. }]), "{again:?}");
}

// What the rules above are told with.

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn owed(stream: StreamNumber, queue: Queue, rendering: u32) -> Owed {
    Owed { stream, queue, rendering: Rendering(rendering) }
}

fn event(at: i64, streams: &[StreamNumber]) -> NewEvent {
    NewEvent {
        accepted_at: seconds(at),
        body: Bytes::from_static(br#""txn":"t","sub_id":{"format":"opaque","id":"s"},"events":{"urn:e":{}}"#),
        lanes: [1, 2].into(),
        idempotency: None,
        owed: streams.iter().map(|stream| owed(*stream, Queue::Regular, 0)).collect(),
        dropped: Vec::new(),
    }
}

fn named(key: &str, digest: u8, event: NewEvent) -> NewEvent {
    let (scope, key) = ("client issuer".to_owned(), key.to_owned());
    NewEvent { idempotency: Some(Idempotency { scope, key, digest: [digest; 32] }), ..event }
}

fn set(iss: &str, jti: &str, digest: u8, at: i64) -> Received {
    Received {
        source: "partner".to_owned(),
        iss: iss.to_owned(),
        jti: jti.to_owned(),
        digest: [digest; 32],
        token: Bytes::from_static(b"h.p.s"),
        at: seconds(at),
    }
}

async fn record(store: &dyn Store, events: Vec<NewEvent>) -> Vec<Sequence> {
    let recorded = store.record(events).await.expect("record");
    let new = recorded.into_iter().map(|recorded| match recorded {
        Recorded::New { sequence, .. } => sequence,
        other => unreachable!("not new: {other:?}"),
    });
    new.collect()
}

fn settlement(stream: StreamNumber, sequence: Sequence, verdict: Verdict) -> Settlement {
    Settlement { sequence, stream, queue: Queue::Regular, at: seconds(500), verdict }
}

async fn settle(store: &dyn Store, stream: StreamNumber, sequence: Sequence, verdict: Verdict) {
    store.settle(vec![settlement(stream, sequence, verdict)]).await.expect("settle");
}

/// The places of all regular deliveries that a stream is owed.
async fn pending(store: &dyn Store, stream: StreamNumber) -> Vec<Sequence> {
    let page = store.page(stream, Queue::Regular, START, 100_000).await.expect("page");
    assert!(!page.more);
    page.deliveries.iter().map(|delivery| delivery.sequence).collect()
}

/// Everything that is left of a stream's history.
async fn history(store: &dyn Store, stream: StreamNumber) -> Vec<Past> {
    let (mut after, mut found) = (START, Vec::new());
    for _ in 0..1_000 {
        let part = store.history(stream, after, 3_000).await.expect("history");
        found.extend(part.events);
        let Some(next) = part.next else { return found };
        assert!(next > after, "it goes on from {after:?} to {next:?}");
        after = next;
    }
    unreachable!("the history does not end")
}

async fn backlog(store: &dyn Store, stream: StreamNumber) -> Backlog {
    store.backlog(stream).await.expect("backlog")
}

fn signed(detached: &str) -> Signed {
    Signed(Bytes::copy_from_slice(detached.as_bytes()))
}

fn regular(stream: StreamNumber, sequence: Sequence) -> Place {
    Place { stream, queue: Queue::Regular, sequence }
}

fn again_of(stream: StreamNumber, sequence: Sequence) -> Place {
    Place { stream, queue: Queue::Again, sequence }
}

async fn settle_at(store: &dyn Store, place: Place, verdict: Verdict) {
    let Place { stream, queue, sequence } = place;
    let settlement = Settlement { sequence, stream, queue, at: seconds(500), verdict };
    store.settle(vec![settlement]).await.expect("settle");
}

/// Has receivers refuse deliveries for good.
async fn kill(store: &dyn Store, places: &[Place]) {
    for place in places {
        settle_at(store, *place, Verdict::Rejected("no".to_owned())).await;
        assert!(store.dead_at(*place).await.expect("dead").is_some(), "{place:?}");
    }
}

fn keep(from: Timestamp) -> Keep {
    Keep { history: from, dead: Timestamp::from_micros(i64::MIN) }
}

fn only(found: Result<Vec<Delivery>, StoreError>) -> Delivery {
    let found = found.expect("deliveries");
    assert_eq!(found.len(), 1, "it is pending, once");
    found.into_iter().next().expect("there is one")
}

async fn owing_to(store: &dyn Store) -> Vec<StreamNumber> {
    store.owing().await.expect("owing").into_iter().map(|owing| owing.stream).collect()
}

/// Trims until nothing is left to do, and counts the steps.
async fn trim(store: &dyn Store, before: Timestamp) -> usize {
    for step in 1..10_000 {
        if !store.trim(keep(before)).await.expect("trim") {
            return step;
        }
    }
    unreachable!("trimming does not end")
}

async fn forget(store: &dyn Store, before: Timestamp) {
    for _ in 0..10_000 {
        if !store.forget(before).await.expect("forget") {
            return;
        }
    }
    unreachable!("forgetting does not end")
}

/// Runs two calls at once. Their futures need not be told about each other.
async fn both<T>(one: impl Future<Output = T>, two: impl Future<Output = T>) -> (T, T) {
    let (mut one, mut two) = (pin!(one), pin!(two));
    let (mut first, mut second) = (None, None);
    poll_fn(move |context| {
        if first.is_none()
            && let Poll::Ready(answer) = one.as_mut().poll(context)
        {
            first = Some(answer);
        }
        if second.is_none()
            && let Poll::Ready(answer) = two.as_mut().poll(context)
        {
            second = Some(answer);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            unfinished => {
                (first, second) = unfinished;
                Poll::Pending
            }
        }
    })
    .await
}

/// An observer that remembers what it is told.
#[derive(Default)]
struct Seen(Mutex<Vec<(Delivery, Option<Sequence>)>>);

impl Seen {
    fn watching(store: &dyn Store) -> Arc<Self> {
        let seen = Arc::new(Self::default());
        store.observe(seen.clone());
        seen
    }

    fn take(&self) -> Vec<(Delivery, Option<Sequence>)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CommitObserver for Seen {
    fn committed(&self, deliveries: Vec<(Delivery, Option<Sequence>)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(deliveries);
    }
}
