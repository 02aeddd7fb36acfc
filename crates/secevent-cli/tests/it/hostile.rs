//! Text of a peer on each way out: the log, what commands print, problem documents, the admin API. Nothing of it may
//! begin a line, act on a terminal, turn text around or be invisible.
// finding: B9

use crate::admin::{World, entrance};
use crate::foreign::{Foreign, TOKEN};
use crate::program::{Place, Ran};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Each line of it looks like one that the program could write.
const EVIL: &str = "x\nFORGED\r\nFORGED\rFORGED\u{2028}FORGED\u{85}FORGED\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{202e}\u{2066}\
                    \u{61c}\u{200b}\u{200f}\u{feff}\u{ad}\u{e0041}\u{fe0f}\u{7f}";

/// What must never be printed. Colours are switched on, so that nothing is taken out on the way.
fn check(text: &str) {
    let hostile: Vec<char> =
        EVIL.chars().filter(|&c| !matches!(c, '\n' | '\u{1b}') && !c.is_ascii_graphic()).collect();
    assert!(!text.contains(&hostile[..]), "{text:?}");
    assert!(!text.contains("\u{1b}[2J") && !text.contains("\u{1b}]"), "{text:?}");
    let lines = text.split(['\n', '\r']);
    assert!(lines.clone().all(|line| !line.trim_start().starts_with("FORGED")), "{text:?}");
}

/// The same of a run that says something; its JSON says exactly what came.
fn checked(ran: Ran) -> Ran {
    check(&ran.stdout);
    check(&ran.stderr);
    assert!(ran.stdout.contains("FORGED") || ran.stderr.contains("FORGED"), "{ran:?}");
    ran
}

fn coloured(place: &Place, args: &[&str]) -> Ran {
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    checked(place.shell(&format!("CLICOLOR_FORCE=1 secevent {}", quoted.join(" "))))
}

/// What the admin API answers, byte for byte.
fn asked(place: &Place, status: u16, request: &str, body: &str) -> String {
    let (url, token) = entrance(place);
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    check(body);
    assert!(body.contains("FORGED") && serde_json::from_str::<Value>(body).is_ok(), "{body}");
    body.to_owned()
}

#[test]
fn a_refusal_forges_neither_log_lines_nor_lines_of_commands() {
    let world = World::new();
    let (place, stream) = (&world.place, world.stream.as_str());
    let body =
        json!({ "err": format!("bad {EVIL}"), "description": format!("{EVIL} {}", "long ".repeat(1000)) });
    world.sink.refuse_with(&body.to_string());
    // The claims and the subject of an event are foreign text too.
    let subject = json!({ "format": "opaque", "id": EVIL }).to_string();
    let data = json!({ "reason_admin": { "en": EVIL } }).to_string();
    let ran = world
        .server
        .emit(place, &["caep:session-revoked", "--subject", &subject, "--data", &data, "--txn", "t-1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let refused = world.sink.next();
    let jti = refused["jti"].as_str().unwrap();
    world.json_once(&["dead", "list"], |told| told["dead"] != json!([]));

    coloured(place, &["dead", "list"]);
    coloured(place, &["dead", "show", stream, jti]);
    coloured(place, &["dead", "show", "--claims", stream, jti]);
    coloured(place, &["explain", "--event", jti]);
    coloured(place, &["dead", "list", "--json"]);
    coloured(place, &["explain", "--event", jti, "--json"]);
    let shown = coloured(place, &["dead", "show", "--claims", "--json", stream, jti]).json();
    assert_eq!(shown["claims"], refused, "the claims themselves are as they were");
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with(r"bad x\nFORGED\r\nFORGED"), "{reason}");
    check(reason);

    // An operator's own words come back, to the log of changes among others.
    let ran = place.run(&["streams", "pause", stream, "--reason", EVIL]);
    assert_eq!(ran.code, 0, "{ran:?}");
    coloured(place, &["audit"]);
    coloured(place, &["audit", "--json"]);

    for path in ["/admin/v1/dead", "/admin/v1/audit", &format!("/admin/v1/streams/{stream}/dead/{jti}")] {
        asked(place, 200, &format!("GET {path}"), "");
    }
    let (_, log) = world.server.end();
    check(&log);
    assert!(log.contains(r"bad x\nFORGED\r\nFORGED"), "{log}");
    // finding: C12
    let named = format!(
        "WARN Receiver rejected SET stream.id={stream} jti={jti} txn=t-1 event.type=https://schemas.openid.net/"
    );
    assert!(log.contains(&named), "{named}: {log}");
}

#[test]
fn problem_documents_and_the_errors_made_of_them_are_on_one_line() {
    let world = World::new();
    let body = json!({ EVIL: EVIL }).to_string();
    let problem = asked(&world.place, 400, "POST /admin/v1/keys/publish", &body);
    let problem: Value = serde_json::from_str(&problem).unwrap();
    check(problem["detail"].as_str().unwrap());
    let kind = format!("urn:{EVIL}");
    for args in [
        &[&kind, "--subject", "a@example.com"][..],
        &["urn:x", "--subject", "a@example.com", "--data", &body],
    ] {
        let ran = world.server.emit(&world.place, args);
        check(&ran.stdout);
        check(&ran.stderr);
        assert_eq!(ran.code, 1, "{ran:?}");
    }
    for args in [
        &["dead", "show", "nothing", "x\nFORGED"][..],
        &[
            "explain",
            "--issuer",
            "x\nFORGED",
            "--type",
            "caep:session-revoked",
            "--subject",
            "alice@example.com",
        ],
        &["audit", "--after", "x\nFORGED"],
    ] {
        let ran = world.place.run(args);
        check(&ran.stderr);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    }
}

#[test]
fn a_token_forges_no_lines_of_the_commands_that_show_it() {
    let claims = json!({
        "iss": EVIL, "jti": EVIL, "iat": 1, "aud": [EVIL], "txn": EVIL, "sub": EVIL, EVIL: { EVIL: EVIL },
        "sub_id": { "format": EVIL, EVIL: EVIL, "id": EVIL },
        "events": { (format!("urn:{EVIL}")): { EVIL: EVIL } },
    });
    let header = json!({ "alg": EVIL, "typ": EVIL, "kid": EVIL, EVIL: EVIL });
    let place = Place::new().with("evil.json", claims.to_string()).with("header.json", header.to_string());
    place.run(&["set", "new", "caep:session-revoked", "--subject", "a@example.com"]);
    let key = secevent_jose::SigningKey::generate(secevent_jose::Algorithm::Es256).unwrap();
    let place = place.with("key.jwk", key.to_json_secret().expose()).with(
        "jwks.json",
        json!({"keys": [
            serde_json::from_str::<Value>(&key.public().to_json()).unwrap()
        ]})
        .to_string(),
    );
    let typed = secevent_jose::Signer::new(key, "secevent+jwt").sign(claims.to_string().as_bytes()).unwrap();
    let place = place.with("token.txt", typed);
    for args in [
        &["set", "decode", "evil.json"][..],
        &["set", "decode", "token.txt"],
        &["set", "decode", "--json", "token.txt"],
        &["set", "lint", "evil.json", "--header", "header.json"],
        &["set", "lint", "--json", "evil.json", "--header", "header.json"],
        &["set", "verify", "--jwks", "jwks.json", "token.txt"],
        &["set", "verify", "--jwks", "jwks.json", "--profile", "rfc8417", "token.txt"],
        &["set", "verify", "--jwks", "jwks.json", "--profile", "rfc8417", "--json", "token.txt"],
    ] {
        let ran = coloured(&place, args);
        assert!(ran.stdout.contains("FORGED"), "{ran:?}");
    }
}

#[test]
fn a_transmitter_forges_no_lines_of_the_commands_that_ask_it() {
    let foreign = Foreign::open();
    foreign.state().metadata = json!({ "of_its_own": EVIL, EVIL: EVIL });
    let place = Place::new();
    let issuer = foreign.issuer.as_str();
    let metadata = ["stream", "metadata", issuer, "--legacy"];
    coloured(&place, &metadata);
    coloured(&place, &[&metadata[..], &["--json"]].concat());
    foreign.state().metadata = json!({});
    // It repeats what it was sent, and that is what it is made to say here.
    let stream = json!({
        "stream_id": EVIL, "iss": issuer, "aud": EVIL, "description": EVIL, "events_delivered": [EVIL],
        "delivery": {
            "method": "https://schemas.openid.net/secevent/risc/delivery-method/poll",
            "endpoint_url": format!("{issuer}/poll"),
        },
    });
    foreign.state().stream = Some(stream);
    let access = ["--issuer", issuer, "--legacy", "--token", TOKEN];
    for more in [&["stream", "list"][..], &["stream", "list", "--json"], &["stream", "show", EVIL]] {
        coloured(&place, &[more, &access].concat());
    }
}
