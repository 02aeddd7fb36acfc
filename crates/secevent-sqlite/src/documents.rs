//! Documents by name.

use crate::failure::Failure;
use crate::meta::{self, Meta};
use crate::writer::Known;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent_store::{Document, StoreError, Version};

pub(crate) fn put(
    connection: &Connection,
    known: &mut Known,
    name: &str,
    expected: Version,
    body: Option<&[u8]>,
) -> Result<Result<Version, StoreError>, Failure> {
    let mut select = connection.prepare_cached("SELECT version FROM documents WHERE name = ?1")?;
    let current = select.query_row([name], |row| row.get(0)).optional()?.map_or(Version::default(), Version);
    if current != expected {
        return Ok(Err(StoreError::Conflict));
    }
    let Some(body) = body else {
        connection.prepare_cached("DELETE FROM documents WHERE name = ?1")?.execute([name])?;
        return Ok(Ok(Version::default()));
    };
    // Versions count across all documents, so that one that was deleted and made again has a new one.
    known.last_version += 1;
    meta::set(connection, Meta::LastVersion, i64::try_from(known.last_version).unwrap_or(i64::MAX))?;
    let mut upsert = connection.prepare_cached("INSERT OR REPLACE INTO documents VALUES (?1, ?2, ?3)")?;
    upsert.execute(params![name, known.last_version, body])?;
    Ok(Ok(Version(known.last_version)))
}

// Reading. These run on other connections than the writer's.

pub(crate) fn get(connection: &Connection, name: &str) -> Result<Option<Document>, Failure> {
    let mut select =
        connection.prepare_cached("SELECT name, version, body FROM documents WHERE name = ?1")?;
    Ok(select.query_row([name], read).optional()?)
}

pub(crate) fn list(
    connection: &Connection,
    beginning: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Document>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT name, version, body FROM documents
         WHERE name >= ?1 AND (?2 IS NULL OR name > ?2) ORDER BY name LIMIT ?3",
    )?;
    // The larger bound first, so that the search begins where the page does.
    let from = after.map_or(beginning, |after| after.max(beginning));
    let mut documents = Vec::new();
    let mut rows = select.query(params![from, after, limit])?;
    while let Some(row) = rows.next()? {
        let document = read(row)?;
        if !document.name.starts_with(beginning) {
            break;
        }
        documents.push(document);
    }
    Ok(documents)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Document> {
    let body = Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?);
    Ok(Document { name: row.get(0)?, version: Version(row.get(1)?), body })
}
