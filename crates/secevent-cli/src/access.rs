//! Access tokens for a transmitter's endpoints: where they are given, and how to ask for one.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use secevent::Issuer;
use secevent::json::{Limits, check};
use secevent_receiver::AuthorizationServer;
use secevent_ssf::{Endpoint, Tolerance, TransmitterMetadata, Transport};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Finds where a transmitter's access tokens are given.
pub(crate) async fn token_endpoint(transport: &dyn Transport, issuer: &Issuer) -> anyhow::Result<Endpoint> {
    let metadata = TransmitterMetadata::new(issuer.clone());
    let tolerance = Tolerance { plain_http: true, ..Tolerance::NONE };
    Ok(AuthorizationServer::of(&metadata, tolerance, transport).await?.token_endpoint)
}

/// An access token for client credentials (RFC 6749 section 4.4).
pub(crate) async fn access_token(
    transport: &dyn Transport,
    endpoint: &Endpoint,
    client: &str,
    secret: &str,
    scope: &str,
) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", client).append_pair("client_secret", secret).append_pair("scope", scope);
    let request = Request::post(endpoint.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Bytes::from(form.finish()))?;
    let response = transport.send(request).await?;
    let granted: Granted = read(&response).context("no access token was given")?;
    Ok(granted.access_token)
}

fn read<T: DeserializeOwned>(response: &Response<Bytes>) -> anyhow::Result<T> {
    if response.status() != StatusCode::OK {
        bail!("{}", told(response));
    }
    let text = check(response.body(), Limits::BODY)?;
    Ok(serde_json::from_str(text)?)
}

/// An answer that is not what was hoped for, in a line: its status, and what it says of the reason.
pub(crate) fn told(response: &Response<Bytes>) -> String {
    #[derive(Default, Deserialize)]
    struct Body {
        detail: Option<String>,
        error: Option<String>,
        error_description: Option<String>,
    }
    let body: Body = serde_json::from_slice(response.body()).unwrap_or_default();
    let reason = [body.detail, body.error, body.error_description]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ");
    match reason.is_empty() {
        true => format!("the server answered {}", response.status()),
        false => format!("the server answered {}: {reason}", response.status()),
    }
}
