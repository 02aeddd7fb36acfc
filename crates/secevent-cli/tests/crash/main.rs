//! The real process, killed at any moment, keeps its promises.
//!
//! `cargo xtask crash` runs these tests and shows their reports; `--long` runs all of them.
//!
//! - [`kills`]: SIGKILL at each named step of an event's way.
//! - [`power`]: the files as a power cut leaves them, rebuilt from what the process wrote and synced. It takes the
//!   place of C library calls, which is done here as Linux does it.
//! - [`full`]: the disk is full for a while.
//! - [`subjects`]: SIGKILL while a receiver adds and removes subjects.
//! - [`restore`]: an older copy of the store is put back.
//!
//! [`checks`] has what must be true after each of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands, helpers included")]

mod again;
mod caller;
mod checks;
mod clock;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod full;
mod kills;
mod operator;
#[cfg(target_os = "linux")]
mod power;
mod producer;
mod receiver;
mod restore;
mod scale;
mod server;
mod streams;
mod subjects;
mod world;
