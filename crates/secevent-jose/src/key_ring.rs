//! The signing keys of one issuer over time: previous, current, next.

use crate::{Jwk, JwkSet, KeyError, SecretText, Signer, SigningKey};
use secevent::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The keys an issuer signs with, one after the other.
///
/// A key lives three lives. As *next* it is published and not used, so that receivers can fetch it first.
/// As *current* it signs; there is always exactly one. As *previous* it is only published, private half
/// gone, so that tokens on their way can still be verified, and then it leaves. The times of these changes
/// stand in the ring; it has no clock, so call [`KeyRing::rotate`] now and then.
///
/// ```
/// use secevent::Timestamp;
/// use secevent_jose::{Algorithm, KeyRing, RotationTimes, SigningKey};
/// use std::time::Duration;
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
    previous: Option<PreviousKey>,
    current: SigningKey,
    next: Option<NextKey>,
    withdrawn: Vec<String>,
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
    promote_at: Timestamp,
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
    /// Another key is scheduled already.
    #[error("a next key is scheduled already")]
    NextExists,
    /// The ring has, or has withdrawn, a key of this name or with these numbers.
    #[error("the key {kid:?} is or was in the ring")]
    KeyReused {
        /// The name of the key.
        kid: String,
    },
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

    /// A ring whose current key is this one.
    pub fn new(current: SigningKey) -> Self {
        Self { previous: None, current, next: None, withdrawn: Vec::new() }
    }

    /// The key that signs. There is no way to sign with the next key before it is promoted.
    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    /// Signs tokens of this `typ` with the current key. Ask again after every rotation.
    pub fn signer(&self, typ: &str) -> Signer {
        Signer::new(self.current.clone(), typ)
    }

    /// The key that signed before, while it is still published.
    pub fn previous(&self) -> Option<&PreviousKey> {
        self.previous.as_ref()
    }

    /// The key that is going to sign.
    pub fn next(&self) -> Option<&NextKey> {
        self.next.as_ref()
    }

    /// What the `jwks_uri` serves: every key a token could be signed with, the current one first.
    pub fn public_keys(&self) -> JwkSet {
        let next = self.next.as_ref().map(|next| next.key.public());
        let previous = self.previous.as_ref().map(|previous| &previous.key);
        std::iter::once(self.current.public()).chain(next).chain(previous).cloned().collect()
    }

    /// Publishes a successor from `now` on, and says when it will sign: after it was published long enough,
    /// and not before the previous key has left its place.
    pub fn schedule(
        &mut self,
        next: SigningKey,
        now: Timestamp,
        times: RotationTimes,
    ) -> Result<Timestamp, KeyRingError> {
        if self.next.is_some() {
            return Err(KeyRingError::NextExists);
        }
        let thumbprint = next.public().thumbprint();
        let is_known = self.is_withdrawn(next.kid())
            || self.is_withdrawn(&thumbprint)
            || self
                .public_keys()
                .keys()
                .iter()
                .any(|key| key.kid() == Some(next.kid()) || key.thumbprint() == thumbprint);
        if is_known {
            return Err(KeyRingError::KeyReused { kid: next.kid().to_owned() });
        }
        let published = now.plus(times.publish_ahead);
        let promote_at = self.previous.as_ref().map_or(published, |it| published.max(it.retire_at));
        self.next = Some(NextKey { key: next, promote_at });
        Ok(promote_at)
    }

    /// Makes the changes that are due: the previous key leaves, the next one becomes current. Says whether
    /// anything changed; if so, store the ring and publish its keys before signing anew.
    pub fn rotate(&mut self, now: Timestamp, times: RotationTimes) -> bool {
        let retired = self.previous.take_if(|previous| previous.retire_at <= now).is_some();
        let Some(next) = self.next.take_if(|next| next.promote_at <= now) else { return retired };
        let outgoing = std::mem::replace(&mut self.current, next.key);
        self.previous =
            Some(PreviousKey { key: outgoing.public().clone(), retire_at: now.plus(times.keep_behind) });
        true
    }

    /// When [`KeyRing::rotate`] next has something to do.
    pub fn next_change_at(&self) -> Option<Timestamp> {
        let retire_at = self.previous.as_ref().map(|previous| previous.retire_at);
        let promote_at = self.next.as_ref().map(|next| next.promote_at);
        retire_at.into_iter().chain(promote_at).min()
    }

    /// Takes a compromised key out at once: it is published no longer, so tokens it signed fail from now on
    /// and must be signed anew. In place of the current key the next one signs from now on, however shortly
    /// it was published.
    pub fn withdraw(&mut self, kid: &str) -> Result<(), KeyRingError> {
        let thumbprint = if self.current.kid() == kid {
            let next = self.next.take().ok_or(KeyRingError::NoSuccessor)?;
            std::mem::replace(&mut self.current, next.key).public().thumbprint()
        } else if let Some(next) = self.next.take_if(|next| next.key.kid() == kid) {
            next.key.public().thumbprint()
        } else if let Some(previous) = self.previous.take_if(|previous| previous.key.kid() == Some(kid)) {
            previous.key.thumbprint()
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

    /// The ring with its private keys, to be sealed and stored.
    pub fn to_stored_secret(&self) -> StoredKeyRing {
        StoredKeyRing {
            version: STORED_VERSION,
            previous: self.previous.as_ref().map(|previous| StoredPreviousKey {
                jwk: previous.key.to_json(),
                retire_at: previous.retire_at,
            }),
            current: self.current.to_json_secret(),
            next: self
                .next
                .as_ref()
                .map(|next| StoredNextKey { jwk: next.key.to_json_secret(), promote_at: next.promote_at }),
            withdrawn: self.withdrawn.clone(),
        }
    }

    /// The ring as it was stored.
    pub fn from_stored(stored: &StoredKeyRing) -> Result<Self, KeyRingError> {
        if stored.version != STORED_VERSION {
            return Err(KeyRingError::Stored("its version is not known"));
        }
        let previous = stored
            .previous
            .as_ref()
            .map(|it| Jwk::from_json(&it.jwk).map(|key| PreviousKey { key, retire_at: it.retire_at }));
        let next = stored.next.as_ref().map(|it| {
            SigningKey::from_json(it.jwk.expose()).map(|key| NextKey { key, promote_at: it.promote_at })
        });
        Ok(Self {
            previous: previous.transpose()?,
            current: SigningKey::from_json(stored.current.expose())?,
            next: next.transpose()?,
            withdrawn: stored.withdrawn.clone(),
        })
    }
}

impl NextKey {
    /// Its public half.
    pub fn public(&self) -> &Jwk {
        self.key.public()
    }

    /// When it becomes the current key.
    pub fn promote_at(&self) -> Timestamp {
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
    /// The key that signed before.
    pub previous: Option<StoredPreviousKey>,
    /// The private JWK of the key that signs.
    pub current: SecretText,
    /// The key that is going to sign.
    pub next: Option<StoredNextKey>,
    /// Names and thumbprints of withdrawn keys, the oldest first.
    pub withdrawn: Vec<String>,
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
    /// When it becomes the current key.
    pub promote_at: Timestamp,
}

const STORED_VERSION: u32 = 1;
