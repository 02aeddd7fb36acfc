//! Ten thousand events were held while the receiver was in trouble. Once it answers they go out, and fresh ones with
//! them: about others, who do not have to wait, and about the same subjects, which wait for what was before them.

use super::latency::RATE;
use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::Bound::{AtLeast, AtMost};
use crate::engine::figures::quantile;
use crate::engine::load::{self, Load, SESSION_REVOKED, Seen, Sent, Sink};
use crate::engine::product::{Product, Setup};
use crate::engine::table::{Line, Report};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Duration;

const LINES: u64 = 500;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let held: u64 = bench.scaled(10_000, 1_000);
    // Fresh events have the sequence numbers behind the held ones, and say when they were sent.
    let calm = drained(bench, held, Cause::Pause)?;
    let troubled = drained(bench, held, Cause::Trouble { fresh_of_others: true })?;
    let same = drained(bench, held, Cause::Trouble { fresh_of_others: false })?;
    let what = |what: &str| format!("{held} held events once the receiver answers: {what}");
    let (base, burdened) = ((calm.rate, "/s"), (troubled.rate, "/s"));
    report.line(Line::ratio(&what("drain rate"), base, burdened, Some(AtLeast(0.8)), Some(AtLeast(0.95))));
    let (base, burdened) = ((troubled.fresh_after, "ms"), (troubled.fresh_meanwhile, "ms"));
    report.line(Line::ratio(&what("fresh events' p50 meanwhile"), base, burdened, Some(AtMost(2.0)), None));
    let (base, burdened) = ((same.fresh_after, "ms"), (same.fresh_meanwhile, "ms"));
    let of_the_same = what("the same of fresh events about the held ones' subjects");
    report.line(Line::ratio(&of_the_same, base, burdened, None, None));
    let runs = [
        ("paused and let go", &calm),
        ("held by trouble", &troubled),
        ("held by trouble, fresh events about the same", &same),
    ];
    for (name, run) in runs {
        report.raw(
            name,
            json!({
                "drain_per_s": run.rate,
                "drain_s": run.seconds,
                "fresh_meanwhile": run.fresh_count,
                "fresh_p50_meanwhile_ms": run.fresh_meanwhile,
                "fresh_p50_afterwards_ms": run.fresh_after,
                "fresh_accept_p50_meanwhile_ms": run.accept_meanwhile,
            }),
        );
    }
    Ok(report)
}

struct Drained {
    /// Held deliveries a second, from the first to the last.
    rate: f64,
    seconds: f64,
    /// Fresh events sent in that time.
    fresh_count: usize,
    /// The middle of their latencies from end to end, in milliseconds.
    fresh_meanwhile: f64,
    /// The same once the held ones are gone.
    fresh_after: f64,
    /// What of the former was spent until they were accepted.
    accept_meanwhile: f64,
}

/// Why events are held. Fresh ones come only where the receiver was in trouble: the other run shows how fast it goes
/// normally, without them.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Pause,
    Trouble { fresh_of_others: bool },
}

/// Holds events, by a pause or by a receiver that is not there, and lets them go.
fn drained(bench: &Bench, held: u64, cause: Cause) -> Result<Drained> {
    bench.tell(&format!("held by {cause:?}"));
    let port = bench.free_port()?;
    let sink = Sink::start_logging(bench, port, &[])?;
    let product = Product::start(bench, &Setup::new(port))?;
    let stream = product.create_push_stream(&sink.url("/"), SESSION_REVOKED)?;
    sink.wait_for_accepted(1)?;
    // The connections and the window are as they are at work.
    let warm_up = product.load(load::event_without_time(SESSION_REVOKED))?.count(bench.scaled(5_000, 500));
    warm_up.run_all_accepted(bench)?;
    sink.wait_for_distinct(warm_up.count)?;

    let fresh_body = match cause {
        Cause::Trouble { fresh_of_others: true } => load::event_about_others(SESSION_REVOKED),
        _ => load::event(SESSION_REVOKED),
    };
    let sink = match cause {
        Cause::Trouble { .. } => {
            drop(sink);
            None
        }
        Cause::Pause => {
            product.set_status(&stream, "paused")?;
            sink.reset()?;
            Some(sink)
        }
    };
    let load = product.load(load::event_without_time(SESSION_REVOKED))?.lines(LINES).count(held / LINES);
    Load { connections: 4, first: HELD_FIRST, ..load }.run_all_accepted(bench)?;
    let folder = bench.new_folder()?;
    let accepted = folder.path().join("accepted.log");
    let (sink, fresh) = match sink {
        Some(sink) => {
            product.set_status(&stream, "enabled")?;
            (sink, None)
        }
        None => {
            clock::sleep(Duration::from_secs(3));
            let load = product.load(fresh_body)?;
            // Until the receiver is found to be back, fresh events are held like the others, and later ones about the
            // same subjects wait for them. The subjects come equally often, so that these are few.
            let load = Load { first: HELD_FIRST + held, log: Some(accepted.clone()), zipf: false, ..load }
                .paced(RATE, bench.scaled(15.0, 6.0));
            let fresh = load.start(bench)?;
            (Sink::start_logging(bench, port, &[])?, Some(fresh))
        }
    };
    let (mut all, mut sent) = (held, Vec::new());
    if let Some(fresh) = fresh {
        all += fresh.output()?["ok"].as_u64().unwrap_or_default();
        sent = Sent::read(&accepted)?;
    }
    sink.wait_for_distinct(all)?;
    summed_up(&sink.log()?, &sent, HELD_FIRST..HELD_FIRST + held)
}

/// The sequence number of the first event that is held.
const HELD_FIRST: u64 = 1_000_000;

fn summed_up(log: &[Seen], sent: &[Sent], held: std::ops::Range<u64>) -> Result<Drained> {
    let is_held = |seen: &&Seen| seen.sequence.is_some_and(|sequence| held.contains(&sequence));
    let reads = || log.iter().filter(is_held).map(|seen| seen.read_nanos);
    let (first, last) = reads().min().zip(reads().max()).context("no held event came")?;
    let latencies = |sent_in: &dyn Fn(u64) -> bool| -> Vec<f64> {
        let fresh = log.iter().filter_map(|seen| Some((seen.sent_nanos?, seen.read_nanos)));
        let chosen = fresh.filter(|(sent, _)| sent_in(*sent));
        chosen.map(|(sent, read)| read.saturating_sub(sent) as f64 / 1e6).collect()
    };
    let meanwhile = latencies(&|sent| (first..=last).contains(&sent));
    // A little later, when what had gathered behind the held ones is gone too.
    let after = latencies(&|sent| sent > last + SETTLING_NANOS);
    let accepting = sent.iter().filter(|sent| (first..=last).contains(&sent.sent_nanos));
    let accepting: Vec<f64> =
        accepting.map(|sent| sent.answered_nanos.saturating_sub(sent.sent_nanos) as f64 / 1e6).collect();
    let seconds = (last - first) as f64 / 1e9;
    Ok(Drained {
        rate: reads().count() as f64 / seconds,
        seconds,
        fresh_count: meanwhile.len(),
        fresh_meanwhile: quantile(&meanwhile, 0.5).unwrap_or(f64::NAN),
        fresh_after: quantile(&after, 0.5).unwrap_or(f64::NAN),
        accept_meanwhile: quantile(&accepting, 0.5).unwrap_or(f64::NAN),
    })
}

const SETTLING_NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_fresh_events_from_held_ones_and_the_time_of_the_drain_from_later() {
        let seen = |sequence: u64, sent_ms: Option<u64>, read_ms: u64| Seen {
            path: "/".to_owned(),
            sequence: Some(sequence),
            subject: None,
            sent_nanos: sent_ms.map(|ms| ms * 1_000_000),
            read_nanos: read_ms * 1_000_000,
            answered_nanos: read_ms * 1_000_000,
            status: 202,
        };
        let log = [
            seen(0, None, 10),
            seen(100, None, 1_000),
            seen(102, Some(1_100), 1_130),
            seen(101, None, 2_000),
            seen(103, Some(2_500), 2_900),
            seen(104, Some(3_500), 3_504),
        ];
        let drained = summed_up(&log, &[], 100..102).unwrap();
        assert_eq!((drained.rate, drained.fresh_count), (2.0, 1));
        assert_eq!((drained.fresh_meanwhile, drained.fresh_after), (30.0, 4.0));
    }
}
