//! How many deliveries of one stream may be on their way at once: as many as make the receiver faster.
//!
//! The window grows while the receiver keeps up. It halves when more than a quarter of a window's worth of answers are
//! failures: with fewer, a smaller window would deliver less and fail as often. Once it has grown it is tried now and
//! then whether half of it does as well, or the double of it better. What is on its way beyond that waits somewhere
//! between us and the receiver, and a fresh event behind it. A receiver that takes long to answer is left all of it:
//! there the time is the way's and not the queue's.

use secevent::Timestamp;
use std::time::Duration;

/// An adaptive window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    size: usize,
    max: usize,
    /// Up to here it grows without being tried: what has proved itself.
    proven: usize,
    trial: Trial,
    /// After how many measurements the next trial begins.
    rest: u8,
    /// Deliveries a second before the present trial.
    before: f64,
    measuring: Measuring,
    round: Round,
}

/// A window's worth of answers, judged as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    answers: usize,
    failures: usize,
}

/// What is measured at present.
#[derive(Clone, Copy, Debug, Default)]
struct Measuring {
    since: Timestamp,
    accepted: usize,
    /// How many of those left the window with room: there was not more to send.
    with_room: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// None, and the next one makes it larger, or smaller.
    Resting {
        larger_next: bool,
    },
    Larger,
    Smaller,
}

impl Window {
    const START: usize = 4;
    /// A measurement takes at least so long, and so many windows' worth of answers.
    const TIME_MIN: Duration = Duration::from_millis(10);
    const WINDOWS: usize = 4;
    /// Measurements between trials.
    const REST: u8 = 8;
    /// Larger has to be so much faster to stay, and smaller as fast as this.
    const GAIN_MIN: f64 = 1.1;
    const LOSS_MAX: f64 = 0.95;
    /// Where an answer takes longer than this, no queue of ours is the reason.
    const SLOW: Duration = Duration::from_millis(50);
    /// How many answers are judged together at least: of fewer, a quarter is chance.
    const ROUND_MIN: usize = 8;
    /// A window is too large when more than one in so many answers are failures.
    const FAILURES_MAX: usize = 4;

    pub(crate) fn new(max: usize) -> Self {
        Self {
            size: Self::START.min(max),
            max,
            proven: max,
            trial: Trial::Resting { larger_next: false },
            rest: 1,
            before: 0.0,
            measuring: Measuring::default(),
            round: Round::default(),
        }
    }

    /// How many may be on their way.
    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// One was accepted, at `now`, while so many were on their way.
    pub(crate) fn accepted(&mut self, on_their_way: usize, now: Timestamp) {
        if self.is_overloaded(false) {
            return self.halve();
        }
        if self.size < self.proven && matches!(self.trial, Trial::Resting { .. }) {
            self.measuring.accepted += 1;
            // A window's worth of these doubles it.
            if self.measuring.accepted >= self.size {
                self.resize(self.size * 2);
            }
            return;
        }
        let measuring = &mut self.measuring;
        if measuring.accepted == 0 || now < measuring.since {
            *measuring = Measuring { since: now, accepted: 1, with_room: 0 };
            return;
        }
        measuring.accepted += 1;
        measuring.with_room += usize::from(on_their_way < self.size);
        let took = now.since(measuring.since);
        if measuring.accepted < self.size * Self::WINDOWS || took < Self::TIME_MIN {
            return;
        }
        let measured = std::mem::take(measuring);
        // What there was too little to send for says nothing.
        if measured.with_room * 8 < measured.accepted {
            self.judge(measured.accepted as f64 / took.as_secs_f64());
        }
    }

    /// One failed, and others are delivered.
    pub(crate) fn failed(&mut self) {
        if self.is_overloaded(true) {
            self.halve();
        }
    }

    /// Nothing is delivered: it goes on with one at a time, and opens again up to what has proved itself.
    pub(crate) fn closed(&mut self) {
        self.round = Round::default();
        self.settle(self.proven, false);
        self.resize(1);
    }

    /// Counts an answer. Returns whether it ends a round in which too many failed.
    fn is_overloaded(&mut self, failed: bool) -> bool {
        self.round.answers += 1;
        self.round.failures += usize::from(failed);
        if self.round.answers < self.size.max(Self::ROUND_MIN) {
            return false;
        }
        let round = std::mem::take(&mut self.round);
        round.failures * Self::FAILURES_MAX > round.answers
    }

    /// So many were too many. Beyond the half it grows again by trial.
    fn halve(&mut self) {
        let half = self.size / 2;
        self.settle(half.max(Self::START), true);
        self.resize(half);
    }

    /// So many deliveries a second were accepted with this window.
    fn judge(&mut self, rate: f64) {
        let slow = self.size as f64 / rate > Self::SLOW.as_secs_f64();
        match self.trial {
            Trial::Resting { .. } if self.rest > 1 && !slow => self.rest -= 1,
            Trial::Resting { larger_next } => self.try_another(larger_next || slow, rate),
            Trial::Larger if slow || rate >= self.before * Self::GAIN_MIN => self.try_another(true, rate),
            Trial::Larger => self.settle(self.size / 2, false),
            // The first rate is what all are measured by: many small losses are a large one.
            Trial::Smaller if !slow && rate >= self.before * Self::LOSS_MAX => {
                self.try_another(false, self.before);
            }
            Trial::Smaller => self.settle(self.size * 2, true),
        }
    }

    fn try_another(&mut self, larger: bool, before: f64) {
        let size = if larger { (self.size * 2).min(self.max) } else { (self.size / 2).max(Self::START) };
        let is_another = if larger { size > self.size } else { size < self.size };
        if !is_another {
            self.settle(self.size, !larger);
            return;
        }
        (self.trial, self.before) = (if larger { Trial::Larger } else { Trial::Smaller }, before);
        self.resize(size);
    }

    /// A trial has ended, and this is the window for a while.
    fn settle(&mut self, size: usize, larger_next: bool) {
        let size = size.clamp(1, self.max);
        (self.trial, self.rest, self.proven) = (Trial::Resting { larger_next }, Self::REST, size);
        self.resize(size);
    }

    fn resize(&mut self, size: usize) {
        self.size = size.clamp(1, self.max);
        self.measuring = Measuring::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A receiver that takes so long to answer, and so many a second at most.
    #[derive(Clone, Copy)]
    struct Receiver {
        latency: Duration,
        per_second: u32,
    }

    const FAST: Receiver = Receiver { latency: Duration::from_micros(200), per_second: 30_000 };
    const SLOW: Receiver = Receiver { latency: Duration::from_millis(100), per_second: 30_000 };

    struct World {
        window: Window,
        now: Timestamp,
        /// When those that are on their way are answered.
        answers: VecDeque<Timestamp>,
    }

    impl World {
        fn new(max: usize) -> Self {
            Self { window: Window::new(max), now: Timestamp::from_seconds(1), answers: VecDeque::new() }
        }

        /// Sends as fast as the window allows, and returns all sizes that it had in the last half of that time.
        fn send(&mut self, receiver: Receiver, seconds: u64) -> Vec<usize> {
            let (start, time) = (self.now, Duration::from_secs(seconds));
            let mut sizes = Vec::new();
            while self.now < start.plus(time) {
                while self.answers.len() < self.window.size() {
                    let after = self
                        .answers
                        .back()
                        .map_or(self.now, |last| last.plus(Duration::from_secs(1) / receiver.per_second));
                    self.answers.push_back(after.max(self.now.plus(receiver.latency)));
                }
                self.now = self.answers.front().copied().unwrap();
                self.window.accepted(self.answers.len(), self.now);
                self.answers.pop_front();
                if self.now >= start.plus(time / 2) {
                    sizes.push(self.window.size());
                }
            }
            sizes.sort_unstable();
            sizes
        }
    }

    #[test]
    fn it_grows_to_its_bound_and_shrinks_to_one() {
        let mut window = Window::new(64);
        let now = Timestamp::from_seconds(1);
        for _ in 0..1_000 {
            window.accepted(window.size(), now);
        }
        assert_eq!(window.size(), 64);
        window.round = Round::default();
        for (size, expected) in [(64, 32), (32, 16), (16, 8), (8, 4), (8, 2), (8, 1), (8, 1)] {
            for _ in 0..size {
                window.failed();
            }
            assert_eq!(window.size(), expected, "a window's worth of failures");
        }
        window.accepted(1, now);
        assert_eq!(window.size(), 2);
        window.accepted(2, now);
        window.accepted(2, now);
        assert_eq!(window.size(), 4);
        for _ in 0..15 {
            window.accepted(4, now);
        }
        assert_eq!(window.size(), 4, "beyond that it is measured");
    }

    // finding: B11
    #[test]
    fn a_quarter_of_failures_is_no_reason_for_a_smaller_window() {
        // Failures in each round of 64 answers, and the windows after one and after four of them.
        for (failures, sizes) in [(0, [64, 64]), (1, [64, 64]), (16, [64, 64]), (17, [32, 4]), (64, [32, 4])]
        {
            let mut window = Window::new(64);
            let now = Timestamp::from_seconds(1);
            for _ in 0..1_000 {
                window.accepted(window.size(), now);
            }
            window.round = Round::default();
            let mut seen = Vec::new();
            for _ in 0..4 {
                let (answers, mut failed) = (window.size(), 0);
                for answer in 1..=answers {
                    // They are spread evenly.
                    if failed * 64 < failures * answer {
                        failed += 1;
                        window.failed();
                    } else {
                        window.accepted(answers, now);
                    }
                }
                seen.push(window.size());
            }
            assert_eq!([seen[0], seen[3]], sizes, "{failures} of 64");
        }
    }

    // finding: B11
    #[test]
    fn after_an_outage_it_opens_up_to_what_has_proved_itself() {
        let mut window = Window::new(64);
        let now = Timestamp::from_seconds(1);
        for _ in 0..1_000 {
            window.accepted(window.size(), now);
        }
        window.closed();
        assert_eq!(window.size(), 1);
        let mut sizes = Vec::new();
        for _ in 0..63 {
            window.accepted(window.size(), now);
            sizes.push(window.size());
        }
        sizes.dedup();
        assert_eq!(sizes, [2, 4, 8, 16, 32, 64], "each window's worth of answers doubles it");
    }

    // finding: B11
    #[test]
    fn what_was_too_much_is_tried_again_by_measurement() {
        let mut world = World::new(64);
        world.send(SLOW, 10);
        assert_eq!(world.window.size(), 64);
        for _ in 0..64 {
            world.window.failed();
        }
        assert_eq!(world.window.size(), 32);
        for _ in 0..64 {
            world.window.accepted(32, world.now);
        }
        assert_eq!(world.window.size(), 32, "it does not grow at once to what was too much");
        let sizes = world.send(SLOW, 4);
        assert_eq!(sizes[0], 64, "it was the receiver's state, not the window");
    }

    #[test]
    fn a_receiver_that_is_no_faster_for_more_is_not_sent_more_at_once() {
        // Six on their way are enough for it.
        let mut world = World::new(64);
        let sizes = world.send(FAST, 4);
        assert_eq!(sizes[sizes.len() / 2], 8);
        // The next one takes its time, and gets all; and the first one again what it needs.
        let sizes = world.send(SLOW, 40);
        assert_eq!(sizes[0], 64);
        let sizes = world.send(FAST, 4);
        assert_eq!(sizes[sizes.len() / 2], 8);
        // After trouble it opens up to what has proved itself.
        world.window.closed();
        for _ in 0..100 {
            world.window.accepted(world.window.size(), world.now);
        }
        assert_eq!(world.window.size(), 8);
    }

    const RESTING: Trial = Trial::Resting { larger_next: false };
    const LARGER_NEXT: Trial = Trial::Resting { larger_next: true };

    // finding: D1
    #[test]
    fn what_follows_from_a_measurement() {
        use Trial::{Larger, Smaller};
        // Size, trial and rest before; deliveries a second, where there were 1 000 before; size, trial, rest and what has
        // proved itself after. An answer takes longer than 50 ms where less than twenty windows a second are answered.
        for (size, trial, rest, rate, expected) in [
            (8, RESTING, 3, 2_000.0, (8, RESTING, 2, 64)),
            (8, RESTING, 3, 160.0, (8, RESTING, 2, 64)),
            (8, RESTING, 3, 159.0, (16, Larger, 3, 64)),
            (8, RESTING, 1, 2_000.0, (4, Smaller, 1, 64)),
            (8, LARGER_NEXT, 1, 2_000.0, (16, Larger, 1, 64)),
            (8, LARGER_NEXT, 2, 2_000.0, (8, LARGER_NEXT, 1, 64)),
            // At its ends there is nothing to try.
            (64, LARGER_NEXT, 1, 2_000.0, (64, RESTING, 8, 64)),
            (4, RESTING, 1, 2_000.0, (4, LARGER_NEXT, 8, 4)),
            (2, RESTING, 1, 2_000.0, (2, LARGER_NEXT, 8, 2)),
            (48, LARGER_NEXT, 1, 2_000.0, (64, Larger, 1, 64)),
            // Larger has to be a tenth faster, and smaller no more than a twentieth slower.
            (8, Larger, 1, 1_099.0, (4, RESTING, 8, 4)),
            (8, Larger, 1, 1_101.0, (16, Larger, 1, 64)),
            (8, Larger, 1, 100.0, (16, Larger, 1, 64)),
            (16, Smaller, 1, 951.0, (8, Smaller, 1, 64)),
            (16, Smaller, 1, 949.0, (32, LARGER_NEXT, 8, 32)),
            (64, Smaller, 1, 960.0, (64, LARGER_NEXT, 8, 64)),
            (4, Smaller, 1, 951.0, (4, LARGER_NEXT, 8, 4)),
        ] {
            let mut window = Window { size, trial, rest, before: 1_000.0, ..Window::new(64) };
            window.judge(rate);
            let found = (window.size, window.trial, window.rest, window.proven);
            assert_eq!(found, expected, "{size} {trial:?} {rest} {rate}");
            // A row of small losses is measured by the first rate, a row of gains by the last.
            let before = match (trial, window.trial) {
                (Smaller, _) => 1_000.0,
                (_, Larger | Smaller) => rate,
                _ => 1_000.0,
            };
            assert!((window.before - before).abs() < 0.1, "{size} {trial:?} {rate}: {}", window.before);
        }
        let mut window = Window::new(64);
        window.settle(0, false);
        assert_eq!((window.size, window.proven), (1, 1));
    }

    // finding: D1
    #[test]
    fn a_measurement_takes_four_windows_and_ten_milliseconds() {
        let start = Timestamp::from_seconds(1);
        let millis = |millis| start.plus(Duration::from_millis(millis));
        // How many are accepted at once, after how long one more is, how many of all left the window with room, and
        // whether that is a measurement.
        for (at_once, then, with_room, is_measured) in [
            (31, 10, 0, true),
            (30, 10, 0, false),
            (31, 9, 0, false),
            (1_000, 9, 0, false),
            (31, 1_000, 0, true),
            (31, 10, 3, true),
            (31, 10, 4, false),
            (31, 10, 32, false),
        ] {
            let mut window = Window { size: 8, proven: 8, trial: LARGER_NEXT, ..Window::new(64) };
            for number in 0..=at_once {
                let now = if number < at_once { start } else { millis(then) };
                // The first one begins the measurement and is not looked at.
                let on_their_way = if (1..=with_room).contains(&number) { 7 } else { 8 };
                window.accepted(on_their_way, now);
            }
            let trial = if is_measured { Trial::Larger } else { LARGER_NEXT };
            assert_eq!(window.trial, trial, "{at_once} {then} {with_room}");
        }
    }

    // finding: D1
    #[test]
    fn each_measurement_begins_anew() {
        let mut window = Window { size: 8, proven: 8, rest: 8, trial: RESTING, ..Window::new(64) };
        let mut now = Timestamp::from_seconds(1);
        let mut rests = Vec::new();
        for _ in 0..4 * 32 {
            now = now.plus(Duration::from_millis(1));
            window.accepted(8, now);
            rests.push(window.rest);
        }
        let changes: Vec<usize> = (1..rests.len()).filter(|at| rests[*at] != rests[at - 1]).collect();
        assert_eq!(changes, [31, 63, 95, 127]);
    }

    #[test]
    fn a_stream_with_little_to_send_keeps_its_window() {
        let mut window = Window::new(64);
        let mut now = Timestamp::from_seconds(1);
        for _ in 0..10_000 {
            now = now.plus(Duration::from_millis(5));
            window.accepted(1, now);
        }
        assert_eq!(window.size(), 64);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_the_measurement_anew() {
        let mut world = World::new(64);
        world.send(FAST, 1);
        world.now = Timestamp::from_seconds(0);
        world.answers.clear();
        let sizes = world.send(FAST, 4);
        assert_eq!(sizes[sizes.len() / 2], 8);
    }
}
