//! 200 events a second: far below what either can do, so that what is measured is the way and not the queue.

use super::pair::{Pace, Pair, Task, millis};
use crate::engine::Bench;
use crate::engine::figures::Bound::AtMost;
use crate::engine::table::{Line, Report};
use anyhow::Result;

pub(super) const RATE: f64 = 200.0;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let pair = Pair::run(bench, Task::new("EdDSA", Pace::Steady(RATE, bench.scaled(20.0, 3.0))))?;
    let mut line = |what: &str, (floor, product): (f64, f64), must: f64, stretch: f64| {
        let bounds = (Some(AtMost(must)), Some(AtMost(stretch)));
        report.line(Line::ratio(what, (floor, "ms"), (product, "ms"), bounds.0, bounds.1));
    };
    line("200 events/s: accept, p50", pair.medians(|run| millis(&run.accept, "p50_ms")), 1.5, 1.25);
    line("200 events/s: end to end, p50", pair.medians(|run| millis(&run.end_to_end, "p50_ms")), 1.6, 1.25);
    line("200 events/s: end to end, p99", pair.medians(|run| millis(&run.end_to_end, "p99_ms")), 2.0, 1.5);
    report.raw("latency", pair.to_json());
    Ok(report)
}
