//! Poll delivery (RFC 8936): the same deliveries, handed out to whoever asks for the stream.

use crate::outgoing::{Place, place_of};
use crate::push::{STORE_PAUSE, signature_of};
use crate::render::{EventNames, event_names};
use crate::stream::Target;
use crate::table::{Entry, Settings};
use crate::transmitter::{Transmitter, TransmitterError};
use bytes::Bytes;
use secevent::{Span, Timestamp};
use secevent_ssf::poll::{self, PollRequest};
use secevent_ssf::{Status, StreamId};
use secevent_store::{
    Attempt, AttemptResult, Delivery, DropReason, Jti, Sequence, Settlement, StoreError, UnsettledDelivery,
    Verdict,
};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{trace, warn};

/// Why a poll gets no answer of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// The client has no such stream that is polled.
    #[error("there is no such stream")]
    NoSuchStream,
    /// The client is switched off.
    #[error("the client is switched off")]
    SwitchedOff,
    /// The receiver asks for nothing again and again, without waiting for something.
    #[error("polls that do not wait come too often, the next one is answered in {}", Span(*.0))]
    TooOften(Duration),
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

impl Transmitter {
    /// Answers a poll of a client for its stream: applies acknowledgements and reports first, then hands out
    /// what may be sent, oldest first, at most one SET about a subject at a time. With nothing to hand out it
    /// waits, unless the receiver does not want that.
    ///
    /// A SET that is not acknowledged within the visibility time is handed out again, and hidden until then.
    pub async fn poll(
        &self,
        client: &str,
        stream: &StreamId,
        request: &PollRequest,
    ) -> Result<Bytes, PollError> {
        let entry = self.table.by_id(stream.as_str()).ok_or(PollError::NoSuchStream)?;
        let settings = entry.settings();
        if settings.stream.client != client || !matches!(settings.stream.target, Target::Poll { .. }) {
            return Err(PollError::NoSuchStream);
        }
        if entry.is_off() {
            return Err(PollError::SwitchedOff);
        }
        entry.activity.heard(self.expiry_now());
        if entry.has_much_to_settle() {
            return Err(TransmitterError::Store(StoreError::Busy).into());
        }
        self.settle_reported(&entry, request).await?;

        let asked = request.max_events.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let sets_max = asked.min(self.config.poll_sets_max);
        let give_up_at = tokio::time::Instant::now() + self.config.poll_wait_max;
        loop {
            let changed = entry.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            let now = self.steady_now();
            if entry.is_off() {
                return Err(PollError::SwitchedOff);
            }
            let (handed, sets) = match sets_max {
                0 => Default::default(),
                _ => self.hand_out(&entry, sets_max).await?,
            };
            if entry.is_off() {
                // Signing takes a while. What was taken for this answer is handed out again in its time.
                return Err(PollError::SwitchedOff);
            }
            // To acknowledge and want nothing is answered at once, which the standard leaves open (E-95).
            let answer = !sets.is_empty() || request.return_immediately || sets_max == 0 || self.is_closing();
            if answer || tokio::time::Instant::now() >= give_up_at {
                let asks_for_nothing =
                    sets_max == 0 || !request.ack.is_empty() || !request.set_errs.is_empty();
                if sets.is_empty() && request.return_immediately && !asks_for_nothing {
                    let mut pace = entry.pace.lock().unwrap_or_else(PoisonError::into_inner);
                    pace.count(now, self.config.poll_interval_min).map_err(PollError::TooOften)?;
                }
                if !sets.is_empty() {
                    trace!(target: "secevent::step", step = "poll-hand-out", deliveries = sets.len());
                }
                let sending = entry.settings().stream.status == Status::Enabled;
                // Without a SET there is nothing to go on with: the next poll waits like this one.
                let more = sending && !sets.is_empty() && entry.outgoing().has_more(&handed, now);
                let pairs = sets.iter().map(|(jti, token)| (jti.as_str(), token.as_str()));
                return Ok(poll::write(pairs, more));
            }
            let due =
                entry.outgoing().next_poll_at(now).map_or(Duration::MAX, |due| due.since(self.steady_now()));
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(give_up_at) => {}
                () = tokio::time::sleep(due) => {}
            }
        }
    }

    /// Settles what the request acknowledges or refuses. Identifiers that name nothing are ignored (E-97).
    async fn settle_reported(
        &self,
        entry: &Arc<Entry>,
        request: &PollRequest,
    ) -> Result<(), TransmitterError> {
        let acked = request.ack.iter().map(|jti| (jti, Verdict::Acked));
        let refused = request.set_errs.iter().map(|(jti, error)| (jti, Verdict::Rejected(error.to_string())));
        let number = entry.settings().stream.number();
        let at = self.clock.now();
        let mut reported = Reported { transmitter: self, entry, at, settlements: Vec::new() };
        let mut forgotten = entry.outgoing().forgotten();
        let mut unknown = Vec::new();
        for (jti, verdict) in acked.chain(refused) {
            let Some(named) = self.codec.decode(jti, number) else { continue };
            let mut outgoing = entry.outgoing();
            let held = outgoing.find(named.epoch, named.sequence, named.generation);
            // Once it is settled, nobody may remember what it said.
            let held = held.map(|held| {
                let verdict = self.verdict_on(entry, held, verdict.clone());
                (place_of(held), held.attempts, self.names_if_rejected(&verdict, held), verdict)
            });
            match held {
                Some((place, attempts, names, verdict)) if outgoing.settle(place, 0) => {
                    drop(outgoing);
                    reported.add(place, jti, verdict, Some(attempts), names);
                }
                Some(_) => {}
                None => unknown.push((named, jti, verdict)),
            }
        }
        // Those that are not in memory were settled long ago, or handed out before a restart. One of another epoch is
        // another delivery that had the same place before the store was restored from a backup (SEM-1).
        let mut names: HashMap<Jti, EventNames> = HashMap::new();
        while !unknown.is_empty() {
            let mut sequences: Vec<Sequence> = unknown.iter().map(|(named, _, _)| named.sequence).collect();
            sequences.sort_unstable();
            sequences.dedup();
            let mut stored: HashMap<Jti, Vec<UnsettledDelivery>> = HashMap::new();
            for one in self.store.unsettled(number, sequences).await? {
                let UnsettledDelivery { place, epoch, generation, .. } = one;
                let named = Jti { epoch, sequence: place.sequence, stream: number, generation };
                stored.entry(named).or_default().push(one);
            }
            unknown.retain(|(named, _, _)| stored.contains_key(named));
            for (named, _, verdict) in &unknown {
                if matches!(verdict, Verdict::Acked) || names.contains_key(named) {
                    continue;
                }
                let is_it = |one: &&Delivery| one.epoch == named.epoch && one.generation == named.generation;
                let rejected = self.store.deliveries(number, named.sequence).await.unwrap_or_default();
                let rejected = rejected.iter().find(is_it).map(|one| event_names(one, &self.codec));
                names.insert(*named, rejected.unwrap_or_default());
            }
            let mut settled = Vec::new();
            {
                let mut outgoing = entry.outgoing();
                if outgoing.forgotten() != forgotten {
                    // Somebody else may have settled them since the store was asked.
                    forgotten = outgoing.forgotten();
                    continue;
                }
                for (named, jti, verdict) in std::mem::take(&mut unknown) {
                    let mut found = stored[&named].iter().filter_map(|one| {
                        let place = (one.place.queue, one.place.sequence);
                        outgoing.settle(place, one.body_bytes).then_some(place)
                    });
                    let names = names.remove(&named).unwrap_or_default();
                    settled.extend(found.next().map(|place| (place, jti, verdict, names)));
                }
            }
            // Nothing is waited for in between: what is settled in memory must be stored, even if the peer hangs up.
            for (place, jti, verdict, names) in settled {
                reported.add(place, jti, verdict, None, names);
            }
        }
        Ok(())
    }

    /// What is refused is not dead if something newer has replaced it.
    fn verdict_on(&self, entry: &Entry, delivery: &Delivery, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Rejected(_) if self.is_superseded(entry, delivery) => {
                Verdict::Dropped(DropReason::Superseded)
            }
            verdict => verdict,
        }
    }

    /// The names of the event of a delivery, for the log line of its rejection.
    fn names_if_rejected(&self, verdict: &Verdict, delivery: &Delivery) -> EventNames {
        match verdict {
            Verdict::Rejected(_) => event_names(delivery, &self.codec),
            _ => EventNames::default(),
        }
    }

    /// Has settlements stored without keeping anybody waiting. A crash may undo them, as it may undo what was stored in
    /// the last moment: the SETs are handed out once more.
    fn store_beside(&self, entry: &Arc<Entry>, settlements: Vec<Settlement>) {
        {
            let mut settling = entry.settling.lock().unwrap_or_else(PoisonError::into_inner);
            settling.waiting.extend(settlements);
            if std::mem::replace(&mut settling.under_way, true) {
                return;
            }
        }
        let (this, entry) = (self.handle(), Arc::clone(entry));
        self.drive_beside(async move {
            while let Some(batch) = entry.next_to_settle() {
                trace!(target: "secevent::step", step = "poll-ack", deliveries = batch.len());
                while let Err(error) = this.store.settle(batch.clone()).await {
                    warn!(%error, "Acknowledgements could not be stored, they are kept and tried again");
                    if this.is_closing() {
                        return;
                    }
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                this.were_stored(&entry, &batch).await;
            }
        });
    }

    /// The next deliveries, by place, with their identifiers and signed SETs.
    async fn hand_out(
        &self,
        entry: &Entry,
        sets_max: usize,
    ) -> Result<(Vec<Place>, Vec<(String, String)>), TransmitterError> {
        let may_send = || {
            let settings = entry.settings();
            let sends = settings.stream.status == Status::Enabled || settings.stream.untold;
            (sends && !entry.is_off()).then_some(settings)
        };
        if may_send().is_none() {
            return Ok(Default::default());
        }
        if let Err(error) = self.read_ahead(entry).await {
            // Other pollers may have left the reading to this one.
            entry.changed.notify_waiters();
            return Err(error.into());
        }
        // Reading takes a while. A stream that was paused, disabled or deleted meanwhile is sent nothing (SEM-16).
        let Some(settings) = may_send() else { return Ok(Default::default()) };
        let now = self.steady_now();
        let again_at = now.plus(settings.polls.visibility);
        let mut taken: Vec<Delivery> = {
            let mut outgoing = entry.outgoing();
            std::iter::from_fn(|| outgoing.next_poll(now, again_at)).take(sets_max).collect()
        };
        // What is delivered again while it is still owed has one name: the second is for a later answer.
        let mut named = HashSet::new();
        taken.retain(|delivery| named.insert((delivery.sequence, delivery.generation)));
        let tokens = self.tokens(&settings, &taken).await.map_err(TransmitterError::Config)?;
        let handed = taken.iter().map(|delivery| (delivery.queue, delivery.sequence)).collect();
        let mut again = Vec::new();
        for (delivery, (_, token)) in taken.into_iter().zip(&tokens) {
            if delivery.attempts == 0 {
                if let Some(signed) = signature_of(token) {
                    entry.outgoing().was_signed((delivery.queue, delivery.sequence), signed);
                }
            } else {
                entry.counts.retries.add(1);
                again.push(delivery);
            }
        }
        self.store_signatures(again, now);
        Ok((handed, tokens))
    }

    /// The identifiers and signed SETs of deliveries, many of them side by side.
    async fn tokens(
        &self,
        settings: &Arc<Settings>,
        deliveries: &[Delivery],
    ) -> Result<Vec<(String, String)>, String> {
        /// Deliveries that are worth the way to another thread.
        const SHARE: usize = 16;
        let mut shares = deliveries.chunks(SHARE);
        let own = shares.next_back().unwrap_or_default();
        let mut beside = Vec::new();
        for share in shares {
            let (this, settings, share) = (self.handle(), Arc::clone(settings), share.to_vec());
            beside.push(tokio::spawn(async move { this.signed(&settings, &share).await }));
        }
        let last = self.signed(settings, own).await;
        let mut tokens = Vec::with_capacity(deliveries.len());
        for share in beside {
            tokens.extend(share.await.map_err(|_| "the server is ending".to_owned())??);
        }
        tokens.extend(last?);
        Ok(tokens)
    }

    async fn signed(
        &self,
        settings: &Settings,
        deliveries: &[Delivery],
    ) -> Result<Vec<(String, String)>, String> {
        let mut tokens = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            tokens.push(self.token(settings, delivery).await?);
        }
        Ok(tokens)
    }

    /// What is handed out again are the same bytes, after a restart too (SEM-4).
    fn store_signatures(&self, again: Vec<Delivery>, at: Timestamp) {
        let settlements = again.into_iter().filter(|delivery| delivery.attempts == 1).map(|delivery| {
            let Delivery { sequence, stream, queue, attempts, signed, accepted_at, .. } = delivery;
            let verdict = Verdict::Retry { at: accepted_at, attempts, signed };
            Settlement { sequence, stream, queue, at, verdict, attempts: None, attempt: None }
        });
        let settlements: Vec<Settlement> = settlements.collect();
        if !settlements.is_empty() {
            // The writer has it; whether it succeeds is of no concern to the receiver, who waits for its answer.
            drop(self.store.settle(settlements));
        }
    }
}

/// What a receiver reports and is settled in memory already. It is stored, even if the poll is given up or fails before
/// it has come to the end of what was reported.
struct Reported<'a> {
    transmitter: &'a Transmitter,
    entry: &'a Arc<Entry>,
    at: Timestamp,
    settlements: Vec<Settlement>,
}

impl Reported<'_> {
    /// Takes up what became of a delivery that was settled in memory just now.
    fn add(
        &mut self,
        (queue, sequence): Place,
        jti: &str,
        verdict: Verdict,
        attempts: Option<u32>,
        names: EventNames,
    ) {
        let settings = self.entry.settings();
        let stream = &settings.stream;
        let mut result = AttemptResult::Rejected;
        if let Verdict::Rejected(reason) = &verdict {
            let EventNames { txn, event_type } = names;
            warn!(
                stream.id = %stream.id, %jti, %txn, event.type = %event_type, error = %reason,
                "Receiver rejected SET"
            );
            self.entry.counts.rejected.add(1);
        } else if verdict == Verdict::Dropped(DropReason::Superseded) {
            self.entry.counts.superseded.add(1);
        } else {
            result = AttemptResult::Accepted;
            self.entry.counts.delivered.add(1);
        }
        let (stream, at) = (stream.number(), self.at);
        let attempt = Some(Attempt { at, result, status: None, took: None });
        self.settlements.push(Settlement { sequence, stream, queue, at, verdict, attempts, attempt });
    }
}

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        if !self.settlements.is_empty() {
            // What became free may be what another poller waits for.
            self.entry.changed.notify_waiters();
            self.transmitter.store_beside(self.entry, std::mem::take(&mut self.settlements));
        }
    }
}
