//! The client's side of stream management, on its own.

use crate::transmitter::{
    FakeTransmitter, ISSUER, SESSION_REVOKED, authorization_of, json_answer, status, with_body,
};
use crate::world::PausedClock;
use secevent::Subject;
use secevent_receiver::{Answer, ClientError, Credentials, Peer, PushCredential, TransmitterClient};
use secevent_ssf::metadata::Placement;
use secevent_ssf::{
    Change, CreateStream, DeliveryRequest, Secret, Status, StreamId, UpdateStatus, UpdateStream, WellKnown,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

async fn client_of(transmitter: &FakeTransmitter, peer: &Peer) -> TransmitterClient {
    TransmitterClient::discover(peer, Arc::new(transmitter.clone()), PausedClock::start()).await.unwrap()
}

async fn client(transmitter: &FakeTransmitter) -> TransmitterClient {
    client_of(transmitter, &Peer::new(ISSUER.parse().unwrap())).await
}

fn poll_stream() -> CreateStream {
    CreateStream { delivery: Some(DeliveryRequest::poll()), ..CreateStream::default() }
}

fn last(transmitter: &FakeTransmitter, path: &str) -> (String, Option<String>, Value) {
    let request = transmitter.requests(path).pop().unwrap();
    let body = serde_json::from_slice(request.body()).unwrap_or_default();
    (request.method().to_string(), request.uri().query().map(str::to_owned), body)
}

// spec: SSF-102, SSF-117
#[tokio::test(start_paused = true)]
async fn a_stream_from_beginning_to_end() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let created = client.create(&poll_stream()).await.unwrap();
    let id = &created.stream_id;
    assert_eq!(client.read(id).await.unwrap(), created);
    assert_eq!(
        last(&transmitter, "/odd/streams").1.as_deref(),
        Some("v=1&stream_id=s1"),
        "the query is added to"
    );
    assert_eq!(client.list().await.unwrap(), std::slice::from_ref(&created));

    let mut update = UpdateStream::new(id.clone());
    update.description = Change::Set("mine".to_owned());
    let Answer::Done(updated) = client.update(&update).await.unwrap() else { panic!() };
    assert_eq!(updated.description.as_deref(), Some("mine"));
    let (method, _, body) = last(&transmitter, "/odd/streams");
    assert_eq!((method.as_str(), body), ("PATCH", json!({"stream_id": "s1", "description": "mine"})));

    client.delete(id).await.unwrap();
    let (method, query, _) = last(&transmitter, "/odd/streams");
    assert_eq!((method.as_str(), query.as_deref()), ("DELETE", Some("v=1&stream_id=s1")));
    assert_eq!(client.read(id).await.unwrap_err().status().unwrap(), 404);
    assert_eq!(client.list().await.unwrap(), []);
}

// spec: SSF-129, SSF-131, SSF-139, SSF-143, SSF-146
#[tokio::test(start_paused = true)]
async fn status_subjects_and_verification() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let id: StreamId = "s1".parse().unwrap();
    assert_eq!(client.status(&id).await.unwrap().status, Status::Enabled);

    let update =
        UpdateStatus { stream_id: id.clone(), status: Status::Paused, reason: Some("night".to_owned()) };
    let Answer::Done(now) = client.set_status(&update).await.unwrap() else { panic!() };
    assert_eq!(now.status, Status::Paused);
    let (method, _, body) = last(&transmitter, "/odd/status");
    assert_eq!(method, "POST");
    assert_eq!(body, json!({"stream_id": "s1", "status": "paused", "reason": "night"}));
    transmitter.script("/odd/status", Ok(status(202)));
    assert_eq!(client.set_status(&update).await.unwrap(), Answer::Pending);

    let alice = Subject::email("alice@example.com").unwrap();
    for code in [200, 201, 204] {
        transmitter.script("/odd/add", Ok(status(code)));
        client.add_subject(&id, &alice, false).await.unwrap();
    }
    let subject = json!({"format": "email", "email": "alice@example.com"});
    let (_, _, body) = last(&transmitter, "/odd/add");
    assert_eq!(body, json!({"stream_id": "s1", "subject": subject, "verified": false}));
    client.remove_subject(&id, &alice).await.unwrap();
    assert_eq!(last(&transmitter, "/odd/remove").2, json!({"stream_id": "s1", "subject": subject}));
    transmitter.state().answers_verification = false;
    client.verify(&id, None).await.unwrap();
    assert_eq!(last(&transmitter, "/odd/verify").2, json!({"stream_id": "s1"}));
}

// spec: SSF-121
#[tokio::test(start_paused = true)]
async fn the_status_of_a_stream_is_read() {
    let transmitter = FakeTransmitter::new();
    let status = client(&transmitter).await.status(&StreamId::foreign("s 1").unwrap()).await;
    assert_eq!(status.unwrap().status, Status::Enabled);
    let (method, query, _) = last(&transmitter, "/odd/status");
    assert_eq!((method.as_str(), query.as_deref()), ("GET", Some("stream_id=s%201")));
}

// spec: LEGACY-31
#[tokio::test(start_paused = true)]
async fn every_success_is_one() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let id: StreamId = "s1".parse().unwrap();
    for code in [200, 201, 202, 204] {
        transmitter.script("/odd/streams", Ok(status(code)));
        client.delete(&id).await.unwrap();
        transmitter.script("/odd/verify", Ok(status(code)));
        client.verify(&id, Some("x")).await.unwrap();
    }
    let stream = client.create(&poll_stream()).await.unwrap();
    for code in [200, 201] {
        transmitter.state().streams.clear();
        let body = json_answer(code, &serde_json::to_value(&stream).unwrap());
        transmitter.script("/odd/streams", Ok(body));
        assert_eq!(client.create(&poll_stream()).await.unwrap(), stream);
    }
}

// spec: SSF-100, SSF-110
#[tokio::test(start_paused = true)]
async fn no_answer_of_another_issuer_is_used() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let stream = client.create(&poll_stream()).await.unwrap();
    let id = stream.stream_id;
    transmitter.state().streams.get_mut("s1").unwrap()["iss"] = json!("https://other.example");
    assert!(matches!(client.read(&id).await, Err(ClientError::Issuer(_))));
    assert!(matches!(client.update(&UpdateStream::new(id)).await, Err(ClientError::Issuer(_))));
}

#[tokio::test(start_paused = true)]
async fn decisions_are_made_on_the_status_alone() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    for (code, body) in [
        (400, "<html>\u{1b}[31m"),
        (401, r#"{"err":"ok"}"#),
        (403, ""),
        (429, "{"),
        (302, "moved"),
        (500, &"x".repeat(10_000)),
    ] {
        transmitter.script("/odd/streams", Ok(with_body(code, body)));
        let error = client.list().await.unwrap_err();
        assert_eq!(error.status().unwrap(), code);
        assert!(error.to_string().len() < 400 && !error.to_string().contains('\u{1b}'), "{error}");
    }
}

/// What pushes are to carry gets into no error, in whatever form the transmitter repeats it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_repeats_the_credential_of_pushes_is_not_shown() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let secret = secevent_ssf::delivery::authorization("Bearer x7/of-ours").unwrap();
    let delivery = DeliveryRequest::push("https://rp.example/a".parse().unwrap(), Some(secret));
    let create = CreateStream { delivery: Some(delivery), ..CreateStream::default() };
    for said in ["Bearer x7/of-ours", "x7/of-ours", "x7\\/of-ours"] {
        let body = format!(r#"{{"err":"invalid","description":"{said} is no token"}}"#);
        transmitter.script("/odd/streams", Ok(with_body(400, &body)));
        let error = client.create(&create).await.unwrap_err();
        assert_eq!(error.status().unwrap(), 400);
        assert!(!format!("{error} {error:?}").contains("of-ours"), "{error}");
    }
}

// spec: SSF-92
#[tokio::test(start_paused = true)]
async fn a_stream_that_exists_is_taken_over() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let push = |url: &str| DeliveryRequest::push(url.parse().unwrap(), None);
    transmitter.state().streams_max = 2;
    for url in ["https://rp.example/a", "https://rp.example/b"] {
        client.create(&CreateStream { delivery: Some(push(url)), ..CreateStream::default() }).await.unwrap();
    }
    let wanted = CreateStream {
        delivery: Some(push("https://rp.example/b")),
        events_requested: Some(vec![SESSION_REVOKED.to_owned()]),
        ..CreateStream::default()
    };
    assert_eq!(client.create(&wanted).await.unwrap_err().status().unwrap(), 409);
    let adopted = client.create_or_adopt(&wanted, PushCredential::Compare).await.unwrap();
    assert_eq!(adopted.stream_id.as_str(), "s2", "the one with the same delivery");
    assert_eq!(adopted.events_delivered, [SESSION_REVOKED]);

    let elsewhere = CreateStream { delivery: Some(push("https://rp.example/c")), ..CreateStream::default() };
    let error = client.create_or_adopt(&elsewhere, PushCredential::Compare).await.unwrap_err();
    assert_eq!(error, ClientError::Ambiguous { streams: 2 });
    client.delete(&"s1".parse().unwrap()).await.unwrap();
    transmitter.state().streams_max = 1;
    let adopted = client.create_or_adopt(&elsewhere, PushCredential::Compare).await.unwrap();
    assert_eq!(adopted.delivery.endpoint_url.as_str(), "https://rp.example/c", "the only one");
}

// spec: LEGACY-16
#[tokio::test(start_paused = true)]
async fn older_places_of_metadata_are_found_where_a_peer_is_known_for_them() {
    let transmitter = FakeTransmitter::new();
    let metadata =
        json!({"issuer": "https://accounts.google.com/", "jwks_uri": "https://accounts.google.com/jwks"});
    transmitter.script("/.well-known/risc-configuration", Ok(json_answer(200, &metadata)));
    let mut peer = Peer::new("https://accounts.google.com/".parse().unwrap());
    peer.well_known = WellKnown::Risc;
    peer.placement = Placement::Inserted;
    let client = client_of(&transmitter, &peer).await;
    assert_eq!(client.metadata().issuer.as_str(), "https://accounts.google.com/");
    assert_eq!(client.list().await.unwrap_err(), ClientError::NoEndpoint("configuration_endpoint"));
}

// spec: SSF-49
#[tokio::test(start_paused = true)]
async fn issuers_are_https() {
    assert!("http://tr.example".parse::<secevent::Issuer>().is_err());
}

#[tokio::test(start_paused = true)]
async fn access_tokens_are_fetched_kept_and_renewed() {
    let transmitter = FakeTransmitter::new();
    let mut peer = Peer::new(ISSUER.parse().unwrap());
    peer.credentials = Credentials::ClientCredentials {
        token_endpoint: "https://tr.example/odd/token".parse().unwrap(),
        client_id: "us & them".to_owned(),
        secret: Secret::new("p:w".to_owned()),
        scope: Some("ssf.manage ssf.read".to_owned()),
    };
    assert!(!format!("{peer:?}").contains("p:w"));
    let client = client_of(&transmitter, &peer).await;
    assert_eq!(authorization_of(&transmitter.requests("/.well-known/ssf-configuration")[0]), None);
    for _ in 0..3 {
        client.list().await.unwrap();
    }
    let asked = transmitter.requests("/odd/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(&asked[0].body()[..], b"grant_type=client_credentials&scope=ssf.manage+ssf.read");
    assert_eq!(authorization_of(&asked[0]), Some("Basic dXMrJTI2K3RoZW06cCUzQXc="));
    let bearers = || -> Vec<String> {
        let requests = transmitter.requests("/odd/streams");
        requests.iter().map(|request| authorization_of(request).unwrap().to_owned()).collect()
    };
    assert_eq!(bearers().last().unwrap(), "Bearer token-1");

    transmitter.script("/odd/streams", Ok(status(401)));
    client.list().await.unwrap();
    assert_eq!(bearers().last().unwrap(), "Bearer token-2", "one that is refused is renewed once");
    for _ in 0..2 {
        transmitter.script("/odd/streams", Ok(with_body(401, "no: token-3")));
    }
    let error = client.list().await.unwrap_err();
    assert_eq!(error.status().unwrap(), 401);
    assert!(!error.to_string().contains("token-3"), "{error}");

    let given = transmitter.requests("/odd/token").len();
    tokio::time::advance(Duration::from_secs(569)).await;
    client.list().await.unwrap();
    assert_eq!(transmitter.requests("/odd/token").len(), given);
    tokio::time::advance(Duration::from_secs(1)).await;
    client.list().await.unwrap();
    assert_eq!(transmitter.requests("/odd/token").len(), given + 1, "before it ends");

    tokio::time::advance(Duration::from_secs(600)).await;
    transmitter.script("/odd/token", Ok(with_body(400, r#"{"error":"invalid_client"}"#)));
    assert!(matches!(client.list().await.unwrap_err(), ClientError::NoToken(_)));
}

// finding: A1
#[tokio::test(start_paused = true)]
async fn adopting_takes_what_is_there_where_many_streams_are_allowed() {
    let transmitter = FakeTransmitter::new();
    transmitter.state().streams_max = 9;
    let client = client(&transmitter).await;
    let wanted = |description: &str| CreateStream {
        events_requested: Some(vec![SESSION_REVOKED.to_owned()]),
        description: Some(description.to_owned()),
        ..poll_stream()
    };
    client.create(&wanted("other")).await.unwrap();
    client.create(&wanted("mine")).await.unwrap();
    let made = transmitter.changes().len();
    for _ in 0..2 {
        let adopted = client.create_or_adopt(&wanted("mine"), PushCredential::Compare).await.unwrap();
        assert_eq!(adopted.stream_id.as_str(), "s2", "the most similar one");
    }
    assert_eq!(transmitter.changes().len(), made, "nothing had to be changed");
    let adopted = client.create_or_adopt(&wanted("new words"), PushCredential::Compare).await.unwrap();
    assert_eq!((adopted.stream_id.as_str(), adopted.description.as_deref()), ("s1", Some("new words")));
    assert_eq!(transmitter.state().streams.len(), 2);

    // What pushes carry is not shown, and is sent where that is wished for.
    let secret = secevent_ssf::delivery::authorization("Bearer x7").unwrap();
    let delivery = DeliveryRequest::push("https://rp.example/a".parse().unwrap(), Some(secret));
    let push = CreateStream { delivery: Some(delivery), ..CreateStream::default() };
    client.create_or_adopt(&push, PushCredential::Compare).await.unwrap();
    let made = transmitter.changes().len();
    client.create_or_adopt(&push, PushCredential::Compare).await.unwrap();
    assert_eq!(transmitter.changes().len(), made);
    client.create_or_adopt(&push, PushCredential::Send).await.unwrap();
    let (method, sent) = transmitter.changes().pop().unwrap();
    assert_eq!((method.as_str(), &sent["delivery"]["authorization_header"]), ("PATCH", &json!("Bearer x7")));
}

// finding: A1
#[tokio::test(start_paused = true)]
async fn a_transmitter_that_does_not_list_gets_a_new_stream() {
    for code in [400, 404, 405, 501] {
        let transmitter = FakeTransmitter::new();
        let client = client(&transmitter).await;
        transmitter.script("/odd/streams", Ok(status(code)));
        client.create_or_adopt(&poll_stream(), PushCredential::Compare).await.unwrap();
        assert_eq!(transmitter.state().streams.len(), 1, "{code}");
    }
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    transmitter.script("/odd/streams", Ok(status(503)));
    assert!(client.create_or_adopt(&poll_stream(), PushCredential::Compare).await.is_err());
    assert!(transmitter.state().streams.is_empty(), "who does not know makes none");
}

/// The list of Keycloak 26.7 when one of its polled streams has lost its `endpoint_url`.
// finding: A14
#[tokio::test(start_paused = true)]
async fn one_bad_entry_does_not_hide_the_others() {
    let transmitter = FakeTransmitter::new();
    let client = client(&transmitter).await;
    let good = client.create(&poll_stream()).await.unwrap();
    let mut bad = serde_json::to_value(&good).unwrap();
    bad["stream_id"] = json!("a6b0082a-8078-464c-82e2-ae6eca28c08f");
    bad["delivery"].as_object_mut().unwrap().remove("endpoint_url");
    let list = json!([bad, good, 7]);
    for _ in 0..2 {
        transmitter.script("/odd/streams", Ok(json_answer(200, &list)));
    }
    assert_eq!(client.list().await.unwrap(), std::slice::from_ref(&good));
    let each = client.list_each().await.unwrap();
    assert_eq!(each[1].as_ref().unwrap(), &good);
    let unreadable = each[0].as_ref().unwrap_err();
    assert_eq!(unreadable.stream_id.as_deref(), bad["stream_id"].as_str());
    assert_eq!(
        (unreadable.breach.member(), unreadable.breach.rule()),
        ("[0].delivery.endpoint_url", "SSF-40")
    );
    assert_eq!(each[2].as_ref().unwrap_err().stream_id, None);
}

// finding: A6
#[tokio::test(start_paused = true)]
async fn the_scope_that_was_asked_for_and_the_one_that_was_given_are_known() {
    let transmitter = FakeTransmitter::new();
    let mut peer = Peer::new(ISSUER.parse().unwrap());
    peer.credentials = Credentials::ClientCredentials {
        token_endpoint: "https://tr.example/odd/token".parse().unwrap(),
        client_id: "rx-none".to_owned(),
        secret: Secret::new("p:w".to_owned()),
        scope: Some("ssf.manage ssf.read".to_owned()),
    };
    let client = client_of(&transmitter, &peer).await;
    // Keycloak answers a scope that it does not know so.
    let body = r#"{"error":"invalid_scope","error_description":"Invalid scopes: ssf.manage ssf.read"}"#;
    transmitter.script("/odd/token", Ok(with_body(400, body)));
    let error = client.list().await.unwrap_err().to_string();
    assert!(error.contains(r#"invalid_scope, asked for scope "ssf.manage ssf.read""#), "{error}");
    assert_eq!(client.granted_scope(), None);
    let token = json!({"access_token": "t", "token_type": "Bearer", "scope": "profile email"});
    transmitter.script("/odd/token", Ok(json_answer(200, &token)));
    client.list().await.unwrap();
    assert_eq!(client.granted_scope().as_deref(), Some("profile email"));
}
