//! One transmitter with everything around it.

use crate::network::Network;
use crate::store::TestStore;
use secevent::{Clock, Timestamp, Vocabulary};
use secevent_jose::Algorithm;
use secevent_ssf::poll::{PollLimits, PollRequest, PollResponse};
use secevent_ssf::{
    CreateStream, StreamConfiguration, StreamId, Tolerance, UpdateStatus, VerificationRequest,
};
use secevent_store::Vault;
use secevent_transmitter::{
    AcceptError, Accepted, Client, Incoming, IssuerConfig, Transmitter, TransmitterConfig, TransmitterError,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const ISSUER: &str = "https://tr.example/tenant-a";
pub(crate) const AUDIENCE: &str = "https://rp.example";
pub(crate) const ENDPOINT: &str = "https://rp.example/events";
pub(crate) const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
pub(crate) const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
/// When the tests begin: with a fraction, so that rounding shows.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_900);
/// More time than anything takes; the clock jumps there if all tasks wait for something that never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A clock that goes with tokio's, which stands still while any task has something to do.
pub(crate) struct TestClock {
    began: Instant,
    /// How much it is behind.
    behind: Duration,
    /// By how many seconds it was set since.
    set_by: AtomicI64,
}

impl TestClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), behind: Duration::ZERO, set_by: AtomicI64::new(0) })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let right = START.plus(self.began.elapsed()).minus(self.behind);
        Timestamp::from_micros(right.as_micros() + self.set_by.load(Ordering::Relaxed) * 1_000_000)
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

pub(crate) struct World {
    pub(crate) transmitter: Arc<Transmitter>,
    pub(crate) store: Arc<TestStore>,
    pub(crate) network: Network,
    pub(crate) config: TransmitterConfig,
    clock: Arc<TestClock>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A world with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut TransmitterConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::start(config, TestStore::new(), TestClock::new()).await
    }

    pub(crate) async fn on(store: Arc<TestStore>) -> Self {
        Self::start(config(), store, TestClock::new()).await
    }

    /// The next process on what the store holds now, with a network of its own. This one goes on in its own
    /// world, as a process would that was cut off.
    pub(crate) async fn restarted(&self) -> Self {
        Self::start(self.config.clone(), self.store.restarted(2), Arc::clone(&self.clock)).await
    }

    /// The next process under another configuration.
    pub(crate) async fn restarted_with(&self, config: TransmitterConfig) -> Self {
        Self::start(config, self.store.restarted(2), Arc::clone(&self.clock)).await
    }

    /// The same, by a clock that is set back by so much.
    pub(crate) async fn restarted_earlier(&self, behind: Duration) -> Self {
        let clock = TestClock { began: self.clock.began, behind, set_by: AtomicI64::new(0) };
        Self::start(self.config.clone(), self.store.restarted(2), Arc::new(clock)).await
    }

    /// The next process, with other settings or another vault.
    pub(crate) async fn restarted_under(
        &self,
        change: impl FnOnce(&mut TransmitterConfig),
        vault: Vault,
    ) -> Result<Self, TransmitterError> {
        let mut config = self.config.clone();
        change(&mut config);
        Self::open(config, self.store.restarted(2), Arc::clone(&self.clock), vault).await
    }

    async fn start(config: TransmitterConfig, store: Arc<TestStore>, clock: Arc<TestClock>) -> Self {
        Self::open(config, store, clock, Vault::new(&[7; 32])).await.unwrap()
    }

    async fn open(
        config: TransmitterConfig,
        store: Arc<TestStore>,
        clock: Arc<TestClock>,
        vault: Vault,
    ) -> Result<Self, TransmitterError> {
        let network = Network::new();
        let transmitter = Transmitter::start(
            config.clone(),
            Arc::clone(&store) as Arc<dyn secevent_store::Store>,
            Arc::new(network.clone()),
            Arc::clone(&clock) as Arc<dyn Clock>,
            vault,
            Vocabulary::standard().clone(),
            [42; 32],
        )
        .await?;
        Ok(Self { transmitter, store, network, config, clock })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Somebody sets the clock.
    pub(crate) fn set_clock_by(&self, seconds: i64) {
        self.clock.set_by.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A stream of the client `rp`, after its receiver has seen the verification event.
    pub(crate) async fn push_stream(&self) -> StreamId {
        let id = self.push_stream_unverified().await;
        self.store.all_settled().await;
        id
    }

    /// The same, without waiting for the verification.
    pub(crate) async fn push_stream_unverified(&self) -> StreamId {
        let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": ENDPOINT, "authorization_header": "Bearer abc"});
        self.create(&json!({"delivery": delivery, "events_requested": [SESSION_REVOKED]})).await.stream_id
    }

    /// A stream that is pushed to this path of the receiver, after its receiver has seen the verification event.
    pub(crate) async fn push_stream_to(&self, path: &str) -> StreamId {
        let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": format!("{ENDPOINT}/{path}")});
        self.create(&json!({"delivery": delivery, "events_requested": [SESSION_REVOKED]})).await.stream_id
    }

    /// A stream that is polled, after its receiver has acknowledged the verification event.
    pub(crate) async fn poll_stream(&self) -> StreamId {
        let id = self.create(&json!({"events_requested": [SESSION_REVOKED]})).await.stream_id;
        let verification = self.poll(&id, &json!({"returnImmediately": true})).await;
        self.poll(&id, &json!({"ack": jtis(&verification), "maxEvents": 0, "returnImmediately": true})).await;
        id
    }

    pub(crate) async fn create(&self, request: &Value) -> StreamConfiguration {
        let request = CreateStream::read(request.to_string().as_bytes(), Tolerance::NONE).unwrap();
        self.transmitter.create_stream(ISSUER, &client("rp"), request).await.unwrap()
    }

    pub(crate) async fn set_status(&self, id: &StreamId, status: &str) {
        let request = json!({"stream_id": id.as_str(), "status": status}).to_string();
        let request = UpdateStatus::read(request.as_bytes(), Tolerance::NONE).unwrap();
        self.transmitter.set_stream_status(ISSUER, "rp", request).await.unwrap();
    }

    pub(crate) async fn verify(&self, id: &StreamId, state: &str) {
        let request = VerificationRequest { stream_id: id.clone(), state: Some(state.to_owned()) };
        self.transmitter.verify_stream(ISSUER, "rp", request).await.unwrap();
    }

    pub(crate) async fn delete(&self, id: &StreamId) {
        self.transmitter.delete_stream(ISSUER, "rp", id).await.unwrap();
    }

    /// Accepts an event about a user, which its producer names `txn`.
    pub(crate) async fn emit(&self, txn: &str, user: &str) -> Accepted {
        self.emit_about(txn, &email(user)).await
    }

    pub(crate) async fn emit_about(&self, txn: &str, subject: &Value) -> Accepted {
        let accepted = self.accept(None, &[event(txn, subject)]).await.unwrap();
        accepted.into_iter().next().unwrap()
    }

    pub(crate) async fn accept(
        &self,
        key: Option<(&str, &[u8])>,
        events: &[Incoming],
    ) -> Result<Vec<Accepted>, AcceptError> {
        self.transmitter.accept(ISSUER, "producer", key, events).await
    }

    pub(crate) async fn poll(&self, id: &StreamId, request: &Value) -> PollResponse {
        poll(&self.transmitter, id, request).await
    }

    /// Polls beside the test.
    pub(crate) fn spawn_poll(&self, id: &StreamId, request: Value) -> tokio::task::JoinHandle<PollResponse> {
        let (transmitter, id) = (Arc::clone(&self.transmitter), id.clone());
        tokio::spawn(async move { poll(&transmitter, &id, &request).await })
    }
}

fn config() -> TransmitterConfig {
    let issuer = IssuerConfig { algorithm: Algorithm::EdDsa, ..IssuerConfig::new(ISSUER.parse().unwrap()) };
    TransmitterConfig { signing_threads: 1, ..TransmitterConfig::new(vec![issuer]) }
}

async fn poll(transmitter: &Transmitter, id: &StreamId, request: &Value) -> PollResponse {
    let request = PollRequest::read(request.to_string().as_bytes(), PollLimits::default()).unwrap();
    let answer = transmitter.poll("rp", id, &request).await.unwrap();
    // What was acknowledged is stored beside.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    PollResponse::read(&answer, secevent::json::Limits::BODY).unwrap()
}

pub(crate) fn client(id: &str) -> Client {
    Client { id: id.to_owned(), audience: AUDIENCE.into() }
}

pub(crate) fn email(user: &str) -> Value {
    json!({"format": "email", "email": format!("{user}@example.com")})
}

pub(crate) fn event(txn: &str, subject: &Value) -> Incoming {
    read(&json!({"type": "caep:session-revoked", "subject": subject, "txn": txn}))
}

pub(crate) fn read(event: &Value) -> Incoming {
    Incoming::read(event.to_string().as_bytes(), Vocabulary::standard()).unwrap()
}

pub(crate) fn claims_of(token: &str) -> Value {
    let compact = secevent_jose::Compact::parse(token).unwrap();
    let payload = token.split('.').nth(1).unwrap();
    assert_eq!(compact.header().typ(), Some("secevent+jwt"));
    serde_json::from_slice(&base64url(payload)).unwrap()
}

/// Small enough to do without a dependency.
fn base64url(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextets = text.bytes().map(|byte| ALPHABET.iter().position(|known| *known == byte).unwrap());
    let (mut bits, mut count, mut bytes) = (0_usize, 0, Vec::new());
    for sextet in sextets {
        (bits, count) = (bits << 6 | sextet, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

pub(crate) fn jtis(response: &PollResponse) -> Vec<&str> {
    response.sets.iter().map(|(jti, _)| jti.as_str()).collect()
}

/// The producers' names of the SETs in a poll's answer.
pub(crate) fn txns(response: &PollResponse) -> Vec<String> {
    response.sets.iter().map(|(_, token)| claims_of(token)["txn"].as_str().unwrap().to_owned()).collect()
}

/// Where each value is in a list.
pub(crate) fn places(list: &[String]) -> BTreeMap<&str, usize> {
    list.iter().enumerate().map(|(place, value)| (value.as_str(), place)).collect()
}
