//! The verification events that we asked for, until they come (SSF 1.0 section 8.1.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::Set;
use secevent::ssf::Verification;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The states that we gave along with requests for verification.
#[derive(Debug, Default)]
pub(crate) struct PendingVerification {
    states: Mutex<States>,
}

#[derive(Debug, Default)]
struct States {
    expected: HashMap<String, oneshot::Sender<()>>,
    /// Those that came, or that nobody waits for any longer: when they come (again), that is in order.
    past: VecDeque<String>,
}

impl PendingVerification {
    /// How many may be waited for at once; the oldest ones are still known for as many again.
    const STATES_MAX: usize = 64;

    /// A new state to ask with, and what tells that it came.
    pub(crate) fn expect(&self) -> (String, oneshot::Receiver<()>) {
        let state = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
        let (came, waiting) = oneshot::channel();
        let mut states = self.states();
        let abandoned: Vec<String> = states
            .expected
            .iter()
            .filter(|(_, came)| came.is_closed())
            .map(|(state, _)| state.clone())
            .collect();
        for state in abandoned {
            states.settle(&state);
        }
        if states.expected.len() < Self::STATES_MAX {
            states.expected.insert(state.clone(), came);
        }
        (state, waiting)
    }

    /// Whether this event may be accepted: its state is one of ours, or it has none because the transmitter
    /// sent it unasked.
    pub(crate) fn admits(&self, verification: &Verification) -> bool {
        let Some(state) = &verification.state else { return true };
        let states = self.states();
        states.expected.contains_key(state) || states.past.contains(state)
    }

    /// The event came and is stored.
    pub(crate) fn came(&self, verification: &Verification) {
        if let Some(state) = &verification.state
            && let Some(came) = self.states().settle(state)
        {
            // Whoever waited may have given up.
            let _ = came.send(());
        }
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl States {
    fn settle(&mut self, state: &str) -> Option<oneshot::Sender<()>> {
        let (state, came) = self.expected.remove_entry(state)?;
        if self.past.len() == PendingVerification::STATES_MAX {
            self.past.pop_front();
        }
        self.past.push_back(state);
        Some(came)
    }
}

/// The verification event of a SET that holds nothing else.
pub(crate) fn verification_of(set: &Set) -> Option<Verification> {
    if set.events().len() != 1 {
        return None;
    }
    set.events().get::<Verification>().ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(state: Option<&str>) -> Verification {
        Verification { state: state.map(str::to_owned) }
    }

    // spec: SSF-157
    #[test]
    fn only_states_that_were_asked_for_are_admitted() {
        let pending = PendingVerification::default();
        let (state, mut waiting) = pending.expect();
        assert!(pending.admits(&event(None)) && pending.admits(&event(Some(&state))));
        assert!(!pending.admits(&event(Some("guess"))) && !pending.admits(&event(Some(""))));
        pending.came(&event(None));
        assert!(waiting.try_recv().is_err());
        pending.came(&event(Some(&state)));
        assert!(waiting.try_recv().is_ok());
        assert!(pending.admits(&event(Some(&state))), "it may be sent again");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pending = PendingVerification::default();
        let waiting: Vec<_> = (0..2 * PendingVerification::STATES_MAX).map(|_| pending.expect()).collect();
        assert_eq!(pending.states().expected.len(), PendingVerification::STATES_MAX);
        drop(waiting);
        for _ in 0..PendingVerification::STATES_MAX {
            drop(pending.expect());
        }
        assert!(pending.states().expected.len() <= 1);
        assert_eq!(pending.states().past.len(), PendingVerification::STATES_MAX);
    }
}
