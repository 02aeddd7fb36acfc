//! The `secevent` command: the only place where a database, a network, a clock and a terminal are chosen.

mod admin;
mod audit;
mod backup;
mod certificates;
mod client;
mod clock;
mod config;
mod dead;
mod demo;
mod doctor;
mod emit;
mod erase;
mod explain;
mod input;
mod key;
#[cfg(feature = "kill-points")]
mod kill;
mod link;
mod network;
mod node;
mod output;
mod replay;
mod restore;
mod serve;
mod set;
mod stream;
mod streams;
mod subject;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

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
    /// Make, sign, verify, decode and lint tokens; no server needed.
    #[command(subcommand)]
    Set(set::Command),
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
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
        Command::Set(command) => set::run(command),
    }
}

/// Runs a command that talks to the network. It logs to standard error, as much as `SECEVENT_LOG` says.
fn run(log: &str, command: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let filter = EnvFilter::try_from_env("SECEVENT_LOG").unwrap_or_else(|_| EnvFilter::new(log));
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = registry().with(log.with_ansi(colours).with_target(false).with_filter(filter));
    #[cfg(feature = "kill-points")]
    let log = match kill::layer() {
        Ok(layer) => log.with(layer),
        Err(error) => {
            eprintln!("secevent: {error:#}");
            return ExitCode::from(output::EXIT_MISUSE);
        }
    };
    log.init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("secevent: {error:#}");
            ExitCode::from(output::EXIT_FAILED)
        }
    }
}
