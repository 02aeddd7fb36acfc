//! The transmitter of a run: the production engine, started, crashed and restored, with the model told of every
//! request to it.

use crate::events::{Event, TYPES, Tag};
use crate::invariants::{self, Promise, Violation};
use crate::model::{Standing, Timeline};
use crate::mutation::Mutation;
use crate::network::{Network, PushTransport};
use crate::sim::{Life, Sim, SimClock};
use crate::store::{Disk, Owner, SimStore};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use secevent::json::Limits;
use secevent::{Clock as _, Issuer, Vocabulary};
use secevent_ssf::poll::{PollLimits, PollRequest, PollResponse};
use secevent_ssf::{
    CreateStream, Status, StreamConfiguration, StreamId, StreamStatus, Tolerance, TransmitterMetadata,
    UpdateStatus, UpdateStream, VerificationRequest,
};
use secevent_store::{Backlog, Epoch, JtiCodec, MemoryStore, StoreKey, Vault};
use secevent_transmitter::{
    AcceptError, Accepted, Client, ManageError, PollError, Transmitter, TransmitterConfig, TransmitterError,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Nobody answers, because the process is dead or died meanwhile.
pub(crate) struct Down;

/// What a producer hears.
pub(crate) type Told = Result<Vec<Accepted>, AcceptError>;

pub(crate) struct Service {
    sim: Arc<Sim>,
    clock: Arc<SimClock>,
    network: Arc<Network>,
    config: TransmitterConfig,
    loses_hints: bool,
    state: Mutex<State>,
}

struct State {
    running: Option<Running>,
    disk: Arc<Disk>,
    lives: u32,
    backup: Option<(MemoryStore, Timeline)>,
}

#[derive(Clone)]
struct Running {
    transmitter: Arc<Transmitter>,
    life: Arc<Life>,
}

pub(crate) fn issuer(number: usize) -> Issuer {
    format!("https://tr.example/i{number}").parse().expect("it is a URL")
}

pub(crate) fn client(number: usize) -> Client {
    Client { id: format!("rp{number}"), audience: format!("https://rp{number}.example").as_str().into() }
}

impl Service {
    pub(crate) fn new(
        sim: &Arc<Sim>,
        clock: &Arc<SimClock>,
        network: &Arc<Network>,
        config: TransmitterConfig,
        loses_hints: bool,
    ) -> Arc<Self> {
        let disk = Disk::new(Epoch(1));
        let state = State { running: None, disk, lives: 0, backup: None };
        Arc::new(Self {
            sim: Arc::clone(sim),
            clock: Arc::clone(clock),
            network: Arc::clone(network),
            config,
            loses_hints,
            state: Mutex::new(state),
        })
    }

    /// Starts the process, again and again until it comes up.
    pub(crate) async fn start(&self) {
        loop {
            let (disk, life) = {
                let mut state = self.state();
                state.lives += 1;
                (Arc::clone(&state.disk), Life::new(state.lives))
            };
            self.sim.model(|model| model.life = life.number);
            let store = SimStore::new(&self.sim, &life, Owner::Transmitter, &disk, self.loses_hints);
            let transport = PushTransport::new(&self.network, &life);
            let started = Transmitter::start(
                self.config.clone(),
                store,
                Arc::new(transport),
                self.clock.clone(),
                vault(),
                Vocabulary::standard().clone(),
                self.sim.bytes(),
            );
            match started.await {
                Ok(transmitter) => {
                    self.sim.note(format!("transmitter starts its life {}", life.number));
                    self.learn_key(&disk);
                    self.state().running = Some(Running { transmitter, life });
                    self.resolve(true);
                    return;
                }
                Err(error) => {
                    self.sim.note(format!("transmitter does not start: {error}"));
                    life.end();
                    tokio::time::sleep(self.sim.millis(100, 5_000)).await;
                }
            }
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state().running.is_some()
    }

    /// Ends the process at once; with a backup, the next one finds that instead.
    pub(crate) fn crash(&self, restore: bool) {
        let Some(running) = self.state().running.take() else { return };
        running.life.end();
        let mut state = self.state();
        let backup = state.backup.take_if(|_| restore);
        let mut epoch = Epoch(u32::try_from(self.sim.below(1 << 32)).unwrap_or(0));
        if self.sim.mutated(Mutation::EpochRepeated) {
            epoch = Epoch(1);
        }
        let (disk, lost) = match &backup {
            Some((store, _)) => (Disk::restored(store, epoch), Vec::new()),
            None => state.disk.crashed(&self.sim, epoch),
        };
        state.disk = disk;
        drop(state);
        let what = if backup.is_some() { "is restored from its backup" } else { "crashes" };
        self.sim.note(format!("transmitter {what}, {} settlements are lost", lost.len()));
        self.sim.model(|model| {
            match backup {
                Some((_, timeline)) => model.now = timeline,
                None => model.unsettle(&lost),
            }
            model.life = 0;
            model.flying.clear();
            model.outages.clear();
            model.telling.clear();
            for stream in model.now.streams.values_mut().filter(|stream| stream.changing > 0) {
                (stream.changing, stream.standing) = (0, Standing::Unknown);
                stream.changes += 1;
            }
        });
    }

    /// Ends the process in order. Returns whether it came to that.
    pub(crate) async fn close(&self) -> bool {
        let Some(running) = self.state().running.clone() else { return false };
        self.sim.note("transmitter is closed");
        let is_closed = running.life.during(running.transmitter.close()).await.is_some();
        // Something else may have ended it in the same moment.
        let is_ended = is_closed && !running.life.is_over();
        if is_ended {
            self.crash(false);
        }
        is_ended
    }

    pub(crate) fn back_up(&self) {
        self.sim.note("a backup is taken");
        let mut state = self.state();
        let store = state.disk.backup();
        state.backup = Some((store, self.sim.model(|model| model.now.clone())));
    }

    /// What the store counts for a stream, past all faults.
    pub(crate) fn backlog(&self, stream: u32) -> Backlog {
        self.state().disk.backlog(stream)
    }

    /// A producer hands in events.
    pub(crate) async fn accept(
        &self,
        from: usize,
        key: Option<&str>,
        content: &[u8],
        events: &[Event],
    ) -> Result<Told, Down> {
        let running = self.running()?;
        let certain: Vec<_> =
            self.sim.model(|model| events.iter().map(|event| model.told(event, from)).collect());
        let incoming: Vec<_> = events.iter().map(Event::incoming).collect();
        let tags: Vec<Tag> = events.iter().map(|event| event.tag).collect();
        let issuer = issuer(from);
        let key = key.map(|key| (key, content));
        let accepting = running.transmitter.accept(issuer.as_str(), "producer", key, &incoming);
        let told = running.life.during(accepting).await.ok_or(Down)?;
        self.sim.model(|model| {
            for tag in &tags {
                model.telling.entry(*tag).and_modify(|telling| *telling = telling.saturating_sub(1));
            }
        });
        if let Ok(accepted) = &told {
            let deliveries: Vec<usize> = accepted.iter().map(|one| one.deliveries).collect();
            self.sim.note(format!("accepted {tags:?}, owed to {deliveries:?}"));
            self.sim.judge(|model| invariants::accepted(model, &tags, &certain, &deliveries));
        }
        Ok(told)
    }

    pub(crate) async fn create(
        &self,
        from: usize,
        to: usize,
        request: CreateStream,
    ) -> Result<Result<StreamConfiguration, ManageError>, Down> {
        let running = self.running()?;
        let (issuer, client) = (issuer(from), client(to));
        let creating = running.transmitter.create_stream(issuer.as_str(), &client, request);
        let created = running.life.during(creating).await.ok_or(Down)?;
        match &created {
            Ok(configuration) => self.sim.model(|model| {
                if let Some(stream) = model.stream_by_id(configuration.stream_id.as_str()) {
                    (stream.changing, stream.standing) = (0, Standing::Enabled);
                    stream.changes += 1;
                }
            }),
            Err(error) => self.sim.note(format!("rp{to} gets no stream: {error}")),
        }
        Ok(created)
    }

    pub(crate) async fn set_status(
        &self,
        from: usize,
        to: usize,
        id: &StreamId,
        status: Status,
    ) -> Result<Result<StreamStatus, ManageError>, Down> {
        let becomes = match status {
            Status::Enabled => Standing::Enabled,
            Status::Paused => Standing::Paused,
            Status::Disabled => Standing::Disabled,
        };
        let request = UpdateStatus { stream_id: id.clone(), status, reason: None };
        let (issuer, client) = (issuer(from), client(to));
        self.manage(id, Some(becomes), async |transmitter| {
            transmitter.set_stream_status(issuer.as_str(), &client.id, request).await
        })
        .await
    }

    pub(crate) async fn delete(
        &self,
        from: usize,
        to: usize,
        id: &StreamId,
    ) -> Result<Result<(), ManageError>, Down> {
        let (issuer, client) = (issuer(from), client(to));
        self.manage(id, Some(Standing::Deleted), async |transmitter| {
            transmitter.delete_stream(issuer.as_str(), &client.id, id).await
        })
        .await
    }

    pub(crate) async fn update(
        &self,
        from: usize,
        to: usize,
        request: UpdateStream,
    ) -> Result<Result<StreamConfiguration, ManageError>, Down> {
        let (issuer, client, id) = (issuer(from), client(to), request.stream_id.clone());
        self.manage(&id, None, async |transmitter| {
            transmitter.update_stream(issuer.as_str(), &client.id, request).await
        })
        .await
    }

    pub(crate) async fn verify(
        &self,
        from: usize,
        to: usize,
        request: VerificationRequest,
    ) -> Result<Result<(), ManageError>, Down> {
        let running = self.running()?;
        let (issuer, client) = (issuer(from), client(to));
        let verifying = running.transmitter.verify_stream(issuer.as_str(), &client.id, request);
        running.life.during(verifying).await.ok_or(Down)
    }

    pub(crate) async fn poll(
        &self,
        to: usize,
        id: &StreamId,
        request: &PollRequest,
    ) -> Result<Result<PollResponse, PollError>, Down> {
        let running = self.running()?;
        self.sim.model(|model| {
            let acked = request.ack.iter().map(|jti| (jti, true));
            let refused = request.set_errs.iter().map(|(jti, _)| (jti, false));
            for (jti, is_taken) in acked.chain(refused) {
                let place = model.place_of(jti);
                let Some(owed) = place.and_then(|place| model.now.owed.get_mut(&place)) else { continue };
                owed.was_taken |= is_taken;
                owed.was_refused |= !is_taken;
            }
        });
        let client = client(to);
        let (then, at) = (Instant::now(), self.clock.now());
        let polling = running.transmitter.poll(&client.id, id, request);
        let hearing =
            Hearing { sim: &self.sim, request, life: running.life.number, is_over: AtomicBool::new(false) };
        let answer = running.life.during(polling).await.ok_or(Down)?;
        hearing.is_over.store(answer.is_ok(), Ordering::Relaxed);
        drop(hearing);
        Ok(match answer {
            Err(error) => {
                self.sim.note(format!("rp{to} polls, {} acks: {error}", request.ack.len()));
                Err(error)
            }
            Ok(body) => {
                let response = match PollResponse::read(&body, Limits { bytes_max: 8 << 20, depth_max: 16 }) {
                    Ok(response) => response,
                    Err(error) => {
                        let seen = format!("no receiver can read the answer to a poll: {error}");
                        self.sim.judge(|_| Err(Violation { promise: Promise::Bounded, seen }));
                        return Err(Down);
                    }
                };
                let names = response.sets.iter().map(|(jti, _)| self.name(jti)).collect::<Vec<_>>().join(" ");
                let (acks, errs) = (request.ack.len(), request.set_errs.len());
                self.sim.note(format!("rp{to} polls, {acks} acks, {errs} errs, gets {names}"));
                let earliest = self.clock.earliest_since(then, at);
                self.sim.judge(|model| {
                    let answered = (&response.sets[..], response.more_available);
                    invariants::poll_answered(model, answered, request.max_events, earliest)
                });
                Ok(response)
            }
        })
    }

    /// The HTTP interface, for production receivers.
    pub(crate) async fn answer(&self, to: usize, request: &Request<Bytes>) -> Result<Response<Bytes>, Down> {
        let path = request.uri().path();
        if let Some(number) = path.strip_prefix("/.well-known/ssf-configuration/i") {
            self.running()?;
            return Ok(json(200, number.parse().map_or_else(|_| String::new(), metadata)));
        }
        let mut parts = path.trim_start_matches("/i").splitn(3, '/');
        let from: usize = parts.next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX);
        let (what, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let query = request.uri().query().unwrap_or_default();
        let queried = query.strip_prefix("stream_id=").and_then(|id| id.parse::<StreamId>().ok());
        let (body, issuer, client) = (request.body(), issuer(from), client(to));
        let strict = Tolerance::NONE;
        Ok(match (request.method(), what, queried) {
            (&Method::GET, "jwks.json", _) => {
                let keys = self.running()?.transmitter.public_keys(issuer.as_str());
                keys.map_or_else(|_| json(404, ""), |keys| json(200, keys.to_json()))
            }
            (&Method::POST, "streams", _) => match CreateStream::read(body, strict) {
                Ok(create) => {
                    answered(self.create(from, to, create).await?, 201, StreamConfiguration::to_json)
                }
                Err(_) => json(400, ""),
            },
            (&Method::PATCH, "streams", _) => match UpdateStream::read(body, strict) {
                Ok(update) => {
                    answered(self.update(from, to, update).await?, 200, StreamConfiguration::to_json)
                }
                Err(_) => json(400, ""),
            },
            (&Method::GET, "streams", Some(id)) => {
                let read = self.running()?.transmitter.read_stream(issuer.as_str(), &client.id, &id);
                answered(read, 200, StreamConfiguration::to_json)
            }
            (&Method::GET, "streams", None) => {
                let all = self.running()?.transmitter.list_streams(issuer.as_str(), &client.id);
                json(200, StreamConfiguration::list_to_json(&all))
            }
            (&Method::DELETE, "streams", Some(id)) => {
                answered(self.delete(from, to, &id).await?, 204, |()| String::new())
            }
            (&Method::POST, "verify", _) => match VerificationRequest::read(body, strict) {
                Ok(verify) => answered(self.verify(from, to, verify).await?, 204, |()| String::new()),
                Err(_) => json(400, ""),
            },
            (&Method::POST, "poll", _) => {
                match (PollRequest::read(body, PollLimits::default()), rest.parse()) {
                    (Ok(poll), Ok(id)) => match self.poll(to, &id, &poll).await? {
                        Ok(sets) => {
                            let pairs = sets.sets.iter().map(|(jti, token)| (jti.as_str(), token.as_str()));
                            secevent_ssf::poll::response(pairs, sets.more_available)
                        }
                        Err(PollError::NoSuchStream) => json(404, ""),
                        Err(PollError::TooOften(_)) => json(429, ""),
                        Err(_) => json(503, ""),
                    },
                    _ => json(400, ""),
                }
            }
            _ => json(404, ""),
        })
    }

    /// Carries out a change of a stream, and tells the model when it begins and ends.
    /// An operator has the next attempt made now.
    pub(crate) async fn retry(&self, id: &StreamId) -> Result<(), Down> {
        let running = self.running()?;
        let number = self.sim.model(|model| {
            let found = model.now.streams.iter().find(|(_, stream)| stream.id == id.as_str());
            let number = found.map(|(number, _)| *number)?;
            model.outages.entry(number).or_default().may_be_tried();
            Some(number)
        });
        let retried = running.life.during(running.transmitter.retry_stream(id)).await.ok_or(Down)?;
        if let Some(number) = number {
            self.sim.note(match retried {
                Ok(retried) => format!("s{number} is retried: {retried:?}"),
                Err(error) => format!("s{number} is not retried: {error}"),
            });
        }
        Ok(())
    }

    async fn manage<T>(
        &self,
        id: &StreamId,
        becomes: Option<Standing>,
        change: impl AsyncFnOnce(&Transmitter) -> Result<T, ManageError>,
    ) -> Result<Result<T, ManageError>, Down> {
        let running = self.running()?;
        let ends = matches!(becomes, Some(Standing::Disabled | Standing::Deleted));
        self.sim.model(|model| {
            if let Some(stream) = model.stream_by_id(id.as_str()) {
                stream.changing += 1;
                stream.changes += 1;
            }
        });
        let number = |model: &mut crate::model::Model| {
            let found = model.now.streams.iter().find(|(_, stream)| stream.id == id.as_str());
            found.map(|(number, _)| *number)
        };
        self.sim.model(|model| {
            let Some(number) = number(model) else { return };
            model.outages.entry(number).or_default().forget_row();
            if ends {
                model.excuse(number, false);
            }
        });
        let changed = running.life.during(change(&running.transmitter)).await.ok_or(Down)?;
        self.sim.model(|model| {
            let Some(number) = number(model) else { return };
            // Its receiver may be somewhere else now.
            model.outages.entry(number).or_default().forget_row();
            if let Some(stream) = model.now.streams.get_mut(&number) {
                stream.changing = stream.changing.saturating_sub(1);
                stream.changes += 1;
                stream.standing = match (&changed, becomes) {
                    (Ok(_), Some(becomes)) => becomes,
                    (Ok(_), None) => stream.standing,
                    (Err(_), _) => Standing::Unknown,
                };
            }
            if ends {
                model.excuse(number, changed.is_ok());
            }
        });
        let what = match (&changed, becomes) {
            (Ok(_), Some(becomes)) => format!("becomes {becomes:?}"),
            (Ok(_), None) => "is changed".to_owned(),
            (Err(error), becomes) => format!("does not become {becomes:?}: {error}"),
        };
        self.sim.note(format!("stream {} {what}", self.short(id)));
        self.resolve(false);
        Ok(changed)
    }

    /// What became of requests that failed or were cut off is read from the transmitter itself. At a start,
    /// what streams were owed that have ended is dropped.
    fn resolve(&self, is_start: bool) {
        let Ok(running) = self.running() else { return };
        let unknown: Vec<_> = self.sim.model(|model| {
            let unknown = model.now.streams.iter();
            let unknown = unknown.filter(|(_, one)| one.changing == 0 && one.standing == Standing::Unknown);
            unknown.map(|(number, one)| (*number, one.id.clone(), one.issuer, one.client)).collect()
        });
        for (number, id, from, to) in unknown {
            let Ok(id) = id.parse::<StreamId>() else { continue };
            let status = running.transmitter.stream_status(issuer(from).as_str(), &client(to).id, &id);
            let standing = match status.map(|status| status.status) {
                Ok(Status::Enabled) => Standing::Enabled,
                Ok(Status::Paused) => Standing::Paused,
                Ok(Status::Disabled) => Standing::Disabled,
                Err(_) => Standing::Deleted,
            };
            self.sim.note(format!("s{number} turns out to be {standing:?}"));
            self.sim.model(|model| {
                if let Some(stream) = model.now.streams.get_mut(&number) {
                    stream.standing = standing;
                    stream.changes += 1;
                }
                if matches!(standing, Standing::Disabled | Standing::Deleted) {
                    model.excuse(number, is_start);
                }
            });
        }
    }

    /// Identifiers can be read once the store has its key.
    fn learn_key(&self, disk: &Disk) {
        let Some(sealed) = disk.document("store-key") else { return };
        let opened = std::str::from_utf8(&sealed).ok().and_then(|text| vault().open("store-key", text).ok());
        if let Some(key) = opened.and_then(|key| <[u8; 16]>::try_from(key).ok()) {
            self.sim.model(|model| model.codec = Some(JtiCodec::new(&StoreKey::new(key))));
        }
    }

    fn name(&self, jti: &str) -> String {
        self.sim.model(|model| model.place_of(jti).map_or_else(|| "?".to_owned(), |place| model.name(place)))
    }

    /// The stream's number: its id is as random as the seed makes it, and long.
    fn short(&self, id: &StreamId) -> String {
        self.sim.model(|model| {
            let found = model.now.streams.iter().find(|(_, stream)| stream.id == id.as_str());
            found.map_or_else(|| "?".to_owned(), |(number, _)| format!("s{number}"))
        })
    }

    fn running(&self) -> Result<Running, Down> {
        self.state().running.clone().ok_or(Down)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The acknowledgements of a poll, until it is answered well.
struct Hearing<'a> {
    sim: &'a Sim,
    request: &'a PollRequest,
    life: u32,
    is_over: AtomicBool,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        if self.is_over.load(Ordering::Relaxed) {
            return;
        }
        self.sim.model(|model| {
            let refused = self.request.set_errs.iter().map(|(jti, _)| jti);
            for jti in self.request.ack.iter().chain(refused) {
                let place = model.place_of(jti).filter(|_| model.life == self.life);
                if let Some(owed) = place.and_then(|place| model.now.owed.get_mut(&place)) {
                    // It may come again at once.
                    owed.handed = None;
                }
            }
        });
    }
}

pub(crate) fn vault() -> Vault {
    Vault::new(&[7; 32])
}

fn metadata(from: usize) -> String {
    let base = format!("https://tr.example/i{from}");
    let endpoint = |path: &str| format!("{base}/{path}").parse().ok();
    let metadata = TransmitterMetadata {
        jwks_uri: endpoint("jwks.json"),
        configuration_endpoint: endpoint("streams"),
        status_endpoint: endpoint("status"),
        verification_endpoint: endpoint("verify"),
        ..TransmitterMetadata::new(issuer(from))
    };
    metadata.to_json()
}

fn answered<T>(
    result: Result<T, ManageError>,
    status: u16,
    body: impl FnOnce(&T) -> String,
) -> Response<Bytes> {
    match result {
        Ok(value) => json(status, body(&value)),
        Err(ManageError::NoSuchStream | ManageError::Ours(TransmitterError::UnknownIssuer(_))) => {
            json(404, "")
        }
        Err(ManageError::Invalid(_)) => json(400, ""),
        Err(ManageError::Held) => json(403, ""),
        Err(ManageError::TooManyStreams(_) | ManageError::Busy) => json(409, ""),
        Err(_) => json(503, ""),
    }
}

fn json(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The event types that a stream with this mask asks for.
pub(crate) fn events_requested(kinds: [bool; TYPES.len()]) -> Vec<String> {
    let asked = TYPES.iter().zip(kinds).filter(|(_, asked)| *asked);
    asked.map(|(uri, _)| (*uri).to_owned()).collect()
}
