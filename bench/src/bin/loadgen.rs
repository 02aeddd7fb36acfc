//! An HTTP load generator. Closed loop (as fast as answers come back) or open loop (--rate), where latency counts from
//! the moment a request was due, so that a stalled server is not flattered. In the body, {{ts}} is the due time in
//! nanoseconds, {{seq}} the sequence number, {{id}} a unique token, {{sub}} a subject number below --subjects, {{pad}}
//! filler of --pad bytes. The same marks work in the URL. Several --url are used in turn.

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
    #[arg(long, default_value_t = 0)]
    pad: usize,
    #[arg(long, default_value_t = 1)]
    subjects: u64,
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
}

fn main() -> Result<()> {
    let options = Options::parse();
    bench::runtime::with_threads(options.threads)?.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    ensure!(options.n > 0 || options.seconds > 0.0, "give -n or --seconds");
    let run = Arc::new(Run::new(options)?);
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
    println!("{}", serde_json::to_string_pretty(&run.summary(streams))?);
    Ok(())
}

/// What all lanes of a run share.
#[derive(Debug)]
struct Run {
    options: Options,
    urls: Vec<Template>,
    body: Template,
    headers: Vec<(String, String)>,
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
}

impl Run {
    fn new(options: Options) -> Result<Self> {
        let body = match options.body.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
            None => options.body.clone(),
        };
        let split = |header: &String| {
            let (name, value) = header.split_once(':').with_context(|| format!("not a header: {header}"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        Ok(Self {
            urls: options.url.iter().map(|url| Template::new(url, 0)).collect(),
            body: Template::new(&body, options.pad),
            headers: options.header.iter().map(split).collect::<Result<_>>()?,
            start: Instant::now(),
            start_nanos: clock::now_nanos(),
            results: Mutex::new(Results {
                latencies: Latencies::new(),
                service_times: Latencies::new(),
                outcomes: BTreeMap::new(),
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
            let marks = Marks {
                sent_nanos: if run.is_open_loop() {
                    run.start_nanos + nanos(due)
                } else {
                    clock::now_nanos()
                },
                sequence: run.options.first_seq + number,
                run: run.start_nanos,
                subjects: run.options.subjects,
            };
            let url = usize::try_from(number % run.urls.len() as u64)?;
            let uri: Uri = String::from_utf8(run.urls[url].fill(&marks))?.parse()?;
            let authority = uri.authority().context("the URL has no host")?.to_string();
            let request = self.request(&uri, &authority, run.body.fill(&marks))?;

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
            let service_time = started.elapsed();
            let from_due = run.start.elapsed().saturating_sub(due);
            run.count(
                outcome,
                Some((if run.is_open_loop() { from_due } else { service_time }, service_time)),
            );
        }
        Ok(())
    }

    fn request(&self, uri: &Uri, authority: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(self.run.options.method.clone());
        if self.run.options.http2 {
            request = request.uri(uri.clone());
        } else {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            request = request.uri(path).header(header::HOST, authority);
        }
        for (name, value) in &self.run.headers {
            request = request.header(name, value);
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
struct Marks {
    sent_nanos: u64,
    sequence: u64,
    run: u64,
    subjects: u64,
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

    fn fill(&self, marks: &Marks) -> Vec<u8> {
        let mut filled = Vec::with_capacity(1024);
        for part in &self.0 {
            let written = match part {
                Part::Text(text) => filled.write_all(text.as_bytes()),
                Part::SentNanos => write!(filled, "{}", marks.sent_nanos),
                Part::Sequence => write!(filled, "{}", marks.sequence),
                Part::Id => write!(filled, "{:x}-{:x}", marks.run, marks.sequence),
                Part::Subject => write!(filled, "{}", marks.subject()),
            };
            written.expect("a vector takes what is written to it");
        }
        filled
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

impl Marks {
    /// Neighbouring requests are about different subjects.
    fn subject(&self) -> u64 {
        self.sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.subjects.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_the_marks_and_leaves_other_braces_alone() {
        let marks = Marks { sent_nanos: 12, sequence: 10, run: 255, subjects: 1 };
        let cases = [
            (r#"{"bench_ts":{{ts}},"bench_seq":{{seq}}}"#, r#"{"bench_ts":12,"bench_seq":10}"#),
            (r#"{"id":"{{id}}","bench_sub":{{sub}}}"#, r#"{"id":"ff-a","bench_sub":0}"#),
            (r#"{"a":{"b":"{{pad}}"}}"#, r#"{"a":{"b":"xxx"}}"#),
            ("{{{{seq}}", "{{10"),
            ("{{no}} {{", "{{no}} {{"),
            ("", ""),
        ];
        for (text, expected) in cases {
            let filled = String::from_utf8(Template::new(text, 3).fill(&marks)).unwrap();
            assert_eq!(filled, expected, "{text}");
        }
    }

    #[test]
    fn subjects_stay_below_their_number_and_are_all_used() {
        let subject = |sequence| Marks { sent_nanos: 0, sequence, run: 0, subjects: 7 }.subject();
        let used: std::collections::BTreeSet<u64> = (0..200).map(subject).collect();
        assert_eq!(used, (0..7).collect());
    }
}
