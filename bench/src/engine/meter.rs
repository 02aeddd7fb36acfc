//! What the processes under test use during a run, and what others use of the machine meanwhile.

use super::Bench;
use super::child::Running;
use crate::process::{self, Usage};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Measures a process from [`Meter::start`] to [`Meter::stop`].
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    disk: PathBuf,
    disk_before: Option<u64>,
    before: Usage,
    machine_before: Option<(f64, f64)>,
    ours_before: f64,
    start: Instant,
    end: Sender<()>,
    sampler: JoinHandle<Usage>,
    syncs: Option<Syncs>,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Metered {
    /// User and system time.
    pub cpu_seconds: f64,
    /// The most memory, of samples; shared pages counted once.
    pub peak_pss_kib: u64,
    /// The most memory, of samples.
    pub peak_rss_kib: u64,
    /// Bytes that the kernel counts as written to files by the process. It counts in units of its cache, which may be
    /// much larger than what was written.
    pub counted_bytes: u64,
    /// Bytes that the disk was given to write, by whomever.
    pub disk_bytes: Option<u64>,
    /// How often a file was made durable; none where that cannot be counted.
    pub syncs: Option<u64>,
    /// How long it took.
    pub wall_seconds: f64,
    /// The share of the machine that others used.
    pub others: f64,
}

impl Meter {
    /// Starts to measure the process with this id.
    pub fn start(bench: &Bench, pid: u32) -> Self {
        let (end, ended) = mpsc::channel();
        let sampler = std::thread::spawn(move || {
            let mut peak = process::of_process(pid);
            while ended.recv_timeout(SAMPLE_PERIOD) == Err(RecvTimeoutError::Timeout) {
                let now = process::of_process(pid);
                peak.pss_kib = peak.pss_kib.max(now.pss_kib);
                peak.rss_kib = peak.rss_kib.max(now.rss_kib);
            }
            peak
        });
        Self {
            pid,
            disk: bench.disk().to_owned(),
            disk_before: process::written_to_disk_of(bench.disk()),
            syncs: Syncs::count(pid),
            before: process::of_process(pid),
            machine_before: process::of_machine(),
            ours_before: ours(),
            start: Instant::now(),
            end,
            sampler,
        }
    }

    /// Ends the measurement.
    pub fn stop(self) -> Metered {
        let after = process::of_process(self.pid);
        let wall_seconds = self.start.elapsed().as_secs_f64();
        let busy = self.machine_before.zip(process::of_machine());
        let others = busy.map_or(0.0, |((busy, all), (busy_now, all_now))| {
            ((busy_now - busy) - (ours() - self.ours_before)).max(0.0) / (all_now - all).max(0.01)
        });
        // A sampler that is gone has nothing to be told.
        let _ = self.end.send(());
        let peak = self.sampler.join().unwrap_or_default();
        Metered {
            cpu_seconds: after.cpu_seconds - self.before.cpu_seconds,
            peak_pss_kib: peak.pss_kib.max(after.pss_kib),
            peak_rss_kib: peak.rss_kib.max(after.rss_kib),
            counted_bytes: after.written_bytes.saturating_sub(self.before.written_bytes),
            disk_bytes: process::written_to_disk_of(&self.disk)
                .zip(self.disk_before)
                .map(|(after, before)| after.saturating_sub(before)),
            syncs: self.syncs.and_then(|syncs| syncs.stop().ok()),
            wall_seconds,
            others,
        }
    }
}

const SAMPLE_PERIOD: Duration = Duration::from_millis(200);

impl Metered {
    /// Bytes written: the lesser of the two counts, each of which may have too many and not too few.
    pub fn written_bytes(self) -> u64 {
        self.disk_bytes.map_or(self.counted_bytes, |disk| disk.min(self.counted_bytes))
    }

    /// All of it, for the raw figures.
    pub fn to_json(self) -> Value {
        json!({
            "cpu_s": self.cpu_seconds,
            "peak_pss_mib": self.peak_pss_kib as f64 / 1024.0,
            "peak_rss_mib": self.peak_rss_kib as f64 / 1024.0,
            "counted_mib": self.counted_bytes as f64 / 1_048_576.0,
            "disk_mib": self.disk_bytes.map(|bytes| bytes as f64 / 1_048_576.0),
            "syncs": self.syncs,
            "wall_s": self.wall_seconds,
            "others_of_machine": self.others,
        })
    }
}

/// Runs something that measures, again if others took too much of the machine, and gives the quietest.
pub fn quietly<T>(
    bench: &Bench,
    what: &str,
    others: impl Fn(&T) -> f64,
    mut run: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut best = run()?;
    for _ in 0..bench.repeats {
        if others(&best) <= super::OTHERS_MAX {
            break;
        }
        bench.tell(&format!("{what}: others took {:.0} % of the machine, once more", others(&best) * 100.0));
        let again = run()?;
        if others(&again) < others(&best) {
            best = again;
        }
    }
    bench.note_others(others(&best));
    Ok(best)
}

/// CPU seconds of this program and of all that it started.
fn ours() -> f64 {
    process::of_tree(std::process::id()).cpu_seconds
}

/// Counts calls that make files durable, with `perf`, which not every machine has or allows.
#[derive(Debug)]
struct Syncs(Running);

impl Syncs {
    fn count(pid: u32) -> Option<Self> {
        let events = "syscalls:sys_enter_fsync,syscalls:sys_enter_fdatasync";
        let pid = pid.to_string();
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", events, "-p", &pid]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Running::start("perf", &mut command).ok().map(Self)
    }

    fn stop(mut self) -> Result<u64> {
        self.0.interrupt(Duration::from_secs(5))?;
        let mut told = String::new();
        self.0.child().stderr.take().context("it was piped")?.read_to_string(&mut told)?;
        counted(&told).context("perf counts nothing")
    }
}

/// The sum of the counts that `perf stat -x ,` prints.
fn counted(told: &str) -> Option<u64> {
    let counts: Vec<u64> = told.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_perf_prints() {
        let told = "12,,syscalls:sys_enter_fsync,1,100.00,,\n30,,syscalls:sys_enter_fdatasync,1,100.00,,\n";
        assert_eq!(counted(told), Some(42));
        assert_eq!(counted("<not supported>,,syscalls:sys_enter_fsync,0,0.00,,\n"), None);
        assert_eq!(counted("event syntax error"), None);
    }
}
