//! What happened to a stream's deliveries since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// SETs that its receiver has.
    pub(crate) delivered: Count,
    /// SETs that its receiver refused.
    pub(crate) rejected: Count,
    /// SETs that were given up.
    pub(crate) abandoned: Count,
    /// SETs that it is not owed because it held as much as it may.
    pub(crate) dropped: Count,
    /// SETs about the stream itself that a newer one replaced before they were delivered.
    pub(crate) superseded: Count,
    /// Attempts that are to be repeated; for a polled stream, SETs that were handed out again.
    pub(crate) retries: Count,
    /// SETs that were owed again because an operator asked for it.
    pub(crate) again: Count,
}

impl Counts {
    /// Counts what another one has counted too.
    pub(crate) fn take_over(&self, other: &Self) {
        for (mine, its) in self.all().into_iter().zip(other.all()) {
            mine.add(its.get());
        }
    }

    fn all(&self) -> [&Count; 7] {
        let Self { delivered, rejected, abandoned, dropped, superseded, retries, again } = self;
        [delivered, rejected, abandoned, dropped, superseded, retries, again]
    }
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        // Nothing is decided by it.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
