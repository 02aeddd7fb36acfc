//! How many deliveries of one stream may be on their way at once: as many as make the receiver faster.
//!
//! The window grows while the receiver keeps up, and halves when it does not. Once it has grown it is tried now and
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

    pub(crate) fn new(max: usize) -> Self {
        Self {
            size: Self::START.min(max),
            max,
            proven: max,
            trial: Trial::Resting { larger_next: false },
            rest: 1,
            before: 0.0,
            measuring: Measuring::default(),
        }
    }

    /// How many may be on their way.
    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// One was accepted, at `now`, while so many were on their way.
    pub(crate) fn accepted(&mut self, on_their_way: usize, now: Timestamp) {
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

    /// The receiver is in trouble: go on with half of it, and after that with one at a time.
    pub(crate) fn troubled(&mut self) {
        let half = self.size / 2;
        self.settle(self.proven, false);
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
        if size == self.size || (!larger && size > self.size) {
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
        for expected in [32, 16, 8, 4, 2, 1, 1] {
            window.troubled();
            assert_eq!(window.size(), expected);
        }
        window.accepted(1, now);
        assert_eq!(window.size(), 2);
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
        for _ in 0..6 {
            world.window.troubled();
        }
        for _ in 0..100 {
            world.window.accepted(world.window.size(), world.now);
        }
        assert_eq!(world.window.size(), 8);
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
