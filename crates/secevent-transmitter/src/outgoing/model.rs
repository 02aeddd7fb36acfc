//! The outgoing side of a stream against a model of its store: whatever happens in whatever order, nothing is offered
//! out of turn, nothing again that was accepted, and everything in the end (SEM-5, SEM-6, SEM-11, SEM-12).

use super::tests::{Longest, POLICY, busy};
use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use secevent_store::{Rendering, StreamNumber};
use std::collections::{BTreeSet, HashMap};

#[derive(Clone, Debug)]
enum Step {
    /// So many deliveries are committed in one of the lanes, or each in one of its own; the observer hears of them or not.
    Commit { count: usize, lane: Option<u64>, also: Option<u64>, told: bool },
    /// A page is asked for, and the store answers it.
    StartReading,
    /// The page arrives, or fails.
    EndReading { fails: bool },
    /// As much is pushed as may be.
    Push,
    /// Some of the pushes are answered. Those whose bit is set fail, and may speak for all.
    Answer { count: usize, failing: u64, speaks_for_all: bool },
    /// What was accepted is handed to the store, and stored.
    Settle,
    /// The time goes on, or is set back.
    Wait { millis: i64 },
    /// Some of what was delivered long ago is to be delivered again.
    Replay { count: usize },
    /// The receiver is to be had somewhere else.
    StartAfresh,
    /// An operator asks for an attempt now.
    TryNow,
    /// All goes well for so many turns: so far a lane moves that is served one after the other.
    Drain { turns: usize },
    /// A lane holds more than it may, moves, and gets more while what was left behind it is read.
    Overfill { lane: u64, turns: usize },
    /// The receiver is down for two attempts, and back at the third.
    Outage,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = |share: f64| prop::option::weighted(share, 0..4_u64);
    let told = || prop::bool::weighted(0.97);
    let failing = prop_oneof![
        6 => Just(0),
        2 => any::<(u64, u64, u64)>().prop_map(|(one, other, third)| one & other & third),
        1 => Just(u64::MAX),
    ];
    prop_oneof![
        // More than may be held, each about somebody else.
        1 => (400..700_usize, told()).prop_map(|(count, told)| Step::Commit { count, lane: None, also: None, told }),
        // More than one lane may hold.
        1 => (1..400_usize, (0..4_u64).prop_map(Some), lane(0.2), told())
            .prop_map(|(count, lane, also, told)| Step::Commit { count, lane, also, told }),
        8 => (1..4_usize, lane(0.8), lane(0.1), told())
            .prop_map(|(count, lane, also, told)| Step::Commit { count, lane, also, told }),
        5 => Just(Step::StartReading),
        3 => prop::bool::weighted(0.1).prop_map(|fails| Step::EndReading { fails }),
        6 => Just(Step::Push),
        6 => (1..300_usize, failing, prop::bool::weighted(0.1)).prop_map(|(count, failing, speaks_for_all)| {
            Step::Answer { count, failing, speaks_for_all }
        }),
        4 => Just(Step::Settle),
        3 => (-5_000..30_000_i64).prop_map(|millis| Step::Wait { millis }),
        1 => (1..50_usize).prop_map(|count| Step::Replay { count }),
        1 => Just(Step::StartAfresh),
        2 => Just(Step::TryNow),
        1 => (1..60_usize).prop_map(|turns| Step::Drain { turns }),
        1 => (0..4_u64, 100..200_usize).prop_map(|(lane, turns)| Step::Overfill { lane, turns }),
        2 => Just(Step::Outage),
    ]
}

/// What a store and a receiver would know.
struct Model {
    outgoing: Outgoing,
    now: Timestamp,
    last: u64,
    previous: Option<Sequence>,
    lanes: HashMap<u64, Vec<u64>>,
    /// What the store still owes.
    owed: BTreeSet<Place>,
    /// What was not accepted yet, by the receiver's account.
    open: BTreeSet<Place>,
    /// Those of them in each lane.
    open_in: HashMap<u64, BTreeSet<u64>>,
    /// What is owed in no queue any more.
    done: BTreeSet<Sequence>,
    on_their_way: Vec<Place>,
    accepted: Vec<Place>,
    /// Failures since the last success.
    failures: usize,
    /// Not before which time a delivery is to be tried again, unless the whole stream rests.
    waits: HashMap<Place, Timestamp>,
    reading: Option<(Reading, Page)>,
}

impl Model {
    fn new() -> Self {
        Self {
            outgoing: Outgoing::new(64),
            now: Timestamp::from_seconds(1_000),
            last: 0,
            previous: None,
            lanes: HashMap::new(),
            owed: BTreeSet::new(),
            open: BTreeSet::new(),
            open_in: HashMap::new(),
            done: BTreeSet::new(),
            on_their_way: Vec::new(),
            accepted: Vec::new(),
            failures: 0,
            waits: HashMap::new(),
            reading: None,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Commit { count, lane, also, told } => {
                for _ in 0..count {
                    self.commit(lane, also, told);
                }
            }
            Step::StartReading => self.start_reading(),
            Step::EndReading { fails } => self.end_reading(fails),
            Step::Push => self.push()?,
            Step::Answer { count, failing, speaks_for_all } => {
                for number in 0..count.min(self.on_their_way.len()) {
                    let fails = (failing >> (number % 64)) & 1 == 1;
                    self.answer(fails.then_some(speaks_for_all))?;
                }
            }
            Step::Settle => self.settle(),
            Step::Drain { turns } => self.drain(turns)?,
            Step::Overfill { lane, turns } => {
                for _ in 0..300 {
                    self.commit(Some(lane), None, true);
                }
                for _ in 0..3 {
                    self.start_reading();
                    self.end_reading(false);
                }
                self.drain(turns)?;
                self.start_reading();
                self.commit(Some(lane), None, true);
                self.end_reading(false);
            }
            Step::Outage => {
                for fails in [Some(true), Some(true), None] {
                    self.start_reading();
                    self.end_reading(false);
                    self.push()?;
                    while !self.on_their_way.is_empty() {
                        self.answer(fails)?;
                    }
                    self.now = self.now.plus(POLICY.delay_max);
                }
            }
            Step::Wait { millis } => {
                let (ahead, back) = (u64::try_from(millis), u64::try_from(-millis));
                self.now = match (ahead, back) {
                    (Ok(millis), _) => self.now.plus(Duration::from_millis(millis)),
                    (_, Ok(millis)) => self.now.minus(Duration::from_millis(millis)),
                    _ => self.now,
                };
            }
            Step::Replay { count } => self.replay(count),
            Step::TryNow => self.try_now()?,
            Step::StartAfresh => {
                self.outgoing.start_afresh();
                self.waits.clear();
                self.failures = 0;
                prop_assert!(self.outgoing.suspended().is_none());
            }
        }
        self.check_bounds()
    }

    fn try_now(&mut self) -> Result<(), TestCaseError> {
        let before = self.outgoing.suspended().map(|suspended| (suspended.failures, suspended.rests));
        let hastened = self.outgoing.try_now(self.now);
        let after = self.outgoing.suspended().map(|suspended| (suspended.failures, suspended.rests));
        prop_assert_eq!(before, after, "what is known of the failures stays");
        match before {
            // One delivery is enough to find out.
            Some((_, false)) => {
                prop_assert!(hastened <= 1);
                if let Some(first) = self.waits.keys().min().copied().filter(|_| hastened == 1) {
                    self.waits.remove(&first);
                }
            }
            _ => self.waits.clear(),
        }
        if before.is_some() && self.on_their_way.is_empty() && self.outgoing.held() > 0 {
            prop_assert!(self.outgoing.may_push(self.now), "an attempt is possible at once");
        }
        Ok(())
    }

    fn drain(&mut self, turns: usize) -> Result<(), TestCaseError> {
        for _ in 0..turns {
            self.push()?;
            while !self.on_their_way.is_empty() {
                self.answer(None)?;
            }
            self.settle();
        }
        Ok(())
    }

    fn commit(&mut self, lane: Option<u64>, also: Option<u64>, told: bool) {
        self.last += 1;
        let sequence = Sequence(self.last);
        let mut lanes: Vec<u64> = vec![lane.unwrap_or(1_000 + self.last)];
        lanes.extend(also.filter(|also| Some(*also) != lane));
        for lane in &lanes {
            self.open_in.entry(*lane).or_default().insert(self.last);
        }
        self.lanes.insert(self.last, lanes);
        let place = (Queue::Regular, sequence);
        self.owed.insert(place);
        self.open.insert(place);
        let delivery = self.delivery(place);
        if told {
            self.outgoing.hand_over(delivery, self.previous, self.now);
        }
        self.previous = Some(sequence);
    }

    fn delivery(&self, (queue, sequence): Place) -> Delivery {
        Delivery {
            epoch: Epoch(1),
            sequence,
            stream: StreamNumber(1),
            queue,
            rendering: Rendering(1),
            accepted_at: Timestamp::from_seconds(1),
            body: Bytes::from_static(b"body"),
            lanes: self.lanes[&sequence.0].clone().into(),
            generation: 0,
            attempts: 0,
            due_at: Timestamp::from_seconds(1),
            signed: None,
        }
    }

    fn start_reading(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let Some(reading) = self.outgoing.start_reading(self.now) else { return };
        let behind = (reading.queue, Sequence(reading.after.0 + 1))..=last(reading.queue);
        let places: Vec<Place> = self.owed.range(behind).take(reading.limit + 1).copied().collect();
        let deliveries = places.iter().take(reading.limit).map(|place| self.delivery(*place)).collect();
        let page = Page { deliveries, more: places.len() > reading.limit };
        self.reading = Some((reading, page));
    }

    fn end_reading(&mut self, fails: bool) {
        match self.reading.take() {
            Some((reading, _)) if fails => self.outgoing.not_read(reading),
            Some((reading, page)) => self.outgoing.read(reading, page, self.now),
            None => {}
        }
    }

    fn push(&mut self) -> Result<(), TestCaseError> {
        loop {
            let suspended = self.outgoing.suspended().map(|suspended| (suspended.rests, suspended.until));
            let Some(delivery) = self.outgoing.next_push(self.now) else { break };
            let place = place_of(&delivery);
            if let Some((rests, until)) = suspended {
                prop_assert!(!rests || self.now >= until, "{place:?} goes out while the receiver rests");
                prop_assert!(self.on_their_way.is_empty(), "{place:?} is probed beside others");
            }
            let due = self.waits.remove(&place).unwrap_or_default();
            prop_assert!(due <= self.now, "{place:?} is due at {due:?}");
            prop_assert!(self.open.contains(&place), "{place:?} was accepted before");
            prop_assert!(!self.on_their_way.contains(&place), "{place:?} is on its way already");
            if place.0 == Queue::Regular {
                for lane in &self.lanes[&place.1.0] {
                    let first = self.open_in[lane].first();
                    prop_assert!(first == Some(&place.1.0), "{place:?} overtakes {first:?} in lane {lane}");
                }
            }
            self.on_their_way.push(place);
        }
        Ok(())
    }

    /// One is answered: it fails, perhaps for all, or is accepted.
    fn answer(&mut self, fails: Option<bool>) -> Result<(), TestCaseError> {
        let place = self.on_their_way.remove(0);
        let suspended = self.outgoing.suspended();
        let asked = suspended.is_some_and(|suspended| suspended.asked && suspended.probe == Some(place));
        let before = suspended.map(|suspended| suspended.failures);
        let Some(speaks_for_all) = fails else {
            self.outgoing.pushed(place, self.now);
            if asked {
                self.waits.clear();
            }
            self.open.remove(&place);
            if place.0 == Queue::Regular {
                for lane in &self.lanes[&place.1.0] {
                    self.open_in.entry(*lane).or_default().remove(&place.1.0);
                }
            }
            self.accepted.push(place);
            self.failures = 0;
            return Ok(());
        };
        self.failures += 1;
        let trouble = busy(speaks_for_all, None);
        let failure = Failure { attempts: 1, signed: None, trouble, at: self.now };
        let delayed = self.outgoing.delayed();
        match self.outgoing.troubled(place, failure, &POLICY, &mut Longest) {
            Consequence::Delayed { until } => {
                prop_assert!(before.is_none() && !speaks_for_all);
                prop_assert!(self.failures < 16, "{} failures in a row, and it goes on", self.failures);
                self.waits.insert(place, until);
            }
            Consequence::Suspended(suspended) => {
                let few = before.is_none() && !speaks_for_all && delayed < DELAYED_MAX;
                prop_assert!(!few || self.failures >= 3, "{} failures suspend it", self.failures);
                prop_assert_eq!(suspended.failures, before.unwrap_or(0) + u32::from(!asked));
                if suspended.rests {
                    prop_assert_eq!(self.outgoing.window(), 1);
                } else {
                    prop_assert!(!speaks_for_all);
                    self.waits.insert(place, suspended.until);
                }
            }
            Consequence::AlreadySuspended => prop_assert!(before.is_some()),
        }
        if self.outgoing.delayed() == 0 {
            // What was let go of is read again, and need not wait for itself any more.
            self.waits.clear();
        }
        Ok(())
    }

    fn settle(&mut self) {
        for place in &self.accepted {
            self.owed.remove(place);
        }
        for (_, sequence) in &self.accepted {
            if Queue::ALL.iter().all(|queue| !self.owed.contains(&(*queue, *sequence))) {
                self.done.insert(*sequence);
            }
        }
        self.outgoing.stored(std::mem::take(&mut self.accepted).into_iter());
    }

    fn replay(&mut self, count: usize) {
        let settled: Vec<Sequence> = self.done.iter().take(count).copied().collect();
        for sequence in &settled {
            self.done.remove(sequence);
            self.owed.insert((Queue::Again, *sequence));
            self.open.insert((Queue::Again, *sequence));
        }
        if !settled.is_empty() {
            self.outgoing.look_again(settled.len() as u64);
        }
    }

    fn check_bounds(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.outgoing.held() <= 3 * READ_AHEAD_MAX + FRESH_MAX);
        prop_assert!(self.outgoing.on_their_way() == self.on_their_way.len());
        prop_assert!(self.outgoing.window() <= 64);
        prop_assert!(self.outgoing.delayed() <= DELAYED_MAX);
        Ok(())
    }

    /// Everything goes well from here on: then everything is delivered.
    fn come_to_an_end(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..100_000 {
            self.start_reading();
            self.end_reading(false);
            self.push()?;
            while !self.on_their_way.is_empty() {
                self.answer(None)?;
            }
            self.settle();
            self.now = self.now.plus(Duration::from_secs(5));
            if self.owed.is_empty() && self.outgoing.is_idle() {
                prop_assert_eq!(self.outgoing.load().pending, 0);
                prop_assert!(self.outgoing.settled.is_empty(), "nothing is remembered for ever");
                return Ok(());
            }
        }
        prop_assert!(false, "{} are never delivered", self.owed.len());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(steps in prop::collection::vec(step(), 1..50)) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step)?;
        }
        // Whom the observer was not told of, somebody who asks the store finds.
        model.commit(None, None, true);
        model.come_to_an_end()?;
    }
}
