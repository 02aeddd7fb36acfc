//! Whoever is pushed to: it keeps what comes, and answers as it is told.

use bytes::Bytes;
use http::{Request, Response, Uri};
use secevent_ssf::{BoxFuture, Transport, TransportError, UrlRefused};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::watch;

pub(crate) struct Recipient {
    came: watch::Sender<Vec<Request<Bytes>>>,
    answers: Mutex<VecDeque<Response<Bytes>>>,
}

impl Recipient {
    pub(crate) fn new() -> Self {
        Self { came: watch::Sender::new(Vec::new()), answers: Mutex::default() }
    }

    /// The next push is refused so, before others are accepted.
    pub(crate) fn refuse_next(&self, err: &str) {
        let body = json!({"err": err, "description": "as the test wants it"}).to_string();
        let answer = Response::builder().status(400).header("content-type", "application/json");
        self.answers.lock().unwrap().push_back(answer.body(body.into()).unwrap());
    }

    /// The first pushes, as soon as there are so many.
    pub(crate) async fn pushed(&self, count: usize) -> Vec<Request<Bytes>> {
        let mut came = self.came.subscribe();
        let patience = std::time::Duration::from_secs(3600);
        let waiting = tokio::time::timeout(patience, came.wait_for(|came| came.len() >= count));
        waiting.await.expect("so many never come").unwrap().clone()
    }

    /// The claims of the push with this number, counted from 1.
    pub(crate) async fn claims(&self, number: usize) -> Value {
        claims_of(std::str::from_utf8(self.pushed(number).await[number - 1].body()).unwrap())
    }
}

impl Transport for Recipient {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self.came.send_modify(|came| came.push(request));
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move { Ok(answer.unwrap_or_else(secevent_ssf::push::accepted)) })
    }

    fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        no_private_use(url)
    }
}

/// As much of an address guard as these tests need.
pub(crate) fn no_private_use(url: &Uri) -> Result<(), UrlRefused> {
    match url.host() {
        Some(host) if host.starts_with("10.") => Err(UrlRefused(format!("{host} is for private use"))),
        _ => Ok(()),
    }
}

/// The claims of a SET, unchecked.
pub(crate) fn claims_of(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
