//! The store for tests, simulations and experiments: everything in maps, nothing on disk.

mod subjects;

use crate::write::{Links, Write, Written};
use crate::{
    Attempt, Audit, Backlog, BoxFuture, Cause, Change, ChangeFilter, CommitFigures, CommitObserver, Dead,
    Delivery, DeliveryOutcome, Document, Documents, DropReason, Ended, Ending, Entered, Epoch, Erase, Erased,
    History, Idempotency, Inbox, Keep, Kept, NewEvent, Outbox, Outcomes, Owing, PAGE_BYTES_MAX, Page, Past,
    Place, Queue, Receipt, Received, Recorded, Records, Recovery, Rendering, Sequence, Settlement, Signed,
    StoreError, Stored, StreamNumber, SubjectEntry, SubjectFingerprint, Texts, Traces, UnsettledDelivery,
    Verdict, Version,
};
use bytes::Bytes;
use secevent::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps everything in memory, and otherwise all the rules of the ports.
///
/// It is deterministic: no thread, no clock, no randomness. A call is carried out when it is made; its future
/// is ready at once. Nothing of it survives the process, so that "durable" means "as long as this lives":
/// [`MemoryStore::restarted`] is what a simulated crash leaves.
///
/// ```
/// use secevent_store::{Documents, Epoch, MemoryStore, Version};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new(Epoch(1));
/// let version = store.put("stream/a", Version::default(), Some("{}".into())).await.unwrap();
/// assert_eq!(store.get("stream/a").await.unwrap().unwrap().version, version);
/// # });
/// ```
#[derive(Default)]
pub struct MemoryStore {
    /// Held from a change to its announcement, so that the observer sees changes in their order.
    writer: Mutex<Announcer>,
    /// What an observer may read while it is being told.
    state: Mutex<State>,
}

#[derive(Default)]
struct Announcer {
    links: Links,
    observer: Option<Arc<dyn CommitObserver>>,
}

impl MemoryStore {
    /// An empty store whose writer draws this epoch.
    pub fn new(epoch: Epoch) -> Self {
        let state = State { epoch, ..State::default() };
        Self { writer: Mutex::default(), state: Mutex::new(state) }
    }

    /// The store as the next process finds it, whose writer draws this epoch. This one is left as it is.
    #[must_use]
    pub fn restarted(&self, epoch: Epoch) -> Self {
        let state = State { epoch, ..self.state().clone() };
        Self { writer: Mutex::default(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn write<T: Send + 'static>(
        &self,
        write: Write,
        read: fn(Written) -> T,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        Box::pin(ready(self.apply(write).map(read)))
    }

    fn apply(&self, write: Write) -> Result<Written, StoreError> {
        let mut announcer = lock(&self.writer);
        let writes = [write];
        let answers = [self.state().apply(&writes[0])];
        let deliveries = announcer.links.follow(&writes, &answers);
        if let Some(observer) = &announcer.observer
            && !deliveries.is_empty()
        {
            observer.committed(deliveries);
        }
        let [answer] = answers;
        answer
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStore")
            .field("epoch", &state.epoch)
            .field("events", &state.events.len())
            .field("deliveries", &state.deliveries.len())
            .finish_non_exhaustive()
    }
}

impl Outbox for MemoryStore {
    fn record(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Recorded>, StoreError>> {
        self.write(Write::Record(events), Written::recorded)
    }

    fn page(
        &self,
        stream: StreamNumber,
        queue: Queue,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(ready(Ok(self.state().page(stream, queue, after, limit))))
    }

    fn deliveries(
        &self,
        stream: StreamNumber,
        sequence: Sequence,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        let state = self.state();
        let found = Queue::ALL.map(|queue| state.delivery(Place { stream, queue, sequence }));
        Box::pin(ready(Ok(found.into_iter().flatten().collect())))
    }

    fn unsettled(
        &self,
        stream: StreamNumber,
        sequences: Vec<Sequence>,
    ) -> BoxFuture<'_, Result<Vec<UnsettledDelivery>, StoreError>> {
        let state = self.state();
        let places = sequences
            .into_iter()
            .flat_map(|sequence| Queue::ALL.map(|queue| Place { stream, queue, sequence }));
        let unsettled = places.filter_map(|place| {
            let Delivery { epoch, generation, body, .. } = state.delivery(place)?;
            Some(UnsettledDelivery { place, epoch, generation, body_bytes: body.len() })
        });
        let unsettled = unsettled.collect();
        Box::pin(ready(Ok(unsettled)))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Settle(settlements), Written::done)
    }

    fn drop_stream(
        &self,
        stream: StreamNumber,
        reason: DropReason,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::DropStream { stream, reason, at }, |written| written.dropped().0)
    }

    fn backlog(&self, stream: StreamNumber) -> BoxFuture<'_, Result<Backlog, StoreError>> {
        Box::pin(ready(Ok(self.state().backlog(stream))))
    }

    fn owing(&self) -> BoxFuture<'_, Result<Vec<Owing>, StoreError>> {
        let state = self.state();
        let mut owing: Vec<Owing> = Vec::new();
        for place in state.deliveries.keys() {
            let bytes = state.bytes_of(place);
            match owing.last_mut() {
                Some(last) if last.stream == place.stream => {
                    last.pending += 1;
                    last.bytes += bytes;
                }
                _ => owing.push(Owing { stream: place.stream, pending: 1, bytes }),
            }
        }
        Box::pin(ready(Ok(owing)))
    }

    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::Trim(keep), Written::more)
    }

    fn figures(&self) -> CommitFigures {
        self.state().figures
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        lock(&self.writer).observer = Some(observer);
    }
}

impl Recovery for MemoryStore {
    fn dead(
        &self,
        stream: Option<StreamNumber>,
        after: Option<Place>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        let state = self.state();
        let wanted = |place: &Place| {
            stream.is_none_or(|stream| stream == place.stream) && after.is_none_or(|after| *place > after)
        };
        let places = state.dead.keys().filter(|place| wanted(place)).take(limit);
        Box::pin(ready(Ok(places.filter_map(|place| state.dead_at(*place)).collect())))
    }

    fn dead_control(
        &self,
        stream: StreamNumber,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        let state = self.state();
        let from = |sequence| Place { stream, queue: Queue::Control, sequence };
        let places = state.dead.range(from(Sequence(0))..=from(Sequence(u64::MAX))).take(limit);
        Box::pin(ready(Ok(places.filter_map(|(place, _)| state.dead_at(*place)).collect())))
    }

    fn dead_at(&self, place: Place) -> BoxFuture<'_, Result<Option<Dead>, StoreError>> {
        Box::pin(ready(Ok(self.state().dead_at(place))))
    }

    fn redrive(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::Redrive(places), Written::count)
    }

    fn discard(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::Discard(places), Written::count)
    }

    fn history(
        &self,
        stream: StreamNumber,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<History, StoreError>> {
        Box::pin(ready(Ok(self.state().history(stream, after, limit))))
    }

    fn replay(
        &self,
        stream: StreamNumber,
        events: Vec<Sequence>,
        generation: u16,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::Replay { stream, events, generation }, Written::count)
    }
}

impl Outcomes for MemoryStore {
    fn outcomes(&self, sequence: Sequence) -> BoxFuture<'_, Result<Vec<DeliveryOutcome>, StoreError>> {
        Box::pin(ready(Ok(self.state().outcomes(sequence))))
    }
}

impl Inbox for MemoryStore {
    fn receive(&self, sets: Vec<Received>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        self.write(Write::Receive(sets), Written::receipts)
    }

    fn waiting(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        let state = self.state();
        let behind = state.inbox.range(after.saturating_add(1)..).take(limit);
        let waiting = behind.map(|(place, (received, attempts))| Stored {
            place: *place,
            received: received.clone(),
            attempts: *attempts,
        });
        Box::pin(ready(Ok(waiting.collect())))
    }

    fn handled(&self, places: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Handled(places), Written::done)
    }

    fn failed(&self, place: u64, dead: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Failed { place, dead }, Written::done)
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::Forget(before), Written::more)
    }
}

impl Documents for MemoryStore {
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        let document = self.state().documents.get_key_value(name).map(document);
        Box::pin(ready(Ok(document)))
    }

    fn list(
        &self,
        beginning: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        let state = self.state();
        let from = after.filter(|after| *after > beginning).unwrap_or(beginning);
        let documents = state
            .documents
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .take_while(|(name, _)| name.starts_with(beginning));
        Box::pin(ready(Ok(documents.take(limit).map(document).collect())))
    }

    fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<Version, StoreError>> {
        let change = change.map(Box::new);
        self.write(Write::Put { name: name.to_owned(), expected, body, change }, Written::version)
    }

    fn new_stream_number(&self) -> BoxFuture<'_, Result<StreamNumber, StoreError>> {
        self.write(Write::NewStreamNumber, Written::stream_number)
    }
}

impl Audit for MemoryStore {
    fn enter(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Enter(changes), Written::done)
    }

    fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entered>, StoreError>> {
        let state = self.state();
        let older = state.changes.range(..before.unwrap_or(u64::MAX)).rev();
        let wanted = older.filter(|(_, change)| filter.wants(change)).take(limit);
        let entered = wanted.map(|(place, change)| Entered { place: *place, change: change.clone() });
        Box::pin(ready(Ok(entered.collect())))
    }

    fn forget_changes(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::ForgetChanges(before), Written::more)
    }
}

impl Records for MemoryStore {
    fn event(&self, sequence: Sequence) -> BoxFuture<'_, Result<Option<Kept>, StoreError>> {
        Box::pin(ready(Ok(self.state().kept(sequence))))
    }

    fn events(&self, after: Sequence, limit: usize) -> BoxFuture<'_, Result<Vec<Kept>, StoreError>> {
        let state = self.state();
        let behind = state.events.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        Box::pin(ready(Ok(behind.filter_map(|(sequence, _)| state.kept(*sequence)).collect())))
    }

    fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'_, Result<Erased, StoreError>> {
        self.write(Write::Erase(erase), Written::erased)
    }

    /// Nothing of it is in a file.
    fn clear_traces(&self, _: Texts, rewrite: bool) -> BoxFuture<'_, Result<Traces, StoreError>> {
        self.write(Write::ClearTraces { rewrite }, |_| Traces::default())
    }
}

#[derive(Clone, Default)]
struct State {
    epoch: Epoch,
    last_sequence: u64,
    events: BTreeMap<Sequence, Event>,
    deliveries: BTreeMap<Place, Unsettled>,
    dead: BTreeMap<Place, DeadDelivery>,
    tallies: HashMap<StreamNumber, Tally>,
    names: HashMap<(String, String), FirstOfName>,
    last_place: u64,
    inbox: BTreeMap<u64, (Received, u32)>,
    inbox_dead: BTreeMap<u64, Received>,
    seen: HashMap<(String, String), Seen>,
    last_stream: u32,
    last_version: u64,
    documents: BTreeMap<String, (Version, Bytes)>,
    subjects: BTreeMap<(StreamNumber, SubjectFingerprint), SubjectEntry>,
    changes: BTreeMap<u64, Change>,
    last_change: u64,
    figures: CommitFigures,
}

#[derive(Clone)]
struct Event {
    epoch: Epoch,
    accepted_at: Timestamp,
    body: Bytes,
    lanes: Arc<[u64]>,
    /// How many deliveries still need the body: those that are owed, and the dead.
    needed: usize,
    /// To which streams it was owed in their regular queues, and how it was rendered.
    owed: BTreeMap<StreamNumber, Rendering>,
    outcomes: BTreeMap<StreamNumber, Outcome>,
}

/// What became of the deliveries of an event to a stream that have ended.
#[derive(Clone, Default)]
struct Outcome {
    ended: Option<Ended>,
    attempts: u32,
    last_attempts: Vec<Attempt>,
}

#[derive(Clone)]
struct Unsettled {
    rendering: Rendering,
    generation: u16,
    attempts: u32,
    due_at: Timestamp,
    signed: Option<Signed>,
    /// The last of the attempts that failed.
    last_attempts: Vec<Attempt>,
}

#[derive(Clone)]
struct DeadDelivery {
    delivery: Unsettled,
    cause: Cause,
    reason: String,
    at: Timestamp,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    rejected: u64,
    abandoned: u64,
    dropped: u64,
}

#[derive(Clone)]
struct FirstOfName {
    digest: [u8; 32],
    accepted_at: Timestamp,
    epoch: Epoch,
    sequence: Sequence,
    deliveries: u32,
}

#[derive(Clone)]
struct Seen {
    digest: [u8; 32],
    at: Timestamp,
}

impl State {
    /// Rows that one step of clearing removes, so that the caller learns to ask again.
    const STEP: usize = 500;

    fn apply(&mut self, write: &Write) -> Result<Written, StoreError> {
        self.figures.groups += 1;
        self.figures.calls += 1;
        Ok(match write {
            Write::Record(events) => Written::Recorded(self.record(events)),
            Write::Settle(settlements) => {
                settlements.iter().for_each(|settlement| self.settle(settlement));
                Written::Done
            }
            Write::DropStream { stream, reason, at } => {
                let ended = Ended { how: Ending::Dropped(*reason), at: *at };
                Written::Dropped { deliveries: self.drop_stream(*stream, ended), more: false }
            }
            Write::Put { name, expected, body, change } => {
                let version = self.put(name, *expected, body.as_ref())?;
                change.iter().for_each(|change| self.enter(change));
                Written::Put(version)
            }
            Write::NewStreamNumber => {
                self.last_stream += 1;
                Written::StreamNumber(StreamNumber(self.last_stream))
            }
            Write::Receive(sets) => Written::Received(sets.iter().map(|set| self.receive(set)).collect()),
            Write::Handled(places) => {
                places.iter().for_each(|place| drop(self.inbox.remove(place)));
                Written::Done
            }
            Write::Failed { place, dead } => {
                self.failed(*place, *dead);
                Written::Done
            }
            Write::Trim(keep) => Written::Cleared { more: self.trim(*keep) },
            Write::Redrive(places) => Written::Count(count(places, |place| self.redrive(*place))),
            Write::Discard(places) => Written::Count(count(places, |place| self.discard(*place))),
            Write::Replay { stream, events, generation } => {
                Written::Count(count(events, |event| self.replay(*stream, *event, *generation)))
            }
            Write::PutSubjects { stream, entries } => {
                let entry = |entry: &SubjectEntry| ((*stream, entry.fingerprint), entry.clone());
                self.subjects.extend(entries.iter().map(entry));
                Written::Done
            }
            Write::ForgetSubjects { stream, fingerprints } => {
                Written::Count(fingerprints.iter().map(|one| self.forget_subject(*stream, *one)).sum())
            }
            Write::DropSubjects(stream) => Written::Cleared { more: self.drop_some_subjects(*stream) },
            Write::Forget(before) => {
                let old = |seen: &Seen| seen.at < *before;
                Written::Cleared { more: remove_some(&mut self.seen, old) }
            }
            Write::Enter(changes) => {
                changes.iter().for_each(|change| self.enter(change));
                Written::Done
            }
            Write::ForgetChanges(before) => {
                let old = self.changes.iter().filter(|(_, change)| change.at < *before);
                let old: Vec<u64> = old.map(|(place, _)| *place).take(Self::STEP).collect();
                old.iter().for_each(|place| drop(self.changes.remove(place)));
                Written::Cleared { more: old.len() == Self::STEP }
            }
            Write::Erase(erase) => {
                Written::Erased(erase.iter().fold(Erased::default(), |sum, one| sum.and(self.erase(one))))
            }
            Write::ClearTraces { .. } => Written::Cleared { more: false },
        })
    }

    fn record(&mut self, events: &[NewEvent]) -> Vec<Recorded> {
        let mut names: HashMap<(&str, &str), [u8; 32]> = HashMap::new();
        for name in events.iter().filter_map(|event| event.idempotency.as_ref()) {
            let before = self.names.get(&owned(name)).map(|first| first.digest);
            let before = before.or_else(|| names.insert((&name.scope, &name.key), name.digest));
            if before.is_some_and(|digest| digest != name.digest) {
                return vec![Recorded::Different; events.len()];
            }
        }
        events.iter().map(|event| self.record_one(event)).collect()
    }

    fn record_one(&mut self, event: &NewEvent) -> Recorded {
        let name = event.idempotency.as_ref();
        if let Some(first) = name.and_then(|name| self.names.get(&owned(name))) {
            let FirstOfName { epoch, sequence, deliveries, .. } = *first;
            return Recorded::Repeated { epoch, sequence, deliveries };
        }
        self.last_sequence += 1;
        let (epoch, sequence) = (self.epoch, Sequence(self.last_sequence));
        let before = self.deliveries.len();
        let (mut owed_regularly, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
        for owed in &event.owed {
            let place = Place { stream: owed.stream, queue: owed.queue, sequence };
            // A queue that is named twice is owed once.
            let unsettled = Unsettled::new(owed.rendering, 0, event.accepted_at);
            self.deliveries.entry(place).or_insert(unsettled);
            outcomes.insert(owed.stream, Outcome::default());
            if owed.queue == Queue::Regular {
                owed_regularly.entry(owed.stream).or_insert(owed.rendering);
            }
        }
        for stream in &event.dropped {
            self.tallies.entry(*stream).or_default().dropped += 1;
            let ended = Ended { how: Ending::Dropped(DropReason::Full), at: event.accepted_at };
            outcomes.insert(*stream, Outcome { ended: Some(ended), ..Outcome::default() });
        }
        let needed = self.deliveries.len() - before;
        if let Some(name) = name {
            let deliveries = u32::try_from(needed).unwrap_or(u32::MAX);
            let first = FirstOfName {
                digest: name.digest,
                accepted_at: event.accepted_at,
                epoch,
                sequence,
                deliveries,
            };
            self.names.insert(owned(name), first);
        }
        let (body, lanes) = (event.body.clone(), event.lanes.clone());
        let (accepted_at, owed) = (event.accepted_at, owed_regularly);
        self.events.insert(sequence, Event { epoch, accepted_at, body, lanes, needed, owed, outcomes });
        Recorded::New { epoch, sequence }
    }

    fn settle(&mut self, settlement: &Settlement) {
        let place = settlement.place();
        if let Verdict::Retry { at, attempts, signed } = &settlement.verdict {
            if let Some(unsettled) = self.deliveries.get_mut(&place) {
                unsettled.due_at = *at;
                unsettled.attempts = *attempts;
                if signed.is_some() {
                    unsettled.signed.clone_from(signed);
                }
                keep_last(&mut unsettled.last_attempts, settlement.attempt.as_slice());
            }
            return;
        }
        let how = match &settlement.verdict {
            Verdict::Rejected(_) => Ending::Rejected,
            Verdict::Abandoned(_) => Ending::Abandoned,
            Verdict::Dropped(reason) => Ending::Dropped(*reason),
            Verdict::Acked | Verdict::Retry { .. } => Ending::Acked,
        };
        let ended = Ended { how, at: settlement.at };
        let Some(mut delivery) = self.deliveries.remove(&place) else {
            if matches!(how, Ending::Dropped(_)) && self.discard(place) {
                self.end(place, ended, 0, &[]);
            }
            return;
        };
        let once_more = delivery.attempts.saturating_add(u32::from(settlement.attempt.is_some()));
        delivery.attempts = settlement.attempts.unwrap_or(once_more);
        keep_last(&mut delivery.last_attempts, settlement.attempt.as_slice());
        self.end(place, ended, delivery.attempts, &delivery.last_attempts);
        let (cause, reason) = match &settlement.verdict {
            Verdict::Rejected(reason) => (Cause::Rejected, reason.clone()),
            Verdict::Abandoned(reason) => (Cause::Abandoned, reason.clone()),
            Verdict::Dropped(_) => {
                self.tallies.entry(settlement.stream).or_default().dropped += 1;
                return self.release(settlement.sequence);
            }
            Verdict::Acked | Verdict::Retry { .. } => {
                self.release(settlement.sequence);
                if place.queue == Queue::Again {
                    for queue in Queue::ALL {
                        self.discard(Place { queue, ..place });
                    }
                }
                return;
            }
        };
        let tally = self.tallies.entry(settlement.stream).or_default();
        match cause {
            Cause::Rejected => tally.rejected += 1,
            Cause::Abandoned => tally.abandoned += 1,
        }
        let dead = DeadDelivery { delivery, cause, reason, at: settlement.at };
        let was_regular =
            self.events.get(&place.sequence).is_some_and(|event| event.owed.contains_key(&place.stream));
        let queue = if place.queue == Queue::Again && !was_regular { Queue::Control } else { place.queue };
        if self.dead.insert(Place { queue, ..place }, dead).is_some() {
            self.release(settlement.sequence);
        }
    }

    /// Notes how a delivery ended that was attempted so often.
    fn end(&mut self, place: Place, ended: Ended, attempts: u32, last_attempts: &[Attempt]) {
        let Some(event) = self.events.get_mut(&place.sequence) else { return };
        let outcome = event.outcomes.entry(place.stream).or_default();
        outcome.ended = Some(ended);
        outcome.attempts = outcome.attempts.saturating_add(attempts);
        keep_last(&mut outcome.last_attempts, last_attempts);
    }

    fn outcomes(&self, sequence: Sequence) -> Vec<DeliveryOutcome> {
        let Some(event) = self.events.get(&sequence) else { return Vec::new() };
        let outcome = |(stream, outcome): (&StreamNumber, &Outcome)| {
            let Outcome { ended, mut attempts, mut last_attempts } = outcome.clone();
            for queue in Queue::ALL {
                let place = Place { stream: *stream, queue, sequence };
                if let Some(pending) = self.deliveries.get(&place) {
                    attempts = attempts.saturating_add(pending.attempts);
                    keep_last(&mut last_attempts, &pending.last_attempts);
                }
            }
            DeliveryOutcome { stream: *stream, ended, attempts, last_attempts }
        };
        event.outcomes.iter().map(outcome).collect()
    }

    fn redrive(&mut self, place: Place) -> bool {
        let again = Place { queue: Queue::Again, ..place };
        if self.deliveries.contains_key(&again) {
            return false;
        }
        let Some(dead) = self.dead.remove(&place) else { return false };
        let due_at = self.events.get(&place.sequence).map_or(dead.at, |event| event.accepted_at);
        let unsettled = Unsettled::new(dead.delivery.rendering, dead.delivery.generation, due_at);
        self.deliveries.insert(again, unsettled);
        true
    }

    fn discard(&mut self, place: Place) -> bool {
        let found = self.dead.remove(&place).is_some();
        if found {
            self.release(place.sequence);
        }
        found
    }

    fn replay(&mut self, stream: StreamNumber, sequence: Sequence, generation: u16) -> bool {
        let pending = Queue::ALL
            .iter()
            .any(|queue| self.deliveries.contains_key(&Place { stream, queue: *queue, sequence }));
        let Some(event) = self.events.get_mut(&sequence).filter(|_| !pending) else { return false };
        let Some(rendering) = event.owed.get(&stream) else { return false };
        let unsettled = Unsettled::new(*rendering, generation, event.accepted_at);
        event.needed += 1;
        self.deliveries.insert(Place { stream, queue: Queue::Again, sequence }, unsettled);
        true
    }

    fn history(&self, stream: StreamNumber, after: Sequence, limit: usize) -> History {
        let behind = self.events.range(Sequence(after.0.saturating_add(1))..);
        let past = |(sequence, event): (&Sequence, &Event)| {
            let rendering = *event.owed.get(&stream)?;
            let (epoch, accepted_at, lanes) = (event.epoch, event.accepted_at, event.lanes.clone());
            Some(Past { epoch, sequence: *sequence, rendering, accepted_at, lanes })
        };
        let events: Vec<Past> = behind.filter_map(past).take(limit).collect();
        let last = events.last().map_or(after, |last| last.sequence);
        let next = (events.len() == limit).then_some(last);
        History { events, next }
    }

    fn kept(&self, sequence: Sequence) -> Option<Kept> {
        let event = self.events.get(&sequence)?;
        let mut names = self.names.iter().filter(|(_, first)| first.sequence == sequence);
        Some(Kept {
            epoch: event.epoch,
            sequence,
            accepted_at: event.accepted_at,
            body: event.body.clone(),
            lanes: event.lanes.clone(),
            name: names.next().map(|((_, key), _)| key.clone()),
            owed: event.owed.iter().map(|(stream, rendering)| (*stream, *rendering)).collect(),
        })
    }

    fn erase(&mut self, erase: &Erase) -> Erased {
        let mut erased = Erased::default();
        match erase {
            Erase::Event { sequence, streams, at } => {
                for (stream, queue) in streams.iter().flat_map(|one| Queue::ALL.map(|queue| (*one, queue))) {
                    let place = Place { stream, queue, sequence: *sequence };
                    if let Some(pending) = self.deliveries.remove(&place) {
                        self.release(*sequence);
                        let ended = Ended { how: Ending::Dropped(DropReason::Erased), at: *at };
                        self.end(place, ended, pending.attempts, &pending.last_attempts);
                        self.tallies.entry(stream).or_default().dropped += 1;
                        erased.dropped += 1;
                    }
                    erased.dead += u64::from(self.discard(place));
                }
                self.names.retain(|_, first| first.sequence != *sequence);
                if let Some(event) = self.events.get_mut(sequence) {
                    erased.events += u64::from(!event.body.is_empty());
                    event.body = Bytes::new();
                    event.lanes = [].into();
                    event.owed.clear();
                }
            }
            Erase::Name(sequence) => {
                let before = self.names.len();
                self.names.retain(|_, first| first.sequence != *sequence);
                erased.names += u64::from(self.names.len() < before);
            }
            Erase::Reason { place, becomes } => {
                if let Some(dead) = self.dead.get_mut(place) {
                    dead.reason.clone_from(becomes);
                    erased.reasons += 1;
                }
            }
            Erase::Change { place, object, before, after } => {
                if let Some(change) = self.changes.get_mut(place) {
                    change.object.clone_from(object);
                    change.before.clone_from(before);
                    change.after.clone_from(after);
                    erased.changes += 1;
                }
            }
        }
        erased
    }

    /// One delivery needs the body of this event no more.
    fn release(&mut self, sequence: Sequence) {
        if let Some(event) = self.events.get_mut(&sequence) {
            event.needed -= 1;
        }
    }

    fn drop_stream(&mut self, stream: StreamNumber, ended: Ended) -> u64 {
        let places: Vec<Place> = self.places_of(stream).map(|(place, _)| *place).collect();
        for place in &places {
            if let Some(pending) = self.deliveries.remove(place) {
                self.end(*place, ended, pending.attempts, &pending.last_attempts);
            }
            self.release(place.sequence);
        }
        let dropped = u64::try_from(places.len()).unwrap_or(u64::MAX);
        self.tallies.entry(stream).or_default().dropped += dropped;
        dropped
    }

    fn places_of(&self, stream: StreamNumber) -> impl Iterator<Item = (&Place, &Unsettled)> {
        let first = Place { stream, queue: Queue::Control, sequence: Sequence(0) };
        self.deliveries.range(first..).take_while(move |(place, _)| place.stream == stream)
    }

    fn trim(&mut self, keep: Keep) -> bool {
        let old = self.dead.iter().filter(|(_, dead)| dead.at < keep.dead).map(|(place, _)| *place);
        let old: Vec<Place> = old.take(Self::STEP).collect();
        for place in &old {
            self.discard(*place);
        }
        let before = keep.history;
        let names_left = remove_some(&mut self.names, |first| first.accepted_at < before);
        let idle = self.events.iter().filter(|(_, event)| event.needed == 0 && event.accepted_at < before);
        let idle: Vec<Sequence> = idle.map(|(sequence, _)| *sequence).take(Self::STEP).collect();
        for sequence in &idle {
            self.events.remove(sequence);
        }
        names_left || idle.len() == Self::STEP || old.len() == Self::STEP
    }

    fn enter(&mut self, change: &Change) {
        self.last_change += 1;
        self.changes.insert(self.last_change, change.clone());
    }

    fn put(&mut self, name: &str, expected: Version, body: Option<&Bytes>) -> Result<Version, StoreError> {
        let current = self.documents.get(name).map_or(Version::default(), |(version, _)| *version);
        if current != expected {
            return Err(StoreError::Conflict);
        }
        let Some(body) = body else {
            self.documents.remove(name);
            return Ok(Version::default());
        };
        // Versions count across all documents, so that one that was deleted and made again has a new one.
        self.last_version += 1;
        let version = Version(self.last_version);
        self.documents.insert(name.to_owned(), (version, body.clone()));
        Ok(version)
    }

    fn receive(&mut self, set: &Received) -> Receipt {
        let name = (set.iss.clone(), set.jti.clone());
        if let Some(seen) = self.seen.get(&name) {
            return if seen.digest == set.digest { Receipt::Repeat } else { Receipt::Changed };
        }
        self.seen.insert(name, Seen { digest: set.digest, at: set.at });
        self.last_place += 1;
        self.inbox.insert(self.last_place, (set.clone(), 0));
        Receipt::First
    }

    fn failed(&mut self, place: u64, dead: bool) {
        let Some((_, attempts)) = self.inbox.get_mut(&place) else { return };
        *attempts += 1;
        if dead && let Some((received, _)) = self.inbox.remove(&place) {
            self.inbox_dead.insert(place, received);
        }
    }

    fn page(&self, stream: StreamNumber, queue: Queue, after: Sequence, limit: usize) -> Page {
        let from = Place { stream, queue, sequence: Sequence(after.0.saturating_add(1)) };
        let last = Place { sequence: Sequence(u64::MAX), ..from };
        let mut page = Page::default();
        let mut bytes = 0;
        for place in self.deliveries.range(from..=last).map(|(place, _)| *place) {
            if page.deliveries.len() == limit || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            if let Some(delivery) = self.delivery(place) {
                bytes += delivery.body.len();
                page.deliveries.push(delivery);
            }
        }
        page
    }

    fn delivery(&self, place: Place) -> Option<Delivery> {
        Some(self.delivery_of(place, self.deliveries.get(&place)?))
    }

    fn dead_at(&self, place: Place) -> Option<Dead> {
        let dead = self.dead.get(&place)?;
        let delivery = self.delivery_of(place, &dead.delivery);
        Some(Dead { delivery, cause: dead.cause, reason: dead.reason.clone(), at: dead.at })
    }

    fn delivery_of(&self, place: Place, unsettled: &Unsettled) -> Delivery {
        let event = self.events.get(&place.sequence).expect("what is owed or dead keeps its event");
        Delivery {
            epoch: event.epoch,
            sequence: place.sequence,
            stream: place.stream,
            queue: place.queue,
            rendering: unsettled.rendering,
            accepted_at: event.accepted_at,
            body: event.body.clone(),
            lanes: event.lanes.clone(),
            generation: unsettled.generation,
            attempts: unsettled.attempts,
            due_at: unsettled.due_at,
            signed: unsettled.signed.clone(),
        }
    }

    fn bytes_of(&self, place: &Place) -> u64 {
        let length = self.events.get(&place.sequence).map_or(0, |event| event.body.len());
        u64::try_from(length).unwrap_or(u64::MAX)
    }

    fn backlog(&self, stream: StreamNumber) -> Backlog {
        let tally = self.tallies.get(&stream).copied().unwrap_or_default();
        let accepted = |place: &Place| self.events.get(&place.sequence).map(|event| event.accepted_at);
        let dead = self.dead.keys().filter(|place| place.stream == stream).count();
        Backlog {
            pending: u64::try_from(self.places_of(stream).count()).unwrap_or(u64::MAX),
            bytes: self.places_of(stream).map(|(place, _)| self.bytes_of(place)).sum(),
            oldest: self.places_of(stream).filter_map(|(place, _)| accepted(place)).min(),
            rejected: tally.rejected,
            abandoned: tally.abandoned,
            dropped: tally.dropped,
            dead: u64::try_from(dead).unwrap_or(u64::MAX),
        }
    }
}

impl Unsettled {
    fn new(rendering: Rendering, generation: u16, due_at: Timestamp) -> Self {
        Self { rendering, generation, attempts: 0, due_at, signed: None, last_attempts: Vec::new() }
    }
}

fn keep_last(attempts: &mut Vec<Attempt>, more: &[Attempt]) {
    attempts.extend_from_slice(more);
    attempts.drain(..attempts.len() - Attempt::last(attempts).len());
}

fn count<T>(items: &[T], mut done: impl FnMut(&T) -> bool) -> u64 {
    u64::try_from(items.iter().filter(|item| done(item)).count()).unwrap_or(u64::MAX)
}

fn owned(name: &Idempotency) -> (String, String) {
    (name.scope.clone(), name.key.clone())
}

fn document((name, (version, body)): (&String, &(Version, Bytes))) -> Document {
    Document { name: name.clone(), version: *version, body: body.clone() }
}

/// Removes at most a step's worth of what is `old`. Returns whether there may be more.
fn remove_some<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    old: impl Fn(&V) -> bool,
) -> bool {
    let keys = map.iter().filter(|(_, value)| old(value)).map(|(key, _)| key.clone());
    let keys: Vec<K> = keys.take(State::STEP).collect();
    for key in &keys {
        map.remove(key);
    }
    keys.len() == State::STEP
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
