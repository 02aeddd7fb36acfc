//! Access tokens that are fetched for receivers, and certificates that are shown to them.

use crate::world::{Server, on_loopback, serve};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rcgen::generate_simple_self_signed;
use secevent_http::{
    ClientConfig, ConfigError, Credentialed, Identity, OAuth, Proof, PushCredential, SecretPlace, TlsConfig,
};
use secevent_ssf::{OnBehalfOf, ResponseTime, Secret, Transport as _, TransportError};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore};

/// An authorization server that gives tokens `t1`, `t2` and so on, and keeps what it was asked.
struct TokenServer {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
    status: Arc<Mutex<u16>>,
}

impl TokenServer {
    async fn start(expires_in: u64) -> Self {
        let (asked, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(200)));
        let (keep, told) = (Arc::clone(&asked), Arc::clone(&status));
        let server = serve(None, move |seen| {
            let authorization =
                seen.head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let mut asked = keep.lock().unwrap();
            asked.push(format!(
                "{} {}",
                authorization.unwrap_or_default(),
                String::from_utf8_lossy(&seen.body)
            ));
            let token = format!(
                r#"{{"access_token":"t{}","token_type":"Bearer","expires_in":{expires_in}}}"#,
                asked.len()
            );
            let answer = answer(*told.lock().unwrap(), token);
            async move { answer }
        })
        .await;
        Self { server, asked, status }
    }

    fn oauth(&self, place: SecretPlace) -> Proof {
        Proof::OAuth(OAuth {
            token_url: format!("http://{}/token", self.server.address).parse().unwrap(),
            client_id: "us".to_owned(),
            secret: Secret::new("hush & hush".to_owned()),
            scope: Some("events".to_owned()),
            place,
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A receiver that takes these tokens.
async fn receiver(takes: impl Fn(&str) -> bool + Send + Sync + 'static) -> (Server, Arc<AtomicUsize>) {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let server = serve(None, move |seen| {
        let value = seen.head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let value = value.unwrap_or_default();
        let answer = match takes(&value) {
            true => answer(202, String::new()),
            false => {
                count.fetch_add(1, SeqCst);
                answer(401, format!("you said {value}"))
            }
        };
        async move { answer }
    })
    .await;
    (server, refused)
}

fn answer(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap()
}

fn for_client(name: &str, proof: Proof) -> PushCredential {
    PushCredential { client: Some(name.to_owned()), endpoint: None, proof }
}

fn push(server: &Server, client: &str) -> Request<Bytes> {
    let request = Request::post(format!("http://{}/events", server.address));
    let request = request.header("authorization", "Bearer of-the-stream");
    request.extension(OnBehalfOf(client.to_owned())).body(Bytes::from("a SET")).unwrap()
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_pushes_and_for_the_right_ones() {
    let tokens = TokenServer::start(3600).await;
    let (server, _) = receiver(|value| value == "Bearer t1").await;
    let credentials = vec![for_client("billing", tokens.oauth(SecretPlace::Basic))];
    let transport = Arc::new(Credentialed::new(&on_loopback(), credentials).unwrap());
    let pushes: Vec<_> = (0..20)
        .map(|_| {
            let (transport, request) = (Arc::clone(&transport), push(&server, "billing"));
            tokio::spawn(async move { transport.send(request).await.unwrap().status() })
        })
        .collect();
    for push in pushes {
        assert_eq!(push.await.unwrap(), 202);
    }
    let basic = "Basic dXM6aHVzaCslMjYraHVzaA=="; // us:hush+%26+hush
    assert_eq!(tokens.asked(), [format!("{basic} grant_type=client_credentials&scope=events")]);
    // Others are sent as they are.
    let (other, _) = receiver(|value| value == "Bearer of-the-stream").await;
    assert_eq!(transport.send(push(&other, "shop")).await.unwrap().status(), 202);
    assert_eq!(tokens.asked().len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_thrown_away_once() {
    let tokens = TokenServer::start(3600).await;
    let (server, refused) = receiver(|value| value == "Bearer t2").await;
    let credentials = vec![for_client("billing", tokens.oauth(SecretPlace::Post))];
    let transport = Credentialed::new(&on_loopback(), credentials).unwrap();
    for _ in 0..2 {
        assert_eq!(transport.send(push(&server, "billing")).await.unwrap().status(), 202);
    }
    assert_eq!((tokens.asked().len(), refused.load(SeqCst)), (2, 1));
    assert!(tokens.asked()[0].ends_with("&client_id=us&client_secret=hush+%26+hush"), "{:?}", tokens.asked());

    // Who takes none gets two, and the answer is told without what it repeats.
    let (server, refused) = receiver(|_| false).await;
    let response = transport.send(push(&server, "billing")).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().len()), (401, 0));
    assert_eq!((tokens.asked().len(), refused.load(SeqCst)), (3, 2));
}

#[tokio::test]
async fn a_token_that_ends_is_fetched_anew() {
    let tokens = TokenServer::start(0).await;
    let (server, _) = receiver(|_| true).await;
    let transport =
        Credentialed::new(&on_loopback(), vec![for_client("billing", tokens.oauth(SecretPlace::Basic))])
            .unwrap();
    for count in 1..=3 {
        transport.send(push(&server, "billing")).await.unwrap();
        assert_eq!(tokens.asked().len(), count);
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_no_secret_told() {
    let tokens = TokenServer::start(3600).await;
    *tokens.status.lock().unwrap() = 400;
    let (server, _) = receiver(|_| true).await;
    let transport =
        Credentialed::new(&on_loopback(), vec![for_client("billing", tokens.oauth(SecretPlace::Basic))])
            .unwrap();
    for _ in 0..5 {
        let error = transport.send(push(&server, "billing")).await.unwrap_err();
        assert!(matches!(error, TransportError::Credentials(_)), "{error}");
        let told = error.to_string();
        assert!(told.contains("400") && !told.contains("hush") && !told.contains("t1"), "{told}");
    }
    assert_eq!(server.counts.requests(), 0);
    assert_eq!(tokens.asked().len(), 1, "a failure stands for a moment");
}

/// A token endpoint that does not answer is no receiver that does not: that is told while somebody waits to hear it.
#[tokio::test]
async fn a_token_endpoint_that_does_not_answer_is_told_in_time() {
    // What is connected to and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let oauth = Proof::OAuth(OAuth {
        token_url: format!("http://{}/token", silent.local_addr().unwrap()).parse().unwrap(),
        client_id: "us".to_owned(),
        secret: Secret::new("hush".to_owned()),
        scope: None,
        place: SecretPlace::Basic,
    });
    let (server, _) = receiver(|_| true).await;
    let transport = Credentialed::new(&on_loopback(), vec![for_client("billing", oauth)]).unwrap();
    let patience = Duration::from_secs(2);
    let send = async || {
        let mut request = push(&server, "billing");
        request.extensions_mut().insert(ResponseTime(patience));
        tokio::time::timeout(patience, transport.send(request)).await.expect("in time").unwrap_err()
    };
    let first = send().await;
    assert!(matches!(first, TransportError::Credentials(_)), "{first}");
    assert_eq!(send().await, first, "it is remembered");
    assert_eq!(server.counts.requests(), 0);
}

/// The token endpoint is reached through the guard like everything else (SEM-23).
#[tokio::test]
async fn a_token_endpoint_at_a_private_address_is_refused() {
    let oauth = Proof::OAuth(OAuth {
        token_url: "http://10.1.2.3/token".parse().unwrap(),
        client_id: "us".to_owned(),
        secret: Secret::new("hush".to_owned()),
        scope: None,
        place: SecretPlace::Basic,
    });
    let (server, _) = receiver(|_| true).await;
    let transport = Credentialed::new(&on_loopback(), vec![for_client("billing", oauth)]).unwrap();
    let error = transport.send(push(&server, "billing")).await.unwrap_err();
    assert!(error.to_string().contains("10.1.2.3"), "{error}");
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_gets_it() {
    let (theirs, ours) = (pair("127.0.0.1"), pair("secevent"));
    let mut roots = RootCertStore::empty();
    roots.add(ours.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(
            vec![theirs.cert.der().clone()],
            PrivateKeyDer::Pkcs8(theirs.signing_key.serialize_der().into()),
        )
        .unwrap();
    let server = serve(Some(config), |_| async { answer(202, String::new()) }).await;
    let identity =
        Identity { certificate_pem: ours.cert.pem(), key_pem: Secret::new(ours.signing_key.serialize_pem()) };
    assert!(!format!("{identity:?}").contains("PRIVATE"));
    let url = format!("https://{}/events", server.address);
    let credential = PushCredential {
        client: None,
        endpoint: Some(url.parse().unwrap()),
        proof: Proof::Identity(Box::new(identity)),
    };
    let mut config = on_loopback();
    config.tls = TlsConfig { extra_ca_pem: theirs.cert.pem(), ..TlsConfig::default() };
    let transport = Credentialed::new(&config, vec![credential]).unwrap();
    let request = |path: &str| Request::post(format!("{url}{path}")).body(Bytes::new()).unwrap();
    assert_eq!(transport.send(request("/a")).await.unwrap().status(), 202);
    let error = transport.send(request("-of-others")).await.unwrap_err();
    assert!(matches!(error, TransportError::Tls(_)), "{error}");

    // One that the receiver does not know is shown at once, whatever was connected before; and the old one again.
    let stranger = pair("secevent");
    let told = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| Identity {
        certificate_pem: pair.cert.pem(),
        key_pem: Secret::new(pair.signing_key.serialize_pem()),
    };
    transport.renew(0, told(&stranger)).unwrap();
    assert!(transport.send(request("/a")).await.is_err());
    let torn = Identity { key_pem: told(&stranger).key_pem, ..told(&ours) };
    assert!(matches!(transport.renew(0, torn), Err(ConfigError::Pem { setting: "key", .. })));
    assert!(matches!(transport.renew(1, told(&ours)), Err(ConfigError::NoCertificate)));
    transport.renew(0, told(&ours)).unwrap();
    assert_eq!(transport.send(request("/a")).await.unwrap().status(), 202);
}

/// Whatever they show, all have the connections of one process; an idle one of another makes room.
#[tokio::test]
async fn credentials_share_the_bound_of_connections() {
    let server = serve(None, |_| async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        answer(202, String::new())
    })
    .await;
    let identity = |name: &str| {
        let ours = pair(name);
        let key_pem = Secret::new(ours.signing_key.serialize_pem());
        let identity = Identity { certificate_pem: ours.cert.pem(), key_pem };
        for_client(name, Proof::Identity(Box::new(identity)))
    };
    let config = ClientConfig { connections_max: 1, ..on_loopback() };
    let transport = Credentialed::new(&config, vec![identity("billing"), identity("shop")]).unwrap();
    let send = |client: &str| transport.send(push(&server, client));
    let soon = async {
        let (one, two, three) = tokio::join!(send("billing"), send("shop"), send("others"));
        [one, two, three].into_iter().for_each(|response| assert_eq!(response.unwrap().status(), 202));
        for client in ["billing", "shop", "others"] {
            assert_eq!(send(client).await.unwrap().status(), 202);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), soon).await.expect("nobody waits until one is too old");
    assert_eq!(server.counts.busy_max.load(SeqCst), 1);
}

fn pair(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed([name.to_owned()]).unwrap()
}
