//! `secevent stream list`, `show`, `create`, `update`, `replace` and `delete`.

use super::wishes::{DeliveryArgs, events, short};
use crate::confirm::Confirm;
use crate::link::{ACCESS, Access, EXIT_CODES, Link, Need, stream_id};
use crate::output::{BOLD, Failure, note, print, print_json, safe, table};
use clap::Args;
use secevent::Audience;
use secevent_receiver::{Answer, ClientError, PushCredential};
use secevent_ssf::{
    Change, CreateStream, DeliveryRequest, Method, ReplaceStream, StreamConfiguration, StreamId, Supplied,
    Unreadable, UpdateStream,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

const CONFIGURATION: &str = "\
JSON: the stream's configuration, as SSF has it: {stream_id, iss, aud, delivery, events_delivered,
events_requested?, events_supported?, description?, …}.";

/// List the streams that we have at a transmitter.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream list --issuer https://idp.example.com --client-id shop
  secevent stream list --json

JSON: {{streams: […], unreadable?: [{{stream_id?, member, rule, message}}]}}, each stream a
configuration as SSF has it.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Show the configuration of one stream.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream show f67e39a0… --issuer https://idp.example.com

{CONFIGURATION}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Show {
    /// The stream, as `secevent stream list` names it
    stream: String,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Create a stream.
///
/// Without --push it is one that we poll. Without --events the transmitter chooses: a secevent server sends all event
/// types that the client may have.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream create --poll --events caep:session-revoked caep:credential-change
  PUSH='Bearer x7…' secevent stream create --push https://rp.example.com/events \\
    --authorization-env PUSH --events 'caep:*' --description \"the web shop\"

Many transmitters allow one stream for each receiver, and answer 409 to a second. --adopt takes the
stream that exists with the same delivery, or else the only one, and changes what differs from what
is asked for. The credential of pushes is not shown by transmitters, so that it cannot be compared:
it is sent when the URL changes, and with --renew-authorization.

{CONFIGURATION}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Create {
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// The event types: short names, patterns such as caep:*, or URIs
    #[arg(long, value_name = "TYPE", num_args = 1.., value_delimiter = ',', help_heading = "What to ask for")]
    events: Vec<String>,
    /// What the stream is for
    #[arg(long, value_name = "TEXT", help_heading = "What to ask for")]
    description: Option<String>,
    /// If there is a stream already, take that one and change what differs
    #[arg(long, help_heading = "What to ask for")]
    adopt: bool,
    /// Send the value of --authorization-env to a stream that is adopted, too
    #[arg(long, requires = "adopt", requires = "authorization_env", help_heading = "What to ask for")]
    renew_authorization: bool,
    /// For older transmitters: the subject format that is wanted, such as iss_sub
    #[arg(long, requires = "legacy", help_heading = "What to ask for")]
    format: Option<String>,
    /// For older transmitters that let the receiver say it: the audience of the SETs; may be repeated
    #[arg(long, value_name = "NAME", requires = "legacy", help_heading = "What to ask for")]
    audience: Vec<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Change some properties of a stream, and leave the others (PATCH).
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream update f67e39a0… --description \"the web shop\"
  secevent stream update f67e39a0… --events caep:session-revoked

--events replaces the whole list. A transmitter that does not know PATCH answers 405: then there is
`secevent stream replace`.

{CONFIGURATION}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Update {
    /// The stream, as `secevent stream list` names it
    stream: String,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// Let pushes carry no Authorization header any more
    #[arg(long, requires = "push", conflicts_with = "authorization_env", help_heading = "What to ask for")]
    no_authorization: bool,
    /// The event types: short names, patterns such as caep:*, or URIs
    #[arg(long, value_name = "TYPE", num_args = 1.., value_delimiter = ',', help_heading = "What to ask for")]
    events: Vec<String>,
    /// What the stream is for
    #[arg(long, value_name = "TEXT", help_heading = "What to ask for")]
    description: Option<String>,
    /// Take the description away
    #[arg(long, conflicts_with = "description", help_heading = "What to ask for")]
    no_description: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Replace all that is ours of a stream (PUT). What is left out is gone.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream replace f67e39a0… --poll --events caep:session-revoked

{CONFIGURATION}
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Replace {
    /// The stream, as `secevent stream list` names it
    stream: String,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// The event types: short names, patterns such as caep:*, or URIs
    #[arg(long, value_name = "TYPE", num_args = 1.., value_delimiter = ',', help_heading = "What to ask for")]
    events: Vec<String>,
    /// What the stream is for
    #[arg(long, value_name = "TEXT", help_heading = "What to ask for")]
    description: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Delete a stream. What it still owes us never comes.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream delete f67e39a0… --issuer https://idp.example.com
  secevent stream delete f67e39a0… --issuer https://idp.example.com --yes

JSON: {{deleted}}.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Delete {
    /// The stream, as `secevent stream list` names it
    stream: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    pub(crate) access: Access,
}

pub(crate) async fn list(args: &List) -> Result<(), Failure> {
    let link = args.access.meet(Need::Read).await?;
    let (mut streams, mut unreadable) = (Vec::new(), Vec::new());
    for entry in link.client.list_each().await.map_err(|error| link.failure(&error))? {
        match entry {
            Ok(stream) => streams.push(stream),
            Err(entry) => unreadable.push(entry),
        }
    }
    if args.access.json {
        let mut answer = json!({ "streams": streams });
        if !unreadable.is_empty() {
            answer["unreadable"] = unreadable.iter().map(unreadable_json).collect();
        }
        return print_json(&answer);
    }
    for Unreadable { stream_id, breach } in &unreadable {
        let stream = stream_id.as_deref().unwrap_or("without a name");
        note(&format!("stream {stream} is not listed, because its configuration cannot be read: {breach}"));
    }
    streams.iter().for_each(note_if_empty);
    if streams.is_empty() {
        return if unreadable.is_empty() { print("there are no streams\n") } else { Ok(()) };
    }
    let row = |stream: &StreamConfiguration| {
        let events: Vec<&str> = stream.events_delivered.iter().map(|uri| short(uri)).collect();
        let events = if events.is_empty() { "none".to_owned() } else { events.join(", ") };
        let description = stream.description.clone().unwrap_or_else(|| "-".to_owned());
        vec![name(&stream.stream_id).to_owned(), method(stream).to_owned(), events, description]
    };
    let rows: Vec<Vec<String>> = streams.iter().map(row).collect();
    print(&table(&["STREAM", "DELIVERY", "EVENTS", "DESCRIPTION"], &rows))
}

fn unreadable_json(Unreadable { stream_id, breach }: &Unreadable) -> Value {
    let mut entry = json!({ "member": breach.member(), "rule": breach.rule(), "message": breach.problem() });
    if let Some(stream_id) = stream_id {
        entry["stream_id"] = stream_id.as_str().into();
    }
    entry
}

pub(crate) async fn show(args: &Show) -> Result<(), Failure> {
    let link = args.access.meet(Need::Read).await?;
    let stream = stream_id(&args.stream, &link)?;
    let stream = link.client.read(&stream).await.map_err(|error| link.failure(&error))?;
    tell(&stream, args.access.json)
}

pub(crate) async fn create(args: &Create) -> Result<(), Failure> {
    let events_requested = events(&args.events)?;
    let link = args.access.meet(Need::Manage).await?;
    let delivery = match args.adopt {
        // Left out, it would stay what it is at a stream that is there already.
        true => Some(args.delivery.request_or_poll(&link)?),
        false => args.delivery.request(&link)?,
    };
    let create = CreateStream {
        delivery,
        events_requested,
        description: args.description.clone(),
        format: args.format.clone(),
        supplied: Supplied { aud: audience(&args.audience), ..Supplied::default() },
    };
    let credential = if args.renew_authorization { PushCredential::Send } else { PushCredential::Compare };
    let created = match args.adopt {
        true => link.client.create_or_adopt(&create, credential).await,
        false => link.client.create(&create).await,
    };
    let created = created.map_err(|error| {
        let failure = link.failure(&error);
        match error {
            ClientError::Refused { status, .. } if status.as_u16() == 409 => failure.fix(
                "there is a stream already, or as many as you may have: see `secevent stream list`, take it over \
                 with --adopt, change it with `secevent stream update`, or delete it",
            ),
            ClientError::Ambiguous { .. } => {
                failure.fix("choose one from `secevent stream list`, and change it with `secevent stream update`")
            }
            ClientError::NotYet => failure.fix("see later with `secevent stream list` whether it is there"),
            _ => failure,
        }
    })?;
    tell(&created, args.access.json)
}

pub(crate) async fn update(args: &Update) -> Result<(), Failure> {
    let events_requested = events(&args.events)?;
    let link = args.access.meet(Need::Manage).await?;
    let mut update = UpdateStream::new(stream_id(&args.stream, &link)?);
    let delivery = with_poll_url(&link, &update.stream_id, args.delivery.request(&link)?).await;
    let delivery = match args.no_authorization {
        true => delivery.map(DeliveryArgs::without_authorization),
        false => delivery,
    };
    update.delivery = delivery.map_or(Change::Keep, Change::Set);
    update.events_requested = events_requested.map_or(Change::Keep, Change::Set);
    update.description = match &args.description {
        Some(text) => Change::Set(text.clone()),
        None if args.no_description => Change::Clear,
        None => Change::Keep,
    };
    if update.is_empty() {
        return Err(Failure::misuse("there is nothing to change")
            .fix("say what with --events, --description, --push or --poll"));
    }
    let answer = link.client.update(&update).await.map_err(|error| {
        let failure = link.failure(&error);
        match error.status().map(|status| status.as_u16()) {
            Some(405 | 501) => failure.fix(
                "the transmitter knows no partial change: `secevent stream replace` sets everything at once, and what \
                 you leave out there is gone",
            ),
            _ => failure,
        }
    })?;
    changed(&link, &update.stream_id, answer, args.access.json).await
}

pub(crate) async fn replace(args: &Replace) -> Result<(), Failure> {
    let events_requested = events(&args.events)?;
    let link = args.access.meet(Need::Manage).await?;
    let stream_id = stream_id(&args.stream, &link)?;
    let delivery = with_poll_url(&link, &stream_id, args.delivery.request(&link)?).await;
    let replace = ReplaceStream {
        stream_id,
        delivery,
        events_requested,
        description: args.description.clone(),
        format: None,
        supplied: Supplied::default(),
    };
    let answer = link.client.replace(&replace).await.map_err(|error| {
        let failure = link.failure(&error);
        match error.status().map(|status| status.as_u16()) {
            Some(405 | 501) => failure.fix(
                "the transmitter does not replace streams: use `secevent stream update`, or delete the stream and \
                 create another",
            ),
            _ => failure,
        }
    })?;
    changed(&link, &replace.stream_id, answer, args.access.json).await
}

pub(crate) async fn delete(args: &Delete) -> Result<(), Failure> {
    args.confirm.ask(&format!("this deletes the stream {} and all that is pending for it", args.stream))?;
    let link = args.access.meet(Need::Manage).await?;
    let stream = stream_id(&args.stream, &link)?;
    link.client.delete(&stream).await.map_err(|error| link.failure(&error))?;
    if args.access.json {
        return print_json(&json!({ "deleted": name(&stream) }));
    }
    print(&format!("stream {} is deleted\n", safe(name(&stream))))
}

/// The delivery that is asked for, with the URL of a stream that is polled already: some transmitters lose it where it
/// is not repeated.
async fn with_poll_url(
    link: &Link,
    stream: &StreamId,
    delivery: Option<DeliveryRequest>,
) -> Option<DeliveryRequest> {
    let request = delivery?;
    if request.method() == Method::Push {
        return Some(request);
    }
    match link.client.read(stream).await {
        Ok(current) if current.delivery.method == Method::Poll => Some((&current.delivery).into()),
        // The change itself shows what is wrong.
        _ => Some(request),
    }
}

/// What older transmitters take as `aud`: some read nothing but an array.
fn audience(names: &[String]) -> Option<Audience> {
    (!names.is_empty()).then(|| Audience::Many(names.to_vec()))
}

/// The stream as it is after a change.
async fn changed(
    link: &Link,
    stream: &StreamId,
    answer: Answer<StreamConfiguration>,
    json: bool,
) -> Result<(), Failure> {
    let configuration = match answer {
        Answer::Done(configuration) => configuration,
        Answer::Pending => {
            note("the transmitter accepted the change, and may carry it out later: this is how it is now");
            link.client.read(stream).await.map_err(|error| link.failure(&error))?
        }
    };
    tell(&configuration, json)
}

/// Such a stream can be verified and is silent otherwise.
fn note_if_empty(stream: &StreamConfiguration) {
    if stream.events_delivered.is_empty() {
        let name = name(&stream.stream_id);
        note(&format!(
            "stream {name} carries no event types, so that no events are sent on it: ask for some with \
             `secevent stream update {name} --events TYPE`"
        ));
    }
}

fn tell(stream: &StreamConfiguration, json: bool) -> Result<(), Failure> {
    note_if_empty(stream);
    if json {
        return print_json(stream);
    }
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        let _ = writeln!(text, "{BOLD}{title:12}{BOLD:#} {}", safe(value));
    };
    line("stream", name(&stream.stream_id));
    line("issuer", stream.iss.as_str());
    let audience = stream.aud.iter().collect::<Vec<_>>().join(", ");
    line("audience", if audience.is_empty() { "not stated" } else { &audience });
    let direction = if stream.delivery.method == Method::Push { "push to" } else { "poll at" };
    line("delivery", &format!("{direction} {}", stream.delivery.endpoint_url));
    let list = |uris: &[String]| uris.iter().map(|uri| short(uri)).collect::<Vec<_>>().join(", ");
    let delivered = list(&stream.events_delivered);
    line("events", if delivered.is_empty() { "none" } else { &delivered });
    let asked = stream.events_requested.iter().flatten();
    let refused: Vec<String> = asked.filter(|uri| !stream.events_delivered.contains(uri)).cloned().collect();
    if !refused.is_empty() {
        line("not sent", &format!("{}, although asked for", list(&refused)));
    }
    if let Some(description) = &stream.description {
        line("description", description);
    }
    if let Some(seconds) = stream.min_verification_interval_seconds {
        line("verification", &format!("at most once in {seconds} s"));
    }
    if let Some(seconds) = stream.inactivity_timeout_seconds {
        line("inactivity", &format!("may end the stream after {seconds} s"));
    }
    print(&text)
}

/// A stream's name; that of a stream without one is how it is given here.
fn name(stream: &StreamId) -> &str {
    if stream.is_implicit() { "-" } else { stream.as_str() }
}

fn method(stream: &StreamConfiguration) -> &'static str {
    match stream.delivery.method {
        Method::Push => "push",
        Method::Poll => "poll",
    }
}
