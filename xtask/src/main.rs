//! Every chore of the project, one file each. `cargo xtask --help` lists them.

mod bench;
mod ci;
mod crash;
mod fuzz;
mod mutants;
mod sim;
mod spec;
mod test;
mod tools;
mod wasm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Chores::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Spec(options) => spec::run(&options),
        Chore::Ci => ci::run(),
        Chore::Crash(options) => crash::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Sim(options) => sim::run(&options),
        Chore::Wasm => wasm::run(),
        Chore::Bench(options) => bench::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A test run speaks for itself: its counts stay the last line.
            if !error.is::<test::Failed>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The chores of the secevent workspace.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Chores {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run all tests, and end with one line that counts them.
    Test(test::Options),
    /// Compare specs/*.toml with the `// spec:` markers above the tests.
    Spec(spec::Options),
    /// What has to pass before a change goes in.
    Ci,
    /// Kill the real server at every step, cut its power, restore a backup; tell what was hit.
    Crash(crash::Options),
    /// Feed made-up bytes to each parser of foreign bytes.
    Fuzz(fuzz::Options),
    /// Change the files that decide who is sent what and when, and see whether a unit test notices.
    Mutants(mutants::Options),
    /// Run transmitter and receiver in a bad world that follows from a seed.
    Sim(sim::Options),
    /// Check that the vocabulary crate builds for browsers.
    Wasm,
    /// Build in release mode and run a yardstick.
    Bench(bench::Options),
}
