//! A transmitter in memory: metadata, keys, streams, push and poll, with everything that may go wrong.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use secevent_jose::{Algorithm, JwkSet, Signer, SigningKey};
use secevent_receiver::PushEndpoint;
use secevent_ssf::poll::{self, PollLimits, PollRequest};
use secevent_ssf::{BoxFuture, Transport, TransportError, push};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

pub(crate) const ISSUER: &str = "https://tr.example";
pub(crate) const AUDIENCE: &str = "https://rp.example";
pub(crate) const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

pub(crate) type Answered = Result<Response<Bytes>, TransportError>;

#[derive(Clone)]
pub(crate) struct FakeTransmitter {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    queued: Notify,
}

pub(crate) struct State {
    pub(crate) signer: Signer,
    /// What signs in its place, with tokens and keys that have no `kid`.
    nameless: Option<Ed25519KeyPair>,
    pub(crate) published: JwkSet,
    pub(crate) keys_max_age: Option<u64>,
    /// Whether the key endpoint takes requests and never answers.
    pub(crate) keys_hang: bool,
    pub(crate) metadata: Value,
    /// What stands in new streams, over what a transmitter would put there.
    pub(crate) stream_overrides: Value,
    pub(crate) streams: BTreeMap<String, Value>,
    pub(crate) streams_max: usize,
    streams_made: usize,
    /// What waits to be polled: the key in `sets`, and the token.
    pub(crate) queue: Vec<(String, String)>,
    pub(crate) acked: Vec<String>,
    pub(crate) refused: Vec<(String, String)>,
    pub(crate) drops_acks: bool,
    /// As Keycloak: each change drops what is pending, `delivery` is replaced as one value, so that a polled stream
    /// whose URL is not repeated loses it, and the credential of pushes is shown.
    pub(crate) like_keycloak: bool,
    /// How long each answer takes.
    pub(crate) delay: Duration,
    /// The requests that are on their way, and how many were at most.
    in_flight: usize,
    pub(crate) in_flight_max: usize,
    /// How SETs of push streams reach the receiver.
    pub(crate) push_to: Option<PushEndpoint>,
    pub(crate) answers_verification: bool,
    /// What is answered first, by path.
    scripted: HashMap<String, VecDeque<Answered>>,
    requests: Vec<Request<Bytes>>,
    tokens_given: usize,
    verifications: usize,
}

impl FakeTransmitter {
    pub(crate) fn new() -> Self {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid("key-1").unwrap();
        let signer = Signer::new(key, Signer::SECURITY_EVENT);
        let state = State {
            published: JwkSet::new([signer.key().public().clone()]),
            signer,
            nameless: None,
            keys_max_age: None,
            keys_hang: false,
            metadata: json!({
                "spec_version": "1_0",
                "issuer": ISSUER,
                "jwks_uri": "https://tr.example/odd/keys",
                "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
                "configuration_endpoint": "https://tr.example/odd/streams?v=1",
                "status_endpoint": "https://tr.example/odd/status",
                "add_subject_endpoint": "https://tr.example/odd/add",
                "remove_subject_endpoint": "https://tr.example/odd/remove",
                "verification_endpoint": "https://tr.example/odd/verify",
                "unknown": {"member": [1, 2]},
            }),
            stream_overrides: json!({}),
            streams: BTreeMap::new(),
            streams_max: 1,
            streams_made: 0,
            queue: Vec::new(),
            acked: Vec::new(),
            refused: Vec::new(),
            drops_acks: false,
            like_keycloak: false,
            delay: Duration::ZERO,
            in_flight: 0,
            in_flight_max: 0,
            push_to: None,
            answers_verification: true,
            scripted: HashMap::new(),
            requests: Vec::new(),
            tokens_given: 0,
            verifications: 0,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), queued: Notify::new() }) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Answers the next request to this path so.
    pub(crate) fn script(&self, path: &str, answer: Answered) {
        self.state().scripted.entry(path.to_owned()).or_default().push_back(answer);
    }

    /// The requests to this path so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request<Bytes>> {
        self.state().requests.iter().filter(|request| request.uri().path() == path).cloned().collect()
    }

    /// The polls so far.
    pub(crate) fn polls(&self) -> Vec<PollRequest> {
        let read =
            |request: &Request<Bytes>| PollRequest::read(request.body(), PollLimits::default()).unwrap();
        self.requests("/odd/poll").iter().map(read).collect()
    }

    /// A token with these claims, signed by the current key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let state = self.state();
        let Some(pair) = &state.nameless else {
            return state.signer.sign(claims.to_string().as_bytes()).unwrap();
        };
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"secevent+jwt"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())))
    }

    /// Has a SET ready to be polled.
    pub(crate) fn queue(&self, jti: &str, token: String) {
        self.state().queue.push((jti.to_owned(), token));
        self.inner.queued.notify_waiters();
    }

    /// Signs with another key from now on, and publishes it in place of the one before: under this name, or without
    /// one.
    pub(crate) fn replace_key(&self, kid: Option<&str>) {
        let mut state = self.state();
        let Some(kid) = kid else {
            let pair = Ed25519KeyPair::generate().unwrap();
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]});
            state.published = JwkSet::from_json(keys.to_string()).unwrap();
            state.nameless = Some(pair);
            return;
        };
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid(kid).unwrap();
        state.published = JwkSet::new([key.public().clone()]);
        state.signer = Signer::new(key, Signer::SECURITY_EVENT);
    }

    /// Signs with another key from now on, and publishes it.
    pub(crate) fn rotate(&self, kid: &str) {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid(kid).unwrap();
        let mut state = self.state();
        state.published = JwkSet::new([state.signer.key().public().clone(), key.public().clone()]);
        state.signer = Signer::new(key, Signer::SECURITY_EVENT);
    }

    /// The requests that made or changed streams so far, as method and body.
    pub(crate) fn changes(&self) -> Vec<(String, Value)> {
        let requests = self.requests("/odd/streams").into_iter();
        let writes = requests.filter(|request| request.method() != Method::GET);
        writes
            .map(|request| {
                let body = serde_json::from_slice(request.body()).unwrap_or_default();
                (request.method().to_string(), body)
            })
            .collect()
    }

    async fn answer_in_time(&self, request: Request<Bytes>) -> Answered {
        let delay = {
            let mut state = self.state();
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
            state.delay
        };
        let _over = OnDrop(|| self.state().in_flight -= 1);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.answer(request).await
    }

    async fn answer(&self, request: Request<Bytes>) -> Answered {
        let path = request.uri().path().to_owned();
        let scripted = {
            let mut state = self.state();
            state.requests.push(request.clone());
            state.scripted.get_mut(&path).and_then(VecDeque::pop_front)
        };
        if let Some(answer) = scripted {
            return answer;
        }
        if path == "/odd/keys" && self.state().keys_hang {
            return std::future::pending().await;
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let stream_id = query.split('&').find_map(|pair| pair.strip_prefix("stream_id=")).map(str::to_owned);
        let body = || serde_json::from_slice::<Value>(request.body()).unwrap();
        Ok(match (request.method(), path.as_str()) {
            (&Method::GET, "/.well-known/ssf-configuration") => json_answer(200, &self.state().metadata),
            (&Method::GET, "/odd/keys") => self.keys(),
            (_, "/odd/streams") => self.streams(request.method(), stream_id, body),
            (&Method::POST, "/odd/verify") => self.verification(&body()),
            (&Method::POST, "/odd/poll") => self.poll(&request).await,
            (&Method::POST, "/odd/token") => self.token(),
            (&Method::GET, "/odd/status") => {
                json_answer(200, &json!({"stream_id": stream_id.unwrap(), "status": "enabled"}))
            }
            (&Method::POST, "/odd/status") => json_answer(200, &body()),
            (&Method::POST, "/odd/add") => status(200),
            (&Method::POST, "/odd/remove") => status(204),
            _ => status(404),
        })
    }

    fn keys(&self) -> Response<Bytes> {
        let state = self.state();
        let mut response = Response::new(Bytes::from(state.published.to_json()));
        if let Some(seconds) = state.keys_max_age {
            response.headers_mut().insert(CACHE_CONTROL, format!("max-age={seconds}").parse().unwrap());
        }
        response
    }

    fn streams(
        &self,
        method: &Method,
        stream_id: Option<String>,
        body: impl FnOnce() -> Value,
    ) -> Response<Bytes> {
        let mut state = self.state();
        match *method {
            Method::POST if state.streams.len() >= state.streams_max => status(409),
            Method::POST => {
                state.streams_made += 1;
                let id = format!("s{}", state.streams_made);
                let mut stream = json!({
                    "stream_id": id,
                    "iss": ISSUER,
                    "aud": AUDIENCE,
                    "events_delivered": [SESSION_REVOKED],
                });
                merge(&mut stream, &body());
                if !state.like_keycloak {
                    stream["delivery"].as_object_mut().unwrap().remove("authorization_header");
                }
                supply_url(&mut stream);
                merge(&mut stream, &state.stream_overrides);
                state.streams.insert(id, stream.clone());
                json_answer(201, &stream)
            }
            Method::PATCH => {
                let body = body();
                let id = body["stream_id"].as_str().unwrap();
                for member in ["iss", "aud", "events_delivered", "events_supported"] {
                    assert!(body.get(member).is_none(), "{member} is the transmitter's to supply");
                }
                let state = &mut *state;
                let Some(stream) = state.streams.get_mut(id) else { return status(404) };
                merge(stream, &body);
                match state.like_keycloak {
                    true => state.queue.clear(),
                    false => {
                        stream["delivery"].as_object_mut().unwrap().remove("authorization_header");
                        supply_url(stream);
                    }
                }
                json_answer(200, stream)
            }
            Method::DELETE => match state.streams.remove(&stream_id.unwrap()) {
                Some(_) => status(204),
                None => status(404),
            },
            _ => match stream_id {
                None => json_answer(200, &state.streams.values().cloned().collect()),
                Some(id) => {
                    state.streams.get(&id).map_or_else(|| status(404), |stream| json_answer(200, stream))
                }
            },
        }
    }

    fn verification(&self, body: &Value) -> Response<Bytes> {
        let (id, answers, push_to) = {
            let mut state = self.state();
            state.verifications += 1;
            (state.verifications, state.answers_verification, state.push_to.clone())
        };
        if !answers {
            return status(204);
        }
        let jti = format!("verification-{id}");
        let mut claims = crate::world::claims(&jti);
        let mut event = body.clone();
        let stream_id = event.as_object_mut().unwrap().remove("stream_id").unwrap();
        claims["sub_id"] = json!({"format": "opaque", "id": stream_id});
        claims["events"] = json!({ VERIFICATION: event });
        let token = self.sign(&claims);
        match push_to {
            None => self.queue(&jti, token),
            Some(endpoint) => drop(tokio::spawn(async move {
                let to = "https://rp.example/receive/idp".parse().unwrap();
                let authorization = push_authorization();
                endpoint.handle(push::request(&to, token, Some(&authorization))).await
            })),
        }
        status(204)
    }

    async fn poll(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let asked = PollRequest::read(request.body(), PollLimits::default()).unwrap();
        {
            let mut state = self.state();
            if !state.drops_acks {
                let settled = |jti: &String| {
                    asked.ack.contains(jti) || asked.set_errs.iter().any(|(one, _)| one == jti)
                };
                state.queue.retain(|(jti, _)| !settled(jti));
                state.acked.extend(asked.ack.iter().cloned());
                let refused =
                    asked.set_errs.iter().map(|(jti, error)| (jti.clone(), error.err.as_str().to_owned()));
                state.refused.extend(refused);
            }
        }
        let max = usize::try_from(asked.max_events.unwrap_or(u64::MAX)).unwrap();
        let queued = self.inner.queued.notified();
        if self.state().queue.is_empty() && !asked.return_immediately {
            let _ = timeout(Duration::from_secs(30), queued).await;
        }
        let state = self.state();
        let sets = state.queue.iter().take(max).map(|(jti, token)| (jti.as_str(), token.as_str()));
        poll::response(sets, state.queue.len() > max)
    }

    fn token(&self) -> Response<Bytes> {
        let mut state = self.state();
        state.tokens_given += 1;
        let token = format!("token-{}", state.tokens_given);
        json_answer(200, &json!({"access_token": token, "token_type": "bearer", "expires_in": 600}))
    }
}

impl Transport for FakeTransmitter {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Answered> {
        Box::pin(self.answer_in_time(request))
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

pub(crate) fn push_authorization() -> secevent_ssf::Secret<http::HeaderValue> {
    secevent_ssf::delivery::authorization("Bearer push-secret").unwrap()
}

pub(crate) fn authorization_of(request: &Request<Bytes>) -> Option<&str> {
    request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap())
}

pub(crate) fn status(code: u16) -> Response<Bytes> {
    with_body(code, "")
}

pub(crate) fn with_body(code: u16, body: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

pub(crate) fn retry_after(code: u16, seconds: u64) -> Response<Bytes> {
    let mut response = status(code);
    *response.headers_mut() = HeaderMap::from_iter([(RETRY_AFTER, seconds.into())]);
    response
}

pub(crate) fn json_answer(code: u16, body: &Value) -> Response<Bytes> {
    with_body(code, &body.to_string())
}

fn merge(value: &mut Value, other: &Value) {
    for (name, member) in other.as_object().unwrap() {
        value[name] = member.clone();
    }
}

/// What a transmitter makes of what a receiver asked for.
fn supply_url(stream: &mut Value) {
    let delivery = stream["delivery"].as_object_mut().unwrap();
    if delivery["method"] == "urn:ietf:rfc:8936" {
        delivery.insert("endpoint_url".to_owned(), "https://tr.example/odd/poll".into());
    }
}
