//! Who may call, and in which order that is checked against everything else.

use crate::world::{LOCAL, World, basic};
use axum::body::Body;
use base64::Engine as _;
use http::{Method, Request};
use serde_json::{Value, json};

/// Every endpoint that needs a token, with a request for this stream that is good.
fn endpoints(stream: &str) -> Vec<(Method, String, String)> {
    let subject = json!({"format": "email", "email": "alice@example.com"});
    let event = json!({"type": "caep:session-revoked", "subject": subject});
    let body = |value: Value| value.to_string();
    vec![
        (Method::POST, "/tenant-a/ssf/stream".to_owned(), body(json!({}))),
        (Method::GET, "/tenant-a/ssf/stream".to_owned(), String::new()),
        (Method::GET, format!("/tenant-a/ssf/stream?stream_id={stream}"), String::new()),
        (Method::PATCH, "/tenant-a/ssf/stream".to_owned(), body(json!({"stream_id": stream}))),
        (Method::PUT, "/tenant-a/ssf/stream".to_owned(), body(json!({"stream_id": stream}))),
        (Method::DELETE, format!("/tenant-a/ssf/stream?stream_id={stream}"), String::new()),
        (Method::GET, format!("/tenant-a/ssf/status?stream_id={stream}"), String::new()),
        (
            Method::POST,
            "/tenant-a/ssf/status".to_owned(),
            body(json!({"stream_id": stream, "status": "enabled"})),
        ),
        (Method::POST, "/tenant-a/ssf/verify".to_owned(), body(json!({"stream_id": stream}))),
        (
            Method::POST,
            "/tenant-a/ssf/subjects:add".to_owned(),
            body(json!({"stream_id": stream, "subject": subject})),
        ),
        (
            Method::POST,
            "/tenant-a/ssf/subjects:remove".to_owned(),
            body(json!({"stream_id": stream, "subject": subject})),
        ),
        (Method::POST, format!("/tenant-a/poll/{stream}"), body(json!({"returnImmediately": true}))),
        (Method::POST, "/tenant-a/events".to_owned(), body(event)),
    ]
}

// spec: SSF-64, SSF-69, SSF-41, POLL-35
#[tokio::test]
async fn without_a_token_nothing_is_done_and_the_way_is_told() {
    let world = World::new().await;
    for (method, path, body) in endpoints("unknown") {
        let answer = world.send(method, "", &path, body).await;
        answer.is_problem(401, "authentication_failed");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(!challenge.contains("error="), "without credentials no error is told: {challenge}");
    }
}

// spec: INTEROP-26
#[tokio::test]
async fn a_token_that_is_garbage_or_old_is_refused_before_anything_is_looked_up() {
    let world = World::new().await;
    let good = world.token("rp").await;
    let stream = world.stream(&good, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    let base64url = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let payload = good.split('.').nth(1).unwrap();
    let unsigned = format!("{}.{payload}.", base64url(r#"{"alg":"none","typ":"at+jwt"}"#));
    let tampered = format!("{}x", &good[..good.len() - 1]);
    for token in ["x", "a.b.c", "\"", &unsigned, &tampered, &good[..good.len() - 8]] {
        for (method, path, body) in endpoints(&stream).into_iter().chain(endpoints("unknown")) {
            let answer = world.send(method, token, &path, body).await;
            answer.is_problem(401, "authentication_failed");
            assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        }
    }
    world.get(&good, "/tenant-a/ssf/stream").await.is_answer(200);
    world.later(599);
    world.get(&good, "/tenant-a/ssf/stream").await.is_answer(200);
    world.later(1);
    world.get(&good, "/tenant-a/ssf/stream").await.is_problem(401, "authentication_failed");
}

// spec: INTEROP-24
#[tokio::test]
async fn a_token_is_taken_from_the_header_alone() {
    let world = World::new().await;
    let token = world.token("rp").await;
    world
        .get("", &format!("/tenant-a/ssf/stream?access_token={token}"))
        .await
        .is_problem(401, "authentication_failed");
    let form = format!("access_token={token}");
    let kind = "application/x-www-form-urlencoded";
    let answer = world.send_as(Method::POST, "", "/tenant-a/ssf/stream", kind, form).await;
    answer.is_problem(401, "authentication_failed");
    for authorization in [basic("rp"), token.clone(), format!("bearer {token}")] {
        let request = Request::get("/tenant-a/ssf/stream").header("authorization", &authorization);
        let answer = world.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.status == 200,
            authorization.starts_with("bearer"),
            "the scheme's case does not matter"
        );
    }
}

// spec: SET-29
#[tokio::test]
async fn a_set_is_no_access_token() {
    let world = World::new().await;
    let token = world.token("rp").await;
    let stream = world.stream(&token, "/tenant-a").await;
    let sets = world.waiting(&token, "/tenant-a", &stream).await;
    assert_eq!(sets.len(), 1, "the verification");
    world.get(&sets[0], "/tenant-a/ssf/stream").await.is_problem(401, "authentication_failed");
}

// spec: SSF-65, SSF-67, POLL-39
#[tokio::test]
async fn another_clients_stream_is_not_there() {
    let world = World::new().await;
    let (mine, other) = (world.token("rp").await, world.token("other").await);
    let stream = world.stream(&mine, "/tenant-a").await;
    let id = stream["stream_id"].as_str().unwrap();
    for (method, path, body) in endpoints(id) {
        if body.contains("stream_id") || path.contains(id) {
            world.send(method, &other, &path, body).await.is_problem(404, "not_found");
        }
    }
    assert_eq!(world.get(&other, "/tenant-a/ssf/stream").await.is_answer(200), json!([]));
    assert_eq!(world.get(&mine, "/tenant-a/ssf/stream").await.is_answer(200), json!([stream]));
    assert_eq!(world.waiting(&mine, "/tenant-a", &stream).await.len(), 1, "and its queue is untouched");
    // The same client at the other issuer has none of them either.
    assert_eq!(world.get(&mine, "/ssf/stream").await.is_answer(200), json!([]));
    world.get(&mine, &format!("/ssf/stream?stream_id={id}")).await.is_problem(404, "not_found");
    world
        .post(&mine, &format!("/poll/{id}"), &json!({"returnImmediately": true}))
        .await
        .is_problem(404, "not_found");
}

// spec: SSF-70
#[tokio::test]
async fn checks_come_in_their_order() {
    let world = World::new().await;
    let (token, reader, producer) =
        (world.token("rp").await, world.token("reader").await, world.token("producer").await);
    let id = world.stream(&token, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    // A body that cannot be read is told before the stream is looked for and before rights count.
    for (method, path, body) in endpoints("unknown").into_iter().chain(endpoints(&id)) {
        if body.is_empty() {
            continue;
        }
        world
            .send(method.clone(), "garbage", &path, ";{ broken")
            .await
            .is_problem(401, "authentication_failed");
        if path.ends_with("/events") {
            // There is nothing to be found or told apart here, and what is read costs more: rights come first.
            world.send(method, &token, &path, ";{ broken").await.is_problem(403, "access_denied");
            continue;
        }
        for token in [&token, &reader, &producer] {
            world.send(method.clone(), token, &path, ";{ broken").await.is_problem(400, "invalid_request");
        }
    }
    // Whether the stream is there is told before rights count: the reader has no such stream.
    for (method, path, body) in endpoints(&id) {
        if body.contains("stream_id") || path.contains(&id) {
            world.send(method, &reader, &path, body).await.is_problem(404, "not_found");
        }
    }
    // Rights come before content.
    let supplied = json!({"stream_id": "mine"});
    world.post(&reader, "/tenant-a/ssf/stream", &supplied).await.is_problem(403, "access_denied");
    world.post(&token, "/tenant-a/ssf/stream", &supplied).await.is_problem(400, "invalid_request");
    world.get(&producer, "/tenant-a/ssf/stream").await.is_problem(403, "access_denied");
    let (_, path, event) = endpoints(&id).pop().unwrap();
    world.send(Method::POST, &token, &path, event).await.is_problem(403, "access_denied");
}

#[tokio::test]
async fn rights_of_one_token_on_a_stream_of_its_client() {
    let world = World::new().await;
    let all = world.token("rp").await;
    let id = world.stream(&all, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    let form = "grant_type=client_credentials&scope=ssf.read";
    let less =
        world.ask_for_token(&basic("rp"), form).await.json()["access_token"].as_str().unwrap().to_owned();
    for (method, path, body) in endpoints(&id) {
        let reads = method == Method::GET || path.contains("/poll/");
        let answer = world.send(method, &less, &path, body).await;
        if reads {
            answer.is_answer(200);
        } else {
            answer.is_problem(403, "access_denied");
            assert!(answer.header("www-authenticate").unwrap().contains("error=\"insufficient_scope\""));
        }
    }
}

/// Whatever is answered, a browser takes it for what it says it is; and a body that is compressed is refused as such.
// finding: B22
#[tokio::test]
async fn answers_are_not_sniffed_and_encoded_bodies_are_unsupported() {
    let world = World::new().await;
    for path in world.paths.iter().map(|path| path.replace(['{', '}'], "")).chain(["/nothing".to_owned()]) {
        let answer = world.get("", &path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}: {answer:?}");
    }
    for (token, path) in
        [("", "/healthz"), ("", "/admin/v1/figures"), (LOCAL, "/admin/v1/figures"), (LOCAL, "/x")]
    {
        let answer = world.admin(Method::GET, token, path, &Value::Null).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}: {answer:?}");
    }
    let token = world.token("producer").await;
    for (coding, status) in [("gzip", 415), ("br", 415), ("identity, gzip", 415), ("identity", 400)] {
        let request = Request::post("/events")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("content-encoding", coding);
        let answer = world.call(request.body(Body::from("no json")).unwrap()).await;
        let err = if status == 415 { "unsupported_content_encoding" } else { "invalid_request" };
        answer.is_problem(status, err);
        assert_eq!(answer.header("accept-encoding"), (status == 415).then_some("identity"));
    }
}
