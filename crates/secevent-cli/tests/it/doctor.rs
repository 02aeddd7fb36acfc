//! `secevent doctor`, with a server and without.

use crate::program::{Place, Ran};
use crate::serve::{CONFIG, Server};
use insta::assert_snapshot;
use serde_json::Value;
use std::net::TcpListener;

fn doctor(place: &Place, listen: &str, more: &[&str]) -> Ran {
    place.run(
        &[&["doctor", "--dev", "--config", "secevent.toml", "--listen", listen, "--json"], more].concat(),
    )
}

/// What a check has shown: its verdict, and the words.
fn of(told: &Value, check: &str) -> (String, String) {
    let found = told["findings"].as_array().unwrap().iter().find(|one| one["check"] == check);
    let found = found.unwrap_or_else(|| panic!("{check}: {told}"));
    (found["verdict"].as_str().unwrap().to_owned(), found["what"].as_str().unwrap().to_owned())
}

fn verdicts(told: &Value, wanted: &[(&str, &str)]) {
    for (check, verdict) in wanted {
        assert_eq!(of(told, check).0, *verdict, "{check}: {told}");
    }
}

#[test]
fn a_place_is_examined_before_the_first_start_beside_a_server_and_after_it() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let before = doctor(&place, "127.0.0.1:0", &[]);
    assert_eq!(before.code, 0, "{before:?}");
    let told = before.json();
    assert_eq!(told["healthy"], true);
    verdicts(&told, &[("store", "ok"), ("listener", "ok"), ("outgoing", "ok"), ("metadata", "skipped")]);
    assert!(of(&told, "store").1.contains("is not there yet"), "{told}");
    assert!(of(&told, "fsync").1.ends_with(" ms"), "how long it takes is the machine's affair: {told}");
    assert!(!place.path("events.db").exists(), "nothing is changed");

    let server = Server::start(&place, "127.0.0.1:0");
    let address = server.issuer().replace("http://", "");
    let beside = doctor(&place, &address, &[]);
    assert_eq!(beside.code, 0, "{beside:?}");
    let told = beside.json();
    verdicts(
        &told,
        &[
            ("store", "ok"),
            ("store file", "ok"),
            ("admin token", "ok"),
            ("master key", "skipped"),
            ("server", "ok"),
            ("integrity", "ok"),
            ("listener", "ok"),
            ("metadata", "ok"),
            ("clock", "skipped"),
        ],
    );
    assert!(of(&told, "store").1.contains("is open in a running server"), "{told}");
    assert!(of(&told, "metadata").1.contains("names the issuer"), "{told}");
    // The server calls itself something else.
    let other = doctor(
        &place,
        &address,
        &["--public-url", &format!("http://{}", address.replace("127.0.0.1", "localhost"))],
    );
    assert_eq!(other.code, 1, "{other:?}");
    let (verdict, what) = of(&other.json(), "metadata");
    assert!(verdict == "fail" && what.contains("names the issuer \"http://127.0.0.1"), "{other:?}");
    assert_eq!(server.stop(), 0);

    let after = doctor(&place, "127.0.0.1:0", &[]);
    assert_eq!(after.code, 0, "{after:?}");
    verdicts(&after.json(), &[("store", "ok"), ("master key", "ok"), ("metadata", "skipped")]);

    // finding: C5
    let mut content = std::fs::read(place.path("events.db")).unwrap();
    let key = content
        .chunks_mut(4_096)
        .rev()
        .find(|page| page.windows(9).any(|part| part == b"store-key"))
        .unwrap();
    key[8..200].fill(0xee);
    place.write("events.db", content);
    let damaged = doctor(&place, "127.0.0.1:0", &[]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
    let (verdict, what) = of(&damaged.json(), "store");
    assert!(verdict == "fail" && what.contains("is damaged"), "{damaged:?}");
}

#[test]
fn what_a_server_would_not_start_with_fails() {
    let place = Place::new().with("secevent.toml", CONFIG);
    assert_eq!(Server::start(&place, "127.0.0.1:0").stop(), 0);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    place.write("no.pem", "this is no certificate");
    let outgoing = "[outgoing]\nextra_ca = \"no.pem\"\n[[client]]";
    place.write(
        "secevent.toml",
        CONFIG.replace("key = \"00", "key = \"ff").replacen("[[client]]", outgoing, 1),
    );
    let ran = doctor(&place, &listen, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = ran.json();
    assert_eq!(told["healthy"], false);
    verdicts(&told, &[("master key", "fail"), ("listener", "fail"), ("outgoing", "fail")]);
    for wrong in ["tls", "admin_tls"] {
        place.write("no.key", "this is no key");
        let tls = format!("[server]\n{wrong} = {{ certificate = \"no.pem\", key = \"no.key\" }}\n");
        let credential =
            "[[push_credential]]\nclient = \"shop\"\ncertificate = \"no.pem\"\nkey = \"no.key\"\n";
        place.write("secevent.toml", format!("{tls}{CONFIG}{credential}"));
        let told = doctor(&place, "127.0.0.1:0", &[]).json();
        let check = if wrong == "tls" { "certificate" } else { "admin certificate" };
        verdicts(&told, &[("configuration", "warn"), (check, "fail"), ("push credential", "fail")]);
    }
    let fixes = told["findings"].as_array().unwrap().iter().filter(|one| one["verdict"] == "fail");
    assert!(fixes.clone().all(|one| one["fix"].is_string()) && fixes.count() == 3, "{told}");
    assert!(!ran.stdout.contains("ff0102") && !ran.stdout.contains("a secret of"), "{ran:?}");

    place.write("events.db", "this is no database, and never was one");
    let told = doctor(&place, "127.0.0.1:0", &[]).json();
    verdicts(&told, &[("store", "fail")]);
    let ran =
        place.run(&["doctor", "--dev", "--store", "sqlite:nowhere/events.db", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("fail     disk: nowhere cannot be looked at"), "{ran:?}");

    place.write("secevent.toml", "[server]\nlisten_to = 1\n");
    let told = doctor(&place, "127.0.0.1:0", &[]).json();
    assert_eq!(of(&told, "configuration").0, "fail");
    assert_eq!(told["findings"].as_array().unwrap().len(), 1, "nothing else is tried: {told}");
    assert_eq!(place.run(&["doctor", "--config", "absent.toml"]).code, 2);
}

// finding: A13
#[test]
fn an_authorization_server_out_of_reach_is_found_with_the_setting() {
    let ours = "[server]\npublic_url = \"https://events.example.com\"\n";
    let more = "[[issuer]]\nurl = \"https://events.example.com\"\ndefault_subjects = \"ALL\"\n\
                [[authorization_server]]\nissuer = \"https://127.0.0.1:8443\"\naudience = \"x\"\n";
    let place = Place::new().with("secevent.toml", format!("{ours}{CONFIG}{more}"));
    let settings = ["--config", "secevent.toml", "--listen", "127.0.0.1:0", "--json"];
    let ran = place.run(&[&["config", "check"][..], &["--config", "secevent.toml", "--json"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = ran.json();
    let found = told["findings"].as_array().unwrap().iter();
    let found = found.clone().find(|one| one["key"] == "authorization_server[0].issuer").unwrap();
    assert!(found["fix"].as_str().unwrap().starts_with("set outgoing.allow_ports = [443, 8443]"), "{told}");

    let ran = place.run(&[&["doctor"][..], &settings].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = ran.json();
    let found = told["findings"].as_array().unwrap().iter();
    let found = found.clone().find(|one| one["check"] == "authorization server").unwrap();
    assert_eq!(found["verdict"], "fail", "{told}");
    assert!(found["fix"].as_str().unwrap().starts_with("set outgoing.allow_ports = [443, 8443]"), "{told}");
}

#[cfg(unix)]
#[test]
fn a_token_that_others_can_read_fails() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    let address = server.issuer().replace("http://", "");
    let open =
        |name: &str| std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    open("events.db.admin");
    open("events.db");
    let ran = doctor(&place, &address, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    verdicts(&ran.json(), &[("admin token", "fail"), ("store file", "warn"), ("server", "ok")]);
    assert_eq!(server.stop(), 0);
}

#[test]
fn help() {
    assert_snapshot!("help_doctor", Place::new().run(&["doctor", "--help"]).ok());
}
