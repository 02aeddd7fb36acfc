//! What one stream has to send, as far as it is in memory: the read-ahead, where it ends, what is on its way.
//!
//! Push and poll hand out the same deliveries; this is what they share. Everything here is a decision on
//! memory alone; the store is read by the callers, between [`Outgoing::start_reading`] and
//! [`Outgoing::read`].

use crate::ahead::Ahead;
use crate::retry::{FailureRow, RetryPolicy, RowLength, Trouble, TroubleKind};
use crate::share::Share;
use crate::window::Window;
use rand::Rng;
use secevent::Timestamp;
use secevent_store::{Added, Delivery, Epoch, Lanes, Left, Owing, Page, Queue, Sequence, Signed};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// A delivery's place among those of its stream: control events come first.
pub(crate) type Place = (Queue, Sequence);

/// The outgoing side of one stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    lanes: Lanes<Place, Timestamp, Delivery>,
    /// How many deliveries of each queue are held, and the bytes of all their bodies.
    held: [usize; 3],
    held_bytes: usize,
    cursors: [Cursor; 3],
    ahead: Ahead,
    /// Since when reading waits for a full lane.
    crowded_since: Option<Timestamp>,
    /// Settled here, and perhaps not yet in the store: a page that has it is not believed. With the bytes that the load
    /// still has of it.
    settled: BTreeMap<Place, Option<usize>>,
    /// Those of them that are stored. A page that was begun before may still have them.
    stored: Vec<Place>,
    /// How often some of them were forgotten: what was read outside of pages before that may have them.
    forgotten: u64,
    load: Load,
    window: Window,
    on_their_way: usize,
    /// Those that failed while others were delivered: each waits alone, with those behind it in its lanes.
    delayed: BTreeSet<Place>,
    row: FailureRow,
    /// The receiver is in trouble: one probe at a time, not before `until`.
    suspended: Option<Suspended>,
    /// When something was last sent, or became ready after nothing was.
    moved_at: Timestamp,
    turn: u8,
    silent: bool,
    /// A driver runs for this stream.
    pub(crate) driven: bool,
    /// How often everything was forgotten: what was read before that is stale.
    cleared: u32,
}

/// How much is owed to a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) pending: u64,
    /// The bytes of their bodies.
    pub(crate) bytes: u64,
}

/// Up to where a queue was read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    seen: Sequence,
    /// The last that was told of a commit.
    told: Option<Sequence>,
    /// The store may have more behind it.
    more: bool,
    /// Somebody is reading the store just now.
    reading: bool,
    /// The queue is to be read from its beginning once the present reading has ended.
    anew: bool,
}

/// What is being read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) queue: Queue,
    /// From behind this place.
    pub(crate) after: Sequence,
    /// So many deliveries.
    pub(crate) limit: usize,
    /// What was told before the reading began: it is on the page, or settled.
    told: Option<Sequence>,
    cleared: u32,
}

/// The rest that a receiver in trouble is given.
#[derive(Clone, Debug)]
pub(crate) struct Suspended {
    pub(crate) kind: TroubleKind,
    /// What the last failure was, for the operator.
    pub(crate) detail: Arc<str>,
    /// How often in a row nothing could be delivered: the failures that led to it are one, and attempts that an operator
    /// asked for do not count.
    pub(crate) failures: u32,
    /// When the first of those failures was.
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// Whether nothing at all is attempted before `until`. Otherwise too few deliveries failed to tell the receiver's
    /// trouble from theirs: those wait until then, and others are tried, one at a time.
    pub(crate) rests: bool,
    /// Whether an operator asked for the next attempt.
    asked: bool,
    /// The delivery that is on its way to find out whether the trouble is over.
    probe: Option<Place>,
}

/// A push that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How often it was attempted, this time included.
    pub(crate) attempts: u32,
    /// How the SET was signed, if the same bytes may be sent again.
    pub(crate) signed: Option<Signed>,
    pub(crate) trouble: Trouble,
    pub(crate) at: Timestamp,
}

/// What follows from a failure (SEM-8).
#[derive(Debug)]
pub(crate) enum Consequence {
    /// That delivery waits until then; the stream goes on.
    Delayed { until: Timestamp },
    /// The stream is suspended, or the probe failed.
    Suspended(Suspended),
    /// The stream was suspended while this attempt was under way.
    AlreadySuspended,
}

/// What a pending delivery waits for, inside its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// It is being sent.
    Answer,
    /// The receiver is in trouble, and is tried again then.
    Receiver { until: Timestamp },
    /// Others are before it, and it is not in memory yet.
    Backlog,
    /// Another one about the same subject is before it.
    Subject,
    /// Its next attempt is due then.
    Retry { until: Timestamp },
    /// As many attempts are under way as may be.
    Window,
    /// Nothing: it is next.
    Turn,
}

/// How many deliveries of each queue of one stream are read ahead at most, and beyond which bytes no more are.
pub(crate) const READ_AHEAD_MAX: usize = 512;
pub(crate) const READ_AHEAD_BYTES_MAX: usize = 4 << 20;
/// How many are read from the store at once.
pub(crate) const PAGE_MAX: usize = 256;
/// How many fresh deliveries may be held besides, ahead of a backlog that is not read.
pub(crate) const FRESH_MAX: usize = 128;
/// How many deliveries a stream holds whose receiver is in trouble for longer: enough to probe it.
pub(crate) const SUSPENDED_MAX: usize = 8;
/// How many deliveries of one stream wait alone after a failure. One more is the stream's trouble.
pub(crate) const DELAYED_MAX: usize = 64;
/// After how many failures in a row the rest of the read-ahead is let go.
const RELEASED_AFTER: u32 = 2;
/// How long a full lane may stand still before reading goes further past it.
const CROWDED_FOR: Duration = Duration::from_millis(100);

impl Outgoing {
    /// A stream of which nothing is known: the store is asked first.
    pub(crate) fn new(window_max: usize) -> Self {
        let unread = Cursor { seen: Sequence(0), told: None, more: true, reading: false, anew: false };
        Self {
            lanes: Lanes::default(),
            held: [0; 3],
            held_bytes: 0,
            cursors: [unread; 3],
            ahead: Ahead::default(),
            crowded_since: None,
            settled: BTreeMap::new(),
            stored: Vec::new(),
            forgotten: 0,
            load: Load::default(),
            window: Window::new(window_max),
            on_their_way: 0,
            delayed: BTreeSet::new(),
            row: FailureRow::default(),
            suspended: None,
            moved_at: Timestamp::default(),
            turn: 0,
            silent: false,
            driven: false,
            cleared: 0,
        }
    }

    /// What the store says is owed, before anything is told of commits.
    pub(crate) fn begin_with(&mut self, owing: &Owing) {
        self.load = Load { pending: owing.pending, bytes: owing.bytes };
    }

    /// The store says that nothing is owed: there is nothing to read before something is told of.
    pub(crate) fn begin_empty(&mut self) {
        for cursor in &mut self.cursors {
            cursor.more = false;
        }
        self.ahead.begin();
        self.ahead.reached_the_end();
    }

    /// The store owes something to an idle stream: a hint was lost, and there is something to read after all.
    pub(crate) fn look(&mut self) {
        for cursor in &mut self.cursors {
            cursor.more = true;
        }
        self.ahead.miss();
    }

    /// How much is owed to the stream.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Takes a delivery that was just committed, if it directly follows what was read and there is room.
    /// Otherwise it is left to the next page; there is neither gap nor double at the change-over (SEM-12).
    ///
    /// A fresh delivery is taken ahead of an unread backlog if the backlog has nothing about the same identifiers.
    pub(crate) fn hand_over(&mut self, delivery: Delivery, previous: Option<Sequence>, now: Timestamp) {
        self.load.pending += 1;
        self.load.bytes += u64::try_from(delivery.body.len()).unwrap_or(u64::MAX);
        let room = self.room(delivery.queue) > 0;
        let (queue, sequence) = (delivery.queue, delivery.sequence);
        let cursor = self.cursor(queue);
        // A page that is being read may have it too. If it were taken here, it could be settled before the page
        // comes, and would be sent again then, behind its successors.
        // Before the first of a queue there is none.
        let follows = !cursor.reading && !cursor.more && previous.unwrap_or_default() == cursor.seen;
        let missed = match cursor.told {
            Some(_) => cursor.told != previous,
            // Nothing was told since the start: what follows on something unread is not the first.
            None => previous.is_some_and(|previous| previous > cursor.seen),
        };
        cursor.told = Some(sequence);
        if sequence <= cursor.seen {
            // A page was faster than whoever tells of commits. It may be settled already.
            if missed && queue == Queue::Regular {
                self.ahead.miss();
            }
            return;
        }
        if follows && room {
            cursor.seen = sequence;
            self.hold(delivery, now);
            return;
        }
        cursor.more = true;
        if queue != Queue::Regular {
            return;
        }
        if missed {
            self.ahead.miss();
        }
        let lanes = &delivery.lanes;
        let fresh = self.ahead.is_free(lanes)
            && self.fresh_room() > 0
            && !self.lanes.is_skipped(lanes)
            && self.lanes.have_room(lanes);
        if fresh {
            self.hold(delivery, now);
        } else {
            self.ahead.add(sequence, lanes);
        }
    }

    /// Which queue is to be read from the store now, and behind which place. What is committed from here on
    /// is either in the page or marks the queue as having more. One reads at a time; who starts has to end with
    /// [`Outgoing::read`] or [`Outgoing::not_read`].
    pub(crate) fn start_reading(&mut self, now: Timestamp) -> Option<Reading> {
        self.read_skipped_again();
        let crowded = self.is_crowded(now);
        let cleared = self.cleared;
        let queue = Queue::ALL.into_iter().find(|queue| {
            let waits = crowded && *queue == Queue::Regular;
            let cursor = self.cursors[index(*queue)];
            let page = if self.suspended.is_some() { 1 } else { PAGE_MAX };
            cursor.more && !cursor.reading && !waits && self.room(*queue) >= page
        })?;
        let limit = self.room(queue).min(PAGE_MAX);
        if queue == Queue::Regular {
            self.ahead.begin();
        }
        let cursor = self.cursor(queue);
        (cursor.more, cursor.reading) = (false, true);
        Some(Reading { queue, after: cursor.seen, limit, told: cursor.told, cleared })
    }

    /// Takes what the store gave.
    pub(crate) fn read(&mut self, reading: Reading, page: Page, now: Timestamp) {
        if reading.cleared != self.cleared {
            return;
        }
        let last = page.deliveries.last().map_or(reading.after, |delivery| delivery.sequence);
        for delivery in page.deliveries {
            if !self.settled.contains_key(&place_of(&delivery)) {
                self.hold(delivery, now);
            }
        }
        let cursor = self.cursor(reading.queue);
        cursor.more |= page.more;
        cursor.seen = if page.more { last } else { last.max(reading.told.unwrap_or_default()) };
        let seen = cursor.seen;
        if reading.queue == Queue::Regular {
            if !page.more {
                self.ahead.reached_the_end();
            }
            self.ahead.read_until(seen);
        }
        self.end_reading(reading.queue);
    }

    /// The store could not be read: it is to be read again.
    pub(crate) fn not_read(&mut self, reading: Reading) {
        if reading.cleared == self.cleared {
            self.cursor(reading.queue).more = true;
            self.end_reading(reading.queue);
        }
    }

    /// Something was put into the queue for what is delivered again, anywhere in it.
    pub(crate) fn look_again(&mut self, deliveries: u64) {
        // Their bytes are not known here, and not counted before the next start.
        self.load.pending += deliveries;
        let cursor = self.cursor(Queue::Again);
        cursor.more = true;
        if cursor.reading {
            cursor.anew = true;
        } else {
            cursor.seen = Sequence(0);
        }
    }

    /// Whether there is something to push: inside the window, in order, and nothing while the receiver rests.
    pub(crate) fn may_push(&self, now: Timestamp) -> bool {
        let room = match &self.suspended {
            Some(suspended) if suspended.rests && now < suspended.until => 0,
            Some(_) => 1,
            // Failures in a row may be the beginning of an outage: each closes a place until something succeeds, so that
            // nothing more is attempted than was under way when they began.
            None => self.window.size().saturating_sub(self.row.fresh()).max(1),
        };
        if self.silent {
            return self.on_their_way == 0
                && room > 0
                && self.lanes.is_ready_within(all(Queue::Control), now);
        }
        self.on_their_way < room && self.lanes.is_ready(now)
    }

    /// What kind of permit the next push takes.
    pub(crate) fn share(&self) -> Share {
        match self.suspended {
            Some(_) => Share::Probe,
            // Hanging receivers would hold what all share until they are known.
            None if self.row.fresh() > 0 => Share::Probe,
            None if self.on_their_way < Share::FEW_MAX => Share::Few,
            None => Share::Many,
        }
    }

    /// Whether nothing is sent but control events: the stream is not enabled, and is to be told so last of all, when
    /// everything that was on its way has ended (SEM-7); or it is enabled again, and is to be told so first.
    pub(crate) fn be_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// The next delivery to push.
    pub(crate) fn next_push(&mut self, now: Timestamp) -> Option<Delivery> {
        if !self.may_push(now) {
            return None;
        }
        let place = self.take(now)?;
        self.on_their_way += 1;
        if let Some(suspended) = &mut self.suspended {
            suspended.probe = Some(place);
            tracing::trace!(target: "secevent::step", step = "retry");
        }
        self.lanes.get(place).cloned()
    }

    /// The next delivery to hand to a poller. It comes again at `again_at` unless it is settled by then.
    pub(crate) fn next_poll(&mut self, now: Timestamp, again_at: Timestamp) -> Option<Delivery> {
        let place = self.take(now)?;
        let delivery = self.lanes.get(place)?.clone();
        self.put_back(place, delivery.attempts + 1, delivery.signed.clone(), Some(again_at));
        Some(delivery)
    }

    /// How a delivery was signed that was handed to a poller.
    pub(crate) fn was_signed(&mut self, place: Place, signed: Signed) {
        if let Some(delivery) = self.lanes.get_mut(place) {
            delivery.signed = Some(signed);
        }
    }

    /// A push was answered for good. Returns whether that ended a rest.
    pub(crate) fn pushed(&mut self, place: Place, now: Timestamp) -> bool {
        let on_their_way = self.on_their_way;
        self.on_their_way -= 1;
        let rested = self.suspended.is_some();
        // One that was on its way when another met trouble says nothing about now: the probe does.
        if self.suspended.as_ref().is_none_or(|suspended| suspended.probe == Some(place)) {
            if self.suspended.take().is_some_and(|suspended| suspended.asked) {
                self.hasten_delayed(usize::MAX, now);
            }
            self.row.ended();
            self.window.accepted(on_their_way, now);
        }
        self.settle(place, 0);
        rested && self.suspended.is_none()
    }

    /// A push failed. What that means depends on the answers around it (SEM-8).
    pub(crate) fn troubled(
        &mut self,
        place: Place,
        failure: Failure,
        policy: &RetryPolicy,
        chance: &mut dyn Rng,
    ) -> Consequence {
        let Failure { attempts, signed, trouble, at } = failure;
        self.on_their_way -= 1;
        let is_probe = self.suspended.as_ref().is_none_or(|suspended| suspended.probe == Some(place));
        let consequence = match &mut self.suspended {
            // It was on its way when others met the same trouble: that is one failure, not many. What the receiver asks
            // for counts.
            Some(suspended) if !is_probe => {
                suspended.rests |= trouble.speaks_for_all;
                if let Some(asked) = trouble.retry_after {
                    suspended.until = suspended.until.max(at.plus(asked.min(policy.delay_max)));
                }
                self.put_back(place, attempts, signed, None);
                Consequence::AlreadySuspended
            }
            before => {
                let before = before.take();
                match self.judge(place, &trouble, policy, at) {
                    RowLength::Short if before.is_none() => {
                        let until = at.plus(policy.delay_alone(attempts, trouble.retry_after, chance));
                        self.window.failed();
                        self.delayed.insert(place);
                        self.put_back(place, attempts, signed, Some(until));
                        Consequence::Delayed { until }
                    }
                    length => {
                        let rests =
                            before.as_ref().is_some_and(|before| before.rests) || length == RowLength::Full;
                        let counts = before.as_ref().is_none_or(|before| !before.asked);
                        let (failures, since) =
                            before.map_or((0, self.row.since()), |before| (before.failures, before.since));
                        let failures = failures.saturating_add(counts.into());
                        let until = at.plus(policy.delay(failures, trouble.retry_after, chance));
                        if rests {
                            self.window.closed();
                        } else {
                            self.delayed.insert(place);
                        }
                        self.put_back(place, attempts, signed, (!rests).then_some(until));
                        let (kind, detail) = (trouble.kind, trouble.detail.into());
                        let suspended = Suspended {
                            kind,
                            detail,
                            failures,
                            since,
                            until,
                            rests,
                            asked: false,
                            probe: None,
                        };
                        self.suspended = Some(suspended.clone());
                        Consequence::Suspended(suspended)
                    }
                }
            }
        };
        if self.rests_for_long() && self.on_their_way == 0 && self.lanes.len() > SUSPENDED_MAX {
            self.let_go();
        }
        consequence
    }

    /// What a failure says together with those before it.
    fn judge(&mut self, place: Place, trouble: &Trouble, policy: &RetryPolicy, at: Timestamp) -> RowLength {
        let is_fresh = !self.delayed.contains(&place);
        let length = self.row.failed(is_fresh, self.on_their_way, policy.failures_max, at);
        let has_room = !is_fresh || self.delayed.len() < DELAYED_MAX;
        if trouble.speaks_for_all || !has_room { RowLength::Full } else { length }
    }

    /// An attempt was called off, for no fault of the receiver.
    pub(crate) fn called_off(&mut self, place: Place, attempts: u32, signed: Option<Signed>) {
        self.on_their_way -= 1;
        self.put_back(place, attempts, signed, None);
    }

    /// The receiver is to be had somewhere else, or otherwise: its old trouble is over.
    pub(crate) fn start_afresh(&mut self) {
        self.suspended = None;
        self.row.ended();
        for place in &self.delayed {
            self.lanes.hasten(*place);
        }
    }

    /// An operator asks for the next attempt now. A suspended stream sends its next probe without waiting; otherwise
    /// delayed deliveries are due. What is known of the failures stays, so that another one brings back the delay that
    /// there was. Returns how many delayed deliveries are due now.
    pub(crate) fn try_now(&mut self, now: Timestamp) -> usize {
        let most = match &mut self.suspended {
            None => usize::MAX,
            Some(suspended) => {
                suspended.until = suspended.until.min(now);
                // A probe that is under way was not asked for.
                suspended.asked |= suspended.probe.is_none();
                // Where the stream as a whole does not rest, each delivery that is due is attempted: one is enough.
                if suspended.rests { usize::MAX } else { 1 }
            }
        };
        self.hasten_delayed(most, now)
    }

    /// The first of the deliveries that wait alone need not wait any more. Returns how many did.
    fn hasten_delayed(&mut self, most: usize, now: Timestamp) -> usize {
        let lanes = &mut self.lanes;
        let hastened = self.delayed.iter().filter(|place| lanes.hasten(**place)).take(most).count();
        if hastened > 0 {
            self.moved_at = now;
        }
        hastened
    }

    /// The rest that the receiver is given, if it is.
    pub(crate) fn suspended(&self) -> Option<&Suspended> {
        self.suspended.as_ref()
    }

    /// How many deliveries failed and are not settled since, while the stream goes on.
    pub(crate) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// The place of this delivery, if it is held.
    pub(crate) fn find(&self, epoch: Epoch, sequence: Sequence, generation: u16) -> Option<&Delivery> {
        let same = |delivery: &&Delivery| delivery.epoch == epoch && delivery.generation == generation;
        let held = Queue::ALL.into_iter().filter_map(|queue| self.lanes.get((queue, sequence)));
        held.into_iter().find(same)
    }

    /// What a pending delivery waits for, as far as what is in memory shows.
    pub(crate) fn waits_for(&self, place: Place, now: Timestamp) -> WaitsFor {
        if self.lanes.is_taken(place) || self.settled.contains_key(&place) {
            return WaitsFor::Answer;
        }
        if let Some(suspended) = &self.suspended
            && (suspended.rests || suspended.probe.is_some())
        {
            return WaitsFor::Receiver { until: suspended.until };
        }
        if self.lanes.get(place).is_none() {
            return WaitsFor::Backlog;
        }
        if self.lanes.is_blocked(place) {
            return WaitsFor::Subject;
        }
        match self.lanes.due_of(place).filter(|due| *due > now) {
            Some(until) => WaitsFor::Retry { until },
            None if self.may_push(now) => WaitsFor::Turn,
            None => WaitsFor::Window,
        }
    }

    /// How often settled deliveries were forgotten: what the store told before may not be true any more.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A delivery is settled. `bytes` are those of its body if it is not held. Returns false if it was settled before.
    pub(crate) fn settle(&mut self, place: Place, bytes: usize) -> bool {
        if self.settled.contains_key(&place) {
            return false;
        }
        let bytes = match self.lanes.settle(place) {
            Some(delivery) => {
                self.held[index(place.0)] -= 1;
                self.held_bytes -= delivery.body.len();
                delivery.body.len()
            }
            None => bytes,
        };
        let bytes = if place.0 == Queue::Again { 0 } else { bytes };
        self.delayed.remove(&place);
        self.settled.insert(place, Some(bytes));
        true
    }

    /// The same, unless it is on its way or handed out, or was settled before. Returns whether it is settled now.
    pub(crate) fn settle_unless_sent(&mut self, place: Place, bytes: usize) -> bool {
        !self.lanes.is_taken(place) && self.settle(place, bytes)
    }

    /// These settlements are stored.
    pub(crate) fn stored(&mut self, places: impl Iterator<Item = Place>) {
        for place in places {
            let Some(bytes) = self.settled.get_mut(&place).and_then(Option::take) else { continue };
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.load.pending = self.load.pending.saturating_sub(1);
            // What was put into the queue `Again` was counted without its bytes.
            self.load.bytes = if self.load.pending == 0 { 0 } else { self.load.bytes.saturating_sub(bytes) };
            self.stored.push(place);
        }
        self.forget_stored();
    }

    /// These settlements could not be stored: the store owes them still, and is read again.
    pub(crate) fn not_stored(&mut self, places: impl Iterator<Item = Place>) {
        for (queue, sequence) in places {
            self.settled.remove(&(queue, sequence));
            let cursor = self.cursor(queue);
            (cursor.more, cursor.anew) = (true, cursor.reading);
            cursor.seen = cursor.seen.min(Sequence(sequence.0.saturating_sub(1)));
            if queue == Queue::Regular {
                self.ahead.miss();
            }
        }
    }

    /// When something may be pushed that could not be at `now`, if nothing else happens. What is kept back by
    /// the window or by those on their way has no time: an answer sets it free.
    pub(crate) fn next_push_at(&self, now: Timestamp) -> Option<Timestamp> {
        let rests = self.suspended.as_ref().filter(|suspended| suspended.rests);
        let rests_until = rests.map_or(Timestamp::default(), |suspended| suspended.until);
        let available = if self.lanes.is_ready(now) { Some(now) } else { self.lanes.next_due() };
        let available = available.map(|at| at.max(rests_until));
        earlier(available, self.next_look_at()).filter(|at| *at > now)
    }

    /// When something may be handed to a poller that could not be at `now`, if nothing else happens.
    pub(crate) fn next_poll_at(&self, now: Timestamp) -> Option<Timestamp> {
        earlier(self.lanes.next_due(), self.next_look_at()).filter(|at| *at > now)
    }

    /// Whether a poller would get something, now or after the next page, once it has acknowledged what it was handed.
    pub(crate) fn has_more(&self, handed: &[Place], now: Timestamp) -> bool {
        self.lanes.is_ready(now) || !self.is_read() || self.lanes.would_be_ready_without(handed, now)
    }

    /// Gives back what memory an idle stream does not need.
    pub(crate) fn rest(&mut self) {
        if self.is_idle() && self.settled.is_empty() {
            self.lanes = Lanes::default();
            self.stored = Vec::new();
            self.ahead.rest();
        }
    }

    /// Whether nothing is held, on its way or to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.on_their_way == 0 && self.is_read()
    }

    /// Since when something could be sent and is not, if that is so.
    pub(crate) fn stands_still_since(&self, now: Timestamp) -> Option<Timestamp> {
        // Who has just failed may wait for one of the permits of those in trouble.
        if self.suspended.is_some() || self.row.fresh() > 0 || !self.may_push(now) {
            return None;
        }
        // What waited for its time does not stand still before that.
        let was_ready = self.lanes.is_ready(Timestamp::default());
        let due = self.lanes.next_due().filter(|_| !was_ready);
        Some(due.map_or(self.moved_at, |due| due.max(self.moved_at)))
    }

    fn is_read(&self) -> bool {
        self.cursors.iter().all(|cursor| !cursor.more && !cursor.reading)
    }

    /// How many deliveries are held.
    pub(crate) fn held(&self) -> usize {
        self.lanes.len()
    }

    /// How many pushes are unanswered.
    pub(crate) fn on_their_way(&self) -> usize {
        self.on_their_way
    }

    /// How many may be.
    pub(crate) fn window(&self) -> usize {
        self.window.size()
    }

    /// Forgets what is held: the stream keeps nothing any more.
    pub(crate) fn clear(&mut self) {
        self.forget_held();
        self.settled.clear();
        self.stored.clear();
        self.forgotten += 1;
        self.load = Load::default();
        self.suspended = None;
        self.row.ended();
    }

    /// Lets go of what is held, to be read again when the receiver is back.
    fn let_go(&mut self) {
        let regular = |(place, delivery): (Place, &Delivery)| {
            (place.0 == Queue::Regular).then(|| (place.1, delivery.lanes.clone()))
        };
        let held: Vec<_> = self.lanes.iter().filter_map(regular).collect();
        let left = self.lanes.leave();
        self.forget_held();
        // What was taken ahead of the cursor is not counted there either.
        for (sequence, lanes) in held.iter().rev() {
            self.ahead.add_first(*sequence, lanes);
        }
        if let Some(left) = left {
            self.go_back_to(&left);
        }
        let first = held.first().map(|(sequence, _)| Sequence(sequence.0.saturating_sub(1)));
        let cursor = self.cursor(Queue::Regular);
        cursor.seen = first.map_or(cursor.seen, |first| first.min(cursor.seen));
        for queue in [Queue::Control, Queue::Again] {
            self.cursor(queue).seen = Sequence(0);
        }
    }

    fn forget_held(&mut self) {
        self.lanes = Lanes::default();
        (self.held, self.held_bytes) = ([0; 3], 0);
        self.delayed.clear();
        self.crowded_since = None;
        self.cleared = self.cleared.wrapping_add(1);
        for cursor in &mut self.cursors {
            (cursor.more, cursor.reading, cursor.anew) = (true, false, false);
        }
        self.forget_stored();
    }

    /// The oldest goes first, and every other turn is for those that would wait too long for theirs.
    fn take(&mut self, now: Timestamp) -> Option<Place> {
        self.turn = self.turn.wrapping_add(1);
        let fresh = (Queue::Regular, Sequence(self.cursors[index(Queue::Regular)].seen.0.saturating_add(1)));
        let first = match self.turn % 4 {
            1 => fresh..=last(Queue::Regular),
            3 => all(Queue::Again),
            _ => all(Queue::Control),
        };
        let mut taken = self.lanes.take(all(Queue::Control), now);
        if !self.silent {
            taken = taken.or_else(|| self.lanes.take(first, now)).or_else(|| self.lanes.take(.., now));
        }
        if taken.is_some() {
            self.moved_at = now;
        }
        taken
    }

    fn hold(&mut self, mut delivery: Delivery, now: Timestamp) {
        if self.lanes.is_empty() || !self.lanes.is_ready(now) {
            self.moved_at = now;
        }
        let place = place_of(&delivery);
        // What was never put off need not wait for a time that has come already, whatever the clock says.
        let due = (delivery.due_at > delivery.accepted_at).then_some(delivery.due_at);
        delivery.due_at = Timestamp::default();
        let (bytes, lanes) = (delivery.body.len(), delivery.lanes.as_ref().into());
        let added = match place.0 {
            Queue::Regular => self.lanes.add_or_skip(place, lanes, due, delivery),
            // These are few, and what an operator asked for is not left behind.
            Queue::Control | Queue::Again => self.lanes.add(place, lanes, due, delivery),
        };
        if added == Added::Held {
            self.held[index(place.0)] += 1;
            self.held_bytes += bytes;
        }
    }

    fn put_back(&mut self, place: Place, attempts: u32, signed: Option<Signed>, due: Option<Timestamp>) {
        if let Some(delivery) = self.lanes.get_mut(place) {
            delivery.attempts = attempts;
            delivery.signed = signed;
            self.lanes.retry(place, due);
        }
    }

    /// How many deliveries of a queue may still be held.
    fn room(&self, queue: Queue) -> usize {
        let resting = self.rests_for_long();
        let max = if resting { SUSPENDED_MAX } else { READ_AHEAD_MAX };
        match self.held_bytes < READ_AHEAD_BYTES_MAX || self.held[index(queue)] == 0 {
            true => max.saturating_sub(self.held[index(queue)]),
            false => 0,
        }
    }

    fn rests_for_long(&self) -> bool {
        self.suspended
            .as_ref()
            .is_some_and(|suspended| suspended.rests && suspended.failures >= RELEASED_AFTER)
    }

    fn fresh_room(&self) -> usize {
        match self.suspended {
            None if self.held_bytes < READ_AHEAD_BYTES_MAX => {
                (READ_AHEAD_MAX + FRESH_MAX).saturating_sub(self.held[index(Queue::Regular)])
            }
            _ => 0,
        }
    }

    /// A full lane has room again: those that were left behind it are read.
    fn read_skipped_again(&mut self) {
        if self.cursors[index(Queue::Regular)].reading {
            return;
        }
        if let Some(left) = self.lanes.read_again() {
            self.go_back_to(&left);
        }
    }

    /// What was left behind is not read yet.
    fn go_back_to(&mut self, left: &Left<Place>) {
        self.crowded_since = None;
        let cursor = self.cursor(Queue::Regular);
        let seen = cursor.seen;
        cursor.seen = seen.min(Sequence(left.first.1.0.saturating_sub(1)));
        cursor.more = true;
        // It is somewhere before what was seen, in these lanes.
        self.ahead.add_first(seen, &left.lanes);
    }

    /// Whether reading has to wait for a full lane. If the lane stands still, it goes further past it bit by bit.
    fn is_crowded(&mut self, now: Timestamp) -> bool {
        if !self.lanes.is_crowded() {
            self.crowded_since = None;
            return false;
        }
        let since = *self.crowded_since.get_or_insert(now);
        if now >= since.plus(CROWDED_FOR) || now < since {
            self.lanes.look_further();
            self.crowded_since = Some(now);
        }
        self.lanes.is_crowded()
    }

    fn next_look_at(&self) -> Option<Timestamp> {
        self.crowded_since.map(|since| since.plus(CROWDED_FOR)).filter(|_| self.lanes.may_look_further())
    }

    fn end_reading(&mut self, queue: Queue) {
        let cursor = self.cursor(queue);
        cursor.reading = false;
        if std::mem::take(&mut cursor.anew) {
            (cursor.seen, cursor.more) = (Sequence(0), true);
        }
        self.forget_stored();
    }

    /// No page can have these any more if none is being read.
    fn forget_stored(&mut self) {
        if !self.stored.is_empty() && self.cursors.iter().all(|cursor| !cursor.reading) {
            self.forgotten += 1;
            for place in self.stored.drain(..) {
                self.settled.remove(&place);
            }
        }
    }

    fn cursor(&mut self, queue: Queue) -> &mut Cursor {
        &mut self.cursors[index(queue)]
    }
}

fn index(queue: Queue) -> usize {
    match queue {
        Queue::Control => 0,
        Queue::Regular => 1,
        Queue::Again => 2,
    }
}

pub(crate) fn place_of(delivery: &Delivery) -> Place {
    (delivery.queue, delivery.sequence)
}

fn last(queue: Queue) -> Place {
    (queue, Sequence(u64::MAX))
}

fn all(queue: Queue) -> RangeInclusive<Place> {
    (queue, Sequence(0))..=last(queue)
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod model;

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
            generation: 0,
            attempts: 0,
            due_at: Timestamp::default(),
            signed: None,
        }
    }

    pub(super) const POLICY: RetryPolicy = RetryPolicy {
        delay_first: Duration::from_secs(10),
        delay_max: Duration::from_secs(10),
        age_max: Duration::MAX,
        failures_max: 3,
    };

    /// Chance that makes each delay as long as it may be.
    pub(super) struct Longest;

    impl rand::TryRng for Longest {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(u32::MAX)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(u64::MAX)
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(u8::MAX);
            Ok(())
        }
    }

    pub(super) fn busy(speaks_for_all: bool, asked: Option<u64>) -> Trouble {
        let retry_after = asked.map(Duration::from_secs);
        Trouble { kind: TroubleKind::Busy, detail: "503".to_owned(), retry_after, speaks_for_all }
    }

    fn fail(outgoing: &mut Outgoing, place: Place, seconds: i64, trouble: Trouble) -> Consequence {
        let failure = Failure { attempts: 1, signed: None, trouble, at: at(seconds) };
        outgoing.troubled(place, failure, &POLICY, &mut Longest)
    }

    /// A stream that holds the deliveries 1 to `last`, each about somebody else, and has sent what it may at second 1.
    fn sent_of(last: u64) -> (Outgoing, Vec<Place>) {
        let mut outgoing = Outgoing::new(64);
        read_all(&mut outgoing, |queue, _| match queue {
            Queue::Regular => Page { deliveries: (1..=last).map(delivery).collect(), more: false },
            Queue::Control | Queue::Again => Page::default(),
        });
        let sent = std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| place_of(&one)).collect();
        (outgoing, sent)
    }

    fn regular(sequence: u64) -> Place {
        (Queue::Regular, Sequence(sequence))
    }

    fn read_all(outgoing: &mut Outgoing, mut pages: impl FnMut(Queue, Sequence) -> Page) {
        while let Some(reading) = outgoing.start_reading(at(1)) {
            let page = pages(reading.queue, reading.after);
            outgoing.read(reading, page, at(1));
        }
    }

    // finding: C3
    #[test]
    fn what_a_delivery_waits_for_is_known() {
        let (mut outgoing, sent) = sent_of(9);
        assert!(sent.len() < 9, "the window is smaller");
        let waits = |outgoing: &Outgoing, sequence| outgoing.waits_for(regular(sequence), at(1));
        assert_eq!(waits(&outgoing, 1), WaitsFor::Answer);
        assert_eq!(waits(&outgoing, 9), WaitsFor::Window);
        assert_eq!(waits(&outgoing, 20), WaitsFor::Backlog);
        outgoing.hand_over(Delivery { lanes: [9].into(), ..delivery(10) }, Some(Sequence(9)), at(1));
        assert_eq!(waits(&outgoing, 10), WaitsFor::Subject, "it is about the same as 9");
        fail(&mut outgoing, sent[0], 1, busy(false, None));
        assert!(matches!(waits(&outgoing, 1), WaitsFor::Retry { .. }));
        fail(&mut outgoing, sent[1], 1, busy(true, None));
        for sequence in [9, 20] {
            assert!(matches!(waits(&outgoing, sequence), WaitsFor::Receiver { .. }));
        }
    }

    #[test]
    fn neither_gap_nor_double_between_page_and_hand_over() {
        let mut outgoing = Outgoing::new(64);
        outgoing.hand_over(delivery(3), Some(Sequence(2)), at(1));
        assert!(outgoing.next_push(at(1)).is_none(), "nothing was read yet, so the store is asked first");

        let reading = outgoing.start_reading(at(1)).unwrap();
        assert_eq!((reading.queue, reading.after), (Queue::Control, Sequence(0)));
        outgoing.read(reading, Page::default(), at(1));
        let reading = outgoing.start_reading(at(1)).unwrap();
        let again = outgoing.start_reading(at(1)).unwrap();
        outgoing.read(again, Page::default(), at(1));
        assert_eq!(outgoing.start_reading(at(1)), None, "one reads at a time");
        // Committed while the page is read: it may be in the page or not.
        outgoing.hand_over(delivery(4), Some(Sequence(3)), at(1));
        outgoing.read(reading, Page { deliveries: vec![delivery(2), delivery(3)], more: false }, at(1));
        read_all(&mut outgoing, |_, after| {
            assert_eq!(after, Sequence(3));
            Page { deliveries: vec![delivery(4)], more: false }
        });
        outgoing.hand_over(delivery(5), Some(Sequence(4)), at(1));
        let sent: Vec<u64> =
            std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| one.sequence.0).collect();
        assert_eq!(sent, [2, 3, 4, 5]);
    }

    #[test]
    fn nothing_overtakes_the_first_if_that_was_not_told() {
        let mut outgoing = Outgoing::new(64);
        read_all(&mut outgoing, |_, _| Page::default());
        // 1 was committed, and its hand-over was missed.
        outgoing.hand_over(Delivery { lanes: [1].into(), ..delivery(2) }, Some(Sequence(1)), at(1));
        assert!(outgoing.next_push(at(1)).is_none(), "2 is about the same as 1, which is not read yet");
        read_all(&mut outgoing, |queue, _| match queue {
            Queue::Regular => Page {
                deliveries: vec![delivery(1), Delivery { lanes: [1].into(), ..delivery(2) }],
                more: false,
            },
            Queue::Control | Queue::Again => Page::default(),
        });
        assert_eq!(outgoing.next_push(at(1)).unwrap().sequence, Sequence(1));
    }

    #[test]
    fn trouble_is_probed_with_one_and_counted_once() {
        let (mut outgoing, sent) = sent_of(8);
        assert_eq!(sent.len(), 4, "the window starts small");
        for place in &sent[..3] {
            let consequence = fail(&mut outgoing, *place, 1, busy(false, None));
            assert!(matches!(consequence, Consequence::Delayed { .. }), "{consequence:?}");
        }
        let Consequence::Suspended(rest) = fail(&mut outgoing, sent[3], 1, busy(false, None)) else {
            panic!("all that was under way failed");
        };
        assert_eq!((rest.failures, rest.since, rest.until), (1, at(1), at(11)), "four answers of one outage");
        assert!(outgoing.next_push(at(2)).is_none());
        assert_eq!(outgoing.next_push_at(at(2)), Some(at(11)));
        let probe = outgoing.next_push(at(11)).unwrap();
        assert_eq!(probe.sequence, Sequence(1), "the oldest, although it waited alone before");
        assert!(outgoing.next_push(at(11)).is_none(), "one probe at a time");
        assert_eq!(outgoing.next_push_at(at(11)), None, "its answer is waited for, not a time");
        let Consequence::Suspended(rest) = fail(&mut outgoing, place_of(&probe), 12, busy(false, None))
        else {
            panic!("a probe that fails makes the rest longer");
        };
        assert_eq!((rest.failures, rest.since, rest.until), (2, at(1), at(22)));
        let probe = outgoing.next_push(at(22)).unwrap();
        assert!(outgoing.pushed(place_of(&probe), at(22)));
        assert_eq!(outgoing.next_push(at(22)).unwrap().sequence, Sequence(2));
        assert_eq!(outgoing.window(), 2, "it opens slowly");
    }

    // finding: B11
    #[test]
    fn one_failure_among_successes_delays_that_delivery_and_its_lanes_alone() {
        let mut outgoing = Outgoing::new(64);
        // 9 is about the same as 1.
        let deliveries = (1..=8).map(delivery).chain([Delivery { lanes: [1].into(), ..delivery(9) }]);
        let page = Page { deliveries: deliveries.collect(), more: false };
        read_all(
            &mut outgoing,
            |queue, _| if queue == Queue::Regular { page.clone() } else { Page::default() },
        );
        let sent: Vec<Delivery> = std::iter::from_fn(|| outgoing.next_push(at(1))).collect();
        let Consequence::Delayed { until } = fail(&mut outgoing, regular(1), 1, busy(false, None)) else {
            panic!("others may succeed");
        };
        assert_eq!(until, at(1).plus(Duration::from_millis(100)), "a hundredth of the first delay");
        assert_eq!((outgoing.delayed(), outgoing.window()), (1, 4));
        assert!(outgoing.next_push(at(1)).is_none(), "until something succeeds the place stays closed");
        for one in &sent[1..] {
            outgoing.pushed(place_of(one), at(1));
        }
        let mut answered = Vec::new();
        while let Some(next) = outgoing.next_push(at(1)) {
            answered.push(next.sequence.0);
            outgoing.pushed(place_of(&next), at(1));
        }
        assert_eq!(answered, [5, 6, 7, 8], "9 waits for 1");
        assert_eq!(outgoing.next_push_at(at(1)), Some(until));
        assert_eq!(outgoing.next_push(until).unwrap().sequence, Sequence(1));
        outgoing.pushed(regular(1), until);
        assert_eq!((outgoing.delayed(), outgoing.next_push(until).unwrap().sequence), (0, Sequence(9)));
        assert!(outgoing.suspended().is_none());
    }

    // finding: B11
    #[test]
    fn an_outage_costs_no_attempts_but_those_under_way() {
        let (mut outgoing, sent) = sent_of(100);
        let mut under_way = sent;
        while outgoing.window() < 64 {
            outgoing.pushed(under_way.remove(0), at(1));
            under_way.extend(std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| place_of(&one)));
        }
        let count = under_way.len();
        assert!(count > 16, "{count}");
        for (number, place) in under_way.into_iter().enumerate() {
            let consequence = fail(&mut outgoing, place, 1, busy(false, None));
            assert!(outgoing.next_push(at(1)).is_none(), "nothing more is attempted");
            let expected = match number {
                0..15 => matches!(consequence, Consequence::Delayed { .. }),
                15 => matches!(consequence, Consequence::Suspended(_)),
                _ => matches!(consequence, Consequence::AlreadySuspended),
            };
            assert!(expected, "{number}: {consequence:?}");
        }
        assert_eq!(outgoing.window(), 1);
    }

    // finding: B11
    #[test]
    fn one_delivery_that_fails_does_not_stop_those_that_come_later() {
        let (mut outgoing, sent) = sent_of(1);
        let mut now = at(1);
        for failure in 1..=4 {
            let consequence = fail(&mut outgoing, sent[0], now.as_seconds(), busy(false, None));
            match consequence {
                Consequence::Delayed { until } if failure < 3 => now = until,
                Consequence::Suspended(rest) if failure >= 3 => {
                    assert_eq!((rest.failures, rest.since, rest.rests), (failure - 2, at(1), false));
                    now = rest.until;
                }
                other => panic!("{failure}: {other:?}"),
            }
            now = at(now.as_seconds() + 1);
            assert_eq!(outgoing.next_push(now).unwrap().sequence, Sequence(1));
        }
        fail(&mut outgoing, sent[0], now.as_seconds(), busy(false, None));
        assert_eq!((outgoing.window(), outgoing.held()), (4, 1));
        outgoing.hand_over(delivery(2), Some(Sequence(1)), now);
        outgoing.hand_over(delivery(3), Some(Sequence(2)), now);
        assert_eq!(outgoing.next_push(now).unwrap().sequence, Sequence(2), "it is tried at once");
        assert!(outgoing.next_push(now).is_none(), "and alone");
        assert!(outgoing.pushed(regular(2), now), "the receiver is well");
        assert_eq!(outgoing.next_push(now).unwrap().sequence, Sequence(3));
        outgoing.pushed(regular(3), now);
        assert_eq!(
            outgoing.next_push_at(now),
            Some(now.plus(Duration::from_secs(10))),
            "it waits for its time"
        );
    }

    // finding: B11
    #[test]
    fn an_outage_is_noticed_with_few_to_send_too() {
        let (mut outgoing, sent) = sent_of(1);
        for _ in 0..3 {
            fail(&mut outgoing, sent[0], 1, busy(false, None));
            outgoing.next_push(at(100));
        }
        fail(&mut outgoing, sent[0], 100, busy(false, None));
        for sequence in [2, 3] {
            outgoing.hand_over(delivery(sequence), Some(Sequence(sequence - 1)), at(100));
            assert_eq!(outgoing.next_push(at(100)).unwrap().sequence, Sequence(sequence));
            let consequence = fail(&mut outgoing, regular(sequence), 100, busy(false, None));
            let Consequence::Suspended(rest) = consequence else { panic!("{consequence:?}") };
            assert_eq!(rest.rests, sequence == 3, "three deliveries failed, and none succeeded");
        }
        outgoing.hand_over(delivery(4), Some(Sequence(3)), at(100));
        assert!(outgoing.next_push(at(100)).is_none());
        assert_eq!(outgoing.next_push_at(at(100)), Some(at(110)));
        assert_eq!(outgoing.next_push(at(110)).unwrap().sequence, Sequence(1), "the oldest");
    }

    // finding: B11
    #[test]
    fn what_is_asked_for_late_is_kept_to_although_few_have_failed() {
        let (mut outgoing, sent) = sent_of(8);
        let policy = RetryPolicy { failures_max: 1, ..POLICY };
        // One that failed before fails once more while others are under way.
        fail(&mut outgoing, sent[0], 1, busy(false, None));
        outgoing.pushed(sent[1], at(1));
        let again = outgoing.next_push(at(2)).unwrap();
        assert_eq!(again.sequence, Sequence(1));
        outgoing.pushed(sent[2], at(2));
        outgoing.pushed(sent[3], at(2));
        let other = outgoing.next_push(at(2)).unwrap();
        let failure = Failure { attempts: 2, signed: None, trouble: busy(false, None), at: at(2) };
        for _ in 0..2 {
            outgoing.row.failed(false, 0, policy.failures_max, at(2));
        }
        let consequence = outgoing.troubled(place_of(&again), failure, &policy, &mut Longest);
        assert!(matches!(&consequence, Consequence::Suspended(rest) if !rest.rests), "{consequence:?}");
        fail(&mut outgoing, place_of(&other), 3, busy(true, Some(8)));
        assert!(outgoing.next_push(at(11)).is_none(), "the receiver asked for a pause");
        assert!(outgoing.next_push(at(12)).is_some());
    }

    // finding: B11
    #[test]
    fn who_has_just_failed_takes_the_permits_of_those_in_trouble() {
        let (mut outgoing, sent) = sent_of(100);
        assert_eq!(outgoing.share(), Share::Many);
        outgoing.pushed(sent[0], at(1));
        assert_eq!(outgoing.share(), Share::Few);
        fail(&mut outgoing, sent[1], 1, busy(false, None));
        assert_eq!(outgoing.share(), Share::Probe);
        outgoing.pushed(sent[2], at(1));
        assert_eq!(outgoing.share(), Share::Few);
    }

    // finding: B11
    #[test]
    fn one_answer_that_speaks_for_all_suspends_at_once() {
        let (mut outgoing, sent) = sent_of(8);
        outgoing.pushed(sent[1], at(1));
        let consequence = fail(&mut outgoing, sent[0], 1, busy(true, Some(5)));
        assert!(matches!(consequence, Consequence::Suspended(_)), "{consequence:?}");
        assert_eq!(outgoing.delayed(), 0, "it waits with the stream and not by itself");
    }

    // finding: B11
    #[test]
    fn so_many_wait_alone_and_one_more_is_the_streams_trouble() {
        let (mut outgoing, sent) = sent_of(400);
        let mut under_way = sent;
        let mut failed = 0;
        while outgoing.suspended().is_none() {
            let place = under_way.remove(0);
            // Every other one fails, for ever.
            if place.1.0.is_multiple_of(2) {
                fail(&mut outgoing, place, 1, busy(false, None));
                failed += 1;
            } else {
                outgoing.pushed(place, at(1));
            }
            assert!(outgoing.delayed() <= DELAYED_MAX);
            under_way.extend(std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| place_of(&one)));
        }
        assert_eq!((failed, outgoing.delayed()), (DELAYED_MAX + 1, DELAYED_MAX));
        // One of those that wait already may fail once more.
        for place in under_way {
            outgoing.pushed(place, at(1));
        }
        let probe = outgoing.next_push(at(60)).unwrap();
        assert_eq!(probe.sequence, Sequence(2), "the oldest is due");
        outgoing.pushed(place_of(&probe), at(60));
        let next = outgoing.next_push(at(60)).unwrap();
        let consequence = fail(&mut outgoing, place_of(&next), 60, busy(false, None));
        assert!(matches!(consequence, Consequence::Delayed { .. }), "{consequence:?}");
    }

    // finding: B11
    #[test]
    fn another_endpoint_makes_those_due_that_wait_alone() {
        let (mut outgoing, sent) = sent_of(8);
        fail(&mut outgoing, sent[0], 1, busy(false, Some(300)));
        outgoing.pushed(sent[1], at(1));
        outgoing.start_afresh();
        assert_eq!(outgoing.next_push(at(1)).unwrap().sequence, Sequence(1));
    }

    // finding: B11
    #[test]
    fn who_waits_for_its_time_does_not_stand_still() {
        let (mut outgoing, sent) = sent_of(2);
        fail(&mut outgoing, sent[0], 1, busy(false, Some(8)));
        assert_eq!(outgoing.stands_still_since(at(10)), None, "it may wait for a permit");
        outgoing.pushed(sent[1], at(1));
        assert_eq!(outgoing.stands_still_since(at(5)), None);
        assert_eq!(outgoing.stands_still_since(at(10)), Some(at(9)), "since it is due");
        let (mut outgoing, sent) = sent_of(8);
        for place in &sent {
            outgoing.pushed(*place, at(1));
        }
        assert_eq!(outgoing.stands_still_since(at(10)), Some(at(1)));
        let next = place_of(&outgoing.next_push(at(12)).unwrap());
        fail(&mut outgoing, next, 12, busy(true, None));
        assert_eq!(outgoing.stands_still_since(at(60)), None, "a receiver in trouble is none of ours");
    }

    // finding: B11
    #[test]
    fn what_is_given_up_waits_no_longer() {
        let (mut outgoing, sent) = sent_of(1);
        fail(&mut outgoing, sent[0], 1, busy(false, None));
        assert!(outgoing.settle_unless_sent(sent[0], 0), "it is not on its way");
        assert_eq!((outgoing.delayed(), outgoing.held()), (0, 0));
        assert_eq!(outgoing.next_push_at(at(1)), None);
    }

    #[test]
    fn what_was_on_its_way_neither_ends_a_rest_nor_makes_it_longer() {
        let (mut outgoing, sent) = sent_of(8);
        fail(&mut outgoing, sent[0], 1, busy(true, None));
        outgoing.pushed(sent[1], at(1));
        assert!(outgoing.next_push(at(10)).is_none(), "the receiver asked for a rest");
        let consequence = fail(&mut outgoing, sent[2], 12, busy(false, None));
        assert!(matches!(consequence, Consequence::AlreadySuspended), "this trouble is counted already");
        assert_eq!(outgoing.suspended().map(|rest| (rest.failures, rest.until)), Some((1, at(11))));
        assert!(outgoing.next_push(at(12)).is_none(), "one is on its way still");
        fail(&mut outgoing, sent[3], 12, busy(true, Some(7)));
        assert_eq!(outgoing.next_push_at(at(12)), Some(at(19)), "what the receiver asks for counts");
        assert_eq!(outgoing.next_push(at(19)).unwrap().sequence, Sequence(1), "now it is probed");
    }

    #[test]
    fn what_a_page_had_is_not_taken_once_more_when_it_is_told_of_late() {
        let mut outgoing = Outgoing::new(64);
        let pages = |queue, after| match (queue, after) {
            (Queue::Regular, Sequence(0)) => Page { deliveries: vec![delivery(1)], more: false },
            _ => Page::default(),
        };
        read_all(&mut outgoing, pages);
        let sent = outgoing.next_push(at(1)).unwrap();
        let place = (sent.queue, sent.sequence);
        outgoing.pushed(place, at(1));
        outgoing.settle(place, 0);
        outgoing.stored(std::iter::once(place));
        outgoing.hand_over(delivery(1), None, at(2));
        assert!(outgoing.next_push(at(2)).is_none(), "its receiver has it");
        outgoing.hand_over(delivery(2), Some(Sequence(1)), at(2));
        assert_eq!(outgoing.next_push(at(2)).unwrap().sequence, Sequence(2));
    }

    fn about(lane: u64, sequence: u64) -> Delivery {
        Delivery { lanes: [lane].into(), ..delivery(sequence) }
    }

    /// What is handed over one after the other, from behind `last` on.
    fn hand_over_all(outgoing: &mut Outgoing, mut last: u64, deliveries: impl Iterator<Item = Delivery>) {
        for delivery in deliveries {
            let sequence = delivery.sequence.0;
            outgoing.hand_over(delivery, (last > 0).then_some(Sequence(last)), at(1));
            last = sequence;
        }
    }

    // finding: D1
    #[test]
    fn a_fresh_event_waits_behind_an_unread_one_about_the_same() {
        let mut outgoing = Outgoing::new(64);
        read_all(&mut outgoing, |_, _| Page::default());
        let full = (READ_AHEAD_MAX + FRESH_MAX) as u64;
        hand_over_all(&mut outgoing, 0, (1..=full).map(delivery));
        let (unread, lane) = (full + 1, 900_000);
        hand_over_all(&mut outgoing, full, [about(lane, unread)].into_iter());
        assert_eq!(outgoing.held() as u64, full, "there is no room for it");
        for sequence in 1..=8 {
            outgoing.settle(regular(sequence), 0);
        }
        // Now there is room for fresh ones.
        let later = [delivery(unread + 1), about(lane, unread + 2), delivery(unread + 3)];
        hand_over_all(&mut outgoing, unread, later.into_iter());
        let taken: Vec<u64> = outgoing.lanes.iter().map(|((_, sequence), _)| sequence.0).collect();
        assert_eq!(taken[taken.len() - 2..], [unread + 1, unread + 3], "those about somebody else");
        assert!(!outgoing.ahead.is_free(&[lane]));
        for sequence in 9..=full {
            outgoing.settle(regular(sequence), 0);
        }
        read_all(&mut outgoing, |queue, after| match queue {
            Queue::Regular if after.0 < unread => Page {
                deliveries: vec![about(lane, unread), delivery(unread + 1), about(lane, unread + 2)],
                more: false,
            },
            _ => Page::default(),
        });
        let sent: Vec<u64> =
            std::iter::from_fn(|| outgoing.next_push(at(1))).map(|one| one.sequence.0).collect();
        assert!(!sent.contains(&(unread + 2)) && sent.contains(&unread), "{sent:?}");
        assert!(outgoing.ahead.is_free(&[lane]), "it is read");
    }

    // finding: D1
    #[test]
    fn a_fresh_event_waits_for_what_a_full_lane_left() {
        let mut outgoing = Outgoing::new(64);
        let (max, lane) = (Lanes::<(), (), ()>::LANE_MAX as u64, 7);
        let last = max + 2;
        // While a page is read, the last two find their lane full.
        read_all(&mut outgoing, |queue, after| match queue {
            Queue::Regular => {
                let all = (after.0 + 1..=last).take(PAGE_MAX).map(|number| about(lane, number));
                let deliveries: Vec<_> = all.collect();
                let more = deliveries.last().is_some_and(|one| one.sequence.0 < last);
                Page { deliveries, more }
            }
            Queue::Control | Queue::Again => Page::default(),
        });
        assert_eq!(outgoing.held() as u64, max);
        hand_over_all(&mut outgoing, last, [about(lane, last + 1)].into_iter());
        assert_eq!(outgoing.held() as u64, max, "its lane is full");
        for sequence in 1..=max / 2 {
            outgoing.settle(regular(sequence), 0);
        }
        // The lane has moved, and what was left is being read.
        let reading = outgoing.start_reading(at(1)).unwrap();
        assert_eq!((reading.queue, reading.after), (Queue::Regular, Sequence(max)));
        hand_over_all(&mut outgoing, last + 1, [about(lane, last + 2), delivery(last + 3)].into_iter());
        let newest: Vec<u64> = outgoing.lanes.iter().map(|((_, sequence), _)| sequence.0).collect();
        assert_eq!(newest[newest.len() - 2..], [max, last + 3], "only who is about somebody else is taken");
        let left = (max + 1..=last + 1).map(|number| about(lane, number)).collect();
        outgoing.read(reading, Page { deliveries: left, more: false }, at(1));
        assert!(!outgoing.ahead.is_free(&[lane]), "one is still unread");
        assert!(outgoing.ahead.is_free(&[8]));
    }

    // finding: D1
    #[test]
    fn a_fresh_event_waits_for_what_was_let_go_of() {
        let mut outgoing = Outgoing::new(64);
        read_all(&mut outgoing, |_, _| Page::default());
        hand_over_all(&mut outgoing, 0, (1..=20).map(delivery));
        for _ in 0..4 {
            assert!(outgoing.next_push(at(1)).is_some());
        }
        for sequence in 2..=4 {
            outgoing.pushed(regular(sequence), at(1));
        }
        fail(&mut outgoing, regular(1), 1, busy(true, None));
        let probe = outgoing.next_push(at(20)).unwrap();
        fail(&mut outgoing, place_of(&probe), 20, busy(true, None));
        assert_eq!(outgoing.held(), 0, "the receiver rests for longer: nothing is held for it");
        let reading = loop {
            let reading = outgoing.start_reading(at(20)).unwrap();
            if reading.queue == Queue::Regular {
                break reading;
            }
            outgoing.read(reading, Page::default(), at(20));
        };
        assert_eq!((reading.after, reading.limit), (Sequence(0), SUSPENDED_MAX));
        let page = [1].into_iter().chain(5..=11).map(delivery).collect();
        outgoing.read(reading, Page { deliveries: page, more: true }, at(20));
        let probe = outgoing.next_push(at(40)).unwrap();
        assert!(outgoing.pushed(place_of(&probe), at(40)), "it is back");
        // 12 and those behind it are not read again yet.
        hand_over_all(&mut outgoing, 20, [about(12, 21), about(20, 22), about(1, 23)].into_iter());
        let held: Vec<u64> = outgoing.lanes.iter().map(|((_, sequence), _)| sequence.0).collect();
        assert_eq!(held[held.len() - 2..], [11, 23], "only who is about one that is not pending is taken");
    }

    #[test]
    fn a_backlog_leaves_room_for_control_events() {
        let mut outgoing = Outgoing::new(64);
        read_all(&mut outgoing, |queue, after| match queue {
            Queue::Control | Queue::Again => Page::default(),
            Queue::Regular => {
                let deliveries = (after.0..).take(PAGE_MAX).map(|number| delivery(number + 1)).collect();
                Page { deliveries, more: true }
            }
        });
        outgoing.hand_over(Delivery { queue: Queue::Control, ..delivery(9_000) }, None, at(1));
        assert_eq!(outgoing.next_push(at(1)).unwrap().queue, Queue::Control, "it is taken at once");
        outgoing.hand_over(
            Delivery { queue: Queue::Control, ..delivery(9_002) },
            Some(Sequence(9_001)),
            at(1),
        );
        let reading = outgoing.start_reading(at(1)).unwrap();
        assert_eq!(reading.queue, Queue::Control, "or read");
    }

    #[test]
    fn what_was_read_before_everything_was_dropped_is_stale() {
        let mut outgoing = Outgoing::new(64);
        outgoing.start_reading(at(1)).unwrap();
        let reading = outgoing.start_reading(at(1)).unwrap();
        outgoing.clear();
        outgoing.read(reading, Page { deliveries: vec![delivery(1)], more: false }, at(1));
        assert!(outgoing.next_push(at(1)).is_none());
    }

    #[test]
    fn the_read_ahead_is_bounded() {
        let mut outgoing = Outgoing::new(64);
        let mut next = 0;
        read_all(&mut outgoing, |queue, _| match queue {
            Queue::Control | Queue::Again => Page::default(),
            Queue::Regular => {
                let deliveries = (next..).take(PAGE_MAX).map(|number| delivery(number + 1)).collect();
                next += PAGE_MAX as u64;
                Page { deliveries, more: true }
            }
        });
        assert_eq!(outgoing.lanes.len(), READ_AHEAD_MAX);
        outgoing.hand_over(delivery(next + 1), Some(Sequence(next)), at(1));
        assert_eq!(outgoing.lanes.len(), READ_AHEAD_MAX);
    }
}
