//! A caller: a client whose access token was checked, just now.

use super::scope::Scope;
use super::{Client, Clients};
use crate::context::Context;
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use secevent::Timestamp;
use secevent_jose::Compact;
use secevent_transmitter::Incoming;
use serde::Deserialize;
use std::sync::Arc;

/// Who calls an endpoint of an issuer. A handler that has one has checked it: the token is good, the client is not
/// switched off, it has to do with the issuer, and it does not ask too often.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: secevent_transmitter::Client,
    known_as: Arc<Client>,
    said: Arc<Said>,
}

/// The same for who sends events, which are counted by themselves.
#[derive(Clone)]
pub(crate) struct Producer(pub(crate) Caller);

/// What a good token says.
pub(super) struct Said {
    pub(super) client: String,
    pub(super) scopes: Vec<Scope>,
    /// Of which generation it is, if it is one of ours.
    pub(super) generation: Option<u64>,
    /// Until when that may be believed without another look.
    pub(super) until: Timestamp,
}

impl Caller {
    /// Refuses a caller without this scope (RFC 6750 section 3.1). Its token must have it, and its client too, now.
    pub(crate) fn may(&self, wanted: Scope) -> Result<(), Problem> {
        let include = |scopes: &[Scope]| scopes.iter().any(|scope| scope.includes(wanted));
        if include(&self.said.scopes) && include(&self.known_as.rights.scopes) {
            return Ok(());
        }
        let name = wanted.name();
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{name}\"");
        Err(Problem::forbidden(challenge, format!("the access token needs the scope {name}")))
    }

    /// Refuses an event that the client may not send, whatever its token says (SEM-20). `place` is where it stands in
    /// the request.
    pub(crate) fn may_send(&self, event: &Incoming, place: &str) -> Result<(), Problem> {
        let rights = &self.known_as.rights;
        let member = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        if !rights.may_send(event.event_type()) {
            let detail = "the client may not send events of this type";
            return Err(Problem::forbidden_by("client.events", member("type"), detail));
        }
        if !rights.authority.covers(event.subject()) {
            let detail = "the client may not send events about this subject";
            return Err(Problem::forbidden_by("client.subjects", member("subject"), detail));
        }
        Ok(())
    }

    /// Counts events against the client's limit, if it has one.
    pub(crate) fn count_events(&self, count: usize, now: Timestamp) -> Result<(), Problem> {
        let Some(bucket) = &self.known_as.buckets.events else { return Ok(()) };
        bucket.take(count, now).map_err(|wait| Problem::too_often(wait, "the client's events come too often"))
    }

    pub(crate) fn count_request(&self, now: Timestamp) -> Result<(), Problem> {
        let taken = self.known_as.buckets.requests.take(1, now);
        taken.map_err(|wait| Problem::too_often(wait, "the client's requests come too often"))
    }

    fn knows_issuer(&self, issuer: &str) -> bool {
        self.known_as.rights.knows_issuer(issuer)
    }
}

impl FromRequestParts<Arc<Context>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Problem> {
        let caller = context.clients.authenticate(&parts.headers).await?;
        caller.count_request(context.clients.now())?;
        if !caller.knows_issuer(context.iss()) {
            return Err(Problem::not_found("there is no such issuer"));
        }
        Ok(caller)
    }
}

impl FromRequestParts<Arc<Context>> for Producer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Problem> {
        let caller = context.clients.authenticate(&parts.headers).await?;
        if !caller.knows_issuer(context.iss()) {
            let detail = "the client may not send events of this issuer";
            return Err(Problem::forbidden_by("client.issuers", String::new(), detail));
        }
        Ok(Self(caller))
    }
}

impl Clients {
    /// The caller that a request's `Authorization` names. Tokens are taken from nowhere else (INTEROP-24).
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let nothing = || {
            // Without credentials no error code is told (RFC 6750 section 3.1).
            Problem::unauthenticated("Bearer realm=\"secevent\"".to_owned(), "a bearer token is needed")
        };
        let value = headers.get(AUTHORIZATION).ok_or_else(nothing)?;
        value.to_str().map_err(|_| invalid_token())?;
        let token = bearer(headers).ok_or_else(nothing)?;
        let now = self.now();
        let said = match self.checked.get(token, now) {
            Some(said) => said,
            None => {
                let said = Arc::new(self.check(token, now).await?.ok_or_else(invalid_token)?);
                self.checked.keep(token, Arc::clone(&said), said.until, now);
                said
            }
        };
        self.caller(said).ok_or_else(invalid_token)
    }

    /// A client that is gone or switched off is refused at once, and does no more than it may now, whatever its token
    /// says.
    fn caller(&self, said: Arc<Said>) -> Option<Caller> {
        let client = self.find(&said.client)?;
        let current = said.generation.is_none_or(|generation| generation == client.generation);
        if !current || !self.is_enabled(&client.id) {
            return None;
        }
        Some(Caller {
            said,
            client: secevent_transmitter::Client {
                id: client.id.clone(),
                audience: client.rights.audience.clone(),
            },
            known_as: client,
        })
    }

    /// What a token says, if whoever gave it is believed and means us.
    async fn check(&self, token: &str, now: Timestamp) -> Result<Option<Said>, Problem> {
        #[derive(Deserialize)]
        struct Named {
            iss: String,
        }
        let Ok(compact) = Compact::parse(token) else { return Ok(None) };
        let Ok(named) = serde_json::from_slice::<Named>(compact.unverified_payload()) else {
            return Ok(None);
        };
        if let Some(built_in) = self.built_in.as_ref().filter(|_| named.iss == self.server) {
            return Ok(built_in.check(&compact, now));
        }
        match self.external.iter().find(|server| server.issuer() == named.iss) {
            Some(server) => server.check(&compact, now).await,
            None => Ok(None),
        }
    }
}

/// The bearer token of a request, if it has one (RFC 6750 section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn invalid_token() -> Problem {
    let challenge = "Bearer error=\"invalid_token\"".to_owned();
    Problem::unauthenticated(challenge, "the bearer token is not valid: ask for a new one")
}
