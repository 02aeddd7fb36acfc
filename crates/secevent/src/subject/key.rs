//! Canonical keys: one text per subject, for indexes and for the lanes that keep order.

use super::{Complex, Identifier, SCOPE_MEMBERS, Subject};
use serde_json::Value;
use std::fmt;

/// A subject as one canonical text: two subjects have the same key exactly if they are equal.
///
/// Keys are JSON with sorted members and no spaces. They hold the identifier itself, so they belong into
/// indexes, not into logs: `Debug` keeps it back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectKey(String);

impl SubjectKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as bytes, to be hashed or stored.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(..)")
    }
}

impl Identifier {
    /// The canonical key of this identifier.
    pub fn key(&self) -> SubjectKey {
        canonical(&self.to_value())
    }
}

impl Subject {
    /// The canonical key of this subject.
    pub fn key(&self) -> SubjectKey {
        canonical(&self.to_value())
    }

    /// The keys by which deliveries about this subject are kept in order: two subjects that share one of them
    /// are never delivered past each other (SEM-5).
    ///
    /// That is each simple identifier: every alias, and every member of a complex subject but those that only
    /// say where it belongs ([`SCOPE_MEMBERS`]); the whole subject if nothing else is left.
    pub fn lanes(&self) -> Vec<SubjectKey> {
        let mut lanes = match self {
            Self::Simple(identifier) => identifier_lanes(identifier),
            Self::Complex(complex) => complex_lanes(complex),
        };
        if lanes.is_empty() {
            lanes.push(self.key());
        }
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }
}

fn identifier_lanes(identifier: &Identifier) -> Vec<SubjectKey> {
    match identifier {
        Identifier::Aliases { identifiers } => identifiers.iter().map(Identifier::key).collect(),
        simple => vec![simple.key()],
    }
}

fn complex_lanes(complex: &Complex) -> Vec<SubjectKey> {
    let principals = complex.iter().filter(|(name, _)| !SCOPE_MEMBERS.contains(name));
    principals.flat_map(|(_, identifier)| identifier_lanes(identifier)).collect()
}

/// JSON with members sorted by name, whatever order the map keeps them in.
fn canonical(value: &Value) -> SubjectKey {
    let mut text = String::with_capacity(64);
    write(value, &mut text);
    SubjectKey(text)
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (place, (name, value)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        // Zero has two signs and is one number.
        Value::Number(number) if number.is_f64() && number.as_f64() == Some(0.0) => text.push_str("0.0"),
        scalar => text.push_str(&scalar.to_string()),
    }
}
