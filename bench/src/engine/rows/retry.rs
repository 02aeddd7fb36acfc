//! Receivers that answer every other request with 503 and `Retry-After: 2`. That is longer than the first delay of the
//! product's own schedule, so that the next attempt is due exactly two seconds after the answer.

use crate::engine::Bench;
use crate::engine::figures::Bound::AtMost;
use crate::engine::figures::quantile;
use crate::engine::load::{self, SESSION_REVOKED, Seen, Sink};
use crate::engine::product::{Product, Setup};
use crate::engine::table::{Line, Report};
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;

const RETRY_AFTER_SECONDS: u64 = 2;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let streams: u64 = bench.scaled(200, 20);
    let port = bench.free_port()?;
    let rule = format!("/;fail_every=2;retry_after={RETRY_AFTER_SECONDS}");
    let sink = Sink::start_logging(bench, port, &[&rule])?;
    let setup = Setup::new(port).delivery(&format!("streams_per_client_max = {streams}"));
    let product = Product::start(bench, &setup)?;
    for stream in 0..streams {
        product.create_push_stream(&sink.url(&format!("/{stream}")), SESSION_REVOKED)?;
    }
    sink.wait_for_accepted(streams)?;
    // Every event goes to every stream, which fails, rests, and goes on with it.
    let load = product.load(load::event(SESSION_REVOKED))?.paced(1.0, bench.scaled(30.0, 6.0));
    let accepted = load.run_all_accepted(bench)?["ok"].as_u64().unwrap_or_default();
    sink.wait_for_distinct(accepted * streams)?;

    let missed = missed_by(&sink.log()?);
    let early: Vec<f64> = missed.iter().map(|late| -late).filter(|early| *early > 0.0).collect();
    let distances: Vec<f64> = missed.iter().map(|late| late.abs()).collect();
    let at = |share: f64| quantile(&distances, share).unwrap_or(f64::NAN);
    let what = "Retry due time (Retry-After) missed by, p99";
    report.line(Line::figure(what, at(0.99), "ms", Some(AtMost(100.0)), Some(AtMost(20.0))));
    report.raw(
        "missed by",
        json!({
            "retries": missed.len(),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "max_ms": at(1.0),
            "early": early.len(),
            "earliest_ms": quantile(&early, 1.0),
        }),
    );
    Ok(report)
}

/// By how many milliseconds each retry came after its time, or with a minus before it. A retry carries the same event as
/// the request that failed.
fn missed_by(log: &[Seen]) -> Vec<f64> {
    let mut attempts: BTreeMap<(&str, u64), Vec<&Seen>> = BTreeMap::new();
    for seen in log {
        if let Some(sequence) = seen.sequence {
            attempts.entry((&seen.path, sequence)).or_default().push(seen);
        }
    }
    let mut missed = Vec::new();
    for mut attempts in attempts.into_values() {
        attempts.sort_by_key(|seen| seen.read_nanos);
        for pair in attempts.windows(2) {
            let [failed, next] = pair else { continue };
            if failed.status == 503 {
                let due_nanos = failed.answered_nanos + RETRY_AFTER_SECONDS * 1_000_000_000;
                missed.push((next.read_nanos as f64 - due_nanos as f64) / 1e6);
            }
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_due_two_seconds_after_the_answer() {
        let seen = |path: &str, sequence: u64, read_ms: u64, status: u16| Seen {
            path: path.to_owned(),
            sequence: Some(sequence),
            subject: None,
            sent_nanos: None,
            read_nanos: read_ms * 1_000_000,
            answered_nanos: (read_ms + 1) * 1_000_000,
            status,
        };
        let log = [
            seen("/a", 7, 0, 503),
            seen("/b", 7, 5, 202),
            seen("/a", 8, 6, 202),
            seen("/a", 7, 2_011, 202),
            seen("/a", 9, 2_500, 503),
            seen("/a", 9, 4_000, 202),
            seen("/b", 8, 6_000, 202),
        ];
        assert_eq!(missed_by(&log), [10.0, -501.0]);
    }
}
