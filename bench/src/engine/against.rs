//! The same rows for two builds of the product, in turns: is this one slower than the one before?
//!
//! Figures of a shared machine move by a quarter from day to day. A change is judged by pairs of runs that follow one
//! another, each beside its own floor.

use super::Bench;
use super::figures::{median, ratio, readable};
use super::rows::Row;
use super::table::{Direction, Line, Report};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// A row may get worse by this much between two builds.
pub const WORSE_MAX: f64 = 0.05;

/// One line of the table, for both builds.
#[derive(Debug, Clone)]
pub struct Change {
    what: String,
    unit: &'static str,
    direction: Direction,
    /// The values of each turn: the build of before, and this one.
    turns: Vec<(f64, f64)>,
}

impl Change {
    /// The median of this build divided by the median of the one before.
    pub fn change(&self) -> Option<f64> {
        let (before, now) = self.medians()?;
        ratio(now, before)
    }

    /// Whether the figure got worse by more than [`WORSE_MAX`].
    pub fn is_worse(&self) -> bool {
        let worse = |change: f64| match self.direction {
            Direction::HigherIsBetter => change < 1.0 - WORSE_MAX,
            Direction::LowerIsBetter => change > 1.0 + WORSE_MAX,
        };
        self.change().is_some_and(worse)
    }

    fn medians(&self) -> Option<(f64, f64)> {
        let of = |pick: fn(&(f64, f64)) -> f64| median(&self.turns.iter().map(pick).collect::<Vec<_>>());
        of(|turn| turn.0).zip(of(|turn| turn.1))
    }

    /// The least and the greatest change of a single turn: how far the machine can be trusted.
    fn spread(&self) -> Option<(f64, f64)> {
        let changes = || self.turns.iter().filter_map(|(before, now)| ratio(*now, *before));
        changes().reduce(f64::min).zip(changes().reduce(f64::max))
    }

    /// The line as it is printed.
    pub fn to_text(&self) -> String {
        let Some(((before, now), (change, (least, most)))) =
            self.medians().zip(self.change().zip(self.spread()))
        else {
            return format!("{}: not measured in both builds", self.what);
        };
        format!(
            "{}: before {}, now {} {}, change {change:.2} ({least:.2} to {most:.2}){}",
            self.what,
            readable(before),
            readable(now),
            self.unit,
            if self.is_worse() { ", WORSE" } else { "" },
        )
    }

    /// The line for programs.
    pub fn to_json(&self) -> Value {
        json!({
            "what": self.what,
            "unit": self.unit,
            "turns": self.turns,
            "change": self.change(),
            "worse": self.is_worse(),
        })
    }
}

/// Measures a row with both builds in turns, `rounds` times. The order alternates, so that neither always comes first.
pub fn measure(bench: &mut Bench, row: Row, before: &Path, rounds: usize) -> Result<Vec<Change>> {
    let now = bench.product().to_owned();
    let mut changes: Vec<Change> = Vec::new();
    for round in 0..rounds {
        let order = if round % 2 == 0 { [before, &now] } else { [&now, before] };
        let mut reports = Vec::new();
        for build in order {
            bench.set_product(build);
            let name = if build == before { "before" } else { "now" };
            bench.tell(&format!("turn {} of {rounds}: {name}", round + 1));
            let report = row.measure(bench);
            bench.set_product(&now);
            reports.push(report.with_context(|| format!("the build of {name}"))?);
        }
        if round % 2 == 1 {
            reports.reverse();
        }
        let [before, now] = &reports[..] else { continue };
        pair(&mut changes, before, now);
    }
    Ok(changes)
}

/// Adds one turn. A line that only one of the two has cannot be compared.
fn pair(changes: &mut Vec<Change>, before: &Report, now: &Report) {
    let value = |line: &Line| line.value.filter(|value| value.is_finite());
    for line in &now.lines {
        let same = before.lines.iter().find(|other| other.what == line.what);
        let Some(turn) = same.and_then(value).zip(value(line)) else { continue };
        match changes.iter_mut().find(|change| change.what == line.what) {
            Some(change) => change.turns.push(turn),
            None => changes.push(Change {
                what: line.what.clone(),
                unit: line.unit,
                direction: line.direction(),
                turns: vec![turn],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Bound::{AtLeast, AtMost};
    use super::*;

    fn report(rate: f64, latency: f64) -> Report {
        let mut report = Report::default();
        report.line(Line::ratio("rate", (100.0, "/s"), (rate, "/s"), Some(AtLeast(0.3)), None));
        report.line(Line::figure("latency", latency, "ms", Some(AtMost(3.0)), None));
        report
    }

    #[test]
    fn a_figure_is_worse_when_it_moves_the_wrong_way_by_more_than_the_bound() {
        for (before, now, rate_is_worse, latency_is_worse) in [
            ((60.0, 1.00), (60.0, 1.00), false, false),
            ((60.0, 1.00), (57.1, 1.04), false, false),
            ((60.0, 1.00), (56.9, 1.06), true, true),
            ((60.0, 1.00), (90.0, 0.50), false, false),
        ] {
            let mut changes = Vec::new();
            pair(&mut changes, &report(before.0, before.1), &report(now.0, now.1));
            let worse: Vec<bool> = changes.iter().map(Change::is_worse).collect();
            assert_eq!(worse, [rate_is_worse, latency_is_worse], "{before:?} {now:?}");
        }
    }

    #[test]
    fn medians_of_the_turns_count_and_lines_of_one_build_alone_do_not() {
        let mut changes = Vec::new();
        for (before, now) in [(50.0, 50.0), (60.0, 30.0), (60.0, 61.0)] {
            let mut now = report(now, 1.0);
            now.line(Line::figure("new row", 1.0, "ms", None, None));
            pair(&mut changes, &report(before, 1.0), &now);
        }
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].to_text(), "rate: before 0.60, now 0.50 ×, change 0.83 (0.50 to 1.02), WORSE");
        assert_eq!(changes[1].to_text(), "latency: before 1.00, now 1.00 ms, change 1.00 (1.00 to 1.00)");
    }

    #[test]
    fn a_base_of_zero_is_no_change() {
        let mut changes = Vec::new();
        pair(&mut changes, &report(0.0, 0.0), &report(1.0, 0.0));
        assert!(!changes[0].is_worse() && changes[0].change().is_none());
        assert_eq!(changes[0].to_text(), "rate: not measured in both builds");
    }
}
