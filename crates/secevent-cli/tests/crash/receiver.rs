//! A push receiver with moods, and the journal of everything that was offered to any stream.

use crate::caller::claims_of;
use crate::clock::Instant;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// One SET that was offered to one stream.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The stream by the name that these tests gave it.
    pub(crate) stream: String,
    pub(crate) jti: String,
    pub(crate) claims: String,
    /// Which event it tells of; none for SSF's own.
    pub(crate) event: Option<EventName>,
    pub(crate) at: Instant,
    /// In which life of the server.
    pub(crate) life: usize,
    /// What a push was answered for good, if it was.
    pub(crate) answer: Option<u16>,
}

/// An event: its subject, and which of the subject's it is, counted in the order of acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EventName {
    pub(crate) subject: String,
    pub(crate) number: u64,
}

impl EventName {
    fn of_claims(claims: &str) -> Option<Self> {
        let claims: Value = serde_json::from_str(claims).unwrap();
        let (_, data) = claims["events"].as_object()?.iter().next()?;
        let (subject, number) = data["reason_admin"]["en"].as_str()?.split_once('#')?;
        Some(Self { subject: subject.to_owned(), number: number.parse().ok()? })
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.subject, self.number)
    }
}

/// What was offered, in order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    state: Mutex<(Vec<Offer>, usize)>,
    changed: Notify,
}

impl Journal {
    /// A new life of the server begins.
    pub(crate) fn begin_life(&self, life: usize) {
        self.state.lock().unwrap().1 = life;
    }

    pub(crate) fn life(&self) -> usize {
        self.state.lock().unwrap().1
    }

    pub(crate) fn record(&self, stream: &str, claims: String, answer: Option<u16>) {
        let jti = serde_json::from_str::<Value>(&claims).unwrap()["jti"].as_str().unwrap().to_owned();
        let event = EventName::of_claims(&claims);
        let mut state = self.state.lock().unwrap();
        let (stream, at, life) = (stream.to_owned(), Instant::now(), state.1);
        state.0.push(Offer { stream, jti, claims, event, at, life, answer });
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn offers(&self) -> Vec<Offer> {
        self.state.lock().unwrap().0.clone()
    }

    /// Goes on from another past.
    pub(crate) fn replace(&self, offers: Vec<Offer>) {
        self.state.lock().unwrap().0 = offers;
    }

    pub(crate) fn count(&self, stream: &str) -> usize {
        self.state.lock().unwrap().0.iter().filter(|offer| offer.stream == stream).count()
    }

    /// Waits until what was offered is as it should be.
    pub(crate) async fn until(&self, enough: impl Fn(&[Offer]) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if enough(&self.state.lock().unwrap().0) {
                return;
            }
            changed.await;
        }
    }
}

/// How a receiver answers.
#[derive(Debug)]
pub(crate) struct Manners {
    chance: StdRng,
    /// How many of a thousand pushes meet trouble.
    pub(crate) trouble: u32,
}

enum Answer {
    Status(u16),
    /// The connection ends; whether the SET was read is the question.
    HangUp {
        read: bool,
    },
}

impl Manners {
    fn next(&mut self, stream: &str) -> Answer {
        if stream.starts_with("ended") {
            // A stream with a backlog, so that there is something to drop when it ends.
            return Answer::Status(503);
        }
        if self.chance.random_range(0..1000) >= self.trouble {
            return Answer::Status(202);
        }
        match self.chance.random_range(0..4) {
            0 => Answer::Status(503),
            1 => Answer::Status(400),
            2 => Answer::HangUp { read: true },
            _ => Answer::HangUp { read: false },
        }
    }
}

/// A receiver for all push streams of a test: the path names the stream.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) journal: Arc<Journal>,
    pub(crate) manners: Arc<Mutex<Manners>>,
    /// How many connections are open.
    open: watch::Sender<usize>,
}

impl Receiver {
    pub(crate) async fn start(seed: u64, trouble: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let manners = Manners { chance: StdRng::seed_from_u64(seed), trouble };
        let receiver = Self {
            address,
            journal: Arc::default(),
            manners: Arc::new(Mutex::new(manners)),
            open: watch::Sender::default(),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let receiver = serving.clone();
                receiver.open.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    let service = service_fn(|request| receiver.take(request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // Connections end when either side hangs up; that is what is tested.
                    let _ = connection.serve_connection(TokioIo::new(socket), service).await;
                    receiver.open.send_modify(|open| *open -= 1);
                });
            }
        });
        receiver
    }

    /// Waits until everything is read that a server sent which has ended: on a busy machine that may take longer than
    /// the next one takes to start.
    pub(crate) async fn hear_out(&self) {
        // Connections are taken in their order: when this one is answered, those of the server are known.
        let mut last = TcpStream::connect(self.address).await.unwrap();
        last.write_all(b"GET /anybody HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        last.read_to_end(&mut Vec::new()).await.unwrap();
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    async fn take(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, HungUp> {
        if request.method() == Method::GET {
            return Ok(Response::new(Full::default()));
        }
        let stream = request.uri().path().trim_start_matches('/').to_owned();
        let body = request.into_body().collect().await.map_err(|_| HungUp)?.to_bytes();
        let claims = claims_of(std::str::from_utf8(&body).unwrap());
        let answer = self.manners.lock().unwrap().next(&stream);
        match answer {
            Answer::HangUp { read } => {
                if read {
                    self.journal.record(&stream, claims, None);
                }
                Err(HungUp)
            }
            Answer::Status(status) => {
                let for_good = matches!(status, 202 | 400);
                self.journal.record(&stream, claims, for_good.then_some(status));
                let body =
                    if status == 400 { r#"{"err":"invalid_request","description":"a mood"}"# } else { "" };
                let response = Response::builder().status(status).header("content-type", "application/json");
                Ok(response.body(Full::from(body)).unwrap())
            }
        }
    }
}

#[derive(Debug)]
struct HungUp;

impl fmt::Display for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver hangs up")
    }
}

impl std::error::Error for HungUp {}
