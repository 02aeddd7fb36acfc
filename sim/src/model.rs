//! What the world has been promised so far, and what was seen of it: a table of streams, a table of what is owed
//! to them, and what each receiver did. It is written from the promises; [`crate::invariants`] holds it to them.

use crate::events::{Event, TYPES, Tag, tag_of};
use crate::sim::SimClock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::Timestamp;
use secevent_store::{Epoch, Jti, JtiCodec, NewEvent, Queue, Recorded, StreamNumber};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The bounds that the parts were given, or that are stated for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) pushes_max: usize,
    pub(crate) pushes_per_stream_max: usize,
    pub(crate) poll_sets_max: usize,
    pub(crate) poll_visibility: Duration,
    pub(crate) age_max: Duration,
    /// After so many failures of different deliveries in a row a stream is suspended.
    pub(crate) failures_max: usize,
    /// Its first pause is at least so long, and none is longer.
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
    /// Deliveries in one page.
    pub(crate) page_max: usize,
    /// Handlers at work at once in one receiver.
    pub(crate) handlers_max: usize,
    /// Acknowledgements in one request of a production receiver.
    pub(crate) acks_max: usize,
}

/// A delivery's place: its stream and its sequence.
pub(crate) type Place = (u32, u64);

pub(crate) struct Model {
    pub(crate) limits: Limits,
    /// The transmitter's clock.
    pub(crate) clock: Arc<SimClock>,
    /// Reads identifiers, once the store's key is known.
    pub(crate) codec: Option<JtiCodec>,
    pub(crate) events: BTreeMap<Tag, Event>,
    /// What the transmitter's store holds, and what follows from it.
    pub(crate) now: Timeline,
    /// Every SET that was ever seen outside, by `jti`. No crash and no backup takes back what was said.
    pub(crate) said: BTreeMap<String, Said>,
    pub(crate) receivers: Vec<Receiver>,
    /// The transmitter's life; none while it is down.
    pub(crate) life: u32,
    /// Pushes that are unanswered, as far as this life knows.
    pub(crate) flying: BTreeSet<Place>,
    /// What this life of the transmitter has heard of each stream's receiver since something last succeeded there.
    pub(crate) outages: BTreeMap<u32, Outage>,
    /// How many calls are telling of an event just now.
    pub(crate) telling: BTreeMap<Tag, u32>,
}

/// What an attempt came to, as the transmitter learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Succeeded,
    /// The receiver may have asked for so long a pause.
    Failed(Option<Duration>),
}

/// Failures of one receiver without a success between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outage {
    /// Deliveries that failed and have not succeeded since.
    failed: BTreeSet<Place>,
    /// How many of them failed for the first time in this row.
    failures: usize,
    /// Since when there are so many that the stream has to be suspended.
    since: Option<Instant>,
    /// When an attempt failed that began after that.
    pub(crate) probed: Option<Instant>,
    /// The receiver has asked for a pause until then.
    pub(crate) paused_until: Option<Instant>,
}

/// A store's content over time. A backup is a copy of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) owed: BTreeMap<Place, Owed>,
    pub(crate) committed: BTreeMap<Tag, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: String,
    pub(crate) client: usize,
    pub(crate) issuer: usize,
    pub(crate) kinds: [bool; TYPES.len()],
    /// Where it is pushed to; none if it is polled.
    pub(crate) endpoint: Option<String>,
    pub(crate) standing: Standing,
    /// Requests to change it that are not answered yet.
    pub(crate) changing: u32,
    /// Counts its changes, so that it can be told whether there was one.
    pub(crate) changes: u64,
}

/// What a stream is, as far as requests about it were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Enabled,
    Paused,
    Disabled,
    Deleted,
    /// A request failed, or a crash cut it off.
    Unknown,
}

impl Stream {
    /// What it is, if nobody is changing it.
    pub(crate) fn settled(&self) -> Option<Standing> {
        (self.changing == 0 && self.standing != Standing::Unknown).then_some(self.standing)
    }
}

/// One delivery that is owed to one stream.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) epoch: Epoch,
    pub(crate) queue: Queue,
    /// None for a control event.
    pub(crate) tag: Option<Tag>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) end: Option<End>,
    /// Its producer was told that it is accepted, while its stream stood firm.
    pub(crate) is_promised: bool,
    /// Its stream was disabled or deleted since, so that it may be dropped.
    pub(crate) is_excused: bool,
    /// And that was answered, so that it must not go out again.
    pub(crate) is_closed: bool,
    pub(crate) is_offered: bool,
    /// The receiver said so, and the transmitter heard it.
    pub(crate) was_taken: bool,
    pub(crate) was_refused: bool,
    /// The life in which a push of it was answered for good.
    pub(crate) answered_in: Option<u32>,
    /// When it was handed to a poller last, and in which life.
    pub(crate) handed: Option<(u32, Timestamp)>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Acked,
    Rejected,
    Abandoned,
    Dropped,
}

/// A SET that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) digest: u64,
    pub(crate) tag: Option<Tag>,
}

/// What a receiver has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receiver {
    /// Whether it is the production receiver.
    pub(crate) is_production: bool,
    pub(crate) life: u32,
    /// What it has durably, with its place in the order of arrival.
    pub(crate) kept: BTreeMap<String, usize>,
    pub(crate) arrived: Vec<String>,
    /// In which lives the effect was applied.
    pub(crate) effects: BTreeMap<String, Vec<u32>>,
    /// What the handler refused for good.
    pub(crate) dead: BTreeSet<String>,
    /// What the handler is at.
    pub(crate) working: BTreeSet<String>,
}

impl Model {
    pub(crate) fn new(limits: Limits, clock: &Arc<SimClock>, receivers: Vec<bool>) -> Self {
        let receiver = |is_production| Receiver { is_production, ..Receiver::default() };
        Self {
            limits,
            clock: Arc::clone(clock),
            codec: None,
            events: BTreeMap::new(),
            now: Timeline::default(),
            said: BTreeMap::new(),
            receivers: receivers.into_iter().map(receiver).collect(),
            life: 0,
            flying: BTreeSet::new(),
            outages: BTreeMap::new(),
            telling: BTreeMap::new(),
        }
    }

    /// A producer begins to tell of an event. Returns the streams that get it for certain, each with the count
    /// of its changes: none if it was told of before, because a repeat changes nothing.
    pub(crate) fn told(&mut self, event: &Event, issuer: usize) -> Vec<(u32, u64)> {
        let telling = self.telling.entry(event.tag).or_default();
        *telling += 1;
        let is_new = *telling == 1 && !self.now.committed.contains_key(&event.tag);
        if is_new { self.certain(issuer, event.kind) } else { Vec::new() }
    }

    pub(crate) fn stream_by_id(&mut self, id: &str) -> Option<&mut Stream> {
        self.now.streams.values_mut().find(|stream| stream.id == id)
    }

    fn certain(&self, issuer: usize, kind: usize) -> Vec<(u32, u64)> {
        let stands = |stream: &&Stream| {
            stream.issuer == issuer
                && stream.kinds[kind]
                && matches!(stream.settled(), Some(Standing::Enabled | Standing::Paused))
        };
        let numbered = self.now.streams.iter().filter(|(_, stream)| stands(stream));
        numbered.map(|(number, stream)| (*number, stream.changes)).collect()
    }

    /// A stream's document was written or deleted.
    pub(crate) fn stream_written(&mut self, name: &str, body: Option<&[u8]>) {
        let Some(id) = name.strip_prefix("stream/") else { return };
        let Some(body) = body.and_then(|body| serde_json::from_slice::<Value>(body).ok()) else { return };
        let number = body["number"].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let asked =
            |uri: &str| body["events_requested"].as_array().is_some_and(|a| a.iter().any(|e| e == uri));
        let known = self.now.streams.get(&number);
        let stream = Stream {
            id: id.to_owned(),
            client: number_of(&body["client"], "rp"),
            issuer: number_of(&body["issuer"], "https://tr.example/i"),
            kinds: TYPES.map(asked),
            endpoint: body["target"]["endpoint_url"].as_str().map(str::to_owned),
            standing: known.map_or(Standing::Unknown, |known| known.standing),
            // A new one is being created until that is answered.
            changing: known.map_or(1, |known| known.changing),
            changes: known.map_or(0, |known| known.changes + 1),
        };
        self.now.streams.insert(number, stream);
    }

    /// Events were recorded: they are owed from now on.
    pub(crate) fn recorded(&mut self, events: &[NewEvent], answers: &[Recorded]) -> Vec<(Tag, u64)> {
        let mut new = Vec::new();
        for (event, answer) in events.iter().zip(answers) {
            let Recorded::New { epoch, sequence } = *answer else { continue };
            let body =
                serde_json::from_str::<Value>(&format!("{{{}}}", String::from_utf8_lossy(&event.body)));
            let tag = body.ok().and_then(|body| tag_of(&body["events"]));
            if let Some(tag) = tag {
                new.push((tag, sequence.0));
            }
            for owed in &event.owed {
                let owed_now = Owed {
                    epoch,
                    queue: owed.queue,
                    tag,
                    accepted_at: event.accepted_at,
                    end: None,
                    is_promised: false,
                    is_excused: false,
                    is_closed: false,
                    is_offered: false,
                    was_taken: false,
                    was_refused: false,
                    answered_in: None,
                    handed: None,
                };
                self.now.owed.insert((owed.stream.0, sequence.0), owed_now);
            }
        }
        new
    }

    /// An attempt that began then has ended.
    pub(crate) fn attempted(&mut self, place: Place, began: Instant, ended: Ended) {
        let now = Instant::now();
        let (failures_max, delay_max) = (self.limits.failures_max, self.limits.delay_max);
        let outage = self.outages.entry(place.0).or_default();
        let Ended::Failed(asked) = ended else {
            outage.failed.remove(&place);
            outage.forget_row();
            return;
        };
        outage.failures += usize::from(outage.failed.insert(place));
        if outage.since.is_some_and(|since| began > since) {
            outage.probed = Some(now);
        }
        if outage.failures >= failures_max {
            outage.since.get_or_insert(now);
        }
        if let Some(asked) = asked {
            outage.paused_until = outage.paused_until.max(Some(now + asked.min(delay_max)));
        }
    }

    /// A crash has undone these settlements.
    pub(crate) fn unsettle(&mut self, places: &[Place]) {
        for place in places {
            if let Some(owed) = self.now.owed.get_mut(place) {
                owed.end = None;
            }
        }
    }

    /// A stream was disabled or deleted: what it was owed until now may be dropped. Once that `is_answered`, it
    /// must not be sent either.
    pub(crate) fn excuse(&mut self, number: u32, is_answered: bool) {
        for owed in self.owed_to(number) {
            owed.is_excused = true;
            owed.is_closed |= is_answered;
        }
    }

    pub(crate) fn owed_to(&mut self, stream: u32) -> impl Iterator<Item = &mut Owed> {
        self.now.owed.range_mut((stream, 0)..=(stream, u64::MAX)).map(|(_, owed)| owed)
    }

    /// What is not settled, on streams that take it.
    pub(crate) fn pending(&self) -> Vec<Place> {
        let is_pending = |owed: &Owed| owed.end.is_none() && !owed.is_excused;
        let pending = self.now.owed.iter().filter(|(_, owed)| is_pending(owed));
        pending.map(|(place, _)| *place).collect()
    }

    /// Whether the clock has ever shown that a delivery is older than it may get.
    pub(crate) fn is_too_old(&self, owed: &Owed) -> bool {
        self.clock.latest().since(owed.accepted_at) > self.limits.age_max
    }

    /// The delivery that an identifier stands for, if it is one of this timeline.
    pub(crate) fn place_of(&self, jti: &str) -> Option<Place> {
        let codec = self.codec.as_ref()?;
        let decode = |number: &u32| codec.decode(jti, StreamNumber(*number));
        let Jti { epoch, sequence, stream, .. } = self.now.streams.keys().find_map(decode)?;
        let place = (stream.0, sequence.0);
        (self.now.owed.get(&place)?.epoch == epoch).then_some(place)
    }

    /// Whether two deliveries of one stream share an identifier.
    pub(crate) fn conflict(&self, one: &Owed, other: &Owed) -> bool {
        let named =
            |owed: &Owed| owed.tag.and_then(|tag| self.events.get(&tag)).map(|event| &event.identifiers);
        match (named(one), named(other)) {
            (Some(one), Some(other)) => !one.is_disjoint(other),
            _ => false,
        }
    }

    /// How a SET is called in the trace: the same in each run of a seed.
    pub(crate) fn name(&self, place: Place) -> String {
        let tag = self.now.owed.get(&place).and_then(|owed| owed.tag);
        let what = tag.map_or_else(|| "control".to_owned(), |tag| format!("e{tag}"));
        format!("{what}(s{} #{})", place.0, place.1)
    }
}

impl Outage {
    /// An operator asks for an attempt now. If that fails, the receiver is left alone again.
    pub(crate) fn may_be_tried(&mut self) {
        (self.probed, self.paused_until) = (None, None);
    }

    /// Something succeeded, or its times mean nothing any more: the receiver is somewhere else, the clock is set.
    pub(crate) fn forget_row(&mut self) {
        *self = Self { failed: std::mem::take(&mut self.failed), ..Self::default() };
    }
}

impl Receiver {
    pub(crate) fn keep(&mut self, jti: &str) {
        if !self.kept.contains_key(jti) {
            self.kept.insert(jti.to_owned(), self.arrived.len());
            self.arrived.push(jti.to_owned());
        }
    }

    pub(crate) fn is_done(&self, jti: &str) -> bool {
        self.effects.contains_key(jti) || self.dead.contains(jti)
    }
}

impl Said {
    pub(crate) fn of(payload: &[u8], claims: &Value) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        Self { digest: hasher.finish(), tag: tag_of(&claims["events"]) }
    }
}

/// The payload of a compact token.
pub(crate) fn payload_of(token: &[u8]) -> Option<Vec<u8>> {
    let payload = token.split(|byte| *byte == b'.').nth(1)?;
    URL_SAFE_NO_PAD.decode(payload).ok()
}

fn number_of(value: &Value, before: &str) -> usize {
    let number = value.as_str().and_then(|text| text.strip_prefix(before)).and_then(|text| text.parse().ok());
    number.unwrap_or(usize::MAX)
}
