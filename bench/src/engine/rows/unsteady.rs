//! A receiver that answers some pushes at random with 503 and no `Retry-After`, against one that never fails.

use super::pair::{Pace, Run, Task, run_product};
use crate::engine::Bench;
use crate::engine::figures::Bound::AtLeast;
use crate::engine::figures::median;
use crate::engine::meter::quietly;
use crate::engine::table::{Line, Report};
use anyhow::Result;
use serde_json::{Map, Value};

/// How many pushes in a hundred fail, and the share of the healthy rate that must be kept.
const FAILING: [(u64, f64); 3] = [(1, 0.9), (3, 0.7), (10, 0.5)];

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let count = bench.scaled(20_000, 2_000);
    let task = Task { warm_up: count / 4, ..Task::new("EdDSA", Pace::All(count)) };
    let percents: Vec<u64> = [0].into_iter().chain(FAILING.map(|(percent, _)| percent)).collect();
    let mut runs: Vec<Vec<Run>> = percents.iter().map(|_| Vec::new()).collect();
    for round in 1..=bench.rounds {
        for (percent, runs) in percents.iter().zip(&mut runs) {
            bench.tell(&format!("{percent} % fail: round {round} of {}", bench.rounds));
            let rule = format!("/;fail_pct={percent}");
            let others = |run: &Run| run.metered.others;
            runs.push(quietly(bench, "product", others, || run_product(bench, task, &[&rule]))?);
        }
    }
    let rates: Vec<f64> = runs
        .iter()
        .map(|runs| median(&runs.iter().map(|run| run.rate).collect::<Vec<_>>()).unwrap_or(f64::NAN))
        .collect();
    for ((percent, must), rate) in FAILING.iter().zip(&rates[1..]) {
        let what = format!("A receiver that fails {percent} % at random with 503: rate against healthy");
        let bound = Some(AtLeast(*must));
        report.line(Line::ratio(&what, (rates[0], "/s"), (*rate, "/s"), bound, None));
    }
    let raw: Map<String, Value> = percents
        .iter()
        .zip(&runs)
        .map(|(percent, runs)| (format!("{percent} %"), runs.iter().map(Run::to_json).collect()))
        .collect();
    report.raw("unsteady", raw.into());
    Ok(report)
}
