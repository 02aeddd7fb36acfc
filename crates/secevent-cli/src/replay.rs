//! `secevent replay`: a part of a stream's history is delivered again.

use crate::admin::names::Names;
use crate::admin::{Common, EXIT_CODES, Server, WHICH, many, number, text};
use crate::clock::SystemClock;
use crate::output::{Failure, note, parse_time, print, print_json, progress, safe, table, utc};
use crate::set::subject::parse_known;
use clap::{ArgGroup, Args, Subcommand};
use http::Method;
use secevent::{Clock as _, Subject, Timestamp};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// The subcommands of `secevent replay`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Start(Box<Start>),
    List(List),
    Cancel(Cancel),
}

/// What `--json` prints of a replay.
const REPLAY: &str = "\
{id, stream_id, stream_name, state, total, count, per_second, started_at,
started_by, ended_at, since, of_one_subject, fresh_jti, first, last, reached}";

/// Deliver a part of a stream's history again.
///
/// As far as the server keeps events (delivery.history_seconds), whatever became of them. Receivers that remember what
/// they have seen drop a SET with a `jti` that they know: with --fresh-jti they get new SETs about the same events, which
/// keep their `txn`. What is delivered again goes out of the order of its subjects. What is pending is not delivered
/// twice.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
#[command(after_long_help = format!("\
Examples:
  secevent replay start 0f3c… --since 2h --preview
  secevent replay start 0f3c… --since 2026-11-01T00:00:00Z --fresh-jti --rate 20 --wait
  secevent replay start 0f3c… --from-jti oqrrC0Bh… --subject alice@example.com

JSON: with --preview {{count, first, last, newer}}; else {REPLAY}.
{WHICH}

Exit codes: 0 begun, or with --wait ended; 1 not begun, or cancelled; 2 misuse."))]
pub(crate) struct Start {
    /// The stream, as `secevent streams` names it: its name, or its identifier or the beginning of that
    stream: String,
    /// Events that were accepted since then: a time as in 2026-01-31T12:00:00Z, or a span such as 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME|SPAN", group = "what", value_parser = parse_since)]
    since: Option<Since>,
    /// The event of this SET of the stream, and what was accepted after it
    #[arg(long, value_name = "JTI", group = "what")]
    from_jti: Option<String>,
    /// Events about this subject: an e-mail address, a subject identifier as JSON, or FORMAT:VALUE,VALUE…
    #[arg(long, value_name = "SUBJECT", value_parser = parse_known, group = "what")]
    subject: Option<Subject>,
    /// As new SETs, with a `jti` that receivers have not seen
    #[arg(long)]
    fresh_jti: bool,
    /// How many SETs a second, at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Only show what would be delivered
    #[arg(long, conflicts_with = "wait")]
    preview: bool,
    /// Wait until the replay has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    common: Common,
}

/// List the replays, and how far they have come.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
PROGRESS is how many SETs are delivered again so far, or are to be, of those that the replay looked for
when it began. FROM and TO are the times of its first and last event, REACHED that of the one that it
has come to.

JSON: {{replays: [{REPLAY}]}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct List {
    #[command(flatten)]
    common: Common,
}

/// Cancel a replay. SETs that it has queued by then are still delivered.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
JSON: {REPLAY}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Cancel {
    /// The replay, as `secevent replay list` names it: its identifier, or 4 or more characters with which it alone begins
    id: String,
    #[command(flatten)]
    common: Common,
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    Ago(Duration),
}

/// Runs one subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Start(args) => args.common.run(async |server| start(args, &server).await),
        Command::List(args) => args.common.run(async |server| list(args, &server).await),
        Command::Cancel(args) => args.common.run(async |server| cancel(args, &server).await),
    }
}

async fn start(args: &Start, server: &Server) -> Result<(), Failure> {
    let path = ["streams", args.stream.as_str(), "replays"];
    let mut body = args.body()?;
    body["preview"] = true.into();
    let preview = server.send_patiently(&path, &body).await?;
    if args.preview && args.common.json {
        return print_json(&preview);
    }
    if args.preview {
        print(&foreseen(&preview))?;
    }
    warn(&preview, args.fresh_jti);
    if args.preview {
        return Ok(());
    }
    body["preview"] = false.into();
    let mut replay = server.send_patiently(&path, &body).await?;
    if args.wait {
        replay = ended(server, replay).await?;
    }
    if args.common.json {
        print_json(&replay)?;
    } else {
        print(&line(&replay))?;
    }
    match text(&replay, "state") {
        "cancelled" => Err(Failure::failed("the replay was cancelled")),
        _ => Ok(()),
    }
}

async fn ended(server: &Server, mut replay: Value) -> Result<Value, Failure> {
    const TURN: Duration = Duration::from_millis(250);
    let id = text(&replay, "id").to_owned();
    let mut told = None;
    while text(&replay, "state") == "running" {
        let count = number(&replay, "count");
        if told.replace(count) != Some(count) {
            progress(&format!("{count} of {} are delivered again", number(&replay, "total")));
        }
        tokio::time::sleep(TURN).await;
        replay = server.get(&["replays", &id], &[]).await?;
    }
    Ok(replay)
}

async fn list(args: &List, server: &Server) -> Result<(), Failure> {
    let told = server.get(&["replays"], &[]).await?;
    if args.common.json {
        return print_json(&told);
    }
    let names = Names::of(server).await;
    let row = |replay: &Value| {
        let of = |name| text(replay, name).to_owned();
        let progress = format!("{} of {}", number(replay, "count"), number(replay, "total"));
        let reached = match text(replay, "state") {
            "running" => of("reached"),
            _ => "-".to_owned(),
        };
        let (first, last) = (of("first"), of("last"));
        vec![
            of("id"),
            names.shown(replay),
            of("state"),
            progress,
            first,
            last,
            reached,
            of("started_at"),
            of("started_by"),
        ]
    };
    let rows: Vec<Vec<String>> = told["replays"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return print("there are no replays\n");
    }
    print(&table(&["REPLAY", "STREAM", "STATE", "PROGRESS", "FROM", "TO", "REACHED", "STARTED", "BY"], &rows))
}

async fn cancel(args: &Cancel, server: &Server) -> Result<(), Failure> {
    let told = server.send(Method::DELETE, &["replays", &args.id], &json!({})).await?;
    if args.common.json {
        return print_json(&told);
    }
    print(&line(&told))?;
    if text(&told, "state") == "done" {
        note("the replay had ended already: nothing was cancelled");
    }
    Ok(())
}

impl Since {
    /// The time that is meant, as text.
    pub(crate) fn to_text(self) -> String {
        utc(match self {
            Self::At(time) => time,
            Self::Ago(span) => SystemClock.now().minus(span),
        })
    }
}

impl Start {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = json!({ "fresh_jti": self.fresh_jti, "per_second": self.rate });
        if let Some(since) = self.since {
            body["since"] = since.to_text().into();
        }
        if let Some(jti) = &self.from_jti {
            body["from_jti"] = jti.as_str().into();
        }
        if let Some(subject) = &self.subject {
            body["subject"] = subject.to_value();
        }
        Ok(body)
    }
}

fn foreseen(preview: &Value) -> String {
    match number(preview, "count") {
        0 => "nothing would be delivered\n".to_owned(),
        count => format!(
            "{} would be delivered again, of events accepted from {} to {}\n",
            many(count, "SET"),
            safe(text(preview, "first")),
            safe(text(preview, "last"))
        ),
    }
}

fn warn(preview: &Value, fresh_jti: bool) {
    if preview["newer"] == true {
        note("for some subjects there are later events: the receiver sees what is old after what is new");
    }
    if !fresh_jti && number(preview, "count") > 0 {
        note("a receiver that remembers these SETs may drop them: --fresh-jti makes new ones of them");
    }
}

fn line(replay: &Value) -> String {
    let (count, total) = (number(replay, "count"), number(replay, "total"));
    let (id, state) = (safe(text(replay, "id")), safe(text(replay, "state")));
    format!("replay {id} is {state}: {count} of {total} are delivered again\n")
}

/// A time, or a span before now. A bare number is neither: its unit is not known.
pub(crate) fn parse_since(given: &str) -> Result<Since, String> {
    if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{given} has no unit: {}", wrong_since()));
    }
    let unit = match given.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return parse_time(given).map(Since::At).map_err(|_| wrong_since()),
    };
    let amount: u32 = given[..given.len() - 1].parse().map_err(|_| wrong_since())?;
    Ok(Since::Ago(Duration::from_secs(u64::from(amount) * unit)))
}

fn wrong_since() -> String {
    "use a span such as 90s, 30m, 2h or 7d, or a time as in 2026-01-31T12:00:00Z".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_span() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(parse_since(text), Ok(Since::Ago(Duration::from_secs(seconds))), "{text}");
        }
        let at = Since::At(Timestamp::from_seconds(1_458_496_404));
        assert_eq!(parse_since("2016-03-20T17:53:24Z"), Ok(at));
        // finding: C9
        for number in ["5", "0", "1458496404"] {
            let error = parse_since(number).unwrap_err();
            assert!(error.contains("has no unit") && error.contains("30m"), "{error}");
        }
        for wrong in ["", "s", "-5", "-1s", "1.5h", "2 h", "yesterday", "2w", "99999999999d", "ü"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }
}
