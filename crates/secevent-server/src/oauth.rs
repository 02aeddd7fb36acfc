//! Access tokens for client credentials (RFC 6749 section 4.4).

use crate::clients::{Clients, TOKEN_LIFETIME, TokenError};
use crate::context::{form_pairs, is_type};
use crate::ssf::{answer, metadata};
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// The authorization server of this program.
#[derive(Debug)]
pub(crate) struct AuthorizationServer {
    pub(crate) issuer: String,
    pub(crate) clients: Arc<Clients>,
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414)
pub(crate) async fn configuration(State(server): State<Arc<AuthorizationServer>>) -> Response {
    let scopes = crate::clients::Scope::ALL.map(crate::clients::Scope::name);
    let document = json!({
        "issuer": server.issuer,
        "token_endpoint": format!("{}/oauth/token", server.issuer),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": scopes,
        "response_types_supported": [],
    });
    metadata::public(document.to_string())
}

/// `POST /oauth/token`
pub(crate) async fn token(
    State(server): State<Arc<AuthorizationServer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_type(kind, "application/x-www-form-urlencoded") {
        return refusal("invalid_request", "the body must be application/x-www-form-urlencoded");
    }
    let form = form_pairs(&body);
    // A parameter that comes twice is an error (RFC 6749 section 3.2).
    let twice = form
        .iter()
        .enumerate()
        .any(|(place, (name, _))| form[..place].iter().any(|(other, _)| other == name));
    if twice {
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
    let credentials = match (headers.get(AUTHORIZATION), value("client_id"), value("client_secret")) {
        (Some(_), _, Some(_)) => return refusal("invalid_request", "use one way to authenticate, not two"),
        (Some(basic), _, None) => basic_credentials(basic),
        (None, Some(id), Some(secret)) => Some((id.to_owned(), secret.to_owned())),
        _ => None,
    };
    let Some((id, secret)) = credentials else { return unknown_client() };
    match server.clients.grant(&id, &secret, value("scope")) {
        Ok((token, scope)) => {
            let granted = json!({
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFETIME.as_secs(),
                "scope": scope,
            });
            answer(StatusCode::OK, granted.to_string())
        }
        Err(TokenError::InvalidClient) => unknown_client(),
        Err(TokenError::InvalidScope) => {
            refusal("invalid_scope", "the client does not have a scope that it asks for")
        }
    }
}

/// Id and secret of a `Basic` header: each is form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic_credentials(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    // Clients that forget to encode are understood as far as that is possible: what ends a name in a form, and
    // stands in many a secret in base64, is plain text here.
    let plain = |text: &str| {
        let one_name = text.replace('&', "%26").replace('=', "%3D");
        form_pairs(one_name.as_bytes()).into_iter().next().map_or_else(String::new, |(name, _)| name)
    };
    Some((plain(id), plain(secret)))
}

fn unknown_client() -> Response {
    let body =
        json!({ "error": "invalid_client", "error_description": "the client or its secret is not known" });
    let mut response = answer(StatusCode::UNAUTHORIZED, body.to_string());
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"secevent\""));
    response
}

fn refusal(error: &str, description: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, json!({ "error": error, "error_description": description }).to_string())
}
