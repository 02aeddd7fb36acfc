//! The event types that a program knows, by URI, alias and short name.

use crate::event::{Definition, EventStatus, Strictness};
use crate::{Invalid, Subject};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A set of event types. [`Vocabulary::standard`] holds every type of the standards; add your own with
/// [`Vocabulary::with`].
///
/// ```
/// use secevent::Vocabulary;
///
/// let known = Vocabulary::standard();
/// let revoked = known.find("caep:session-revoked").unwrap();
/// assert_eq!(revoked.uri(), "https://schemas.openid.net/secevent/caep/event-type/session-revoked");
/// assert_eq!(known.find(revoked.uri()).unwrap().name(), "caep:session-revoked");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    definitions: Vec<Definition>,
    places: HashMap<String, usize>,
}

/// A vocabulary already has an event type under this URI, alias or short name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event type `{0}` is already known")]
pub struct AlreadyKnown(pub String);

impl Vocabulary {
    /// No event types at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The 43 event types of SSF 1.0, CAEP 1.0, RISC 1.0, RFC 9967 (SCIM), the OAuth event types draft and
    /// OpenID Back-Channel Logout 1.0.
    pub fn standard() -> &'static Self {
        static STANDARD: LazyLock<Vocabulary> = LazyLock::new(|| {
            let all = [&crate::ssf::DEFINITIONS[..], &crate::caep::DEFINITIONS, &crate::risc::DEFINITIONS]
                .into_iter()
                .chain([
                    &crate::scim::DEFINITIONS[..],
                    &crate::oauth::DEFINITIONS,
                    &crate::logout::DEFINITIONS,
                ]);
            all.flatten().cloned().fold(Vocabulary::empty(), |known, definition| {
                known.with(definition).expect("the standards name each event type once")
            })
        });
        &STANDARD
    }

    /// Adds an event type.
    pub fn with(&self, definition: Definition) -> Result<Self, AlreadyKnown> {
        let mut vocabulary = self.clone();
        vocabulary.add(definition)?;
        Ok(vocabulary)
    }

    /// Adds an event type in place.
    pub fn add(&mut self, definition: Definition) -> Result<(), AlreadyKnown> {
        let names =
            || [definition.uri(), definition.name()].into_iter().chain(definition.aliases().iter().copied());
        if let Some(taken) = names().find(|name| self.places.contains_key(*name)) {
            return Err(AlreadyKnown(taken.to_owned()));
        }
        self.places.extend(names().map(|name| (name.to_owned(), self.definitions.len())));
        self.definitions.push(definition);
        Ok(())
    }

    /// The event type with this URI, alias or short name.
    pub fn find(&self, name: &str) -> Option<&Definition> {
        self.places.get(name).map(|place| &self.definitions[*place])
    }

    /// The event types that a pattern names: a URI, a short name, or a beginning with a star (`caep:*`).
    pub fn matching<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = &'a Definition> {
        self.definitions.iter().filter(move |definition| match pattern.strip_suffix('*') {
            Some(beginning) => {
                definition.name.starts_with(beginning) || definition.uri.starts_with(beginning)
            }
            None => self.find(pattern).is_some_and(|found| found.uri == definition.uri),
        })
    }

    /// All event types, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter()
    }

    /// Checks one event: its payload against its type's definition and, where it is known, its subject. An
    /// event of a type that is not known passes: it is not ours to judge.
    pub fn check(
        &self,
        uri: &str,
        payload: &str,
        subject: Option<&Subject>,
        strictness: Strictness,
    ) -> Result<(), Invalid> {
        let Some(definition) = self.find(uri) else { return Ok(()) };
        definition.check(payload, strictness).map_err(|error| error.within(uri).within("events"))?;
        match subject {
            // Receivers ignore what an event may not be about, they do not refuse it (E-73).
            Some(subject) if strictness == Strictness::Strict => definition.check_subject(subject),
            _ => Ok(()),
        }
    }

    /// The event types that may be sent by default: all but the deprecated ones.
    pub fn sendable(&self) -> impl Iterator<Item = &Definition> {
        self.iter().filter(|definition| definition.status() != EventStatus::Deprecated)
    }
}
