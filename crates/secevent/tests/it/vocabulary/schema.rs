//! Event types that a JSON Schema defines.

use secevent::{Definition, SchemaError, Strictness, Subject, Vocabulary};
use serde_json::{Value, json};
use std::net::TcpListener;

const URI: &str = "https://doors.example/event/opened";
const NAME: &str = "doors:opened";

fn defined(schema: &Value) -> Result<Definition, SchemaError> {
    Definition::from_json_schema(URI, NAME, "A door was opened.", schema)
}

#[test]
fn a_breach_names_the_member() {
    let doors = defined(&json!({
        "type": "object",
        "properties": {
            "by": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            "doors": {"type": "array", "items": {"type": "object", "properties": {"floor": {"maximum": 9}}}},
            "key": {"type": "string", "pattern": "^[a-z]+$"},
        },
        "required": ["doors"],
        "additionalProperties": false,
    }));
    let doors = doors.unwrap();
    assert_eq!((doors.uri(), doors.name(), doors.about()), (URI, NAME, "A door was opened."));
    let right = json!({"doors": [{"floor": 1}], "by": {"name": "alice"}, "key": "abc"});
    assert_eq!(doors.check_value(&right, Strictness::Strict), Ok(()));
    for (member, wrong) in [
        ("doors", json!({})),
        ("doors", json!({"doors": "all"})),
        ("doors[1].floor", json!({"doors": [{"floor": 1}, {"floor": 10}]})),
        ("by.name", json!({"doors": [], "by": {}})),
        ("by.name", json!({"doors": [], "by": {"name": 7}})),
        ("key", json!({"doors": [], "key": "4711"})),
        ("", json!({"doors": [], "window": true})),
    ] {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let error = doors.check_value(&wrong, strictness).unwrap_err();
            assert_eq!((error.member(), error.rule()), (member, "custom"), "{wrong}: {error}");
        }
    }
    let secret =
        doors.check_value(&json!({"doors": [], "key": "Geheim-4711"}), Strictness::Strict).unwrap_err();
    assert!(!secret.to_string().contains("Geheim"), "values are not repeated: {secret}");
}

#[test]
fn custom_types_live_beside_the_standard_ones() {
    let known = Vocabulary::standard().with(defined(&json!({"required": ["door"]})).unwrap()).unwrap();
    let error = known.check(URI, "{}", None, Strictness::Lenient).unwrap_err();
    assert_eq!(error.member(), format!("events.{URI}.door"));
    assert_eq!(known.check(URI, r#"{"door":1}"#, None, Strictness::Strict), Ok(()));
    assert!(known.with(defined(&json!({})).unwrap()).is_err(), "one name, one type");
    let array = defined(&json!({"type": "array"})).unwrap().check("[]", Strictness::Lenient).unwrap_err();
    assert_eq!(array.rule(), "SET-14", "a payload is an object, whatever the schema says");
}

#[test]
fn names_are_uris_and_short_names() {
    let schema = json!({});
    for uri in ["", "doors", "not a uri", "/event/opened"] {
        let error = Definition::from_json_schema(uri, NAME, "", &schema).unwrap_err();
        assert_eq!(error, SchemaError::NotAUri(uri.to_owned()));
    }
    for name in ["", "opened", ":opened", "doors:", "doors:*", "doors: opened"] {
        let error = Definition::from_json_schema(URI, name, "", &schema).unwrap_err();
        assert_eq!(error, SchemaError::NotAName(name.to_owned()));
    }
}

#[test]
fn schemas_that_are_refused() {
    let long = json!({"description": "x".repeat(Definition::SCHEMA_BYTES_MAX)});
    let bytes = long.to_string().len();
    assert_eq!(defined(&long).unwrap_err(), SchemaError::TooLong { bytes });
    let overhead = bytes - Definition::SCHEMA_BYTES_MAX;
    let longest = json!({"description": "x".repeat(Definition::SCHEMA_BYTES_MAX - overhead)});
    assert!(defined(&longest).is_ok(), "the bound itself is allowed");
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"not": inner}));
    assert!(defined(&nested(Definition::SCHEMA_DEPTH_MAX)).is_ok());
    assert_eq!(defined(&nested(Definition::SCHEMA_DEPTH_MAX + 1)).unwrap_err(), SchemaError::TooDeep);
    for schema in [
        json!("text"),
        json!({"type": "thing"}),
        json!({"$ref": "#/missing"}),
        json!({"properties": {"door": {"pattern": "("}}}),
        json!({"properties": {"door": {"pattern": "^(?=a)"}}}),
        json!({"properties": {"door": {"pattern": "((a{100}){100}){100}"}}}),
    ] {
        assert!(matches!(defined(&schema), Err(SchemaError::NotASchema(_))), "{schema}");
    }
}

#[test]
fn nothing_is_ever_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let remote = format!("http://{}/schema.json", listener.local_addr().unwrap());
    let here = format!("file://{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    for target in [remote.as_str(), here.as_str(), "https://schemas.example/door.json", "door.json"] {
        for schema in [
            json!({"$ref": target}),
            json!({"properties": {"door": {"$ref": target}}}),
            json!({"$defs": {"never used": {"$ref": target}}}),
            json!({"$schema": target}),
        ] {
            assert!(matches!(defined(&schema), Err(SchemaError::NotASchema(_))), "{schema}");
        }
    }
    let nobody_came = listener.accept().map(drop).unwrap_err();
    assert_eq!(nobody_came.kind(), std::io::ErrorKind::WouldBlock);
    let within =
        json!({"$defs": {"door": {"type": "string"}}, "properties": {"door": {"$ref": "#/$defs/door"}}});
    let error = defined(&within).unwrap().check(r#"{"door":1}"#, Strictness::Lenient).unwrap_err();
    assert_eq!(error.member(), "door", "references inside the schema are followed");
}

#[test]
fn schemas_that_turn_on_themselves_come_to_an_end() {
    let list = json!({"properties": {"next": {"$ref": "#"}, "door": {"type": "string"}}});
    let list = defined(&list).unwrap();
    let error = list.check(r#"{"next":{"next":{"door":1}}}"#, Strictness::Lenient).unwrap_err();
    assert_eq!(error.member(), "next.next.door");
    // A schema that is only itself either is refused or lets everything pass; it must not hang or overflow.
    if let Ok(circle) = defined(&json!({"$ref": "#"})) {
        assert_eq!(circle.check("{}", Strictness::Lenient), Ok(()));
    }
}

#[test]
fn a_bad_schema_is_told_with_the_place() {
    for (schema, place) in [
        (json!({"properties": {"door": {"type": "thing"}}}), "at /properties/door/type: "),
        (json!({"type": "thing"}), "at /type: "),
    ] {
        let refused = defined(&schema).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("the schema is refused: {place}")), "{refused}");
    }
}

#[test]
fn an_event_may_be_about_some_formats_only() {
    let formats = ["email", "complex"].map(str::to_owned);
    let opened = defined(&json!({})).unwrap().about_subjects(formats);
    let read = |json: Value| Subject::from_value(json, Strictness::Strict).unwrap();
    let email = json!({"format": "email", "email": "jo@doors.example"});
    let opaque = json!({"format": "opaque", "id": "7"});
    for (subject, good) in [
        (email.clone(), true),
        (opaque.clone(), false),
        (json!({"format": "aliases", "identifiers": [opaque, email]}), true),
        (json!({"format": "aliases", "identifiers": [opaque]}), false),
        (json!({"format": "complex", "user": opaque}), true),
    ] {
        let checked = opened.check_subject(&read(subject.clone()));
        assert_eq!(checked.is_ok(), good, "{subject}: {checked:?}");
        if let Err(error) = checked {
            assert_eq!(
                error.to_string(),
                "`sub_id` must be of format email or complex for doors:opened [custom]"
            );
        }
    }
    assert!(defined(&json!({})).unwrap().check_subject(&read(opaque)).is_ok(), "else it is about anybody");
}
