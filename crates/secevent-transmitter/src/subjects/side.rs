//! Subjects that match alike: one set of them, and the indexes that answer at once whether one matches an event's
//! subject. The truth is `Subject::matches`.

use super::print::{Form, Member, Print};
use secevent_store::SubjectFingerprint;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

/// A set of subjects.
#[derive(Debug, Default)]
pub(crate) struct Side {
    simple: Fingerprints,
    aliases: Map<SubjectFingerprint, Box<[SubjectFingerprint]>>,
    /// The identifiers in alias lists, with the number of lists that each is in.
    named: Map<SubjectFingerprint, u32>,
    shapes: Vec<Shape>,
}

/// Complex subjects that have members of the same names.
#[derive(Debug)]
struct Shape {
    names: Box<[Box<str>]>,
    /// The fingerprints of the members of each, in the order of names.
    subjects: Map<SubjectFingerprint, Box<[SubjectFingerprint]>>,
    /// For some members, by the bits of their places: how many subjects have the same there. Made when the first event
    /// comes that has just these members in common with the shape, and kept true from then on.
    projections: Mutex<BTreeMap<u16, Map<u128, u32>>>,
}

/// The shapes of complex subjects that one stream may have. An event is compared once with each.
pub(crate) const SHAPES_MAX: usize = 64;

/// Projections of one shape. Beyond them subjects are compared one by one.
const PROJECTIONS_MAX: usize = 16;

impl Side {
    /// Takes a subject in. Returns whether it is new.
    pub(crate) fn insert(&mut self, print: &Print) -> bool {
        match &print.form {
            Form::Simple => self.simple.insert(print.whole),
            Form::Aliases(identifiers) => {
                let new = self.aliases.insert(print.whole, identifiers.clone()).is_none();
                if new {
                    identifiers.iter().for_each(|one| *self.named.entry(*one).or_default() += 1);
                }
                new
            }
            Form::Complex(members) => {
                let place = self.shapes.iter().position(|shape| shape.is_of(members)).unwrap_or_else(|| {
                    self.shapes.push(Shape::of(members));
                    self.shapes.len() - 1
                });
                self.shapes[place].insert(print.whole, members)
            }
        }
    }

    /// Takes a subject out. Returns whether it was there.
    pub(crate) fn remove(&mut self, print: &Print) -> bool {
        match &print.form {
            Form::Simple => self.simple.remove(print.whole),
            Form::Aliases(_) => self.remove_aliases(print.whole),
            Form::Complex(members) => {
                let Some(place) = self.shapes.iter().position(|shape| shape.is_of(members)) else {
                    return false;
                };
                let was_there = self.shapes[place].remove(print.whole);
                if self.shapes[place].subjects.is_empty() {
                    self.shapes.swap_remove(place);
                }
                was_there
            }
        }
    }

    pub(crate) fn contains(&self, print: &Print) -> bool {
        match &print.form {
            Form::Simple => self.simple.contains(print.whole),
            Form::Aliases(_) => self.aliases.contains_key(&print.whole),
            Form::Complex(members) => {
                let shape = self.shapes.iter().find(|shape| shape.is_of(members));
                shape.is_some_and(|shape| shape.subjects.contains_key(&print.whole))
            }
        }
    }

    /// Whether one of the subjects matches this one.
    pub(crate) fn matches(&self, print: &Print) -> bool {
        match &print.form {
            Form::Complex(members) => self.shapes.iter().any(|shape| shape.matches(members)),
            Form::Simple | Form::Aliases(_) => {
                let identifiers = print.identifiers().iter();
                identifiers.into_iter().any(|one| self.simple.contains(*one) || self.named.contains_key(one))
            }
        }
    }

    /// Whether there is room for a subject of these members.
    pub(crate) fn has_room_for(&self, print: &Print) -> bool {
        let Form::Complex(members) = &print.form else { return true };
        self.shapes.len() < SHAPES_MAX || self.shapes.iter().any(|shape| shape.is_of(members))
    }

    pub(crate) fn simple_count(&self) -> usize {
        self.simple.len()
    }

    pub(crate) fn count(&self) -> usize {
        let complex: usize = self.shapes.iter().map(|shape| shape.subjects.len()).sum();
        self.simple.len() + self.aliases.len() + complex
    }

    pub(crate) fn forget_simple(&mut self) {
        self.simple = Fingerprints::default();
    }

    /// Takes out all subjects that name this identifier, whatever else they name. `member` makes the fingerprint that
    /// it has as the member of a name.
    pub(crate) fn erase(
        &mut self,
        identifier: SubjectFingerprint,
        member: impl Fn(&str) -> SubjectFingerprint,
    ) -> Vec<SubjectFingerprint> {
        let mut erased = Vec::new();
        if self.simple.remove(identifier) {
            erased.push(identifier);
        }
        if self.named.contains_key(&identifier) {
            let lists = self.aliases.iter().filter(|(_, identifiers)| identifiers.contains(&identifier));
            erased.extend(lists.map(|(whole, _)| *whole).collect::<Vec<_>>());
            for whole in &erased {
                self.remove_aliases(*whole);
            }
        }
        for shape in &mut self.shapes {
            let wanted: Vec<_> = shape.names.iter().map(|name| member(name)).collect();
            let names_it = |prints: &[SubjectFingerprint]| prints.iter().zip(&wanted).any(|(a, b)| a == b);
            let found: Vec<_> = shape
                .subjects
                .iter()
                .filter(|(_, prints)| names_it(prints))
                .map(|(whole, _)| *whole)
                .collect();
            for whole in &found {
                shape.remove(*whole);
            }
            erased.extend(found);
        }
        self.shapes.retain(|shape| !shape.subjects.is_empty());
        erased
    }

    fn remove_aliases(&mut self, whole: SubjectFingerprint) -> bool {
        let Some(identifiers) = self.aliases.remove(&whole) else { return false };
        for one in &identifiers {
            if let Some(lists) = self.named.get_mut(one) {
                *lists -= 1;
                if *lists == 0 {
                    self.named.remove(one);
                }
            }
        }
        true
    }
}

impl Shape {
    fn of(members: &[Member]) -> Self {
        let names = members.iter().map(|member| member.name.clone()).collect();
        Self { names, subjects: Map::default(), projections: Mutex::default() }
    }

    fn is_of(&self, members: &[Member]) -> bool {
        self.names.len() == members.len()
            && self.names.iter().zip(members).all(|(name, member)| *name == member.name)
    }

    fn insert(&mut self, whole: SubjectFingerprint, members: &[Member]) -> bool {
        let prints: Box<[_]> = members.iter().map(|member| member.print).collect();
        for (bits, projection) in self.projections.get_mut().unwrap_or_else(PoisonError::into_inner) {
            if !self.subjects.contains_key(&whole) {
                *projection.entry(sum(&prints, *bits)).or_default() += 1;
            }
        }
        self.subjects.insert(whole, prints).is_none()
    }

    fn remove(&mut self, whole: SubjectFingerprint) -> bool {
        let Some(prints) = self.subjects.remove(&whole) else { return false };
        for (bits, projection) in self.projections.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let key = sum(&prints, *bits);
            if let Some(subjects) = projection.get_mut(&key) {
                *subjects -= 1;
                if *subjects == 0 {
                    projection.remove(&key);
                }
            }
        }
        true
    }

    /// Whether a subject of this shape has the same value in each member that is in both, of which there is at least
    /// one.
    fn matches(&self, members: &[Member]) -> bool {
        let (mut bits, mut wanted) = (0_u16, 0_u128);
        for (place, name) in self.names.iter().enumerate() {
            if let Ok(found) = members.binary_search_by(|member| member.name.cmp(name)) {
                bits |= 1 << place;
                wanted = wanted.wrapping_add(number(members[found].print));
            }
        }
        if bits == 0 {
            return false;
        }
        let mut projections = self.projections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(projection) = projections.get(&bits) {
            return projection.contains_key(&wanted);
        }
        if projections.len() >= PROJECTIONS_MAX {
            return self.subjects.values().any(|prints| sum(prints, bits) == wanted);
        }
        let mut projection: Map<u128, u32> = Map::default();
        for prints in self.subjects.values() {
            *projection.entry(sum(prints, bits)).or_default() += 1;
        }
        projections.entry(bits).or_insert(projection).contains_key(&wanted)
    }
}

/// The members at these places as one number. Each is as good as random to whoever has not the key, and so is the sum.
fn sum(prints: &[SubjectFingerprint], bits: u16) -> u128 {
    let at = prints.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
    at.fold(0, |sum: u128, (_, print)| sum.wrapping_add(number(*print)))
}

fn number(print: SubjectFingerprint) -> u128 {
    u128::from_be_bytes(print.0)
}

/// Fingerprints by the million: 17 bytes for each place of a table that is 44 to 88 percent full. Many are spread over
/// several tables, so that growing one of them keeps nobody waiting.
#[derive(Debug, Default)]
struct Fingerprints {
    tables: Vec<HashSet<SubjectFingerprint, AsTheyAre>>,
}

impl Fingerprints {
    const TABLES: usize = 64;
    const ALONE_MAX: usize = 4_096;

    fn insert(&mut self, print: SubjectFingerprint) -> bool {
        match self.tables.len() {
            0 => self.tables.push(HashSet::default()),
            1 if self.tables[0].len() >= Self::ALONE_MAX => {
                let all = std::mem::take(&mut self.tables).into_iter().flatten();
                self.tables.resize_with(Self::TABLES, HashSet::default);
                for one in all {
                    let table = self.table_of(one);
                    self.tables[table].insert(one);
                }
            }
            _ => {}
        }
        let table = self.table_of(print);
        self.tables[table].insert(print)
    }

    fn remove(&mut self, print: SubjectFingerprint) -> bool {
        let table = self.table_of(print);
        self.tables.get_mut(table).is_some_and(|table| table.remove(&print))
    }

    fn contains(&self, print: SubjectFingerprint) -> bool {
        self.tables.get(self.table_of(print)).is_some_and(|table| table.contains(&print))
    }

    fn len(&self) -> usize {
        self.tables.iter().map(HashSet::len).sum()
    }

    fn table_of(&self, print: SubjectFingerprint) -> usize {
        usize::from(print.0[0]) % self.tables.len().max(1)
    }
}

type Map<K, V> = HashMap<K, V, AsTheyAre>;

/// Fingerprints are as good as random: hashing them again would add nothing.
type AsTheyAre = BuildHasherDefault<LastBytes>;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_ne_bytes(*last);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
