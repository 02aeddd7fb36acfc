//! `secevent explain`: to which streams an event goes, and why.

use crate::admin::names::Names;
use crate::admin::{Common, EXIT_CODES, Server, WHICH, many, number, text};
use crate::input;
use crate::output::{BOLD, Failure, print, print_json, safe, table};
use crate::set::subject::parse_known;
use clap::Args;
use http::Method;
use secevent::Subject;
use secevent::json::problem;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Tell to which streams an event goes, to which not, and by which rule.
///
/// An event that might be is read from a file or made of --type and --subject; nothing is sent. For one that was
/// accepted, --event tells what became of each delivery.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent explain --type caep:session-revoked --subject alice@example.com
  secevent explain event.json --issuer https://events.example.com/tenant-a
  secevent explain --event oqrrC0Bh… --json

With --event the state of a delivery is pending, delivered, rejected, abandoned or dropped, and REASON
says why it is pending: which trouble, an earlier event about the same subject, and so on. WHEN is the
time of the end, or of the next attempt. The attempts shown are the last eight. They are kept as long
as the event. If several events have the txn, the newest 20 are shown, newest first.

JSON: {{issuer, event_type, streams: [{{stream_id, client, goes, rule, reason}}]}}; with --event
{{event_id, txn, event_type, issuer, accepted_at, deliveries: [{{stream_id, jti, state, attempts,
last_attempts: [{{at, result, status, elapsed_ms}}], due_at, again, waits, acked_at, dropped, dropped_at,
dead, reason, died_at}}], elsewhere: [{{stream_id, client, goes, rule, reason}}], count,
others: [the same for each of the other events with this txn]}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Explain {
    /// The event as JSON, a file that holds it, or `-` for standard input
    #[arg(value_name = "EVENT|FILE|-", required_unless_present_any = ["kind", "accepted"],
          conflicts_with_all = ["kind", "accepted"])]
    given: Option<String>,
    /// The type of the event: a short name such as caep:session-revoked, or a URI
    #[arg(long = "type", value_name = "TYPE", requires = "subject")]
    kind: Option<String>,
    /// Whom it is about: an e-mail address, a subject identifier as JSON, or FORMAT:VALUE,VALUE…
    #[arg(long, value_name = "SUBJECT", value_parser = parse_known, requires = "kind")]
    subject: Option<Subject>,
    /// What it says, as JSON; some types ask for it
    #[arg(long, value_name = "JSON", requires = "kind")]
    data: Option<String>,
    /// An event that was accepted: its id, its txn, or the jti of one of its SETs
    #[arg(long = "event", value_name = "ID", conflicts_with_all = ["kind", "issuer"])]
    accepted: Option<String>,
    /// Whose event it is; needed where the server has several issuers
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(crate) fn run(args: &Explain) -> ExitCode {
    args.common.run(async |server| match &args.accepted {
        Some(event) => tell_story(args, event, &server).await,
        None => explain(args, &server).await,
    })
}

async fn explain(args: &Explain, server: &Server) -> Result<(), Failure> {
    let mut body = json!({ "event": args.event()? });
    if let Some(issuer) = &args.issuer {
        body["issuer"] = issuer.as_str().into();
    }
    let mut told = server.send(Method::POST, &["explain"], &body).await?;
    if args.common.json {
        return print_json(&told);
    }
    Names::of(server).await.put_into(&mut told);
    let streams = rules(&told["streams"]);
    let count =
        told["streams"].as_array().into_iter().flatten().filter(|stream| stream["goes"] == true).count();
    let count = many(u64::try_from(count).unwrap_or(u64::MAX), "stream");
    print(&format!("{streams}{} would go to {count}\n", safe(text(&told, "event_type"))))
}

async fn tell_story(args: &Explain, event: &str, server: &Server) -> Result<(), Failure> {
    let mut told = server.get(&["events", event], &[]).await?;
    if args.common.json {
        return print_json(&told);
    }
    Names::of(server).await.put_into(&mut told);
    let others = told["others"].as_array().map_or(&[][..], Vec::as_slice);
    let mut shown = story(&told);
    for other in others {
        shown += "\n";
        shown += &story(other);
    }
    let (count, told_of) = (number(&told, "count"), others.len() as u64 + 1);
    if told_of > 1 {
        shown += &format!("\n{count} events have this txn");
        shown += if count > told_of { ", the newest are shown\n" } else { "\n" };
    }
    print(&shown)
}

fn story(told: &Value) -> String {
    let mut shown = String::new();
    for (title, name) in [
        ("event", "event_id"),
        ("txn", "txn"),
        ("type", "event_type"),
        ("issuer", "issuer"),
        ("accepted", "accepted_at"),
    ] {
        shown += &format!("{BOLD}{title:9}{BOLD:#} {}\n", safe(text(told, name)));
    }
    let row = |delivery: &Value| {
        let of = |name| text(delivery, name).to_owned();
        let attempts =
            delivery["attempts"].as_u64().map_or_else(|| "-".to_owned(), |attempts| attempts.to_string());
        // Of what waits for no time, there is none to show.
        let is_due = matches!(delivery["waits"].as_str(), Some("retry" | "suspended" | "ack"));
        let times = ["acked_at", "dropped_at", "died_at", "due_at"];
        let known = times.into_iter().find(|time| !delivery[time].is_null() && (is_due || *time != "due_at"));
        let when = known.map_or_else(|| "-".to_owned(), of);
        vec![of("stream_id"), of("state"), attempts, when, of("jti"), of("reason")]
    };
    let rows: Vec<Vec<String>> = told["deliveries"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        shown += "no stream got it\n";
    } else {
        shown += &table(&["STREAM", "STATE", "ATTEMPTS", "WHEN", "JTI", "REASON"], &rows);
        let deliveries = told["deliveries"].as_array().into_iter().flatten();
        let named: Vec<(&str, &Value)> =
            deliveries.map(|delivery| (text(delivery, "stream_id"), delivery)).collect();
        shown += &attempts(&named);
    }
    let elsewhere = rules(&told["elsewhere"]);
    if !elsewhere.is_empty() {
        shown += "\nOther streams did not get it. What they would do with it now:\n";
    }
    shown + &elsewhere
}

/// The last attempts of deliveries, each with the name of its stream. Where there is one delivery, it has none.
pub(crate) fn attempts(deliveries: &[(&str, &Value)]) -> String {
    let named = !matches!(deliveries, [("", _)]);
    let mut titles = vec!["ATTEMPT", "RESULT", "STATUS", "MS"];
    if named {
        titles.insert(0, "STREAM");
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (stream, delivery) in deliveries {
        for attempt in delivery["last_attempts"].as_array().into_iter().flatten() {
            let number =
                |name| attempt[name].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
            let of = |name| text(attempt, name).to_owned();
            let mut row = vec![of("at"), of("result"), number("status"), number("elapsed_ms")];
            if named {
                row.insert(0, (*stream).to_owned());
            }
            rows.push(row);
        }
    }
    if rows.is_empty() { String::new() } else { table(&titles, &rows) }
}

fn rules(streams: &Value) -> String {
    let row = |stream: &Value| {
        let goes = if stream["goes"] == true { "yes" } else { "no" };
        let of = |name| text(stream, name).to_owned();
        vec![of("stream_id"), of("client"), goes.to_owned(), of("rule"), of("reason")]
    };
    let rows: Vec<Vec<String>> = streams.as_array().into_iter().flatten().map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => table(&["STREAM", "CLIENT", "GOES", "RULE", "BECAUSE"], &rows),
    }
}

impl Explain {
    fn event(&self) -> Result<Value, Failure> {
        let Some(kind) = &self.kind else {
            let given = input::read(self.given.as_deref(), "the event")?;
            return serde_json::from_slice(&given)
                .map_err(|error| Failure::misuse(format!("the event is not JSON: {}", problem(&error))));
        };
        let mut event = json!({ "type": kind, "subject": self.subject });
        if let Some(data) = &self.data {
            let data: Value = serde_json::from_str(data)
                .map_err(|error| Failure::misuse(format!("--data is not JSON: {}", problem(&error))))?;
            event["data"] = data;
        }
        Ok(event)
    }
}
