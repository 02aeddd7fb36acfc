//! The admin listener: who gets in, and what each endpoint does.

use crate::world::{Answer, CREDENTIAL, LOCAL, PUSH, SESSION_REVOKED, World};
use axum::body::Body;
use http::{Method, Request};
use secevent_server::MetricsAccess;
use secevent_store::StoreError;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Every endpoint that needs a token, with a request for this stream that is good.
pub(crate) fn endpoints(stream: &str) -> Vec<(Method, String, Value)> {
    let of = |path: &str| format!("/admin/v1/streams/{stream}{path}");
    let subject = json!({"format": "email", "email": "alice@example.com"});
    vec![
        (Method::GET, "/admin/v1/figures".to_owned(), Value::Null),
        (Method::GET, "/admin/v1/streams".to_owned(), Value::Null),
        (Method::GET, of(""), Value::Null),
        (Method::PUT, of("/status"), json!({"status": "enabled"})),
        (Method::GET, "/admin/v1/dead".to_owned(), Value::Null),
        (Method::GET, of("/dead/AAAAAAAAAAAAAAAAAAAAAA"), Value::Null),
        (Method::POST, of("/dead/redrive"), json!({"all": true})),
        (Method::POST, of("/dead/discard"), json!({"all": true})),
        (Method::POST, of("/replays"), json!({"preview": true})),
        (Method::GET, "/admin/v1/replays".to_owned(), Value::Null),
        (Method::GET, format!("/admin/v1/replays/{:032x}", 1), Value::Null),
        (Method::DELETE, format!("/admin/v1/replays/{:032x}", 1), Value::Null),
        (Method::POST, "/admin/v1/backup".to_owned(), json!({"path": "/backups/copy.db"})),
        (Method::GET, "/admin/v1/store/check".to_owned(), Value::Null),
        (Method::GET, "/admin/v1/clock".to_owned(), Value::Null),
        (Method::POST, "/admin/v1/clock/confirm".to_owned(), Value::Null),
        (Method::GET, "/admin/v1/keys".to_owned(), Value::Null),
        (Method::POST, "/admin/v1/keys/publish".to_owned(), json!({"issuer": "https://tr.example"})),
        (Method::POST, "/admin/v1/keys/rotate".to_owned(), json!({"issuer": "https://tr.example"})),
        (
            Method::POST,
            "/admin/v1/keys/withdraw".to_owned(),
            json!({"issuer": "https://tr.example", "kid": "none"}),
        ),
        (Method::POST, "/admin/v1/keys/rewrap".to_owned(), json!({})),
        (Method::GET, "/admin/v1/openapi.json".to_owned(), Value::Null),
        (Method::GET, "/admin/v1/audit".to_owned(), Value::Null),
        (Method::GET, "/admin/v1/events/AAAAAAAAAAAAAAAAAAAAAA".to_owned(), Value::Null),
        (
            Method::POST,
            "/admin/v1/explain".to_owned(),
            json!({"issuer": "https://tr.example", "event": {"type": "caep:session-revoked", "subject": subject}}),
        ),
        (Method::GET, "/admin/v1/erasures".to_owned(), Value::Null),
        (Method::POST, "/admin/v1/erasures".to_owned(), json!({"subject": subject, "dry_run": true})),
        (Method::GET, format!("/admin/v1/erasures/{:032x}", 1), Value::Null),
        (Method::GET, "/metrics".to_owned(), Value::Null),
        (Method::GET, "/admin/v1/nothing".to_owned(), Value::Null),
        (Method::POST, of("/retry"), Value::Null),
        (Method::DELETE, of(""), Value::Null),
    ]
}

/// A world in which the receiver of one stream has refused the SETs about these users.
struct Refused {
    world: World,
    receiver: String,
    producer: String,
    stream: Value,
}

impl Refused {
    async fn new(users: &[&str]) -> Self {
        Self::in_world(World::new().await, users).await
    }

    async fn in_world(world: World, users: &[&str]) -> Self {
        let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
        let stream = world.stream(&receiver, "/tenant-a").await;
        let refused = Self { world, receiver, producer, stream };
        // The verification that a new stream gets is none of what is tested here.
        refused.answer_polled("ack").await;
        for user in users {
            refused.emit(user).await;
            refused.answer_polled("setErrs").await;
        }
        refused
    }

    fn id(&self) -> &str {
        self.stream["stream_id"].as_str().unwrap()
    }

    async fn emit(&self, user: &str) {
        let subject = json!({"format": "email", "email": format!("{user}@example.com")});
        let event = json!({"type": "caep:session-revoked", "subject": subject});
        self.world.post(&self.producer, "/tenant-a/events", &event).await.is_answer(202);
    }

    /// Polls what is there, acknowledges or refuses it, and returns the identifiers.
    async fn answer_polled(&self, how: &str) -> Vec<String> {
        let path = format!("/tenant-a/poll/{}", self.id());
        let polled = self.world.post(&self.receiver, &path, &json!({"returnImmediately": true})).await;
        let sets = polled.is_answer(200)["sets"].as_object().unwrap().clone();
        let jtis: Vec<String> = sets.into_iter().map(|(jti, _)| jti).collect();
        let error = json!({"err": "invalid_request", "description": "what is this?"});
        let answers = match how {
            "ack" => json!(jtis),
            _ => {
                jtis.iter().map(|jti| (jti.clone(), error.clone())).collect::<serde_json::Map<_, _>>().into()
            }
        };
        let settled = self.world.store.settled() + jtis.len();
        self.world.post(&self.receiver, &path, &json!({how: answers, "maxEvents": 0})).await.is_answer(200);
        self.world.store.settles(settled).await;
        jtis
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        self.world.admin(method, LOCAL, path, &body).await
    }

    async fn get(&self, path: &str) -> Value {
        self.admin(Method::GET, path, Value::Null).await.is_answer(200)
    }

    async fn dead(&self) -> Vec<String> {
        let told = self.get("/admin/v1/dead").await;
        told["dead"].as_array().unwrap().iter().map(|dead| dead["jti"].as_str().unwrap().to_owned()).collect()
    }

    fn of(&self, path: &str) -> String {
        format!("/admin/v1/streams/{}{path}", self.id())
    }
}

#[tokio::test]
async fn nothing_but_health_is_told_without_a_token_of_the_right_scope() {
    let world = World::new().await;
    let receiver = world.token("rp").await;
    let stream = world.stream(&receiver, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    let producer = world.token("producer").await;
    for (method, path, body) in endpoints(&stream) {
        let answer = world.admin(method.clone(), "", &path, &body).await;
        answer.is_problem(401, "authentication_failed");
        for wrong in ["wrong", "local-toke", "local-token2"] {
            let answer = world.admin(method.clone(), wrong, &path, &body).await;
            answer.is_problem(401, "authentication_failed");
        }
        for scope in [&receiver, &producer] {
            let answer = world.admin(method.clone(), scope, &path, &body).await;
            answer.is_problem(403, "access_denied");
            let challenge = answer.header("www-authenticate").unwrap();
            assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"admin\"");
        }
    }
    for path in ["/healthz", "/readyz"] {
        world.admin(Method::GET, "", path, &Value::Null).await.is_answer(200);
    }
    assert_eq!(world.copies.written.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_client_with_the_scope_may_do_everything_here_and_nothing_elsewhere() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let receiver = world.token("rp").await;
    let stream = world.stream(&receiver, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    for (method, path, body) in endpoints(&stream) {
        let answer = world.admin(method, &operator, &path, &body).await;
        // The stream is polled, so there is nothing to retry.
        let expected = if path.ends_with("/retry") { vec![409] } else { vec![200, 201, 204, 404] };
        assert!(expected.contains(&answer.status), "{path}: {answer:?}");
    }
    world.get(&operator, "/tenant-a/ssf/stream").await.is_problem(403, "access_denied");
    world.later(600);
    let late = world.admin(Method::GET, &operator, "/admin/v1/figures", &Value::Null).await;
    late.is_problem(401, "authentication_failed");
    // The public listener knows nothing of all this, whoever asks.
    for (method, path, _) in endpoints(&stream) {
        world.send(method, LOCAL, &path, "").await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn requests_that_a_browser_was_tricked_into_are_refused() {
    let world = World::new().await;
    let call = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get(path).header("authorization", format!("Bearer {LOCAL}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        world.call_admin(request.body(Body::empty()).unwrap()).await
    };
    for path in ["/admin/v1/figures", "/metrics", "/healthz", "/readyz"] {
        for host in
            ["rebound.example:8081", "127.0.0.1.rebound.example", "10.0.0.1:8081", "localhost.", "tr.example"]
        {
            let problem = call(path, &[("host", host)]).await.is_problem(421, "misdirected");
            // finding: C14
            assert!(problem["detail"].as_str().unwrap().contains("server.admin_names"), "{problem}");
        }
        for hosts in [&[][..], &[("host", "localhost"), ("host", "rebound.example")], &[("host", "a b")]] {
            call(path, hosts).await.is_problem(400, "invalid_request");
        }
        for origin in ["https://evil.example", "null", "http://localhost:3000", "http://localhost:80811"] {
            let headers = [("host", "localhost:8081"), ("origin", origin)];
            call(path, &headers).await.is_problem(403, "access_denied");
        }
        for host in ["localhost:8081", "127.0.0.1:8081", "[::1]:8081", "secevent.internal"] {
            assert_eq!(call(path, &[("host", host)]).await.status, 200);
            let origin = format!("http://{host}");
            assert_eq!(call(path, &[("host", host), ("origin", &origin)]).await.status, 200);
        }
    }
    // The target wins over the header, as HTTP/2 has it.
    let other = call("http://rebound.example/admin/v1/figures", &[("host", "localhost:8081")]).await;
    other.is_problem(421, "misdirected");
    let answer = call("/admin/v1/figures", &[("host", "localhost")]).await;
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{answer:?}");
}

#[tokio::test]
async fn what_is_not_known_is_refused_by_its_name() {
    let world = World::new().await;
    let receiver = world.token("rp").await;
    let id = world.stream(&receiver, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    let of = |path: &str| format!("/admin/v1/streams/{id}{path}");
    let put_status = |body: Value| (Method::PUT, of("/status"), body);
    let redrive = |body: Value| (Method::POST, of("/dead/redrive"), body);
    let replay = |body: Value| (Method::POST, of("/replays"), body);
    let get = |path: &str| (Method::GET, path.to_owned(), Value::Null);
    let backup = |body: Value| (Method::POST, "/admin/v1/backup".to_owned(), body);
    let email = json!({"format": "email", "email": "alice@example.com", "more": 1});
    for ((method, path, body), member) in [
        (get("/admin/v1/streams?colour=red"), "colour"),
        (get("/admin/v1/streams?limit=1&limit=2"), "limit"),
        (get("/admin/v1/streams?limit=0"), "limit"),
        (get("/admin/v1/streams?limit=501"), "limit"),
        (get("/admin/v1/streams?limit=ten"), "limit"),
        (get("/admin/v1/streams?after=gone"), "after"),
        (get("/admin/v1/streams?backlog=yes"), "backlog"),
        (get("/admin/v1/figures?since=1"), "since"),
        (get("/admin/v1/dead?after=5"), "after"),
        (get("/admin/v1/dead?jti=5"), "jti"),
        (get(&of("?backlog=true")), "backlog"),
        (put_status(json!({"status": "enabled", "hold": true})), "hold"),
        (put_status(json!({"reason": "why"})), "status"),
        (put_status(json!({"status": "stopped"})), "status"),
        (put_status(json!({"status": "paused", "reason": 1})), "reason"),
        (put_status(json!({"status": "paused", "reason": "x".repeat(1_001)})), "reason"),
        (redrive(json!({"all": true, "force": true})), "force"),
        (redrive(json!({"all": "yes"})), "all"),
        (redrive(json!({"jti": "x"})), "jti"),
        (redrive(json!({"jti": [1]})), "jti"),
        (redrive(json!({"jti": []})), "jti"),
        (redrive(json!({"jti": vec!["x"; 1_001]})), "jti"),
        (replay(json!({"since": "2026-01-01", "preview": true})), "since"),
        (replay(json!({"since": 1_795_000_000})), "since"),
        (replay(json!({"per_second": 0})), "per_second"),
        (replay(json!({"per_second": 10_001})), "per_second"),
        (replay(json!({"per_second": 1.5})), "per_second"),
        (replay(json!({"subject": email})), "subject.more"),
        (replay(json!({"fresh": true})), "fresh"),
        (backup(json!({})), "path"),
        (backup(json!({"path": "copy.db"})), "path"),
        (backup(json!({"path": "/copy.db", "overwrite": true})), "overwrite"),
    ] {
        let problem = world.admin(method, LOCAL, &path, &body).await.is_problem(400, "invalid_request");
        assert_eq!(problem["member"], member, "{path} {body}: {problem}");
    }
    for body in [json!({}), json!({"all": false}), json!({"jti": ["x"], "all": true})] {
        let answer = world.admin(Method::POST, LOCAL, &of("/dead/redrive"), &body).await;
        answer.is_problem(400, "invalid_request");
    }
    let long = json!({"path": "x".repeat(1024 * 1024)});
    let answer = world.admin(Method::POST, LOCAL, "/admin/v1/backup", &long).await;
    answer.is_problem(413, "invalid_request");
    world
        .admin(Method::DELETE, LOCAL, "/admin/v1/figures", &Value::Null)
        .await
        .is_problem(405, "invalid_request");
    assert_eq!(world.copies.written.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    for stream in ["unknown", "%FF", "a%2Fb"] {
        for (method, path, body) in endpoints(stream) {
            if path.contains(stream) || path.contains("/replays/") || path.ends_with("nothing") {
                world.admin(method, LOCAL, &path, &body).await.is_problem(404, "not_found");
            }
        }
    }
    let listed = world.admin(Method::GET, LOCAL, "/admin/v1/dead?stream=unknown", &Value::Null).await;
    listed.is_problem(404, "not_found");
}

#[tokio::test]
async fn streams_are_told_in_pages_and_one_by_one() {
    let refused = Refused::new(&["alice"]).await;
    let receiver = &refused.receiver;
    let mut made = vec![refused.id().to_owned()];
    for _ in 0..2 {
        let stream = refused.world.stream(receiver, "/tenant-a").await;
        made.push(stream["stream_id"].as_str().unwrap().to_owned());
    }
    let mut told = Vec::new();
    let mut path = "/admin/v1/streams?limit=2".to_owned();
    loop {
        let page = refused.get(&path).await;
        let streams = page["streams"].as_array().unwrap().clone();
        told.extend(streams.iter().map(|stream| stream["stream_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/admin/v1/streams?limit=2&after={next}");
    }
    assert_eq!(told, made);

    let mut whole = refused.get(&refused.of("")).await;
    let details = whole.as_object_mut().unwrap().remove("details").unwrap();
    assert_eq!(
        whole,
        json!({
            "stream_id": refused.id(), "name": null, "client": "rp", "issuer": "https://tr.example/tenant-a",
            "method": "poll", "endpoint_url": format!("https://tr.example/tenant-a/poll/{}", refused.id()), "event_types": 1,
            "status": "enabled", "reason": null, "held": false, "held_by": null, "client_disabled": false,
            "poll_visibility_seconds": 60, "poll_order": "per-subject", "suspended": null,
            "delayed": 0, "pending": 0, "in_flight": 0, "window": whole["window"], "delivered": 1, "retries": 0, "again": 0,
            "backlog": {"pending": 0, "bytes": 0, "oldest": null, "rejected": 1, "abandoned": 0, "dropped": 0, "dead": 1},
        })
    );
    // finding: C2
    let created = json!({"at": "2026-11-18T11:06:40Z", "actor": {"kind": "client", "id": "rp"}});
    assert_eq!(
        details,
        json!({
            "audience": "https://rp.example", "declared": false, "has_credential": false,
            "events_requested": [SESSION_REVOKED], "events_delivered": [SESSION_REVOKED],
            "events_supported": details["events_supported"], "description": null, "format": null,
            "default_subjects": "all", "subjects": 0, "created_at": "2026-11-18T11:06:40Z", "updated": created,
            "status_set": null, "limits": {"deliveries": 1_000_000, "bytes": 1_073_741_824, "overflow": "pause"},
            "retention": {"age_max_seconds": 604_800, "dead_kept_seconds": 2_592_000, "history_seconds": 86_400},
        })
    );
    assert!(details["events_supported"].as_array().unwrap().len() > 1, "{details}");
    let listed = refused.get("/admin/v1/streams?limit=1&backlog=true").await;
    assert_eq!(listed["streams"], json!([whole]));
    refused.emit("bob").await;
    let whole = refused.get(&refused.of("")).await;
    assert_eq!(whole["backlog"]["oldest"], "2026-11-18T11:06:40Z");
    let figures = refused.get("/admin/v1/figures").await;
    for (name, value) in [("accepted", 2), ("delivered", 1), ("rejected", 1), ("streams", 3), ("pending", 5)]
    {
        assert_eq!(figures[name], value, "{name}: {figures}");
    }
}

// finding: C2
#[tokio::test]
async fn a_stream_is_named_by_how_its_identifier_begins_everywhere() {
    // Here a client may have many streams.
    let refused = Refused::in_world(World::with_clients(|_| {}).await, &["alice"]).await;
    let (world, id) = (&refused.world, refused.id().to_owned());
    let short = &id[..6];
    let of = |path: &str| format!("/admin/v1/streams/{short}{path}");
    let jti = refused.dead().await.remove(0);
    assert_eq!(refused.get(&of("")).await["stream_id"], id);
    assert_eq!(refused.get(&of(&format!("/dead/{jti}"))).await["stream_id"], id);
    let dead = refused.get(&format!("/admin/v1/dead?stream={short}")).await;
    assert_eq!(dead["dead"].as_array().unwrap().len(), 1);
    let redriven = refused.admin(Method::POST, &of("/dead/redrive"), json!({"jti": [jti]})).await;
    assert_eq!(redriven.is_answer(200)["redriven"], 1);
    let preview = json!({"since": "2026-01-01T00:00:00Z", "preview": true});
    refused.admin(Method::POST, &of("/replays"), preview).await.is_answer(200);
    // The status is what it was, so the listener enters it, under the whole identifier.
    refused.admin(Method::PUT, &of("/status"), json!({"status": "enabled"})).await.is_answer(200);
    let changes = refused.get(&format!("/admin/v1/audit?stream={short}")).await;
    let told: Vec<_> = changes["changes"].as_array().unwrap().iter().map(|one| &one["action"]).collect();
    assert_eq!(told, ["stream.enable", "dead.redrive", "stream.create"]);
    let objects: Vec<_> = changes["changes"].as_array().unwrap().iter().map(|one| &one["object"]).collect();
    let of_stream = json!(format!("stream/{id}"));
    assert_eq!(objects, [&of_stream; 3]);

    for (named, told) in [
        (&id[..3], "give 4 characters or more"),
        ("no%20such", "there is no such stream"),
        ("%ff", "there is no such stream"),
    ] {
        let path = format!("/admin/v1/streams/{named}");
        let problem = refused.admin(Method::GET, &path, Value::Null).await.is_problem(404, "not_found");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
    // With so many streams two begin alike.
    let mut ids = vec![id.clone()];
    while !ids.iter().enumerate().any(|(place, one)| ids[..place].iter().any(|other| one[..4] == other[..4]))
    {
        assert!(ids.len() < 2_000);
        let stream = world.post(&refused.receiver, "/tenant-a/ssf/stream", &json!({})).await.is_answer(201);
        ids.push(stream["stream_id"].as_str().unwrap().to_owned());
    }
    let last = &ids[ids.len() - 1];
    let path = format!("/admin/v1/streams/{}", &last[..4]);
    for method in [Method::GET, Method::DELETE] {
        let problem = refused.admin(method, &path, Value::Null).await.is_problem(409, "conflict");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("this names 2 streams") && detail.contains(last.as_str()), "{detail}");
    }
    let problem =
        refused.admin(Method::GET, &format!("/admin/v1/dead?stream={}", &last[..4]), Value::Null).await;
    problem.is_problem(409, "conflict");
}

// finding: C2, C8
#[tokio::test]
async fn a_stream_is_tried_at_once_and_deleted_when_an_operator_asks() {
    let world = World::new().await;
    let receiver = world.token("rp").await;
    let url = "https://rp.example/e?key=hidden-key";
    let delivery = json!({"method": PUSH, "endpoint_url": url, "authorization_header": CREDENTIAL});
    let made = world.post(&receiver, "/tenant-a/ssf/stream", &json!({"delivery": delivery})).await;
    let id = made.is_answer(201)["stream_id"].as_str().unwrap().to_owned();
    let call = async |method: Method, path: &str| {
        let path = format!("/admin/v1/streams/{}{path}", &id[..8]);
        world.admin(method, LOCAL, &path, &Value::Null).await
    };
    let shown = call(Method::GET, "").await.is_answer(200);
    assert_eq!(shown["endpoint_url"], "https://rp.example/e?(hidden)");
    assert_eq!((&shown["method"], &shown["details"]["has_credential"]), (&json!("push"), &json!(true)));
    assert!(!shown.to_string().contains("hidden-key"), "{shown}");
    let retried = call(Method::POST, "/retry").await.is_answer(200);
    assert_eq!((&retried["stream_id"], &retried["delayed"]), (&json!(id), &json!(0)));
    let polled = world.stream(&receiver, "/tenant-a").await["stream_id"].as_str().unwrap().to_owned();
    let problem =
        world.admin(Method::POST, LOCAL, &format!("/admin/v1/streams/{polled}/retry"), &Value::Null).await;
    let problem = problem.is_problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("is polled"), "{problem}");

    call(Method::DELETE, "").await.is_empty(204);
    call(Method::DELETE, "").await.is_problem(404, "not_found");
    world.get(&receiver, &format!("/tenant-a/ssf/stream?stream_id={id}")).await.is_problem(404, "not_found");
    // What was done to it is found by its whole identifier.
    let path = format!("/admin/v1/audit?stream={id}");
    let changes = world.admin(Method::GET, LOCAL, &path, &Value::Null).await.is_answer(200);
    let told: Vec<_> = changes["changes"].as_array().unwrap().iter().map(|one| &one["action"]).collect();
    assert_eq!(told, ["stream.delete", "stream.retry", "stream.create"]);
    assert_eq!(changes["changes"][0]["actor"]["kind"], "command-line");
    let gone = world.admin(Method::GET, LOCAL, "/admin/v1/audit?stream=gone", &Value::Null).await;
    gone.is_problem(404, "not_found");
}

#[tokio::test]
async fn what_the_operator_paused_only_the_operator_enables() {
    let refused = Refused::new(&[]).await;
    let pause = json!({"status": "paused", "reason": "maintenance"});
    let told = refused.admin(Method::PUT, &refused.of("/status"), pause).await.is_answer(200);
    assert_eq!(
        (&told["status"], &told["reason"], &told["held"]),
        (&json!("paused"), &json!("maintenance"), &json!(true))
    );
    let enable = json!({"stream_id": refused.id(), "status": "enabled"});
    let answer = refused.world.post(&refused.receiver, "/tenant-a/ssf/status", &enable).await;
    let problem = answer.is_problem(403, "access_denied");
    assert!(answer.header("www-authenticate").is_none(), "no token would change it: {problem}");
    let enable = json!({"status": "enabled"});
    let told = refused.admin(Method::PUT, &refused.of("/status"), enable).await.is_answer(200);
    assert_eq!(
        (&told["status"], &told["reason"], &told["held"]),
        (&json!("enabled"), &Value::Null, &json!(false))
    );
}

#[tokio::test]
async fn dead_letters_are_listed_shown_redriven_and_discarded() {
    let users = ["alice", "bob", "carol", "dave", "erin"];
    let refused = Refused::new(&users).await;
    let mut listed = Vec::new();
    let mut path = format!("/admin/v1/dead?stream={}&limit=2", refused.id());
    loop {
        let page = refused.get(&path).await;
        assert!(!page.to_string().contains("@example.com"), "a list names nobody: {page}");
        listed.extend(page["dead"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/admin/v1/dead?stream={}&limit=2&after={next}", refused.id());
    }
    assert_eq!(listed.len(), 5);
    let jti = |place: usize| listed[place]["jti"].as_str().unwrap();
    assert_eq!(
        listed[0],
        json!({
            "jti": jti(0), "stream_id": refused.id(), "event_id": listed[0]["event_id"], "event_type": SESSION_REVOKED, "cause": "rejected",
            "reason": "invalid_request: what is this?", "accepted_at": "2026-11-18T11:06:40Z",
            "died_at": "2026-11-18T11:06:40Z", "attempts": 1,
        })
    );

    let shown = refused.get(&refused.of(&format!("/dead/{}", jti(0)))).await;
    assert_eq!(shown["claims"]["jti"], jti(0));
    assert_eq!(shown["claims"]["sub_id"], json!({"format": "email", "email": "alice@example.com"}));
    assert!(shown["claims"]["events"].get(SESSION_REVOKED).is_some());
    assert_eq!((&shown["reason"], &shown["newer"]), (&listed[0]["reason"], &json!(false)));
    // finding: C13
    let attempt = json!({"at": shown["died_at"], "result": "rejected", "status": null, "elapsed_ms": null});
    assert_eq!(shown["last_attempts"], json!([attempt]));
    let told = refused.get(&format!("/admin/v1/events/{}", jti(0))).await;
    let delivery = &told["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["dead"]), (&json!("rejected"), &json!(true)), "{told}");
    assert_eq!(delivery["last_attempts"], json!([attempt]));
    refused.emit("alice").await;
    refused.answer_polled("ack").await;
    let shown = refused.get(&refused.of(&format!("/dead/{}", jti(0)))).await;
    assert_eq!(shown["newer"], true, "there is later news of the same subject");

    // Of many that are named, an unknown one stops all.
    let unknown = json!({"jti": [jti(0), "AAAAAAAAAAAAAAAAAAAAAA"]});
    for verb in ["redrive", "discard"] {
        let answer =
            refused.admin(Method::POST, &refused.of(&format!("/dead/{verb}")), unknown.clone()).await;
        answer.is_problem(404, "not_found");
    }
    assert_eq!(refused.dead().await.len(), 5);

    let some = json!({"jti": [jti(1), jti(3)]});
    let told = refused.admin(Method::POST, &refused.of("/dead/redrive"), some).await.is_answer(200);
    assert_eq!(told, json!({"redriven": 2, "superseded": 0}));
    let mut again = refused.answer_polled("ack").await;
    again.sort();
    let mut expected = vec![jti(1).to_owned(), jti(3).to_owned()];
    expected.sort();
    assert_eq!(again, expected, "the same SETs");

    let told = refused.admin(Method::POST, &refused.of("/dead/discard"), json!({"jti": [jti(0)]})).await;
    assert_eq!(told.is_answer(200), json!({"discarded": 1}));
    assert_eq!(refused.dead().await, [jti(2), jti(4)]);
    let told = refused.admin(Method::POST, &refused.of("/dead/discard"), json!({"all": true})).await;
    assert_eq!(told.is_answer(200), json!({"discarded": 2}));
    assert_eq!(refused.dead().await, <[&str; 0]>::default());
    let gone = refused.admin(Method::GET, &refused.of(&format!("/dead/{}", jti(0))), Value::Null).await;
    gone.is_problem(404, "not_found");
    // What became of each is seen although its dead letter is gone.
    for (place, state, time) in [(0, "rejected", "died_at"), (1, "delivered", "acked_at")] {
        let told = refused.get(&format!("/admin/v1/events/{}", jti(place))).await;
        let delivery = &told["deliveries"][0];
        assert_eq!((&delivery["state"], &delivery["dead"]), (&json!(state), &json!(false)), "{told}");
        assert!(delivery[time].is_string() && delivery["dropped"].is_null(), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_counted_replayed_and_called_off() {
    let refused = Refused::new(&[]).await;
    let mut delivered = Vec::new();
    for user in ["alice", "bob", "alice"] {
        refused.world.later(60);
        refused.emit(user).await;
        delivered.extend(refused.answer_polled("ack").await);
    }
    let replays = refused.of("/replays");
    let alice = json!({"format": "email", "email": "alice@example.com"});
    for (request, count, newer) in [
        (json!({}), 3, true),
        (json!({"since": "2026-11-18T11:08:40Z"}), 2, false),
        (json!({"since": "2026-11-18T12:09:40+01:00"}), 1, false),
        (json!({"from_jti": delivered[1]}), 2, false),
        (json!({"subject": alice, "fresh_jti": true, "per_second": 10_000}), 2, true),
        (json!({"subject": alice, "since": "2026-11-18T12:09:41+01:00"}), 0, false),
    ] {
        let mut asked = request.clone();
        asked["preview"] = true.into();
        let told = refused.admin(Method::POST, &replays, asked).await.is_answer(200);
        assert_eq!((&told["count"], &told["newer"]), (&json!(count), &json!(newer)), "{request}: {told}");
        assert_eq!(told["first"].is_null(), count == 0, "{told}");
    }
    assert_eq!(refused.get("/admin/v1/replays").await, json!({"replays": []}), "nothing has begun");
    let unknown = refused.admin(Method::POST, &replays, json!({"from_jti": "AAAAAAAAAAAAAAAAAAAAAA"})).await;
    unknown.is_problem(404, "not_found");

    let slow = json!({"per_second": 1});
    let mut ids = Vec::new();
    for _ in 0..16 {
        let told = refused.admin(Method::POST, &replays, slow.clone()).await.is_answer(201);
        let id = told["id"].as_str().unwrap().to_owned();
        let expected = json!({
            "id": id, "stream_id": refused.id(), "stream_name": null, "state": "running", "total": 3, "count": 0,
            "per_second": 1, "started_at": told["started_at"], "started_by": "command-line", "ended_at": null,
            "since": null, "of_one_subject": false, "fresh_jti": false, "first": told["first"],
            "last": told["last"], "reached": null,
        });
        assert_eq!(told, expected);
        assert!(told["first"].as_str() < told["last"].as_str(), "{told}");
        ids.push(id);
    }
    refused.admin(Method::POST, &replays, slow).await.is_problem(409, "conflict");
    let one = format!("/admin/v1/replays/{}", ids[0]);
    for _ in 0..2 {
        let told = refused.admin(Method::DELETE, &one, Value::Null).await.is_answer(200);
        assert_eq!(told["state"], "cancelled");
    }
    assert_eq!(refused.get(&one).await["state"], "cancelled");
    let all = refused.get("/admin/v1/replays").await;
    assert_eq!(all["replays"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn a_copy_is_written_where_there_is_nothing() {
    let world = World::new().await;
    let ask = async || {
        world.admin(Method::POST, LOCAL, "/admin/v1/backup", &json!({"path": "/backups/copy.db"})).await
    };
    assert_eq!(ask().await.is_answer(201), json!({"path": "/backups/copy.db"}));
    assert_eq!(*world.copies.written.lock().unwrap(), [PathBuf::from("/backups/copy.db")]);
    for (trouble, status, err, told) in [
        (
            StoreError::Unusable("there is something of this name already".to_owned()),
            409,
            "conflict",
            "this name",
        ),
        (StoreError::Busy, 409, "conflict", "another copy"),
        (StoreError::Unavailable("the disk is full".to_owned()), 503, "unavailable", "the disk is full"),
    ] {
        *world.copies.trouble.lock().unwrap() = Some(trouble);
        let problem = ask().await.is_problem(status, err);
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
}

// finding: C5
#[tokio::test]
async fn what_is_damaged_is_told_to_operators() {
    let world = World::new().await;
    let check = async || world.admin(Method::GET, LOCAL, "/admin/v1/store/check", &Value::Null).await;
    assert_eq!(check().await.is_answer(200), json!({"damage": ["Tree 7 page 9: out of order"]}));
    *world.copies.trouble.lock().unwrap() = Some(StoreError::Busy);
    check().await.is_problem(409, "conflict");
}

#[tokio::test]
async fn a_server_whose_store_does_not_answer_lives_and_is_not_ready() {
    let world = World::new().await;
    world.store.fail(Some(StoreError::Unavailable("/secret/path: gone".to_owned())));
    let answer = world.admin(Method::GET, "", "/readyz", &Value::Null).await;
    let problem = answer.is_problem(503, "not_ready");
    assert_eq!(problem["detail"], "the store does not answer", "everybody may ask");
    world.admin(Method::GET, "", "/healthz", &Value::Null).await.is_answer(200);
    let answer = world.admin(Method::GET, LOCAL, "/admin/v1/dead", &Value::Null).await;
    answer.is_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(world.admin(Method::GET, LOCAL, "/metrics", &Value::Null).await.status, 200);
    world.store.fail(None);
    world.admin(Method::GET, "", "/readyz", &Value::Null).await.is_answer(200);
}

/// A server that accepts no events, or found its store damaged, is not ready and says why.
// finding: B5
#[tokio::test]
async fn a_server_that_rejects_events_is_not_ready() {
    let world = World::new().await;
    for (trouble, reason) in [
        (StoreError::DiskFull, "new events are rejected: the disk is full"),
        (StoreError::Full, "new events are rejected: the store holds as much as it may"),
    ] {
        world.store.fail(Some(trouble));
        let answer = world.admin(Method::GET, "", "/readyz", &Value::Null).await;
        let problem = answer.is_problem(503, "not_ready");
        assert!(problem["detail"].as_str().unwrap().starts_with(reason), "{problem}");
    }
    world.store.fail(None);
    world.admin(Method::GET, "", "/readyz", &Value::Null).await.is_answer(200);
    world.store.damaged.store(1, std::sync::atomic::Ordering::Relaxed);
    let answer = world.admin(Method::GET, "", "/readyz", &Value::Null).await;
    assert_eq!(answer.is_problem(503, "not_ready")["err"], "not_ready");
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// Names are what dashboards are built on: they are as they were.
#[tokio::test]
async fn metrics_have_these_names_and_name_nobody() {
    let refused = Refused::new(&["alice"]).await;
    let metrics = text(&refused.admin(Method::GET, "/metrics", Value::Null).await);
    let kinds: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    insta::assert_snapshot!("metrics", kinds.join("\n"));
    let stream = refused.id();
    for line in [
        "secevent_events_accepted_total 1".to_owned(),
        "secevent_sets_rejected_total 1".to_owned(),
        "secevent_sets_delivered_total 1".to_owned(),
        format!("secevent_stream_dead{{stream=\"{stream}\"}} 1"),
        format!("secevent_stream_pending{{stream=\"{stream}\"}} 0"),
        format!("secevent_stream_oldest_pending_seconds{{stream=\"{stream}\"}} 0"),
        format!("secevent_stream_suspended{{stream=\"{stream}\"}} 0"),
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}:\n{metrics}");
    }
    assert!(!metrics.contains("alice") && !metrics.contains("rp.example"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("secevent_") && value.parse::<f64>().is_ok(), "{line}");
    }
    refused.emit("bob").await;
    refused.world.later(90);
    let metrics = text(&refused.admin(Method::GET, "/metrics", Value::Null).await);
    assert!(metrics.contains(&format!("oldest_pending_seconds{{stream=\"{stream}\"}} 90\n")), "{metrics}");
}

#[tokio::test]
async fn metrics_of_single_streams_end_where_there_are_many() {
    let world = World::with(|config| config.streams_per_client_max = 200, MetricsAccess::Open).await;
    let receiver = world.token("rp").await;
    for _ in 0..199 {
        world.stream(&receiver, "/tenant-a").await;
    }
    let metrics = async || text(&world.admin(Method::GET, "", "/metrics", &Value::Null).await);
    assert_eq!(
        metrics().await.lines().filter(|line| line.starts_with("secevent_stream_pending{")).count(),
        199
    );
    world.stream(&receiver, "/tenant-a").await;
    let many = metrics().await;
    assert!(!many.contains("secevent_stream_") && many.contains("secevent_streams 200\n"), "{many}");
}

#[tokio::test]
async fn metrics_can_be_open_or_off() {
    let open = World::with(|_| {}, MetricsAccess::Open).await;
    text(&open.admin(Method::GET, "", "/metrics", &Value::Null).await);
    let foreign = Request::get("/metrics").header("host", "rebound.example").body(Body::empty()).unwrap();
    open.call_admin(foreign).await.is_problem(421, "misdirected");
    let off = World::with(|_| {}, MetricsAccess::Off).await;
    off.admin(Method::GET, LOCAL, "/metrics", &Value::Null).await.is_problem(404, "not_found");
    off.admin(Method::GET, "", "/metrics", &Value::Null).await.is_problem(401, "authentication_failed");
}

// finding: C7
#[tokio::test]
async fn dead_letters_of_a_deleted_stream_are_shown_and_discarded() {
    let refused = Refused::new(&["alice", "bob"]).await;
    let jtis = refused.dead().await;
    refused
        .admin(Method::DELETE, &format!("/admin/v1/streams/{}", refused.id()), Value::Null)
        .await
        .is_empty(204);
    let of = |path: &str| format!("/admin/v1/streams/deleted{path}");
    let told = refused.get("/admin/v1/dead?stream=deleted").await;
    assert_eq!(told["dead"].as_array().unwrap().len(), 2, "{told}");
    let one = refused.get(&of(&format!("/dead/{}", jtis[0]))).await;
    assert_eq!((&one["jti"], &one["stream_id"]), (&json!(jtis[0]), &Value::Null));
    let redrive = refused.admin(Method::POST, &of("/dead/redrive"), json!({"all": true})).await;
    redrive.is_problem(409, "conflict");
    let discard = async |body: Value| refused.admin(Method::POST, &of("/dead/discard"), body).await;
    discard(json!({"jti": ["nothing"]})).await.is_problem(404, "not_found");
    assert_eq!(discard(json!({"jti": [jtis[0]]})).await.is_answer(200)["discarded"], 1);
    assert_eq!(discard(json!({"all": true})).await.is_answer(200)["discarded"], 1);
    assert_eq!(discard(json!({"all": true})).await.is_answer(200)["discarded"], 0);
    let changes = refused.get("/admin/v1/audit?action=dead.discard").await;
    assert_eq!(changes["changes"].as_array().unwrap().len(), 2, "what did nothing is not entered: {changes}");
}

// finding: C7
#[tokio::test]
async fn a_letter_that_died_twice_has_all_its_attempts() {
    let refused = Refused::new(&["alice"]).await;
    let jti = refused.dead().await.remove(0);
    let of = |path: &str| format!("/admin/v1/streams/{}/dead{path}", refused.id());
    let attempts = async || refused.get("/admin/v1/dead").await["dead"][0]["attempts"].clone();
    assert_eq!(attempts().await, 1);
    refused.admin(Method::POST, &of("/redrive"), json!({"jti": [jti]})).await.is_answer(200);
    refused.answer_polled("setErrs").await;
    assert_eq!(attempts().await, 2);
    let (shown, told) = (
        refused.get(&of(&format!("/{jti}"))).await["attempts"].clone(),
        refused.get(&format!("/admin/v1/events/{jti}")).await["deliveries"][0]["attempts"].clone(),
    );
    assert_eq!((shown, told), (json!(2), json!(2)));
}

// finding: C11
#[tokio::test]
async fn cancelling_a_replay_that_has_ended_is_no_change() {
    let refused = Refused::new(&[]).await;
    let started =
        refused.admin(Method::POST, &refused.of("/replays"), json!({"since": "2026-01-01T00:00:00Z"})).await;
    let replay = started.is_answer(201);
    let id = replay["id"].as_str().unwrap().to_owned();
    assert_eq!(replay["started_by"], "command-line");
    let path = format!("/admin/v1/replays/{}", &id[..6]);
    for _ in 0..2 {
        refused.admin(Method::DELETE, &path, Value::Null).await.is_answer(200);
    }
    let changes = refused.get("/admin/v1/audit?action=replay.cancel").await;
    let changes = changes["changes"].as_array().unwrap();
    assert!(changes.len() <= 1, "{changes:?}");
    assert!(changes.iter().all(|one| one["after"]["replay"] == json!(id)), "{changes:?}");
}

// finding: C13
#[tokio::test]
async fn a_pending_delivery_says_what_it_waits_for() {
    let refused = Refused::new(&[]).await;
    let event = json!({"type": "caep:session-revoked", "txn": "T1",
        "subject": {"format": "email", "email": "alice@example.com"}});
    for _ in 0..2 {
        refused.world.post(&refused.producer, "/tenant-a/events", &event).await.is_answer(202);
    }
    let told = refused.get("/admin/v1/events/T1").await;
    assert_eq!((&told["count"], told["others"].as_array().unwrap().len()), (&json!(2), 1));
    assert_ne!(told["event_id"], told["others"][0]["event_id"]);
    assert_eq!(told["others"][0]["deliveries"][0]["waits"], "poll", "{told}");
    let status = format!("/admin/v1/streams/{}/status", refused.id());
    let paused = refused.admin(Method::PUT, &status, json!({"status": "paused", "reason": "noon"})).await;
    assert_eq!(paused.is_answer(200)["held_by"], "operator");
    let told = refused.get("/admin/v1/events/T1").await;
    let delivery = &told["deliveries"][0];
    assert_eq!(
        (&delivery["waits"], &delivery["reason"]),
        (&json!("paused"), &json!("the stream is paused: noon"))
    );
}
