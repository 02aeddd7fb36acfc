//! The order in which a stream's deliveries may be sent: each waits for those before it that share an
//! identifier with it (SEM-5, SEM-6).
//!
//! A delivery takes a ticket in the lane of each of its identifiers, in the order of acceptance, and may be
//! sent when it is first in all of them. Since all tickets are taken in one order, no two deliveries can wait
//! for each other.

use secevent::Timestamp;
use secevent_store::{Delivery, Epoch, Queue, Sequence};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A delivery's place among those of its stream: control events come first.
pub(crate) type Place = (Queue, Sequence);

/// The deliveries of one stream that are read ahead, each sent or waiting.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    deliveries: BTreeMap<Place, Waiting>,
    /// Tickets by lane, in order. A lane without tickets is no entry.
    lanes: HashMap<u64, VecDeque<Place>>,
    /// First in all their lanes, not on their way, and due.
    ready: BTreeSet<Place>,
    /// First in all their lanes, and to be tried again later.
    later: BTreeSet<(Timestamp, Place)>,
    /// How many of the deliveries are control events.
    control: usize,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    /// In how many lanes somebody is before it.
    blocked: usize,
}

impl Lanes {
    /// Takes a delivery in. One that is already there is ignored.
    pub(crate) fn add(&mut self, mut delivery: Delivery) {
        let place = (delivery.queue, delivery.sequence);
        if self.deliveries.contains_key(&place) {
            return;
        }
        if delivery.due_at <= delivery.accepted_at {
            // Never put off: it need not wait for a time that has come already.
            delivery.due_at = Timestamp::default();
        }
        self.control += usize::from(delivery.queue == Queue::Control);
        let mut blocked = 0;
        for lane in delivery.lanes.iter() {
            let tickets = self.lanes.entry(*lane).or_default();
            blocked += usize::from(!tickets.is_empty());
            tickets.push_back(place);
        }
        self.deliveries.insert(place, Waiting { delivery, blocked });
        if blocked == 0 {
            self.enqueue(place);
        }
    }

    /// The next delivery that may be sent now. It keeps its tickets until it is settled.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Delivery> {
        while let Some((due, place)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, place));
            self.ready.insert(place);
        }
        let place = self.ready.pop_first()?;
        Some(self.deliveries[&place].delivery.clone())
    }

    /// A delivery that was taken is to be taken again, not before `due_at`. Its tickets keep their place, so
    /// nothing overtakes it.
    pub(crate) fn retry(&mut self, place: Place, attempts: u32, due_at: Timestamp) {
        if let Some(waiting) = self.deliveries.get_mut(&place) {
            waiting.delivery.attempts = attempts;
            waiting.delivery.due_at = due_at;
            self.enqueue(place);
        }
    }

    /// A delivery is done: it leaves, and those that waited for it move up. Returns whether it was there.
    pub(crate) fn settle(&mut self, place: Place) -> bool {
        let Some(settled) = self.deliveries.remove(&place) else { return false };
        self.control -= usize::from(settled.delivery.queue == Queue::Control);
        self.ready.remove(&place);
        self.later.remove(&(settled.delivery.due_at, place));
        for lane in settled.delivery.lanes.iter() {
            let Some(tickets) = self.lanes.get_mut(lane) else { continue };
            let was_first = tickets.front() == Some(&place);
            tickets.retain(|ticket| *ticket != place);
            let next = tickets.front().copied();
            if tickets.is_empty() {
                self.lanes.remove(lane);
            }
            if let (true, Some(next)) = (was_first, next) {
                self.unblock(next);
            }
        }
        true
    }

    /// When the next delivery that waits for its time is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.later.first().map(|(due, _)| *due)
    }

    /// Whether a delivery could be taken at once.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        !self.ready.is_empty() || self.next_due().is_some_and(|due| due <= now)
    }

    /// How many deliveries are held, on their way or not.
    pub(crate) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// How many of one queue are held.
    pub(crate) fn held(&self, queue: Queue) -> usize {
        match queue {
            Queue::Control => self.control,
            Queue::Regular => self.deliveries.len() - self.control,
        }
    }

    /// The place of the delivery with this sequence, in whichever queue it is, if it is held.
    pub(crate) fn place(&self, epoch: Epoch, sequence: Sequence) -> Option<Place> {
        let places = [Queue::Control, Queue::Regular].map(|queue| (queue, sequence));
        places
            .into_iter()
            .find(|place| self.deliveries.get(place).is_some_and(|one| one.delivery.epoch == epoch))
    }

    fn unblock(&mut self, place: Place) {
        let waiting = self.deliveries.get_mut(&place).expect("a ticket's delivery is held");
        waiting.blocked -= 1;
        if waiting.blocked == 0 {
            self.enqueue(place);
        }
    }

    fn enqueue(&mut self, place: Place) {
        let delivery = &self.deliveries[&place].delivery;
        // What was never attempted is due from its acceptance on, and needs no place among those that wait.
        match delivery.due_at {
            due if due <= delivery.accepted_at => self.ready.insert(place),
            due => self.later.insert((due, place)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use secevent_store::{Rendering, StreamNumber};

    const NOW: Timestamp = Timestamp::from_seconds(100);

    fn delivery(sequence: u64, lanes: &[u64]) -> Delivery {
        Delivery {
            epoch: Epoch(1),
            sequence: Sequence(sequence),
            stream: StreamNumber(1),
            queue: Queue::Regular,
            rendering: Rendering(1),
            accepted_at: NOW,
            body: Bytes::new(),
            lanes: lanes.into(),
            attempts: 0,
            due_at: Timestamp::default(),
        }
    }

    fn place(sequence: u64) -> Place {
        (Queue::Regular, Sequence(sequence))
    }

    fn taken(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| lanes.take(NOW)).map(|delivery| delivery.sequence.0).collect()
    }

    #[test]
    fn one_subject_is_served_in_order_and_others_beside_it() {
        let mut lanes = Lanes::default();
        for (sequence, of) in [(1, &[7][..]), (2, &[7]), (3, &[8]), (4, &[7, 8]), (5, &[9])] {
            lanes.add(delivery(sequence, of));
        }
        assert_eq!(taken(&mut lanes), [1, 3, 5]);
        assert!(lanes.settle(place(1)));
        assert_eq!(taken(&mut lanes), [2]);
        lanes.settle(place(2));
        assert_eq!(taken(&mut lanes), [] as [u64; 0], "4 waits for 3 as well");
        lanes.settle(place(3));
        assert_eq!(taken(&mut lanes), [4]);
        lanes.settle(place(4));
        lanes.settle(place(5));
        assert_eq!((lanes.len(), lanes.lanes.len()), (0, 0), "nothing is kept of what is done");
        assert!(!lanes.settle(place(5)), "a repeat changes nothing");
    }

    #[test]
    fn a_retry_keeps_its_place() {
        let mut lanes = Lanes::default();
        lanes.add(delivery(1, &[7]));
        lanes.add(delivery(2, &[7]));
        assert_eq!(taken(&mut lanes), [1]);
        let later = Timestamp::from_seconds(105);
        lanes.retry(place(1), 1, later);
        assert_eq!(taken(&mut lanes), [] as [u64; 0]);
        assert_eq!(lanes.next_due(), Some(later));
        let again = lanes.take(later).unwrap();
        assert_eq!((again.sequence.0, again.attempts), (1, 1));
        lanes.settle(place(1));
        assert_eq!(taken(&mut lanes), [2]);
    }

    #[test]
    fn control_events_go_first_and_out_of_turn_settlements_are_safe() {
        let mut lanes = Lanes::default();
        lanes.add(delivery(1, &[7]));
        lanes.add(Delivery { queue: Queue::Control, ..delivery(2, &[1]) });
        lanes.add(delivery(3, &[7]));
        assert_eq!(taken(&mut lanes), [2, 1]);
        // A receiver may acknowledge by poll what it saw before a restart: 3 goes before 1 does.
        assert!(lanes.settle(place(3)));
        assert!(lanes.settle(place(1)));
        assert_eq!(taken(&mut lanes), [] as [u64; 0]);
    }
}
