//! How a Security Event Token is signed and checked: compact JWS, JWK sets and key rings.
//!
//! A SET travels as a *compact token*: three parts of base64url with dots between them, for header, payload
//! and signature (RFC 7515). This crate makes such tokens from a payload and takes them apart again. It
//! neither reads the payload nor fetches keys nor looks at a clock; bytes go in, bytes or a reason come out.
//!
//! ```
//! use secevent_jose::{Algorithm, Compact, IssuerKeys, JwkSet, KeyRing, Signer, SigningKey, TypRule};
//!
//! // The issuer signs with the current key of its ring, and publishes the public halves.
//! let ring = KeyRing::new(SigningKey::generate(Algorithm::Rs256)?);
//! let jwks = ring.public_keys().to_json();
//! let token = ring.signer(Signer::SECURITY_EVENT).sign(br#"{"iss":"https://idp.example/"}"#)?;
//!
//! // The receiver has fetched these keys and says what it allows.
//! let issuer = IssuerKeys::new("https://idp.example/", JwkSet::from_json(&jwks)?);
//! let compact = Compact::parse(&token)?;
//! let verified = issuer.verify(&compact, TypRule::SecurityEvent)?;
//! assert_eq!(verified.payload(), br#"{"iss":"https://idp.example/"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The nouns:
//!
//! | | |
//! |---|---|
//! | [`Algorithm`], [`Algorithms`] | how a signature is made; which ways a party allows |
//! | [`SigningKey`] | a private key with its one algorithm; generated, or read from PEM, DER or JWK |
//! | [`Jwk`], [`JwkSet`] | a public key; the keys of an issuer as its `jwks_uri` serves them |
//! | [`KeyRing`] | the signing keys of an issuer over time: previous, current, next |
//! | [`Signer`] | makes tokens of one type with one key |
//! | [`Compact`], [`Header`] | a token taken apart, not yet believed |
//! | [`IssuerKeys`], [`TypRule`] | how the tokens of one issuer are verified |
//! | [`VerifiedPayload`], [`VerifyError`] | the outcome, with the [`secevent::Fault`] to answer |
//!
//! What cannot be done here, on purpose (RFC 8725): tokens without a signature (`none`), symmetric
//! algorithms, encrypted, nested or compressed tokens, unknown critical extensions, and keys that a token
//! brings along or points to.

mod algorithm;
mod detached;
mod excerpt;
mod header;
mod jwk;
mod jwk_set;
mod jws;
mod key_ring;
mod pem;
mod secret;
mod set;
mod signing_key;
mod verify;

pub use algorithm::{Algorithm, AlgorithmError, Algorithms, KeyType};
pub use detached::Detached;
pub use excerpt::Excerpt;
pub use header::Header;
pub use jwk::{Jwk, KeyError};
pub use jwk_set::{JwkSet, SkippedKey};
pub use jws::{Compact, Signer};
pub use key_ring::{
    CurrentKey, KeyRing, KeyRingError, NextKey, PreviousKey, RotationTimes, StoredCurrentKey, StoredKeyRing,
    StoredNextKey, StoredPreviousKey,
};
pub use secret::SecretText;
pub use set::Expected;
pub use signing_key::{RsaSize, SignError, SigningKey};
pub use verify::{IssuerKeys, TypRule, VerifiedPayload, VerifyError};
