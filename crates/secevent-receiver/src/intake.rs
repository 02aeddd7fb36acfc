//! What push and poll have in common: verify, store, and only then acknowledge.

use crate::counts::Counters;
use crate::jwks::Arrival;
use crate::log_limit::LogLimit;
use crate::source::Source;
use crate::verification::{PendingVerification, verification_of};
use crate::verify::{ReceiveError, SetVerifier, Verified};
use bytes::Bytes;
use secevent::ssf::Verification;
use secevent::{Clock, escape};
use secevent_jose::{Compact, Excerpt};
use secevent_ssf::push;
use secevent_store::{Inbox, Receipt, Received, StoreError};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

/// Takes the SETs of one source in.
pub(crate) struct Intake {
    pub(crate) source: Arc<Source>,
    pub(crate) verifier: SetVerifier,
    pub(crate) pending: PendingVerification,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) log: RejectionLog,
    /// Tells the dispatcher that there is something to do.
    pub(crate) arrived: Arc<Notify>,
}

/// Bounds the log lines about SETs that are not taken.
#[derive(Debug)]
pub(crate) struct RejectionLog {
    /// Pushes without the agreed credential: what is to be said of one of them holds for all.
    pub(crate) unauthenticated: LogLimit,
    /// Anybody who reaches the endpoint can cause these, where no credential is agreed.
    unproved: LogLimit,
    /// These are signed by the transmitter: a flood of the others must not hide them.
    changed: LogLimit,
    /// The same for SETs that are taken and not handed on.
    pub(crate) ignored: LogLimit,
}

impl Default for RejectionLog {
    fn default() -> Self {
        const LINES_MAX: u32 = 20;
        let limit = || LogLimit::new(LINES_MAX);
        let unauthenticated = LogLimit::new(1);
        Self { unauthenticated, unproved: limit(), changed: limit(), ignored: limit() }
    }
}

/// What became of the SETs of one poll.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// To be acknowledged.
    pub(crate) ack: Vec<String>,
    /// To be refused.
    pub(crate) refused: Vec<(String, push::Error)>,
    /// How many are neither, because there is no final verdict on them yet.
    pub(crate) open: usize,
    /// When there may be a verdict on the first of those, if there are any.
    pub(crate) open_for: Option<Duration>,
    /// Whether there was one that had not come before.
    pub(crate) any_new: bool,
}

/// A SET that may be stored.
struct Admitted {
    verified: Verified,
    verification: Option<Verification>,
    token: Bytes,
}

impl Intake {
    /// Takes one SET. Once this returns it is stored, and may be acknowledged (I5).
    pub(crate) async fn take(&self, token: Bytes) -> Result<Receipt, ReceiveError> {
        let taken = self.take_unreported(token.clone()).await;
        if let Err(error) = &taken {
            self.report(error, &token);
        }
        taken
    }

    async fn take_unreported(&self, token: Bytes) -> Result<Receipt, ReceiveError> {
        let admitted = self.admit(token, self.verifier.arrival()).await?;
        let receipts = self.inbox.receive(vec![self.received(&admitted)]).await?;
        let receipt = receipts.first().copied().expect("one receipt for each SET");
        self.conclude(&admitted, receipt)?;
        Ok(receipt)
    }

    /// Takes the SETs of one poll, each under the `jti` that it stands under. One bad SET does not affect the
    /// others; if they cannot be stored, nothing happened. One without a final verdict is neither acknowledged nor
    /// refused, so that it comes again.
    pub(crate) async fn take_batch(&self, sets: Vec<(String, String)>) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        let mut admitted = Vec::with_capacity(sets.len());
        let arrival = self.verifier.arrival();
        for (jti, token) in sets {
            let token = Bytes::from(token);
            match self.admit(token.clone(), arrival).await {
                Ok(one) if one.verified.set.jti() == jti => admitted.push(one),
                Ok(_) => self.refuse(jti, &token, &ReceiveError::ForeignJti, &mut taken),
                Err(error) => self.refuse(jti, &token, &error, &mut taken),
            }
        }
        if admitted.is_empty() {
            return Ok(taken);
        }
        let receipts = self.inbox.receive(admitted.iter().map(|one| self.received(one)).collect()).await?;
        debug_assert_eq!(receipts.len(), admitted.len(), "one receipt for each SET");
        for (one, receipt) in admitted.iter().zip(receipts) {
            let jti = one.verified.set.jti().to_owned();
            taken.any_new |= receipt == Receipt::First;
            match self.conclude(one, receipt) {
                Ok(()) => taken.ack.push(jti),
                Err(error) => self.refuse(jti, &one.token, &error, &mut taken),
            }
        }
        Ok(taken)
    }

    fn refuse(&self, jti: String, token: &[u8], error: &ReceiveError, taken: &mut Taken) {
        match error.fault() {
            Some(fault) if !error.is_open() => {
                self.report(error, token);
                taken.refused.push((jti, push::Error::new(fault, error.description())));
            }
            _ => {
                // The poller says that there are some: they may come again every second.
                self.counters.open.count();
                debug!(source.id = self.source.name, jti = %escape(&jti, Excerpt::CHARS_MAX), %error, "SET left open");
                taken.open += 1;
                let wait = error.retry_after().unwrap_or_default();
                taken.open_for = Some(taken.open_for.map_or(wait, |other| other.min(wait)));
            }
        }
    }

    /// Everything that is checked before a SET is stored.
    async fn admit(&self, token: Bytes, arrival: Arrival) -> Result<Admitted, ReceiveError> {
        let verified = self.verifier.verify_since(&token, arrival).await?;
        let verification = verification_of(&verified.set);
        if verification.as_ref().is_some_and(|verification| !self.pending.admits(verification)) {
            return Err(ReceiveError::State);
        }
        Ok(Admitted { verified, verification, token })
    }

    fn received(&self, admitted: &Admitted) -> Received {
        let set = &admitted.verified.set;
        Received {
            source: self.source.name.clone(),
            iss: set.iss().to_owned(),
            jti: set.jti().to_owned(),
            digest: admitted.verified.digest,
            token: admitted.token.clone(),
            at: self.clock.now(),
        }
    }

    fn conclude(&self, admitted: &Admitted, receipt: Receipt) -> Result<(), ReceiveError> {
        match receipt {
            Receipt::First => self.counters.received.count(),
            Receipt::Repeat => self.counters.repeated.count(),
            Receipt::Changed => return Err(ReceiveError::Changed),
        }
        debug!(source.id = self.source.name, jti = admitted.verified.set.jti(), ?receipt, "SET stored");
        if let Some(verification) = &admitted.verification {
            self.pending.came(verification);
        }
        // A repeat too: the first may have been stored although the answer of the store was lost.
        self.arrived.notify_one();
        Ok(())
    }

    fn report(&self, error: &ReceiveError, token: &[u8]) {
        match error {
            ReceiveError::Changed => self.counters.changed.count(),
            ReceiveError::Keys(_) => self.counters.open.count(),
            error if error.fault().is_none() => {}
            _ => self.counters.refused.count(),
        }
        let log = if *error == ReceiveError::Changed { &self.log.changed } else { &self.log.unproved };
        let (source, example) = (self.source.name.clone(), error.clone());
        let report = move |count: u64| {
            warn!(source.id = source, count, error = %example, "Further SETs not taken, not logged one by one");
        };
        if !log.admits(report) {
            return;
        }
        let source = &self.source.name;
        let Unverified { jti, txn, event_type } = Unverified::of(token);
        match error {
            ReceiveError::Changed => {
                warn!(source.id = source, %jti, %txn, event.type = %event_type, "Rejected SET: its jti was used before");
            }
            // The key cache warns, once for each fetch.
            ReceiveError::Keys(error) => {
                info!(source.id = source, %jti, %txn, event.type = %event_type, %error, "SET cannot be judged yet");
            }
            error if error.fault().is_none() => {
                warn!(source.id = source, %jti, %txn, event.type = %event_type, %error, "SET cannot be judged yet");
            }
            error => {
                warn!(source.id = source, %jti, %txn, event.type = %event_type, %error, "Rejected SET");
            }
        }
    }
}

/// What a SET that is not taken says of itself, for the log: nothing of it is proved, so all of it is escaped and cut.
#[derive(Default)]
struct Unverified {
    jti: String,
    txn: String,
    event_type: String,
}

impl Unverified {
    fn of(token: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Names<'a> {
            #[serde(borrow)]
            jti: Option<Cow<'a, str>>,
            #[serde(borrow)]
            txn: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            events: BTreeMap<Cow<'a, str>, &'a RawValue>,
        }
        let Ok(compact) = Compact::parse_within(token, token.len()) else { return Self::default() };
        let names: Names<'_> = serde_json::from_slice(compact.unverified_payload()).unwrap_or_default();
        let shown = |text: Option<&Cow<'_, str>>| {
            text.map(|text| escape(text, Excerpt::CHARS_MAX).to_string()).unwrap_or_default()
        };
        Self {
            jti: shown(names.jti.as_ref()),
            txn: shown(names.txn.as_ref()),
            event_type: names
                .events
                .keys()
                .next()
                .map(|uri| escape(uri, 200).to_string())
                .unwrap_or_default(),
        }
    }
}
