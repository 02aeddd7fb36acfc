//! Events and deliveries.

use crate::failure::Failure;
use crate::outcomes::{self, Outcome, Tried};
use crate::recovery;
use crate::writer::{Known, Released};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent::Timestamp;
use secevent_store::{
    Attempt, Backlog, Cause, Delivery, Ended, Ending, Epoch, Idempotency, Keep, NewEvent, Owed, Owing,
    PAGE_BYTES_MAX, Page, Place, Queue, Recorded, Rendering, Sequence, Settlement, Signed, StreamNumber,
    UnsettledDelivery, Verdict,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Deliveries that one step of dropping removes.
const DROP_STEP: usize = 4_096;
/// Events that one step of trimming removes.
const TRIM_STEP: usize = 512;
/// Events that it looks at and leaves.
const TRIM_YOUNG: usize = 2_048;
/// Sequences that it looks at, of which most may be owed.
const TRIM_SPAN: u64 = 16_384;
/// Free pages that are worth giving back to the file system, and how many one step gives back.
const FREE_PAGES_MAX: u64 = 2_048;
const FREE_PAGES_STEP: u64 = 256;

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
             WHERE sequence = ?1 AND scope = ?2 AND key = ?3 AND (accepted_at >= ?4 OR sequence > ?5)",
        )?;
        let row = |row: &Row<'_>| {
            let (epoch, deliveries) = (Epoch(row.get(0)?), row.get(1)?);
            let first = Recorded::Repeated { epoch, sequence: Sequence(sequence), deliveries };
            Ok((row.get(2)?, first))
        };
        let parameters =
            params![sequence, name.scope, name.key, known.names_cut.micros(), known.names_cut.place()];
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
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO deliveries (stream, queue, sequence, rendering, attempts, bytes)
         VALUES (?1, ?2, ?3, ?4, 0, ?5)",
    )?;
    let (mut streams, mut history) = (Vec::with_capacity(event.owed.len()), Vec::new());
    for Owed { stream, queue, rendering } in &event.owed {
        let place = params![stream.0, number(*queue), sequence, rendering.0, event.body.len()];
        // A queue that is named twice is owed once.
        if insert.execute(place)? == 1 {
            streams.push(stream.0);
            if *queue == Queue::Regular {
                history.extend([stream.0.to_le_bytes(), rendering.0.to_le_bytes()].concat());
            }
        }
    }
    for stream in &event.dropped {
        *known.dropped.entry(stream.0).or_default() += 1;
    }
    let lanes: Vec<u8> = event.lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
    let name = event.idempotency.as_ref();
    let mut insert =
        connection.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    insert.execute(params![
        sequence,
        epoch.0,
        event.accepted_at.as_micros(),
        streams.len(),
        lanes,
        name.map(|name| &name.scope),
        name.map(|name| &name.key),
        name.map(|name| name.digest.as_slice()),
        event.body.as_ref(),
        Some(history).filter(|history| !history.is_empty()),
    ])?;
    let outcomes = outcomes::blob_of_new(&streams, &event.dropped, event.accepted_at);
    connection
        .prepare_cached("INSERT INTO needed (sequence, deliveries, outcomes) VALUES (?1, ?2, ?3)")?
        .execute(params![sequence, streams.len(), outcomes])?;
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
        let place = settlement.place();
        let ended = |how| Ended { how, at: settlement.at };
        match &settlement.verdict {
            Verdict::Acked => {
                let tried = tried(connection, settlement)?;
                let is_here = end(connection, known, place, ended(Ending::Acked), tried, settlement.attempt)?;
                if is_here && place.queue == Queue::Again {
                    recovery::end_dead(connection, known, place.stream, place.sequence)?;
                }
            }
            Verdict::Rejected(reason) => bury(connection, known, settlement, Cause::Rejected, reason)?,
            Verdict::Abandoned(reason) => bury(connection, known, settlement, Cause::Abandoned, reason)?,
            Verdict::Dropped(reason) => {
                let ended = ended(Ending::Dropped(*reason));
                let tried = tried(connection, settlement)?;
                if end(connection, known, place, ended, tried, settlement.attempt)? {
                    tally(connection, place.stream.0, 0, 0, 1)?;
                } else if recovery::discard(connection, known, &[place])? > 0 {
                    let outcome = Outcome::new(place.stream.0, ended, 0, Vec::new(), None);
                    known.note(clamp(place.sequence), outcome);
                }
            }
            Verdict::Retry { at, attempts, signed } => {
                let tried = match settlement.attempt {
                    None => None,
                    Some(attempt) => {
                        let mut last = pending_at(connection, place)?.last;
                        last.push(attempt);
                        Some(outcomes::blob_of_attempts(&last))
                    }
                };
                let mut update = connection.prepare_cached(
                    "UPDATE deliveries SET attempts = ?4, due_at = ?5, signed = coalesce(?6, signed),
                        tried = coalesce(?7, tried)
                     WHERE stream = ?1 AND queue = ?2 AND sequence = ?3",
                )?;
                let (stream, queue, sequence) = key(place);
                let signed = signed.as_ref().map(|signed| signed.0.as_ref());
                update.execute(params![stream, queue, sequence, attempts, at.as_micros(), signed, tried])?;
            }
        }
    }
    Ok(())
}

/// What a delivery has been through by the time that it is settled. The attempt that settles it is counted.
fn tried(connection: &Connection, settlement: &Settlement) -> Result<Tried, Failure> {
    // Most are delivered at the first attempt: nothing is stored of others.
    if settlement.attempts == Some(1) && settlement.attempt.is_some() {
        return Ok(Tried { attempts: 1, last: Vec::new() });
    }
    let before = pending_at(connection, settlement.place())?;
    let once_more = before.attempts.saturating_add(u32::from(settlement.attempt.is_some()));
    Ok(Tried { attempts: settlement.attempts.unwrap_or(once_more), ..before })
}

fn pending_at(connection: &Connection, place: Place) -> Result<Tried, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT attempts, tried FROM deliveries WHERE stream = ?1 AND queue = ?2 AND sequence = ?3",
    )?;
    let mut rows = select.query(key(place))?;
    rows.next()?.map_or_else(|| Ok(Tried::default()), |row| Tried::read(row, 0))
}

/// In which queues an event is pending for a stream, and what it has been through.
pub(crate) fn pending(
    connection: &Connection,
    stream: StreamNumber,
    sequence: Sequence,
) -> Result<Vec<(Queue, Tried)>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT queue, attempts, tried FROM deliveries
         WHERE stream = ?1 AND queue IN (0, 1, 2) AND sequence = ?2",
    )?;
    let mut rows = select.query(params![stream.0, clamp(sequence)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((queue(row.get(0)?)?, Tried::read(row, 1)?));
    }
    Ok(found)
}

/// Removes a delivery from what is owed, if it is there, lets go of its event and notes how it ended.
pub(crate) fn end(
    connection: &Connection,
    known: &mut Known,
    place: Place,
    ended: Ended,
    tried: Tried,
    attempt: Option<Attempt>,
) -> Result<bool, Failure> {
    let mut delete = connection
        .prepare_cached("DELETE FROM deliveries WHERE stream = ?1 AND queue = ?2 AND sequence = ?3")?;
    let is_here = delete.execute(key(place))? == 1;
    if is_here {
        let outcome = Outcome::new(place.stream.0, ended, tried.attempts, tried.last, attempt);
        let sequence = clamp(place.sequence);
        known.released.push(Released { sequence, deliveries: 1, outcome: Some(outcome) });
    }
    Ok(is_here)
}

/// Moves a delivery from what is owed to the dead. It goes on needing the event's body.
fn bury(
    connection: &Connection,
    known: &mut Known,
    settlement: &Settlement,
    cause: Cause,
    reason: &str,
) -> Result<(), Failure> {
    let (place, at) = (settlement.place(), settlement.at);
    let (stream, queue, sequence) = key(place);
    let dead_queue = number(recovery::queue_of_dead(connection, place)?);
    let Tried { attempts, last } = tried(connection, settlement)?;
    // One that was delivered again and died again takes the place of the one before, which needs the event no more.
    let mut replaced = connection.prepare_cached(
        "DELETE FROM dead WHERE stream = ?1 AND queue = ?4 AND sequence = ?3 AND EXISTS (
             SELECT 1 FROM deliveries WHERE stream = ?1 AND queue = ?2 AND sequence = ?3)",
    )?;
    if replaced.execute(params![stream, queue, sequence, dead_queue])? > 0 {
        known.release(sequence, 1);
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead (stream, queue, sequence, rendering, verdict, reason, attempts, due_at,
             generation, bytes, signed, died_at)
         SELECT stream, ?8, sequence, rendering, ?4, ?5, ?7, due_at, generation, bytes, signed, ?6
         FROM deliveries WHERE stream = ?1 AND queue = ?2 AND sequence = ?3",
    )?;
    let verdict = recovery::verdict(cause);
    let row = params![stream, queue, sequence, verdict, reason, at.as_micros(), attempts, dead_queue];
    if insert.execute(row)? == 0 {
        return Ok(());
    }
    let mut delete = connection
        .prepare_cached("DELETE FROM deliveries WHERE stream = ?1 AND queue = ?2 AND sequence = ?3")?;
    delete.execute(key(place))?;
    let (how, rejected, abandoned) = match cause {
        Cause::Rejected => (Ending::Rejected, 1, 0),
        Cause::Abandoned => (Ending::Abandoned, 0, 1),
    };
    known.note(sequence, Outcome::new(stream, Ended { how, at }, attempts, last, settlement.attempt));
    tally(connection, stream, rejected, abandoned, 0)
}

pub(crate) fn tally(
    connection: &Connection,
    stream: u32,
    rejected: u64,
    abandoned: u64,
    dropped: u64,
) -> Result<(), Failure> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO tallies (stream, rejected, abandoned, dropped) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (stream) DO UPDATE SET rejected = rejected + excluded.rejected,
             abandoned = abandoned + excluded.abandoned, dropped = dropped + excluded.dropped",
    )?;
    upsert.execute(params![stream, rejected, abandoned, dropped])?;
    Ok(())
}

/// Writes down what a group has added up: which events are needed less, how their deliveries ended, and what was
/// dropped. Once per group, so that an event that went to many streams is written once when many of them answer.
pub(crate) fn write_sums(connection: &Connection, known: &mut Known) -> Result<(), Failure> {
    write_released(connection, known)?;
    for (stream, dropped) in std::mem::take(&mut known.dropped) {
        tally(connection, stream, 0, 0, dropped)?;
    }
    Ok(())
}

fn write_released(connection: &Connection, known: &mut Known) -> Result<(), Failure> {
    let mut released = std::mem::take(&mut known.released);
    released.sort_by_key(|one| (one.sequence, one.outcome.as_ref().map_or(0, |outcome| outcome.stream)));
    let mut update = connection.prepare_cached(
        "UPDATE needed SET deliveries = deliveries - ?2, outcomes = with_outcomes(outcomes, ?3)
         WHERE sequence = ?1",
    )?;
    let mut less =
        connection.prepare_cached("UPDATE needed SET deliveries = deliveries - ?2 WHERE sequence = ?1")?;
    let mut blob = Vec::new();
    for of_event in released.chunk_by(|one, next| one.sequence == next.sequence) {
        let sequence = of_event[0].sequence;
        let deliveries: usize = of_event.iter().map(|one| one.deliveries).sum();
        blob.clear();
        of_event.iter().filter_map(|one| one.outcome.as_ref()).for_each(|outcome| outcome.write(&mut blob));
        match blob.is_empty() {
            true => less.execute(params![sequence, deliveries])?,
            false => update.execute(params![sequence, deliveries, blob])?,
        };
    }
    // Its memory is of use to the next group.
    released.clear();
    known.released = released;
    Ok(())
}

/// Drops some of what is owed to a stream. Returns how many deliveries, and whether there are more.
pub(crate) fn drop_some(
    connection: &Connection,
    known: &mut Known,
    stream: StreamNumber,
    ended: Ended,
) -> Result<(u64, bool), Failure> {
    let mut select = connection.prepare_cached(
        "SELECT queue, sequence, attempts, tried FROM deliveries WHERE stream = ?1 LIMIT ?2",
    )?;
    let mut rows = select.query(params![stream.0, DROP_STEP])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let place = Place { stream, queue: queue(row.get(0)?)?, sequence: Sequence(row.get(1)?) };
        found.push((place, Tried::read(row, 2)?));
    }
    drop(rows);
    let (dropped, more) = (u64::try_from(found.len()).unwrap_or(u64::MAX), found.len() == DROP_STEP);
    for (place, tried) in found {
        end(connection, known, place, ended, tried, None)?;
    }
    if dropped > 0 {
        tally(connection, stream.0, 0, 0, dropped)?;
    }
    Ok((dropped, more))
}

/// One step of forgetting names, dead deliveries and bodies. Returns whether there is more to do.
pub(crate) fn trim(connection: &Connection, known: &mut Known, keep: Keep) -> Result<bool, Failure> {
    known.names_cut.set(connection, keep.history, known.last_sequence)?;
    let more_names = known.names.forget(connection, keep.history)?;
    // The dead hold on to bodies. While there are more to forget, a pass over the bodies would miss some.
    if recovery::trim_dead(connection, known, keep.dead)? {
        return Ok(true);
    }
    write_released(connection, known)?;
    let more_bodies = trim_bodies(connection, known, keep.history)?;
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
    let mut newest = connection.prepare_cached("SELECT accepted_at FROM events WHERE sequence = ?1")?;
    let newest: i64 =
        newest.query_row([known.last_sequence], |row| row.get(0)).optional()?.unwrap_or(i64::MIN);
    let mut select = connection.prepare_cached(
        "SELECT sequence, accepted_at FROM needed JOIN events USING (sequence)
         WHERE sequence BETWEEN ?1 AND ?2 AND needed.deliveries = 0 AND sequence < ?3 ORDER BY sequence",
    )?;
    let mut last = first.saturating_add(TRIM_SPAN);
    let mut rows = select.query(params![first, last, known.last_sequence])?;
    let (mut old, mut young, mut ahead) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        let (sequence, at): (u64, i64) = (row.get(0)?, row.get(1)?);
        if at < before.as_micros() {
            old.push(sequence);
        } else if at <= newest {
            young += 1;
        } else {
            ahead += 1;
        }
        // Clocks may step back a little: a few young events do not end the pass, many do. Those that a clock has
        // stamped that was ahead are kept until their time has come, and say nothing about those behind them.
        if old.len() == TRIM_STEP || young == TRIM_YOUNG || ahead == TRIM_YOUNG {
            last = sequence;
            break;
        }
    }
    drop(rows);
    let deletes = [
        "DELETE FROM events WHERE sequence BETWEEN ?1 AND ?2",
        "DELETE FROM needed WHERE sequence BETWEEN ?1 AND ?2",
    ];
    delete_ranges(connection, &deletes, &old)?;
    let ended = young == TRIM_YOUNG || last >= known.last_sequence;
    known.trimmed = if ended { 0 } else { last };
    Ok(!ended)
}

/// Deletes rows by their numbers, given in order: neighbours at once.
pub(crate) fn delete_ranges(
    connection: &Connection,
    deletes: &[&str],
    numbers: &[u64],
) -> Result<(), Failure> {
    for neighbours in numbers.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (neighbours[0], neighbours[neighbours.len() - 1]);
        for delete in deletes {
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

/// The columns of a delivery, owed or dead, in a join of its table as `d` with its event as `e`.
pub(crate) const COLUMNS: &str =
    "d.stream, d.queue, d.sequence, d.rendering, d.attempts, d.due_at, d.generation,
    d.signed, e.epoch, e.accepted_at, e.lanes, e.body";

fn select_deliveries(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM deliveries d JOIN events e ON e.sequence = d.sequence WHERE {condition}")
}

pub(crate) fn page(
    connection: &Connection,
    stream: StreamNumber,
    queue: Queue,
    after: Sequence,
    limit: usize,
) -> Result<Page, Failure> {
    let select =
        select_deliveries("d.stream = ?1 AND d.queue = ?2 AND d.sequence > ?3 ORDER BY d.sequence LIMIT ?4");
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(params![stream.0, number(queue), clamp(after), limit.saturating_add(1)])?;
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        if page.deliveries.len() == limit || bytes >= PAGE_BYTES_MAX {
            page.more = true;
            break;
        }
        let delivery = read_delivery(row)?;
        bytes += delivery.body.len();
        page.deliveries.push(delivery);
    }
    Ok(page)
}

pub(crate) fn deliveries(
    connection: &Connection,
    stream: StreamNumber,
    sequence: Sequence,
) -> Result<Vec<Delivery>, Failure> {
    let select =
        select_deliveries("d.stream = ?1 AND d.queue IN (0, 1, 2) AND d.sequence = ?2 ORDER BY d.queue");
    let mut select = connection.prepare_cached(&select)?;
    let mut rows = select.query(params![stream.0, clamp(sequence)])?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        deliveries.push(read_delivery(row)?);
    }
    Ok(deliveries)
}

/// The deliveries of these events to a stream that are not settled, without their bodies.
pub(crate) fn unsettled(
    connection: &Connection,
    stream: StreamNumber,
    sequences: &[Sequence],
) -> Result<Vec<UnsettledDelivery>, Failure> {
    let mut range = connection.prepare_cached(
        "SELECT (SELECT min(sequence) FROM deliveries WHERE stream = ?1 AND queue = ?2),
            (SELECT max(sequence) FROM deliveries WHERE stream = ?1 AND queue = ?2)",
    )?;
    let mut select = connection.prepare_cached(
        "SELECT d.generation, e.epoch, length(e.body) FROM deliveries d JOIN events e ON e.sequence = d.sequence
            WHERE d.stream = ?1 AND d.queue = ?2 AND d.sequence = ?3",
    )?;
    let mut found = Vec::new();
    for queue in Queue::ALL {
        let ends: (Option<u64>, Option<u64>) =
            range.query_row(params![stream.0, number(queue)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (Some(first), Some(last)) = ends else { continue };
        // Most of what is acknowledged again was settled long ago.
        for sequence in sequences.iter().filter(|sequence| (first..=last).contains(&sequence.0)) {
            let mut rows = select.query(params![stream.0, number(queue), clamp(*sequence)])?;
            if let Some(row) = rows.next()? {
                let place = Place { stream, queue, sequence: *sequence };
                let (generation, epoch) = (row.get(0)?, Epoch(row.get(1)?));
                found.push(UnsettledDelivery { place, epoch, generation, body_bytes: row.get(2)? });
            }
        }
    }
    Ok(found)
}

/// The delivery in a row that begins with [`COLUMNS`].
pub(crate) fn read_delivery(row: &Row<'_>) -> Result<Delivery, Failure> {
    let due_at: Option<i64> = row.get(5)?;
    let signed = row.get_ref(7)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    let accepted_at = Timestamp::from_micros(row.get(9)?);
    Ok(Delivery {
        epoch: Epoch(row.get(8)?),
        sequence: Sequence(row.get(2)?),
        stream: StreamNumber(row.get(0)?),
        queue: queue(row.get(1)?)?,
        rendering: Rendering(row.get(3)?),
        accepted_at,
        body: Bytes::copy_from_slice(row.get_ref(11)?.as_blob().map_err(rusqlite::Error::from)?),
        lanes: read_lanes(row.get_ref(10)?.as_blob().map_err(rusqlite::Error::from)?)?,
        generation: row.get(6)?,
        attempts: row.get(4)?,
        due_at: due_at.map_or(accepted_at, Timestamp::from_micros),
        signed: signed.map(|signed| Signed(Bytes::copy_from_slice(signed))),
    })
}

pub(crate) fn read_lanes(blob: &[u8]) -> Result<Arc<[u64]>, Failure> {
    let (lanes, rest) = blob.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Failure::Damaged("lanes have eight bytes each".to_owned()));
    }
    Ok(lanes.iter().map(|lane| u64::from_le_bytes(*lane)).collect())
}

pub(crate) fn backlog(connection: &Connection, stream: StreamNumber) -> Result<Backlog, Failure> {
    let pending = "SELECT count(*), coalesce(sum(bytes), 0) FROM deliveries WHERE stream = ?1";
    let mut pending = connection.prepare_cached(pending)?;
    let (pending, bytes) = pending.query_row([stream.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // The oldest is the first of a queue: sequences are given in the order of acceptance.
    let oldest = "SELECT min(accepted_at) FROM events WHERE sequence IN (
        (SELECT min(sequence) FROM deliveries WHERE stream = ?1 AND queue = 0),
        (SELECT min(sequence) FROM deliveries WHERE stream = ?1 AND queue = 1),
        (SELECT min(sequence) FROM deliveries WHERE stream = ?1 AND queue = 2))";
    let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([stream.0], |row| row.get(0))?;
    let tally = "SELECT rejected, abandoned, dropped FROM tallies WHERE stream = ?1";
    let tally = connection
        .prepare_cached(tally)?
        .query_row([stream.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (rejected, abandoned, dropped) = tally.optional()?.unwrap_or_default();
    let dead = "SELECT count(*) FROM dead WHERE stream = ?1";
    let dead = connection.prepare_cached(dead)?.query_row([stream.0], |row| row.get(0))?;
    let oldest = oldest.map(Timestamp::from_micros);
    Ok(Backlog { pending, bytes, oldest, rejected, abandoned, dropped, dead })
}

pub(crate) fn owing(connection: &Connection) -> Result<Vec<Owing>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT stream, count(*), sum(bytes) FROM deliveries GROUP BY stream ORDER BY stream",
    )?;
    let rows = select.query_map([], |row| {
        Ok(Owing { stream: StreamNumber(row.get(0)?), pending: row.get(1)?, bytes: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn number(queue: Queue) -> u8 {
    match queue {
        Queue::Control => 0,
        Queue::Regular => 1,
        Queue::Again => 2,
    }
}

fn queue(number: u8) -> Result<Queue, Failure> {
    match number {
        0 => Ok(Queue::Control),
        1 => Ok(Queue::Regular),
        2 => Ok(Queue::Again),
        other => Err(Failure::Damaged(format!("there is no queue {other}"))),
    }
}

/// The key of a delivery's row, owed or dead.
pub(crate) fn key(place: Place) -> (u32, u8, u64) {
    (place.stream.0, number(place.queue), clamp(place.sequence))
}

/// A place as SQLite can compare it. There are none beyond.
pub(crate) fn clamp(sequence: Sequence) -> u64 {
    sequence.0.min(i64::MAX.cast_unsigned())
}
