//! The receiving side, as an application would build it from the crates: SETs that were signed beforehand come in by push
//! or by poll, are verified, guarded against repeats and stored. Each command is a process of its own.
//!
//! With `token` this is a yardstick that knows the product: there is no command of the product yet that only receives.

use anyhow::{Context, Result, ensure};
use bench::clock;
use bench::token;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use secevent::{ByLanguage, EventType};
use secevent::{Claims, Clock, Issuer, Profile, Set, Subject, Timestamp, caep::SessionRevoked};
use secevent_http::{Client, ClientConfig, Ports as OutgoingPorts};
use secevent_jose::{Algorithm, JwkSet, Signer, SigningKey};
use secevent_receiver::{HandleError, Handler, Ports, Receiver, ReceiverConfig, Source};
use secevent_server::receiver_router;
use secevent_sqlite::{Options as StoreOptions, SqliteStore};
use secevent_ssf::{
    BoxFuture, Delivery, DeliveryRequest, Endpoint, Method, StreamConfiguration, TransmitterMetadata,
};
use secevent_store::Epoch;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign SETs of 600 bytes of claims, one a line, with a new key, and write both to a folder.
    Sign {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        count: usize,
        /// The transmitter that is to have signed them.
        #[arg(long)]
        issuer: String,
    },
    /// Serve what was signed as a transmitter that is polled. `GET /__stats` tells how many are acknowledged.
    Transmit {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
        /// SETs in an answer.
        #[arg(long, default_value_t = 100)]
        batch: usize,
    },
    /// Take SETs at /receive/bench.
    Push {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        issuer: String,
    },
    /// Poll a transmitter.
    Poll {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        issuer: String,
    },
    /// How many signatures by RS256 one core checks in a second, with the cryptography library alone.
    Raw {
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
}

fn main() -> Result<()> {
    match Options::parse().command {
        Command::Sign { folder, count, issuer } => sign(&folder, count, &issuer),
        Command::Raw { seconds } => raw(seconds),
        Command::Transmit { folder, listen, batch } => {
            bench::runtime::with_threads(1)?.block_on(transmit(&folder, listen, batch))
        }
        // A receiver has the runtime that an application has.
        Command::Push { folder, listen, issuer } => {
            tokio::runtime::Runtime::new()?.block_on(push(&folder, listen, &issuer))
        }
        Command::Poll { folder, issuer } => tokio::runtime::Runtime::new()?.block_on(poll(&folder, &issuer)),
    }
}

const AUDIENCE: &str = "https://receiver.example";
const SUBJECTS: usize = 10_000;

fn tokens_in(folder: &Path) -> PathBuf {
    folder.join("tokens.txt")
}

fn keys_in(folder: &Path) -> PathBuf {
    folder.join("jwks.json")
}

fn sign(folder: &Path, count: usize, issuer: &str) -> Result<()> {
    let signer = Signer::new(SigningKey::generate(Algorithm::Rs256)?, Signer::SECURITY_EVENT);
    fs::write(keys_in(folder), JwkSet::new([signer.key().public().clone()]).to_json())?;
    let threads = std::thread::available_parallelism()?.get();
    let share = count.div_ceil(threads);
    let parts = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let numbers = thread * share..((thread + 1) * share).min(count);
                let signer = &signer;
                scope.spawn(move || -> Result<String> {
                    let mut lines = String::new();
                    for number in numbers {
                        writeln!(lines, "{}", signer.sign(set(issuer, number)?.as_json().as_bytes())?)?;
                    }
                    Ok(lines)
                })
            })
            .collect();
        parts
            .into_iter()
            .map(|part| part.join().expect("nobody panics while signing"))
            .collect::<Result<Vec<_>>>()
    })?;
    fs::write(tokens_in(folder), parts.concat())?;
    Ok(())
}

fn set(issuer: &str, number: usize) -> Result<Set> {
    let mut claims = Claims::new(issuer, jti(number), WallClock.now());
    claims.aud = Some(AUDIENCE.into());
    claims.txn = Some(format!("8675309-{number}"));
    claims.sub_id = Some(Subject::opaque(&format!("user-{}", number % SUBJECTS))?);
    let why = ByLanguage::english("x".repeat(240));
    Ok(claims
        .with_event(&SessionRevoked { reason_admin: Some(why), ..SessionRevoked::default() })?
        .prove(Profile::Ssf)?)
}

fn jti(number: usize) -> String {
    format!("bench-{number:016}")
}

fn raw(seconds: f64) -> Result<()> {
    let bench = token::Bench::new(Algorithm::Rs256)?;
    let (start, mut count) = (cpu_seconds(), 0_u64);
    while cpu_seconds() - start < seconds {
        for _ in 0..100 {
            bench.run(token::Path::RawVerify)?;
        }
        count += 100;
    }
    println!("{}", json!({ "verifies_per_s": count as f64 / (cpu_seconds() - start) }));
    Ok(())
}

/// The CPU time that this thread has had.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

async fn push(folder: &Path, listen: SocketAddr, issuer: &str) -> Result<()> {
    let endpoint = Endpoint::parse_insecure(&format!("http://{listen}/receive/bench"))?;
    let receiver = start(folder, issuer, DeliveryRequest::push(endpoint, None)).await?;
    let endpoint = receiver.push_endpoint("bench").context("the source was declared above")?;
    let router = receiver_router([("bench".to_owned(), endpoint)]);
    let listener = TcpListener::bind(listen).await.context("cannot listen")?;
    secevent_server::serve(listener, router, asked_to_end()?).await?;
    tell(&receiver);
    receiver.stop().await;
    Ok(())
}

async fn poll(folder: &Path, issuer: &str) -> Result<()> {
    let receiver = start(folder, issuer, DeliveryRequest::poll()).await?;
    let ending = asked_to_end()?;
    receiver.subscribe("bench").await?;
    ending.await;
    tell(&receiver);
    receiver.stop().await;
    Ok(())
}

/// A receiver with the defaults, a store of its own, and a handler that has nothing to do.
async fn start(folder: &Path, issuer: &str, delivery: DeliveryRequest) -> Result<Receiver> {
    let issuer = Issuer::parse_insecure(issuer)?;
    let keys_at = Endpoint::parse_insecure(&format!("{}/jwks", issuer.as_str()))?;
    let mut source = Source::new("bench", issuer, delivery);
    source.peer.tolerance.plain_http = true;
    source.audiences = vec![AUDIENCE.to_owned()];
    source.keys_at = Some(keys_at);
    let epoch = Epoch(std::process::id());
    let store = SqliteStore::open(folder.join("receiver.db"), StoreOptions::new(epoch))?;
    let network = ClientConfig {
        allow_networks: vec!["127.0.0.0/8".parse()?],
        ports: OutgoingPorts::Any,
        allow_plain_http: true,
        ..ClientConfig::default()
    };
    let ports = Ports {
        transport: Arc::new(Client::new(network)?),
        inbox: store.clone(),
        documents: store,
        clock: Arc::new(WallClock),
    };
    let config = ReceiverConfig { sources: vec![source], ..ReceiverConfig::default() };
    Ok(Receiver::start(config, ports, Arc::new(NothingToDo)).await?)
}

fn tell(receiver: &Receiver) {
    eprintln!("{:?}", receiver.counts());
}

struct NothingToDo;

impl Handler for NothingToDo {
    fn handle<'a>(&'a self, _: &'a Set, _: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
        Box::pin(async { Ok(()) })
    }
}

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(clock::now_nanos() / 1000).unwrap_or(i64::MAX))
    }
}

fn asked_to_end() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}

/// A transmitter that has its answers ready.
struct Transmitter {
    base: String,
    keys: Bytes,
    /// The answers to polls, one after the other.
    answers: Vec<Bytes>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    handed: usize,
    acked: usize,
    first_nanos: u64,
    latest_ack_nanos: u64,
}

async fn transmit(folder: &Path, listen: SocketAddr, batch: usize) -> Result<()> {
    ensure!(batch > 0, "an answer has one SET at least");
    let tokens = fs::read_to_string(tokens_in(folder))?;
    let tokens: Vec<(String, &str)> =
        tokens.lines().enumerate().map(|(number, token)| (jti(number), token)).collect();
    let mut batches = tokens.chunks(batch).peekable();
    let mut answers = Vec::new();
    while let Some(sets) = batches.next() {
        let sets = sets.iter().map(|(jti, token)| (jti.as_str(), *token));
        answers.push(secevent_ssf::poll::write(sets, batches.peek().is_some()));
    }
    let transmitter = Arc::new(Transmitter {
        base: format!("http://{listen}"),
        keys: fs::read(keys_in(folder))?.into(),
        answers,
        progress: Mutex::default(),
    });
    let listener = TcpListener::bind(listen).await.context("cannot listen")?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let transmitter = Arc::clone(&transmitter);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let transmitter = Arc::clone(&transmitter);
                async move { transmitter.answer(request).await }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Transmitter {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (path, is_post) = (request.uri().path().to_owned(), request.method() == hyper::Method::POST);
        let body = request.into_body().collect().await?.to_bytes();
        let (status, answer) = match (path.as_str(), is_post) {
            ("/jwks", _) => (StatusCode::OK, self.keys.clone()),
            ("/.well-known/ssf-configuration", _) => (StatusCode::OK, self.metadata()?.into()),
            ("/stream", true) => (StatusCode::CREATED, self.configuration()?.into()),
            ("/stream", false) => (StatusCode::OK, Bytes::from_static(b"[]")),
            ("/poll", true) => match self.poll(&body)? {
                Some(answer) => (StatusCode::OK, answer),
                // A long poll that is never answered: there is nothing more.
                None => std::future::pending().await,
            },
            ("/__stats", _) => (StatusCode::OK, self.stats().to_string().into()),
            _ => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        Ok(response.body(Full::from(answer))?)
    }

    fn metadata(&self) -> Result<String> {
        let endpoint = |path: &str| Endpoint::parse_insecure(&format!("{}{path}", self.base)).map(Some);
        let mut metadata = TransmitterMetadata::new(Issuer::parse_insecure(&self.base)?);
        metadata.jwks_uri = endpoint("/jwks")?;
        metadata.configuration_endpoint = endpoint("/stream")?;
        metadata.delivery_methods_supported = vec!["urn:ietf:rfc:8936".to_owned()];
        Ok(serde_json::to_string(&metadata)?)
    }

    fn configuration(&self) -> Result<String> {
        let poll = Endpoint::parse_insecure(&format!("{}/poll", self.base))?;
        Ok(StreamConfiguration {
            stream_id: "bench".parse()?,
            iss: Issuer::parse_insecure(&self.base)?,
            aud: AUDIENCE.into(),
            delivery: Delivery::new(Method::Poll, poll),
            events_supported: None,
            events_requested: None,
            events_delivered: vec![SessionRevoked::URI.to_owned()],
            min_verification_interval_seconds: None,
            inactivity_timeout_seconds: None,
            description: None,
            format: None,
        }
        .to_json())
    }

    fn poll(&self, body: &[u8]) -> Result<Option<Bytes>> {
        #[derive(Deserialize)]
        struct Asked {
            #[serde(default)]
            ack: Vec<serde::de::IgnoredAny>,
            #[serde(rename = "maxEvents")]
            events_max: Option<u64>,
        }
        let asked: Asked = serde_json::from_slice(body)?;
        let mut progress = self.progress.lock().expect("nobody panics while counting");
        let now = clock::now_nanos();
        if progress.first_nanos == 0 {
            progress.first_nanos = now;
        }
        if !asked.ack.is_empty() {
            progress.acked += asked.ack.len();
            progress.latest_ack_nanos = now;
        }
        if asked.events_max == Some(0) {
            return Ok(Some(Bytes::from_static(br#"{"sets":{}}"#)));
        }
        let answer = self.answers.get(progress.handed).cloned();
        progress.handed += usize::from(answer.is_some());
        Ok(answer)
    }

    fn stats(&self) -> Value {
        let progress = self.progress.lock().expect("nobody panics while counting");
        json!({
            "polls": progress.handed,
            "acked": progress.acked,
            "first_ns": progress.first_nanos,
            "latest_ack_ns": progress.latest_ack_nanos,
        })
    }
}
