//! The poll endpoint of a stream (RFC 8936).

use super::answer;
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
use std::sync::Arc;

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
