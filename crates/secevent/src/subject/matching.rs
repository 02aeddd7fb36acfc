//! When a subject in a stream's set covers the subject of an event (SSF 1.0 section 8.1.3.1).

use super::{Complex, Identifier, Subject};

impl Subject {
    /// Whether the two name one principal, as far as can be told.
    ///
    /// - Simple subjects match if they are identical, letter case and all. An alias list stands for each of
    ///   its identifiers, since all of them name one entity (RFC 9493 section 3.2.8).
    /// - Complex subjects match if every member name is absent in one of the two, or identical in both,
    ///   values compared whole; and if at least one member is in both (the agreed erratum E-44): `{user}`
    ///   says nothing about `{group}`.
    /// - A simple and a complex subject do not match.
    ///
    /// The relation is symmetric. It is not transitive, because absent members are wildcards.
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Simple(one), Self::Simple(another)) => one.matches(another),
            (Self::Complex(one), Self::Complex(another)) => one.matches(another),
            _ => false,
        }
    }
}

impl Identifier {
    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Aliases { identifiers }, another) => identifiers.iter().any(|one| one.matches(another)),
            (one, Self::Aliases { identifiers }) => identifiers.contains(one),
            (one, another) => one == another,
        }
    }
}

impl Complex {
    fn matches(&self, other: &Self) -> bool {
        let mut shared = 0;
        for (name, identifier) in self.iter() {
            match other.get(name) {
                Some(another) if another == identifier => shared += 1,
                Some(_) => return false,
                None => {}
            }
        }
        shared > 0
    }
}
