//! Transmitters of other makes: where they are found, where their tokens are given, and what they answer.

use crate::transmitter::{
    FakeTransmitter, ISSUER, SESSION_REVOKED, authorization_of, json_answer, status, with_body,
};
use crate::world::PausedClock;
use secevent_jose::{Algorithm, Compact, IssuerKeys, JwkSet, Signer, SigningKey, TypRule};
use secevent_receiver::{
    Answer, AuthorizationServer, ClientError, Credentials, Discovery, Peer, Purpose, PushCredential,
    TransmitterClient,
};
use secevent_ssf::metadata::Placement;
use secevent_ssf::poll::PollRequest;
use secevent_ssf::{
    CreateStream, DeliveryRequest, ReplaceStream, Secret, Status, Tolerance, UpdateStatus, WellKnown,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

fn peer(issuer: &str, legacy: bool) -> Peer {
    let mut peer = Peer::new(issuer.parse().unwrap());
    peer.tolerance.legacy = legacy;
    peer
}

fn metadata(issuer: &str) -> Value {
    json!({"issuer": issuer, "configuration_endpoint": format!("{issuer}/odd/streams"), "own": {"x": [1]}})
}

async fn client(transmitter: &FakeTransmitter, peer: &Peer) -> TransmitterClient {
    TransmitterClient::discover(peer, Arc::new(transmitter.clone()), PausedClock::start()).await.unwrap()
}

// spec: LEGACY-06, LEGACY-16, LEGACY-27
#[tokio::test(start_paused = true)]
async fn an_old_transmitter_is_found_under_old_names_by_those_who_ask_for_it() {
    let issuer = "https://tr.example/realms/a";
    let place = "/realms/a/.well-known/sse-configuration";
    let transmitter = FakeTransmitter::new();
    let elsewhere =
        ClientError::status(&Discovery::of(&peer(issuer, false), &transmitter).await.unwrap_err());
    assert_eq!(elsewhere.unwrap(), 404);
    assert_eq!(transmitter.requests(place).len(), 0, "a strict peer is looked for in one place");

    // A web site that answers everything with its front page is no transmitter, nor is somebody else's document.
    transmitter.script("/.well-known/ssf-configuration/realms/a", Ok(with_body(200, "<html>")));
    let other = json_answer(200, &metadata("https://other.example"));
    transmitter.script("/realms/a/.well-known/ssf-configuration", Ok(other));
    transmitter.script(place, Ok(json_answer(200, &metadata(issuer))));
    let found = Discovery::of(&peer(issuer, true), &transmitter).await.unwrap();
    assert_eq!(found.url, format!("https://tr.example{place}"));
    assert_eq!((found.peer.well_known, found.peer.placement), (WellKnown::Sse, Placement::Appended));
    let document: Value = serde_json::from_slice(&found.document).unwrap();
    assert_eq!(document, metadata(issuer), "with what nobody here knows");

    let nowhere = Discovery::of(&peer(issuer, true), &transmitter).await.unwrap_err();
    assert_eq!(nowhere.status().unwrap(), 404);
}

// spec: SSF-48
#[tokio::test(start_paused = true)]
async fn an_address_of_its_own_is_taken_as_it_is() {
    let transmitter = FakeTransmitter::new();
    let mut peer = peer(ISSUER, false);
    peer.metadata_at = Some("https://conf.example/.well-known/v1/ssf-configuration/7/".parse().unwrap());
    let place = "/.well-known/v1/ssf-configuration/7/";
    transmitter.script(place, Ok(json_answer(200, &metadata(ISSUER))));
    assert_eq!(Discovery::of(&peer, &transmitter).await.unwrap().metadata.issuer.as_str(), ISSUER);
    transmitter.script(place, Ok(json_answer(200, &metadata("https://other.example"))));
    let other = Discovery::of(&peer, &transmitter).await.unwrap_err();
    assert!(matches!(other, ClientError::Issuer(_)), "{other}");
}

/// Which documents there are, and which token endpoint follows from them.
// spec: INTEROP-22
#[tokio::test(start_paused = true)]
async fn where_access_tokens_are_given() {
    const RESOURCE: &str = "/.well-known/oauth-protected-resource";
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let resource = |name: &str, server: &str| {
        let scopes = ["ssf.read", "ssf.manage", "other"];
        json!({"resource": name, "authorization_servers": [server], "scopes_supported": scopes})
    };
    let server = |issuer: &str| json!({"issuer": issuer, "token_endpoint": format!("{issuer}/t"), "token_endpoint_auth_methods_supported": ["private_key_jwt"]});
    let streams = format!("{ISSUER}/odd/streams?v=1");
    for (documents, expected) in [
        (
            vec![(RESOURCE, resource(ISSUER, "https://as.example")), (OAUTH, server("https://as.example"))],
            Some("https://as.example/t"),
        ),
        // The resource may be the configuration endpoint.
        (
            vec![
                (
                    "/.well-known/oauth-protected-resource/odd/streams",
                    resource(&streams, "https://as.example"),
                ),
                (OPENID, server("https://as.example")),
            ],
            Some("https://as.example/t"),
        ),
        // An identity provider is its own authorization server.
        (vec![(OPENID, server(ISSUER))], Some("https://tr.example/t")),
        (vec![(OAUTH, server(ISSUER))], Some("https://tr.example/t")),
        // What speaks for somebody else does not count.
        (
            vec![
                (RESOURCE, resource("https://other.example", "https://as.example")),
                (OAUTH, server("https://as.example")),
            ],
            None,
        ),
        (
            vec![(RESOURCE, resource(ISSUER, "https://as.example")), (OAUTH, server("https://evil.example"))],
            None,
        ),
        (vec![(OAUTH, json!({"issuer": ISSUER}))], None),
        (vec![], None),
    ] {
        let transmitter = FakeTransmitter::new();
        let metadata = Discovery::of(&peer(ISSUER, false), &transmitter).await.unwrap().metadata;
        for (path, document) in &documents {
            transmitter.script(path, Ok(json_answer(200, document)));
        }
        let found = AuthorizationServer::of(&metadata, Tolerance::NONE, &transmitter).await;
        let endpoint = found.as_ref().ok().map(|found| found.token_endpoint.as_str());
        assert_eq!(endpoint, expected, "{documents:?} {found:?}");
        let Ok(found) = found else { continue };
        assert_eq!(found.client_authentication, ["private_key_jwt"]);
        let told = documents.len() == 2;
        assert_eq!(found.scopes, if told { vec!["ssf.read", "ssf.manage", "other"] } else { vec![] });
    }
}

/// The scopes of the resource count, then those of the server, and then those of the profile (E-83).
// finding: A6
#[tokio::test(start_paused = true)]
async fn which_scope_is_asked_for() {
    const RESOURCE: &str = "/.well-known/oauth-protected-resource";
    const OPENID: &str = "/.well-known/openid-configuration";
    // As Keycloak 26.7 has them; it has no document of RFC 9728.
    let keycloak =
        json!(["openid", "address", "ssf.manage", "basic", "service_account", "ssf.read", "email"]);
    for (resource, server, read, manage) in [
        (None, keycloak, "ssf.read", "ssf.manage ssf.read"),
        (None, json!(["openid"]), "ssf.read", "ssf.manage ssf.read"),
        (None, Value::Null, "ssf.read", "ssf.manage ssf.read"),
        (None, json!(["ssf.manage"]), "ssf.manage", "ssf.manage"),
        (Some(json!(["ssf.read"])), json!(["ssf.manage"]), "ssf.read", "ssf.read"),
        (Some(json!(["ssf.manage", "ssf.read"])), Value::Null, "ssf.read", "ssf.manage ssf.read"),
        (Some(json!(["other"])), json!(["ssf.read"]), "ssf.read", "ssf.read"),
        (Some(json!([])), Value::Null, "ssf.read", "ssf.manage ssf.read"),
    ] {
        let transmitter = FakeTransmitter::new();
        let metadata = Discovery::of(&peer(ISSUER, false), &transmitter).await.unwrap().metadata;
        let told = format!("{resource:?} {server}");
        if let Some(scopes) = resource {
            let document =
                json!({"resource": ISSUER, "authorization_servers": [ISSUER], "scopes_supported": scopes});
            transmitter.script(RESOURCE, Ok(json_answer(200, &document)));
        }
        let mut document = json!({"issuer": ISSUER, "token_endpoint": "https://tr.example/t"});
        if !server.is_null() {
            document["scopes_supported"] = server;
        }
        transmitter.script(OPENID, Ok(json_answer(200, &document)));
        let found = AuthorizationServer::of(&metadata, Tolerance::NONE, &transmitter).await.unwrap();
        assert_eq!(found.scope_for(Purpose::Read), read, "{told}");
        assert_eq!(found.scope_for(Purpose::Manage), manage, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_proves_itself_in_the_way_that_the_server_knows() {
    let transmitter = FakeTransmitter::new();
    let token_endpoint: secevent_ssf::Endpoint = "https://tr.example/odd/token".parse().unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let public = IssuerKeys::new("rp 1", JwkSet::new([key.public().clone()]));
    let (client_id, scope) = ("rp 1".to_owned(), Some("ssf.read".to_owned()));
    for (credentials, expected) in [
        (
            Credentials::ClientSecretPost {
                token_endpoint: token_endpoint.clone(),
                client_id: client_id.clone(),
                secret: Secret::new("a&b".to_owned()),
                scope: scope.clone(),
            },
            "client_secret=a%26b",
        ),
        (
            Credentials::ClientAssertion {
                token_endpoint: token_endpoint.clone(),
                client_id,
                key: Arc::new(Signer::new(key, "JWT")),
                scope,
            },
            "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        ),
    ] {
        let mut peer = peer(ISSUER, false);
        peer.credentials = credentials;
        let client = client(&transmitter, &peer).await;
        client.list().await.unwrap();
        let request = transmitter.requests("/odd/token").pop().unwrap();
        assert_eq!(authorization_of(&request), None);
        let form = String::from_utf8(request.body().to_vec()).unwrap();
        assert!(form.starts_with("grant_type=client_credentials&client_id=rp+1&"), "{form}");
        assert!(form.contains(expected) && form.ends_with("&scope=ssf.read"), "{form}");
        let pairs: HashMap<&str, &str> = form.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let Some(assertion) = pairs.get("client_assertion") else { continue };
        let compact = Compact::parse(*assertion).unwrap();
        let verified = public.verify(&compact, TypRule::from(secevent::Profile::Legacy)).unwrap();
        let claims: Value = serde_json::from_slice(verified.payload()).unwrap();
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("rp 1"), &json!("rp 1")));
        assert_eq!(claims["aud"], "https://tr.example/odd/token");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        assert!(claims["jti"].as_str().unwrap().len() > 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_of_the_transmitters_own_choosing_is_sent_and_not_told() {
    let transmitter = FakeTransmitter::new();
    let mut peer = peer(ISSUER, false);
    let (name, value) = ("x-api-key".parse().unwrap(), Secret::new("key-of-ours".parse().unwrap()));
    peer.credentials = Credentials::Header { name, value };
    let client = client(&transmitter, &peer).await;
    client.list().await.unwrap();
    let request = transmitter.requests("/odd/streams").pop().unwrap();
    assert_eq!(request.headers()["x-api-key"], "key-of-ours");
    transmitter.script("/odd/streams", Ok(with_body(403, "key-of-ours is not known")));
    let refused = client.list().await.unwrap_err();
    assert_eq!(refused.status().unwrap(), 403);
    assert!(!format!("{refused} {refused:?} {client:?}").contains("key-of-ours"));
}

// spec: SSF-111, SSF-112
#[tokio::test(start_paused = true)]
async fn a_stream_is_replaced_and_polled() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter, &peer(ISSUER, false)).await;
    let create = CreateStream { delivery: Some(DeliveryRequest::poll()), ..CreateStream::default() };
    let stream = client.create(&create).await.unwrap();
    let replace = ReplaceStream {
        stream_id: stream.stream_id.clone(),
        delivery: None,
        events_requested: Some(vec![SESSION_REVOKED.to_owned()]),
        description: None,
        format: None,
        supplied: secevent_ssf::Supplied::default(),
    };
    transmitter.script("/odd/streams", Ok(status(202)));
    assert_eq!(client.replace(&replace).await.unwrap(), Answer::Pending);
    let request = transmitter.requests("/odd/streams").pop().unwrap();
    assert_eq!(request.method(), "PUT");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body, json!({"stream_id": "s1", "events_requested": [SESSION_REVOKED]}));

    transmitter.queue("j1", "a.b.c".to_owned());
    let patience = Duration::from_secs(60);
    let polled = client.poll(&stream, &PollRequest::default(), patience).await.unwrap();
    assert_eq!(polled.sets, [("j1".to_owned(), "a.b.c".to_owned())]);
    let ack = PollRequest::acknowledge_only(vec!["j1".to_owned()], Vec::new());
    assert_eq!(client.poll(&stream, &ack, patience).await.unwrap().sets, []);
    assert_eq!(transmitter.state().acked, ["j1"]);
}

// spec: LEGACY-09, LEGACY-22
#[tokio::test(start_paused = true)]
async fn a_transmitter_of_one_stream_has_a_list_of_one() {
    let transmitter = FakeTransmitter::new();
    let delivery = json!({"method": "urn:ietf:rfc:8936", "endpoint_url": "https://tr.example/odd/poll"});
    let only = json!({"iss": ISSUER, "aud": "x", "delivery": delivery, "events_delivered": []});
    for legacy in [true, false] {
        let client = client(&transmitter, &peer(ISSUER, legacy)).await;
        transmitter.script("/odd/streams", Ok(json_answer(200, &only)));
        let listed = client.list().await;
        assert_eq!(listed.as_ref().map_or(0, Vec::len), usize::from(legacy), "{listed:?}");
        transmitter.script("/odd/streams", Ok(status(404)));
        assert_eq!(client.list().await.is_ok(), legacy);
        transmitter.script("/odd/streams", Ok(status(202)));
        let created = client.create(&CreateStream::default()).await;
        assert_eq!(created, Err(ClientError::NotYet), "it may be there later");
    }
}

// spec: SSF-92
#[tokio::test(start_paused = true)]
async fn a_stream_is_adopted_from_a_transmitter_without_partial_changes() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter, &peer(ISSUER, false)).await;
    let create = CreateStream { delivery: Some(DeliveryRequest::poll()), ..CreateStream::default() };
    let there = client.create(&create).await.unwrap();
    let wish = CreateStream { description: Some("mine".to_owned()), ..create };
    let requested = Some(vec![SESSION_REVOKED.to_owned()]);
    let there = secevent_ssf::StreamConfiguration { events_requested: requested, ..there };
    let mine = secevent_ssf::StreamConfiguration { description: wish.description.clone(), ..there.clone() };
    let path = "/odd/streams";
    transmitter.script(path, Ok(json_answer(200, &json!([there]))));
    transmitter.script(path, Ok(json_answer(200, &json!(there))));
    transmitter.script(path, Ok(status(405)));
    transmitter.script(path, Ok(json_answer(200, &json!(mine))));
    assert_eq!(client.create_or_adopt(&wish, PushCredential::Compare).await.unwrap(), mine);
    let request = transmitter.requests(path).pop().unwrap();
    assert_eq!(request.method(), "PUT");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    // finding: A1. Without its URL the stream would lose it at some transmitters.
    let delivery = json!({"method": "urn:ietf:rfc:8936", "endpoint_url": "https://tr.example/odd/poll"});
    assert_eq!(
        body,
        json!({"stream_id": "s1", "delivery": delivery, "events_requested": [SESSION_REVOKED], "description": "mine"})
    );
}

/// What i2goSignals 0.11.1 answers: no `aud` where none was asked for, a credential of its own for polling, and the
/// stream is looked for in the query.
// finding: A10
#[tokio::test(start_paused = true)]
async fn i2gosignals_is_understood() {
    let transmitter = FakeTransmitter::new();
    let recorded = include_str!("../../../../specs/peers/i2goSignals-transmitter.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let (metadata, mut answer) = (&recorded["metadata"], recorded["create_answer"].clone());
    let issuer = metadata["issuer"].as_str().unwrap();
    transmitter.script("/.well-known/ssf-configuration", Ok(json_answer(200, metadata)));
    let mut peer = Peer::new(secevent::Issuer::parse_insecure(issuer).unwrap());
    peer.tolerance = Tolerance { legacy: true, plain_http: true };
    peer.credentials = Credentials::Bearer(Secret::new("token-of-management".to_owned()));
    let client = client(&transmitter, &peer).await;

    answer.as_object_mut().unwrap().remove("aud");
    let id = answer["stream_id"].as_str().unwrap().to_owned();
    let handed_out = answer["delivery"]["authorization_header"].as_str().unwrap().to_owned();
    let poll_path = format!("/poll/{id}");
    transmitter.script("/stream", Ok(json_answer(201, &answer)));
    let aud = secevent::Audience::Many(vec!["https://rx.example".to_owned()]);
    let create = CreateStream {
        supplied: secevent_ssf::Supplied { aud: Some(aud), ..secevent_ssf::Supplied::default() },
        ..CreateStream::default()
    };
    let stream = client.create(&create).await.unwrap();
    let sent = transmitter.requests("/stream").pop().unwrap();
    let sent: Value = serde_json::from_slice(sent.body()).unwrap();
    assert_eq!(sent["aud"], json!(["https://rx.example"]), "it takes arrays only");
    assert_eq!(stream.aud.iter().count(), 0);
    assert!(!stream.to_json().contains("\"aud\"") && !stream.to_json().contains(&handed_out));

    transmitter.script(&poll_path, Ok(json_answer(200, &recorded["poll_answer"])));
    let polled = client.poll(&stream, &PollRequest::default(), Duration::ZERO).await.unwrap();
    assert!(!polled.sets.is_empty());
    let request = transmitter.requests(&poll_path).pop().unwrap();
    assert_eq!(authorization_of(&request), Some(handed_out.as_str()));
    transmitter.script(&poll_path, Ok(with_body(401, &format!("{handed_out} is not known"))));
    let error = client.poll(&stream, &PollRequest::default(), Duration::ZERO).await.unwrap_err();
    assert!(!format!("{error} {client:?}").contains(&handed_out), "{error}");

    let query = format!("stream_id={id}");
    transmitter.script("/status", Ok(json_answer(200, &recorded["status_answer"])));
    let update = UpdateStatus { stream_id: stream.stream_id.clone(), status: Status::Enabled, reason: None };
    let Answer::Done(told) = client.set_status(&update).await.unwrap() else { panic!() };
    assert!(told.stream_id.is_implicit());
    transmitter.script("/verify", Ok(status(204)));
    client.verify(&stream.stream_id, None).await.unwrap();
    transmitter.script("/stream", Ok(json_answer(200, &answer)));
    let replace = ReplaceStream {
        stream_id: stream.stream_id.clone(),
        delivery: None,
        events_requested: None,
        description: None,
        format: None,
        supplied: secevent_ssf::Supplied::default(),
    };
    client.replace(&replace).await.unwrap();
    for path in ["/status", "/verify", "/stream"] {
        let request = transmitter.requests(path).pop().unwrap();
        assert_eq!(request.uri().query(), Some(query.as_str()), "{path}");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!((request.method() == "GET", &body["stream_id"]), (false, &json!(id)), "{path}");
    }

    // A transmitter of SSF 1.0 has no say in what its polls carry.
    let mut strict = peer;
    strict.tolerance.legacy = false;
    transmitter.script("/.well-known/ssf-configuration", Ok(json_answer(200, metadata)));
    let client = self::client(&transmitter, &strict).await;
    transmitter.script("/stream", Ok(json_answer(201, &answer)));
    assert!(matches!(client.create(&create).await, Err(ClientError::Malformed(_))), "no aud");
    transmitter.script("/stream", Ok(json_answer(201, &recorded["create_answer"])));
    let stream = client.create(&create).await.unwrap();
    transmitter.script(&poll_path, Ok(json_answer(200, &json!({"sets": {}}))));
    client.poll(&stream, &PollRequest::default(), Duration::ZERO).await.unwrap();
    let request = transmitter.requests(&poll_path).pop().unwrap();
    assert_eq!(authorization_of(&request), Some("Bearer token-of-management"));
}
