//! The receiver through its public door, against a transmitter that lives in memory, on paused time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod client;
mod handling;
mod keys;
mod poll;
mod push;
mod subscribe;
mod transmitter;
mod world;
