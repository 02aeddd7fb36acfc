//! What was not delivered, and what is to be delivered again.

use crate::{BoxFuture, Delivery, Epoch, Place, Rendering, Sequence, StoreError, StreamNumber};
use secevent::Timestamp;
use std::sync::Arc;

/// A delivery that was refused for good or given up. It is kept for a while, so that somebody can look at it and
/// have it delivered after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The delivery as it was.
    pub delivery: Delivery,
    /// Who ended it.
    pub cause: Cause,
    /// What the receiver said, or why it was given up.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Why a delivery is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The receiver refused the SET.
    Rejected,
    /// It was given up: too old.
    Abandoned,
}

/// An event that was owed to a stream and is still kept, whatever became of the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// In which life of the writer it was recorded.
    pub epoch: Epoch,
    /// Its place.
    pub sequence: Sequence,
    /// How it was rendered for the stream.
    pub rendering: Rendering,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Fingerprints of its subject's identifiers.
    pub lanes: Arc<[u64]>,
}

/// A part of a stream's history, in the order of acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The events.
    pub events: Vec<Past>,
    /// Up to where was looked: the next part begins behind it. None when there is nothing behind it.
    pub next: Option<Sequence>,
}

/// What operators do about deliveries that ended, in the same store as [`Outbox`](crate::Outbox).
///
/// What is delivered again goes through the stream's queue [`Again`](crate::Queue::Again), which stands outside the
/// promised order (SEM-6). Nobody is told of it as of a commit: who asked for it reads the queue. If it dies there, it is
/// kept in that queue; but a control event is kept in [`Control`](crate::Queue::Control) again, so that all those of a
/// stream lie together.
pub trait Recovery: Send + Sync {
    /// Dead deliveries behind `after`, by stream, queue and sequence; of one stream if one is named. `limit` at most.
    fn dead(
        &self,
        stream: Option<StreamNumber>,
        after: Option<Place>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>>;

    /// Dead deliveries of control events of a stream, the oldest first, `limit` at most. Its cost does not depend on what
    /// else is dead.
    fn dead_control(
        &self,
        stream: StreamNumber,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>>;

    /// The dead delivery at this place.
    fn dead_at(&self, place: Place) -> BoxFuture<'_, Result<Option<Dead>, StoreError>>;

    /// Owes dead deliveries again, as the same SETs. A place where there is none is passed over, and so is one whose
    /// event is being delivered again to this stream already: it stays dead. Returns how many are owed again.
    fn redrive(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Forgets dead deliveries. They stay counted. Returns how many there were.
    fn discard(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Events behind `after` that were ever owed to the stream's regular queue, as far as [`trim`] has left them:
    /// some in one call, never more than `limit`, and perhaps none although there are more.
    ///
    /// [`trim`]: crate::Outbox::trim
    fn history(
        &self,
        stream: StreamNumber,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<History, StoreError>>;

    /// Owes events of a stream's history again, as SETs of this generation. Those that are owed at the moment, in
    /// whichever queue, and those that are not kept any more or never were owed to it are passed over. Returns how
    /// many are owed again.
    fn replay(
        &self,
        stream: StreamNumber,
        events: Vec<Sequence>,
        generation: u16,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;
}
