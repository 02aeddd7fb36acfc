//! `serve` and `emit`: what the demo shows, by hand; and what happens when the process is killed.

use crate::program::{Place, Ran, Sink};
use bytes::Bytes;
use http::Request;
use secevent::{Clock, EventType as _, Issuer, Timestamp, caep::SessionRevoked};
use secevent_http::{Client, ClientConfig, Ports};
use secevent_receiver::{Credentials, Peer, TransmitterClient};
use secevent_ssf::{CreateStream, Endpoint, Secret, StreamConfiguration, Tolerance, Transport as _};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const CONFIG: &str = r#"
[secrets]
key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
[store]
url = "sqlite:events.db"
[[client]]
id = "shop"
secret = "a secret of the shop"
scopes = ["ssf.manage"]
audience = "https://shop.example"
[[client]]
id = "idp"
secret = "a secret of the idp"
scopes = ["events.write"]
"#;

/// A running `secevent serve`.
pub(crate) struct Server {
    child: Process,
    address: String,
    /// Reads the log, or the server would wait for that.
    log: JoinHandle<String>,
}

impl Server {
    /// Starts one in `place`, and waits until it says that it is ready.
    pub(crate) fn start(place: &Place, listen: &str) -> Self {
        Self::start_with(place, listen, &[])
    }

    pub(crate) fn start_with(place: &Place, listen: &str, more: &[&str]) -> Self {
        Self::start_in(place, listen, more, &[])
    }

    /// The same, with these variables in the environment.
    pub(crate) fn start_in(place: &Place, listen: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secevent"));
        command.args(["serve", "--dev", "--config", "secevent.toml", "--listen", listen]);
        command.args(more).envs(environment.iter().copied());
        Self::run(place, &mut command)
    }

    /// Starts one that may have so many files open.
    pub(crate) fn start_limited(place: &Place, files: u32) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_secevent")])
            .args(["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"]);
        Self::run(place, &mut command)
    }

    fn run(place: &Place, command: &mut Command) -> Self {
        let mut child = command.current_dir(place.path("")).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut log = String::new();
        let ready =
            lines.by_ref().inspect(|line| log += line).find(|line| line.contains("The transmitter is ready"));
        let ready = ready.expect("the server says that it is ready, or it ended");
        let address = ready.split("listen=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let log = std::thread::spawn(move || lines.fold(log, |log, line| log + &line + "\n"));
        Self { child: Process(child), address, log }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(self) -> String {
        self.crash().0
    }

    /// The same, with all that it logged.
    pub(crate) fn crash(mut self) -> (String, String) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
        (self.address, self.log.join().unwrap())
    }

    /// Asks it to end, and returns its exit code.
    pub(crate) fn stop(self) -> i32 {
        self.end().0
    }

    /// The same, with all that it logged.
    pub(crate) fn end(mut self) -> (i32, String) {
        let id = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let code = self.child.0.wait().unwrap().code().unwrap();
        (code, self.log.join().unwrap())
    }

    pub(crate) fn emit(&self, place: &Place, args: &[&str]) -> Ran {
        let issuer = self.issuer();
        let access = ["--issuer", &issuer, "--client", "idp", "--json"];
        place.run_in(&[("SECEVENT_SECRET", "a secret of the idp")], &[&["emit"], args, &access].concat())
    }
}

/// A process that a test that fails does not leave behind.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct RealClock;

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "the server under test reads the real clock too")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(
            i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap(),
        )
    }
}

/// The receiver's side: pure SSF, over the real network client.
pub(crate) struct Shop {
    transport: Arc<Client>,
    pub(crate) client: TransmitterClient,
    token: String,
}

impl Shop {
    pub(crate) async fn meet(server: &Server) -> Self {
        let config = ClientConfig {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ports: Ports::Any,
            allow_plain_http: true,
            ..ClientConfig::default()
        };
        let transport = Arc::new(Client::new(config).unwrap());
        let token_endpoint = Endpoint::parse_insecure(&format!("{}/oauth/token", server.issuer())).unwrap();
        let mut peer = Peer::new(Issuer::parse_insecure(&server.issuer()).unwrap());
        peer.tolerance = Tolerance { plain_http: true, ..Tolerance::NONE };
        let secret = "a secret of the shop";
        peer.credentials = Credentials::ClientCredentials {
            token_endpoint: token_endpoint.clone(),
            client_id: "shop".to_owned(),
            secret: Secret::new(secret.to_owned()),
            scope: None,
        };
        let client =
            TransmitterClient::discover(&peer, transport.clone(), Arc::new(RealClock)).await.unwrap();
        let form = "grant_type=client_credentials&client_id=shop&client_secret=a+secret+of+the+shop";
        let request = Request::post(token_endpoint.as_str())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .unwrap();
        let granted: Value = serde_json::from_slice(transport.send(request).await.unwrap().body()).unwrap();
        let token = granted["access_token"].as_str().unwrap().to_owned();
        Self { transport, client, token }
    }

    pub(crate) async fn create(&self) -> StreamConfiguration {
        let events_requested = Some(vec![SessionRevoked::URI.to_owned()]);
        self.client.create(&CreateStream { events_requested, ..CreateStream::default() }).await.unwrap()
    }

    pub(crate) async fn poll(&self, stream: &StreamConfiguration, body: Value) -> Vec<(String, String)> {
        let request = Request::post(stream.delivery.endpoint_url.as_str())
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = self.transport.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = serde_json::from_slice(response.body()).unwrap();
        let sets = answer["sets"].as_object().unwrap().iter();
        sets.map(|(jti, token)| (jti.clone(), token.as_str().unwrap().to_owned())).collect()
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What was accepted before a SIGKILL is delivered after the restart: nothing is lost, the order of one subject
/// holds, and each SET is verified by the keys that survived (I1, I2, I4).
/// Who asks for the end waits for requests that are under way; who asks once more does not.
#[test]
fn asked_to_end_twice_it_ends_at_once() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let child = Command::new(env!("CARGO_BIN_EXE_secevent"))
        .args(["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"])
        .args(["--admin-listen", "off"])
        .current_dir(place.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Process(child);
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut log_until = |told: &str| log.by_ref().find(|line| line.contains(told)).unwrap();
    let ready = log_until("The transmitter is ready");
    let address = ready.split("listen=").nth(1).unwrap().split(' ').next().unwrap();
    let mut request = TcpStream::connect(address).unwrap();
    request
        .write_all(
            b"POST /oauth/token HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 12];
    request.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the body is waited for");

    let id = child.0.id().to_string();
    let ask = || assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    ask();
    log_until("Ending");
    ask();
    log_until("asked to end once more");
    assert_eq!(child.0.wait().unwrap().code(), Some(1));
}

#[test]
fn what_was_accepted_survives_a_kill() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    let stream = runtime().block_on(async { Shop::meet(&server).await.create().await });

    let mut txns = Vec::new();
    for number in 0..3 {
        let key = format!("leaver-{number}");
        let args = ["caep:session-revoked", "--subject", "alice@example.com", "--idempotency-key", &key];
        let first = server.emit(&place, &args);
        assert_eq!(first.code, 0, "{first:?}");
        assert_eq!(first.json()["deliveries"], 1);
        assert_eq!(server.emit(&place, &args).json(), first.json(), "a repeat gets the first answer");
        txns.push(first.json()["txn"].as_str().unwrap().to_owned());
    }

    let address = server.kill();
    let server = Server::start(&place, &address);
    let (tokens, left) = runtime().block_on(async {
        let shop = Shop::meet(&server).await;
        let mut tokens = Vec::new();
        let mut ack: Vec<String> = Vec::new();
        // One SET about Alice at a time; the unasked verification event of the new stream comes too.
        while tokens.len() < 4 {
            let sets = shop.poll(&stream, json!({ "ack": ack })).await;
            ack = sets.iter().map(|(jti, _)| jti.clone()).collect();
            tokens.extend(sets.into_iter().map(|(_, token)| token));
        }
        let left = shop.poll(&stream, json!({ "ack": ack, "returnImmediately": true })).await;
        (tokens, left)
    });
    assert_eq!(left, [], "nothing is owed any more");

    let mut delivered = Vec::new();
    for token in &tokens {
        let args = ["set", "verify", "--issuer", &server.issuer(), "--allow-private-network", "--json", "-"];
        let args = [&args[..], &["--audience", "https://shop.example"]].concat();
        let verified = place.run_with(&args, token);
        assert_eq!(verified.code, 0, "{verified:?}");
        let decoded = place.run(&["set", "decode", "--json", token]).json();
        if decoded["claims"]["events"].get(SessionRevoked::URI).is_some() {
            delivered.push(decoded["claims"]["txn"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(delivered, txns, "each once, in the order of acceptance");
    assert_eq!(server.stop(), 0);
}

/// One store has one server: a second one says so, and leaves the first alone.
/// Who may be sent something is known before anything is sent: what a client that is gone is owed waits.
#[test]
fn a_client_that_is_declared_no_more_is_sent_nothing_after_a_restart() {
    const OTHER: &str = "[[client]]\nid = \"other\"\nsecret = \"a secret of the other\"\nscopes = [\"ssf.manage\"]\n\
                         audience = \"https://other.example\"\n";
    let place = Place::new().with("secevent.toml", CONFIG);
    let subscribe = |server: &Server, client: &str, url: &str| {
        let environment =
            [("SECEVENT_ISSUER", server.issuer()), ("SECEVENT_SECRET", format!("a secret of the {client}"))];
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        let create =
            ["stream", "create", "--push", url, "--client", client, "--events", "caep:session-revoked"];
        assert_eq!(place.run_in(&environment, &create).code, 0);
    };
    // Nobody answers there for now, so that something is owed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", silent.local_addr().unwrap());
    let server = Server::start(&place, "127.0.0.1:0");
    subscribe(&server, "shop", &url);
    assert_eq!(server.emit(&place, &["caep:session-revoked", "--subject", "a@example.com"]).code, 0);
    let address = server.kill();
    // What it sent before counts for nothing.
    silent.set_nonblocking(true).unwrap();
    while silent.accept().is_ok() {}
    silent.set_nonblocking(false).unwrap();

    let without = CONFIG.replace("id = \"shop\"", "id = \"nobody\"");
    place.write("secevent.toml", format!("{without}{OTHER}"));
    let sink = Sink::answer(silent);
    let server = Server::start(&place, &address);
    subscribe(&server, "other", &sink.url);
    assert_eq!(server.emit(&place, &["caep:session-revoked", "--subject", "b@example.com"]).code, 0);
    let mut pushed = vec![sink.next(), sink.next()];
    assert_eq!(server.stop(), 0);
    pushed.extend(sink.rest());
    assert!(pushed.iter().all(|claims| claims["aud"] == "https://other.example"), "{pushed:?}");

    // It is there again, and nothing of it is lost.
    place.write("secevent.toml", CONFIG);
    let server = Server::start(&place, &address);
    let about = |claims: &Value| claims["sub_id"]["email"] == "a@example.com";
    assert!((0..2).any(|_| about(&sink.next())));
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_second_server_on_the_same_store_refuses_to_start() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    let second = place.run(&["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("events.db"), "{second:?}");
    assert_eq!(server.emit(&place, &["caep:session-revoked", "--subject", "bob@example.com"]).code, 0);
    assert_eq!(server.stop(), 0);
}

/// What cannot work is told before anything starts, with the file, the place and what to do.
#[test]
fn a_server_that_cannot_work_says_why() {
    let place = Place::new().with("secevent.toml", CONFIG).with("typo.toml", "[server]\nlisten_to = 1\n");
    let wrong_key = CONFIG.replace("key = \"00", "key = \"ff");
    place.write("wrong-key.toml", wrong_key);
    assert_eq!(Server::start(&place, "127.0.0.1:0").stop(), 0);
    for (args, told) in [
        (&["serve", "--config", "absent.toml"][..], "cannot read absent.toml"),
        (&["serve", "--config", "typo.toml"], "typo.toml:2: error: server.listen_to is no setting"),
        (&["serve", "--config", "secevent.toml", "--listen", "127.0.0.1:0"], "there is no [[issuer]]"),
        (
            &["serve", "--dev", "--config", "wrong-key.toml", "--listen", "127.0.0.1:0"],
            "the master key is another one",
        ),
        (
            &["serve", "--dev", "--listen", "0.0.0.0:0", "--config", "secevent.toml"],
            "--dev only listens on loopback",
        ),
        (
            &[
                "serve",
                "--dev",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "0.0.0.0:0",
                "--config",
                "secevent.toml",
            ],
            "server.admin_listen is 0.0.0.0",
        ),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
}

/// An event that is wrong is refused with its member and rule; a caller that is unknown gets no further.
#[test]
fn emit_tells_what_is_wrong() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    let change = ["caep:credential-change", "--subject", "bob@example.com", "--data"];
    for (args, told) in [
        (&["caep:session-revokd", "--subject", "bob@example.com"][..], "`type`"),
        (
            &[&change[..], &["{\"credential_type\":\"pin\"}"]].concat(),
            "`data.change_type` is required and missing [CAEP-16]",
        ),
    ] {
        let ran = server.emit(&place, args);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    let ran = server.emit(&place, &["caep:session-revoked", "--subject", "nobody"]);
    assert!(ran.code == 2 && ran.stderr.contains("neither an e-mail address"), "{ran:?}");
    let issuer = server.issuer();
    let stranger = ["emit", "caep:session-revoked", "--subject", "bob@example.com"];
    let stranger = [&stranger[..], &["--client", "idp", "--issuer", &issuer]].concat();
    let ran = place.run_in(&[("SECEVENT_SECRET", "guess")], &stranger);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("invalid_client") && !ran.stderr.contains("guess"), "{ran:?}");
    assert_eq!(server.stop(), 0);
}
