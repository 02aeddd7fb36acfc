//! The figures of all streams together.

use super::Admin;
use super::request::Query;
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use std::sync::Arc;

/// `GET /admin/v1/figures`: counted since the process started.
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let figures = admin.transmitter.figures();
    let told = json!({
        "accepted": figures.accepted,
        "delivered": figures.delivered,
        "rejected": figures.rejected,
        "abandoned": figures.abandoned,
        "dropped": figures.dropped,
        "retries": figures.retries,
        "again": figures.again,
        "streams": figures.streams,
        "suspended": figures.suspended,
        "pending": figures.pending,
        "in_flight": figures.in_flight,
        "commits": {
            "groups": figures.commits.groups,
            "calls": figures.commits.calls,
            "failed": figures.commits.failed,
            "seconds": figures.commits.time.as_secs_f64(),
        },
    });
    Ok(answer(StatusCode::OK, told.to_string()))
}
