//! The log of changes: everything that is asked for here with another method than GET is in it, with who asked.
//!
//! What the transmitter changes it enters itself, with what was there before, and so do clients. What nobody else knows of
//! is entered here: before and after are what a GET of the same path tells, or what is answered.

use super::request::{Query, RULE, is_id, path_stream};
use super::route::{Operation, Route, text};
use super::{Admin, answer, time};
use crate::problem::Problem;
use crate::request_id::RequestId;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{Method, StatusCode};
use secevent::Invalid;
use secevent_ssf::StreamId;
use secevent_store::{ChangeFilter, Entered};
use secevent_transmitter::{Acting, Actor, Changed, NameError};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// Answers that are longer are not kept in the log.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn routes() -> Vec<Route> {
    let list = Operation::get("listChanges", "The log of changes, newest first")
        .query("client", "Changes that concern this client", &text())
        .query(
            "stream",
            "Changes that concern this stream, named as in a path. One that is gone: its identifier",
            &text(),
        )
        .query(
            "action",
            "Changes of this kind, such as `stream.pause`; `stream.` means all that begin so",
            &text(),
        )
        .query(
            "since",
            "Changes made at this time or later",
            &serde_json::json!({"type": "string", "format": "date-time"}),
        )
        .paged()
        .answers::<ChangeList>(StatusCode::OK, "A page of the log")
        .problem(StatusCode::NOT_FOUND, "There is no such stream")
        .problem(StatusCode::CONFLICT, "Several streams are named so; the detail lists some");
    vec![Route::new("/admin/v1/audit", get(read), [list])]
}

/// A page of the log of changes.
#[derive(Serialize, ToSchema)]
struct ChangeList {
    changes: Vec<ChangeTold>,
    /// Where the next page begins, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A change.
#[derive(Serialize, ToSchema)]
struct ChangeTold {
    #[schema(format = DateTime)]
    at: String,
    actor: ActorTold,
    /// What was done: a noun and a verb, such as `stream.update`.
    action: String,
    /// To what.
    object: String,
    /// The client that it concerns.
    client: Option<String>,
    /// The stream that it concerns.
    stream: Option<String>,
    /// The request that it came in.
    request: Option<String>,
    /// What was there before.
    #[schema(value_type = Option<Value>)]
    before: Option<Box<RawValue>>,
    /// What is there since.
    #[schema(value_type = Option<Value>)]
    after: Option<Box<RawValue>>,
}

/// Who made a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct ActorTold {
    /// `client`, `operator`, `command-line`, `configuration` or `transmitter`.
    pub(crate) kind: String,
    /// Which of that kind. For `command-line`: the user of the operating system, as the command line claims it.
    pub(crate) id: Option<String>,
}

/// `GET /admin/v1/audit`
async fn read(State(admin): State<Arc<Admin>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["client", "stream", "action", "since", "after", "limit"])?;
    let before = query.text("after").map(|after| {
        after.parse().map_err(|_| Invalid::new("after", RULE, "must be the `next` of an earlier answer"))
    });
    let limit = query.limit()?;
    let owned = |name: &str| query.text(name).map(str::to_owned);
    let filter = ChangeFilter {
        client: owned("client"),
        stream: query.text("stream").map(|named| admin.stream_of_log(named)).transpose()?,
        action: owned("action"),
        since: query.time("since")?,
    };
    let changes = admin.transmitter.changes(filter, before.transpose()?, limit).await;
    let changes = changes.map_err(|error| Problem::ours(&error))?;
    let next = changes.last().filter(|_| changes.len() == limit).map(|last| last.place.to_string());
    let told = ChangeList { changes: changes.into_iter().map(tell).collect(), next };
    Ok(answer(StatusCode::OK, serde_json::to_vec(&told).expect("a log is JSON")))
}

impl Admin {
    /// The stream whose changes are asked for. Those of a stream that is gone are kept under its whole identifier.
    fn stream_of_log(&self, named: &str) -> Result<String, NameError> {
        match self.transmitter.find_stream(named) {
            Err(NameError::Unknown(_)) if is_id(named) => Ok(named.to_owned()),
            found => found.map(|id| id.to_string()),
        }
    }
}

fn tell(Entered { change, .. }: Entered) -> ChangeTold {
    let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    ChangeTold {
        at: time::told(change.at),
        actor: ActorTold { kind: change.actor, id: change.actor_id },
        action: change.action,
        object: change.object,
        client: change.client,
        stream: change.stream,
        request: change.request,
        before: raw(change.before),
        after: raw(change.after),
    }
}

/// Says of an answer that nothing was changed, whatever the method was.
#[derive(Clone, Copy)]
pub(crate) struct NothingChanged;

impl NothingChanged {
    /// This answer, which says so.
    pub(crate) fn tell(mut response: Response) -> Response {
        response.extensions_mut().insert(Self);
        response
    }
}

/// Carries a request out to its end, also when the caller hangs up, and enters in the log what it changed.
pub(crate) async fn enter(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    match tokio::spawn(admin.change(request, next)).await {
        Ok(response) => response,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

impl Admin {
    async fn change(self: Arc<Self>, request: Request, next: Next) -> Response {
        let (mut parts, body) = request.into_parts();
        // Before it may be deleted.
        let stream = match path_stream(&mut parts).await {
            Some(named) => self.transmitter.find_stream(&named).ok(),
            None => None,
        };
        let request = Request::from_parts(parts, body);
        let actor = request.extensions().get::<Actor>().cloned().unwrap_or(Actor::CommandLine(None));
        let id = RequestId::of(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let looks = reading(&request).filter(|_| method != Method::POST);
        let before = match looks {
            Some(looks) => found(looks, next.clone()).await,
            None => None,
        };
        let acting = Acting::new(actor, Some(id.as_str().to_owned()));
        let response = acting.clone().run(next.run(request)).await;
        let is_change = response.status().is_success()
            && response.extensions().get::<NothingChanged>().is_none()
            && !acting.has_entered();
        let response = match is_change {
            false => response,
            true => {
                let (response, after) = told(response).await;
                let changed = what(&method, &path, stream.as_ref(), before, after);
                match acting.run(self.transmitter.enter_change(changed)).await {
                    Ok(()) => response,
                    // It is done, and whoever asked must not believe that it is in the log.
                    Err(error) => Problem::ours(&error).into_response(),
                }
            }
        };
        id.on(response)
    }
}

fn what(
    method: &Method,
    path: &str,
    stream: Option<&StreamId>,
    before: Option<Value>,
    after: Option<Value>,
) -> Changed {
    let object = path.strip_prefix("/admin/v1/").unwrap_or(path);
    let mut parts: Vec<&str> = object.split('/').collect();
    if let (["streams", named, ..], Some(stream)) = (&mut parts[..], stream) {
        // The log has one name for a stream, whatever it was called.
        *named = stream.as_str();
    }
    // It is called as the transmitter calls it; what was done to it stands in the action.
    let object = match &parts[..] {
        ["streams", id, ..] => format!("stream/{id}"),
        ["clients", id, ..] => format!("client/{id}"),
        ["replays", id, ..] => format!("replay/{id}"),
        _ => parts.join("/"),
    };
    let stream = stream.map(StreamId::to_string);
    let action = match action(method, &parts, after.as_ref()) {
        Some(action) => action.to_owned(),
        None => format!("{}.{}", parts[0], method.as_str().to_ascii_lowercase()),
    };
    Changed { action, object, client: None, stream, before, after }
}

/// What a request does, in the words of the domain, for every request whose change nobody else may have entered.
fn action(method: &Method, path: &[&str], after: Option<&Value>) -> Option<&'static str> {
    Some(match (method, path) {
        (&Method::POST, ["backup"]) => "backup.write",
        (&Method::POST, ["clock", "confirm"]) => "clock.confirm",
        (&Method::POST, ["keys", "publish"]) => "key.publish",
        (&Method::POST, ["keys", "rotate"]) => "key.rotate",
        (&Method::POST, ["keys", "withdraw"]) => "key.withdraw",
        (&Method::POST, ["keys", "rewrap"]) => "key.rewrap",
        (&Method::POST, ["clients"]) => "client.create",
        (&Method::PUT, ["clients", _]) => "client.update",
        (&Method::DELETE, ["clients", _]) => "client.delete",
        (&Method::POST, ["clients", _, "disable"]) => "client.disable",
        (&Method::POST, ["clients", _, "enable"]) => "client.enable",
        (&Method::POST, ["clients", _, "secret"]) => "client.rotate",
        // The stream was like that before, or the transmitter would have entered it.
        (&Method::PUT, ["streams", _, "status"]) => match after?["status"].as_str()? {
            "paused" => "stream.pause",
            "disabled" => "stream.disable",
            _ => "stream.enable",
        },
        (&Method::DELETE, ["streams", _]) => "stream.delete",
        (&Method::POST, ["streams", _, "retry"]) => "stream.retry",
        (&Method::POST, ["streams", _, "dead", "redrive"]) => "dead.redrive",
        (&Method::POST, ["streams", _, "dead", "discard"]) => "dead.discard",
        (&Method::POST, ["streams", _, "replays"]) => "replay.start",
        (&Method::DELETE, ["replays", _]) => "replay.cancel",
        (&Method::POST, ["erasures"]) => "erasure.start",
        _ => return None,
    })
}

/// The request that asks what is there.
fn reading(request: &Request) -> Option<Request> {
    let mut get = Request::get(request.uri().clone()).body(Body::empty()).ok()?;
    *get.headers_mut() = request.headers().clone();
    Some(get)
}

async fn found(reading: Request, next: Next) -> Option<Value> {
    let response = next.run(reading).await;
    match response.status().is_success() {
        true => told(response).await.1,
        false => None,
    }
}

/// What an answer tells, if that is JSON and not long; and the answer.
async fn told(response: Response) -> (Response, Option<Value>) {
    let (parts, body) = response.into_parts();
    // Answers are in memory already.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return (Problem::unavailable("the answer was lost").into_response(), None);
    };
    let told = (bytes.len() <= ANSWER_BYTES_MAX).then(|| serde_json::from_slice(&bytes).ok()).flatten();
    (Response::from_parts(parts, Body::from(bytes)), told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{MetricsAccess, routes};
    use serde_json::json;

    // finding: C11
    #[test]
    fn every_change_has_a_name_of_the_domain() {
        // What a POST only tells; nothing is entered of it.
        let only_tells = ["/admin/v1/explain"];
        let after = json!({ "status": "paused" });
        let mut seen = 0;
        for route in routes(MetricsAccess::Token) {
            for operation in route.operations.iter().filter(|operation| operation.method != Method::GET) {
                let path = route.path.strip_prefix("/admin/v1/").unwrap_or(route.path);
                let parts: Vec<&str> = path.split('/').collect();
                let action = action(&operation.method, &parts, Some(&after));
                assert_eq!(
                    action.is_none(),
                    only_tells.contains(&route.path),
                    "{} {}",
                    operation.method,
                    route.path
                );
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen}");
    }
}
