//! The event vocabularies: they agree with specs/events.json, read every printed example, and keep the rows
//! of CAEP, RISC, SCIM, OAuth and SSF that a token can show.

mod caep;
mod examples;
mod oauth;
mod risc;
#[cfg(feature = "json-schema")]
mod schema;
mod scim;
mod ssf;

use crate::{specs, specs_json};
use secevent::lint::{self, Finding, Ruleset};
use secevent::{
    Claims, Definition, EventStatus, EventType, Identifier, Invalid, Member, Profile, Set, Shape, Strictness,
    Subject, SubjectRule, Timestamp, Vocabulary,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn definitions_agree_with_the_data_of_the_standards() {
    let data = specs_json("events.json");
    let rules = requirement_ids();
    let events = data["events"].as_array().unwrap();
    assert_eq!(events.len(), 43);
    assert_eq!(Vocabulary::standard().iter().count(), events.len());
    for event in events {
        let uri = event["uri"].as_str().unwrap();
        let found = definition(uri);
        let family = event["family"].as_str().unwrap().trim_start_matches("oidc-");
        assert_eq!(found.uri(), uri);
        assert_eq!(found.name(), format!("{family}:{}", event["name"].as_str().unwrap()));
        assert!(found.about().ends_with('.'), "{uri} has one sentence");
        assert_eq!(json!(found.aliases()), event.get("aliases").cloned().unwrap_or(json!([])), "{uri}");
        let status = match event["status"].as_str().unwrap() {
            "final" => EventStatus::Final,
            "draft" => EventStatus::Draft,
            "deprecated" => EventStatus::Deprecated,
            other => panic!("{other} is no status"),
        };
        assert_eq!(found.status(), status, "{uri}");
        assert_eq!(members(found.members(), true), data_members(&event["required"]), "{uri}");
        assert_eq!(members(found.members(), false), data_members(&event["optional"]), "{uri}");
        let formats = event["subject"].get("formats").cloned();
        let rule = match found.subject_rule() {
            SubjectRule::Any => {
                assert_eq!((formats, family != "logout"), (None, true), "{uri}");
                None
            }
            SubjectRule::Formats(known, rule) => {
                assert_eq!(formats, Some(json!(known)), "{uri}");
                Some(rule)
            }
            SubjectRule::Claims => {
                assert_eq!((formats, family), (None, "logout"));
                None
            }
            other => panic!("{uri}: {other:?}"),
        };
        for rule in found.members().iter().map(|member| member.rule).chain(rule) {
            assert!(rules.contains(rule), "{uri} names {rule}");
        }
    }
}

/// Name and shape of the members, as text to compare; members that must be absent are not in the data.
fn members(members: &[Member], required: bool) -> BTreeSet<String> {
    let members = members.iter().filter(|member| member.required == required);
    let shown = members.filter(|member| !matches!(member.shape, Shape::Absent)).map(|member| {
        let shape = match member.shape {
            Shape::Text => "string".to_owned(),
            Shape::OneOf(values) => format!("one of {}", json!(values)),
            Shape::Suggested(values) => format!("suggested {}", json!(values)),
            Shape::Time => "number".to_owned(),
            Shape::ByLanguage => "by language".to_owned(),
            Shape::Texts => "array of string".to_owned(),
            // The data calls a subject inside an event an object; that is what it has to be at least.
            Shape::Subject => "object of 0".to_owned(),
            Shape::Object { members_min } => format!("object of {members_min}"),
            other => format!("{other:?}"),
        };
        format!("{}: {shape}", member.name)
    });
    shown.collect()
}

fn data_members(members: &Value) -> BTreeSet<String> {
    let shown = members.as_array().unwrap().iter().map(|member| {
        let closed = member.get("enum_closed").and_then(Value::as_bool);
        let shape = match (member["type"].as_str().unwrap(), closed) {
            ("string", Some(true)) => format!("one of {}", member["enum"]),
            ("string", Some(false)) => format!("suggested {}", member["enum"]),
            ("object", _) if member.get("map_of").is_some() => "by language".to_owned(),
            ("object", _) => format!("object of {}", member.get("min_entries").unwrap_or(&json!(0))),
            ("array", _) => format!("array of {}", member["items"].as_str().unwrap()),
            (plain, _) => plain.to_owned(),
        };
        format!("{}: {shape}", member["name"].as_str().unwrap())
    });
    shown.collect()
}

/// The ids of all requirements in specs/*.toml.
fn requirement_ids() -> BTreeSet<String> {
    let files = std::fs::read_dir(specs("")).unwrap().map(|entry| entry.unwrap().path());
    let toml = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let texts: Vec<String> = toml.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let ids = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("id = \""));
    ids.map(|id| id.trim_end_matches('"').to_owned()).collect()
}

fn definition(name: &str) -> &'static Definition {
    Vocabulary::standard().find(name).unwrap_or_else(|| panic!("{name} is a standard event type"))
}

fn profile_of(definition: &Definition) -> Profile {
    match definition.name().split(':').next() {
        Some("scim") => Profile::Scim,
        Some("logout") => Profile::Logout,
        _ => Profile::Ssf,
    }
}

/// Claims that are in order and lack nothing but the event.
fn claims_for(definition: &Definition) -> Claims {
    let now = Timestamp::from_seconds(1_900_000_000);
    let mut claims = Claims::new("https://idp.example", "Zs3x1a", now);
    claims.aud = Some("https://rp.example".into());
    claims.txn = Some("8675309".to_owned());
    match definition.subject_rule() {
        SubjectRule::Claims => {
            claims.sub = Some("alice".to_owned());
            claims.exp = Some(Timestamp::from_seconds(1_900_000_060));
        }
        SubjectRule::Formats(formats, _) => claims.sub_id = Some(subject_of(formats[0])),
        _ => claims.sub_id = Some(subject_of("iss_sub")),
    }
    claims
}

fn subject_of(format: &str) -> Subject {
    let value = match format {
        "email" => json!({"email": "alice@example.com"}),
        "phone_number" => json!({"phone_number": "+12065550100"}),
        "iss_sub" => json!({"iss": "https://idp.example", "sub": "alice"}),
        "opaque" => json!({"id": "f67e39a0a4d34d56b3aa1bc4cff0069f"}),
        "jwt_id" => json!({"iss": "https://idp.example", "jti": "B70BA622"}),
        "saml_assertion_id" => json!({"issuer": "https://idp.example", "assertion_id": "_8e8dc5f6"}),
        "scim" => json!({"uri": "/Users/2b2f880af6674ac284bae9381673d462"}),
        "oauth_token" => json!({
            "token_type": "refresh_token", "token_identifier_alg": "prefix", "token": "7265667265736820",
        }),
        "oauth_client" => json!({"client_id": "s6BhdRkqt3"}),
        other => panic!("no subject of format {other} is at hand"),
    };
    let mut value = value;
    value["format"] = json!(format);
    Subject::from_value(value, Strictness::Strict).unwrap()
}

/// Makes a SET with a typed event: the issuer's way, strict.
fn emit<E: EventType>(event: &E) -> Result<Set, Invalid> {
    emit_about::<E>(event, None)
}

fn emit_about<E: EventType>(event: &E, subject: Option<Subject>) -> Result<Set, Invalid> {
    let definition = definition(E::URI);
    let mut claims = claims_for(definition);
    claims.sub_id = subject.or(claims.sub_id);
    claims.with_event(event)?.prove(profile_of(definition))
}

/// Makes a SET with an event as JSON: the issuer's way, strict.
fn write(name: &str, payload: &Value) -> Result<Set, Invalid> {
    let definition = definition(name);
    let mut claims = claims_for(definition);
    claims.events.add_raw(definition.uri(), &payload.to_string())?;
    claims.prove(profile_of(definition))
}

/// Where a strict issuer refuses the event, below the event itself, and by which rule.
fn refusal(name: &str, payload: &Value) -> (String, &'static str) {
    below_event(name, &write(name, payload).expect_err("the event should be refused"))
}

fn below_event(name: &str, error: &Invalid) -> (String, &'static str) {
    let event = format!("events.{}", definition(name).uri());
    let below = error.member().strip_prefix(&event).unwrap_or_else(|| panic!("{error} is about the event"));
    (below.trim_start_matches('.').to_owned(), error.rule())
}

/// Reads a SET with an event as JSON: the receiver's way, lenient.
fn read(name: &str, payload: &Value) -> Result<Set, Invalid> {
    let definition = definition(name);
    let mut claims = claims_for(definition);
    claims.events.add_raw(definition.uri(), &payload.to_string())?;
    let set = Set::read(&serde_json::to_vec(&claims).unwrap(), profile_of(definition))?;
    for (uri, payload) in set.events().iter() {
        Vocabulary::standard().check(uri, payload, set.subject().as_deref(), Strictness::Lenient)?;
    }
    Ok(set)
}

/// The event as a receiver's typed value.
fn received<E: EventType>(payload: &Value) -> E {
    read(E::URI, payload).unwrap().events().get::<E>().unwrap().expect("that is the event in there")
}

/// What the linter says of a token with this event.
fn findings(name: &str, payload: &Value) -> Vec<Finding> {
    let mut claims = claims_for(definition(name));
    claims.events.add_raw(definition(name).uri(), &payload.to_string()).unwrap();
    lint::check(None, &serde_json::to_vec(&claims).unwrap(), Ruleset::Ssf, None)
}

fn payload_of<E: EventType>(set: &Set) -> Value {
    serde_json::from_str(set.events().raw(E::URI).unwrap()).unwrap()
}

/// The event, made by its type, is an empty object; and the empty object is enough to read it.
fn is_empty<E: EventType + Default>() {
    assert_eq!(payload_of::<E>(&emit(&E::default()).unwrap()), json!({}), "{}", E::NAME);
    received::<E>(&json!({}));
    received::<E>(&json!({"from_the_future": [1, 2]}));
}

/// Every identifier of a vocabulary starts with `prefix`, and nothing but the exact text finds it.
fn identifiers_are_exact(vocabulary: &str, prefix: &str, count: usize) {
    let known: Vec<_> = Vocabulary::standard().matching(vocabulary).collect();
    assert_eq!(known.len(), count);
    for definition in known {
        let uri = definition.uri();
        assert!(uri.starts_with(prefix), "{uri}");
        let swapped = uri.replacen("https:", "http:", 1).replacen("urn:", "URN:", 1);
        for near in [format!("{uri}/"), format!("{uri} "), uri.to_uppercase(), swapped] {
            assert!(Vocabulary::standard().find(&near).is_none(), "{near}");
        }
    }
}

fn user(name: &str) -> Identifier {
    Identifier::iss_sub("https://idp.example", name).unwrap()
}
