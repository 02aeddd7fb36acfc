//! The status endpoint (SSF 1.0 section 8.1.2).

use super::answer;
use crate::admin::route::Operation;
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::openapi::{schema, stream_id};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::{Status, UpdateStatus};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn operations() -> [Operation; 2] {
    let status = json!({
        "type": "object",
        "properties": {
            "stream_id": { "type": "string" },
            "status": { "enum": Status::ALL.map(Status::as_str) },
            "reason": { "type": "string", "maxLength": UpdateStatus::REASON_CHARS_MAX },
        },
        "required": ["stream_id", "status"],
    });
    let example = json!({ "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f", "status": "paused" });
    let read = stream_id(Operation::get("readStatus", "The status of a stream"), true);
    let held = Problem::refused("the operator has paused or disabled this stream");
    let often = Problem::too_often(Duration::from_secs(1), "the status of this stream is changed too often");
    [
        read.gives(StatusCode::OK, "Its status", &schema("StreamStatus"), &example)
            .component("StreamStatus", status)
            .refuses(&Problem::bad_request("the query must name a `stream_id`"), "The query names no stream")
            .of_receiver(Scope::Read)
            .of_stream(),
        Operation::post("setStatus", "Set the status of a stream")
            .takes_json(&schema("StreamStatus"), &example)
            .gives(StatusCode::OK, "Its new status", &schema("StreamStatus"), &example)
            .of_receiver(Scope::Manage)
            .of_stream()
            .refuses(&held, "The operator has paused or disabled the stream")
            .refuses(&often, "The status changes too often")
            .changes(),
    ]
}

/// `GET`: the status of a stream.
pub(crate) async fn read(
    State(context): State<Arc<Context>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = context.needed_stream_id(query.as_deref())?;
    let status = context.transmitter.stream_status(context.iss(), &caller.client.id, &id)?;
    caller.may(Scope::Read)?;
    Ok(answer(StatusCode::OK, status.to_json()))
}

/// `POST`: set the status of a stream.
pub(crate) async fn set(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = UpdateStatus::read(&json_body(&headers, &body)?, context.tolerance)?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &request.stream_id)?;
    caller.may(Scope::Manage)?;
    let status = context.transmitter.set_stream_status(context.iss(), &caller.client.id, request).await?;
    Ok(answer(StatusCode::OK, status.to_json()))
}
