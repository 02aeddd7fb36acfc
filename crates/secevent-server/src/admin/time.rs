//! Times as operators read and write them: RFC 3339, in UTC.

use secevent::Timestamp;

/// This time as text.
pub(crate) fn told(time: Timestamp) -> String {
    // What a store keeps lies in years that have four digits.
    jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or_default().to_string()
}

/// The time that a text means, if it means one.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_told() {
        for micros in [0, 1_795_000_000_000_000, 1_795_000_000_123_456] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(read(&told(at)), Some(at));
        }
        assert_eq!(told(Timestamp::from_seconds(1_458_496_404)), "2016-03-20T17:53:24Z");
        assert_eq!(read("2016-03-20T18:53:24+01:00"), Some(Timestamp::from_seconds(1_458_496_404)));
        for wrong in ["1458496404", "2016-03-20", "2016-03-20T17:53:24", "yesterday", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
