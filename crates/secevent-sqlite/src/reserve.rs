//! Disk space that new work may not use.
//!
//! A file beside the store occupies the space, so that no other program can take it. On a full disk the file is cut
//! to nothing. The space serves to settle and drop deliveries, to carry the log into the database and to start the
//! server; intake is refused until the file can be written again.

use crate::log_file::LogFile;
use crate::open;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, info};

/// Bytes that a file beside this path may take. None if that is unknown.
type FreeBytes = fn(&Path) -> Option<u64>;

/// The reserve of one store.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// Bytes beside those of the log. Zero: there is no reserve, and intake ends when the disk is full.
    bytes: u64,
    log_pages_max: usize,
    free_bytes: FreeBytes,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file's length.
    bytes: u64,
    /// Since the last attempt to complete the file. None while it is complete.
    short: Option<Instant>,
}

impl Reserve {
    /// What else has to be free before the file is written, so that it is not cut again at once.
    const MARGIN_BYTES: u64 = 4 << 20;
    const RETRY_AFTER: Duration = Duration::from_secs(1);

    pub(crate) fn new(store: &Path, bytes: u64, log_pages_max: usize) -> Self {
        Self::with(store, bytes, log_pages_max, free_bytes)
    }

    fn with(store: &Path, bytes: u64, log_pages_max: usize, free_bytes: FreeBytes) -> Self {
        let path = path_of(store);
        if bytes == 0 {
            // An earlier life of the server may have had one.
            let _ = std::fs::remove_file(&path);
        }
        let found = path.metadata().map_or(0, |file| file.len());
        let state = Mutex::new(State { bytes: found, short: None });
        Self { path, bytes, log_pages_max, free_bytes, state }
    }

    /// Makes the file as long as it has to be while the log has so many pages. Returns whether it is: if not, nothing
    /// new may be stored. Tried once a second at most after a failure.
    pub(crate) fn keep(&self, log_pages: usize) -> bool {
        let mut state = self.state();
        let wanted = self.wanted(log_pages);
        match state.short {
            None if state.bytes >= wanted => return true,
            Some(tried) if tried.elapsed() < Self::RETRY_AFTER => return false,
            _ => {}
        }
        let missing = wanted.saturating_sub(state.bytes);
        let free = (self.free_bytes)(&self.path);
        let enough = free.is_none_or(|free| free >= missing + Self::MARGIN_BYTES);
        if enough && self.lengthen(state.bytes, wanted).is_ok() {
            state.bytes = state.bytes.max(wanted);
            if state.short.take().is_some() {
                info!(reserve_bytes = state.bytes, "Disk has room again, new events are accepted");
            }
            return true;
        }
        if state.short.replace(Instant::now()).is_none() {
            error!(free_bytes = free, reserve_bytes = wanted, "Disk is full, new events are rejected");
        }
        false
    }

    /// Whether space was missing when it was looked at last.
    pub(crate) fn is_short(&self) -> bool {
        self.state().short.is_some()
    }

    /// Gives the space back to the file system.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        if state.short.replace(Instant::now()).is_none() {
            error!(reserve_bytes = state.bytes, "Disk is full, new events are rejected");
        }
        state.bytes = if release(&self.path).is_ok() { 0 } else { state.bytes };
    }

    /// What the log has may have to go into the database, which gets longer by that much.
    fn wanted(&self, log_pages: usize) -> u64 {
        if self.bytes == 0 { 0 } else { self.bytes + LogFile::bytes_with_room(log_pages, self.log_pages_max) }
    }

    fn lengthen(&self, from: u64, to: u64) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut file = open::options().open(&self.path)?;
        file.seek(SeekFrom::Start(from))?;
        let part = incompressible();
        let mut left = to - from;
        while left > 0 {
            let length = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Err(error) = file.write_all(&part[..length]) {
                file.set_len(from)?;
                return Err(error);
            }
            left -= u64::try_from(length).unwrap_or(left);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn retry_now(&self) {
        let mut state = self.state();
        state.short = state.short.and_then(|_| Instant::now().checked_sub(Self::RETRY_AFTER));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up the reserve of a store that cannot be opened with it.
pub(crate) fn release_of(store: &Path) {
    // Whether this helped is seen when it is opened once more.
    let _ = release(&path_of(store));
}

fn release(path: &Path) -> io::Result<()> {
    match File::options().write(true).open(path).and_then(|file| file.set_len(0)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn path_of(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".reserve");
    path.into()
}

/// Some file systems keep zeros without taking space for them.
fn incompressible() -> Vec<u8> {
    const WORDS: u64 = 1 << 17;
    (1..=WORDS).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n << 29)).to_le_bytes()).collect()
}

fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let found = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B5
    #[test]
    fn the_reserve_follows_the_log_and_is_given_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("events.db");
        let length = || path_of(&store).metadata().map_or(0, |file| file.len());
        let reserve = Reserve::with(&store, 1_000, 4_096, |_| None);
        assert!(reserve.keep(0) && !reserve.is_short());
        let at_first = length();
        assert_eq!(at_first, 1_000 + LogFile::bytes_with_room(0, 4_096));
        assert!(reserve.keep(3_000));
        assert!(length() > at_first, "more of the log may have to go into the database");
        assert!(reserve.keep(0) && length() > at_first, "it does not get shorter with the log");

        reserve.release();
        assert_eq!(length(), 0);
        assert!(reserve.is_short() && !reserve.keep(0), "it is not tried again at once");
        reserve.retry_now();
        assert!(reserve.keep(0) && !reserve.is_short());
        assert_eq!(length(), at_first);

        let found = Reserve::with(&store, 1_000, 4_096, |_| Some(0));
        assert!(found.keep(0), "what is there already needs no room");
        assert!(!found.keep(3_000) && found.is_short());
        assert_eq!(length(), at_first, "what there is is kept");
        let none = Reserve::with(&store, 0, 4_096, |_| Some(0));
        assert!(none.keep(3_000) && !path_of(&store).exists());
    }
}
