//! The administration of a running server, for its operators, on a listener of its own (SEM-24).
//!
//! Everything but `/healthz` and `/readyz` needs a token with the scope `admin`. Handlers translate, as everywhere in
//! this crate; what they ask for is carried out by the transmitter.

mod audit;
mod backup;
mod clients;
mod clock;
mod dead;
mod erasures;
mod events;
mod figures;
mod guard;
pub(crate) mod health;
mod keys;
mod metrics;
mod openapi;
mod replays;
mod request;
pub(crate) mod route;
mod streams;
mod time;

pub use guard::TokenDigest;

use crate::clients::Clients;
use crate::listen::ListenCounts;
use crate::problem::Problem;
use crate::router::bounded;
use crate::ssf;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use http::StatusCode;
use route::Route;
use secevent::{Clock, escape_json};
use secevent_store::Backup;
use secevent_transmitter::{RecoverError, Transmitter};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a server is administered.
#[derive(Clone)]
pub struct AdminConfig {
    /// Where its listener is bound. Requests must be addressed to this address, or to `localhost` where it is that.
    pub address: SocketAddr,
    /// Names under which it may be called besides. Whoever can make one of them point elsewhere is trusted.
    pub names: Vec<String>,
    /// The digest of a token of its own, besides those of clients with the scope `admin`.
    pub local_token: Option<TokenDigest>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// How the store is copied, if it can be.
    pub backup: Option<Arc<dyn Backup>>,
    /// The counters of listeners that `/metrics` shows, each with the name of its listener.
    pub listeners: Vec<(&'static str, ListenCounts)>,
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Nobody: it is not there.
    Off,
    /// Who has a token with the scope `admin`.
    #[default]
    Token,
    /// Everybody who reaches the listener.
    Open,
}

/// What the endpoints share.
pub(crate) struct Admin {
    config: AdminConfig,
    transmitter: Arc<Transmitter>,
    clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
}

/// The endpoints of the admin listener, to be served by [`serve`](crate::serve).
pub fn admin_router(
    config: AdminConfig,
    transmitter: &Arc<Transmitter>,
    clients: &Arc<Clients>,
    clock: Arc<dyn Clock>,
) -> Router {
    let (transmitter, clients) = (Arc::clone(transmitter), Arc::clone(clients));
    let metrics = config.metrics;
    let admin = Arc::new(Admin { config, transmitter, clients, clock });
    let router = routes(metrics).into_iter().fold(Router::new(), |router, route| {
        debug_assert!(!route.operations.is_empty(), "{} is not documented", route.path);
        router.route(route.path, route.methods)
    });
    // The guard is outermost: what it does not let through is neither read nor looked up.
    bounded(router.with_state(Arc::clone(&admin)))
        .layer(from_fn_with_state(Arc::clone(&admin), audit::enter))
        .layer(from_fn_with_state(admin, guard::admit))
}

/// Everything that is served here. A file of endpoints has a line here, and says there what they answer.
pub(crate) fn routes(metrics: MetricsAccess) -> Vec<Route> {
    let mut routes = vec![openapi::route()];
    routes.extend(health::routes());
    routes.extend(figures::routes());
    routes.extend(streams::routes());
    routes.extend(dead::routes());
    routes.extend(replays::routes());
    routes.extend(events::routes());
    routes.extend(erasures::routes());
    routes.extend(audit::routes());
    routes.extend(clients::routes());
    routes.extend(keys::routes());
    routes.extend(backup::routes());
    routes.extend(clock::routes());
    if metrics != MetricsAccess::Off {
        routes.extend(metrics::routes(metrics));
    }
    routes
}

/// An answer with JSON that is safe to print, with a line end: operators read it on a terminal, and parts of it are
/// foreign text.
pub(crate) fn answer(status: StatusCode, mut json: Vec<u8>) -> Response {
    json.push(b'\n');
    match str::from_utf8(&json).map(escape_json) {
        Ok(Cow::Owned(safe)) => ssf::answer(status, safe),
        _ => ssf::answer(status, json),
    }
}

impl From<RecoverError> for Problem {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::NoSuchStream => Self::not_found("there is no such stream"),
            RecoverError::NoSuchSet(_) => Self::not_found("the stream has no such SET, or has forgotten it"),
            RecoverError::Name(error) => error.into(),
            RecoverError::NoSuchReplay => Self::not_found("there is no such replay"),
            RecoverError::Disabled | RecoverError::TooManyReplays(_) => Self::conflict(error.to_string()),
            RecoverError::Ours(error) => Self::ours(&error),
        }
    }
}

impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig")
            .field("address", &self.address)
            .field("names", &self.names)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}
