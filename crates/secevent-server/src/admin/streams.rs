//! Streams as operators see them: how it goes, and whether it goes at all.

use super::audit::ActorTold;
use super::request::{Members, OfStream, Query, RULE, if_match, no_such_stream, with_etag};
use super::route::{Operation, Route};
use super::{Admin, answer, time};
use crate::problem::Problem;
use crate::ssf::done;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use secevent::Invalid;
use secevent_ssf::{DefaultSubjects, Status, StreamId, UpdateStatus};
use secevent_store::Backlog;
use secevent_transmitter::{
    LastChange, ManageError, Overflow, StreamDetails, StreamFigures, Suspension, TroubleKind,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let backlog = json!({ "type": "boolean", "default": false });
    let list = Operation::get("listStreams", "Streams, in the order in which they were made")
        .query("backlog", "With what the store knows of each", &backlog)
        .paged()
        .answers::<StreamList>(StatusCode::OK, "A page of them");
    let read = Operation::get("readStream", "One stream: what it is, its state, and what is pending")
        .stream()
        .answers::<StreamTold>(StatusCode::OK, "The stream")
        .with_etag()
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    let delete = Operation::new(
        Method::DELETE,
        "deleteStream",
        "Delete a stream. What is pending for it is dropped, and its receiver is not told",
    )
    .stream()
    .if_match()
    .answers_nothing(StatusCode::NO_CONTENT, "It is deleted")
    .problem(StatusCode::CONFLICT, "Configuration declares the stream");
    let retry = Operation::post(
        "retryStream",
        "Attempt now what waits for its next attempt: one delivery of a suspended stream, all delayed ones of another",
    )
    .stream()
    .answers::<RetryTold>(StatusCode::OK, "What was waiting, and is attempted now")
    .problem(StatusCode::CONFLICT, "Nothing is sent: the stream is polled or not enabled, or its client is disabled");
    let reason = json!({ "type": ["string", "null"], "maxLength": UpdateStatus::REASON_CHARS_MAX });
    let status = json!({ "type": "string", "enum": ["enabled", "paused", "disabled"] });
    let set_status = Operation::new(
        Method::PUT,
        "setStreamStatus",
        "Pause, disable or enable a stream. Its receiver is told",
    )
    .stream()
    .if_match()
    .body(&["status"], &json!({ "status": status, "reason": reason }))
    .answers::<StreamTold>(StatusCode::OK, "The stream, as it is now")
    .with_etag();
    vec![
        Route::new("/admin/v1/streams", get(self::list), [list]),
        Route::new("/admin/v1/streams/{stream}", get(self::read).delete(self::delete), [read, delete]),
        Route::new("/admin/v1/streams/{stream}/status", put(self::set_status), [set_status]),
        Route::new("/admin/v1/streams/{stream}/retry", post(self::retry), [retry]),
    ]
}

/// A page of streams.
#[derive(Serialize, ToSchema)]
struct StreamList {
    streams: Vec<StreamTold>,
    /// Where the next page begins, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How a stream goes.
#[derive(Serialize, ToSchema)]
struct StreamTold {
    stream_id: String,
    /// The name by which configuration declares it, or did.
    name: Option<String>,
    client: String,
    issuer: String,
    /// `push` or `poll`.
    method: &'static str,
    /// Where it is pushed to, or polled. What is behind a question mark is hidden.
    endpoint_url: String,
    /// How many event types it carries: with none of them it sends nothing but verification and status events.
    event_types: usize,
    /// `enabled`, `paused` or `disabled`.
    status: &'static str,
    reason: Option<String>,
    /// Whether the receiver cannot change the status: see `held_by`.
    held: bool,
    /// What holds the status: `operator`, who set it and alone ends it, or `configuration`, which declared the stream and
    /// does so no more.
    held_by: Option<&'static str>,
    /// Whether its client is switched off, so that nothing is sent to it.
    client_disabled: bool,
    /// If it is polled: how long a SET that was handed out is hidden, unless it is acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_visibility_seconds: Option<u64>,
    /// If it is polled: what one answer may hold about one subject. `per-subject` (one SET) or `batched`.
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_order: Option<&'static str>,
    suspended: Option<SuspensionTold>,
    /// Deliveries that failed while others of the stream are delivered, each waiting alone for its next attempt.
    delayed: usize,
    /// Deliveries that are not settled.
    pending: u64,
    /// Pushes that are on their way.
    in_flight: usize,
    /// How many may be.
    window: usize,
    /// SETs that the receiver has, since the process started.
    delivered: u64,
    retries: u64,
    again: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<BacklogTold>,
    /// What the stream is. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<DetailsTold>,
}

/// What a stream is.
#[derive(Serialize, ToSchema)]
struct DetailsTold {
    /// The name of its receiver in the `aud` of SETs: a string, or an array of them.
    audience: Value,
    /// Whether configuration declares it now: then configuration alone changes and deletes it.
    declared: bool,
    /// Whether pushes carry an `Authorization` header, which is never shown.
    has_credential: bool,
    /// The event types that its receiver asked for. Null if it carries all that its client may have.
    events_requested: Option<Vec<String>>,
    /// The event types that it carries.
    events_delivered: Vec<String>,
    /// The event types that it may carry.
    events_supported: Vec<String>,
    description: Option<String>,
    /// The subject format that a receiver of SSE ID1 asked for.
    format: Option<String>,
    /// `all` or `none`: the subjects that it is about unless its receiver says otherwise.
    default_subjects: &'static str,
    /// How many subjects its receiver added or removed.
    subjects: u64,
    #[schema(format = DateTime)]
    created_at: String,
    /// The last change of it, as far as the log of changes goes back.
    updated: Option<LastChangeTold>,
    /// Who set its status. Null if nobody did, as far as the log of changes goes back.
    status_set: Option<LastChangeTold>,
    limits: LimitsTold,
    retention: RetentionTold,
}

/// When something was changed last, and by whom.
#[derive(Serialize, ToSchema)]
struct LastChangeTold {
    #[schema(format = DateTime)]
    at: String,
    actor: ActorTold,
}

/// How much may be pending for a stream.
#[derive(Serialize, ToSchema)]
struct LimitsTold {
    deliveries: u64,
    bytes: u64,
    /// What happens there: `pause` or `drop`.
    overflow: &'static str,
}

/// How long things are kept.
#[derive(Serialize, ToSchema)]
struct RetentionTold {
    /// After so long a SET that is not delivered becomes a dead letter.
    age_max_seconds: u64,
    dead_kept_seconds: u64,
    /// How far back events can be replayed.
    history_seconds: u64,
}

/// What was waiting for its next attempt, and is attempted now.
#[derive(Serialize, ToSchema)]
struct RetryTold {
    stream_id: String,
    /// Whether the stream was suspended: then one delivery is attempted now, and the others follow if it is accepted.
    was_suspended: bool,
    /// If so: how often in a row nothing could be delivered.
    failures: u32,
    /// Deliveries that waited alone for their next attempt and are due now.
    delayed: usize,
    /// Attempts that were under way already.
    in_flight: usize,
    /// Deliveries that are pending. If there are none, nothing is attempted.
    pending: u64,
}

/// A receiver's trouble.
#[derive(Serialize, ToSchema)]
struct SuspensionTold {
    /// Of which kind.
    trouble: &'static str,
    /// What the last failure was: the receiver's answer, or an error of the network.
    reason: String,
    /// How often in a row nothing could be delivered.
    failures: u32,
    #[schema(format = DateTime)]
    since: String,
    /// When it is tried again.
    #[schema(format = DateTime)]
    until: String,
}

/// What the store knows of a stream.
#[derive(Serialize, ToSchema)]
struct BacklogTold {
    pending: u64,
    bytes: u64,
    #[schema(format = DateTime)]
    oldest: Option<String>,
    rejected: u64,
    abandoned: u64,
    dropped: u64,
    dead: u64,
}

/// `GET /admin/v1/streams`: some, behind the one named by `after`, in the order in which they were made. What the
/// store knows of them is read only where `backlog` asks for it.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["after", "limit", "backlog"])?;
    let (limit, with_backlog) = (query.limit()?, query.flag("backlog")?);
    let after = match query.text("after") {
        None => None,
        Some(text) => {
            // Without the place where it was, the page would begin anew, and the reader go round for ever.
            let gone = || Invalid::new("after", RULE, "names no stream any more: begin without it");
            let id: StreamId = text.parse().map_err(|_| gone())?;
            Some(admin.figures(&id).await?.map(|_| id).ok_or_else(gone)?)
        }
    };
    let mut streams = admin.transmitter.all_stream_figures(after.as_ref(), limit);
    let next = (streams.len() == limit).then(|| streams.last().map(|last| last.stream.clone())).flatten();
    if with_backlog {
        for figures in &mut streams {
            // One that is deleted at this moment has none.
            if let Some(whole) = admin.figures(&figures.stream).await? {
                *figures = whole;
            }
        }
    }
    let next = next.map(|next| next.to_string());
    let told = StreamList { streams: streams.iter().map(tell).collect(), next };
    Ok(answer(StatusCode::OK, serde_json::to_vec(&told).expect("streams are text and numbers")))
}

/// `GET /admin/v1/streams/{stream}`: one, with what the store knows of it.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    OfStream(id): OfStream,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    admin.tell_stream(&id).await
}

/// `DELETE /admin/v1/streams/{stream}`: deletes it, and drops what is pending for it.
pub(crate) async fn delete(
    State(admin): State<Arc<Admin>>,
    OfStream(id): OfStream,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected = if_match(&headers);
    admin.transmitter.remove_stream(&id, expected.as_deref()).await.map_err(|error| match error {
        ManageError::Declared(name) => Problem::conflict(format!(
            "the stream is declared as {name:?} in the configuration: take it out of the file and restart the server, \
             then it can be deleted"
        )),
        error => error.into(),
    })?;
    Ok(done(StatusCode::NO_CONTENT))
}

/// `POST /admin/v1/streams/{stream}/retry`: has the next attempt made now.
pub(crate) async fn retry(
    State(admin): State<Arc<Admin>>,
    OfStream(id): OfStream,
) -> Result<Response, Problem> {
    let retried = admin.transmitter.retry_stream(&id).await?;
    let told = RetryTold {
        stream_id: id.to_string(),
        was_suspended: retried.suspended_after.is_some(),
        failures: retried.suspended_after.unwrap_or(0),
        delayed: retried.delayed,
        in_flight: retried.in_flight,
        pending: retried.pending,
    };
    Ok(answer(StatusCode::OK, serde_json::to_vec(&told).expect("it is text and numbers")))
}

/// `PUT /admin/v1/streams/{stream}/status`: pauses, disables or enables it for its operator. Its receiver is told, and
/// cannot enable what an operator paused or disabled (SEM-8).
pub(crate) async fn set_status(
    State(admin): State<Arc<Admin>>,
    OfStream(id): OfStream,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["status", "reason"])?;
    let status =
        members.text("status")?.ok_or_else(|| Invalid::new("status", RULE, "is required and missing"))?;
    let status: Status = status.parse().map_err(|breach: Invalid| breach.within("status"))?;
    let reason = members.text("reason")?;
    let chars_max = UpdateStatus::REASON_CHARS_MAX;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > chars_max) {
        let problem = format!("must not be longer than {chars_max} characters");
        return Err(Invalid::new("reason", RULE, problem).into());
    }
    let expected = if_match(&headers);
    admin.transmitter.hold_stream_if(&id, expected.as_deref(), status, reason).await?;
    admin.tell_stream(&id).await
}

impl Admin {
    async fn tell_stream(&self, id: &StreamId) -> Result<Response, Problem> {
        let figures = self.figures(id).await?.ok_or_else(no_such_stream)?;
        let details = self.transmitter.stream_details(id).await;
        let details = details.map_err(|error| Problem::ours(&error.into()))?.ok_or_else(no_such_stream)?;
        let told = StreamTold { details: Some(tell_details(details)), ..tell(&figures) };
        let told = serde_json::to_vec(&told).expect("a stream is text and numbers");
        Ok(with_etag(answer(StatusCode::OK, told), figures.version))
    }

    async fn figures(&self, id: &StreamId) -> Result<Option<StreamFigures>, Problem> {
        self.transmitter.stream_figures(id).await.map_err(|error| Problem::ours(&error.into()))
    }
}

fn tell_details(details: StreamDetails) -> DetailsTold {
    DetailsTold {
        audience: serde_json::to_value(details.audience).expect("an audience is text"),
        declared: details.declared,
        has_credential: details.has_credential,
        events_requested: details.events_requested,
        events_delivered: details.events_delivered,
        events_supported: details.events_supported,
        description: details.description,
        format: details.format,
        default_subjects: match details.default_subjects {
            DefaultSubjects::All => "all",
            DefaultSubjects::None => "none",
        },
        subjects: details.subjects,
        created_at: time::told(details.created_at),
        updated: details.updated.map(tell_last_change),
        status_set: details.status_set.map(tell_last_change),
        limits: LimitsTold {
            deliveries: details.limits.deliveries_max,
            bytes: details.limits.bytes_max,
            overflow: match details.limits.overflow {
                Overflow::Pause => "pause",
                Overflow::Drop => "drop",
            },
        },
        retention: RetentionTold {
            age_max_seconds: details.age_max.as_secs(),
            dead_kept_seconds: details.dead_kept.as_secs(),
            history_seconds: details.history.as_secs(),
        },
    }
}

fn tell_last_change(LastChange { at, actor }: LastChange) -> LastChangeTold {
    let (kind, id) = (actor.kind().to_owned(), actor.id().map(str::to_owned));
    LastChangeTold { at: time::told(at), actor: ActorTold { kind, id } }
}

fn tell(figures: &StreamFigures) -> StreamTold {
    StreamTold {
        stream_id: figures.stream.to_string(),
        name: figures.name.clone(),
        client: figures.client.clone(),
        issuer: figures.issuer.clone(),
        method: match figures.method {
            secevent_ssf::Method::Push => "push",
            secevent_ssf::Method::Poll => "poll",
        },
        endpoint_url: figures.endpoint_url.clone(),
        event_types: figures.event_types,
        status: figures.status.as_str(),
        reason: figures.reason.clone(),
        held: figures.held,
        held_by: figures.held.then_some(if figures.withdrawn { "configuration" } else { "operator" }),
        client_disabled: figures.switched_off,
        poll_visibility_seconds: figures.polls.map(|polls| polls.visibility.as_secs()),
        poll_order: figures.polls.map(|polls| polls.order.name()),
        suspended: figures.suspended.as_ref().map(tell_suspension),
        delayed: figures.delayed,
        pending: figures.pending,
        in_flight: figures.in_flight,
        window: figures.window,
        delivered: figures.delivered,
        retries: figures.retries,
        again: figures.again,
        backlog: figures.backlog.map(tell_backlog),
        details: None,
    }
}

fn tell_suspension(suspension: &Suspension) -> SuspensionTold {
    SuspensionTold {
        trouble: match suspension.kind {
            TroubleKind::Unreachable => "unreachable",
            TroubleKind::Tls => "tls",
            TroubleKind::Busy => "busy",
            TroubleKind::Credentials => "credentials",
            TroubleKind::Trust => "trust",
            TroubleKind::Gone => "gone",
            TroubleKind::Unexpected => "unexpected",
            TroubleKind::Guard => "guard",
        },
        reason: suspension.reason.clone(),
        failures: suspension.failures,
        since: time::told(suspension.since),
        until: time::told(suspension.until),
    }
}

fn tell_backlog(backlog: Backlog) -> BacklogTold {
    BacklogTold {
        pending: backlog.pending,
        bytes: backlog.bytes,
        oldest: backlog.oldest.map(time::told),
        rejected: backlog.rejected,
        abandoned: backlog.abandoned,
        dropped: backlog.dropped,
        dead: backlog.dead,
    }
}
