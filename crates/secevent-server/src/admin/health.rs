//! For whoever starts and stops the process: whether it lives, and whether it works (SEM-10).

use super::route::{Operation, Route};
use super::{Admin, answer};
use crate::problem::Problem;
use crate::routes::Routes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use secevent_transmitter::{NotReady, Transmitter};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let [alive, ready] = operations();
    vec![Route::new("/healthz", get(self::alive), [alive]), Route::new("/readyz", get(self::ready), [ready])]
}

fn operations() -> [Operation; 2] {
    let alive = Operation::get("readHealth", "The process answers").open();
    let ready = Operation::get("readReadiness", "The store answers and the engine moves").open();
    [
        alive.answers::<Health>(StatusCode::OK, "It lives"),
        ready
            .answers::<Health>(StatusCode::OK, "It works")
            .problem(StatusCode::SERVICE_UNAVAILABLE, "It does not, and why"),
    ]
}

/// How it is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `alive` or `ready`.
    status: &'static str,
    /// What an operator should look at, although the server works.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

fn told(status: &'static str, warnings: Vec<String>) -> Response {
    answer(StatusCode::OK, serde_json::to_vec(&Health { status, warnings }).expect("texts are JSON"))
}

/// `GET /healthz`: it answers, so it lives.
pub(crate) async fn alive() -> Response {
    told("alive", Vec::new())
}

/// `GET /readyz`: the store answers and the engine moves.
pub(crate) async fn ready(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    is_ready(&admin.transmitter).await?;
    let ahead =
        admin.transmitter.clock_state().expiry.ahead.map(|ahead| {
            format!("the system clock is {} s ahead and not used for deletion", ahead.as_secs())
        });
    Ok(told("ready", ahead.into_iter().collect()))
}

async fn is_ready(transmitter: &Transmitter) -> Result<(), Problem> {
    let Err(reason) = transmitter.ready().await else { return Ok(()) };
    warn!(error = %reason, "The server is not ready");
    Err(Problem::not_ready(match reason {
        // Where the store is and why it fails is for the log: everybody may ask this.
        NotReady::Store(_) => "the store does not answer".to_owned(),
        other => other.to_string(),
    }))
}

/// The same two on the public listener, where anybody may ask as often as they like: the store is asked once a second
/// at most, and the log has no more lines than that.
pub(crate) fn public(transmitter: &Arc<Transmitter>) -> Routes {
    let public = Arc::new(Public { transmitter: Arc::clone(transmitter), last: Mutex::default() });
    let [alive_operation, ready_operation] = operations();
    Routes::new()
        .route("/healthz", get(alive), [alive_operation])
        .route("/readyz", get(ready_lately), [ready_operation])
        .with_state(public)
}

struct Public {
    transmitter: Arc<Transmitter>,
    last: Mutex<Option<(Instant, Result<(), Problem>)>>,
}

/// For how long an answer holds on the public listener.
const LATELY: Duration = Duration::from_secs(1);

async fn ready_lately(State(public): State<Arc<Public>>) -> Result<Response, Problem> {
    let mut last = public.last.lock().await;
    let ready = match &*last {
        Some((at, ready)) if at.elapsed() < LATELY => ready.clone(),
        _ => {
            let ready = is_ready(&public.transmitter).await;
            *last = Some((Instant::now(), ready.clone()));
            ready
        }
    };
    ready.map(|()| told("ready", Vec::new()))
}
