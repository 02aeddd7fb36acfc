//! What an operator orders of one stream beside its status: an attempt now, and its end.

use crate::audit;
use crate::manage::ManageError;
use crate::stream::Target;
use crate::transmitter::{Transmitter, TransmitterError};
use secevent_ssf::{Status, StreamId};
use serde_json::json;
use tracing::info;

/// What [`Transmitter::retry_stream`] found and changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried {
    /// How often in a row nothing could be delivered, if the stream is suspended. One delivery is attempted now, and the
    /// others follow if it is accepted.
    pub suspended_after: Option<u32>,
    /// How many deliveries that waited alone for their next attempt are due now.
    pub delayed: usize,
    /// Attempts that were under way already.
    pub in_flight: usize,
    /// How many deliveries are pending. If there are none, nothing is attempted.
    pub pending: u64,
}

/// Why nothing is attempted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// There is no such stream.
    #[error("there is no such stream")]
    NoSuchStream,
    /// The receiver polls.
    #[error("the stream is polled: its receiver gets SETs when it asks for them, and nothing is retried")]
    Polled,
    /// Nothing is sent to a stream with this status.
    #[error("the stream is {0}, and nothing is sent: enable it")]
    NotEnabled(Status),
    /// Nothing is sent to the streams of a client that is switched off.
    #[error("the client of the stream is disabled, and nothing is sent: enable the client")]
    ClientDisabled,
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

impl Transmitter {
    /// Has the next attempt made now: neither a suspended stream nor a delayed delivery waits for its time. A suspended
    /// stream sends one delivery; the window, the order and the shares hold as always. If that fails, the stream waits
    /// again as long as it did before (SEM-8).
    pub async fn retry_stream(&self, id: &StreamId) -> Result<Retried, RetryError> {
        let entry = self.table.by_id(id.as_str()).ok_or(RetryError::NoSuchStream)?;
        let settings = entry.settings();
        let stream = &settings.stream;
        if matches!(stream.target, Target::Poll { .. }) {
            return Err(RetryError::Polled);
        }
        if stream.status != Status::Enabled && !stream.untold {
            return Err(RetryError::NotEnabled(stream.status));
        }
        if entry.is_off() {
            return Err(RetryError::ClientDisabled);
        }
        let retried = {
            let mut outgoing = entry.outgoing();
            let suspended_after = outgoing.suspended().map(|suspended| suspended.failures);
            let in_flight = outgoing.on_their_way();
            let pending = outgoing.load().pending;
            Retried { suspended_after, delayed: outgoing.try_now(self.steady_now()), in_flight, pending }
        };
        self.wake(&entry);
        info!(stream.id = %id, was_suspended = retried.suspended_after.is_some(), delayed = retried.delayed, "Retry requested");
        let after = json!({ "was_suspended": retried.suspended_after.is_some(), "delayed": retried.delayed });
        audit::ourselves(self.enter_change(self.recovery("stream.retry", id.as_str(), after))).await?;
        Ok(retried)
    }

    /// Deletes a stream for its operator, if it still has one of the versions that are expected. What is pending for it is dropped,
    /// as when its receiver deletes it. One that configuration declares is not deleted: the next start would make it
    /// again.
    pub async fn remove_stream(&self, id: &StreamId, expected: Option<&[u64]>) -> Result<(), ManageError> {
        let entry = self.table.by_id(id.as_str()).ok_or(ManageError::NoSuchStream)?;
        entry.settings().stream.is_its_receivers()?;
        audit::ourselves(self.end_stream_if(&entry, expected)).await
    }
}
