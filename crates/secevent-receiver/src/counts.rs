//! How many of what: for metrics and for operators.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the SETs of a receiver since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// New ones, stored and acknowledged.
    pub received: u64,
    /// Ones that came before, acknowledged again.
    pub repeated: u64,
    /// Ones whose `jti` came before with another content, refused.
    pub changed: u64,
    /// Ones that were refused for any other reason.
    pub refused: u64,
    /// Ones without a final verdict, because keys were unavailable. They are sent again, and are counted each time.
    pub open: u64,
    /// Sources whose keys could not be fetched at the last try, at the moment.
    pub keys_failing: u64,
    /// Ones that the handler took.
    pub handled: u64,
    /// Ones that were not handed on: about somebody the source may not speak about, or not understood.
    pub ignored: u64,
    /// Ones that the handler failed on for good.
    pub dead: u64,
    /// Pushes without the agreed credential. Their SETs were not read.
    pub unauthenticated: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: Counter,
    pub(crate) repeated: Counter,
    pub(crate) changed: Counter,
    pub(crate) refused: Counter,
    pub(crate) open: Counter,
    pub(crate) handled: Counter,
    pub(crate) ignored: Counter,
    pub(crate) dead: Counter,
    pub(crate) unauthenticated: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, keys_failing: u64) -> Counts {
        Counts {
            received: self.received.get(),
            repeated: self.repeated.get(),
            changed: self.changed.get(),
            refused: self.refused.get(),
            open: self.open.get(),
            keys_failing,
            handled: self.handled.get(),
            ignored: self.ignored.get(),
            dead: self.dead.get(),
            unauthenticated: self.unauthenticated.get(),
        }
    }
}
