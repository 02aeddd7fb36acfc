//! Taking possession of a file, and connecting to it.

use crate::failure::Failure;
use rusqlite::{Connection, OpenFlags};
use secevent_store::{Epoch, GroupLimits, StoreError};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The random number of this life of the writer (SEM-1).
    pub epoch: Epoch,
    /// Threads that read. Default: 2.
    pub readers: usize,
    /// Pages of 4 KiB that the log may have before it is carried into the database. More of them save writing,
    /// fewer save disk space and time at a start after a crash. Default: 8192, which is 32 MiB.
    pub log_pages_max: usize,
    /// Bytes that the store may hold, its log apart. Beyond it nothing new is taken in
    /// ([`StoreError::Full`]), and again as soon as enough was settled and trimmed. The group in which the bound is
    /// reached goes through. None is no bound but the disk's. Default: 64 GiB.
    pub bytes_max: Option<u64>,
    /// Bytes of disk space that are kept back, beside as many as the log has, in a file next to the store. New work may
    /// not use them ([`StoreError::DiskFull`]): on a full disk what was accepted can still be settled and dropped, the
    /// log carried over and the store opened. Zero keeps nothing back. Default: 16 MiB.
    pub reserve_bytes: u64,
    /// The bounds of the writer.
    pub group: GroupLimits,
}

impl Options {
    /// The defaults, in this life of the writer.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            readers: 2,
            log_pages_max: 8_192,
            bytes_max: Some(64 << 30),
            reserve_bytes: 16 << 20,
            group: GroupLimits::default(),
        }
    }
}

pub(crate) const WRITER_CACHE_KIB: u32 = 8_192;
pub(crate) const CHECKPOINT_CACHE_KIB: u32 = 256;
const READER_CACHE_KIB: u32 = 2_048;
/// Nobody holds a lock for long; what is waited for is another connection of this process.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// A store's files, held against other servers (SEM-28). The locks are the operating system's: they end with the
/// process, however that ends.
#[derive(Debug)]
pub(crate) struct Held {
    /// The database. Closing any handle of it drops SQLite's own locks, so that this one is closed last.
    pub(crate) database: File,
    _lock: File,
}

/// Makes the file if there is none, and holds it against other servers.
///
/// On Linux the lock lies on the database itself, so that it holds whatever its names are and whatever becomes of the
/// files beside it: there `flock` and SQLite's own locks (`fcntl`) do not see each other on local file systems. On other
/// systems they do. There, and for servers of earlier releases, a file beside it is locked.
pub(crate) fn take(path: &Path) -> Result<(PathBuf, Held), Failure> {
    let database = options().open(path).map_err(|error| Failure::of_system("open it", &error))?;
    // One file may have many names. All of them must meet at one lock.
    let path = path.canonicalize().map_err(|error| Failure::of_system("find it", &error))?;
    if cfg!(target_os = "linux") {
        lock(&database)?;
    }
    let beside = options().open(lock_of(&path));
    let beside = beside.map_err(|error| Failure::of_system("open its lock", &error))?;
    lock(&beside)?;
    Ok((path, Held { database, _lock: beside }))
}

pub(crate) fn lock(file: &File) -> Result<(), Failure> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::Unusable("another server has it open, and only one may".to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(Failure::of_system("lock it", &error)),
    }
}

pub(crate) fn lock_of(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

/// Nobody else may read what is stored.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A connection that writes, or carries the log over.
pub(crate) fn connect(path: &Path, cache_kib: u32) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_FOR)?;
    connection.set_prepared_statement_cache_capacity(128);
    // Pages that become free can be given back; this works only before there is a table. Stating it again would write.
    const INCREMENTAL: u8 = 2;
    if connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, u8>(0))? != INCREMENTAL {
        connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::Unusable("its file system does not allow SQLite's write-ahead log".to_owned()));
    }
    // A commit returns when its pages are on the disk, on macOS too, where that takes more than `fsync`.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What is deleted is overwritten where that costs no page more, so that little is left of it.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    Ok(connection)
}

/// A connection that only reads.
pub(crate) fn connect_to_read(path: &Path) -> Result<Connection, Failure> {
    let connection = connect(path, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Says which store it is that fails.
pub(crate) fn name_the_file(error: StoreError, path: &Path) -> StoreError {
    let named = |why: String| format!("{}: {why}", path.display());
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(named(why)),
        StoreError::Unusable(why) => StoreError::Unusable(named(why)),
        StoreError::Corrupt(why) => StoreError::Corrupt(named(why)),
        other => other,
    }
}
