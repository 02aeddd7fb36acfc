//! `secevent dead`: what receivers refused and what was given up, and what becomes of it.

use crate::admin::names::Names;
use crate::admin::{Common, EXIT_CODES, Server, WHICH, many, number, text};
use crate::confirm::Confirm;
use crate::explain::attempts;
use crate::output::{BOLD, Failure, message, note, pretty, print, print_json, table};
use clap::{Args, Subcommand};
use http::Method;
use secevent::{Definition, Vocabulary};
use serde_json::{Value, json};
use std::process::ExitCode;

/// What `deleted` means, for the help of commands.
const DELETED: &str = "\
Dead letters outlive their stream until they are old (delivery.dead_kept_seconds). Those of all deleted
streams are named with `deleted` in the place of the stream.";

/// The subcommands of `secevent dead`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(List),
    Show(Show),
    Redrive(Redrive),
    Discard(Discard),
}

/// List dead letters, of all streams or of one.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent dead list
  secevent dead list --stream 0f3c… --limit 1000 --json

Whom they are about is not shown: see `secevent dead show --claims`. ATTEMPTS counts all, those before
a SET was delivered again included.

{DELETED}

JSON: {{dead: [{{jti, stream_id, event_id, event_type, cause, reason, accepted_at, died_at,
attempts}}], next?}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct List {
    /// Of this stream only, as `secevent streams` names it; `deleted` for streams that are deleted
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// How many to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind an earlier answer: its `next`
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Show one dead letter.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent dead show 0f3c… oqrrC0Bh…
  secevent dead show --claims 0f3c… oqrrC0Bh…

The attempts listed are the last eight, those before it was delivered again included; their number
counts all. The claims of a deleted stream's dead letter are not known any more.

{DELETED}

JSON: {{jti, stream_id, event_id, event_type, cause, reason, accepted_at, died_at, attempts,
last_attempts: [{{at, result, status, elapsed_ms}}], newer, claims?}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Show {
    /// The stream, as `secevent streams` names it, or `deleted`
    stream: String,
    /// The `jti` of the SET
    jti: String,
    /// Show the claims too: they tell whom the event is about
    #[arg(long)]
    claims: bool,
    #[command(flatten)]
    common: Common,
}

/// Deliver dead letters again, as the same SETs.
///
/// They keep their `jti`. They go out of the order of their subjects, so that a receiver may see what is old after
/// what is new. With --all, verification and status events are skipped if the stream has a newer one of the same type:
/// they are superseded, and dead letters no more.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent dead redrive 0f3c… oqrrC0Bh… u2fHh9Qc…
  secevent dead redrive 0f3c… --all

JSON: {{redriven, superseded}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Redrive {
    #[command(flatten)]
    these: These,
}

/// Forget dead letters. They are gone for good.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent dead discard 0f3c… oqrrC0Bh…
  secevent dead discard 0f3c… --all --yes
  secevent dead discard deleted --all --yes

{DELETED}

JSON: {{discarded}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Discard {
    #[command(flatten)]
    these: These,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, Args)]
struct These {
    /// The stream, as `secevent streams` names it
    stream: String,
    /// The `jti` of each
    #[arg(value_name = "JTI", required_unless_present = "all", conflicts_with = "all")]
    jtis: Vec<String>,
    /// All dead letters of the stream
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs one subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::List(args) => args.common.run(async |server| list(args, &server).await),
        Command::Show(args) => args.common.run(async |server| show(args, &server).await),
        Command::Redrive(Redrive { these }) => these.common.run(async |server| redrive(these, &server).await),
        Command::Discard(Discard { these, confirm }) => {
            these.common.run(async |server| discard(these, confirm, &server).await)
        }
    }
}

async fn list(args: &List, server: &Server) -> Result<(), Failure> {
    let filters = [("stream", args.stream.as_deref())];
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut dead = server.list("dead", "dead", &filters, args.after.as_deref(), wanted).await?;
    if args.common.json {
        return dead.print_json("dead");
    }
    if dead.found.is_empty() {
        return print("there are no dead letters\n");
    }
    let names = Names::of(server).await;
    dead.found.iter_mut().for_each(|dead| names.put_into(dead));
    let row = |dead: &Value| {
        let attempts = number(dead, "attempts").to_string();
        let of = |name| text(dead, name).to_owned();
        let kind = short(text(dead, "event_type")).to_owned();
        let stream = stream_of(dead);
        vec![of("jti"), stream, kind, of("cause"), attempts, of("died_at"), of("reason")]
    };
    let rows: Vec<Vec<String>> = dead.found.iter().map(row).collect();
    print(&table(&["JTI", "STREAM", "TYPE", "CAUSE", "ATTEMPTS", "DIED", "REASON"], &rows))?;
    dead.note_next(args.limit);
    Ok(())
}

async fn show(args: &Show, server: &Server) -> Result<(), Failure> {
    let mut dead = server.get(&["streams", &args.stream, "dead", &args.jti], &[]).await?;
    let claims = dead.as_object_mut().and_then(|members| members.shift_remove("claims"));
    if args.common.json {
        if args.claims {
            dead["claims"] = claims.unwrap_or_default();
        }
        return print_json(&dead);
    }
    let mut shown = String::new();
    for (title, value) in [
        ("jti", text(&dead, "jti").to_owned()),
        ("stream", stream_of(&dead)),
        ("event", text(&dead, "event_id").to_owned()),
        ("type", text(&dead, "event_type").to_owned()),
        ("cause", text(&dead, "cause").to_owned()),
        ("reason", text(&dead, "reason").to_owned()),
        ("attempts", number(&dead, "attempts").to_string()),
        ("accepted", text(&dead, "accepted_at").to_owned()),
        ("died", text(&dead, "died_at").to_owned()),
    ] {
        shown += &format!("{BOLD}{title:9}{BOLD:#} {}\n", message(&value));
    }
    shown += &attempts(&[("", &dead)]);
    match claims {
        Some(claims) if args.claims => {
            shown += &format!("{BOLD}claims{BOLD:#}\n  {}\n", pretty(&claims.to_string(), 2));
        }
        _ => {}
    }
    print(&shown)?;
    if dead["newer"] == true {
        note(OUT_OF_ORDER);
    }
    Ok(())
}

const OUT_OF_ORDER: &str = "later events about the same subject were accepted for this stream: delivered now, it comes \
                            after what is newer";

async fn redrive(these: &These, server: &Server) -> Result<(), Failure> {
    let mut followed = 0;
    for jti in &these.jtis {
        let dead = server.get(&["streams", &these.stream, "dead", jti], &[]).await?;
        followed += u64::from(dead["newer"] == true);
    }
    let told =
        server.send(Method::POST, &["streams", &these.stream, "dead", "redrive"], &these.body()).await?;
    if these.common.json {
        return print_json(&told);
    }
    let count = number(&told, "redriven");
    print(&format!("{} delivered again, with the same jti\n", are(count)))?;
    match number(&told, "superseded") {
        0 => {}
        superseded => note(&format!(
            "{} skipped: the stream has a newer one of the same type",
            many(superseded, "verification or status event")
        )),
    }
    match followed {
        0 if these.all && count > 0 => note(
            "they go out of the order of their subjects: where there is later news, it was delivered before",
        ),
        0 => {}
        _ => note(OUT_OF_ORDER),
    }
    let named = u64::try_from(these.jtis.len()).unwrap_or(u64::MAX);
    if !these.all && count < named {
        note("those that are missing are being delivered again already");
    }
    Ok(())
}

async fn discard(these: &These, confirm: &Confirm, server: &Server) -> Result<(), Failure> {
    let which = match these.jtis.len() {
        0 => "all dead letters".to_owned(),
        count => many(count as u64, "dead letter"),
    };
    let whose = match these.stream.as_str() {
        "deleted" => "deleted streams".to_owned(),
        stream => format!("the stream {stream}"),
    };
    confirm.ask(&format!("this discards {which} of {whose}"))?;
    let told =
        server.send(Method::POST, &["streams", &these.stream, "dead", "discard"], &these.body()).await?;
    if these.common.json {
        return print_json(&told);
    }
    print(&format!("{} discarded\n", are(number(&told, "discarded"))))
}

/// What to call the stream of a dead letter.
fn stream_of(dead: &Value) -> String {
    dead["stream_id"].as_str().unwrap_or("deleted").to_owned()
}

/// An event type in few characters.
fn short(uri: &str) -> &str {
    Vocabulary::standard().find(uri).map_or(uri, Definition::name)
}

fn are(count: u64) -> String {
    let be = if count == 1 { "is" } else { "are" };
    format!("{} {be}", many(count, "SET"))
}

impl These {
    fn body(&self) -> Value {
        if self.all { json!({ "all": true }) } else { json!({ "jti": self.jtis }) }
    }
}
