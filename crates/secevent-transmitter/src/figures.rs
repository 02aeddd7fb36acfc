//! How it goes: figures of the whole and of each stream, and whether the engine is ready (SEM-10).

use crate::config::PollRules;
use crate::retry::TroubleKind;
use crate::table::Entry;
use crate::transmitter::Transmitter;
use secevent::{Span, Timestamp};
use secevent_ssf::{Status, StreamId};
use secevent_store::{Backlog, CommitFigures, StoreError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Figures of all streams together, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that were accepted.
    pub accepted: u64,
    /// SETs that receivers have.
    pub delivered: u64,
    /// SETs that receivers refused.
    pub rejected: u64,
    /// SETs that were given up.
    pub abandoned: u64,
    /// SETs that a stream is not owed because it held as much as it may.
    pub dropped: u64,
    /// SETs about a stream itself that a newer one replaced before they were delivered.
    pub superseded: u64,
    /// Attempts that were repeated.
    pub retries: u64,
    /// SETs that were owed again because an operator asked for it.
    pub again: u64,
    /// Streams.
    pub streams: u64,
    /// Streams whose receiver is in trouble.
    pub suspended: u64,
    /// Deliveries that are not settled.
    pub pending: u64,
    /// Pushes that are on their way.
    pub in_flight: u64,
    /// What the store's writer did.
    pub commits: CommitFigures,
    /// How far the system clock is ahead of elapsed time, and not used for deletion. Zero: it is used.
    pub clock_ahead: Duration,
}

/// Figures of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFigures {
    /// The stream.
    pub stream: StreamId,
    /// The client that it belongs to.
    pub client: String,
    /// The issuer whose events it carries.
    pub issuer: String,
    /// How many event types it carries. One that carries none can be verified, and sends nothing else.
    pub event_types: usize,
    /// Its status.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// Whether an operator set the status.
    pub held: bool,
    /// How it is polled, if it is.
    pub polls: Option<PollRules>,
    /// How its receiver is in trouble, if it is.
    pub suspended: Option<Suspension>,
    /// Deliveries that failed while others of the stream are delivered, each waiting alone for its next attempt; 64 at
    /// most.
    pub delayed: usize,
    /// SETs that its receiver has, since the process started.
    pub delivered: u64,
    /// Attempts that were repeated, since the process started.
    pub retries: u64,
    /// SETs that were owed again because an operator asked for it, since the process started.
    pub again: u64,
    /// Pushes that are on their way.
    pub in_flight: usize,
    /// Whether its client is switched off, so that nothing is sent.
    pub switched_off: bool,
    /// How many may be.
    pub window: usize,
    /// What the store knows of it. None if only what is in memory was asked for.
    pub backlog: Option<Backlog>,
    /// Deliveries that are not settled.
    pub pending: u64,
    /// How many of them are in memory.
    pub in_memory: usize,
    /// The version of its settings: it changes whenever they do.
    pub version: u64,
}

/// A receiver's trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Of which kind.
    pub kind: TroubleKind,
    /// What the last failure was: the receiver's answer, or an error of the network.
    pub reason: String,
    /// How often in a row nothing could be delivered: the failures that led to the suspension count as one.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub until: Timestamp,
}

/// Why a transmitter is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The store does not answer.
    #[error("the store does not answer: {0}")]
    Store(String),
    /// The store answers and takes nothing new in.
    #[error("new events are rejected: {0}")]
    Intake(String),
    /// What is stored was found to be damaged since the process started.
    #[error("the store is damaged: stop the server and restore a backup")]
    Damaged,
    /// A delivery that could be attempted is not, and nothing is in its way.
    #[error("stream {0} has something to send and does not send it")]
    Stalled(StreamId),
    /// It is ending.
    #[error("the transmitter is ending")]
    Closing,
}

/// How long a due delivery may stand without an attempt.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// How long the store may take to answer.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

impl Transmitter {
    /// Figures of all streams together.
    pub fn figures(&self) -> Figures {
        let accepted = self.accepted.load(Ordering::Relaxed);
        let mut figures = Figures {
            accepted,
            commits: self.store.figures(),
            clock_ahead: self.clock_state().expiry.ahead.unwrap_or_default(),
            ..Figures::default()
        };
        let entries = self.table.all();
        // What streams did that are gone since stays counted: totals only grow.
        for counts in entries.iter().map(|entry| &entry.counts).chain([&self.gone]) {
            figures.delivered += counts.delivered.get();
            figures.rejected += counts.rejected.get();
            figures.abandoned += counts.abandoned.get();
            figures.dropped += counts.dropped.get();
            figures.superseded += counts.superseded.get();
            figures.retries += counts.retries.get();
            figures.again += counts.again.get();
        }
        for entry in entries {
            figures.streams += 1;
            let outgoing = entry.outgoing();
            figures.suspended += u64::from(outgoing.suspended().is_some());
            figures.pending += outgoing.load().pending;
            figures.in_flight += u64::try_from(outgoing.on_their_way()).unwrap_or(u64::MAX);
        }
        figures
    }

    /// The figures of each stream that are in memory, in the order in which the streams were made: those behind `after`,
    /// `limit` at most. Behind a stream that is gone there are none. Behind a stream that is gone there are none.
    pub fn all_stream_figures(&self, after: Option<&StreamId>, limit: usize) -> Vec<StreamFigures> {
        let entries = self.table.all();
        let first = match after {
            None => 0,
            Some(after) => {
                let last = entries.iter().position(|entry| entry.settings().stream.id == after.as_str());
                last.map_or(entries.len(), |last| last + 1)
            }
        };
        entries.iter().skip(first).take(limit).map(figures_of).collect()
    }

    /// The figures of one stream, with what the store knows of it. None if there is no such stream.
    pub async fn stream_figures(&self, id: &StreamId) -> Result<Option<StreamFigures>, StoreError> {
        let Some(entry) = self.table.by_id(id.as_str()) else { return Ok(None) };
        let backlog = self.store.backlog(entry.settings().stream.number()).await?;
        Ok(Some(StreamFigures { backlog: Some(backlog), ..figures_of(&entry) }))
    }

    /// Whether the store answers and the engine moves. A stream whose receiver is in trouble, or that is paused, is no
    /// reason not to be ready.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if self.is_closing() {
            return Err(NotReady::Closing);
        }
        match tokio::time::timeout(STORE_PATIENCE, self.store_takes_events()).await {
            Ok(Ok(())) => {}
            Ok(Err(error @ (StoreError::Full | StoreError::DiskFull))) => {
                return Err(NotReady::Intake(error.to_string()));
            }
            Ok(Err(error)) => return Err(NotReady::Store(error.to_string())),
            Err(_) => return Err(NotReady::Store(format!("not within {}", Span(STORE_PATIENCE)))),
        }
        if self.store.figures().damaged > 0 {
            return Err(NotReady::Damaged);
        }
        if self.shares.are_used_up() {
            return Ok(());
        }
        let now = self.steady_now();
        for entry in self.table.all() {
            let stalled = entry
                .outgoing()
                .stands_still_since(now)
                .is_some_and(|since| now.since(since) > STALLED_AFTER);
            if stalled && self.may_push_to(&entry) {
                return Err(NotReady::Stalled(entry.settings().stream.stream_id()));
            }
        }
        Ok(())
    }
}

impl Transmitter {
    /// Whether a reader answers, and the writer accepts events: none at all go the way that events go.
    async fn store_takes_events(&self) -> Result<(), StoreError> {
        self.store.get(Self::STORE_KEY).await?;
        match self.store.record(Vec::new()).await {
            // It has much to do, and does it.
            Ok(_) | Err(StoreError::Busy) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn figures_of(entry: &Arc<Entry>) -> StreamFigures {
    let settings = entry.settings();
    let stream = &settings.stream;
    let outgoing = entry.outgoing();
    StreamFigures {
        stream: stream.stream_id(),
        client: stream.client.clone(),
        issuer: stream.issuer.clone(),
        event_types: settings.events_delivered.len(),
        status: stream.status,
        reason: stream.reason.clone(),
        held: stream.held,
        polls: entry.is_polled().then_some(settings.polls),
        suspended: outgoing.suspended().map(|rest| Suspension {
            kind: rest.kind,
            reason: rest.detail.to_string(),
            failures: rest.failures,
            since: rest.since,
            until: rest.until,
        }),
        delayed: outgoing.delayed(),
        delivered: entry.counts.delivered.get(),
        retries: entry.counts.retries.get(),
        again: entry.counts.again.get(),
        in_flight: outgoing.on_their_way(),
        switched_off: entry.is_off(),
        window: outgoing.window(),
        backlog: None,
        pending: outgoing.load().pending,
        in_memory: outgoing.held(),
        version: settings.version.0,
    }
}
