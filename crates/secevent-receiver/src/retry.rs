//! When to try again: pure functions.

use rand::{Rng, RngExt as _};
use std::time::Duration;

/// How long to wait between attempts.
///
/// ```
/// use secevent_receiver::RetryPolicy;
///
/// let policy = RetryPolicy::default();
/// let delay = policy.delay(3, None, &mut rand::rng());
/// assert!(delay >= policy.delay_first / 10 && delay <= 4 * policy.delay_first);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The bound of the first delay. Default: 1 s.
    pub delay_first: Duration,
    /// The bound of every delay. Default: 5 min.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { delay_first: Duration::from_secs(1), delay_max: Duration::from_secs(300) }
    }
}

impl RetryPolicy {
    /// The delay after `failures` failures in a row: exponential with full jitter, so that a transmitter that
    /// comes back is not met by everybody at once. What the peer asks for counts between our own bounds.
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, chance: &mut dyn Rng) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = self.delay_first.saturating_mul(factor).min(self.delay_max);
        let delay_min = (self.delay_first / 10).min(self.delay_max);
        let jittered = bound.mul_f64(chance.random_range(0.0..=1.0)).max(delay_min);
        match retry_after {
            Some(asked) => asked.clamp(jittered, self.delay_max.max(jittered)),
            None => jittered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    #[test]
    fn delays_grow_within_their_bounds() {
        let policy = RetryPolicy::default();
        let mut chance = StdRng::seed_from_u64(7);
        for (failures, bound_seconds) in [(1, 1), (2, 2), (5, 16), (10, 300), (33, 300), (u32::MAX, 300)] {
            for _ in 0..100 {
                let delay = policy.delay(failures, None, &mut chance);
                assert!(delay >= policy.delay_first / 10, "{failures}: {delay:?}");
                assert!(delay <= Duration::from_secs(bound_seconds), "{failures}: {delay:?}");
            }
        }
    }

    #[test]
    fn what_the_peer_asks_for_counts_within_bounds() {
        let policy = RetryPolicy::default();
        let mut chance = StdRng::seed_from_u64(7);
        for (asked, seconds) in [(30, 30), (86_400, 300)] {
            let delay = policy.delay(1, Some(Duration::from_secs(asked)), &mut chance);
            assert_eq!(delay, Duration::from_secs(seconds));
        }
    }
}
