//! An HTTP receiver for measurements. It speaks HTTP/1.1 and HTTP/2 with prior knowledge on one port, answers a
//! status that is set per path prefix, can delay, fail, drop or hang, counts what it takes, checks the order per
//! subject, and measures the latency of bodies that carry `bench_ts` (nanoseconds since the epoch).
//!
//! Control: `GET /__stats` gives the JSON summary, `POST /__reset` clears it. The summary is also printed on SIGINT,
//! on SIGTERM, and when --expect deliveries have been accepted.

use anyhow::{Context, Result, bail};
use bench::clock;
use bench::latency::{Latencies, rounded};
use bench::markers::Markers;
use bench::sequence::Sequence;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Version, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long, default_value = "127.0.0.1:9099")]
    listen: SocketAddr,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Default behaviour, in the form of a rule without its prefix.
    #[arg(long, default_value = "")]
    default: String,
    /// PREFIX;key=value;... and repeatable; the first prefix that fits is used. Keys:
    /// status, delay_ms, jitter_ms, fail_status, fail_every (every Nth request),
    /// fail_first (first N requests), fail_pct, fail_for_ms (from the first request on),
    /// retry_after (seconds, on failures), drop_every (close without an answer),
    /// hang_every (never answer), body (answer's body), conn_close (1: close after each).
    #[arg(long)]
    rule: Vec<String>,
    /// Print the summary and end after this many accepted deliveries (0: never).
    #[arg(long, default_value_t = 0)]
    expect: u64,
    /// End after this many seconds in any case (0: never).
    #[arg(long, default_value_t = 0)]
    max_s: u64,
    /// At the end, write a line for each answered request to this file: path; by its markers (or -) sequence number,
    /// subject and when it was sent; when it was read, when it was answered (nanoseconds since the epoch); status.
    #[arg(long)]
    log: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    bench::runtime::with_threads(options.threads)?.block_on(run(options))?;
    // Some connections may hang on purpose: nobody waits for them.
    std::process::exit(0);
}

async fn run(options: Options) -> Result<()> {
    let sink = Arc::new(Sink {
        rules: options.rule.iter().map(|rule| Rule::with_prefix(rule)).collect::<Result<_>>()?,
        default: Rule::without_prefix(&options.default)?,
        seen: Mutex::new(Seen::new()),
        expect: options.expect,
        log: options.log.as_ref().map(|_| Mutex::default()),
        done: Notify::new(),
    });
    let listener = TcpListener::bind(options.listen).await.context("cannot listen")?;
    eprintln!("sink on {}", listener.local_addr()?);
    let accepting = Arc::clone(&sink);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(Arc::clone(&accepting).serve(stream));
        }
    });
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let end = async {
        if options.max_s == 0 {
            pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_secs(options.max_s)).await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = sink.done.notified() => {}
        () = end => {}
    }
    if let (Some(path), Some(log)) = (&options.log, &sink.log) {
        let log = log.lock().expect("nobody panics while logging");
        std::fs::write(path, log.iter().map(Answered::line).collect::<String>())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", serde_json::to_string_pretty(&sink.seen().summary())?);
    Ok(())
}

/// A request that was answered, for the log.
#[derive(Debug)]
struct Answered {
    path: String,
    markers: Markers,
    read_nanos: u64,
    answered_nanos: u64,
    status: u16,
}

impl Answered {
    fn line(&self) -> String {
        let Self { path, markers, read_nanos, answered_nanos, status } = self;
        let number = |marker: Option<u64>| marker.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let [sequence, subject, sent] = [markers.sequence, markers.subject, markers.sent_nanos].map(number);
        format!("{path} {sequence} {subject} {sent} {read_nanos} {answered_nanos} {status}\n")
    }
}

#[derive(Debug)]
struct Sink {
    rules: Vec<Rule>,
    default: Rule,
    seen: Mutex<Seen>,
    expect: u64,
    log: Option<Mutex<Vec<Answered>>>,
    done: Notify,
}

impl Sink {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        self.seen().connected();
        let sink = Arc::clone(&self);
        let service = hyper::service::service_fn(move |request| {
            let sink = Arc::clone(&sink);
            async move { sink.answer(request).await }
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new());
        server.http2().max_concurrent_streams(1000).timer(TokioTimer::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
        self.seen().open -= 1;
    }

    /// An error closes the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        if path == "/__stats" {
            let summary = serde_json::to_string_pretty(&self.seen().summary())?;
            return Ok(Response::new(Full::from(summary)));
        }
        if path == "/__reset" && request.method() == Method::POST {
            self.seen().reset();
            return Ok(Response::new(Full::from("{}")));
        }
        let is_http2 = request.version() == Version::HTTP_2;
        let collected = request.into_body().collect().await;
        let body = collected.map_err(|_| io::Error::other("the body was cut short"))?.to_bytes();
        let rule = self.rules.iter().find(|rule| path.starts_with(&rule.prefix)).unwrap_or(&self.default);
        let read_nanos = clock::now_nanos();
        let fate = self.seen().take(&path, &body, is_http2, rule);
        let response = match fate {
            Fate::Hang => pending().await,
            Fate::Drop => Err(io::Error::other("dropped on purpose")),
            Fate::Answer { status, failed, delay } => {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                rule.response(status, failed)
            }
        };
        if let (Some(log), Ok(response)) = (&self.log, &response) {
            let (markers, status) = (Markers::of(&body), response.status().as_u16());
            let answered = Answered {
                path: path.clone(),
                markers,
                read_nanos,
                answered_nanos: clock::now_nanos(),
                status,
            };
            log.lock().expect("nobody panics while logging").push(answered);
        }
        let mut seen = self.seen();
        seen.answered(&path, response.as_ref().ok().map(Response::status));
        if self.expect > 0 && seen.accepted >= self.expect {
            self.done.notify_one();
        }
        response
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics while counting")
    }
}

/// How requests to a path are treated.
#[derive(Debug, Clone)]
struct Rule {
    prefix: String,
    status: u16,
    delay_ms: u64,
    jitter_ms: u64,
    fail_status: u16,
    fail_every: u64,
    fail_first: u64,
    fail_pct: u64,
    fail_for_ms: u64,
    retry_after: u64,
    drop_every: u64,
    hang_every: u64,
    conn_close: u64,
    body: String,
}

impl Rule {
    fn with_prefix(text: &str) -> Result<Self> {
        let (prefix, settings) = text.split_once(';').unwrap_or((text, ""));
        Ok(Self { prefix: prefix.to_owned(), ..Self::without_prefix(settings)? })
    }

    fn without_prefix(text: &str) -> Result<Self> {
        let mut rule = Self {
            prefix: String::new(),
            status: 202,
            delay_ms: 0,
            jitter_ms: 0,
            fail_status: 503,
            fail_every: 0,
            fail_first: 0,
            fail_pct: 0,
            fail_for_ms: 0,
            retry_after: 0,
            drop_every: 0,
            hang_every: 0,
            conn_close: 0,
            body: String::new(),
        };
        for setting in text.split(';').filter(|setting| !setting.is_empty()) {
            let (key, value) =
                setting.split_once('=').with_context(|| format!("not key=value: {setting}"))?;
            rule.set(key, value).with_context(|| format!("in the rule {setting}"))?;
        }
        Ok(rule)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "status" => self.status = value.parse()?,
            "delay_ms" => self.delay_ms = value.parse()?,
            "jitter_ms" => self.jitter_ms = value.parse()?,
            "fail_status" => self.fail_status = value.parse()?,
            "fail_every" => self.fail_every = value.parse()?,
            "fail_first" => self.fail_first = value.parse()?,
            "fail_pct" => self.fail_pct = value.parse()?,
            "fail_for_ms" => self.fail_for_ms = value.parse()?,
            "retry_after" => self.retry_after = value.parse()?,
            "drop_every" => self.drop_every = value.parse()?,
            "hang_every" => self.hang_every = value.parse()?,
            "conn_close" => self.conn_close = value.parse()?,
            "body" => value.clone_into(&mut self.body),
            _ => bail!("there is no key {key}"),
        }
        Ok(())
    }

    /// Decides about a request; `dice` are two random numbers.
    fn fate(&self, number: u64, since_first: Duration, dice: [u64; 2]) -> Fate {
        let every = |n: u64| n > 0 && number.is_multiple_of(n);
        if every(self.drop_every) {
            return Fate::Drop;
        }
        if every(self.hang_every) {
            return Fate::Hang;
        }
        let failed = every(self.fail_every)
            || number <= self.fail_first
            || dice[0] % 100 < self.fail_pct
            || since_first < Duration::from_millis(self.fail_for_ms);
        let status = if failed { self.fail_status } else { self.status };
        let jitter = dice[1] % (self.jitter_ms + 1);
        let failed = failed || !(200..300).contains(&status);
        Fate::Answer { status, failed, delay: Duration::from_millis(self.delay_ms + jitter) }
    }

    fn response(&self, status: u16, failed: bool) -> io::Result<Response<Full<Bytes>>> {
        let mut response = Response::builder().status(status);
        if failed && self.retry_after > 0 {
            response = response.header(header::RETRY_AFTER, self.retry_after);
        }
        if self.conn_close > 0 {
            response = response.header(header::CONNECTION, "close");
        }
        if !self.body.is_empty() {
            response = response.header(header::CONTENT_TYPE, "application/json");
        }
        response.body(Full::from(self.body.clone())).map_err(io::Error::other)
    }
}

/// What happens to a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answer { status: u16, failed: bool, delay: Duration },
    Drop,
    Hang,
}

/// All that was counted.
#[derive(Debug)]
struct Seen {
    start: Instant,
    first: Option<Instant>,
    latest: Option<Instant>,
    /// The first and the latest delivery that was accepted, by the clock that all processes share.
    accepted_between_nanos: Option<(u64, u64)>,
    requests: u64,
    accepted: u64,
    bytes: u64,
    without_marker: u64,
    connections: u64,
    open: u64,
    open_max: u64,
    http2_requests: u64,
    statuses: BTreeMap<u16, u64>,
    latencies: Latencies,
    paths: BTreeMap<String, SeenOnPath>,
    accepted_by_second: BTreeMap<u64, u64>,
    random: u64,
}

#[derive(Debug, Default)]
struct SeenOnPath {
    requests: u64,
    accepted: u64,
    failed: u64,
    dropped: u64,
    hung: u64,
    in_flight: u64,
    in_flight_max: u64,
    first: Option<Instant>,
    sequence: Sequence,
}

/// With more paths than these, only their sums are printed.
const PATHS_PRINTED_MAX: usize = 64;

impl Seen {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            first: None,
            latest: None,
            accepted_between_nanos: None,
            requests: 0,
            accepted: 0,
            bytes: 0,
            without_marker: 0,
            connections: 0,
            open: 0,
            open_max: 0,
            http2_requests: 0,
            statuses: BTreeMap::new(),
            latencies: Latencies::new(),
            paths: BTreeMap::new(),
            accepted_by_second: BTreeMap::new(),
            random: clock::now_nanos() | 1,
        }
    }

    /// Open connections stay open, so their number stays.
    fn reset(&mut self) {
        *self = Self { open: self.open, open_max: self.open, ..Self::new() };
    }

    fn connected(&mut self) {
        self.connections += 1;
        self.open += 1;
        self.open_max = self.open_max.max(self.open);
    }

    /// Counts a request as soon as it is read, also where its answer is delayed.
    fn take(&mut self, path: &str, body: &[u8], is_http2: bool, rule: &Rule) -> Fate {
        let (now, now_nanos) = (Instant::now(), clock::now_nanos());
        let dice = [self.dice(), self.dice()];
        self.requests += 1;
        self.bytes += body.len() as u64;
        self.http2_requests += u64::from(is_http2);
        self.first.get_or_insert(now);
        self.latest = Some(now);

        let seen = self.paths.entry(path.to_owned()).or_default();
        seen.requests += 1;
        seen.in_flight += 1;
        seen.in_flight_max = seen.in_flight_max.max(seen.in_flight);
        let fate = rule.fate(seen.requests, now - *seen.first.get_or_insert(now), dice);
        match fate {
            Fate::Drop => seen.dropped += 1,
            Fate::Hang => seen.hung += 1,
            Fate::Answer { failed: true, .. } => seen.failed += 1,
            Fate::Answer { failed: false, .. } => {
                let markers = Markers::of(body);
                seen.accepted += 1;
                seen.sequence.add(markers);
                self.accepted += 1;
                let (first, _) = self.accepted_between_nanos.unwrap_or((now_nanos, now_nanos));
                self.accepted_between_nanos = Some((first, now_nanos));
                *self.accepted_by_second.entry(self.start.elapsed().as_secs()).or_default() += 1;
                match markers.sent_nanos {
                    Some(sent) => self.latencies.record(Duration::from_nanos(now_nanos.saturating_sub(sent))),
                    None => self.without_marker += 1,
                }
            }
        }
        fate
    }

    fn answered(&mut self, path: &str, status: Option<StatusCode>) {
        if let Some(status) = status {
            *self.statuses.entry(status.as_u16()).or_default() += 1;
        }
        // After a reset there is nothing to count down from.
        if let Some(seen) = self.paths.get_mut(path) {
            seen.in_flight = seen.in_flight.saturating_sub(1);
        }
    }

    /// xorshift: good enough to roll for failures.
    fn dice(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn summary(&self) -> Value {
        let span = self.first.zip(self.latest).map_or(0.0, |(first, latest)| (latest - first).as_secs_f64());
        let per_second = if span > 0.0 { self.accepted.saturating_sub(1) as f64 / span } else { 0.0 };
        let sum =
            |count: fn(&Sequence) -> u64| self.paths.values().map(|path| count(&path.sequence)).sum::<u64>();
        let printed = self.paths.iter().filter(|_| self.paths.len() <= PATHS_PRINTED_MAX);
        let paths: Map<String, Value> = printed.map(|(path, seen)| (path.clone(), seen.summary())).collect();
        json!({
            "requests": self.requests,
            "accepted": self.accepted,
            "bytes": self.bytes,
            "span_s": rounded(span, 3),
            "first_ns": self.accepted_between_nanos.map(|(first, _)| first),
            "latest_ns": self.accepted_between_nanos.map(|(_, latest)| latest),
            "accepted_per_s": per_second.round(),
            "connections": self.connections,
            "max_open": self.open_max,
            "http2_requests": self.http2_requests,
            "status": self.statuses.iter().map(|(k, v)| (k.to_string(), json!(v))).collect::<Map<_, _>>(),
            "latency": self.latencies.to_json(),
            "without_marker": self.without_marker,
            "distinct": sum(|sequence| sequence.distinct),
            "dups": sum(|sequence| sequence.duplicates),
            "out_of_order_per_subject": sum(|sequence| sequence.out_of_order_per_subject),
            "per_second": self.accepted_by_second.values().collect::<Vec<_>>(),
            "n_paths": self.paths.len(),
            "paths": paths,
        })
    }
}

impl SeenOnPath {
    fn summary(&self) -> Value {
        json!({
            "requests": self.requests,
            "accepted": self.accepted,
            "failed": self.failed,
            "dropped": self.dropped,
            "hung": self.hung,
            "max_in_flight": self.in_flight_max,
            "distinct": self.sequence.distinct,
            "dups": self.sequence.duplicates,
            "out_of_order_per_subject": self.sequence.out_of_order_per_subject,
            "max_seq": self.sequence.greatest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_decide_about_requests() {
        let answer =
            |status, failed, delay| Fate::Answer { status, failed, delay: Duration::from_millis(delay) };
        let cases = [
            ("", 1, answer(202, false, 0)),
            ("status=410", 1, answer(410, true, 0)),
            ("delay_ms=5;jitter_ms=3", 1, answer(202, false, 5 + 7 % 4)),
            ("fail_every=3", 2, answer(202, false, 0)),
            ("fail_every=3", 3, answer(503, true, 0)),
            ("fail_first=2;fail_status=500", 2, answer(500, true, 0)),
            ("fail_pct=8", 1, answer(503, true, 0)),
            ("fail_pct=7", 1, answer(202, false, 0)),
            ("fail_for_ms=1001", 1, answer(503, true, 0)),
            ("drop_every=2;hang_every=2", 2, Fate::Drop),
            ("hang_every=2", 4, Fate::Hang),
        ];
        for (text, number, expected) in cases {
            let rule = Rule::with_prefix(&format!("/a;{text}")).unwrap();
            assert_eq!(rule.prefix, "/a");
            assert_eq!(rule.fate(number, Duration::from_secs(1), [107, 7]), expected, "{text}");
        }
    }

    #[test]
    fn refuses_rules_that_say_nothing() {
        for text in ["/a;delay", "/a;delay_ms=x", "/a;colour=red"] {
            assert!(Rule::with_prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_what_is_lost_doubled_and_out_of_order_on_each_path() {
        let mut seen = Seen::new();
        let rule = Rule::without_prefix("").unwrap();
        for (path, number, subject) in [("/a", 1, 1), ("/b", 0, 1), ("/a", 0, 1), ("/a", 0, 1), ("/a", 2, 2)]
        {
            let body = format!(r#"{{"bench_ts":1,"bench_seq":{number},"bench_sub":{subject}}}"#);
            seen.take(path, body.as_bytes(), false, &rule);
        }
        let summary = seen.summary();
        assert_eq!(summary["distinct"], 4);
        assert_eq!(summary["dups"], 1);
        assert_eq!(summary["out_of_order_per_subject"], 1);
        assert_eq!(summary["paths"]["/b"]["out_of_order_per_subject"], 0);
        assert_eq!(summary["latency"]["n"], 5);
    }
}
