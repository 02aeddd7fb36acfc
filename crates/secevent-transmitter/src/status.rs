//! When the transmitter itself changes a stream's status: for an operator, or because its receiver has been in
//! trouble for too long or is owed too much. The receiver is told (SEM-7, SEM-8).

use crate::audit;
use crate::manage::ManageError;
use crate::stream::Stream;
use crate::table::{Entry, Settings};
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::EventType;
use secevent::ssf::{StreamStatus, StreamUpdated};
use secevent_ssf::{Status, StreamId};
use secevent_store::{Delivery, DropReason, Queue, Sequence, Settlement, StoreError, Verdict};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{info, warn};

impl Transmitter {
    /// Pauses, disables or enables a stream for its operator, and tells its receiver by a stream-updated event. What
    /// an operator has paused or disabled, its receiver cannot enable.
    pub async fn hold_stream(
        &self,
        id: &StreamId,
        status: Status,
        reason: Option<String>,
    ) -> Result<(), ManageError> {
        self.hold_stream_if(id, None, status, reason).await
    }

    /// The same, if the stream still has one of the versions that are expected.
    pub async fn hold_stream_if(
        &self,
        id: &StreamId,
        expected: Option<&[u64]>,
        status: Status,
        reason: Option<String>,
    ) -> Result<(), ManageError> {
        let entry = self.table.by_id(id.as_str()).ok_or(ManageError::NoSuchStream)?;
        let same =
            |settings: &Settings| expected.is_none_or(|expected| expected.contains(&settings.version.0));
        let hold = |stream: &mut Stream| {
            (stream.held, stream.ending) = (status != Status::Enabled, false);
        };
        match self.change_and_tell(&entry, same, status, reason, hold).await? {
            true => Ok(()),
            false => Err(ManageError::Changed),
        }
    }

    /// Pauses a stream for a reason of our own, beside what is being done.
    pub(crate) fn pause_beside(&self, entry: &Arc<Entry>, reason: String) {
        let is_enabled = |settings: &Settings| settings.stream.status == Status::Enabled;
        if !is_enabled(&entry.settings()) {
            return;
        }
        let (this, entry) = (self.handle(), Arc::clone(entry));
        self.spawn(async move {
            match this.change_and_tell(&entry, is_enabled, Status::Paused, Some(reason), |_| {}).await {
                Ok(true) => info!(stream.id = %entry.settings().stream.id, "A stream is paused"),
                // Somebody gave it another status meanwhile, and that stands.
                Ok(false) => {}
                // The store fails: if the reason lasts, it is tried again.
                Err(error) => {
                    entry.overflowing.store(false, Ordering::Relaxed);
                    warn!(stream.id = %entry.settings().stream.id, %error, "A stream is not paused");
                }
            }
        });
    }

    /// Gives a stream another status and tells its receiver, if the stream is still what it is changed for: others may
    /// change it first. Returns whether it was.
    pub(crate) async fn change_and_tell(
        &self,
        entry: &Arc<Entry>,
        is_still: impl FnOnce(&Settings) -> bool,
        status: Status,
        reason: Option<String>,
        also: impl FnOnce(&mut Stream),
    ) -> Result<bool, ManageError> {
        let _alone = entry.changing.lock().await;
        let before = entry.settings();
        if !is_still(&before) {
            return Ok(false);
        }
        // What was not told yet is still to be told, with the reason that it has now.
        let untold = status != before.stream.status || before.stream.untold;
        audit::ourselves(self.change_status(entry, status, reason, |stream| {
            stream.untold = untold;
            also(stream);
        }))
        .await?;
        if untold {
            self.tell_status(entry).await?;
        }
        Ok(true)
    }

    /// Says what the status is, as the last that is said.
    pub(crate) async fn tell_status(&self, entry: &Arc<Entry>) -> Result<(), TransmitterError> {
        let settings = entry.settings();
        let status = match settings.stream.status {
            Status::Paused => StreamStatus::Paused,
            Status::Disabled => StreamStatus::Disabled,
            _ => StreamStatus::Enabled,
        };
        // The status is the last that is sent: what waits goes no more.
        let unsent = match settings.stream.status {
            Status::Paused => Some(DropReason::Paused),
            Status::Disabled => Some(DropReason::Disabled),
            _ => None,
        };
        if unsent.is_some() {
            self.forget_control_events(entry, unsent).await?;
        }
        let reason = settings.stream.reason.clone();
        match self.record_control(entry, &StreamUpdated { status, reason }).await {
            // The stream keeps in mind that this is still to be said, and housekeeping does so. A server has to start and
            // streams have to end although nothing new is stored.
            Err(TransmitterError::Store(error @ (StoreError::Full | StoreError::DiskFull))) => {
                warn!(stream.id = %settings.stream.id, %error, "Status event not recorded, will retry");
                Ok(())
            }
            recorded => recorded,
        }
    }

    /// What is still to be said of a stream's status is not true any more (SEM-7).
    pub(crate) async fn forget_status_events(&self, entry: &Arc<Entry>) -> Result<(), TransmitterError> {
        self.forget_control_events(entry, None).await
    }

    /// Ends what waits to be said of a stream's status, since that is replaced; and everything else that waits, if there is
    /// a reason for that.
    async fn forget_control_events(
        &self,
        entry: &Arc<Entry>,
        others: Option<DropReason>,
    ) -> Result<(), TransmitterError> {
        const PAGE: usize = 256;
        // No quote in a text is written so: this is the event and nothing that somebody says.
        let event = format!("\"events\":{{\"{}\":", StreamUpdated::URI);
        let tells_status =
            |delivery: &Delivery| delivery.body.windows(event.len()).any(|part| part == event.as_bytes());
        let number = entry.settings().stream.number();
        let mut after = Sequence(0);
        loop {
            let page = self.store.page(number, Queue::Control, after, PAGE).await?;
            let Some(last) = page.deliveries.last() else { return Ok(()) };
            after = last.sequence;
            let at = self.clock.now();
            let ended = |delivery: &Delivery| {
                let reason = if tells_status(delivery) { Some(DropReason::Superseded) } else { others }?;
                let place = (delivery.queue, delivery.sequence);
                let is_ended = entry.outgoing().settle_unless_sent(place, delivery.body.len());
                is_ended.then_some(Settlement {
                    sequence: delivery.sequence,
                    stream: number,
                    queue: delivery.queue,
                    at,
                    verdict: Verdict::Dropped(reason),
                    attempts: None,
                    attempt: None,
                })
            };
            let settlements = page.deliveries.iter().filter_map(ended).collect();
            self.give_up(entry, settlements).await?;
        }
    }

    pub(crate) async fn give_up(
        &self,
        entry: &Arc<Entry>,
        settlements: Vec<Settlement>,
    ) -> Result<(), TransmitterError> {
        if !settlements.is_empty() {
            let places: Vec<_> =
                settlements.iter().map(|settled| (settled.queue, settled.sequence)).collect();
            let verdicts = || settlements.iter().map(|settled| &settled.verdict);
            let superseded =
                verdicts().filter(|verdict| **verdict == Verdict::Dropped(DropReason::Superseded)).count();
            let dropped = verdicts().filter(|verdict| matches!(verdict, Verdict::Dropped(_))).count();
            if let Err(error) = self.store.settle(settlements).await {
                entry.outgoing().not_stored(places.into_iter());
                return Err(error.into());
            }
            let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            entry.counts.abandoned.add(count(places.len() - dropped));
            entry.counts.superseded.add(count(superseded));
            entry.outgoing().stored(places.into_iter());
        }
        Ok(())
    }

    /// Tells a status once more that is still to be told while nothing waits that would tell it: the store failed when
    /// that was to be recorded, or when it was to be noted as told.
    pub(crate) async fn tell_what_is_untold(&self, entry: &Arc<Entry>) -> Result<(), ManageError> {
        if !entry.settings().stream.untold {
            return Ok(());
        }
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        let waiting = self.store.page(settings.stream.number(), Queue::Control, Sequence(0), 1).await?;
        if settings.stream.untold && waiting.deliveries.is_empty() {
            self.tell_status(entry).await?;
        }
        Ok(())
    }

    /// Something of the transmitter's own was settled. If it was the last of that, the receiver knows its stream's
    /// status: from here on there is silence.
    pub(crate) async fn status_may_be_told(&self, entry: &Arc<Entry>) {
        // Whoever changes the status holds this until its event is recorded.
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        if !settings.stream.untold {
            return;
        }
        let number = settings.stream.number();
        match self.store.page(number, Queue::Control, Sequence(0), 1).await {
            Ok(left) if left.deliveries.is_empty() => {}
            Ok(_) => return,
            Err(error) => {
                warn!(stream.id = %settings.stream.id, %error, "A status may be told, and that is not stored yet");
                return;
            }
        }
        let stream = Stream { untold: false, ..settings.stream.clone() };
        match self.change(entry, &settings, stream).await {
            // Somebody gave it another status meanwhile, and tells that; or it was deleted.
            Ok(_) | Err(ManageError::Busy | ManageError::NoSuchStream) => {}
            Err(error) => {
                warn!(stream.id = %settings.stream.id, %error, "A status was told, which is not stored yet");
            }
        }
    }
}
