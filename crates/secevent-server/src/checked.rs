//! Access tokens whose signature was found good before. A producer sends one token with thousands of events, and to
//! check its signature costs more than all else that is done to take an event.

use secevent::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What was checked stays known until it expires, up to a bound. Only what never changes is kept here: whether the
/// client is still there, and what it may do, is looked up at each request.
pub(crate) struct Checked<T>(Mutex<HashMap<Box<str>, T>>);

/// Tokens that are known at most. Each takes about half a KiB.
const TOKENS_MAX: usize = 1_024;

impl<T: Clone> Checked<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// What a token says: known, or found by `check`. One that is not good is not kept, so strangers fill nothing.
    pub(crate) fn get(
        &self,
        token: &str,
        now: Timestamp,
        expires_at: impl Fn(&T) -> Timestamp,
        check: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |said: &T| now < expires_at(said);
        let known = lock().get(token).cloned();
        if let Some(said) = known {
            return Some(said).filter(is_good);
        }
        let said = check().filter(is_good)?;
        let mut known = lock();
        if known.len() >= TOKENS_MAX {
            known.retain(|_, said| is_good(said));
        }
        if known.len() >= TOKENS_MAX {
            // So many callers at once are nobody's usual day. They are checked again, and that is all.
            known.clear();
        }
        known.insert(token.into(), said.clone());
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_token_is_checked_once_and_known_until_it_expires() {
        let (known, checks) = (Checked::new(), Cell::new(0));
        let at = Timestamp::from_seconds;
        let get = |token: &str, now, good: bool| {
            let check = || {
                checks.set(checks.get() + 1);
                good.then_some(100)
            };
            known.get(token, at(now), |expires_at| at(*expires_at), check)
        };
        assert_eq!((get("a", 0, true), get("a", 99, true), checks.get()), (Some(100), Some(100), 1));
        assert_eq!((get("a", 100, true), checks.get()), (None, 1), "it has expired");
        assert_eq!((get("b", 100, true), get("b", 0, true), checks.get()), (None, Some(100), 3));
        assert_eq!(
            (get("c", 0, false), get("c", 0, true), checks.get()),
            (None, Some(100), 5),
            "only good ones stay"
        );
    }

    #[test]
    fn what_has_expired_makes_room_and_the_bound_holds() {
        let known = Checked::new();
        let at = Timestamp::from_seconds;
        let take = |token: usize, now: i64, expires: i64| {
            known.get(&token.to_string(), at(now), |expires| at(*expires), || Some(expires))
        };
        for token in 0..TOKENS_MAX {
            take(token, 0, if token == 0 { 1_000 } else { 10 });
        }
        take(TOKENS_MAX, 20, 1_000);
        assert_eq!(known.0.lock().unwrap().len(), 2, "those that have expired are gone");
        for token in 0..10 * TOKENS_MAX {
            take(token, 20, 1_000);
            assert!(known.0.lock().unwrap().len() <= TOKENS_MAX);
        }
    }
}
