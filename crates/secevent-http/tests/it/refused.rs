//! Where the client does not go.

use crate::world::{Names, client, get, ok, on_loopback, serve, serve_at};
use bytes::Bytes;
use http::Uri;
use secevent_http::{Client, ClientConfig, Ports};
use secevent_ssf::{Transport as _, TransportError};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;

/// Hosts as they may stand in a URL. None of them is connected to, although a server listens on loopback.
const HOSTILE_HOSTS: &[&str] = &[
    // Loopback in its plain forms.
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    // Spellings only a lenient resolver takes for addresses: decimal, octal, hexadecimal, short, mixed.
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.0x1",
    "127.0.0.1.",
    "127.1.",
    "0",
    "0.0",
    "4294967296",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "1.1.1.1.1",
    "256.256.256.256",
    "foo.0x4",
    "foo.123",
    // "This network" reaches loopback on Linux.
    "0.0.0.0",
    "[::]",
    // IPv6 that stands for IPv4.
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::8.8.8.8]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::7f00:1]",
    "[64:ff9b:1::8.8.8.8]",
    "[2002:7f00:1::]",
    "[2002:808:808::1]",
    "[2001::7f00:1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    // Private, shared, local.
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.0.1",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%25lo]",
    // Metadata services.
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    // Reserved, multicast, documentation, benchmarking, protocol assignments.
    "0.1.2.3",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[100::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[4000::1]",
    "[ff02::1]",
    "[ff0e::1]",
    // User names that read like hosts, and characters that parsers disagree about.
    "8.8.8.8@127.0.0.1",
    "good.example@127.0.0.1",
    "good.example:443@[::1]",
    "user:secret@good.example",
    "@127.0.0.1",
    "127.0.0.1#@good.example",
    "127.0.0.1\\@good.example",
    "good.example\\.evil.example",
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "127.0.0.1%00.good.example",
    "good.example%2f@127.0.0.1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "[127.0.0.1]",
    "[::1",
    "[]",
    "-bad-.example",
    "a..b",
    ".",
    "..",
    "",
    // The usual names of loopback.
    "localhost",
    "LOCALHOST",
    "localhost.",
];

#[tokio::test]
async fn hostile_hosts_as_they_are_written() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let client = names_of_loopback();
    let mut not_even_parsed = 0;
    for host in HOSTILE_HOSTS {
        let url = format!("http://{host}:{}/", server.address.port());
        let Ok(uri) = url.parse::<Uri>() else {
            not_even_parsed += 1;
            continue;
        };
        assert!(client.check_url(&uri).is_err(), "{host}");
        let request = http::Request::get(uri).body(Bytes::new());
        let Ok(request) = request else { continue };
        let error = secevent_ssf::Transport::send(&client, request).await.unwrap_err();
        assert!(matches!(error, TransportError::AddressRefused(_)), "{host}: {error}");
    }
    assert_eq!(server.counts.accepted(), 0);
    assert!(
        HOSTILE_HOSTS.len() - not_even_parsed >= 100,
        "{not_even_parsed} of {} not parsed",
        HOSTILE_HOSTS.len()
    );
}

/// `url` reads the odd spellings as addresses, as browsers do. What comes out is judged like any other address.
#[tokio::test]
async fn hostile_hosts_after_the_url_parser() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let client = names_of_loopback();
    let mut checked = 0;
    for host in HOSTILE_HOSTS {
        let Ok(url) = url::Url::parse(&format!("http://{host}:{}/", server.address.port())) else { continue };
        let error = get(&client, url.as_str()).await.unwrap_err();
        assert!(matches!(error, TransportError::AddressRefused(_)), "{host} as {url}: {error}");
        let refused = client.check_url(&url.as_str().parse().unwrap()).is_err();
        assert!(refused || url.host_str() == Some("good.example"), "{host} as {url}");
        checked += 1;
    }
    assert_eq!(server.counts.accepted(), 0);
    assert!(checked >= 80, "{checked}");

    let normal = |url: &str| url::Url::parse(url).unwrap().host_str().unwrap().to_owned();
    for spelling in
        ["0x7f.1", "0177.0.0.1", "2130706433", "127.1", "%31%32%37.0.0.1", "\u{2460}\u{2461}\u{2466}.0.0.1"]
    {
        assert_eq!(normal(&format!("http://{spelling}/")), "127.0.0.1", "{spelling}");
    }
}

/// A client that may go to public addresses only, and a resolver that knows the names in the table.
fn names_of_loopback() -> Client {
    let names = Names::with("localhost", &[&["127.0.0.1"]]);
    names.add("localhost.", &[&["::1"]]);
    // `url` ends the authority at a backslash, which leaves this name.
    names.add("good.example", &[&["10.0.0.1"]]);
    Client::with_resolver(ClientConfig { allow_networks: Vec::new(), ..on_loopback() }, names).unwrap()
}

#[tokio::test]
async fn localhost_as_the_operating_system_resolves_it() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let strict = client(ClientConfig { allow_networks: Vec::new(), ..on_loopback() });
    let error = get(&strict, &url).await.unwrap_err();
    assert!(matches!(error, TransportError::AddressRefused(_)), "{error}");
    let networks = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let allowed = client(ClientConfig { allow_networks: networks, ..on_loopback() });
    assert_eq!(get(&allowed, &url).await.unwrap().body(), "reached");
}

#[tokio::test]
async fn names_are_judged_by_every_address_they_have() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let cases: &[&[&str]] = &[
        &["127.0.0.1"],
        &["::1"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["fe80::1"],
        &["0.0.0.0"],
        // One good address does not excuse a bad one, wherever it stands.
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["2606:4700::1111", "8.8.8.8", "fd00::1"],
    ];
    for answer in cases {
        let names = Names::with("receiver.example", &[answer]);
        let client =
            Client::with_resolver(ClientConfig { allow_networks: Vec::new(), ..on_loopback() }, names)
                .unwrap();
        let url = format!("http://receiver.example:{}/", server.address.port());
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, TransportError::AddressRefused(_)), "{answer:?}: {error}");
    }
    assert_eq!(server.counts.accepted(), 0);
}

/// DNS rebinding: good at the first look-up, bad at the second. 127.0.0.1 stands for the public address.
#[tokio::test]
async fn a_name_is_looked_up_once_per_connection_and_each_answer_is_judged() {
    let server = serve(None, |_| async {
        let mut response = ok("first");
        response.headers_mut().insert("connection", "close".parse().unwrap());
        response
    })
    .await;
    let names = Names::with("rebind.example", &[&["127.0.0.1"], &["127.0.0.2"]]);
    let config = ClientConfig { allow_networks: vec!["127.0.0.1/32".parse().unwrap()], ..on_loopback() };
    let client = Client::with_resolver(config, names.clone()).unwrap();
    let url = format!("http://rebind.example:{}/", server.address.port());

    // The address that was vetted is the one connected to: no second look-up comes in between.
    assert_eq!(get(&client, &url).await.unwrap().body(), "first");
    assert_eq!(names.lookups.load(Ordering::SeqCst), 1);

    let error = get(&client, &url).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.2") && error.contains("loopback"), "{error}");
    assert_eq!(names.lookups.load(Ordering::SeqCst), 2);
    assert_eq!(server.counts.accepted(), 1);
}

#[tokio::test]
async fn networks_that_are_allowed() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let names = Names::with("receiver.example", &[&["127.0.0.1"]]);
    names.add("receiver.example.", &[&["::ffff:127.0.0.1"]]);
    let client = Client::with_resolver(on_loopback(), names).unwrap();
    let port = server.address.port();
    for host in
        ["127.0.0.1", "[::ffff:127.0.0.1]", "receiver.example", "RECEIVER.example", "receiver.example."]
    {
        let response = get(&client, &format!("http://{host}:{port}/")).await;
        assert_eq!(response.unwrap().body(), "reached", "{host}");
    }
    // Allowed or not, an odd spelling is no address.
    for host in ["127.1", "0x7f.1", "127.0.0.1."] {
        let error = get(&client, &format!("http://{host}:{port}/")).await.unwrap_err();
        assert!(matches!(error, TransportError::AddressRefused(_)), "{host}: {error}");
    }
}

#[tokio::test]
async fn ports_are_listed_even_inside_allowed_networks() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let listed = Ports::Only([server.address.port()].into());
    assert!(get(&client(ClientConfig { ports: listed, ..on_loopback() }), &server.url("/")).await.is_ok());
    let error = get(&client(ClientConfig { ports: Ports::default(), ..on_loopback() }), &server.url("/"))
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("has a port that is not allowed"), "{error}");
    assert_eq!(server.counts.accepted(), 1);
}

// finding: B20
#[test]
fn a_url_is_judged_by_itself_as_far_as_it_decides() {
    let check = |config: &ClientConfig, url: &str| {
        config.check_url(&url.parse().unwrap()).map_err(|refused| refused.to_string())
    };
    let refused = |told: &str| Err(told.to_owned());
    let public = ClientConfig::default();
    for (url, expected) in [
        ("https://rp.example/events", Ok(())),
        ("https://8.8.8.8/events", Ok(())),
        ("https://localhost.example/", Ok(())),
        ("https://rp.example:8443/", refused("rp.example:8443 has a port that is not allowed")),
        ("https://10.0.0.1/", refused("10.0.0.1:443 is not global unicast (private use)")),
        ("https://[fd00::1]/", refused("[fd00::1]:443 is not global unicast (unique local)")),
        ("https://localhost/", refused("[::1]:443 is not global unicast (loopback)")),
        ("https://a.LOCALHOST./", refused("[::1]:443 is not global unicast (loopback)")),
        ("https://169.254.169.254/", refused("169.254.169.254:443 is a cloud's metadata service")),
        ("http://rp.example/", refused("plain http is not allowed")),
        ("https://user@rp.example/", refused("the URL carries a user name or password")),
    ] {
        assert_eq!(check(&public, url), expected, "{url}");
    }
    let within = ClientConfig {
        allow_networks: vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()],
        ports: Ports::Only([443, 8443].into()),
        own_listeners: vec!["10.0.0.9:8443".parse().unwrap()],
        ..ClientConfig::default()
    };
    for (url, expected) in [
        ("https://10.0.0.1:8443/", Ok(())),
        ("https://localhost/", Ok(())),
        ("https://10.0.0.9/", Ok(())),
        ("https://10.0.0.9:8443/", refused("10.0.0.9:8443 is one of our own listeners")),
        ("https://192.168.0.1/", refused("192.168.0.1:443 is not global unicast (private use)")),
    ] {
        assert_eq!(check(&within, url), expected, "{url}");
    }
}

#[tokio::test]
async fn own_listeners_are_refused_inside_allowed_networks() {
    let server = serve(None, |_| async { ok("reached") }).await;
    let port = server.address.port();
    let both: Vec<_> = ["127.0.0.0/8", "::/0", "0.0.0.0/0"].map(|network| network.parse().unwrap()).to_vec();
    let owns: [SocketAddr; 3] = [
        server.address,
        SocketAddr::new("0.0.0.0".parse().unwrap(), port),
        SocketAddr::new("::".parse().unwrap(), port),
    ];
    for own in owns {
        let names = Names::with("me.example", &[&["127.0.0.1"]]);
        let config = ClientConfig { own_listeners: vec![own], allow_networks: both.clone(), ..on_loopback() };
        let client = Client::with_resolver(config, names).unwrap();
        for host in
            ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "[64:ff9b::127.0.0.1]", "me.example"]
        {
            let error = get(&client, &format!("http://{host}:{port}/")).await.unwrap_err().to_string();
            assert!(error.ends_with("is one of our own listeners"), "{own} {host}: {error}");
        }
    }
    assert_eq!(server.counts.accepted(), 0);
}

/// A listener on every address of the machine is also found behind those that nobody told us about.
#[tokio::test]
async fn a_wildcard_listener_is_recognised_by_any_address_of_the_machine() {
    let Some(mine) = address_of_this_machine() else {
        eprintln!("this machine has loopback only: nothing to show");
        return;
    };
    let server = serve_at("0.0.0.0:0", None, |_| async { ok("reached") }).await;
    let url = format!("http://{}/", SocketAddr::new(mine, server.address.port()));
    let config = ClientConfig { allow_networks: vec![mine.into()], ..on_loopback() };
    assert!(get(&client(config.clone()), &url).await.is_ok());

    let error =
        get(&client(ClientConfig { own_listeners: vec![server.address], ..config }), &url).await.unwrap_err();
    assert!(error.to_string().ends_with("is one of our own listeners"), "{error}");
    assert_eq!(server.counts.requests(), 1);
}

/// Asks the routing table; nothing is sent.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn urls_that_lead_nowhere() {
    let strict = client(ClientConfig::default());
    for (url, reason) in [
        ("http://8.8.8.8/", "plain http is not allowed"),
        ("ftp://8.8.8.8/", "the scheme of the URL is neither https nor http"),
        ("/events", "the URL is not absolute"),
        ("8.8.8.8:443", "the URL is not absolute"),
        ("https://someone:secret@8.8.8.8/", "the URL carries a user name or password"),
        ("https://8.8.8.8:8443/?token=secret", "8.8.8.8:8443: 8.8.8.8:8443 has a port that is not allowed"),
    ] {
        let error = get(&strict, url).await.unwrap_err();
        assert_eq!(error, TransportError::AddressRefused(reason.to_owned()), "{url}");
    }
}
