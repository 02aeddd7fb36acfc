//! What is remembered of a delivery: how it ended, and how its last attempts went.

use crate::{BoxFuture, Sequence, StoreError, StreamNumber};
use secevent::Timestamp;
use std::time::Duration;

/// One attempt to deliver a SET.
///
/// A store keeps whole milliseconds, and an attempt that took longer than [`Attempt::TOOK_MAX`] as one that took so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// What came of it.
    pub result: AttemptResult,
    /// The HTTP status of the receiver's answer, if a SET was pushed and answered.
    pub status: Option<u16>,
    /// How long the receiver took to answer, or until the attempt failed. None where nothing was pushed.
    pub took: Option<Duration>,
}

impl Attempt {
    /// How many attempts of a delivery are kept: the last ones.
    pub const KEPT_MAX: usize = 8;
    /// A longer time is kept as this.
    pub const TOOK_MAX: Duration = Duration::from_millis(65_534);

    /// The last of these attempts, oldest first: as many as are kept.
    pub fn last(attempts: &[Self]) -> &[Self] {
        &attempts[attempts.len().saturating_sub(Self::KEPT_MAX)..]
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// The receiver has the SET.
    Accepted,
    /// The receiver refused the SET for good.
    Rejected,
    /// No connection, or no answer in time.
    Unreachable,
    /// TLS failed.
    Tls,
    /// The receiver is overloaded or broken.
    Busy,
    /// Our credentials were refused.
    Credentials,
    /// The receiver does not accept our issuer, audience or key.
    Trust,
    /// There is nothing at the endpoint.
    Gone,
    /// An answer that no receiver of SETs gives.
    Unexpected,
    /// The address guard does not let the address through.
    Guard,
}

impl AttemptResult {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Rejected,
        Self::Unreachable,
        Self::Tls,
        Self::Busy,
        Self::Credentials,
        Self::Trust,
        Self::Gone,
        Self::Unexpected,
        Self::Guard,
    ];

    /// Its short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Busy => "busy",
            Self::Credentials => "credentials",
            Self::Trust => "trust",
            Self::Gone => "gone",
            Self::Unexpected => "unexpected",
            Self::Guard => "guard",
        }
    }
}

/// How a delivery ended (I3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The receiver has it.
    Acked,
    /// The receiver refused it for good.
    Rejected,
    /// It was given up: too old.
    Abandoned,
    /// It was dropped by a stated policy.
    Dropped(DropReason),
}

/// Why a delivery was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Its stream was disabled.
    Disabled,
    /// Its stream was deleted.
    Deleted,
    /// Its stream held as much as it may.
    Full,
    /// A newer status or verification of the stream replaces it.
    Superseded,
    /// Its event was erased.
    Erased,
    /// Its stream was paused before its receiver took the verification event.
    Paused,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Disabled, Self::Deleted, Self::Full, Self::Superseded, Self::Erased, Self::Paused];

    /// Its short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "stream_disabled",
            Self::Deleted => "stream_deleted",
            Self::Full => "backlog_full",
            Self::Superseded => "superseded",
            Self::Erased => "erased",
            Self::Paused => "stream_paused",
        }
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Disabled => "the stream was disabled",
            Self::Deleted => "the stream was deleted",
            Self::Full => "the stream had as much pending as it may have",
            Self::Superseded => "a newer status or verification of the stream replaces it",
            Self::Erased => "the event was erased",
            Self::Paused => "the stream was paused before the verification was sent",
        }
    }
}

/// How and when a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: Ending,
    /// When, in whole milliseconds.
    pub at: Timestamp,
}

/// What is known of an event's delivery to one stream, first delivery and repetitions together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOutcome {
    /// The stream.
    pub stream: StreamNumber,
    /// How it ended the last time. None if it never did: it is pending for the first time, or ended before the store
    /// kept this.
    pub ended: Option<Ended>,
    /// How often it was attempted.
    pub attempts: u32,
    /// The last of the attempts, oldest first, [`Attempt::KEPT_MAX`] at most. Offers to a poller are counted among the
    /// attempts and not listed here; what the poller said of the SET is.
    pub last_attempts: Vec<Attempt>,
}

/// How deliveries ended and what was tried, in the same store as [`Outbox`](crate::Outbox): kept as long as their event.
pub trait Outcomes: Send + Sync {
    /// What is known of an event's deliveries, control events included, by stream. Empty if the event is not kept.
    ///
    /// Events that were recorded before the store kept outcomes have those deliveries only that ended since.
    fn outcomes(&self, sequence: Sequence) -> BoxFuture<'_, Result<Vec<DeliveryOutcome>, StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_different_and_few_attempts_are_kept() {
        let results: BTreeSet<&str> = AttemptResult::ALL.iter().map(|result| result.name()).collect();
        let reasons: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        let meanings: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.meaning()).collect();
        assert_eq!((results.len(), reasons.len(), meanings.len()), (10, 6, 6));
        let attempt = |second| Attempt {
            at: Timestamp::from_seconds(second),
            result: AttemptResult::Busy,
            status: Some(503),
            took: None,
        };
        let many: Vec<Attempt> = (0..20).map(attempt).collect();
        assert_eq!(Attempt::last(&many), &many[12..]);
        assert_eq!(Attempt::last(&many[..3]), &many[..3]);
    }
}
