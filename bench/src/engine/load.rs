//! The processes around the one under test: who sends events, and who receives them.

use super::Bench;
use super::child::{Running, wait_for_listener, wait_until};
use super::http;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Whom events are about, in the usual load.
pub const SUBJECTS: u64 = 10_000;
/// Connections over which they come.
pub const CONNECTIONS: usize = 32;
/// The event type that is used, and the one of which the same is said but which nothing else asks for.
pub const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// The other event type.
pub const SESSION_PRESENTED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-presented";
/// Bytes of the claims of each SET.
pub const CLAIMS_BYTES: usize = 600;

/// An event as it is posted to the product, whose SET has [`CLAIMS_BYTES`] of claims or a few more or less. `{{ts}}`
/// and its like are filled in by the load generator.
pub fn event(uri: &str) -> (String, usize) {
    (with_markers(uri, MARKERS), CLAIMS_BYTES - 386)
}

/// The same about subjects that nothing else is about.
pub fn event_about_others(uri: &str) -> (String, usize) {
    let (body, pad) = event(uri);
    (body.replace("user-{{sub}}", "else-{{sub}}"), pad)
}

/// The same without the time it was sent, so that it does not count among the latencies.
pub fn event_without_time(uri: &str) -> (String, usize) {
    (with_markers(uri, r#""bench_seq":{{seq}},"bench_sub":{{sub}}"#), CLAIMS_BYTES - 366)
}

const MARKERS: &str = r#""bench_ts":{{ts}},"bench_seq":{{seq}},"bench_sub":{{sub}}"#;

fn with_markers(uri: &str, markers: &str) -> String {
    format!(
        r#"{{"type":"{uri}","subject":{{"format":"opaque","id":"user-{{{{sub}}}}"}},"data":{{"reason_admin":{{"en":"{{{{pad}}}}"}},{markers}}}}}"#
    )
}

/// The claims that the floor signs as they come.
pub fn claims() -> (String, usize) {
    let body = format!(
        r#"{{"iss":"http://127.0.0.1:15000","iat":1900000000,"jti":"0123456789012345678901","aud":"https://receiver.example","sub_id":{{"format":"opaque","id":"user-{{{{sub}}}}"}},"events":{{"{SESSION_REVOKED}":{{"reason_admin":{{"en":"{{{{pad}}}}"}},{MARKERS}}}}}}}"#
    );
    (body, CLAIMS_BYTES - 370)
}

/// What is sent, to whom and how fast.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub url: String,
    /// The access token.
    pub token: Option<String>,
    /// The body and how much filler it gets.
    pub body: (String, usize),
    /// Requests in all; 0: as many as come in `seconds`.
    pub count: u64,
    /// For how long, if `count` is 0.
    pub seconds: f64,
    /// Requests a second; 0: as many as are answered.
    pub rate: f64,
    /// Events in each request.
    pub lines: u64,
    /// Connections.
    pub connections: usize,
    /// Different subjects.
    pub subjects: u64,
    /// Whether few subjects come often and many seldom.
    pub zipf: bool,
    /// The first sequence number.
    pub first: u64,
    /// Where to note down each answer.
    pub log: Option<PathBuf>,
}

impl Load {
    /// The usual load: as fast as it goes, 32 connections, 10 000 subjects by Zipf's law.
    pub fn new(url: String, token: Option<&str>, body: (String, usize)) -> Self {
        Self {
            url,
            token: token.map(str::to_owned),
            body,
            count: 0,
            seconds: 0.0,
            rate: 0.0,
            lines: 1,
            connections: CONNECTIONS,
            subjects: SUBJECTS,
            zipf: true,
            first: 0,
            log: None,
        }
    }

    /// So many requests.
    pub fn count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// So many requests a second, for so long.
    pub fn paced(self, rate: f64, seconds: f64) -> Self {
        Self { rate, seconds, ..self }
    }

    /// So many events in each request.
    pub fn lines(self, lines: u64) -> Self {
        Self { lines, ..self }
    }

    /// Starts to send.
    pub fn start(&self, bench: &Bench) -> Result<Running> {
        let kind = if self.lines > 1 { "application/x-ndjson" } else { "application/json" };
        let mut command = Command::new(bench.program("loadgen"));
        command.args(["--url", &self.url, "--body", &self.body.0, "--pad", &self.body.1.to_string()]);
        command.args(["-H", &format!("Content-Type: {kind}"), "-H", "Idempotency-Key: {{id}}"]);
        if let Some(token) = &self.token {
            command.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        command.args(["-n", &self.count.to_string(), "--seconds", &self.seconds.to_string()]);
        command.args(["--rate", &self.rate.to_string(), "--lines", &self.lines.to_string()]);
        command.args(["-c", &self.connections.to_string(), "--subjects", &self.subjects.to_string()]);
        command.args(["--first-seq", &self.first.to_string()]);
        if self.zipf {
            command.arg("--zipf");
        }
        if let Some(log) = &self.log {
            command.arg("--log").arg(log);
        }
        Running::start("loadgen", command.stdout(Stdio::piped()))
    }

    /// Sends all of it.
    pub fn run(&self, bench: &Bench) -> Result<Value> {
        self.start(bench)?.output()
    }

    /// Sends all of it, and insists that all of it is accepted.
    pub fn run_all_accepted(&self, bench: &Bench) -> Result<Value> {
        let summary = self.run(bench)?;
        anyhow::ensure!(
            summary["ok"] == summary["requests"],
            "not all requests to {} were accepted: {}",
            self.url,
            summary["status"]
        );
        Ok(summary)
    }
}

/// A running sink.
#[derive(Debug)]
pub struct Sink {
    running: Running,
    port: u16,
    folder: TempDir,
}

impl Sink {
    /// Starts one with these rules on a free port.
    pub fn start(bench: &Bench, rules: &[&str]) -> Result<Self> {
        Self::start_on(bench, bench.free_port()?, rules)
    }

    /// Starts one on this port.
    pub fn start_on(bench: &Bench, port: u16, rules: &[&str]) -> Result<Self> {
        Self::start_with(bench, port, rules, false)
    }

    /// Starts one that notes down each request, to be read by [`Sink::log`].
    pub fn start_logging(bench: &Bench, port: u16, rules: &[&str]) -> Result<Self> {
        Self::start_with(bench, port, rules, true)
    }

    fn start_with(bench: &Bench, port: u16, rules: &[&str], logs: bool) -> Result<Self> {
        let folder = bench.new_folder()?;
        let mut command = Command::new(bench.program("sink"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        for rule in rules {
            command.args(["--rule", rule]);
        }
        if logs {
            command.arg("--log").arg(log_in(folder.path()));
        }
        let running = Running::start("sink", command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        wait_for_listener(port, Duration::from_secs(10))?;
        Ok(Self { running, port, folder })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it has counted.
    pub fn stats(&self) -> Result<Value> {
        http::json(self.port, "GET", "/__stats", &[], "")
    }

    /// Begins to count anew.
    pub fn reset(&self) -> Result<()> {
        http::json(self.port, "POST", "/__reset", &[], "").map(drop)
    }

    /// Waits until so many different events have been accepted, or nothing has come for a while; gives what was
    /// counted.
    pub fn wait_for_distinct(&self, count: u64) -> Result<Value> {
        let mut latest = (0, std::time::Instant::now());
        wait_until(Duration::from_secs(1800), "the events do not all come", || {
            let stats = self.stats()?;
            let distinct = stats["distinct"].as_u64().unwrap_or_default();
            if distinct != latest.0 {
                latest = (distinct, std::time::Instant::now());
            }
            anyhow::ensure!(
                distinct >= count || latest.1.elapsed() < STALLED_AFTER,
                "{distinct} of {count} events came, and no more since {STALLED_AFTER:?}"
            );
            Ok((distinct >= count).then_some(stats))
        })
    }

    /// Waits until so many deliveries have been accepted, whatever they are.
    pub fn wait_for_accepted(&self, count: u64) -> Result<()> {
        wait_until(Duration::from_secs(600), "the deliveries do not all come", || {
            let accepted = self.stats()?["accepted"].as_u64().unwrap_or_default();
            Ok((accepted >= count).then_some(()))
        })
    }

    /// Ends it, and gives its log.
    pub fn log(mut self) -> Result<Vec<Seen>> {
        self.running.terminate(Duration::from_secs(10))?;
        let text = std::fs::read_to_string(log_in(self.folder.path()))?;
        text.lines()
            .map(|line| Seen::parse(line).with_context(|| format!("not a line of a log: {line}")))
            .collect()
    }
}

/// Nothing for so long means that nothing more comes.
const STALLED_AFTER: Duration = Duration::from_secs(90);

fn log_in(folder: &Path) -> PathBuf {
    folder.join("requests.log")
}

/// A request that a sink answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its sequence number.
    pub sequence: Option<u64>,
    /// The number of its subject.
    pub subject: Option<u64>,
    /// When it was sent, if it says so.
    pub sent_nanos: Option<u64>,
    /// When it was read.
    pub read_nanos: u64,
    /// When it was answered.
    pub answered_nanos: u64,
    /// How it was answered.
    pub status: u16,
}

impl Seen {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let path = fields.next()?.to_owned();
        Some(Self {
            path,
            sequence: fields.next()?.parse().ok(),
            subject: fields.next()?.parse().ok(),
            sent_nanos: fields.next()?.parse().ok(),
            read_nanos: fields.next()?.parse().ok()?,
            answered_nanos: fields.next()?.parse().ok()?,
            status: fields.next()?.parse().ok()?,
        })
    }
}

/// An event that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its sequence number.
    pub sequence: u64,
    /// When it was due to be sent.
    pub sent_nanos: u64,
    /// When it was answered.
    pub answered_nanos: u64,
    /// How; none if it was not.
    pub status: Option<u64>,
}

impl Sent {
    /// Reads the log of a load generator.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let sent = |line: &Vec<Option<u64>>| match line[..] {
            [Some(sequence), Some(sent_nanos), Some(answered_nanos), status] => {
                Some(Self { sequence, sent_nanos, answered_nanos, status })
            }
            _ => None,
        };
        numbers(path)?.iter().map(sent).collect::<Option<_>>().context("not the log of a load generator")
    }

    /// Whether it was taken on.
    pub fn is_accepted(&self) -> bool {
        self.status == Some(202)
    }
}

/// How many events came before another one about the same subject that had been accepted when they were sent.
pub fn overtaken(sent: &[Sent], seen: &[Seen]) -> usize {
    let mut first_read: HashMap<u64, (u64, u64)> = HashMap::new();
    for one in seen {
        if let (Some(sequence), Some(subject)) = (one.sequence, one.subject) {
            let first = first_read.entry(sequence).or_insert((subject, one.read_nanos));
            first.1 = first.1.min(one.read_nanos);
        }
    }
    let mut by_subject: HashMap<u64, Vec<(&Sent, u64)>> = HashMap::new();
    for one in sent.iter().filter(|sent| sent.is_accepted()) {
        if let Some((subject, read)) = first_read.get(&one.sequence) {
            by_subject.entry(*subject).or_default().push((one, *read));
        }
    }
    let mut count = 0;
    for events in by_subject.values() {
        let (mut by_answer, mut by_sending) = (events.clone(), events.clone());
        by_answer.sort_by_key(|(sent, _)| sent.answered_nanos);
        by_sending.sort_by_key(|(sent, _)| sent.sent_nanos);
        let (mut before, mut latest_read) = (by_answer.iter().peekable(), 0);
        for (sent, read) in by_sending {
            while let Some((_, read)) = before.next_if(|(before, _)| before.answered_nanos <= sent.sent_nanos)
            {
                latest_read = latest_read.max(*read);
            }
            count += usize::from(latest_read > read);
        }
    }
    count
}

/// Polls a stream until `count` different events have come or the time is over.
pub fn poll(
    bench: &Bench,
    url: &str,
    token: &str,
    count: u64,
    seconds: f64,
    log: Option<&Path>,
) -> Result<Running> {
    let mut command = Command::new(bench.program("poller"));
    command.args(["--url", url, "-H", &format!("Authorization: Bearer {token}")]);
    command.args(["-n", &count.to_string(), "--seconds", &seconds.to_string(), "--max-events", "100"]);
    if let Some(log) = log {
        command.arg("--log").arg(log);
    }
    Running::start("poller", command.stdout(Stdio::piped()))
}

/// The numbers on each line of a log; what is no number is `None`.
pub fn numbers(path: &Path) -> Result<Vec<Vec<Option<u64>>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(|line| line.split(' ').map(|field| field.parse().ok()).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_log_of_a_sink() {
        let seen = Seen {
            path: "/a".to_owned(),
            sequence: Some(7),
            subject: Some(2),
            sent_nanos: None,
            read_nanos: 5,
            answered_nanos: 6,
            status: 503,
        };
        assert_eq!(Seen::parse("/a 7 2 - 5 6 503"), Some(seen));
        assert_eq!(Seen::parse("/a 7 2 - 5"), None);
    }

    #[test]
    fn order_counts_among_events_of_which_one_was_accepted_before_the_other_was_sent() {
        let sent = |sequence, sent_nanos, answered_nanos| Sent {
            sequence,
            sent_nanos,
            answered_nanos,
            status: Some(202),
        };
        let seen = |sequence, subject, read_nanos| Seen {
            path: "/".to_owned(),
            sequence: Some(sequence),
            subject: Some(subject),
            sent_nanos: None,
            read_nanos,
            answered_nanos: read_nanos,
            status: 202,
        };
        let events = [sent(1, 0, 10), sent(2, 5, 15), sent(3, 20, 30)];
        let cases = [
            ([seen(1, 7, 50), seen(2, 7, 60), seen(3, 7, 70)], 0),
            ([seen(2, 7, 50), seen(1, 7, 60), seen(3, 7, 70)], 0),
            ([seen(1, 7, 50), seen(3, 7, 60), seen(2, 7, 70)], 1),
            ([seen(1, 7, 50), seen(3, 8, 60), seen(2, 7, 70)], 0),
            ([seen(3, 7, 50), seen(2, 7, 60), seen(1, 7, 70)], 1),
        ];
        for (seen, expected) in cases {
            assert_eq!(overtaken(&events, &seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn bodies_are_json_once_the_marks_are_filled_in() {
        for (body, _) in [event(SESSION_REVOKED), event_without_time(SESSION_REVOKED), claims()] {
            let filled = ["ts", "seq", "sub"]
                .iter()
                .fold(body, |body, mark| body.replace(&format!("{{{{{mark}}}}}"), "1"));
            serde_json::from_str::<Value>(&filled.replace("{{pad}}", "x")).unwrap();
        }
    }
}
