//! How a stream is delivered, as it is asked for and as it is shown.

use super::{LEGACY, json, refused};
use secevent_ssf::delivery::authorization;
use secevent_ssf::{
    Change, CreateStream, DeliverBy, Delivery, DeliveryRequest, Method, StreamConfiguration, Tolerance, push,
};

fn asked(delivery: &str, tolerance: Tolerance) -> Result<DeliveryRequest, secevent::Invalid> {
    let body = format!(r#"{{"delivery":{delivery}}}"#);
    Ok(CreateStream::read(body.as_bytes(), tolerance)?.delivery.expect("it is there"))
}

fn authorization_of(request: DeliveryRequest) -> Change<String> {
    let DeliverBy::Push { authorization_header, .. } = request.by else { panic!("poll") };
    let text = |secret: secevent_ssf::Secret<http::HeaderValue>| {
        Ok::<_, ()>(secret.expose().to_str().unwrap().to_owned())
    };
    authorization_header.try_map(text).unwrap()
}

// spec: SSF-34
#[test]
fn method_names_are_exact() {
    assert_eq!((Method::Push.urn(), Method::Poll.urn()), ("urn:ietf:rfc:8935", "urn:ietf:rfc:8936"));
    let push =
        asked(r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rp.example/e"}"#, Tolerance::NONE)
            .unwrap();
    let poll = asked(
        r#"{"method":"urn:ietf:rfc:8936","endpoint_url":"what the transmitter supplies"}"#,
        Tolerance::NONE,
    )
    .unwrap();
    assert_eq!((push.method(), poll.method()), (Method::Push, Method::Poll));
}

#[test]
fn malformed_deliveries_are_refused() {
    let long = format!(
        r#"{{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rp.example/{}"}}"#,
        "x".repeat(2048)
    );
    for (delivery, member, rule) in [
        ("[]", "delivery", "SSF-81"),
        ("{}", "delivery.method", "E-08"),
        (r#"{"endpoint_url":"https://rp.example/e"}"#, "delivery.method", "E-08"),
        (r#"{"method":"urn:x"}"#, "delivery.method", "SSF-90"),
        (r#"{"method":8935}"#, "delivery.method", "SSF-90"),
        (
            r#"{"method":"https://schemas.openid.net/secevent/risc/delivery-method/poll"}"#,
            "delivery.method",
            "SSF-90",
        ),
        (r#"{"delivery_method":"urn:ietf:rfc:8936"}"#, "delivery.method", "E-08"),
        (r#"{"method":"urn:ietf:rfc:8935"}"#, "delivery.endpoint_url", "SSF-35"),
        (r#"{"method":"urn:ietf:rfc:8935","url":"https://rp.example/e"}"#, "delivery.endpoint_url", "SSF-35"),
        (
            r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"http://rp.example/e"}"#,
            "delivery.endpoint_url",
            "SSF-35",
        ),
        (
            r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"https://u:p@rp.example/e"}"#,
            "delivery.endpoint_url",
            "SSF-35",
        ),
        (
            r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rp.example/#e"}"#,
            "delivery.endpoint_url",
            "SSF-35",
        ),
        (&long, "delivery.endpoint_url", "SSF-35"),
    ] {
        assert_eq!(refused(asked(delivery, Tolerance::NONE)), (member.to_owned(), rule), "{delivery}");
    }
    let plain = Tolerance { plain_http: true, ..Tolerance::NONE };
    assert!(asked(r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"http://127.0.0.1:9/e"}"#, plain).is_ok());
}

#[test]
fn authorization_is_kept_cleared_or_set() {
    for (member, change) in [
        ("", Change::Keep),
        (r#","authorization_header":null"#, Change::Clear),
        (r#","authorization_header":"Bearer abc""#, Change::Set("Bearer abc".to_owned())),
    ] {
        let delivery =
            format!(r#"{{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rp.example/e"{member}}}"#);
        assert_eq!(authorization_of(asked(&delivery, Tolerance::NONE).unwrap()), change);
    }
    let old = r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rp.example/e","endpoint_url_token":"Bearer x"}"#;
    assert_eq!(authorization_of(asked(old, LEGACY).unwrap()), Change::Set("Bearer x".to_owned()));
    assert_eq!(authorization_of(asked(old, Tolerance::NONE).unwrap()), Change::Keep);
}

#[test]
fn what_is_no_authorization_is_refused_without_repeating_it() {
    let long = "s3cret".repeat(1000);
    for (value, rule) in [
        ("Authorization: Bearer s3cret", "E-18"),
        ("authorization:s3cret", "E-18"),
        ("", "SSF-38"),
        (" Bearer s3cret", "SSF-38"),
        ("Bearer s3cret\n", "SSF-38"),
        ("Bearer s3cret\r\nX-Other: 1", "SSF-38"),
        ("Bearer s3cret\u{e9}", "SSF-38"),
        (&long, "SSF-37"),
    ] {
        let breach = authorization(value).unwrap_err();
        assert_eq!(breach.rule(), rule, "{value}");
        assert!(!breach.to_string().contains("s3cret"));
        let delivery = serde_json::json!({"method": "urn:ietf:rfc:8935", "endpoint_url": "https://rp.example/e", "authorization_header": value});
        assert_eq!(refused(asked(&delivery.to_string(), Tolerance::NONE)).0, "delivery.authorization_header");
    }
    assert_eq!(
        refused(asked(
            r#"{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rp.example/e","authorization_header":7}"#,
            Tolerance::NONE
        )),
        ("delivery.authorization_header".to_owned(), "SSF-37")
    );
}

// spec: SSF-37, SSF-38, SSF-39
#[test]
fn the_credential_travels_in_the_request_and_in_each_push_and_nowhere_else() {
    let secret = authorization("Bearer s3cret").unwrap();
    let delivery = DeliveryRequest::push("https://rp.example/e".parse().unwrap(), Some(secret));
    let create = CreateStream { delivery: Some(delivery), ..CreateStream::default() };
    let sent = create.to_exposed_json();
    assert_eq!(json(&sent)["delivery"]["authorization_header"], "Bearer s3cret");

    let read = CreateStream::read(sent.as_bytes(), Tolerance::NONE).unwrap().delivery.unwrap();
    assert!(!format!("{create:?} {read:?}").contains("s3cret"));
    let shown = read.granted(&"https://tr.example/poll".parse().unwrap());
    assert!(!serde_json::to_string(&shown).unwrap().contains("s3cret"));

    let DeliverBy::Push { endpoint_url, authorization_header } = read.by else {
        panic!("push was asked for")
    };
    let pushed = push::request(&endpoint_url, "a.b.c", authorization_header.set().as_ref());
    assert_eq!(pushed.headers()["authorization"], "Bearer s3cret");
    assert!(!format!("{pushed:?}").contains("s3cret"), "a sensitive header does not print");
    assert!(!push::request(&endpoint_url, "a.b.c", None).headers().contains_key("authorization"));
}

// spec: E-19
#[test]
fn a_new_endpoint_is_not_handed_the_old_credential() {
    let url = |url: &str| url.parse().unwrap();
    let current = Delivery::new(Method::Push, url("https://rp.example/a"));
    let polled = Delivery::new(Method::Poll, url("https://rp.example/a"));
    let without = |to: &str| DeliveryRequest::push(url(to), None);
    let with = DeliveryRequest::push(url("https://rp.example/b"), authorization("Bearer b").ok());
    let mut cleared = without("https://rp.example/b");
    cleared.by =
        DeliverBy::Push { endpoint_url: url("https://rp.example/b"), authorization_header: Change::Clear };

    assert!(without("https://rp.example/a").check_authorization_kept(&current, true).is_ok());
    assert!(without("https://rp.example/b").check_authorization_kept(&current, false).is_ok());
    assert!(with.check_authorization_kept(&current, true).is_ok());
    assert!(cleared.check_authorization_kept(&current, true).is_ok());
    assert!(DeliveryRequest::poll().check_authorization_kept(&current, true).is_ok());
    for (request, current) in [("https://rp.example/b", &current), ("https://rp.example/a", &polled)] {
        let breach = without(request).check_authorization_kept(current, true).unwrap_err();
        assert_eq!((breach.member(), breach.rule()), ("delivery.authorization_header", "E-19"));
    }
}

// spec: LEGACY-07, LEGACY-08
#[test]
fn the_answer_uses_the_words_of_the_receiver() {
    let poll_url = "https://tr.example/poll/s1".parse().unwrap();
    for method in [Method::Push, Method::Poll] {
        for name in [method.urn(), method.risc_url()] {
            for (method_name, url_name) in [("method", "endpoint_url"), ("delivery_method", "url")] {
                let delivery = serde_json::json!({method_name: name, url_name: "https://rp.example/e"});
                let shown = asked(&delivery.to_string(), LEGACY).unwrap().granted(&poll_url);
                let url = if method == Method::Push {
                    "https://rp.example/e"
                } else {
                    "https://tr.example/poll/s1"
                };
                let expected = serde_json::json!({method_name: name, url_name: url});
                assert_eq!(serde_json::to_value(&shown).unwrap(), expected);

                // What is shown can be stored as it is: it reads as the same.
                let body = serde_json::json!({"stream_id": "s", "iss": "https://tr.example", "aud": "a", "delivery": shown, "events_delivered": []});
                let read = StreamConfiguration::read(body.to_string().as_bytes(), LEGACY).unwrap();
                assert_eq!(read.delivery, shown);
            }
        }
    }
}
