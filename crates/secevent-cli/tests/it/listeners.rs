//! The listeners of the real program: few descriptors, signals, the end, and health on the public one.

use crate::program::{Place, Sink};
use crate::serve::{CONFIG, Server, runtime};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What the public listener answers to a request for this path.
fn get(server: &Server, path: &str) -> String {
    let mut tcp = TcpStream::connect(server.address()).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address());
    tcp.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

/// Creates a push stream of the shop.
fn subscribe(place: &Place, server: &Server, url: &str) {
    let issuer = server.issuer();
    let environment = [("SECEVENT_ISSUER", issuer.as_str()), ("SECEVENT_SECRET", "a secret of the shop")];
    let create = ["stream", "create", "--push", url, "--client", "shop", "--events", "caep:session-revoked"];
    let created = place.run_in(&environment, &create);
    assert_eq!(created.code, 0, "{created:?}");
}

/// Whether this comes about in time.
fn within(time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if is_so() {
            return true;
        }
        runtime().block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
    }
    false
}

/// More connections with half a head than the process has descriptors: new producers, pushes, operators and health go
/// on.
// finding: B1
#[test]
fn a_crowd_of_half_heads_does_not_stop_a_server_with_few_descriptors() {
    let place = Place::new().with("secevent.toml", format!("[server]\nmetrics = \"open\"\n{CONFIG}"));
    let server = Server::start_limited(&place, 256);
    let sink = Sink::open();
    subscribe(&place, &server, &sink.url);
    assert!(sink.next()["events"].is_object(), "the stream was verified");
    let mut crowd = Vec::new();
    for _ in 0..400 {
        let mut tcp = TcpStream::connect(server.address()).unwrap();
        // Some of them are closed while they write.
        let _ = tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ");
        crowd.push(tcp);
    }
    let emitted = server.emit(&place, &["caep:session-revoked", "--subject", "a@example.com"]);
    assert_eq!(emitted.code, 0, "{emitted:?}");
    assert_eq!(sink.next()["sub_id"]["email"], "a@example.com");
    let streams = place.run(&["streams", "--json"]);
    assert_eq!(streams.code, 0, "{streams:?}");
    let doctor = place.shell("ulimit -n 256; secevent doctor --dev --config secevent.toml --json");
    let findings = doctor.json()["findings"].clone();
    let found = |check: &str| findings.as_array().unwrap().iter().find(|one| one["check"] == check).cloned();
    assert_eq!(found("open files").unwrap()["verdict"], "warn", "{findings}");
    assert_eq!(found("server").unwrap()["verdict"], "ok", "{findings}");
    let checked =
        place.shell("ulimit -n 256; secevent config check --dev --config secevent.toml --json").json();
    let warned =
        checked["findings"].as_array().unwrap().iter().any(|one| one["key"] == "server.connections_max");
    assert!(warned && checked["valid"] == true, "{checked}");
    drop(crowd);
    let (code, log) = server.end();
    assert_eq!(code, 0);
    assert!(log.contains("Connection limits reduced to the limit of open files"), "{log}");
}

/// Signals that ask for something else do not end a server.
// finding: B13
#[test]
fn a_hangup_does_not_end_a_server_without_certificates() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    for signal in ["-HUP", "-USR1", "-USR2", "-HUP"] {
        server.signal(signal);
    }
    assert!(get(&server, "/.well-known/ssf-configuration").starts_with("HTTP/1.1 200"));
    let (code, log) = server.end();
    assert_eq!(code, 0);
    assert!(log.contains("Nothing to reload"), "{log}");
}

/// Deliveries and listeners drain at the same time: the listener does not wait for a push that is not answered.
// finding: B19
#[test]
fn listeners_and_deliveries_drain_together() {
    let place =
        Place::new().with("secevent.toml", format!("[delivery]\npush_timeout_seconds = 60\n{CONFIG}"));
    let server = Server::start(&place, "127.0.0.1:0");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", silent.local_addr().unwrap());
    subscribe(&place, &server, &url);
    // The verification event is on its way, and is never answered.
    let (_pushing, _) = silent.accept().unwrap();
    server.signal("-TERM");
    let is_closed = || TcpStream::connect(server.address()).is_err();
    assert!(within(Duration::from_secs(20), is_closed), "it takes connections while it ends");
    server.kill();
}

// finding: C14
#[test]
fn health_is_served_on_the_public_listener_by_choice() {
    let place = Place::new().with("secevent.toml", CONFIG);
    let server = Server::start(&place, "127.0.0.1:0");
    for path in ["/healthz", "/readyz"] {
        assert!(get(&server, path).starts_with("HTTP/1.1 404"), "{path}");
    }
    assert_eq!(server.stop(), 0);
    place.write("secevent.toml", format!("[server]\npublic_health = true\n{CONFIG}"));
    let server = Server::start(&place, "127.0.0.1:0");
    for path in ["/healthz", "/readyz", "/readyz"] {
        assert!(get(&server, path).starts_with("HTTP/1.1 200"), "{path}");
    }
    assert_eq!(server.stop(), 0);
}
