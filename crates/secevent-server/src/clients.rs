//! Who may call: clients, their secrets, and the access tokens that they get for them.

use crate::authenticate::Caller;
use crate::checked::Checked;
use crate::problem::Problem;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secevent::{Audience, Clock, Timestamp};
use secevent_jose::{Algorithm, Compact, IssuerKeys, JwkSet, KeyError, Signer, SigningKey, TypRule};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read streams, and poll (`ssf.read`).
    Read,
    /// Read and change streams, and poll (`ssf.manage`).
    Manage,
    /// Send events to be transmitted (`events.write`).
    Write,
    /// Administer the server, on its admin listener (`admin`).
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Manage, Self::Write, Self::Admin];

    /// Its name in OAuth.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "ssf.read",
            Self::Manage => "ssf.manage",
            Self::Write => "events.write",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Whether this one allows what `wanted` allows: to manage includes to read.
    pub(crate) fn includes(self, wanted: Self) -> bool {
        self == wanted || (self == Self::Manage && wanted == Self::Read)
    }
}

/// A client, as configuration declares it.
#[derive(Clone)]
pub struct ClientConfig {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// What it is called in the `aud` of its SETs.
    pub audience: Audience,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// All clients, and the authorization server that gives them access tokens.
pub struct Clients {
    by_id: HashMap<String, ClientConfig>,
    signer: Signer,
    keys: IssuerKeys,
    /// The name of this server: `iss` and `aud` of the access tokens.
    server: String,
    checked: Checked<Arc<AccessToken>>,
    clock: Arc<dyn Clock>,
}

/// How long an access token is good for. The interoperability profile allows an hour at most.
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// Why no access token is given (RFC 6749 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    InvalidClient,
    InvalidScope,
}

#[derive(Debug, Serialize, Deserialize)]
struct AccessToken {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    scope: String,
    iat: Timestamp,
    exp: Timestamp,
}

impl Clients {
    /// These clients of the server that the world sees under this URL. The key of the access tokens is made anew at
    /// each start: tokens are short-lived, and clients ask again when one is refused.
    pub fn new(
        clients: impl IntoIterator<Item = ClientConfig>,
        public_url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let server = public_url.trim_end_matches('/');
        // A key of its own, and a type of its own: no access token is a SET, and no SET is an access token.
        let key = SigningKey::generate(Algorithm::EdDsa)?;
        Ok(Self {
            by_id: clients.into_iter().map(|client| (client.id.clone(), client)).collect(),
            keys: IssuerKeys::new(server, JwkSet::new([key.public().clone()])),
            signer: Signer::new(key, "at+jwt"),
            server: server.to_owned(),
            checked: Checked::new(),
            clock,
        })
    }

    /// An access token for a client that shows its secret, with the scopes that it asks for or all it has.
    pub(crate) fn grant(
        &self,
        id: &str,
        secret: &str,
        scope: Option<&str>,
    ) -> Result<(String, String), TokenError> {
        let client = self.by_id.get(id);
        // The comparison takes as long for a client that does not exist.
        let expected = client.map_or("", |client| client.secret.as_str());
        let good: bool = expected.as_bytes().ct_eq(secret.as_bytes()).into();
        let client =
            client.filter(|client| good && !client.secret.is_empty()).ok_or(TokenError::InvalidClient)?;
        let granted: Vec<&str> = match scope {
            None => client.scopes.iter().map(|scope| scope.name()).collect(),
            Some(asked) => {
                let allowed = |name: &str| {
                    let asked = Scope::named(name).ok_or(TokenError::InvalidScope)?;
                    let has = client.scopes.iter().any(|scope| scope.includes(asked));
                    if has { Ok(asked.name()) } else { Err(TokenError::InvalidScope) }
                };
                asked.split_whitespace().map(allowed).collect::<Result<_, _>>()?
            }
        };
        let scope = granted.join(" ");
        let now = self.clock.now();
        let token = AccessToken {
            iss: self.server.clone(),
            aud: self.server.clone(),
            sub: id.to_owned(),
            client_id: id.to_owned(),
            scope: scope.clone(),
            iat: now.floor_to_second(),
            exp: now.plus(TOKEN_LIFETIME).floor_to_second(),
        };
        let payload = serde_json::to_vec(&token).expect("an access token is text and numbers");
        let token = self.signer.sign(&payload).expect("EdDSA does not fail");
        Ok((token, scope))
    }

    /// The caller that a request's `Authorization` names. Tokens are taken from nowhere else (INTEROP-24).
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let nothing = || {
            // Without credentials no error code is told (RFC 6750 section 3.1).
            Problem::unauthenticated("Bearer realm=\"secevent\"".to_owned(), "a bearer token is needed")
        };
        let value = headers.get(AUTHORIZATION).ok_or_else(nothing)?;
        value.to_str().map_err(|_| invalid_token())?;
        let token = bearer(headers).ok_or_else(nothing)?;
        self.caller(token).ok_or_else(invalid_token)
    }

    fn caller(&self, token: &str) -> Option<Caller> {
        let token = self.checked.get(token, self.clock.now(), |said| said.exp, || self.check(token))?;
        // A client that is gone from configuration is refused at once, whatever its token says.
        let client = self.by_id.get(&token.client_id)?;
        let scopes = token.scope.split_whitespace().filter_map(Scope::named);
        let still = |scope: &Scope| client.scopes.iter().any(|has| has.includes(*scope));
        Some(Caller {
            client: secevent_transmitter::Client { id: client.id.clone(), audience: client.audience.clone() },
            scopes: scopes.filter(still).collect(),
        })
    }

    /// What a token says that we signed for ourselves.
    fn check(&self, token: &str) -> Option<Arc<AccessToken>> {
        let compact = Compact::parse(token).ok()?;
        let verified = self.keys.verify(&compact, TypRule::AccessToken).ok()?;
        let token: AccessToken = serde_json::from_slice(verified.payload()).ok()?;
        (token.iss == self.server && token.aud == self.server).then(|| Arc::new(token))
    }
}

/// The bearer token of a request, if it has one (RFC 6750 section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn invalid_token() -> Problem {
    let challenge = "Bearer error=\"invalid_token\"".to_owned();
    Problem::unauthenticated(challenge, "the bearer token is not valid: ask for a new one")
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("clients", &self.by_id.len()).finish_non_exhaustive()
    }
}
