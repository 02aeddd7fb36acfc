//! When a key set may be fetched, and which keys may be used until then: pure functions of the state and the time.
//! Times are those of [`Clock::elapsed`](secevent::Clock::elapsed): a wall clock that is set neither holds up a fetch
//! nor ages a key (SEM-30).

use super::{JwksCache, KeysUnavailable};
use secevent_jose::IssuerKeys;
use std::sync::Arc;
use std::time::Duration;

/// Keys that were fetched.
#[derive(Clone)]
pub(super) struct FetchedKeys {
    pub(super) keys: Arc<IssuerKeys>,
    /// Which fetch brought them, counted from 1.
    pub(super) number: u64,
    pub(super) at: Duration,
    pub(super) fresh_for: Duration,
}

/// How good keys are at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not older than their issuer allows.
    Fresh,
    /// Older. They are used at once, and others are fetched behind.
    Stale,
    /// Much older. They are used only if a fetch fails.
    Late,
    /// Too old to be used at all.
    Expired,
}

impl FetchedKeys {
    /// How long the keys are past their time.
    pub(super) fn stale_for(&self, now: Duration) -> Option<Duration> {
        now.saturating_sub(self.at).checked_sub(self.fresh_for)
    }

    /// How good they are. `refresh_failed` says whether the last fetch failed.
    pub(super) fn standing(&self, now: Duration, refresh_failed: bool) -> Standing {
        match self.stale_for(now) {
            None => Standing::Fresh,
            Some(stale) if stale >= JwksCache::STALE_MAX => Standing::Expired,
            Some(stale) if refresh_failed || stale < JwksCache::STALE_UNASKED_MAX => Standing::Stale,
            Some(_) => Standing::Late,
        }
    }
}

/// Why keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There are none, or they are stale.
    Age,
    /// A token does not fit to those that are there.
    Token,
}

/// How the last fetch went.
#[derive(Clone)]
pub(super) struct LastFetch {
    /// When it ended.
    pub(super) ended: Duration,
    pub(super) cause: Cause,
    /// Why it failed, if it did.
    pub(super) error: Option<Arc<str>>,
}

impl LastFetch {
    /// How long after it the next fetch has to wait.
    fn pause(&self, cause: Cause) -> Duration {
        match (&self.error, cause, self.cause) {
            (Some(_), _, _) => JwksCache::FAILURE_PAUSE,
            (None, Cause::Age, _) => Duration::ZERO,
            (None, Cause::Token, Cause::Age) => JwksCache::COOL_DOWN_FIRST,
            (None, Cause::Token, Cause::Token) => JwksCache::COOL_DOWN,
        }
    }

    /// How long the next fetch still has to wait; none if it may begin.
    pub(super) fn wait(&self, cause: Cause, now: Duration) -> Option<Duration> {
        self.pause(cause).checked_sub(now.saturating_sub(self.ended)).filter(|wait| !wait.is_zero())
    }

    /// What to say while a fetch may not begin.
    pub(super) fn unavailable(&self, retry_after: Duration) -> KeysUnavailable {
        let reason = match &self.error {
            Some(error) => Arc::clone(error),
            None => Arc::from("the key set was fetched a moment ago and is not fetched again yet"),
        };
        KeysUnavailable { reason, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent_jose::JwkSet;

    const NOW: Duration = Duration::from_secs(1_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn keys_grow_stale_step_by_step() {
        let keys = IssuerKeys::new("https://tr.example", JwkSet::default());
        let fetched = FetchedKeys { keys: Arc::new(keys), number: 1, at: NOW, fresh_for: HOUR };
        let second = Duration::from_secs(1);
        for (age, failed, standing) in [
            (Duration::ZERO, false, Standing::Fresh),
            (HOUR - second, true, Standing::Fresh),
            (HOUR, false, Standing::Stale),
            (2 * HOUR - second, false, Standing::Stale),
            (2 * HOUR, false, Standing::Late),
            (2 * HOUR, true, Standing::Stale),
            (25 * HOUR - second, true, Standing::Stale),
            (25 * HOUR, true, Standing::Expired),
            (25 * HOUR, false, Standing::Expired),
        ] {
            assert_eq!(fetched.standing(NOW + age, failed), standing, "{age:?} {failed}");
        }
    }

    #[test]
    fn how_long_the_next_fetch_has_to_wait() {
        let seconds = Duration::from_secs;
        let failed = Some(Arc::from("no answer"));
        for (cause, error, next, pause) in [
            (Cause::Age, &None, Cause::Age, None),
            (Cause::Age, &None, Cause::Token, Some(seconds(5))),
            (Cause::Token, &None, Cause::Token, Some(seconds(30))),
            (Cause::Token, &None, Cause::Age, None),
            (Cause::Age, &failed, Cause::Age, Some(seconds(5))),
            (Cause::Token, &failed, Cause::Token, Some(seconds(5))),
        ] {
            let last = LastFetch { ended: NOW, cause, error: error.clone() };
            assert_eq!(last.wait(next, NOW), pause, "{cause:?} {next:?}");
            let Some(pause) = pause else { continue };
            assert_eq!(last.wait(next, NOW + seconds(1)), Some(pause - seconds(1)));
            assert_eq!(last.wait(next, NOW + pause), None);
        }
    }
}
