//! The endpoints of a server, ready to be served.

use crate::clients::Clients;
use crate::router;
use crate::routes::Routes;
use axum::Router;
use secevent_ssf::Tolerance;
use secevent_transmitter::Transmitter;
use std::sync::Arc;

/// How the endpoints of a transmitter are served.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Take push endpoints that are plain `http`: for development on loopback alone. Default: no.
    pub allow_plain_http: bool,
    /// Serve `/healthz` and `/readyz` here too, to anybody, for load balancers that cannot reach the admin listener.
    /// Default: no.
    pub health: bool,
}

/// The HTTP endpoints of a transmitter, to be served by [`serve`](crate::serve) or mounted in a server of your own.
pub fn transmitter_router(
    config: &ServerConfig,
    transmitter: &Arc<Transmitter>,
    clients: &Arc<Clients>,
) -> Router {
    routes(config, transmitter, clients).into_router()
}

/// The paths that [`transmitter_router`] serves, as patterns: whoever writes a gate before it, or a test of every
/// endpoint, takes them from here.
pub fn transmitter_paths(
    config: &ServerConfig,
    transmitter: &Arc<Transmitter>,
    clients: &Arc<Clients>,
) -> Vec<String> {
    routes(config, transmitter, clients).into_paths()
}

fn routes(config: &ServerConfig, transmitter: &Arc<Transmitter>, clients: &Arc<Clients>) -> Routes {
    let tolerance = Tolerance { plain_http: config.allow_plain_http, ..Tolerance::NONE };
    router::transmitter(transmitter, clients, tolerance, config.health)
}
