//! A production receiver of a run, with the application behind it.

use crate::events::TYPES;
use crate::invariants;
use crate::network::{Network, ReceiverTransport};
use crate::service::{events_requested, issuer};
use crate::sim::{Life, Sim, SimClock, never};
use crate::store::{Disk, Owner, SimStore};
use secevent::Set;
use secevent_receiver::{
    HandleError, Handler, HandlingSettings, PollSettings, Ports, Receiver, ReceiverConfig, RetryPolicy,
    Source,
};
use secevent_ssf::{BoxFuture, DeliveryRequest, StreamId};
use secevent_store::Epoch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What the receivers of a run are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) is_push: bool,
    pub(crate) issuer: usize,
    pub(crate) kinds: [bool; TYPES.len()],
    /// Whether it knows beforehand by which name the transmitter means it.
    pub(crate) knows_its_name: bool,
    pub(crate) handlers_max: usize,
    pub(crate) read_ahead_max: usize,
    pub(crate) poll_sets_max: u64,
    pub(crate) acks_max: usize,
}

/// The process of one receiver.
pub(crate) struct Party {
    sim: Arc<Sim>,
    clock: Arc<SimClock>,
    network: Arc<Network>,
    pub(crate) number: usize,
    habits: Habits,
    state: Mutex<State>,
    /// Rings when it has to see to its stream.
    astray: Arc<Notify>,
    /// The stream that it has found to be its own.
    stream: Arc<Mutex<Option<StreamId>>>,
}

struct State {
    disk: Arc<Disk>,
    life: Option<Arc<Life>>,
    receiver: Option<Arc<Receiver>>,
    lives: u32,
}

/// What we call the transmitter.
const SOURCE: &str = "tr";
/// A delay within one tick of the timer: whatever chance production code draws for it, the wait is the same.
const ONE_TICK: RetryPolicy =
    RetryPolicy { delay_first: Duration::from_millis(1), delay_max: Duration::from_millis(1) };

pub(crate) fn push_url(receiver: usize, door: u64) -> String {
    format!("https://rp{receiver}.example/receive/{door}")
}

pub(crate) fn push_delivery(receiver: usize, door: u64) -> DeliveryRequest {
    let authorization = secevent_ssf::delivery::authorization("Bearer push-secret").ok();
    DeliveryRequest::push(push_url(receiver, door).parse().expect("it is a URL"), authorization)
}

impl Party {
    pub(crate) fn new(
        sim: &Arc<Sim>,
        clock: &Arc<SimClock>,
        network: &Arc<Network>,
        number: usize,
        habits: Habits,
    ) -> Arc<Self> {
        let disk = Disk::new(Epoch(1));
        Arc::new(Self {
            sim: Arc::clone(sim),
            clock: Arc::clone(clock),
            network: Arc::clone(network),
            number,
            habits,
            state: Mutex::new(State { disk, life: None, receiver: None, lives: 0 }),
            astray: Arc::new(Notify::new()),
            stream: Arc::default(),
        })
    }

    /// Starts the process, again and again until it comes up.
    pub(crate) async fn start(&self) {
        loop {
            let (disk, life) = {
                let mut state = self.state();
                state.lives += 1;
                (Arc::clone(&state.disk), Life::new(state.lives))
            };
            self.sim.model(|model| model.receivers[self.number].life = life.number);
            match Receiver::start(self.config(), self.ports(&disk, &life), self.handler(&life)).await {
                Ok(receiver) => {
                    self.sim.note(format!("rp{} starts its life {}", self.number, life.number));
                    let receiver = Arc::new(receiver);
                    if let Some(endpoint) = receiver.push_endpoint(SOURCE) {
                        self.network.open(self.number, endpoint, &life);
                    }
                    self.subscribe(&receiver, &life);
                    let mut state = self.state();
                    (state.life, state.receiver) = (Some(life), Some(receiver));
                    return;
                }
                Err(_) => {
                    self.sim.note(format!("rp{} does not start", self.number));
                    life.end();
                    tokio::time::sleep(self.sim.millis(100, 2_000)).await;
                }
            }
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state().life.is_some()
    }

    /// Ends the process at once.
    pub(crate) fn crash(&self) {
        let mut state = self.state();
        let Some(life) = state.life.take() else { return };
        life.end();
        state.receiver = None;
        let (disk, _) = state.disk.crashed(&self.sim, Epoch(1));
        state.disk = disk;
        drop(state);
        self.sim.note(format!("rp{} crashes", self.number));
        self.sim.model(|model| model.receivers[self.number].working.clear());
    }

    /// Its stream may be gone, or be another one: it looks after it as it does at each start.
    pub(crate) fn look_after_stream(&self) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.astray.notify_one();
    }

    /// It wants no events any more, and then it does again.
    pub(crate) async fn leave_and_return(&self) {
        let (Some(receiver), Some(life)) = ({
            let state = self.state();
            (state.receiver.clone(), state.life.clone())
        }) else {
            return;
        };
        if let Some(left) = life.during(receiver.unsubscribe(SOURCE)).await {
            self.sim.note(format!("rp{} unsubscribes: {}", self.number, left.is_ok()));
        }
        self.look_after_stream();
    }

    /// The stream that it uses; none while it is looking after it.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many SETs wait for their handler.
    pub(crate) fn waiting(&self) -> usize {
        self.state().disk.waiting()
    }

    /// Subscribes at the start and whenever it is told that something may be wrong.
    fn subscribe(&self, receiver: &Arc<Receiver>, life: &Arc<Life>) {
        let (sim, number) = (Arc::clone(&self.sim), self.number);
        let (receiver, life, astray) = (Arc::clone(receiver), Arc::clone(life), Arc::clone(&self.astray));
        let stream = Arc::clone(&self.stream);
        tokio::spawn(async move {
            let subscribing = async {
                loop {
                    match receiver.subscribe(SOURCE).await {
                        Ok(subscription) => {
                            sim.note(format!("rp{number} is subscribed"));
                            let id = subscription.configuration.stream_id;
                            *stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                            astray.notified().await;
                        }
                        Err(_) => {
                            sim.note(format!("rp{number} could not subscribe"));
                            tokio::time::sleep(sim.millis(1_000, 20_000)).await;
                        }
                    }
                }
            };
            Box::pin(life.during(subscribing)).await.unwrap_or(());
        });
    }

    fn config(&self) -> ReceiverConfig {
        let habits = self.habits;
        let delivery = if habits.is_push { push_delivery(self.number, 0) } else { DeliveryRequest::poll() };
        let mut source = Source::new(SOURCE, issuer(habits.issuer), delivery);
        source.events_requested = events_requested(habits.kinds);
        // The two clocks of a run go astray by more than this allows by default.
        source.clock_skew_max = Duration::from_secs(24 * 3600);
        if habits.knows_its_name {
            source.audiences = vec![format!("https://rp{}.example", self.number)];
        }
        ReceiverConfig {
            sources: vec![source],
            poll: PollSettings {
                sets_max: habits.poll_sets_max,
                acks_max: habits.acks_max,
                retry: ONE_TICK,
                ..PollSettings::default()
            },
            handling: HandlingSettings {
                concurrency_max: habits.handlers_max,
                read_ahead_max: habits.read_ahead_max,
                retry: ONE_TICK,
                ..HandlingSettings::default()
            },
            ..ReceiverConfig::default()
        }
    }

    fn ports(&self, disk: &Arc<Disk>, life: &Arc<Life>) -> Ports {
        let store = SimStore::new(&self.sim, life, Owner::Receiver(self.number), disk, false);
        let transport = ReceiverTransport::new(&self.network, self.number, life);
        let (inbox, documents) = (store.clone(), store);
        Ports { transport: Arc::new(transport), inbox, documents, clock: self.clock.clone() }
    }

    fn handler(&self, life: &Arc<Life>) -> Arc<Application> {
        Arc::new(Application {
            sim: Arc::clone(&self.sim),
            life: Arc::clone(life),
            receiver: self.number,
            failures: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An application that takes its time and fails, and whose effects are counted.
struct Application {
    sim: Arc<Sim>,
    life: Arc<Life>,
    receiver: usize,
    failures: Mutex<BTreeMap<String, u32>>,
}

impl Application {
    /// Fewer than after which a SET goes to the dead letters.
    const FAILURES_MAX: u32 = 5;

    async fn apply(&self, jti: &str) -> Result<(), HandleError> {
        if self.life.is_over() {
            return never().await;
        }
        self.sim.judge(|model| invariants::handling(model, self.receiver, jti));
        let _at_work = AtWork { sim: &self.sim, life: &self.life, receiver: self.receiver, jti };
        let may_fail = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = failures.entry(jti.to_owned()).or_default();
            let fails = *failed < Self::FAILURES_MAX && self.sim.fault(6);
            *failed += u32::from(fails);
            fails
        };
        let took = match self.sim.below(20) {
            // Longer than it may take, so that it is broken off.
            0 if may_fail => self.sim.millis(40_000, 60_000),
            0 if !self.sim.is_calm() => self.sim.millis(100, 10_000),
            1..=5 => self.sim.millis(1, 100),
            _ => Duration::ZERO,
        };
        if !took.is_zero() {
            tokio::time::sleep(took).await;
        }
        if self.life.is_over() {
            return never().await;
        }
        if may_fail {
            return Err(HandleError::Later("not now".to_owned()));
        }
        if self.sim.fault(40) {
            self.sim.model(|model| model.receivers[self.receiver].dead.insert(jti.to_owned()));
            return Err(HandleError::Never("never".to_owned()));
        }
        self.sim.model(|model| {
            let lives = model.receivers[self.receiver].effects.entry(jti.to_owned()).or_default();
            lives.push(self.life.number);
        });
        Ok(())
    }
}

impl Handler for Application {
    fn handle<'a>(&'a self, set: &'a Set, _: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
        Box::pin(self.apply(set.jti()))
    }
}

struct AtWork<'a> {
    sim: &'a Sim,
    life: &'a Life,
    receiver: usize,
    jti: &'a str,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if !self.life.is_over() {
            self.sim.model(|model| model.receivers[self.receiver].working.remove(self.jti));
        }
    }
}
