//! The token endpoint: client credentials (RFC 6749 section 4.4).

use crate::world::{World, basic, secret};
use base64::Engine as _;
use serde_json::json;

const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn a_client_gets_a_token_by_either_way() {
    let world = World::new().await;
    let encoded = "rp:top-secret%3Drp%26more";
    let encoded = format!("basic {}", base64::engine::general_purpose::STANDARD.encode(encoded));
    let post = format!("{GRANT}&client_id=rp&client_secret=top-secret%3Drp%26more");
    for (authorization, form) in [(basic("rp"), GRANT), (encoded, GRANT), (String::new(), &post)] {
        let answer = world.ask_for_token(&authorization, form).await;
        let granted = answer.is_answer(200);
        assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(600)));
        assert_eq!(granted["scope"], "ssf.manage");
        let token = granted["access_token"].as_str().unwrap();
        world.get(token, "/tenant-a/ssf/stream").await.is_answer(200);
    }
}

#[tokio::test]
async fn who_is_not_known_is_not_told_what_is_wrong() {
    let world = World::new().await;
    let wrong = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut told = Vec::new();
    for (authorization, form) in [
        (String::new(), GRANT.to_owned()),
        (wrong("rp:wrong"), GRANT.to_owned()),
        (wrong("rp:"), GRANT.to_owned()),
        (wrong(&format!("nobody:{}", secret("nobody"))), GRANT.to_owned()),
        (wrong("no colon"), GRANT.to_owned()),
        ("Basic %%%".to_owned(), GRANT.to_owned()),
        ("Bearer abc".to_owned(), GRANT.to_owned()),
        (String::new(), format!("{GRANT}&client_id=rp&client_secret=wrong")),
        (String::new(), format!("{GRANT}&client_id=rp")),
    ] {
        let answer = world.ask_for_token(&authorization, &form).await;
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"));
        let body = answer.is_answer(401);
        assert_eq!(body["error"], "invalid_client", "{authorization} {form}");
        told.push(body);
    }
    told.dedup();
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_wrong_is_told_in_the_words_of_oauth() {
    let world = World::new().await;
    let scope = |scope: &str| format!("{GRANT}&scope={scope}");
    for (form, error) in [
        (String::new(), "invalid_request"),
        ("grant_type=".to_owned(), "invalid_request"),
        ("grant_type=password".to_owned(), "unsupported_grant_type"),
        (format!("{GRANT}&{GRANT}"), "invalid_request"),
        (format!("{GRANT}&scope=ssf.read&scope=ssf.manage"), "invalid_request"),
        (format!("{GRANT}&client_id=rp&client_secret=top-secret"), "invalid_request"),
        (scope("admin"), "invalid_scope"),
        (scope("events.write"), "invalid_scope"),
        (scope("ssf.read+nonsense"), "invalid_scope"),
    ] {
        let answer = world.ask_for_token(&basic("rp"), &form).await;
        assert_eq!(answer.is_answer(400)["error"], error, "{form}");
    }
    let json = world.send_as(http::Method::POST, "", "/oauth/token", "application/json", "{}").await;
    assert_eq!(json.is_answer(400)["error"], "invalid_request");
}

/// Who asks is not known yet: nothing that it sends may cost us much.
#[tokio::test]
async fn a_form_is_no_longer_than_it_has_to_be() {
    let world = World::new().await;
    let many: Vec<String> = (0..10_000).map(|name| format!("{name:x}")).collect();
    let answer = world.ask_for_token(&basic("rp"), &format!("{GRANT}&{}", many.join("&"))).await;
    assert_eq!(answer.is_answer(200)["scope"], "ssf.manage", "what is not known is skipped");
    let answer = world.ask_for_token(&basic("rp"), &format!("{GRANT}&long={}", "x".repeat(64 * 1024))).await;
    let problem = answer.is_problem(413, "invalid_request");
    assert_eq!(problem["detail"], "the body must not be longer than 65536 bytes");
}

// finding: B22
#[tokio::test]
async fn a_secret_may_have_a_plus_sign_however_it_is_sent() {
    const SECRET: &str = "a+b c%41/==";
    let world = World::with_clients(|config| {
        for client in &mut config.clients {
            if client.id == "rp" {
                client.secret = Some(SECRET.to_owned());
            }
        }
    })
    .await;
    let basic = |secret: &str| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("rp:{secret}")))
    };
    for (sent, status) in [
        // As RFC 6749 section 2.3.1 has it, where a plus sign is a space; and as it is, which many clients send.
        ("a%2Bb+c%2541%2F%3D%3D", 200),
        ("a%2Bb%20c%2541%2f%3d%3d", 200),
        (SECRET, 200),
        ("a b c%2541/==", 401),
        ("a+b+c%41/==", 401),
    ] {
        assert_eq!(world.ask_for_token(&basic(sent), GRANT).await.status, status, "{sent}");
    }
}

// finding: B22
#[tokio::test]
async fn a_resource_may_be_named_more_than_once() {
    let world = World::new().await;
    let ask = async |resources: &[&str]| {
        let named: String = resources.iter().map(|one| format!("&resource={one}")).collect();
        world.ask_for_token(&basic("rp"), &format!("{GRANT}{named}")).await
    };
    for ours in [
        &["https://tr.example"][..],
        &["https://tr.example/", "https://tr.example/tenant-a"],
        &["https://tr.example/tenant-a/ssf/stream", "https://tr.example/tenant-a/ssf/stream"],
        &[""],
    ] {
        ask(ours).await.is_answer(200);
    }
    for foreign in [
        &["https://elsewhere.example"][..],
        &["https://tr.example", "https://elsewhere.example"],
        &["https://tr.example.evil.example"],
        &["https://tr.example/%23part"],
        &["tr.example"],
        &["%0D%0A"],
    ] {
        let told = ask(foreign).await.is_answer(400);
        assert_eq!(told["error"], "invalid_target", "{foreign:?}");
    }
}

// finding: B22
#[tokio::test]
async fn a_request_comes_from_one_client() {
    use axum::body::Body;
    use http::{Method, Request};
    let world = World::new().await;
    for (client, status) in [("rp", 200), ("other", 400), ("nobody", 400)] {
        let answer = world.ask_for_token(&basic("rp"), &format!("{GRANT}&client_id={client}")).await;
        assert_eq!(answer.status, status, "{client}");
        if status == 400 {
            assert_eq!(answer.is_answer(400)["error"], "invalid_request");
        }
    }
    let twice = |method: Method, path: &str, values: [&str; 2], body: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8081");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request =
            values.into_iter().fold(request, |request, value| request.header("authorization", value));
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let request = twice(Method::POST, "/oauth/token", [&basic("rp"), &basic("other")], GRANT);
    assert_eq!(world.call(request).await.is_answer(400)["error"], "invalid_request");
    let token = format!("Bearer {}", world.token("rp").await);
    for path in ["/ssf/stream", "/tenant-a/events"] {
        let method = if path == "/ssf/stream" { Method::GET } else { Method::POST };
        let request = twice(method, path, [&token, "Bearer other"], "");
        world.call(request).await.is_problem(400, "invalid_request");
    }
    let local = format!("Bearer {}", crate::world::LOCAL);
    let request = twice(Method::GET, "/admin/v1/streams", [&local, &token], "");
    world.call_admin(request).await.is_problem(400, "invalid_request");
}

// spec: INTEROP-23
#[tokio::test]
async fn a_token_can_be_asked_to_do_less_and_does_no_more() {
    let world = World::new().await;
    for form in [GRANT.to_owned(), format!("{GRANT}&scope=")] {
        let all = world.ask_for_token(&basic("rp"), &form).await.json();
        assert_eq!(all["scope"], "ssf.manage", "{form}");
    }
    let less = world.ask_for_token(&basic("rp"), &format!("{GRANT}&scope=ssf.read")).await.json();
    assert_eq!(less["scope"], "ssf.read");
    let token = less["access_token"].as_str().unwrap();
    world.get(token, "/tenant-a/ssf/stream").await.is_answer(200);
    let answer = world.post(token, "/tenant-a/ssf/stream", &json!({})).await;
    answer.is_problem(403, "access_denied");
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer error=\"insufficient_scope\", scope=\"ssf.manage\"")
    );
}
