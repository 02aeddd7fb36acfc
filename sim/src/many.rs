//! Many seeds, on all processors.

use crate::{Mutation, Report, run};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many were run.
    pub seeds: u64,
    /// How many events their producers were told about.
    pub events: usize,
    /// How many deliveries those were owed as.
    pub deliveries: usize,
    /// How many lines their traces have.
    pub lines: usize,
    /// The first that broke a promise.
    pub broken: Option<Report>,
    /// Those that did not come to an end: somebody does something for ever without waiting, or the simulation itself has
    /// panicked.
    pub stuck: Vec<u64>,
}

/// A run takes a fraction of a second. When none has ended for this long, those that run never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `runs` seeds from `first` on, until one breaks a promise.
pub fn try_seeds(first: u64, runs: u64, mutation: Option<Mutation>) -> Tally {
    try_each(first, runs, move |seed| run(seed, mutation))
}

fn try_each(first: u64, runs: u64, run: impl Fn(u64) -> Report + Copy + Send + 'static) -> Tally {
    let next = Arc::new(AtomicU64::new(first));
    let running: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let end = first.saturating_add(runs);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (reports, received) = channel();
    // Threads that are stuck are left behind, so that the process can end.
    for _ in 0..threads {
        let (reports, next, running) = (reports.clone(), Arc::clone(&next), Arc::clone(&running));
        std::thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                running.lock().unwrap_or_else(PoisonError::into_inner).insert(seed);
                let report = run(seed);
                running.lock().unwrap_or_else(PoisonError::into_inner).remove(&seed);
                if reports.send(report).is_err() {
                    return;
                }
            }
        });
    }
    drop(reports);
    let mut tally = Tally::default();
    loop {
        match received.recv_timeout(PATIENCE) {
            Ok(report) => tally.add(report, &next, end),
            // When all threads have ended, what still runs is what one of them has broken off.
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                let running = running.lock().unwrap_or_else(PoisonError::into_inner);
                tally.stuck = running.iter().copied().collect();
                return tally;
            }
        }
    }
}

impl Tally {
    fn add(&mut self, report: Report, next: &AtomicU64, end: u64) {
        self.seeds += 1;
        self.events += report.events;
        self.deliveries += report.deliveries;
        self.lines += report.trace.len();
        if report.violation.is_some() {
            // The other threads end with the seeds that they are at.
            next.store(end, Ordering::Relaxed);
            if self.broken.as_ref().is_none_or(|first| report.seed < first.seed) {
                self.broken = Some(report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic outside the world of a seed is no success with a seed less.
    #[test]
    fn a_seed_that_panics_is_told() {
        let tally = try_each(1, 3, |seed| {
            assert_ne!(seed, 2, "a test's panic");
            run(seed, None)
        });
        assert_eq!(tally.stuck, [2]);
    }
}
