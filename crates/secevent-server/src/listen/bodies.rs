//! The request bodies that a listener holds in memory, and their limit.
//!
//! Bytes of bodies are counted from when they arrive until the request is answered. There is one limit for a listener,
//! and a lower one within it for requests that have not brought an accepted token (SEM-31). At a limit the request that
//! has waited longest for the rest of its body is answered with 503: a body that arrives at once always gets in, and a
//! peer that holds bodies back holds them only until somebody else needs the room.

use super::connections::Connection;
use super::counts::ListenCounts;
use bytes::Bytes;
use http::{Extensions, HeaderMap};
use hyper::body::{Frame, Incoming, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// What a request whose body has not arrived is counted with, beside its head: its task, its timer, its stream. Measured
/// over HTTP/2.
const REQUEST_BYTES: usize = 4 * 1024;
/// What a piece of a body is counted with, beside its bytes.
const PIECE_BYTES: usize = 128;

/// The bodies that a listener holds.
pub(super) struct Bodies {
    bytes_max: u64,
    unproven_bytes_max: u64,
    /// Of the bytes in `counts`, those counted against the limit for requests without an accepted token.
    unproven_bytes: AtomicU64,
    /// Bodies of which the rest has not arrived, the longest waiting first.
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    next: AtomicU64,
    counts: ListenCounts,
}

struct Waiting {
    standing: Arc<Standing>,
    waker: Waker,
}

/// What a listener knows about a request: an extension of each request that comes through it.
pub(crate) struct Standing {
    connection: Arc<Connection>,
    bodies: Arc<Bodies>,
    /// Whether the request brought an accepted token.
    proven: AtomicBool,
    /// What is counted for its body.
    bytes: AtomicU64,
    /// Of those, what is counted against the limit for requests without an accepted token.
    unproven_bytes: AtomicU64,
    failed: AtomicU8,
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Failed {
    /// It took too long.
    Late = 1,
    /// There was no room for it.
    NoRoom = 2,
}

/// Says that the request brought credentials that were accepted, if it came through a listener of this crate.
pub(crate) fn prove(extensions: &Extensions) {
    if let Some(standing) = extensions.get::<Arc<Standing>>() {
        standing.proven.store(true, Ordering::Relaxed);
        standing.connection.prove();
    }
}

impl Bodies {
    pub(super) fn new(bytes_max: u64, unproven_bytes_max: u64, counts: ListenCounts) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            unproven_bytes_max: unproven_bytes_max.min(bytes_max),
            unproven_bytes: AtomicU64::new(0),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            counts,
        })
    }

    /// The standing of a new request.
    pub(super) fn request(self: &Arc<Self>, connection: &Arc<Connection>) -> Arc<Standing> {
        Arc::new(Standing {
            connection: Arc::clone(connection),
            bodies: Arc::clone(self),
            proven: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            unproven_bytes: AtomicU64::new(0),
            failed: AtomicU8::new(0),
        })
    }

    fn is_over_in_all(&self) -> bool {
        self.counts.0.body_bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    fn is_over(&self, unproven: bool) -> bool {
        self.is_over_in_all()
            || (unproven && self.unproven_bytes.load(Ordering::Relaxed) > self.unproven_bytes_max)
    }

    /// Answers those that have waited longest with 503 until the limits hold again. False if that is not enough.
    fn make_room(&self, unproven: bool) -> bool {
        let mut waiting = self.lock();
        while self.is_over(unproven) {
            // Requests without an accepted token go first, and only they if it is their limit.
            let is_unproven = |waiting: &Waiting| !waiting.standing.proven.load(Ordering::Relaxed);
            let first = waiting.iter().find(|(_, waiting)| is_unproven(waiting)).map(|(id, _)| *id);
            let first = first.or_else(|| waiting.keys().next().copied().filter(|_| self.is_over_in_all()));
            let Some(Waiting { standing, waker }) = first.and_then(|first| waiting.remove(&first)) else {
                return false;
            };
            standing.fail(Failed::NoRoom);
            standing.release();
            waker.wake();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Why the body was not read to its end, if it was not.
    pub(super) fn failed(&self) -> Option<Failed> {
        match self.failed.load(Ordering::Relaxed) {
            0 => None,
            late if late == Failed::Late as u8 => Some(Failed::Late),
            _ => Some(Failed::NoRoom),
        }
    }

    fn fail(&self, why: Failed) {
        self.failed.store(why as u8, Ordering::Relaxed);
        if why == Failed::NoRoom {
            self.bodies.counts.0.bodies_refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts these bytes. False if there is no room for them.
    fn count(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let bodies = &self.bodies;
        let unproven = !self.proven.load(Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        bodies.counts.0.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        if unproven {
            self.unproven_bytes.fetch_add(bytes, Ordering::Relaxed);
            bodies.unproven_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if !bodies.is_over(unproven) || bodies.make_room(unproven) {
            return self.failed().is_none();
        }
        self.fail(Failed::NoRoom);
        self.release();
        false
    }

    /// Counts its bytes no longer.
    pub(super) fn release(&self) {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        if bytes == 0 {
            return;
        }
        self.bodies.counts.0.body_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let unproven = self.unproven_bytes.swap(0, Ordering::Relaxed);
        self.bodies.unproven_bytes.fetch_sub(unproven, Ordering::Relaxed);
    }
}

/// A body that is counted, and ends in an error if it takes too long or if there is no room for it.
pub(super) struct Counted {
    body: Incoming,
    standing: Arc<Standing>,
    /// How long it may take from when it is first waited for.
    timeout: Duration,
    /// What the head of the request is counted with if the body is waited for.
    head_bytes: usize,
    /// Most bodies are there when they are asked for, and are never waited for.
    wait: Option<Wait>,
}

struct Wait {
    /// Its place among those that wait.
    id: u64,
    over: Pin<Box<Sleep>>,
}

impl Counted {
    pub(super) fn new(body: Incoming, standing: Arc<Standing>, timeout: Duration, head: &HeaderMap) -> Self {
        let head_bytes = head.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        Self { body, standing, timeout, head_bytes, wait: None }
    }

    /// Waits for more. An error if it has waited too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        let wait = match &mut self.wait {
            Some(wait) => wait,
            none => {
                self.standing.connection.begin_waiting_for_body();
                let id = self.standing.bodies.next.fetch_add(1, Ordering::Relaxed);
                let wait = none.insert(Wait { id, over: Box::pin(sleep(self.timeout)) });
                if !self.standing.count(REQUEST_BYTES + self.head_bytes) {
                    return Poll::Ready(Failed::NoRoom);
                }
                wait
            }
        };
        if wait.over.as_mut().poll(cx).is_ready() {
            self.standing.fail(Failed::Late);
            return Poll::Ready(Failed::Late);
        }
        let waker = cx.waker().clone();
        let mut waiting = self.standing.bodies.lock();
        // Whether there is room is decided with the list locked: a body that had to go must not enter it again.
        if self.standing.failed().is_some() {
            return Poll::Ready(Failed::NoRoom);
        }
        waiting.insert(wait.id, Waiting { standing: Arc::clone(&self.standing), waker });
        Poll::Pending
    }

    fn end_wait(&mut self) {
        if let Some(Wait { id, .. }) = self.wait.take() {
            self.standing.bodies.lock().remove(&id);
            self.standing.connection.end_waiting_for_body();
        }
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if self.standing.failed().is_some() {
            return Poll::Ready(Some(Err("the body was given up".into())));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(end) => {
                self.end_wait();
                return Poll::Ready(end.map(|end| end.map_err(Into::into)));
            }
            Poll::Pending => {
                return self.wait(cx).map(|why| Some(Err(format!("the body was given up: {why:?}").into())));
            }
        };
        let is_last = self.body.is_end_stream();
        if is_last {
            self.end_wait();
        }
        let length = frame.data_ref().map_or(0, Bytes::len);
        let bytes = if is_last { length } else { length + PIECE_BYTES };
        if !self.standing.count(bytes) {
            return Poll::Ready(Some(Err("there is no room for the body".into())));
        }
        // Kept as it is, a piece would keep the whole buffer that it was read into while the rest is waited for.
        Poll::Ready(Some(Ok(match is_last {
            true => frame,
            false => frame.map_data(|piece| Bytes::copy_from_slice(&piece)),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end_wait();
    }
}
