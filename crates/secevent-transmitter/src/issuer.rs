//! An issuer: its settings, and the keys that it signs with.

use crate::transmitter::TransmitterError;
use secevent::{Issuer, Profile, Vocabulary};
use secevent_jose::{Algorithm, JwkSet, KeyRing, Signer, SigningKey, StoredKeyRing};
use secevent_ssf::DefaultSubjects;
use secevent_store::{Document, Store, StoreError, Vault, Version};
use std::sync::{Arc, PoisonError, RwLock};

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
        }
    }
}

/// An issuer at work.
#[derive(Debug)]
pub(crate) struct IssuerState {
    config: IssuerConfig,
    /// The event types that it supports, by URI.
    events_supported: Vec<String>,
    keys: RwLock<Keys>,
}

#[derive(Debug)]
struct Keys {
    ring: KeyRing,
    signer: Arc<Signer>,
}

impl IssuerState {
    /// Takes the issuer's keys from the store, or makes the first ones and stores them, sealed.
    pub(crate) async fn open(
        config: IssuerConfig,
        vocabulary: &Vocabulary,
        store: &dyn Store,
        vault: &Vault,
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

        let name = format!("keys/{}", config.url);
        let ring = match store.get(&name).await? {
            Some(document) => unseal(vault, &document)?,
            None => first_ring(&name, config.algorithm, store, vault).await?,
        };
        let signer = Arc::new(ring.signer(Profile::Ssf.typ()));
        Ok(Self { config, events_supported, keys: RwLock::new(Keys { ring, signer }) })
    }

    pub(crate) fn config(&self) -> &IssuerConfig {
        &self.config
    }

    pub(crate) fn events_supported(&self) -> &[String] {
        &self.events_supported
    }

    /// What signs its SETs now.
    pub(crate) fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner).signer)
    }

    /// Whether receivers find this key.
    pub(crate) fn publishes(&self, kid: &str) -> bool {
        self.public_keys().keys().iter().any(|key| key.kid() == Some(kid))
    }

    /// What its `jwks_uri` serves.
    pub(crate) fn public_keys(&self) -> JwkSet {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).ring.public_keys()
    }
}

async fn first_ring(
    name: &str,
    algorithm: Algorithm,
    store: &dyn Store,
    vault: &Vault,
) -> Result<KeyRing, TransmitterError> {
    let key = SigningKey::generate(algorithm).map_err(|error| TransmitterError::Config(error.to_string()))?;
    let ring = KeyRing::new(key);
    let stored = serde_json::to_vec(&ring.to_stored_secret()).expect("a key ring is text");
    match store.put(name, Version(0), Some(vault.seal(name, &stored).into())).await {
        Ok(_) => Ok(ring),
        // Another node was faster: its keys are the issuer's keys.
        Err(StoreError::Conflict) => {
            let document = store.get(name).await?.ok_or(StoreError::Conflict)?;
            unseal(vault, &document)
        }
        Err(error) => Err(error.into()),
    }
}

fn unseal(vault: &Vault, document: &Document) -> Result<KeyRing, TransmitterError> {
    let damaged =
        |detail: String| TransmitterError::Store(StoreError::Corrupt(format!("{}: {detail}", document.name)));
    let sealed = std::str::from_utf8(&document.body).map_err(|error| damaged(error.to_string()))?;
    let stored = vault.open(&document.name, sealed)?;
    let stored: StoredKeyRing =
        serde_json::from_slice(&stored).map_err(|error| damaged(error.to_string()))?;
    KeyRing::from_stored(&stored).map_err(|error| damaged(error.to_string()))
}
