//! Which subjects a stream is about: its receiver adds and removes them (SSF 1.0 section 8.1.3), and an event is owed
//! to the streams that are about its subject.
//!
//! What was said is kept in the store. Beside it, memory holds fingerprints, so that an event is matched without a call
//! to the store; a stream with more subjects than there is room for has the store asked, once for all events of a call.

mod print;
mod set;
mod side;

pub(crate) use set::SubjectSet;

use crate::manage::ManageError;
use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use crate::{Incoming, IssuerConfig};
use print::{Fingerprinting, Print};
use secevent::{Identifier, Invalid, Subject, Timestamp};
use secevent_ssf::{AddSubject, DefaultSubjects, RemoveSubject};
use secevent_store::{
    Listing, Standing, StoreError, StoreKey, StreamNumber, SubjectEntry, SubjectFingerprint,
};
use set::{Owed, Said, owed_as_stored};
use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tracing::{info, warn};

/// How many subjects streams may have, and where they are held.
#[derive(Clone, Copy, Debug)]
pub struct SubjectLimits {
    /// Subjects of one stream, added or removed. Default: 5 million.
    pub per_stream_max: u64,
    /// Subjects of all streams that are held in memory, about 40 bytes each. The store is asked about those of a
    /// stream for which there is no room, once for all events of a call. Default: 4 million.
    pub in_memory_max: u64,
    /// How long a removed subject stays in (SSF 1.0 section 9.3): somebody who has taken over a receiver cannot
    /// silence it at once. Default: none.
    pub removal_grace: Duration,
}

impl Default for SubjectLimits {
    fn default() -> Self {
        Self { per_stream_max: 5_000_000, in_memory_max: 4_000_000, removal_grace: Duration::ZERO }
    }
}

/// What all streams' subjects share.
#[derive(Debug)]
pub(crate) struct SubjectIndex {
    fingerprinting: Fingerprinting,
    /// How many subjects are held in memory.
    held: AtomicU64,
    /// Whoever says something of a subject holds its turn until that is stored and in memory. Many subjects share one.
    turns: Box<[Mutex<()>]>,
}

impl SubjectIndex {
    pub(crate) fn new(key: &StoreKey) -> Self {
        const TURNS: usize = 1_024;
        Self {
            fingerprinting: Fingerprinting::new(key),
            held: AtomicU64::new(0),
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
        }
    }

    fn turn_of(&self, fingerprint: SubjectFingerprint) -> usize {
        usize::from(u16::from_be_bytes([fingerprint.0[0], fingerprint.0[1]])) % self.turns.len()
    }

    /// Changes what is said of a stream's subjects, and keeps account of how many are held.
    fn change<T>(&self, entry: &Entry, change: impl FnOnce(&mut Said) -> T) -> T {
        entry.subjects.change(&self.held, change)
    }
}

impl Transmitter {
    /// Which subjects a new stream of this issuer has.
    pub fn default_subjects(&self, issuer: &str) -> Option<DefaultSubjects> {
        self.issuer(issuer).ok().map(|issuer| issuer.config().default_subjects)
    }

    /// Adds a subject to a stream. Once this returns, an event about it is owed to the stream. It is the same whether
    /// or not anything is known of the subject: there is nothing to learn from the answer.
    pub async fn add_subject(
        &self,
        issuer: &str,
        client: &str,
        request: AddSubject,
    ) -> Result<(), ManageError> {
        let entry = self.stream_of(issuer, client, &request.stream_id)?;
        let print = self.subjects.fingerprinting.of(&request.subject);
        print.check_size()?;
        if names(&request.subject, &entry) {
            // It is always in.
            return Ok(());
        }
        let _turn = self.subjects.turns[self.subjects.turn_of(print.whole)].lock().await;
        let standing = Standing::Added;
        self.say(&entry, &print, &request.subject, standing, request.verified, |said| said.add(&print)).await
    }

    /// Removes a subject from a stream. Once this returns, events about it are not owed any more, but for what
    /// [`SubjectLimits::removal_grace`] says, and but for other subjects that the stream is about and that match too.
    pub async fn remove_subject(
        &self,
        issuer: &str,
        client: &str,
        request: RemoveSubject,
    ) -> Result<(), ManageError> {
        let entry = self.stream_of(issuer, client, &request.stream_id)?;
        let print = self.subjects.fingerprinting.of(&request.subject);
        print.check_size()?;
        if names(&request.subject, &entry) {
            let problem = "is the stream itself, which is always in it";
            return Err(Invalid::new("subject", "SSF-149", problem).into());
        }
        let _turn = self.subjects.turns[self.subjects.turn_of(print.whole)].lock().await;
        let default = entry.settings().stream.default_subjects;
        let was_added = match self.standing(&entry, &print).await? {
            Some(Standing::Removed { .. }) => return Ok(()),
            Some(Standing::Added) => true,
            None if default == DefaultSubjects::None => return Ok(()),
            None => false,
        };
        let (now, grace) = (self.expiry_now(), self.config.subjects.removal_grace);
        let until = (!grace.is_zero()).then(|| now.plus(grace));
        if default == DefaultSubjects::None && until.is_none() {
            let forgotten = self.store.forget_subjects(number(&entry), vec![print.whole]).await?;
            self.subjects.change(&entry, |said| {
                said.remove(print, default, was_added, until);
                said.entries = said.entries.saturating_sub(forgotten);
            });
            return Ok(());
        }
        let standing = Standing::Removed { at: now, was_added };
        self.say(&entry, &print.clone(), &request.subject, standing, true, |said| {
            said.remove(print, default, was_added, until);
        })
        .await
    }

    /// Forgets what the receivers of all streams have said of this subject, alone or together with others. For a
    /// subject that is gone: where it had been removed, an event about it would be owed again. Returns how many
    /// entries there were.
    pub async fn erase_subject(&self, subject: &Subject) -> Result<u64, TransmitterError> {
        let print = self.subjects.fingerprinting.of(subject);
        let identifiers: Vec<_> = match print.identifiers() {
            [] => vec![print.whole],
            identifiers => identifiers.iter().copied().chain([print.whole]).collect(),
        };
        let mut erased: BTreeSet<SubjectFingerprint> = BTreeSet::new();
        let entries: Vec<_> =
            self.table.all().into_iter().filter(|entry| entry.subjects.read().is_some()).collect();
        for entry in entries {
            self.subjects.change(&entry, |said| {
                said.forget(&print);
                for one in &identifiers {
                    erased.extend(said.erase(*one, |name| self.subjects.fingerprinting.member(name, *one)));
                }
            });
        }
        erased.insert(print.whole);
        Ok(self.store.erase_subjects(erased.into_iter().collect()).await?)
    }

    /// Forgets the entries of all streams for which this holds. Returns how many there were.
    pub(crate) async fn erase_subjects_where(
        &self,
        is_meant: &(impl Fn(&SubjectEntry) -> bool + Sync),
    ) -> Result<u64, TransmitterError> {
        let mut erased = 0;
        for entry in self.table.all() {
            for stored in self.subjects_where(&entry, is_meant).await? {
                let print = self.print_of(&stored)?;
                let _turn = self.subjects.turns[self.subjects.turn_of(print.whole)].lock().await;
                let gone = self.store.forget_subjects(number(&entry), vec![print.whole]).await?;
                self.subjects.change(&entry, |said| {
                    said.forget(&print);
                    said.entries = said.entries.saturating_sub(gone);
                });
                erased += gone;
            }
        }
        Ok(erased)
    }

    /// How many entries of all streams there are for which this holds.
    pub(crate) async fn count_subjects_where(
        &self,
        is_meant: &(impl Fn(&SubjectEntry) -> bool + Sync),
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for entry in self.table.all() {
            count += self.subjects_where(&entry, is_meant).await?.len();
        }
        Ok(count.try_into().unwrap_or(u64::MAX))
    }

    async fn subjects_where(
        &self,
        entry: &Entry,
        is_meant: &(impl Fn(&SubjectEntry) -> bool + Sync),
    ) -> Result<Vec<SubjectEntry>, StoreError> {
        const PAGE: usize = 1_000;
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list_subjects(number(entry), Listing::Whole, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.fingerprint);
            found.extend(page.into_iter().filter(is_meant));
        }
    }

    /// The streams that each event is owed to, as far as its type and its subject tell.
    pub(crate) async fn owed_to(
        &self,
        issuer: &IssuerConfig,
        events: &[Incoming],
        now: Timestamp,
    ) -> Result<Vec<Vec<Arc<Entry>>>, StoreError> {
        let (mut owed, mut questions) = (Vec::with_capacity(events.len()), Vec::new());
        for (place, event) in events.iter().enumerate() {
            let print = LazyCell::new(|| self.subjects.fingerprinting.of(&event.subject));
            let mut entries = self.table.matching(issuer.url.as_str(), &event.uri);
            entries.retain(|entry| {
                let default = entry.settings().stream.default_subjects;
                entry.subjects.end(&self.subjects.held, default, now);
                match entry.subjects.owes(default, || &*print) {
                    Owed::Yes => true,
                    Owed::No => names(&event.subject, entry),
                    Owed::Ask { .. } if names(&event.subject, entry) => true,
                    Owed::Ask { removed } => {
                        let identifiers = print.identifiers().to_vec();
                        questions.push(Question { place, entry: Arc::clone(entry), identifiers, removed });
                        false
                    }
                }
            });
            owed.push(entries);
        }
        if !questions.is_empty() {
            self.ask_the_store(questions, now, &mut owed).await?;
        }
        Ok(owed)
    }

    /// One look-up for all that memory does not know.
    async fn ask_the_store(
        &self,
        questions: Vec<Question>,
        now: Timestamp,
        owed: &mut [Vec<Arc<Entry>>],
    ) -> Result<(), StoreError> {
        let of = questions.iter().flat_map(|question| {
            let stream = number(&question.entry);
            question.identifiers.iter().map(move |one| (stream, *one))
        });
        let standings = self.store.standings(of.collect()).await?;
        let mut standings = standings.into_iter();
        for question in questions {
            let said: Vec<_> = standings.by_ref().take(question.identifiers.len()).collect();
            let default = question.entry.settings().stream.default_subjects;
            if owed_as_stored(default, now, self.config.subjects.removal_grace, question.removed, &said) {
                owed[question.place].push(question.entry);
            }
        }
        Ok(())
    }

    /// Stores what is said of a subject, and then lets it count. The caller has the subject's turn.
    async fn say(
        &self,
        entry: &Arc<Entry>,
        print: &Print,
        subject: &Subject,
        standing: Standing,
        verified: bool,
        count: impl FnOnce(&mut Said),
    ) -> Result<(), ManageError> {
        let new = self.standing(entry, print).await?.is_none();
        self.make_room(entry, print, new)?;
        let stored = SubjectEntry {
            fingerprint: print.whole,
            standing,
            verified,
            compound: print.is_compound(),
            subject: subject.key().as_bytes().to_vec().into(),
        };
        if let Err(error) = self.store.put_subjects(number(entry), vec![stored]).await {
            self.subjects.change(entry, |said| said.entries -= u64::from(new));
            return Err(error.into());
        }
        self.subjects.change(entry, count);
        if self.table.by_number(number(entry)).is_none() {
            // The stream was deleted meanwhile, and what it had may have been dropped before this.
            self.drop_subjects(entry).await;
        }
        Ok(())
    }

    /// Takes up the room for one more subject, or refuses it.
    fn make_room(&self, entry: &Entry, print: &Print, new: bool) -> Result<(), ManageError> {
        let limits = &self.config.subjects;
        let is_full = self.subjects.held.load(Ordering::Relaxed) >= limits.in_memory_max;
        let (room, left) = self.subjects.change(entry, |said| {
            if !new {
                return (true, false);
            }
            let mut room = said.entries < limits.per_stream_max && said.has_room_for(print);
            let before = said.in_store;
            if room && is_full && (print.is_compound() || !said.in_store) {
                // Compound subjects are held in memory wherever the others are: these make room for them.
                let simple = said.simple();
                room = !print.is_compound() || simple > 0;
                if room {
                    said.leave_to_store();
                }
            }
            said.entries += u64::from(room);
            (room, said.in_store != before)
        });
        if left {
            info!(
                stream.id = %entry.settings().stream.id,
                "A stream has more subjects than memory has room for: the store is asked about them"
            );
        }
        if room { Ok(()) } else { Err(ManageError::TooManySubjects) }
    }

    async fn standing(&self, entry: &Entry, print: &Print) -> Result<Option<Standing>, StoreError> {
        if let Some(known) = entry.subjects.standing(print) {
            return Ok(known);
        }
        let stored = self.store.standings(vec![(number(entry), print.whole)]).await?;
        Ok(stored.into_iter().next().flatten())
    }

    /// Forgets all that was said of a stream's subjects, because the stream is gone.
    pub(crate) async fn drop_subjects(&self, entry: &Entry) {
        if !entry.subjects.clear(&self.subjects.held) {
            return;
        }
        if let Err(error) = self.store.drop_subjects(number(entry)).await {
            // Nothing reads them any more; the next start drops them.
            warn!(stream.id = %entry.settings().stream.id, %error, "The subjects of a deleted stream are not dropped yet");
        }
    }

    /// Takes up what was said, at the start.
    pub(crate) async fn read_subjects(&self) -> Result<(), TransmitterError> {
        for (stream, entries) in self.store.subject_counts().await? {
            let Some(entry) = self.table.by_number(stream) else {
                // Deleting a stream and dropping its subjects are two steps: a crash came between them.
                self.store.drop_subjects(stream).await?;
                continue;
            };
            let held = self.subjects.held.load(Ordering::Relaxed);
            let in_store = held.saturating_add(entries) > self.config.subjects.in_memory_max;
            self.subjects.change(&entry, |said| (said.entries, said.in_store) = (entries, in_store));
            self.read_subjects_of(&entry, if in_store { Listing::Compound } else { Listing::Index }).await?;
        }
        Ok(())
    }

    async fn read_subjects_of(&self, entry: &Entry, listing: Listing) -> Result<(), TransmitterError> {
        const PAGE: usize = 20_000;
        let default = entry.settings().stream.default_subjects;
        let grace = self.config.subjects.removal_grace;
        let mut after = None;
        loop {
            let page = self.store.list_subjects(number(entry), listing, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.fingerprint);
            let now = self.expiry_now();
            self.subjects.change(entry, |said| {
                for stored in page {
                    let print = self.print_of(&stored)?;
                    match stored.standing {
                        Standing::Added => said.add(&print),
                        Standing::Removed { at, was_added } => {
                            said.remove(print, default, was_added, Some(at.plus(grace)));
                        }
                    }
                }
                said.end(default, now);
                Ok::<_, TransmitterError>(())
            })?;
        }
    }

    fn print_of(&self, stored: &SubjectEntry) -> Result<Print, StoreError> {
        if !stored.compound {
            return Ok(Print { whole: stored.fingerprint, form: print::Form::Simple });
        }
        let subject: Subject = serde_json::from_slice(&stored.subject)
            .map_err(|error| StoreError::Corrupt(format!("a stored subject: {error}")))?;
        Ok(Print { whole: stored.fingerprint, ..self.subjects.fingerprinting.of(&subject) })
    }

    /// Has the store forget what the grace of removals has ended for.
    pub(crate) async fn forget_removed_subjects(&self, entry: &Entry) -> Result<(), StoreError> {
        const STEP: usize = 256;
        let default = entry.settings().stream.default_subjects;
        loop {
            entry.subjects.end(&self.subjects.held, default, self.expiry_now());
            let some = entry.subjects.take_ended(STEP);
            if some.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.forget_subjects_of(entry, &some).await {
                self.subjects.change(entry, |said| said.ended.extend(some));
                return Err(error);
            }
        }
    }

    async fn forget_subjects_of(&self, entry: &Entry, some: &[Print]) -> Result<(), StoreError> {
        // Everybody else takes one turn alone, so these are taken in an order and nobody waits for ever.
        let turns: BTreeSet<_> = some.iter().map(|print| self.subjects.turn_of(print.whole)).collect();
        let mut taken = Vec::with_capacity(turns.len());
        for turn in turns {
            taken.push(self.subjects.turns[turn].lock().await);
        }
        // Meanwhile it may have been added again.
        let mut out = Vec::with_capacity(some.len());
        for print in some {
            let forgotten = entry.subjects.read().as_ref().is_some_and(|said| said.has_forgotten(print));
            if forgotten && !matches!(self.standing(entry, print).await?, Some(Standing::Added)) {
                out.push(print.whole);
            }
        }
        let gone = self.store.forget_subjects(number(entry), out).await?;
        self.subjects.change(entry, |said| said.entries = said.entries.saturating_sub(gone));
        Ok(())
    }
}

/// Whether an event is owed, which the store has to tell.
struct Question {
    /// Which of the events.
    place: usize,
    entry: Arc<Entry>,
    identifiers: Vec<SubjectFingerprint>,
    removed: bool,
}

/// Whether a subject is the stream itself, which is always in (SSF 1.0 sections 8.1.4.1 and 8.1.5).
fn names(subject: &Subject, entry: &Entry) -> bool {
    let Subject::Simple(Identifier::Opaque { id, .. }) = subject else { return false };
    *id == entry.settings().stream.id
}

fn number(entry: &Entry) -> StreamNumber {
    entry.settings().stream.number()
}

#[cfg(test)]
mod model;
