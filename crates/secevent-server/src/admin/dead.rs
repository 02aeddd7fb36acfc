//! Dead letters: what receivers refused, and what was given up. Lists tell what happened; whom it was about is told
//! only of one that is asked for by its name.

use super::audit::NothingChanged;
use super::events::{AttemptTold, tell_attempt};
use super::request::{Members, Query, RULE, no_such_stream, path_stream};
use super::route::{Operation, Route, text};
use super::{Admin, answer, time};
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_ssf::StreamId;
use secevent_store::{Cause, Place, Queue, Sequence, StreamNumber};
use secevent_transmitter::{DeadLetter, Redriven};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// How many one request may name.
const JTIS_MAX: usize = 1_000;

pub(crate) fn routes() -> Vec<Route> {
    let list =
        Operation::get("listDeadLetters", "Dead letters: what receivers refused, and what was given up")
            .query(
                "stream",
                "Of this stream only, named as in a path; `deleted` means all streams that are deleted",
                &text(),
            )
            .paged()
            .answers::<DeadList>(StatusCode::OK, "A page of them, without telling whom they are about")
            .problem(StatusCode::NOT_FOUND, "There is no such stream")
            .problem(StatusCode::CONFLICT, "Several streams are named so; the detail lists some");
    let read = Operation::get(
        "readDeadLetter",
        "One dead letter, with its claims; `deleted` names no stream but those gone",
    )
    .stream()
    .path("jti", "The `jti` of the SET")
    .answers::<DeadWhole>(StatusCode::OK, "The dead letter")
    .problem(StatusCode::BAD_REQUEST, "A parameter is wrong")
    .problem(StatusCode::NOT_FOUND, "There is no such stream, or the stream has no such SET");
    let some = |operation: Operation| {
        let jtis = json!({
            "type": ["array", "null"], "items": { "type": "string" }, "minItems": 1, "maxItems": JTIS_MAX,
            "description": "These; instead of `all`",
        });
        let all =
            json!({ "type": ["boolean", "null"], "description": "All of the stream; instead of `jti`" });
        operation
            .stream()
            .body(&[], &json!({ "jti": jtis, "all": all }))
            .problem(StatusCode::NOT_FOUND, "There is no such stream, or the stream has no such SET")
    };
    let redrive = some(Operation::post("redriveDeadLetters", "Deliver dead letters again, as the same SETs"))
        .answers::<RedrivenTold>(StatusCode::OK, "How many are delivered again")
        .problem(StatusCode::CONFLICT, "The stream is disabled or deleted");
    let discard = some(Operation::post(
        "discardDeadLetters",
        "Forget dead letters; the stream `deleted` stands for all that are gone",
    ))
    .answers::<Discarded>(StatusCode::OK, "How many are forgotten");
    vec![
        Route::new("/admin/v1/dead", get(self::list), [list]),
        Route::new("/admin/v1/streams/{stream}/dead/{jti}", get(self::read), [read]),
        Route::new("/admin/v1/streams/{stream}/dead/redrive", post(self::redrive), [redrive]),
        Route::new("/admin/v1/streams/{stream}/dead/discard", post(self::discard), [discard]),
    ]
}

/// A page of dead letters.
#[derive(Serialize, ToSchema)]
struct DeadList {
    dead: Vec<DeadTold>,
    /// Where the next page begins, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A dead letter.
#[derive(Serialize, ToSchema)]
struct DeadTold {
    jti: String,
    /// Null if the stream is gone.
    stream_id: Option<String>,
    event_id: String,
    /// The URI of the event's type.
    event_type: String,
    /// `rejected` or `abandoned`.
    cause: &'static str,
    /// What the receiver said, or why it was given up.
    reason: String,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[schema(format = DateTime)]
    died_at: String,
    /// How often it was attempted before it died, attempts before it was delivered again included.
    attempts: u32,
}

/// A dead letter, with what it says.
#[derive(Serialize, ToSchema)]
struct DeadWhole {
    jti: String,
    /// Null if the stream is gone.
    stream_id: Option<String>,
    event_id: String,
    /// The URI of the event's type.
    event_type: String,
    /// `rejected` or `abandoned`.
    cause: &'static str,
    reason: String,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[schema(format = DateTime)]
    died_at: String,
    /// How often it was attempted before it died, attempts before it was delivered again included.
    attempts: u32,
    /// The last of the attempts, oldest first, at most 8: those before it was delivered again included.
    last_attempts: Vec<AttemptTold>,
    /// Whether there is later news of its subject.
    newer: Option<bool>,
    /// The claims of its SET, as they are signed: numbers and members that are not ours to change stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    claims: Option<Box<RawValue>>,
}

/// How many dead letters are owed again.
#[derive(Serialize, ToSchema)]
#[schema(as = Redriven)]
struct RedrivenTold {
    redriven: u64,
    /// With `all`: status and verification events that were passed over, because a newer one of the stream has replaced
    /// them. They are dead letters no more.
    superseded: u64,
}

/// How many dead letters are forgotten.
#[derive(Serialize, ToSchema)]
struct Discarded {
    discarded: u64,
}

/// Whose dead letters are meant.
pub(crate) enum Of {
    Stream(StreamId),
    /// Of all streams that are deleted: nothing is known of them but their dead letters.
    Deleted,
}

impl Of {
    /// What an operator calls streams that are deleted, unless one has this name.
    const DELETED: &str = "deleted";

    fn named(named: &str, admin: &Admin) -> Result<Self, Problem> {
        match admin.transmitter.find_stream(named) {
            Ok(stream) => Ok(Self::Stream(stream)),
            Err(_) if named == Self::DELETED => Ok(Self::Deleted),
            Err(error) => Err(error.into()),
        }
    }
}

impl FromRequestParts<Arc<Admin>> for Of {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Problem> {
        Self::named(&path_stream(parts).await.ok_or_else(no_such_stream)?, admin)
    }
}

/// `GET /admin/v1/dead`: some, behind the place `after`; of one stream if one is named.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["stream", "after", "limit"])?;
    let of = query.text("stream").map(|named| Of::named(named, &admin)).transpose()?;
    let limit = query.limit()?;
    let after = query.text("after").map(read_place).transpose()?;
    let dead = match of {
        None => admin.transmitter.dead_letters(None, after, limit).await?,
        Some(Of::Stream(id)) => admin.transmitter.dead_letters(Some(&id), after, limit).await?,
        Some(Of::Deleted) => admin.transmitter.dead_letters_of_deleted(after, limit).await?,
    };
    let next = dead.last().filter(|_| dead.len() == limit).map(|last| write_place(last.place));
    let told = DeadList { dead: dead.iter().map(tell).collect(), next };
    Ok(answer(StatusCode::OK, written(&told)))
}

/// `GET /admin/v1/streams/{stream}/dead/{jti}`: one, with its claims, and whether there is later news of its subject.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    of: Of,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let Path((_, jti)) = path.map_err(|_| no_such_stream())?;
    let dead = match of {
        Of::Stream(stream) => admin.transmitter.dead_letter_of(&stream, &jti).await?,
        Of::Deleted => admin.transmitter.dead_letter_of_deleted(&jti).await?,
    };
    let DeadTold { jti, stream_id, event_id, event_type, cause, reason, accepted_at, died_at, attempts } =
        tell(&dead);
    let last_attempts = dead.last_attempts.iter().map(tell_attempt).collect();
    let claims = dead.claims.and_then(|claims| RawValue::from_string(claims).ok());
    let newer = dead.newer;
    let told = DeadWhole {
        jti,
        stream_id,
        event_id,
        event_type,
        cause,
        reason,
        accepted_at,
        died_at,
        attempts,
        last_attempts,
        newer,
        claims,
    };
    Ok(answer(StatusCode::OK, written(&told)))
}

/// `POST /admin/v1/streams/{stream}/dead/redrive`: delivers them again, as the same SETs.
pub(crate) async fn redrive(
    State(admin): State<Arc<Admin>>,
    of: Of,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let jtis = which(&headers, &body)?;
    let Of::Stream(stream) = of else {
        return Err(Problem::conflict(
            "the streams are deleted, and nothing can be delivered to them: discard these",
        ));
    };
    let Redriven { count, superseded } = admin.transmitter.redrive(&stream, jtis.as_deref()).await?;
    Ok(answer(StatusCode::OK, written(&RedrivenTold { redriven: count, superseded })))
}

/// `POST /admin/v1/streams/{stream}/dead/discard`: forgets them.
pub(crate) async fn discard(
    State(admin): State<Arc<Admin>>,
    of: Of,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let jtis = which(&headers, &body)?;
    let count = match of {
        Of::Stream(stream) => admin.transmitter.discard(&stream, jtis.as_deref()).await?,
        Of::Deleted => admin.transmitter.discard_of_deleted(jtis.as_deref()).await?,
    };
    let told = answer(StatusCode::OK, written(&Discarded { discarded: count }));
    Ok(if count == 0 { NothingChanged::tell(told) } else { told })
}

/// The dead letters that a body names. None means all, which has to be said.
fn which(headers: &HeaderMap, body: &Bytes) -> Result<Option<Vec<String>>, Problem> {
    let mut members = Members::read(headers, body, &["jti", "all"])?;
    match (members.texts("jti")?, members.flag("all")?) {
        (None, true) => Ok(None),
        (Some(jtis), false) if (1..=JTIS_MAX).contains(&jtis.len()) => Ok(Some(jtis)),
        (Some(_), false) => {
            Err(Invalid::new("jti", RULE, format!("must have 1 to {JTIS_MAX} entries")).into())
        }
        _ => Err(Invalid::new("", RULE, "must have `jti` with a list, or `all` with true").into()),
    }
}

fn tell(dead: &DeadLetter) -> DeadTold {
    DeadTold {
        jti: dead.jti.clone(),
        stream_id: dead.stream.as_ref().map(StreamId::to_string),
        event_id: dead.event_id.clone(),
        event_type: dead.event_type.clone(),
        cause: match dead.cause {
            Cause::Rejected => "rejected",
            Cause::Abandoned => "abandoned",
        },
        reason: dead.reason.clone(),
        accepted_at: time::told(dead.accepted_at),
        died_at: time::told(dead.died_at),
        attempts: dead.attempts,
    }
}

fn written(told: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(told).expect("a dead letter is JSON")
}

/// Where a page begins, for the next request. What it says is nobody's concern but ours.
fn write_place(place: Place) -> String {
    let queue = match place.queue {
        Queue::Control => 'c',
        Queue::Regular => 'r',
        Queue::Again => 'a',
    };
    format!("{}{queue}{}", place.stream, place.sequence.0)
}

fn read_place(text: &str) -> Result<Place, Invalid> {
    let read = || {
        let at = text.find(|character: char| !character.is_ascii_digit())?;
        let queue = match text.as_bytes()[at] {
            b'c' => Queue::Control,
            b'r' => Queue::Regular,
            b'a' => Queue::Again,
            _ => return None,
        };
        let (stream, sequence) = (text[..at].parse().ok()?, text.get(at + 1..)?.parse().ok()?);
        Some(Place { stream: StreamNumber(stream), queue, sequence: Sequence(sequence) })
    };
    read().ok_or_else(|| Invalid::new("after", RULE, "must be the `next` of an earlier answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for queue in Queue::ALL {
            let place = Place { stream: StreamNumber(7), queue, sequence: Sequence(u64::MAX) };
            assert_eq!(read_place(&write_place(place)), Ok(place));
        }
        for wrong in ["", "7", "r", "7r", "7x8", "r8", "7r-8", "7r8r9", "99999999999r1", "7ü8"] {
            assert!(read_place(wrong).is_err(), "{wrong}");
        }
    }
}
