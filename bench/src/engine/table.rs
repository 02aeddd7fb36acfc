//! What the bench has to say: lines of a table, the raw figures behind them, and the page in the book.

use super::figures::{Bound, readable};
use super::machine::Machine;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};

/// One figure, what it is to be, and what it is.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// What the floor does, or the product without the burden.
    pub floor: String,
    /// What the product does.
    pub product: String,
    /// What counts: a ratio, or the figure itself.
    pub value: Option<f64>,
    /// The unit of `value`.
    pub unit: &'static str,
    /// What it has to be.
    pub must: Option<Bound>,
    /// What it would better be.
    pub stretch: Option<Bound>,
    /// Why there is no value.
    pub note: Option<String>,
}

/// How a figure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As good as it would better be.
    Stretch,
    /// As good as it has to be.
    Met,
    /// Not as good as it has to be.
    Missed,
    /// Nothing is asked of it.
    Told,
    /// It was not measured.
    NotMeasured,
}

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More is better: rates.
    HigherIsBetter,
    /// Less is better: times, memory, bytes.
    LowerIsBetter,
}

impl Line {
    /// A ratio of the product to the floor, or of the product with a burden to itself without.
    pub fn ratio(
        what: &str,
        base: (f64, &str),
        product: (f64, &str),
        must: Option<Bound>,
        stretch: Option<Bound>,
    ) -> Self {
        Self {
            what: what.to_owned(),
            floor: format!("{} {}", readable(base.0), base.1),
            product: format!("{} {}", readable(product.0), product.1),
            value: super::figures::ratio(product.0, base.0),
            unit: "×",
            must,
            stretch,
            note: None,
        }
    }

    /// A figure of the product alone.
    pub fn figure(
        what: &str,
        value: f64,
        unit: &'static str,
        must: Option<Bound>,
        stretch: Option<Bound>,
    ) -> Self {
        Self {
            what: what.to_owned(),
            product: format!("{} {unit}", readable(value)),
            value: Some(value),
            unit,
            must,
            stretch,
            ..Self::default()
        }
    }

    /// Something that was not measured, and why.
    pub fn not_measured(what: &str, why: &str) -> Self {
        Self { what: what.to_owned(), note: Some(why.to_owned()), ..Self::default() }
    }

    /// Which way it gets better: its bound says so, and without one the unit of what was measured.
    pub fn direction(&self) -> Direction {
        match self.must.or(self.stretch) {
            Some(Bound::AtLeast(_)) => Direction::HigherIsBetter,
            None if self.product.ends_with("/s") => Direction::HigherIsBetter,
            Some(Bound::AtMost(_)) | None => Direction::LowerIsBetter,
        }
    }

    /// How it does.
    pub fn verdict(&self) -> Verdict {
        let Some(value) = self.value.filter(|value| value.is_finite()) else { return Verdict::NotMeasured };
        match (self.must, self.stretch) {
            (None, None) => Verdict::Told,
            (Some(must), _) if !must.is_kept(value) => Verdict::Missed,
            (_, Some(stretch)) if stretch.is_kept(value) => Verdict::Stretch,
            _ => Verdict::Met,
        }
    }

    fn cells(&self) -> [String; 7] {
        let bound = |bound: Option<Bound>| {
            bound.map_or_else(|| "–".to_owned(), |bound| format!("{bound} {}", self.unit))
        };
        let value = self.value.filter(|value| value.is_finite());
        let verdict = match (&self.note, self.verdict()) {
            (Some(note), Verdict::NotMeasured) => format!("not measured: {note}"),
            (_, verdict) => verdict.to_string(),
        };
        let dash = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
        [
            self.what.clone(),
            dash(&self.floor),
            dash(&self.product),
            value.map_or_else(|| "–".to_owned(), |value| format!("{} {}", readable(value), self.unit)),
            bound(self.must),
            bound(self.stretch),
            verdict,
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "what": self.what,
            "floor": self.floor,
            "product": self.product,
            "value": self.value,
            "unit": self.unit,
            "must": self.must.map(|bound| bound.to_string()),
            "stretch": self.stretch.map(|bound| bound.to_string()),
            "verdict": self.verdict().to_string(),
            "note": self.note,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stretch => "stretch",
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Told => "–",
            Self::NotMeasured => "not measured",
        })
    }
}

/// What a row has to say: its lines, and everything that was measured for them.
#[derive(Debug, Default)]
pub struct Report {
    /// The lines of the table.
    pub lines: Vec<Line>,
    /// The raw figures, each with its name.
    pub raw: Vec<(String, Value)>,
}

impl Report {
    /// Adds a line.
    pub fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Adds a raw figure.
    pub fn raw(&mut self, name: &str, value: Value) {
        self.raw.push((name.to_owned(), value));
    }
}

/// All of it.
#[derive(Debug)]
pub struct Reports {
    machine: Machine,
    rows: Vec<(String, Report)>,
    quick: bool,
}

const HEAD: [&str; 7] = ["", "floor or alone", "product", "ratio or figure", "must", "stretch", ""];

impl Reports {
    /// None yet.
    pub fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, rows: Vec::new(), quick }
    }

    /// Adds a row, and prints it. `others` says what others took of the machine so far.
    pub fn add(&mut self, row: &str, report: Report, others: Option<String>) {
        if let Some(others) = others {
            self.machine.learn("Taken by other programs meanwhile", others);
        }
        print!("{}", told(&report.lines));
        for (name, value) in &report.raw {
            println!("    {name}: {value}");
        }
        self.rows.push((row.to_owned(), report));
    }

    /// How many musts are missed.
    pub fn missed(&self) -> usize {
        self.lines().filter(|line| line.verdict() == Verdict::Missed).count()
    }

    /// How many figures that are asked for could not be measured because something failed.
    pub fn failed(&self) -> usize {
        let failed = |line: &&Line| line.note.as_ref().is_some_and(|note| note.starts_with(FAILED));
        self.lines().filter(failed).count()
    }

    /// The whole table as text.
    pub fn table(&self) -> String {
        let lines: Vec<Line> = self.lines().cloned().collect();
        told(&lines)
    }

    /// Everything, for programs.
    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|(row, report)| {
            let lines: Vec<Value> = report.lines.iter().map(Line::to_json).collect();
            let raw: Value = report.raw.iter().cloned().collect();
            (row.clone(), json!({ "lines": lines, "raw": raw }))
        });
        json!({ "machine": self.machine.to_json(), "quick": self.quick, "rows": rows.collect::<Value>() })
    }

    /// The page in the book.
    pub fn to_markdown(&self) -> String {
        let mut page = PAGE.to_owned();
        if self.quick {
            page += "\n**These are figures of a quick run, which only shows that everything works.**\n";
        }
        page += "\n## The machine\n\n| | |\n|---|---|\n";
        for (name, fact) in self.machine.facts() {
            let _ = writeln!(page, "| {name} | {fact} |");
        }
        page += "\n## The figures\n\n";
        let _ = writeln!(page, "| {} |", HEAD.join(" | "));
        page += "|---|---|---|---|---|---|---|\n";
        for line in self.lines() {
            let _ = writeln!(page, "| {} |", line.cells().join(" | "));
        }
        page += HOW;
        page
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.rows.iter().flat_map(|(_, report)| &report.lines)
    }
}

/// How the note of a row begins that could not be measured because something failed.
pub const FAILED: &str = "it failed: ";

const PAGE: &str = "# How fast it is

The shipped `secevent serve` with its embedded store and default settings, as a black box: events are posted to it, and
delivered to receivers, by programs of their own on the same machine. Where a floor is named, it ran in turns with the
product: the least that a durable, signing engine can do (accept, group-synced log, 202, sign, POST), without an index,
retries or recovery. A ratio is worth more than the figures beside it, which are those of this machine.

    cargo xtask bench engine                                  # all rows
    cargo xtask bench engine --rows latency,stop --quick      # some of them, in seconds
    cargo xtask bench engine --check                          # and fail if a must is missed
    cargo xtask bench engine --against OTHER/secevent         # this build and another one in turns
    cargo xtask bench strangers                               # under attack: see What the defaults withstand
";

const HOW: &str = "
## How it was measured

- Claims of 600 bytes, 10 000 subjects by Zipf's law, an idempotency key with each request, 32 connections.
- Throughput runs from the first request to the last delivery. CPU is user and system time of the whole process, divided
  by deliveries. Memory is the proportional set size, the most of samples taken five times a second.
- *Accept* is the time to the 202, counted from when a request was due; *end to end* the time from then until the
  receiver has read the SET.
- Bytes written are what the kernel counts for the process or what the disk was given by everybody, whichever is less:
  the former counts whole units of the kernel's cache, the latter the work of others. Checkpoints of the log are included.
- Order is judged where it is promised: of two events about one subject, the second of which was sent after the first was
  accepted, the first has to come first.
- Floor and product take turns, each with a new store, and medians are compared. A run during which other programs took
  more than a third of the machine is repeated.
";

fn told(lines: &[Line]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let (must, stretch) = (Some(Bound::AtLeast(0.3)), Some(Bound::AtLeast(0.5)));
        let verdict =
            |product: f64| Line::ratio("x", (100.0, "/s"), (product, "/s"), must, stretch).verdict();
        assert_eq!(
            [verdict(29.0), verdict(30.0), verdict(50.0)],
            [Verdict::Missed, Verdict::Met, Verdict::Stretch]
        );
        assert_eq!(Line::ratio("x", (0.0, ""), (1.0, ""), must, stretch).verdict(), Verdict::NotMeasured);
        assert_eq!(Line::figure("x", 1.0, "ms", None, None).verdict(), Verdict::Told);
        assert_eq!(Line::not_measured("x", "later").verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn directions() {
        let direction = |unit: &str, must| Line::ratio("x", (1.0, unit), (1.0, unit), must, None).direction();
        assert_eq!(direction("/s", None), Direction::HigherIsBetter);
        assert_eq!(direction("SETs/s", None), Direction::HigherIsBetter);
        assert_eq!(direction("ms", None), Direction::LowerIsBetter);
        assert_eq!(direction("ms", Some(Bound::AtLeast(1.0))), Direction::HigherIsBetter);
        assert_eq!(direction("/s", Some(Bound::AtMost(1.0))), Direction::LowerIsBetter);
    }

    #[test]
    fn lines_are_set_in_columns() {
        let must = Some(Bound::AtMost(2.0));
        let lines = [
            Line::ratio("p99", (2.0, "ms"), (5.0, "ms"), must, None),
            Line::not_measured("subjects", "issue 4"),
        ];
        let text = told(&lines);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[1], "p99       2.00 ms         5.00 ms  2.50 ×           ≤ 2 ×  –        MISSED");
        assert!(rows[2].ends_with("not measured: issue 4"), "{text}");
    }
}
