//! `secevent subject`: whom a stream is about, at any SSF transmitter.

use crate::link::{ACCESS, Access, EXIT_CODES, Need, stream_id};
use crate::network::on_loop;
use crate::output::{Failure, print, print_json, safe};
use crate::set::story;
use crate::set::subject::parse;
use clap::{Args, Subcommand};
use secevent::Subject;
use serde_json::json;
use std::process::ExitCode;

/// The subcommands of `secevent subject`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Add(Add),
    Remove(Remove),
}

/// Ask for events about a subject.
///
/// A transmitter that says yes promises nothing: it need not tell whether it knows the subject.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent subject add f67e39a0… alice@example.com --issuer https://idp.example.com
  secevent subject add f67e39a0… '{{\"format\":\"iss_sub\",\"iss\":\"https://idp.example.com\",\"sub\":\"7\"}}' --unverified

JSON: {{stream_id, subject, added: true}}.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Add {
    #[command(flatten)]
    whom: Whom,
    /// Say that we have not verified that the subject is who it says
    #[arg(long)]
    unverified: bool,
    #[command(flatten)]
    access: Access,
}

/// Ask for no more events about a subject. For a while they may still come.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent subject remove f67e39a0… alice@example.com --issuer https://idp.example.com

JSON: {{stream_id, subject, removed: true}}.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Remove {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
struct Whom {
    /// The stream, as `secevent stream list` names it
    stream: String,
    /// An e-mail address, a subject identifier as JSON, or FORMAT:VALUE,VALUE…
    #[arg(value_name = "SUBJECT", value_parser = parse)]
    subject: Subject,
}

/// Runs one subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Add(args) => on_loop(args.access.json, add(args)),
        Command::Remove(args) => on_loop(args.access.json, remove(args)),
    }
}

async fn add(args: &Add) -> Result<(), Failure> {
    let link = args.access.meet(Need::Manage).await?;
    let stream = stream_id(&args.whom.stream, &link)?;
    let added = link.client.add_subject(&stream, &args.whom.subject, !args.unverified).await;
    added.map_err(|error| link.failure(&error))?;
    tell(&args.whom, "added", "to", args.access.json)
}

async fn remove(args: &Remove) -> Result<(), Failure> {
    let link = args.access.meet(Need::Manage).await?;
    let stream = stream_id(&args.whom.stream, &link)?;
    let removed = link.client.remove_subject(&stream, &args.whom.subject).await;
    removed.map_err(|error| link.failure(&error))?;
    tell(&args.whom, "removed", "from", args.access.json)
}

fn tell(whom: &Whom, done: &str, preposition: &str, json: bool) -> Result<(), Failure> {
    if json {
        let mut told = json!({ "stream_id": whom.stream, "subject": whom.subject });
        told[done] = true.into();
        return print_json(&told);
    }
    let subject = story::subject(&whom.subject);
    print(&format!("{subject} is {done} {preposition} stream {}\n", safe(&whom.stream)))
}
