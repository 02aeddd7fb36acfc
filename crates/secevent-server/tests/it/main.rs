//! The endpoints, through the router and without a socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod access;
mod admin;
mod ailing;
mod documented;
mod documents;
mod feed;
mod ingest;
mod legacy;
mod management;
mod polling;
mod recipient;
mod tokens;
mod traces;
mod world;
