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

/// The text is no TOML.
#[derive(Debug)]
pub(crate) struct NotToml {
    pub(crate) line: usize,
    pub(crate) message: String,
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
        let refused = |error: &toml::de::Error| NotToml {
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            message: error.message().to_owned(),
        };
        let spanned = DeTable::parse(text).map_err(|error| refused(&error))?;
        let table = text.parse().map_err(|error| refused(&error))?;
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
        assert_eq!(refused.line, 2, "{refused:?}");
    }
}
