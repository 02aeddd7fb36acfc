//! The subjects of streams.

use crate::SqliteStore;
use crate::failure::Failure;
use bytes::Bytes;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent::Timestamp;
use secevent_store::{
    BoxFuture, Listing, Standing, StoreError, StreamNumber, SubjectEntry, SubjectFingerprint, Subjects,
};

/// Entries that one step of dropping forgets.
const DROP_STEP: usize = 1_024;

impl Subjects for SqliteStore {
    fn put_subjects(
        &self,
        stream: StreamNumber,
        entries: Vec<SubjectEntry>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.put_subjects(stream, entries)
    }

    fn forget_subjects(
        &self,
        stream: StreamNumber,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.writer.forget_subjects(stream, fingerprints)
    }

    fn erase_subjects(
        &self,
        fingerprints: Vec<SubjectFingerprint>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.writer.erase_subjects(fingerprints)
    }

    fn drop_subjects(&self, stream: StreamNumber) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.drop_subjects(stream)
    }

    fn list_subjects(
        &self,
        stream: StreamNumber,
        listing: Listing,
        after: Option<SubjectFingerprint>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubjectEntry>, StoreError>> {
        self.readers.read(move |connection| list(connection, stream, listing, after, limit))
    }

    fn standings(
        &self,
        of: Vec<(StreamNumber, SubjectFingerprint)>,
    ) -> BoxFuture<'_, Result<Vec<Option<Standing>>, StoreError>> {
        self.readers.read(move |connection| standings(connection, &of))
    }

    fn subject_counts(&self) -> BoxFuture<'_, Result<Vec<(StreamNumber, u64)>, StoreError>> {
        self.readers.read(counts)
    }
}

pub(crate) fn put(
    connection: &Connection,
    stream: StreamNumber,
    entries: &[SubjectEntry],
) -> Result<(), Failure> {
    // Only an insertion tells whether the entry is new.
    let mut insert = connection
        .prepare_cached("INSERT INTO subjects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING")?;
    let mut update = connection.prepare_cached(
        "UPDATE subjects SET standing = ?3, removed_at = ?4, verified = ?5, compound = ?6, subject = ?7
         WHERE stream = ?1 AND fingerprint = ?2",
    )?;
    let mut new = 0;
    for entry in entries {
        let (standing, removed_at) = stored(entry.standing);
        let row: [&dyn ToSql; 7] = [
            &stream.0,
            &entry.fingerprint.0.as_slice(),
            &standing,
            &removed_at,
            &entry.verified,
            &entry.compound,
            &entry.subject.as_ref(),
        ];
        match insert.execute(row)? {
            0 => drop(update.execute(row)?),
            _ => new += 1,
        }
    }
    count(connection, stream.0, new)
}

pub(crate) fn forget(
    connection: &Connection,
    stream: Option<StreamNumber>,
    fingerprints: &[SubjectFingerprint],
) -> Result<u64, Failure> {
    let streams = match stream {
        Some(stream) => vec![stream],
        None => counts(connection)?.into_iter().map(|(stream, _)| stream).collect(),
    };
    let mut delete =
        connection.prepare_cached("DELETE FROM subjects WHERE stream = ?1 AND fingerprint = ?2")?;
    let mut all = 0;
    for stream in streams {
        let mut gone = 0;
        for fingerprint in fingerprints {
            gone += delete.execute(params![stream.0, fingerprint.0.as_slice()])?;
        }
        let gone = i64::try_from(gone).unwrap_or(i64::MAX);
        count(connection, stream.0, -gone)?;
        all += gone.unsigned_abs();
    }
    Ok(all)
}

/// Returns whether there are more.
pub(crate) fn drop_some(connection: &Connection, stream: StreamNumber) -> Result<bool, Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM subjects WHERE stream = ?1 AND fingerprint <= coalesce(
             (SELECT fingerprint FROM subjects WHERE stream = ?1 ORDER BY fingerprint LIMIT 1 OFFSET ?2),
             X'ffffffffffffffffffffffffffffffff')",
    )?;
    let gone = delete.execute(params![stream.0, DROP_STEP - 1])?;
    count(connection, stream.0, -i64::try_from(gone).unwrap_or(i64::MAX))?;
    Ok(gone == DROP_STEP)
}

fn count(connection: &Connection, stream: u32, change: i64) -> Result<(), Failure> {
    if change == 0 {
        return Ok(());
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO subject_counts VALUES (?1, ?2) ON CONFLICT DO UPDATE SET entries = entries + ?2",
    )?;
    upsert.execute(params![stream, change])?;
    if change < 0 {
        let mut delete =
            connection.prepare_cached("DELETE FROM subject_counts WHERE stream = ?1 AND entries <= 0")?;
        delete.execute([stream])?;
    }
    Ok(())
}

// Reading. These run on other connections than the writer's.

fn list(
    connection: &Connection,
    stream: StreamNumber,
    listing: Listing,
    after: Option<SubjectFingerprint>,
    limit: usize,
) -> Result<Vec<SubjectEntry>, Failure> {
    let mut select = connection.prepare_cached(match listing {
        Listing::Whole => {
            "SELECT fingerprint, standing, removed_at, verified, compound, subject FROM subjects
             WHERE stream = ?1 AND fingerprint > ?2 ORDER BY fingerprint LIMIT ?3"
        }
        Listing::Index => {
            "SELECT fingerprint, standing, removed_at, verified, compound, iif(compound, subject, X'')
             FROM subjects WHERE stream = ?1 AND fingerprint > ?2 ORDER BY fingerprint LIMIT ?3"
        }
        Listing::Compound => {
            "SELECT fingerprint, standing, removed_at, verified, compound, subject FROM subjects
             WHERE stream = ?1 AND fingerprint > ?2 AND compound = 1 ORDER BY fingerprint LIMIT ?3"
        }
    })?;
    // What is empty comes before all of sixteen bytes.
    let after = after.as_ref().map_or(&[][..], |after| &after.0);
    let mut entries = Vec::new();
    let mut rows = select.query(params![stream.0, after, limit])?;
    while let Some(row) = rows.next()? {
        entries.push(read(row)?);
    }
    Ok(entries)
}

fn read(row: &Row<'_>) -> Result<SubjectEntry, Failure> {
    let fingerprint = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
    let subject = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(SubjectEntry {
        fingerprint: SubjectFingerprint(
            fingerprint
                .try_into()
                .map_err(|_| Failure::Damaged("a fingerprint has not 16 bytes".to_owned()))?,
        ),
        standing: standing(row.get(1)?, row.get(2)?)?,
        verified: row.get(3)?,
        compound: row.get(4)?,
        subject: Bytes::copy_from_slice(subject),
    })
}

fn standings(
    connection: &Connection,
    of: &[(StreamNumber, SubjectFingerprint)],
) -> Result<Vec<Option<Standing>>, Failure> {
    let mut select = connection
        .prepare_cached("SELECT standing, removed_at FROM subjects WHERE stream = ?1 AND fingerprint = ?2")?;
    let mut found = Vec::with_capacity(of.len());
    for (stream, fingerprint) in of {
        let row = select
            .query_row(params![stream.0, fingerprint.0.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)));
        found.push(row.optional()?.map(|(kind, at)| standing(kind, at)).transpose()?);
    }
    Ok(found)
}

fn counts(connection: &Connection) -> Result<Vec<(StreamNumber, u64)>, Failure> {
    let mut select =
        connection.prepare_cached("SELECT stream, entries FROM subject_counts ORDER BY stream")?;
    let rows = select.query_map([], |row| Ok((StreamNumber(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn stored(standing: Standing) -> (u8, Option<i64>) {
    match standing {
        Standing::Added => (0, None),
        Standing::Removed { at, was_added } => (1 + u8::from(was_added), Some(at.as_micros())),
    }
}

fn standing(kind: u8, removed_at: Option<i64>) -> Result<Standing, Failure> {
    match (kind, removed_at) {
        (0, _) => Ok(Standing::Added),
        (1 | 2, Some(at)) => Ok(Standing::Removed { at: Timestamp::from_micros(at), was_added: kind == 2 }),
        _ => Err(Failure::Damaged(format!("no standing of a subject is {kind}"))),
    }
}
