//! What `secevent.toml` may say: a row for each setting, with its type, default, bounds and reason.
//!
//! The example file, the JSON Schema, the reference page, `config show` and the checks of `config check` are all made
//! from these rows. Tests hold the rows against the structs that read the file: neither has a setting that the other
//! has not, and defaults and bounds are those of the code.

/// A table of the file: `[server]`, or one of many `[[client]]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// Whether it is written `[[name]]`, as often as there are such things.
    pub(crate) many: bool,
    pub(crate) about: &'static str,
    pub(crate) settings: &'static [Setting],
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    /// What holds where the file says nothing, as the file would say it.
    pub(crate) default: Option<&'static str>,
    /// A value to begin with, as the file says it.
    pub(crate) example: Option<&'static str>,
    pub(crate) required: bool,
    /// Whether nearly every file says it: something else may stand in its place.
    pub(crate) usual: bool,
    /// Whether it stands in the place of something else, and not beside it.
    pub(crate) instead: bool,
    /// The flag of `serve`, and the environment variable, that win over the file.
    pub(crate) given: Option<(&'static str, &'static str)>,
}

/// The values that a setting may have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A text, of this sort.
    Text(&'static str),
    /// Texts, each of this sort.
    Texts(&'static str),
    /// One text or several, of this sort.
    TextOrTexts(&'static str),
    /// True or false.
    Switch,
    /// A whole number of this unit.
    Amount {
        /// The unit; empty where it is a plain count.
        unit: &'static str,
        min: u64,
        max: u64,
    },
    /// Whole numbers.
    Amounts {
        /// The least of each.
        min: u64,
        /// The most of each.
        max: u64,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Several of these texts.
    Choices(&'static [&'static str]),
    /// A secret: the text itself, or where it is.
    Secret,
    /// A table of its own, written in one line.
    Table(&'static [Setting]),
    /// Secrets, each the text itself or where it is.
    Secrets,
    /// A table whose keys are one's own.
    Free(&'static str),
    /// The name of a file, or its content as a table.
    FileOrTable,
}

impl Section {
    pub(crate) const fn one(name: &'static str, about: &'static str, settings: &'static [Setting]) -> Self {
        Self { name, many: false, about, settings }
    }

    pub(crate) const fn many(name: &'static str, about: &'static str, settings: &'static [Setting]) -> Self {
        Self { name, many: true, about, settings }
    }

    /// Its first line.
    pub(crate) fn header(&self) -> String {
        if self.many { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }

    pub(crate) fn setting(&self, key: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }
}

impl Setting {
    pub(crate) const fn new(key: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            key,
            kind,
            about,
            default: None,
            example: None,
            required: false,
            usual: false,
            instead: false,
            given: None,
        }
    }

    pub(crate) const fn default(mut self, toml: &'static str) -> Self {
        self.default = Some(toml);
        self
    }

    pub(crate) const fn example(mut self, toml: &'static str) -> Self {
        self.example = Some(toml);
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn usual(mut self) -> Self {
        self.usual = true;
        self
    }

    pub(crate) const fn instead(mut self) -> Self {
        self.instead = true;
        self
    }

    pub(crate) const fn given(mut self, flag: &'static str, variable: &'static str) -> Self {
        self.given = Some((flag, variable));
        self
    }

    /// A value that one may write, as the file says it.
    pub(crate) fn sample(&self) -> &'static str {
        self.example.or(self.default).unwrap_or("\"\"")
    }
}

impl Kind {
    /// What may be written, in words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Text(sort) => sort.to_owned(),
            Self::Texts(sort) => format!("list ({sort})"),
            Self::TextOrTexts(sort) => format!("{sort}, or a list"),
            Self::Switch => "true or false".to_owned(),
            Self::Amount { unit: "", min, max } => format!("{min} to {max}"),
            Self::Amount { unit, min, max } => format!("{min} to {max} {unit}"),
            Self::Amounts { min, max } => format!("list of {min} to {max}"),
            Self::Choice(choices) => quoted(choices, "or"),
            Self::Choices(choices) => format!("list of {}", quoted(choices, "or")),
            Self::Secret => "{ env = \"VARIABLE\" }, { file = \"FILE\" } or the secret itself".to_owned(),
            Self::Secrets => {
                "list, each { env = \"VARIABLE\" }, { file = \"FILE\" } or the secret itself".to_owned()
            }
            Self::Free(sort) => format!("table of {sort}"),
            Self::Table(settings) => {
                let keys: Vec<&str> = settings.iter().map(|setting| setting.key).collect();
                format!("table of {}", keys.join(", "))
            }
            Self::FileOrTable => "name of a JSON file, or a table".to_owned(),
        }
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn quoted(choices: &[&str], or: &str) -> String {
    let all: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} {or} {last}", before.join(", ")),
        _ => all.join(""),
    }
}
