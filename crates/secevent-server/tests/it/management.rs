//! Streams over HTTP: the success and the error codes of each endpoint.

use crate::world::{CREDENTIAL, POLL, PUSH, SESSION_REVOKED, World};
use http::Method;
use serde_json::{Value, json};

const STREAM: &str = "/tenant-a/ssf/stream";
const STATUS: &str = "/tenant-a/ssf/status";
const VERIFY: &str = "/tenant-a/ssf/verify";

async fn world_with_stream() -> (World, String, Value) {
    let world = World::new().await;
    let token = world.token("rp").await;
    let delivery = json!({"method": PUSH, "endpoint_url": "https://rp.example/events", "authorization_header": CREDENTIAL});
    let request = json!({"delivery": delivery, "events_requested": [SESSION_REVOKED], "description": "mine"});
    let created = world.post(&token, STREAM, &request).await.is_answer(201);
    (world, token, created)
}

fn id(stream: &Value) -> &str {
    stream["stream_id"].as_str().unwrap()
}

// spec: SSF-78, SSF-81, SSF-87, INTEROP-12
#[tokio::test]
async fn a_created_stream_is_told_whole() {
    let (world, token, created) = world_with_stream().await;
    let supported = created["events_supported"].as_array().unwrap();
    assert!(supported.contains(&json!(SESSION_REVOKED)) && supported.len() > 10);
    assert_eq!(
        created,
        json!({
            "stream_id": id(&created),
            "iss": "https://tr.example/tenant-a",
            "aud": "https://rp.example",
            "delivery": {"method": PUSH, "endpoint_url": "https://rp.example/events"},
            "events_supported": supported,
            "events_requested": [SESSION_REVOKED],
            "events_delivered": [SESSION_REVOKED],
            "description": "mine",
        })
    );
    let polled = json!({"delivery": {"method": POLL}, "events_requested": [SESSION_REVOKED, "https://x.example/new"], "x": 1});
    let polled = world.post(&token, STREAM, &polled).await.is_answer(201);
    assert_eq!(polled["events_delivered"], json!([SESSION_REVOKED]));
    let url = format!("https://tr.example/tenant-a/poll/{}", id(&polled));
    assert_eq!(polled["delivery"], json!({"method": POLL, "endpoint_url": url}));
}

// spec: SSF-40, SSF-71, SSF-72, SSF-88, SSF-89
#[tokio::test]
async fn the_smallest_request_makes_a_poll_stream_and_there_are_only_so_many() {
    let world = World::new().await;
    let token = world.token("rp").await;
    let mut urls = Vec::new();
    for _ in 0..3 {
        let created = world.post(&token, STREAM, &json!({})).await.is_answer(201);
        assert_eq!(created["delivery"]["method"], POLL);
        assert!(id(&created).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
        urls.push(created["delivery"]["endpoint_url"].clone());
    }
    assert!(urls[0] != urls[1] && urls[1] != urls[2]);
    world.post(&token, STREAM, &json!({})).await.is_problem(409, "conflict");
    assert_eq!(world.get(&token, STREAM).await.is_answer(200).as_array().unwrap().len(), 3);
}

// finding: B20
#[tokio::test]
async fn an_endpoint_that_can_never_be_reached_is_refused() {
    let (world, token, created) = world_with_stream().await;
    let to = |url: &str| json!({"method": PUSH, "endpoint_url": url, "authorization_header": CREDENTIAL});
    let private = to("https://10.0.0.1/events");
    for (method, request) in [
        (Method::POST, json!({"delivery": private})),
        (Method::PATCH, json!({"stream_id": id(&created), "delivery": private})),
        (Method::PUT, json!({"stream_id": id(&created), "delivery": private})),
    ] {
        let problem =
            world.send(method, &token, STREAM, request.to_string()).await.is_problem(400, "invalid_request");
        let text = format!("{}{}", problem["member"], problem["detail"]);
        assert!(text.contains("delivery.endpoint_url"), "{problem}");
        assert!(text.contains("10.0.0.1 is for private use"), "{problem}");
    }
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), json!([created]));
    let moved = json!({"stream_id": id(&created), "delivery": to("https://rp.example/other")});
    let moved = world.send(Method::PATCH, &token, STREAM, moved.to_string()).await.is_answer(200);
    assert_eq!(moved["delivery"]["endpoint_url"], "https://rp.example/other");
}

// spec: SSF-35, SSF-90, SSF-95, SSF-96
#[tokio::test]
async fn a_create_request_that_is_wrong_creates_nothing() {
    let world = World::new().await;
    let token = world.token("rp").await;
    let push = |url: &str| json!({"delivery": {"method": PUSH, "endpoint_url": url}});
    for (request, member) in [
        (json!({"delivery": {"method": "urn:x"}}), "delivery.method"),
        (json!({"delivery": {"method": PUSH}}), "delivery.endpoint_url"),
        (json!({"delivery": {}}), "delivery.method"),
        (push("http://rp.example/"), "delivery.endpoint_url"),
        (push("nonsense"), "delivery.endpoint_url"),
        (
            json!({"delivery": {"method": PUSH, "endpoint_url": "https://rp.example", "authorization_header": format!("{CREDENTIAL}\n")}}),
            "delivery.authorization_header",
        ),
        (json!({"events_requested": "all"}), "events_requested"),
        (json!({"description": 1}), "description"),
    ] {
        let problem = world.post(&token, STREAM, &request).await.is_problem(400, "invalid_request");
        assert_eq!(problem["member"], member, "{request}");
        assert!(problem["rule"].is_string());
    }
    for body in ["", "[]", "null", "{", "{}{}", r#"{"description":"a","description":"b"}"#, "\"x\""] {
        world.send(Method::POST, &token, STREAM, body).await.is_problem(400, "invalid_request");
    }
    let invalid_utf8 = b"{\"description\":\"\xff\"}".to_vec();
    world.send(Method::POST, &token, STREAM, invalid_utf8).await.is_problem(400, "invalid_request");
    world.post(&token, STREAM, &json!({"stream_id": "mine"})).await.is_problem(400, "invalid_request");
    world
        .post(&token, STREAM, &json!({"aud": "https://other.example"}))
        .await
        .is_problem(400, "invalid_request");
    let kind = "text/plain";
    world.send_as(Method::POST, &token, STREAM, kind, "{}").await.is_problem(415, "invalid_request");
    let long = format!("{{\"description\":\"{}\"}}", "x".repeat(1024 * 1024));
    world.send(Method::POST, &token, STREAM, long).await.is_problem(413, "invalid_request");
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), json!([]));
}

// spec: SSF-97, SSF-98, SSF-99, SSF-101
#[tokio::test]
async fn streams_are_read_one_or_all() {
    let (world, token, created) = world_with_stream().await;
    let one = world.get(&token, &format!("{STREAM}?stream_id={}", id(&created))).await.is_answer(200);
    assert_eq!(one, created);
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), json!([created]));
    assert_eq!(world.get(&world.token("reader").await, STREAM).await.is_answer(200), json!([]));
    for unknown in ["unknown", "..%2F..", "%00", "%C3%BC"] {
        world.get(&token, &format!("{STREAM}?stream_id={unknown}")).await.is_problem(404, "not_found");
    }
    world.get(&token, &format!("{STREAM}?stream_id=")).await.is_problem(400, "invalid_request");
}

// spec: SSF-102, SSF-103, SSF-104, SSF-105, SSF-106
#[tokio::test]
async fn an_update_changes_what_it_names() {
    let (world, token, created) = world_with_stream().await;
    let patch = async |change: Value| world.send(Method::PATCH, &token, STREAM, change.to_string()).await;
    let mut expected = created.clone();
    expected["description"] = json!("yours");
    let changed = patch(json!({"stream_id": id(&created), "description": "yours"})).await.is_answer(200);
    assert_eq!(changed, expected);

    // A receiver that reads, changes and writes back the whole object succeeds.
    let more = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
    let mut back = changed.clone();
    back["events_requested"] = json!([SESSION_REVOKED, more]);
    let changed = patch(back).await.is_answer(200);
    let delivered = changed["events_delivered"].as_array().unwrap();
    assert_eq!((delivered.len(), delivered.contains(&json!(more))), (2, true));

    for (member, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("https://other.example")),
        ("events_delivered", json!([])),
        ("events_supported", json!([])),
    ] {
        let problem = patch(json!({"stream_id": id(&created), member: value, "description": "no"})).await;
        assert_eq!(problem.is_problem(400, "invalid_request")["member"], member);
    }
    assert_eq!(
        patch(json!({"stream_id": id(&created)})).await.is_answer(200),
        changed,
        "nothing else changed"
    );
    patch(json!({"description": "x"})).await.is_problem(400, "invalid_request");
    patch(json!({"stream_id": "unknown", "description": "x"})).await.is_problem(404, "not_found");
}

/// `events_requested` is optional (SSF-88): a stream without it was verified, and silent for ever.
// finding: C1
#[tokio::test]
async fn a_stream_without_wishes_carries_all_that_its_client_may_have() {
    let (world, token, _) = world_with_stream().await;
    let created = world.post(&token, STREAM, &json!({})).await.is_answer(201);
    assert!(created["events_delivered"].as_array().unwrap().contains(&json!(SESSION_REVOKED)));
    assert_eq!(created["events_delivered"], created["events_supported"]);
    assert!(created.get("events_requested").is_none(), "{created}");
    let change = json!({"stream_id": id(&created), "events_requested": [SESSION_REVOKED]}).to_string();
    let changed = world.send(Method::PATCH, &token, STREAM, change).await.is_answer(200);
    assert_eq!(changed["events_delivered"], json!([SESSION_REVOKED]));
    let change = json!({"stream_id": id(&created), "events_requested": null}).to_string();
    let changed = world.send(Method::PATCH, &token, STREAM, change).await.is_answer(200);
    assert_eq!(changed["events_delivered"], created["events_supported"]);
}

#[tokio::test]
async fn a_receiver_may_want_nothing() {
    let (world, token, created) = world_with_stream().await;
    let change = json!({"stream_id": id(&created), "events_requested": []}).to_string();
    let changed = world.send(Method::PATCH, &token, STREAM, change).await.is_answer(200);
    assert_eq!(changed["events_delivered"], json!([]));
}

#[tokio::test]
async fn a_credential_is_kept_only_for_the_same_url() {
    let (world, token, created) = world_with_stream().await;
    let patch = async |delivery: Value| {
        let change = json!({"stream_id": id(&created), "delivery": delivery}).to_string();
        world.send(Method::PATCH, &token, STREAM, change).await
    };
    patch(json!({"method": PUSH, "endpoint_url": "https://rp.example/events"})).await.is_answer(200);
    let moved = patch(json!({"method": PUSH, "endpoint_url": "https://evil.example/"})).await;
    assert_eq!(moved.is_problem(400, "invalid_request")["rule"], "E-19");
    patch(json!({"method": PUSH, "endpoint_url": "https://new.example/", "authorization_header": null}))
        .await
        .is_answer(200);
    patch(json!({"endpoint_url": "https://new.example/"})).await.is_problem(400, "invalid_request");
}

// spec: SSF-112, SSF-113, SSF-114, SSF-115, SSF-116
#[tokio::test]
async fn a_replacement_takes_away_what_it_leaves_out() {
    let (world, token, created) = world_with_stream().await;
    let put = async |body: String| world.send(Method::PUT, &token, STREAM, body).await;
    assert_eq!(put(created.to_string()).await.is_answer(200), created, "as it was read");
    let replaced = put(json!({"stream_id": id(&created)}).to_string()).await;
    let replaced = replaced.is_answer(200);
    // Who asks for nothing in particular gets what there is, as at a new stream: two streams with the same
    // configuration carry the same events.
    assert_eq!(replaced["events_delivered"], created["events_supported"]);
    let like = world.post(&token, STREAM, &json!({})).await.is_answer(201);
    for member in ["events_delivered", "events_requested", "description", "format"] {
        assert_eq!(replaced.get(member), like.get(member), "{member}");
    }
    assert_eq!(replaced["delivery"]["method"], like["delivery"]["method"]);
    let path = format!("{STREAM}?stream_id={}", id(&like));
    world.send(Method::DELETE, &token, &path, "").await.is_empty(204);
    // Who asks for none gets none, and gets all again by taking that back.
    let none = put(json!({"stream_id": id(&created), "events_requested": []}).to_string()).await;
    let none = none.is_answer(200);
    assert_eq!((&none["events_requested"], &none["events_delivered"]), (&json!([]), &json!([])));
    let back = json!({"stream_id": id(&created), "events_requested": null}).to_string();
    assert_eq!(world.send(Method::PATCH, &token, STREAM, back).await.is_answer(200), replaced);
    assert_eq!(replaced["delivery"]["method"], json!(POLL));
    assert!(replaced.get("description").is_none() && replaced.get("events_requested").is_none());
    put(";{ broken".to_owned()).await.is_problem(400, "invalid_request");
    put(json!({"stream_id": id(&created), "iss": "https://x.example"}).to_string())
        .await
        .is_problem(400, "invalid_request");
    put(json!({"stream_id": "unknown"}).to_string()).await.is_problem(404, "not_found");
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), json!([replaced]));
}

// spec: SSF-118, SSF-119, SSF-120, SSF-73
#[tokio::test]
async fn a_deleted_stream_is_gone() {
    let (world, token, created) = world_with_stream().await;
    world.send(Method::DELETE, &token, STREAM, "").await.is_problem(400, "invalid_request");
    assert_eq!(world.get(&token, STREAM).await.is_answer(200), json!([created]));
    let path = format!("{STREAM}?stream_id={}", id(&created));
    world.send(Method::DELETE, &token, &path, "").await.is_empty(204);
    world.send(Method::DELETE, &token, &path, "").await.is_problem(404, "not_found");
    world.get(&token, &path).await.is_problem(404, "not_found");
    world.get(&token, &format!("{STATUS}?stream_id={}", id(&created))).await.is_problem(404, "not_found");
    assert_ne!(id(&world.stream(&token, "/tenant-a").await), id(&created));
}

// spec: SSF-122, SSF-123, SSF-130, SSF-132, INTEROP-08
#[tokio::test]
async fn a_status_is_set_and_read() {
    let (world, token, created) = world_with_stream().await;
    let path = format!("{STATUS}?stream_id={}", id(&created));
    let fresh = json!({"stream_id": id(&created), "status": "enabled"});
    assert_eq!(world.get(&token, &path).await.is_answer(200), fresh);
    for status in ["paused", "disabled", "enabled"] {
        let request = json!({"stream_id": id(&created), "status": status, "reason": "because"});
        assert_eq!(world.post(&token, STATUS, &request).await.is_answer(200), request);
        assert_eq!(world.get(&token, &path).await.is_answer(200), request);
    }
    for request in [
        json!({"stream_id": id(&created)}),
        json!({"stream_id": id(&created), "status": "PAUSED"}),
        json!({"status": "paused"}),
        json!({"stream_id": id(&created), "status": "paused", "reason": 1}),
    ] {
        world.post(&token, STATUS, &request).await.is_problem(400, "invalid_request");
    }
    world
        .post(&token, STATUS, &json!({"stream_id": "unknown", "status": "paused"}))
        .await
        .is_problem(404, "not_found");
    world.get(&token, STATUS).await.is_problem(400, "invalid_request");
    world.get(&token, &format!("{STATUS}?stream_id=unknown")).await.is_problem(404, "not_found");
}

// spec: SSF-163, SSF-164
#[tokio::test]
async fn a_verification_is_promised_or_refused() {
    let (world, token, created) = world_with_stream().await;
    let request = json!({"stream_id": id(&created), "state": "s"});
    world.post(&token, VERIFY, &request).await.is_empty(204);
    world.post(&token, VERIFY, &json!({"state": "s"})).await.is_problem(400, "invalid_request");
    world
        .post(&token, VERIFY, &json!({"stream_id": id(&created), "state": 1}))
        .await
        .is_problem(400, "invalid_request");
    world.post(&token, VERIFY, &json!({"stream_id": "unknown"})).await.is_problem(404, "not_found");
    for status in ["paused", "disabled"] {
        world
            .post(&token, STATUS, &json!({"stream_id": id(&created), "status": status}))
            .await
            .is_answer(200);
        let problem = world.post(&token, VERIFY, &request).await.is_problem(400, "invalid_request");
        assert_eq!(problem["rule"], "E-14");
    }
}

/// A caller that hangs up leaves no stream behind that is one thing in the store and another in memory, where nobody
/// could change it any more.
#[tokio::test]
async fn a_change_goes_on_when_its_caller_hangs_up() {
    let (world, token, created) = world_with_stream().await;
    let hang_up = async |method: Method, path: &str, body: String| {
        tokio::select! {
            biased;
            answer = world.send(method, &token, path, body) => panic!("it has to wait for the store: {answer:?}"),
            () = std::future::ready(()) => {}
        }
    };
    let status = |status: &str| json!({"stream_id": id(&created), "status": status});
    hang_up(Method::POST, STATUS, status("paused").to_string()).await;
    // While that change goes on, another one may have to be asked for again.
    let mut answer = world.post(&token, STATUS, &status("enabled")).await;
    for _ in 0..1_000 {
        if answer.status == 409 {
            tokio::task::yield_now().await;
            answer = world.post(&token, STATUS, &status("enabled")).await;
        }
    }
    assert_eq!(answer.is_answer(200), status("enabled"));

    let path = format!("{STREAM}?stream_id={}", id(&created));
    hang_up(Method::DELETE, &path, String::new()).await;
    let mut answer = world.get(&token, &path).await;
    for _ in 0..100_000 {
        if answer.status == 200 {
            tokio::task::yield_now().await;
            answer = world.get(&token, &path).await;
        }
    }
    answer.is_problem(404, "not_found");
}
