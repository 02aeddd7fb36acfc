//! Faults that are put between production parts on purpose, to see that the invariants would notice.

use crate::invariants::Promise;
use std::fmt;
use std::str::FromStr;

/// One deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The store says that it recorded events that have no name, and did not.
    RecordLies,
    /// The store forgets producers' names for events.
    NamesForgotten,
    /// The store leaves one settlement of a call out.
    SettlementLost,
    /// The store settles as acknowledged what was refused.
    RefusedAsAcked,
    /// A page leaves a delivery out.
    PageWithGap,
    /// A page is in the wrong order.
    PageOutOfOrder,
    /// A delivery that is read has another event's subject and payload.
    BodyChanged,
    /// A delivery comes without the fingerprints of its subject.
    LanesWiped,
    /// Some deliveries are not handed over, and the next one claims to follow on the one before them.
    WrongPrevious,
    /// What is owed to a stream that ended is not dropped.
    DropForgotten,
    /// A restored store goes on under its old epoch.
    EpochRepeated,
    /// The inbox says that it keeps a SET before it does.
    ReceivedTooEarly,
    /// The inbox does not know a SET again.
    RepeatForgotten,
    /// The inbox loses what was not handled yet when it is told what was.
    WaitingLost,
    /// The network sends a push once more, much later.
    SentAgainLater,
    /// A delivery that failed before comes without the fingerprints of its subject.
    RetryWithoutLanes,
    /// The transmitter never takes failures in a row for an outage.
    SuspendNever,
    /// The transmitter does not see how long a receiver asks to wait.
    RetryAfterUnseen,
    /// The transmitter has wider windows than it was told.
    WindowTooWide,
    /// The transmitter hands more SETs to a poll than it was told.
    PollTooLarge,
}

impl Mutation {
    /// Every fault.
    pub const ALL: [Self; 20] = [
        Self::RecordLies,
        Self::NamesForgotten,
        Self::SettlementLost,
        Self::RefusedAsAcked,
        Self::PageWithGap,
        Self::PageOutOfOrder,
        Self::BodyChanged,
        Self::LanesWiped,
        Self::WrongPrevious,
        Self::DropForgotten,
        Self::EpochRepeated,
        Self::ReceivedTooEarly,
        Self::RepeatForgotten,
        Self::WaitingLost,
        Self::SentAgainLater,
        Self::RetryWithoutLanes,
        Self::SuspendNever,
        Self::RetryAfterUnseen,
        Self::WindowTooWide,
        Self::PollTooLarge,
    ];

    /// The promises that it may break: one of these has to be what is reported.
    pub fn breaks(self) -> &'static [Promise] {
        use Promise::{
            AcceptedIsDurable, AcknowledgedIsKept, Bounded, ClaimsNeverChange, EachEndsAndIsCounted,
            InOrderPerSubject, OneNameOneEvent, SilentWhenEnded,
        };
        match self {
            Self::RecordLies => &[AcceptedIsDurable],
            Self::NamesForgotten => &[OneNameOneEvent],
            Self::SettlementLost | Self::RefusedAsAcked | Self::PageWithGap | Self::WrongPrevious => {
                &[EachEndsAndIsCounted, InOrderPerSubject]
            }
            Self::PageOutOfOrder | Self::LanesWiped => &[InOrderPerSubject, EachEndsAndIsCounted],
            Self::BodyChanged | Self::EpochRepeated => &[ClaimsNeverChange],
            Self::DropForgotten => &[SilentWhenEnded, EachEndsAndIsCounted],
            Self::ReceivedTooEarly | Self::RepeatForgotten => &[AcknowledgedIsKept],
            Self::WaitingLost => &[AcknowledgedIsKept, InOrderPerSubject],
            Self::SentAgainLater => &[SilentWhenEnded, EachEndsAndIsCounted, InOrderPerSubject],
            Self::RetryWithoutLanes => &[InOrderPerSubject],
            Self::WindowTooWide | Self::PollTooLarge | Self::SuspendNever | Self::RetryAfterUnseen => {
                &[Bounded]
            }
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Mutation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|one| one.to_string() == text);
        known.ok_or_else(|| format!("no mutation is named {text}"))
    }
}

/// Runs seeds with this fault until one notices it, `runs` at most; the reason if none does, or if what is
/// reported is no promise that the fault breaks.
pub fn catch(mutation: Mutation, runs: u64) -> Result<crate::Report, String> {
    for seed in 1..=runs {
        let report = crate::run(seed, Some(mutation));
        match &report.violation {
            None => {}
            Some(violation) if mutation.breaks().contains(&violation.promise) => return Ok(report),
            Some(violation) => return Err(format!("seed {seed} reports something else: {violation}")),
        }
    }
    Err(format!("{runs} seeds noticed nothing"))
}
