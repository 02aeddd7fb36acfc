//! The programs of the page *Send events*: each of them against a real server, behind a proxy that fails. A program is
//! left out where its toolchain is not installed, and the test says so.
// finding: C17

use crate::program::{Place, claims};
use crate::serve::{CONFIG, Server, Shop, runtime};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// A program, and what it needs.
struct Sender {
    file: &'static str,
    /// The language, as the page names it.
    language: &'static str,
    command: &'static [&'static str],
    /// The toolchain, what it says its version with, and the least version that will do.
    tool: (&'static str, &'static str, [u32; 2]),
}

const SENDERS: [Sender; 5] = [
    Sender { file: "send.sh", language: "sh", command: &["sh"], tool: ("curl", "--version", [7, 83]) },
    Sender {
        file: "send.py",
        language: "python",
        command: &["python3"],
        tool: ("python3", "--version", [3, 8]),
    },
    Sender { file: "send.go", language: "go", command: &["go", "run"], tool: ("go", "version", [1, 21]) },
    Sender { file: "Send.java", language: "java", command: &["java"], tool: ("java", "--version", [17, 0]) },
    Sender { file: "send.mjs", language: "js", command: &["node"], tool: ("node", "--version", [18, 0]) },
];

impl Sender {
    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/send-events").join(self.file)
    }

    /// Why it cannot run here.
    fn missing(&self) -> Option<String> {
        let (tool, argument, least) = self.tool;
        let Ok(told) = Command::new(tool).arg(argument).output() else {
            return Some(format!("{tool} is not installed"));
        };
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let numbers = told
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .find(|text| text.contains('.') && text.split('.').next().is_some_and(|major| !major.is_empty()));
        let mut numbers = numbers.unwrap_or_default().split('.').map(|text| text.parse().unwrap_or(0));
        let version = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
        (version < least).then(|| format!("{tool} is older than {}.{}: {told:?}", least[0], least[1]))
    }

    fn run(&self, issuer: &str, key: &str, event: &Value) -> Output {
        // Go compiles its standard library at the first run, which takes a minute: that is kept between runs.
        let go = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
        let mut command = Command::new(self.command[0]);
        command.args(&self.command[1..]).arg(self.path()).arg(key);
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let mut child = command
            .envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")])
            .envs([("GOCACHE", go.join("cache")), ("GOPATH", go.join("path"))])
            .env("SECEVENT_ISSUER", issuer)
            .env("SECEVENT_TOKEN_URL", format!("{issuer}/oauth/token"))
            .envs([("SECEVENT_CLIENT", "idp"), ("SECEVENT_SECRET", "a secret of the idp")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

/// Between the programs and the server. It answers the first request under a key that begins with `lost` itself, with
/// 503, and cuts the connection after the second one, which the server has answered.
struct FailingProxy {
    origin: String,
    /// How many requests came under each key.
    requests: Arc<Mutex<HashMap<String, usize>>>,
}

impl FailingProxy {
    fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(HashMap::new()));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (counted, server) = (Arc::clone(&counted), server.clone());
                std::thread::spawn(move || Self::serve(&stream, &server, &counted));
            }
        });
        Self { origin, requests }
    }

    fn serve(mut stream: &TcpStream, server: &str, counted: &Mutex<HashMap<String, usize>>) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut head, mut key, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "idempotency-key" => value.trim().clone_into(&mut key),
                "content-length" => length = value.trim().parse().ok()?,
                "connection" | "upgrade" | "http2-settings" => continue,
                _ => {}
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let count = *counted.lock().unwrap().entry(key.clone()).and_modify(|count| *count += 1).or_insert(1);
        let fails = key.starts_with("lost");
        let mut answer = Vec::new();
        if fails && count == 1 {
            answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
        } else {
            let mut behind = TcpStream::connect(server).ok()?;
            behind.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).ok()?;
            behind.write_all(&body).ok()?;
            behind.read_to_end(&mut answer).ok()?;
        }
        if !(fails && count == 2) {
            stream.write_all(&answer).ok()?;
        }
        Some(())
    }

    fn requests(&self, key: &str) -> usize {
        self.requests.lock().unwrap().get(key).copied().unwrap_or_default()
    }
}

fn event(name: &str) -> Value {
    json!({"type": "caep:session-revoked", "subject": {"format": "email", "email": format!("{name}@example.com")}})
}

#[test]
fn each_program_has_its_event_delivered_once_although_answers_fail() {
    let (installed, missing): (Vec<&Sender>, Vec<&Sender>) =
        SENDERS.iter().partition(|sender| sender.missing().is_none());
    for sender in missing {
        eprintln!("SKIPPED {}: {}", sender.file, sender.missing().unwrap_or_default());
    }
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    let proxy = FailingProxy::before(server.address().to_owned());
    let (shop, stream) = runtime().block_on(async {
        let shop = Shop::meet(&server).await;
        let stream = shop.create().await;
        (shop, stream)
    });
    std::thread::scope(|scope| {
        for sender in &installed {
            scope.spawn(|| {
                let key = format!("lost-{}", sender.language);
                let ran = sender.run(&proxy.origin, &key, &event(sender.language));
                assert!(ran.status.success(), "{}: {ran:?}", sender.file);
                let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
                assert_eq!(told["deliveries"], 1, "{}: {told}", sender.file);
                assert_eq!(proxy.requests(&key), 3, "{}: failed, lost and answered", sender.file);

                // A refusal is final.
                let key = format!("refused-{}", sender.language);
                let ran = sender.run(&proxy.origin, &key, &json!({"type": "no:such", "subject": {}}));
                let said = String::from_utf8_lossy(&ran.stderr);
                assert!(
                    !ran.status.success() && said.contains("invalid_request"),
                    "{}: {ran:?}",
                    sender.file
                );
                assert_eq!(proxy.requests(&key), 1, "{}", sender.file);
            });
        }
    });

    let mut delivered: HashMap<String, usize> = HashMap::new();
    runtime().block_on(async {
        let mut ack: Vec<String> = Vec::new();
        loop {
            let sets = shop.poll(&stream, json!({ "ack": ack, "returnImmediately": true })).await;
            if sets.is_empty() {
                return;
            }
            for (_, token) in &sets {
                let subject = claims(token)["sub_id"]["email"].as_str().map(str::to_owned);
                *delivered.entry(subject.unwrap_or_else(|| "verification".to_owned())).or_default() += 1;
            }
            ack = sets.into_iter().map(|(jti, _)| jti).collect();
        }
    });
    let expected = installed.iter().map(|sender| format!("{}@example.com", sender.language));
    let expected = expected.chain(["verification".to_owned()]).map(|name| (name, 1)).collect();
    assert_eq!(delivered, expected, "each once");
    assert_eq!(server.stop(), 0);
}

/// The page shows the programs that are tested, to the letter.
#[test]
fn the_page_has_the_programs() {
    let page = include_str!("../../../../docs/book/send-events.md");
    for sender in &SENDERS {
        let program = std::fs::read_to_string(sender.path()).unwrap();
        let shown = format!("```{}\n{program}```\n", sender.language);
        assert!(page.contains(&shown), "examples/send-events/{} is not what the page shows", sender.file);
    }
    assert_eq!(page.matches("```").count(), 2 * SENDERS.len(), "and no program besides");
}
