//! Servers, resolvers and clients for the tests.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use secevent_http::{Client, ClientConfig, Ports, Resolve};
use secevent_ssf::{BoxFuture, Transport, TransportError};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Loopback is allowed, on every port, without TLS.
pub(crate) fn on_loopback() -> ClientConfig {
    ClientConfig {
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ports: Ports::Any,
        allow_plain_http: true,
        ..ClientConfig::default()
    }
}

pub(crate) fn client(config: ClientConfig) -> Client {
    Client::new(config).unwrap()
}

/// Waits until it is so. What never comes fails the test instead of keeping it for ever.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "this never came: {what}");
}

/// How long a test waits for what takes milliseconds on an idle machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) async fn get(client: &Client, url: &str) -> Result<Response<Bytes>, TransportError> {
    client.send(Request::get(url).body(Bytes::new()).unwrap()).await
}

pub(crate) async fn post(client: &Client, url: &str, body: Bytes) -> Result<Response<Bytes>, TransportError> {
    client.send(Request::post(url).body(body).unwrap()).await
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Bytes,
}

/// What a server has counted.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicUsize,
    pub(crate) handshakes_failed: AtomicUsize,
    pub(crate) bytes_read: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    open: AtomicUsize,
    pub(crate) open_max: AtomicUsize,
    busy: AtomicUsize,
    pub(crate) busy_max: AtomicUsize,
}

impl Counts {
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn enter(now: &AtomicUsize, max: &AtomicUsize) {
    max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counts>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// An HTTP server that answers with what `answer` makes of a request.
pub(crate) async fn serve<A, F>(tls: Option<rustls::ServerConfig>, answer: A) -> Server
where
    A: Fn(Seen) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    serve_at("127.0.0.1:0", tls, answer).await
}

pub(crate) async fn serve_at<A, F>(at: &str, tls: Option<rustls::ServerConfig>, answer: A) -> Server
where
    A: Fn(Seen) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let (answer, acceptor) = (Arc::new(answer), tls.map(|config| TlsAcceptor::from(Arc::new(config))));
    let counted = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (counts, answer, acceptor) = (Arc::clone(&counted), Arc::clone(&answer), acceptor.clone());
            counts.accepted.fetch_add(1, Ordering::SeqCst);
            enter(&counts.open, &counts.open_max);
            tokio::spawn(async move {
                let tcp = Counting { tcp, counts: Arc::clone(&counts) };
                match acceptor {
                    None => converse(tcp, &counts, answer).await,
                    Some(acceptor) => match acceptor.accept(tcp).await {
                        Ok(stream) => converse(stream, &counts, answer).await,
                        Err(_) => drop(counts.handshakes_failed.fetch_add(1, Ordering::SeqCst)),
                    },
                }
                counts.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Server { address, counts }
}

async fn converse<S, A, F>(stream: S, counts: &Arc<Counts>, answer: Arc<A>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Seen) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (counts, answer) = (Arc::clone(counts), Arc::clone(&answer));
        async move {
            counts.requests.fetch_add(1, Ordering::SeqCst);
            enter(&counts.busy, &counts.busy_max);
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let response = answer(Seen { head, body }).await;
            counts.busy.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(response)
        }
    });
    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}

/// A server that says `words` to every connection once the request has come, and then keeps it open or closes it.
pub(crate) async fn recite(words: impl Into<Vec<u8>>, then_close: bool) -> Server {
    let words = words.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut tcp, _)) = listener.accept().await {
            counted.accepted.fetch_add(1, Ordering::SeqCst);
            tcp.readable().await.unwrap();
            let mut request = [0; 8192];
            counted.bytes_read.fetch_add(tcp.try_read(&mut request).unwrap_or(0), Ordering::SeqCst);
            drop(tcp.write_all(&words).await);
            if !then_close {
                kept.push(tcp);
            }
        }
    });
    Server { address, counts }
}

pub(crate) fn ok(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(body.into()))
}

struct Counting {
    tcp: TcpStream,
    counts: Arc<Counts>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.counts.bytes_read.fetch_add(buf.filled().len() - before, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Gives each name its answers one after the other; the last one stays.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    pub(crate) lookups: AtomicUsize,
}

impl Names {
    pub(crate) fn with(name: &str, answers: &[&[&str]]) -> Arc<Self> {
        let names = Self::default();
        names.add(name, answers);
        Arc::new(names)
    }

    pub(crate) fn add(&self, name: &str, answers: &[&[&str]]) {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = answers.iter().map(parse).rev().collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers);
    }
}

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            self.lookups.fetch_add(1, Ordering::SeqCst);
            let mut names = self.answers.lock().unwrap();
            let answers = names.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
            let answer = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
            Ok(answer.into_iter().flatten().map(|ip| SocketAddr::new(ip, port)).collect())
        })
    }
}
