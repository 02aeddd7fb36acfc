//! `secevent emit`: tell a transmitter that something happened.

use crate::link::{ACCESS, Access, EXIT_CODES, Need};
use crate::network::on_loop;
use crate::output::{Failure, note, parse_time, print, print_json, safe};
use crate::set::near_types;
use crate::set::subject::parse;
use bytes::Bytes;
use clap::Args;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use secevent::json::problem;
use secevent::{Subject, Timestamp, Vocabulary};
use secevent_receiver::ClientError;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Tell a transmitter that something happened.
///
/// The event is durable, with a delivery for every stream that wants it, when this command ends with 0.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent emit caep:session-revoked --subject alice@example.com
  secevent emit caep:device-compliance-change --subject opaque:laptop-7 \\
    --data '{{\"previous_status\":\"compliant\",\"current_status\":\"not-compliant\"}}'

JSON: {{event_id, deliveries}}.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Emit {
    /// The event type: a short name such as caep:session-revoked, or its URI
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Whom it is about: an e-mail address, a subject identifier as JSON, or FORMAT:VALUE,VALUE…
    #[arg(long, value_name = "SUBJECT", value_parser = parse)]
    subject: Subject,
    /// The event's data as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// When it happened: as in 2026-01-31T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    occurred_at: Option<Timestamp>,
    /// What ties it to other events of the same cause
    #[arg(long)]
    txn: Option<String>,
    /// A name for this event: repeating the command with it records nothing twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// Sends the event, and tells what the server said.
pub(crate) fn run(args: &Emit) -> ExitCode {
    on_loop(args.access.json, emit(args))
}

async fn emit(args: &Emit) -> Result<(), Failure> {
    let event = event(args)?;
    let link = args.access.meet(Need::Emit).await?;
    let mut request = Request::post(format!("{}/events", link.issuer().as_str().trim_end_matches('/')))
        .header(CONTENT_TYPE, "application/json");
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let request = request
        .body(Bytes::from(event.to_string()))
        .map_err(|_| Failure::misuse("--idempotency-key cannot go into a header"))?;
    let answered = link.client.send(request).await.map_err(|error| link.failure(&error))?;
    if answered.status() != StatusCode::ACCEPTED {
        let failure = link.failure(&ClientError::refused(&answered));
        // The server knows event types that we do not, so a name is judged only after it was refused.
        let near = if Vocabulary::standard().find(&args.kind).is_none() {
            near_types(&args.kind)
        } else {
            Vec::new()
        };
        return Err(match &near[..] {
            [] => failure,
            near => failure.fix(format!("did you mean {}? `secevent types` lists all", near.join(" or "))),
        });
    }
    let answer: Value = serde_json::from_slice(answered.body())
        .map_err(|error| Failure::failed(format!("the answer is not JSON: {}", problem(&error))))?;
    if args.access.json {
        return print_json(&answer);
    }
    let streams = answer["deliveries"].as_u64().unwrap_or_default();
    let plural = if streams == 1 { "stream" } else { "streams" };
    let event_id = safe(answer["event_id"].as_str().unwrap_or("?"));
    print(&format!("recorded as {event_id}, for {streams} {plural}\n"))?;
    if streams == 0 {
        note(&format!("no stream carries this event; to see why: secevent explain --event {event_id}"));
    }
    Ok(())
}

fn event(args: &Emit) -> Result<Value, Failure> {
    let data: Value = serde_json::from_str(&args.data)
        .map_err(|error| Failure::misuse(format!("--data is not JSON: {}", problem(&error))))?;
    if !data.is_object() {
        return Err(Failure::misuse("--data must be a JSON object"));
    }
    let mut event = json!({ "type": args.kind, "subject": args.subject, "data": data });
    if let Some(at) = args.occurred_at {
        event["occurred_at"] = json!(at);
    }
    if let Some(txn) = &args.txn {
        event["txn"] = txn.as_str().into();
    }
    Ok(event)
}
