//! What a transmitter and a receiver must *remember*, as ports that a database implements.
//!
//! The promise of the whole system, *at least once, in order per subject*, stands on three small contracts:
//!
//! - [`Outbox`] keeps events and the deliveries owed to streams. Success on `record` means durable.
//! - [`Inbox`] keeps what was received, and knows what came before.
//! - [`Documents`] keeps what is configured at run time: streams, keys, the store's own identity.
//!
//! A port is small and batch-first, takes the time as an argument, never blocks on other callers' work, and
//! says what a crash may assume. [`MemoryStore`] implements all of them for tests, simulations and
//! experiments; `secevent-sqlite` does so in one file. [`mod@conformance`] is the suite that every
//! implementation passes, and [`GroupCommit`] the writer that they share.

pub mod conformance;
mod documents;
mod error;
mod group;
mod inbox;
mod jti;
mod memory;
mod outbox;
mod vault;
mod write;

pub use documents::{Document, Documents, Version};
pub use error::StoreError;
pub use group::{Commit, GroupCommit, GroupLimits};
pub use inbox::{Inbox, Receipt, Received, Stored};
pub use jti::{Epoch, Jti, JtiCodec, StoreKey};
pub use memory::MemoryStore;
pub use outbox::{
    Backlog, CommitObserver, Delivery, Idempotency, NewEvent, Outbox, Owed, Page, Queue, Recorded, Rendering,
    Sequence, Settlement, StreamNumber, Verdict,
};
pub use vault::{Unsealable, Vault};
pub use write::{Write, Written};

use std::future::Future;
use std::pin::Pin;

/// The future of a port's verb: boxed, so that ports can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything that one store keeps.
pub trait Store: Outbox + Inbox + Documents {}

impl<S: Outbox + Inbox + Documents> Store for S {}
