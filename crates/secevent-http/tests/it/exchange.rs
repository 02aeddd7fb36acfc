//! One request and its answer.

use crate::world::{Names, Seen, client, get, ok, on_loopback, post, recite, serve};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use secevent_http::{Client, ClientConfig, ConnectTo};
use secevent_ssf::{HeadDecides, ResponseLimit, ResponseTime, Transport, TransportError};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

#[tokio::test]
async fn the_request_as_the_server_sees_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let server = serve(None, move |request| {
        keep.lock().unwrap().push(request);
        async { Response::builder().status(202).header("x-answer", "yes").body(Full::default()).unwrap() }
    })
    .await;
    let request = Request::post(server.url("/events?stream=1"))
        .header("content-type", "application/secevent+jwt")
        .header("host", "somebody.else.example")
        .body(Bytes::from("eyJ"))
        .unwrap();
    let response = client(on_loopback()).send(request).await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["x-answer"].as_bytes()),
        (StatusCode::ACCEPTED, &b"yes"[..])
    );

    let seen = seen.lock().unwrap();
    let head = &seen[0].head;
    assert_eq!((head.method.as_str(), head.uri.to_string()), ("POST", "/events?stream=1".to_owned()));
    assert_eq!(head.headers["host"], server.address.to_string());
    assert_eq!(head.headers["user-agent"], concat!("secevent/", env!("CARGO_PKG_VERSION")));
    assert_eq!(head.headers["content-length"], "3");
    assert_eq!(head.headers["content-type"], "application/secevent+jwt");
    assert_eq!(seen[0].body, "eyJ");
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let server = serve(None, |request| async move {
        let status = request.head.uri.path().trim_start_matches('/').parse::<u16>().unwrap();
        Response::builder().status(status).header("location", "/elsewhere").body(Full::default()).unwrap()
    })
    .await;
    let client = client(on_loopback());
    for (sent, status) in [300, 301, 302, 303, 305, 307, 308].into_iter().enumerate() {
        let response = post(&client, &server.url(&format!("/{status}")), Bytes::from("set")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["location"], "/elsewhere");
        assert_eq!(server.counts.requests(), sent + 1);
    }
}

#[tokio::test]
async fn the_bound_of_the_answer_is_exact() {
    let chunked = |bytes: usize| {
        let chunk = "A".repeat(16);
        let chunks = format!("10\r\n{chunk}\r\n").repeat(bytes / 16);
        let rest = match bytes % 16 {
            0 => String::new(),
            rest => format!("{rest:x}\r\n{}\r\n", "B".repeat(rest)),
        };
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{rest}0\r\n\r\n")
    };
    let announced =
        |bytes: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{}", "A".repeat(bytes));
    let until_close = |bytes: usize| format!("HTTP/1.1 200 OK\r\n\r\n{}", "A".repeat(bytes));
    let client = client(ClientConfig { response_bytes_max: 100, ..on_loopback() });
    let too_large = |bytes_max| Err(TransportError::BodyTooLarge { bytes_max });

    let forms: [&dyn Fn(usize) -> String; 3] = [&chunked, &announced, &until_close];
    for form in forms {
        for (bytes, limit, expected) in [
            (0, None, Ok(0)),
            (99, None, Ok(99)),
            (100, None, Ok(100)),
            (101, None, too_large(100)),
            (5_000, None, too_large(100)),
            (5_000, Some(5_000), Ok(5_000)),
            (5_001, Some(5_000), too_large(5_000)),
            (1, Some(0), too_large(0)),
        ] {
            let server = recite(form(bytes), true).await;
            let mut request = Request::get(server.url("/")).body(Bytes::new()).unwrap();
            if let Some(limit) = limit {
                request.extensions_mut().insert(ResponseLimit(limit));
            }
            let length = client.send(request).await.map(|response| response.into_body().len());
            assert_eq!(length, expected, "{bytes} bytes, limit {limit:?}");
        }
    }

    // An announced length is believed when it is too long: the body is not waited for.
    let server = recite("HTTP/1.1 200 OK\r\ncontent-length: 4294967296\r\n\r\n", false).await;
    assert_eq!(
        get(&client, &server.url("/")).await.unwrap_err(),
        TransportError::BodyTooLarge { bytes_max: 100 }
    );
}

/// Sends what needs no more than a head for an answer.
async fn push(client: &Client, url: &str) -> Result<Response<Bytes>, TransportError> {
    let time = ResponseTime(std::time::Duration::from_millis(300));
    let request = Request::post(url).extension(HeadDecides).extension(time);
    client.send(request.body(Bytes::from("eyJ")).unwrap()).await
}

// finding: B18
#[tokio::test]
async fn the_head_of_a_success_is_an_answer_whatever_comes_behind_it() {
    let client = client(ClientConfig { response_bytes_max: 100, ..on_loopback() });
    let endless =
        format!("transfer-encoding: chunked\r\n\r\n{}", "10\r\naaaaaaaaaaaaaaaa\r\n".repeat(10_000));
    for (rest, then_close) in [
        ("content-length: 4294967296\r\n\r\nabc", false),
        ("content-length: 10\r\n\r\n", false),
        ("content-length: 10\r\n\r\nabc", true),
        ("transfer-encoding: chunked\r\n\r\n10\r\nabc", true),
        ("transfer-encoding: chunked\r\n\r\nnot a chunk", false),
        (&endless, false),
        ("\r\nuntil the end", false),
    ] {
        for status in [200, 202, 299] {
            let server = recite(format!("HTTP/1.1 {status} \r\nx-answer: yes\r\n{rest}"), then_close).await;
            let response = push(&client, &server.url("/")).await.unwrap();
            assert_eq!((response.status().as_u16(), response.body().len()), (status, 0), "{rest:.60}");
            assert_eq!(response.headers()["x-answer"], "yes");
        }
        // So is that of any other answer, whose reason cannot be read.
        let server = recite(format!("HTTP/1.1 503 \r\nretry-after: 30\r\n{rest}"), then_close).await;
        let response = push(&client, &server.url("/")).await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().len()), (503, 0), "{rest:.60}");
        assert_eq!(response.headers()["retry-after"], "30");
    }
    let server = recite("HTTP/1.1 400 \r\ncontent-length: 2\r\n\r\n{}", false).await;
    assert_eq!(push(&client, &server.url("/")).await.unwrap().body(), "{}");
}

// finding: B18
#[tokio::test]
async fn a_connection_is_kept_if_what_nobody_needs_is_short() {
    let served = |bytes| serve(None, move |_| async move { ok("x".repeat(bytes)) });
    let client = client(on_loopback());
    for (bytes, connections) in [(0, 1), (1_000, 1), (1_000_000, 3)] {
        let server = served(bytes).await;
        for _ in 0..3 {
            push(&client, &server.url("/")).await.unwrap();
            // What is left is read beside.
            while client.connections().open > client.connections().idle {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!((server.counts.accepted(), server.counts.requests()), (connections, 3), "{bytes} bytes");
    }
}

// finding: B22
#[tokio::test]
async fn a_misdirected_request_is_asked_again_on_another_connection() {
    let answers = Arc::new(Mutex::new(vec![200, 421, 200]));
    let server = serve(None, move |_| {
        let status = answers.lock().unwrap().pop().unwrap_or(421);
        async move { Response::builder().status(status).body(Full::default()).unwrap() }
    })
    .await;
    let client = client(on_loopback());
    for (status, connections, requests) in [(200, 1, 1), (200, 2, 3), (421, 3, 5), (421, 4, 6)] {
        assert_eq!(get(&client, &server.url("/")).await.unwrap().status(), status);
        assert_eq!((server.counts.accepted(), server.counts.requests()), (connections, requests));
    }
}

#[tokio::test]
async fn a_head_request_has_no_body_however_long_it_would_be() {
    let server = recite("HTTP/1.1 200 OK\r\ncontent-length: 4294967296\r\n\r\n", false).await;
    let request = Request::head(server.url("/")).body(Bytes::new()).unwrap();
    assert!(client(on_loopback()).send(request).await.unwrap().body().is_empty());
}

#[tokio::test]
async fn a_slow_answer_ends_with_the_request_time() {
    let client = client(ClientConfig { request_timeout_ms: 150, ..on_loopback() });
    for (words, stage) in [
        ("", "waiting for an answer"),
        ("HTTP/1.1 20", "waiting for an answer"),
        ("HTTP/1.1 200 OK\r\nx-slow: ", "waiting for an answer"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "waiting for an answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", "reading the answer"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", "reading the answer"),
    ] {
        let server = recite(words, false).await;
        let error = get(&client, &server.url("/secret?token=secret")).await.unwrap_err();
        let expected = format!("{}: 150 ms were over while {stage}", server.address);
        assert_eq!(error, TransportError::Timeout(expected), "{words:?}");
    }
    // Nothing of these exchanges is used again.
    assert_eq!(client.connections().idle, 0);
}

#[tokio::test]
async fn a_request_may_bring_its_own_time() {
    let client = client(ClientConfig { request_timeout_ms: 600_000, ..on_loopback() });
    let server = recite("", false).await;
    let mut poll = Request::get(server.url("/poll")).body(Bytes::new()).unwrap();
    poll.extensions_mut().insert(ResponseTime(std::time::Duration::from_millis(80)));
    let error = client.send(poll).await.unwrap_err();
    let expected = format!("{}: 80 ms were over while waiting for an answer", server.address);
    assert_eq!(error, TransportError::Timeout(expected));
}

#[tokio::test]
async fn a_name_that_is_never_resolved_and_a_handshake_that_never_ends() {
    struct Never;
    impl secevent_http::Resolve for Never {
        fn resolve<'a>(
            &'a self,
            _: &'a str,
            _: u16,
            _: Option<&'a str>,
        ) -> secevent_ssf::BoxFuture<'a, std::io::Result<Vec<std::net::SocketAddr>>> {
            Box::pin(std::future::pending())
        }
    }
    let config = ClientConfig { connect_timeout_ms: 50, ..on_loopback() };
    let client = Client::with_resolver(config, Arc::new(Never)).unwrap();
    let error = get(&client, "https://receiver.example/").await.unwrap_err();
    assert_eq!(error, TransportError::Timeout("receiver.example:443: not resolved in time".to_owned()));

    let server = recite("", false).await;
    let error = get(&client, &server.url("/").replace("http:", "https:")).await.unwrap_err();
    assert_eq!(
        error,
        TransportError::Timeout(format!("{}: the TLS handshake did not finish", server.address))
    );
}

#[tokio::test]
async fn what_went_wrong_has_its_class_and_tells_no_secret() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let names = Names::with("empty.example", &[&[]]);
    let config = ClientConfig { response_headers_max: 10, response_head_bytes_max: 8_192, ..on_loopback() };
    let client = Client::with_resolver(config, names).unwrap();
    let many = "x-h: 1\r\n".repeat(11);
    let long = "l".repeat(20_000);
    let cases = [
        (format!("http://{closed}"), "unreachable"),
        ("http://unknown.example".to_owned(), "unreachable"),
        ("http://empty.example".to_owned(), "unreachable"),
        (recite("", true).await.url(""), "unreachable"),
        (recite("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", true).await.url(""), "unreachable"),
        (recite("SSH-2.0-OpenSSH_9.9\r\n", false).await.url(""), "protocol"),
        (recite("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", false).await.url(""), "protocol"),
        (
            recite("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", false).await.url(""),
            "protocol",
        ),
        (recite(format!("HTTP/1.1 200 OK\r\n{many}\r\n"), false).await.url(""), "protocol"),
        (recite(format!("HTTP/1.1 200 OK\r\nx: {long}\r\n\r\n"), false).await.url(""), "protocol"),
        (recite(format!("HTTP/1.1 200 OK\r\nx: {long}"), false).await.url(""), "protocol"),
        (recite("HTTP/1.1 400 no TLS here\r\n\r\n", false).await.url("").replace("http:", "https:"), "tls"),
    ];
    for (base, kind) in cases {
        let request = Request::post(format!("{base}/path-secret?query-secret"))
            .header("authorization", "Bearer header-secret")
            .body(Bytes::from("body-secret"))
            .unwrap();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn the_addresses_of_a_name_are_tried_in_order() {
    let server = serve(None, |_| async { ok("second") }).await;
    // Nobody listens on 127.0.0.2 at this port.
    let names = Names::with("two.example", &[&["127.0.0.2", "127.0.0.1"]]);
    let client = Client::with_resolver(on_loopback(), names).unwrap();
    let response = get(&client, &format!("http://two.example:{}/", server.address.port())).await.unwrap();
    assert_eq!(response.body(), "second");
}

#[tokio::test]
async fn settings_that_allow_nothing_are_named() {
    let error = Client::new(ClientConfig { connections_max: 0, ..ClientConfig::default() }).unwrap_err();
    let expected =
        "`connections_max` is 0, which allows nothing: set at least 1, or leave it out for the default";
    assert_eq!(error.to_string(), expected);
}

// finding: C15
#[tokio::test]
async fn a_name_that_does_not_resolve_is_reached_at_another_address() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hosts = Arc::clone(&seen);
    let server = serve(None, move |request: Seen| {
        hosts.lock().unwrap().push(request.head.headers["host"].to_str().unwrap().to_owned());
        async { Response::new(Full::default()) }
    })
    .await;
    let url = "http://events.invalid:8080/metadata";
    let connect_to = ConnectTo::new(&url.parse().unwrap(), &server.address.to_string()).unwrap();
    assert!(connect_to.is_loopback());
    let client = client(ClientConfig { connect_to: Some(connect_to), ..on_loopback() });
    assert_eq!(get(&client, url).await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), ["events.invalid:8080"]);
    // Another port of the same name is another server.
    assert!(matches!(get(&client, "http://events.invalid/").await, Err(TransportError::Unreachable(_))));
    for wrong in
        ["", "localhost", "localhost:", "localhost:x", "localhost:99999", "http://localhost:1", "a b:1"]
    {
        assert!(ConnectTo::new(&url.parse().unwrap(), wrong).is_err(), "{wrong}");
    }
}
