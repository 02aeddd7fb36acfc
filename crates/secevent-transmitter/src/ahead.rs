//! What is known of a backlog that is not read yet: which identifiers it is about. A fresh event about somebody else
//! need not wait behind it (SEM-11).

use secevent_store::Sequence;
use std::collections::{HashMap, VecDeque};

/// The lanes of deliveries that lie behind what was read, as they were told when they were committed.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Whether every delivery behind the cursor is counted here.
    known: bool,
    /// Whether one was missed since [`Ahead::begin`].
    missed: bool,
    counts: HashMap<u64, u32>,
    order: VecDeque<(Sequence, u64)>,
}

impl Ahead {
    /// How many tickets are remembered. A longer backlog is not known, and fresh events wait behind it.
    pub(crate) const TICKETS_MAX: usize = 16_384;

    /// The store is about to be read: what is told from here on is counted, so that all is known if the reading comes
    /// to the end.
    pub(crate) fn begin(&mut self) {
        if !self.known {
            *self = Self::default();
        }
    }

    /// The reading came to the end of the queue: what lies behind it was told since.
    pub(crate) fn reached_the_end(&mut self) {
        self.known |= !self.missed;
    }

    /// One lies behind the cursor.
    pub(crate) fn add(&mut self, sequence: Sequence, lanes: &[u64]) {
        if self.missed {
            return;
        }
        if self.order.len() + lanes.len() > Self::TICKETS_MAX {
            return self.miss();
        }
        for lane in lanes {
            *self.counts.entry(*lane).or_default() += 1;
            self.order.push_back((sequence, *lane));
        }
    }

    /// One that was read is left unread after all, before all others.
    pub(crate) fn add_first(&mut self, sequence: Sequence, lanes: &[u64]) {
        if self.missed || self.order.len() + lanes.len() > Self::TICKETS_MAX {
            return self.miss();
        }
        for lane in lanes {
            *self.counts.entry(*lane).or_default() += 1;
            self.order.push_front((sequence, *lane));
        }
    }

    /// Something was not told, or there is too much to remember.
    pub(crate) fn miss(&mut self) {
        *self = Self { missed: true, ..Self::default() };
    }

    /// Gives back what memory nothing is kept in.
    pub(crate) fn rest(&mut self) {
        if self.order.is_empty() {
            (self.counts, self.order) = (HashMap::new(), VecDeque::new());
        }
    }

    /// Everything up to here is read.
    pub(crate) fn read_until(&mut self, seen: Sequence) {
        while let Some((_, lane)) = self.order.pop_front_if(|(sequence, _)| *sequence <= seen) {
            if let Some(count) = self.counts.get_mut(&lane) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&lane);
                }
            }
        }
    }

    /// Whether it is certain that nothing unread is in one of these lanes.
    pub(crate) fn is_free(&self, lanes: &[u64]) -> bool {
        self.known && !lanes.iter().any(|lane| self.counts.contains_key(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_certain_before_the_end_was_reached() {
        let mut ahead = Ahead::default();
        assert!(!ahead.is_free(&[1]));
        ahead.begin();
        ahead.add(Sequence(9), &[2]);
        assert!(!ahead.is_free(&[1]));
        ahead.reached_the_end();
        assert!(ahead.is_free(&[1]));
        assert!(!ahead.is_free(&[1, 2]));
        ahead.read_until(Sequence(8));
        assert!(!ahead.is_free(&[2]));
        ahead.read_until(Sequence(9));
        assert!(ahead.is_free(&[2]));
    }

    #[test]
    fn who_missed_one_begins_anew() {
        let mut ahead = Ahead::default();
        ahead.begin();
        ahead.miss();
        ahead.reached_the_end();
        assert!(!ahead.is_free(&[]));
        ahead.begin();
        ahead.reached_the_end();
        assert!(ahead.is_free(&[1]));
    }

    // finding: D1
    #[test]
    fn a_lane_is_free_when_all_that_are_in_it_are_read() {
        let mut ahead = known();
        ahead.add(Sequence(5), &[1, 2]);
        ahead.add(Sequence(9), &[1]);
        // What was let go of lies before all others.
        ahead.add_first(Sequence(3), &[1, 3]);
        // To begin once more forgets nothing that is known.
        ahead.begin();
        let free = |ahead: &Ahead| [1, 2, 3].map(|lane| ahead.is_free(&[lane]));
        assert_eq!(free(&ahead), [false, false, false]);
        for (seen, expected) in [
            (2, [false, false, false]),
            (3, [false, false, true]),
            (4, [false, false, true]),
            (5, [false, true, true]),
            (9, [true, true, true]),
        ] {
            ahead.read_until(Sequence(seen));
            assert_eq!(free(&ahead), expected, "read up to {seen}");
        }
        assert_eq!((ahead.order.len(), ahead.counts.len()), (0, 0));
    }

    // finding: D1
    #[test]
    fn one_that_rests_gives_back_memory_and_forgets_nothing() {
        let mut ahead = known();
        ahead.add(Sequence(5), &[1]);
        ahead.rest();
        assert!(!ahead.is_free(&[1]));
        ahead.read_until(Sequence(5));
        assert!(ahead.counts.capacity() > 0);
        ahead.rest();
        assert_eq!((ahead.counts.capacity(), ahead.order.capacity()), (0, 0));
        assert!(ahead.is_free(&[1]), "it is known still");
    }

    // finding: D1
    #[test]
    fn tickets_have_one_bound_at_both_ends() {
        let full = |lanes: usize| {
            let mut ahead = known();
            let lanes: Vec<u64> = (0..lanes as u64).collect();
            ahead.add(Sequence(9), &lanes);
            ahead
        };
        let other = [u64::MAX];
        for (held, added, is_known) in [
            (Ahead::TICKETS_MAX - 2, &[1, 2][..], true),
            (Ahead::TICKETS_MAX - 1, &[1, 2], false),
            (Ahead::TICKETS_MAX - 1, &[1], true),
            (Ahead::TICKETS_MAX, &[1], false),
            (Ahead::TICKETS_MAX, &[], true),
        ] {
            let mut first = full(held);
            first.add_first(Sequence(1), added);
            let mut last = full(held);
            last.add(Sequence(10), added);
            assert_eq!([first.is_free(&other), last.is_free(&other)], [is_known; 2], "{held} {added:?}");
        }
    }

    // finding: D1
    #[test]
    fn what_comes_after_something_was_missed_is_not_kept() {
        let mut ahead = known();
        ahead.miss();
        ahead.add(Sequence(1), &[1]);
        ahead.add_first(Sequence(1), &[1]);
        assert_eq!((ahead.order.len(), ahead.counts.len()), (0, 0));
    }

    /// One that knows that nothing is unread.
    fn known() -> Ahead {
        let mut ahead = Ahead::default();
        ahead.begin();
        ahead.reached_the_end();
        ahead
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut ahead = Ahead::default();
        ahead.begin();
        ahead.reached_the_end();
        for number in 0..Ahead::TICKETS_MAX as u64 {
            ahead.add(Sequence(number), &[number]);
        }
        assert!(ahead.is_free(&[u64::MAX]));
        ahead.add(Sequence(u64::MAX), &[7]);
        assert!(!ahead.is_free(&[u64::MAX]));
        assert_eq!((ahead.order.len(), ahead.counts.len()), (0, 0));
    }
}
