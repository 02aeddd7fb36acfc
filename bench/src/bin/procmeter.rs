//! CPU seconds and memory of process trees. `procmeter NAME=PID ...` prints one JSON snapshot; with --run "COMMAND"
//! it runs the command between two snapshots and prints the difference. A tree's CPU is its living members' own
//! and what they reaped. Memory is PSS (shared pages counted once) and RSS; with --run the peak, sampled.

use anyhow::{Context, Result};
use bench::clock;
use bench::latency::rounded;
use bench::process::{self, Usage};
use clap::Parser;
use serde_json::{Map, Value, json};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

#[derive(Debug, Parser)]
struct Options {
    /// NAME=PID
    #[arg(required = true)]
    pids: Vec<String>,
    #[arg(long)]
    run: Option<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let trees = options.pids.iter().map(|pid| Tree::named(pid)).collect::<Result<Vec<_>>>()?;
    let result = match &options.run {
        None => snapshot(&trees),
        Some(command) => around(&trees, command)?,
    };
    println!("{}", Value::Object(result));
    Ok(())
}

/// A process and its descendants, under the name the user gave it.
#[derive(Debug)]
struct Tree {
    name: String,
    root: u32,
}

impl Tree {
    fn named(text: &str) -> Result<Self> {
        let (name, pid) = text.split_once('=').with_context(|| format!("not NAME=PID: {text}"))?;
        let root = pid.parse().with_context(|| format!("not a process id: {pid}"))?;
        Ok(Self { name: name.to_owned(), root })
    }
}

fn snapshot(trees: &[Tree]) -> Map<String, Value> {
    let mut result = Map::new();
    for tree in trees {
        let Usage { cpu_seconds, rss_kib, pss_kib, processes, .. } = process::of_tree(tree.root);
        let usage = json!({
            "cpu_s": cpu_seconds,
            "rss_mib": rss_kib / 1024,
            "pss_mib": pss_kib / 1024,
            "processes": processes,
        });
        result.insert(tree.name.clone(), usage);
    }
    result
}

fn around(trees: &[Tree], command: &str) -> Result<Map<String, Value>> {
    let usages = || trees.iter().map(|tree| process::of_tree(tree.root)).collect::<Vec<_>>();
    let before = usages();
    let start = Instant::now();
    let mut child = Command::new("sh").arg("-c").arg(command).spawn().context("cannot start sh")?;
    let mut peaks = vec![Usage::default(); trees.len()];
    let code = loop {
        for (peak, now) in peaks.iter_mut().zip(usages()) {
            peak.pss_kib = peak.pss_kib.max(now.pss_kib);
            peak.rss_kib = peak.rss_kib.max(now.rss_kib);
        }
        if let Some(status) = wait_a_second(&mut child)? {
            break status.code();
        }
    };
    let wall = start.elapsed().as_secs_f64();

    let mut result = Map::new();
    let mut total = Usage::default();
    for ((tree, peak), (before, after)) in trees.iter().zip(&peaks).zip(before.iter().zip(usages())) {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        let written_bytes = after.written_bytes.saturating_sub(before.written_bytes);
        total.cpu_seconds += cpu_seconds;
        total.pss_kib += peak.pss_kib;
        total.written_bytes += written_bytes;
        let usage = json!({
            "cpu_s": rounded(cpu_seconds, 2),
            "peak_pss_mib": peak.pss_kib / 1024,
            "peak_rss_mib": peak.rss_kib / 1024,
            "written_mib": written_bytes >> 20,
        });
        result.insert(tree.name.clone(), usage);
    }
    let total = json!({
        "cpu_s": rounded(total.cpu_seconds, 2),
        "peak_pss_mib": total.pss_kib / 1024,
        "written_mib": total.written_bytes >> 20,
        "wall_s": rounded(wall, 2),
        "rc": code,
    });
    result.insert("total".to_owned(), total);
    Ok(result)
}

/// Looks ten times a second, so that the wall time is not off by a sampling interval.
fn wait_a_second(child: &mut Child) -> Result<Option<std::process::ExitStatus>> {
    for _ in 0..10 {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        clock::sleep(Duration::from_millis(100));
    }
    Ok(None)
}
