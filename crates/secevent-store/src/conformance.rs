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

mod audit;
mod documents;
mod inbox;
mod names;
mod observer;
mod outbox;
mod outcomes;
mod records;
mod recovery;
mod subjects;
mod trimming;

pub use audit::*;
pub use documents::*;
pub use inbox::*;
pub use names::*;
pub use observer::*;
pub use outbox::*;
pub use outcomes::*;
pub use records::*;
pub use recovery::*;
pub use subjects::*;
pub use trimming::*;

use crate::{
    Attempt, AttemptResult, Backlog, Cause, Change, ChangeFilter, CommitObserver, Dead, Delivery,
    DeliveryOutcome, Document, DropReason, Ended, Ending, Erase, Erased, History, Idempotency, Keep, Kept,
    Listing, NewEvent, Owed, Owing, PAGE_BYTES_MAX, Page, Past, Place, Queue, Receipt, Received, Recorded,
    Rendering, Sequence, Settlement, Signed, Standing, Store, StoreError, StreamNumber, SubjectEntry,
    SubjectFingerprint, Texts, Verdict, Version,
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
            unsettled_deliveries_are_found_together,
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
            dead_control_events_are_found_together,
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
            a_subject_is_kept_once_and_as_it_was_said_last,
            subjects_are_listed_by_fingerprint_in_pages,
            forgotten_subjects_are_gone_and_counted,
            a_dropped_streams_subjects_are_gone,
            erased_subjects_are_gone_from_all_streams,
            subjects_are_put_whole_or_not_at_all,
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
            changes_are_told_newest_first,
            a_change_is_entered_with_its_document_or_not_at_all,
            changes_are_filtered,
            old_changes_are_forgotten_in_steps,
            how_a_delivery_ended_is_kept_with_its_event,
            the_last_attempts_are_kept,
            what_is_dropped_is_kept_with_its_reason,
            what_is_superseded_is_not_dead,
            a_repetition_that_was_delivered_ends_the_dead,
            outcomes_leave_with_their_event,
            events_are_looked_at_one_by_one,
            an_erased_event_is_nowhere,
            an_erased_name_may_be_given_again,
            what_was_said_is_erased,
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

// What the rules are told with.

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
    settlement_at(regular(stream, sequence), verdict)
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
    store.settle(vec![settlement_at(place, verdict)]).await.expect("settle");
}

fn settlement_at(place: Place, verdict: Verdict) -> Settlement {
    let Place { stream, queue, sequence } = place;
    Settlement { sequence, stream, queue, at: seconds(500), verdict, attempts: None, attempt: None }
}

async fn drop_stream(store: &dyn Store, stream: StreamNumber) -> Result<u64, StoreError> {
    store.drop_stream(stream, DropReason::Disabled, seconds(600)).await
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
