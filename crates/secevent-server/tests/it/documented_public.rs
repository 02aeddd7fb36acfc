//! The OpenAPI documents of the public listener say what is there: every route, every answer; and the page *Send events*
//! says what the document says.
// finding: C17

use crate::world::{Answer, SESSION_REVOKED, World};
use http::{Method, Request};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const ISSUERS: [&str; 2] = ["", "/tenant-a"];

async fn document(world: &World, base: &str) -> Value {
    let answer = world.get("", &format!("{base}/openapi.json")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Every path of a document, as the router has it, with its operations.
fn paths(document: &Value) -> BTreeMap<String, Value> {
    let server = |item: &Value| {
        let servers = item.get("servers").unwrap_or(&document["servers"]);
        servers[0]["url"].as_str().unwrap().strip_prefix("https://tr.example").unwrap().to_owned()
    };
    let items = document["paths"].as_object().unwrap().iter();
    items.map(|(path, item)| (server(item) + path, item.clone())).collect()
}

fn methods(item: &Value) -> BTreeSet<String> {
    let names = item.as_object().unwrap().keys().filter(|name| *name != "servers");
    names.map(|name| name.to_ascii_uppercase()).collect()
}

#[tokio::test]
async fn the_document_is_as_it_was_seen() {
    let mut document = document(&World::new().await, "/tenant-a").await;
    document["info"]["version"] = "[version]".into();
    insta::assert_json_snapshot!("public_openapi", document);
}

/// Anybody may read it and keep it.
#[tokio::test]
async fn the_document_can_be_kept() {
    let world = World::new().await;
    let answer = world.get("", "/openapi.json").await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let request = Request::get("/openapi.json").header("if-none-match", answer.header("etag").unwrap());
    let again = world.call(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
}

/// No route without a word in a document, and none in a document that is not served.
#[tokio::test]
async fn the_documents_have_every_route_and_no_other() {
    let world = World::new().await;
    let mut documented = BTreeMap::new();
    for base in ISSUERS {
        let document = document(&world, base).await;
        let mut ids = BTreeSet::new();
        for (path, item) in paths(&document) {
            for method in methods(&item) {
                let id = item[method.to_ascii_lowercase()]["operationId"].as_str().unwrap().to_owned();
                assert!(ids.insert(id.clone()), "{id} is there twice");
            }
            documented.insert(path, methods(&item));
        }
        // It is the same for all issuers.
        let keys =
            |document: &Value| document["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let own = |keys: Vec<String>| {
            keys.into_iter().filter(|key| !key.contains("well-known")).collect::<Vec<_>>()
        };
        let first = self::document(&world, "").await;
        assert_eq!(own(keys(&document)), own(keys(&first)));
    }
    let routed: BTreeSet<String> = world.paths.iter().cloned().collect();
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), routed);
    for (path, methods) in documented {
        let called = path.replace("{stream}", "unknown");
        let answer = world.send(Method::from_bytes(b"BREW").unwrap(), "", &called, "").await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.header("allow").unwrap().split(',').map(|name| name.trim().to_owned());
        assert_eq!(allowed.filter(|name| name != "HEAD").collect::<BTreeSet<_>>(), methods, "{path}");
    }
}

fn validator(schema: &Value, document: &Value) -> jsonschema::Validator {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    jsonschema::validator_for(&whole).unwrap()
}

/// The contents of an operation: of its request and of each of its answers.
fn contents(operation: &Value) -> impl Iterator<Item = &Value> {
    let answers = operation["responses"].as_object().unwrap().values();
    let bodies = std::iter::once(&operation["requestBody"]).chain(answers);
    bodies.filter_map(|body| body["content"].as_object()).flat_map(|content| content.values())
}

#[tokio::test]
async fn the_examples_are_as_the_schemas_say() {
    let document = document(&World::new().await, "").await;
    let mut count = 0;
    for item in document["paths"].as_object().unwrap().values() {
        for method in methods(item) {
            let operation = &item[method.to_ascii_lowercase()];
            for content in contents(operation) {
                let validator = validator(&content["schema"], &document);
                for (name, example) in content["examples"].as_object().into_iter().flatten() {
                    let wrong: Vec<String> =
                        validator.iter_errors(&example["value"]).map(|error| error.to_string()).collect();
                    assert!(wrong.is_empty(), "{} {name}: {wrong:?}", operation["operationId"]);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 100, "{count}");
}

/// Each answer of these requests is one that the document has, with this content.
#[tokio::test]
async fn answers_are_as_the_document_says() {
    let world = World::new().await;
    let document = document(&world, "/tenant-a").await;
    let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
    let stream = world.stream(&receiver, "/tenant-a").await;
    let id = stream["stream_id"].as_str().unwrap();
    let poll = format!("/poll/{id}");
    let subject = json!({"format": "email", "email": "alice@example.com"});
    let event = json!({"type": "caep:session-revoked", "subject": subject});
    let named = json!({ "stream_id": id });
    let query = format!("/ssf/stream?stream_id={id}");
    let status = format!("/ssf/status?stream_id={id}");
    let about = json!({"stream_id": id, "subject": subject});
    let paused = json!({"stream_id": id, "status": "paused", "reason": "lunch"});
    let described = json!({"stream_id": id, "description": "a shop", "events_requested": [SESSION_REVOKED]});
    let mut seen = BTreeSet::new();
    for (token, method, path, body, status) in [
        ("", "GET", "/jwks.json", Value::Null, 200),
        ("", "GET", "/openapi.json", Value::Null, 200),
        (&*producer, "POST", "/events", event.clone(), 202),
        (&producer, "POST", "/events", json!({"type": "no:such", "subject": subject}), 400),
        ("", "POST", "/events", event.clone(), 401),
        ("nonsense", "POST", "/events", event.clone(), 401),
        (&receiver, "POST", "/events", event.clone(), 403),
        (&producer, "POST", "/events", json!("x".repeat(1_100_000)), 413),
        (&receiver, "GET", "/ssf/stream", Value::Null, 200),
        (&receiver, "GET", &query, Value::Null, 200),
        (&producer, "GET", "/ssf/stream", Value::Null, 403),
        (&receiver, "GET", "/ssf/stream?stream_id=other", Value::Null, 404),
        (&receiver, "POST", "/ssf/stream", json!({}), 201),
        (&receiver, "POST", "/ssf/stream", json!({}), 201),
        (&receiver, "POST", "/ssf/stream", json!({}), 409),
        (&receiver, "POST", "/ssf/stream", json!({"delivery": 1}), 400),
        (&receiver, "PATCH", "/ssf/stream", described.clone(), 200),
        (&receiver, "PUT", "/ssf/stream", described, 200),
        (&receiver, "GET", &status, Value::Null, 200),
        (&receiver, "GET", "/ssf/status", Value::Null, 400),
        (&receiver, "POST", "/ssf/subjects:add", about.clone(), 200),
        (&receiver, "POST", "/ssf/subjects:remove", about, 204),
        (&receiver, "POST", "/ssf/verify", named, 204),
        (&receiver, "POST", &poll, json!({"returnImmediately": true}), 200),
        (&receiver, "POST", "/poll/unknown", json!({"returnImmediately": true}), 404),
        (&receiver, "POST", "/ssf/status", paused, 200),
        (&receiver, "DELETE", &query, Value::Null, 204),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = world.send(method.parse().unwrap(), token, &format!("/tenant-a{path}"), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let template = path.split('?').next().unwrap();
        let template = if template.starts_with("/poll/") { "/poll/{stream}" } else { template };
        let operation = &document["paths"][template][method.to_ascii_lowercase()];
        is_documented(&answer, operation, &document);
        seen.insert(operation["operationId"].clone().to_string());
    }
    let lines = format!("{event}\n{event}\n");
    let kind = "application/x-ndjson";
    let answer = world.send_as(Method::POST, &producer, "/tenant-a/events", kind, lines).await;
    is_documented(&answer, &document["paths"]["/events"]["post"], &document);
    // The document's own examples are taken.
    let content = &document["paths"]["/events"]["post"]["requestBody"]["content"];
    for (kind, content) in content.as_object().unwrap() {
        let example = &content["examples"]["usual"]["value"];
        let body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        world.send_as(Method::POST, &producer, "/tenant-a/events", kind, body).await.is_answer(202);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let answer = world.send_as(Method::POST, &producer, "/tenant-a/events", kind, "{}").await;
        is_documented(&answer, &document["paths"]["/events"]["post"], &document);
    }
    for (credentials, form) in [
        (crate::world::basic("producer"), "grant_type=client_credentials"),
        (crate::world::basic("producer"), "grant_type=password"),
        (crate::world::basic("nobody"), "grant_type=client_credentials"),
    ] {
        let answer = world.ask_for_token(&credentials, form).await;
        is_documented(&answer, &document["paths"]["/oauth/token"]["post"], &document);
    }
    assert_eq!(seen.len(), 14, "{seen:?}");
}

#[track_caller]
fn is_documented(answer: &Answer, operation: &Value, document: &Value) {
    let id = &operation["operationId"];
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{id} does not say {}: {answer:?}", answer.status);
    for header in ["retry-after", "www-authenticate"] {
        let documented = response["headers"].as_object().into_iter().flatten();
        let documented = documented.filter(|(name, _)| name.eq_ignore_ascii_case(header)).count();
        assert!(answer.header(header).is_none() || documented == 1, "{id} does not say {header}: {answer:?}");
    }
    if answer.body.is_empty() {
        return;
    }
    let kind = answer.header("content-type").unwrap();
    let content = &response["content"][kind];
    assert!(content.is_object(), "{id} does not say {kind}: {answer:?}");
    let body = answer.json();
    let validator = validator(&content["schema"], document);
    let wrong: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{id}: {wrong:?}: {answer:?}");
    if kind == "application/problem+json" {
        let errs = content["examples"].as_object().unwrap().values().map(|example| &example["value"]["err"]);
        assert!(errs.clone().any(|err| *err == body["err"]), "{id} does not say {}", body["err"]);
    }
}

/// The table of answers on the page has each status and code of the document, and the other way round.
#[tokio::test]
async fn the_page_has_every_problem_of_the_document() {
    let document = document(&World::new().await, "").await;
    let mut documented = BTreeSet::new();
    for (status, response) in document["paths"]["/events"]["post"]["responses"].as_object().unwrap() {
        let examples = response["content"]["application/problem+json"]["examples"].as_object();
        for example in examples.into_iter().flatten() {
            documented.insert((status.clone(), example.1["value"]["err"].as_str().unwrap().to_owned()));
        }
    }
    let page = include_str!("../../../../docs/book/send-events.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (status, err) = (cells.next()?, cells.next()?.strip_prefix('`')?.strip_suffix('`')?);
        status.parse::<u16>().ok().map(|_| (status.to_owned(), err.to_owned()))
    });
    // These two are of the router, whatever the operation.
    let others = [("404", "not_found"), ("405", "invalid_request")];
    let others = others.map(|(status, err)| (status.to_owned(), err.to_owned()));
    documented.extend(others);
    assert_eq!(rows.collect::<BTreeSet<_>>(), documented);
}
