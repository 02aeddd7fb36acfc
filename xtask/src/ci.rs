//! `cargo xtask ci`: what has to pass before a change goes in.

use crate::tools::{answers, cargo, succeed};
use crate::{fuzz, sim, spec, test, wasm};
use anyhow::{Result, anyhow};
use std::time::Instant;

/// Every step runs, also after one has failed, so that one run tells all. The tests come last: their counts are
/// what a reader of the log's end wants to see.
pub(crate) fn run() -> Result<()> {
    let steps: [(&str, Step); 9] = [
        ("build tools", test::check_build_tools),
        ("formatting", formatting),
        ("clippy", clippy),
        ("requirements", || spec::run(&spec::Options::default())),
        ("documentation", documentation),
        ("browser build", wasm::run),
        ("dependencies", dependencies),
        ("fuzzing", || fuzz::run(&fuzz::Options::default())),
        ("simulation", || sim::run(&sim::Options::default())),
    ];
    let mut failed = Vec::new();
    for (title, step) in steps {
        println!("\n== {title}");
        let start = Instant::now();
        let result = step();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("-- {title}: ok, {seconds:.1} s"),
            Err(error) => {
                println!("{error:#}\n-- {title}: FAILED, {seconds:.1} s");
                failed.push(title);
            }
        }
    }

    println!("\n== tests");
    let start = Instant::now();
    let counts = test::all(&test::Options::default());
    println!("-- tests: {:.1} s", start.elapsed().as_secs_f64());
    if !failed.is_empty() {
        println!("FAILED before the tests: {}", failed.join(", "));
    }
    let tests = counts?.conclude();
    if failed.is_empty() { tests } else { tests.and(Err(anyhow!(test::Failed))) }
}

type Step = fn() -> Result<()>;

fn formatting() -> Result<()> {
    succeed(&mut cargo(&["fmt", "--all", "--", "--check", "-l"])?)?;
    succeed(&mut cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--", "--check"])?)
}

fn clippy() -> Result<()> {
    let features = ["--features", "secevent-cli/kill-points"];
    let mut clippy = cargo(&["clippy", "--quiet", "--workspace", "--all-targets"])?;
    succeed(clippy.args(features).args(["--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"])?;
    succeed(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}

fn dependencies() -> Result<()> {
    if !answers("cargo-deny", &["--version"]) {
        println!("SKIPPED: cargo-deny is not installed. To have it: cargo install --locked cargo-deny");
        return Ok(());
    }
    succeed(&mut cargo(&[
        "deny",
        "--workspace",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ])?)?;
    if succeed(&mut cargo(&["deny", "--workspace", "fetch", "db"])?).is_err() {
        println!("SKIPPED: advisories, their database is out of reach");
        return Ok(());
    }
    succeed(&mut cargo(&["deny", "--workspace", "check", "advisories"])?)
}
