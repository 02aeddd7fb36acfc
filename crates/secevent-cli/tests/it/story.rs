//! The whole story over real TLS: two issuers on one server, two clients that know nothing of each other, and all that a
//! receiver does with its streams.

use crate::program::Place;
use crate::serve::{CONFIG, RealClock, Server};
use rcgen::generate_simple_self_signed;
use secevent::{EventType as _, Issuer, Set, Subject, caep::SessionRevoked};
use secevent_http::{Client, ClientConfig, Ports as OutgoingPorts, TlsConfig};
use secevent_receiver::{
    ClientError, Credentials, HandleError, Handler, Ports, Receiver, ReceiverConfig, Source,
    TransmitterClient,
};
use secevent_server::{Listening, ServerTls, receiver_router, serve_as};
use secevent_ssf::{BoxFuture, DeliveryRequest, Endpoint, Secret, Status, StreamId, UpdateStatus};
use secevent_store::{Epoch, MemoryStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long any one step may take before something is wrong.
const STEP_MAX: Duration = Duration::from_secs(60);

// spec: SSF-72, SSF-143, SSF-151, SSF-160, SSF-161
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_issuers_and_two_receivers_over_tls() {
    let world = World::open();
    let [a, b] = [world.issuer("a"), world.issuer("b")];
    // Published before anybody looks, used later.
    assert_eq!(world.place.run(&["key", "generate", a.as_str()]).code, 0);
    let mut shop = Application::open(&world, "shop", &a, &["push", "poll"]).await;
    let mut bank = Application::open(&world, "bank", &b, &["push"]).await;
    let (pushed, polled) = (shop.subscribe("push").await, shop.subscribe("poll").await);
    let banks = bank.subscribe("push").await;

    // Issuer a tells of nobody before somebody is added, issuer b of everybody.
    let alice = Subject::email("alice@example.com").unwrap();
    for stream in [&pushed, &polled] {
        shop.client.add_subject(stream, &alice, true).await.unwrap();
    }
    world.emit(&a, "mallory@example.com", "1");
    world.emit(&a, "alice@example.com", "2");
    world.emit(&b, "carol@example.com", "3");
    assert_eq!(shop.next(2).await, ["poll 2", "push 2"]);
    assert_eq!(bank.next(1).await, ["push 3"]);

    // Each is blind to the other, at either issuer.
    let stranger = world.client("bank", &a).await;
    assert_eq!(stranger.list().await.unwrap(), []);
    for id in [&pushed, &polled, &banks] {
        assert!(is_unknown(&stranger.read(id).await.unwrap_err()));
        assert!(is_unknown(&stranger.status(id).await.unwrap_err()));
        assert!(is_unknown(&stranger.delete(id).await.unwrap_err()));
        assert!(is_unknown(&stranger.verify(id, None).await.unwrap_err()));
        assert!(is_unknown(&stranger.remove_subject(id, &alice).await.unwrap_err()));
    }

    // The next key signs from here on, and is known already.
    assert_eq!(world.place.run(&["key", "rotate", a.as_str(), "--now"]).code, 0);
    world.emit(&a, "alice@example.com", "4");
    assert_eq!(shop.next(2).await, ["poll 4", "push 4"]);

    // What is held comes later, what happened while the stream was disabled never.
    shop.set_status(&polled, Status::Paused).await;
    world.emit(&a, "alice@example.com", "5");
    assert_eq!(shop.next(1).await, ["push 5"]);
    shop.set_status(&polled, Status::Enabled).await;
    assert_eq!(shop.next(1).await, ["poll 5"]);
    shop.set_status(&polled, Status::Disabled).await;
    world.emit(&a, "alice@example.com", "6");
    assert_eq!(shop.next(1).await, ["push 6"]);
    shop.set_status(&polled, Status::Enabled).await;
    shop.client.remove_subject(&pushed, &alice).await.unwrap();
    world.emit(&a, "alice@example.com", "7");
    assert_eq!(shop.next(1).await, ["poll 7"]);

    // And the end of it.
    for source in ["push", "poll"] {
        shop.receiver.unsubscribe(source).await.unwrap();
    }
    assert_eq!(shop.client.list().await.unwrap(), []);
    world.emit(&b, "carol@example.com", "8");
    assert_eq!(bank.next(1).await, ["push 8"], "the other one's stream is as it was");
    assert_eq!(shop.close().await, Vec::<String>::new(), "nothing came that was not asked for");
    assert_eq!(bank.close().await, Vec::<String>::new());
    assert_eq!(world.server.stop(), 0);
}

fn is_unknown(error: &ClientError) -> bool {
    error.status().is_some_and(|status| status == 404)
}

struct World {
    place: Place,
    server: Server,
    address: String,
    /// The certificate of the server, and that of the receivers with its key.
    certificate: String,
    receivers: (String, String),
}

impl World {
    fn open() -> Self {
        let place = Place::new();
        let pair = || generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (ours, theirs) = (pair(), pair());
        place.write("public.pem", ours.cert.pem());
        place.write("public.key", ours.signing_key.serialize_pem());
        place.write("receivers.pem", theirs.cert.pem());
        // Issuers are named by their address, so that it has to be known before the server has it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let issuer = |path: &str, subjects: &str| {
            format!("[[issuer]]\nurl = \"https://{address}/{path}\"\ndefault_subjects = \"{subjects}\"\n")
        };
        let more = "[server]\ntls = { certificate = \"public.pem\", key = \"public.key\" }\n\
                    [outgoing]\nextra_ca = \"receivers.pem\"\n";
        let bank = "[[client]]\nid = \"bank\"\nsecret = \"a secret of the bank\"\nscopes = [\"ssf.manage\"]\n\
                    audience = \"https://bank.example\"\n";
        place
            .write("secevent.toml", [more, CONFIG, bank, &issuer("a", "NONE"), &issuer("b", "ALL")].concat());
        let server = Server::start(&place, &address);
        let receivers = (theirs.cert.pem(), theirs.signing_key.serialize_pem());
        Self { place, server, address, certificate: ours.cert.pem(), receivers }
    }

    fn issuer(&self, path: &str) -> Issuer {
        format!("https://{}/{path}", self.address).parse().unwrap()
    }

    fn network(&self) -> Arc<Client> {
        let config = ClientConfig {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ports: OutgoingPorts::Any,
            tls: TlsConfig { extra_ca_pem: self.certificate.clone(), ..TlsConfig::default() },
            ..ClientConfig::default()
        };
        Arc::new(Client::new(config).unwrap())
    }

    fn peer(&self, client: &str, issuer: &Issuer) -> secevent_receiver::Peer {
        let mut peer = secevent_receiver::Peer::new(issuer.clone());
        peer.credentials = Credentials::ClientCredentials {
            token_endpoint: format!("https://{}/oauth/token", self.address).parse().unwrap(),
            client_id: client.to_owned(),
            secret: Secret::new(format!("a secret of the {client}")),
            scope: Some("ssf.manage".to_owned()),
        };
        peer
    }

    async fn client(&self, client: &str, issuer: &Issuer) -> TransmitterClient {
        let peer = self.peer(client, issuer);
        TransmitterClient::discover(&peer, self.network(), Arc::new(RealClock)).await.unwrap()
    }

    /// Tells of an event, marked with a `txn`.
    fn emit(&self, issuer: &Issuer, subject: &str, txn: &str) {
        let environment = [("SECEVENT_SECRET", "a secret of the idp"), ("SECEVENT_CA", "public.pem")];
        let event = ["emit", "caep:session-revoked", "--subject", subject, "--txn", txn];
        let access = ["--issuer", issuer.as_str(), "--client", "idp"];
        let ran = self.place.run_in(&environment, &[&event[..], &access].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

/// An application with its receiver, which is pushed to over TLS.
struct Application {
    receiver: Receiver,
    client: TransmitterClient,
    handed: mpsc::UnboundedReceiver<String>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Application {
    async fn open(world: &World, client: &str, issuer: &Issuer, ways: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/receive/push", listener.local_addr().unwrap());
        let source = |way: &&str| {
            let delivery = match *way {
                "push" => {
                    let credential = secevent_ssf::delivery::authorization("Bearer let-me-in").unwrap();
                    DeliveryRequest::push(url.parse::<Endpoint>().unwrap(), Some(credential))
                }
                _ => DeliveryRequest::poll(),
            };
            let mut source = Source::new(*way, issuer.clone(), delivery);
            source.peer = world.peer(client, issuer);
            source.audiences = vec![format!("https://{client}.example")];
            source.events_requested = vec![SessionRevoked::URI.to_owned()];
            source.description = Some(format!("{client} by {way}"));
            source
        };
        let config =
            ReceiverConfig { sources: ways.iter().map(source).collect(), ..ReceiverConfig::default() };
        let store = Arc::new(MemoryStore::new(Epoch(1)));
        let ports = Ports {
            transport: world.network(),
            inbox: Arc::clone(&store) as _,
            documents: store,
            clock: Arc::new(RealClock),
        };
        let (tell, handed) = mpsc::unbounded_channel();
        let receiver = Receiver::start(config, ports, Arc::new(Telling(tell))).await.unwrap();
        let tls = ServerTls::new(world.receivers.0.as_bytes(), world.receivers.1.as_bytes()).unwrap();
        let listening = Listening { tls: Some(tls), ..Listening::default() };
        let router = receiver_router([("push".to_owned(), receiver.push_endpoint("push").unwrap())]);
        let (stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_as(listener, router, listening, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        let client = world.client(client, issuer).await;
        Self { receiver, client, handed, stop, serving }
    }

    async fn subscribe(&self, source: &str) -> StreamId {
        let subscription = timeout(STEP_MAX, self.receiver.subscribe(source)).await.unwrap().unwrap();
        assert!(subscription.is_verified, "{subscription:?}");
        subscription.configuration.stream_id
    }

    async fn set_status(&self, stream: &StreamId, status: Status) {
        let update = UpdateStatus { stream_id: stream.clone(), status, reason: None };
        self.client.set_status(&update).await.unwrap();
    }

    /// What the application is handed next, in any order.
    async fn next(&mut self, count: usize) -> Vec<String> {
        let mut handed = Vec::new();
        while handed.len() < count {
            let next = timeout(STEP_MAX, self.handed.recv()).await;
            handed.push(next.unwrap_or_else(|_| panic!("only {handed:?} came")).unwrap());
        }
        handed.sort();
        handed
    }

    /// Ends it, and returns what it was handed beside.
    async fn close(mut self) -> Vec<String> {
        self.receiver.stop().await;
        self.stop.send_replace(true);
        self.serving.await.unwrap().unwrap();
        std::iter::from_fn(|| self.handed.try_recv().ok()).collect()
    }
}

/// Tells the way and the `txn` of each SET.
struct Telling(mpsc::UnboundedSender<String>);

impl Handler for Telling {
    fn handle<'a>(&'a self, set: &'a Set, source: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
        let told = format!("{} {}", source.name, set.claims().txn.as_deref().unwrap_or("-"));
        let told = self.0.send(told).map_err(|error| HandleError::Later(error.to_string()));
        Box::pin(async move { told })
    }
}
