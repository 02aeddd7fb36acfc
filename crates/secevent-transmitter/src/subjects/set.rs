//! What one stream's receiver has said of subjects, in memory.

use super::print::{Form, Print};
use super::side::Side;
use secevent::Timestamp;
use secevent_ssf::DefaultSubjects;
use secevent_store::{Standing, SubjectFingerprint};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// The subjects of one stream. As long as nothing is said of them it takes two words.
#[derive(Debug, Default)]
pub(crate) struct SubjectSet(RwLock<Option<Box<Said>>>);

/// Which subjects were added and which were removed.
#[derive(Debug, Default)]
pub(crate) struct Said {
    added: Side,
    /// Only where all subjects are in by default.
    removed: Side,
    /// What was removed a short while ago, and is in for as long as the removal has grace.
    leaving: HashMap<SubjectFingerprint, Leaving>,
    /// When the first of them ends, or earlier.
    next_end: Option<Timestamp>,
    /// What has ended and has no meaning any more: to be forgotten by the store.
    pub(super) ended: Vec<Print>,
    /// Simple subjects are not held here: there are too many.
    pub(super) in_store: bool,
    /// The entries that the store has, or will have when what is under way is stored.
    pub(super) entries: u64,
}

#[derive(Debug)]
struct Leaving {
    until: Timestamp,
    was_added: bool,
    print: Print,
}

/// Whether an event is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    Yes,
    No,
    /// What was said of its identifiers has to be asked of the store. What is known without that: whether it matches
    /// a compound subject that was removed.
    Ask {
        removed: bool,
    },
}

impl SubjectSet {
    /// Changes what is said, and keeps account of how many subjects all streams hold.
    pub(super) fn change<T>(&self, held: &AtomicU64, change: impl FnOnce(&mut Said) -> T) -> T {
        let mut said = self.write();
        let said = said.get_or_insert_default();
        let before = said.held();
        let changed = change(said);
        // Wrapping both ways: the sum is right.
        held.fetch_add(said.held().wrapping_sub(before), Ordering::Relaxed);
        changed
    }

    /// What the grace of removals has ended for is out from now on.
    pub(super) fn end(&self, held: &AtomicU64, default: DefaultSubjects, now: Timestamp) {
        let ends = |said: &Said| said.next_end.is_some_and(|end| end <= now);
        if self.read().as_deref().is_some_and(ends) {
            self.change(held, |said| said.end(default, now));
        }
    }

    /// Takes some of what has ended.
    pub(super) fn take_ended(&self, max: usize) -> Vec<Print> {
        let take = |said: &mut Box<Said>| said.ended.split_off(said.ended.len().saturating_sub(max));
        self.write().as_mut().map(take).unwrap_or_default()
    }

    /// Forgets everything. Returns whether there was something.
    pub(super) fn clear(&self, held: &AtomicU64) -> bool {
        let Some(said) = self.write().take() else { return false };
        held.fetch_sub(said.held(), Ordering::Relaxed);
        true
    }

    /// Whether an event about this subject is owed: it is if it matches a subject that was added, and by default if it
    /// matches none that was removed.
    pub(crate) fn owes<'p>(&self, default: DefaultSubjects, print: impl FnOnce() -> &'p Print) -> Owed {
        let read = self.read();
        let all = default == DefaultSubjects::All;
        let Some(said) = read.as_ref() else { return if all { Owed::Yes } else { Owed::No } };
        let print = print();
        if said.added.matches(print) {
            return Owed::Yes;
        }
        let removed = said.removed.matches(print);
        if said.in_store && !print.identifiers().is_empty() {
            return Owed::Ask { removed };
        }
        if all && !removed { Owed::Yes } else { Owed::No }
    }

    /// What counts of what was said, if that is known here: it is not for a simple subject that only the store knows.
    pub(super) fn standing(&self, print: &Print) -> Option<Option<Standing>> {
        let read = self.read();
        let Some(said) = read.as_ref() else { return Some(None) };
        if said.in_store && !print.is_compound() {
            return None;
        }
        let removed = |was_added| Standing::Removed { at: Timestamp::default(), was_added };
        Some(match said.leaving.get(&print.whole) {
            Some(leaving) => Some(removed(leaving.was_added)),
            None if said.added.contains(print) => Some(Standing::Added),
            None if said.removed.contains(print) => Some(removed(false)),
            None => None,
        })
    }

    /// How many subjects were added or removed, as far as that is kept.
    pub(crate) fn entries(&self) -> u64 {
        self.read().as_ref().map_or(0, |said| said.entries)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<Box<Said>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Box<Said>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// A subject was added.
    pub(super) fn add(&mut self, print: &Print) {
        self.leaving.remove(&print.whole);
        self.removed.remove(print);
        if self.holds(print) {
            self.added.insert(print);
        }
    }

    /// A subject was removed, and ends then.
    pub(super) fn remove(
        &mut self,
        print: Print,
        default: DefaultSubjects,
        was_added: bool,
        until: Option<Timestamp>,
    ) {
        match until {
            Some(until) => {
                self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
                if was_added && self.holds(&print) {
                    self.added.insert(&print);
                }
                self.leaving.insert(print.whole, Leaving { until, was_added, print });
            }
            None => self.leave(&print, default),
        }
    }

    /// What the grace of removals has ended for is out from now on.
    pub(super) fn end(&mut self, default: DefaultSubjects, now: Timestamp) {
        let ended: Vec<_> = self.leaving.extract_if(|_, leaving| leaving.until <= now).collect();
        for (_, leaving) in ended {
            self.leave(&leaving.print, default);
            if default == DefaultSubjects::None {
                self.ended.push(leaving.print);
            }
        }
        self.next_end = self.leaving.values().map(|leaving| leaving.until).min();
    }

    fn leave(&mut self, print: &Print, default: DefaultSubjects) {
        self.added.remove(print);
        if default == DefaultSubjects::All && self.holds(print) {
            self.removed.insert(print);
        }
    }

    /// Whether a subject that has left is still out.
    pub(super) fn has_forgotten(&self, print: &Print) -> bool {
        !self.leaving.contains_key(&print.whole) && !self.added.contains(print)
    }

    /// Whether such a subject is held here.
    fn holds(&self, print: &Print) -> bool {
        print.is_compound() || !self.in_store
    }

    pub(super) fn has_room_for(&self, print: &Print) -> bool {
        self.added.has_room_for(print) && self.removed.has_room_for(print)
    }

    /// How many subjects are held here.
    pub(super) fn held(&self) -> u64 {
        u64::try_from(self.added.count() + self.removed.count()).unwrap_or(u64::MAX)
    }

    /// How many simple subjects are held here.
    pub(super) fn simple(&self) -> usize {
        self.added.simple_count() + self.removed.simple_count()
    }

    /// Leaves simple subjects to the store.
    pub(super) fn leave_to_store(&mut self) {
        self.added.forget_simple();
        self.removed.forget_simple();
        self.in_store = true;
    }

    /// Forgets what was said of this subject.
    pub(super) fn forget(&mut self, print: &Print) {
        self.leaving.remove(&print.whole);
        self.added.remove(print);
        self.removed.remove(print);
    }

    /// Forgets all that names this identifier.
    pub(super) fn erase(
        &mut self,
        identifier: SubjectFingerprint,
        member: impl Fn(&str) -> SubjectFingerprint,
    ) -> Vec<SubjectFingerprint> {
        let mut erased = self.added.erase(identifier, &member);
        erased.extend(self.removed.erase(identifier, &member));
        erased.push(identifier);
        // Some of these are in neither set.
        let names_it = |print: &Print| match &print.form {
            Form::Complex(members) => members.iter().any(|one| one.print == member(&one.name)),
            Form::Simple | Form::Aliases(_) => print.identifiers().contains(&identifier),
        };
        let left = self.leaving.extract_if(|_, leaving| names_it(&leaving.print));
        erased.extend(left.map(|(whole, _)| whole));
        erased
    }
}

/// What is owed, when the store was asked: what it says of each identifier.
pub(super) fn owed_as_stored(
    default: DefaultSubjects,
    now: Timestamp,
    grace: Duration,
    removed: bool,
    said: &[Option<Standing>],
) -> bool {
    let has_grace = |at: Timestamp| now < at.plus(grace);
    let is_in = |one: &Standing| match one {
        Standing::Added => true,
        Standing::Removed { at, was_added } => *was_added && has_grace(*at),
    };
    let is_out = |one: &Standing| matches!(one, Standing::Removed { at, .. } if !has_grace(*at));
    let said = || said.iter().flatten();
    said().any(is_in) || (default == DefaultSubjects::All && !removed && !said().any(is_out))
}
