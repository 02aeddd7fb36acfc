//! The tables in specs/*.toml.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// All requirements, document by document.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) documents: Vec<Document>,
}

impl Catalogue {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut documents = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let document: Document =
                    toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
                documents.push(document);
            }
        }
        documents.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        Ok(Self { documents })
    }

    pub(crate) fn knows(&self, id: &str) -> bool {
        self.documents.iter().any(|document| document.ids().any(|known| known == id))
    }

    /// What the types of the tables cannot rule out.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut seen = BTreeSet::new();
        for document in &self.documents {
            for id in document.ids() {
                if !seen.insert(id) {
                    mistakes.push(format!("{id} is there twice"));
                }
                if id.rsplit_once('-').map(|(prefix, _)| prefix) != Some(document.prefix.as_str()) {
                    mistakes.push(format!("{id} is in the table of {}", document.prefix));
                }
            }
            for requirement in &document.requirement {
                if requirement.reason.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
                    mistakes.push(format!("{} has an empty reason", requirement.id));
                }
            }
            for erratum in &document.erratum {
                if erratum.binds() && erratum.parts.is_empty() {
                    mistakes.push(format!("{} binds, and does not say which part", erratum.id));
                }
            }
        }
        mistakes
    }
}

/// One specification, or the list of its errata.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    #[serde(rename = "document")]
    _document: Option<String>,
    #[serde(rename = "title")]
    _title: String,
    pub(crate) prefix: String,
    /// The parts of the product that claim to keep this document.
    #[serde(default)]
    finished: Vec<Part>,
    #[serde(default)]
    pub(crate) requirement: Vec<Requirement>,
    #[serde(default)]
    erratum: Vec<Erratum>,
}

impl Document {
    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.requirement.iter().map(|r| &r.id).chain(self.erratum.iter().map(|e| &e.id))
    }

    /// What needs a test or a reason.
    pub(crate) fn binding(&self) -> impl Iterator<Item = Binding<'_>> {
        let musts = self.requirement.iter().filter(|row| row.level == Level::Must).map(|row| Binding {
            id: &row.id,
            part: row.part,
            text: &row.text,
            has_reason: row.reason.is_some(),
        });
        let errata = self.erratum.iter().filter(|erratum| erratum.binds()).flat_map(|erratum| {
            erratum.parts.iter().map(|part| Binding {
                id: &erratum.id,
                part: *part,
                text: &erratum.behaviour,
                has_reason: *part == Part::Prose,
            })
        });
        musts.chain(errata)
    }

    pub(crate) fn has_finished(&self, part: Part) -> bool {
        self.finished.contains(&part)
    }
}

/// A row that has to be kept: a MUST, or an erratum that others hold us to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) id: &'a str,
    pub(crate) part: Part,
    pub(crate) text: &'a str,
    pub(crate) has_reason: bool,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requirement {
    pub(crate) id: String,
    level: Level,
    #[serde(rename = "role")]
    _role: Role,
    part: Part,
    #[serde(rename = "section")]
    _section: String,
    text: String,
    #[serde(rename = "test")]
    _test: Option<String>,
    /// Why a MUST row has no test.
    reason: Option<String>,
}

/// How a point that the documents leave open, or get wrong, is settled here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Erratum {
    id: String,
    #[serde(rename = "area")]
    _area: String,
    strength: String,
    #[serde(rename = "issue")]
    _issue: String,
    behaviour: String,
    /// Where the behaviour shows: each part has a half of its own to keep.
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(rename = "thread")]
    _thread: String,
}

impl Erratum {
    /// Whether the working group or the conformance suite holds us to it.
    fn binds(&self) -> bool {
        ["agreed", "suite"].iter().any(|strength| self.strength.contains(strength))
    }
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    Must,
    Should,
    May,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Issuer,
    Transmitter,
    Receiver,
    Both,
}

/// The part of the product that a row is about, and so where its test has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Making, signing, parsing or checking a token; shown through the libraries, without HTTP.
    Token,
    /// What a transmitter says and does; shown from outside, through its endpoints.
    Transmitter,
    Receiver,
    /// A statement that no test can show.
    Prose,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Transmitter => "transmitter",
            Self::Receiver => "receiver",
            Self::Prose => "prose",
        })
    }
}
