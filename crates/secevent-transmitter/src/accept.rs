//! An event comes in: checked, matched, recorded; and only then is its producer told.

use crate::explain::{Match, is_control};
use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use crate::{IssuerConfig, render};
use aws_lc_rs::digest;
use bytes::Bytes;
use secevent::ssf::Verification;
use secevent::{Definition, EventType, Identifier, Invalid, Strictness, Subject, Timestamp};
use secevent_store::{Idempotency, NewEvent, Owed, Queue, Recorded};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{trace, warn};

/// An event as its producer tells it.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The event type's URI, as its definition has it.
    pub(crate) uri: String,
    pub(crate) subject: Subject,
    data: Box<RawValue>,
    occurred_at: Option<Timestamp>,
    txn: Option<String>,
}

/// An event that is durable now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The event's own identifier.
    pub event_id: String,
    /// The `txn` of all its SETs.
    pub txn: String,
    /// To how many streams it is owed.
    pub deliveries: usize,
}

/// Why an event was not accepted. Nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// An event breaks a rule.
    #[error("event {place}: {breach}")]
    Invalid {
        /// Which of the events, counted from 0.
        place: usize,
        /// What is wrong with it.
        breach: Invalid,
    },
    /// The same idempotency key came with another event before.
    #[error("this idempotency key was used for another event")]
    KeyUsedForAnotherEvent,
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

/// What one text of a producer may be.
const TEXT_CHARS_MAX: usize = 256;

impl Incoming {
    /// An event of a type that the program knows, strictly by its definition. The rules are those of
    /// [`Incoming::read`].
    ///
    /// ```
    /// use secevent::{Subject, caep::SessionRevoked};
    /// use secevent_transmitter::Incoming;
    ///
    /// let event = Incoming::new(&SessionRevoked::default(), Subject::email("alice@example.com")?)?;
    /// # let _ = event;
    /// # Ok::<(), secevent::Invalid>(())
    /// ```
    pub fn new<E: EventType>(event: &E, subject: Subject) -> Result<Self, Invalid> {
        let definition = Definition::of::<E>();
        check_type(E::URI)?;
        check_formats(&subject)?;
        let data = serde_json::value::to_raw_value(event)
            .map_err(|error| rule("data", format!("cannot be written as JSON: {error}")))?;
        secevent::json::check(data.get().as_bytes(), secevent::json::Limits::TOKEN)
            .map_err(|error| error.within("data"))?;
        definition.check(data.get(), Strictness::Strict).map_err(|error| error.within("data"))?;
        definition
            .check_subject(&subject)
            .map_err(|error| Invalid::new("subject", error.rule(), error.problem().to_owned()))?;
        Ok(Self { uri: E::URI.to_owned(), subject, data, occurred_at: None, txn: None })
    }

    /// The same event, at this time.
    #[must_use]
    pub fn occurred_at(self, at: Timestamp) -> Self {
        Self { occurred_at: Some(at), ..self }
    }

    /// The same event, tied to others of the same cause by this name.
    pub fn txn(self, txn: impl Into<String>) -> Result<Self, Invalid> {
        Ok(Self { txn: Some(bounded("txn", txn.into())?), ..self })
    }

    /// Reads an event: `{"type", "subject", "data"?, "occurred_at"?, "txn"?}`. Any other member is an error, so that a
    /// misspelled one is noticed. In `data` unknown members are kept: every event may carry more than its type defines
    /// (SSF 1.0 section 4.2.3).
    ///
    /// # Errors
    ///
    /// The member and the rule that is broken. Rule `ingest.control`: events of SSF itself (`verification`,
    /// `stream-updated`) are sent by the transmitter alone. Rule `SUBJ-05`: the format of a subject is neither known nor
    /// a collision-resistant name.
    pub fn read(json: &[u8], vocabulary: &secevent::Vocabulary) -> Result<Self, Invalid> {
        let text = secevent::json::check(json, secevent::json::Limits::TOKEN)?;
        // What the event says is kept as it is written: numbers and unknown members are not ours to change.
        let mut members: Members<'_> =
            serde_json::from_str(text).map_err(|_| rule("", "must be a JSON object"))?;
        let name = text_of(&mut members, "type")?.ok_or_else(|| rule("type", "is required and missing"))?;
        let Some(definition) = vocabulary.find(&name) else {
            return Err(rule("type", "is no event type that is known here"));
        };
        check_type(definition.uri())?;
        let subject =
            value_of(&mut members, "subject").ok_or_else(|| rule("subject", "is required and missing"))?;
        let subject =
            Subject::from_value(subject, Strictness::Strict).map_err(|error| error.within("subject"))?;
        check_formats(&subject)?;
        let data = members.remove("data").map_or_else(nothing, ToOwned::to_owned);
        definition.check(data.get(), Strictness::Strict).map_err(|error| error.within("data"))?;
        definition
            .check_subject(&subject)
            .map_err(|error| Invalid::new("subject", error.rule(), error.problem().to_owned()))?;
        let occurred_at = match members.remove("occurred_at") {
            None => None,
            Some(at) => Some(serde_json::from_str(at.get()).map_err(|_| {
                Invalid::new("occurred_at", "SET-19", "must be a number of seconds since the epoch")
            })?),
        };
        let txn = text_of(&mut members, "txn")?;
        if let Some(unknown) = members.keys().next() {
            return Err(rule(unknown, "is no member of an event: use type, subject, data, occurred_at, txn"));
        }
        Ok(Self { uri: definition.uri().to_owned(), subject, data, occurred_at, txn })
    }

    /// An event of this type about this subject that says nothing.
    pub(crate) fn about(uri: String, subject: Subject) -> Self {
        Self { uri, subject, data: nothing(), occurred_at: None, txn: None }
    }

    /// The event type's URI.
    pub fn event_type(&self) -> &str {
        &self.uri
    }

    /// Whom it is about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What it says: the JSON object under the event type's URI.
    pub fn data(&self) -> &str {
        self.data.get()
    }

    /// The claims that all SETs of this event share, as the inside of a JSON object. `txn` comes first if the
    /// producer named one, which is how [`render::claims`] tells.
    pub(crate) fn body(&self, accepted_at: Timestamp) -> Bytes {
        let json = |value: &dyn Fn() -> serde_json::Result<String>| value().expect("text and JSON are JSON");
        let mut body = String::with_capacity(self.data.get().len() + self.uri.len() + 192);
        if let Some(txn) = &self.txn {
            body += "\"txn\":";
            body += &json(&|| serde_json::to_string(txn));
            body += ",";
        }
        if let Some(occurred_at) = self.occurred_at {
            // `iat` has no fraction of a second, and nothing happens after it was told (SET-19).
            let toe = occurred_at.min(accepted_at.floor_to_second());
            body += "\"toe\":";
            body += &json(&|| serde_json::to_string(&toe));
            body += ",";
        }
        body += "\"sub_id\":";
        body += &json(&|| serde_json::to_string(&self.subject));
        body += ",\"events\":{";
        body += &json(&|| serde_json::to_string(&self.uri));
        body += ":";
        body += self.data.get();
        body += "}";
        Bytes::from(body)
    }
}

impl Transmitter {
    /// Accepts events: all of them or none. Once this returns they are durable, each with all its deliveries.
    ///
    /// `producer` tells producers apart; `key` is the name that the producer gives to this call, so that a
    /// repeat gets the first answer (SEM-15), and `content` is what was sent under that name.
    pub async fn accept(
        &self,
        issuer: &str,
        producer: &str,
        key: Option<(&str, &[u8])>,
        events: &[Incoming],
    ) -> Result<Vec<Accepted>, AcceptError> {
        let issuer = self.issuer(issuer)?;
        let now = self.clock.now();
        for (place, event) in events.iter().enumerate() {
            let late = event.occurred_at.is_some_and(|at| at.as_seconds() > now.as_seconds());
            if late {
                let breach = Invalid::new("occurred_at", "SET-19", "must not be in the future");
                return Err(AcceptError::Invalid { place, breach });
            }
        }
        let matched =
            self.owed_to(issuer.config(), events, self.expiry_now()).await.map_err(TransmitterError::from)?;
        let mut overflow = Overflowing::default();
        // Once for all events: what they came in is long when they are many.
        let key = key.map(|(key, content)| (key, digest_of(content)));
        let records = events.iter().zip(matched).enumerate().map(|(place, (event, matched))| {
            let idempotency =
                key.map(|(key, digest)| idempotency(issuer.config(), producer, key, digest, place));
            self.record_of(event, matched, now, idempotency, &mut overflow)
        });
        let records: Vec<NewEvent> = records.collect();
        let owed: Vec<usize> = records.iter().map(|record| record.owed.len()).collect();
        trace!(target: "secevent::step", step = "accept");
        let recorded = self.store.record(records).await.map_err(TransmitterError::from)?;
        let new = recorded.iter().filter(|recorded| matches!(recorded, Recorded::New { .. })).count();
        self.accepted.fetch_add(u64::try_from(new).unwrap_or(u64::MAX), Ordering::Relaxed);
        if new > 0 {
            self.act_on(overflow);
        }
        let answers = recorded.into_iter().zip(events).zip(owed).map(|((recorded, event), owed)| {
            let (epoch, sequence, deliveries) = match recorded {
                Recorded::New { epoch, sequence } => (epoch, sequence, owed),
                Recorded::Repeated { epoch, sequence, deliveries } => {
                    (epoch, sequence, usize::try_from(deliveries).unwrap_or(usize::MAX))
                }
                Recorded::Different => return Err(AcceptError::KeyUsedForAnotherEvent),
            };
            let event_id = render::event_id(epoch, sequence, &self.codec);
            let txn = event.txn.clone().unwrap_or_else(|| event_id.clone());
            Ok(Accepted { event_id, txn, deliveries })
        });
        answers.collect()
    }

    fn record_of(
        &self,
        event: &Incoming,
        matched: Vec<Arc<Entry>>,
        now: Timestamp,
        idempotency: Option<Idempotency>,
        overflow: &mut Overflowing,
    ) -> NewEvent {
        let (mut owed, mut dropped) = (Vec::new(), Vec::new());
        for entry in matched {
            let settings = entry.settings();
            let stream = settings.stream.number();
            match self.match_of(&entry) {
                Match::Full => {
                    dropped.push(stream);
                    overflow.dropped.push(entry);
                    continue;
                }
                Match::Overflows => overflow.pausing.push(entry),
                Match::Owed if self.config.backlog.are_far(entry.outgoing().load()) => {
                    entry.overflowing.store(false, Ordering::Relaxed);
                }
                Match::Owed => {}
            }
            owed.push(Owed { stream, queue: Queue::Regular, rendering: settings.stream.rendering() });
        }
        let (body, lanes) = (event.body(now), lanes(&event.subject));
        NewEvent { accepted_at: now, body, lanes, idempotency, owed, dropped }
    }

    /// Streams hold as much as they may: that is counted, and told once (SEM-9).
    fn act_on(&self, overflow: Overflowing) {
        for entry in overflow.dropped {
            entry.counts.dropped.add(1);
            if !entry.overflowing.swap(true, Ordering::Relaxed) {
                warn!(stream.id = %entry.settings().stream.id, "A stream holds as much as it may: what is new is dropped");
            }
        }
        for entry in overflow.pausing {
            if !entry.overflowing.swap(true, Ordering::Relaxed) {
                warn!(stream.id = %entry.settings().stream.id, "A stream holds as much as it may: it is paused");
                self.pause_beside(&entry, "more is waiting than a stream may hold".to_owned());
            }
        }
    }

    /// Records an event of SSF itself for one stream, ahead of its backlog (SEM-7). Verification events wait for nothing,
    /// not for each other either: who looks for one may not have acknowledged the one before (E-35).
    pub(crate) async fn record_control<E: EventType>(
        &self,
        entry: &Entry,
        event: &E,
    ) -> Result<(), TransmitterError> {
        let settings = entry.settings();
        if !entry.keeps(Queue::Control) {
            return Ok(());
        }
        let subject =
            Subject::Simple(Identifier::opaque(&settings.stream.id).expect("a stream's id is not empty"));
        let data = serde_json::value::to_raw_value(event).expect("an event of SSF is JSON");
        let event = Incoming { uri: E::URI.to_owned(), subject, data, occurred_at: None, txn: None };
        let owed = Owed {
            stream: settings.stream.number(),
            queue: Queue::Control,
            rendering: settings.stream.rendering(),
        };
        let now = self.clock.now();
        let record = NewEvent {
            accepted_at: now,
            body: event.body(now),
            lanes: if E::URI == Verification::URI { [].into() } else { lanes(&event.subject) },
            idempotency: None,
            owed: vec![owed],
            dropped: Vec::new(),
        };
        let recorded = self.store.record(vec![record]).await?;
        if let Some(Recorded::New { sequence, .. }) = recorded.first() {
            entry.newest_control.note(E::URI, *sequence);
        }
        if let Err(error) = self.end_superseded(entry).await {
            // The next one ends them.
            warn!(stream.id = %settings.stream.id, %error, "Superseded dead letters not ended, will retry");
        }
        Ok(())
    }
}

/// Streams that hold as much as they may.
#[derive(Default)]
struct Overflowing {
    pausing: Vec<Arc<Entry>>,
    dropped: Vec<Arc<Entry>>,
}

/// Fingerprints of the identifiers that keep an event's deliveries in order. Two identifiers that happen to
/// share one are kept in order too: that costs a wait, no promise.
pub(crate) fn lanes(subject: &Subject) -> Arc<[u64]> {
    let fingerprint = |bytes: &[u8]| {
        let digest = digest::digest(&digest::SHA256, bytes);
        u64::from_be_bytes(digest.as_ref()[..8].try_into().expect("a digest has 32 bytes"))
    };
    subject.lanes().iter().map(|key| fingerprint(key.as_bytes())).collect()
}

fn idempotency(
    issuer: &IssuerConfig,
    producer: &str,
    key: &str,
    digest: [u8; 32],
    place: usize,
) -> Idempotency {
    Idempotency {
        scope: format!("{producer} {}", issuer.url),
        // No key has a line break in it, so no other key is this one.
        key: if place == 0 { key.to_owned() } else { format!("{key}\n{place}") },
        digest,
    }
}

fn digest_of(content: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, content).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// What SSF says of a stream itself is the transmitter's own to send: a receiver acts on it (SSF 1.0 sections 8.1.4, 8.1.5).
fn check_type(uri: &str) -> Result<(), Invalid> {
    let problem =
        "is sent by the transmitter itself: request a verification, or change the status of the stream";
    match is_control(uri) {
        true => Err(Invalid::new("type", "ingest.control", problem)),
        false => Ok(()),
    }
}

/// A misspelled format would make the event match nobody (RFC 9493 section 3).
fn check_formats(subject: &Subject) -> Result<(), Invalid> {
    subject.check_formats().map_err(|error| error.within("subject"))
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

fn value_of(members: &mut Members<'_>, name: &str) -> Option<Value> {
    members.remove(name).map(|value| serde_json::from_str(value.get()).expect("it was read as JSON before"))
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

fn text_of(members: &mut Members<'_>, name: &'static str) -> Result<Option<String>, Invalid> {
    match value_of(members, name) {
        None => Ok(None),
        Some(Value::String(text)) => bounded(name, text).map(Some),
        Some(_) => Err(rule(name, "must be a string")),
    }
}

fn bounded(name: &'static str, text: String) -> Result<String, Invalid> {
    match text.chars().count() {
        0 => Err(rule(name, "must not be empty")),
        1..=TEXT_CHARS_MAX => Ok(text),
        _ => Err(rule(name, format!("must not be longer than {TEXT_CHARS_MAX} characters"))),
    }
}

/// The shape of an incoming event is our own rule, not a standard's.
fn rule(member: &str, problem: impl Into<std::borrow::Cow<'static, str>>) -> Invalid {
    Invalid::new(member, "ingest", problem)
}
