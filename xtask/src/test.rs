//! `cargo xtask test`: all tests of the workspace, counted in one last line.

use crate::crash;
use crate::tools::{Need, cargo, make_sure_of, printed, root, shown};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// How much to test.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Leave out the examples in the documentation and the running of examples/.
    #[arg(long)]
    quick: bool,
}

/// Something failed and has been reported already.
#[derive(Debug)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a test failed")
    }
}

impl std::error::Error for Failed {}

pub(crate) fn run(options: &Options) -> Result<()> {
    all(options)?.conclude()
}

/// Runs the tests and counts them, without the closing line.
pub(crate) fn all(options: &Options) -> Result<Counts> {
    println!("Checking for build tools");
    check_build_tools()?;
    start_services();

    let mut counts = Counts::default();
    println!("Running the tests of all crates, and building the examples");
    counts.add(&counted(&mut cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast"])?)?);
    println!("Running the crash tests");
    counts.add(&counted(&mut crash::tests()?)?);
    if options.quick {
        println!("Quick: the documentation's examples and examples/ are not run");
        return Ok(counts);
    }
    println!("Running the examples in the documentation");
    counts.add(&counted(&mut cargo(&["test", "--workspace", "--doc", "--no-fail-fast"])?)?);
    for example in examples()? {
        println!("Running the example {}", example.name);
        counts.add(&example.run()?);
    }
    Ok(counts)
}

/// What the tests need besides cargo. The OpenSSL headers count only while a test oracle links them.
pub(crate) fn check_build_tools() -> Result<()> {
    let lock = fs::read_to_string(root()?.join("Cargo.lock")).context("Cargo.lock")?;
    let mut needs = vec![Need::CCompiler, Need::Make];
    if lock.contains("name = \"openssl-sys\"") {
        needs.push(Need::OpenSsl);
    }
    make_sure_of(&needs)
}

/// The place to start what tests talk to, a database or a browser. Nothing needs any today.
fn start_services() {}

/// How many tests passed, failed and were passed over.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }

    /// Prints the counts as the last line.
    pub(crate) fn conclude(&self) -> Result<()> {
        println!("{self}");
        if self.failed == 0 { Ok(()) } else { Err(anyhow!(Failed)) }
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; any other line is nobody's count.
    fn of_line(line: &str) -> Option<Self> {
        let (_, result) = line.split_once("test result: ")?;
        let number = |name: &str| -> Option<u64> {
            let before = &result[..result.find(name)?];
            before.split_whitespace().next_back()?.parse().ok()
        };
        Some(Self { passed: number(" passed;")?, failed: number(" failed;")?, skipped: number(" ignored;")? })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

/// Runs a `cargo test`, shows what it prints and adds up what its binaries report. A run that fails without a
/// failed test did not build, or crashed, and counts as one failure.
fn counted(command: &mut Command) -> Result<Counts> {
    let name = shown(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {name}"))?;
    let output = child.stdout.take().expect("its standard output was asked for");
    let mut counts = Counts::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("reading from {name}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = Counts::of_line(&line) {
            counts.add(&more);
        }
    }
    let status = child.wait().with_context(|| format!("waiting for {name}"))?;
    if !status.success() && counts.failed == 0 {
        println!("{name} failed: {status}");
        counts.failed = 1;
    }
    Ok(counts)
}

/// One program in examples/. It takes no arguments and ends by itself.
#[derive(Debug)]
struct Example {
    package: String,
    name: String,
    features: Vec<String>,
}

impl Example {
    fn run(&self) -> Result<Counts> {
        let features = self.features.join(",");
        let mut command = cargo(&["run", "--quiet", "--package", &self.package, "--example", &self.name])?;
        command.args(["--features", &features]);
        let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        if output.status.success() {
            return Ok(Counts { passed: 1, ..Counts::default() });
        }
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{} failed: {}", shown(&command), output.status);
        Ok(Counts { failed: 1, ..Counts::default() })
    }
}

fn examples() -> Result<Vec<Example>> {
    let metadata = printed(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"])?)?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let mut examples = Vec::new();
    for package in metadata.packages {
        for target in package.targets {
            if target.kind.iter().any(|kind| kind == "example") {
                let features = target.required_features;
                examples.push(Example { package: package.name.clone(), name: target.name, features });
            }
        }
    }
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(examples)
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    required_features: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_counts_of_each_binary_and_nothing_else() {
        let counts = |passed, failed, skipped| Some(Counts { passed, failed, skipped });
        let cases = [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
                counts(3, 0, 1),
            ),
            (
                "test result: \u{1b}[31mFAILED\u{1b}[m. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
                counts(10, 2, 0),
            ),
            ("test result: unknown", None),
            ("test reads ... ok", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Counts::of_line(line), expected, "{line}");
        }
    }

    #[test]
    fn the_last_line_names_skipped_tests_only_where_there_are_any() {
        let mut counts = Counts { passed: 12, failed: 0, skipped: 0 };
        assert_eq!(counts.to_string(), "12 passed, 0 failed");
        counts.add(&Counts { passed: 1, failed: 1, skipped: 2 });
        assert_eq!(counts.to_string(), "13 passed, 1 failed, 2 skipped");
    }
}
