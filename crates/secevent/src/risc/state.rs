//! Whether an account takes part in the exchange of RISC events (RISC 1.0 section 2.8).

use super::{OptIn, OptOutCancelled, OptOutEffective, OptOutInitiated};
use crate::EventType;

/// Whether an account takes part in the exchange of RISC events.
///
/// ```
/// use secevent::risc::{RiscChange, RiscState};
///
/// let leaving = RiscState::OptIn.after(RiscChange::OptOutInitiated).unwrap();
/// assert!(leaving.events_flow(), "so that a thief who opts out is still reported");
/// let left = leaving.after(RiscChange::OptOutEffective).unwrap();
/// assert_eq!(left, RiscState::OptOut);
/// assert!(!left.events_flow());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RiscState {
    /// It takes part.
    #[default]
    OptIn,
    /// It asked to leave; events go on for a time.
    OptOutInitiated,
    /// It has left.
    OptOut,
}

/// One of the four events that move an account from state to state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RiscChange {
    /// [`OptIn`](super::OptIn).
    OptIn,
    /// [`OptOutInitiated`](super::OptOutInitiated).
    OptOutInitiated,
    /// [`OptOutCancelled`](super::OptOutCancelled).
    OptOutCancelled,
    /// [`OptOutEffective`](super::OptOutEffective).
    OptOutEffective,
}

/// There is no way from this state by this event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account in the state {from:?} cannot have the event {change:?}")]
pub struct NotPossible {
    /// The state of the account.
    pub from: RiscState,
    /// The event that does not fit it.
    pub change: RiscChange,
}

impl RiscState {
    /// The state after `change`. An event that leads to the present state changes nothing, since SETs are
    /// delivered at least once.
    pub fn after(self, change: RiscChange) -> Result<Self, NotPossible> {
        match (self, change) {
            (Self::OptIn, RiscChange::OptOutInitiated)
            | (Self::OptOutInitiated, RiscChange::OptOutCancelled | RiscChange::OptOutEffective)
            | (Self::OptOut, RiscChange::OptIn) => Ok(change.leads_to()),
            (present, repeated) if repeated.leads_to() == present => Ok(present),
            (from, change) => Err(NotPossible { from, change }),
        }
    }

    /// Whether events about the account are exchanged.
    pub fn events_flow(self) -> bool {
        self != Self::OptOut
    }
}

impl RiscChange {
    /// The change that the event with this identifier tells; `None` for all other events.
    pub fn of_event(uri: &str) -> Option<Self> {
        match uri {
            OptIn::URI => Some(Self::OptIn),
            OptOutInitiated::URI => Some(Self::OptOutInitiated),
            OptOutCancelled::URI => Some(Self::OptOutCancelled),
            OptOutEffective::URI => Some(Self::OptOutEffective),
            _ => None,
        }
    }

    /// The state that an account is in after it.
    pub fn leads_to(self) -> RiscState {
        match self {
            Self::OptIn | Self::OptOutCancelled => RiscState::OptIn,
            Self::OptOutInitiated => RiscState::OptOutInitiated,
            Self::OptOutEffective => RiscState::OptOut,
        }
    }
}
