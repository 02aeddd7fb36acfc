//! TLS: which certificates and versions are good enough to send a body to.

use crate::world::{Names, Server, ok, on_loopback, recite, serve, until};
use bytes::Bytes;
use http::{Request, Version};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use secevent_http::{Client, ClientConfig, TlsConfig};
use secevent_ssf::{Transport, TransportError};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// A certificate authority of our own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The certificate of a server and how it speaks. Good in every way unless said otherwise.
pub(crate) struct Leaf {
    pub(crate) host: &'static str,
    pub(crate) expired: bool,
    pub(crate) serial: u8,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) alpn: &'static [&'static [u8]],
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            host: "receiver.example",
            expired: false,
            serial: 1,
            versions: vec![&TLS13, &TLS12],
            alpn: &[b"h2", b"http/1.1"],
        }
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "An authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn trusted(&self) -> TlsConfig {
        TlsConfig { extra_ca_pem: self.0.pem(), ..TlsConfig::default() }
    }

    pub(crate) fn server(&self, leaf: &Leaf) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params(leaf).signed_by(&key, &self.0).unwrap();
        server_config(leaf, certificate.der().clone(), &key)
    }

    fn revoke(&self, serial: u8) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(vec![serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

fn params(leaf: &Leaf) -> CertificateParams {
    let mut params = CertificateParams::new([leaf.host.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(vec![leaf.serial]));
    params.use_authority_key_identifier_extension = true;
    if leaf.expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    params
}

fn self_signed(leaf: &Leaf) -> rustls::ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = params(leaf).self_signed(&key).unwrap();
    server_config(leaf, certificate.der().clone(), &key)
}

fn server_config(leaf: &Leaf, certificate: CertificateDer<'static>, key: &KeyPair) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&leaf.versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = leaf.alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// Counts what a client sends that trusts `tls`: a body of 256 KiB to `receiver.example`.
async fn deliver(server: &Server, tls: TlsConfig) -> Result<http::Response<Bytes>, TransportError> {
    let names = Names::with("receiver.example", &[&["127.0.0.1"]]);
    let client = Client::with_resolver(ClientConfig { tls, ..on_loopback() }, names).unwrap();
    let url = format!("https://receiver.example:{}/events", server.address.port());
    let request = Request::post(url).header("host", "somebody.else.example");
    client.send(request.body(Bytes::from(vec![b'x'; BODY_BYTES])).unwrap()).await
}

async fn answering(config: rustls::ServerConfig) -> Server {
    serve(Some(config), |request| async move { ok(format!("{} bytes", request.body.len())) }).await
}

async fn assert_refused(server: &Server, tls: TlsConfig, told: &str) {
    let error = deliver(server, tls).await.unwrap_err();
    assert!(matches!(&error, TransportError::Tls(text) if text.contains(told)), "{error}");
    until("a failed handshake", || server.counts.handshakes_failed.load(Ordering::SeqCst) > 0).await;
    // The handshake is all that came; of the body, not a byte.
    assert_eq!(server.counts.requests(), 0);
    let bytes_read = server.counts.bytes_read.load(Ordering::SeqCst);
    assert!(bytes_read < 8 * 1024, "{bytes_read}");
}

// spec: SET-28, PUSH-35, POLL-36
#[tokio::test]
async fn a_certificate_for_another_host_is_refused_before_the_body() {
    let authority = Authority::new();
    for host in ["other.example", "example", "*.receiver.example", "127.0.0.1"] {
        let server = answering(authority.server(&Leaf { host, ..Leaf::default() })).await;
        assert_refused(&server, authority.trusted(), "not valid for name").await;
    }
}

// spec: PUSH-35
#[tokio::test]
async fn a_self_signed_certificate_is_refused_before_the_body() {
    let authority = Authority::new();
    assert_refused(&answering(self_signed(&Leaf::default())).await, authority.trusted(), "UnknownIssuer")
        .await;
    // As is one of an authority that is not ours.
    let stranger = Authority::new();
    assert_refused(
        &answering(stranger.server(&Leaf::default())).await,
        TlsConfig::default(),
        "UnknownIssuer",
    )
    .await;
}

// spec: INTEROP-02
#[tokio::test]
async fn expired_revoked_and_wrong_name_certificates_are_refused() {
    let authority = Authority::new();
    let expired = Leaf { expired: true, ..Leaf::default() };
    assert_refused(&answering(authority.server(&expired)).await, authority.trusted(), "expired").await;

    let lists = TlsConfig { revocation_lists_pem: authority.revoke(7), ..authority.trusted() };
    let revoked = Leaf { serial: 7, ..Leaf::default() };
    assert_refused(&answering(authority.server(&revoked)).await, lists.clone(), "Revoked").await;
    let other = Leaf { serial: 8, ..Leaf::default() };
    assert!(deliver(&answering(authority.server(&other)).await, lists.clone()).await.is_ok());

    let wrong = Leaf { host: "other.example", ..Leaf::default() };
    assert_refused(&answering(authority.server(&wrong)).await, authority.trusted(), "not valid for name")
        .await;
    // Lists do not switch the other checks off.
    assert_refused(&answering(authority.server(&wrong)).await, lists.clone(), "not valid for name").await;
    assert_refused(&answering(authority.server(&expired)).await, lists, "expired").await;
}

// spec: SET-28, PUSH-36
#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let only = Leaf { versions: vec![version], ..Leaf::default() };
        let server = answering(authority.server(&only)).await;
        let response = deliver(&server, authority.trusted()).await.unwrap();
        assert_eq!(*response.body(), format!("{BODY_BYTES} bytes"));
    }
}

// spec: PUSH-36
#[tokio::test]
async fn tls_1_1_is_neither_offered_nor_accepted() {
    // A server that knows TLS 1.1 and nothing newer: its hello names that version, and the cipher suite
    // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    let server = recite(hello, false).await;
    let error = deliver(&server, TlsConfig::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::Tls(_)), "{error}");
    assert!(error.to_string().contains("ServerDoesNotSupportTls12Or13"), "{error}");
    let bytes_read = server.counts.bytes_read.load(Ordering::SeqCst);
    assert!(bytes_read < 8 * 1024, "{bytes_read}");

    // And what we offer, as the other end reads it.
    let offer = TlsConfig::default().client_config().unwrap();
    let mut connection =
        rustls::ClientConnection::new(Arc::new(offer), "receiver.example".try_into().unwrap()).unwrap();
    let mut sent = Vec::new();
    connection.write_tls(&mut sent).unwrap();
    let supported_versions = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    assert!(sent.windows(supported_versions.len()).any(|window| window == supported_versions));
}

#[tokio::test]
async fn http2_when_both_can_and_http1_otherwise() {
    let authority = Authority::new();
    let cases: [(&'static [&'static [u8]], Version); 3] = [
        (&[b"h2", b"http/1.1"], Version::HTTP_2),
        (&[b"http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ];
    for (alpn, version) in cases {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let server = serve(Some(authority.server(&Leaf { alpn, ..Leaf::default() })), move |request| {
            keep.lock().unwrap().push(request.head);
            async { ok("done") }
        })
        .await;
        let response = deliver(&server, authority.trusted()).await.unwrap();
        assert_eq!((response.version(), response.body().as_ref()), (version, &b"done"[..]));
        let seen = seen.lock().unwrap();
        let host = format!("receiver.example:{}", server.address.port());
        let told = match seen[0].uri.authority() {
            Some(authority) => {
                assert!(!seen[0].headers.contains_key("host"));
                authority.to_string()
            }
            None => seen[0].headers["host"].to_str().unwrap().to_owned(),
        };
        assert_eq!((seen[0].version, seen[0].uri.path(), told), (version, "/events", host));
    }
}

const BODY_BYTES: usize = 256 * 1024;
