//! Everything that is wrong with a configuration, at once: each with its place, the reason and what to do.
//!
//! Two passes. The first holds every value against its row in the table. The second does what the server does, settle
//! the whole, and as long as that fails it finds the part that is to blame, notes it, and goes on without it.

use super::document::Document;
use super::reference::SECTIONS;
use super::table::{Kind, Section, Setting, quoted};
use super::{File, Overrides, Settings};
use secevent::{Subject, Vocabulary};
use serde::Serialize;
use toml::{Table, Value};

/// Something that is wrong, or that one should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// The setting, such as `client[1].secret`; empty for the whole.
    pub(crate) key: String,
    pub(crate) reason: String,
    /// What to do, where the reason does not say it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// A server does not start with it.
    Error,
    /// A server starts, but may not do what is wanted.
    Warning,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) findings: Vec<Finding>,
    /// There if it makes sense as a whole.
    pub(crate) settings: Option<Settings>,
}

/// Checks what a file says, together with what wins over it. Nothing is started or changed.
pub(crate) fn check(document: &Document, overrides: &Overrides) -> Checked {
    let mut check = Check { document, overrides, findings: Vec::new() };
    let mended = check.hold_against_the_table();
    let settings = match settle(&document.table, overrides) {
        Ok(settings) if check.findings.is_empty() => Some(settings),
        _ => {
            check.settle_part_by_part(&mended);
            None
        }
    };
    let mut findings = check.findings;
    if let Some(settings) = &settings {
        findings.extend(super::warn::warnings(document, overrides, settings));
    }
    findings.sort_by_key(|finding| finding.line.unwrap_or(0));
    Checked { findings, settings }
}

/// The same, and whether the files that are named are there and what they should be.
pub(crate) fn check_with_files(document: &Document, overrides: &Overrides) -> Checked {
    let mut checked = check(document, overrides);
    if let Some(settings) = &checked.settings {
        checked.findings.extend(super::files::findings(document, settings));
        checked.findings.sort_by_key(|finding| finding.line.unwrap_or(0));
    }
    checked
}

/// What the server does with a file.
fn settle(table: &Table, overrides: &Overrides) -> anyhow::Result<Settings> {
    File::from_table(table.clone())?.settle(overrides.clone())
}

struct Check<'a> {
    document: &'a Document,
    overrides: &'a Overrides,
    findings: Vec<Finding>,
}

/// What a stand-in for a wrong secret is: good as a master key too.
const STAND_IN_SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

impl Check<'_> {
    fn note(&mut self, place: &str, reason: String, fix: impl Into<Option<String>>) {
        self.findings.push(Finding {
            severity: Severity::Error,
            file: self.document.path.as_ref().map(|path| path.display().to_string()),
            line: self.document.line(place),
            key: place.to_owned(),
            reason,
            fix: fix.into(),
        });
    }

    /// The first pass. What comes back is the file without what it found.
    fn hold_against_the_table(&mut self) -> Table {
        let mut mended = Table::new();
        for (name, value) in &self.document.table {
            let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
                let names: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
                let fix = nearest(name, &names).map_or_else(
                    || format!("remove it; there are {}", names.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                self.note(name, format!("{name} is no section"), fix);
                continue;
            };
            let header = section.header();
            match value {
                Value::Table(table) if !section.many => {
                    let table = self.table(section.name, section.settings, table, "");
                    mended.insert(name.clone(), Value::Table(table));
                }
                Value::Array(entries) if section.many && entries.iter().all(Value::is_table) => {
                    let mend = |(number, entry): (usize, &Value)| {
                        let place = format!("{}[{number}]", section.name);
                        let entry = entry.as_table().expect("all of them are tables");
                        Value::Table(self.table(&place, section.settings, entry, &number.to_string()))
                    };
                    let entries = entries.iter().enumerate().map(mend).collect();
                    mended.insert(name.clone(), Value::Array(entries));
                }
                _ => self.note(
                    name,
                    format!("{name} must be written {header}"),
                    format!("begin it with {header}"),
                ),
            }
        }
        mended
    }

    fn table(&mut self, place: &str, settings: &'static [Setting], table: &Table, number: &str) -> Table {
        let mut mended = Table::new();
        for (key, value) in table {
            let at = format!("{place}.{key}");
            let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
                let keys: Vec<&str> = settings.iter().map(|setting| setting.key).collect();
                let fix = nearest(key, &keys).map_or_else(
                    || format!("remove it; there are {}", keys.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                self.note(&at, format!("{at} is no setting"), fix);
                continue;
            };
            let value = match (setting.kind, value) {
                (Kind::Table(inner), Value::Table(table)) => Value::Table(self.table(&at, inner, table, "")),
                (kind, value) => match wrong(kind, value) {
                    None => value.clone(),
                    Some(reason) => {
                        let fix = self.meant(setting, value).or_else(|| rewritten(setting, value));
                        self.note(&at, format!("{at} {reason}"), fix);
                        stand_in(setting, number)
                    }
                },
            };
            mended.insert(key.clone(), value);
        }
        for setting in settings.iter().filter(|setting| setting.required && !table.contains_key(setting.key))
        {
            let at = format!("{place}.{}", setting.key);
            self.note(&at, format!("{at} is missing: {}", lower_first(setting.about)), written(setting));
            mended.insert(setting.key.to_owned(), stand_in(setting, number));
        }
        mended
    }

    /// The second pass: what is good by itself is put together, piece by piece.
    fn settle_part_by_part(&mut self, mended: &Table) {
        let mut whole = Table::new();
        if !self.overrides.dev {
            self.begin(mended, &mut whole);
        }
        for section in SECTIONS.iter().filter(|section| !section.many) {
            if let Some(Value::Table(table)) = mended.get(section.name) {
                let before = whole.get(section.name).cloned();
                let put = |whole: &mut Table, table: &Table| {
                    let mut all = before.clone().and_then(|value| value.try_into().ok()).unwrap_or_default();
                    Table::extend(&mut all, table.clone());
                    whole.insert(section.name.to_owned(), Value::Table(all));
                };
                if !self.settle_piece(section, section.name, table, &mut whole, put) {
                    match before {
                        Some(value) => drop(whole.insert(section.name.to_owned(), value)),
                        None => drop(whole.remove(section.name)),
                    }
                }
            }
        }
        for section in SECTIONS.iter().filter(|section| section.many) {
            let Some(Value::Array(entries)) = mended.get(section.name) else { continue };
            let stands_in = whole.get(section.name).and_then(Value::as_array).cloned().unwrap_or_default();
            let mut good: Vec<Value> = Vec::new();
            for (number, entry) in entries.iter().enumerate() {
                let Some(entry) = entry.as_table() else { continue };
                let place = format!("{}[{number}]", section.name);
                let before = good.clone();
                let put = |whole: &mut Table, entry: &Table| {
                    let all = before.iter().cloned().chain([Value::Table(entry.clone())]).collect();
                    whole.insert(section.name.to_owned(), Value::Array(all));
                };
                if self.settle_piece(section, &place, entry, &mut whole, put) {
                    good = whole[section.name].as_array().cloned().unwrap_or_default();
                } else {
                    let left = if good.is_empty() { stands_in.clone() } else { good.clone() };
                    whole.insert(section.name.to_owned(), Value::Array(left));
                }
            }
        }
    }

    /// What every file has to have, with stand-ins for what this one lacks.
    fn begin(&mut self, mended: &Table, whole: &mut Table) {
        let stand_in = Value::from(STAND_IN_SECRET);
        let has_keys = mended.get("secrets").is_some_and(|secrets| secrets.get("keys").is_some());
        let secrets = match has_keys {
            true => ("keys".to_owned(), Value::Array(vec![stand_in])),
            false => ("key".to_owned(), stand_in),
        };
        let secrets = Table::from_iter([secrets]);
        whole.insert("secrets".to_owned(), Value::Table(secrets));
        let is_there = |section: &str| {
            mended
                .get(section)
                .is_some_and(|value| value.as_array().is_none_or(|entries| !entries.is_empty()))
        };
        if !is_there("secrets") {
            let fix = "make one with `openssl rand -hex 32`, put it into an environment variable, and write [secrets] \
                       key = { env = \"SECEVENT_MASTER_KEY\" }";
            self.note(
                "secrets.key",
                "secrets.key is missing: it seals private keys in the store".to_owned(),
                fix.to_owned(),
            );
        }
        if !is_there("issuer") {
            let fix = "write [[issuer]] with its url and default_subjects = \"ALL\"";
            self.note("issuer", "there is no [[issuer]]".to_owned(), fix.to_owned());
        }
        let listens_here = |address: &str| {
            address.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        };
        let listen = self.overrides.listen.map(|address| address.to_string());
        let listen = listen.or_else(|| Some(self.document.value("server", "listen")?.as_str()?.to_owned()));
        let has_url =
            self.overrides.public_url.is_some() || self.document.value("server", "public_url").is_some();
        if !has_url && listen.as_deref().is_some_and(|listen| !listens_here(listen)) {
            let fix = "write the https URL under which others see this server, such as \
                       public_url = \"https://events.example.com\"";
            let reason = "server.public_url is missing, and the server does not listen on loopback alone";
            self.note("server.public_url", reason.to_owned(), fix.to_owned());
            let server =
                Table::from_iter([("public_url".to_owned(), Value::from("https://stand-in.invalid"))]);
            whole.insert("server".to_owned(), Value::Table(server));
        }
        if is_there("authorization_server") {
            // Without it nobody may be left to give tokens.
            let server = Table::from_iter([
                ("issuer".to_owned(), Value::from("https://as.stand-in.invalid")),
                ("audience".to_owned(), Value::from("https://stand-in.invalid")),
            ]);
            whole.insert("authorization_server".to_owned(), Value::Array(vec![Value::Table(server)]));
        }
        let issuer = Table::from_iter([
            ("url".to_owned(), Value::from("https://stand-in.invalid")),
            ("default_subjects".to_owned(), Value::from("ALL")),
        ]);
        whole.insert("issuer".to_owned(), Value::Array(vec![Value::Table(issuer)]));
    }

    /// Puts a piece in, and mends it as long as it is to blame. Whether the whole is good with it in the end.
    fn settle_piece(
        &mut self,
        section: &Section,
        place: &str,
        piece: &Table,
        whole: &mut Table,
        put: impl Fn(&mut Table, &Table),
    ) -> bool {
        let mut piece = piece.clone();
        let number = place.split(['[', ']']).nth(1).unwrap_or_default();
        let mut noted: Vec<&str> = Vec::new();
        let mut removed: Vec<&str> = Vec::new();
        loop {
            put(whole, &piece);
            let Err(error) = settle(whole, self.overrides) else { return true };
            let reason = format!("{error:#}");
            let blamed = blamed(section, &reason).or_else(|| {
                section.settings.iter().find(|setting| {
                    let mut without = piece.clone();
                    without.insert(setting.key.to_owned(), stand_in(setting, number));
                    let mut other = whole.clone();
                    put(&mut other, &without);
                    settle(&other, self.overrides).is_ok()
                })
            });
            match blamed {
                Some(setting) if !noted.contains(&setting.key) => {
                    let at = format!("{place}.{}", setting.key);
                    let fix = self.mended_by(section, setting, piece.get(setting.key), &reason);
                    let reason = first_line(&reason);
                    let is_named = reason.contains(setting.key);
                    self.note(&at, if is_named { reason } else { format!("{at}: {reason}") }, fix);
                    noted.push(setting.key);
                    piece.insert(setting.key.to_owned(), stand_in(setting, number));
                }
                // Nothing can stand in its place: it goes against something else that is there, or is not.
                Some(setting) if !setting.required && !removed.contains(&setting.key) => {
                    removed.push(setting.key);
                    piece.remove(setting.key);
                }
                _ => {
                    if noted.is_empty() {
                        self.note(place, reason, format!("look at {}", section.about_in_book()));
                    }
                    return false;
                }
            }
        }
    }
}

impl Check<'_> {
    /// What to do about something that the server would say.
    fn mended_by(
        &self,
        section: &Section,
        setting: &Setting,
        value: Option<&Value>,
        reason: &str,
    ) -> Option<String> {
        const SAID: [&str; 11] = [
            ": add ",
            ": set ",
            ": write ",
            ": it must be ",
            ": leave it out",
            ": give ",
            ": state ",
            ": declare ",
            ": say ",
            ": use ",
            ": make ",
        ];
        if matches!(setting.kind, Kind::Secret) && reason.contains("which is not set") {
            let fix = "set the variable where the server is started, or take the secret from somewhere else";
            return Some(fix.to_owned());
        }
        if reason.contains("cannot read") || reason.contains("cannot be read") {
            return Some("name a file that the server's user can read".to_owned());
        }
        if reason.contains("is declared twice") {
            return Some(format!("give each {} its own {}", section.header(), setting.key));
        }
        let Some(value) = value else { return Some(written(setting)) };
        self.meant(setting, value).or_else(|| {
            // A file of the example, or what is there already, helps nobody.
            let is_file = matches!(setting.kind, Kind::Text(sort) if sort.contains("file"));
            let says_what_to_do = SAID.iter().any(|said| reason.contains(said));
            let same = *value == parse_value(setting.sample());
            // Another table in its place would lose what is right in this one.
            let is_table = value.is_table();
            (!(is_file || says_what_to_do || same || is_table)).then(|| written(setting))
        })
    }

    /// What was meant by a text that is near to one that would do.
    fn meant(&self, setting: &Setting, value: &Value) -> Option<String> {
        let entries = |section: &str, key: &str| -> Vec<String> {
            let texts = self.document.entries(section).iter().filter_map(|entry| entry.get(key)?.as_str());
            texts.map(str::to_owned).collect()
        };
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let known: Vec<String> = match setting.kind {
            Kind::Choice(choices) | Kind::Choices(choices) => owned(choices),
            Kind::Text(sort) | Kind::Texts(sort) if sort == "client.id" => entries("client", "id"),
            Kind::Text(sort) | Kind::Texts(sort) if sort == "issuer.url" => entries("issuer", "url"),
            Kind::Texts(sort) if sort.starts_with("event type") => {
                let standard = Vocabulary::standard().iter().map(|known| known.name().to_owned());
                standard.chain(entries("event_type", "name")).collect()
            }
            Kind::Texts(sort) if sort.starts_with("format of") => owned(&Subject::FORMATS),
            _ => return None,
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let texts = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let unknown = texts.iter().filter_map(Value::as_str).filter(|text| !known.contains(text));
        let near = unknown.filter(|text| !text.ends_with('*')).find_map(|text| nearest(text, &known));
        near.map(|near| format!("did you mean {near:?}?"))
    }
}

/// How a value of the wrong type or size is written.
fn rewritten(setting: &Setting, value: &Value) -> Option<String> {
    let is_list = matches!(setting.kind, Kind::Texts(_) | Kind::Choices(_) | Kind::Amounts { .. });
    let in_list = Value::Array(vec![value.clone()]);
    let quoted = Value::String(value.to_string());
    match (setting.kind, value) {
        _ if is_list && !value.is_array() && wrong(setting.kind, &in_list).is_none() => {
            Some(format!("write {} = {in_list}", setting.key))
        }
        (Kind::Text(_), Value::Integer(_) | Value::Boolean(_)) => {
            Some(format!("write {} = {quoted}", setting.key))
        }
        // What may be written stands in the reason.
        (Kind::Amount { .. } | Kind::Choice(_), _) => {
            setting.default.map(|default| format!("leave it out for the default, {default}"))
        }
        _ => Some(written(setting)),
    }
}

impl Section {
    fn about_in_book(&self) -> String {
        format!("{} in `secevent config example`", self.header())
    }
}

/// The setting that a message names: `issuer.url ...`, ``... in `server.listen` `` or `client "a": secret ...`.
fn blamed(section: &Section, reason: &str) -> Option<&'static Setting> {
    let path = format!("{}.", section.name);
    let named = |text: &str| {
        let key: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        section.setting(&key)
    };
    let begins = reason.strip_prefix(&path).and_then(named);
    let inside = || reason.split_once(&format!("in `{path}")).and_then(|(_, rest)| named(rest));
    let of_entry = || {
        let rest = reason.strip_prefix(section.name)?.strip_prefix(" \"")?;
        named(rest.split_once("\": ")?.1)
    };
    begins.or_else(inside).or_else(of_entry)
}

/// What is wrong with a value, to be read after its key.
fn wrong(kind: Kind, value: &Value) -> Option<String> {
    let is = |good: bool, what: &str| (!good).then(|| format!("is {}, and must be {what}", shown(value)));
    let texts = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_str));
    let within = |value: &Value, min, max| {
        value
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .is_some_and(|n| (min..=max).contains(&n))
    };
    match kind {
        Kind::Text(sort) => is(value.is_str(), &format!("a text: {sort}")),
        Kind::Texts(sort) => is(texts(value), &format!("a list of texts: {sort}")),
        Kind::TextOrTexts(_) => is(value.is_str() || texts(value), "a text, or a list of texts"),
        Kind::Switch => is(value.is_bool(), "true or false"),
        Kind::Amount { min, max, .. } => is(within(value, min, max), &kind.words()),
        Kind::Amounts { min, max } => {
            let all = value.as_array().is_some_and(|all| all.iter().all(|one| within(one, min, max)));
            is(all, &format!("a {}", kind.words()))
        }
        Kind::Choice(choices) => {
            is(value.as_str().is_some_and(|text| choices.contains(&text)), &quoted(choices, "or"))
        }
        Kind::Choices(choices) => {
            let known = |one: &Value| one.as_str().is_some_and(|text| choices.contains(&text));
            let all = value.as_array().is_some_and(|all| all.iter().all(known));
            is(all, &format!("a list of {}", quoted(choices, "or")))
        }
        // What is written there may be the secret.
        Kind::Secret => (!is_secret(value)).then(|| format!("must be {}", kind.words())),
        Kind::Secrets => {
            let good = value.as_array().is_some_and(|all| all.iter().all(is_secret));
            (!good).then(|| format!("must be a {}", kind.words()))
        }
        Kind::Table(_) | Kind::Free(_) => is(value.is_table(), "a table"),
        Kind::FileOrTable => is(value.is_str() || value.is_table(), "the name of a file, or a table"),
    }
}

fn is_secret(value: &Value) -> bool {
    let source = |table: &Table| {
        let known = table.len() == 1 && (table.contains_key("env") || table.contains_key("file"));
        known && table.values().all(Value::is_str)
    };
    value.is_str() || value.as_table().is_some_and(source)
}

fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a setting is to be written like.
fn written(setting: &Setting) -> String {
    format!("write {} = {} ({})", setting.key, setting.sample(), setting.kind.words())
}

/// Something good in place of a wrong value. What tells one of many from the others stays different from the others.
fn stand_in(setting: &Setting, number: &str) -> Value {
    match setting.kind {
        Kind::Secret => return Value::from(STAND_IN_SECRET),
        Kind::Secrets => return Value::Array(vec![Value::from(STAND_IN_SECRET)]),
        _ => {}
    }
    let sample = parse_value(setting.sample());
    match sample {
        Value::String(text) if matches!(setting.key, "url" | "uri" | "id" | "name") && !number.is_empty() => {
            Value::String(format!("{text}-{number}"))
        }
        other => other,
    }
}

/// A value as the file says it.
pub(crate) fn parse_value(toml: &str) -> Value {
    let table: Table = format!("value = {toml}").parse().expect("the rows of the table are TOML");
    table["value"].clone()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    first + characters.as_str().split(". ").next().unwrap_or_default().trim_end_matches('.')
}

/// The name that was meant, if one is near.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near = known.iter().map(|known| (distance(&name, &known.to_lowercase()), *known)).min()?;
    (near.0 <= 1 + name.len() / 4).then_some(near.1)
}

/// How many letters are to be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[server]
public_url = "https://events.example.com"
[secrets]
key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
[[issuer]]
url = "https://events.example.com/tenant-a"
default_subjects = "ALL"
[[client]]
id = "billing"
secret = "0123456789abcdef"
scopes = ["ssf.manage"]
audience = "https://billing.example.com"
"#;

    fn findings(text: &str) -> Vec<Finding> {
        check_with_files(&Document::parse(text).unwrap(), &Overrides::default()).findings
    }

    fn errors(text: &str) -> Vec<(String, Option<usize>)> {
        let errors = findings(text).into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| (finding.key, finding.line)).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = GOOD.replace("[server]", "[server]\nlisten = \"8080\"\nlisten_on = 1\nmetrics = \"yes\"")
            + r#"
[[client]]
id = "shop"
secret = { env = "SECEVENT_TEST_NOT_SET" }
scopes = ["ssf.read"]
[[client]]
id = "billing"
secret = "short"
scopes = "ssf.read"
audience = "https://other.example.com"
[outgoing]
allow_networks = ["10.0.0.0/99"]
[delivery]
pushes_max = 0
retry_delay_first_seconds = 10
retry_delay_max_seconds = 5
overflow = 7
[[stream]]
name = "main"
client = "nobody"
events = ["caep:*"]
delivery = { method = "poll", endpoint = "https://x.example" }
[[stream]]
name = "other"
client = "billing"
events = ["caep:nothing"]
delivery = { method = "poll" }
[[client]]
id = "signer"
jwks = { keys = [] }
algorithms = []
scopes = ["ssf.read"]
audience = "https://signer.example.com"
issuers = ["https://elsewhere.example.com"]
events = ["caep:nothing"]
subjects = { email_domains = ["a@example.com"] }
[[stream]]
name = "third"
client = "signer"
events = ["caep:*"]
delivery = { method = "poll" }
[[authorization_server]]
issuer = "https://events.example.com"
audience = "https://events.example.com"
[extra]
a = 1
"#;
        let told = errors(&text);
        let keys: Vec<&str> = told.iter().map(|(key, _)| key.as_str()).collect();
        for key in [
            "server.listen",
            "server.listen_on",
            "server.metrics",
            "client[1].secret",
            "client[1].audience",
            "client[2].secret",
            "client[2].scopes",
            "client[2].id",
            "outgoing.allow_networks",
            "delivery.pushes_max",
            "delivery.retry_delay_first_seconds",
            "delivery.overflow",
            "stream[0].delivery.endpoint",
            "stream[0].client",
            "stream[1].events",
            "client[3].jwks",
            "client[3].algorithms",
            "client[3].issuers",
            "client[3].events",
            "client[3].subjects",
            "authorization_server[0].issuer",
            "extra",
        ] {
            assert!(keys.contains(&key), "{key}: {told:?}");
        }
        let line_of = |part: &str| text.lines().position(|line| line.starts_with(part)).map(|at| at + 1);
        for (key, part) in [
            ("server.listen", "listen = "),
            ("delivery.overflow", "overflow"),
            ("client[1].secret", "secret = { env"),
            ("stream[0].client", "client = \"nobody\""),
            ("extra", "[extra]"),
        ] {
            let told = told.iter().find(|(told, _)| told == key).unwrap();
            assert_eq!(told.1, line_of(part), "{key}");
        }
        assert_eq!(told.len(), 22, "and nothing else: {told:?}");
    }

    #[test]
    fn what_a_server_starts_with_is_valid_and_the_other_way_round() {
        assert_eq!(errors(GOOD), []);
        for (from, to, key) in [
            ("[secrets]", "[secret]", "secret"),
            ("key = \"00", "key = \"", "secrets.key"),
            ("\"ALL\"", "\"SOME\"", "issuer[0].default_subjects"),
            ("url = \"https://events.example.com/tenant-a\"", "url = \"events\"", "issuer[0].url"),
            ("public_url = \"https:", "public_url = \"http:", "server.public_url"),
            ("audience = ", "audience = []#", "client[0].audience"),
            ("id = \"billing\"", "id = \"\"", "client[0].id"),
            ("[[issuer]]", "[[issuer]]\nevents = [\"caep:nothing\"]", "issuer[0].events"),
            ("[[issuer]]", "[[issuer]]\nalgorithm = \"none\"", "issuer[0].algorithm"),
            ("[[issuer]]", "[store]\nurl = \"postgres://x\"\n[[issuer]]", "store.url"),
            ("[[issuer]]", "[outgoing]\nextra_ca = \"/nowhere\"\n[[issuer]]", "outgoing.extra_ca"),
            (
                "[[issuer]]",
                "[[issuer]]\nurl = \"https://a.example\"\n[[issuer]]",
                "issuer[0].default_subjects",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let server = File::parse(&text).and_then(|file| file.settle(Overrides::default()));
            assert!(server.is_err(), "{to}");
            let told = errors(&text);
            assert!(told.iter().any(|(told, _)| told == key), "{key}: {told:?}");
        }
        let open =
            Overrides { listen: Some("0.0.0.0:80".parse().unwrap()), dev: true, ..Overrides::default() };
        let findings = check(&Document::parse(GOOD).unwrap(), &open).findings;
        assert!(findings[0].reason.contains("--dev only listens on loopback"), "{findings:?}");
    }

    #[test]
    fn slips_are_told_with_what_was_meant() {
        let told = findings(&GOOD.replacen("public_url", "public_ulr", 1));
        assert_eq!(told[0].fix.as_deref(), Some("did you mean public_url?"));
        let told = findings(&GOOD.replacen("[[issuer]]", "[[isuer]]", 1));
        assert!(told.iter().any(|one| one.fix.as_deref() == Some("did you mean issuer?")), "{told:?}");
        let told = findings(&GOOD.replacen("[[client]]", "[client]", 1));
        assert_eq!(told[0].reason, "client must be written [[client]]");
        let told = findings(&GOOD.replacen("\"0123456789abcdef\"", "12345678901234567", 1));
        assert!(!format!("{told:?}").contains("1234567890"), "what stands there may be the secret: {told:?}");
    }

    // finding: C9
    #[test]
    fn what_is_wrong_with_one_delivery_is_reported_together() {
        let stream = "[[stream]]\nname = \"s\"\nclient = \"billing\"\nevents = [\"caep:*\"]\ndelivery = { method = \
                      \"push\", endpoint_url = \"http://rp.example/\", authorization = { env = \"SECEVENT_TEST_NOT_SET\" } }\n\
                      [[issuer]]";
        let found = findings(&GOOD.replacen("[[issuer]]", stream, 1));
        let error = found.iter().find(|one| one.severity == Severity::Error).unwrap();
        assert_eq!(error.key, "stream[0].delivery");
        for part in ["plain http is not allowed", "SECEVENT_TEST_NOT_SET, which is not set"] {
            assert!(error.reason.contains(part), "{error:?}");
        }
    }

    /// Where `[outgoing]` keeps the server from a URL, that is what to change, not the URL.
    // finding: C9
    #[test]
    fn a_url_out_of_reach_is_reported_with_the_setting_that_admits_it() {
        let stream = |url: &str| {
            format!(
                "[[stream]]\nname = \"s\"\nclient = \"billing\"\nevents = [\"caep:*\"]\n\
                 delivery = {{ method = \"push\", endpoint_url = \"{url}\" }}\n[[issuer]]"
            )
        };
        let push_credential = "[[push_credential]]\nclient = \"billing\"\noauth = { token_url = \
                               \"https://as.example:8443/t\", client_id = \"a\", secret = \"b\" }\n[[issuer]]";
        for (from, to, key, fix) in [
            (
                "secret = \"0123456789abcdef\"",
                "jwks_uri = \"https://rp.example:8443/keys\"",
                "client[0].jwks_uri",
                "set outgoing.allow_ports = [443, 8443]",
            ),
            (
                "secret = \"0123456789abcdef\"",
                "jwks_uri = \"https://10.1.2.3/keys\"",
                "client[0].jwks_uri",
                "add \"10.1.2.3/32\" to outgoing.allow_networks",
            ),
            (
                "secret = \"0123456789abcdef\"",
                "jwks_uri = \"http://rp.example/keys\"",
                "client[0].jwks_uri",
                "use an https URL, or for development set outgoing.allow_plain_http = true, set outgoing.allow_ports = \
                 [80, 443]",
            ),
            (
                "[[issuer]]",
                &stream("http://127.0.0.1:9000/events"),
                "stream[0].delivery",
                "use an https URL, or for development set outgoing.allow_plain_http = true, set outgoing.allow_ports = \
                 [443, 9000], add \"127.0.0.0/8\" to outgoing.allow_networks (--dev permits all of this for receivers \
                 on loopback)",
            ),
            (
                "[[issuer]]",
                &stream("http://127.0.0.1:8080/events"),
                "stream[0].delivery",
                "use the address of the receiver: this server itself listens here",
            ),
            (
                "[[issuer]]",
                &stream("https://rp.example:8443/"),
                "stream[0].delivery",
                "set outgoing.allow_ports = [443, 8443]",
            ),
            (
                "[[issuer]]",
                push_credential,
                "push_credential[0].oauth",
                "set outgoing.allow_ports = [443, 8443]",
            ),
        ] {
            let told = findings(&GOOD.replacen(from, to, 1));
            let found = told.iter().find(|one| one.key == key && one.severity == Severity::Error);
            let found = found.unwrap_or_else(|| panic!("{key}: {told:?}"));
            assert!(found.reason.ends_with(fix), "{found:?}");
            assert_eq!(found.fix, None, "the reason says it");
        }
    }

    // finding: C9
    #[test]
    fn a_value_is_told_with_what_was_meant_and_no_fix_repeats_the_mistake() {
        let stream = "[[stream]]\nname = \"a\"\nclient = \"biling\"\nevents = [\"caep:session-revokd\"]\n\
                      delivery = { method = \"poll\" }\n[[issuer]]";
        for (from, to, key, fix) in [
            ("\"ssf.manage\"", "\"ssf.mange\"", "client[0].scopes", Some("did you mean \"ssf.manage\"?")),
            ("[\"ssf.manage\"]", "\"ssf.read\"", "client[0].scopes", Some("write scopes = [\"ssf.read\"]")),
            ("\"ALL\"", "\"all\"", "issuer[0].default_subjects", Some("did you mean \"ALL\"?")),
            ("[server]", "[server]\nmetrics = \"tokn\"", "server.metrics", Some("did you mean \"token\"?")),
            ("[server]", "[server]\nlisten = 8080", "server.listen", Some("write listen = \"8080\"")),
            ("[server]", "[server]\nlisten = \":8080\"", "server.listen", None),
            ("[server]", "[server]\nadmin_listen = \"8081\"", "server.admin_listen", None),
            (
                "[[issuer]]",
                "[delivery]\npoll_sets_max = 0\n[[issuer]]",
                "delivery.poll_sets_max",
                Some("leave it out for the default, 100"),
            ),
            (
                "[[issuer]]",
                "[[issuer]]\nevents = [\"caep:sesion-revoked\"]",
                "issuer[0].events",
                Some("did you mean \"caep:session-revoked\"?"),
            ),
            ("[[issuer]]", stream, "stream[0].client", Some("did you mean \"billing\"?")),
            (
                "[[client]]",
                "[[client]]\nid = \"billing\"\nsecret = \"0123456789abcdef\"\nscopes = [\"admin\"]\n[[client]]",
                "client[1].id",
                Some("give each [[client]] its own id"),
            ),
            (
                "[[issuer]]",
                "[outgoing]\nextra_ca = \"/nowhere\"\n[[issuer]]",
                "outgoing.extra_ca",
                Some("name a file that the server's user can read"),
            ),
        ] {
            let told = findings(&GOOD.replacen(from, to, 1));
            let found = told.iter().find(|one| one.key == key && one.severity == Severity::Error);
            let found = found.unwrap_or_else(|| panic!("{key}: {told:?}"));
            assert_eq!(found.fix.as_deref(), fix, "{found:?}");
            let setting = key.rsplit('.').next().unwrap();
            assert!(found.reason.contains(setting), "it names the setting: {found:?}");
        }
    }

    // finding: C9
    #[test]
    fn files_that_are_named_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("not.pem"), "no certificate").unwrap();
        let good = rcgen::generate_simple_self_signed(["events.example.com".to_owned()]).unwrap();
        std::fs::write(path("tls.pem"), good.cert.pem()).unwrap();
        std::fs::write(path("tls.key"), good.signing_key.serialize_pem()).unwrap();
        let tls = |certificate: &str, key: &str| {
            format!("tls = {{ certificate = {:?}, key = {:?} }}", path(certificate), path(key))
        };
        for (section, line, key, is_good) in [
            ("[server]", tls("tls.pem", "tls.key"), "server.tls", true),
            ("[server]", tls("missing.pem", "tls.key"), "server.tls", false),
            ("[server]", tls("tls.pem", "not.pem"), "server.tls", false),
            ("[server]", format!("admin_{}", tls("not.pem", "tls.key")), "server.admin_tls", false),
            ("[store]", format!("url = \"sqlite:{}\"", path("events.db")), "store.url", true),
            ("[store]", format!("url = \"sqlite:{}\"", path("missing/events.db")), "store.url", false),
            ("[store]", format!("url = \"sqlite:{}\"", folder.path().display()), "store.url", false),
            ("[outgoing]", format!("extra_ca = {:?}", path("tls.pem")), "outgoing.extra_ca", true),
            ("[outgoing]", format!("extra_ca = {:?}", path("not.pem")), "outgoing.extra_ca", false),
            (
                "[[push_credential]]",
                format!(
                    "client = \"billing\"\ncertificate = {:?}\nkey = {:?}",
                    path("not.pem"),
                    path("tls.key")
                ),
                "push_credential[0].certificate",
                false,
            ),
        ] {
            let with = format!("{section}\n{line}\n");
            let text = match section {
                "[server]" => GOOD.replacen("[server]\n", &with, 1),
                _ => GOOD.to_owned() + &with,
            };
            let told = errors(&text);
            assert_eq!(told.iter().any(|(told, _)| told == key), !is_good, "{line}: {told:?}");
            assert!(is_good || told.iter().all(|(_, line)| line.is_some()), "{told:?}");
        }
    }

    #[test]
    fn what_may_not_be_meant_is_a_warning() {
        for (from, to, key) in [
            ("[server]", "[server]\nlisten = \"0.0.0.0:8080\"", "server.listen"),
            ("[server]", "[server]\nadmin_listen = \"0.0.0.0:8081\"", "server.admin_listen"),
            ("https://events.example.com\"", "http://127.0.0.1:8080\"", "server.public_url"),
            ("https://events.example.com/", "https://other.example.com/", "issuer[0].url"),
            ("[[issuer]]", "[delivery]\nage_max_seconds = 60\n[[issuer]]", "delivery.age_max_seconds"),
            ("[[issuer]]", "[outgoing]\nallow_plain_http = true\n[[issuer]]", "outgoing.allow_plain_http"),
            (
                "[[issuer]]",
                "[outgoing]\nallow_networks = [\"0.0.0.0/0\"]\n[[issuer]]",
                "outgoing.allow_networks",
            ),
            ("[[issuer]]", "[outgoing]\nallow_ports = [8443]\n[[issuer]]", "outgoing.allow_ports"),
            ("[[issuer]]", "[keys]\nkeep_behind_seconds = 86400\n[[issuer]]", "delivery.age_max_seconds"),
            (
                "[[issuer]]",
                "[outgoing]\nproxy = \"http://proxy.example:3128\"\nproxy_credential = \"us:hush-hush\"\n[[issuer]]",
                "outgoing.proxy_credential",
            ),
            (
                "[[issuer]]",
                "[[push_credential]]\nclient = \"billing\"\noauth = { token_url = \"https://as.example\", client_id = \"us\", secret = \"hush-hush\" }\n[[issuer]]",
                "push_credential[0].oauth.secret",
            ),
            (
                "[[issuer]]",
                "[[stream]]\nname = \"a\"\nclient = \"billing\"\nevents = [\"caep:*\"]\ndelivery = { method = \"push\", endpoint_url = \"https://billing.example.com\", authorization = \"hush-hush\" }\n[[issuer]]",
                "stream[0].delivery.authorization",
            ),
            (
                "key = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"",
                "keys = [\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"]",
                "secrets.keys[0]",
            ),
            // finding: A13
            (
                "[[issuer]]",
                "[[authorization_server]]\nissuer = \"https://as.example:8443\"\naudience = \"x\"\n[[issuer]]",
                "authorization_server[0].issuer",
            ),
            (
                "[[issuer]]",
                "[[authorization_server]]\nissuer = \"https://as.example\"\njwks_uri = \"https://10.1.2.3/keys\"\naudience = \"x\"\n[[issuer]]",
                "authorization_server[0].jwks_uri",
            ),
            ("", "", "client[0].secret"),
            ("", "", "secrets.key"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_eq!(errors(&text), [], "{to}");
            let told = findings(&text);
            let keys: Vec<&str> = told.iter().map(|finding| finding.key.as_str()).collect();
            assert!(keys.contains(&key), "{key}: {told:?}");
            let usual = ["client[0].secret", "secrets.key"].contains(&key);
            assert!(usual || !findings(GOOD).iter().any(|finding| finding.key == key), "{key}");
        }
        // A listener with a certificate of its own is no plain http.
        let tls = "listen = \"0.0.0.0:8443\"\nadmin_listen = \"0.0.0.0:8081\"\ntls = { certificate = \"a\", key = \"b\" }\nadmin_tls = { certificate = \"a\", key = \"b\" }";
        let told = findings(&GOOD.replacen("[server]", &format!("[server]\n{tls}"), 1));
        let of_listeners = |finding: &&Finding| finding.key.contains("listen");
        assert_eq!(told.iter().find(of_listeners), None);
    }
}
