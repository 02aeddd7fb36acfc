//! Who calls: the door through which a host's own authentication comes in.

use crate::clients::{Clients, Registered, Scope};
use crate::context::Context;
use crate::listen::prove;
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use http::request::Parts;
use secevent::Audience;
use secevent_ssf::BoxFuture;
use secevent_transmitter::{Client, Incoming};
use std::fmt;
use std::sync::Arc;

/// Tells who sent a request, for the endpoints of a transmitter.
///
/// [`Clients`] does, with access tokens of its own making. A host that knows its callers already (an identity
/// server, say) brings its own: a closure, or an implementation where it has to wait for something.
///
/// The answer is asked for at each request and is not kept, so that who is locked out is locked out at once.
///
/// ```
/// use http::request::Parts;
/// use secevent_server::{Authenticate, Caller, Refusal, Scope};
/// use std::sync::Arc;
///
/// /// What the host's own middleware has left in the request.
/// #[derive(Clone)]
/// struct LoggedIn {
///     client: String,
/// }
///
/// let by_session: Arc<dyn Authenticate> = Arc::new(|request: &Parts| {
///     match request.extensions.get::<LoggedIn>() {
///         Some(LoggedIn { client }) => Ok(Caller::new(client, "https://rp.example", [Scope::Manage])),
///         None => Err(Refusal::unknown("Bearer realm=\"identity\"", "log in first")),
///     }
/// });
/// ```
pub trait Authenticate: Send + Sync {
    /// Who sent the request with this head, or why nobody knows.
    fn caller<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Caller, Refusal>>;
}

impl<F> Authenticate for F
where
    F: Fn(&Parts) -> Result<Caller, Refusal> + Send + Sync,
{
    fn caller<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Caller, Refusal>> {
        let caller = self(request);
        Box::pin(async move { caller })
    }
}

impl Authenticate for Clients {
    fn caller<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Caller, Refusal>> {
        Box::pin(async { self.authenticate(&request.headers).await.map_err(Refusal) })
    }
}

/// A caller who has shown who it is: a receiver, a producer of events, or both.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) client: Client,
    scopes: Vec<Scope>,
    /// What is known of it beyond that, if it is one of [`Clients`].
    registered: Option<Registered>,
}

/// The same for who sends events, which are counted by themselves.
pub(crate) struct Producer(pub(crate) Caller);

impl Caller {
    /// A client with this id, which is called so in the `aud` of its SETs, and may do this. Its streams are its
    /// own: no other id sees them.
    pub fn new(
        id: impl Into<String>,
        audience: impl Into<Audience>,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> Self {
        let client = Client { id: id.into(), audience: audience.into() };
        Self { client, scopes: scopes.into_iter().collect(), registered: None }
    }

    /// One of [`Clients`], with a token that has these scopes.
    pub(crate) fn registered(registered: Registered, scopes: Vec<Scope>) -> Self {
        Self { client: registered.client(), scopes, registered: Some(registered) }
    }

    /// Refuses a caller without this scope (RFC 6750 section 3.1). Its token must have it, and its client too, now.
    pub(crate) fn may(&self, wanted: Scope) -> Result<(), Problem> {
        let has = self.scopes.iter().any(|scope| scope.includes(wanted));
        if has && self.registered.as_ref().is_none_or(|client| client.has(wanted)) {
            return Ok(());
        }
        Err(insufficient_scope(wanted))
    }

    /// Refuses an event that the client may not send, whatever its token says (SEM-20). `place` is where it stands in
    /// the request.
    pub(crate) fn may_send(&self, event: &Incoming, place: &str) -> Result<(), Problem> {
        self.registered.as_ref().map_or(Ok(()), |client| client.may_send(event, place))
    }

    /// Counts a request against the client's limit.
    pub(crate) fn count_request(&self) -> Result<(), Problem> {
        self.registered.as_ref().map_or(Ok(()), Registered::count_request)
    }

    /// Refuses a caller of whom too much had to be refused. What is taken does not count as a request.
    fn may_be_refused(&self) -> Result<(), Problem> {
        self.registered.as_ref().map_or(Ok(()), Registered::may_be_refused)
    }

    /// Counts a request that could not be taken.
    pub(crate) fn count_refused(&self) {
        if let Some(client) = &self.registered {
            client.count_refused();
        }
    }

    /// Counts events against the client's limit, if it has one.
    pub(crate) fn count_events(&self, count: usize) -> Result<(), Problem> {
        self.registered.as_ref().map_or(Ok(()), |client| client.count_events(count))
    }

    fn knows_issuer(&self, issuer: &str) -> bool {
        self.registered.as_ref().is_none_or(|client| client.knows_issuer(issuer))
    }
}

/// The token, or the client now, does not have this scope.
pub(crate) fn insufficient_scope(wanted: Scope) -> Problem {
    let name = wanted.name();
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{name}\"");
    Problem::forbidden(challenge, format!("the access token needs the scope {name}"))
}

/// The client may not send events of this issuer.
pub(crate) fn foreign_issuer() -> Problem {
    let detail = "the client may not send events of this issuer";
    Problem::forbidden_by("client.issuers", String::new(), detail)
}

/// Why a request is not let in.
#[derive(Clone)]
pub struct Refusal(pub(crate) Problem);

impl Refusal {
    /// Nobody knows who calls: 401, with a challenge that says how to show it (RFC 9110 section 11.6.1), such as
    /// `Bearer error="invalid_token"`.
    pub fn unknown(challenge: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(Problem::unauthenticated(challenge.into(), detail))
    }

    /// It is known who calls, and it has no business here: 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self(Problem::refused(detail))
    }

    /// It cannot be told just now, through no fault of the caller's: 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self(Problem::unavailable(detail))
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A handler that asks for its caller is not run, and the body of the request not read, before there is one.
impl FromRequestParts<Arc<Context>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(request: &mut Parts, context: &Arc<Context>) -> Result<Self, Problem> {
        let caller = context.caller(request).await?;
        caller.count_request()?;
        if !caller.knows_issuer(context.iss()) {
            return Err(Problem::not_found("there is no such issuer"));
        }
        Ok(caller)
    }
}

impl FromRequestParts<Arc<Context>> for Producer {
    type Rejection = Problem;

    async fn from_request_parts(request: &mut Parts, context: &Arc<Context>) -> Result<Self, Problem> {
        let caller = context.caller(request).await?;
        caller.may_be_refused()?;
        caller.may(Scope::Write)?;
        if !caller.knows_issuer(context.iss()) {
            return Err(foreign_issuer());
        }
        Ok(Self(caller))
    }
}

impl Context {
    async fn caller(&self, request: &Parts) -> Result<Caller, Problem> {
        let caller = self.authenticate.caller(request).await.map_err(|Refusal(problem)| problem)?;
        prove(&request.extensions);
        Ok(caller)
    }
}
