//! The OpenAPI document of an issuer on the public listener, made of what each route says of itself.
//!
//! Paths are told from the issuer's URL, so that the document of one issuer is that of all. What is at the origin has a
//! server of its own.

use crate::admin::route::{Operation, text};
use crate::authenticate::insufficient_scope;
use crate::clients::{Scope, invalid_token, token_missing, two_authorizations};
use crate::problem::Problem;
use crate::router::BODY_BYTES_MAX;
use crate::routes::{Documented, Routes};
use crate::ssf::conditional::unless_same;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Issuer;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is served once for all issuers, and at which origin.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) origin: String,
    pub(crate) documented: Vec<Documented>,
}

/// `GET {issuer}/openapi.json`, with what else there is of this issuer.
pub(crate) fn route(issuer: &Issuer, path: &str, others: &[Documented], shared: &Shared) -> Routes {
    let operation = Operation::get("readDocument", "This document")
        .open()
        .gives(
            StatusCode::OK,
            "The OpenAPI document of this issuer",
            &json!({ "type": "object" }),
            &json!({}),
        )
        .cached();
    let mut own = vec![Documented { path: path.to_owned(), operations: vec![operation.clone()] }];
    own.extend_from_slice(others);
    // Requests share its memory: a peer that does not read its answers must not hold a copy for each.
    let document = Bytes::from(document(issuer, &own, shared).to_string());
    Routes::new().route(path, get(read), [operation]).with_state(document)
}

async fn read(State(document): State<Bytes>, headers: HeaderMap) -> Response {
    unless_same(&headers, document)
}

fn document(issuer: &Issuer, own: &[Documented], shared: &Shared) -> Value {
    let base = issuer.path().trim_end_matches('/');
    let (mut paths, mut components) = (BTreeMap::new(), BTreeMap::new());
    components.insert("Problem".to_owned(), problem());
    let origins = own.iter().map(|one| (one, issuer.origin()));
    for (one, origin) in origins.chain(shared.documented.iter().map(|one| (one, shared.origin.as_str()))) {
        let below =
            one.path.strip_prefix(base).filter(|rest| origin == issuer.origin() && rest.starts_with('/'));
        let mut item = Map::new();
        if below.is_none() {
            item.insert("servers".to_owned(), json!([{ "url": origin }]));
        }
        for operation in &one.operations {
            for (name, schema) in &operation.components {
                components.insert((*name).to_owned(), schema.clone());
            }
            for (name, schema) in &operation.schemas {
                components.insert(name.clone(), json!(schema));
            }
            let method = operation.method.as_str().to_ascii_lowercase();
            item.insert(method, operation.clone().everywhere().into_plain_value());
        }
        paths.insert(below.unwrap_or(&one.path).to_owned(), Value::from(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "secevent",
            "description": "Send events, and receive them: OpenID Shared Signals Framework 1.0, RFC 8936 and the \
                            ingest of this server.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": issuer.as_str().trim_end_matches('/') }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token. The names behind it are the scopes of which it must have one: \
                                    `ssf.manage` includes `ssf.read`.",
                },
                "secret": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A client's id and secret, each form-encoded (RFC 6749 section 2.3.1)",
                },
            },
        },
    })
}

/// A problem document (RFC 9457).
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457). Clients decide by the status.",
        "properties": {
            "status": { "type": "integer", "description": "The status of the answer" },
            "title": { "type": "string", "description": "What that status is called" },
            "err": { "enum": Problem::ERRS, "description": "A short code" },
            "detail": { "type": "string", "description": "What is wrong with this request, for people" },
            "member": { "type": "string", "description": "The member of the request that is wrong" },
            "rule": { "type": "string", "description": "The rule that it breaks: `secevent rule ID` explains it" },
        },
        "required": ["status", "title", "err", "detail"],
    })
}

/// What the operations of the public listener have in common.
impl Operation {
    /// The answer may be kept, and asked whether it is still the same.
    pub(crate) fn cached(self) -> Self {
        let what = "The ETag of what the caller has: then 304 says that it is still the same";
        self.parameter("header", "If-None-Match", what, &text())
            .with_header(StatusCode::OK, "ETag", "The version that this is")
            .answers_nothing(StatusCode::NOT_MODIFIED, "It is what the caller has")
    }

    /// Answers of a caller whose token must have this scope.
    pub(crate) fn authorized(self, scope: Scope) -> Self {
        let keys = "the keys of the authorization server are unavailable or not fetched again yet, try again";
        self.needs(scope)
            .refuses(&two_authorizations(), "There are two Authorization headers")
            .refuses(&token_missing(), "There is no bearer token")
            .refuses(&invalid_token(), "The token is not valid, or its client is switched off")
            .refuses(&insufficient_scope(scope), "The token or the client lacks the scope")
            .refuses(&Problem::unavailable(keys), "The token cannot be checked at the moment")
    }

    /// Answers of an endpoint of a receiver's streams.
    pub(crate) fn of_receiver(self, scope: Scope) -> Self {
        let often = Problem::too_often(Duration::from_secs(1), "the client's requests come too often");
        self.authorized(scope)
            .refuses(
                &Problem::not_found("there is no such issuer"),
                "The client has nothing to do with this issuer",
            )
            .refuses(&often, "The client's requests come too often")
            .refuses(
                &Problem::unavailable("the request could not be carried out, try again"),
                "The store fails",
            )
    }

    /// Answers about one stream of the caller.
    pub(crate) fn of_stream(self) -> Self {
        self.refuses(&Problem::not_found("there is no such stream"), "The caller has no such stream")
    }

    /// Answers of what changes something in the store.
    pub(crate) fn changes(self) -> Self {
        let full = Problem::unavailable_for(Duration::from_secs(30), "the store is full, try again later");
        self.refuses(
            &Problem::conflict("it was changed by somebody else at this moment"),
            "Somebody else changed it",
        )
        .refuses(&full, "The store or its disk is full")
    }

    /// A JSON body that can be malformed.
    pub(crate) fn takes_json(self, schema: &Value, example: &Value) -> Self {
        self.takes("application/json", schema, example).bounded_body().refuses(
            &Problem::unsupported_media_type("application/json"),
            "The Content-Type is something else than application/json",
        )
    }

    /// What can be wrong with any body.
    pub(crate) fn bounded_body(self) -> Self {
        self.refuses(&Problem::bad_request("the body must be a JSON object"), "The body breaks a rule")
            .refuses(&Problem::request_timeout(), "The body took too long")
            .refuses(&Problem::too_large(BODY_BYTES_MAX), "The body is too long")
            .refuses(&Problem::bodies_full(), "Too many bodies are unfinished")
    }

    /// What anybody can be answered.
    fn everywhere(self) -> Self {
        self.refuses(&Problem::unsupported_content_encoding(), "The body has a Content-Encoding")
    }

    /// The same operation under another name.
    pub(crate) fn named(mut self, id: &'static str) -> Self {
        self.id = id;
        self
    }
}

/// A `GET` of a document that anybody may read and keep.
pub(crate) fn public(id: &'static str, summary: &'static str, what: &str, example: &Value) -> Operation {
    Operation::get(id, summary).open().gives(StatusCode::OK, what, &json!({ "type": "object" }), example)
}

/// The query that names a stream.
pub(crate) fn stream_id(operation: Operation, required: bool) -> Operation {
    operation.parameter_that("query", "stream_id", "Which stream", &text(), required)
}

/// A reference to a schema of the document.
pub(crate) fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
