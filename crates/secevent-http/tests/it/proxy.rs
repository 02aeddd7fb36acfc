//! Leaving through a proxy.

use crate::tls::{Authority, Leaf};
use crate::world::{Names, get, ok, on_loopback, serve};
use secevent_http::{Client, ClientConfig, ProxyConfig};
use secevent_ssf::{Secret, TransportError};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that leads every tunnel to one address, and keeps what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(leads_to: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let keep = Arc::clone(&keep);
                tokio::spawn(async move {
                    let mut tcp = BufReader::new(tcp);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") && tcp.read_line(&mut head).await.unwrap_or(0) > 0 {}
                    keep.lock().unwrap().push(head);
                    tcp.write_all(format!("HTTP/1.1 {answer}\r\nvia: a proxy\r\n\r\n").as_bytes())
                        .await
                        .unwrap();
                    if answer.starts_with("200") {
                        let mut beyond = TcpStream::connect(leads_to).await.unwrap();
                        drop(copy_bidirectional(&mut tcp, &mut beyond).await);
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn config(&self) -> ProxyConfig {
        ProxyConfig {
            url: format!("http://{}", self.address),
            credential: None,
            resolves: false,
            exceptions: Vec::new(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn client(config: ClientConfig, proxy: ProxyConfig) -> Client {
    let names = Names::with("receiver.example", &[&["127.0.0.1"]]);
    names.add("private.example", &[&["10.1.2.3"]]);
    Client::with_resolver(ClientConfig { proxy: Some(proxy), ..config }, names).unwrap()
}

/// SEM-23: the tunnel leads to the address that was vetted here; TLS is with the receiver, not with the proxy.
#[tokio::test]
async fn a_tunnel_leads_to_the_vetted_address() {
    let authority = Authority::new();
    let server = serve(Some(authority.server(&Leaf::default())), |_| async { ok("hello") }).await;
    let proxy = Proxy::start(server.address, "200 Connection established").await;
    let config = ClientConfig { tls: authority.trusted(), ..on_loopback() };
    let credential = Some(Secret::new("us:hush".to_owned()));
    let client = client(config, ProxyConfig { credential, ..proxy.config() });
    let url = format!("https://receiver.example:{}/", server.address.port());
    for _ in 0..2 {
        assert_eq!(get(&client, &url).await.unwrap().body(), "hello");
    }
    let [asked] = proxy.asked().try_into().unwrap();
    assert!(
        asked.starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", server.address.port())),
        "{asked}"
    );
    assert!(asked.contains("Proxy-Authorization: Basic dXM6aHVzaA==\r\n"), "{asked}");
    assert!(!format!("{client:?}").contains("hush"));

    // What the guard refuses, the proxy is not even asked.
    for refused in ["https://private.example/", "https://10.1.2.3/", "https://169.254.169.254/"] {
        let error = get(&client, refused).await.unwrap_err();
        assert!(matches!(error, TransportError::AddressRefused(_)), "{error}");
    }
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_proxy_may_resolve_names_and_some_destinations_pass_it_by() {
    let server = serve(None, |_| async { ok("hello") }).await;
    let proxy = Proxy::start(server.address, "200 OK").await;
    let port = server.address.port();
    let client = client(
        on_loopback(),
        ProxyConfig {
            resolves: true,
            exceptions: vec!["127.0.0.0/8".to_owned(), ".receiver.example".to_owned()],
            ..proxy.config()
        },
    );
    assert_eq!(get(&client, &format!("http://unknown.example:{port}/")).await.unwrap().body(), "hello");
    assert!(proxy.asked()[0].starts_with(&format!("CONNECT unknown.example:{port} ")), "{:?}", proxy.asked());
    // An address is vetted all the same.
    let error = get(&client, "http://10.1.2.3/").await.unwrap_err();
    assert!(matches!(error, TransportError::AddressRefused(_)), "{error}");
    for direct in [format!("http://127.0.0.1:{port}/"), format!("http://receiver.example:{port}/")] {
        assert_eq!(get(&client, &direct).await.unwrap().body(), "hello");
    }
    assert_eq!(proxy.asked().len(), 1);
}

/// A network is excepted by whatever name it is reached, as far as names are resolved here.
#[tokio::test]
async fn names_in_excepted_networks_pass_the_proxy_by() {
    let server = serve(None, |_| async { ok("hello") }).await;
    let url = format!("http://receiver.example:{}/", server.address.port());
    for (exception, resolves, asked) in [
        ("127.0.0.0/8", false, 0),
        ("127.0.0.1", false, 0),
        ("10.0.0.0/8", false, 1),
        ("127.0.0.0/8", true, 1),
    ] {
        let proxy = Proxy::start(server.address, "200 OK").await;
        let exceptions = vec![exception.to_owned()];
        let client = client(on_loopback(), ProxyConfig { resolves, exceptions, ..proxy.config() });
        assert_eq!(get(&client, &url).await.unwrap().body(), "hello");
        assert_eq!(proxy.asked().len(), asked, "{exception} {resolves}");
    }
}

/// What is written wrong is no name that nothing has.
#[test]
fn an_exception_that_is_none_is_refused() {
    let check = |exception: &str| {
        let proxy = ProxyConfig {
            url: "http://proxy.internal:3128".to_owned(),
            credential: None,
            resolves: false,
            exceptions: vec![exception.to_owned()],
        };
        ClientConfig { proxy: Some(proxy), ..ClientConfig::default() }
            .check()
            .map_err(|error| error.to_string())
    };
    for right in
        ["internal", ".internal", "Partner.Example", "10.20.0.0/16", "10.20.30.40", "fd00::/8", "::1"]
    {
        assert_eq!(check(right), Ok(()), "{right}");
    }
    for wrong in ["", ".", "10.20.0.0/33", "*.internal", "http://internal", "internal:8443", "a,b"] {
        let refused = check(wrong).unwrap_err();
        assert!(refused.contains(&format!("{wrong:?}")), "{refused}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_its_credential_is_not() {
    let server = serve(None, |_| async { ok("hello") }).await;
    for answer in ["407 Proxy Authentication Required", "502 Bad Gateway"] {
        let proxy = Proxy::start(server.address, answer).await;
        let credential = Some(Secret::new("us:hush".to_owned()));
        let client = client(on_loopback(), ProxyConfig { credential, ..proxy.config() });
        let error = get(&client, &format!("http://{}/", server.address)).await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, TransportError::Unreachable(_)), "{told}");
        assert!(told.contains(&proxy.address.to_string()) && told.contains(&answer[..3]), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }
    for url in ["https://proxy:3128", "http://proxy", "proxy:3128", "http://us:hush@proxy:3128"] {
        let proxy =
            ProxyConfig { url: url.to_owned(), credential: None, resolves: false, exceptions: Vec::new() };
        assert!(Client::new(ClientConfig { proxy: Some(proxy), ..on_loopback() }).is_err(), "{url}");
    }
}
