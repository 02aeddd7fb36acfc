//! A server at work: it listens, serves, and ends in order.

use crate::clients::{ClientConfig, Clients};
use crate::router;
use axum::Router;
use secevent::Clock;
use secevent_jose::KeyError;
use secevent_ssf::Tolerance;
use secevent_transmitter::Transmitter;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How the endpoints of a transmitter are served.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The URL under which the world sees this server: the name of its authorization server.
    pub public_url: String,
    /// The clients.
    pub clients: Vec<ClientConfig>,
    /// Take push endpoints that are plain `http`: for development on loopback alone. Default: no.
    pub allow_plain_http: bool,
}

/// The HTTP endpoints of a transmitter, to be served by [`serve`] or mounted in a server of your own.
pub fn transmitter_router(
    config: &ServerConfig,
    transmitter: &Arc<Transmitter>,
    clock: Arc<dyn Clock>,
) -> Result<Router, KeyError> {
    let public_url = config.public_url.trim_end_matches('/');
    let clients = Arc::new(Clients::new(config.clients.iter().cloned(), public_url, clock)?);
    let tolerance = Tolerance { plain_http: config.allow_plain_http, ..Tolerance::NONE };
    Ok(router::transmitter(transmitter, &clients, public_url, tolerance))
}

/// Serves until `stop` ends; then takes no new connection, and lets requests that are under way end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
