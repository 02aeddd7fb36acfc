//! One stream as fast as it goes: deliveries a second, CPU and bytes written for each.

use super::pair::{Pace, Pair, Task};
use crate::engine::Bench;
use crate::engine::figures::Bound::{AtLeast, AtMost};
use crate::engine::load::CLAIMS_BYTES;
use crate::engine::table::{Line, Report};
use anyhow::Result;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    // RSA signs so slowly that fewer events make as long a run.
    let algorithms = [
        ("EdDSA", bench.scaled(60_000, 3_000), 4.5, 2.3),
        ("ES256", bench.scaled(60_000, 3_000), 4.0, 2.3),
        ("RS256", bench.scaled(12_000, 1_000), 1.5, 1.2),
    ];
    for (algorithm, count, must, stretch) in algorithms {
        // A new store has a short log, and makes it longer as it goes. What that writes is no part of a steady run.
        let task = Task { warm_up: count, ..Task::new(algorithm, Pace::All(count)) };
        let pair = Pair::run(bench, task)?;
        let (floor, product) = pair.medians(|run| run.rate);
        let bounds =
            if algorithm == "EdDSA" { (Some(AtLeast(0.3)), Some(AtLeast(0.55))) } else { (None, None) };
        let what = format!("Throughput, 1 stream, {algorithm}");
        report.line(Line::ratio(&what, (floor, "/s"), (product, "/s"), bounds.0, bounds.1));
        let (floor, product) = pair.medians(super::pair::Run::cpu_per_1000);
        let what = format!("CPU per 1 000 deliveries, {algorithm}");
        let (floor, product) = ((floor * 1000.0, "ms"), (product * 1000.0, "ms"));
        report.line(Line::ratio(&what, floor, product, Some(AtMost(must)), Some(AtMost(stretch))));
        if algorithm == "EdDSA" {
            let (floor, product) = pair.medians(super::pair::Run::written_per_delivery);
            let mut line = Line::figure(
                "Bytes written per delivered event, checkpoints included",
                product / CLAIMS_BYTES as f64,
                "× claims",
                Some(AtMost(10.0)),
                Some(AtMost(4.0)),
            );
            line.floor = format!("{floor:.0} bytes");
            line.product = format!("{product:.0} bytes");
            report.line(line);
        }
        report.raw(algorithm, pair.to_json());
    }
    Ok(report)
}

/// All events are about one subject, so that each has to wait until the one before it is settled.
pub(super) fn measure_serial(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let task = Task { subjects: 1, ..Task::new("EdDSA", Pace::All(bench.scaled(5_000, 500))) };
    let pair = Pair::run(bench, task)?;
    let (floor, product) = pair.medians(|run| run.rate);
    report.line(Line::ratio(
        "Throughput, 1 stream, 1 subject: one after the other",
        (floor, "/s"),
        (product, "/s"),
        None,
        None,
    ));
    report.raw("serial", pair.to_json());
    Ok(report)
}
