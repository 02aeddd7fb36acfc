//! How fast the product is: the shipped `secevent serve` beside the floor, every row of what is promised of the embedded
//! store. `cargo xtask bench engine` builds and runs it.

use anyhow::{Context, Result, ensure};
use bench::engine::Bench;
use bench::engine::machine::Machine;
use bench::engine::rows::Row;
use bench::engine::table::{FAILED, Line, Report, Reports};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Parser)]
struct Options {
    /// Measure these rows only; several, by commas.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Row>,
    /// A few seconds for each row, to see that it works. The figures mean little.
    #[arg(long)]
    quick: bool,
    /// How often floor and product take turns. Default: 3, or 1 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// How often a run is repeated in which others took more than a third of the machine. Default: 2, or 0 with --quick.
    #[arg(long)]
    repeats: Option<u16>,
    /// Where the programs lie that are started. Default: beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Where stores and logs are written; it has to be on a disk. Default: beside the programs.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write all figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the page of the book to this file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Fail when a must is missed.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let rounds = options.rounds.map_or(if options.quick { 1 } else { 3 }, usize::from);
    let repeats = options.repeats.map_or(if options.quick { 0 } else { 2 }, usize::from);
    let (programs, folder) = (options.programs.as_deref(), options.folder.as_deref());
    let bench = Bench::new(programs, folder, options.quick, rounds, repeats)?;
    bench::engine::child::end_in_order(bench.disk().to_owned())?;
    for name in ["secevent", "floor", "sink", "loadgen", "poller", "fsyncbench", "receive"] {
        let program = bench.program(name);
        ensure!(program.exists(), "{} is not built: run `cargo xtask bench engine`", program.display());
    }
    let machine = Machine::look(&bench)?;
    for (name, fact) in machine.facts() {
        println!("{name}: {fact}");
    }
    let mut reports = Reports::new(machine, options.quick);
    let rows = if options.rows.is_empty() { Row::value_variants().to_vec() } else { options.rows.clone() };
    for row in rows {
        let value = row.to_possible_value();
        let name = value.as_ref().map_or("row", |value| value.get_name());
        println!("\n{name}");
        // What has been measured is not lost because one row fails.
        let report = row.measure(&bench).unwrap_or_else(|error| Report {
            lines: vec![Line::not_measured(name, &format!("{FAILED}{error:#}"))],
            raw: Vec::new(),
        });
        reports.add(name, report, bench.told_of_others());
        write(&options, &reports)?;
    }
    println!("\n{}", reports.table());
    let (missed, failed) = (reports.missed(), reports.failed());
    println!("{missed} musts are missed, {failed} rows could not be measured.");
    ensure!(!options.check || missed + failed == 0, "not everything is as it has to be");
    Ok(())
}

fn write(options: &Options, reports: &Reports) -> Result<()> {
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&reports.to_json())?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, reports.to_markdown())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
