//! Secrets of clients: 256 bits that are shown once, and kept as digests that are of no use to whoever reads them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use secevent::Timestamp;
use secevent_store::{Store, StoreError, Unsealable, Vault, Version};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use subtle::{Choice, ConstantTimeEq as _};

/// A new secret, to be shown once. It begins with a letter or digit, so that no command line takes it for a flag.
pub(crate) fn generate() -> String {
    loop {
        let secret = URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 32]>());
        if secret.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return secret;
        }
    }
}

/// Whether a secret that an operator chose may be guessed by trying. One that is long and varied is taken to be random.
pub(crate) fn is_guessable(secret: &str) -> bool {
    const BYTES_MIN: usize = 32;
    const DIFFERENT_MIN: usize = 10;
    let different: BTreeSet<u8> = secret.bytes().collect();
    secret.len() < BYTES_MIN || different.len() < DIFFERENT_MIN
}

/// The key under which secrets are digested (SEM-21). It is drawn once and sealed in the store, so that it outlives a
/// change of the master key, which a digest under the master key itself would not.
#[derive(Clone)]
pub(crate) struct DigestKey(hmac::Key);

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoDigestKey {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sealed(#[from] Unsealable),
}

impl DigestKey {
    const DOCUMENT: &'static str = "client-secrets-key";

    /// Takes the key from the store, or makes it and keeps it there.
    pub(crate) async fn open(store: &dyn Store, vault: &Vault) -> Result<Self, NoDigestKey> {
        loop {
            if let Some(document) = store.get(Self::DOCUMENT).await? {
                let damaged = || StoreError::Corrupt(format!("{} is not a sealed key", Self::DOCUMENT));
                let sealed = std::str::from_utf8(&document.body).map_err(|_| damaged())?;
                let key = vault.open(Self::DOCUMENT, sealed)?;
                return Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)));
            }
            let key: [u8; 32] = rand::rng().random();
            let sealed = vault.seal(Self::DOCUMENT, &key);
            match store.put(Self::DOCUMENT, Version(0), Some(sealed.into())).await {
                // Whoever was first: his key is everybody's.
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The digest of a client's secret. The same secret of another client has another one.
    pub(crate) fn digest(&self, client: &str, secret: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&u64::try_from(client.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(client.as_bytes());
        context.update(secret.as_bytes());
        Digest(context.sign().as_ref().try_into().expect("HMAC with SHA-256 gives 32 bytes"))
    }
}

/// The digest of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

/// A secret that a client may show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSecret {
    pub(crate) digest: Digest,
    /// Until when it is good, if there is a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// Whether somebody could guess it in time. What is stored was generated here, and nobody could.
    #[serde(skip)]
    pub(crate) guessable: bool,
}

impl KeptSecret {
    /// How many a client has at once: the present one, and the one before for as long as that is good.
    pub(crate) const MAX: usize = 2;
}

/// Whether `shown` is the digest of one of these secrets. It takes as long when there is none.
pub(crate) fn is_one_of(shown: &Digest, kept: &[KeptSecret], now: Timestamp) -> bool {
    let mut found = Choice::from(0);
    for place in 0..KeptSecret::MAX {
        let (digest, good) = kept.get(place).map_or((Digest([0; 32]), false), |kept| {
            (kept.digest, kept.until.is_none_or(|until| now < until))
        });
        found |= digest.0.ct_eq(&shown.0) & Choice::from(u8::from(good));
    }
    found.into()
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).ok();
        let digest = bytes.and_then(|bytes| bytes.try_into().ok());
        digest.map(Self).ok_or_else(|| D::Error::custom("a digest is 32 bytes in base64url"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_and_varied_secrets_are_taken_to_be_random() {
        assert!(!is_guessable(&generate()));
        assert!(!is_guessable("6f1ed002ab5595859014ebf0951522d9"), "16 bytes in hexadecimal digits");
        for guessable in ["", "hunter2", &"0123456789".repeat(3), &"ab".repeat(100)] {
            assert!(is_guessable(guessable), "{guessable}");
        }
    }

    #[test]
    fn a_secret_is_its_clients_own_and_good_until_its_end() {
        let key = DigestKey(hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]));
        let other = DigestKey(hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]));
        let at = Timestamp::from_seconds;
        let kept = |secret: &str, until: Option<i64>| KeptSecret {
            digest: key.digest("rp", secret),
            until: until.map(at),
            guessable: false,
        };
        let both = [kept("new", None), kept("old", Some(100))];
        for (shown, now, good) in [
            (key.digest("rp", "new"), 0, true),
            (key.digest("rp", "new"), 1_000, true),
            (key.digest("rp", "old"), 99, true),
            (key.digest("rp", "old"), 100, false),
            (key.digest("rp", ""), 0, false),
            (key.digest("r", "pnew"), 0, false),
            (other.digest("rp", "new"), 0, false),
            (Digest([0; 32]), 0, false),
        ] {
            assert_eq!(is_one_of(&shown, &both, at(now)), good);
        }
        assert!(!is_one_of(&Digest([0; 32]), &[], at(0)), "what fills an empty place is nobody's secret");
        let stored = serde_json::to_string(&both[1]).unwrap();
        assert_eq!(serde_json::from_str::<KeptSecret>(&stored).unwrap(), both[1]);
        assert!(!format!("{both:?}").contains("new"));
    }
}
