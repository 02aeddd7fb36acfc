//! `secevent set`: make, sign, verify, decode and lint tokens, with no server at all.

mod decode;
mod keys;
mod lint;
mod new;
pub(crate) mod sign;
pub(crate) mod story;
pub(crate) mod subject;
mod token;
mod verify;

pub(crate) use new::near as near_types;

use crate::clock::SystemClock;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use secevent::{Clock as _, Profile, Timestamp, Vocabulary};
use std::process::ExitCode;

const EXIT_CODES: &str = "Exit codes: 0 done, or valid; 1 not valid, or failed; 2 misuse.

Input is an argument, the name of a file, or standard input (- or nothing), of at most 1 MiB.
Results go to standard output, all else to standard error. With --json an error is one line:
{error: {code, message, member?, rule?, fix?, also?}}.";

/// The subcommands of `secevent set`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) enum Command {
    New(Box<new::Args>),
    Sign(sign::Args),
    Verify(verify::Args),
    Decode(decode::Args),
    Lint(lint::Args),
}

/// Runs one subcommand to its exit code.
pub(crate) fn run(command: Command) -> ExitCode {
    let (json, result) = match command {
        Command::New(args) => (args.json, new::run(*args)),
        Command::Sign(args) => (args.json, sign::run(&args)),
        Command::Verify(args) => (args.json, verify::run(&args)),
        Command::Decode(args) => (args.json, decode::run(&args)),
        Command::Lint(args) => (args.json, lint::run(&args)),
    };
    result.unwrap_or_else(|failure| {
        failure.report(json);
        failure.exit()
    })
}

/// The time of `--at`, or the real one.
fn now(at: Option<Timestamp>) -> Timestamp {
    at.unwrap_or_else(|| SystemClock.now())
}

/// Profiles that SETs are made under: every one but the legacy one, which is only read.
fn written_profile() -> impl TypedValueParser<Value = Profile> {
    let names = Profile::ALL.into_iter().filter(|profile| *profile != Profile::Legacy).map(Profile::name);
    PossibleValuesParser::new(names).map(|name| name.parse().expect("it is one of the possible values"))
}

/// Profiles that SETs are read under.
fn read_profile() -> impl TypedValueParser<Value = Profile> {
    let names = Profile::ALL.map(Profile::name);
    PossibleValuesParser::new(names).map(|name| name.parse().expect("it is one of the possible values"))
}

/// The profile that goes without saying for events of this type.
fn profile_for(uri: &str) -> Profile {
    let name = Vocabulary::standard().find(uri).map_or("", |definition| definition.name());
    match name.split_once(':') {
        Some(("scim", _)) => Profile::Scim,
        Some(("logout", _)) => Profile::Logout,
        _ => Profile::Ssf,
    }
}
