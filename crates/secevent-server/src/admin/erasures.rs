//! A person's data is erased.

use super::audit::NothingChanged;
use super::request::{Members, Query, RULE, hex_id};
use super::route::{Operation, Route, optional_flag, subject};
use super::{Admin, answer, time};
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::{Invalid, Strictness, Subject};
use secevent_transmitter::{Amounts, EraseError, Erasure, ErasureState, Left};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let members = json!({ "subject": subject(), "dry_run": optional_flag(), "rewrite": optional_flag() });
    let start =
        Operation::post("startErasure", "Erase what there is of a person, or only tell how much that is")
            .body(&["subject"], &members)
            .answers::<Foreseen>(StatusCode::OK, "With `dry_run`: what there is. Nothing is erased")
            .answers::<ErasureTold>(StatusCode::CREATED, "It has begun, and goes on by itself")
            .problem(StatusCode::CONFLICT, "Another one is under way");
    let list = Operation::get("listErasures", "The erasures, and how far they have come")
        .answers::<ErasureList>(StatusCode::OK, "All that are remembered")
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    let read = Operation::get("readErasure", "How far an erasure has come, and whether anything is left")
        .path("erasure", "Its identifier")
        .answers::<ErasureTold>(StatusCode::OK, "The erasure")
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong")
        .problem(StatusCode::NOT_FOUND, "There is no such erasure");
    vec![
        Route::new("/admin/v1/erasures", get(self::list).post(self::start), [list, start]),
        Route::new("/admin/v1/erasures/{erasure}", get(self::read), [read]),
    ]
}

/// The erasures.
#[derive(Serialize, ToSchema)]
struct ErasureList {
    erasures: Vec<ErasureTold>,
}

/// An erasure. It does not tell whose data it is.
#[derive(Serialize, ToSchema)]
struct ErasureTold {
    id: String,
    /// `running` or `done`.
    state: String,
    #[schema(format = DateTime)]
    started_at: String,
    /// The same for each erasure of the same subject at this server, and of no use to anybody else.
    person: String,
    /// Whether the files of the store are written anew at the end.
    rewrite: bool,
    /// Why they were not, although that was asked. Null if they were, or will be.
    not_rewritten: Option<String>,
    erased: AmountsTold,
    /// What was found when it was looked for after all. Null until then.
    left: Option<LeftTold>,
}

/// What an erasure would find.
#[derive(Serialize, ToSchema)]
struct Foreseen {
    found: AmountsTold,
    /// Documents of streams that name the person in the words of a receiver or an operator.
    documents: Vec<String>,
}

/// What is left of a person's data.
#[derive(Serialize, ToSchema)]
struct LeftTold {
    /// Whether that is nothing.
    nothing: bool,
    found: AmountsTold,
    /// Documents of streams that name the person in the words of a receiver or an operator: theirs to change.
    documents: Vec<String>,
    /// Copies in the files of the store that nothing refers to, which `rewrite` clears; and parts of other words.
    traces: u64,
    /// Where that is: tables, free pages, or the log.
    traces_in: Vec<String>,
}

/// So much of each kind.
#[derive(Serialize, ToSchema)]
struct AmountsTold {
    events: u64,
    /// Deliveries that were owed; they end as dropped.
    dropped: u64,
    /// Dead letters.
    dead: u64,
    /// Producers' idempotency keys of other events.
    names: u64,
    /// What was said of other dead letters.
    reasons: u64,
    /// Entries of the log of changes.
    changes: u64,
    /// Replays of what is about the person.
    replays: u64,
    /// Streams whose receivers added or removed the person.
    subjects: u64,
}

/// `POST /admin/v1/erasures`
async fn start(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["subject", "dry_run", "rewrite"])?;
    let subject =
        members.value("subject").ok_or_else(|| Invalid::new("subject", RULE, "is required and missing"))?;
    let subject =
        Subject::from_value(subject, Strictness::Strict).map_err(|breach| breach.within("subject"))?;
    let (dry_run, rewrite) = (members.flag("dry_run")?, members.flag("rewrite")?);
    if dry_run {
        let Left { found, documents, .. } = admin.transmitter.preview_erasure(&subject).await?;
        let told = Foreseen { found: found.into(), documents };
        let told = serde_json::to_vec(&told).expect("it is text and numbers");
        return Ok(NothingChanged::tell(answer(StatusCode::OK, told)));
    }
    let erasure = admin.transmitter.start_erasure(&subject, rewrite).await?;
    Ok(answer(StatusCode::CREATED, written(&erasure.into())))
}

/// `GET /admin/v1/erasures`
async fn list(State(admin): State<Arc<Admin>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let erasures = admin.transmitter.erasures().await?.into_iter().map(ErasureTold::from).collect();
    let told = ErasureList { erasures };
    Ok(answer(StatusCode::OK, serde_json::to_vec(&told).expect("erasures are text and numbers")))
}

/// `GET /admin/v1/erasures/{erasure}`
async fn read(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = hex_id(path).ok_or_else(|| Problem::from(EraseError::NoSuchErasure))?;
    let erasure = admin.transmitter.erasure(&id).await?;
    Ok(answer(StatusCode::OK, written(&erasure.into())))
}

fn written(erasure: &ErasureTold) -> Vec<u8> {
    serde_json::to_vec(erasure).expect("an erasure is text and numbers")
}

impl From<Erasure> for ErasureTold {
    fn from(erasure: Erasure) -> Self {
        Self {
            id: erasure.id,
            state: match erasure.state {
                ErasureState::Running => "running".to_owned(),
                ErasureState::Done => "done".to_owned(),
            },
            started_at: time::told(erasure.started_at),
            person: erasure.person,
            rewrite: erasure.rewrite,
            // While it goes on this is what would be said if it were cut short.
            not_rewritten: erasure.not_rewritten.filter(|_| erasure.state == ErasureState::Done),
            erased: erasure.erased.into(),
            left: erasure.left.map(|left| LeftTold {
                nothing: left.is_nothing(),
                found: left.found.into(),
                documents: left.documents,
                traces: left.traces,
                traces_in: left.traces_in.clone(),
            }),
        }
    }
}

impl From<Amounts> for AmountsTold {
    fn from(amounts: Amounts) -> Self {
        let Amounts { events, dropped, dead, names, reasons, changes, replays, subjects } = amounts;
        Self { events, dropped, dead, names, reasons, changes, replays, subjects }
    }
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::NoSuchErasure => Self::not_found("there is no such erasure"),
            EraseError::Ours(error) => Self::ours(&error),
            other => Self::conflict(other.to_string()),
        }
    }
}
