//! A subject on the command line: an e-mail address, JSON, or a format's name with its values.

use secevent::json::problem;
use secevent::{Strictness, Subject};
use serde_json::{Map, Value};

/// Reads `alice@example.com`, `{"format":…}`, or `FORMAT:VALUE,VALUE…`, strictly: it is going to be written.
pub(crate) fn parse(text: &str) -> Result<Subject, String> {
    read(text, Strictness::Strict)
}

/// The same for a subject that is looked for: it may have been written by others, less strictly.
pub(crate) fn parse_known(text: &str) -> Result<Subject, String> {
    read(text, Strictness::Lenient)
}

fn read(text: &str, strictness: Strictness) -> Result<Subject, String> {
    if text.trim_start().starts_with('{') {
        let value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {}", problem(&error)))?;
        return Subject::from_value(value, strictness).map_err(|breach| breach.to_string());
    }
    if let Some((format, values)) = text.split_once(':')
        && let Some((_, names)) = FORMATS.iter().find(|(known, _)| *known == format)
    {
        let values: Vec<&str> = values.splitn(names.len(), ',').collect();
        if values.len() != names.len() || values.contains(&"") {
            return Err(format!("write {}", usage(format, names)));
        }
        let members = names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.into()));
        let members: Map<String, Value> =
            std::iter::once(("format".to_owned(), format.into())).chain(members).collect();
        return Subject::from_value(members.into(), strictness).map_err(|breach| breach.to_string());
    }
    if text.contains('@') {
        return Subject::email(text).map_err(|breach| breach.to_string());
    }
    let forms: Vec<String> = FORMATS.iter().map(|(format, names)| usage(format, names)).collect();
    Err(format!("it is neither an e-mail address nor JSON nor one of {}", forms.join(", ")))
}

fn usage(format: &str, names: &[&str]) -> String {
    format!("{format}:{}", names.join(",").to_uppercase())
}

/// The formats of RFC 9493 and SSF whose members are all texts, with these members in order.
const FORMATS: &[(&str, &[&str])] = &[
    ("email", &["email"]),
    ("iss_sub", &["iss", "sub"]),
    ("opaque", &["id"]),
    ("phone_number", &["phone_number"]),
    ("account", &["uri"]),
    ("uri", &["uri"]),
    ("did", &["url"]),
    ("jwt_id", &["iss", "jti"]),
    ("scim", &["uri"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_subject() {
        for (text, subject) in [
            ("alice@example.com", json!({"format": "email", "email": "alice@example.com"})),
            ("email:a@example.com", json!({"format": "email", "email": "a@example.com"})),
            (
                "iss_sub:https://idp.example,a,b",
                json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "a,b"}),
            ),
            ("opaque:a:b", json!({"format": "opaque", "id": "a:b"})),
            ("phone_number:+12065550100", json!({"format": "phone_number", "phone_number": "+12065550100"})),
            ("account:acct:a@example.com", json!({"format": "account", "uri": "acct:a@example.com"})),
            ("uri:urn:x:1", json!({"format": "uri", "uri": "urn:x:1"})),
            ("did:did:example:123456", json!({"format": "did", "url": "did:example:123456"})),
            (
                "jwt_id:https://idp.example,7",
                json!({"format": "jwt_id", "iss": "https://idp.example", "jti": "7"}),
            ),
            ("scim:/Users/1", json!({"format": "scim", "uri": "/Users/1"})),
            (r#"{"format":"opaque","id":"x"}"#, json!({"format": "opaque", "id": "x"})),
        ] {
            assert_eq!(parse(text).unwrap().to_value(), subject, "{text}");
        }
        for text in ["", "alice", "opaque:", "iss_sub:https://idp.example", "{", "{}", "Jo <jo@x.example>"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
