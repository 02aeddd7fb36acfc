//! The subject endpoints (SSF 1.0 sections 8.1.3.2 and 8.1.3.3).
//!
//! What they answer tells nothing about a subject: it is the same whether or not anything is known of it.

use super::done;
use crate::admin::route::{Operation, text};
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::ingest::subject_schema;
use crate::openapi::schema;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::{AddSubject, RemoveSubject};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn add_operation() -> Operation {
    let verified = json!({ "type": "boolean", "default": true });
    let too_many = Problem::refused("the stream has as many subjects as it may have");
    operation("addSubject", "Add a subject to a stream", Some(verified))
        .answers_nothing(StatusCode::OK, "Added, as far as anybody is told")
        .refuses(&too_many, "The stream has as many subjects as it may have")
}

pub(crate) fn remove_operation() -> Operation {
    operation("removeSubject", "Remove a subject from a stream", None)
        .answers_nothing(StatusCode::NO_CONTENT, "Removed, as far as anybody is told")
}

fn operation(id: &'static str, summary: &'static str, verified: Option<Value>) -> Operation {
    let mut request = json!({
        "type": "object",
        "properties": { "stream_id": text(), "subject": schema("Subject") },
        "required": ["stream_id", "subject"],
    });
    if let Some(verified) = verified {
        request["properties"]["verified"] = verified;
    }
    let example = json!({
        "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f",
        "subject": { "format": "email", "email": "alice@example.com" },
    });
    Operation::post(id, summary)
        .takes_json(&request, &example)
        .component("Subject", subject_schema())
        .of_receiver(Scope::Manage)
        .of_stream()
        .changes()
}

/// `POST {issuer}/ssf/subjects:add`: an event that is accepted after the answer sees it (SEM-14).
pub(crate) async fn add(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = AddSubject::read(&json_body(&headers, &body)?, context.tolerance)?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &request.stream_id)?;
    caller.may(Scope::Manage)?;
    context.transmitter.add_subject(context.iss(), &caller.client.id, request).await?;
    Ok(done(StatusCode::OK))
}

/// `POST {issuer}/ssf/subjects:remove`: the same.
pub(crate) async fn remove(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = RemoveSubject::read(&json_body(&headers, &body)?, context.tolerance)?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &request.stream_id)?;
    caller.may(Scope::Manage)?;
    context.transmitter.remove_subject(context.iss(), &caller.client.id, request).await?;
    Ok(done(StatusCode::NO_CONTENT))
}
