//! The transmitter: what all its parts share, how it starts and how it ends.

use crate::clients::ClientRules;
use crate::config::TransmitterConfig;
use crate::counts::Counts;
use crate::erase::Erasure;
use crate::expiry_clock::Expiry;
use crate::issuer::{IssuerConfig, IssuerState, in_one_place};
use crate::recover::Replay;
use crate::share::Shares;
use crate::sign::SigningPool;
use crate::stream::{Stream, Target};
use crate::subjects::SubjectIndex;
use crate::table::{Entry, Settings, Table};
use bytes::Bytes;
use secevent::{Clock, Timestamp, Vocabulary};
use secevent_jose::JwkSet;
use secevent_ssf::{Status, Transport, TransportError};
use secevent_store::{
    CommitObserver, Delivery, Document, DropReason, JtiCodec, Keep, Queue, Sequence, Store, StoreError,
    StoreKey, StreamNumber, Unsealable, Vault, Version,
};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Our own trouble.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransmitterError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored secret cannot be opened.
    #[error(transparent)]
    Sealed(#[from] Unsealable),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// No such issuer is configured.
    #[error("the issuer {0} is not configured")]
    UnknownIssuer(String),
}

/// Accepts events, keeps streams, and delivers SETs to them.
///
/// It sees ports alone: a [`Store`] to remember, a [`Transport`] to send, a [`Clock`] to tell the time.
pub struct Transmitter {
    pub(crate) config: TransmitterConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) expiry: Expiry,
    /// What the clock said when this began: the time, and elapsed time.
    began: (Timestamp, Duration),
    pub(crate) vault: Vault,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) codec: JtiCodec,
    pub(crate) table: Table,
    pub(crate) clients: ClientRules,
    pub(crate) subjects: SubjectIndex,
    pub(crate) signing: SigningPool,
    pub(crate) shares: Shares,
    pub(crate) accepted: AtomicU64,
    /// What happened to streams that are gone.
    pub(crate) gone: Counts,
    pub(crate) chance: Mutex<rand::rngs::StdRng>,
    /// Held while a stream is created.
    pub(crate) creating: tokio::sync::Mutex<()>,
    /// How many streams are being driven.
    drivers: watch::Sender<usize>,
    issuers: BTreeMap<String, IssuerState>,
    runtime: Handle,
    /// Whether anything is sent yet.
    has_begun: AtomicBool,
    closing: watch::Sender<bool>,
    this: Weak<Self>,
}

impl Transmitter {
    /// [Opens](Transmitter::open) one, and [begins](Transmitter::begin) at once.
    pub async fn start(
        config: TransmitterConfig,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        vault: Vault,
        vocabulary: Vocabulary,
        seed: [u8; 32],
    ) -> Result<Arc<Self>, TransmitterError> {
        let transmitter = Self::open(config, store, transport, clock, vault, vocabulary, seed).await?;
        transmitter.begin().await?;
        Ok(transmitter)
    }

    /// Opens the issuers' keys, reads the streams, and takes up what is owed to them. Nothing is sent before
    /// [`Transmitter::begin`]: until then it can be said which streams and clients there are.
    ///
    /// `seed` is the source of chance: for identifiers and for jitter.
    pub async fn open(
        config: TransmitterConfig,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        vault: Vault,
        vocabulary: Vocabulary,
        seed: [u8; 32],
    ) -> Result<Arc<Self>, TransmitterError> {
        use rand::SeedableRng as _;
        if let Some((one, other)) = in_one_place(&config.issuers) {
            let problem =
                format!("the issuers {one} and {other} have the same path, and so would their endpoints");
            return Err(TransmitterError::Config(problem));
        }
        let mut chance = rand::rngs::StdRng::from_seed(seed);
        let key = store_key(store.as_ref(), &vault, &mut chance).await?;
        let codec = JtiCodec::new(&key);
        let expiry = Expiry::open(store.as_ref(), clock.as_ref()).await?;
        let began = (clock.now(), clock.elapsed());
        let mut issuers = BTreeMap::new();
        for issuer in &config.issuers {
            let algorithms: Vec<_> = config.client_algorithms.values().copied().collect();
            let keys = (&algorithms[..], config.key_times, expiry.now(clock.as_ref()));
            let state =
                IssuerState::open(issuer.clone(), &vocabulary, keys, (store.as_ref(), &vault)).await?;
            issuers.insert(issuer.url.to_string(), state);
        }
        let transmitter = Arc::new_cyclic(|this| Self {
            shares: Shares::new(config.pushes_max),
            accepted: AtomicU64::new(0),
            gone: Counts::default(),
            signing: SigningPool::new(config.signing_threads),
            table: Table::default(),
            clients: ClientRules::default(),
            subjects: SubjectIndex::new(&key),
            chance: Mutex::new(chance),
            creating: tokio::sync::Mutex::default(),
            drivers: watch::Sender::new(0),
            runtime: Handle::current(),
            has_begun: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            this: Weak::clone(this),
            config,
            store,
            transport,
            clock,
            expiry,
            began,
            vault,
            vocabulary,
            codec,
            issuers,
        });
        if let Err(error) = transmitter.turn_keys().await {
            return Err(TransmitterError::Config(error.to_string()));
        }
        transmitter.read_switches().await?;
        transmitter.read_streams().await?;
        transmitter.read_subjects().await?;
        transmitter.take_up_what_is_owed().await?;
        transmitter.store.observe(Arc::new(Observer(Arc::downgrade(&transmitter))));
        Ok(transmitter)
    }

    /// Begins to send. A transmitter that cannot begin sends nothing.
    pub async fn begin(&self) -> Result<(), TransmitterError> {
        if self.has_begun.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Err(error) = self.go_on().await {
            // What has begun ends.
            self.closing.send_replace(true);
            return Err(error);
        }
        if let Err(error) = self.store_time().await {
            // Housekeeping tries again.
            tracing::warn!(%error, "Time not stored, will retry");
        }
        self.has_begun.store(true, Ordering::SeqCst);
        for entry in self.table.all() {
            // Those to which nothing is owed cost nothing.
            self.wake(&entry);
        }
        self.spawn(keep_house(Weak::clone(&self.this), self.closing.subscribe()));
        Ok(())
    }

    /// Takes up what was under way.
    async fn go_on(&self) -> Result<(), TransmitterError> {
        self.go_on_replaying().await?;
        self.go_on_erasing().await
    }

    /// Stops sending, and waits for what is on its way: each push ends or is given up within its timeout. What
    /// is not settled by then goes out again after the next start.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        for entry in self.table.all() {
            entry.changed.notify_waiters();
        }
        let patience = self.config.push_timeout + Duration::from_secs(1);
        // A driver ends when all that it sent was answered and the answers are stored.
        let mut drivers = self.drivers.subscribe();
        let _ = tokio::time::timeout(patience, drivers.wait_for(|drivers| *drivers == 0)).await;
    }

    /// The issuers that it speaks for.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerConfig> {
        self.issuers.values().map(IssuerState::config)
    }

    /// The public keys of an issuer: what its `jwks_uri` serves.
    pub fn public_keys(&self, issuer: &str) -> Result<JwkSet, TransmitterError> {
        Ok(self.issuer(issuer)?.keys.public())
    }

    /// The event types that it knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn issuer(&self, url: &str) -> Result<&IssuerState, TransmitterError> {
        self.issuers.get(url).ok_or_else(|| TransmitterError::UnknownIssuer(url.to_owned()))
    }

    /// Whether it has begun to send, and does not end.
    pub(crate) fn is_at_work(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst) && !self.is_closing()
    }

    /// The time as it was at the start, and what has elapsed since. What is due in memory (retries, rests, what is hidden
    /// from pollers) goes by it, so that nobody who sets the clock holds it up (SEM-30).
    pub(crate) fn steady_now(&self) -> Timestamp {
        let (at, elapsed) = self.began;
        at.plus(self.clock.elapsed().saturating_sub(elapsed))
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Sees to it that somebody looks at a stream that may have something to send.
    pub(crate) fn wake(&self, entry: &Arc<Entry>) {
        if self.should_be_driven(entry) {
            let (this, entry) = (self.handle(), Arc::clone(entry));
            self.drive_beside(this.drive(entry));
        }
        // A driver or a poller that looks away just now must not miss it, and several pollers may wait.
        entry.changed.notify_waiters();
        entry.changed.notify_one();
    }

    /// Does something beside that has to come to its end before the transmitter is closed.
    pub(crate) fn drive_beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let this = self.handle();
        self.drivers.send_modify(|drivers| *drivers += 1);
        self.spawn(async move {
            work.await;
            this.drivers.send_modify(|drivers| *drivers -= 1);
        });
    }

    async fn read_streams(&self) -> Result<(), TransmitterError> {
        const PAGE: usize = 500;
        let mut after: Option<String> = None;
        loop {
            let documents = self.store.list("stream/", after.as_deref(), PAGE).await?;
            for document in &documents {
                let stream: Stream = serde_json::from_slice(&document.body)
                    .map_err(|error| StoreError::Corrupt(format!("{}: {error}", document.name)))?;
                if let Target::Push { authorization: Some(sealed), .. } = &stream.target {
                    // A master key that is missing is noticed now, and not when there is something to send.
                    self.vault.check(&Stream::authorization_place(&stream.id), sealed)?;
                }
                let settings = self.settings(stream, document.version);
                let entry = self.table.insert(settings, self.config.pushes_per_stream_max);
                self.take_up_activity(&entry);
                entry.switch(self.client_is_on(&entry.settings().stream.client));
            }
            match documents.into_iter().last() {
                Some(last) => after = Some(last.name),
                None => return Ok(()),
            }
        }
    }

    /// Deleting or disabling a stream and dropping what it is owed are two steps: a crash may come between them.
    async fn take_up_what_is_owed(&self) -> Result<(), TransmitterError> {
        let owed = self.store.owing().await?;
        let streams: HashSet<StreamNumber> = owed.iter().map(|owing| owing.stream).collect();
        for entry in self.table.all() {
            if !streams.contains(&entry.settings().stream.number()) {
                entry.outgoing().begin_empty();
            }
        }
        for owing in owed {
            let entry = self.table.by_number(owing.stream);
            match entry.filter(|entry| entry.settings().stream.status != Status::Disabled) {
                Some(entry) => entry.outgoing().begin_with(&owing),
                None => {
                    let is_there = self.table.by_number(owing.stream).is_some();
                    let reason = if is_there { DropReason::Disabled } else { DropReason::Deleted };
                    self.drop_owed(owing.stream, reason).await?;
                }
            }
        }
        for entry in self.table.all() {
            if entry.settings().stream.untold {
                // What was to be said last was not recorded, or was among what is dropped.
                self.tell_status(&entry).await?;
            }
        }
        Ok(())
    }

    /// Does something beside, for as long as this process lives.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// A handle that may be kept by work that runs beside.
    pub(crate) fn handle(&self) -> Arc<Self> {
        self.this.upgrade().expect("whoever calls holds the transmitter")
    }

    /// A stream's settings with what follows from them now. A stream whose receiver asks for no event types in
    /// particular carries all that its client may have; one that asks for none (E-11) carries none. An issuer that is
    /// gone from configuration delivers nothing.
    pub(crate) fn settings(&self, stream: Stream, version: Version) -> Settings {
        let supported = self.issuers.get(&stream.issuer).map_or(&[][..], IssuerState::events_supported);
        let asked = |event: &&String| {
            stream.events_requested.as_ref().is_none_or(|asked| asked.contains(event))
                && self.client_may_have(&stream.client, event)
        };
        let events_delivered = supported.iter().filter(asked).cloned().collect();
        let of_client = self.config.client_polls.get(&stream.client).copied().unwrap_or_default();
        let polls = stream.polls.or(of_client).or_of(&self.config);
        Settings::new(stream, version, events_delivered, polls)
    }
}

/// What the store tells of its commits. It does not keep the transmitter alive, which keeps the store.
struct Observer(Weak<Transmitter>);

impl CommitObserver for Observer {
    fn committed(&self, deliveries: Vec<(Delivery, Option<Sequence>)>) {
        let Some(transmitter) = self.0.upgrade() else { return };
        let mut woken: Vec<Arc<Entry>> = Vec::new();
        let now = transmitter.steady_now();
        for (mut delivery, previous) in deliveries {
            let number = delivery.stream;
            let entry = transmitter.table.by_number(number).map(|entry| (entry.settings(), entry));
            let Some((settings, entry)) = entry.filter(|(settings, _)| settings.keep(delivery.queue)) else {
                // It was matched when there still was such a stream.
                transmitter.drop_orphans(number);
                continue;
            };
            if settings.is_batched() {
                delivery.lanes = [].into();
            }
            entry.outgoing().hand_over(delivery, previous, now);
            tracing::trace!(target: "secevent::step", step = "hand-over");
            if !woken.iter().any(|known| Arc::ptr_eq(known, &entry)) {
                woken.push(entry);
            }
        }
        for entry in woken {
            transmitter.wake(&entry);
        }
    }
}

impl Transmitter {
    /// Hints of commits may be lost. What nobody was told of is found here at the latest.
    async fn look_for_what_was_missed(&self) -> Result<(), StoreError> {
        for owing in self.store.owing().await? {
            let Some(entry) = self.table.by_number(owing.stream) else {
                self.drop_orphans(owing.stream);
                continue;
            };
            let missed = entry.outgoing().is_idle();
            if missed {
                entry.outgoing().look();
                self.wake(&entry);
            }
        }
        Ok(())
    }

    /// The upkeep of each stream by itself: what fails for one is no reason to leave out the others.
    async fn keep_streams(&self) {
        /// If the store is gone, it fails for all: these many failures are logged, the others are counted.
        const LOGGED_MAX: usize = 10;
        let mut failures: usize = 0;
        let mut report = |entry: &Entry, task: &str, result: Result<(), String>| {
            if let Err(error) = result {
                failures += 1;
                if failures <= LOGGED_MAX {
                    tracing::warn!(stream.id = %entry.settings().stream.id, task, %error, "Stream upkeep failed, will retry");
                }
            }
        };
        for entry in self.table.all() {
            let alive = self.look_for_life(&entry).await;
            report(&entry, "activity", alive.map_err(|error| error.to_string()));
            let forgotten = self.forget_removed_subjects(&entry).await;
            report(&entry, "removed subjects", forgotten.map_err(|error| error.to_string()));
            let expired = self.give_up_what_is_too_old(&entry).await;
            report(&entry, "expiry", expired.map_err(|error| error.to_string()));
        }
        if failures > LOGGED_MAX {
            tracing::warn!(streams = failures, "Stream upkeep failed for many streams");
        }
    }

    /// Drops what a stream is owed.
    pub(crate) async fn drop_owed(&self, number: StreamNumber, reason: DropReason) -> Result<(), StoreError> {
        self.store.drop_stream(number, reason, self.clock.now()).await.map(drop)
    }

    fn drop_orphans(&self, number: StreamNumber) {
        let this = self.this.clone();
        self.spawn(async move {
            let Some(this) = this.upgrade() else { return };
            if let Err(error) = this.drop_what_nobody_keeps(number).await {
                tracing::warn!(stream.number = %number, %error, "Orphaned deliveries not dropped, will retry");
            }
        });
    }

    async fn drop_what_nobody_keeps(&self, number: StreamNumber) -> Result<(), TransmitterError> {
        let Some(entry) = self.table.by_number(number) else {
            self.drop_owed(number, DropReason::Deleted).await?;
            return Ok(());
        };
        let _alone = entry.changing.lock().await;
        if entry.keeps(Queue::Regular) {
            // It is enabled again, which dropped what it was owed before; this is new.
            return Ok(());
        }
        self.drop_owed(number, DropReason::Disabled).await?;
        if entry.keeps(Queue::Control) {
            // What it was to be told last went with the rest.
            entry.outgoing().clear();
            self.tell_status(&entry).await?;
        }
        Ok(())
    }
}

/// Gives up what is too old, and lets the store forget, in small steps, what is older than what is kept.
async fn keep_house(transmitter: Weak<Transmitter>, mut closing: watch::Receiver<bool>) {
    loop {
        let Some(period) = transmitter.upgrade().map(|transmitter| transmitter.config.housekeeping) else {
            return;
        };
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = tokio::time::sleep(period) => {}
        }
        let Some(this) = transmitter.upgrade() else { return };
        if let Err(error) = this.store_time().await {
            tracing::warn!(%error, "Time not stored, will retry");
        }
        if let Err(error) = this.look_for_what_was_missed().await {
            tracing::warn!(%error, "What is owed could not be looked at, it is tried again later");
        }
        // Each issuer's failure is logged there.
        let _ = this.turn_keys().await;
        this.keep_streams().await;
        drop(this);
        loop {
            let Some(transmitter) = transmitter.upgrade() else { return };
            let before = transmitter.expiry_now().minus(transmitter.config.audit_kept);
            match transmitter.store.forget_changes(before).await {
                Ok(true) if !transmitter.is_closing() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "The log of changes could not be tidied, it is tried again later");
                    break;
                }
            }
        }
        loop {
            let Some(transmitter) = transmitter.upgrade() else { return };
            let now = transmitter.expiry_now();
            let keep = Keep {
                history: now.minus(transmitter.config.history),
                dead: now.minus(transmitter.config.dead_kept),
            };
            match transmitter.store.trim(keep).await {
                Ok(true) if !transmitter.is_closing() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "The store could not be tidied, it is tried again later");
                    break;
                }
            }
        }
    }
}

/// The key under which identifiers are made: drawn once, when the store is new.
async fn store_key(
    store: &dyn Store,
    vault: &Vault,
    chance: &mut rand::rngs::StdRng,
) -> Result<StoreKey, TransmitterError> {
    use rand::RngExt as _;
    const NAME: &str = Transmitter::STORE_KEY;
    loop {
        if let Some(document) = store.get(NAME).await? {
            let damaged = || StoreError::Corrupt(format!("{NAME} is not a sealed key"));
            let sealed = std::str::from_utf8(&document.body).map_err(|_| damaged())?;
            let key = vault.open(NAME, sealed)?.try_into().map_err(|_| damaged())?;
            return Ok(StoreKey::new(key));
        }
        let key: [u8; 16] = chance.random();
        match store.put(NAME, Version(0), Some(Bytes::from(vault.seal(NAME, &key)))).await {
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Transmitter {
    /// The document that every store has once a transmitter has started on it. It is sealed: whoever can open it has the
    /// right master key.
    pub const STORE_KEY: &str = "store-key";

    /// Whether a start can read this document of a store, as far as that can be said without the master key.
    pub fn check_document(document: &Document) -> Result<(), StoreError> {
        let kind = document.name.split_once('/').map_or("", |(kind, _)| kind);
        match kind {
            "stream" => serde_json::from_slice::<Stream>(&document.body)
                .map(drop)
                .map_err(|error| StoreError::Corrupt(format!("{}: {error}", document.name))),
            "replay" => Replay::read(document).map(drop),
            "erasure" => Erasure::read(document).map(drop),
            _ => Ok(()),
        }
    }

    pub(crate) fn random_id(&self) -> String {
        use rand::RngExt as _;
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{:032x}", chance.random::<u128>())
    }
}

impl fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmitter").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A transport for a transmitter whose streams are all polled: it sends nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> secevent_ssf::BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async { Err(TransportError::Unreachable("this transmitter does not push".to_owned())) })
    }
}
