//! Small things that change rarely: streams, keys, the store's own identity.

use crate::{BoxFuture, Change, StoreError, StreamNumber};
use bytes::Bytes;

/// A document's version: it changes with each write. Zero means that there is none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name, for example `stream/f67e39a0`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its content.
    pub body: Bytes,
}

/// Keeps documents by name, with compare-and-set.
pub trait Documents: Send + Sync {
    /// The document of this name.
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Option<Document>, StoreError>>;

    /// The documents whose names begin so, behind the name `after` if one is given; by name, `limit` at most.
    fn list(
        &self,
        beginning: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Document>, StoreError>>;

    /// Writes a document, or deletes it (`None`), if its version is still `expected`. Once this returns the
    /// change survives a crash. [`StoreError::Conflict`] if somebody was faster.
    fn put(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
    ) -> BoxFuture<'_, Result<Version, StoreError>> {
        self.put_and_enter(name, expected, body, None)
    }

    /// The same, with what the log tells of it: both or neither.
    fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<Version, StoreError>>;

    /// A stream number that was never given before and never will be again.
    fn new_stream_number(&self) -> BoxFuture<'_, Result<StreamNumber, StoreError>>;
}
