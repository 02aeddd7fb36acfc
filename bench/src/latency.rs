//! Latencies: a histogram of microseconds, and its summary.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

/// Latencies with three significant digits, up to one hour.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "an empty measurement is nobody's default")]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order"))
    }

    /// Takes one more, a microsecond at least.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The usual quantiles in milliseconds; null when nothing was measured.
    pub fn to_json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        let millis = |micros: u64| micros as f64 / 1000.0;
        let quantile = |q: f64| millis(self.0.value_at_quantile(q));
        json!({
            "n": self.0.len(),
            "min_ms": millis(self.0.min()),
            "mean_ms": (self.0.mean() / 10.0).round() / 100.0,
            "p50_ms": quantile(0.50),
            "p90_ms": quantile(0.90),
            "p99_ms": quantile(0.99),
            "p999_ms": quantile(0.999),
            "max_ms": millis(self.0.max()),
        })
    }
}

/// A number with this many decimals, for people to read.
pub fn rounded(number: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (number * scale).round() / scale
}
