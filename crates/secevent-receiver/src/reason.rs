//! What the body of a refusal says. Nobody decides by it (E-03); people read it.

use secevent::escape;
use secevent::json::{Limits, check};
use secevent_jose::Excerpt;
use serde::Deserialize;
use std::fmt;

/// What the body of a refusal says of the reason: bounded, and safe to show.
///
/// Error bodies are nowhere defined. The members that problem documents (RFC 9457), OAuth (RFC 6749) and push
/// errors (RFC 8935) have are known; of anything else the beginning is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Box<str>);

impl Reason {
    /// How much of the reason is kept, in characters.
    pub const CHARS_MAX: usize = 300;

    pub(crate) fn of(body: &[u8]) -> Self {
        let shown = match of_json(body) {
            Some(text) => escape(&text, Self::CHARS_MAX).to_string(),
            None => {
                // Four bytes a character, and a little for the mark that it was cut.
                let start = &body[..body.len().min(4 * Excerpt::CHARS_MAX + 8)];
                Excerpt::from(String::from_utf8_lossy(start).trim_start()).to_string()
            }
        };
        Self(shown.into())
    }

    pub(crate) fn behind_a_colon(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!(": {self}") }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn of_json(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        err: Option<String>,
        error: Option<String>,
        description: Option<String>,
        error_description: Option<String>,
        detail: Option<String>,
        message: Option<String>,
    }
    let body: Body = serde_json::from_str(check(body, Limits::TOKEN).ok()?).ok()?;
    let words = body.detail.or(body.description).or(body.error_description).or(body.message);
    let told: Vec<String> = [body.err.or(body.error), words].into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_that_peers_use_are_known() {
        for (body, reason) in [
            (r#"{"status":404,"title":"T","err":"not_found","detail":"no stream"}"#, "not_found: no stream"),
            (r#"{"error":"invalid_token","error_description":"too old"}"#, "invalid_token: too old"),
            (r#"{"err":"jws","description":"bad"}"#, "jws: bad"),
            (r#"{"message":"no\u001b[31m\nok"}"#, r"no\u{1b}[31m\nok"),
        ] {
            assert_eq!(Reason::of(body.as_bytes()).to_string(), reason);
        }
        assert!(Reason::of(b"<html>gone</html>").to_string().contains("<html>gone</html>"));
        let long = format!(r#"{{"detail":"{}"}}"#, "x".repeat(5_000));
        assert_eq!(Reason::of(long.as_bytes()).to_string(), "x".repeat(Reason::CHARS_MAX) + "…");
    }
}
