//! Keys, as receivers fetch them and as operators change them.

use crate::world::{Answer, LOCAL, World};
use axum::body::Body;
use http::{Method, Request};
use secevent_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

const ISSUER: &str = "https://tr.example/tenant-a";

async fn jwks(world: &World, if_none_match: Option<&str>) -> Answer {
    let mut request = Request::get("/tenant-a/jwks.json");
    if let Some(tag) = if_none_match {
        request = request.header("if-none-match", tag);
    }
    world.call(request.body(Body::empty()).unwrap()).await
}

async fn post(world: &World, path: &str, body: Value) -> Answer {
    world.admin(Method::POST, LOCAL, &format!("/admin/v1/keys/{path}"), &body).await
}

fn kids(answer: &Answer) -> Vec<String> {
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

// spec: SSF-51, INTEROP-06
#[tokio::test]
async fn keys_are_kept_for_a_while_and_fetched_again_only_when_they_changed() {
    let world = World::new().await;
    let first = jwks(&world, None).await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("public, max-age=300")));
    let tag = first.header("etag").unwrap();
    for known in [tag, "*", &format!("W/{tag}"), &format!("\"other\", {tag}")] {
        let same = jwks(&world, Some(known)).await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{known}");
        assert_eq!(same.header("etag"), Some(tag));
        assert_eq!(same.header("cache-control"), Some("public, max-age=300"));
    }
    // finding: B22
    for other in
        ["\"other\"", &format!("W/W/{tag}"), &format!("w/{tag}"), tag.trim_matches('"'), &format!("{tag}, x")]
    {
        assert_eq!(jwks(&world, Some(other)).await.body, first.body, "{other}");
    }

    post(&world, "publish", json!({"issuer": ISSUER})).await.is_answer(201);
    let changed = jwks(&world, Some(tag)).await;
    assert_eq!((changed.status, kids(&changed).len()), (200, 2));
    assert_eq!(kids(&changed)[0], kids(&first)[0]);
}

#[tokio::test]
async fn operators_publish_rotate_and_withdraw_keys_and_see_no_private_half() {
    let world = World::new().await;
    let list = || world.admin(Method::GET, LOCAL, "/admin/v1/keys", &Value::Null);
    let told = list().await.is_answer(200);
    assert_eq!(told["keys"].as_array().unwrap().len(), 2, "one for each issuer");

    let brought = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let pem = brought.to_pem_secret();
    let key = json!({"issuer": ISSUER, "key": pem.expose(), "kid": "2026-11"});
    let published = post(&world, "publish", key.clone()).await.is_answer(201);
    assert_eq!((&published["state"], &published["signs_from"]), (&json!("next"), &Value::Null));
    assert_eq!((&published["kid"], &published["algorithm"]), (&json!("2026-11"), &json!("EdDSA")));
    assert_eq!(
        published["jwk"]["x"],
        serde_json::from_str::<Value>(&brought.public().to_json()).unwrap()["x"]
    );

    let rotated = post(&world, "rotate", json!({"issuer": ISSUER})).await.is_answer(200);
    assert_eq!(rotated["signs_from"], "2026-11-19T11:06:40Z", "a day later");
    let rotated = post(&world, "rotate", json!({"issuer": ISSUER, "now": true})).await.is_answer(200);
    assert_eq!(rotated["state"], "current");
    let of_issuer = format!("/admin/v1/keys?issuer={ISSUER}");
    let told = world.admin(Method::GET, LOCAL, &of_issuer, &Value::Null).await;
    let states: Vec<Value> =
        told.json()["keys"].as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["current", "previous"]);
    assert_eq!(kids(&told), kids(&jwks(&world, None).await));
    let previous = kids(&told).pop().unwrap();

    let withdrawn = post(&world, "withdraw", json!({"issuer": ISSUER, "kid": "2026-11"})).await;
    withdrawn.is_answer(200);
    let published = kids(&jwks(&world, None).await);
    assert!(published.contains(&previous) && !published.contains(&"2026-11".to_owned()), "{published:?}");
    assert_eq!(published.len(), 2, "another one took its place");

    for (path, body, status, err) in [
        ("publish", key, 409, "conflict"),
        ("publish", json!({"issuer": ISSUER, "key": "not a key"}), 400, "invalid_request"),
        ("publish", json!({"issuer": ISSUER, "algorithm": "HS256"}), 400, "invalid_request"),
        ("publish", json!({"issuer": ISSUER, "algorithm": "RS256"}), 409, "conflict"),
        ("publish", json!({"issuer": ISSUER, "kid": "x"}), 400, "invalid_request"),
        ("publish", json!({}), 400, "invalid_request"),
        ("rotate", json!({"issuer": "https://other.example"}), 404, "not_found"),
        ("rotate", json!({"issuer": ISSUER, "at": "2026-11-18T11:06:41Z"}), 409, "conflict"),
        (
            "rotate",
            json!({"issuer": ISSUER, "at": "2027-01-01T00:00:00Z", "now": true}),
            400,
            "invalid_request",
        ),
        ("withdraw", json!({"issuer": ISSUER, "kid": "2026-11"}), 404, "not_found"),
        ("rewrap", json!({"all": true}), 400, "invalid_request"),
    ] {
        let answer = post(&world, path, body).await;
        answer.is_problem(status, err);
    }
    let rewrapped = post(&world, "rewrap", json!({})).await.is_answer(200);
    assert_eq!(rewrapped["sealed_anew"], 0);
    assert_eq!(rewrapped["master_key"].as_str().unwrap().len(), 16);
    // No answer has a private member, whatever was done.
    let everything = list().await.body;
    let text = String::from_utf8_lossy(&everything);
    assert!(!text.contains("\"d\"") && !text.contains("PRIVATE"), "{text}");
}
