//! Replays: a part of a stream's history is delivered again.

use super::request::{Members, Query, RULE, stream_of};
use super::{Admin, time};
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::{Invalid, Strictness, Subject};
use secevent_transmitter::{Replay, ReplayRequest, ReplayState};
use serde_json::{Value, json};
use std::sync::Arc;

/// As fast as a replay may be asked to be, in SETs a second.
const PER_SECOND_MAX: u32 = 10_000;

/// `POST /admin/v1/streams/{stream}/replays`: begins one, or with `preview` tells what it would deliver.
pub(crate) async fn start(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let stream = stream_of(path)?;
    let known = ["since", "from_jti", "subject", "fresh_jti", "per_second", "preview"];
    let mut members = Members::read(&headers, &body, &known)?;
    let subject = members.value("subject").map(|value| Subject::from_value(value, Strictness::Strict));
    let request = ReplayRequest {
        since: members.time("since")?,
        from_jti: members.text("from_jti")?,
        subject: subject.transpose().map_err(|breach| breach.within("subject"))?,
        fresh_jti: members.flag("fresh_jti")?,
        per_second: members.whole("per_second")?.map(per_second).transpose()?,
    };
    if members.flag("preview")? {
        let preview = admin.transmitter.preview_replay(&stream, &request).await?;
        let told = json!({
            "count": preview.count,
            "first": preview.span.map(|(first, _)| time::told(first)),
            "last": preview.span.map(|(_, last)| time::told(last)),
            "newer": preview.newer,
        });
        return Ok(answer(StatusCode::OK, told.to_string()));
    }
    let replay = admin.transmitter.start_replay(&stream, &request).await?;
    Ok(answer(StatusCode::CREATED, tell(&replay).to_string()))
}

/// `GET /admin/v1/replays`: all that there are.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let replays = admin.transmitter.replays().await?;
    let told = json!({ "replays": replays.iter().map(tell).collect::<Vec<_>>() });
    Ok(answer(StatusCode::OK, told.to_string()))
}

/// `GET /admin/v1/replays/{replay}`: one.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = replay_of(path)?;
    let replays = admin.transmitter.replays().await?;
    let replay = replays.iter().find(|replay| replay.id == id).ok_or_else(no_such_replay)?;
    Ok(answer(StatusCode::OK, tell(replay).to_string()))
}

/// `DELETE /admin/v1/replays/{replay}`: calls it off.
pub(crate) async fn cancel(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let replay = admin.transmitter.cancel_replay(&replay_of(path)?).await?;
    Ok(answer(StatusCode::OK, tell(&replay).to_string()))
}

fn per_second(asked: u64) -> Result<u32, Invalid> {
    let fits = u32::try_from(asked).ok().filter(|asked| (1..=PER_SECOND_MAX).contains(asked));
    fits.ok_or_else(|| Invalid::new("per_second", RULE, format!("must be 1 to {PER_SECOND_MAX}")))
}

fn replay_of(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    // Identifiers are ours: 32 hexadecimal digits, and nothing else names a replay.
    let plain = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.ok().map(|Path(id)| id).filter(plain).ok_or_else(no_such_replay)
}

fn no_such_replay() -> Problem {
    Problem::not_found("there is no such replay")
}

fn tell(replay: &Replay) -> Value {
    json!({
        "id": replay.id,
        "stream_id": replay.stream,
        "state": match replay.state {
            ReplayState::Running => "running",
            ReplayState::Done => "done",
            ReplayState::Cancelled => "cancelled",
        },
        "total": replay.total,
        "count": replay.count,
        "per_second": replay.per_second,
    })
}
