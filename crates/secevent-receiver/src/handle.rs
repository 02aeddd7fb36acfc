//! Handing on: what was received and acknowledged goes to the application, in order per subject, as often as
//! it takes (SEM-17).

use crate::counts::Counters;
use crate::intake::Intake;
use crate::retry::RetryPolicy;
use crate::source::Source;
use crate::stopped;
use crate::verification::verification_of;
use secevent::{Set, Span};
use secevent_jose::Compact;
use secevent_ssf::BoxFuture;
use secevent_store::{Inbox, Lanes, StoreError, Stored};
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

/// What an application does with events.
///
/// SETs about one subject come one after the other, in the order in which they arrived; SETs about different
/// subjects come at the same time. A SET is acknowledged to the transmitter before it comes here, so a
/// failure here is never the transmitter's concern (POLL-17): the SET comes again, and finally goes to the
/// dead letters. After a crash a SET may come once more although it was handled.
///
/// ```
/// use secevent::{Set, Span};
/// use secevent::caep::SessionRevoked;
/// use secevent_receiver::{HandleError, Handler, Source};
/// use secevent_ssf::BoxFuture;
///
/// struct EndSessions;
///
/// impl Handler for EndSessions {
///     fn handle<'a>(&'a self, set: &'a Set, _: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
///         Box::pin(async move {
///             let event = set.events().get::<SessionRevoked>();
///             if event.map_err(|error| HandleError::Never(error.to_string()))?.is_some() {
///                 println!("end the sessions of {:?}", set.subject());
///             }
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait Handler: Send + Sync {
    /// Acts on a SET. It returns when the effect is durable, and it can take the same SET twice.
    fn handle<'a>(&'a self, set: &'a Set, source: &'a Source) -> BoxFuture<'a, Result<(), HandleError>>;
}

/// Why a SET was not handled. The texts go to the log: no secrets, no subjects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Not now, perhaps later: it is tried again.
    #[error("not now: {0}")]
    Later(String),
    /// Not now and not later: it goes to the dead letters.
    #[error("never: {0}")]
    Never(String),
}

/// How SETs are handed on.
#[derive(Clone, Copy, Debug)]
pub struct HandlingSettings {
    /// How many SETs are handled at once. Default: 64.
    pub concurrency_max: usize,
    /// How many SETs are held in memory, in work or waiting for their turn. Default: 1 000.
    pub read_ahead_max: usize,
    /// How often a SET is tried before it goes to the dead letters. Default: 10.
    pub attempts_max: u32,
    /// How long a handler may take; what takes longer has failed. Default: 30 s.
    pub time_max: Duration,
    /// How long to wait after a failure.
    pub retry: RetryPolicy,
}

impl Default for HandlingSettings {
    fn default() -> Self {
        Self {
            concurrency_max: 64,
            read_ahead_max: 1_000,
            attempts_max: 10,
            time_max: Duration::from_secs(30),
            retry: RetryPolicy::default(),
        }
    }
}

/// Hands what waits in the inbox to the handler.
pub(crate) struct Dispatcher {
    pub(crate) intakes: HashMap<String, Arc<Intake>>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) settings: HandlingSettings,
    pub(crate) arrived: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// A SET in work.
#[derive(Clone)]
struct Work {
    set: Arc<Set>,
    source: Arc<Source>,
    failures: u32,
}

/// What the inbox is to be told.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Handled(u64),
    Failed { place: u64, dead: bool },
}

impl Outcome {
    /// The place of the SET, if it leaves the inbox.
    fn ended(&self) -> Option<u64> {
        match *self {
            Self::Handled(place) | Self::Failed { place, dead: true } => Some(place),
            Self::Failed { dead: false, .. } => None,
        }
    }
}

/// What the dispatcher has in hand.
#[derive(Default)]
struct Desk {
    lanes: Lanes<u64, Instant, Work>,
    /// The last place that was read.
    read_until: u64,
    /// Whether the inbox is known to hold nothing behind that place.
    is_read: bool,
    running: JoinSet<Result<(), HandleError>>,
    places: HashMap<Id, u64>,
    failures: HashMap<u64, u32>,
    outcomes: Vec<Outcome>,
    /// The places of SETs that are done and whose outcome is not stored yet: the inbox still has them.
    unstored: HashSet<u64>,
    /// Sources that SETs name and that are not configured, so that each is complained of once.
    unknown: HashSet<String>,
}

impl Desk {
    /// A SET is done, and its outcome is to be stored.
    fn ends(&mut self, outcome: Outcome) {
        self.unstored.extend(outcome.ended());
        self.outcomes.push(outcome);
    }
}

/// How many SETs are read at once.
const PAGE_MAX: usize = 256;

/// How long a full lane may stand still before reading goes further past it.
const CROWDED_FOR: Duration = Duration::from_millis(100);

/// How long to wait before asking a store again that failed.
const STORE_PAUSE: Duration = Duration::from_millis(200);

impl Dispatcher {
    pub(crate) async fn run(mut self) {
        let mut desk = Desk::default();
        let mut storing: Option<Storing> = None;
        let mut stop = self.stop.clone();
        loop {
            let store_failed = match self.read_ahead(&mut desk).await {
                Ok(()) => false,
                Err(error) => {
                    warn!(%error, "The inbox could not be read");
                    true
                }
            };
            self.start_what_may(&mut desk);
            if storing.is_none() && !desk.outcomes.is_empty() {
                let outcomes = std::mem::take(&mut desk.outcomes);
                storing = Some(Box::pin(store(Arc::clone(&self.inbox), outcomes)));
            }
            // While all hands are full, a time that has come frees none: only a handler that ends does.
            let has_room = desk.running.len() < self.settings.concurrency_max;
            let due = desk.lanes.next_due().filter(|_| has_room);
            let crowded = desk.lanes.may_look_further();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(done) = desk.running.join_next_with_id() => self.finish(&mut desk, done),
                left = async { storing.as_mut().expect("checked").await }, if storing.is_some() => {
                    storing = None;
                    self.stored(&mut desk, left).await;
                }
                () = self.arrived.notified() => desk.is_read = false,
                () = sleep(CROWDED_FOR), if crowded => desk.lanes.look_further(),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = sleep(STORE_PAUSE), if store_failed => {}
            }
        }
        self.finish_all(desk, storing).await;
    }

    /// Reads the inbox as far as there is room.
    async fn read_ahead(&mut self, desk: &mut Desk) -> Result<(), StoreError> {
        if let Some(left) = desk.lanes.read_again() {
            desk.read_until = desk.read_until.min(left.first.saturating_sub(1));
            desk.is_read = false;
        }
        while !desk.is_read && !desk.lanes.is_crowded() {
            let held = desk.lanes.len() + desk.unstored.len();
            let room = self.settings.read_ahead_max.saturating_sub(held).min(PAGE_MAX);
            if room == 0 {
                return Ok(());
            }
            let page = self.inbox.waiting(desk.read_until, room).await?;
            // Somebody tells us when another one arrives.
            desk.is_read = page.len() < room;
            for stored in page {
                desk.read_until = stored.place;
                self.take_up(desk, stored);
            }
        }
        Ok(())
    }

    /// Decides what is to be done about a SET.
    fn take_up(&self, desk: &mut Desk, stored: Stored) {
        let Stored { place, received, attempts } = stored;
        if desk.unstored.contains(&place) || desk.lanes.get(place).is_some() {
            return;
        }
        let Some(intake) = self.intakes.get(&received.source) else {
            // It stays where it is, in case the source comes back.
            if desk.unknown.len() < PAGE_MAX && desk.unknown.insert(received.source.clone()) {
                warn!(source.id = received.source, "SETs wait in the inbox whose source is not configured");
            }
            return;
        };
        let source = &intake.source;
        let read = Compact::parse_within(&received.token, received.token.len());
        let read = read.ok().and_then(|token| Set::read(token.unverified_payload(), source.profile).ok());
        let Some(set) = read else {
            warn!(
                source.id = source.name,
                jti = received.jti,
                "A stored SET cannot be read under the source's profile"
            );
            self.counters.dead.count();
            desk.ends(Outcome::Failed { place, dead: true });
            return;
        };
        if verification_of(&set).is_some() {
            debug!(source.id = source.name, "A verification event came");
            desk.ends(Outcome::Handled(place));
            return;
        }
        if let Some(objection) = source.objection(&set, &intake.verifier.learned().critical_members) {
            let name = source.name.clone();
            let report = move |count: u64| {
                info!(source.id = name, count, "Further SETs not handed on, not logged one by one");
            };
            if intake.log.ignored.admits(report) {
                info!(source.id = source.name, jti = received.jti, error = %objection, "A SET is not handed on");
            }
            self.counters.ignored.count();
            desk.ends(Outcome::Handled(place));
            return;
        }
        let lanes = lanes_of(&set, source);
        let work = Work { set: Arc::new(set), source: Arc::clone(source), failures: attempts };
        // One subject whose handler is slow does not keep the others from being read.
        desk.lanes.add_or_skip(place, lanes, None, work);
    }

    fn start_what_may(&self, desk: &mut Desk) {
        while desk.running.len() < self.settings.concurrency_max {
            let Some(place) = desk.lanes.take(.., Instant::now()) else { return };
            let work = desk.lanes.get(place).expect("what was taken is held").clone();
            desk.failures.insert(place, work.failures);
            let (handler, time_max) = (Arc::clone(&self.handler), self.settings.time_max);
            let task = desk.running.spawn(async move {
                let handled = timeout(time_max, handler.handle(&work.set, &work.source)).await;
                handled.unwrap_or_else(|_| {
                    Err(HandleError::Later(format!("it took longer than {}", Span(time_max))))
                })
            });
            desk.places.insert(task.id(), place);
        }
    }

    fn finish(&self, desk: &mut Desk, done: Result<(Id, Result<(), HandleError>), tokio::task::JoinError>) {
        let (id, result) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), Err(HandleError::Later("the handler panicked".to_owned()))),
        };
        let place = desk.places.remove(&id).expect("each task has its SET");
        let failures = desk.failures.remove(&place).unwrap_or(0).saturating_add(1);
        let Err(error) = result else {
            self.counters.handled.count();
            desk.lanes.settle(place);
            desk.ends(Outcome::Handled(place));
            return;
        };
        let dead = matches!(error, HandleError::Never(_)) || failures >= self.settings.attempts_max;
        if dead {
            warn!(place, %error, attempt = failures, "A SET could not be handled and goes to the dead letters");
            self.counters.dead.count();
            desk.lanes.settle(place);
            desk.ends(Outcome::Failed { place, dead });
        } else {
            desk.outcomes.push(Outcome::Failed { place, dead });
            let delay = self.settings.retry.delay(failures, None, &mut rand::rng());
            info!(place, %error, attempt = failures, "A SET could not be handled, next try in {}", Span(delay));
            if let Some(work) = desk.lanes.get_mut(place) {
                work.failures = failures;
            }
            desk.lanes.retry(place, Some(Instant::now() + delay));
        }
    }

    async fn stored(&self, desk: &mut Desk, left: Result<(), (StoreError, Vec<Outcome>)>) {
        let left = left.err();
        let waiting = left.iter().flat_map(|(_, left)| left).chain(&desk.outcomes);
        desk.unstored = waiting.filter_map(Outcome::ended).collect();
        if let Some((error, left)) = left {
            warn!(%error, "Outcomes could not be stored, they are kept and tried again");
            desk.outcomes.splice(..0, left);
            sleep(STORE_PAUSE).await;
        }
    }

    /// Lets the handlers in work come to their end, and stores what became of them.
    async fn finish_all(&self, mut desk: Desk, storing: Option<Storing>) {
        while let Some(done) = desk.running.join_next_with_id().await {
            self.finish(&mut desk, done);
        }
        if let Some(storing) = storing
            && let Err((_, left)) = storing.await
        {
            desk.outcomes.splice(..0, left);
        }
        if let Err((error, left)) = store(Arc::clone(&self.inbox), desk.outcomes).await {
            warn!(%error, left = left.len(), "Some SETs were handled and will be handled again after a restart");
        }
    }
}

type Storing = std::pin::Pin<Box<dyn Future<Output = Result<(), (StoreError, Vec<Outcome>)>> + Send>>;

async fn store(inbox: Arc<dyn Inbox>, mut outcomes: Vec<Outcome>) -> Result<(), (StoreError, Vec<Outcome>)> {
    // Failures first: the store counts them, and a SET that failed may since have been handled.
    outcomes.sort_by_key(|outcome| matches!(outcome, Outcome::Handled(_)));
    let failed = outcomes.iter().take_while(|outcome| matches!(outcome, Outcome::Failed { .. })).count();
    for at in 0..failed {
        if let Outcome::Failed { place, dead } = outcomes[at]
            && let Err(error) = inbox.failed(place, dead).await
        {
            return Err((error, outcomes.split_off(at)));
        }
    }
    let handled = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Handled(place) => Some(*place),
        Outcome::Failed { .. } => None,
    });
    let handled: Vec<u64> = handled.collect();
    if handled.is_empty() {
        return Ok(());
    }
    inbox.handled(handled).await.map_err(|error| (error, outcomes.split_off(failed)))
}

/// The lanes of a SET. One without a subject waits for nobody.
fn lanes_of(set: &Set, source: &Source) -> Box<[u64]> {
    let Some(subject) = set.subject() else { return Box::default() };
    let mut lanes: Vec<u64> = subject
        .lanes()
        .iter()
        .map(|key| {
            let mut hasher = DefaultHasher::new();
            (&source.name, key.as_bytes()).hash(&mut hasher);
            hasher.finish()
        })
        .collect();
    // Two keys with one hash are one lane.
    lanes.sort_unstable();
    lanes.dedup();
    lanes.into()
}
