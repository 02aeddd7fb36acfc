//! Keys of issuers. A private half comes in where one is brought along, and never goes out.

use super::request::{Members, Query, RULE};
use super::{Admin, time};
use crate::problem::Problem;
use crate::ssf::answer;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secevent::Invalid;
use secevent_jose::{Algorithm, Jwk, KeyError, SecretText, SigningKey};
use secevent_transmitter::{KeyState, KeyView, KeysError, NewKey, RotateAt};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /admin/v1/keys`: all keys of all issuers, or of the one that is named.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["issuer"])?;
    let keys = admin.transmitter.keys(query.text("issuer"))?;
    let told = json!({ "keys": keys.iter().map(tell).collect::<Vec<_>>() });
    Ok(answer(StatusCode::OK, told.to_string()))
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
    Ok(answer(StatusCode::CREATED, tell(&view).to_string()))
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
    Ok(answer(StatusCode::OK, tell(&view).to_string()))
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
    let told = json!({ "keys": keys.iter().map(tell).collect::<Vec<_>>() });
    Ok(answer(StatusCode::OK, told.to_string()))
}

/// `POST /admin/v1/keys/rewrap`: seals everything in the store anew, with the master key that seals now.
pub(crate) async fn rewrap(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    Members::read(&headers, &body, &[])?;
    let sealed = admin.transmitter.rewrap().await.map_err(|error| Problem::ours(&error))?;
    let told = json!({ "sealed_anew": sealed, "master_key": admin.transmitter.master_key() });
    Ok(answer(StatusCode::OK, told.to_string()))
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

fn tell(view: &KeyView) -> Value {
    let algorithm = view.public.as_ref().and_then(Jwk::algorithm).map(Algorithm::as_str);
    let mut told = json!({ "issuer": view.issuer, "kid": view.kid, "algorithm": algorithm });
    match view.state {
        KeyState::Next { published_at, promote_at } => {
            told["state"] = "next".into();
            told["published_at"] = time::told(published_at).into();
            told["signs_from"] = promote_at.map(time::told).into();
        }
        KeyState::Current { since } => {
            told["state"] = "current".into();
            told["signs_from"] = since.map(time::told).into();
        }
        KeyState::Previous { retire_at } => {
            told["state"] = "previous".into();
            told["published_until"] = time::told(retire_at).into();
        }
        KeyState::Withdrawn => told["state"] = "withdrawn".into(),
    }
    if let Some(public) = &view.public {
        told["jwk"] = serde_json::from_str(&public.to_json()).unwrap_or_default();
    }
    told
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
