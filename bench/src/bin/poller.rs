//! A poll client in the manner of RFC 8936: asks for events, acknowledges what it took in the next request, and
//! measures the same markers as the sink. Prints a JSON summary at the end.

use anyhow::{Context, Result};
use bench::clock;
use bench::latency::Latencies;
use bench::markers::Markers;
use bench::sequence::Sequence;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    url: Uri,
    /// Headers, "Name: value".
    #[arg(short = 'H', long)]
    header: Vec<String>,
    #[arg(long, default_value_t = 100)]
    max_events: u64,
    /// Ask the transmitter to answer at once even when it has nothing.
    #[arg(long)]
    immediately: bool,
    /// End after this many distinct events.
    #[arg(short, long, default_value_t = 0)]
    n: u64,
    #[arg(short, long, default_value_t = 60.0)]
    seconds: f64,
    /// Leave out every Nth acknowledgement once, so that those events must come again (0: never).
    #[arg(long, default_value_t = 0)]
    skip_ack_every: u64,
    /// Pause after each answer.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// At the end, write a line for each event that came to this file: sequence number (or -), when it was sent by its
    /// marker (or -), when it came (nanoseconds since the epoch).
    #[arg(long)]
    log: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut poller = Poller::new(&options)?;
    while poller.wants_more() {
        let left = (options.seconds - poller.start.elapsed().as_secs_f64()).max(0.01);
        match tokio::time::timeout(Duration::from_secs_f64(left), poller.poll()).await {
            // The timer rounds up to a millisecond: no pause has to be none.
            Ok(Ok(())) if options.pause_ms == 0 => {}
            Ok(Ok(())) => tokio::time::sleep(Duration::from_millis(options.pause_ms)).await,
            Ok(Err(_)) => {
                poller.errors += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(_) => break,
        }
    }
    if let Some(path) = &options.log {
        std::fs::write(path, poller.log()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", serde_json::to_string_pretty(&poller.summary())?);
    Ok(())
}

#[derive(Debug)]
struct Poller<'a> {
    options: &'a Options,
    headers: Vec<(&'a str, &'a str)>,
    connection: Option<SendRequest<Full<Bytes>>>,
    start: Instant,
    latest: Instant,
    acks: Vec<String>,
    sequence: Sequence,
    latencies: Latencies,
    round_trips: Latencies,
    polls: u64,
    empty: u64,
    errors: u64,
    events: u64,
    biggest_answer: usize,
    acks_left_out: u64,
    log: Vec<(Markers, u64)>,
}

impl<'a> Poller<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let split =
            |header: &'a String| header.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let headers = options.header.iter().map(split).collect::<Option<_>>().context("not a header")?;
        let start = Instant::now();
        Ok(Self {
            options,
            headers,
            connection: None,
            start,
            latest: start,
            acks: Vec::new(),
            sequence: Sequence::default(),
            latencies: Latencies::new(),
            round_trips: Latencies::new(),
            polls: 0,
            empty: 0,
            errors: 0,
            events: 0,
            biggest_answer: 0,
            acks_left_out: 0,
            log: Vec::new(),
        })
    }

    fn has_enough(&self) -> bool {
        self.options.n > 0 && self.sequence.distinct >= self.options.n
    }

    /// The last acknowledgements are still sent when there are events enough.
    fn wants_more(&self) -> bool {
        self.start.elapsed().as_secs_f64() < self.options.seconds
            && (!self.has_enough() || !self.acks.is_empty())
    }

    async fn poll(&mut self) -> Result<()> {
        let enough = self.has_enough();
        let question = json!({
            "maxEvents": if enough { 0 } else { self.options.max_events },
            "returnImmediately": self.options.immediately || enough,
            "ack": self.acks,
        });
        let begun = Instant::now();
        let (status, answer) = match self.ask(question.to_string()).await {
            Ok(answer) => answer,
            Err(error) => {
                self.connection = None;
                return Err(error);
            }
        };
        self.polls += 1;
        self.round_trips.record(begun.elapsed());
        anyhow::ensure!(status == StatusCode::OK, "{status}");
        self.acks.clear();
        self.take(&serde_json::from_slice(&answer).unwrap_or(Value::Null));
        Ok(())
    }

    async fn ask(&mut self, question: String) -> Result<(StatusCode, Bytes)> {
        let uri = &self.options.url;
        let authority = uri.authority().context("the URL has no host")?.as_str();
        let mut request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(question))?;
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            self.connection = Some(sender);
        }
        let sender = self.connection.as_mut().expect("it was connected above");
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    fn take(&mut self, answer: &Value) {
        let now = clock::now_nanos();
        let sets = answer.get("sets").and_then(Value::as_object);
        let count = sets.map_or(0, serde_json::Map::len);
        self.empty += u64::from(count == 0);
        self.biggest_answer = self.biggest_answer.max(count);
        for (jti, token) in sets.into_iter().flatten() {
            self.events += 1;
            self.latest = Instant::now();
            let markers = Markers::of(token.as_str().unwrap_or_default().as_bytes());
            if let Some(sent) = markers.sent_nanos {
                self.latencies.record(Duration::from_nanos(now.saturating_sub(sent)));
            }
            self.sequence.add(markers);
            if self.options.log.is_some() {
                self.log.push((markers, now));
            }
            if self.options.skip_ack_every > 0 && self.events.is_multiple_of(self.options.skip_ack_every) {
                self.acks_left_out += 1;
            } else {
                self.acks.push(jti.clone());
            }
        }
    }

    fn log(&self) -> String {
        let number = |marker: Option<u64>| marker.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let line = |(markers, came): &(Markers, u64)| {
            format!("{} {} {came}\n", number(markers.sequence), number(markers.sent_nanos))
        };
        self.log.iter().map(line).collect()
    }

    fn summary(&self) -> Value {
        let span = (self.latest - self.start).as_secs_f64();
        json!({
            "polls": self.polls,
            "empty": self.empty,
            "errors": self.errors,
            "events": self.events,
            "biggest_answer": self.biggest_answer,
            "acks_left_out": self.acks_left_out,
            "span_s": span,
            "events_per_s": if span > 0.0 { (self.events as f64 / span).round() } else { 0.0 },
            "distinct": self.sequence.distinct,
            "dups": self.sequence.duplicates,
            "out_of_order_per_subject": self.sequence.out_of_order_per_subject,
            "max_seq": self.sequence.greatest,
            "latency": self.latencies.to_json(),
            "round_trip": self.round_trips.to_json(),
        })
    }
}
