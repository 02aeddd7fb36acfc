//! Which subjects a stream is about: what its receiver has added and removed.

use crate::write::{Write, Written};
use crate::{BoxFuture, GroupCommit, StoreError, StreamNumber};
use bytes::Bytes;
use secevent::Timestamp;
use std::fmt;

/// A subject by its fingerprint: 128 bits that only the owner of a key can make, from the subject's canonical form.
/// It finds the subject again and does not tell who it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectFingerprint(pub [u8; 16]);

impl fmt::Debug for SubjectFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectFingerprint(..)")
    }
}

/// What a receiver has said of one subject.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectEntry {
    /// The subject's fingerprint. A stream has one entry of each.
    pub fingerprint: SubjectFingerprint,
    /// What counts of what was said.
    pub standing: Standing,
    /// Whether the receiver has verified that the subject is who it says (SSF 1.0 section 8.1.3.2).
    pub verified: bool,
    /// Whether it matches other subjects too: an alias list, or a complex subject. Such entries are listed apart.
    pub compound: bool,
    /// The subject in its canonical form.
    pub subject: Bytes,
}

impl fmt::Debug for SubjectEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectEntry")
            .field("standing", &self.standing)
            .field("verified", &self.verified)
            .field("compound", &self.compound)
            .finish_non_exhaustive()
    }
}

/// Whether a subject was added to a stream or removed from it, last of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was added.
    Added,
    /// It was removed.
    Removed {
        /// When.
        at: Timestamp,
        /// Whether it had been added before.
        was_added: bool,
    },
}

/// Which entries of a stream are listed, and how much of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// All of them, whole.
    Whole,
    /// All of them, those that are not compound without their subjects.
    Index,
    /// The compound ones, whole.
    Compound,
}

/// Keeps the subjects of streams, in the same store as [`Outbox`](crate::Outbox).
pub trait Subjects: Send + Sync {
    /// Writes entries of a stream, each in the place of the one with its fingerprint. Once this returns they survive
    /// a crash.
    fn put_subjects(
        &self,
        stream: StreamNumber,
        entries: Vec<SubjectEntry>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets entries of a stream. Those that are not there are passed over. Returns how many there were.
    fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Forgets entries of whichever streams have them. Returns how many there were.
    fn erase_subjects(&self, fingerprints: Vec<SubjectFingerprint>)
    -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Forgets all entries of a stream.
    fn drop_subjects(&self, stream: StreamNumber) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A stream's entries behind `after`, by fingerprint; `limit` at most.
    fn list_subjects(
        &self,
        stream: StreamNumber,
        listing: Listing,
        after: Option<SubjectFingerprint>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubjectEntry>, StoreError>>;

    /// What counts for each of these subjects in each of these streams, in the order of the question.
    fn standings(
        &self,
        of: Vec<(StreamNumber, SubjectFingerprint)>,
    ) -> BoxFuture<'_, Result<Vec<Option<Standing>>, StoreError>>;

    /// How many entries each stream has, by stream: those that have some.
    fn subject_counts(&self) -> BoxFuture<'_, Result<Vec<(StreamNumber, u64)>, StoreError>>;
}

impl GroupCommit {
    /// See [`Subjects::put_subjects`].
    pub fn put_subjects(
        &self,
        stream: StreamNumber,
        entries: Vec<SubjectEntry>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.submit(Write::PutSubjects { stream, entries }, Written::done)
    }

    /// See [`Subjects::forget_subjects`].
    pub fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.submit(Write::ForgetSubjects { stream: Some(stream), fingerprints }, Written::count)
    }

    /// See [`Subjects::erase_subjects`].
    pub fn erase_subjects(
        &self,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.submit(Write::ForgetSubjects { stream: None, fingerprints }, Written::count)
    }

    /// See [`Subjects::drop_subjects`]. Other callers' groups go between its steps.
    pub fn drop_subjects(&self, stream: StreamNumber) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut step = self.submit(Write::DropSubjects(stream), Written::more);
        Box::pin(async move {
            while step.await? {
                step = self.submit(Write::DropSubjects(stream), Written::more);
            }
            Ok(())
        })
    }
}
