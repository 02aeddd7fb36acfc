//! The small requests: status, subjects, verification.

use super::{LEGACY, json, refused};
use secevent::ssf::Verification;
use secevent_ssf::{
    AddSubject, RemoveSubject, Status, StreamStatus, Tolerance, UpdateStatus, VerificationRequest,
};
use serde_json::json as value;

// spec: SSF-122, SSF-129
#[test]
fn status_messages() {
    for status in Status::ALL {
        let body = value!({"stream_id": "s1", "status": status, "reason": "why"});
        let request = UpdateStatus::read(body.to_string().as_bytes(), Tolerance::NONE).unwrap();
        assert_eq!((request.stream_id.as_str(), request.status), ("s1", status));
        let UpdateStatus { stream_id, status, reason } = request;
        let answer = StreamStatus { stream_id, status, reason };
        assert_eq!(json(&answer.to_json()), body);
        assert_eq!(StreamStatus::read(answer.to_json().as_bytes(), Tolerance::NONE).unwrap(), answer);
        assert_eq!(secevent::ssf::StreamStatus::from(status).as_str(), status.as_str());
    }
    let long = value!({"stream_id": "s1", "status": "paused", "reason": "x".repeat(UpdateStatus::REASON_CHARS_MAX + 1)});
    for (body, member, rule) in [
        ("{", "", "SSF-132"),
        (r#"{"status":"paused"}"#, "stream_id", "SSF-129"),
        (r#"{"stream_id":"s1"}"#, "status", "SSF-132"),
        (r#"{"stream_id":"s1","status":"Paused"}"#, "status", "SSF-123"),
        (r#"{"stream_id":"s1","status":true}"#, "status", "SSF-123"),
        (r#"{"stream_id":"s1","status":"paused","reason":1}"#, "reason", "SSF-129"),
        (&long.to_string(), "reason", "SSF-129"),
    ] {
        let read = UpdateStatus::read(body.as_bytes(), Tolerance::NONE);
        assert_eq!(refused(read), (member.to_owned(), rule), "{body}");
    }
    let nameless = StreamStatus::read(br#"{"status":"enabled"}"#, Tolerance::NONE);
    assert_eq!(refused(nameless), ("stream_id".to_owned(), "SSF-122"));
    assert!(StreamStatus::read(br#"{"status":"enabled"}"#, LEGACY).unwrap().stream_id.is_implicit());
}

// spec: SSF-139, SSF-140, SSF-146
#[test]
fn subjects_are_added_and_removed() {
    let subject = value!({"format": "complex", "user": {"format": "opaque", "id": "u"}, "tenant": {"format": "opaque", "id": "t"}});
    for (body, verified) in [
        (value!({"stream_id": "s1", "subject": subject}), true),
        (value!({"stream_id": "s1", "subject": subject, "verified": null}), true),
        (value!({"stream_id": "s1", "subject": subject, "verified": false}), false),
    ] {
        let add = AddSubject::read(body.to_string().as_bytes(), Tolerance::NONE).unwrap();
        assert_eq!((add.verified, &add.subject.to_value()), (verified, &subject));
        let remove = RemoveSubject::read(body.to_string().as_bytes(), Tolerance::NONE).unwrap();
        assert_eq!(json(&remove.to_json()), value!({"stream_id": "s1", "subject": subject}));
    }
    let long = value!({"stream_id": "s1", "subject": {"format": "opaque", "id": "x".repeat(8192)}});
    for (body, member, rule) in [
        (r#"{"subject":{"format":"opaque","id":"u"}}"#, "stream_id", "SSF-139"),
        (r#"{"stream_id":"s1"}"#, "subject", "SSF-139"),
        (r#"{"stream_id":"s1","sub_id":{"format":"opaque","id":"u"}}"#, "subject", "SSF-139"),
        (r#"{"stream_id":"s1","subject":"u"}"#, "subject", "SUBJ-01"),
        (r#"{"stream_id":"s1","subject":{"format":"email"}}"#, "subject.email", "SUBJ-09"),
        (
            r#"{"stream_id":"s1","subject":{"user":{"format":"opaque","id":"u"}}}"#,
            "subject.format",
            "SUBJ-01",
        ),
        (
            r#"{"stream_id":"s1","subject":{"format":"opaque","id":"u"},"verified":"yes"}"#,
            "verified",
            "SSF-139",
        ),
        (&long.to_string(), "subject", "SSF-139"),
        ("", "", "SSF-144"),
    ] {
        assert_eq!(
            refused(AddSubject::read(body.as_bytes(), Tolerance::NONE)),
            (member.to_owned(), rule),
            "{body}"
        );
    }
    assert_eq!(refused(RemoveSubject::read(b"{}", Tolerance::NONE)), ("stream_id".to_owned(), "SSF-146"));
    assert_eq!(refused(RemoveSubject::read(b"7", Tolerance::NONE)), (String::new(), "SSF-148"));
    let old = br#"{"subject":{"user":{"format":"iss-sub","iss":"https://i.example","sub":"u"}}}"#;
    assert_eq!(AddSubject::read(old, LEGACY).unwrap().subject.format(), "complex");
}

// spec: SSF-155, SSF-159
#[test]
fn a_state_comes_back_byte_for_byte() {
    for state in [
        "VGhpcyBpcyBhbiBleGFtcGxlIHN0YXRlIHZhbHVlLgo=",
        "",
        "e\u{301} \u{e9} \u{1f980}\u{200d}",
        "\"\\\n\u{0}/",
    ] {
        let body = value!({"stream_id": "s1", "state": state}).to_string();
        let request = VerificationRequest::read(body.as_bytes(), Tolerance::NONE).unwrap();
        assert_eq!(json(&request.to_json()), json(&body));
        let event = serde_json::to_value(Verification { state: request.state }).unwrap();
        assert_eq!(event["state"], state);
    }
    let stateless =
        VerificationRequest::read(br#"{"stream_id":"s1","state":null}"#, Tolerance::NONE).unwrap();
    assert_eq!(stateless.to_json(), r#"{"stream_id":"s1"}"#);
    let fits = value!({"stream_id": "s1", "state": "\u{e9}".repeat(VerificationRequest::STATE_CHARS_MAX)});
    assert!(VerificationRequest::read(fits.to_string().as_bytes(), Tolerance::NONE).is_ok());
    let long =
        value!({"stream_id": "s1", "state": "\u{e9}".repeat(VerificationRequest::STATE_CHARS_MAX + 1)});
    for (body, member, rule) in [
        (r#"{"state":"x"}"#, "stream_id", "SSF-159"),
        (r#"{"stream_id":"s1","state":7}"#, "state", "SSF-159"),
        (&long.to_string(), "state", "SSF-159"),
        (r#"{"stream_id":"s1","state":"\ud800"}"#, "", "SSF-163"),
        ("null", "", "SSF-163"),
    ] {
        let read = VerificationRequest::read(body.as_bytes(), Tolerance::NONE);
        assert_eq!(refused(read), (member.to_owned(), rule), "{body}");
    }
}
