//! That the rows of the table are the truth: the structs that read the file, their defaults and their bounds.

use super::check::{Severity, check, parse_value};
use super::document::Document;
use super::reference::SECTIONS;
use super::table::{Kind, Setting};
use super::{File, Overrides, Settings, print};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, forward_to_deserialize_any};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

type Error = serde::de::value::Error;

/// Answers whatever a struct asks for, and notes which fields it asks for.
#[derive(Clone)]
struct Asked<'a> {
    place: String,
    noted: &'a RefCell<BTreeSet<String>>,
}

impl Asked<'_> {
    fn within(&self, name: &str) -> Self {
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        Asked { place, noted: self.noted }
    }
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // An address, and so a text too.
        visitor.visit_str("127.0.0.1:1")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(true)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u16(1)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(1)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let nothing = Vec::new().into_iter();
        MapAccessDeserializer::new(Fields { left: nothing, now: None }).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Once(Some(self)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let fields: Vec<Asked<'_>> = fields.iter().map(|field| self.within(field)).collect();
        self.noted.borrow_mut().extend(fields.iter().map(|field| field.place.clone()));
        MapAccessDeserializer::new(Fields { left: fields.into_iter(), now: None }).deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

struct Once<'a>(Option<Asked<'a>>);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|asked| seed.deserialize(asked)).transpose()
    }
}

struct Fields<'a> {
    left: std::vec::IntoIter<Asked<'a>>,
    now: Option<Asked<'a>>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.now = self.left.next();
        let Some(field) = &self.now else { return Ok(None) };
        let name = field.place.rsplit('.').next().unwrap();
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.now.take().unwrap())
    }
}

fn places(outer: &str, settings: &[Setting], into: &mut BTreeSet<String>) {
    for setting in settings {
        let place = format!("{outer}.{}", setting.key);
        if let Kind::Table(inner) = setting.kind {
            places(&place, inner, into);
        }
        into.insert(place);
    }
}

#[test]
fn every_field_of_the_file_has_a_row_and_every_row_a_field() {
    let noted = RefCell::default();
    File::deserialize(Asked { place: String::new(), noted: &noted }).unwrap();
    let mut rows: BTreeSet<String> = SECTIONS.iter().map(|section| section.name.to_owned()).collect();
    for section in SECTIONS {
        places(section.name, section.settings, &mut rows);
    }
    let fields = noted.into_inner();
    let missing: Vec<_> = fields.difference(&rows).collect();
    assert!(missing.is_empty(), "write a row in config/reference.rs for each of these: {missing:?}");
    let gone: Vec<_> = rows.difference(&fields).collect();
    assert!(gone.is_empty(), "the file has no such settings any more: {gone:?}");
    assert!(fields.len() > 60, "{fields:?}");
}

const SECRET: &str = "\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"";

/// The example, with secrets that need no environment.
fn example() -> String {
    let text = print::example();
    let line = |line: &str| match line.split_once(" = { env = ") {
        Some((key, _)) if !line.starts_with('#') => format!("{key} = {SECRET}"),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn settle(text: &str) -> Settings {
    File::parse(text).unwrap().settle(Overrides::default()).unwrap()
}

#[test]
fn the_example_is_good_and_what_it_leaves_commented_out_is_the_default() {
    let text = example();
    let settings = settle(&text);
    // Every setting that has a default, written down.
    let mut section = "";
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let bare = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
            if let Some(name) = bare.strip_prefix('[') {
                section = name.trim_matches(['[', ']']);
            }
            let key = bare.split(" = ").next().unwrap();
            let row = SECTIONS.iter().find(|one| one.name == section).and_then(|one| one.setting(key));
            let optional =
                !text.contains(&format!("\n[{section}]")) && !text.contains(&format!("\n[[{section}]]"));
            let written = row.is_some_and(|row| row.default.is_some()) && !optional;
            if written { bare.to_owned() } else { line.to_owned() }
        })
        .collect();
    let spelled = settle(&lines.join("\n"));
    let parts = |settings: &Settings| {
        let transmitter = format!("{:#?}", settings.transmitter);
        let admin = format!("{:?}", settings.admin);
        (
            transmitter,
            admin,
            settings.outgoing.clone(),
            settings.database.clone(),
            settings.public_url.clone(),
        )
    };
    assert_eq!(parts(&settings), parts(&spelled));
    let store = secevent_sqlite::Options::new(secevent_store::Epoch(1));
    assert_eq!(spelled.store.log_pages_max, Some(store.log_pages_max));
    assert_eq!(spelled.store.bytes_max, store.bytes_max);
    assert_eq!(spelled.store.reserve_bytes, Some(store.reserve_bytes));
    assert_eq!(spelled.transmitter.push_timeout, Duration::from_secs(10));
    // A default that the file does not change was not written down.
    for setting in SECTIONS.iter().flat_map(|section| section.settings) {
        assert!(text.contains(&format!("{} = ", setting.key)), "{}", setting.key);
    }
}

#[test]
fn the_whole_example_is_good_too() {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    // But for what stands in the place of something else.
    let mut section = String::new();
    let mut is_beside = |line: &String| {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        }
        let key = line.split(" = ").next().unwrap();
        let row = SECTIONS.iter().find(|one| one.name == section).and_then(|one| one.setting(key));
        row.is_none_or(|row| !row.instead)
    };
    let example = print::example();
    let text: Vec<String> = example.lines().map(bare).filter(|line| is_beside(line)).collect();
    let text = text.join("\n");
    let json = print::to_json(&toml::Value::Table(text.parse().unwrap()));
    let schema = jsonschema::validator_for(&print::schema()).unwrap();
    assert_eq!(schema.validate(&json).map_err(|error| error.to_string()), Ok(()));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "").unwrap();
    let text = text.replace("/etc/secevent/internal-ca.pem", ca.to_str().unwrap());
    // Secrets that need no environment.
    let secret = |line: &str| match line.split_once("{ env = ") {
        Some((before, rest)) => format!("{before}{SECRET}{}", rest.split_once(" }").unwrap().1),
        None => line.to_owned(),
    };
    let text: Vec<String> = text.lines().map(secret).collect();
    let settings = settle(&text.join("\n"));
    assert_eq!((settings.streams.len(), settings.vocabulary.find("example:badge-lost").is_some()), (1, true));
}

#[test]
fn the_schema_takes_the_example_and_refuses_slips() {
    let schema = jsonschema::options().build(&print::schema()).unwrap();
    let json = |text: &str| print::to_json(&toml::Value::Table(text.parse().unwrap()));
    assert!(schema.is_valid(&json(&print::example())));
    for (from, to) in [
        ("[server]", "[server]\nlisten_on = \"127.0.0.1:80\""),
        ("[delivery]", "[delivery]\npoll_sets_max = 0"),
        ("[delivery]", "[delivery]\npoll_sets_max = 1001"),
        ("[delivery]", "[delivery]\npoll_sets_max = \"100\""),
        ("[delivery]", "[delivery]\noverflow = \"block\""),
        ("[store]", "[stores]"),
        ("{ env = \"SECEVENT_MASTER_KEY\" }", "{ environment = \"SECEVENT_MASTER_KEY\" }"),
        ("default_subjects = \"ALL\"", ""),
        ("[[client]]", "[client]"),
        ("scopes = [\"ssf.manage\"]", "scopes = [\"ssf.all\"]"),
    ] {
        let slip = print::example().replacen(from, to, 1);
        assert!(!schema.is_valid(&json(&slip)), "{to}");
    }
}

/// What the table says of a number is what the server takes, and what `config check` takes.
#[test]
fn bounds_are_those_of_the_code() {
    for section in SECTIONS.iter().filter(|section| !section.many) {
        for setting in section.settings {
            let Kind::Amount { min, max, .. } = setting.kind else { continue };
            let with = |value: u64| {
                let line = format!("{}\n{} = {value}", section.header(), setting.key);
                let mut text = example().replacen(&section.header(), &line, 1);
                // One must not be more than the other.
                if setting.key == "events_burst" {
                    text = text.replacen("[limits]", "[limits]\nevents_per_second = 1", 1);
                }
                if setting.key == "retry_delay_first_seconds" {
                    text = text.replacen("[delivery]", "[delivery]\nretry_delay_max_seconds = 86400", 1);
                }
                text
            };
            let server = |value| File::parse(&with(value)).unwrap().settle(Overrides::default());
            let checked = |value| {
                let findings = check(&Document::parse(&with(value)).unwrap(), &Overrides::default()).findings;
                findings.into_iter().filter(|one| one.severity == Severity::Error).collect::<Vec<_>>()
            };
            for good in [min, max] {
                server(good).unwrap();
                assert_eq!(checked(good), []);
            }
            for wrong in [min.checked_sub(1), Some(max + 1)].into_iter().flatten() {
                let place = format!("{}.{}", section.name, setting.key);
                let refused = server(wrong).unwrap_err().to_string();
                assert!(refused.starts_with(&format!("{place} is {wrong}: it must be {min}")), "{refused}");
                let findings = checked(wrong);
                assert_eq!(findings.len(), 1, "{findings:?}");
                assert_eq!((&findings[0].key, findings[0].line.is_some()), (&place, true));
            }
        }
    }
}

/// What the table lets one choose, the server knows.
#[test]
fn choices_are_those_of_the_code() {
    let mut tried = 0;
    for section in SECTIONS {
        for setting in section.settings {
            let (Kind::Choice(choices) | Kind::Choices(choices)) = setting.kind else { continue };
            // One belongs to the other.
            let header = format!("\n{}\n", section.header());
            let belongs = [("delivery", "inactivity_then"), ("client", "algorithms")];
            if !example().contains(&header) || belongs.contains(&(section.name, setting.key)) {
                continue;
            }
            for choice in choices {
                let value = match setting.kind {
                    Kind::Choices(_) => format!("[{choice:?}]"),
                    _ => format!("{choice:?}"),
                };
                let written: Vec<String> = example()
                    .lines()
                    .filter(|line| line.split(" = ").next() != Some(setting.key))
                    .map(str::to_owned)
                    .collect();
                let line = format!("{header}{} = {value}\n", setting.key);
                let text = written.join("\n").replacen(&header, &line, 1);
                let settled = File::parse(&text).and_then(|file| file.settle(Overrides::default()));
                assert!(settled.is_ok(), "{line}: {settled:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 15);
}

#[test]
fn the_page_of_the_book_is_printed_from_the_table() {
    let page = include_str!("../../../../docs/book/configuration.md");
    let fresh = print::reference();
    assert!(page == fresh, "the page is stale: cargo run -- config reference > docs/book/configuration.md");
}

#[test]
fn samples_are_values_that_may_be_written() {
    for setting in SECTIONS.iter().flat_map(|section| section.settings) {
        let example = setting.example.or(setting.default);
        assert!(example.is_some(), "{} has nothing to show", setting.key);
        parse_value(setting.sample());
    }
}

// finding: B22
#[test]
fn a_store_is_a_file_on_this_machine() {
    let database = |url: &str| File::default().database(Some(url));
    for (url, path) in [
        ("sqlite:secevent.db", "secevent.db"),
        ("sqlite:/var/lib/secevent.db", "/var/lib/secevent.db"),
        ("sqlite:///var/lib/secevent.db", "/var/lib/secevent.db"),
    ] {
        assert_eq!(database(url).unwrap(), std::path::Path::new(path), "{url}");
    }
    for (url, because) in [
        ("sqlite::memory:", "in memory"),
        ("sqlite://x", "host"),
        ("sqlite://x/secevent.db", "host"),
        ("sqlite:secevent.db?mode=memory", "parameters"),
        ("sqlite:", "path of a file"),
        ("postgres://x", "path of a file"),
    ] {
        let refused = database(url).unwrap_err().to_string();
        assert!(refused.contains(because), "{url}: {refused}");
    }
}
