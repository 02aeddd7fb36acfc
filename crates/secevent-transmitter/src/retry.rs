//! What an answer means, and when to try again: pure functions.

use bytes::Bytes;
use http::{Response, StatusCode};
use rand::{Rng, RngExt as _};
use secevent::{Fault, Timestamp};
use secevent_ssf::push::{self, ErrorCode};
use secevent_ssf::retry_after;
use std::time::Duration;

/// What became of one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has the SET (RFC 8935 section 2.2).
    Accepted,
    /// The receiver refuses this SET, and would refuse it again.
    Rejected(String),
    /// The receiver is not to be had just now: the trouble is the stream's, not the SET's (SEM-8).
    Trouble(Trouble),
}

/// Why nothing can be delivered to a receiver at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// What the operator should know.
    pub detail: String,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
}

/// Kinds of trouble with a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// No connection, or no answer in time.
    Unreachable,
    /// TLS failed: a certificate that does not fit, a version too old.
    Tls,
    /// The receiver is overloaded or broken: 408, 429, 5xx.
    Busy,
    /// Our credentials are refused: 401, 403, or the codes that mean the same.
    Credentials,
    /// The receiver does not accept our issuer or key.
    Trust,
    /// There is nothing at the endpoint any more, or not yet: 404, 410.
    Gone,
    /// An answer that no receiver of SETs gives: a redirect, a page of a proxy, a success other than 200, 202 and 204.
    Unexpected,
    /// The address is one that the address guard does not let through.
    Guard,
}

/// Reads a receiver's answer. Only a 400 with an `err` about the token is the token's trouble; everything else
/// that delivers nothing is the stream's, and costs no SET (SEM-8).
pub fn classify(answer: &Response<Bytes>) -> Outcome {
    if push::is_delivered(answer) {
        return Outcome::Accepted;
    }
    let status = answer.status();
    let error = push::Error::read(answer.body()).filter(|_| !status.is_success());
    let trouble = |kind| {
        let detail = match &error {
            Some(error) => format!("{status}, {error}"),
            None if status == StatusCode::OK => format!("{status} with a page of HTML"),
            None => status.to_string(),
        };
        Outcome::Trouble(Trouble { kind, detail, retry_after: retry_after(answer.headers()) })
    };
    let fault = error.as_ref().and_then(|error| match &error.err {
        ErrorCode::Known(fault) => Some(*fault),
        ErrorCode::Other(_) => None,
    });
    match (status, fault, &error) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, ..) => trouble(TroubleKind::Credentials),
        (StatusCode::BAD_REQUEST, Some(Fault::AuthenticationFailed | Fault::AccessDenied), _) => {
            trouble(TroubleKind::Credentials)
        }
        (StatusCode::BAD_REQUEST, Some(Fault::InvalidKey | Fault::InvalidIssuer), _) => {
            trouble(TroubleKind::Trust)
        }
        (StatusCode::BAD_REQUEST, _, Some(error)) => Outcome::Rejected(error.to_string()),
        (StatusCode::NOT_FOUND | StatusCode::GONE, ..) => trouble(TroubleKind::Gone),
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS, ..) => {
            trouble(TroubleKind::Busy)
        }
        (status, ..) if status.is_server_error() => trouble(TroubleKind::Busy),
        // Whoever answers like this does not speak RFC 8935, so it says nothing about the SET.
        _ => trouble(TroubleKind::Unexpected),
    }
}

/// How long to wait between attempts. Units: seconds.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The bound of the first delay. Default: 1 s.
    pub delay_first: Duration,
    /// The bound of every delay. Default: 5 min.
    pub delay_max: Duration,
    /// How old a delivery may get before it is abandoned. Default: 7 days.
    pub age_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(300),
            age_max: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl RetryPolicy {
    /// The delay after `failures` failures in a row: exponential with full jitter, so that receivers that come
    /// back are not met by everybody at once. What the receiver asks for counts between our own bounds.
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, chance: &mut dyn Rng) -> Duration {
        let doubled = self
            .delay_first
            .saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let bound = doubled.min(self.delay_max);
        let jittered = bound.mul_f64(chance.random_range(0.0..=1.0)).max(self.delay_first / 10);
        match retry_after {
            Some(asked) => asked.clamp(jittered, self.delay_max),
            None => jittered,
        }
    }

    /// Whether a delivery of this age is to be given up.
    pub fn is_too_old(&self, accepted_at: Timestamp, now: Timestamp) -> bool {
        now.since(accepted_at) > self.age_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn answer(status: u16, content_type: Option<&str>, body: String) -> Response<Bytes> {
        let mut answer = Response::builder().status(status).header("retry-after", "30");
        if let Some(content_type) = content_type {
            answer = answer.header("content-type", content_type);
        }
        answer.body(body.into()).unwrap()
    }

    #[test]
    fn whose_trouble_an_answer_is() {
        use TroubleKind::{Busy, Credentials, Gone, Trust, Unexpected};
        let kind = |status: u16, err: Option<&str>| {
            let body = err.map(|err| format!(r#"{{"err":"{err}","description":"because"}}"#));
            match classify(&answer(status, None, body.unwrap_or_default())) {
                Outcome::Accepted => "accepted".to_owned(),
                Outcome::Rejected(_) => "rejected".to_owned(),
                Outcome::Trouble(trouble) => format!("{:?}", trouble.kind),
            }
        };
        for (status, err, expected) in [
            (202, None, "accepted".to_owned()),
            (200, None, "accepted".to_owned()),
            (400, Some("invalid_request"), "rejected".to_owned()),
            (400, Some("invalid_audience"), "rejected".to_owned()),
            (400, Some("brand_new"), "rejected".to_owned()),
            (400, None, format!("{Unexpected:?}")),
            (400, Some("authentication_failed"), format!("{Credentials:?}")),
            (400, Some("invalid_key"), format!("{Trust:?}")),
            (401, None, format!("{Credentials:?}")),
            (403, None, format!("{Credentials:?}")),
            (404, None, format!("{Gone:?}")),
            (410, None, format!("{Gone:?}")),
            (302, None, format!("{Unexpected:?}")),
            (413, None, format!("{Unexpected:?}")),
            (429, None, format!("{Busy:?}")),
            (503, None, format!("{Busy:?}")),
        ] {
            assert_eq!(kind(status, err), expected, "{status} {err:?}");
        }
    }

    // finding: B18
    #[test]
    fn the_head_decides_what_is_delivered() {
        const HTML: &str = "text/html";
        let taken = |status, content_type| {
            let answer = answer(status, content_type, r#"{"err":"invalid_request"}"#.to_owned());
            match classify(&answer) {
                Outcome::Accepted => true,
                outcome => {
                    let Outcome::Trouble(trouble) = outcome else { panic!("{outcome:?}") };
                    assert_eq!(trouble.kind, TroubleKind::Unexpected);
                    assert_eq!(trouble.retry_after, Some(Duration::from_secs(30)));
                    false
                }
            }
        };
        for content_type in [None, Some("application/json"), Some("text/plain"), Some("text/htmlx"), Some("")]
        {
            for status in [200, 202, 204] {
                assert!(taken(status, content_type), "{status} {content_type:?}");
            }
        }
        for content_type in [HTML, "Text/HTML; charset=utf-8", " text/html", "application/xhtml+xml;q=1"] {
            assert!(taken(202, Some(content_type)));
            assert!(!taken(200, Some(content_type)), "{content_type:?}");
            assert!(!taken(204, Some(content_type)), "{content_type:?}");
        }
        for status in [201, 203, 205, 206, 207, 226, 299] {
            assert!(!taken(status, None), "{status}");
        }
    }

    #[test]
    fn delays_grow_within_their_bounds() {
        let policy = RetryPolicy::default();
        let mut chance = StdRng::seed_from_u64(7);
        for failures in [1, 2, 3, 10, 31, 32, 33, u32::MAX] {
            for _ in 0..100 {
                let delay = policy.delay(failures, None, &mut chance);
                let bound = Duration::from_secs(1_u64.checked_shl(failures - 1).unwrap_or(u64::MAX))
                    .min(policy.delay_max);
                assert!(delay >= policy.delay_first / 10 && delay <= bound, "{failures}: {delay:?}");
            }
        }
        let asked = policy.delay(1, Some(Duration::from_secs(30)), &mut chance);
        assert_eq!(asked, Duration::from_secs(30));
        let asked = policy.delay(1, Some(Duration::from_secs(86_400)), &mut chance);
        assert_eq!(asked, policy.delay_max);
    }

    #[test]
    fn old_deliveries_are_given_up() {
        let policy = RetryPolicy::default();
        let accepted = Timestamp::from_seconds(1_000);
        assert!(!policy.is_too_old(accepted, accepted.plus(policy.age_max)));
        assert!(policy.is_too_old(accepted, accepted.plus(policy.age_max + Duration::from_secs(1))));
    }
}
