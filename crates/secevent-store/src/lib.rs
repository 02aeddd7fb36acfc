//! What a transmitter and a receiver must *remember*, as ports that a database implements.
//!
//! The promise of the whole system, *at least once, in order per subject*, stands on a few small contracts:
//!
//! - [`Outbox`] keeps events and the deliveries owed to streams. Success on `record` means durable.
//! - [`Recovery`] finds what was refused or given up, and has it delivered again.
//! - [`Subjects`] keeps which subjects a stream is about.
//! - [`Inbox`] keeps what was received, and knows what came before.
//! - [`Documents`] keeps what is configured at run time: streams, keys, the store's own identity.
//! - [`Outcomes`] reports how each delivery ended, and how its last attempts went.
//! - [`Audit`] keeps who changed what, and [`Records`] looks at single events, and erases them.
//!
//! A port is small and batch-first, takes the time as an argument, never blocks on other callers' work, and
//! says what a crash may assume. [`MemoryStore`] implements all of them for tests, simulations and
//! experiments; `secevent-sqlite` does so in one file. [`mod@conformance`] is the suite that every
//! implementation passes, [`GroupCommit`] the writer that they share, and [`Lanes`] the order in which what is kept may be worked on.

mod audit;
pub mod conformance;
mod documents;
mod error;
mod expiry;
mod group;
mod inbox;
mod jti;
mod lanes;
mod memory;
mod outbox;
mod outcomes;
mod records;
mod recovery;
mod subjects;
mod vault;
mod write;

pub use audit::{Audit, Change, ChangeFilter, Entered};
pub use documents::{Document, Documents, Version};
pub use error::StoreError;
pub use expiry::{ExpiryClock, ExpiryReading, SeenTime};
pub use group::{Commit, GroupCommit, GroupLimits};
pub use inbox::{Inbox, Receipt, Received, Stored};
pub use jti::{Epoch, Jti, JtiCodec, StoreKey};
pub use lanes::{Added, Lanes, Left};
pub use memory::MemoryStore;
pub use outbox::{
    Backlog, CommitFigures, CommitObserver, Delivery, Idempotency, Keep, NewEvent, Outbox, Owed, Owing,
    PAGE_BYTES_MAX, Page, Place, Queue, Recorded, Rendering, Sequence, Settlement, Signed, StreamNumber,
    UnsettledDelivery, Verdict,
};
pub use outcomes::{Attempt, AttemptResult, DeliveryOutcome, DropReason, Ended, Ending, Outcomes};
pub use records::{Erase, Erased, Kept, Records, Texts, Traces};
pub use recovery::{Cause, Dead, History, Past, Recovery};
pub use subjects::{Listing, Standing, SubjectEntry, SubjectFingerprint, Subjects};
pub use vault::{Unsealable, Vault};
pub use write::{Write, Written};

use std::future::Future;
use std::pin::Pin;

/// The future of a port's verb: boxed, so that ports can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything that one store keeps.
pub trait Store: Outbox + Recovery + Outcomes + Subjects + Inbox + Documents + Audit + Records {}

impl<S: Outbox + Recovery + Outcomes + Subjects + Inbox + Documents + Audit + Records> Store for S {}

/// A store that can be copied while it is at work.
pub trait Backup: Send + Sync {
    /// Writes a consistent copy to this path, where nothing may be yet, without holding up anybody. Once this
    /// returns the copy survives a crash. A server that is started on it draws another epoch, so that it never gives
    /// identifiers again that the original gave after the copy (SEM-1).
    fn backup(&self, to: std::path::PathBuf) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads the whole store, without holding up anybody. Returns what is damaged, in some lines; none are good.
    /// [`StoreError::Busy`] while it is copied or read already.
    fn check(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;
}
