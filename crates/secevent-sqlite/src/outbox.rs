//! Events and deliveries.

use crate::failure::Failure;
use crate::meta::{self, Meta};
use crate::writer::Known;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent::Timestamp;
use secevent_store::{
    Backlog, Delivery, Epoch, Idempotency, NewEvent, Page, Queue, Recorded, Rendering, Sequence, Settlement,
    StreamNumber, Verdict,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Deliveries that one step of dropping removes.
const DROP_STEP: usize = 4_096;
/// Events that one step of trimming removes.
const TRIM_STEP: usize = 2_048;
/// Sequences that one step of trimming looks at.
const TRIM_SPAN: u64 = 65_536;
/// Free pages that are worth giving back to the file system, and how many one step gives back.
const FREE_PAGES_MAX: u64 = 2_048;
const FREE_PAGES_STEP: u64 = 1_024;

pub(crate) fn record(
    connection: &Connection,
    known: &mut Known,
    events: &[NewEvent],
) -> Result<Vec<Recorded>, Failure> {
    let Some(named) = look_up_names(connection, known, events)? else {
        return Ok(vec![Recorded::Different; events.len()]);
    };
    let mut recorded: Vec<Recorded> = Vec::with_capacity(events.len());
    for (event, named) in events.iter().zip(named) {
        let answer = match named {
            Named::New => insert(connection, known, event)?,
            Named::Before(first) => first,
            Named::InThisCall(place) => match recorded[place] {
                Recorded::New { epoch, sequence } => {
                    let deliveries = u32::try_from(deliveries_of(&events[place])).unwrap_or(u32::MAX);
                    Recorded::Repeated { epoch, sequence, deliveries }
                }
                first => first,
            },
        };
        recorded.push(answer);
    }
    Ok(recorded)
}

/// Whether an event's name came before.
enum Named {
    New,
    Before(Recorded),
    InThisCall(usize),
}

/// Nothing, if one of the names was given to other content.
fn look_up_names(
    connection: &Connection,
    known: &Known,
    events: &[NewEvent],
) -> Result<Option<Vec<Named>>, Failure> {
    let mut in_this_call: HashMap<(&str, &str), (usize, &[u8; 32])> = HashMap::new();
    let mut named = Vec::with_capacity(events.len());
    for (place, event) in events.iter().enumerate() {
        let Some(name) = &event.idempotency else {
            named.push(Named::New);
            continue;
        };
        if let Some((first, digest)) = in_this_call.get(&(name.scope.as_str(), name.key.as_str())) {
            if **digest != name.digest {
                return Ok(None);
            }
            named.push(Named::InThisCall(*first));
            continue;
        }
        match first_of_name(connection, known, name)? {
            Some((digest, _)) if digest != name.digest => return Ok(None),
            Some((_, first)) => named.push(Named::Before(first)),
            None => named.push(Named::New),
        }
        if events.len() > 1 {
            in_this_call.insert((&name.scope, &name.key), (place, &name.digest));
        }
    }
    Ok(Some(named))
}

fn first_of_name(
    connection: &Connection,
    known: &Known,
    name: &Idempotency,
) -> Result<Option<(Vec<u8>, Recorded)>, Failure> {
    let fingerprint = known.names.fingerprint(&name.scope, &name.key);
    for sequence in known.names.candidates(connection, fingerprint)? {
        let mut select = connection.prepare_cached(
            "SELECT epoch, deliveries, digest FROM events
             WHERE sequence = ?1 AND scope = ?2 AND key = ?3 AND accepted_at >= ?4",
        )?;
        let row = |row: &Row<'_>| {
            let (epoch, deliveries) = (Epoch(row.get(0)?), row.get(1)?);
            let first = Recorded::Repeated { epoch, sequence: Sequence(sequence), deliveries };
            Ok((row.get(2)?, first))
        };
        let parameters = params![sequence, name.scope, name.key, known.names_cut.as_micros()];
        if let Some(first) = select.query_row(parameters, row).optional()? {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

fn insert(connection: &Connection, known: &mut Known, event: &NewEvent) -> Result<Recorded, Failure> {
    known.last_sequence += 1;
    let (epoch, sequence) = (known.epoch, known.last_sequence);
    if !known.epoch_written {
        connection.execute("INSERT INTO epochs VALUES (?1, ?2)", params![sequence, epoch.0])?;
        known.epoch_written = true;
    }
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO deliveries VALUES (?1, ?2, ?3, ?4, 0, NULL)")?;
    let mut deliveries = 0;
    for owed in &event.owed {
        deliveries +=
            insert.execute(params![owed.stream.0, number(owed.queue), sequence, owed.rendering.0])?;
    }
    let lanes: Vec<u8> = event.lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
    let name = event.idempotency.as_ref();
    let mut insert =
        connection.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    insert.execute(params![
        sequence,
        epoch.0,
        event.accepted_at.as_micros(),
        deliveries,
        lanes,
        name.map(|name| &name.scope),
        name.map(|name| &name.key),
        name.map(|name| name.digest.as_slice()),
        event.body.as_ref(),
    ])?;
    connection
        .prepare_cached("INSERT INTO needed VALUES (?1, ?2)")?
        .execute(params![sequence, deliveries])?;
    if let Some(name) = name {
        let fingerprint = known.names.fingerprint(&name.scope, &name.key);
        known.names.insert(fingerprint, sequence, event.accepted_at);
    }
    Ok(Recorded::New { epoch, sequence: Sequence(sequence) })
}

/// To how many queues an event is owed: one that is named twice counts once.
fn deliveries_of(event: &NewEvent) -> usize {
    let queues: std::collections::HashSet<_> =
        event.owed.iter().map(|owed| (owed.stream, owed.queue)).collect();
    queues.len()
}

pub(crate) fn settle(
    connection: &Connection,
    known: &mut Known,
    settlements: &[Settlement],
) -> Result<(), Failure> {
    for settlement in settlements {
        let Settlement { sequence, stream, queue, verdict } = settlement;
        let (sequence, queue) = (clamp(*sequence), number(*queue));
        match verdict {
            Verdict::Acked => {
                if delete(connection, *stream, queue, sequence)?.is_some() {
                    *known.released.entry(sequence).or_default() += 1;
                }
            }
            Verdict::Rejected(reason) => bury(connection, *stream, queue, sequence, (1, 0), reason)?,
            Verdict::Abandoned(reason) => bury(connection, *stream, queue, sequence, (0, 1), reason)?,
            Verdict::Retry { at, attempts } => {
                let mut update = connection.prepare_cached(
                    "UPDATE deliveries SET attempts = ?4, due_at = ?5
                     WHERE stream = ?1 AND queue = ?2 AND sequence = ?3",
                )?;
                update.execute(params![stream.0, queue, sequence, attempts, at.as_micros()])?;
            }
        }
    }
    Ok(())
}

/// Removes a delivery from what is owed. Returns its rendering, if it was there.
fn delete(
    connection: &Connection,
    stream: StreamNumber,
    queue: u8,
    sequence: u64,
) -> Result<Option<u32>, Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM deliveries WHERE stream = ?1 AND queue = ?2 AND sequence = ?3 RETURNING rendering",
    )?;
    Ok(delete.query_row(params![stream.0, queue, sequence], |row| row.get(0)).optional()?)
}

/// Moves a delivery from what is owed to the dead. It goes on needing the event's body.
fn bury(
    connection: &Connection,
    stream: StreamNumber,
    queue: u8,
    sequence: u64,
    (rejected, abandoned): (u64, u64),
    reason: &str,
) -> Result<(), Failure> {
    let Some(rendering) = delete(connection, stream, queue, sequence)? else { return Ok(()) };
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO dead VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    insert.execute(params![stream.0, queue, sequence, rendering, abandoned, reason])?;
    tally(connection, stream, rejected, abandoned)
}

fn tally(
    connection: &Connection,
    stream: StreamNumber,
    rejected: u64,
    abandoned: u64,
) -> Result<(), Failure> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO tallies VALUES (?1, ?2, ?3) ON CONFLICT (stream) DO UPDATE
         SET rejected = rejected + excluded.rejected, abandoned = abandoned + excluded.abandoned",
    )?;
    upsert.execute(params![stream.0, rejected, abandoned])?;
    Ok(())
}

/// Writes down which events are needed less. Once per group, so that an event that went to many streams is
/// written once when many of them answer.
pub(crate) fn write_released(connection: &Connection, known: &mut Known) -> Result<(), Failure> {
    let mut update =
        connection.prepare_cached("UPDATE needed SET deliveries = deliveries - ?2 WHERE sequence = ?1")?;
    for (sequence, deliveries) in std::mem::take(&mut known.released) {
        update.execute(params![sequence, deliveries])?;
    }
    Ok(())
}

/// Drops some of what is owed to a stream. Returns how many deliveries, and whether there are more.
pub(crate) fn drop_some(
    connection: &Connection,
    known: &mut Known,
    stream: StreamNumber,
) -> Result<(u64, bool), Failure> {
    let mut select =
        connection.prepare_cached("SELECT queue, sequence FROM deliveries WHERE stream = ?1 LIMIT ?2")?;
    let rows = select.query_map(params![stream.0, DROP_STEP], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let places: Vec<(u8, u64)> = rows.collect::<Result<_, _>>()?;
    for (queue, sequence) in &places {
        delete(connection, stream, *queue, *sequence)?;
        *known.released.entry(*sequence).or_default() += 1;
    }
    let dropped = u64::try_from(places.len()).unwrap_or(u64::MAX);
    if dropped > 0 {
        tally(connection, stream, 0, dropped)?;
    }
    Ok((dropped, places.len() == DROP_STEP))
}

/// One step of forgetting names and bodies. Returns whether there is more to do.
pub(crate) fn trim(connection: &Connection, known: &mut Known, before: Timestamp) -> Result<bool, Failure> {
    if before > known.names_cut {
        known.names_cut = before;
        meta::set(connection, Meta::NamesCut, before.as_micros())?;
    }
    let more_names = known.names.forget(connection, known.names_cut)?;
    write_released(connection, known)?;
    let more_bodies = trim_bodies(connection, known, before)?;
    Ok(more_names || more_bodies || give_back_pages(connection)?)
}

/// One step of a pass over all events that nobody needs, from the oldest on.
fn trim_bodies(connection: &Connection, known: &mut Known, before: Timestamp) -> Result<bool, Failure> {
    let mut first = connection.prepare_cached("SELECT min(sequence) FROM needed WHERE sequence > ?1")?;
    let first: Option<u64> = first.query_row([known.trimmed], |row| row.get(0))?;
    let Some(first) = first else {
        known.trimmed = 0;
        return Ok(false);
    };
    let mut select = connection.prepare_cached(
        "SELECT sequence, accepted_at FROM needed JOIN events USING (sequence)
         WHERE sequence BETWEEN ?1 AND ?2 AND needed.deliveries = 0 AND sequence < ?3 ORDER BY sequence",
    )?;
    let last = first.saturating_add(TRIM_SPAN);
    let mut rows = select.query(params![first, last, known.last_sequence])?;
    let (mut old, mut young) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (sequence, at): (u64, i64) = (row.get(0)?, row.get(1)?);
        if at < before.as_micros() {
            old.push(sequence);
            if old.len() == TRIM_STEP {
                break;
            }
        } else {
            young += 1;
            // Clocks may step back a little: a few young events do not end the pass, many do.
            if young == TRIM_STEP {
                break;
            }
        }
    }
    drop(rows);
    delete_events(connection, &old)?;
    if old.len() == TRIM_STEP {
        known.trimmed = old.last().copied().unwrap_or(0);
        return Ok(true);
    }
    let ended = young == TRIM_STEP || last >= known.last_sequence;
    known.trimmed = if ended { 0 } else { last };
    Ok(!ended)
}

/// Deletes events, given in order: neighbours at once.
fn delete_events(connection: &Connection, sequences: &[u64]) -> Result<(), Failure> {
    for neighbours in sequences.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (neighbours[0], neighbours[neighbours.len() - 1]);
        for delete in [
            "DELETE FROM events WHERE sequence BETWEEN ?1 AND ?2",
            "DELETE FROM needed WHERE sequence BETWEEN ?1 AND ?2",
        ] {
            connection.prepare_cached(delete)?.execute([first, last])?;
        }
    }
    Ok(())
}

/// Makes the file smaller if much of it is free. Returns whether there is more to give back.
fn give_back_pages(connection: &Connection) -> Result<bool, Failure> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, u64>(0));
    let free = number("PRAGMA freelist_count")?;
    if free <= FREE_PAGES_MAX || free <= number("PRAGMA page_count")? / 4 {
        return Ok(false);
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({FREE_PAGES_STEP})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

// Reading. These run on other connections than the writer's.

const DELIVERY: &str = "SELECT d.stream, d.queue, d.sequence, d.rendering, d.attempts, d.due_at,
    e.epoch, e.accepted_at, e.lanes, e.body FROM deliveries d JOIN events e ON e.sequence = d.sequence";

pub(crate) fn page(
    connection: &Connection,
    stream: StreamNumber,
    queue: Queue,
    after: Sequence,
    limit: usize,
) -> Result<Page, Failure> {
    let select = format!(
        "{DELIVERY} WHERE d.stream = ?1 AND d.queue = ?2 AND d.sequence > ?3 ORDER BY d.sequence LIMIT ?4"
    );
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(params![stream.0, number(queue), clamp(after), limit.saturating_add(1)])?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        if page.deliveries.len() == limit {
            page.more = true;
            break;
        }
        page.deliveries.push(read_delivery(row)?);
    }
    Ok(page)
}

pub(crate) fn delivery(
    connection: &Connection,
    stream: StreamNumber,
    sequence: Sequence,
) -> Result<Option<Delivery>, Failure> {
    let select = format!("{DELIVERY} WHERE d.stream = ?1 AND d.queue IN (0, 1) AND d.sequence = ?2");
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(params![stream.0, clamp(sequence)])?;
    rows.next()?.map(read_delivery).transpose()
}

fn read_delivery(row: &Row<'_>) -> Result<Delivery, Failure> {
    let queue = match row.get(1)? {
        0 => Queue::Control,
        1 => Queue::Regular,
        other => return Err(Failure::Damaged(format!("there is no queue {other}"))),
    };
    let accepted_at = Timestamp::from_micros(row.get(7)?);
    let due_at: Option<i64> = row.get(5)?;
    Ok(Delivery {
        epoch: Epoch(row.get(6)?),
        sequence: Sequence(row.get(2)?),
        stream: StreamNumber(row.get(0)?),
        queue,
        rendering: Rendering(row.get(3)?),
        accepted_at,
        body: Bytes::copy_from_slice(row.get_ref(9)?.as_blob().map_err(rusqlite::Error::from)?),
        lanes: read_lanes(row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?)?,
        attempts: row.get(4)?,
        due_at: due_at.map_or(accepted_at, Timestamp::from_micros),
    })
}

fn read_lanes(blob: &[u8]) -> Result<Arc<[u64]>, Failure> {
    let (lanes, rest) = blob.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Failure::Damaged("lanes have eight bytes each".to_owned()));
    }
    Ok(lanes.iter().map(|lane| u64::from_le_bytes(*lane)).collect())
}

pub(crate) fn backlog(connection: &Connection, stream: StreamNumber) -> Result<Backlog, Failure> {
    let pending = "SELECT count(*) FROM deliveries WHERE stream = ?1";
    // The oldest is the first of a queue: sequences are given in the order of acceptance.
    let oldest = "SELECT min(accepted_at) FROM events WHERE sequence IN (
        (SELECT min(sequence) FROM deliveries WHERE stream = ?1 AND queue = 0),
        (SELECT min(sequence) FROM deliveries WHERE stream = ?1 AND queue = 1))";
    let tally = "SELECT rejected, abandoned FROM tallies WHERE stream = ?1";
    let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([stream.0], |row| row.get(0))?;
    let tally = connection.prepare_cached(tally)?.query_row([stream.0], |row| Ok((row.get(0)?, row.get(1)?)));
    let (rejected, abandoned) = tally.optional()?.unwrap_or_default();
    Ok(Backlog {
        pending: connection.prepare_cached(pending)?.query_row([stream.0], |row| row.get(0))?,
        oldest: oldest.map(Timestamp::from_micros),
        rejected,
        abandoned,
    })
}

pub(crate) fn owing(connection: &Connection) -> Result<Vec<StreamNumber>, Failure> {
    // From each stream straight to the next: a million deliveries are not read for that.
    let mut select = connection.prepare_cached(
        "WITH RECURSIVE owing (stream) AS (
             SELECT min(stream) FROM deliveries
             UNION ALL
             SELECT (SELECT min(stream) FROM deliveries WHERE stream > owing.stream)
             FROM owing WHERE stream IS NOT NULL
         ) SELECT stream FROM owing WHERE stream IS NOT NULL",
    )?;
    let rows = select.query_map([], |row| Ok(StreamNumber(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn number(queue: Queue) -> u8 {
    match queue {
        Queue::Control => 0,
        Queue::Regular => 1,
    }
}

/// A place as SQLite can compare it. There are none beyond.
fn clamp(sequence: Sequence) -> u64 {
    sequence.0.min(i64::MAX.cast_unsigned())
}
