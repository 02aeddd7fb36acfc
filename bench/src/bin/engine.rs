//! How fast the product is: the shipped `secevent serve` beside the floor, every row of what is promised of the embedded
//! store. `cargo xtask bench engine` builds and runs it.

use anyhow::{Context, Result, ensure};
use bench::engine::Bench;
use bench::engine::against::{self, Change};
use bench::engine::machine::Machine;
use bench::engine::rows::Row;
use bench::engine::table::{FAILED, Line, Report, Reports};
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};

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
    /// Fail when a must is missed, or with --against when a row got worse by more than 5 %.
    #[arg(long)]
    check: bool,
    /// Measure this other build of `secevent` as well, in turns with the one that was just built, and print how each
    /// figure changed. The musts are not judged then.
    #[arg(long, value_name = "BINARY", conflicts_with = "markdown")]
    against: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let rounds = options.rounds.map_or(if options.quick { 1 } else { 3 }, usize::from);
    let repeats = options.repeats.map_or(if options.quick { 0 } else { 2 }, usize::from);
    let (programs, folder) = (options.programs.as_deref(), options.folder.as_deref());
    // With another build beside it, each turn is a row of its own.
    let rounds_in_row = if options.against.is_some() { 1 } else { rounds };
    let mut bench = Bench::new(programs, folder, options.quick, rounds_in_row, repeats)?;
    bench::engine::child::end_in_order(bench.disk().to_owned())?;
    for name in ["secevent", "floor", "sink", "loadgen", "poller", "fsyncbench", "receive"] {
        let program = bench.program(name);
        ensure!(program.exists(), "{} is not built: run `cargo xtask bench engine`", program.display());
    }
    let machine = Machine::look(&bench)?;
    for (name, fact) in machine.facts() {
        println!("{name}: {fact}");
    }
    let rows = if options.rows.is_empty() { Row::value_variants().to_vec() } else { options.rows.clone() };
    if let Some(before) = &options.against {
        return compare(&mut bench, &options, &rows, before, rounds);
    }
    let mut reports = Reports::new(machine, options.quick);
    for row in rows {
        let name = name_of(row);
        println!("\n{name}");
        // What has been measured is not lost because one row fails.
        let report = row.measure(&bench).unwrap_or_else(|error| Report {
            lines: vec![Line::not_measured(&name, &format!("{FAILED}{error:#}"))],
            raw: Vec::new(),
        });
        reports.add(&name, report, bench.told_of_others());
        write(&options, &reports)?;
    }
    println!("\n{}", reports.table());
    let (missed, failed) = (reports.missed(), reports.failed());
    println!("{missed} musts are missed, {failed} rows could not be measured.");
    ensure!(!options.check || missed + failed == 0, "not everything is as it has to be");
    Ok(())
}

fn name_of(row: Row) -> String {
    row.to_possible_value().map_or_else(|| "row".to_owned(), |value| value.get_name().to_owned())
}

/// Measures this build and the one before in turns.
fn compare(bench: &mut Bench, options: &Options, rows: &[Row], before: &Path, rounds: usize) -> Result<()> {
    ensure!(before.is_file(), "--against: there is no file {}", before.display());
    let (mut changes, mut failed) = (Vec::new(), 0);
    for row in rows {
        println!("\n{}", name_of(*row));
        match against::measure(bench, *row, before, rounds) {
            Ok(row) => {
                for change in &row {
                    println!("{}", change.to_text());
                }
                changes.extend(row);
            }
            Err(error) => {
                println!("{FAILED}{error:#}");
                failed += 1;
            }
        }
        if let Some(path) = &options.json {
            let all: Vec<_> = changes.iter().map(Change::to_json).collect();
            std::fs::write(path, serde_json::to_string_pretty(&all)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let worse: Vec<&Change> = changes.iter().filter(|change| change.is_worse()).collect();
    println!(
        "\n{} figures compared, {} worse, {failed} rows could not be measured.",
        changes.len(),
        worse.len()
    );
    for change in &worse {
        println!("{}", change.to_text());
    }
    if let Some(others) = bench.told_of_others() {
        println!("Taken by other programs meanwhile: {others}");
    }
    ensure!(!options.check || worse.is_empty() && failed == 0, "this build is slower than the one before");
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
