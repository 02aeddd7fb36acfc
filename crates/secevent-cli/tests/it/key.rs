//! `secevent key`, with the real binary on both sides.

use crate::program::Place;
use crate::serve::{CONFIG, Server};
use insta::assert_snapshot;
use secevent_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

const OLD: &str = "key = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"";
const BOTH: &str = "keys = [\"ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\", \
                    \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"]";
const NEW: &str = "key = \"ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"";

fn states(told: &Value) -> Vec<(String, String)> {
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    told["keys"].as_array().unwrap().iter().map(|key| (text(key, "kid"), text(key, "state"))).collect()
}

#[test]
fn keys_are_published_rotated_and_withdrawn_and_never_shown() {
    let mut config =
        CONFIG.replace("[[client]]\nid = \"shop\"", "[[client]]\nid = \"shop\"\nalgorithm = \"ES256\"");
    config += "[keys]\npublish_ahead_seconds = 7200\n";
    let place = Place::new().with("secevent.toml", config);
    let server = Server::start(&place, "127.0.0.1:0");
    let issuer = server.issuer();
    let issuer = issuer.as_str();
    let list = || place.run(&["key", "list", "--json"]).json();
    let first = states(&list());
    assert_eq!(first.len(), 2, "one for RS256, one for ES256: {first:?}");

    let brought = SigningKey::generate(Algorithm::Es256).unwrap();
    let pem = brought.to_pem_secret();
    place.write("key.pem", pem.expose());
    let import = ["key", "import", issuer, "key.pem", "--algorithm", "ES256", "--kid", "2026-11"];
    let ran = place.run(&import);
    assert!(ran.stderr.contains("secevent key rotate"), "{ran:?}");
    assert!(ran.stdout.contains("2026-11") && !ran.stdout.contains("\"d\""), "{ran:?}");
    assert_eq!(place.run(&import).code, 1, "twice is once too often");
    let ran = place.run_with(&["key", "import", issuer, "-"], "nothing");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");

    let rotate = ["key", "rotate", issuer, "--algorithm", "ES256", "--json"];
    let told = place.run(&rotate).json();
    assert_eq!((&told["kid"], &told["state"]), (&json!("2026-11"), &json!("next")));
    let told = place.run(&[&rotate[..], &["--now"]].concat()).json();
    assert_eq!(told["state"], "current");
    let shown = place.run(&["key", "show", issuer, "2026-11", "--json"]).json();
    assert_eq!(
        shown["jwk"],
        serde_json::from_str::<Value>(&brought.public().to_json())
            .map(|mut jwk| {
                jwk["kid"] = json!("2026-11");
                jwk
            })
            .unwrap()
    );
    assert_eq!(place.run(&["key", "show", issuer, "other"]).code, 1);

    let generated = place.run(&["key", "generate", issuer, "--json"]).json();
    assert_eq!(generated["algorithm"], "RS256", "the issuer's own");
    let ran = place.run(&["key", "withdraw", issuer, "2026-11", "--yes"]).ok();
    assert!(ran.lines().any(|line| line.contains("2026-11") && line.contains("withdrawn")), "{ran}");
    let left: Vec<_> = states(&list()).into_iter().filter(|(_, state)| state == "current").collect();
    assert_eq!(left.len(), 2, "another one took its place: {left:?}");
    assert_eq!(place.run(&["key", "withdraw", issuer, "2026-11", "--yes"]).code, 1);
    assert_eq!(place.run(&["key", "rotate", issuer, "--now", "--at", "2099-01-01T00:00:00Z"]).code, 2);

    let told = place.run(&["key", "list"]).ok();
    let (code, log) = server.end();
    assert_eq!(code, 0, "{log}");
    let key: String = pem.expose().lines().nth(1).unwrap().to_owned();
    for text in [&told, &log] {
        assert!(!text.contains(&key) && !text.contains("PRIVATE"), "{text}");
    }
}

/// SEM-21: the master key is exchanged with the server at work, but for two restarts.
#[test]
fn the_master_key_is_exchanged() {
    const ISSUER: &str = "[[issuer]]\nurl = \"https://events.example\"\ndefault_subjects = \"ALL\"\n";
    let config = format!("{CONFIG}{ISSUER}");
    let place = Place::new().with("secevent.toml", &config);
    let server = Server::start(&place, "127.0.0.1:0");
    let keys = states(&place.run(&["key", "list", "--json"]).json());
    assert_eq!(server.stop(), 0);

    place.write("secevent.toml", config.replace(OLD, BOTH));
    let server = Server::start(&place, "127.0.0.1:0");
    let told = place.run(&["key", "rewrap", "--json"]).json();
    assert_eq!(
        told["sealed_anew"], 3,
        "the store's own key, the one of clients' secrets and those of the issuer: {told}"
    );
    assert!(place.run(&["key", "rewrap"]).ok().starts_with("0 secrets sealed anew"));
    assert_eq!(server.stop(), 0);

    place.write("secevent.toml", config.replace(OLD, NEW));
    let server = Server::start(&place, "127.0.0.1:0");
    assert_eq!(states(&place.run(&["key", "list", "--json"]).json()), keys, "they are still the same");
    assert_eq!(server.stop(), 0);

    place.write("secevent.toml", &config);
    let refused = place.run(&["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"]);
    let fingerprint = told["master_key"].as_str().unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(fingerprint), "{refused:?}");
}

#[test]
fn help_shows_examples() {
    let place = Place::new();
    for command in [
        "key",
        "key list",
        "key show",
        "key generate",
        "key import",
        "key rotate",
        "key withdraw",
        "key rewrap",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        assert_snapshot!(format!("help_{}", command.replace(' ', "_")), place.run(&args).ok());
    }
}
