//! `cargo xtask sim`: runs seeds of the simulation, and shows what broke.

use clap::Parser;
use sim::{Mutation, Tally, run, try_seeds};
use std::process::ExitCode;

/// Which runs.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask sim")]
struct Options {
    /// The first seed. Alone, it is run with its whole trace printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, counted up from the first [default: 1000].
    #[arg(long)]
    runs: Option<u64>,
    /// Run 20 000 seeds.
    #[arg(long, conflicts_with = "runs")]
    long: bool,
    /// Put each deliberate fault in, and see that it is noticed.
    #[arg(long)]
    mutations: bool,
    /// Put this deliberate fault in.
    #[arg(long)]
    mutation: Option<Mutation>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.mutations {
        return try_mutations();
    }
    match (options.seed, options.runs, options.long) {
        (Some(seed), None, false) => replay(seed, options.mutation),
        (seed, runs, long) => {
            let runs = if long { RUNS_LONG } else { runs.unwrap_or(RUNS_SHORT) };
            try_many(seed.unwrap_or(1), runs, options.mutation)
        }
    }
}

const RUNS_SHORT: u64 = 1_000;
const RUNS_LONG: u64 = 20_000;
/// How many lines of a broken run are shown.
const LINES_SHOWN: usize = 40;

fn replay(seed: u64, mutation: Option<Mutation>) -> ExitCode {
    let report = run(seed, mutation);
    for line in &report.trace {
        println!("{line}");
    }
    println!(
        "seed {seed}: {} events, {} deliveries, {} lines, digest {:016x}",
        report.events,
        report.deliveries,
        report.trace.len(),
        report.digest
    );
    match &report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("BROKEN: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn try_many(first: u64, runs: u64, mutation: Option<Mutation>) -> ExitCode {
    let Tally { seeds, events, deliveries, lines, broken, stuck } = try_seeds(first, runs, mutation);
    println!("{seeds} seeds from {first}: {events} events, {deliveries} deliveries, {lines} lines of trace");
    if let Some(report) = &broken {
        let from = report.trace.len().saturating_sub(LINES_SHOWN);
        for line in &report.trace[from..] {
            println!("{line}");
        }
        if let Some(violation) = &report.violation {
            println!("BROKEN in seed {}: {violation}", report.seed);
        }
        println!("reproduce: cargo xtask sim --seed {}", report.seed);
    }
    for seed in &stuck {
        println!("STUCK in seed {seed}: it does not come to an end");
    }
    if broken.is_none() && stuck.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_mutations() -> ExitCode {
    let mut all_caught = true;
    for mutation in Mutation::ALL {
        match sim::catch(mutation, RUNS_SHORT) {
            Ok(report) => {
                let violation = report.violation.map(|violation| violation.to_string()).unwrap_or_default();
                println!("{mutation}: caught by seed {}: {violation}", report.seed);
            }
            Err(reason) => {
                all_caught = false;
                println!("{mutation}: NOT CAUGHT: {reason}");
            }
        }
    }
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
