//! What the product adds to a signature: tokens made and checked per second of one core, beside what the cryptography
//! library alone can do. `cargo xtask bench token` builds and runs it.
//!
//! A product path and its raw neighbour take turns, each for a few milliseconds, and a ratio compares neighbours only:
//! so a busy or a throttled machine disturbs both alike. What counts is the thread's own CPU time.

use anyhow::{Context, Result, ensure};
use bench::token::{ALGORITHMS, Bench, Path};
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use secevent_jose::Algorithm;
use serde_json::Value;
use std::process::Command;
use std::{env, fs, thread};

#[derive(Debug, Parser)]
struct Options {
    /// How often the paths take turns.
    #[arg(long, default_value_t = 41)]
    rounds: usize,
    /// How long a turn takes, in milliseconds of CPU time.
    #[arg(long, default_value_t = 10.0)]
    turn_ms: f64,
    /// Measure these algorithms only; several, by commas.
    #[arg(long, value_delimiter = ',')]
    algorithms: Vec<Algorithm>,
    /// Go one path only, for so many seconds, and print nothing: food for a profiler.
    #[arg(long, requires = "seconds")]
    only: Option<usize>,
    #[arg(long)]
    seconds: Option<f64>,
    /// Fail when a ratio is below what is asked for.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.algorithms.is_empty() {
        options.algorithms = ALGORITHMS.to_vec();
    }
    if let (Some(place), Some(seconds)) = (options.only, options.seconds) {
        let path = *Path::ALL.get(place).context("there is no such path")?;
        return go_on(&Bench::new(options.algorithms[0])?, path, seconds);
    }
    let allocations = allocations()?;
    let mut below = Vec::new();
    println!("{}", machine());
    for (place, &algorithm) in options.algorithms.iter().enumerate() {
        let bench = Bench::new(algorithm)?;
        if place == 0 {
            println!(
                "{} bytes of claims; tokens per second of one core, the median of {}",
                bench.claims_bytes(),
                options.rounds
            );
            println!(
                "\n{:<8} {:>6}  {:<16} {:>10} {:>9} {:>7} {:>6}  {:>6}",
                "", "bytes", "", "per second", "µs", "of raw", "must", "allocs"
            );
        }
        for (line, path) in measured(&bench, algorithm, &options)?.into_iter().zip(Path::ALL) {
            let (name, bytes) = match path {
                Path::RawSign => (algorithm.as_str(), bench.token_bytes().to_string()),
                _ => ("", String::new()),
            };
            let count = &allocations[algorithm.as_str()][path as usize];
            println!("{name:<8} {bytes:>6}  {line}  {count:>6}");
            if line.is_below() {
                below.push(format!("{algorithm} {}", title(path)));
            }
        }
    }
    println!("\nAllocations are Rust's; those of the cryptography library in C are not counted.");
    if below.is_empty() {
        println!("Every ratio is as high as asked for.");
        return Ok(());
    }
    println!("Below what is asked for: {}.", below.join(", "));
    ensure!(!options.check, "{} of the ratios are too low", below.len());
    Ok(())
}

/// One row of the table.
struct Line {
    path: Path,
    seconds: f64,
    /// Of the raw rate, the median over the rounds.
    ratio: f64,
    must: Option<f64>,
}

impl Line {
    fn is_below(&self) -> bool {
        self.must.is_some_and(|must| self.ratio < must)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let must = self.must.map_or(String::new(), |must| format!("{must:.2}"));
        let (name, rate, micros) = (title(self.path), 1.0 / self.seconds, self.seconds * 1e6);
        write!(f, "{name:<16} {rate:>10.0} {micros:>9.2} {:>7.3} {must:>6}", self.ratio)
    }
}

fn measured(bench: &Bench, algorithm: Algorithm, options: &Options) -> Result<Vec<Line>> {
    let mut turns = Vec::new();
    for path in Path::ALL {
        turns.push(count_for(bench, path, options.turn_ms / 1e3)?);
    }
    let mut lines = Vec::new();
    for (raw, ours) in [(0, &[1, 2][..]), (3, &[4])] {
        let mut times = vec![Vec::new(); Path::ALL.len()];
        for _ in 0..options.rounds {
            for place in std::iter::once(raw).chain(ours.iter().copied()) {
                times[place].push(turn(bench, Path::ALL[place], turns[place])?);
            }
        }
        for place in std::iter::once(raw).chain(ours.iter().copied()) {
            let ratios = times[raw].iter().zip(&times[place]).map(|(raw, ours)| raw / ours).collect();
            let path = Path::ALL[place];
            let (seconds, ratio) = (median(times[place].clone()), median(ratios));
            lines.push(Line { path, seconds, ratio, must: must(path, algorithm) });
        }
    }
    Ok(lines)
}

/// What is asked for: the share of the raw rate that must be left.
fn must(path: Path, algorithm: Algorithm) -> Option<f64> {
    match (path, algorithm) {
        (Path::RenderAndSign, Algorithm::Rs256 | Algorithm::Ps256) => Some(0.95),
        (Path::RenderAndSign | Path::VerifyAndParse, _) => Some(0.85),
        _ => None,
    }
}

fn title(path: Path) -> &'static str {
    match path {
        Path::RawSign => "raw sign",
        Path::RenderAndSign => "render + sign",
        Path::ProveAndSign => "prove + sign",
        Path::RawVerify => "raw verify",
        Path::VerifyAndParse => "verify + parse",
    }
}

/// How many tokens fill a turn.
fn count_for(bench: &Bench, path: Path, seconds: f64) -> Result<u32> {
    let mut count = 1;
    while turn(bench, path, count)? * f64::from(count) < seconds && count < 1 << 20 {
        count *= 2;
    }
    Ok(count)
}

/// Seconds for each token of a turn.
fn turn(bench: &Bench, path: Path, count: u32) -> Result<f64> {
    let start = cpu_seconds();
    for _ in 0..count {
        bench.run(path)?;
    }
    Ok((cpu_seconds() - start) / f64::from(count))
}

fn go_on(bench: &Bench, path: Path, seconds: f64) -> Result<()> {
    let start = cpu_seconds();
    while cpu_seconds() - start < seconds {
        turn(bench, path, 100)?;
    }
    Ok(())
}

/// The CPU time that this thread has had.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the program beside this one counts.
fn allocations() -> Result<Value> {
    let counter = env::current_exe()?.with_file_name("token-allocations");
    let output =
        Command::new(&counter).output().with_context(|| format!("cannot start {}", counter.display()))?;
    ensure!(
        output.status.success(),
        "{} failed: {}",
        counter.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{model}, {cores} cores, load {}", load.split(' ').next().unwrap_or("unknown"))
}
