//! The schema, as a row of steps that are never edited.

use crate::failure::Failure;
use crate::fingerprint::FingerprintKey;
use rusqlite::{Connection, TransactionBehavior, params};

/// One step of the schema. Its version is its place in the row, counted from one.
type Migration = &'static str;

/// The steps, oldest first.
pub(crate) const MIGRATIONS: &[Migration] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_recovery.sql"),
    include_str!("../migrations/0003_subjects.sql"),
    include_str!("../migrations/0004_audit.sql"),
    include_str!("../migrations/0005_audit_indexes.sql"),
    include_str!("../migrations/0006_outcomes.sql"),
];

/// Marks the file as ours ("SEVT"), for `file` and for whoever finds it.
const APPLICATION_ID: i64 = 0x5345_5654;

/// Brings the schema to the newest version, all steps or none. A store that has it is not written to: it must be
/// possible to open it on a full disk.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Failure> {
    if is_current(connection, migrations)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: usize = number(&transaction, "PRAGMA user_version")?;
    if found == 0 {
        adopt(&transaction)?;
    } else if number::<i64>(&transaction, "PRAGMA application_id")? != APPLICATION_ID {
        return Err(foreign());
    }
    if found > migrations.len() {
        return Err(Failure::Unusable(format!(
            "its schema has version {found}, this release knows versions up to {}: use the release that wrote it, \
             or a newer one",
            migrations.len()
        )));
    }
    for (version, migration) in (1..).zip(migrations) {
        let checksum = checksum(migration);
        if version <= found {
            check(&transaction, version, &checksum)?;
        } else {
            transaction.execute_batch(migration)?;
            transaction.execute("INSERT INTO migrations VALUES (?1, ?2)", params![version, checksum])?;
        }
    }
    transaction.pragma_update(None, "user_version", migrations.len())?;
    transaction.commit()?;
    Ok(())
}

fn is_current(connection: &Connection, migrations: &[Migration]) -> Result<bool, Failure> {
    let newest = number::<usize>(connection, "PRAGMA user_version")? == migrations.len();
    if !newest || number::<i64>(connection, "PRAGMA application_id")? != APPLICATION_ID {
        return Ok(false);
    }
    for (version, migration) in (1..).zip(migrations) {
        check(connection, version, &checksum(migration))?;
    }
    Ok(true)
}

/// The version of the schema, 0 if there is none yet. Another program's database has no version that means anything.
pub(crate) fn version(connection: &Connection) -> Result<usize, Failure> {
    let found = number(connection, "PRAGMA user_version")?;
    let is_ours = number::<i64>(connection, "PRAGMA application_id")? == APPLICATION_ID;
    let is_empty = found == 0 && number::<i64>(connection, "SELECT count(*) FROM sqlite_schema")? == 0;
    if is_ours || is_empty { Ok(found) } else { Err(foreign()) }
}

/// Makes an empty file ours. A file with somebody else's tables is left alone.
fn adopt(connection: &Connection) -> Result<(), Failure> {
    if number::<i64>(connection, "SELECT count(*) FROM sqlite_schema")? != 0 {
        return Err(foreign());
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(
        "CREATE TABLE migrations (version INTEGER PRIMARY KEY, checksum TEXT NOT NULL) STRICT;",
    )?;
    Ok(())
}

fn check(connection: &Connection, version: usize, expected: &str) -> Result<(), Failure> {
    let select = "SELECT checksum FROM migrations WHERE version = ?1";
    let applied: String = connection.query_row(select, [version], |row| row.get(0))?;
    if applied == expected {
        return Ok(());
    }
    Err(Failure::Unusable(format!("step {version} of its schema is not the one that this release knows")))
}

fn foreign() -> Failure {
    Failure::Unusable("it is a database of another program".to_owned())
}

fn checksum(migration: Migration) -> String {
    format!("{:016x}", FingerprintKey(0, 0).of_bytes(migration.bytes()))
}

fn number<T: rusqlite::types::FromSql>(connection: &Connection, query: &str) -> Result<T, Failure> {
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent_store::StoreError;

    const FIRST: &str = "CREATE TABLE a (b INTEGER) STRICT; INSERT INTO a VALUES (1);";
    const SECOND: &str = "ALTER TABLE a ADD COLUMN c TEXT; UPDATE a SET c = 'x';";

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migrations in [&[FIRST][..], &[FIRST], &[FIRST, SECOND], &[FIRST, SECOND]] {
            migrate(&mut connection, migrations).unwrap();
        }
        let row =
            connection.query_row("SELECT count(*), max(c) FROM a", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row.unwrap(), (1, "x".to_owned()));
    }

    #[test]
    fn a_step_that_fails_leaves_the_store_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST]).unwrap();
        let failed = migrate(&mut connection, &[FIRST, SECOND, "CREATE TABLE a (b INTEGER)"]);
        assert!(matches!(failed, Err(Failure::Sql(_))), "{failed:?}");
        migrate(&mut connection, &[FIRST]).unwrap();
    }

    #[test]
    fn what_this_release_does_not_know_is_refused() {
        let ours = || {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, &[FIRST, SECOND]).unwrap();
            connection
        };
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE theirs (a)").unwrap();
        let foreign_version = Connection::open_in_memory().unwrap();
        foreign_version.execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1").unwrap();
        for (mut connection, migrations, expected) in [
            (ours(), &[FIRST][..], "its schema has version 2, this release knows versions up to 1"),
            (ours(), &[SECOND, SECOND], "step 1 of its schema is not the one that this release knows"),
            (foreign, &[FIRST], "it is a database of another program"),
            (foreign_version, &[FIRST], "it is a database of another program"),
        ] {
            let refused = StoreError::from(migrate(&mut connection, migrations).unwrap_err());
            assert!(matches!(refused, StoreError::Unusable(_)), "{refused:?}");
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }
}
