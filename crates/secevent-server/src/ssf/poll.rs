//! The poll endpoint of a stream (RFC 8936).

use super::answer;
use crate::admin::route::Operation;
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::StreamId;
use secevent_ssf::poll::{PollLimits, PollRequest};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn operation() -> Operation {
    let limits = PollLimits::default();
    let error = json!({
        "type": "object",
        "properties": { "err": { "type": "string" }, "description": { "type": "string" } },
        "required": ["err"],
    });
    let request = json!({
        "type": "object",
        "properties": {
            "maxEvents": { "type": "integer", "minimum": 0, "description": "How many SETs at most" },
            "returnImmediately": { "type": "boolean", "default": false, "description": "Do not wait for a SET" },
            "ack": { "type": "array", "items": { "type": "string" }, "maxItems": limits.acks_max },
            "setErrs": { "type": "object", "additionalProperties": error, "maxProperties": limits.set_errs_max },
        },
    });
    let answered = json!({
        "type": "object",
        "properties": {
            "sets": { "type": "object", "additionalProperties": { "type": "string" }, "description": "SETs by `jti`" },
            "moreAvailable": { "type": "boolean" },
        },
        "required": ["sets"],
    });
    let often = Problem::too_often(Duration::from_secs(1), "polls that do not wait come too often");
    Operation::post("poll", "Acknowledge SETs, and get what there is (RFC 8936)")
        .path("stream", "The stream: its `endpoint_url` is this address")
        .takes_json(&request, &json!({ "ack": ["756E69717565206964656E746966696572"], "maxEvents": 10 }))
        .gives(StatusCode::OK, "SETs, or none", &answered, &json!({ "sets": {} }))
        .of_receiver(Scope::Read)
        .of_stream()
        .refuses(&often, "Polls that do not wait come too often")
}

/// `POST {issuer}/poll/{stream}`: acknowledge, and fetch what is there.
pub(crate) async fn poll(
    State(context): State<Arc<Context>>,
    caller: Caller,
    stream: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = PollRequest::read(&json_body(&headers, &body)?, PollLimits::default())?;
    let stream: Option<StreamId> = stream.ok().and_then(|Path(stream)| stream.parse().ok());
    let stream = stream.ok_or_else(|| Problem::not_found("there is no such stream"))?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &stream)?;
    caller.may(Scope::Read)?;
    let sets = context.transmitter.poll(&caller.client.id, &stream, &request).await?;
    Ok(answer(StatusCode::OK, sets))
}
