//! What the log says of failed authentications: strangers decide how many there are, so they are summed up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tracing::{info, warn};

/// Sums up failed authentications for the log: the first one is logged at once, the others once in [`EVERY`], with one
/// line for each client.
#[derive(Debug, Default)]
pub(super) struct Failures(Arc<Mutex<Sums>>);

/// One failed authentication.
pub(super) struct Failure<'a> {
    /// The client that it names, if that is one of ours.
    pub(super) client: Option<&'a str>,
    /// Why it failed.
    pub(super) reason: &'a str,
    /// Whether the credentials were judged at all.
    pub(super) judged: bool,
}

/// How long failures are gathered before they are logged.
const EVERY: Duration = Duration::from_secs(60);
/// Clients that have a line of their own. The failures of others are summed up in one.
const CLIENTS_MAX: usize = 20;

#[derive(Debug, Default)]
struct Sums {
    by_client: BTreeMap<String, Sum>,
    /// Clients that had no room.
    others: Sum,
    /// Names that are no client's.
    unknown: Sum,
    /// Whether a task is going to log them.
    gathering: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    failed: u64,
    not_judged: u64,
    reason: String,
}

impl Failures {
    pub(super) fn record(&self, failure: &Failure<'_>) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.of(failure.client).add(failure);
        if !std::mem::replace(&mut sums.gathering, true) {
            sums.log();
            tokio::spawn(log_later(Arc::downgrade(&self.0)));
        }
    }
}

/// Logs what has come together, until nothing comes any more.
async fn log_later(sums: Weak<Mutex<Sums>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(sums) = sums.upgrade() else { return };
        let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.log() == 0 {
            sums.gathering = false;
            return;
        }
    }
}

impl Sums {
    fn of(&mut self, client: Option<&str>) -> &mut Sum {
        let Some(client) = client else { return &mut self.unknown };
        match self.by_client.len() < CLIENTS_MAX || self.by_client.contains_key(client) {
            true => self.by_client.entry(client.to_owned()).or_default(),
            false => &mut self.others,
        }
    }

    /// Logs everything and forgets it. Returns how many lines that were.
    fn log(&mut self) -> usize {
        let clients = std::mem::take(&mut self.by_client);
        for (client, sum) in &clients {
            let Sum { failed, not_judged, reason } = sum;
            warn!(client.id = client, failed, not_judged, error = reason, "Client authentication failed");
        }
        let others = std::mem::take(&mut self.others);
        if others.failed > 0 {
            let Sum { failed, not_judged, .. } = &others;
            warn!(failed, not_judged, "Client authentication failed for further clients");
        }
        let unknown = std::mem::take(&mut self.unknown);
        if unknown.failed > 0 {
            let Sum { failed, not_judged, reason } = &unknown;
            info!(failed, not_judged, error = reason, "Authentication failed for unknown clients");
        }
        clients.len() + usize::from(others.failed > 0) + usize::from(unknown.failed > 0)
    }
}

impl Sum {
    fn add(&mut self, failure: &Failure<'_>) {
        self.failed += 1;
        self.not_judged += u64::from(!failure.judged);
        if failure.judged {
            failure.reason.clone_into(&mut self.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B8, B16
    #[test]
    fn failures_are_summed_up_within_bounds() {
        let mut sums = Sums::default();
        for number in 0..1_000 {
            let client = format!("client-{:03}", number % 100);
            let failure =
                Failure { client: Some(&client), reason: "the secret is wrong", judged: number < 500 };
            sums.of(failure.client).add(&failure);
            let failure = Failure { client: None, reason: "there is no such client", judged: true };
            sums.of(failure.client).add(&failure);
        }
        assert_eq!(sums.by_client.len(), CLIENTS_MAX);
        let one = Sum { failed: 10, not_judged: 5, reason: "the secret is wrong".to_owned() };
        assert_eq!(sums.by_client["client-007"], one);
        assert_eq!((sums.others.failed, sums.unknown.failed), (800, 1_000));
        assert_eq!(sums.log(), CLIENTS_MAX + 2);
        assert_eq!(sums.log(), 0, "it is logged once");
    }
}
