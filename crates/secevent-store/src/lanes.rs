//! The order in which what is kept may be worked on: each waits for those before it that share an identifier with
//! it (SEM-5, SEM-6, SEM-17).
//!
//! An entry takes a ticket in the lane of each of its identifiers, in the order of its place, and may be taken when
//! it is first in all of them. Since all tickets are taken in one order, no two entries can wait for each other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::RangeBounds;

/// The entries of one sequence that are read ahead, each taken or waiting: `P` is their place in it, `D` the time
/// at which they are due, `T` what they are.
///
/// What is read ahead is bounded by its reader. A lane that moves slowly does not fill it: of one lane no more than
/// [`Lanes::LANE_MAX`] entries are held, and those behind are left where they are, to be read again when the lane
/// has moved ([`Lanes::add_or_skip`], [`Lanes::read_again`]).
#[derive(Debug)]
pub struct Lanes<P, D, T> {
    entries: BTreeMap<P, Entry<D, T>>,
    /// Tickets by lane, in order. A lane without tickets is no entry.
    lanes: HashMap<u64, VecDeque<P>>,
    /// First in all their lanes, not taken, and due.
    ready: BTreeSet<P>,
    /// First in all their lanes, and to be taken again later.
    later: BTreeSet<(D, P)>,
    skipped: Skipped<P>,
}

#[derive(Debug)]
struct Entry<D, T> {
    what: T,
    lanes: Box<[u64]>,
    /// In how many lanes somebody is before it.
    blocked: usize,
    /// None once it was taken, or when it never had to wait for a time.
    due: Option<D>,
}

/// What was left where it is.
#[derive(Debug)]
struct Skipped<P> {
    first: Option<P>,
    count: usize,
    allowed: usize,
    /// Lanes in which something was left: whoever comes behind it there is left too.
    lanes: HashSet<u64>,
    /// The lanes that were full. One of them has room again once this is said.
    full: HashSet<u64>,
    relieved: bool,
}

/// Entries that were left where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left<P> {
    /// The first of them.
    pub first: P,
    /// All their lanes.
    pub lanes: Vec<u64>,
}

/// What became of an entry that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is held now.
    Held,
    /// It was held before; nothing changed.
    Known,
    /// Its lane is full: it was left where it is.
    Skipped,
}

impl<P, D, T> Default for Lanes<P, D, T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            skipped: Skipped::default(),
        }
    }
}

impl<P> Default for Skipped<P> {
    fn default() -> Self {
        Self {
            first: None,
            count: 0,
            allowed: Lanes::<(), (), ()>::SKIPPED_FIRST,
            lanes: HashSet::new(),
            full: HashSet::new(),
            relieved: false,
        }
    }
}

impl<P: Ord + Copy, D: Ord + Copy, T> Lanes<P, D, T> {
    /// How many entries of one lane are held.
    pub const LANE_MAX: usize = 256;
    /// How many entries are passed over at first to find others behind them. A lane that moves is read again soon,
    /// and looking far past it again and again would cost more than it gives.
    pub const SKIPPED_FIRST: usize = 1_024;
    /// How many entries are passed over at most, for a lane that does not move ([`Lanes::look_further`]).
    pub const SKIPPED_MAX: usize = 65_536;

    /// Takes an entry in. Entries come in the order of their places, as far as they share lanes.
    pub fn add(&mut self, place: P, lanes: Box<[u64]>, due: Option<D>, what: T) -> Added {
        if self.entries.contains_key(&place) {
            return Added::Known;
        }
        let mut blocked = 0;
        for lane in &lanes {
            let tickets = self.lanes.entry(*lane).or_default();
            blocked += usize::from(!tickets.is_empty());
            tickets.push_back(place);
        }
        self.entries.insert(place, Entry { what, lanes, blocked, due });
        if blocked == 0 {
            self.enqueue(place);
        }
        Added::Held
    }

    /// The same, unless one of its lanes is full or something before it was left there.
    pub fn add_or_skip(&mut self, place: P, lanes: Box<[u64]>, due: Option<D>, what: T) -> Added {
        if self.entries.contains_key(&place) {
            return Added::Known;
        }
        if self.have_room(&lanes) && !self.is_skipped(&lanes) {
            return self.add(place, lanes, due, what);
        }
        let full: Vec<u64> = lanes.iter().filter(|lane| !self.have_room(&[**lane])).copied().collect();
        self.skipped.full.extend(full);
        self.skipped.first = Some(self.skipped.first.map_or(place, |first| first.min(place)));
        self.skipped.count += 1;
        self.skipped.lanes.extend(&lanes);
        Added::Skipped
    }

    /// Whether [`Lanes::look_further`] would change something.
    pub fn may_look_further(&self) -> bool {
        self.is_crowded() && self.skipped.allowed < Self::SKIPPED_MAX
    }

    /// Whether something was left in one of these lanes.
    pub fn is_skipped(&self, lanes: &[u64]) -> bool {
        !self.skipped.lanes.is_empty() && lanes.iter().any(|lane| self.skipped.lanes.contains(lane))
    }

    /// Whether so much was left behind that reading on must wait.
    pub fn is_crowded(&self) -> bool {
        self.skipped.count >= self.skipped.allowed
    }

    /// The full lane has not moved for a while: twice as many entries may be passed over, within the bound.
    pub fn look_further(&mut self) {
        self.skipped.allowed = (self.skipped.allowed * 2).min(Self::SKIPPED_MAX);
    }

    /// What was left, once there is room for it. Its reader begins there again; what is held it will find to be known.
    pub fn read_again(&mut self) -> Option<Left<P>> {
        let is_time = self.skipped.relieved || self.entries.is_empty();
        if is_time { self.leave() } else { None }
    }

    /// What was left, room or not: it is not counted any more, and to be read again.
    pub fn leave(&mut self) -> Option<Left<P>> {
        let first = self.skipped.first?;
        let Skipped { lanes, .. } = std::mem::take(&mut self.skipped);
        Some(Left { first, lanes: lanes.into_iter().collect() })
    }

    /// The first entry in this range that may be taken now. It keeps its tickets until it is settled.
    pub fn take(&mut self, range: impl RangeBounds<P>, now: D) -> Option<P> {
        self.make_ready(now);
        let place = *self.ready.range(range).next()?;
        self.ready.remove(&place);
        Some(place)
    }

    /// The entry at this place, if it is held.
    pub fn get(&self, place: P) -> Option<&T> {
        self.entries.get(&place).map(|entry| &entry.what)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, place: P) -> Option<&mut T> {
        self.entries.get_mut(&place).map(|entry| &mut entry.what)
    }

    /// An entry that was taken is to be taken again, not before `due`. Its tickets keep their place, so nothing
    /// overtakes it.
    pub fn retry(&mut self, place: P, due: Option<D>) {
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.due = due;
            self.enqueue(place);
        }
    }

    /// An entry that waits for its time waits no longer. Returns whether it did.
    pub fn hasten(&mut self, place: P) -> bool {
        let Some(entry) = self.entries.get_mut(&place) else { return false };
        let Some(due) = entry.due else { return false };
        let waited = self.later.remove(&(due, place));
        if waited {
            entry.due = None;
            self.ready.insert(place);
        }
        waited
    }

    /// An entry is done: it leaves, and those that waited for it move up.
    pub fn settle(&mut self, place: P) -> Option<T> {
        let settled = self.entries.remove(&place)?;
        self.ready.remove(&place);
        if let Some(due) = settled.due {
            self.later.remove(&(due, place));
        }
        for lane in &settled.lanes {
            let Some(tickets) = self.lanes.get_mut(lane) else { continue };
            let was_first = tickets.front() == Some(&place);
            if was_first {
                tickets.pop_front();
            } else {
                tickets.retain(|ticket| *ticket != place);
            }
            self.skipped.relieved |= tickets.len() * 2 <= Self::LANE_MAX && self.skipped.full.contains(lane);
            let next = tickets.front().copied();
            if tickets.is_empty() {
                self.lanes.remove(lane);
            }
            if let (true, Some(next)) = (was_first, next) {
                self.unblock(next);
            }
        }
        Some(settled.what)
    }

    /// The entries that are held, by place.
    pub fn iter(&self) -> impl Iterator<Item = (P, &T)> {
        self.entries.iter().map(|(place, entry)| (*place, &entry.what))
    }

    /// Whether each of these lanes could take another entry.
    pub fn have_room(&self, lanes: &[u64]) -> bool {
        let full = |lane| self.lanes.get(lane).is_some_and(|tickets| tickets.len() >= Self::LANE_MAX);
        !lanes.iter().any(full)
    }

    /// When the next entry that waits for its time is due.
    pub fn next_due(&self) -> Option<D> {
        self.later.first().map(|(due, _)| *due)
    }

    /// Whether an entry could be taken at once.
    pub fn is_ready(&self, now: D) -> bool {
        !self.ready.is_empty() || self.next_due().is_some_and(|due| due <= now)
    }

    /// Whether an entry could be taken at once if those at these places were settled, which were taken before.
    pub fn would_be_ready_without(&self, taken: &[P], now: D) -> bool {
        let mut taken = taken.to_vec();
        taken.sort_unstable();
        // What was taken is first in its lanes, so what is behind it is second.
        let second = |lane: &u64| self.lanes.get(lane).and_then(|tickets| tickets.get(1)).copied();
        let is_free = |place: P| {
            let Some(entry) = self.entries.get(&place) else { return false };
            let moves_up = |lane: &u64| {
                let Some(tickets) = self.lanes.get(lane) else { return true };
                let before = tickets.iter().take_while(|ticket| **ticket != place);
                before.take(2).all(|ticket| taken.binary_search(ticket).is_ok())
            };
            entry.due.is_none_or(|due| due <= now) && entry.lanes.iter().all(moves_up)
        };
        let lanes = taken.iter().filter_map(|place| self.entries.get(place)).flat_map(|entry| &entry.lanes);
        lanes.filter_map(second).any(is_free)
    }

    /// The same for the entries in this range.
    pub fn is_ready_within(&self, range: impl RangeBounds<P> + Clone, now: D) -> bool {
        let mut due = self.later.iter().take_while(|(due, _)| *due <= now);
        self.ready.range(range.clone()).next().is_some() || due.any(|(_, place)| range.contains(place))
    }

    /// Whether the entry at this place was taken and not put back.
    pub fn is_taken(&self, place: P) -> bool {
        let waits = |entry: &Entry<D, T>| entry.due.is_some_and(|due| self.later.contains(&(due, place)));
        self.entries
            .get(&place)
            .is_some_and(|entry| entry.blocked == 0 && !self.ready.contains(&place) && !waits(entry))
    }

    /// Whether the entry at this place waits for another one that is before it in a lane.
    pub fn is_blocked(&self, place: P) -> bool {
        self.entries.get(&place).is_some_and(|entry| entry.blocked > 0)
    }

    /// The time for which the entry at this place waits, if it does.
    pub fn due_of(&self, place: P) -> Option<D> {
        let due = self.entries.get(&place)?.due?;
        self.later.contains(&(due, place)).then_some(due)
    }

    /// How many entries are held, taken or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_ready(&mut self, now: D) {
        while let Some((due, place)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, place));
            self.ready.insert(place);
        }
    }

    fn unblock(&mut self, place: P) {
        let entry = self.entries.get_mut(&place).expect("a ticket's entry is held");
        entry.blocked -= 1;
        if entry.blocked == 0 {
            self.enqueue(place);
        }
    }

    fn enqueue(&mut self, place: P) {
        match self.entries[&place].due {
            None => self.ready.insert(place),
            Some(due) => self.later.insert((due, place)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbers = Lanes<u64, u64, u64>;

    fn add(lanes: &mut Numbers, place: u64, of: &[u64]) -> Added {
        lanes.add_or_skip(place, of.into(), None, place)
    }

    fn taken(lanes: &mut Numbers) -> Vec<u64> {
        std::iter::from_fn(|| lanes.take(.., 0)).collect()
    }

    #[test]
    fn one_lane_is_served_in_order_and_others_beside_it() {
        let mut lanes = Numbers::default();
        for (place, of) in [(1, &[7][..]), (2, &[7]), (3, &[8]), (4, &[7, 8]), (5, &[9]), (6, &[])] {
            assert_eq!(add(&mut lanes, place, of), Added::Held);
        }
        assert_eq!(add(&mut lanes, 3, &[8]), Added::Known);
        assert_eq!(taken(&mut lanes), [1, 3, 5, 6]);
        assert_eq!(lanes.settle(1), Some(1));
        assert_eq!(taken(&mut lanes), [2]);
        lanes.settle(2);
        assert_eq!(taken(&mut lanes), [0; 0], "4 waits for 3 as well");
        lanes.settle(3);
        assert_eq!(taken(&mut lanes), [4]);
        for place in [4, 5, 6] {
            lanes.settle(place);
        }
        assert_eq!((lanes.len(), lanes.lanes.len()), (0, 0), "nothing is kept of what is done");
        assert_eq!(lanes.settle(5), None, "a repeat changes nothing");
    }

    // finding: A15
    #[test]
    fn what_waits_behind_those_that_were_taken() {
        let mut lanes = Numbers::default();
        for (place, of) in [(1, &[7][..]), (2, &[8]), (3, &[7, 8]), (4, &[9]), (5, &[9]), (6, &[])] {
            add(&mut lanes, place, of);
        }
        assert_eq!(taken(&mut lanes), [1, 2, 4, 6]);
        for (settled, more) in
            [(&[][..], false), (&[1], false), (&[2, 6], false), (&[2, 1], true), (&[4], true), (&[99], false)]
        {
            assert_eq!(lanes.would_be_ready_without(settled, 0), more, "{settled:?}");
        }
        for place in [1, 2, 4, 6] {
            lanes.retry(place, Some(50));
        }
        assert!(lanes.would_be_ready_without(&[4], 0), "handed out, and to be handed out again later");
        lanes.settle(4);
        assert_eq!(taken(&mut lanes), [5]);
        lanes.settle(1);
        assert!(lanes.would_be_ready_without(&[2], 0));
        assert!(!lanes.would_be_ready_without(&[5, 6], 0));
        lanes.settle(2);
        assert_eq!(taken(&mut lanes), [3]);
    }

    #[test]
    fn a_retry_keeps_its_place() {
        let mut lanes = Numbers::default();
        add(&mut lanes, 1, &[7]);
        add(&mut lanes, 2, &[7]);
        assert_eq!(taken(&mut lanes), [1]);
        lanes.retry(1, Some(5));
        assert_eq!((lanes.take(.., 4), lanes.next_due(), lanes.is_ready(4)), (None, Some(5), false));
        assert_eq!(lanes.take(.., 5), Some(1));
        lanes.retry(1, None);
        assert_eq!(lanes.take(.., 5), Some(1));
        lanes.settle(1);
        assert_eq!(taken(&mut lanes), [2]);
    }

    // finding: D1
    #[test]
    fn what_is_held_can_be_looked_at() {
        let mut lanes = Numbers::default();
        assert_eq!((lanes.len(), lanes.is_empty(), lanes.get(1)), (0, true, None));
        for place in [1, 2] {
            add(&mut lanes, place, &[7]);
        }
        *lanes.get_mut(2).unwrap() = 20;
        assert_eq!((lanes.get(1), lanes.get(2), lanes.get(3)), (Some(&1), Some(&20), None));
        assert_eq!(lanes.iter().collect::<Vec<_>>(), [(1, &1), (2, &20)]);
        assert_eq!((lanes.len(), lanes.is_empty()), (2, false));
    }

    // finding: D1
    #[test]
    fn what_is_ready_and_what_is_taken() {
        let mut lanes = Numbers::default();
        // What of 1, 2 and 3 is taken, and whether something is ready, in 1..=2 and in 3.. as well.
        let at = |lanes: &Numbers, now| {
            let taken = [1, 2, 3, 4].map(|place| lanes.is_taken(place));
            (taken, [lanes.is_ready(now), lanes.is_ready_within(1..=2, now), lanes.is_ready_within(3.., now)])
        };
        assert_eq!(at(&lanes, 0), ([false; 4], [false; 3]));
        for (place, lane) in [(1, 7), (2, 7), (3, 8)] {
            add(&mut lanes, place, &[lane]);
        }
        assert_eq!(at(&lanes, 0), ([false; 4], [true, true, true]));
        assert_eq!(lanes.take(.., 0), Some(1));
        assert_eq!(at(&lanes, 0), ([true, false, false, false], [true, false, true]), "2 waits for 1");
        assert_eq!(lanes.take(.., 0), Some(3));
        assert_eq!(at(&lanes, 9), ([true, false, true, false], [false; 3]));
        lanes.retry(1, Some(5));
        assert_eq!(at(&lanes, 4), ([false, false, true, false], [false; 3]));
        assert_eq!(at(&lanes, 5), ([false, false, true, false], [true, true, false]));
        // Asked for before its time it is ready, and then taken.
        assert_eq!(lanes.take(3.., 5), None);
        assert_eq!(at(&lanes, 0), ([false, false, true, false], [true, true, false]));
        assert_eq!(lanes.take(.., 5), Some(1));
        assert_eq!(at(&lanes, 9), ([true, false, true, false], [false; 3]));
        lanes.retry(3, None);
        assert_eq!(at(&lanes, 0), ([true, false, false, false], [true, false, true]));
    }

    // finding: B11
    #[test]
    fn who_waits_for_its_time_may_be_hastened() {
        let mut lanes = Numbers::default();
        for place in [1, 2] {
            add(&mut lanes, place, &[7]);
        }
        add(&mut lanes, 3, &[8]);
        assert_eq!(taken(&mut lanes), [1, 3]);
        lanes.retry(1, Some(9));
        for place in [1, 1, 2, 3, 4] {
            lanes.hasten(place);
        }
        assert_eq!(taken(&mut lanes), [1], "the others wait for no time: 2 for 1, 3 for its end");
        assert_eq!(lanes.next_due(), None);
        lanes.settle(1);
        assert_eq!(taken(&mut lanes), [2]);
    }

    #[test]
    fn what_is_settled_out_of_turn_leaves_the_others_in_order() {
        let mut lanes = Numbers::default();
        for place in [1, 2, 3] {
            add(&mut lanes, place, &[7]);
        }
        assert_eq!(taken(&mut lanes), [1]);
        lanes.settle(2);
        assert_eq!(taken(&mut lanes), [0; 0]);
        lanes.settle(1);
        assert_eq!(taken(&mut lanes), [3]);
        lanes.retry(3, Some(9));
        lanes.settle(3);
        assert_eq!((lanes.next_due(), lanes.is_empty()), (None, true));
    }

    #[test]
    fn a_part_of_the_places_may_be_asked_for() {
        let mut lanes = Numbers::default();
        for place in [1, 2, 10, 11] {
            add(&mut lanes, place, &[place]);
        }
        assert_eq!(lanes.take(10.., 0), Some(10));
        assert_eq!(lanes.take(12.., 0), None);
        assert_eq!(lanes.take(..=9, 0), Some(1));
    }

    /// SEM-5: one blocked lane may not fill the read-ahead.
    #[test]
    fn a_full_lane_is_left_and_read_again_when_it_has_moved() {
        let mut lanes = Numbers::default();
        let max = Numbers::LANE_MAX as u64;
        for place in 1..=max {
            assert_eq!(add(&mut lanes, place, &[7]), Added::Held);
        }
        assert_eq!(add(&mut lanes, max + 1, &[7, 8]), Added::Skipped);
        assert_eq!(add(&mut lanes, max + 2, &[8]), Added::Skipped, "it waits for one that was left");
        assert_eq!(add(&mut lanes, max + 3, &[9]), Added::Held);
        assert_eq!(lanes.read_again(), None);
        for place in 1..max / 2 {
            assert_eq!(lanes.take(..=max, 0), Some(place));
            lanes.settle(place);
            assert_eq!(lanes.read_again(), None);
        }
        lanes.settle(max / 2);
        let left = lanes.read_again().unwrap();
        assert_eq!((left.first, left.lanes.len()), (max + 1, 2));
        assert_eq!(lanes.read_again(), None, "that is said once");
        assert_eq!(add(&mut lanes, max + 1, &[7, 8]), Added::Held);
        assert_eq!(add(&mut lanes, max + 2, &[8]), Added::Held);
        assert_eq!(add(&mut lanes, max + 3, &[9]), Added::Known);
    }

    #[test]
    fn looking_past_a_full_lane_has_a_bound() {
        let mut lanes = Numbers::default();
        let held = Numbers::LANE_MAX as u64;
        let mut places = 1..;
        let mut until_crowded = |lanes: &mut Numbers| {
            for place in places.by_ref().take(2 * Numbers::SKIPPED_MAX) {
                add(lanes, place, &[7]);
                if lanes.is_crowded() {
                    break;
                }
            }
            lanes.skipped.count
        };
        assert!(!lanes.may_look_further(), "nothing is in the way");
        assert_eq!(until_crowded(&mut lanes), Numbers::SKIPPED_FIRST);
        assert!(lanes.may_look_further());
        lanes.look_further();
        assert!(!lanes.may_look_further());
        assert_eq!(until_crowded(&mut lanes), 2 * Numbers::SKIPPED_FIRST);
        for _ in 0..10 {
            lanes.look_further();
        }
        assert_eq!(until_crowded(&mut lanes), Numbers::SKIPPED_MAX);
        assert!(!lanes.may_look_further(), "there is a bound");
        for place in 1..=held {
            lanes.settle(place);
        }
        assert_eq!(lanes.read_again().unwrap().first, held + 1);
        assert!(!lanes.is_crowded());
    }
}
