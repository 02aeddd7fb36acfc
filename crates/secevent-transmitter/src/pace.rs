//! How often a stream may be polled for nothing.

use secevent::Timestamp;
use std::time::Duration;

/// Counts polls that did not wait and got nothing.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The time up to which they are paid for. Each costs an interval, and a few may be owed.
    paid_until: Timestamp,
}

impl Pace {
    /// How many may come at once.
    const BURST: u32 = 20;

    /// Counts one. Returns how long to wait if it was one too many.
    pub(crate) fn count(&mut self, now: Timestamp, interval: Duration) -> Result<(), Duration> {
        // A clock that was set back must not keep anybody away for long.
        let owed = self.paid_until.since(now).min(interval * Self::BURST);
        if owed + interval > interval * Self::BURST {
            self.paid_until = now.plus(owed);
            return Err(owed + interval - interval * Self::BURST);
        }
        self.paid_until = now.plus(owed + interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_come_at_once_and_then_one_in_an_interval() {
        let interval = Duration::from_millis(100);
        let mut pace = Pace::default();
        let start = Timestamp::from_seconds(100);
        for _ in 0..20 {
            assert_eq!(pace.count(start, interval), Ok(()));
        }
        assert_eq!(pace.count(start, interval), Err(interval));
        let later = start.plus(interval);
        assert_eq!(pace.count(later, interval), Ok(()));
        assert!(pace.count(later, interval).is_err());
        let back = Timestamp::from_seconds(1);
        assert!(pace.count(back, interval).is_err());
        assert_eq!(pace.count(back.plus(interval), interval), Ok(()), "the clock was set back");
        assert_eq!(Pace::default().count(start, Duration::ZERO), Ok(()));
    }
}
