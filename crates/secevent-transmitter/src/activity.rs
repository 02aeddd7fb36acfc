//! Signs of life: what is heard of receivers, and what becomes of a stream when nothing is (SSF 1.0 section 8.1.1);
//! verification events that nobody asked for.

use crate::audit;
use crate::config::{Ending, Inactivity};
use crate::manage::ManageError;
use crate::stream::{Stream, Target};
use crate::table::{Entry, Settings};
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::Timestamp;
use secevent::ssf::Verification;
use secevent_ssf::Status;
use secevent_store::{Queue, Sequence};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tracing::{info, warn};

/// What was heard of a stream's receiver and asked of it, as milliseconds since the epoch; zero is never. The time is
/// that by which records are deleted: a wall clock that jumps ahead ends no stream.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    heard_at: AtomicI64,
    verified_at: AtomicI64,
    beaten_at: AtomicI64,
}

impl Activity {
    /// The receiver manages or polls its stream, or answers a push.
    pub(crate) fn heard(&self, now: Timestamp) {
        self.heard_at.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// From now on it is looked after.
    pub(crate) fn begin(&self, now: Timestamp, heard_at: Timestamp) {
        self.heard(heard_at);
        self.beaten_at.store(now.as_millis(), Ordering::Relaxed);
    }

    fn heard_at(&self) -> Timestamp {
        Timestamp::from_millis(self.heard_at.load(Ordering::Relaxed))
    }

    /// The receiver asks for a verification event. If it asked before that it may again, this tells how long it is to
    /// wait.
    pub(crate) fn verify(&self, now: Timestamp, interval: Duration) -> Result<(), Duration> {
        let asked = |last: i64| {
            let next = Timestamp::from_millis(last).plus(interval);
            (last == 0 || next <= now).then_some(now.as_millis())
        };
        match self.verified_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, asked) {
            Ok(_) => Ok(()),
            Err(last) => Err(Timestamp::from_millis(last).plus(interval).since(now)),
        }
    }

    /// Whether a verification event is due that comes so often.
    fn beats(&self, now: Timestamp, period: Duration) -> bool {
        let due = |last: i64| (Timestamp::from_millis(last).plus(period) <= now).then_some(now.as_millis());
        self.beaten_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

impl Transmitter {
    /// A stream is read again after a start. While there was no process, nobody could be heard.
    pub(crate) fn take_up_activity(&self, entry: &Entry) {
        let now = self.expiry_now();
        let stored = entry.settings().stream.active_at.unwrap_or_default();
        let spared = self.config.inactivity.map_or(now, |inactivity| now.minus(inactivity.timeout / 2));
        entry.activity.begin(self.steady_now(), stored.max(spared));
    }

    /// Sends the verification events that are due, and ends streams whose receivers are silent.
    pub(crate) async fn look_for_life(&self, entry: &Arc<Entry>) -> Result<(), ManageError> {
        let now = self.expiry_now();
        if entry.is_off() {
            // Its receiver may neither speak nor be spoken to: the time does not count against it.
            entry.activity.heard(now);
            return Ok(());
        }
        self.tell_what_is_untold(entry).await?;
        if self.config.heartbeat.is_some_and(|period| entry.activity.beats(self.steady_now(), period)) {
            self.beat(entry).await?;
        }
        let Some(Inactivity { timeout, then }) = self.config.inactivity else { return Ok(()) };
        let settings = entry.settings();
        let stream = &settings.stream;
        let silent = now.since(entry.activity.heard_at());
        if stream.ending {
            if !stream.untold || silent > timeout * 2 {
                info!(stream.id = %stream.id, "A stream is deleted: its receiver is silent");
                audit::ourselves(self.end_stream(entry)).await?;
            }
        } else if silent > timeout {
            self.end_for_silence(entry, timeout, then).await?;
        } else {
            let pushed = matches!(stream.target, Target::Push { .. });
            if pushed && silent > timeout / 2 && entry.activity.beats(self.steady_now(), timeout / 2) {
                self.beat(entry).await?;
            }
            self.remember_activity(entry, timeout / 8).await?;
        }
        Ok(())
    }

    /// A verification event that nobody asked for has no state (SSF-156). Where one is still on its way there, or
    /// the stream is not sent to, there is none.
    async fn beat(&self, entry: &Arc<Entry>) -> Result<(), TransmitterError> {
        let settings = entry.settings();
        if settings.stream.status != Status::Enabled {
            return Ok(());
        }
        let waiting = self.store.page(settings.stream.number(), Queue::Control, Sequence(0), 1).await?;
        if waiting.deliveries.is_empty() {
            self.record_control(entry, &Verification::default()).await?;
        }
        Ok(())
    }

    async fn end_for_silence(
        &self,
        entry: &Arc<Entry>,
        timeout: Duration,
        then: Ending,
    ) -> Result<(), ManageError> {
        let settings = entry.settings();
        let silent = || self.expiry_now().since(entry.activity.heard_at());
        // What configuration declares is there for as long as it does.
        let then =
            if settings.stream.declared.is_some() && then == Ending::Delete { Ending::Disable } else { then };
        let (status, outcome) = match then {
            Ending::Pause => (Status::Paused, "is paused"),
            Ending::Disable => (Status::Disabled, "is disabled"),
            Ending::Delete => (Status::Disabled, "is deleted"),
        };
        let is_to_end = |settings: &Settings| {
            let stream = &settings.stream;
            let done = stream.status == status || stream.status == Status::Disabled;
            !stream.held && (!done || then == Ending::Delete) && silent() > timeout
        };
        if !is_to_end(&settings) {
            return Ok(());
        }
        let seconds = silent().as_secs();
        let reason = format!("nothing was heard of the receiver for {seconds} s: the stream {outcome}");
        let ending = then == Ending::Delete;
        let changed = self.change_and_tell(entry, is_to_end, status, Some(reason), |stream| {
            (stream.held, stream.ending) = (status == Status::Disabled, ending);
        });
        if changed.await? {
            warn!(stream.id = %settings.stream.id, silent_seconds = seconds, "A stream {outcome}: its receiver is silent");
        }
        Ok(())
    }

    /// Has it stored that the receiver was heard of, if what is stored is older than this.
    async fn remember_activity(&self, entry: &Arc<Entry>, age_max: Duration) -> Result<(), ManageError> {
        let heard_at = entry.activity.heard_at();
        let is_known = |stream: &Stream| {
            let stored = stream.active_at.unwrap_or(stream.created_at);
            heard_at.since(stored) <= age_max
        };
        if is_known(&entry.settings().stream) {
            return Ok(());
        }
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        let stream = Stream { active_at: Some(heard_at), ..settings.stream.clone() };
        self.change(entry, &settings, stream).await.map(drop)
    }
}
