//! `cargo xtask fuzz`: feeds made-up bytes to each parser of foreign bytes, on the stable compiler.
//!
//! The usual tool for this wants a nightly compiler, for the sanitizers. Coverage is all that safe code needs to be
//! led into its corners, and the stable compiler can be asked for that with plain code generation options.

use crate::tools::{Need, cargo, make_sure_of, printed, root, succeed, target_dir};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What to fuzz, and for how long.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// One target of fuzz/targets; without it all of them.
    target: Option<String>,
    /// Inputs to try in each target [default: 100000].
    #[arg(long)]
    runs: Option<u64>,
    /// Try 5 million inputs, and go on from what earlier long runs found.
    #[arg(long, conflicts_with = "runs")]
    long: bool,
}

impl Options {
    fn runs(&self) -> u64 {
        if self.long { RUNS_LONG } else { self.runs.unwrap_or(RUNS_SHORT) }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    make_sure_of(&[Need::CxxCompiler])?;
    let mut targets = targets()?;
    ensure!(targets.iter().any(|target| target == CANARY), "fuzz/Cargo.toml has no target `{CANARY}`");
    targets.retain(|target| target != CANARY);
    if let Some(wanted) = &options.target {
        targets.retain(|target| target == wanted);
        ensure!(!targets.is_empty() || wanted == CANARY, "there is no fuzz target `{wanted}`");
    }
    let fuzzer = Fuzzer::build()?;
    fuzzer.hear_the_canary()?;
    let mut failed = Vec::new();
    for target in targets {
        if !fuzzer.try_hard(&target, options.runs(), options.long)? {
            failed.push(target);
        }
    }
    ensure!(failed.is_empty(), "fuzzing found failures in: {}", failed.join(", "));
    Ok(())
}

/// The built targets.
#[derive(Debug)]
struct Fuzzer {
    binaries: PathBuf,
    /// Inputs worth keeping, one folder for each target.
    corpus: PathBuf,
    /// Inputs that made a target fail.
    artifacts: PathBuf,
}

impl Fuzzer {
    fn build() -> Result<Self> {
        let host = host()?;
        let folder = target_dir()?.join("fuzz");
        // With `--target`, the flags go to what runs on the target alone and leave build scripts as they are.
        let mut build = cargo(&[
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target",
        ])?;
        build.arg(&host).arg("--target-dir").arg(&folder);
        succeed(build.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", FLAGS.join(" ")))?;
        let fuzzer = Self {
            binaries: folder.join(host).join("release"),
            corpus: folder.join("corpus"),
            artifacts: folder.join("artifacts"),
        };
        fs::create_dir_all(&fuzzer.artifacts)
            .with_context(|| format!("making {}", fuzzer.artifacts.display()))?;
        Ok(fuzzer)
    }

    /// A fuzzer that finds nothing may be blind. This target fails on one input, which only a seeing one finds.
    fn hear_the_canary(&self) -> Result<()> {
        let output = self.fuzz(CANARY, RUNS_CANARY, false)?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || !text.contains(CANARY_SINGS) {
            print!("{text}");
            bail!(
                "the canary did not fail in {RUNS_CANARY} runs: this fuzzer is blind, its other results mean nothing"
            );
        }
        println!("{CANARY}: failed, as it must");
        Ok(())
    }

    /// Whether a target bore all inputs.
    fn try_hard(&self, target: &str, runs: u64, keep_corpus: bool) -> Result<bool> {
        let output = self.fuzz(target, runs, keep_corpus)?;
        if output.status.success() {
            println!("{target}: {runs} runs, no failure");
            return Ok(true);
        }
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{target}: FAILED, the input is in {}", self.artifacts.display());
        println!("reproduce: {} INPUT", self.binaries.join(target).display());
        Ok(false)
    }

    fn fuzz(&self, target: &str, runs: u64, keep_corpus: bool) -> Result<Output> {
        let corpus = self.corpus.join(target);
        if !keep_corpus && corpus.exists() {
            fs::remove_dir_all(&corpus).with_context(|| format!("emptying {}", corpus.display()))?;
        }
        fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        let mut prefix = OsString::from("-artifact_prefix=");
        prefix.push(self.artifacts.join(format!("{target}-")));
        let mut command = Command::new(self.binaries.join(target));
        command
            .arg(format!("-runs={runs}"))
            .arg(format!("-seed={SEED}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(prefix)
            .arg(&corpus)
            .stdin(Stdio::null());
        // Inputs that are worth starting from are committed; the first folder alone is written to.
        let seeds = root()?.join("fuzz/seeds").join(target);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        command.output().with_context(|| format!("cannot start the fuzz target {target}"))
    }
}

/// The targets, as fuzz/Cargo.toml names them.
fn targets() -> Result<Vec<String>> {
    let manifest = fs::read_to_string(root()?.join("fuzz/Cargo.toml")).context("fuzz/Cargo.toml")?;
    let manifest: Manifest = toml::from_str(&manifest).context("fuzz/Cargo.toml")?;
    Ok(manifest.bin.into_iter().map(|binary| binary.name).collect())
}

#[derive(Debug, Deserialize)]
struct Manifest {
    bin: Vec<Binary>,
}

#[derive(Debug, Deserialize)]
struct Binary {
    name: String,
}

/// The platform this compiler builds for when it is not told.
fn host() -> Result<String> {
    let version = printed(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

const CANARY: &str = "canary";
const CANARY_SINGS: &str = "the canary sings";

/// The same inputs in each run of one build, so that a failure in CI fails again at home.
const SEED: u32 = 1;
const RUNS_SHORT: u64 = 100_000;
const RUNS_LONG: u64 = 5_000_000;
/// The canary's five bytes were found within 150 000 runs for each seed tried.
const RUNS_CANARY: u64 = 2_000_000;
const INPUT_BYTES_MAX: u32 = 4_096;
const INPUT_SECONDS_MAX: u32 = 10;
/// Whatever a stranger sends in four kilobytes, parsing it takes less memory than this.
const MEMORY_MIB_MAX: u32 = 512;

const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];
