//! A client's settings: as they are written in configuration, sent to the admin API and stored; and checked, as they
//! are used.

use super::keys::DeclaredKeys;
use super::limits::{ClientLimits, Limits};
use super::scope::Scope;
use secevent::{Audience, Invalid, Vocabulary};
use secevent_jose::{Algorithm, Algorithms};
use secevent_receiver::Authority;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// A client, as configuration declares it.
#[derive(Clone)]
pub struct ClientConfig {
    /// Its id.
    pub id: String,
    /// Its secret, if that is how it proves who it is.
    pub secret: Option<String>,
    /// What it may do.
    pub settings: ClientSettings,
}

impl ClientConfig {
    /// A client with a secret, and with the defaults for the rest.
    pub fn new(
        id: impl Into<String>,
        secret: impl Into<String>,
        scopes: Vec<Scope>,
        audience: Audience,
    ) -> Self {
        let settings = ClientSettings { scopes, audience: Some(audience), ..ClientSettings::default() };
        Self { id: id.into(), secret: Some(secret.into()), settings }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("id", &self.id)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What a client may do, and how it proves who it is. The same words everywhere: in configuration, in the admin API
/// and in the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// What it is called in the `aud` of its SETs. Who only sends events or administers needs none. Default: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// The issuers that it may have to do with. Default: all. For it the others are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuers: Option<Vec<String>>,
    /// The event types that it may send and be sent, as URIs, short names or patterns (`caep:*`). Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// About whom it may send events. Default: about everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<SubjectLimits>,
    /// How long its access tokens are good for: an hour at most. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_lifetime_seconds: Option<u32>,
    /// The public keys by which it proves who it is (`private_key_jwt`), as a JWK Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Where it publishes them instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The algorithms that it may sign with then. Default: RS256, ES256, ES384, ES512 and EdDSA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// How often it may ask. Default: as configured for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ClientLimits>,
}

impl ClientSettings {
    /// Checks them as a server does that knows these event types and issuers, before it takes up a client that
    /// configuration declares. An error names the setting.
    pub fn check(
        &self,
        id: &str,
        vocabulary: &Vocabulary,
        issuers: &[String],
        limits: Limits,
    ) -> Result<(), Invalid> {
        Rights::of(id, self, &World { vocabulary, issuers: Some(issuers), limits }).map(drop)
    }
}

/// Which subjects a client may send events about (SEM-20): those in these lists, and no others. Every alias, and
/// every member of a complex subject that names a person, an account or a session, must be named here (SEM-32).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectLimits {
    /// The domains of `email` and `account` identifiers. A subdomain is another domain.
    #[serde(default)]
    pub email_domains: Vec<String>,
    /// The issuers of `iss_sub`, `jwt_id` and `saml_assertion_id` identifiers.
    #[serde(default)]
    pub issuers: Vec<String>,
}

/// Settings that make sense.
pub(crate) struct Rights {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) audience: Audience,
    issuers: Option<Vec<String>>,
    /// By URI.
    pub(crate) events: Option<BTreeSet<String>>,
    pub(crate) authority: Authority,
    pub(crate) token_lifetime: Duration,
    pub(crate) keys: Option<DeclaredKeys>,
    pub(crate) limits: Limits,
}

/// How long an access token is good for, unless more is said.
const TOKEN_LIFETIME_SECONDS: u32 = 600;
/// The interoperability profile allows an hour.
const TOKEN_LIFETIME_SECONDS_MAX: u32 = 3600;
/// Entries of one list at most.
const ENTRIES_MAX: usize = 1_000;

/// What settings are checked against.
pub(crate) struct World<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    /// Those that there are. None takes what is stored as it is: what has gone from configuration since is of no effect.
    pub(crate) issuers: Option<&'a [String]>,
    pub(crate) limits: Limits,
}

impl Rights {
    /// Checks settings. An error names the setting.
    pub(crate) fn of(id: &str, settings: &ClientSettings, world: &World<'_>) -> Result<Self, Invalid> {
        let wrong = |member: &str, problem: String| Invalid::new(member, "client", problem);
        for (name, list) in [("issuers", &settings.issuers), ("events", &settings.events)] {
            match list {
                Some(list) if list.is_empty() => {
                    return Err(wrong(name, "is empty: leave it out for all".to_owned()));
                }
                Some(list) if list.len() > ENTRIES_MAX => {
                    return Err(wrong(name, format!("must not have more than {ENTRIES_MAX} entries")));
                }
                _ => {}
            }
        }
        if settings.scopes.is_empty() {
            return Err(wrong("scopes", "is empty: the client could do nothing".to_owned()));
        }
        let receives = settings.scopes.iter().any(|scope| matches!(scope, Scope::Read | Scope::Manage));
        let audience = match &settings.audience {
            Some(Audience::Many(names)) if names.is_empty() => None,
            Some(audience) if audience.iter().any(str::is_empty) => None,
            Some(audience) => Some(audience.clone()),
            None if !receives => Some(Audience::One(id.to_owned())),
            None => None,
        };
        let audience = audience.ok_or_else(|| {
            let problem = "is missing: state what the receiver is called in the `aud` of its SETs";
            wrong("audience", problem.to_owned())
        })?;
        let foreign =
            |known: &&[String]| settings.issuers.iter().flatten().find(|issuer| !known.contains(issuer));
        if let Some((known, foreign)) = world.issuers.and_then(|known| Some((known, foreign(&known)?))) {
            let known = known.join(", ");
            return Err(wrong("issuers", format!("has {foreign:?}, which is none of ours: {known}")));
        }
        let seconds = settings.token_lifetime_seconds.unwrap_or(TOKEN_LIFETIME_SECONDS);
        if !(1..=TOKEN_LIFETIME_SECONDS_MAX).contains(&seconds) {
            return Err(wrong(
                "token_lifetime_seconds",
                format!("is {seconds}: it must be 1 to {TOKEN_LIFETIME_SECONDS_MAX}"),
            ));
        }
        Ok(Self {
            scopes: settings.scopes.clone(),
            audience,
            issuers: settings.issuers.clone(),
            events: settings.events.as_ref().map(|events| uris(events, world)).transpose()?,
            authority: authority(settings.subjects.as_ref())?,
            token_lifetime: Duration::from_secs(seconds.into()),
            keys: DeclaredKeys::of(id, settings, algorithms(settings.algorithms.as_deref())?)?,
            limits: world.limits.with(settings.limits.as_ref())?,
        })
    }

    /// Whether it has to do with this issuer.
    pub(crate) fn knows_issuer(&self, issuer: &str) -> bool {
        self.issuers.as_ref().is_none_or(|issuers| issuers.iter().any(|known| known == issuer))
    }

    /// Whether it may send events of this type.
    pub(crate) fn may_send(&self, uri: &str) -> bool {
        self.events.as_ref().is_none_or(|events| events.contains(uri))
    }
}

fn uris(patterns: &[String], world: &World<'_>) -> Result<BTreeSet<String>, Invalid> {
    let mut uris = BTreeSet::new();
    for pattern in patterns {
        let mut found = world.vocabulary.matching(pattern).peekable();
        if found.peek().is_none() && world.issuers.is_some() {
            let problem = format!("has {pattern:?}, which names no event type that is known here");
            return Err(Invalid::new("events", "client", problem));
        }
        uris.extend(found.map(|definition| definition.uri().to_owned()));
    }
    Ok(uris)
}

fn authority(limits: Option<&SubjectLimits>) -> Result<Authority, Invalid> {
    let Some(limits) = limits else { return Ok(Authority::Anybody) };
    let wrong = |problem: String| Err(Invalid::new("subjects", "client", problem));
    if limits.email_domains.is_empty() && limits.issuers.is_empty() {
        return wrong("names nobody: leave it out for everybody".to_owned());
    }
    if limits.email_domains.len() + limits.issuers.len() > ENTRIES_MAX {
        return wrong(format!("must not have more than {ENTRIES_MAX} entries"));
    }
    if let Some(domain) = limits.email_domains.iter().find(|domain| domain.is_empty() || domain.contains('@'))
    {
        return wrong(format!("has the domain {domain:?}: write what follows the @, such as example.com"));
    }
    Ok(Authority::Over { email_domains: limits.email_domains.clone(), issuers: limits.issuers.clone() })
}

/// The algorithms of this list, or the usual ones. Symmetric ones and `none` have no name here.
pub(crate) fn algorithms(names: Option<&[String]>) -> Result<Algorithms, Invalid> {
    let Some(names) = names else { return Ok(Algorithms::DEFAULT) };
    let read = |name: &String| {
        let known = name.parse::<Algorithm>();
        known.map_err(|error| Invalid::new("algorithms", "client", error.to_string()))
    };
    let algorithms = names.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if algorithms.is_empty() {
        return Err(Invalid::new("algorithms", "client", "is empty: leave it out for the usual ones"));
    }
    Ok(algorithms.into_iter().collect())
}
