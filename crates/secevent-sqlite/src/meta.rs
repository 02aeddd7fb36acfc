//! The table of numbers.

use crate::failure::Failure;
use rusqlite::{Connection, OptionalExtension, params};

/// What numbers there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meta {
    /// The newest stream number that was given.
    LastStream,
    /// The newest version that a document was given.
    LastVersion,
    /// Producers' names from before this time are forgotten.
    NamesCut,
    /// Events behind this one were recorded after that time was set: it does not concern them.
    NamesCutPlace,
    /// Identifiers of received SETs from before this time are forgotten.
    SeenCut,
    /// SETs behind this one were received after that time was set.
    SeenCutPlace,
    /// Events up to this one have their names in runs.
    NamesSealed,
    /// SETs up to this one have their identifiers in runs.
    SeenSealed,
    /// Half of the key of all fingerprints.
    FingerprintKeyA,
    /// The other half.
    FingerprintKeyB,
}

impl Meta {
    const fn key(self) -> &'static str {
        match self {
            Self::LastStream => "last_stream",
            Self::LastVersion => "last_version",
            Self::NamesCut => "names_cut",
            Self::NamesCutPlace => "names_cut_place",
            Self::SeenCut => "seen_cut",
            Self::SeenCutPlace => "seen_cut_place",
            Self::NamesSealed => "names_sealed",
            Self::SeenSealed => "seen_sealed",
            Self::FingerprintKeyA => "fingerprint_key_a",
            Self::FingerprintKeyB => "fingerprint_key_b",
        }
    }
}

/// The number, or zero.
pub(crate) fn get(connection: &Connection, meta: Meta) -> Result<i64, Failure> {
    Ok(find(connection, meta)?.unwrap_or(0))
}

pub(crate) fn find(connection: &Connection, meta: Meta) -> Result<Option<i64>, Failure> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(select.query_row([meta.key()], |row| row.get(0)).optional()?)
}

pub(crate) fn set(connection: &Connection, meta: Meta, value: i64) -> Result<(), Failure> {
    let mut upsert = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
    upsert.execute(params![meta.key(), value])?;
    Ok(())
}
