//! Whether a token is what it says: its type, its algorithm, its key, its signature.

use crate::header::is_media_type;
use crate::{Algorithm, AlgorithmError, Algorithms, Compact, Excerpt, Jwk, JwkSet, KeyError};
use secevent::{Fault, Invalid};
use std::fmt;

/// Why a token is refused.
///
/// The messages are safe to log and to send: foreign text in them is escaped and cut.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is no token, or one of a form that is not accepted.
    #[error("the token is malformed: {0}")]
    Malformed(#[from] Invalid),
    /// It is a JWE.
    #[error("encrypted tokens are not accepted")]
    Encrypted,
    /// It is another kind of token.
    #[error("the token must be {expected}; its `typ` is {}", found.as_ref().map_or("absent".to_owned(), ToString::to_string))]
    Typ {
        /// The `typ` of the token, if it has one.
        found: Option<Excerpt>,
        /// What was asked for.
        expected: TypRule,
    },
    /// Its `alg` is `none`, symmetric or unknown.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// Its `alg` is not on the issuer's list.
    #[error("{algorithm} is not allowed for this issuer")]
    AlgorithmNotAllowed {
        /// The algorithm of the token.
        algorithm: Algorithm,
    },
    /// The issuer has no such key; the set may be out of date.
    #[error("the issuer has no key {}", kid.as_ref().map_or("for this algorithm".to_owned(), ToString::to_string))]
    UnknownKey {
        /// The `kid` of the token, if it has one.
        kid: Option<Excerpt>,
    },
    /// The issuer publishes the key, but it cannot be used: too short, say, or not for signatures.
    #[error("the issuer's key {kid} cannot be used: {reason}")]
    UnusableKey {
        /// The `kid` of the token.
        kid: Excerpt,
        /// What is wrong with the key.
        reason: KeyError,
    },
    /// The key exists and is for another algorithm.
    #[error("the issuer's key {kid} is not for {algorithm}")]
    KeyAlgorithm {
        /// The `kid` of the token.
        kid: Excerpt,
        /// The `alg` of the token.
        algorithm: Algorithm,
    },
    /// The signature is not one of this key over these bytes.
    #[error("the signature does not match")]
    BadSignature,
    /// Nobody we take tokens from.
    #[error("the issuer {issuer} is not known here")]
    UnknownIssuer {
        /// The `iss` of the token.
        issuer: Excerpt,
    },
    /// The token names an issuer, and the key that signed it is another one's.
    #[error("the token says it is from {issuer}, whose key did not sign it")]
    ForeignKey {
        /// The `iss` of the token.
        issuer: Excerpt,
    },
    /// The token is for somebody else, or for nobody.
    #[error("the token is not for this audience")]
    Audience,
}

impl VerifyError {
    /// What is answered to the transmitter (RFC 8935 section 2.4).
    pub fn fault(&self) -> Fault {
        match self {
            // Also when it is missing: the SET is for nobody then.
            Self::Malformed(breach) if breach.member() == "aud" => Fault::InvalidAudience,
            Self::Malformed(_) | Self::Encrypted | Self::Typ { .. } => Fault::InvalidRequest,
            Self::Algorithm(_)
            | Self::AlgorithmNotAllowed { .. }
            | Self::UnknownKey { .. }
            | Self::UnusableKey { .. }
            | Self::KeyAlgorithm { .. }
            | Self::BadSignature => Fault::InvalidKey,
            Self::UnknownIssuer { .. } | Self::ForeignKey { .. } => Fault::InvalidIssuer,
            Self::Audience => Fault::InvalidAudience,
        }
    }
}

/// Which `typ` a token must have. The rules exclude each other's tokens (RFC 8725 section 3.12), but for
/// those that admit untyped tokens: there the claims must tell.
///
/// A `typ` is compared as a media type: in any case, with or without `application/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypRule {
    /// A Security Event Token, typed as such (RFC 8417 section 2.3).
    SecurityEvent,
    /// The same, or untyped: no `typ`, or `JWT`. For transmitters older than the type.
    SecurityEventOrUntyped,
    /// A logout token, typed as such.
    LogoutToken,
    /// The same, or untyped, as most OpenID providers send it.
    LogoutTokenOrUntyped,
    /// An OAuth access token (RFC 9068), which is never a SET.
    AccessToken,
    /// The same, or untyped: for authorization servers older than the type.
    AccessTokenOrUntyped,
    /// What a client shows to prove who it is (RFC 7523): mostly untyped, or typed as such.
    ClientAssertion,
}

impl TypRule {
    /// Whether a token of this `typ` may pass.
    ///
    /// ```
    /// use secevent_jose::TypRule;
    ///
    /// assert!(TypRule::SecurityEvent.admits(Some("application/SecEvent+JWT")));
    /// assert!(!TypRule::SecurityEvent.admits(None));
    /// assert!(TypRule::LogoutTokenOrUntyped.admits(None));
    /// ```
    pub fn admits(self, typ: Option<&str>) -> bool {
        let (expected, is_untyped_admitted) = self.parts();
        match typ {
            None => is_untyped_admitted,
            Some(typ) => is_media_type(typ, expected) || (is_untyped_admitted && is_media_type(typ, "JWT")),
        }
    }

    fn parts(self) -> (&'static str, bool) {
        match self {
            Self::SecurityEvent => ("secevent+jwt", false),
            Self::SecurityEventOrUntyped => ("secevent+jwt", true),
            Self::LogoutToken => ("logout+jwt", false),
            Self::LogoutTokenOrUntyped => ("logout+jwt", true),
            Self::AccessToken => ("at+jwt", false),
            Self::AccessTokenOrUntyped => ("at+jwt", true),
            Self::ClientAssertion => ("client-authentication+jwt", true),
        }
    }

    fn check(self, typ: Option<&str>) -> Result<(), VerifyError> {
        if self.admits(typ) {
            return Ok(());
        }
        Err(VerifyError::Typ { found: typ.map(Excerpt::from), expected: self })
    }
}

impl fmt::Display for TypRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, is_untyped_admitted) = self.parts();
        write!(f, "`{expected}`{}", if is_untyped_admitted { " or untyped" } else { "" })
    }
}

/// How the tokens of one issuer are verified: with its keys, and the algorithms it may use.
///
/// ```
/// use secevent_jose::{Algorithm, Compact, IssuerKeys, JwkSet, Signer, SigningKey, TypRule};
///
/// let signer = Signer::new(SigningKey::generate(Algorithm::Es256)?, Signer::SECURITY_EVENT);
/// let token = signer.sign(b"{}")?;
///
/// let keys = JwkSet::new([signer.key().public().clone()]);
/// let issuer = IssuerKeys::new("https://idp.example/", keys);
/// let compact = Compact::parse(&token)?;
/// let verified = issuer.verify(&compact, TypRule::SecurityEvent)?;
/// assert_eq!(verified.payload(), b"{}");
/// assert_eq!(verified.issuer(), "https://idp.example/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKeys {
    issuer: String,
    keys: JwkSet,
    allowed: Algorithms,
}

/// A payload whose signature was checked, and by which key. Only verification makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedPayload<'a> {
    issuer: &'a str,
    key: &'a Jwk,
    compact: &'a Compact<'a>,
}

impl IssuerKeys {
    /// How many keys are tried for a token without `kid`, or when several keys share it.
    pub const KEYS_TRIED_MAX: usize = 4;

    /// The keys of this issuer, with [`Algorithms::DEFAULT`].
    pub fn new(issuer: impl Into<String>, keys: JwkSet) -> Self {
        Self { issuer: issuer.into(), keys, allowed: Algorithms::DEFAULT }
    }

    /// The same, with these algorithms and no others.
    #[must_use]
    pub fn allow_only(mut self, allowed: Algorithms) -> Self {
        self.allowed = allowed;
        self
    }

    /// The same with these keys, after they were fetched anew.
    #[must_use]
    pub fn with_keys(mut self, keys: JwkSet) -> Self {
        self.keys = keys;
        self
    }

    /// Whose keys these are.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The keys.
    pub fn keys(&self) -> &JwkSet {
        &self.keys
    }

    /// The algorithms the issuer may use.
    pub fn allowed(&self) -> Algorithms {
        self.allowed
    }

    /// Checks type, algorithm, key and signature. What the payload says, its `iss` above all, is still to be
    /// checked: it must be [`VerifiedPayload::issuer`].
    pub fn verify<'a>(
        &'a self,
        compact: &'a Compact<'a>,
        typ: TypRule,
    ) -> Result<VerifiedPayload<'a>, VerifyError> {
        typ.check(compact.header().typ())?;
        let key = key_that_signed(compact, &self.keys, self.allowed)?;
        Ok(VerifiedPayload { issuer: &self.issuer, key, compact })
    }
}

impl<'a> VerifiedPayload<'a> {
    /// The bytes the issuer signed.
    pub fn payload(&self) -> &'a [u8] {
        self.compact.unverified_payload()
    }

    /// Whose key it was.
    pub fn issuer(&self) -> &'a str {
        self.issuer
    }

    /// The key that signed.
    pub fn key(&self) -> &'a Jwk {
        self.key
    }

    /// The algorithm of the signature.
    pub fn algorithm(&self) -> Algorithm {
        self.compact.header().algorithm()
    }
}

/// Finds the key that signed the token.
///
/// A `kid` chooses the key by name. Without one, the first [`IssuerKeys::KEYS_TRIED_MAX`] keys that suit the
/// algorithm are tried. The token chooses nothing else: the key must be in the set, the algorithm in the list.
fn key_that_signed<'k>(
    compact: &Compact<'_>,
    keys: &'k JwkSet,
    allowed: Algorithms,
) -> Result<&'k Jwk, VerifyError> {
    let algorithm = compact.header().algorithm();
    if !allowed.contains(algorithm) {
        return Err(VerifyError::AlgorithmNotAllowed { algorithm });
    }
    let kid = compact.header().kid();
    let named = |key: &&Jwk| kid.is_none_or(|kid| key.kid() == Some(kid));
    let mut suitable = keys
        .keys()
        .iter()
        .filter(named)
        .filter(|key| suits(key, algorithm, allowed))
        .take(IssuerKeys::KEYS_TRIED_MAX)
        .peekable();
    if suitable.peek().is_none() {
        return Err(no_key(keys, kid, algorithm));
    }
    suitable.find(|key| is_signed_by(compact, key, algorithm)).ok_or(VerifyError::BadSignature)
}

/// Whether the key is for this algorithm. A key has one algorithm (RFC 8725 section 3.1): the one its JWK
/// names, or else the first on the list that works with its type.
fn suits(key: &Jwk, algorithm: Algorithm, allowed: Algorithms) -> bool {
    let own = key.algorithm().or_else(|| allowed.first_for(key.key_type()));
    own.is_some_and(|own| own.is_same_signature(algorithm))
}

fn is_signed_by(compact: &Compact<'_>, key: &Jwk, algorithm: Algorithm) -> bool {
    key.parsed(algorithm)
        .is_some_and(|parsed| parsed.verify_sig(compact.signing_input(), compact.signature()).is_ok())
}

fn no_key(keys: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> VerifyError {
    let Some(kid) = kid else { return VerifyError::UnknownKey { kid: None } };
    if keys.with_kid(kid).next().is_some() {
        return VerifyError::KeyAlgorithm { kid: kid.into(), algorithm };
    }
    match keys.skipped().iter().find(|skipped| skipped.kid.as_deref() == Some(kid)) {
        Some(skipped) => VerifyError::UnusableKey { kid: kid.into(), reason: skipped.reason.clone() },
        None => VerifyError::UnknownKey { kid: Some(kid.into()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: JWTBCP-18, SET-23, BCL-20
    #[test]
    fn each_kind_of_token_passes_its_own_rule_only() {
        use TypRule::{LogoutToken, LogoutTokenOrUntyped, SecurityEvent, SecurityEventOrUntyped};
        let untyped = &[SecurityEventOrUntyped, LogoutTokenOrUntyped][..];
        for (typ, admitting) in [
            (Some("secevent+jwt"), &[SecurityEvent, SecurityEventOrUntyped][..]),
            (Some("SECEVENT+JWT"), &[SecurityEvent, SecurityEventOrUntyped]),
            (Some("application/secevent+jwt"), &[SecurityEvent, SecurityEventOrUntyped]),
            (Some("logout+jwt"), &[LogoutToken, LogoutTokenOrUntyped]),
            (Some("Application/Logout+JWT"), &[LogoutToken, LogoutTokenOrUntyped]),
            (Some("JWT"), untyped),
            (Some("jwt"), untyped),
            (None, untyped),
            (Some("at+jwt"), &[]),
            (Some("application/at+jwt"), &[]),
            (Some("dpop+jwt"), &[]),
            (Some("secevent"), &[]),
            (Some(""), &[]),
        ] {
            for rule in [SecurityEvent, SecurityEventOrUntyped, LogoutToken, LogoutTokenOrUntyped] {
                assert_eq!(rule.admits(typ), admitting.contains(&rule), "{rule:?} {typ:?}");
            }
        }
    }

    #[test]
    fn no_set_is_an_access_token_or_shows_who_a_client_is() {
        use TypRule::{AccessToken, AccessTokenOrUntyped, ClientAssertion};
        for (typ, admitting) in [
            (Some("at+jwt"), &[AccessToken, AccessTokenOrUntyped][..]),
            (Some("application/at+jwt"), &[AccessToken, AccessTokenOrUntyped]),
            (Some("client-authentication+jwt"), &[ClientAssertion]),
            (Some("JWT"), &[AccessTokenOrUntyped, ClientAssertion]),
            (None, &[AccessTokenOrUntyped, ClientAssertion]),
            (Some("secevent+jwt"), &[]),
            (Some("logout+jwt"), &[]),
        ] {
            for rule in [AccessToken, AccessTokenOrUntyped, ClientAssertion] {
                assert_eq!(rule.admits(typ), admitting.contains(&rule), "{rule:?} {typ:?}");
            }
        }
    }

    #[test]
    fn every_refusal_has_its_code() {
        let kid = || Excerpt::from("k");
        for (error, code) in [
            (VerifyError::Malformed(Invalid::new("", "SET-01", "is none")), "invalid_request"),
            (VerifyError::Encrypted, "invalid_request"),
            (VerifyError::Typ { found: None, expected: TypRule::SecurityEvent }, "invalid_request"),
            (VerifyError::Algorithm(AlgorithmError::None), "invalid_key"),
            (VerifyError::AlgorithmNotAllowed { algorithm: Algorithm::Rs512 }, "invalid_key"),
            (VerifyError::UnknownKey { kid: None }, "invalid_key"),
            (
                VerifyError::UnusableKey { kid: kid(), reason: KeyError::RsaSize { bits: 1024 } },
                "invalid_key",
            ),
            (VerifyError::KeyAlgorithm { kid: kid(), algorithm: Algorithm::Es256 }, "invalid_key"),
            (VerifyError::BadSignature, "invalid_key"),
            (VerifyError::UnknownIssuer { issuer: kid() }, "invalid_issuer"),
            (VerifyError::ForeignKey { issuer: kid() }, "invalid_issuer"),
            (VerifyError::Audience, "invalid_audience"),
        ] {
            assert_eq!(error.fault().code(), code, "{error}");
        }
    }

    #[test]
    fn messages_read_well_and_escape_what_is_foreign() {
        for (error, text) in [
            (
                VerifyError::Typ { found: Some("at+jwt\n".into()), expected: TypRule::SecurityEvent },
                r#"the token must be `secevent+jwt`; its `typ` is "at+jwt\n""#,
            ),
            (
                VerifyError::Typ { found: None, expected: TypRule::LogoutToken },
                "the token must be `logout+jwt`; its `typ` is absent",
            ),
            (VerifyError::UnknownKey { kid: Some("\u{1b}".into()) }, r#"the issuer has no key "\u{1b}""#),
            (VerifyError::UnknownKey { kid: None }, "the issuer has no key for this algorithm"),
            (
                VerifyError::UnusableKey { kid: "k".into(), reason: KeyError::RsaSize { bits: 1024 } },
                r#"the issuer's key "k" cannot be used: an RSA key must have 2048 to 8192 bits, not 1024"#,
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
