//! Configurations of streams, and the requests that make and change them.

use super::{LEGACY, json, refused};
use secevent::Invalid;
use secevent_ssf::{
    Change, CreateStream, DESCRIPTION_CHARS_MAX, EVENT_CHARS_MAX, EVENTS_MAX, Method, ReplaceStream,
    StreamConfiguration, StreamId, Supplied, Tolerance, UpdateStream,
};
use serde_json::{Value, json as value};

fn printed() -> Value {
    value!({
        "stream_id": "s1", "iss": "https://tr.example", "aud": ["a", "b"],
        "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "https://tr.example/poll/s1"},
        "events_supported": ["urn:e:1", "urn:e:2"], "events_requested": ["urn:e:2", "urn:e:3"],
        "events_delivered": ["urn:e:2"], "min_verification_interval": 60, "inactivity_timeout": 3600,
        "description": "a stream"
    })
}

fn configuration(body: &Value) -> Result<StreamConfiguration, Invalid> {
    StreamConfiguration::read(body.to_string().as_bytes(), Tolerance::NONE)
}

fn create(body: &Value) -> Result<CreateStream, Invalid> {
    CreateStream::read(body.to_string().as_bytes(), Tolerance::NONE)
}

fn update(body: &Value) -> Result<UpdateStream, Invalid> {
    UpdateStream::read(body.to_string().as_bytes(), Tolerance::NONE)
}

fn replace(body: &Value) -> Result<ReplaceStream, Invalid> {
    ReplaceStream::read(body.to_string().as_bytes(), Tolerance::NONE)
}

#[test]
fn a_configuration_is_written_in_the_order_of_the_standard() {
    let read = configuration(&printed()).unwrap();
    assert_eq!(json(&read.to_json()), printed());
    let written = read.to_json();
    let names =
        ["stream_id", "iss", "aud", "delivery", "events_supported", "events_requested", "events_delivered"];
    let places: Vec<_> = names.map(|name| written.find(&format!("\"{name}\":")).unwrap()).into();
    assert!(places.is_sorted());
}

// spec: SSF-76
#[test]
fn malformed_configurations_are_refused() {
    for (member, bad, at, rule) in [
        ("stream_id", Value::Null, "stream_id", "SSF-71"),
        ("stream_id", value!(""), "stream_id", "SSF-71"),
        ("stream_id", value!("x".repeat(1025)), "stream_id", "SSF-71"),
        ("stream_id", value!(7), "stream_id", "SSF-71"),
        ("iss", Value::Null, "iss", "SSF-74"),
        ("iss", value!("http://tr.example"), "iss", "SSF-74"),
        ("iss", value!("https://tr.example?x"), "iss", "SSF-74"),
        ("aud", Value::Null, "aud", "SSF-75"),
        ("aud", value!([]), "aud", "SSF-75"),
        ("aud", value!({}), "aud", "SSF-75"),
        ("delivery", Value::Null, "delivery", "SSF-81"),
        ("delivery", value!({"method": "urn:x"}), "delivery.method", "SSF-34"),
        ("delivery", value!({"method": "urn:ietf:rfc:8936"}), "delivery.endpoint_url", "SSF-40"),
        ("events_supported", value!("urn:e:1"), "events_supported", "SSF-76"),
        ("events_requested", value!([1]), "events_requested", "SSF-77"),
        ("events_delivered", Value::Null, "events_delivered", "SSF-79"),
        ("min_verification_interval", value!("60"), "min_verification_interval", "SSF-82"),
        ("min_verification_interval", value!(-1), "min_verification_interval", "SSF-82"),
        ("inactivity_timeout", value!(1.5), "inactivity_timeout", "SSF-84"),
        ("description", value!(["x"]), "description", "SSF-83"),
    ] {
        let mut body = printed();
        body[member] = bad;
        assert_eq!(refused(configuration(&body)), (at.to_owned(), rule), "{body}");
    }
    let mut body = printed();
    body["events_supported"] = Value::Null;
    body["x"] = value!({"unknown": true});
    assert_eq!(configuration(&body).unwrap().events_supported, None);
}

#[test]
fn a_list_of_configurations() {
    let read = |body: &str| StreamConfiguration::read_list(body.as_bytes(), Tolerance::NONE);
    assert_eq!(read(" [ ] ").unwrap(), []);
    let (one, two) = (printed(), printed());
    assert_eq!(read(&value!([one, two]).to_string()).unwrap().len(), 2);
    let mut bad = printed();
    bad["iss"] = value!(1);
    for (body, at, rule) in [
        ("{}".to_owned(), "", "SSF-98"),
        (String::new(), "", "SSF-98"),
        ("[1]".to_owned(), "[0]", "SSF-98"),
        (r#"[],"x":[]"#.to_owned(), "", "SSF-98"),
        ("[".to_owned(), "", "SSF-98"),
        (r#"[{"a":1,"a":2}]"#.to_owned(), "[0].a", "E-33"),
        (value!([printed(), bad]).to_string(), "[1].iss", "SSF-74"),
        (format!("[\"{}\"]", "x".repeat(1024 * 1024)), "", "JWTBCP-19"),
    ] {
        assert_eq!(refused(read(&body)), (at.to_owned(), rule));
    }
    assert!(StreamConfiguration::read_list(b"[\"\xff\"]", Tolerance::NONE).is_err());
}

// finding: A14
#[test]
fn each_entry_of_a_list_is_read_by_itself() {
    let mut bad = printed();
    bad["iss"] = value!(1);
    let body = value!([bad, printed(), {}, 7]).to_string();
    let each = StreamConfiguration::read_each(body.as_bytes(), Tolerance::NONE).unwrap();
    assert_eq!(each[1], Ok(configuration(&printed()).unwrap()));
    let unreadable = |index: usize| {
        let entry = each[index].as_ref().unwrap_err();
        (entry.stream_id.as_deref(), entry.breach.member().to_owned(), entry.breach.rule())
    };
    assert_eq!(unreadable(0), (Some("s1"), "[0].iss".to_owned(), "SSF-74"));
    assert_eq!(unreadable(2), (None, "[2].delivery".to_owned(), "SSF-81"));
    assert_eq!(unreadable(3), (None, "[3]".to_owned(), "SSF-98"));
}

// finding: A10
#[test]
fn an_older_transmitter_need_not_say_for_whom_a_stream_is() {
    let mut body = printed();
    body.as_object_mut().unwrap().remove("aud");
    let read = StreamConfiguration::read(body.to_string().as_bytes(), LEGACY).unwrap();
    assert_eq!(read.aud.iter().count(), 0);
    assert_eq!(json(&read.to_json()), body);
}

// finding: A1
#[test]
fn the_url_of_a_polled_stream_is_repeated() {
    let read = configuration(&printed()).unwrap();
    let mut request = UpdateStream::new(read.stream_id.clone());
    assert!(request.is_empty());
    request.delivery = Change::Set((&read.delivery).into());
    assert!(!request.is_empty());
    let sent = value!({"stream_id": "s1", "delivery": printed()["delivery"]});
    assert_eq!(json(&request.to_exposed_json()), sent);
    // It is the transmitter's to supply, so that what a receiver says of it is not looked at.
    assert_eq!(
        update(&sent).unwrap().to_exposed_json(),
        r#"{"stream_id":"s1","delivery":{"method":"urn:ietf:rfc:8936"}}"#
    );
}

// spec: SSF-110
#[test]
fn a_configuration_is_of_the_issuer_of_the_metadata() {
    let read = configuration(&printed()).unwrap();
    assert_eq!(read.check_issuer(&"https://tr.example".parse().unwrap()), Ok(()));
    let breach = read.check_issuer(&"https://tr.example/".parse().unwrap()).unwrap_err();
    assert_eq!((breach.member(), breach.rule()), ("iss", "SSF-93"));
}

// spec: SSF-72
#[test]
fn names_of_our_making_need_no_encoding() {
    for id in ["a", "A-Z.a_z~09", "f67e39a0a4d34d56b3aa1bc4cff0069f", &"x".repeat(StreamId::CHARS_MAX)] {
        assert_eq!(id.parse::<StreamId>().unwrap().query(), format!("stream_id={id}"));
    }
    for id in ["", " ", "a b", "a/b", "a%20", "\u{e9}", "a\n", &"x".repeat(StreamId::CHARS_MAX + 1)] {
        assert_eq!(refused(id.parse::<StreamId>()).1, "SSF-72", "{id}");
    }
    assert_eq!(StreamId::foreign("\u{e9} +").unwrap().query(), "stream_id=%C3%A9%20%2B");
    assert!(StreamId::IMPLICIT.is_implicit() && !StreamId::foreign(" ").unwrap().is_implicit());
}

#[test]
fn malformed_requests_are_refused() {
    let body = br#"{"stream_id":"s1" ;{ broken"#;
    assert_eq!(refused(UpdateStream::read(body, Tolerance::NONE)), (String::new(), "E-01"));
    assert_eq!(refused(ReplaceStream::read(b";{ broken", Tolerance::NONE)), (String::new(), "E-01"));
    assert_eq!(refused(CreateStream::read(b"[]", Tolerance::NONE)), (String::new(), "SSF-95"));
    assert_eq!(refused(CreateStream::read(b"", Tolerance::NONE)), (String::new(), "SSF-95"));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(refused(CreateStream::read(large.as_bytes(), Tolerance::NONE)).1, "JWTBCP-19");
    assert_eq!(refused(CreateStream::read(br#"{"events":{"a":1,"a":1}}"#, Tolerance::NONE)).1, "E-33");

    assert_eq!(refused(update(&value!({"description": "x"}))), ("stream_id".to_owned(), "SSF-102"));
    assert_eq!(refused(update(&value!({"stream_id": null}))), ("stream_id".to_owned(), "SSF-102"));
    assert_eq!(refused(update(&value!({"stream_id": "a b"}))), ("stream_id".to_owned(), "SSF-72"));
    assert_eq!(refused(replace(&value!({}))), ("stream_id".to_owned(), "SSF-111"));
    assert_eq!(
        refused(create(&value!({"events_requested": "urn:e"}))),
        ("events_requested".to_owned(), "SSF-77")
    );
    assert_eq!(
        refused(create(&value!({"events_requested": [1]}))),
        ("events_requested".to_owned(), "SSF-77")
    );
    assert_eq!(refused(create(&value!({"description": 1}))), ("description".to_owned(), "SSF-83"));
    assert_eq!(refused(create(&value!({"aud": 1}))), ("aud".to_owned(), "SSF-96"));
    assert_eq!(refused(update(&value!({"stream_id": "s", "iss": 1}))), ("iss".to_owned(), "SSF-105"));
    assert_eq!(
        refused(replace(&value!({"stream_id": "s", "delivery": {}}))),
        ("delivery.method".to_owned(), "E-08")
    );
}

// spec: SSF-77, SSF-111
#[test]
fn what_the_receiver_supplies() {
    let empty = create(&value!({"x": 1})).unwrap();
    assert!(empty.delivery.is_none() && empty.events_requested.is_none() && empty.supplied.is_empty());

    let requested =
        value!(["https://schemas.openid.net/secevent/caep/event-type/session-revoked", "not a uri", ""]);
    let body = value!({
        "stream_id": "s1", "events_requested": requested, "description": "mine",
        "delivery": {"method": "urn:ietf:rfc:8936"}
    });
    let read = replace(&body).unwrap();
    assert_eq!((read.stream_id.as_str(), read.description.as_deref()), ("s1", Some("mine")));
    assert_eq!(value!(read.events_requested), requested);
    assert_eq!(read.delivery.as_ref().unwrap().method(), Method::Poll);
    assert_eq!(json(&read.to_exposed_json()), body);
}

#[test]
fn an_update_tells_absent_from_null() {
    let body = value!({"stream_id": "s1", "description": null, "events_requested": [], "delivery": null});
    let read = update(&body).unwrap();
    assert_eq!((&read.description, &read.events_requested), (&Change::Clear, &Change::Set(vec![])));
    assert!(matches!(read.delivery, Change::Clear));
    assert_eq!(json(&read.to_exposed_json()), body);
    let read = update(&value!({"stream_id": "s1"})).unwrap();
    assert_eq!((read.description, read.events_requested), (Change::Keep, Change::Keep));
    assert!(matches!(read.delivery, Change::Keep));
}

// spec: SSF-83
#[test]
fn a_long_description_is_cut_at_a_character() {
    let long = "\u{1f980}".repeat(DESCRIPTION_CHARS_MAX + 1);
    let read = create(&value!({"description": long})).unwrap();
    assert_eq!(read.description.unwrap(), "\u{1f980}".repeat(DESCRIPTION_CHARS_MAX));
    let fits = "\u{e9}".repeat(DESCRIPTION_CHARS_MAX);
    assert_eq!(
        update(&value!({"stream_id": "s", "description": fits})).unwrap().description,
        Change::Set(fits)
    );
}

#[test]
fn requested_events_are_bounded() {
    assert!(create(&value!({"events_requested": vec!["urn:e"; EVENTS_MAX]})).is_ok());
    let many = create(&value!({"events_requested": vec!["urn:e"; EVENTS_MAX + 1]}));
    assert_eq!(refused(many), ("events_requested".to_owned(), "SSF-77"));
    assert!(create(&value!({"events_requested": ["x".repeat(EVENT_CHARS_MAX)]})).is_ok());
    let long = create(&value!({"events_requested": ["", "x".repeat(EVENT_CHARS_MAX + 1)]}));
    assert_eq!(refused(long), ("events_requested[1]".to_owned(), "SSF-77"));
}

#[test]
fn what_the_transmitter_supplies_must_stay() {
    let current = configuration(&printed()).unwrap();
    let supplied = |body: &Value| update(body).unwrap().supplied;
    assert_eq!(Supplied::default().check_against(&current), Ok(()));
    // Read, ask for one more type, write all back: the lists of the transmitter are those before the change.
    let mut body = printed();
    body["events_requested"] = value!(["urn:e:1", "urn:e:2"]);
    assert_eq!(supplied(&body).check_against(&current), Ok(()));
    assert_eq!(replace(&body).unwrap().supplied.check_against(&current), Ok(()));
    body["aud"] = value!(["b", "a"]);
    body["events_supported"] = value!(["urn:e:2", "urn:e:1"]);
    assert_eq!(supplied(&body).check_against(&current), Ok(()), "order says nothing");

    for (member, other) in [
        ("iss", value!("https://other.example")),
        ("aud", value!("a")),
        ("events_supported", value!(["urn:e:1"])),
        ("events_delivered", value!(["urn:e:1", "urn:e:2"])),
        ("min_verification_interval", value!(1)),
        ("inactivity_timeout", value!(0)),
    ] {
        let breach =
            supplied(&value!({"stream_id": "s1", member: other})).check_against(&current).unwrap_err();
        assert_eq!((breach.member(), breach.rule()), (member, "SSF-105"));
    }
    let mut bare = current;
    bare.events_supported = None;
    bare.inactivity_timeout_seconds = None;
    for member in ["events_supported", "inactivity_timeout"] {
        let body = value!({"stream_id": "s1", member: printed()[member]});
        assert!(supplied(&body).check_against(&bare).is_err(), "{member} is nowhere");
    }
}

#[test]
fn apples_request_for_a_stream() {
    let body = value!({
        "iss": "https://tr.example", "aud": ["https://federation.apple.com/feeds/business/caep/x"], "format": "iss_sub",
        "delivery": {
            "method": "https://schemas.openid.net/secevent/risc/delivery-method/push",
            "endpoint_url": "https://federation.apple.com/feeds/business/caep/x", "authorization_header": "Bearer x"
        },
        "events_requested": ["https://schemas.openid.net/secevent/caep/event-type/session-revoked"]
    });
    let read = CreateStream::read(body.to_string().as_bytes(), LEGACY).unwrap();
    assert_eq!(read.format.as_deref(), Some("iss_sub"));
    assert!(
        read.supplied.aud.as_ref().unwrap().contains("https://federation.apple.com/feeds/business/caep/x")
    );
    assert_eq!(json(&read.to_exposed_json()), body);
    assert_eq!(refused(create(&body)), ("delivery.method".to_owned(), "SSF-90"));
    assert_eq!(create(&value!({"format": "iss_sub", "stream_id": "mine"})).unwrap().format, None);
    assert_eq!(create(&value!({"stream_id": "mine"})).unwrap().supplied.stream_id.as_deref(), Some("mine"));
    let long = value!({"format": "x".repeat(65)}).to_string();
    assert_eq!(refused(CreateStream::read(long.as_bytes(), LEGACY)), ("format".to_owned(), "LEGACY-10"));
}
