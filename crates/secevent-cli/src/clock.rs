//! The clock of the machine, and `secevent clock`: whether a running server deletes records by it.

use crate::admin::{self, EXIT_CODES, Server, WHICH, Which, number, text};
use crate::output::{Failure, print, print_json};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

pub(crate) use secevent_server::SystemClock;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(Show),
    Confirm(Confirm),
}

/// Show the server's clock, and the time by which it deletes records.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
A server does not delete records by a clock that jumped ahead of elapsed time by more than an hour:
expired SETs, dead letters, the audit log, idempotency keys, streams of silent receivers. It goes on
by elapsed time instead, until `secevent clock confirm`.

JSON: {{now, expiry_now, ahead_seconds, needs_confirmation}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Show {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// Confirm that the server's clock is right: records are deleted by it from now on.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Compare the time with that of another machine first: what is deleted does not come back.

JSON: {{now, expiry_now, ahead_seconds, needs_confirmation}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Confirm {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// Runs a command.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Show(args) => admin::run(&args.which, args.json, async |server| {
            tell(&server.get(&["clock"], &[]).await?, args.json)
        }),
        Command::Confirm(args) => {
            admin::run(&args.which, args.json, async |server| confirm(args, &server).await)
        }
    }
}

async fn confirm(args: &Confirm, server: &Server) -> Result<(), Failure> {
    if !args.yes {
        let state = server.get(&["clock"], &[]).await?;
        ask(&format!("the server's clock says {}: is that right?", text(&state, "now")))?;
    }
    tell(&server.send(Method::POST, &["clock", "confirm"], &json!({})).await?, args.json)
}

fn ask(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::misuse("there is no terminal to confirm on").fix("pass --yes"));
    }
    let failed = |error: std::io::Error| Failure::failed(format!("cannot ask: {error}"));
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    match answer.trim().eq_ignore_ascii_case("y") {
        true => Ok(()),
        false => Err(Failure::failed("the clock is not confirmed")),
    }
}

fn tell(state: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(state);
    }
    let (now, expiry) = (text(state, "now"), text(state, "expiry_now"));
    match number(state, "ahead_seconds") {
        0 => print(&format!("the server's clock says {now}, and records are deleted by it\n")),
        ahead if state["needs_confirmation"] == true => print(&format!(
            "the server's clock says {now}, {ahead} s ahead of elapsed time\nrecords are deleted as if it was \
             {expiry}, until `secevent clock confirm`\n"
        )),
        ahead => print(&format!(
            "the server's clock says {now}, {ahead} s after the last stored time\nrecords are deleted as if it was \
             {expiry}, until the server has run for an hour or `secevent clock confirm`\n"
        )),
    }
}
