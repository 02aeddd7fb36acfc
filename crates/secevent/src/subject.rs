//! Who an event is about: subject identifiers (RFC 9493) and the complex subjects of SSF 1.0 section 3.

mod complex;
mod identifier;
mod key;
mod legacy;
mod matching;

pub(crate) use legacy::modernised;

pub use complex::{Complex, SCOPE_MEMBERS};
pub use identifier::{Identifier, Other, Scim};
pub use key::SubjectKey;

use crate::event::Strictness;
use crate::{Invalid, json};
use identifier::{Pairs, pairs};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

/// Who an event is about: one identifier, or several that describe one principal from different sides.
///
/// Two subjects can name one principal; compare them with [`Subject::matches`], not with `==`.
///
/// ```
/// use secevent::{Identifier, Subject};
///
/// let alice_by_email = Subject::email("alice@example.com").unwrap();
/// let alice_aliases = Subject::from_json(
///     r#"{"format":"aliases","identifiers":[
///         {"format":"email","email":"alice@example.com"},
///         {"format":"opaque","id":"u-1"}]}"#,
/// ).unwrap();
/// assert!(alice_by_email.matches(&alice_aliases));
///
/// let on_one_device = Subject::complex([
///     ("user", Identifier::email("alice@example.com").unwrap()),
///     ("device", Identifier::opaque("laptop-7").unwrap()),
/// ]).unwrap();
/// let on_any_device = Subject::complex([("user", Identifier::email("alice@example.com").unwrap())]).unwrap();
/// assert!(on_any_device.matches(&on_one_device));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One identifier.
    Simple(Identifier),
    /// Several members (`user`, `device`, `session` …) that together name one principal.
    Complex(Complex),
}

impl Subject {
    /// The formats that are known here. Others are kept as they came.
    pub const FORMATS: [&str; 15] = [
        "account",
        "aliases",
        "complex",
        "did",
        "email",
        "ip-addresses",
        "iss_sub",
        "jwt_id",
        "oauth_client",
        "oauth_token",
        "opaque",
        "phone_number",
        "saml_assertion_id",
        "scim",
        "uri",
    ];

    /// The subject with this e-mail address (RFC 9493 section 3.2.2).
    pub fn email(email: &str) -> Result<Self, Invalid> {
        Identifier::email(email).map(Self::Simple)
    }

    /// The subject that `iss` calls `sub` (RFC 9493 section 3.2.3).
    pub fn iss_sub(iss: &str, sub: &str) -> Result<Self, Invalid> {
        Identifier::iss_sub(iss, sub).map(Self::Simple)
    }

    /// The subject with this opaque identifier (RFC 9493 section 3.2.4).
    pub fn opaque(id: &str) -> Result<Self, Invalid> {
        Identifier::opaque(id).map(Self::Simple)
    }

    /// The subject that all these members describe together (SSF 1.0 section 3.3).
    pub fn complex<N: Into<String>>(
        members: impl IntoIterator<Item = (N, Identifier)>,
    ) -> Result<Self, Invalid> {
        Complex::new(members).map(Self::Complex)
    }

    /// Reads a subject as receivers do: unknown members are ignored, unknown formats kept, phone numbers
    /// freed of punctuation.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        let text = json::check(text.as_bytes(), json::Limits::TOKEN)?;
        let value = serde_json::from_str(text).map_err(|error| json::syntax(&error))?;
        Self::from_value(value, Strictness::Lenient)
    }

    /// Reads a subject from parsed JSON. A strict reading refuses what an issuer must not send.
    pub fn from_value(value: Value, strictness: Strictness) -> Result<Self, Invalid> {
        let Value::Object(members) = value else {
            return Err(Self::not_an_object());
        };
        Self::from_members(pairs(members), strictness)
    }

    pub(crate) fn from_members(members: Pairs<'_>, strictness: Strictness) -> Result<Self, Invalid> {
        let format = members.iter().find(|(name, _)| name == "format");
        if format.and_then(|(_, format)| format.as_str()) == Some("complex") {
            return Complex::from_members(members, strictness).map(Self::Complex);
        }
        Identifier::from_members(members, strictness).map(Self::Simple)
    }

    /// What is said of a value that is no object.
    pub(crate) fn not_an_object() -> Invalid {
        Invalid::new("", "SUBJ-01", "must be a JSON object with a `format`")
    }

    /// Reads a subject in one of the shapes that came before RFC 9493: `subject_type` for `format`, hyphens
    /// in format names, complex subjects without a format (the LEGACY requirements). Modern shapes are read
    /// too, so that nothing breaks when the peer moves on.
    pub fn from_legacy_value(value: Value) -> Result<Self, Invalid> {
        Self::from_value(modernised(value), Strictness::Lenient)
    }

    /// Checks that each format in it, members and aliases included, is one of [`Subject::FORMATS`] or a
    /// collision-resistant name, such as `com.example.badge` or `https://example.com/badge` (RFC 9493 section 3,
    /// RFC 7519 section 2). This is for subjects of events that are about to be issued: a misspelled `format` is no
    /// error by itself, and names nobody.
    ///
    /// # Errors
    ///
    /// The member and rule SUBJ-05.
    pub fn check_formats(&self) -> Result<(), Invalid> {
        match self {
            Self::Simple(identifier) => identifier.check_format(),
            Self::Complex(complex) => {
                let mut members = complex.iter();
                members.try_for_each(|(name, one)| one.check_format().map_err(|error| error.within(name)))
            }
        }
    }

    /// The format's name; `complex` for a complex subject.
    pub fn format(&self) -> &str {
        match self {
            Self::Simple(identifier) => identifier.format(),
            Self::Complex(_) => "complex",
        }
    }

    /// Checks what a lenient reading leaves open.
    pub(crate) fn check_strictly(&self) -> Result<(), Invalid> {
        match self {
            Self::Simple(identifier) => identifier.check_strictly(),
            Self::Complex(complex) => {
                let mut members = complex.iter();
                members.try_for_each(|(name, one)| one.check_strictly().map_err(|error| error.within(name)))
            }
        }
    }

    /// The subject as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("subjects are strings and JSON")
    }
}

impl From<Identifier> for Subject {
    fn from(identifier: Identifier) -> Self {
        Self::Simple(identifier)
    }
}

impl From<Complex> for Subject {
    fn from(complex: Complex) -> Self {
        Self::Complex(complex)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Simple(identifier) => identifier.serialize(serializer),
            Self::Complex(complex) => complex.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?, Strictness::Lenient).map_err(D::Error::custom)
    }
}
