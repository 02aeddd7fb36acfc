//! What was received, and what came before.

use crate::{BoxFuture, StoreError};
use bytes::Bytes;
use secevent::Timestamp;

/// A SET that was verified and is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The source that it came from, as configuration names it.
    pub source: String,
    /// Its `iss`.
    pub iss: String,
    /// Its `jti`.
    pub jti: String,
    /// A digest of its payload.
    pub digest: [u8; 32],
    /// The compact token as it came.
    pub token: Bytes,
    /// When it came.
    pub at: Timestamp,
}

/// Whether a SET is new (SEM-18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is new, and stored now.
    First,
    /// The same SET came before; it is acknowledged again and not handed on again.
    Repeat,
    /// Another SET came under this issuer and `jti` before: this one is refused and reported.
    Changed,
}

/// A SET in the inbox that waits for its handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order of arrival.
    pub place: u64,
    /// The SET.
    pub received: Received,
    /// How often a handler failed on it.
    pub attempts: u32,
}

/// Keeps received SETs until they are handled, and remembers their identifiers for longer.
pub trait Inbox: Send + Sync {
    /// Keeps the SETs that are new, all or none. Once this returns they survive a crash, so that they may be
    /// acknowledged (I5).
    fn receive(&self, sets: Vec<Received>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>>;

    /// SETs that wait for their handler, in order of arrival, behind the place `after`.
    fn waiting(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>>;

    /// These were handled: they leave, their identifiers stay.
    fn handled(&self, places: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A handler failed on this one: it stays, with its number of attempts; or leaves for the dead.
    fn failed(&self, place: u64, dead: bool) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets identifiers from before `before`. Returns whether there is more to do.
    fn forget(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;
}
