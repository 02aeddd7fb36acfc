//! Events come in over HTTP: one as JSON, or many as lines of JSON.

use crate::authenticate::{Caller, Producer};
use crate::context::{Context, is_type};
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

/// Lines of one request at most.
pub(crate) const LINES_MAX: usize = 1_000;
/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 256;

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
        return Err(Problem::unsupported_media_type("application/json or application/x-ndjson"));
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
