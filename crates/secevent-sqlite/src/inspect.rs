//! A look at a store's file from outside, for `doctor` and `restore --check`: nothing is written, and no schema is
//! brought up to date.

use crate::failure::Failure;
use crate::writer::Known;
use crate::{documents, migrations, open};
use rusqlite::{Connection, OpenFlags};
use secevent_store::{Document, Epoch, StoreError};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// What was seen of a store's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// A server has it open.
    Held,
    /// No server has it open, and this is in it.
    Free(Contents),
}

/// What is in a store's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The version of its schema.
    pub schema: usize,
    /// The version that this release writes.
    pub newest: usize,
    /// What is damaged: what SQLite's `quick_check` finds, and what a start cannot read. [`DAMAGE_MAX`] lines at most.
    pub damage: Vec<String>,
    /// How many of what there are, as far as they can be counted.
    pub counts: Vec<(&'static str, u64)>,
}

/// Lines that are reported of a damaged store, at most.
pub const DAMAGE_MAX: usize = 20;

/// Examines the store in this file, which has to be there. Each of its documents is shown to `examine`, whose errors
/// are reported as damage.
///
/// All pages of the file are read, which takes some seconds for each gigabyte.
pub fn inspect(
    path: &Path,
    examine: &mut dyn FnMut(&Document) -> Result<(), StoreError>,
) -> Result<Inspection, StoreError> {
    look(path, examine).map_err(|failure| open::name_the_file(failure.into(), path))
}

/// Examines a backup. Neither the file nor its directory is changed, and nobody may write to it meanwhile.
pub fn inspect_backup(
    path: &Path,
    examine: &mut dyn FnMut(&Document) -> Result<(), StoreError>,
) -> Result<Contents, StoreError> {
    look_at_backup(path, examine).map_err(|failure| open::name_the_file(failure.into(), path))
}

fn look(
    path: &Path,
    examine: &mut dyn FnMut(&Document) -> Result<(), StoreError>,
) -> Result<Inspection, Failure> {
    let path = path.canonicalize().map_err(|error| Failure::of_system("find it", &error))?;
    // Held until this has looked, so that no server begins meanwhile.
    let lock = match OpenOptions::new().read(true).write(true).open(open::lock_of(&path)) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::of_system("open its lock", &error)),
    };
    if lock.as_ref().is_some_and(is_held) {
        return Ok(Inspection::Held);
    }
    let database = File::open(&path).map_err(|error| Failure::of_system("open it", &error))?;
    if cfg!(target_os = "linux") && is_held(&database) {
        return Ok(Inspection::Held);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    let contents = contents(&connection, examine)?;
    drop(connection);
    // SQLite's own locks go with the first handle of the database that is closed.
    drop(database);
    Ok(Inspection::Free(contents))
}

fn look_at_backup(
    path: &Path,
    examine: &mut dyn FnMut(&Document) -> Result<(), StoreError>,
) -> Result<Contents, Failure> {
    let path = path.canonicalize().map_err(|error| Failure::of_system("find it", &error))?;
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let log = PathBuf::from(log);
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(Failure::Unusable(format!(
            "it is a store and not a backup: {} belongs to it",
            log.display()
        )));
    }
    let name = path.to_str().ok_or_else(|| Failure::Unusable("its name is not UTF-8".to_owned()))?;
    let mut uri = String::from("file:");
    for byte in name.bytes() {
        match byte {
            // What is not ASCII stands in a URI as its bytes, which SQLite reads as such.
            b'%' | b'?' | b'#' | 0x80.. => drop(write!(uri, "%{byte:02x}")),
            _ => uri.push(char::from(byte)),
        }
    }
    // SQLite neither looks for a log nor makes one, and takes no locks.
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
    contents(&connection, examine)
}

fn contents(
    connection: &Connection,
    examine: &mut dyn FnMut(&Document) -> Result<(), StoreError>,
) -> Result<Contents, Failure> {
    let (schema, newest) = (migrations::version(connection)?, migrations::MIGRATIONS.len());
    let mut damage = quick_check(connection)?;
    let mut counts = Vec::new();
    if schema > 0 && schema <= newest {
        counts = count(connection)?;
        if let Err(failure) = read_documents(connection, examine, &mut damage) {
            damage.push(StoreError::from(failure).to_string());
        }
    }
    if schema == newest
        && let Err(failure) = Known::load(connection, Epoch(0))
    {
        damage.push(StoreError::from(failure).to_string());
    }
    damage.truncate(DAMAGE_MAX);
    Ok(Contents { schema, newest, damage, counts })
}

/// What is wrong with the pages of the database, and with what refers to what in it.
pub(crate) fn quick_check(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut check = connection.prepare(&format!("PRAGMA quick_check({DAMAGE_MAX})"))?;
    let mut rows = check.query([])?;
    let mut damage = Vec::new();
    loop {
        match rows.next() {
            Ok(Some(row)) => damage.push(row.get::<_, String>(0)?),
            Ok(None) => break,
            Err(error) => match StoreError::from(Failure::Sql(error)) {
                StoreError::Corrupt(what) => {
                    damage.push(what);
                    break;
                }
                StoreError::Unavailable(why) => return Err(Failure::System(why)),
                other => return Err(Failure::System(other.to_string())),
            },
        }
    }
    damage.retain(|line| line != "ok");
    Ok(damage)
}

fn read_documents(
    connection: &Connection,
    examine: &mut dyn FnMut(&Document) -> Result<(), StoreError>,
    damage: &mut Vec<String>,
) -> Result<(), Failure> {
    const PAGE: usize = 500;
    let mut after: Option<String> = None;
    loop {
        let page = documents::list(connection, "", after.as_deref(), PAGE)?;
        for document in &page {
            if let Err(error) = examine(document)
                && damage.len() < DAMAGE_MAX
            {
                damage.push(error.to_string());
            }
        }
        match page.into_iter().last() {
            Some(last) => after = Some(last.name),
            None => return Ok(()),
        }
    }
}

/// Tables that an older schema lacks are left out, and so are those that cannot be read.
fn count(connection: &Connection) -> Result<Vec<(&'static str, u64)>, Failure> {
    const STREAMS: &str = "documents WHERE name >= 'stream/' AND name < 'stream0'";
    let mut counts = Vec::new();
    for (what, table, from) in [
        ("streams", "documents", STREAMS),
        ("events", "events", "events"),
        ("pending", "deliveries", "deliveries"),
        ("dead", "dead", "dead"),
        ("subjects", "subjects", "subjects"),
        ("received", "inbox", "inbox"),
        ("changes", "audit", "audit"),
    ] {
        let is_there = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if connection.query_row(is_there, [table], |row| row.get::<_, u64>(0))? == 1
            && let Ok(count) =
                connection.query_row(&format!("SELECT count(*) FROM {from}"), [], |row| row.get(0))
        {
            counts.push((what, count));
        }
    }
    Ok(counts)
}

fn is_held(file: &File) -> bool {
    matches!(open::lock(file), Err(Failure::Unusable(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, SqliteStore};
    use secevent_store::{Backup as _, Documents as _, Version};

    fn names(folder: &Path) -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    // finding: C5
    #[tokio::test]
    async fn a_store_is_seen_as_it_is_and_left_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let whole = &mut |_: &Document| Ok(());
        assert!(inspect(&path, whole).is_err(), "there is none");
        let store = SqliteStore::open(&path, Options::new(Epoch(1))).unwrap();
        store.put("stream/a", Version(0), Some("{}".into())).await.unwrap();
        assert_eq!(inspect(&path, whole), Ok(Inspection::Held));
        assert_eq!(store.check().await, Ok(Vec::new()));
        drop(store);
        let before = std::fs::read(&path).unwrap();
        let mut seen = Vec::new();
        let mut examine = |document: &Document| {
            seen.push(document.name.clone());
            Err(StoreError::Corrupt(format!("{} makes no sense", document.name)))
        };
        let Ok(Inspection::Free(contents)) = inspect(&path, &mut examine) else { panic!("it is free") };
        assert_eq!(seen, ["stream/a"]);
        assert_eq!((contents.schema, contents.counts[0]), (contents.newest, ("streams", 1)));
        assert_eq!(contents.damage, ["the store is damaged: stream/a makes no sense"]);
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
        assert!(matches!(inspect(&other, whole), Err(StoreError::Unusable(_))));
        std::fs::write(&other, "no database at all, and long enough to be read as the head of one").unwrap();
        assert!(inspect(&other, whole).is_err());
        std::fs::write(&other, "").unwrap();
        let Ok(Inspection::Free(empty)) = inspect(&other, whole) else {
            panic!("a server makes a store of it")
        };
        assert_eq!((empty.schema, empty.damage, empty.counts), (0, vec![], vec![]));
    }

    // finding: C4, C5
    #[tokio::test]
    async fn a_backup_is_examined_without_a_trace_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let store = SqliteStore::open(&path, Options::new(Epoch(1))).unwrap();
        for number in 0..200 {
            let name = format!("stream/{number:03}");
            store.put(&name, Version(0), Some(vec![b'x'; 2_000].into())).await.unwrap();
        }
        let backups = tempfile::tempdir().unwrap();
        let copy = backups.path().join("a%20copy #1?.db");
        store.backup(copy.clone()).await.unwrap();
        let (before, files) = (std::fs::read(&copy).unwrap(), names(backups.path()));
        let whole = &mut |_: &Document| Ok(());
        let contents = inspect_backup(&copy, whole).unwrap();
        assert_eq!((contents.damage, contents.counts[0]), (vec![], ("streams", 200)));
        assert_eq!((std::fs::read(&copy).unwrap(), names(backups.path())), (before.clone(), files));

        let mut damaged = before;
        let page = damaged.chunks_mut(4_096).rev().find(|page| page[100..].contains(&b'x')).unwrap();
        page[..200].fill(0xee);
        std::fs::write(&copy, &damaged).unwrap();
        let contents = inspect_backup(&copy, whole).unwrap();
        assert!(!contents.damage.is_empty() && contents.damage.len() <= DAMAGE_MAX);
        std::fs::write(backups.path().join("a%20copy #1?.db-wal"), "a log").unwrap();
        assert!(matches!(inspect_backup(&copy, whole), Err(StoreError::Unusable(_))));

        drop(store);
        std::fs::write(&path, &damaged).unwrap();
        let Ok(Inspection::Free(contents)) = inspect(&path, whole) else { panic!("it is free") };
        assert!(!contents.damage.is_empty());
        if let Ok(store) = SqliteStore::open(&path, Options::new(Epoch(2))) {
            assert!(!store.check().await.unwrap().is_empty());
        }
    }
}
