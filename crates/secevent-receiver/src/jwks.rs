//! The keys of one party, fetched when they are needed and kept while they are good.

mod freshness;
mod schedule;

use crate::discovery::Discovery;
use crate::source::{Peer, Source};
use crate::transmitter::get;
use freshness::fresh_for;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use schedule::{Cause, FetchedKeys, LastFetch, Standing};
use secevent::Clock;
use secevent_jose::{Algorithms, Compact, IssuerKeys, JwkSet, TypRule, VerifyError};
use secevent_ssf::{BoxFuture, Endpoint, Transport};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

/// The keys are not available at the moment. That is not the token's fault, and it passes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys are unavailable: {reason}")]
pub struct KeysUnavailable {
    reason: Arc<str>,
    /// When to try again at the earliest: sooner, nothing has changed.
    pub retry_after: Duration,
}

impl KeysUnavailable {
    fn new(reason: impl Into<Arc<str>>, retry_after: Duration) -> Self {
        Self { reason: reason.into(), retry_after }
    }
}

/// Why a token is not known to be signed by a key of its party.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// It is not, by keys that were fetched after the token came or that leave no doubt. This is final.
    #[error(transparent)]
    Refused(#[from] VerifyError),
    /// It is not by the keys at hand. The party may have replaced a key without giving it a new `kid`, and the keys may
    /// not be fetched again yet. Where a refusal is final, it should wait.
    #[error("{error}, by keys that may be out of date")]
    Doubtful {
        /// What is wrong by the keys at hand.
        error: VerifyError,
        /// When the keys may be fetched again.
        retry_after: Duration,
    },
    /// It may be: there are no keys, or its key may be new and the keys may not be fetched again yet.
    #[error(transparent)]
    Unavailable(#[from] KeysUnavailable),
}

/// How often the keys of a party were fetched when something arrived. What was fetched after that knows the key of a
/// token that came with it, if the party has published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(u64);

/// Whether the keys of a party come as they should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// The last fetch failed.
    pub is_failing: bool,
    /// How long the keys at hand are past the time that their party gave them. They are used until
    /// [`JwksCache::STALE_MAX`].
    pub stale_for: Duration,
}

/// The keys of one party: a transmitter, say, or an authorization server.
///
/// They are fetched from the `jwks_uri` of its metadata, or from a given place, and kept for as long as RFC 9111 allows a
/// private cache, within [`JwksCache::AGE_MIN`] and [`JwksCache::AGE_MAX`].
///
/// - Nobody waits longer than one fetch, which takes [`JwksCache::FETCH_MAX`] at most. All who wait share the same
///   fetch, and at most [`JwksCache::WAITING_MAX`] wait.
/// - Keys past their time are still used while others are fetched behind, and as long as that fails: until
///   [`JwksCache::STALE_MAX`]. If nobody asked for [`JwksCache::STALE_UNASKED_MAX`] after their time, a fetch is tried
///   first.
/// - A token whose key is not there, or whose signature does not match, has the keys fetched again before it is refused.
///   That happens at most once in [`JwksCache::COOL_DOWN`], so that tokens of strangers cannot turn us into a nuisance.
///   In between there is no final verdict: [`NotVerified`] says when there can be one.
/// - A set without a usable key is a failed fetch. After a failure the next fetch waits for
///   [`JwksCache::FAILURE_PAUSE`].
///
/// All of these times are monotonic (SEM-30): they hold while the wall clock is set.
pub struct JwksCache {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    whose: String,
    place: Place,
    algorithms: Algorithms,
    state: Mutex<State>,
    /// How many fetches were begun; changed under the lock of the state.
    begun: AtomicU64,
    waiting: Semaphore,
}

/// Finds where keys are, when they are wanted: an error says why not.
pub type Locate = dyn Fn() -> BoxFuture<'static, Result<Endpoint, String>> + Send + Sync;

/// Where keys are.
enum Place {
    /// There.
    At(Endpoint),
    /// Where a transmitter's metadata says.
    Metadata(Box<Peer>),
    /// Where somebody finds out.
    Found(Box<Locate>),
}

#[derive(Default)]
struct State {
    fetched: Option<FetchedKeys>,
    /// Where the metadata said that the keys are.
    located: Option<Endpoint>,
    last: Option<LastFetch>,
    running: Option<Running>,
}

/// A fetch that is running. The semaphore has no permits and is closed at the end of the fetch, which wakes the
/// waiters in the order in which they came.
#[derive(Clone)]
struct Running(Arc<Semaphore>);

/// Closes the semaphore however the fetch ends.
struct Ends(Arc<Semaphore>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What there is besides the keys at hand.
enum Newer {
    /// These are newer.
    Keys(FetchedKeys),
    /// Nothing: the keys at hand were fetched after the token came.
    Nothing,
}

impl JwksCache {
    /// How long keys are kept at least.
    pub const AGE_MIN: Duration = Duration::from_secs(60);
    /// How long keys are kept at most.
    pub const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
    /// How long keys are kept that come without a word about it.
    pub const AGE_DEFAULT: Duration = Duration::from_secs(3600);
    /// How long keys are used beyond their time while newer ones cannot be fetched.
    pub const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
    /// How long beyond their time keys are used before a fetch was tried. Later, callers wait for the fetch: a party
    /// from which nothing came for hours may have withdrawn a key.
    pub const STALE_UNASKED_MAX: Duration = Duration::from_secs(3600);
    /// How long after a token had the keys fetched the next one cannot do so.
    pub const COOL_DOWN: Duration = Duration::from_secs(30);
    /// The same after keys that were fetched because of their age: rotations often follow a start.
    pub const COOL_DOWN_FIRST: Duration = Duration::from_secs(5);
    /// How long the next fetch waits after the end of one that failed.
    pub const FAILURE_PAUSE: Duration = Duration::from_secs(5);
    /// How long one fetch may take, metadata included.
    pub const FETCH_MAX: Duration = Duration::from_secs(10);
    /// How many callers may wait for a fetch. Whoever comes beyond gets [`KeysUnavailable`] at once.
    pub const WAITING_MAX: usize = 256;

    /// The keys of this source, none of them fetched yet.
    pub fn new(source: &Source, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        let place = match &source.keys_at {
            Some(endpoint) => Place::At(endpoint.clone()),
            None => Place::Metadata(Box::new(source.peer.clone())),
        };
        Self::of(source.peer.issuer.to_string(), place, source.algorithms, transport, clock)
    }

    /// The keys that `whose` publishes at this endpoint.
    pub fn at(
        whose: impl Into<String>,
        endpoint: Endpoint,
        algorithms: Algorithms,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::of(whose.into(), Place::At(endpoint), algorithms, transport, clock)
    }

    /// The keys that `whose` publishes where `locate` finds them. It is asked again when they are not there any more.
    pub fn located_by(
        whose: impl Into<String>,
        locate: Box<Locate>,
        algorithms: Algorithms,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::of(whose.into(), Place::Found(locate), algorithms, transport, clock)
    }

    fn of(
        whose: String,
        place: Place,
        algorithms: Algorithms,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let waiting = Semaphore::new(Self::WAITING_MAX);
        let (state, begun) = (Mutex::default(), AtomicU64::new(0));
        Self { transport, clock, whose, place, algorithms, state, begun, waiting }
    }

    /// Notes that something arrives now, for [`JwksCache::verify_since`].
    pub fn arrival(&self) -> Arrival {
        Arrival(self.begun.load(Ordering::Acquire))
    }

    /// Checks type, algorithm, key and signature of a token that has just arrived. Where the keys at hand do not
    /// settle it, they are fetched again if that may be.
    pub async fn verify(self: &Arc<Self>, token: &Compact<'_>, typ: TypRule) -> Result<(), NotVerified> {
        self.verify_since(token, typ, self.arrival()).await
    }

    /// The same for a token that arrived some time ago, with others: one fetch after that settles all of them.
    pub async fn verify_since(
        self: &Arc<Self>,
        token: &Compact<'_>,
        typ: TypRule,
        arrival: Arrival,
    ) -> Result<(), NotVerified> {
        let mut known = self.usable().await?;
        loop {
            let Err(error) = known.keys.verify(token, typ) else { return Ok(()) };
            let doubt = Doubt::about(&error);
            if doubt == Doubt::None {
                return Err(error.into());
            }
            match self.newer(&known, arrival).await {
                Ok(Newer::Keys(newer)) => known = newer,
                Ok(Newer::Nothing) => return Err(error.into()),
                Err(KeysUnavailable { retry_after, .. }) if doubt == Doubt::Replaced => {
                    return Err(NotVerified::Doubtful { error, retry_after });
                }
                Err(unavailable) => return Err(unavailable.into()),
            }
        }
    }

    /// The keys. They are fetched if there are none that may be used.
    pub async fn keys(self: &Arc<Self>) -> Result<Arc<IssuerKeys>, KeysUnavailable> {
        self.usable().await.map(|fetched| fetched.keys)
    }

    /// Whether the keys come as they should.
    pub fn figures(&self) -> KeyFigures {
        let (state, now) = (self.state(), self.clock.elapsed());
        let stale_for = state.fetched.as_ref().and_then(|fetched| fetched.stale_for(now));
        KeyFigures { is_failing: state.has_failed(), stale_for: stale_for.unwrap_or_default() }
    }

    async fn usable(self: &Arc<Self>) -> Result<FetchedKeys, KeysUnavailable> {
        let running = {
            let (mut state, now) = (self.state(), self.clock.elapsed());
            if let Some(fetched) = state.fetched.clone() {
                match fetched.standing(now, state.has_failed()) {
                    Standing::Fresh => return Ok(fetched),
                    Standing::Stale => {
                        // Whether one is begun or has to wait: these keys do until then.
                        let _ = self.join_or_begin(&mut state, Cause::Age, now);
                        return Ok(fetched);
                    }
                    Standing::Late | Standing::Expired => {}
                }
            }
            self.join_or_begin(&mut state, Cause::Age, now)
        };
        let waited = match running {
            Ok(running) => self.wait_for(running).await,
            Err(unavailable) => Err(unavailable),
        };
        let (state, now) = (self.state(), self.clock.elapsed());
        let may_be_used = |fetched: &&FetchedKeys| fetched.standing(now, true) != Standing::Expired;
        match state.fetched.as_ref().filter(may_be_used) {
            Some(fetched) => Ok(fetched.clone()),
            None => Err(waited.err().unwrap_or_else(|| state.unavailable(now))),
        }
    }

    /// Newer keys than `known`, which do not settle a token that came at `arrival`.
    async fn newer(
        self: &Arc<Self>,
        known: &FetchedKeys,
        arrival: Arrival,
    ) -> Result<Newer, KeysUnavailable> {
        let newer = |state: &State| {
            state.fetched.as_ref().filter(|fetched| fetched.number > known.number).cloned().map(Newer::Keys)
        };
        let running = {
            let (mut state, now) = (self.state(), self.clock.elapsed());
            if let Some(newer) = newer(&state) {
                return Ok(newer);
            }
            if known.number > arrival.0 {
                return Ok(Newer::Nothing);
            }
            self.join_or_begin(&mut state, Cause::Token, now)?
        };
        self.wait_for(running).await?;
        let state = self.state();
        newer(&state).ok_or_else(|| state.unavailable(self.clock.elapsed()))
    }

    /// The fetch that is running, or one that begins now if that may be. It goes on when all callers are gone: a
    /// stranger who hangs up must not keep the keys from the others.
    fn join_or_begin(
        self: &Arc<Self>,
        state: &mut State,
        cause: Cause,
        now: Duration,
    ) -> Result<Running, KeysUnavailable> {
        if let Some(running) = state.running.as_ref().filter(|running| running.is_alive()) {
            return Ok(running.clone());
        }
        if let Some(last) = &state.last
            && let Some(wait) = last.wait(cause, now)
        {
            return Err(last.unavailable(wait));
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let running = Running(Arc::new(Semaphore::new(0)));
        let ends = Ends(Arc::clone(&running.0));
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = match timeout(Self::FETCH_MAX, this.fetch(cause)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(format!("no key set came within {:?}", Self::FETCH_MAX)),
            };
            this.keep(fetched, number, cause);
            drop(ends);
        });
        state.running = Some(running.clone());
        Ok(running)
    }

    async fn wait_for(&self, running: Running) -> Result<(), KeysUnavailable> {
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(KeysUnavailable::new("too many callers wait for them", Self::FAILURE_PAUSE));
        };
        // There are no permits: the error is the end of the fetch.
        let _ = running.0.acquire().await;
        Ok(())
    }

    fn keep(&self, fetched: Result<(IssuerKeys, Duration), String>, number: u64, cause: Cause) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        state.running = None;
        let error = match fetched {
            Ok((keys, fresh_for)) => {
                info!(issuer = %self.whose, keys = keys.keys().keys().len(), "Fetched the keys of a peer");
                state.fetched = Some(FetchedKeys { keys: Arc::new(keys), number, at: now, fresh_for });
                None
            }
            Err(error) => {
                // Perhaps they have moved.
                state.located = None;
                let stale = state.fetched.as_ref().and_then(|fetched| fetched.stale_for(now));
                match stale {
                    Some(stale) => {
                        let usable_seconds = Self::STALE_MAX.saturating_sub(stale).as_secs();
                        warn!(
                            issuer = %self.whose,
                            error,
                            stale_seconds = stale.as_secs(),
                            usable_seconds,
                            "Key fetch failed, using stale keys"
                        );
                    }
                    None => warn!(issuer = %self.whose, error, "Key fetch failed"),
                }
                Some(Arc::from(error))
            }
        };
        state.last = Some(LastFetch { ended: now, cause, error });
    }

    async fn fetch(&self, cause: Cause) -> Result<(IssuerKeys, Duration), String> {
        let endpoint = self.locate().await?;
        let mut request = get(endpoint.uri().clone());
        if cause == Cause::Token {
            // The copy of a cache on the way may be older than the token.
            request.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        let response = self.transport.send(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("the key endpoint answered {}", response.status()));
        }
        let keys = JwkSet::published(response.body()).map_err(|error| error.to_string())?;
        let keys = IssuerKeys::new(self.whose.as_str(), keys).allow_only(self.algorithms);
        Ok((keys, fresh_for(response.headers(), self.clock.now())))
    }

    async fn locate(&self) -> Result<Endpoint, String> {
        let located = self.state().located.clone();
        let endpoint = match (&self.place, located) {
            (Place::At(endpoint), _) => return Ok(endpoint.clone()),
            (_, Some(endpoint)) => return Ok(endpoint),
            (Place::Metadata(peer), None) => {
                let discovery = Discovery::of(peer, &*self.transport).await;
                let metadata = discovery.map_err(|error| error.to_string())?.metadata;
                metadata.jwks_uri.ok_or("the transmitter's metadata names no jwks_uri")?
            }
            (Place::Found(locate), None) => locate().await?,
        };
        self.state().located = Some(endpoint.clone());
        Ok(endpoint)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for JwksCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksCache").field("whose", &self.whose).finish_non_exhaustive()
    }
}

impl State {
    fn has_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.error.is_some())
    }

    /// Why there are no keys after a fetch.
    fn unavailable(&self, now: Duration) -> KeysUnavailable {
        match &self.last {
            Some(last) => last.unavailable(last.wait(Cause::Age, now).unwrap_or_default()),
            None => KeysUnavailable::new("the fetch was broken off", JwksCache::FAILURE_PAUSE),
        }
    }
}

impl Running {
    /// Whether it is still running: also false if it ended badly, or with its runtime.
    fn is_alive(&self) -> bool {
        !self.0.is_closed()
    }
}

/// What may be behind a failed check, besides a wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing: no other keys would make it right.
    None,
    /// The key may be new.
    Missing,
    /// The key may have been replaced under its name, or have had none.
    Replaced,
}

impl Doubt {
    fn about(error: &VerifyError) -> Self {
        match error {
            VerifyError::UnknownKey { .. } => Self::Missing,
            VerifyError::BadSignature
            | VerifyError::KeyAlgorithm { .. }
            | VerifyError::UnusableKey { .. } => Self::Replaced,
            _ => Self::None,
        }
    }
}
