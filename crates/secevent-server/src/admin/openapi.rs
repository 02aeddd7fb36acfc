//! The OpenAPI document of the admin listener, made of what each route says of itself.

use super::request::Query;
use super::route::{Operation, Route};
use super::{Admin, answer, routes};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::{PartialSchema as _, ToSchema};

pub(crate) fn route() -> Route {
    let operation = Operation::get("readDocument", "This document")
        .answers::<Document>(StatusCode::OK, "The OpenAPI document of this listener")
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    Route::new("/admin/v1/openapi.json", get(read), [operation])
}

/// An OpenAPI document.
#[derive(Serialize, ToSchema)]
struct Document {
    openapi: String,
    #[schema(value_type = Object)]
    info: Value,
    #[schema(value_type = Vec<Object>)]
    security: Value,
    #[schema(value_type = Object)]
    paths: Value,
    #[schema(value_type = Object)]
    components: Value,
}

/// `GET /admin/v1/openapi.json`
async fn read(State(admin): State<Arc<Admin>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let document = document(routes(admin.config.metrics));
    let text = serde_json::to_vec(&document).expect("a document is JSON");
    Ok(answer(StatusCode::OK, text))
}

/// The document of these routes.
fn document(routes: Vec<Route>) -> Document {
    let mut schemas: Map<String, Value> = Map::new();
    schemas.insert("Problem".to_owned(), json!(ProblemDocument::schema()));
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let mut methods = Map::new();
        for mut operation in route.operations {
            for (name, schema) in std::mem::take(&mut operation.schemas) {
                schemas.insert(name, json!(schema));
            }
            methods.insert(operation.method.as_str().to_ascii_lowercase(), operation.into_value());
        }
        paths.insert(route.path.to_owned(), methods.into());
    }
    let mut schemas: Vec<(String, Value)> = schemas.into_iter().collect();
    schemas.sort_by(|(one, _), (other, _)| one.cmp(other));
    let bearer =
        json!({ "type": "http", "scheme": "bearer", "description": "A token with the scope `admin`" });
    Document {
        openapi: "3.1.0".to_owned(),
        info: json!({
            "title": "secevent: administration",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT" },
        }),
        security: json!([{ "token": [] }]),
        paths: paths.into(),
        components: json!({
            "schemas": Value::Object(schemas.into_iter().collect()),
            "securitySchemes": { "token": bearer },
        }),
    }
}

/// What went wrong (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it says how a problem is written, which `crate::problem` does")]
struct ProblemDocument {
    /// The status of the answer.
    status: u16,
    /// What kind of problem it is.
    title: String,
    /// A short code.
    err: String,
    /// What is wrong with this request.
    detail: String,
    /// The member or parameter that is wrong.
    member: Option<String>,
    /// The requirement that it breaks.
    rule: Option<String>,
}
