//! A transport for transmitters that answer one request after another.

use bytes::Bytes;
use http::{Request, Response};
use secevent_ssf::{BoxFuture, Transport, TransportError};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Sends a request only when the one before is answered, given up or dropped; they go in the order in which they came.
pub(crate) struct OneAtATime {
    transport: Arc<dyn Transport>,
    turn: Mutex<()>,
}

impl OneAtATime {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, turn: Mutex::default() }
    }
}

impl Transport for OneAtATime {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            self.transport.send(request).await
        })
    }
}
