//! An HTTP load generator. Closed loop (as fast as answers come back) or open loop (--rate), where latency counts from
//! the moment a request was due, so that a stalled server is not flattered. In the body, {{ts}} is the due time in
//! nanoseconds, {{seq}} the sequence number, {{id}} a unique token, {{sub}} a subject number below --subjects, {{pad}}
//! filler of --pad bytes. The same marks work in URLs and headers. Several --url are used in turn.
//!
//! With --lines a request carries so many bodies, one a line, each with a sequence number of its own. With --bodies
//! the lines of a file are sent as they are, each once.

use anyhow::{Context, Result, ensure};
use bench::clock;
use bench::latency::{Latencies, rounded};
use bench::process;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long, required = true)]
    url: Vec<String>,
    #[arg(long, default_value = "POST")]
    method: Method,
    /// Headers, "Name: value".
    #[arg(short = 'H', long)]
    header: Vec<String>,
    /// The body, or @FILE.
    #[arg(long, default_value = "")]
    body: String,
    /// Bodies to send as they are: one from each line of this file, until there are no more.
    #[arg(long, conflicts_with = "body")]
    bodies: Option<PathBuf>,
    /// Bodies in each request, one a line.
    #[arg(long, default_value_t = 1)]
    lines: u64,
    #[arg(long, default_value_t = 0)]
    pad: usize,
    #[arg(long, default_value_t = 1)]
    subjects: u64,
    /// Draw the subjects by Zipf's law, so that the first comes about as often as the next two together; otherwise all
    /// come equally often.
    #[arg(long)]
    zipf: bool,
    /// Connections.
    #[arg(short, long, default_value_t = 16)]
    conns: usize,
    /// Requests under way at once on each connection (HTTP/2 only; HTTP/1.1 has one).
    #[arg(long, default_value_t = 1)]
    streams: usize,
    #[arg(long)]
    http2: bool,
    /// Requests to make in all (0: until --seconds).
    #[arg(short, long, default_value_t = 0)]
    n: u64,
    #[arg(short, long, default_value_t = 0.0)]
    seconds: f64,
    /// Requests a second (0: closed loop).
    #[arg(short, long, default_value_t = 0.0)]
    rate: f64,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 0)]
    first_seq: u64,
    #[arg(long, default_value_t = 30.0)]
    timeout_s: f64,
    /// At the end, write a line for each request to this file: first sequence number, when it was due and when it was
    /// answered (nanoseconds since the epoch), status.
    #[arg(long)]
    log: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    bench::runtime::with_threads(options.threads)?.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    let run = Arc::new(Run::new(options)?);
    ensure!(run.options.n > 0 || run.options.seconds > 0.0, "give -n or --seconds");
    let tickets = Tickets::new(&run);
    let streams = if run.options.http2 { run.options.streams } else { 1 };
    let mut lanes = Vec::new();
    for _ in 0..run.options.conns {
        // The lanes of a group share their HTTP/2 connection until it breaks; then each makes one of its own.
        let shared = if streams > 1 { Some(run.shared_connection().await?) } else { None };
        for _ in 0..streams {
            let shared = shared.iter().cloned();
            let connections = shared.map(|(host, sender)| (host, Connection::Http2(sender))).collect();
            let lane = Lane { run: Arc::clone(&run), connections };
            lanes.push(tokio::spawn(lane.send_all(tickets.clone())));
        }
    }
    for lane in lanes {
        lane.await??;
    }
    if let Some(path) = &run.options.log {
        std::fs::write(path, run.log()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", serde_json::to_string_pretty(&run.summary(streams))?);
    Ok(())
}

/// What all lanes of a run share.
#[derive(Debug)]
struct Run {
    options: Options,
    urls: Vec<Template>,
    body: Template,
    bodies: Option<Vec<Bytes>>,
    headers: Vec<(String, Template)>,
    subjects: Subjects,
    start: Instant,
    start_nanos: u64,
    results: Mutex<Results>,
}

#[derive(Debug)]
struct Results {
    /// From the moment a request was due, or sent in a closed loop.
    latencies: Latencies,
    service_times: Latencies,
    /// By HTTP status; and `connect`, `error`, `timeout`.
    outcomes: BTreeMap<String, u64>,
    log: Vec<Answered>,
}

/// A request that was answered, for the log.
#[derive(Debug)]
struct Answered {
    sequence: u64,
    due_nanos: u64,
    answered_nanos: u64,
    outcome: String,
}

impl Run {
    fn new(mut options: Options) -> Result<Self> {
        let body = match options.body.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
            None => options.body.clone(),
        };
        let split = |header: &String| {
            let (name, value) = header.split_once(':').with_context(|| format!("not a header: {header}"))?;
            Ok((name.trim().to_owned(), Template::new(value.trim(), 0)))
        };
        let bodies = match &options.bodies {
            Some(path) => {
                let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                Some(lines.map(Bytes::copy_from_slice).collect::<Vec<_>>())
            }
            None => None,
        };
        if let Some(bodies) = &bodies {
            ensure!(!bodies.is_empty(), "there is no body to send");
            let all = bodies.len() as u64;
            options.n = if options.n == 0 { all } else { options.n.min(all) };
        }
        ensure!(options.lines > 0, "--lines must be 1 at least");
        Ok(Self {
            urls: options.url.iter().map(|url| Template::new(url, 0)).collect(),
            body: Template::new(&body, options.pad),
            bodies,
            subjects: Subjects::new(options.subjects, options.zipf),
            headers: options.header.iter().map(split).collect::<Result<_>>()?,
            start: Instant::now(),
            start_nanos: clock::now_nanos(),
            results: Mutex::new(Results {
                latencies: Latencies::new(),
                service_times: Latencies::new(),
                outcomes: BTreeMap::new(),
                log: Vec::new(),
            }),
            options,
        })
    }

    async fn shared_connection(&self) -> Result<(String, http2::SendRequest<Full<Bytes>>)> {
        let uri: Uri = self.options.url[0].parse()?;
        let authority = uri.authority().context("the URL has no host")?.to_string();
        let sender = Connection::open_http2(&authority).await?;
        Ok((authority, sender))
    }

    fn is_open_loop(&self) -> bool {
        self.options.rate > 0.0
    }

    /// When the request is, or was, to be sent, counted from the start of the run.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.options.rate)
    }

    fn is_over(&self, number: u64, at: Duration) -> bool {
        let Options { n, seconds, .. } = self.options;
        (n > 0 && number >= n) || (seconds > 0.0 && at.as_secs_f64() >= seconds)
    }

    /// The body, or the bodies one a line, of the request with this number.
    fn bytes(&self, number: u64, sent_nanos: u64) -> Bytes {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(body) = self.bodies.as_ref().and_then(|bodies| bodies.get(place)) {
            return body.clone();
        }
        let mut bytes = Vec::with_capacity(1024);
        for line in 0..self.options.lines {
            if line > 0 {
                bytes.push(b'\n');
            }
            self.body.fill(&self.marks(number * self.options.lines + line, sent_nanos), &mut bytes);
        }
        bytes.into()
    }

    fn marks(&self, number: u64, sent_nanos: u64) -> Marks<'_> {
        let sequence = self.options.first_seq + number;
        Marks { sent_nanos, sequence, run: self.start_nanos, subjects: &self.subjects }
    }

    fn log(&self) -> String {
        let results = self.results.lock().expect("nobody panics while counting");
        let line = |one: &Answered| {
            format!("{} {} {} {}\n", one.sequence, one.due_nanos, one.answered_nanos, one.outcome)
        };
        results.log.iter().map(line).collect()
    }

    fn answered(&self, number: u64, due_nanos: u64, outcome: &str) {
        if self.options.log.is_none() {
            return;
        }
        let sequence = self.options.first_seq + number * self.options.lines;
        let outcome = outcome.to_owned();
        let answered = Answered { sequence, due_nanos, answered_nanos: clock::now_nanos(), outcome };
        self.results.lock().expect("nobody panics while counting").log.push(answered);
    }

    fn count(&self, outcome: String, times: Option<(Duration, Duration)>) {
        let mut results = self.results.lock().expect("nobody panics while counting");
        if let Some((latency, service_time)) = times {
            results.latencies.record(latency);
            results.service_times.record(service_time);
        }
        *results.outcomes.entry(outcome).or_default() += 1;
    }

    fn summary(&self, streams: usize) -> Value {
        let wall = self.start.elapsed().as_secs_f64();
        let results = self.results.lock().expect("nobody panics while counting");
        let outcomes = &results.outcomes;
        let total: u64 = outcomes.values().sum();
        let ok: u64 = outcomes.iter().filter(|(outcome, _)| outcome.starts_with('2')).map(|(_, n)| n).sum();
        json!({
            "requests": total,
            "ok": ok,
            "start_ns": self.start_nanos,
            "wall_s": rounded(wall, 3),
            "per_s": (total as f64 / wall).round(),
            "ok_per_s": (ok as f64 / wall).round(),
            "status": outcomes.iter().map(|(outcome, n)| (outcome.clone(), json!(n))).collect::<Map<_, _>>(),
            "latency": results.latencies.to_json(),
            "service_time": results.service_times.to_json(),
            "cpu_s": process::own_cpu_seconds(),
            "conns": self.options.conns,
            "streams": streams,
            "rate": self.options.rate,
            "http2": self.options.http2,
        })
    }
}

/// Hands out request numbers. In an open loop a thread of its own releases them on time.
#[derive(Debug, Clone)]
enum Tickets {
    AsFastAsTheyGo(Arc<AtomicU64>),
    Paced(Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<u64>>>),
}

impl Tickets {
    fn new(run: &Arc<Run>) -> Self {
        if !run.is_open_loop() {
            return Self::AsFastAsTheyGo(Arc::new(AtomicU64::new(0)));
        }
        let (tickets, receiver) = mpsc::unbounded_channel();
        let run = Arc::clone(run);
        std::thread::spawn(move || {
            for number in 0.. {
                let due = run.due(number);
                if run.is_over(number, due) {
                    break;
                }
                let now = run.start.elapsed();
                if due > now {
                    clock::sleep(due - now);
                }
                if tickets.send(number).is_err() {
                    break;
                }
            }
        });
        Self::Paced(Arc::new(tokio::sync::Mutex::new(receiver)))
    }

    /// The next request's number and when it was due; nothing at the end.
    async fn take(&self, run: &Run) -> Option<(u64, Duration)> {
        match self {
            Self::Paced(tickets) => {
                let number = tickets.lock().await.recv().await?;
                Some((number, run.due(number)))
            }
            Self::AsFastAsTheyGo(next) => {
                let (number, now) = (next.fetch_add(1, Ordering::Relaxed), run.start.elapsed());
                (!run.is_over(number, now)).then_some((number, now))
            }
        }
    }
}

/// One request at a time, on one connection for each host.
#[derive(Debug)]
struct Lane {
    run: Arc<Run>,
    connections: BTreeMap<String, Connection>,
}

impl Lane {
    async fn send_all(mut self, tickets: Tickets) -> Result<()> {
        let run = Arc::clone(&self.run);
        let limit = Duration::from_secs_f64(run.options.timeout_s);
        while let Some((number, due)) = tickets.take(&run).await {
            let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let sent_nanos =
                if run.is_open_loop() { run.start_nanos + nanos(due) } else { clock::now_nanos() };
            let marks = run.marks(number, sent_nanos);
            let url = usize::try_from(number % run.urls.len() as u64)?;
            let uri: Uri = run.urls[url].text(&marks)?.parse()?;
            let authority = uri.authority().context("the URL has no host")?.to_string();
            let request = self.request(&uri, &authority, &marks, run.bytes(number, sent_nanos))?;

            let started = Instant::now();
            if !self.connections.contains_key(&authority) {
                let Ok(connection) = Connection::open(&authority, run.options.http2).await else {
                    run.count("connect".to_owned(), None);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                self.connections.insert(authority.clone(), connection);
            }
            let connection = self.connections.get_mut(&authority).expect("it was connected above");
            let outcome = match tokio::time::timeout(limit, connection.send(request)).await {
                Ok(Ok(status)) => status.to_string(),
                failed => {
                    self.connections.remove(&authority);
                    if failed.is_ok() { "error".to_owned() } else { "timeout".to_owned() }
                }
            };
            run.answered(number, sent_nanos, &outcome);
            let service_time = started.elapsed();
            let from_due = run.start.elapsed().saturating_sub(due);
            run.count(
                outcome,
                Some((if run.is_open_loop() { from_due } else { service_time }, service_time)),
            );
        }
        Ok(())
    }

    fn request(
        &self,
        uri: &Uri,
        authority: &str,
        marks: &Marks<'_>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(self.run.options.method.clone());
        if self.run.options.http2 {
            request = request.uri(uri.clone());
        } else {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            request = request.uri(path).header(header::HOST, authority);
        }
        for (name, value) in &self.run.headers {
            request = request.header(name, value.text(marks)?);
        }
        Ok(request.body(Full::from(body))?)
    }
}

#[derive(Debug)]
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(authority: &str, is_http2: bool) -> Result<Self> {
        if is_http2 {
            return Ok(Self::Http2(Self::open_http2(authority).await?));
        }
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self::Http1(sender))
    }

    async fn open_http2(authority: &str) -> Result<http2::SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(sender)
    }

    /// The status, once the answer has been read to its end.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<u16, hyper::Error> {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        Ok(status)
    }
}

/// A text with marks in it.
#[derive(Debug, PartialEq, Eq)]
struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    SentNanos,
    Sequence,
    Id,
    Subject,
}

/// What the marks of one request stand for.
#[derive(Debug)]
struct Marks<'a> {
    sent_nanos: u64,
    sequence: u64,
    run: u64,
    subjects: &'a Subjects,
}

impl Template {
    fn new(text: &str, pad: usize) -> Self {
        let text = text.replace("{{pad}}", &"x".repeat(pad));
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text.as_str());
        while let Some((before, after)) = rest.split_once("{{") {
            literal.push_str(before);
            let mark = after.split_once("}}").and_then(|(name, behind)| Some((Part::named(name)?, behind)));
            if let Some((part, behind)) = mark {
                parts.push(Part::Text(std::mem::take(&mut literal)));
                parts.push(part);
                rest = behind;
            } else {
                literal.push_str("{{");
                rest = after;
            }
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Self(parts)
    }

    fn text(&self, marks: &Marks<'_>) -> Result<String> {
        let mut filled = Vec::new();
        self.fill(marks, &mut filled);
        Ok(String::from_utf8(filled)?)
    }

    fn fill(&self, marks: &Marks<'_>, filled: &mut Vec<u8>) {
        for part in &self.0 {
            let written = match part {
                Part::Text(text) => filled.write_all(text.as_bytes()),
                Part::SentNanos => write!(filled, "{}", marks.sent_nanos),
                Part::Sequence => write!(filled, "{}", marks.sequence),
                Part::Id => write!(filled, "{:x}-{:x}", marks.run, marks.sequence),
                Part::Subject => write!(filled, "{}", marks.subjects.of(marks.sequence)),
            };
            written.expect("a vector takes what is written to it");
        }
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        match name {
            "ts" => Some(Self::SentNanos),
            "seq" => Some(Self::Sequence),
            "id" => Some(Self::Id),
            "sub" => Some(Self::Subject),
            _ => None,
        }
    }
}

/// Who events are about: a number that follows from an event's sequence number.
#[derive(Debug)]
enum Subjects {
    /// So many, each as often as the others.
    Even(u64),
    /// By Zipf's law: the chance of each and all before it, together.
    Zipf(Vec<f64>),
}

impl Subjects {
    fn new(count: u64, zipf: bool) -> Self {
        let count = count.max(1);
        if !zipf {
            return Self::Even(count);
        }
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let sums: Vec<f64> = sums.collect();
        Self::Zipf(sums.iter().map(|part| part / sum).collect())
    }

    /// Neighbouring events are about different subjects, as far as there are enough.
    fn of(&self, sequence: u64) -> u64 {
        match self {
            Self::Even(count) => sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count,
            Self::Zipf(chances) => {
                let drawn = (scattered(sequence) >> 11) as f64 / (1_u64 << 53) as f64;
                let rank = chances.partition_point(|chance| *chance <= drawn);
                rank.min(chances.len() - 1) as u64
            }
        }
    }
}

/// The finaliser of splitmix64: neighbours end up far from each other.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_the_marks_and_leaves_other_braces_alone() {
        let subjects = Subjects::new(1, false);
        let marks = Marks { sent_nanos: 12, sequence: 10, run: 255, subjects: &subjects };
        let cases = [
            (r#"{"bench_ts":{{ts}},"bench_seq":{{seq}}}"#, r#"{"bench_ts":12,"bench_seq":10}"#),
            (r#"{"id":"{{id}}","bench_sub":{{sub}}}"#, r#"{"id":"ff-a","bench_sub":0}"#),
            (r#"{"a":{"b":"{{pad}}"}}"#, r#"{"a":{"b":"xxx"}}"#),
            ("{{{{seq}}", "{{10"),
            ("{{no}} {{", "{{no}} {{"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(Template::new(text, 3).text(&marks).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn subjects_stay_below_their_number_and_are_all_used() {
        let subjects = Subjects::new(7, false);
        let used: std::collections::BTreeSet<u64> = (0..200).map(|sequence| subjects.of(sequence)).collect();
        assert_eq!(used, (0..7).collect());
    }

    #[test]
    fn zipf_draws_each_subject_in_inverse_proportion_to_its_rank() {
        let subjects = Subjects::new(100, true);
        let mut counts = [0_u64; 100];
        for sequence in 0..100_000 {
            counts[usize::try_from(subjects.of(sequence)).unwrap()] += 1;
        }
        let all: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for (rank, expected) in [(1, 1.0), (2, 0.5), (10, 0.1)] {
            let share = counts[rank - 1] as f64 / 100_000.0 * all;
            assert!((share / expected - 1.0).abs() < 0.1, "rank {rank}: {share} of {expected}");
        }
    }
}
