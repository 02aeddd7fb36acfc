//! Pushing: what is sent, and what the receiver's answers do.

use crate::network::{ACCEPT, Reply};
use crate::store::Verb;
use crate::world::{AUDIENCE, ENDPOINT, ISSUER, SESSION_REVOKED, VERIFICATION, World, email, read};
use secevent::Profile;
use secevent_jose::{Compact, Expected, IssuerKeys};
use secevent_transmitter::IssuerConfig;
use serde_json::{Value, json};
use std::time::Duration;

// spec: PUSH-01, PUSH-02, PUSH-03, PUSH-04, SSF-38
#[tokio::test(start_paused = true)]
async fn a_push_is_exactly_what_the_standard_says() {
    let world = World::new().await;
    world.push_stream().await;
    world.emit("e1", "alice").await;
    let push = world.network.sent(2).await.remove(1);
    assert_eq!((push.parts.method.as_str(), push.parts.uri.to_string().as_str()), ("POST", ENDPOINT));
    let mut headers: Vec<(&str, &str)> =
        push.parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    headers.sort_unstable();
    let expected = [
        ("accept", "application/json"),
        ("authorization", "Bearer abc"),
        ("content-type", "application/secevent+jwt"),
    ];
    assert_eq!(headers, expected);
    assert_eq!(push.token.split('.').count(), 3);
    let base64url =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    assert!(push.token.split('.').all(base64url));
}

/// In real time, because RSA is signed on threads of its own.
#[tokio::test]
async fn by_default_sets_are_signed_as_the_interoperability_profile_asks() {
    let world = World::with(|config| config.issuers = vec![IssuerConfig::new(ISSUER.parse().unwrap())]).await;
    world.push_stream().await;
    let push = world.network.pushes().remove(0);
    let compact = Compact::parse(&push.token).unwrap();
    assert_eq!(compact.header().algorithm(), secevent_jose::Algorithm::Rs256);
    let keys = IssuerKeys::new(ISSUER, world.transmitter.public_keys(ISSUER).unwrap());
    keys.verify_set(&compact, &Expected::new(Profile::Ssf).audience(AUDIENCE), world.now()).unwrap();
}

// spec: SSF-39
#[tokio::test(start_paused = true)]
async fn without_a_credential_there_is_no_authorization_header() {
    let world = World::new().await;
    world.create(&json!({"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": ENDPOINT}})).await;
    assert!(!world.network.sent(1).await[0].parts.headers.contains_key("authorization"));
}

// spec: SSF-47, INTEROP-06
#[tokio::test(start_paused = true)]
async fn the_published_keys_verify_the_set_and_its_claims_are_the_events() {
    let world = World::new().await;
    world.push_stream().await;
    let subject =
        json!({"format": "complex", "user": email("alice"), "tenant": {"format": "opaque", "id": "t"}});
    let occurred_at = world.now().as_seconds() - 3;
    let data = json!({"initiating_entity": "policy", "x_big": 12_345_678_901_234_567_890_u64});
    let accepted = world
        .accept(
            None,
            &[read(&json!({
                "type": "caep:session-revoked", "subject": subject, "data": data, "occurred_at": occurred_at,
            }))],
        )
        .await
        .unwrap();
    let push = world.network.sent(2).await.remove(1);
    let keys = IssuerKeys::new(ISSUER, world.transmitter.public_keys(ISSUER).unwrap());
    let expected = Expected::new(Profile::Ssf).audience(AUDIENCE).clock_skew_max(Duration::ZERO);
    let set = keys.verify_set(&Compact::parse(&push.token).unwrap(), &expected, world.now()).unwrap();
    let claims: Value = serde_json::from_str(set.as_json()).unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "jti": push.jti(),
            "iat": world.now().as_seconds(),
            "txn": accepted[0].event_id,
            "toe": occurred_at,
            "sub_id": subject,
            "events": {SESSION_REVOKED: data},
        })
    );
    assert_eq!(accepted[0].txn, accepted[0].event_id);
    assert_eq!(push.jti().len(), 22);
    assert_ne!(push.jti(), accepted[0].event_id);
}

#[tokio::test(start_paused = true)]
async fn what_an_event_says_is_not_rewritten() {
    let world = World::new().await;
    world.push_stream().await;
    let data = r#"{"x_exact":1234567890123456789012345.10,"a":1.0}"#;
    let event = format!(r#"{{"type":"caep:session-revoked","subject":{},"data":{data}}}"#, email("alice"));
    let event =
        secevent_transmitter::Incoming::read(event.as_bytes(), secevent::Vocabulary::standard()).unwrap();
    world.accept(None, &[event]).await.unwrap();
    let push = world.network.sent(2).await.remove(1);
    let keys = IssuerKeys::new(ISSUER, world.transmitter.public_keys(ISSUER).unwrap());
    let compact = Compact::parse(&push.token).unwrap();
    let verified = keys.verify(&compact, Profile::Ssf.into()).unwrap();
    assert!(std::str::from_utf8(verified.payload()).unwrap().contains(data));
}

/// SEM-2: `txn` is the event's own, the same in every SET that it becomes.
#[tokio::test(start_paused = true)]
async fn all_sets_of_one_event_share_its_txn_and_nothing_else() {
    let world = World::new().await;
    world.push_stream().await;
    world.push_stream().await;
    assert_eq!(world.emit("mine", "alice").await.txn, "mine");
    let pushes = world.network.sent(4).await;
    let (one, two) = (&pushes[2], &pushes[3]);
    assert_eq!((one.txn(), two.txn()), ("mine", "mine"));
    assert_ne!(one.jti(), two.jti());
}

// spec: SET-19
#[tokio::test(start_paused = true)]
async fn an_event_of_this_very_second_is_not_later_than_its_set() {
    let world = World::new().await;
    world.push_stream().await;
    let now = world.now();
    let event = format!(
        r#"{{"type":"caep:session-revoked","subject":{},"occurred_at":{}.5}}"#,
        email("alice"),
        now.as_seconds()
    );
    let event =
        secevent_transmitter::Incoming::read(event.as_bytes(), secevent::Vocabulary::standard()).unwrap();
    world.accept(None, &[event]).await.unwrap();
    let claims = world.network.sent(2).await.remove(1).claims;
    assert_eq!(claims["toe"], claims["iat"]);
}

// spec: SSF-153, SSF-154, SSF-156
#[tokio::test(start_paused = true)]
async fn a_new_stream_is_verified_unasked_and_without_state() {
    let world = World::new().await;
    let id = world.push_stream().await;
    let push = world.network.pushes().remove(0);
    assert_eq!(push.claims["sub_id"], json!({"format": "opaque", "id": id.as_str()}));
    assert_eq!(push.claims["events"], json!({VERIFICATION: {}}));
    let polled = world.create(&json!({})).await;
    assert!(polled.delivery.endpoint_url.as_str().ends_with(polled.stream_id.as_str()));
}

// spec: PUSH-31
#[tokio::test(start_paused = true)]
async fn a_repeat_says_the_same_and_a_refusal_is_not_repeated() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer_first([
        Reply::Status(503),
        Reply::Unreachable,
        ACCEPT,
        Reply::Refuse("invalid_request"),
    ]);
    world.emit("e1", "alice").await;
    let pushes = world.network.sent(4).await;
    assert!(pushes[1..4].iter().all(|push| push.claims == pushes[1].claims), "I2");
    assert!(pushes[2].at > pushes[1].at && pushes[3].at > pushes[2].at);
    world.emit("e2", "alice").await;
    world.emit("e3", "alice").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["e1", "e1", "e1", "e2", "e3"]);
    assert_eq!(world.store.backlog_of(1).await.rejected, 1);
}

// spec: PUSH-24
#[tokio::test(start_paused = true)]
async fn an_error_code_that_nobody_knows_is_a_refusal_like_others() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer_first([Reply::Refuse("brand_new")]);
    world.emit("e1", "alice").await;
    world.emit("e2", "bob").await;
    world.store.all_settled().await;
    assert_eq!((world.store.settled_as(Verb::Rejected), world.store.settled_as(Verb::Acked)), (1, 2));
}

// spec: SSF-155
#[tokio::test(start_paused = true)]
async fn a_verification_goes_ahead_of_a_long_backlog() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.network.answer(|_| Reply::Busy(503, 60));
    for number in 0..1_200 {
        world.emit(&format!("e{number}"), &format!("user{number}")).await;
    }
    world.network.answered(2).await;
    let before = world.network.pushes().len();
    world.verify(&id, "ü世/+=").await;
    world.network.answer(|_| ACCEPT);
    let pushes = world.network.sent(before + 1).await;
    assert_eq!(pushes[before].claims["events"], json!({VERIFICATION: {"state": "ü世/+="}}));
    world.store.all_settled().await;
}
