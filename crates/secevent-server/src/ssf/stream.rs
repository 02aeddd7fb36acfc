//! The configuration endpoint: create, read, list, update, replace, delete (SSF 1.0 section 8.1.1).
//!
//! Each handler checks in one order: who calls (401), whether the request can be read (400), whether the
//! stream is there for this caller (404), whether the caller may (403), and then what is asked for.

use super::{answer, done};
use crate::admin::route::{Operation, text};
use crate::authenticate::Caller;
use crate::clients::Scope;
use crate::context::{Context, json_body, stream_id};
use crate::openapi::{schema, stream_id as stream_query};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_ssf::{
    CreateStream, EVENT_CHARS_MAX, EVENTS_MAX, Method, ReplaceStream, StreamConfiguration, StreamId,
    Supplied, UpdateStream,
};
use secevent_transmitter::Client;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) fn operations() -> [Operation; 5] {
    let id = "f67e39a0a4d34d56b3aa1bc4cff0069f";
    let event = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    let wanted = json!({ "delivery": { "method": Method::Poll.urn() }, "events_requested": [event] });
    let shown = json!({
        "stream_id": id,
        "iss": "https://events.example.com",
        "aud": "https://billing.example.com",
        "delivery": { "method": Method::Poll.urn(), "endpoint_url": format!("https://events.example.com/poll/{id}") },
        "events_delivered": [event],
    });
    let change = json!({ "stream_id": id, "description": "the web shop" });
    let one = schema("StreamConfiguration");
    let one_or_all = json!({ "oneOf": [one, { "type": "array", "items": one }] });
    let nothing_named = Problem::bad_request("the query must name a `stream_id`");
    let too_many = Problem::conflict("the client has as many streams as it may have");
    let declared = Problem::refused("the stream is managed by the server's configuration file");
    let changing = |operation: Operation| {
        operation
            .of_receiver(Scope::Manage)
            .of_stream()
            .refuses(&declared, "The operator manages this stream")
            .changes()
    };
    let read = Operation::get("readStreams", "One stream, or all of the client");
    [
        stream_query(read, false)
            .component("StreamConfiguration", configuration_schema())
            .component("Delivery", delivery_schema())
            .gives(StatusCode::OK, "The stream that is named, or all", &one_or_all, &json!([shown]))
            .refuses(&Problem::bad_request("`stream_id` must not be empty"), "The query is malformed")
            .of_receiver(Scope::Read)
            .of_stream(),
        Operation::post("createStream", "Create a stream")
            .takes_json(&requested_schema(&[]), &wanted)
            .gives(StatusCode::CREATED, "The new stream", &one, &shown)
            .of_receiver(Scope::Manage)
            .refuses(&too_many, "The client has as many streams as it may have")
            .changes(),
        changing(
            Operation::new(http::Method::PATCH, "updateStream", "Change what the request names")
                .takes_json(&requested_schema(&["stream_id"]), &change)
                .gives(StatusCode::OK, "The stream", &one, &shown),
        ),
        changing(
            Operation::new(http::Method::PUT, "replaceStream", "Replace what the receiver supplies")
                .takes_json(&requested_schema(&["stream_id"]), &change)
                .gives(StatusCode::OK, "The stream", &one, &shown),
        ),
        changing(
            stream_query(Operation::new(http::Method::DELETE, "deleteStream", "Delete a stream"), true)
                .answers_nothing(StatusCode::NO_CONTENT, "It is gone")
                .refuses(&nothing_named, "The query names no stream"),
        ),
    ]
}

/// What a receiver says of a stream.
fn requested_members() -> Map<String, Value> {
    let events = json!({
        "type": ["array", "null"],
        "items": { "type": "string", "maxLength": EVENT_CHARS_MAX },
        "maxItems": EVENTS_MAX,
    });
    Map::from_iter([
        ("delivery".to_owned(), schema("Delivery")),
        ("events_requested".to_owned(), events),
        ("description".to_owned(), json!({ "type": ["string", "null"] })),
    ])
}

fn requested_schema(required: &[&str]) -> Value {
    let mut members = requested_members();
    if !required.is_empty() {
        members.insert("stream_id".to_owned(), text());
    }
    json!({ "type": "object", "properties": members, "required": required })
}

fn configuration_schema() -> Value {
    let names = json!({ "type": "array", "items": text() });
    let seconds = json!({ "type": "integer", "minimum": 0 });
    let mut members = requested_members();
    members.extend([
        ("stream_id".to_owned(), text()),
        ("iss".to_owned(), text()),
        ("aud".to_owned(), json!({ "oneOf": [text(), names] })),
        ("events_supported".to_owned(), names.clone()),
        ("events_delivered".to_owned(), names),
        ("min_verification_interval".to_owned(), seconds.clone()),
        ("inactivity_timeout".to_owned(), seconds),
    ]);
    json!({
        "type": "object",
        "description": "The configuration of a stream (SSF 1.0 section 8.1.1)",
        "properties": members,
        "required": ["stream_id", "iss", "aud", "delivery", "events_delivered"],
    })
}

fn delivery_schema() -> Value {
    json!({
        "type": ["object", "null"],
        "description": "How SETs reach the receiver (SSF 1.0 section 6.1). `endpoint_url` is the receiver's for push, \
                        and the transmitter's for poll. `authorization_header` is never shown.",
        "properties": {
            "method": { "enum": [Method::Push.urn(), Method::Poll.urn()] },
            "endpoint_url": { "type": "string", "format": "uri" },
            "authorization_header": { "type": ["string", "null"], "writeOnly": true },
        },
        "required": ["method"],
    })
}

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
