//! The least that a durable delivery engine can do, as a yardstick for a run on the same machine: take a POST, append
//! it to a log, sync in groups, answer 202, sign a token around the body, POST it to each target over kept-alive
//! HTTP/1.1, append the outcome (not synced before the next group). No index, no retries, no recovery, no limits,
//! no checks: not an engine.

use anyhow::{Context, Result};
use aws_lc_rs::{rand::SystemRandom, rsa, signature};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as blocking};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot};

#[derive(Debug, Parser)]
struct Options {
    #[arg(long, default_value = "127.0.0.1:9098")]
    listen: SocketAddr,
    /// Where to deliver; each event goes to each of them.
    #[arg(long, required = true)]
    target: Vec<Uri>,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value = "eddsa")]
    alg: Algorithm,
    /// Connections to each target, each with one request under way.
    #[arg(long, default_value_t = 8)]
    conns: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Events made durable together, at most.
    #[arg(long, default_value_t = 256)]
    group: usize,
    /// Leave the sync out, to see what it costs.
    #[arg(long)]
    no_sync: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Algorithm {
    Eddsa,
    Es256,
    Rs256,
    None,
}

fn main() -> Result<()> {
    let options = Options::parse();
    bench::runtime::with_threads(options.threads)?.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    let key = Arc::new(Key::generate(options.alg)?);
    let log = Log::create(&options.dir, options.group, !options.no_sync)?;
    let (records, incoming) = blocking::channel();
    let mut targets = Vec::new();
    for uri in &options.target {
        let (target, events) = mpsc::unbounded_channel();
        targets.push(target);
        let events = Arc::new(Mutex::new(events));
        for _ in 0..options.conns {
            let (events, key, records) = (Arc::clone(&events), Arc::clone(&key), records.clone());
            tokio::spawn(deliver(uri.clone(), events, key, records));
        }
    }
    let listener = TcpListener::bind(options.listen).await.context("cannot listen")?;
    std::thread::spawn(move || log.keep(&incoming, &targets).expect("the log can be written"));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let records = records.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| accept(request, records.clone()));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Answers once the event is in the log.
async fn accept(
    request: Request<Incoming>,
    records: blocking::Sender<Record>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let event = request.into_body().collect().await?.to_bytes();
    let (durable, written) = oneshot::channel();
    let _ = records.send(Record::Event(event, durable));
    let _ = written.await;
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

#[derive(Debug)]
enum Record {
    /// An event, and who waits for it to be durable.
    Event(Bytes, oneshot::Sender<()>),
    /// The number of a delivery that has ended.
    Delivered(u64),
}

/// A file of fixed length, written round and round.
#[derive(Debug)]
struct Log {
    file: File,
    group: usize,
    sync: bool,
}

const LOG_BYTES: u64 = 256 << 20;

impl Log {
    /// The file is written full first: a sync then has no new length and no new extents to note down.
    fn create(folder: &Path, group: usize, sync: bool) -> Result<Self> {
        let path = folder.join("floor.log");
        let open = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
        let mut file = open.with_context(|| format!("cannot write {}", path.display()))?;
        let zeros = vec![0_u8; 1 << 20];
        for _ in 0..LOG_BYTES >> 20 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        file.rewind()?;
        Ok(Self { file, group, sync })
    }

    /// Writes whatever has come while the last group was synced, then lets the group's events go.
    fn keep(
        mut self,
        records: &blocking::Receiver<Record>,
        targets: &[mpsc::UnboundedSender<Bytes>],
    ) -> Result<()> {
        let (mut at, mut bytes, mut held) = (0_u64, Vec::new(), Vec::new());
        while let Ok(first) = records.recv() {
            bytes.clear();
            let mut next = Some(first);
            while let Some(record) = next {
                match record {
                    Record::Event(event, durable) => {
                        bytes.extend_from_slice(&u32::try_from(event.len())?.to_le_bytes());
                        bytes.extend_from_slice(&event);
                        held.push((event, durable));
                    }
                    Record::Delivered(number) => bytes.extend_from_slice(&number.to_le_bytes()),
                }
                next = if held.len() < self.group { records.try_recv().ok() } else { None };
            }
            if at + bytes.len() as u64 > LOG_BYTES {
                self.file.rewind()?;
                at = 0;
            }
            self.file.write_all(&bytes)?;
            at += bytes.len() as u64;
            if !held.is_empty() && self.sync {
                self.file.sync_data()?;
            }
            for (event, durable) in held.drain(..) {
                let _ = durable.send(());
                for target in targets {
                    let _ = target.send(event.clone());
                }
            }
        }
        Ok(())
    }
}

/// One connection to a target: takes the next event, signs it and sends it until it is taken.
async fn deliver(
    uri: Uri,
    events: Arc<Mutex<mpsc::UnboundedReceiver<Bytes>>>,
    key: Arc<Key>,
    records: blocking::Sender<Record>,
) {
    let authority = uri.authority().expect("a target has a host").as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let random = SystemRandom::new();
    let mut connection = None;
    let mut delivered = 0_u64;
    loop {
        let Some(event) = events.lock().await.recv().await else { return };
        let token = Bytes::from(key.token(&event, &random));
        loop {
            let request = Request::post(path)
                .header(header::HOST, authority)
                .header(header::CONTENT_TYPE, "application/secevent+jwt")
                .header(header::ACCEPT, "application/json")
                .body(Full::from(token.clone()))
                .expect("the parts of the request are valid");
            match send(&mut connection, authority, request).await {
                Ok(status) if status.is_success() => break,
                _ => connection = None,
            }
        }
        delivered += 1;
        let _ = records.send(Record::Delivered(delivered));
    }
}

async fn send(
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    authority: &str,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode> {
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(authority).await.expect("the target listens");
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let sender = connection.as_mut().expect("it was connected above");
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

#[derive(Debug)]
enum Key {
    Eddsa(Box<signature::Ed25519KeyPair>),
    Es256(Box<signature::EcdsaKeyPair>),
    Rs256(Box<rsa::KeyPair>),
    None,
}

const HEADER: &[u8] = br#"{"typ":"secevent+jwt","alg":"XXXXX","kid":"0123456789abcdef"}"#;

impl Key {
    fn generate(algorithm: Algorithm) -> Result<Self> {
        Ok(match algorithm {
            Algorithm::Eddsa => Self::Eddsa(Box::new(signature::Ed25519KeyPair::generate()?)),
            Algorithm::Es256 => {
                let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                Self::Es256(Box::new(signature::EcdsaKeyPair::generate(kind)?))
            }
            Algorithm::Rs256 => Self::Rs256(Box::new(rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?)),
            Algorithm::None => Self::None,
        })
    }

    /// The body as the claims of a compact JWS.
    fn token(&self, claims: &[u8], random: &SystemRandom) -> String {
        let mut token = String::with_capacity(claims.len() * 3 / 2 + 500);
        URL_SAFE_NO_PAD.encode_string(HEADER, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.sign(token.as_bytes(), random);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    fn sign(&self, message: &[u8], random: &SystemRandom) -> Vec<u8> {
        match self {
            Self::Eddsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Es256(key) => key.sign(random, message).expect("a sound key signs").as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, random, message, &mut signature)
                    .expect("a sound key signs");
                signature
            }
            Self::None => vec![0; 64],
        }
    }
}
