//! A listener at work: it takes connections, speaks TLS and HTTP on them, and shuts down in order.
//!
//! A peer without credentials decides when a connection is opened and what comes on it, so everything here has a limit
//! (SEM-31): connections, TLS handshakes, the time and size of a request head, the bytes of request bodies and the time
//! that they take, and the time for which an answer is not read. How long one body may be is for the router to say.

mod bodies;
mod connections;
mod counts;
mod host;

pub(crate) use bodies::prove;
pub use counts::{ListenCounts, ListenFigures};

use crate::peer::Peer;
use crate::problem::Problem;
use crate::tls::ServerTls;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bodies::{Bodies, Counted, Failed};
use bytes::Bytes;
use connections::{Connection, Connections, Expired, UnderWay};
use counts::Gauge;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use ipnet::IpNet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tower::Service as _;
use tracing::{debug, warn};

/// How a listener listens.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// With which certificate it speaks TLS. Default: it does not.
    pub tls: Option<ServerTls>,
    /// Proxies that are believed when they say for whom they ask. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Its limits.
    pub limits: ListenLimits,
    /// What it counts. Each listener needs its own.
    pub counts: ListenCounts,
}

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Connections that are open. At the limit one that does nothing is closed for a new one: first those without a
    /// complete request head, then those whose requests wait for their bodies, then idle ones; each time those that
    /// never brought an accepted token go first, and among them the ones of the network that holds most. If none can be
    /// closed, new ones wait in the queue of the operating system. Default: 16 384.
    pub connections_max: u32,
    /// TLS handshakes that are computed at once; others wait. Default: half of the processors, at least 1, so that
    /// handshakes never take all of them.
    pub handshakes_max: usize,
    /// How long a peer may take to send its ClientHello. Default: 5 s.
    pub hello_timeout: Duration,
    /// How long the rest of a TLS handshake may take. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How long the first request head on a connection may take, from when the connection is ready for it. Default:
    /// 10 s.
    pub first_head_timeout: Duration,
    /// How long a connection is kept without a request after its first one. Default: 75 s, which is more than clients
    /// keep a connection that they do not use.
    pub head_timeout: Duration,
    /// How long the body of a request may take from when it is waited for: then the answer is 408. And how long the peer
    /// may take nothing of an answer, over HTTP/2 nothing of one of several: then the connection is closed, after one to
    /// two of these times. Default: 30 s.
    pub body_timeout: Duration,
    /// Bytes of request bodies that are held, of all connections together. At the limit the request that has waited
    /// longest for the rest of its body is answered with 503. Default: 32 MiB.
    pub bodies_bytes_max: u64,
    /// The same for requests that have not brought an accepted token, within the other limit. Default: 8 MiB.
    pub unproven_bodies_bytes_max: u64,
    /// Answers that wait for their peers to take them, of all connections together. At the limit the connections with most
    /// of them are closed, first those that never brought an accepted token. Default: 16 384.
    pub answers_max: u64,
    /// The longest head of a request. Default: 32 KiB.
    pub head_bytes_max: u32,
    /// How many headers a request over HTTP/1.1 may have. Default: 100.
    pub headers_max: usize,
    /// How many requests may be under way on one connection over HTTP/2. Default: 100, the least that RFC 9113 section
    /// 6.5.2 recommends.
    pub streams_per_connection_max: u32,
    /// How long requests that are under way may take once the listener is to shut down. What is not answered by then
    /// is cut. Default: 10 s. Connections that never brought an accepted token get 1 s of it.
    pub ending_max: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            connections_max: 16_384,
            handshakes_max: (processors / 2).max(1),
            hello_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            first_head_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            bodies_bytes_max: 32 * 1024 * 1024,
            unproven_bodies_bytes_max: 8 * 1024 * 1024,
            answers_max: 16_384,
            head_bytes_max: 32 * 1024,
            headers_max: 100,
            streams_per_connection_max: 100,
            ending_max: Duration::from_secs(10),
        }
    }
}

/// What a peer may send over HTTP/2 before it is read: of one request, and of all requests of a connection. A body that
/// is read makes room for more, so these bound what a peer can leave lying there.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What is kept of an answer over HTTP/2 that is not read, and in what pieces the answer is given out: each piece that the
/// peer makes room for shows that it reads.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
const ANSWER_PIECE_BYTES: usize = 16 * 1024;
/// What is read ahead and kept of answers on a connection over HTTP/1.1.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
/// Requests over HTTP/2 that the peer has reset before they were looked at, and requests that were reset here for errors
/// of the peer. Beyond that the connection is closed (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 20;
const ERROR_STREAMS_MAX: usize = 128;

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
    let Listening { tls, trusted_proxies, limits, counts } = listening;
    let connections = Connections::new(&limits, counts.clone());
    let served = Arc::new(Served {
        connections: Arc::clone(&connections),
        router,
        trusted_proxies: trusted_proxies.into(),
        tls,
        limits,
        handshakes: Semaphore::new(limits.handshakes_max.max(1)),
        bodies: Bodies::new(limits.bodies_bytes_max, limits.unproven_bodies_bytes_max, counts.clone()),
        counts,
    });
    let mut accepting = Accepting { listener, connections: Arc::clone(&connections), failing_since: None };
    let (ending, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    'listening: loop {
        let (tcp, peer) = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = tasks.join_next() => continue,
            accepted = accepting.accept() => accepted,
        };
        let permit = loop {
            tokio::select! {
                biased;
                () = &mut stop => break 'listening,
                Some(_) = tasks.join_next() => {}
                permit = connections.room() => break permit,
            }
        };
        let seat = connections.enter(peer.ip(), permit);
        let (id, served, ended) = (seat.id(), Arc::clone(&served), ended.clone());
        let task = tasks.spawn(async move { served.converse(tcp, peer, &seat.connection, ended).await });
        connections.is_served_by(id, task);
        connections.keep_room();
    }
    drop(accepting);
    ending.send_replace(true);
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    if timeout(limits.ending_max, all_ended).await.is_err() {
        warn!(connections = tasks.len(), "Connections cut at shutdown: requests did not end in time");
        tasks.shutdown().await;
    }
    Ok(())
}

/// Takes connections from the operating system.
struct Accepting {
    listener: TcpListener,
    connections: Arc<Connections>,
    /// Since when the operating system has had none to give, and when that was logged last.
    failing_since: Option<Instant>,
}

/// How often the log says that connections cannot be accepted.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// The pause after such a failure, in which connections that were closed give back their descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

impl Accepting {
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
                    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                        self.failed(&error);
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Mostly there is no descriptor left: a connection that does nothing gives one back.
    fn failed(&mut self, error: &io::Error) {
        self.connections.accept_failed();
        if self.failing_since.is_none_or(|since| since.elapsed() > LOG_EVERY) {
            self.failing_since = Some(Instant::now());
            warn!(%error, "Connection not accepted, closing idle ones");
        }
    }
}

struct Served {
    connections: Arc<Connections>,
    router: Router,
    trusted_proxies: Arc<[IpNet]>,
    tls: Option<ServerTls>,
    limits: ListenLimits,
    handshakes: Semaphore,
    bodies: Arc<Bodies>,
    counts: ListenCounts,
}

impl Served {
    async fn converse(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        connection: &Arc<Connection>,
        ended: watch::Receiver<bool>,
    ) {
        // Answers are one small write each: there is nothing to gather.
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        let Some(tls) = &self.tls else { return self.speak(tcp, peer, connection, ended).await };
        let mut stopped = ended.clone();
        let shaken = tokio::select! {
            biased;
            () = over(&mut stopped) => return,
            shaken = Box::pin(self.shake_hands(tls, tcp)) => shaken,
        };
        match shaken {
            Ok(stream) => Box::pin(self.speak(stream, peer, connection, ended)).await,
            Err(error) => {
                let counters = &self.counts.0;
                let counter = match error.kind() {
                    io::ErrorKind::TimedOut => &counters.handshakes_timed_out,
                    _ => &counters.handshakes_failed,
                };
                counter.fetch_add(1, Relaxed);
                debug!(peer = %peer.ip(), %error, "TLS handshake failed");
            }
        }
    }

    /// The TLS handshake. It waits for its turn only once the ClientHello has arrived, and has its turn only while it is
    /// computed: a peer that sends nothing keeps nobody else from theirs.
    async fn shake_hands(&self, tls: &ServerTls, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let _counted = Gauge::of(&self.counts.0.handshakes);
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp);
        let hello = timeout(self.limits.hello_timeout, hello).await??;
        let rest = async {
            let turn = self.handshakes.acquire().await.expect("the semaphore is never closed");
            let mut rest = pin!(hello.into_stream(tls.config()));
            let computed = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await;
            drop(turn);
            match computed {
                Poll::Ready(shaken) => shaken,
                Poll::Pending => rest.await,
            }
        };
        timeout(self.limits.handshake_timeout, rest).await?
    }

    /// Speaks the version of HTTP that the other end begins with.
    async fn speak(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        connection: &Arc<Connection>,
        mut ended: watch::Receiver<bool>,
    ) {
        let limits = &self.limits;
        connection.awaits_head();
        let begins = tokio::select! {
            biased;
            // A connection on which nothing has come yet gets no answer.
            () = over(&mut ended) => return,
            begins = timeout(limits.first_head_timeout, beginning(&mut stream)) => begins,
        };
        let Ok(Ok(begun)) = begins else { return };
        let http2 = begun == PREFACE[..];
        let io = TokioIo::new(Begun { begun, stream, patience: limits.body_timeout, stalled: None });
        let (router, trusted) = (self.router.clone(), Arc::clone(&self.trusted_proxies));
        let (bodies, connections) = (Arc::clone(&self.bodies), Arc::clone(&self.connections));
        let (of, body_timeout) = (Arc::clone(connection), limits.body_timeout);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let told = Peer::of(peer.ip(), request.headers(), &trusted);
            request.extensions_mut().insert(told);
            let mut under_way = of.begin_request();
            let standing = Asking(bodies.request(&of));
            let (router, connections) = (router.clone(), Arc::clone(&connections));
            async move {
                let answer = answer(router, request, standing, body_timeout).await;
                under_way.waits_for_peer();
                connections.bound_answers();
                Ok::<_, Infallible>(answer.map(|body| Answered::new(body, under_way, http2)))
            }
        });
        let result = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.streams_per_connection_max)
                .max_header_list_size(limits.head_bytes_max)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER_BYTES)
                .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
                .max_local_error_reset_streams(ERROR_STREAMS_MAX)
                // Whoever has vanished without a word is noticed.
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_EVERY);
            self.to_its_end(builder.serve_connection(io, service), connection, ended).await
        } else {
            let head_bytes_max = usize::try_from(limits.head_bytes_max).unwrap_or(usize::MAX);
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                // This is what `Connection::expired` is for.
                .header_read_timeout(None)
                .max_headers(limits.headers_max)
                .max_header_size(head_bytes_max)
                .max_buf_size(HTTP1_BUFFER_BYTES.max(head_bytes_max.saturating_mul(2)));
            self.to_its_end(builder.serve_connection(io, service), connection, ended).await
        };
        if let Err(error) = result {
            debug!(peer = %peer.ip(), %error, "Connection error");
        }
    }

    /// Serves a connection until it ends by itself, with the listener, or because it has expired.
    async fn to_its_end<C: GracefulConnection>(
        &self,
        served: C,
        connection: &Connection,
        mut ended: watch::Receiver<bool>,
    ) -> Result<(), C::Error> {
        let limits = &self.limits;
        let expired = connection.expired(limits.first_head_timeout, limits.head_timeout);
        tokio::pin!(served);
        tokio::select! {
            result = served.as_mut() => result,
            () = over(&mut ended) => {
                served.as_mut().graceful_shutdown();
                match timeout(STRANGERS_END_MAX, served.as_mut()).await {
                    Ok(result) => result,
                    Err(_) if connection.is_proven() => served.await,
                    Err(_) => Ok(()),
                }
            }
            why = expired => {
                served.as_mut().graceful_shutdown();
                let patience = match why {
                    Expired::WithoutHead => LAST_WORDS_MAX,
                    // Only an answer that is still being read keeps it.
                    Expired::Idle => limits.head_timeout,
                    Expired::Unread => {
                        self.counts.0.answers_cut.fetch_add(1, Relaxed);
                        LAST_WORDS_MAX
                    }
                };
                timeout(patience, served).await.unwrap_or(Ok(()))
            }
        }
    }
}

/// Returns once the listener is to shut down.
async fn over(ended: &mut watch::Receiver<bool>) {
    // An error means that it is gone: that is an end too.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// At shutdown, how long a connection on which nobody ever brought an accepted token may take to end.
const STRANGERS_END_MAX: Duration = Duration::from_secs(1);
/// How long a connection that never asked for anything may take to end.
const LAST_WORDS_MAX: Duration = Duration::from_millis(100);

/// A request while it is answered: its body is held until then.
struct Asking(Arc<bodies::Standing>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The router's answer to a request whose body may take so long.
async fn answer(
    mut router: Router,
    mut request: Request<Incoming>,
    asking: Asking,
    body_timeout: Duration,
) -> Response {
    let version = request.version();
    if let Err(problem) = host::check(&request) {
        return closing(problem.into_response(), version);
    }
    let standing = &asking.0;
    request.extensions_mut().insert(Arc::clone(standing));
    let (head, body) = request.into_parts();
    let body = match body.is_end_stream() {
        true => Body::empty(),
        false => Body::new(Counted::new(body, Arc::clone(standing), body_timeout, &head.headers)),
    };
    // A router is always ready, and never fails.
    let Ok(answer) = router.call(Request::from_parts(head, body)).await;
    match standing.failed() {
        None => answer,
        Some(Failed::Late) => closing(Problem::request_timeout().into_response(), version),
        Some(Failed::NoRoom) => closing(Problem::bodies_full().into_response(), version),
    }
}

/// An answer after which nothing more is read from the connection, where that is one of HTTP/1.1.
fn closing(mut answer: Response, version: Version) -> Response {
    if version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// The body of an answer. The request is under way until the peer has taken it.
struct Answered {
    body: Body,
    /// What is left of the piece that `body` gave last.
    rest: Bytes,
    under_way: UnderWay,
    /// Over HTTP/2 it is given out in small pieces, and its last byte for itself: hyper sends one only when the peer has made
    /// room for it. So an answer that the peer leaves lying there does not count as taken.
    http2: bool,
}

impl Answered {
    fn new(body: Body, under_way: UnderWay, http2: bool) -> Self {
        Self { body, rest: Bytes::new(), under_way, http2 }
    }
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.under_way.is_taken();
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        self.under_way.waits_for_peer();
        let length = match self.rest.len() {
            all if !self.http2 || all <= 1 => all,
            all if all > ANSWER_PIECE_BYTES => ANSWER_PIECE_BYTES,
            all if self.body.is_end_stream() => all - 1,
            all => all,
        };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
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
