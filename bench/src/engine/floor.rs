//! The floor at work.

use super::Bench;
use super::child::{Running, wait_for_listener};
use anyhow::Result;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running floor.
#[derive(Debug)]
pub struct Floor {
    running: Running,
    port: u16,
    _folder: TempDir,
}

impl Floor {
    /// Starts one that delivers each event to all of these URLs, over so many connections each.
    pub fn start(bench: &Bench, algorithm: &str, targets: &[String], connections: usize) -> Result<Self> {
        let (folder, port) = (bench.new_folder()?, bench.free_port()?);
        let mut command = Command::new(bench.program("floor"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]).arg("--dir").arg(folder.path());
        command.args(["--alg", &algorithm.to_lowercase(), "--conns", &connections.to_string()]);
        for target in targets {
            command.args(["--target", target]);
        }
        let running = Running::start("floor", command.stdout(Stdio::null()))?;
        wait_for_listener(port, Duration::from_secs(60))?;
        Ok(Self { running, port, _folder: folder })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Where events are posted to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/events", self.port)
    }
}
