//! Secrets at rest: sealed under a master key that is kept elsewhere.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::sync::Arc;

/// Seals secrets, such as private keys and the credentials of peers, so that a copy of the store alone gives
/// nothing away (SEM-21).
///
/// ```
/// use secevent_store::Vault;
///
/// let vault = Vault::new(&[7; 32]);
/// let sealed = vault.seal("stream/1/authorization", b"Bearer abc");
/// assert!(!sealed.contains("abc"));
/// assert_eq!(vault.open("stream/1/authorization", &sealed).unwrap(), b"Bearer abc");
/// assert!(vault.open("stream/2/authorization", &sealed).is_err());
/// ```
#[derive(Clone)]
pub struct Vault {
    key: Arc<RandomizedNonceKey>,
}

/// What is sealed cannot be opened: under another master key, for another place, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of {place} cannot be opened: the master key is another one, or the store is damaged")]
pub struct Unsealable {
    place: String,
}

impl Vault {
    /// The form of what is sealed, for the day when there is another one.
    const FORM: &'static str = "v1.";

    /// A vault under this master key.
    pub fn new(master_key: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, master_key).expect("the algorithm takes 32 bytes");
        Self { key: Arc::new(key) }
    }

    /// Seals a secret for one place: what is sealed opens only there.
    pub fn seal(&self, place: &str, secret: &[u8]) -> String {
        let mut sealed = secret.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed)
            .expect("a secret is far below the algorithm's bound");
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        format!("{}{}", Self::FORM, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>, Unsealable> {
        let unsealable = || Unsealable { place: place.to_owned() };
        let text = sealed.strip_prefix(Self::FORM).ok_or_else(unsealable)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unsealable())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unsealable())?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut sealed);
        opened.map(|secret| secret.to_vec()).map_err(|_| unsealable())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_place_open_it() {
        let vault = Vault::new(&[1; 32]);
        let sealed = vault.seal("here", b"secret");
        assert_eq!(vault.open("here", &sealed).unwrap(), b"secret");
        assert_ne!(vault.seal("here", b"secret"), sealed, "each seal has a nonce of its own");
        let other_last = if sealed.ends_with('A') { 'Q' } else { 'A' };
        let damaged = format!("{}{other_last}", &sealed[..sealed.len() - 1]);
        let other = Vault::new(&[2; 32]);
        for (vault, place, sealed) in [
            (&other, "here", sealed.as_str()),
            (&vault, "there", &sealed),
            (&vault, "here", &damaged),
            (&vault, "here", "v1."),
            (&vault, "here", ""),
        ] {
            assert!(vault.open(place, sealed).is_err(), "{place} {sealed}");
        }
    }
}
