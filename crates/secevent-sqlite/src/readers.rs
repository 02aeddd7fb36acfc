//! Connections that only read, each on a thread of its own.
//!
//! A read takes some microseconds from the page cache. Threads that wait for nothing else answer it sooner than
//! a runtime's pool for blocking work, which may be full of somebody else's, and they need no runtime.

use crate::failure::Failure;
use rusqlite::Connection;
use secevent_store::{BoxFuture, StoreError};
use std::collections::VecDeque;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The readers, and the queue in front of them.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Reads that met damage.
    damaged: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    reads: VecDeque<Read>,
    closing: bool,
}

impl Readers {
    /// Reads that wait at most. More are refused.
    const WAITING_MAX: usize = 16_384;

    pub(crate) fn start(connections: Vec<Connection>) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            damaged: AtomicU64::new(0),
        });
        let mut readers = Self { shared, threads: Vec::with_capacity(connections.len()) };
        for connection in connections {
            let shared = readers.shared.clone();
            let thread = std::thread::Builder::new()
                .name("secevent-reader".to_owned())
                .spawn(move || shared.run(&connection))
                .map_err(|error| Failure::System(format!("cannot start a thread: {error}")))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    pub(crate) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (caller, answer) = oneshot::channel();
        let mut waiting = self.shared.waiting();
        if waiting.reads.len() >= Self::WAITING_MAX {
            return Box::pin(ready(Err(StoreError::Busy)));
        }
        waiting.reads.push_back(Box::new(move |connection| {
            if !caller.is_closed() {
                // Who does not wait any more need not be told.
                let _ = caller.send(read(connection));
            }
        }));
        drop(waiting);
        self.shared.arrived.notify_one();
        let stopped = || StoreError::Unavailable("the store's reader has stopped".to_owned());
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let read = answer.await.map_err(|_| stopped())?.map_err(StoreError::from);
            if let Err(StoreError::Corrupt(_)) = &read {
                shared.damaged.fetch_add(1, Ordering::Relaxed);
            }
            read
        })
    }

    /// How many reads met damage.
    pub(crate) fn damaged(&self) -> u64 {
        self.shared.damaged.load(Ordering::Relaxed)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.waiting().closing = true;
        self.shared.arrived.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, connection: &Connection) {
        while let Some(read) = self.take() {
            // The caller is told by its answer that never comes; the connection has not been changed.
            let _ = catch_unwind(AssertUnwindSafe(|| read(connection)));
        }
    }

    fn take(&self) -> Option<Read> {
        let mut waiting = self.waiting();
        loop {
            if let Some(read) = waiting.reads.pop_front() {
                return Some(read);
            }
            if waiting.closing {
                return None;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
