//! An identity server with logins of its own becomes a transmitter: when somebody logs out, the applications that
//! subscribed are told.
//!
//! Run it with `cargo run -p examples --example identity_server`. The server, an application that subscribes to it,
//! and a user who logs out are all in here; the book's page on embedding tells more.

use axum::extract::State;
use axum::routing::post;
use axum::{Router, http::StatusCode};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, header};
use secevent::{EventType as _, Issuer, Set, Subject, Vocabulary, caep::SessionRevoked};
use secevent_http::{Client, ClientConfig, Ports as TcpPorts};
use secevent_receiver::{Credentials, HandleError, Handler, Ports, Receiver, ReceiverConfig, Source};
use secevent_server::{
    Authenticate, Caller, HostConfig, Refusal, Scope, SystemClock, hosted_transmitter_router,
};
use secevent_sqlite::{Options, SqliteStore};
use secevent_ssf::{BoxFuture, DeliveryRequest, Secret, Transport};
use secevent_store::{Epoch, MemoryStore, Vault};
use secevent_transmitter::{Incoming, IssuerConfig, Transmitter, TransmitterConfig};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    // Its name outside of examples is an https URL, such as https://id.example.com.
    let issuer = Issuer::parse_insecure(&format!("http://{}", listener.local_addr()?))?;
    let transmitter = start_transmitter(&issuer, folder.path()).await?;
    let server = identity_server(&issuer, &transmitter);
    tokio::spawn(async move { axum::serve(listener, server).await });
    println!("An identity server is at {issuer}.");

    let (receiver, mut told) = subscribe(&issuer).await?;
    println!("The shop has subscribed, and polls.");
    let logout = Request::post(format!("{issuer}/logout")).header("cookie", "session=alice-1");
    let answer = network()?.send(logout.body(Bytes::new())?).await?;
    println!("Alice logs out: {}.", answer.status());

    let set = told.recv().await.expect("the receiver is running");
    let subject = set.subject().expect("SSF asks for a subject");
    println!(
        "The shop was told, and the signature is good: {} about {}.",
        SessionRevoked::NAME,
        subject.to_value()
    );
    receiver.stop().await;
    transmitter.close().await;
    Ok(())
}

/// Opens the store, and starts the engine that keeps streams and delivers to them.
async fn start_transmitter(issuer: &Issuer, folder: &Path) -> anyhow::Result<Arc<Transmitter>> {
    let config = TransmitterConfig::new(vec![IssuerConfig::new(issuer.clone())]);
    let store = SqliteStore::open(folder.join("events.db"), Options::new(Epoch(rand::random())))?;
    let network = Arc::new(Client::new(ClientConfig::default())?);
    // The key that seals the keys in the store: yours comes from where your secrets are.
    let vault = Vault::new(&[7; 32]);
    let (clock, types) = (Arc::new(SystemClock), Vocabulary::standard().clone());
    Ok(Transmitter::start(config, store, network, clock, vault, types, rand::random()).await?)
}

/// The server's own routes, and beside them those of the transmitter.
fn identity_server(issuer: &Issuer, transmitter: &Arc<Transmitter>) -> Router {
    let identity = Identity { issuer: issuer.clone(), transmitter: Arc::clone(transmitter) };
    let own = Router::new().route("/logout", post(logout)).with_state(identity);
    let known: Arc<dyn Authenticate> = Arc::new(known_application);
    own.merge(hosted_transmitter_router(&HostConfig::default(), transmitter, known))
}

#[derive(Clone)]
struct Identity {
    issuer: Issuer,
    transmitter: Arc<Transmitter>,
}

/// Ends a session. Whoever subscribed is told once this has answered, come what may.
async fn logout(State(identity): State<Identity>, headers: HeaderMap) -> Result<StatusCode, StatusCode> {
    let email = user_of(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let told = async {
        let event = Incoming::new(&SessionRevoked::default(), Subject::email(email)?)?;
        identity.transmitter.accept(identity.issuer.as_str(), "identity", None, &[event]).await?;
        anyhow::Ok(StatusCode::NO_CONTENT)
    };
    told.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// Who may have streams: the server's own table of applications, by its own kind of token.
fn known_application(request: &Parts) -> Result<Caller, Refusal> {
    let token = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match token {
        Some("Bearer token-of-the-shop") => Ok(Caller::new("shop", "https://shop.example", [Scope::Manage])),
        _ => Err(Refusal::unknown("Bearer", "no application has this token")),
    }
}

/// Whose session it is: the server's own table of sessions.
fn user_of(headers: &HeaderMap) -> Option<&'static str> {
    let cookie = headers.get(header::COOKIE)?.to_str().ok()?;
    (cookie == "session=alice-1").then_some("alice@example.com")
}

/// The shop: another program, at another place. It finds everything by the issuer's name.
async fn subscribe(issuer: &Issuer) -> anyhow::Result<(Receiver, mpsc::UnboundedReceiver<Set>)> {
    let mut source = Source::new("identity", issuer.clone(), DeliveryRequest::poll());
    source.peer.tolerance.plain_http = true;
    source.peer.credentials = Credentials::Bearer(Secret::new("token-of-the-shop".to_owned()));
    source.events_requested = vec![SessionRevoked::URI.to_owned()];
    let store = Arc::new(MemoryStore::new(Epoch(rand::random())));
    let ports = Ports {
        transport: Arc::new(network()?),
        inbox: Arc::clone(&store) as _,
        documents: store,
        clock: Arc::new(SystemClock),
    };
    let (tell, told) = mpsc::unbounded_channel();
    let config = ReceiverConfig { sources: vec![source], ..ReceiverConfig::default() };
    let receiver = Receiver::start(config, ports, Arc::new(EndSessions(tell))).await?;
    receiver.subscribe("identity").await?;
    Ok((receiver, told))
}

/// Where the shop would end its own sessions of that user.
struct EndSessions(mpsc::UnboundedSender<Set>);

impl Handler for EndSessions {
    fn handle<'a>(&'a self, set: &'a Set, _: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
        let told = self.0.send(set.clone()).map_err(|_| HandleError::Later("the shop is closing".to_owned()));
        Box::pin(async move { told })
    }
}

/// A network that reaches this machine, where everything of this example is.
fn network() -> anyhow::Result<Client> {
    Ok(Client::new(ClientConfig {
        allow_networks: vec!["127.0.0.0/8".parse()?],
        ports: TcpPorts::Any,
        allow_plain_http: true,
        ..ClientConfig::default()
    })?)
}
