//! The log of changes.

use crate::failure::Failure;
use rusqlite::{Connection, Row, params};
use secevent::Timestamp;
use secevent_store::{Change, ChangeFilter, Entered};

/// Changes that one step forgets.
const FORGET_STEP: usize = 512;

pub(crate) fn enter(connection: &Connection, changes: &[Change]) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO audit (at, actor, actor_id, action, object, client, stream, request, was, becomes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for change in changes {
        insert.execute(params![
            change.at.as_micros(),
            change.actor,
            change.actor_id,
            change.action,
            change.object,
            change.client,
            change.stream,
            change.request,
            change.before,
            change.after,
        ])?;
    }
    Ok(())
}

/// One step. Returns whether there is more to do. Clocks step back, so each change leaves by its own time.
pub(crate) fn forget(connection: &Connection, before: Timestamp) -> Result<bool, Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM audit WHERE place IN (SELECT place FROM audit WHERE at < ?1 ORDER BY place LIMIT ?2)",
    )?;
    Ok(delete.execute(params![before.as_micros(), FORGET_STEP])? == FORGET_STEP)
}

pub(crate) fn erase(
    connection: &Connection,
    place: u64,
    object: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<u64, Failure> {
    let mut update =
        connection.prepare_cached("UPDATE audit SET object = ?2, was = ?3, becomes = ?4 WHERE place = ?1")?;
    let place = place.min(i64::MAX.cast_unsigned());
    let updated = update.execute(params![place, object, before, after])?;
    Ok(u64::try_from(updated).unwrap_or(u64::MAX))
}

// Reading. This runs on other connections than the writer's.

pub(crate) fn changes(
    connection: &Connection,
    filter: &ChangeFilter,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Entered>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT place, at, actor, actor_id, action, object, client, stream, request, was, becomes FROM audit
         WHERE place < ?1 AND (?2 IS NULL OR client = ?2) AND (?3 IS NULL OR stream = ?3)
             AND (?4 IS NULL OR at >= ?4)
         ORDER BY place DESC",
    )?;
    let newest = i64::MAX.cast_unsigned();
    let since = filter.since.map(Timestamp::as_micros);
    let mut rows =
        select.query(params![before.unwrap_or(newest).min(newest), filter.client, filter.stream, since])?;
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(row) = rows.next()? else { break };
        let entered = read(row)?;
        if filter.wants(&entered.change) {
            found.push(entered);
        }
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entered> {
    let change = Change {
        at: Timestamp::from_micros(row.get(1)?),
        actor: row.get(2)?,
        actor_id: row.get(3)?,
        action: row.get(4)?,
        object: row.get(5)?,
        client: row.get(6)?,
        stream: row.get(7)?,
        request: row.get(8)?,
        before: row.get(9)?,
        after: row.get(10)?,
    };
    Ok(Entered { place: row.get(0)?, change })
}
