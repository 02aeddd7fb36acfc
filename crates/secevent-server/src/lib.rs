//! The incoming network: HTTP endpoints over the transmitter and the receiver.
//!
//! Handlers translate: they check who calls, read the request with `secevent-ssf`, hand it to
//! `secevent-transmitter`, and write the answer. What happens is told there, not here.
//!
//! The public listener serves [`transmitter_router`]; operators have a listener of their own, [`admin_router`].
//! A server that has listeners and logins already mounts [`hosted_transmitter_router`] instead.

mod admin;
mod authenticate;
mod clients;
mod clock;
mod context;
mod embedding;
mod entity_tag;
mod ingest;
mod listen;
mod oauth;
mod openapi;
mod peer;
mod problem;
mod receive;
mod request_id;
mod router;
mod routes;
mod server;
mod ssf;
mod tls;

pub use admin::{AdminConfig, MetricsAccess, TokenDigest, admin_router};
pub use authenticate::{Authenticate, Caller, Refusal};
pub use clients::{
    AuthorizationServerConfig, ClientConfig, ClientLimits, ClientPorts, ClientSettings, Clients,
    ClientsConfig, ClientsError, Limits, Rate, Scope, SubjectLimits,
};
pub use clock::SystemClock;
pub use embedding::{HostConfig, hosted_transmitter_router};
pub use listen::{ListenCounts, ListenFigures, ListenLimits, Listening, serve, serve_as};
pub use peer::Peer;
pub use receive::receiver_router;
pub use server::{ServerConfig, transmitter_paths, transmitter_router};
pub use ssf::metadata::JWKS_MAX_AGE_SECONDS;
pub use tls::{ServerTls, ServerTlsError};
