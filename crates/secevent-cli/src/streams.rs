//! `secevent streams`: the streams of a running server, for its operator.

use crate::admin::names::Names;
use crate::admin::{Common, EXIT_CODES, Server, WHICH, called, many, number, text};
use crate::clock::SystemClock;
use crate::confirm::Confirm;
use crate::output::{BOLD, Failure, message, note, parse_time, print, print_json, safe, table};
use clap::{Args, Subcommand};
use http::{HeaderValue, Method};
use secevent::{Clock as _, Span, Vocabulary};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Show the state of all streams of a running server, to its operator.
///
/// What a receiver can do with its own streams, at this server or any other, is `secevent stream`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = format!("\
Examples:
  secevent streams
  secevent streams show billing-main
  secevent streams pause 0f3c1a2b --reason \"maintenance until noon\"
  secevent streams retry 0f3c1a2b

{NAMED}

DELIVERY is how and to which host SETs go, PENDING what is not delivered, OLDEST how long the oldest
of it waits, DEAD what was rejected or expired and is kept. TROUBLE says what keeps SETs from being
delivered, how often in a row, and when the next attempt is made; of a stream that carries no event
types, that it never gets events; and that the stream's client is disabled: nothing is sent to it,
and it can neither poll nor manage it. The table is cut at 120 columns: `secevent streams show` has
all of it.

JSON: {{streams: [{{stream_id, name, client, issuer, method, endpoint_url, event_types, status, reason,
held, held_by, client_disabled, suspended, delayed, pending, in_flight, window, delivered, retries, again,
backlog: {{pending, bytes, oldest, rejected, abandoned, dropped, dead}}}}]}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Streams {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
}

/// What all commands that take a stream say in their help.
pub(crate) const NAMED: &str = "\
A stream is named by its identifier, by the name that the configuration gives it, or by 4 or more
characters with which its identifier alone begins. A whole identifier wins over a name, and a name
over the beginning of an identifier. If several streams fit, nothing is done and they are listed.";

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
    /// Pause a stream: what is pending for it is kept.
    ///
    /// Its receiver is told, and cannot enable what its operator has paused.
    Pause(SetStatus),
    /// Disable a stream: what is pending for it is dropped, and nothing more is kept for it.
    ///
    /// Its receiver is told, and cannot enable what its operator has disabled.
    Disable(Disable),
    /// Enable a stream again, whoever paused or disabled it. Its receiver is told.
    Enable(SetStatus),
    Retry(Retry),
    Delete(Delete),
}

/// Show one stream: what it is, its state, and what is pending.
///
/// Credentials are not shown, nor what is behind the question mark of a URL.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent streams show billing-main
  secevent streams show 0f3c1a2b --json

{NAMED}

JSON: the stream as in `secevent streams --json`, with {{details: {{audience, declared, has_credential,
events_requested, events_delivered, events_supported, description, format, default_subjects, subjects,
created_at, updated: {{at, actor: {{kind, id}}}}, status_set: {{at, actor}}, limits: {{deliveries, bytes,
overflow}}, retention: {{age_max_seconds, dead_kept_seconds, history_seconds}}}}}}.
{WHICH}
{EXIT_CODES}"))]
struct Show {
    /// The stream, as `secevent streams` names it
    stream: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Disable {
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    set: SetStatus,
}

#[derive(Debug, Args)]
#[command(after_long_help = format!("\
{NAMED}

JSON: the stream, as in `secevent streams show --json`.
{WHICH}
{EXIT_CODES}"))]
struct SetStatus {
    /// The stream, as `secevent streams` names it
    stream: String,
    /// Why; its receiver is told
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Make the next attempt now, instead of waiting for it.
///
/// After a failure the server waits before it tries again, up to 5 minutes (delivery.retry_delay_max_seconds). Once the receiver
/// works again, this ends the wait: a suspended stream sends its oldest SET, and the others follow if that is accepted;
/// elsewhere the SETs that wait alone are due. If an attempt fails again, the wait is as long as before. Order and
/// limits hold.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent streams retry billing-main
  secevent streams retry --all

{NAMED}

JSON: {{stream_id, was_suspended, failures, delayed, in_flight, pending}}; with --all {{retried: [those]}}.
{WHICH}
{EXIT_CODES}"))]
struct Retry {
    /// The stream, as `secevent streams` names it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    stream: Option<String>,
    /// All streams that wait for their next attempt
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Delete a stream. What is pending for it is dropped.
///
/// Its receiver is not told: it finds that the stream is gone. A stream that the configuration declares is not deleted
/// before it is taken out of the file.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent streams delete 0f3c1a2b
  secevent streams delete 0f3c1a2b --yes

{NAMED}

JSON: {{deleted}}, the identifier.
{WHICH}
{EXIT_CODES}"))]
struct Delete {
    /// The stream, as `secevent streams` names it
    stream: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    common: Common,
}

/// Shows the table, or runs a subcommand.
pub(crate) fn run(args: &Streams) -> ExitCode {
    match &args.command {
        None => args.common.run(async |server| list(args.common.json, &server).await),
        Some(Command::Show(args)) => args.common.run(async |server| show(args, &server).await),
        Some(Command::Pause(args)) => {
            args.common.run(async |server| set_status(args, "paused", &server).await)
        }
        Some(Command::Disable(args)) => args.set.common.run(async |server| disable(args, &server).await),
        Some(Command::Enable(args)) => {
            args.common.run(async |server| set_status(args, "enabled", &server).await)
        }
        Some(Command::Retry(args)) => args.common.run(async |server| retry(args, &server).await),
        Some(Command::Delete(args)) => args.common.run(async |server| delete(args, &server).await),
    }
}

async fn list(json: bool, server: &Server) -> Result<(), Failure> {
    let streams = all(server).await?;
    if json {
        return print_json(&json!({ "streams": streams }));
    }
    if streams.is_empty() {
        return print("there are no streams\n");
    }
    print(&overview(&streams))
}

async fn all(server: &Server) -> Result<Vec<Value>, Failure> {
    Ok(server.list("streams", "streams", &[("backlog", Some("true"))], None, usize::MAX).await?.found)
}

/// How wide the table may be; `show` and `--json` have what is cut.
const COLUMNS_MAX: usize = 120;
/// How much of the trouble is shown however wide the other columns are.
const TROUBLE_CHARS_MIN: usize = 24;
const CLIENT_CHARS_MAX: usize = 16;
const HOST_CHARS_MAX: usize = 24;

fn overview(streams: &[Value]) -> String {
    let titles = ["STREAM", "CLIENT", "DELIVERY", "STATUS", "PENDING", "OLDEST", "DEAD", "TROUBLE"];
    let names = Names::of_all(streams);
    let mut rows: Vec<Vec<String>> = streams.iter().map(|stream| row(stream, &names)).collect();
    let before = titles.len() - 1;
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([titles[column].len()]).max().unwrap_or(0) + 2
    };
    let left = COLUMNS_MAX.saturating_sub((0..before).map(widest).sum()).max(TROUBLE_CHARS_MIN);
    for row in &mut rows {
        row[before] = cut(&row[before], left);
    }
    table(&titles, &rows)
}

fn row(stream: &Value, names: &Names) -> Vec<String> {
    let backlog = &stream["backlog"];
    let delivery = match text(stream, "method") {
        "push" => format!("push {}", cut(&host(text(stream, "endpoint_url")), HOST_CHARS_MAX)),
        method => method.to_owned(),
    };
    vec![
        names.shown(stream),
        cut(text(stream, "client"), CLIENT_CHARS_MAX),
        delivery,
        status(stream),
        number(backlog, "pending").to_string(),
        oldest(backlog).unwrap_or_else(|| "-".to_owned()),
        number(backlog, "dead").to_string(),
        trouble(stream).unwrap_or_else(|| "-".to_owned()),
    ]
}

/// The host of a URL, with its port if that is another than the usual one.
fn host(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    host.unwrap_or_else(|| "-".to_owned())
}

fn status(stream: &Value) -> String {
    let held = stream["held_by"].as_str().map_or_else(String::new, |by| format!(" by {by}"));
    format!("{}{held}", text(stream, "status"))
}

fn oldest(backlog: &Value) -> Option<String> {
    let oldest = time(&backlog["oldest"])?;
    Some(Span(whole_seconds(SystemClock.now().since(oldest))).to_string())
}

/// What keeps a stream from being delivered to.
fn trouble(stream: &Value) -> Option<String> {
    if stream["client_disabled"] == true {
        return Some("client disabled: see `secevent client enable`".to_owned());
    }
    let suspended = &stream["suspended"];
    if !suspended.is_null() {
        let now = SystemClock.now();
        let wait = time(&suspended["until"]).map_or(Duration::ZERO, |until| until.since(now));
        return Some(format!(
            "{} {}x, retry in {}: {}",
            text(suspended, "trouble"),
            number(suspended, "failures"),
            Span(whole_seconds(wait)),
            text(suspended, "reason")
        ));
    }
    match number(stream, "delayed") {
        0 if stream["event_types"] == 0 => Some("no event types".to_owned()),
        0 => None,
        delayed => Some(format!("{} fail, others are delivered", many(delayed, "SET"))),
    }
}

fn time(value: &Value) -> Option<secevent::Timestamp> {
    parse_time(value.as_str()?).ok()
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

async fn show(args: &Show, server: &Server) -> Result<(), Failure> {
    let stream = server.get(&["streams", &args.stream], &[]).await?;
    if args.common.json {
        return print_json(&stream);
    }
    print(&in_full(&stream))
}

fn in_full(stream: &Value) -> String {
    let (details, backlog) = (&stream["details"], &stream["backlog"]);
    let mut shown = String::new();
    let mut line = |title: &str, value: String| {
        if !value.is_empty() {
            shown += &format!("{BOLD}{title:12}{BOLD:#} {}\n", message(&value));
        }
    };
    let optional = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let declared = if details["declared"] == true { "" } else { ", not declared any more" };
    line("stream", text(stream, "stream_id").to_owned());
    line("name", stream["name"].as_str().map_or_else(String::new, |name| format!("{name}{declared}")));
    let off = if stream["client_disabled"] == true { ", disabled" } else { "" };
    line("client", format!("{}{off}", text(stream, "client")));
    line("issuer", text(stream, "issuer").to_owned());
    line("audience", list_of(&details["audience"]));
    let credential = if details["has_credential"] == true { ", with a credential" } else { "" };
    line("delivery", format!("{} {}{credential}", text(stream, "method"), text(stream, "endpoint_url")));
    if let Some(visibility) = stream["poll_visibility_seconds"].as_u64() {
        line("polls", format!("hidden for {visibility} s, {}", text(stream, "poll_order")));
    }
    let set = change(&details["status_set"]).map_or_else(String::new, |set| format!(", set {set}"));
    line("status", format!("{}{set}", status(stream)));
    line("reason", optional(&stream["reason"]));
    let since = stream["suspended"]["since"].as_str();
    let since = since.map_or_else(String::new, |since| format!(" (since {since})"));
    line("trouble", trouble(stream).map_or_else(String::new, |trouble| format!("{trouble}{since}")));
    line("delivers", events(&details["events_delivered"]));
    line(
        "requested",
        match &details["events_requested"] {
            Value::Null => "everything that its client may have".to_owned(),
            requested => events(requested),
        },
    );
    line("supported", events(&details["events_supported"]));
    let by_default = text(details, "default_subjects");
    let said = number(details, "subjects");
    line("subjects", format!("{by_default} by default, {said} added or removed"));
    line("description", optional(&details["description"]));
    line("format", optional(&details["format"]));
    let oldest = oldest(backlog).map_or_else(String::new, |oldest| format!(", the oldest for {oldest}"));
    let pending = many(number(backlog, "pending"), "SET");
    line("pending", format!("{pending} ({} bytes){oldest}", number(backlog, "bytes")));
    line("in flight", format!("{} of {}", number(stream, "in_flight"), number(stream, "window")));
    line("delayed", many(number(stream, "delayed"), "SET"));
    line(
        "delivered",
        format!(
            "{} since the server started, {} repeated, {} sent again",
            many(number(stream, "delivered"), "SET"),
            many(number(stream, "retries"), "attempt"),
            number(stream, "again")
        ),
    );
    line(
        "undelivered",
        format!(
            "{} rejected, {} expired, {} dropped",
            number(backlog, "rejected"),
            number(backlog, "abandoned"),
            number(backlog, "dropped")
        ),
    );
    line("dead letters", number(backlog, "dead").to_string());
    let limits = &details["limits"];
    line(
        "limits",
        format!(
            "{} or {} bytes pending, then {}",
            many(number(limits, "deliveries"), "SET"),
            number(limits, "bytes"),
            text(limits, "overflow")
        ),
    );
    let kept = |name| Span(Duration::from_secs(number(&details["retention"], name)));
    line(
        "retention",
        format!(
            "expires after {}, dead letters {}, replays {}",
            kept("age_max_seconds"),
            kept("dead_kept_seconds"),
            kept("history_seconds")
        ),
    );
    line("created", text(details, "created_at").to_owned());
    line("updated", change(&details["updated"]).unwrap_or_default());
    shown
}

/// When something was changed, and by whom.
fn change(change: &Value) -> Option<String> {
    let (at, actor) = (change["at"].as_str()?, &change["actor"]);
    Some(match actor["id"].as_str() {
        Some(id) => format!("{at} by {} {id}", text(actor, "kind")),
        None => format!("{at} by {}", text(actor, "kind")),
    })
}

fn list_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

/// Event types by their short names, as far as they have one.
fn events(uris: &Value) -> String {
    let name = |uri: &Value| {
        let uri = uri.as_str()?;
        Some(Vocabulary::standard().find(uri).map_or(uri, |definition| definition.name()).to_owned())
    };
    let names: Vec<String> = uris.as_array().into_iter().flatten().filter_map(name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

async fn set_status(args: &SetStatus, status: &str, server: &Server) -> Result<(), Failure> {
    set_status_of(&args.stream, args, status, server).await
}

async fn set_status_of(stream: &str, args: &SetStatus, status: &str, server: &Server) -> Result<(), Failure> {
    let mut body = json!({ "status": status });
    if let Some(reason) = &args.reason {
        body["reason"] = reason.as_str().into();
    }
    let told = server.send(Method::PUT, &["streams", stream, "status"], &body).await?;
    if args.common.json {
        return print_json(&told);
    }
    print(&format!("stream {} is {}\n", safe(&called(stream, &told)), safe(text(&told, "status"))))
}

async fn disable(args: &Disable, server: &Server) -> Result<(), Failure> {
    let Disable { confirm, set } = args;
    let (stream, _) = meant(&set.stream, confirm, "drops all that is pending for", server).await?;
    set_status_of(&stream, set, "disabled", server).await
}

async fn delete(args: &Delete, server: &Server) -> Result<(), Failure> {
    let (stream, seen) = meant(&args.stream, &args.confirm, "deletes", server).await?;
    // What was asked for by a name or a beginning is told by its identifier.
    let found = server.get(&["streams", &stream], &[]).await?;
    let id = text(&found, "stream_id").to_owned();
    server.send_if(Method::DELETE, &["streams", &id], &json!({}), seen.as_ref()).await?;
    if args.common.json {
        return print_json(&json!({ "deleted": id }));
    }
    print(&format!("stream {} is deleted\n", safe(&called(&args.stream, &found))))
}

/// Asks whether the stream is meant that is named so, and returns what to name it from here on: a name may mean another
/// stream a moment later.
async fn meant(
    stream: &str,
    confirm: &Confirm,
    does: &str,
    server: &Server,
) -> Result<(String, Option<HeaderValue>), Failure> {
    confirm.check(&format!("this {does} the stream {stream}"))?;
    if confirm.is_given() {
        return Ok((stream.to_owned(), None));
    }
    let (found, seen) = server.get_seen(&["streams", stream]).await?;
    let id = text(&found, "stream_id");
    let name = found["name"].as_str().map_or_else(String::new, |name| format!(" {name:?}"));
    let pending = many(number(&found["backlog"], "pending"), "SET");
    confirm.ask(&format!(
        "this {does} the stream {id}{name} of the client {}, with {pending} pending",
        text(&found, "client")
    ))?;
    Ok((id.to_owned(), seen))
}

async fn retry(args: &Retry, server: &Server) -> Result<(), Failure> {
    let ask = async |stream: &str| server.send(Method::POST, &["streams", stream, "retry"], &json!({})).await;
    if let Some(stream) = &args.stream {
        let told = ask(stream).await?;
        return if args.common.json { print_json(&told) } else { print(&retried(stream, &told)) };
    }
    let waits = |stream: &&Value| !stream["suspended"].is_null() || number(stream, "delayed") > 0;
    let mut told = Vec::new();
    for stream in all(server).await?.iter().filter(waits) {
        let id = text(stream, "stream_id");
        match ask(id).await {
            Ok(one) => told.push(one),
            // It was paused or deleted in the meantime, say.
            Err(failure) => note(&format!("stream {id}: {}", failure.text())),
        }
    }
    if args.common.json {
        return print_json(&json!({ "retried": told }));
    }
    match told.is_empty() {
        true => print("no stream is waiting for its next attempt\n"),
        false => print(&told.iter().map(|one| retried(text(one, "stream_id"), one)).collect::<String>()),
    }
}

fn retried(typed: &str, told: &Value) -> String {
    let (id, delayed) = (safe(&called(typed, told)), number(told, "delayed"));
    let did = match (told["was_suspended"] == true, delayed) {
        (true, _) if number(told, "in_flight") > 0 => "was suspended, an attempt is under way".to_owned(),
        (true, _) => {
            let after = many(number(told, "failures"), "failure");
            match number(told, "pending") {
                0 => format!("was suspended after {after}, and nothing is pending"),
                _ => format!("was suspended after {after}, one SET is sent now"),
            }
        }
        (false, 0) => "nothing was waiting for its next attempt".to_owned(),
        (false, delayed) => format!("{} sent now", are(delayed)),
    };
    format!("stream {id}: {did}\n")
}

fn are(delayed: u64) -> String {
    let be = if delayed == 1 { "is" } else { "are" };
    format!("{} that waited {be}", many(delayed, "SET"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: &str, more: &Value) -> Value {
        let mut stream = json!({
            "stream_id": id, "name": null, "client": "shop", "method": "push",
            "endpoint_url": "https://receiver.example.com/events", "event_types": 1, "status": "enabled",
            "held": false, "held_by": null, "suspended": null, "delayed": 0,
            "backlog": {"pending": 0, "oldest": null, "dead": 0},
        });
        for (name, value) in more.as_object().unwrap() {
            stream[name] = value.clone();
        }
        stream
    }

    // finding: C2
    #[test]
    fn the_table_fits_a_terminal_and_names_what_can_be_typed() {
        let reason = "connection refused ".repeat(20);
        let suspended = json!({"trouble": "unreachable", "failures": 12, "until": "2026-01-01T00:00:00Z", "reason": reason});
        let streams = [
            stream(
                "0f3c1a2b3c4d5e6f7a8b9c0d1e2f3a4b",
                &json!({"name": "billing-main", "suspended": suspended}),
            ),
            stream(
                "1f3c1a2b3c4d5e6f7a8b9c0d1e2f3a4b",
                &json!({"method": "poll", "status": "paused", "held": true, "held_by": "operator"}),
            ),
            stream(
                "2f3c1a2b3c4d5e6f7a8b9c0d1e2f3a4b",
                &json!({"status": "disabled", "held": true, "held_by": "configuration", "delayed": 2, "client": "x".repeat(80),
                "endpoint_url": format!("https://{}.example:8443/?(hidden)", "y".repeat(60))}),
            ),
            stream("3f3c1a2b3c4d5e6f7a8b9c0d1e2f3a4b", &json!({"event_types": 0})),
        ];
        let shown = anstream::adapter::strip_str(&overview(&streams)).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        for (line, (starts, contains)) in lines[1..].iter().zip([
            ("billing-main  shop ", "push receiver.example.com  "),
            ("1f3c1a2b      shop ", "poll "),
            ("2f3c1a2b      xxxxxxxxxxxxxxx…", "2 SETs fail, others are"),
            ("3f3c1a2b      shop ", "no event types"),
        ]) {
            assert!(line.starts_with(starts) && line.contains(contains), "{shown}");
        }
        // The names of strangers may be long; what is usual fits.
        let usual = anstream::adapter::strip_str(&overview(&streams[..2])).to_string();
        assert!(usual.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{usual}");
        assert!(usual.contains("unreachable 12x") && !usual.contains("hidden"), "{usual}");
    }

    // finding: C8
    #[test]
    fn what_a_retry_did_is_said() {
        for (was_suspended, failures, delayed, in_flight, pending, expected) in [
            (true, 7, 0, 0, 1, "was suspended after 7 failures, one SET is sent now"),
            (true, 7, 0, 0, 0, "was suspended after 7 failures, and nothing is pending"),
            (true, 7, 3, 1, 4, "was suspended, an attempt is under way"),
            (false, 0, 1, 0, 1, "1 SET that waited is sent now"),
            (false, 0, 3, 1, 4, "3 SETs that waited are sent now"),
            (false, 0, 0, 0, 0, "nothing was waiting for its next attempt"),
        ] {
            let told = json!({"stream_id": "x", "was_suspended": was_suspended, "failures": failures,
                "delayed": delayed, "in_flight": in_flight, "pending": pending});
            assert_eq!(retried("x", &told), format!("stream x: {expected}\n"));
            assert_eq!(retried("main", &told), format!("stream main (x): {expected}\n"));
        }
    }
}
