//! A copy of the store while it is at work.
//!
//! The copy is what a reader sees at one moment. As long as it is being written the log cannot begin anew, because
//! that reader may still need what it holds: it grows by whatever is written meanwhile. Should it grow beyond a bound
//! the copy is given up, since the store matters more. Afterwards the log is cut back.

use crate::checkpoint::Checkpoints;
use crate::failure::Failure;
use crate::{inspect, open};
use secevent_store::{BoxFuture, StoreError};
use std::fs::File;
use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Steps of SQLite's machine between two looks at whether to go on: some hundred microseconds.
const STEPS: std::ffi::c_int = 10_000;

/// Whether to end before all is done.
type GiveUp = Box<dyn FnMut() -> bool + Send>;

/// Writes copies and reads the whole store, one at a time.
pub(crate) struct Backups {
    from: PathBuf,
    checkpoints: Arc<Checkpoints>,
    closing: Arc<AtomicBool>,
    running: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Backups {
    /// What the log may have while a copy is being written: four thousand million bytes.
    const LOG_PAGES_MAX: usize = 1 << 20;
    const CACHE_KIB: u32 = 2_048;

    pub(crate) fn new(from: PathBuf, checkpoints: Arc<Checkpoints>) -> Self {
        Self { from, checkpoints, closing: Arc::default(), running: Arc::default(), thread: Mutex::default() }
    }

    pub(crate) fn start(&self, to: PathBuf) -> BoxFuture<'static, Result<(), StoreError>> {
        self.run("secevent-backup", move |from, give_up| {
            write(from, &to, give_up).map_err(|failure| open::name_the_file(failure.into(), &to))
        })
    }

    /// Reads all pages of the store. Returns what is damaged.
    pub(crate) fn check(&self) -> BoxFuture<'static, Result<Vec<String>, StoreError>> {
        self.run("secevent-check", |from, give_up| {
            let mut connection = open::connect_to_read(from)?;
            connection.progress_handler(STEPS, Some(give_up)).map_err(Failure::from)?;
            Ok(inspect::quick_check(&connection)?)
        })
    }

    /// Does something that reads the whole store, on a thread of its own. It is to end when what it is given says so.
    fn run<T: Send + 'static>(
        &self,
        name: &str,
        job: impl FnOnce(&Path, GiveUp) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        if self.running.swap(true, Ordering::SeqCst) {
            return Box::pin(ready(Err(StoreError::Busy)));
        }
        let running = Running(self.running.clone());
        let (caller, answer) = oneshot::channel();
        let (from, checkpoints, closing) =
            (self.from.clone(), self.checkpoints.clone(), self.closing.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let give_up = {
                let checkpoints = checkpoints.clone();
                move || closing.load(Ordering::SeqCst) || checkpoints.pages() > Self::LOG_PAGES_MAX
            };
            let done = job(&from, Box::new(give_up));
            checkpoints.make_due();
            drop(running);
            // Who does not wait any more finds the file.
            let _ = caller.send(done);
        });
        match thread {
            // The one before has nothing left to do but to end.
            Ok(thread) => *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
            Err(error) => {
                let failed = StoreError::Unavailable(format!("cannot start a thread: {error}"));
                return Box::pin(ready(Err(failed)));
            }
        }
        let stopped = || StoreError::Unavailable("the reading of the store has stopped".to_owned());
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(stopped())) })
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says that a copy is being written, until it is dropped.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Copies the store `from` to a file that is not there yet, unless `give_up` says so meanwhile. There is a whole copy
/// under the name, or nothing.
fn write(from: &Path, to: &Path, give_up: impl FnMut() -> bool + Send + 'static) -> Result<(), Failure> {
    let (directory, partial) = beside(to)?;
    refuse_existing(to)?;
    let partial = Partial::create(partial)?;
    let name = partial.0.to_str().ok_or_else(|| Failure::Unusable("its name is not a text".to_owned()))?;
    let mut connection = open::connect(from, Backups::CACHE_KIB)?;
    connection.progress_handler(STEPS, Some(give_up))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => Failure::System(
            "it was given up: the store was closed, or too much was written meanwhile".to_owned(),
        ),
        _ => Failure::Sql(error),
    })?;
    drop(connection);
    let failed = |error: io::Error| Failure::System(format!("cannot write it: {error}"));
    File::open(&partial.0).and_then(|file| file.sync_all()).map_err(failed)?;
    refuse_existing(to)?;
    tracing::trace!(target: "secevent::step", step = "backup");
    std::fs::rename(&partial.0, to).map_err(failed)?;
    // The name is to survive a crash as well. Windows sees to that itself.
    if cfg!(unix) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// The directory of a file that is to be, and what it is called until it is whole.
fn beside(to: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let Some(name) = to.file_name() else {
        return Err(Failure::Unusable("it is not the name of a file".to_owned()));
    };
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // SQLite would take some names for more than a name, but none that begins at the root.
    let directory = directory
        .canonicalize()
        .map_err(|error| Failure::Unusable(format!("cannot find its directory: {error}")))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = directory.join(partial);
    Ok((directory, partial))
}

fn refuse_existing(to: &Path) -> Result<(), Failure> {
    match to.symlink_metadata() {
        Ok(_) => Err(Failure::Unusable("there is something of this name already".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::System(format!("cannot look for it: {error}"))),
    }
}

/// A file that goes away again unless it gets its own name.
struct Partial(PathBuf);

impl Partial {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::System(format!("cannot make it: {error}"));
        // A copy that a crash cut short may have left one.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        open::options().create_new(true).open(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the copy was given its name there is nothing left to remove.
        let _ = std::fs::remove_file(&self.0);
        let mut journal = self.0.clone().into_os_string();
        journal.push("-journal");
        let _ = std::fs::remove_file(journal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &Path) -> PathBuf {
        let (path, _held) = open::take(&directory.join("secevent.db")).unwrap();
        let mut connection = open::connect(&path, 1_024).unwrap();
        crate::migrations::migrate(&mut connection, crate::migrations::MIGRATIONS).unwrap();
        let documents =
            "WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < 20000)
                         INSERT INTO documents SELECT 'a' || n, 1, zeroblob(100) FROM number";
        connection.execute(documents, []).unwrap();
        path
    }

    fn names(directory: &Path) -> Vec<String> {
        let files = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_that_is_given_up_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let from = store(directory.path());
        let before = names(directory.path());
        let to = directory.path().join("copy.db");
        let given_up = write(&from, &to, || true).unwrap_err();
        assert!(matches!(given_up, Failure::System(_)), "{given_up:?}");
        assert_eq!(names(directory.path()), before);
    }

    #[test]
    fn a_copy_replaces_what_a_crash_left_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let from = store(directory.path());
        let to = directory.path().join("copy.db");
        std::fs::write(directory.path().join("copy.db.partial"), "half a copy").unwrap();
        write(&from, &to, || false).unwrap();
        assert!(!names(directory.path()).contains(&"copy.db.partial".to_owned()));
        let copy = std::fs::read(&to).unwrap();
        let refused = write(&from, &to, || false).unwrap_err();
        assert!(matches!(refused, Failure::Unusable(_)), "{refused:?}");
        assert_eq!(std::fs::read(&to).unwrap(), copy, "it is left as it was");
        for nowhere in ["missing/copy.db", ".."] {
            let refused = write(&from, &directory.path().join(nowhere), || false).unwrap_err();
            assert!(matches!(refused, Failure::Unusable(_)), "{nowhere}: {refused:?}");
        }
    }
}
