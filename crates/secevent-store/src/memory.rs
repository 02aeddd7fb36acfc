//! The store for tests, simulations and experiments: everything in maps, nothing on disk.

use crate::write::{Links, Write, Written};
use crate::{
    Backlog, BoxFuture, CommitObserver, Delivery, Document, Documents, Epoch, Idempotency, Inbox, NewEvent,
    Outbox, Page, Queue, Receipt, Received, Recorded, Rendering, Sequence, Settlement, StoreError, Stored,
    StreamNumber, Verdict, Version,
};
use bytes::Bytes;
use secevent::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

    fn delivery(
        &self,
        stream: StreamNumber,
        sequence: Sequence,
    ) -> BoxFuture<'_, Result<Option<Delivery>, StoreError>> {
        let state = self.state();
        let delivery = [Queue::Control, Queue::Regular]
            .into_iter()
            .find_map(|queue| state.delivery((stream, queue, sequence)));
        Box::pin(ready(Ok(delivery)))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Settle(settlements), Written::done)
    }

    fn drop_stream(&self, stream: StreamNumber) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::DropStream(stream), |written| written.dropped().0)
    }

    fn backlog(&self, stream: StreamNumber) -> BoxFuture<'_, Result<Backlog, StoreError>> {
        Box::pin(ready(Ok(self.state().backlog(stream))))
    }

    fn owing(&self) -> BoxFuture<'_, Result<Vec<StreamNumber>, StoreError>> {
        let streams: BTreeSet<_> = self.state().deliveries.keys().map(|(stream, ..)| *stream).collect();
        Box::pin(ready(Ok(streams.into_iter().collect())))
    }

    fn trim(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::Trim(before), Written::more)
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        lock(&self.writer).observer = Some(observer);
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

    fn put(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
    ) -> BoxFuture<'_, Result<Version, StoreError>> {
        self.write(Write::Put { name: name.to_owned(), expected, body }, Written::version)
    }

    fn new_stream_number(&self) -> BoxFuture<'_, Result<StreamNumber, StoreError>> {
        self.write(Write::NewStreamNumber, Written::stream_number)
    }
}

#[derive(Clone, Default)]
struct State {
    epoch: Epoch,
    last_sequence: u64,
    events: BTreeMap<Sequence, Event>,
    deliveries: BTreeMap<Place, Owing>,
    dead: BTreeMap<Place, Verdict>,
    tallies: HashMap<StreamNumber, Tally>,
    names: HashMap<(String, String), FirstOfName>,
    last_place: u64,
    inbox: BTreeMap<u64, (Received, u32)>,
    inbox_dead: BTreeMap<u64, Received>,
    seen: HashMap<(String, String), Seen>,
    last_stream: u32,
    last_version: u64,
    documents: BTreeMap<String, (Version, Bytes)>,
}

type Place = (StreamNumber, Queue, Sequence);

#[derive(Clone)]
struct Event {
    epoch: Epoch,
    accepted_at: Timestamp,
    body: Bytes,
    lanes: Arc<[u64]>,
    /// How many deliveries still need the body: those that are owed, and the dead.
    needed: usize,
}

#[derive(Clone)]
struct Owing {
    rendering: Rendering,
    attempts: u32,
    due_at: Timestamp,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    rejected: u64,
    abandoned: u64,
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
        Ok(match write {
            Write::Record(events) => Written::Recorded(self.record(events)),
            Write::Settle(settlements) => {
                settlements.iter().for_each(|settlement| self.settle(settlement));
                Written::Done
            }
            Write::DropStream(stream) => {
                Written::Dropped { deliveries: self.drop_stream(*stream), more: false }
            }
            Write::Put { name, expected, body } => Written::Put(self.put(name, *expected, body.as_ref())?),
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
            Write::Trim(before) => Written::Cleared { more: self.trim(*before) },
            Write::Forget(before) => {
                let old = |seen: &Seen| seen.at < *before;
                Written::Cleared { more: remove_some(&mut self.seen, old) }
            }
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
        for owed in &event.owed {
            let owing = Owing { rendering: owed.rendering, attempts: 0, due_at: event.accepted_at };
            self.deliveries.insert((owed.stream, owed.queue, sequence), owing);
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
        self.events.insert(sequence, Event { epoch, accepted_at: event.accepted_at, body, lanes, needed });
        Recorded::New { epoch, sequence }
    }

    fn settle(&mut self, settlement: &Settlement) {
        let place = (settlement.stream, settlement.queue, settlement.sequence);
        let Some(owing) = self.deliveries.get_mut(&place) else { return };
        if let Verdict::Retry { at, attempts } = settlement.verdict {
            owing.due_at = at;
            owing.attempts = attempts;
            return;
        }
        self.deliveries.remove(&place);
        let tally = self.tallies.entry(settlement.stream).or_default();
        match &settlement.verdict {
            Verdict::Rejected(_) => tally.rejected += 1,
            Verdict::Abandoned(_) => tally.abandoned += 1,
            Verdict::Acked | Verdict::Retry { .. } => return self.release(settlement.sequence),
        }
        self.dead.insert(place, settlement.verdict.clone());
    }

    /// One delivery needs the body of this event no more.
    fn release(&mut self, sequence: Sequence) {
        if let Some(event) = self.events.get_mut(&sequence) {
            event.needed -= 1;
        }
    }

    fn drop_stream(&mut self, stream: StreamNumber) -> u64 {
        let places: Vec<Place> = self.places_of(stream).map(|(place, _)| *place).collect();
        for place in &places {
            self.deliveries.remove(place);
            self.release(place.2);
        }
        let dropped = u64::try_from(places.len()).unwrap_or(u64::MAX);
        self.tallies.entry(stream).or_default().abandoned += dropped;
        dropped
    }

    fn places_of(&self, stream: StreamNumber) -> impl Iterator<Item = (&Place, &Owing)> {
        self.deliveries
            .range((stream, Queue::Control, Sequence(0))..)
            .take_while(move |((of, ..), _)| *of == stream)
    }

    fn trim(&mut self, before: Timestamp) -> bool {
        let names_left = remove_some(&mut self.names, |first| first.accepted_at < before);
        let idle = self.events.iter().filter(|(_, event)| event.needed == 0 && event.accepted_at < before);
        let idle: Vec<Sequence> = idle.map(|(sequence, _)| *sequence).take(Self::STEP).collect();
        for sequence in &idle {
            self.events.remove(sequence);
        }
        names_left || idle.len() == Self::STEP
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
        let from = (stream, queue, Sequence(after.0.saturating_add(1)));
        let mut behind = self.deliveries.range(from..=(stream, queue, Sequence(u64::MAX)));
        let deliveries = behind.by_ref().take(limit).filter_map(|(place, _)| self.delivery(*place)).collect();
        Page { deliveries, more: behind.next().is_some() }
    }

    fn delivery(&self, place: Place) -> Option<Delivery> {
        let owing = self.deliveries.get(&place)?;
        let (stream, queue, sequence) = place;
        let event = self.events.get(&sequence).expect("what is owed keeps its event");
        Some(Delivery {
            epoch: event.epoch,
            sequence,
            stream,
            queue,
            rendering: owing.rendering,
            accepted_at: event.accepted_at,
            body: event.body.clone(),
            lanes: event.lanes.clone(),
            attempts: owing.attempts,
            due_at: owing.due_at,
        })
    }

    fn backlog(&self, stream: StreamNumber) -> Backlog {
        let tally = self.tallies.get(&stream).copied().unwrap_or_default();
        let accepted = |place: &Place| self.events.get(&place.2).map(|event| event.accepted_at);
        Backlog {
            pending: u64::try_from(self.places_of(stream).count()).unwrap_or(u64::MAX),
            oldest: self.places_of(stream).filter_map(|(place, _)| accepted(place)).min(),
            rejected: tally.rejected,
            abandoned: tally.abandoned,
        }
    }
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
