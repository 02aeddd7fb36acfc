//! The network: it loses, delays, doubles, reorders and breaks what it carries, and its peers have good and bad
//! times.

use crate::invariants::{self, Way};
use crate::model::{Ended, Place};
use crate::mutation::Mutation;
use crate::service::Service;
use crate::sim::{Life, Sim, never};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use secevent::Fault;
use secevent_receiver::PushEndpoint;
use secevent_ssf::poll::{PollLimits, PollRequest};
use secevent_ssf::{BoxFuture, ResponseTime, Transport, TransportError, push};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) type Answer = Result<Response<Bytes>, TransportError>;

pub(crate) struct Network {
    sim: Arc<Sim>,
    service: OnceLock<Weak<Service>>,
    /// Who takes pushes, by receiver.
    doors: Mutex<BTreeMap<usize, Door>>,
    weather: Mutex<Vec<Weather>>,
    /// How many pushes in a hundred each receiver fails, whatever the weather.
    fails: Vec<u64>,
}

#[derive(Clone)]
struct Door {
    endpoint: PushEndpoint,
    life: Arc<Life>,
}

/// What the way to one receiver, and the receiver behind it, are like at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    Flaky,
    /// Nobody is to be had.
    Down,
    /// Somebody in between answers everything so.
    Answers(Fate),
}

/// What becomes of one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    RequestLost,
    AnswerLost,
    /// It arrives, and once more later.
    Doubled,
    /// It arrives after the sender has been told that it did not.
    Late,
    Status(u16, Option<u64>),
    /// A proxy answers 200 with a page where somebody is to log in.
    LoginPage,
    Refused(Fault),
    Broken(TransportError),
    Hangs,
}

impl Network {
    pub(crate) fn new(sim: &Arc<Sim>, fails: Vec<u64>) -> Arc<Self> {
        Arc::new(Self {
            sim: Arc::clone(sim),
            service: OnceLock::new(),
            doors: Mutex::default(),
            weather: Mutex::new(vec![Weather::Fine; fails.len()]),
            fails,
        })
    }

    pub(crate) fn connect(&self, service: &Arc<Service>) {
        let _ = self.service.set(Arc::downgrade(service));
    }

    /// From now on this receiver can be pushed to.
    pub(crate) fn open(&self, receiver: usize, endpoint: PushEndpoint, life: &Arc<Life>) {
        lock(&self.doors).insert(receiver, Door { endpoint, life: Arc::clone(life) });
    }

    /// Lets go of everybody.
    pub(crate) fn close(&self) {
        lock(&self.doors).clear();
    }

    /// The weather changes.
    pub(crate) fn change(&self, receiver: usize) {
        let weather = match self.sim.below(10) {
            0..=3 => Weather::Fine,
            4..=5 => Weather::Flaky,
            6..=7 => Weather::Down,
            _ => Weather::Answers(self.trouble()),
        };
        self.sim.note(format!("rp{receiver} is {weather:?}"));
        lock(&self.weather)[receiver] = weather;
    }

    pub(crate) fn calm_down(&self) {
        lock(&self.weather).fill(Weather::Fine);
    }

    fn weather(&self, receiver: usize) -> Weather {
        if self.sim.is_calm() { Weather::Fine } else { lock(&self.weather)[receiver].clone() }
    }

    fn fate(&self, receiver: usize) -> Fate {
        let good = match self.weather(receiver) {
            Weather::Fine if self.sim.is_calm() => return Fate::Arrives,
            Weather::Fine | Weather::Flaky if self.sim.below(100) < self.fails[receiver] => {
                return Fate::Status(self.sim.pick(&[500, 503]), None);
            }
            Weather::Fine => 20,
            Weather::Flaky => 2,
            Weather::Down if self.sim.one_in(2) => return Fate::Hangs,
            Weather::Down => return Fate::Broken(TransportError::Unreachable("nobody listens".to_owned())),
            Weather::Answers(fate) => return fate,
        };
        if !self.sim.one_in(good) {
            return Fate::Arrives;
        }
        match self.sim.below(8) {
            0 => Fate::RequestLost,
            1 => Fate::AnswerLost,
            2 => Fate::Doubled,
            3 => Fate::Late,
            4 => Fate::Hangs,
            5 => Fate::Refused(self.sim.pick(&Fault::ALL)),
            _ => self.trouble(),
        }
    }

    /// Trouble that is the stream's, and costs no delivery.
    fn trouble(&self) -> Fate {
        match self.sim.below(9) {
            0 => Fate::Status(401, None),
            1 => Fate::Status(403, None),
            2 => Fate::Status(404, None),
            3 => Fate::Status(429, Some(self.sim.below(90))),
            4 => Fate::Status(503, Some(self.sim.below(90))),
            5 => Fate::Status(self.sim.pick(&[201, 206, 302, 400, 408, 410, 500, 502]), None),
            6 if self.sim.one_in(2) => Fate::LoginPage,
            6 => Fate::Broken(TransportError::Tls("a certificate has run out".to_owned())),
            7 => Fate::Broken(TransportError::AddressRefused("10.0.0.1".to_owned())),
            _ => Fate::Broken(TransportError::Protocol("no HTTP".to_owned())),
        }
    }

    /// How long one way takes.
    async fn way(&self) {
        let took = match self.sim.below(12) {
            _ if self.sim.is_calm() => self.sim.millis(1, 5),
            0 => self.sim.millis(100, 9_000),
            _ => self.sim.millis(1, 60),
        };
        tokio::time::sleep(took).await;
    }

    /// Carries a push to its receiver, and the answer back.
    async fn carry(self: &Arc<Self>, receiver: usize, request: Request<Bytes>, name: &str) -> Answer {
        let fate = self.fate(receiver);
        self.sim.note(format!("push {name} to rp{receiver}: {fate:?}"));
        self.way().await;
        match fate {
            Fate::Arrives => {
                let answer = self.deliver(receiver, request).await;
                self.way().await;
                answer
            }
            Fate::RequestLost => Err(TransportError::Timeout("no answer came".to_owned())),
            Fate::AnswerLost => {
                let _ = self.deliver(receiver, request).await;
                self.way().await;
                Err(TransportError::Unreachable("the connection broke".to_owned()))
            }
            Fate::Doubled => {
                self.deliver_later(receiver, request.clone());
                let answer = self.deliver(receiver, request).await;
                self.way().await;
                answer
            }
            Fate::Late => {
                self.deliver_later(receiver, request);
                Err(TransportError::Timeout("no answer came".to_owned()))
            }
            Fate::Status(status, retry_after) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
                Ok(response)
            }
            Fate::LoginPage => {
                let mut response = Response::new(Bytes::from_static(b"<html>Who are you?</html>"));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                Ok(response)
            }
            Fate::Refused(fault) => Ok(push::refusal(fault, "not this one")),
            Fate::Broken(error) => Err(error),
            Fate::Hangs => never().await,
        }
    }

    /// Hands a push to the receiver, if it lives. Whoever gives up waiting hangs up, which the receiver's server
    /// may notice at once or not at all.
    async fn deliver(self: &Arc<Self>, receiver: usize, request: Request<Bytes>) -> Answer {
        let gone = || Err(TransportError::Unreachable("the connection was refused".to_owned()));
        let Some(door) = lock(&self.doors).get(&receiver).cloned() else { return gone() };
        let sim = Arc::clone(&self.sim);
        let task = tokio::spawn(async move {
            let jti = jti_of(request.body());
            let answered = door.life.during(door.endpoint.handle(request)).await;
            if let Some(response) = &answered
                && response.status().is_success()
            {
                sim.judge(|model| invariants::acknowledged(model, receiver, &jti));
            }
            answered
        });
        match (Connection { task, hangs_up: self.sim.fault(2) }).answer().await {
            Some(response) => Ok(response),
            None => gone(),
        }
    }

    fn deliver_later(self: &Arc<Self>, receiver: usize, request: Request<Bytes>) {
        let (this, wait) = (Arc::clone(self), self.sim.millis(1, 30_000));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = this.deliver(receiver, request).await;
        });
    }
}

/// A request that is being answered. Dropping it hangs up.
struct Connection<T> {
    task: JoinHandle<Option<T>>,
    hangs_up: bool,
}

impl<T> Connection<T> {
    async fn answer(mut self) -> Option<T> {
        (&mut self.task).await.ok().flatten()
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        if self.hangs_up {
            self.task.abort();
        }
    }
}

/// The way out of one life of the transmitter.
pub(crate) struct PushTransport {
    network: Arc<Network>,
    life: Arc<Life>,
}

impl PushTransport {
    pub(crate) fn new(network: &Arc<Network>, life: &Arc<Life>) -> Self {
        Self { network: Arc::clone(network), life: Arc::clone(life) }
    }

    async fn push(&self, request: Request<Bytes>) -> Answer {
        if self.life.is_over() {
            return never().await;
        }
        let (network, sim) = (&self.network, &self.network.sim);
        let endpoint = request.uri().to_string();
        let receiver = receiver_of(&request);
        let Some(flight) = self.take_off(&endpoint, request.body()) else { return never().await };
        let name = sim.model(|model| model.name(flight.place));
        if sim.mutated(Mutation::SentAgainLater) && sim.one_in(5) {
            let (again, sim) = (request.body().clone(), Arc::clone(sim));
            let wait = sim.millis(100, 60_000);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let way = Way::Push { endpoint: &endpoint };
                sim.judge(|model| invariants::offered(model, &again, way).map(drop));
            });
        }
        let answer = self.life.during(network.carry(receiver, request, &name)).await;
        let Some(answer) = answer else { return never().await };
        flight.answered(&answer, &name);
        answer.map(|mut response| {
            if sim.mutated(Mutation::RetryAfterUnseen) {
                response.headers_mut().remove(RETRY_AFTER);
            }
            response
        })
    }

    fn take_off(&self, endpoint: &str, token: &[u8]) -> Option<Flight> {
        let sim = &self.network.sim;
        let mut place = None;
        sim.judge(|model| {
            place = Some(invariants::offered(model, token, Way::Push { endpoint })?);
            Ok(())
        });
        let place = place?;
        let (life, since) = (self.life.number, Instant::now());
        Some(Flight { sim: Arc::clone(sim), life, place, since, ended: Cell::new(Ended::Failed(None)) })
    }
}

impl Transport for PushTransport {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Answer> {
        Box::pin(self.push(request))
    }
}

/// A push on its way, until it is answered or given up.
struct Flight {
    sim: Arc<Sim>,
    life: u32,
    place: Place,
    since: Instant,
    /// What the transmitter learns of it. Without an answer it has failed.
    ended: Cell<Ended>,
}

impl Flight {
    /// The transmitter hears the answer. What it says of the delivery is the standard's, read anew here.
    fn answered(&self, answer: &Answer, name: &str) {
        let Ok(response) = answer else { return };
        let status = response.status();
        self.sim.note(format!("answer for {name}: {}", status.as_u16()));
        let is_taken =
            matches!(status.as_u16(), 200 | 202 | 204) && !response.headers().contains_key(CONTENT_TYPE);
        let error = push::Error::read(response.body());
        let is_about_us = |code: &str| {
            matches!(
                code,
                "authentication_failed"
                    | "access_denied"
                    | "invalid_key"
                    | "invalid_issuer"
                    | "invalid_audience"
            )
        };
        let is_refusal =
            status == StatusCode::BAD_REQUEST && error.is_some_and(|error| !is_about_us(error.err.as_str()));
        let asks_for_a_pause = matches!(status.as_u16(), 429 | 503);
        let asked = response.headers().get(RETRY_AFTER).filter(|_| asks_for_a_pause);
        let asked = asked.and_then(|asked| asked.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        self.ended.set(if status.is_success() || is_refusal {
            Ended::Succeeded
        } else {
            Ended::Failed(asked)
        });
        self.sim.model(|model| {
            let life = model.life;
            let Some(owed) = model.now.owed.get_mut(&self.place) else { return };
            owed.was_taken |= is_taken;
            owed.was_refused |= is_refusal;
            if is_taken || is_refusal {
                owed.answered_in = Some(life);
            }
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let name = self.sim.model(|model| {
            if model.life == self.life {
                model.flying.remove(&self.place);
                model.attempted(self.place, self.since, self.ended.get());
            }
            model.name(self.place)
        });
        self.sim.note(format!("push {name} is over"));
    }
}

/// The way out of one life of a receiver.
pub(crate) struct ReceiverTransport {
    network: Arc<Network>,
    receiver: usize,
    life: Arc<Life>,
}

impl ReceiverTransport {
    /// How long a request may take if it does not say.
    const TIME_MAX: Duration = Duration::from_secs(30);

    pub(crate) fn new(network: &Arc<Network>, receiver: usize, life: &Arc<Life>) -> Self {
        Self { network: Arc::clone(network), receiver, life: Arc::clone(life) }
    }

    async fn request(&self, request: Request<Bytes>) -> Answer {
        if self.life.is_over() {
            return never().await;
        }
        self.check(&request);
        let time_max = request.extensions().get::<ResponseTime>().map_or(Self::TIME_MAX, |time| time.0);
        let answer = self.life.during(tokio::time::timeout(time_max, self.carry(request))).await;
        match answer {
            None => never().await,
            Some(Err(_)) => Err(TransportError::Timeout("no answer came".to_owned())),
            Some(Ok(answer)) => answer,
        }
    }

    /// A poll acknowledges what is kept, and no more at once than it may.
    fn check(&self, request: &Request<Bytes>) {
        let sim = &self.network.sim;
        if !request.uri().path().contains("/poll/") {
            return;
        }
        let Ok(poll) = PollRequest::read(request.body(), PollLimits::default()) else { return };
        sim.judge(|model| {
            for jti in &poll.ack {
                invariants::acknowledged(model, self.receiver, jti)?;
            }
            let acks = poll.ack.len() + poll.set_errs.len();
            invariants::bounded("acknowledgements in a poll", acks, model.limits.acks_max)
        });
    }

    async fn carry(&self, request: Request<Bytes>) -> Answer {
        let (network, sim) = (&self.network, &self.network.sim);
        let unreachable = || Err(TransportError::Unreachable("nobody answers".to_owned()));
        let weather = network.weather(self.receiver);
        let rarely = if weather == Weather::Flaky { 4 } else { 30 };
        network.way().await;
        if weather == Weather::Down || sim.fault(rarely) {
            // It takes a while to find out that nobody is there.
            tokio::time::sleep(sim.millis(500, 10_000)).await;
            return unreachable();
        }
        if sim.fault(40) {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            tokio::time::sleep(sim.millis(100, 1_000)).await;
            return Ok(response);
        }
        let Some(service) = network.service.get().and_then(Weak::upgrade) else { return unreachable() };
        let receiver = self.receiver;
        let is_poll = request.uri().path().contains("/poll/");
        let task = tokio::spawn(async move { service.answer(receiver, &request).await.ok() });
        // Only what is safe to break off is broken off.
        let connection = Connection { task, hangs_up: is_poll };
        let answer = if is_poll && sim.fault(25) {
            let patience = sim.millis(1, 2_000);
            tokio::time::timeout(patience, connection.answer()).await.ok().flatten()
        } else {
            connection.answer().await
        };
        network.way().await;
        if sim.fault(rarely) {
            return Err(TransportError::Unreachable("the connection broke".to_owned()));
        }
        match answer {
            Some(response) => Ok(response),
            None => {
                tokio::time::sleep(sim.millis(200, 2_000)).await;
                unreachable()
            }
        }
    }
}

impl Transport for ReceiverTransport {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Answer> {
        Box::pin(self.request(request))
    }
}

/// Receivers are `rp0.example` and so on.
fn receiver_of(request: &Request<Bytes>) -> usize {
    let host = request.uri().host().unwrap_or_default();
    let number = host.trim_start_matches("rp").split('.').next().unwrap_or_default();
    number.parse().unwrap_or(usize::MAX)
}

fn jti_of(token: &[u8]) -> String {
    let payload = crate::model::payload_of(token).unwrap_or_default();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
    claims["jti"].as_str().unwrap_or_default().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
