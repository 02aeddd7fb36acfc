//! Dead letters: what receivers refused, and what was given up. Lists tell what happened; whom it was about is told
//! only of one that is asked for by its name.

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
use secevent_ssf::StreamId;
use secevent_store::{Cause, Place, Queue, Sequence, StreamNumber};
use secevent_transmitter::DeadLetter;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many one request may name.
const JTIS_MAX: usize = 1_000;

/// `GET /admin/v1/dead`: some, behind the place `after`; of one stream if one is named.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["stream", "after", "limit"])?;
    let (stream, limit) = (query.stream("stream")?, query.limit()?);
    let after = query.text("after").map(read_place).transpose()?;
    let dead = admin.transmitter.dead_letters(stream.as_ref(), after, limit).await?;
    let mut told = json!({ "dead": dead.iter().map(tell).collect::<Vec<_>>() });
    if let Some(last) = dead.last().filter(|_| dead.len() == limit) {
        told["next"] = write_place(last.place).into();
    }
    Ok(answer(StatusCode::OK, told.to_string()))
}

/// `GET /admin/v1/streams/{stream}/dead/{jti}`: one, with its claims, and whether there is later news of its subject.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let Path((stream, jti)) = path.map_err(|_| no_such_stream())?;
    let stream: StreamId = stream.parse().map_err(|_| no_such_stream())?;
    let dead = admin.transmitter.dead_letter_of(&stream, &jti).await?;
    let mut told = tell(&dead);
    told["newer"] = dead.newer.into();
    let mut told = told.to_string();
    if let Some(claims) = dead.claims.and_then(|claims| RawValue::from_string(claims).ok()) {
        // As they are signed: numbers and members that are not ours to change stay as they are.
        told.truncate(told.len() - 1);
        told += ",\"claims\":";
        told += claims.get();
        told.push('}');
    }
    Ok(answer(StatusCode::OK, told))
}

/// `POST /admin/v1/streams/{stream}/dead/redrive`: delivers them again, as the same SETs.
pub(crate) async fn redrive(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let stream = stream_of(path)?;
    let jtis = which(&headers, &body)?;
    let count = admin.transmitter.redrive(&stream, jtis.as_deref()).await?;
    Ok(answer(StatusCode::OK, json!({ "redriven": count }).to_string()))
}

/// `POST /admin/v1/streams/{stream}/dead/discard`: forgets them.
pub(crate) async fn discard(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let stream = stream_of(path)?;
    let jtis = which(&headers, &body)?;
    let count = admin.transmitter.discard(&stream, jtis.as_deref()).await?;
    Ok(answer(StatusCode::OK, json!({ "discarded": count }).to_string()))
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

fn tell(dead: &DeadLetter) -> Value {
    json!({
        "jti": dead.jti,
        "stream_id": dead.stream.as_ref().map(StreamId::as_str),
        "event_id": dead.event_id,
        "cause": match dead.cause {
            Cause::Rejected => "rejected",
            Cause::Abandoned => "abandoned",
        },
        "reason": dead.reason,
        "accepted_at": time::told(dead.accepted_at),
        "died_at": time::told(dead.died_at),
        "attempts": dead.attempts,
    })
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
