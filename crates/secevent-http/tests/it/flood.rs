//! Peers that send without end. The bound is reached long before the request's time is over.

use crate::tls::{Authority, Leaf};
use crate::world::{Names, client, get, on_loopback, recite, until};
use http::{Response, StatusCode};
use secevent_http::{Client, ClientConfig};
use secevent_ssf::TransportError;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A server that says `first` to one request and then `again` until the connection is closed. Returns how often it
/// could.
async fn repeat(first: &'static str, again: &'static str) -> (SocketAddr, oneshot::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, repeated) = oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        drop(tcp.read(&mut [0; 8192]).await);
        drop(tcp.write_all(first.as_bytes()).await);
        let mut count = 0;
        while tcp.write_all(again.as_bytes()).await.is_ok() {
            count += 1;
        }
        let _ = ended.send(count);
    });
    (address, repeated)
}

// finding: B10
#[tokio::test(flavor = "multi_thread")]
async fn answers_over_http1_that_never_come_to_an_end() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (first, again) in [
        ("", "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 103 \r\nlink: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"),
        (chunked, "00000000000000000000000000000000000000"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1", "                                "),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "an-extension;another-one;more;"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "a: trailer\r\nand: another\r\n"),
    ] {
        let (address, repeated) = repeat(first, again).await;
        let client = client(ClientConfig { response_bytes_max: 1_000, ..on_loopback() });
        let error = get(&client, &format!("http://{address}/")).await.unwrap_err();
        assert!(!matches!(error, TransportError::Timeout(_)), "{again:?}: {error}");
        if first.is_empty() {
            assert!(matches!(error, TransportError::Protocol(_)), "{again:?}: {error}");
        }
        // The connection is closed; what fills the buffers of the two ends is all that was sent.
        repeated.await.unwrap();
        // finding: D3
        until("no open connection", || client.connections().open == 0).await;
        assert_eq!(client.connections().idle, 0, "{again:?}");
    }
}

// finding: B10
#[tokio::test]
async fn a_few_informational_answers_are_skipped() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(16);
    let server = recite(format!("{hints}HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"), false).await;
    let client = client(on_loopback());
    assert_eq!(get(&client, &server.url("/")).await.unwrap().status(), StatusCode::ACCEPTED);
    let server = recite(format!("{hints}HTTP/1.1 103 \r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n"), false).await;
    let error = get(&client, &server.url("/")).await.unwrap_err();
    let text = format!("{}: it sends more than 16 informational answers", server.address);
    assert_eq!(error, TransportError::Protocol(text));
}

// finding: B10
#[tokio::test(flavor = "multi_thread")]
async fn answers_over_http2_that_never_come_to_an_end() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(&Leaf::default())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let flood = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(acceptor.accept(tcp).await.unwrap()).await.unwrap();
        let (_, mut answer) = connection.accept().await.unwrap().unwrap();
        let driver =
            tokio::spawn(async move { while connection.accept().await.is_some_and(|it| it.is_ok()) {} });
        let mut hint = Response::new(());
        *hint.status_mut() = StatusCode::EARLY_HINTS;
        let mut sent = 0;
        while answer.send_informational(hint.clone()).is_ok() && !driver.is_finished() {
            sent += 1;
            // Whatever is not written yet is kept in memory.
            if sent % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        driver.await.unwrap();
    });
    let names = Names::with("receiver.example", &[&["127.0.0.1"]]);
    let config = ClientConfig { tls: authority.trusted(), ..on_loopback() };
    let client = Client::with_resolver(config, names).unwrap();
    let error = get(&client, &format!("https://receiver.example:{port}/")).await.unwrap_err();
    let is_bound = |text: &str| text.contains("it sends too much beside the body");
    assert!(matches!(&error, TransportError::Protocol(text) if is_bound(text)), "{error}");
    flood.await.unwrap();
}
