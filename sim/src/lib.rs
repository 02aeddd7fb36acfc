//! Deterministic simulation: the production transmitter and receiver in a world where everything goes wrong.
//!
//! Accepting, lanes, retries, settling, polling, receiving and handling are the production code, as it is. What
//! is simulated stands where a port is: the [store](secevent_store::Store) fails, is slow and loses its last
//! moments in a crash; the [network](secevent_ssf::Transport) loses, doubles, delays and reorders; the
//! [clock](secevent::Clock) is set; processes die and come back, on a backup at times. All of it follows from
//! one seed, on tokio's paused time, so that each run can be had again.
//!
//! Beside it runs a model of what was promised. At each step that could break a promise, the model is asked.

mod events;
mod invariants;
mod many;
mod model;
mod mutation;
mod network;
mod poller;
mod receiver;
mod run;
mod service;
mod sim;
mod store;

pub use invariants::{Promise, Violation};
pub use many::{Tally, try_seeds};
pub use mutation::{Mutation, catch};
pub use run::{Report, run};
