//! `secevent stream`: what a receiver can do with its streams, at any SSF transmitter.

mod configuration;
mod metadata;
mod poll;
mod sets;
mod status;
mod verify;
mod wishes;

use crate::network::on_loop;
use clap::Subcommand;
use std::process::ExitCode;

/// The subcommands of `secevent stream`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Metadata(metadata::Args),
    List(configuration::List),
    Show(configuration::Show),
    Create(configuration::Create),
    Update(configuration::Update),
    Replace(configuration::Replace),
    Delete(configuration::Delete),
    Status(status::Read),
    Pause(status::Pause),
    Enable(status::Enable),
    Disable(status::Disable),
    Verify(verify::Args),
    Poll(poll::Args),
    Ack(poll::Ack),
}

/// Runs one subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Metadata(args) => on_loop(args.json, metadata::run(args)),
        Command::List(args) => on_loop(args.access.json, configuration::list(args)),
        Command::Show(args) => on_loop(args.access.json, configuration::show(args)),
        Command::Create(args) => on_loop(args.access.json, configuration::create(args)),
        Command::Update(args) => on_loop(args.access.json, configuration::update(args)),
        Command::Replace(args) => on_loop(args.access.json, configuration::replace(args)),
        Command::Delete(args) => on_loop(args.access.json, configuration::delete(args)),
        Command::Status(args) => on_loop(args.access.json, status::read(args)),
        Command::Pause(args) => on_loop(args.change.access.json, status::pause(args)),
        Command::Enable(args) => on_loop(args.change.access.json, status::enable(args)),
        Command::Disable(args) => on_loop(args.change.access.json, status::disable(args)),
        Command::Verify(args) => on_loop(args.access.json, verify::run(args)),
        Command::Poll(args) => on_loop(args.access.json, poll::run(args)),
        Command::Ack(args) => on_loop(args.access.json, poll::ack(args)),
    }
}
