//! A look at a store's file from outside, for `doctor`: nothing is written, and no schema is brought up to date.

use crate::failure::Failure;
use crate::{documents, migrations, open};
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags};
use secevent_store::StoreError;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// What was seen of a store's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// A server has it open.
    Held,
    /// No server has it open, and this is in it.
    Free {
        /// The version of its schema.
        schema: usize,
        /// The version that this release writes.
        newest: usize,
        /// The documents that were asked for, as far as they are there.
        documents: Vec<Option<Bytes>>,
    },
}

/// Looks at the store in this file, which has to be there, and reads these documents of it.
pub fn inspect(path: &Path, names: &[&str]) -> Result<Inspection, StoreError> {
    look(path, names).map_err(|failure| open::name_the_file(failure.into(), path))
}

fn look(path: &Path, names: &[&str]) -> Result<Inspection, Failure> {
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
    let schema = migrations::version(&connection)?;
    let newest = migrations::MIGRATIONS.len();
    let read =
        |name: &&str| documents::get(&connection, name).map(|found| found.map(|document| document.body));
    let documents = match schema {
        0 => vec![None; names.len()],
        _ => names.iter().map(read).collect::<Result<_, _>>()?,
    };
    drop(connection);
    // SQLite's own locks go with the first handle of the database that is closed.
    drop(database);
    Ok(Inspection::Free { schema, newest, documents })
}

fn is_held(file: &File) -> bool {
    matches!(open::lock(file), Err(Failure::Unusable(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, SqliteStore};
    use secevent_store::{Documents as _, Epoch, Version};

    #[tokio::test]
    async fn a_store_is_seen_as_it_is_and_left_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        assert!(inspect(&path, &[]).is_err(), "there is none");
        let store = SqliteStore::open(&path, Options::new(Epoch(1))).unwrap();
        store.put("a", Version(0), Some("{}".into())).await.unwrap();
        assert_eq!(inspect(&path, &["a"]), Ok(Inspection::Held));
        drop(store);
        let newest = migrations::MIGRATIONS.len();
        let documents = vec![Some("{}".into()), None];
        let before = std::fs::read(&path).unwrap();
        assert_eq!(inspect(&path, &["a", "b"]), Ok(Inspection::Free { schema: newest, newest, documents }));
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
        assert!(matches!(inspect(&other, &[]), Err(StoreError::Unusable(_))));
        std::fs::write(&other, "no database at all, and long enough to be read as the head of one").unwrap();
        assert!(inspect(&other, &[]).is_err());
        std::fs::write(&other, "").unwrap();
        let empty = Inspection::Free { schema: 0, newest, documents: vec![None] };
        assert_eq!(inspect(&other, &["a"]), Ok(empty), "a server makes a store of it");
    }
}
