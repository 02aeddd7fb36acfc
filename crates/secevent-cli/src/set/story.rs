//! What a token tells, in words: its events, its subject, its times, and what is wrong with it.

use crate::output::{BOLD, DIM, Failure, message, pretty, safe, utc};
use secevent::lint::{self, Finding, Ruleset, Severity};
use secevent::{
    Claims, Definition, EventStatus, Events, Invalid, Profile, Set, Subject, Timestamp, Vocabulary,
};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// One event: its identifier, and what is known of its type.
#[derive(Serialize)]
pub(crate) struct EventStory<'a> {
    pub(crate) uri: &'a str,
    pub(crate) name: Option<&'static str>,
    pub(crate) about: Option<&'static str>,
    pub(crate) status: Option<&'static str>,
}

/// The events of a token.
pub(crate) fn events(events: &Events) -> Vec<EventStory<'_>> {
    let story = |(uri, _)| {
        let known = Vocabulary::standard().find(uri);
        EventStory {
            uri,
            name: known.map(Definition::name),
            about: known.map(Definition::about).filter(|about| !about.is_empty()),
            status: known.map(|known| match known.status() {
                EventStatus::Final => "final",
                EventStatus::Draft => "draft",
                EventStatus::Deprecated => "deprecated",
            }),
        }
    };
    events.iter().map(story).collect()
}

/// The events for people, payloads included.
pub(crate) fn write_events(text: &mut String, claims: &Events) {
    let _ = writeln!(text, "\n{BOLD}Events{BOLD:#}");
    if claims.is_empty() {
        let _ = writeln!(text, "  none");
    }
    for (event, (_, payload)) in events(claims).iter().zip(claims.iter()) {
        let unknown = "(of a type that no standard names)";
        let name = event.name.map_or_else(|| safe(event.uri), str::to_owned);
        let draft = event.status.filter(|status| *status != "final").map(|status| format!(" ({status})"));
        let _ = writeln!(text, "  {BOLD}{name}{BOLD:#}{}", draft.unwrap_or_default());
        let _ = writeln!(text, "    {}", event.about.unwrap_or(unknown));
        if event.name.is_some() {
            let _ = writeln!(text, "    {DIM}{}{DIM:#}", safe(event.uri));
        }
        if payload.trim() != "{}" {
            let _ = writeln!(text, "    {}", pretty(payload, 4));
        }
        if let Some(stamp) = timestamp(payload) {
            let _ = writeln!(text, "    {DIM}event_timestamp is {stamp}{DIM:#}");
        }
    }
}

fn timestamp(payload: &str) -> Option<String> {
    let payload: Value = serde_json::from_str(payload).ok()?;
    explained(payload.get("event_timestamp")?)
}

/// A NumericDate in words; a value in milliseconds, the common slip, is called that.
pub(crate) fn explained(value: &Value) -> Option<String> {
    const SECONDS_PLAUSIBLE_MAX: f64 = 1e11;
    if value.as_f64()? > SECONDS_PLAUSIBLE_MAX {
        let time = value.as_i64().map(|millis| utc(Timestamp::from_millis(millis)))?;
        return Some(format!("no plausible number of seconds; as milliseconds {time}"));
    }
    serde_json::from_value(value.clone()).ok().map(utc)
}

/// A subject in one line.
pub(crate) fn subject(subject: &Subject) -> String {
    safe(&describe(&subject.to_value()))
}

fn describe(subject: &Value) -> String {
    let Value::Object(members) = subject else { return subject.to_string() };
    let values = members.iter().filter(|(name, _)| *name != "format").map(|(name, value)| match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => format!("{name} {}", describe(value)),
        Value::Array(all) => all.iter().map(describe).collect::<Vec<_>>().join(" = "),
        other => other.to_string(),
    });
    let values: Vec<String> = values.collect();
    match members.get("format").and_then(Value::as_str) {
        Some(format) if format != "complex" => format!("{} ({format})", values.join(", ")),
        _ => values.join(", "),
    }
}

/// The ruleset that a linter uses for a profile.
pub(crate) fn ruleset(profile: Profile) -> Ruleset {
    match profile {
        Profile::Ssf => Ruleset::Ssf,
        Profile::Scim => Ruleset::Scim,
        Profile::Logout => Ruleset::Logout,
        Profile::Rfc8417 | Profile::Plain | Profile::Legacy => Ruleset::Rfc8417,
    }
}

/// What the linter says about mending this breach.
pub(crate) fn fix(
    breach: &Invalid,
    claims: &[u8],
    profile: Profile,
    now: Option<Timestamp>,
) -> Option<String> {
    let found = lint::check(None, claims, ruleset(profile), now);
    let same = |finding: &Finding| finding.rule == breach.rule() && finding.member == breach.member();
    found.into_iter().find(same).map(|finding| finding.fix).filter(|fix| !fix.is_empty())
}

/// The profile that the claims of a SET follow, if it is not `profile`.
pub(crate) fn other_profile(claims: &[u8], profile: Profile) -> Option<Profile> {
    // From the one that asks for most to the one that asks for least.
    let others = [Profile::Logout, Profile::Scim, Profile::Ssf, Profile::Legacy, Profile::Rfc8417];
    let follows = |other: &Profile| match Set::read(claims, *other) {
        // What older transmitters put into the event is the subject; without one there is nothing old about a SET.
        Ok(set) => *other != Profile::Legacy || set.subject().is_some(),
        Err(_) => false,
    };
    others.into_iter().filter(|other| *other != profile).find(follows)
}

/// What to try for claims that are no SET of `profile`, and one of another profile.
pub(crate) fn profile_hint(claims: &[u8], profile: Profile) -> Option<String> {
    Some(match other_profile(claims, profile)? {
        Profile::Legacy => "if its transmitter is older than SSF 1.0, add --profile legacy (with \
                            `secevent stream`: --legacy)"
            .to_owned(),
        other => format!("if a SET of the profile {other} was meant, add --profile {other}"),
    })
}

/// The refusal of claims that were going to be written: the breach, how to mend it, and what else is wrong.
pub(crate) fn refusal(breach: &Invalid, claims: &[u8], profile: Profile) -> Failure {
    let message = format!("the claims are no SET of the profile {profile}: {breach}");
    let another = |finding: &Finding| {
        finding.severity == Severity::Error
            && (finding.rule, &finding.member[..]) != (breach.rule(), breach.member())
    };
    let also = lint::check(None, claims, ruleset(profile), None).into_iter().filter(another).collect();
    let failure = Failure::refused("invalid", message).about(breach).also(also);
    match fix(breach, claims, profile, None) {
        Some(fix) => failure.fix(fix),
        None => failure,
    }
}

/// The claims of a token that was just read, for people.
pub(crate) fn write_claims(text: &mut String, claims: &Claims, subject_found: Option<&Subject>) {
    let _ = writeln!(text, "\n{BOLD}Claims{BOLD:#}");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<7} {value}");
    };
    for (name, value) in [("iss", &claims.iss), ("jti", &claims.jti)] {
        value.iter().for_each(|value| line(name, safe(value)));
    }
    for (name, value) in [("iat", claims.iat), ("toe", claims.toe), ("exp", claims.exp)] {
        value.into_iter().for_each(|value| line(name, format!("{} ({value:?})", utc(value))));
    }
    if let Some(aud) = &claims.aud {
        line("aud", safe(&aud.iter().collect::<Vec<_>>().join(", ")));
    }
    for (name, value) in [("txn", &claims.txn), ("sub", &claims.sub), ("sid", &claims.sid)] {
        value.iter().for_each(|value| line(name, safe(value)));
    }
    if let Some(found) = subject_found {
        line("subject", subject(found));
    }
    for (name, value) in &claims.other {
        line(&safe(name), message(value.get()));
    }
}
