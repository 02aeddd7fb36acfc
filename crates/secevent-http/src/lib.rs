//! The outgoing network of secevent: one guarded HTTP client.
//!
//! A server that delivers events to URLs which others chose is a machine for reaching into private networks, unless
//! something stops it. Everything that leaves the process therefore goes through [`Client`]: pushed SETs, polls,
//! metadata, keys, token requests. It implements [`secevent_ssf::Transport`], the port the engines see.
//!
//! ```no_run
//! use bytes::Bytes;
//! use secevent_http::{Client, ClientConfig};
//! use secevent_ssf::{Transport, TransportError};
//!
//! # async fn push() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(ClientConfig::default())?;
//! let request = http::Request::post("https://receiver.example/events").body(Bytes::from("eyJ..."))?;
//! match client.send(request).await {
//!     Ok(answer) => println!("{}", answer.status()),
//!     Err(TransportError::AddressRefused(why)) => println!("not going there: {why}"),
//!     Err(error) => println!("no answer: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a request
//!
//! 1. **The URL** (`destination.rs`): https unless configured otherwise, no user name, a host that is a name or an
//!    address in its plain form.
//! 2. **A connection** (`pool.rs`): an idle one, the shared one over HTTP/2, or a new one, within the limits per host and in
//!    all.
//! 3. **A new connection** (`connector.rs`): the name is resolved once ([`Resolve`]), every address is put to the
//!    [`AddressGuard`], and the vetted address itself is connected to. Then TLS ([`TlsConfig`]), against the host of the URL.
//! 4. **The exchange** (`client.rs`): the request is sent once, the answer is read up to a bound. A redirect is an answer
//!    like any other. What a peer sends around the body is counted as it comes in (`inflow.rs`).
//!
//! Every limit is a field of [`ClientConfig`]. What went wrong comes back as a [`secevent_ssf::TransportError`], whose
//! text names host and port and never a path, a query or a header.

mod address_guard;
mod client;
mod config;
mod connector;
mod credentials;
mod destination;
mod inflow;
mod pool;
mod proxy;
mod resolve;
mod tls;

pub use address_guard::{AddressGuard, Ports, Refusal, RefusalReason};
pub use client::Client;
pub use config::{ClientConfig, ConfigError, ConnectTo};
pub use credentials::{Credentialed, OAuth, Proof, PushCredential, SecretPlace};
pub use pool::ConnectionCounts;
pub use proxy::ProxyConfig;
pub use resolve::{Resolve, SystemResolver};
pub use tls::{Identity, TlsConfig};
