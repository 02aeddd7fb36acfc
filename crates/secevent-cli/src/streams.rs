//! `secevent streams`: how it goes with each stream of a running server.

use crate::admin::{self, EXIT_CODES, Server, WHICH, Which, number, text};
use crate::clock::SystemClock;
use crate::confirm::Confirm;
use crate::output::{Failure, parse_time, print, print_json, safe, table};
use clap::{Args, Subcommand};
use http::Method;
use secevent::{Clock as _, Span};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Show how it goes with each stream of a running server, to its operator.
///
/// What a receiver can do with its own streams, at this server or any other, is `secevent stream`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = format!("\
Examples:
  secevent streams
  secevent streams --json
  secevent streams pause 0f3c… --reason \"maintenance until noon\"
  secevent streams enable 0f3c…

PENDING is what is owed and not delivered, OLDEST how long the oldest of it waits, DEAD what was
refused or given up and is kept, WINDOW how many pushes may be on their way. TROUBLE tells what
keeps the receiver from being delivered to, how often in a row, and when it is tried again; of
a stream that carries no event types, that it never gets events; and that the stream's client is
disabled: nothing is sent to it, it gets no new events, and it can neither poll nor manage it.

JSON: {{streams: [{{stream_id, client, issuer, event_types, status, reason, held, client_disabled,
suspended, delayed, pending, in_flight, window, delivered, retries, again, backlog: {{pending, bytes, oldest, rejected,
abandoned, dropped, dead}}}}]}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Streams {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pause a stream: it keeps what it is owed.
    ///
    /// Its receiver is told, and cannot enable what its operator has paused.
    Pause(SetStatus),
    /// Disable a stream: what it is owed is dropped, and nothing more is kept for it.
    ///
    /// Its receiver is told, and cannot enable what its operator has disabled.
    Disable(Disable),
    /// Enable a stream again, whoever paused or disabled it. Its receiver is told.
    Enable(SetStatus),
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
JSON: the stream, as in `secevent streams --json`.
{WHICH}
{EXIT_CODES}"))]
struct SetStatus {
    /// The stream, as `secevent streams` names it
    stream: String,
    /// Why; its receiver is told
    #[arg(long)]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// Shows the table, or runs a subcommand.
pub(crate) fn run(args: &Streams) -> ExitCode {
    match &args.command {
        None => admin::run(&args.which, args.json, async |server| list(args.json, &server).await),
        Some(Command::Pause(args)) => {
            admin::run(&args.which, args.json, async |server| set_status(args, "paused", &server).await)
        }
        Some(Command::Disable(Disable { confirm, set })) => {
            admin::run(&set.which, set.json, async |server| {
                confirm.ask(&format!("this drops all that is pending for the stream {}", set.stream))?;
                set_status(set, "disabled", &server).await
            })
        }
        Some(Command::Enable(args)) => {
            admin::run(&args.which, args.json, async |server| set_status(args, "enabled", &server).await)
        }
    }
}

async fn list(json: bool, server: &Server) -> Result<(), Failure> {
    let streams =
        server.list("streams", "streams", &[("backlog", Some("true"))], None, usize::MAX).await?.found;
    if json {
        return print_json(&json!({ "streams": streams }));
    }
    if streams.is_empty() {
        return print("there are no streams\n");
    }
    let titles = ["STREAM", "CLIENT", "STATUS", "PENDING", "OLDEST", "DEAD", "WINDOW", "TROUBLE"];
    let rows: Vec<Vec<String>> = streams.iter().map(row).collect();
    print(&table(&titles, &rows))
}

/// How much of a receiver's words a line of the table has room for; `--json` has all of them.
const REASON_CHARS_MAX: usize = 80;

fn row(stream: &Value) -> Vec<String> {
    let backlog = &stream["backlog"];
    let now = SystemClock.now();
    let time = |value: &Value| parse_time(value.as_str()?).ok();
    let oldest = time(&backlog["oldest"])
        .map_or_else(|| "-".to_owned(), |oldest| Span(whole_seconds(now.since(oldest))).to_string());
    let held = if stream["held"] == true { " by operator" } else { "" };
    let suspended = &stream["suspended"];
    let trouble = if stream["client_disabled"] == true {
        "client disabled: no events, polls or changes until `client enable`".to_owned()
    } else if suspended.is_null() {
        match number(stream, "delayed") {
            0 if stream["event_types"] == 0 => "no event types".to_owned(),
            0 => "-".to_owned(),
            delayed => format!("{delayed} SETs fail and are retried, others are delivered"),
        }
    } else {
        let wait = time(&suspended["until"]).map_or(Duration::ZERO, |until| until.since(now));
        format!(
            "{} {}x, next try in {}: {}",
            text(suspended, "trouble"),
            number(suspended, "failures"),
            Span(whole_seconds(wait)),
            text(suspended, "reason").chars().take(REASON_CHARS_MAX).collect::<String>()
        )
    };
    vec![
        text(stream, "stream_id").to_owned(),
        text(stream, "client").to_owned(),
        format!("{}{held}", text(stream, "status")),
        number(backlog, "pending").to_string(),
        oldest,
        number(backlog, "dead").to_string(),
        number(stream, "window").to_string(),
        trouble,
    ]
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

async fn set_status(args: &SetStatus, status: &str, server: &Server) -> Result<(), Failure> {
    let mut body = json!({ "status": status });
    if let Some(reason) = &args.reason {
        body["reason"] = reason.as_str().into();
    }
    let told = server.send(Method::PUT, &["streams", &args.stream, "status"], &body).await?;
    if args.json {
        return print_json(&told);
    }
    print(&format!("stream {} is {}\n", safe(text(&told, "stream_id")), safe(text(&told, "status"))))
}
