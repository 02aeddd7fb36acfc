//! What can go wrong in here, and what it means to a caller.

use rusqlite::ErrorCode;
use secevent_store::StoreError;
use std::io;

/// A failure inside this crate.
#[derive(Debug)]
pub(crate) enum Failure {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// A row says what no row can say.
    Damaged(String),
    /// The store must not be used as it is.
    Unusable(String),
    /// The system around the store does not do its part.
    System(String),
    /// A file beside the database cannot be made or get longer.
    DiskFull(String),
}

impl Failure {
    /// A failed call to the operating system, and what it was meant to do.
    pub(crate) fn of_system(what: &str, error: &io::Error) -> Self {
        let text = format!("cannot {what}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(text),
            _ => Self::System(text),
        }
    }

    /// Whether it is the disk that takes no more, or does not answer.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(error.code, ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
            }
            Self::DiskFull(_) => true,
            _ => false,
        }
    }

    /// What intake is answered that met this failure while other work goes on.
    pub(crate) fn refuses_intake(self) -> StoreError {
        match self {
            Self::DiskFull(_) => StoreError::DiskFull,
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DiskFull => {
                StoreError::DiskFull
            }
            other => other.into(),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) if is_damage(&error) => Self::Corrupt(error.to_string()),
            Failure::Sql(error) => Self::Unavailable(error.to_string()),
            Failure::Damaged(what) => Self::Corrupt(what),
            Failure::Unusable(why) => Self::Unusable(why),
            Failure::System(why) | Failure::DiskFull(why) => Self::Unavailable(why),
        }
    }
}

/// Whether trying again cannot help: the file is not a database, is broken, or holds values of another kind
/// than the schema allows.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => false,
    }
}
