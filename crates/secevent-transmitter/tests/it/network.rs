//! The network as a test plays it: it keeps every request and answers as it is told.

use crate::world::{PATIENCE, claims_of};
use bytes::Bytes;
use http::{Request, Response};
use secevent_ssf::{BoxFuture, Transport, TransportError};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How a receiver answers a push.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    /// 400 with this `err`.
    Refuse(&'static str),
    /// This status with `Retry-After` in seconds.
    Busy(u16, u64),
    Unreachable,
    /// Never.
    Hang,
    /// Later, so.
    After(Duration, Box<Reply>),
}

pub(crate) const ACCEPT: Reply = Reply::Status(202);

impl Reply {
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self::After(wait, Box::new(self))
    }
}

/// One push as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) at: Instant,
    pub(crate) parts: http::request::Parts,
    pub(crate) token: String,
    pub(crate) claims: Value,
}

impl Push {
    /// The producer's name of the event.
    pub(crate) fn txn(&self) -> &str {
        self.claims["txn"].as_str().unwrap()
    }

    pub(crate) fn jti(&self) -> &str {
        self.claims["jti"].as_str().unwrap()
    }
}

pub(crate) type Script = Box<dyn FnMut(&Push) -> Reply + Send>;

/// What happened, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Sent(String),
    Answered(String),
}

#[derive(Clone)]
pub(crate) struct Network(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    pushes: Vec<Push>,
    moments: Vec<Moment>,
    script: Script,
    in_flight: usize,
    in_flight_max: usize,
}

impl Network {
    /// Every receiver accepts.
    pub(crate) fn new() -> Self {
        let script: Script = Box::new(|_| ACCEPT);
        let state = State { pushes: Vec::new(), moments: Vec::new(), script, in_flight: 0, in_flight_max: 0 };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// From now on receivers answer so.
    pub(crate) fn answer(&self, script: impl FnMut(&Push) -> Reply + Send + 'static) {
        self.state().script = Box::new(script);
    }

    /// The first answers are these, one a push; after that everything is accepted.
    pub(crate) fn answer_first(&self, replies: impl IntoIterator<Item = Reply>) {
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        self.answer(move |_| replies.pop().unwrap_or(ACCEPT));
    }

    /// All pushes so far.
    pub(crate) fn pushes(&self) -> Vec<Push> {
        self.state().pushes.clone()
    }

    /// The producer's names of all pushes so far.
    pub(crate) fn txns(&self) -> Vec<String> {
        self.state().pushes.iter().map(|push| push.txn().to_owned()).collect()
    }

    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.state().moments.clone()
    }

    /// The most pushes that were unanswered at one time.
    pub(crate) fn in_flight_max(&self) -> usize {
        self.state().in_flight_max
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    /// Waits until this many pushes were sent, and returns all of them.
    pub(crate) async fn sent(&self, count: usize) -> Vec<Push> {
        self.until(|state| state.pushes.len() >= count).await;
        self.pushes()
    }

    /// Waits until this many pushes were answered.
    pub(crate) async fn answered(&self, count: usize) {
        let answered =
            |state: &State| state.moments.iter().filter(|one| matches!(one, Moment::Answered(_))).count();
        self.until(|state| answered(state) >= count).await;
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        let waiting = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if reached(&self.state()) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("this never came; sent so far: {:?}", self.txns());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

impl Transport for Network {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let (parts, body) = request.into_parts();
        let token = String::from_utf8(body.to_vec()).unwrap();
        let push = Push { at: Instant::now(), parts, claims: claims_of(&token), token };
        let txn = push.txn().to_owned();
        let reply = {
            let mut state = self.state();
            let reply = (state.script)(&push);
            state.pushes.push(push);
            state.moments.push(Moment::Sent(txn.clone()));
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
            reply
        };
        self.0.changed.notify_waiters();
        let under_way = UnderWay { network: self.clone(), txn };
        Box::pin(async move {
            let answer = answer(reply).await;
            drop(under_way);
            answer
        })
    }
}

struct UnderWay {
    network: Network,
    txn: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.network.state();
        state.in_flight -= 1;
        state.moments.push(Moment::Answered(self.txn.clone()));
        drop(state);
        self.network.0.changed.notify_waiters();
    }
}

async fn answer(mut reply: Reply) -> Result<Response<Bytes>, TransportError> {
    while let Reply::After(wait, then) = reply {
        tokio::time::sleep(wait).await;
        reply = *then;
    }
    let (status, body) = match &reply {
        Reply::Status(status) | Reply::Busy(status, _) => (*status, Bytes::new()),
        Reply::Refuse(err) => (400, format!(r#"{{"err":"{err}","description":"no"}}"#).into()),
        Reply::Unreachable => return Err(TransportError::Unreachable("nobody listens".to_owned())),
        Reply::Hang | Reply::After(..) => std::future::pending().await,
    };
    let mut response = Response::builder().status(status);
    if let Reply::Busy(_, seconds) = reply {
        response = response.header("retry-after", seconds);
    }
    Ok(response.body(body).unwrap())
}
