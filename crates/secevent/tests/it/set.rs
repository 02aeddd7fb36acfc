//! Reading and writing of SETs: what a token must, may and must not say.

use crate::{error_rule, specs_json, with, without};
use proptest::prelude::*;
use secevent::caep::SessionRevoked;
use secevent::logout::BackchannelLogout;
use secevent::scim::{AsyncResponse, FeedAdd};
use secevent::ssf::{StreamStatus, StreamUpdated, Verification};
use secevent::{
    Audience, Claims, EventType, Fault, Identifier, Invalid, Issuer, Presence, Profile, Set, Strictness,
    Subject, Timestamp,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A SET that every rule of SSF 1.0 is content with.
pub(crate) fn ssf_set() -> Value {
    json!({
        "iss": "https://idp.example.com",
        "jti": "24c63fb56e5a2d77a6b512616ca9fa24",
        "iat": 1_615_305_159,
        "aud": "https://sp.example.com/caep",
        "txn": "8675309",
        "sub_id": {"format": "email", "email": "alice@example.com"},
        "events": {SessionRevoked::URI: {"event_timestamp": 1_615_304_991}},
    })
}

fn scim_set() -> Value {
    json!({
        "iss": "https://scim.example.com",
        "jti": "6164f3bbf6ff41a88dc94f18cb0620e8",
        "iat": 1_458_505_044,
        "aud": ["https://scim.example.com/Feeds/98d5"],
        "txn": "b7b953f11cc6489bbfb87834747cc4c1",
        "sub_id": {"format": "scim", "uri": "/Users/2b2f880a", "externalId": "jdoe"},
        "events": {FeedAdd::URI: {}},
    })
}

fn logout_token() -> Value {
    json!({
        "iss": "https://server.example.com",
        "sub": "248289761001",
        "aud": "s6BhdRkqt3",
        "iat": 1_471_566_154,
        "exp": 1_471_566_274,
        "jti": "bWJq",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {BackchannelLogout::URI: {}},
    })
}

fn read(profile: Profile, claims: &Value) -> Result<Set, Invalid> {
    Set::read(claims.to_string().as_bytes(), profile)
}

/// The claims in a writer's hands.
fn claims(of: &Value) -> Claims {
    Claims::read(of.to_string().as_bytes()).unwrap()
}

// spec: SET-01, SET-35, SSF-01, SSF-28, SUBJ-23
#[test]
fn what_is_written_has_every_claim_of_the_envelope_and_no_other() {
    let mut claims =
        Claims::new("https://idp.example.com", "Zs3x1a", Timestamp::from_millis(1_900_000_000_999));
    claims.aud = Some("https://rp.example.com".into());
    claims.txn = Some("8675309".to_owned());
    claims.toe = Some(Timestamp::from_seconds(1_899_999_990));
    claims.sub_id = Some(Subject::email("alice@example.com").unwrap());
    let set = claims.with_event(&SessionRevoked::default()).unwrap().prove(Profile::Ssf).unwrap();
    let written: Value = serde_json::from_str(set.as_json()).unwrap();
    assert_eq!(
        written,
        json!({
            "iss": "https://idp.example.com",
            "jti": "Zs3x1a",
            "iat": 1_900_000_000,
            "aud": "https://rp.example.com",
            "txn": "8675309",
            "toe": 1_899_999_990,
            "sub_id": {"format": "email", "email": "alice@example.com"},
            "events": {SessionRevoked::URI: {}},
        }),
    );
    let back = Set::read(set.as_json().as_bytes(), Profile::Ssf).unwrap();
    assert_eq!(
        (back.as_json(), back.jti(), back.iat().as_seconds()),
        (set.as_json(), "Zs3x1a", 1_900_000_000)
    );
}

// spec: SET-02, SET-03, SET-05, SET-08, SET-18
#[test]
fn a_known_claim_of_a_wrong_type_is_refused_by_every_profile() {
    let not_text = [json!(1), json!(null), json!(true), json!(["x"]), json!({"x": "y"})];
    let not_time = [
        json!("1615305159"),
        json!(null),
        json!(true),
        json!([1]),
        json!({}),
        json!(1e300),
        json!(-1e300),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1_615_305_159_000_i64),
    ];
    let not_audience = [
        json!(1),
        json!(null),
        json!(true),
        json!({}),
        json!([]),
        json!([1]),
        json!(["a", null]),
        json!([["a"]]),
    ];
    let not_subject = [json!("x"), json!(null), json!(1), json!([]), json!({}), json!({"format": 1})];
    let wrong: [(&str, &str, &[Value]); 10] = [
        ("iss", "SET-02", &not_text),
        ("jti", "SET-05", &not_text),
        ("iat", "SET-03", &not_time),
        ("aud", "SET-08", &not_audience),
        ("txn", "SET-18", &not_text),
        ("toe", "SET-19", &not_time),
        ("exp", "SET-10", &not_time),
        ("sub", "SET-09", &not_text),
        ("sid", "BCL-14", &not_text),
        ("sub_id", "SUBJ-01", &not_subject),
    ];
    for (claim, rule, values) in wrong {
        for value in values {
            let set = with(ssf_set(), claim, value.clone());
            for profile in Profile::ALL {
                let error = read(profile, &set).unwrap_err();
                assert_eq!(error.rule(), rule, "{profile}: {claim} = {value}: {error}");
                assert!(error.member().starts_with(claim), "{error}");
            }
        }
    }
}

// spec: SET-02, SET-03, SET-05, SET-31
#[test]
fn a_set_without_a_claim_that_rfc_8417_requires_is_malformed() {
    for (claim, rule) in [("iss", "SET-02"), ("iat", "SET-03"), ("jti", "SET-04"), ("events", "SET-01")] {
        for (profile, whole) in [
            (Profile::Rfc8417, ssf_set()),
            (Profile::Plain, ssf_set()),
            (Profile::Ssf, ssf_set()),
            (Profile::Scim, scim_set()),
            (Profile::Legacy, ssf_set()),
        ] {
            assert_eq!(error_rule(read(profile, &without(whole, claim))), rule, "{profile} without {claim}");
        }
    }
    for (claim, rule) in [("iss", "SET-02"), ("jti", "SET-05"), ("txn", "SET-18")] {
        for profile in [Profile::Rfc8417, Profile::Plain, Profile::Ssf, Profile::Legacy] {
            assert_eq!(
                error_rule(read(profile, &with(ssf_set(), claim, json!("")))),
                rule,
                "{profile}: empty {claim}"
            );
        }
    }
}

// spec: SET-12, SET-13, SET-14
#[test]
fn events_is_an_object_of_uris_with_objects() {
    let uri = SessionRevoked::URI;
    let wrong = [
        (json!({}), "SET-12"),
        (json!([]), "SET-12"),
        (json!([uri]), "SET-12"),
        (json!("x"), "SET-12"),
        (json!(null), "SET-12"),
        (json!(1), "SET-12"),
        (json!({"not a uri": {}}), "SET-13"),
        (json!({"session-revoked": {}}), "SET-13"),
        (json!({"": {}}), "SET-13"),
        (json!({"https://a.example/ä": {}}), "SET-13"),
        (json!({uri: null}), "SET-14"),
        (json!({uri: true}), "SET-14"),
        (json!({uri: "x"}), "SET-14"),
        (json!({uri: 0}), "SET-14"),
        (json!({uri: []}), "SET-14"),
        (json!({uri: [{}]}), "SET-14"),
        (json!({uri: {}, "https://a.example/e": null}), "SET-14"),
    ];
    for profile in Profile::ALL {
        for (events, rule) in &wrong {
            let refused = read(profile, &with(ssf_set(), "events", events.clone()));
            assert_eq!(error_rule(refused), *rule, "{profile}: {events}");
        }
    }
}

// spec: SET-12, SET-13, SET-14, SET-15
#[test]
fn an_event_is_added_by_a_uri_once_and_with_an_object() {
    let mut claims = claims(&without(ssf_set(), "events"));
    let event = "https://a.example/event";
    for (uri, payload, rule) in [
        ("not a uri", "{}", "SET-13"),
        ("relative/path", "{}", "SET-13"),
        (event, "null", "SET-14"),
        (event, "true", "SET-14"),
        (event, "[]", "SET-14"),
        (event, "\"{}\"", "SET-14"),
        (event, "{\"a\":1,\"a\":2}", "E-33"),
        (event, " {} ", ""),
        (event, "{}", "SET-15"),
    ] {
        let rule_of = claims.events.add_raw(uri, payload).map_or_else(|error| error.rule(), |()| "");
        assert_eq!(rule_of, rule, "{uri} {payload}");
    }
    assert_eq!(claims.events.raw(event), Some("{}"));
    claims.events.add(&SessionRevoked::default()).unwrap();
    assert_eq!(error_rule(claims.events.add(&SessionRevoked::default())), "SET-15");
    assert_eq!((claims.events.len(), claims.events.raw(SessionRevoked::URI)), (2, Some("{}")));
}

// spec: SET-15
#[test]
fn a_member_named_twice_is_refused_wherever_it_stands() {
    let twice = [
        (r#""iss":"https://other.example","#, "iss", "E-33"),
        (r#""jti":"1","#, "jti", "E-33"),
        (r#""\u0069ss":"https://other.example","#, "iss", "E-33"),
        (r#""x":{"y":1,"y":1},"#, "x.y", "E-33"),
        (r#""x":[{},{"y":[{"z":1,"z":2}]}],"#, "x[1].y[0].z", "E-33"),
    ];
    for (text, member, rule) in twice {
        let json = ssf_set().to_string().replacen('{', &format!("{{{text}"), 1);
        for profile in Profile::ALL {
            let error = Set::read(json.as_bytes(), profile).unwrap_err();
            assert_eq!((error.member(), error.rule()), (member, rule), "{profile}: {text}");
        }
    }
    let uri = SessionRevoked::URI;
    let escaped = uri.replace("https", "\\u0068ttps");
    for second in [uri, &escaped] {
        let mut json = without(ssf_set(), "events").to_string();
        json.truncate(json.len() - 1);
        json += &format!(r#","events":{{"{uri}":{{}},"{second}":{{}}}}}}"#);
        let error = Set::read(json.as_bytes(), Profile::Rfc8417).unwrap_err();
        assert_eq!((error.member(), error.rule()), (format!("events.{uri}").as_str(), "SET-15"));
    }
}

// spec: SET-08, SSF-23
#[test]
fn both_forms_of_aud_are_read_and_stay_in_their_form() {
    for (aud, names) in [
        (json!("https://rp.example"), vec!["https://rp.example"]),
        (json!(["https://rp.example"]), vec!["https://rp.example"]),
        (json!(["a", "https://rp.example"]), vec!["a", "https://rp.example"]),
    ] {
        let set = with(ssf_set(), "aud", aud.clone());
        let set = read(Profile::Ssf, &set).unwrap();
        assert_eq!(set.aud().unwrap().iter().collect::<Vec<_>>(), names);
        assert!(set.aud().unwrap().contains("https://rp.example"));
        assert!(!set.aud().unwrap().contains("https://rp.example/"), "names compare as text");
        let written = set.claims().clone().prove(Profile::Ssf).unwrap();
        assert_eq!(serde_json::from_str::<Value>(written.as_json()).unwrap()["aud"], aud);
    }
}

// spec: SET-20
#[test]
fn the_time_of_the_event_is_never_guessed_from_iat() {
    let plain = with(ssf_set(), "events", json!({SessionRevoked::URI: {}}));
    let toe = with(plain.clone(), "toe", json!(1_615_300_000.5));
    for (set, time) in [
        (plain.clone(), None),
        (ssf_set(), Some(1_615_304_991_000)),
        (toe, Some(1_615_300_000_500)),
        (with(ssf_set(), "toe", json!(1_615_300_000)), Some(1_615_300_000_000)),
        (with(plain, "events", json!({SessionRevoked::URI: {"event_timestamp": "yesterday"}})), None),
    ] {
        assert_eq!(read(Profile::Ssf, &set).unwrap().event_time().map(Timestamp::as_millis), time, "{set}");
    }
}

// spec: SET-19
#[test]
fn toe_is_written_as_a_number_that_is_not_later_than_iat() {
    let mut claims = claims(&ssf_set());
    claims.toe = Some(Timestamp::from_seconds(1_615_305_159));
    let written: Value = serde_json::from_str(claims.clone().prove(Profile::Ssf).unwrap().as_json()).unwrap();
    assert_eq!(written["toe"], json!(1_615_305_159));
    claims.toe = Some(Timestamp::from_seconds(1_615_305_160));
    assert_eq!(error_rule(claims.prove(Profile::Ssf)), "SET-19");
}

// spec: SET-33, SSF-30, SSF-31, SSF-04, BCL-16
#[test]
fn what_is_not_understood_changes_nothing_and_is_kept_byte_for_byte() {
    let text = r#" {
        "iss":"https://idp.example.com", "jti":"1", "iat":1615305159.250, "aud":["rp"], "txn" : "8675309",
        "https://example.com/claim" : { "b" : 1.0e+2 , "a":"\u00e9\/" , "n":12345678901234567890123 },
        "nbf":"not a time",
        "sub_id":{"x":{"y":[1]},"format":"email","email":"alice@example.com"},
        "events":{ "https:\/\/schemas.openid.net/secevent/caep/event-type/session-revoked":{ "zone" : [ 1.0 ] ,
            "initiating_entity":"admin" }, "urn:x:y":{"z":1E2 } } }"#;
    let set = Set::read(text.as_bytes(), Profile::Rfc8417).unwrap();
    assert_eq!(set.as_json(), text);
    let other = |name: &str| set.claims().other[name].get();
    assert_eq!(
        other("https://example.com/claim"),
        r#"{ "b" : 1.0e+2 , "a":"\u00e9\/" , "n":12345678901234567890123 }"#,
    );
    assert_eq!(other("nbf"), "\"not a time\"");
    assert_eq!(set.claims().other.len(), 2);
    assert_eq!(set.events().raw("urn:x:y"), Some("{\"z\":1E2 }"));
    let revoked = set.events().get::<SessionRevoked>().unwrap().unwrap();
    assert!(revoked.initiating_entity.is_some());
    assert_eq!(set.subject().unwrap().into_owned(), Subject::email("alice@example.com").unwrap());

    // The same in each profile, and through a rewriting of the claims.
    for (profile, set) in
        [(Profile::Ssf, ssf_set()), (Profile::Scim, scim_set()), (Profile::Logout, logout_token())]
    {
        let set = with(with(set, "x", json!({"y": [1, {"z": null}]})), "azp", json!(7));
        let set = read(profile, &set).unwrap();
        let written = serde_json::to_value(set.claims()).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(set.as_json()).unwrap());
    }
}

// spec: SSF-31, SSF-16
#[test]
fn members_added_at_every_level_leave_the_outcome_as_it_is() {
    let complex = json!({
        "format": "complex",
        "user": {"format": "email", "email": "alice@example.com"},
        "tenant": {"format": "opaque", "id": "t-1"},
    });
    let plain = read(Profile::Ssf, &with(ssf_set(), "sub_id", complex.clone())).unwrap();
    let mut more = with(ssf_set(), "sub_id", complex);
    more["x"] = json!(1);
    more["sub_id"]["x"] = json!(1);
    more["sub_id"]["note"] = json!("not an identifier");
    more["sub_id"]["user"]["x"] = json!([1]);
    more["events"][SessionRevoked::URI]["x"] = json!({"y": 1});
    let more = read(Profile::Ssf, &more).unwrap();
    assert_eq!(more.subject(), plain.subject());
    assert_eq!(
        more.events().get::<SessionRevoked>().unwrap(),
        plain.events().get::<SessionRevoked>().unwrap()
    );
}

// spec: JWTBCP-19
#[test]
fn a_token_is_read_up_to_64_kib_and_16_levels_and_no_further() {
    let padded = |bytes: usize| {
        let empty = with(ssf_set(), "pad", json!("")).to_string().len();
        with(ssf_set(), "pad", json!("x".repeat(bytes - empty))).to_string()
    };
    assert_eq!(padded(64 * 1024).len(), 64 * 1024);
    assert!(Set::read(padded(64 * 1024).as_bytes(), Profile::Ssf).is_ok());
    assert_eq!(error_rule(Set::read(padded(64 * 1024 + 1).as_bytes(), Profile::Ssf)), "JWTBCP-19");

    let nested = |levels: usize, open: &str, close: &str| {
        let json = with(ssf_set(), "deep", json!("DEEP")).to_string();
        json.replace("\"DEEP\"", &format!("{}1{}", open.repeat(levels - 1), close.repeat(levels - 1)))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(Set::read(nested(16, open, close).as_bytes(), Profile::Ssf).is_ok());
        assert_eq!(error_rule(Set::read(nested(17, open, close).as_bytes(), Profile::Ssf)), "JWTBCP-19");
        assert_eq!(error_rule(Set::read(nested(9_000, open, close).as_bytes(), Profile::Ssf)), "JWTBCP-19");
    }
}

#[test]
fn what_is_written_is_never_more_than_a_reader_takes() {
    let event = "https://a.example/event";
    let mut long = claims(&without(ssf_set(), "events"));
    long.events.add_raw(event, &json!({"pad": "x".repeat(65_000)}).to_string()).unwrap();
    long.txn = Some("x".repeat(1_000));
    assert_eq!(error_rule(long.prove(Profile::Ssf)), "JWTBCP-19");

    let mut deep = claims(&without(ssf_set(), "events"));
    deep.events.add_raw(event, &format!("{{\"a\":{}{}}}", "[".repeat(15), "]".repeat(15))).unwrap();
    assert_eq!(error_rule(deep.prove(Profile::Ssf)), "JWTBCP-19");

    let mut twice = claims(&ssf_set());
    twice.other.insert("x".to_owned(), RawValue::from_string(r#"{"a":1,"a":2}"#.to_owned()).unwrap());
    assert_eq!(error_rule(twice.prove(Profile::Ssf)), "E-33");
}

// spec: JWTBCP-09
#[test]
fn claims_are_json_in_utf_8_and_nothing_else() {
    let good = ssf_set().to_string();
    let utf_16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut utf_16_marked = vec![0xff, 0xfe];
    utf_16_marked.extend(&utf_16);
    let mut utf_8_marked = vec![0xef, 0xbb, 0xbf];
    utf_8_marked.extend(good.as_bytes());
    let in_latin_1 = good.replace("8675309", "caf").into_bytes();
    let in_latin_1: Vec<u8> = in_latin_1
        .iter()
        .flat_map(|byte| if *byte == b'f' { vec![b'f', 0xe9] } else { vec![*byte] })
        .collect();
    for bytes in [utf_16, utf_16_marked, utf_8_marked, in_latin_1] {
        assert!(Set::read(&bytes, Profile::Ssf).is_err());
    }
    for bad in [
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800x""#,
        r#"{"\ud800":1}"#,
        "\"\u{1}\"",
        "'x'",
        "NaN",
        "01",
        "+1",
        "1.",
        "[1,]",
        "{,}",
        "tru",
    ] {
        let json = with(ssf_set(), "x", json!("BAD")).to_string().replace("\"BAD\"", bad);
        assert!(Set::read(json.as_bytes(), Profile::Rfc8417).is_err(), "{bad}");
    }
    for whole in ["", " ", "null", "1", "\"x\"", "[]", "[{}]"] {
        assert!(Set::read(whole.as_bytes(), Profile::Rfc8417).is_err(), "{whole}");
    }
    for after in ["{}", "x", ",", "\0"] {
        assert!(Set::read(format!("{good}{after}").as_bytes(), Profile::Rfc8417).is_err(), "{after}");
    }
    assert!(Set::read(format!("\r\n\t {good} \n").as_bytes(), Profile::Ssf).is_ok());
    let paired = with(ssf_set(), "x", json!("PAIR")).to_string().replace("PAIR", r"\ud83d\ude00");
    assert!(Set::read(paired.as_bytes(), Profile::Ssf).is_ok());
}

// spec: SET-41
#[test]
fn urls_are_percent_encoded() {
    let uri = |uri: &str| with(ssf_set(), "sub_id", json!({"format": "uri", "uri": uri}));
    for (text, fine) in [
        ("https://example.com/a%20b", true),
        ("https://example.com/a b", false),
        ("https://example.com/ä", false),
        ("https://example.com/a%2", false),
    ] {
        assert_eq!(read(Profile::Ssf, &uri(text)).is_ok(), fine, "{text}");
        let event = with(ssf_set(), "events", json!({text: {}}));
        assert_eq!(read(Profile::Ssf, &event).is_ok(), fine, "{text}");
        assert_eq!(text.parse::<Issuer>().is_ok(), fine, "{text}");
    }
}

/// What events.json says of the envelope, family by family.
fn envelope(family: &str) -> Value {
    specs_json("events.json")["envelope"][family].clone()
}

#[test]
fn the_profile_table_says_what_the_catalogue_says() {
    for (family, profile, whole) in [
        ("ssf,caep,risc", Profile::Ssf, ssf_set()),
        ("scim", Profile::Scim, scim_set()),
        ("oidc-logout", Profile::Logout, logout_token()),
    ] {
        assert!(read(profile, &whole).is_ok() && claims(&whole).prove(profile).is_ok(), "{profile}");
        let envelope = envelope(family);
        let names = |kind: &str| -> Vec<String> {
            serde_json::from_value(envelope.get(kind).cloned().unwrap_or_else(|| json!([]))).unwrap()
        };
        for claim in names("required") {
            assert!(matches!(profile.presence(&claim), Presence::Must(_)), "{profile}: {claim}");
            let less = without(whole.clone(), &claim);
            assert!(read(profile, &less).is_err(), "{profile} reads without {claim}");
            assert!(claims(&less).prove(profile).is_err(), "{profile} writes without {claim}");
        }
        for claim in names("should") {
            assert!(matches!(profile.presence(&claim), Presence::Should(_)), "{profile}: {claim}");
            let less = without(whole.clone(), &claim);
            assert!(
                read(profile, &less).is_ok() && claims(&less).prove(profile).is_ok(),
                "{profile}: {claim}"
            );
        }
        for claim in names("forbidden") {
            assert!(matches!(profile.presence(&claim), Presence::MustNot(_)), "{profile}: {claim}");
            let value = if claim == "exp" { json!(1_615_305_160) } else { json!("x") };
            let more = with(whole.clone(), &claim, value);
            assert!(read(profile, &more).is_err(), "{profile} reads {claim}");
            assert!(claims(&more).prove(profile).is_err(), "{profile} writes {claim}");
        }
        for claim in names("optional") {
            assert_eq!(profile.presence(&claim), Presence::May, "{profile}: {claim}");
        }
        let typ = envelope["header"]["typ"].as_str().unwrap();
        assert_eq!(typ.split(' ').next(), Some(profile.typ()));
    }
    assert_eq!(envelope("oidc-logout")["one_of"], json!(["sub", "sid"]));
    assert!(Profile::claims().all(|claim| Profile::ALL.iter().all(|profile| {
        matches!(profile.presence(claim), Presence::May) || rule_of(profile.presence(claim)).contains('-')
    })));
    assert_eq!(Profile::Ssf.presence("https://example.com/claim"), Presence::May);
}

fn rule_of(presence: Presence) -> &'static str {
    match presence {
        Presence::Must(rule)
        | Presence::Should(rule)
        | Presence::ShouldNot(rule)
        | Presence::MustNot(rule) => rule,
        Presence::May => "",
    }
}

// spec: SET-23, SSF-18
#[test]
fn typ_compares_as_a_media_type() {
    let sets = [Profile::Rfc8417, Profile::Plain, Profile::Ssf, Profile::Scim, Profile::Legacy];
    for profile in sets {
        for typ in ["secevent+jwt", "SECEVENT+JWT", "application/secevent+jwt", "Application/SecEvent+JWT"] {
            assert!(profile.accepts_typ(Some(typ)), "{profile}: {typ}");
        }
        for typ in
            ["", "at+jwt", "logout+jwt", "secevent", "text/secevent+jwt", "secevent+jwt; charset=utf-8"]
        {
            assert!(!profile.accepts_typ(Some(typ)), "{profile}: {typ}");
        }
        assert_eq!(profile.typ(), "secevent+jwt");
    }
    for profile in [Profile::Plain, Profile::Ssf, Profile::Scim] {
        assert!(!profile.accepts_typ(None) && !profile.accepts_typ(Some("JWT")), "{profile}");
    }
}

// spec: BCL-20
#[test]
fn a_logout_token_may_be_untyped_and_may_not_be_of_another_type() {
    for typ in [None, Some("JWT"), Some("jwt"), Some("logout+jwt"), Some("application/logout+jwt")] {
        assert!(Profile::Logout.accepts_typ(typ), "{typ:?}");
    }
    for typ in ["secevent+jwt", "at+jwt", "application/secevent+jwt", ""] {
        assert!(!Profile::Logout.accepts_typ(Some(typ)), "{typ}");
    }
    assert_eq!(Profile::Logout.typ(), "logout+jwt");
}

// spec: JWTBCP-18, BCL-46, BCL-47, SET-31
#[test]
fn no_kind_of_jwt_passes_for_another() {
    let id_token = json!({
        "iss": "https://server.example.com", "sub": "248289761001", "aud": "s6BhdRkqt3", "nonce": "n-0S6",
        "iat": 1_471_566_154, "exp": 1_471_569_754, "jti": "1", "sid": "08a5019c",
    });
    let access_token = json!({
        "iss": "https://server.example.com", "sub": "248289761001", "aud": "https://api.example.com",
        "iat": 1_471_566_154, "exp": 1_471_569_754, "jti": "2", "client_id": "s6BhdRkqt3", "scope": "ssf.read",
    });
    let strict = [Profile::Plain, Profile::Ssf, Profile::Scim, Profile::Logout];
    let accepted = |token: &Value, typ: Option<&str>, of: &[Profile]| -> Vec<Profile> {
        let reads = |profile: &Profile| profile.accepts_typ(typ) && read(*profile, token).is_ok();
        of.iter().copied().filter(reads).collect()
    };
    assert_eq!(accepted(&id_token, Some("JWT"), &Profile::ALL), []);
    assert_eq!(accepted(&id_token, None, &Profile::ALL), []);
    assert_eq!(accepted(&access_token, Some("at+jwt"), &Profile::ALL), []);
    assert_eq!(accepted(&access_token, None, &Profile::ALL), []);
    assert_eq!(accepted(&logout_token(), Some("logout+jwt"), &strict), [Profile::Logout]);
    assert_eq!(accepted(&logout_token(), Some("secevent+jwt"), &strict), []);
    assert_eq!(accepted(&ssf_set(), Some("secevent+jwt"), &strict), [Profile::Plain, Profile::Ssf]);
    assert_eq!(accepted(&ssf_set(), None, &strict), []);
    assert_eq!(accepted(&scim_set(), Some("secevent+jwt"), &strict), strict[..3]);
    // Without the header's help the claims alone tell them apart.
    for profile in strict {
        assert_eq!(read(profile, &logout_token()).is_ok(), profile == Profile::Logout, "{profile}");
    }
    assert!(read(Profile::Logout, &ssf_set()).is_err());
    assert!(read(Profile::Logout, &scim_set()).is_err());
}

// spec: SET-11, JWTBCP-12, JWTBCP-13
#[test]
fn a_plain_set_can_never_be_taken_for_an_id_token() {
    let set = with(ssf_set(), "sub", json!("alice"));
    assert!(read(Profile::Plain, &set).is_ok() && claims(&set).prove(Profile::Plain).is_ok());
    for (claim, value) in [("exp", json!(1_615_305_160)), ("nonce", json!("n-0S6"))] {
        let more = with(set.clone(), claim, value);
        assert_eq!(error_rule(read(Profile::Plain, &more)), "SET-11");
        assert_eq!(error_rule(claims(&more).prove(Profile::Plain)), "SET-11");
    }
    let less = without(set, "aud");
    assert_eq!(error_rule(read(Profile::Plain, &less)), "JWTBCP-12");
    assert_eq!(error_rule(claims(&less).prove(Profile::Plain)), "JWTBCP-12");
}

// spec: SET-09, SET-10
#[test]
fn rfc_8417_alone_forbids_neither_sub_nor_exp_nor_several_events() {
    let set = with(
        with(without(without(ssf_set(), "sub_id"), "aud"), "sub", json!("alice")),
        "exp",
        json!(2_000_000_000),
    );
    let set = with(set, "events", json!({SessionRevoked::URI: {}, "https://a.example/event": {}}));
    assert_eq!(read(Profile::Rfc8417, &set).unwrap().events().len(), 2);
    assert!(matches!(Profile::Rfc8417.presence("exp"), Presence::ShouldNot("SET-10")));
}

// spec: SSF-01, SSF-19, SSF-20, SSF-29, INTEROP-28
#[test]
fn an_ssf_set_has_sub_id_and_one_event_and_neither_sub_nor_exp() {
    let two = json!({SessionRevoked::URI: {}, StreamUpdated::URI: {"status": "paused"}});
    for (set, rule) in [
        (without(ssf_set(), "sub_id"), "SSF-01"),
        (with(without(ssf_set(), "sub_id"), "sub", json!("alice")), "SSF-01"),
        (with(ssf_set(), "sub", json!("alice")), "SSF-19"),
        (with(ssf_set(), "exp", json!(1_615_305_160)), "SSF-20"),
        (without(ssf_set(), "aud"), "SSF-75"),
        (with(ssf_set(), "events", two), "SSF-29"),
    ] {
        assert_eq!(error_rule(read(Profile::Ssf, &set)), rule, "{set}");
        assert_eq!(error_rule(claims(&set).prove(Profile::Ssf)), rule, "{set}");
    }
}

// spec: SSF-02
#[test]
fn old_event_types_may_repeat_the_subject_for_old_peers() {
    let subject = ssf_set()["sub_id"].clone();
    let set = with(ssf_set(), "events", json!({SessionRevoked::URI: {"subject": subject}}));
    assert!(read(Profile::Ssf, &set).is_ok());
    assert!(claims(&set).prove(Profile::Ssf).is_ok());
    assert_eq!(error_rule(read(Profile::Ssf, &without(set, "sub_id"))), "SSF-01");
}

// spec: SSF-03, SSF-153, SSF-166
#[test]
fn events_that_came_with_ssf_have_no_subject_of_their_own() {
    let stream = with(ssf_set(), "sub_id", json!({"format": "opaque", "id": "f67e39a0"}));
    let claims = claims(&without(stream, "events"));
    let verification = Verification { state: Some("VGhpcyBpcyBhbiBleGFtcGxl".to_owned()) };
    let set = claims.clone().with_event(&verification).unwrap().prove(Profile::Ssf).unwrap();
    let uri = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    assert_eq!(set.events().raw(uri), Some(r#"{"state":"VGhpcyBpcyBhbiBleGFtcGxl"}"#));
    let updated = StreamUpdated::new(StreamStatus::Paused);
    let set = claims.with_event(&updated).unwrap().prove(Profile::Ssf).unwrap();
    let uri = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
    assert_eq!(set.events().raw(uri), Some(r#"{"status":"paused"}"#));
}

/// One slip of a writer, and the requirement that catches it.
type Slip = (&'static str, fn(&mut Claims));

fn slips_are_refused(profile: Profile, whole: &Value, slips: &[Slip]) {
    claims(whole).prove(profile).unwrap();
    for (place, (rule, slip)) in slips.iter().enumerate() {
        let mut claims = claims(whole);
        slip(&mut claims);
        assert_eq!(error_rule(claims.prove(profile)), *rule, "{profile}: slip {place}");
    }
}

fn other(claims: &mut Claims, name: &str, json: &str) {
    claims.other.insert(name.to_owned(), RawValue::from_string(json.to_owned()).unwrap());
}

#[test]
fn slips_in_an_ssf_set_are_not_written() {
    slips_are_refused(
        Profile::Ssf,
        &ssf_set(),
        &[
            ("SET-02", |c| c.iss = None),
            ("SET-02", |c| c.iss = Some(String::new())),
            ("SSF-74", |c| c.iss = Some("idp.example.com".to_owned())),
            ("SSF-74", |c| c.iss = Some("http://idp.example.com".to_owned())),
            ("SSF-74", |c| c.iss = Some("https://idp.example.com?x=1".to_owned())),
            ("SSF-74", |c| c.iss = Some("https://idp.example.com/#x".to_owned())),
            ("SSF-74", |c| c.iss = Some("http://127.0.0.1.evil.example".to_owned())),
            ("SSF-74", |c| c.iss = Some("http://localhost.evil.example".to_owned())),
            ("SSF-74", |c| c.iss = Some("http://localhost@evil.example".to_owned())),
            ("SSF-74", |c| c.iss = Some("http://localhost/?x=1".to_owned())),
            ("SET-03", |c| c.iat = None),
            ("SET-04", |c| c.jti = None),
            ("SET-05", |c| c.jti = Some(String::new())),
            ("SSF-75", |c| c.aud = None),
            ("SET-08", |c| c.aud = Some(Audience::Many(Vec::new()))),
            ("SET-08", |c| c.aud = Some("".into())),
            ("SET-08", |c| c.aud = Some(Audience::Many(vec!["rp".to_owned(), String::new()]))),
            ("SET-01", |c| c.events = secevent::Events::default()),
            ("SSF-01", |c| c.sub_id = None),
            ("SSF-19", |c| c.sub = Some("alice".to_owned())),
            ("SSF-20", |c| c.exp = Some(Timestamp::from_seconds(1_615_305_160))),
            ("SET-18", |c| c.txn = Some(String::new())),
            ("SET-19", |c| c.toe = Some(Timestamp::from_seconds(1_615_305_160))),
            ("SET-19", |c| c.toe = Some(Timestamp::from_micros(i64::MIN))),
            ("SET-03", |c| c.iat = Some(Timestamp::from_micros(i64::MAX))),
            ("SSF-29", |c| c.events.add_raw("https://a.example/event", "{}").unwrap()),
            // A claim has one place; the map for the others is no way round the profile.
            ("E-33", |c| other(c, "iss", "\"https://other.example\"")),
            ("E-33", |c| other(c, "sub", "\"alice\"")),
            ("E-33", |c| other(c, "exp", "1615305160")),
            ("E-33", |c| other(c, "events", "{}")),
            ("CAEP-04", |c| {
                c.events = secevent::Events::default();
                c.events.add_raw(SessionRevoked::URI, r#"{"initiating_entity":"idp"}"#).unwrap();
            }),
        ],
    );
    for iss in ["http://127.0.0.1:8080", "http://localhost", "http://localhost:8080/t", "http://[::1]:8080"] {
        let mut claims = claims(&ssf_set());
        claims.iss = Some(iss.to_owned());
        assert!(claims.prove(Profile::Ssf).is_ok(), "{iss}: development on loopback");
    }
}

// spec: SCIM-01, SCIM-03, SCIM-04, SCIM-05, SCIM-10
#[test]
fn slips_in_a_scim_set_are_not_written() {
    slips_are_refused(
        Profile::Scim,
        &scim_set(),
        &[
            ("SCIM-03", |c| c.sub_id = None),
            ("SCIM-04", |c| c.sub = Some("/Users/2b2f880a".to_owned())),
            ("SCIM-05", |c| c.sub_id = Some(Subject::email("jdoe@example.com").unwrap())),
            ("SCIM-05", |c| {
                c.sub_id = Some(Subject::complex([("user", Identifier::scim("/Users/1").unwrap())]).unwrap());
            }),
            ("SCIM-01", |c| c.events.add_raw("urn:ietf:params:scim:event:sig:authMethod", "{}").unwrap()),
            ("SCIM-01", |c| c.events.add_raw("urn:ietf:params:SCIM:event:feed:remove", "{}").unwrap()),
            ("SCIM-01", |c| c.events.add_raw("https://a.example/event", "{}").unwrap()),
            ("SCIM-10", |c| {
                c.txn = None;
                c.events.add_raw(AsyncResponse::URI, r#"{"method":"PUT","status":"200"}"#).unwrap();
            }),
            ("SCIM-03", |c| {
                c.events = secevent::Events::default();
                c.events.add_raw(FeedAdd::URI, r#"{"sub_id":{"format":"scim","uri":"/Users/1"}}"#).unwrap();
            }),
        ],
    );
}

// spec: SCIM-14
#[test]
fn a_scim_event_is_full_or_a_notice() {
    let resource = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"jdoe"}"#;
    let patch = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[]}"#;
    for kind in ["create", "patch", "put"] {
        let body = if kind == "patch" { patch } else { resource };
        let (data, names) = (format!("\"data\":{body}"), "\"attributes\":[\"userName\"]");
        for (mode, payload, fine) in [
            ("full", format!("{{{data}}}"), true),
            ("notice", format!("{{{names}}}"), true),
            ("full", format!("{{{names}}}"), false),
            ("notice", format!("{{{data}}}"), false),
            ("full", format!("{{{data},{names}}}"), false),
            ("notice", format!("{{{data},{names}}}"), false),
            ("full", "{}".to_owned(), false),
            ("notice", "{}".to_owned(), false),
        ] {
            let mut claims = claims(&without(scim_set(), "events"));
            let uri = format!("urn:ietf:params:scim:event:prov:{kind}:{mode}");
            claims.events.add_raw(&uri, &payload).unwrap();
            assert_eq!(claims.prove(Profile::Scim).is_ok(), fine, "{uri} {payload}");
        }
    }
}

// spec: SCIM-02, SCIM-07, SCIM-09
#[test]
fn a_scim_set_may_tell_several_sides_of_one_change() {
    let mut set = scim_set();
    set["sub_id"]["userName"] = json!("jdoe");
    set["sub_id"]["id"] = json!("2b2f880a");
    set["events"]["urn:ietf:params:scim:event:prov:create:full"] = json!({"data": {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "2b2f880a", "userName": "jdoe"}});
    let written = claims(&set).prove(Profile::Scim).unwrap();
    assert_eq!(serde_json::from_str::<Value>(written.as_json()).unwrap(), set);
    let old = with(scim_set(), "events", json!({"urn:ietf:params:SCIM:event:feed:add": {}}));
    assert!(read(Profile::Scim, &old).unwrap().events().get::<FeedAdd>().unwrap().is_some());
}

// spec: BCL-08, BCL-09, BCL-11, BCL-15, BCL-45
#[test]
fn slips_in_a_logout_token_are_not_written() {
    slips_are_refused(
        Profile::Logout,
        &logout_token(),
        &[
            ("BCL-08", |c| c.iss = None),
            ("BCL-08", |c| c.aud = None),
            ("BCL-08", |c| c.iat = None),
            ("BCL-08", |c| c.exp = None),
            ("BCL-08", |c| c.jti = None),
            ("BCL-08", |c| c.events = secevent::Events::default()),
            ("BCL-09", |c| {
                c.events = secevent::Events::default();
                c.events.add_raw("https://schemas.openid.net/event/backchannel-logout", "{}").unwrap();
            }),
            ("BCL-11", |c| (c.sub, c.sid) = (None, None)),
            ("BCL-11", |c| (c.sub, c.sid) = (Some(String::new()), None)),
            ("BCL-15", |c| other(c, "nonce", "\"n-0S6\"")),
            ("BCL-45", |c| c.exp = Some(Timestamp::from_seconds(1_471_566_275))),
        ],
    );
}

// spec: BCL-08
#[test]
fn a_logout_token_without_a_required_claim_is_refused() {
    for claim in ["iss", "aud", "iat", "exp", "jti", "events"] {
        assert_eq!(error_rule(read(Profile::Logout, &without(logout_token(), claim))), "BCL-08", "{claim}");
    }
}

// spec: BCL-09, BCL-10, BCL-31
#[test]
fn a_logout_token_has_the_logout_event_with_an_object() {
    for (events, rule) in [
        (json!({"https://schemas.openid.net/event/backchannel-logout": {}}), "BCL-09"),
        (json!({SessionRevoked::URI: {}}), "BCL-09"),
        (json!({BackchannelLogout::URI: []}), "SET-14"),
        (json!({BackchannelLogout::URI: true}), "SET-14"),
        (json!([BackchannelLogout::URI]), "SET-12"),
    ] {
        assert_eq!(
            error_rule(read(Profile::Logout, &with(logout_token(), "events", events.clone()))),
            rule,
            "{events}"
        );
    }
    for payload in [json!({}), json!({"x": 1})] {
        let token = with(logout_token(), "events", json!({BackchannelLogout::URI: payload}));
        assert!(
            read(Profile::Logout, &token).unwrap().events().get::<BackchannelLogout>().unwrap().is_some()
        );
    }
}

// spec: BCL-11, BCL-15, BCL-30, BCL-32
#[test]
fn a_logout_token_names_somebody_and_has_no_nonce() {
    let neither = without(without(logout_token(), "sub"), "sid");
    for (token, rule) in [
        (neither.clone(), "BCL-11"),
        (with(neither.clone(), "sub", json!("")), "BCL-11"),
        (with(neither, "sid", json!("")), "BCL-11"),
        (with(logout_token(), "nonce", json!("n-0S6")), "BCL-15"),
        (with(logout_token(), "nonce", json!(null)), "BCL-15"),
    ] {
        assert_eq!(error_rule(read(Profile::Logout, &token)), rule, "{token}");
    }
    for token in [
        without(logout_token(), "sub"),
        without(logout_token(), "sid"),
        with(logout_token(), "exp", json!(1_471_569_754)),
    ] {
        assert!(read(Profile::Logout, &token).is_ok(), "{token}");
    }
}

// spec: BCL-12, BCL-13
#[test]
fn a_logout_token_names_a_session_or_all_of_a_subject() {
    let session = read(Profile::Logout, &without(logout_token(), "sub")).unwrap();
    assert_eq!((session.claims().sid.as_deref(), session.subject()), (logout_token()["sid"].as_str(), None));
    let all = read(Profile::Logout, &without(logout_token(), "sid")).unwrap();
    let subject = Subject::iss_sub("https://server.example.com", "248289761001").unwrap();
    assert_eq!((all.claims().sid.as_deref(), all.subject().as_deref()), (None, Some(&subject)));
}

// spec: LEGACY-27
#[test]
fn a_legacy_set_is_read_where_a_peer_is_legacy_and_never_written() {
    let old = json!({
        "iss": "https://idp.example.com/", "jti": "7", "iat": 1_508_184_845, "aud": "636C",
        "events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {
            "subject": {"subject_type": "iss-sub", "iss": "https://idp.example.com/", "sub": "7375"},
            "reason": "hijacking", "cause-time": 1_508_012_752,
        }},
    });
    let subject = Subject::iss_sub("https://idp.example.com/", "7375").unwrap();
    assert_eq!(read(Profile::Legacy, &old).unwrap().subject().as_deref(), Some(&subject));
    assert_eq!(error_rule(read(Profile::Ssf, &old)), "SSF-01");
    assert_eq!(error_rule(claims(&old).prove(Profile::Legacy)), "LEGACY-27");
    assert_eq!(error_rule(claims(&ssf_set()).prove(Profile::Legacy)), "LEGACY-27");
}

#[test]
fn a_check_forgives_what_a_reader_may_forgive() {
    let late = claims(&with(ssf_set(), "toe", json!(1_615_305_160)));
    assert!(Profile::Ssf.check(&late, Strictness::Lenient).is_ok());
    assert_eq!(error_rule(Profile::Ssf.check(&late, Strictness::Strict)), "SET-19");
    let far = claims(&with(logout_token(), "exp", json!(1_471_569_754)));
    assert!(Profile::Logout.check(&far, Strictness::Lenient).is_ok());
    assert_eq!(error_rule(Profile::Logout.check(&far, Strictness::Strict)), "BCL-45");
}

// spec: SSF-176
#[test]
fn the_reasons_for_a_refusal_are_the_registered_ones() {
    let codes: Vec<&str> = Fault::ALL.iter().map(|fault| fault.code()).collect();
    let registered = [
        "invalid_request",
        "invalid_key",
        "invalid_issuer",
        "invalid_audience",
        "authentication_failed",
        "access_denied",
        "invalid_state",
    ];
    assert_eq!(codes, registered);
    assert!(Fault::ALL.iter().all(|fault| fault.code().parse() == Ok(*fault)));
    assert!("jwtParse".parse::<Fault>().is_err() && "INVALID_STATE".parse::<Fault>().is_err());
}

#[test]
fn profiles_have_names() {
    for profile in Profile::ALL {
        assert_eq!(profile.name().parse(), Ok(profile));
        assert_eq!(profile.to_string(), profile.name());
    }
    assert!("SSF".parse::<Profile>().is_err());
}

/// JSON as anybody may send it.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("https://idp.example.com")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for profile in Profile::ALL {
            prop_assert!(Set::read(&bytes, profile).is_err());
        }
    }

    #[test]
    fn any_value_of_a_claim_is_read_or_refused(
        claim in prop::sample::select(vec!["iss", "jti", "iat", "aud", "txn", "toe", "sub_id", "sub", "sid", "exp", "events", "x"]),
        value in any_json(),
    ) {
        let set = with(ssf_set(), claim, value);
        for profile in Profile::ALL {
            let text = set.to_string();
            if let Ok(read) = Set::read(text.as_bytes(), profile) {
                prop_assert_eq!(read.as_json(), text.as_str());
                let _ = (read.subject(), read.event_time(), read.events().get::<SessionRevoked>());
            }
        }
    }

    #[test]
    fn what_is_proved_is_read(
        iss in prop_oneof![Just("https://idp.example.com".to_owned()), ".{0,20}"],
        jti in ".{0,20}",
        // After 2041 a double has no room for microseconds.
        iat in (0..1_i64 << 51).prop_map(Timestamp::from_micros),
        aud in prop::collection::vec(".{0,6}", 0..3),
        toe in prop::option::of((0..1_i64 << 51).prop_map(Timestamp::from_micros)),
        name in "[a-z]{1,3}",
        value in any_json(),
        profile in prop::sample::select(vec![Profile::Rfc8417, Profile::Plain, Profile::Ssf]),
    ) {
        let mut claims = claims(&ssf_set());
        (claims.iss, claims.jti, claims.iat, claims.toe) = (Some(iss), Some(jti), Some(iat), toe);
        claims.aud = Some(Audience::Many(aud));
        claims.other.insert(name, serde_json::value::to_raw_value(&value).unwrap());
        if let Ok(set) = claims.prove(profile) {
            let read = Set::read(set.as_json().as_bytes(), profile).unwrap();
            prop_assert_eq!(read.as_json(), set.as_json());
            prop_assert_eq!(
                serde_json::to_value(read.claims()).unwrap(),
                serde_json::to_value(set.claims()).unwrap()
            );
        }
    }
}
