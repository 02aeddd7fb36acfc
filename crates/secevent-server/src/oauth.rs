//! Access tokens for client credentials (RFC 6749 section 4.4).

use crate::admin::route::{Operation, text};
use crate::clients::{ASSERTION_TYPE, Clients, Origin, Scope, Shown, TokenError, authorization};
use crate::context::{form_pairs, is_type};
use crate::listen::prove;
use crate::openapi::{public as document, schema};
use crate::peer::Peer;
use crate::problem::Problem;
use crate::ssf::{answer, metadata};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use secevent_jose::{Algorithm, Algorithms};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn configuration_operation() -> Operation {
    let example = json!({ "issuer": "https://events.example.com", "token_endpoint": "https://events.example.com/oauth/token" });
    let summary = "The metadata of the authorization server";
    document("readAuthorizationServer", summary, "Authorization server metadata (RFC 8414)", &example)
}

pub(crate) fn operation() -> Operation {
    let form = json!({
        "type": "object",
        "properties": {
            "grant_type": { "const": "client_credentials" },
            "scope": { "type": "string", "description": "Scopes with spaces between. Default: all of the client" },
            "client_id": text(),
            "client_secret": text(),
            "client_assertion_type": { "const": ASSERTION_TYPE },
            "client_assertion": { "type": "string", "description": "A signed JWT (RFC 7523)" },
            "resource": { "type": "string", "format": "uri" },
        },
        "required": ["grant_type"],
    });
    let granted = json!({
        "type": "object",
        "properties": {
            "access_token": text(),
            "token_type": { "const": "Bearer" },
            "expires_in": { "type": "integer", "description": "For how many seconds it is good" },
            "scope": text(),
        },
        "required": ["access_token", "token_type", "expires_in", "scope"],
    });
    let error = json!({
        "type": "object",
        "properties": { "error": text(), "error_description": text() },
        "required": ["error"],
    });
    let example = json!({ "access_token": "eyJ0eXAi...", "token_type": "Bearer", "expires_in": 600, "scope": "events.write" });
    let error_example =
        |error: &str, description: &str| json!({ "error": error, "error_description": description });
    let often =
        Problem::too_often(Duration::from_secs(1), "requests for tokens under this name come too often");
    let unavailable = "the client cannot be authenticated at the moment, try again";
    Operation::post("requestToken", "Get an access token for client credentials (RFC 6749 section 4.4)")
        .secured_by(json!([{ "secret": [] }, {}]))
        .takes("application/x-www-form-urlencoded", &form, &json!({ "grant_type": "client_credentials" }))
        .component("TokenError", error)
        .gives(StatusCode::OK, "An access token", &granted, &example)
        .gives(
            StatusCode::BAD_REQUEST,
            "The form is malformed, or asks for what the client does not have",
            &schema("TokenError"),
            &error_example("invalid_scope", "the client does not have a scope that it asks for"),
        )
        .gives(
            StatusCode::UNAUTHORIZED,
            "The client is not known, or its credentials are not valid",
            &schema("TokenError"),
            &error_example("invalid_client", "the client is not known, or its credentials are not valid"),
        )
        .with_header(StatusCode::UNAUTHORIZED, "WWW-Authenticate", "How to authenticate")
        .refuses(&Problem::request_timeout(), "The body took too long")
        .refuses(&Problem::too_large(FORM_BYTES_MAX), "The form is too long")
        .refuses(&often, "There are too many requests under this name")
        .refuses(&Problem::bodies_full(), "Too many bodies are unfinished")
        .refuses(&Problem::unavailable(unavailable), "The credentials cannot be checked at the moment")
}

/// `GET {host}/.well-known/oauth-authorization-server{path of the public URL}` (RFC 8414)
pub(crate) async fn configuration(State(clients): State<Arc<Clients>>) -> Response {
    let scopes = Scope::ALL.map(Scope::name);
    let algorithms: Vec<&str> = Algorithms::DEFAULT.iter().map(Algorithm::as_str).collect();
    let document = json!({
        "issuer": clients.server(),
        "token_endpoint": format!("{}/oauth/token", clients.server()),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "scopes_supported": scopes,
        "response_types_supported": [],
    });
    metadata::public(document.to_string())
}

/// The longest form that asks for a token: an assertion is the longest that it may hold.
pub(crate) const FORM_BYTES_MAX: usize = 64 * 1024;

/// `POST {public URL}/oauth/token`
pub(crate) async fn token(
    State(clients): State<Arc<Clients>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Problem::too_large(FORM_BYTES_MAX).into_response();
        }
        Err(_) => return refusal("invalid_request", "the body could not be read"),
    };
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_type(kind, "application/x-www-form-urlencoded") {
        return refusal("invalid_request", "the body must be application/x-www-form-urlencoded");
    }
    let form = form_pairs(&body);
    // A parameter that comes twice is an error (RFC 6749 section 3.2), but for `resource` (RFC 8707 section 2).
    let mut names = HashSet::new();
    if !form.iter().all(|(name, _)| name == "resource" || names.insert(name)) {
        return refusal("invalid_request", "a parameter is there twice");
    }
    // A parameter without a value counts as left out (RFC 6749 section 3.2).
    let named = |name: &str| form.iter().find(|(key, value)| key == name && !value.is_empty());
    let value = |name: &str| named(name).map(|(_, value)| value.as_str());
    match value("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return refusal("unsupported_grant_type", "only client_credentials is supported"),
        None => return refusal("invalid_request", "grant_type is required and missing"),
    }
    let assertion = value("client_assertion").or_else(|| value("client_assertion_type"));
    let id = value("client_id").map(str::to_owned);
    let Ok(authorization) = authorization(&headers) else {
        return refusal("invalid_request", "the request must not have more than one Authorization header");
    };
    let shown = match (authorization, value("client_secret"), assertion) {
        (Some(basic), None, None) => {
            let shown = basic_credentials(basic);
            if let (Some(id), Some(Shown::Secret { named, or })) = (&id, &shown)
                && ![Some(named), or.as_ref()].into_iter().flatten().any(|(other, _)| other == id)
            {
                return refusal(
                    "invalid_request",
                    "client_id is another client than the one in Authorization",
                );
            }
            shown
        }
        (None, Some(secret), None) => id.map(|id| Shown::Secret { named: (id, secret.to_owned()), or: None }),
        (None, None, Some(_)) => match (value("client_assertion_type"), value("client_assertion")) {
            (Some(ASSERTION_TYPE), Some(assertion)) => {
                Some(Shown::Assertion { id, assertion: assertion.to_owned() })
            }
            (Some(ASSERTION_TYPE), None) => return refusal("invalid_request", "client_assertion is missing"),
            _ => return refusal("invalid_request", "client_assertion_type must be the one of RFC 7523"),
        },
        (None, None, None) => None,
        _ => return refusal("invalid_request", "use one way to authenticate, not two"),
    };
    let Some(shown) = shown else { return unknown_client(None) };
    if let Some((_, foreign)) = form
        .iter()
        .find(|(name, value)| name == "resource" && !value.is_empty() && !clients.is_resource(value))
    {
        let shown: String = foreign.chars().take(200).collect();
        return refusal("invalid_target", &format!("there is no resource {shown:?} here"));
    }
    let origin = Origin::of(peer.map(|Extension(Peer(address))| address));
    match clients.grant(shown, value("scope"), origin).await {
        Ok(granted) => {
            prove(&extensions);
            let granted = json!({
                "access_token": granted.token,
                "token_type": "Bearer",
                "expires_in": granted.lifetime.as_secs(),
                "scope": granted.scope,
            });
            answer(StatusCode::OK, granted.to_string())
        }
        Err(TokenError::InvalidClient(reason)) => unknown_client(reason),
        Err(TokenError::TooOften(wait)) => {
            Problem::too_often(wait, "requests for tokens under this name come too often").into_response()
        }
        Err(TokenError::Unavailable(wait)) => {
            Problem::unavailable_for(wait, "the client cannot be authenticated at the moment, try again")
                .into_response()
        }
        Err(TokenError::InvalidScope) => {
            refusal("invalid_scope", "the client does not have a scope that it asks for")
        }
    }
}

/// Id and secret of a `Basic` header: each is form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic_credentials(value: &HeaderValue) -> Option<Shown> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    // What ends a name in a form, and stands in many a secret in base64, is plain text here.
    let decoded = |text: &str| {
        let one_name = text.replace('&', "%26").replace('=', "%3D");
        form_pairs(one_name.as_bytes()).into_iter().next().map_or_else(String::new, |(name, _)| name)
    };
    let named = (decoded(id), decoded(secret));
    // Many clients forget to encode: a plus sign means a space, or itself.
    let or = (id.to_owned(), secret.to_owned());
    Some(Shown::Secret { or: (or != named).then_some(or), named })
}

fn unknown_client(reason: Option<&str>) -> Response {
    let description = reason.unwrap_or("the client is not known, or its credentials are not valid");
    let body = json!({ "error": "invalid_client", "error_description": description });
    let mut response = answer(StatusCode::UNAUTHORIZED, body.to_string());
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"secevent\""));
    response
}

fn refusal(error: &str, description: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, json!({ "error": error, "error_description": description }).to_string())
}
