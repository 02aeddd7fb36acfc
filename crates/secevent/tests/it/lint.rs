//! The linter: silent about a clean token, and for each breach a rule, a severity and a way to mend it.

use crate::set::any_json;
use crate::{specs, with, without};
use Severity::{Error, Note, Warning};
use proptest::prelude::*;
use secevent::Timestamp;
use secevent::caep::{SessionEstablished, SessionRevoked};
use secevent::lint::{Finding, Ruleset, Severity, UnknownRuleset, check};
use secevent::logout::BackchannelLogout;
use secevent::ssf::Verification;
use secevent::{Claims, EventType, Profile};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

const NOW: Timestamp = Timestamp::from_seconds(1_615_305_200);

/// A token that the ruleset has nothing to say about.
fn clean(ruleset: Ruleset) -> (Value, Value) {
    let header = json!({"alg": "RS256", "typ": "secevent+jwt", "kid": "2026-01"});
    let claims = json!({
        "iss": "https://idp.example.com", "jti": "24c63fb5", "iat": 1_615_305_159, "aud": "https://rp.example.com",
        "txn": "8675309", "sub_id": {"format": "email", "email": "alice@example.com"},
        "events": {SessionRevoked::URI: {"event_timestamp": 1_615_304_991, "reason_admin": {"en": "offboarding"}}},
    });
    match ruleset {
        Ruleset::Rfc8417 | Ruleset::Ssf | Ruleset::CaepInterop => (header, claims),
        Ruleset::Scim => {
            let claims = with(claims, "sub_id", json!({"format": "scim", "uri": "/Users/2b2f880a"}));
            (header, with(claims, "events", json!({"urn:ietf:params:scim:event:feed:add": {}})))
        }
        Ruleset::Logout => {
            let claims = without(without(with(claims, "sub", json!("248289761001")), "sub_id"), "txn");
            let claims = with(
                with(claims, "exp", json!(1_615_305_279)),
                "events",
                json!({BackchannelLogout::URI: {}}),
            );
            (with(header, "typ", json!("logout+jwt")), claims)
        }
    }
}

fn lint(ruleset: Ruleset, header: &Value, claims: &Value) -> Vec<Finding> {
    let findings =
        check(Some(header.to_string().as_bytes()), claims.to_string().as_bytes(), ruleset, Some(NOW));
    for finding in &findings {
        // A fix says what to do, or is left out.
        assert!(!finding.fix.starts_with("see ") && !finding.message.is_empty(), "{finding:?}");
    }
    findings
}

/// What is changed in a clean token: a member of its header (`header.…`) or of its claims, by its path.
fn changed(ruleset: Ruleset, path: &str, value: Option<Value>) -> (Value, Value) {
    let (mut header, mut claims) = clean(ruleset);
    let event = claims["events"].as_object().unwrap().keys().next().unwrap().clone();
    let (mut place, names) = match path.strip_prefix("header.") {
        Some(name) => (&mut header, vec![name.to_owned()]),
        None => (&mut claims, path.split('.').map(|name| name.replace("EVENT", &event)).collect()),
    };
    let (last, outer) = names.split_last().unwrap();
    for name in outer {
        place = &mut place[name];
    }
    match value {
        Some(value) => place[last] = value,
        None => drop(place.as_object_mut().unwrap().remove(last)),
    }
    (header, claims)
}

#[test]
fn a_clean_token_has_no_findings() {
    for ruleset in Ruleset::ALL {
        let (header, claims) = clean(ruleset);
        assert_eq!(lint(ruleset, &header, &claims), [], "{}", ruleset.name());
        assert_eq!(check(None, claims.to_string().as_bytes(), ruleset, None), [], "{}", ruleset.name());
    }
}

/// A ruleset, a member, what becomes of it, and the findings: severity, rule and member.
type Case = (Ruleset, &'static str, Option<Value>, &'static [(Severity, &'static str, &'static str)]);

fn cases() -> Vec<Case> {
    use Ruleset::{CaepInterop, Logout, Rfc8417, Scim, Ssf};
    let two = json!({SessionRevoked::URI: {}, "https://a.example/event": {}});
    let complex = json!({"format": "complex", "user": {"format": "opaque", "id": "u"}});
    vec![
        // The header.
        (Ssf, "header.alg", None, &[(Error, "JWTBCP-01", "header.alg")]),
        (Ssf, "header.alg", Some(json!(1)), &[(Error, "JWTBCP-01", "header.alg")]),
        (Ssf, "header.alg", Some(json!("none")), &[(Error, "SET-25", "header.alg")]),
        (Ssf, "header.alg", Some(json!("NoNe")), &[(Error, "SET-25", "header.alg")]),
        (Ssf, "header.alg", Some(json!("HS256")), &[(Error, "JWTBCP-01", "header.alg")]),
        (Ssf, "header.alg", Some(json!("ES256")), &[]),
        (CaepInterop, "header.alg", Some(json!("ES256")), &[(Error, "INTEROP-19", "header.alg")]),
        (Ssf, "header.typ", None, &[(Error, "SSF-18", "header.typ")]),
        (Ssf, "header.typ", Some(json!("JWT")), &[(Error, "SSF-18", "header.typ")]),
        (Ssf, "header.typ", Some(json!("at+jwt")), &[(Error, "SSF-18", "header.typ")]),
        (Ssf, "header.typ", Some(json!("application/secevent+jwt")), &[(Warning, "SET-22", "header.typ")]),
        (Rfc8417, "header.typ", None, &[(Warning, "SET-21", "header.typ")]),
        (Rfc8417, "header.typ", Some(json!("JWT")), &[(Warning, "SET-22", "header.typ")]),
        (Logout, "header.typ", None, &[(Warning, "BCL-19", "header.typ")]),
        (Logout, "header.typ", Some(json!("JWT")), &[(Warning, "BCL-19", "header.typ")]),
        (Logout, "header.typ", Some(json!("secevent+jwt")), &[(Error, "BCL-20", "header.typ")]),
        (Ssf, "header.kid", None, &[(Warning, "INTEROP-06", "header.kid")]),
        (Ssf, "header.jku", Some(json!("https://evil.example")), &[(Warning, "JWTBCP-15", "header.jku")]),
        (Ssf, "header.crit", Some(json!(["x"])), &[(Error, "JWTBCP-20", "header.crit")]),
        (Ssf, "header.zip", Some(json!("DEF")), &[(Error, "JWTBCP-08", "header.zip")]),
        // The claims that RFC 8417 asks for.
        (Rfc8417, "iss", None, &[(Error, "SET-02", "iss")]),
        (Rfc8417, "iat", None, &[(Error, "SET-03", "iat")]),
        (Rfc8417, "iat", Some(json!("1615305159")), &[(Error, "SET-03", "iat")]),
        (Rfc8417, "iat", Some(json!(1_615_305_159_000_i64)), &[(Error, "SET-03", "iat")]),
        (Rfc8417, "jti", None, &[(Error, "SET-04", "jti")]),
        (Rfc8417, "jti", Some(json!("")), &[(Error, "SET-05", "jti")]),
        (Rfc8417, "aud", None, &[(Warning, "SET-07", "aud")]),
        (Rfc8417, "aud", Some(json!(7)), &[(Error, "SET-08", "aud")]),
        (Rfc8417, "exp", Some(json!(1_700_000_000)), &[(Warning, "SET-10", "exp")]),
        (Rfc8417, "txn", Some(json!(8_675_309)), &[(Error, "SET-18", "txn")]),
        (Rfc8417, "toe", Some(json!(1_615_305_160)), &[(Error, "SET-19", "toe")]),
        (Rfc8417, "events", None, &[(Error, "SET-01", "events")]),
        (Rfc8417, "events", Some(json!({"opened": {}})), &[(Error, "SET-13", "events.opened")]),
        (Rfc8417, "events.urn:x:y", Some(json!({})), &[(Note, "PUSH-39", "events.urn:x:y")]),
        (Rfc8417, "sub_id.format", None, &[(Error, "SUBJ-01", "sub_id.format")]),
        (Rfc8417, "sub_id.x", Some(json!(1)), &[(Error, "SUBJ-03", "sub_id.x")]),
        (
            Rfc8417,
            "sub_id",
            Some(json!({"format": "phone_number", "phone_number": "+1 206 555 0123"})),
            &[(Error, "SUBJ-14", "sub_id.phone_number")],
        ),
        (
            Rfc8417,
            "sub_id",
            Some(json!({"format": "phone", "phone_number": "+12065550123"})),
            &[(Error, "E-49", "sub_id.format")],
        ),
        // SSF.
        (Ssf, "sub_id", None, &[(Error, "SSF-01", "sub_id")]),
        (Ssf, "sub", Some(json!("alice")), &[(Error, "SSF-19", "sub")]),
        (Ssf, "exp", Some(json!(1_700_000_000)), &[(Error, "SSF-20", "exp")]),
        (Ssf, "aud", None, &[(Error, "SSF-75", "aud")]),
        (Ssf, "txn", None, &[(Warning, "SSF-26", "txn")]),
        (Ssf, "iss", Some(json!("http://idp.example.com")), &[(Error, "SSF-74", "iss")]),
        (
            Ssf,
            "events",
            Some(two),
            &[(Error, "SSF-29", "events"), (Note, "PUSH-39", "events.https://a.example/event")],
        ),
        (
            Ssf,
            "events.EVENT.subject",
            Some(json!({"format": "opaque", "id": "1"})),
            &[(Note, "SSF-02", "events.EVENT.subject")],
        ),
        (
            Ssf,
            "events.EVENT.subject",
            Some(json!({"subject_type": "opaque", "id": "1"})),
            &[
                (Note, "SSF-02", "events.EVENT.subject"),
                (Error, "RISC-24", "events.EVENT.subject.subject_type"),
            ],
        ),
        (
            Ssf,
            "events.EVENT.event_timestamp",
            Some(json!(1_615_304_991_000_i64)),
            &[(Error, "CAEP-02", "events.EVENT.event_timestamp")],
        ),
        (
            Ssf,
            "events.EVENT.initiating_entity",
            Some(json!("idp")),
            &[(Error, "CAEP-04", "events.EVENT.initiating_entity")],
        ),
        // The interoperability profile.
        (
            CaepInterop,
            "events.EVENT.reason_admin",
            None,
            &[(Error, "INTEROP-30", "events.EVENT.reason_admin")],
        ),
        (
            CaepInterop,
            "events.EVENT.reason_admin.en",
            Some(json!("")),
            &[(Error, "INTEROP-30", "events.EVENT.reason_admin")],
        ),
        (CaepInterop, "sub_id", Some(complex), &[(Warning, "E-81", "sub_id")]),
        // Logout tokens.
        (Logout, "sub", None, &[(Error, "BCL-11", "sub")]),
        (Logout, "exp", None, &[(Error, "BCL-08", "exp")]),
        (Logout, "exp", Some(json!(1_615_308_759)), &[(Error, "BCL-45", "exp")]),
        (Logout, "exp", Some(json!(1_615_305_199)), &[(Error, "BCL-29", "exp")]),
        (Logout, "nonce", Some(json!("n-0S6")), &[(Error, "BCL-15", "nonce")]),
        // SCIM.
        (Scim, "sub_id", None, &[(Error, "SCIM-03", "sub_id")]),
        (
            Scim,
            "sub_id",
            Some(json!({"format": "opaque", "id": "1"})),
            &[(Error, "SCIM-05", "sub_id.format"), (Error, "SCIM-05", "sub_id")],
        ),
        (Scim, "sub", Some(json!("/Users/1")), &[(Error, "SCIM-04", "sub")]),
        (Scim, "txn", None, &[(Warning, "SCIM-10", "txn")]),
        (Scim, "aud", None, &[(Warning, "SET-07", "aud")]),
        // The clock.
        (Ssf, "iat", Some(json!(1_615_305_261)), &[(Error, "LEGACY-30", "iat")]),
        (Ssf, "iat", Some(json!(1_615_305_230)), &[(Warning, "SET-03", "iat")]),
        (Ssf, "iat", Some(json!(1_583_769_159)), &[]),
    ]
}

// spec: INTEROP-30, LEGACY-30, JWTBCP-08, JWTBCP-15, JWTBCP-20
#[test]
fn every_breach_is_found_with_its_rule_and_no_other() {
    for (ruleset, path, value, expected) in cases() {
        let (header, claims) = changed(ruleset, path, value.clone());
        let event = clean(ruleset).1["events"].as_object().unwrap().keys().next().unwrap().clone();
        let found: BTreeSet<(Severity, &str, String)> = lint(ruleset, &header, &claims)
            .into_iter()
            .map(|finding| (finding.severity, finding.rule, finding.member))
            .collect();
        let expected: BTreeSet<(Severity, &str, String)> = expected
            .iter()
            .map(|(severity, rule, member)| (*severity, *rule, member.replace("EVENT", &event)))
            .collect();
        assert_eq!(found, expected, "{}: {path} = {value:?}", ruleset.name());
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let claims = json!({"iss": "", "iat": "now", "aud": 1, "sub": "a", "exp": 1, "events": []});
    let findings = lint(Ruleset::Ssf, &json!({"alg": "none"}), &claims);
    let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule).collect();
    for rule in [
        "SET-25",
        "SSF-18",
        "INTEROP-06",
        "SET-02",
        "SET-03",
        "SET-04",
        "SET-08",
        "SET-12",
        "SSF-01",
        "SSF-19",
        "SSF-20",
        "SSF-26",
    ] {
        assert!(rules.contains(rule), "{rule} is missing in {rules:?}");
    }
    let places: BTreeSet<(&str, &str)> =
        findings.iter().map(|finding| (finding.rule, finding.member.as_str())).collect();
    assert_eq!(places.len(), findings.len(), "each is told once");
}

#[test]
fn what_is_there_and_unreadable_is_not_said_to_be_missing() {
    for (claim, value) in [
        ("iss", json!(1)),
        ("jti", json!(null)),
        ("iat", json!("x")),
        ("sub_id", json!(1)),
        ("aud", json!([])),
    ] {
        let (header, claims) = changed(Ruleset::Ssf, claim, Some(value));
        let findings = lint(Ruleset::Ssf, &header, &claims);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(!findings[0].message.contains("missing"), "{findings:?}");
    }
}

#[test]
fn text_that_is_no_json_object_is_one_error() {
    for text in ["", "x", "[]", "{\"iss\":1,\"iss\":2}"] {
        for ruleset in Ruleset::ALL {
            let findings = check(None, text.as_bytes(), ruleset, None);
            assert_eq!(
                findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(),
                [Error],
                "{text}"
            );
        }
    }
    let (_, claims) = clean(Ruleset::Ssf);
    let findings = check(
        Some(b"{\"alg\":\"RS256\",\"alg\":\"none\"}"),
        claims.to_string().as_bytes(),
        Ruleset::Ssf,
        None,
    );
    assert_eq!(
        findings.iter().map(|finding| (finding.rule, finding.member.as_str())).collect::<Vec<_>>(),
        [("E-33", "header.alg")]
    );
}

// spec: SSF-03
#[test]
fn an_event_that_came_with_ssf_has_no_subject_in_its_payload() {
    let (header, claims) = clean(Ruleset::Ssf);
    let stream = json!({"format": "opaque", "id": "f67e39a0"});
    let claims = with(claims, "events", json!({Verification::URI: {"state": "x", "subject": stream}}));
    let found = lint(Ruleset::Ssf, &header, &with(claims, "sub_id", stream));
    let found: Vec<_> = found.iter().map(|finding| (finding.severity, finding.rule)).collect();
    assert_eq!(found, [(Error, "SSF-03")]);
}

// spec: RISC-22
#[test]
fn events_that_are_not_to_be_sent_are_pointed_out() {
    let (header, claims) = clean(Ruleset::Ssf);
    let found = |uri: &str, payload: Value| -> Vec<(Severity, &'static str)> {
        let claims = with(claims.clone(), "events", json!({uri: payload}));
        lint(Ruleset::Ssf, &header, &claims).iter().map(|finding| (finding.severity, finding.rule)).collect()
    };
    let risc = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked";
    assert_eq!(found(risc, json!({})), [(Warning, "RISC-22")]);
    assert_eq!(found(SessionEstablished::URI, json!({})), [(Warning, "E-64")]);
    let level = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change";
    let payload =
        json!({"namespace": "NIST-AAL", "current_level": "nist-aal2", "previous_level": "nist-aal1"});
    assert_eq!(found(level, payload), [(Warning, "CAEP-23")]);
}

#[test]
fn the_advice_leads_to_a_token_that_is_accepted() {
    for ruleset in Ruleset::ALL {
        let typ = ruleset.profile().typ();
        let (header, claims) = clean(ruleset);
        for bad in [json!("JWT"), json!("at+jwt"), json!("secevent+jwt; charset=utf-8"), Value::Null] {
            for finding in lint(ruleset, &with(header.clone(), "typ", bad), &claims) {
                assert!(finding.fix.contains(typ), "{}: {finding:?}", ruleset.name());
            }
        }
    }
}

#[test]
fn rulesets_have_names_and_severities_an_order() {
    for ruleset in Ruleset::ALL {
        assert_eq!(ruleset.name().parse(), Ok(ruleset));
    }
    let unknown: Result<Ruleset, UnknownRuleset> = "SSF".parse();
    assert!(unknown.is_err());
    assert!(Note < Warning && Warning < Error);
    assert_eq!((Note.to_string(), serde_json::to_value(Error).unwrap()), ("note".to_owned(), json!("error")));
    assert_eq!(Ruleset::CaepInterop.profile(), Profile::Ssf);
}

/// JSON that is no JSON breaks no row of the catalogue but the document below all of them.
const OUTSIDE_THE_CATALOGUE: &str = "RFC8259";

#[test]
fn every_rule_that_is_named_exists() {
    let mut known: BTreeSet<String> = BTreeSet::from([OUTSIDE_THE_CATALOGUE.to_owned()]);
    for entry in std::fs::read_dir(specs("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(path).unwrap();
            let ids = text.lines().filter_map(|line| line.strip_prefix("id = \"")?.strip_suffix('"'));
            known.extend(ids.map(str::to_owned));
        }
    }
    assert!(known.len() > 500, "{}", known.len());
    let mut named = BTreeSet::new();
    rules_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
    assert!(named.len() > 60, "{}", named.len());
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The ids of requirements among the string literals of the source files below `folder`.
fn rules_in(folder: &Path, named: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rules_in(&path, named);
            continue;
        }
        let source = std::fs::read_to_string(path).unwrap();
        let code = source
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .filter(|line| !line.trim_start().starts_with("//"));
        let literals = code.flat_map(|line| line.split('"').skip(1).step_by(2));
        named.extend(literals.filter(|literal| is_rule(literal)).map(str::to_owned));
    }
}

fn is_rule(text: &str) -> bool {
    let Some((prefix, number)) = text.rsplit_once('-') else { return text == OUTSIDE_THE_CATALOGUE };
    let upper = prefix.bytes().all(|b| b.is_ascii_uppercase());
    upper
        && !prefix.is_empty()
        && (2..=3).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

proptest! {
    #[test]
    fn what_the_linter_passes_can_be_written(
        ruleset in prop::sample::select(Ruleset::ALL.to_vec()),
        claim in prop::sample::select(Profile::claims().chain(["x"]).collect::<Vec<_>>()),
        value in prop::option::of(any_json()),
    ) {
        let (header, claims) = changed(ruleset, claim, value);
        let findings = lint(ruleset, &header, &claims);
        if findings.iter().all(|finding| finding.severity < Error) {
            let claims = Claims::read(claims.to_string().as_bytes()).unwrap();
            prop_assert!(claims.prove(ruleset.profile()).is_ok());
        }
    }

    #[test]
    fn any_bytes_have_findings(header in prop::collection::vec(any::<u8>(), 0..60), claims in ".{0,60}") {
        for ruleset in Ruleset::ALL {
            let findings = check(Some(&header), claims.as_bytes(), ruleset, Some(NOW));
            prop_assert!(findings.iter().any(|finding| finding.severity == Error));
        }
    }
}

// finding: A11
#[test]
fn a_fix_names_the_member_that_is_there_and_never_takes_the_only_subject_away() {
    let (header, claims) = clean(Ruleset::Ssf);
    let lint = |claims: &Value| lint(Ruleset::Ssf, &header, claims);
    let fix_of = |findings: &[Finding], member: &str| {
        findings.iter().find(|finding| finding.member == member).map(|finding| finding.fix.clone())
    };
    for (subject, member, fix) in [
        (
            json!({"format": "phone_number", "phone": "+12065550100"}),
            "sub_id.phone_number",
            "write `phone_number` instead of `phone`",
        ),
        (
            json!({"format": "iss_sub", "issuer": "https://idp.example", "sub": "7"}),
            "sub_id.iss",
            "write `iss` instead of `issuer`",
        ),
    ] {
        let findings = lint(&with(claims.clone(), "sub_id", subject));
        assert_eq!(fix_of(&findings, member).as_deref(), Some(fix));
    }

    let uri = claims["events"].as_object().unwrap().keys().next().unwrap().clone();
    let mut inside = claims.clone();
    let subject = inside.as_object_mut().unwrap().remove("sub_id").unwrap();
    inside["events"][&uri]["subject"] = subject;
    let findings = lint(&inside);
    let expected = format!("move `subject` from the payload of {uri} to a top-level `sub_id`");
    assert_eq!(fix_of(&findings, "sub_id"), Some(expected));
    assert_eq!(fix_of(&findings, &format!("events.{uri}.subject")), None);
}
