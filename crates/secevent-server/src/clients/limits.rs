//! How often a client may ask: a bucket for each kind of request, with so many tokens a second and room for so many.
//! A client has its own, so that nobody is slowed down by another; and as many as there are clients are bounded.

use secevent::Invalid;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, so often in a second.
    pub per_second: u32,
    /// At once, so often.
    pub burst: u32,
}

/// How often each client may ask, unless its own settings say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that manage streams, and polls; and, apart from them, requests that send events and are refused.
    /// Default: 500 in a second, 1000 at once.
    pub requests: Rate,
    /// Requests for access tokens that show who asks. Default: 10 in a second, 100 at once.
    pub tokens: Rate,
    /// Events that are sent to be transmitted. Default: as many as the store takes.
    pub events: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: Rate { per_second: 500, burst: 1_000 },
            tokens: Rate { per_second: 10, burst: 100 },
            events: None,
        }
    }
}

/// What a client's own settings say about its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientLimits {
    /// Requests that manage streams, and polls, in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// And at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_burst: Option<u32>,
    /// Requests for access tokens in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<u32>,
    /// And at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_burst: Option<u32>,
    /// Events in a second. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    /// And at once. Default: as many as in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_burst: Option<u32>,
}

impl Limits {
    const RATE_MAX: u32 = 1_000_000;

    /// These limits with what somebody's own settings say. A burst that is not said is at least a second's worth.
    pub fn with(self, own: Option<&ClientLimits>) -> Result<Self, Invalid> {
        let own = own.copied().unwrap_or_default();
        let named = [
            ("requests_per_second", own.requests_per_second),
            ("requests_burst", own.requests_burst),
            ("tokens_per_second", own.tokens_per_second),
            ("tokens_burst", own.tokens_burst),
            ("events_per_second", own.events_per_second),
            ("events_burst", own.events_burst),
        ];
        for (name, value) in named {
            if let Some(value) = value.filter(|value| !(1..=Self::RATE_MAX).contains(value)) {
                let problem = format!("is {value}: it must be 1 to {}", Self::RATE_MAX);
                return Err(Invalid::new(format!("limits.{name}"), "client", problem));
            }
        }
        let rate = |per_second: Option<u32>, burst: Option<u32>, or: Rate| {
            let usual = per_second.map_or(or.burst, |per_second| or.burst.max(per_second));
            Rate { per_second: per_second.unwrap_or(or.per_second), burst: burst.unwrap_or(usual) }
        };
        let events = match (own.events_per_second, own.events_burst, self.events) {
            (None, Some(_), None) => {
                let problem = "says nothing without limits.events_per_second";
                return Err(Invalid::new("limits.events_burst", "client", problem));
            }
            (None, None, or) => or,
            (Some(per_second), burst, None) => Some(Rate { per_second, burst: burst.unwrap_or(per_second) }),
            (per_second, burst, Some(or)) => Some(rate(per_second, burst, or)),
        };
        Ok(Self {
            requests: rate(own.requests_per_second, own.requests_burst, self.requests),
            tokens: rate(own.tokens_per_second, own.tokens_burst, self.tokens),
            events,
        })
    }
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    level: Mutex<Level>,
}

/// How much was taken that has not come back yet, in nanoseconds of the rate; and when that was so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    owed_nanos: i128,
    at_nanos: i128,
}

const NANOS: i128 = 1_000_000_000;

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, level: Mutex::default() }
    }

    /// Takes so many at once, or tells how long to wait. Whoever finds one left gets all of them: a call is not cut in
    /// pieces, it is paid for afterwards.
    ///
    /// `now` is monotonic time: a clock that is set gives nothing and takes nothing.
    pub(crate) fn take(&self, count: usize, now: Duration) -> Result<(), Duration> {
        let now_nanos = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
        self.level.lock().unwrap_or_else(PoisonError::into_inner).take(self.rate, count, now_nanos)
    }
}

impl Level {
    /// Takes so many at once, or says how long to wait.
    pub(super) fn take(&mut self, rate: Rate, count: usize, now_nanos: i128) -> Result<(), Duration> {
        let each = rate.each_nanos();
        let room = each * i128::from(rate.burst.max(1));
        let cost = each * i128::try_from(count).unwrap_or(i128::from(u32::MAX));
        // Of two calls at once, the one that looked at the clock first may come second.
        let back = (now_nanos - self.at_nanos).max(0);
        let at_nanos = now_nanos.max(self.at_nanos);
        *self = Self { owed_nanos: (self.owed_nanos - back).max(0), at_nanos };
        let too_many = self.owed_nanos + each - room;
        if too_many > 0 {
            return Err(Duration::from_nanos(u64::try_from(too_many).unwrap_or(u64::MAX)));
        }
        self.owed_nanos += cost;
        Ok(())
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, rate: Rate) {
        self.owed_nanos = (self.owed_nanos - rate.each_nanos()).max(0);
    }
}

impl Rate {
    fn each_nanos(self) -> i128 {
        NANOS / i128::from(self.per_second.max(1))
    }
}

/// The buckets of one client.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) requests: Bucket,
    /// Requests that send events and are refused.
    pub(crate) refused: Bucket,
    pub(crate) tokens: Bucket,
    pub(crate) events: Option<Bucket>,
}

impl Buckets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            requests: Bucket::new(limits.requests),
            refused: Bucket::new(limits.requests),
            tokens: Bucket::new(limits.tokens),
            events: limits.events.map(Bucket::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(7_000_000 + millis)
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let bucket = Bucket::new(Rate { per_second: 10, burst: 3 });
        let taken = |now: u64| (0..100).take_while(|_| bucket.take(1, at(now)).is_ok()).count();
        assert_eq!([taken(0), taken(0), taken(99), taken(100), taken(350)], [3, 0, 0, 1, 2]);
        assert_eq!(taken(60_000), 3, "it does not overflow");
        assert_eq!(bucket.take(1, at(60_000)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(1, at(60_040)), Err(Duration::from_millis(60)));
    }

    #[test]
    fn a_large_call_is_paid_for_afterwards() {
        let bucket = Bucket::new(Rate { per_second: 100, burst: 100 });
        assert_eq!(bucket.take(1_000, at(0)), Ok(()));
        assert_eq!(bucket.take(1, at(0)), Err(Duration::from_millis(9_010)));
        assert_eq!(bucket.take(1, at(9_009)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(1, at(9_010)), Ok(()));
    }

    #[test]
    fn time_that_was_looked_at_earlier_gives_nothing_twice() {
        let bucket = Bucket::new(Rate { per_second: 1, burst: 5 });
        let taken = |now: u64| (0..100).take_while(|_| bucket.take(1, at(now)).is_ok()).count();
        assert_eq!([taken(9_000), taken(8_000), taken(9_000), taken(10_000)], [5, 0, 0, 1]);
    }

    #[test]
    fn a_clients_own_settings_win() {
        let usual = Limits::default();
        assert_eq!(usual.with(None), Ok(usual));
        let own = ClientLimits {
            requests_per_second: Some(2_000),
            events_per_second: Some(7),
            ..Default::default()
        };
        let limits = usual.with(Some(&own)).unwrap();
        assert_eq!(limits.requests, Rate { per_second: 2_000, burst: 2_000 });
        assert_eq!(limits.tokens, usual.tokens);
        assert_eq!(limits.events, Some(Rate { per_second: 7, burst: 7 }));
        for wrong in [
            ClientLimits { requests_burst: Some(0), ..Default::default() },
            ClientLimits { tokens_per_second: Some(1_000_001), ..Default::default() },
            ClientLimits { events_burst: Some(1), ..Default::default() },
        ] {
            assert!(usual.with(Some(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
