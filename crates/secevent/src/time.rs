//! Points in time, as JWTs write them.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A point in time: microseconds since the Unix epoch, UTC, leap seconds left out.
///
/// In JSON it is a NumericDate (RFC 7519 section 2): a number of seconds. Whole seconds are written as
/// whole numbers; a fraction is kept to the microsecond. Nothing in these crates reads a clock: the time
/// comes in as an argument.
///
/// ```
/// use secevent::Timestamp;
///
/// let at: Timestamp = serde_json::from_str("1615305159").unwrap();
/// assert_eq!(at.as_seconds(), 1_615_305_159);
/// assert_eq!(serde_json::to_string(&at).unwrap(), "1615305159");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: i64,
}

impl Timestamp {
    const MICROS_PER_SECOND: i64 = 1_000_000;
    /// What a NumericDate may reach: 2^53 microseconds are the year 2255, seconds end with the year 9999.
    const SECONDS_MAX: i64 = 253_402_300_799;

    /// This many whole seconds after the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { micros: seconds.saturating_mul(Self::MICROS_PER_SECOND) }
    }

    /// This many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self { micros: millis.saturating_mul(1_000) }
    }

    /// This many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Whole seconds since the epoch, rounded down, so that an `iat` is never ahead of the clock.
    pub const fn as_seconds(self) -> i64 {
        self.micros.div_euclid(Self::MICROS_PER_SECOND)
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.micros.div_euclid(1_000)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.micros
    }

    /// Whether JSON can say it: a NumericDate ends with the year 9999.
    pub(crate) const fn is_numeric_date(self) -> bool {
        self.as_seconds().unsigned_abs() <= Self::SECONDS_MAX.unsigned_abs()
    }

    /// The same time without its fraction of a second.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self::from_seconds(self.as_seconds())
    }

    /// This much later; the end of time stays the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self { micros: self.micros.saturating_add(micros) }
    }

    /// This much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self { micros: self.micros.saturating_sub(micros) }
    }

    /// How long after `earlier` this is; nothing if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.micros.saturating_sub(earlier.micros)).unwrap_or(0))
    }
}

/// Where the time comes from: a real clock at the edge of a program, a simulated one in tests.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// How much time has passed since some fixed moment: monotonic time, which nobody sets. Of a clock that is never set
    /// that is how far it has come, and such a clock need not implement this.
    fn elapsed(&self) -> Duration {
        self.now().since(Timestamp::from_micros(0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = self.micros.rem_euclid(Self::MICROS_PER_SECOND);
        write!(f, "{}", self.as_seconds())?;
        if fraction > 0 { write!(f, ".{fraction:06}") } else { Ok(()) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.micros % Self::MICROS_PER_SECOND == 0 {
            return serializer.serialize_i64(self.as_seconds());
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a double holds the microsecond far into this century, and nearly so after"
        )]
        serializer.serialize_f64(self.micros as f64 / Self::MICROS_PER_SECOND as f64)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumericDate)
    }
}

struct NumericDate;

impl Visitor<'_> for NumericDate {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds since 1970-01-01T00:00:00Z, not after the year 9999")
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
        if seconds.unsigned_abs() > Timestamp::SECONDS_MAX.unsigned_abs() {
            return Err(E::invalid_value(de::Unexpected::Signed(seconds), &self));
        }
        Ok(Timestamp::from_seconds(seconds))
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
        match i64::try_from(seconds) {
            Ok(seconds) => self.visit_i64(seconds),
            Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(seconds), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
        #[expect(clippy::cast_precision_loss, reason = "the bound is far below 2^53")]
        if !seconds.is_finite() || seconds.abs() > Timestamp::SECONDS_MAX as f64 {
            return Err(E::invalid_value(de::Unexpected::Float(seconds), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "bounded above; a fraction of a microsecond is dropped"
        )]
        Ok(Timestamp::from_micros((seconds * 1e6).round() as i64))
    }
}

/// A span of time in the form in which people read it.
///
/// ```
/// use secevent::Span;
/// use std::time::Duration;
///
/// assert_eq!(Span(Duration::from_millis(59_841)).to_string(), "60 s");
/// assert_eq!(Span(Duration::from_millis(2_500)).to_string(), "2.5 s");
/// assert_eq!(Span(Duration::from_secs(7 * 24 * 3600)).to_string(), "7 days");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        // Rounded up: what is to come in so long must not be said to come earlier.
        let seconds = millis.div_ceil(1_000);
        match millis {
            0..1_000 => write!(f, "{millis} ms"),
            1_000..10_000 if !millis.is_multiple_of(1_000) => {
                let tenths = millis.div_ceil(100);
                write!(f, "{}.{} s", tenths / 10, tenths % 10)
            }
            1_000..=120_000 => write!(f, "{seconds} s"),
            120_001..=7_200_000 => write!(f, "{} min", seconds.div_ceil(60)),
            7_200_001..=172_800_000 => write!(f, "{} h", seconds.div_ceil(3_600)),
            _ => write!(f, "{} days", seconds.div_ceil(86_400)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_dates_in_and_out() {
        for (json, micros, back) in [
            ("0", 0, "0"),
            ("1520364019", 1_520_364_019_000_000, "1520364019"),
            ("1520364019.25", 1_520_364_019_250_000, "1520364019.25"),
            ("1.5203640e9", 1_520_364_000_000_000, "1520364000"),
            ("-1.5", -1_500_000, "-1.5"),
        ] {
            let at: Timestamp = serde_json::from_str(json).unwrap();
            assert_eq!(at.as_micros(), micros, "{json}");
            assert_eq!(serde_json::to_string(&at).unwrap(), back, "{json}");
        }
        for json in [
            "\"1520364019\"",
            "null",
            "true",
            "1e300",
            "253402300800",
            "-9223372036854775808",
            "18446744073709551615",
            "{}",
        ] {
            assert!(serde_json::from_str::<Timestamp>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn seconds_round_down() {
        assert_eq!(Timestamp::from_millis(1_999).as_seconds(), 1);
        assert_eq!(Timestamp::from_millis(-1).as_seconds(), -1);
        assert_eq!(Timestamp::from_millis(1_999).floor_to_second(), Timestamp::from_seconds(1));
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Timestamp::from_seconds(1).since(end), Duration::ZERO);
        assert_eq!(end.since(Timestamp::from_micros(i64::MIN)), Duration::from_micros(i64::MAX as u64));
        assert_eq!(Timestamp::from_seconds(5).minus(Duration::from_secs(2)), Timestamp::from_seconds(3));
    }

    // finding: C16
    #[test]
    fn spans_are_short_and_in_one_unit() {
        for (millis, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_001, "1.1 s"),
            (9_999, "10.0 s"),
            (10_000, "10 s"),
            (59_841, "60 s"),
            (120_000, "120 s"),
            (120_001, "3 min"),
            (7_200_000, "120 min"),
            (7_200_001, "3 h"),
            (172_800_000, "48 h"),
            (172_800_001, "3 days"),
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), shown, "{millis}");
        }
    }
}
