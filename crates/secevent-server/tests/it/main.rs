//! The endpoints, through the router and without a socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod access;
mod admin;
mod ailing;
mod assertions;
mod clients;
mod documented;
mod documented_public;
mod documents;
mod elsewhere;
mod embedding;
mod external;
mod feed;
mod guesses;
mod ingest;
mod keys;
mod legacy;
mod listen;
mod management;
mod matrix;
mod polling;
mod recipient;
mod subjects;
mod tokens;
mod traces;
mod world;
