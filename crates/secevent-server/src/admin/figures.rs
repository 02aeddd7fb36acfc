//! The figures of all streams together.

use super::request::Query;
use super::route::{Operation, Route};
use super::{Admin, answer};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let read =
        Operation::get("readFigures", "The figures of all streams together, since the process started")
            .answers::<FiguresTold>(StatusCode::OK, "The figures")
            .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    vec![Route::new("/admin/v1/figures", get(self::read), [read])]
}

/// Figures of all streams together.
#[derive(Serialize, ToSchema)]
struct FiguresTold {
    /// Events that were accepted.
    accepted: u64,
    /// SETs that receivers have.
    delivered: u64,
    /// SETs that receivers refused.
    rejected: u64,
    /// SETs that were given up.
    abandoned: u64,
    /// SETs that a stream is not owed because it held as much as it may, or that were erased.
    dropped: u64,
    /// Verification and status SETs that a newer one replaced before they were delivered.
    superseded: u64,
    /// Attempts that were repeated.
    retries: u64,
    /// SETs that were owed again because an operator asked for it.
    again: u64,
    streams: u64,
    /// Streams whose receiver is in trouble.
    suspended: u64,
    /// Deliveries that are not settled.
    pending: u64,
    /// Pushes that are on their way.
    in_flight: u64,
    commits: CommitsTold,
}

/// What the store's writer did.
#[derive(Serialize, ToSchema)]
struct CommitsTold {
    groups: u64,
    calls: u64,
    failed: u64,
    seconds: f64,
}

/// `GET /admin/v1/figures`: counted since the process started.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let figures = admin.transmitter.figures();
    let told = FiguresTold {
        accepted: figures.accepted,
        delivered: figures.delivered,
        rejected: figures.rejected,
        abandoned: figures.abandoned,
        dropped: figures.dropped,
        superseded: figures.superseded,
        retries: figures.retries,
        again: figures.again,
        streams: figures.streams,
        suspended: figures.suspended,
        pending: figures.pending,
        in_flight: figures.in_flight,
        commits: CommitsTold {
            groups: figures.commits.groups,
            calls: figures.commits.calls,
            failed: figures.commits.failed,
            seconds: figures.commits.time.as_secs_f64(),
        },
    };
    Ok(answer(StatusCode::OK, serde_json::to_vec(&told).expect("figures are numbers")))
}
