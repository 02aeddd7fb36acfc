//! Access tokens of authorization servers elsewhere (RFC 9068).

use crate::elsewhere::{AS, AS_KEYS, AuthorizationServer, claims};
use crate::world::{LOCAL, World};
use http::Method;
use secevent::Issuer;
use secevent_server::{AuthorizationServerConfig, ClientConfig, ClientSettings, ClientsConfig, Scope};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::time::sleep;

const STREAM: &str = "/ssf/stream";

async fn world(change: impl FnOnce(&mut AuthorizationServerConfig)) -> World {
    let mut server = AuthorizationServerConfig::new(AS.parse().unwrap(), "https://tr.example");
    change(&mut server);
    World::with_clients(|config| config.authorization_servers = vec![server]).await
}

#[tokio::test]
async fn its_tokens_do_what_their_client_may() {
    let world = world(|server| {
        server.scopes = [("events:reader".to_owned(), Scope::Read)].into();
    })
    .await;
    let server = AuthorizationServer::new();
    server.publish(&world.elsewhere);
    let now = world.now();
    for (client, scope, read, create) in [
        ("rp", "ssf.manage", 200, 201),
        ("rp", "openid ssf.read", 200, 403),
        ("rp", "events:reader", 200, 403),
        ("rp", "", 403, 403),
        ("rp", "events.write", 403, 403),
        // The client itself may only read.
        ("reader", "ssf.read ssf.manage", 200, 403),
        ("nobody", "ssf.manage", 401, 401),
    ] {
        let token = server.token(client, scope, now);
        assert_eq!(world.get(&token, STREAM).await.status, read, "{client} {scope}");
        assert_eq!(world.post(&token, STREAM, &json!({})).await.status, create, "{client} {scope}");
    }
    let mut listed = claims("rp", "", now);
    listed["scope"] = json!(["ssf.manage"]);
    world.get(&server.sign(&listed), STREAM).await.is_answer(200);
    // It is the same client, whoever gave it the token.
    let ours = world.token("rp").await;
    assert_eq!(world.get(&ours, STREAM).await.json().as_array().unwrap().len(), 1);
    let asked = world.elsewhere.asked();
    assert_eq!(asked.len(), 2, "metadata and keys, once: {asked:?}");
}

/// The kill switch and a new secret end what others gave, as they end what we gave.
// spec: INTEROP-25
#[tokio::test]
async fn tokens_from_before_the_switch_stay_worthless() {
    let world = world(|_| {}).await;
    let server = AuthorizationServer::new();
    server.publish(&world.elsewhere);
    let operator = async |world: &World, path: &str, body: &Value| {
        world.admin(Method::POST, LOCAL, &format!("/admin/v1/clients{path}"), body).await
    };
    let undated = |now: i64| {
        let mut claims = claims("rp", "ssf.manage", now);
        claims.as_object_mut().unwrap().remove("iat");
        server.sign(&claims)
    };
    let (before, without) = (server.token("rp", "ssf.manage", world.now()), undated(world.now()));
    for token in [&before, &without] {
        world.get(token, STREAM).await.is_answer(200);
    }
    world.later(1);
    operator(&world, "/rp/disable", &Value::Null).await.is_answer(200);
    world.get(&before, STREAM).await.is_problem(401, "authentication_failed");
    operator(&world, "/rp/enable", &Value::Null).await.is_answer(200);
    let servers = vec![AuthorizationServerConfig::new(AS.parse().unwrap(), "https://tr.example")];
    let next = world.restarted(|config| config.authorization_servers = servers).await;
    server.publish(&next.elsewhere);
    for world in [&world, &next] {
        for token in [&before, &without, &undated(world.now())] {
            world.get(token, STREAM).await.is_problem(401, "authentication_failed");
        }
        world.get(&server.token("rp", "ssf.manage", world.now()), STREAM).await.is_answer(200);
    }

    let client = json!({"id": "made", "scopes": ["ssf.manage"], "audience": "https://made.example"});
    let early = server.token("made", "ssf.manage", world.now() - 1);
    operator(&world, "", &client).await.is_answer(201);
    world.get(&early, STREAM).await.is_problem(401, "authentication_failed");
    let token = server.token("made", "ssf.manage", world.now());
    world.get(&token, STREAM).await.is_answer(200);
    world.later(1);
    operator(&world, "/made/secret", &json!({"grace_seconds": 60})).await.is_answer(200);
    world.get(&token, STREAM).await.is_answer(200);
    operator(&world, "/made/secret", &json!({"grace_seconds": 0})).await.is_answer(200);
    world.get(&token, STREAM).await.is_problem(401, "authentication_failed");
}

// finding: B22
/// What a token says of its time is in whole seconds, and by another clock.
#[tokio::test]
async fn tokens_of_the_second_of_the_switch_stay_worthless() {
    let world = world(|_| {}).await;
    let server = AuthorizationServer::new();
    server.publish(&world.elsewhere);
    let switch = async |to: &str| {
        for client in ["rp", "reader"] {
            let path = format!("/admin/v1/clients/{client}/{to}");
            world.admin(Method::POST, LOCAL, &path, &Value::Null).await.is_answer(200);
        }
    };
    let same_second = server.token("rp", "ssf.manage", world.now());
    let ahead = server.token("reader", "ssf.read", world.now() + 30);
    world.get(&ahead, STREAM).await.is_answer(200);
    world.later_by(Duration::from_millis(300));
    for to in ["disable", "enable"] {
        switch(to).await;
        world.get(&same_second, STREAM).await.is_problem(401, "authentication_failed");
        world.get(&ahead, STREAM).await.is_problem(401, "authentication_failed");
    }
    world.later(31);
    world.get(&same_second, STREAM).await.is_problem(401, "authentication_failed");
    world.get(&ahead, STREAM).await.is_problem(401, "authentication_failed");
    world.get(&server.token("rp", "ssf.manage", world.now()), STREAM).await.is_answer(200);
}

#[tokio::test]
async fn keys_are_fetched_again_when_they_change_and_their_lack_is_nobodys_fault() {
    let world = world(|_| {}).await;
    let (old, new) = (AuthorizationServer::new(), AuthorizationServer::new());
    let token = old.token("rp", "ssf.manage", world.now());
    let answer = world.get(&token, STREAM).await;
    answer.is_problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
    let asked = world.elsewhere.asked();
    assert_eq!(asked.len(), 2, "RFC 8414, and OpenID: {asked:?}");
    assert_eq!(asked[1], "https://as.example/realm/.well-known/openid-configuration");
    world.get(&token, STREAM).await.is_problem(503, "unavailable");
    assert!(world.elsewhere.asked().is_empty(), "a stranger does not make us a nuisance");

    world.later(6);
    old.publish(&world.elsewhere);
    world.get(&token, STREAM).await.is_answer(200);
    new.publish(&world.elsewhere);
    let newer = new.token("rp", "ssf.manage", world.now());
    // finding: A2. Its key may be new, so it is not refused before the keys were fetched again.
    let open = world.get(&newer, STREAM).await;
    open.is_problem(503, "unavailable");
    assert_eq!(open.header("retry-after"), Some("5"));
    let sealed = format!("{}AAAA", &token[..token.len() - 4]);
    world.get(&sealed, STREAM).await.is_problem(401, "authentication_failed");
    world.later(5);
    world.get(&newer, STREAM).await.is_answer(200);
    let stranger = AuthorizationServer::new().token("rp", "ssf.manage", world.now());
    let open = world.get(&stranger, STREAM).await;
    open.is_problem(503, "unavailable");
    assert_eq!(open.header("retry-after"), Some("30"));
    world.elsewhere.asked();
    world.later(30);
    for status in [401, 503, 503] {
        assert_eq!(world.get(&stranger, STREAM).await.status, status);
    }
    assert_eq!(world.elsewhere.asked(), [AS_KEYS], "a stranger does not make us a nuisance");
    world.get(&token, STREAM).await.is_answer(200);
    world.later(300);
    world.get(&token, STREAM).await.is_problem(401, "authentication_failed");
    world.get(&newer, STREAM).await.is_answer(200);

    // The server is away: who is known stays so for a while, and keys that are there stay in use.
    world.elsewhere.is_gone();
    world.get(&newer, STREAM).await.is_answer(200);
    world.later(200);
    let fresh = new.token("rp", "ssf.manage", world.now());
    world.get(&fresh, STREAM).await.is_answer(200);
    // finding: A3. Past their time they answer at once too, and it shows in the figures.
    world.later(3_600);
    let fresh = new.token("rp", "ssf.manage", world.now());
    world.get(&fresh, STREAM).await.is_answer(200);
    let figure = async |name: &str| {
        let answer = world.admin(Method::GET, LOCAL, "/metrics", &Value::Null).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse::<f64>().unwrap()
    };
    tokio::time::timeout(Duration::from_secs(10), async {
        while figure("secevent_keys_failing").await < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(figure("secevent_keys_stale_seconds").await > 0.0);
}

// finding: A4
#[tokio::test]
async fn keys_that_change_under_their_name_are_fetched_before_the_verdict() {
    let world = world(|_| {}).await;
    let (old, new) = (AuthorizationServer::named("key"), AuthorizationServer::named("key"));
    old.publish(&world.elsewhere);
    world.get(&old.token("rp", "ssf.manage", world.now()), STREAM).await.is_answer(200);
    new.publish(&world.elsewhere);
    let token = new.token("rp", "ssf.manage", world.now());
    // A client can ask for another token, so that this is not final to it.
    world.get(&token, STREAM).await.is_problem(401, "authentication_failed");
    world.later(5);
    world.get(&token, STREAM).await.is_answer(200);
}

/// What Keycloak 26.7.3 has sent: its metadata, its keys and its access tokens.
// finding: A13, B16
#[tokio::test(start_paused = true)]
async fn tokens_of_keycloak_are_taken_as_the_book_says() {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let tokens = read(include_str!("../../../../specs/peers/keycloak-access-tokens.json"));
    let keys = read(include_str!("../../../../specs/peers/keycloak-jwks.json"));
    let exchanges = read(include_str!("../../../../specs/peers/keycloak-metadata.json"));
    let mut exchanges = exchanges["exchanges"].as_array().unwrap().iter();
    let metadata = exchanges.find(|one| one["note"] == "RFC 8414 metadata").unwrap();
    let metadata = read(metadata["response"]["body"].as_str().unwrap());
    let issuer = metadata["issuer"].as_str().unwrap();
    let start = async |untyped_tokens: bool| {
        let issuer = Issuer::parse_insecure(issuer).unwrap();
        let server = AuthorizationServerConfig {
            untyped_tokens,
            ..AuthorizationServerConfig::new(issuer, "http://127.0.0.1:31984")
        };
        let world = World::with_clients(|config| {
            config.authorization_servers = vec![server];
            for id in ["billing", "rx-poll", "noaud"] {
                let settings = ClientSettings {
                    scopes: vec![Scope::Manage],
                    audience: Some("https://rp.example".into()),
                    ..ClientSettings::default()
                };
                config.clients.push(ClientConfig { id: id.to_owned(), secret: None, settings });
            }
        })
        .await;
        world.later(tokens["tokens"][0]["claims"]["iat"].as_i64().unwrap() - world.now());
        let place = "http://127.0.0.1:31881/.well-known/oauth-authorization-server/realms/demo";
        world.elsewhere.publish(place, &metadata);
        world.elsewhere.publish(metadata["jwks_uri"].as_str().unwrap(), &keys);
        world
    };
    let token = |client: &str| {
        let mut all = tokens["tokens"].as_array().unwrap().iter();
        all.find(|one| one["client"] == client).unwrap()["token"].as_str().unwrap()
    };

    let (log, _guard) = Log::start();
    let world = start(false).await;
    world.get(token("billing"), STREAM).await.is_answer(200);
    world.get(token("noaud"), STREAM).await.is_problem(401, "authentication_failed");
    assert!(log.take().contains("it has no aud"));
    for lines in [1, 0, 0] {
        world.get(token("rx-poll"), STREAM).await.is_problem(401, "authentication_failed");
        let told = log.take();
        assert_eq!(told.matches("authorization_server.untyped_tokens").count(), lines, "{told}");
    }
    sleep(Duration::from_secs(61)).await;
    let told = log.take();
    assert!(told.contains("authorization_server.untyped_tokens") && told.contains("count=2"), "{told}");

    // What strangers send is summed up too: they need not sign anything.
    let forged = format!("{}AAAA", &token("billing")[..token("billing").len() - 4]);
    for _ in 0..1_000 {
        world.get(&forged, STREAM).await.is_problem(401, "authentication_failed");
    }
    let told = log.take();
    assert_eq!(told.matches("Access token of another authorization server refused").count(), 5, "{told}");
    sleep(Duration::from_secs(61)).await;
    let told = log.take();
    assert!(told.contains("Further access tokens refused") && told.contains("count=995"), "{told}");

    let world = start(true).await;
    world.get(token("billing"), STREAM).await.is_answer(200);
    world.get(token("rx-poll"), STREAM).await.is_problem(401, "authentication_failed");
    let told = log.take();
    assert!(told.contains("it has no aud") && !told.contains("untyped_tokens"), "{told}");
}

/// The log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is one subscriber alone, the thread that reaches a line first decides for all whether it is
        // wanted.
        static OTHER: LazyLock<tracing::Dispatch> = LazyLock::new(|| tracing::Dispatch::new(Log::default()));
        LazyLock::force(&OTHER);
        let log = Self::default();
        (log.clone(), tracing::subscriber::set_default(log))
    }

    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields<'a>(&'a mut String);
        impl tracing::field::Visit for Fields<'_> {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, " {field}={value:?}");
            }
        }
        let mut text = self.0.lock().unwrap();
        event.record(&mut Fields(&mut text));
        text.push('\n');
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn who_speaks_for_another_issuer_is_not_believed() {
    let world = world(|_| {}).await;
    let server = AuthorizationServer::new();
    let metadata = "https://as.example/.well-known/oauth-authorization-server/realm";
    world.elsewhere.publish(metadata, &json!({"issuer": "https://evil.example", "jwks_uri": AS_KEYS}));
    server.publish_keys(&world.elsewhere);
    let token = server.token("rp", "ssf.manage", world.now());
    world.get(&token, STREAM).await.is_problem(503, "unavailable");
    assert!(!world.elsewhere.asked().contains(&AS_KEYS.to_owned()));
}

#[tokio::test]
async fn what_configuration_says_of_it_holds() {
    let server = AuthorizationServer::typed("JWT");
    let configured = world(|config| {
        config.untyped_tokens = true;
        config.client_claim = "azp".to_owned();
        config.clients = Some(vec!["reader".to_owned()]);
        config.jwks_uri = Some(AS_KEYS.parse().unwrap());
        config.algorithms = secevent_jose::Algorithms::of(&[secevent_jose::Algorithm::Es256]);
    })
    .await;
    server.publish_keys(&configured.elsewhere);
    let token = |client: &str| {
        let mut claims = claims("rp", "ssf.read", configured.now());
        claims["azp"] = client.into();
        server.sign(&claims)
    };
    configured.get(&token("reader"), STREAM).await.is_answer(200);
    configured.get(&token("rp"), STREAM).await.is_problem(401, "authentication_failed");
    assert_eq!(configured.elsewhere.asked(), [AS_KEYS], "its metadata is not needed");
    let mut set = claims("rp", "ssf.read", configured.now());
    (set["azp"], set["events"]) = ("reader".into(), json!({"https://a.example/event": {}}));
    configured.get(&server.sign(&set), STREAM).await.is_problem(401, "authentication_failed");

    let other = world(|config| {
        config.algorithms = secevent_jose::Algorithms::of(&[secevent_jose::Algorithm::Rs256]);
    })
    .await;
    let server = AuthorizationServer::new();
    server.publish(&other.elsewhere);
    let token = server.token("rp", "ssf.read", other.now());
    other.get(&token, STREAM).await.is_problem(401, "authentication_failed");
}

// spec: INTEROP-21
#[tokio::test]
async fn the_built_in_server_can_be_switched_off() {
    let change = |config: &mut ClientsConfig| {
        config.built_in = false;
        config.authorization_servers =
            vec![AuthorizationServerConfig::new(AS.parse().unwrap(), "https://tr.example")];
    };
    let world = World::with_clients(change).await;
    let server = AuthorizationServer::new();
    server.publish(&world.elsewhere);
    for path in ["/oauth/token", "/.well-known/oauth-authorization-server"] {
        world.send(Method::POST, "", path, "").await.is_problem(404, "not_found");
    }
    let resource = world.get("", "/.well-known/oauth-protected-resource").await.json();
    assert_eq!(resource["authorization_servers"], json!([AS]));
    let token = server.token("rp", "ssf.manage", world.now());
    world.get(&token, STREAM).await.is_answer(200);

    let both = self::world(|_| {}).await;
    let resource = both.get("", "/.well-known/oauth-protected-resource").await.json();
    assert_eq!(resource["authorization_servers"], json!(["https://tr.example", AS]));
    assert_ne!(resource["scopes_supported"], Value::Null);
}
