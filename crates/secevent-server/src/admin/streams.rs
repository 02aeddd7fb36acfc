//! Streams as operators see them: how it goes, and whether it goes at all.

use super::request::{Members, Query, RULE, no_such_stream, stream_of};
use super::{Admin, time};
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_ssf::{Status, StreamId, UpdateStatus};
use secevent_store::Backlog;
use secevent_transmitter::{StreamFigures, Suspension, TroubleKind};
use serde_json::{Value, json};
use std::sync::Arc;

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
    let mut told = json!({ "streams": streams.iter().map(tell).collect::<Vec<_>>() });
    if let Some(next) = next {
        told["next"] = next.as_str().into();
    }
    Ok(answer(StatusCode::OK, told.to_string()))
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
    admin.transmitter.hold_stream(&id, status, reason).await?;
    admin.tell_stream(&id).await
}

impl Admin {
    async fn tell_stream(&self, id: &StreamId) -> Result<Response, Problem> {
        let figures = self.figures(id).await?.ok_or_else(no_such_stream)?;
        Ok(answer(StatusCode::OK, tell(&figures).to_string()))
    }

    async fn figures(&self, id: &StreamId) -> Result<Option<StreamFigures>, Problem> {
        self.transmitter.stream_figures(id).await.map_err(|error| Problem::ours(&error.into()))
    }
}

fn tell(figures: &StreamFigures) -> Value {
    let mut told = json!({
        "stream_id": figures.stream.as_str(),
        "client": figures.client,
        "issuer": figures.issuer,
        "status": figures.status,
        "reason": figures.reason,
        "held": figures.held,
        "client_disabled": figures.switched_off,
        "suspended": figures.suspended.map(tell_suspension),
        "pending": figures.pending,
        "in_flight": figures.in_flight,
        "window": figures.window,
        "delivered": figures.delivered,
        "retries": figures.retries,
        "again": figures.again,
    });
    if let Some(backlog) = figures.backlog {
        told["backlog"] = tell_backlog(backlog);
    }
    told
}

fn tell_suspension(suspension: Suspension) -> Value {
    json!({
        "trouble": match suspension.kind {
            TroubleKind::Unreachable => "unreachable",
            TroubleKind::Tls => "tls",
            TroubleKind::Busy => "busy",
            TroubleKind::Credentials => "credentials",
            TroubleKind::Trust => "trust",
            TroubleKind::Gone => "gone",
            TroubleKind::Unexpected => "unexpected",
            TroubleKind::Guard => "guard",
        },
        "failures": suspension.failures,
        "since": time::told(suspension.since),
        "until": time::told(suspension.until),
    })
}

fn tell_backlog(backlog: Backlog) -> Value {
    json!({
        "pending": backlog.pending,
        "bytes": backlog.bytes,
        "oldest": backlog.oldest.map(time::told),
        "rejected": backlog.rejected,
        "abandoned": backlog.abandoned,
        "dropped": backlog.dropped,
        "dead": backlog.dead,
    })
}
