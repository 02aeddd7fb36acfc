//! The configuration that holds in the end, and where each value comes from.

use super::check::parse_value;
use super::document::Document;
use super::given::Given;
use super::reference::SECTIONS;
use super::table::{Kind, Section, Setting};
use crate::output::message;
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use std::fmt::Write as _;
use toml::{Table, Value};

/// A setting as it holds.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// Its place, such as `client[1].scopes`.
    key: String,
    value: Value,
    origin: Origin,
    #[serde(skip)]
    header: Option<String>,
    #[serde(skip)]
    name: &'static str,
}

/// Where a value comes from.
#[derive(Debug, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
enum Origin {
    /// Nobody says anything else.
    Default,
    /// It follows from another setting.
    Derived {
        of: &'static str,
    },
    File {
        file: String,
        line: Option<usize>,
    },
    Environment {
        variable: &'static str,
    },
    Flag {
        flag: &'static str,
    },
}

/// What a secret is shown as.
const MASK: &str = "********";

/// All settings that hold.
pub(crate) fn show(document: &Document, given: &Given, matches: &ArgMatches) -> Vec<Shown> {
    let mut shown = Vec::new();
    let look = Look { document, given, matches };
    for section in SECTIONS {
        let before = shown.len();
        if section.many {
            for (number, entry) in document.entries(section.name).iter().enumerate() {
                let first = shown.len();
                shown.extend(look.entry(section, number, entry));
                head(&mut shown[first..], section);
            }
            if section.name == "issuer" && shown.len() == before && given.is_dev() {
                shown.extend(look.issuer_for_development());
                head(&mut shown[before..], section);
            }
        } else {
            shown.extend(section.settings.iter().filter_map(|setting| look.single(section, setting)));
            head(&mut shown[before..], section);
        }
    }
    shown
}

fn head(shown: &mut [Shown], section: &Section) {
    if let Some(first) = shown.first_mut() {
        first.header = Some(section.header());
    }
}

/// The same as text: a `secevent.toml`, with the origin of each value behind it.
pub(crate) fn to_text(shown: &[Shown]) -> String {
    let mut text = String::new();
    for one in shown {
        if let Some(header) = &one.header {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{header}");
        }
        let line = format!("{} = {}", one.name, message(&one.value.to_string()));
        let _ = writeln!(text, "{line:<48}  # {}", message(&one.origin.words()));
    }
    text
}

impl Origin {
    fn words(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Derived { of } => format!("from {of}"),
            Self::File { file, line: Some(line) } => format!("{file}:{line}"),
            Self::File { file, line: None } => file.clone(),
            Self::Environment { variable } => (*variable).to_owned(),
            Self::Flag { flag } => (*flag).to_owned(),
        }
    }
}

struct Look<'a> {
    document: &'a Document,
    given: &'a Given,
    matches: &'a ArgMatches,
}

impl Look<'_> {
    fn single(&self, section: &Section, setting: &'static Setting) -> Option<Shown> {
        let key = format!("{}.{}", section.name, setting.key);
        if self.given.is_dev()
            && matches!(
                &*key,
                "outgoing.allow_plain_http" | "outgoing.allow_networks" | "outgoing.allow_ports"
            )
        {
            return self.outgoing_for_development(key, setting);
        }
        let (value, origin) = if let Some(value) = self.given.wins(section.name, setting.key) {
            (value, self.origin_of_given(setting))
        } else if let Some(value) = self.document.value(section.name, setting.key) {
            (value.clone(), self.in_file(&key))
        } else if key == "server.public_url" {
            (Value::String(self.public_url()?), Origin::Derived { of: "server.listen" })
        } else {
            (parse_value(setting.default?), Origin::Default)
        };
        Some(self.shown(key, setting, value, origin))
    }

    /// `--dev` reaches this machine too, by plain http and at any port.
    fn outgoing_for_development(&self, key: String, setting: &'static Setting) -> Option<Shown> {
        let value = match setting.key {
            "allow_plain_http" => Value::Boolean(true),
            "allow_networks" => {
                let written = self.document.value("outgoing", "allow_networks").and_then(Value::as_array);
                let here = ["127.0.0.0/8", "::1/128"].map(Value::from);
                Value::Array(written.into_iter().flatten().cloned().chain(here).collect())
            }
            // Any port: the file has no word for that.
            _ => return None,
        };
        Some(self.shown(key, setting, value, Origin::Flag { flag: "--dev" }))
    }

    fn entry(&self, section: &Section, number: usize, entry: &Value) -> Vec<Shown> {
        let empty = Table::new();
        let entry = entry.as_table().unwrap_or(&empty);
        let settings = section.settings.iter().filter_map(|setting| {
            let key = format!("{}[{number}].{}", section.name, setting.key);
            let (value, origin) = match entry.get(setting.key) {
                Some(value) => (value.clone(), self.in_file(&key)),
                None => (parse_value(setting.default?), Origin::Default),
            };
            Some(self.shown(key, setting, value, origin))
        });
        settings.collect()
    }

    /// What `--dev` does without an issuer in the file.
    fn issuer_for_development(&self) -> Option<Shown> {
        let written = self.given.wins("server", "public_url");
        let written = written.or_else(|| self.document.value("server", "public_url").cloned());
        let url = written.or_else(|| self.public_url().map(Value::String))?;
        let setting = SECTIONS.iter().find(|section| section.name == "issuer")?.setting("url")?;
        Some(self.shown(
            "issuer[0].url".to_owned(),
            setting,
            url,
            Origin::Derived { of: "server.public_url" },
        ))
    }

    /// The URL that follows from where the server listens.
    fn public_url(&self) -> Option<String> {
        let listen = self.given.wins("server", "listen");
        let listen = listen.or_else(|| self.document.value("server", "listen").cloned());
        let listen = listen.map_or_else(
            || Some(super::DEFAULT_LISTEN.to_owned()),
            |value| Some(value.as_str()?.to_owned()),
        )?;
        let has_tls = self.document.value("server", "tls").is_some();
        super::default_public_url(listen.parse().ok()?, has_tls)
    }

    fn in_file(&self, key: &str) -> Origin {
        let file = self.document.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        Origin::File { file, line: self.document.line(key) }
    }

    fn origin_of_given(&self, setting: &Setting) -> Origin {
        let (flag, variable) = setting.given.expect("what wins over the file has a flag and a variable");
        let id = flag.trim_start_matches('-').replace('-', "_");
        match self.matches.value_source(&id) {
            Some(ValueSource::EnvVariable) => Origin::Environment { variable },
            _ => Origin::Flag { flag },
        }
    }

    fn shown(&self, key: String, setting: &'static Setting, value: Value, origin: Origin) -> Shown {
        Shown { key, value: masked(setting.kind, value), origin, header: None, name: setting.key }
    }
}

/// A value without its secrets: where they are may be seen, what they are may not.
fn masked(kind: Kind, value: Value) -> Value {
    match (kind, value) {
        (Kind::Secret, Value::Table(source)) if is_source(&source) => Value::Table(source),
        (Kind::Table(settings), Value::Table(table)) => {
            let mask = |(key, value): (String, Value)| {
                let setting = settings.iter().find(|setting| setting.key == key);
                let value = setting.map_or_else(|| Value::from(MASK), |setting| masked(setting.kind, value));
                (key, value)
            };
            Value::Table(table.into_iter().map(mask).collect())
        }
        (Kind::Secrets, Value::Array(all)) => {
            Value::Array(all.into_iter().map(|one| masked(Kind::Secret, one)).collect())
        }
        // Where a table should be, something else was written: what that is, nobody knows.
        (Kind::Secret | Kind::Secrets | Kind::Table(_), _) => Value::from(MASK),
        (_, value) => value,
    }
}

fn is_source(table: &Table) -> bool {
    table.len() == 1 && (table.contains_key("env") || table.contains_key("file"))
}
