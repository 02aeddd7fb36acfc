//! Polling over HTTP (RFC 8936).

use crate::world::{World, basic};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

async fn world_with_stream() -> (World, String, String) {
    let world = World::new().await;
    let token = world.token("rp").await;
    let stream = world.stream(&token, "/tenant-a").await;
    let url = stream["delivery"]["endpoint_url"].as_str().unwrap();
    let path = url.strip_prefix("https://tr.example").unwrap().to_owned();
    (world, token, path)
}

fn jtis(answer: &Value) -> Vec<String> {
    answer["sets"].as_object().unwrap().keys().cloned().collect()
}

// spec: POLL-02, POLL-12, POLL-14, POLL-22, POLL-31
#[tokio::test(start_paused = true)]
async fn sets_are_fetched_and_acknowledged() {
    let (world, token, path) = world_with_stream().await;
    let fetched = world.post(&token, &path, &json!({"ack": [], "setErrs": {}})).await.is_answer(200);
    let acknowledge = json!({"ack": jtis(&fetched), "maxEvents": 0, "returnImmediately": true});
    assert_eq!(world.post(&token, &path, &acknowledge).await.is_answer(200), json!({"sets": {}}));
    let began = tokio::time::Instant::now();
    assert_eq!(world.post(&token, &path, &json!({})).await.is_answer(200), json!({"sets": {}}));
    assert_eq!(began.elapsed(), Duration::from_secs(30), "it waits for its time");
}

// spec: SSF-160
#[tokio::test(start_paused = true)]
async fn a_verification_that_was_asked_for_is_there_at_once() {
    let (world, token, path) = world_with_stream().await;
    let unasked = world.post(&token, &path, &json!({})).await.is_answer(200);
    let id = path.rsplit('/').next().unwrap();
    world
        .post(&token, "/tenant-a/ssf/verify", &json!({"stream_id": id, "state": "mine"}))
        .await
        .is_empty(204);
    let request = json!({"ack": jtis(&unasked), "returnImmediately": true});
    let answer = world.post(&token, &path, &request).await.is_answer(200);
    assert_eq!(jtis(&answer).len(), 1);
    assert_ne!(jtis(&answer), jtis(&unasked));
}

// spec: POLL-32
#[tokio::test(start_paused = true)]
async fn a_poll_that_is_wrong_is_told_so() {
    let (world, token, path) = world_with_stream().await;
    for body in [
        "[",
        "",
        "\"x\"",
        r#"{"maxEvents":"5"}"#,
        r#"{"maxEvents":-1}"#,
        r#"{"ack":"j"}"#,
        r#"{"ack":[1]}"#,
        r#"{"returnImmediately":1}"#,
        r#"{"setErrs":{"j":"no"}}"#,
    ] {
        world.send(Method::POST, &token, &path, body).await.is_problem(400, "invalid_request");
    }
    world.send_as(Method::POST, &token, &path, "text/plain", "{}").await.is_problem(415, "invalid_request");
    world.post(&token, "/tenant-a/poll/unknown", &json!({})).await.is_problem(404, "not_found");
    world.get(&token, &path).await.is_problem(405, "invalid_request");
    // What is pushed is not polled.
    let push = json!({"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://rp.example/"}});
    let pushed = world.post(&token, "/tenant-a/ssf/stream", &push).await.is_answer(201);
    let path = format!("/tenant-a/poll/{}", pushed["stream_id"].as_str().unwrap());
    world.post(&token, &path, &json!({})).await.is_problem(404, "not_found");
}

// spec: POLL-38
#[tokio::test(start_paused = true)]
async fn an_old_token_polls_nothing() {
    let (world, token, path) = world_with_stream().await;
    world.later(600);
    world.post(&token, &path, &json!({})).await.is_problem(401, "authentication_failed");
    let form = "grant_type=client_credentials&scope=ssf.read";
    let fresh = world.ask_for_token(&basic("rp"), form).await.json();
    let fresh = fresh["access_token"].as_str().unwrap();
    assert_eq!(jtis(&world.post(fresh, &path, &json!({})).await.is_answer(200)).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_make_no_sense_are_not_there() {
    let (world, token, _) = world_with_stream().await;
    for path in ["/tenant-a/poll/%C3%BC", "/tenant-a/poll/%00", "/tenant-a/poll/a%2Fb", "/tenant-a/poll/%FF"]
    {
        world.post("", path, &json!({})).await.is_problem(401, "authentication_failed");
        world.post(&token, path, &json!({})).await.is_problem(404, "not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_again_and_again_is_told_when_to_come_back() {
    let (world, token, path) = world_with_stream().await;
    let request = json!({"returnImmediately": true});
    let fetched = world.post(&token, &path, &request).await.is_answer(200);
    world.post(&token, &path, &json!({"ack": jtis(&fetched), "maxEvents": 0})).await.is_answer(200);
    for _ in 0..20 {
        world.post(&token, &path, &request).await.is_answer(200);
    }
    let answer = world.post(&token, &path, &request).await;
    answer.is_problem(429, "too_often");
    assert_eq!(answer.header("retry-after"), Some("1"), "a tenth of a second, rounded up");
    world.later(1);
    world.post(&token, &path, &request).await.is_answer(200);
}
