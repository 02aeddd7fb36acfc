//! Replays: a part of a stream's history is delivered again.

use super::audit::NothingChanged;
use super::request::{Members, OfStream, Query, RULE};
use super::route::{Operation, Route, optional_flag, optional_text, optional_time, subject};
use super::{Admin, answer, time};
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use secevent::{Invalid, Strictness, Subject};
use secevent_ssf::StreamId;
use secevent_transmitter::{Replay, ReplayRequest, ReplayState};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

/// As fast as a replay may be asked to be, in SETs a second.
const PER_SECOND_MAX: u32 = 10_000;

pub(crate) fn routes() -> Vec<Route> {
    let rate = json!({ "type": ["integer", "null"], "minimum": 1, "maximum": PER_SECOND_MAX });
    let members = json!({
        "since": optional_time(),
        "from_jti": optional_text(),
        "subject": { "anyOf": [subject(), { "type": "null" }] },
        "fresh_jti": optional_flag(),
        "per_second": rate,
        "preview": optional_flag(),
    });
    let start = Operation::post(
        "startReplay",
        "Deliver a part of a stream's history again, or tell what that would be",
    )
    .stream()
    .body(&[], &members)
    .answers::<PreviewTold>(StatusCode::OK, "With `preview`: what would be delivered. Nothing is")
    .answers::<ReplayTold>(StatusCode::CREATED, "It has begun, and goes on by itself")
    .problem(StatusCode::NOT_FOUND, "There is no such stream, or the stream has no such SET")
    .problem(StatusCode::CONFLICT, "The stream is disabled, or as many are under way as may be");
    let list = Operation::get("listReplays", "The replays, and how far they have come")
        .answers::<ReplayList>(StatusCode::OK, "All that are remembered")
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    let one = |operation: Operation| {
        operation
            .path("replay", "Its identifier, or 4 and more characters with which it alone begins")
            .answers::<ReplayTold>(StatusCode::OK, "The replay")
            .problem(StatusCode::NOT_FOUND, "There is no such replay")
            .problem(StatusCode::CONFLICT, "Several replays are named so; the detail lists some")
    };
    let read = one(Operation::get("readReplay", "How far a replay has come"))
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    let cancel = one(Operation::new(Method::DELETE, "cancelReplay", "Call a replay off"));
    vec![
        Route::new("/admin/v1/streams/{stream}/replays", post(self::start), [start]),
        Route::new("/admin/v1/replays", get(self::list), [list]),
        Route::new("/admin/v1/replays/{replay}", get(self::read).delete(self::cancel), [read, cancel]),
    ]
}

/// The replays.
#[derive(Serialize, ToSchema)]
struct ReplayList {
    replays: Vec<ReplayTold>,
}

/// A replay.
#[derive(Serialize, ToSchema)]
struct ReplayTold {
    id: String,
    stream_id: String,
    /// The name by which configuration declares the stream, or did.
    stream_name: Option<String>,
    /// `running`, `done` or `cancelled`.
    state: &'static str,
    /// How many SETs it looked for when it began.
    total: u64,
    /// How many of them are delivered again so far, or are to be.
    count: u64,
    per_second: u32,
    #[schema(format = DateTime)]
    started_at: String,
    /// Who began it, such as `command-line ada`. Null if an older release did.
    started_by: Option<String>,
    /// Null while it is under way.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Only events that were accepted at this time or later.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Whether it looks for events about one subject only.
    of_one_subject: bool,
    /// Whether its SETs have a new `jti`.
    fresh_jti: bool,
    /// When the first of its events was accepted.
    #[schema(format = DateTime)]
    first: Option<String>,
    /// When the last of its events was accepted.
    #[schema(format = DateTime)]
    last: Option<String>,
    /// When the last event was accepted that it has come to.
    #[schema(format = DateTime)]
    reached: Option<String>,
}

/// What a replay would deliver.
#[derive(Serialize, ToSchema)]
struct PreviewTold {
    count: u64,
    #[schema(format = DateTime)]
    first: Option<String>,
    #[schema(format = DateTime)]
    last: Option<String>,
    /// Whether there is later news of one of the subjects.
    newer: bool,
}

/// `POST /admin/v1/streams/{stream}/replays`: begins one, or with `preview` tells what it would deliver.
pub(crate) async fn start(
    State(admin): State<Arc<Admin>>,
    OfStream(stream): OfStream,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let known = ["since", "from_jti", "subject", "fresh_jti", "per_second", "preview"];
    let mut members = Members::read(&headers, &body, &known)?;
    let about = members.value("subject").map(|value| Subject::from_value(value, Strictness::Strict));
    let request = ReplayRequest {
        since: members.time("since")?,
        from_jti: members.text("from_jti")?,
        subject: about.transpose().map_err(|breach| breach.within("subject"))?,
        fresh_jti: members.flag("fresh_jti")?,
        per_second: members.whole("per_second")?.map(per_second).transpose()?,
    };
    if members.flag("preview")? {
        let preview = admin.transmitter.preview_replay(&stream, &request).await?;
        let told = PreviewTold {
            count: preview.count,
            first: preview.span.map(|(first, _)| time::told(first)),
            last: preview.span.map(|(_, last)| time::told(last)),
            newer: preview.newer,
        };
        return Ok(NothingChanged::tell(answer(StatusCode::OK, written(&told))));
    }
    let replay = admin.transmitter.start_replay(&stream, &request).await?;
    Ok(answer(StatusCode::CREATED, written(&tell(&replay, &admin))))
}

/// `GET /admin/v1/replays`: all that there are.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let replays = admin.transmitter.replays().await?;
    let told = ReplayList { replays: replays.iter().map(|replay| tell(replay, &admin)).collect() };
    Ok(answer(StatusCode::OK, written(&told)))
}

/// `GET /admin/v1/replays/{replay}`: one.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = admin.replay_of(path).await?;
    let replays = admin.transmitter.replays().await?;
    let replay = replays.iter().find(|replay| replay.id == id).ok_or_else(no_such_replay)?;
    Ok(answer(StatusCode::OK, written(&tell(replay, &admin))))
}

/// `DELETE /admin/v1/replays/{replay}`: calls it off.
pub(crate) async fn cancel(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let replay = admin.transmitter.cancel_replay(&admin.replay_of(path).await?).await?;
    // The transmitter has entered it in the log, if it was under way.
    Ok(NothingChanged::tell(answer(StatusCode::OK, written(&tell(&replay, &admin)))))
}

fn per_second(asked: u64) -> Result<u32, Invalid> {
    let fits = u32::try_from(asked).ok().filter(|asked| (1..=PER_SECOND_MAX).contains(asked));
    fits.ok_or_else(|| Invalid::new("per_second", RULE, format!("must be 1 to {PER_SECOND_MAX}")))
}

impl Admin {
    async fn replay_of(&self, path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
        let Path(named) = path.map_err(|_| no_such_replay())?;
        Ok(self.transmitter.find_replay(&named).await?)
    }
}

fn no_such_replay() -> Problem {
    Problem::not_found("there is no such replay")
}

fn tell(replay: &Replay, admin: &Admin) -> ReplayTold {
    let stream: Option<StreamId> = replay.stream.parse().ok();
    let started_by = replay.started_by.as_ref().map(|(kind, id)| match id {
        Some(id) => format!("{kind} {id}"),
        None => kind.clone(),
    });
    ReplayTold {
        id: replay.id.clone(),
        stream_id: replay.stream.clone(),
        stream_name: stream.and_then(|id| admin.transmitter.stream_name(&id)),
        state: match replay.state {
            ReplayState::Running => "running",
            ReplayState::Done => "done",
            ReplayState::Cancelled => "cancelled",
        },
        total: replay.total,
        count: replay.count,
        per_second: replay.per_second,
        started_at: time::told(replay.started_at),
        started_by,
        ended_at: replay.ended_at.map(time::told),
        since: replay.since.map(time::told),
        of_one_subject: replay.is_about_one_subject(),
        fresh_jti: replay.fresh_jti,
        first: replay.span.map(|(first, _)| time::told(first)),
        last: replay.span.map(|(_, last)| time::told(last)),
        reached: replay.reached.map(time::told),
    }
}

fn written(told: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(told).expect("a replay is text and numbers")
}
