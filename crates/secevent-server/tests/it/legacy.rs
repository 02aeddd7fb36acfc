//! Receivers from before SSF 1.0, at an issuer that is declared to be for them (LEGACY-27).

use crate::recipient::claims_of;
use crate::world::{SESSION_REVOKED, World};
use http::Method;
use secevent_jose::Algorithm;
use secevent_server::MetricsAccess;
use secevent_transmitter::{IssuerConfig, TransmitterConfig};
use serde_json::{Value, json};

const RISC_PUSH: &str = "https://schemas.openid.net/secevent/risc/delivery-method/push";
const RISC_POLL: &str = "https://schemas.openid.net/secevent/risc/delivery-method/poll";
const STREAM: &str = "/old/ssf/stream";

async fn world_with_old_issuer() -> World {
    let change = |config: &mut TransmitterConfig| {
        let url = "https://tr.example/old".parse().unwrap();
        let (algorithm, legacy) = (Algorithm::EdDsa, true);
        config.issuers.push(IssuerConfig { algorithm, legacy, ..IssuerConfig::new(url) });
    };
    World::with(change, MetricsAccess::Token).await
}

// spec: LEGACY-06, LEGACY-07, LEGACY-27, SSF-60
#[tokio::test]
async fn metadata_is_found_under_its_older_names() {
    let world = world_with_old_issuer().await;
    let metadata = world.get("", "/.well-known/ssf-configuration/old").await.json();
    assert_eq!(metadata["spec_version"], "1_0");
    for name in ["ssf_configuration", "sse-configuration", "risc-configuration"] {
        let metadata = world.get("", &format!("/.well-known/{name}/old")).await.json();
        assert_eq!(metadata["issuer"], "https://tr.example/old");
        assert!(metadata.get("spec_version").is_none(), "there was none then");
        let methods = metadata["delivery_methods_supported"].as_array().unwrap();
        assert!(methods.contains(&json!(RISC_PUSH)) && methods.contains(&json!(RISC_POLL)));
        let appended = world.get("", &format!("/old/.well-known/{name}")).await.json();
        assert_eq!(appended, metadata);
        for other in ["", "/tenant-a"] {
            world.get("", &format!("/.well-known/{name}{other}")).await.is_problem(404, "not_found");
        }
    }
    assert_eq!(world.get("", "/old/.well-known/ssf-configuration").await.status, 200);
}

/// Two first requests at once make one stream: with two, none would be the implicit one.
// spec: LEGACY-09
#[tokio::test]
async fn of_two_first_requests_the_second_replaces() {
    let world = world_with_old_issuer().await;
    let token = world.token("rp").await;
    let request = |url: &str| json!({"delivery": {"method": RISC_PUSH, "endpoint_url": url}, "events_requested": [SESSION_REVOKED]});
    let (one, two) = (request("https://rp.example/one"), request("https://rp.example/two"));
    world.store.take_time();
    let (first, second) = tokio::join!(world.post(&token, STREAM, &one), world.post(&token, STREAM, &two));
    first.is_answer(201);
    assert_eq!(second.is_answer(200)["delivery"], two["delivery"]);
    assert_eq!(world.get(&token, STREAM).await.is_answer(200)["delivery"], two["delivery"]);
}

// spec: LEGACY-07, LEGACY-10, LEGACY-11, LEGACY-13
#[tokio::test]
async fn a_request_as_apple_sends_it_is_granted() {
    let world = world_with_old_issuer().await;
    let token = world.token("rp").await;
    let request = json!({
        "iss": "https://tr.example/old",
        "aud": ["https://rp.example"],
        "format": "iss_sub",
        "delivery": {"method": RISC_PUSH, "endpoint_url": "https://rp.example/events"},
        "events_requested": [SESSION_REVOKED],
    });
    let created = world.post(&token, STREAM, &request).await.is_answer(201);
    for member in ["iss", "aud", "format", "delivery", "events_requested"] {
        assert_eq!(created[member], request[member]);
    }
    let verification = world.recipient.claims(1).await;
    let (kind, said) = verification["events"].as_object().unwrap().iter().next().unwrap();
    assert!(kind.ends_with("/verification") && said.get("state").is_none(), "nobody asked for it");

    for (member, value) in [("iss", json!("https://x.example")), ("aud", json!("https://x.example"))] {
        let mut wrong = request.clone();
        wrong[member] = value;
        let other = world.token("other").await;
        assert_eq!(
            world.post(&other, STREAM, &wrong).await.is_problem(400, "invalid_request")["member"],
            member
        );
    }
}

// spec: LEGACY-08, LEGACY-09, LEGACY-15
#[tokio::test]
async fn the_only_stream_need_not_be_named() {
    let world = world_with_old_issuer().await;
    let token = world.token("rp").await;
    let status = "/old/ssf/status";
    world.send(Method::DELETE, &token, STREAM, "").await.is_problem(404, "not_found");
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), json!([]));
    let request = json!({"delivery": {"delivery_method": RISC_PUSH, "url": "https://rp.example/events"}});
    let created = world.post(&token, STREAM, &request).await.is_answer(201);
    assert_eq!(created["delivery"], request["delivery"], "in its own words");
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), created);
    let paused = json!({"status": "paused"});
    world.post(&token, status, &paused).await.is_answer(200);
    assert_eq!(world.get(&token, status).await.is_answer(200)["status"], "paused");
    world.post(&token, status, &json!({"status": "enabled"})).await.is_answer(200);
    world.post(&token, "/old/ssf/verify", &json!({"state": "s"})).await.is_empty(204);

    let request = json!({"delivery": {"method": RISC_POLL}, "events_requested": [SESSION_REVOKED]});
    let replaced = world.post(&token, STREAM, &request).await.is_answer(200);
    assert_eq!(replaced["stream_id"], created["stream_id"]);
    assert_eq!(replaced["delivery"]["method"], RISC_POLL);
    assert_eq!(replaced["events_delivered"], json!([SESSION_REVOKED]));
    world.send(Method::DELETE, &token, STREAM, "").await.is_empty(204);
    world.get(&token, status).await.is_problem(404, "not_found");
}

// spec: LEGACY-14
#[tokio::test]
async fn the_subject_stands_in_both_places() {
    let world = world_with_old_issuer().await;
    let token = world.token("rp").await;
    let stream = world.stream(&token, "/old").await;
    let subject = json!({"format": "email", "email": "alice@example.com"});
    let event =
        json!({"type": "caep:session-revoked", "subject": subject, "data": {"reason_admin": {"en": "x"}}});
    assert_eq!(world.post(&world.token("producer").await, "/old/events", &event).await.status, 202);
    let sets = world.waiting(&token, "/old", &stream).await;
    let claims: Vec<Value> = sets.iter().map(|set| claims_of(set)).collect();
    let told = claims.iter().find(|claims| claims["events"].get(SESSION_REVOKED).is_some()).unwrap();
    let expected = json!({"subject": subject, "reason_admin": {"en": "x"}});
    assert_eq!((&told["sub_id"], &told["events"][SESSION_REVOKED]), (&subject, &expected));
}

// spec: LEGACY-27
#[tokio::test]
async fn a_strict_issuer_takes_none_of_it() {
    let world = world_with_old_issuer().await;
    let token = world.token("rp").await;
    for request in [
        json!({"delivery": {"method": RISC_POLL}}),
        json!({"delivery": {"delivery_method": RISC_PUSH, "url": "https://rp.example/events"}}),
        json!({"aud": ["https://rp.example"]}),
    ] {
        world.post(&token, "/ssf/stream", &request).await.is_problem(400, "invalid_request");
    }
    world.stream(&token, "").await;
    world.send(Method::DELETE, &token, "/ssf/stream", "").await.is_problem(400, "invalid_request");
    world.get(&token, "/ssf/status").await.is_problem(400, "invalid_request");
    assert!(world.get(&token, "/ssf/stream").await.is_answer(200).is_array());
}
