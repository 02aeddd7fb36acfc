//! Text by language, as CAEP gives reasons to people (CAEP 1.0 section 2).

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A text in one or more languages, by BCP 47 language tag.
///
/// Older drafts had a bare string here; it is read as a text without a language (the tag `und`).
///
/// ```
/// use secevent::ByLanguage;
///
/// let reason = ByLanguage::english("Landspeed policy violation");
/// let reason = reason.with("es-410", "Violación de la política");
/// assert_eq!(reason.best("ES"), Some("Violación de la política"));
/// assert_eq!(reason.best("fr"), Some("Landspeed policy violation"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByLanguage {
    texts: BTreeMap<String, String>,
}

impl ByLanguage {
    /// The tag of a text whose language is not told.
    pub const UNDETERMINED: &'static str = "und";

    /// One text, in English.
    pub fn english(text: impl Into<String>) -> Self {
        Self::default().with("en", text)
    }

    /// Adds a text, or replaces the one with this tag.
    #[must_use]
    pub fn with(mut self, tag: impl Into<String>, text: impl Into<String>) -> Self {
        self.texts.insert(tag.into(), text.into());
        self
    }

    /// The texts with their tags.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(tag, text)| (tag.as_str(), text.as_str()))
    }

    /// The text that suits a reader of `tag` best: that very tag, else a tag that shares its beginning (the
    /// longest), else English, else any. Tags compare without regard to letter case.
    pub fn best(&self, tag: &str) -> Option<&str> {
        let shared = |candidate: &str| {
            let pairs = candidate.split('-').zip(tag.split('-'));
            pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
        };
        // Of equally near tags the shorter is the more general one, so it is tried first.
        let nearest =
            self.iter().max_by_key(|(candidate, _)| (shared(candidate), usize::MAX - candidate.len()));
        nearest
            .filter(|(candidate, _)| shared(candidate) > 0)
            .or_else(|| self.iter().find(|(candidate, _)| candidate.to_ascii_lowercase().starts_with("en")))
            .or_else(|| self.iter().next())
            .map(|(_, text)| text)
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// Whether `tag` has the form of a BCP 47 language tag: subtags of one to eight letters or digits, the first
/// of letters alone. Registries are not consulted: `es-410` is well-formed (E-61).
pub(crate) fn is_well_formed(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let first = subtags
        .next()
        .is_some_and(|first| !first.is_empty() && first.bytes().all(|b| b.is_ascii_alphabetic()));
    let sized = tag.split('-').all(|subtag| (1..=8).contains(&subtag.len()));
    first && sized && subtags.all(|subtag| subtag.bytes().all(|b| b.is_ascii_alphanumeric()))
}

impl Serialize for ByLanguage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ByLanguage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = ByLanguage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from language tag to text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByLanguage, E> {
        Ok(ByLanguage::default().with(ByLanguage::UNDETERMINED, text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByLanguage, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((tag, text)) = map.next_entry()? {
            texts.insert(tag, text);
        }
        Ok(ByLanguage { texts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_language_wins() {
        let reason = ByLanguage::default().with("en", "en").with("es-410", "es-410").with("es", "es");
        for (asked, found) in
            [("es-410", "es-410"), ("ES-410", "es-410"), ("es", "es"), ("es-MX", "es"), ("fr", "en")]
        {
            assert_eq!(reason.best(asked), Some(found), "{asked}");
        }
        assert_eq!(ByLanguage::default().best("en"), None);
        assert_eq!(ByLanguage::default().with("de", "de").best("fr"), Some("de"));
    }

    #[test]
    fn form_of_tags() {
        for tag in ["en", "en-US", "es-410", "zh-Hans-CN", "x-private", "und"] {
            assert!(is_well_formed(tag), "{tag}");
        }
        for tag in ["", "-", "en-", "e n", "en_US", "123", "toolonglanguage", "en-toolongsubtag"] {
            assert!(!is_well_formed(tag), "{tag}");
        }
    }
}
