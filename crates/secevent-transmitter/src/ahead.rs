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
