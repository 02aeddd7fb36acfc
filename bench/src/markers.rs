//! The markers by which a delivery is known again: numbers somewhere in the JSON of a body.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// What a body carries. It is JSON or a compact JWS, whose signature is not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Markers {
    /// `bench_ts`: when it was sent, in nanoseconds since the epoch.
    pub sent_nanos: Option<u64>,
    /// `bench_seq`: its number in the run, from 0.
    pub sequence: Option<u64>,
    /// `bench_sub`: the number of the subject it is about; order is promised within one subject.
    pub subject: Option<u64>,
}

impl Markers {
    /// Reads the markers of a body.
    pub fn of(body: &[u8]) -> Self {
        if matches!(body.first(), Some(b'{' | b'[')) {
            return Self::of_json(body);
        }
        let claims = body.split(|byte| *byte == b'.').nth(1);
        claims
            .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())
            .map_or_else(Self::default, |claims| Self::of_json(&claims))
    }

    fn of_json(text: &[u8]) -> Self {
        Self {
            sent_nanos: number(text, b"bench_ts"),
            sequence: number(text, b"bench_seq"),
            subject: number(text, b"bench_sub"),
        }
    }
}

/// Finds `"key":<digits>` or `"key":"<digits>"` in JSON text without parsing it: a sink has no time for that.
fn number(text: &[u8], key: &[u8]) -> Option<u64> {
    memchr::memmem::find_iter(text, key).find_map(|at| {
        let rest = &text[at + key.len()..];
        let start = rest.iter().position(|byte| !matches!(byte, b'"' | b':' | b' '))?;
        let digits = rest[start..].iter().take_while(|byte| byte.is_ascii_digit());
        let digits: Vec<u8> = digits.copied().collect();
        std::str::from_utf8(&digits).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_numbers_in_json_and_in_a_jws() {
        let json = br#"{"a":"bench_ts","bench_ts": 12,"bench_seq":"7","bench_sub":3}"#;
        let found = Markers { sent_nanos: Some(12), sequence: Some(7), subject: Some(3) };
        assert_eq!(Markers::of(json), found);
        let token = format!("e30.{}.AAAA", URL_SAFE_NO_PAD.encode(json));
        assert_eq!(Markers::of(token.as_bytes()), found);
    }

    #[test]
    fn finds_nothing_in_anything_else() {
        for body in ["not a token", "", "a.b.c", r#"{"bench_ts":"x"}"#, r#"{"bench_ts":"#] {
            assert_eq!(Markers::of(body.as_bytes()), Markers::default(), "{body}");
        }
    }
}
