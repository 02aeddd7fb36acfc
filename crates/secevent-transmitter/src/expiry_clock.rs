//! The time by which the transmitter deletes for age. It does not believe a wall clock that jumps ahead (SEM-30).

use crate::audit::Changed;
use crate::transmitter::{Transmitter, TransmitterError};
use bytes::Bytes;
use secevent::{Clock, Timestamp};
use secevent_store::{ExpiryClock, ExpiryReading, SeenTime, Store, StoreError, Version};
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// The clock, and what is stored of it.
#[derive(Debug)]
pub(crate) struct Expiry {
    clock: Mutex<ExpiryClock>,
    /// [`ExpiryClock::steady_offset`] in microseconds: nearly always the time is read without the lock.
    steady_offset: AtomicI64,
    /// Held while the time is stored.
    stored: tokio::sync::Mutex<Stored>,
}

#[derive(Debug)]
struct Stored {
    version: Version,
    /// What was stored last, and at which elapsed time, in this life.
    last: Option<(SeenTime, Duration)>,
}

impl Expiry {
    const DOCUMENT: &str = "expiry-clock";
    /// The time is stored this often.
    const STORE_EVERY: Duration = Duration::from_secs(600);
    const NOT_STEADY: i64 = i64::MIN;

    /// Reads what was stored last.
    pub(crate) async fn open(store: &dyn Store, clock: &dyn Clock) -> Result<Self, TransmitterError> {
        let document = store.get(Self::DOCUMENT).await?;
        let version = document.as_ref().map_or(Version(0), |document| document.version);
        let seen = document.map(|document| {
            serde_json::from_slice::<SeenTime>(&document.body)
                .map_err(|error| StoreError::Corrupt(format!("{}: {error}", Self::DOCUMENT)))
        });
        let expiry = ExpiryClock::new(clock.now(), clock.elapsed(), seen.transpose()?);
        let stored = Stored { version, last: None };
        Ok(Self {
            clock: Mutex::new(expiry),
            steady_offset: AtomicI64::new(Self::NOT_STEADY),
            stored: tokio::sync::Mutex::new(stored),
        })
    }

    /// The time by which records are deleted.
    pub(crate) fn now(&self, clock: &dyn Clock) -> Timestamp {
        self.read(clock).expiry.now
    }

    fn read(&self, clock: &dyn Clock) -> ClockState {
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let offset = self.steady_offset.load(Ordering::Relaxed);
        if offset != Self::NOT_STEADY {
            let expected = Timestamp::from_micros(offset).plus(elapsed);
            let apart = now.since(expected).max(expected.since(now));
            if apart <= ExpiryClock::TOLERANCE {
                let expiry = ExpiryReading { now, ahead: None, needs_confirmation: false };
                return ClockState { now, expiry };
            }
        }
        let expiry = self.change(|clock| clock.read(now, elapsed));
        ClockState { now, expiry }
    }

    fn change<T>(&self, change: impl FnOnce(&mut ExpiryClock) -> T) -> T {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut clock);
        let offset = clock.steady_offset().map_or(Self::NOT_STEADY, Timestamp::as_micros);
        self.steady_offset.store(offset, Ordering::Relaxed);
        changed
    }
}

/// How the system clock relates to the time by which records are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// The system clock.
    pub now: Timestamp,
    /// The time by which records are deleted.
    pub expiry: ExpiryReading,
}

impl Transmitter {
    /// The time by which records are deleted for their age: the wall clock's, or less if that has jumped ahead.
    pub fn expiry_now(&self) -> Timestamp {
        self.expiry.now(self.clock.as_ref())
    }

    /// How the system clock relates to it.
    pub fn clock_state(&self) -> ClockState {
        self.expiry.read(self.clock.as_ref())
    }

    /// An operator says that the system clock is right: from now on records are deleted by it.
    pub async fn confirm_clock(&self) -> Result<ClockState, TransmitterError> {
        let before = self.clock_state();
        self.enter_change(Changed {
            action: "clock.confirm".to_owned(),
            object: "clock".to_owned(),
            before: Some(json!({ "ahead_seconds": before.expiry.ahead.map(|ahead| ahead.as_secs()) })),
            ..Changed::default()
        })
        .await?;
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        self.expiry.change(|clock| clock.confirm(now, elapsed));
        info!("System clock confirmed, used for deletion");
        self.store_time().await?;
        Ok(self.clock_state())
    }

    /// Stores the time for the next start, and reports a wall clock that is not believed.
    pub(crate) async fn store_time(&self) -> Result<(), StoreError> {
        let elapsed = self.clock.elapsed();
        let expiry = self.clock_state().expiry;
        let seen = ExpiryClock::seen(expiry);
        let mut stored = self.expiry.stored.lock().await;
        let is_due = stored.last.is_none_or(|(last, at)| {
            last.jumped() != seen.jumped() || elapsed.saturating_sub(at) >= Expiry::STORE_EVERY
        });
        if !is_due {
            return Ok(());
        }
        if let Some(ahead) = expiry.ahead {
            warn!(
                ahead_seconds = ahead.as_secs(),
                needs_confirmation = expiry.needs_confirmation,
                "System clock jumped ahead, not used for deletion"
            );
        }
        let body = Bytes::from(serde_json::to_vec(&seen).expect("two values are JSON"));
        stored.version = self.store.put(Expiry::DOCUMENT, stored.version, Some(body)).await?;
        stored.last = Some((seen, elapsed));
        Ok(())
    }
}
