//! `secevent stream status`, `pause`, `enable` and `disable`.

use crate::confirm::Confirm;
use crate::link::{ACCESS, Access, EXIT_CODES, Link, Need, stream_id};
use crate::output::{Failure, note, print, print_json, safe};
use clap::Args;
use secevent_receiver::{Answer, ClientError};
use secevent_ssf::{Status, StreamStatus, UpdateStatus};

const STATUS: &str = "JSON: {stream_id, status, reason?}, as SSF has it.";

/// Show whether a stream is enabled, paused or disabled.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream status f67e39a0… --issuer https://idp.example.com

{STATUS}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Read {
    /// The stream, as `secevent stream list` names it
    stream: String,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Pause a stream: the transmitter holds its events for a time.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream pause f67e39a0… --reason \"maintenance until noon\"

{STATUS}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) change: SetStatus,
}

/// Enable a stream: the transmitter sends its events.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream enable f67e39a0…

{STATUS}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Enable {
    #[command(flatten)]
    pub(crate) change: SetStatus,
}

/// Disable a stream: its events are neither sent nor held. Some transmitters never enable it again.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream disable f67e39a0… --reason \"the shop has closed\"

For a break use `secevent stream pause`: a disabled stream loses what happens meanwhile.

{STATUS}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Disable {
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    pub(crate) change: SetStatus,
}

#[derive(Debug, Args)]
pub(crate) struct SetStatus {
    /// The stream, as `secevent stream list` names it
    stream: String,
    /// Why; the transmitter is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

pub(crate) async fn read(args: &Read) -> Result<(), Failure> {
    let link = args.access.meet(Need::Read).await?;
    let stream = stream_id(&args.stream, &link)?;
    let status = link.client.status(&stream).await.map_err(|error| refused(&link, &error, None))?;
    tell(&args.stream, &status, args.access.json)
}

pub(crate) async fn pause(args: &Pause) -> Result<(), Failure> {
    set(&args.change, Status::Paused).await
}

pub(crate) async fn enable(args: &Enable) -> Result<(), Failure> {
    set(&args.change, Status::Enabled).await
}

pub(crate) async fn disable(args: &Disable) -> Result<(), Failure> {
    args.confirm.ask(&format!("this drops all that is pending for the stream {}", args.change.stream))?;
    set(&args.change, Status::Disabled).await
}

async fn set(args: &SetStatus, status: Status) -> Result<(), Failure> {
    let link = args.access.meet(Need::Manage).await?;
    let stream_id = stream_id(&args.stream, &link)?;
    let update = UpdateStatus { stream_id, status, reason: args.reason.clone() };
    let answer = link.client.set_status(&update).await;
    let now = match answer.map_err(|error| refused(&link, &error, Some(status)))? {
        Answer::Done(now) => now,
        Answer::Pending => {
            note("the transmitter accepted the change, and may carry it out later: this is how it is now");
            let now = link.client.status(&update.stream_id).await;
            now.map_err(|error| refused(&link, &error, None))?
        }
    };
    tell(&args.stream, &now, args.access.json)
}

fn refused(link: &Link, error: &ClientError, wanted: Option<Status>) -> Failure {
    let failure = link.failure(error);
    match (error, wanted) {
        (ClientError::NoEndpoint(_), Some(Status::Disabled)) => {
            failure.fix("this transmitter's streams are always enabled: delete the stream instead")
        }
        (ClientError::NoEndpoint(_), _) => failure.fix("this transmitter does not tell the status of streams"),
        // Whoever disabled a stream decides whether it can be enabled again (E-34).
        (ClientError::Refused { status, .. }, Some(Status::Enabled))
            if matches!(status.as_u16(), 400 | 403 | 409) =>
        {
            failure.fix(
                "if it was disabled, or paused by the transmitter, only the transmitter enables it again: create \
                 another stream, or ask its operator",
            )
        }
        _ => failure,
    }
}

fn tell(name: &str, status: &StreamStatus, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(status);
    }
    let reason = status.reason.as_deref().map(|reason| format!(": {}", safe(reason))).unwrap_or_default();
    print(&format!("stream {} is {}{reason}\n", safe(name), status.status))
}
