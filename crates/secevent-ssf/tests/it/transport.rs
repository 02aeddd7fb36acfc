//! The door out, seen by those who use it.

use bytes::Bytes;
use http::{Request, Response};
use secevent_ssf::{BoxFuture, Transport, TransportError, push};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Answers pushes and times out otherwise.
struct Peer;

impl Transport for Peer {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            match request.headers().contains_key("content-type") {
                true => Ok(push::accepted()),
                false => Err(TransportError::Timeout("after 10 s".to_owned())),
            }
        })
    }
}

#[test]
fn a_transport_is_used_as_dyn() {
    let transport: Arc<dyn Transport> = Arc::new(Peer);
    let send = |request| {
        let mut answer = transport.send(request);
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("nothing to wait for"),
        }
    };
    let endpoint = "https://rp.example/e".parse().unwrap();
    assert_eq!(send(push::request(&endpoint, "a.b.c", None)).unwrap().status(), 202);
    let error = send(Request::new(Bytes::new())).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        ("timeout", "the peer did not answer in time: after 10 s")
    );
}

#[test]
fn each_trouble_has_a_name_and_a_sentence() {
    let because = || "because".to_owned();
    for (error, kind, text) in [
        (TransportError::Unreachable(because()), "unreachable", "the peer cannot be reached: because"),
        (TransportError::Timeout(because()), "timeout", "the peer did not answer in time: because"),
        (TransportError::Tls(because()), "tls", "TLS failed: because"),
        (TransportError::AddressRefused(because()), "address_refused", "the address is not allowed: because"),
        (
            TransportError::BodyTooLarge { bytes_max: 9 },
            "body_too_large",
            "the answer is longer than 9 bytes",
        ),
        (TransportError::Protocol(because()), "protocol", "the peer does not speak HTTP: because"),
    ] {
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
    }
}
