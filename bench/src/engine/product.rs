//! The product at work: `secevent serve` as it ships, with a configuration that says what it has to and no more.

use super::Bench;
use super::child::Running;
use super::http;
use super::load::{CONNECTIONS, Load};
use crate::clock;
use crate::process::{self, Usage};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

/// What a configuration says beyond names and addresses.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How SETs are signed.
    pub algorithm: &'static str,
    /// The ports of receivers.
    pub receivers: Vec<u16>,
    /// Lines of the section `[delivery]`, where a row cannot do with the defaults.
    pub delivery: Vec<String>,
    /// Which subjects streams have by default.
    pub default_subjects: &'static str,
    /// Lines of the section `[server]` beyond addresses.
    pub server: Vec<String>,
    /// How many files the process may have open, if not as many as this one.
    pub files_max: Option<u32>,
    /// Whether clients are limited as they are by default.
    pub default_limits: bool,
}

impl Setup {
    /// The defaults, with a receiver on this port.
    pub fn new(receiver: u16) -> Self {
        Self {
            algorithm: "EdDSA",
            receivers: vec![receiver],
            delivery: Vec::new(),
            default_subjects: "ALL",
            server: Vec::new(),
            files_max: None,
            default_limits: false,
        }
    }

    /// Signs with another algorithm.
    pub fn algorithm(self, algorithm: &'static str) -> Self {
        Self { algorithm, ..self }
    }

    /// Sets something of the section `[delivery]`.
    pub fn delivery(mut self, line: &str) -> Self {
        self.delivery.push(line.to_owned());
        self
    }

    /// Sets something of the section `[server]`.
    pub fn server(mut self, line: &str) -> Self {
        self.server.push(line.to_owned());
        self
    }

    /// Limits how many files the process may have open.
    pub fn files_max(self, files_max: u32) -> Self {
        Self { files_max: Some(files_max), ..self }
    }

    /// Limits clients as the defaults do.
    pub fn default_limits(self) -> Self {
        Self { default_limits: true, ..self }
    }

    fn to_toml(&self, port: u16, database: &str) -> String {
        let mut text = format!(
            r#"[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
{server}
[store]
url = "sqlite:{database}"
[secrets]
key = {{ env = "{KEY_VARIABLE}" }}
[outgoing]
allow_networks = ["127.0.0.0/8"]
allow_ports = {receivers:?}
allow_plain_http = true
{limits}
[[issuer]]
url = "http://127.0.0.1:{port}"
algorithm = "{algorithm}"
default_subjects = "{default_subjects}"
[[client]]
id = "receiver"
secret = "{SECRET}"
scopes = ["ssf.manage"]
audience = "https://receiver.example"
[[client]]
id = "producer"
secret = "{SECRET}"
scopes = ["events.write"]
"#,
            server = self.server.join("\n"),
            receivers = self.receivers,
            limits = if self.default_limits { "" } else { LIMITS },
            algorithm = self.algorithm,
            default_subjects = self.default_subjects,
        );
        if !self.delivery.is_empty() {
            text += "[delivery]\n";
            for line in &self.delivery {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }
}

const LIMITS: &str = "\
[limits]
# Whoever makes ten thousand streams at once is not held up, and each row asks for tokens of its own.
requests_per_second = 1000000
requests_burst = 1000000
tokens_per_second = 1000
tokens_burst = 1000";

const KEY_VARIABLE: &str = "SECEVENT_BENCH_KEY";
/// The master key and the clients' secret: nothing here is worth hiding.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SECRET: &str = "0123456789abcdef";

/// A transmitter, running or stopped; its store stays as long as this.
#[derive(Debug)]
pub struct Product {
    folder: TempDir,
    port: u16,
    files_max: Option<u32>,
    running: Option<Running>,
}

/// A stream that was created.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its id.
    pub id: String,
    /// Where it is polled, or pushed to.
    pub endpoint: String,
}

impl Product {
    /// Starts one with a new store.
    pub fn start(bench: &Bench, setup: &Setup) -> Result<Self> {
        let (folder, port) = (bench.new_folder()?, bench.free_port()?);
        let database = folder.path().join("secevent.db");
        let text = setup.to_toml(port, &database.display().to_string());
        fs::write(folder.path().join("secevent.toml"), text)?;
        let mut product = Self { folder, port, files_max: setup.files_max, running: None };
        product.start_again(bench)?;
        Ok(product)
    }

    /// Starts it with the store that is there. Gives the moment at which the process was started.
    pub fn start_again(&mut self, bench: &Bench) -> Result<u64> {
        let program = bench.product();
        let mut command = match self.files_max {
            None => Command::new(program),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(program);
                shell
            }
        };
        command.arg("serve").arg("--config").arg(self.folder.path().join("secevent.toml"));
        command
            .env(KEY_VARIABLE, KEY)
            .env_remove("SECEVENT_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let started_nanos = clock::now_nanos();
        let mut running = Running::start("secevent serve", &mut command)?;
        let errors = running.child().stderr.take().context("it was piped")?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let (ready, readiness) = mpsc::channel();
        // Whoever reads the log goes on reading it, or the server would wait for that.
        std::thread::spawn(move || keep_log(BufReader::new(errors), log, &ready));
        if readiness.recv_timeout(Duration::from_secs(120)).is_err() {
            bail!("the product does not start: {}", self.end_of_log());
        }
        self.running = Some(running);
        Ok(started_nanos)
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn id(&self) -> Result<u32> {
        Ok(self.running.as_ref().context("the product does not run")?.id())
    }

    /// What its process uses.
    pub fn usage(&self) -> Result<Usage> {
        Ok(process::of_process(self.id()?))
    }

    /// Asks it to end, and says how long that took.
    pub fn stop(&mut self) -> Result<(Duration, ExitStatus)> {
        let mut running = self.running.take().context("the product does not run")?;
        running.terminate(Duration::from_secs(120))
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().context("the product does not run")?.kill()
    }

    /// Bytes of the store on the disk: the database, its log and its index.
    pub fn store_bytes(&self) -> u64 {
        ["secevent.db", "secevent.db-wal", "secevent.db-shm"]
            .iter()
            .filter_map(|name| fs::metadata(self.folder.path().join(name)).ok())
            .map(|file| file.len())
            .sum()
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> Result<bool> {
        let admin = fs::read_to_string(self.folder.path().join("secevent.db.admin")).context("it runs")?;
        let admin: Value = serde_json::from_str(&admin)?;
        let port =
            admin["url"].as_str().and_then(|url| url.rsplit(':').next()).map(|port| port.trim_matches('/'));
        let port = port.and_then(|port| port.parse().ok()).context("the admin listener has a port")?;
        Ok(http::send(port, "GET", "/readyz", &[], "")?.0 == 200)
    }

    /// An access token. They are good for some minutes: each row asks for its own.
    pub fn token(&self, client: &str) -> Result<String> {
        let form = self.token_form(client);
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::json(self.port, "POST", "/oauth/token", &headers, &form)?;
        Ok(answer["access_token"].as_str().context("there is no access token")?.to_owned())
    }

    /// What a client sends to ask for an access token.
    pub fn token_form(&self, client: &str) -> String {
        format!("grant_type=client_credentials&client_id={client}&client_secret={SECRET}")
    }

    /// A load of this event for it.
    pub fn load(&self, body: (String, usize)) -> Result<Load> {
        Ok(Load::new(self.url("/events"), Some(&self.token("producer")?), body))
    }

    /// A URL below its issuer.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Creates a stream of this event type that is pushed to this URL.
    pub fn create_push_stream(&self, url: &str, uri: &str) -> Result<Stream> {
        self.create_stream(&push_stream(url, uri))
    }

    /// Creates a stream of this event type that is polled.
    pub fn create_poll_stream(&self, uri: &str) -> Result<Stream> {
        let delivery = json!({ "method": "urn:ietf:rfc:8936" });
        self.create_stream(&json!({ "delivery": delivery, "events_requested": [uri] }))
    }

    fn create_stream(&self, request: &Value) -> Result<Stream> {
        let created = self.manage("POST", "/ssf/stream", request)?;
        let text =
            |value: &Value| value.as_str().map(str::to_owned).context("a stream has an id and an endpoint");
        Ok(Stream { id: text(&created["stream_id"])?, endpoint: text(&created["delivery"]["endpoint_url"])? })
    }

    /// Creates many streams that are all pushed to one URL, over many connections.
    pub fn create_push_streams(&self, bench: &Bench, url: &str, uri: &str, count: u64) -> Result<Value> {
        let body = (push_stream(url, uri).to_string(), 0);
        let token = self.token("receiver")?;
        let load = Load::new(self.url("/ssf/stream"), Some(&token), body).count(count);
        Load { connections: CONNECTIONS, ..load }.run_all_accepted(bench)
    }

    /// Sets the status of a stream.
    pub fn set_status(&self, stream: &Stream, status: &str) -> Result<()> {
        self.manage("POST", "/ssf/status", &json!({ "stream_id": stream.id, "status": status })).map(drop)
    }

    fn manage(&self, method: &str, path: &str, request: &Value) -> Result<Value> {
        let authorization = format!("Bearer {}", self.token("receiver")?);
        let headers = [("Content-Type", "application/json"), ("Authorization", authorization.as_str())];
        http::json(self.port, method, path, &headers, &request.to_string())
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.folder.path().join("log.txt")
    }

    /// The last lines of its log.
    pub fn end_of_log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

fn push_stream(url: &str, uri: &str) -> Value {
    let delivery = json!({ "method": "urn:ietf:rfc:8935", "endpoint_url": url });
    json!({ "delivery": delivery, "events_requested": [uri] })
}

/// Copies the log to its file, and tells when the server says that it is ready.
fn keep_log(errors: impl BufRead, mut log: fs::File, ready: &mpsc::Sender<()>) {
    for line in errors.lines().map_while(Result::ok) {
        if line.contains("The transmitter is ready") {
            // Nobody waits any more after a while.
            let _ = ready.send(());
        }
        if writeln!(log, "{line}").is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_what_it_has_to() {
        let text = Setup::new(9).algorithm("ES256").delivery("history_seconds = 1").to_toml(7, "/d");
        for part in ["listen = \"127.0.0.1:7\"", "algorithm = \"ES256\"", "allow_ports = [9]", "sqlite:/d"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("[delivery]\nhistory_seconds = 1\n"));
        assert!(!Setup::new(9).to_toml(7, "/d").contains("[delivery]"), "the defaults are not repeated");
    }
}
