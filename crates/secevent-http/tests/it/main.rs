//! The client through its front door, against real servers on loopback.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod credentials;
mod exchange;
mod flood;
mod limits;
mod proxy;
mod refused;
mod tls;
mod world;
