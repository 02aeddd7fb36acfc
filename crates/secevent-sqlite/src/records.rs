//! Single events, and how what they say is erased.
//!
//! An erased row is overwritten where it lies (`secure_delete`); what was moved or deleted before left nothing in pages
//! that are in use, but perhaps in pages that are free, and in the log. So free pages are given back to the file
//! system and the log is cut off. What the files hold then is looked through, byte by byte.

use crate::checkpoint::Checkpoints;
use crate::failure::Failure;
use crate::open::Held;
use crate::outbox::{self, clamp, number, read_lanes, tally};
use crate::writer::Known;
use crate::{audit, open, recovery};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent::Timestamp;
use secevent_store::{
    BoxFuture, DropReason, Ended, Ending, Epoch, Erase, Erased, Kept, PAGE_BYTES_MAX, Place, Rendering,
    Sequence, StoreError, StreamNumber, Texts, Traces,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Free pages that one step gives back.
const FREE_PAGES_STEP: u64 = 256;

pub(crate) fn erase(connection: &Connection, known: &mut Known, erase: &[Erase]) -> Result<Erased, Failure> {
    // The writer's ordinary work need not write whole pages that become free.
    connection.pragma_update(None, "secure_delete", "ON")?;
    let mut erased = Erased::default();
    let result = erase.iter().try_for_each(|one| {
        erased = erased.and(erase_one(connection, known, one)?);
        Ok(())
    });
    connection.pragma_update(None, "secure_delete", "FAST")?;
    result.map(|()| erased)
}

fn erase_one(connection: &Connection, known: &mut Known, erase: &Erase) -> Result<Erased, Failure> {
    let mut erased = Erased::default();
    match erase {
        Erase::Event { sequence, streams, at } => {
            for stream in streams {
                erased = erased.and(let_go(connection, known, *stream, *sequence, *at)?);
            }
            let mut update = connection.prepare_cached(
                "UPDATE events SET body = x'', lanes = x'', owed = NULL, scope = NULL, key = NULL, digest = NULL
                 WHERE sequence = ?1 AND length(body) > 0",
            )?;
            erased.events = changed(update.execute([clamp(*sequence)])?);
        }
        Erase::Name(sequence) => {
            let mut update = connection.prepare_cached(
                "UPDATE events SET scope = NULL, key = NULL, digest = NULL
                 WHERE sequence = ?1 AND key IS NOT NULL",
            )?;
            erased.names = changed(update.execute([clamp(*sequence)])?);
        }
        Erase::Reason { place: Place { stream, queue, sequence }, becomes } => {
            let mut update = connection.prepare_cached(
                "UPDATE dead SET reason = ?4 WHERE stream = ?1 AND queue = ?2 AND sequence = ?3",
            )?;
            let key = params![stream.0, number(*queue), clamp(*sequence), becomes];
            erased.reasons = changed(update.execute(key)?);
        }
        Erase::Change { place, object, before, after } => {
            erased.changes = audit::erase(connection, *place, object, before.as_deref(), after.as_deref())?;
        }
    }
    Ok(erased)
}

/// Ends what a stream is owed of an event, and what of it is dead.
fn let_go(
    connection: &Connection,
    known: &mut Known,
    stream: StreamNumber,
    sequence: Sequence,
    at: Timestamp,
) -> Result<Erased, Failure> {
    let ended = Ended { how: Ending::Dropped(DropReason::Erased), at };
    let mut dropped = 0;
    for (queue, tried) in outbox::pending(connection, stream, sequence)? {
        let place = Place { stream, queue, sequence };
        dropped += u64::from(outbox::end(connection, known, place, ended, tried, None)?);
    }
    let dead = recovery::end_dead(connection, known, stream, sequence)?;
    if dropped > 0 {
        tally(connection, stream.0, 0, 0, dropped)?;
    }
    Ok(Erased { dropped, dead, ..Erased::default() })
}

fn changed(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Gives some free pages back. Returns whether there are more.
pub(crate) fn give_back_free_pages(connection: &Connection) -> Result<bool, Failure> {
    let free = || connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u64>(0));
    let before = free()?;
    if before == 0 {
        return Ok(false);
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({FREE_PAGES_STEP})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    let left = free()?;
    // A store that was made without this ability keeps its free pages: rewriting helps there.
    Ok(left > 0 && left < before)
}

// Reading. These run on other connections than the writer's.

const COLUMNS: &str = "epoch, sequence, accepted_at, body, lanes, key, owed";

pub(crate) fn event(connection: &Connection, sequence: Sequence) -> Result<Option<Kept>, Failure> {
    let select = format!("SELECT {COLUMNS} FROM events WHERE sequence = ?1");
    let mut select = connection.prepare_cached(&select)?;
    select.query_row([clamp(sequence)], |row| Ok(read(row))).optional()?.transpose()
}

pub(crate) fn events(connection: &Connection, after: Sequence, limit: usize) -> Result<Vec<Kept>, Failure> {
    let select = format!("SELECT {COLUMNS} FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2");
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(params![clamp(after), limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES_MAX {
        let Some(row) = rows.next()? else { break };
        let event = read(row)?;
        bytes += event.body.len();
        events.push(event);
    }
    Ok(events)
}

fn read(row: &Row<'_>) -> Result<Kept, Failure> {
    let blob = |column| row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from);
    let (numbers, _) = blob(6)?.unwrap_or_default().as_chunks::<4>();
    let (pairs, _) = numbers.as_chunks::<2>();
    let pair = |[stream, rendering]: &[[u8; 4]; 2]| {
        (StreamNumber(u32::from_le_bytes(*stream)), Rendering(u32::from_le_bytes(*rendering)))
    };
    Ok(Kept {
        epoch: Epoch(row.get(0)?),
        sequence: Sequence(row.get(1)?),
        accepted_at: Timestamp::from_micros(row.get(2)?),
        body: Bytes::copy_from_slice(blob(3)?.unwrap_or_default()),
        lanes: read_lanes(blob(4)?.unwrap_or_default())?,
        name: row.get(5)?,
        owed: pairs.iter().map(pair).collect(),
    })
}

/// Looks through the files of a store.
pub(crate) struct Search {
    path: PathBuf,
    database: Arc<Held>,
    /// Held while the files are read: a handle has one read position.
    reading: Arc<Mutex<()>>,
    checkpoints: Arc<Checkpoints>,
}

impl Search {
    /// How much is read at once.
    const PART_BYTES: usize = 1 << 20;

    pub(crate) fn new(path: &Path, database: Arc<Held>, checkpoints: Arc<Checkpoints>) -> Self {
        Self { path: path.to_owned(), database, reading: Arc::default(), checkpoints }
    }

    /// Cuts the log off, and finds the texts that are in the files, on a thread of its own.
    pub(crate) fn run(&self, texts: Texts) -> BoxFuture<'static, Result<Traces, StoreError>> {
        let (caller, answer) = oneshot::channel();
        let (path, database, checkpoints) =
            (self.path.clone(), Arc::clone(&self.database), Arc::clone(&self.checkpoints));
        let reading = Arc::clone(&self.reading);
        let thread = std::thread::Builder::new().name("secevent-traces".to_owned()).spawn(move || {
            let _alone = reading.lock().unwrap_or_else(PoisonError::into_inner);
            // Who does not wait any more need not be told.
            let _ = caller.send(search(&path, &database.database, &checkpoints, &texts));
        });
        Box::pin(async move {
            thread.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
            let stopped = || StoreError::Unavailable("the search has stopped".to_owned());
            answer.await.map_err(|_| stopped())?
        })
    }
}

fn search(
    path: &Path,
    mut database: &File,
    checkpoints: &Checkpoints,
    texts: &Texts,
) -> Result<Traces, StoreError> {
    let connection = open::connect(path, open::CHECKPOINT_CACHE_KIB)?;
    checkpoints.cut_off(&connection)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let failed = |error: io::Error| StoreError::Unavailable(format!("the files cannot be read: {error}"));
    let found = database.seek(SeekFrom::Start(0)).and_then(|_| places_in(&mut database, texts));
    let mut places = name_places(&connection, &found.map_err(failed)?)?;
    let in_log = File::open(log).and_then(|mut log| places_in(&mut log, texts)).map_err(failed)?;
    if !in_log.is_empty() {
        places.insert("the log".to_owned(), changed(in_log.len()));
    }
    Ok(Traces(places.into_iter().collect()))
}

/// What the pages belong to at these places of the database: a table, an index or nothing.
fn name_places(connection: &Connection, places: &[u64]) -> Result<BTreeMap<String, u64>, Failure> {
    let mut named = BTreeMap::new();
    if places.is_empty() {
        return Ok(named);
    }
    let page_size: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let mut pages: BTreeMap<u64, u64> = BTreeMap::new();
    for place in places {
        *pages.entry(place / page_size + 1).or_default() += 1;
    }
    let mut select = connection.prepare("SELECT pageno, name FROM dbstat")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(count) = pages.remove(&row.get(0)?) {
            *named.entry(format!("the table {}", row.get::<_, String>(1)?)).or_default() += count;
        }
    }
    for count in pages.into_values() {
        *named.entry("free pages".to_owned()).or_default() += count;
    }
    Ok(named)
}

/// Each place is looked at with enough behind it to see a whole text.
fn places_in(file: &mut impl Read, texts: &Texts) -> io::Result<Vec<u64>> {
    let overlap = texts.longest().saturating_sub(1);
    let (mut part, mut found, mut begin) = (Vec::new(), Vec::new(), 0);
    loop {
        let read = file.by_ref().take(Search::PART_BYTES as u64).read_to_end(&mut part)?;
        let last = read < Search::PART_BYTES;
        let end = if last { part.len() } else { part.len().saturating_sub(overlap) };
        found.extend(texts.places_in(&part, end).into_iter().map(|at| begin + at as u64));
        if last {
            return Ok(found);
        }
        part.drain(..end);
        begin += end as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever it lies, also across two parts, a text is counted once.
    #[test]
    fn texts_are_counted_once_wherever_they_are() {
        let texts = Texts::new(["ann@example.com"]);
        let word = b"ann@example.com";
        for at in [0, 1, 100].into_iter().chain(Search::PART_BYTES - 40..Search::PART_BYTES + 3) {
            let mut file = vec![b' '; Search::PART_BYTES * 2 + 7];
            file[at..at + word.len()].copy_from_slice(word);
            assert_eq!(places_in(&mut file.as_slice(), &texts).unwrap(), [at as u64]);
        }
        let mut ends = vec![b' '; Search::PART_BYTES];
        ends.extend(word);
        assert_eq!(places_in(&mut ends.as_slice(), &texts).unwrap(), [Search::PART_BYTES as u64]);
        assert_eq!(places_in(&mut ends[..Search::PART_BYTES].as_ref(), &texts).unwrap(), [0_u64; 0]);
    }
}
