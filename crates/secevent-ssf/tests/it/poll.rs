//! Poll delivery.

use super::{json, refused};
use proptest::prelude::*;
use secevent::Fault;
use secevent::json::Limits;
use secevent_ssf::poll::{self, PollLimits, PollRequest, PollResponse};
use secevent_ssf::push::Error;
use serde_json::json as value;

fn read(body: &str) -> Result<PollRequest, secevent::Invalid> {
    PollRequest::read(body.as_bytes(), PollLimits::default())
}

// spec: POLL-08, POLL-12, POLL-14
#[test]
fn what_is_left_out_has_its_default() {
    for body in [
        "{}",
        r#"{"returnImmediately":false,"ack":[],"setErrs":{}}"#,
        r#"{"maxEvents":null,"returnImmediately":null,"ack":null,"setErrs":null}"#,
        r#"{"unknown":1}"#,
    ] {
        assert_eq!(read(body).unwrap(), PollRequest::default(), "{body}");
    }
    assert_eq!(PollRequest::default().to_json(), "{}");
    assert_eq!(
        PollRequest::acknowledge_only(vec!["j1".to_owned()], vec![]).to_json(),
        r#"{"ack":["j1"],"maxEvents":0,"returnImmediately":true}"#
    );
}

// spec: POLL-41
#[test]
fn what_is_reported_more_than_once_counts_once() {
    let error = value!({"err": "invalid_key", "description": "x"});
    let read =
        read(&value!({"ack": ["a", "b", "a", "c", "b"], "setErrs": {"c": error}}).to_string()).unwrap();
    assert_eq!(read.ack, ["a", "b"]);
    assert_eq!(read.set_errs.len(), 1);
}

#[test]
fn malformed_polls_are_refused() {
    for (body, member) in [
        ("[", ""),
        ("[]", ""),
        (r#""x""#, ""),
        ("", ""),
        (r#"{"maxEvents":"5"}"#, "maxEvents"),
        (r#"{"maxEvents":-1}"#, "maxEvents"),
        (r#"{"maxEvents":1.5}"#, "maxEvents"),
        (r#"{"maxEvents":1e400}"#, ""),
        (r#"{"maxEvents":99999999999999999999}"#, "maxEvents"),
        (r#"{"maxEvents":true}"#, "maxEvents"),
        (r#"{"returnImmediately":"true"}"#, "returnImmediately"),
        (r#"{"returnImmediately":0}"#, "returnImmediately"),
        (r#"{"ack":"j1"}"#, "ack"),
        (r#"{"ack":["j1",2]}"#, "ack"),
        (r#"{"ack":{"j1":true}}"#, "ack"),
        (r#"{"setErrs":[]}"#, "setErrs"),
        (r#"{"setErrs":{"j1":"invalid_key"}}"#, "setErrs.j1"),
        (r#"{"setErrs":{"j1":{"description":"x"}}}"#, "setErrs.j1"),
    ] {
        assert_eq!(refused(read(body)), (member.to_owned(), "POLL-32"), "{body}");
    }
    assert_eq!(refused(read(r#"{"ack":[],"ack":["j"]}"#)), ("ack".to_owned(), "E-33"));
    assert_eq!(refused(PollRequest::read(b"{\"ack\":[\"\xff\"]}", PollLimits::default())).1, "JWTBCP-09");
}

#[test]
fn polls_are_bounded() {
    let limits = PollLimits { acks_max: 2, set_errs_max: 1 };
    let read = |body: serde_json::Value| PollRequest::read(body.to_string().as_bytes(), limits);
    let error = value!({"err": "invalid_key", "description": "x"});
    assert!(read(value!({"ack": ["a", "b"], "setErrs": {"c": error}})).is_ok());
    assert_eq!(refused(read(value!({"ack": ["a", "b", "c"]}))), ("ack".to_owned(), "POLL-32"));
    assert_eq!(
        refused(read(value!({"setErrs": {"a": error, "b": error}}))),
        ("setErrs".to_owned(), "POLL-32")
    );
    let large = format!(r#"{{"ack":["{}"]}}"#, "x".repeat(1024 * 1024));
    assert_eq!(refused(PollRequest::read(large.as_bytes(), limits)).1, "JWTBCP-19");
    let answer = poll::write([("j1", "a.b.c")].into_iter(), false);
    let tight = Limits { bytes_max: answer.len() - 1, ..Limits::BODY };
    assert_eq!(refused(PollResponse::read(&answer, tight)).1, "JWTBCP-19");
    assert!(PollResponse::read(&answer, Limits { bytes_max: answer.len(), ..Limits::BODY }).is_ok());
}

#[test]
fn a_refusal_outweighs_an_acknowledgement() {
    let poll = read(r#"{"ack":["a","b"],"setErrs":{"b":{"err":"brand_new"}}}"#).unwrap();
    assert_eq!(poll.ack, ["a"]);
    assert_eq!((poll.set_errs[0].0.as_str(), poll.set_errs[0].1.err.as_str()), ("b", "brand_new"));
}

// spec: POLL-22, POLL-43
#[test]
fn answers() {
    assert_eq!(&poll::write(std::iter::empty(), false)[..], br#"{"sets":{}}"#);
    let read = |body: &str| PollResponse::read(body.as_bytes(), Limits::BODY);
    let plain = read(r#"{"sets":{"b":"1.2.3","a":"4.5.6"}}"#).unwrap();
    assert_eq!(
        plain.sets,
        [("b", "1.2.3"), ("a", "4.5.6")].map(|(jti, token)| (jti.to_owned(), token.to_owned()))
    );
    assert_eq!(read(r#"{"sets":{"b":"1.2.3","a":"4.5.6"},"moreAvailable":false,"x":{}}"#).unwrap(), plain);
    assert_eq!(read(r#"{"sets":null}"#).unwrap(), PollResponse::default());
    // One bad value does not take the others with it.
    let odd = read(r#"{"sets":{"a":{"x":1},"b":"1.2.3"}}"#).unwrap();
    assert_eq!(odd.sets[0].1, r#"{"x":1}"#);
    for (body, member, rule) in [
        ("{}", "sets", "POLL-22"),
        (r#"{"sets":[]}"#, "sets", "POLL-21"),
        (r#"{"sets":{},"moreAvailable":"no"}"#, "moreAvailable", "POLL-23"),
        (r#"{"sets":{"a":"1","a":"2"}}"#, "sets.a", "E-33"),
        ("<html>", "", "POLL-21"),
    ] {
        assert_eq!(refused(read(body)), (member.to_owned(), rule), "{body}");
    }
}

fn error() -> impl Strategy<Value = Error> {
    (prop::sample::select(&Fault::ALL[..]), ".{0,20}").prop_map(|(fault, text)| Error::new(fault, text))
}

proptest! {
    #[test]
    fn requests_survive_the_wire(
        max_events in any::<Option<u64>>(),
        return_immediately in any::<bool>(),
        ack in prop::collection::hash_set("a.{0,10}", 0..8),
        set_errs in prop::collection::btree_map("e.{0,10}", error(), 0..4),
    ) {
        let (ack, set_errs) = (ack.into_iter().collect(), set_errs.into_iter().collect());
        let request = PollRequest { max_events, return_immediately, ack, set_errs };
        prop_assert_eq!(read(&request.to_json()).unwrap(), request);
    }

    #[test]
    fn answers_survive_the_wire(
        sets in prop::collection::hash_map(".{1,24}", ".{0,40}", 0..8),
        more_available in any::<bool>(),
    ) {
        let sets: Vec<(String, String)> = sets.into_iter().collect();
        let pairs = sets.iter().map(|(jti, token)| (jti.as_str(), token.as_str()));
        let body = poll::write(pairs, more_available);
        json(std::str::from_utf8(&body).unwrap());
        prop_assert_eq!(PollResponse::read(&body, Limits::BODY).unwrap(), PollResponse { sets, more_available });
    }

    #[test]
    fn no_bytes_make_a_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PollRequest::read(&body, PollLimits::default());
        let _ = PollResponse::read(&body, Limits::BODY);
        let _ = Error::read(&body);
    }
}
