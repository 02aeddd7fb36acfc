//! Poll delivery: how soon a waiting poll is answered, and how fast a backlog is polled.

use super::latency::RATE;
use crate::engine::Bench;
use crate::engine::figures::Bound::{AtLeast, AtMost};
use crate::engine::figures::quantile;
use crate::engine::load::{self, Load, SESSION_REVOKED, Sent, Sink, numbers};
use crate::engine::product::{Product, Setup};
use crate::engine::table::{Line, Report};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::HashMap;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    answered_soon(bench, &mut report)?;
    drained(bench, &mut report)?;
    Ok(report)
}

fn answered_soon(bench: &Bench, report: &mut Report) -> Result<()> {
    bench.tell("long polls at 200 events a second");
    let product = Product::start(bench, &Setup::new(1))?;
    let stream = product.create_poll_stream(SESSION_REVOKED)?;
    let folder = bench.new_folder()?;
    let (accepted, polled) = (folder.path().join("accepted.log"), folder.path().join("polled.log"));
    let seconds = bench.scaled(20.0, 3.0);
    let token = product.token("receiver")?;
    let poller = load::poll(bench, &stream.endpoint, &token, 0, seconds + 4.0, Some(&polled))?;
    let load = product.load(load::event(SESSION_REVOKED))?.paced(RATE, seconds);
    Load { log: Some(accepted.clone()), ..load }.run_all_accepted(bench)?;
    let summary = poller.output()?;

    let sent = Sent::read(&accepted)?;
    let accepted: HashMap<u64, u64> = sent.iter().map(|sent| (sent.sequence, sent.answered_nanos)).collect();
    let after_accept: Vec<f64> = numbers(&polled)?
        .iter()
        .filter_map(|line| {
            let (sequence, came) = ((*line.first()?)?, (*line.get(2)?)?);
            Some(came.saturating_sub(*accepted.get(&sequence)?) as f64 / 1e6)
        })
        .collect();
    anyhow::ensure!(after_accept.len() >= accepted.len(), "only {} events were polled", after_accept.len());
    let p99 = quantile(&after_accept, 0.99).unwrap_or(f64::NAN);
    report.line(Line::figure(
        "Long poll answered after accept, p99 at 200/s",
        p99,
        "ms",
        Some(AtMost(5.0)),
        None,
    ));
    report.raw(
        "long poll",
        json!({
            "after_accept_p50_ms": quantile(&after_accept, 0.5),
            "after_accept_p99_ms": p99,
            "end_to_end": summary["latency"],
            "polls": summary["polls"],
            "dups": summary["dups"],
            "out_of_order_per_subject": summary["out_of_order_per_subject"],
        }),
    );
    Ok(())
}

/// One backlog for a stream that is pushed and one that is polled, drained one after the other.
fn drained(bench: &Bench, report: &mut Report) -> Result<()> {
    let count: u64 = bench.scaled(60_000, 3_000);
    for zipf in [false, true] {
        bench.tell(&format!("a backlog, subjects {}", if zipf { "by Zipf's law" } else { "even" }));
        let sink = Sink::start(bench, &[])?;
        let product = Product::start(bench, &Setup::new(sink.port()))?;
        let pushed = product.create_push_stream(&sink.url("/"), SESSION_REVOKED)?;
        let polled = product.create_poll_stream(SESSION_REVOKED)?;
        sink.wait_for_accepted(1)?;
        product.set_status(&pushed, "paused")?;
        let lines = 500;
        let load = product.load(load::event(SESSION_REVOKED))?.lines(lines).count(count / lines);
        Load { connections: 4, zipf, ..load }.run_all_accepted(bench)?;

        sink.reset()?;
        product.set_status(&pushed, "enabled")?;
        let stats = sink.wait_for_distinct(count)?;
        let nanos = |name: &str| stats[name].as_u64().context("deliveries came");
        let pushed_per_s = count as f64 / ((nanos("latest_ns")? - nanos("first_ns")?) as f64 / 1e9);
        let token = product.token("receiver")?;
        let seconds = bench.scaled(240.0, 30.0);
        let summary = load::poll(bench, &polled.endpoint, &token, count, seconds, None)?.output()?;
        let polled_per_s = summary["events_per_s"].as_f64().unwrap_or(f64::NAN);

        let (what, bounds) = match zipf {
            false => {
                ("Polled SETs in batches of 100, against pushed", (Some(AtLeast(1.5)), Some(AtLeast(3.0))))
            }
            true => ("The same, subjects by Zipf's law (one SET of a subject in a batch)", (None, None)),
        };
        report.line(Line::ratio(what, (pushed_per_s, "/s"), (polled_per_s, "/s"), bounds.0, bounds.1));
        report.raw(
            what,
            json!({
                "pushed_per_s": pushed_per_s,
                "polled_per_s": polled_per_s,
                "polled": summary["distinct"],
                "polls": summary["polls"],
                "biggest_answer": summary["biggest_answer"],
                "round_trip": summary["round_trip"],
                "dups": summary["dups"],
            }),
        );
    }
    Ok(())
}
