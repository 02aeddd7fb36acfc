//! The clock that this process shares with the one under test and with the journal of a power cut.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) u64);

impl Instant {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let part = |part: i64| u64::try_from(part).unwrap();
        Self(part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec))
    }

    /// As operators write it: the time of the day, in UTC.
    pub(crate) fn told(self) -> String {
        let (now, day) = (Self::now(), clock_gettime(ClockId::Realtime));
        let day = i128::from(day.tv_sec) * 1_000_000_000 + i128::from(day.tv_nsec);
        let then = day + i128::from(self.0) - i128::from(now.0);
        jiff::Timestamp::from_nanosecond(then).unwrap().to_string()
    }
}

/// Something that was asked for, and when the answer came, if one did.
#[derive(Clone, Debug)]
pub(crate) struct Asked<T> {
    pub(crate) what: T,
    pub(crate) begun: Instant,
    pub(crate) answered: Option<Instant>,
}

impl<T> Asked<T> {
    pub(crate) fn now(what: T) -> Self {
        Self { what, begun: Instant::now(), answered: None }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }
}

/// What had been asked before a moment, as it was known then.
pub(crate) fn before<T: Clone>(all: &[Asked<T>], moment: Instant) -> Vec<Asked<T>> {
    let known = all.iter().filter(|asked| asked.begun < moment).cloned();
    known.map(|asked| Asked { answered: asked.answered.filter(|at| *at < moment), ..asked }).collect()
}
