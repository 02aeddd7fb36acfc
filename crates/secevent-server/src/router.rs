//! Which request goes where. Nothing is decided here but that.

use crate::admin::health;
use crate::authenticate::Authenticate;
use crate::clients::Clients;
use crate::context::Context;
use crate::ingest;
use crate::oauth;
use crate::openapi::{self, Shared};
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::routes::Routes;
use crate::ssf::{metadata, poll, status, stream, subjects, verification};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use secevent::Issuer;
use secevent_ssf::Tolerance;
use secevent_ssf::metadata::{Placement, WellKnown, well_known_url};
use secevent_transmitter::{Acting, Transmitter};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bodies of requests at most, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How the endpoints of the issuers are served.
pub(crate) struct Door {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    /// The issuers of the authorization servers whose access tokens are taken.
    pub(crate) authorization_servers: Vec<String>,
    pub(crate) tolerance: Tolerance,
    /// Whether events are taken over HTTP.
    pub(crate) ingest: bool,
}

/// The endpoints of a transmitter with clients of its own, and one authorization server for all its issuers.
pub(crate) fn transmitter(
    transmitter: &Arc<Transmitter>,
    clients: &Arc<Clients>,
    tolerance: Tolerance,
    health: bool,
) -> Routes {
    let door = Door {
        authenticate: Arc::clone(clients) as Arc<dyn Authenticate>,
        authorization_servers: clients.authorization_servers().into_iter().map(str::to_owned).collect(),
        tolerance,
        ingest: true,
    };
    let mut routes = Routes::new();
    if clients.gives_tokens() {
        routes = routes.merge(authorization_server(clients));
    }
    if health {
        routes = routes.merge(health::public(transmitter));
    }
    let origin = Issuer::parse_insecure(clients.server()).map(|url| url.origin().to_owned());
    let shared = Shared { origin: origin.unwrap_or_default(), documented: routes.documented().to_vec() };
    issuers(transmitter, &door, &shared).merge(routes).with(bounded)
}

/// For each issuer the well-known document and everything below the issuer's path.
pub(crate) fn issuers(transmitter: &Arc<Transmitter>, door: &Door, shared: &Shared) -> Routes {
    let mut routes = Routes::new();
    for config in transmitter.issuers() {
        let issuer = config.url.clone();
        let base = issuer.path().trim_end_matches('/').to_owned();
        let well_known = well_known_url(&issuer)[issuer.origin().len()..].to_owned();
        let resource = well_known.replacen("ssf-configuration", "oauth-protected-resource", 1);
        let tolerance = Tolerance { legacy: config.legacy, ..door.tolerance };
        let mut old_names = Routes::new();
        if config.legacy {
            for (place, path) in older_spellings(&issuer).iter().enumerate() {
                let operation = metadata::old_operation(place);
                old_names = old_names.route(path, get(metadata::old_configuration), [operation]);
            }
        }
        let context = Arc::new(Context {
            issuer: issuer.clone(),
            transmitter: Arc::clone(transmitter),
            authenticate: Arc::clone(&door.authenticate),
            tolerance,
            authorization_servers: door.authorization_servers.clone(),
        });
        let below = |path: &str| format!("{base}{path}");
        let management = Routes::new()
            .route(
                &below("/ssf/stream"),
                get(stream::read)
                    .post(stream::create)
                    .patch(stream::update)
                    .put(stream::replace)
                    .delete(stream::delete),
                stream::operations(),
            )
            .route(&below("/ssf/status"), get(status::read).post(status::set), status::operations())
            .route(&below("/ssf/subjects:add"), post(subjects::add), [subjects::add_operation()])
            .route(&below("/ssf/subjects:remove"), post(subjects::remove), [subjects::remove_operation()])
            .route(&below("/ssf/verify"), post(verification::verify), [verification::operation()])
            .with(|router| router.layer(axum::middleware::from_fn(to_its_end)));
        let mut endpoints = Routes::new()
            .route(&well_known, get(metadata::configuration), [metadata::operation()])
            .merge(old_names)
            .route(&below("/jwks.json"), get(metadata::jwks), [metadata::jwks_operation()])
            .merge(management)
            .route(&below("/poll/{stream}"), post(poll::poll), [poll::operation()]);
        if !door.authorization_servers.is_empty() {
            endpoints = endpoints.route(
                &resource,
                get(metadata::protected_resource),
                [metadata::protected_resource_operation()],
            );
        }
        if door.ingest {
            endpoints = endpoints.route(&below("/events"), post(ingest::ingest), [ingest::operation()]);
        }
        let document = openapi::route(&issuer, &below("/openapi.json"), endpoints.documented(), shared);
        routes = routes.merge(endpoints.with_state(context)).merge(document);
    }
    routes
}

/// The authorization server of this program, at the addresses that follow from its name (RFC 8414 section 3).
fn authorization_server(clients: &Arc<Clients>) -> Routes {
    let path =
        Issuer::parse_insecure(clients.server()).map_or_else(|_| String::new(), |url| url.path().to_owned());
    Routes::new()
        .route(
            &format!("{path}/oauth/token"),
            post(oauth::token).layer(DefaultBodyLimit::max(oauth::FORM_BYTES_MAX)),
            [oauth::operation()],
        )
        .route(
            &format!("/.well-known/oauth-authorization-server{path}"),
            get(oauth::configuration),
            [oauth::configuration_operation()],
        )
        .with_state(Arc::clone(clients))
}

/// Where receivers from before SSF 1.0 look for metadata (E-31).
fn older_spellings(issuer: &Issuer) -> BTreeSet<String> {
    let all = WellKnown::ALL.into_iter().flat_map(|name| {
        [Placement::Inserted, Placement::Appended].map(|placement| name.url(issuer, placement))
    });
    all.filter(|url| *url != well_known_url(issuer))
        .map(|url| url[issuer.origin().len()..].to_owned())
        .collect()
}

/// What holds for every server: bodies are bounded, and what is not there is told as a problem.
pub(crate) fn bounded(router: Router) -> Router {
    limited(router.fallback(|| async { Problem::not_found("nothing is served at this address") }))
}

/// What holds for every endpoint, also among those of a host, who says himself what is not there.
pub(crate) fn limited(router: Router) -> Router {
    router
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(axum::middleware::from_fn(finish))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Goes on also when the caller hangs up. A change of a stream is made in the store and then in memory; if it were
/// dropped between the two, nobody could change the stream any more until the next start.
async fn to_its_end(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    // Who asks is known by the verbs: a client manages what is its own.
    let acting = Acting::by_request(id.as_str().to_owned());
    match tokio::spawn(acting.run(next.run(request))).await {
        Ok(response) => id.on(response),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// What holds for every request and every answer, whatever the endpoint.
async fn finish(request: Request, next: Next) -> Response {
    let is_encoded = |coding: &HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if request.headers().get_all(CONTENT_ENCODING).iter().any(is_encoded) {
        let mut response = Problem::unsupported_content_encoding().into_response();
        // RFC 9110 section 15.5.16 asks for this: it says that the coding was the problem.
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return response;
    }
    let mut response = as_problem(next.run(request).await);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Extractors refuse bodies in plain text; callers get a problem document like everywhere else.
fn as_problem(response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_plain = kind.is_none_or(|kind| kind.starts_with(b"text/plain"));
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE if is_plain => Problem::too_large(BODY_BYTES_MAX).into_response(),
        StatusCode::BAD_REQUEST if is_plain => Problem::unreadable_body().into_response(),
        _ => response,
    }
}
