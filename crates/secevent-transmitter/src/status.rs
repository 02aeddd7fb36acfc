//! When the transmitter itself changes a stream's status: for an operator, or because its receiver has been in
//! trouble for too long or is owed too much. The receiver is told (SEM-7, SEM-8).

use crate::audit;
use crate::manage::ManageError;
use crate::stream::Stream;
use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::ssf::{StreamStatus, StreamUpdated};
use secevent_ssf::{Status, StreamId};
use secevent_store::{Queue, Sequence, Settlement, Verdict};
use std::sync::Arc;
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

    /// The same, if the stream still has the version that is expected.
    pub async fn hold_stream_if(
        &self,
        id: &StreamId,
        expected: Option<u64>,
        status: Status,
        reason: Option<String>,
    ) -> Result<(), ManageError> {
        let entry = self.table.by_id(id.as_str()).ok_or(ManageError::NoSuchStream)?;
        self.change_and_tell_if(&entry, expected, status, reason, |stream| {
            (stream.held, stream.ending) = (status != Status::Enabled, false);
        })
        .await
    }

    /// Pauses a stream for a reason of our own, beside what is being done.
    pub(crate) fn pause_beside(&self, entry: &Arc<Entry>, reason: String) {
        if entry.settings().stream.status != Status::Enabled {
            return;
        }
        let (this, entry) = (self.handle(), Arc::clone(entry));
        self.spawn(async move {
            match this.change_and_tell(&entry, Status::Paused, Some(reason), |_| {}).await {
                Ok(()) => info!(stream.id = %entry.settings().stream.id, "A stream is paused"),
                // Somebody changes it at this moment, or the store fails: if the reason lasts, it is tried again.
                Err(error) => {
                    warn!(stream.id = %entry.settings().stream.id, %error, "A stream is not paused");
                }
            }
        });
    }

    pub(crate) async fn change_and_tell(
        &self,
        entry: &Arc<Entry>,
        status: Status,
        reason: Option<String>,
        also: impl FnOnce(&mut Stream),
    ) -> Result<(), ManageError> {
        self.change_and_tell_if(entry, None, status, reason, also).await
    }

    async fn change_and_tell_if(
        &self,
        entry: &Arc<Entry>,
        expected: Option<u64>,
        status: Status,
        reason: Option<String>,
        also: impl FnOnce(&mut Stream),
    ) -> Result<(), ManageError> {
        let _alone = entry.changing.lock().await;
        if expected.is_some_and(|expected| expected != entry.settings().version.0) {
            return Err(ManageError::Changed);
        }
        let before = entry.settings().stream.status;
        let untold = status != before;
        audit::ourselves(self.change_status(entry, status, reason, |stream| {
            stream.untold = untold;
            also(stream);
        }))
        .await?;
        if untold {
            self.tell_status(entry).await?;
        }
        Ok(())
    }

    /// Says what the status is, as the last that is said. What was to be said before is not true any more.
    pub(crate) async fn tell_status(&self, entry: &Arc<Entry>) -> Result<(), TransmitterError> {
        let settings = entry.settings();
        let status = match settings.stream.status {
            Status::Paused => StreamStatus::Paused,
            Status::Disabled => StreamStatus::Disabled,
            _ => StreamStatus::Enabled,
        };
        if settings.stream.status != Status::Enabled {
            self.forget_control_events(entry).await?;
        }
        self.record_control(entry, &StreamUpdated { status, reason: settings.stream.reason.clone() }).await
    }

    async fn forget_control_events(&self, entry: &Arc<Entry>) -> Result<(), TransmitterError> {
        const PAGE: usize = 256;
        let number = entry.settings().stream.number();
        let mut after = Sequence(0);
        loop {
            let page = self.store.page(number, Queue::Control, after, PAGE).await?;
            let Some(last) = page.deliveries.last() else { return Ok(()) };
            after = last.sequence;
            let at = self.clock.now();
            let waiting = page.deliveries.iter().filter(|delivery| {
                let place = (delivery.queue, delivery.sequence);
                entry.outgoing().settle_unless_sent(place, delivery.body.len())
            });
            let settlements = waiting.map(|delivery| Settlement {
                sequence: delivery.sequence,
                stream: number,
                queue: delivery.queue,
                at,
                verdict: Verdict::Abandoned("the stream's status has changed".to_owned()),
            });
            self.give_up(entry, settlements.collect()).await?;
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
            if let Err(error) = self.store.settle(settlements).await {
                entry.outgoing().not_stored(places.into_iter());
                return Err(error.into());
            }
            entry.counts.abandoned.add(u64::try_from(places.len()).unwrap_or(u64::MAX));
            entry.outgoing().stored(places.into_iter());
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
            // Somebody gave it another status meanwhile, and tells that.
            Ok(_) | Err(ManageError::Busy) => {}
            Err(error) => {
                warn!(stream.id = %settings.stream.id, %error, "A status was told, which is not stored yet");
            }
        }
    }
}
