//! Foreign text inside an error message: bounded and escaped.

use secevent::escape;
use std::fmt;

/// A piece of foreign text that an error keeps: at most [`Excerpt::CHARS_MAX`] characters. It is printed in
/// quotation marks and as [`escape`] shows it, so that a `kid` cannot write its own line into a log.
///
/// ```
/// use secevent_jose::Excerpt;
///
/// assert_eq!(Excerpt::from("a\nb").to_string(), r#""a\nb""#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    cut: bool,
}

impl Excerpt {
    /// How much of the text is kept.
    pub const CHARS_MAX: usize = 64;
}

impl From<&str> for Excerpt {
    fn from(text: &str) -> Self {
        let kept = text.char_indices().nth(Self::CHARS_MAX).map_or(text, |(end, _)| &text[..end]);
        Self { text: kept.to_owned(), cut: kept.len() < text.len() }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", escape(&self.text, Self::CHARS_MAX), if self.cut { "…" } else { "" })
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_cut_and_escaped() {
        for (text, shown) in [
            ("key-1", r#""key-1""#.to_owned()),
            ("\u{1b}[31m\r\n\0", r#""\u{1b}[31m\r\n\u{0}""#.to_owned()),
            ("\u{202e}evil", r#""\u{202e}evil""#.to_owned()),
            (&"é".repeat(64), format!("{:?}", "é".repeat(64))),
            (&"é".repeat(65), format!("{:?}…", "é".repeat(64))),
        ] {
            assert_eq!(Excerpt::from(text).to_string(), shown);
        }
    }
}
