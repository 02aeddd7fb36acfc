//! Push delivery (RFC 8935): one driver for each stream that has something to send.
//!
//! A driver lives while its stream has something to do, so that idle streams cost nothing. It decides on
//! memory, sends through the transport, and has outcomes stored as they come, many at once.

use crate::lanes::Place;
use crate::outgoing::Reading;
use crate::render;
use crate::retry::{Outcome, Trouble, TroubleKind, classify};
use crate::stream::Target;
use crate::table::{Entry, Settings};
use crate::transmitter::Transmitter;
use secevent::Timestamp;
use secevent_ssf::{Status, TransportError, push};
use secevent_store::{Delivery, Settlement, StoreError, Verdict};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{debug, info, warn};

/// How long to wait before asking a store again that failed.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// A delivery that came back from an attempt, or from one that was called off.
struct Returned {
    delivery: Delivery,
    outcome: Option<Outcome>,
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

    /// Whether the stream is one that is pushed to, now.
    fn may_push_to(&self, entry: &Entry) -> bool {
        let settings = entry.settings();
        let stream = &settings.stream;
        matches!(stream.target, Target::Push { .. }) && stream.status == Status::Enabled && !self.is_closing()
    }

    /// Sends what the stream has to send, until there is nothing more.
    pub(crate) async fn drive(self: Arc<Self>, entry: Arc<Entry>) {
        let (returned_to, mut returned) = mpsc::unbounded_channel::<Returned>();
        let mut settlements: Vec<Settlement> = Vec::new();
        let mut storing = None;
        // The place in the line for one of the permits that all streams share, and what came of it.
        let (mut in_line, mut permit) = (None, None);
        loop {
            let changed = entry.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            let failed = self.may_push_to(&entry) && self.read_ahead(&entry).await.is_err();
            let now = self.clock.now();
            let lacks_permit = self.send_what_may(&entry, now, permit.take(), &returned_to);
            in_line = match (lacks_permit, in_line) {
                (false, _) => None,
                (true, None) => Some(Box::pin(Arc::clone(&self.pushes).acquire_owned())),
                (true, waiting) => waiting,
            };
            if storing.is_none() && !settlements.is_empty() {
                let batch = std::mem::take(&mut settlements);
                let stored = self.store.settle(batch.clone());
                storing = Some(Box::pin(async move { stored.await.map_err(|error| (error, batch)) }));
            }
            if storing.is_none() && self.may_end(&entry) {
                return;
            }
            let due = entry.outgoing().next_push_at(now).filter(|_| self.may_push_to(&entry));
            let pause = if failed { Some(STORE_PAUSE) } else { due.map(|due| due.since(self.clock.now())) };
            tokio::select! {
                biased;
                Some(back) = returned.recv() => {
                    settlements.extend(self.take_back(&entry, back));
                }
                result = async { storing.as_mut().expect("checked").await }, if storing.is_some() => {
                    storing = None;
                    if let Err((error, batch)) = result {
                        warn!(%error, "Outcomes could not be stored, they are kept and tried again");
                        settlements.splice(..0, batch);
                        tokio::time::sleep(STORE_PAUSE).await;
                    }
                }
                granted = async { in_line.as_mut().expect("checked").await }, if in_line.is_some() => {
                    in_line = None;
                    permit = granted.ok();
                }
                () = &mut changed => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// Reads the store where the memory ends.
    pub(crate) async fn read_ahead(&self, entry: &Entry) -> Result<(), StoreError> {
        loop {
            let Some(started) = entry.outgoing().start_reading() else { return Ok(()) };
            let mut unread = Unread { entry, reading: Some(started) };
            let number = entry.settings().stream.number();
            let page = self.store.page(number, started.queue, started.after, crate::outgoing::PAGE_MAX).await;
            unread.reading = None;
            match page {
                Ok(page) => {
                    let found = !page.deliveries.is_empty();
                    entry.outgoing().read(started, page);
                    if found {
                        // There may be enough for another poller too.
                        entry.changed.notify_waiters();
                    }
                }
                Err(error) => {
                    warn!(stream = %number, %error, "The backlog could not be read");
                    entry.outgoing().not_read(started);
                    return Err(error);
                }
            }
        }
    }

    /// Sends what may be sent. Returns whether there is more that only lacks a permit.
    fn send_what_may(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        now: Timestamp,
        mut permit: Option<OwnedSemaphorePermit>,
        returned: &mpsc::UnboundedSender<Returned>,
    ) -> bool {
        while self.may_push_to(entry) && entry.outgoing().may_push(now) {
            // The permit first: a delivery that was taken is sent.
            let permit = permit.take().or_else(|| Arc::clone(&self.pushes).try_acquire_owned().ok());
            let Some(permit) = permit else { return true };
            let Some(delivery) = entry.outgoing().next_push(now) else { return false };
            let (this, entry, returned) = (Arc::clone(self), Arc::clone(entry), returned.clone());
            tokio::spawn(async move {
                let outcome = this.attempt(&entry, &delivery, permit).await;
                // The driver waits for all that it sent, so somebody is listening.
                let _ = returned.send(Returned { delivery, outcome });
            });
        }
        false
    }

    async fn attempt(&self, entry: &Entry, delivery: &Delivery, _: OwnedSemaphorePermit) -> Option<Outcome> {
        match self.push(entry, delivery).await {
            Ok(outcome) => outcome,
            Err(detail) => {
                Some(Outcome::Trouble(Trouble { kind: TroubleKind::Trust, detail, retry_after: None }))
            }
        }
    }

    /// Sends one SET, and reads the answer; none if it was called off. An error is our own: a secret or a key
    /// that cannot be used.
    async fn push(&self, entry: &Entry, delivery: &Delivery) -> Result<Option<Outcome>, String> {
        let (_, token) = self.token(&entry.settings(), delivery).await?;
        // Signing takes a while. A stream that was paused, disabled or deleted meanwhile is sent nothing (SEM-16).
        if !self.may_push_to(entry) {
            return Ok(None);
        }
        let target = entry.settings().stream.push_target(&self.vault).map_err(|error| error.to_string())?;
        let request = push::request(&target.endpoint, token, target.authorization.as_ref());
        let answer = tokio::time::timeout(self.config.push_timeout, self.transport.send(request)).await;
        Ok(Some(match answer {
            Ok(Ok(response)) => {
                let error = push::Error::read(response.body());
                classify(response.status(), retry_after(&response), error.as_ref())
            }
            Ok(Err(error)) => Outcome::Trouble(trouble_of(&error)),
            Err(_) => Outcome::Trouble(Trouble {
                kind: TroubleKind::Unreachable,
                detail: format!("no answer within {:?}", self.config.push_timeout),
                retry_after: None,
            }),
        }))
    }

    /// The delivery's identifier and its signed SET.
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
        let token = self.signing.sign(&issuer.signer(), claims).await.map_err(|error| error.to_string())?;
        Ok((jti, token))
    }

    /// What an attempt's outcome means for the stream, and what is to be stored of it.
    fn take_back(&self, entry: &Entry, returned: Returned) -> Option<Settlement> {
        let Returned { delivery, outcome } = returned;
        let place: Place = (delivery.queue, delivery.sequence);
        let Some(outcome) = outcome else {
            entry.outgoing().called_off(place, delivery.attempts);
            return None;
        };
        let now = self.clock.now();
        let id = entry.settings().stream.id.clone();
        let attempts = delivery.attempts + 1;
        let verdict = match outcome {
            Outcome::Accepted => {
                debug!(stream.id = %id, sequence = delivery.sequence.0, "Receiver accepted a SET");
                entry.outgoing().pushed(place);
                Verdict::Acked
            }
            Outcome::Rejected(reason) => {
                info!(stream.id = %id, sequence = delivery.sequence.0, %reason, "Receiver rejected a SET");
                entry.outgoing().pushed(place);
                Verdict::Rejected(reason)
            }
            Outcome::Trouble(trouble) if self.config.retry.is_too_old(delivery.accepted_at, now) => {
                warn!(stream.id = %id, sequence = delivery.sequence.0, reason = %trouble.detail, "A SET is given up: it is too old");
                entry.outgoing().called_off(place, attempts);
                entry.outgoing().settle(place);
                Verdict::Abandoned(trouble.detail)
            }
            Outcome::Trouble(trouble) => {
                warn!(stream.id = %id, kind = ?trouble.kind, reason = %trouble.detail, "Push failed, it will be repeated");
                let retry_after = trouble.retry_after;
                let delay = |failures| {
                    let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
                    self.config.retry.delay(failures, retry_after, &mut *chance)
                };
                entry.outgoing().troubled(place, attempts, now, delay);
                return None;
            }
        };
        Some(Settlement {
            sequence: delivery.sequence,
            stream: delivery.stream,
            queue: delivery.queue,
            verdict,
        })
    }

    /// Whether the driver has nothing more to do; if so, the next one to have something starts another. The
    /// settings are looked at under the lock: who changes them after that finds that there is no driver.
    fn may_end(&self, entry: &Entry) -> bool {
        let mut outgoing = entry.outgoing();
        let done = outgoing.is_idle() || (outgoing.nothing_on_its_way() && !self.may_push_to(entry));
        if done {
            outgoing.driven = false;
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

fn trouble_of(error: &TransportError) -> Trouble {
    let kind = match error {
        TransportError::Tls(_) => TroubleKind::Tls,
        TransportError::AddressRefused(_) => TroubleKind::Guard,
        TransportError::BodyTooLarge { .. } | TransportError::Protocol(_) => TroubleKind::Busy,
        _ => TroubleKind::Unreachable,
    };
    Trouble { kind, detail: error.to_string(), retry_after: None }
}

/// `Retry-After` in seconds; its other form, a date, is rare and left to our own schedule.
fn retry_after<B>(response: &http::Response<B>) -> Option<Duration> {
    let value = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
