//! Keys of others, against which their tokens are checked: at hand, or fetched when they are needed.

use super::ClientPorts;
use super::settings::ClientSettings;
use secevent::Invalid;
use secevent_jose::{Algorithms, Compact, IssuerKeys, JwkSet, TypRule};
use secevent_receiver::{JwksCache, KeyFigures, NotVerified};
use secevent_ssf::Endpoint;
use serde_json::Value;
use std::sync::Arc;

/// Where a client's public keys are, as its settings say.
#[derive(Clone)]
pub(crate) enum DeclaredKeys {
    /// There.
    Here(IssuerKeys),
    /// It publishes them at this place, and may sign with these algorithms.
    Published(Endpoint, Algorithms),
}

/// The public keys by which a client proves who it is.
pub(crate) enum ClientKeys {
    /// These.
    Here(IssuerKeys),
    /// Those that it publishes.
    Published(Arc<JwksCache>),
}

impl DeclaredKeys {
    /// Reads what settings say of keys. An error names the setting.
    pub(crate) fn of(
        id: &str,
        settings: &ClientSettings,
        algorithms: Algorithms,
    ) -> Result<Option<Self>, Invalid> {
        let wrong = |member: &str, problem: String| Invalid::new(member, "client", problem);
        match (&settings.jwks, &settings.jwks_uri) {
            (None, None) if settings.algorithms.is_some() => {
                Err(wrong("algorithms", "says nothing without jwks or jwks_uri".to_owned()))
            }
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                Err(wrong("jwks_uri", "is there beside jwks: state one of them".to_owned()))
            }
            (Some(jwks), None) => {
                if let Some(member) = private_member(jwks) {
                    let problem =
                        format!("has a private key, with the member {member}: state public keys alone");
                    return Err(wrong("jwks", problem));
                }
                let keys =
                    JwkSet::from_json(jwks.to_string()).map_err(|error| wrong("jwks", error.to_string()))?;
                if let Some(skipped) = keys.skipped().first() {
                    return Err(wrong("jwks", format!("has a key that cannot be used: {}", skipped.reason)));
                }
                if keys.keys().is_empty() {
                    return Err(wrong("jwks", "has no key".to_owned()));
                }
                Ok(Some(Self::Here(IssuerKeys::new(id, keys).allow_only(algorithms))))
            }
            (None, Some(uri)) => {
                // Whether plain http may be is for the network to say, which has everything else to say about it.
                let endpoint = Endpoint::parse_insecure(uri)
                    .map_err(|error| wrong("jwks_uri", error.problem().to_owned()))?;
                Ok(Some(Self::Published(endpoint, algorithms)))
            }
        }
    }

    /// The keys, at work: those that are published are fetched when they are needed.
    pub(crate) fn at_work(&self, id: &str, ports: &ClientPorts) -> ClientKeys {
        match self.clone() {
            Self::Here(keys) => ClientKeys::Here(keys),
            Self::Published(endpoint, algorithms) => {
                let (transport, clock) = (Arc::clone(&ports.transport), Arc::clone(&ports.clock));
                let cache = JwksCache::at(format!("client {id}"), endpoint, algorithms, transport, clock);
                ClientKeys::Published(Arc::new(cache))
            }
        }
    }
}

impl ClientKeys {
    /// Checks type, algorithm, key and signature.
    pub(crate) async fn verify(&self, token: &Compact<'_>, typ: TypRule) -> Result<(), NotVerified> {
        match self {
            Self::Here(keys) => Ok(keys.verify(token, typ).map(drop)?),
            Self::Published(cache) => cache.verify(token, typ).await,
        }
    }

    /// Whether those that are fetched come as they should.
    pub(crate) fn figures(&self) -> KeyFigures {
        match self {
            Self::Here(_) => KeyFigures::default(),
            Self::Published(cache) => cache.figures(),
        }
    }
}

/// What only a private or a symmetric key has, if one of these keys has it (RFC 7518 section 6).
fn private_member(jwks: &Value) -> Option<&'static str> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    let keys = jwks.get("keys")?.as_array()?;
    keys.iter().find_map(|key| PRIVATE.into_iter().find(|member| key.get(member).is_some()))
}
