//! The outgoing side of a stream against a model of its store: whatever happens in whatever order, nothing is offered
//! out of turn, nothing again that was accepted, and everything in the end (SEM-5, SEM-6, SEM-11, SEM-12).

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
    /// Some of the pushes are answered: accepted, or the receiver is in trouble.
    Answer { count: usize, trouble: bool },
    /// What was accepted is handed to the store, and stored.
    Settle,
    /// The time goes on, or is set back.
    Wait { seconds: i64 },
    /// Some of what was delivered long ago is to be delivered again.
    Replay { count: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..400_usize, prop::option::weighted(0.7, 0..4_u64), prop::option::weighted(0.2, 0..4_u64), prop::bool::weighted(0.9))
            .prop_map(|(count, lane, also, told)| Step::Commit { count, lane, also, told }),
        3 => (1..4_usize, prop::option::weighted(0.5, 0..4_u64), prop::bool::weighted(0.95))
            .prop_map(|(count, lane, told)| Step::Commit { count, lane, also: None, told }),
        4 => Just(Step::StartReading),
        2 => prop::bool::weighted(0.1).prop_map(|fails| Step::EndReading { fails }),
        6 => Just(Step::Push),
        6 => (1..80_usize, prop::bool::weighted(0.1)).prop_map(|(count, trouble)| Step::Answer { count, trouble }),
        4 => Just(Step::Settle),
        2 => (-5..30_i64).prop_map(|seconds| Step::Wait { seconds }),
        3 => (1..50_usize).prop_map(|count| Step::Replay { count }),
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
    on_their_way: Vec<Place>,
    accepted: Vec<Place>,
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
            on_their_way: Vec::new(),
            accepted: Vec::new(),
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
            Step::Answer { count, trouble } => {
                for _ in 0..count.min(self.on_their_way.len()) {
                    self.answer(trouble);
                }
            }
            Step::Settle => self.settle(),
            Step::Wait { seconds } => {
                let (ahead, back) = (u64::try_from(seconds), u64::try_from(-seconds));
                self.now = match (ahead, back) {
                    (Ok(seconds), _) => self.now.plus(Duration::from_secs(seconds)),
                    (_, Ok(seconds)) => self.now.minus(Duration::from_secs(seconds)),
                    _ => self.now,
                };
            }
            Step::Replay { count } => self.replay(count),
        }
        self.check_bounds()
    }

    fn commit(&mut self, lane: Option<u64>, also: Option<u64>, told: bool) {
        self.last += 1;
        let sequence = Sequence(self.last);
        let mut lanes: Vec<u64> = vec![lane.unwrap_or(1_000 + self.last)];
        lanes.extend(also.filter(|also| Some(*also) != lane));
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
        while let Some(delivery) = self.outgoing.next_push(self.now) {
            let place = place_of(&delivery);
            prop_assert!(self.open.contains(&place), "{place:?} was accepted before");
            prop_assert!(!self.on_their_way.contains(&place), "{place:?} is on its way already");
            if place.0 == Queue::Regular {
                for (_, earlier) in self.open.range((Queue::Regular, Sequence(0))..place) {
                    let shared = self.lanes[&earlier.0].iter().find(|lane| delivery.lanes.contains(lane));
                    prop_assert!(shared.is_none(), "{place:?} overtakes {earlier:?} in lane {shared:?}");
                }
            }
            self.on_their_way.push(place);
        }
        Ok(())
    }

    fn answer(&mut self, trouble: bool) {
        let place = self.on_their_way.remove(0);
        if trouble {
            let kind = (TroubleKind::Unreachable, None, self.now);
            self.outgoing.troubled(place, 1, None, kind, |_| Duration::from_secs(3));
        } else {
            self.outgoing.pushed(place, self.now);
            self.open.remove(&place);
            self.accepted.push(place);
        }
    }

    fn settle(&mut self) {
        for place in &self.accepted {
            self.owed.remove(place);
        }
        self.outgoing.stored(std::mem::take(&mut self.accepted).into_iter());
    }

    fn replay(&mut self, count: usize) {
        let settled = (1..=self.last)
            .map(Sequence)
            .filter(|sequence| Queue::ALL.iter().all(|queue| !self.owed.contains(&(*queue, *sequence))));
        let settled: Vec<Sequence> = settled.take(count).collect();
        for sequence in &settled {
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
        Ok(())
    }

    /// Everything goes well from here on: then everything is delivered.
    fn come_to_an_end(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..100_000 {
            self.start_reading();
            self.end_reading(false);
            self.push()?;
            while !self.on_their_way.is_empty() {
                self.answer(false);
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
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(steps in prop::collection::vec(step(), 1..300)) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step)?;
        }
        // Whom the observer was not told of, somebody who asks the store finds.
        model.commit(None, None, true);
        model.come_to_an_end()?;
    }
}
