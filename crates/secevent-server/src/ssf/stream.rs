//! The configuration endpoint: create, read, list, update, replace, delete (SSF 1.0 section 8.1.1).
//!
//! Each handler checks in one order: who calls (401), whether the request can be read (400), whether the
//! stream is there for this caller (404), whether the caller may (403), and then what is asked for.

use super::{answer, done};
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body, stream_id};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_ssf::{CreateStream, ReplaceStream, StreamConfiguration, StreamId, Supplied, UpdateStream};
use secevent_transmitter::Client;
use std::sync::Arc;

/// `POST`: create a stream.
pub(crate) async fn create(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = CreateStream::read(&json_body(&headers, &body)?, context.tolerance)?;
    caller.may(Scope::Manage)?;
    if context.tolerance.legacy {
        return create_or_replace(&context, caller.client, request).await;
    }
    if !request.supplied.is_empty() {
        return Err(Problem::bad_request(
            "a new stream's iss, aud and event lists are the transmitter's to supply",
        ));
    }
    let created = context.transmitter.create_stream(context.iss(), &caller.client, request).await?;
    Ok(answer(StatusCode::CREATED, created.to_json()))
}

/// What `POST` means to old receivers: they have one stream, which is made at first and replaced later (LEGACY-09). Who
/// states `aud` gets it, as far as it is called so (LEGACY-11, E-17).
async fn create_or_replace(
    context: &Context,
    mut client: Client,
    request: CreateStream,
) -> Result<Response, Problem> {
    let CreateStream { delivery, events_requested, description, format, supplied } = request.clone();
    let supplied = Supplied { stream_id: None, ..supplied };
    let stream_id = StreamId::IMPLICIT;
    let replacing = ReplaceStream { stream_id, delivery, events_requested, description, format, supplied };
    if context.transmitter.require_stream(context.iss(), &client.id, &StreamId::IMPLICIT).is_err() {
        let Supplied { iss, aud, .. } = request.supplied;
        if iss.as_deref().is_some_and(|iss| iss != context.iss()) {
            return Err(Invalid::new("iss", "LEGACY-11", "is not the issuer that this is").into());
        }
        if let Some(asked) = aud {
            if !asked.iter().all(|one| client.audience.contains(one)) {
                return Err(Invalid::new("aud", "E-17", "has a name that the client does not have").into());
            }
            client.audience = asked;
        }
        let request = CreateStream { supplied: Supplied::default(), ..request };
        let created = context.transmitter.create_first_stream(context.iss(), &client, request).await?;
        if let Some(created) = created {
            return Ok(answer(StatusCode::CREATED, created.to_json()));
        }
    }
    let replaced = context.transmitter.replace_stream(context.iss(), &client.id, replacing).await?;
    Ok(answer(StatusCode::OK, replaced.to_json()))
}

/// `GET`: one stream, or all of the caller's.
pub(crate) async fn read(
    State(context): State<Arc<Context>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let json = match stream_id(query.as_deref())? {
        Some(id) => {
            let found = context.transmitter.read_stream(context.iss(), &caller.client.id, &id)?;
            caller.may(Scope::Read)?;
            found.to_json()
        }
        None => {
            caller.may(Scope::Read)?;
            let implicit = StreamId::IMPLICIT;
            let only = context.transmitter.read_stream(context.iss(), &caller.client.id, &implicit);
            if let (true, Ok(only)) = (context.tolerance.legacy, only) {
                return Ok(answer(StatusCode::OK, only.to_json()));
            }
            let all = context.transmitter.list_streams(context.iss(), &caller.client.id);
            StreamConfiguration::list_to_json(&all)
        }
    };
    Ok(answer(StatusCode::OK, json))
}

/// `PATCH`: change what the request names.
pub(crate) async fn update(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = UpdateStream::read(&json_body(&headers, &body)?, context.tolerance)?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &request.stream_id)?;
    caller.may(Scope::Manage)?;
    let updated = context.transmitter.update_stream(context.iss(), &caller.client.id, request).await?;
    Ok(answer(StatusCode::OK, updated.to_json()))
}

/// `PUT`: replace what the receiver supplies.
pub(crate) async fn replace(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = ReplaceStream::read(&json_body(&headers, &body)?, context.tolerance)?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &request.stream_id)?;
    caller.may(Scope::Manage)?;
    let replaced = context.transmitter.replace_stream(context.iss(), &caller.client.id, request).await?;
    Ok(answer(StatusCode::OK, replaced.to_json()))
}

/// `DELETE`: end a stream.
pub(crate) async fn delete(
    State(context): State<Arc<Context>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = context.needed_stream_id(query.as_deref())?;
    context.transmitter.require_stream(context.iss(), &caller.client.id, &id)?;
    caller.may(Scope::Manage)?;
    context.transmitter.delete_stream(context.iss(), &caller.client.id, &id).await?;
    Ok(done(StatusCode::NO_CONTENT))
}
