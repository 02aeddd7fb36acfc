//! A listener at work: it takes connections, speaks TLS and HTTP on them, and ends in order.
//!
//! A stranger decides when a connection is opened and what comes on it, so everything here has a bound: connections,
//! handshakes at once, the time and the size of a request's head, the time that its body takes, and the time for which
//! an answer is not taken. How long a body may be is for the router to say.

use crate::peer::Peer;
use crate::problem::Problem;
use crate::tls::ServerTls;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tower::Service as _;
use tracing::{debug, warn};

/// How a listener listens.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// With which certificate it speaks TLS. Default: it does not.
    pub tls: Option<ServerTls>,
    /// Proxies that are believed when they say for whom they ask. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Its bounds.
    pub limits: ListenLimits,
}

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Connections that are open. Others wait in the queue of the operating system. Default: 16 384.
    pub connections_max: u32,
    /// Connections that are in their TLS handshake: it costs us more than the other end. Others wait their turn.
    /// Default: 512.
    pub handshakes_max: usize,
    /// How long a TLS handshake may take, and the wait for it. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How long the head of a request may take over HTTP/1.1, and how long a connection is kept without a request.
    /// Default: 75 s, which is more than clients keep a connection that they do not use.
    pub head_timeout: Duration,
    /// How long the body of a request may take from when it is waited for: then the answer is 408. And how long an
    /// answer may lie there without a byte of it being taken: then the connection is cut. Default: 30 s.
    pub body_timeout: Duration,
    /// The longest head of a request. Default: 32 KiB.
    pub head_bytes_max: u32,
    /// How many headers a request over HTTP/1.1 may have. Default: 100.
    pub headers_max: usize,
    /// How many requests may be on their way on one connection over HTTP/2. Default: 256.
    pub streams_per_connection_max: u32,
    /// How long requests that are under way may take once the listener is to end. What is not answered by then is cut.
    /// Default: 10 s.
    pub ending_max: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            handshakes_max: 512,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            head_bytes_max: 32 * 1024,
            headers_max: 100,
            streams_per_connection_max: 256,
            ending_max: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop` ends; then takes no new connection, and lets requests that are under way end, for a while.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_as(listener, router, Listening::default(), stop).await
}

/// The same, as it is told to listen.
pub async fn serve_as(
    listener: TcpListener,
    router: Router,
    listening: Listening,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Listening { tls, trusted_proxies, limits } = listening;
    let connections_max = usize::try_from(limits.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
    let open = Arc::new(Semaphore::new(connections_max));
    let handshakes = Semaphore::new(limits.handshakes_max);
    let served =
        Arc::new(Served { router, trusted_proxies: trusted_proxies.into(), tls, limits, handshakes });
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&open).acquire_owned().await.expect("it is never closed");
            (accept(&listener).await, permit)
        };
        let ((tcp, peer), permit) = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        let (served, ended) = (Arc::clone(&served), ended.clone());
        connections.spawn(async move {
            served.converse(tcp, peer, ended).await;
            drop(permit);
        });
    }
    drop(listener);
    ending.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.ending_max, all_ended).await.is_err() {
        warn!(connections = connections.len(), "Connections did not end in time, and are cut");
        connections.shutdown().await;
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
                if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                    // Mostly too many open files: that passes, and trying at once would only heat the room.
                    warn!(%error, "A connection could not be taken");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

struct Served {
    router: Router,
    trusted_proxies: Arc<[IpNet]>,
    tls: Option<ServerTls>,
    limits: ListenLimits,
    handshakes: Semaphore,
}

impl Served {
    async fn converse(&self, tcp: TcpStream, peer: SocketAddr, ended: watch::Receiver<bool>) {
        // Answers are one small write each: there is nothing to gather.
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        let Some(tls) = &self.tls else { return self.speak(tcp, peer, ended).await };
        let handshake = async {
            let _turn = self.handshakes.acquire().await.expect("it is never closed");
            tls.acceptor().accept(tcp).await
        };
        let mut stopped = ended.clone();
        let shaken = tokio::select! {
            biased;
            () = over(&mut stopped) => return,
            shaken = timeout(self.limits.handshake_timeout, handshake) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => Box::pin(self.speak(stream, peer, ended)).await,
            Ok(Err(error)) => debug!(peer = %peer.ip(), %error, "A TLS handshake failed"),
            Err(_) => debug!(peer = %peer.ip(), "A TLS handshake took too long"),
        }
    }

    /// Speaks the version of HTTP that the other end begins with.
    async fn speak(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        mut ended: watch::Receiver<bool>,
    ) {
        let limits = &self.limits;
        let begins = tokio::select! {
            biased;
            // A connection on which nothing has come yet owes nobody an answer.
            () = over(&mut ended) => return,
            begins = timeout(limits.head_timeout, beginning(&mut stream)) => begins,
        };
        let Ok(Ok(begun)) = begins else { return };
        let http2 = begun == PREFACE[..];
        let io = TokioIo::new(Begun { begun, stream, patience: limits.body_timeout, stalled: None });
        let (router, trusted) = (self.router.clone(), Arc::clone(&self.trusted_proxies));
        let (body_timeout, (busy, requests)) = (limits.body_timeout, watch::channel(0_usize));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let told = Peer::of(peer.ip(), request.headers(), &trusted);
            request.extensions_mut().insert(told);
            let under_way = UnderWay::begin(&busy);
            let router = router.clone();
            async move {
                let answer: Result<_, Infallible> = Ok(answer(router, request, body_timeout).await);
                drop(under_way);
                answer
            }
        });
        let result = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.streams_per_connection_max)
                .max_header_list_size(limits.head_bytes_max)
                // Whoever has vanished without a word is noticed.
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_EVERY);
            let connection = builder.serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = over(&mut ended) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = unused(requests, limits.head_timeout) => {
                    connection.as_mut().graceful_shutdown();
                    // Nobody waits for an answer here but who does not take one.
                    timeout(limits.head_timeout, connection).await.unwrap_or(Ok(()))
                }
            }
        } else {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_timeout)
                .max_headers(limits.headers_max)
                .max_header_size(usize::try_from(limits.head_bytes_max).unwrap_or(usize::MAX));
            let connection = builder.serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = over(&mut ended) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = result {
            debug!(peer = %peer.ip(), %error, "A connection ended badly");
        }
    }
}

/// Returns once the listener ends.
async fn over(ended: &mut watch::Receiver<bool>) {
    // An error means that it is gone: that is an end too.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// The router's answer to a request whose body may take so long.
async fn answer(mut router: Router, request: Request<Incoming>, body_timeout: Duration) -> Response {
    let version = request.version();
    let late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| match body.is_end_stream() {
        true => Body::empty(),
        false => Body::new(Timed { body, timeout: body_timeout, over: None, late: Arc::clone(&late) }),
    });
    // A router is always ready, and never fails.
    let Ok(answer) = router.call(request).await;
    if !late.load(Ordering::Relaxed) {
        return answer;
    }
    let mut answer = Problem::request_timeout().into_response();
    if version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A body that ends in an error if it takes too long, and says so.
struct Timed {
    body: Incoming,
    timeout: Duration,
    /// When it is too late. Most bodies are there when they are asked for, and need no timer.
    over: Option<Pin<Box<Sleep>>>,
    late: Arc<AtomicBool>,
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timeout = self.timeout;
        let over = self.over.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if over.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err("the body took too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is under way on a connection.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn begin(requests: &watch::Sender<usize>) -> Self {
        requests.send_modify(|count| *count += 1);
        Self(requests.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Returns once no request has been under way for so long.
async fn unused(mut requests: watch::Receiver<usize>, long: Duration) {
    // An error means that there can be no more of them.
    while requests.wait_for(|count| *count == 0).await.is_ok() {
        match timeout(long, requests.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// What HTTP/2 begins with, and nothing else does (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PING_EVERY: Duration = Duration::from_secs(20);

/// The first bytes, as far as they could be those of HTTP/2.
async fn beginning(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut begun = [0; PREFACE.len()];
    let mut read = 0;
    while read < begun.len() && begun[..read] == PREFACE[..read] {
        match stream.read(&mut begun[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(Bytes::copy_from_slice(&begun[..read]))
}

/// A stream of which the first bytes were read already. Whoever does not take what is written for so long is given up.
struct Begun<S> {
    begun: Bytes,
    stream: S,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Begun<S> {
    /// What became of an attempt to write, if that is not the end of our patience.
    fn wrote<T>(&mut self, wrote: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.begun.len().min(buf.remaining());
        buf.put_slice(&self.begun.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(wrote, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wrote(shut, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(wrote, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
