//! Who changed what. Each verb that changes something enters it in the log, before it answers; who asks stands around
//! the call, so that verbs need not be told.

use crate::stream::{Stream, Target};
use crate::transmitter::{Transmitter, TransmitterError};
use aws_lc_rs::digest;
use bytes::Bytes;
use secevent_ssf::Status;
use secevent_store::{Change, ChangeFilter, Entered, StoreError, Version};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// A client, which manages what is its own.
    Client(String),
    /// A client that administers the server.
    Operator(String),
    /// Whoever has the token of the command line on the server's machine; the user of the operating system, as the
    /// command line claims it: its token proves no more than that it can read the server's files.
    CommandLine(Option<String>),
    /// The configuration that the server was started with.
    Configuration,
    /// The transmitter itself, for the reason that the change states.
    Transmitter,
}

impl Actor {
    /// Of which kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Operator(_) => "operator",
            Self::CommandLine(_) => "command-line",
            Self::Configuration => "configuration",
            Self::Transmitter => "transmitter",
        }
    }

    /// Which of that kind, if there are several.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Client(id) | Self::Operator(id) => Some(id),
            Self::CommandLine(user) => user.as_deref(),
            Self::Configuration | Self::Transmitter => None,
        }
    }

    pub(crate) fn named(kind: &str, id: Option<&str>) -> Self {
        match (kind, id) {
            ("client", Some(id)) => Self::Client(id.to_owned()),
            ("operator", Some(id)) => Self::Operator(id.to_owned()),
            ("command-line", user) => Self::CommandLine(user.map(str::to_owned)),
            ("configuration", _) => Self::Configuration,
            _ => Self::Transmitter,
        }
    }
}

/// Who asks, and by which request.
#[derive(Clone, Debug, Default)]
pub struct Acting {
    actor: Option<Actor>,
    request: Option<String>,
    entered: Arc<AtomicBool>,
}

tokio::task_local! {
    static ACTING: Acting;
}

impl Acting {
    /// This is who asks.
    pub fn new(actor: Actor, request: Option<String>) -> Self {
        Self { actor: Some(actor), request, entered: Arc::default() }
    }

    /// Something is asked for by a request; the verb knows by whom.
    pub fn by_request(request: String) -> Self {
        Self { request: Some(request), ..Self::default() }
    }

    /// Carries out what is asked for. Work that is spawned meanwhile is not asked for by them.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        ACTING.scope(self, work).await
    }

    /// Whether a change was entered meanwhile.
    pub fn has_entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }
}

/// What a verb has to say of a change.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// What was done: a noun and a verb, such as `stream.update` or `key.rotate`.
    pub action: String,
    /// To what, such as `stream/f67e39a0`.
    pub object: String,
    /// The client that it concerns.
    pub client: Option<String>,
    /// The stream that it concerns.
    pub stream: Option<String>,
    /// What was there before.
    pub before: Option<Value>,
    /// What is there now.
    pub after: Option<Value>,
}

impl Transmitter {
    /// Changes that are in the log, newest first: those before the place `before`, `limit` at most.
    pub async fn changes(
        &self,
        filter: ChangeFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Entered>, TransmitterError> {
        Ok(self.store.changes(filter, before, limit).await?)
    }

    /// Enters a change in the log, with who asks for it. Members that are called like secrets are masked.
    pub async fn enter_change(&self, changed: Changed) -> Result<(), TransmitterError> {
        self.store.enter(vec![self.change_of(changed)]).await?;
        note_that_it_is_entered();
        Ok(())
    }

    /// Writes a document, or deletes it, and enters that in the log: both or neither.
    pub(crate) async fn put_and_enter(
        &self,
        name: &str,
        expected: Version,
        body: Option<Bytes>,
        changed: Option<Changed>,
    ) -> Result<Version, StoreError> {
        let enters = changed.is_some();
        let change = changed.map(|changed| self.change_of(changed));
        let version = self.store.put_and_enter(name, expected, body, change).await?;
        if enters {
            note_that_it_is_entered();
        }
        Ok(version)
    }

    fn change_of(&self, changed: Changed) -> Change {
        let acting = ACTING.try_with(Acting::clone).unwrap_or_default();
        // Who changes what is a client's, and is nobody else, is that client.
        let own = || changed.client.clone().map_or(Actor::Transmitter, Actor::Client);
        let actor = acting.actor.unwrap_or_else(own);
        let text = |value: Option<Value>| value.map(|value| masked(value).to_string());
        Change {
            at: self.clock.now(),
            actor: actor.kind().to_owned(),
            actor_id: actor.id().map(str::to_owned),
            action: changed.action,
            object: changed.object,
            client: changed.client,
            stream: changed.stream,
            request: acting.request,
            before: text(changed.before),
            after: text(changed.after),
        }
    }
}

/// Who asks for what is being done: the kind, and which of that kind. None if nobody does.
pub(crate) fn who_asks() -> Option<(String, Option<String>)> {
    let actor = ACTING.try_with(|acting| acting.actor.clone()).ok().flatten()?;
    Some((actor.kind().to_owned(), actor.id().map(str::to_owned)))
}

impl Changed {
    /// What becomes of a stream. What nobody set, such as what the transmitter notes for itself, is no change.
    pub(crate) fn of_stream(before: Option<&Stream>, after: Option<&Stream>) -> Option<Self> {
        let (told_before, told_after) = (before.map(told), after.map(told));
        let stream = after.or(before).filter(|_| told_before != told_after)?;
        let action = match (before, after) {
            (None, _) => "stream.create",
            (_, None) => "stream.delete",
            (Some(before), Some(after))
                if told(&Stream {
                    status: after.status,
                    reason: after.reason.clone(),
                    held: after.held,
                    ending: after.ending,
                    ..before.clone()
                }) == told(after) =>
            {
                match after.status {
                    Status::Enabled => "stream.enable",
                    Status::Paused => "stream.pause",
                    Status::Disabled => "stream.disable",
                }
            }
            _ => "stream.update",
        };
        Some(Self {
            action: action.to_owned(),
            object: format!("stream/{}", stream.id),
            client: Some(stream.client.clone()),
            stream: Some(stream.id.clone()),
            before: told_before,
            after: told_after,
        })
    }
}

fn note_that_it_is_entered() {
    let _ = ACTING.try_with(|acting| acting.entered.store(true, Ordering::Relaxed));
}

/// Who asks at the moment; the transmitter itself, if that is nobody.
pub(crate) fn actor() -> Actor {
    ACTING.try_with(|acting| acting.actor.clone()).ok().flatten().unwrap_or(Actor::Transmitter)
}

/// The transmitter itself does it, unless somebody else asks for it.
pub(crate) async fn ourselves<T>(work: impl Future<Output = T>) -> T {
    match ACTING.try_with(|acting| acting.actor.is_some()) {
        Ok(true) => work.await,
        _ => Acting::new(Actor::Transmitter, None).run(work).await,
    }
}

/// A stream as the log tells it: what somebody set, and nothing that is secret.
fn told(stream: &Stream) -> Value {
    let delivery = match &stream.target {
        Target::Poll { .. } => {
            let mut delivery = json!({ "method": "poll" });
            if !stream.polls.are_unset() {
                delivery["polls"] = json!(stream.polls);
            }
            delivery
        }
        Target::Push { endpoint_url, authorization, .. } => {
            // The credential is told by what it is sealed as, which is another thing whenever it is set.
            let credential = authorization.as_ref().map(|sealed| format!("{HIDDEN} {}", trace_of(sealed)));
            json!({
                "method": "push",
                "endpoint_url": shown_url(endpoint_url),
                "authorization_header": credential,
            })
        }
    };
    json!({
        "issuer": stream.issuer,
        "aud": stream.rendered_as(stream.rendering()).map(|rendered_as| &rendered_as.aud),
        "delivery": delivery,
        "events_requested": stream.events_requested,
        "description": stream.description,
        "format": stream.format,
        "status": stream.status.as_str(),
        "reason": stream.reason,
        "held": stream.held,
        "ending": stream.ending,
    })
}

/// A receiver's URL as it is shown to operators. What is behind the question mark may be a key; a user name or a password
/// is in none (`Endpoint`).
pub(crate) fn shown_url(url: &str) -> Cow<'_, str> {
    match url.split_once('?') {
        Some((url, _)) => format!("{url}?{HIDDEN}").into(),
        None => url.into(),
    }
}

const HIDDEN: &str = "(hidden)";

fn trace_of(sealed: &str) -> String {
    let digest = digest::digest(&digest::SHA256, sealed.as_bytes());
    digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value without what its members' names say is a secret.
fn masked(value: Value) -> Value {
    const SECRET: [&str; 7] =
        ["secret", "token", "password", "private_key", "authorization", "credential", "assertion"];
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET.iter().any(|secret| name.contains(secret))
    };
    match value {
        Value::Object(members) => {
            let mask = |(name, value): (String, Value)| {
                let hides = match &value {
                    Value::String(text) => !text.starts_with(HIDDEN),
                    // No secret is a number, but how long a token is good is one.
                    Value::Null | Value::Bool(_) | Value::Number(_) => false,
                    Value::Array(_) | Value::Object(_) => true,
                };
                let value = if is_secret(&name) && hides { HIDDEN.into() } else { masked(value) };
                (name, value)
            };
            Value::Object(members.into_iter().map(mask).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(masked).collect()),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let value = json!({
            "id": "rp",
            "client_secret": "s3cret",
            "keys": [{"d_private_key": {"d": "x"}, "kid": "k"}],
            "authorization_header": "(hidden) 00112233",
            "token_endpoint_auth": null,
            "has_secret": true,
            "token_lifetime_seconds": 600,
        });
        let expected = json!({
            "id": "rp",
            "client_secret": "(hidden)",
            "keys": [{"d_private_key": "(hidden)", "kid": "k"}],
            "authorization_header": "(hidden) 00112233",
            "token_endpoint_auth": null,
            "has_secret": true,
            "token_lifetime_seconds": 600,
        });
        assert_eq!(masked(value), expected);
    }
}
