//! The subject endpoints (SSF 1.0 sections 8.1.3.2 and 8.1.3.3).
//!
//! What they answer tells nothing about a subject: it is the same whether or not anything is known of it.

use super::done;
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent_ssf::{AddSubject, RemoveSubject};
use std::sync::Arc;

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
