//! Subject identifiers: their formats, how they match, their keys and lanes, and the shapes they once had.

use crate::{error_rule, specs_json, with, without};
use proptest::prelude::*;
use secevent::{Complex, Identifier, Invalid, Profile, SCOPE_MEMBERS, Set, Strictness, Subject};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const BOTH: [Strictness; 2] = [Strictness::Lenient, Strictness::Strict];

/// One good identifier of every format of subjects.json, and the requirement that describes the format.
fn samples() -> [(&'static str, Value); 15] {
    [
        ("SUBJ-08", json!({"format": "account", "uri": "acct:example.user@service.example.com"})),
        ("SUBJ-09", json!({"format": "email", "email": "user@example.com"})),
        ("SUBJ-12", json!({"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"})),
        ("SUBJ-13", json!({"format": "opaque", "id": "11112222333344445555"})),
        ("SUBJ-14", json!({"format": "phone_number", "phone_number": "+12065550100"})),
        ("SUBJ-16", json!({"format": "did", "url": "did:example:123456/did/url/path?versionId=1"})),
        ("SUBJ-17", json!({"format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"})),
        ("SUBJ-18", json!({"format": "aliases", "identifiers": [{"format": "opaque", "id": "1"}]})),
        (
            "SSF-13",
            json!({"format": "jwt_id", "iss": "https://idp.example.com/123456789/", "jti": "B70BA622"}),
        ),
        (
            "SSF-14",
            json!({"format": "saml_assertion_id", "issuer": "https://idp.example.com", "assertion_id": "_8e8d"}),
        ),
        (
            "SSF-15",
            json!({"format": "ip-addresses", "ip-addresses": ["10.29.37.75", "2001:0db8:0000:0000:0000:8a2e:0370:7334"]}),
        ),
        ("SSF-07", json!({"format": "complex", "user": {"format": "opaque", "id": "u"}})),
        ("SCIM-06", json!({"format": "scim", "uri": "/Users/2b2f880af6674ac284bae9381673d462"})),
        (
            "OAUTH-03",
            json!({"format": "oauth_token", "token_type": "refresh_token", "token_identifier_alg": "prefix", "token": "1/"}),
        ),
        ("OAUTH-06", json!({"format": "oauth_client", "client_id": "s6BhdRkqt3"})),
    ]
}

fn subject(value: &Value) -> Subject {
    Subject::from_value(value.clone(), Strictness::Lenient).unwrap()
}

fn both(value: &Value) -> [Result<Subject, Invalid>; 2] {
    BOTH.map(|strictness| Subject::from_value(value.clone(), strictness))
}

fn read_as_it_is(value: &Value) {
    for read in both(value) {
        assert_eq!(read.unwrap().to_value(), *value);
    }
}

fn refused(value: &Value, rule: &str) {
    for read in both(value) {
        assert_eq!(read.unwrap_err().rule(), rule, "{value}");
    }
}

fn refused_for_some_reason(value: &Value) {
    for read in both(value) {
        assert!(read.is_err(), "{value}");
    }
}

fn legacy(value: Value) -> Subject {
    Subject::from_legacy_value(value).unwrap()
}

// spec: SUBJ-01, SUBJ-05, SSF-06
#[test]
fn a_subject_is_an_object_with_a_format() {
    for value in
        [json!("x"), json!(null), json!(1), json!([]), json!([{"format": "opaque", "id": "1"}]), json!({})]
    {
        refused(&value, "SUBJ-01");
    }
    for format in [json!(""), json!(null), json!(1), json!(["email"]), json!({"email": 1})] {
        let value = json!({"format": format, "email": "a@b.example"});
        refused(&value, "SUBJ-01");
    }
    let catalogue = specs_json("subjects.json");
    let known: BTreeSet<&str> = catalogue["formats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|format| format["format"].as_str().unwrap())
        .collect();
    let samples = samples();
    assert_eq!(known, samples.iter().map(|(_, sample)| sample["format"].as_str().unwrap()).collect());
    for (_, sample) in &samples {
        let read = subject(sample);
        assert_eq!(read.format(), sample["format"].as_str().unwrap());
        assert!(read.format().len() <= 20);
        assert!(
            read.format()
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        );
    }
}

// spec: SUBJ-02, SUBJ-08, SUBJ-09, SUBJ-12, SUBJ-13
#[test]
fn every_format_has_the_members_it_requires_and_none_is_empty_or_of_another_type() {
    let catalogue = specs_json("subjects.json");
    for format in catalogue["formats"].as_array().unwrap() {
        let (rule, sample) = samples()
            .into_iter()
            .find(|(_, sample)| sample["format"] == format["format"])
            .expect("every format");
        read_as_it_is(&sample);
        let required = |member: &&Value| member["required"] == json!(true);
        for member in format["members"].as_array().unwrap().iter().filter(required) {
            let name = member["name"].as_str().unwrap();
            let mut wrong = vec![json!(""), json!(null), json!(1), json!(true), json!({}), json!([[]])];
            match member["type"].as_str().unwrap() {
                "string" => wrong.extend([json!([]), json!([sample[name]])]),
                _ => wrong.extend([json!([1]), json!([""]), json!([null]), json!("10.29.37.75")]),
            }
            refused(&without(sample.clone(), name), rule);
            for value in wrong {
                let subject = with(sample.clone(), name, value);
                for read in both(&subject) {
                    let error = read.unwrap_err();
                    let inner = error.member().starts_with("identifiers[");
                    assert!(inner || error.rule() == rule, "{subject}: {error}");
                    assert!(error.member().starts_with(name), "{subject}: {error}");
                }
            }
        }
    }
}

// spec: SUBJ-03, SUBJ-04
#[test]
fn a_reader_ignores_members_that_the_format_does_not_describe_and_a_writer_has_none() {
    for (_, sample) in samples() {
        if sample["format"] == json!("scim") {
            continue; // It takes any attribute that is unique.
        }
        for extra in [json!(1), json!(null), json!("x"), json!([1]), json!(true)] {
            let more = with(sample.clone(), "x", extra);
            let read = subject(&more);
            assert_eq!(read, subject(&sample), "{more}");
            assert_eq!(read.to_value(), sample, "what is ignored is not sent on");
            assert!(read.matches(&subject(&sample)) && read.key() == subject(&sample).key());
            let strict = error_rule(Subject::from_value(more, Strictness::Strict));
            assert!(["SUBJ-03", "SUBJ-01"].contains(&strict), "{sample}: {strict}");
        }
    }
}

// spec: SUBJ-08, SUBJ-09, SUBJ-14, SUBJ-16, SUBJ-17
#[test]
fn values_have_the_syntax_that_their_format_names() {
    let cases: [(&str, &str, &[&str], &[&str]); 6] = [
        (
            "account",
            "uri",
            &[
                "acct:a@b.example",
                "acct:a.b%40c@b.example",
                "acct:juliet%40capulet.example@shoppingsite.example",
            ],
            &[
                "https://b.example/a",
                "a@b.example",
                "acct:",
                "acct:a",
                "acct:@b.example",
                "acct:a@",
                "acct:a@b@c",
                "acct:a b@c.example",
                "acct:a@b.example/x",
                "acct:a@b.example?x",
                "acct:a@b.example#x",
                "mailto:a@b.example",
            ],
        ),
        (
            "email",
            "email",
            &[
                "a@b.example",
                "a.b+c@b.example",
                "\"a b\"@c.example",
                "\"a@b\"@c.example",
                "\"a\\\"b\"@c.example",
                "ü@ü.example",
                "a@[192.0.2.1]",
            ],
            &[
                "Jo <jo@x.example>",
                "<jo@x.example>",
                "jo",
                "@x.example",
                "jo@",
                "a b@x.example",
                "a@b@c.example",
                "a@x example",
                "\"a@x.example",
                "a\"@x.example",
                "\"a\"b\"@x.example",
                "\"a\\\"@x.example",
                "\"a\nb\"@x.example",
                "\"a\\\nb\"@x.example",
                "a@x.example\n",
                " a@x.example",
                "mailto:a b@x.example",
            ],
        ),
        (
            "phone_number",
            "phone_number",
            &["+12065550100", "+12", "+123456789012345"],
            &[
                "12065550100",
                "+02065550100",
                "+1",
                "+",
                "+1234567890123456",
                "+1206555010x",
                "tel:+12065550100",
                "0012065550100",
            ],
        ),
        (
            "did",
            "url",
            &[
                "did:example:123456",
                "did:example:123456/did/url/path?versionId=1",
                "did:web:a.example#key",
                "did:a1:b:c",
            ],
            &[
                "did:",
                "did:example",
                "did:example:",
                "did::123",
                "did:Example:1",
                "DID:example:1",
                "urn:a:b",
                "did:example:1 2",
            ],
        ),
        (
            "uri",
            "uri",
            &[
                "urn:uuid:4e851e98",
                "https://user.example.com/",
                "did:example:1",
                "x:y",
                "https://[2001:db8::1]/?q#f",
            ],
            &[
                "user.example.com",
                "/users/1",
                "//a.example/",
                "1x:y",
                ":x",
                "https://a.example/x y",
                "https://a.example/%zz",
            ],
        ),
        (
            "scim",
            "uri",
            &["/Users/2b2f880a", "/v2/Groups/1", "/Users/a%20b"],
            &[
                "Users/1",
                "https://scim.example.com/Users/1",
                "//evil.example/Users/1",
                "/",
                "/Users/1?x=1",
                "/Users/1#x",
                "/Users/a b",
            ],
        ),
    ];
    for (format, member, good, bad) in cases {
        for value in good {
            let sample = json!({"format": format, member: value});
            read_as_it_is(&sample);
        }
        for value in bad {
            let sample = json!({"format": format, member: value});
            refused_for_some_reason(&sample);
        }
    }
}

// spec: SUBJ-15
#[test]
fn phone_numbers_are_freed_of_punctuation_on_receipt_only() {
    let plain = Subject::from(Identifier::phone_number("+12065550123").unwrap());
    for number in ["+1 206 555 0123", "+1-206-555-0123", "+1 (206) 555.0123", "+12065550123"] {
        for subject in [
            json!({"format": "phone_number", "phone_number": number}),
            json!({"format": "phone", "phone_number": number}),
            json!({"format": "phone", "phone": number}),
        ] {
            let read = self::subject(&subject);
            assert!(read.matches(&plain), "{subject}");
            assert_eq!(read.to_value(), json!({"format": "phone_number", "phone_number": "+12065550123"}));
        }
    }
    let strict = |value: Value| Subject::from_value(value, Strictness::Strict);
    assert_eq!(
        error_rule(strict(json!({"format": "phone_number", "phone_number": "+1 206 555 0123"}))),
        "SUBJ-14"
    );
    assert_eq!(error_rule(strict(json!({"format": "phone", "phone_number": "+12065550123"}))), "E-49");
    assert_eq!(error_rule(Identifier::phone_number("+1 206 555 0123")), "SUBJ-14");
}

// spec: SUBJ-06
#[test]
fn an_address_goes_in_the_format_that_is_made_for_it() {
    for uri in
        ["mailto:a@b.example", "MAILTO:a@b.example", "tel:+12065550100", "did:example:1", "acct:a@b.example"]
    {
        assert_eq!(error_rule(Identifier::uri(uri)), "SUBJ-06", "{uri}");
    }
    assert!(Identifier::uri("urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f").is_ok());
}

// spec: SUBJ-18, SUBJ-20, SUBJ-21, SUBJ-22
#[test]
fn aliases_are_several_names_of_one_entity() {
    let email = json!({"format": "email", "email": "user@example.com"});
    let phone = json!({"format": "phone_number", "phone_number": "+12065550100"});
    let unknown = json!({"format": "https://x.example/fmt", "n": 1});
    let aliases = |identifiers: Value| json!({"format": "aliases", "identifiers": identifiers});
    refused(&aliases(json!([])), "SUBJ-18");
    let nested = aliases(json!([email, aliases(json!([phone]))]));
    refused(&nested, "SUBJ-20");
    let complex = aliases(json!([{"format": "complex", "user": email}]));
    refused_for_some_reason(&complex);
    for read in both(&aliases(json!([email, {"format": "email"}]))) {
        let error = read.unwrap_err();
        assert_eq!((error.member(), error.rule()), ("identifiers[1].email", "SUBJ-09"));
    }

    // One that is known is enough.
    let read = subject(&aliases(json!([unknown, email])));
    assert!(read.matches(&subject(&email)) && subject(&email).matches(&read));
    assert!(read.matches(&subject(&unknown)));
    assert!(!read.matches(&subject(&phone)));
    let other = subject(&aliases(json!([phone, unknown])));
    assert!(read.matches(&other) && other.matches(&read));
    assert!(!read.matches(&subject(&aliases(json!([phone])))));

    let one = Identifier::email("user@example.com").unwrap();
    let two = Identifier::email("user+2@example.com").unwrap();
    let built = Identifier::aliases([one.clone(), two.clone(), one.clone()]).unwrap();
    assert_eq!(built.to_value()["identifiers"].as_array().unwrap().len(), 2);
    assert_eq!(error_rule(Identifier::aliases([])), "SUBJ-18");
    assert_eq!(error_rule(Identifier::aliases([built, two])), "SUBJ-20");
}

// spec: SSF-07, SSF-08, SSF-09
#[test]
fn a_complex_subject_has_simple_members_under_any_name() {
    let user = json!({"format": "email", "email": "user@example.com"});
    refused(&json!({"format": "complex"}), "SSF-07");
    let nested = json!({"format": "complex", "user": {"format": "complex", "user": user}});
    refused(&nested, "SSF-07");
    for wrong in [json!("user@example.com"), json!(null), json!({}), json!({"format": "email"})] {
        refused_for_some_reason(&json!({"format": "complex", "user": wrong}));
    }
    let names = ["user", "device", "session", "application", "tenant", "org_unit", "group", "robot"];
    for name in names {
        let subject = json!({"format": "complex", name: user});
        read_as_it_is(&subject);
    }
    let twice =
        r#"{"format":"complex","user":{"format":"opaque","id":"a"},"user":{"format":"opaque","id":"b"}}"#;
    assert_eq!(error_rule(Subject::from_json(twice)), "E-33");

    let identifier = || Identifier::email("user@example.com").unwrap();
    assert_eq!(error_rule(Subject::complex::<&str>([])), "SSF-07");
    assert_eq!(error_rule(Subject::complex([("format", identifier())])), "SSF-07");
    assert_eq!(error_rule(Subject::complex([("user", identifier()), ("user", identifier())])), "SSF-09");
    let built = Complex::new([("user", identifier()), ("device", Identifier::opaque("d").unwrap())]).unwrap();
    assert_eq!(built.get("user"), Some(&identifier()));
    assert_eq!(built.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["device", "user"]);
}

// spec: SSF-12, SUBJ-05
#[test]
fn a_format_that_is_not_known_is_kept_as_it_came() {
    for format in ["https://x.example/fmt", "catalog_item", "com.example.Thing", "ID", "x y", "Email"] {
        let sub_id = json!({"format": format, "catalog_id": "c0384/winter/2354122", "n": [1.5, null]});
        for read in both(&sub_id) {
            let read = read.unwrap();
            assert_eq!((read.format(), read.to_value()), (format, sub_id.clone()));
        }
        let set = with(ssf_set(), "sub_id", sub_id.clone());
        let read = Set::read(set.to_string().as_bytes(), Profile::Ssf).unwrap();
        assert_eq!(read.subject().unwrap().to_value(), sub_id);
        assert!(read.claims().clone().prove(Profile::Ssf).is_ok());
    }
}

// finding: C9
// spec: SUBJ-05
#[test]
fn an_issuer_sends_formats_that_are_registered_or_collision_resistant() {
    let of = |format: &str| json!({"format": format, "n": 1});
    let email = json!({"format": "email", "email": "a@b.example"});
    for format in [
        "https://x.example/fmt",
        "urn:example:badge",
        "com.example.Thing",
        "1.3.6.1.4.1.1",
        "4e851e98-83c4-4743-a5da-150ecb53042f",
    ] {
        assert_eq!(subject(&of(format)).check_formats(), Ok(()), "{format}");
    }
    for (_, sample) in &samples() {
        assert_eq!(subject(sample).check_formats(), Ok(()), "{sample}");
    }
    for (value, member) in [
        (of("emial"), "format"),
        (of("Email"), "format"),
        (of("iss-sub"), "format"),
        (of("x y"), "format"),
        (of(".badge"), "format"),
        (of("4e851e98-83c4"), "format"),
        (json!({"format": "aliases", "identifiers": [email, of("emial")]}), "identifiers[1].format"),
        (json!({"format": "complex", "user": email, "device": of("emial")}), "device.format"),
    ] {
        let error = subject(&value).check_formats().unwrap_err();
        assert_eq!((error.member(), error.rule()), (member, "SUBJ-05"), "{value}");
    }
}

// spec: SSF-13, SSF-14, SSF-15, OAUTH-03, OAUTH-06
#[test]
fn the_formats_of_ssf_and_oauth_have_their_own_names() {
    for (value, rule) in [
        (json!({"format": "jwt_id", "iss": "https://idp.example.com"}), "SSF-13"),
        (json!({"format": "jwt_id", "jti": "B70BA622"}), "SSF-13"),
        (
            json!({"format": "saml_assertion_id", "iss": "https://idp.example.com", "assertion_id": "_8"}),
            "SSF-14",
        ),
        (json!({"format": "saml_assertion_id", "issuer": "https://idp.example.com"}), "SSF-14"),
        (json!({"format": "ip-addresses", "ip_addresses": ["10.29.37.75"]}), "SSF-15"),
        (json!({"format": "ip-addresses", "ip-addresses": "10.29.37.75"}), "SSF-15"),
        (json!({"format": "ip-addresses", "ip-addresses": ["10.29.37.75", "10.29.37"]}), "SSF-15"),
        (json!({"format": "ip-addresses", "ip-addresses": ["10.29.37.0/24"]}), "SSF-15"),
        (json!({"format": "ip-addresses", "ip-addresses": ["example.com"]}), "SSF-15"),
        (json!({"format": "oauth_token", "token_type": "refresh_token", "token": "x"}), "OAUTH-03"),
        (json!({"format": "oauth_client"}), "OAUTH-06"),
    ] {
        refused(&value, rule);
    }
    // The lists of values are closed for a writer; a reader takes what it meets.
    let token = |kind: &str, alg: &str| json!({"format": "oauth_token", "token_type": kind, "token_identifier_alg": alg, "token": "x"});
    for (value, fine) in [
        (token("access_token", "plain"), true),
        (token("authorization_code", "prefix"), true),
        (token("refresh_token", "hash_base64_sha512_sha512"), true),
        (token("refresh_token", "hash_sha256"), true),
        (token("id_token", "plain"), false),
        (token("refresh_token", "sha256"), false),
        (token("refresh_token", "hash_"), false),
    ] {
        let [lenient, strict] = both(&value);
        assert!(lenient.is_ok(), "{value}");
        assert_eq!(
            strict.map_err(|error| error.rule()).err(),
            if fine { None } else { Some("OAUTH-03") },
            "{value}"
        );
    }
}

// spec: SCIM-06, SCIM-07
#[test]
fn a_scim_subject_is_a_path_and_what_else_is_unique() {
    let whole = json!({
        "format": "scim", "uri": "/Users/2b2f880a", "externalId": "jdoe", "id": "2b2f880a",
        "userName": "jdoe", "emails": [{"type": "work", "value": "jdoe@example.com"}],
    });
    for read in both(&whole) {
        let read = read.unwrap();
        let Subject::Simple(Identifier::Scim(scim)) = &read else { panic!("{read:?}") };
        assert_eq!((scim.uri.as_str(), scim.external_id.as_deref()), ("/Users/2b2f880a", Some("jdoe")));
        assert_eq!((scim.id.as_deref(), &scim.attributes["userName"]), (Some("2b2f880a"), &json!("jdoe")));
        assert_eq!(read.to_value(), whole);
    }
    for (name, value) in [("externalId", json!("")), ("externalId", json!(1)), ("id", json!([]))] {
        refused(&with(whole.clone(), name, value), "SCIM-07");
    }
}

// spec: INTEROP-18
#[test]
fn the_formats_that_everybody_has_to_know_are_made_and_read() {
    for made in [
        Subject::email("user@example.com"),
        Subject::iss_sub("https://issuer.example.com/", "145234573"),
        Subject::opaque("f67e39a0a4d34d56b3aa1bc4cff0069f"),
    ] {
        let made = made.unwrap();
        read_as_it_is(&made.to_value());
        assert_eq!(subject(&made.to_value()), made);
    }
    refused_by(Subject::email("jo"), "SUBJ-09");
    refused_by(Subject::iss_sub("", "145234573"), "SUBJ-12");
    refused_by(Subject::iss_sub("https://issuer.example.com/", ""), "SUBJ-12");
    refused_by(Subject::opaque(""), "SUBJ-13");
}

fn refused_by(made: Result<Subject, Invalid>, rule: &str) {
    assert_eq!(error_rule(made), rule);
}

fn ssf_set() -> Value {
    json!({
        "iss": "https://idp.example.com", "jti": "1", "iat": 1_615_305_159, "aud": "https://rp.example.com",
        "sub_id": {"format": "email", "email": "alice@example.com"},
        "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}},
    })
}

fn read(profile: Profile, claims: &Value) -> Set {
    Set::read(claims.to_string().as_bytes(), profile).unwrap()
}

// spec: SUBJ-24, SUBJ-26, SUBJ-27, SUBJ-28
#[test]
fn sub_and_sub_id_are_never_combined() {
    let profile = Profile::Rfc8417;
    let both = with(ssf_set(), "sub", json!("bob"));
    assert_eq!(read(profile, &both).subject().unwrap().to_value(), both["sub_id"]);

    // Only a format that nobody here knows makes way for `sub`.
    let unknown = with(both.clone(), "sub_id", json!({"format": "https://x.example/fmt", "n": 1}));
    let bob = json!({"format": "iss_sub", "iss": "https://idp.example.com", "sub": "bob"});
    assert_eq!(read(profile, &unknown).subject().unwrap().to_value(), bob);
    let alone = without(unknown, "sub");
    assert_eq!(read(profile, &alone).subject().unwrap().to_value(), alone["sub_id"]);
    assert_eq!(read(profile, &without(both.clone(), "sub_id")).subject().unwrap().to_value(), bob);
    assert_eq!(read(profile, &without(ssf_set(), "sub_id")).subject(), None);

    // The inner issuer stays what it is.
    let foreign = json!({"format": "iss_sub", "iss": "https://other.example.com", "sub": "bob"});
    let foreign = with(both.clone(), "sub_id", foreign);
    let subject = read(profile, &foreign).subject().unwrap().into_owned();
    assert_eq!(subject.to_value(), foreign["sub_id"]);
    assert!(!subject.matches(&self::subject(&bob)));
    assert_ne!(subject.key(), self::subject(&bob).key());
}

// spec: SUBJ-25
#[test]
fn a_writer_cannot_let_sub_and_sub_id_disagree() {
    let claims = |sub: &str, sub_id: Value| {
        let set = with(with(ssf_set(), "sub", json!(sub)), "sub_id", sub_id);
        secevent::Claims::read(set.to_string().as_bytes()).unwrap().prove(Profile::Plain)
    };
    let iss_sub = |iss: &str, sub: &str| json!({"format": "iss_sub", "iss": iss, "sub": sub});
    assert_eq!(error_rule(claims("bob", iss_sub("https://idp.example.com", "alice"))), "SUBJ-25");
    assert!(claims("bob", iss_sub("https://idp.example.com", "bob")).is_ok());
    assert!(
        claims("bob", iss_sub("https://other.example.com", "alice")).is_ok(),
        "another issuer's word for him"
    );
    assert!(claims("liz@example.com", json!({"format": "email", "email": "elizabeth@example.com"})).is_ok());
}

// spec: SUBJ-31, SSF-134
#[test]
fn simple_subjects_match_only_if_they_are_identical() {
    for (value, other) in [
        (json!({"format": "opaque", "id": "A"}), json!({"format": "opaque", "id": "a"})),
        (
            json!({"format": "email", "email": "a@b.example"}),
            json!({"format": "email", "email": "A@b.example"}),
        ),
        (
            json!({"format": "email", "email": "a@b.example"}),
            json!({"format": "email", "email": "a@B.example"}),
        ),
        (
            json!({"format": "opaque", "id": "a@b.example"}),
            json!({"format": "email", "email": "a@b.example"}),
        ),
        (json!({"format": "opaque", "id": "é"}), json!({"format": "opaque", "id": "e\u{301}"})),
        (json!({"format": "opaque", "id": "a"}), json!({"format": "opaque", "id": "a "})),
        (
            json!({"format": "uri", "uri": "https://a.example"}),
            json!({"format": "uri", "uri": "https://a.example/"}),
        ),
        (
            json!({"format": "iss_sub", "iss": "https://a.example", "sub": "1"}),
            json!({"format": "iss_sub", "iss": "https://a.example/", "sub": "1"}),
        ),
        (json!({"format": "x", "n": 1}), json!({"format": "x", "n": 2})),
        (json!({"format": "x", "n": 1}), json!({"format": "y", "n": 1})),
    ] {
        let (value, other) = (subject(&value), subject(&other));
        assert!(value.matches(&value.clone()) && other.matches(&other.clone()));
        assert!(!value.matches(&other) && !other.matches(&value), "{value:?} {other:?}");
        assert_ne!(value.key(), other.key());
    }
}

// spec: SSF-11, SSF-135, SSF-136, SSF-137, SUBJ-07
#[test]
fn complex_subjects_match_member_by_member() {
    let example = |number: u32| {
        let text = std::fs::read_to_string(crate::specs(&format!(
            "examples/ssf-8_1_3_1-subject-matching-{number}.json"
        )));
        Subject::from_json(&text.unwrap()).unwrap()
    };
    for (one, another, fits) in [(1, 2, true), (3, 4, true), (5, 6, false)] {
        assert_eq!(example(one).matches(&example(another)), fits, "{one} {another}");
        assert_eq!(example(another).matches(&example(one)), fits, "{another} {one}");
    }
    let complex = |mut members: Value| {
        members["format"] = json!("complex");
        subject(&members)
    };
    let (user, device) = (json!({"format": "opaque", "id": "u"}), json!({"format": "opaque", "id": "d"}));
    let ips = |ips: &[&str]| json!({"format": "ip-addresses", "ip-addresses": ips});
    let names = |identifiers: Value| json!({"format": "aliases", "identifiers": identifiers});
    for (one, another, fits) in [
        // An absent member is any.
        (json!({"user": user}), json!({"user": user, "device": device}), true),
        (json!({"user": user, "device": device}), json!({"user": user, "session": device}), true),
        (json!({"user": user, "device": device}), json!({"user": user, "device": user}), false),
        // But something has to be the same.
        (json!({"user": user}), json!({"group": user}), false),
        (json!({"user": user}), json!({"device": device}), false),
        (json!({"user": user, "robot": device}), json!({"group": user, "robot": device}), true),
        // Values compare whole.
        (json!({"device": ips(&["10.0.0.1"])}), json!({"device": ips(&["10.0.0.1", "10.0.0.2"])}), false),
        (
            json!({"device": ips(&["10.0.0.2", "10.0.0.1"])}),
            json!({"device": ips(&["10.0.0.1", "10.0.0.2"])}),
            false,
        ),
        (json!({"device": ips(&["10.0.0.1"])}), json!({"device": ips(&["10.0.0.1"])}), true),
        (json!({"user": names(json!([user]))}), json!({"user": user}), false),
        (json!({"user": names(json!([user, device]))}), json!({"user": names(json!([user]))}), false),
    ] {
        let (left, right) = (complex(one.clone()), complex(another.clone()));
        assert_eq!(left.matches(&right), fits, "{one} {another}");
        assert_eq!(right.matches(&left), fits, "{another} {one}");
    }
    // A format tells how somebody is named and not what it is.
    assert!(!complex(json!({"group": user})).matches(&subject(&user)));
    assert!(!subject(&user).matches(&complex(json!({"user": user}))));
}

#[test]
fn lanes_keep_in_order_what_is_about_one_principal() {
    let lanes = |value: Value| subject(&value).lanes();
    let key = |value: &Value| subject(value).key();
    let (user, device) = (json!({"format": "opaque", "id": "u"}), json!({"format": "opaque", "id": "d"}));
    let tenant = json!({"format": "opaque", "id": "t"});
    let sorted = |keys: &[&Value]| {
        let mut keys: Vec<_> = keys.iter().map(|value| key(value)).collect();
        keys.sort();
        keys
    };
    assert_eq!(lanes(user.clone()), [key(&user)]);
    let aliases = json!({"format": "aliases", "identifiers": [user, device, user]});
    assert_eq!(lanes(aliases.clone()), sorted(&[&user, &device]));
    for scope in SCOPE_MEMBERS {
        let complex = json!({"format": "complex", "user": user, "device": device, scope: tenant});
        assert_eq!(lanes(complex), sorted(&[&user, &device]), "{scope}");
        let scope_only = json!({"format": "complex", scope: tenant});
        assert_eq!(lanes(scope_only.clone()), [key(&scope_only)], "{scope}");
    }
    assert_eq!(BTreeSet::from(SCOPE_MEMBERS), BTreeSet::from(["tenant", "group", "org_unit", "application"]));
    assert_eq!(
        lanes(json!({"format": "complex", "robot": aliases, "session": user})),
        sorted(&[&user, &device])
    );
    assert_eq!(lanes(json!({"format": "complex", "user": user})), [key(&user)]);
}

#[test]
fn keys_are_canonical_and_keep_the_subject_out_of_logs() {
    let one = Subject::from_json(r#"{ "b" : {"y":1,"x":[true,null]}, "format":"z", "a":"\u00e9" }"#).unwrap();
    let two = Subject::from_json(r#"{"a":"é","format":"z","b":{"x":[true,null],"y":1}}"#).unwrap();
    assert_eq!(one.key(), two.key());
    assert_eq!(one.key().as_str(), r#"{"a":"é","b":{"x":[true,null],"y":1},"format":"z"}"#);
    assert_eq!(one.key().as_bytes(), one.key().as_str().as_bytes());
    let zero = |zero: f64| subject(&json!({"format": "z", "n": zero}));
    assert_eq!((zero(0.0) == zero(-0.0), zero(0.0).key() == zero(-0.0).key()), (true, true));
    assert!(!format!("{:?}", Subject::email("alice@example.com").unwrap().key()).contains("alice"));
}

// spec: LEGACY-02, LEGACY-03, RISC-25
#[test]
fn old_shapes_are_read_as_what_they_mean() {
    let iss_sub = json!({"format": "iss_sub", "iss": "https://idp.example.com/", "sub": "7375"});
    let email = json!({"format": "email", "email": "jdoe@example.com"});
    let phone = json!({"format": "phone_number", "phone_number": "+12065550123"});
    let opaque = json!({"format": "opaque", "id": "d"});
    let old_user = json!({"subject_type": "iss-sub", "iss": "https://idp.example.com/", "sub": "7375"});
    let aliases = |identifiers: Value| json!({"format": "aliases", "identifiers": identifiers});
    for (old, new) in [
        (old_user.clone(), iss_sub.clone()),
        (with(without(old_user.clone(), "subject_type"), "format", json!("iss-sub")), iss_sub.clone()),
        (with(old_user.clone(), "subject_type", json!("iss_sub")), iss_sub.clone()),
        (with(old_user.clone(), "format", json!("iss_sub")), iss_sub.clone()),
        (json!({"subject_type": "email", "email": "jdoe@example.com"}), email.clone()),
        (json!({"subject_type": "phone", "phone": "+1 206 555 0123"}), phone.clone()),
        (json!({"format": "phone", "phone_number": "+1 206 555 0123"}), phone.clone()),
        (
            json!({"format": "jwt-id", "iss": "https://idp.example.com", "jti": "1"}),
            json!({"format": "jwt_id", "iss": "https://idp.example.com", "jti": "1"}),
        ),
        (
            json!({"format": "saml-assertion-id", "issuer": "https://idp.example.com", "assertion_id": "_8"}),
            json!({"format": "saml_assertion_id", "issuer": "https://idp.example.com", "assertion_id": "_8"}),
        ),
        (
            json!({"format": "ip_addresses", "ip_addresses": ["10.0.0.1"]}),
            json!({"format": "ip-addresses", "ip-addresses": ["10.0.0.1"]}),
        ),
        (
            json!({"subject_type": "id_token_claims", "iss": "https://idp.example.com/", "sub": "7375"}),
            iss_sub.clone(),
        ),
        (
            json!({"subject_type": "id_token_claims", "iss": "https://idp.example.com/", "sub": "7375", "email": "jdoe@example.com"}),
            aliases(json!([iss_sub, email])),
        ),
        (json!({"subject_type": "id-token-claims", "email": "jdoe@example.com"}), email.clone()),
        (
            json!({"subject_type": "id-token-claims", "email": "jdoe@example.com", "phone_number": "+12065550123"}),
            aliases(json!([email, phone])),
        ),
        // A complex subject of SSE ID1 has no format.
        (
            json!({"user": iss_sub, "device": opaque}),
            json!({"format": "complex", "user": iss_sub, "device": opaque}),
        ),
        (json!({"user": old_user}), json!({"format": "complex", "user": iss_sub})),
        // A peer that has half moved on.
        (json!({"format": "complex", "user": old_user}), json!({"format": "complex", "user": iss_sub})),
        (aliases(json!([old_user, email])), aliases(json!([iss_sub, email]))),
        (
            json!({"user": aliases(json!([old_user]))}),
            json!({"format": "complex", "user": aliases(json!([iss_sub]))}),
        ),
    ] {
        assert_eq!(legacy(old.clone()).to_value(), new, "{old}");
    }
    for (_, sample) in samples() {
        assert_eq!(legacy(sample.clone()).to_value(), sample, "what is modern is read as it is");
    }
    for wrong in [
        json!({}),
        json!("x"),
        json!({"subject_type": 1}),
        json!({"subject_type": "id-token-claims"}),
        json!({"subject_type": "id-token-claims", "sub": "7375"}),
        json!({"user": "jdoe"}),
        json!({"user": {"user": iss_sub}}),
        json!({"user": {}}),
    ] {
        assert!(Subject::from_legacy_value(wrong.clone()).is_err(), "{wrong}");
    }
    // A modern peer gets modern checks.
    assert_eq!(error_rule(Subject::from_value(old_user.clone(), Strictness::Lenient)), "SUBJ-01");
    assert_eq!(error_rule(Subject::from_value(json!({"user": iss_sub}), Strictness::Lenient)), "SUBJ-01");
}

/// A token of a peer from before `sub_id`.
fn legacy_set(event: &str, payload: &Value) -> Value {
    with(without(ssf_set(), "sub_id"), "events", json!({event: payload}))
}

// spec: LEGACY-01, LEGACY-17, LEGACY-25
#[test]
fn a_legacy_peer_puts_the_subject_in_the_payload() {
    let event = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
    let iss_sub = json!({"format": "iss_sub", "iss": "https://accounts.google.com/", "sub": "7375"});
    let google = json!({"subject_type": "iss-sub", "iss": "https://accounts.google.com/", "sub": "7375"});
    let sse = json!({"user": {"format": "email", "email": "jdoe@example.com"}});
    for (subject, meaning) in [
        (google.clone(), iss_sub.clone()),
        (iss_sub.clone(), iss_sub.clone()),
        (sse.clone(), with(sse, "format", json!("complex"))),
    ] {
        let set = legacy_set(
            event,
            &json!({"subject": subject, "reason": "hijacking", "cause-time": 1_508_012_752}),
        );
        let set = read(Profile::Legacy, &with(set, "exp", json!(1_508_188_445)));
        assert_eq!(set.subject().unwrap().to_value(), meaning);
    }
    // `sub_id` counts where it is there; a subject that cannot be read is an error, not a subject less.
    let moved = with(
        legacy_set(event, &json!({"subject": google})),
        "sub_id",
        json!({"format": "opaque", "id": "1"}),
    );
    assert_eq!(read(Profile::Legacy, &moved).subject().unwrap().format(), "opaque");
    let broken = legacy_set(event, &json!({"subject": {"subject_type": "email"}}));
    let error = Set::read(broken.to_string().as_bytes(), Profile::Legacy).unwrap_err();
    assert_eq!((error.member(), error.rule()), (format!("events.{event}.subject.email").as_str(), "SUBJ-09"));
    // On an SSF stream the payload names nobody.
    let both = with(moved, "sub_id", json!({"format": "email", "email": "jdoe@example.com"}));
    assert_eq!(read(Profile::Ssf, &both).subject().unwrap().format(), "email");
}

// spec: OAUTH-12, OAUTH-13
#[test]
fn a_token_is_named_in_sub_id_or_in_the_payload() {
    let event = "https://schemas.openid.net/secevent/oauth/event-type/token-revoked";
    let members =
        json!({"token_type": "refresh_token", "token_identifier_alg": "prefix", "token": "1//0gXcTqYvLhBx"});
    let named = with(members.clone(), "format", json!("oauth_token"));
    let old = with(members, "subject_type", json!("oauth_token"));
    for profile in [Profile::Legacy, Profile::Rfc8417, Profile::Plain] {
        for subject in [&named, &old] {
            let set = read(profile, &legacy_set(event, &json!({"subject": subject, "reason": "inactive"})));
            assert_eq!(set.subject().unwrap().to_value(), named, "{profile}: {subject}");
        }
    }
    let set = with(legacy_set(event, &json!({"reason": "inactive"})), "sub_id", named.clone());
    let claims = secevent::Claims::read(set.to_string().as_bytes()).unwrap();
    let written = claims.prove(Profile::Ssf).unwrap();
    assert_eq!(written.subject().unwrap().to_value(), named);
    let client = with(set, "sub_id", json!({"format": "oauth_client", "client_id": "s6BhdRkqt3"}));
    assert_eq!(read(Profile::Ssf, &client).subject().unwrap().format(), "oauth_client");
}

/// Values so few that they often meet.
fn few() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "A", "é", "a\"b"])
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(0),
        json!(0.0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!("0"),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!([1, 2]),
        json!([2, 1]),
        json!({"a": 1, "b": 2}),
        json!({"b": 2, "a": 1}),
        json!({"a": {"format": "opaque"}}),
    ])
}

fn simple() -> impl Strategy<Value = Value> {
    prop_oneof![
        few().prop_map(|id| json!({"format": "opaque", "id": id})),
        (few(), few()).prop_map(|(iss, sub)| json!({"format": "iss_sub", "iss": iss, "sub": sub})),
        (few(), few()).prop_map(|(iss, jti)| json!({"format": "jwt_id", "iss": iss, "jti": jti})),
        (few(), few()).prop_map(
            |(issuer, id)| json!({"format": "saml_assertion_id", "issuer": issuer, "assertion_id": id})
        ),
        prop::sample::select(vec!["a@b.example", "A@b.example"])
            .prop_map(|email| json!({"format": "email", "email": email})),
        prop::sample::select(vec!["+12065550100", "+12065550101"])
            .prop_map(|number| json!({"format": "phone_number", "phone_number": number})),
        prop::sample::select(vec!["acct:a@b.example", "https://a.example/"]).prop_map(|uri| match uri {
            "https://a.example/" => json!({"format": "uri", "uri": uri}),
            _ => json!({"format": "account", "uri": uri}),
        }),
        prop::collection::vec(prop::sample::select(vec!["10.0.0.1", "::1"]), 0..3)
            .prop_map(|ips| json!({"format": "ip-addresses", "ip-addresses": ips})),
        (few(), prop::option::of(odd_value())).prop_map(|(id, more)| {
            let mut scim = json!({"format": "scim", "uri": "/Users/1", "id": id});
            if let Some(more) = more {
                scim["userName"] = more;
            }
            scim
        }),
        (prop::sample::select(vec!["x", "y", "https://x.example/fmt"]), few(), odd_value())
            .prop_map(|(format, name, value)| json!({"format": format, name: value})),
    ]
}

fn identifier() -> impl Strategy<Value = Value> {
    let aliases = prop::collection::vec(simple(), 1..4);
    prop_oneof![3 => simple(), 1 => aliases.prop_map(|all| json!({"format": "aliases", "identifiers": all}))]
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let names = prop::sample::select(vec!["user", "device", "session", "tenant", "group", "robot"]);
    let complex = prop::collection::btree_map(names, identifier(), 1..4).prop_map(|members| {
        let mut complex = json!(members);
        complex["format"] = json!("complex");
        complex
    });
    prop_oneof![2 => identifier(), 1 => complex].prop_map(|value| subject(&value))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // spec: SSF-134, SSF-135
    #[test]
    fn matching_is_reflexive_and_symmetric(one in any_subject(), another in any_subject()) {
        prop_assert!(one.matches(&one.clone()));
        prop_assert_eq!(one.matches(&another), another.matches(&one));
        prop_assert!(one != another || one.matches(&another));
    }

    #[test]
    fn two_keys_are_equal_exactly_if_the_subjects_are(one in any_subject(), another in any_subject()) {
        prop_assert_eq!(one.key() == another.key(), one == another);
        prop_assert_eq!(one.key(), one.clone().key());
    }

    #[test]
    fn what_may_mean_one_principal_shares_a_lane(one in any_subject(), another in any_subject()) {
        let (lanes, others) = (one.lanes(), another.lanes());
        prop_assert!(!lanes.is_empty());
        prop_assert!(lanes.windows(2).all(|pair| pair[0] < pair[1]));
        let shared = lanes.iter().any(|lane| others.contains(lane));
        if let (Subject::Simple(_), Subject::Simple(_)) = (&one, &another) {
            prop_assert_eq!(shared, one.matches(&another));
        }
        if let (Subject::Complex(left), Subject::Complex(right)) = (&one, &another) {
            let same = |(name, identifier): (&str, &Identifier)| {
                !SCOPE_MEMBERS.contains(&name) && right.get(name) == Some(identifier)
            };
            prop_assert!(shared || !left.iter().any(same));
        }
    }

    #[test]
    fn a_subject_comes_back_from_json_as_it_was(subject in any_subject()) {
        let text = serde_json::to_string(&subject).unwrap();
        let back = Subject::from_json(&text).unwrap();
        prop_assert_eq!(&back, &subject);
        prop_assert_eq!(back.key(), subject.key());
        prop_assert_eq!(serde_json::from_str::<Subject>(&text).unwrap(), subject.clone());
        prop_assert_eq!(Subject::from_value(subject.to_value(), Strictness::Strict), Ok(subject.clone()));
        prop_assert_eq!(Subject::from_legacy_value(subject.to_value()), Ok(subject));
    }
}

#[test]
fn known_formats_are_those_that_are_read() {
    let read: BTreeSet<String> = samples()
        .map(|(_, json)| serde_json::from_value::<Subject>(json).unwrap().format().to_owned())
        .into();
    assert_eq!(read, Subject::FORMATS.map(str::to_owned).into());
}
