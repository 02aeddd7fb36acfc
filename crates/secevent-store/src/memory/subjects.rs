//! The subjects of streams, in a map.

use super::{MemoryStore, State, Write, Written};
use crate::{
    BoxFuture, Listing, Standing, StoreError, StreamNumber, SubjectEntry, SubjectFingerprint, Subjects,
};
use bytes::Bytes;
use std::future::ready;
use std::ops::Bound;

const FIRST: SubjectFingerprint = SubjectFingerprint([0; 16]);
const LAST: SubjectFingerprint = SubjectFingerprint([u8::MAX; 16]);

impl Subjects for MemoryStore {
    fn put_subjects(
        &self,
        stream: StreamNumber,
        entries: Vec<SubjectEntry>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Write::PutSubjects { stream, entries }, Written::done)
    }

    fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::ForgetSubjects { stream: Some(stream), fingerprints }, Written::count)
    }

    fn erase_subjects(
        &self,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(Write::ForgetSubjects { stream: None, fingerprints }, Written::count)
    }

    fn drop_subjects(&self, stream: StreamNumber) -> BoxFuture<'_, Result<(), StoreError>> {
        while matches!(self.apply(Write::DropSubjects(stream)), Ok(Written::Cleared { more: true })) {}
        Box::pin(ready(Ok(())))
    }

    fn list_subjects(
        &self,
        stream: StreamNumber,
        listing: Listing,
        after: Option<SubjectFingerprint>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubjectEntry>, StoreError>> {
        let state = self.state();
        let from = after.map_or(Bound::Included((stream, FIRST)), |after| Bound::Excluded((stream, after)));
        let entries = state.subjects.range((from, Bound::Included((stream, LAST)))).map(|(_, entry)| entry);
        let listed = entries.filter(|entry| listing != Listing::Compound || entry.compound).take(limit);
        let told = listed.map(|entry| match listing {
            Listing::Index if !entry.compound => SubjectEntry { subject: Bytes::new(), ..entry.clone() },
            _ => entry.clone(),
        });
        Box::pin(ready(Ok(told.collect())))
    }

    fn standings(
        &self,
        of: Vec<(StreamNumber, SubjectFingerprint)>,
    ) -> BoxFuture<'_, Result<Vec<Option<Standing>>, StoreError>> {
        let state = self.state();
        let standings = of.iter().map(|one| state.subjects.get(one).map(|entry| entry.standing));
        Box::pin(ready(Ok(standings.collect())))
    }

    fn subject_counts(&self) -> BoxFuture<'_, Result<Vec<(StreamNumber, u64)>, StoreError>> {
        let mut counts: Vec<(StreamNumber, u64)> = Vec::new();
        for (stream, _) in self.state().subjects.keys() {
            match counts.last_mut() {
                Some((last, count)) if last == stream => *count += 1,
                _ => counts.push((*stream, 1)),
            }
        }
        Box::pin(ready(Ok(counts)))
    }
}

impl State {
    pub(super) fn forget_subject(&mut self, stream: Option<StreamNumber>, one: SubjectFingerprint) -> u64 {
        let before = self.subjects.len();
        match stream {
            Some(stream) => drop(self.subjects.remove(&(stream, one))),
            None => self.subjects.retain(|(_, fingerprint), _| *fingerprint != one),
        }
        u64::try_from(before - self.subjects.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn drop_some_subjects(&mut self, stream: StreamNumber) -> bool {
        let all = self.subjects.range((stream, FIRST)..=(stream, LAST)).map(|(key, _)| *key);
        let some: Vec<_> = all.take(Self::STEP).collect();
        for key in &some {
            self.subjects.remove(key);
        }
        some.len() == Self::STEP
    }
}
