//! The events of SSF 1.0 and of back-channel logout, at the level of a token.

use super::{definition, emit, emit_about, is_empty, payload_of, read, received, refusal, subject_of, write};
use secevent::caep::TokenClaimsChange;
use secevent::logout::{self, BackchannelLogout};
use secevent::ssf::{StreamStatus, StreamUpdated, Verification};
use secevent::{EventType, Vocabulary};
use serde_json::json;

// spec: SSF-153, SSF-154
#[test]
fn verification_is_about_the_stream() {
    assert_eq!(Verification::URI, "https://schemas.openid.net/secevent/ssf/event-type/verification");
    is_empty::<Verification>();
    let set = emit(&Verification { state: Some("Zustand ✓".to_owned()) }).unwrap();
    assert_eq!(payload_of::<Verification>(&set), json!({"state": "Zustand ✓"}));
    let sub_id = serde_json::to_value(set.claims()).unwrap()["sub_id"].clone();
    assert_eq!(sub_id, json!({"format": "opaque", "id": "f67e39a0a4d34d56b3aa1bc4cff0069f"}));
    let error = emit_about(&Verification::default(), Some(subject_of("email"))).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("sub_id", "SSF-154"));
    assert_eq!(refusal(Verification::NAME, &json!({"state": 7})), ("state".to_owned(), "SSF-155"));
}

// spec: SSF-166, SSF-167
#[test]
fn stream_updated_tells_the_status() {
    assert_eq!(StreamUpdated::URI, "https://schemas.openid.net/secevent/ssf/event-type/stream-updated");
    for text in ["enabled", "paused", "disabled"] {
        let updated =
            StreamUpdated { reason: Some("Internal error".to_owned()), ..StreamUpdated::new(text.into()) };
        let payload = payload_of::<StreamUpdated>(&emit(&updated).unwrap());
        assert_eq!(payload, json!({"status": text, "reason": "Internal error"}));
        assert!(!matches!(updated.status, StreamStatus::Other(_)), "{text}");
    }
    for wrong in [json!({}), json!({"status": "deleted"}), json!({"status": 1})] {
        assert_eq!(refusal(StreamUpdated::NAME, &wrong), ("status".to_owned(), "SSF-166"), "{wrong}");
    }
    assert_eq!(received::<StreamUpdated>(&json!({"status": "deleted"})).status.as_str(), "deleted");
    assert!(read(StreamUpdated::NAME, &json!({"reason": "none"})).is_err());
    let error =
        emit_about(&StreamUpdated::new(StreamStatus::Paused), Some(subject_of("iss_sub"))).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("sub_id", "SSF-167"));
}

// spec: LEGACY-04, LEGACY-26
#[test]
fn old_identifiers_are_aliases() {
    for (old, uri) in [
        ("https://schemas.openid.net/secevent/sse/event-type/verification", Verification::URI),
        ("https://schemas.openid.net/secevent/risc/event-type/verification", Verification::URI),
        ("https://schemas.openid.net/secevent/sse/event-type/stream-updated", StreamUpdated::URI),
        ("https://schemas.openid.net/secevent/caep/event-type/token-claims-changed", TokenClaimsChange::URI),
    ] {
        assert_eq!(Vocabulary::standard().find(old).unwrap().uri(), uri, "{old}");
    }
    let set = read(StreamUpdated::NAME, &json!({"status": "paused"})).unwrap();
    let old = set.as_json().replace("/ssf/", "/sse/");
    let old = secevent::Set::read(old.as_bytes(), secevent::Profile::Ssf).unwrap();
    assert_eq!(old.events().get::<StreamUpdated>().unwrap().unwrap().status, StreamStatus::Paused);
}

// spec: BCL-09, BCL-10
#[test]
fn a_logout_token_has_the_logout_event() {
    assert_eq!(BackchannelLogout::URI, "http://schemas.openid.net/event/backchannel-logout");
    is_empty::<BackchannelLogout>();
    let set = write(BackchannelLogout::NAME, &json!({})).unwrap();
    let https = set.as_json().replace("http://schemas", "https://schemas");
    let error = secevent::Set::read(https.as_bytes(), secevent::Profile::Logout).unwrap_err();
    assert_eq!(error.rule(), "BCL-09");
    for wrong in ["[]", "true", "\"\"", "null"] {
        let wrong = set.as_json().replace(":{}", &format!(":{wrong}"));
        assert!(secevent::Set::read(wrong.as_bytes(), secevent::Profile::Logout).is_err(), "{wrong}");
    }
    assert!(matches!(definition(BackchannelLogout::NAME).subject_rule(), secevent::SubjectRule::Claims));
    assert_eq!(logout::LIFETIME_SECONDS_MAX, 120);
}
