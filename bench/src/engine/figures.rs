//! The arithmetic: medians, quantiles, ratios, and what is asked of them.

use std::fmt;

/// The middle one; of an even number the mean of the two in the middle. None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The least value that so many of all are not above, such as 0.99 of them.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * sorted.len() as f64).ceil();
    // Every place up to a length is a whole number that a float holds.
    let place = (1..=sorted.len()).find(|rank| *rank as f64 >= place)?;
    sorted.get(place - 1).copied()
}

/// One figure in proportion to another; none if that is nothing.
pub fn ratio(value: f64, of: f64) -> Option<f64> {
    (of > 0.0 && value.is_finite()).then(|| value / of)
}

/// What a figure is to keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Bound {
    /// Whether a figure keeps to it.
    pub fn is_kept(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// A number with as many decimals as say something.
pub fn readable(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        small if small >= 0.01 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[4.0, 1.0, 2.0, 9.0], Some(3.0)),
            (&[f64::NAN, 1.0], Some(1.0)),
        ] {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn quantiles() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.5), Some(50.0));
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&hundred, 1.0), Some(100.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.99), None);
    }

    #[test]
    fn ratios_and_bounds() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 2.0), None);
        assert!(Bound::AtLeast(0.3).is_kept(0.3) && !Bound::AtLeast(0.3).is_kept(0.29));
        assert!(Bound::AtMost(2.0).is_kept(2.0) && !Bound::AtMost(2.0).is_kept(2.01));
        assert_eq!(Bound::AtMost(1.5).to_string(), "≤ 1.5");
    }

    #[test]
    fn numbers_are_readable() {
        for (value, expected) in
            [(12_345.6, "12346"), (45.67, "45.7"), (1.234, "1.23"), (0.0, "0.00"), (0.00123, "0.0012")]
        {
            assert_eq!(readable(value), expected);
        }
    }
}
