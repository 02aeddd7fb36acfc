//! Events, and the deliveries that are owed to streams.

use crate::{Attempt, BoxFuture, DropReason, Epoch, StoreError};
use bytes::Bytes;
use secevent::Timestamp;
use std::fmt;
use std::sync::Arc;

/// An event's place in the order of acceptance, across all streams of one store. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// A stream's number within one store. Numbers are never given twice, so that a delivery's identifier can
/// never mean another stream's delivery (SEM-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNumber(pub u32);

impl fmt::Display for StreamNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an immutable rendering: how an event becomes the claims of a SET for one stream (SEM-3).
/// Deliveries keep the number that was current when they were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rendering(pub u32);

/// The queues of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Verification and stream-updated events: they go ahead of the backlog (SEM-7).
    Control,
    /// Everything else, in order per subject.
    Regular,
    /// What is delivered again because an operator asked for it: outside the promised order (SEM-6).
    Again,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Control, Self::Regular, Self::Again];
}

/// Where a delivery is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// To which stream it is owed.
    pub stream: StreamNumber,
    /// In which of its queues.
    pub queue: Queue,
    /// The event's place.
    pub sequence: Sequence,
}

/// An event that is to be recorded, with the deliveries that it is owed as.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// When it was accepted: the `iat` of its SETs.
    pub accepted_at: Timestamp,
    /// The claims that all its SETs share, as the inside of a JSON object: `"txn":…,"sub_id":…,"events":…`.
    pub body: Bytes,
    /// Fingerprints of the identifiers by which its deliveries are kept in order (SEM-5).
    pub lanes: Arc<[u64]>,
    /// What the producer calls it, so that a repeat can be told.
    pub idempotency: Option<Idempotency>,
    /// To whom it is owed.
    pub owed: Vec<Owed>,
    /// To whom it would be owed if their backlog were not as long as it may be: counted as dropped (SEM-9).
    pub dropped: Vec<StreamNumber>,
}

/// A producer's name for one event (SEM-15).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// Who calls it so: names of different producers do not meet.
    pub scope: String,
    /// The name.
    pub key: String,
    /// A digest of what was sent under this name.
    pub digest: [u8; 32],
}

/// One delivery that an event is owed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// To which stream.
    pub stream: StreamNumber,
    /// In which of its queues.
    pub queue: Queue,
    /// How it is rendered.
    pub rendering: Rendering,
}

/// What became of an event that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is stored, and survives a crash.
    New {
        /// In which life of the writer.
        epoch: Epoch,
        /// Its place.
        sequence: Sequence,
    },
    /// Its name was used before for the same content: nothing was stored, this is the first answer.
    Repeated {
        /// In which life of the writer the first was recorded.
        epoch: Epoch,
        /// The place of the first.
        sequence: Sequence,
        /// To how many streams the first was owed.
        deliveries: u32,
    },
    /// Its name was used before for other content, or that of another event of the same call was: nothing of
    /// the call was stored, and all its events are answered so.
    Different,
}

/// One SET that is owed to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// In which life of the writer the event was recorded: part of the delivery's identifier.
    pub epoch: Epoch,
    /// The event's place.
    pub sequence: Sequence,
    /// To which stream.
    pub stream: StreamNumber,
    /// In which of its queues.
    pub queue: Queue,
    /// How it is rendered.
    pub rendering: Rendering,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// The claims that all SETs of the event share.
    pub body: Bytes,
    /// Fingerprints of the identifiers that keep it in order.
    pub lanes: Arc<[u64]>,
    /// Zero, and more where it is a new SET about what was told before (SEM-1).
    pub generation: u16,
    /// How often it was attempted and refused or unanswered, as far as that was stored.
    pub attempts: u32,
    /// Not to be attempted again before this.
    pub due_at: Timestamp,
    /// How it was signed when it was sent, as far as that was stored.
    pub signed: Option<Signed>,
}

impl Delivery {
    /// Where it is kept.
    pub fn place(&self) -> Place {
        Place { stream: self.stream, queue: self.queue, sequence: self.sequence }
    }
}

/// A delivery that is not settled, as far as settling it needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsettledDelivery {
    /// Where it is kept.
    pub place: Place,
    /// In which life of the writer the event was recorded.
    pub epoch: Epoch,
    /// Zero, and more where it is a new SET about what was told before (SEM-1).
    pub generation: u16,
    /// How long its body is.
    pub body_bytes: usize,
}

/// A signature without what it signs: a JWS in its detached form (RFC 7515, appendix F). With the delivery's claims,
/// which never change, it is the token that was sent before (SEM-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed(pub Bytes);

/// Deliveries of one queue of one stream, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The deliveries, by sequence.
    pub deliveries: Vec<Delivery>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// What became of a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The event's place.
    pub sequence: Sequence,
    /// The stream.
    pub stream: StreamNumber,
    /// The queue.
    pub queue: Queue,
    /// When.
    pub at: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// How often it was attempted in all, where the verdict does not say so. None: as often as is stored, and once more
    /// if there is an `attempt`.
    pub attempts: Option<u32>,
    /// The attempt that led to this, if one did.
    pub attempt: Option<Attempt>,
}

impl Settlement {
    /// Where the delivery is kept.
    pub fn place(&self) -> Place {
        Place { stream: self.stream, queue: self.queue, sequence: self.sequence }
    }
}

/// How an attempt ended for the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Acked,
    /// The receiver refused it for good; the text says why. It is counted among the dead.
    Rejected(String),
    /// It was given up: too old. Counted among the dead.
    Abandoned(String),
    /// It is not delivered, for this reason: counted as dropped. This ends a dead delivery too, which stays counted as what
    /// it was.
    Dropped(DropReason),
    /// To be tried again.
    Retry {
        /// Not before this.
        at: Timestamp,
        /// How often it has been attempted.
        attempts: u32,
        /// How it was signed. None leaves what is stored.
        signed: Option<Signed>,
    },
}

/// How much is owed to a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that are not settled.
    pub pending: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
    /// Deliveries that were refused for good, ever.
    pub rejected: u64,
    /// Deliveries that were given up, ever.
    pub abandoned: u64,
    /// Deliveries that were dropped by a stated policy, ever: their stream ended, or held all that it may.
    pub dropped: u64,
    /// Refused and given up deliveries that are still kept.
    pub dead: u64,
}

/// What is owed to one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owing {
    /// The stream.
    pub stream: StreamNumber,
    /// Deliveries that are not settled.
    pub pending: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
}

/// From when on is kept what nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Producers' names, and events of which nothing is owed.
    pub history: Timestamp,
    /// Dead deliveries.
    pub dead: Timestamp,
}

/// What the writer has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitFigures {
    /// Groups that were committed.
    pub groups: u64,
    /// Calls in them.
    pub calls: u64,
    /// Groups that failed as a whole.
    pub failed: u64,
    /// Calls that met damage ([`StoreError::Corrupt`]).
    pub damaged: u64,
    /// Pages in the write-ahead log, if there is one.
    pub log_pages: usize,
    /// How long all of them took.
    pub time: std::time::Duration,
}

/// Bytes of bodies after which a page ends, although more rows were asked for.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// Keeps events and deliveries. Sequences are given in the order of commits, as [`Outbox::page`] sees them.
pub trait Outbox: Send + Sync {
    /// Records events with their deliveries, all or none. Once this returns they survive a crash.
    fn record(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Recorded>, StoreError>>;

    /// The unsettled deliveries of a queue behind `after`, due or not: `limit` at most, and not many more bytes than
    /// [`PAGE_BYTES_MAX`] in their bodies.
    fn page(
        &self,
        stream: StreamNumber,
        queue: Queue,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// The deliveries of an event to a stream that are not settled: one, rarely two if one of them is owed again.
    fn deliveries(
        &self,
        stream: StreamNumber,
        sequence: Sequence,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>>;

    /// The deliveries of these events to a stream that are not settled, in any queue. It is one look-up, however many
    /// there are: receivers acknowledge thousands at once, most of which may be settled.
    fn unsettled(
        &self,
        stream: StreamNumber,
        sequences: Vec<Sequence>,
    ) -> BoxFuture<'_, Result<Vec<UnsettledDelivery>, StoreError>>;

    /// Settles deliveries. Repeating a settlement changes nothing; one that names no unsettled delivery is
    /// ignored. Once a delivery of the queue [`Queue::Again`] is acked, no delivery of its event to that stream is dead. A
    /// crash may undo what was settled in the last moment: it costs a repeated delivery, no loss.
    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Gives up everything that is owed to a stream, as counted drops. Returns how many that were.
    fn drop_stream(
        &self,
        stream: StreamNumber,
        reason: DropReason,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// How much is owed to a stream.
    fn backlog(&self, stream: StreamNumber) -> BoxFuture<'_, Result<Backlog, StoreError>>;

    /// The streams to which something is owed, by number.
    fn owing(&self) -> BoxFuture<'_, Result<Vec<Owing>, StoreError>>;

    /// Forgets what nobody needs any more and is older than `keep` says; a bounded number at a time. Returns whether
    /// there is more to do.
    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// What the writer has done since it started.
    fn figures(&self) -> CommitFigures;

    /// Names who is told of each commit. The observer sees groups in commit order and must not block; what it
    /// misses it finds by [`Outbox::page`]. There is one: a second call replaces the first.
    fn observe(&self, observer: Arc<dyn CommitObserver>);
}

/// Is told what has just become durable.
pub trait CommitObserver: Send + Sync {
    /// These deliveries are stored. Each comes with the place of the delivery before it in the same queue, if
    /// the writer knows it: an observer whose last seen place is another one has missed some (SEM-12).
    fn committed(&self, deliveries: Vec<(Delivery, Option<Sequence>)>);
}
