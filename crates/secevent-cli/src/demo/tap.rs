//! A transport that tells what went over it, one line an exchange.

use crate::output::{BOLD, DIM};
use anstream::println;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use secevent::Vocabulary;
use secevent_ssf::{BoxFuture, Transport, TransportError, UrlRefused};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the lines about exchanges go. Exchanges run side by side, and their lines may be kept back so that a cause is
/// printed before what follows from it.
#[derive(Default)]
pub(super) struct Lines(Mutex<Option<Kept>>);

#[derive(Default)]
struct Kept {
    /// Whose lines are printed all the same.
    speaker: &'static str,
    lines: Vec<String>,
}

impl Lines {
    /// From now on only this party's lines are printed.
    pub(super) fn keep_but(&self, speaker: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { speaker, lines: Vec::new() });
    }

    /// Prints what was kept back, and all that comes.
    pub(super) fn release(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in kept.take().unwrap_or_default().lines {
            println!("{line}");
        }
    }

    fn print(&self, who: &str, line: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_mut().filter(|kept| kept.speaker != who) {
            Some(kept) => kept.lines.push(line),
            None => println!("{line}"),
        }
    }
}

/// Tells each exchange of one party, and passes it on.
pub(super) struct Tap {
    who: &'static str,
    lines: Arc<Lines>,
    inner: Arc<dyn Transport>,
}

impl Tap {
    pub(super) fn new(who: &'static str, lines: &Arc<Lines>, inner: Arc<dyn Transport>) -> Self {
        Self { who, lines: Arc::clone(lines), inner }
    }

    fn tell(
        &self,
        method: &Method,
        path: &str,
        sent: &Bytes,
        answer: &Result<Response<Bytes>, TransportError>,
    ) {
        let (status, note) = match answer {
            Ok(response) => (response.status().as_u16().to_string(), note(path, sent, response)),
            Err(error) => ("-".to_owned(), Some(error.to_string())),
        };
        // A poll that waited in vain is no news.
        if let Some(note) = note {
            self.line(method, path, &status, &note);
        }
    }

    fn line(&self, method: &Method, path: &str, status: &str, note: &str) {
        let who = self.who;
        let call = format!("{method} {}", shortened(path));
        let line =
            format!("   {DIM}{who:>17} →{DIM:#} {call:<43} {BOLD}{status:>3}{BOLD:#}  {DIM}{note}{DIM:#}");
        self.lines.print(who, line);
    }
}

impl Transport for Tap {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let (method, path, sent) =
            (request.method().clone(), request.uri().path().to_owned(), request.body().clone());
        Box::pin(async move {
            let acked = json(&sent)["ack"].as_array().map_or(0, Vec::len);
            if acked > 0 {
                // The answer may take a while: the same request waits for the next SET.
                let sets = if acked == 1 { "SET" } else { "SETs" };
                self.line(&method, &path, "", &format!("acknowledges {acked} {sets}"));
            }
            let answer = self.inner.send(request).await;
            self.tell(&method, &path, &sent, &answer);
            answer
        })
    }

    fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        self.inner.check_url(url)
    }
}

/// What is worth saying of an exchange; nothing if it is not worth a line.
fn note(path: &str, sent: &Bytes, response: &Response<Bytes>) -> Option<String> {
    let (asked, told) = (json(sent), json(response.body()));
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let named = |value: &Value| text(value).chars().take(8).collect::<String>();
    Some(match path {
        "/.well-known/ssf-configuration" => "what the transmitter can do, and where".to_owned(),
        "/.well-known/oauth-protected-resource" => "who gives access tokens".to_owned(),
        "/.well-known/oauth-authorization-server" => "where it gives them".to_owned(),
        "/oauth/token" => format!("an access token, scope {}", text(&told["scope"])),
        "/jwks.json" => {
            let key = &told["keys"][0];
            format!("its public key: {} {}", text(&key["kty"]), named(&key["kid"]))
        }
        "/ssf/stream" if !asked.is_null() => format!("stream {} is created", named(&told["stream_id"])),
        "/ssf/stream" => "its streams".to_owned(),
        "/ssf/verify" => "please send a sign of life, with this state".to_owned(),
        "/events" => {
            format!("recorded as {}, owed to {} streams", named(&told["event_id"]), told["deliveries"])
        }
        path if path.starts_with("/poll/") => poll(&told)?,
        path if path.starts_with("/receive/") => format!("SET: {}", event(sent)),
        _ => String::new(),
    })
}

fn poll(told: &Value) -> Option<String> {
    let sets = told["sets"].as_object().filter(|sets| !sets.is_empty())?;
    let events: Vec<String> =
        sets.values().filter_map(Value::as_str).map(|token| event(token.as_bytes())).collect();
    Some(format!("SET: {}", events.join(", ")))
}

/// The short name of the event in a token, for the story's sake: nothing is verified here.
fn event(token: &[u8]) -> String {
    let payload = token.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
    let claims: Value = URL_SAFE_NO_PAD.decode(payload).map(|claims| json(&claims)).unwrap_or_default();
    let uri = claims["events"].as_object().and_then(|events| events.keys().next());
    let name =
        uri.map_or("?", |uri| Vocabulary::standard().find(uri).map_or(uri, secevent::Definition::name));
    name.to_owned()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// A path with a long name in it, cut to a line.
fn shortened(path: &str) -> String {
    match path.strip_prefix("/poll/") {
        Some(id) => format!("/poll/{}…", id.chars().take(8).collect::<String>()),
        None => path.to_owned(),
    }
}
