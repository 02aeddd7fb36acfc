//! A million deliveries wait while the stream is paused; the server is killed with them, starts again and sends them.

use super::pair::millis;
use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::Bound::{AtLeast, AtMost};
use crate::engine::load::{self, SESSION_REVOKED, Sink};
use crate::engine::meter::Meter;
use crate::engine::product::{Product, Setup, Stream};
use crate::engine::table::{Line, Report};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Events in each request that fills the store.
const LINES: u64 = 500;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let few: u64 = bench.scaled(30_000, 1_500);
    let many: u64 = bench.scaled(1_000_000, 20_000);
    let sink = Sink::start(bench, &[])?;
    let setup = Setup::new(sink.port()).delivery("history_seconds = 1");
    let mut product = Product::start(bench, &setup)?;
    let stream = product.create_push_stream(&sink.url("/"), SESSION_REVOKED)?;
    sink.wait_for_accepted(1)?;

    // Without a backlog: what is accepted while the stream is paused, and how fast that little goes out then.
    bench.tell("few are pending");
    product.set_status(&stream, "paused")?;
    let few_meter = Meter::start(bench, product.id()?);
    let accepted_few = accept(bench, &product, 0, few)?;
    let drained_few = drain(&product, &stream, &sink, few)?;
    let few_used = few_meter.stop();

    bench.tell(&format!("{many} are pending"));
    product.set_status(&stream, "paused")?;
    let many_meter = Meter::start(bench, product.id()?);
    let filled = Instant::now();
    // All together are as many as a stream may be owed by default.
    let in_bulk = many - few;
    let load = product.load(load::event(SESSION_REVOKED))?.lines(LINES).count(in_bulk / LINES);
    load::Load { connections: 4, ..load }.run_all_accepted(bench)?;
    let fill_per_s = in_bulk as f64 / filled.elapsed().as_secs_f64();
    let accepted_many = accept(bench, &product, in_bulk, few)?;
    let filling_used = many_meter.stop();
    let full_bytes = product.store_bytes();

    bench.tell("killed with them, and started again");
    sink.reset()?;
    product.set_status(&stream, "enabled")?;
    sink.wait_for_distinct(bench.scaled(2_000, 200))?;
    product.kill()?;
    // What was on its way when it was killed has come by now.
    clock::sleep(Duration::from_millis(500));
    let before_restart = sink.stats()?["distinct"].as_u64().unwrap_or_default();
    sink.reset()?;
    let started_nanos = product.start_again(bench)?;
    let drain_meter = Meter::start(bench, product.id()?);
    let left = many - before_restart;
    let stats = sink.wait_for_distinct(left)?;
    let drain_used = drain_meter.stop();
    let nanos = |name: &str| stats[name].as_u64().context("deliveries came");
    let first_seconds = nanos("first_ns")?.saturating_sub(started_nanos) as f64 / 1e9;
    let drained_many = left as f64 / ((nanos("latest_ns")? - nanos("first_ns")?) as f64 / 1e9);
    let shrunk_bytes = if bench.quick { None } else { Some(wait_until_trimmed(&product)) };

    let per_s = |summary: &Value| summary["ok_per_s"].as_f64().unwrap_or(f64::NAN);
    let what = |what: &str| format!("0 → {many} pending: {what}");
    let bounds = (Some(AtLeast(0.7)), Some(AtLeast(0.9)));
    let (base, burdened) = ((per_s(&accepted_few), "/s"), (per_s(&accepted_many), "/s"));
    report.line(Line::ratio(&what("accept rate"), base, burdened, bounds.0, bounds.1));
    let (base, burdened) = ((drained_few, "/s"), (drained_many, "/s"));
    report.line(Line::ratio(&what("drain rate"), base, burdened, bounds.0, bounds.1));
    let peak = filling_used.peak_pss_kib.max(drain_used.peak_pss_kib);
    let added = peak.saturating_sub(few_used.peak_pss_kib) as f64 / 1024.0;
    let mut line = Line::figure(&what("added memory"), added, "MiB", Some(AtMost(64.0)), Some(AtMost(16.0)));
    line.floor = format!("{:.1} MiB", few_used.peak_pss_kib as f64 / 1024.0);
    line.product = format!("{:.1} MiB", peak as f64 / 1024.0);
    report.line(line);
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let what = what("store after the drain");
    report.line(match shrunk_bytes {
        None => {
            Line::not_measured(&what, "the store is tidied once a minute, which is too long for a quick run")
        }
        Some(bytes) => {
            let mut line =
                Line::figure(&what, bytes as f64 / full_bytes as f64, "of full", Some(AtMost(0.5)), None);
            line.floor = format!("{:.0} MiB full", mib(full_bytes));
            line.product = format!("{:.0} MiB", mib(bytes));
            line
        }
    });
    let what = format!("Restart with {left} pending after SIGKILL: first delivery");
    report.line(Line::figure(&what, first_seconds, "s", Some(AtMost(2.0)), Some(AtMost(0.5))));
    report.raw(
        "pending",
        json!({
            "fill_per_s": fill_per_s,
            "accept_few": { "per_s": per_s(&accepted_few), "p99_ms": millis(&accepted_few["latency"], "p99_ms") },
            "accept_many": { "per_s": per_s(&accepted_many), "p99_ms": millis(&accepted_many["latency"], "p99_ms") },
            "dups_after_the_kill": stats["dups"],
            "out_of_order_per_subject": stats["out_of_order_per_subject"],
            "delivered_before_the_kill": before_restart,
            "few": few_used.to_json(),
            "filling": filling_used.to_json(),
            "draining": drain_used.to_json(),
        }),
    );
    Ok(report)
}

fn accept(bench: &Bench, product: &Product, first: u64, count: u64) -> Result<Value> {
    let load = product.load(load::event(SESSION_REVOKED))?.count(count);
    load::Load { first, ..load }.run_all_accepted(bench)
}

/// Lets a stream go, and gives the deliveries a second until all of them have come.
fn drain(product: &Product, stream: &Stream, sink: &Sink, count: u64) -> Result<f64> {
    sink.reset()?;
    product.set_status(stream, "enabled")?;
    let stats = sink.wait_for_distinct(count)?;
    let nanos = |name: &str| stats[name].as_u64().context("deliveries came");
    Ok(count as f64 / ((nanos("latest_ns")? - nanos("first_ns")?) as f64 / 1e9))
}

/// The store is tidied once a minute, and may take some rounds. Gives its size when it no longer shrinks.
fn wait_until_trimmed(product: &Product) -> u64 {
    let (mut least, mut since) = (product.store_bytes(), Instant::now());
    while since.elapsed() < Duration::from_secs(150) {
        clock::sleep(Duration::from_millis(500));
        let now = product.store_bytes();
        if now < least {
            (least, since) = (now, Instant::now());
        }
    }
    least
}
