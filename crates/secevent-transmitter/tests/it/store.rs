//! A memory store that fails, is slow, or keeps things from its observer, when it is told to.

use crate::world::PATIENCE;
use bytes::Bytes;
use secevent::Timestamp;
use secevent_store::{
    Audit, Backlog, BoxFuture, Change, ChangeFilter, CommitFigures, CommitObserver, Dead, Delivery,
    DeliveryOutcome, Document, Documents, DropReason, Entered, Epoch, Erase, Erased, History, Inbox, Keep,
    Kept, Listing, MemoryStore, NewEvent, Outbox, Outcomes, Owing, Page, Place, Queue, Receipt, Received,
    Recorded, Records, Recovery, Sequence, Settlement, Standing, StoreError, Stored, StreamNumber,
    SubjectEntry, SubjectFingerprint, Subjects, Texts, Traces, UnsettledDelivery, Verdict, Version,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};

pub(crate) struct TestStore {
    inner: Arc<MemoryStore>,
    /// These verbs fail while they are set.
    pub(crate) record_fails: AtomicBool,
    pub(crate) settle_fails: AtomicBool,
    pub(crate) page_fails: AtomicBool,
    /// Pages of the stream with this number fail; 0 is none.
    pub(crate) page_fails_of: AtomicU32,
    pub(crate) drop_fails: AtomicBool,
    pub(crate) put_fails: AtomicBool,
    pub(crate) enter_fails: AtomicBool,
    pub(crate) subjects_fail: AtomicBool,
    /// How often a document was written.
    pub(crate) puts: AtomicUsize,
    /// How often the store was asked for what counts of subjects.
    pub(crate) standings_asked: AtomicUsize,
    pub(crate) unsettled_asked: AtomicUsize,
    /// How many dead letters were read.
    pub(crate) dead_read: AtomicUsize,
    /// Pages of regular events are read at once, but arrive only when this is unset.
    pub(crate) pages_held: watch::Sender<bool>,
    /// How many of them were asked for.
    pub(crate) pages_asked: watch::Sender<usize>,
    /// What is owed of one event is told only when this is unset.
    pub(crate) deliveries_held: watch::Sender<bool>,
    /// Documents are written only when this is unset.
    pub(crate) puts_held: watch::Sender<bool>,
    /// What is recorded for this queue is committed only when this is unset.
    pub(crate) commits_slowly: watch::Sender<Option<Queue>>,
    /// How often the store was to be written anew.
    pub(crate) rewrites: watch::Sender<usize>,
    /// Writing it anew fails, or does not end.
    pub(crate) rewrite_fails: AtomicBool,
    pub(crate) rewrite_hangs: AtomicBool,
    /// Which hand-overs are withheld from the observer.
    withheld: Mutex<Option<Withheld>>,
    settled: Mutex<BTreeMap<Verb, usize>>,
    changed: Notify,
}

type Withheld = Arc<dyn Fn(&Delivery) -> bool + Send + Sync>;

/// How deliveries ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Acked,
    Rejected,
    Abandoned,
    Dropped,
    Retry,
}

impl TestStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(MemoryStore::new(Epoch(1)))
    }

    /// The store as the next process finds it.
    pub(crate) fn restarted(&self, epoch: u32) -> Arc<Self> {
        Self::over(self.inner.restarted(Epoch(epoch)))
    }

    fn over(inner: MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::new(inner),
            record_fails: AtomicBool::default(),
            settle_fails: AtomicBool::default(),
            page_fails: AtomicBool::default(),
            page_fails_of: AtomicU32::default(),
            drop_fails: AtomicBool::default(),
            put_fails: AtomicBool::default(),
            enter_fails: AtomicBool::default(),
            subjects_fail: AtomicBool::default(),
            puts: AtomicUsize::default(),
            standings_asked: AtomicUsize::default(),
            unsettled_asked: AtomicUsize::default(),
            dead_read: AtomicUsize::default(),
            pages_held: watch::Sender::new(false),
            pages_asked: watch::Sender::new(0),
            deliveries_held: watch::Sender::new(false),
            puts_held: watch::Sender::new(false),
            commits_slowly: watch::Sender::new(None),
            rewrites: watch::Sender::new(0),
            rewrite_fails: AtomicBool::default(),
            rewrite_hangs: AtomicBool::default(),
            withheld: Mutex::default(),
            settled: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// The observer is not told of these.
    pub(crate) fn withhold(&self, which: impl Fn(&Delivery) -> bool + Send + Sync + 'static) {
        *self.withheld.lock().unwrap() = Some(Arc::new(which));
    }

    /// How many deliveries were settled so.
    pub(crate) fn settled_as(&self, verb: Verb) -> usize {
        self.settled.lock().unwrap().get(&verb).copied().unwrap_or(0)
    }

    pub(crate) async fn backlog_of(&self, stream: u32) -> Backlog {
        self.inner.backlog(StreamNumber(stream)).await.unwrap()
    }

    /// Waits until nothing is owed to any stream.
    pub(crate) async fn all_settled(&self) {
        self.until(<[StreamNumber]>::is_empty).await;
    }

    /// Waits until nothing is owed to this stream.
    pub(crate) async fn settled(&self, stream: u32) {
        self.until(|owing| !owing.contains(&StreamNumber(stream))).await;
    }

    async fn until(&self, reached: impl Fn(&[StreamNumber]) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let owing = self.inner.owing().await.unwrap();
                let streams: Vec<_> = owing.into_iter().map(|owing| owing.stream).collect();
                if reached(&streams) {
                    return;
                }
                changed.await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "something is never settled");
    }

    /// Has dead letters arrive late, and counts them.
    fn dead_read<'a>(
        &'a self,
        read: BoxFuture<'a, Result<Vec<Dead>, StoreError>>,
    ) -> BoxFuture<'a, Result<Vec<Dead>, StoreError>> {
        Box::pin(async move {
            // A real store takes a while, in which receivers answer.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let dead = read.await?;
            self.dead_read.fetch_add(dead.len(), SeqCst);
            Ok(dead)
        })
    }

    fn unless<'a, T: 'a>(
        &self,
        fails: &AtomicBool,
        call: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if fails.load(SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("as the test wants it".to_owned())) });
        }
        let result = call();
        self.changed.notify_waiters();
        result
    }
}

impl Outbox for TestStore {
    fn record(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Recorded>, StoreError>> {
        let slow = *self.commits_slowly.borrow();
        if slow.is_some() && events.iter().all(|event| Some(event.owed[0].queue) == slow) {
            let mut slowly = self.commits_slowly.subscribe();
            return Box::pin(async move {
                let _ = slowly.wait_for(Option::is_none).await;
                self.unless(&self.record_fails, || self.inner.record(events)).await
            });
        }
        self.unless(&self.record_fails, || self.inner.record(events))
    }

    fn page(
        &self,
        stream: StreamNumber,
        queue: Queue,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let fails =
            AtomicBool::new(self.page_fails.load(SeqCst) || self.page_fails_of.load(SeqCst) == stream.0);
        let read = self.unless(&fails, || self.inner.page(stream, queue, after, limit));
        let mut held = self.pages_held.subscribe();
        Box::pin(async move {
            let page = read.await;
            if queue == Queue::Regular {
                self.pages_asked.send_modify(|asked| *asked += 1);
                let _ = held.wait_for(|held| !held).await;
            }
            page
        })
    }

    fn deliveries(
        &self,
        stream: StreamNumber,
        sequence: Sequence,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        self.inner.deliveries(stream, sequence)
    }

    fn unsettled(
        &self,
        stream: StreamNumber,
        sequences: Vec<Sequence>,
    ) -> BoxFuture<'_, Result<Vec<UnsettledDelivery>, StoreError>> {
        self.unsettled_asked.fetch_add(1, SeqCst);
        Box::pin(async move {
            let unsettled = self.inner.unsettled(stream, sequences).await;
            let _ = self.deliveries_held.subscribe().wait_for(|held| !held).await;
            unsettled
        })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), StoreError>> {
        if !self.settle_fails.load(SeqCst) {
            let mut settled = self.settled.lock().unwrap();
            for settlement in &settlements {
                let verb = match settlement.verdict {
                    Verdict::Acked => Verb::Acked,
                    Verdict::Rejected(_) => Verb::Rejected,
                    Verdict::Abandoned(_) => Verb::Abandoned,
                    Verdict::Dropped(_) => Verb::Dropped,
                    Verdict::Retry { .. } => Verb::Retry,
                };
                *settled.entry(verb).or_default() += 1;
            }
        }
        self.unless(&self.settle_fails, || self.inner.settle(settlements))
    }

    fn drop_stream(
        &self,
        stream: StreamNumber,
        reason: DropReason,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.unless(&self.drop_fails, || self.inner.drop_stream(stream, reason, at))
    }

    fn backlog(&self, stream: StreamNumber) -> BoxFuture<'_, Result<Backlog, StoreError>> {
        self.inner.backlog(stream)
    }

    fn owing(&self) -> BoxFuture<'_, Result<Vec<Owing>, StoreError>> {
        self.inner.owing()
    }

    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.trim(keep)
    }

    fn figures(&self) -> CommitFigures {
        self.inner.figures()
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        let withheld = self.withheld.lock().unwrap().clone();
        self.inner.observe(Arc::new(Filter { observer, withheld }));
    }
}

impl Recovery for TestStore {
    fn dead(
        &self,
        stream: Option<StreamNumber>,
        after: Option<Place>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        self.dead_read(self.inner.dead(stream, after, limit))
    }

    fn dead_control(
        &self,
        stream: StreamNumber,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        self.dead_read(self.inner.dead_control(stream, limit))
    }

    fn dead_at(&self, place: Place) -> BoxFuture<'_, Result<Option<Dead>, StoreError>> {
        self.inner.dead_at(place)
    }

    fn redrive(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.redrive(places)
    }

    fn discard(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.discard(places)
    }

    fn history(
        &self,
        stream: StreamNumber,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<History, StoreError>> {
        self.inner.history(stream, after, limit)
    }

    fn replay(
        &self,
        stream: StreamNumber,
        events: Vec<Sequence>,
        generation: u16,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.replay(stream, events, generation)
    }
}

struct Filter {
    observer: Arc<dyn CommitObserver>,
    withheld: Option<Withheld>,
}

impl CommitObserver for Filter {
    fn committed(&self, mut deliveries: Vec<(Delivery, Option<Sequence>)>) {
        if let Some(withheld) = &self.withheld {
            deliveries.retain(|(delivery, _)| !withheld(delivery));
        }
        self.observer.committed(deliveries);
    }
}

impl Subjects for TestStore {
    fn put_subjects(
        &self,
        stream: StreamNumber,
        entries: Vec<SubjectEntry>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.unless(&self.subjects_fail, || self.inner.put_subjects(stream, entries))
    }

    fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.unless(&self.subjects_fail, || self.inner.forget_subjects(stream, fingerprints))
    }

    fn erase_subjects(
        &self,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.erase_subjects(fingerprints)
    }

    fn drop_subjects(&self, stream: StreamNumber) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.drop_subjects(stream)
    }

    fn list_subjects(
        &self,
        stream: StreamNumber,
        listing: Listing,
        after: Option<SubjectFingerprint>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubjectEntry>, StoreError>> {
        self.inner.list_subjects(stream, listing, after, limit)
    }

    fn standings(
        &self,
        of: Vec<(StreamNumber, SubjectFingerprint)>,
    ) -> BoxFuture<'_, Result<Vec<Option<Standing>>, StoreError>> {
        self.standings_asked.fetch_add(1, SeqCst);
        self.inner.standings(of)
    }

    fn subject_counts(&self) -> BoxFuture<'_, Result<Vec<(StreamNumber, u64)>, StoreError>> {
        self.inner.subject_counts()
    }
}

impl Inbox for TestStore {
    fn receive(&self, sets: Vec<Received>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        self.inner.receive(sets)
    }

    fn waiting(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.inner.waiting(after, limit)
    }

    fn handled(&self, places: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.handled(places)
    }

    fn failed(&self, place: u64, dead: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.failed(place, dead)
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.forget(before)
    }
}

impl Documents for TestStore {
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.inner.get(name)
    }

    fn list(
        &self,
        beginning: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        self.inner.list(beginning, after, limit)
    }

    fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<Version, StoreError>> {
        let name = name.to_owned();
        Box::pin(async move {
            // A real store takes a while, in which others have their turn.
            tokio::task::yield_now().await;
            let _ = self.puts_held.subscribe().wait_for(|held| !held).await;
            self.puts.fetch_add(1, SeqCst);
            self.unless(&self.put_fails, || self.inner.put_and_enter(&name, expected, body, change)).await
        })
    }

    fn new_stream_number(&self) -> BoxFuture<'_, Result<StreamNumber, StoreError>> {
        Box::pin(async {
            // A real store takes a while, in which others have their turn.
            tokio::task::yield_now().await;
            self.inner.new_stream_number().await
        })
    }
}

impl Audit for TestStore {
    fn enter(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.unless(&self.enter_fails, || self.inner.enter(changes))
    }

    fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entered>, StoreError>> {
        self.inner.changes(filter, before, limit)
    }

    fn forget_changes(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.forget_changes(before)
    }
}

impl Outcomes for TestStore {
    fn outcomes(&self, sequence: Sequence) -> BoxFuture<'_, Result<Vec<DeliveryOutcome>, StoreError>> {
        self.inner.outcomes(sequence)
    }
}

impl Records for TestStore {
    fn event(&self, sequence: Sequence) -> BoxFuture<'_, Result<Option<Kept>, StoreError>> {
        self.inner.event(sequence)
    }

    fn events(&self, after: Sequence, limit: usize) -> BoxFuture<'_, Result<Vec<Kept>, StoreError>> {
        self.inner.events(after, limit)
    }

    fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'_, Result<Erased, StoreError>> {
        self.inner.erase(erase)
    }

    fn clear_traces(&self, texts: Texts, rewrite: bool) -> BoxFuture<'_, Result<Traces, StoreError>> {
        if rewrite {
            self.rewrites.send_modify(|rewrites| *rewrites += 1);
            if self.rewrite_hangs.load(SeqCst) {
                return Box::pin(std::future::pending());
            }
            return self.unless(&self.rewrite_fails, || self.inner.clear_traces(texts, rewrite));
        }
        self.inner.clear_traces(texts, rewrite)
    }
}
