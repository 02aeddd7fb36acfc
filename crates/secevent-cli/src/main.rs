//! The `secevent` command: the only place where a database, a network, a clock and a terminal are chosen.

mod clock;
mod set;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Security events: make, check, send and receive Security Event Tokens.
///
/// Exit codes, for every command: 0 done, or valid; 1 not valid, or failed; 2 misuse.
#[derive(Debug, Parser)]
#[command(name = "secevent", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make, sign, verify, decode and lint tokens; no server needed.
    #[command(subcommand)]
    Set(set::Command),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Set(command) => set::run(command),
    }
}
