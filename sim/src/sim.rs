//! What everything in one run shares: chance, the trace, the model, time, and the lives of processes.

use crate::invariants::Violation;
use crate::model::Model;
use crate::mutation::Mutation;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use secevent::{Clock, Timestamp};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One run's shared state. All of it is on one thread; the lock is never held across a wait.
pub(crate) struct Sim {
    state: Mutex<State>,
    began: Instant,
    /// What is broken on purpose in this run.
    pub(crate) mutation: Option<Mutation>,
}

struct State {
    chance: StdRng,
    trace: Trace,
    model: Model,
    violation: Option<Violation>,
    calm: bool,
}

impl Sim {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>, model: Model) -> Arc<Self> {
        let state = State {
            chance: StdRng::seed_from_u64(seed),
            trace: Trace::default(),
            model,
            violation: None,
            calm: false,
        };
        Arc::new(Self { state: Mutex::new(state), began: Instant::now(), mutation })
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.state().chance.random_range(0..bound)
    }

    /// A place in a list of this length.
    pub(crate) fn index(&self, length: usize) -> usize {
        self.state().chance.random_range(0..length)
    }

    pub(crate) fn pick<T: Clone>(&self, list: &[T]) -> T {
        list[self.index(list.len())].clone()
    }

    pub(crate) fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Whether something goes wrong now, as it does once in `count` times; never once the world is calm.
    pub(crate) fn fault(&self, count: u64) -> bool {
        !self.is_calm() && self.one_in(count)
    }

    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.state().chance.random()
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn calm_down(&self) {
        self.state().calm = true;
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.state().calm
    }

    /// Adds a line to the trace. Nothing goes in that another run of the same seed would have otherwise: no
    /// key, no signature, no state that production code draws for itself.
    pub(crate) fn note(&self, line: impl AsRef<str>) {
        let at = self.began.elapsed();
        self.state().trace.add(at, line.as_ref());
    }

    /// What the model knows, asked or told.
    pub(crate) fn model<T>(&self, ask: impl FnOnce(&mut Model) -> T) -> T {
        ask(&mut self.state().model)
    }

    /// Puts something to the model that may break a promise. The first breach is the run's result.
    pub(crate) fn judge(&self, judge: impl FnOnce(&mut Model) -> Result<(), Violation>) {
        let mut state = self.state();
        if let Err(violation) = judge(&mut state.model)
            && state.violation.is_none()
        {
            let at = self.began.elapsed();
            state.trace.add(at, &format!("!! {violation}"));
            state.violation = Some(violation);
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state().violation.is_some()
    }

    /// What the run has come to: the trace, and the promise that was broken.
    pub(crate) fn conclude(&self) -> (Trace, Option<Violation>) {
        let mut state = self.state();
        (std::mem::take(&mut state.trace), state.violation.take())
    }

    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happened, line by line: the last lines as text, and a digest of all.
#[derive(Default)]
pub(crate) struct Trace {
    /// Every line if the whole trace is wanted, else the last ones.
    pub(crate) lines: VecDeque<String>,
    pub(crate) count: usize,
    digest: DefaultHasher,
}

impl Trace {
    /// A run has a few thousand lines; these are kept, so that a failure shows how it came about.
    const LINES_MAX: usize = 100_000;

    fn add(&mut self, at: Duration, line: &str) {
        let line = format!("{:>9}.{:03} {line}", at.as_secs(), at.subsec_millis());
        self.digest.write(line.as_bytes());
        self.count += 1;
        if self.lines.len() == Self::LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }
}

/// The wall clock of one machine: it goes with tokio's time, and is set forwards and backwards.
pub(crate) struct SimClock {
    began: Instant,
    offset_millis: AtomicI64,
    /// When it was set, and to what.
    settings: Mutex<Vec<(Instant, Timestamp)>>,
    latest_millis: AtomicI64,
}

impl SimClock {
    const START: Timestamp = Timestamp::from_millis(1_795_000_000_900);

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            offset_millis: AtomicI64::new(0),
            settings: Mutex::default(),
            latest_millis: AtomicI64::new(0),
        })
    }

    pub(crate) fn jump(&self, millis: i64) {
        // What it showed before counts among the latest.
        let _ = self.now();
        self.offset_millis.fetch_add(millis, Ordering::Relaxed);
        self.settings().push((Instant::now(), self.now()));
    }

    /// The latest time that it has ever shown.
    pub(crate) fn latest(&self) -> Timestamp {
        let now = self.now().as_millis();
        Timestamp::from_millis(self.latest_millis.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// The earliest time that it has shown since then, when it showed `at`.
    pub(crate) fn earliest_since(&self, then: Instant, at: Timestamp) -> Timestamp {
        let settings = self.settings();
        let since = settings.iter().filter(|(when, _)| *when >= then).map(|(_, to)| *to);
        since.fold(at.min(self.now()), Timestamp::min)
    }

    fn settings(&self) -> MutexGuard<'_, Vec<(Instant, Timestamp)>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let millis = Self::START.plus(self.began.elapsed()).as_millis();
        let millis = millis + self.offset_millis.load(Ordering::Relaxed);
        self.latest_millis.fetch_max(millis, Ordering::Relaxed);
        Timestamp::from_millis(millis)
    }
}

/// One life of a process, from its start to its crash. What it left running goes on, cut off from everything:
/// its store never answers, its network is silent.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) number: u32,
    is_over: AtomicBool,
    // Not a watch channel: that one wakes its waiters in an order that chance decides.
    ended: Notify,
}

impl Life {
    pub(crate) fn new(number: u32) -> Arc<Self> {
        Arc::new(Self { number, is_over: AtomicBool::new(false), ended: Notify::new() })
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) async fn over(&self) {
        let ended = self.ended.notified();
        if !self.is_over() {
            ended.await;
        }
    }

    /// What `work` comes to, unless this life ends before.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.over() => None,
            done = work => Some(done),
        }
    }
}

/// Waits for ever: what whoever asks a dead process does.
pub(crate) async fn never<T>() -> T {
    std::future::pending().await
}
