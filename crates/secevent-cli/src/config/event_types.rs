//! `[[event_type]]`: event types of the operator's own.

use anyhow::{Context as _, bail, ensure};
use secevent::{Definition, Subject, Vocabulary};
use secevent_transmitter::IssuerConfig;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventTypeEntry {
    uri: String,
    name: String,
    schema: Schema,
    about: Option<String>,
    subject_formats: Option<Vec<String>>,
}

/// A JSON Schema: in a file, or here.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Schema {
    File(PathBuf),
    Here(serde_json::Map<String, Value>),
}

/// The event types of the standards, and these.
pub(super) fn vocabulary(entries: &[EventTypeEntry]) -> anyhow::Result<Vocabulary> {
    let mut vocabulary = Vocabulary::standard().clone();
    for entry in entries {
        let definition = entry.definition()?;
        vocabulary.add(definition).map_err(|error| {
            let key = if error.0 == entry.uri { "uri" } else { "name" };
            anyhow::anyhow!("event_type.{key}: {error}")
        })?;
    }
    Ok(vocabulary)
}

impl EventTypeEntry {
    fn definition(&self) -> anyhow::Result<Definition> {
        let (name, about) = (&self.name, self.about.as_deref().unwrap_or_default());
        let (schema, place) = match &self.schema {
            Schema::Here(members) => (Value::Object(members.clone()), "the table".to_owned()),
            Schema::File(path) => {
                let place = path.display().to_string();
                let told = || format!("event_type.schema of {name:?}: {place}");
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("event_type.schema of {name:?}: cannot read {place}"))?;
                // What is far too long is not even parsed.
                let bytes_max = 16 * Definition::SCHEMA_BYTES_MAX;
                ensure!(text.len() <= bytes_max, "{} is longer than {bytes_max} bytes", told());
                (serde_json::from_str(&text).with_context(|| format!("{} is no JSON", told()))?, place)
            }
        };
        let definition = Definition::from_json_schema(&self.uri, name, about, &schema);
        let definition = definition.map_err(|error| match &error {
            secevent::SchemaError::NotAUri(_) => anyhow::anyhow!("event_type.uri: {error}"),
            secevent::SchemaError::NotAName(_) => anyhow::anyhow!("event_type.name: {error}"),
            _ => anyhow::anyhow!("event_type.schema of {name:?}: {place}: {error}"),
        })?;
        let Some(formats) = &self.subject_formats else { return Ok(definition) };
        if let Some(unknown) = formats.iter().find(|format| !Subject::FORMATS.contains(&format.as_str())) {
            let known = Subject::FORMATS.join(", ");
            bail!("event_type.subject_formats of {name:?} has {unknown:?}, and there are {known}");
        }
        ensure!(
            !formats.is_empty(),
            "event_type.subject_formats of {name:?} is empty: leave it out for any subject"
        );
        Ok(definition.about_subjects(formats.iter().cloned()))
    }
}

/// Gives issuers that name no event types those of the file beside CAEP and RISC, and sees to it that those that name
/// some name types that there are.
pub(super) fn complete(
    issuers: &mut [IssuerConfig],
    entries: &[EventTypeEntry],
    names_events: &[bool],
    vocabulary: &Vocabulary,
) -> anyhow::Result<()> {
    for (issuer, names_events) in issuers.iter_mut().zip(names_events) {
        if !names_events {
            issuer.events.extend(entries.iter().map(|entry| entry.uri.clone()));
        }
        let unknown = issuer.events.iter().find(|pattern| vocabulary.matching(pattern).next().is_none());
        if let Some(unknown) = unknown {
            bail!("issuer.events of {} has {unknown:?}, and no event type is named that", issuer.url);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent::Strictness;

    fn read(text: &str) -> anyhow::Result<Vocabulary> {
        #[derive(Deserialize)]
        struct File {
            event_type: Vec<EventTypeEntry>,
        }
        vocabulary(&toml::from_str::<File>(text)?.event_type)
    }

    const LOST: &str = r#"
        [[event_type]]
        uri = "https://example.com/events/badge-lost"
        name = "example:badge-lost"
        about = "A badge was lost."
        subject_formats = ["email"]
        schema = { type = "object", required = ["door"], properties = { door = { type = "string" } } }
    "#;

    #[test]
    fn a_type_of_ones_own_is_one_of_the_vocabulary() {
        let known = read(LOST).unwrap();
        assert_eq!(known.matching("example:*").count(), 1);
        let lost = known.find("example:badge-lost").unwrap();
        assert_eq!(lost.about(), "A badge was lost.");
        let breach = lost.check(r#"{"door":7}"#, Strictness::Strict).unwrap_err();
        assert_eq!((breach.member(), breach.rule()), ("door", "custom"));
        assert!(lost.check_subject(&Subject::opaque("7").unwrap()).is_err());
    }

    #[test]
    fn a_type_that_cannot_be_defined_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let from = LOST.find("schema").unwrap();
            format!("{}schema = {:?}", &LOST[..from], path.to_str().unwrap())
        };
        read(&file("good.json", r#"{"type":"object"}"#)).unwrap();
        let gone = file("gone.json", "{}");
        std::fs::remove_file(folder.path().join("gone.json")).unwrap();
        for (text, told) in [
            (gone, "cannot read"),
            (file("a.json", "{"), "a.json is no JSON: EOF while parsing"),
            (
                file("b.json", r#"{"properties":{"door":{"type":"thing"}}}"#),
                "b.json: the schema is refused: at /properties/door/type",
            ),
            (
                file("c.json", r#"{"$ref":"https://schemas.example/door.json"}"#),
                "c.json: the schema is refused",
            ),
            (file("d.json", &" ".repeat(2 << 20)), "d.json is longer than"),
            (
                LOST.replace("\"object\"", "\"thing\""),
                "event_type.schema of \"example:badge-lost\": the table: the schema is refused: at /type",
            ),
            (LOST.replace("\"https://", "\""), "event_type.uri: `example.com/events/badge-lost` is no URI"),
            (LOST.replace("\"example:badge-lost\"", "\"badge-lost\""), "event_type.name: "),
            (LOST.replace("\"email\"", "\"e-mail\""), "has \"e-mail\", and there are account, "),
            (
                LOST.replace("[\"email\"]", "[]"),
                "event_type.subject_formats of \"example:badge-lost\" is empty",
            ),
            (
                LOST.replace("\"example:badge-lost\"", "\"caep:session-revoked\""),
                "event_type.name: the event type `caep:session-revoked` is already known",
            ),
            (format!("{LOST}{LOST}"), "event_type.uri: the event type"),
            (LOST.replace("about", "abuot"), "unknown field `abuot`"),
        ] {
            let refused = format!("{:#}", read(&text).unwrap_err());
            assert!(refused.contains(told), "{told}: {refused}");
        }
    }
}
