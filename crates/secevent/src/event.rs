//! What happened: the contract of an event type, and the definition that checks a payload against it.

use crate::{Identifier, Invalid, Subject, json, quirks};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A kind of event: the type of a payload, the URI that names it, and what its definition asks for.
///
/// The standard vocabularies ([`crate::caep`], [`crate::risc`], [`crate::scim`], [`crate::oauth`],
/// [`crate::ssf`], [`crate::logout`]) are written with nothing but this trait; so is yours:
///
/// ```
/// use secevent::{EventType, Member, Shape, Vocabulary};
/// use serde::{Deserialize, Serialize};
///
/// /// A door was opened.
/// #[derive(Debug, Serialize, Deserialize)]
/// struct DoorOpened {
///     door: String,
/// }
///
/// impl EventType for DoorOpened {
///     const URI: &'static str = "https://doors.example/event/opened";
///     const NAME: &'static str = "doors:opened";
///     const MEMBERS: &'static [Member] = &[Member::required("door", Shape::Text, "DOORS-1")];
/// }
///
/// let vocabulary = Vocabulary::standard().with(secevent::Definition::of::<DoorOpened>()).unwrap();
/// assert_eq!(vocabulary.find("doors:opened").unwrap().uri(), DoorOpened::URI);
/// ```
pub trait EventType: Serialize + DeserializeOwned {
    /// The event identifier: the member name under `events` (RFC 8417 section 2.2).
    const URI: &'static str;
    /// A short name for people: vocabulary, colon, event, as in `caep:session-revoked`.
    const NAME: &'static str;
    /// One sentence that says what such an event tells.
    const ABOUT: &'static str = "";
    /// Other identifiers under which the same event is met. They are read, never written.
    const ALIASES: &'static [&'static str] = &[];
    /// How settled the definition is.
    const STATUS: EventStatus = EventStatus::Final;
    /// The members that the definition knows. Others are always allowed and ignored.
    const MEMBERS: &'static [Member] = &[];
    /// Which subjects such an event may be about.
    const SUBJECT: SubjectRule = SubjectRule::Any;

    /// What the definition asks for beyond the single members, such as one member that another one calls for.
    /// It runs after the members are checked.
    fn check(_payload: &Map<String, Value>, _strictness: Strictness) -> Result<(), Invalid> {
        Ok(())
    }
}

/// How settled an event type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStatus {
    /// Part of a published standard.
    Final,
    /// Defined in a draft only.
    Draft,
    /// Still read, no longer to be sent.
    Deprecated,
}

/// How much a check forgives.
///
/// Readers are lenient: an unknown value of a list is a value they do not know, not an error. Writers and
/// linters are strict: what they let pass conforms to the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Accept what can be understood.
    Lenient,
    /// Accept only what the standard's text allows.
    Strict,
}

/// One member of a payload, as its definition describes it.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The member's name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether the payload must have it.
    pub required: bool,
    /// The requirement that says so, for error messages.
    pub rule: &'static str,
}

impl Member {
    /// A member that every payload has.
    pub const fn required(name: &'static str, shape: Shape, rule: &'static str) -> Self {
        Self { name, shape, required: true, rule }
    }

    /// A member that a payload may have.
    pub const fn optional(name: &'static str, shape: Shape, rule: &'static str) -> Self {
        Self { name, shape, required: false, rule }
    }
}

/// What a member's value looks like.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Shape {
    /// A string.
    Text,
    /// A string out of a closed list: another one is refused by a strict check, and kept by a lenient one.
    OneOf(&'static [&'static str]),
    /// A string with known values, where the two parties may agree on more.
    Suggested(&'static [&'static str]),
    /// A NumericDate: a number of seconds.
    Time,
    /// Text by BCP 47 language tag, at least one entry (CAEP 1.0 section 2). A lenient check also takes the
    /// bare string of older drafts.
    ByLanguage,
    /// An array of strings.
    Texts,
    /// An object with at least this many members.
    Object {
        /// The least number of members.
        members_min: usize,
    },
    /// A subject identifier (RFC 9493).
    Subject,
    /// Nothing: the event does not have this member. A lenient check ignores one that is there.
    Absent,
}

/// Which subjects an event may be about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SubjectRule {
    /// Any simple or complex subject.
    Any,
    /// A simple subject in one of these formats; the second value is the requirement that says so.
    Formats(&'static [&'static str], &'static str),
    /// The event has no `sub_id`: the token names its subject by `sub` and `sid` (logout tokens).
    Claims,
}

/// What is known of one event type at run time: the data of an [`EventType`], or a custom type that
/// configuration brings.
#[derive(Clone)]
pub struct Definition {
    pub(crate) uri: Cow<'static, str>,
    pub(crate) name: Cow<'static, str>,
    about: Cow<'static, str>,
    aliases: Cow<'static, [&'static str]>,
    status: EventStatus,
    members: &'static [Member],
    subject: SubjectRule,
    check: fn(&Map<String, Value>, Strictness) -> Result<(), Invalid>,
    extra: Option<Arc<PayloadCheck>>,
    /// The subject formats of a custom type, if it is not about just anybody.
    formats: Option<Arc<[String]>>,
}

/// A check of a payload beyond the member table, such as a JSON Schema.
pub(crate) type PayloadCheck = dyn Fn(&Value) -> Result<(), Invalid> + Send + Sync;

impl Definition {
    /// The definition that `E` carries.
    pub const fn of<E: EventType>() -> Self {
        Self {
            uri: Cow::Borrowed(E::URI),
            name: Cow::Borrowed(E::NAME),
            about: Cow::Borrowed(E::ABOUT),
            aliases: Cow::Borrowed(E::ALIASES),
            status: E::STATUS,
            members: E::MEMBERS,
            subject: E::SUBJECT,
            check: E::check,
            extra: None,
            formats: None,
        }
    }

    /// The event identifier.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The short name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One sentence that says what such an event tells.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Identifiers that are read as this one.
    pub fn aliases(&self) -> &[&'static str] {
        &self.aliases
    }

    /// How settled it is.
    pub fn status(&self) -> EventStatus {
        self.status
    }

    /// The members that it knows.
    pub fn members(&self) -> &'static [Member] {
        self.members
    }

    /// Which subjects it may be about.
    pub fn subject_rule(&self) -> SubjectRule {
        self.subject
    }

    /// Checks a payload: the JSON text under the event's identifier.
    pub fn check(&self, payload: &str, strictness: Strictness) -> Result<(), Invalid> {
        let payload: Value = serde_json::from_str(payload).map_err(|error| json::syntax(&error))?;
        self.check_value(&payload, strictness)
    }

    /// Checks a payload that is already parsed.
    pub fn check_value(&self, payload: &Value, strictness: Strictness) -> Result<(), Invalid> {
        let Value::Object(members) = payload else {
            return Err(Invalid::new("", "SET-14", "must be a JSON object; without data it is {}"));
        };
        // What a known peer writes in another shape is judged in the standard's.
        let members = match strictness {
            Strictness::Lenient => quirks::standard_payload(&self.uri, members),
            Strictness::Strict => Cow::Borrowed(members),
        };
        for member in self.members {
            member.check(&members, strictness)?;
        }
        (self.check)(&members, strictness)?;
        match &self.extra {
            Some(check) => check(payload),
            None => Ok(()),
        }
    }

    /// Checks that the event may be about `subject`.
    pub fn check_subject(&self, subject: &Subject) -> Result<(), Invalid> {
        if let Some(formats) = &self.formats {
            let fits = match subject {
                Subject::Simple(identifier) => fits(identifier, formats),
                Subject::Complex(_) => formats.iter().any(|format| format == subject.format()),
            };
            let problem = || format!("must be of format {} for {}", formats.join(" or "), self.name);
            return if fits { Ok(()) } else { Err(Invalid::new("sub_id", "custom", problem())) };
        }
        let SubjectRule::Formats(formats, rule) = self.subject else { return Ok(()) };
        match subject {
            Subject::Simple(identifier) if fits(identifier, formats) => Ok(()),
            _ => Err(Invalid::new(
                "sub_id",
                rule,
                format!("must be a simple subject of format {} for {}", formats.join(" or "), self.name),
            )),
        }
    }

    /// The same event type, about subjects of these formats alone (`email`, `opaque`, `complex` for a complex
    /// subject). Another subject breaks the rule `custom`.
    #[must_use]
    pub fn about_subjects(mut self, formats: impl IntoIterator<Item = String>) -> Self {
        self.formats = Some(formats.into_iter().collect());
        self
    }

    #[cfg(feature = "json-schema")]
    pub(crate) fn custom(uri: String, name: String, about: String, extra: Arc<PayloadCheck>) -> Self {
        Self {
            uri: Cow::Owned(uri),
            name: Cow::Owned(name),
            about: Cow::Owned(about),
            aliases: Cow::Borrowed(&[]),
            status: EventStatus::Final,
            members: &[],
            subject: SubjectRule::Any,
            check: |_, _| Ok(()),
            extra: Some(extra),
            formats: None,
        }
    }
}

/// One recognised alias is enough (RFC 9493 section 3.2.8).
fn fits(identifier: &Identifier, formats: &[impl AsRef<str>]) -> bool {
    let is_named = |format: &str| formats.iter().any(|known| known.as_ref() == format);
    match identifier {
        Identifier::Aliases { identifiers } => {
            is_named(identifier.format()) || identifiers.iter().any(|one| fits(one, formats))
        }
        simple => is_named(simple.format()),
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("uri", &self.uri).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Member {
    fn check(&self, payload: &Map<String, Value>, strictness: Strictness) -> Result<(), Invalid> {
        match payload.get(self.name) {
            Some(value) => {
                self.shape.check(value, self.rule, strictness).map_err(|error| error.within(self.name))
            }
            None if self.required => Err(Invalid::new(self.name, self.rule, "is required and missing")),
            None => Ok(()),
        }
    }
}

impl Shape {
    fn check(self, value: &Value, rule: &'static str, strictness: Strictness) -> Result<(), Invalid> {
        let wrong = |problem: &'static str| Err(Invalid::new("", rule, problem));
        match (self, value) {
            (Self::OneOf(values), Value::String(text))
                if strictness == Strictness::Strict && !values.contains(&text.as_str()) =>
            {
                let problem = format!("must be one of {}, not {text:?}", values.join(", "));
                Err(Invalid::new("", rule, problem))
            }
            (Self::Text | Self::Suggested(_) | Self::OneOf(_), Value::String(_))
            | (Self::Time, Value::Number(_)) => Ok(()),
            (Self::Text | Self::Suggested(_) | Self::OneOf(_), _) => wrong("must be a string"),
            (Self::Time, _) => wrong("must be a number of seconds since the epoch"),
            (Self::ByLanguage, Value::Object(texts)) => by_language(texts, rule, strictness),
            (Self::ByLanguage, Value::String(_)) if strictness == Strictness::Lenient => Ok(()),
            (Self::ByLanguage, _) => {
                wrong("must be an object from language tag to text, with at least one entry")
            }
            (Self::Texts, Value::Array(texts)) if texts.iter().all(Value::is_string) => Ok(()),
            (Self::Texts, _) => wrong("must be an array of strings"),
            (Self::Object { members_min }, Value::Object(members)) if members.len() >= members_min => Ok(()),
            (Self::Object { members_min: 0 }, _) => wrong("must be a JSON object"),
            (Self::Object { .. }, _) => wrong("must be a JSON object with at least one member"),
            // Subjects inside events are older than RFC 9493, and so is their shape (OAUTH-13).
            (Self::Subject, value) if strictness == Strictness::Lenient => {
                Subject::from_legacy_value(value.clone()).map(drop)
            }
            (Self::Subject, value) => Subject::from_value(value.clone(), strictness).map(drop),
            (Self::Absent, _) => match strictness {
                Strictness::Lenient => Ok(()),
                Strictness::Strict => wrong("must not be there"),
            },
        }
    }
}

fn by_language(
    texts: &Map<String, Value>,
    rule: &'static str,
    strictness: Strictness,
) -> Result<(), Invalid> {
    if texts.is_empty() && strictness == Strictness::Strict {
        return Err(Invalid::new("", rule, "must have at least one entry"));
    }
    for (tag, text) in texts {
        if !text.is_string() {
            return Err(Invalid::new(tag, rule, "must be a string"));
        }
        if strictness == Strictness::Strict && !crate::language::is_well_formed(tag) {
            return Err(Invalid::new(tag, rule, "is named by no well-formed BCP 47 language tag"));
        }
    }
    Ok(())
}
