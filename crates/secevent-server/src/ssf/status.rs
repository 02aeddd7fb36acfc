//! The status endpoint (SSF 1.0 section 8.1.2).

use super::answer;
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::UpdateStatus;
use std::sync::Arc;

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
