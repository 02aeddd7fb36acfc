//! Processes that the bench starts. Each ends with its handle.

use crate::clock;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
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
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self { name: name.to_owned(), child: child.with_context(|| format!("cannot start {name}"))? })
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
    }
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
