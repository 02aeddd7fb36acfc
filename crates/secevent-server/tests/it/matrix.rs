//! The authorization matrix: every endpoint of the public listener with every kind of credential. The endpoints come
//! from the router itself; one that has no row here fails the test.

use crate::elsewhere::{AS, AuthorizationServer, claims};
use crate::world::{Answer, World, basic, secret};
use axum::body::Body;
use http::{Method, Request};
use secevent_server::{AuthorizationServerConfig, ClientConfig, Limits, Rate, Scope};
use serde_json::{Value, json};

const OWNER: &str = "client-owner";
const OTHER: &str = "client-other";
const PRODUCER: &str = "client-producer";
const DISABLED: &str = "client-disabled";

/// What an endpoint asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Nothing: with any credential it answers alike.
    Open,
    /// A token with this scope.
    Needs(Scope),
}

/// A request that is good if the caller is.
struct Row {
    method: Method,
    path: String,
    body: Value,
    access: Access,
    /// Whether it names a stream, which must be the caller's.
    names_stream: bool,
    good: u16,
}

/// A credential, and what it is worth.
struct Credential {
    name: &'static str,
    authorization: Option<String>,
    worth: Worth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// None was shown.
    Nothing,
    /// It is refused.
    Invalid,
    /// It is the owner's, and does this.
    Owner(Scope),
    /// It is another client's, and does this.
    Another(Scope),
}

/// The requests for an endpoint, whose path is told without the issuer's. A new endpoint is to be added here.
fn rows(method: &Method, path: &str, base: &str, stream: &str) -> Vec<Row> {
    let endpoint = if path.starts_with("/.well-known/") { path } else { &path[base.len()..] };
    let row = |query: &str, body: Value, access, names_stream, good| Row {
        method: method.clone(),
        path: format!("{}{query}", path.replace("{stream}", stream)),
        body,
        access,
        names_stream,
        good,
    };
    let (read, manage) = (Access::Needs(Scope::Read), Access::Needs(Scope::Manage));
    let named = json!({"stream_id": stream});
    let query = format!("?stream_id={stream}");
    let subject = json!({"format": "email", "email": "alice@example.com"});
    match (method.as_str(), endpoint) {
        ("GET", open) if open.starts_with("/.well-known/") => {
            vec![row("", Value::Null, Access::Open, false, 200)]
        }
        ("GET", "/jwks.json" | "/openapi.json") => vec![row("", Value::Null, Access::Open, false, 200)],
        // It has its own way to know callers; this request is of the wrong kind for all of them.
        ("POST", "/oauth/token") => vec![row("", json!({}), Access::Open, false, 400)],
        ("GET", "/ssf/stream") => {
            vec![row("", Value::Null, read, false, 200), row(&query, Value::Null, read, true, 200)]
        }
        ("POST", "/ssf/stream") => vec![row("", json!({}), manage, false, 201)],
        ("PATCH" | "PUT", "/ssf/stream") => vec![row("", named, manage, true, 200)],
        ("DELETE", "/ssf/stream") => vec![row(&query, Value::Null, manage, true, 204)],
        ("GET", "/ssf/status") => vec![row(&query, Value::Null, read, true, 200)],
        ("POST", "/ssf/status") => {
            vec![row("", json!({"stream_id": stream, "status": "enabled"}), manage, true, 200)]
        }
        ("POST", "/ssf/verify") => vec![row("", named, manage, true, 204)],
        ("POST", "/ssf/subjects:add") => {
            vec![row("", json!({"stream_id": stream, "subject": subject}), manage, true, 200)]
        }
        ("POST", "/ssf/subjects:remove") => {
            vec![row("", json!({"stream_id": stream, "subject": subject}), manage, true, 204)]
        }
        ("POST", "/poll/{stream}") => {
            vec![row("", json!({"ack": ["unknown"], "returnImmediately": true}), read, true, 200)]
        }
        ("POST", "/events") => {
            let event = json!({"type": "caep:session-revoked", "subject": subject});
            vec![row("", event, Access::Needs(Scope::Write), false, 202)]
        }
        (method, endpoint) => panic!("{method} {endpoint} has no row in the authorization matrix: add one"),
    }
}

/// What a request must be answered with this credential: the status, and the challenge if there is one.
fn expected(row: &Row, worth: Worth) -> (u16, Option<String>) {
    let Access::Needs(needed) = row.access else { return (row.good, None) };
    let scope = match worth {
        Worth::Nothing => return (401, Some("Bearer realm=\"secevent\"".to_owned())),
        Worth::Invalid => return (401, Some("Bearer error=\"invalid_token\"".to_owned())),
        // What is not the caller's is not there, whatever it may.
        Worth::Another(_) if row.names_stream => return (404, None),
        Worth::Owner(scope) | Worth::Another(scope) => scope,
    };
    if scope == needed || (scope == Scope::Manage && needed == Scope::Read) {
        return (row.good, None);
    }
    (403, Some(format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", needed.name())))
}

struct Matrix {
    world: World,
    owner: String,
    credentials: Vec<Credential>,
}

impl Matrix {
    async fn new() -> Self {
        let world = World::with_clients(|config| {
            let client =
                |id: &str, scope| ClientConfig::new(id, secret(id), vec![scope], "https://rp.example".into());
            config.clients = vec![
                client(OWNER, Scope::Manage),
                client(OTHER, Scope::Manage),
                client(DISABLED, Scope::Manage),
                client(PRODUCER, Scope::Write),
            ];
            let rate = Rate { per_second: 1, burst: 100_000 };
            config.limits = Limits { requests: rate, tokens: rate, events: None };
            config.authorization_servers =
                vec![AuthorizationServerConfig::new(AS.parse().unwrap(), "https://tr.example")];
        })
        .await;
        let external = AuthorizationServer::named("key");
        external.publish(&world.elsewhere);
        let expired = world.token(OWNER).await;
        world.later(600);
        let now = world.now();

        let owner = world.token(OWNER).await;
        let form = "grant_type=client_credentials&scope=ssf.read";
        let reader = world.ask_for_token(&basic(OWNER), form).await.json()["access_token"].clone();
        let (other, producer) = (world.token(OTHER).await, world.token(PRODUCER).await);
        let off = world.token(DISABLED).await;
        let path = format!("/admin/v1/clients/{DISABLED}/disable");
        world.admin(Method::POST, crate::world::LOCAL, &path, &Value::Null).await.is_answer(200);

        let with = |member: &str, value: Value| {
            let mut claims = claims(OWNER, "ssf.manage", now);
            claims[member] = value;
            claims
        };
        let stream = world.stream(&owner, "").await;
        let set = world.waiting(&owner, "", &stream).await.remove(0);
        // Under the name of a key that is known: one that is not might be new, and is no reason for a refusal yet.
        let stranger = AuthorizationServer::named("key");
        let as_if_ours = json!({
            "iss": "https://tr.example", "aud": "https://tr.example", "sub": OWNER, "client_id": OWNER,
            "scope": "ssf.manage", "iat": now, "exp": now + 600, "generation": 1,
        });
        let id_token = AuthorizationServer::typed("JWT");
        let invalid = [
            ("garbage", "complete-garbage".to_owned()),
            ("a colon", "invalid:token-with-a-colon".to_owned()),
            ("expired", expired),
            ("expired, of the other server", external.sign(&with("exp", json!(now - 60)))),
            ("wrong issuer", stranger.sign(&with("iss", json!("https://evil.example")))),
            ("wrong key", stranger.token(OWNER, "ssf.manage", now)),
            ("as if it were ours", stranger.sign(&as_if_ours)),
            ("ours, by the other server", external.sign(&as_if_ours)),
            ("wrong audience", external.sign(&with("aud", json!("https://elsewhere.example")))),
            ("untyped", id_token.token(OWNER, "ssf.manage", now)),
            ("unknown client", external.token("client-unknown", "ssf.manage", now)),
            ("no client", external.sign(&with("client_id", Value::Null))),
            ("a disabled client", off),
            ("a disabled client, by the other server", external.token(DISABLED, "ssf.manage", now)),
            ("a SET", set),
        ];
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        let credential = |name, authorization, worth| Credential { name, authorization, worth };
        let mut credentials = vec![
            credential("no token", None, Worth::Nothing),
            credential("a secret", Some(basic(OWNER)), Worth::Nothing),
            credential("a token without its scheme", Some(owner.clone()), Worth::Nothing),
            credential("read scope", bearer(reader.as_str().unwrap()), Worth::Owner(Scope::Read)),
            credential("manage scope", bearer(&owner), Worth::Owner(Scope::Manage)),
            credential(
                "manage scope, of the other server",
                bearer(&external.token(OWNER, "openid ssf.manage events.write admin", now)),
                Worth::Owner(Scope::Manage),
            ),
            credential("other client", bearer(&other), Worth::Another(Scope::Manage)),
            credential("producer", bearer(&producer), Worth::Another(Scope::Write)),
        ];
        credentials.extend(invalid.map(|(name, token)| credential(name, bearer(&token), Worth::Invalid)));
        Self { world, owner, credentials }
    }

    /// The methods of a path, as the router tells them to whoever asks for another one.
    async fn methods(&self, path: &str) -> Vec<Method> {
        let path = path.replace("{stream}", "unknown");
        let answer = self.world.send(Method::from_bytes(b"BREW").unwrap(), "", &path, "").await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.header("allow").unwrap().split(',').map(str::trim);
        allowed.filter(|method| *method != "HEAD").map(|method| method.parse().unwrap()).collect()
    }

    async fn send(&self, row: &Row, credential: &Credential) -> Answer {
        let mut request = Request::builder().method(&row.method).uri(&row.path);
        request = request.header("content-type", "application/json");
        if let Some(authorization) = &credential.authorization {
            request = request.header("authorization", authorization);
        }
        let body = if row.body.is_null() { Body::empty() } else { Body::from(row.body.to_string()) };
        self.world.call(request.body(body).unwrap()).await
    }
}

// spec: SSF-65, SSF-67, SSF-70, INTEROP-23, INTEROP-24
#[tokio::test]
async fn every_endpoint_answers_every_credential_as_it_should() {
    let matrix = Matrix::new().await;
    let mut cells = 0;
    for path in &matrix.world.paths {
        let base = if path.starts_with("/tenant-a/") { "/tenant-a" } else { "" };
        let methods = matrix.methods(path).await;
        assert!(!methods.is_empty(), "{path}");
        for method in methods {
            // Nobody can tell from an answer whether this stream is there, unless it is his.
            let mut stream = String::new();
            for credential in &matrix.credentials {
                if stream.is_empty() {
                    let made = matrix.world.stream(&matrix.owner, base).await;
                    stream = made["stream_id"].as_str().unwrap().to_owned();
                }
                let mut deleted = false;
                for row in rows(&method, path, base, &stream) {
                    cells += 1;
                    let answer = matrix.send(&row, credential).await;
                    let (status, challenge) = expected(&row, credential.worth);
                    let told = format!("{method} {} with {}: {answer:?}", row.path, credential.name);
                    assert_eq!(answer.status, status, "{told}");
                    assert_eq!(answer.header("www-authenticate"), challenge.as_deref(), "{told}");
                    nothing_leaks(&answer, credential, &stream, &told);
                    deleted = method == Method::DELETE && status == 204;
                }
                if deleted {
                    let path = format!("{base}/ssf/stream?stream_id={stream}");
                    matrix.world.get(&matrix.owner, &path).await.is_problem(404, "not_found");
                    stream.clear();
                }
            }
        }
    }
    assert_eq!(matrix.world.paths.len(), 2 + 2 * 11, "every path was visited");
    assert!(cells >= 26 * matrix.credentials.len(), "{cells}");
}

/// What is refused tells neither of streams nor of clients nor of the credential; what is another's stays so.
fn nothing_leaks(answer: &Answer, credential: &Credential, stream: &str, told: &str) {
    let text = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
    let is_owner = matches!(credential.worth, Worth::Owner(_));
    assert!(is_owner && answer.status < 400 || !text.contains(stream), "a stream: {told}");
    for client in ["client-", PRODUCER, OWNER, OTHER, DISABLED] {
        assert!(answer.status < 400 || !text.contains(client), "a client: {told}");
    }
    if answer.status == 401 || answer.status == 403 || answer.status == 404 {
        answer.is_problem(
            answer.status,
            match answer.status {
                401 => "authentication_failed",
                403 => "access_denied",
                _ => "not_found",
            },
        );
    }
    let Some(shown) = &credential.authorization else { return };
    let token = shown.rsplit_once(' ').map_or(shown.as_str(), |(_, token)| token);
    // Of a signed token the signature is what makes it one.
    let telling = token.rsplit('.').next().unwrap();
    assert!(telling.len() > 10 && !text.contains(telling), "a credential: {told}");
}

/// The path of the router's table is the path that is served: what it does not list is not there.
#[tokio::test]
async fn the_table_is_the_router() {
    let world = World::new().await;
    for path in &world.paths {
        let answer = world.send(Method::OPTIONS, "", &path.replace("{stream}", "x"), "").await;
        assert_eq!(answer.status, 405, "{path}");
    }
    assert!(world.paths.iter().any(|path| path == "/tenant-a/events"));
}
