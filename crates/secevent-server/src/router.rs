//! Which request goes where. Nothing is decided here but that.

use crate::clients::Clients;
use crate::context::Context;
use crate::ingest;
use crate::oauth::{self, AuthorizationServer};
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::ssf::{metadata, poll, status, stream, verification};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use secevent::Issuer;
use secevent_ssf::Tolerance;
use secevent_ssf::metadata::{Placement, WellKnown, well_known_url};
use secevent_transmitter::{Acting, Transmitter};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bodies of requests at most, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The endpoints of a transmitter: for each of its issuers the well-known document and everything below the
/// issuer's path; and one authorization server for all of them.
pub(crate) fn transmitter(
    transmitter: &Arc<Transmitter>,
    clients: &Arc<Clients>,
    public_url: &str,
    tolerance: Tolerance,
) -> Router {
    let public_url = public_url.trim_end_matches('/');
    let server = AuthorizationServer { issuer: public_url.to_owned(), clients: Arc::clone(clients) };
    let mut router = Router::new()
        .route("/oauth/token", post(oauth::token))
        .route("/.well-known/oauth-authorization-server", get(oauth::configuration))
        .with_state(Arc::new(server));
    for config in transmitter.issuers() {
        let issuer = config.url.clone();
        let base = issuer.path().trim_end_matches('/').to_owned();
        let well_known = well_known_url(&issuer)[issuer.origin().len()..].to_owned();
        let resource = well_known.replace("ssf-configuration", "oauth-protected-resource");
        let tolerance = Tolerance { legacy: config.legacy, ..tolerance };
        let old_names = Router::new();
        let old_names = match config.legacy {
            false => old_names,
            true => older_spellings(&issuer)
                .into_iter()
                .fold(old_names, |names, path| names.route(&path, get(metadata::old_configuration))),
        };
        let context = Arc::new(Context {
            issuer,
            transmitter: Arc::clone(transmitter),
            clients: Arc::clone(clients),
            tolerance,
            authorization_server: public_url.to_owned(),
        });
        let below = |path: &str| format!("{base}{path}");
        let management = Router::new()
            .route(
                &below("/ssf/stream"),
                get(stream::read)
                    .post(stream::create)
                    .patch(stream::update)
                    .put(stream::replace)
                    .delete(stream::delete),
            )
            .route(&below("/ssf/status"), get(status::read).post(status::set))
            .route(&below("/ssf/verify"), post(verification::verify))
            .layer(axum::middleware::from_fn(to_its_end));
        let endpoints = Router::new()
            .route(&well_known, get(metadata::configuration))
            .merge(old_names)
            .route(&resource, get(metadata::protected_resource))
            .route(&below("/jwks.json"), get(metadata::jwks))
            .merge(management)
            .route(&below("/poll/{stream}"), post(poll::poll))
            .route(&below("/events"), post(ingest::ingest))
            .with_state(context);
        router = router.merge(endpoints);
    }
    bounded(router)
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

/// What holds for every endpoint: bodies are bounded, and what is not there is told as a problem.
pub(crate) fn bounded(router: Router) -> Router {
    router
        .fallback(|| async { Problem::not_found("nothing is served at this address") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(axum::middleware::map_response(too_large_as_problem))
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

/// The body limit answers in plain text; callers get a problem document like everywhere else.
async fn too_large_as_problem(response: Response) -> Response {
    use axum::response::IntoResponse as _;
    if response.status() == http::StatusCode::PAYLOAD_TOO_LARGE
        && response
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_none_or(|kind| kind != "application/problem+json")
    {
        return Problem::too_large(BODY_BYTES_MAX).into_response();
    }
    response
}
