//! Streams as operators see them: how it goes, and whether it goes at all.

use super::request::{Members, Query, RULE, if_match, no_such_stream, stream_of, with_etag};
use super::route::{Operation, Route};
use super::{Admin, answer, time};
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, put};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use secevent::Invalid;
use secevent_ssf::{Status, StreamId, UpdateStatus};
use secevent_store::Backlog;
use secevent_transmitter::{StreamFigures, Suspension, TroubleKind};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let backlog = json!({ "type": "boolean", "default": false });
    let list = Operation::get("listStreams", "Streams, in the order in which they were made")
        .query("backlog", "With what the store knows of each", &backlog)
        .paged()
        .answers::<StreamList>(StatusCode::OK, "A page of them");
    let read = Operation::get("readStream", "One stream: how it goes, and what is owed to it")
        .path("stream", "The stream")
        .answers::<StreamTold>(StatusCode::OK, "The stream")
        .with_etag()
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong")
        .problem(StatusCode::NOT_FOUND, "There is no such stream");
    let reason = json!({ "type": ["string", "null"], "maxLength": UpdateStatus::REASON_CHARS_MAX });
    let status = json!({ "type": "string", "enum": ["enabled", "paused", "disabled"] });
    let set_status = Operation::new(
        Method::PUT,
        "setStreamStatus",
        "Pause, disable or enable a stream. Its receiver is told",
    )
    .path("stream", "The stream")
    .if_match()
    .body(&["status"], &json!({ "status": status, "reason": reason }))
    .answers::<StreamTold>(StatusCode::OK, "The stream, as it is now")
    .with_etag()
    .problem(StatusCode::NOT_FOUND, "There is no such stream");
    vec![
        Route::new("/admin/v1/streams", get(self::list), [list]),
        Route::new("/admin/v1/streams/{stream}", get(self::read), [read]),
        Route::new("/admin/v1/streams/{stream}/status", put(self::set_status), [set_status]),
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
    client: String,
    issuer: String,
    /// How many event types it carries: with none of them it sends nothing but verification and status events.
    event_types: usize,
    /// `enabled`, `paused` or `disabled`.
    status: &'static str,
    reason: Option<String>,
    /// Whether an operator set the status, so that only an operator ends it.
    held: bool,
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
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    admin.tell_stream(&stream_of(path)?).await
}

/// `PUT /admin/v1/streams/{stream}/status`: pauses, disables or enables it for its operator. Its receiver is told, and
/// cannot enable what an operator paused or disabled (SEM-8).
pub(crate) async fn set_status(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = stream_of(path)?;
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
    let expected = if_match(&headers)?;
    admin.transmitter.hold_stream_if(&id, expected, status, reason).await?;
    admin.tell_stream(&id).await
}

impl Admin {
    async fn tell_stream(&self, id: &StreamId) -> Result<Response, Problem> {
        let figures = self.figures(id).await?.ok_or_else(no_such_stream)?;
        let told = serde_json::to_vec(&tell(&figures)).expect("a stream is text and numbers");
        Ok(with_etag(answer(StatusCode::OK, told), figures.version))
    }

    async fn figures(&self, id: &StreamId) -> Result<Option<StreamFigures>, Problem> {
        self.transmitter.stream_figures(id).await.map_err(|error| Problem::ours(&error.into()))
    }
}

fn tell(figures: &StreamFigures) -> StreamTold {
    StreamTold {
        stream_id: figures.stream.to_string(),
        client: figures.client.clone(),
        issuer: figures.issuer.clone(),
        event_types: figures.event_types,
        status: figures.status.as_str(),
        reason: figures.reason.clone(),
        held: figures.held,
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
