//! Poll delivery (RFC 8936): the same deliveries, handed out to whoever asks for the stream.

use crate::lanes::Place;
use crate::stream::Target;
use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use bytes::Bytes;
use secevent::Timestamp;
use secevent_ssf::poll::{self, PollRequest};
use secevent_ssf::{Status, StreamId};
use secevent_store::{Jti, Settlement, Verdict};
use std::time::Duration;
use tracing::info;

/// Why a poll gets no answer of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// The client has no such stream that is polled.
    #[error("there is no such stream")]
    NoSuchStream,
    /// Our own trouble.
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

impl Transmitter {
    /// Answers a poll of a client for its stream: applies acknowledgements and reports first, then hands out
    /// what may be sent, oldest first, at most one SET about a subject at a time. With nothing to hand out it
    /// waits, unless the receiver does not want that.
    ///
    /// A SET that is not acknowledged within the visibility time is handed out again.
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
        self.settle_reported(&entry, request).await?;

        let asked = request.max_events.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let sets_max = asked.min(self.config.poll_sets_max);
        let give_up_at = tokio::time::Instant::now() + self.config.poll_wait_max;
        loop {
            let changed = entry.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            let now = self.clock.now();
            let sets = if sets_max == 0 { Vec::new() } else { self.hand_out(&entry, sets_max, now).await? };
            // To acknowledge and want nothing is answered at once, which the standard leaves open (E-95).
            let answer = !sets.is_empty() || request.return_immediately || sets_max == 0 || self.is_closing();
            if answer || tokio::time::Instant::now() >= give_up_at {
                let sending = entry.settings().stream.status == Status::Enabled;
                let more = sending && sets_max > 0 && entry.outgoing().has_more(now);
                let pairs = sets.iter().map(|(jti, token)| (jti.as_str(), token.as_str()));
                return Ok(poll::write(pairs, more));
            }
            let due =
                entry.outgoing().next_poll_at(now).map_or(Duration::MAX, |due| due.since(self.clock.now()));
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(give_up_at) => {}
                () = tokio::time::sleep(due) => {}
            }
        }
    }

    /// Settles what the request acknowledges or refuses. Identifiers that name nothing are ignored (E-97).
    async fn settle_reported(&self, entry: &Entry, request: &PollRequest) -> Result<(), TransmitterError> {
        let acked = request.ack.iter().map(|jti| (jti, Verdict::Acked));
        let refused = request.set_errs.iter().map(|(jti, error)| {
            let reason = format!("{}: {}", error.err.as_str(), error.description);
            info!(stream.id = %entry.settings().stream.id, %jti, %reason, "Receiver rejected a SET");
            (jti, Verdict::Rejected(reason))
        });
        let number = entry.settings().stream.number();
        let mut settlements = Vec::new();
        for (jti, verdict) in acked.chain(refused) {
            let Some(named) = self.codec.decode(jti, number) else { continue };
            if let Some((queue, sequence)) = self.unsettled(entry, &named).await? {
                settlements.push(Settlement { sequence, stream: number, queue, verdict });
            }
        }
        if !settlements.is_empty() {
            for settled in &settlements {
                entry.outgoing().settle((settled.queue, settled.sequence));
            }
            // What became free may be what another poller waits for.
            entry.changed.notify_waiters();
            self.store.settle(settlements).await?;
        }
        Ok(())
    }

    /// The delivery that an identifier names, if it is not settled yet: it may have been handed out before a
    /// restart. One of another epoch is another delivery that had the same place before the store was restored
    /// from a backup (SEM-1).
    async fn unsettled(&self, entry: &Entry, named: &Jti) -> Result<Option<Place>, TransmitterError> {
        if let Some(place) = entry.outgoing().place(named.epoch, named.sequence) {
            return Ok(Some(place));
        }
        let stored = self.store.delivery(named.stream, named.sequence).await?;
        Ok(stored.filter(|stored| stored.epoch == named.epoch).map(|stored| (stored.queue, stored.sequence)))
    }

    async fn hand_out(
        &self,
        entry: &Entry,
        sets_max: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, TransmitterError> {
        if entry.settings().stream.status != Status::Enabled {
            return Ok(Vec::new());
        }
        if let Err(error) = self.read_ahead(entry).await {
            // Other pollers may have left the reading to this one.
            entry.changed.notify_waiters();
            return Err(error.into());
        }
        let again_at = now.plus(self.config.poll_visibility);
        let mut sets = Vec::new();
        while sets.len() < sets_max {
            let Some(delivery) = entry.outgoing().next_poll(now, again_at) else { break };
            match self.token(&entry.settings(), &delivery).await {
                Ok(set) => sets.push(set),
                Err(error) => return Err(TransmitterError::Config(error)),
            }
        }
        Ok(sets)
    }
}
