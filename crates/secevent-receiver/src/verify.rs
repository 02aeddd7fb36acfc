//! Whether a token is a SET that this source may send us: its form, its key, its claims.

use crate::jwks::{Arrival, JwksCache, KeyFigures, KeysUnavailable, NotVerified};
use crate::log_limit::LogLimit;
use crate::source::Source;
use aws_lc_rs::digest;
use secevent::{Clock, Fault, Invalid, Set, Strictness, escape, escape_message};
use secevent_jose::{Compact, Excerpt, Expected, TypRule, VerifyError};
use secevent_store::StoreError;
use serde::Deserialize;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tracing::warn;

/// A SET whose signature and claims are in order.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The SET.
    pub set: Set,
    /// The SHA-256 digest of its payload, by which a repeat is told from a change (SEM-18).
    pub digest: [u8; 32],
}

/// Why a SET is not taken.
///
/// The messages are safe to log. What goes to the transmitter is [`ReceiveError::description`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Its form, its key, its signature or its claims are not those of a SET that this source may send us.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// Its signature does not match the keys at hand, which may be out of date and may not be fetched again yet. A
    /// transmitter that sends a SET again after a refusal can be refused; one that takes a refusal for the end cannot.
    #[error("{error}, by keys that may be out of date")]
    Doubtful {
        /// What is wrong by the keys at hand.
        error: VerifyError,
        /// When the keys may be fetched again.
        retry_after: Duration,
    },
    /// The payload of an event breaks the definition of its type.
    #[error("the event breaks its definition: {0}")]
    Payload(#[source] Invalid),
    /// A verification event carries a `state` that nobody asked for.
    #[error("the `state` is not one that was asked for")]
    State,
    /// A poll handed it out under another `jti` than its own (E-96).
    #[error("the SET's own `jti` is not the one that it stands under")]
    ForeignJti,
    /// Another SET of this issuer had the same `jti`.
    #[error("another SET came under this `jti` before")]
    Changed,
    /// The keys to check it with are unavailable, or its key may be new and the keys may not be fetched again yet: that
    /// is not its fault, and it may be sent again.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    /// Our memory fails: that is not its fault, and it may be sent again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReceiveError {
    /// How much of a message goes into a description, in characters.
    pub const DESCRIPTION_CHARS_MAX: usize = 300;

    /// Whose fault it is, as it is told to the transmitter. None if it is ours: then nothing is said about
    /// the SET, and it should be sent again.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Token(error) | Self::Doubtful { error, .. } => Some(error.fault()),
            Self::Payload(_) | Self::ForeignJti | Self::Changed => Some(Fault::InvalidRequest),
            Self::State => Some(Fault::InvalidState),
            Self::Keys(_) | Self::Store(_) => None,
        }
    }

    /// Whether it says nothing final: when the SET comes again, it may be taken. A polled SET must then be neither
    /// acknowledged nor refused, because both are final.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Doubtful { .. } | Self::Keys(_) | Self::Store(_) => true,
            Self::Token(_) | Self::Payload(_) | Self::State | Self::ForeignJti | Self::Changed => false,
        }
    }

    /// When it makes sense to send the SET again, if it says nothing final and that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Doubtful { retry_after, .. } => Some(*retry_after),
            Self::Keys(unavailable) => Some(unavailable.retry_after),
            _ => None,
        }
    }

    /// A sentence for the people who run the transmitter: bounded, safe to show, and without internals of this
    /// side.
    pub fn description(&self) -> String {
        if self.fault().is_none() {
            return "The SET cannot be taken at the moment.".to_owned();
        }
        escape_message(&self.to_string(), Self::DESCRIPTION_CHARS_MAX).to_string()
    }
}

impl From<NotVerified> for ReceiveError {
    fn from(error: NotVerified) -> Self {
        match error {
            NotVerified::Refused(error) => Self::Token(error),
            NotVerified::Doubtful { error, retry_after } => Self::Doubtful { error, retry_after },
            NotVerified::Unavailable(error) => Self::Keys(error),
        }
    }
}

/// What a stream's configuration and its transmitter's metadata add to what is known of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(crate) struct Learned {
    /// The names that the transmitter has for us.
    pub(crate) audiences: Vec<String>,
    /// The members of complex subjects that it calls critical.
    pub(crate) critical_members: Vec<String>,
}

impl Learned {
    /// What is expected of a SET of this source. An audience that nobody has told us is nobody's: a source
    /// without any has every SET refused.
    fn expected(&self, source: &Source) -> Expected {
        let known = if source.audiences.is_empty() { &self.audiences } else { &source.audiences };
        let nobody = known.is_empty().then_some("");
        let names = known.iter().map(String::as_str).chain(nobody);
        let expected = Expected::new(source.profile).clock_skew_max(source.clock_skew_max);
        names.fold(expected, Expected::audience)
    }
}

/// Checks the tokens of one source.
pub struct SetVerifier {
    source: Arc<Source>,
    keys: Arc<JwksCache>,
    clock: Arc<dyn Clock>,
    learned: RwLock<Arc<Learned>>,
    payload_log: LogLimit,
}

/// Log lines about payloads that are not understood, in one window: a transmitter may send every SET so.
const PAYLOAD_LINES_MAX: u32 = 20;

impl SetVerifier {
    /// A verifier for the tokens of `source`, with the keys in `keys`.
    pub fn new(source: Arc<Source>, keys: Arc<JwksCache>, clock: Arc<dyn Clock>) -> Self {
        let payload_log = LogLimit::new(PAYLOAD_LINES_MAX);
        Self { source, keys, clock, learned: RwLock::default(), payload_log }
    }

    /// Checks a compact token. What is cheap comes first, so that a flood of junk costs little (PUSH-37).
    pub async fn verify(&self, token: &[u8]) -> Result<Verified, ReceiveError> {
        self.verify_since(token, self.arrival()).await
    }

    /// Notes that tokens arrive now, for [`SetVerifier::verify_since`].
    pub fn arrival(&self) -> Arrival {
        self.keys.arrival()
    }

    /// Checks one of several tokens that arrived together: one fetch of the keys after that settles all of them.
    pub async fn verify_since(&self, token: &[u8], arrival: Arrival) -> Result<Verified, ReceiveError> {
        let source = &*self.source;
        let compact = Compact::parse_within(token, source.token_bytes_max)?;
        let typ = TypRule::from(source.profile);
        if !typ.admits(compact.header().typ()) {
            let found = compact.header().typ().map(Excerpt::from);
            return Err(VerifyError::Typ { found, expected: typ }.into());
        }
        let algorithm = compact.header().algorithm();
        if !source.algorithms.contains(algorithm) {
            return Err(VerifyError::AlgorithmNotAllowed { algorithm }.into());
        }
        let issuer = source.peer.issuer.as_str();
        let named = unverified_issuer(compact.unverified_payload())?;
        if named != issuer {
            return Err(VerifyError::UnknownIssuer { issuer: named.as_str().into() }.into());
        }
        self.keys.verify_since(&compact, typ, arrival).await?;

        let payload = compact.unverified_payload();
        let set = self.learned().expected(source).prove(payload, issuer, self.clock.now())?;
        self.check_payloads(&set)?;
        Ok(Verified { set, digest: sha256(payload) })
    }

    /// Whether the keys of the source come as they should.
    pub fn key_figures(&self) -> KeyFigures {
        self.keys.figures()
    }

    /// From now on these count too.
    pub(crate) fn learn(&self, learned: Learned) {
        *self.learned.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(learned);
    }

    pub(crate) fn learned(&self) -> Arc<Learned> {
        Arc::clone(&self.learned.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A payload that is not understood costs the SET only where the source is to be strict: the transmitter would not
    /// send another, and the handler can read what is there.
    fn check_payloads(&self, set: &Set) -> Result<(), ReceiveError> {
        let (source, subject) = (&*self.source, set.subject());
        for (uri, payload) in set.events().iter() {
            match source.vocabulary.check(uri, payload, subject.as_deref(), source.payloads) {
                Ok(()) => {}
                Err(error) if source.payloads == Strictness::Strict => {
                    return Err(ReceiveError::Payload(error));
                }
                Err(error) => self.report_payload(set.jti(), uri, &error),
            }
        }
        Ok(())
    }
}

impl SetVerifier {
    fn report_payload(&self, jti: &str, uri: &str, error: &Invalid) {
        let (source, example) = (self.source.name.clone(), error.clone());
        let report = move |count: u64| {
            warn!(source.id = source, count, error = %example, "Further event payloads not understood");
        };
        if self.payload_log.admits(report) {
            warn!(
                source.id = self.source.name,
                jti = %escape(jti, Excerpt::CHARS_MAX),
                event.type = %escape(uri, Excerpt::CHARS_MAX),
                %error,
                "Event payload not understood"
            );
        }
    }
}

impl fmt::Debug for SetVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetVerifier").field("source", &self.source.name).finish_non_exhaustive()
    }
}

/// Who the token says it is from; nothing is proved yet.
fn unverified_issuer(payload: &[u8]) -> Result<String, ReceiveError> {
    #[derive(Deserialize)]
    struct Names {
        iss: Option<String>,
    }
    let wrong = |rule, problem: &'static str| VerifyError::Malformed(Invalid::new("", rule, problem));
    let names: Names = serde_json::from_slice(payload)
        .map_err(|_| wrong("SET-01", "must be a JSON object with an `iss`"))?;
    Ok(names.iss.ok_or_else(|| wrong("SET-02", "must have an `iss`"))?)
}

fn sha256(payload: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, payload);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_bounded_and_printable() {
        let long = Invalid::new("a\nb".repeat(1000), "SET-01", "is wrong");
        let description = ReceiveError::Payload(long).description();
        assert_eq!(description.chars().count(), ReceiveError::DESCRIPTION_CHARS_MAX + 1);
        assert!(description.contains(r"`a\nba\nb") && description.ends_with('…'), "{description}");
        let ours = ReceiveError::Store(StoreError::Unavailable("/var/lib/secret.db".to_owned()));
        assert_eq!((ours.fault(), ours.description().contains("secret")), (None, false));
    }

    // finding: A4
    #[test]
    fn a_doubtful_verdict_refuses_a_push_and_leaves_a_polled_set_open() {
        let retry_after = Duration::from_secs(7);
        let doubtful = ReceiveError::Doubtful { error: VerifyError::BadSignature, retry_after };
        assert_eq!((doubtful.fault(), doubtful.is_open()), (Some(Fault::InvalidKey), true));
        assert_eq!(doubtful.retry_after(), Some(retry_after));
        let refused = ReceiveError::Token(VerifyError::BadSignature);
        assert_eq!((refused.fault(), refused.is_open()), (Some(Fault::InvalidKey), false));
    }
}
