//! Push delivery (RFC 8935): one driver for each stream that has something to send.
//!
//! A driver lives while its stream has something to do, so that idle streams cost nothing. It decides on
//! memory, sends through the transport, and has outcomes stored as they come, many at once.

use crate::lanes::Place;
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

/// A delivery that came back from an attempt.
struct Returned {
    delivery: Delivery,
    outcome: Outcome,
}

impl Transmitter {
    /// Whether a driver is to be started for this stream. At most one runs at a time.
    pub(crate) fn should_be_driven(&self, entry: &Entry) -> bool {
        let settings = entry.settings();
        let wanted = matches!(settings.stream.target, Target::Push { .. })
            && settings.stream.status == Status::Enabled
            && !self.is_closing();
        let mut outgoing = entry.outgoing();
        let start = wanted && !outgoing.driven && !outgoing.is_idle();
        outgoing.driven |= start;
        start
    }

    /// Sends what the stream has to send, until there is nothing more.
    pub(crate) async fn drive(self: Arc<Self>, entry: Arc<Entry>) {
        let (returned_to, mut returned) = mpsc::unbounded_channel::<Returned>();
        let mut settlements: Vec<Settlement> = Vec::new();
        let mut storing = None;
        loop {
            let changed = entry.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            let sending = entry.settings().stream.status == Status::Enabled && !self.is_closing();
            let mut failed = false;
            if sending {
                failed = self.read_ahead(&entry).await.is_err();
                self.send_what_may(&entry, &returned_to);
            }
            if storing.is_none() && !settlements.is_empty() {
                let batch = std::mem::take(&mut settlements);
                let stored = self.store.settle(batch.clone());
                storing = Some(Box::pin(async move { stored.await.map_err(|error| (error, batch)) }));
            }
            if storing.is_none() && self.may_end(&entry, sending) {
                return;
            }
            let pause = if failed { Some(STORE_PAUSE) } else { self.until_due(&entry) };
            tokio::select! {
                biased;
                Some(Returned { delivery, outcome }) = returned.recv() => {
                    settlements.extend(self.take_back(&entry, delivery, outcome));
                }
                result = async { storing.as_mut().expect("checked").await }, if storing.is_some() => {
                    storing = None;
                    if let Err((error, batch)) = result {
                        warn!(%error, "Outcomes could not be stored, they are kept and tried again");
                        settlements.splice(..0, batch);
                        tokio::time::sleep(STORE_PAUSE).await;
                    }
                }
                () = &mut changed => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// Reads the store where the memory ends.
    pub(crate) async fn read_ahead(&self, entry: &Entry) -> Result<(), StoreError> {
        loop {
            let Some((queue, after)) = entry.outgoing().start_reading() else { return Ok(()) };
            let number = entry.settings().stream.number();
            match self.store.page(number, queue, after, crate::outgoing::PAGE_MAX).await {
                Ok(page) => entry.outgoing().read(queue, after, page),
                Err(error) => {
                    warn!(stream = %number, %error, "The backlog could not be read");
                    entry.outgoing().not_read(queue);
                    return Err(error);
                }
            }
        }
    }

    fn send_what_may(self: &Arc<Self>, entry: &Arc<Entry>, returned: &mpsc::UnboundedSender<Returned>) {
        loop {
            // The permit first: a delivery that was taken is sent.
            let Ok(permit) = Arc::clone(&self.pushes).try_acquire_owned() else {
                self.wake_later(entry);
                return;
            };
            let Some(delivery) = entry.outgoing().next_push(self.clock.now()) else { return };
            let (this, settings, returned) = (Arc::clone(self), entry.settings(), returned.clone());
            tokio::spawn(async move {
                let outcome = this.attempt(&settings, &delivery, permit).await;
                // The driver waits for all that it sent, so somebody is listening.
                let _ = returned.send(Returned { delivery, outcome });
            });
        }
    }

    /// All permits are taken: look again when one is free.
    fn wake_later(self: &Arc<Self>, entry: &Arc<Entry>) {
        let (this, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let free = this.pushes.acquire().await;
            drop(free);
            entry.changed.notify_one();
        });
    }

    async fn attempt(&self, settings: &Settings, delivery: &Delivery, _: OwnedSemaphorePermit) -> Outcome {
        match self.push(settings, delivery).await {
            Ok(outcome) => outcome,
            Err(detail) => Outcome::Trouble(Trouble { kind: TroubleKind::Trust, detail, retry_after: None }),
        }
    }

    /// Sends one SET, and reads the answer. An error is our own: a secret or a key that cannot be used.
    async fn push(&self, settings: &Settings, delivery: &Delivery) -> Result<Outcome, String> {
        let target = settings.stream.push_target(&self.vault).map_err(|error| error.to_string())?;
        let (_, token) = self.token(settings, delivery).await?;
        let request = push::request(&target.endpoint, token, target.authorization.as_ref());
        let answer = tokio::time::timeout(self.config.push_timeout, self.transport.send(request)).await;
        Ok(match answer {
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
        })
    }

    /// The delivery's identifier and its signed SET.
    pub(crate) async fn token(&self, settings: &Settings, delivery: &Delivery) -> Result<(String, String), String> {
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
    fn take_back(&self, entry: &Entry, delivery: Delivery, outcome: Outcome) -> Option<Settlement> {
        let place: Place = (delivery.queue, delivery.sequence);
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
        Some(Settlement { sequence: delivery.sequence, stream: delivery.stream, queue: delivery.queue, verdict })
    }

    /// Whether the driver has nothing more to do; if so, the next one to have something starts another.
    fn may_end(&self, entry: &Entry, sending: bool) -> bool {
        let mut outgoing = entry.outgoing();
        let done = outgoing.is_idle() || (!sending && outgoing.nothing_on_its_way());
        if done {
            outgoing.driven = false;
        }
        done
    }

    fn until_due(&self, entry: &Entry) -> Option<Duration> {
        let due: Option<Timestamp> = entry.outgoing().next_due();
        due.map(|due| due.since(self.clock.now()))
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
