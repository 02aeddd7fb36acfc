//! Carries committed pages from the log into the database, beside the writer.
//!
//! The longer the log may grow, the fewer times a page that changes often is carried over; the longer also a
//! start after a crash reads. A thread carries most of it while the writer goes on; the writer then carries the
//! little that came meanwhile, between two groups, and with nothing left in the log it begins anew.

use crate::failure::Failure;
use rusqlite::Connection;
use secevent_store::StoreError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::warn;

/// What the writer and the thread tell each other.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// A log of so many pages is carried over.
    pages_max: usize,
    turn: Mutex<Turn>,
    changed: Condvar,
    /// Held by whoever carries over beside the writer: SQLite lets in one at a time, and refuses the other.
    carrying: Mutex<()>,
}

#[derive(Debug, Default)]
struct Turn {
    /// Pages in the log.
    pages: usize,
    /// At so many pages the thread's next turn is due.
    due_at: usize,
    due: bool,
    /// The thread has been through: the rest is the writer's.
    rest: bool,
    /// Somebody cut the log's file off.
    cut_off: bool,
    /// It was reported that the log cannot be restarted.
    reported: bool,
    closing: bool,
}

impl Checkpoints {
    /// How often the thread tries to catch up with the writer in one turn.
    const ROUNDS: usize = 4;
    /// For how long a try to cut the log off may keep the writer waiting.
    const HOLD: Duration = Duration::from_millis(50);
    /// The time between two tries, and how many there are: some three seconds together.
    const PAUSE: Duration = Duration::from_millis(100);
    const TRIES: usize = 20;
    /// A log of so many times its bound is reported.
    const OVERLONG: usize = 4;

    pub(crate) fn new(pages_max: usize) -> Self {
        let turn = Turn { due_at: pages_max, ..Turn::default() };
        Self { pages_max, turn: Mutex::new(turn), changed: Condvar::new(), carrying: Mutex::new(()) }
    }

    /// The log has so many pages now.
    pub(crate) fn grown(&self, pages: usize) {
        let mut turn = self.turn();
        if pages < turn.pages {
            // It began anew.
            turn.due_at = self.pages_max;
            turn.reported = false;
        }
        turn.pages = pages;
        if pages >= turn.due_at {
            // If a reader holds it up, not every commit tries again.
            turn.due_at = pages + self.pages_max / 4;
            turn.due = true;
            self.changed.notify_all();
        }
    }

    /// Pages in the log.
    pub(crate) fn pages(&self) -> usize {
        self.turn().pages
    }

    /// Has the thread's turn come now, whatever the log has.
    pub(crate) fn make_due(&self) {
        self.turn().due = true;
        self.changed.notify_all();
    }

    /// Whether the writer is to carry over the rest now.
    pub(crate) fn take_rest(&self) -> bool {
        std::mem::take(&mut self.turn().rest)
    }

    /// Carries over everything and cuts the log's file off, on a connection of its own. Whoever writes or reads
    /// meanwhile goes first: it is tried again and again, and each time the writer is kept for a moment at most.
    pub(crate) fn cut_off(&self, connection: &Connection) -> Result<(), StoreError> {
        let failed = |failure: Failure| StoreError::from(failure);
        connection.busy_timeout(Self::HOLD).map_err(|error| failed(error.into()))?;
        for _ in 0..Self::TRIES {
            let carrying = self.carrying.lock().unwrap_or_else(PoisonError::into_inner);
            let cut_off = truncate(connection).map_err(failed)?;
            drop(carrying);
            let turn = self.turn();
            if cut_off {
                let mut turn = turn;
                turn.cut_off = true;
                return Ok(());
            }
            let closing = |turn: &mut Turn| !turn.closing;
            let waited = self.changed.wait_timeout_while(turn, Self::PAUSE, closing);
            if waited.unwrap_or_else(PoisonError::into_inner).0.closing {
                return Err(StoreError::Unavailable("the store is being closed".to_owned()));
            }
        }
        Err(StoreError::Busy)
    }

    /// Whether the log's file was cut off since this was asked.
    pub(crate) fn take_cut_off(&self) -> bool {
        std::mem::take(&mut self.turn().cut_off)
    }

    /// The pages of a log that is much longer than it should be, once until it is restarted: another program, or a backup,
    /// reads an older state of the store, and the log grows for as long.
    fn take_overlong(&self) -> Option<usize> {
        let mut turn = self.turn();
        let overlong = turn.pages >= self.pages_max.saturating_mul(Self::OVERLONG) && !turn.reported;
        turn.reported |= overlong;
        overlong.then_some(turn.pages)
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, connection: &Connection) {
        loop {
            let mut turn = self.turn();
            while !turn.due && !turn.closing {
                turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
            }
            if turn.closing {
                return;
            }
            turn.due = false;
            drop(turn);
            // A failure leaves everything in the log. If the disk is full, the writer gives up its reserve for it.
            if let Some(log_pages) = self.take_overlong() {
                warn!(log_pages, "Write-ahead log cannot restart, a reader holds it");
            }
            match self.carry_most(connection) {
                Err(failure) if !failure.is_of_the_disk() => {}
                Ok(()) | Err(_) => self.turn().rest = true,
            }
        }
    }

    /// Carries over what there is, and what came meanwhile, until little is left: while the writer carries the rest
    /// its callers wait.
    fn carry_most(&self, connection: &Connection) -> Result<(), Failure> {
        let _carrying = self.carrying.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..Self::ROUNDS {
            let carried = passive(connection)?;
            let turn = self.turn();
            if turn.pages.saturating_sub(carried) <= self.pages_max / 64 || turn.closing {
                break;
            }
        }
        Ok(())
    }
}

/// The thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    checkpoints: Arc<Checkpoints>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn start(connection: Connection, checkpoints: Arc<Checkpoints>) -> Result<Self, Failure> {
        let shared = checkpoints.clone();
        let thread = std::thread::Builder::new()
            .name("secevent-checkpoint".to_owned())
            .spawn(move || shared.run(&connection))
            .map_err(|error| Failure::System(format!("cannot start a thread: {error}")))?;
        Ok(Self { checkpoints, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.checkpoints.turn().closing = true;
        self.checkpoints.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Carries over what it can without waiting for anybody. Returns how many pages of the log are in the database now.
pub(crate) fn passive(connection: &Connection) -> Result<usize, Failure> {
    let (_, pages) = checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
    Ok(usize::try_from(pages).unwrap_or(0))
}

/// Carries over everything, and empties the log. Returns whether it could: not if somebody reads an older state, writes,
/// or carries over.
pub(crate) fn truncate(connection: &Connection) -> Result<bool, Failure> {
    let (busy, _) = checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(!busy)
}

fn checkpoint(connection: &Connection, pragma: &str) -> Result<(bool, i64), Failure> {
    tracing::trace!(target: "secevent::step", step = "checkpoint");
    let told = connection.query_row(pragma, [], |row| Ok((row.get(0)?, row.get(2)?)))?;
    tracing::trace!(target: "secevent::step", step = "checkpoint");
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B22 (a silent log that a foreign reader holds)
    #[test]
    fn an_overlong_log_is_reported_once_until_it_begins_anew() {
        let checkpoints = Checkpoints::new(100);
        for (pages, expected) in
            [(399, None), (400, Some(400)), (500, None), (10, None), (399, None), (401, Some(401))]
        {
            checkpoints.grown(pages);
            assert_eq!(checkpoints.take_overlong(), expected, "{pages}");
        }
    }
}
