//! Received SETs.

use crate::failure::Failure;
use crate::outbox::delete_ranges;
use crate::writer::Known;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use secevent::Timestamp;
use secevent_store::{Receipt, Received, Stored};

/// Identifiers that one step of forgetting looks at.
const FORGET_STEP: usize = 1_024;

pub(crate) fn receive(
    connection: &Connection,
    known: &mut Known,
    sets: &[Received],
) -> Result<Vec<Receipt>, Failure> {
    let mut receipts = Vec::with_capacity(sets.len());
    for set in sets {
        let fingerprint = known.seen.fingerprint(&set.iss, &set.jti);
        receipts.push(match digest_of_first(connection, known, fingerprint, set)? {
            Some(digest) if digest == set.digest => Receipt::Repeat,
            Some(_) => Receipt::Changed,
            None => {
                known.last_place += 1;
                insert(connection, known.last_place, set)?;
                known.seen.insert(fingerprint, known.last_place, set.at);
                Receipt::First
            }
        });
    }
    Ok(receipts)
}

fn digest_of_first(
    connection: &Connection,
    known: &Known,
    fingerprint: u64,
    set: &Received,
) -> Result<Option<Vec<u8>>, Failure> {
    for place in known.seen.candidates(connection, fingerprint)? {
        let mut select = connection.prepare_cached(
            "SELECT digest FROM seen WHERE place = ?1 AND iss = ?2 AND jti = ?3
             AND (received_at >= ?4 OR place > ?5)",
        )?;
        let parameters = params![place, set.iss, set.jti, known.seen_cut.micros(), known.seen_cut.place()];
        if let Some(digest) = select.query_row(parameters, |row| row.get(0)).optional()? {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

fn insert(connection: &Connection, place: u64, set: &Received) -> Result<(), Failure> {
    let (at, digest) = (set.at.as_micros(), set.digest.as_slice());
    let mut insert = connection.prepare_cached("INSERT INTO seen VALUES (?1, ?2, ?3, ?4, ?5)")?;
    insert.execute(params![place, set.iss, set.jti, digest, at])?;
    let mut insert = connection.prepare_cached("INSERT INTO inbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)")?;
    insert.execute(params![place, set.source, set.iss, set.jti, digest, at, set.token.as_ref()])?;
    Ok(())
}

pub(crate) fn handled(connection: &Connection, places: &[u64]) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached("DELETE FROM inbox WHERE place = ?1")?;
    for place in places {
        delete.execute([clamp(*place)])?;
    }
    Ok(())
}

pub(crate) fn failed(connection: &Connection, place: u64, dead: bool) -> Result<(), Failure> {
    let place = clamp(place);
    connection
        .prepare_cached("UPDATE inbox SET attempts = attempts + 1 WHERE place = ?1")?
        .execute([place])?;
    if dead {
        let bury = "INSERT INTO inbox_dead SELECT * FROM inbox WHERE place = ?1";
        connection.prepare_cached(bury)?.execute([place])?;
        connection.prepare_cached("DELETE FROM inbox WHERE place = ?1")?.execute([place])?;
    }
    Ok(())
}

/// One step of forgetting identifiers. Returns whether there is more to do.
pub(crate) fn forget(connection: &Connection, known: &mut Known, before: Timestamp) -> Result<bool, Failure> {
    known.seen_cut.set(connection, before, known.last_place)?;
    let more_runs = known.seen.forget(connection, before)?;
    let more_rows = forget_rows(connection, known, before)?;
    Ok(more_runs || more_rows)
}

/// One step of a pass over all identifiers, from the oldest on. The newest one stays: places go on from it.
fn forget_rows(connection: &Connection, known: &mut Known, before: Timestamp) -> Result<bool, Failure> {
    let mut newest = connection.prepare_cached("SELECT received_at FROM seen WHERE place = ?1")?;
    let newest = newest.query_row([known.last_place], |row| row.get(0)).optional()?.unwrap_or(i64::MIN);
    let mut select = connection.prepare_cached(
        "SELECT place, received_at FROM seen WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3",
    )?;
    let rows = select.query_map(params![known.forgotten, known.last_place, FORGET_STEP], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let looked_at: Vec<(u64, i64)> = rows.collect::<Result<_, _>>()?;
    let old = looked_at.iter().filter(|(_, at)| *at < before.as_micros());
    let old: Vec<u64> = old.map(|(place, _)| *place).collect();
    delete_ranges(connection, &["DELETE FROM seen WHERE place BETWEEN ?1 AND ?2"], &old)?;
    // Clocks step back: behind young ones there may be old ones, not many. What a clock has stamped that was ahead
    // says nothing about those behind it.
    let young = looked_at.iter().any(|(_, at)| (before.as_micros()..=newest).contains(at));
    let ended = looked_at.len() < FORGET_STEP || (old.is_empty() && young);
    known.forgotten = if ended { 0 } else { looked_at.last().map_or(0, |(place, _)| *place) };
    Ok(!ended)
}

// Reading. This runs on other connections than the writer's.

pub(crate) fn waiting(connection: &Connection, after: u64, limit: usize) -> Result<Vec<Stored>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT place, source, iss, jti, digest, received_at, attempts, token FROM inbox
         WHERE place > ?1 ORDER BY place LIMIT ?2",
    )?;
    let rows = select.query_map(params![clamp(after), limit], |row| {
        let received = Received {
            source: row.get(1)?,
            iss: row.get(2)?,
            jti: row.get(3)?,
            digest: row.get(4)?,
            at: Timestamp::from_micros(row.get(5)?),
            token: Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?),
        };
        Ok(Stored { place: row.get(0)?, received, attempts: row.get(6)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A place as SQLite can compare it. There are none beyond.
fn clamp(place: u64) -> u64 {
    place.min(i64::MAX.cast_unsigned())
}
