//! A million subjects in one stream: what it costs to add them, to hold them, to start with them, and to accept events
//! about some of them.

use super::latency::RATE;
use super::pair::millis;
use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::Bound::AtMost;
use crate::engine::figures::median;
use crate::engine::load::{self, Load, SESSION_REVOKED, Sink};
use crate::engine::product::{Product, Setup, Stream};
use crate::engine::table::{Line, Report};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The subjects that are there first, about which all events are.
const FEW: u64 = 1_000;
/// Subjects that are added with one access token, which is good for some minutes only.
const PART: u64 = 100_000;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let many: u64 = bench.scaled(1_000_000, 20_000);
    let sink = Sink::start(bench, &[])?;
    let setup = Setup { default_subjects: "NONE", ..Setup::new(sink.port()) };
    let begin = || {
        let product = Product::start(bench, &setup)?;
        let stream = product.create_push_stream(&sink.url("/"), SESSION_REVOKED)?;
        add(bench, &product, &stream, 0..FEW)?;
        Ok::<_, anyhow::Error>((product, stream))
    };
    // Two of them, so that both can be asked in turns: whatever else goes on meets both.
    let ((few, _), (mut product, stream)) = (begin()?, begin()?);
    sink.wait_for_accepted(2)?;
    let (starts_few, idle_few) = restarted(bench, &mut product)?;

    bench.tell(&format!("{many} subjects are added"));
    let began = Instant::now();
    let latency = add(bench, &product, &stream, FEW..many)?;
    let per_second = (many - FEW) as f64 / began.elapsed().as_secs_f64();
    let live = product.usage()?.pss_kib;
    let (starts_many, idle_many) = restarted(bench, &mut product)?;

    let (mut accept_few, mut accept_many) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        accept_few.push(accept(bench, &few, &sink)?);
        accept_many.push(accept(bench, &product, &sink)?);
    }

    let p99 = |runs: &[Value]| {
        let runs: Vec<f64> = runs.iter().map(|run| millis(&run["latency"], "p99_ms")).collect();
        median(&runs).unwrap_or(f64::NAN)
    };
    let what = |what: &str| format!("{FEW} → {many} subjects in one stream: {what}");
    let (base, burdened) = ((p99(&accept_few), "ms"), (p99(&accept_many), "ms"));
    report.line(Line::ratio(&what("accept, p99"), base, burdened, Some(AtMost(1.5)), Some(AtMost(1.2))));
    let bytes = |after: u64| after.saturating_sub(idle_few) as f64 * 1024.0 / (many - FEW) as f64;
    report.line(Line::figure(
        "Memory per subject and stream",
        bytes(idle_many),
        "bytes",
        Some(AtMost(48.0)),
        None,
    ));
    report.line(Line::figure("The same right after they were added", bytes(live), "bytes", None, None));
    report.line(Line::figure("Subjects added over HTTP, one in a request", per_second, "/s", None, None));
    let mut line = Line::figure(&what("start"), starts_many, "s", None, None);
    line.floor = format!("{starts_few:.2} s");
    report.line(line);
    report.raw(
        "subjects",
        json!({
            "add_per_s": per_second,
            "add_latency": latency,
            "start_few_s": starts_few,
            "start_many_s": starts_many,
            "pss_few_kib": idle_few,
            "pss_live_kib": live,
            "pss_many_kib": idle_many,
            "accept_few": accept_few,
            "accept_many": accept_many,
        }),
    );
    Ok(report)
}

/// Adds subjects over HTTP, one in each request. Gives the latencies of the last part.
fn add(bench: &Bench, product: &Product, stream: &Stream, numbers: std::ops::Range<u64>) -> Result<Value> {
    let subject = r#"{"format":"opaque","id":"user-{{seq}}"}"#;
    let body = (format!(r#"{{"stream_id":"{}","subject":{subject}}}"#, stream.id), 0);
    let mut latency = Value::Null;
    let mut first = numbers.start;
    while first < numbers.end {
        let count = PART.min(numbers.end - first);
        let token = product.token("receiver")?;
        let load = Load::new(product.url("/ssf/subjects:add"), Some(&token), body.clone()).count(count);
        let summary = Load { first, connections: 64, ..load }.run_all_accepted(bench)?;
        latency = summary["latency"].clone();
        first += count;
    }
    Ok(latency)
}

/// How long a start takes, in seconds, and what the process has in memory then.
fn restarted(bench: &Bench, product: &mut Product) -> Result<(f64, u64)> {
    product.stop()?;
    let began = Instant::now();
    product.start_again(bench)?;
    let took = began.elapsed().as_secs_f64();
    clock::sleep(Duration::from_secs(1));
    Ok((took, product.usage()?.pss_kib))
}

/// Accepts events about the few, at a rate at which nothing waits.
fn accept(bench: &Bench, product: &Product, sink: &Sink) -> Result<Value> {
    sink.reset()?;
    let load = product.load(load::event(SESSION_REVOKED))?.paced(RATE, bench.scaled(20.0, 3.0));
    let summary = Load { subjects: FEW, ..load }.run_all_accepted(bench)?;
    // Each of them was owed to the stream, which is about all of these subjects.
    sink.wait_for_distinct(summary["ok"].as_u64().context("the load generator counts")?)?;
    Ok(summary)
}
