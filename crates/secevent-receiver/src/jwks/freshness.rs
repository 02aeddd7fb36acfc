//! How long a fetched key set may be kept (RFC 9111 section 4.2): pure functions of the answer's headers and the time.

use super::JwksCache;
use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};
use secevent::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// How long an answer that came at `now` is fresh, within [`JwksCache::AGE_MIN`] and [`JwksCache::AGE_MAX`].
///
/// This is a private cache: `s-maxage` is not for it, and `max-age` comes before `Expires`. What a cache on the way
/// has already used up of the time counts (`Age`, and `Date` compared with our clock). A malformed value counts as
/// expired, as RFC 9111 section 4.2.1 recommends.
pub(super) fn fresh_for(headers: &HeaderMap, now: Timestamp) -> Duration {
    let control = Control::of(headers);
    if control.always_ask {
        return JwksCache::AGE_MIN;
    }
    let date = text(headers, DATE).and_then(time_of);
    let lifetime = control.max_age.unwrap_or_else(|| {
        headers.get(EXPIRES).map_or(JwksCache::AGE_DEFAULT, |_| {
            let expires = text(headers, EXPIRES).and_then(time_of);
            expires.map_or(Duration::ZERO, |expires| expires.since(date.unwrap_or(now)))
        })
    });
    let age = text(headers, AGE).and_then(seconds).unwrap_or_default();
    let apparent = date.map_or(Duration::ZERO, |date| now.since(date));
    lifetime.saturating_sub(age.max(apparent)).clamp(JwksCache::AGE_MIN, JwksCache::AGE_MAX)
}

#[derive(Default)]
struct Control {
    always_ask: bool,
    max_age: Option<Duration>,
}

impl Control {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let mut control = Self::default();
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => control.always_ask = true,
                // The first one counts (RFC 9111 section 4.2.1).
                "max-age" if control.max_age.is_none() => {
                    control.max_age = Some(seconds(value.trim().trim_matches('"')).unwrap_or_default());
                }
                _ => {}
            }
        }
        control
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number of seconds. One that is too large for us is as large as can be (RFC 9111 section 1.2.2).
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

fn time_of(date: &str) -> Option<Timestamp> {
    let since_1970 = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_seconds(i64::try_from(since_1970.as_secs()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    const NOW: Timestamp = Timestamp::from_seconds(784_111_777);

    fn kept(headers: &[(&str, &str)]) -> u64 {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        fresh_for(&headers.collect::<Vec<_>>().into_iter().fold(HeaderMap::new(), append), NOW).as_secs()
    }

    fn append(mut headers: HeaderMap, (name, value): (HeaderName, http::HeaderValue)) -> HeaderMap {
        headers.append(name, value);
        headers
    }

    #[test]
    fn how_long_keys_are_kept_by_cache_control() {
        for (header, seconds) in [
            ("", 3600),
            ("max-age=600", 600),
            ("public, Max-Age=600", 600),
            ("max-age=\"600\"", 600),
            ("max-age=600, max-age=1200", 600),
            ("s-maxage=5000, max-age=600", 600),
            ("s-maxage=600", 3600),
            ("max-age=0", 60),
            ("max-age=5", 60),
            ("no-store, max-age=600", 60),
            ("max-age=600, no-cache", 60),
            ("no-cache", 60),
            ("max-age=99999999", 86_400),
            ("max-age=99999999999999999999999", 86_400),
            ("max-age=-1", 60),
            ("max-age=soon", 60),
        ] {
            assert_eq!(kept(&[("cache-control", header)]), seconds, "{header}");
        }
        assert_eq!(kept(&[]), 3600);
        assert_eq!(kept(&[("cache-control", "public"), ("cache-control", "max-age=600")]), 600);
    }

    // finding: A5
    #[test]
    fn what_caches_on_the_way_have_used_up_counts() {
        let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 09:49:37 GMT");
        let earlier = "Sun, 06 Nov 1994 08:44:37 GMT";
        for (headers, seconds) in [
            (&[("cache-control", "max-age=600"), ("age", "200")][..], 400),
            (&[("cache-control", "max-age=600"), ("age", "601")], 60),
            (&[("cache-control", "max-age=600"), ("age", "-5")], 600),
            (&[("cache-control", "max-age=600"), ("age", "99999999999999999999999")], 60),
            (&[("age", "1000")], 2600),
            (&[("expires", later)], 3600),
            (&[("expires", later), ("date", date)], 3600),
            // An answer that a cache made five minutes ago, and one of a clock that is ahead of ours.
            (&[("expires", later), ("date", earlier)], 3600),
            (&[("cache-control", "max-age=600"), ("date", earlier)], 300),
            (&[("cache-control", "max-age=600"), ("date", earlier), ("age", "400")], 200),
            (&[("cache-control", "max-age=600"), ("date", later)], 600),
            (&[("expires", later), ("age", "600")], 3000),
            (&[("expires", date)], 60),
            (&[("expires", earlier)], 60),
            (&[("expires", "0")], 60),
            (&[("expires", later), ("cache-control", "max-age=600")], 600),
            (&[("expires", "Sunday, 06-Nov-94 09:09:37 GMT")], 1200),
            (&[("expires", later), ("cache-control", "no-store")], 60),
        ] {
            assert_eq!(kept(headers), seconds, "{headers:?}");
        }
    }
}
