//! When our memory fails.

/// The store could not do what it was asked. Nothing of a refused call is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, its disk is full or failing: the same call may succeed later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// More work is waiting than the store takes on: the caller must slow down.
    #[error("the store has too much to do")]
    Busy,
    /// The store holds as much as it may. Nothing new is taken until something was settled and trimmed.
    #[error("the store holds as much as it may")]
    Full,
    /// The disk has no room but for work that was accepted before. Nothing new is taken until there is room again.
    #[error("the disk is full: new work is rejected until there is room")]
    DiskFull,
    /// A document was changed by somebody else since it was read.
    #[error("the document was changed meanwhile")]
    Conflict,
    /// The store is in order and must not be used as it is: another server holds it, or a newer release wrote
    /// it. The operator has to act.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// What is stored makes no sense: no caller can mend that by trying again.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}
