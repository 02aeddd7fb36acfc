//! `cargo xtask sim`: builds the simulation in its own profile, and runs it.

use crate::tools::{cargo, succeed};
use anyhow::Result;
use clap::Args;

/// What the simulation is told: `--seed N`, `--runs N`, `--long`, `--mutations`.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Handed to the simulation as they are; without any, it runs 1 000 seeds.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let run = ["run", "--quiet", "--profile", "sim", "--package", "sim", "--"];
    succeed(cargo(&run)?.args(&options.arguments))
}
