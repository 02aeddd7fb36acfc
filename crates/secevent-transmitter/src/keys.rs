//! The keys of issuers: where they are kept, who signs with which, and how they change (SEM-4, SEM-21).
//!
//! Every change is stored before it is published, and published before anything is signed with it.

use crate::issuer::IssuerConfig;
use crate::sign::is_slow;
use crate::stream::{Stream, Target};
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::{Profile, Timestamp};
use secevent_jose::{
    Algorithm, Jwk, JwkSet, KeyRing, KeyRingError, NextKey, RotationTimes, Signer, SigningKey, StoredKeyRing,
};
use secevent_store::{Document, Store, StoreError, Vault, Version};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tracing::{info, warn};

/// Why a change of keys is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// No such issuer is configured.
    #[error("the issuer {0} is not configured")]
    NoSuchIssuer(String),
    /// The issuer has no such key.
    #[error("the issuer has no such key")]
    NoSuchKey,
    /// The ring does not take it.
    #[error("{0}")]
    Refused(KeyRingError),
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

/// A key as operators see it: never its private half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// Whose it is.
    pub issuer: String,
    /// Its public half, if it is published.
    pub public: Option<Jwk>,
    /// Its name.
    pub kid: String,
    /// Where it is in its life.
    pub state: KeyState,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is published, and does not sign yet.
    Next {
        /// Since when receivers find it.
        published_at: Timestamp,
        /// When it begins to sign, if that is asked for.
        promote_at: Option<Timestamp>,
    },
    /// It signs.
    Current {
        /// Since when, if that is known.
        since: Option<Timestamp>,
    },
    /// It has signed, and is still published.
    Previous {
        /// Until then.
        retire_at: Timestamp,
    },
    /// It was taken out. What it signed is signed anew.
    Withdrawn,
}

/// The next key of an issuer.
#[derive(Clone, Debug)]
pub enum NewKey {
    /// One that is made here.
    Generate(Algorithm),
    /// One that is brought along.
    Given(SigningKey),
}

/// When a key begins to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateAt {
    /// As soon as it was published long enough.
    Soon,
    /// Then.
    Time(Timestamp),
    /// Now. Receivers that keep the issuer's keys for a while have to look again.
    Now,
}

/// The keys of one issuer at work.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    /// The document that keeps them.
    name: String,
    /// What the issuer signs with unless a client wants something else.
    algorithm: Algorithm,
    now: RwLock<Arc<KeysNow>>,
    /// Held while they are changed.
    changing: tokio::sync::Mutex<()>,
}

/// The keys at one moment.
#[derive(Debug)]
struct KeysNow {
    version: Version,
    ring: KeyRing,
    signers: Vec<(Algorithm, Arc<Signer>)>,
    public: JwkSet,
}

impl IssuerKeys {
    /// Takes the issuer's keys from the store, or makes the first ones and stores them, sealed. Afterwards there is a
    /// key for each of these algorithms, the issuer's own first, and for no other.
    pub(crate) async fn open(
        config: &IssuerConfig,
        algorithms: &[Algorithm],
        times: RotationTimes,
        now: Timestamp,
        (store, vault): (&dyn Store, &Vault),
    ) -> Result<Self, TransmitterError> {
        let name = format!("keys/{}", config.url);
        let (ring, version) = loop {
            if let Some(document) = store.get(&name).await? {
                break (unseal(vault, &document)?, document.version);
            }
            let mut ring = KeyRing::new(generate(config.algorithm).await?);
            ring.count_from(now);
            match store.put(&name, Version(0), Some(seal(vault, &name, &ring).into())).await {
                Ok(version) => break (ring, version),
                // Another node was faster: its keys are the issuer's keys.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let keys = Self {
            name,
            algorithm: config.algorithm,
            now: RwLock::new(Arc::new(KeysNow::new(ring, version))),
            changing: tokio::sync::Mutex::default(),
        };
        keys.fit(config, algorithms, times, now, (store, vault)).await?;
        Ok(keys)
    }

    /// Makes the ring fit to the algorithms that are configured now.
    async fn fit(
        &self,
        config: &IssuerConfig,
        algorithms: &[Algorithm],
        times: RotationTimes,
        now: Timestamp,
        at: (&dyn Store, &Vault),
    ) -> Result<(), TransmitterError> {
        let ring = self.now().ring.clone();
        let has = |algorithm: &Algorithm| {
            ring.all_current().iter().any(|current| current.key().algorithm() == *algorithm)
        };
        let wanted: Vec<Algorithm> = std::iter::once(&config.algorithm).chain(algorithms).copied().collect();
        let mut first = Vec::new();
        for algorithm in wanted.iter().filter(|algorithm| !has(algorithm)) {
            if !first.iter().any(|key: &SigningKey| key.algorithm() == *algorithm) {
                first.push(generate(*algorithm).await?);
            }
        }
        let fitted = self.change(at, |ring| {
            let mut changed = ring.count_from(now);
            for key in &first {
                if !ring.all_current().iter().any(|current| current.key().algorithm() == key.algorithm()) {
                    ring.begin(key.clone(), now)?;
                    changed = true;
                }
            }
            changed |= ring.lead_with(config.algorithm);
            let unused: Vec<Algorithm> = ring
                .all_current()
                .iter()
                .map(|current| current.key().algorithm())
                .filter(|algorithm| !wanted.contains(algorithm))
                .collect();
            for algorithm in unused {
                changed |= ring.end(algorithm, now, times);
            }
            Ok(changed)
        });
        fitted.await.map(drop).map_err(|error| match error {
            KeysError::Ours(error) => error,
            other => TransmitterError::Config(other.to_string()),
        })
    }

    /// What signs with this algorithm, or with the issuer's own.
    pub(crate) fn signer(&self, algorithm: Option<Algorithm>) -> Arc<Signer> {
        let now = self.now();
        let algorithm = algorithm.unwrap_or(self.algorithm);
        let found = now.signers.iter().find(|(of, _)| *of == algorithm).or(now.signers.first());
        Arc::clone(&found.expect("a ring has a current key from the start").1)
    }

    /// Whether receivers find this key.
    pub(crate) fn publishes(&self, kid: &str) -> bool {
        self.now().public.keys().iter().any(|key| key.kid() == Some(kid))
    }

    /// What its `jwks_uri` serves.
    pub(crate) fn public(&self) -> JwkSet {
        self.now().public.clone()
    }

    fn now(&self) -> Arc<KeysNow> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, ring: KeyRing, version: Version) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(KeysNow::new(ring, version));
    }

    /// Changes the ring: in the store first. `change` says whether it changed anything; it may be asked again, with
    /// what another node made of the ring meanwhile.
    async fn change(
        &self,
        (store, vault): (&dyn Store, &Vault),
        mut change: impl FnMut(&mut KeyRing) -> Result<bool, KeyRingError>,
    ) -> Result<bool, KeysError> {
        let _changing = self.changing.lock().await;
        loop {
            let before = self.now();
            let mut ring = before.ring.clone();
            match change(&mut ring) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(KeyRingError::UnknownKey) => return Err(KeysError::NoSuchKey),
                Err(refused) => return Err(KeysError::Refused(refused)),
            }
            let sealed = seal(vault, &self.name, &ring);
            match store.put(&self.name, before.version, Some(sealed.into())).await {
                Ok(version) => {
                    self.take(ring, version);
                    return Ok(true);
                }
                Err(StoreError::Conflict) => self.look((store, vault)).await?,
                Err(error) => return Err(TransmitterError::from(error).into()),
            }
        }
    }

    /// Takes over what another node has changed.
    async fn look(&self, (store, vault): (&dyn Store, &Vault)) -> Result<(), TransmitterError> {
        let document = store.get(&self.name).await?;
        let gone = || StoreError::Corrupt(format!("{} is gone", self.name));
        let document = document.ok_or_else(gone)?;
        if document.version != self.now().version {
            self.take(unseal(vault, &document)?, document.version);
        }
        Ok(())
    }

    fn views(&self, issuer: &str) -> Vec<KeyView> {
        let ring = &self.now().ring;
        let view = |public: &Jwk, state| KeyView {
            issuer: issuer.to_owned(),
            kid: public.kid().unwrap_or_default().to_owned(),
            public: Some(public.clone()),
            state,
        };
        let current = ring.all_current().iter();
        let current = current.map(|it| view(it.key().public(), KeyState::Current { since: it.since() }));
        let next = ring.next().iter().map(|it| {
            let (published_at, promote_at) = (it.published_at(), it.promote_at());
            view(it.public(), KeyState::Next { published_at, promote_at })
        });
        let previous = ring.previous().iter();
        let previous = previous.map(|it| view(&it.key, KeyState::Previous { retire_at: it.retire_at }));
        let withdrawn = ring.withdrawn().iter().map(|kid| KeyView {
            issuer: issuer.to_owned(),
            kid: kid.clone(),
            public: None,
            state: KeyState::Withdrawn,
        });
        current.chain(next).chain(previous).chain(withdrawn).collect()
    }
}

impl KeysNow {
    fn new(ring: KeyRing, version: Version) -> Self {
        let signer =
            |key: &SigningKey| (key.algorithm(), Arc::new(Signer::new(key.clone(), Profile::Ssf.typ())));
        let signers = ring.all_current().iter().map(|current| signer(current.key())).collect();
        let public = ring.public_keys();
        Self { version, ring, signers, public }
    }
}

/// What operators ask for.
impl Transmitter {
    /// All keys of all issuers, or of one.
    pub fn keys(&self, issuer: Option<&str>) -> Result<Vec<KeyView>, KeysError> {
        if let Some(url) = issuer {
            return Ok(self.keys_of(url)?.views(url));
        }
        Ok(self
            .issuers()
            .flat_map(|config| {
                let url = config.url.as_str();
                self.keys_of(url).map(|keys| keys.views(url)).unwrap_or_default()
            })
            .collect())
    }

    /// Publishes the next key of an issuer. It signs once that is asked for.
    pub async fn publish_key(&self, issuer: &str, key: NewKey) -> Result<KeyView, KeysError> {
        let keys = self.keys_of(issuer)?;
        let key = key.made().await?;
        let (kid, now) = (key.kid().to_owned(), self.clock.now());
        keys.change(self.at(), |ring| ring.publish(key.clone(), now).map(|()| true)).await?;
        info!(issuer, kid, "A key is published, to sign later");
        keys.view(issuer, &kid)
    }

    /// Has the next key of an issuer sign, and makes one if there is none.
    pub async fn rotate_key(
        &self,
        issuer: &str,
        algorithm: Option<Algorithm>,
        at: RotateAt,
    ) -> Result<KeyView, KeysError> {
        let keys = self.keys_of(issuer)?;
        let algorithm = algorithm.unwrap_or(keys.algorithm);
        let missing = keys.now().ring.next_for(algorithm).is_none();
        let made = if missing { Some(generate(algorithm).await?) } else { None };
        let (now, times) = (self.clock.now(), self.config.key_times);
        let mut kid = String::new();
        keys.change(self.at(), |ring| {
            if let (None, Some(made)) = (ring.next_for(algorithm), &made) {
                ring.publish(made.clone(), now)?;
            }
            let next = ring.next_for(algorithm).ok_or(KeyRingError::NoNext { algorithm })?;
            kid = next.public().kid().unwrap_or_default().to_owned();
            match at {
                RotateAt::Soon => drop(ring.promote(algorithm, None, times)?),
                RotateAt::Time(at) => drop(ring.promote(algorithm, Some(at), times)?),
                RotateAt::Now => ring.promote_at_once(algorithm, now)?,
            }
            ring.rotate(now, times);
            Ok(true)
        })
        .await?;
        info!(issuer, kid, ?at, "A key is to sign");
        keys.view(issuer, &kid)
    }

    /// Takes a key out at once: it is published no longer, and SETs that it signed are signed anew before they are
    /// sent (SEM-4). If it was the one that signs, the next one takes its place, or one that is made now.
    pub async fn withdraw_key(&self, issuer: &str, kid: &str) -> Result<(), KeysError> {
        let keys = self.keys_of(issuer)?;
        let orphaned = {
            let ring = &keys.now().ring;
            let current = ring.all_current().iter().find(|current| current.key().kid() == kid);
            current.map(|current| current.key().algorithm()).filter(|of| ring.next_for(*of).is_none())
        };
        let successor = match orphaned {
            Some(algorithm) => Some(generate(algorithm).await?),
            None => None,
        };
        let now = self.clock.now();
        keys.change(self.at(), |ring| {
            if let Some(successor) = &successor
                && ring.next_for(successor.algorithm()).is_none()
            {
                ring.publish(successor.clone(), now)?;
            }
            ring.withdraw(kid, now).map(|()| true)
        })
        .await?;
        warn!(issuer, kid, "A key is withdrawn: what it signed is signed anew");
        Ok(())
    }

    /// Seals everything in the store anew with the master key that seals now, so that others can be let go. Says how
    /// many secrets that were.
    pub async fn rewrap(&self) -> Result<u64, TransmitterError> {
        const PAGE: usize = 500;
        let mut sealed_anew = 0;
        for config in self.issuers() {
            let keys = &self.issuer(config.url.as_str())?.keys;
            keys.look(self.at()).await?;
            let document = self.store.get(&keys.name).await?;
            if document.is_some_and(|document| self.is_old(&document)) {
                let rewrapped = keys.change(self.at(), |_| Ok(true)).await;
                rewrapped.map_err(|error| match error {
                    KeysError::Ours(error) => error,
                    other => TransmitterError::Config(other.to_string()),
                })?;
                sealed_anew += 1;
            }
        }
        for entry in self.table.all() {
            let _changing = entry.changing.lock().await;
            let settings = entry.settings();
            let mut stream = settings.stream.clone();
            let place = Stream::authorization_place(&stream.id);
            let Target::Push { authorization: Some(sealed), .. } = &mut stream.target else { continue };
            if self.vault.is_sealed_anew(sealed) {
                continue;
            }
            *sealed = self.vault.seal(&place, &self.vault.open(&place, sealed)?);
            let body = serde_json::to_vec(&stream).expect("a stream is text and numbers");
            // The credential is what it was: that is no change.
            match self.store.put(&Stream::document(&stream.id), settings.version, Some(body.into())).await {
                Ok(version) => self.table.replace(&entry, self.settings(stream, version)),
                // It was deleted at this moment.
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
            sealed_anew += 1;
        }
        let mut after: Option<String> = None;
        loop {
            let documents = self.store.list("", after.as_deref(), PAGE).await?;
            for document in documents.iter().filter(|document| self.is_old(document)) {
                let sealed = std::str::from_utf8(&document.body).unwrap_or_default();
                let secret = self.vault.open(&document.name, sealed)?;
                let body = self.vault.seal(&document.name, &secret);
                self.store.put(&document.name, document.version, Some(body.into())).await?;
                sealed_anew += 1;
            }
            match documents.into_iter().last() {
                Some(last) => after = Some(last.name),
                None => break,
            }
        }
        info!(master_key = self.vault.fingerprint(), secrets = sealed_anew, "The store is sealed anew");
        Ok(sealed_anew)
    }

    /// The fingerprint of the master key that seals now.
    pub fn master_key(&self) -> &str {
        self.vault.fingerprint()
    }

    /// Whether a document as a whole is a secret that is to be sealed anew.
    fn is_old(&self, document: &Document) -> bool {
        let text = std::str::from_utf8(&document.body);
        text.is_ok_and(|text| Vault::is_sealed(text) && !self.vault.is_sealed_anew(text))
    }

    fn keys_of(&self, issuer: &str) -> Result<&IssuerKeys, KeysError> {
        match self.issuer(issuer) {
            Ok(state) => Ok(&state.keys),
            Err(_) => Err(KeysError::NoSuchIssuer(issuer.to_owned())),
        }
    }

    fn at(&self) -> (&dyn Store, &Vault) {
        (self.store.as_ref(), &self.vault)
    }
}

/// What time brings.
impl Transmitter {
    /// Makes the changes of keys that are due.
    pub(crate) async fn turn_keys(&self) -> Result<(), KeysError> {
        let mut first = Ok(());
        for config in self.issuers() {
            let turned = match self.keys_of(config.url.as_str()) {
                Ok(keys) => self.turn_keys_of(config, keys).await,
                Err(error) => Err(error),
            };
            if let Err(error) = turned {
                warn!(issuer = %config.url, %error, "Key rotation failed, will retry");
                first = first.and(Err(error));
            }
        }
        first
    }

    async fn turn_keys_of(&self, config: &IssuerConfig, keys: &IssuerKeys) -> Result<(), KeysError> {
        keys.look(self.at()).await?;
        // A key is withdrawn for its age, too.
        let (now, times) = (self.expiry_now(), self.config.key_times);
        let due: Vec<(Algorithm, Timestamp)> =
            config.rotate_every.map(|every| due(&keys.now().ring, every, now, times)).unwrap_or_default();
        let mut made = Vec::new();
        for (algorithm, _) in &due {
            if keys.now().ring.next_for(*algorithm).is_none() {
                made.push(generate(*algorithm).await?);
            }
        }
        let changed = keys
            .change(self.at(), |ring| {
                let mut changed = false;
                for (algorithm, at) in &due {
                    let new = made.iter().find(|key| key.algorithm() == *algorithm);
                    if let (None, Some(new)) = (ring.next_for(*algorithm), new) {
                        ring.publish(new.clone(), now)?;
                    }
                    let asked = ring.next_for(*algorithm).and_then(NextKey::promote_at);
                    if asked.is_none() && ring.next_for(*algorithm).is_some() {
                        let in_time = ring.promote(*algorithm, Some(*at), times);
                        in_time.or_else(|_| ring.promote(*algorithm, None, times))?;
                        changed = true;
                    }
                }
                Ok(ring.rotate(now, times) | changed)
            })
            .await?;
        if changed {
            info!(issuer = %config.url, kid = keys.signer(None).key().kid(), "Keys have changed");
        }
        Ok(())
    }
}

/// The algorithms whose next key has to be published now, and when it is to sign.
fn due(ring: &KeyRing, every: Duration, now: Timestamp, times: RotationTimes) -> Vec<(Algorithm, Timestamp)> {
    let due = ring.all_current().iter().filter_map(|current| {
        let at = current.since()?.plus(every);
        (at <= now.plus(times.publish_ahead)).then(|| (current.key().algorithm(), at))
    });
    due.collect()
}

impl IssuerKeys {
    fn view(&self, issuer: &str, kid: &str) -> Result<KeyView, KeysError> {
        self.views(issuer).into_iter().find(|view| view.kid == kid).ok_or(KeysError::NoSuchKey)
    }
}

impl NewKey {
    async fn made(self) -> Result<SigningKey, TransmitterError> {
        match self {
            Self::Generate(algorithm) => generate(algorithm).await,
            Self::Given(key) => Ok(key),
        }
    }
}

/// An RSA key takes a good part of a second: nobody else is kept waiting.
async fn generate(algorithm: Algorithm) -> Result<SigningKey, TransmitterError> {
    let made = match is_slow(algorithm) {
        true => tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await,
        false => Ok(SigningKey::generate(algorithm)),
    };
    let made = made.map_err(|error| TransmitterError::Config(error.to_string()))?;
    made.map_err(|error| TransmitterError::Config(error.to_string()))
}

fn seal(vault: &Vault, name: &str, ring: &KeyRing) -> String {
    let stored = serde_json::to_vec(&ring.to_stored_secret()).expect("a key ring is text");
    vault.seal(name, &stored)
}

fn unseal(vault: &Vault, document: &Document) -> Result<KeyRing, TransmitterError> {
    let damaged =
        |detail: String| TransmitterError::Store(StoreError::Corrupt(format!("{}: {detail}", document.name)));
    let sealed = std::str::from_utf8(&document.body).map_err(|error| damaged(error.to_string()))?;
    let stored = vault.open(&document.name, sealed)?;
    let stored = StoredKeyRing::from_json(&stored).map_err(|error| damaged(error.to_string()))?;
    KeyRing::from_stored(&stored).map_err(|error| damaged(error.to_string()))
}
