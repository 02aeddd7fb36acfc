//! `secevent set`: the five subcommands, their outputs and exit codes.

use crate::program::{Place, Ran, serve};
use insta::assert_snapshot;
use secevent_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The Ed25519 key of RFC 8037: its signatures are the same at every run.
const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"2026-11",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026-11","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const AT: &str = "2026-11-01T12:00:00Z";
const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "https://rp.example.com";

/// A directory with a key, its public half, and the claims and token of one revoked session.
fn place() -> Place {
    place_of(ISSUER)
}

fn place_of(issuer: &str) -> Place {
    let place = Place::new().with("key.jwk", KEY).with("jwks.json", JWKS);
    let claims = place.run(&new_args(&["--issuer", issuer, "--json"])).ok();
    let place = place.with("claims.json", &claims);
    let token = place.run(&["set", "sign", "--key", "key.jwk", "claims.json"]).ok();
    place.with("token.txt", token)
}

fn new_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let args =
        ["set", "new", "caep:session-revoked", "--subject", "alice@example.com", "--audience", AUDIENCE];
    [&args[..], &["--txn", "8675309", "--jti", "Zs3x1a", "--at", AT], more].concat()
}

fn verify(place: &Place, more: &[&str]) -> Ran {
    place.run(&[&["set", "verify", "--at", AT, "--jwks", "jwks.json"], more].concat())
}

fn examples(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../specs/examples").join(file)
}

fn example(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(examples(file)).unwrap()).unwrap()
}

fn misused(ran: &Ran, told: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains(told), "{told}: {ran:?}");
}

#[test]
fn help() {
    let place = Place::new();
    assert_snapshot!("help_set", place.run(&["set", "--help"]).ok());
    for command in ["new", "sign", "verify", "decode", "lint"] {
        assert_snapshot!(format!("help_set_{command}"), place.run(&["set", command, "--help"]).ok());
    }
}

#[test]
fn the_examples_of_the_help_work() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let public = SigningKey::from_json(KEY).unwrap().public().to_pem();
    let place = place()
        .with("key.pem", key.to_pem_secret().expose())
        .with("public.pem", public)
        .with("header.json", r#"{"alg":"RS256","typ":"secevent+jwt","kid":"1"}"#);
    let token = place.text("token.txt");
    let mut run = 0;
    for command in ["new", "sign", "verify", "decode", "lint"] {
        let help = place.run(&["set", command, "--help"]).ok();
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let (examples, _) = examples.split_once("\n\nJSON:").unwrap();
        for example in examples.replace("\\\n", "").lines().map(str::trim).filter(|line| !line.is_empty()) {
            // These need a tool that is not ours, or a network.
            let foreign = ["openssl", "localhost", "verify --issuer"];
            if foreign.iter().any(|what| example.contains(what)) {
                continue;
            }
            place.write("token.txt", &token);
            let ran = place.shell(example);
            assert_eq!(ran.code, i32::from(example.contains("caep-interop")), "{example}: {ran:?}");
            run += 1;
        }
    }
    assert_eq!(run, 15);
}

#[test]
fn from_new_by_sign_to_verify() {
    let place = place();
    assert_snapshot!("new", place.run(&new_args(&["--issuer", ISSUER])).ok());
    let verified = verify(&place, &["--issuer", ISSUER, "--audience", AUDIENCE, "token.txt"]);
    assert_snapshot!("verify", verified.ok());
    assert_snapshot!("decode", place.run(&["set", "decode", "token.txt"]).ok());
    let linted = place.run(&["set", "lint", "--at", AT, "token.txt"]).ok();
    assert_eq!(linted, "passed  profile ssf: 0 errors, 0 warnings, 0 notes\n");
}

#[test]
fn json_of_every_subcommand() {
    let place = place();
    let token = place.text("token.txt");
    let claims: Value = serde_json::from_str(&place.text("claims.json")).unwrap();
    assert_eq!(place.run(&new_args(&["--issuer", ISSUER, "--json"])).json(), claims);
    let signed = place.run(&["set", "sign", "--json", "--key", "key.jwk", "claims.json"]).json();
    let expected = json!({"token": token.trim(), "alg": "EdDSA", "kid": "2026-11", "typ": "secevent+jwt", "profile": "ssf"});
    assert_eq!(signed, expected);
    insta::assert_json_snapshot!("verify_json", verify(&place, &["--json", "token.txt"]).json());
    insta::assert_json_snapshot!("decode_json", place.run(&["set", "decode", "--json", "token.txt"]).json());
    let bare = place.run(&["set", "lint", "--json", "--at", AT, r#"{"iss":"https://idp.example.com"}"#]);
    assert_eq!(bare.code, 1);
    insta::assert_json_snapshot!("lint_json", bare.json());
    let refused = verify(&place, &["--json", "--audience", "https://other.example", "token.txt"]);
    assert_eq!((refused.code, refused.stderr.as_str()), (1, ""));
    insta::assert_json_snapshot!("verify_refused_json", refused.json());
}

#[test]
fn input_by_argument_file_and_standard_input() {
    let place = place();
    let token = place.text("token.txt");
    let expected = place.run(&["set", "decode", "token.txt"]).ok();
    assert_eq!(place.run(&["set", "decode", token.trim()]).ok(), expected);
    assert_eq!(place.run_with(&["set", "decode", "-"], &token).ok(), expected);
    assert_eq!(place.run_with(&["set", "decode"], &format!("\n{token}\r\n")).ok(), expected);
    for command in [&["set", "verify", "--jwks", "jwks.json"][..], &["set", "lint"]] {
        assert_eq!(place.run_with(command, &token).code, 0, "{command:?}");
    }
    let claims = place.text("claims.json");
    for (args, stdin) in
        [(&["claims.json"][..], ""), (&["-"], &claims), (&[], &claims), (&[claims.trim()], "")]
    {
        let ran = place.run_with(&[&["set", "sign", "--key", "key.jwk"], args].concat(), stdin);
        assert_eq!(ran.ok(), token, "{args:?}");
    }
}

#[test]
fn tokens_that_are_not_valid() {
    let place = place();
    let token = place.text("token.txt");
    let token = token.trim();
    let sign = |args: &[&str], claims: &str| {
        place.run_with(&[&["set", "sign", "--key", "key.jwk"], args].concat(), claims).ok().trim().to_owned()
    };
    let claims = place.text("claims.json");
    let tampered = token.replacen(".eyJpc3Mi", ".eyJpc3Nj", 1);
    assert_ne!(tampered, token);
    let unsigned = example("rfc8417-2_4-fig6.json")["compact"].as_str().unwrap().to_owned();
    let later = claims.replace("1793534400", "1793538000");
    assert_ne!(later, claims);
    let broken = claims.replace("session-revoked\":{}", "session-revoked\":{\"event_timestamp\":\"x\"}");
    assert_ne!(broken, claims);
    for (token, args, code, failed) in [
        (tampered.as_str(), &[][..], "invalid_key", "signature"),
        (token, &["--audience", "https://other.example"], "invalid_audience", "audience"),
        (token, &["--issuer", "https://idp.example.com/"], "invalid_issuer", "issuer"),
        (token, &["--alg", "RS256"], "invalid_key", "algorithm"),
        (token, &["--profile", "logout"], "invalid_request", "type"),
        (&sign(&["--kid", "another"], &claims), &[], "invalid_key", "key"),
        (&sign(&["--typ", "at+jwt"], &claims), &[], "invalid_request", "type"),
        (&sign(&["--no-check"], "{}"), &[], "invalid_request", "claims"),
        (&sign(&["--no-check"], "hello"), &[], "invalid_request", "claims"),
        (&sign(&[], &later), &[], "invalid_request", "times"),
        (&sign(&["--no-check"], &broken), &[], "invalid_request", "events"),
        (&unsigned, &[], "invalid_key", "algorithm"),
        ("ey.a.b.c.d", &[], "invalid_request", "form"),
        ("ey!.a.b", &[], "invalid_request", "form"),
    ] {
        let ran = verify(&place, &[args, &["--json", token]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{token} {args:?} {ran:?}");
        let verdict = ran.json();
        assert_eq!(verdict["valid"], false);
        assert_eq!(verdict["error"]["code"], code, "{token} {args:?} {verdict}");
        let checks = verdict["checks"].as_array().unwrap().iter();
        let failures: Vec<&str> = checks
            .filter(|check| check["status"] == "failed")
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert_eq!(failures, [failed], "{token} {args:?}");
        assert!(verdict["error"]["fix"].is_string(), "{token} {args:?} {verdict}");
        assert!(verdict.get("claims").is_none(), "what is not believed is not told");
        // The same for people: the story on standard output, the reason on standard error.
        let ran = verify(&place, &[args, &[token]].concat());
        assert!(ran.code == 1 && ran.stdout.starts_with("NOT VALID\n"), "{ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("\n  fix: "), "{ran:?}");
    }
}

/// What FAPI servers sign with, by keys that name no algorithm.
// finding: A14
#[test]
fn pss_needs_no_flag() {
    let place = place();
    for algorithm in [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512] {
        let key = SigningKey::generate(algorithm).unwrap();
        place.write("private.pem", key.to_pem_secret().expose());
        place.write("public.pem", key.public().to_pem());
        let sign = ["set", "sign", "--key", "private.pem", "--alg", algorithm.as_str(), "claims.json"];
        place.write("token.pss", place.run(&sign).ok());
        let ran = place.run(&["set", "verify", "--jwks", "public.pem", "--at", AT, "token.pss"]);
        assert_eq!(ran.code, 0, "{algorithm} {ran:?}");
        let others = ["set", "verify", "--jwks", "public.pem", "--at", AT, "--alg", "RS256", "token.pss"];
        assert_eq!(place.run(&others).code, 1, "{algorithm}");
    }
}

/// A SET of an older transmitter, with the subject in the event.
// finding: A14
#[test]
fn a_set_of_another_profile_is_told_with_the_flag_to_add() {
    let place = place();
    let claims = json!({
        "iss": ISSUER, "jti": "1", "iat": 1_793_534_400, "aud": "https://rp.example.com",
        "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
            "subject": {"format": "email", "email": "alice@example.com"}, "event_timestamp": 1_793_534_400,
        }},
    });
    let sign = |args: &[&str]| {
        let args = [&["set", "sign", "--no-check", "--key", "key.jwk"], args].concat();
        place.run_with(&args, &claims.to_string()).ok().trim().to_owned()
    };
    for token in [sign(&[]), sign(&["--typ", "JWT"])] {
        let ran = verify(&place, &["--json", &token]);
        let fix = ran.json()["error"]["fix"].as_str().unwrap().to_owned();
        assert!(fix.contains("--profile legacy") && fix.contains("--legacy"), "{fix}");
        assert_eq!(verify(&place, &["--profile", "legacy", &token]).code, 0);
        let linted = place.run(&["set", "lint", "--json", "--at", AT, &token]);
        assert!(linted.stdout.contains("--profile legacy"), "{linted:?}");
        let decoded = place.run(&["set", "decode", &token]).ok();
        assert!(decoded.contains("legacy: `secevent set verify --profile legacy`"), "{decoded}");
    }
    let decoded = place.run(&["set", "decode", "token.txt"]).ok();
    assert!(!decoded.contains("--profile"), "{decoded}");
}

/// A key set that is empty is none.
// finding: A5
#[test]
fn key_sets_are_read_with_a_byte_order_mark() {
    let place = place();
    place.write("marked.json", format!("\u{feff}{}", place.text("jwks.json")));
    let ran = place.run(&["set", "verify", "--jwks", "marked.json", "--at", AT, "token.txt"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn keys_in_every_form() {
    let place = place();
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let (secret, public) = (key.to_json_secret(), key.public().to_json());
        place.write("private.pem", key.to_pem_secret().expose());
        place.write("private.jwk", secret.expose());
        place
            .write("private.jwks", format!(r#"{{"keys":[{{"kty":"oct","k":"AAAA"}},{}]}}"#, secret.expose()));
        place.write("public.pem", key.public().to_pem());
        place.write("public.jwk", &public);
        place.write("public.jwks", format!(r#"{{"keys":[{public}]}}"#));
        for private in ["private.pem", "private.jwk", "private.jwks"] {
            let args = ["set", "sign", "--key", private, "--alg", algorithm.as_str(), "claims.json"];
            place.write("token.txt", place.run(&args).ok());
            for public in ["public.pem", "public.jwk", "public.jwks"] {
                let args = ["set", "verify", "--jwks", public, "--alg", algorithm.as_str(), "token.txt"];
                let ran = place.run(&args);
                assert_eq!(ran.code, 0, "{algorithm} {private} {public}: {ran:?}");
            }
        }
    }
    let curve = SigningKey::generate(Algorithm::Es256).unwrap();
    let sign = |key: &str, more: &[&str]| {
        place.run(&[&["set", "sign", "--json", "--key", key, "claims.json"], more].concat())
    };
    place.write("ec.pem", curve.to_pem_secret().expose());
    place.write("two.jwks", format!(r#"{{"keys":[{KEY},{}]}}"#, curve.to_json_secret().expose()));
    assert_eq!(sign("ec.pem", &[]).json()["alg"], "ES256");
    assert_eq!(sign("ec.pem", &["--kid", "mine"]).json()["kid"], "mine");
    assert_eq!(sign("two.jwks", &["--kid", "2026-11"]).json()["alg"], "EdDSA");
    assert_eq!(sign("two.jwks", &["--alg", "ES256"]).json()["kid"], curve.kid());
    misused(&sign("two.jwks", &[]), "choose one with --kid: 2026-11, ");
    misused(&sign("two.jwks", &["--kid", "none"]), "choose one with --kid: 2026-11, ");
    misused(&sign("ec.pem", &["--alg", "RS256"]), "or use ES256");
    misused(&sign("jwks.json", &[]), "no private key");
    misused(&sign("claims.json", &[]), "cannot be used");
    misused(&place.run(&["set", "verify", "--jwks", "ec.pem", "token.txt"]), "that is a private key");
    misused(&place.run(&["set", "verify", "--jwks", "claims.json", "token.txt"]), "cannot be used");
}

#[test]
fn no_output_shows_a_private_key() {
    let place = place();
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let secret: Value = serde_json::from_str(key.to_json_secret().expose()).unwrap();
    place.write("broken.jwk", key.to_json_secret().expose().replace("\"OKP\"", "\"RSA\""));
    for args in [
        &["set", "sign", "--key", "broken.jwk", "claims.json"][..],
        &["set", "sign", "--json", "--key", "broken.jwk", "claims.json"],
        &["set", "verify", "--jwks", "broken.jwk", "token.txt"],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!format!("{ran:?}").contains(secret["d"].as_str().unwrap()), "{args:?}");
    }
}

#[test]
fn keys_by_url_and_by_discovery() {
    let metadata = r#"{"spec_version":"1_0","issuer":"ORIGIN","jwks_uri":"ORIGIN/jwks"}"#;
    let foreign = r#"{"spec_version":"1_0","issuer":"https://idp.example.com","jwks_uri":"ORIGIN/jwks"}"#;
    let origin = serve(&[
        ("/jwks", JWKS),
        ("/broken", "<html>"),
        ("/.well-known/ssf-configuration", metadata),
        ("/.well-known/ssf-configuration/foreign", foreign),
        (
            "/.well-known/ssf-configuration/keyless",
            &metadata.replace("\"ORIGIN\"", "\"ORIGIN/keyless\"").replace("jwks_uri", "x"),
        ),
    ]);
    let place = place_of(&origin);
    let verify = |args: &[&str]| place.run(&[&["set", "verify", "--at", AT, "token.txt"], args].concat());
    let url = |path: &str| format!("{origin}{path}");
    let by_url = verify(&["--jwks", &url("/jwks"), "--allow-private-network", "--json"]);
    assert_eq!((by_url.code, &by_url.json()["key"]["source"]), (0, &json!(url("/jwks"))));
    let discovered = verify(&["--issuer", &origin, "--allow-private-network", "--json"]);
    assert_eq!(
        (discovered.code, &discovered.json()["key"]["source"]),
        (0, &json!(url("/jwks"))),
        "{discovered:?}"
    );
    // Keys that cannot be had leave the question open: that is a failure, and no verdict is printed.
    for (args, told) in [
        (["--jwks", &url("/none")], "404"),
        (["--jwks", &url("/broken")], "cannot be used"),
        (["--issuer", &url("/none")], "404"),
        (["--issuer", &url("/foreign")], "SSF-48"),
        (["--issuer", &url("/keyless")], "no `jwks_uri`"),
    ] {
        let ran = verify(&[&args[..], &["--allow-private-network"]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(told) && ran.stderr.contains("fix: "), "{ran:?}");
    }
    // Without TLS only loopback, and only when asked for; private addresses not without the flag either.
    misused(&verify(&["--jwks", &url("/jwks")]), "must be an https URL");
    misused(&verify(&["--issuer", &origin]), "must be an https URL");
    misused(&verify(&["--jwks", "http://10.1.2.3/jwks", "--allow-private-network"]), "must be an https URL");
    let refused = verify(&["--jwks", &url("/jwks").replace("http:", "https:")]);
    assert!(refused.code == 1 && refused.stderr.contains("add --allow-private-network"), "{refused:?}");
}

#[test]
fn figure_6_of_rfc_8417_is_shown_and_not_believed() {
    let place = place();
    let token = example("rfc8417-2_4-fig6.json")["compact"].as_str().unwrap().to_owned();
    assert_snapshot!("decode_figure_6", place.run(&["set", "decode", &token]).ok());
    let decoded = place.run(&["set", "decode", "--json", &token]).json();
    assert_eq!(decoded["claims"], example("rfc8417-2_4-fig5.json"));
    assert_eq!((&decoded["verified"], &decoded["signature_bytes"]), (&json!(false), &json!(0)));
    let linted = place.run(&["set", "lint", "--profile", "rfc8417", &token]);
    assert!(linted.code == 1 && linted.stdout.contains("SET-25"), "{linted:?}");
}

#[test]
fn what_is_no_token_is_not_decoded() {
    let place = place();
    for (text, rule) in [
        ("hello", "SET-01"),
        ("a.b.c.d.e", "JWTBCP-05"),
        ("e30.!.x", "JWTBCP-21"),
        ("W10.e30.", "SET-01"),
        ("{\"a\":1,\"a\":2}", "E-33"),
    ] {
        let ran = place.run_with(&["set", "decode"], text);
        assert!(ran.code == 1 && ran.stdout.is_empty() && ran.stderr.contains(rule), "{text}: {ran:?}");
        let ran = place.run_with(&["set", "decode", "--json"], text);
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["rule"], rule, "{text}");
    }
}

#[test]
fn a_token_cannot_write_to_the_terminal() {
    let claims = "{\"iss\":\"\\u001b[2J\",\"jti\":\"\u{202e}x\",\"iat\":1,\"events\":{\"urn:\u{9b}\":{}}}";
    let place = place().with("evil.json", claims);
    // With colours forced nothing is stripped on the way out: what is escaped, we have escaped.
    for command in ["set decode", "set lint", "set sign --key key.jwk"] {
        for json in ["", "--json"] {
            let ran = place.shell(&format!("CLICOLOR_FORCE=1 secevent {command} {json} evil.json"));
            let acts = |text: &str| text.contains("\u{1b}[2J") || text.contains(['\u{9b}', '\u{202e}']);
            assert!(!acts(&ran.stdout) && !acts(&ran.stderr), "{ran:?}");
            assert!(ran.stdout.len() + ran.stderr.len() > 0, "{ran:?}");
        }
    }
}

#[test]
fn colours_are_for_terminals() {
    let place = place();
    let verify = "secevent set verify --jwks jwks.json token.txt";
    for (line, coloured) in [
        (verify.to_owned(), false),
        (format!("CLICOLOR_FORCE=1 {verify}"), true),
        (format!("NO_COLOR=1 CLICOLOR_FORCE=1 {verify}"), false),
        (format!("CLICOLOR_FORCE=1 {verify} --json"), false),
    ] {
        assert_eq!(place.shell(&line).ok().contains('\u{1b}'), coloured, "{line}");
    }
}

#[test]
fn logout_tokens_are_of_their_own_kind() {
    let place = place();
    let args =
        ["set", "new", "logout:backchannel-logout", "--sid", "s-1", "--issuer", ISSUER, "--audience", "rp"];
    place.write("claims.json", place.run(&[&args[..], &["--at", AT]].concat()).ok());
    place.write("token.txt", place.run(&["set", "sign", "--key", "key.jwk", "claims.json"]).ok());
    assert_eq!(
        verify(&place, &["--profile", "logout", "--json", "token.txt"]).json()["header"]["typ"],
        "logout+jwt"
    );
    let as_event = verify(&place, &["token.txt"]);
    assert!(as_event.code == 1 && as_event.stderr.contains("add --profile logout"), "{as_event:?}");
    let late = [
        "set",
        "verify",
        "--jwks",
        "jwks.json",
        "--profile",
        "logout",
        "--at",
        "2026-11-01T12:04:00Z",
        "token.txt",
    ];
    let late = place.run(&late);
    assert!(late.code == 1 && late.stderr.contains("BCL-29"), "{late:?}");
    assert_eq!(place.run(&["set", "lint", "--profile", "logout", "--at", AT, "token.txt"]).code, 0);
}

#[test]
fn new_for_every_profile() {
    let place = place();
    let new = |args: &[&str]| place.run(&[&["set", "new", "--json", "--at", AT], args].concat());
    let to = ["--issuer", ISSUER, "--audience", AUDIENCE];
    let logout =
        new(&[&["logout:backchannel-logout", "--sub", "alice", "--sid", "s-1"], &to[..]].concat()).json();
    assert_eq!((&logout["exp"], &logout["sub"]), (&json!(1_793_534_520), &json!("alice")));
    let scim = new(&[&["scim:feed:add", "--subject", "scim:/Users/1"], &to[..]].concat()).json();
    assert_eq!(scim["sub_id"], json!({"format": "scim", "uri": "/Users/1"}));
    let alias = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    let one = new(&[
        &[alias, "--subject", "opaque:7", "--audience", "b", "--toe", "2026-10-31T00:00:00Z"],
        &to[..],
    ]
    .concat())
    .json();
    assert_eq!((&one["aud"], &one["toe"]), (&json!(["b", AUDIENCE]), &json!(1_793_404_800)));
    let own = new(&[
        &["https://doors.example/opened", "--subject", "opaque:7", "--data", r#"{"z":1,"a":2}"#],
        &to[..],
    ]
    .concat());
    assert!(
        own.code == 0 && own.stdout.contains(r#"{"z":1,"a":2}"#) && own.stderr.contains("no standard names"),
        "{own:?}"
    );
    let random: Vec<Value> = (0..2)
        .map(|_| new(&[&["caep:session-revoked", "--subject", "opaque:7"], &to[..]].concat()).json())
        .collect();
    assert_ne!(random[0]["jti"], random[1]["jti"]);
    assert_eq!(random[0]["jti"].as_str().unwrap().len(), 32);
    for (args, rule) in [
        (&["caep:session-revoked"][..], "SET-02"),
        (
            &[
                "caep:session-revoked",
                "--issuer",
                "http://idp.example.com",
                "--audience",
                "a",
                "--subject",
                "opaque:7",
            ],
            "SSF-74",
        ),
        (&["caep:session-revoked", "--issuer", ISSUER, "--audience", "a"], "SSF-01"),
        (
            &["caep:credential-change", "--issuer", ISSUER, "--audience", "a", "--subject", "opaque:7"],
            "CAEP-",
        ),
        (&["scim:feed:add", "--issuer", ISSUER, "--subject", "opaque:7"], "SCIM-05"),
        (&["logout:backchannel-logout", "--issuer", ISSUER, "--audience", "a"], "BCL-11"),
        (
            &[
                "caep:session-revoked",
                "--issuer",
                ISSUER,
                "--audience",
                "a",
                "--subject",
                "opaque:7",
                "--toe",
                "2027-01-01T00:00:00Z",
            ],
            "SET-19",
        ),
    ] {
        let ran = new(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert!(error["error"]["rule"].as_str().unwrap().starts_with(rule), "{args:?} {error}");
    }
    assert_snapshot!("new_refused", place.run(&["set", "new", "caep:session-revoked"]).stderr);
}

#[test]
fn sign_proves_what_it_signs() {
    let place = place();
    let sign = |args: &[&str]| place.run(&[&["set", "sign", "--key", "key.jwk"], args].concat());
    let refused = sign(&["--json", r#"{"iss":"x"}"#]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["error"]["rule"], "SET-03");
    assert!(error["error"]["also"].as_array().unwrap().len() >= 4, "{error}");
    assert_eq!(sign(&["--profile", "logout", "claims.json"]).code, 1);
    assert_eq!(sign(&["--profile", "rfc8417", "claims.json"]).code, 0);
    let unchecked = sign(&["--no-check", r#"{ "iss" : 1 }"#]);
    assert!(unchecked.stderr.contains("not checked"), "{unchecked:?}");
    let decoded = place.run_with(&["set", "decode", "--json"], &unchecked.ok());
    assert!(decoded.stdout.contains(r#""claims":{ "iss" : 1 }"#), "{decoded:?}");
}

#[test]
fn misuse() {
    let place = place();
    for (args, told) in [
        (&["set"][..], "Usage:"),
        (&["set", "frobnicate"], "unrecognized subcommand"),
        (&["set", "new"], "<TYPE>"),
        (&["set", "new", "caep:session-revoke"], "did you mean caep:session-revoked"),
        (&["set", "new", "caep:"], "caep:session-established"),
        (&["set", "new", "sesion"], "vocabularies are"),
        (&["set", "new", "caep:session-revoked", "--subject", "alice"], "neither an e-mail address"),
        (&["set", "new", "caep:session-revoked", "--data", "[]"], "SET-14"),
        (&["set", "new", "caep:session-revoked", "--toe", "yesterday"], "2026-01-31T12:00:00Z"),
        (&["set", "new", "caep:session-revoked", "--profile", "legacy"], "possible values"),
        (&["set", "sign", "claims.json"], "--key"),
        (&["set", "sign", "--key", "none.pem", "claims.json"], "none.pem"),
        (&["set", "sign", "--key", "key.jwk", "--no-check", "--profile", "ssf", "{}"], "cannot be used with"),
        (&["set", "sign", "--key", "key.jwk", "--alg", "HS256", "claims.json"], "symmetric"),
        (&["set", "verify", "token.txt"], "--jwks"),
        (&["set", "verify", "--jwks", "none.json", "token.txt"], "none.json"),
        (&["set", "verify", "--jwks", "jwks.json", "none.txt"], "none.txt"),
        (
            &["set", "verify", "--jwks", "jwks.json", "--profile", "caep-interop", "token.txt"],
            "possible values",
        ),
        (&["set", "decode"], "is empty"),
        (&["set", "decode", "-"], "is empty"),
        (&["set", "decode", ""], "is empty"),
        (&["set", "lint", "--profile", "plain", "token.txt"], "possible values"),
        (&["set", "lint", "--header", "claims.json", "token.txt"], "header of its own"),
        (&["set", "lint", "--header", "none.json", "claims.json"], "none.json"),
    ] {
        misused(&place.run(args), told);
    }
    place.write("long.txt", "x".repeat(1024 * 1024 + 1));
    misused(&place.run(&["set", "decode", "long.txt"]), "longer than 1048576 bytes");
    misused(&place.run_with(&["set", "lint"], &"x".repeat(1024 * 1024 + 1)), "longer than 1048576 bytes");
}

#[test]
fn lint_tells_rules_and_ends_accordingly() {
    let place = place()
        .with("header.json", r#"{"alg":"none"}"#)
        .with("good.json", r#"{"alg":"RS256","typ":"secevent+jwt","kid":"1"}"#);
    let lint = |args: &[&str]| place.run(&[&["set", "lint", "--at", AT], args].concat());
    assert_snapshot!(
        "lint",
        lint(&[
            "--profile",
            "caep-interop",
            "--header",
            "header.json",
            r#"{"iss":"https://idp.example.com","iat":"now"}"#
        ])
        .stdout
    );
    assert_eq!(lint(&["--header", "good.json", "claims.json"]).code, 0);
    let untraced = r#"{"iss":"https://a.example","jti":"1","iat":1,"aud":"b","sub_id":{"format":"opaque","id":"x"},"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{}}}"#;
    let warned = lint(&[untraced]);
    assert!(warned.code == 0 && warned.stdout.contains("SSF-26"), "{warned:?}");
    assert_eq!(lint(&["--deny-warnings", untraced]).code, 1);
    let token = place.text("token.txt");
    let padded = format!("{}=", token.trim());
    for (text, rule) in [("hello", "SET-01"), (padded.as_str(), "JWTBCP-21")] {
        let ran = place.run_with(&["set", "lint", "--json", "--at", AT], text);
        assert_eq!((ran.code, &ran.json()["findings"][0]["rule"]), (1, &json!(rule)), "{ran:?}");
    }
}

/// The examples that the standards print, linted as the index of the examples says they are.
#[test]
fn lint_of_printed_examples() {
    let place = Place::new();
    for example in example("index.json")["examples"].as_array().unwrap() {
        let (Some(file), Some(fits)) = (example["file"].as_str(), example["valid_as_ssf_1_0"].as_bool())
        else {
            continue;
        };
        if example["kind"] != "set-claims" {
            continue;
        }
        let ran = place.run(&["set", "lint", "--profile", "ssf", "--json", examples(file).to_str().unwrap()]);
        assert_eq!(ran.json()["passed"] == true, ran.code == 0, "{file}");
        assert_eq!(ran.code == 0, fits, "{file}: {}", ran.stdout);
    }
    for (file, profile, code, rule) in [
        ("rfc8417-2_1_1-fig1.json", "rfc8417", 0, "PUSH-39"),
        ("bcl-2_4-logout-token.json", "logout", 1, "BCL-45"),
        ("rfc9967-2_4_1-fig4.json", "scim", 0, ""),
        ("caep-3_1_2-session-revoked-example-session-id-req.json", "caep-interop", 1, "INTEROP-30"),
        ("ssf-8_1_4_2-figverifyset.json", "ssf", 0, ""),
        ("sse-id1-figverifyset.json", "ssf", 1, "SSF-01"),
    ] {
        let ran = place.run(&["set", "lint", "--profile", profile, examples(file).to_str().unwrap()]);
        assert!(ran.code == code && ran.stdout.contains(rule), "{file}: {ran:?}");
    }
}
