//! A receiver's view, with pure SSF: of our own server, and of a transmitter of another make.

use crate::foreign::{Asked, Foreign, TOKEN, signer};
use crate::program::{Place, Ran, Sink};
use crate::serve::{CONFIG, Server};
use insta::assert_snapshot;
use secevent::{EventType as _, caep::SessionRevoked};
use secevent_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

/// The shop, at our own server.
struct Shop {
    place: Place,
    server: Server,
}

impl Shop {
    fn new() -> Self {
        let place = Place::new().with("secevent.toml", CONFIG);
        let server = Server::start(&place, "127.0.0.1:0");
        Self { place, server }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let issuer = self.server.issuer();
        let environment = [
            ("SECEVENT_ISSUER", issuer.as_str()),
            ("SECEVENT_CLIENT", "shop"),
            ("SECEVENT_SECRET", "a secret of the shop"),
            ("PUSH", "Bearer credential-of-shop"),
        ];
        let ran = self.place.run_in(&environment, args);
        for secret in ["a secret of the shop", "credential-of-shop", "eyJ0eXAiOiJhdCtqd3Q"] {
            assert!(
                !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
                "a secret is told: {ran:?}"
            );
        }
        ran
    }

    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    fn emit(&self, subject: &str) {
        let ran = self.server.emit(&self.place, &["caep:session-revoked", "--subject", subject]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

/// The error that a run that failed told as JSON.
#[track_caller]
fn error(ran: &Ran) -> Value {
    assert_eq!(ran.code, 1, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    told["error"].clone()
}

#[test]
fn a_streams_life_at_our_own_server() {
    let shop = Shop::new();
    let metadata = shop.json(&["stream", "metadata", &shop.server.issuer()]);
    assert_eq!(metadata["metadata"]["issuer"], shop.server.issuer());
    assert_eq!(metadata["token_endpoint"], format!("{}/oauth/token", shop.server.issuer()));
    assert_eq!(metadata["missing"], json!([]));
    assert!(shop.run(&["stream", "list"]).ok().contains("there are no streams"));

    let created = shop.json(&[
        "stream",
        "create",
        "--poll",
        "--events",
        "caep:session-revoked",
        "--description",
        "web",
    ]);
    let id = created["stream_id"].as_str().unwrap();
    assert_eq!(created["events_delivered"], json!([SessionRevoked::URI]));
    assert_eq!(created["aud"], "https://shop.example");
    assert_eq!(shop.json(&["stream", "show", id]), created);
    assert_eq!(shop.json(&["stream", "list"])["streams"], json!([created]));
    let listed = shop.run(&["stream", "list"]).ok();
    assert!(
        listed.contains(id) && listed.contains("caep:session-revoked") && listed.contains("web"),
        "{listed}"
    );

    let updated = shop.json(&["stream", "update", id, "--no-description", "--events", "caep:*"]);
    assert!(updated.get("description").is_none());
    assert!(updated["events_delivered"].as_array().unwrap().len() > 5);
    let replaced = shop.json(&["stream", "replace", id, "--poll", "--events", "caep:session-revoked"]);
    assert_eq!(replaced["events_requested"], json!([SessionRevoked::URI]));

    let paused = shop.json(&["stream", "pause", id, "--reason", "night"]);
    assert_eq!(paused, json!({"stream_id": id, "status": "paused", "reason": "night"}));
    assert!(shop.run(&["stream", "status", id]).ok().contains("is paused: night"));
    assert_eq!(shop.json(&["stream", "enable", id])["status"], "enabled");
    assert_eq!(shop.json(&["stream", "disable", id, "--yes"])["status"], "disabled");

    assert_eq!(shop.json(&["stream", "delete", id, "--yes"]), json!({"deleted": id}));
    let gone = error(&shop.run(&["stream", "show", id, "--json"]));
    assert_eq!(gone["code"], "not_found");
    assert_eq!(shop.server.stop(), 0);
}

#[test]
fn sets_are_verified_shown_and_acknowledged() {
    let shop = Shop::new();
    let created = shop.json(&["stream", "create", "--events", "caep:session-revoked"]);
    let id = created["stream_id"].as_str().unwrap();

    // The unasked event of the new stream waits too, and stands before ours.
    let verified = shop.json(&["stream", "verify", id, "--wait"]);
    assert_eq!(verified["verified"], true);
    let event =
        &verified["claims"]["events"]["https://schemas.openid.net/secevent/ssf/event-type/verification"];
    assert_eq!(event["state"], verified["state"], "{verified}");

    shop.emit("alice@example.com");
    let polled = shop.json(&["stream", "poll", id, "--wait", "60", "--ack"]);
    assert_eq!((&polled["acknowledged"], &polled["more_available"]), (&json!(1), &json!(false)), "{polled}");
    let set = &polled["sets"][0];
    assert_eq!((&set["valid"], &set["events"][0]["name"]), (&json!(true), &json!("caep:session-revoked")));
    assert_eq!(set["claims"]["sub_id"], json!({"format": "email", "email": "alice@example.com"}));
    assert_eq!(shop.json(&["stream", "poll", id])["sets"], json!([]), "it is acknowledged");

    shop.emit("bob@example.com");
    let shown = shop.run(&["stream", "poll", id, "--wait", "60"]);
    assert!(
        shown.stdout.contains("bob@example.com (email)") && shown.stdout.contains("caep:session-revoked"),
        "{shown:?}"
    );
    assert!(shown.stdout.contains("valid") && shown.stderr.contains("--ack"), "{shown:?}");
    assert_eq!(shop.server.stop(), 0);
}

#[test]
fn a_pushed_stream_is_verified_by_its_endpoint() {
    let shop = Shop::new();
    let sink = Sink::open();
    let create = ["stream", "create", "--push", &sink.url, "--authorization-env", "PUSH"];
    let created = shop.json(&[&create[..], &["--events", "caep:session-revoked"]].concat());
    let id = created["stream_id"].as_str().unwrap();
    assert_eq!(created["delivery"], json!({"method": "urn:ietf:rfc:8935", "endpoint_url": sink.url}));
    sink.next();
    let waits = shop.run(&["stream", "verify", id, "--wait", "5"]);
    assert_eq!(waits.code, 2, "{waits:?}");
    assert!(waits.stderr.contains("is pushed to"), "{waits:?}");
    assert_eq!(shop.json(&["stream", "verify", id, "--state", "check-7"])["verified"], false);
    let event = &sink.next()["events"]["https://schemas.openid.net/secevent/ssf/event-type/verification"];
    assert_eq!(event["state"], "check-7");
    // Another address must not get the credential of this one (E-19), and the tool says so without telling it.
    let other = format!("{}/other", sink.url);
    let refused = error(&shop.run(&["stream", "update", id, "--push", &other, "--json"]));
    assert_eq!(refused["code"], "invalid_request");
    let cleared = shop.json(&["stream", "update", id, "--push", &other, "--no-authorization"]);
    assert_eq!(cleared["delivery"]["endpoint_url"], other);
    assert_eq!(shop.server.stop(), 0);
}

#[test]
fn what_is_refused_says_what_to_do() {
    let shop = Shop::new();
    let issuer = shop.server.issuer();
    let with = |environment: &[(&str, &str)], args: &[&str]| {
        let ran = shop.place.run_in(environment, &[args, &["--issuer", &issuer, "--json"]].concat());
        assert!(!ran.stdout.contains("guess") && !ran.stderr.contains("guess"), "{ran:?}");
        ran
    };
    let nobody = error(&with(&[], &["stream", "list"]));
    assert_eq!(nobody["code"], "authentication_failed");
    assert!(nobody["fix"].as_str().unwrap().contains("SECEVENT_SECRET"), "{nobody}");
    let stale = error(&with(&[("SECEVENT_TOKEN", "guess")], &["stream", "list"]));
    assert_eq!(stale["code"], "authentication_failed");
    let wrong = error(&with(&[("SECEVENT_SECRET", "guess")], &["stream", "list", "--client-id", "shop"]));
    assert!(wrong["message"].as_str().unwrap().contains("invalid_client"), "{wrong}");
    let missing = with(&[], &["stream", "list", "--client-id", "shop"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    let producer = [("SECEVENT_SECRET", "a secret of the idp")];
    let scope = error(&with(&producer, &["stream", "list", "--client-id", "idp"]));
    assert!(scope["message"].as_str().unwrap().contains("invalid_scope"), "{scope}");

    let misuse = |args: &[&str], told: &str| {
        let ran = shop.run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    };
    misuse(&["stream", "create", "--events", "caep:sesion-revoked"], "there is no event type");
    misuse(&["stream", "update", "s1"], "nothing to change");
    misuse(&["stream", "show", "-"], "--legacy");
    misuse(&["stream", "create", "--push", "ftp://x/", "--poll"], "cannot be used with");
    misuse(&["stream", "create", "--push", "ftp://x/"], "must be an https URL");
    misuse(
        &["stream", "create", "--push", "http://x/", "--authorization-env", "ABSENT"],
        "ABSENT is not set",
    );
    misuse(&["stream", "list", "--issuer", "http://idp.example.com"], "plain http");
    assert_eq!(shop.server.stop(), 0);
}

/// How we talk to the foreign one.
fn at(foreign: &Foreign, place: &Place, environment: &[(&str, &str)], args: &[&str]) -> Ran {
    let more = ["--issuer", &foreign.issuer, "--legacy", "--json"];
    let ran = place.run_in(environment, &[args, &more].concat());
    for secret in ["s&cret", "s%26cret", TOKEN, "key-of-ours", "credential-of-rp"] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "a secret is told: {ran:?}");
    }
    ran
}

const AS_CLIENT: [(&str, &str); 2] = [("SECEVENT_CLIENT", "rp"), ("SECEVENT_SECRET", "s&cret")];
const ONLY: &str = "only one/&";

// spec: LEGACY-06, LEGACY-07, LEGACY-31
#[test]
fn a_transmitter_of_another_make_is_understood() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let run = |args: &[&str]| at(&foreign, &place, &AS_CLIENT, args);
    let json = |args: &[&str]| {
        let ran = run(args);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    };
    let metadata = place.run(&["stream", "metadata", &foreign.issuer, "--legacy", "--json"]).json();
    assert_eq!(metadata["url"], format!("{}/.well-known/sse-configuration", foreign.issuer));
    assert_eq!(metadata["metadata"]["of_its_own"], json!([1, 2]), "what we do not know is shown");
    let missing: Vec<&Value> =
        metadata["missing"].as_array().unwrap().iter().map(|one| &one["member"]).collect();
    assert_eq!(missing, ["spec_version", "status_endpoint", "authorization_schemes"]);
    let strict = place.run(&["stream", "metadata", &foreign.issuer, "--json"]);
    assert!(error(&strict)["fix"].as_str().unwrap().contains("--legacy"), "{strict:?}");

    assert_eq!(json(&["stream", "list"])["streams"], json!([]), "404 means that there is none");
    let create = [
        "stream",
        "create",
        "--events",
        "caep:session-revoked",
        "--format",
        "iss_sub",
        "--audience",
        "https://rp.example",
    ];
    let created = json(&create);
    assert_eq!((&created["stream_id"], &created["format"]), (&json!(ONLY), &json!("iss_sub")));
    let Asked { headers, .. } = foreign.last("/rest/v2/streams");
    assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
    assert!(
        foreign.last("/login/token").body.contains("client_id=rp&client_secret="),
        "in the form, as it asks for"
    );

    let second = error(&run(&["stream", "create", "--poll"]));
    assert_eq!(second["code"], "conflict");
    assert!(second["message"].as_str().unwrap().contains("conflict: one stream is enough"), "{second}");
    assert!(second["fix"].as_str().unwrap().contains("--adopt"), "{second}");
    let adopted = json(&["stream", "create", "--poll", "--events", "caep:credential-change", "--adopt"]);
    assert_eq!(adopted["stream_id"], ONLY);
    assert_eq!(foreign.last("/rest/v2/streams").method, "PUT", "it knows no PATCH");
    let partial = error(&run(&["stream", "update", ONLY, "--description", "x"]));
    assert_eq!(partial["code"], "unsupported");
    assert!(partial["fix"].as_str().unwrap().contains("stream replace"), "{partial}");
    let replace =
        ["stream", "replace", ONLY, "--push", "http://127.0.0.1:9/x", "--authorization-env", "PUSH"];
    let environment = [AS_CLIENT[0], AS_CLIENT[1], ("PUSH", "Bearer credential-of-rp")];
    let replaced = at(&foreign, &place, &environment, &replace);
    assert_eq!(replaced.code, 0, "{replaced:?}");
    let sent = foreign.last("/rest/v2/streams");
    assert_eq!(
        (sent.method.as_str(), &sent.json()["delivery"]["authorization_header"]),
        ("PUT", &json!("Bearer credential-of-rp"))
    );
    assert_eq!(
        sent.json()["delivery"]["method"],
        "https://schemas.openid.net/secevent/risc/delivery-method/push"
    );

    // Without --push it is a stream that we poll, also one that was pushed.
    let adopted = json(&["stream", "create", "--adopt"]);
    assert_eq!(
        adopted["delivery"]["method"], "https://schemas.openid.net/secevent/risc/delivery-method/poll",
        "{adopted}"
    );

    for command in [&["status"][..], &["enable"], &["disable", "--yes"]] {
        let refused = error(&run(&[&["stream"], command, &[ONLY]].concat()));
        assert_eq!(refused["code"], "unsupported");
        assert_eq!(refused["message"], "the transmitter has no status_endpoint");
    }
    assert_eq!(
        json(&["stream", "delete", ONLY, "--yes"]),
        json!({"deleted": ONLY}),
        "200 with a body is a success"
    );
    assert_eq!(foreign.last("/rest/v2/streams").path, "/rest/v2/streams?api=3&stream_id=only%20one%2F%26");
}

#[test]
fn a_verification_event_counts_if_it_is_signed() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let run = |args: &[&str]| at(&foreign, &place, &AS_CLIENT, args);
    assert_eq!(run(&["stream", "create", "--poll"]).code, 0);
    // Something else waits already, and is never acknowledged.
    foreign.state().waiting.insert("a-other".to_owned(), "no.token.at-all".to_owned());
    let verified = run(&["stream", "verify", ONLY, "--wait"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!((&verified.json()["verified"], &verified.json()["jti"]), (&json!(true), &json!("check-1")));
    assert_eq!(foreign.state().waiting.keys().collect::<Vec<_>>(), ["a-other"]);
    // finding: A12. What came beside is shown.
    assert_eq!(verified.json()["others"][0]["jti"], "a-other");

    // A stranger's signature proves nothing, whatever state the event has.
    foreign.state().signer = signer();
    let forged = error(&run(&["stream", "verify", ONLY, "--wait", "1"]));
    assert!(forged["message"].as_str().unwrap().contains("2 other SETs"), "{forged}");
    assert!(forged["fix"].as_str().unwrap().contains("check-1"), "{forged}");

    let polled = run(&["stream", "poll", ONLY, "--ack"]);
    assert_eq!(polled.code, 1, "{polled:?}");
    let told = polled.json();
    assert_eq!((&told["acknowledged"], &told["refused"]), (&json!(0), &json!(0)));
    assert_eq!(told["sets"][0]["error"]["code"], "invalid_request");
    assert_eq!(told["sets"][1]["error"]["code"], "invalid_key");
    let polled = run(&["stream", "poll", ONLY, "--refuse"]);
    assert_eq!((polled.code, &polled.json()["refused"]), (1, &json!(2)));
    let sent = foreign.last("/rest/v2/fetch").json();
    assert_eq!(sent["setErrs"]["check-1"]["err"], "invalid_key");

    // Without keys nothing can be said of a SET, for good or ill.
    assert_eq!(run(&["stream", "verify", ONLY]).code, 0);
    let gone = format!("{}/no-keys", foreign.issuer);
    foreign.state().metadata = json!({ "jwks_uri": gone });
    let polled = run(&["stream", "poll", ONLY, "--ack", "--refuse"]);
    assert_eq!((polled.code, error(&polled)["code"].as_str()), (1, Some("unavailable")), "{polled:?}");
    let told = polled.json();
    assert_eq!((&told["acknowledged"], &told["refused"]), (&json!(0), &json!(0)));
    assert_eq!(
        (&told["sets"][0]["valid"], &told["sets"][0]["error"]["code"]),
        (&Value::Null, &json!("unavailable"))
    );
    let shown = place.run_in(&AS_CLIENT, &["stream", "poll", ONLY, "--issuer", &foreign.issuer, "--legacy"]);
    assert!(
        shown.stdout.contains("cannot be judged now") && !shown.stdout.contains("not valid"),
        "{shown:?}"
    );
    foreign.state().metadata = json!({});
    assert_eq!(run(&["stream", "poll", ONLY, "--refuse"]).code, 1);
    assert_eq!(run(&["stream", "poll", ONLY]).json()["sets"], json!([]));
}

// spec: SSF-139, SSF-146
#[test]
fn subjects_are_added_and_removed() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let key = [("KEY", "key-of-ours")];
    let run =
        |args: &[&str]| at(&foreign, &place, &key, &[args, &["--header", "X-API-Key: env:KEY"]].concat());
    let alice = json!({"format": "email", "email": "alice@example.com"});
    let added = run(&["subject", "add", ONLY, "alice@example.com", "--unverified"]);
    assert_eq!(added.json(), json!({"stream_id": ONLY, "subject": alice, "added": true}));
    let sent = foreign.last("/rest/v2/people:add").json();
    assert_eq!(sent, json!({"stream_id": ONLY, "subject": alice, "verified": false}));
    let member = r#"{"format":"iss_sub","iss":"https://idp.example","sub":"7"}"#;
    assert_eq!(run(&["subject", "add", ONLY, member]).code, 0);
    assert_eq!(foreign.last("/rest/v2/people:add").json()["verified"], true);
    // The only stream of an older transmitter has no name.
    let removed = run(&["subject", "remove", "-", "alice@example.com"]);
    assert_eq!(removed.json()["removed"], true);
    assert_eq!(foreign.last("/rest/v2/people:remove").json(), json!({"subject": alice}));

    assert_eq!(run(&["subject", "add", ONLY, "nobody"]).code, 2);
    foreign.state().metadata = json!({"add_subject_endpoint": null});
    assert_eq!(error(&run(&["subject", "add", ONLY, "alice@example.com"]))["code"], "unsupported");
    let wrong = [("KEY", "another")];
    let refused = at(
        &foreign,
        &place,
        &wrong,
        &["subject", "remove", "-", "opaque:7", "--header", "X-API-Key: env:KEY"],
    );
    assert_eq!(error(&refused)["code"], "authentication_failed");
}

#[test]
fn a_client_with_a_key_needs_no_secret() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let pem = SigningKey::generate(Algorithm::Es256).unwrap().to_pem_secret();
    place.write("key.pem", pem.expose());
    let listed =
        at(&foreign, &place, &[("SECEVENT_CLIENT", "rp")], &["stream", "list", "--client-key", "key.pem"]);
    assert_eq!((listed.code, listed.json()), (0, json!({"streams": []})), "{listed:?}");
    let form = foreign.last("/login/token").body;
    assert!(form.contains("client_assertion_type=urn%3Aietf") && !form.contains("client_secret"), "{form}");
    let missing =
        at(&foreign, &place, &[], &["stream", "list", "--client-id", "rp", "--client-key", "none.pem"]);
    assert_eq!(missing.code, 2, "{missing:?}");
}

#[test]
fn an_answer_that_repeats_the_token_is_not_shown() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let ran = at(&foreign, &place, &[("SECEVENT_TOKEN", "token-of-somebody")], &["stream", "list"]);
    assert_eq!(error(&ran)["code"], "authentication_failed");
    assert!(!ran.stderr.contains("token-of-somebody"), "{ran:?}");
}

// finding: A1
#[test]
fn adopting_takes_the_stream_that_is_there() {
    let shop = Shop::new();
    let sink = Sink::open();
    let poll = ["stream", "create", "--adopt", "--events", "caep:session-revoked", "--description", "web"];
    let first = shop.json(&poll);
    assert_eq!(shop.json(&poll), first, "not one more each time");
    let changed = shop.json(&["stream", "create", "--adopt", "--description", "shop"]);
    assert_eq!((&changed["stream_id"], &changed["description"]), (&first["stream_id"], &json!("shop")));
    assert_eq!(changed["events_requested"], first["events_requested"], "what is left open stays");

    let push = ["stream", "create", "--adopt", "--push", &sink.url, "--authorization-env", "PUSH"];
    let pushed = shop.json(&push);
    assert_ne!(pushed["stream_id"], first["stream_id"]);
    assert_eq!(shop.json(&push), pushed);
    let renewed = shop.json(&[&push[..], &["--renew-authorization"]].concat());
    assert_eq!(renewed, pushed);
    assert_eq!(shop.json(&["stream", "list"])["streams"].as_array().unwrap().len(), 2);
    let misuse = shop.run(&["stream", "create", "--adopt", "--poll", "--renew-authorization"]);
    assert_eq!(misuse.code, 2, "{misuse:?}");
    assert_eq!(shop.server.stop(), 0);
}

/// The credential of pushes is sent to an adopted stream where that is wished for, and the URL of a polled one is
/// repeated.
// finding: A1
#[test]
fn what_an_adopted_stream_would_lose_is_sent_along() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let environment = [AS_CLIENT[0], AS_CLIENT[1], ("PUSH", "Bearer credential-of-rp")];
    let run = |args: &[&str]| {
        let ran = at(&foreign, &place, &environment, args);
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    const STREAMS: &str = "/rest/v2/streams";
    run(&["stream", "create", "--poll", "--events", "caep:session-revoked"]);
    run(&["stream", "create", "--adopt", "--poll", "--events", "caep:session-revoked"]);
    assert_eq!(foreign.last(STREAMS).method, "GET", "nothing differs");
    run(&["stream", "create", "--adopt", "--poll", "--events", "caep:credential-change"]);
    let sent = foreign.last(STREAMS).json();
    assert!(sent["delivery"]["endpoint_url"].as_str().unwrap().ends_with("/rest/v2/fetch"), "{sent}");
    run(&["stream", "replace", ONLY, "--poll"]);
    let sent = foreign.last(STREAMS).json();
    assert!(sent["delivery"]["endpoint_url"].as_str().unwrap().ends_with("/rest/v2/fetch"), "{sent}");

    let push =
        ["stream", "create", "--adopt", "--push", "http://127.0.0.1:9/x", "--authorization-env", "PUSH"];
    run(&push);
    assert_eq!(foreign.last(STREAMS).json()["delivery"]["authorization_header"], "Bearer credential-of-rp");
    // It shows the credential, so that it is known to be the same. Where it is not shown, that cannot be known.
    run(&push);
    assert_eq!(foreign.last(STREAMS).method, "GET");
    let hide = || {
        let mut state = foreign.state();
        let delivery = state.stream.as_mut().unwrap()["delivery"].as_object_mut().unwrap();
        delivery.remove("authorization_header");
    };
    hide();
    run(&push);
    assert_eq!(foreign.last(STREAMS).method, "GET");
    run(&[&push[..], &["--renew-authorization"]].concat());
    assert_eq!(foreign.last(STREAMS).method, "PUT");
}

/// A transmitter that asks for scopes without a document of RFC 9728, and refuses without a word, as Keycloak does.
// finding: A6
#[test]
fn scopes_are_asked_for_and_named_in_refusals() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let list = ["stream", "list"];
    let scope = |environment: &[(&str, &str)], args: &[&str]| -> Option<String> {
        let ran = at(&foreign, &place, &[&AS_CLIENT[..], environment].concat(), args);
        assert_eq!(ran.code, 0, "{ran:?}");
        let form = foreign.last("/login/token").body;
        form.split('&').find_map(|pair| pair.strip_prefix("scope=")).map(str::to_owned)
    };
    let is = |name: &str| Some(name.to_owned());
    assert_eq!(scope(&[], &list), is("ssf.read"));
    assert_eq!(scope(&[], &["stream", "create", "--poll"]), is("ssf.manage+ssf.read"));
    assert_eq!(scope(&[("SECEVENT_SCOPE", "a b")], &list), is("a+b"));
    assert_eq!(scope(&[("SECEVENT_SCOPE", "")], &list), None);
    assert_eq!(scope(&[("SECEVENT_SCOPE", "a b")], &["stream", "list", "--scope", "c"]), is("c"));
    assert_eq!(scope(&[], &["stream", "list", "--scope", ""]), None);

    // The place where tokens are given may be named, and how the secret is sent there.
    let endpoint = format!("{}/login/token", foreign.issuer.trim_end_matches("/tenant/7"));
    let named = ["stream", "list", "--token-endpoint", &endpoint];
    assert_eq!(scope(&[], &[&named[..], &["--client-auth", "post"]].concat()), is("ssf.read"));
    assert!(!foreign.last("/login/token").headers.contains_key("authorization"));
    let basic = error(&at(&foreign, &place, &AS_CLIENT, &named));
    assert!(foreign.last("/login/token").headers["authorization"].starts_with("Basic "));
    let fix = basic["fix"].as_str().unwrap();
    assert!(fix.contains("client rp") && fix.contains(&endpoint) && fix.contains("--client-auth"), "{fix}");

    foreign.state().denies = true;
    let fix = |environment: &[(&str, &str)], args: &[&str]| -> String {
        let refused = error(&at(&foreign, &place, environment, args));
        assert_eq!(refused["code"], "authentication_failed", "{refused}");
        refused["fix"].as_str().unwrap().to_owned()
    };
    let refused = fix(&AS_CLIENT, &list);
    assert!(refused.contains("client rp") && refused.contains("ssf.read"), "{refused}");
    foreign.state().granted = json!({ "scope": "profile email" });
    let refused = fix(&AS_CLIENT, &list);
    assert!(refused.contains(r#""profile email" and no ssf scope"#), "{refused}");
    assert!(fix(&[("SECEVENT_TOKEN", "x")], &list).contains("SECEVENT_TOKEN (or --token) was sent"));
    assert!(fix(&[], &list).contains("no credentials were given"));
    let header = fix(&[], &["stream", "list", "--header", "X-API-Key: y"]);
    assert!(header.contains("header x-api-key of --header"), "{header}");
}

// finding: A7
#[test]
fn verification_is_asked_for_again_within_the_time() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let run = |args: &[&str]| at(&foreign, &place, &AS_CLIENT, args);
    assert_eq!(run(&["stream", "create", "--poll"]).code, 0);
    foreign.state().hasty_checks = 1;
    let verified = run(&["stream", "verify", ONLY, "--wait", "30"]);
    assert_eq!((verified.code, foreign.count("/rest/v2/check")), (0, 2), "{verified:?}");
    foreign.state().hasty_checks = 1;
    assert_eq!(error(&run(&["stream", "verify", ONLY]))["code"], "too_often");
}

// finding: A9
#[test]
fn a_poll_waits_where_the_transmitter_does_not() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let run = |args: &[&str]| at(&foreign, &place, &AS_CLIENT, args);
    assert_eq!(run(&["stream", "create", "--poll"]).code, 0);
    assert_eq!(run(&["stream", "verify", ONLY]).code, 0);
    foreign.state().empty_polls = 2;
    let polled = run(&["stream", "poll", ONLY, "--wait", "60"]).json();
    assert_eq!(polled["sets"][0]["jti"], "check-1", "{polled}");
    assert_eq!(foreign.count("/rest/v2/fetch"), 3, "again and again, and not without a pause");
    // When the time is over, that is no failure.
    foreign.state().empty_polls = usize::MAX;
    let polled = run(&["stream", "poll", ONLY, "--wait", "1"]);
    assert_eq!((polled.code, polled.json()["sets"].clone()), (0, json!([])), "{polled:?}");
    assert!(foreign.count("/rest/v2/fetch") <= 5, "no busy loop");
}

// finding: A12
#[test]
fn what_was_handed_out_is_hidden_for_a_while_and_can_be_acknowledged() {
    let shop = Shop::new();
    let id = shop.json(&["stream", "create", "--events", "caep:session-revoked"])["stream_id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(shop.json(&["stream", "verify", id, "--wait"])["others"], json!([]));
    shop.emit("alice@example.com");
    let polled = shop.run(&["stream", "poll", id, "--wait", "60", "--json"]);
    let jti = polled.json()["sets"][0]["jti"].as_str().unwrap().to_owned();

    // That it is hidden is not the same as that there is nothing.
    let nothing = shop.run(&["stream", "poll", id]);
    assert!(nothing.stdout.contains("no SETs available"), "{nothing:?}");
    assert!(nothing.stderr.contains("not acknowledged are hidden for up to 60 s"), "{nothing:?}");
    let pending = || shop.place.run(&["streams", "--json"]).json()["streams"][0]["pending"].clone();
    assert_eq!(pending(), 1);
    let acked = shop.json(&["stream", "ack", id, &jti]);
    assert_eq!(acked, json!({"stream_id": id, "acknowledged": 1}));
    // The acknowledgement is stored a moment after it was answered.
    assert!((0..200).any(|_| pending() == 0), "{}", pending());

    shop.emit("bob@example.com");
    let polled = shop.run(&["stream", "poll", id, "--wait", "60"]);
    assert!(polled.stderr.contains("1 SET handed out and not acknowledged"), "{polled:?}");
    assert_eq!(shop.run(&["stream", "ack", id]).code, 2, "which?");
    assert_eq!(shop.server.stop(), 0);
}

// finding: A14
#[test]
fn a_stream_that_cannot_be_read_is_named_beside_the_others() {
    let (foreign, place) = (Foreign::open(), Place::new());
    assert_eq!(at(&foreign, &place, &AS_CLIENT, &["stream", "create", "--poll"]).code, 0);
    let good = foreign.state().stream.clone().unwrap();
    let mut bad = good.clone();
    bad["stream_id"] = json!("bad\u{1b}");
    bad["delivery"].as_object_mut().unwrap().remove("endpoint_url");
    foreign.state().list = Some(json!([bad, good]));
    let listed = at(&foreign, &place, &AS_CLIENT, &["stream", "list"]).json();
    assert_eq!(listed["streams"][0]["stream_id"], ONLY);
    let unreadable = &listed["unreadable"][0];
    assert_eq!(
        (&unreadable["member"], &unreadable["rule"]),
        (&json!("[0].delivery.endpoint_url"), &json!("SSF-40"))
    );
    let shown = place.run_in(&AS_CLIENT, &["stream", "list", "--issuer", &foreign.issuer, "--legacy"]);
    assert!(shown.stdout.contains(ONLY) && shown.stderr.contains("bad\\u{1b}"), "{shown:?}");
    assert!(shown.stderr.contains("endpoint_url"), "{shown:?}");
}

// finding: A10
#[test]
fn an_audience_is_sent_as_an_array_and_need_not_come_back() {
    let (foreign, place) = (Foreign::open(), Place::new());
    let run = |args: &[&str]| at(&foreign, &place, &AS_CLIENT, args);
    foreign.state().hidden = vec!["aud"];
    let created = run(&["stream", "create", "--poll", "--audience", "https://rp.example"]);
    assert_eq!(created.code, 0, "{created:?}");
    assert_eq!(created.json().get("aud"), None);
    assert_eq!(foreign.last("/rest/v2/streams").json()["aud"], json!(["https://rp.example"]));
    assert_eq!(run(&["stream", "verify", ONLY, "--state", "x"]).code, 0);
    assert_eq!(foreign.last("/rest/v2/check").path, "/rest/v2/check?stream_id=only%20one%2F%26");
    // Who we are has to be said then.
    let unknown = run(&["stream", "poll", ONLY]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("--audience"), "{unknown:?}");
    let known = run(&[
        "stream",
        "poll",
        ONLY,
        "--audience",
        "https://other.example",
        "--audience",
        "https://rp.example",
    ]);
    assert_eq!((known.code, &known.json()["sets"][0]["valid"]), (0, &json!(true)), "{known:?}");
    assert_eq!(run(&["stream", "delete", ONLY, "--yes"]).code, 0);
    run(&["stream", "create", "--audience", "a", "--audience", "b"]);
    assert_eq!(foreign.last("/rest/v2/streams").json()["aud"], json!(["a", "b"]));
}

// finding: C1
#[test]
fn a_stream_without_event_types_is_no_silent_trap() {
    let shop = Shop::new();
    let created = shop.json(&["stream", "create", "--poll"]);
    let id = created["stream_id"].as_str().unwrap();
    assert_eq!(created["events_delivered"], created["events_supported"]);
    assert!(created["events_delivered"].as_array().unwrap().len() > 5, "{created}");
    shop.emit("alice@example.com");
    let polled = shop.json(&["stream", "poll", id, "--wait", "60"]);
    assert_eq!(polled["sets"].as_array().unwrap().len(), 2, "{polled}");

    // A stream that carries nothing all the same says so wherever it is seen.
    let told = "carries no event types";
    let none = shop.run(&["stream", "update", id, "--events", "https://x.example/unknown"]);
    assert!(none.stderr.contains(told) && none.stdout.contains("none"), "{none:?}");
    for command in [&["stream", "list"][..], &["stream", "show", id]] {
        let shown = shop.run(command);
        assert!(shown.stderr.contains(told) && shown.stdout.contains("none"), "{shown:?}");
    }
    let operators = shop.place.run(&["streams"]).ok();
    assert!(operators.contains("no event types"), "{operators}");
    let (_, log) = shop.server.end();
    assert!(log.contains("Stream carries no event types"), "{log}");
}

#[test]
fn help() {
    let place = Place::new();
    for command in [
        "stream",
        "stream metadata",
        "stream list",
        "stream create",
        "stream update",
        "stream replace",
        "stream pause",
        "stream verify",
        "stream poll",
        "stream ack",
        "subject",
        "subject add",
        "subject remove",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        assert_snapshot!(format!("help_{}", command.replace(' ', "_")), place.run(&args).ok());
    }
}
