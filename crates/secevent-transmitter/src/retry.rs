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
    /// The receiver or the way to it fails: no SET is lost by that (SEM-8).
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
    /// Whether every other SET of the stream would fail in the same way, so that one such answer suspends the stream.
    /// Otherwise the answers around it decide ([`FailureRow`]).
    pub speaks_for_all: bool,
}

/// What was sent, as far as the meaning of an answer depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// The signature is one of an earlier attempt.
    pub signed_before: bool,
    /// The stream has another rendering by now: issuer and audience of this SET are not those of new ones.
    pub rendering_replaced: bool,
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
    /// The receiver does not accept our issuer, audience or key.
    Trust,
    /// There is nothing at the endpoint any more, or not yet: 404, 410.
    Gone,
    /// An answer that no receiver of SETs gives: a redirect, a page of a proxy, a success other than 200, 202 and 204.
    Unexpected,
    /// The address is one that the address guard does not let through.
    Guard,
}

/// Reads a receiver's answer. Only a 400 with an `err` that is about this token belongs to the SET; everything else that
/// delivers nothing costs no SET (SEM-8). What holds for every SET of the stream suspends it at once: refused credentials,
/// an issuer, audience or key that is not accepted, a pause that the receiver asks for.
pub fn classify(answer: &Response<Bytes>, sent: Sent) -> Outcome {
    if push::is_delivered(answer) {
        return Outcome::Accepted;
    }
    let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
    let error = push::Error::read(answer.body()).filter(|_| !status.is_success());
    let trouble = |kind, speaks_for_all| {
        let detail = match &error {
            Some(error) => format!("{status}, {error}"),
            None if status == StatusCode::OK => format!("{status} with a page of HTML"),
            None => status.to_string(),
        };
        Outcome::Trouble(Trouble { kind, detail, retry_after, speaks_for_all })
    };
    let fault = error.as_ref().and_then(|error| match &error.err {
        ErrorCode::Known(fault) => Some(*fault),
        ErrorCode::Other(_) => None,
    });
    let asks_for_a_pause = retry_after.is_some()
        && matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    match (status, fault, &error) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, ..) => trouble(TroubleKind::Credentials, true),
        (StatusCode::BAD_REQUEST, Some(Fault::AuthenticationFailed | Fault::AccessDenied), _) => {
            trouble(TroubleKind::Credentials, true)
        }
        // It is signed with the present key next, which the receiver may accept.
        (StatusCode::BAD_REQUEST, Some(Fault::InvalidKey), _) => {
            trouble(TroubleKind::Trust, !sent.signed_before)
        }
        // The SETs that are recorded today may name others, so this answer is about this SET.
        (StatusCode::BAD_REQUEST, Some(Fault::InvalidIssuer | Fault::InvalidAudience), _)
            if !sent.rendering_replaced =>
        {
            trouble(TroubleKind::Trust, true)
        }
        (StatusCode::BAD_REQUEST, _, Some(error)) => Outcome::Rejected(error.to_string()),
        (StatusCode::NOT_FOUND | StatusCode::GONE, ..) => trouble(TroubleKind::Gone, false),
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS, ..) => {
            trouble(TroubleKind::Busy, asks_for_a_pause)
        }
        (status, ..) if status.is_server_error() => trouble(TroubleKind::Busy, asks_for_a_pause),
        // Whoever answers like this does not speak RFC 8935, so it says nothing about the SET.
        _ => trouble(TroubleKind::Unexpected, false),
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
    /// How many failures in a row, without a success between them, suspend a stream (SEM-8); 1 or more. If more attempts
    /// were under way when the first one failed, those have to fail too, up to 16 in all. Default: 3.
    pub failures_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(300),
            age_max: Duration::from_secs(7 * 24 * 3600),
            failures_max: 3,
        }
    }
}

/// Failures in a row, without a success between them. Their number decides whether one delivery failed or the receiver
/// does (SEM-8).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FailureRow {
    failures: u32,
    /// Those of deliveries that had not failed before.
    fresh: u32,
    /// How many suspend the stream.
    needed: u32,
    since: Timestamp,
}

/// What a row of failures says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowLength {
    /// Nothing yet.
    Short,
    /// Nothing succeeds, but so far this is known of few deliveries: others are still tried.
    OfFew,
    /// The receiver is in trouble.
    Full,
}

impl FailureRow {
    /// A row of this length suspends the stream, however many attempts are under way.
    pub(crate) const NEEDED_MAX: u32 = 16;

    /// Another attempt failed while so many `others` were under way; `is_fresh` unless the same delivery failed before.
    /// At least `failures_max` failures suspend a stream, and what was under way when the row began has to fail too: with
    /// many under way a few failures in a row are no sign of trouble.
    pub(crate) fn failed(
        &mut self,
        is_fresh: bool,
        others: usize,
        failures_max: u32,
        now: Timestamp,
    ) -> RowLength {
        if self.failures == 0 {
            let window = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
            (self.needed, self.since) = (window.min(Self::NEEDED_MAX).max(failures_max), now);
        }
        self.failures = self.failures.saturating_add(1);
        self.fresh = self.fresh.saturating_add(u32::from(is_fresh));
        if self.fresh >= self.needed {
            RowLength::Full
        } else if self.failures >= self.needed {
            RowLength::OfFew
        } else {
            RowLength::Short
        }
    }

    /// An attempt succeeded: the row ends.
    pub(crate) fn ended(&mut self) {
        *self = Self::default();
    }

    /// How many deliveries failed.
    pub(crate) fn fresh(self) -> usize {
        usize::try_from(self.fresh).unwrap_or(usize::MAX)
    }

    /// When the first failure was.
    pub(crate) fn since(self) -> Timestamp {
        self.since
    }
}

impl RetryPolicy {
    /// What [`RetryPolicy::delay_first`] is divided by for a delivery that waits alone.
    const ALONE: u32 = 100;

    /// The delay of a delivery that failed while others are delivered, after so many attempts of it. It begins with a
    /// hundredth of [`RetryPolicy::delay_first`], since others about its subject wait behind it, and doubles with each
    /// attempt.
    pub fn delay_alone(
        &self,
        attempts: u32,
        retry_after: Option<Duration>,
        chance: &mut dyn Rng,
    ) -> Duration {
        self.delay_from(self.delay_first / Self::ALONE, attempts, retry_after, chance)
    }

    /// The delay after `failures` failures in a row: exponential with full jitter, so that receivers that come
    /// back are not met by everybody at once. What the receiver asks for counts between our own bounds.
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, chance: &mut dyn Rng) -> Duration {
        self.delay_from(self.delay_first, failures, retry_after, chance)
    }

    fn delay_from(
        &self,
        first: Duration,
        failures: u32,
        retry_after: Option<Duration>,
        chance: &mut dyn Rng,
    ) -> Duration {
        let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let bound = doubled.min(self.delay_max);
        let jittered = bound.mul_f64(chance.random_range(0.0..=1.0)).max(first / 10);
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

    // finding: B20
    #[test]
    fn whose_trouble_an_answer_is() {
        use TroubleKind::{Busy, Credentials, Gone, Trust, Unexpected};
        let first = Sent::default();
        let again = Sent { signed_before: true, ..first };
        let replaced = Sent { rendering_replaced: true, ..first };
        let meaning = |status: u16, asked: Option<u64>, err: Option<&str>, sent: Sent| {
            let body = err.map(|err| format!(r#"{{"err":"{err}","description":"because"}}"#));
            let mut answer = answer(status, None, body.unwrap_or_default());
            answer.headers_mut().remove("retry-after");
            if let Some(asked) = asked {
                answer.headers_mut().insert("retry-after", asked.into());
            }
            match classify(&answer, sent) {
                Outcome::Accepted => "accepted".to_owned(),
                Outcome::Rejected(_) => "rejected".to_owned(),
                Outcome::Trouble(trouble) => all(trouble.kind, trouble.speaks_for_all),
            }
        };
        fn all(kind: TroubleKind, speaks_for_all: bool) -> String {
            format!("{kind:?} of {}", if speaks_for_all { "all" } else { "one" })
        }
        for (status, asked, err, sent, expected) in [
            (202, None, None, first, "accepted".to_owned()),
            (200, None, None, first, "accepted".to_owned()),
            (400, None, Some("invalid_request"), first, "rejected".to_owned()),
            (400, None, Some("brand_new"), first, "rejected".to_owned()),
            (400, Some(9), Some("brand_new"), first, "rejected".to_owned()),
            (400, None, Some("invalid_audience"), first, all(Trust, true)),
            (400, None, Some("invalid_audience"), again, all(Trust, true)),
            (400, None, Some("invalid_audience"), replaced, "rejected".to_owned()),
            (400, None, Some("invalid_issuer"), first, all(Trust, true)),
            (400, None, Some("invalid_issuer"), replaced, "rejected".to_owned()),
            (400, None, Some("invalid_key"), first, all(Trust, true)),
            (400, None, Some("invalid_key"), again, all(Trust, false)),
            (400, None, Some("invalid_key"), replaced, all(Trust, true)),
            (400, None, Some("authentication_failed"), first, all(Credentials, true)),
            (400, None, Some("access_denied"), first, all(Credentials, true)),
            (401, None, Some("invalid_request"), first, all(Credentials, true)),
            (401, None, None, first, all(Credentials, true)),
            (403, None, None, first, all(Credentials, true)),
            (400, None, None, first, all(Unexpected, false)),
            (404, None, None, first, all(Gone, false)),
            (410, None, None, first, all(Gone, false)),
            (302, None, None, first, all(Unexpected, false)),
            (413, None, None, first, all(Unexpected, false)),
            (408, Some(9), None, first, all(Busy, false)),
            (425, None, None, first, all(Busy, false)),
            (429, None, None, first, all(Busy, false)),
            (429, Some(9), None, first, all(Busy, true)),
            (500, Some(9), None, first, all(Busy, false)),
            (503, None, None, first, all(Busy, false)),
            (503, Some(0), None, first, all(Busy, true)),
        ] {
            assert_eq!(meaning(status, asked, err, sent), expected, "{status} {asked:?} {err:?} {sent:?}");
        }
    }

    #[test]
    fn the_detail_of_a_trouble_says_what_was_answered() {
        let busy = classify(&answer(503, None, String::new()), Sent::default());
        let body = r#"{"err":"no","description":"because"}"#;
        let refused = classify(&answer(401, None, body.to_owned()), Sent::default());
        let page = classify(&answer(200, Some("text/html"), "<p>".to_owned()), Sent::default());
        let details = [busy, refused, page].map(|outcome| match outcome {
            Outcome::Trouble(trouble) => trouble.detail,
            other => panic!("{other:?}"),
        });
        let all = ["503 Service Unavailable", "401 Unauthorized, no: because", "200 OK with a page of HTML"];
        assert_eq!(details, all);
    }

    // finding: B11
    #[test]
    fn a_row_of_failures_suspends_when_those_under_way_failed_too() {
        // How many are under way at the first failure, the setting, and how many failures suspend the stream.
        for (others, failures_max, needed) in [
            (0, 3, 3),
            (1, 3, 3),
            (2, 3, 3),
            (3, 3, 4),
            (9, 3, 10),
            (15, 3, 16),
            (63, 3, 16),
            (63, 20, 20),
            (0, 1, 1),
        ] {
            let mut row = FailureRow::default();
            for failure in 1..=needed {
                let now = Timestamp::from_seconds(100 + i64::from(failure));
                // Fewer and fewer are under way: what counts is how many were at the first.
                let others = others * usize::from(failure == 1);
                let length = row.failed(true, others, failures_max, now);
                let expected = if failure == needed { RowLength::Full } else { RowLength::Short };
                assert_eq!(length, expected, "{others} {failures_max} {failure}");
                assert_eq!(row.fresh(), usize::try_from(failure).unwrap());
                assert_eq!(row.since(), Timestamp::from_seconds(101));
            }
        }
    }

    // finding: B11
    #[test]
    fn one_delivery_that_fails_again_and_again_says_little_of_the_others() {
        use RowLength::{Full, OfFew, Short};
        let mut row = FailureRow::default();
        let now = Timestamp::from_seconds(100);
        let fresh = [true, false, false, false, true, false, true, false];
        let lengths = fresh.map(|is_fresh| row.failed(is_fresh, 0, 3, now));
        assert_eq!(lengths, [Short, Short, OfFew, OfFew, OfFew, OfFew, Full, Full]);
    }

    // finding: B11
    #[test]
    fn a_success_ends_a_row() {
        let mut row = FailureRow::default();
        let now = Timestamp::from_seconds(100);
        for _ in 0..10 {
            assert_eq!(row.failed(true, 0, 3, now), RowLength::Short);
            assert_eq!(row.failed(true, 0, 3, now), RowLength::Short);
            row.ended();
            assert_eq!(row.fresh(), 0);
        }
    }

    // finding: B11
    #[test]
    fn who_waits_alone_waits_a_short_time_first() {
        let policy = RetryPolicy::default();
        let mut chance = StdRng::seed_from_u64(7);
        let mut longest = Duration::ZERO;
        for attempts in [1, 2, 3, 10, 31, 33, u32::MAX] {
            for _ in 0..100 {
                let delay = policy.delay_alone(attempts, None, &mut chance);
                let bound = Duration::from_millis(10)
                    .saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX))
                    .min(policy.delay_max);
                assert!(delay >= Duration::from_millis(1) && delay <= bound, "{attempts}: {delay:?}");
                longest = longest.max(delay);
            }
        }
        assert!(longest > policy.delay_max / 2);
        let asked = policy.delay_alone(1, Some(Duration::from_secs(30)), &mut chance);
        assert_eq!(asked, Duration::from_secs(30));
    }

    // finding: B18
    #[test]
    fn the_head_decides_what_is_delivered() {
        const HTML: &str = "text/html";
        let taken = |status, content_type| {
            let answer = answer(status, content_type, r#"{"err":"invalid_request"}"#.to_owned());
            match classify(&answer, Sent::default()) {
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
