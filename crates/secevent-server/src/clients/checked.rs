//! Access tokens whose signature was found good before. A producer sends one token with thousands of events, and to
//! check its signature costs more than all else that is done to take an event.

use secevent::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What was checked stays known for a while, up to a bound. Only what never changes is kept here: whether the client
/// is still there, and what it may do, is looked up at each request.
pub(crate) struct Checked<T>(Mutex<HashMap<Box<str>, (T, Timestamp)>>);

/// Tokens that are known at most. Most take about half a KiB.
const TOKENS_MAX: usize = 1_024;
/// Longer ones are checked each time.
const TOKEN_BYTES_MAX: usize = 8 * 1_024;

impl<T: Clone> Checked<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// What a token says that was found good before.
    pub(crate) fn get(&self, token: &str, now: Timestamp) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(token).filter(|(_, until)| now < *until).map(|(said, _)| said.clone())
    }

    /// Keeps what a token says that is good until then. One that is not good is not kept, so strangers fill nothing.
    pub(crate) fn keep(&self, token: &str, said: T, until: Timestamp, now: Timestamp) {
        if token.len() > TOKEN_BYTES_MAX || until <= now {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOKENS_MAX {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() >= TOKENS_MAX {
            // So many callers at once are nobody's usual day. They are checked again, and that is all.
            known.clear();
        }
        known.insert(token.into(), (said, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_token_is_known_until_its_time() {
        let known = Checked::new();
        assert_eq!(known.get("a", at(0)), None);
        known.keep("a", 1, at(100), at(0));
        assert_eq!((known.get("a", at(99)), known.get("a", at(100))), (Some(1), None));
        assert_eq!(known.get("b", at(0)), None);
        known.keep("b", 2, at(100), at(100));
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        known.keep(&long, 3, at(100), at(0));
        assert_eq!(
            (known.get("b", at(0)), known.get(&long, at(0))),
            (None, None),
            "neither old nor long ones"
        );
    }

    #[test]
    fn what_has_expired_makes_room_and_the_bound_holds() {
        let known = Checked::new();
        for token in 0..TOKENS_MAX {
            known.keep(&token.to_string(), (), at(if token == 0 { 1_000 } else { 10 }), at(0));
        }
        known.keep("one more", (), at(1_000), at(20));
        assert_eq!(known.0.lock().unwrap().len(), 2, "those that have expired are gone");
        for token in 0..10 * TOKENS_MAX {
            known.keep(&token.to_string(), (), at(1_000), at(20));
            assert!(known.0.lock().unwrap().len() <= TOKENS_MAX);
        }
    }
}
