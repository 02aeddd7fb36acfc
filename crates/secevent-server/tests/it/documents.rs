//! What anybody may read: metadata and public keys.

use crate::world::{POLL, PUSH, World};
use http::Method;
use secevent_jose::{Algorithm, Compact};
use secevent_server::MetricsAccess;
use secevent_transmitter::{IssuerConfig, TransmitterConfig};
use serde_json::json;

// spec: SSF-42, SSF-43, SSF-44, SSF-45, SSF-56
#[tokio::test]
async fn each_issuer_has_its_metadata_where_the_standard_puts_it() {
    let world = World::new().await;
    for (path, base) in [("", "https://tr.example"), ("/tenant-a", "https://tr.example/tenant-a")] {
        let answer = world.get("", &format!("/.well-known/ssf-configuration{path}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(
            answer.json(),
            json!({
                "spec_version": "1_0",
                "issuer": base,
                "jwks_uri": format!("{base}/jwks.json"),
                "delivery_methods_supported": [PUSH, POLL],
                "configuration_endpoint": format!("{base}/ssf/stream"),
                "status_endpoint": format!("{base}/ssf/status"),
                "add_subject_endpoint": format!("{base}/ssf/subjects:add"),
                "remove_subject_endpoint": format!("{base}/ssf/subjects:remove"),
                "verification_endpoint": format!("{base}/ssf/verify"),
                "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
                "default_subjects": "ALL",
            })
        );
    }
}

// spec: INTEROP-04, INTEROP-05, INTEROP-11, SSF-55
#[tokio::test]
async fn the_metadata_has_what_the_interoperability_profile_asks_for() {
    let metadata = World::new().await.get("", "/.well-known/ssf-configuration").await.json();
    assert_eq!(metadata["spec_version"], "1_0");
    assert!(!metadata["delivery_methods_supported"].as_array().unwrap().is_empty());
    let oauth = json!({"spec_urn": "urn:ietf:rfc:6749"});
    assert!(metadata["authorization_schemes"].as_array().unwrap().contains(&oauth));
}

/// A server that is seen below a path, by a proxy say, has its authorization server there too.
#[tokio::test]
async fn the_token_endpoint_is_where_the_metadata_says() {
    let world =
        World::with_clients(|config| config.public_url = "https://tr.example/below/".to_owned()).await;
    let metadata = world.get("", "/.well-known/oauth-authorization-server/below").await;
    assert_eq!(metadata.status, 200, "{metadata:?}");
    let metadata = metadata.json();
    assert_eq!(metadata["issuer"], "https://tr.example/below");
    assert_eq!(metadata["token_endpoint"], "https://tr.example/below/oauth/token");
    let form = "application/x-www-form-urlencoded";
    let answer = world.send_as(Method::POST, "", "/below/oauth/token", form, "grant_type=nothing").await;
    assert_eq!(answer.is_answer(400)["error"], "unsupported_grant_type");
    world.get("", "/.well-known/oauth-authorization-server").await.is_problem(404, "not_found");
}

/// Paths of issuers may be called like what is served, and may have what means something to a router.
#[tokio::test]
async fn an_issuer_may_have_any_path() {
    let path = "/ssf-configuration/:tenant/*all";
    let another = |config: &mut TransmitterConfig| {
        let url = format!("https://tr.example{path}").parse().unwrap();
        config.issuers.push(IssuerConfig { algorithm: Algorithm::EdDsa, ..IssuerConfig::new(url) });
    };
    let world = World::with(another, MetricsAccess::Token).await;
    for document in ["ssf-configuration", "oauth-protected-resource"] {
        assert_eq!(world.get("", &format!("/.well-known/{document}{path}")).await.status, 200);
    }
    assert_eq!(world.get("", &format!("{path}/jwks.json")).await.status, 200);
    world.get("", "/ssf-configuration/other/all/jwks.json").await.is_problem(404, "not_found");
}

// spec: SSF-62
#[tokio::test]
async fn other_places_have_none() {
    let world = World::new().await;
    for path in [
        "/.well-known/ssf-configuration/tenant-b",
        "/tenant-a/.well-known/ssf-configuration",
        "/.well-known/ssf-configuration/tenant-a/",
        "/.well-known/risc-configuration",
        "/tenant-b/jwks.json",
        "/",
    ] {
        world.get("", path).await.is_problem(404, "not_found");
    }
}

// spec: SSF-51
#[tokio::test]
async fn the_keys_of_each_issuer_are_public_and_nothing_else_is() {
    let world = World::new().await;
    let mut kids = Vec::new();
    for path in ["/jwks.json", "/tenant-a/jwks.json"] {
        let keys = world.get("", path).await.json();
        let [key] = &keys["keys"].as_array().unwrap()[..] else { panic!("{keys}") };
        let members: Vec<&String> = key.as_object().unwrap().keys().collect();
        assert_eq!(members, ["kty", "crv", "x", "use", "alg", "kid"]);
        kids.push(key["kid"].as_str().unwrap().to_owned());
    }
    assert_ne!(kids[0], kids[1], "an issuer's keys are its own");
    let token = world.token("rp").await;
    let stream = world.stream(&token, "/tenant-a").await;
    let set = world.waiting(&token, "/tenant-a", &stream).await.remove(0);
    assert_eq!(Compact::parse(&set).unwrap().header().kid(), Some(&*kids[1]));
}

// spec: INTEROP-21
#[tokio::test]
async fn a_client_finds_its_way_to_a_token() {
    let world = World::new().await;
    for (path, resource) in [("", "https://tr.example"), ("/tenant-a", "https://tr.example/tenant-a")] {
        let answer = world.get("", &format!("/.well-known/oauth-protected-resource{path}")).await;
        assert_eq!(
            answer.json(),
            json!({
                "resource": resource,
                "authorization_servers": ["https://tr.example"],
                "scopes_supported": ["ssf.read", "ssf.manage", "events.write"],
                "bearer_methods_supported": ["header"],
            })
        );
    }
    let server = world.get("", "/.well-known/oauth-authorization-server").await;
    assert_eq!(
        server.json(),
        json!({
            "issuer": "https://tr.example",
            "token_endpoint": "https://tr.example/oauth/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported":
                ["RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
            "scopes_supported": ["ssf.read", "ssf.manage", "events.write", "admin"],
            "response_types_supported": [],
        })
    );
    let granted =
        world.ask_for_token(&crate::world::basic("rp"), "grant_type=client_credentials").await.json();
    assert!(granted["expires_in"].as_u64().unwrap() <= 3600);
}

#[tokio::test]
async fn a_verb_that_is_not_known_is_told_with_those_that_are() {
    let world = World::new().await;
    for (method, path, allowed) in [
        (Method::PUT, "/tenant-a/ssf/status", &["GET", "POST"][..]),
        (Method::GET, "/tenant-a/ssf/verify", &["POST"]),
        (Method::GET, "/tenant-a/ssf/subjects:add", &["POST"]),
        (Method::PUT, "/tenant-a/ssf/subjects:remove", &["POST"]),
        (Method::GET, "/tenant-a/events", &["POST"]),
        (Method::GET, "/oauth/token", &["POST"]),
        (Method::POST, "/tenant-a/jwks.json", &["GET"]),
    ] {
        let answer = world.send(method, "", path, "").await;
        answer.is_problem(405, "invalid_request");
        let told = answer.header("allow").unwrap();
        assert!(
            allowed.iter().all(|method| told.split(',').any(|one| one.trim() == *method)),
            "{path}: {told}"
        );
    }
}
