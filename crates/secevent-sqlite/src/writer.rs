//! The one connection that writes: a group of writes is a transaction.

use crate::checkpoint::Checkpoints;
use crate::failure::Failure;
use crate::fingerprint::FingerprintKey;
use crate::log_file::LogFile;
use crate::meta::{self, Meta};
use crate::open::Held;
use crate::outcomes::Outcome;
use crate::recent::{Guard, Recent};
use crate::reserve::Reserve;
use crate::{audit, documents, inbox, outbox, outcomes, records, recovery, subjects};
use rusqlite::Connection;
use secevent::Timestamp;
use secevent_store::{Commit, Ended, Ending, Epoch, StoreError, StreamNumber, Write, Written};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Writer {
    connection: Connection,
    epoch: Epoch,
    /// What the writer knows of what is stored. None after a failure: it is read again.
    known: Option<Known>,
    checkpoints: Arc<Checkpoints>,
    log: LogFile,
    reserve: Arc<Reserve>,
    /// Beyond so many pages nothing new is taken in.
    pages_max: Option<u64>,
    /// Whether a commit waits for the disk at present.
    flushes: bool,
    /// Holds the store against other servers (SEM-28), and is let go last of all.
    _held: Arc<Held>,
}

impl Writer {
    pub(crate) fn new(
        mut connection: Connection,
        log: LogFile,
        reserve: Arc<Reserve>,
        epoch: Epoch,
        checkpoints: Arc<Checkpoints>,
        bytes_max: Option<u64>,
        held: Arc<Held>,
    ) -> Result<Self, Failure> {
        connection.pragma_update(
            None,
            "journal_size_limit",
            log.bytes_kept().min(i64::MAX.cast_unsigned()),
        )?;
        outcomes::register(&connection)?;
        fingerprint_key(&connection)?;
        let known = Some(Known::load(&connection, epoch)?);
        let observed = checkpoints.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            observed.grown(usize::try_from(pages).unwrap_or(0));
            Ok(())
        }))?;
        let page_size: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages_max = bytes_max.map(|bytes| bytes / page_size);
        Ok(Self {
            connection,
            epoch,
            known,
            checkpoints,
            log,
            reserve,
            pages_max,
            flushes: true,
            _held: held,
        })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Result<Written, StoreError>>, Failure> {
        if self.checkpoints.take_rest() {
            self.carry_rest()?;
        }
        if self.checkpoints.take_cut_off() {
            self.log.is_short();
        }
        let intake = writes.iter().any(Write::is_intake);
        let has_room = !intake || self.reserve.keep(self.checkpoints.pages());
        let is_short = self.reserve.is_short();
        if !is_short {
            self.log.make_room(self.checkpoints.pages());
        }
        let rewritten = match writes.iter().any(is_rewrite) {
            true if is_short => Err(StoreError::DiskFull),
            // Not within a transaction. If it fails, that is its caller's trouble and nobody else's.
            true => self.rewrite(),
            false => Ok(()),
        };
        let of_intake = (!has_room).then_some(StoreError::DiskFull);
        let refusals = Refusals { of_intake, of_rewrites: rewritten.err() };
        let committed = self.commit_once(writes, &refusals);
        let Err(failure) = committed else { return committed };
        if !failure.is_of_the_disk() {
            return Err(failure);
        }
        self.use_reserve();
        self.commit_once(writes, &Refusals { of_intake: Some(failure.refuses_intake()), ..refusals })
    }

    /// Carries over what the thread has left: other than in its turns nobody writes now, so that the log can restart
    /// after it.
    fn carry_rest(&mut self) -> Result<(), Failure> {
        match crate::checkpoint::passive(&self.connection) {
            Err(failure) if failure.is_of_the_disk() => self.use_reserve(),
            carried => drop(carried?),
        }
        Ok(())
    }

    /// The disk is full. With the reserve the log can be carried over, restart, and take outcomes, which free space.
    fn use_reserve(&mut self) {
        self.reserve.release();
        self.log.is_short();
        // What stays in the log is not lost.
        let _ = crate::checkpoint::passive(&self.connection);
    }

    /// Writes the whole store anew.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        self.flush_if(true)?;
        // The copy that SQLite makes is as large as the store: too large for memory.
        let rewrite = || {
            self.connection.pragma_update(None, "temp_store", "FILE")?;
            self.connection.execute_batch("VACUUM")
        };
        let rewritten = rewrite();
        self.connection.pragma_update(None, "temp_store", "MEMORY").map_err(Failure::from)?;
        Ok(rewritten.map_err(Failure::from)?)
    }

    /// Commits a group, or all of it but what is refused.
    fn commit_once(
        &mut self,
        writes: &[Write],
        refusals: &Refusals,
    ) -> Result<Vec<Result<Written, StoreError>>, Failure> {
        self.flush_if(!writes.iter().all(Write::may_be_undone))?;
        let mut known = match self.known.take() {
            Some(known) => known,
            None => Known::load(&self.connection, self.epoch)?,
        };
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let committed = self.apply(&mut known, writes, refusals);
        if let Ok(answers) = &committed {
            self.known = Some(known);
            self.shorten_file(writes, answers);
        } else if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        committed
    }

    /// Free pages were given back in the log alone: the file gets shorter when that is carried over. While little is
    /// written it has no other turn.
    fn shorten_file(&self, writes: &[Write], answers: &[Result<Written, StoreError>]) {
        let mut each = writes.iter().zip(answers);
        let tidied = |(write, answer): (&Write, &Result<Written, StoreError>)| {
            matches!((write, answer), (Write::Trim(_), Ok(Written::Cleared { more: false })))
        };
        // Whoever cannot tell has nothing to do: the next round of tidying asks again.
        if each.any(tidied) && self.file_is_too_long().unwrap_or(false) {
            self.checkpoints.make_due();
        }
    }

    fn file_is_too_long(&self) -> Result<bool, Failure> {
        let number =
            |pragma| self.connection.prepare_cached(pragma)?.query_row([], |row| row.get::<_, u64>(0));
        let bytes = number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?);
        let file = self.connection.path().and_then(|path| std::fs::metadata(path).ok());
        Ok(file.is_some_and(|file| file.len() > bytes))
    }

    /// Whether the next commit waits until the disk has it, and all that came before it.
    fn flush_if(&mut self, flush: bool) -> Result<(), Failure> {
        if self.flushes != flush {
            let pragma = if flush { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            self.connection.prepare_cached(pragma)?.execute([])?;
            self.flushes = flush;
        }
        Ok(())
    }

    fn is_full(&self) -> Result<bool, Failure> {
        let Some(pages_max) = self.pages_max else { return Ok(false) };
        let number =
            |pragma| self.connection.prepare_cached(pragma)?.query_row([], |row| row.get::<_, u64>(0));
        let pages = number("PRAGMA page_count")?;
        // Pages that are free are as good as none, whether or not they were given back.
        Ok(pages > pages_max && pages.saturating_sub(number("PRAGMA freelist_count")?) > pages_max)
    }

    fn apply(
        &self,
        known: &mut Known,
        writes: &[Write],
        refusals: &Refusals,
    ) -> Result<Vec<Result<Written, StoreError>>, Failure> {
        let connection = &self.connection;
        let refusal = refusals.of_intake.as_ref();
        let full = refusal.is_none() && writes.iter().any(Write::is_intake) && self.is_full()?;
        let refusal = if full { Some(&StoreError::Full) } else { refusal };
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            if let Some(refusal) = refusal.filter(|_| write.is_intake()) {
                answers.push(Err(refusal.clone()));
                continue;
            }
            if let Some(refusal) = refusals.of_rewrites.as_ref().filter(|_| is_rewrite(write)) {
                answers.push(Err(refusal.clone()));
                continue;
            }
            answers.push(match write {
                Write::Record(events) => Ok(Written::Recorded(outbox::record(connection, known, events)?)),
                Write::Settle(settlements) => {
                    outbox::settle(connection, known, settlements)?;
                    Ok(Written::Done)
                }
                Write::DropStream { stream, reason, at } => {
                    let ended = Ended { how: Ending::Dropped(*reason), at: *at };
                    let (deliveries, more) = outbox::drop_some(connection, known, *stream, ended)?;
                    tracing::trace!(target: "secevent::step", step = "drop");
                    Ok(Written::Dropped { deliveries, more })
                }
                Write::Put { name, expected, body, change } => {
                    tracing::trace!(target: "secevent::step", step = "put");
                    let put = documents::put(connection, known, name, *expected, body.as_deref())?;
                    if put.is_ok()
                        && let Some(change) = change
                    {
                        audit::enter(connection, std::slice::from_ref(&**change))?;
                    }
                    put.map(Written::Put)
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
                Write::Trim(keep) => {
                    tracing::trace!(target: "secevent::step", step = "trim");
                    Ok(Written::Cleared { more: outbox::trim(connection, known, *keep)? })
                }
                Write::Redrive(places) => Ok(Written::Count(recovery::redrive(connection, places)?)),
                Write::Discard(places) => Ok(Written::Count(recovery::discard(connection, known, places)?)),
                Write::Replay { stream, events, generation } => {
                    Ok(Written::Count(recovery::replay(connection, *stream, events, *generation)?))
                }
                Write::PutSubjects { stream, entries } => {
                    tracing::trace!(target: "secevent::step", step = "put-subjects");
                    subjects::put(connection, *stream, entries)?;
                    Ok(Written::Done)
                }
                Write::ForgetSubjects { stream, fingerprints } => {
                    Ok(Written::Count(subjects::forget(connection, *stream, fingerprints)?))
                }
                Write::DropSubjects(stream) => {
                    Ok(Written::Cleared { more: subjects::drop_some(connection, *stream)? })
                }
                Write::Forget(before) => {
                    Ok(Written::Cleared { more: inbox::forget(connection, known, *before)? })
                }
                Write::Enter(changes) => {
                    audit::enter(connection, changes)?;
                    Ok(Written::Done)
                }
                Write::ForgetChanges(before) => {
                    Ok(Written::Cleared { more: audit::forget(connection, *before)? })
                }
                Write::Erase(erase) => Ok(Written::Erased(records::erase(connection, known, erase)?)),
                Write::ClearTraces { .. } => {
                    Ok(Written::Cleared { more: records::give_back_free_pages(connection)? })
                }
            });
        }
        outbox::write_sums(connection, known)?;
        known.names.seal(connection, known.last_sequence)?;
        known.seen.seal(connection, known.last_place)?;
        tracing::trace!(target: "secevent::step", step = "commit");
        connection.prepare_cached("COMMIT")?.execute([])?;
        tracing::trace!(target: "secevent::step", step = "committed");
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

/// Why some writes of a group are refused while the others go through.
#[derive(Debug, Default)]
struct Refusals {
    /// Those that would take in more.
    of_intake: Option<StoreError>,
    /// Those that would have the store written anew.
    of_rewrites: Option<StoreError>,
}

fn is_rewrite(write: &Write) -> bool {
    matches!(write, Write::ClearTraces { rewrite: true })
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
    pub(crate) names_cut: Cut,
    /// Identifiers of received SETs from before this do not count any more.
    pub(crate) seen_cut: Cut,
    pub(crate) names: Recent,
    pub(crate) seen: Recent,
    /// Which deliveries need their event no more since [`outbox::write_sums`], and how they ended.
    pub(crate) released: Vec<Released>,
    /// How many deliveries were dropped since then because a stream held all that it may, by stream.
    pub(crate) dropped: BTreeMap<u32, u64>,
    /// How far trimming has come in its present pass.
    pub(crate) trimmed: u64,
    /// How far forgetting has come in its present pass.
    pub(crate) forgotten: u64,
}

/// What is still to be written to the row of an event.
pub(crate) struct Released {
    pub(crate) sequence: u64,
    /// So many deliveries need it no more.
    pub(crate) deliveries: usize,
    /// How one of them ended.
    pub(crate) outcome: Option<Outcome>,
}

/// What is too old to count. It is about the rows that there were when it was said: should the clock have been ahead
/// then, it says nothing about those that came after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    before: Timestamp,
    /// The newest row that it is about.
    place: u64,
    metas: (Meta, Meta),
}

impl Cut {
    fn load(connection: &Connection, metas: (Meta, Meta), last: u64) -> Result<Self, Failure> {
        let before = Timestamp::from_micros(meta::find(connection, metas.0)?.unwrap_or(i64::MIN));
        let place = meta::find(connection, metas.1)?.map_or(last, i64::cast_unsigned);
        Ok(Self { before, place, metas })
    }

    pub(crate) fn set(
        &mut self,
        connection: &Connection,
        before: Timestamp,
        place: u64,
    ) -> Result<(), Failure> {
        if (self.before, self.place) != (before, place) {
            (self.before, self.place) = (before, place);
            meta::set(connection, self.metas.0, self.micros())?;
            meta::set(connection, self.metas.1, self.place.cast_signed())?;
        }
        Ok(())
    }

    pub(crate) fn micros(&self) -> i64 {
        self.before.as_micros()
    }

    pub(crate) fn place(&self) -> u64 {
        self.place
    }
}

impl Known {
    /// Deliveries need their event no more. How they ended was noted before.
    pub(crate) fn release(&mut self, sequence: u64, deliveries: usize) {
        self.released.push(Released { sequence, deliveries, outcome: None });
    }

    /// A delivery ended that goes on needing its event, or needed it no more before.
    pub(crate) fn note(&mut self, sequence: u64, outcome: Outcome) {
        self.released.push(Released { sequence, deliveries: 0, outcome: Some(outcome) });
    }

    pub(crate) fn load(connection: &Connection, epoch: Epoch) -> Result<Self, Failure> {
        let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, Option<u64>>(0));
        let places = "SELECT max(place) FROM (SELECT max(place) AS place FROM seen UNION ALL
                      SELECT max(place) FROM inbox UNION ALL SELECT max(place) FROM inbox_dead)";
        let key = fingerprint_key(connection)?;
        let last_sequence = number("SELECT max(sequence) FROM events")?.unwrap_or(0);
        let last_place = number(places)?.unwrap_or(0);
        let filter_bytes_max = Recent::FILTER_BYTES_MAX;
        Ok(Self {
            epoch,
            epoch_written: false,
            last_sequence,
            last_place,
            last_stream: meta::get(connection, Meta::LastStream)?,
            last_version: u64::try_from(meta::get(connection, Meta::LastVersion)?).unwrap_or(0),
            names_cut: Cut::load(connection, (Meta::NamesCut, Meta::NamesCutPlace), last_sequence)?,
            seen_cut: Cut::load(connection, (Meta::SeenCut, Meta::SeenCutPlace), last_place)?,
            names: Recent::load(connection, Guard::Names, key, filter_bytes_max)?,
            seen: Recent::load(connection, Guard::Seen, key, filter_bytes_max)?,
            released: Vec::new(),
            dropped: BTreeMap::new(),
            trimmed: 0,
            forgotten: 0,
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
    use secevent_store::{
        DropReason, Keep, NewEvent, Owed, Queue, Recorded, Rendering, Sequence, Settlement, Verdict,
    };

    /// A full disk fails what takes more room, stores nothing of it, lets outcomes through, and is got over (SEM-9).
    #[test]
    fn a_full_disk_refuses_the_new_and_takes_outcomes() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        assert_eq!(commit(&mut writer, &[record(10)]), [recorded(1)]);
        let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        writer.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
        assert_eq!(commit(&mut writer, &[record(100_000)]), [Err(StoreError::DiskFull)]);
        assert!(writer.reserve.is_short(), "the space that was kept back is there for the rest");
        assert_eq!(commit(&mut writer, &[record(10)]), [Err(StoreError::DiskFull)], "nothing new uses it");
        assert_eq!(commit(&mut writer, &[record(10), acked(9)])[1], Ok(Written::Done));

        writer.reserve.retry_now();
        let group = commit(&mut writer, &[Write::NewStreamNumber, record(100_000), acked(1), record(10)]);
        let [number, large, outcome, small] = &group[..] else { panic!("{group:?}") };
        assert_eq!(*number, Ok(Written::StreamNumber(StreamNumber(1))));
        assert_eq!(*large, Err(StoreError::DiskFull));
        assert_eq!(*outcome, Ok(Written::Done));
        assert_eq!(small, large, "it is in the same boat");
        writer.reserve.retry_now();
        assert_eq!(commit(&mut writer, &[record(10)]), [recorded(2)], "as if the others had never been");
        let pending = "SELECT group_concat(sequence) FROM deliveries";
        let pending: String = writer.connection.query_row(pending, [], |row| row.get(0)).unwrap();
        assert_eq!(pending, "2");
        writer.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        assert_eq!(commit(&mut writer, &[record(100_000)]), [recorded(3)]);
    }

    /// What ends work goes on while nothing new is taken in, and a rewrite does not use what that needs.
    // finding: B5
    #[test]
    fn a_full_disk_stops_intake_and_rewrites_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        commit(&mut writer, &[record(10)]);
        let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        writer.connection.pragma_update(None, "max_page_count", pages).unwrap();
        assert_eq!(
            commit(&mut writer, &[record(500_000), acked(1)]),
            [Err(StoreError::DiskFull), Ok(Written::Done)]
        );
        assert_eq!(commit(&mut writer, &[Write::ClearTraces { rewrite: true }]), [Err(StoreError::DiskFull)]);
        let (stream, reason) = (StreamNumber(1), DropReason::Disabled);
        let drop_stream = Write::DropStream { stream, reason, at: Timestamp::default() };
        assert_eq!(commit(&mut writer, &[drop_stream]).len(), 1);
    }

    /// Who has the store written anew may fail, and nobody who happens to come along.
    #[test]
    fn a_rewrite_that_fails_fails_alone() {
        use rusqlite::hooks::{AuthAction, Authorization};
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        let group = [record(10), Write::ClearTraces { rewrite: true }, record(10)];
        let temp_store = |writer: &Writer| {
            writer.connection.query_row("PRAGMA temp_store", [], |row| row.get::<_, u8>(0)).unwrap()
        };
        let before = temp_store(&writer);
        // SQLite makes its copy as a database of its own.
        let no_copies = |context: rusqlite::hooks::AuthContext<'_>| match context.action {
            AuthAction::Attach { .. } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        writer.connection.authorizer(Some(no_copies)).unwrap();
        let answers = commit(&mut writer, &group);
        let [first, rewritten, second] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!([first, second], [&recorded(1), &recorded(2)]);
        assert!(matches!(rewritten, Err(StoreError::Unavailable(_))), "{rewritten:?}");
        assert_eq!(temp_store(&writer), before);

        writer.connection.authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> Authorization>).unwrap();
        let answers = commit(&mut writer, &group);
        assert_eq!(answers, [recorded(3), Ok(Written::Cleared { more: false }), recorded(4)]);
        assert_eq!(temp_store(&writer), before);
    }

    /// What nobody waits for need not wait for the disk. What is promised does, and takes the rest along.
    #[test]
    fn outcomes_alone_are_not_flushed() {
        const FULL: u8 = 2;
        const NORMAL: u8 = 1;
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        for (group, expected) in [
            (vec![record(1)], FULL),
            (vec![acked(1)], NORMAL),
            (vec![acked(1), record(1)], FULL),
            (vec![Write::Trim(Keep { history: Timestamp::default(), dead: Timestamp::default() })], NORMAL),
            (vec![Write::Handled(vec![1])], FULL),
            (vec![acked(1)], NORMAL),
            (vec![Write::Discard(Vec::new())], FULL),
        ] {
            commit(&mut writer, &group);
            let found: u8 = writer.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
            assert_eq!(found, expected);
        }
    }

    /// What was made longer for the log is not cut back each time that the log begins anew.
    #[test]
    fn the_log_keeps_its_room() {
        for (pages_max, expected) in [(1_000, 64 << 20), (100_000, 125_000 * 4_120)] {
            let directory = tempfile::tempdir().unwrap();
            let writer = writer_with(directory.path(), pages_max);
            let kept: u64 =
                writer.connection.query_row("PRAGMA journal_size_limit", [], |row| row.get(0)).unwrap();
            assert_eq!(kept, expected);
        }
    }

    fn writer(directory: &std::path::Path) -> Writer {
        writer_with(directory, 1_000)
    }

    fn writer_with(directory: &std::path::Path, pages_max: usize) -> Writer {
        let (path, held) = crate::open::take(&directory.join("secevent.db")).unwrap();
        let mut connection = crate::open::connect(&path, 1_024).unwrap();
        crate::migrations::migrate(&mut connection, crate::migrations::MIGRATIONS).unwrap();
        let log = LogFile::open(&path, pages_max).unwrap();
        let reserve = Arc::new(Reserve::new(&path, 1 << 20, pages_max));
        let checkpoints = Arc::new(Checkpoints::new(pages_max));
        Writer::new(connection, log, reserve, Epoch(1), checkpoints, None, Arc::new(held)).unwrap()
    }

    fn commit(writer: &mut Writer, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        Commit::commit(writer, writes).unwrap()
    }

    fn record(bytes: usize) -> Write {
        let owed = Owed { stream: StreamNumber(1), queue: Queue::Regular, rendering: Rendering(0) };
        Write::Record(vec![NewEvent {
            accepted_at: Timestamp::default(),
            body: vec![0; bytes].into(),
            lanes: [].into(),
            idempotency: None,
            owed: vec![owed],
            dropped: Vec::new(),
        }])
    }

    fn recorded(sequence: u64) -> Result<Written, StoreError> {
        let (epoch, sequence) = (Epoch(1), Sequence(sequence));
        Ok(Written::Recorded(vec![Recorded::New { epoch, sequence }]))
    }

    fn acked(sequence: u64) -> Write {
        Write::Settle(vec![Settlement {
            sequence: Sequence(sequence),
            stream: StreamNumber(1),
            queue: Queue::Regular,
            at: Timestamp::default(),
            verdict: Verdict::Acked,
            attempts: None,
            attempt: None,
        }])
    }
}
