//! The verification endpoint (SSF 1.0 section 8.1.4.2).

use super::done;
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::VerificationRequest;
use std::sync::Arc;

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
