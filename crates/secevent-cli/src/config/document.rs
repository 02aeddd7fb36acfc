//! The file as it was written: what it says, and in which line.

use anyhow::Context as _;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// `secevent.toml`, or nothing where there is none.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Its name. None if there is no file.
    pub(crate) path: Option<PathBuf>,
    pub(crate) table: toml::Table,
    /// Where each key stands: `client[0].secret`, counted from line 1.
    lines: HashMap<String, usize>,
}

/// The text is no TOML, or says what it may not. Nothing of what it says is repeated but names: a value may be a secret.
#[derive(Debug)]
pub(crate) struct NotToml {
    pub(crate) line: usize,
    column: usize,
    pub(crate) message: String,
}

impl NotToml {
    pub(super) fn of(text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..offset).unwrap_or_default();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        Self { line: line_at(text, offset), column, message: without_values(error.message()) }
    }
}

impl std::fmt::Display for NotToml {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for NotToml {}

/// `invalid type: string "hush", expected a map` without what was written.
fn without_values(message: &str) -> String {
    let values = ["invalid type: ", "invalid value: "];
    let parts = values.iter().find_map(|begin| Some((*begin, message.strip_prefix(begin)?)));
    match parts
        .and_then(|(begin, rest)| Some((begin, rest.split(' ').next()?, rest.rsplit_once(", expected ")?.1)))
    {
        Some((begin, kind, expected)) => format!("{begin}{kind}, expected {expected}"),
        None => message.to_owned(),
    }
}

impl Document {
    /// Reads a file. What it says may still be wrong.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Result<Self, NotToml>> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text).map(|document| Self { path: Some(path.to_owned()), ..document }))
    }

    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Self, NotToml> {
        let spanned = DeTable::parse(text).map_err(|error| NotToml::of(text, &error))?;
        let table = text.parse().map_err(|error| NotToml::of(text, &error))?;
        let mut lines = HashMap::new();
        note_table(text, "", spanned.get_ref(), &mut lines);
        Ok(Self { path: None, table, lines })
    }

    /// The line in which a key, or what it stands in, is written.
    pub(crate) fn line(&self, place: &str) -> Option<usize> {
        let mut place = place;
        loop {
            if let Some(line) = self.lines.get(place) {
                return Some(*line);
            }
            place = &place[..place.rfind(['.', '['])?];
        }
    }

    /// The entries of a `[[section]]`.
    pub(crate) fn entries(&self, section: &str) -> &[toml::Value] {
        self.table.get(section).and_then(toml::Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What a section says of a key.
    pub(crate) fn value(&self, section: &str, key: &str) -> Option<&toml::Value> {
        self.table.get(section)?.get(key)
    }
}

fn note_table(text: &str, outer: &str, table: &DeTable<'_>, lines: &mut HashMap<String, usize>) {
    for (key, value) in table {
        let place = match outer {
            "" => key.get_ref().to_string(),
            outer => format!("{outer}.{}", key.get_ref()),
        };
        lines.insert(place.clone(), line_at(text, key.span().start));
        note(text, &place, value, lines);
    }
}

fn note(text: &str, place: &str, value: &toml::Spanned<DeValue<'_>>, lines: &mut HashMap<String, usize>) {
    match value.get_ref() {
        DeValue::Table(table) => note_table(text, place, table, lines),
        DeValue::Array(values) => {
            for (number, value) in values.iter().enumerate() {
                let place = format!("{place}[{number}]");
                lines.insert(place.clone(), line_at(text, value.span().start));
                note(text, &place, value, lines);
            }
        }
        _ => {}
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = "[server]\nlisten = 1\n\n[[client]]\nid = \"a\"\n[[client]]\nid = \"b\"\nsecret = { env = \"X\" }\n";
        let document = Document::parse(text).unwrap();
        for (place, line) in [
            ("server.listen", 2),
            ("client[0].id", 5),
            ("client[1].id", 7),
            ("client[1].secret.env", 8),
            ("client[1].secret.none", 8),
            ("client[1].audience", 6),
        ] {
            assert_eq!(document.line(place), Some(line), "{place}");
        }
        assert_eq!(document.line("store.url"), None);
        let refused = Document::parse("[server]\nlisten = \n").unwrap_err();
        assert_eq!((refused.line, refused.column), (2, 10), "{refused:?}");
    }
}
