//! Who changed what: a log that only grows, until what is old enough is forgotten.

use crate::{BoxFuture, StoreError};
use secevent::Timestamp;

/// One change, as it is remembered. Nothing in it is a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// When it was made.
    pub at: Timestamp,
    /// Of which kind whoever made it is, such as `client` or `operator`.
    pub actor: String,
    /// Which of that kind, if there are several.
    pub actor_id: Option<String>,
    /// What was done, such as `stream.update`.
    pub action: String,
    /// To what, such as `stream/f67e39a0`.
    pub object: String,
    /// The client that it concerns.
    pub client: Option<String>,
    /// The stream that it concerns.
    pub stream: Option<String>,
    /// The request that it came in.
    pub request: Option<String>,
    /// What was there before, as JSON. None if there was nothing, or it is not known.
    pub before: Option<String>,
    /// What is there now, as JSON.
    pub after: Option<String>,
}

/// A change and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Its place: later changes have higher ones.
    pub place: u64,
    /// The change.
    pub change: Change,
}

/// Which changes are asked for. What is none does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Those that concern this client.
    pub client: Option<String>,
    /// Those that concern this stream.
    pub stream: Option<String>,
    /// Those that did this; one that ends in a dot means all that begin so.
    pub action: Option<String>,
    /// Those that were made at this time or later.
    pub since: Option<Timestamp>,
}

impl ChangeFilter {
    /// Whether this is one of them.
    pub fn wants(&self, change: &Change) -> bool {
        let same = |wanted: &Option<String>, there: &Option<String>| wanted.is_none() || wanted == there;
        let action = self.action.as_deref().is_none_or(|wanted| match wanted.ends_with('.') {
            true => change.action.starts_with(wanted),
            false => change.action == wanted,
        });
        same(&self.client, &change.client)
            && same(&self.stream, &change.stream)
            && action
            && self.since.is_none_or(|since| change.at >= since)
    }
}

/// Keeps the log of changes.
///
/// A change is entered after it was made and before whoever asked for it is answered: what was answered is in the log.
/// If a crash comes between the two, there is a change that nobody was told of and that the log does not have.
pub trait Audit: Send + Sync {
    /// Enters changes, in this order. Once this returns they survive a crash.
    fn enter(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Changes before the place `before`, or the newest: `limit` at most, newest first.
    fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entered>, StoreError>>;

    /// Forgets changes from before this time; a bounded number at a time. Returns whether there is more to do.
    fn forget_changes(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;
}
