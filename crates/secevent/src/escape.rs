//! Foreign text, made safe to show: on a terminal, in a log line, in an error message.
//!
//! Text of a peer can contain line breaks, which forge log lines, control sequences, which act on a terminal,
//! and characters that change the direction of the text around them or that nobody sees. Wherever such text is
//! shown it passes one of the functions here:
//!
//! - [`escape`] for one piece of foreign text, such as a claim or the `description` of a refusal;
//! - [`escape_message`] for a whole message of ours that may contain foreign text, such as an error;
//! - [`escape_json`] for JSON text that is printed.
//!
//! What is escaped: control characters, line and paragraph separators, and every character that Unicode calls
//! ignorable by default (zero-width characters, direction controls, tags, variation selectors). Other text,
//! such as `é` or `日本`, stays as it is.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Foreign text that is safe to show: without line breaks, bounded, with nothing that a terminal obeys. Made by
/// [`escape`] and [`escape_message`].
///
/// `Display` shows it as it is, `Debug` in quotation marks. An ellipsis stands for what is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a> {
    text: &'a str,
    chars_max: usize,
    is_message: bool,
}

/// One piece of foreign text, at most `chars_max` characters of it, on one line.
///
/// `\n`, `\r` and `\t` stand for line breaks and tabulators, `\\` for a backslash and `\u{…}` for every other
/// character that is not shown, so that two different texts never look the same.
///
/// ```
/// use secevent::escape;
///
/// assert_eq!(escape("a\nb\u{1b}[31m", 64).to_string(), r"a\nb\u{1b}[31m");
/// assert_eq!(escape("née 日本", 64).to_string(), "née 日本");
/// assert_eq!(escape("endless", 3).to_string(), "end…");
/// assert_eq!(format!("{:?}", escape("say \"no\"", 64)), r#""say \"no\"""#);
/// ```
pub fn escape(text: &str, chars_max: usize) -> Escaped<'_> {
    Escaped { text, chars_max, is_message: false }
}

/// A whole message of ours, at most `chars_max` characters of it, that may contain foreign text.
///
/// The same as [`escape`], but a backslash stays as it is: foreign pieces in the message may be escaped
/// already, and to escape a message twice changes nothing.
///
/// ```
/// use secevent::{escape, escape_message};
///
/// let message = format!("unknown event type {}", escape("a\nb", 64));
/// assert_eq!(escape_message(&message, 300).to_string(), r"unknown event type a\nb");
/// ```
pub fn escape_message(text: &str, chars_max: usize) -> Escaped<'_> {
    Escaped { text, chars_max, is_message: true }
}

/// JSON text that says the same and is safe to print: each character that is not safe to show is written as
/// `\uXXXX`. Line breaks and tabulators stay, since in JSON they stand between values only.
///
/// The text must be JSON: outside of strings nothing else can need an escape.
///
/// ```
/// use secevent::escape_json;
///
/// assert_eq!(escape_json("{\"a\":\"\u{202e}é\"}\n"), "{\"a\":\"\\u202eé\"}\n");
/// ```
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let stays = |character: char| matches!(character, '\n' | '\r' | '\t') || !is_hidden(character);
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if stays(character) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

impl Escaped<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, in_quotes: bool) -> fmt::Result {
        let end = self.text.char_indices().nth(self.chars_max).map_or(self.text.len(), |(end, _)| end);
        let mut plain = 0;
        for (at, character) in self.text[..end].char_indices() {
            let is_escaped = match character {
                '\\' => !self.is_message,
                '"' => in_quotes,
                _ => is_hidden(character),
            };
            if !is_escaped {
                continue;
            }
            f.write_str(&self.text[plain..at])?;
            plain = at + character.len_utf8();
            match character {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\\' | '"' => write!(f, "\\{character}")?,
                _ => write!(f, "\\u{{{:x}}}", u32::from(character))?,
            }
        }
        f.write_str(&self.text[plain..end])
    }

    fn is_cut(&self) -> bool {
        self.text.char_indices().nth(self.chars_max).is_some()
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)?;
        if self.is_cut() { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        self.write(f, true)?;
        f.write_str(if self.is_cut() { "\"…" } else { "\"" })
    }
}

/// Whether a character is not shown as itself: it acts on a terminal, breaks a line, turns text around or has
/// no form of its own.
fn is_hidden(character: char) -> bool {
    // Most text is ASCII.
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    matches!(character,
        '\u{80}'..='\u{9f}'
            | '\u{2028}' | '\u{2029}'
            | '\u{fff9}'..='\u{fffb}'
            // Default_Ignorable_Code_Point of Unicode 16, DerivedCoreProperties.txt.
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B9
    // finding: B22 (U+200B, U+061C and U+2028 were shown raw)
    #[test]
    fn nothing_that_acts_or_hides_is_shown() {
        for (text, shown) in [
            ("", ""),
            ("key-1 é 日本 ✓", "key-1 é 日本 ✓"),
            ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
            ("\0\u{1b}[2J\u{7}\u{7f}", r"\u{0}\u{1b}[2J\u{7}\u{7f}"),
            ("\u{85}\u{9b}31m", r"\u{85}\u{9b}31m"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
            (
                "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}",
                r"\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}",
            ),
            (
                "\u{ad}\u{180e}\u{200b}\u{200d}\u{2060}\u{2064}\u{feff}",
                r"\u{ad}\u{180e}\u{200b}\u{200d}\u{2060}\u{2064}\u{feff}",
            ),
            ("\u{fe0f}\u{e0001}\u{e007f}\u{e0100}", r"\u{fe0f}\u{e0001}\u{e007f}\u{e0100}"),
            // What looks like an escape is not taken for one.
            (r"\n\u{1b}", r"\\n\\u{1b}"),
        ] {
            assert_eq!(escape(text, 100).to_string(), shown);
        }
    }

    #[test]
    fn a_message_is_escaped_once() {
        let message = format!("refused: {}\n", escape("a\nb\\", 10));
        let once = escape_message(&message, 100).to_string();
        assert_eq!(once, r"refused: a\nb\\\n");
        assert_eq!(escape_message(&once, 100).to_string(), once);
    }

    #[test]
    fn length_is_bounded_in_characters_of_the_text() {
        for (text, shown) in [("éé", "éé"), ("ééé", "éé…"), ("\n\n\n", r"\n\n…"), ("", "")] {
            assert_eq!(escape(text, 2).to_string(), shown);
        }
        assert_eq!(format!("{:?}", escape("a\"b", 2)), r#""a\""…"#);
        assert_eq!(escape("a", 0).to_string(), "…");
    }

    #[test]
    fn json_says_the_same_and_is_safe() {
        let value = serde_json::json!({ "a\u{200b}": "\u{9b}\u{202e}\u{2028}é\u{e0041}\\\n" });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let safe = escape_json(&json);
        assert!(safe.chars().all(|character| character == '\n' || !is_hidden(character)));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert!(matches!(escape_json("{\n}"), Cow::Borrowed(_)));
    }
}
