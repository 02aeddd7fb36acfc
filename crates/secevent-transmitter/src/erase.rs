//! A person's data is erased, and it is looked whether anything of it is left.
//!
//! What is erased: events about the person, or that name the person anywhere in what they say, whether they are settled,
//! owed or dead; what producers called them; what receivers said of them; what the log of changes tells of them;
//! replays that look for them. An erasure goes in small steps beside everything else, and after a restart it goes on
//! where it was.

use crate::accept::lanes;
use crate::audit::{self, Acting, Actor, Changed};
use crate::recover::{Replay, ReplayState};
use crate::transmitter::{Transmitter, TransmitterError};
use aws_lc_rs::hmac;
use secevent::{SCOPE_MEMBERS, Subject, Timestamp};
use secevent_store::{
    Change, ChangeFilter, Document, Entered, Epoch, Erase, Erased, Jti, Kept, Place, Queue, Sequence,
    StoreError, StreamNumber, SubjectEntry, Texts, Traces, Version,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tracing::{info, warn};

/// An erasure, as far as it has come. It does not tell whose data it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Erasure {
    /// Its identifier.
    pub id: String,
    /// Whether it is under way.
    pub state: ErasureState,
    /// When it began.
    pub started_at: Timestamp,
    /// The same for each erasure of the same subject at this server, and of no use to anybody else.
    pub person: String,
    /// Whether the files of the store are written anew at the end.
    pub rewrite: bool,
    /// Why they were not, although that was asked. It is tried once: what failed may take the server down with it, and
    /// nobody is served meanwhile.
    #[serde(default)]
    pub not_rewritten: Option<String>,
    /// How much was erased.
    pub erased: Amounts,
    /// What is left, once somebody has looked.
    pub left: Option<Left>,
    /// The subject, sealed, for as long as it is needed.
    subject: Option<String>,
    /// Who asked for it.
    actor: (String, Option<String>),
    /// What is behind it is still to be looked at.
    after: u64,
}

/// Whether an erasure is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErasureState {
    /// It goes on, after a restart too.
    Running,
    /// It has come to the end.
    Done,
}

/// How much an erasure found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Events.
    pub events: u64,
    /// Deliveries of them that were owed, and end as dropped.
    pub dropped: u64,
    /// Dead deliveries of them.
    pub dead: u64,
    /// Producers' names of other events.
    pub names: u64,
    /// Reasons of other dead deliveries.
    pub reasons: u64,
    /// Changes in the log that named the person.
    pub changes: u64,
    /// Replays of what is about the person.
    pub replays: u64,
    /// Entries of streams' subjects by which the person was added or removed.
    #[serde(default)]
    pub subjects: u64,
}

/// What is left of a person's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Of what an erasure erases.
    pub found: Amounts,
    /// Documents that name the person in words of a receiver or an operator, such as a stream's description: they are
    /// theirs to change.
    pub documents: Vec<String>,
    /// How often the files of the store have the person's identifiers elsewhere, such as where something was deleted. A
    /// part of another word counts, too.
    pub traces: u64,
    /// Where that is: the tables, free pages, or the log.
    #[serde(default)]
    pub traces_in: Vec<String>,
}

impl Left {
    /// Whether nothing is left.
    pub fn is_nothing(&self) -> bool {
        self.found == Amounts::default() && self.documents.is_empty() && self.traces == 0
    }
}

/// Why nothing is erased.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// There is no such erasure.
    #[error("there is no such erasure")]
    NoSuchErasure,
    /// One at a time.
    #[error("an erasure is under way, and there may not be another one")]
    UnderWay,
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

impl From<StoreError> for EraseError {
    fn from(error: StoreError) -> Self {
        Self::Ours(error.into())
    }
}

/// How many that have ended are remembered.
const ENDED_MAX: usize = 100;
/// How many rows are looked at together.
const PAGE: usize = 500;
/// An identifier that may be a short one of another issuer too is only looked for as a subject, not as a text.
const TEXT_BYTES_MIN: usize = 16;
/// How long it is waited for what is on its way to receivers.
const TURN: Duration = Duration::from_millis(50);

impl Transmitter {
    /// Counts what an erasure would find. Nothing is erased.
    pub async fn preview_erasure(&self, subject: &Subject) -> Result<Left, EraseError> {
        Ok(self.look_for(&Person::new(subject)).await?)
    }

    /// Begins to erase what is about this subject. It goes on by itself, and after a restart.
    pub async fn start_erasure(&self, subject: &Subject, rewrite: bool) -> Result<Erasure, EraseError> {
        let _alone = self.creating.lock().await;
        if self.forget_old_erasures().await? > 0 {
            return Err(EraseError::UnderWay);
        }
        let actor = audit::actor();
        let id = self.random_id();
        let erasure = Erasure {
            state: ErasureState::Running,
            started_at: self.clock.now(),
            person: self.pseudonym(subject),
            rewrite,
            not_rewritten: None,
            erased: Amounts::default(),
            left: None,
            subject: Some(self.vault.seal(&Erasure::document(&id), subject.key().as_bytes())),
            actor: (actor.kind().to_owned(), actor.id().map(str::to_owned)),
            after: 0,
            id,
        };
        let changed = erasure.changed("erasure.start", None);
        let version = self.write_erasure(&erasure, Version(0), Some(changed)).await?;
        info!(erasure = %erasure.id, "An erasure begins");
        self.run_erasure(erasure.clone(), version);
        Ok(erasure)
    }

    /// The erasures, as far as they have come.
    pub async fn erasures(&self) -> Result<Vec<Erasure>, EraseError> {
        let documents = self.store.list("erasure/", None, PAGE).await?;
        Ok(documents.iter().map(Erasure::read).collect::<Result<_, _>>()?)
    }

    /// One of them.
    pub async fn erasure(&self, id: &str) -> Result<Erasure, EraseError> {
        let document = self.store.get(&Erasure::document(id)).await?.ok_or(EraseError::NoSuchErasure)?;
        Ok(Erasure::read(&document)?)
    }

    /// Goes on with the erasures that were under way when the last process ended.
    pub(crate) async fn go_on_erasing(&self) -> Result<(), TransmitterError> {
        for document in self.store.list("erasure/", None, PAGE).await? {
            let erasure = Erasure::read(&document)?;
            if erasure.state == ErasureState::Running {
                self.run_erasure(erasure, document.version);
            }
        }
        Ok(())
    }

    fn run_erasure(&self, erasure: Erasure, version: Version) {
        let this = std::sync::Arc::downgrade(&self.handle());
        self.spawn(async move {
            let (mut erasure, mut version) = (erasure, version);
            loop {
                let Some(this) = this.upgrade().filter(|this| !this.is_closing()) else { return };
                match this.erase_all(&mut erasure, &mut version).await {
                    Ok(()) => return info!(erasure = %erasure.id, "An erasure has ended"),
                    Err(error) => warn!(erasure = %erasure.id, %error, "An erasure is held up"),
                }
                drop(this);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    async fn erase_all(&self, erasure: &mut Erasure, version: &mut Version) -> Result<(), TransmitterError> {
        let person = self.person(erasure)?;
        if erasure.subject.as_ref().is_some_and(|sealed| !self.vault.is_sealed_anew(sealed)) {
            // The master key that it is sealed with may be let go before the erasure has ended.
            let name = Erasure::document(&erasure.id);
            erasure.subject = Some(self.vault.seal(&name, person.subject.key().as_bytes()));
            *version = self.write_erasure(erasure, *version, None).await?;
        }
        loop {
            let events = self.store.events(Sequence(erasure.after), PAGE).await?;
            let Some(last) = events.last().map(|last| last.sequence) else { break };
            let erased = self.erase_events(&person, &events).await?;
            erasure.erased.add(erased);
            erasure.after = last.0;
            *version = self.write_erasure(erasure, *version, None).await?;
        }
        erasure.erased.add(self.erase_words(&person).await?);
        erasure.erased.replays += self.forget_replays(&person).await?;
        erasure.erased.subjects += self.erase_subject(&person.subject).await?;
        let names_person = |entry: &SubjectEntry| person.is_subject_of(entry);
        erasure.erased.subjects += self.erase_subjects_where(&names_person).await?;
        let left = self.look_for(&person).await?;
        let traces = self.clear_traces(&person, erasure, version).await?;
        let traces_in = traces.0.iter().map(|(place, count)| format!("{place} ({count})")).collect();
        erasure.left = Some(Left { traces: traces.count(), traces_in, ..left });
        (erasure.state, erasure.subject) = (ErasureState::Done, None);
        let (kind, id) = &erasure.actor;
        let acting = Acting::new(Actor::named(kind, id.as_deref()), None);
        let changed = erasure.changed("erasure.done", Some(&erasure.erased));
        *version = acting.run(self.write_erasure(erasure, *version, Some(changed))).await?;
        Ok(())
    }

    /// Counts what is left in the files, written anew if that was asked and was not tried before.
    async fn clear_traces(
        &self,
        person: &Person,
        erasure: &mut Erasure,
        version: &mut Version,
    ) -> Result<Traces, TransmitterError> {
        if erasure.rewrite && erasure.not_rewritten.is_none() {
            erasure.not_rewritten = Some("the server ended while it wrote them".to_owned());
            *version = self.write_erasure(erasure, *version, None).await?;
            match self.store.clear_traces(person.texts.clone(), true).await {
                Ok(traces) => {
                    erasure.not_rewritten = None;
                    return Ok(traces);
                }
                Err(error) => {
                    warn!(erasure = %erasure.id, %error, "The files of the store are not written anew");
                    erasure.not_rewritten = Some(error.to_string());
                    *version = self.write_erasure(erasure, *version, None).await?;
                }
            }
        }
        Ok(self.store.clear_traces(person.texts.clone(), false).await?)
    }

    /// Erases those of these events that are about the person. What is on its way to a receiver at this moment ends
    /// first: it cannot be called back.
    async fn erase_events(&self, person: &Person, events: &[Kept]) -> Result<Erased, TransmitterError> {
        let mut erased = Erased::default();
        for event in events {
            if person.is_in(event) {
                erased = erased.and(self.erase_event(event).await?);
            } else if event.name.as_ref().is_some_and(|name| person.texts.are_in_name(name)) {
                erased = erased.and(self.store.erase(vec![Erase::Name(event.sequence)]).await?);
            }
        }
        Ok(erased)
    }

    async fn erase_event(&self, event: &Kept) -> Result<Erased, TransmitterError> {
        let mut streams: Vec<StreamNumber> = event.owed.iter().map(|(stream, _)| *stream).collect();
        if streams.is_empty() {
            // What a stream is told of itself is in its control queue alone.
            streams = self.table.all().iter().map(|entry| entry.settings().stream.number()).collect();
        }
        let mut places = Vec::new();
        for stream in &streams {
            let Some(entry) = self.table.by_number(*stream) else { continue };
            for delivery in self.store.deliveries(*stream, event.sequence).await? {
                let place = (delivery.queue, delivery.sequence);
                while !entry.outgoing().settle_unless_sent(place, delivery.body.len()) {
                    if !self.is_owed(delivery.place()).await? {
                        break;
                    }
                    tokio::time::sleep(TURN).await;
                }
                places.push((std::sync::Arc::clone(&entry), place));
            }
        }
        let erase = Erase::Event { sequence: event.sequence, streams, at: self.clock.now() };
        let erased = self.store.erase(vec![erase]).await;
        for (entry, place) in places {
            match erased {
                Ok(_) => {
                    entry.counts.dropped.add(1);
                    entry.outgoing().stored(std::iter::once(place));
                }
                Err(_) => entry.outgoing().not_stored(std::iter::once(place)),
            }
            self.wake(&entry);
        }
        Ok(erased?)
    }

    async fn is_owed(&self, place: Place) -> Result<bool, StoreError> {
        let owed = self.store.deliveries(place.stream, place.sequence).await?;
        Ok(owed.iter().any(|delivery| delivery.queue == place.queue))
    }

    /// What receivers and operators said.
    async fn erase_words(&self, person: &Person) -> Result<Erased, TransmitterError> {
        let mut erase = Vec::new();
        self.each_reason(|place, reason| {
            let becomes = person.texts.masked(reason);
            erase.extend(becomes.map(|becomes| Erase::Reason { place, becomes }));
        })
        .await?;
        self.each_change(|Entered { place, change }| {
            erase.extend(person.masks(change).then(|| {
                let mask = |text: &String| person.texts.masked(text).unwrap_or_else(|| text.clone());
                let (before, after) = (change.before.as_ref().map(mask), change.after.as_ref().map(mask));
                Erase::Change { place: *place, object: mask(&change.object), before, after }
            }));
        })
        .await?;
        let mut erased = Erased::default();
        for some in erase.chunks(PAGE) {
            erased = erased.and(self.store.erase(some.to_vec()).await?);
        }
        Ok(erased)
    }

    async fn each_reason(&self, mut look: impl FnMut(Place, &str)) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let dead = self.store.dead(None, after, PAGE).await?;
            let Some(last) = dead.last() else { return Ok(()) };
            after = Some(last.delivery.place());
            dead.iter().for_each(|dead| look(dead.delivery.place(), &dead.reason));
        }
    }

    async fn each_change(&self, mut look: impl FnMut(&Entered)) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let changes = self.store.changes(ChangeFilter::default(), before, PAGE).await?;
            let Some(last) = changes.last() else { return Ok(()) };
            before = Some(last.place);
            changes.iter().for_each(&mut look);
        }
    }

    /// Replays that look for the person are called off, and do not tell any more for whom they looked.
    async fn forget_replays(&self, person: &Person) -> Result<u64, TransmitterError> {
        let mut forgotten = 0;
        for document in self.store.list("replay/", None, PAGE).await? {
            let mut replay = Replay::read(&document)?;
            if !person.is_looked_for(&replay) {
                continue;
            }
            replay.lanes = Some(Vec::new());
            if replay.state == ReplayState::Running {
                replay.end(ReplayState::Cancelled, self.clock.now());
            }
            // If it goes on just now this fails, and the erasure comes back to it.
            self.write_replay(&replay, document.version, None).await?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// What there is of the person. The files are not looked through.
    async fn look_for(&self, person: &Person) -> Result<Left, TransmitterError> {
        let (mut found, mut after) = (Amounts::default(), Sequence(0));
        loop {
            let events = self.store.events(after, PAGE).await?;
            let Some(last) = events.last() else { break };
            after = last.sequence;
            for event in events {
                if person.is_in(&event) {
                    found.events += 1;
                    self.count_deliveries(&event, &mut found).await?;
                } else if event.name.is_some_and(|name| person.texts.are_in_name(&name)) {
                    found.names += 1;
                }
            }
        }
        self.each_reason(|_, reason| found.reasons += u64::from(person.texts.are_in(reason.as_bytes())))
            .await?;
        self.each_change(|entered| found.changes += u64::from(person.masks(&entered.change))).await?;
        for document in self.store.list("replay/", None, PAGE).await? {
            found.replays += u64::from(person.is_looked_for(&Replay::read(&document)?));
        }
        found.subjects = self.count_subjects_where(&|entry| person.is_subject_of(entry)).await?;
        let documents = self.documents_about(person).await?;
        Ok(Left { found, documents, ..Left::default() })
    }

    async fn count_deliveries(&self, event: &Kept, found: &mut Amounts) -> Result<(), StoreError> {
        for (stream, _) in &event.owed {
            let owed = self.store.deliveries(*stream, event.sequence).await?;
            found.dropped += u64::try_from(owed.len()).unwrap_or(u64::MAX);
            for queue in Queue::ALL {
                let place = Place { stream: *stream, queue, sequence: event.sequence };
                found.dead += u64::from(self.store.dead_at(place).await?.is_some());
            }
        }
        Ok(())
    }

    async fn documents_about(&self, person: &Person) -> Result<Vec<String>, StoreError> {
        let (mut after, mut names): (Option<String>, Vec<String>) = (None, Vec::new());
        loop {
            let documents = self.store.list("", after.as_deref(), PAGE).await?;
            let Some(last) = documents.last() else { return Ok(names) };
            after = Some(last.name.clone());
            let about = documents.iter().filter(|document| {
                let text = |value: &str| person.texts.are_in(value.as_bytes());
                let json = || serde_json::from_slice(&document.body).ok();
                let is_of_people = !["erasure/", "replay/"].iter().any(|own| document.name.starts_with(own));
                text(&document.name) || is_of_people && json().is_some_and(|json| any_text(&json, &text))
            });
            names.extend(about.map(|document| document.name.clone()));
        }
    }

    /// Forgets the erasures that ended longest ago, if there are many. Returns how many are under way.
    async fn forget_old_erasures(&self) -> Result<usize, EraseError> {
        let (running, mut ended): (Vec<_>, Vec<_>) =
            self.erasures().await?.into_iter().partition(|erasure| erasure.state == ErasureState::Running);
        ended.sort_by_key(|erasure| erasure.started_at);
        for erasure in &ended[..ended.len().saturating_sub(ENDED_MAX)] {
            let name = Erasure::document(&erasure.id);
            if let Some(document) = self.store.get(&name).await? {
                self.store.put(&name, document.version, None).await?;
            }
        }
        Ok(running.len())
    }

    fn person(&self, erasure: &Erasure) -> Result<Person, TransmitterError> {
        let name = Erasure::document(&erasure.id);
        let damaged = || StoreError::Corrupt(format!("{name} has no subject"));
        let sealed = erasure.subject.as_ref().ok_or_else(damaged)?;
        let opened = self.vault.open(&name, sealed)?;
        let text = std::str::from_utf8(&opened).map_err(|_| damaged())?;
        Ok(Person::new(&Subject::from_json(text).map_err(|_| damaged())?))
    }

    /// What a subject is called where it must not be named: under a key of this store.
    fn pseudonym(&self, subject: &Subject) -> String {
        let of_nothing = Jti {
            epoch: Epoch(0),
            sequence: Sequence(0),
            stream: StreamNumber(u32::MAX),
            generation: u16::MAX,
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.codec.encode(of_nothing).as_bytes());
        let tag = hmac::sign(&key, subject.key().as_bytes());
        tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn write_erasure(
        &self,
        erasure: &Erasure,
        expected: Version,
        changed: Option<Changed>,
    ) -> Result<Version, StoreError> {
        let body = serde_json::to_vec(erasure).expect("an erasure is text and numbers");
        self.put_and_enter(&Erasure::document(&erasure.id), expected, Some(body.into()), changed).await
    }
}

/// How a person is found.
struct Person {
    subject: Subject,
    lanes: Vec<u64>,
    texts: Texts,
}

impl Person {
    fn new(subject: &Subject) -> Self {
        let mut texts = Vec::new();
        collect_texts(&subject.to_value(), &mut texts);
        Self { subject: subject.clone(), lanes: lanes(subject).to_vec(), texts: Texts::new(texts) }
    }

    /// Whether an event is about the person, or names the person.
    fn is_in(&self, event: &Kept) -> bool {
        if event.body.is_empty() {
            return false;
        }
        self.is_among(&event.lanes) || self.is_named_in(&event.body)
    }

    fn is_named_in(&self, body: &[u8]) -> bool {
        // An escape may hide a letter, so that what is written has to be read.
        let whole = || serde_json::from_slice(&[b"{", body, b"}"].concat()).ok();
        let named = |text: &str| self.texts.are_in(text.as_bytes());
        !self.texts.is_empty()
            && (self.texts.are_in(body)
                || (body.contains(&b'\\') && whole().is_some_and(|json| any_text(&json, &named))))
    }

    fn is_looked_for(&self, replay: &Replay) -> bool {
        replay.lanes.as_ref().is_some_and(|lanes| self.is_among(lanes))
    }

    fn is_among(&self, lanes: &[u64]) -> bool {
        lanes.iter().any(|lane| self.lanes.contains(lane))
    }

    /// Whether a receiver has said something of the person: by the same identifier, or by the same address in another
    /// spelling or form.
    fn is_subject_of(&self, entry: &SubjectEntry) -> bool {
        let named = |text: &str| self.texts.are_in(text.as_bytes());
        let json = || serde_json::from_slice::<Value>(&entry.subject).ok();
        if self.texts.are_in(&entry.subject)
            || entry.subject.contains(&b'\\') && json().is_some_and(|json| any_text(&json, &named))
        {
            return true;
        }
        let subject = serde_json::from_slice::<Subject>(&entry.subject);
        subject.is_ok_and(|subject| self.is_among(&lanes(&subject)))
    }

    fn masks(&self, change: &Change) -> bool {
        let texts = [Some(&change.object), change.before.as_ref(), change.after.as_ref()];
        texts.into_iter().flatten().any(|text| self.texts.are_in(text.as_bytes()))
    }
}

/// What in a subject names a person, and nobody else: not an issuer, a format, or what the person belongs to.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let of_many = ["format", "iss", "issuer"].contains(&name.as_str());
                match value {
                    _ if of_many || SCOPE_MEMBERS.contains(&name.as_str()) => {}
                    Value::String(text) => {
                        let telling = ["email", "phone_number", "uri", "url"].contains(&name.as_str());
                        if telling || text.len() >= TEXT_BYTES_MIN {
                            texts.push(without_scheme(text).to_owned());
                        }
                    }
                    value => collect_texts(value, texts),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        _ => {}
    }
}

/// The address in a URI that is nothing else, since it may stand alone elsewhere. Where the URI stands it is found too.
fn without_scheme(text: &str) -> &str {
    let rest = |scheme: &str| {
        let begins = text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        begins.then(|| &text[scheme.len()..])
    };
    ["acct:", "mailto:", "tel:"].into_iter().find_map(rest).filter(|rest| !rest.is_empty()).unwrap_or(text)
}

/// Whether a text or a member's name is one that is looked for.
fn any_text(value: &Value, is_it: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_it(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, is_it)),
        Value::Object(members) => members.iter().any(|(name, value)| is_it(name) || any_text(value, is_it)),
        _ => false,
    }
}

impl Erasure {
    fn document(id: &str) -> String {
        format!("erasure/{id}")
    }

    pub(crate) fn read(document: &Document) -> Result<Self, StoreError> {
        serde_json::from_slice(&document.body)
            .map_err(|error| StoreError::Corrupt(format!("{}: {error}", document.name)))
    }

    fn changed(&self, action: &str, erased: Option<&Amounts>) -> Changed {
        let mut after = json!({ "person": self.person, "rewrite": self.rewrite });
        if let Some(erased) = erased {
            after["erased"] = json!(erased);
            after["left"] = json!(self.left);
            if let Some(reason) = &self.not_rewritten {
                after["not_rewritten"] = json!(reason);
            }
        }
        let object = format!("erasure/{}", self.id);
        Changed { action: action.to_owned(), object, after: Some(after), ..Changed::default() }
    }
}

impl Amounts {
    fn add(&mut self, erased: Erased) {
        self.events += erased.events;
        self.dropped += erased.dropped;
        self.dead += erased.dead;
        self.names += erased.names;
        self.reasons += erased.reasons;
        self.changes += erased.changes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_person_is_looked_for() {
        for (subject, expected) in [
            (json!({"format": "email", "email": "a@b.example"}), &["a@b.example"][..]),
            (json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "42"}), &[]),
            (json!({"format": "opaque", "id": "0123456789abcdef"}), &["0123456789abcdef"]),
            (json!({"format": "account", "uri": "ACCT:a@b.example"}), &["a@b.example"]),
            (json!({"format": "uri", "uri": "https://b.example/a"}), &["https://b.example/a"]),
            (
                json!({"format": "complex", "user": {"format": "email", "email": "a@b.example"},
                       "tenant": {"format": "opaque", "id": "a-tenant-with-a-long-name"}}),
                &["a@b.example"],
            ),
            (
                json!({"format": "aliases", "identifiers": [
                    {"format": "phone_number", "phone_number": "+4912345"}, {"format": "opaque", "id": "7"}]}),
                &["+4912345"],
            ),
        ] {
            let mut texts = Vec::new();
            collect_texts(&subject, &mut texts);
            assert_eq!(texts, expected, "{subject}");
        }
    }

    #[test]
    fn a_person_is_found_behind_escapes_too() {
        let person = Person::new(&Subject::email("alice@example.com").unwrap());
        for (body, found) in [
            (r#""events":{"urn:e":{"note":"by alice@example.com"}}"#, true),
            (r#""events":{"urn:e":{"note":"by \u0061lice@example.com"}}"#, true),
            (r#""events":{"urn:e":{"note":"by malice@example.com"}}"#, false),
            (r#""events":{"urn:e":{"note":"by bob@example.com"}}"#, false),
        ] {
            assert_eq!(person.is_named_in(body.as_bytes()), found, "{body}");
        }
    }
}
