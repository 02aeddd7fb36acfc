//! For whoever starts and stops the process: whether it lives, and whether it works (SEM-10).

use super::route::{Operation, Route};
use super::{Admin, answer};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use secevent_transmitter::NotReady;
use serde::Serialize;
use std::sync::Arc;
use tracing::warn;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let alive = Operation::get("readHealth", "The process answers").open();
    let ready = Operation::get("readReadiness", "The store answers and the engine moves").open();
    vec![
        Route::new("/healthz", get(self::alive), [alive.answers::<Health>(StatusCode::OK, "It lives")]),
        Route::new(
            "/readyz",
            get(self::ready),
            [ready
                .answers::<Health>(StatusCode::OK, "It works")
                .problem(StatusCode::SERVICE_UNAVAILABLE, "It does not, and why")],
        ),
    ]
}

/// How it is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

fn told(status: &'static str) -> Response {
    answer(StatusCode::OK, serde_json::to_vec(&Health { status }).expect("it is a text"))
}

/// `GET /healthz`: it answers, so it lives.
pub(crate) async fn alive() -> Response {
    told("alive")
}

/// `GET /readyz`: the store answers and the engine moves.
pub(crate) async fn ready(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    match admin.transmitter.ready().await {
        Ok(()) => Ok(told("ready")),
        Err(reason) => {
            warn!(error = %reason, "The server is not ready");
            Err(Problem::not_ready(match reason {
                // Where the store is and why it fails is for the log: everybody may ask this.
                NotReady::Store(_) => "the store does not answer".to_owned(),
                other => other.to_string(),
            }))
        }
    }
}
