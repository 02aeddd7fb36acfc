//! `secevent client`: who may call a running server, with the real binary on both sides.

use crate::foreign;
use crate::program::{Place, Ran};
use crate::serve::{CONFIG, Server};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpListener;

struct World {
    place: Place,
    server: Server,
}

impl World {
    fn new() -> Self {
        let place = Place::new().with("secevent.toml", CONFIG);
        let server = Server::start(&place, "127.0.0.1:0");
        Self { place, server }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.place.run(&[&["client"], args].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.json()
    }

    /// Whether a producer with this secret can send an event.
    fn emits(&self, client: &str, secret: &str, address: &str) -> Ran {
        let issuer = self.server.issuer();
        let emit = ["emit", "caep:session-revoked", "--subject", address];
        let access = ["--issuer", &issuer, "--client", client];
        self.place.run_in(&[("SECEVENT_SECRET", secret)], &[emit, access].concat())
    }
}

#[test]
fn a_client_is_made_used_switched_off_and_deleted() {
    let world = World::new();
    let made = world.run(&["create", "idp2", "--scope", "events.write", "--email-domain", "good.example"]);
    assert!(made.stderr.contains("shown once"), "{made:?}");
    let first = made.ok().trim().to_owned();
    assert_eq!(first.len(), 43, "256 bits");
    assert_eq!(world.emits("idp2", &first, "alice@good.example").code, 0);
    let refused = world.emits("idp2", &first, "alice@bad.example");
    assert!(
        refused.code == 1 && refused.stderr.contains("may not send events about this subject"),
        "{refused:?}"
    );

    let listed = world.run(&["list"]).ok();
    let row = listed.lines().find(|line| line.starts_with("idp2")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["idp2", "enabled", "events.write", "0", "here"]);
    let shown = world.run(&["show", "idp2"]).ok();
    assert!(shown.contains("email domains  good.example") && !shown.contains(&first), "{shown}");

    // What is not named stays, of each kind of subject.
    let subjects = |args: &[&str]| world.json(&[&["update", "idp2"], args].concat())["subjects"].clone();
    assert_eq!(
        subjects(&["--subject-issuer", "https://idp.example"]),
        json!({"email_domains": ["good.example"], "issuers": ["https://idp.example"]})
    );
    assert_eq!(
        subjects(&["--email-domain", "better.example"]),
        json!({"email_domains": ["better.example"], "issuers": ["https://idp.example"]})
    );
    assert_eq!(
        subjects(&["--clear", "subjects", "--email-domain", "good.example"]),
        json!({"email_domains": ["good.example"], "issuers": []})
    );

    let updated = world.json(&[
        "update",
        "idp2",
        "--event",
        "caep:*",
        "--events-per-second",
        "100",
        "--clear",
        "subjects",
    ]);
    assert_eq!((&updated["events"], updated.get("subjects")), (&json!(["caep:*"]), None));
    let updated = world.json(&["update", "idp2", "--requests-per-second", "9", "--clear", "events"]);
    assert_eq!(updated["limits"], json!({"requests_per_second": 9, "events_per_second": 100}));
    assert_eq!((updated.get("events"), &updated["scopes"]), (None, &json!(["events.write"])));
    assert_eq!(world.emits("idp2", &first, "alice@bad.example").code, 0);

    let rotated = world.run(&["rotate", "idp2"]);
    assert!(rotated.stderr.contains("the old one is good until"), "{rotated:?}");
    let second = rotated.ok().trim().to_owned();
    for secret in [&first, &second] {
        assert_eq!(world.emits("idp2", secret, "alice@good.example").code, 0);
    }
    let third = world.json(&["rotate", "idp2", "--grace", "0"]);
    assert_eq!(world.emits("idp2", &second, "alice@good.example").code, 1);
    let third = third["secret"].as_str().unwrap();

    assert_eq!(world.run(&["disable", "idp2"]).ok(), "client idp2 is disabled\n");
    assert_eq!(world.emits("idp2", third, "alice@good.example").code, 1);
    assert_eq!(world.run(&["enable", "idp2"]).ok(), "client idp2 is enabled\n");
    assert_eq!(world.emits("idp2", third, "alice@good.example").code, 0);
    assert_eq!(world.run(&["delete", "idp2", "--yes"]).ok(), "client idp2 is deleted, with its streams\n");
    assert_eq!(world.emits("idp2", third, "alice@good.example").code, 1);
    for (args, code, told) in [
        (&["show", "idp2"][..], 1, "there is no such client"),
        (&["create", "x", "--scope", "all"], 1, "there is no scope"),
        (&["create", "x", "--scope", "ssf.read"], 1, "audience"),
        (&["delete", "shop", "--yes"], 1, "declared in configuration"),
        (&["update", "shop", "--clear", "id"], 2, "possible values"),
        (&["create", "x", "--scope", "events.write", "--jwks", "missing.json"], 2, "missing.json"),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    let (code, log) = world.server.end();
    assert_eq!(code, 0, "{log}");
    for secret in [first.as_str(), &second, third] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

/// Two operators at once: the one who looked first does not undo what the other has done.
#[test]
fn a_client_that_was_changed_meanwhile_is_left_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut seen = None;
        for connection in listener.incoming().map_while(Result::ok) {
            let asked = foreign::read(&connection).unwrap();
            let (status, body) = match asked.method.as_str() {
                "GET" => (200, json!({"id": "billing", "scopes": ["ssf.read"]})),
                _ => (412, json!({"err": "precondition_failed", "detail": "read it again"})),
            };
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\nETag: \"7-on\"\r\nContent-Length: {}\r\n", body.len());
            let answer = format!("{head}Content-Type: application/json\r\nConnection: close\r\n\r\n{body}");
            (&connection).write_all(answer.as_bytes()).unwrap();
            if asked.method == "PUT" {
                seen = asked.headers.get("if-match").cloned();
                break;
            }
        }
        seen
    });
    let args = ["client", "update", "billing", "--event", "caep:*", "--admin", &admin];
    let ran = Place::new().run_in(&[("SECEVENT_ADMIN_TOKEN", "t")], &args);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("changed it meanwhile") && ran.stderr.contains("try again"), "{ran:?}");
    assert_eq!(server.join().unwrap().as_deref(), Some("\"7-on\""));
}
