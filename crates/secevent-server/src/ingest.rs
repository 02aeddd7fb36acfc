//! Events come in over HTTP: one as JSON, or many as lines of JSON.

use crate::admin::route::Operation;
use crate::authenticate::{Caller, Producer, foreign_issuer};
use crate::clients::Scope;
use crate::context::{Context, is_type};
use crate::openapi::schema;
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_transmitter::{AcceptError, Accepted, Incoming};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Lines of one request at most.
pub(crate) const LINES_MAX: usize = 1_000;
/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 256;

const MEDIA_TYPES: &str = "application/json or application/x-ndjson";

pub(crate) fn operation() -> Operation {
    let subject = json!({ "format": "email", "email": "alice@example.com" });
    let example = json!({ "type": "caep:session-revoked", "subject": subject, "data": { "initiating_entity": "admin" } });
    let key = json!({ "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[ -~]+$" });
    let lines =
        json!({ "type": "string", "description": format!("One event on each line, {LINES_MAX} at most") });
    let id = "pXqKkP8vQ2mR7sT1uVwXyA";
    let accepted = json!({ "event_id": id, "txn": id, "deliveries": 2 });
    let refused = |rule, member: &str, detail: &str| Problem::forbidden_by(rule, member.to_owned(), detail);
    let again = "the request could not be carried out, try again";
    let full = Problem::unavailable_for(Duration::from_secs(30), "the store is full, try again later");
    let often = |what: &str| Problem::too_often(Duration::from_secs(1), what);
    Operation::post("sendEvents", "Send one event, or many as lines of JSON")
        .parameter(
            "header",
            "Idempotency-Key",
            "A name for this request: a repeat with the same body gets the first answer and records nothing",
            &key,
        )
        .takes("application/json", &schema("Event"), &example)
        .takes("application/x-ndjson", &lines, &json!(format!("{example}\n{example}\n")))
        .bounded_body()
        .component("Event", event_schema())
        .component("Subject", subject_schema())
        .component("Accepted", accepted_schema())
        .gives(
            StatusCode::ACCEPTED,
            "All events are durable, each with its deliveries",
            &json!({ "oneOf": [
                schema("Accepted"),
                {
                    "type": "object",
                    "description": "The answer to lines, in their order",
                    "properties": { "events": { "type": "array", "items": schema("Accepted") } },
                    "required": ["events"],
                    "additionalProperties": false,
                },
            ] }),
            &accepted,
        )
        .authorized(Scope::Write)
        .refuses(
            &refused("client.events", "type", "the client may not send events of this type"),
            "The client may not send this type",
        )
        .refuses(
            &refused("client.subjects", "subject", "the client may not send events about this subject"),
            "The client may not send events about this subject",
        )
        .refuses(&foreign_issuer(), "The client may not send events of this issuer")
        .refuses(&Problem::unsupported_media_type(MEDIA_TYPES), "The Content-Type is another one")
        .refuses(&AcceptError::KeyUsedForAnotherEvent.into(), "The key came with another body before")
        .refuses(&often("the client's events come too often"), "The client sends too many events")
        .refuses(
            &often("too many of the client's requests had to be refused"),
            "Too many requests were rejected",
        )
        .refuses(&Problem::unavailable(again), "The store is overloaded, or fails")
        .refuses(&full, "The store or its disk is full")
}

fn event_schema() -> Value {
    let text = json!({ "type": "string", "minLength": 1, "maxLength": 256 });
    json!({
        "type": "object",
        "properties": {
            "type": { "allOf": [text], "description": "The event type: a short name, or its URI" },
            "subject": schema("Subject"),
            "data": { "type": "object", "description": "What the event type defines. Default: {}" },
            "occurred_at": { "type": "number", "description": "When it happened, in seconds since 1970" },
            "txn": { "allOf": [text], "description": "Ties it to other events of the same cause" },
        },
        "required": ["type", "subject"],
        "additionalProperties": false,
    })
}

/// Whom something is about. Its formats are the standards' to define.
pub(crate) fn subject_schema() -> Value {
    json!({
        "type": "object",
        "description": "A subject identifier (RFC 9493, SSF 1.0 section 3)",
        "properties": { "format": { "type": "string" } },
        "required": ["format"],
    })
}

fn accepted_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "event_id": { "type": "string", "description": "The event's own id" },
            "txn": { "type": "string", "description": "The `txn` of all its SETs" },
            "deliveries": { "type": "integer", "minimum": 0, "description": "How many streams get it" },
        },
        "required": ["event_id", "txn", "deliveries"],
        "additionalProperties": false,
    })
}

/// `POST {issuer}/events`: 202 once the event, or all of them, are durable.
pub(crate) async fn ingest(
    State(context): State<Arc<Context>>,
    Producer(caller): Producer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let taken = take(&context, &caller, &headers, &body).await;
    if taken.as_ref().is_err_and(Problem::is_the_callers) {
        caller.count_refused();
    }
    taken
}

async fn take(
    context: &Context,
    caller: &Caller,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let kind = headers.get(CONTENT_TYPE).map_or("application/json", |kind| kind.to_str().unwrap_or_default());
    let many = is_type(kind, "application/x-ndjson");
    if !many && !is_type(kind, "application/json") {
        return Err(Problem::unsupported_media_type(MEDIA_TYPES));
    }
    let (lines, events) =
        if many { lines(context, body)? } else { (Vec::new(), vec![event(context, body)?]) };
    for (place, event) in events.iter().enumerate() {
        let line = lines.get(place).map_or_else(String::new, |line| format!("line {line}"));
        caller.may_send(event, &line)?;
    }
    caller.count_events(events.len())?;
    let key = idempotency_key(headers)?.map(|key| (key, &body[..]));
    let accepted = context.transmitter.accept(context.iss(), &caller.client.id, key, &events).await;
    let accepted = accepted.map_err(|error| match error {
        AcceptError::Invalid { place, breach } if many => Problem::invalid(&at_line(lines[place], breach)),
        other => Problem::from(other),
    })?;
    let told: Vec<Value> = accepted.iter().map(tell).collect();
    let body = match (many, told) {
        (false, told) => told.into_iter().next().unwrap_or_default(),
        (true, told) => json!({ "events": told }),
    };
    Ok(answer(StatusCode::ACCEPTED, body.to_string()))
}

fn event(context: &Context, json: &[u8]) -> Result<Incoming, Invalid> {
    Incoming::read(json, context.transmitter.vocabulary())
}

/// One event a line, with the lines' numbers; empty lines are skipped. An error names the line.
fn lines(context: &Context, body: &[u8]) -> Result<(Vec<usize>, Vec<Incoming>), Problem> {
    let (mut lines, mut events) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if events.len() == LINES_MAX {
            return Err(Problem::bad_request(format!("a request may carry {LINES_MAX} events at most")));
        }
        events.push(event(context, line).map_err(|breach| at_line(number, breach))?);
        lines.push(number);
    }
    if events.is_empty() {
        return Err(Problem::bad_request("the request carries no event"));
    }
    Ok((lines, events))
}

fn at_line(number: usize, breach: Invalid) -> Invalid {
    breach.within(&format!("line {number}"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let printable = |key: &str| key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match value.to_str() {
        _ if values.next().is_some() => {
            Err(Problem::bad_request("Idempotency-Key must not be given more than once"))
        }
        Ok(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) && printable(key) => Ok(Some(key)),
        _ => Err(Problem::bad_request(format!(
            "Idempotency-Key must be 1 to {KEY_BYTES_MAX} printable characters"
        ))),
    }
}

fn tell(accepted: &Accepted) -> Value {
    json!({ "event_id": accepted.event_id, "txn": accepted.txn, "deliveries": accepted.deliveries })
}
