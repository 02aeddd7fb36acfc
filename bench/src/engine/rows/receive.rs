//! The receiving side: SETs signed by RS256 come in by push and by poll, and are verified, guarded and made durable.

use crate::engine::Bench;
use crate::engine::child::{Running, wait_for_listener, wait_until};
use crate::engine::figures::Bound::AtLeast;
use crate::engine::http;
use crate::engine::meter::{Meter, Metered, quietly};
use crate::engine::table::{Line, Report};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PUSH_CONNECTIONS: usize = 256;

pub(super) fn measure(bench: &Bench) -> Result<Report> {
    let mut report = Report::default();
    let count: u64 = bench.scaled(40_000, 2_000);
    let (folder, port) = (bench.new_folder()?, bench.free_port()?);
    let issuer = format!("http://127.0.0.1:{port}");
    bench.tell(&format!("{count} SETs are signed"));
    let mut command = receive(bench, "sign", folder.path());
    command.args(["--count", &count.to_string(), "--issuer", &issuer]);
    anyhow::ensure!(command.status()?.success(), "the SETs cannot be signed");
    let mut command = Command::new(bench.program("receive"));
    command.args(["raw", "--seconds", &bench.scaled(3.0, 0.3).to_string()]);
    let raw = Running::start("receive raw", command.stdout(Stdio::piped()))?.output()?;
    let raw_per_s = raw["verifies_per_s"].as_f64().context("verifies are counted")?;

    let others = |(_, metered): &(f64, Metered)| metered.others;
    let polled = quietly(bench, "receiver", others, || poll(bench, folder.path(), port, &issuer, count))?;
    let pushed = quietly(bench, "receiver", others, || push(bench, folder.path(), port, &issuer))?;
    let base = (raw_per_s, "verifies/s of a core");
    let what = "Receive by poll, batches of 100, against raw RS256";
    report.line(Line::ratio(what, base, (polled.0, "SETs/s"), Some(AtLeast(0.4)), Some(AtLeast(0.5))));
    let what = "Receive by push, 256 connections, against raw RS256";
    report.line(Line::ratio(what, base, (pushed.0, "SETs/s"), Some(AtLeast(0.25)), Some(AtLeast(0.35))));
    for (name, (per_s, metered)) in [("poll", polled), ("push", pushed)] {
        report.raw(name, json!({ "per_s": per_s, "cpu_s_per_1000": metered.cpu_seconds / count as f64 * 1e3, "metered": metered.to_json() }));
    }
    Ok(report)
}

fn receive(bench: &Bench, what: &str, folder: &Path) -> Command {
    let mut command = Command::new(bench.program("receive"));
    command.arg(what).arg("--folder").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts the transmitter that has the tokens, and the keys.
fn transmitter(bench: &Bench, folder: &Path, port: u16) -> Result<Running> {
    let mut command = receive(bench, "transmit", folder);
    let running =
        Running::start("receive transmit", command.args(["--listen", &format!("127.0.0.1:{port}")]))?;
    wait_for_listener(port, Duration::from_secs(30))?;
    Ok(running)
}

/// From the first poll until the last SET is acknowledged, which means that it is stored.
fn poll(bench: &Bench, folder: &Path, port: u16, issuer: &str, count: u64) -> Result<(f64, Metered)> {
    let _transmitter = transmitter(bench, folder, port)?;
    forget(folder);
    let receiver = Running::start("receive poll", receive(bench, "poll", folder).args(["--issuer", issuer]))?;
    let meter = Meter::start(bench, receiver.id());
    let patience = Duration::from_secs(300);
    let stats = wait_until(patience, "the SETs are not all acknowledged", || {
        let stats = http::json(port, "GET", "/__stats", &[], "")?;
        Ok((stats["acked"].as_u64() >= Some(count)).then_some(stats))
    })?;
    let metered = meter.stop();
    let nanos = |name: &str| stats[name].as_u64().context("SETs were polled");
    Ok((count as f64 / ((nanos("latest_ack_ns")? - nanos("first_ns")?) as f64 / 1e9), metered))
}

fn push(bench: &Bench, folder: &Path, port: u16, issuer: &str) -> Result<(f64, Metered)> {
    let _transmitter = transmitter(bench, folder, port)?;
    forget(folder);
    let own = bench.free_port()?;
    let address = format!("127.0.0.1:{own}");
    let mut command = receive(bench, "push", folder);
    let receiver = Running::start("receive push", command.args(["--listen", &address, "--issuer", issuer]))?;
    wait_for_listener(own, Duration::from_secs(10))?;
    let meter = Meter::start(bench, receiver.id());
    let mut command = Command::new(bench.program("loadgen"));
    command.args(["--url", &format!("http://{address}/receive/bench"), "-c", &PUSH_CONNECTIONS.to_string()]);
    command
        .args(["-H", "Content-Type: application/secevent+jwt"])
        .arg("--bodies")
        .arg(folder.join("tokens.txt"));
    let summary: Value = Running::start("loadgen", command.stdout(Stdio::piped()))?.output()?;
    let metered = meter.stop();
    anyhow::ensure!(summary["ok"] == summary["requests"], "not all SETs were taken: {}", summary["status"]);
    Ok((summary["ok_per_s"].as_f64().unwrap_or(f64::NAN), metered))
}

/// Each run has a new store: what was received once is a repeat the next time.
fn forget(folder: &Path) {
    for name in ["receiver.db", "receiver.db-wal", "receiver.db-shm", "receiver.db.lock"] {
        // The first run has none.
        let _ = std::fs::remove_file(folder.join(name));
    }
}
