//! The clock of the machine, and `secevent clock`: whether a running server deletes records by it.

use crate::admin::{Common, EXIT_CODES, Server, WHICH, number, text};
use crate::confirm::Confirm;
use crate::output::{Failure, print, print_json};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) use secevent_server::SystemClock;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(Show),
    Confirm(ConfirmClock),
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
    #[command(flatten)]
    common: Common,
}

/// Confirm that the server's clock is right: records are deleted by it from now on.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Compare the time with that of another machine first: what is deleted does not come back.

JSON: {{now, expiry_now, ahead_seconds, needs_confirmation}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct ConfirmClock {
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    common: Common,
}

/// Runs a command.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Show(args) => {
            args.common.run(async |server| tell(&server.get(&["clock"], &[]).await?, args.common.json))
        }
        Command::Confirm(args) => args.common.run(async |server| confirm(args, &server).await),
    }
}

async fn confirm(args: &ConfirmClock, server: &Server) -> Result<(), Failure> {
    args.confirm.check("this deletes records by the server's clock")?;
    if !args.confirm.is_given() {
        let state = server.get(&["clock"], &[]).await?;
        let now = text(&state, "now");
        args.confirm.ask(&format!("this deletes records by the server's clock, which says {now}"))?;
    }
    tell(&server.send(Method::POST, &["clock", "confirm"], &json!({})).await?, args.common.json)
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
