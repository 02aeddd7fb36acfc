//! Keys of issuers. A private half comes in where one is brought along, and never goes out.

use super::request::{Members, Query, RULE};
use super::route::{Operation, Route, optional_flag, optional_text, optional_time, text};
use super::{Admin, answer, time};
use crate::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_jose::{Algorithm, Jwk, KeyError, SecretText, SigningKey};
use secevent_transmitter::{KeyState, KeyView, KeysError, NewKey, RotateAt};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<Route> {
    let issuer = json!({ "type": "string", "description": "Whose: an issuer's URL" });
    let algorithm = optional_text();
    let gone = "There is no such issuer, or it has no such key";
    let list = Operation::get("listKeys", "Keys, without their private halves")
        .query("issuer", "Of this issuer only", &text())
        .answers::<KeyList>(StatusCode::OK, "All of them")
        .problem(StatusCode::BAD_REQUEST, "A parameter is wrong")
        .problem(StatusCode::NOT_FOUND, gone);
    let key = json!({ "type": ["string", "null"], "description": "A private key as JWK or PEM; without it, one is made" });
    let members = json!({ "issuer": issuer, "algorithm": algorithm, "key": key, "kid": optional_text() });
    let publish = Operation::post("publishKey", "Publish the next key of an issuer")
        .body(&["issuer"], &members)
        .answers::<KeyTold>(StatusCode::CREATED, "The key")
        .problem(StatusCode::NOT_FOUND, gone);
    let now = optional_flag();
    let members = json!({ "issuer": issuer, "algorithm": algorithm, "at": optional_time(), "now": now });
    let rotate = Operation::post("rotateKey", "Have the next key sign")
        .body(&["issuer"], &members)
        .answers::<KeyTold>(StatusCode::OK, "The next key")
        .problem(StatusCode::NOT_FOUND, gone);
    let withdraw = Operation::post("withdrawKey", "Take a key out at once")
        .body(&["issuer", "kid"], &json!({ "issuer": issuer, "kid": text() }))
        .answers::<KeyList>(StatusCode::OK, "The issuer's keys")
        .problem(StatusCode::NOT_FOUND, gone);
    let rewrap = Operation::post("rewrap", "Seal everything in the store anew")
        .body(&[], &json!({}))
        .answers::<Rewrapped>(StatusCode::OK, "How much that was");
    vec![
        Route::new("/admin/v1/keys", get(self::list), [list]),
        Route::new("/admin/v1/keys/publish", post(self::publish), [publish]),
        Route::new("/admin/v1/keys/rotate", post(self::rotate), [rotate]),
        Route::new("/admin/v1/keys/withdraw", post(self::withdraw), [withdraw]),
        Route::new("/admin/v1/keys/rewrap", post(self::rewrap), [rewrap]),
    ]
}

/// Keys.
#[derive(Serialize, ToSchema)]
struct KeyList {
    keys: Vec<KeyTold>,
}

/// A key, without its private half.
#[derive(Default, Serialize, ToSchema)]
struct KeyTold {
    issuer: String,
    kid: String,
    algorithm: Option<&'static str>,
    /// `next`, `current`, `previous` or `withdrawn`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    published_at: Option<String>,
    /// Since when it signs, or from when on. Null where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    signs_from: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    published_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Value>,
}

/// How many secrets were sealed anew, and the fingerprint of the master key that seals now.
#[derive(Serialize, ToSchema)]
struct Rewrapped {
    sealed_anew: u64,
    master_key: String,
}

/// `GET /admin/v1/keys`: all keys of all issuers, or of the one that is named.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["issuer"])?;
    let keys = admin.transmitter.keys(query.text("issuer"))?;
    Ok(answer(StatusCode::OK, list_of(&keys)))
}

/// `POST /admin/v1/keys/publish`: publishes the next key of an issuer, made here or brought along as `key`.
pub(crate) async fn publish(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["issuer", "algorithm", "key", "kid"])?;
    let issuer = required(members.text("issuer")?, "issuer")?;
    let algorithm = algorithm(members.text("algorithm")?)?;
    let own = || {
        let issuers = admin.transmitter.issuers().find(|config| config.url.as_str() == issuer);
        issuers.map(|config| config.algorithm).ok_or_else(|| KeysError::NoSuchIssuer(issuer.clone()))
    };
    let kid = members.text("kid")?;
    let key = match (members.text("key")?.map(SecretText::from), kid) {
        (Some(text), kid) => {
            let key = match text.expose().trim_start().starts_with('{') {
                true => SigningKey::from_json(text.expose()),
                false => SigningKey::from_pem(text.expose(), algorithm.map_or_else(own, Ok)?),
            };
            let key = key.map_err(|error| not_a_key(&error))?;
            NewKey::Given(match kid {
                Some(kid) => key.with_kid(kid).map_err(|error| not_a_key(&error))?,
                None => key,
            })
        }
        (None, None) => NewKey::Generate(algorithm.map_or_else(own, Ok)?),
        (None, Some(_)) => {
            return Err(Invalid::new("kid", RULE, "is for a key that is brought along as `key`").into());
        }
    };
    let view = admin.transmitter.publish_key(&issuer, key).await?;
    Ok(answer(StatusCode::CREATED, json_of(&tell(&view))))
}

/// `POST /admin/v1/keys/rotate`: has the next key sign: as soon as it was published long enough, `at` a time, or `now`.
pub(crate) async fn rotate(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["issuer", "algorithm", "at", "now"])?;
    let issuer = required(members.text("issuer")?, "issuer")?;
    let algorithm = algorithm(members.text("algorithm")?)?;
    let at = match (members.time("at")?, members.flag("now")?) {
        (None, false) => RotateAt::Soon,
        (Some(at), false) => RotateAt::Time(at),
        (None, true) => RotateAt::Now,
        (Some(_), true) => return Err(Invalid::new("at", RULE, "cannot be used with `now`").into()),
    };
    let view = admin.transmitter.rotate_key(&issuer, algorithm, at).await?;
    Ok(answer(StatusCode::OK, json_of(&tell(&view))))
}

/// `POST /admin/v1/keys/withdraw`: takes a key out at once.
pub(crate) async fn withdraw(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::read(&headers, &body, &["issuer", "kid"])?;
    let issuer = required(members.text("issuer")?, "issuer")?;
    let kid = required(members.text("kid")?, "kid")?;
    admin.transmitter.withdraw_key(&issuer, &kid).await?;
    let keys = admin.transmitter.keys(Some(&issuer))?;
    Ok(answer(StatusCode::OK, list_of(&keys)))
}

/// `POST /admin/v1/keys/rewrap`: seals everything in the store anew, with the master key that seals now.
pub(crate) async fn rewrap(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    Members::read(&headers, &body, &[])?;
    let sealed = admin.transmitter.rewrap().await.map_err(|error| Problem::ours(&error))?;
    let told = Rewrapped { sealed_anew: sealed, master_key: admin.transmitter.master_key().to_owned() };
    Ok(answer(StatusCode::OK, json_of(&told)))
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::NoSuchIssuer(_) => Self::not_found("there is no such issuer"),
            KeysError::NoSuchKey => Self::not_found("the issuer has no such key"),
            KeysError::Ours(error) => Self::ours(&error),
            other => Self::conflict(other.to_string()),
        }
    }
}

fn tell(view: &KeyView) -> KeyTold {
    let algorithm = view.public.as_ref().and_then(Jwk::algorithm).map(Algorithm::as_str);
    let jwk = view.public.as_ref().map(|public| serde_json::from_str(&public.to_json()).unwrap_or_default());
    let (issuer, kid) = (view.issuer.clone(), view.kid.clone());
    let told = KeyTold { issuer, kid, algorithm, jwk, ..KeyTold::default() };
    match view.state {
        KeyState::Next { published_at, promote_at } => KeyTold {
            state: "next",
            published_at: Some(time::told(published_at)),
            signs_from: Some(promote_at.map(time::told)),
            ..told
        },
        KeyState::Current { since } => {
            KeyTold { state: "current", signs_from: Some(since.map(time::told)), ..told }
        }
        KeyState::Previous { retire_at } => {
            KeyTold { state: "previous", published_until: Some(time::told(retire_at)), ..told }
        }
        KeyState::Withdrawn => KeyTold { state: "withdrawn", ..told },
    }
}

fn list_of(keys: &[KeyView]) -> Vec<u8> {
    json_of(&KeyList { keys: keys.iter().map(tell).collect() })
}

fn json_of(told: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(told).expect("it is text and numbers")
}

fn required(text: Option<String>, name: &'static str) -> Result<String, Invalid> {
    text.ok_or_else(|| Invalid::new(name, RULE, "is required and missing"))
}

fn algorithm(name: Option<String>) -> Result<Option<Algorithm>, Invalid> {
    let read = |name: String| {
        name.parse().map_err(|error| Invalid::new("algorithm", RULE, format!("cannot be used: {error}")))
    };
    name.map(read).transpose()
}

/// What is wrong with a key is told without anything of it.
fn not_a_key(error: &KeyError) -> Invalid {
    Invalid::new("key", RULE, format!("is no private key that can be used: {error}"))
}
