//! For whoever starts and stops the process: whether it lives, and whether it works (SEM-10).

use super::Admin;
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use secevent_transmitter::NotReady;
use std::sync::Arc;
use tracing::warn;

/// `GET /healthz`: it answers, so it lives.
pub(crate) async fn alive() -> Response {
    answer(StatusCode::OK, r#"{"status":"alive"}"#)
}

/// `GET /readyz`: the store answers and the engine moves.
pub(crate) async fn ready(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    match admin.transmitter.ready().await {
        Ok(()) => Ok(answer(StatusCode::OK, r#"{"status":"ready"}"#)),
        Err(reason) => {
            warn!(%reason, "The server is not ready");
            Err(Problem::not_ready(match reason {
                // Where the store is and why it fails is for the log: everybody may ask this.
                NotReady::Store(_) => "the store does not answer".to_owned(),
                other => other.to_string(),
            }))
        }
    }
}
