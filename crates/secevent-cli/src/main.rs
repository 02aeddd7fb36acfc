//! The `secevent` command: the only place where a database, a network, a clock and a terminal are chosen.

mod admin;
mod audit;
mod backup;
mod certificates;
mod client;
mod clock;
mod config;
mod confirm;
mod dead;
mod demo;
mod descriptors;
mod doctor;
mod emit;
mod erase;
mod explain;
mod input;
mod key;
#[cfg(feature = "kill-points")]
mod kill;
mod link;
mod log;
mod network;
mod node;
mod output;
mod replay;
mod restore;
mod rule;
mod serve;
mod set;
mod stream;
mod streams;
mod subject;
mod types;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use output::Failure;
use std::process::ExitCode;

/// The allocator of the C library keeps what was freed below anything that is still used, for good: after a flood of
/// request bodies, twice their limit. This one returns it to the system within ten seconds.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Security events: make, check, send and receive Security Event Tokens.
///
/// Exit codes, for every command: 0 done, or valid; 1 not valid, or failed; 2 misuse.
#[derive(Debug, Parser)]
#[command(name = "secevent", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Emit(emit::Emit),
    Streams(streams::Streams),
    /// Manage streams at any SSF transmitter, as its receiver: yours, or a vendor's.
    ///
    /// These commands know nothing of the transmitter but its issuer, and speak pure SSF. What the operator of a
    /// secevent server sees of its streams is shown by `secevent streams`.
    #[command(subcommand)]
    Stream(stream::Command),
    /// Say at any SSF transmitter whom a stream is about, as its receiver.
    #[command(subcommand)]
    Subject(subject::Command),
    /// Look after dead letters: SETs that receivers refused, or that were given up.
    #[command(subcommand)]
    Dead(dead::Command),
    /// Deliver a part of a stream's history again.
    #[command(subcommand)]
    Replay(replay::Command),
    /// Look after clients: who may call the server, and what each may do.
    #[command(subcommand)]
    Client(client::Command),
    Explain(explain::Explain),
    Audit(audit::Audit),
    Erase(erase::Erase),
    Backup(backup::Backup),
    Restore(restore::Restore),
    /// Show or confirm the clock of a running server.
    #[command(subcommand)]
    Clock(clock::Command),
    /// Look after the keys that issuers sign with, and the master key.
    #[command(subcommand)]
    Key(key::Command),
    /// Check, show and explain the configuration of a server.
    #[command(subcommand)]
    Config(config::command::Command),
    Doctor(doctor::Doctor),
    Types(types::Types),
    Rule(rule::Rule),
    /// Make, sign, verify, decode and lint tokens; no server needed.
    #[command(subcommand)]
    Set(set::Command),
}

fn main() -> ExitCode {
    let read = || -> Result<_, clap::Error> {
        let matches = Cli::command().try_get_matches()?;
        Ok((Cli::from_arg_matches(&matches)?, matches))
    };
    let (cli, matches) = match read() {
        Ok(read) => read,
        Err(error) if error.use_stderr() => return misuse(&error, wants_json()),
        Err(error) => error.exit(),
    };
    match cli.command {
        Command::Demo(args) => run("warn", demo::run(args)),
        Command::Serve(args) => run("info", serve::run(args)),
        Command::Emit(args) => emit::run(&args),
        Command::Streams(args) => streams::run(&args),
        Command::Stream(command) => stream::run(&command),
        Command::Subject(command) => subject::run(&command),
        Command::Dead(command) => dead::run(&command),
        Command::Replay(command) => replay::run(&command),
        Command::Client(command) => client::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Clock(command) => clock::run(&command),
        Command::Key(command) => key::run(&command),
        Command::Config(command) => config::command::run(&command, &matches),
        Command::Doctor(args) => doctor::run(&args),
        Command::Types(args) => types::run(&args),
        Command::Rule(args) => rule::run(&args),
        Command::Set(command) => set::run(command),
    }
}

/// Whether the arguments ask for JSON, be they wrong otherwise.
fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json")
}

/// Reports what is wrong with the arguments, as every other error is reported.
fn misuse(error: &clap::Error, json: bool) -> ExitCode {
    let text = error.render().to_string();
    let mut parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = parts.next().unwrap_or_default();
    let Some(message) = first.strip_prefix("error: ") else {
        // There is no command, and the text is its help.
        if !json {
            error.exit();
        }
        let failure = Failure::misuse("a command is missing").fix("see --help");
        failure.report(true);
        return failure.exit();
    };
    let failure = Failure::misuse(message);
    let failure = match parts.find_map(|part| part.strip_prefix("tip: ").map(str::to_owned)) {
        Some(tip) => failure.fix(tip),
        None => failure.fix(format!("{}; see --help", usage())),
    };
    failure.report(json);
    failure.exit()
}

/// How the command is used that the arguments name. What clap says of it in an error shows arguments that come from the
/// environment as if they were required.
fn usage() -> String {
    let mut command = Cli::command();
    command.build();
    let mut named = &command;
    for argument in std::env::args().skip(1) {
        let Some(subcommand) = named.find_subcommand(&argument) else { break };
        named = subcommand;
    }
    let usage = named.clone().render_usage().to_string();
    usage.split_whitespace().collect::<Vec<_>>().join(" ").replacen("Usage: ", "use it as ", 1)
}

/// Runs a command that keeps a log: to standard error, as much as `SECEVENT_LOG` says, or else `default`.
fn run(default: &str, command: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
    let result = log::start(default).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(command)).map_err(failed)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(false);
            failure.exit()
        }
    }
}
