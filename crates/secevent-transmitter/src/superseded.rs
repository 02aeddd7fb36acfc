//! Events about a stream itself that a newer one of the same type has overtaken: nobody needs them any more, so they are
//! neither dead nor delivered again (SEM-7).

use crate::render::event_names;
use crate::table::Entry;
use crate::transmitter::Transmitter;
use secevent::EventType;
use secevent::ssf::{StreamUpdated, Verification};
use secevent_store::{Delivery, Place, Queue, Sequence, Settlement, StoreError, Verdict};
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

/// How many dead letters are looked at together.
const PAGE: usize = 256;

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

    /// Ends the dead letters of a stream about itself that a newer event of the same type has replaced. Returns how many.
    pub(crate) async fn end_superseded(&self, entry: &Entry) -> Result<u64, StoreError> {
        let number = entry.settings().stream.number();
        let mut letters: Vec<(String, Place)> = Vec::new();
        // Nothing is dead in the regular queue that is about the stream itself.
        let behind_regular = Place { stream: number, queue: Queue::Regular, sequence: Sequence(u64::MAX) };
        for (queue, from) in [(Queue::Control, None), (Queue::Again, Some(behind_regular))] {
            let mut after = from;
            loop {
                let dead = self.store.dead(Some(number), after, PAGE).await?;
                let page =
                    dead.iter().map(|dead| &dead.delivery).take_while(|delivery| delivery.queue == queue);
                let mut last = None;
                for delivery in page {
                    last = Some(delivery.place());
                    let event_type = event_names(delivery, &self.codec).event_type;
                    if entry.newest_control.of(&event_type).is_some() {
                        entry.newest_control.note(&event_type, delivery.sequence);
                        letters.push((event_type, delivery.place()));
                    }
                }
                after = last.filter(|_| dead.len() == PAGE);
                if after.is_none() {
                    break;
                }
            }
        }
        letters.retain(|(event_type, place)| entry.newest_control.has_overtaken(event_type, place.sequence));
        let at = self.clock.now();
        let superseded = |(_, place): &(String, Place)| Settlement {
            sequence: place.sequence,
            stream: place.stream,
            queue: place.queue,
            at,
            verdict: Verdict::Superseded,
            attempts: None,
            attempt: None,
        };
        for some in letters.chunks(PAGE) {
            self.store.settle(some.iter().map(superseded).collect()).await?;
        }
        Ok(u64::try_from(letters.len()).unwrap_or(u64::MAX))
    }
}
