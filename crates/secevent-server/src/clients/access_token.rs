//! The authorization server of this program: access tokens for client credentials (RFC 6749 section 4.4).

use super::attempts::{Attempt, Attempts, Origin};
use super::caller::Said;
use super::failures::Failure;
use super::scope::Scope;
use super::secret::is_one_of;
use super::{Client, Clients};
use secevent::Timestamp;
use secevent_jose::{Algorithm, Compact, IssuerKeys, JwkSet, KeyError, Signer, SigningKey, TypRule};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What signs access tokens, and checks them.
pub(super) struct BuiltIn {
    signer: Signer,
    keys: IssuerKeys,
}

/// How a client shows who it is.
pub(crate) enum Shown {
    /// By its secret: its id and the secret, and how both are read otherwise, if there are two ways to read them.
    Secret {
        /// Its id and the secret.
        named: (String, String),
        /// The other way to read them.
        or: Option<(String, String)>,
    },
    /// By a signed assertion (RFC 7523).
    Assertion {
        /// The `client_id` beside it, if there is one.
        id: Option<String>,
        /// The assertion.
        assertion: String,
    },
}

/// An access token that is given.
pub(crate) struct Granted {
    pub(crate) token: String,
    pub(crate) scope: String,
    pub(crate) lifetime: Duration,
}

/// Why no access token is given (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// The client is not known, or did not show that it is the one. It may know the reason if that does not depend on
    /// the client's credentials.
    InvalidClient(Option<&'static str>),
    /// It does not have what it asks for.
    InvalidScope,
    /// It asks too often.
    TooOften(Duration),
    /// Whether it is the one is not known at the moment: it should try again after this time.
    Unavailable(Duration),
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
    /// The client's generation: whatever makes its tokens worthless counts it up.
    generation: u64,
}

impl BuiltIn {
    pub(super) fn new(server: &str) -> Result<Self, KeyError> {
        // A key of its own, and a type of its own: no access token is a SET, and no SET is an access token.
        let key = SigningKey::generate(Algorithm::EdDsa)?;
        let keys = IssuerKeys::new(server, JwkSet::new([key.public().clone()]));
        Ok(Self { signer: Signer::new(key, "at+jwt"), keys })
    }

    /// What a token says that we signed for ourselves.
    pub(super) fn check(&self, compact: &Compact<'_>, now: Timestamp) -> Option<Said> {
        let verified = self.keys.verify(compact, TypRule::AccessToken).ok()?;
        let token: AccessToken = serde_json::from_slice(verified.payload()).ok()?;
        let ours = token.iss == self.keys.issuer() && token.aud == self.keys.issuer();
        (ours && now < token.exp).then(|| Said {
            scopes: token.scope.split_whitespace().filter_map(Scope::named).collect(),
            client: token.client_id,
            generation: Some(token.generation),
            made_at: Some(token.iat),
            until: token.exp,
        })
    }
}

impl Clients {
    /// An access token for a client that shows who it is, with the scopes that it asks for or all it has.
    pub(crate) async fn grant(
        &self,
        shown: Shown,
        scope: Option<&str>,
        origin: Origin,
    ) -> Result<Granted, TokenError> {
        let built_in = self.built_in.as_ref().ok_or(TokenError::InvalidClient(None))?;
        let client = match shown {
            Shown::Secret { named, or } => self.by_secret(named, or, origin).await?,
            Shown::Assertion { id, assertion } => {
                self.by_assertion(id.as_deref(), &assertion, origin).await?
            }
        };
        let granted: Vec<&str> = match scope {
            None => client.rights.scopes.iter().map(|scope| scope.name()).collect(),
            Some(asked) => {
                let allowed = |name: &str| {
                    let asked = Scope::named(name).ok_or(TokenError::InvalidScope)?;
                    let has = client.rights.scopes.iter().any(|scope| scope.includes(asked));
                    if has { Ok(asked.name()) } else { Err(TokenError::InvalidScope) }
                };
                asked.split_whitespace().map(allowed).collect::<Result<_, _>>()?
            }
        };
        let scope = granted.join(" ");
        let (now, lifetime) = (self.now(), client.rights.token_lifetime);
        let token = AccessToken {
            iss: self.server.clone(),
            aud: self.server.clone(),
            sub: client.id.clone(),
            client_id: client.id.clone(),
            scope: scope.clone(),
            iat: now.floor_to_second(),
            exp: now.plus(lifetime).floor_to_second(),
            generation: client.generation,
        };
        let payload = serde_json::to_vec(&token).expect("an access token is text and numbers");
        let token = built_in.signer.sign(&payload).expect("EdDSA does not fail");
        Ok(Granted { token, scope, lifetime })
    }

    /// The client of this id, if this is its secret. The same is done for one that does not exist.
    async fn by_secret(
        &self,
        named: (String, String),
        or: Option<(String, String)>,
        origin: Origin,
    ) -> Result<Arc<Client>, TokenError> {
        // A request counts under one name, however many ways there are to read it.
        let readings = || [Some(&named), or.as_ref()].into_iter().flatten();
        let (id, _) = readings().find(|(id, _)| self.find(id).is_some()).unwrap_or(&named);
        let client = self.find(id);
        let kept = client.as_ref().map_or(&[][..], |client| &client.secrets[..]);
        let is_right = |now| {
            readings().filter(|(other, _)| other == id).fold(false, |good, (_, secret)| {
                is_one_of(&self.digests.digest(id, secret), kept, now) || good
            })
        };
        let attempts = client.as_ref().map_or_else(|| self.strangers_attempts(id), |client| &client.attempts);
        // Guesses at 256 random bits need not be slowed down: who has them is let in whatever others do.
        let unguessable = !kept.is_empty() && !kept.iter().any(|one| one.guessable);
        let attempt = match unguessable && is_right(self.now()) {
            true => None,
            false => Some(self.admit(attempts, client.as_deref(), origin).await?),
        };
        let now = self.now();
        let good = is_right(now);
        match client.as_ref().filter(|client| good && self.is_enabled(&client.id)) {
            Some(client) => {
                if let Some(attempt) = attempt {
                    attempt.succeeded();
                }
                client.count_token_request(self.ports.clock.elapsed())?;
                Ok(Arc::clone(client))
            }
            None => {
                attempts.count_failed();
                let reason = match client {
                    Some(_) if good => "the client is switched off",
                    Some(_) => "the secret is wrong",
                    None => "there is no such client",
                };
                let client = client.as_ref().map(|client| client.id.as_str());
                self.failures.record(&Failure { client, reason, judged: true });
                Err(TokenError::InvalidClient(None))
            }
        }
    }

    /// Lets an attempt at a client's credentials be judged, or refuses it unjudged (SEM-31). A name that nobody has is
    /// not told from one that somebody has.
    pub(super) async fn admit<'a>(
        &self,
        attempts: &'a Attempts,
        client: Option<&Client>,
        origin: Origin,
    ) -> Result<Attempt<'a>, TokenError> {
        attempts.admit(origin, &self.waiting).await.map_err(|wait| {
            let client = client.map(|client| client.id.as_str());
            self.failures.record(&Failure { client, reason: "too many attempts", judged: false });
            TokenError::TooOften(wait)
        })
    }
}

impl Client {
    /// Counts a request for a token in which it has shown who it is.
    pub(super) fn count_token_request(&self, now: Duration) -> Result<(), TokenError> {
        self.buckets.tokens.take(1, now).map_err(TokenError::TooOften)
    }
}
