//! How long it takes to stop, with nothing to do and in the middle of work; and that nothing is lost.

use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::Bound::AtMost;
use crate::engine::figures::median;
use crate::engine::load::{self, Load, SESSION_REVOKED, Sent, Sink};
use crate::engine::product::{Product, Setup};
use crate::engine::table::{Line, Report};
use anyhow::{Result, ensure};
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;

/// How long a push may take by default, and so the longest that a stop may take.
const REQUEST_TIMEOUT_SECONDS: f64 = 10.0;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let mut idle = Vec::new();
    for _ in 0..bench.scaled(5, 2) {
        let sink = Sink::start(bench, &[])?;
        let mut product = Product::start(bench, &Setup::new(sink.port()))?;
        product.create_push_stream(&sink.url("/"), SESSION_REVOKED)?;
        sink.wait_for_accepted(1)?;
        let (time, status) = product.stop()?;
        ensure!(status.success(), "it ends with {status}");
        idle.push(time.as_secs_f64());
    }
    let Loaded { seconds: loaded, accepted, lost, duplicates } = under_load(bench)?;
    let time = median(&idle).unwrap_or(f64::NAN);
    report.line(Line::figure("Stop, idle", time, "s", Some(AtMost(1.0)), Some(AtMost(0.2))));
    let must = Some(AtMost(REQUEST_TIMEOUT_SECONDS));
    report.line(Line::figure("Stop, under load", loaded, "s", must, None));
    let what = "Events lost by a stop under load";
    report.line(Line::figure(what, lost as f64, "", Some(AtMost(0.0)), None));
    report.raw(
        "stop",
        json!({ "idle_s": idle, "loaded_s": loaded, "accepted": accepted, "lost": lost, "dups": duplicates }),
    );
    Ok(report)
}

struct Loaded {
    /// How long the stop took.
    seconds: f64,
    accepted: usize,
    /// Accepted events that never came.
    lost: usize,
    /// Deliveries beyond the first.
    duplicates: usize,
}

/// Stops it while events come as fast as they are taken, to a receiver that takes its time, and starts it again.
fn under_load(bench: &Bench) -> Result<Loaded> {
    let sink = Sink::start_logging(bench, bench.free_port()?, &["/;delay_ms=20;jitter_ms=60"])?;
    let mut product = Product::start(bench, &Setup::new(sink.port()))?;
    product.create_push_stream(&sink.url("/"), SESSION_REVOKED)?;
    sink.wait_for_accepted(1)?;
    let folder = bench.new_folder()?;
    let log = folder.path().join("accepted.log");
    let seconds = bench.scaled(6.0, 2.0);
    // The subjects come equally often: one that came with every tenth event would take minutes, one after the other.
    let load = product.load(load::event(SESSION_REVOKED))?;
    let load = Load { seconds, zipf: false, log: Some(log.clone()), ..load };
    let loading = load.start(bench)?;
    clock::sleep(Duration::from_secs_f64(seconds / 2.0));
    let (time, status) = product.stop()?;
    ensure!(status.success(), "it ends with {status}");
    // From here on nothing is accepted; what was not answered with 202 was not promised.
    loading.output()?;
    let accepted: HashSet<u64> =
        Sent::read(&log)?.iter().filter(|sent| sent.is_accepted()).map(|sent| sent.sequence).collect();
    product.start_again(bench)?;
    sink.wait_for_distinct(accepted.len() as u64)?;
    // Events come too whose 202 was cut off: all that are still owed may come.
    clock::sleep(Duration::from_secs(2));
    let came: Vec<u64> = sink.log()?.iter().filter_map(|seen| seen.sequence).collect();
    let distinct: HashSet<u64> = came.iter().copied().collect();
    Ok(Loaded {
        seconds: time.as_secs_f64(),
        accepted: accepted.len(),
        lost: accepted.difference(&distinct).count(),
        duplicates: came.len() - distinct.len(),
    })
}
