//! The OpenAPI document of the admin listener says what is there: every route, every status, every body. Requests that
//! are made from it, good and bad, find out.

use crate::world::{Answer, LOCAL, SESSION_REVOKED, World};
use axum::body::Body;
use http::{Method, Request};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

async fn document(world: &World) -> Value {
    world.admin(Method::GET, LOCAL, "/admin/v1/openapi.json", &Value::Null).await.is_answer(200)
}

#[tokio::test]
async fn the_document_is_as_it_was_seen() {
    let mut document = document(&World::new().await).await;
    document["info"]["version"] = "[version]".into();
    insta::assert_json_snapshot!("openapi", document);
}

/// No route without a word in the document, and none in the document that is not served.
#[tokio::test]
async fn the_document_has_every_route_and_no_other() {
    let world = World::new().await;
    let document = document(&world).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let called = path.replace(['{', '}'], "");
        for method in METHODS {
            let verb = method.to_ascii_uppercase().parse().unwrap();
            let answer = world.admin(verb, LOCAL, &called, &json!({})).await;
            let nowhere =
                answer.status == 404 && answer.json()["detail"] == "nothing is served at this address";
            assert!(!nowhere, "{method} {path}");
            assert_eq!(answer.status != 405, operations.get(method).is_some(), "{method} {path}");
        }
    }
    // What the tests of the routes know is there too.
    for (method, path, _) in crate::admin::endpoints("unknown") {
        if path != "/admin/v1/nothing" {
            let found = document["paths"].as_object().unwrap().iter().any(|(template, operations)| {
                fits(template, &path) && operations.get(method.as_str().to_ascii_lowercase()).is_some()
            });
            assert!(found, "{method} {path}");
        }
    }
    let mut ids: Vec<&str> = operations(&document).iter().map(|one| one.id).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "each has a name of its own");
}

/// Whatever is sent: no 5xx, nothing that the document does not have, and no secret in any answer (which the world looks
/// for). `SECEVENT_FUZZ_REQUESTS` asks for more requests, and `SECEVENT_FUZZ_SEED` for others.
#[tokio::test]
async fn requests_made_of_the_document_are_answered_as_it_says() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let requests = number("SECEVENT_FUZZ_REQUESTS").unwrap_or(4_000);
    let (requests, seed) = (usize::try_from(requests).unwrap(), number("SECEVENT_FUZZ_SEED").unwrap_or(1));
    let document = document(&World::new().await).await;
    run(&document, requests, seed).await;
}

/// The canary: a status that is left out is found out.
#[tokio::test]
#[should_panic(expected = "readStream does not say 404")]
async fn a_document_that_leaves_something_out_is_found_out() {
    let mut document = document(&World::new().await).await;
    let responses = &mut document["paths"]["/admin/v1/streams/{stream}"]["get"]["responses"];
    responses.as_object_mut().unwrap().remove("404").unwrap();
    run(&document, 3_000, 1).await;
}

/// Sends so many requests, each five hundred to a new world: some of them erase and discard what others look for.
async fn run(document: &Value, requests: usize, seed: u64) {
    let operations = operations(document);
    let mut chance = Chance(seed);
    let mut seen: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for begin in (0..requests).step_by(500) {
        let world = World::new().await;
        let real = Real::plant(&world).await;
        for turn in begin..requests.min(begin + 500) {
            let operation = &operations[chance.below(operations.len())];
            let made = operation.make(&mut chance, &real);
            let told = format!("request {turn} of seed {seed}: {made:?}");
            let answer = world.call_admin(made.request()).await;
            operation.check(&answer, &told);
            let is_refused = [400, 415].contains(&answer.status);
            assert!(!made.is_good || !is_refused, "it is as the document says. {told}: {answer:?}");
            *seen.entry((operation.id, answer.status)).or_default() += 1;
        }
    }
    println!("{requests} requests of seed {seed}: {seen:?}");
    for operation in operations.iter().filter(|operation| !OF_OTHER_TESTS.contains(&operation.id)) {
        let good = seen.keys().any(|(id, status)| *id == operation.id && *status < 300);
        assert!(good, "{} was never answered well: {seen:?}", operation.id);
    }
}

/// What asks for more than a schema can say: other tests have it answered well.
const OF_OTHER_TESTS: [&str; 7] =
    ["createClient", "updateClient", "publishKey", "rotateKey", "withdrawKey", "deleteStream", "retryStream"];

/// Names of what is there.
struct Real {
    names: BTreeMap<&'static str, Vec<String>>,
}

impl Real {
    async fn plant(world: &World) -> Self {
        let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
        let stream = world.stream(&receiver, "/tenant-a").await;
        let id = stream["stream_id"].as_str().unwrap().to_owned();
        let path = format!("/tenant-a/poll/{id}");
        let mut events = Vec::new();
        for user in 0..8 {
            let subject = json!({"format": "email", "email": format!("user-{user}@example.com")});
            let event = json!({"type": "caep:session-revoked", "subject": subject});
            let accepted = world.post(&producer, "/tenant-a/events", &event).await.is_answer(202);
            events.push(accepted["event_id"].as_str().unwrap().to_owned());
        }
        let polled = world.post(&receiver, &path, &json!({"returnImmediately": true})).await.is_answer(200);
        let jtis: Vec<String> = polled["sets"].as_object().unwrap().keys().cloned().collect();
        let errors: Map<String, Value> = jtis
            .iter()
            .map(|jti| (jti.clone(), json!({"err": "invalid_request", "description": "no"})))
            .collect();
        let settled = world.store.settled() + jtis.len();
        world.post(&receiver, &path, &json!({"setErrs": errors, "maxEvents": 0})).await.is_answer(200);
        world.store.settles(settled).await;
        let replays = format!("/admin/v1/streams/{id}/replays");
        let replay =
            world.admin(Method::POST, LOCAL, &replays, &json!({"from_jti": jtis[0]})).await.is_answer(201);
        let subject = json!({"subject": {"format": "email", "email": "user-0@example.com"}});
        let erasure = world.admin(Method::POST, LOCAL, "/admin/v1/erasures", &subject).await.is_answer(201);
        let client = json!({"id": "made", "scopes": ["events.write"]});
        world.admin(Method::POST, LOCAL, "/admin/v1/clients", &client).await.is_answer(201);
        let text = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let names = BTreeMap::from([
            ("stream", vec![id[..8].to_owned(), id]),
            ("jti", jtis.clone()),
            ("event", [events, jtis].concat()),
            ("replay", vec![text(&replay)]),
            ("erasure", vec![text(&erasure)]),
            ("issuer", vec!["https://tr.example/tenant-a".to_owned()]),
            ("from_jti", vec![]),
            ("client", vec!["rp".to_owned(), "made".to_owned()]),
            ("action", vec!["stream.".to_owned(), "stream.create".to_owned()]),
            ("type", vec!["caep:session-revoked".to_owned(), SESSION_REVOKED.to_owned()]),
            ("path", vec!["/backups/copy.db".to_owned()]),
            ("email", vec!["user-1@example.com".to_owned()]),
        ]);
        Self { names }
    }
}

/// One operation of the document.
struct Operation<'a> {
    id: &'a str,
    method: Method,
    path: &'a str,
    document: &'a Value,
    /// How bodies look, by status and content type.
    answers: BTreeMap<(u16, String), Option<Validator>>,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut answers = BTreeMap::new();
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{path} {status}");
                if response.get("content").is_none() {
                    answers.insert((status.parse().unwrap(), String::new()), None);
                }
                for (kind, content) in response["content"].as_object().into_iter().flatten() {
                    let validator = kind.ends_with("json").then(|| validator(&content["schema"], document));
                    answers.insert((status.parse().unwrap(), kind.clone()), validator);
                }
            }
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap(),
                method: method.to_ascii_uppercase().parse().unwrap(),
                path,
                document: operation,
                answers,
            });
        }
    }
    operations
}

/// A check of bodies in which there is nothing that the document does not have.
fn validator(schema: &Value, document: &Value) -> Validator {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    for schema in whole["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = false.into();
        }
    }
    jsonschema::validator_for(&whole).unwrap()
}

/// A request, and whether it is all that the document asks for.
#[derive(Debug)]
struct Made {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
    is_good: bool,
}

impl Made {
    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone().map_or_else(Body::empty, Body::from)).unwrap()
    }
}

impl Operation<'_> {
    fn make(&self, chance: &mut Chance, real: &Real) -> Made {
        let mut is_good = true;
        let mut target = self.path.to_owned();
        let mut query = Vec::new();
        let mut headers = vec![("host", "127.0.0.1:8081".to_owned())];
        for parameter in self.document["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "path" => {
                    // Without its stream nothing else would be answered well.
                    let spared = self.id == "deleteStream";
                    let value = if spared { chance.hostile() } else { chance.name(name, real) };
                    target = target.replace(&format!("{{{name}}}"), &escaped(&value));
                }
                "query" if chance.one_in(3) => {
                    let (value, good) = chance.parameter(name, &parameter["schema"], real);
                    is_good &= good;
                    query.push((name.to_owned(), value));
                }
                "header" if chance.one_in(4) => {
                    let values =
                        ["*", "\"v1\"", "\"v0\"", "W/\"v1\"", "nothing", "\"v99999999999999999999\""];
                    headers.push(("if-match", values[chance.below(values.len())].to_owned()));
                }
                _ => {}
            }
        }
        if chance.one_in(20) {
            is_good = false;
            query.push((HOSTILE[chance.below(HOSTILE.len())].to_owned(), "1".to_owned()));
        }
        if !query.is_empty() {
            let pairs = query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
            target = format!("{target}?{}", pairs.collect::<Vec<_>>().join("&"));
        }
        let token = match chance.below(30) {
            0 => None,
            1 => Some("wrong".to_owned()),
            _ => Some(LOCAL.to_owned()),
        };
        headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
        let schema = self.document.pointer("/requestBody/content/application~1json/schema");
        let body = schema.map(|schema| {
            let (value, good) = chance.body(schema, real);
            is_good &= good && !OF_OTHER_TESTS.contains(&self.id);
            value
        });
        if chance.one_in(40) {
            is_good = false;
            headers.push(("content-type", "text/plain".to_owned()));
        }
        Made { method: self.method.clone(), target, headers, body, is_good }
    }

    #[track_caller]
    fn check(&self, answer: &Answer, told: &str) {
        assert!(answer.status < 500, "{told}: {answer:?}");
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let documented = self.answers.get(&(answer.status, kind.clone()));
        let validator = documented.unwrap_or_else(|| {
            panic!("{} does not say {} {kind}. {told}: {answer:?}", self.id, answer.status)
        });
        let Some(validator) = validator else { return };
        let body = answer.json();
        let wrong: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}. {told}: {answer:?}", self.id);
        if answer.status >= 400 {
            assert_eq!(body["status"], answer.status, "{told}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{told}");
        }
    }
}

/// Texts that have broken something somewhere.
const HOSTILE: [&str; 16] = [
    "",
    " ",
    "..",
    "../../etc/passwd",
    "' OR 1=1 --",
    "\"",
    "\\",
    "%00",
    "\u{0}",
    "\u{202e}abc",
    "<script>alert(1)</script>",
    "9999999999999999999999999999",
    "-1",
    "é\u{301}ü𝄞",
    "{{7*7}}",
    "AAAAAAAAAAAAAAAAAAAAAA",
];

/// Chance that follows from a seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64: enough to choose by.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn hostile(&mut self) -> String {
        match self.below(HOSTILE.len() + 1) {
            0 => "x".repeat(self.below(5_000)),
            place => HOSTILE[place - 1].to_owned(),
        }
    }

    /// The name of something that is there, mostly.
    fn name(&mut self, kind: &str, real: &Real) -> String {
        match real.names.get(kind) {
            Some(names) if !names.is_empty() && !self.one_in(4) => names[self.below(names.len())].clone(),
            _ => self.hostile(),
        }
    }

    fn parameter(&mut self, name: &str, schema: &Value, real: &Real) -> (String, bool) {
        match schema["type"].as_str() {
            Some("integer") => {
                let values =
                    [("1", true), ("500", true), ("0", false), ("501", false), ("ten", false), ("-1", false)];
                let (value, good) = values[self.below(values.len())];
                (value.to_owned(), good)
            }
            Some("boolean") => {
                let values = [("true", true), ("false", true), ("yes", false), ("", false)];
                let (value, good) = values[self.below(values.len())];
                (value.to_owned(), good)
            }
            _ if schema["format"] == "date-time" => {
                let values = [("2026-01-31T12:00:00Z", true), ("2026-01-31", false), ("", false)];
                let (value, good) = values[self.below(values.len())];
                (value.to_owned(), good)
            }
            // Where a page begins is told by the page before.
            _ if name == "after" => (self.hostile(), false),
            _ => (self.name(name, real), true),
        }
    }

    /// A body: as the schema says, or with something wrong.
    fn body(&mut self, schema: &Value, real: &Real) -> (String, bool) {
        let good = self.value("", schema, real);
        let mut wrong = good.clone();
        match self.below(8) {
            0 => {
                return (
                    ["", "{", "[]", "null", "\"x\"", "{\"a\":1,\"a\":2}", "\u{feff}{}"][self.below(7)]
                        .to_owned(),
                    false,
                );
            }
            1 => {
                wrong["no_such_member"] = json!(1);
            }
            2 => {
                let members = wrong.as_object_mut().unwrap();
                if let Some(name) = members.keys().nth(self.below(members.len().max(1))).cloned() {
                    members.shift_remove(&name);
                }
            }
            3 | 4 => {
                let members = wrong.as_object_mut().unwrap();
                let kinds = [
                    json!(1),
                    json!("x"),
                    json!([]),
                    json!({}),
                    json!(true),
                    json!(1.5),
                    json!(self.hostile()),
                ];
                if let Some(name) = members.keys().nth(self.below(members.len().max(1))).cloned() {
                    members[&name] = kinds[self.below(kinds.len())].clone();
                }
            }
            _ => return (good.to_string(), self.says_all(&good)),
        }
        (wrong.to_string(), false)
    }

    /// What a schema of JSON cannot say: which members exclude each other, what names are there, and what a path is.
    fn says_all(&self, body: &Value) -> bool {
        let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        let all = body["all"] == true;
        let dead = (has("jti") || body.get("all").is_some()) || body.get("jti").is_some();
        let of_dead = !dead || has("jti") != all;
        let is_empty = body.as_object().unwrap().is_empty();
        let issuer = body.get("event").is_none() || has("issuer");
        of_dead && !is_empty && issuer
    }

    fn value(&mut self, name: &str, schema: &Value, real: &Real) -> Value {
        if name == "subject" {
            return json!({"format": "email", "email": real.names["email"][0]});
        }
        if let Some(any) = schema["anyOf"].as_array() {
            return self.value(name, &any[0], real);
        }
        if let Some(options) = schema["enum"].as_array() {
            return options[self.below(options.len())].clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
        match kind {
            _ if schema["type"].is_array() && self.one_in(4) => Value::Null,
            "boolean" => json!(self.one_in(2)),
            "integer" => {
                let bound = |name: &str| schema[name].as_u64().unwrap_or(1);
                json!([bound("minimum"), bound("maximum")][self.below(2)])
            }
            "array" => {
                let count = 1 + self.below(3);
                Value::Array((0..count).map(|_| self.value(name, &schema["items"], real)).collect())
            }
            "string" if schema["format"] == "date-time" => json!("2026-11-18T00:00:00Z"),
            "string" => match (real.names.get(name), schema["maxLength"].as_u64()) {
                (Some(names), _) if !names.is_empty() => json!(names[self.below(names.len())]),
                (_, Some(max)) => json!("r".repeat(self.below(usize::try_from(max).unwrap() + 1))),
                _ => json!("x"),
            },
            _ => {
                let required: Vec<&str> =
                    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let mut members = Map::new();
                for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                    if required.contains(&name.as_str()) || self.one_in(2) {
                        members.insert(name.clone(), self.value(name, schema, real));
                    }
                }
                Value::Object(members)
            }
        }
    }
}

/// As it stands in a URL.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Whether a path is one of those that a template means.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(one, other)| one.starts_with('{') || *one == other)
}
