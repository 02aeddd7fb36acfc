//! A fast receiver alone, and beside one that takes five seconds for each answer and a hundred that are dead.

use super::latency::RATE;
use super::pair::millis;
use crate::clock;
use crate::engine::Bench;
use crate::engine::figures::Bound::AtMost;
use crate::engine::load::{self, Load, SESSION_REVOKED, Sent, Sink, overtaken};
use crate::engine::meter::{Meter, Metered, quietly};
use crate::engine::product::{Product, Setup};
use crate::engine::table::{Line, Report};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// Dead in three ways: nobody listens, nothing is answered, 503 is answered.
const REFUSED: u64 = 34;
const HANGING: u64 = 33;
const FAILING: u64 = 33;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let fast = Sink::start_logging(bench, bench.free_port()?, &[])?;
    let dead = Sink::start(bench, &["/slow;delay_ms=5000", "/hanging;hang_every=1", "/failing;status=503"])?;
    let nobody = bench.free_port()?;
    let setup = Setup { receivers: vec![fast.port(), dead.port(), nobody], ..Setup::new(0) };
    let product = Product::start(bench, &setup.delivery("streams_per_client_max = 200"))?;
    product.create_push_stream(&fast.url("/"), SESSION_REVOKED)?;
    fast.wait_for_accepted(1)?;

    bench.tell("the fast receiver alone");
    let (others, mut next) = (|run: &Steady| run.metered.others, 0);
    let alone = quietly(bench, "product", others, || steady(bench, &product, &fast, &mut next))?;

    bench.tell("beside a slow one and a hundred dead ones");
    product.create_push_stream(&dead.url("/slow"), SESSION_REVOKED)?;
    for number in 0..REFUSED {
        product.create_push_stream(&format!("http://127.0.0.1:{nobody}/{number}"), SESSION_REVOKED)?;
    }
    for (path, count) in [("hanging", HANGING), ("failing", FAILING)] {
        for number in 0..count {
            product.create_push_stream(&dead.url(&format!("/{path}/{number}")), SESSION_REVOKED)?;
        }
    }
    clock::sleep(Duration::from_secs(2));
    let beside = quietly(bench, "product", others, || steady(bench, &product, &fast, &mut next))?;

    let p99 = |run: &Steady| millis(&run.fast["latency"], "p99_ms");
    let what = "A 5-second receiver and 100 dead ones beside a fast one: fast one's p99";
    let (base, burdened) = ((p99(&alone), "ms"), (p99(&beside), "ms"));
    report.line(Line::ratio(what, base, burdened, Some(AtMost(2.0)), Some(AtMost(1.2))));
    let out_of_order = overtaken(&beside.accepted, &fast.log()?) as f64;
    let what = "Beside them: out of order at the fast one";
    report.line(Line::figure(what, out_of_order, "", Some(AtMost(0.0)), None));
    let accept = |run: &Steady| millis(&run.accept["latency"], "p99_ms");
    let (base, burdened) = ((accept(&alone), "ms"), (accept(&beside), "ms"));
    report.line(Line::ratio("Beside them: accept, p99", base, burdened, None, None));
    let mut unready = 0;
    for _ in 0..10 {
        unready += u32::from(!product.is_ready()?);
    }
    let what = "Beside them: not ready, of ten times asked";
    report.line(Line::figure(what, f64::from(unready), "", Some(AtMost(0.0)), None));
    for (name, run) in [("alone", &alone), ("beside", &beside)] {
        let Steady { metered, accept, fast, .. } = run;
        report.raw(
            name,
            json!({
                "fast": { "latency": fast["latency"], "distinct": fast["distinct"], "dups": fast["dups"] },
                "accept": accept["latency"],
                "metered": metered.to_json(),
            }),
        );
    }
    report.raw("dead", json!({ "requests": dead.stats()?["requests"], "status": dead.stats()?["status"] }));
    Ok(report)
}

struct Steady {
    metered: Metered,
    /// What the load generator and the fast receiver's sink told.
    accept: Value,
    fast: Value,
    accepted: Vec<Sent>,
}

/// 200 events a second, each owed to every stream that there is. `next` is the first sequence number that is free.
fn steady(bench: &Bench, product: &Product, fast: &Sink, next: &mut u64) -> Result<Steady> {
    let load = Load { first: *next, ..product.load(load::event(SESSION_REVOKED))? };
    let warm_up = load.clone().paced(RATE, bench.scaled(3.0, 0.5)).run_all_accepted(bench)?;
    fast.wait_for_distinct(warm_up["ok"].as_u64().unwrap_or_default())?;
    fast.reset()?;
    *next += warm_up["ok"].as_u64().unwrap_or_default();
    let folder = bench.new_folder()?;
    let log = folder.path().join("accepted.log");
    let load = Load { first: *next, log: Some(log.clone()), ..load };
    let meter = Meter::start(bench, product.id()?);
    let accept = load.paced(RATE, bench.scaled(20.0, 3.0)).run_all_accepted(bench)?;
    let count = accept["ok"].as_u64().unwrap_or_default();
    let stats = fast.wait_for_distinct(count)?;
    let metered = meter.stop();
    *next += count;
    fast.reset()?;
    Ok(Steady { metered, accept, fast: stats, accepted: Sent::read(&log)? })
}
