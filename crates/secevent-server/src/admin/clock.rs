//! The system clock, and whether records are deleted by it (SEM-30).

use super::route::{Operation, Route};
use super::{Admin, time};
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use secevent_transmitter::ClockState;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let read = Operation::get("readClock", "The system clock, and the time by which records are deleted")
        .answers::<ClockTold>(StatusCode::OK, "Both");
    let confirm = Operation::post("confirmClock", "The system clock is right: delete records by it")
        .answers::<ClockTold>(StatusCode::OK, "Both, from now on the same");
    vec![
        Route::new("/admin/v1/clock", get(self::read), [read]),
        Route::new("/admin/v1/clock/confirm", post(self::confirm), [confirm]),
    ]
}

/// The system clock, and the time by which records are deleted for their age.
#[derive(Serialize, ToSchema)]
struct ClockTold {
    /// The system clock.
    #[schema(format = DateTime)]
    now: String,
    /// Records are deleted as if this was the time.
    #[schema(format = DateTime)]
    expiry_now: String,
    /// How far the system clock is ahead of elapsed time, and not used for deletion; 0 if it is used.
    ahead_seconds: u64,
    /// Whether it stays unused until it is confirmed. Otherwise it is used an hour after the start.
    needs_confirmation: bool,
}

/// `GET /admin/v1/clock`
pub(crate) async fn read(State(admin): State<Arc<Admin>>) -> Response {
    told(&admin.transmitter.clock_state())
}

/// `POST /admin/v1/clock/confirm`
pub(crate) async fn confirm(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    let state = admin.transmitter.confirm_clock().await.map_err(|error| Problem::ours(&error))?;
    Ok(told(&state))
}

fn told(state: &ClockState) -> Response {
    let told = ClockTold {
        now: time::told(state.now),
        expiry_now: time::told(state.expiry.now),
        ahead_seconds: state.expiry.ahead.map_or(0, |ahead| ahead.as_secs()),
        needs_confirmation: state.expiry.needs_confirmation,
    };
    answer(StatusCode::OK, serde_json::to_vec(&told).expect("texts and numbers are JSON"))
}
