//! Why an event goes where it goes: for an event that might be, and for one that was.
//!
//! The rules are those of the way of every event: what is told here is what [`Transmitter::accept`] does.

use crate::accept::Incoming;
use crate::config::Overflow;
use crate::outgoing::{WaitsFor, place_of};
use crate::render;
use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::ssf::{StreamUpdated, Verification};
use secevent::{EventType, Subject, Timestamp};
use secevent_ssf::{Status, StreamId};
use secevent_store::{
    Attempt, Cause, Delivery, DeliveryOutcome, DropReason, Ended, Ending, Kept, Place, Queue, Sequence,
    StreamNumber,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// By which rule an event goes to a stream, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// It is owed, and sent in its turn.
    Owed,
    /// It is owed, and kept until the stream is enabled.
    Paused,
    /// It is owed, and kept until the receiver is well.
    Suspended,
    /// It is owed, and the stream is paused because it is owed as much as it may be.
    Overflows,
    /// It is not owed, because the stream is owed as much as it may be.
    Full,
    /// The stream is another issuer's.
    Issuer,
    /// The stream is disabled.
    Disabled,
    /// The issuer's streams do not carry this type.
    NotSupported,
    /// The stream did not ask for this type.
    NotRequested,
    /// The stream is not about this subject: it was removed, or never added where that is needed.
    Subject,
    /// The stream's client is switched off.
    Client,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Owed,
        Self::Paused,
        Self::Suspended,
        Self::Overflows,
        Self::Full,
        Self::Issuer,
        Self::Disabled,
        Self::NotSupported,
        Self::NotRequested,
        Self::Subject,
        Self::Client,
    ];

    /// Whether the stream is owed the event.
    pub fn goes(self) -> bool {
        matches!(self, Self::Owed | Self::Paused | Self::Suspended | Self::Overflows)
    }

    /// Its short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Overflows => "overflows",
            Self::Full => "full",
            Self::Issuer => "issuer",
            Self::Disabled => "disabled",
            Self::NotSupported => "not_supported",
            Self::NotRequested => "not_requested",
            Self::Subject => "subject",
            Self::Client => "client",
        }
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Owed => "the stream asks for this type, and gets it",
            Self::Paused => "the stream is paused: it is kept until the stream is enabled",
            Self::Suspended => "the receiver is in trouble: it is kept until the receiver answers",
            Self::Overflows => {
                "the stream is owed as much as it may be: it is kept, and the stream is paused"
            }
            Self::Full => "the stream is owed as much as it may be: it is dropped, and counted",
            Self::Issuer => "the stream carries another issuer's events",
            Self::Disabled => "the stream is disabled",
            Self::NotSupported => "the issuer's streams do not carry this type",
            Self::NotRequested => "the stream did not ask for this type",
            Self::Subject => "the stream is not about this subject",
            Self::Client => "the stream's client is switched off",
        }
    }
}

/// What becomes of an event at one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The stream.
    pub stream: StreamId,
    /// The client that it belongs to.
    pub client: String,
    /// By which rule.
    pub rule: Rule,
}

/// What became of an event.
#[derive(Clone, Debug)]
pub struct Story {
    /// The event's own identifier.
    pub event_id: String,
    /// The `txn` of its SETs.
    pub txn: String,
    /// Its type's URI. None if what it says was erased.
    pub event_type: Option<String>,
    /// Whose event it is. None if that cannot be told: nobody was owed it, and there are several issuers.
    pub issuer: Option<String>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The deliveries that it was owed as.
    pub deliveries: Vec<Told>,
    /// The streams that do not get it, and by which rule they would not get it today.
    pub elsewhere: Vec<Explained>,
}

/// What became of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The stream. None if it is gone.
    pub stream: Option<StreamId>,
    /// The `jti` of its SET.
    pub jti: String,
    /// How it stands.
    pub state: DeliveryState,
    /// How often it was attempted, as far as that is known: offers to a poller too.
    pub attempts: Option<u32>,
    /// The last of the attempts, oldest first, [`Attempt::KEPT_MAX`] at most.
    pub last_attempts: Vec<Attempt>,
}

/// How a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is owed.
    Pending {
        /// Not to be attempted before this.
        due_at: Timestamp,
        /// Whether an operator asked for it again.
        again: bool,
        /// What it waits for.
        waits: Waits,
    },
    /// It ended, and nobody got it.
    Dead {
        /// Who ended it.
        cause: Cause,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Its receiver has it.
    Delivered {
        /// Since when.
        at: Timestamp,
    },
    /// It was dropped.
    Dropped {
        /// Why.
        reason: DropReason,
        /// When.
        at: Timestamp,
    },
    /// Nobody got it, and its dead letter was forgotten since.
    Forgotten {
        /// Who ended it.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// It is owed no more. How it ended was not kept when it did: an older release was at work.
    Settled,
}

/// What a pending delivery waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waits {
    /// The stream is gone or disabled: it will be dropped.
    Drop,
    /// The stream's client is switched off.
    Client,
    /// The stream is paused; with the reason, if there is one.
    Paused(Option<String>),
    /// The receiver is in trouble: what the last failure was, and when it is tried again.
    Suspended {
        /// The last failure.
        reason: String,
        /// When the next attempt is due.
        until: Timestamp,
    },
    /// It is being sent.
    Answer,
    /// It was handed to the poller, and is hidden until then unless it is acknowledged.
    Ack(Timestamp),
    /// Its last attempt failed, and the next one is due then.
    Retry(Timestamp),
    /// An earlier event about the same subject is not settled.
    Subject,
    /// Earlier events of the stream are not settled.
    Backlog,
    /// As many attempts are under way as the stream may have.
    Window,
    /// The receiver has to poll.
    Poll,
    /// Nothing: it is sent next.
    Turn,
}

impl Waits {
    /// Its short name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Client => "client",
            Self::Paused(_) => "paused",
            Self::Suspended { .. } => "suspended",
            Self::Answer => "answer",
            Self::Ack(_) => "ack",
            Self::Retry(_) => "retry",
            Self::Subject => "subject",
            Self::Backlog => "backlog",
            Self::Window => "window",
            Self::Poll => "poll",
            Self::Turn => "turn",
        }
    }

    /// What that means.
    pub fn meaning(&self) -> String {
        let text = match self {
            Self::Drop => "the stream is disabled or deleted: it will be dropped",
            Self::Client => "the client of the stream is disabled",
            Self::Paused(None) => "the stream is paused",
            Self::Paused(Some(reason)) => return format!("the stream is paused: {reason}"),
            Self::Suspended { reason, .. } => {
                return format!("the receiver fails, and is tried again with one SET: {reason}");
            }
            Self::Answer => "it is being sent",
            Self::Ack(_) => "the poller has it and has not acknowledged it: hidden until then",
            Self::Retry(_) => "its last attempt failed: waits for the next one",
            Self::Subject => "an earlier event about the same subject is not settled",
            Self::Backlog => "earlier events of the stream are sent first",
            Self::Window => "as many attempts are under way as the stream may have",
            Self::Poll => "the receiver has not polled for it",
            Self::Turn => "it is sent next",
        };
        text.to_owned()
    }

    /// Until when, if that is known.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Suspended { until, .. } | Self::Ack(until) | Self::Retry(until) => Some(*until),
            _ => None,
        }
    }
}

/// What became of the events that a text names.
#[derive(Clone, Debug)]
pub struct Stories {
    /// How many events it names: several if it is the `txn` of several.
    pub count: usize,
    /// What became of them, newest first: [`Stories::MAX`] at most.
    pub stories: Vec<Story>,
}

impl Stories {
    /// How many events are shown at most.
    pub const MAX: usize = 20;
}

/// What becomes of an event at a stream that asks for its type.
pub(crate) enum Match {
    Owed,
    /// It is owed, and more than the stream may hold.
    Overflows,
    /// It is not owed: the stream holds all that it may.
    Full,
}

/// How many events are looked at together.
const PAGE: usize = 500;

impl Transmitter {
    /// The one place that decides about a stream that asks for an event's type, and is about its subject.
    pub(crate) fn match_of(&self, entry: &Entry) -> Match {
        let backlog = &self.config.backlog;
        match (backlog.are_reached(entry.outgoing().load()), backlog.overflow) {
            (false, _) => Match::Owed,
            (true, Overflow::Drop) => Match::Full,
            (true, Overflow::Pause) => Match::Overflows,
        }
    }

    /// To which streams an event would go, and to which not. Nothing is accepted.
    pub async fn explain(&self, issuer: &str, event: &Incoming) -> Result<Vec<Explained>, TransmitterError> {
        let config = self.issuer(issuer)?.config();
        let numbers = |entries: Vec<Arc<Entry>>| -> BTreeSet<StreamNumber> {
            entries.iter().map(|entry| entry.settings().stream.number()).collect()
        };
        let asks = numbers(self.table.matching(issuer, event.event_type()));
        let owed = self.owed_to(config, std::slice::from_ref(event), self.expiry_now()).await?;
        let owed = numbers(owed.into_iter().flatten().collect());
        let explain = |entry: Arc<Entry>| {
            let settings = entry.settings();
            let number = settings.stream.number();
            let rule = match (asks.contains(&number), owed.contains(&number)) {
                (_, true) => self.rule_for(&entry),
                (true, false) => Rule::Subject,
                (false, false) => self.rule_against(&entry, issuer, event.event_type()),
            };
            let (stream, client) = (settings.stream.stream_id(), settings.stream.client.clone());
            Explained { stream, client, rule }
        };
        Ok(self.table.all().into_iter().map(explain).collect())
    }

    fn rule_for(&self, entry: &Entry) -> Rule {
        match self.match_of(entry) {
            Match::Full => Rule::Full,
            _ if entry.settings().stream.status == Status::Paused => Rule::Paused,
            Match::Overflows => Rule::Overflows,
            Match::Owed if entry.outgoing().suspended().is_some() => Rule::Suspended,
            Match::Owed => Rule::Owed,
        }
    }

    /// Why the index does not have the stream for this issuer and type.
    fn rule_against(&self, entry: &Entry, issuer: &str, uri: &str) -> Rule {
        let settings = entry.settings();
        let supported =
            self.issuer(issuer).is_ok_and(|issuer| issuer.events_supported().iter().any(|one| one == uri));
        match settings.stream.status {
            _ if settings.stream.issuer != issuer => Rule::Issuer,
            Status::Disabled => Rule::Disabled,
            _ if entry.is_off() => Rule::Client,
            _ if !supported => Rule::NotSupported,
            _ => Rule::NotRequested,
        }
    }

    /// What became of the event that this names, or of the events: an own identifier, a `txn`, or the `jti` of one of the
    /// SETs. None if there is none, or it is not kept any more.
    pub async fn stories(&self, name: &str) -> Result<Option<Stories>, TransmitterError> {
        let (count, events) = self.find_events(name).await?;
        let mut stories = Vec::with_capacity(events.len());
        for event in events {
            stories.push(self.story_of(&event).await?);
        }
        Ok((count > 0).then_some(Stories { count, stories }))
    }

    /// What became of the newest event that this names.
    pub async fn story(&self, name: &str) -> Result<Option<Story>, TransmitterError> {
        let (_, events) = self.find_events(name).await?;
        match events.first() {
            Some(event) => Ok(Some(self.story_of(event).await?)),
            None => Ok(None),
        }
    }

    async fn story_of(&self, event: &Kept) -> Result<Story, TransmitterError> {
        let outcomes = self.store.outcomes(event.sequence).await?;
        let mut outcomes: BTreeMap<StreamNumber, DeliveryOutcome> =
            outcomes.into_iter().map(|outcome| (outcome.stream, outcome)).collect();
        let mut streams: Vec<StreamNumber> = event.owed.iter().map(|(stream, _)| *stream).collect();
        streams
            .extend(outcomes.keys().filter(|stream| !streams.contains(stream)).copied().collect::<Vec<_>>());
        let mut deliveries = Vec::new();
        for stream in &streams {
            deliveries.push(self.tell_delivery(event, *stream, outcomes.remove(stream)).await?);
        }
        let event_id = render::event_id(event.epoch, event.sequence, &self.codec);
        let body = Body::read(&event.body);
        let issuer = self.issuer_of(&streams);
        let elsewhere = match (&body, &issuer) {
            // What is about a stream itself is for that stream alone.
            (Some(body), _) if is_control(&body.uri) => Vec::new(),
            (Some(body), Some(issuer)) => self.explain_elsewhere(issuer, body, &streams).await?,
            _ => Vec::new(),
        };
        Ok(Story {
            txn: body.as_ref().and_then(|body| body.txn.clone()).unwrap_or_else(|| event_id.clone()),
            event_id,
            event_type: body.map(|body| body.uri),
            issuer,
            accepted_at: event.accepted_at,
            deliveries,
            elsewhere,
        })
    }

    async fn explain_elsewhere(
        &self,
        issuer: &str,
        body: &Body,
        was_owed: &[StreamNumber],
    ) -> Result<Vec<Explained>, TransmitterError> {
        let was_owed: BTreeSet<StreamNumber> = was_owed.iter().copied().collect();
        let Some(incoming) = body.to_incoming() else { return Ok(Vec::new()) };
        let mut elsewhere = self.explain(issuer, &incoming).await?;
        elsewhere.retain(|explained| {
            let number =
                self.table.by_id(explained.stream.as_str()).map(|entry| entry.settings().stream.number());
            number.is_some_and(|number| !was_owed.contains(&number))
        });
        Ok(elsewhere)
    }

    /// How many events this names, and the newest of them, newest first.
    async fn find_events(&self, name: &str) -> Result<(usize, Vec<Kept>), TransmitterError> {
        let streams = self.table.all();
        let numbers = streams.iter().map(|entry| entry.settings().stream.number());
        let named = std::iter::once(StreamNumber(0))
            .chain(numbers)
            .find_map(|number| self.codec.decode(name, number));
        if let Some(named) = named {
            let event = self.store.event(named.sequence).await?;
            let found: Vec<Kept> = event.into_iter().filter(|event| event.epoch == named.epoch).collect();
            return Ok((found.len(), found));
        }
        // A name that its producer gave is in no index.
        let (mut after, mut count, mut newest) = (Sequence(0), 0, VecDeque::new());
        loop {
            let events = self.store.events(after, PAGE).await?;
            let Some(last) = events.last() else { return Ok((count, newest.into())) };
            after = last.sequence;
            let same = |event: &Kept| {
                event.body.starts_with(b"\"txn\":")
                    && Body::read(&event.body).is_some_and(|body| body.txn.as_deref() == Some(name))
            };
            for found in events.into_iter().filter(same) {
                count += 1;
                newest.truncate(Stories::MAX - 1);
                newest.push_front(found);
            }
        }
    }

    fn issuer_of(&self, streams: &[StreamNumber]) -> Option<String> {
        let owed = streams.iter().find_map(|stream| self.table.by_number(*stream));
        if let Some(entry) = owed {
            return Some(entry.settings().stream.issuer.clone());
        }
        let mut issuers = self.issuers();
        let only = issuers.next()?;
        issuers.next().is_none().then(|| only.url.to_string())
    }

    async fn tell_delivery(
        &self,
        event: &Kept,
        stream: StreamNumber,
        outcome: Option<DeliveryOutcome>,
    ) -> Result<Told, TransmitterError> {
        let entry = self.table.by_number(stream);
        let first =
            secevent_store::Jti { epoch: event.epoch, sequence: event.sequence, stream, generation: 0 };
        let mut told = Told {
            stream: entry.as_ref().map(|entry| entry.settings().stream.stream_id()),
            jti: self.codec.encode(first),
            state: outcome
                .as_ref()
                .and_then(|outcome| outcome.ended)
                .map_or(DeliveryState::Settled, state_of),
            attempts: outcome.as_ref().map(|outcome| outcome.attempts),
            last_attempts: outcome.map_or_else(Vec::new, |outcome| outcome.last_attempts),
        };
        let pending = self.store.deliveries(stream, event.sequence).await?;
        if let Some(delivery) = pending.first() {
            told.jti = render::jti(delivery, &self.codec);
            // Not each offer to a poller is stored.
            let held = entry.as_ref().and_then(|entry| {
                let outgoing = entry.outgoing();
                let held = outgoing.find(delivery.epoch, delivery.sequence, delivery.generation)?;
                Some(held.attempts)
            });
            let unstored = held.unwrap_or(0).saturating_sub(delivery.attempts);
            told.attempts = Some(told.attempts.unwrap_or(delivery.attempts).saturating_add(unstored));
            let again = delivery.queue == Queue::Again;
            let waits = self.waits_of(entry.as_deref(), delivery);
            let due_at = waits.until().unwrap_or(delivery.due_at);
            told.state = DeliveryState::Pending { due_at, again, waits };
            return Ok(told);
        }
        for queue in Queue::ALL {
            let place = Place { stream, queue, sequence: event.sequence };
            if let Some(dead) = self.store.dead_at(place).await? {
                told.jti = render::jti(&dead.delivery, &self.codec);
                told.attempts = told.attempts.or(Some(dead.delivery.attempts));
                told.state = DeliveryState::Dead { cause: dead.cause, reason: dead.reason, at: dead.at };
                return Ok(told);
            }
        }
        Ok(told)
    }
}

impl Transmitter {
    fn waits_of(&self, entry: Option<&Entry>, delivery: &Delivery) -> Waits {
        let Some(entry) = entry else { return Waits::Drop };
        let settings = entry.settings();
        let stream = &settings.stream;
        let is_sent_last = delivery.queue == Queue::Control && stream.untold;
        match stream.status {
            _ if entry.is_off() => return Waits::Client,
            Status::Disabled if !is_sent_last => return Waits::Drop,
            Status::Paused if !is_sent_last => return Waits::Paused(stream.reason.clone()),
            Status::Enabled | Status::Paused | Status::Disabled => {}
        }
        let is_polled = entry.is_polled();
        let outgoing = entry.outgoing();
        match outgoing.waits_for(place_of(delivery), self.steady_now()) {
            WaitsFor::Answer => Waits::Answer,
            WaitsFor::Receiver { until } => {
                let reason = outgoing.suspended().map(|suspended| suspended.detail.to_string());
                Waits::Suspended { reason: reason.unwrap_or_default(), until }
            }
            // What a poller has not asked for is not even read.
            WaitsFor::Backlog | WaitsFor::Window | WaitsFor::Turn if is_polled => Waits::Poll,
            WaitsFor::Backlog => Waits::Backlog,
            WaitsFor::Subject => Waits::Subject,
            WaitsFor::Retry { until } if is_polled => Waits::Ack(until),
            WaitsFor::Retry { until } => Waits::Retry(until),
            WaitsFor::Window => Waits::Window,
            WaitsFor::Turn => Waits::Turn,
        }
    }
}

/// Whether events of this type are about a stream itself, and go to that one alone.
pub(crate) fn is_control(uri: &str) -> bool {
    matches!(uri, StreamUpdated::URI | Verification::URI)
}

fn state_of(ended: Ended) -> DeliveryState {
    let at = ended.at;
    match ended.how {
        Ending::Acked => DeliveryState::Delivered { at },
        Ending::Rejected => DeliveryState::Forgotten { cause: Cause::Rejected, at },
        Ending::Abandoned => DeliveryState::Forgotten { cause: Cause::Abandoned, at },
        Ending::Dropped(reason) => DeliveryState::Dropped { reason, at },
    }
}

/// What a stored event says.
struct Body {
    txn: Option<String>,
    uri: String,
    subject: Option<Subject>,
}

impl Body {
    fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            txn: Option<String>,
            sub_id: Option<Subject>,
            #[serde(borrow)]
            events: BTreeMap<Cow<'a, str>, &'a RawValue>,
        }
        let whole = format!("{{{}}}", std::str::from_utf8(body).ok()?);
        let members: Members<'_> = serde_json::from_str(&whole).ok()?;
        let uri = members.events.keys().next()?.to_string();
        Some(Self { txn: members.txn, uri, subject: members.sub_id })
    }

    fn to_incoming(&self) -> Option<Incoming> {
        Some(Incoming::about(self.uri.clone(), self.subject.clone()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        let meanings: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.meaning()).collect();
        assert_eq!((names.len(), meanings.len()), (Rule::ALL.len(), Rule::ALL.len()));
    }

    #[test]
    fn what_is_stored_is_read() {
        let body = br#""txn":"mine","sub_id":{"format":"opaque","id":"a"},"events":{"urn:e":{"a":1}}"#;
        let read = Body::read(body).unwrap();
        assert_eq!((read.txn.as_deref(), read.uri.as_str()), (Some("mine"), "urn:e"));
        assert_eq!(read.to_incoming().unwrap().event_type(), "urn:e");
        assert!(Body::read(b"").is_none(), "it was erased");
    }
}
