//! The public keys of one issuer, as its `jwks_uri` serves them (RFC 7517 section 5).

use crate::jwk::malformed;
use crate::{Jwk, KeyError};
use secevent::json::without_bom;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A set of public keys.
///
/// Reading is lenient, because an issuer may publish keys for other purposes and of later types: a key that
/// cannot be used is left out and listed in [`JwkSet::skipped`] with the reason, and the rest still works.
/// What is written is exactly the keys of the set, public halves only.
///
/// ```
/// use secevent_jose::JwkSet;
///
/// let set = JwkSet::from_json(
///     r#"{"keys":[
///         {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///         {"kty":"oct","kid":"b","k":"c2VjcmV0"}
///     ]}"#,
/// )?;
/// assert_eq!(set.keys().len(), 1);
/// assert_eq!(set.skipped()[0].reason.to_string(), r#""oct" is not a supported type of key"#);
/// # Ok::<(), secevent_jose::KeyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
    #[serde(skip)]
    skipped: Vec<SkippedKey>,
}

/// A member of `keys` that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, counted from 0.
    pub place: usize,
    /// Its `kid`, if it has a readable one.
    pub kid: Option<String>,
    /// What is wrong with it.
    pub reason: KeyError,
}

impl JwkSet {
    /// The longest document that is read.
    pub const JSON_BYTES_MAX: usize = 512 * 1024;
    /// The most members `keys` may have.
    pub const KEYS_MAX: usize = 100;

    /// A set of these keys.
    pub fn new(keys: impl IntoIterator<Item = Jwk>) -> Self {
        Self { keys: keys.into_iter().collect(), skipped: Vec::new() }
    }

    /// Reads a JWK Set. It fails only when the document as a whole is none, or is too large. A byte order mark is
    /// skipped.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let json = without_bom(json.as_ref());
        if json.len() > Self::JSON_BYTES_MAX {
            return Err(KeyError::TooLarge { part: "jwks", max: Self::JSON_BYTES_MAX });
        }
        let document: Document<'_> = serde_json::from_slice(json)
            .map_err(|_| malformed("jwks", "must be a JSON object with an array `keys`"))?;
        if document.keys.len() > Self::KEYS_MAX {
            return Err(KeyError::TooLarge { part: "keys", max: Self::KEYS_MAX });
        }
        let mut set = Self::default();
        for (place, json) in document.keys.iter().enumerate() {
            let key = Jwk::from_json(json.get()).and_then(|key| {
                // Two keys may share a `kid` (RFC 7517 section 4.5) and are both tried; copies are not.
                if set.keys.contains(&key) { Err(KeyError::Duplicate) } else { Ok(key) }
            });
            match key {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.skipped.push(SkippedKey { place, kid: readable_kid(json), reason }),
            }
        }
        Ok(set)
    }

    /// Reads the JWK Set that another party publishes: like [`JwkSet::from_json`], but a set without a single usable
    /// key is an error. Whoever publishes one made a mistake, and the keys known before are the better guess.
    ///
    /// ```
    /// use secevent_jose::JwkSet;
    ///
    /// let empty = JwkSet::published(r#"{"keys":[]}"#).unwrap_err();
    /// assert_eq!(empty.to_string(), "the set has no usable key");
    /// ```
    pub fn published(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let set = Self::from_json(json)?;
        if set.keys.is_empty() {
            let reason = set.skipped.into_iter().next().map(|skipped| Box::new(skipped.reason));
            return Err(KeyError::NoUsableKey { reason });
        }
        Ok(set)
    }

    /// The set as JSON: what a `jwks_uri` serves.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings serialize")
    }

    /// The keys that can be used, in the order of the document.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The keys that cannot.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The keys of this name: one, as a rule.
    pub fn with_kid(&self, kid: &str) -> impl Iterator<Item = &Jwk> {
        self.keys.iter().filter(move |key| key.kid() == Some(kid))
    }
}

impl FromIterator<Jwk> for JwkSet {
    fn from_iter<I: IntoIterator<Item = Jwk>>(keys: I) -> Self {
        Self::new(keys)
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

fn readable_kid(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        kid: Option<String>,
    }
    let named: Named = serde_json::from_str(json.get()).ok()?;
    named.kid.filter(|kid| kid.len() <= Jwk::KID_BYTES_MAX)
}
