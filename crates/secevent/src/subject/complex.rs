//! Complex subjects: several members that describe one principal (SSF 1.0 section 3.3).

use super::Identifier;
use super::identifier::Pairs;
use crate::Invalid;
use crate::event::Strictness;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A principal seen from several sides: `user`, `device`, `session` and the like, each a simple subject.
///
/// A member that is absent stands for any: `{user}` means that user on any device, in any session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Complex {
    members: BTreeMap<String, Identifier>,
}

/// Members that say where a principal belongs rather than which one it is. Many principals share them, so
/// they order nothing among deliveries (SEM-5).
pub const SCOPE_MEMBERS: [&str; 4] = ["tenant", "group", "org_unit", "application"];

const KNOWN_MEMBERS: [&str; 7] = ["user", "device", "session", "application", "tenant", "org_unit", "group"];

impl Complex {
    /// A complex subject of these members: at least one, each name once.
    pub fn new<N: Into<String>>(members: impl IntoIterator<Item = (N, Identifier)>) -> Result<Self, Invalid> {
        let mut known = BTreeMap::new();
        for (name, identifier) in members {
            let name = name.into();
            if name == "format" {
                return Err(Invalid::new(name, "SSF-07", "cannot be the name of a member"));
            }
            if known.contains_key(&name) {
                return Err(Invalid::new(name, "SSF-09", "is there twice"));
            }
            known.insert(name, identifier);
        }
        Self::checked(known)
    }

    pub(super) fn from_members(members: Pairs<'_>, strictness: Strictness) -> Result<Self, Invalid> {
        // A receiver ignores what it does not know (SSF-31): under a name of nobody's, only an object can be
        // a subject.
        let unknown = |name: &str, value: &Value| !value.is_object() && !KNOWN_MEMBERS.contains(&name);
        let ignored = |name: &str, value: &Value| strictness == Strictness::Lenient && unknown(name, value);
        let simple = members.into_iter().filter(|(name, value)| name != "format" && !ignored(name, value));
        let read = |(name, value): (Cow<'_, str>, Value)| match Identifier::from_value(value, strictness) {
            Ok(identifier) => Ok((name.into_owned(), identifier)),
            Err(error) => Err(error.within(&name)),
        };
        Self::checked(simple.map(read).collect::<Result<_, _>>()?)
    }

    fn checked(members: BTreeMap<String, Identifier>) -> Result<Self, Invalid> {
        if members.is_empty() {
            return Err(Invalid::new("", "SSF-07", "must have at least one member besides `format`"));
        }
        Ok(Self { members })
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Identifier> {
        self.members.get(name)
    }

    /// All members, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Identifier)> {
        self.members.iter().map(|(name, identifier)| (name.as_str(), identifier))
    }
}

impl Serialize for Complex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", "complex")?;
        for (name, identifier) in self.iter() {
            map.serialize_entry(name, identifier)?;
        }
        map.end()
    }
}
