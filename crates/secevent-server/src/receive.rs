//! SETs come in: the push endpoints of a receiver's sources (RFC 8935).

use crate::listen::prove;
use crate::problem::Problem;
use crate::router::bounded;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use secevent_receiver::PushEndpoint;
use std::error::Error;

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
    if !endpoint.is_authenticated(&head.headers) {
        return endpoint.handle(Request::from_parts(head, Bytes::new())).await.map(Body::from);
    }
    let extensions = head.extensions.clone();
    // A byte more than the endpoint takes is enough for it to see that there is too much.
    let body = match to_bytes(body, endpoint.body_bytes_max() + 1).await {
        Ok(body) => body,
        Err(error) if error.source().is_some_and(<dyn Error + 'static>::is::<LengthLimitError>) => {
            return Problem::too_large(endpoint.body_bytes_max()).into_response();
        }
        Err(_) => return Problem::unreadable_body().into_response(),
    };
    let answer = endpoint.handle(Request::from_parts(head, body)).await;
    // A SET that was taken was signed by the source.
    if answer.status().is_success() {
        prove(&extensions);
    }
    answer.map(Body::from)
}
