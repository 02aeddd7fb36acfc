//! Strangers who guess the credentials of clients: how many guesses are judged, who gets in beside them, and what the
//! log and the figures say.

use crate::world::{Answer, LOCAL, World, basic};
use axum::body::Body;
use http::{Method, Request};
use secevent_server::{MetricsAccess, Peer};
use serde_json::json;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

const GRANT: &str = "grant_type=client_credentials";
const GUESSES: usize = 10_000;

/// A request for a token from this address.
async fn ask_from(world: &World, peer: &str, form: String) -> Answer {
    let address: IpAddr = peer.parse().unwrap();
    let request = Request::post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(Peer(address));
    world.call(request.body(Body::from(form)).unwrap()).await
}

fn form(client: &str, secret: &str) -> String {
    format!("{GRANT}&client_id={client}&client_secret={secret}")
}

const RIGHT: &str = "top-secret%3Drp%26more";

/// So many guesses at once at the secret of `rp`. Returns their statuses.
async fn flood(world: &Arc<World>, peers: &[&'static str]) -> tokio::task::JoinSet<u16> {
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..GUESSES {
        let (world, peer) = (Arc::clone(world), peers[number % peers.len()]);
        guesses.spawn(async move {
            let answer = ask_from(&world, peer, form("rp", &format!("guess-{number}"))).await;
            if answer.status == 429 {
                answer.is_problem(429, "too_often");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
            answer.status
        });
    }
    // All of them have come before anybody else asks.
    all_have_come().await;
    guesses
}

/// Lets every request go as far as it can without the clock: this task has its turn after some 60 others.
async fn all_have_come() {
    for _ in 0..GUESSES {
        tokio::task::yield_now().await;
    }
}

/// Asks as clients do: again after `Retry-After`. Returns how long it took.
async fn owner(world: &World, peer: &str) -> Duration {
    let began = Instant::now();
    for _ in 0..10 {
        let answer = ask_from(world, peer, form("rp", RIGHT)).await;
        match answer.status {
            200 => return began.elapsed(),
            429 => sleep(Duration::from_secs(1)).await,
            other => panic!("{other}: {answer:?}"),
        }
    }
    panic!("the owner is locked out");
}

async fn metric(world: &World, line: &str) -> u64 {
    let answer = world.admin(Method::GET, LOCAL, "/metrics", &serde_json::Value::Null).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let value = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
}

// finding: B8
/// The clock of this test stands still while anybody works: what counts is how much is judged, not how fast.
#[tokio::test(start_paused = true)]
async fn an_owner_gets_in_beside_ten_thousand_guesses() {
    let world = Arc::new(World::with(|_| {}, MetricsAccess::Token).await);
    let guesses = flood(&world, &["192.0.2.1"]).await;
    assert_eq!(owner(&world, "198.51.100.1").await, Duration::ZERO, "another address has its turn at once");
    let near = owner(&world, "192.0.2.1").await;
    assert!(near <= Duration::from_secs(2), "the owner behind the same proxy waited {near:?}");
    let statuses = guesses.join_all().await;
    let judged = statuses.iter().filter(|status| **status == 401).count();
    assert!((50..=100).contains(&judged), "{judged} guesses were judged");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), GUESSES - judged);
    // finding: B8. Nothing of it is hidden from the operator.
    let failed = metric(&world, "secevent_authentications_failed_total{client=\"rp\"}").await;
    assert!(failed >= GUESSES as u64, "{failed}");
}

// finding: B8
#[tokio::test(start_paused = true)]
async fn many_addresses_guess_no_faster_and_a_known_one_has_its_turn() {
    let world = Arc::new(World::new().await);
    owner(&world, "198.51.100.1").await;
    let guesses = flood(&world, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "2001:db8::1"]).await;
    assert_eq!(owner(&world, "198.51.100.1").await, Duration::ZERO, "it has succeeded before");
    let judged = guesses.join_all().await.into_iter().filter(|status| *status == 401).count();
    assert!((100..=200).contains(&judged), "{judged} guesses were judged");
}

// finding: B8
/// A secret that was generated here cannot be guessed: its owner gets in, wherever the flood comes from.
#[tokio::test(start_paused = true)]
async fn a_generated_secret_passes_any_flood() {
    let world = Arc::new(World::new().await);
    let client = json!({"id": "made", "scopes": ["ssf.read"], "audience": "https://made.example"});
    let made = world.admin(Method::POST, LOCAL, "/admin/v1/clients", &client).await.is_answer(201);
    let right = made["secret"].as_str().unwrap().to_owned();
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..GUESSES {
        let (world, form) = (Arc::clone(&world), form("made", &format!("guess-{number}")));
        guesses.spawn(async move { ask_from(&world, "192.0.2.1", form).await.status });
    }
    all_have_come().await;
    let began = Instant::now();
    ask_from(&world, "192.0.2.1", form("made", &right)).await.is_answer(200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let judged = guesses.join_all().await.into_iter().filter(|status| *status == 401).count();
    assert!((50..=100).contains(&judged), "{judged} guesses were answered");
}

// finding: B8
/// 429 says nothing about the secret: a right one that has no turn is not taken either.
#[tokio::test(start_paused = true)]
async fn what_is_answered_429_was_not_judged() {
    let world = Arc::new(World::new().await);
    let guesses = flood(&world, &["192.0.2.1"]).await;
    let answer = ask_from(&world, "192.0.2.1", form("rp", RIGHT)).await;
    answer.is_problem(429, "too_often");
    // A name that nobody has is answered like one that somebody has.
    let mut unknown = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let world = Arc::clone(&world);
        unknown.spawn(async move { ask_from(&world, "192.0.2.1", form("nobody", "x")).await.status });
    }
    let statuses = unknown.join_all().await;
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
    guesses.join_all().await;
}

/// The messages of a test's events.
#[derive(Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("secevent_server")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

// finding: B16, B8
#[tokio::test(start_paused = true)]
async fn the_log_sums_up_what_strangers_do() {
    let lines = Lines::default();
    let written = Arc::clone(&lines.0);
    let _guard = tracing::subscriber::set_default(lines);
    let world = World::new().await;
    written.lock().unwrap().clear();
    for number in 0..2_000 {
        let name = format!("stranger-{number}");
        ask_from(&world, "192.0.2.1", form(&name, "guess")).await.is_answer(401);
    }
    for number in 0..20 {
        ask_from(&world, "192.0.2.1", form("rp", &format!("guess-{number}"))).await.is_answer(401);
    }
    assert_eq!(written.lock().unwrap().len(), 1, "the first one: {:?}", written.lock().unwrap());
    sleep(Duration::from_secs(61)).await;
    let written = std::mem::take(&mut *written.lock().unwrap());
    let [first, client, unknown] = &written[..] else { panic!("{written:?}") };
    assert!(first.starts_with("INFO") && first.contains("failed=1 "), "{first}");
    assert!(
        client.starts_with("WARN") && client.contains("client.id=\"rp\" failed=20 not_judged=0"),
        "{client}"
    );
    assert!(unknown.starts_with("INFO") && unknown.contains("failed=1999 "), "{unknown}");
    assert!(!written.iter().any(|line| line.contains("guess") || line.contains("stranger")), "{written:?}");
    assert_eq!(metric(&world, "secevent_authentications_failed_total{client=\"(unknown)\"}").await, 2_000);
    world.get("nonsense", "/ssf/stream").await.is_problem(401, "authentication_failed");
    assert_eq!(metric(&world, "secevent_access_tokens_refused_total").await, 1);
    world.ask_for_token(&basic("rp"), GRANT).await.is_answer(200);
}
