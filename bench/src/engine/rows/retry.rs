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

    let (early, late) = missed_by(&sink.log()?);
    let at = |share: f64| quantile(&late, share).unwrap_or(f64::NAN);
    let what = "Retry due time (Retry-After) missed by, p99";
    report.line(Line::figure(what, at(0.99), "ms", Some(AtMost(100.0)), Some(AtMost(20.0))));
    report.raw(
        "late",
        json!({ "retries": late.len(), "early": early, "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) }),
    );
    Ok(report)
}

/// How many retries came before their time, and by how many milliseconds the others came after it.
fn missed_by(log: &[Seen]) -> (usize, Vec<f64>) {
    let mut by_path: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in log {
        by_path.entry(&seen.path).or_default().push(seen);
    }
    let (mut early, mut late) = (0, Vec::new());
    for mut requests in by_path.into_values() {
        requests.sort_by_key(|seen| seen.read_nanos);
        for pair in requests.windows(2) {
            let [failed, next] = pair else { continue };
            let due_nanos = failed.answered_nanos + RETRY_AFTER_SECONDS * 1_000_000_000;
            if failed.status != 503 || failed.answered_nanos > next.read_nanos {
                continue;
            }
            early += usize::from(next.read_nanos < due_nanos);
            late.push(next.read_nanos.saturating_sub(due_nanos) as f64 / 1e6);
        }
    }
    (early, late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_due_two_seconds_after_the_answer() {
        let seen = |path: &str, read_ms: u64, status: u16| Seen {
            path: path.to_owned(),
            sequence: None,
            subject: None,
            sent_nanos: None,
            read_nanos: read_ms * 1_000_000,
            answered_nanos: (read_ms + 1) * 1_000_000,
            status,
        };
        let log = [
            seen("/a", 0, 503),
            seen("/b", 5, 202),
            seen("/a", 2_011, 202),
            seen("/a", 2_500, 503),
            seen("/a", 4_000, 202),
            seen("/b", 6_000, 202),
        ];
        assert_eq!(missed_by(&log), (1, vec![10.0, 0.0]));
    }
}
