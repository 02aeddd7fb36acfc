//! What a peer without credentials can do to the shipped `secevent serve`: each attack beside honest clients, with what
//! the book promises of it. `cargo xtask bench strangers` builds and runs it.
//!
//! The attackers are plain programs on loopback, bounded in number and time. An attack is a function in this file and a
//! variant of [`Attack`]; what it has to show is in the lines that it returns.

use anyhow::{Context, Result, bail, ensure};
use bench::clock;
use bench::engine::Bench;
use bench::engine::product::{Product, Setup};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Polling, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

#[derive(Debug, Parser)]
struct Options {
    /// Try these attacks only; several, by commas.
    #[arg(value_delimiter = ',')]
    attacks: Vec<Attack>,
    /// How long each attack goes on, in seconds. Default: what the attack promises to withstand, or 5 with --quick.
    #[arg(long)]
    seconds: Option<u64>,
    /// A few seconds for each attack, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Where the programs lie that are started. Default: beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Where stores are written; it has to be on a disk. Default: beside the programs.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Fail when something is not withstood.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Attack {
    /// 1 128 connections with half a request head, against a process that may have 1 024 open files.
    HalfHeads,
    /// 500 TCP connections a second to the TLS listener that send nothing.
    SilentTls,
    /// 100 connections over HTTP/2 with as many unfinished bodies as they may have, without a token.
    H2Bodies,
    /// The same with a token.
    H2BodiesWithToken,
    /// 10 000 guesses at the secret of a client, all at once.
    Guesses,
}

/// One line of the table.
struct Line {
    what: String,
    measured: String,
    promised: String,
    holds: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let bench = Bench::new(options.programs.as_deref(), options.folder.as_deref(), options.quick, 1, 0)?;
    bench::engine::child::end_in_order(bench.disk().to_owned())?;
    ensure!(bench.program("secevent").exists(), "secevent is not built: run `cargo xtask bench strangers`");
    let attacks = match options.attacks.is_empty() {
        true => Attack::value_variants().to_vec(),
        false => options.attacks.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Attackers have threads of their own, or honest clients would wait for them on this side.
    let attackers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut all_hold = true;
    println!("| Attack | What | Measured | Promised | |");
    println!("|---|---|---|---|---|");
    for attack in attacks {
        let seconds = options.seconds.unwrap_or(if options.quick { 5 } else { attack.seconds() });
        let time = Duration::from_secs(seconds);
        let lines = match attack {
            Attack::HalfHeads => runtime.block_on(half_heads(&bench, attackers.handle(), time))?,
            Attack::SilentTls => runtime.block_on(silent_tls(&bench, attackers.handle(), time))?,
            Attack::H2Bodies => runtime.block_on(h2_bodies(&bench, attackers.handle(), time, false))?,
            Attack::H2BodiesWithToken => {
                runtime.block_on(h2_bodies(&bench, attackers.handle(), time, true))?
            }
            Attack::Guesses => runtime.block_on(guesses(&bench, attackers.handle()))?,
        };
        let name = attack.to_possible_value().map_or_else(String::new, |name| name.get_name().to_owned());
        for Line { what, measured, promised, holds } in lines {
            println!(
                "| {name} | {what} | {measured} | {promised} | {} |",
                if holds { "holds" } else { "MISSED" }
            );
            all_hold &= holds;
        }
    }
    ensure!(all_hold || !options.check, "not everything is withstood");
    Ok(())
}

impl Attack {
    fn seconds(self) -> u64 {
        match self {
            Self::HalfHeads => 60,
            Self::SilentTls => 20,
            Self::H2Bodies | Self::H2BodiesWithToken => 30,
            // It is over when all guesses are answered.
            Self::Guesses => 0,
        }
    }
}

// ---- The attacks.

const HALF_HEADS: usize = 1_128;
const FILES_MAX: u32 = 1_024;

async fn half_heads(bench: &Bench, attackers: &Handle, time: Duration) -> Result<Vec<Line>> {
    let receiver = Receiver::start().await?;
    let setup = Setup::new(receiver.port).files_max(FILES_MAX);
    let product = blocking(|| Product::start(bench, &setup))?;
    let honest = Honest::new(&product, Some(&receiver))?;
    let quiet = honest.watch(time / 4).await?;
    let (port, mut crowd) = (product.port(), JoinSet::new());
    let held = Arc::new(AtomicU64::new(0));
    for _ in 0..HALF_HEADS {
        crowd.spawn_on(hold_half_head(port, Arc::clone(&held)), attackers);
    }
    sleep(Duration::from_secs(2)).await;
    let under_attack = honest.watch(time).await?;
    let held = held.load(Relaxed);
    crowd.shutdown().await;
    let mut lines = under_attack.against(&quiet);
    lines.push(Line {
        what: "half heads that are held open at the end".to_owned(),
        measured: held.to_string(),
        promised: format!("of {HALF_HEADS}"),
        holds: true,
    });
    Ok(lines)
}

/// Holds a connection with half a head, and another one when that is closed.
async fn hold_half_head(port: u16, held: Arc<AtomicU64>) {
    loop {
        if let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", port)).await {
            held.fetch_add(1, Relaxed);
            let _ = tcp.write_all(b"POST /events HTTP/1.1\r\nhost: a\r\nx: ").await;
            let _ = tcp.read(&mut [0]).await;
            held.fetch_sub(1, Relaxed);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

const SILENT_PER_SECOND: u64 = 500;
const HANDSHAKES: usize = 20;

async fn silent_tls(bench: &Bench, attackers: &Handle, time: Duration) -> Result<Vec<Line>> {
    let folder = bench.new_folder()?;
    let pair = rcgen::generate_simple_self_signed(["events.example".to_owned()])?;
    let (certificate, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    std::fs::write(&certificate, pair.cert.pem())?;
    std::fs::write(&key, pair.signing_key.serialize_pem())?;
    let tls = format!("tls = {{ certificate = {:?}, key = {:?} }}", certificate.display(), key.display());
    let product = blocking(|| Product::start(bench, &Setup::new(1).files_max(FILES_MAX).server(&tls)))?;
    let port = product.port();
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let silent = attackers.spawn(send_nothing(port));
    let mut times = Vec::new();
    for _ in 0..HANDSHAKES {
        sleep(time / u32::try_from(HANDSHAKES)?).await;
        let begun = Instant::now();
        let shaken = timeout(Duration::from_secs(10), async {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            connector.connect(ServerName::try_from("events.example")?, tcp).await.context("no handshake")
        });
        shaken.await.context("no handshake within 10 s")??;
        times.push(begun.elapsed());
    }
    silent.abort();
    let slowest = times.iter().max().copied().unwrap_or_default();
    Ok(vec![Line {
        what: format!("slowest of {HANDSHAKES} honest handshakes"),
        measured: milliseconds(slowest),
        promised: "1 s".to_owned(),
        holds: slowest <= Duration::from_secs(1),
    }])
}

/// Opens connections and sends nothing on them.
async fn send_nothing(port: u16) {
    let mut held = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / SILENT_PER_SECOND));
    loop {
        ticks.tick().await;
        let connecting = timeout(Duration::from_millis(100), TcpStream::connect(("127.0.0.1", port)));
        if let Ok(Ok(tcp)) = connecting.await {
            held.push(tcp);
        }
        // No more of them than this process may have open files; the server has closed these long ago.
        if held.len() > 5_000 {
            held.drain(..1_000);
        }
    }
}

const H2_CONNECTIONS: usize = 100;
const KIB_PER_MIB: u64 = 1024;

async fn h2_bodies(bench: &Bench, attackers: &Handle, time: Duration, with_token: bool) -> Result<Vec<Line>> {
    let product = blocking(|| Product::start(bench, &Setup::new(1)))?;
    let honest = Honest::new(&product, None)?;
    let quiet = honest.watch(time / 4).await?;
    let quiet_kib = product.usage()?.rss_kib;
    let port = product.port();
    let (path, bytes, authorization) = match with_token {
        true => ("/events", 1024 * 1024 - 1, Some(format!("Bearer {}", product.token("producer")?))),
        false => ("/oauth/token", 64 * 1024 - 1, None),
    };
    let (mut crowd, refused) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..H2_CONNECTIONS {
        let holding = keep_holding_bodies(port, path, bytes, authorization.clone(), Arc::clone(&refused));
        crowd.spawn_on(holding, attackers);
    }
    let (mut most_kib, begun) = (0, Instant::now());
    let watching = honest.watch(time);
    tokio::pin!(watching);
    let under_attack = loop {
        tokio::select! {
            watched = watching.as_mut() => break watched?,
            () = sleep(Duration::from_millis(200)) => most_kib = product.usage()?.rss_kib.max(most_kib),
        }
    };
    ensure!(begun.elapsed() >= time, "the attack ended early");
    crowd.shutdown().await;
    let patience = Duration::from_secs(60);
    let ended = Instant::now();
    let mut after_kib = product.usage()?.rss_kib;
    while after_kib > quiet_kib + 64 * KIB_PER_MIB && ended.elapsed() < patience {
        sleep(Duration::from_secs(1)).await;
        after_kib = product.usage()?.rss_kib;
    }
    let mut lines = under_attack.against(&quiet);
    let above = |kib: u64| kib.saturating_sub(quiet_kib) / KIB_PER_MIB;
    lines.push(Line {
        what: format!("memory above quiet ({} MiB)", quiet_kib / KIB_PER_MIB),
        measured: format!("{} MiB", above(most_kib)),
        promised: "128 MiB".to_owned(),
        holds: above(most_kib) <= 128,
    });
    lines.push(Line {
        what: format!("memory above quiet, {} s after the attack", ended.elapsed().as_secs()),
        measured: format!("{} MiB", above(after_kib)),
        promised: "64 MiB within 60 s".to_owned(),
        holds: above(after_kib) <= 64,
    });
    lines.push(Line {
        what: "unfinished bodies that were answered".to_owned(),
        measured: refused.load(Relaxed).to_string(),
        promised: String::new(),
        holds: true,
    });
    Ok(lines)
}

async fn keep_holding_bodies(
    port: u16,
    path: &'static str,
    bytes: usize,
    authorization: Option<String>,
    refused: Arc<AtomicU64>,
) {
    loop {
        // Whoever is sent away comes again.
        let _ = hold_bodies(port, path, bytes, authorization.as_deref(), &refused).await;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Holds one connection with as many unfinished bodies as the server allows, and begins another where one is answered.
async fn hold_bodies(
    port: u16,
    path: &'static str,
    bytes: usize,
    authorization: Option<&str>,
    refused: &AtomicU64,
) -> Result<()> {
    const STREAMS: usize = 256;
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
    let mut streams = JoinSet::new();
    streams.spawn(async move { connection.await.map_err(anyhow::Error::from) });
    let mut waiting = tokio::time::interval(Duration::from_millis(50));
    loop {
        while streams.len() <= STREAMS {
            let mut request = Request::post(format!("http://127.0.0.1:{port}{path}"))
                .header("content-type", "application/x-www-form-urlencoded");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
                request = request.header("content-length", bytes + 1);
            }
            let request = request.body(Unfinished { left: bytes })?;
            let mut sender = sender.clone();
            streams.spawn(async move {
                sender.ready().await?;
                sender.send_request(request).await?;
                Ok(())
            });
        }
        let ended = streams.join_next().await.context("there is one at least")?;
        refused.fetch_add(1, Relaxed);
        ended??;
        if sender.is_closed() {
            bail!("the server has closed the connection");
        }
        waiting.tick().await;
    }
}

/// A body that is sent but for its end.
struct Unfinished {
    left: usize,
}

static CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

impl Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Polling<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let length = self.left.min(CHUNK.len());
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }
}

const GUESSES_PER_CONNECTION: usize = 100;
const GUESSING_CONNECTIONS: usize = 100;
const GUESSED: &str = "receiver";

/// Guesses at the secret of a client, while its owner asks for a token: from an address of its own, then from the
/// address of the guesses.
async fn guesses(bench: &Bench, attackers: &Handle) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (whose, owner) in [("another address", [127, 0, 0, 3]), ("the same address", GUESSERS)] {
        let product = blocking(|| Product::start(bench, &Setup::new(1).default_limits()))?;
        let port = product.port();
        let (start, _) = tokio::sync::watch::channel(false);
        let mut crowd = JoinSet::new();
        for connection in 0..GUESSING_CONNECTIONS {
            crowd.spawn_on(guess(port, connection, start.subscribe()), attackers);
        }
        sleep(Duration::from_secs(1)).await;
        let before = product.usage()?;
        let begun = Instant::now();
        start.send_replace(true);
        let form = product.token_form(GUESSED);
        let asking = timeout(Duration::from_secs(30), token_of_owner(port, owner.into(), &form));
        let (tries, until_token) = asking.await.context("the owner gets no token")??;
        let mut judged = 0;
        while let Some(guessed) = crowd.join_next().await {
            judged += guessed??;
        }
        let (took, spent) = (begun.elapsed(), product.usage()?);
        let cpu = Duration::from_secs_f64(spent.cpu_seconds - before.cpu_seconds);
        let count = GUESSING_CONNECTIONS * GUESSES_PER_CONNECTION;
        lines.push(Line {
            what: format!("token of the owner at {whose}, in {tries} requests"),
            measured: milliseconds(until_token),
            promised: "2 s".to_owned(),
            holds: until_token <= Duration::from_secs(2),
        });
        lines.push(Line {
            what: format!("CPU time of {count} guesses, answered in {}", milliseconds(took)),
            measured: milliseconds(cpu),
            promised: "1 s".to_owned(),
            holds: cpu <= Duration::from_secs(1),
        });
        lines.push(Line {
            what: "guesses that were compared with the secret".to_owned(),
            measured: judged.to_string(),
            promised: String::new(),
            holds: true,
        });
    }
    Ok(lines)
}

const GUESSERS: [u8; 4] = [127, 0, 0, 2];

/// Sends many guesses at once over one connection. Returns how many were judged.
async fn guess(port: u16, connection: usize, mut start: tokio::sync::watch::Receiver<bool>) -> Result<u64> {
    let tcp = connect_from(GUESSERS.into(), port).await?;
    let (sender, connecting) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
    let connecting = tokio::spawn(connecting);
    start.wait_for(|started| *started).await?;
    let mut guesses = JoinSet::new();
    for number in 0..GUESSES_PER_CONNECTION {
        let secret = format!("{connection}-{number}");
        let form = format!("grant_type=client_credentials&client_id={GUESSED}&client_secret={secret}");
        let request = Request::post(format!("http://127.0.0.1:{port}/oauth/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))?;
        let mut sender = sender.clone();
        guesses.spawn(async move {
            sender.ready().await?;
            anyhow::Ok(sender.send_request(request).await?.status())
        });
    }
    let mut judged = 0;
    while let Some(answered) = guesses.join_next().await {
        match answered??.as_u16() {
            400 | 401 => judged += 1,
            429 => {}
            other => bail!("a guess was answered with {other}"),
        }
    }
    connecting.abort();
    Ok(judged)
}

/// Asks for a token as a client does: again after `Retry-After`. Returns the number of requests and the time it took.
async fn token_of_owner(port: u16, owner: Ipv4Addr, form: &str) -> Result<(u64, Duration)> {
    let begun = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let tcp = connect_from(owner, port).await?;
        let (mut sender, connecting) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let connecting = tokio::spawn(connecting);
        let request = Request::post("/oauth/token")
            .header("host", format!("127.0.0.1:{port}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form.to_owned())))?;
        let answer = sender.send_request(request).await?;
        connecting.abort();
        match answer.status().as_u16() {
            200 => return Ok((tries, begun.elapsed())),
            429 => {
                let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let seconds = seconds.and_then(|value| value.parse().ok()).context("429 has Retry-After")?;
                sleep(Duration::from_secs(seconds)).await;
            }
            other => bail!("the owner was answered with {other}"),
        }
    }
}

async fn connect_from(address: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((address, 0).into())?;
    Ok(socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?)
}

// ---- Honest clients.

/// A receiver of pushes that counts them.
struct Receiver {
    port: u16,
    pushed: Arc<AtomicU64>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, pushed) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&pushed);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let count = Arc::clone(&count);
                        async move {
                            let _ = request.into_body().collect().await;
                            count.fetch_add(1, Relaxed);
                            Response::builder().status(202).body(Empty::<Bytes>::new())
                        }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tcp), service)
                        .await
                });
            }
        });
        Ok(Self { port, pushed })
    }
}

/// A producer that opens a connection for each event, and a probe of health.
struct Honest<'a> {
    product: &'a Product,
    receiver: Option<&'a Receiver>,
    authorization: String,
}

/// What honest clients have seen.
struct Seen {
    accepted: Vec<Duration>,
    failed: Vec<String>,
    ready: u64,
    not_ready: u64,
    pushed: u64,
    pushes_expected: bool,
}

const TYPE: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

impl<'a> Honest<'a> {
    fn new(product: &'a Product, receiver: Option<&'a Receiver>) -> Result<Self> {
        let authorization = format!("Bearer {}", product.token("producer")?);
        if let Some(receiver) = receiver {
            blocking(|| {
                product.create_push_stream(&format!("http://127.0.0.1:{}/events", receiver.port), TYPE)
            })?;
        }
        Ok(Self { product, receiver, authorization })
    }

    /// Goes on for so long.
    async fn watch(&self, time: Duration) -> Result<Seen> {
        let begun = Instant::now();
        let pushed = || self.receiver.map_or(0, |receiver| receiver.pushed.load(Relaxed));
        let pushed_before = pushed();
        let mut seen = Seen {
            accepted: Vec::new(),
            failed: Vec::new(),
            ready: 0,
            not_ready: 0,
            pushed: 0,
            pushes_expected: self.receiver.is_some(),
        };
        let mut number = clock::now_nanos();
        while begun.elapsed() < time {
            number += 1;
            let asked = Instant::now();
            match timeout(Duration::from_secs(10), self.emit(number)).await {
                Ok(Ok(())) => seen.accepted.push(asked.elapsed()),
                Ok(Err(error)) => seen.failed.push(format!("{error:#}")),
                Err(_) => seen.failed.push("no answer within 10 s".to_owned()),
            }
            if number.is_multiple_of(20) {
                let ready = blocking(|| self.product.is_ready());
                *(if ready.is_ok_and(|ready| ready) { &mut seen.ready } else { &mut seen.not_ready }) += 1;
            }
            sleep(Duration::from_millis(20)).await;
        }
        if self.receiver.is_some() {
            // What was accepted last is on its way.
            sleep(Duration::from_secs(1)).await;
        }
        seen.pushed = pushed() - pushed_before;
        Ok(seen)
    }

    async fn emit(&self, number: u64) -> Result<()> {
        let port = self.product.port();
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let connection = tokio::spawn(connection);
        let event = format!(
            "{{\"type\":\"{TYPE}\",\"subject\":{{\"format\":\"email\",\"email\":\"{number}@example.com\"}}}}"
        );
        let request = Request::post("/events")
            .header("host", format!("127.0.0.1:{port}"))
            .header("content-type", "application/json")
            .header("authorization", &self.authorization)
            .body(Full::new(Bytes::from(event)))?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == 202, "{}", answer.status());
        answer.into_body().collect().await?;
        connection.abort();
        Ok(())
    }
}

impl Seen {
    fn p99(&self) -> Duration {
        let mut times = self.accepted.clone();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }

    /// What is promised of the accept latency under attack, compared with a quiet server.
    fn against(&self, quiet: &Self) -> Vec<Line> {
        let (p99, quiet_p99) = (self.p99(), quiet.p99());
        let mut lines = vec![
            Line {
                what: format!("p99 of {} accepts on new connections", self.accepted.len()),
                measured: milliseconds(p99),
                promised: format!("5 times quiet ({})", milliseconds(quiet_p99)),
                holds: p99 <= quiet_p99 * 5 && !self.accepted.is_empty(),
            },
            Line {
                what: "accepts that failed".to_owned(),
                measured: match self.failed.first() {
                    None => "0".to_owned(),
                    Some(first) => format!("{}: {first}", self.failed.len()),
                },
                promised: "0".to_owned(),
                holds: self.failed.is_empty(),
            },
            Line {
                what: "health checks that failed".to_owned(),
                measured: format!("{} of {}", self.not_ready, self.ready + self.not_ready),
                promised: "0".to_owned(),
                holds: self.not_ready == 0,
            },
        ];
        if self.pushes_expected {
            lines.push(Line {
                what: "SETs pushed".to_owned(),
                measured: self.pushed.to_string(),
                promised: format!("all {}", self.accepted.len()),
                holds: self.pushed >= self.accepted.len() as u64,
            });
        }
        lines
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// Does something that blocks, while the other tasks go on.
fn blocking<T>(what: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(what)
}
