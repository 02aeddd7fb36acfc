//! A transmitter of another make, on a free port of loopback: older names, odd paths, no status endpoint, errors as
//! OAuth writes them.

use secevent_jose::{Algorithm, JwkSet, Signer, SigningKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The transmitter.
pub(crate) struct Foreign {
    pub(crate) issuer: String,
    state: Arc<Mutex<State>>,
}

/// What it has, and what came.
pub(crate) struct State {
    pub(crate) requests: Vec<Asked>,
    pub(crate) stream: Option<Value>,
    /// What waits to be polled.
    pub(crate) waiting: BTreeMap<String, String>,
    /// What verification events are signed with.
    pub(crate) signer: Signer,
    /// What it says of itself, over what it says anyway.
    pub(crate) metadata: Value,
    /// What stands in answers with tokens, over what stands there anyway.
    pub(crate) granted: Value,
    /// Whether it takes no token, without a word about why, as Keycloak does where a scope is missing.
    pub(crate) denies: bool,
    /// The list of streams, if it is not the one of what there is.
    pub(crate) list: Option<Value>,
    /// Members that it leaves out of what it shows of streams.
    pub(crate) hidden: Vec<&'static str>,
    /// How many requests for verification come too soon.
    pub(crate) hasty_checks: usize,
    /// How many polls bring nothing yet, whatever waits.
    pub(crate) empty_polls: usize,
    published: JwkSet,
}

/// The access token that its clients get.
pub(crate) const TOKEN: &str = "token-of-foreign";

impl Foreign {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}/tenant/7", listener.local_addr().unwrap());
        // Its SETs have no type of their own, as those of SSE ID1.
        let signer = signer();
        let state = Arc::new(Mutex::new(State {
            requests: Vec::new(),
            stream: None,
            waiting: BTreeMap::new(),
            published: JwkSet::new([signer.key().public().clone()]),
            signer,
            metadata: json!({}),
            granted: json!({}),
            denies: false,
            list: None,
            hidden: Vec::new(),
            hasty_checks: 0,
            empty_polls: 0,
        }));
        let (shared, name) = (Arc::clone(&state), issuer.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let Some(asked) = read(&connection) else { continue };
                let mut state = shared.lock().unwrap();
                state.requests.push(asked.clone());
                let (status, body) = state.answer(&name, &asked);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = (&connection).write_all((head + &body).as_bytes());
            }
        });
        Self { issuer, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How many requests to a path there were.
    pub(crate) fn count(&self, path: &str) -> usize {
        let state = self.state();
        state.requests.iter().filter(|asked| asked.path.split('?').next() == Some(path)).count()
    }

    /// The last request to a path.
    pub(crate) fn last(&self, path: &str) -> Asked {
        let state = self.state();
        let found = state.requests.iter().rev().find(|asked| asked.path.split('?').next() == Some(path));
        found.cloned().unwrap_or_else(|| panic!("{path} was not asked for"))
    }
}

/// A key that nobody knows yet.
pub(crate) fn signer() -> Signer {
    Signer::new(SigningKey::generate(Algorithm::Es256).unwrap(), "JWT")
}

impl State {
    fn answer(&mut self, issuer: &str, asked: &Asked) -> (u16, String) {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let told = |status, body: Value| (status, body.to_string());
        let is_open = path.contains("/.well-known/") || path == "/keys" || path == "/login/token";
        let is_known =
            asked.headers.get("authorization").is_some_and(|value| *value == format!("Bearer {TOKEN}"))
                || asked.headers.get("x-api-key").is_some_and(|value| value == "key-of-ours");
        if !is_open && !is_known {
            // It repeats what it was sent, as some do.
            let sent = asked.headers.get("authorization").cloned().unwrap_or_default();
            return told(
                401,
                json!({"error": "invalid_token", "error_description": format!("{sent} is not known")}),
            );
        }
        if !is_open && self.denies {
            return (401, String::new());
        }
        let origin = issuer.trim_end_matches("/tenant/7");
        match (asked.method.as_str(), path) {
            ("GET", "/tenant/7/.well-known/sse-configuration") => {
                let mut metadata = json!({
                    "issuer": issuer,
                    "jwks_uri": format!("{origin}/keys"),
                    "delivery_methods_supported": [
                        "https://schemas.openid.net/secevent/risc/delivery-method/push",
                        "https://schemas.openid.net/secevent/risc/delivery-method/poll",
                    ],
                    "configuration_endpoint": format!("{origin}/rest/v2/streams?api=3"),
                    "verification_endpoint": format!("{origin}/rest/v2/check"),
                    "add_subject_endpoint": format!("{origin}/rest/v2/people:add"),
                    "remove_subject_endpoint": format!("{origin}/rest/v2/people:remove"),
                    "of_its_own": [1, 2],
                });
                for (name, value) in self.metadata.as_object().unwrap() {
                    metadata[name] = value.clone();
                }
                told(200, metadata)
            }
            ("GET", "/tenant/7/.well-known/openid-configuration") => told(
                200,
                json!({
                    "issuer": issuer,
                    "token_endpoint": format!("{origin}/login/token"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }),
            ),
            ("POST", "/login/token") => match ["client_secret=s%26cret", "client_assertion=ey"]
                .iter()
                .any(|proof| asked.body.contains(proof))
            {
                true => {
                    let mut answer =
                        json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300});
                    for (name, value) in self.granted.as_object().unwrap() {
                        answer[name] = value.clone();
                    }
                    told(200, answer)
                }
                false => told(401, json!({"error": "invalid_client", "error_description": asked.body})),
            },
            ("GET", "/keys") => (200, self.published.to_json()),
            ("POST", "/rest/v2/streams") if self.stream.is_some() => {
                told(409, json!({"error": "conflict", "error_description": "one stream is enough"}))
            }
            ("POST" | "PUT", "/rest/v2/streams") => {
                let mut stream = as_shown(issuer, origin, &asked.json());
                for name in &self.hidden {
                    stream.as_object_mut().unwrap().remove(*name);
                }
                self.stream = Some(stream);
                told(200, self.stream.clone().unwrap())
            }
            ("GET", "/rest/v2/streams") if self.list.is_some() && !query.contains("stream_id=") => {
                told(200, self.list.clone().unwrap())
            }
            ("GET", "/rest/v2/streams") => match (&self.stream, query.contains("stream_id=")) {
                (None, _) => told(404, json!({"error": "not_found"})),
                (Some(stream), true) => told(200, stream.clone()),
                (Some(stream), false) => told(200, json!([stream])),
            },
            ("DELETE", "/rest/v2/streams") => {
                self.stream = None;
                told(200, json!({"deleted": true}))
            }
            (_, "/rest/v2/streams") => (405, String::new()),
            ("POST", "/rest/v2/check") if self.hasty_checks > 0 => {
                self.hasty_checks -= 1;
                told(
                    429,
                    json!({"error": "too_many_requests", "error_description": "Wait at least 5 seconds"}),
                )
            }
            ("POST", "/rest/v2/check") => {
                let state = asked.json()["state"].clone();
                let claims = json!({
                    "iss": issuer, "jti": "check-1", "iat": 1_700_000_000, "aud": "https://rp.example",
                    "events": {"https://schemas.openid.net/secevent/sse/event-type/verification": {
                        "subject": {"format": "opaque", "id": "only"}, "state": state,
                    }},
                });
                let token = self.signer.sign(claims.to_string().as_bytes()).unwrap();
                self.waiting.insert("check-1".to_owned(), token);
                (200, String::new())
            }
            ("POST", "/rest/v2/fetch") => {
                let asked = asked.json();
                for jti in asked["ack"].as_array().into_iter().flatten() {
                    self.waiting.remove(jti.as_str().unwrap());
                }
                for jti in asked["setErrs"].as_object().into_iter().flat_map(|refused| refused.keys()) {
                    self.waiting.remove(jti);
                }
                let is_empty = asked["maxEvents"] == 0 || self.empty_polls > 0;
                if asked["maxEvents"] != 0 {
                    self.empty_polls = self.empty_polls.saturating_sub(1);
                }
                let sets = if is_empty { json!({}) } else { json!(self.waiting) };
                told(200, json!({ "sets": sets }))
            }
            ("POST", "/rest/v2/people:add") => (201, "{}".to_owned()),
            ("POST", "/rest/v2/people:remove") => (200, "{}".to_owned()),
            _ => (404, "<html>no such page</html>".to_owned()),
        }
    }
}

fn as_shown(issuer: &str, origin: &str, wished: &Value) -> Value {
    const POLL: &str = "https://schemas.openid.net/secevent/risc/delivery-method/poll";
    let mut delivery = wished.get("delivery").cloned().unwrap_or_else(|| json!({ "method": POLL }));
    if delivery["method"] == POLL {
        delivery["endpoint_url"] = format!("{origin}/rest/v2/fetch").into();
    }
    json!({
        "stream_id": "only one/&",
        "iss": issuer,
        "aud": wished.get("aud").cloned().unwrap_or_else(|| "https://rp.example".into()),
        "delivery": delivery,
        "events_requested": wished["events_requested"],
        "events_delivered": [],
        "format": wished["format"].as_str().unwrap_or("email"),
        "of_its_own": true,
    })
}

/// Reads a request.
pub(crate) fn read(connection: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(connection);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers = lines.take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let headers: BTreeMap<String, String> = headers.collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body: String::from_utf8(body).unwrap() })
}
