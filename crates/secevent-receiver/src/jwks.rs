//! The keys of one party, fetched when they are needed and kept while they are good.

use crate::discovery::Discovery;
use crate::source::{Peer, Source};
use crate::transmitter::get;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use secevent::{Clock, Timestamp};
use secevent_jose::{Algorithms, IssuerKeys, JwkSet};
use secevent_ssf::{BoxFuture, Endpoint, Transport};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

/// The keys cannot be had at the moment: that is nobody's fault and will pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys cannot be had: {0}")]
pub struct KeysUnavailable(String);

/// The keys of one party: a transmitter, say, or an authorization server.
///
/// They are fetched from the `jwks_uri` of its metadata, or from where is said otherwise, and kept for as long
/// as its `Cache-Control` says, within bounds. A token with a `kid` that is not there has them fetched anew,
/// but not more often than once in [`JwksCache::COOL_DOWN`], so that tokens of strangers cannot make us a
/// nuisance. While one caller fetches, the others wait for him. Old keys stay in use until new ones have come.
pub struct JwksCache {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    whose: String,
    place: Place,
    algorithms: Algorithms,
    state: Mutex<State>,
    /// Held by the one who fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
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
    keys: Option<Arc<IssuerKeys>>,
    fresh_until: Timestamp,
    /// Where the metadata said that the keys are.
    located: Option<Endpoint>,
    last_try: Option<Try>,
}

#[derive(Clone, Copy)]
struct Try {
    at: Timestamp,
    failed: bool,
}

impl JwksCache {
    /// How long keys are kept at least.
    pub const AGE_MIN: Duration = Duration::from_secs(60);
    /// How long keys are kept at most.
    pub const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
    /// How long keys are kept that come without a word about it.
    pub const AGE_DEFAULT: Duration = Duration::from_secs(3600);
    /// How long an unknown `kid` does not have the keys fetched again after the last time.
    pub const COOL_DOWN: Duration = Duration::from_secs(30);
    /// How long to wait after keys could not be fetched.
    pub const FAILURE_PAUSE: Duration = Duration::from_secs(5);

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
        Self { transport, clock, whose, place, algorithms, state: Mutex::default(), fetching: Arc::default() }
    }

    /// The keys, fetched if there are none or if they are out of date.
    pub async fn keys(self: &Arc<Self>) -> Result<Arc<IssuerKeys>, KeysUnavailable> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let old = self.state().keys.clone();
        match (self.fetch(turn, Duration::ZERO).await, old) {
            (Fetch::New(keys), _) | (_, Some(keys)) => Ok(keys),
            (Fetch::Failed(error), None) => Err(error),
            (Fetch::TooSoon, None) => Err(KeysUnavailable("the last try is a moment ago".to_owned())),
        }
    }

    /// Newer keys than `known`, in which a `kid` is missing. None if these are the newest: fetched just now,
    /// or too short a time ago to ask again.
    pub async fn keys_after(
        self: &Arc<Self>,
        known: &Arc<IssuerKeys>,
    ) -> Result<Option<Arc<IssuerKeys>>, KeysUnavailable> {
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        let last_failed = {
            let state = self.state();
            if let Some(keys) = state.keys.as_ref().filter(|keys| !Arc::ptr_eq(keys, known)) {
                return Ok(Some(Arc::clone(keys)));
            }
            state.last_try.is_some_and(|last| last.failed)
        };
        match self.fetch(turn, Self::COOL_DOWN).await {
            Fetch::New(keys) => Ok(Some(keys)),
            Fetch::Failed(error) => Err(error),
            // Whether the key exists is not known while the keys cannot be had.
            Fetch::TooSoon if last_failed => Err(KeysUnavailable("the last try failed".to_owned())),
            Fetch::TooSoon => Ok(None),
        }
    }

    fn fresh(&self) -> Option<Arc<IssuerKeys>> {
        let state = self.state();
        state.keys.clone().filter(|_| self.clock.now() < state.fresh_until)
    }

    /// Fetches the keys, unless they were fetched less than `pause` ago or could not be fetched a moment ago.
    /// It goes on when the caller is dropped: a stranger who hangs up must not keep us from having keys.
    async fn fetch(self: &Arc<Self>, turn: OwnedMutexGuard<()>, pause: Duration) -> Fetch {
        let now = self.clock.now();
        if let Some(last) = self.state().last_try {
            let pause = if last.failed { Self::FAILURE_PAUSE } else { pause };
            if now < last.at.plus(pause) {
                return Fetch::TooSoon;
            }
        }
        let this = Arc::clone(self);
        let fetch = tokio::spawn(async move {
            let fetched = this.fetch_now().await;
            let fetched = this.keep(fetched, now);
            drop(turn);
            fetched
        });
        fetch.await.unwrap_or_else(|error| Fetch::Failed(KeysUnavailable(error.to_string())))
    }

    fn keep(&self, fetched: Result<(IssuerKeys, Duration), KeysUnavailable>, now: Timestamp) -> Fetch {
        let mut state = self.state();
        state.last_try = Some(Try { at: now, failed: fetched.is_err() });
        match fetched {
            Ok((keys, age)) => {
                let keys = Arc::new(keys);
                info!(issuer = %self.whose, keys = keys.keys().keys().len(), "Fetched the keys of a peer");
                state.fresh_until = now.plus(age);
                state.keys = Some(Arc::clone(&keys));
                Fetch::New(keys)
            }
            Err(error) => {
                warn!(issuer = %self.whose, %error, "The keys of a peer could not be fetched");
                // Perhaps they have moved.
                state.located = None;
                Fetch::Failed(error)
            }
        }
    }

    async fn fetch_now(&self) -> Result<(IssuerKeys, Duration), KeysUnavailable> {
        let unavailable = |error: &dyn fmt::Display| KeysUnavailable(error.to_string());
        let endpoint = self.locate().await?;
        let response =
            self.transport.send(get(endpoint.uri().clone())).await.map_err(|error| unavailable(&error))?;
        if !response.status().is_success() {
            return Err(unavailable(&format!("the key endpoint answered {}", response.status())));
        }
        let body: &Bytes = response.body();
        let keys = JwkSet::from_json(body).map_err(|error| unavailable(&error))?;
        let keys = IssuerKeys::new(self.whose.as_str(), keys).allow_only(self.algorithms);
        Ok((keys, age(response.headers())))
    }

    async fn locate(&self) -> Result<Endpoint, KeysUnavailable> {
        let located = self.state().located.clone();
        let endpoint = match (&self.place, located) {
            (Place::At(endpoint), _) => return Ok(endpoint.clone()),
            (_, Some(endpoint)) => return Ok(endpoint),
            (Place::Metadata(peer), None) => {
                let discovery = Discovery::of(peer, &*self.transport).await;
                let metadata = discovery.map_err(|error| KeysUnavailable(error.to_string()))?.metadata;
                let no_keys = || KeysUnavailable("the transmitter's metadata names no jwks_uri".to_owned());
                metadata.jwks_uri.ok_or_else(no_keys)?
            }
            (Place::Found(locate), None) => locate().await.map_err(KeysUnavailable)?,
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

enum Fetch {
    New(Arc<IssuerKeys>),
    Failed(KeysUnavailable),
    TooSoon,
}

/// How long an answer may be kept.
fn age(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut age = JwksCache::AGE_DEFAULT;
    for directive in directives.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return JwksCache::AGE_MIN,
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse();
                age = seconds.map_or(age, Duration::from_secs);
            }
            _ => {}
        }
    }
    age.clamp(JwksCache::AGE_MIN, JwksCache::AGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_keys_are_kept() {
        for (header, seconds) in [
            ("", 3600),
            ("max-age=600", 600),
            ("public, Max-Age=600", 600),
            ("max-age=\"600\"", 600),
            ("max-age=0", 60),
            ("max-age=5", 60),
            ("no-store, max-age=600", 60),
            ("no-cache", 60),
            ("max-age=99999999", 86_400),
            ("max-age=99999999999999999999999", 3600),
            ("max-age=-1", 3600),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, header.parse().unwrap())]);
            assert_eq!(age(&headers), Duration::from_secs(seconds), "{header}");
        }
        assert_eq!(age(&HeaderMap::new()), JwksCache::AGE_DEFAULT);
    }
}
