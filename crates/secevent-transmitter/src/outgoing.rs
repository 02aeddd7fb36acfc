//! What one stream has to send, as far as it is in memory: the read-ahead, where it ends, what is on its way.
//!
//! Push and poll hand out the same deliveries; this is what they share. Everything here is a decision on
//! memory alone; the store is read by the callers, between [`Outgoing::start_reading`] and
//! [`Outgoing::read`].

use crate::lanes::{Lanes, Place};
use crate::window::Window;
use secevent::Timestamp;
use secevent_store::{Delivery, Epoch, Page, Queue, Sequence};

/// The outgoing side of one stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    lanes: Lanes,
    control: Cursor,
    regular: Cursor,
    window: Window,
    on_their_way: usize,
    /// The receiver is in trouble: one probe at a time, not before `until`.
    suspended: Option<Suspended>,
    /// A driver runs for this stream.
    pub(crate) driven: bool,
    /// How often everything was forgotten: what was read before that is stale.
    cleared: u32,
}

/// Up to where a queue was read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    seen: Sequence,
    /// The store may have more behind it.
    more: bool,
    /// Somebody is reading the store just now.
    reading: bool,
}

/// What is being read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) queue: Queue,
    /// From behind this place.
    pub(crate) after: Sequence,
    cleared: u32,
}

#[derive(Clone, Copy, Debug)]
struct Suspended {
    failures: u32,
    until: Timestamp,
    /// The delivery that is on its way to find out whether the trouble is over.
    probe: Option<Place>,
}

/// How many deliveries of each queue of one stream are read ahead at most.
pub(crate) const READ_AHEAD_MAX: usize = 512;
/// How many are read from the store at once.
pub(crate) const PAGE_MAX: usize = 256;

impl Outgoing {
    /// A stream of which nothing is known: the store is asked first.
    pub(crate) fn new(window_max: usize) -> Self {
        let unread = Cursor { seen: Sequence(0), more: true, reading: false };
        Self {
            lanes: Lanes::default(),
            control: unread,
            regular: unread,
            window: Window::new(window_max),
            on_their_way: 0,
            suspended: None,
            driven: false,
            cleared: 0,
        }
    }

    /// Takes a delivery that was just committed, if it directly follows what was read and there is room.
    /// Otherwise it is left to the next page; there is neither gap nor double at the change-over (SEM-12).
    pub(crate) fn hand_over(&mut self, delivery: Delivery, previous: Option<Sequence>) {
        let room = self.lanes.held(delivery.queue) < READ_AHEAD_MAX;
        let cursor = self.cursor(delivery.queue);
        // A page that is being read may have it too. If it were taken here, it could be settled before the page
        // comes, and would be sent again then, behind its successors.
        if cursor.reading || cursor.more || previous != Some(cursor.seen) || !room {
            cursor.more = true;
            return;
        }
        cursor.seen = delivery.sequence;
        self.lanes.add(delivery);
    }

    /// Which queue is to be read from the store now, and behind which place. What is committed from here on
    /// is either in the page or marks the queue as having more. One reads at a time; who starts has to end with
    /// [`Outgoing::read`] or [`Outgoing::not_read`].
    pub(crate) fn start_reading(&mut self) -> Option<Reading> {
        let cleared = self.cleared;
        [Queue::Control, Queue::Regular].into_iter().find_map(|queue| {
            let room = self.lanes.held(queue) + PAGE_MAX <= READ_AHEAD_MAX;
            let cursor = self.cursor(queue);
            let start = room && cursor.more && !cursor.reading;
            start.then(|| {
                (cursor.more, cursor.reading) = (false, true);
                Reading { queue, after: cursor.seen, cleared }
            })
        })
    }

    /// Takes what the store gave.
    pub(crate) fn read(&mut self, reading: Reading, page: Page) {
        if reading.cleared != self.cleared {
            return;
        }
        let last = page.deliveries.last().map(|delivery| delivery.sequence);
        for delivery in page.deliveries {
            self.lanes.add(delivery);
        }
        let cursor = self.cursor(reading.queue);
        cursor.reading = false;
        cursor.more |= page.more;
        cursor.seen = last.unwrap_or(reading.after);
    }

    /// The store could not be read: it is to be read again.
    pub(crate) fn not_read(&mut self, reading: Reading) {
        if reading.cleared == self.cleared {
            let cursor = self.cursor(reading.queue);
            (cursor.more, cursor.reading) = (true, false);
        }
    }

    /// Whether there is something to push: inside the window, in order, and nothing while the receiver rests.
    pub(crate) fn may_push(&self, now: Timestamp) -> bool {
        let room = match &self.suspended {
            Some(suspended) if now < suspended.until => 0,
            Some(_) => 1,
            None => self.window.size(),
        };
        self.on_their_way < room && self.lanes.is_ready(now)
    }

    /// The next delivery to push.
    pub(crate) fn next_push(&mut self, now: Timestamp) -> Option<Delivery> {
        if !self.may_push(now) {
            return None;
        }
        let delivery = self.lanes.take(now)?;
        self.on_their_way += 1;
        if let Some(suspended) = &mut self.suspended {
            suspended.probe = Some((delivery.queue, delivery.sequence));
        }
        Some(delivery)
    }

    /// The next delivery to hand to a poller. It comes again at `again_at` unless it is settled by then.
    pub(crate) fn next_poll(&mut self, now: Timestamp, again_at: Timestamp) -> Option<Delivery> {
        let delivery = self.lanes.take(now)?;
        self.lanes.retry((delivery.queue, delivery.sequence), delivery.attempts + 1, again_at);
        Some(delivery)
    }

    /// A push was answered for good.
    pub(crate) fn pushed(&mut self, place: Place) {
        self.on_their_way -= 1;
        // One that was on its way when another met trouble says nothing about now: the probe does.
        if self.suspended.as_ref().is_none_or(|suspended| suspended.probe == Some(place)) {
            self.suspended = None;
            self.window.accepted();
        }
        self.lanes.settle(place);
    }

    /// A push met trouble with the receiver. `delay` tells how long to rest after so many failures in a row.
    pub(crate) fn troubled(
        &mut self,
        place: Place,
        attempts: u32,
        now: Timestamp,
        delay: impl FnOnce(u32) -> std::time::Duration,
    ) {
        self.on_their_way -= 1;
        self.window.troubled();
        self.lanes.retry(place, attempts, Timestamp::default());
        if self.suspended.as_ref().is_some_and(|suspended| suspended.probe != Some(place)) {
            // It was on its way when another one met the same trouble: that is one failure, not many.
            return;
        }
        let failures = self.suspended.as_ref().map_or(0, |suspended| suspended.failures).saturating_add(1);
        self.suspended = Some(Suspended { failures, until: now.plus(delay(failures)), probe: None });
    }

    /// An attempt was called off, for no fault of the receiver.
    pub(crate) fn called_off(&mut self, place: Place, attempts: u32) {
        self.on_their_way -= 1;
        self.lanes.retry(place, attempts, Timestamp::default());
    }

    /// The receiver is to be had somewhere else, or otherwise: its old trouble is over.
    pub(crate) fn start_afresh(&mut self) {
        self.suspended = None;
    }

    /// The place of the delivery with this sequence, if it is held.
    pub(crate) fn place(&self, epoch: Epoch, sequence: Sequence) -> Option<Place> {
        self.lanes.place(epoch, sequence)
    }

    /// A delivery is settled by an acknowledgement or a report.
    pub(crate) fn settle(&mut self, place: Place) {
        self.lanes.settle(place);
    }

    /// When something may be pushed that could not be at `now`, if nothing else happens. What is kept back by
    /// the window or by those on their way has no time: an answer sets it free.
    pub(crate) fn next_push_at(&self, now: Timestamp) -> Option<Timestamp> {
        let rests_until = self.suspended.map_or(Timestamp::default(), |suspended| suspended.until);
        let available = if self.lanes.is_ready(now) { Some(now) } else { self.lanes.next_due() };
        available.map(|at| at.max(rests_until)).filter(|at| *at > now)
    }

    /// When something may be handed to a poller that could not be at `now`, if nothing else happens.
    pub(crate) fn next_poll_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.lanes.next_due().filter(|at| *at > now)
    }

    /// Whether a poller would get something, now or after the next page.
    pub(crate) fn has_more(&self, now: Timestamp) -> bool {
        self.lanes.is_ready(now) || !self.is_read()
    }

    /// Whether nothing is held, on its way or to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.len() == 0 && self.on_their_way == 0 && self.is_read()
    }

    fn is_read(&self) -> bool {
        [&self.control, &self.regular].iter().all(|cursor| !cursor.more && !cursor.reading)
    }

    /// Whether no push is unanswered.
    pub(crate) fn nothing_on_its_way(&self) -> bool {
        self.on_their_way == 0
    }

    /// Forgets what is held: the stream keeps nothing any more, or is to be read anew.
    pub(crate) fn clear(&mut self) {
        self.lanes = Lanes::default();
        self.cleared = self.cleared.wrapping_add(1);
        for cursor in [&mut self.control, &mut self.regular] {
            (cursor.more, cursor.reading) = (true, false);
        }
        self.suspended = None;
    }

    fn cursor(&mut self, queue: Queue) -> &mut Cursor {
        match queue {
            Queue::Control => &mut self.control,
            Queue::Regular => &mut self.regular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use secevent_store::{Epoch, Rendering, StreamNumber};
    use std::time::Duration;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn delivery(sequence: u64) -> Delivery {
        Delivery {
            epoch: Epoch(1),
            sequence: Sequence(sequence),
            stream: StreamNumber(1),
            queue: Queue::Regular,
            rendering: Rendering(1),
            accepted_at: at(0),
            body: Bytes::new(),
            lanes: [sequence].into(),
            attempts: 0,
            due_at: Timestamp::default(),
        }
    }

    fn read_all(outgoing: &mut Outgoing, mut pages: impl FnMut(Queue, Sequence) -> Page) {
        while let Some(reading) = outgoing.start_reading() {
            let page = pages(reading.queue, reading.after);
            outgoing.read(reading, page);
        }
    }

    #[test]
    fn neither_gap_nor_double_between_page_and_hand_over() {
        let mut outgoing = Outgoing::new(64);
        outgoing.hand_over(delivery(3), Some(Sequence(2)));
        assert!(outgoing.next_push(at(1)).is_none(), "nothing was read yet, so the store is asked first");

        let reading = outgoing.start_reading().unwrap();
        assert_eq!((reading.queue, reading.after), (Queue::Control, Sequence(0)));
        outgoing.read(reading, Page::default());
        let reading = outgoing.start_reading().unwrap();
        assert_eq!(outgoing.start_reading(), None, "one reads at a time");
        // Committed while the page is read: it may be in the page or not.
        outgoing.hand_over(delivery(4), Some(Sequence(3)));
        outgoing.read(reading, Page { deliveries: vec![delivery(2), delivery(3)], more: false });
        read_all(&mut outgoing, |_, after| {
            assert_eq!(after, Sequence(3));
            Page { deliveries: vec![delivery(4)], more: false }
        });
        outgoing.hand_over(delivery(5), Some(Sequence(4)));
        let sent: Vec<u64> =
            std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| one.sequence.0).collect();
        assert_eq!(sent, [2, 3, 4, 5]);
    }

    #[test]
    fn trouble_is_probed_with_one_and_counted_once() {
        let mut outgoing = Outgoing::new(64);
        let pages = |queue, _| match queue {
            Queue::Regular => Page { deliveries: (1..=8).map(delivery).collect(), more: false },
            Queue::Control => Page::default(),
        };
        read_all(&mut outgoing, pages);
        let sent: Vec<Delivery> = std::iter::from_fn(|| outgoing.next_push(at(1))).collect();
        assert_eq!(sent.len(), 4, "the window starts small");
        let mut asked = Vec::new();
        for one in &sent {
            let place = (one.queue, one.sequence);
            outgoing.troubled(place, 1, at(1), |failures| {
                asked.push(failures);
                Duration::from_secs(10)
            });
        }
        assert_eq!(asked, [1], "four answers of one outage are one failure");
        assert!(outgoing.next_push(at(2)).is_none());
        assert_eq!(outgoing.next_push_at(at(2)), Some(at(11)));
        let probe = outgoing.next_push(at(11)).unwrap();
        assert_eq!(probe.sequence, Sequence(1));
        assert!(outgoing.next_push(at(11)).is_none(), "one probe at a time");
        assert_eq!(outgoing.next_push_at(at(11)), None, "its answer is waited for, not a time");
        outgoing.pushed((probe.queue, probe.sequence));
        assert_eq!(outgoing.next_push(at(11)).unwrap().sequence, Sequence(2));
    }

    #[test]
    fn what_was_on_its_way_neither_ends_a_rest_nor_makes_it_longer() {
        let mut outgoing = Outgoing::new(64);
        let pages = |queue, _| match queue {
            Queue::Regular => Page { deliveries: (1..=8).map(delivery).collect(), more: false },
            Queue::Control => Page::default(),
        };
        read_all(&mut outgoing, pages);
        let sent: Vec<Place> =
            std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| (one.queue, one.sequence)).collect();
        outgoing.troubled(sent[0], 1, at(1), |_| Duration::from_secs(10));
        outgoing.pushed(sent[1]);
        assert!(outgoing.next_push(at(10)).is_none(), "the receiver asked for a rest");
        outgoing.troubled(sent[2], 1, at(12), |_| unreachable!("this trouble is counted already"));
        assert!(outgoing.next_push(at(12)).is_none(), "one is on its way still");
        outgoing.pushed(sent[3]);
        assert_eq!(outgoing.next_push(at(12)).unwrap().sequence, Sequence(1), "now it is probed");
    }

    #[test]
    fn a_backlog_leaves_room_for_control_events() {
        let mut outgoing = Outgoing::new(64);
        read_all(&mut outgoing, |queue, after| match queue {
            Queue::Control => Page::default(),
            Queue::Regular => {
                let deliveries = (after.0..).take(PAGE_MAX).map(|number| delivery(number + 1)).collect();
                Page { deliveries, more: true }
            }
        });
        outgoing.hand_over(Delivery { queue: Queue::Control, ..delivery(9_000) }, None);
        let reading = outgoing.start_reading().unwrap();
        assert_eq!(reading.queue, Queue::Control);
    }

    #[test]
    fn what_was_read_before_everything_was_dropped_is_stale() {
        let mut outgoing = Outgoing::new(64);
        outgoing.start_reading().unwrap();
        let reading = outgoing.start_reading().unwrap();
        outgoing.clear();
        outgoing.read(reading, Page { deliveries: vec![delivery(1)], more: false });
        assert!(outgoing.next_push(at(1)).is_none());
    }

    #[test]
    fn the_read_ahead_is_bounded() {
        let mut outgoing = Outgoing::new(64);
        let mut next = 0;
        read_all(&mut outgoing, |queue, _| match queue {
            Queue::Control => Page::default(),
            Queue::Regular => {
                let deliveries = (next..).take(PAGE_MAX).map(|number| delivery(number + 1)).collect();
                next += PAGE_MAX as u64;
                Page { deliveries, more: true }
            }
        });
        assert_eq!(outgoing.lanes.len(), READ_AHEAD_MAX);
        outgoing.hand_over(delivery(next + 1), Some(Sequence(next)));
        assert_eq!(outgoing.lanes.len(), READ_AHEAD_MAX);
    }
}
