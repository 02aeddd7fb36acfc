//! Listeners on a socket: TLS, HTTP, bounds and the end.

use crate::world::World;
use axum::Router;
use axum::extract::Extension;
use axum::routing::{get, post};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use secevent_server::{ListenCounts, ListenLimits, Listening, Peer, ServerTls, ServerTlsError, serve_as};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    /// Lets requests for `/slow` end.
    go_on: Arc<Notify>,
    /// Rings when there is one.
    entered: Arc<Notify>,
}

impl Server {
    async fn start(listening: Listening) -> Self {
        let (go_on, entered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (waits, rings) = (Arc::clone(&go_on), Arc::clone(&entered));
        let router = Router::new()
            .route("/", get(|Extension(Peer(peer)): Extension<Peer>| async move { peer.to_string() }))
            .route("/", post(|body: String| async move { body }))
            .route("/long", get(|| async { "x".repeat(64 * 1024 * 1024) }))
            .route(
                "/slow",
                get(async move || {
                    rings.notify_one();
                    waits.notified().await;
                    "done"
                }),
            );
        Self { go_on, entered, ..Self::with(router, listening).await }
    }

    /// The same with other endpoints.
    async fn with(router: Router, listening: Listening) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve_as(listener, router, listening, async {
            let _ = stopped.await;
        }));
        Self { address, stop, serving, go_on: Arc::default(), entered: Arc::default() }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends this, and reads until the server closes.
    async fn says(&self, words: &str) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(words.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What the server has said before it cut the connection counts.
        let _ = tcp.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

/// A certificate of `events.example` that trusts itself.
fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["events.example".to_owned()]).unwrap()
}

fn tls(pair: &CertifiedKey<KeyPair>) -> ServerTls {
    ServerTls::new(pair.cert.pem().as_bytes(), pair.signing_key.serialize_pem().as_bytes()).unwrap()
}

async fn shake_hands(
    server: &Server,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("events.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await
}

// spec: SET-28, POLL-37, INTEROP-01
#[tokio::test]
async fn tls_1_2_and_1_3_with_http_1_and_2() {
    let pair = certificate();
    let server = Server::start(Listening { tls: Some(tls(&pair)), ..Listening::default() }).await;
    for version in [&TLS12, &TLS13] {
        let stream = shake_hands(&server, pair.cert.der(), version, &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("https://events.example/").body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "127.0.0.1");
        drop(sender);

        for alpn in [&[&b"http/1.1"[..]][..], &[]] {
            let mut stream = shake_hands(&server, pair.cert.der(), version, alpn).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
        }
    }
    server.end().await;
}

/// Who offers nothing newer than TLS 1.0 or 1.1 is told so with an alert (RFC 8446 appendix D.2, RFC 8996).
// spec: POLL-37, INTEROP-01
#[tokio::test]
async fn older_versions_get_an_alert() {
    let server = Server::start(Listening { tls: Some(tls(&certificate())), ..Listening::default() }).await;
    let (handshake_failure, protocol_version) = (40, 70);
    // Most clients of such a kind do not say which signatures they take, which is looked at first.
    let signatures: &[u8] = &[0, 8, 0, 13, 0, 4, 0, 2, 4, 1];
    for (minor, extensions, told) in [
        (1, &[][..], handshake_failure),
        (2, &[], handshake_failure),
        (1, signatures, protocol_version),
        (2, signatures, protocol_version),
    ] {
        // A hello of TLS 1.0 or 1.1 with TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
        hello.extend(extensions);
        let length = u8::try_from(hello.len()).unwrap();
        let mut tcp = server.connect().await;
        tcp.write_all(&[&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &hello[..]].concat()).await.unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.unwrap();
        let (alert, length, fatal) = (21, [0, 2], 2);
        assert_eq!((answer[0], &answer[3..5]), (alert, &length[..]), "{answer:?}");
        assert_eq!(answer[5..], [fatal, told]);
    }
    // Plain http finds no ear at all.
    assert!(!server.says("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.contains("200"));
    server.end().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_in_use_and_a_bad_one_changes_nothing() {
    let (old, new) = (certificate(), certificate());
    let tls = tls(&old);
    let server = Server::start(Listening { tls: Some(tls.clone()), ..Listening::default() }).await;
    let mut kept = shake_hands(&server, old.cert.der(), &TLS13, &[]).await.unwrap();
    assert!(shake_hands(&server, new.cert.der(), &TLS13, &[]).await.is_err());

    let pems = |pair: &CertifiedKey<KeyPair>| (pair.cert.pem(), pair.signing_key.serialize_pem());
    let ((old_pem, _), (new_pem, new_key)) = (pems(&old), pems(&new));
    for (certificate, key) in
        [("", new_key.as_str()), ("nothing", &new_key), (&new_pem, ""), (&old_pem, &new_key)]
    {
        let refused = tls.renew(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(!refused.to_string().contains("PRIVATE"), "{refused}");
    }
    let mixed = tls.renew(old_pem.as_bytes(), new_key.as_bytes());
    assert!(matches!(mixed, Err(ServerTlsError::Pair(_))), "{mixed:?}");
    assert!(shake_hands(&server, old.cert.der(), &TLS13, &[]).await.is_ok(), "the old one stays");

    tls.renew(new_pem.as_bytes(), new_key.as_bytes()).unwrap();
    assert!(shake_hands(&server, new.cert.der(), &TLS13, &[]).await.is_ok());
    assert!(shake_hands(&server, old.cert.der(), &TLS13, &[]).await.is_err());
    let lines = |pem: &str| pem.split_whitespace().collect::<String>();
    assert_eq!(lines(&tls.certificate_pem()), lines(&new_pem));
    // Who was connected goes on.
    kept.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn heads_are_bounded_in_size_number_and_time() {
    let limits = ListenLimits {
        head_bytes_max: 2_000,
        headers_max: 10,
        first_head_timeout: Duration::from_millis(100),
        head_timeout: Duration::from_millis(100),
        ..ListenLimits::default()
    };
    let server = Server::start(Listening { limits, ..Listening::default() }).await;
    let get = |more: &str| format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
    assert!(server.says(&get("")).await.starts_with("HTTP/1.1 200"));
    let long = format!("x: {}\r\n", "y".repeat(2_000));
    assert!(server.says(&get(&long)).await.starts_with("HTTP/1.1 431"));
    assert!(server.says(&get(&"x: y\r\n".repeat(20))).await.starts_with("HTTP/1.1 431"));
    // Whoever never ends a head, or never begins one, is let go.
    for begun in ["", "G", "GET / HTTP/1.1\r\nx: ", "PRI * HTTP/2.0\r\n"] {
        let answer = server.says(begun).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{begun}: {answer}");
    }
    // A connection that was used once is not kept for ever.
    assert!(server.says("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.ends_with("127.0.0.1"));
    server.end().await;
}

/// Whoever begins a request and does not end it, or does not take the answer, holds nothing for ever.
#[tokio::test]
async fn bodies_and_answers_are_bounded_in_time() {
    let limits = ListenLimits {
        body_timeout: Duration::from_millis(100),
        connections_max: 1,
        ..ListenLimits::default()
    };
    let server = Server::start(Listening { limits, ..Listening::default() }).await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n";
    assert!(server.says(&format!("{post}connection: close\r\n\r\nwhole")).await.ends_with("whole"));
    let answer = server.says(&format!("{post}\r\nhal")).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close"), "{answer}");

    let tcp = server.connect().await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/", server.address)).body(Nothing).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 408);
    connection.abort();

    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // There is one connection at most: this one is served once the other is cut.
    let answer = server.says("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    server.end().await;
}

/// The beginning of a connection over HTTP/2 with so many requests, of whose answers the peer takes so many bytes each.
fn requests_over_http2(window: u32, requests: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE, RFC 9113 section 6.5.2.
    bytes.extend(frame(4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
    for request in 0..requests {
        // GET http://a/ in the static table of RFC 7541; END_STREAM and END_HEADERS.
        bytes.extend(frame(1, 5, 2 * request + 1, &[0x82, 0x86, 0x84, 1, 1, b'a']));
    }
    bytes
}

/// An answer over HTTP/2 is waited for, also if the peer makes room for a part of it and takes everything else.
// finding: B1
#[tokio::test]
async fn answers_over_http2_that_nobody_takes_are_bounded_in_time() {
    let limits = ListenLimits { body_timeout: Duration::from_millis(100), ..ListenLimits::default() };
    let counts = ListenCounts::default();
    let listening = Listening { limits, counts: counts.clone(), ..Listening::default() };
    let server = Server::start(listening).await;
    for (cut, window) in (1..).zip([0, 3]) {
        let mut deaf = server.connect().await;
        deaf.write_all(&requests_over_http2(window, 10)).await.unwrap();
        let _ = deaf.read_to_end(&mut Vec::new()).await;
        assert_eq!(counts.figures().answers_cut, cut);
        eventually(|| counts.figures().answers_unread == 0).await;
    }
    // Whoever takes it gets it, however long it is.
    let tcp = server.connect().await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/long", server.address)).body(Empty::<bytes::Bytes>::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 64 * 1024 * 1024);
    assert_eq!(counts.figures().answers_cut, 2);
    drop(sender);
    server.end().await;
}

// finding: B3
#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_in_sum() {
    let limits = ListenLimits {
        body_timeout: Duration::from_secs(3_600),
        ending_max: Duration::from_secs(3_600),
        answers_max: 25,
        ..ListenLimits::default()
    };
    let counts = ListenCounts::default();
    let listening = Listening { limits, counts: counts.clone(), ..Listening::default() };
    let server = Server::start(listening).await;
    let mut crowd = Vec::new();
    for _ in 0..5 {
        let mut deaf = server.connect().await;
        deaf.write_all(&requests_over_http2(0, 10)).await.unwrap();
        crowd.push(deaf);
    }
    eventually(|| counts.figures().answers_cut >= 3 && counts.figures().answers_unread <= 25).await;
    let answer = server.says("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    // Nor does the end wait for those who hold the rest.
    server.end().await;
    drop(crowd);
}

/// A body that does not come.
struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

/// One that answers pings and asks for nothing is let go, as over HTTP/1.1.
#[tokio::test]
async fn a_connection_over_http_2_is_not_kept_without_a_request() {
    let limits = ListenLimits { head_timeout: Duration::from_millis(100), ..ListenLimits::default() };
    let server = Server::start(Listening { limits, ..Listening::default() }).await;
    let tcp = server.connect().await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/", server.address)).body(Empty::<bytes::Bytes>::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "127.0.0.1");
    connection.await.unwrap().unwrap();
    assert!(sender.is_closed());
    server.end().await;
}

/// Who sends nothing, or a ClientHello and then nothing, keeps nobody else from a handshake, and is let go in time.
// finding: B2
#[tokio::test]
async fn handshakes_do_not_wait_for_those_who_send_nothing() {
    let pair = certificate();
    let hour = Duration::from_secs(3_600);
    let limits = ListenLimits {
        handshakes_max: 1,
        hello_timeout: hour,
        handshake_timeout: hour,
        ..ListenLimits::default()
    };
    let counts = ListenCounts::default();
    let tls = Some(tls(&pair));
    let listening = Listening { tls: tls.clone(), limits, counts: counts.clone(), ..Listening::default() };
    let server = Server::start(listening).await;
    let mut held = Vec::new();
    for silent in 0..40 {
        let mut tcp = server.connect().await;
        match silent % 4 {
            0 => {}
            1 => tcp.write_all(&[22]).await.unwrap(),
            2 => tcp.write_all(&hello()[..40]).await.unwrap(),
            _ => tcp.write_all(&hello()).await.unwrap(),
        }
        held.push(tcp);
    }
    eventually(|| counts.figures().handshakes == 40).await;
    assert!(shake_hands(&server, pair.cert.der(), &TLS13, &[]).await.is_ok());
    assert!(shake_hands(&server, pair.cert.der(), &TLS12, &[]).await.is_ok());
    assert!(counts.figures().without_head >= 40, "{:?}", counts.figures());
    drop(held);
    eventually(|| counts.figures().handshakes == 0).await;
    assert_eq!(counts.figures().handshakes_failed, 40);
    server.end().await;

    let soon = Duration::from_millis(100);
    let limits = ListenLimits { hello_timeout: soon, handshake_timeout: soon, ..ListenLimits::default() };
    let listening = Listening { tls, limits, counts: counts.clone(), ..Listening::default() };
    let server = Server::start(listening).await;
    for begun in [&[22][..], &hello()] {
        let mut silent = server.connect().await;
        silent.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let _ = silent.read_to_end(&mut answer).await;
    }
    eventually(|| counts.figures().handshakes_timed_out == 2).await;
    server.end().await;
}

/// What a client of TLS sends first.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("events.example").unwrap();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

/// Returns once this is so.
async fn eventually(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), so).await.expect("it never comes about");
}

/// At the limit of connections those that never send a whole head give way, the longest waiting first.
// finding: B1
#[tokio::test]
async fn a_crowd_without_heads_gives_way() {
    let hour = Duration::from_secs(3_600);
    let limits = ListenLimits { connections_max: 8, first_head_timeout: hour, ..ListenLimits::default() };
    let counts = ListenCounts::default();
    let listening = Listening { limits, counts: counts.clone(), ..Listening::default() };
    let server = Server::start(listening).await;
    // One is being worked on, and is kept.
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut tcp = server.connect().await;
        // Some of them are closed while they write.
        let _ = tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await;
        crowd.push(tcp);
    }
    for _ in 0..10 {
        let answer = server.says("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
    }
    assert_eq!(crowd[0].read(&mut [0]).await.unwrap_or(0), 0, "the first one was closed");
    let figures = counts.figures();
    assert!(figures.connections <= 8 && figures.evicted >= 33, "{figures:?}");
    server.go_on.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    server.end().await;
}

/// Idle connections give way too, the longest idle first, and those with an unfinished body before them.
// finding: B1
#[tokio::test]
async fn what_is_idle_gives_way() {
    let limits = ListenLimits { connections_max: 3, ..ListenLimits::default() };
    let counts = ListenCounts::default();
    let server = Server::start(Listening { limits, counts: counts.clone(), ..Listening::default() }).await;
    let asks = async || {
        let mut tcp = server.connect().await;
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"127.0.0.1") {
            assert_ne!(tcp.read_buf(&mut answer).await.unwrap(), 0);
        }
        // Idle times are compared in milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
        tcp
    };
    let (mut first, second) = (asks().await, asks().await);
    let mut unfinished = server.connect().await;
    unfinished.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhal").await.unwrap();
    eventually(|| counts.figures().body_bytes > 0).await;
    let third = asks().await;
    assert_eq!(unfinished.read(&mut [0]).await.unwrap_or(0), 0);
    let fourth = asks().await;
    assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(never(second.readable()).await, "it was idle for less time");
    drop((third, fourth));
    server.end().await;
}

/// I6: connections are bounded; others wait while none can be closed.
#[tokio::test]
async fn connections_are_bounded() {
    let limits = ListenLimits { connections_max: 1, ..ListenLimits::default() };
    let server = Server::start(Listening { limits, ..Listening::default() }).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    // The operating system connects, but nobody answers before the first one has ended.
    let mut second = server.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(never(second.readable()).await, "it was answered");
    server.go_on.notify_one();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    server.end().await;
}

/// The bytes of unfinished bodies have a limit in sum. At the limit the one that has waited longest gets 503.
// finding: B3
#[tokio::test]
async fn unfinished_bodies_are_bounded_in_sum() {
    let limits = ListenLimits {
        body_timeout: Duration::from_secs(3_600),
        bodies_bytes_max: 1024 * 1024,
        unproven_bodies_bytes_max: 64 * 1024,
        ..ListenLimits::default()
    };
    let counts = ListenCounts::default();
    let server = Server::start(Listening { limits, counts: counts.clone(), ..Listening::default() }).await;
    let half = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n{}", "x".repeat(10_000));
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut tcp = server.connect().await;
        tcp.write_all(half.as_bytes()).await.unwrap();
        held.push(tcp);
        let so_far = held.len() as u64 * 14_000;
        eventually(|| counts.figures().body_bytes > so_far).await;
    }
    assert_eq!(counts.figures().bodies_refused, 0);
    // One more is too much, and a body that comes at once is taken all the same.
    let whole = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10000\r\n\r\n";
    let answer = server.says(&format!("{whole}{}", "y".repeat(10_000))).await;
    assert!(answer.ends_with(&"y".repeat(10_000)), "{answer}");
    let mut answer = String::new();
    held[0].read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("connection: close"), "{answer}");
    // The others go on.
    held[3].write_all("x".repeat(10_000).as_bytes()).await.unwrap();
    assert_ne!(held[3].read(&mut [0]).await.unwrap(), 0);
    assert_eq!(counts.figures().bodies_refused, 1);

    // Over HTTP/2 all that a connection holds counts, even bodies of which nothing has come.
    let tcp = server.connect().await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let request = Request::post(format!("http://{}/", server.address)).body(Nothing).unwrap();
            let mut sender = sender.clone();
            tokio::spawn(async move { sender.send_request(request).await })
        })
        .collect();
    eventually(|| counts.figures().bodies_refused >= 30).await;
    assert!(counts.figures().body_bytes <= 64 * 1024, "{:?}", counts.figures());
    asked.iter().for_each(JoinHandle::abort);
    connection.abort();
    drop((sender, held));
    eventually(|| counts.figures().body_bytes == 0).await;
    assert_eq!(counts.figures().connections, 0);
    server.end().await;
}

/// A body in many small pieces costs more than its bytes, and is counted so.
// finding: B3
#[tokio::test]
async fn small_pieces_are_counted_with_what_they_cost() {
    let counts = ListenCounts::default();
    let server = Server::start(Listening { counts: counts.clone(), ..Listening::default() }).await;
    let mut tcp = server.connect().await;
    let chunks = "1\r\nx\r\n".repeat(100);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    tcp.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    eventually(|| counts.figures().body_bytes > 4 * 1024 + 100 * 128).await;
    tcp.write_all(b"0\r\n\r\n").await.unwrap();
    eventually(|| counts.figures().body_bytes == 0).await;
    server.end().await;
}

/// Requests say which host they are for, exactly once.
// finding: B15
#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let server = Server::start(Listening::default()).await;
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nhost: b\r\n", "host: a@b\r\n", "host:\r\n"] {
        let answer = server.says(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("application/problem+json"),
            "{answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }
    assert!(server.says("GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(server.connect().await))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    for (host, status) in [(None, 200), (Some("a"), 200), (Some("b"), 400)] {
        let mut request = Request::get("http://a/").body(Empty::<bytes::Bytes>::new()).unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host:?}");
    }
    connection.abort();
    server.end().await;
}

/// A body whose framing is broken is answered as everything else is.
// finding: B22
#[tokio::test]
async fn a_broken_body_is_answered_with_a_problem() {
    let world = World::new().await;
    let (producer, receiver) = (world.token("producer").await, world.token("rp").await);
    let server = Server::with(world.router(), Listening::default()).await;
    for (path, token) in [("/events", &producer), ("/ssf/stream", &receiver)] {
        let answer = server
            .says(&format!(
                "POST {path} HTTP/1.1\r\nhost: tr.example\r\nauthorization: Bearer {token}\r\ncontent-type: \
                 application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n"
            ))
            .await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("application/problem+json"),
            "{answer}"
        );
    }
    let answer = server
        .says(
            "POST /oauth/token HTTP/1.1\r\nhost: tr.example\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             transfer-encoding: chunked\r\n\r\nZZ\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"invalid_request\""), "{answer}");
    server.end().await;
}

/// Whether nothing that is on its way brings this about: time stands still, and passes once nobody has anything to do.
async fn never<T>(event: impl Future<Output = T>) -> bool {
    tokio::time::pause();
    let over = tokio::time::timeout(Duration::from_secs(1), event).await.is_err();
    tokio::time::resume();
    over
}

#[tokio::test]
async fn what_is_under_way_ends_and_what_is_idle_is_closed() {
    let pair = certificate();
    let server = Server::start(Listening { tls: Some(tls(&pair)), ..Listening::default() }).await;
    let idle = shake_hands(&server, pair.cert.der(), &TLS13, &[]).await.unwrap();
    let mut busy = shake_hands(&server, pair.cert.der(), &TLS12, &[]).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    let mut shaking = server.connect().await;
    let (go_on, address) = (Arc::clone(&server.go_on), server.address);
    server.stop.send(()).unwrap();
    assert_eq!(shaking.read(&mut [0]).await.unwrap_or(0), 0, "no handshake is waited for");
    go_on.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    server.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop(idle);
}

/// The end does not wait for who does not go: for a body that does not come, or an answer that is not made.
#[tokio::test]
async fn the_end_comes_whoever_is_still_there() {
    let limits = ListenLimits {
        body_timeout: Duration::from_secs(3_600),
        ending_max: Duration::from_millis(100),
        ..ListenLimits::default()
    };
    for asked in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhal",
        "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let server = Server::start(Listening { limits, ..Listening::default() }).await;
        let mut tcp = server.connect().await;
        tcp.write_all(asked.as_bytes()).await.unwrap();
        if asked.starts_with("GET") {
            server.entered.notified().await;
        }
        server.stop.send(()).unwrap();
        server.serving.await.unwrap().unwrap();
        assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0, "it is cut");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_asks() {
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-for: 203.0.113.9, 198.51.100.7\r\n\r\n";
    for (trusted, told) in [(&[][..], "127.0.0.1"), (&["127.0.0.0/8"], "198.51.100.7")] {
        let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let server = Server::start(Listening { trusted_proxies, ..Listening::default() }).await;
        let answer = server.says(ask).await;
        assert!(answer.ends_with(told), "{answer}");
        server.end().await;
    }
}
