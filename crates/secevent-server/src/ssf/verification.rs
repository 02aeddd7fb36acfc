//! The verification endpoint (SSF 1.0 section 8.1.4.2).

use super::done;
use crate::admin::route::{Operation, text};
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::VerificationRequest;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn operation() -> Operation {
    let request = json!({
        "type": "object",
        "properties": {
            "stream_id": text(),
            "state": {
                "type": "string",
                "maxLength": VerificationRequest::STATE_CHARS_MAX,
                "description": "What the event carries back",
            },
        },
        "required": ["stream_id"],
    });
    let example = json!({ "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f", "state": "VGhpcyBpcyBhbiBleGFtcGxlIHN0YXRl" });
    let often = Problem::too_often(Duration::from_secs(60), "this stream is verified too often");
    Operation::post("verifyStream", "Have a verification event sent")
        .takes_json(&request, &example)
        .answers_nothing(StatusCode::NO_CONTENT, "It is recorded")
        .of_receiver(Scope::Manage)
        .of_stream()
        .refuses(&often, "It was asked for within `min_verification_interval`")
        .changes()
}

/// `POST`: send a verification event. It is recorded before this answers, and sent ahead of the backlog.
pub(crate) async fn verify(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = VerificationRequest::read(&json_body(&headers, &body)?, context.tolerance)?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &request.stream_id)?;
    caller.may(Scope::Manage)?;
    context.transmitter.verify_stream(context.iss(), &caller.client.id, request).await?;
    Ok(done(StatusCode::NO_CONTENT))
}
