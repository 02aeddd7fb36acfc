//! The same load for the floor and for the product, in turns.

use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::median;
use crate::engine::floor::Floor;
use crate::engine::load::{self, CONNECTIONS, Load, SESSION_REVOKED, SUBJECTS, Sink};
use crate::engine::meter::{Meter, Metered, quietly};
use crate::engine::product::{Product, Setup};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// What both are given to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) algorithm: &'static str,
    /// Receivers, each of which gets every event.
    pub(super) streams: u64,
    pub(super) pace: Pace,
    pub(super) subjects: u64,
    /// Events that are delivered before it counts.
    pub(super) warm_up: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many events, as fast as they are accepted.
    All(u64),
    /// So many a second, for so many seconds; the floor and the product are warmed up before.
    Steady(f64, f64),
}

impl Task {
    pub(super) fn new(algorithm: &'static str, pace: Pace) -> Self {
        Self { algorithm, streams: 1, pace, subjects: SUBJECTS, warm_up: 0 }
    }
}

/// What one of them did.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) delivered: u64,
    /// Deliveries a second, from the first request to the last delivery.
    pub(super) rate: f64,
    pub(super) metered: Metered,
    /// Latencies of acceptance, and from end to end.
    pub(super) accept: Value,
    pub(super) end_to_end: Value,
    accepted: u64,
    duplicates: u64,
    token_bytes: u64,
}

impl Run {
    pub(super) fn cpu_per_1000(&self) -> f64 {
        self.metered.cpu_seconds / self.delivered as f64 * 1000.0
    }

    pub(super) fn written_per_delivery(&self) -> f64 {
        self.metered.written_bytes() as f64 / self.delivered as f64
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "delivered": self.delivered,
            "per_s": self.rate.round(),
            "accepted_202": self.accepted,
            "dups": self.duplicates,
            "token_bytes": self.token_bytes,
            "cpu_s_per_1000": self.cpu_per_1000(),
            "metered": self.metered.to_json(),
            "accept": self.accept,
            "end_to_end": self.end_to_end,
        })
    }
}

/// All runs of both.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) floor: Vec<Run>,
    pub(super) product: Vec<Run>,
}

impl Pair {
    /// Lets them take turns.
    pub(super) fn run(bench: &Bench, task: Task) -> Result<Self> {
        let mut pair = Self { floor: Vec::new(), product: Vec::new() };
        for round in 1..=bench.rounds {
            bench.tell(&format!("{task:?}: round {round} of {}", bench.rounds));
            let others = |run: &Run| run.metered.others;
            pair.floor.push(quietly(bench, "floor", others, || run_floor(bench, task))?);
            pair.product.push(quietly(bench, "product", others, || run_product(bench, task, &[]))?);
        }
        Ok(pair)
    }

    /// The medians of a figure, of the floor and of the product.
    pub(super) fn medians(&self, figure: impl Fn(&Run) -> f64) -> (f64, f64) {
        let of = |runs: &[Run]| median(&runs.iter().map(&figure).collect::<Vec<_>>()).unwrap_or(f64::NAN);
        (of(&self.floor), of(&self.product))
    }

    pub(super) fn to_json(&self) -> Value {
        let all = |runs: &[Run]| runs.iter().map(Run::to_json).collect::<Vec<_>>();
        json!({ "floor": all(&self.floor), "product": all(&self.product) })
    }
}

/// A quantile of latencies that a tool told.
pub(super) fn millis(latencies: &Value, quantile: &str) -> f64 {
    latencies[quantile].as_f64().unwrap_or(f64::NAN)
}

fn run_floor(bench: &Bench, task: Task) -> Result<Run> {
    let sink = Sink::start(bench, &[])?;
    let targets: Vec<String> = (0..task.streams).map(|stream| sink.url(&format!("/{stream}"))).collect();
    let connections = if task.streams == 1 { CONNECTIONS } else { 8 };
    let floor = Floor::start(bench, task.algorithm, &targets, connections)?;
    go(bench, task, &sink, floor.id(), Load::new(floor.url(), None, load::claims()))
}

/// A run of the product alone, whose receivers answer by these rules.
pub(super) fn run_product(bench: &Bench, task: Task, rules: &[&str]) -> Result<Run> {
    let sink = Sink::start(bench, rules)?;
    let product = Product::start(bench, &Setup::new(sink.port()).algorithm(task.algorithm))?;
    for stream in 0..task.streams {
        product.create_push_stream(&sink.url(&format!("/{stream}")), SESSION_REVOKED)?;
    }
    // The verification events of the new streams are none of the deliveries that count.
    sink.wait_for_accepted(task.streams)?;
    go(bench, task, &sink, product.id()?, product.load(load::event(SESSION_REVOKED))?)
}

fn go(bench: &Bench, task: Task, sink: &Sink, pid: u32, load: Load) -> Result<Run> {
    let load = Load { subjects: task.subjects, ..load };
    if task.warm_up > 0 {
        load.clone().count(task.warm_up).run_all_accepted(bench)?;
        sink.wait_for_distinct(task.warm_up * task.streams)?;
    }
    let load = match task.pace {
        Pace::All(count) => load.count(count),
        Pace::Steady(rate, seconds) => {
            let warm_up = load.clone().paced(rate, bench.scaled(3.0, 0.5)).run_all_accepted(bench)?;
            sink.wait_for_distinct(warm_up["ok"].as_u64().unwrap_or_default() * task.streams)?;
            load.paced(rate, seconds)
        }
    };
    sink.reset()?;
    let meter = Meter::start(bench, pid);
    let summary = load.run_all_accepted(bench)?;
    let accepted = summary["ok"].as_u64().unwrap_or_default();
    let stats = sink.wait_for_distinct(accepted * task.streams)?;
    // The last outcomes are stored within 50 ms; they are part of the work.
    clock::sleep(Duration::from_millis(100));
    let metered = meter.stop();
    let nanos = |value: &Value| value.as_u64().unwrap_or_default();
    let seconds = nanos(&stats["latest_ns"]).saturating_sub(nanos(&summary["start_ns"])) as f64 / 1e9;
    let delivered = accepted * task.streams;
    Ok(Run {
        delivered,
        rate: delivered as f64 / seconds,
        metered,
        accept: summary["latency"].clone(),
        end_to_end: stats["latency"].clone(),
        accepted,
        duplicates: nanos(&stats["dups"]),
        token_bytes: nanos(&stats["bytes"]) / nanos(&stats["accepted"]).max(1),
    })
}
