//! `cargo xtask mutants`: changes one expression after another in the files that decide who is sent what and when, and
//! sees whether a unit test notices (cargo-mutants).
//!
//! A change that no test notices is a survivor. Each has to be killed by a test, or to stand in `xtask/mutants.toml` with
//! the reason why no test can tell it apart.

use crate::tools::{answers, cargo, root, succeed, target_dir};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// Which files.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Only files whose path contains this, such as lanes.rs; several, one after the other.
    files: Vec<String>,
}

/// The crates with the files that are changed, and why these: they are decisions on memory alone, which unit tests can
/// cover whole. Tests of the crate's own library are the only ones that run, since thousands of builds have to be
/// affordable.
const FILES: [(&str, &str); 12] = [
    ("secevent", "crates/secevent/src/subject/matching.rs"),
    ("secevent-store", "crates/secevent-store/src/lanes.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/ahead.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/outgoing.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/pace.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/retry.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/share.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/subjects.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/subjects/print.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/subjects/set.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/subjects/side.rs"),
    ("secevent-transmitter", "crates/secevent-transmitter/src/window.rs"),
];

pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |path: &str| {
        options.files.is_empty() || options.files.iter().any(|part| path.contains(part.as_str()))
    };
    let files: Vec<(&str, &str)> = FILES.into_iter().filter(|(_, path)| wanted(path)).collect();
    ensure!(!files.is_empty(), "none of the files whose mutants are tested is named like that");
    if !answers("cargo-mutants", &["--version"]) {
        println!("Missing: cargo-mutants. Installing it with cargo.");
        succeed(&mut cargo(&["install", "--locked", "cargo-mutants"])?)?;
    }
    let reasons = Reasons::read(&root()?.join("xtask/mutants.toml"))?;
    let mut failed = 0;
    for (package, path) in files {
        let survivors = survivors(package, path)?;
        let verdict = reasons.judge(path, &survivors);
        println!(
            "{path}: {} survive, {} of them without a reason, {} reasons are stale",
            survivors.len(),
            verdict.unexplained.len(),
            verdict.stale.len()
        );
        for mutant in &verdict.unexplained {
            println!("  no test notices: {mutant}");
        }
        for mutant in &verdict.stale {
            println!("  a test notices it now, take it out of xtask/mutants.toml: {mutant}");
        }
        failed += verdict.unexplained.len() + verdict.stale.len();
    }
    ensure!(failed == 0, "{failed} mutants have to be looked at");
    Ok(())
}

/// The changes of one file that no unit test of its crate notices.
fn survivors(package: &str, path: &str) -> Result<Vec<String>> {
    let output = target_dir()?.join("mutants").join(path.replace('/', "-"));
    fs::create_dir_all(&output).with_context(|| format!("making {}", output.display()))?;
    let mut mutants =
        cargo(&["mutants", "--jobs", "1", "--no-times", "--cap-lints=true", "--profile", "mutants"])?;
    mutants.args(["--package", package, "--file", path, "--cargo-test-arg=--lib"]);
    // The property tests take a few seconds, and a mutant may make them go on for ever.
    mutants.args(["--minimum-test-timeout", "60"]).arg("--output").arg(&output);
    let status = mutants.status().context("cannot start cargo-mutants")?;
    // 2: some survive, 3: some ran into the timeout, which is noticed too.
    ensure!(
        matches!(status.code(), Some(0 | 2 | 3)),
        "cargo-mutants failed on {path}: {status}; see {}",
        output.display()
    );
    let missed = output.join("mutants.out/missed.txt");
    let missed = fs::read_to_string(&missed).with_context(|| format!("reading {}", missed.display()))?;
    Ok(missed.lines().map(|line| without_position(line).to_owned()).collect())
}

/// What is changed, without the line and the column, which move.
fn without_position(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, change)| change)
}

/// `xtask/mutants.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasons {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

/// A change that no test can notice, or need not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    file: String,
    /// As cargo-mutants names it, without the position.
    mutant: String,
    reason: String,
}

/// What has to be looked at.
#[derive(Debug, PartialEq, Eq)]
struct Verdict<'a> {
    unexplained: Vec<&'a str>,
    stale: Vec<&'a str>,
}

impl Reasons {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let reasons: Self = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        for survivor in &reasons.survivor {
            let known = FILES.iter().any(|(_, path)| *path == survivor.file);
            ensure!(known, "{} is none of the files whose mutants are tested", survivor.file);
            ensure!(!survivor.reason.trim().is_empty(), "{} has no reason", survivor.mutant);
        }
        Ok(reasons)
    }

    fn judge<'a>(&'a self, path: &str, survivors: &'a [String]) -> Verdict<'a> {
        let explained: Vec<&str> = self
            .survivor
            .iter()
            .filter(|survivor| survivor.file == path)
            .map(|survivor| survivor.mutant.as_str())
            .collect();
        let unexplained = survivors.iter().map(String::as_str).filter(|mutant| !explained.contains(mutant));
        let stale = explained.iter().copied().filter(|mutant| !survivors.iter().any(|one| one == mutant));
        Verdict { unexplained: unexplained.collect(), stale: stale.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: D1
    #[test]
    fn every_survivor_has_a_reason_and_every_reason_a_survivor() {
        let survivor = |mutant: &str| Survivor {
            file: "a.rs".to_owned(),
            mutant: mutant.to_owned(),
            reason: "it is the same".to_owned(),
        };
        let reasons = Reasons { survivor: vec![survivor("replace + with -"), survivor("replace < with <=")] };
        let lines = ["a.rs:3:4: replace + with -", "a.rs:7:1: replace f -> bool with true"];
        let found = lines.map(|line| without_position(line).to_owned());
        let verdict = reasons.judge("a.rs", &found);
        assert_eq!(verdict.unexplained, ["replace f -> bool with true"]);
        assert_eq!(verdict.stale, ["replace < with <="]);
        let elsewhere = reasons.judge("b.rs", &found);
        assert_eq!((elsewhere.unexplained.len(), elsewhere.stale.len()), (2, 0));
    }

    #[test]
    fn the_files_are_there_and_the_reasons_can_be_read() {
        let root = root().unwrap();
        for (_, path) in FILES {
            assert!(root.join(path).is_file(), "{path}");
        }
        Reasons::read(&root.join("xtask/mutants.toml")).unwrap();
    }
}
