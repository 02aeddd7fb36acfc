//! A public key, as RFC 7517 writes it.

use crate::{Algorithm, AlgorithmError, Excerpt, KeyType};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A public key that checks signatures (JWK, RFC 7517).
///
/// A `Jwk` is read leniently, as keys come in all dialects: members it does not know are ignored, and so are
/// the private ones, which never get in. What it holds is sound: an RSA modulus between
/// [`Jwk::RSA_BITS_MIN`] and [`Jwk::RSA_BITS_MAX`], a point that lies on its curve, a purpose that includes
/// signatures. The key is parsed for the cryptography library once, here, and never again.
///
/// ```
/// use secevent_jose::{Jwk, KeyType};
///
/// let jwk = Jwk::from_json(
///     r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","x-new":1}"#,
/// )?;
/// assert_eq!(jwk.key_type(), KeyType::Ed25519);
/// assert_eq!(jwk.kid(), None);
/// assert_eq!(jwk.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// # Ok::<(), secevent_jose::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Jwk {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    numbers: Numbers,
    /// One entry for each algorithm the key may verify; the library ties the hash to the parsed key.
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Why a key is not taken.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not what the format asks for.
    #[error("`{part}` {problem}")]
    Malformed {
        /// Where: a member of a JWK, or the document.
        part: &'static str,
        /// What is wrong, to be read after the part.
        problem: &'static str,
    },
    /// More than we are willing to read.
    #[error("`{part}` is larger than {max}")]
    TooLarge {
        /// What is too large.
        part: &'static str,
        /// How large it may be.
        max: usize,
    },
    /// A type of key or a curve that we do not know.
    #[error("{name} is not a supported type of key")]
    UnsupportedType {
        /// The `kty`, `crv`, object identifier or PEM label.
        name: Excerpt,
    },
    /// `alg` is none of our algorithms.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// `alg` needs another type of key.
    #[error("{algorithm} does not work with a key of type {key_type}")]
    AlgorithmMismatch {
        /// The algorithm that was asked for.
        algorithm: Algorithm,
        /// The type of the key at hand.
        key_type: KeyType,
    },
    /// `use` or `key_ops` keep the key for something else.
    #[error("the key is not for signatures, says its `{member}`")]
    NotForSignatures {
        /// The member that says so.
        member: &'static str,
    },
    /// An RSA key that is too short to be safe, or so long that checking its signatures is a burden.
    #[error("an RSA key must have {min} to {max} bits, not {bits}", min = Jwk::RSA_BITS_MIN, max = Jwk::RSA_BITS_MAX)]
    RsaSize {
        /// The length of the modulus.
        bits: usize,
    },
    /// Numbers that make no key: a point off the curve, an even modulus, parts that contradict each other.
    #[error("the numbers do not make a sound key")]
    Unsound,
    /// An encrypted private key; we hold no passphrases.
    #[error("the key is encrypted; decrypt it first")]
    Encrypted,
    /// The cryptography library could not make a key.
    #[error("the cryptography library could not make a key")]
    NotGenerated,
    /// The same key, under the same `kid`, stands in the set already.
    #[error("the set holds this key already")]
    Duplicate,
    /// A published set without a single key that can be used.
    #[error("the set has no usable key{}", reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}")))]
    NoUsableKey {
        /// Why the first of its keys cannot be used. None if the set is empty.
        reason: Option<Box<KeyError>>,
    },
}

impl Jwk {
    /// The shortest RSA modulus that is accepted (RFC 7518 section 3.3).
    pub const RSA_BITS_MIN: usize = 2048;
    /// The longest: verification time grows with its square, and anyone may publish a key.
    pub const RSA_BITS_MAX: usize = 8192;
    /// The longest `kid`.
    pub const KID_BYTES_MAX: usize = 512;

    /// Reads one JWK. Private members, if any, are not kept.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::read(json.as_ref(), "verify")
    }

    /// Reads the public half of a JWK whose `key_ops`, if it has any, must list `operation`.
    pub(crate) fn read(json: &[u8], operation: &str) -> Result<Self, KeyError> {
        let members: Members = serde_json::from_slice(json)
            .map_err(|_| malformed("jwk", "must be a JSON object of JWK members, each at most once"))?;
        if members.purpose.is_some_and(|purpose| purpose != "sig") {
            return Err(KeyError::NotForSignatures { member: "use" });
        }
        if members.key_ops.is_some_and(|operations| !operations.iter().any(|listed| listed == operation)) {
            return Err(KeyError::NotForSignatures { member: "key_ops" });
        }
        let numbers = match (members.kty.as_str(), members.crv.as_deref()) {
            ("RSA", _) => Numbers::rsa(&octets("n", members.n)?, &octets("e", members.e)?)?,
            ("EC", Some("P-256")) => {
                Numbers::ec(KeyType::P256, &octets("x", members.x)?, &octets("y", members.y)?)?
            }
            ("EC", Some("P-384")) => {
                Numbers::ec(KeyType::P384, &octets("x", members.x)?, &octets("y", members.y)?)?
            }
            ("EC", Some("P-521")) => {
                Numbers::ec(KeyType::P521, &octets("x", members.x)?, &octets("y", members.y)?)?
            }
            ("OKP", Some("Ed25519")) => Numbers::ed25519(&octets("x", members.x)?)?,
            ("EC" | "OKP", None) => return Err(malformed("crv", "is missing")),
            (kty, crv) => {
                let name = if matches!(kty, "EC" | "OKP") { crv.unwrap_or_default() } else { kty };
                return Err(KeyError::UnsupportedType { name: name.into() });
            }
        };
        let algorithm = members.alg.as_deref().map(str::parse).transpose()?;
        Self::new(numbers, members.kid, algorithm)
    }

    pub(crate) fn new(
        numbers: Numbers,
        kid: Option<String>,
        algorithm: Option<Algorithm>,
    ) -> Result<Self, KeyError> {
        let key_type = numbers.key_type();
        if let Some(algorithm) = algorithm
            && algorithm.key_type() != key_type
        {
            return Err(KeyError::AlgorithmMismatch { algorithm, key_type });
        }
        kid.as_deref().map_or(Ok(()), check_kid)?;
        let parsed = Algorithm::ALL
            .into_iter()
            .filter(|&candidate| {
                candidate.key_type() == key_type && algorithm.is_none_or(|it| it == candidate)
            })
            // Both names of Ed25519 are one signature: one parsed key serves them.
            .take(if key_type == KeyType::Ed25519 { 1 } else { usize::MAX })
            .map(|candidate| Ok((candidate, numbers.parse(candidate)?)))
            .collect::<Result<_, KeyError>>()?;
        Ok(Self { kid, algorithm, numbers, parsed })
    }

    /// The name of the key in its set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm the key is for, if its JWK names one.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// What kind of key it is.
    pub fn key_type(&self) -> KeyType {
        self.numbers.key_type()
    }

    /// The same key under this name.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, KeyError> {
        let kid = kid.into();
        check_kid(&kid)?;
        self.kid = Some(kid);
        Ok(self)
    }

    /// The same key, for this algorithm and no other.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        Self::new(self.numbers, self.kid, Some(algorithm))
    }

    /// The SHA-256 thumbprint in base64url (RFC 7638): a name that follows from the key alone.
    pub fn thumbprint(&self) -> String {
        let json = match &self.numbers {
            Numbers::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n))
            }
            Numbers::Ec { key_type, .. } => {
                let (x, y) = self.numbers.coordinates();
                format!(r#"{{"crv":"{key_type}","kty":"EC","x":"{}","y":"{}"}}"#, base64url(x), base64url(y))
            }
            Numbers::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(x)),
        };
        base64url(digest::digest(&digest::SHA256, json.as_bytes()).as_ref())
    }

    /// The JWK as JSON: `kty`, the numbers, `use` `sig`, and `alg` and `kid` if there are any.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings serialize")
    }

    pub(crate) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The key as the library wants it for this algorithm; nothing when the key is for another.
    pub(crate) fn parsed(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.parsed.iter().find(|(it, _)| it.is_same_signature(algorithm)).map(|(_, key)| key)
    }
}

impl PartialEq for Jwk {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, self.algorithm, &self.numbers) == (&other.kid, other.algorithm, &other.numbers)
    }
}

impl Eq for Jwk {}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("kid", &self.kid)
            .field("key_type", &self.key_type())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        match &self.numbers {
            Numbers::Rsa { n, e } => {
                members.serialize_entry("kty", "RSA")?;
                members.serialize_entry("n", &base64url(n))?;
                members.serialize_entry("e", &base64url(e))?;
            }
            Numbers::Ec { key_type, .. } => {
                let (x, y) = self.numbers.coordinates();
                members.serialize_entry("kty", "EC")?;
                members.serialize_entry("crv", &key_type.to_string())?;
                members.serialize_entry("x", &base64url(x))?;
                members.serialize_entry("y", &base64url(y))?;
            }
            Numbers::Ed25519 { x } => {
                members.serialize_entry("kty", "OKP")?;
                members.serialize_entry("crv", "Ed25519")?;
                members.serialize_entry("x", &base64url(x))?;
            }
        }
        members.serialize_entry("use", "sig")?;
        if let Some(algorithm) = self.algorithm {
            members.serialize_entry("alg", algorithm.as_str())?;
        }
        if let Some(kid) = &self.kid {
            members.serialize_entry("kid", kid)?;
        }
        members.end()
    }
}

/// The numbers of a public key, in their one canonical form: without leading zeros for RSA, of full length
/// for the curves.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Numbers {
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// The uncompressed point of SEC 1: 0x04, x, y.
    Ec {
        key_type: KeyType,
        point: Box<[u8]>,
    },
    Ed25519 {
        x: [u8; 32],
    },
}

impl Numbers {
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        // Some writers put the sign byte of DER before the modulus, which RFC 7518 section 6.3.1.1 regrets.
        let [n, e] = [n, e].map(|number| {
            let zeros = number.iter().take_while(|&&byte| byte == 0).count();
            &number[zeros..]
        });
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(Jwk::RSA_BITS_MIN..=Jwk::RSA_BITS_MAX).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        // A longer exponent makes verification as slow as signing; the exponent 1 makes it meaningless.
        if !is_odd(n) || !is_odd(e) || e == [1] || e.len() > 4 {
            return Err(KeyError::Unsound);
        }
        Ok(Self::Rsa { n: n.into(), e: e.into() })
    }

    pub(crate) fn ec(key_type: KeyType, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let length = coordinate_bytes(key_type);
        if x.len() != length || y.len() != length {
            // RFC 7518 section 6.2.1.2: leading zeros are part of a coordinate.
            return Err(malformed("x, y", "must be as long as the curve's numbers"));
        }
        Ok(Self::Ec { key_type, point: [&[4], x, y].concat().into() })
    }

    pub(crate) fn ec_point(key_type: KeyType, point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 1 + 2 * coordinate_bytes(key_type) || point[0] != 4 {
            return Err(malformed("subjectPublicKey", "must be an uncompressed point of its curve"));
        }
        Ok(Self::Ec { key_type, point: point.into() })
    }

    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let x = x.try_into().map_err(|_| malformed("x", "must have 32 bytes"))?;
        Ok(Self::Ed25519 { x })
    }

    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::Rsa,
            Self::Ec { key_type, .. } => *key_type,
            Self::Ed25519 { .. } => KeyType::Ed25519,
        }
    }

    /// The halves of a point.
    fn coordinates(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Ec { key_type, point } => point[1..].split_at(coordinate_bytes(*key_type)),
            Self::Rsa { .. } | Self::Ed25519 { .. } => (&[], &[]),
        }
    }

    /// Hands the key to the library, which refuses a point that is not on its curve.
    fn parse(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
        match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa_parameters(algorithm))
            }
            Self::Ec { key_type, point } => ParsedPublicKey::new(ecdsa(*key_type), point),
            Self::Ed25519 { x } => ParsedPublicKey::new(&signature::ED25519, x),
        }
        .map_err(|_| KeyError::Unsound)
    }
}

/// What is read of a JWK. A member of a wrong type, or one that stands there twice, spoils the key.
#[derive(Deserialize)]
struct Members {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn check_kid(kid: &str) -> Result<(), KeyError> {
    if kid.len() <= Jwk::KID_BYTES_MAX {
        return Ok(());
    }
    Err(KeyError::TooLarge { part: "kid", max: Jwk::KID_BYTES_MAX })
}

fn octets(member: &'static str, value: Option<String>) -> Result<Vec<u8>, KeyError> {
    let text = value.ok_or_else(|| malformed(member, "is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(member, "must be base64url without padding"))
}

pub(crate) fn malformed(part: &'static str, problem: &'static str) -> KeyError {
    KeyError::Malformed { part, problem }
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) const fn coordinate_bytes(key_type: KeyType) -> usize {
    match key_type {
        KeyType::P384 => 48,
        KeyType::P521 => 66,
        KeyType::P256 | KeyType::Rsa | KeyType::Ed25519 => 32,
    }
}

fn rsa_parameters(algorithm: Algorithm) -> &'static RsaParameters {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => &signature::RSA_PKCS1_2048_8192_SHA256,
    }
}

fn ecdsa(key_type: KeyType) -> &'static dyn VerificationAlgorithm {
    match key_type {
        KeyType::P384 => &signature::ECDSA_P384_SHA384_FIXED,
        KeyType::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        _ => &signature::ECDSA_P256_SHA256_FIXED,
    }
}
