//! Clients as operators see them: made, changed, switched off, deleted. Secrets are shown once, when they are made.

use super::audit::NothingChanged;
use super::request::{Members, Query, RULE};
use super::route::{Operation, Route, optional_text, text};
use super::time;
use super::{Admin, answer};
use crate::clients::{Changed, Client, ClientSettings, GRACE_MAX, NotChanged, Scope};
use crate::entity_tag::Condition;
use crate::problem::Problem;
use crate::ssf::done;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secevent::Invalid;
use secevent_store::StoreError;
use secevent_transmitter::TransmitterError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long an old secret lives on, unless more is said.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// What settings have.
const SETTINGS: [&str; 10] = [
    "scopes",
    "audience",
    "issuers",
    "events",
    "subjects",
    "token_lifetime_seconds",
    "jwks",
    "jwks_uri",
    "algorithms",
    "limits",
];

pub(crate) fn routes() -> Vec<Route> {
    let texts = || json!({ "type": ["array", "null"], "items": { "type": "string" } });
    let object = || json!({ "type": ["object", "null"] });
    let settings = json!({
        "scopes": { "type": "array", "items": { "enum": Scope::ALL.map(Scope::name) } },
        "audience": { "type": ["string", "array", "null"], "items": { "type": "string" } },
        "issuers": texts(),
        "events": texts(),
        "subjects": object(),
        "token_lifetime_seconds": { "type": ["integer", "null"], "minimum": 1, "maximum": 3600 },
        "jwks": object(),
        "jwks_uri": optional_text(),
        "algorithms": texts(),
        "limits": object(),
    });
    let mut members = settings.clone();
    members["id"] = text();
    members["secret"] = json!({ "type": ["boolean", "null"], "description": "Whether one is generated" });
    let list = Operation::get("listClients", "Clients, by id")
        .paged()
        .answers::<ClientList>(StatusCode::OK, "A page of them");
    let create =
        Operation::post("createClient", "Make a client. Its secret is in this answer and nowhere else")
            .body(&["id", "scopes"], &members)
            .answers::<ClientTold>(StatusCode::CREATED, "The client")
            .with_etag();
    let one = |operation: Operation| {
        operation
            .path("client", "Its id")
            .answers::<ClientTold>(StatusCode::OK, "The client")
            .with_etag()
            .problem(StatusCode::NOT_FOUND, "There is no such client")
    };
    let read = one(Operation::get("readClient", "A client"))
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong");
    let update = one(Operation::new(Method::PUT, "updateClient", "Replace a client's settings"))
        .body(&["scopes"], &settings)
        .if_match();
    let delete = Operation::new(Method::DELETE, "deleteClient", "Delete a client, with its streams")
        .path("client", "Its id")
        .answers_nothing(StatusCode::NO_CONTENT, "It is gone")
        .problem(StatusCode::NOT_FOUND, "There is no such client")
        .if_match();
    let disable = one(Operation::post("disableClient", "Switch a client off, at once"));
    let enable = one(Operation::post("enableClient", "Switch a client on"));
    let grace = json!({ "type": ["integer", "null"], "minimum": 0, "maximum": GRACE_MAX.as_secs() });
    let rotate = one(Operation::post("rotateSecret", "Give a client a new secret"))
        .body(&[], &json!({ "grace_seconds": grace }));
    vec![
        Route::new("/admin/v1/clients", get(self::list).post(self::create), [list, create]),
        Route::new(
            "/admin/v1/clients/{client}",
            get(self::read).put(self::update).delete(self::delete),
            [read, update, delete],
        ),
        Route::new("/admin/v1/clients/{client}/disable", post(self::disable), [disable]),
        Route::new("/admin/v1/clients/{client}/enable", post(self::enable), [enable]),
        Route::new("/admin/v1/clients/{client}/secret", post(self::rotate), [rotate]),
    ]
}

/// A page of clients.
#[derive(Serialize, ToSchema)]
struct ClientList {
    clients: Vec<ClientTold>,
    /// Where the next page begins, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A client.
#[derive(Serialize, ToSchema)]
struct ClientTold {
    id: String,
    enabled: bool,
    /// Whether configuration declares it.
    declared: bool,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    secrets: Vec<SecretTold>,
    /// How many streams it has.
    streams: usize,
    /// Its secret, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subjects: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_lifetime_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithms: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Value>,
}

/// A secret that is good.
#[derive(Serialize, ToSchema)]
struct SecretTold {
    /// Until when, if that is limited.
    #[schema(format = DateTime)]
    until: Option<String>,
}

type Named = Result<Path<String>, PathRejection>;

/// `GET /admin/v1/clients`: some, behind the one named by `after`, by id.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["after", "limit"])?;
    let limit = query.limit()?;
    let clients = admin.clients.list(query.text("after"), limit);
    let next = (clients.len() == limit).then(|| clients.last().map(|last| last.id.clone())).flatten();
    let clients = clients.iter().map(|client| admin.tell_client(client, None)).collect();
    Ok(answer(StatusCode::OK, json(&ClientList { clients, next })))
}

/// `POST /admin/v1/clients`: makes one. Its secret is in this answer and nowhere else.
pub(crate) async fn create(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &[&["id", "secret"][..], &SETTINGS].concat())?;
    let id = members.text("id")?.ok_or_else(|| Invalid::new("id", RULE, "is required and missing"))?;
    let with_secret = match members.value("secret") {
        None | Some(Value::Bool(true)) => true,
        Some(Value::Bool(false)) => false,
        Some(_) => {
            return Err(Invalid::new("secret", RULE, "must be true or false: secrets are generated").into());
        }
    };
    let settings = settings(&mut members)?;
    let created = admin.clients.create(&id, settings, with_secret).await?;
    Ok(admin.tell_changed(StatusCode::CREATED, &created))
}

/// `GET /admin/v1/clients/{client}`
pub(crate) async fn read(
    State(admin): State<Arc<Admin>>,
    path: Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let client = admin.clients.find(&id_of(path)?).ok_or(NotChanged::NoSuchClient)?;
    Ok(admin.tell_changed(StatusCode::OK, &Changed { client, secret: None }))
}

/// `PUT /admin/v1/clients/{client}`: replaces its settings. Its secrets stay.
pub(crate) async fn update(
    State(admin): State<Arc<Admin>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = id_of(path)?;
    let settings = settings(&mut Members::read(&headers, &body, &SETTINGS)?)?;
    let updated = admin.clients.update(&id, settings, seen(&headers)).await?;
    Ok(admin.tell_changed(StatusCode::OK, &updated))
}

/// `DELETE /admin/v1/clients/{client}`: with its streams, and all that they are owed.
pub(crate) async fn delete(
    State(admin): State<Arc<Admin>>,
    path: Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    admin.clients.delete(&id_of(path)?, seen(&headers)).await?;
    Ok(done(StatusCode::NO_CONTENT))
}

/// `POST /admin/v1/clients/{client}/disable`: the kill switch.
pub(crate) async fn disable(State(admin): State<Arc<Admin>>, path: Named) -> Result<Response, Problem> {
    admin.switch(path, false).await
}

/// `POST /admin/v1/clients/{client}/enable`
pub(crate) async fn enable(State(admin): State<Arc<Admin>>, path: Named) -> Result<Response, Problem> {
    admin.switch(path, true).await
}

/// `POST /admin/v1/clients/{client}/secret`: gives it a new one. The old one stays good for `grace_seconds`.
pub(crate) async fn rotate(
    State(admin): State<Arc<Admin>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = id_of(path)?;
    let mut members = Members::read(&headers, &body, &["grace_seconds"])?;
    let grace = members.whole("grace_seconds")?.map_or(GRACE, Duration::from_secs);
    if grace > GRACE_MAX {
        let problem = format!("must be 0 to {}", GRACE_MAX.as_secs());
        return Err(Invalid::new("grace_seconds", RULE, problem).into());
    }
    let rotated = admin.clients.rotate(&id, grace).await?;
    Ok(admin.tell_changed(StatusCode::OK, &rotated))
}

impl Admin {
    async fn switch(&self, path: Named, on: bool) -> Result<Response, Problem> {
        let id = id_of(path)?;
        let told = |client| self.tell_changed(StatusCode::OK, &Changed { client, secret: None });
        match self.clients.switch(&id, on).await? {
            Some(client) => Ok(told(client)),
            None => Ok(NothingChanged::tell(told(self.clients.find(&id).ok_or(NotChanged::NoSuchClient)?))),
        }
    }

    fn tell_changed(&self, status: StatusCode, changed: &Changed) -> Response {
        let told = self
            .tell_client(&changed.client, changed.secret.as_ref().map(|secret| secret.as_str().to_owned()));
        let mut response = answer(status, json(&told));
        let etag = changed.client.etag(self.clients.is_enabled(&changed.client.id));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(ETAG, etag);
        }
        response
    }

    fn tell_client(&self, client: &Client, secret: Option<String>) -> ClientTold {
        let settings = &client.settings;
        ClientTold {
            id: client.id.clone(),
            enabled: self.clients.is_enabled(&client.id),
            declared: client.stored.is_none(),
            created_at: client.stored.map(|stored| time::told(stored.created_at)),
            secrets: client
                .secrets
                .iter()
                .map(|one| SecretTold { until: one.until.map(time::told) })
                .collect(),
            streams: self.transmitter.streams_of_client(&client.id),
            secret,
            scopes: settings.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
            audience: value_of(settings.audience.as_ref()),
            issuers: settings.issuers.clone(),
            events: settings.events.clone(),
            subjects: value_of(settings.subjects.as_ref()),
            token_lifetime_seconds: settings.token_lifetime_seconds,
            jwks: settings.jwks.clone(),
            jwks_uri: settings.jwks_uri.clone(),
            algorithms: settings.algorithms.clone(),
            limits: value_of(settings.limits.as_ref()),
        }
    }
}

fn value_of(told: Option<&impl Serialize>) -> Option<Value> {
    told.map(|told| serde_json::to_value(told).expect("settings are text and numbers"))
}

fn json(told: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(told).expect("it is text and numbers")
}

/// The client that the path names.
fn id_of(path: Named) -> Result<String, Problem> {
    path.map(|Path(id)| id).map_err(|_| NotChanged::NoSuchClient.into())
}

/// What the operator saw last, if the request says so.
fn seen(headers: &HeaderMap) -> Option<Condition> {
    Condition::of(headers, IF_MATCH)
}

fn settings(members: &mut Members) -> Result<ClientSettings, Invalid> {
    let scopes = member(members, "scopes")?;
    Ok(ClientSettings {
        scopes: scopes.ok_or_else(|| Invalid::new("scopes", RULE, "is required and missing"))?,
        audience: member(members, "audience")?,
        issuers: member(members, "issuers")?,
        events: member(members, "events")?,
        subjects: member(members, "subjects")?,
        token_lifetime_seconds: member(members, "token_lifetime_seconds")?,
        jwks: members.value("jwks"),
        jwks_uri: member(members, "jwks_uri")?,
        algorithms: member(members, "algorithms")?,
        limits: member(members, "limits")?,
    })
}

fn member<T: DeserializeOwned>(members: &mut Members, name: &str) -> Result<Option<T>, Invalid> {
    let Some(value) = members.value(name) else { return Ok(None) };
    // It is the operator's own text: what is said of it stays with the operator.
    let read = serde_json::from_value(value).map(Some);
    read.map_err(|error| Invalid::new(name, RULE, format!("is not what it should be: {error}")))
}

impl From<NotChanged> for Problem {
    fn from(error: NotChanged) -> Self {
        match error {
            NotChanged::Invalid(breach) => Self::invalid(&breach),
            NotChanged::NoSuchClient => Self::not_found("there is no such client"),
            NotChanged::Stale => Self::precondition_failed(),
            NotChanged::Ours(TransmitterError::Store(StoreError::Conflict)) => {
                Self::conflict("the client or one of its streams is being changed at this moment")
            }
            NotChanged::Ours(error) => Self::ours(&error),
            NotChanged::Exists | NotChanged::Declared | NotChanged::NoSecret | NotChanged::TooMany(_) => {
                Self::conflict(error.to_string())
            }
        }
    }
}
