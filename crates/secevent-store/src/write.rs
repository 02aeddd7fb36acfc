//! What can be asked of a store's writer, and what it answers: the write verbs of all ports as values.

use crate::{
    Change, Delivery, DropReason, Epoch, Erase, Erased, Idempotency, Keep, NewEvent, Owed, Place, Queue,
    Receipt, Received, Recorded, Sequence, Settlement, Standing, StoreError, StreamNumber, SubjectEntry,
    SubjectFingerprint, Verdict, Version,
};
use bytes::Bytes;
use secevent::Timestamp;
use std::collections::HashMap;

/// One call of a write verb. It is applied whole, or refused whole.
#[derive(Clone, Debug)]
pub enum Write {
    /// [`Outbox::record`](crate::Outbox::record).
    Record(Vec<NewEvent>),
    /// [`Outbox::settle`](crate::Outbox::settle).
    Settle(Vec<Settlement>),
    /// A bounded step of [`Outbox::drop_stream`](crate::Outbox::drop_stream).
    DropStream {
        /// The stream.
        stream: StreamNumber,
        /// Why.
        reason: DropReason,
        /// When.
        at: Timestamp,
    },
    /// [`Documents::put_and_enter`](crate::Documents::put_and_enter).
    Put {
        /// The document's name.
        name: String,
        /// The version that it must have.
        expected: Version,
        /// Its new content; none deletes it.
        body: Option<Bytes>,
        /// What the log tells of it.
        change: Option<Box<Change>>,
    },
    /// [`Documents::new_stream_number`](crate::Documents::new_stream_number).
    NewStreamNumber,
    /// [`Inbox::receive`](crate::Inbox::receive).
    Receive(Vec<Received>),
    /// [`Inbox::handled`](crate::Inbox::handled).
    Handled(Vec<u64>),
    /// [`Inbox::failed`](crate::Inbox::failed).
    Failed {
        /// The SET's place.
        place: u64,
        /// Whether it leaves for the dead.
        dead: bool,
    },
    /// A bounded step of [`Outbox::trim`](crate::Outbox::trim).
    Trim(Keep),
    /// [`Recovery::redrive`](crate::Recovery::redrive).
    Redrive(Vec<Place>),
    /// [`Recovery::discard`](crate::Recovery::discard).
    Discard(Vec<Place>),
    /// [`Recovery::replay`](crate::Recovery::replay).
    Replay {
        /// The stream.
        stream: StreamNumber,
        /// The events.
        events: Vec<Sequence>,
        /// Which SETs they become.
        generation: u16,
    },
    /// A bounded step of [`Inbox::forget`](crate::Inbox::forget).
    Forget(Timestamp),
    /// [`Subjects::put_subjects`](crate::Subjects::put_subjects).
    PutSubjects {
        /// The stream.
        stream: StreamNumber,
        /// Its entries.
        entries: Vec<SubjectEntry>,
    },
    /// [`Subjects::forget_subjects`](crate::Subjects::forget_subjects) and
    /// [`Subjects::erase_subjects`](crate::Subjects::erase_subjects).
    ForgetSubjects {
        /// The stream. None means all of them.
        stream: Option<StreamNumber>,
        /// Which entries.
        fingerprints: Vec<SubjectFingerprint>,
    },
    /// A bounded step of [`Subjects::drop_subjects`](crate::Subjects::drop_subjects).
    DropSubjects(StreamNumber),
    /// [`Audit::enter`](crate::Audit::enter).
    Enter(Vec<Change>),
    /// A bounded step of [`Audit::forget_changes`](crate::Audit::forget_changes).
    ForgetChanges(Timestamp),
    /// [`Records::erase`](crate::Records::erase).
    Erase(Vec<Erase>),
    /// A bounded step of [`Records::clear_traces`](crate::Records::clear_traces).
    ClearTraces {
        /// Whether everything is to be written anew, in one step.
        rewrite: bool,
    },
}

/// The answer to a [`Write`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// What became of each event.
    Recorded(Vec<Recorded>),
    /// How many deliveries this step dropped.
    Dropped {
        /// How many.
        deliveries: u64,
        /// Whether the stream is owed more, so that another step is needed.
        more: bool,
    },
    /// The document's new version.
    Put(Version),
    /// A number that was never given before.
    StreamNumber(StreamNumber),
    /// What became of each SET.
    Received(Vec<Receipt>),
    /// It is done: the answer to `Settle`, `Handled`, `Failed`, `PutSubjects` and `Enter`.
    Done,
    /// How much was erased.
    Erased(Erased),
    /// How many they were: the answer to `Redrive`, `Discard`, `Replay` and `ForgetSubjects`.
    Count(u64),
    /// The step is done: the answer to `Trim`, `Forget`, `DropSubjects`, `ForgetChanges` and `ClearTraces`.
    Cleared {
        /// Whether there is more to do.
        more: bool,
    },
}

/// How much a writer has to do for a write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    /// Rows that it touches, about.
    pub(crate) rows: usize,
    /// Bytes that it holds in memory until it is committed, about.
    pub(crate) bytes: usize,
}

impl Write {
    /// Whether nobody loses anything if this waits a moment for company (SEM-13).
    pub fn is_lazy(&self) -> bool {
        match self {
            Self::Settle(_) | Self::Handled(_) | Self::Failed { .. } => true,
            Self::Record(_)
            | Self::DropStream { .. }
            | Self::Put { .. }
            | Self::NewStreamNumber
            | Self::Redrive(_)
            | Self::Discard(_)
            | Self::Replay { .. }
            | Self::Receive(_)
            | Self::PutSubjects { .. }
            | Self::ForgetSubjects { .. }
            // Steps of these are many, and each caller waits for one before it asks for the next.
            | Self::Trim(_)
            | Self::Forget(_)
            | Self::DropSubjects(_)
            | Self::ForgetChanges(_)
            | Self::Enter(_)
            | Self::Erase(_)
            | Self::ClearTraces { .. } => false,
        }
    }

    /// Whether a crash may undo this though it was answered, because it then happens again by itself: a group of
    /// nothing else need not wait for the disk.
    pub fn may_be_undone(&self) -> bool {
        matches!(self, Self::Settle(_) | Self::Trim(_) | Self::Forget(_) | Self::ForgetChanges(_))
    }

    /// Whether this brings new work in, and needs room for it. Everything else finishes work that was taken on.
    pub fn is_intake(&self) -> bool {
        match self {
            Self::Record(_) | Self::Receive(_) | Self::Replay { .. } => true,
            // What is removed must be removed also when there is no room for more.
            Self::PutSubjects { entries, .. } => {
                entries.iter().any(|entry| entry.standing == Standing::Added)
            }
            _ => false,
        }
    }

    pub(crate) fn weight(&self) -> Weight {
        let (rows, bytes) = match self {
            Self::Record(events) => events.iter().fold((0, 0), |(rows, bytes), event| {
                (rows + 1 + event.owed.len(), bytes + bytes_of_event(event))
            }),
            Self::Settle(settlements) => {
                (settlements.len(), settlements.iter().map(bytes_of_settlement).sum())
            }
            Self::Put { name, body, change, .. } => {
                let change = change.as_deref().map_or(0, bytes_of_change);
                (1 + usize::from(change > 0), name.len() + body.as_ref().map_or(0, Bytes::len) + change)
            }
            Self::Receive(sets) => (2 * sets.len(), sets.iter().map(bytes_of_set).sum()),
            Self::Handled(places) => (places.len(), size_of_val(places.as_slice())),
            Self::Redrive(places) | Self::Discard(places) => {
                (2 * places.len(), size_of_val(places.as_slice()))
            }
            Self::Replay { events, .. } => (2 * events.len(), size_of_val(events.as_slice())),
            Self::PutSubjects { entries, .. } => {
                let bytes = |entry: &SubjectEntry| size_of::<SubjectEntry>() + entry.subject.len();
                (2 * entries.len(), entries.iter().map(bytes).sum())
            }
            Self::ForgetSubjects { stream, fingerprints } => {
                // Each of them is looked for in each of the streams, of which there may be hundreds.
                let streams = if stream.is_some() { 1 } else { 256 };
                (2 * streams * fingerprints.len(), size_of_val(fingerprints.as_slice()))
            }
            // A step of these is bounded by the store, and large.
            Self::DropStream { .. }
            | Self::Trim(_)
            | Self::Forget(_)
            | Self::DropSubjects(_)
            | Self::ForgetChanges(_)
            | Self::ClearTraces { .. } => (512, 0),
            Self::Enter(changes) => (changes.len(), changes.iter().map(bytes_of_change).sum()),
            Self::Erase(erase) => (erase.iter().map(rows_of_erase).sum(), size_of_val(erase.as_slice())),
            Self::NewStreamNumber | Self::Failed { .. } => (1, 0),
        };
        Weight { rows: rows.max(1), bytes: bytes + size_of::<Self>() }
    }
}

fn bytes_of_event(event: &NewEvent) -> usize {
    let named = |name: &Idempotency| name.scope.len() + name.key.len();
    size_of::<NewEvent>()
        + event.body.len()
        + size_of_val(event.lanes.as_ref())
        + event.owed.len() * size_of::<Owed>()
        + size_of_val(event.dropped.as_slice())
        + event.idempotency.as_ref().map_or(0, named)
}

fn bytes_of_settlement(settlement: &Settlement) -> usize {
    size_of::<Settlement>()
        + match &settlement.verdict {
            Verdict::Rejected(reason) | Verdict::Abandoned(reason) => reason.len(),
            Verdict::Retry { signed, .. } => signed.as_ref().map_or(0, |signed| signed.0.len()),
            Verdict::Acked | Verdict::Dropped(_) => 0,
        }
}

fn bytes_of_change(change: &Change) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    size_of::<Change>() + change.object.len() + text(&change.before) + text(&change.after)
}

fn rows_of_erase(erase: &Erase) -> usize {
    match erase {
        Erase::Event { streams, .. } => 2 + 4 * streams.len(),
        Erase::Name(_) | Erase::Reason { .. } | Erase::Change { .. } => 1,
    }
}

fn bytes_of_set(set: &Received) -> usize {
    size_of::<Received>() + set.source.len() + set.iss.len() + set.jti.len() + set.token.len()
}

// A writer that answers something else than what it was asked has a bug, and its caller cannot go on.
impl Written {
    pub(crate) fn recorded(self) -> Vec<Recorded> {
        match self {
            Self::Recorded(recorded) => recorded,
            other => unreachable!("`Record` was answered by {other:?}"),
        }
    }

    pub(crate) fn dropped(self) -> (u64, bool) {
        match self {
            Self::Dropped { deliveries, more } => (deliveries, more),
            other => unreachable!("`DropStream` was answered by {other:?}"),
        }
    }

    pub(crate) fn version(self) -> Version {
        match self {
            Self::Put(version) => version,
            other => unreachable!("`Put` was answered by {other:?}"),
        }
    }

    pub(crate) fn stream_number(self) -> StreamNumber {
        match self {
            Self::StreamNumber(number) => number,
            other => unreachable!("`NewStreamNumber` was answered by {other:?}"),
        }
    }

    pub(crate) fn receipts(self) -> Vec<Receipt> {
        match self {
            Self::Received(receipts) => receipts,
            other => unreachable!("`Receive` was answered by {other:?}"),
        }
    }

    pub(crate) fn done(self) {
        debug_assert_eq!(self, Self::Done, "a settlement was answered by something else");
    }

    pub(crate) fn count(self) -> u64 {
        match self {
            Self::Count(count) => count,
            other => {
                unreachable!("`Redrive`, `Discard`, `Replay` or `ForgetSubjects` was answered by {other:?}")
            }
        }
    }

    pub(crate) fn erased(self) -> Erased {
        match self {
            Self::Erased(erased) => erased,
            other => unreachable!("`Erase` was answered by {other:?}"),
        }
    }

    pub(crate) fn more(self) -> bool {
        match self {
            Self::Cleared { more } => more,
            other => unreachable!("a step of clearing was answered by {other:?}"),
        }
    }
}

/// The places that were committed last in each queue, so that each new delivery can name the one before it.
#[derive(Debug, Default)]
pub(crate) struct Links {
    last: HashMap<(StreamNumber, Queue), Sequence>,
}

impl Links {
    /// The deliveries that a group has made durable, in commit order, without those that it dropped again.
    pub(crate) fn follow(
        &mut self,
        writes: &[Write],
        answers: &[Result<Written, StoreError>],
    ) -> Vec<(Delivery, Option<Sequence>)> {
        let mut committed = Vec::new();
        for (write, answer) in writes.iter().zip(answers) {
            match (write, answer) {
                (Write::Record(events), Ok(Written::Recorded(recorded))) => {
                    for (event, recorded) in events.iter().zip(recorded) {
                        if let Recorded::New { epoch, sequence } = *recorded {
                            self.follow_event(event, epoch, sequence, &mut committed);
                        }
                    }
                }
                (Write::DropStream { stream, .. }, Ok(_)) => {
                    committed.retain(|(delivery, _): &(Delivery, _)| delivery.stream != *stream);
                    for queue in Queue::ALL {
                        self.last.remove(&(*stream, queue));
                    }
                }
                _ => {}
            }
        }
        committed
    }

    fn follow_event(
        &mut self,
        event: &NewEvent,
        epoch: Epoch,
        sequence: Sequence,
        committed: &mut Vec<(Delivery, Option<Sequence>)>,
    ) {
        for owed in &event.owed {
            let before = self.last.insert((owed.stream, owed.queue), sequence);
            if before != Some(sequence) {
                committed.push((delivery_of(event, epoch, sequence, *owed), before));
            }
        }
    }
}

/// A delivery as it is when its event has just been recorded.
pub(crate) fn delivery_of(event: &NewEvent, epoch: Epoch, sequence: Sequence, owed: Owed) -> Delivery {
    Delivery {
        epoch,
        sequence,
        stream: owed.stream,
        queue: owed.queue,
        rendering: owed.rendering,
        accepted_at: event.accepted_at,
        body: event.body.clone(),
        lanes: event.lanes.clone(),
        generation: 0,
        attempts: 0,
        due_at: event.accepted_at,
        signed: None,
    }
}
