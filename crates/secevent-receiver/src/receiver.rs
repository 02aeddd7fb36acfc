//! The receiver as a whole: its sources, what runs for them, and how a stream comes to be.

use crate::counts::{Counters, Counts};
use crate::credentials::Caller;
use crate::handle::{Dispatcher, Handler, HandlingSettings};
use crate::intake::{Intake, RejectionLog};
use crate::jwks::JwksCache;
use crate::one_at_a_time::OneAtATime;
use crate::poll::{PollSettings, Poller};
use crate::push::{PushEndpoint, Unauthenticated};
use crate::source::Source;
use crate::transmitter::{ClientError, Found, PushCredential, TransmitterClient};
use crate::verification::PendingVerification;
use crate::verify::{Learned, SetVerifier};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use secevent::{Clock, Invalid, Span};
use secevent_ssf::{
    CreateStream, Endpoint, Method, Secret, Status, StreamConfiguration, StreamId, StreamStatus, Transport,
    UpdateStream,
};
use secevent_store::{Documents, ExpiryClock, Inbox, StoreError, Version};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

/// What a receiver is to do.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Where events come from. No two may have one name. Default: nowhere.
    pub sources: Vec<Source>,
    /// How transmitters are polled.
    pub poll: PollSettings,
    /// How SETs are handed on.
    pub handling: HandlingSettings,
    /// How a push without the right `Authorization` is answered. Default: 400.
    pub unauthenticated: Unauthenticated,
    /// How long to wait for the verification event of a new stream. Default: 60 s.
    pub verification_max: Duration,
    /// How long it is remembered which SETs came, so that a repeat is told from a new one. Default: 14 days, twice
    /// as long as transmitters commonly go on offering a SET.
    pub remembered: Duration,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            poll: PollSettings::default(),
            handling: HandlingSettings::default(),
            unauthenticated: Unauthenticated::default(),
            verification_max: Duration::from_secs(60),
            remembered: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

impl ReceiverConfig {
    fn check(&self) -> Result<(), StartError> {
        let bounds = [
            ("poll.sets_max", self.poll.sets_max == 0),
            ("poll.acks_max", self.poll.acks_max == 0),
            ("handling.concurrency_max", self.handling.concurrency_max == 0),
            ("handling.read_ahead_max", self.handling.read_ahead_max == 0),
            ("handling.attempts_max", self.handling.attempts_max == 0),
        ];
        match bounds.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(StartError::Zero(name)),
            None => Ok(()),
        }
    }
}

/// What a receiver needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The way out.
    pub transport: Arc<dyn Transport>,
    /// Where SETs are kept.
    pub inbox: Arc<dyn Inbox>,
    /// Where is kept which streams are ours.
    pub documents: Arc<dyn Documents>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports(..)")
    }
}

/// Why a receiver does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A bound is zero, so that nothing could ever be done.
    #[error("`{0}` must not be zero")]
    Zero(&'static str),
    /// Two sources have one name.
    #[error("two sources are named `{0}`")]
    SameName(String),
    /// What is known of the sources cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no stream, or why it is not known to work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No source has this name.
    #[error("no source is named `{0}`")]
    UnknownSource(String),
    /// The transmitter refused, or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The stream is for somebody else (SSF-94).
    #[error("the stream is not for us: {0}")]
    Audience(#[source] Invalid),
    /// The verification event did not come in time. The stream is left as it is.
    #[error("the verification event did not come within {}", Span(*.0))]
    NotVerified(Duration),
    /// The stream could not be noted down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stream that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What the transmitter says of it.
    pub configuration: StreamConfiguration,
    /// Its status, if the transmitter says it. A stream that is not enabled sends nothing.
    pub status: Option<StreamStatus>,
    /// Event types that were asked for and will not come (SSF-80).
    pub events_missing: Vec<String>,
    /// Whether a verification event came. It did, unless the transmitter has no endpoint to ask at, the stream is not
    /// enabled, or the transmitter was asked too often: then subscribe again later.
    pub is_verified: bool,
}

/// A running receiver.
pub struct Receiver {
    config: ReceiverConfig,
    ports: Ports,
    feeds: HashMap<String, Feed>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    dispatcher: JoinHandle<()>,
    housekeeper: JoinHandle<()>,
}

/// A source and what runs for it.
struct Feed {
    intake: Arc<Intake>,
    transport: Arc<dyn Transport>,
    caller: Arc<Caller>,
    /// Held while a stream is made or ended.
    polling: Mutex<Option<Polling>>,
}

struct Polling {
    endpoint: Endpoint,
    authorization: Option<Secret<HeaderValue>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What is noted down of a stream that is ours.
#[derive(Serialize, Deserialize)]
struct Noted {
    version: u32,
    issuer: String,
    stream_id: String,
    /// A digest of what pushes were asked to carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    push_credential: Option<String>,
    #[serde(flatten)]
    learned: Learned,
}

/// How often what is remembered is looked through.
const HOUSEKEEPING_PERIOD: Duration = Duration::from_secs(60);

/// Lets the inbox forget, in small steps, which SETs came long ago.
///
/// A wall clock that jumps ahead while this runs forgets nothing (SEM-30).
async fn keep_house(ports: Ports, remembered: Duration, mut stop: watch::Receiver<bool>) {
    let mut expiry = ExpiryClock::new(ports.clock.now(), ports.clock.elapsed(), None);
    loop {
        tokio::select! {
            biased;
            () = crate::stopped(&mut stop) => return,
            () = tokio::time::sleep(HOUSEKEEPING_PERIOD) => {}
        }
        loop {
            let now = expiry.read(ports.clock.now(), ports.clock.elapsed()).now;
            match ports.inbox.forget(now.minus(remembered)).await {
                Ok(true) if !*stop.borrow() => {}
                Ok(_) => break,
                Err(error) => {
                    warn!(%error, "The inbox could not be tidied, it is tried again later");
                    break;
                }
            }
        }
    }
}

impl Receiver {
    /// Starts a receiver: from now on pushes are taken, and what waits in the inbox is handled. Streams are
    /// polled once they are [subscribed](Receiver::subscribe) to.
    pub async fn start(
        config: ReceiverConfig,
        ports: Ports,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, StartError> {
        config.check()?;
        let counters = Arc::new(Counters::default());
        let arrived = Arc::new(Notify::new());
        let mut feeds = HashMap::new();
        for source in &config.sources {
            let feed = Feed::new(source.clone(), &ports, &counters, &arrived);
            if let Some((_, noted)) = feed.noted(&*ports.documents).await? {
                feed.intake.verifier.learn(noted.learned);
            }
            if feeds.insert(source.name.clone(), feed).is_some() {
                return Err(StartError::SameName(source.name.clone()));
            }
        }
        let stop = watch::Sender::new(false);
        let dispatcher = Dispatcher {
            intakes: feeds.iter().map(|(name, feed)| (name.clone(), Arc::clone(&feed.intake))).collect(),
            handler,
            inbox: Arc::clone(&ports.inbox),
            settings: config.handling,
            arrived,
            counters: Arc::clone(&counters),
            stop: stop.subscribe(),
        };
        let dispatcher = tokio::spawn(dispatcher.run());
        let housekeeper = tokio::spawn(keep_house(ports.clone(), config.remembered, stop.subscribe()));
        Ok(Self { config, ports, feeds, counters, stop, dispatcher, housekeeper })
    }

    /// The endpoint to which the transmitter of this source pushes.
    pub fn push_endpoint(&self, source: &str) -> Option<PushEndpoint> {
        let feed = self.feeds.get(source)?;
        Some(PushEndpoint::new(Arc::clone(&feed.intake), self.config.unauthenticated))
    }

    /// Makes sure that there is a stream from this source, that it flows, and that it works: finds the
    /// transmitter, creates the stream or takes over the one that is there already, polls it if that is its
    /// way, and waits for a verification event. To be called at each start; doing it twice does no harm, because only
    /// what differs is changed.
    ///
    /// What pushes have to carry is seldom shown by a transmitter (E-19). It is sent with a new stream, with one that is
    /// taken over, and when it is another one than was sent last, of which a digest is kept.
    ///
    /// No subject is added: that is for the application to do, where the transmitter wants it (INTEROP-17).
    pub async fn subscribe(&self, source: &str) -> Result<Subscription, SubscribeError> {
        let feed = self.feed(source)?;
        let mut polling = feed.polling.lock().await;
        let client = feed.client().await?;
        let (configuration, learned) = self.stream(feed, &client).await?;
        feed.intake.verifier.learn(learned);

        let events_missing = events_missing(&feed.intake.source, &configuration);
        if !events_missing.is_empty() {
            warn!(
                source.id = source,
                ?events_missing,
                "The transmitter of `{source}` will not send all that was asked for"
            );
        }
        if configuration.events_delivered.is_empty() {
            warn!(source.id = source, stream.id = %configuration.stream_id, "Stream carries no event types");
        }
        let status = self.status(feed, &client, &configuration.stream_id).await;
        self.poll(feed, &client, &configuration, &mut polling);
        drop(polling);
        // A stream that is paused or disabled sends no verification event (E-14).
        let is_verified = match &status {
            Some(told) if told.status != Status::Enabled => false,
            _ => self.verify(feed, &client, &configuration).await?,
        };
        info!(source.id = source, stream.id = %configuration.stream_id, is_verified, "Subscribed to `{source}`");
        Ok(Subscription { configuration, status, events_missing, is_verified })
    }

    /// Deletes the stream from this source, if there is one.
    pub async fn unsubscribe(&self, source: &str) -> Result<(), SubscribeError> {
        let feed = self.feed(source)?;
        let mut polling = feed.polling.lock().await;
        if let Some(running) = polling.take() {
            running.end().await;
        }
        let documents = &*self.ports.documents;
        let Some((version, noted)) = feed.noted(documents).await? else { return Ok(()) };
        if let Ok(stream_id) = StreamId::foreign(&noted.stream_id) {
            match feed.client().await?.delete(&stream_id).await {
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => info!(source.id = source, stream.id = %stream_id, "Unsubscribed from `{source}`"),
            }
        }
        documents.put(&feed.document(), version, None).await?;
        Ok(())
    }

    /// What became of the SETs since the start.
    pub fn counts(&self) -> Counts {
        let is_failing = |feed: &&Feed| feed.intake.verifier.key_figures().is_failing;
        self.counters.read(self.feeds.values().filter(is_failing).count() as u64)
    }

    /// Stops: acknowledges what is stored, lets the handlers in work come to their end. What waits in the
    /// inbox is handled after the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for feed in self.feeds.values() {
            if let Some(running) = feed.polling.lock().await.take() {
                running.end().await;
            }
        }
        for task in [self.dispatcher, self.housekeeper] {
            if let Err(error) = task.await {
                warn!(%error, "A task of the receiver did not end well");
            }
        }
    }

    fn feed(&self, source: &str) -> Result<&Feed, SubscribeError> {
        self.feeds.get(source).ok_or_else(|| SubscribeError::UnknownSource(source.to_owned()))
    }

    /// The stream that we have, that is there already, or that is made now.
    async fn stream(
        &self,
        feed: &Feed,
        client: &TransmitterClient,
    ) -> Result<(StreamConfiguration, Learned), SubscribeError> {
        let source = &*feed.intake.source;
        let wanted = source.wanted();
        let noted = feed.noted(&*self.ports.documents).await?;
        let ours = noted
            .as_ref()
            .map(|(_, noted)| noted)
            .filter(|noted| noted.issuer == source.peer.issuer.as_str());
        let known = ours.and_then(|noted| Some((StreamId::foreign(&noted.stream_id).ok()?, noted)));
        let existing = match known {
            Some((stream_id, noted)) => {
                // A credential that was sent before is not sent again: each change may cost what is pending.
                let is_sent = noted.push_credential == push_credential(source, &stream_id);
                let credential = if is_sent { PushCredential::Compare } else { PushCredential::Send };
                match client.bring_into_line(stream_id, &wanted, credential).await {
                    Ok(configuration) => Some(Found { configuration, is_new: false }),
                    Err(error) if is_gone(&error) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            None => None,
        };
        let Found { mut configuration, is_new } = match existing {
            Some(found) => found,
            None => self.find_or_create(feed, client, &wanted).await?,
        };
        if is_new {
            match client.read(&configuration.stream_id).await {
                Ok(read) => configuration = read,
                Err(error) => {
                    warn!(
                        source.id = source.name,
                        stream.id = %configuration.stream_id,
                        %error,
                        "New stream could not be read back"
                    );
                }
            }
        }
        let accepted = check_audience(source, &configuration);
        let learned = Learned {
            audiences: configuration.aud.iter().map(str::to_owned).collect(),
            critical_members: client.metadata().critical_subject_members.clone(),
        };
        let noted = match accepted {
            Ok(()) => feed.note(&*self.ports.documents, &configuration, &learned).await.map_err(Into::into),
            Err(breach) => Err(SubscribeError::Audience(breach)),
        };
        if let Err(error) = noted {
            if is_new {
                // Nobody would know of the stream. Why it is not kept matters more than whether this works.
                let _ = client.delete(&configuration.stream_id).await;
            }
            return Err(error);
        }
        Ok((configuration, learned))
    }

    /// A stream that is there without a note of it, or a new one. A pushed stream is known by its URL. A polled one has
    /// nothing of ours: it is taken only if it is exactly what is asked for, because two receivers that poll one stream
    /// each lose what the other gets.
    async fn find_or_create(
        &self,
        feed: &Feed,
        client: &TransmitterClient,
        wanted: &CreateStream,
    ) -> Result<Found, SubscribeError> {
        let mut others = Vec::new();
        for other in self.feeds.values().filter(|other| !std::ptr::eq(*other, feed)) {
            let same_peer = other.intake.source.peer.issuer == feed.intake.source.peer.issuer;
            if let Some((_, noted)) = other.noted(&*self.ports.documents).await?.filter(|_| same_peer) {
                others.push(noted.stream_id);
            }
        }
        let is_free = |stream_id: &StreamId| others.iter().all(|other| other != stream_id.as_str());
        let is_pushed = feed.intake.source.delivery.method() == Method::Push;
        let is_ours = |stream: &StreamConfiguration, changes: &UpdateStream| {
            let same_name = wanted.description.is_some() || stream.description.is_none();
            is_pushed || (same_name && changes.is_empty())
        };
        Ok(client.find_or_create(wanted, PushCredential::Send, is_free, is_ours).await?)
    }

    /// The status of the stream, if the transmitter says it.
    async fn status(
        &self,
        feed: &Feed,
        client: &TransmitterClient,
        stream_id: &StreamId,
    ) -> Option<StreamStatus> {
        let source = &feed.intake.source.name;
        match client.status(stream_id).await {
            Ok(told) => {
                if told.status != Status::Enabled {
                    let (status, reason) = (told.status, &told.reason);
                    warn!(source.id = source, stream.id = %stream_id, %status, error = ?reason, "Stream is not enabled");
                }
                Some(told)
            }
            Err(ClientError::NoEndpoint(_)) => None,
            Err(error) => {
                warn!(source.id = source, stream.id = %stream_id, %error, "Stream status could not be read");
                None
            }
        }
    }

    /// Polls the stream if that is its way, and only where it is to be polled.
    fn poll(
        &self,
        feed: &Feed,
        client: &TransmitterClient,
        configuration: &StreamConfiguration,
        polling: &mut Option<Polling>,
    ) {
        let endpoint = &configuration.delivery.endpoint_url;
        let authorization = client.poll_authorization(configuration).map(|secret| secret.expose().clone());
        let is_polled = configuration.delivery.method == Method::Poll;
        let is_right = |running: &Polling| {
            is_polled
                && running.endpoint == *endpoint
                && running.authorization.as_ref().map(Secret::expose) == authorization.as_ref()
                && !running.task.is_finished()
        };
        if polling.as_ref().is_some_and(is_right) {
            return;
        }
        if let Some(old) = polling.take() {
            old.stop.send_replace(true);
        }
        if !is_polled {
            return;
        }
        let stop = watch::Sender::new(false);
        let poller = Poller {
            intake: Arc::clone(&feed.intake),
            caller: Arc::clone(&feed.caller),
            endpoint: endpoint.clone(),
            authorization: authorization.clone().map(Secret::new),
            settings: self.config.poll,
            stop: stop.subscribe(),
        };
        *polling = Some(Polling {
            endpoint: endpoint.clone(),
            authorization: authorization.map(Secret::new),
            stop,
            task: tokio::spawn(poller.run()),
        });
    }

    /// Asks for a verification event and waits for it. Others may come before it (SSF-161). Where the transmitter says
    /// that it was asked too often (SSF-82), as after a quick restart, it is asked again when it wants to be, within the
    /// bound of waiting.
    async fn verify(
        &self,
        feed: &Feed,
        client: &TransmitterClient,
        configuration: &StreamConfiguration,
    ) -> Result<bool, SubscribeError> {
        let (source, stream_id) = (&feed.intake.source.name, &configuration.stream_id);
        let verification_max = self.config.verification_max;
        let end = Instant::now() + verification_max;
        let interval = configuration.min_verification_interval_seconds.map(Duration::from_secs);
        let mut refusals = 0;
        let came = loop {
            let (state, came) = feed.intake.pending.expect();
            let error = match client.verify(stream_id, Some(&state)).await {
                Ok(()) => break came,
                Err(ClientError::NoEndpoint(_)) => {
                    warn!(source.id = source, "The transmitter offers no verification of streams");
                    return Ok(false);
                }
                Err(error) => error,
            };
            if error.status() != Some(StatusCode::TOO_MANY_REQUESTS) {
                return Err(error.into());
            }
            refusals += 1;
            let own = self.config.poll.retry.delay(refusals, None, &mut rand::rng());
            let wait = error.retry_after().or(interval).map_or(own, |asked| asked.max(own));
            let Some(at) = Instant::now().checked_add(wait).filter(|at| *at < end) else {
                warn!(source.id = source, stream.id = %stream_id, %error, "Stream not verified yet");
                return Ok(false);
            };
            info!(source.id = source, stream.id = %stream_id, wait_ms = wait.as_millis(), "Verification asked too often, will retry");
            sleep_until(at).await;
        };
        // The event has as long to come as if it had been asked for at once.
        match timeout(verification_max, came).await {
            Ok(Ok(())) => Ok(true),
            _ => Err(SubscribeError::NotVerified(verification_max)),
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("sources", &self.feeds.keys()).finish_non_exhaustive()
    }
}

impl Feed {
    fn new(source: Source, ports: &Ports, counters: &Arc<Counters>, arrived: &Arc<Notify>) -> Self {
        let transport = &match source.peer.one_request_at_a_time {
            true => Arc::new(OneAtATime::new(Arc::clone(&ports.transport))) as Arc<dyn Transport>,
            false => Arc::clone(&ports.transport),
        };
        let clock = &ports.clock;
        let caller = Caller::new(Arc::clone(transport), Arc::clone(clock), source.peer.credentials.clone());
        let keys = Arc::new(JwksCache::new(&source, Arc::clone(transport), Arc::clone(clock)));
        let source = Arc::new(source);
        let intake = Intake {
            verifier: SetVerifier::new(Arc::clone(&source), keys, Arc::clone(clock)),
            source,
            pending: PendingVerification::default(),
            inbox: Arc::clone(&ports.inbox),
            clock: Arc::clone(clock),
            counters: Arc::clone(counters),
            log: RejectionLog::default(),
            arrived: Arc::clone(arrived),
        };
        Self {
            intake: Arc::new(intake),
            transport: Arc::clone(transport),
            caller: Arc::new(caller),
            polling: Mutex::default(),
        }
    }

    async fn client(&self) -> Result<TransmitterClient, ClientError> {
        let caller = Arc::clone(&self.caller);
        TransmitterClient::discover_with(&self.intake.source.peer, &*self.transport, caller).await
    }

    fn document(&self) -> String {
        format!("receiver/{}", self.intake.source.name)
    }

    async fn noted(&self, documents: &dyn Documents) -> Result<Option<(Version, Noted)>, StoreError> {
        let name = self.document();
        let Some(document) = documents.get(&name).await? else { return Ok(None) };
        let corrupt =
            |problem: &dyn fmt::Display| StoreError::Corrupt(format!("document `{name}`: {problem}"));
        let noted: Noted = serde_json::from_slice(&document.body).map_err(|error| corrupt(&error))?;
        match noted.version {
            NOTED_VERSION => Ok(Some((document.version, noted))),
            other => Err(corrupt(&format!("version {other} is of a later release"))),
        }
    }

    async fn note(
        &self,
        documents: &dyn Documents,
        configuration: &StreamConfiguration,
        learned: &Learned,
    ) -> Result<(), StoreError> {
        let noted = Noted {
            version: NOTED_VERSION,
            issuer: configuration.iss.as_str().to_owned(),
            stream_id: configuration.stream_id.as_str().to_owned(),
            push_credential: push_credential(&self.intake.source, &configuration.stream_id),
            learned: learned.clone(),
        };
        let body = Bytes::from(serde_json::to_vec(&noted).expect("strings are always JSON"));
        let name = self.document();
        let known = documents.get(&name).await?;
        if known.as_ref().is_some_and(|known| known.body == body) {
            return Ok(());
        }
        let expected = known.map_or(Version::default(), |known| known.version);
        documents.put(&name, expected, Some(body)).await.map(drop)
    }
}

const NOTED_VERSION: u32 = 1;

impl Polling {
    async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            warn!(%error, "A poller did not end well");
        }
    }
}

/// The stream is not there (any more).
fn is_gone(error: &ClientError) -> bool {
    matches!(error.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE))
}

/// A digest of what pushes have to carry, by which it is known again. It differs from stream to stream.
fn push_credential(source: &Source, stream_id: &StreamId) -> Option<String> {
    let authorization = source.push_authorization()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, stream_id.as_str().as_bytes());
    Some(URL_SAFE_NO_PAD.encode(hmac::sign(&key, authorization.expose().as_bytes())))
}

fn check_audience(source: &Source, configuration: &StreamConfiguration) -> Result<(), Invalid> {
    let expected = &source.audiences;
    if expected.is_empty() || expected.iter().any(|name| configuration.aud.contains(name)) {
        return Ok(());
    }
    Err(Invalid::new("aud", "SSF-94", format!("must name {}", expected.join(" or "))))
}

fn events_missing(source: &Source, configuration: &StreamConfiguration) -> Vec<String> {
    let is_missing = |event: &&String| !configuration.events_delivered.contains(event);
    source.events_requested.iter().filter(is_missing).cloned().collect()
}
