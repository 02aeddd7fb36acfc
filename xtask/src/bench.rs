//! `cargo xtask bench`: builds the yardsticks and the product in release mode and runs one of the benches.

use crate::tools::{cargo, succeed};
use anyhow::Result;
use clap::{Args, ValueEnum};

/// Which bench, and what it is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    bench: Bench,
    /// Handed to the bench as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bench {
    /// Signing and checking tokens, on one thread.
    Token,
    /// The server beside the floor: throughput, latency, memory and all else that is promised of it.
    Engine,
    /// The server under attack by peers without credentials, beside honest clients.
    Strangers,
}

impl Bench {
    fn binary(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Engine => "engine",
            Self::Strangers => "strangers",
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    succeed(&mut cargo(&["build", "--release", "--package", "bench", "--package", "secevent-cli"])?)?;
    let run = ["run", "--quiet", "--release", "--package", "bench", "--bin", options.bench.binary(), "--"];
    succeed(cargo(&run)?.args(&options.arguments))
}
