//! What a request does to one member: it leaves it, clears it or sets it.

/// What a request does to one member.
///
/// ```
/// use secevent_ssf::{Change, Tolerance, UpdateStream};
///
/// let body = br#"{"stream_id":"s1","description":null}"#;
/// let update = UpdateStream::read(body, Tolerance::NONE)?;
/// assert_eq!(update.description, Change::Clear);
/// assert_eq!(update.events_requested, Change::Keep);
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The member is absent: what is there stays.
    #[default]
    Keep,
    /// The member is null: what is there goes.
    Clear,
    /// The member has a value.
    Set(T),
}

impl<T> Change<T> {
    /// The value, if there is one.
    pub fn set(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// The same change of the value that `change` makes of this one's.
    pub fn try_map<U, E>(self, change: impl FnOnce(T) -> Result<U, E>) -> Result<Change<U>, E> {
        Ok(match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(change(value)?),
        })
    }
}
