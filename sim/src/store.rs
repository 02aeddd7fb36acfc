//! The store of one process: the production reference store, behind a writer that groups, is slow and fails,
//! over a disk that may lose what was written lazily in the last moment.

use crate::invariants;
use crate::model::Place;
use crate::mutation::Mutation;
use crate::sim::{Life, Sim, never};
use bytes::Bytes;
use secevent::Timestamp;
use secevent_store::{
    Audit, Backlog, BoxFuture, Change, ChangeFilter, CommitFigures, CommitObserver, Dead, Delivery,
    DeliveryOutcome, Document, Documents, DropReason, Entered, Epoch, Erase, Erased, History, Inbox, Keep,
    Kept, Listing, MemoryStore, NewEvent, Outbox, Outcomes, Owing, Page, Queue, Receipt, Received, Recorded,
    Records, Recovery, Sequence, Settlement, Standing, StoreError, Stored, StreamNumber, SubjectEntry,
    SubjectFingerprint, Subjects, Texts, Traces, UnsettledDelivery, Version, Write, Written,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Transmitter,
    Receiver(usize),
}

/// What survives a process.
pub(crate) struct Disk {
    /// As its process sees it.
    live: MemoryStore,
    /// As the next process may find it: the same writes in the same order, the last lazy ones missing.
    durable: MemoryStore,
    lazy: Mutex<VecDeque<Lazy>>,
}

struct Lazy {
    at: Instant,
    write: Write,
    /// What it settled.
    ended: Vec<Place>,
}

impl Disk {
    /// How long a lazy write may be lost.
    const LAZY_FOR: Duration = Duration::from_secs(1);

    pub(crate) fn new(epoch: Epoch) -> Arc<Self> {
        Arc::new(Self::over(MemoryStore::new(epoch), epoch))
    }

    fn over(store: MemoryStore, epoch: Epoch) -> Self {
        let durable = store.restarted(epoch);
        Self { live: store, durable, lazy: Mutex::default() }
    }

    /// The disk after a crash, and the settlements that it has lost.
    pub(crate) fn crashed(&self, sim: &Sim, epoch: Epoch) -> (Arc<Self>, Vec<Place>) {
        self.flush(|lazy| lazy.at.elapsed() > Self::LAZY_FOR);
        let count = u64::try_from(self.lazy().len()).unwrap_or(u64::MAX);
        let mut kept = if sim.is_calm() { count } else { sim.below(count + 1) };
        self.flush(|_| {
            kept = kept.saturating_sub(1);
            kept > 0
        });
        let lost = self.lazy().drain(..).flat_map(|lazy| lazy.ended).collect();
        (Arc::new(Self::over(self.durable.restarted(epoch), epoch)), lost)
    }

    /// A copy of everything, to be restored one day.
    pub(crate) fn backup(&self) -> MemoryStore {
        self.flush(|_| true);
        self.durable.restarted(Epoch(0))
    }

    pub(crate) fn restored(backup: &MemoryStore, epoch: Epoch) -> Arc<Self> {
        Arc::new(Self::over(backup.restarted(epoch), epoch))
    }

    /// The content of a document, past all faults.
    pub(crate) fn document(&self, name: &str) -> Option<Bytes> {
        at_once(self.live.get(name)).ok().flatten().map(|document| document.body)
    }

    pub(crate) fn backlog(&self, stream: u32) -> Backlog {
        at_once(self.live.backlog(StreamNumber(stream))).unwrap_or_default()
    }

    /// How many SETs wait in the inbox.
    pub(crate) fn waiting(&self) -> usize {
        at_once(self.live.waiting(0, usize::MAX)).map_or(0, |waiting| waiting.len())
    }

    fn apply(&self, write: &Write) -> Result<Written, StoreError> {
        if write.may_be_undone() {
            let at = Instant::now();
            self.lazy().push_back(Lazy { at, write: write.clone(), ended: Vec::new() });
        } else {
            // What is made durable makes everything before it durable.
            self.flush(|_| true);
            // Both stores have seen the same writes, so they answer alike.
            let _ = carry_out(&self.durable, write);
        }
        carry_out(&self.live, write)
    }

    fn note_ended(&self, ended: Vec<Place>) {
        if let Some(last) = self.lazy().back_mut() {
            last.ended = ended;
        }
    }

    fn flush(&self, mut which: impl FnMut(&Lazy) -> bool) {
        let mut lazy = self.lazy();
        while lazy.front().is_some_and(&mut which) {
            if let Some(first) = lazy.pop_front() {
                let _ = carry_out(&self.durable, &first.write);
            }
        }
    }

    fn lazy(&self) -> MutexGuard<'_, VecDeque<Lazy>> {
        self.lazy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new write verb of the store needs its line here, and one below among the ports.
fn carry_out(store: &MemoryStore, write: &Write) -> Result<Written, StoreError> {
    Ok(match write.clone() {
        Write::Record(events) => Written::Recorded(at_once(store.record(events))?),
        Write::Settle(settlements) => done(at_once(store.settle(settlements))?),
        Write::DropStream { stream, reason, at } => {
            Written::Dropped { deliveries: at_once(store.drop_stream(stream, reason, at))?, more: false }
        }
        Write::Put { name, expected, body, change } => {
            let change = change.map(|change| *change);
            Written::Put(at_once(store.put_and_enter(&name, expected, body, change))?)
        }
        Write::NewStreamNumber => Written::StreamNumber(at_once(store.new_stream_number())?),
        Write::Receive(sets) => Written::Received(at_once(store.receive(sets))?),
        Write::Handled(places) => done(at_once(store.handled(places))?),
        Write::Failed { place, dead } => done(at_once(store.failed(place, dead))?),
        Write::Enter(changes) => done(at_once(store.enter(changes))?),
        Write::ForgetChanges(before) => Written::Cleared { more: at_once(store.forget_changes(before))? },
        Write::Erase(erase) => Written::Erased(at_once(store.erase(erase))?),
        Write::ClearTraces { .. } => Written::Cleared { more: false },
        Write::Trim(keep) => Written::Cleared { more: at_once(store.trim(keep))? },
        Write::Redrive(places) => Written::Count(at_once(store.redrive(places))?),
        Write::Discard(places) => Written::Count(at_once(store.discard(places))?),
        Write::Replay { stream, events, generation } => {
            Written::Count(at_once(store.replay(stream, events, generation))?)
        }
        Write::PutSubjects { stream, entries } => done(at_once(store.put_subjects(stream, entries))?),
        Write::ForgetSubjects { stream: Some(stream), fingerprints } => {
            Written::Count(at_once(store.forget_subjects(stream, fingerprints))?)
        }
        Write::ForgetSubjects { stream: None, fingerprints } => {
            Written::Count(at_once(store.erase_subjects(fingerprints))?)
        }
        Write::DropSubjects(stream) => {
            at_once(store.drop_subjects(stream))?;
            Written::Cleared { more: false }
        }
        Write::Forget(before) => Written::Cleared { more: at_once(store.forget(before))? },
    })
}

fn done((): ()) -> Written {
    Written::Done
}

/// The memory store does what it is asked when it is asked.
fn at_once<T>(mut future: BoxFuture<'_, T>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a call of the memory store is carried out when it is made"),
    }
}

/// The store as one life of a process sees it.
pub(crate) struct SimStore {
    sim: Arc<Sim>,
    life: Arc<Life>,
    owner: Owner,
    disk: Arc<Disk>,
    writer: Arc<Mutex<Writer>>,
    /// Whether the observer may miss hand-overs.
    loses_hints: bool,
}

#[derive(Default)]
struct Writer {
    waiting: VecDeque<(Write, oneshot::Sender<Result<Written, StoreError>>)>,
    is_running: bool,
}

impl SimStore {
    pub(crate) fn new(
        sim: &Arc<Sim>,
        life: &Arc<Life>,
        owner: Owner,
        disk: &Arc<Disk>,
        loses_hints: bool,
    ) -> Arc<Self> {
        let (sim, life, disk) = (Arc::clone(sim), Arc::clone(life), Arc::clone(disk));
        Arc::new(Self { sim, life, owner, disk, writer: Arc::default(), loses_hints })
    }

    /// Hands a write to the writer. It takes its place in the order of commits now; its answer comes when its
    /// group is committed, and never if the process dies before.
    fn write<T: Send + 'static>(
        &self,
        mut write: Write,
        read: impl FnOnce(&Written) -> Option<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        if self.life.is_over() {
            return Box::pin(never());
        }
        if matches!(write, Write::Record(_) | Write::Receive(_)) && self.sim.fault(60) {
            self.note("has too much to do");
            return Box::pin(async { Err(StoreError::Busy) });
        }
        self.mutate(&mut write);
        let (caller, answer) = oneshot::channel();
        let mut writer = lock(&self.writer);
        writer.waiting.push_back((write, caller));
        if !writer.is_running {
            writer.is_running = true;
            let commits = Commits {
                sim: Arc::clone(&self.sim),
                life: Arc::clone(&self.life),
                owner: self.owner,
                disk: Arc::clone(&self.disk),
                writer: Arc::clone(&self.writer),
            };
            tokio::spawn(commits.run());
        }
        Box::pin(async move {
            match answer.await {
                Ok(answer) => {
                    answer.map(|written| read(&written).expect("a write is answered as what it is"))
                }
                Err(_) => never().await,
            }
        })
    }

    /// Reads, sooner or later; what is read may be out of date when it arrives.
    fn read<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&MemoryStore) -> Result<T, StoreError> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            if self.life.is_over() {
                return never().await;
            }
            if self.sim.fault(80) {
                self.note("cannot be read");
                return Err(StoreError::Unavailable("reading failed".to_owned()));
            }
            let (before, after) = match self.sim.below(40) {
                _ if self.sim.is_calm() => (Duration::ZERO, Duration::ZERO),
                0 => (self.sim.millis(1, 2_000), Duration::ZERO),
                1 => (Duration::ZERO, self.sim.millis(1, 2_000)),
                2..=9 => (self.sim.millis(0, 3), self.sim.millis(0, 3)),
                _ => (Duration::ZERO, Duration::ZERO),
            };
            wait(before).await;
            let found = read(&self.disk.live);
            wait(after).await;
            if self.life.is_over() { never().await } else { found }
        })
    }

    fn note(&self, what: &str) {
        self.sim.note(format!("{:?}: store {what}", self.owner));
    }

    /// What is broken on purpose on the way to the disk.
    fn mutate(&self, write: &mut Write) {
        match (self.sim.mutation, write) {
            (Some(Mutation::NamesForgotten), Write::Record(events)) => {
                events.iter_mut().for_each(|event| event.idempotency = None);
            }
            (Some(Mutation::SettlementLost), Write::Settle(settlements)) if self.sim.one_in(4) => {
                settlements.pop();
            }
            (Some(Mutation::RefusedAsAcked), Write::Settle(settlements)) => {
                for settlement in settlements {
                    if matches!(settlement.verdict, secevent_store::Verdict::Rejected(_)) {
                        settlement.verdict = secevent_store::Verdict::Acked;
                    }
                }
            }
            (Some(Mutation::RepeatForgotten), Write::Receive(sets)) => {
                for set in sets {
                    set.iss += &format!(" {}", self.sim.below(1_000_000));
                }
            }
            _ => {}
        }
    }
}

/// The writer's work.
struct Commits {
    sim: Arc<Sim>,
    life: Arc<Life>,
    owner: Owner,
    disk: Arc<Disk>,
    writer: Arc<Mutex<Writer>>,
}

impl Commits {
    /// Commits group after group until nothing waits.
    async fn run(self) {
        loop {
            let all_lazy = lock(&self.writer).waiting.iter().all(|(write, _)| write.is_lazy());
            let took = match self.sim.below(100) {
                _ if self.sim.is_calm() => Duration::from_millis(1),
                0 => self.sim.millis(100, 8_000),
                _ if all_lazy => self.sim.millis(0, 50),
                1..=30 => self.sim.millis(1, 5),
                _ => Duration::ZERO,
            };
            wait(took).await;
            if self.life.is_over() {
                return;
            }
            let group: Vec<_> = lock(&self.writer).waiting.drain(..).collect();
            if group.is_empty() {
                lock(&self.writer).is_running = false;
                return;
            }
            if self.sim.fault(70) {
                self.sim.note(format!("{:?}: store commits nothing of {}", self.owner, group.len()));
                for (_, caller) in group {
                    let _ = caller.send(Err(StoreError::Unavailable("the disk failed".to_owned())));
                }
                continue;
            }
            for (write, caller) in group {
                let answer = self.commit(&write);
                let repeats = matches!(write, Write::Record(_) | Write::Settle(_) | Write::Receive(_));
                let lost = repeats && self.sim.fault(90);
                if lost {
                    self.sim.note(format!("{:?}: store commits, and its answer is lost", self.owner));
                }
                let _ = caller.send(match lost {
                    true => Err(StoreError::Unavailable("the answer is lost".to_owned())),
                    false => answer,
                });
            }
        }
    }

    fn commit(&self, write: &Write) -> Result<Written, StoreError> {
        if let Some(lie) = self.lie(write) {
            return Ok(lie);
        }
        let answer = self.disk.apply(write)?;
        self.tell_model(write, &answer);
        Ok(answer)
    }

    /// What is broken on purpose instead of being written.
    fn lie(&self, write: &Write) -> Option<Written> {
        let mutation = self.sim.mutation?;
        match write {
            // One that has a name would be recorded when it is sent again.
            Write::Record(events)
                if mutation == Mutation::RecordLies
                    && events.iter().all(|event| event.idempotency.is_none())
                    && self.sim.one_in(10) =>
            {
                let place = |place: usize| Sequence(1_000_000 + u64::try_from(place).unwrap_or(0));
                let recorded = (0..events.len()).map(place);
                let recorded = recorded.map(|sequence| Recorded::New { epoch: Epoch(1), sequence });
                Some(Written::Recorded(recorded.collect()))
            }
            Write::DropStream { .. } if mutation == Mutation::DropForgotten => {
                Some(Written::Dropped { deliveries: 0, more: false })
            }
            Write::Receive(sets) if mutation == Mutation::ReceivedTooEarly && self.sim.one_in(10) => {
                Some(Written::Received(vec![Receipt::First; sets.len()]))
            }
            Write::Handled(places) if mutation == Mutation::WaitingLost && self.sim.one_in(4) => {
                let last = places.iter().max().copied().unwrap_or(0);
                let _ = self.disk.apply(&Write::Handled(vec![last + 1]));
                None
            }
            _ => None,
        }
    }

    fn tell_model(&self, write: &Write, answer: &Written) {
        match (write, answer) {
            (Write::Record(events), Written::Recorded(answers)) => {
                let new = self.sim.model(|model| model.recorded(events, answers));
                for (tag, sequence) in &new {
                    self.sim.note(format!("recorded e{tag} as #{sequence}"));
                }
                self.sim.judge(|model| invariants::recorded(model, &new));
            }
            (Write::Settle(settlements), _) => {
                let mut ended = Vec::new();
                self.sim.judge(|model| {
                    ended = invariants::settled(model, settlements)?;
                    Ok(())
                });
                let names: Vec<String> =
                    self.sim.model(|model| ended.iter().map(|place| model.name(*place)).collect());
                self.sim.note(format!("settled {}", names.join(" ")));
                self.disk.note_ended(ended);
            }
            (Write::DropStream { stream, .. }, _) => {
                self.sim.note(format!("dropped what s{stream} was owed"));
                self.sim.judge(|model| invariants::dropped(model, stream.0));
            }
            (Write::Put { name, body, .. }, _) => {
                self.sim.model(|model| model.stream_written(name, body.as_deref()));
            }
            (Write::Receive(sets), _) => {
                if let Owner::Receiver(number) = self.owner {
                    for set in sets {
                        self.sim.model(|model| model.receivers[number].keep(&set.jti));
                    }
                }
            }
            _ => {}
        }
    }
}

impl Outbox for SimStore {
    fn record(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Recorded>, StoreError>> {
        self.write(Write::Record(events), |written| match written {
            Written::Recorded(recorded) => Some(recorded.clone()),
            _ => None,
        })
    }

    fn page(
        &self,
        stream: StreamNumber,
        queue: Queue,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.sim
            .judge(|model| invariants::bounded("deliveries asked for at once", limit, model.limits.page_max));
        self.read(move |store| {
            let mut page = at_once(store.page(stream, queue, after, limit))?;
            match self.sim.mutation {
                Some(Mutation::PageWithGap) if page.deliveries.len() > 1 => drop(page.deliveries.remove(0)),
                Some(Mutation::PageOutOfOrder) => page.deliveries.reverse(),
                Some(Mutation::LanesWiped) => {
                    page.deliveries.iter_mut().for_each(|one| one.lanes = [].into());
                }
                Some(Mutation::RetryWithoutLanes) => {
                    let failed = page.deliveries.iter_mut().filter(|one| one.attempts > 0);
                    failed.for_each(|one| one.lanes = [].into());
                }
                Some(Mutation::BodyChanged) => {
                    let last = page.deliveries.last().map(|last| last.body.clone());
                    if let (Some(first), Some(last)) = (page.deliveries.first_mut(), last) {
                        first.body = last;
                    }
                }
                _ => {}
            }
            Ok(page)
        })
    }

    fn deliveries(
        &self,
        stream: StreamNumber,
        sequence: Sequence,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        self.read(move |store| at_once(store.deliveries(stream, sequence)))
    }

    fn unsettled(
        &self,
        stream: StreamNumber,
        sequences: Vec<Sequence>,
    ) -> BoxFuture<'_, Result<Vec<UnsettledDelivery>, StoreError>> {
        self.read(move |store| at_once(store.unsettled(stream, sequences)))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Settle(settlements), nothing)
    }

    fn drop_stream(
        &self,
        stream: StreamNumber,
        reason: DropReason,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::DropStream { stream, reason, at }, |written| match written {
            Written::Dropped { deliveries, .. } => Some(*deliveries),
            _ => None,
        })
    }

    fn backlog(&self, stream: StreamNumber) -> BoxFuture<'_, Result<Backlog, StoreError>> {
        self.read(move |store| at_once(store.backlog(stream)))
    }

    fn owing(&self) -> BoxFuture<'_, Result<Vec<Owing>, StoreError>> {
        self.read(|store| at_once(store.owing()))
    }

    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::Trim(keep), more)
    }

    fn figures(&self) -> CommitFigures {
        self.disk.live.figures()
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        let hints = Hints {
            sim: Arc::clone(&self.sim),
            life: Arc::clone(&self.life),
            observer,
            loses_some: self.loses_hints,
            told: Mutex::default(),
        };
        self.disk.live.observe(Arc::new(hints));
    }
}

impl Recovery for SimStore {
    fn dead(
        &self,
        stream: Option<StreamNumber>,
        after: Option<secevent_store::Place>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        self.read(move |store| at_once(store.dead(stream, after, limit)))
    }

    fn dead_control(
        &self,
        stream: StreamNumber,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        self.read(move |store| at_once(store.dead_control(stream, limit)))
    }

    fn dead_at(&self, place: secevent_store::Place) -> BoxFuture<'_, Result<Option<Dead>, StoreError>> {
        self.read(move |store| at_once(store.dead_at(place)))
    }

    fn redrive(&self, places: Vec<secevent_store::Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::Redrive(places), count)
    }

    fn discard(&self, places: Vec<secevent_store::Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::Discard(places), count)
    }

    fn history(
        &self,
        stream: StreamNumber,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<History, StoreError>> {
        self.read(move |store| at_once(store.history(stream, after, limit)))
    }

    fn replay(
        &self,
        stream: StreamNumber,
        events: Vec<Sequence>,
        generation: u16,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::Replay { stream, events, generation }, count)
    }
}

impl Subjects for SimStore {
    fn put_subjects(
        &self,
        stream: StreamNumber,
        entries: Vec<SubjectEntry>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::PutSubjects { stream, entries }, nothing)
    }

    fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::ForgetSubjects { stream: Some(stream), fingerprints }, count)
    }

    fn erase_subjects(
        &self,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::ForgetSubjects { stream: None, fingerprints }, count)
    }

    fn drop_subjects(&self, stream: StreamNumber) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::DropSubjects(stream), nothing)
    }

    fn list_subjects(
        &self,
        stream: StreamNumber,
        listing: Listing,
        after: Option<SubjectFingerprint>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubjectEntry>, StoreError>> {
        self.read(move |store| at_once(store.list_subjects(stream, listing, after, limit)))
    }

    fn standings(
        &self,
        of: Vec<(StreamNumber, SubjectFingerprint)>,
    ) -> BoxFuture<'_, Result<Vec<Option<Standing>>, StoreError>> {
        self.read(move |store| at_once(store.standings(of)))
    }

    fn subject_counts(&self) -> BoxFuture<'_, Result<Vec<(StreamNumber, u64)>, StoreError>> {
        self.read(move |store| at_once(store.subject_counts()))
    }
}

/// What the observer is told.
struct Hints {
    sim: Arc<Sim>,
    life: Arc<Life>,
    observer: Arc<dyn CommitObserver>,
    loses_some: bool,
    /// What was told last of each queue, for a fault that hides what was not told.
    told: Mutex<BTreeMap<(u32, usize), Sequence>>,
}

impl CommitObserver for Hints {
    fn committed(&self, mut deliveries: Vec<(Delivery, Option<Sequence>)>) {
        if self.life.is_over() {
            return;
        }
        if self.loses_some {
            deliveries.retain(|_| !self.sim.fault(8));
        }
        match self.sim.mutation {
            Some(Mutation::LanesWiped) => {
                deliveries.iter_mut().for_each(|(delivery, _)| delivery.lanes = [].into());
            }
            Some(Mutation::WrongPrevious) => self.hide_some(&mut deliveries),
            _ => {}
        }
        self.observer.committed(deliveries);
    }
}

impl Hints {
    fn hide_some(&self, deliveries: &mut Vec<(Delivery, Option<Sequence>)>) {
        let mut told = lock(&self.told);
        deliveries.retain(|_| !self.sim.one_in(4));
        for (delivery, previous) in deliveries {
            let queue = (delivery.stream.0, delivery.queue as usize);
            if let Some(last) = told.insert(queue, delivery.sequence) {
                *previous = Some(last);
            }
        }
    }
}

impl Inbox for SimStore {
    fn receive(&self, sets: Vec<Received>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        self.write(Write::Receive(sets), |written| match written {
            Written::Received(receipts) => Some(receipts.clone()),
            _ => None,
        })
    }

    fn waiting(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.read(move |store| at_once(store.waiting(after, limit)))
    }

    fn handled(&self, places: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Handled(places), nothing)
    }

    fn failed(&self, place: u64, dead: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Failed { place, dead }, nothing)
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::Forget(before), more)
    }
}

impl Documents for SimStore {
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        let name = name.to_owned();
        self.read(move |store| at_once(store.get(&name)))
    }

    fn list(
        &self,
        beginning: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        let (beginning, after) = (beginning.to_owned(), after.map(str::to_owned));
        self.read(move |store| at_once(store.list(&beginning, after.as_deref(), limit)))
    }

    fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<Version, StoreError>> {
        let change = change.map(Box::new);
        let put = Write::Put { name: name.to_owned(), expected, body, change };
        self.write(put, |written| match written {
            Written::Put(version) => Some(*version),
            _ => None,
        })
    }

    fn new_stream_number(&self) -> BoxFuture<'_, Result<StreamNumber, StoreError>> {
        self.write(Write::NewStreamNumber, |written| match written {
            Written::StreamNumber(number) => Some(*number),
            _ => None,
        })
    }
}

impl Audit for SimStore {
    fn enter(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::Enter(changes), nothing)
    }

    fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entered>, StoreError>> {
        self.read(move |store| at_once(store.changes(filter, before, limit)))
    }

    fn forget_changes(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Write::ForgetChanges(before), more)
    }
}

impl Outcomes for SimStore {
    fn outcomes(&self, sequence: Sequence) -> BoxFuture<'_, Result<Vec<DeliveryOutcome>, StoreError>> {
        self.read(move |store| at_once(store.outcomes(sequence)))
    }
}

impl Records for SimStore {
    fn event(&self, sequence: Sequence) -> BoxFuture<'_, Result<Option<Kept>, StoreError>> {
        self.read(move |store| at_once(store.event(sequence)))
    }

    fn events(&self, after: Sequence, limit: usize) -> BoxFuture<'_, Result<Vec<Kept>, StoreError>> {
        self.read(move |store| at_once(store.events(after, limit)))
    }

    fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'_, Result<Erased, StoreError>> {
        self.write(Write::Erase(erase), |written| match written {
            Written::Erased(erased) => Some(*erased),
            _ => None,
        })
    }

    fn clear_traces(&self, texts: Texts, rewrite: bool) -> BoxFuture<'_, Result<Traces, StoreError>> {
        self.read(move |store| at_once(store.clear_traces(texts, rewrite)))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of the readers of answers, which may not fit")]
fn nothing(_: &Written) -> Option<()> {
    Some(())
}

fn more(written: &Written) -> Option<bool> {
    match written {
        Written::Cleared { more } => Some(*more),
        _ => None,
    }
}

fn count(written: &Written) -> Option<u64> {
    match written {
        Written::Count(count) => Some(*count),
        _ => None,
    }
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
