//! Push delivery (RFC 8935): one driver for each stream that has something to send.
//!
//! A driver lives while its stream has something to do, so that idle streams cost nothing. It decides on
//! memory, sends through the transport, and has outcomes stored as they come, many at once.

use crate::outgoing::{Consequence, Failure, Place, Reading};
use crate::render::{self, EventNames, event_names};
use crate::retry::{Outcome, Sent, Trouble, TroubleKind, classify};
use crate::share::{Permit, Share};
use crate::stream::Target;
use crate::table::{Entry, Settings, Settling};
use crate::transmitter::Transmitter;
use bytes::Bytes;
use secevent::{Span, Timestamp};
use secevent_jose::Detached;
use secevent_ssf::{OnBehalfOf, ResponseTime, Status, TransportError, push};
use secevent_store::{AttemptResult, Delivery, DropReason, Queue, Settlement, Signed, StoreError, Verdict};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, error, info, trace, warn};

/// How long to wait before asking a store again that failed.
pub(crate) const STORE_PAUSE: Duration = Duration::from_millis(200);

/// From which attempt on the failures of one SET are logged as warnings although others are delivered.
const LOGGED_FROM_ATTEMPT: u32 = 5;

/// A delivery that came back from an attempt.
struct Returned {
    delivery: Delivery,
    attempt: Attempt,
}

/// What became of an attempt.
#[derive(Default)]
struct Attempt {
    /// None if it was called off.
    outcome: Option<Outcome>,
    /// How the SET was signed, if it was.
    signed: Option<Signed>,
    /// The status of the receiver's answer, if it answered.
    status: Option<u16>,
    /// How long its answer was waited for, if it was asked.
    took: Option<Duration>,
}

/// An attempt under way. However it ends, the driver hears of it.
struct UnderWay {
    delivery: Option<Delivery>,
    returned: mpsc::UnboundedSender<Returned>,
}

impl UnderWay {
    fn delivery(&self) -> &Delivery {
        self.delivery.as_ref().expect("it is given back at the end")
    }

    fn ended(mut self, attempt: Attempt) {
        self.send(attempt);
    }

    fn send(&mut self, attempt: Attempt) {
        if let Some(delivery) = self.delivery.take() {
            // The driver waits for all that it sent, so somebody is listening.
            let _ = self.returned.send(Returned { delivery, attempt });
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let detail = "the attempt was cut off: this is a bug".to_owned();
        let trouble =
            Trouble { kind: TroubleKind::Unexpected, detail, retry_after: None, speaks_for_all: false };
        self.send(Attempt { outcome: Some(Outcome::Trouble(trouble)), ..Attempt::default() });
    }
}

impl Transmitter {
    /// Whether a driver is to be started for this stream. At most one runs at a time.
    pub(crate) fn should_be_driven(&self, entry: &Entry) -> bool {
        let wanted = self.may_push_to(entry);
        let mut outgoing = entry.outgoing();
        let start = wanted && !outgoing.driven && !outgoing.is_idle();
        outgoing.driven |= start;
        start
    }

    /// Whether the stream is one that is pushed to, now. One that is not enabled is told so, and nothing else.
    pub(crate) fn may_push_to(&self, entry: &Entry) -> bool {
        let settings = entry.settings();
        let stream = &settings.stream;
        let sends = stream.status == Status::Enabled || stream.untold;
        matches!(stream.target, Target::Push { .. }) && sends && !entry.is_off() && self.is_at_work()
    }

    /// Sends what the stream has to send, until there is nothing more.
    pub(crate) async fn drive(self: Arc<Self>, entry: Arc<Entry>) {
        let (returned_to, mut returned) = mpsc::unbounded_channel::<Returned>();
        let mut settlements: Vec<Settlement> = Vec::new();
        // How many of them are on their way to the store.
        let (mut storing, mut under_way) = (None, 0);
        // The place in the line for one of the permits that all streams share, and what came of it.
        let (mut in_line, mut permit) = (None, None);
        loop {
            let changed = entry.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            // A store that takes nothing may still be read. What is sent then is only remembered here, and sent once more
            // by the next process: there is a bound to it.
            let takes_more = settlements.len() + under_way < Settling::WAITING_MAX;
            let failed = takes_more && self.may_push_to(&entry) && self.read_ahead(&entry).await.is_err();
            // What was answered while the store was waited for decides about what is sent next.
            while let Ok(back) = returned.try_recv() {
                settlements.extend(self.take_back(&entry, back));
            }
            let now = self.steady_now();
            let granted = permit.take();
            let lacking =
                takes_more.then(|| self.send_what_may(&entry, now, granted, &returned_to)).flatten();
            in_line = match (lacking, in_line) {
                (None, _) => None,
                (Some(share), Some((of, waiting))) if of == share => Some((of, waiting)),
                (Some(share), _) => Some((share, Box::pin(self.shares.take(share)))),
            };
            if storing.is_none() && !settlements.is_empty() {
                let batch = std::mem::take(&mut settlements);
                under_way = batch.len();
                trace!(target: "secevent::step", step = "outcome", deliveries = batch.len());
                let stored = self.store.settle(batch.clone());
                storing = Some(Box::pin(async move {
                    match stored.await {
                        Ok(()) => Ok(batch),
                        Err(error) => Err((error, batch)),
                    }
                }));
            }
            if storing.is_none() && self.may_end(&entry) {
                return;
            }
            let due = entry.outgoing().next_push_at(now).filter(|_| self.may_push_to(&entry));
            let pause = if failed { Some(STORE_PAUSE) } else { due.map(|due| due.since(self.steady_now())) };
            tokio::select! {
                biased;
                Some(back) = returned.recv() => {
                    settlements.extend(self.take_back(&entry, back));
                }
                result = async { storing.as_mut().expect("checked").await }, if storing.is_some() => {
                    (storing, under_way) = (None, 0);
                    match result {
                        Ok(batch) => self.were_stored(&entry, &batch).await,
                        Err((error, batch)) => {
                            warn!(%error, "Outcomes could not be stored, they are kept and tried again");
                            settlements.splice(..0, batch);
                            tokio::time::sleep(STORE_PAUSE).await;
                        }
                    }
                }
                granted = async { (&mut in_line.as_mut().expect("checked").1).await }, if in_line.is_some() => {
                    in_line = None;
                    permit = Some(granted);
                }
                () = &mut changed => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// Reads the store where the memory ends.
    pub(crate) async fn read_ahead(&self, entry: &Entry) -> Result<(), StoreError> {
        loop {
            let Some(started) = entry.outgoing().start_reading(self.steady_now()) else { return Ok(()) };
            let mut unread = Unread { entry, reading: Some(started) };
            let number = entry.settings().stream.number();
            let page = self.store.page(number, started.queue, started.after, started.limit).await;
            unread.reading = None;
            match page {
                Ok(mut page) => {
                    let found = !page.deliveries.is_empty();
                    page.deliveries.iter().for_each(|delivery| self.note_control(entry, delivery));
                    if entry.settings().is_batched() {
                        page.deliveries.iter_mut().for_each(|delivery| delivery.lanes = [].into());
                    }
                    entry.outgoing().read(started, page, self.steady_now());
                    if found {
                        // There may be enough for another poller too.
                        entry.changed.notify_waiters();
                    }
                }
                Err(error) => {
                    warn!(stream.id = %entry.settings().stream.id, %error, "The backlog could not be read");
                    entry.outgoing().not_read(started);
                    return Err(error);
                }
            }
        }
    }

    /// Sends what may be sent. Returns which permit there is none of, if more could be sent with one.
    fn send_what_may(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        now: Timestamp,
        mut permit: Option<Permit>,
        returned: &mpsc::UnboundedSender<Returned>,
    ) -> Option<Share> {
        loop {
            let share = {
                let outgoing = entry.outgoing();
                if !(self.may_push_to(entry) && outgoing.may_push(now)) {
                    return None;
                }
                outgoing.share()
            };
            // The permit first: a delivery that was taken is sent.
            let granted = permit.take().filter(|permit| permit.share == share);
            let Some(permit) = granted.or_else(|| self.shares.try_take(share)) else { return Some(share) };
            let delivery = entry.outgoing().next_push(now)?;
            let under_way = UnderWay { delivery: Some(delivery), returned: returned.clone() };
            let (this, entry) = (Arc::clone(self), Arc::clone(entry));
            tokio::spawn(async move {
                let attempt = this.attempt(&entry, under_way.delivery(), permit).await;
                under_way.ended(attempt);
            });
        }
    }

    async fn attempt(&self, entry: &Entry, delivery: &Delivery, _: Permit) -> Attempt {
        let mut attempt = Attempt::default();
        match self.push(entry, delivery, &mut attempt).await {
            Ok(outcome) => attempt.outcome = outcome,
            Err(detail) => {
                let trouble =
                    Trouble { kind: TroubleKind::Trust, detail, retry_after: None, speaks_for_all: true };
                attempt.outcome = Some(Outcome::Trouble(trouble));
            }
        }
        attempt
    }

    /// Sends one SET, and reads the answer; none if it was called off. An error is our own: a secret or a key
    /// that cannot be used.
    async fn push(
        &self,
        entry: &Entry,
        delivery: &Delivery,
        attempt: &mut Attempt,
    ) -> Result<Option<Outcome>, String> {
        let (_, token) = self.token(&entry.settings(), delivery).await?;
        // Signing takes a while. A stream that was paused, disabled or deleted meanwhile is sent nothing (SEM-16).
        if !self.may_push_to(entry) {
            return Ok(None);
        }
        let settings = entry.settings();
        let target = settings.push_target(&self.vault).map_err(ToString::to_string)?;
        let token = Bytes::from(token);
        let mut request = push::request(&target.endpoint, token.clone(), target.authorization.as_ref());
        request.extensions_mut().insert(OnBehalfOf(settings.stream.client.clone()));
        request.extensions_mut().insert(ResponseTime(self.config.push_timeout));
        trace!(target: "secevent::step", step = "dispatch");
        let sent_at = self.clock.elapsed();
        let answer = tokio::time::timeout(self.config.push_timeout, self.transport.send(request)).await;
        trace!(target: "secevent::step", step = "response");
        attempt.took = Some(self.clock.elapsed().saturating_sub(sent_at));
        let outcome = Some(match answer {
            Ok(Ok(response)) => {
                attempt.status = Some(response.status().as_u16());
                let sent = Sent {
                    signed_before: delivery.signed.is_some(),
                    rendering_replaced: delivery.rendering != settings.stream.rendering(),
                };
                classify(&response, sent)
            }
            Ok(Err(error)) => Outcome::Trouble(trouble_of(&error)),
            Err(_) => Outcome::Trouble(Trouble {
                kind: TroubleKind::Unreachable,
                detail: format!("no answer within {}", Span(self.config.push_timeout)),
                retry_after: None,
                speaks_for_all: false,
            }),
        });
        if matches!(outcome, Some(Outcome::Trouble(_))) {
            attempt.signed = std::str::from_utf8(&token).ok().and_then(signature_of);
        }
        Ok(outcome)
    }

    /// The delivery's identifier and its signed SET: the same bytes as before, if it was signed before and the key
    /// is still one that receivers find (SEM-4).
    pub(crate) async fn token(
        &self,
        settings: &Settings,
        delivery: &Delivery,
    ) -> Result<(String, String), String> {
        let stream = &settings.stream;
        let rendered_as = stream
            .rendered_as(delivery.rendering)
            .ok_or_else(|| format!("rendering {} of the stream is gone", delivery.rendering.0))?;
        let issuer = self.issuer(&stream.issuer).map_err(|error| error.to_string())?;
        let jti = render::jti(delivery, &self.codec);
        let claims = render::claims(delivery, rendered_as, &jti, &self.codec);
        let before = delivery.signed.as_ref().and_then(|signed| std::str::from_utf8(&signed.0).ok());
        if let Some(detached) = before.and_then(Detached::of)
            && detached.kid().is_some_and(|kid| issuer.keys.publishes(&kid))
        {
            return Ok((jti, detached.attach(&claims)));
        }
        let algorithm = self.config.client_algorithms.get(&stream.client).copied();
        loop {
            let signer = issuer.keys.signer(algorithm);
            let token = self.signing.sign(&signer, claims.clone()).await;
            let token = token.map_err(|error| error.to_string())?;
            // A key may be withdrawn while something is being signed with it.
            if issuer.keys.publishes(signer.key().kid()) {
                return Ok((jti, token));
            }
        }
    }

    /// What an attempt's outcome means for the stream, and what is to be stored of it.
    fn take_back(&self, entry: &Arc<Entry>, returned: Returned) -> Option<Settlement> {
        let Returned { delivery, attempt: Attempt { outcome, signed, status, took } } = returned;
        let place: Place = (delivery.queue, delivery.sequence);
        let Some(outcome) = outcome else {
            entry.outgoing().called_off(place, delivery.attempts, delivery.signed);
            return None;
        };
        let now = self.steady_now();
        let settings = entry.settings();
        let id = &settings.stream.id;
        let attempts = delivery.attempts + 1;
        let at = self.clock.now();
        let attempt = secevent_store::Attempt { at, result: result_of(&outcome), status, took };
        let verdict = match outcome {
            Outcome::Accepted => {
                debug!(stream.id = %id, sequence = delivery.sequence.0, "Receiver accepted a SET");
                entry.counts.delivered.add(1);
                self.was_answered(entry, place);
                Verdict::Acked
            }
            Outcome::Rejected(_) if self.is_superseded(entry, &delivery) => {
                entry.counts.superseded.add(1);
                self.was_answered(entry, place);
                Verdict::Dropped(DropReason::Superseded)
            }
            Outcome::Rejected(reason) => {
                self.log_dead(id, &delivery, attempts, &reason, "Receiver rejected SET");
                entry.counts.rejected.add(1);
                self.was_answered(entry, place);
                Verdict::Rejected(reason)
            }
            Outcome::Trouble(trouble) => {
                // Who does not accept the key is sent another signature.
                let signed = signed.filter(|_| trouble.kind != TroubleKind::Trust);
                let kind = trouble.kind;
                let detail = trouble.detail.clone();
                let failure = Failure { attempts, signed: signed.clone(), trouble, at: now };
                let consequence = {
                    let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
                    entry.outgoing().troubled(place, failure, &self.config.retry, &mut *chance)
                };
                self.report_failure(entry, (&delivery, attempts, kind, &detail), &consequence, now);
                let is_too_old = self.is_too_old(delivery.queue, delivery.accepted_at);
                if is_too_old && self.is_superseded(entry, &delivery) {
                    entry.counts.superseded.add(1);
                    entry.outgoing().settle(place, delivery.body.len());
                    Verdict::Dropped(DropReason::Superseded)
                } else if is_too_old {
                    self.log_dead(id, &delivery, attempts, &detail, "SET expired before delivery");
                    entry.counts.abandoned.add(1);
                    entry.outgoing().settle(place, delivery.body.len());
                    Verdict::Abandoned(detail)
                } else {
                    trace!(target: "secevent::step", step = "retry");
                    entry.counts.retries.add(1);
                    // What is repeated are the same bytes, after a restart too. When is the stream's affair: a delivery
                    // is due at once for the next process, whatever the clocks say (SEM-28).
                    Verdict::Retry { at: delivery.accepted_at, attempts, signed }
                }
            }
        };
        Some(Settlement {
            sequence: delivery.sequence,
            stream: delivery.stream,
            queue: delivery.queue,
            at,
            verdict,
            attempts: Some(attempts),
            attempt: Some(attempt),
        })
    }

    /// Logs that a SET goes to the dead letters, with all that it can be found by.
    fn log_dead(&self, stream: &str, delivery: &Delivery, attempt: u32, error: &str, what: &'static str) {
        let jti = render::jti(delivery, &self.codec);
        let EventNames { txn, event_type } = event_names(delivery, &self.codec);
        warn!(stream.id = %stream, %jti, %txn, event.type = %event_type, attempt, %error, "{what}");
    }

    /// Logs a failure, and pauses a stream whose receiver has been in trouble for too long.
    fn report_failure(
        &self,
        entry: &Arc<Entry>,
        (delivery, attempt, kind, detail): (&Delivery, u32, TroubleKind, &str),
        consequence: &Consequence,
        now: Timestamp,
    ) {
        let settings = entry.settings();
        let (id, sequence) = (&settings.stream.id, delivery.sequence.0);
        match consequence {
            Consequence::Suspended(rest) => {
                let (attempt, retry_in) = (rest.failures, rest.until.since(now));
                if matches!(kind, TroubleKind::Credentials | TroubleKind::Trust | TroubleKind::Guard) {
                    // Somebody has to change something, here or at the receiver.
                    error!(stream.id = %id, ?kind, error = %detail, attempt, ?retry_in, "Stream suspended, every SET would be refused");
                } else {
                    warn!(stream.id = %id, ?kind, error = %detail, attempt, ?retry_in, "Stream suspended, receiver is in trouble");
                }
                if now.since(rest.since) > self.config.pause_after {
                    self.pause_beside(entry, format!("nothing could be delivered for long: {detail}"));
                }
            }
            // A busy stream whose receiver fails now and then would fill the log.
            Consequence::Delayed { until } if attempt >= LOGGED_FROM_ATTEMPT => {
                warn!(stream.id = %id, sequence, attempt, ?kind, error = %detail, retry_in = ?until.since(now), "SET keeps failing while others are delivered");
            }
            Consequence::Delayed { .. } | Consequence::AlreadySuspended => {
                debug!(stream.id = %id, sequence, attempt, ?kind, error = %detail, "Push failed, will retry");
            }
        }
    }

    fn was_answered(&self, entry: &Entry, place: Place) {
        let now = self.steady_now();
        entry.activity.heard(self.expiry_now());
        if entry.outgoing().pushed(place, now) {
            info!(stream.id = %entry.settings().stream.id, "The receiver is back");
        }
    }

    /// Outcomes are stored: what is settled is settled for good.
    pub(crate) async fn were_stored(&self, entry: &Arc<Entry>, settlements: &[Settlement]) {
        let last = |settlement: &&Settlement| !matches!(settlement.verdict, Verdict::Retry { .. });
        let settled = settlements.iter().filter(last).map(|settled| (settled.queue, settled.sequence));
        let (deliveries, polled) = (settled.clone().count(), entry.is_polled());
        trace!(target: "secevent::step", step = "outcome-stored", deliveries, polled);
        {
            let mut outgoing = entry.outgoing();
            outgoing.stored(settled.clone());
            if polled {
                outgoing.rest();
            }
        }
        if entry.settings().stream.untold && settled.into_iter().any(|(queue, _)| queue == Queue::Control) {
            self.status_may_be_told(entry).await;
        }
    }

    /// Whether the driver has nothing more to do; if so, the next one to have something starts another. The
    /// settings are looked at under the lock: who changes them after that finds that there is no driver.
    fn may_end(&self, entry: &Entry) -> bool {
        let mut outgoing = entry.outgoing();
        let done = outgoing.is_idle() || (outgoing.on_their_way() == 0 && !self.may_push_to(entry));
        if done {
            outgoing.driven = false;
            outgoing.rest();
        }
        done
    }
}

/// A page that is being read. A poll that its caller gives up is dropped in the middle of it: the page is to be
/// read again then, by whoever else waits.
struct Unread<'a> {
    entry: &'a Entry,
    reading: Option<Reading>,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if let Some(reading) = self.reading {
            self.entry.outgoing().not_read(reading);
            self.entry.changed.notify_waiters();
        }
    }
}

/// The signature of a token, as it is stored with a retry record.
pub(crate) fn signature_of(token: &str) -> Option<Signed> {
    Detached::of(token).map(|detached| Signed(detached.to_string().into()))
}

/// How an outcome is remembered of an attempt.
fn result_of(outcome: &Outcome) -> AttemptResult {
    match outcome {
        Outcome::Accepted => AttemptResult::Accepted,
        Outcome::Rejected(_) => AttemptResult::Rejected,
        Outcome::Trouble(trouble) => match trouble.kind {
            TroubleKind::Unreachable => AttemptResult::Unreachable,
            TroubleKind::Tls => AttemptResult::Tls,
            TroubleKind::Busy => AttemptResult::Busy,
            TroubleKind::Credentials => AttemptResult::Credentials,
            TroubleKind::Trust => AttemptResult::Trust,
            TroubleKind::Gone => AttemptResult::Gone,
            TroubleKind::Unexpected => AttemptResult::Unexpected,
            TroubleKind::Guard => AttemptResult::Guard,
        },
    }
}

fn trouble_of(error: &TransportError) -> Trouble {
    let kind = match error {
        TransportError::Tls(_) => TroubleKind::Tls,
        TransportError::AddressRefused(_) => TroubleKind::Guard,
        TransportError::Credentials(_) => TroubleKind::Credentials,
        TransportError::BodyTooLarge { .. } | TransportError::Protocol(_) => TroubleKind::Busy,
        _ => TroubleKind::Unreachable,
    };
    let speaks_for_all = matches!(kind, TroubleKind::Guard | TroubleKind::Credentials);
    Trouble { kind, detail: error.to_string(), retry_after: None, speaks_for_all }
}
