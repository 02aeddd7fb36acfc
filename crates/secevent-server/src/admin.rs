//! The administration of a running server, for its operators, on a listener of its own (SEM-24).
//!
//! Everything but `/healthz` and `/readyz` needs a token with the scope `admin`. Handlers translate, as everywhere in
//! this crate; what they ask for is carried out by the transmitter.

mod backup;
mod clients;
mod dead;
mod figures;
mod guard;
mod health;
mod keys;
mod metrics;
mod replays;
mod request;
mod streams;
mod time;

pub use guard::TokenDigest;

use crate::clients::Clients;
use crate::problem::Problem;
use crate::router::bounded;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use secevent::Clock;
use secevent_store::Backup;
use secevent_transmitter::{RecoverError, Transmitter};
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
    let metrics = config.metrics;
    let (transmitter, clients) = (Arc::clone(transmitter), Arc::clone(clients));
    let admin = Arc::new(Admin { config, transmitter, clients, clock });
    let mut router = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/admin/v1/figures", get(figures::read))
        .route("/admin/v1/streams", get(streams::list))
        .route("/admin/v1/streams/{stream}", get(streams::read))
        .route("/admin/v1/streams/{stream}/status", put(streams::set_status))
        .route("/admin/v1/dead", get(dead::list))
        .route("/admin/v1/streams/{stream}/dead/{jti}", get(dead::read))
        .route("/admin/v1/streams/{stream}/dead/redrive", post(dead::redrive))
        .route("/admin/v1/streams/{stream}/dead/discard", post(dead::discard))
        .route("/admin/v1/streams/{stream}/replays", post(replays::start))
        .route("/admin/v1/replays", get(replays::list))
        .route("/admin/v1/replays/{replay}", get(replays::read).delete(replays::cancel))
        .route("/admin/v1/clients", get(clients::list).post(clients::create))
        .route("/admin/v1/clients/{client}", get(clients::read).put(clients::update).delete(clients::delete))
        .route("/admin/v1/clients/{client}/disable", post(clients::disable))
        .route("/admin/v1/clients/{client}/enable", post(clients::enable))
        .route("/admin/v1/clients/{client}/secret", post(clients::rotate))
        .route("/admin/v1/keys", get(keys::list))
        .route("/admin/v1/keys/publish", post(keys::publish))
        .route("/admin/v1/keys/rotate", post(keys::rotate))
        .route("/admin/v1/keys/withdraw", post(keys::withdraw))
        .route("/admin/v1/keys/rewrap", post(keys::rewrap))
        .route("/admin/v1/backup", post(backup::write));
    if metrics != MetricsAccess::Off {
        router = router.route("/metrics", get(metrics::read));
    }
    // The guard is outermost: what it does not let through is neither read nor looked up.
    bounded(router.with_state(Arc::clone(&admin))).layer(from_fn_with_state(admin, guard::admit))
}

impl From<RecoverError> for Problem {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::NoSuchStream => Self::not_found("there is no such stream"),
            RecoverError::NoSuchSet(_) => Self::not_found("the stream has no such SET, or has forgotten it"),
            RecoverError::NoSuchReplay => Self::not_found("there is no such replay"),
            RecoverError::TooManyReplays(_) => Self::conflict(error.to_string()),
            RecoverError::Ours(error) => Self::ours(&error),
            other => Self::conflict(other.to_string()),
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
