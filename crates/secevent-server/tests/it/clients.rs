//! Clients that are made, changed, switched off and deleted while the server runs; and how often they may ask.

use crate::elsewhere::AuthorizationServer;
use crate::world::{Answer, LOCAL, SESSION_REVOKED, World, basic, secret};
use axum::body::Body;
use base64::Engine as _;
use http::{Method, Request};
use secevent_server::{ClientConfig, ClientLimits, ClientSettings, Scope};
use secevent_store::{Documents as _, StoreError};
use serde_json::{Value, json};

const GRANT: &str = "grant_type=client_credentials";
const CLIENTS: &str = "/admin/v1/clients";

impl World {
    async fn operator(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.admin(method, LOCAL, &format!("{CLIENTS}{path}"), body).await
    }

    async fn operator_if(&self, method: Method, path: &str, seen: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(format!("{CLIENTS}{path}"));
        let request =
            request.header("host", "127.0.0.1:8081").header("authorization", format!("Bearer {LOCAL}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.call_admin(request.header("if-match", seen).body(body).unwrap()).await
    }

    /// Makes a client. Returns its secret.
    async fn make(&self, id: &str, more: &Value) -> String {
        let mut client = json!({"id": id, "scopes": ["ssf.manage"], "audience": "https://made.example"});
        for (name, value) in more.as_object().into_iter().flatten() {
            client[name] = value.clone();
        }
        let made = self.operator(Method::POST, "", &client).await.is_answer(201);
        made["secret"].as_str().unwrap().to_owned()
    }

    async fn ask_with(&self, id: &str, secret: &str) -> Answer {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        self.ask_for_token(&format!("Basic {pair}"), GRANT).await
    }

    async fn token_with(&self, id: &str, secret: &str) -> String {
        self.ask_with(id, secret).await.is_answer(200)["access_token"].as_str().unwrap().to_owned()
    }

    async fn refuses(&self, token: &str) -> bool {
        let answer = self.get(token, "/tenant-a/ssf/stream").await;
        match answer.status {
            200 => false,
            401 => {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
                true
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_is_made_and_its_secret_shown_once() {
    let world = World::new().await;
    let settings = json!({
        "scopes": ["ssf.manage"], "audience": ["https://made.example"], "token_lifetime_seconds": 60,
        "issuers": ["https://tr.example/tenant-a"], "events": ["caep:*"],
    });
    let mut asked = settings.clone();
    asked["id"] = "made".into();
    let made = world.operator(Method::POST, "", &asked).await;
    let etag = made.header("etag").unwrap().to_owned();
    let mut told = made.is_answer(201);
    let secret = told.as_object_mut().unwrap().remove("secret").unwrap();
    let secret = secret.as_str().unwrap();
    assert_eq!(
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(secret).unwrap().len(),
        32,
        "256 bits"
    );
    let mut expected = settings;
    for (name, value) in [
        ("id", json!("made")),
        ("enabled", json!(true)),
        ("declared", json!(false)),
        ("created_at", json!("2026-11-18T11:06:40Z")),
        ("secrets", json!([{"until": null}])),
        ("streams", json!(0)),
    ] {
        expected[name] = value;
    }
    assert_eq!(told, expected);
    let read = world.operator(Method::GET, "/made", &Value::Null).await;
    assert_eq!((read.is_answer(200), read.header("etag")), (expected, Some(etag.as_str())));
    let stored = world.store.get("client/made").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.body).contains(secret), "it is not stored");

    let granted = world.ask_with("made", secret).await.is_answer(200);
    assert_eq!(granted["expires_in"], 60);
    let token = granted["access_token"].as_str().unwrap();
    assert_eq!(world.stream(token, "/tenant-a").await["aud"], json!(["https://made.example"]));
    world.get(token, "/ssf/stream").await.is_problem(404, "not_found");

    // The next process knows it.
    let next = world.restarted(|_| {}).await;
    let token = next.token_with("made", secret).await;
    assert_eq!(next.get(&token, "/tenant-a/ssf/stream").await.is_answer(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_name() {
    let world = World::new().await;
    world.make("made", &Value::Null).await;
    let keys = json!({"keys": [{"kty": "oct", "k": "AAAA"}]});
    for (member, value, status) in [
        ("id", Value::Null, 400),
        ("id", json!("with space"), 400),
        ("id", json!("made"), 409),
        ("id", json!("rp"), 409),
        ("scopes", Value::Null, 400),
        ("scopes", json!([]), 400),
        ("scopes", json!(["all"]), 400),
        ("audience", Value::Null, 400),
        ("audience", json!([]), 400),
        ("audience", json!(7), 400),
        ("issuers", json!([]), 400),
        ("issuers", json!(["https://elsewhere.example"]), 400),
        ("events", json!([]), 400),
        ("events", json!(["caep:nothing"]), 400),
        ("subjects", json!({}), 400),
        ("subjects", json!({"email_domains": ["a@b.example"]}), 400),
        ("token_lifetime_seconds", json!(0), 400),
        ("token_lifetime_seconds", json!(3601), 400),
        ("jwks", keys, 400),
        ("jwks", json!({"keys": []}), 400),
        ("jwks_uri", json!("ftp://x"), 400),
        // finding: B20
        ("jwks_uri", json!("https://10.0.0.1/jwks.json"), 400),
        ("algorithms", json!(["ES256"]), 400),
        ("limits", json!({"requests_per_second": 0}), 400),
        ("limits", json!({"speed": 1}), 400),
        ("secret", json!("my own choice"), 400),
        ("scope", json!("ssf.read"), 400),
    ] {
        let mut client = json!({"id": "another", "scopes": ["ssf.manage"], "audience": "https://rp.example"});
        client[member] = value.clone();
        let answer = world.operator(Method::POST, "", &client).await;
        let err = if status == 409 { "conflict" } else { "invalid_request" };
        let told = answer.is_problem(status, err);
        if status == 400 {
            let text = format!("{}{}", told["member"], told["detail"]);
            assert!(text.contains(member) || member == "limits", "{member} {value}: {told}");
        }
    }
    let listed = world.operator(Method::GET, "", &Value::Null).await.is_answer(200);
    let ids: Vec<&str> =
        listed["clients"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["made", "operator", "other", "producer", "reader", "rp"]);
    let page = world.operator(Method::GET, "?limit=2&after=made", &Value::Null).await.is_answer(200);
    assert_eq!((&page["clients"][1]["id"], &page["next"]), (&json!("other"), &json!("other")));
}

#[tokio::test]
async fn two_operators_do_not_undo_each_others_work() {
    let world = World::new().await;
    let secret = world.make("made", &Value::Null).await;
    let seen = world.operator(Method::GET, "/made", &Value::Null).await.header("etag").unwrap().to_owned();
    let settings = json!({"scopes": ["ssf.read"], "audience": "https://made.example"});
    let token = world.token_with("made", &secret).await;
    let changed = world.operator_if(Method::PUT, "/made", &seen, &settings).await;
    assert_eq!(changed.is_answer(200)["scopes"], json!(["ssf.read"]));
    let now = changed.header("etag").unwrap().to_owned();
    assert_ne!(now, seen);
    for (method, body) in [(Method::PUT, &settings), (Method::DELETE, &Value::Null)] {
        let answer = world.operator_if(method, "/made", &seen, body).await;
        answer.is_problem(412, "precondition_failed");
    }
    // A weak tag names no version that may be changed (RFC 9110 section 13.1.1), and a broken one names nothing.
    for tag in [format!("W/{now}"), format!("W/W/{now}"), now.trim_matches('"').to_owned()] {
        let answer = world.operator_if(Method::PUT, "/made", &tag, &settings).await;
        answer.is_problem(412, "precondition_failed");
    }
    // The token is good, and does no more than the client may now.
    assert!(!world.refuses(&token).await);
    world.post(&token, "/tenant-a/ssf/stream", &json!({})).await.is_problem(403, "access_denied");
    world.operator_if(Method::PUT, "/made", "*", &settings).await.is_answer(200);
    for path in ["/nobody", "/nobody/disable", "/nobody/secret"] {
        let method = if path == "/nobody" { Method::PUT } else { Method::POST };
        let body = if path == "/nobody" { settings.clone() } else { json!({}) };
        world.operator(method, path, &body).await.is_problem(404, "not_found");
    }
    for (method, path, body) in [
        (Method::PUT, "/rp", settings),
        (Method::DELETE, "/rp", Value::Null),
        (Method::POST, "/rp/secret", json!({})),
    ] {
        let told = world.operator(method, path, &body).await.is_problem(409, "conflict");
        assert!(told["detail"].as_str().unwrap().contains("declared in configuration"), "{told}");
    }
}

/// SEM-21: two secrets may be good at once, so that a client can be given the new one in peace.
#[tokio::test]
async fn a_secret_is_replaced_with_grace_or_without() {
    let world = World::new().await;
    let first = world.make("made", &Value::Null).await;
    let rotate = async |grace: u64| {
        let body = json!({"grace_seconds": grace});
        let told = world.operator(Method::POST, "/made/secret", &body).await.is_answer(200);
        (told["secret"].as_str().unwrap().to_owned(), told["secrets"].clone())
    };
    let early = world.token_with("made", &first).await;
    let (second, secrets) = rotate(100).await;
    assert_eq!(secrets, json!([{"until": null}, {"until": "2026-11-18T11:08:20Z"}]));
    for secret in [&first, &second] {
        world.ask_with("made", secret).await.is_answer(200);
    }
    world.later(100);
    world.ask_with("made", &first).await.is_answer(401);
    world.ask_with("made", &second).await.is_answer(200);
    assert!(!world.refuses(&early).await, "a token is good to its end");
    let (third, secrets) = rotate(0).await;
    assert_eq!(secrets, json!([{"until": null}]));
    world.ask_with("made", &second).await.is_answer(401);
    assert!(world.refuses(&early).await, "without grace the tokens end too");
    assert!(!world.refuses(&world.token_with("made", &third).await).await);
    let too_long = json!({"grace_seconds": 31 * 24 * 3600});
    world.operator(Method::POST, "/made/secret", &too_long).await.is_problem(400, "invalid_request");
    assert!(world.restarted(|_| {}).await.ask_with("made", &third).await.status == 200);
}

// spec: INTEROP-25
/// SEM-21: the kill switch acts at once, on declared clients too, and survives a restart.
#[tokio::test]
async fn a_client_that_is_switched_off_is_refused_at_once() {
    let world = World::new().await;
    let made = world.make("made", &Value::Null).await;
    for (id, secret) in [("made", made), ("rp", secret("rp"))] {
        let token = world.token_with(id, &secret).await;
        let stream = world.stream(&token, "/tenant-a").await;
        assert_eq!(world.waiting(&token, "/tenant-a", &stream).await.len(), 1);
        let before = world.operator(Method::GET, &format!("/{id}"), &Value::Null).await;
        let told = world.operator(Method::POST, &format!("/{id}/disable"), &Value::Null).await;
        assert_eq!(told.is_answer(200)["enabled"], false);
        assert_ne!(told.header("etag"), before.header("etag"), "whoever saw it enabled did not see this");

        assert!(world.refuses(&token).await);
        let path = format!("/tenant-a/poll/{}", stream["stream_id"].as_str().unwrap());
        world.post(&token, &path, &json!({})).await.is_problem(401, "authentication_failed");
        let answer = world.ask_with(id, &secret).await;
        assert_eq!(
            answer.is_answer(401)["error"],
            "invalid_client",
            "no other words than for a wrong secret"
        );
        let told = world.admin(Method::GET, LOCAL, "/admin/v1/streams", &Value::Null).await.is_answer(200);
        let of = |told: &Value| {
            let streams = told["streams"].as_array().unwrap().clone();
            streams.into_iter().find(|one| one["client"] == id).unwrap()["client_disabled"].clone()
        };
        assert_eq!(of(&told), true);

        let next = world.restarted(|_| {}).await;
        next.ask_with(id, &secret).await.is_answer(401);
        let told = next.operator(Method::POST, &format!("/{id}/enable"), &Value::Null).await;
        assert_eq!(
            (&told.is_answer(200)["enabled"], told.header("etag")),
            (&json!(true), before.header("etag"))
        );
        let token = next.token_with(id, &secret).await;
        assert_eq!(next.waiting(&token, "/tenant-a", &stream).await.len(), 1, "what was owed is there");

        let told = world.operator(Method::POST, &format!("/{id}/enable"), &Value::Null).await;
        assert_eq!(told.is_answer(200)["enabled"], true);
        assert!(world.refuses(&token).await, "tokens from before do not come back");
        assert!(!world.refuses(&world.token_with(id, &secret).await).await);
    }
}

#[tokio::test]
async fn what_happens_while_a_client_is_off_is_not_owed_to_it() {
    let world = World::new().await;
    let (token, producer) = (world.token("rp").await, world.token("producer").await);
    world.stream(&token, "/tenant-a").await;
    let event =
        json!({"type": "caep:session-revoked", "subject": {"format": "email", "email": "a@x.example"}});
    let emit = async || world.post(&producer, "/tenant-a/events", &event).await.json()["deliveries"].clone();
    assert_eq!(emit().await, 1);
    world.operator(Method::POST, "/rp/disable", &Value::Null).await.is_answer(200);
    assert_eq!(emit().await, 0);
    world.operator(Method::POST, "/rp/enable", &Value::Null).await.is_answer(200);
    assert_eq!(emit().await, 1);
    world.operator(Method::POST, "/producer/disable", &Value::Null).await.is_answer(200);
    world.post(&producer, "/tenant-a/events", &event).await.is_problem(401, "authentication_failed");
}

/// A switch that cannot be kept acts all the same, and whoever pressed it is told to press it again.
#[tokio::test]
async fn a_store_that_fails_does_not_stop_the_switch() {
    let world = World::new().await;
    let token = world.token("rp").await;
    world.store.fail(Some(StoreError::Unavailable("the disk is gone".to_owned())));
    world.operator(Method::POST, "/rp/disable", &Value::Null).await.is_problem(503, "unavailable");
    world.store.fail(None);
    assert!(world.refuses(&token).await);
    let told = world.operator(Method::POST, "/rp/disable", &Value::Null).await.is_answer(200);
    assert_eq!(told["enabled"], false);
    assert!(world.restarted(|_| {}).await.ask_for_token(&basic("rp"), GRANT).await.status == 401);
}

#[tokio::test]
async fn a_client_goes_with_its_streams_and_comes_back_as_another() {
    let world = World::new().await;
    let secret = world.make("made", &Value::Null).await;
    let token = world.token_with("made", &secret).await;
    world.stream(&token, "/tenant-a").await;
    world.stream(&token, "").await;
    world.operator(Method::DELETE, "/made", &Value::Null).await.is_empty(204);
    assert!(world.refuses(&token).await);
    world.ask_with("made", &secret).await.is_answer(401);
    world.operator(Method::GET, "/made", &Value::Null).await.is_problem(404, "not_found");
    let told = world.admin(Method::GET, LOCAL, "/admin/v1/streams", &Value::Null).await.is_answer(200);
    assert_eq!(told, json!({"streams": []}));
    let documents = world.store.list("", None, 100).await.unwrap();
    let of_it = |name: &str| name.contains("made");
    assert!(!documents.iter().any(|document| of_it(&document.name)), "nothing of it is left");

    let again = world.make("made", &Value::Null).await;
    assert!(world.refuses(&token).await, "an old token is not the new client's");
    let token = world.token_with("made", &again).await;
    assert_eq!(world.get(&token, "/tenant-a/ssf/stream").await.is_answer(200), json!([]));
}

/// What fails half-way can be asked for again: the secret is told once.
#[tokio::test]
async fn a_client_is_made_whole_or_not_at_all() {
    let world = World::new().await;
    let client = json!({"id": "made", "scopes": ["ssf.read"], "audience": "https://a.example"});
    for calls in 0..3 {
        world.store.fail_after(calls, StoreError::Busy);
        world.operator(Method::POST, "", &client).await.is_problem(503, "unavailable");
        world.store.fail(None);
        let made = world.operator(Method::POST, "", &client).await.is_answer(201);
        world.ask_with("made", made["secret"].as_str().unwrap()).await.is_answer(200);
        world.operator(Method::DELETE, "/made", &Value::Null).await.is_empty(204);
    }
}

/// Each change of a client is in the log under its name, whatever else changes with it.
#[tokio::test]
async fn what_happens_to_a_client_is_in_the_log_under_its_name() {
    let world = World::new().await;
    let more = json!({"token_lifetime_seconds": 60, "limits": {"tokens_per_second": 5}});
    let secret = world.make("a@b", &more).await;
    let token = world.token_with("a@b", &secret).await;
    world.stream(&token, "/tenant-a").await;
    world.operator(Method::POST, "/a%40b/disable", &Value::Null).await.is_answer(200);
    world.operator(Method::POST, "/a%40b/enable", &Value::Null).await.is_answer(200);
    world.operator(Method::POST, "/a%40b/enable", &Value::Null).await.is_answer(200);
    world.operator(Method::POST, "/a%40b/secret", &json!({})).await.is_answer(200);
    let settings = json!({"scopes": ["ssf.read"], "audience": "https://made.example"});
    world.operator(Method::PUT, "/a%40b", &settings).await.is_answer(200);
    world.operator(Method::DELETE, "/a%40b", &Value::Null).await.is_empty(204);
    let log =
        world.admin(Method::GET, LOCAL, "/admin/v1/audit?client=a@b", &Value::Null).await.is_answer(200);
    let changes: Vec<&Value> = log["changes"].as_array().unwrap().iter().rev().collect();
    let told: Vec<&str> = changes.iter().map(|one| one["action"].as_str().unwrap()).collect();
    let expected = [
        "client.create",
        "stream.create",
        "client.disable",
        "client.enable",
        "client.rotate",
        "client.update",
        "stream.delete",
        "client.delete",
    ];
    assert_eq!(told, expected);
    assert_eq!((&changes[0]["object"], &changes[0]["before"]), (&json!("client/a@b"), &Value::Null));
    let after = &changes[0]["after"];
    assert_eq!(
        (&after["token_lifetime_seconds"], &after["limits"], &after["enabled"]),
        (&json!(60), &json!({"tokens_per_second": 5}), &json!(true))
    );
    assert_eq!(
        (&changes[2]["before"]["enabled"], &changes[2]["after"]["enabled"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        changes[5]["after"],
        json!({"scopes": ["ssf.read"], "audience": "https://made.example", "enabled": true})
    );
    assert_eq!((&changes[7]["before"], &changes[7]["after"]), (&changes[5]["after"], &Value::Null));
    assert!(!log.to_string().contains(&secret));
}

/// A private key has no business here: it would be shown, stored and logged.
#[tokio::test]
async fn a_private_key_is_refused_and_not_repeated() {
    let world = World::new().await;
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut key =
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        key[member] = "never-to-be-told".into();
        let client = json!({"id": "made", "scopes": ["ssf.read"], "audience": "https://a.example", "jwks": {"keys": [key]}});
        let answer = world.operator(Method::POST, "", &client).await;
        let told = answer.is_problem(400, "invalid_request");
        assert_eq!(told["member"], "jwks");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("the member {member}:")) && !detail.contains("never"), "{detail}");
    }
    world.operator(Method::GET, "/made", &Value::Null).await.is_problem(404, "not_found");
}

/// Nobody answers any more for a client that is gone from configuration: nothing is sent to its streams.
#[tokio::test]
async fn streams_of_a_client_that_is_gone_from_configuration_rest() {
    let world = World::new().await;
    let token = world.token("rp").await;
    world.stream(&token, "/tenant-a").await;
    let next = world.restarted(|config| config.clients.retain(|client| client.id != "rp")).await;
    let told = next.admin(Method::GET, LOCAL, "/admin/v1/streams", &Value::Null).await.is_answer(200);
    assert_eq!(told["streams"][0]["client_disabled"], true);
    let after = next.restarted(|_| {}).await;
    let told = after.admin(Method::GET, LOCAL, "/admin/v1/streams", &Value::Null).await.is_answer(200);
    assert_eq!(told["streams"][0]["client_disabled"], false, "it is there again");
}

/// A client whose tokens come from elsewhere needs no secret here.
#[tokio::test]
async fn a_client_may_have_no_secret() {
    let world = World::new().await;
    let client =
        json!({"id": "made", "scopes": ["ssf.read"], "audience": "https://a.example", "secret": false});
    let made = world.operator(Method::POST, "", &client).await.is_answer(201);
    assert_eq!((made.get("secret"), &made["secrets"]), (None, &json!([])));
    world.ask_with("made", "").await.is_answer(401);
    let signer = AuthorizationServer::typed("JWT");
    signer.publish_keys(&world.elsewhere);
    let client = json!({
        "id": "signer", "scopes": ["ssf.read"], "audience": "https://a.example",
        "jwks_uri": crate::elsewhere::AS_KEYS, "algorithms": ["ES256"],
    });
    let made = world.operator(Method::POST, "", &client).await.is_answer(201);
    assert_eq!(made.get("secret"), None, "it signs");
    world.operator(Method::POST, "/signer/secret", &json!({})).await.is_problem(409, "conflict");
    let now = world.now();
    let assertion = signer.sign(&json!({
        "iss": "signer", "sub": "signer", "aud": "https://tr.example", "exp": now + 60, "jti": "1",
    }));
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let form = format!("{GRANT}&{kind}&client_assertion={assertion}");
    world.ask_for_token("", &form).await.is_answer(200);
}

fn limited(id: &str, limits: ClientLimits) -> ClientConfig {
    let settings = ClientSettings {
        scopes: vec![Scope::Manage, Scope::Write],
        audience: Some("https://rp.example".into()),
        limits: Some(limits),
        ..ClientSettings::default()
    };
    ClientConfig { id: id.to_owned(), secret: Some(secret(id)), settings }
}

#[track_caller]
fn is_too_often(answer: &Answer, seconds: &str) {
    answer.is_problem(429, "too_often");
    assert_eq!(answer.header("retry-after"), Some(seconds));
}

#[tokio::test]
async fn each_client_has_a_limit_of_its_own() {
    let world = World::with_clients(|config| {
        let limits = ClientLimits {
            requests_per_second: Some(1),
            requests_burst: Some(3),
            events_per_second: Some(2),
            ..ClientLimits::default()
        };
        config.clients.push(limited("limited", limits));
    })
    .await;
    let token = world.token("limited").await;
    for _ in 0..3 {
        world.get(&token, "/ssf/stream").await.is_answer(200);
    }
    is_too_often(&world.get(&token, "/ssf/stream").await, "1");
    // Another token is of the same client, and other clients are not concerned.
    let another = world.token("limited").await;
    is_too_often(&world.get(&another, "/ssf/stream?stream_id=x").await, "1");
    world.get(&world.token("rp").await, "/ssf/stream").await.is_answer(200);
    world.later(1);
    world.get(&token, "/ssf/stream").await.is_answer(200);
    is_too_often(&world.get(&token, "/ssf/stream").await, "1");

    // Events are counted by themselves, each one.
    let event =
        json!({"type": "caep:session-revoked", "subject": {"format": "email", "email": "a@x.example"}});
    let lines = format!("{event}\n").repeat(5);
    let send =
        async || world.send_as(Method::POST, &token, "/events", "application/x-ndjson", lines.clone()).await;
    send().await.is_answer(202);
    is_too_often(&send().await, "2");
    world.later(2);
    world.post(&token, "/events", &event).await.is_answer(202);
    is_too_often(&world.post(&token, "/events", &event).await, "1");

    // What has to be refused is counted too, or it would cost nothing to send what costs us much.
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(world.post(&token, "/events", &json!({})).await.status);
    }
    assert_eq!(statuses, [400, 400, 429]);
    world.later(5);
    world.post(&token, "/events", &event).await.is_answer(202);
}

/// How often somebody may ask is measured by time that passes, not by a clock that somebody sets.
// finding: B6
#[tokio::test]
async fn a_clock_that_is_set_changes_no_limit() {
    let limits = ClientLimits {
        requests_per_second: Some(1),
        requests_burst: Some(3),
        tokens_per_second: Some(1),
        tokens_burst: Some(2),
        ..ClientLimits::default()
    };
    let world = World::with_clients(|config| config.clients.push(limited("limited", limits))).await;
    let token = world.token("limited").await;
    world.token("limited").await;
    for _ in 0..3 {
        world.get(&token, "/ssf/stream").await.is_answer(200);
    }
    for seconds in [60, -120, 60] {
        world.set_clock_by(seconds);
        is_too_often(&world.get(&token, "/ssf/stream").await, "1");
        is_too_often(&world.ask_for_token(&basic("limited"), GRANT).await, "1");
    }
    world.later(1);
    world.get(&token, "/ssf/stream").await.is_answer(200);
    world.token("limited").await;
}

/// Whoever may not send is not read.
#[tokio::test]
async fn the_scope_comes_before_the_body() {
    let world = World::new().await;
    let token = world.token("rp").await;
    world.send(Method::POST, &token, "/events", "x".repeat(2 << 20)).await.is_problem(403, "access_denied");
}

#[tokio::test]
async fn who_asks_for_tokens_too_often_has_to_wait() {
    let limits =
        ClientLimits { tokens_per_second: Some(1), tokens_burst: Some(2), ..ClientLimits::default() };
    let world = World::with_clients(|config| config.clients.push(limited("limited", limits))).await;
    // Whoever names a client and is not it uses up nothing of that client's.
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(world.ask_with("limited", "wrong").await.status);
    }
    assert_eq!(statuses, [401; 40]);
    world.token("limited").await;
    world.token("limited").await;
    let answer = world.ask_for_token(&basic("limited"), GRANT).await;
    is_too_often(&answer, "1");
    world.token("rp").await;
    world.later(1);
    world.token("limited").await;
}

/// SEM-20: what a producer may send.
#[tokio::test]
async fn a_producer_sends_what_it_may() {
    let world = World::new().await;
    let may = json!({
        "scopes": ["events.write"], "issuers": ["https://tr.example/tenant-a"],
        "events": ["caep:session-revoked", "risc:*"],
        "subjects": {"email_domains": ["good.example"], "issuers": ["https://idp.example"]},
    });
    let secret = world.make("made", &may).await;
    let token = world.token_with("made", &secret).await;
    let event = |kind: &str, subject: &Value| json!({"type": kind, "subject": subject});
    let email = |address: &str| json!({"format": "email", "email": address});
    let revoked = "caep:session-revoked";
    let change = json!({
        "type": "caep:credential-change", "subject": email("a@good.example"),
        "data": {"credential_type": "password", "change_type": "update"},
    });
    let idp = |issuer: &str| json!({"format": "iss_sub", "iss": issuer, "sub": "145234573"});
    // finding: B4
    let complex = |other: &Value, name: &str| json!({"format": "complex", "user": email("a@good.example"), name: other});
    let aliases =
        |other: &str| json!({"format": "aliases", "identifiers": [email("a@good.example"), email(other)]});
    let cases = [
        (event(revoked, &email("a@good.example")), None),
        (event(SESSION_REVOKED, &email("a@GOOD.example")), None),
        (event(revoked, &idp("https://idp.example")), None),
        (event("risc:account-disabled", &idp("https://idp.example")), None),
        (event(revoked, &json!({"format": "complex", "user": email("a@good.example")})), None),
        (change, Some("client.events")),
        (event(revoked, &email("a@bad.example")), Some("client.subjects")),
        (event(revoked, &idp("https://other.example")), Some("client.subjects")),
        (event(revoked, &json!({"format": "opaque", "id": "x"})), Some("client.subjects")),
        (event(revoked, &complex(&idp("https://b.example"), "tenant")), None),
        (event(revoked, &complex(&email("victim@bad.example"), "session")), Some("client.subjects")),
        (event(revoked, &complex(&email("victim@bad.example"), "account")), Some("client.subjects")),
        (event(revoked, &aliases("victim@bad.example")), Some("client.subjects")),
        (event(revoked, &json!({"format": "account", "uri": "acct:a@good.example"})), None),
        (
            event(revoked, &json!({"format": "complex", "tenant": idp("https://idp.example")})),
            Some("client.subjects"),
        ),
    ];
    let mut lines = String::new();
    for (event, rule) in &cases {
        let answer = world.post(&token, "/tenant-a/events", event).await;
        match rule {
            None => {
                answer.is_answer(202);
                lines += &format!("{event}\n");
            }
            Some(rule) => {
                let told = answer.is_problem(403, "access_denied");
                let member = if *rule == "client.events" { "type" } else { "subject" };
                assert_eq!((&told["rule"], &told["member"]), (&json!(rule), &json!(member)));
                assert!(!answer.headers.contains_key("www-authenticate"), "no other token would help");
            }
        }
    }
    // Of many, all or none; the line is named.
    let accepted = async || {
        let figures = world.admin(Method::GET, LOCAL, "/admin/v1/figures", &Value::Null).await;
        figures.is_answer(200)["accepted"].clone()
    };
    assert_eq!(accepted().await, 7);
    lines += &format!("{}\n", cases[6].0);
    let answer = world.send_as(Method::POST, &token, "/tenant-a/events", "application/x-ndjson", lines).await;
    assert_eq!(answer.is_problem(403, "access_denied")["member"], "line 8.subject");
    assert_eq!(accepted().await, 7);
    // finding: B4. Whoever reads the subject inside the event must not read another one there.
    for (kind, data) in [
        (revoked, json!({"subject": email("victim@bad.example")})),
        (revoked, json!({"subject": {"subject_type": "email", "email": "victim@bad.example"}})),
        ("risc:identifier-changed", json!({"new-value": "victim@bad.example"})),
    ] {
        let event = json!({"type": kind, "subject": email("a@good.example"), "data": data});
        let told = world.post(&token, "/tenant-a/events", &event).await.is_problem(403, "access_denied");
        assert_eq!((&told["rule"], &told["member"]), (&json!("client.subjects"), &json!("data")), "{event}");
    }
    // finding: B4. Nor is a member named twice, one for us and one for the receiver.
    let twice = r#"{"type": "caep:session-revoked", "subject": {"format": "email",
        "email": "a@good.example", "email": "victim@bad.example"}}"#;
    let answer = world.send(Method::POST, &token, "/tenant-a/events", twice).await;
    answer.is_problem(400, "invalid_request");
    assert_eq!(accepted().await, 7);
    let told = world.post(&token, "/events", &cases[0].0).await.is_problem(403, "access_denied");
    assert_eq!(told["rule"], "client.issuers");
}

// spec: SSF-65
/// SEM-20: what a receiver may have, from which issuers.
#[tokio::test]
async fn a_receiver_subscribes_to_what_it_may_have() {
    const CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
    let world = World::new().await;
    let may = json!({"issuers": ["https://tr.example/tenant-a"], "events": [SESSION_REVOKED]});
    let secret = world.make("made", &may).await;
    let token = world.token_with("made", &secret).await;
    let asked = json!({"events_requested": [CHANGE, SESSION_REVOKED]});
    let stream = world.post(&token, "/tenant-a/ssf/stream", &asked).await.is_answer(201);
    assert_eq!(stream["events_delivered"], json!([SESSION_REVOKED]));
    assert_eq!(stream["events_supported"], json!([SESSION_REVOKED]));
    let id = &stream["stream_id"];
    let patch = json!({"stream_id": id, "events_requested": [CHANGE]});
    let patched =
        world.send(Method::PATCH, &token, "/tenant-a/ssf/stream", patch.to_string()).await.is_answer(200);
    assert_eq!(patched["events_delivered"], json!([]));
    for (method, path) in [(Method::POST, "/ssf/stream"), (Method::GET, "/ssf/stream")] {
        world.send(method, &token, path, asked.to_string()).await.is_problem(404, "not_found");
    }
    // The operator changes his mind, and the stream follows.
    let read = format!("/tenant-a/ssf/stream?stream_id={}", id.as_str().unwrap());
    for (events, delivered) in [
        (json!([CHANGE]), json!([CHANGE])),
        (json!([SESSION_REVOKED]), json!([])),
        (Value::Null, json!([CHANGE])),
    ] {
        let settings =
            json!({"scopes": ["ssf.manage"], "audience": "https://made.example", "events": events});
        world.operator(Method::PUT, "/made", &settings).await.is_answer(200);
        assert_eq!(world.get(&token, &read).await.is_answer(200)["events_delivered"], delivered);
    }
    // A restriction holds after a restart too.
    let settings =
        json!({"scopes": ["ssf.manage"], "audience": "https://made.example", "events": [SESSION_REVOKED]});
    world.operator(Method::PUT, "/made", &settings).await.is_answer(200);
    let next = world.restarted(|_| {}).await;
    let token = next.token_with("made", &secret).await;
    assert_eq!(next.get(&token, &read).await.is_answer(200)["events_delivered"], json!([]));
}
