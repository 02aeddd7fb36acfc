//! `secevent set decode`: what a token says, with nothing verified.

use super::story;
use super::token::Parts;
use crate::input;
use crate::output::{BAD, BOLD, DIM, Failure, pretty, print, print_json, safe};
use secevent::{Claims, Events, Profile, Set, json};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  secevent set decode token.txt
  secevent set decode - < token.txt
  secevent set decode --json token.txt

JSON: {verified: false, header, claims, events: [{uri, name, about, status}], times,
signature_bytes}.

Exit codes: 0 shown; 1 it is no token; 2 misuse.";

/// Show what a token says, without verifying anything.
///
/// Anybody can write such a token: use `secevent set verify` before you believe it. Tokens without a
/// signature and bare claims are shown too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// The token, a file, or - for standard input
    #[arg(value_name = "TOKEN|FILE|-")]
    token: Option<String>,
}

#[derive(Serialize)]
struct Decoded<'a> {
    /// Always false.
    verified: bool,
    header: Option<&'a RawValue>,
    claims: &'a RawValue,
    events: Vec<story::EventStory<'a>>,
    /// The claims that are times, in UTC.
    times: BTreeMap<&'static str, String>,
    signature_bytes: usize,
}

/// Prints the token's parts.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let input = input::read(args.token.as_deref(), "the token")?;
    let parts = match input::is_json(&input) {
        true => Parts { header: Vec::new(), payload: input, signature_bytes: 0 },
        false => Parts::of(&input)?,
    };
    let header = match &parts.header[..] {
        [] => None,
        header => Some(object(header).map_err(|breach| breach.within("header"))?),
    };
    let payload = object(&parts.payload).map_err(|breach| breach.within("payload"))?;
    // Claims of the wrong type are shown as they are; the linter says what is wrong with them.
    let events =
        Claims::read(&parts.payload).map(|claims| claims.events).unwrap_or_else(|_| lone_events(&payload));
    let decoded = Decoded {
        verified: false,
        header: header.as_ref().map(|(raw, _)| *raw),
        claims: payload.0,
        events: story::events(&events),
        times: times(&payload.1),
        signature_bytes: parts.signature_bytes,
    };
    match args.json {
        true => print_json(&decoded)?,
        false => {
            let mut text = to_text(&decoded, header.map(|(_, members)| members), &payload.1, &events);
            if let Some(hint) = profile_hint(&parts.payload) {
                let _ = writeln!(text, "\n{BOLD}Profile{BOLD:#}\n  {hint}");
            }
            print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Object<'a> = (&'a RawValue, Map<String, Value>);

fn object(bytes: &[u8]) -> Result<Object<'_>, secevent::Invalid> {
    let text = json::check(bytes, json::Limits::TOKEN)?;
    let sound = "it was just found to be a JSON object";
    Ok((serde_json::from_str(text.trim()).expect(sound), serde_json::from_str(text).expect(sound)))
}

/// The events of claims that cannot be read as a whole.
fn lone_events(claims: &Object<'_>) -> Events {
    let mut events = Events::default();
    for (uri, payload) in claims.1.get("events").and_then(Value::as_object).into_iter().flatten() {
        // What is no event is left to the claims' own text.
        let _ = events.add_raw(uri, &payload.to_string());
    }
    events
}

/// By which profile `secevent set verify` takes it, if that is not the usual one.
fn profile_hint(claims: &[u8]) -> Option<String> {
    if Set::read(claims, Profile::Ssf).is_ok() {
        return None;
    }
    let other = story::other_profile(claims, Profile::Ssf)?;
    let of_streams = match other {
        Profile::Legacy => "; on a stream: --legacy",
        _ => "",
    };
    Some(format!("{other}: `secevent set verify --profile {other}`{of_streams}"))
}

fn times(claims: &Map<String, Value>) -> BTreeMap<&'static str, String> {
    let explained = |name| Some((name, story::explained(claims.get(name)?)?));
    ["iat", "toe", "exp", "nbf"].into_iter().filter_map(explained).collect()
}

fn to_text(
    decoded: &Decoded<'_>,
    header: Option<Map<String, Value>>,
    claims: &Map<String, Value>,
    events: &Events,
) -> String {
    let mut text = format!(
        "{BAD}NOT VERIFIED{BAD:#}: anybody may have written this. `secevent set verify` checks it.\n"
    );
    if let (Some(raw), Some(members)) = (decoded.header, header) {
        let _ = writeln!(text, "\n{BOLD}Header{BOLD:#}\n  {}", pretty(raw.get(), 2));
        let unsigned =
            members.get("alg").and_then(Value::as_str).is_some_and(|alg| alg.eq_ignore_ascii_case("none"));
        if unsigned {
            let _ =
                writeln!(text, "  {BAD}`alg` is none: the token has no signature and proves nothing{BAD:#}");
        }
    }
    let _ = writeln!(text, "\n{BOLD}Claims{BOLD:#}\n  {}", pretty(decoded.claims.get(), 2));
    for (name, time) in &decoded.times {
        let _ = writeln!(text, "  {DIM}{name:<3} is {time}{DIM:#}");
    }
    if let Some(subject) = claims.get("sub_id").and_then(|value| serde_json::from_value(value.clone()).ok()) {
        let _ = writeln!(text, "\n{BOLD}Subject{BOLD:#}\n  {}", story::subject(&subject));
    }
    let _ = writeln!(text, "\n{BOLD}Events{BOLD:#}");
    for event in story::events(events) {
        let name = event.name.map_or_else(|| safe(event.uri), str::to_owned);
        let about = event.about.unwrap_or("of a type that no standard names");
        let status = event.status.filter(|status| *status != "final").map(|status| format!(" ({status})"));
        let _ = writeln!(text, "  {BOLD}{name}{BOLD:#}{}: {about}", status.unwrap_or_default());
    }
    if events.is_empty() {
        let _ = writeln!(text, "  none");
    }
    text
}
