//! Where an event goes and why, before it is sent and after.

use super::audit::NothingChanged;
use super::request::{Members, Query, RULE};
use super::route::{Operation, Route, optional_text};
use super::{Admin, answer, time};
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_store::{Attempt, Cause};
use secevent_transmitter::{DeliveryState, Explained, Incoming, Stories, Story, Told, TransmitterError};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let read = Operation::get("readEvent", "What became of an event, and which streams do not get it")
        .path("event", "The event's identifier, its `txn`, or the `jti` of one of its SETs")
        .answers::<StoriesTold>(
            StatusCode::OK,
            "What became of it; of several with the same `txn`, of the newest, with the others beside it",
        )
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong")
        .problem(StatusCode::NOT_FOUND, "There is no such event, or it is not kept any more");
    let event = json!({
        "type": "object",
        "description": "As it would be sent to the ingest endpoint",
        "properties": { "type": { "type": "string" }, "subject": super::route::subject() },
        "required": ["type", "subject"],
        "example": {
            "type": "caep:session-revoked",
            "subject": { "format": "email", "email": "alice@example.com" },
        },
    });
    let explain =
        Operation::post("explain", "To which streams an event would go, and by which rule; nothing is sent")
            .body(&["event"], &json!({ "issuer": optional_text(), "event": event }))
            .answers::<Explanation>(StatusCode::OK, "Each stream, with the rule")
            .problem(StatusCode::NOT_FOUND, "There is no such issuer");
    vec![
        Route::new("/admin/v1/events/{event}", get(self::read), [read]),
        Route::new("/admin/v1/explain", post(self::explain), [explain]),
    ]
}

/// Where an event would go.
#[derive(Serialize, ToSchema)]
struct Explanation {
    /// Whose event it is.
    issuer: String,
    /// Its type's URI.
    event_type: String,
    streams: Vec<RuleTold>,
}

/// What becomes of an event at one stream.
#[derive(Serialize, ToSchema)]
struct RuleTold {
    stream_id: String,
    /// The client that the stream belongs to.
    client: String,
    /// Whether the stream is owed it.
    goes: bool,
    /// By which rule: a short name.
    rule: String,
    /// What the rule means.
    reason: String,
}

/// What became of the events that were named.
#[derive(Serialize, ToSchema)]
struct StoriesTold {
    event_id: String,
    txn: String,
    /// Its type's URI. Null if what it said was erased.
    event_type: Option<String>,
    /// Whose event it is. Null if that is not known any more.
    issuer: Option<String>,
    #[schema(format = DateTime)]
    accepted_at: String,
    deliveries: Vec<DeliveryTold>,
    /// The streams that do not get it, and by which rule they would not get it today.
    elsewhere: Vec<RuleTold>,
    /// How many events have this `txn`, this one included; 1 if one event was named.
    count: usize,
    /// The other events with this `txn`, newest first, at most 19.
    others: Vec<StoryTold>,
}

/// What became of an event.
#[derive(Serialize, ToSchema)]
struct StoryTold {
    event_id: String,
    txn: String,
    /// Its type's URI. Null if what it said was erased.
    event_type: Option<String>,
    /// Whose event it is. Null if that is not known any more.
    issuer: Option<String>,
    #[schema(format = DateTime)]
    accepted_at: String,
    deliveries: Vec<DeliveryTold>,
    /// The streams that do not get it, and by which rule they would not get it today.
    elsewhere: Vec<RuleTold>,
}

/// What became of one delivery.
#[derive(Serialize, ToSchema)]
struct DeliveryTold {
    /// Null if the stream is gone.
    stream_id: Option<String>,
    jti: String,
    /// `pending`, `delivered`, `rejected`, `abandoned` or `dropped`; `settled` if it ended while an older release was at
    /// work, which did not keep how.
    state: String,
    /// How often it was attempted, as far as that is known. For a polled stream: how often it was offered.
    attempts: Option<u32>,
    /// The last of the attempts, oldest first, at most 8. Offers to a poller are not listed.
    last_attempts: Vec<AttemptTold>,
    /// Pending: not to be attempted before this.
    #[schema(format = DateTime)]
    due_at: Option<String>,
    /// Whether an operator asked for it again.
    again: bool,
    /// Pending: what it waits for. `turn` (nothing: it is next), `answer` (it is being sent), `poll` (the receiver has not
    /// polled), `ack` (handed out and not acknowledged), `retry` (the next attempt), `subject` (an earlier event about the
    /// same subject), `backlog` (earlier events of the stream), `window` (attempts under way), `suspended` (the receiver
    /// fails), `paused`, `client` (the client is disabled) or `drop` (the stream is disabled or deleted).
    waits: Option<&'static str>,
    /// Delivered: since when.
    #[schema(format = DateTime)]
    acked_at: Option<String>,
    /// Dropped: why. `stream_disabled`, `stream_deleted`, `stream_paused` (before a verification was sent), `backlog_full`,
    /// `superseded` (a newer status or verification of the stream replaces it) or `erased`.
    dropped: Option<&'static str>,
    /// Dropped: when.
    #[schema(format = DateTime)]
    dropped_at: Option<String>,
    /// Whether it is a dead letter. One that was rejected or abandoned is none any more when it was discarded or is old.
    dead: bool,
    /// Dead: what the receiver said, or why it was given up. Dropped or pending: what that means.
    reason: Option<String>,
    /// Rejected or abandoned: when.
    #[schema(format = DateTime)]
    died_at: Option<String>,
}

/// An attempt to deliver a SET.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptTold {
    /// When it ended.
    #[schema(format = DateTime)]
    at: String,
    /// `accepted`, `rejected`, or what the trouble was: `unreachable`, `tls`, `busy`, `credentials`, `trust`, `gone`,
    /// `unexpected` or `guard`.
    result: &'static str,
    /// The HTTP status of the receiver's answer to a push.
    status: Option<u16>,
    /// How long a push took until it was answered or had failed, at most 65 534.
    elapsed_ms: Option<u64>,
}

/// `GET /admin/v1/events/{event}`
async fn read(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let missing = || Problem::not_found("there is no such event, or it is not kept any more");
    let Path(name) = path.map_err(|_| missing())?;
    let found = admin.transmitter.stories(&name).await.map_err(|error| Problem::ours(&error))?;
    let Stories { count, stories } = found.ok_or_else(missing)?;
    let mut stories = stories.into_iter().map(tell_story);
    let StoryTold { event_id, txn, event_type, issuer, accepted_at, deliveries, elsewhere } =
        stories.next().ok_or_else(missing)?;
    let others = stories.collect();
    let told =
        StoriesTold { event_id, txn, event_type, issuer, accepted_at, deliveries, elsewhere, count, others };
    Ok(answer(StatusCode::OK, serde_json::to_vec(&told).expect("a story is text and numbers")))
}

/// `POST /admin/v1/explain`
async fn explain(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["issuer", "event"])?;
    let issuer = match members.text("issuer")? {
        Some(issuer) => issuer,
        None => {
            let mut issuers = admin.transmitter.issuers();
            let only = issuers.next().filter(|_| issuers.next().is_none());
            let needed = || Invalid::new("issuer", RULE, "is needed, because there are several");
            only.ok_or_else(needed)?.url.to_string()
        }
    };
    let event =
        members.value("event").ok_or_else(|| Invalid::new("event", RULE, "is required and missing"))?;
    let event = Incoming::read(event.to_string().as_bytes(), admin.transmitter.vocabulary());
    let event = event.map_err(|breach| breach.within("event"))?;
    let explained = admin.transmitter.explain(&issuer, &event).await.map_err(|error| match error {
        TransmitterError::UnknownIssuer(_) => Problem::not_found("there is no such issuer"),
        error => Problem::ours(&error),
    })?;
    let streams = explained.iter().map(tell_rule).collect();
    let told = Explanation { issuer, event_type: event.event_type().to_owned(), streams };
    let told = serde_json::to_vec(&told).expect("an explanation is text");
    Ok(NothingChanged::tell(answer(StatusCode::OK, told)))
}

fn tell_rule(explained: &Explained) -> RuleTold {
    RuleTold {
        stream_id: explained.stream.to_string(),
        client: explained.client.clone(),
        goes: explained.rule.goes(),
        rule: explained.rule.name().to_owned(),
        reason: explained.rule.meaning().to_owned(),
    }
}

fn tell_story(story: Story) -> StoryTold {
    StoryTold {
        event_id: story.event_id,
        txn: story.txn,
        event_type: story.event_type,
        issuer: story.issuer,
        accepted_at: time::told(story.accepted_at),
        deliveries: story.deliveries.into_iter().map(tell_delivery).collect(),
        elsewhere: story.elsewhere.iter().map(tell_rule).collect(),
    }
}

fn tell_delivery(told: Told) -> DeliveryTold {
    let nothing = DeliveryTold {
        stream_id: told.stream.map(|stream| stream.to_string()),
        jti: told.jti,
        state: "settled".to_owned(),
        attempts: told.attempts,
        last_attempts: told.last_attempts.iter().map(tell_attempt).collect(),
        due_at: None,
        again: false,
        waits: None,
        acked_at: None,
        dropped: None,
        dropped_at: None,
        dead: false,
        reason: None,
        died_at: None,
    };
    match told.state {
        DeliveryState::Settled => nothing,
        DeliveryState::Pending { due_at, again, waits } => DeliveryTold {
            state: "pending".to_owned(),
            due_at: Some(time::told(due_at)),
            again,
            waits: Some(waits.name()),
            reason: Some(waits.meaning()),
            ..nothing
        },
        DeliveryState::Delivered { at } => {
            DeliveryTold { state: "delivered".to_owned(), acked_at: Some(time::told(at)), ..nothing }
        }
        DeliveryState::Dropped { reason, at } => DeliveryTold {
            state: "dropped".to_owned(),
            dropped: Some(reason.name()),
            dropped_at: Some(time::told(at)),
            reason: Some(reason.meaning().to_owned()),
            ..nothing
        },
        DeliveryState::Dead { cause, reason, at } => DeliveryTold {
            state: name_of(cause),
            dead: true,
            reason: Some(reason),
            died_at: Some(time::told(at)),
            ..nothing
        },
        DeliveryState::Forgotten { cause, at } => {
            DeliveryTold { state: name_of(cause), died_at: Some(time::told(at)), ..nothing }
        }
    }
}

fn name_of(cause: Cause) -> String {
    match cause {
        Cause::Rejected => "rejected".to_owned(),
        Cause::Abandoned => "abandoned".to_owned(),
    }
}

pub(super) fn tell_attempt(attempt: &Attempt) -> AttemptTold {
    AttemptTold {
        at: time::told(attempt.at),
        result: attempt.result.name(),
        status: attempt.status,
        elapsed_ms: attempt.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    }
}
