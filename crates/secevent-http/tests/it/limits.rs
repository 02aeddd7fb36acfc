//! Connections: reused, bounded, and closed when nobody needs them.

use crate::tls::{Authority, Leaf};
use crate::world::{Names, Server, client, get, ok, on_loopback, recite, serve, until};
use secevent_http::{Client, ClientConfig};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

async fn get_all(client: &Client, urls: impl IntoIterator<Item = String>) {
    let mut requests = JoinSet::new();
    for url in urls {
        let client = client.clone();
        requests.spawn(async move { get(&client, &url).await });
    }
    while let Some(answer) = requests.join_next().await {
        assert_eq!(answer.unwrap().unwrap().body(), "done");
    }
}

/// Requests are answered in pairs, so that at least two are there at a time.
async fn serve_pairs(tls: Option<rustls::ServerConfig>) -> Server {
    let pair = Arc::new(Barrier::new(2));
    serve(tls, move |_| {
        let pair = Arc::clone(&pair);
        async move {
            pair.wait().await;
            ok("done")
        }
    })
    .await
}

#[tokio::test]
async fn requests_one_after_the_other_use_one_connection() {
    let server = serve(None, |_| async { ok("done") }).await;
    let client = client(on_loopback());
    for _ in 0..20 {
        get(&client, &server.url("/")).await.unwrap();
        // The connection is put back by its own task.
        until("an idle connection", || client.connections().idle > 0).await;
    }
    assert_eq!((server.counts.accepted(), server.counts.requests()), (1, 20));
    let counts = client.connections();
    assert_eq!((counts.open, counts.idle, counts.opened_total, counts.hosts), (1, 1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_keep_to_the_cap_of_the_host() {
    let server = serve_pairs(None).await;
    let client = client(ClientConfig { connections_per_host_max: 4, ..on_loopback() });
    get_all(&client, (0..50).map(|_| server.url("/"))).await;
    assert_eq!(server.counts.requests(), 50);
    let open_max = server.counts.open_max.load(Ordering::SeqCst);
    assert!((2..=4).contains(&open_max), "{open_max}");
    assert!(server.counts.accepted() <= 4);
    assert!(client.connections().open <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_to_ten_hosts_keep_to_the_cap_of_all() {
    let server = serve_pairs(None).await;
    let names = Names::with("h0.example", &[&["127.0.0.1"]]);
    (1..10).for_each(|n| names.add(&format!("h{n}.example"), &[&["127.0.0.1"]]));
    let client = Client::with_resolver(ClientConfig { connections_max: 3, ..on_loopback() }, names).unwrap();
    let port = server.address.port();
    get_all(&client, (0..50).map(|n| format!("http://h{}.example:{port}/", n % 10))).await;
    assert_eq!(server.counts.requests(), 50);
    let busy_max = server.counts.busy_max.load(Ordering::SeqCst);
    assert!((2..=3).contains(&busy_max), "{busy_max}");
    assert!(client.connections().open <= 3);
}

/// Idle connections to other hosts make room; they do not keep a new host waiting until they expire.
#[tokio::test]
async fn the_longest_idle_connection_makes_room() {
    let server = serve(None, |_| async { ok("done") }).await;
    let names = Names::with("a.example", &[&["127.0.0.1"]]);
    names.add("b.example", &[&["127.0.0.1"]]);
    names.add("c.example", &[&["127.0.0.1"]]);
    let client = Client::with_resolver(ClientConfig { connections_max: 2, ..on_loopback() }, names).unwrap();
    let port = server.address.port();
    for (name, idle) in [("a", 1), ("b", 2), ("c", 2)] {
        get(&client, &format!("http://{name}.example:{port}/")).await.unwrap();
        until("idle connections", || client.connections().idle >= idle).await;
    }
    // `a` was the longest idle and is gone; `b` is still there.
    get(&client, &format!("http://b.example:{port}/")).await.unwrap();
    assert_eq!(client.connections().opened_total, 3);
    get(&client, &format!("http://a.example:{port}/")).await.unwrap();
    assert_eq!(client.connections().opened_total, 4);
}

#[tokio::test]
async fn a_connection_the_other_end_has_closed_is_not_used_again() {
    let server = recite("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone", true).await;
    let client = client(on_loopback());
    for accepted in 1..=10 {
        assert_eq!(get(&client, &server.url("/")).await.unwrap().body(), "done");
        assert_eq!(server.counts.accepted(), accepted);
        // Until the close has been noticed the connection looks idle.
        until("no open connection", || client.connections().open == 0).await;
    }
}

#[tokio::test]
async fn abandoned_requests_leave_nothing_behind() {
    let server = recite("", false).await;
    let client = client(ClientConfig { connections_per_host_max: 2, ..on_loopback() });
    for _ in 0..10 {
        let abandoned = tokio::time::timeout(Duration::from_millis(5), get(&client, &server.url("/"))).await;
        assert!(abandoned.is_err());
    }
    until("no open connection", || client.connections().open == 0).await;
    assert_eq!(client.connections().idle, 0);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let server = serve(None, |_| async { ok("done") }).await;
    let client = client(ClientConfig { idle_timeout_seconds: 60, ..on_loopback() });
    get(&client, &server.url("/")).await.unwrap();
    until("an idle connection", || client.connections().idle > 0).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(44)).await;
    tokio::task::yield_now().await;
    assert_eq!(client.connections().idle, 1);
    // Looked at every quarter of the time.
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(16)).await;
        tokio::task::yield_now().await;
    }
    // finding: D3
    tokio::time::resume();
    until("no idle connection", || client.connections().idle == 0).await;
    assert_eq!(client.connections().opened_total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_carries_fifty_requests_at_once_on_one_connection() {
    let authority = Authority::new();
    let server = serve_pairs(Some(authority.server(&Leaf::default()))).await;
    let names = Names::with("receiver.example", &[&["127.0.0.1"]]);
    let config = ClientConfig { streams_per_connection_max: 6, tls: authority.trusted(), ..on_loopback() };
    let client = Client::with_resolver(config, names).unwrap();
    let url = format!("https://receiver.example:{}/", server.address.port());
    get_all(&client, (0..50).map(|_| url.clone())).await;
    assert_eq!((server.counts.accepted(), server.counts.requests()), (1, 50));
    let busy_max = server.counts.busy_max.load(Ordering::SeqCst);
    assert!((2..=6).contains(&busy_max), "{busy_max}");
    assert_eq!(client.connections().opened_total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_over_tls_keeps_to_the_cap_as_well() {
    let authority = Authority::new();
    let server = serve_pairs(Some(authority.server(&Leaf { alpn: &[b"http/1.1"], ..Leaf::default() }))).await;
    let names = Names::with("receiver.example", &[&["127.0.0.1"]]);
    let config = ClientConfig { connections_per_host_max: 3, tls: authority.trusted(), ..on_loopback() };
    let client = Client::with_resolver(config, names).unwrap();
    let url = format!("https://receiver.example:{}/", server.address.port());
    get_all(&client, (0..50).map(|_| url.clone())).await;
    assert!((2..=3).contains(&server.counts.open_max.load(Ordering::SeqCst)));
}

/// One failed handshake answers everybody who waited for it, instead of one after the other running into it.
#[tokio::test]
async fn a_host_that_cannot_be_reached_is_not_tried_by_each_in_turn() {
    let server = recite("HTTP/1.1 400 no TLS here\r\n\r\n", false).await;
    let client = client(on_loopback());
    let gate = Arc::new(Semaphore::new(0));
    let url = server.url("/").replace("http:", "https:");
    let mut requests = JoinSet::new();
    for _ in 0..16 {
        let (client, url, gate) = (client.clone(), url.clone(), Arc::clone(&gate));
        requests.spawn(async move {
            drop(gate.acquire().await);
            get(&client, &url).await.unwrap_err().kind()
        });
    }
    gate.add_permits(16);
    while let Some(kind) = requests.join_next().await {
        assert_eq!(kind.unwrap(), "tls");
    }
    assert_eq!(server.counts.accepted(), 1);
    let is_gone = || (client.connections().open, client.connections().hosts) == (0, 0);
    until("no open connection", is_gone).await;
}
