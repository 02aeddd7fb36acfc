//! What is made from the rows of the table: the example file, the JSON Schema, and the page of the book.

use super::check::parse_value;
use super::reference::SECTIONS;
use super::table::{Kind, Section, Setting};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A `secevent.toml` with every setting in it. What is optional is commented out, with its default where it has one.
pub(crate) fn example() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "secevent.toml: how a secevent server works. What stands behind a # without a space is optional, and shows the \
         default where there is one. Flags win over the environment, which wins over this file. Relative paths begin \
         where the server is started. `secevent config check` tells what is wrong.",
    );
    for section in SECTIONS {
        text.push('\n');
        comment(&mut text, section.about);
        let is_live = is_live(section);
        let _ = writeln!(text, "{}{}", if is_live { "" } else { "#" }, section.header());
        for setting in section.settings {
            comment(&mut text, setting.about);
            comment(&mut text, &remark(setting));
            let (key, value) = (setting.key, setting.default.unwrap_or_else(|| setting.sample()));
            let off = if is_live && is_written(section, setting) { "" } else { "#" };
            let _ = writeln!(text, "{off}{key} = {value}");
        }
    }
    text
}

/// Whether the section stands in the example as it is: every file says something of the kind.
fn is_live(section: &Section) -> bool {
    !matches!(section.name, "event_type" | "stream" | "push_credential" | "authorization_server")
}

/// Whether the setting does: it has to be stated, or a server for others has it.
fn is_written(section: &Section, setting: &Setting) -> bool {
    setting.required
        || setting.usual
        || matches!((section.name, setting.key), ("server", "public_url") | ("client", "audience"))
}

/// What may be written, and what wins over it.
fn remark(setting: &Setting) -> String {
    let mut remark = setting.kind.words();
    if let Some((flag, variable)) = setting.given {
        let _ = write!(remark, "; {flag} and {variable} win over it");
    }
    if setting.default.is_none() && !setting.required && !setting.usual {
        remark += "; no default";
    }
    format!("({remark})")
}

fn comment(text: &mut String, words: &str) {
    const CHARS_MAX: usize = 98;
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= CHARS_MAX {
            let _ = writeln!(text, "#{line}");
            line.clear();
        }
        let _ = write!(line, " {word}");
    }
    if !line.is_empty() {
        let _ = writeln!(text, "#{line}");
    }
}

/// The JSON Schema of `secevent.toml`, for editors and pipelines.
pub(crate) fn schema() -> Value {
    let mut sections = Map::new();
    for section in SECTIONS {
        let mut table = table_schema(section.settings);
        if section.many {
            table = json!({ "type": "array", "items": table });
        }
        table["description"] = section.about.into();
        sections.insert(section.name.to_owned(), table);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "secevent.toml",
        "description": "How a secevent server works. Flags and environment variables win over this file.",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
    })
}

fn table_schema(settings: &[Setting]) -> Value {
    let properties: Map<String, Value> =
        settings.iter().map(|setting| (setting.key.to_owned(), setting_schema(setting))).collect();
    let required: Vec<&str> =
        settings.iter().filter(|setting| setting.required).map(|setting| setting.key).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn setting_schema(setting: &Setting) -> Value {
    let text = json!({ "type": "string" });
    let mut schema = match setting.kind {
        Kind::Text(_) => text,
        Kind::Texts(_) => json!({ "type": "array", "items": text }),
        Kind::TextOrTexts(_) => json!({ "anyOf": [text, { "type": "array", "items": text }] }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Amount { min, max, .. } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Amounts { min, max } => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": min, "maximum": max } })
        }
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::Choices(choices) => json!({ "type": "array", "items": { "enum": choices } }),
        Kind::Secrets => json!({ "type": "array", "items": secret_schema() }),
        Kind::Secret => secret_schema(),
        Kind::Free(_) => json!({ "type": "object" }),
        Kind::Table(settings) => table_schema(settings),
        Kind::FileOrTable => json!({ "type": ["string", "object"] }),
    };
    schema["description"] = setting.about.into();
    if let Some(default) = setting.default {
        schema["default"] = to_json(&parse_value(default));
    }
    schema
}

fn secret_schema() -> Value {
    let text = json!({ "type": "string" });
    let source = |name: &str| json!({ "type": "object", "properties": { name: text }, "required": [name], "additionalProperties": false });
    json!({ "anyOf": [text, source("env"), source("file")] })
}

/// What TOML says, in JSON. Nothing in the table has a date.
pub(crate) fn to_json(value: &toml::Value) -> Value {
    serde_json::to_value(value).expect("texts, numbers, lists and tables are JSON")
}

/// The page of the book.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\
         \n\
         <!-- Printed by `secevent config reference`; a test fails when it is stale. -->\n\
         \n\
         A server is configured by one file, `secevent.toml`, or the one that `--config` or `SECEVENT_CONFIG` names. Flags\n\
         win over environment variables, they win over the file, and the file wins over defaults. A key that is not known\n\
         is an error, and so is a value out of bounds: a server starts whole or not at all. Relative paths begin where the\n\
         server is started.\n\
         \n    \
         secevent config example > secevent.toml    # every setting, with its default and its reason\n    \
         secevent config check                      # everything that is wrong, with place and fix; starts nothing\n    \
         secevent config show                       # what holds in the end, and where each value comes from\n    \
         secevent config schema                     # JSON Schema, for editors\n    \
         secevent doctor                            # tries what a check cannot: store, ports, network, clock\n\
         \n\
         A secret is best kept out of the file: `{ env = \"VARIABLE\" }` names an environment variable, and\n\
         `{ file = \"FILE\" }` a file that holds it and nothing else.\n\
         \n\
         ## Environment\n\
         \n\
         | Variable | Flag of `serve` | Setting |\n|---|---|---|\n\
         | `SECEVENT_CONFIG` | `--config` | the file itself |\n",
    );
    for section in SECTIONS {
        for setting in section.settings {
            if let Some((flag, variable)) = setting.given {
                let _ = writeln!(text, "| `{variable}` | `{flag}` | `{}.{}` |", section.name, setting.key);
            }
        }
    }
    text += "| `SECEVENT_LOG` | | what is logged, such as `info` or `secevent=debug,warn` |\n";
    for section in SECTIONS {
        let _ = write!(text, "\n## `{}`\n\n{}\n\n", section.header(), section.about);
        settings_table(&mut text, section.settings);
        for setting in section.settings {
            if let Kind::Table(settings) = setting.kind {
                let _ = write!(text, "\n### `{}` of `{}`\n\n", setting.key, section.header());
                settings_table(&mut text, settings);
            }
        }
    }
    text
}

fn settings_table(text: &mut String, settings: &[Setting]) {
    *text += "| Setting | Value | Default | What for |\n|---|---|---|---|\n";
    for setting in settings {
        let default = match (setting.default, setting.required) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) if setting.usual => "required, mostly".to_owned(),
            (None, false) => "none".to_owned(),
        };
        let words = setting.kind.words().replace('|', "\\|");
        let example = setting.example.map(|example| format!(" Example: `{example}`")).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {words} | {default} | {}{example} |", setting.key, setting.about);
    }
}
