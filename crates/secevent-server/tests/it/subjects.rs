//! Subjects over HTTP: who is added and removed, what is answered, and to whom events are owed after it.

use crate::world::{POLL, SESSION_REVOKED, World};
use base64::Engine as _;
use http::Method;
use secevent_ssf::DefaultSubjects;
use secevent_store::{StoreError, Subjects as _};
use serde_json::{Value, json};

const ADD: &str = "/tenant-a/ssf/subjects:add";
const REMOVE: &str = "/tenant-a/ssf/subjects:remove";
const STREAM: &str = "/tenant-a/ssf/stream";

/// A receiver with a poll stream, and a producer.
struct Scene {
    world: World,
    receiver: String,
    producer: String,
    stream: Value,
}

impl Scene {
    async fn new(default: DefaultSubjects) -> Self {
        let all = |config: &mut secevent_transmitter::TransmitterConfig| {
            config.issuers.iter_mut().for_each(|issuer| issuer.default_subjects = default);
            config.subjects.per_stream_max = 3;
        };
        let world = World::with(all, secevent_server::MetricsAccess::Token).await;
        let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
        let stream = world.stream(&receiver, "/tenant-a").await;
        Self { world, receiver, producer, stream }
    }

    fn request(&self, subject: &Value) -> Value {
        json!({"stream_id": self.stream["stream_id"], "subject": subject})
    }

    async fn add(&self, subject: &Value) {
        self.world.post(&self.receiver, ADD, &self.request(subject)).await.is_empty(200);
    }

    async fn remove(&self, subject: &Value) {
        self.world.post(&self.receiver, REMOVE, &self.request(subject)).await.is_empty(204);
    }

    /// To how many streams an event about this is owed.
    async fn owed(&self, subject: &Value) -> u64 {
        let event = json!({"type": "caep:session-revoked", "subject": subject});
        let answer = self.world.post(&self.producer, "/tenant-a/events", &event).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["deliveries"].as_u64().unwrap()
    }
}

fn email(address: &str) -> Value {
    json!({"format": "email", "email": address})
}

fn opaque(id: &str) -> Value {
    json!({"format": "opaque", "id": id})
}

fn complex(members: &[(&str, Value)]) -> Value {
    let mut subject = json!({"format": "complex"});
    for (name, value) in members {
        subject[*name] = value.clone();
    }
    subject
}

/// An event accepted after the answer sees it (SEM-14), and arrives.
// spec: SSF-57, SSF-58, SSF-141, SSF-147, SSF-53
#[tokio::test]
async fn by_default_all_subjects_are_in_but_those_that_were_removed() {
    let scene = Scene::new(DefaultSubjects::All).await;
    let metadata = scene.world.get("", "/.well-known/ssf-configuration/tenant-a").await.json();
    assert_eq!(metadata["default_subjects"], "ALL");
    assert_eq!(metadata["add_subject_endpoint"], format!("https://tr.example{ADD}"));
    assert_eq!(metadata["remove_subject_endpoint"], format!("https://tr.example{REMOVE}"));
    let (alice, bob) = (email("alice@example.com"), email("bob@example.com"));
    assert_eq!(scene.owed(&alice).await, 1);
    scene.remove(&alice).await;
    assert_eq!((scene.owed(&alice).await, scene.owed(&bob).await), (0, 1));
    scene.add(&alice).await;
    assert_eq!(scene.owed(&alice).await, 1);
    let waiting = scene.world.waiting(&scene.receiver, "/tenant-a", &scene.stream).await;
    assert_eq!(waiting.len(), 3, "the verification of the new stream, and the first about each");
}

// spec: SSF-59, SSF-138
#[tokio::test]
async fn with_none_by_default_only_those_are_in_that_were_added() {
    let scene = Scene::new(DefaultSubjects::None).await;
    let metadata = scene.world.get("", "/.well-known/ssf-configuration/tenant-a").await.json();
    assert_eq!(metadata["default_subjects"], "NONE");
    let (alice, bob) = (email("alice@example.com"), email("bob@example.com"));
    assert_eq!(scene.owed(&alice).await, 0);
    scene.add(&alice).await;
    assert_eq!((scene.owed(&alice).await, scene.owed(&bob).await), (1, 0));
    let waiting = scene.world.waiting(&scene.receiver, "/tenant-a", &scene.stream).await;
    assert_eq!(waiting.len(), 2, "the verification, and alice");
    scene.remove(&alice).await;
    assert_eq!(scene.owed(&alice).await, 0);
}

/// Identical means identical; the spelling of JSON and of a phone number is no part of it (E-50, E-114).
// spec: SSF-134
#[tokio::test]
async fn simple_subjects_match_only_if_identical() {
    let scene = Scene::new(DefaultSubjects::None).await;
    scene.add(&email("alice@example.com")).await;
    for other in [
        email("Alice@example.com"),
        email("alice@EXAMPLE.com"),
        opaque("alice@example.com"),
        json!({"format": "account", "uri": "acct:alice@example.com"}),
        complex(&[("user", email("alice@example.com"))]),
    ] {
        assert_eq!(scene.owed(&other).await, 0, "{other}");
    }
    let id = scene.stream["stream_id"].as_str().unwrap();
    let spelled = format!(
        "{{ \"subject\": {{\"phone_number\": \"+1 206 555 0123\", \"extra\": 1, \"format\": \"phone\"}}, \"stream_id\": \"{id}\" }}"
    );
    scene.world.send(Method::POST, &scene.receiver, ADD, spelled).await.is_empty(200);
    let phone = json!({"format": "phone_number", "phone_number": "+12065550123"});
    assert_eq!(scene.owed(&phone).await, 1);
    scene.remove(&phone).await;
    assert_eq!(scene.owed(&phone).await, 0, "it is one subject, however it is spelled");
}

/// The three printed pairs, and those that the errata settle: nothing in common is no match (E-44), an absent member
/// stands for any (E-46), values are compared whole (E-45).
// spec: SSF-135, SSF-136, SSF-137, E-44, E-46
#[tokio::test]
async fn complex_subjects_match_member_by_member() {
    let user = |id: &str| ("user", opaque(id));
    let device = |id: &str| ("device", opaque(id));
    let group = |id: &str| ("group", opaque(id));
    let addresses = |list: &[&str]| ("device", json!({"format": "ip-addresses", "ip-addresses": list}));
    for (added, event, owed) in [
        (complex(&[user("u"), group("g")]), complex(&[user("u")]), 1),
        (complex(&[user("u")]), complex(&[user("u"), group("g")]), 1),
        (complex(&[user("u"), group("g")]), complex(&[user("u"), group("other")]), 0),
        (complex(&[user("u"), device("d")]), complex(&[user("u"), group("g")]), 1),
        (complex(&[user("u"), device("d")]), complex(&[user("u"), device("d"), group("g")]), 1),
        (complex(&[user("u"), device("d")]), complex(&[user("u"), device("e"), group("g")]), 0),
        (complex(&[user("u")]), complex(&[group("g")]), 0),
        (complex(&[user("u")]), complex(&[user("other")]), 0),
        (complex(&[user("u")]), opaque("u"), 0),
        (complex(&[addresses(&["10.0.0.1", "10.0.0.2"])]), complex(&[addresses(&["10.0.0.1"])]), 0),
        (
            complex(&[addresses(&["10.0.0.1", "10.0.0.2"])]),
            complex(&[addresses(&["10.0.0.1", "10.0.0.2"])]),
            1,
        ),
    ] {
        let scene = Scene::new(DefaultSubjects::None).await;
        scene.add(&added).await;
        assert_eq!(scene.owed(&event).await, owed, "{added} {event}");
        let scene = Scene::new(DefaultSubjects::All).await;
        scene.remove(&added).await;
        assert_eq!(scene.owed(&event).await, 1 - owed, "removed: {added} {event}");
    }
}

/// An alias list stands for each of its identifiers, and is added and removed as one value (E-47).
#[tokio::test]
async fn an_alias_list_stands_for_each_of_its_identifiers() {
    let scene = Scene::new(DefaultSubjects::None).await;
    let (by_mail, by_id) = (email("alice@example.com"), opaque("u-1"));
    let list = |names: &[&Value]| json!({"format": "aliases", "identifiers": names});
    let all = list(&[&by_mail, &by_id]);
    scene.add(&all).await;
    let other = opaque("u-2");
    for (event, owed) in [
        (&by_mail, 1),
        (&by_id, 1),
        (&all, 1),
        (&list(&[&other, &by_id]), 1),
        (&other, 0),
        (&list(&[&other]), 0),
    ] {
        assert_eq!(scene.owed(event).await, owed, "{event}");
    }
    scene.remove(&by_mail).await;
    assert_eq!(scene.owed(&by_mail).await, 1, "the list is there as it was");
    scene.remove(&all).await;
    assert_eq!(scene.owed(&by_mail).await, 0);
}

/// The answer tells nothing of the subject: known or not, there or not.
// spec: SSF-142, SSF-145
#[tokio::test]
async fn saying_it_again_is_no_error_and_nobody_learns_who_is_known() {
    for default in [DefaultSubjects::All, DefaultSubjects::None] {
        let scene = Scene::new(default).await;
        let told = async |path: &str, subject: &Value| {
            let answer = scene.world.post(&scene.receiver, path, &scene.request(subject)).await;
            let mut headers = answer.headers;
            // Each request has a name of its own.
            headers.remove("x-request-id").unwrap();
            (answer.status, headers, answer.body)
        };
        let (known, stranger) = (email("alice@example.com"), email("nobody@nowhere.example"));
        scene.owed(&known).await;
        assert_eq!(told(REMOVE, &known).await, told(REMOVE, &stranger).await);
        for _ in 0..2 {
            assert_eq!(told(ADD, &known).await, told(ADD, &stranger).await);
        }
        assert_eq!(scene.owed(&known).await, 1, "one event for each cause");
        for _ in 0..2 {
            assert_eq!(told(REMOVE, &known).await, told(REMOVE, &stranger).await);
        }
    }
}

/// An unverified subject counts like a verified one; what was said is kept.
// spec: SSF-140
#[tokio::test]
async fn whether_a_subject_is_verified_is_kept_and_absent_means_it_is() {
    let scene = Scene::new(DefaultSubjects::None).await;
    let mut request = scene.request(&opaque("u-1"));
    for (verified, kept) in
        [(json!(false), false), (json!(true), true), (json!(false), false), (Value::Null, true)]
    {
        match verified {
            Value::Null => drop(request.as_object_mut().unwrap().remove("verified")),
            verified => request["verified"] = verified,
        }
        scene.world.post(&scene.receiver, ADD, &request).await.is_empty(200);
        assert_eq!(scene.owed(&opaque("u-1")).await, 1);
        let (stream, _) = scene.world.store.subject_counts().await.unwrap()[0];
        let stored =
            scene.world.store.list_subjects(stream, secevent_store::Listing::Whole, None, 9).await.unwrap();
        assert_eq!((stored.len(), stored[0].verified), (1, kept));
    }
}

// spec: SSF-144, SSF-148, SSF-139, SSF-146
#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_and_nothing_is_done() {
    let scene = Scene::new(DefaultSubjects::None).await;
    let id = &scene.stream["stream_id"];
    let alice = email("alice@example.com");
    for path in [ADD, REMOVE] {
        for (request, member) in [
            (json!({"subject": alice}), "stream_id"),
            (json!({"stream_id": 1, "subject": alice}), "stream_id"),
            (json!({"stream_id": id}), "subject"),
            (json!({"stream_id": id, "sub_id": alice}), "subject"),
            (json!({"stream_id": id, "subject": "alice"}), "subject"),
            (json!({"stream_id": id, "subject": {}}), "subject.format"),
            (json!({"stream_id": id, "subject": {"format": "email"}}), "subject.email"),
            (json!({"stream_id": id, "subject": {"format": "complex"}}), "subject"),
            (
                json!({"stream_id": id, "subject": {"format": "complex", "user": {"format": "complex", "user": alice}}}),
                "subject.user.format",
            ),
            (json!({"stream_id": id, "subject": opaque(&"x".repeat(9_000))}), "subject"),
        ] {
            let problem =
                scene.world.post(&scene.receiver, path, &request).await.is_problem(400, "invalid_request");
            assert_eq!(problem["member"], member, "{path} {request}");
        }
        for body in ["", "[]", "{", "null"] {
            scene
                .world
                .send(Method::POST, &scene.receiver, path, body)
                .await
                .is_problem(400, "invalid_request");
        }
        let good = scene.request(&alice).to_string();
        scene.world.send(Method::POST, "", path, good.clone()).await.is_problem(401, "authentication_failed");
        let reader = scene.world.token("reader").await;
        let unknown = json!({"stream_id": "unknown", "subject": alice});
        scene.world.post(&scene.receiver, path, &unknown).await.is_problem(404, "not_found");
        scene.world.post(&reader, path, &scene.request(&alice)).await.is_problem(404, "not_found");
        let other = scene.world.token("other").await;
        scene.world.post(&other, path, &scene.request(&alice)).await.is_problem(404, "not_found");
        let elsewhere = path.trim_start_matches("/tenant-a");
        scene
            .world
            .post(&scene.receiver, elsewhere, &scene.request(&alice))
            .await
            .is_problem(404, "not_found");
        scene.world.send(Method::GET, &scene.receiver, path, "").await.is_problem(405, "invalid_request");
        let kind = "text/plain";
        scene
            .world
            .send_as(Method::POST, &scene.receiver, path, kind, good)
            .await
            .is_problem(415, "invalid_request");
    }
    let wrong = json!({"stream_id": id, "subject": alice, "verified": "yes"});
    let problem = scene.world.post(&scene.receiver, ADD, &wrong).await.is_problem(400, "invalid_request");
    assert_eq!(problem["member"], "verified");
    assert_eq!(scene.owed(&alice).await, 0);
}

/// A bound is no matter of time, so it is 403 and not 429.
// spec: SSF-144
#[tokio::test]
async fn a_stream_that_is_full_takes_no_more_and_goes_on_with_what_it_has() {
    let scene = Scene::new(DefaultSubjects::None).await;
    for number in 0..3 {
        scene.add(&opaque(&number.to_string())).await;
    }
    let fourth = scene.request(&opaque("fourth"));
    scene.world.post(&scene.receiver, ADD, &fourth).await.is_problem(403, "access_denied");
    assert_eq!((scene.owed(&opaque("fourth")).await, scene.owed(&opaque("0")).await), (0, 1));
    scene.add(&opaque("0")).await;
    scene.remove(&opaque("1")).await;
    scene.add(&opaque("fourth")).await;
}

/// Our own trouble is 503, and what was not stored does not count.
#[tokio::test]
async fn what_cannot_be_stored_is_not_answered_as_done() {
    let scene = Scene::new(DefaultSubjects::None).await;
    scene.add(&opaque("there")).await;
    scene.world.store.fail(Some(StoreError::Unavailable("as the test wants it".to_owned())));
    for (path, subject) in [(ADD, "new"), (REMOVE, "there")] {
        let answer = scene.world.post(&scene.receiver, path, &scene.request(&opaque(subject))).await;
        answer.is_problem(503, "unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    scene.world.store.fail(None);
    assert_eq!((scene.owed(&opaque("new")).await, scene.owed(&opaque("there")).await), (0, 1));
}

/// What a stream tells of itself comes whatever subjects it has.
// spec: SSF-149
#[tokio::test]
async fn a_stream_is_always_about_itself() {
    let scene = Scene::new(DefaultSubjects::None).await;
    let itself = opaque(scene.stream["stream_id"].as_str().unwrap());
    let problem = scene.world.post(&scene.receiver, REMOVE, &scene.request(&itself)).await;
    assert_eq!(problem.is_problem(400, "invalid_request")["rule"], "SSF-149");
    scene.add(&itself).await;
    // The one that a new stream gets is first in its subject's turn.
    let path = format!("/tenant-a/poll/{}", scene.stream["stream_id"].as_str().unwrap());
    let first = scene.world.post(&scene.receiver, &path, &json!({"returnImmediately": true})).await.json();
    let ack: Vec<&String> = first["sets"].as_object().unwrap().keys().collect();
    let verify = json!({"stream_id": scene.stream["stream_id"], "state": "still here"});
    scene.world.post(&scene.receiver, "/tenant-a/ssf/verify", &verify).await.is_empty(204);
    let request = json!({"ack": ack, "returnImmediately": true});
    let then = scene.world.post(&scene.receiver, &path, &request).await.json();
    let [set] = &then["sets"].as_object().unwrap().values().collect::<Vec<_>>()[..] else { panic!("{then}") };
    let payload = set.as_str().unwrap().split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub_id"], itself);
    assert!(claims["events"].to_string().contains("still here"), "{claims}");
}

/// A stream that is deleted takes its subjects along; a new one begins anew.
#[tokio::test]
async fn a_deleted_streams_subjects_are_gone() {
    let scene = Scene::new(DefaultSubjects::None).await;
    scene.add(&opaque("u-1")).await;
    let path = format!("{STREAM}?stream_id={}", scene.stream["stream_id"].as_str().unwrap());
    scene.world.send(Method::DELETE, &scene.receiver, &path, "").await.is_empty(204);
    assert_eq!(scene.world.store.subject_counts().await, Ok(Vec::new()));
    scene.world.post(&scene.receiver, ADD, &scene.request(&opaque("u-1"))).await.is_problem(404, "not_found");
    let request = json!({"delivery": {"method": POLL}, "events_requested": [SESSION_REVOKED]});
    scene.world.post(&scene.receiver, STREAM, &request).await.is_answer(201);
    assert_eq!(scene.owed(&opaque("u-1")).await, 0);
}

/// Until the grace of removals is over a removed subject stays in.
// spec: SSF-150
#[tokio::test]
async fn a_removal_may_have_grace() {
    let grace = |config: &mut secevent_transmitter::TransmitterConfig| {
        config.subjects.removal_grace = std::time::Duration::from_secs(300);
    };
    let world = World::with(grace, secevent_server::MetricsAccess::Token).await;
    let (receiver, producer) = (world.token("rp").await, world.token("producer").await);
    let stream = world.stream(&receiver, "/tenant-a").await;
    let scene = Scene { world, receiver, producer, stream };
    scene.remove(&opaque("u-1")).await;
    scene.world.later(299);
    assert_eq!(scene.owed(&opaque("u-1")).await, 1);
    scene.world.later(1);
    assert_eq!(scene.owed(&opaque("u-1")).await, 0);
}
