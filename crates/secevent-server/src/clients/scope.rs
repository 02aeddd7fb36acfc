//! What a client may do.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read streams, and poll (`ssf.read`).
    Read,
    /// Read and change streams, and poll (`ssf.manage`).
    Manage,
    /// Send events to be transmitted (`events.write`).
    Write,
    /// Administer the server, on its admin listener (`admin`).
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Manage, Self::Write, Self::Admin];

    /// Its name in OAuth.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "ssf.read",
            Self::Manage => "ssf.manage",
            Self::Write => "events.write",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Whether this one allows what `wanted` allows: to manage includes to read.
    pub(crate) fn includes(self, wanted: Self) -> bool {
        self == wanted || (self == Self::Manage && wanted == Self::Read)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::ALL.map(Self::name).join(", ");
        Self::named(&name)
            .ok_or_else(|| D::Error::custom(format!("there is no scope {name:?}; known are {known}")))
    }
}
