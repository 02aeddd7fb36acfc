//! Operators at work: dead letters, replay, backup and the rest, with the real binary on both sides.

use crate::program::{Place, Ran, Sink};
use crate::serve::{CONFIG, Server, Shop, runtime};
use insta::assert_snapshot;
use secevent::{EventType as _, caep::SessionRevoked};
use secevent_ssf::{CreateStream, DeliveryRequest, Endpoint, Secret};
use serde_json::{Value, json};

/// A server with a stream that is pushed to a receiver, which has been verified.
pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) server: Server,
    pub(crate) sink: Sink,
    pub(crate) stream: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same, with more configuration.
    pub(crate) fn with(more: &str) -> Self {
        let place = Place::new().with("secevent.toml", format!("{CONFIG}{more}"));
        let server = Server::start(&place, "127.0.0.1:0");
        let sink = Sink::open();
        let credential = Secret::new("Bearer credential-of-shop".parse().unwrap());
        let delivery = DeliveryRequest::push(Endpoint::parse_insecure(&sink.url).unwrap(), Some(credential));
        let request = CreateStream {
            events_requested: Some(vec![SessionRevoked::URI.to_owned()]),
            delivery: Some(delivery),
            ..CreateStream::default()
        };
        let stream =
            runtime().block_on(async { Shop::meet(&server).await.client.create(&request).await.unwrap() });
        sink.next();
        Self { place, server, sink, stream: stream.stream_id.to_string() }
    }

    pub(crate) fn emit(&self, subject: &str) {
        let ran = self.server.emit(&self.place, &["caep:session-revoked", "--subject", subject]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.place.run(args)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.json()
    }

    /// Asks until the answer is the one that is waited for; whoever asks too late gets it at once.
    pub(crate) fn json_once(&self, args: &[&str], is_there: impl Fn(&Value) -> bool) -> Value {
        let mut told = Value::Null;
        for _ in 0..2_000 {
            told = self.json(args);
            if is_there(&told) {
                return told;
            }
        }
        panic!("what is waited for never comes: {told}")
    }

    /// Returns when everything is delivered and stored as such.
    fn settled(&self) {
        self.json_once(&["streams"], |told| told["streams"][0]["backlog"]["pending"] == 0);
    }
}

pub(crate) fn entrance(place: &Place) -> (String, String) {
    let entrance: Value = serde_json::from_str(&place.text("events.db.admin")).unwrap();
    let text = |name: &str| entrance[name].as_str().unwrap().to_owned();
    (text("url"), text("token"))
}

#[test]
fn what_was_refused_is_seen_and_delivered_once_the_receiver_is_mended() {
    let world = World::new();
    let stream = world.stream.as_str();
    world.sink.refuse(true);
    world.emit("alice@example.com");
    let refused = world.sink.next();
    let jti = refused["jti"].as_str().unwrap();
    let list = ["dead", "list", "--stream", stream];
    let told = world.json_once(&list, |told| told["dead"] != json!([]));
    assert_eq!(told["dead"][0]["jti"], jti);
    assert_eq!(told["dead"][0]["cause"], "rejected");
    // finding: C7
    assert_eq!(told["dead"][0]["attempts"], 1);
    assert!(refused["events"].get(told["dead"][0]["event_type"].as_str().unwrap()).is_some(), "{told}");

    let listed = world.run(&["dead", "list"]).ok();
    assert!(listed.contains(jti) && listed.contains("invalid_request: what is this?"), "{listed}");
    assert!(listed.contains("session-revoked"), "{listed}");
    assert!(listed.contains(&stream[..8]) && !listed.contains(stream), "{listed}");
    let shown = world.run(&["dead", "show", stream, jti]).ok();
    assert!(shown.contains(jti) && !(listed + &shown).contains("alice"), "nobody is named: {shown}");
    assert!(world.json(&["dead", "show", stream, jti]).get("claims").is_none());
    // finding: C13
    let last = &world.json(&["dead", "show", stream, jti])["last_attempts"];
    assert_eq!((&last[0]["result"], &last[0]["status"]), (&json!("rejected"), &json!(400)));
    assert!(last[0]["elapsed_ms"].is_u64(), "{last}");
    let attempt = shown.lines().find(|line| line.contains("  400  ")).unwrap_or_default();
    assert!(attempt.contains("rejected"), "{shown}");
    let shown = world.run(&["dead", "show", "--claims", stream, jti]).ok();
    assert!(shown.contains("alice@example.com"), "{shown}");
    assert_eq!(world.json(&["dead", "show", "--claims", stream, jti])["claims"], refused);

    let table = world.run(&["streams"]).ok();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], [&stream[..8], "shop", "push"], "{table}");
    assert_eq!(row[4..8], ["enabled", "0", "-", "1"], "{table}");

    world.sink.refuse(false);
    let again = world.run(&["dead", "redrive", stream, jti]).ok();
    assert_eq!(again, "1 SET is delivered again, with the same jti\n");
    assert_eq!(world.sink.next(), refused, "the same SET");
    assert_eq!(world.run(&["dead", "list"]).ok(), "there are no dead letters\n");

    // The next one is forgotten.
    world.sink.refuse(true);
    world.emit("bob@example.com");
    world.json_once(&list, |told| told["dead"] != json!([]));
    assert_eq!(world.json(&["dead", "discard", stream, "--all", "--yes"]), json!({"discarded": 1}));
    assert_eq!(world.json(&list), json!({"dead": []}));
    for (args, code, told) in [
        (&["dead", "show", stream, jti][..], 1, "the stream has no such SET"),
        (&["dead", "redrive", "nothing", "--all"], 1, "there is no such stream"),
        (&["dead", "redrive", stream], 2, "JTI"),
        (&["dead", "redrive", stream, jti, "--all"], 2, "cannot be used with"),
        (&["dead", "list", "--after", "here"], 1, "`after` must be the `next` of an earlier answer"),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    let (_, token) = entrance(&world.place);
    let (code, log) = world.server.end();
    assert_eq!(code, 0, "{log}");
    assert!(
        log.contains("operator=\"the command line\" user=") && log.contains("peer=127.0.0.1 method=POST"),
        "{log}"
    );
    for secret in [token.as_str(), "credential-of-shop", "alice", "bob@"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

// finding: C10
#[test]
fn what_cannot_be_undone_is_done_on_a_terminal_or_with_yes() {
    let place = Place::new();
    for args in [
        &["stream", "delete", "x"][..],
        &["stream", "disable", "x"],
        &["streams", "disable", "x", "--admin", "http://127.0.0.1:1"],
        &["streams", "delete", "x", "--admin", "http://127.0.0.1:1"],
        &["clock", "confirm", "--admin", "http://127.0.0.1:1"],
        &["dead", "discard", "x", "--all", "--admin", "http://127.0.0.1:1"],
        &["client", "delete", "x", "--admin", "http://127.0.0.1:1"],
        &["key", "withdraw", "https://events.example.com", "x", "--admin", "http://127.0.0.1:1"],
    ] {
        let run = |args: &[&str]| place.run_in(&[("SECEVENT_ADMIN_TOKEN", "t")], args);
        let ran = run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("no terminal to confirm on") && ran.stderr.contains("--yes"), "{ran:?}");
        // With it the command goes on, to a server that is not there.
        let ran = run(&[args, &["--yes"]].concat());
        assert_eq!(ran.code, 1, "{ran:?}");
    }
}

#[test]
fn history_is_delivered_again_as_the_same_sets_or_as_new_ones() {
    let world = World::new();
    let stream = world.stream.as_str();
    let mut first = Vec::new();
    for subject in ["alice@example.com", "bob@example.com"] {
        world.emit(subject);
        first.push(world.sink.next());
    }
    world.settled();
    let of = |claims: &[Value], name: &str| -> Vec<Value> {
        let mut values: Vec<Value> = claims.iter().map(|claims| claims[name].clone()).collect();
        values.sort_by_key(Value::to_string);
        values
    };

    let told = world.json(&["replay", "start", stream, "--since", "1h", "--preview"]);
    assert_eq!((&told["count"], &told["newer"]), (&json!(2), &json!(false)), "{told}");
    let told = world.run(&["replay", "start", stream, "--subject", "alice@example.com", "--preview"]);
    assert!(
        told.stdout.starts_with("1 SET would be delivered again, of events accepted from 20"),
        "{told:?}"
    );
    assert!(told.stderr.contains("--fresh-jti"), "{told:?}");
    let nothing = world.run(&["replay", "start", stream, "--since", "2099-01-01T00:00:00Z", "--preview"]);
    assert_eq!(nothing.ok(), "nothing would be delivered\n");
    assert_eq!(world.run(&["replay", "list"]).ok(), "there are no replays\n");

    let fresh = ["replay", "start", stream, "--since", "1h", "--fresh-jti", "--rate", "10000", "--wait"];
    let ran = world.run(&fresh);
    assert!(ran.stdout.contains("is done: 2 of 2 are delivered again"), "{ran:?}");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let again = [world.sink.next(), world.sink.next()];
    assert_eq!(of(&again, "txn"), of(&first, "txn"), "the same events");
    for jti in of(&again, "jti") {
        assert!(!of(&first, "jti").contains(&jti), "new SETs");
    }
    world.settled();

    let jti = first[1]["jti"].as_str().unwrap();
    let same = ["replay", "start", stream, "--from-jti", jti, "--wait", "--json"];
    let ran = world.run(&same);
    assert!(ran.stderr.contains("may drop them"), "{ran:?}");
    let replay = ran.json();
    assert_eq!((&replay["state"], &replay["count"]), (&json!("done"), &json!(1)));
    assert_eq!(world.sink.next(), first[1], "the same SET");

    let listed = world.json(&["replay", "list"]);
    assert_eq!(listed["replays"].as_array().unwrap().len(), 2);
    let id = replay["id"].as_str().unwrap();
    assert_eq!(world.json(&["replay", "cancel", id])["state"], "done", "there was nothing to call off");
    assert!(world.run(&["replay", "list"]).ok().contains(id));
    for (args, code, told) in [
        (&["replay", "cancel", "nothing"][..], 1, "there is no such replay"),
        (&["replay", "start", stream], 2, "--since"),
        (&["replay", "start", stream, "--since", "yesterday"], 2, "2h or 7d"),
        (&["replay", "start", stream, "--subject", "alice"], 2, "is neither an e-mail address"),
        (&["replay", "start", stream, "--since", "1h", "--rate", "0"], 2, "--rate"),
        (&["replay", "start", stream, "--from-jti", "AAAAAAAAAAAAAAAAAAAAAA"], 1, "no such SET"),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    assert_eq!(world.server.stop(), 0);
}

/// The copy is a store like the original, and a server on it gives no identifier again that the original gave after
/// the copy (SEM-1).
#[test]
fn a_copy_that_was_made_while_serving_can_be_served() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    let emit = |server: &Server, subject: &str| {
        let ran = server.emit(&place, &["caep:session-revoked", "--subject", subject]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()["event_id"].as_str().unwrap().to_owned()
    };
    let stream = runtime().block_on(async { Shop::meet(&server).await.create().await });
    let before = emit(&server, "alice@example.com");
    let copy = place.run(&["backup", "copy.db", "--json"]);
    assert_eq!(copy.code, 0, "{copy:?}");
    let path = std::path::PathBuf::from(copy.json()["path"].as_str().unwrap());
    assert_eq!(path.canonicalize().unwrap(), place.path("copy.db").canonicalize().unwrap());
    let after = emit(&server, "bob@example.com");
    let again = place.run(&["backup", "copy.db"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("something of this name already"), "{again:?}");

    // finding: C4
    let (whole, files) = (std::fs::read(place.path("copy.db")).unwrap(), place.files());
    let check = ["restore", "--check", "copy.db", "--dev", "--config", "secevent.toml", "--json"];
    let told = place.run(&check);
    assert_eq!(told.code, 0, "{told:?}");
    let told = told.json();
    assert_eq!(
        (&told["usable"], &told["master_key"], &told["damage"]),
        (&json!(true), &json!("fits"), &json!([]))
    );
    assert_eq!((&told["counts"]["streams"], &told["counts"]["pending"]), (&json!(1), &json!(2)), "{told}");
    place.write("other.toml", CONFIG.replace("key = \"00", "key = \"ff"));
    let told = place.run(&[&check[..4], &["--config", "other.toml"]].concat());
    assert_eq!(told.code, 1, "{told:?}");
    std::fs::remove_file(place.path("other.toml")).unwrap();
    assert_eq!(place.run(&["restore", "copy.db"]).code, 2, "it only checks");
    assert!(std::fs::read(place.path("copy.db")).unwrap() == whole && place.files() == files);

    // The original is killed, and the copy takes its place.
    let address = server.kill();
    let server = Server::start_with(&place, &address, &["--store", "sqlite:copy.db"]);
    let other = emit(&server, "carol@example.com");
    assert_ne!(other, after, "it has the same place, in another life of the store");
    let told: Vec<String> = runtime().block_on(async {
        let shop = Shop::meet(&server).await;
        let mut ack: Vec<String> = Vec::new();
        let mut txns = Vec::new();
        while txns.len() < 3 {
            let sets = shop.poll(&stream, json!({ "ack": ack })).await;
            ack = sets.iter().map(|(jti, _)| jti.clone()).collect();
            for (_, token) in sets {
                let claims = place.run(&["set", "decode", "--json", &token]).json()["claims"].clone();
                txns.push(claims["txn"].as_str().unwrap_or("verification").to_owned());
            }
        }
        txns
    });
    assert!(told.contains(&before) && told.contains(&other) && !told.contains(&after), "{told:?}");
    // The file of the killed server is still there, and leads nowhere.
    let nobody = place.run(&["streams"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.stderr.contains("no server is running on this store (events.db)"), "{nobody:?}");
    assert_eq!(place.run(&["streams", "--store", "sqlite:copy.db"]).code, 0);
    assert_eq!(server.stop(), 0);
}

#[test]
fn what_an_operator_paused_or_disabled_stays_so() {
    let world = World::new();
    let stream = world.stream.as_str();
    let paused = world.run(&["streams", "pause", stream, "--reason", "maintenance"]).ok();
    assert_eq!(paused, format!("stream {stream} is paused\n"));
    let told = world.sink.next();
    assert!(told.to_string().contains("maintenance"), "its receiver is told: {told}");
    assert!(world.run(&["streams"]).ok().contains("paused by operator"));
    world.emit("alice@example.com");
    let enabled = world.json(&["streams", "enable", stream]);
    assert_eq!((&enabled["status"], &enabled["held"]), (&json!("enabled"), &json!(false)));
    let told = [world.sink.next().to_string(), world.sink.next().to_string()].concat();
    assert!(told.contains("stream-updated"), "{told}");
    assert!(told.contains("alice@example.com"), "it was kept: {told}");

    let disabled = world.run(&["streams", "disable", stream, "--yes"]).ok();
    assert_eq!(disabled, format!("stream {stream} is disabled\n"));
    assert!(world.sink.next().to_string().contains("disabled"), "its receiver is told");
    world.emit("bob@example.com");
    world.run(&["streams", "enable", stream]).ok();
    world.emit("carol@example.com");
    let told = [world.sink.next().to_string(), world.sink.next().to_string()].concat();
    assert!(
        told.contains("stream-updated") && told.contains("carol@example.com"),
        "nothing was kept: {told}"
    );

    // finding: C7
    let is_disabled = || world.json(&["streams"])["streams"][0]["client_disabled"].clone();
    assert_eq!(is_disabled(), false);
    world.run(&["client", "disable", "shop"]).ok();
    let table = world.run(&["streams"]).ok();
    assert!(table.contains("enabled") && table.contains("client disabled: "), "{table}");
    assert_eq!(is_disabled(), true);
    world.run(&["client", "enable", "shop"]).ok();
    assert!(!world.run(&["streams"]).ok().contains("client disabled"));
    assert_eq!(world.server.stop(), 0);
}

/// Who gets in, and what is left when the server has ended. Nothing secret is told or logged on the way.
#[test]
fn the_token_beside_the_store_opens_the_server_as_long_as_it_runs() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let nobody = place.run(&["streams", "--json"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, ""), "{nobody:?}");
    assert!(
        nobody.stderr.contains("no server is running on this store")
            && nobody.stderr.contains("secevent serve")
    );

    let server = Server::start(&place, "127.0.0.1:0");
    let (url, token) = entrance(&place);
    assert!(token.len() >= 43, "256 bits");
    let mut told = place.run(&["streams"]).ok();
    assert_eq!(told, "there are no streams\n");
    for (line, code, expected) in [
        (format!("SECEVENT_ADMIN_TOKEN={token} secevent streams --admin {url}"), 0, "there are no streams"),
        (
            format!("SECEVENT_ADMIN_TOKEN=wrong secevent streams --admin {url}"),
            1,
            "the admin token is not valid",
        ),
        (format!("secevent streams --admin {url}"), 2, "SECEVENT_ADMIN_TOKEN is not set"),
        ("SECEVENT_ADMIN_TOKEN=x secevent streams --admin http://events.example".to_owned(), 2, "plain http"),
        (format!("SECEVENT_ADMIN_TOKEN=x secevent backup a.db --admin {url}"), 2, "must be absolute"),
        (
            format!("SECEVENT_ADMIN_TOKEN=x secevent streams --admin {}", server.issuer()),
            1,
            "nothing is served",
        ),
        (
            "secevent streams --store sqlite:other.db".to_owned(),
            1,
            "no server is running on this store (other.db)",
        ),
        ("secevent streams --config absent.toml".to_owned(), 2, "cannot read absent.toml"),
    ] {
        let ran = place.shell(&line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert!((ran.stdout.clone() + &ran.stderr).contains(expected), "{expected}: {ran:?}");
        told += &(ran.stdout + &ran.stderr);
    }
    let (code, log) = server.end();
    assert_eq!(code, 0, "{log}");
    for secret in [token.as_str(), "a secret of the shop", "a secret of the idp", "000102030405"] {
        assert!(!log.contains(secret) && !told.contains(secret), "{log}{told}");
    }
    assert!(!place.path("events.db.admin").exists());
    assert!(place.run(&["streams"]).stderr.contains("no server is running"));

    let server = Server::start_with(&place, "127.0.0.1:0", &["--admin-listen", "off"]);
    assert!(!place.path("events.db.admin").exists());
    assert_eq!(server.stop(), 0);
}

#[test]
fn help() {
    let place = Place::new();
    for command in [
        "streams",
        "streams pause",
        "streams disable",
        "streams show",
        "streams retry",
        "streams delete",
        "dead",
        "dead list",
        "dead show",
        "dead redrive",
        "dead discard",
        "replay",
        "replay start",
        "replay list",
        "replay cancel",
        "clock show",
        "clock confirm",
        "restore",
        "backup",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        assert_snapshot!(format!("help_{}", command.replace(' ', "_")), place.run(&args).ok());
    }
}

#[test]
fn where_an_event_goes_is_explained() {
    let world = World::new();
    let stream = world.stream.as_str();
    let told =
        world.run(&["explain", "--type", "caep:session-revoked", "--subject", "alice@example.com"]).ok();
    assert!(
        told.contains("yes") && told.ends_with("would go to 1 stream\n") && told.contains(&stream[..8]),
        "{told}"
    );
    let event = r#"{"type":"caep:credential-change","subject":{"format":"email","email":"alice@example.com"},
        "data":{"credential_type":"pin","change_type":"create"}}"#;
    let told = world.json(&["explain", event]);
    let expected = json!([{"stream_id": stream, "client": "shop", "goes": false, "rule": "not_requested",
        "reason": "the stream did not ask for this type"}]);
    assert_eq!(told["streams"], expected);

    world.emit("alice@example.com");
    let sent = world.sink.next();
    world.settled();
    // finding: C13
    for name in ["jti", "txn"] {
        let told = world.json(&["explain", "--event", sent[name].as_str().unwrap()]);
        let delivery = &told["deliveries"][0];
        assert_eq!((&told["txn"], &delivery["state"]), (&sent["txn"], &json!("delivered")), "{told}");
        assert_eq!((&delivery["jti"], &delivery["attempts"]), (&sent["jti"], &json!(1)));
        let attempt = &delivery["last_attempts"][0];
        assert_eq!((&attempt["result"], &attempt["status"]), (&json!("accepted"), &json!(202)));
        assert!(attempt["elapsed_ms"].is_u64() && attempt["at"] == delivery["acked_at"], "{told}");
    }
    let shown = world.run(&["explain", "--event", sent["txn"].as_str().unwrap()]).ok();
    assert!(shown.contains("session-revoked") && shown.contains("delivered"), "{shown}");
    assert!(shown.lines().any(|line| line.contains("accepted") && line.contains("202")), "{shown}");

    // Dropped is seen to be something else.
    world.run(&["streams", "pause", stream]).ok();
    world.sink.next();
    let bob = ["caep:session-revoked", "--subject", "bob@example.com"];
    let kept = world.server.emit(&world.place, &bob).json();
    world.run(&["streams", "disable", stream, "--yes"]).ok();
    let disabled = world.sink.next();
    let told = world.json(&["explain", "--event", kept["event_id"].as_str().unwrap()]);
    let delivery = &told["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["dropped"]), (&json!("dropped"), &json!("stream_disabled")));
    assert!(delivery["dropped_at"].is_string() && delivery["acked_at"].is_null(), "{told}");
    // finding: C3
    let told = world.json(&["explain", "--event", disabled["jti"].as_str().unwrap()]);
    assert_eq!((&told["deliveries"][0]["stream_id"], &told["elsewhere"]), (&json!(stream), &json!([])));
    assert!(told["event_type"].as_str().unwrap().ends_with("/stream-updated"), "{told}");
    for (args, code, told) in [
        (&["explain"][..], 2, "required"),
        (&["explain", "--type", "caep:session-revoked"], 2, "--subject"),
        (&["explain", "--type", "nothing", "--subject", "alice@example.com"], 1, "event.type"),
        (&["explain", "--event", "nothing"], 1, "there is no such event"),
        (&["explain", "{}", "--issuer", "https://nobody.example"], 1, "event.type"),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
}

/// The address is planted in events that are delivered, dead and waiting, in a receiver's words and in a change.
#[test]
fn a_person_is_erased_and_who_asked_is_in_the_log() {
    const ALICE: &str = "alice@example.com";
    let world = World::new();
    let stream = world.stream.as_str();
    world.emit(ALICE);
    world.sink.next();
    world.sink.refuse(true);
    world.emit(ALICE);
    world.sink.next();
    world.json_once(&["dead", "list"], |told| told["dead"] != json!([]));
    world.run(&["streams", "pause", stream, "--reason", "asked by alice@example.com"]).ok();
    world.emit(ALICE);
    world.emit("bob@example.com");
    world.run(&["streams", "pause", stream, "--reason", "maintenance"]).ok();
    world.sink.refuse(false);

    let foreseen = world.json(&["erase", "--subject", ALICE, "--dry-run"]);
    let found = &foreseen["found"];
    assert!(found["events"].as_u64().unwrap() >= 3 && found["dropped"].as_u64().unwrap() >= 1, "{foreseen}");
    assert_eq!((&found["dead"], &foreseen["documents"]), (&json!(1), &json!([])));
    let asked = world.run(&["erase", "--subject", ALICE]);
    assert_eq!(asked.code, 2, "nobody can be asked: {asked:?}");

    let erased = world.json(&["erase", "--subject", ALICE, "--yes"]);
    assert_eq!((&erased["state"], &erased["left"]["nothing"]), (&json!("done"), &json!(true)), "{erased}");
    assert_eq!(erased["erased"]["events"], found["events"]);
    for file in std::fs::read_dir(world.place.path(".")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(ALICE.len()).any(|window| window.eq_ignore_ascii_case(ALICE.as_bytes()));
        assert!(!found, "{}", path.display());
    }
    let again = world.run(&["erase", "--subject", ALICE, "--yes"]).ok();
    assert!(again.contains("erased: 0 events") && again.ends_with("0 left\n"), "{again}");

    world.run(&["streams", "enable", stream]).ok();
    let next = std::iter::from_fn(|| Some(world.sink.next())).find(|set| set["sub_id"]["format"] == "email");
    assert_eq!(next.unwrap()["sub_id"]["email"], "bob@example.com");

    let told = world.json(&["audit", "--limit", "1000"]);
    let actions: Vec<&str> =
        told["changes"].as_array().unwrap().iter().map(|change| change["action"].as_str().unwrap()).collect();
    assert_eq!(actions.first(), Some(&"stream.enable"), "the newest is first");
    assert_eq!(actions.last(), Some(&"stream.create"));
    assert!(actions.contains(&"erasure.done") && !told.to_string().contains(ALICE), "{told}");
    let table = world.run(&["audit", "--stream", stream, "--action", "stream.", "--since", "1h"]).ok();
    assert!(table.contains("command-line") && table.contains("status: \"paused\" -> \"enabled\""), "{table}");
    assert!(table.contains("(erased)"), "{table}");
    assert_eq!(world.run(&["audit", "--client", "nobody"]).ok(), "nothing was changed\n");
    let (code, log) = world.server.end();
    assert_eq!(code, 0, "{log}");
    assert!(!log.contains(ALICE), "{log}");
}
