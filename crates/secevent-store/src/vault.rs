//! Secrets at rest: sealed under a master key that is kept elsewhere.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
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
    /// The first one seals, all open.
    keys: Arc<[MasterKey]>,
}

struct MasterKey {
    fingerprint: String,
    key: RandomizedNonceKey,
}

/// What is sealed cannot be opened: under another master key, for another place, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of {place} cannot be opened: {}", self.why())]
pub struct Unsealable {
    place: String,
    /// The fingerprint of the key it is sealed with, if it says so.
    sealed_with: Option<String>,
    known: Vec<String>,
}

impl Unsealable {
    fn why(&self) -> String {
        let known = self.known.join(", ");
        match &self.sealed_with {
            Some(missing) if !self.known.contains(missing) => format!(
                "it is sealed with the master key {missing}, and the master key is another one: {known}"
            ),
            Some(key) => format!("it is sealed with the master key {key}, and the store is damaged"),
            None => format!("the master key is another one than {known}, or the store is damaged"),
        }
    }
}

impl Vault {
    /// The form of what is sealed: the fingerprint of the key is part of it.
    const FORM: &'static str = "v2.";
    /// The first form, without the fingerprint.
    const FIRST_FORM: &'static str = "v1.";

    /// A vault under this master key.
    pub fn new(master_key: &[u8; 32]) -> Self {
        Self::with_keys(master_key, &[])
    }

    /// A vault under this master key, in which what was sealed with others is opened too: to go from one key to
    /// another, have everything [sealed anew](Self::is_sealed_anew) while both are there.
    pub fn with_keys(master_key: &[u8; 32], others: &[[u8; 32]]) -> Self {
        let keys = std::iter::once(master_key).chain(others).map(MasterKey::new).collect();
        Self { keys }
    }

    /// What the master key is called, which gives nothing away about it.
    pub fn fingerprint_of(master_key: &[u8; 32]) -> String {
        let mut text = b"secevent master key ".to_vec();
        text.extend_from_slice(master_key);
        let digest = digest(&SHA256, &text);
        digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The fingerprint of the key that seals.
    pub fn fingerprint(&self) -> &str {
        &self.sealing().fingerprint
    }

    /// Seals a secret for one place: what is sealed opens only there.
    pub fn seal(&self, place: &str, secret: &[u8]) -> String {
        let MasterKey { fingerprint, key } = self.sealing();
        let mut sealed = secret.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed)
            .expect("a secret is far below the algorithm's bound");
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        format!("{}{fingerprint}.{}", Self::FORM, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>, Unsealable> {
        let (named, text) = Self::parts(sealed);
        let unsealable = || self.unsealable(place, named);
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unsealable())?;
        let candidates = self.keys.iter().filter(|key| named.is_none_or(|named| named == key.fingerprint));
        candidates.filter_map(|key| key.open(place, &bytes)).next().ok_or_else(unsealable)
    }

    /// Whether the key is there that a secret is sealed with.
    pub fn check(&self, place: &str, sealed: &str) -> Result<(), Unsealable> {
        match Self::parts(sealed) {
            (Some(named), _) if self.keys.iter().any(|key| key.fingerprint == named) => Ok(()),
            (Some(named), _) => Err(self.unsealable(place, Some(named))),
            (None, _) => self.open(place, sealed).map(drop),
        }
    }

    /// Whether a text looks like something that a vault has sealed.
    pub fn is_sealed(text: &str) -> bool {
        text.starts_with(Self::FORM) || text.starts_with(Self::FIRST_FORM)
    }

    /// Whether it is sealed in today's form with the key that seals now.
    pub fn is_sealed_anew(&self, sealed: &str) -> bool {
        Self::parts(sealed).0 == Some(self.fingerprint())
    }

    /// The fingerprint of the key, if it is told, and the rest.
    fn parts(sealed: &str) -> (Option<&str>, &str) {
        match sealed.strip_prefix(Self::FORM).and_then(|rest| rest.split_once('.')) {
            Some((fingerprint, text)) => (Some(fingerprint), text),
            None => (None, sealed.strip_prefix(Self::FIRST_FORM).unwrap_or_default()),
        }
    }

    fn unsealable(&self, place: &str, named: Option<&str>) -> Unsealable {
        let known = self.keys.iter().map(|key| key.fingerprint.clone()).collect();
        Unsealable { place: place.to_owned(), sealed_with: named.map(str::to_owned), known }
    }

    fn sealing(&self) -> &MasterKey {
        self.keys.first().expect("there is one from the start")
    }
}

impl MasterKey {
    fn new(key: &[u8; 32]) -> Self {
        let fingerprint = Vault::fingerprint_of(key);
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("the algorithm takes 32 bytes");
        Self { fingerprint, key }
    }

    fn open(&self, place: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut sealed);
        opened.ok().map(|secret| secret.to_vec())
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
            (&vault, "here", "v2."),
            (&vault, "here", "v2.x.y"),
            (&vault, "here", ""),
        ] {
            assert!(vault.open(place, sealed).is_err(), "{place} {sealed}");
        }
    }

    #[test]
    fn what_an_old_key_sealed_opens_while_it_is_there_and_is_sealed_anew() {
        let (old, new) = ([1; 32], [2; 32]);
        let sealed = Vault::new(&old).seal("here", b"secret");
        let both = Vault::with_keys(&new, &[old]);
        assert_eq!(both.open("here", &sealed).unwrap(), b"secret");
        assert!(both.check("here", &sealed).is_ok() && !both.is_sealed_anew(&sealed));
        let anew = both.seal("here", b"secret");
        assert!(both.is_sealed_anew(&anew) && Vault::is_sealed(&anew));
        assert_eq!(Vault::new(&new).open("here", &anew).unwrap(), b"secret");

        let missing = Vault::new(&new).check("here", &sealed).unwrap_err();
        assert_eq!(Vault::new(&new).open("here", &sealed), Err(missing.clone()));
        let (old, new) = (Vault::fingerprint_of(&old), Vault::fingerprint_of(&new));
        let told = format!(
            "the secret of here cannot be opened: it is sealed with the master key {old}, and the master key is \
             another one: {new}"
        );
        assert_eq!(missing.to_string(), told);
    }

    /// What was sealed before fingerprints were told is read for ever.
    #[test]
    fn the_first_form_is_opened() {
        let sealed = "v1.AAECAwQFBgcICQoLyMP2VEWKMBSqPdXf-ZAI0GeIMwXNEw";
        let vault = Vault::with_keys(&[2; 32], &[[1; 32]]);
        assert_eq!(vault.open("here", sealed).unwrap(), b"secret");
        assert!(vault.check("here", sealed).is_ok() && !vault.is_sealed_anew(sealed));
        assert!(Vault::new(&[2; 32]).check("here", sealed).is_err());
    }
}
