//! The members of a JSON object from a stranger, each read once, by name.
//!
//! A member that is null counts as absent, because many writers print null for what they do not have; only
//! [`Members::change`] tells the two apart.

use crate::{Change, StreamId, Tolerance};
use secevent::json::{Limits, check, problem};
use secevent::{Invalid, Issuer, Strictness, Subject};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

pub(crate) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads a body; `rule` is what a body breaks that is no JSON object.
    pub(crate) fn read(body: &'a [u8], rule: &'static str) -> Result<Self, Invalid> {
        Self::read_within(body, rule, Limits::BODY)
    }

    pub(crate) fn read_within(body: &'a [u8], rule: &'static str, limits: Limits) -> Result<Self, Invalid> {
        let text = check(body, limits).map_err(|breach| of_body(&breach, rule))?;
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| Invalid::new("", rule, format!("is not JSON: {}", problem(&error))))
    }

    /// The members of an object inside a body that is read already.
    pub(crate) fn of(value: &'a RawValue, rule: &'static str) -> Result<Self, Invalid> {
        let members = serde_json::from_str(value.get());
        members.map(Self).map_err(|_| Invalid::new("", rule, "must be a JSON object"))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|value| value.get() != "null")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn change(&self, name: &str) -> Change<&'a RawValue> {
        match self.0.get(name) {
            None => Change::Keep,
            Some(value) if value.get() == "null" => Change::Clear,
            Some(value) => Change::Set(value),
        }
    }

    pub(crate) fn optional<T: Deserialize<'a>>(
        &self,
        name: &str,
        rule: &'static str,
        must_be: &'static str,
    ) -> Result<Option<T>, Invalid> {
        let read = |value: &'a RawValue| {
            serde_json::from_str(value.get()).map_err(|_| Invalid::new(name, rule, must_be))
        };
        self.get(name).map(read).transpose()
    }

    pub(crate) fn text(&self, name: &str, rule: &'static str) -> Result<Option<String>, Invalid> {
        self.optional(name, rule, "must be a string")
    }

    pub(crate) fn text_within(
        &self,
        name: &str,
        rule: &'static str,
        chars_max: usize,
    ) -> Result<Option<String>, Invalid> {
        match self.text(name, rule)? {
            Some(text) if text.chars().count() > chars_max => {
                Err(Invalid::new(name, rule, format!("must not be longer than {chars_max} characters")))
            }
            text => Ok(text),
        }
    }

    pub(crate) fn texts(&self, name: &str, rule: &'static str) -> Result<Option<Vec<String>>, Invalid> {
        self.optional(name, rule, "must be an array of strings")
    }

    pub(crate) fn boolean(&self, name: &str, rule: &'static str) -> Result<Option<bool>, Invalid> {
        self.optional(name, rule, "must be true or false")
    }

    pub(crate) fn whole(&self, name: &str, rule: &'static str) -> Result<Option<u64>, Invalid> {
        self.optional(name, rule, "must be a whole number that is not negative")
    }

    pub(crate) fn issuer(
        &self,
        name: &str,
        rule: &'static str,
        tolerance: Tolerance,
    ) -> Result<Option<Issuer>, Invalid> {
        let Some(url) = self.text(name, rule)? else { return Ok(None) };
        let issuer = if tolerance.plain_http { Issuer::parse_insecure(&url) } else { url.parse() };
        issuer.map(Some).map_err(|breach| Invalid::new(name, rule, breach.problem().to_owned()))
    }

    /// The stream that a request is about. Old peers have one and do not name it (LEGACY-09).
    pub(crate) fn stream_id(&self, rule: &'static str, tolerance: Tolerance) -> Result<StreamId, Invalid> {
        match self.text("stream_id", rule)? {
            Some(id) => id.parse().map_err(|breach: Invalid| breach.within("stream_id")),
            None if tolerance.legacy => Ok(StreamId::IMPLICIT),
            None => Err(missing("stream_id", rule)),
        }
    }

    pub(crate) fn subject(&self, rule: &'static str, tolerance: Tolerance) -> Result<Subject, Invalid> {
        let value = self.get("subject").ok_or_else(|| missing("subject", rule))?;
        if value.get().len() > SUBJECT_BYTES_MAX {
            return Err(Invalid::new("subject", rule, "must not be longer than 8192 bytes"));
        }
        let value =
            serde_json::from_str(value.get()).map_err(|_| Invalid::new("subject", rule, "must be JSON"))?;
        let subject = match tolerance.legacy {
            true => Subject::from_legacy_value(value),
            false => Subject::from_value(value, Strictness::Lenient),
        };
        subject.map_err(|breach| breach.within("subject"))
    }
}

pub(crate) fn missing(name: &str, rule: &'static str) -> Invalid {
    Invalid::new(name, rule, "is required and missing")
}

/// The words of [`check`] speak of tokens; these are bodies.
pub(crate) fn of_body(breach: &Invalid, rule: &'static str) -> Invalid {
    let rule = match breach.rule() {
        "SET-01" | "RFC8259" => rule,
        "SET-15" => "E-33",
        other => other,
    };
    Invalid::new(breach.member(), rule, breach.problem().to_owned())
}

const SUBJECT_BYTES_MAX: usize = 8192;
