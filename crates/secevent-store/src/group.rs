//! One writer for all callers: whatever has arrived is committed together.
//!
//! A durable commit costs a disk its flush, whether it holds one event or a thousand. So callers do not
//! commit: they hand their [`Write`] to the one thread that does, and wait for its answer. There is no timer
//! (SEM-13): a group is what has arrived while the group before it was on its way to the disk. Under light
//! load an event is committed at once and alone; under heavy load the groups grow by themselves.

use crate::write::{Links, Weight};
use crate::{
    BoxFuture, Change, CommitFigures, CommitObserver, Delivery, DropReason, Erase, Erased, Keep, NewEvent,
    Place, Receipt, Received, Recorded, Sequence, Settlement, StoreError, StreamNumber, Version, Write,
    Written,
};
use bytes::Bytes;
use secevent::Timestamp;
use std::collections::VecDeque;
use std::fmt;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Applies groups of writes. A database implements it; [`GroupCommit`] calls it, always from the same thread.
pub trait Commit: Send + 'static {
    /// Applies the writes in their order, in one transaction, and answers each of them. Once this returns
    /// they survive a crash, but for a group of nothing but what [may be undone](Write::may_be_undone).
    ///
    /// A single write may be refused without harm to the others. An error of the whole means that nothing of
    /// the group is stored.
    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError>;
}

/// The bounds of a [`GroupCommit`].
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// The rows that one group may touch, about: events, deliveries, settlements. It bounds how long the
    /// callers of one group keep those of the next one waiting. A single larger write is a group of its own.
    /// Default: 8192.
    pub rows_max: usize,
    /// How many calls may wait to bring in new work; those behind are refused as [`StoreError::Busy`]. Calls
    /// that finish work are taken up to twice as many, so that a flood cannot stop its own draining.
    /// Default: 16 384.
    pub waiting_max: usize,
    /// How many bytes may wait, bounded alike. Default: 16 MiB.
    pub waiting_bytes_max: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { rows_max: 8_192, waiting_max: 16_384, waiting_bytes_max: 16 << 20 }
    }
}

/// The thread that commits, and the queue in front of it.
///
/// A call takes its place in the order of commits when it is made, not when its future is first awaited, and
/// is carried out even if nobody waits for the answer. It never blocks: a full queue refuses.
///
/// Dropping it commits what was taken on and ends the thread.
pub struct GroupCommit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GroupCommit {
    /// How long outcomes wait for company if nothing else arrives.
    const LAZY_FOR: Duration = Duration::from_millis(50);

    /// Starts the thread.
    pub fn start(committer: impl Commit, limits: GroupLimits) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            limits,
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            observer: Mutex::default(),
            figures: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name("secevent-writer".to_owned())
            .spawn({
                let shared = shared.clone();
                move || write_groups(committer, &shared)
            })
            .map_err(|error| StoreError::Unavailable(format!("cannot start the writer: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Names who is told of each commit, before its callers are answered.
    pub fn observe(&self, observer: Arc<dyn CommitObserver>) {
        *lock(&self.shared.observer) = Some(observer);
    }

    /// See [`Outbox::record`](crate::Outbox::record).
    pub fn record(&self, events: Vec<NewEvent>) -> BoxFuture<'static, Result<Vec<Recorded>, StoreError>> {
        self.submit(Write::Record(events), Written::recorded)
    }

    /// See [`Outbox::settle`](crate::Outbox::settle).
    pub fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.submit(Write::Settle(settlements), Written::done)
    }

    /// See [`Outbox::drop_stream`](crate::Outbox::drop_stream). Other callers' groups go between its steps.
    pub fn drop_stream(
        &self,
        stream: StreamNumber,
        reason: DropReason,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let one_step = move || Write::DropStream { stream, reason, at };
        let mut step = self.submit(one_step(), Written::dropped);
        Box::pin(async move {
            let mut dropped = 0;
            loop {
                let (deliveries, more) = step.await?;
                dropped += deliveries;
                if !more {
                    return Ok(dropped);
                }
                step = self.submit(one_step(), Written::dropped);
            }
        })
    }

    /// See [`Documents::put_and_enter`](crate::Documents::put_and_enter).
    pub fn put(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        change: Option<Change>,
    ) -> BoxFuture<'static, Result<Version, StoreError>> {
        let change = change.map(Box::new);
        self.submit(Write::Put { name: name.to_owned(), expected, body, change }, Written::version)
    }

    /// See [`Documents::new_stream_number`](crate::Documents::new_stream_number).
    pub fn new_stream_number(&self) -> BoxFuture<'static, Result<StreamNumber, StoreError>> {
        self.submit(Write::NewStreamNumber, Written::stream_number)
    }

    /// See [`Inbox::receive`](crate::Inbox::receive).
    pub fn receive(&self, sets: Vec<Received>) -> BoxFuture<'static, Result<Vec<Receipt>, StoreError>> {
        self.submit(Write::Receive(sets), Written::receipts)
    }

    /// See [`Inbox::handled`](crate::Inbox::handled).
    pub fn handled(&self, places: Vec<u64>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.submit(Write::Handled(places), Written::done)
    }

    /// See [`Inbox::failed`](crate::Inbox::failed).
    pub fn failed(&self, place: u64, dead: bool) -> BoxFuture<'static, Result<(), StoreError>> {
        self.submit(Write::Failed { place, dead }, Written::done)
    }

    /// See [`Outbox::trim`](crate::Outbox::trim).
    pub fn trim(&self, keep: Keep) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.submit(Write::Trim(keep), Written::more)
    }

    /// See [`Recovery::redrive`](crate::Recovery::redrive).
    pub fn redrive(&self, places: Vec<Place>) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.submit(Write::Redrive(places), Written::count)
    }

    /// See [`Recovery::discard`](crate::Recovery::discard).
    pub fn discard(&self, places: Vec<Place>) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.submit(Write::Discard(places), Written::count)
    }

    /// See [`Recovery::replay`](crate::Recovery::replay).
    pub fn replay(
        &self,
        stream: StreamNumber,
        events: Vec<Sequence>,
        generation: u16,
    ) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.submit(Write::Replay { stream, events, generation }, Written::count)
    }

    /// See [`Outbox::figures`](crate::Outbox::figures).
    pub fn figures(&self) -> CommitFigures {
        *lock(&self.shared.figures)
    }

    /// See [`Inbox::forget`](crate::Inbox::forget).
    pub fn forget(&self, before: Timestamp) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.submit(Write::Forget(before), Written::more)
    }

    /// See [`Audit::enter`](crate::Audit::enter).
    pub fn enter(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.submit(Write::Enter(changes), Written::done)
    }

    /// See [`Audit::forget_changes`](crate::Audit::forget_changes).
    pub fn forget_changes(&self, before: Timestamp) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.submit(Write::ForgetChanges(before), Written::more)
    }

    /// See [`Records::erase`](crate::Records::erase).
    pub fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'static, Result<Erased, StoreError>> {
        self.submit(Write::Erase(erase), Written::erased)
    }

    /// A step of [`Records::clear_traces`](crate::Records::clear_traces). Returns whether there is more to do.
    pub fn clear_traces(&self, rewrite: bool) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.submit(Write::ClearTraces { rewrite }, Written::more)
    }

    /// Commits what was taken on, and ends the thread. What dropping does, said aloud.
    pub fn close(self) {}

    pub(crate) fn submit<T: Send + 'static>(
        &self,
        write: Write,
        read: fn(Written) -> T,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        match self.shared.push(write) {
            Ok(answer) => Box::pin(async move { answer.await.unwrap_or_else(|_| Err(stopped())).map(read) }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        lock(&self.shared.waiting).closing = true;
        self.shared.arrived.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // An observer may hold the last handle for a moment; the writer cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            // A panic of the writer was answered where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

fn write_groups(mut committer: impl Commit, shared: &Shared) {
    let mut links = Links::default();
    while let Some((writes, callers)) = shared.take() {
        let started = Instant::now();
        let committed = catch_unwind(AssertUnwindSafe(|| committer.commit(&writes)));
        shared.count(writes.len(), &committed, started.elapsed());
        match committed {
            Ok(Ok(answers)) => {
                debug_assert_eq!(answers.len(), writes.len(), "each write is answered");
                let deliveries = links.follow(&writes, &answers);
                if !deliveries.is_empty() {
                    shared.tell(deliveries);
                }
                for (caller, answer) in callers.into_iter().zip(answers) {
                    // Who does not wait any more need not be told.
                    let _ = caller.send(answer);
                }
            }
            Ok(Err(error)) => {
                for caller in callers {
                    let _ = caller.send(Err(error.clone()));
                }
            }
            // Nobody knows in what state a writer is that broke its own rules: it writes no more. The senders
            // are dropped here and below, which their callers read as "stopped".
            Err(_) => break,
        }
    }
    shared.stop();
}

/// What became of a group.
type Committed = Result<Vec<Result<Written, StoreError>>, StoreError>;

struct Shared {
    limits: GroupLimits,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    observer: Mutex<Option<Arc<dyn CommitObserver>>>,
    figures: Mutex<CommitFigures>,
}

/// The calls that wait, in order.
#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How many of them do not wait for company.
    eager: usize,
    rows: usize,
    bytes: usize,
    closing: bool,
    stopped: bool,
}

struct Job {
    write: Write,
    weight: Weight,
    since: Instant,
    caller: Caller,
}

type Caller = oneshot::Sender<Result<Written, StoreError>>;
type Answer = oneshot::Receiver<Result<Written, StoreError>>;

impl Shared {
    fn push(&self, write: Write) -> Result<Answer, StoreError> {
        let weight = write.weight();
        let mut waiting = lock(&self.waiting);
        if waiting.stopped {
            return Err(stopped());
        }
        let room = if write.is_intake() { 1 } else { 2 };
        let too_many = waiting.jobs.len() >= self.limits.waiting_max * room;
        let too_large = waiting.bytes + weight.bytes > self.limits.waiting_bytes_max * room;
        // A single large call must be able to go through when nothing else waits.
        if too_many || (too_large && !waiting.jobs.is_empty()) {
            return Err(StoreError::Busy);
        }
        let (caller, answer) = oneshot::channel();
        let eager = !write.is_lazy();
        // The writer sleeps on an empty queue, or on one where everything may wait.
        let wake = eager || waiting.jobs.is_empty() || waiting.rows + weight.rows >= self.limits.rows_max;
        waiting.eager += usize::from(eager);
        waiting.rows += weight.rows;
        waiting.bytes += weight.bytes;
        waiting.jobs.push_back(Job { write, weight, since: Instant::now(), caller });
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(answer)
    }

    /// Waits for the next group. None when the writer is to end and nothing waits any more.
    fn take(&self) -> Option<(Vec<Write>, Vec<Caller>)> {
        let mut waiting = lock(&self.waiting);
        loop {
            let Some(first) = waiting.jobs.front() else {
                if waiting.closing {
                    return None;
                }
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = first.since.elapsed();
            let full = waiting.rows >= self.limits.rows_max;
            if waiting.eager > 0 || waiting.closing || full || waited >= GroupCommit::LAZY_FOR {
                return Some(waiting.next_group(self.limits.rows_max));
            }
            let rest = GroupCommit::LAZY_FOR - waited;
            waiting = self.arrived.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tell(&self, deliveries: Vec<(Delivery, Option<Sequence>)>) {
        let observer = lock(&self.observer).clone();
        if let Some(observer) = observer {
            // What is committed is committed, whatever the observer makes of it: it finds the rest by `page`.
            let _ = catch_unwind(AssertUnwindSafe(|| observer.committed(deliveries)));
        }
    }

    fn count(&self, calls: usize, committed: &std::thread::Result<Committed>, took: Duration) {
        let mut figures = lock(&self.figures);
        figures.time += took;
        if let Ok(Ok(_)) = committed {
            figures.groups += 1;
            figures.calls += u64::try_from(calls).unwrap_or(u64::MAX);
        } else {
            figures.failed += 1;
        }
        if let Ok(Err(StoreError::Corrupt(_))) = committed {
            figures.damaged += 1;
        }
    }

    fn stop(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.stopped = true;
        waiting.jobs.clear();
    }
}

impl Waiting {
    fn next_group(&mut self, rows_max: usize) -> (Vec<Write>, Vec<Caller>) {
        let mut group = (Vec::new(), Vec::new());
        let mut rows = 0;
        while let Some(job) = self.jobs.front() {
            rows += job.weight.rows;
            if rows > rows_max && !group.0.is_empty() {
                break;
            }
            let Some(job) = self.jobs.pop_front() else { break };
            self.eager -= usize::from(!job.write.is_lazy());
            self.rows -= job.weight.rows;
            self.bytes -= job.weight.bytes;
            group.0.push(job.write);
            group.1.push(job.caller);
        }
        group
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the store's writer has stopped".to_owned())
}

/// Nothing under these locks can be left half done: a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
