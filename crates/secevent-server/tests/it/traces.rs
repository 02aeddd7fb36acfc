//! Who changed what, where events go and why, and what is erased: as operators are told.

use crate::world::{Answer, CREDENTIAL, LOCAL, PUSH, World};
use axum::body::Body;
use http::{Method, Request};
use secevent_server::MetricsAccess;
use secevent_store::StoreError;
use serde_json::{Value, json};

async fn get(world: &World, path: &str) -> Value {
    world.admin(Method::GET, LOCAL, path, &Value::Null).await.is_answer(200)
}

async fn post(world: &World, path: &str, body: &Value) -> Answer {
    world.admin(Method::POST, LOCAL, path, body).await
}

fn alice() -> Value {
    json!({"format": "email", "email": "alice@example.com"})
}

#[tokio::test]
async fn every_change_is_in_the_log_with_who_asked_and_no_secret() {
    let world = World::new().await;
    let receiver = world.token("rp").await;
    let delivery =
        json!({"method": PUSH, "endpoint_url": "https://rp.example/e", "authorization_header": CREDENTIAL});
    let created = world.post(&receiver, "/tenant-a/ssf/stream", &json!({"delivery": delivery})).await;
    let request = created.header("x-request-id").unwrap().to_owned();
    let id = created.is_answer(201)["stream_id"].as_str().unwrap().to_owned();
    let operator = world.token("operator").await;
    let status = format!("/admin/v1/streams/{id}/status");
    let body = json!({"status": "paused", "reason": "maintenance"});
    world.admin(Method::PUT, &operator, &status, &body).await.is_answer(200);
    // What the transmitter does not know of is entered too; what changes nothing or fails is not.
    post(&world, "/admin/v1/backup", &json!({"path": "/backups/copy.db"})).await.is_answer(201);
    post(&world, "/admin/v1/backup", &json!({"path": "copy.db"})).await.is_problem(400, "invalid_request");
    let preview = json!({"preview": true, "since": "2026-01-01T00:00:00Z"});
    post(&world, &format!("/admin/v1/streams/{id}/replays"), &preview).await.is_answer(200);
    world
        .send(Method::DELETE, &receiver, &format!("/tenant-a/ssf/stream?stream_id={id}"), "")
        .await
        .is_empty(204);

    let told = get(&world, "/admin/v1/audit").await["changes"].as_array().unwrap().clone();
    let seen: Vec<Value> = told
        .iter()
        .map(|one| json!([one["action"], one["actor"]["kind"], one["actor"]["id"], one["object"]]))
        .collect();
    let stream = format!("stream/{id}");
    assert_eq!(
        json!(seen),
        json!([
            ["stream.delete", "client", "rp", stream],
            ["backup.write", "command-line", null, "backup"],
            ["stream.pause", "operator", "operator", stream],
            ["stream.create", "client", "rp", stream],
        ])
    );
    assert_eq!(told[3]["request"], request);
    assert_eq!((&told[3]["before"], &told[3]["after"]["status"]), (&Value::Null, &json!("enabled")));
    assert_eq!(
        (&told[2]["before"]["status"], &told[2]["after"]["reason"]),
        (&json!("enabled"), &json!("maintenance"))
    );
    assert_eq!(told[1]["after"], json!({"path": "/backups/copy.db"}));
    for (query, count) in [
        ("client=rp", 3),
        ("client=other", 0),
        (&format!("stream={id}"), 3),
        ("action=stream.", 3),
        ("action=backup.write", 1),
        ("since=2026-11-18T11:06:40Z", 4),
        ("since=2099-01-01T00:00:00Z", 0),
    ] {
        let told = get(&world, &format!("/admin/v1/audit?{query}")).await;
        assert_eq!(told["changes"].as_array().unwrap().len(), count, "{query}");
    }
    let (mut path, mut paged) = ("/admin/v1/audit?limit=3".to_owned(), Vec::new());
    loop {
        let page = get(&world, &path).await;
        paged.extend(page["changes"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/admin/v1/audit?limit=3&after={next}");
    }
    assert_eq!(paged, told);
}

#[tokio::test]
async fn a_change_that_is_not_in_the_log_is_not_answered_as_done() {
    let world = World::new().await;
    world.store.fail(Some(StoreError::Unavailable("the disk".to_owned())));
    let answer = post(&world, "/admin/v1/backup", &json!({"path": "/backups/copy.db"})).await;
    answer.is_problem(503, "unavailable");
}

#[tokio::test]
async fn the_callers_own_name_of_a_request_is_taken() {
    let world = World::new().await;
    let request = Request::post("/admin/v1/backup")
        .header("host", "localhost:8081")
        .header("authorization", format!("Bearer {LOCAL}"))
        .header("x-request-id", "deploy-17")
        .body(Body::from(json!({"path": "/backups/copy.db"}).to_string()))
        .unwrap();
    assert_eq!(world.call_admin(request).await.header("x-request-id"), Some("deploy-17"));
    assert_eq!(get(&world, "/admin/v1/audit").await["changes"][0]["request"], "deploy-17");
}

/// Of two operators who change what both have read, the second is told.
#[tokio::test]
async fn a_stream_that_was_changed_meanwhile_is_left_alone() {
    let world = World::new().await;
    let receiver = world.token("rp").await;
    let id = world.stream(&receiver, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    let path = format!("/admin/v1/streams/{id}");
    let read = world.admin(Method::GET, LOCAL, &path, &Value::Null).await;
    let etag = read.header("etag").unwrap().to_owned();
    let put = async |etag: &str, status: &str| {
        let request = Request::put(format!("{path}/status"))
            .header("host", "localhost:8081")
            .header("authorization", format!("Bearer {LOCAL}"))
            .header("if-match", etag);
        let body = json!({"status": status}).to_string();
        world.call_admin(request.body(Body::from(body)).unwrap()).await
    };
    let paused = put(&etag, "paused").await;
    paused.is_answer(200);
    let changed = paused.header("etag").unwrap();
    assert_ne!(changed, etag);
    let weak = format!("W/{changed}");
    let (twice, broken) = (format!("W/{weak}"), format!("{changed}, nothing"));
    for stale in [etag.as_str(), "\"v0\"", "W/\"v1\"", "nothing", "", &weak, &twice, &broken] {
        put(stale, "enabled").await.is_problem(412, "precondition_failed");
    }
    assert_eq!(get(&world, &path).await["status"], "paused");
    // One of a list is enough.
    put(&format!("{etag}, {changed}"), "enabled").await.is_answer(200);
    put("*", "paused").await.is_answer(200);
}

#[tokio::test]
async fn an_event_is_explained_before_it_is_sent_and_afterwards() {
    let world = World::new().await;
    let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
    let stream = world.stream(&receiver, "/tenant-a").await["stream_id"].clone();
    let nothing = json!({ "events_requested": [] });
    let other = world.post(&receiver, "/tenant-a/ssf/stream", &nothing).await.is_answer(201);
    let event = json!({"type": "caep:session-revoked", "subject": alice()});
    let ask = json!({"issuer": "https://tr.example/tenant-a", "event": event});
    let told = post(&world, "/admin/v1/explain", &ask).await.is_answer(200);
    assert_eq!(
        told["streams"],
        json!([
            {"stream_id": stream, "client": "rp", "goes": true, "rule": "owed",
             "reason": "the stream asks for this type, and gets it"},
            {"stream_id": other["stream_id"], "client": "rp", "goes": false, "rule": "not_requested",
             "reason": "the stream did not ask for this type"},
        ])
    );
    let accepted = world.post(&producer, "/tenant-a/events", &event).await.is_answer(202);
    let story = get(&world, &format!("/admin/v1/events/{}", accepted["event_id"].as_str().unwrap())).await;
    assert_eq!((&story["txn"], &story["issuer"]), (&accepted["txn"], &ask["issuer"]));
    let delivery = &story["deliveries"][0];
    assert_eq!(
        (&delivery["stream_id"], &delivery["state"], &delivery["attempts"]),
        (&stream, &json!("pending"), &json!(0))
    );
    assert_eq!(story["elsewhere"][0]["rule"], "not_requested");
    assert_eq!(story["deliveries"].as_array().unwrap().len(), 1);
    let by_jti = get(&world, &format!("/admin/v1/events/{}", delivery["jti"].as_str().unwrap())).await;
    assert_eq!(by_jti, story);
    for (path, body, status) in [
        ("/admin/v1/explain", json!({"event": event}), 400),
        ("/admin/v1/explain", json!({"issuer": "https://nobody.example", "event": event}), 404),
        ("/admin/v1/explain", json!({"issuer": "https://tr.example", "event": {"type": "nothing"}}), 400),
        ("/admin/v1/explain", json!({"issuer": "https://tr.example"}), 400),
    ] {
        assert_eq!(post(&world, path, &body).await.status, status, "{body}");
    }
    let missing = world.admin(Method::GET, LOCAL, "/admin/v1/events/nothing", &Value::Null).await;
    missing.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_person_is_erased_and_what_is_left_is_told() {
    let world = World::with(|_| {}, MetricsAccess::Token).await;
    let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
    let stream = world.stream(&receiver, "/tenant-a").await;
    for user in ["alice", "bob"] {
        let subject = json!({"format": "email", "email": format!("{user}@example.com")});
        let event = json!({"type": "caep:session-revoked", "subject": subject});
        world.post(&producer, "/tenant-a/events", &event).await.is_answer(202);
    }
    let described = json!({"stream_id": stream["stream_id"], "description": "for alice@example.com"});
    world.send(Method::PATCH, &receiver, "/tenant-a/ssf/stream", described.to_string()).await.is_answer(200);
    let ask = json!({"subject": alice(), "dry_run": true});
    let foreseen = post(&world, "/admin/v1/erasures", &ask).await.is_answer(200);
    assert_eq!((&foreseen["found"]["events"], &foreseen["found"]["dropped"]), (&json!(1), &json!(1)));
    let id = stream["stream_id"].as_str().unwrap();
    assert_eq!(foreseen["documents"], json!([format!("stream/{id}")]));
    assert_eq!(world.waiting(&receiver, "/tenant-a", &stream).await.len(), 3, "with the verification");

    let begun = post(&world, "/admin/v1/erasures", &json!({"subject": alice()})).await.is_answer(201);
    let path = format!("/admin/v1/erasures/{}", begun["id"].as_str().unwrap());
    let mut told = begun;
    let ending = async {
        while told["state"] == "running" {
            tokio::task::yield_now().await;
            told = get(&world, &path).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ending).await.expect("the erasure ends");
    assert_eq!((&told["erased"]["events"], &told["erased"]["dropped"]), (&json!(1), &json!(1)));
    let left = &told["left"];
    assert_eq!(
        (&left["found"]["events"], &left["found"]["changes"], &left["traces"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!(
        (&left["nothing"], &left["documents"]),
        (&json!(false), &foreseen["documents"]),
        "it is the client's"
    );
    assert_eq!(get(&world, "/admin/v1/erasures").await["erasures"], json!([told]));
    let log = get(&world, "/admin/v1/audit").await.to_string();
    assert!(log.contains("erasure.done") && !log.contains("alice"), "{log}");
    for wrong in
        [json!({}), json!({"subject": "alice@example.com"}), json!({"subject": alice(), "force": true})]
    {
        post(&world, "/admin/v1/erasures", &wrong).await.is_problem(400, "invalid_request");
    }
    let missing =
        world.admin(Method::GET, LOCAL, &format!("/admin/v1/erasures/{:032x}", 1), &Value::Null).await;
    missing.is_problem(404, "not_found");
}
