//! A copy of the store, and whether it is whole, while it is at work.

use super::request::{Members, RULE};
use super::route::{Operation, Route};
use super::{Admin, answer};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_store::StoreError;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{error, info};
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let path = json!({ "type": "string", "description": "An absolute path, where nothing is yet" });
    let write = Operation::post("writeBackup", "Write a copy of the store to a file of the server's machine")
        .body(&["path"], &json!({ "path": path }))
        .answers::<Copied>(StatusCode::CREATED, "The copy is whole, and on disk")
        .problem(StatusCode::NOT_FOUND, "The store has no backup of its own")
        .problem(StatusCode::CONFLICT, "The path cannot be used, or another copy is being written");
    let check = Operation::get("checkStore", "Read the whole store, and report what is damaged")
        .answers::<Damage>(StatusCode::OK, "What is damaged; nothing is good")
        .problem(StatusCode::NOT_FOUND, "The store cannot be checked")
        .problem(StatusCode::CONFLICT, "It is being copied or checked already");
    vec![
        Route::new("/admin/v1/backup", post(self::write), [write]),
        Route::new("/admin/v1/store/check", get(self::check), [check]),
    ]
}

/// A copy of the store.
#[derive(Serialize, ToSchema)]
struct Copied {
    path: String,
}

/// What is damaged in the store.
#[derive(Serialize, ToSchema)]
struct Damage {
    /// A line for each fault, some at most. None are good.
    damage: Vec<String>,
}

/// `GET /admin/v1/store/check`: reads all pages, which takes some seconds for each gigabyte.
pub(crate) async fn check(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    let Some(backup) = &admin.config.backup else {
        return Err(Problem::not_found("this server's store cannot be checked"));
    };
    match backup.check().await {
        Ok(damage) => {
            if !damage.is_empty() {
                error!(?damage, "Store is damaged");
            }
            Ok(answer(StatusCode::OK, serde_json::to_vec(&Damage { damage }).expect("texts are JSON")))
        }
        Err(StoreError::Busy) => Err(Problem::conflict("the store is being copied or checked already")),
        Err(failed) => {
            error!(%failed, "Store check failed");
            Err(Problem::unavailable(format!("the store is not checked: {failed}")))
        }
    }
}

/// `POST /admin/v1/backup`: writes a copy to a file of this machine that is not there yet. It is whole and survives a
/// crash once this answers.
pub(crate) async fn write(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["path"])?;
    let path = members.text("path")?.ok_or_else(|| Invalid::new("path", RULE, "is required and missing"))?;
    let to = PathBuf::from(&path);
    if !to.is_absolute() {
        return Err(Invalid::new(
            "path",
            RULE,
            "must be absolute: where the server runs is not yours to know",
        )
        .into());
    }
    let Some(backup) = &admin.config.backup else {
        return Err(Problem::not_found("this server's store has no backup of its own"));
    };
    match backup.backup(to).await {
        Ok(()) => {
            info!(path, "A copy of the store is written");
            Ok(answer(StatusCode::CREATED, serde_json::to_vec(&Copied { path }).expect("it is a text")))
        }
        Err(StoreError::Busy) => Err(Problem::conflict("another copy is being written")),
        // What is wrong with the path is for whoever chose it.
        Err(StoreError::Unusable(reason)) => Err(Problem::conflict(reason)),
        Err(failed) => {
            error!(path, %failed, "No copy of the store is written");
            Err(Problem::unavailable(format!("no copy is written: {failed}")))
        }
    }
}
