//! Event types that configuration brings: a URI, a name, and a JSON Schema instead of a Rust type.

use crate::event::Definition;
use crate::{Invalid, is_uri};
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{PatternOptions, ValidationError};
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;

/// An event type of one's own cannot be defined like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The event identifier is no URI.
    #[error("`{0}` is no URI, and an event identifier is one (RFC 8417 section 2)")]
    NotAUri(String),
    /// The short name does not say which vocabulary it belongs to.
    #[error("`{0}` is no short name: it is a vocabulary, a colon and an event, as in `doors:opened`")]
    NotAName(String),
    /// The schema is longer than it may be.
    #[error("the schema has {bytes} bytes, and {} is the most", Definition::SCHEMA_BYTES_MAX)]
    TooLong {
        /// How long it is as JSON text without spaces.
        bytes: usize,
    },
    /// The schema nests deeper than it may.
    #[error("the schema nests deeper than {} levels", Definition::SCHEMA_DEPTH_MAX)]
    TooDeep,
    /// The document is no JSON Schema, or refers to another document.
    #[error("the schema is refused: {0}")]
    NotASchema(String),
}

impl Definition {
    /// The longest schema of a custom event type, in bytes of JSON text without spaces.
    pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
    /// The deepest nesting of a schema's objects and arrays; the outermost counts as one.
    pub const SCHEMA_DEPTH_MAX: usize = 64;
    /// The most that one compiled pattern of a schema may take, in bytes.
    const PATTERN_BYTES_MAX: usize = 1024 * 1024;

    /// An event type whose payloads a JSON Schema describes.
    ///
    /// The schema is compiled here, once. It has to stand for itself: a reference to another document is
    /// refused, never fetched. Patterns are matched in linear time, so look-around and back references are
    /// refused too. A payload that breaks the schema breaks the rule `custom`.
    ///
    /// A schema is trusted as configuration is: references that fan out over and over can make a check as
    /// slow as their author likes, so take none from strangers.
    ///
    /// ```
    /// use secevent::{Definition, Strictness, Vocabulary};
    ///
    /// let schema = serde_json::json!({
    ///     "type": "object",
    ///     "properties": { "door": { "type": "string" } },
    ///     "required": ["door"],
    /// });
    /// let (uri, about) = ("https://doors.example/event/opened", "A door was opened.");
    /// let opened = Definition::from_json_schema(uri, "doors:opened", about, &schema)?;
    ///
    /// let breach = opened.check(r#"{"door":7}"#, Strictness::Lenient).unwrap_err();
    /// assert_eq!((breach.member(), breach.rule()), ("door", "custom"));
    ///
    /// let vocabulary = Vocabulary::standard().with(opened).unwrap();
    /// assert_eq!(vocabulary.find("doors:opened").unwrap().about(), about);
    /// # Ok::<(), secevent::SchemaError>(())
    /// ```
    pub fn from_json_schema(uri: &str, name: &str, about: &str, schema: &Value) -> Result<Self, SchemaError> {
        if !is_uri(uri) {
            return Err(SchemaError::NotAUri(uri.to_owned()));
        }
        if !is_name(name) {
            return Err(SchemaError::NotAName(name.to_owned()));
        }
        // First the depth: whatever walks the schema from here on does so by recursion.
        if is_deeper(schema, Self::SCHEMA_DEPTH_MAX) {
            return Err(SchemaError::TooDeep);
        }
        let bytes = schema.to_string().len();
        if bytes > Self::SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLong { bytes });
        }
        let patterns = PatternOptions::regex().size_limit(Self::PATTERN_BYTES_MAX);
        // `offline` even though nothing here can fetch: another crate may switch that on in `jsonschema`.
        let schema = jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| SchemaError::NotASchema(wrong_at(&error)))?;
        let check = move |payload: &Value| schema.validate(payload).map_err(|error| breach(&error));
        Ok(Self::custom(uri.to_owned(), name.to_owned(), about.to_owned(), Arc::new(check)))
    }
}

/// Both sides of a colon say something, and a star would be taken for a pattern.
fn is_name(name: &str) -> bool {
    let sides =
        name.split_once(':').is_some_and(|(vocabulary, event)| !vocabulary.is_empty() && !event.is_empty());
    sides && !name.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control())
}

fn is_deeper(schema: &Value, depth_max: usize) -> bool {
    let mut open = vec![(schema, 1)];
    while let Some((value, depth)) = open.pop() {
        let nests = value.is_object() || value.is_array();
        if nests && depth > depth_max {
            return true;
        }
        match value {
            Value::Object(members) => open.extend(members.values().map(|member| (member, depth + 1))),
            Value::Array(values) => open.extend(values.iter().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    false
}

/// What is wrong with a schema, and where in it.
fn wrong_at(error: &ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => error.to_string(),
        place => format!("at {place}: {error}"),
    }
}

fn breach(error: &ValidationError<'_>) -> Invalid {
    let member = path(error.instance_path());
    // The values are the subject's business: the message shows what is wrong without them.
    let invalid = Invalid::new(member, "custom", format!("breaks the schema: {}", error.masked()));
    match error.kind() {
        ValidationErrorKind::Required { property: Value::String(missing) } => {
            let outer = invalid.member().to_owned();
            let missing = Invalid::new(missing, "custom", "is required and missing");
            if outer.is_empty() { missing } else { missing.within(&outer) }
        }
        _ => invalid,
    }
}

/// A place in the payload as every [`Invalid`] writes it: `doors[2].name`.
fn path(location: &Location) -> String {
    location.segments().fold(String::new(), |mut path, segment| {
        match segment {
            LocationSegment::Index(place) => write!(path, "[{place}]"),
            LocationSegment::Property(name) if path.is_empty() => write!(path, "{name}"),
            LocationSegment::Property(name) => write!(path, ".{name}"),
        }
        .expect("a String takes whatever is written");
        path
    })
}
