//! Events out, through the public door: a memory store, a scripted network, and a clock that stands still
//! until all tasks wait.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod accepting;
mod activity;
mod auditing;
mod bounds;
mod clock;
mod declared;
mod erasing;
mod explaining;
mod failures;
mod fairness;
mod keys;
mod limits;
mod network;
mod operating;
mod order;
mod polling;
mod pushing;
mod recovery;
mod restarts;
mod signatures;
mod statuses;
mod store;
mod streams;
mod subjects;
mod switch;
mod trouble;
mod world;
