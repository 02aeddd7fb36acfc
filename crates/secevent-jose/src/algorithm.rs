//! Signature algorithms: their names, the keys they need, and which of them a party allows.

use crate::Excerpt;
use std::fmt;
use std::str::FromStr;

/// A signature algorithm of JWS (RFC 7518 section 3.1, RFC 8037, RFC 9864).
///
/// Only signatures with a public key exist here. `none` and the symmetric `HS*` cannot be expressed.
///
/// ```
/// use secevent_jose::Algorithm;
///
/// let algorithm: Algorithm = "ES256".parse()?;
/// assert_eq!(algorithm.as_str(), "ES256");
/// assert!("none".parse::<Algorithm>().is_err());
/// assert!("HS256".parse::<Algorithm>().is_err());
/// # Ok::<(), secevent_jose::AlgorithmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every receiver understands, and the default of SSF interop.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Edwards-curve signatures under their first name (RFC 8037); here always on Ed25519.
    EdDsa,
    /// The same signature under its fully-specified name (RFC 9864).
    Ed25519,
}

/// The kind of key an algorithm needs: the JWK members `kty` and `crv` in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `kty` `RSA`.
    Rsa,
    /// `kty` `EC`, `crv` `P-256`.
    P256,
    /// `kty` `EC`, `crv` `P-384`.
    P384,
    /// `kty` `EC`, `crv` `P-521`.
    P521,
    /// `kty` `OKP`, `crv` `Ed25519`.
    Ed25519,
}

/// A name in `alg` that is no algorithm of ours, with the reason.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// `none`, in whatever case.
    #[error("`none` is not accepted: a token without a signature proves nothing")]
    None,
    /// A message authentication code: whoever can check it can also forge it.
    #[error("{name} is a symmetric algorithm, which is not accepted")]
    Symmetric {
        /// The name as it was written.
        name: Excerpt,
    },
    /// Weak, unknown, or not for signatures.
    #[error("{name} is not a supported signature algorithm")]
    Unsupported {
        /// The name as it was written.
        name: Excerpt,
    },
}

impl Algorithm {
    /// Every algorithm, in the order in which [`Algorithms`] lists them.
    pub const ALL: [Self; 11] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::Ed25519,
    ];

    /// The registered name: what stands in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The key it needs.
    pub const fn key_type(self) -> KeyType {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyType::Rsa,
            Self::Es256 => KeyType::P256,
            Self::Es384 => KeyType::P384,
            Self::Es512 => KeyType::P521,
            Self::EdDsa | Self::Ed25519 => KeyType::Ed25519,
        }
    }

    /// Whether both names mean one signature: equal names, or `EdDSA` and `Ed25519`.
    pub fn is_same_signature(self, other: Self) -> bool {
        self == other || (self.key_type() == KeyType::Ed25519 && other.key_type() == KeyType::Ed25519)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(name: &str) -> Result<Self, AlgorithmError> {
        if let Some(algorithm) = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name) {
            return Ok(algorithm);
        }
        Err(if name.eq_ignore_ascii_case("none") {
            AlgorithmError::None
        } else if matches!(name, "HS256" | "HS384" | "HS512") {
            AlgorithmError::Symmetric { name: name.into() }
        } else {
            AlgorithmError::Unsupported { name: name.into() }
        })
    }
}

impl KeyType {
    /// The algorithm a key of this type is taken for when nothing else is said.
    pub const fn default_algorithm(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::Rs256,
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
            Self::Ed25519 => Algorithm::EdDsa,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// The algorithms one party allows another (RFC 8725 section 3.1): the verifier names them, never the token.
///
/// A list that holds `EdDSA` also lets `Ed25519` in, because the newer name means the same signature and
/// says it more exactly. A list that holds only `Ed25519` keeps the older, ambiguous name out.
///
/// ```
/// use secevent_jose::{Algorithm, Algorithms};
///
/// let allowed = Algorithms::of(&[Algorithm::Ps256, Algorithm::EdDsa]);
/// assert!(allowed.contains(Algorithm::Ed25519));
/// assert!(!allowed.contains(Algorithm::Rs256));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    /// What an issuer may use unless more is known: one algorithm for each type of key. So each key has one
    /// algorithm even where its JWK names none (RFC 8725 section 3.1), and RSA means RS256.
    pub const DEFAULT: Self = Self::of(&[
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
        Algorithm::Ed25519,
    ]);

    /// Every algorithm there is here.
    pub const ALL: Self = Self::of(&Algorithm::ALL);

    /// Exactly these.
    pub const fn of(algorithms: &[Algorithm]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < algorithms.len() {
            bits |= 1 << algorithms[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    /// Whether a token with this `alg` is let in.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        let mut accepted = 1 << algorithm as u16;
        if matches!(algorithm, Algorithm::Ed25519) {
            accepted |= 1 << Algorithm::EdDsa as u16;
        }
        self.0 & accepted != 0
    }

    /// The algorithms that are let in, in the order of [`Algorithm::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |&algorithm| self.contains(algorithm))
    }

    /// The one algorithm of a key of this type whose JWK names none: the first of the list. A key used with
    /// two algorithms would lean on neither's security argument (RFC 8725 section 3.1).
    pub fn first_for(self, key_type: KeyType) -> Option<Algorithm> {
        self.iter().find(|algorithm| algorithm.key_type() == key_type)
    }
}

impl Default for Algorithms {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromIterator<Algorithm> for Algorithms {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        Self(algorithms.into_iter().fold(0, |bits, algorithm| bits | Self::of(&[algorithm]).0))
    }
}

impl fmt::Debug for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            assert!(algorithm.as_str().to_ascii_lowercase().parse::<Algorithm>().is_err(), "{algorithm}");
        }
    }

    // spec: JWTBCP-02, JWTBCP-03, JWTBCP-04
    #[test]
    fn unsound_names_say_why() {
        for name in ["none", "None", "NONE", "nOnE"] {
            assert_eq!(name.parse::<Algorithm>(), Err(AlgorithmError::None), "{name}");
        }
        for name in ["HS256", "HS384", "HS512"] {
            assert_eq!(name.parse::<Algorithm>(), Err(AlgorithmError::Symmetric { name: name.into() }));
        }
        for name in ["", "RS1", "RSA1_5", "RSA-OAEP", "dir", "ES256K", "Ed448", "rs256", " RS256", "RS256 "] {
            assert_eq!(name.parse::<Algorithm>(), Err(AlgorithmError::Unsupported { name: name.into() }));
        }
    }

    #[test]
    fn lists_hold_what_they_were_given() {
        for listed in Algorithm::ALL {
            for asked in Algorithm::ALL {
                let expected = listed == asked || (listed, asked) == (Algorithm::EdDsa, Algorithm::Ed25519);
                assert_eq!(Algorithms::of(&[listed]).contains(asked), expected, "{listed} {asked}");
            }
        }
        assert_eq!(Algorithm::ALL.into_iter().collect::<Algorithms>(), Algorithms::ALL);
        assert_eq!(Algorithms::of(&[]).iter().count(), 0);
        assert_eq!(format!("{:?}", Algorithms::of(&[Algorithm::Es256])), "{Es256}");
    }

    #[test]
    fn one_algorithm_a_key() {
        assert_eq!(Algorithms::ALL.first_for(KeyType::Rsa), Some(Algorithm::Rs256));
        assert_eq!(Algorithms::of(&[Algorithm::Ps384]).first_for(KeyType::Rsa), Some(Algorithm::Ps384));
        assert_eq!(Algorithms::of(&[Algorithm::Ps384]).first_for(KeyType::P256), None);
        for algorithm in Algorithms::DEFAULT.iter() {
            let first = Algorithms::DEFAULT.first_for(algorithm.key_type()).unwrap();
            assert!(first.is_same_signature(algorithm), "{algorithm}");
            assert!(first.is_same_signature(algorithm.key_type().default_algorithm()), "{algorithm}");
        }
    }
}
