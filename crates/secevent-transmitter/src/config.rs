//! How a transmitter works.

use crate::issuer::IssuerConfig;
use crate::outgoing::Load;
use crate::retry::RetryPolicy;
use crate::subjects::SubjectLimits;
use secevent_jose::{Algorithm, RotationTimes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a transmitter works. Every bound can be changed; none can be left out.
#[derive(Clone, Debug)]
pub struct TransmitterConfig {
    /// The issuers that it speaks for.
    pub issuers: Vec<IssuerConfig>,
    /// Deliveries on their way at once, to all receivers together. Of these, probes of receivers in trouble take a
    /// quarter at most, and an eighth is kept for streams that have few on their way. Default: 512.
    pub pushes_max: usize,
    /// Deliveries on their way at once to one receiver. Default: 64.
    pub pushes_per_stream_max: usize,
    /// How long a receiver may take to answer a push. Default: 10 s.
    pub push_timeout: Duration,
    /// When failed pushes are repeated, and what suspends a stream.
    pub retry: RetryPolicy,
    /// What a stream may hold, and what happens when it holds that much.
    pub backlog: BacklogLimits,
    /// How long a receiver may be in trouble until its stream is paused, which its receiver is told once it is
    /// back and ends itself (SEM-8). Default: 3 days.
    pub pause_after: Duration,
    /// How long a poll waits for something to deliver. Default: 30 s.
    pub poll_wait_max: Duration,
    /// SETs in one poll answer at most. Default: 100.
    pub poll_sets_max: usize,
    /// How long a poller has to acknowledge before a SET is handed out again. Until then it is hidden, and so is what
    /// waits for it. Default: 60 s.
    pub poll_visibility: Duration,
    /// The time between polls that do not wait and get nothing, on the average of twenty. Who polls more often is
    /// asked to come later. Default: 100 ms.
    pub poll_interval_min: Duration,
    /// What one poll's answer may hold about one subject. Default: one SET.
    pub poll_order: PollOrder,
    /// The same two for single clients. A stream's own come before them. Default: none.
    pub client_polls: BTreeMap<String, PollOptions>,
    /// How long a settled event and its producer's idempotency key are kept, and so how far back events can be
    /// replayed. Default: 24 h.
    pub history: Duration,
    /// How long dead deliveries are kept. Default: 30 days.
    pub dead_kept: Duration,
    /// How long the log of changes is kept. Default: 365 days.
    pub audit_kept: Duration,
    /// How often the store is tidied and what is too old is given up. Default: 60 s.
    pub housekeeping: Duration,
    /// Streams that one client may have. Default: 10.
    pub streams_per_client_max: usize,
    /// The time between two verification events that a receiver asks for, in whole seconds. Who asks sooner is asked
    /// to come later (SSF-82). Default: zero, which bounds nothing.
    pub verification_interval_min: Duration,
    /// How often an enabled stream gets a verification event unasked, so that a receiver knows silence from trouble;
    /// looked at as often as housekeeping is done. Default: never.
    pub heartbeat: Option<Duration>,
    /// What becomes of streams whose receivers are silent (SSF-84). Default: nothing.
    pub inactivity: Option<Inactivity>,
    /// How long keys are published before they sign and after.
    pub key_times: RotationTimes,
    /// Clients whose SETs are signed with another algorithm than their issuer's own. Default: none.
    pub client_algorithms: BTreeMap<String, Algorithm>,
    /// Threads that sign with RSA. Default: one for each processor.
    pub signing_threads: usize,
    /// How many subjects streams may have, and where they are held.
    pub subjects: SubjectLimits,
}

impl TransmitterConfig {
    /// The defaults, for these issuers.
    pub fn new(issuers: Vec<IssuerConfig>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            issuers,
            pushes_max: 512,
            pushes_per_stream_max: 64,
            push_timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            backlog: BacklogLimits::default(),
            pause_after: 3 * DAY,
            poll_wait_max: Duration::from_secs(30),
            poll_sets_max: 100,
            poll_visibility: Duration::from_secs(60),
            poll_interval_min: Duration::from_millis(100),
            poll_order: PollOrder::PerSubject,
            client_polls: BTreeMap::new(),
            history: DAY,
            dead_kept: 30 * DAY,
            audit_kept: 365 * DAY,
            housekeeping: Duration::from_secs(60),
            streams_per_client_max: 10,
            verification_interval_min: Duration::ZERO,
            heartbeat: None,
            inactivity: None,
            key_times: RotationTimes::default(),
            client_algorithms: BTreeMap::new(),
            signing_threads: std::thread::available_parallelism().map_or(1, usize::from),
            subjects: SubjectLimits::default(),
        }
    }
}

/// How much one stream may be owed (SEM-9). How old a delivery may get is [`RetryPolicy::age_max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Deliveries. Default: 1 000 000.
    pub deliveries_max: u64,
    /// Bytes of events. Default: 1 GiB.
    pub bytes_max: u64,
    /// What happens there. Default: [`Overflow::Pause`].
    pub overflow: Overflow,
}

impl Default for BacklogLimits {
    fn default() -> Self {
        Self { deliveries_max: 1_000_000, bytes_max: 1 << 30, overflow: Overflow::Pause }
    }
}

impl BacklogLimits {
    pub(crate) fn are_reached(&self, load: Load) -> bool {
        load.pending >= self.deliveries_max || load.bytes >= self.bytes_max
    }

    /// Whether so much was delivered that reaching the limits would be news again.
    pub(crate) fn are_far(&self, load: Load) -> bool {
        let three_quarters = |max: u64| max - max / 4;
        load.pending < three_quarters(self.deliveries_max) && load.bytes < three_quarters(self.bytes_max)
    }
}

/// What happens to a stream that is owed as much as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is paused, with a reason that its receiver is told. Everything is kept, and what is accepted from then on
    /// too, until the store as a whole is full: nothing is lost.
    Pause,
    /// It is owed nothing new until there is room again. What it misses is counted as dropped.
    Drop,
}

/// What becomes of a stream whose receiver is not heard of any more: it neither manages nor polls the stream, nor
/// answers what is pushed to it. A stream that is pushed to gets a verification event after half the time, so that a
/// receiver that is there is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inactivity {
    /// After how long, in whole seconds. After a start of the transmitter each receiver has half of it at least.
    pub timeout: Duration,
    /// What then.
    pub then: Ending,
}

/// How a stream ends whose receiver is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is paused: it keeps what it is owed, and its receiver may enable it.
    Pause,
    /// It is disabled: it keeps nothing, and an operator may enable it (E-34).
    Disable,
    /// It is disabled, and deleted once its receiver has been told or had as much time again (E-22).
    Delete,
}

/// How one client or one stream is polled, where that is not as for all: what suits one receiver costs another. A short
/// time to acknowledge brings back soon what a receiver lost with an answer, and hands a slow one each SET twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollOptions {
    /// How long a poller has to acknowledge before a SET is handed out again, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility_seconds: Option<u64>,
    /// What one answer may hold about one subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<PollOrder>,
}

impl PollOptions {
    /// Whether nothing is said.
    pub fn are_unset(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            visibility_seconds: self.visibility_seconds.or(others.visibility_seconds),
            order: self.order.or(others.order),
        }
    }

    pub(crate) fn or_of(self, config: &TransmitterConfig) -> PollRules {
        PollRules {
            visibility: self.visibility_seconds.map_or(config.poll_visibility, Duration::from_secs),
            order: self.order.unwrap_or(config.poll_order),
        }
    }
}

/// How a stream is polled, by the client's settings or by the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollRules {
    /// How long a poller has to acknowledge before a SET is handed out again.
    pub visibility: Duration,
    /// What one answer may hold about one subject.
    pub order: PollOrder,
}

/// What one poll's answer may hold about one subject (SEM-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PollOrder {
    /// One SET, and the next one when that is acknowledged: whatever order the receiver handles an answer in, and
    /// however many pollers it has, events about one subject keep theirs.
    PerSubject,
    /// As many as there are, in the order of acceptance. The receiver keeps them in order.
    Batched,
}

impl PollOrder {
    /// Its name in configuration, records and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSubject => "per-subject",
            Self::Batched => "batched",
        }
    }

    /// The order of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::PerSubject, Self::Batched].into_iter().find(|order| order.name() == name)
    }
}
