//! Ten thousand streams, of which ten get events: what the others cost.

use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::Bound::AtMost;
use crate::engine::load::{self, SESSION_PRESENTED, SESSION_REVOKED, Sink};
use crate::engine::meter::{Meter, Metered, quietly};
use crate::engine::product::{Product, Setup};
use crate::engine::table::{Line, Report};
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

const ACTIVE: u64 = 10;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let idle_streams: u64 = bench.scaled(9_990, 490);
    let (sink, unused) = (Sink::start(bench, &[])?, Sink::start(bench, &[])?);
    let setup = Setup { receivers: vec![sink.port(), unused.port()], ..Setup::new(0) };
    let mut product = Product::start(bench, &setup.delivery("streams_per_client_max = 20000"))?;
    for stream in 0..ACTIVE {
        product.create_push_stream(&sink.url(&format!("/{stream}")), SESSION_REVOKED)?;
    }
    sink.wait_for_accepted(ACTIVE)?;

    bench.tell("10 streams");
    let idle_before = restarted_and_idle(bench, &mut product)?;
    let busy_before =
        quietly(bench, "product", |metered: &Metered| metered.others, || busy(bench, &product, &sink))?;
    let live_before = product.usage()?.pss_kib;

    bench.tell(&format!("{idle_streams} more streams"));
    let created = product.create_push_streams(bench, &unused.url("/"), SESSION_PRESENTED, idle_streams)?;
    unused.wait_for_accepted(idle_streams)?;
    clock::sleep(Duration::from_secs(1));
    let live_after = product.usage()?.pss_kib;
    let idle_after = restarted_and_idle(bench, &mut product)?;
    let busy_after =
        quietly(bench, "product", |metered: &Metered| metered.others, || busy(bench, &product, &sink))?;

    let events = events(bench) as f64;
    let per_event = |metered: &Metered| metered.cpu_seconds / events * 1e6;
    let (before, after) = (per_event(&busy_before), per_event(&busy_after));
    let what = format!("{ACTIVE} → {} streams: CPU per event to {ACTIVE} of them", ACTIVE + idle_streams);
    report.line(Line::ratio(&what, (before, "µs"), (after, "µs"), Some(AtMost(1.3)), Some(AtMost(1.1))));
    let kib = |before: u64, after: u64| after.saturating_sub(before) as f64 / idle_streams as f64;
    let fresh = kib(idle_before.peak_pss_kib, idle_after.peak_pss_kib);
    report.line(Line::figure("Memory per idle stream", fresh, "KiB", Some(AtMost(4.0)), Some(AtMost(2.0))));
    let live = kib(live_before, live_after);
    report.line(Line::figure("Memory per idle stream, right after they were made", live, "KiB", None, None));
    let idle_cpu = |metered: &Metered| metered.cpu_seconds / metered.wall_seconds * 100.0;
    let mut line =
        Line::figure("CPU while idle, of one core", idle_cpu(&idle_after), "%", Some(AtMost(1.0)), None);
    line.floor = format!("{:.2} %", idle_cpu(&idle_before));
    report.line(line);
    report.raw("creation", json!({ "per_s": created["ok_per_s"], "latency": created["latency"] }));
    for (name, metered) in [
        ("idle, few", idle_before),
        ("idle, many", idle_after),
        ("busy, few", busy_before),
        ("busy, many", busy_after),
    ] {
        report.raw(name, metered.to_json());
    }
    Ok(report)
}

fn events(bench: &Bench) -> u64 {
    bench.scaled(8_000, 300)
}

/// What a process uses that has just started and has nothing to do.
fn restarted_and_idle(bench: &Bench, product: &mut Product) -> Result<Metered> {
    product.stop()?;
    product.start_again(bench)?;
    clock::sleep(Duration::from_secs(3));
    let meter = Meter::start(bench, product.id()?);
    clock::sleep(Duration::from_secs_f64(bench.scaled(20.0, 2.0)));
    Ok(meter.stop())
}

fn busy(bench: &Bench, product: &Product, sink: &Sink) -> Result<Metered> {
    sink.reset()?;
    let meter = Meter::start(bench, product.id()?);
    product.load(load::event(SESSION_REVOKED))?.count(events(bench)).run_all_accepted(bench)?;
    sink.wait_for_distinct(events(bench) * ACTIVE)?;
    clock::sleep(Duration::from_millis(100));
    Ok(meter.stop())
}
