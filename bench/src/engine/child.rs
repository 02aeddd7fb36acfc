//! Processes that the bench starts. Each ends with its handle.

use crate::clock;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A process that is killed, if it is still there, when this is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let mut started = started();
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {name}"))?;
        started.insert(child.id());
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks it to end (SIGTERM), and says how long that took and how it ended.
    pub fn terminate(&mut self, patience: Duration) -> Result<(Duration, ExitStatus)> {
        self.end_by(Signal::TERM, patience)
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&mut self, patience: Duration) -> Result<(Duration, ExitStatus)> {
        self.end_by(Signal::INT, patience)
    }

    /// Ends it without a word (SIGKILL), as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it prints up to its end, as JSON.
    pub fn output(mut self) -> Result<Value> {
        use std::io::Read as _;
        let mut printed = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut printed)?;
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.name);
        serde_json::from_str(&printed).with_context(|| format!("{} prints no JSON", self.name))
    }

    fn end_by(&mut self, signal: Signal, patience: Duration) -> Result<(Duration, ExitStatus)> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("a process has an id")?;
        let asked = Instant::now();
        kill_process(pid, signal)?;
        while asked.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok((asked.elapsed(), status));
            }
            clock::sleep(Duration::from_millis(1));
        }
        bail!("{} has not ended within {patience:?}", self.name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        started().remove(&self.id());
    }
}

/// The ids of all that run: they are ended, too, when the bench itself is told to end.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn started() -> MutexGuard<'static, BTreeSet<u32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that a bench which is told to end (SIGTERM, Ctrl-C) leaves no process behind, and not this folder.
pub fn end_in_order(folder: PathBuf) -> Result<()> {
    let runtime = crate::runtime::with_threads(1)?;
    std::thread::Builder::new().name("ending".to_owned()).spawn(move || {
        if runtime.block_on(told_to_end()).is_err() {
            return;
        }
        // Held to the end, so that nothing more is started.
        let started = started();
        for id in started.iter() {
            if let Some(pid) = i32::try_from(*id).ok().and_then(Pid::from_raw) {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // Those that end may write a last file meanwhile.
        for _ in 0..50 {
            let _ = std::fs::remove_dir_all(&folder);
            if !folder.exists() {
                break;
            }
            clock::sleep(Duration::from_millis(10));
        }
        std::process::exit(TOLD_TO_END);
    })?;
    Ok(())
}

/// The exit code of a program that a signal ended, as shells tell it.
const TOLD_TO_END: i32 = 128 + 15;

async fn told_to_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits until somebody listens on this port.
pub fn wait_for_listener(port: u16, patience: Duration) -> Result<()> {
    wait_until(patience, "nobody listens", || {
        Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
    })
}

/// Looks until there is something to be seen.
pub fn wait_until<T>(
    patience: Duration,
    otherwise: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        ensure!(start.elapsed() < patience, "{otherwise} within {patience:?}");
        clock::sleep(Duration::from_millis(20));
    }
}
