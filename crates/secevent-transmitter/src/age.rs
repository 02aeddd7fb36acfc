//! Deliveries that are too old are given up, whether or not their receiver is asked any more (SEM-9).

use crate::table::Entry;
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::Timestamp;
use secevent_store::{Delivery, DropReason, Queue, Sequence, Settlement, Verdict};
use std::sync::Arc;
use tracing::warn;

impl Transmitter {
    /// Whether a delivery is to be given up for its age. What an operator asked for again is not: it is old.
    pub(crate) fn is_too_old(&self, queue: Queue, accepted_at: Timestamp) -> bool {
        queue != Queue::Again && self.config.retry.is_too_old(accepted_at, self.expiry_now())
    }

    /// Gives up the oldest deliveries of a stream, as far as they are too old and not on their way.
    pub(crate) async fn give_up_what_is_too_old(&self, entry: &Arc<Entry>) -> Result<(), TransmitterError> {
        const PAGE: usize = 256;
        if entry.outgoing().load().pending == 0 {
            return Ok(());
        }
        let number = entry.settings().stream.number();
        for queue in [Queue::Control, Queue::Regular] {
            let mut after = Sequence(0);
            // Mostly not even the first is too old.
            let mut limit = 1;
            loop {
                let now = self.clock.now();
                let page = self.store.page(number, queue, after, limit).await?;
                limit = PAGE;
                let old: Vec<_> = page
                    .deliveries
                    .iter()
                    .take_while(|delivery| self.is_too_old(queue, delivery.accepted_at))
                    .collect();
                let Some(last) = old.last() else { break };
                after = last.sequence;
                let (all_old, more) = (old.len() == page.deliveries.len(), page.more);
                let give_up = |delivery: &Delivery| {
                    let place = (delivery.queue, delivery.sequence);
                    let mut outgoing = entry.outgoing();
                    // Not each offer to a poller is stored.
                    let held = outgoing.find(delivery.epoch, delivery.sequence, delivery.generation);
                    let attempts = held.map_or(0, |held| held.attempts).max(delivery.attempts);
                    let verdict = match self.is_superseded(entry, delivery) {
                        true => Verdict::Dropped(DropReason::Superseded),
                        false => Verdict::Abandoned("it was not delivered in time".to_owned()),
                    };
                    outgoing.settle_unless_sent(place, delivery.body.len()).then_some(Settlement {
                        sequence: delivery.sequence,
                        stream: number,
                        queue,
                        at: now,
                        verdict,
                        attempts: Some(attempts),
                        attempt: None,
                    })
                };
                let settlements: Vec<Settlement> = old.into_iter().filter_map(give_up).collect();
                if !settlements.is_empty() {
                    warn!(stream.id = %entry.settings().stream.id, count = settlements.len(), "SETs expired before delivery");
                }
                self.give_up(entry, settlements).await?;
                if !(all_old && more) {
                    break;
                }
            }
        }
        Ok(())
    }
}
