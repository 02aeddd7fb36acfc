//! The signing keys of one issuer over time: next, current, previous.

use crate::{Algorithm, Jwk, JwkSet, KeyError, SecretText, Signer, SigningKey};
use secevent::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The keys an issuer signs with, one after the other.
///
/// A key lives three lives. As *next* it is published and not used, so that receivers can fetch it first.
/// As *current* it signs; there is always exactly one for each algorithm of the issuer. As *previous* it is only
/// published, private half gone, so that tokens on their way can still be verified, and then it leaves. The times
/// of these changes stand in the ring; it has no clock, so call [`KeyRing::rotate`] now and then.
///
/// ```
/// use secevent::Timestamp;
/// use secevent_jose::{Algorithm, KeyRing, RotationTimes, SigningKey};
///
/// let times = RotationTimes::default();
/// let now = Timestamp::from_seconds(1_800_000_000);
/// let mut ring = KeyRing::new(SigningKey::generate(Algorithm::Es256)?);
/// let successor = SigningKey::generate(Algorithm::Es256)?;
/// let kid = successor.kid().to_owned();
///
/// let promote_at = ring.schedule(successor, now, times)?;
/// assert_eq!(ring.public_keys().keys().len(), 2);
/// assert!(!ring.rotate(now, times));
///
/// assert!(ring.rotate(promote_at, times));
/// assert_eq!(ring.current().kid(), kid);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyRing {
    /// One for each algorithm; the issuer's own comes first.
    current: Vec<CurrentKey>,
    /// At most one for each algorithm.
    next: Vec<NextKey>,
    /// The latest first.
    previous: Vec<PreviousKey>,
    withdrawn: Vec<String>,
}

/// A key that signs.
#[derive(Clone, Debug)]
pub struct CurrentKey {
    key: SigningKey,
    since: Option<Timestamp>,
}

/// A key that has signed and is still published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousKey {
    /// Its public half; the private one is no longer kept.
    pub key: Jwk,
    /// When it leaves the ring.
    pub retire_at: Timestamp,
}

/// A key that is published and will sign. Its private half stays inside the ring until then.
#[derive(Clone, Debug)]
pub struct NextKey {
    key: SigningKey,
    published_at: Timestamp,
    promote_at: Option<Timestamp>,
}

/// How long a key is published before and after its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationTimes {
    /// How long a key is published before it signs: longer than receivers cache the key set. Default: a day.
    pub publish_ahead: Duration,
    /// How long a key is published after it has signed: longer than a token may be on its way. Default: 8
    /// days, a day more than an unacknowledged SET is kept.
    pub keep_behind: Duration,
}

/// A change the ring does not make.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Another key is published as the next one already.
    #[error("a next key for {algorithm} exists already")]
    NextExists {
        /// What it is to sign with.
        algorithm: Algorithm,
    },
    /// There is no next key.
    #[error("there is no next key for {algorithm}")]
    NoNext {
        /// The algorithm that was asked for.
        algorithm: Algorithm,
    },
    /// The issuer signs nothing with this algorithm.
    #[error("the ring has no key for {algorithm}")]
    OtherAlgorithm {
        /// The algorithm that was asked for.
        algorithm: Algorithm,
    },
    /// Receivers could not have fetched the key by then.
    #[error("the next key has not been published long enough by then")]
    TooEarly {
        /// When it has been.
        earliest: Timestamp,
    },
    /// The ring has, or has withdrawn, a key of this name or with these numbers.
    #[error("the key {kid:?} is or was in the ring")]
    KeyReused {
        /// The name of the key.
        kid: String,
    },
    /// So many keys that have signed are still published that no other may join them yet.
    #[error("{} previous keys are still published: wait until one has left", KeyRing::PREVIOUS_MAX)]
    TooManyPrevious,
    /// The current key can be withdrawn only when another can take its place at once.
    #[error("the current key cannot be withdrawn before a next key is scheduled")]
    NoSuccessor,
    /// The ring has no key of this name.
    #[error("the ring has no such key")]
    UnknownKey,
    /// A stored ring of a later version, or one that was damaged.
    #[error("the stored key ring cannot be read: {0}")]
    Stored(&'static str),
    /// A key of a stored ring cannot be read.
    #[error("a stored key cannot be read: {0}")]
    StoredKey(#[from] KeyError),
}

impl KeyRing {
    /// How many withdrawn names are remembered; the oldest is forgotten first.
    pub const WITHDRAWN_MAX: usize = 100;
    /// How many keys that have signed are published at most: with the others they fit into a key set.
    pub const PREVIOUS_MAX: usize = 32;

    /// A ring whose current key is this one.
    pub fn new(current: SigningKey) -> Self {
        let current = vec![CurrentKey { key: current, since: None }];
        Self { current, next: Vec::new(), previous: Vec::new(), withdrawn: Vec::new() }
    }

    /// The key that signs with the issuer's own algorithm. There is no way to sign with the next key before it is
    /// promoted.
    pub fn current(&self) -> &SigningKey {
        &self.current.first().expect("a ring has a current key from the start").key
    }

    /// The keys that sign, one for each algorithm, the issuer's own first.
    pub fn all_current(&self) -> &[CurrentKey] {
        &self.current
    }

    /// Signs tokens of this `typ` with the issuer's own algorithm. Ask again after every rotation.
    pub fn signer(&self, typ: &str) -> Signer {
        Signer::new(self.current().clone(), typ)
    }

    /// The keys that have signed and are still published, the latest first.
    pub fn previous(&self) -> &[PreviousKey] {
        &self.previous
    }

    /// The keys that are going to sign, at most one for each algorithm.
    pub fn next(&self) -> &[NextKey] {
        &self.next
    }

    /// The key that is going to sign with this algorithm.
    pub fn next_for(&self, algorithm: Algorithm) -> Option<&NextKey> {
        self.next.iter().find(|next| next.key.algorithm() == algorithm)
    }

    /// What the `jwks_uri` serves: every key a token could be signed with, the current ones first.
    pub fn public_keys(&self) -> JwkSet {
        let current = self.current.iter().map(|current| current.key.public());
        let next = self.next.iter().map(|next| next.key.public());
        let previous = self.previous.iter().map(|previous| &previous.key);
        current.chain(next).chain(previous).cloned().collect()
    }

    /// Signs from now on with another algorithm too.
    pub fn begin(&mut self, key: SigningKey, now: Timestamp) -> Result<(), KeyRingError> {
        self.check_new(&key)?;
        let algorithm = key.algorithm();
        if self.current_for(algorithm).is_some() {
            return Err(KeyRingError::NextExists { algorithm });
        }
        self.current.push(CurrentKey { key, since: Some(now) });
        Ok(())
    }

    /// Signs no longer with an algorithm, if it is not the only one: its key is still published for a while, as after
    /// a rotation. Says whether anything changed.
    pub fn end(&mut self, algorithm: Algorithm, now: Timestamp, times: RotationTimes) -> bool {
        if self.current.len() == 1 || self.current_for(algorithm).is_none() {
            return false;
        }
        self.next.retain(|next| next.key.algorithm() != algorithm);
        for ended in self.current.extract_if(.., |current| current.key.algorithm() == algorithm) {
            self.previous.insert(0, PreviousKey::of(&ended.key, now, times));
        }
        true
    }

    /// Makes this algorithm, which the ring has a key for, the issuer's own. Says whether anything changed.
    pub fn lead_with(&mut self, algorithm: Algorithm) -> bool {
        let place = self.current.iter().position(|current| current.key.algorithm() == algorithm);
        let Some(place) = place.filter(|place| *place > 0) else { return false };
        self.current[..=place].rotate_right(1);
        true
    }

    /// Counts the age of keys from now on, of which it is not known since when they sign. Says whether anything
    /// changed.
    pub fn count_from(&mut self, now: Timestamp) -> bool {
        let uncounted = self.current.iter_mut().filter(|current| current.since.is_none());
        uncounted.map(|current| current.since = Some(now)).count() > 0
    }

    /// Publishes a successor from `now` on. It signs once that is asked for.
    pub fn publish(&mut self, next: SigningKey, now: Timestamp) -> Result<(), KeyRingError> {
        let algorithm = next.algorithm();
        if self.next_for(algorithm).is_some() {
            return Err(KeyRingError::NextExists { algorithm });
        }
        if self.current_for(algorithm).is_none() {
            return Err(KeyRingError::OtherAlgorithm { algorithm });
        }
        if self.previous.len() + self.next.len() >= Self::PREVIOUS_MAX {
            return Err(KeyRingError::TooManyPrevious);
        }
        self.check_new(&next)?;
        self.next.push(NextKey { key: next, published_at: now, promote_at: None });
        Ok(())
    }

    /// Has the next key sign from `at` on, or as soon as it was published long enough. Says when that is.
    pub fn promote(
        &mut self,
        algorithm: Algorithm,
        at: Option<Timestamp>,
        times: RotationTimes,
    ) -> Result<Timestamp, KeyRingError> {
        let next = self.next.iter_mut().find(|next| next.key.algorithm() == algorithm);
        let next = next.ok_or(KeyRingError::NoNext { algorithm })?;
        let earliest = next.published_at.plus(times.publish_ahead);
        if at.is_some_and(|at| at < earliest) {
            return Err(KeyRingError::TooEarly { earliest });
        }
        let at = at.unwrap_or(earliest);
        next.promote_at = Some(at);
        Ok(at)
    }

    /// Has the next key sign at the next [`KeyRing::rotate`], however shortly it was published. Receivers that keep
    /// the keys for a while find it when they look again.
    pub fn promote_at_once(&mut self, algorithm: Algorithm, now: Timestamp) -> Result<(), KeyRingError> {
        let next = self.next.iter_mut().find(|next| next.key.algorithm() == algorithm);
        next.ok_or(KeyRingError::NoNext { algorithm })?.promote_at = Some(now);
        Ok(())
    }

    /// Publishes a successor from `now` on, and says when it will sign: after it was published long enough.
    pub fn schedule(
        &mut self,
        next: SigningKey,
        now: Timestamp,
        times: RotationTimes,
    ) -> Result<Timestamp, KeyRingError> {
        let algorithm = next.algorithm();
        self.publish(next, now)?;
        self.promote(algorithm, None, times)
    }

    /// Makes the changes that are due: previous keys leave, next ones become current. Says whether anything
    /// changed; if so, store the ring and publish its keys before signing anew.
    pub fn rotate(&mut self, now: Timestamp, times: RotationTimes) -> bool {
        let before = self.previous.len();
        self.previous.retain(|previous| now < previous.retire_at);
        let mut changed = self.previous.len() < before;
        for next in self.next.extract_if(.., |next| next.promote_at.is_some_and(|at| at <= now)) {
            let algorithm = next.key.algorithm();
            let current = self.current.iter_mut().find(|current| current.key.algorithm() == algorithm);
            let current = current.expect("a next key has a current one before it");
            let outgoing = std::mem::replace(current, CurrentKey { key: next.key, since: Some(now) });
            self.previous.insert(0, PreviousKey::of(&outgoing.key, now, times));
            changed = true;
        }
        changed
    }

    /// When [`KeyRing::rotate`] next has something to do.
    pub fn next_change_at(&self) -> Option<Timestamp> {
        let retire_at = self.previous.iter().map(|previous| previous.retire_at);
        let promote_at = self.next.iter().filter_map(|next| next.promote_at);
        retire_at.chain(promote_at).min()
    }

    /// Takes a compromised key out at once: it is published no longer, so tokens it signed fail from now on
    /// and must be signed anew. In place of a current key the next one signs from now on, however shortly
    /// it was published.
    pub fn withdraw(&mut self, kid: &str, now: Timestamp) -> Result<(), KeyRingError> {
        let is = |key: &SigningKey| key.kid() == kid;
        let thumbprint = if let Some(current) = self.current.iter_mut().find(|current| is(&current.key)) {
            let algorithm = current.key.algorithm();
            let place = self.next.iter().position(|next| next.key.algorithm() == algorithm);
            let next = self.next.remove(place.ok_or(KeyRingError::NoSuccessor)?);
            let withdrawn = std::mem::replace(current, CurrentKey { key: next.key, since: Some(now) });
            withdrawn.key.public().thumbprint()
        } else if let Some(place) = self.next.iter().position(|next| is(&next.key)) {
            self.next.remove(place).key.public().thumbprint()
        } else if let Some(place) = self.previous.iter().position(|previous| previous.key.kid() == Some(kid))
        {
            self.previous.remove(place).key.thumbprint()
        } else {
            return Err(KeyRingError::UnknownKey);
        };
        // The numbers are what leaked; a new name would not make them safe.
        self.withdrawn.push(kid.to_owned());
        if thumbprint != kid {
            self.withdrawn.push(thumbprint);
        }
        let too_many = self.withdrawn.len().saturating_sub(Self::WITHDRAWN_MAX);
        self.withdrawn.drain(..too_many);
        Ok(())
    }

    /// Whether this key was withdrawn, by its name or its thumbprint: what it signed must be signed anew.
    pub fn is_withdrawn(&self, name: &str) -> bool {
        self.withdrawn.iter().any(|withdrawn| withdrawn == name)
    }

    /// The names and thumbprints of withdrawn keys, the oldest first.
    pub fn withdrawn(&self) -> &[String] {
        &self.withdrawn
    }

    fn current_for(&self, algorithm: Algorithm) -> Option<&CurrentKey> {
        self.current.iter().find(|current| current.key.algorithm() == algorithm)
    }

    fn check_new(&self, key: &SigningKey) -> Result<(), KeyRingError> {
        let thumbprint = key.public().thumbprint();
        let is_known = self.is_withdrawn(key.kid())
            || self.is_withdrawn(&thumbprint)
            || self
                .public_keys()
                .keys()
                .iter()
                .any(|known| known.kid() == Some(key.kid()) || known.thumbprint() == thumbprint);
        if is_known { Err(KeyRingError::KeyReused { kid: key.kid().to_owned() }) } else { Ok(()) }
    }

    /// The ring with its private keys, to be sealed and stored.
    pub fn to_stored_secret(&self) -> StoredKeyRing {
        StoredKeyRing {
            version: STORED_VERSION,
            current: self
                .current
                .iter()
                .map(|it| StoredCurrentKey { jwk: it.key.to_json_secret(), since: it.since })
                .collect(),
            next: self
                .next
                .iter()
                .map(|it| StoredNextKey {
                    jwk: it.key.to_json_secret(),
                    published_at: it.published_at,
                    promote_at: it.promote_at,
                })
                .collect(),
            previous: self
                .previous
                .iter()
                .map(|it| StoredPreviousKey { jwk: it.key.to_json(), retire_at: it.retire_at })
                .collect(),
            withdrawn: self.withdrawn.clone(),
        }
    }

    /// The ring as it was stored.
    pub fn from_stored(stored: &StoredKeyRing) -> Result<Self, KeyRingError> {
        if stored.version != STORED_VERSION {
            return Err(KeyRingError::Stored("its version is not known"));
        }
        let current = stored.current.iter().map(|it| {
            let key = SigningKey::from_json(it.jwk.expose())?;
            Ok(CurrentKey { key, since: it.since })
        });
        let current: Vec<CurrentKey> = current.collect::<Result<_, KeyError>>()?;
        if current.is_empty() {
            return Err(KeyRingError::Stored("it has no current key"));
        }
        let next = stored.next.iter().map(|it| {
            let key = SigningKey::from_json(it.jwk.expose())?;
            Ok(NextKey { key, published_at: it.published_at, promote_at: it.promote_at })
        });
        let next: Vec<NextKey> = next.collect::<Result<_, KeyError>>()?;
        let of_current = |next: &NextKey| current.iter().any(|it| it.key.algorithm() == next.key.algorithm());
        if !next.iter().all(of_current) {
            return Err(KeyRingError::Stored("it has a next key without a current one"));
        }
        let previous = stored.previous.iter().map(|it| {
            let key = Jwk::from_json(&it.jwk)?;
            Ok(PreviousKey { key, retire_at: it.retire_at })
        });
        let previous = previous.collect::<Result<_, KeyError>>()?;
        Ok(Self { current, next, previous, withdrawn: stored.withdrawn.clone() })
    }
}

impl CurrentKey {
    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Since when it signs, if that is known.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }
}

impl PreviousKey {
    fn of(key: &SigningKey, now: Timestamp, times: RotationTimes) -> Self {
        Self { key: key.public().clone(), retire_at: now.plus(times.keep_behind) }
    }
}

impl NextKey {
    /// Its public half.
    pub fn public(&self) -> &Jwk {
        self.key.public()
    }

    /// Since when receivers find it.
    pub fn published_at(&self) -> Timestamp {
        self.published_at
    }

    /// When it becomes the current key, if that is asked for.
    pub fn promote_at(&self) -> Option<Timestamp> {
        self.promote_at
    }
}

impl Default for RotationTimes {
    fn default() -> Self {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        Self {
            publish_ahead: Duration::from_secs(DAY_SECONDS),
            keep_behind: Duration::from_secs(8 * DAY_SECONDS),
        }
    }
}

/// A key ring as it is stored. It holds private keys: seal what it is written into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKeyRing {
    /// The version of this form.
    pub version: u32,
    /// The keys that sign.
    pub current: Vec<StoredCurrentKey>,
    /// The keys that are going to sign.
    pub next: Vec<StoredNextKey>,
    /// The keys that signed before.
    pub previous: Vec<StoredPreviousKey>,
    /// Names and thumbprints of withdrawn keys, the oldest first.
    pub withdrawn: Vec<String>,
}

/// A current key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredCurrentKey {
    /// Its private JWK.
    pub jwk: SecretText,
    /// Since when it signs.
    pub since: Option<Timestamp>,
}

/// A previous key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPreviousKey {
    /// Its public JWK.
    pub jwk: String,
    /// When it leaves the ring.
    pub retire_at: Timestamp,
}

/// A next key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredNextKey {
    /// Its private JWK.
    pub jwk: SecretText,
    /// Since when it is published.
    pub published_at: Timestamp,
    /// When it becomes the current key.
    pub promote_at: Option<Timestamp>,
}

impl StoredKeyRing {
    /// Reads what was stored, in today's form or in an earlier one.
    pub fn from_json(json: &[u8]) -> Result<Self, KeyRingError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let damaged = |_| KeyRingError::Stored("it is damaged");
        match serde_json::from_slice::<Versioned>(json).map_err(damaged)?.version {
            1 => serde_json::from_slice::<StoredV1>(json).map(Self::from).map_err(damaged),
            STORED_VERSION => serde_json::from_slice(json).map_err(damaged),
            _ => Err(KeyRingError::Stored("its version is not known")),
        }
    }
}

/// The first form: one algorithm, and one previous key.
#[derive(Deserialize)]
struct StoredV1 {
    previous: Option<StoredPreviousKey>,
    current: SecretText,
    next: Option<StoredNextKeyV1>,
    withdrawn: Vec<String>,
}

#[derive(Deserialize)]
struct StoredNextKeyV1 {
    jwk: SecretText,
    promote_at: Timestamp,
}

impl From<StoredV1> for StoredKeyRing {
    fn from(stored: StoredV1) -> Self {
        // When a next key was published was not kept. At the time of its use it was there long enough.
        let next = stored.next.map(|StoredNextKeyV1 { jwk, promote_at }| StoredNextKey {
            jwk,
            published_at: promote_at,
            promote_at: Some(promote_at),
        });
        Self {
            version: STORED_VERSION,
            current: vec![StoredCurrentKey { jwk: stored.current, since: None }],
            next: next.into_iter().collect(),
            previous: stored.previous.into_iter().collect(),
            withdrawn: stored.withdrawn,
        }
    }
}

const STORED_VERSION: u32 = 2;
