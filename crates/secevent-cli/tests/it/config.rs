//! `secevent config`, and what a server makes of what the file declares.

use crate::program::{Place, Ran, Sink};
use crate::serve::{CONFIG, Server, Shop, runtime};
use insta::assert_snapshot;
use secevent_ssf::{Status, Tolerance, UpdateStream};
use serde_json::{Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn with(place: &Place, variables: &str, args: &str) -> Ran {
    place.shell(&format!("{variables} secevent {args}"))
}

#[test]
fn the_example_is_a_file_to_begin_with() {
    let place = Place::new();
    place.write("secevent.toml", place.run(&["config", "example"]).ok());
    let secrets = format!("SECEVENT_MASTER_KEY={KEY} BILLING_SECRET=0123456789abcdef");
    let checked = with(&place, &secrets, "config check");
    assert_eq!((checked.code, checked.stdout.as_str()), (0, "secevent.toml is valid\n"), "{checked:?}");
    let told = with(&place, &secrets, "config check --json").json();
    assert_eq!(told, json!({"valid": true, "findings": []}));
    let shown = with(&place, &secrets, "config show");
    assert_eq!(shown.code, 0, "{shown:?}");
    place.write("again.toml", &shown.stdout);
    let again = with(&place, &secrets, "config check --config again.toml");
    assert_eq!(again.code, 0, "what is shown is a configuration: {again:?}");
}

#[test]
fn everything_that_is_wrong_is_told_with_its_line_and_a_fix() {
    let wrong = "[server]\nlisten_to = 1\n[delivery]\npoll_sets_max = 0\n[[client]]\nid = \"shop\"\n\
                 secret = { env = \"SECEVENT_TEST_NOT_SET\" }\nscopes = [\"ssf.read\"]\n";
    let place = Place::new().with("secevent.toml", wrong).with("bad.toml", "[server]\nlisten =\n");
    let ran = place.run(&["config", "check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    assert_snapshot!("check_wrong", ran.stdout);
    let told = place.run(&["config", "check", "--json"]);
    assert_eq!(told.code, 1);
    let told = told.json();
    assert_eq!(told["valid"], false);
    let keys: Vec<_> = told["findings"].as_array().unwrap().iter().map(|one| one["key"].clone()).collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert!(keys.contains(&json!("client[0].audience")), "{keys:?}");
    let ran = place.run(&["config", "check", "--config", "bad.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("bad.toml:2: error: is no TOML: "), "{ran:?}");
    for args in [
        &["config", "check", "--config", "absent.toml"][..],
        &["config", "check", "--listen", "here"],
        &["config"],
    ] {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
    assert_eq!(place.run(&["config", "check", "--dev"]).code, 1, "the file counts for development too");
    assert_eq!(Place::new().run(&["config", "check", "--dev"]).code, 0);
    assert_eq!(Place::new().run(&["config", "check"]).code, 2, "there is no file");
}

const ISSUER: &str = "[[issuer]]\nurl = \"https://events.example.com\"\ndefault_subjects = \"ALL\"\n";

// finding: C9
#[test]
fn a_server_that_does_not_start_lists_all_that_is_wrong() {
    let stream = |name: &str, url: &str| {
        format!(
            "[[stream]]\nname = \"{name}\"\nclient = \"shop\"\nevents = [\"caep:*\"]\ndelivery = {{ method = \
             \"push\", endpoint_url = \"{url}\" }}\n"
        )
    };
    let streams = stream("one", "http://127.0.0.1:9000/") + &stream("two", "http://rp.example/");
    let place = Place::new().with("secevent.toml", format!("{CONFIG}{ISSUER}{streams}"));
    let ran = place.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.stderr.matches("plain http is not allowed").count(), 2, "{ran:?}");
    assert!(ran.stderr.contains("secevent.toml is not a valid configuration: 2 errors"), "{ran:?}");
    let checked = place.run(&["config", "check", "--listen", "127.0.0.1:0"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert_eq!(checked.stdout.matches("error:").count(), 2, "{checked:?}");
    // A test set-up: receivers on this machine.
    let local = place.run(&["config", "check", "--dev", "--listen", "127.0.0.1:0"]);
    assert!(!local.stdout.contains("stream \"one\""), "{local:?}");
}

#[test]
fn what_is_shown_names_where_it_comes_from_and_no_secret() {
    let stream = "[[stream]]\nname = \"main\"\nclient = \"shop\"\nevents = [\"caep:*\"]\n\
                  delivery = { method = \"push\", endpoint_url = \"https://shop.example\", authorization = \"Bearer of-shop\" }\n";
    let place = Place::new().with("secevent.toml", format!("{CONFIG}{stream}"));
    let args = "config show --dev --public-url http://localhost:9000";
    let shown = with(&place, "SECEVENT_LISTEN=127.0.0.1:9000", args);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert_snapshot!("show", shown.stdout);
    let json = with(&place, "SECEVENT_LISTEN=127.0.0.1:9000", &format!("{args} --json"));
    let told = json.json();
    let of = |key: &str| {
        let all = told["settings"].as_array().unwrap();
        all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}: {told}")).clone()
    };
    assert_eq!(of("server.listen")["origin"], json!({"from": "environment", "variable": "SECEVENT_LISTEN"}));
    assert_eq!(of("server.public_url")["origin"], json!({"from": "flag", "flag": "--public-url"}));
    assert_eq!(of("client[1].id")["origin"], json!({"from": "file", "file": "secevent.toml", "line": 12}));
    assert_eq!(of("delivery.overflow")["origin"], json!({"from": "default"}));
    for secret in ["a secret of", "of-shop", &KEY[..12]] {
        assert!(!shown.stdout.contains(secret) && !json.stdout.contains(secret), "{secret}");
    }
}

#[test]
fn what_follows_from_something_else_is_shown_as_the_server_takes_it() {
    let outgoing = "[outgoing]\nproxy = \"http://127.0.0.1:3128\"\nno_proxy = [\".internal\"]\n[[client]]";
    let tls = "[server]\nlisten = \"127.0.0.1:9443\"\ntls = { certificate = \"a.pem\", key = \"a.key\" }\n";
    let place =
        Place::new().with("secevent.toml", format!("{tls}{}", CONFIG.replacen("[[client]]", outgoing, 1)));
    let told = place.run(&["config", "show", "--dev", "--json"]).json();
    let of = |key: &str| {
        let found = told["settings"].as_array().unwrap().iter().find(|one| one["key"] == key);
        found.map(|one| one["value"].clone())
    };
    assert_eq!(of("server.public_url"), Some(json!("https://127.0.0.1:9443")));
    assert_eq!(of("issuer[0].url"), of("server.public_url"));
    assert_eq!(of("outgoing.proxy"), Some(json!("http://127.0.0.1:3128")), "--dev goes by it too");
    assert_eq!(of("outgoing.no_proxy"), Some(json!([".internal"])));
    assert_eq!((of("outgoing.allow_plain_http"), of("outgoing.allow_ports")), (Some(json!(true)), None));
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_for_everybody_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let proxy = "[outgoing]\nproxy = \"http://127.0.0.1:3128\"\nproxy_credential = \"us:hush\"\n";
    let place = Place::new().with("secevent.toml", proxy);
    for (mode, told) in [(0o644, true), (0o640, false)] {
        std::fs::set_permissions(place.path("secevent.toml"), PermissionsExt::from_mode(mode)).unwrap();
        let ran = place.run(&["config", "check", "--dev"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("outgoing.proxy_credential stands in the file"), "{ran:?}");
        assert_eq!(ran.stdout.contains("everybody on this machine may read it"), told, "{ran:?}");
    }
}

#[test]
fn the_schema_is_one() {
    let schema: Value = serde_json::from_str(&Place::new().run(&["config", "schema"]).ok()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(schema.is_valid(&json!({"server": {"listen": "127.0.0.1:1"}})));
    assert!(!schema.is_valid(&json!({"server": {"listen_to": "127.0.0.1:1"}})));
}

fn declared(sink: &Sink, more: &str) -> String {
    let delivery =
        format!("{{ method = \"push\", endpoint_url = {:?}, authorization = \"Bearer of-shop\" }}", sink.url);
    format!(
        "{CONFIG}{more}[[stream]]\nname = \"main\"\nclient = \"shop\"\nevents = [\"caep:*\", \"example:*\"]\ndelivery = {delivery}\n"
    )
}

const BADGES: &str = r#"
[[event_type]]
uri = "https://example.com/events/badge-lost"
name = "example:badge-lost"
schema = "badge-lost.schema.json"
subject_formats = ["email"]
"#;

// spec: E-29
/// A declared stream is there when the server is, its receiver finds it and cannot change it, and when the file
/// declares it no more it is disabled.
#[test]
fn a_declared_stream_is_its_operators() {
    let sink = Sink::open();
    let place = Place::new().with("secevent.toml", declared(&sink, "").replace(", \"example:*\"", ""));
    let server = Server::start(&place, "127.0.0.1:0");
    let stream = runtime().block_on(async {
        let shop = Shop::meet(&server).await;
        let mut streams = shop.client.list().await.unwrap();
        assert_eq!(streams.len(), 1);
        let stream = streams.remove(0);
        let body = json!({"stream_id": stream.stream_id.as_str(), "description": "mine"}).to_string();
        let update = UpdateStream::read(body.as_bytes(), Tolerance::NONE).unwrap();
        for refused in [
            shop.client.update(&update).await.map(drop).unwrap_err().to_string(),
            shop.client.delete(&stream.stream_id).await.unwrap_err().to_string(),
        ] {
            assert!(refused.contains("403") && refused.contains("access_denied"), "{refused}");
        }
        stream
    });
    sink.next();
    assert_eq!(
        server.emit(&place, &["caep:session-revoked", "--subject", "alice@example.com"]).json()["deliveries"],
        1
    );
    assert_eq!(sink.next()["sub_id"]["email"], "alice@example.com");
    // Its issuer is known by its URL, so the next server has the same.
    let address = server.issuer().replace("http://", "");
    let (code, log) = server.end();
    assert!(
        code == 0 && log.contains("A stream is made as it is declared") && log.contains("Created"),
        "{log}"
    );
    assert!(!log.contains("of-shop"), "{log}");

    place.write("secevent.toml", CONFIG);
    let server = Server::start(&place, &address);
    assert_eq!(sink.next()["events"].as_object().unwrap().len(), 1, "its receiver is told");
    let told = place.run(&["streams", "--json"]).json();
    assert_eq!(told["streams"][0]["stream_id"], stream.stream_id.as_str());
    assert_eq!(told["streams"][0]["status"], Status::Disabled.as_str());
    let (code, log) = server.end();
    assert!(code == 0 && log.contains("A stream is declared no more, and disabled"), "{log}");
}

/// An event type that the file defines is offered, checked at ingest, and delivered like any other.
#[test]
fn an_event_type_of_ones_own() {
    let sink = Sink::open();
    let schema =
        r#"{"type":"object","required":["door"],"properties":{"door":{"type":"string","maxLength":9}}}"#;
    let place =
        Place::new().with("secevent.toml", declared(&sink, BADGES)).with("badge-lost.schema.json", schema);
    let server = Server::start(&place, "127.0.0.1:0");
    let stream =
        runtime().block_on(async { Shop::meet(&server).await.client.list().await.unwrap().remove(0) });
    let uri = "https://example.com/events/badge-lost".to_owned();
    assert!(stream.events_supported.unwrap().contains(&uri) && stream.events_delivered.contains(&uri));
    sink.next();
    let badge = ["example:badge-lost", "--subject", "bob@example.com", "--data"];
    for (args, told) in [
        (&[&badge[..], &["{}"]].concat(), "`data.door` is required and missing [custom]"),
        (&[&badge[..], &["{\"door\":\"the very last\"}"]].concat(), "`data.door` breaks the schema"),
        (
            &[
                &badge[..1],
                &["--subject", "{\"format\":\"opaque\",\"id\":\"7\"}", "--data", "{\"door\":\"a\"}"],
            ]
            .concat(),
            "`subject` must be of format email for example:badge-lost [custom]",
        ),
    ] {
        let ran = server.emit(&place, args);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    let emitted = server.emit(&place, &[&badge[..], &["{\"door\":\"north\"}"]].concat());
    assert_eq!(emitted.code, 0, "{emitted:?}");
    assert_eq!(sink.next()["events"], json!({uri: {"door": "north"}}));
    assert_eq!(server.stop(), 0);

    place.write("badge-lost.schema.json", r#"{"properties":{"door":{"type":"thing"}}}"#);
    let checked = place.run(&["config", "check", "--dev"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(
        checked.stdout.contains("badge-lost.schema.json: the schema is refused: at /properties/door/type"),
        "{checked:?}"
    );
}

#[test]
fn help() {
    let place = Place::new();
    for command in ["config", "config check", "config show"] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        assert_snapshot!(format!("help_{}", command.replace(' ', "_")), place.run(&args).ok());
    }
}
