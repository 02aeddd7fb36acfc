//! The incoming network: HTTP endpoints over the transmitter and the receiver.
//!
//! Handlers translate: they check who calls, read the request with `secevent-ssf`, hand it to
//! `secevent-transmitter`, and write the answer. What happens is told there, not here.
//!
//! The public listener serves [`transmitter_router`]; operators have a listener of their own, [`admin_router`].

mod admin;
mod checked;
mod clients;
mod context;
mod ingest;
mod oauth;
mod problem;
mod receive;
mod request_id;
mod router;
mod server;
mod ssf;

pub use admin::{AdminConfig, MetricsAccess, TokenDigest, admin_router};
pub use clients::{ClientConfig, Clients, Scope};
pub use receive::receiver_router;
pub use server::{ServerConfig, serve, transmitter_router};
