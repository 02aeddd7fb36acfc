//! A caller: a client whose access token was checked, just now.

use super::scope::Scope;
use super::{Client, Clients};
use crate::authenticate::Caller;
use crate::problem::Problem;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use secevent::Timestamp;
use secevent_jose::Compact;
use secevent_transmitter::Incoming;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A client whose token was checked, just now: it is good, and the client is not switched off.
#[derive(Clone)]
pub(crate) struct Registered {
    client: Arc<Client>,
    /// When, in monotonic time.
    at: Duration,
}

/// What a good token says.
pub(super) struct Said {
    pub(super) client: String,
    pub(super) scopes: Vec<Scope>,
    /// Of which generation it is, if it is one of ours.
    pub(super) generation: Option<u64>,
    /// When it was made, if it says so.
    pub(super) made_at: Option<Timestamp>,
    /// Until when that may be believed without another look.
    pub(super) until: Timestamp,
}

impl Registered {
    pub(crate) fn client(&self) -> secevent_transmitter::Client {
        secevent_transmitter::Client {
            id: self.client.id.clone(),
            audience: self.client.rights.audience.clone(),
        }
    }

    pub(crate) fn has(&self, wanted: Scope) -> bool {
        self.client.rights.scopes.iter().any(|scope| scope.includes(wanted))
    }

    pub(crate) fn may_send(&self, event: &Incoming, place: &str) -> Result<(), Problem> {
        let rights = &self.client.rights;
        let member = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        if !rights.may_send(event.event_type()) {
            let detail = "the client may not send events of this type";
            return Err(Problem::forbidden_by("client.events", member("type"), detail));
        }
        if !rights.authority.covers(event.subject()) {
            let detail = "the client may not send events about this subject";
            return Err(Problem::forbidden_by("client.subjects", member("subject"), detail));
        }
        // A receiver may read the subject there, and a legacy stream keeps what is there (LEGACY-14).
        if !rights.authority.covers_payload(event.event_type(), event.data()) {
            let detail = "the data of the event names a subject about which the client may not send events";
            return Err(Problem::forbidden_by("client.subjects", member("data"), detail));
        }
        Ok(())
    }

    pub(crate) fn count_events(&self, count: usize) -> Result<(), Problem> {
        let Some(bucket) = &self.client.buckets.events else { return Ok(()) };
        let taken = bucket.take(count, self.at);
        taken.map_err(|wait| Problem::too_often(wait, "the client's events come too often"))
    }

    pub(crate) fn count_request(&self) -> Result<(), Problem> {
        let taken = self.client.buckets.requests.take(1, self.at);
        taken.map_err(|wait| Problem::too_often(wait, "the client's requests come too often"))
    }

    pub(crate) fn may_be_refused(&self) -> Result<(), Problem> {
        let room = self.client.buckets.refused.take(0, self.at);
        room.map_err(|wait| Problem::too_often(wait, "too many of the client's requests had to be refused"))
    }

    pub(crate) fn count_refused(&self) {
        // Whether there was room is what the next one is asked.
        let _ = self.client.buckets.refused.take(1, self.at);
    }

    pub(crate) fn knows_issuer(&self, issuer: &str) -> bool {
        self.client.rights.knows_issuer(issuer)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(&self.client.id).finish()
    }
}

impl Clients {
    /// The caller that a request's `Authorization` names. Tokens are taken from nowhere else (INTEROP-24).
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let value = authorization(headers)?.ok_or_else(token_missing)?;
        value.to_str().map_err(|_| self.refused_token())?;
        let token = bearer(headers).ok_or_else(token_missing)?;
        let now = self.now();
        let said = match self.checked.get(token, now) {
            Some(said) => said,
            None => {
                let said = self.check(token, now).await?.ok_or_else(|| self.refused_token())?;
                let said = Arc::new(said);
                self.checked.keep(token, Arc::clone(&said), said.until, now);
                said
            }
        };
        self.caller(&said).ok_or_else(|| self.refused_token())
    }

    /// Counts a token that is not valid. No one can guess a signature, so nobody is slowed down for it.
    fn refused_token(&self) -> Problem {
        self.tokens_refused.fetch_add(1, Ordering::Relaxed);
        invalid_token()
    }

    /// A client that is gone or switched off is refused at once, and does no more than it may now, whatever its token
    /// says.
    fn caller(&self, said: &Said) -> Option<Caller> {
        let client = self.find(&said.client)?;
        let current = match said.generation {
            Some(generation) => generation == client.generation,
            None => self.takes_token_of(&client, said.made_at),
        };
        if !current || !self.is_enabled(&client.id) {
            return None;
        }
        if let (None, Some(made_at)) = (said.generation, said.made_at) {
            client.newest_token.fetch_max(made_at.as_micros(), Ordering::SeqCst);
        }
        let at = self.ports.clock.elapsed();
        Some(Caller::registered(Registered { client, at }, said.scopes.clone()))
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

/// The `Authorization` of a request, if it has one. Two are an error: a proxy that reads the other one sees another
/// caller (RFC 9110 section 5.3, RFC 6750 section 3.1).
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => Err(two_authorizations()),
    }
}

pub(crate) fn two_authorizations() -> Problem {
    Problem::bad_request("the request must not have more than one Authorization header")
}

/// Without credentials no error code is told (RFC 6750 section 3.1).
pub(crate) fn token_missing() -> Problem {
    Problem::unauthenticated("Bearer realm=\"secevent\"".to_owned(), "a bearer token is needed")
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
