//! A transmitter inside somebody else's server, with that server's listeners, router and logins.

use crate::authenticate::Authenticate;
use crate::openapi::Shared;
use crate::router::{self, Door};
use axum::Router;
use secevent_ssf::Tolerance;
use secevent_transmitter::Transmitter;
use std::sync::Arc;

/// How a transmitter is served by a host.
#[derive(Clone, Debug, Default)]
pub struct HostConfig {
    /// The issuer of the host's OAuth authorization server, whose access tokens its authentication takes. It is
    /// named in the resource metadata (RFC 9728), by which receivers find it. Default: none; then receivers have
    /// to be told how to prove themselves.
    pub authorization_server: Option<String>,
    /// Take events over HTTP too, from callers with the scope `events.write`, at `{issuer}/events`. Default: no;
    /// the host calls [`Transmitter::accept`].
    pub ingest: bool,
    /// Take push endpoints that are plain `http`: for development on loopback alone. Default: no.
    pub allow_plain_http: bool,
}

/// The HTTP endpoints of a transmitter, for a server that knows its callers by itself.
///
/// What is served, and where, follows from the URLs of the issuers. For the issuer `https://id.example/ssf` it is
/// `/.well-known/ssf-configuration/ssf`, and below `/ssf`: `/jwks.json`, `/ssf/stream`, `/ssf/status`,
/// `/ssf/verify`, `/poll/{stream}`, `/openapi.json`. So the host chooses the prefix by the name of its issuer, and mounts the router
/// at the root, where the well-known document has to be. There is no token endpoint and no fallback: both are the
/// host's.
///
/// The router is an axum [`Router`] to be merged into the host's, and a `tower::Service` for everything else that
/// speaks `http`:
///
/// ```
/// use http::request::Parts;
/// use hyper_util::rt::{TokioExecutor, TokioIo};
/// use hyper_util::server::conn::auto;
/// use hyper_util::service::TowerToHyperService;
/// use secevent_server::{Authenticate, Caller, HostConfig, Refusal, Scope, hosted_transmitter_router};
/// use secevent_transmitter::Transmitter;
/// use std::sync::Arc;
/// use tokio::net::TcpListener;
///
/// /// Serves a transmitter with plain hyper, to receivers that bring this key.
/// async fn serve(transmitter: Arc<Transmitter>, listener: TcpListener) -> std::io::Result<()> {
///     let by_key: Arc<dyn Authenticate> = Arc::new(|request: &Parts| {
///         match request.headers.get("x-api-key").map(|key| key.as_bytes()) {
///             Some(b"a key that nobody guesses") => {
///                 Ok(Caller::new("shop", "https://shop.example", [Scope::Manage]))
///             }
///             _ => Err(Refusal::unknown("ApiKey", "bring a key")),
///         }
///     });
///     let router = hosted_transmitter_router(&HostConfig::default(), &transmitter, by_key);
///     loop {
///         let (connection, _) = listener.accept().await?;
///         let service = TowerToHyperService::new(router.clone());
///         tokio::spawn(async move {
///             let server = auto::Builder::new(TokioExecutor::new());
///             let _ = server.serve_connection(TokioIo::new(connection), service).await;
///         });
///     }
/// }
/// ```
pub fn hosted_transmitter_router(
    config: &HostConfig,
    transmitter: &Arc<Transmitter>,
    authenticate: Arc<dyn Authenticate>,
) -> Router {
    let door = Door {
        authenticate,
        authorization_servers: config.authorization_server.iter().cloned().collect(),
        tolerance: Tolerance { plain_http: config.allow_plain_http, ..Tolerance::NONE },
        ingest: config.ingest,
    };
    router::limited(router::issuers(transmitter, &door, &Shared::default()).into_router())
}
