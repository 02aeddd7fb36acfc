//! A receiver and what is around it.

use crate::transmitter::{AUDIENCE, FakeTransmitter, ISSUER, SESSION_REVOKED, push_authorization};
use bytes::Bytes;
use http::{Request, Response};
use secevent::{Clock, Set, Timestamp};
use secevent_receiver::{HandleError, Handler, Ports, PushEndpoint, Receiver, ReceiverConfig, Source};
use secevent_ssf::{BoxFuture, DeliveryRequest, push};
use secevent_store::{Epoch, Inbox, MemoryStore, Receipt, Received, StoreError, Stored};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const START_SECONDS: i64 = 1_900_000_000;

/// The clock of paused time. Its wall clock can be set.
pub(crate) struct PausedClock {
    began: Instant,
    /// How far the wall clock is ahead of the right time, in seconds.
    ahead_seconds: AtomicI64,
}

impl PausedClock {
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), ahead_seconds: AtomicI64::new(0) })
    }

    /// Sets the wall clock so far ahead, or back.
    pub(crate) fn step(&self, seconds: i64) {
        self.ahead_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let start = START_SECONDS + self.ahead_seconds.load(Ordering::SeqCst);
        Timestamp::from_seconds(start).plus(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A handler that notes what it gets, and does as it is told.
pub(crate) struct Recorder {
    pub(crate) handled: Mutex<Vec<String>>,
    /// The results of the next calls; after these all is well.
    pub(crate) results: Mutex<VecDeque<Result<(), HandleError>>>,
    /// How many calls may be finished.
    pub(crate) gate: Semaphore,
}

impl Recorder {
    fn new() -> Arc<Self> {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS / 2);
        Arc::new(Self { handled: Mutex::default(), results: Mutex::default(), gate })
    }

    pub(crate) fn handled(&self) -> Vec<String> {
        self.handled.lock().unwrap().clone()
    }

    /// Lets no call finish from now on.
    pub(crate) fn block(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    pub(crate) fn fail(&self, results: impl IntoIterator<Item = HandleError>) {
        self.results.lock().unwrap().extend(results.into_iter().map(Err));
    }
}

impl Handler for Recorder {
    fn handle<'a>(&'a self, set: &'a Set, _: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
        Box::pin(async move {
            self.handled.lock().unwrap().push(set.jti().to_owned());
            self.gate.acquire().await.expect("it is never closed").forget();
            self.results.lock().unwrap().pop_front().unwrap_or(Ok(()))
        })
    }
}

/// An inbox that fails when it is told to.
pub(crate) struct ShakyInbox {
    store: Arc<MemoryStore>,
    failures: AtomicUsize,
}

impl ShakyInbox {
    /// The next writes fail.
    pub(crate) fn fail(&self, writes: usize) {
        self.failures.store(writes, Ordering::SeqCst);
    }

    pub(crate) fn failures_left(&self) -> usize {
        self.failures.load(Ordering::SeqCst)
    }

    fn write<'a, T>(
        &'a self,
        write: impl FnOnce(&'a MemoryStore) -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let fails = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Box::pin(async { Err(StoreError::Unavailable("no space left".to_owned())) });
        }
        write(&self.store)
    }
}

type StoreFuture<'a, T> = secevent_store::BoxFuture<'a, Result<T, StoreError>>;

impl Inbox for ShakyInbox {
    fn receive(&self, sets: Vec<Received>) -> StoreFuture<'_, Vec<Receipt>> {
        self.write(|store| store.receive(sets))
    }

    fn waiting(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        self.store.waiting(after, limit)
    }

    fn handled(&self, places: Vec<u64>) -> StoreFuture<'_, ()> {
        self.write(|store| store.handled(places))
    }

    fn failed(&self, place: u64, dead: bool) -> StoreFuture<'_, ()> {
        self.write(|store| store.failed(place, dead))
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, bool> {
        self.write(|store| store.forget(before))
    }
}

pub(crate) struct World {
    pub(crate) transmitter: FakeTransmitter,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) inbox: Arc<ShakyInbox>,
    pub(crate) handler: Arc<Recorder>,
    pub(crate) clock: Arc<PausedClock>,
    pub(crate) receiver: Receiver,
}

impl World {
    /// A source that pushes, with keys that are found by metadata.
    pub(crate) async fn pushed() -> Self {
        Self::with(push_source()).await
    }

    /// A source that is polled, and subscribed to.
    pub(crate) async fn polled() -> Self {
        let world = Self::with(poll_source()).await;
        world.receiver.subscribe("idp").await.unwrap();
        world.until(|| world.transmitter.state().acked.contains(&"verification-1".to_owned())).await;
        world.transmitter.state().acked.clear();
        world
    }

    pub(crate) async fn with(source: Source) -> Self {
        Self::configured(ReceiverConfig { sources: vec![source], ..ReceiverConfig::default() }).await
    }

    pub(crate) async fn configured(config: ReceiverConfig) -> Self {
        let store = Arc::new(MemoryStore::new(Epoch(1)));
        Self::over(store, FakeTransmitter::new(), Recorder::new(), config).await
    }

    pub(crate) async fn over(
        store: Arc<MemoryStore>,
        transmitter: FakeTransmitter,
        handler: Arc<Recorder>,
        config: ReceiverConfig,
    ) -> Self {
        let clock = PausedClock::start();
        let inbox = Arc::new(ShakyInbox { store: store.clone(), failures: AtomicUsize::new(0) });
        let ports = Ports {
            transport: Arc::new(transmitter.clone()),
            inbox: inbox.clone(),
            documents: store.clone(),
            clock: clock.clone(),
        };
        let receiver = Receiver::start(config, ports, handler.clone()).await.unwrap();
        Self { transmitter, store, inbox, handler, clock, receiver }
    }

    /// The process dies and another one starts with what is durable.
    pub(crate) async fn crashed(self, config: ReceiverConfig) -> Self {
        let store = Arc::new(self.store.restarted(Epoch(2)));
        Self::over(store, self.transmitter, Recorder::new(), config).await
    }

    pub(crate) fn endpoint(&self) -> PushEndpoint {
        self.receiver.push_endpoint("idp").unwrap()
    }

    /// Pushes a token as a transmitter does.
    pub(crate) async fn push(&self, token: impl Into<Bytes>) -> Response<Bytes> {
        self.endpoint().handle(push_request(token)).await
    }

    /// Pushes a good SET.
    pub(crate) async fn push_set(&self, jti: &str) -> Response<Bytes> {
        self.push(self.transmitter.sign(&claims(jti))).await
    }

    /// Has a good SET ready to be polled.
    pub(crate) fn queue_set(&self, jti: &str) {
        self.transmitter.queue(jti, self.transmitter.sign(&claims(jti)));
    }

    /// Waits until it is so, an hour of paused time at most.
    pub(crate) async fn until(&self, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(3600), wait).await.expect("it did not come to pass");
    }

    pub(crate) async fn until_handled(&self, jtis: &[&str]) {
        self.until(|| self.handler.handled() == jtis).await;
    }
}

pub(crate) fn push_source() -> Source {
    let endpoint = "https://rp.example/receive/idp".parse().unwrap();
    let delivery = DeliveryRequest::push(endpoint, Some(push_authorization()));
    let mut source = Source::new("idp", ISSUER.parse().unwrap(), delivery);
    source.audiences = vec![AUDIENCE.to_owned()];
    source
}

pub(crate) fn poll_source() -> Source {
    let mut source = Source::new("idp", ISSUER.parse().unwrap(), DeliveryRequest::poll());
    source.events_requested = vec![SESSION_REVOKED.to_owned()];
    source
}

pub(crate) fn push_request(token: impl Into<Bytes>) -> Request<Bytes> {
    push::request(&"https://rp.example/receive/idp".parse().unwrap(), token, Some(&push_authorization()))
}

/// The claims of a good SET.
pub(crate) fn claims(jti: &str) -> Value {
    json!({
        "iss": ISSUER,
        "jti": jti,
        "iat": START_SECONDS,
        "aud": AUDIENCE,
        "txn": "8675309",
        "sub_id": {"format": "email", "email": "alice@example.com"},
        "events": { SESSION_REVOKED: {"event_timestamp": 1_899_999_999} },
    })
}

/// The `err` of a refusal.
pub(crate) fn err(response: &Response<Bytes>) -> String {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    body["err"].as_str().unwrap_or_default().to_owned()
}
