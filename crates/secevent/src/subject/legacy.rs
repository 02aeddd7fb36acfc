//! The shapes that subjects had before RFC 9493: SSE ID1, early RISC, Google (the LEGACY requirements).

use crate::quirks;
use serde_json::{Map, Value, json};

/// The same subject in today's shape. What is not recognised stays as it is, for the reader to judge.
pub(crate) fn modernised(value: Value) -> Value {
    let Value::Object(mut members) = value else { return value };
    if let Some(kind) = members.remove("subject_type") {
        // A peer that has moved on sends `format`; that one counts (RISC-25).
        members.entry("format").or_insert(kind);
    }
    if let Some(Value::String(format)) = members.get_mut("format") {
        let registered = quirks::subject_format(format).to_owned();
        format.clone_from(&registered);
        quirks::name_subject_members(&registered, &mut members);
    }
    match members.get("format").and_then(Value::as_str) {
        Some("id_token_claims" | "id-token-claims") => id_token_claims(&members),
        // A peer that has half moved on: the outer shape is today's, the inner ones need not be.
        Some("complex") => complex(members),
        Some("aliases") => aliases(members),
        None if !members.is_empty() && members.values().all(Value::is_object) => complex(members),
        _ => Value::Object(members),
    }
}

fn renamed(mut members: Map<String, Value>, format: &str) -> Value {
    members.insert("format".to_owned(), Value::from(format));
    Value::Object(members)
}

/// An object without a format whose members are identifiers is a complex subject (LEGACY-02).
fn complex(members: Map<String, Value>) -> Value {
    let modern = members.into_iter().map(|(name, value)| (name, modernised(value)));
    renamed(modern.collect(), "complex")
}

fn aliases(mut members: Map<String, Value>) -> Value {
    if let Some(Value::Array(identifiers)) = members.get_mut("identifiers") {
        for identifier in identifiers {
            *identifier = modernised(identifier.take());
        }
    }
    Value::Object(members)
}

/// Claims of an ID Token: issuer and subject, an e-mail address, a phone number, in any mix. They all name
/// one entity, so they become aliases; a single one stands for itself.
fn id_token_claims(members: &Map<String, Value>) -> Value {
    let mut names = Vec::new();
    if let (Some(iss), Some(sub)) = (members.get("iss"), members.get("sub")) {
        names.push(json!({"format": "iss_sub", "iss": iss, "sub": sub}));
    }
    for format in ["email", "phone_number"] {
        if let Some(value) = members.get(format) {
            names.push(json!({"format": format, format: value}));
        }
    }
    match names.len() {
        1 => names.remove(0),
        _ => json!({"format": "aliases", "identifiers": names}),
    }
}
