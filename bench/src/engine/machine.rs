//! The machine on which was measured.

use super::Bench;
use super::figures::readable;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// What has to be known of it to read the figures.
#[derive(Debug)]
pub struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Looks, and measures how long the disk takes to make a group of records durable.
    pub fn look(bench: &Bench) -> Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: f64 = after(&memory, "MemTotal")
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0.0);
        let (one, many) = sync_latencies(bench)?;
        Ok(Self(vec![
            ("CPU", after(&cpu, "model name")),
            ("Cores", std::thread::available_parallelism()?.to_string()),
            ("Memory", format!("{:.1} GiB", kib / 1_048_576.0)),
            ("Kernel", printed("uname", &["-sr"])),
            ("fdatasync of 1 record of 1 KiB", one),
            ("fdatasync of 256 records of 1 KiB", many),
            ("Date", printed("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("Commit", printed("git", &["rev-parse", "--short", "HEAD"])),
        ]))
    }

    /// Adds what became known later.
    pub fn learn(&mut self, name: &'static str, fact: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, fact));
    }

    /// What is known, each with its name.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, fact)| (*name, fact.as_str()))
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect()
    }
}

fn sync_latencies(bench: &Bench) -> Result<(String, String)> {
    let seconds = bench.scaled("2", "0.3");
    let mut command = Command::new(bench.program("fsyncbench"));
    command.arg("--dir").arg(bench.disk()).args(["--group", "1,256", "--seconds", seconds]);
    let output = String::from_utf8(command.output()?.stdout)?;
    let mut told = output.lines().map(|line| {
        let figures: Value = serde_json::from_str(line).unwrap_or_default();
        let millis = |name: &str| readable(figures["latency"][name].as_f64().unwrap_or(f64::NAN));
        format!("p50 {} ms, p99 {} ms", millis("p50_ms"), millis("p99_ms"))
    });
    let unknown = || "not measured".to_owned();
    Ok((told.next().unwrap_or_else(unknown), told.next().unwrap_or_else(unknown)))
}

fn after(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
}

fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_facts_by_their_names() {
        let text = "processor\t: 0\nmodel name\t: A: CPU\n";
        assert_eq!(after(text, "model name"), "A: CPU");
        assert_eq!(after(text, "flags"), "unknown");
    }
}
