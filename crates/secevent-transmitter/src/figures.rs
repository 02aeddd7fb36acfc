//! How it goes: figures of the whole and of each stream, and whether the engine is ready (SEM-10).

use crate::audit::{Actor, shown_url};
use crate::config::{BacklogLimits, PollRules};
use crate::manage::endpoint_of;
use crate::retry::TroubleKind;
use crate::stream::Target;
use crate::table::Entry;
use crate::transmitter::Transmitter;
use secevent::{Audience, Span, Timestamp};
use secevent_ssf::{DefaultSubjects, Method, Status, StreamId};
use secevent_store::{Backlog, ChangeFilter, CommitFigures, StoreError};
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
    /// The name by which configuration declares it, or did.
    pub name: Option<String>,
    /// Whether it is pushed or polled.
    pub method: Method,
    /// Where: the receiver's URL or ours. What is behind a question mark is hidden.
    pub endpoint_url: String,
    /// How many event types it carries. One that carries none can be verified, and sends nothing else.
    pub event_types: usize,
    /// Its status.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// Whether its receiver cannot end the status: an operator set it, or configuration does not declare the stream any more.
    pub held: bool,
    /// Whether the stream is disabled because configuration does not declare it any more.
    pub withdrawn: bool,
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

/// What a stream is, beside how it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDetails {
    /// What its receiver is called in `aud`.
    pub audience: Audience,
    /// Whether configuration declares it now.
    pub declared: bool,
    /// Whether pushes carry a credential, which is never shown.
    pub has_credential: bool,
    /// The event types that its receiver asked for, as it asked. None if it carries all that its client may have.
    pub events_requested: Option<Vec<String>>,
    /// Those that it carries, by URI.
    pub events_delivered: Vec<String>,
    /// Those that it may carry, by URI: what its issuer supports and its client may have.
    pub events_supported: Vec<String>,
    /// Words about it: its receiver's, or configuration's.
    pub description: Option<String>,
    /// The subject format that a receiver of SSE ID1 wants (LEGACY-10).
    pub format: Option<String>,
    /// Which subjects it has of which nothing was said.
    pub default_subjects: DefaultSubjects,
    /// How many subjects its receiver added or removed, as far as that is kept.
    pub subjects: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last, and by whom. None if that is not in the log of changes.
    pub updated: Option<LastChange>,
    /// When its status was set last, and by whom. None if it never was, or that is not in the log of changes.
    pub status_set: Option<LastChange>,
    /// What a stream may hold (SEM-9).
    pub limits: BacklogLimits,
    /// How long a delivery is attempted before it is given up.
    pub age_max: Duration,
    /// How long dead deliveries are kept.
    pub dead_kept: Duration,
    /// How far back its history can be replayed.
    pub history: Duration,
}

/// When something was changed last, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
}

/// A receiver's trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Of which kind.
    pub kind: TroubleKind,
    /// What the last failure was: the receiver's answer, or an error of the network.
    pub reason: String,
    /// How often in a row nothing could be delivered: the failures that led to the suspension count as one, and attempts
    /// that an operator asked for do not count.
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
    /// `limit` at most. Behind a stream that is gone there are none.
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

    /// What one stream is. None if there is no such stream.
    pub async fn stream_details(&self, id: &StreamId) -> Result<Option<StreamDetails>, StoreError> {
        /// Changes that are looked through for the one that set the status.
        const CHANGES_MAX: usize = 100;
        let Some(entry) = self.table.by_id(id.as_str()) else { return Ok(None) };
        let settings = entry.settings();
        let stream = &settings.stream;
        let filter = ChangeFilter {
            stream: Some(stream.id.clone()),
            action: Some("stream.".to_owned()),
            ..ChangeFilter::default()
        };
        let changes = self.store.changes(filter, None, CHANGES_MAX).await?;
        let last = |actions: &[&str]| {
            let change = changes.iter().map(|entered| &entered.change);
            let last = change.into_iter().find(|change| actions.contains(&change.action.as_str()))?;
            Some(LastChange { at: last.at, actor: Actor::named(&last.actor, last.actor_id.as_deref()) })
        };
        let configuration = self.configuration(&settings);
        Ok(Some(StreamDetails {
            audience: configuration.aud,
            declared: stream.declared_name().is_some_and(|(_, is_withdrawn)| !is_withdrawn),
            has_credential: matches!(&stream.target, Target::Push { authorization: Some(_), .. }),
            events_requested: configuration.events_requested,
            events_delivered: configuration.events_delivered,
            events_supported: configuration.events_supported.unwrap_or_default(),
            description: configuration.description,
            format: configuration.format,
            default_subjects: stream.default_subjects,
            subjects: entry.subjects.entries(),
            created_at: stream.created_at,
            updated: last(&[
                "stream.create",
                "stream.update",
                "stream.enable",
                "stream.pause",
                "stream.disable",
                "stream.status",
            ]),
            // Releases before had one name for all of them.
            status_set: last(&["stream.enable", "stream.pause", "stream.disable", "stream.status"]),
            limits: self.config.backlog,
            age_max: self.config.retry.age_max,
            dead_kept: self.config.dead_kept,
            history: self.config.history,
        }))
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
    let (method, endpoint_url) = endpoint_of(stream);
    let outgoing = entry.outgoing();
    StreamFigures {
        stream: stream.stream_id(),
        client: stream.client.clone(),
        issuer: stream.issuer.clone(),
        name: stream.declared_name().map(|(name, _)| name.to_owned()),
        method,
        endpoint_url: shown_url(&endpoint_url).into_owned(),
        event_types: settings.events_delivered.len(),
        status: stream.status,
        reason: stream.reason.clone(),
        held: stream.held,
        withdrawn: stream.is_withdrawn(),
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
