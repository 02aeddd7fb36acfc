//! What a listener counts, for metrics and for limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of one listener. Clones share them: give one to the listener and one to whatever shows metrics.
#[derive(Clone, Debug, Default)]
pub struct ListenCounts(pub(super) Arc<Counters>);

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) without_head: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) accept_failed: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) handshakes_failed: AtomicU64,
    pub(super) handshakes_timed_out: AtomicU64,
    pub(super) body_bytes: AtomicU64,
    pub(super) bodies_refused: AtomicU64,
    pub(super) unread: AtomicU64,
    pub(super) answers_cut: AtomicU64,
}

/// The values of [`ListenCounts`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenFigures {
    /// Connections that are open.
    pub connections: u64,
    /// Of those, connections on which no complete request head has arrived yet.
    pub without_head: u64,
    /// Connections closed to make room for new ones, since the process started.
    pub evicted: u64,
    /// Connections that the operating system could not hand over, mostly for lack of file descriptors.
    pub accept_failed: u64,
    /// TLS handshakes that are under way, the wait for the ClientHello included.
    pub handshakes: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// TLS handshakes that took too long.
    pub handshakes_timed_out: u64,
    /// Bytes of request bodies that are held in memory.
    pub body_bytes: u64,
    /// Requests answered with 503 because the limit on these bytes was reached.
    pub bodies_refused: u64,
    /// Answers that wait for their peers to take more of them.
    pub answers_unread: u64,
    /// Connections closed because too many answers waited for their peers, or one for too long.
    pub answers_cut: u64,
}

impl ListenCounts {
    /// The values now.
    pub fn figures(&self) -> ListenFigures {
        let counters = &self.0;
        ListenFigures {
            connections: counters.connections.load(Relaxed),
            without_head: counters.without_head.load(Relaxed),
            evicted: counters.evicted.load(Relaxed),
            accept_failed: counters.accept_failed.load(Relaxed),
            handshakes: counters.handshakes.load(Relaxed),
            handshakes_failed: counters.handshakes_failed.load(Relaxed),
            handshakes_timed_out: counters.handshakes_timed_out.load(Relaxed),
            body_bytes: counters.body_bytes.load(Relaxed),
            bodies_refused: counters.bodies_refused.load(Relaxed),
            answers_unread: counters.unread.load(Relaxed),
            answers_cut: counters.answers_cut.load(Relaxed),
        }
    }
}

/// Counts one more for as long as it lives.
pub(super) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(super) fn of(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
