//! Every message that the standards print is read, and written as the same JSON.

use super::{LEGACY, json};
use secevent::Invalid;
use secevent::json::Limits;
use secevent_ssf::metadata::{Placement, issuer_path_of, well_known_url};
use secevent_ssf::poll::{self, PollLimits, PollRequest, PollResponse};
use secevent_ssf::{
    AddSubject, CreateStream, Endpoint, RemoveSubject, ReplaceStream, StreamConfiguration, StreamId,
    StreamStatus, Tolerance, TransmitterMetadata, UpdateStatus, UpdateStream, VerificationRequest, WellKnown,
    push,
};
use serde_json::Value;
use std::path::Path;

type Rewrite = fn(&[u8], Tolerance) -> Result<String, Invalid>;

const METADATA: Rewrite = |body, tolerance| Ok(TransmitterMetadata::read(body, tolerance)?.to_json());
const CREATE: Rewrite = |body, tolerance| Ok(CreateStream::read(body, tolerance)?.to_exposed_json());
const UPDATE: Rewrite = |body, tolerance| Ok(UpdateStream::read(body, tolerance)?.to_exposed_json());
const REPLACE: Rewrite = |body, tolerance| Ok(ReplaceStream::read(body, tolerance)?.to_exposed_json());
const CONFIGURATION: Rewrite = |body, tolerance| Ok(StreamConfiguration::read(body, tolerance)?.to_json());
const CONFIGURATIONS: Rewrite = |body, tolerance| {
    let streams = StreamConfiguration::read_list(body, tolerance)?;
    Ok(StreamConfiguration::list_to_json(&streams))
};
const STATUS: Rewrite = |body, tolerance| Ok(StreamStatus::read(body, tolerance)?.to_json());
const UPDATE_STATUS: Rewrite = |body, tolerance| Ok(UpdateStatus::read(body, tolerance)?.to_json());
const ADD: Rewrite = |body, tolerance| Ok(AddSubject::read(body, tolerance)?.to_json());
const REMOVE: Rewrite = |body, tolerance| Ok(RemoveSubject::read(body, tolerance)?.to_json());
const VERIFY: Rewrite = |body, tolerance| Ok(VerificationRequest::read(body, tolerance)?.to_json());
const PUSH_ERROR: Rewrite = |body, _| Ok(push::Error::read(body).expect("an error").to_json());
const POLL: Rewrite = |body, _| Ok(PollRequest::read(body, PollLimits::default())?.to_json());
const POLLED: Rewrite = |body, _| {
    let response = PollResponse::read(body, Limits::BODY)?;
    let sets = response.sets.iter().map(|(jti, token)| (jti.as_str(), token.as_str()));
    let body = poll::write(sets, response.more_available);
    Ok(String::from_utf8(body.into()).expect("JSON is UTF-8"))
};

#[test]
fn printed_bodies_are_read_and_written_alike() {
    let table: &[(&str, Tolerance, Rewrite)] = &[
        ("ssf-7_2_3-figdiscoveryresponse", Tolerance::NONE, METADATA),
        ("ssf-8_1_1_1-figcreatestreamreq", Tolerance::NONE, CREATE),
        ("ssf-8_1_1_1-figcreatestreamresp", Tolerance::NONE, CONFIGURATION),
        ("ssf-8_1_1_2-figreadconfigresp", Tolerance::NONE, CONFIGURATION),
        ("ssf-8_1_1_2-figreadconfigrespnostreamidmanystreams", Tolerance::NONE, CONFIGURATIONS),
        ("ssf-8_1_1_2-figreadconfigrespnostreamidnostreams", Tolerance::NONE, CONFIGURATIONS),
        ("ssf-8_1_1_2-figreadconfigrespnostreamidonestream", Tolerance::NONE, CONFIGURATIONS),
        ("ssf-8_1_1_3-figupdateconfigreq", Tolerance::NONE, UPDATE),
        ("ssf-8_1_1_3-figupdateconfigresp", Tolerance::NONE, CONFIGURATION),
        ("ssf-8_1_1_4-figreplaceconfigreq", Tolerance::NONE, REPLACE),
        ("ssf-8_1_1_4-figreplaceconfigresp", Tolerance::NONE, CONFIGURATION),
        ("ssf-8_1_2_1-figstatusresp", Tolerance::NONE, STATUS),
        ("ssf-8_1_2_2-figupdatestatusreq", Tolerance::NONE, UPDATE_STATUS),
        ("ssf-8_1_2_2-figupdatestatuswithreasonreq", Tolerance::NONE, UPDATE_STATUS),
        ("ssf-8_1_2_2-figupdatestatusresp", Tolerance::NONE, STATUS),
        ("ssf-8_1_3_2-figaddreq", Tolerance::NONE, ADD),
        ("ssf-8_1_3_3-figremovereq", Tolerance::NONE, REMOVE),
        ("ssf-8_1_4_2-figverifyreq", Tolerance::NONE, VERIFY),
        ("rfc8935-2_3-fig3", Tolerance::NONE, PUSH_ERROR),
        ("rfc8935-2_3-fig4", Tolerance::NONE, PUSH_ERROR),
        ("rfc8935-2_3-fig5", Tolerance::NONE, PUSH_ERROR),
        ("rfc8936-2_4_1-fig1", Tolerance::NONE, POLL),
        ("rfc8936-2_4_1-fig2", Tolerance::NONE, POLL),
        ("rfc8936-2_4_2-fig3", Tolerance::NONE, POLL),
        ("rfc8936-2_4_3-fig4", Tolerance::NONE, POLL),
        ("rfc8936-2_4_4-fig5", Tolerance::NONE, POLL),
        ("rfc8936-2_5-fig6", Tolerance::NONE, POLLED),
        ("rfc8936-2_5-fig7", Tolerance::NONE, POLLED),
        ("sse-id1-figdiscoveryresponse", LEGACY, METADATA),
        ("sse-id1-figreadconfigresp", LEGACY, CONFIGURATION),
        // SSE ID1 updates its one stream by POST, with everything in it.
        ("sse-id1-figupdateconfigreq", LEGACY, REPLACE),
        ("sse-id1-figstatusresp", LEGACY, STATUS),
        ("sse-id1-figstatuswithsubjectresp", LEGACY, STATUS),
        ("sse-id1-figaddreq", LEGACY, ADD),
        ("sse-id1-figremovereq", LEGACY, REMOVE),
        ("sse-id1-figverifyreq", LEGACY, VERIFY),
    ];
    for (file, tolerance, rewrite) in table {
        let printed = example(file)["body_json"].clone();
        let written = rewrite(printed.to_string().as_bytes(), *tolerance)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(json(&written), as_written_here(file, printed), "{file}");
    }
}

/// Where what is written differs from what is printed, for a reason.
fn as_written_here(file: &str, mut printed: Value) -> Value {
    match file {
        // A member with its default value is left out.
        "rfc8936-2_4_3-fig4" => drop(printed.as_object_mut().unwrap().remove("returnImmediately")),
        // `phone` is no registered format, and an E.164 number has no spaces (E-49, E-50).
        "ssf-8_1_3_3-figremovereq" | "sse-id1-figremovereq" => {
            printed["subject"] = json(r#"{"format":"phone_number","phone_number":"+12065550123"}"#);
        }
        // SSE ID1 had a status for each subject; SSF has not, and unknown members are ignored.
        "sse-id1-figstatuswithsubjectresp" => drop(printed.as_object_mut().unwrap().remove("subject")),
        _ => {}
    }
    printed
}

#[test]
fn printed_fragments_of_metadata() {
    for (member, file) in [
        ("spec_version", "ssf-7_1-figspecversionfinal"),
        ("authorization_schemes", "ssf-7_1_1-figspecurn"),
        ("authorization_schemes", "interop-2_3_7-authorization-scheme"),
    ] {
        let printed = example(file);
        let value =
            if member == "spec_version" { printed[member].clone() } else { Value::Array(vec![printed]) };
        let body = serde_json::json!({"issuer": "https://tr.example.com", member: value});
        assert_eq!(json(&METADATA(body.to_string().as_bytes(), Tolerance::NONE).unwrap()), body, "{file}");
    }
}

// spec: SSF-42, SSF-43, SSF-117, LEGACY-16
#[test]
fn printed_targets() {
    let target = |file: &str| example(file)["target"].as_str().unwrap().to_owned();
    let plain = "https://tr.example.com".parse().unwrap();
    let with_path = "https://tr.example.com/issuer1".parse().unwrap();
    let google = "https://accounts.google.com/".parse().unwrap();
    let origin = "https://tr.example.com";
    assert_eq!(well_known_url(&plain), format!("{origin}{}", target("ssf-7_2_1-figdiscoveryrequest")));
    let path = target("ssf-7_2_1-figdiscoveryrequestpath");
    assert_eq!(well_known_url(&with_path), format!("{origin}{path}"));
    assert_eq!(issuer_path_of(&path).unwrap().issuer_path, "/issuer1");
    assert_eq!(
        WellKnown::Risc.url(&google, Placement::Inserted),
        format!("https://accounts.google.com{}", target("ssf-7_2_2-figolddiscoveryrequest"))
    );

    let id: StreamId = "f67e39a0a4d34d56b3aa1bc4cff0069f".parse().unwrap();
    for file in ["ssf-8_1_1_2-figreadconfigreq", "ssf-8_1_1_5-figdeletestreamreq", "ssf-8_1_2_1-figstatusreq"]
    {
        assert_eq!(target(file).split_once('?').unwrap().1, id.query(), "{file}");
    }
}

// spec: PUSH-01, PUSH-02, PUSH-04
#[test]
fn the_printed_push() {
    let printed = example("rfc8935-2_1-fig1");
    let token = printed["body_text"].as_str().unwrap();
    let endpoint: Endpoint = "https://notify.rp.example.com/Events".parse().unwrap();
    let request = push::request(&endpoint, token.to_owned(), None);
    assert_eq!(request.method().as_str(), printed["method"]);
    assert_eq!(request.uri().scheme_str(), Some("https"));
    assert_eq!(request.uri().path(), printed["target"]);
    assert_eq!(request.body(), token);
    for name in ["Accept", "Content-Type"] {
        assert_eq!(request.headers()[name], header(&printed, name).unwrap());
    }
    assert_eq!(request.headers().len(), 2);
}

// spec: PUSH-11, PUSH-13, PUSH-14
#[test]
fn the_printed_answers_to_a_push() {
    let accepted = push::accepted();
    assert_eq!(accepted.status().as_u16(), example("rfc8935-2_2-fig2")["status"]);
    assert!(accepted.body().is_empty() && accepted.headers().is_empty());
    for file in ["rfc8935-2_3-fig3", "rfc8935-2_3-fig4", "rfc8935-2_3-fig5"] {
        let printed = example(file);
        let [err, description] =
            ["err", "description"].map(|name| printed["body_json"][name].as_str().unwrap());
        let refusal = push::refusal(err.parse().unwrap(), description);
        assert_eq!(refusal.status().as_u16(), printed["status"], "{file}");
        assert_eq!(refusal.headers()["content-type"], header(&printed, "Content-Type").unwrap(), "{file}");
        // Printed is en-US; what is written here is no region's English.
        assert_eq!(refusal.headers()["content-language"], "en", "{file}");
        assert_eq!(json(std::str::from_utf8(refusal.body()).unwrap()), printed["body_json"], "{file}");
    }
}

// spec: POLL-01, POLL-02, POLL-16, POLL-31
#[test]
fn the_printed_polls() {
    let endpoint: Endpoint = "https://notify.idp.example.com/Events".parse().unwrap();
    for file in ["rfc8936-2_4_1-fig1", "rfc8936-2_4_2-fig3", "rfc8936-2_4_3-fig4", "rfc8936-2_4_4-fig5"] {
        let printed = example(file);
        let poll =
            PollRequest::read(printed["body_json"].to_string().as_bytes(), PollLimits::default()).unwrap();
        let request = poll::request(&endpoint, &poll, None);
        assert_eq!(request.method().as_str(), printed["method"], "{file}");
        assert_eq!(request.uri().scheme_str(), Some("https"), "{file}");
        assert_eq!(request.headers()["content-type"], header(&printed, "Content-Type").unwrap(), "{file}");
        let language = header(&printed, "Content-Language");
        assert_eq!(request.headers().contains_key("content-language"), language.is_some(), "{file}");
    }
    let response = poll::response(std::iter::empty(), false);
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
}

fn header<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let headers = message["headers"].as_array().unwrap();
    headers.iter().find(|header| header["name"] == name).map(|header| header["value"].as_str().unwrap())
}

fn example(name: &str) -> Value {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/examples").join(name).with_extension("json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    json(&text)
}
