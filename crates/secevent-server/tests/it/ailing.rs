//! A store that fails when it is told to, and one that pretends to be copied.

use secevent::Timestamp;
use secevent_store::{
    Audit, Backlog, Backup, BoxFuture, Change, ChangeFilter, CommitFigures, CommitObserver, Dead, Delivery,
    DeliveryOutcome, Document, Documents, DropReason, Entered, Epoch, Erase, Erased, History, Inbox, Keep,
    Kept, Listing, MemoryStore, NewEvent, Outbox, Outcomes, Owing, Page, Place, Queue, Receipt, Received,
    Recorded, Records, Recovery, Sequence, Settlement, Standing, StoreError, Stored, StreamNumber,
    SubjectEntry, SubjectFingerprint, Subjects, Texts, Traces, UnsettledDelivery, Verdict, Version,
};
use std::future::ready;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Keeps everything in memory, and refuses new events, documents or both for as long as it is told to.
pub(crate) struct Ailing {
    store: MemoryStore,
    /// How many calls are well until all fail, and how.
    trouble: Mutex<Option<(usize, StoreError)>>,
    takes_time: AtomicBool,
    /// Calls that are said to have met damage.
    pub(crate) damaged: AtomicU64,
    settled: watch::Sender<usize>,
}

impl Ailing {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(Epoch(1)),
            trouble: Mutex::default(),
            takes_time: AtomicBool::new(false),
            damaged: AtomicU64::new(0),
            settled: watch::Sender::default(),
        }
    }

    /// How many deliveries were settled for good.
    pub(crate) fn settled(&self) -> usize {
        *self.settled.borrow()
    }

    /// Returns once so many are: what a receiver answers is stored beside what it is answered.
    pub(crate) async fn settles(&self, count: usize) {
        self.settled.subscribe().wait_for(|settled| *settled >= count).await.unwrap();
    }

    /// Fails from now on with this error, or not any more.
    pub(crate) fn fail(&self, trouble: Option<StoreError>) {
        *self.trouble.lock().unwrap() = trouble.map(|error| (0, error));
    }

    /// Fails with this error once so many calls were well.
    pub(crate) fn fail_after(&self, calls: usize, trouble: StoreError) {
        *self.trouble.lock().unwrap() = Some((calls, trouble));
    }

    /// From now on others have their turn during a call.
    pub(crate) fn take_time(&self) {
        self.takes_time.store(true, Ordering::Relaxed);
    }

    fn or<'a, T: Send + 'a>(
        &self,
        well: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        match &mut *self.trouble.lock().unwrap() {
            Some((0, error)) => return Box::pin(ready(Err(error.clone()))),
            Some((calls, _)) => *calls -= 1,
            None => {}
        }
        let well = well();
        match self.takes_time.load(Ordering::Relaxed) {
            false => well,
            true => Box::pin(async {
                tokio::task::yield_now().await;
                well.await
            }),
        }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Outbox for Ailing {
    fn record(&self, events: Vec<NewEvent>) -> Answer<'_, Vec<Recorded>> {
        self.or(|| self.store.record(events))
    }

    fn page(&self, stream: StreamNumber, queue: Queue, after: Sequence, limit: usize) -> Answer<'_, Page> {
        self.store.page(stream, queue, after, limit)
    }

    fn deliveries(&self, stream: StreamNumber, sequence: Sequence) -> Answer<'_, Vec<Delivery>> {
        self.store.deliveries(stream, sequence)
    }

    fn unsettled(
        &self,
        stream: StreamNumber,
        sequences: Vec<Sequence>,
    ) -> Answer<'_, Vec<UnsettledDelivery>> {
        self.store.unsettled(stream, sequences)
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Answer<'_, ()> {
        let ended = settlements.iter().filter(|settled| !matches!(settled.verdict, Verdict::Retry { .. }));
        let count = ended.count();
        let stored = self.store.settle(settlements);
        self.settled.send_modify(|settled| *settled += count);
        stored
    }

    fn drop_stream(&self, stream: StreamNumber, reason: DropReason, at: Timestamp) -> Answer<'_, u64> {
        self.store.drop_stream(stream, reason, at)
    }

    fn backlog(&self, stream: StreamNumber) -> Answer<'_, Backlog> {
        self.or(|| self.store.backlog(stream))
    }

    fn owing(&self) -> Answer<'_, Vec<Owing>> {
        self.store.owing()
    }

    fn trim(&self, keep: Keep) -> Answer<'_, bool> {
        self.store.trim(keep)
    }

    fn figures(&self) -> CommitFigures {
        CommitFigures { damaged: self.damaged.load(Ordering::Relaxed), ..self.store.figures() }
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        self.store.observe(observer);
    }
}

impl Recovery for Ailing {
    fn dead(
        &self,
        stream: Option<StreamNumber>,
        after: Option<Place>,
        limit: usize,
    ) -> Answer<'_, Vec<Dead>> {
        self.or(|| self.store.dead(stream, after, limit))
    }

    fn dead_control(&self, stream: StreamNumber, limit: usize) -> Answer<'_, Vec<Dead>> {
        self.or(|| self.store.dead_control(stream, limit))
    }

    fn dead_at(&self, place: Place) -> Answer<'_, Option<Dead>> {
        self.store.dead_at(place)
    }

    fn redrive(&self, places: Vec<Place>) -> Answer<'_, u64> {
        self.store.redrive(places)
    }

    fn discard(&self, places: Vec<Place>) -> Answer<'_, u64> {
        self.store.discard(places)
    }

    fn history(&self, stream: StreamNumber, after: Sequence, limit: usize) -> Answer<'_, History> {
        self.store.history(stream, after, limit)
    }

    fn replay(&self, stream: StreamNumber, events: Vec<Sequence>, generation: u16) -> Answer<'_, u64> {
        self.store.replay(stream, events, generation)
    }
}

impl Subjects for Ailing {
    fn put_subjects(&self, stream: StreamNumber, entries: Vec<SubjectEntry>) -> Answer<'_, ()> {
        self.or(|| self.store.put_subjects(stream, entries))
    }

    fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> Answer<'_, u64> {
        self.or(|| self.store.forget_subjects(stream, fingerprints))
    }

    fn erase_subjects(&self, fingerprints: Vec<SubjectFingerprint>) -> Answer<'_, u64> {
        self.store.erase_subjects(fingerprints)
    }

    fn drop_subjects(&self, stream: StreamNumber) -> Answer<'_, ()> {
        self.store.drop_subjects(stream)
    }

    fn list_subjects(
        &self,
        stream: StreamNumber,
        listing: Listing,
        after: Option<SubjectFingerprint>,
        limit: usize,
    ) -> Answer<'_, Vec<SubjectEntry>> {
        self.store.list_subjects(stream, listing, after, limit)
    }

    fn standings(&self, of: Vec<(StreamNumber, SubjectFingerprint)>) -> Answer<'_, Vec<Option<Standing>>> {
        self.store.standings(of)
    }

    fn subject_counts(&self) -> Answer<'_, Vec<(StreamNumber, u64)>> {
        self.store.subject_counts()
    }
}

impl Inbox for Ailing {
    fn receive(&self, sets: Vec<Received>) -> Answer<'_, Vec<Receipt>> {
        self.store.receive(sets)
    }

    fn waiting(&self, after: u64, limit: usize) -> Answer<'_, Vec<Stored>> {
        self.store.waiting(after, limit)
    }

    fn handled(&self, places: Vec<u64>) -> Answer<'_, ()> {
        self.store.handled(places)
    }

    fn failed(&self, place: u64, dead: bool) -> Answer<'_, ()> {
        self.store.failed(place, dead)
    }

    fn forget(&self, before: Timestamp) -> Answer<'_, bool> {
        self.store.forget(before)
    }
}

impl Documents for Ailing {
    fn get(&self, name: &str) -> Answer<'_, Option<Document>> {
        self.or(|| self.store.get(name))
    }

    fn list(&self, beginning: &str, after: Option<&str>, limit: usize) -> Answer<'_, Vec<Document>> {
        self.store.list(beginning, after, limit)
    }

    fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<bytes::Bytes>,
        change: Option<Change>,
    ) -> Answer<'_, Version> {
        self.or(|| self.store.put_and_enter(name, expected, body, change))
    }

    fn new_stream_number(&self) -> Answer<'_, StreamNumber> {
        self.store.new_stream_number()
    }
}

impl Audit for Ailing {
    fn enter(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.or(|| self.store.enter(changes))
    }

    fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entered>, StoreError>> {
        self.store.changes(filter, before, limit)
    }

    fn forget_changes(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.forget_changes(before)
    }
}

impl Outcomes for Ailing {
    fn outcomes(&self, sequence: Sequence) -> Answer<'_, Vec<DeliveryOutcome>> {
        self.store.outcomes(sequence)
    }
}

impl Records for Ailing {
    fn event(&self, sequence: Sequence) -> BoxFuture<'_, Result<Option<Kept>, StoreError>> {
        self.store.event(sequence)
    }

    fn events(&self, after: Sequence, limit: usize) -> BoxFuture<'_, Result<Vec<Kept>, StoreError>> {
        self.store.events(after, limit)
    }

    fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'_, Result<Erased, StoreError>> {
        self.store.erase(erase)
    }

    fn clear_traces(&self, texts: Texts, rewrite: bool) -> BoxFuture<'_, Result<Traces, StoreError>> {
        self.store.clear_traces(texts, rewrite)
    }
}

/// Remembers where copies were to be written.
#[derive(Default)]
pub(crate) struct Copies {
    pub(crate) written: Mutex<Vec<PathBuf>>,
    pub(crate) trouble: Mutex<Option<StoreError>>,
}

impl Backup for Copies {
    fn backup(&self, to: PathBuf) -> Answer<'_, ()> {
        self.written.lock().unwrap().push(to);
        Box::pin(ready(self.trouble.lock().unwrap().clone().map_or(Ok(()), Err)))
    }

    fn check(&self) -> Answer<'_, Vec<String>> {
        let damage = vec!["Tree 7 page 9: out of order".to_owned()];
        Box::pin(ready(self.trouble.lock().unwrap().clone().map_or(Ok(damage), Err)))
    }
}
