//! Messages of SSF that other products sent, recorded in `specs/peers`: what we read in each.

use secevent::json::Limits;
use secevent_ssf::poll::{PollLimits, PollRequest, PollResponse};
use secevent_ssf::{
    AddSubject, CreateStream, DeliverBy, Method, RemoveSubject, ReplaceStream, StreamConfiguration,
    StreamStatus, Tolerance, TransmitterMetadata, UpdateStatus, UpdateStream, VerificationRequest,
};
use serde_json::Value;
use std::fs;
use std::path::Path;

const SSF: Tolerance = Tolerance { plain_http: true, ..Tolerance::NONE };
const LEGACY: Tolerance = Tolerance { legacy: true, ..SSF };

fn recorded(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/peers").join(file);
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
}

/// A request that was recorded, and its answer.
struct Exchange {
    /// What it was about.
    note: String,
    method: String,
    path: String,
    request: String,
    answer: String,
    success: bool,
}

/// The exchanges of a file, whichever of the recorders wrote it.
fn exchanges(file: &str) -> Vec<Exchange> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let recorded = recorded(file);
    let list = if recorded["exchanges"].is_array() { &recorded["exchanges"] } else { &recorded["requests"] };
    let one = |one: &Value| {
        if one["request"].is_object() {
            let line = text(&one["request"]["line"]);
            let mut words = line.split(' ').map(str::to_owned);
            return Exchange {
                note: text(&one["note"]),
                method: words.next().unwrap(),
                path: words.next().unwrap(),
                request: text(&one["request"]["body"]),
                answer: text(&one["response"]["body"]),
                success: text(&one["response"]["line"]).starts_with("HTTP/1.1 2"),
            };
        }
        let either =
            |names: [&str; 2]| names.iter().map(|name| text(&one[*name])).find(|text| !text.is_empty());
        let url = either(["URL", "path"]).unwrap();
        let path = url.split_once("://").map_or(&*url, |(_, rest)| &rest[rest.find('/').unwrap()..]);
        Exchange {
            note: either(["Step", "note"]).unwrap_or_default(),
            method: either(["Method", "method"]).unwrap(),
            path: path.to_owned(),
            request: either(["ReqBody", "body"]).unwrap_or_default(),
            answer: either(["RespBody", "answer"]).unwrap_or_default(),
            success: ["Status", "status"]
                .iter()
                .any(|name| one[*name].as_u64().is_some_and(|code| code < 300)),
        }
    };
    list.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn metadata() {
    let documents = exchanges("keycloak-metadata.json");
    let ssf = documents.iter().filter(|one| one.success && one.path.contains("ssf-configuration"));
    let mut read = 0;
    for one in ssf {
        let metadata = TransmitterMetadata::read(one.answer.as_bytes(), SSF).unwrap();
        assert_eq!(metadata.issuer.as_str(), "http://127.0.0.1:31881/realms/demo");
        assert!(metadata.configuration_endpoint.is_some() && metadata.jwks_uri.is_some());
        assert_eq!(metadata.critical_subject_members, ["user"]);
        read += 1;
    }
    assert_eq!(read, 2);
    let i2gosignals = recorded("i2goSignals-transmitter.json")["metadata"].to_string();
    let metadata = TransmitterMetadata::read(i2gosignals.as_bytes(), SSF).unwrap();
    assert_eq!(metadata.issuer.as_str(), "http://127.0.0.1:35335");
}

#[test]
fn streams_of_keycloak() {
    let (mut read, mut without_endpoint) = (0, 0);
    for one in exchanges("keycloak-streams.json") {
        if !one.success || !one.answer.starts_with('{') {
            continue;
        }
        match StreamConfiguration::read(one.answer.as_bytes(), SSF) {
            Ok(stream) => {
                assert_eq!(stream.iss.as_str(), "http://127.0.0.1:31881/realms/demo", "{}", one.note);
                assert!(!stream.events_delivered.is_empty(), "{}", one.note);
                read += 1;
            }
            // A polled stream that was made to forget its endpoint has nothing to poll.
            Err(error) => {
                assert_eq!(error.member(), "delivery.endpoint_url", "{}", one.note);
                // finding: A14. In a list it is named, and does not hide the others.
                let list =
                    StreamConfiguration::read_each(format!("[{}]", one.answer).as_bytes(), SSF).unwrap();
                assert!(list[0].as_ref().unwrap_err().stream_id.is_some(), "{}", one.note);
                without_endpoint += 1;
            }
        }
    }
    assert_eq!((read, without_endpoint), (8, 2));
    // finding: A1. It shows what pushes carry, so that this can be compared.
    let pushed =
        exchanges("keycloak-streams.json").into_iter().find(|one| one.note.starts_with("create, push with"));
    let shown = StreamConfiguration::shown_authorization(pushed.unwrap().answer.as_bytes()).unwrap();
    assert_eq!(shown.expose(), "Bearer pushed-by-keycloak");
}

#[test]
fn a_stream_of_i2gosignals() {
    let answer = recorded("i2goSignals-transmitter.json")["create_answer"].to_string();
    let stream = StreamConfiguration::read(answer.as_bytes(), SSF).unwrap();
    assert_eq!(stream.delivery.method, Method::Poll);
    assert_eq!(stream.delivery.endpoint_url.as_str(), "http://127.0.0.1:35335/poll/6b0e5a8eac34d325dd4c7cb4");
    // finding: A10. What each poll has to carry.
    assert!(StreamConfiguration::shown_authorization(answer.as_bytes()).is_some());
}

#[test]
fn status_verification_and_subjects_of_keycloak() {
    let mut read = 0;
    for one in exchanges("keycloak-status-verify-subjects.json") {
        let body = one.request.as_bytes();
        let is_read = match one.path.rsplit('/').next().unwrap().split('?').next().unwrap() {
            "status" => {
                StreamStatus::read(one.answer.as_bytes(), SSF).unwrap();
                one.method == "GET" || UpdateStatus::read(body, SSF).is_ok()
            }
            "verify" => VerificationRequest::read(body, SSF).is_ok(),
            "add" => AddSubject::read(body, SSF).is_ok(),
            "remove" => RemoveSubject::read(body, SSF).is_ok(),
            other => panic!("{other}"),
        };
        assert!(is_read, "{}", one.note);
        read += 1;
    }
    assert_eq!(read, 11);
}

#[test]
fn polls_of_keycloak() {
    let mut sets = 0;
    for one in exchanges("keycloak-poll.json") {
        PollRequest::read(one.request.as_bytes(), PollLimits::default()).unwrap();
        if one.success {
            // Some bodies are recorded with their chunk sizes around them.
            let (start, end) = (one.answer.find('{').unwrap(), one.answer.rfind('}').unwrap());
            if let Ok(answer) = PollResponse::read(&one.answer.as_bytes()[start..=end], Limits::BODY) {
                sets += answer.sets.len();
            } else {
                assert!(one.answer.starts_with("1fff"), "{}", one.note);
            }
        }
    }
    assert!(sets >= 4, "{sets}");
}

/// What a message asks of a stream, as the server reads it.
fn read_request(one: &Exchange, tolerance: Tolerance) -> Result<(), secevent::Invalid> {
    let body = one.request.as_bytes();
    let path = one.path.split('?').next().unwrap();
    match (&*one.method, path) {
        ("GET" | "DELETE", _) => Ok(()),
        ("POST", "/ssf/stream") => CreateStream::read(body, tolerance).map(drop),
        ("PATCH", "/ssf/stream") => UpdateStream::read(body, tolerance).map(drop),
        ("PUT", "/ssf/stream") => ReplaceStream::read(body, tolerance).map(drop),
        ("POST", "/ssf/status") => UpdateStatus::read(body, tolerance).map(drop),
        ("POST", "/ssf/verify") => VerificationRequest::read(body, tolerance).map(drop),
        ("POST", "/ssf/subjects:add") => AddSubject::read(body, tolerance).map(drop),
        ("POST", "/ssf/subjects:remove") => RemoveSubject::read(body, tolerance).map(drop),
        ("POST", path) if path.starts_with("/poll/") => {
            PollRequest::read(body, PollLimits::default()).map(drop)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_of_receivers() {
    let receivers = [("caepdev-ssfreceiver-requests.json", 36), ("i2goSignals-server-requests.json", 26)];
    for (file, count) in receivers {
        let all = exchanges(file);
        assert_eq!(all.len(), count, "{file}");
        for one in all {
            let read = read_request(&one, SSF);
            // What was refused then and is still refused: a change that names no stream.
            let names_no_stream = one.note == "UpdateConfiguration without stream_id";
            assert_eq!(read.is_err(), names_no_stream, "{file}: {} {}: {read:?}", one.method, one.note);
            assert!(names_no_stream || read_request(&one, LEGACY).is_ok(), "{file}: {}", one.note);
        }
    }
    // A receiver that leaves out what it polls for asks for what is not its own to say.
    let poll = exchanges("caepdev-ssfreceiver-requests.json")
        .into_iter()
        .find(|one| one.method == "POST" && one.path == "/ssf/stream")
        .unwrap();
    let create = CreateStream::read(poll.request.as_bytes(), SSF).unwrap();
    assert!(matches!(create.delivery.unwrap().by, DeliverBy::Poll { .. }));
}
