//! The order in which SETs may be handled: each waits for those before it that share an identifier with it
//! (SEM-5, SEM-17).
//!
//! A SET takes a ticket in the lane of each of its identifiers, in the order of arrival, and may be handled
//! when it is first in all of them. Since all tickets are taken in one order, no two SETs can wait for each
//! other.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use tokio::time::Instant;

/// The SETs that are read ahead, each in work or waiting.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    waiting: BTreeMap<u64, Waiting<T>>,
    /// Tickets by lane, in order. A lane without tickets is no entry.
    lanes: HashMap<u64, VecDeque<u64>>,
    /// First in all their lanes, not in work, and due.
    ready: BTreeSet<u64>,
    /// First in all their lanes, and to be tried again later.
    later: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Waiting<T> {
    set: T,
    lanes: Box<[u64]>,
    /// In how many lanes somebody is before it.
    blocked: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
        }
    }
}

impl<T: Clone> Lanes<T> {
    /// Takes a SET in, at its place in the order of arrival.
    pub(crate) fn add(&mut self, place: u64, lanes: Box<[u64]>, set: T) {
        let mut blocked = 0;
        for lane in &lanes {
            let tickets = self.lanes.entry(*lane).or_default();
            blocked += usize::from(!tickets.is_empty());
            tickets.push_back(place);
        }
        self.waiting.insert(place, Waiting { set, lanes, blocked });
        if blocked == 0 {
            self.ready.insert(place);
        }
    }

    /// The next SET that may be handled now. It keeps its tickets until it is done.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(u64, T)> {
        while let Some((due, place)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, place));
            self.ready.insert(place);
        }
        let place = self.ready.pop_first()?;
        Some((place, self.waiting[&place].set.clone()))
    }

    /// A SET that was taken is to be taken again, not before `due`. Nothing overtakes it.
    pub(crate) fn retry(&mut self, place: u64, due: Instant, change: impl FnOnce(&mut T)) {
        if let Some(waiting) = self.waiting.get_mut(&place) {
            change(&mut waiting.set);
            self.later.insert((due, place));
        }
    }

    /// A SET that was taken is done: it leaves, and those that waited for it move up.
    pub(crate) fn done(&mut self, place: u64) {
        let Some(done) = self.waiting.remove(&place) else { return };
        for lane in &done.lanes {
            let Some(tickets) = self.lanes.get_mut(lane) else { continue };
            debug_assert_eq!(tickets.front(), Some(&place), "who is taken is first in his lanes");
            tickets.pop_front();
            match tickets.front().copied() {
                Some(next) => self.unblock(next),
                None => {
                    self.lanes.remove(lane);
                }
            }
        }
    }

    /// When the next SET that waits for its time is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    /// How many SETs are held, in work or not.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn unblock(&mut self, place: u64) {
        let waiting = self.waiting.get_mut(&place).expect("a ticket's SET is held");
        waiting.blocked -= 1;
        if waiting.blocked == 0 {
            self.ready.insert(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn taken(lanes: &mut Lanes<()>, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| lanes.take(now)).map(|(place, ())| place).collect()
    }

    #[test]
    fn one_subject_is_served_in_order_and_others_beside_it() {
        let now = Instant::now();
        let mut lanes = Lanes::default();
        for (place, of) in [(1, &[7][..]), (2, &[7]), (3, &[8]), (4, &[7, 8]), (5, &[])] {
            lanes.add(place, of.into(), ());
        }
        assert_eq!(taken(&mut lanes, now), [1, 3, 5]);
        lanes.done(1);
        assert_eq!(taken(&mut lanes, now), [2]);
        lanes.done(2);
        assert!(taken(&mut lanes, now).is_empty(), "4 waits for 3 as well");
        lanes.done(3);
        assert_eq!(taken(&mut lanes, now), [4]);
        lanes.done(4);
        lanes.done(5);
        assert_eq!((lanes.len(), lanes.lanes.len()), (0, 0), "nothing is kept of what is done");
    }

    #[test]
    fn a_retry_keeps_its_place() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut lanes = Lanes::default();
        lanes.add(1, [7].into(), ());
        lanes.add(2, [7].into(), ());
        assert_eq!(taken(&mut lanes, now), [1]);
        lanes.retry(1, later, |()| {});
        assert!(taken(&mut lanes, now).is_empty());
        assert_eq!(lanes.next_due(), Some(later));
        assert_eq!(taken(&mut lanes, later), [1]);
        lanes.done(1);
        assert_eq!(taken(&mut lanes, now), [2]);
    }
}
