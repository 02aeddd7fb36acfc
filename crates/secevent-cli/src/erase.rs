//! `secevent erase`: a person's data is erased, and it is shown that nothing is left.

use crate::admin::{Common, Server, WHICH, many, number, text};
use crate::confirm::Confirm;
use crate::output::{Failure, message, note, print, print_json, progress, safe};
use crate::set::subject::parse_known;
use clap::Args;
use http::Method;
use secevent::Subject;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Erase what there is of a person: events, deliveries, dead letters, keys and words that name the person.
///
/// What is owed of it to receivers is dropped. Then everything is looked through, the files of the store byte by byte,
/// and what is left is told. What receivers have had already is theirs, and backups are not touched. It cannot be
/// undone.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent erase --subject alice@example.com --dry-run
  secevent erase --subject alice@example.com --yes
  secevent erase --subject '{{\"format\":\"opaque\",\"id\":\"0d4f0c8e-alice\"}}' --yes --json

JSON: with --dry-run {{found, documents}}; else {{id, state, started_at, person, rewrite, not_rewritten,
erased, left: {{nothing, found, documents, traces, traces_in}}}}.
{WHICH}

Exit codes: 0 nothing is left; 1 not erased, or something is left; 2 misuse."))]
pub(crate) struct Erase {
    /// Who: an e-mail address, a subject identifier as JSON, or FORMAT:VALUE,VALUE…
    #[arg(long, value_name = "SUBJECT", value_parser = parse_known)]
    subject: Subject,
    /// Only tell what there is
    #[arg(long, conflicts_with_all = ["yes", "rewrite"])]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
    /// Write the files of the store anew at the end: nothing is accepted meanwhile
    #[arg(long)]
    rewrite: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(crate) fn run(args: &Erase) -> ExitCode {
    args.common.run(async |server| erase(args, &server).await)
}

async fn erase(args: &Erase, server: &Server) -> Result<(), Failure> {
    let mut body = json!({ "subject": args.subject, "dry_run": true });
    if args.dry_run || !args.confirm.is_given() {
        let foreseen = server.send_patiently(&["erasures"], &body).await?;
        if args.dry_run && args.common.json {
            return print_json(&foreseen);
        }
        if args.dry_run {
            print(&format!("there is: {}\n", amounts(&foreseen["found"])))?;
            documents(&foreseen);
            return Ok(());
        }
        let found = amounts(&foreseen["found"]);
        args.confirm.ask(&format!("this erases what there is of the person ({found})"))?;
    }
    body["dry_run"] = false.into();
    body["rewrite"] = args.rewrite.into();
    let begun = server.send(Method::POST, &["erasures"], &body).await?;
    let ended = ended(server, begun).await?;
    let left = &ended["left"];
    if args.common.json {
        print_json(&ended)?;
    } else {
        print(&format!("erased: {}\n", amounts(&ended["erased"])))?;
        if let Some(reason) = ended["not_rewritten"].as_str() {
            note(&format!("the files are not rewritten: {}", message(reason)));
        }
        match left["nothing"] == true {
            true => print("looked for again, in what is kept and in the files: 0 left\n")?,
            false => {
                let traces = number(left, "traces");
                print(&format!(
                    "left: {}, and {} in the files\n",
                    amounts(&left["found"]),
                    many(traces, "trace")
                ))?;
                documents(left);
                for place in left["traces_in"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    note(&format!(
                        "the person's identifiers are found in {}, perhaps within other words",
                        safe(place)
                    ));
                }
                if traces > 0 && ended["rewrite"] == false {
                    note("--rewrite writes the files anew, which clears traces");
                }
            }
        }
    }
    match left["nothing"] == true {
        true => Ok(()),
        false => Err(Failure::failed("something is left")),
    }
}

async fn ended(server: &Server, mut erasure: Value) -> Result<Value, Failure> {
    const TURN: Duration = Duration::from_millis(100);
    let id = text(&erasure, "id").to_owned();
    let mut told = None;
    while text(&erasure, "state") == "running" {
        let count = number(&erasure["erased"], "events");
        if told.replace(count) != Some(count) {
            progress(&format!("{} erased", many(count, "event")));
        }
        tokio::time::sleep(TURN).await;
        erasure = server.get(&["erasures", &id], &[]).await?;
    }
    Ok(erasure)
}

fn amounts(found: &Value) -> String {
    let of = |name, one| many(number(found, name), one);
    [
        of("events", "event"),
        format!("{} owed", many(number(found, "dropped"), "SET")),
        of("dead", "dead letter"),
        of("names", "other idempotency key"),
        of("reasons", "other reason"),
        of("changes", "entry of the log").replace("entry of the logs", "entries of the log"),
        of("replays", "replay"),
        format!("{} of streams", many(number(found, "subjects"), "subject")),
    ]
    .join(", ")
}

fn documents(told: &Value) {
    for name in told["documents"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        note(&format!(
            "{} names the person in the words of its receiver or operator, who can change them",
            safe(name)
        ));
    }
}
