//! The time by which records are deleted for their age (SEM-30).

use secevent::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The clock for deletions by age: retention, dead letters, the audit log, idempotency keys, replay guards, inactivity.
///
/// A wall clock can be wrong for a while, and what was deleted meanwhile does not come back. This one follows the wall
/// clock as long as that agrees with elapsed (monotonic) time, and with the time that was stored last. When the wall
/// clock runs ahead of those by more than [`ExpiryClock::TOLERANCE`], it goes on with elapsed time alone, until an
/// operator confirms the wall clock, the wall clock is back, or as much time has really passed.
///
/// How long a server was away before it started is unknown. If the wall clock is ahead of the time stored last, it is
/// believed after the server has run for [`ExpiryClock::TOLERANCE`], during which the wall clock does not jump.
///
/// ```
/// use secevent::Timestamp;
/// use secevent_store::ExpiryClock;
/// use std::time::Duration;
///
/// let start = Timestamp::from_seconds(1_795_000_000);
/// let mut clock = ExpiryClock::new(start, Duration::ZERO, None);
/// let wrong = start.plus(Duration::from_secs(400 * 86_400));
/// let reading = clock.read(wrong, Duration::from_secs(5));
/// assert_eq!(reading.now, start.plus(Duration::from_secs(5)));
/// assert!(reading.ahead.is_some());
/// clock.confirm(wrong, Duration::from_secs(6));
/// assert_eq!(clock.read(wrong, Duration::from_secs(6)).now, wrong);
/// ```
#[derive(Clone, Debug)]
pub struct ExpiryClock {
    /// A wall time that is believed, and the elapsed time at which it was read.
    believed: Reference,
    state: State,
    /// Since when the wall clock is behind what is believed.
    behind_since: Option<Duration>,
}

type Reference = (Timestamp, Duration);

#[derive(Clone, Copy, Debug)]
enum State {
    /// The wall clock is believed.
    Steady,
    /// It is ahead since the start, and read first like this.
    Away(Reference),
    /// It jumped ahead.
    Jumped,
}

/// What an [`ExpiryClock`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryReading {
    /// The time by which records are deleted.
    pub now: Timestamp,
    /// How far the wall clock is ahead of it. None: the wall clock is believed.
    pub ahead: Option<Duration>,
    /// Whether only an operator's confirmation makes the wall clock believed.
    pub needs_confirmation: bool,
}

/// The time as it is stored, for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTime {
    /// In microseconds since the Unix epoch.
    seen_micros: i64,
    /// Whether the wall clock had jumped ahead and was not confirmed.
    jumped: bool,
}

impl SeenTime {
    /// Whether the wall clock had jumped ahead and was not confirmed.
    pub fn jumped(self) -> bool {
        self.jumped
    }
}

impl ExpiryClock {
    /// How far the wall clock may run ahead, and how long it has to be steady after a start.
    pub const TOLERANCE: Duration = Duration::from_secs(3_600);

    /// A clock that starts now: at this wall time and elapsed time, and with what was stored last.
    pub fn new(now: Timestamp, elapsed: Duration, stored: Option<SeenTime>) -> Self {
        let Some(stored) = stored else {
            return Self { believed: (now, elapsed), state: State::Steady, behind_since: None };
        };
        let seen = Timestamp::from_micros(stored.seen_micros);
        let state = match now.since(seen) > Self::TOLERANCE {
            true if stored.jumped => State::Jumped,
            true => State::Away((now, elapsed)),
            false => State::Steady,
        };
        let believed = if matches!(state, State::Steady) { now.max(seen) } else { seen };
        Self { believed: (believed, elapsed), state, behind_since: None }
    }

    /// The time by which records are deleted, at this wall time and elapsed time.
    pub fn read(&mut self, now: Timestamp, elapsed: Duration) -> ExpiryReading {
        let expected = after(self.believed, elapsed);
        if now.since(expected) <= Self::TOLERANCE {
            self.state = State::Steady;
            self.follow_back(now, elapsed, expected);
            return ExpiryReading { now, ahead: None, needs_confirmation: false };
        }
        self.behind_since = None;
        match self.state {
            State::Steady => self.state = State::Jumped,
            State::Away(first) => {
                let steady = after(first, elapsed);
                if now.since(steady) > Self::TOLERANCE {
                    self.state = State::Jumped;
                } else if steady.since(now) > Self::TOLERANCE {
                    self.state = State::Away((now, elapsed));
                } else if elapsed.saturating_sub(first.1) >= Self::TOLERANCE {
                    self.confirm(now, elapsed);
                    return ExpiryReading { now, ahead: None, needs_confirmation: false };
                }
            }
            State::Jumped => {}
        }
        let needs_confirmation = matches!(self.state, State::Jumped);
        ExpiryReading { now: expected, ahead: Some(now.since(expected)), needs_confirmation }
    }

    /// What the wall clock is expected to say at elapsed time zero, while it is believed and does what is expected: as
    /// long as it differs from that by [`ExpiryClock::TOLERANCE`] at most, [`ExpiryClock::read`] returns the wall clock
    /// and changes nothing.
    pub fn steady_offset(&self) -> Option<Timestamp> {
        let is_steady = matches!(self.state, State::Steady) && self.behind_since.is_none();
        is_steady.then(|| self.believed.0.minus(self.believed.1))
    }

    /// An operator says that the wall clock is right.
    pub fn confirm(&mut self, now: Timestamp, elapsed: Duration) {
        *self = Self { believed: (now, elapsed), state: State::Steady, behind_since: None };
    }

    /// What to store of a reading.
    pub fn seen(reading: ExpiryReading) -> SeenTime {
        SeenTime { seen_micros: reading.now.as_micros(), jumped: reading.needs_confirmation }
    }

    /// A wall clock that stays set back becomes what is believed: otherwise it could later jump ahead by as much.
    fn follow_back(&mut self, now: Timestamp, elapsed: Duration, expected: Timestamp) {
        if expected.since(now) <= Self::TOLERANCE {
            self.behind_since = None;
            return;
        }
        let since = *self.behind_since.get_or_insert(elapsed);
        if elapsed.saturating_sub(since) >= Self::TOLERANCE {
            self.confirm(now, elapsed);
        }
    }
}

fn after((at, then): Reference, elapsed: Duration) -> Timestamp {
    at.plus(elapsed.saturating_sub(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_000_000);
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;

    fn at(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    fn read(clock: &mut ExpiryClock, wall: u64, elapsed: u64) -> (Timestamp, bool, bool) {
        let reading = clock.read(at(wall), Duration::from_secs(elapsed));
        (reading.now, reading.ahead.is_some(), reading.needs_confirmation)
    }

    fn started(wall: u64, stored: Option<(u64, bool)>) -> ExpiryClock {
        let stored = stored.map(|(seen, jumped)| SeenTime { seen_micros: at(seen).as_micros(), jumped });
        ExpiryClock::new(at(wall), Duration::ZERO, stored)
    }

    // finding: B7
    #[test]
    fn a_jump_is_not_believed_until_it_is_confirmed_or_time_has_passed() {
        let mut clock = started(0, None);
        assert_eq!(read(&mut clock, 10, 10), (at(10), false, false));
        assert_eq!(clock.steady_offset(), Some(START));
        assert_eq!(read(&mut clock, 10 + HOUR, 10), (at(10 + HOUR), false, false), "that is within bounds");
        for days in [8, 400] {
            assert_eq!(read(&mut clock, days * DAY, 20), (at(20), true, true));
            assert_eq!(clock.steady_offset(), None);
            assert_eq!(read(&mut clock, 30, 30), (at(30), false, false), "it is right again");
        }
        assert_eq!(read(&mut clock, 8 * DAY, 40), (at(40), true, true));
        assert_eq!(read(&mut clock, 16 * DAY, 8 * DAY), (at(8 * DAY), true, true), "it stays ahead");
        assert_eq!(read(&mut clock, 8 * DAY, 8 * DAY), (at(8 * DAY), false, false), "time has passed");
        assert_eq!(read(&mut clock, 20 * DAY, 9 * DAY), (at(9 * DAY), true, true));
        clock.confirm(at(20 * DAY), Duration::from_secs(9 * DAY));
        assert_eq!(read(&mut clock, 21 * DAY, 10 * DAY), (at(21 * DAY), false, false));
    }

    // finding: B7
    #[test]
    fn after_an_absence_the_clock_has_to_be_steady_for_an_hour() {
        let mut clock = started(10 * DAY, Some((0, false)));
        assert_eq!(read(&mut clock, 10 * DAY + 5, 5), (at(5), true, false));
        assert_eq!(read(&mut clock, 10 * DAY + HOUR, HOUR), (at(10 * DAY + HOUR), false, false));
        assert_eq!(read(&mut clock, 11 * DAY, DAY), (at(11 * DAY), false, false));

        let mut corrected = started(400 * DAY, Some((0, false)));
        assert_eq!(read(&mut corrected, 400 * DAY + 5, 5), (at(5), true, false));
        assert_eq!(read(&mut corrected, 600, 600), (at(600), false, false), "it was wrong at the start");
        let mut half = started(400 * DAY, Some((0, false)));
        assert_eq!(read(&mut half, 10 * DAY, 600), (at(600), true, false));
        assert_eq!(
            read(&mut half, 10 * DAY + HOUR, 600 + HOUR - 1).0,
            at(600 + HOUR - 1),
            "the hour begins there"
        );
        assert_eq!(read(&mut half, 10 * DAY + HOUR, 600 + HOUR), (at(10 * DAY + HOUR), false, false));
        let mut jumped = started(10 * DAY, Some((0, false)));
        assert_eq!(read(&mut jumped, 20 * DAY, 5), (at(5), true, true));

        let mut restarted = started(400 * DAY, Some((0, true)));
        assert_eq!(
            read(&mut restarted, 401 * DAY, DAY),
            (at(DAY), true, true),
            "a restart is no confirmation"
        );
        let mut quick = started(600, Some((0, true)));
        assert_eq!(read(&mut quick, 601, 1), (at(601), false, false));
        let mut behind = started(0, Some((10 * DAY, false)));
        assert_eq!(
            read(&mut behind, 10 * DAY + 60, 60),
            (at(10 * DAY + 60), false, false),
            "set right at last"
        );
    }

    #[test]
    fn a_clock_that_stays_set_back_is_followed() {
        let mut clock = started(10 * DAY, None);
        assert_eq!(read(&mut clock, 5, 5), (at(5), false, false));
        assert_eq!(read(&mut clock, 10 * DAY + 6, 6), (at(10 * DAY + 6), false, false), "for a moment only");
        assert_eq!(read(&mut clock, 10, 10), (at(10), false, false));
        assert_eq!(read(&mut clock, 10 + HOUR, 10 + HOUR), (at(10 + HOUR), false, false));
        assert_eq!(read(&mut clock, 10 * DAY, 11 + HOUR), (at(11 + HOUR), true, true));
    }

    #[test]
    fn what_is_seen_is_stored_and_read() {
        let mut clock = started(0, None);
        let seen = ExpiryClock::seen(clock.read(at(400 * DAY), Duration::from_secs(7)));
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(text, r#"{"seen_micros":1795000007000000,"jumped":true}"#);
        assert_eq!(serde_json::from_str::<SeenTime>(&text).unwrap(), seen);
    }
}
