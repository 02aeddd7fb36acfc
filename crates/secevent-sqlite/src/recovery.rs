//! The dead, and what is delivered again.

use crate::failure::Failure;
use crate::outbox::{COLUMNS, clamp, key, number, read_delivery, read_lanes};
use crate::writer::Known;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent::Timestamp;
use secevent_store::{Cause, Dead, Epoch, History, Past, Place, Queue, Rendering, Sequence, StreamNumber};

/// Dead deliveries that one step of trimming forgets.
const TRIM_STEP: usize = 512;
/// Events that are looked at for one part of a history.
const HISTORY_SPAN: usize = 4_096;
const NUMBER_BYTES: usize = size_of::<u32>();

/// Owes dead deliveries again. Returns how many.
pub(crate) fn redrive(connection: &Connection, places: &[Place]) -> Result<u64, Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO deliveries (stream, queue, sequence, rendering, attempts, generation, bytes)
         SELECT stream, ?4, sequence, rendering, 0, generation, bytes FROM dead
         WHERE stream = ?1 AND queue = ?2 AND sequence = ?3",
    )?;
    let mut redriven = 0;
    for place in places {
        let (stream, queue, sequence) = key(*place);
        // It goes on needing the event's body. Where the event is owed again already, it stays dead.
        if insert.execute(params![stream, queue, sequence, number(Queue::Again)])? == 1 {
            delete(connection, *place)?;
            redriven += 1;
        }
    }
    Ok(redriven)
}

/// Forgets dead deliveries. Returns how many.
pub(crate) fn discard(connection: &Connection, known: &mut Known, places: &[Place]) -> Result<u64, Failure> {
    let mut discarded = 0;
    for place in places {
        if delete(connection, *place)? {
            known.release(clamp(place.sequence), 1);
            discarded += 1;
        }
    }
    Ok(discarded)
}

/// Forgets what of an event is dead for a stream, in whichever queue. Returns how many deliveries that were.
pub(crate) fn end_dead(
    connection: &Connection,
    known: &mut Known,
    stream: StreamNumber,
    sequence: Sequence,
) -> Result<u64, Failure> {
    let mut ended = 0;
    for queue in Queue::ALL {
        ended += discard(connection, known, &[Place { stream, queue, sequence }])?;
    }
    Ok(ended)
}

fn delete(connection: &Connection, place: Place) -> Result<bool, Failure> {
    let delete = "DELETE FROM dead WHERE stream = ?1 AND queue = ?2 AND sequence = ?3";
    Ok(connection.prepare_cached(delete)?.execute(key(place))? == 1)
}

/// One step of forgetting those that died before `before`. Returns whether there are more.
pub(crate) fn trim_dead(
    connection: &Connection,
    known: &mut Known,
    before: Timestamp,
) -> Result<bool, Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM dead WHERE (stream, queue, sequence) IN (
             SELECT stream, queue, sequence FROM dead WHERE died_at < ?1 ORDER BY died_at LIMIT ?2)
         RETURNING sequence",
    )?;
    let rows = delete.query_map(params![before.as_micros(), TRIM_STEP], |row| row.get(0))?;
    let sequences: Vec<u64> = rows.collect::<Result<_, _>>()?;
    for sequence in &sequences {
        known.release(*sequence, 1);
    }
    Ok(sequences.len() == TRIM_STEP)
}

/// Owes events again that were owed to a stream. Returns how many.
pub(crate) fn replay(
    connection: &Connection,
    stream: StreamNumber,
    events: &[Sequence],
    generation: u16,
) -> Result<u64, Failure> {
    let mut replayed = 0;
    for sequence in events.iter().map(|sequence| clamp(*sequence)) {
        let mut select = connection.prepare_cached(
            "SELECT owed, length(body) FROM events WHERE sequence = ?2 AND NOT EXISTS (
                 SELECT 1 FROM deliveries WHERE stream = ?1 AND queue IN (0, 1, 2) AND sequence = ?2)",
        )?;
        let row = |row: &Row<'_>| {
            let rendering = rendering_in(row.get_ref(0)?.as_blob_or_null()?, stream);
            Ok(rendering.zip(Some(row.get::<_, u64>(1)?)))
        };
        let found = select.query_row(params![stream.0, sequence], row).optional()?.flatten();
        let Some((rendering, bytes)) = found else { continue };
        let mut insert = connection.prepare_cached(
            "INSERT INTO deliveries (stream, queue, sequence, rendering, attempts, generation, bytes)
             VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
        )?;
        let again = number(Queue::Again);
        insert.execute(params![stream.0, again, sequence, rendering.0, generation, bytes])?;
        connection
            .prepare_cached("UPDATE needed SET deliveries = deliveries + 1 WHERE sequence = ?1")?
            .execute([sequence])?;
        replayed += 1;
    }
    Ok(replayed)
}

/// The queue in which a delivery is kept that dies in this one.
pub(crate) fn queue_of_dead(connection: &Connection, place: Place) -> Result<Queue, Failure> {
    if place.queue != Queue::Again {
        return Ok(place.queue);
    }
    let select = "SELECT owed FROM events WHERE sequence = ?1";
    let mut select = connection.prepare_cached(select)?;
    let is_owed_regularly =
        |row: &Row<'_>| Ok(rendering_in(row.get_ref(0)?.as_blob_or_null()?, place.stream).is_some());
    let was_regular = select.query_row([clamp(place.sequence)], is_owed_regularly).optional()?;
    Ok(if was_regular == Some(false) { Queue::Control } else { Queue::Again })
}

/// How an event was rendered for a stream, if it was owed to it.
fn rendering_in(owed: Option<&[u8]>, stream: StreamNumber) -> Option<Rendering> {
    let (numbers, _) = owed?.as_chunks::<NUMBER_BYTES>();
    let (pairs, _) = numbers.as_chunks::<2>();
    let stream = stream.0.to_le_bytes();
    let [_, rendering] = pairs.iter().find(|[owed_to, _]| *owed_to == stream)?;
    Some(Rendering(u32::from_le_bytes(*rendering)))
}

pub(crate) fn verdict(cause: Cause) -> u8 {
    match cause {
        Cause::Rejected => 0,
        Cause::Abandoned => 1,
    }
}

// Reading. These run on other connections than the writer's.

fn select_dead(condition: &str) -> String {
    format!(
        "SELECT {COLUMNS}, d.verdict, d.reason, d.died_at FROM dead d JOIN events e ON e.sequence = d.sequence
         WHERE {condition}"
    )
}

pub(crate) fn dead(
    connection: &Connection,
    stream: Option<StreamNumber>,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Dead>, Failure> {
    let (after_stream, after_queue, after_sequence) = match after.map(key) {
        // A place in a stream before the one that is asked for is before all of that one.
        Some((after, queue, sequence)) if stream.is_none_or(|stream| stream.0 <= after) => {
            (i64::from(after), i64::from(queue), sequence)
        }
        Some(_) | None => (-1, -1, 0),
    };
    if stream.is_some_and(|stream| after_stream > i64::from(stream.0)) {
        return Ok(Vec::new());
    }
    let behind = match stream {
        Some(_) => "d.stream = ?1 AND (d.queue, d.sequence) > (?2, ?3)",
        None => "(d.stream, d.queue, d.sequence) > (?1, ?2, ?3)",
    };
    let select = select_dead(&format!("{behind} ORDER BY d.stream, d.queue, d.sequence LIMIT ?4"));
    let mut select = connection.prepare_cached(&select)?;
    let from = stream.map_or(after_stream, |stream| i64::from(stream.0));
    let mut rows = select.query(params![from, after_queue, after_sequence, limit])?;
    let mut dead = Vec::new();
    while let Some(row) = rows.next()? {
        dead.push(read_dead(row)?);
    }
    Ok(dead)
}

pub(crate) fn dead_control(
    connection: &Connection,
    stream: StreamNumber,
    limit: usize,
) -> Result<Vec<Dead>, Failure> {
    let select = select_dead("d.stream = ?1 AND d.queue = ?2 ORDER BY d.sequence LIMIT ?3");
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(params![stream.0, number(Queue::Control), limit])?;
    let mut dead = Vec::new();
    while let Some(row) = rows.next()? {
        dead.push(read_dead(row)?);
    }
    Ok(dead)
}

pub(crate) fn dead_at(connection: &Connection, place: Place) -> Result<Option<Dead>, Failure> {
    let select = select_dead("d.stream = ?1 AND d.queue = ?2 AND d.sequence = ?3");
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(key(place))?;
    rows.next()?.map(read_dead).transpose()
}

fn read_dead(row: &Row<'_>) -> Result<Dead, Failure> {
    let cause = match row.get(12)? {
        0 => Cause::Rejected,
        1 => Cause::Abandoned,
        other => return Err(Failure::Damaged(format!("there is no verdict {other}"))),
    };
    Ok(Dead {
        delivery: read_delivery(row)?,
        cause,
        reason: row.get(13)?,
        at: Timestamp::from_micros(row.get(14)?),
    })
}

pub(crate) fn history(
    connection: &Connection,
    stream: StreamNumber,
    after: Sequence,
    limit: usize,
) -> Result<History, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, epoch, accepted_at, lanes, owed FROM events WHERE sequence > ?1
         ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = select.query(params![clamp(after), HISTORY_SPAN])?;
    let (mut history, mut looked) = (History::default(), 0);
    let mut last = after;
    while history.events.len() < limit {
        let Some(row) = rows.next()? else { break };
        let sequence = Sequence(row.get(0)?);
        (looked, last) = (looked + 1, sequence);
        let owed = row.get_ref(4)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        if let Some(rendering) = rendering_in(owed, stream) {
            history.events.push(Past {
                epoch: Epoch(row.get(1)?),
                sequence,
                rendering,
                accepted_at: Timestamp::from_micros(row.get(2)?),
                lanes: read_lanes(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?)?,
            });
        }
    }
    let ended = history.events.len() < limit && looked < HISTORY_SPAN;
    history.next = (!ended).then_some(last);
    Ok(history)
}
