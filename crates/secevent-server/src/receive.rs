//! SETs come in: the push endpoints of a receiver's sources (RFC 8935).

use crate::router::bounded;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::StatusCode;
use secevent_receiver::PushEndpoint;

/// The push endpoints of a receiver, each at `/receive/{source}`.
pub fn receiver_router(endpoints: impl IntoIterator<Item = (String, PushEndpoint)>) -> Router {
    let routes = endpoints.into_iter().fold(Router::new(), |router, (source, endpoint)| {
        // Which methods are answered, and how, is for the endpoint to say.
        router.route(&format!("/receive/{source}"), any(move |request| receive(endpoint, request)))
    });
    bounded(routes)
}

async fn receive(endpoint: PushEndpoint, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // A byte more than the endpoint takes is enough for it to see that there is too much.
    let Ok(body) = to_bytes(body, endpoint.body_bytes_max() + 1).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    endpoint.handle(Request::from_parts(head, body)).await.map(Body::from)
}
