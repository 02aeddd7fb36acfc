//! One run: a world is made from a seed, lives through trouble, comes to rest, and is called to account.

use crate::events::{Event, TYPES, Tag};
use crate::invariants::{self, Promise, Violation};
use crate::model::{Limits, Model, Outage, Standing, Stream};
use crate::mutation::Mutation;
use crate::network::Network;
use crate::poller::Pollers;
use crate::receiver::{Habits, Party, push_delivery};
use crate::service::{Down, Service, issuer};
use crate::sim::{Sim, SimClock};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use secevent_jose::Algorithm;
use secevent_ssf::{Change, Status, StreamId, UpdateStream, VerificationRequest};
use secevent_transmitter::{AcceptError, Accepted, IssuerConfig, RetryPolicy, TransmitterConfig};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// A digest of all lines: the same for each run of one seed.
    pub digest: u64,
    /// How many events were recorded.
    pub events: usize,
    /// How many deliveries were owed at the end.
    pub deliveries: usize,
}

/// Runs the world of this seed, with a deliberate fault in it if one is given.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Report {
    watch_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime on this thread needs nothing from the system");
    PANIC.set(Some(String::new()));
    let sim = runtime.block_on(async {
        let world = World::new(seed, mutation);
        // A task of its own, whose panics are caught like those of all others.
        let _ = tokio::spawn(Arc::clone(&world).live()).await;
        world.network.close();
        Arc::clone(&world.sim)
    });
    drop(runtime);
    let panic = PANIC.take().filter(|message| !message.is_empty());
    let (events, deliveries) = sim.model(|model| (model.now.committed.len(), model.now.owed.len()));
    let (trace, violation) = sim.conclude();
    let panicked = panic.map(|seen| Violation { promise: Promise::NoPanic, seen });
    let digest = trace.digest();
    Report { seed, violation: panicked.or(violation), trace: trace.lines.into(), digest, events, deliveries }
}

thread_local! {
    /// The first panic of the run on this thread; none while there is no run.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Tasks that panic are caught by the runtime, which must not hide it from us.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_noted = PANIC.with_borrow_mut(|first| match first {
                Some(first) => {
                    if first.is_empty() {
                        *first = info.to_string();
                    }
                    true
                }
                None => false,
            });
            if !is_noted {
                before(info);
            }
        }));
    });
}

/// A run in progress.
struct World {
    sim: Arc<Sim>,
    clock: Arc<SimClock>,
    network: Arc<Network>,
    service: Arc<Service>,
    parties: Vec<Arc<Party>>,
    pollers: Vec<Arc<Pollers>>,
    issuers: usize,
    loses_hints: bool,
    calls: Mutex<Vec<Arc<Call>>>,
    tags: Mutex<Tag>,
    restores: Mutex<u32>,
}

/// One call of a producer, which it may repeat.
struct Call {
    issuer: usize,
    key: Option<String>,
    events: Vec<Event>,
    /// The first answer, and how many restored backups there had been.
    answer: Mutex<Option<(Vec<Accepted>, u32)>>,
}

impl World {
    fn new(seed: u64, mutation: Option<Mutation>) -> Arc<Self> {
        let mut chance = StdRng::seed_from_u64(seed ^ 0x5eed);
        let issuers = chance.random_range(1..=2);
        let config = config(&mut chance, issuers);
        let limits = limits(&config);
        let habits = |chance: &mut StdRng, is_push: bool| Habits {
            is_push,
            issuer: chance.random_range(0..issuers),
            kinds: [true, chance.random()],
            knows_its_name: chance.random(),
            handlers_max: limits.handlers_max,
            read_ahead_max: [1, 3, 1_000][chance.random_range(0..3)],
            poll_sets_max: [1, 3, 100][chance.random_range(0..3)],
            acks_max: limits.acks_max,
        };
        // One that is pushed to and one that polls are always there; the others are as they come.
        let count = chance.random_range(2..=4_usize);
        let mut kinds = vec![0, 1];
        kinds.extend((2..count).map(|_| chance.random_range(0..3)));
        let clock = SimClock::new();
        let model = Model::new(limits, &clock, kinds.iter().map(|kind| *kind < 2).collect());
        let sim = Sim::new(seed, mutation, model);
        let fails = (0..count).map(|_| [0, 0, 1, 3, 10, 30][chance.random_range(0..6)]).collect();
        let network = Network::new(&sim, fails);
        let loses_hints = chance.random_range(0..3) == 0;
        let service = Service::new(&sim, &clock, &network, mutated(config, mutation), loses_hints);
        network.connect(&service);
        let (mut parties, mut polling) = (Vec::new(), Vec::new());
        for (number, kind) in kinds.iter().enumerate() {
            let habits = habits(&mut chance, *kind == 0);
            match kind {
                0 | 1 => parties.push(Party::new(&sim, &clock, &network, number, habits)),
                _ => {
                    let pollers = chance.random_range(1..=3);
                    polling.push(Pollers::new(&sim, &service, number, habits.issuer, habits.kinds, pollers));
                }
            }
        }
        Arc::new(Self {
            sim,
            clock,
            network,
            service,
            parties,
            pollers: polling,
            issuers,
            loses_hints,
            calls: Mutex::default(),
            tags: Mutex::default(),
            restores: Mutex::default(),
        })
    }

    async fn live(self: Arc<Self>) {
        self.service.start().await;
        for party in &self.parties {
            party.start().await;
        }
        let steps = 30 + self.sim.below(50);
        for _ in 0..steps {
            self.step().await;
            let pause = match self.sim.below(20) {
                0 => self.sim.millis(10_000, 300_000),
                1..=8 => self.sim.millis(200, 5_000),
                _ => self.sim.millis(0, 200),
            };
            sleep(pause).await;
            if self.sim.is_broken() {
                return;
            }
        }
        self.come_to_rest(false).await;
        if !self.sim.is_broken() {
            self.account(false);
        }
        if !self.sim.is_broken() {
            // What was owed to streams that ended while the store failed is dropped by the next start.
            self.service.close().await;
            self.service.start().await;
            self.come_to_rest(true).await;
            self.account(true);
        }
    }

    /// Something happens.
    async fn step(self: &Arc<Self>) {
        match self.sim.below(100) {
            0..=39 => self.produce(1),
            40..=49 => self.produce(2 + self.sim.below(12)),
            50..=56 => self.repeat(),
            57..=59 => self.reuse_name(),
            60..=74 => self.manage(),
            75..=77 => self.retry(),
            78..=83 => self.network.change(self.sim.index(self.sim.model(|model| model.receivers.len()))),
            84..=89 => self.crash_transmitter(),
            90..=93 => self.crash_receiver(),
            94 => self.service.back_up(),
            95..=97 => {
                let millis = i64::try_from(self.sim.below(1_200_000)).unwrap_or(0) - 600_000;
                self.sim.note(format!("the clock is set by {millis} ms"));
                self.clock.jump(millis);
                // Pauses end by this clock.
                self.sim.model(|model| model.outages.values_mut().for_each(Outage::forget_row));
            }
            _ => self.close_transmitter(),
        }
    }

    fn produce(self: &Arc<Self>, count: u64) {
        let events = (0..count).map(|_| Event::new(&self.sim, self.next_tag())).collect::<Vec<_>>();
        let key = (!self.sim.one_in(3)).then(|| format!("key-{}", events[0].tag));
        let issuer = self.sim.index(self.issuers);
        let call = Arc::new(Call { issuer, key, events, answer: Mutex::default() });
        self.sim.model(|model| {
            model.events.extend(call.events.iter().map(|event| (event.tag, event.clone())));
        });
        if call.key.is_some() {
            lock(&self.calls).push(Arc::clone(&call));
        }
        tokio::spawn(Arc::clone(self).call(Arc::clone(&call)));
        if call.key.is_some() && self.sim.one_in(5) {
            // An impatient producer does not wait for the answer.
            tokio::spawn(Arc::clone(self).call(call));
        }
    }

    fn repeat(self: &Arc<Self>) {
        let calls = lock(&self.calls).clone();
        if !calls.is_empty() {
            tokio::spawn(Arc::clone(self).call(self.sim.pick(&calls)));
        }
    }

    /// Somebody uses a name a second time, for something else.
    fn reuse_name(self: &Arc<Self>) {
        let calls = lock(&self.calls).clone();
        if calls.is_empty() {
            return;
        }
        let (this, first) = (Arc::clone(self), self.sim.pick(&calls));
        let event = Event::new(&self.sim, self.next_tag());
        self.sim.model(|model| model.events.insert(event.tag, event.clone()));
        tokio::spawn(async move {
            let known = lock(&first.answer).as_ref().map(|(_, restores)| *restores);
            if known.is_none() {
                return;
            }
            let content = event.json().to_string();
            let (key, events) = (first.key.as_deref(), [event]);
            let told = this.service.accept(first.issuer, key, content.as_bytes(), &events).await;
            let Ok(told) = told else { return };
            let is_same_timeline = known == Some(*lock(&this.restores));
            if is_same_timeline && told.is_ok() {
                let seen = format!("{:?} was taken for another event", first.key);
                this.sim.judge(|_| Err(Violation { promise: Promise::OneNameOneEvent, seen }));
            }
        });
    }

    /// A producer tells of events, until it has an answer if it can name them.
    async fn call(self: Arc<Self>, call: Arc<Call>) {
        let content: Vec<String> = call.events.iter().map(|event| event.json().to_string()).collect();
        let content = content.join("\n");
        for _ in 0..40 {
            let restores = *lock(&self.restores);
            let told =
                self.service.accept(call.issuer, call.key.as_deref(), content.as_bytes(), &call.events);
            match told.await {
                Ok(Ok(answer)) => return self.answered(&call, answer, restores),
                Ok(Err(AcceptError::Ours(_))) | Err(Down) if call.key.is_some() => {}
                Ok(Err(AcceptError::Ours(_))) | Err(Down) => return,
                Ok(Err(error)) => {
                    // After a backup was restored, its name may have gone to another event meanwhile.
                    if *lock(&self.restores) == 0 {
                        let seen = format!("{:?} is refused: {error}", call.key);
                        self.sim.judge(|_| Err(Violation { promise: Promise::OneNameOneEvent, seen }));
                    }
                    return;
                }
            }
            let pause = if self.sim.is_calm() { Duration::from_secs(1) } else { self.sim.millis(50, 5_000) };
            sleep(pause).await;
        }
    }

    /// A repeat gets the first answer, unless a backup was restored between them.
    fn answered(&self, call: &Call, answer: Vec<Accepted>, restores: u32) {
        let restores_now = *lock(&self.restores);
        let mut first = lock(&call.answer);
        if let Some((first, before)) = first.as_ref()
            && (*before, restores) == (restores_now, restores_now)
            && *first != answer
        {
            let seen = format!("{:?} was answered {first:?}, and then {answer:?}", call.key);
            self.sim.judge(|_| Err(Violation { promise: Promise::OneNameOneEvent, seen }));
        }
        if restores == restores_now {
            *first = Some((answer, restores));
        }
    }

    /// Somebody changes a stream.
    fn manage(self: &Arc<Self>) {
        let streams: Vec<Stream> = self.sim.model(|model| {
            let streams = model.now.streams.values();
            streams.filter(|one| one.changing == 0 && one.standing != Standing::Deleted).cloned().collect()
        });
        if streams.is_empty() {
            return;
        }
        let (this, stream) = (Arc::clone(self), self.sim.pick(&streams));
        let (what, door) = (self.sim.below(20), self.sim.below(2));
        tokio::spawn(async move {
            let Ok(id) = stream.id.parse::<StreamId>() else { return };
            let (service, from, to) = (&this.service, stream.issuer, stream.client);
            let party = this.parties.iter().find(|party| party.number == to);
            match what {
                0..=4 => drop(service.set_status(from, to, &id, Status::Paused).await),
                5..=9 => drop(service.set_status(from, to, &id, Status::Enabled).await),
                10..=11 => drop(service.set_status(from, to, &id, Status::Disabled).await),
                12 => {
                    drop(service.delete(from, to, &id).await);
                    if let Some(party) = party {
                        party.look_after_stream();
                    }
                }
                13 => {
                    if let Some(party) = party {
                        party.leave_and_return().await;
                    }
                }
                14..=15 if stream.endpoint.is_some() => {
                    let mut update = UpdateStream::new(id);
                    update.delivery = Change::Set(push_delivery(to, door));
                    drop(service.update(from, to, update).await);
                }
                _ => {
                    let verify = VerificationRequest { stream_id: id, state: None };
                    drop(service.verify(from, to, verify).await);
                }
            }
        });
    }

    /// An operator has streams retried, whatever state they are in, and may be impatient.
    fn retry(self: &Arc<Self>) {
        let ids: Vec<String> =
            self.sim.model(|model| model.now.streams.values().map(|stream| stream.id.clone()).collect());
        for id in ids {
            let this = Arc::clone(self);
            let times = self.sim.below(4);
            tokio::spawn(async move {
                let Ok(id) = id.parse::<StreamId>() else { return };
                for _ in 0..times {
                    drop(this.service.retry(&id).await);
                    sleep(this.sim.millis(0, 2_000)).await;
                }
            });
        }
    }

    fn crash_transmitter(self: &Arc<Self>) {
        if !self.service.is_up() {
            return;
        }
        let restore = self.sim.one_in(4);
        if restore {
            *lock(&self.restores) += 1;
        }
        self.service.crash(restore);
        self.restart_transmitter();
    }

    fn close_transmitter(self: &Arc<Self>) {
        if !self.service.is_up() {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if this.service.close().await {
                this.restart_transmitter();
            }
        });
    }

    fn restart_transmitter(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            sleep(this.sim.millis(0, 10_000)).await;
            this.service.start().await;
            for party in &this.parties {
                party.look_after_stream();
            }
        });
    }

    fn crash_receiver(self: &Arc<Self>) {
        let party = self.sim.pick(&self.parties);
        if !party.is_up() {
            return;
        }
        party.crash();
        let wait = self.sim.millis(0, 10_000);
        tokio::spawn(async move {
            sleep(wait).await;
            party.start().await;
        });
    }

    /// All faults stop, everybody is up, and time passes until nothing is left to do.
    async fn come_to_rest(self: &Arc<Self>, is_end: bool) {
        if !self.sim.is_calm() {
            self.sim.calm_down();
            self.network.calm_down();
            self.sim.note("the world calms down");
            // Requests that are under way are answered.
            sleep(Duration::from_secs(30)).await;
        }
        while !self.service.is_up() || self.parties.iter().any(|party| !party.is_up()) {
            sleep(Duration::from_secs(1)).await;
        }
        for party in &self.parties {
            party.look_after_stream();
        }
        self.resume_all().await;
        self.end_orphans().await;
        if self.loses_hints {
            // Hints that were lost are made up for by the next ones.
            for issuer in 0..self.issuers {
                let events: Vec<Event> = (0..8).map(|_| Event::new(&self.sim, self.next_tag())).collect();
                self.sim.model(|model| {
                    model.events.extend(events.iter().map(|event| (event.tag, event.clone())));
                });
                drop(self.service.accept(issuer, None, b"", &events).await);
            }
            let streams: Vec<Stream> = self.sim.model(|model| model.now.streams.values().cloned().collect());
            for stream in streams.iter().filter(|one| one.standing == Standing::Enabled) {
                let Ok(stream_id) = stream.id.parse() else { continue };
                let verify = VerificationRequest { stream_id, state: None };
                drop(self.service.verify(stream.issuer, stream.client, verify).await);
            }
        }
        let began = Instant::now();
        let mut was_done = false;
        while began.elapsed() < PATIENCE && !self.sim.is_broken() {
            let is_done = self.is_done() && (!is_end || self.nothing_is_owed());
            if is_done && was_done {
                return;
            }
            was_done = is_done;
            // What is still on its way to be stored arrives meanwhile.
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn is_done(&self) -> bool {
        self.sim.model(|model| invariants::nothing_is_left(model)).is_ok()
            && self.parties.iter().all(|party| party.waiting() == 0)
    }

    /// Whether the store owes nothing, also of what might have been dropped.
    fn nothing_is_owed(&self) -> bool {
        let streams: Vec<u32> = self.sim.model(|model| model.now.streams.keys().copied().collect());
        streams.into_iter().all(|stream| self.service.backlog(stream).pending == 0)
    }

    /// Streams that were paused or disabled go on.
    async fn resume_all(&self) {
        // Somebody else may be changing one of them at the same moment.
        for _ in 0..100 {
            let streams: Vec<Stream> = self.sim.model(|model| model.now.streams.values().cloned().collect());
            let rests = |one: &&Stream| matches!(one.standing, Standing::Paused | Standing::Disabled);
            let mut resting = streams.iter().filter(rests).peekable();
            if resting.peek().is_none() {
                return;
            }
            for stream in resting {
                let Ok(id) = stream.id.parse::<StreamId>() else { continue };
                drop(self.service.set_status(stream.issuer, stream.client, &id, Status::Enabled).await);
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// A receiver that never heard that it has a stream polls another one. Nobody will ever poll the first, so its
    /// operator deletes it.
    async fn end_orphans(&self) {
        let began = Instant::now();
        while self.parties.iter().any(|party| party.stream().is_none()) {
            sleep(Duration::from_secs(1)).await;
            if self.sim.is_broken() || began.elapsed() > PATIENCE {
                return;
            }
        }
        let streams: Vec<Stream> = self.sim.model(|model| model.now.streams.values().cloned().collect());
        let is_polled = |one: &&Stream| one.endpoint.is_none() && one.standing != Standing::Deleted;
        for stream in streams.iter().filter(is_polled) {
            let party = self.parties.iter().find(|party| party.number == stream.client);
            let pollers = self.pollers.iter().find(|pollers| pollers.number == stream.client);
            let used = party.map(|party| party.stream()).or(pollers.map(|pollers| pollers.stream()));
            if let Ok(id) = stream.id.parse::<StreamId>()
                && used.flatten().is_some_and(|used| used != id)
            {
                drop(self.service.delete(stream.issuer, stream.client, &id).await);
            }
        }
    }

    fn account(&self, is_end: bool) {
        self.sim.judge(|model| invariants::nothing_is_left(model));
        let streams: Vec<u32> = self.sim.model(|model| model.now.streams.keys().copied().collect());
        for stream in streams {
            let backlog = self.service.backlog(stream);
            self.sim.judge(|model| invariants::counted(model, stream, &backlog));
            if is_end && backlog.pending > 0 {
                let seen = format!("s{stream} is owed {} for ever", backlog.pending);
                self.sim.judge(|_| Err(Violation { promise: Promise::EachEndsAndIsCounted, seen }));
            }
        }
        for party in &self.parties {
            let (number, waiting) = (party.number, party.waiting());
            if waiting > 0 {
                let seen = format!("{waiting} SETs wait in the inbox of rp{number} for ever");
                self.sim.judge(|_| Err(Violation { promise: Promise::AcknowledgedIsKept, seen }));
            }
        }
    }

    fn next_tag(&self) -> Tag {
        let mut tags = lock(&self.tags);
        *tags += 1;
        *tags
    }
}

/// Longer than anything takes once nothing goes wrong any more: the longest rest of a stream, and clocks that
/// were set back.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

fn config(chance: &mut StdRng, issuers: usize) -> TransmitterConfig {
    let issuer = |number| IssuerConfig {
        algorithm: Algorithm::EdDsa,
        events: vec!["caep:*".to_owned()],
        ..IssuerConfig::new(issuer(number))
    };
    let mut pick = |list: &[u64]| list[chance.random_range(0..list.len())];
    let size = |size: u64| usize::try_from(size).unwrap_or(1);
    TransmitterConfig {
        pushes_max: size(pick(&[1, 3, 512])),
        pushes_per_stream_max: size(pick(&[1, 3, 64])),
        push_timeout: Duration::from_secs(pick(&[2, 10])),
        retry: RetryPolicy {
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(pick(&[5, 60, 300])),
            age_max: Duration::from_secs(pick(&[300, 7_200, 604_800])),
            failures_max: 3,
        },
        poll_wait_max: Duration::from_secs(pick(&[5, 30])),
        poll_sets_max: size(pick(&[1, 4, 100])),
        poll_visibility: Duration::from_secs(pick(&[20, 60])),
        streams_per_client_max: 3,
        signing_threads: 1,
        ..TransmitterConfig::new((0..issuers).map(issuer).collect())
    }
}

fn limits(config: &TransmitterConfig) -> Limits {
    Limits {
        pushes_max: config.pushes_max,
        pushes_per_stream_max: config.pushes_per_stream_max,
        poll_sets_max: config.poll_sets_max,
        poll_visibility: config.poll_visibility,
        age_max: config.retry.age_max,
        failures_max: config.pushes_per_stream_max.clamp(3, 16),
        delay_min: config.retry.delay_first / 10,
        delay_max: config.retry.delay_max,
        page_max: 256,
        handlers_max: 3,
        acks_max: 5,
    }
}

/// What the transmitter is told, if that is not what the model knows.
fn mutated(config: TransmitterConfig, mutation: Option<Mutation>) -> TransmitterConfig {
    match mutation {
        Some(Mutation::WindowTooWide) => {
            TransmitterConfig { pushes_max: 512, pushes_per_stream_max: 64, ..config }
        }
        Some(Mutation::SuspendNever) => {
            let retry = RetryPolicy { failures_max: u32::MAX, ..config.retry };
            TransmitterConfig { retry, ..config }
        }
        Some(Mutation::PollTooLarge) => TransmitterConfig { poll_sets_max: 100, ..config },
        _ => config,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The event types are two, which the masks above count on.
const _: () = assert!(TYPES.len() == 2, "a mask has a place for each event type");
