//! The log of changes.

use crate::failure::Failure;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
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
        "DELETE FROM audit WHERE place IN (SELECT place FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)",
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
    // Only what is asked for stands in the query, or no index would be used.
    let mut conditions = String::new();
    let mut values: Vec<Value> =
        vec![before.unwrap_or(u64::MAX).min(i64::MAX.cast_unsigned()).cast_signed().into()];
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions += &format!(" AND {condition} ?{}", values.len());
    };
    if let Some(client) = &filter.client {
        add("client =", client.clone().into());
    }
    if let Some(stream) = &filter.stream {
        add("stream =", stream.clone().into());
    }
    if let Some(since) = filter.since {
        add("at >=", since.as_micros().into());
    }
    match filter.action.as_deref() {
        Some(begins) if begins.ends_with('.') => {
            let characters = begins.chars().count();
            add(&format!("substr(action, 1, {characters}) ="), begins.to_owned().into());
        }
        Some(action) => add("action =", action.to_owned().into()),
        None => {}
    }
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let mut select = connection.prepare_cached(&format!(
        "SELECT place, at, actor, actor_id, action, object, client, stream, request, was, becomes FROM audit
         WHERE place < ?1{conditions} ORDER BY place DESC LIMIT ?{}",
        values.len(),
    ))?;
    let rows = select.query_map(params_from_iter(values), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
