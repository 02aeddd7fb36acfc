//! `cargo xtask crash`: the real server is killed, loses its power, is restored; and keeps its promises.

use crate::tools::{cargo, succeed};
use anyhow::Result;
use clap::Args;
use std::process::Command;

/// How much of it.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Every kill point fifteen times, and a power cut after every sync; without it, the share of every day.
    #[arg(long)]
    long: bool,
    /// What the crashes follow from. A failure prints its own.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One kill point alone, such as commit; or power, or restore, or subjects.
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut tests = tests()?;
    tests.env("SECEVENT_CRASH_SEED", options.seed.to_string());
    if options.long {
        tests.env("SECEVENT_CRASH_LONG", "1");
    }
    if let Some(point) = &options.point {
        tests.env("SECEVENT_CRASH_POINT", point);
    }
    // Their reports are what one wants to see; one after the other, so that they can be read.
    succeed(tests.args(["--", "--nocapture", "--test-threads=1"]))
}

/// The crash tests, as `cargo xtask test` runs them: with a program that ends itself where it is told to.
pub(crate) fn tests() -> Result<Command> {
    // With the whole workspace, everything below is built with the features that the other tests build it with.
    cargo(&["test", "--workspace", "--features", "secevent-cli/kill-points", "--test", "crash"])
}
