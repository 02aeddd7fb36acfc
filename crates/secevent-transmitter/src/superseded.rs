//! Events about a stream itself that a newer one of the same type has overtaken: nobody needs them any more, so they are
//! neither dead nor delivered again (SEM-7).
//!
//! A newer event replaces an older one when it is recorded, whether or not it is delivered later. From then on the older
//! status is not true, and the older verification was asked for again; if the newer event fails too, it is the dead letter.

use crate::render::event_names;
use crate::table::Entry;
use crate::transmitter::Transmitter;
use secevent::EventType;
use secevent::ssf::{StreamUpdated, Verification};
use secevent_store::{Delivery, DropReason, Place, Queue, Sequence, Settlement, StoreError, Verdict};
use std::sync::atomic::{AtomicU64, Ordering};

/// The newest event of each type that was recorded for a stream about itself, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct NewestControl {
    stream_updated: AtomicU64,
    verification: AtomicU64,
}

impl NewestControl {
    /// An event of this type was recorded here.
    pub(crate) fn note(&self, event_type: &str, sequence: Sequence) {
        if let Some(newest) = self.of(event_type) {
            newest.fetch_max(sequence.0, Ordering::Relaxed);
        }
    }

    fn has_overtaken(&self, event_type: &str, sequence: Sequence) -> bool {
        self.of(event_type).is_some_and(|newest| newest.load(Ordering::Relaxed) > sequence.0)
    }

    fn of(&self, event_type: &str) -> Option<&AtomicU64> {
        match event_type {
            StreamUpdated::URI => Some(&self.stream_updated),
            Verification::URI => Some(&self.verification),
            _ => None,
        }
    }
}

/// How many dead letters are looked at together. Mostly there are two at most, the newest of each type: each new event
/// ends those before it.
const LOOKED_AT_MAX: usize = 16;

impl Transmitter {
    /// A control event was read from the store.
    pub(crate) fn note_control(&self, entry: &Entry, delivery: &Delivery) {
        if delivery.queue == Queue::Control {
            let names = event_names(delivery, &self.codec);
            entry.newest_control.note(&names.event_type, delivery.sequence);
        }
    }

    /// Whether a newer event of the same type has replaced this one.
    pub(crate) fn is_superseded(&self, entry: &Entry, delivery: &Delivery) -> bool {
        // Others are about a subject, and none of them replaces another.
        delivery.queue != Queue::Regular
            && entry
                .newest_control
                .has_overtaken(&event_names(delivery, &self.codec).event_type, delivery.sequence)
    }

    /// Ends dead letters of a stream about itself that a newer event of the same type has replaced. It looks at a bounded
    /// number of them, and at no others: receivers cause this as often as they ask for a verification. Returns how many it
    /// ended, and whether it is to be called again for the rest.
    pub(crate) async fn end_superseded(&self, entry: &Entry) -> Result<(u64, bool), StoreError> {
        let stream = entry.settings().stream.number();
        let dead = self.store.dead_control(stream, LOOKED_AT_MAX).await?;
        let mut letters: Vec<(String, Place)> = Vec::new();
        for delivery in dead.iter().map(|dead| &dead.delivery) {
            let event_type = event_names(delivery, &self.codec).event_type;
            entry.newest_control.note(&event_type, delivery.sequence);
            letters.push((event_type, delivery.place()));
        }
        letters.retain(|(event_type, place)| entry.newest_control.has_overtaken(event_type, place.sequence));
        let at = self.clock.now();
        let superseded = |(_, place): &(String, Place)| Settlement {
            sequence: place.sequence,
            stream: place.stream,
            queue: place.queue,
            at,
            verdict: Verdict::Dropped(DropReason::Superseded),
            attempts: None,
            attempt: None,
        };
        let settlements: Vec<_> = letters.iter().map(superseded).collect();
        if !settlements.is_empty() {
            self.store.settle(settlements).await?;
        }
        let is_more = dead.len() == LOOKED_AT_MAX && !letters.is_empty();
        Ok((u64::try_from(letters.len()).unwrap_or(u64::MAX), is_more))
    }
}
