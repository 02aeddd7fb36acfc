//! The endpoints, through the router and without a socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod access;
mod admin;
mod ailing;
mod documents;
mod ingest;
mod keys;
mod listen;
mod management;
mod polling;
mod tokens;
mod world;
