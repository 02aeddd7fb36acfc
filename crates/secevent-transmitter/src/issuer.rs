//! An issuer: its settings, and the keys that it signs with.

use crate::keys::IssuerKeys;
use crate::transmitter::TransmitterError;
use secevent::{Issuer, Timestamp, Vocabulary};
use secevent_jose::{Algorithm, RotationTimes};
use secevent_ssf::DefaultSubjects;
use secevent_store::{Store, Vault};
use std::collections::BTreeMap;
use std::time::Duration;

/// An issuer, as configuration declares it.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its URL: the `iss` of its SETs, and the base of its endpoints.
    pub url: Issuer,
    /// What it signs with. Default: RS256, which the interoperability profile asks for.
    pub algorithm: Algorithm,
    /// The event types that its streams can carry, as URIs, short names or patterns (`caep:*`).
    pub events: Vec<String>,
    /// Whether its receivers are of the time before SSF 1.0: what they say is taken in their forms too, and their SETs
    /// name the subject in the old place as well (LEGACY-14). Default: no. A receiver that is not gets an issuer of its
    /// own (E-27).
    pub legacy: bool,
    /// Which subjects a new stream has. A stream keeps what was so when it was created. Default: all.
    pub default_subjects: DefaultSubjects,
    /// How long a key signs until the next one takes its place. Default: until that is asked for.
    pub rotate_every: Option<Duration>,
}

impl IssuerConfig {
    /// An issuer with the defaults: RS256, all CAEP and RISC events that are not deprecated, all subjects.
    pub fn new(url: Issuer) -> Self {
        Self {
            url,
            algorithm: Algorithm::Rs256,
            events: vec!["caep:*".to_owned(), "risc:*".to_owned()],
            legacy: false,
            default_subjects: DefaultSubjects::All,
            rotate_every: None,
        }
    }
}

/// Two of these issuers whose endpoints would have the same addresses, if there are two: where they are follows from an
/// issuer's path alone, whatever its host.
pub fn in_one_place(issuers: &[IssuerConfig]) -> Option<(&Issuer, &Issuer)> {
    let mut places = BTreeMap::new();
    issuers.iter().find_map(|issuer| {
        let place = issuer.url.path().trim_end_matches('/');
        places.insert(place, &issuer.url).map(|other| (other, &issuer.url))
    })
}

/// An issuer at work.
#[derive(Debug)]
pub(crate) struct IssuerState {
    config: IssuerConfig,
    /// The event types that it supports, by URI.
    events_supported: Vec<String>,
    pub(crate) keys: IssuerKeys,
}

impl IssuerState {
    /// Opens the issuer's keys, one for each of these algorithms besides its own.
    pub(crate) async fn open(
        config: IssuerConfig,
        vocabulary: &Vocabulary,
        (algorithms, times, now): (&[Algorithm], RotationTimes, Timestamp),
        at: (&dyn Store, &Vault),
    ) -> Result<Self, TransmitterError> {
        let mut events_supported = Vec::new();
        for pattern in &config.events {
            let found: Vec<_> = vocabulary.matching(pattern).collect();
            if found.is_empty() {
                return Err(TransmitterError::Config(format!("no event type is named {pattern:?}")));
            }
            // A pattern means what one would send today; a deprecated type has to be named in full.
            let named = |one: &&secevent::Definition| {
                one.name() == pattern
                    || one.uri() == pattern
                    || one.status() != secevent::EventStatus::Deprecated
            };
            let new = found.into_iter().filter(named).map(|one| one.uri().to_owned());
            events_supported.extend(new);
        }
        events_supported.sort_unstable();
        events_supported.dedup();

        let keys = IssuerKeys::open(&config, algorithms, times, now, at).await?;
        Ok(Self { config, events_supported, keys })
    }

    pub(crate) fn config(&self) -> &IssuerConfig {
        &self.config
    }

    pub(crate) fn events_supported(&self) -> &[String] {
        &self.events_supported
    }
}
