//! Secrets are where they have to be and nowhere else: what is planted is looked for in all that a server leaves behind.

use crate::program::{Place, Ran, Sink};
use crate::serve::{CONFIG, Server};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secevent_jose::{Algorithm, SigningKey};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CREDENTIAL: &str = "Bearer credential-of-the-shop";

/// What must not be found, with a name for it.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Adds a secret, as it stands and as it would look inside something that is encoded.
    fn plant(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= 12, "{name} is too short to be looked for");
        self.0.push((name.to_owned(), secret.to_vec()));
        self.0.push((format!("{name}, in base64"), STANDARD.encode(secret).trim_end_matches('=').into()));
        self.0.push((format!("{name}, in base64url"), URL_SAFE_NO_PAD.encode(secret).into()));
    }

    fn look(&self, place: &str, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        for (name, secret) in &self.0 {
            let found = text.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{name} is in {place}: {}", String::from_utf8_lossy(text));
        }
    }

    fn look_at_files(&self, place: &Place) {
        for name in ["events.db", "events.db-wal", "events.db-shm", "events.db.lock"] {
            if let Ok(bytes) = std::fs::read(place.path(name)) {
                let found = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
                let found: Vec<_> =
                    self.0.iter().filter(|(_, secret)| found(secret)).map(|(name, _)| name).collect();
                assert!(found.is_empty(), "{found:?} in {name}");
            }
        }
    }
}

/// The whole answer to a request, as it comes over the wire.
fn answer(method: &str, address: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// I9: the database, the log at its most talkative, metrics, answers and what a crash leaves behind.
#[test]
fn no_secret_is_found_where_it_does_not_belong() {
    let config = CONFIG.replace("id = \"shop\"", "id = \"shop\"\nalgorithm = \"ES256\"");
    let place = Place::new().with("secevent.toml", &config);
    let mut secrets = Secrets::default();
    let raw: Vec<u8> = (0..32).collect();
    secrets.plant("the master key", raw);
    secrets.plant("the master key as it is configured", MASTER_KEY);
    for (name, secret) in
        [("the shop's secret", "a secret of the shop"), ("the producer's", "a secret of the idp")]
    {
        secrets.plant(name, secret);
    }
    secrets.plant("the credential of pushes", CREDENTIAL.trim_start_matches("Bearer "));
    let key = SigningKey::generate(Algorithm::Es256).unwrap().to_pem_secret();
    let pem: String = key.expose().lines().filter(|line| !line.starts_with('-')).collect();
    secrets.plant("the private key", STANDARD.decode(&pem).unwrap());
    place.write("key.pem", key.expose());

    let everything = [("SECEVENT_LOG", "trace")];
    let server = Server::start_in(&place, "127.0.0.1:0", &[], &everything);
    let address = server.issuer().trim_start_matches("http://").to_owned();
    let entrance: Value = serde_json::from_str(&place.text("events.db.admin")).unwrap();
    let local = entrance["token"].as_str().unwrap().to_owned();
    secrets.plant("the token of the command line", &local);

    // Everything that handles a secret is done once, well and badly.
    let form = "grant_type=client_credentials&client_id=shop&client_secret=a+secret+of+the+shop";
    let urlencoded = "Content-Type: application/x-www-form-urlencoded\r\n";
    let granted = answer("POST", &address, "/oauth/token", urlencoded, form);
    let token = granted.split("\"access_token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    secrets.plant("an access token", &token);
    let bearer = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let as_shop = |args: &[&str]| {
        let (issuer, mut environment) = (server.issuer(), Vec::new());
        environment.extend([("SECEVENT_ISSUER", issuer.as_str()), ("SECEVENT_CLIENT", "shop")]);
        environment.extend([("SECEVENT_SECRET", "a secret of the shop"), ("PUSH", CREDENTIAL)]);
        place.run_in(&environment, args)
    };
    let sink = Sink::open();
    let create = ["stream", "create", "--push", &sink.url, "--authorization-env", "PUSH", "--json"];
    let created = as_shop(&[&create[..], &["--events", "caep:session-revoked"]].concat());
    assert_eq!(created.code, 0, "{created:?}");
    let stream = created.json()["stream_id"].as_str().unwrap().to_owned();
    sink.next();
    assert_eq!(server.emit(&place, &["caep:session-revoked", "--subject", "a@example.com"]).code, 0);
    sink.next();
    sink.refuse(true);
    assert_eq!(server.emit(&place, &["caep:session-revoked", "--subject", "b@example.com"]).code, 0);
    sink.next();
    let import = place.run(&["key", "import", &server.issuer(), "key.pem", "--algorithm", "ES256"]);
    assert_eq!(import.code, 0, "{import:?}");
    let made = place.run(&["client", "create", "billing", "--scope", "events.write", "--json"]);
    secrets.plant("the secret of a client made here", made.json()["secret"].as_str().unwrap());
    let as_json = "Content-Type: application/json\r\n";
    let creation = format!(
        "{{\"delivery\":{{\"method\":\"urn:ietf:rfc:8935\",\"endpoint_url\":7,\"authorization_header\":\"{CREDENTIAL}\"}}}}"
    );
    let tell: [(&str, Ran); 8] = [
        ("the stream", as_shop(&["stream", "show", &stream, "--json"])),
        ("streams", place.run(&["streams", "--json"])),
        ("the log of changes", place.run(&["audit", "--json"])),
        ("clients", place.run(&["client", "list", "--json"])),
        ("keys", place.run(&["key", "list", "--json"])),
        ("dead letters", place.run(&["dead", "list", "--json"])),
        ("the configuration", place.run(&["config", "show"])),
        ("doctor", place.run(&["doctor", "--json"])),
    ];
    for (name, ran) in &tell {
        assert!(!ran.stdout.is_empty(), "{name}: {ran:?}");
        secrets.look(name, &ran.stdout);
        secrets.look(name, &ran.stderr);
    }
    secrets.look("the created stream", &created.stdout);
    for (name, told) in [
        ("the metadata", answer("GET", &address, "/.well-known/ssf-configuration", "", "")),
        ("the keys", answer("GET", &address, "/jwks.json", "", "")),
        ("a refused stream", answer("POST", &address, "/ssf/stream", &bearer, &creation)),
        (
            "a refused credential",
            answer("GET", &address, "/ssf/stream", &format!("{}x\r\n\r\n", bearer.trim_end()), ""),
        ),
        (
            "a refused form",
            answer("POST", &address, "/oauth/token", urlencoded, &form.replace("shop&", "ship&")),
        ),
        ("a form that is none", answer("POST", &address, "/oauth/token", as_json, form)),
    ] {
        secrets.look(name, told);
    }
    let admin = entrance["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
    let operator = format!("Authorization: Bearer {local}\r\n");
    for path in
        ["streams", "clients", "keys", "audit", "dead", "figures", "replays", "erasures", "openapi.json"]
    {
        let told = answer("GET", admin, &format!("/admin/v1/{path}"), &operator, "");
        assert!(told.starts_with("HTTP/1.1 200"), "{path}: {told}");
        secrets.look(path, told);
    }
    let metrics = answer("GET", admin, "/metrics", &operator, "");
    assert!(metrics.contains("secevent_sets_delivered_total"), "{metrics}");
    secrets.look("metrics", metrics);

    // While it is at work, after a crash, and after an orderly end.
    secrets.look_at_files(&place);
    let (address, log) = server.crash();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is talkative");
    secrets.look("the log of a server that was killed", log);
    secrets.look_at_files(&place);
    let other = config.replace(MASTER_KEY, &MASTER_KEY.replace('0', "f"));
    place.write("secevent.toml", other);
    let refused = place.run(&["serve", "--dev", "--config", "secevent.toml", "--listen", &address]);
    assert_eq!(refused.code, 1, "{refused:?}");
    secrets.look("what a start with another master key says", refused.stderr);
    place.write("secevent.toml", &config);
    let (code, log) = Server::start_in(&place, &address, &[], &everything).end();
    assert_eq!(code, 0, "{log}");
    secrets.look("the log of the next one", log);
    secrets.look_at_files(&place);
}
