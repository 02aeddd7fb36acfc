//! What anybody may know of a transmitter: its metadata and its public keys (SSF 1.0 section 7).

use crate::admin::route::Operation;
use crate::clients::Scope;
use crate::context::Context;
use crate::openapi::public as document;
use crate::problem::Problem;
use crate::ssf::conditional::unless_same;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use secevent_ssf::{AuthorizationScheme, Endpoint, Method, SpecVersion, TransmitterMetadata};
use serde_json::json;
use std::sync::Arc;

pub(crate) fn operation() -> Operation {
    let example = json!({ "spec_version": "1_0", "issuer": "https://events.example.com" });
    document(
        "readConfiguration",
        "The transmitter's metadata",
        "Transmitter metadata (SSF 1.0 section 7.1)",
        &example,
    )
}

/// The same under one of its older names, of which there are seven.
pub(crate) fn old_operation(place: usize) -> Operation {
    const IDS: [&str; 7] = [
        "readOldConfiguration1",
        "readOldConfiguration2",
        "readOldConfiguration3",
        "readOldConfiguration4",
        "readOldConfiguration5",
        "readOldConfiguration6",
        "readOldConfiguration7",
    ];
    debug_assert!(place < IDS.len(), "each has an id of its own");
    operation().named(IDS[place % IDS.len()])
}

pub(crate) fn jwks_operation() -> Operation {
    document("readKeys", "The issuer's public keys", "A JWK Set (RFC 7517)", &json!({ "keys": [] })).cached()
}

pub(crate) fn protected_resource_operation() -> Operation {
    let example = json!({ "resource": "https://events.example.com", "scopes_supported": ["events.write"] });
    let summary = "Which authorization servers give access tokens";
    document("readProtectedResource", summary, "Protected resource metadata (RFC 9728)", &example)
}

/// `GET {host}/.well-known/ssf-configuration{issuer path}`
pub(crate) async fn configuration(State(context): State<Arc<Context>>) -> Response {
    public(metadata(&context).to_json())
}

/// The same under a name from before SSF 1.0, with what was known then (LEGACY-06, LEGACY-07).
pub(crate) async fn old_configuration(State(context): State<Arc<Context>>) -> Response {
    let mut metadata = metadata(&context);
    metadata.spec_version = None;
    let old = [Method::Push, Method::Poll].map(|method| method.risc_url().to_owned());
    metadata.delivery_methods_supported.extend(old);
    public(metadata.to_json())
}

fn metadata(context: &Context) -> TransmitterMetadata {
    let url = |path| Endpoint::parse_insecure(&context.url(path)).ok();
    let mut metadata = TransmitterMetadata::new(context.issuer.clone());
    metadata.spec_version = Some(SpecVersion::V1_0);
    metadata.jwks_uri = url("/jwks.json");
    metadata.delivery_methods_supported = vec![Method::Push.urn().to_owned(), Method::Poll.urn().to_owned()];
    metadata.configuration_endpoint = url("/ssf/stream");
    metadata.status_endpoint = url("/ssf/status");
    metadata.add_subject_endpoint = url("/ssf/subjects:add");
    metadata.remove_subject_endpoint = url("/ssf/subjects:remove");
    metadata.verification_endpoint = url("/ssf/verify");
    // A host that gives no tokens has a way of its own, and nobody can guess its URN.
    if !context.authorization_servers.is_empty() {
        metadata.authorization_schemes = vec![AuthorizationScheme::new(AuthorizationScheme::OAUTH)];
    }
    metadata.default_subjects = context.transmitter.default_subjects(context.iss());
    metadata
}

/// `GET {issuer}/jwks.json`
pub(crate) async fn jwks(
    State(context): State<Arc<Context>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let keys =
        context.transmitter.public_keys(context.iss()).map_err(secevent_transmitter::ManageError::from)?;
    Ok(unless_same(&headers, keys.to_json()))
}

/// `GET {host}/.well-known/oauth-protected-resource{issuer path}` (RFC 9728): where to get access tokens.
pub(crate) async fn protected_resource(State(context): State<Arc<Context>>) -> Response {
    // What operators do is done at another listener.
    let scopes = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Admin);
    let scopes: Vec<&str> = scopes.map(Scope::name).collect();
    let metadata = json!({
        "resource": context.iss(),
        "authorization_servers": context.authorization_servers,
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
    });
    public(metadata.to_string())
}

/// How long receivers may keep the keys that they have fetched, as `jwks.json` tells them; and other public documents.
pub const JWKS_MAX_AGE_SECONDS: u64 = 300;

/// JSON that may be kept for a while by anybody.
pub(crate) fn public(json: impl Into<Bytes>) -> Response {
    let max_age = format!("public, max-age={JWKS_MAX_AGE_SECONDS}");
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, max_age.as_str())];
    (headers, json.into()).into_response()
}
