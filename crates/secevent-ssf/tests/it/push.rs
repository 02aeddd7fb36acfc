//! Push delivery.

use secevent::Fault;
use secevent_ssf::push::{self, Error, ErrorCode};
use serde_json::json as value;

// spec: PUSH-17
#[test]
fn each_registered_code_goes_out_and_comes_back() {
    for fault in Fault::ALL {
        let refusal = push::refusal(fault, "Because \"so\".");
        assert_eq!(Error::read(refusal.body()), Some(Error::new(fault, "Because \"so\".")));
    }
    let shouted = Error::read(br#"{"err":"INVALID_KEY","description":"x"}"#).unwrap();
    assert_eq!(shouted.err, ErrorCode::Other("INVALID_KEY".to_owned()), "codes are case-sensitive");
}

#[test]
fn errors_are_read_leniently_and_within_bounds() {
    let long = value!({"err": "\u{e9}".repeat(100), "description": "\u{e9}".repeat(2000)}).to_string();
    let cut = Error::read(long.as_bytes()).unwrap();
    assert_eq!(cut.err.as_str().chars().count(), ErrorCode::OTHER_CHARS_MAX);
    assert_eq!(cut.description.chars().count(), Error::DESCRIPTION_CHARS_MAX);

    for (body, read) in [
        (r#"{"err":"jwtAud","description":"x","more":[1]}"#, Some(("jwtAud", "x"))),
        (r#"{"err":"brand_new"}"#, Some(("brand_new", ""))),
        (r#"{"err":"invalid_key","description":{"en":"x"}}"#, Some(("invalid_key", ""))),
        (r#"{"err":null}"#, None),
        (r#"{"err":7}"#, None),
        (r#"{"error":"invalid_token"}"#, None),
        (r#"{"err":"a","err":"b"}"#, None),
        ("[]", None),
        ("", None),
        ("<html>Bad Request</html>", None),
        (&format!(r#"{{"err":"a","x":"{}"}}"#, "x".repeat(64 * 1024)), None),
    ] {
        let error = Error::read(body.as_bytes());
        assert_eq!(error.as_ref().map(|error| (error.err.as_str(), error.description.as_str())), read);
    }
    assert_eq!(Error::read(b"\xff"), None);
}

#[test]
fn the_body_of_a_push() {
    for (body, token) in [
        ("a.b.c", "a.b.c"),
        ("a.b.c\n", "a.b.c"),
        ("a.b.c\r\n", "a.b.c"),
        ("a\n\n", "a\n"),
        ("\n", ""),
        ("a ", "a "),
    ] {
        assert_eq!(push::token(body.as_bytes()), token.as_bytes());
    }
    for content_type in
        ["application/secevent+jwt", "Application/SECEVENT+jwt", "application/secevent+jwt ; charset=utf-8"]
    {
        assert!(push::is_set(content_type), "{content_type}");
    }
    for content_type in
        ["", "application/jwt", "text/plain", "application/secevent+jwt+x", "application/json"]
    {
        assert!(!push::is_set(content_type), "{content_type}");
    }
}
