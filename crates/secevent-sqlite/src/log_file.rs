//! The log's file, made longer before it is written to.
//!
//! Where a file does not grow, a commit has only its own pages to write and no change of the file system's, and a
//! sync takes a fraction of the time. SQLite takes a log that begins with zeros for an empty one, and writes from its
//! beginning; what lies behind its last commit means nothing to it.

use crate::open;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// The file of a store's log. It only ever gets longer here; SQLite cuts it back.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    pages_max: usize,
    /// How many pages it has room for.
    pages: usize,
}

impl LogFile {
    const FRAME_BYTES: u64 = 4_096 + 24;
    /// How many pages are added at once: 4 MiB.
    const STEP: usize = 1_024;
    const BYTES_KEPT_MIN: u64 = 64 << 20;

    /// The log of the store in this file, which may have so many pages before it is carried over.
    pub(crate) fn open(store: &Path, pages_max: usize) -> io::Result<Self> {
        let mut path = store.as_os_str().to_owned();
        path.push("-wal");
        Ok(Self { file: open::options().open(path)?, pages_max: Self::with_rest(pages_max), pages: 0 })
    }

    /// The log may grow a little further while it is carried over.
    fn with_rest(pages_max: usize) -> usize {
        pages_max + pages_max / 4
    }

    /// Bytes of a log that has so many pages, and of the room that is made behind them.
    pub(crate) fn bytes_with_room(pages: usize, pages_max: usize) -> u64 {
        let steps = pages / Self::STEP + 1;
        bytes_of(steps.saturating_mul(Self::STEP).min(Self::with_rest(pages_max)))
    }

    /// What it may have when the log begins anew: as much as it is made longer again, or time is lost with that.
    pub(crate) fn bytes_kept(&self) -> u64 {
        bytes_of(self.pages_max).max(Self::BYTES_KEPT_MIN)
    }

    /// The file was cut off: there is no room left in it.
    pub(crate) fn is_short(&mut self) {
        self.pages = 0;
    }

    /// Makes room for what comes behind so many pages. Nobody may write to the log meanwhile: the writer calls it
    /// between two groups.
    ///
    /// If the disk takes no more, the log goes on as it is.
    pub(crate) fn make_room(&mut self, behind: usize) {
        if self.pages < self.pages_max && behind + Self::STEP / 2 >= self.pages {
            self.pages = self.lengthen(behind + Self::STEP).unwrap_or(usize::MAX);
        }
    }

    fn lengthen(&mut self, pages: usize) -> io::Result<usize> {
        let pages = pages.min(self.pages_max);
        let length = self.file.seek(SeekFrom::End(0))?;
        let missing = usize::try_from(bytes_of(pages).saturating_sub(length)).unwrap_or(0);
        if missing > 0 {
            self.file.write_all(&vec![0; missing])?;
            self.file.sync_all()?;
        }
        Ok(pages)
    }
}

fn bytes_of(pages: usize) -> u64 {
    u64::try_from(pages).unwrap_or(u64::MAX).saturating_mul(LogFile::FRAME_BYTES)
}
