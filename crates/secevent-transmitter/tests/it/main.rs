//! Events out, through the public door: a memory store, a scripted network, and a clock that stands still
//! until all tasks wait.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod accepting;
mod activity;
mod auditing;
mod bounds;
mod erasing;
mod explaining;
mod failures;
mod fairness;
mod limits;
mod network;
mod order;
mod polling;
mod pushing;
mod recovery;
mod restarts;
mod signatures;
mod statuses;
mod store;
mod streams;
mod trouble;
mod world;
