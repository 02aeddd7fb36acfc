//! `secevent demo`: the whole way of a security event, with real parts on this machine.
//!
//! Nothing here is played: the transmitter is the one that `serve` runs, the receiver is `secevent-receiver` behind
//! a server of its own, and every line about the wire is told by the transport that sent the request.

mod tap;

use crate::clock::SystemClock;
use crate::config::{AdminListen, File, Overrides, StoreLimits};
use crate::node::{Ending, Node, open_store};
use crate::output::{BOLD, DIM, GOOD};
use anstream::println;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Args;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use rand::RngExt as _;
use secevent::caep::SessionRevoked;
use secevent::{Audience, ByLanguage, EventType as _, Issuer, Set};
use secevent_http::{Client, ClientConfig as OutgoingConfig, Ports as OutgoingPorts};
use secevent_receiver::{
    AuthorizationServer, ClientError, Credentials, HandleError, Handler, Peer, Ports, Receiver,
    ReceiverConfig, Source, TransmitterClient,
};
use secevent_server::{ClientConfig, Scope, receiver_router, serve};
use secevent_ssf::{
    BoxFuture, DeliveryRequest, Endpoint, Secret, StreamId, Tolerance, TransmitterMetadata, Transport,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tap::{Lines, Tap};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// See a security event travel: a transmitter, a receiver, push and poll, on this machine.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  Watch it, and go on by hand:
    secevent demo

  Only the story, for scripts; ends with 0 when all of it happened:
    secevent demo --exit")]
pub(crate) struct Demo {
    /// End when the story is told
    #[arg(long)]
    exit: bool,
}

/// The demo's names.
const PRODUCER: &str = "identity-provider";
/// The same in the story.
const PRODUCER_SHOWN: &str = "identity provider";
const SHOP: &str = "shop";
const AUDIENCE: &str = "https://shop.example";
/// How long any one step may take before the demo says that something is wrong.
const STEP_MAX: Duration = Duration::from_secs(20);

/// Tells the story, and stays until Ctrl-C.
pub(crate) async fn run(args: Demo) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder for the demo's stores")?;
    let secrets = Secrets::new();

    println!("{BOLD}secevent{BOLD:#}: a security event travels from one system to another.\n");
    let lines = Arc::new(Lines::default());
    let node = start_transmitter(folder.path(), &secrets, &lines).await?;
    let issuer =
        Issuer::parse_insecure(&format!("http://{}", node.address())).expect("an address makes a URL");
    let shop = Shop::open(folder.path(), &issuer, &secrets, &lines).await?;
    println!(
        "  A transmitter listens on {BOLD}{issuer}{BOLD:#}, a receiver on {BOLD}http://{}{BOLD:#}.",
        shop.address
    );
    println!("  {DIM}Each has its own SQLite file in {}.{DIM:#}", folder.path().display());

    title(1, "The receiver knows one address. It finds the transmitter, and asks to be pushed to.");
    let (shop, mut told) = shop.start().await?;
    let pushed = subscribe(&shop.receiver, "push").await?;
    settled(&node, &issuer, &pushed).await?;
    done(&format!(
        "stream {} is verified: the transmitter reaches us, and we can check what it signs",
        short(&pushed)
    ));

    title(2, "The same receiver wants a second stream, one that it polls.");
    let polled = subscribe(&shop.receiver, "poll").await?;
    settled(&node, &issuer, &polled).await?;
    done(&format!("stream {} is verified", short(&polled)));

    title(3, "Somebody stole Alice's laptop. Her identity provider ends her sessions, and says so once.");
    let event = json!({
        "type": SessionRevoked::NAME,
        "subject": { "format": "email", "email": "alice@example.com" },
        "data": {
            "initiating_entity": "admin",
            "reason_admin": { "en": "laptop reported stolen" },
            "reason_user": { "en": "You were signed out because your laptop was reported stolen." },
        },
    });
    // Deliveries begin before the producer has its answer.
    lines.keep_but(PRODUCER_SHOWN);
    let emitted = emit(&issuer, &secrets, &event, &lines).await;
    if emitted.is_ok() {
        done("it is on disk, with one delivery for each stream; only now does the producer get its answer");
    }

    if emitted.is_ok() {
        title(4, "Both streams deliver. The receiver checks each token, stores it, and only then says so.");
    }
    lines.release();
    emitted?;
    let mut handed = Vec::new();
    while handed.len() < 2 {
        let next = timeout(STEP_MAX, told.recv()).await.context("an event was not delivered in time")?;
        handed.push(next.context("the receiver ended")?);
    }
    for stream in [&pushed, &polled] {
        settled(&node, &issuer, stream).await?;
    }
    handed.sort_by_key(|handed| handed.source != "push");
    for Handed { source, set } in &handed {
        tell_handed(source, set);
    }
    ensure!(handed[0].source == "push" && handed[1].source == "poll", "one stream delivered twice");
    done("pushed: answered 202. polled: acknowledged. Nothing is owed to the receiver any more");

    let stopping = async {
        // The receiver first: its long poll ends with the transmitter otherwise.
        shop.stop().await?;
        node.stop().await
    };
    if args.exit {
        stopping.await?;
        println!("\n{GOOD}The story is told.{GOOD:#}");
        return Ok(());
    }
    let mut ending = Ending::listen()?;
    go_on_by_hand(&issuer, &secrets);
    let watched = async {
        while let Some(Handed { source, set }) = told.recv().await {
            tell_handed(&source, &set);
        }
    };
    tokio::select! {
        () = ending.asked() => println!(),
        () = watched => {}
    }
    ending.stop(stopping).await
}

/// Waits until the transmitter owes nothing to a stream: what went over the network by then is told.
async fn settled(node: &Node, issuer: &Issuer, stream: &StreamId) -> anyhow::Result<()> {
    let settled = timeout(STEP_MAX, node.all_settled(issuer, SHOP, stream)).await;
    settled.context("a SET was not acknowledged in time")?
}

/// The secrets that a configuration would hold; the demo draws its own.
struct Secrets {
    producer: String,
    shop: String,
    push: String,
    master_key: String,
}

impl Secrets {
    fn new() -> Self {
        let draw = || format!("{:032x}", rand::rng().random::<u128>());
        Self { producer: draw(), shop: draw(), push: draw(), master_key: draw() + &draw() }
    }
}

/// Starts the transmitter that `serve --dev` would start, with two clients.
async fn start_transmitter(folder: &Path, secrets: &Secrets, lines: &Arc<Lines>) -> anyhow::Result<Node> {
    // The usual port if it is free, so that the commands at the end are short; else any.
    let listener = match TcpListener::bind("127.0.0.1:8080").await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("127.0.0.1:0").await.context("there is no free port on loopback")?,
    };
    let database = folder.join("transmitter.db");
    let file = File::parse(&format!("[secrets]\nkey = \"{}\"", secrets.master_key))?;
    let mut settings = file.settle(Overrides {
        listen: Some(listener.local_addr()?),
        admin_listen: Some(AdminListen::Off),
        store: Some(format!("sqlite:{}", database.display())),
        dev: true,
        ..Overrides::default()
    })?;
    let client = |id: &str, secret: &str, scope| {
        ClientConfig::new(id, secret, vec![scope], Audience::One(AUDIENCE.to_owned()))
    };
    settings.clients.push(client(PRODUCER, &secrets.producer, Scope::Write));
    settings.clients.push(client(SHOP, &secrets.shop, Scope::Manage));
    let tap = |transport| Arc::new(Tap::new("transmitter", lines, transport)) as Arc<dyn Transport>;
    Node::start_with(settings, listener, None, tap).await
}

/// The receiver's side, before it runs.
struct Shop {
    address: std::net::SocketAddr,
    listener: TcpListener,
    store: Arc<dyn secevent_store::Store>,
    transport: Arc<Tap>,
    issuer: Issuer,
    secret: String,
    push_secret: String,
}

/// The receiver at work.
struct OpenShop {
    receiver: Receiver,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// A SET that the application was handed.
struct Handed {
    source: String,
    set: Set,
}

impl Shop {
    async fn open(
        folder: &Path,
        issuer: &Issuer,
        secrets: &Secrets,
        lines: &Arc<Lines>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("there is no free port on loopback")?;
        let address = listener.local_addr()?;
        let tap = Tap::new("receiver", lines, Arc::new(loopback_client()?));
        Ok(Self {
            address,
            listener,
            store: open_store(&folder.join("receiver.db"), StoreLimits::default())?,
            transport: Arc::new(tap),
            issuer: issuer.clone(),
            secret: secrets.shop.clone(),
            push_secret: secrets.push.clone(),
        })
    }

    async fn start(self) -> anyhow::Result<(OpenShop, mpsc::UnboundedReceiver<Handed>)> {
        let credentials =
            credentials(&*self.transport, &self.issuer, SHOP, &self.secret, Scope::Manage).await?;
        let push_url = Endpoint::parse_insecure(&format!("http://{}/receive/push", self.address))?;
        let push_secret = secevent_ssf::delivery::authorization(&format!("Bearer {}", self.push_secret))?;
        let source = |name: &str, delivery| {
            let mut source = Source::new(name, self.issuer.clone(), delivery);
            source.peer.tolerance.plain_http = true;
            source.peer.credentials = credentials.clone();
            source.audiences = vec![AUDIENCE.to_owned()];
            source.events_requested = vec![SessionRevoked::URI.to_owned()];
            source.description = Some(format!("the shop's {name} stream"));
            source
        };
        let config = ReceiverConfig {
            sources: vec![
                source("push", DeliveryRequest::push(push_url, Some(push_secret))),
                source("poll", DeliveryRequest::poll()),
            ],
            ..ReceiverConfig::default()
        };
        let ports = Ports {
            transport: self.transport,
            inbox: Arc::clone(&self.store) as _,
            documents: self.store as _,
            clock: Arc::new(SystemClock),
        };
        let (tell, told) = mpsc::unbounded_channel();
        let receiver = Receiver::start(config, ports, Arc::new(Application(tell))).await?;
        let endpoint = receiver.push_endpoint("push").expect("the source was declared above");
        let (stop, mut stopped) = watch::channel(false);
        let router = receiver_router([("push".to_owned(), endpoint)]);
        let serving = tokio::spawn(serve(self.listener, router, async move {
            // An error means that the demo ended already.
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        Ok((OpenShop { receiver, stop, serving }, told))
    }
}

impl OpenShop {
    async fn stop(self) -> anyhow::Result<()> {
        self.receiver.stop().await;
        self.stop.send_replace(true);
        self.serving.await??;
        Ok(())
    }
}

/// The application: it is handed what was verified and stored.
struct Application(mpsc::UnboundedSender<Handed>);

impl Handler for Application {
    fn handle<'a>(&'a self, set: &'a Set, source: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
        let handed = Handed { source: source.name.clone(), set: set.clone() };
        let told = self.0.send(handed).map_err(|_| HandleError::Later("the demo is ending".to_owned()));
        Box::pin(async move { told })
    }
}

async fn subscribe(receiver: &Receiver, source: &str) -> anyhow::Result<StreamId> {
    let subscription = timeout(STEP_MAX, receiver.subscribe(source)).await.context("no stream in time")??;
    ensure!(subscription.is_verified, "the stream is not verified");
    Ok(subscription.configuration.stream_id)
}

async fn emit(issuer: &Issuer, secrets: &Secrets, event: &Value, lines: &Arc<Lines>) -> anyhow::Result<()> {
    let transport = Arc::new(Tap::new(PRODUCER_SHOWN, lines, Arc::new(loopback_client()?)));
    let mut peer = Peer::new(issuer.clone());
    peer.tolerance.plain_http = true;
    peer.credentials = credentials(&*transport, issuer, PRODUCER, &secrets.producer, Scope::Write).await?;
    let client = TransmitterClient::discover(&peer, transport, Arc::new(SystemClock)).await?;
    let request = Request::post(format!("{issuer}/events"))
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", "stolen-laptop-1")
        .body(Bytes::from(event.to_string()))?;
    let response = client.send(request).await?;
    ensure!(response.status() == StatusCode::ACCEPTED, ClientError::refused(&response));
    Ok(())
}

/// What a client shows to the transmitter: access tokens, given where its metadata says.
async fn credentials(
    transport: &dyn Transport,
    issuer: &Issuer,
    client_id: &str,
    secret: &str,
    scope: Scope,
) -> anyhow::Result<Credentials> {
    let metadata = TransmitterMetadata::new(issuer.clone());
    let tolerance = Tolerance { plain_http: true, ..Tolerance::NONE };
    let server = AuthorizationServer::of(&metadata, tolerance, transport).await?;
    Ok(Credentials::ClientCredentials {
        token_endpoint: server.token_endpoint,
        client_id: client_id.to_owned(),
        secret: Secret::new(secret.to_owned()),
        scope: Some(scope.name().to_owned()),
    })
}

/// A client that may reach this machine, and nothing else.
fn loopback_client() -> anyhow::Result<Client> {
    Ok(Client::new(OutgoingConfig {
        allow_networks: vec!["127.0.0.0/8".parse()?],
        ports: OutgoingPorts::Any,
        allow_plain_http: true,
        ..OutgoingConfig::default()
    })?)
}

fn title(number: u32, text: &str) {
    println!("\n{BOLD}{number}  {text}{BOLD:#}");
}

fn done(text: &str) {
    println!("   {GOOD}✓{GOOD:#} {text}");
}

fn tell_handed(source: &str, set: &Set) {
    let who = set.subject().map(|subject| subject.to_value()).unwrap_or_default();
    let who = who["email"].as_str().map_or_else(|| who.to_string(), str::to_owned);
    let revoked: Option<SessionRevoked> = set.events().get().ok().flatten();
    let why = revoked.and_then(|revoked| revoked.reason_admin);
    let why = why.as_ref().and_then(|why: &ByLanguage| why.best("en")).unwrap_or("no reason told");
    let what = set.events().iter().next().map_or("?", |(uri, _)| uri.rsplit('/').next().unwrap_or(uri));
    println!("   {GOOD}shop{GOOD:#} by {source}: {BOLD}{what}{BOLD:#} about {BOLD}{who}{BOLD:#} ({why})");
    println!("        {DIM}jti {}, txn {}{DIM:#}", set.jti(), set.claims().txn.as_deref().unwrap_or("-"));
}

fn short(id: &StreamId) -> &str {
    id.as_str().get(..8).unwrap_or(id.as_str())
}

fn go_on_by_hand(issuer: &Issuer, secrets: &Secrets) {
    let Secrets { producer, shop, .. } = secrets;
    println!("\n{BOLD}Go on by hand.{BOLD:#} All of it stays up until Ctrl-C; what arrives is shown here.\n");
    println!("  {DIM}# tell the transmitter that something happened{DIM:#}");
    println!("  export SECEVENT_ISSUER={issuer} SECEVENT_CLIENT={PRODUCER} SECEVENT_SECRET={producer}");
    println!("  secevent emit caep:session-revoked --subject bob@example.com\n");
    println!("  {DIM}# the same with curl{DIM:#}");
    println!("  TOKEN=$(curl -s {issuer}/oauth/token -u {PRODUCER}:{producer} \\");
    println!("    -d grant_type=client_credentials | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')");
    println!(
        "  curl -s {issuer}/events -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\"
    );
    println!(
        "    -d '{{\"type\":\"caep:session-revoked\",\"subject\":{{\"format\":\"email\",\"email\":\"carol@example.com\"}}}}'\n"
    );
    println!("  {DIM}# look at the transmitter as its receiver sees it{DIM:#}");
    println!("  curl -s {issuer}/.well-known/ssf-configuration");
    println!("  TOKEN=$(curl -s {issuer}/oauth/token -u {SHOP}:{shop} \\");
    println!("    -d grant_type=client_credentials | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')");
    println!("  curl -s {issuer}/ssf/stream -H \"Authorization: Bearer $TOKEN\"\n");
    println!("  {DIM}(`secevent` is target/release/secevent after this build){DIM:#}\n");
}
