//! What a command reads: an argument that is the text itself, a file, or standard input; always within a bound.

use crate::output::Failure;
use secevent::json::without_bom;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

/// The longest input that is read.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;

/// Reads a positional argument: JSON or a token is taken as it stands, `-` or nothing means standard input,
/// all else is the name of a file. White space around the text is dropped.
pub(crate) fn read(argument: Option<&str>, what: &str) -> Result<Vec<u8>, Failure> {
    let text = match argument.map(str::trim) {
        None | Some("-") => stdin(argument, what)?,
        Some(text) if is_json(text.as_bytes()) || looks_like_token(text) => {
            bounded(text.as_bytes(), "the argument")?
        }
        Some("") => return Err(Failure::misuse(format!("{what} is empty"))),
        Some(path) => file(Path::new(path), what)?,
    };
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Failure::misuse(format!("{what} is empty")));
    }
    Ok(text.to_vec())
}

/// Reads a file within the bound.
pub(crate) fn file(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::misuse(format!("{what} cannot be read from the file {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(unreadable)?;
    bounded(file, &format!("the file {}", path.display()))
}

/// Whether the text is meant as a JSON object.
pub(crate) fn is_json(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// A compact token starts with the base64url of `{"` and has at least two dots. A file of such a name is
/// still reached as `./ey…`.
fn looks_like_token(text: &str) -> bool {
    text.starts_with("ey") && text.bytes().filter(|&byte| byte == b'.').count() >= 2
}

fn stdin(argument: Option<&str>, what: &str) -> Result<Vec<u8>, Failure> {
    let stdin = std::io::stdin();
    // Somebody who only typed the command would wait for ever; with `-` the wait was asked for.
    if argument.is_none() && stdin.is_terminal() {
        return Err(Failure::misuse(format!("{what} is missing"))
            .fix("give it as an argument, as the name of a file, or on standard input"));
    }
    bounded(stdin.lock(), "standard input")
}

fn bounded(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = source.take(BYTES_MAX as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::misuse(format!("{name} cannot be read: {error}")))?;
    if text.len() > BYTES_MAX {
        return Err(Failure::misuse(format!("{name} is longer than {BYTES_MAX} bytes")));
    }
    // Some editors put a byte order mark before every text.
    let mark = text.len() - without_bom(&text).len();
    text.drain(..mark);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_are_the_text_itself() {
        assert!(looks_like_token("eyJhbGciOiJub25lIn0.e30."));
        for name in ["eyes.txt", "token", "./eyJ.a.b", "a.b.c", ""] {
            assert!(!looks_like_token(name), "{name}");
        }
        assert!(is_json(b" \n{}") && !is_json(b"[]") && !is_json(b""));
        // finding: A5
        assert_eq!(bounded(&b"\xef\xbb\xbf{}"[..], "a file").unwrap(), b"{}");
    }

    #[test]
    fn the_bound_is_reached() {
        assert_eq!(bounded(std::io::repeat(b'x').take(BYTES_MAX as u64), "x").unwrap().len(), BYTES_MAX);
        assert!(bounded(std::io::repeat(b'x'), "x").is_err());
    }
}
