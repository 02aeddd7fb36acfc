//! The one connection that writes: a group of writes is a transaction.

use crate::checkpoint::Checkpoints;
use crate::failure::Failure;
use crate::fingerprint::FingerprintKey;
use crate::meta::{self, Meta};
use crate::recent::{Guard, Recent};
use crate::{documents, inbox, outbox};
use rusqlite::Connection;
use secevent::Timestamp;
use secevent_store::{Commit, Epoch, StoreError, StreamNumber, Write, Written};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

pub(crate) struct Writer {
    connection: Connection,
    epoch: Epoch,
    /// What the writer knows of what is stored. None after a failure: it is read again.
    known: Option<Known>,
    checkpoints: Arc<Checkpoints>,
    /// Holds the store against other servers (SEM-28), and is let go last of all.
    _lock: File,
}

impl Writer {
    pub(crate) fn new(
        mut connection: Connection,
        epoch: Epoch,
        checkpoints: Arc<Checkpoints>,
        lock: File,
    ) -> Result<Self, Failure> {
        fingerprint_key(&connection)?;
        let known = Some(Known::load(&connection, epoch)?);
        let observed = checkpoints.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            observed.grown(usize::try_from(pages).unwrap_or(0));
            Ok(())
        }))?;
        Ok(Self { connection, epoch, known, checkpoints, _lock: lock })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Result<Written, StoreError>>, Failure> {
        if self.checkpoints.take_rest() {
            // Other than in the thread's turns nobody writes now, so that the log can begin anew after it.
            crate::checkpoint::passive(&self.connection)?;
        }
        let mut known = match self.known.take() {
            Some(known) => known,
            None => Known::load(&self.connection, self.epoch)?,
        };
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let committed = self.apply(&mut known, writes);
        if committed.is_ok() {
            self.known = Some(known);
        } else if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        committed
    }

    fn apply(
        &self,
        known: &mut Known,
        writes: &[Write],
    ) -> Result<Vec<Result<Written, StoreError>>, Failure> {
        let connection = &self.connection;
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            answers.push(match write {
                Write::Record(events) => Ok(Written::Recorded(outbox::record(connection, known, events)?)),
                Write::Settle(settlements) => {
                    outbox::settle(connection, known, settlements)?;
                    Ok(Written::Done)
                }
                Write::DropStream(stream) => {
                    let (deliveries, more) = outbox::drop_some(connection, known, *stream)?;
                    Ok(Written::Dropped { deliveries, more })
                }
                Write::Put { name, expected, body } => {
                    documents::put(connection, known, name, *expected, body.as_deref())?.map(Written::Put)
                }
                Write::NewStreamNumber => Ok(Written::StreamNumber(new_stream_number(connection, known)?)),
                Write::Receive(sets) => Ok(Written::Received(inbox::receive(connection, known, sets)?)),
                Write::Handled(places) => {
                    inbox::handled(connection, places)?;
                    Ok(Written::Done)
                }
                Write::Failed { place, dead } => {
                    inbox::failed(connection, *place, *dead)?;
                    Ok(Written::Done)
                }
                Write::Trim(before) => {
                    Ok(Written::Cleared { more: outbox::trim(connection, known, *before)? })
                }
                Write::Forget(before) => {
                    Ok(Written::Cleared { more: inbox::forget(connection, known, *before)? })
                }
            });
        }
        outbox::write_released(connection, known)?;
        known.names.seal(connection, known.last_sequence)?;
        known.seen.seal(connection, known.last_place)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(answers)
    }
}

impl Commit for Writer {
    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        Ok(self.commit(writes)?)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whether or not this succeeds, the log holds everything: the next start reads it.
        let _ = crate::checkpoint::truncate(&self.connection);
    }
}

/// What the writer knows of what is stored, so that it need not ask.
pub(crate) struct Known {
    pub(crate) epoch: Epoch,
    /// Whether this life of the writer is on record.
    pub(crate) epoch_written: bool,
    pub(crate) last_sequence: u64,
    pub(crate) last_place: u64,
    pub(crate) last_stream: i64,
    pub(crate) last_version: u64,
    /// Producers' names from before this do not count any more.
    pub(crate) names_cut: Timestamp,
    /// Identifiers of received SETs from before this do not count any more.
    pub(crate) seen_cut: Timestamp,
    pub(crate) names: Recent,
    pub(crate) seen: Recent,
    /// How many deliveries need their event no more since [`outbox::write_released`], by sequence.
    pub(crate) released: BTreeMap<u64, u64>,
    /// How far trimming has come in its present pass.
    pub(crate) trimmed: u64,
}

impl Known {
    fn load(connection: &Connection, epoch: Epoch) -> Result<Self, Failure> {
        let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, Option<u64>>(0));
        let places = "SELECT max(place) FROM (SELECT max(place) AS place FROM seen UNION ALL
                      SELECT max(place) FROM inbox UNION ALL SELECT max(place) FROM inbox_dead)";
        let key = fingerprint_key(connection)?;
        let cut = |meta| {
            Ok::<_, Failure>(Timestamp::from_micros(meta::find(connection, meta)?.unwrap_or(i64::MIN)))
        };
        Ok(Self {
            epoch,
            epoch_written: false,
            last_sequence: number("SELECT max(sequence) FROM events")?.unwrap_or(0),
            last_place: number(places)?.unwrap_or(0),
            last_stream: meta::get(connection, Meta::LastStream)?,
            last_version: u64::try_from(meta::get(connection, Meta::LastVersion)?).unwrap_or(0),
            names_cut: cut(Meta::NamesCut)?,
            seen_cut: cut(Meta::SeenCut)?,
            names: Recent::load(connection, Guard::Names, key)?,
            seen: Recent::load(connection, Guard::Seen, key)?,
            released: BTreeMap::new(),
            trimmed: 0,
        })
    }
}

fn new_stream_number(connection: &Connection, known: &mut Known) -> Result<StreamNumber, Failure> {
    known.last_stream += 1;
    let number = u32::try_from(known.last_stream)
        .map_err(|_| Failure::Unusable("four thousand million streams were made".to_owned()))?;
    meta::set(connection, Meta::LastStream, known.last_stream)?;
    Ok(StreamNumber(number))
}

/// The key of this store's fingerprints, drawn when it is made. It changes nothing that anybody could see, so
/// it need not come in as an argument as other chance does.
fn fingerprint_key(connection: &Connection) -> Result<FingerprintKey, Failure> {
    use std::hash::{BuildHasher, RandomState};
    let half = |meta| match meta::find(connection, meta)? {
        Some(half) => Ok::<_, Failure>(half.cast_unsigned()),
        None => {
            let half = RandomState::new().hash_one("fingerprint key");
            meta::set(connection, meta, half.cast_signed())?;
            Ok(half)
        }
    };
    Ok(FingerprintKey(half(Meta::FingerprintKeyA)?, half(Meta::FingerprintKeyB)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent_store::{NewEvent, Owed, Queue, Recorded, Rendering, Sequence};

    /// A full disk fails the group, stores nothing of it, and is got over (SEM-9).
    #[test]
    fn a_full_disk_fails_a_group_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (path, lock) = crate::open::take(&directory.path().join("secevent.db")).unwrap();
        let mut connection = crate::open::connect(&path, 1_024).unwrap();
        crate::migrations::migrate(&mut connection, crate::migrations::MIGRATIONS).unwrap();
        let mut writer = Writer::new(connection, Epoch(1), Arc::new(Checkpoints::new(1_000)), lock).unwrap();
        let record = |writer: &mut Writer, bytes| {
            let owed = Owed { stream: StreamNumber(1), queue: Queue::Regular, rendering: Rendering(0) };
            let event = NewEvent {
                accepted_at: Timestamp::default(),
                body: vec![0; bytes].into(),
                lanes: [].into(),
                idempotency: None,
                owed: vec![owed],
            };
            Commit::commit(writer, &[Write::NewStreamNumber, Write::Record(vec![event])])
        };
        let stored = |place| {
            let (epoch, sequence) = (Epoch(1), Sequence(place));
            let recorded = Written::Recorded(vec![Recorded::New { epoch, sequence }]);
            let number = StreamNumber(u32::try_from(place).unwrap());
            Ok(vec![Ok(Written::StreamNumber(number)), Ok(recorded)])
        };
        assert_eq!(record(&mut writer, 10), stored(1));
        let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        writer.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
        let full = record(&mut writer, 100_000);
        assert!(matches!(full, Err(StoreError::Unavailable(_))), "{full:?}");
        assert_eq!(record(&mut writer, 10), stored(2), "as if the other had never been");
        writer.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        assert_eq!(record(&mut writer, 100_000), stored(3));
    }
}
