//! The secevent store in one SQLite file.
//!
//! One thread writes, and commits whatever has arrived as one transaction ([`GroupCommit`]); a few threads
//! read; one carries the write-ahead log into the database. An answered call has been through `fsync`, but for outcomes
//! and tidying when nothing else is committed with them: a crash of the machine may undo those, and they happen again.
//!
//! ```
//! use secevent_sqlite::{Options, SqliteStore};
//! use secevent_store::{Documents, Epoch, Version};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("secevent.db");
//! // The epoch is drawn at random whenever a server starts.
//! let store = SqliteStore::open(&path, Options::new(Epoch(0x5eed)))?;
//! store.put("stream/a", Version::default(), Some("{}".into())).await?;
//! # Ok::<(), secevent_store::StoreError>(())
//! # }).unwrap();
//! ```
//!
//! What is laid out how, and why:
//!
//! - Rows grow at one end and are trimmed at the other; nothing is written in random order. Names that strangers
//!   choose are found by sorted runs of fingerprints instead of a unique index.
//! - Events are written once. What changes with each settlement is kept apart from them, in small rows.
//! - Steps that could be long, such as trimming and the end of a stream, go in bounded steps between groups.

mod audit;
mod backup;
mod checkpoint;
mod documents;
mod failure;
mod fingerprint;
mod inbox;
mod inspect;
mod log_file;
mod meta;
mod migrations;
mod open;
mod outbox;
mod outcomes;
mod readers;
mod recent;
mod records;
mod recovery;
mod reserve;
mod subjects;
mod writer;

pub use inspect::{Contents, DAMAGE_MAX, Inspection, inspect, inspect_backup};
pub use open::Options;

use backup::Backups;
use bytes::Bytes;
use checkpoint::{Checkpointer, Checkpoints};
use failure::Failure;
use log_file::LogFile;
use readers::Readers;
use records::Search;
use reserve::Reserve;
use secevent::Timestamp;
use secevent_store::{
    Audit, Backlog, Backup, BoxFuture, Change, ChangeFilter, CommitFigures, CommitObserver, Dead, Delivery,
    DeliveryOutcome, Document, Documents, DropReason, Entered, Erase, Erased, GroupCommit, History, Inbox,
    Keep, Kept, NewEvent, Outbox, Outcomes, Owing, Page, Place, Queue, Receipt, Received, Recorded, Records,
    Recovery, Sequence, Settlement, StoreError, Stored, StreamNumber, Texts, Traces, UnsettledDelivery,
    Version,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use writer::Writer;

/// A store in one SQLite file (two more lie beside it while it is open: the log and its index).
///
/// Dropping the last handle commits what was taken on, carries the log into the database and lets the file go.
/// That blocks for as long as it takes, some milliseconds.
pub struct SqliteStore {
    path: PathBuf,
    // They end in this order, so that nobody reads any more when the log is emptied.
    readers: Readers,
    backups: Backups,
    checkpoints: Arc<Checkpoints>,
    reserve: Arc<Reserve>,
    _checkpointer: Checkpointer,
    writer: GroupCommit,
    // Holds a handle of the database, which must be the last to be closed.
    search: Search,
}

impl SqliteStore {
    /// Opens the store in this file, and makes it if there is none.
    ///
    /// [`StoreError::Unusable`] if another server has it open, if a newer release wrote it or if it is somebody
    /// else's database; [`StoreError::Corrupt`] if it is damaged or no database at all.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Arc<Self>, StoreError> {
        let path = path.as_ref();
        let opened = Self::open_file(path, options).map_err(StoreError::from);
        Ok(Arc::new(opened.map_err(|error| open::name_the_file(error, path))?))
    }

    fn open_file(path: &Path, options: Options) -> Result<Self, Failure> {
        let opened = Self::open_once(path, options);
        let Err(failure) = &opened else { return opened };
        if !failure.is_of_the_disk() {
            return opened;
        }
        reserve::release_of(&path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        Self::open_once(path, options)
    }

    fn open_once(path: &Path, options: Options) -> Result<Self, Failure> {
        let (path, held) = open::take(path)?;
        let held = Arc::new(held);
        let checkpoints = Arc::new(Checkpoints::new(options.log_pages_max));
        let search = Search::new(&path, Arc::clone(&held), checkpoints.clone());
        let mut connection = open::connect(&path, open::WRITER_CACHE_KIB)?;
        migrations::migrate(&mut connection, migrations::MIGRATIONS)?;
        let log = LogFile::open(&path, options.log_pages_max)
            .map_err(|error| Failure::of_system("open its log", &error))?;
        let reserve = Arc::new(Reserve::new(&path, options.reserve_bytes, options.log_pages_max));
        let (epoch, bytes_max) = (options.epoch, options.bytes_max);
        let writer =
            Writer::new(connection, log, Arc::clone(&reserve), epoch, checkpoints.clone(), bytes_max, held)?;
        let reader = |_| open::connect_to_read(&path);
        let readers = (0..options.readers.max(1)).map(reader).collect::<Result<_, _>>()?;
        let readers = Readers::start(readers)?;
        let backups = Backups::new(path.clone(), checkpoints.clone());
        let checkpointer =
            Checkpointer::start(open::connect(&path, open::CHECKPOINT_CACHE_KIB)?, checkpoints.clone())?;
        let writer =
            GroupCommit::start(writer, options.group).map_err(|error| Failure::System(error.to_string()))?;
        Ok(Self { path, readers, backups, checkpoints, reserve, _checkpointer: checkpointer, writer, search })
    }

    /// Frees the disk space that is kept back, for files that the server needs beside the store. New work is refused until it can be kept back again.
    pub fn release_reserve(&self) {
        self.reserve.release();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Outbox for SqliteStore {
    fn record(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Recorded>, StoreError>> {
        self.writer.record(events)
    }

    fn page(
        &self,
        stream: StreamNumber,
        queue: Queue,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.readers.read(move |connection| outbox::page(connection, stream, queue, after, limit))
    }

    fn deliveries(
        &self,
        stream: StreamNumber,
        sequence: Sequence,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreError>> {
        self.readers.read(move |connection| outbox::deliveries(connection, stream, sequence))
    }

    fn unsettled(
        &self,
        stream: StreamNumber,
        sequences: Vec<Sequence>,
    ) -> BoxFuture<'_, Result<Vec<UnsettledDelivery>, StoreError>> {
        self.readers.read(move |connection| outbox::unsettled(connection, stream, &sequences))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.settle(settlements)
    }

    fn drop_stream(
        &self,
        stream: StreamNumber,
        reason: DropReason,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.writer.drop_stream(stream, reason, at)
    }

    fn backlog(&self, stream: StreamNumber) -> BoxFuture<'_, Result<Backlog, StoreError>> {
        self.readers.read(move |connection| outbox::backlog(connection, stream))
    }

    fn owing(&self) -> BoxFuture<'_, Result<Vec<Owing>, StoreError>> {
        self.readers.read(outbox::owing)
    }

    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.writer.trim(keep)
    }

    fn figures(&self) -> CommitFigures {
        let figures = self.writer.figures();
        let damaged = figures.damaged + self.readers.damaged();
        CommitFigures { damaged, log_pages: self.checkpoints.pages(), ..figures }
    }

    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        self.writer.observe(observer);
    }
}

impl Recovery for SqliteStore {
    fn dead(
        &self,
        stream: Option<StreamNumber>,
        after: Option<Place>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        self.readers.read(move |connection| recovery::dead(connection, stream, after, limit))
    }

    fn dead_control(
        &self,
        stream: StreamNumber,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Dead>, StoreError>> {
        self.readers.read(move |connection| recovery::dead_control(connection, stream, limit))
    }

    fn dead_at(&self, place: Place) -> BoxFuture<'_, Result<Option<Dead>, StoreError>> {
        self.readers.read(move |connection| recovery::dead_at(connection, place))
    }

    fn redrive(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.writer.redrive(places)
    }

    fn discard(&self, places: Vec<Place>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.writer.discard(places)
    }

    fn history(
        &self,
        stream: StreamNumber,
        after: Sequence,
        limit: usize,
    ) -> BoxFuture<'_, Result<History, StoreError>> {
        self.readers.read(move |connection| recovery::history(connection, stream, after, limit))
    }

    fn replay(
        &self,
        stream: StreamNumber,
        events: Vec<Sequence>,
        generation: u16,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.writer.replay(stream, events, generation)
    }
}

impl Outcomes for SqliteStore {
    fn outcomes(&self, sequence: Sequence) -> BoxFuture<'_, Result<Vec<DeliveryOutcome>, StoreError>> {
        self.readers.read(move |connection| outcomes::outcomes(connection, sequence))
    }
}

impl Audit for SqliteStore {
    fn enter(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.enter(changes)
    }

    fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entered>, StoreError>> {
        self.readers.read(move |connection| audit::changes(connection, &filter, before, limit))
    }

    fn forget_changes(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.writer.forget_changes(before)
    }
}

impl Records for SqliteStore {
    fn event(&self, sequence: Sequence) -> BoxFuture<'_, Result<Option<Kept>, StoreError>> {
        self.readers.read(move |connection| records::event(connection, sequence))
    }

    fn events(&self, after: Sequence, limit: usize) -> BoxFuture<'_, Result<Vec<Kept>, StoreError>> {
        self.readers.read(move |connection| records::events(connection, after, limit))
    }

    fn erase(&self, erase: Vec<Erase>) -> BoxFuture<'_, Result<Erased, StoreError>> {
        self.writer.erase(erase)
    }

    fn clear_traces(&self, texts: Texts, rewrite: bool) -> BoxFuture<'_, Result<Traces, StoreError>> {
        Box::pin(async move {
            let mut more = self.writer.clear_traces(rewrite).await?;
            while more {
                more = self.writer.clear_traces(false).await?;
            }
            self.search.run(texts).await
        })
    }
}

impl Backup for SqliteStore {
    fn backup(&self, to: PathBuf) -> BoxFuture<'_, Result<(), StoreError>> {
        self.backups.start(to)
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.backups.check()
    }
}

impl Inbox for SqliteStore {
    fn receive(&self, sets: Vec<Received>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        self.writer.receive(sets)
    }

    fn waiting(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.readers.read(move |connection| inbox::waiting(connection, after, limit))
    }

    fn handled(&self, places: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.handled(places)
    }

    fn failed(&self, place: u64, dead: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.failed(place, dead)
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.writer.forget(before)
    }
}

impl Documents for SqliteStore {
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        let name = name.to_owned();
        self.readers.read(move |connection| documents::get(connection, &name))
    }

    fn list(
        &self,
        beginning: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        let (beginning, after) = (beginning.to_owned(), after.map(str::to_owned));
        self.readers.read(move |connection| documents::list(connection, &beginning, after.as_deref(), limit))
    }

    fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<Version, StoreError>> {
        self.writer.put(name, expected, body, change)
    }

    fn new_stream_number(&self) -> BoxFuture<'_, Result<StreamNumber, StoreError>> {
        self.writer.new_stream_number()
    }
}
