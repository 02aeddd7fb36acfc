//! Every example that the standards print is handled as specs/examples/index.json says.

use crate::{error_rule, specs, specs_json};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::lint::{self, Ruleset, Severity};
use secevent::{Claims, Profile, Set, Strictness, Subject, Timestamp, json, scim};
use serde_json::Value;
use std::collections::BTreeSet;

/// Why an example is no SSF 1.0 SET: every MUST that it breaks, for the reason that the index states.
const NOT_SSF: &[(&str, &[&str])] = &[
    ("bcl-2_4-logout-token.json", &["SSF-01", "SSF-19", "SSF-20"]),
    ("google-risc-account-disabled.json", &["RISC-24", "SSF-01"]),
    ("oauth-3_1-fig3.json", &["RISC-24", "SSF-01", "SUBJ-01"]),
    ("oauth-3_2-fig4.json", &["RISC-24", "SSF-01", "SUBJ-01"]),
    ("oauth-3_3-fig5.json", &["RISC-24", "SSF-01", "SUBJ-01"]),
    ("oauth-3_4-fig6.json", &["SSF-01"]),
    ("rfc8417-2_1_1-fig1.json", &["SSF-01", "SSF-19", "SSF-29"]),
    ("rfc8417-2_1_2-fig2.json", &["SSF-01", "SSF-19"]),
    ("rfc8417-2_1_3-fig3.json", &["SSF-01"]),
    ("rfc8417-2_1_4-fig4.json", &["RISC-24", "SSF-01"]),
    ("rfc8417-2_4-fig5.json", &["SSF-01"]),
    ("rfc8417-2_4-fig6.json", &["SET-25", "SSF-01"]),
    ("rfc8935-2_1-fig1.json", &["JWTBCP-01", "RISC-24", "SSF-01"]),
    ("rfc8936-2_5-fig6.json", &["SET-25", "SSF-01", "SSF-18", "SSF-19", "SSF-29"]),
    ("rfc9493-1-fig3.json", &["SET-04", "SSF-01", "SSF-74"]),
    ("rfc9493-4_1-fig15.json", &["SET-01", "SET-03", "SET-04", "SSF-19", "SSF-74", "SSF-75"]),
    ("rfc9493-4_1-fig16.json", &["SET-01", "SET-03", "SET-04", "SSF-19", "SSF-74", "SSF-75"]),
    ("rfc9493-4_1-fig17.json", &["SET-01", "SET-03", "SET-04", "SSF-19", "SSF-74", "SSF-75"]),
    ("rfc9493-4_2-fig20.json", &["SET-01", "SET-03", "SET-04", "SSF-19", "SSF-74", "SSF-75"]),
    // Not JSON as printed; what is meant is a good SET.
    ("risc-2_3-account-disabled-example.json", &[]),
    ("sse-id1-caep-event-properties-example.json", &[]),
    ("sse-id1-figarrayaud.json", &["SSF-01"]),
    ("sse-id1-figstreamupdatedset.json", &[]),
    ("sse-id1-figverifyset.json", &["SSF-01"]),
    ("sse-id1-risc-event-subject-example.json", &[]),
    ("sse-id1-subject-custom-type-ex.json", &["LEGACY-30", "SSF-01"]),
    ("sse-id1-subject-ids-ex-complex.json", &[]),
    ("sse-id1-subject-ids-ex-simple.json", &["SSF-01"]),
    ("sse-id1-subject-properties-ex.json", &["SSF-01"]),
    ("ssf-5-risc-event-subject-example.json", &["SUBJ-14"]),
    ("ssf-5-subject-custom-type-ex.json", &["LEGACY-30"]),
];

/// Claims that their own document should have refused, and the MUST that they break.
const INVALID_CLAIMS: &[(&str, &[&str])] = &[
    ("rfc9493-1-fig3.json", &["SET-04"]),
    ("ssf-5-risc-event-subject-example.json", &["SUBJ-14"]),
    ("ssf-5-subject-custom-type-ex.json", &["LEGACY-30"]),
    // The index in `txn` starts at one. A single token cannot show that (E-120): see the test below.
    ("rfc9967-2_5_1_3-fig16.json", &[]),
    ("rfc9967-2_5_1_3-fig17.json", &[]),
    ("rfc9967-2_5_1_3-fig18.json", &[]),
    ("rfc9967-2_5_1_3-fig19.json", &[]),
];

/// The clock of whoever reads the examples: after all of them but the one that is dated 2451.
const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

struct Example {
    file: String,
    entry: Value,
    text: String,
    content: Value,
}

fn examples() -> Vec<Example> {
    let index = specs_json("examples/index.json");
    let read = |entry: &Value| {
        let file = entry["file"].as_str().unwrap().to_owned();
        let text = std::fs::read_to_string(specs(&format!("examples/{file}"))).unwrap();
        let content = serde_json::from_str(&text).unwrap();
        Example { file, entry: entry.clone(), text, content }
    };
    index["examples"].as_array().unwrap().iter().map(read).collect()
}

impl Example {
    fn kind(&self) -> &str {
        self.entry["kind"].as_str().unwrap()
    }

    fn valid(&self) -> bool {
        self.entry["valid"].as_bool().unwrap()
    }

    fn valid_as_ssf(&self) -> Option<bool> {
        self.entry["valid_as_ssf_1_0"].as_bool()
    }

    /// The profile of the document that prints it.
    fn profile(&self) -> Profile {
        match self.entry["document"].as_str().unwrap() {
            "SSF" | "CAEP" | "RISC" => Profile::Ssf,
            "SCIM" => Profile::Scim,
            "BCL" => Profile::Logout,
            "LEGACY" | "OAUTH" => Profile::Legacy,
            _ => Profile::Rfc8417,
        }
    }

    fn ruleset(&self) -> Ruleset {
        Ruleset::ALL
            .into_iter()
            .find(|ruleset| ruleset.profile() == self.profile())
            .unwrap_or(Ruleset::Rfc8417)
    }

    /// The tokens in it: their headers, where they are printed, and their claims.
    fn tokens(&self) -> Vec<(Option<Vec<u8>>, String)> {
        let decoded = |compact: &Value| {
            let (header, claims) = decode(compact.as_str().unwrap());
            (Some(header), String::from_utf8(claims).unwrap())
        };
        match self.kind() {
            "set-claims" | "jwt-claims" => vec![(None, self.text.clone())],
            "json" if self.content.get("events").is_some() => vec![(None, self.text.clone())],
            "jwt-compact" => vec![decoded(&self.content["compact"])],
            "set-claims-raw" | "raw" => {
                let fixed =
                    self.content.get("json_after_minimal_fix").filter(|fixed| fixed.get("events").is_some());
                fixed.map(|fixed| (None, fixed.to_string())).into_iter().collect()
            }
            "http-request" if self.content.get("decoded_payload").is_some() => {
                vec![decoded(&self.content["body_text"])]
            }
            _ => {
                let body = self.content.get("body_json").unwrap_or(&self.content);
                let sets = body.get("sets").and_then(Value::as_object);
                sets.map_or_else(Vec::new, |sets| sets.values().map(decoded).collect())
            }
        }
    }
}

fn decode(compact: &str) -> (Vec<u8>, Vec<u8>) {
    let mut parts = compact.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// The requirements that a linter finds broken.
fn broken(header: Option<&[u8]>, claims: &str, ruleset: Ruleset) -> BTreeSet<&'static str> {
    let findings = lint::check(header, claims.as_bytes(), ruleset, Some(NOW));
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.rule)
        .collect()
}

fn expected(table: &[(&str, &[&'static str])], file: &str) -> BTreeSet<&'static str> {
    let row = table.iter().find(|(name, _)| *name == file);
    row.unwrap_or_else(|| panic!("{file} needs a row that says why")).1.iter().copied().collect()
}

fn not_json(text: &str) {
    assert_eq!(error_rule(json::check(text.as_bytes(), json::Limits::BODY)), "RFC8259", "{text}");
    assert!(Claims::read(text.as_bytes()).is_err());
}

#[test]
fn every_printed_example_is_handled_as_the_index_says() {
    let mut visited = BTreeSet::new();
    for example in examples() {
        assert!(visited.insert(example.file.clone()), "{} is listed twice", example.file);
        match example.kind() {
            "set-claims" => set_claims(&example),
            "jwt-claims" => same_claims(&example),
            "jwt-compact" => jwt_compact(&example),
            "jose-header" => {
                json::check(example.text.as_bytes(), json::Limits::TOKEN).unwrap();
                assert!(Profile::Ssf.accepts_typ(example.content["typ"].as_str()), "{}", example.file);
            }
            "subject" => subject(&example.content),
            "json" => body(&example.content),
            "http-request" | "http-response" => message(&example),
            "http-headers" => assert_eq!(header(&example.content, "cache-control"), Some("no-store")),
            "raw" | "set-claims-raw" => raw(&example),
            other => panic!("{}: no test knows the kind {other}", example.file),
        }
    }
    assert_eq!(visited.len(), 171);
    assert_eq!(specs_json("examples/index.json")["count"], 171);
    let on_disk: BTreeSet<String> = std::fs::read_dir(specs("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "index.json")
        .collect();
    assert_eq!(on_disk, visited);
}

/// Claims that are read and written again are the same JSON, and a SET's own text is not touched at all.
fn same_claims(example: &Example) {
    let claims = Claims::read(example.text.as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&claims).unwrap(), example.content, "{}", example.file);
}

fn set_claims(example: &Example) {
    let (file, profile) = (&example.file, example.profile());
    if example.valid() {
        same_claims(example);
        let set =
            Set::read(example.text.as_bytes(), profile).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(set.as_json(), example.text, "{file}");
    } else {
        assert_eq!(broken(None, &example.text, example.ruleset()), expected(INVALID_CLAIMS, file), "{file}");
    }
    if profile == Profile::Scim {
        let set = Claims::read(example.text.as_bytes()).unwrap().prove(Profile::Scim);
        let set = set.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(serde_json::from_str::<Value>(set.as_json()).unwrap(), example.content, "{file}");
    }
}

fn jwt_compact(example: &Example) {
    let (header, claims) = decode(example.content["compact"].as_str().unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap(), example.content["header"]);
    let set = Set::read(&claims, Profile::Rfc8417).unwrap();
    assert_eq!(set.as_json().as_bytes(), claims);
    assert_eq!(
        serde_json::from_str::<Value>(set.as_json()).unwrap(),
        specs_json("examples/rfc8417-2_4-fig5.json")
    );
}

fn subject(content: &Value) {
    for strictness in [Strictness::Lenient, Strictness::Strict] {
        assert_eq!(Subject::from_value(content.clone(), strictness).unwrap().to_value(), *content);
    }
    let text = content.to_string();
    assert_eq!(Subject::from_json(&text).unwrap().to_value(), *content);
}

/// A body: JSON that every parser reads alike. The subjects in it are read.
fn body(content: &Value) {
    let objects = match content {
        Value::Array(objects) => objects.iter().collect(),
        object => vec![object],
    };
    for object in objects {
        json::check(object.to_string().as_bytes(), json::Limits::BODY).unwrap();
        if let Some(subject) = object.get("subject") {
            Subject::from_legacy_value(subject.clone()).unwrap();
        }
    }
}

fn header<'a>(content: &'a Value, name: &str) -> Option<&'a str> {
    let headers = content["headers"].as_array().unwrap();
    let found = headers.iter().find(|header| header["name"].as_str().unwrap().eq_ignore_ascii_case(name))?;
    found["value"].as_str()
}

fn message(example: &Example) {
    let content = &example.content;
    if let Some(json) = content.get("body_json") {
        body(json);
    }
    let tokens = example.tokens();
    let payloads = match (content.get("decoded_payload"), content.get("decoded_payloads")) {
        (Some(one), _) => vec![one],
        (_, Some(all)) => all.as_object().unwrap().values().collect(),
        (None, None) => Vec::new(),
    };
    assert_eq!(tokens.len(), payloads.len(), "{}", example.file);
    for ((_, text), payload) in tokens.iter().zip(payloads) {
        let set = Set::read(text.as_bytes(), Profile::Rfc8417).unwrap();
        assert_eq!(set.as_json(), text);
        assert_eq!(serde_json::to_value(set.claims()).unwrap(), *payload, "{}", example.file);
    }
    match example.file.as_str() {
        "bcl-2_5-logout-request.json" => {
            let token = content["body_text"].as_str().unwrap().strip_prefix("logout_token=").unwrap();
            assert!(token.split('.').any(|part| URL_SAFE_NO_PAD.decode(part).is_err()), "elided");
        }
        "multipush-fig4.json" => {
            assert!(content["body_json"].to_string().contains("description"));
            assert_eq!(header(content, "content-language"), None);
        }
        "rfc9967-2_5_1_1-fig12.json" => assert!(content["version"].is_null()),
        "ssf-8_1_3_3-figremovereq.json" => {
            let subject = content["body_json"]["subject"].clone();
            assert_eq!(error_rule(Subject::from_value(subject.clone(), Strictness::Strict)), "E-49");
            assert_eq!(Subject::from_value(subject, Strictness::Lenient).unwrap().format(), "phone_number");
        }
        file => assert!(example.valid(), "{file} is invalid, and nothing here says why"),
    }
}

fn raw(example: &Example) {
    not_json(example.content["raw_text"].as_str().unwrap());
    let Some(fixed) = example.content.get("json_after_minimal_fix") else { return };
    let text = fixed.to_string();
    json::check(text.as_bytes(), json::Limits::BODY).unwrap();
    if fixed.get("events").is_some() {
        let set = Set::read(text.as_bytes(), example.profile()).unwrap();
        assert_eq!(serde_json::to_value(set.claims()).unwrap(), *fixed, "{}", example.file);
        assert_eq!(set.subject().is_some(), !example.file.contains("fig6"), "{}", example.file);
    }
}

// spec: SSF-01, SSF-19, SSF-20, SSF-29
#[test]
fn an_example_is_an_ssf_set_or_is_refused_for_the_stated_reason() {
    let mut rows: BTreeSet<&str> = NOT_SSF.iter().map(|(file, _)| *file).collect();
    for example in examples() {
        let file = &example.file;
        match example.valid_as_ssf() {
            Some(true) => {
                let set = Set::read(example.text.as_bytes(), Profile::Ssf).unwrap();
                assert_eq!(set.as_json(), example.text);
                let written = set
                    .claims()
                    .clone()
                    .prove(Profile::Ssf)
                    .unwrap_or_else(|error| panic!("{file}: {error}"));
                assert_eq!(
                    serde_json::from_str::<Value>(written.as_json()).unwrap(),
                    example.content,
                    "{file}"
                );
                assert_eq!(broken(None, &example.text, Ruleset::Ssf), BTreeSet::new(), "{file}");
            }
            Some(false) => {
                let mut found = BTreeSet::new();
                for (header, claims) in example.tokens() {
                    found.extend(broken(header.as_deref(), &claims, Ruleset::Ssf));
                    if let Err(refused) = Set::read(claims.as_bytes(), Profile::Ssf) {
                        assert!(found.contains(refused.rule()), "{file}: {refused}");
                    }
                }
                assert_eq!(found, expected(NOT_SSF, file), "{file}: {}", example.entry["why_not_ssf_1_0"]);
                if found.is_empty() {
                    not_json(example.content["raw_text"].as_str().unwrap());
                }
                assert!(rows.remove(file.as_str()));
            }
            None => {}
        }
    }
    assert!(rows.is_empty(), "no such examples: {rows:?}");
}

#[test]
fn the_bulk_examples_of_rfc_9967_count_from_one_and_should_from_zero() {
    for (place, figure) in (16..=19).enumerate() {
        let printed = specs_json(&format!("examples/rfc9967-2_5_1_3-fig{figure}.json"));
        let printed = printed["txn"].as_str().unwrap();
        let (txn, index) = printed.split_once(':').unwrap();
        assert_eq!(index, (place + 1).to_string());
        assert_eq!(scim::bulk_txn(txn, place), format!("{txn}:{place}"));
    }
}
