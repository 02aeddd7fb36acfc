//! Ten streams that all get every event.

use super::pair::{Pace, Pair, Task};
use crate::engine::Bench;
use crate::engine::figures::Bound::{AtLeast, AtMost};
use crate::engine::table::{Line, Report};
use anyhow::Result;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let task = Task { streams: 10, ..Task::new("EdDSA", Pace::All(bench.scaled(10_000, 500))) };
    let pair = Pair::run(bench, task)?;
    let (floor, product) = pair.medians(|run| run.rate);
    let what = "Fan-out to 10 streams, deliveries";
    report.line(Line::ratio(what, (floor, "/s"), (product, "/s"), Some(AtLeast(0.4)), Some(AtLeast(0.6))));
    let (floor, product) = pair.medians(|run| run.metered.peak_pss_kib as f64 / 1024.0);
    let what = "Memory under load, 10 streams";
    let mut line = Line::figure(what, product, "MiB", Some(AtMost(64.0)), Some(AtMost(32.0)));
    line.floor = format!("{floor:.1} MiB");
    report.line(line);
    report.raw("fan-out", pair.to_json());
    Ok(report)
}
