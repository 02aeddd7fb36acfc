//! What was not delivered, and what is to be delivered again: dead letters, redrive, replay.

use crate::accept::lanes;
use crate::audit::{self, Changed};
use crate::manage::ManageError;
use crate::names::NameError;
use crate::render::{self, event_names};
use crate::stream::Stream;
use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::{Subject, Timestamp};
use secevent_ssf::{Status, StreamId};
use secevent_store::{
    Attempt, BoxFuture, Cause, Dead, DeliveryOutcome, Document, Past, Place, Queue, Sequence, StoreError,
    Version,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, trace, warn};

/// A dead delivery, as an operator sees it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// What to call it: the `jti` of its SET.
    pub jti: String,
    /// The stream that it was owed to. None if that is gone.
    pub stream: Option<StreamId>,
    /// The event's own identifier.
    pub event_id: String,
    /// The URI of its type, escaped and bounded.
    pub event_type: String,
    /// Who ended it.
    pub cause: Cause,
    /// What the receiver said, or why it was given up.
    pub reason: String,
    /// When its event was accepted.
    pub accepted_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
    /// How often it was attempted, repetitions included.
    pub attempts: u32,
    /// The last of the attempts, oldest first, [`Attempt::KEPT_MAX`] at most, repetitions included. Known where one letter
    /// is asked for.
    pub last_attempts: Vec<Attempt>,
    /// The claims of its SET, as JSON; none if the stream is gone.
    pub claims: Option<String>,
    /// Whether other events about the same subject were accepted after it: if it is delivered now, the receiver sees
    /// what is old after what is new (SEM-6). Known where one letter is asked for.
    pub newer: Option<bool>,
    /// Where the next page begins.
    pub place: Place,
}

/// What of a stream's history is to be delivered again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayRequest {
    /// Events that were accepted at this time or later.
    pub since: Option<Timestamp>,
    /// The event of this SET of the stream, and what was accepted behind it.
    pub from_jti: Option<String>,
    /// Events about a subject that shares an identifier with this one.
    pub subject: Option<Subject>,
    /// As new SETs, with a `jti` that receivers have not seen. Otherwise as the same ones, which receivers may
    /// recognise and drop.
    pub fresh_jti: bool,
    /// How many SETs a second, at most. Default: 100.
    pub per_second: Option<u32>,
}

/// A replay, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its identifier.
    pub id: String,
    /// The stream.
    pub stream: String,
    /// Whether it is under way.
    pub state: ReplayState,
    /// When it began.
    pub started_at: Timestamp,
    /// How many SETs it looked for when it began, those that were pending included.
    pub total: u64,
    /// How many of them are owed again so far. Those that were owed anyway are not counted.
    pub count: u64,
    /// How many SETs a second, at most.
    pub per_second: u32,
    /// Only events that were accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Who began it: the kind of actor, and which of that kind. None if an older release began it.
    #[serde(default)]
    pub started_by: Option<(String, Option<String>)>,
    /// When it ended. None while it is under way.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Whether its SETs have a `jti` that receivers have not seen.
    #[serde(default)]
    pub fresh_jti: bool,
    /// When the first and the last of the events were accepted that it looked for when it began. None if there were none.
    #[serde(default)]
    pub span: Option<(Timestamp, Timestamp)>,
    /// When the last event was accepted that it has come to.
    #[serde(default)]
    pub reached: Option<Timestamp>,
    pub(crate) lanes: Option<Vec<u64>>,
    generation: u16,
    /// What is behind it is still to be looked at, as far as `until`.
    after: u64,
    until: u64,
}

/// Whether a replay is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    /// It goes on, after a restart too.
    Running,
    /// It has come to the end.
    Done,
    /// It was called off, or its stream is gone or disabled.
    Cancelled,
}

/// What a replay would deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many SETs. Those that are pending are not among them: they are not owed twice.
    pub count: u64,
    /// When the first and the last of their events were accepted.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Whether other events about the same subject were accepted behind one of them: the receiver will see what is old
    /// after what is new (SEM-6).
    pub newer: bool,
}

/// What a replay looks for.
#[derive(Default)]
struct Survey {
    /// What it delivers of that, as far as nothing changes.
    preview: Preview,
    /// How many SETs, those that are pending at the moment included.
    total: u64,
    /// The last event.
    last: Sequence,
    /// When the first and the last of the events were accepted.
    span: Option<(Timestamp, Timestamp)>,
}

/// Why something is not delivered again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// There is no such stream.
    #[error("there is no such stream")]
    NoSuchStream,
    /// The identifier is not one of this stream's SETs.
    #[error("{0:?} is no identifier of a SET of this stream")]
    NoSuchSet(String),
    /// The stream is disabled: it is owed nothing, and what it is owed all the same is dropped when it is enabled.
    #[error("the stream is disabled, and what is delivered again would be lost: enable or pause it first")]
    Disabled,
    /// There is no such replay.
    #[error("there is no such replay")]
    NoSuchReplay,
    /// A text names no replay, or several.
    #[error(transparent)]
    Name(#[from] NameError),
    /// As many replays are under way as there may be.
    #[error("{0} replays are under way, and there may not be more")]
    TooManyReplays(usize),
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

impl From<StoreError> for RecoverError {
    fn from(error: StoreError) -> Self {
        Self::Ours(error.into())
    }
}

/// How many replays may be under way.
const REPLAYS_MAX: usize = 16;
/// How many that have ended are remembered.
const ENDED_MAX: usize = 100;
const PER_SECOND: u32 = 100;
const PER_SECOND_MAX: u32 = 10_000;
/// How many events are looked at together.
const PAGE: usize = 500;
/// How many deliveries a stream may be owed besides what is owed to it again.
const PENDING_MAX: u64 = 1_000;

/// How many dead letters are delivered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// So many are owed again.
    pub count: u64,
    /// So many were passed over, and are dead no more: a newer event about the stream itself has replaced them.
    pub superseded: u64,
}

/// What is done with some dead letters of a stream. Returns how many of them there were.
type ActOnDead =
    for<'a> fn(&'a Transmitter, &'a Arc<Entry>, Vec<Place>) -> BoxFuture<'a, Result<u64, StoreError>>;

impl Transmitter {
    /// Dead deliveries behind `after`, of one stream if one is named, `limit` at most: in the order of streams, and of
    /// acceptance within a stream.
    pub async fn dead_letters(
        &self,
        stream: Option<&StreamId>,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, RecoverError> {
        let number = match stream {
            Some(id) => Some(self.entry(id)?.settings().stream.number()),
            None => None,
        };
        let dead = self.store.dead(number, after, limit.min(PAGE)).await?;
        self.letters(dead).await
    }

    /// The same of streams that are deleted. What they did not deliver can be looked at and discarded until it is old.
    pub async fn dead_letters_of_deleted(
        &self,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, RecoverError> {
        let limit = limit.min(PAGE);
        let (mut after, mut found) = (after, Vec::new());
        loop {
            let page = self.store.dead(None, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|dead| dead.delivery.place());
            found.extend(page.into_iter().filter(|dead| self.is_of_deleted(dead)));
            if is_last || found.len() >= limit {
                found.truncate(limit);
                return self.letters(found).await;
            }
        }
    }

    /// The dead delivery of a deleted stream that this identifier names.
    pub async fn dead_letter_of_deleted(&self, jti: &str) -> Result<DeadLetter, RecoverError> {
        let place = self.dead_places_of_deleted(Some(&[jti.to_owned()])).await?.remove(0);
        self.letter_at(place, jti).await
    }

    /// Forgets dead letters of deleted streams: those that are named, or all. Returns how many.
    pub async fn discard_of_deleted(&self, jtis: Option<&[String]>) -> Result<u64, RecoverError> {
        let places = self.dead_places_of_deleted(jtis).await?;
        if places.is_empty() {
            return Ok(0);
        }
        let changed = Changed {
            action: "dead.discard".to_owned(),
            object: "stream/deleted".to_owned(),
            after: Some(json!({ "jti": jtis, "count": places.len() })),
            ..Changed::default()
        };
        self.enter_change(changed).await?;
        let mut count = 0;
        for some in places.chunks(PAGE) {
            count += self.store.discard(some.to_vec()).await?;
        }
        Ok(count)
    }

    /// Where they are: those that are named, in any order, or all.
    async fn dead_places_of_deleted(&self, jtis: Option<&[String]>) -> Result<Vec<Place>, RecoverError> {
        let mut wanted: Option<HashSet<&str>> = jtis.map(|jtis| jtis.iter().map(String::as_str).collect());
        let (mut after, mut places) = (None, Vec::new());
        loop {
            let page = self.store.dead(None, after, PAGE).await?;
            for dead in page.iter().filter(|dead| self.is_of_deleted(dead)) {
                let is_wanted = match &mut wanted {
                    None => true,
                    Some(wanted) => wanted.remove(render::jti(&dead.delivery, &self.codec).as_str()),
                };
                if is_wanted {
                    places.push(dead.delivery.place());
                }
            }
            let is_found = wanted.as_ref().is_some_and(HashSet::is_empty);
            after = page.last().map(|dead| dead.delivery.place());
            if is_found || page.len() < PAGE {
                break;
            }
        }
        match wanted.and_then(|wanted| wanted.into_iter().next()) {
            Some(missing) => Err(RecoverError::NoSuchSet(missing.to_owned())),
            None => Ok(places),
        }
    }

    fn is_of_deleted(&self, dead: &Dead) -> bool {
        self.table.by_number(dead.delivery.stream).is_none()
    }

    /// What an operator sees of these, with all attempts of each: the store starts to count again when one is delivered again.
    async fn letters(&self, dead: Vec<Dead>) -> Result<Vec<DeadLetter>, RecoverError> {
        let mut letters = Vec::with_capacity(dead.len());
        for dead in dead {
            let place = dead.delivery.place();
            let earlier = match place.queue {
                Queue::Again => self.outcome_at(place).await?,
                Queue::Control | Queue::Regular => None,
            };
            let mut letter = self.dead_letter(dead);
            letter.attempts =
                earlier.map_or(letter.attempts, |outcome| outcome.attempts.max(letter.attempts));
            letters.push(letter);
        }
        Ok(letters)
    }

    async fn outcome_at(&self, place: Place) -> Result<Option<DeliveryOutcome>, StoreError> {
        let outcomes = self.store.outcomes(place.sequence).await?;
        Ok(outcomes.into_iter().find(|outcome| outcome.stream == place.stream))
    }

    /// The dead delivery that this identifier names.
    pub async fn dead_letter_of(&self, stream: &StreamId, jti: &str) -> Result<DeadLetter, RecoverError> {
        let place = self.dead_place(stream, jti).await?;
        self.letter_at(place, jti).await
    }

    async fn letter_at(&self, place: Place, jti: &str) -> Result<DeadLetter, RecoverError> {
        let dead = self.store.dead_at(place).await?;
        let dead = dead.ok_or_else(|| RecoverError::NoSuchSet(jti.to_owned()))?;
        let newer = self.is_followed(place, &dead.delivery.lanes).await?;
        let outcome = self.outcome_at(place).await?;
        let mut letter = DeadLetter { newer: Some(newer), ..self.dead_letter(dead) };
        if let Some(outcome) = outcome {
            letter.attempts = outcome.attempts.max(letter.attempts);
            letter.last_attempts = outcome.last_attempts;
        }
        Ok(letter)
    }

    /// Whether an event in one of these lanes came behind this place.
    async fn is_followed(&self, place: Place, lanes: &[u64]) -> Result<bool, RecoverError> {
        let mut after = Some(place.sequence);
        while let Some(from) = after {
            let history = self.store.history(place.stream, from, PAGE).await?;
            if history.events.iter().any(|past| past.lanes.iter().any(|lane| lanes.contains(lane))) {
                return Ok(true);
            }
            after = history.next;
        }
        Ok(false)
    }

    /// Delivers dead letters of a stream again, as the same SETs: those that are named, or all. Of all, those about the
    /// stream itself that a newer one has replaced are passed over.
    pub async fn redrive(
        &self,
        stream: &StreamId,
        jtis: Option<&[String]>,
    ) -> Result<Redriven, RecoverError> {
        let entry = self.entry(stream)?;
        entry.may_be_owed_again()?;
        let (mut superseded, mut is_more) = (0, jtis.is_none());
        while is_more {
            let ended;
            (ended, is_more) = self.end_superseded(&entry).await?;
            superseded += ended;
        }
        trace!(target: "secevent::step", step = "redrive");
        let redrive: ActOnDead = |this, entry, places| {
            Box::pin(async move {
                let _alone = entry.changing.lock().await;
                if entry.may_be_owed_again().is_err() {
                    // It is disabled at this moment: the others stay where they are.
                    return Ok(0);
                }
                let count = this.store.redrive(places).await?;
                trace!(target: "secevent::step", step = "redriven");
                this.deliver_again(entry, count);
                Ok(count)
            })
        };
        let count = self.each_dead("dead.redrive", stream, jtis, redrive).await?;
        Ok(Redriven { count, superseded })
    }

    /// Forgets dead letters of a stream: those that are named, or all. Returns how many.
    pub async fn discard(&self, stream: &StreamId, jtis: Option<&[String]>) -> Result<u64, RecoverError> {
        self.each_dead("dead.discard", stream, jtis, |this, _, places| this.store.discard(places)).await
    }

    pub(crate) fn recovery(&self, action: &str, stream: &str, after: Value) -> Changed {
        let entry = self.table.by_id(stream);
        Changed {
            action: action.to_owned(),
            object: format!("stream/{stream}"),
            client: entry.map(|entry| entry.settings().stream.client.clone()),
            stream: Some(stream.to_owned()),
            before: None,
            after: Some(after),
        }
    }

    /// Counts what a replay would deliver, and delivers nothing.
    pub async fn preview_replay(
        &self,
        stream: &StreamId,
        request: &ReplayRequest,
    ) -> Result<Preview, RecoverError> {
        let entry = self.entry(stream)?;
        let replay = self.replay_of(&entry, request)?;
        Ok(self.survey(&entry, &replay).await?.preview)
    }

    /// What a replay looks for, and what it delivers of that.
    async fn survey(&self, entry: &Entry, replay: &Replay) -> Result<Survey, RecoverError> {
        let number = entry.settings().stream.number();
        let Survey { mut preview, mut total, mut last, mut span } = Survey::default();
        let mut after = Some(Sequence(replay.after));
        let mut lanes = HashSet::new();
        while let Some(from) = after {
            let history = self.store.history(number, from, PAGE).await?;
            let sequences = history.events.iter().map(|past| past.sequence).collect();
            // What is owed at the moment is not owed twice.
            let pending: HashSet<Sequence> = self
                .store
                .unsettled(number, sequences)
                .await?
                .into_iter()
                .map(|delivery| delivery.place.sequence)
                .collect();
            for past in &history.events {
                preview.newer |= past.lanes.iter().any(|lane| lanes.contains(lane));
                if !replay.wants(past) {
                    continue;
                }
                (total, last) = (total + 1, past.sequence);
                span = Some((span.map_or(past.accepted_at, |(first, _)| first), past.accepted_at));
                if pending.contains(&past.sequence) {
                    continue;
                }
                preview.count += 1;
                let first = preview.span.map_or(past.accepted_at, |(first, _)| first);
                preview.span = Some((first, past.accepted_at));
                if !preview.newer {
                    lanes.extend(past.lanes.iter().copied());
                }
            }
            after = history.next;
        }
        Ok(Survey { preview, total, last, span })
    }

    /// Begins to deliver a part of a stream's history again. It goes on by itself, not faster than was asked for, and
    /// after a restart. What is owed at the moment is not owed twice.
    pub async fn start_replay(
        &self,
        stream: &StreamId,
        request: &ReplayRequest,
    ) -> Result<Replay, RecoverError> {
        let entry = self.entry(stream)?;
        entry.may_be_owed_again()?;
        let running = self.forget_old_replays().await?;
        if running >= REPLAYS_MAX {
            return Err(RecoverError::TooManyReplays(running));
        }
        let mut replay = self.replay_of(&entry, request)?;
        // What is accepted from here on is delivered anyway.
        let survey = self.survey(&entry, &replay).await?;
        (replay.total, replay.until, replay.span) = (survey.total, survey.last.0, survey.span);
        if request.fresh_jti {
            let _alone = entry.changing.lock().await;
            let settings = entry.settings();
            let generation = settings.stream.generation.checked_add(1);
            let spent =
                || TransmitterError::Config("the stream was replayed 65 535 times as new SETs".to_owned());
            replay.generation = generation.ok_or_else(spent)?;
            let stream = Stream { generation: replay.generation, ..settings.stream.clone() };
            self.change(&entry, &settings, stream).await.map_err(|error| match error {
                ManageError::NoSuchStream => RecoverError::NoSuchStream,
                ManageError::Ours(error) => error.into(),
                _ => StoreError::Conflict.into(),
            })?;
        }
        let changed = self.recovery("replay.start", &replay.stream, replay.told(request));
        let version = self.write_replay(&replay, Version(0), Some(changed)).await?;
        info!(stream.id = %replay.stream, replay = %replay.id, "A replay begins");
        self.run_replay(replay.clone(), version);
        Ok(replay)
    }

    /// The replays, as far as they have come.
    pub async fn replays(&self) -> Result<Vec<Replay>, RecoverError> {
        let documents = self.store.list("replay/", None, PAGE).await?;
        Ok(documents.iter().map(Replay::read).collect::<Result<_, _>>()?)
    }

    /// Calls a replay off. What is owed again by now stays owed.
    pub async fn cancel_replay(&self, id: &str) -> Result<Replay, RecoverError> {
        loop {
            let (mut replay, version) = self.read_replay(id).await?.ok_or(RecoverError::NoSuchReplay)?;
            if replay.state != ReplayState::Running {
                return Ok(replay);
            }
            replay.end(ReplayState::Cancelled, self.clock.now());
            let after = json!({ "replay": replay.id, "count": replay.count, "total": replay.total });
            let changed = self.recovery("replay.cancel", &replay.stream, after);
            match self.write_replay(&replay, version, Some(changed)).await {
                Ok(_) => return Ok(replay),
                // It went on meanwhile.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Forgets the replays that ended longest ago, if there are many. Returns how many are under way.
    async fn forget_old_replays(&self) -> Result<usize, RecoverError> {
        let (running, mut ended): (Vec<Replay>, Vec<Replay>) =
            self.replays().await?.into_iter().partition(|replay| replay.state == ReplayState::Running);
        ended.sort_by_key(|replay| replay.started_at);
        for replay in &ended[..ended.len().saturating_sub(ENDED_MAX)] {
            if let Some((_, version)) = self.read_replay(&replay.id).await? {
                self.store.put(&Replay::document(&replay.id), version, None).await?;
            }
        }
        Ok(running.len())
    }

    /// Goes on with the replays that were under way when the last process ended.
    pub(crate) async fn go_on_replaying(&self) -> Result<(), TransmitterError> {
        for document in self.store.list("replay/", None, PAGE).await? {
            let replay = Replay::read(&document)?;
            if replay.state == ReplayState::Running {
                self.run_replay(replay, document.version);
            }
        }
        Ok(())
    }

    fn run_replay(&self, replay: Replay, version: Version) {
        let this = Arc::downgrade(&self.handle());
        self.spawn(async move {
            let (mut replay, mut version) = (replay, version);
            while replay.state == ReplayState::Running {
                let Some(this) = this.upgrade().filter(|this| !this.is_closing()) else { return };
                let before = replay.clone();
                let pause = match this.replay_some(&mut replay).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        warn!(replay = %replay.id, %error, "A replay is held up");
                        Duration::from_secs(1)
                    }
                };
                trace!(target: "secevent::step", step = "replay");
                let written = match replay == before {
                    true => this.is_still(&replay, version).await,
                    false => this.write_replay(&replay, version, None).await,
                };
                match written {
                    Ok(written) => version = written,
                    Err(StoreError::Conflict) => return info!(replay = %replay.id, "A replay is called off"),
                    // What is owed again by then is not counted, and looked at again: no harm is done.
                    Err(error) => warn!(replay = %replay.id, %error, "A replay's progress is not stored"),
                }
                drop(this);
                tokio::time::sleep(pause).await;
            }
            info!(replay = %replay.id, count = replay.count, "A replay has ended");
        });
    }

    /// Owes the next part of a replay again. Returns how long to wait before the next one.
    async fn replay_some(&self, replay: &mut Replay) -> Result<Duration, TransmitterError> {
        const TURN: Duration = Duration::from_millis(100);
        let id = replay.stream.parse().ok();
        let entry = id.and_then(|id: StreamId| self.table.by_id(id.as_str()));
        let Some(entry) = entry.filter(|entry| entry.may_be_owed_again().is_ok()) else {
            replay.end(ReplayState::Cancelled, self.clock.now());
            return Ok(Duration::ZERO);
        };
        if entry.outgoing().load().pending >= PENDING_MAX {
            return Ok(TURN);
        }
        let number = entry.settings().stream.number();
        let in_a_turn = (replay.per_second / 10).max(1);
        let limit = usize::try_from(in_a_turn).unwrap_or(PAGE).min(PAGE);
        // Much may lie between what is wanted; a step for each few events would take for ever.
        let history = self.store.history(number, Sequence(replay.after), PAGE).await?;
        let until = Sequence(replay.until);
        let wanted = |past: &&Past| past.sequence <= until && replay.wants(past);
        let mut events: Vec<(Sequence, Timestamp)> =
            history.events.iter().filter(wanted).map(|past| (past.sequence, past.accepted_at)).collect();
        let mut next = history.next;
        if events.len() > limit {
            events.truncate(limit);
            next = events.last().map(|(sequence, _)| *sequence);
        }
        replay.reached = events.last().map_or(replay.reached, |(_, at)| Some(*at));
        let events: Vec<Sequence> = events.into_iter().map(|(sequence, _)| sequence).collect();
        let looked_for_long = events.is_empty();
        if !events.is_empty() {
            let count = self.store.replay(number, events, replay.generation).await?;
            replay.count += count;
            self.deliver_again(&entry, count);
        }
        match next.filter(|next| *next < until) {
            Some(next) => replay.after = next.0,
            None => replay.end(ReplayState::Done, self.clock.now()),
        }
        let turn = Duration::from_secs(1) * in_a_turn / replay.per_second.max(1);
        Ok(if looked_for_long { Duration::from_millis(1) } else { turn })
    }

    fn deliver_again(&self, entry: &Arc<Entry>, count: u64) {
        if count > 0 {
            entry.counts.again.add(count);
            entry.outgoing().look_again(count);
            self.wake(entry);
        }
    }

    /// Does something with dead letters of a stream, some at a time. The log tells of it first: should it break off, what
    /// was done is no secret.
    async fn each_dead(
        &self,
        action: &str,
        stream: &StreamId,
        jtis: Option<&[String]>,
        act: ActOnDead,
    ) -> Result<u64, RecoverError> {
        let entry = self.entry(stream)?;
        let number = entry.settings().stream.number();
        let mut named = Vec::new();
        for jti in jtis.unwrap_or_default() {
            named.push(self.dead_place(stream, jti).await?);
        }
        // What dies again meanwhile is not taken up once more, or this might never end.
        let mut left = match jtis {
            Some(_) => named.len(),
            None => usize::try_from(self.store.backlog(number).await?.dead).unwrap_or(usize::MAX),
        };
        let after = json!({ "jti": jtis, "count": left });
        self.enter_change(self.recovery(action, stream.as_str(), after)).await?;
        if jtis.is_some() {
            return Ok(act(self, &entry, named).await?);
        }
        let mut count = 0;
        let mut after = None;
        while left > 0 {
            let dead = self.store.dead(Some(number), after, left.min(PAGE)).await?;
            let places: Vec<Place> = dead.iter().map(|dead| dead.delivery.place()).collect();
            let Some(last) = places.last().copied() else { break };
            after = Some(last);
            left -= places.len();
            count += act(self, &entry, places).await?;
        }
        Ok(count)
    }

    async fn dead_place(&self, stream: &StreamId, jti: &str) -> Result<Place, RecoverError> {
        let number = self.entry(stream)?.settings().stream.number();
        let unknown = || RecoverError::NoSuchSet(jti.to_owned());
        let named = self.codec.decode(jti, number).ok_or_else(unknown)?;
        for queue in Queue::ALL {
            let place = Place { stream: number, queue, sequence: named.sequence };
            let dead = self.store.dead_at(place).await?;
            let same = |dead: &Dead| {
                dead.delivery.epoch == named.epoch && dead.delivery.generation == named.generation
            };
            if dead.as_ref().is_some_and(same) {
                return Ok(place);
            }
        }
        Err(unknown())
    }

    fn dead_letter(&self, dead: Dead) -> DeadLetter {
        let Dead { delivery, cause, reason, at } = dead;
        let jti = render::jti(&delivery, &self.codec);
        let entry = self.table.by_number(delivery.stream);
        let claims = entry.as_ref().and_then(|entry| {
            let settings = entry.settings();
            let rendered_as = settings.stream.rendered_as(delivery.rendering)?;
            String::from_utf8(render::claims(&delivery, rendered_as, &jti, &self.codec)).ok()
        });
        DeadLetter {
            stream: entry.map(|entry| entry.settings().stream.stream_id()),
            event_id: render::event_id(delivery.epoch, delivery.sequence, &self.codec),
            event_type: event_names(&delivery, &self.codec).event_type,
            cause,
            reason,
            accepted_at: delivery.accepted_at,
            died_at: at,
            attempts: delivery.attempts,
            last_attempts: Vec::new(),
            claims,
            newer: None,
            place: delivery.place(),
            jti,
        }
    }

    fn replay_of(&self, entry: &Entry, request: &ReplayRequest) -> Result<Replay, RecoverError> {
        let settings = entry.settings();
        let after = match &request.from_jti {
            None => 0,
            Some(jti) => {
                let named = self.codec.decode(jti, settings.stream.number());
                let named = named.ok_or_else(|| RecoverError::NoSuchSet(jti.clone()))?;
                named.sequence.0.saturating_sub(1)
            }
        };
        Ok(Replay {
            id: self.random_id(),
            stream: settings.stream.id.clone(),
            state: ReplayState::Running,
            started_at: self.clock.now(),
            total: 0,
            count: 0,
            per_second: request.per_second.unwrap_or(PER_SECOND).clamp(1, PER_SECOND_MAX),
            since: request.since,
            started_by: audit::who_asks(),
            ended_at: None,
            fresh_jti: request.fresh_jti,
            span: None,
            reached: None,
            lanes: request.subject.as_ref().map(|subject| lanes(subject).to_vec()),
            generation: 0,
            after,
            until: 0,
        })
    }

    async fn read_replay(&self, id: &str) -> Result<Option<(Replay, Version)>, RecoverError> {
        let Some(document) = self.store.get(&Replay::document(id)).await? else { return Ok(None) };
        Ok(Some((Replay::read(&document)?, document.version)))
    }

    /// While nothing moves nothing is written, but somebody may call it off.
    async fn is_still(&self, replay: &Replay, version: Version) -> Result<Version, StoreError> {
        let document = self.store.get(&Replay::document(&replay.id)).await?;
        document.filter(|document| document.version == version).map(|_| version).ok_or(StoreError::Conflict)
    }

    pub(crate) async fn write_replay(
        &self,
        replay: &Replay,
        expected: Version,
        changed: Option<Changed>,
    ) -> Result<Version, StoreError> {
        let body = serde_json::to_vec(replay).expect("a replay is text and numbers");
        self.put_and_enter(&Replay::document(&replay.id), expected, Some(body.into()), changed).await
    }

    fn entry(&self, stream: &StreamId) -> Result<Arc<Entry>, RecoverError> {
        self.table.by_id(stream.as_str()).ok_or(RecoverError::NoSuchStream)
    }
}

impl Entry {
    fn may_be_owed_again(&self) -> Result<(), RecoverError> {
        match self.settings().stream.status {
            Status::Disabled => Err(RecoverError::Disabled),
            _ => Ok(()),
        }
    }
}

impl Replay {
    /// Whether it looks for events about one subject only. Which one is not kept in the open.
    pub fn is_about_one_subject(&self) -> bool {
        self.lanes.is_some()
    }

    pub(crate) fn end(&mut self, state: ReplayState, now: Timestamp) {
        (self.state, self.ended_at) = (state, Some(now));
    }

    fn document(id: &str) -> String {
        format!("replay/{id}")
    }

    /// What the log of changes tells: not for whom it looks.
    fn told(&self, request: &ReplayRequest) -> Value {
        json!({
            "replay": self.id,
            "total": self.total,
            "since": self.since.map(Timestamp::as_seconds),
            "from_jti": request.from_jti,
            "of_one_subject": self.lanes.is_some(),
            "fresh_jti": request.fresh_jti,
            "per_second": self.per_second,
        })
    }

    pub(crate) fn read(document: &Document) -> Result<Self, StoreError> {
        serde_json::from_slice(&document.body)
            .map_err(|error| StoreError::Corrupt(format!("{}: {error}", document.name)))
    }

    fn wants(&self, past: &Past) -> bool {
        let young = self.since.is_none_or(|since| past.accepted_at >= since);
        let about = |lanes: &Vec<u64>| past.lanes.iter().any(|lane| lanes.contains(lane));
        young && self.lanes.as_ref().is_none_or(about)
    }
}
