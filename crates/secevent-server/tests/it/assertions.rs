//! Clients that prove who they are by a signature (RFC 7523).

use crate::elsewhere::AuthorizationServer;
use crate::world::{Answer, World, basic};
use secevent_jose::{Algorithm, JwkSet, Signer, SigningKey};
use secevent_server::{ClientConfig, ClientSettings, Scope};
use secevent_store::{Documents as _, StoreError};
use serde_json::{Value, json};
use std::sync::Arc;

const GRANT: &str = "grant_type=client_credentials";
const TYPE: &str = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const KEYS: &str = "https://signer.example/jwks.json";

struct Signing {
    world: World,
    signer: Signer,
}

fn key_set(signer: &Signer) -> Value {
    serde_json::from_str(&JwkSet::new([signer.key().public().clone()]).to_json()).unwrap()
}

fn signer(algorithm: Algorithm) -> Signer {
    Signer::new(SigningKey::generate(algorithm).unwrap(), "JWT")
}

impl Signing {
    /// A world with the client `signer`, whose keys are known, and the client `publisher`, who publishes the same.
    async fn new() -> Self {
        let signer = signer(Algorithm::Es256);
        let client = |id: &str, keys: ClientSettings| ClientConfig {
            id: id.to_owned(),
            secret: None,
            settings: ClientSettings {
                scopes: vec![Scope::Manage],
                audience: Some("https://rp.example".into()),
                ..keys
            },
        };
        let here = ClientSettings { jwks: Some(key_set(&signer)), ..ClientSettings::default() };
        let there = ClientSettings {
            jwks_uri: Some(KEYS.to_owned()),
            token_lifetime_seconds: Some(3_600),
            ..ClientSettings::default()
        };
        let world = World::with_clients(|config| {
            config.clients.extend([client("signer", here), client("publisher", there)]);
        })
        .await;
        Self { world, signer }
    }

    fn claims(&self, client: &str) -> Value {
        let now = self.world.now();
        json!({
            "iss": client, "sub": client, "aud": "https://tr.example/oauth/token", "iat": now, "exp": now + 60,
            "jti": format!("{client}-{now}"),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        self.signer.sign(claims.to_string().as_bytes()).unwrap()
    }

    async fn show(&self, assertion: &str) -> Answer {
        let form = format!("{GRANT}&{TYPE}&client_assertion={assertion}");
        self.world.ask_for_token("", &form).await
    }
}

fn is_refused(answer: &Answer) {
    assert_eq!(answer.is_answer(401)["error"], "invalid_client");
    assert!(answer.header("www-authenticate").is_some());
}

#[tokio::test]
async fn a_client_that_signs_gets_a_token() {
    let signing = Signing::new().await;
    signing.world.elsewhere.publish(KEYS, &key_set(&signing.signer));
    for (client, audience, lifetime) in [
        ("signer", json!("https://tr.example/oauth/token"), 600),
        ("publisher", json!(["https://elsewhere.example", "https://tr.example"]), 3_600),
    ] {
        let mut claims = signing.claims(client);
        claims["aud"] = audience;
        let granted = signing.show(&signing.sign(&claims)).await.is_answer(200);
        assert_eq!((&granted["expires_in"], &granted["scope"]), (&json!(lifetime), &json!("ssf.manage")));
        let token = granted["access_token"].as_str().unwrap();
        signing.world.get(token, "/ssf/stream").await.is_answer(200);
    }
    let mut claims = signing.claims("signer");
    claims["jti"] = "with its id beside".into();
    let form = format!("{GRANT}&client_id=signer&{TYPE}&client_assertion={}", signing.sign(&claims));
    signing.world.ask_for_token("", &form).await.is_answer(200);
}

#[tokio::test]
async fn an_assertion_is_taken_once_and_forgotten_when_it_is_worthless() {
    let signing = Signing::new().await;
    let assertion = signing.sign(&signing.claims("signer"));
    signing.show(&assertion).await.is_answer(200);
    is_refused(&signing.show(&assertion).await);
    // Another client may use the same identifier, and the same client another one.
    let mut other = signing.claims("signer");
    other["jti"] = "another".into();
    signing.show(&signing.sign(&other)).await.is_answer(200);

    let kept = async |world: &World| world.store.list("assertion/", None, 10).await.unwrap().len();
    assert_eq!(kept(&signing.world).await, 2);
    // The next process knows them too.
    let next = signing.world.restarted(|config| {
        let settings = ClientSettings {
            scopes: vec![Scope::Manage],
            audience: Some("https://rp.example".into()),
            jwks: Some(key_set(&signing.signer)),
            ..ClientSettings::default()
        };
        config.clients.push(ClientConfig { id: "signer".to_owned(), secret: None, settings });
    });
    let next = Signing { world: next.await, signer: signing.signer };
    is_refused(&next.show(&assertion).await);
    next.world.later(59);
    is_refused(&next.show(&assertion).await);
    next.world.later(2);
    is_refused(&next.show(&assertion).await);
    next.world.later(60);
    is_refused(&next.show(&assertion).await);
    next.show(&next.sign(&next.claims("signer"))).await.is_answer(200);
    assert_eq!(kept(&next.world).await, 1, "those that are over are forgotten");
}

#[tokio::test]
async fn an_assertion_that_is_not_right_is_refused() {
    let signing = Signing::new().await;
    let now = signing.world.now();
    for (member, value) in [
        ("iss", json!("publisher")),
        ("iss", Value::Null),
        ("sub", json!("rp")),
        ("sub", json!("nobody")),
        ("aud", json!("https://elsewhere.example")),
        ("aud", json!([])),
        ("aud", Value::Null),
        // finding: B22. Clocks differ by a minute.
        ("exp", json!(now - 60)),
        ("exp", json!(now + 361)),
        ("exp", Value::Null),
        ("nbf", json!(now + 61)),
        ("iat", json!(now + 61)),
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(513))),
    ] {
        let mut claims = signing.claims("signer");
        claims[member] = value;
        let answer = signing.show(&signing.sign(&claims)).await;
        is_refused(&answer);
        // finding: B22. What is wrong with it is said, but for what it would say about others.
        let told = answer.json()["error_description"].as_str().unwrap().to_owned();
        let expected = match (member, &claims[member]) {
            (_, Value::Null) => "lacks a claim",
            ("aud", Value::Array(_)) => "is malformed",
            ("iss" | "sub", Value::String(other)) if other != "nobody" => "iss is not its sub",
            ("sub", _) => "iss is not its sub",
            ("exp", exp) if *exp == json!(now - 60) => "has expired",
            ("exp", _) => "lasts longer than five minutes",
            (member, _) => member,
        };
        assert!(told.contains(expected), "{member}: {told}");
    }
    for (exp, iat) in [(now - 59, now - 359), (now + 360, now + 60)] {
        let mut claims = signing.claims("signer");
        (claims["exp"], claims["iat"], claims["jti"]) =
            (json!(exp), json!(iat), json!(format!("skew {exp}")));
        let skewed = signing.sign(&claims);
        signing.show(&skewed).await.is_answer(200);
        is_refused(&signing.show(&skewed).await);
    }
    let good = signing.sign(&signing.claims("signer"));
    let stranger = signer(Algorithm::Es256).sign(signing.claims("signer").to_string().as_bytes()).unwrap();
    // The algorithm is on the list, and the key is none of the client's.
    let typed = AuthorizationServer::new().sign(&signing.claims("signer"));
    for wrong in ["garbage", "a.b.c", &good[..good.len() - 4], &stranger, &typed] {
        is_refused(&signing.show(wrong).await);
    }
    let form = format!("{GRANT}&client_id=rp&{TYPE}&client_assertion={good}");
    is_refused(&signing.world.ask_for_token("", &form).await);
    // Nothing of all this has used up the good one.
    signing.show(&good).await.is_answer(200);
}

// finding: B8
/// Whoever names a client and cannot sign for it uses up nothing of that client's, and does not have us check one
/// signature after the other.
#[tokio::test(start_paused = true)]
async fn assertions_that_are_refused_are_counted_apart() {
    let signing = Signing::new().await;
    let claims = signing.claims("signer");
    let forged = signer(Algorithm::Es256).sign(claims.to_string().as_bytes()).unwrap();
    let signing = Arc::new(signing);
    let mut shown = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (signing, forged) = (Arc::clone(&signing), forged.clone());
        shown.spawn(async move { signing.show(&forged).await });
    }
    let all = shown.join_all().await;
    let judged = all.iter().filter(|answer| answer.status == 401).count();
    assert!((50..=100).contains(&judged), "{judged} signatures were checked");
    assert!(all.iter().all(|answer| matches!(answer.status, 401 | 429)));
    signing.show(&signing.sign(&claims)).await.is_answer(200);
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let signing = Signing::new().await;
    let good = signing.sign(&signing.claims("signer"));
    for (authorization, form) in [
        (String::new(), format!("{GRANT}&client_assertion={good}")),
        (String::new(), format!("{GRANT}&client_assertion_type=saml&client_assertion={good}")),
        (String::new(), format!("{GRANT}&{TYPE}")),
        (basic("rp"), format!("{GRANT}&{TYPE}&client_assertion={good}")),
        (String::new(), format!("{GRANT}&client_id=rp&client_secret=x&{TYPE}&client_assertion={good}")),
    ] {
        let answer = signing.world.ask_for_token(&authorization, &form).await;
        assert_eq!(answer.is_answer(400)["error"], "invalid_request", "{form}");
    }
    // Who signs has no secret, and who has a secret does not sign.
    let form = format!("{GRANT}&client_id=signer&client_secret=");
    is_refused(&signing.world.ask_for_token("", &form).await);
    is_refused(&signing.show(&signing.sign(&signing.claims("rp"))).await);
}

#[tokio::test]
async fn published_keys_are_fetched_once_and_again_when_they_change() {
    let signing = Signing::new().await;
    let world = &signing.world;
    let show = async |jti: &str, signer: &Signer| {
        let mut claims = signing.claims("publisher");
        claims["jti"] = jti.into();
        signing.show(&signer.sign(claims.to_string().as_bytes()).unwrap()).await
    };
    show("1", &signing.signer).await.is_problem(503, "unavailable");
    world.later(6);
    world.elsewhere.publish(KEYS, &key_set(&signing.signer));
    for jti in ["2", "3"] {
        show(jti, &signing.signer).await.is_answer(200);
    }
    assert_eq!(world.elsewhere.asked(), [KEYS, KEYS], "once when they were not there, and once");
    let new = signer(Algorithm::EdDsa);
    // finding: A2. A key that may be new is not refused before the keys were fetched again.
    for jti in ["4", "5"] {
        let open = show(jti, &new).await;
        open.is_problem(503, "unavailable");
        assert_eq!(open.header("retry-after"), Some("5"));
    }
    assert_eq!(world.elsewhere.asked().len(), 0, "not so soon after the last time");
    world.elsewhere.publish(KEYS, &key_set(&new));
    world.later(31);
    show("6", &new).await.is_answer(200);
    show("7", &signing.signer).await.is_problem(503, "unavailable");
    world.later(30);
    is_refused(&show("8", &signing.signer).await);
}

#[tokio::test]
async fn where_repeats_cannot_be_told_nobody_is_let_in() {
    let signing = Signing::new().await;
    let assertion = signing.sign(&signing.claims("signer"));
    signing.world.store.fail(Some(StoreError::Busy));
    signing.show(&assertion).await.is_problem(503, "unavailable");
    signing.world.store.fail(None);
    signing.show(&assertion).await.is_answer(200);
}
