//! How long a peer asks to wait before the next request (RFC 9110 section 10.2.3).

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// The time that the `Retry-After` of an answer asks to wait: seconds, or a date.
///
/// A date is compared with the answer's own `Date`, never with our clock, which may be wrong. None if it asks for nothing
/// that can be understood; a date that has passed is no time at all.
///
/// ```
/// use http::HeaderMap;
/// use secevent_ssf::retry_after;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("date", "Fri, 31 Dec 1999 23:59:00 GMT".parse()?);
/// headers.insert("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT".parse()?);
/// assert_eq!(retry_after(&headers), Some(std::time::Duration::from_secs(59)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if asked.bytes().all(|byte| byte.is_ascii_digit()) && !asked.is_empty() {
        // More seconds than a number can hold are for ever, and the caller has its own bound.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let until = date(asked)?;
    let from = date(headers.get(DATE)?.to_str().ok()?.trim())?;
    Some(until.duration_since(from).unwrap_or_default())
}

/// A date in any of the three forms that RFC 9110 section 5.6.7 knows.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B22
    #[test]
    fn seconds_and_dates() {
        let noon = "Sun, 06 Nov 1994 12:00:00 GMT";
        for (asked, date, seconds) in [
            ("7", None, Some(7)),
            (" 7 ", None, Some(7)),
            ("0", Some(noon), Some(0)),
            ("99999999999999999999999", None, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 12:01:30 GMT", Some(noon), Some(90)),
            ("Sunday, 06-Nov-94 12:01:30 GMT", Some(noon), Some(90)),
            ("Sun Nov  6 12:01:30 1994", Some(noon), Some(90)),
            ("Sun, 06 Nov 1994 11:59:00 GMT", Some(noon), Some(0)),
            ("Sun, 06 Nov 1994 12:01:30 GMT", None, None),
            ("Sun, 06 Nov 1994 12:01:30 GMT", Some("noon"), None),
            ("soon", Some(noon), None),
            ("-1", Some(noon), None),
            ("+1", None, None),
            ("1.5", None, None),
            ("", Some(noon), None),
        ] {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, asked.parse().unwrap())]);
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{asked:?} at {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
