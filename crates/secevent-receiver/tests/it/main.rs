//! The receiver through its public door, against a transmitter that lives in memory, on paused time.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

mod client;
mod finding;
mod handling;
mod keys;
mod poll;
mod push;
mod subscribe;
mod transmitter;
mod world;
