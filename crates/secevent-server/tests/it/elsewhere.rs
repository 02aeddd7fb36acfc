//! Other servers, by their URLs: what they publish, and how often they were asked.

use bytes::Bytes;
use http::{Request, Response};
use secevent_jose::{Algorithm, JwkSet, Signer, SigningKey};
use secevent_ssf::{BoxFuture, Transport, TransportError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Mutex;

#[derive(Default)]
pub(crate) struct Elsewhere {
    documents: Mutex<HashMap<String, String>>,
    asked: Mutex<Vec<String>>,
}

impl Elsewhere {
    /// Publishes a document at a URL, from now on.
    pub(crate) fn publish(&self, url: &str, document: &Value) {
        self.documents.lock().unwrap().insert(url.to_owned(), document.to_string());
    }

    /// Nobody answers any more.
    pub(crate) fn is_gone(&self) {
        self.documents.lock().unwrap().clear();
    }

    /// The URLs that were asked for since this was asked last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Transport for Elsewhere {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let url = request.uri().to_string();
        let found = self.documents.lock().unwrap().get(&url).cloned();
        let answer = match found {
            Some(document) => Response::new(Bytes::from(document)),
            None => Response::builder().status(404).body(Bytes::new()).unwrap(),
        };
        self.asked.lock().unwrap().push(url);
        Box::pin(async { Ok(answer) })
    }

    fn check_url(&self, url: &http::Uri) -> Result<(), secevent_ssf::UrlRefused> {
        crate::recipient::no_private_use(url)
    }
}

/// An authorization server elsewhere, of whom our server takes tokens.
pub(crate) struct AuthorizationServer {
    signer: Signer,
}

pub(crate) const AS: &str = "https://as.example/realm";
const AS_METADATA: &str = "https://as.example/.well-known/oauth-authorization-server/realm";
pub(crate) const AS_KEYS: &str = "https://as.example/keys";

impl AuthorizationServer {
    /// One that signs with a key of its own, and types its tokens so.
    pub(crate) fn typed(typ: &str) -> Self {
        Self { signer: Signer::new(SigningKey::generate(Algorithm::Es256).unwrap(), typ) }
    }

    pub(crate) fn new() -> Self {
        Self::typed("at+jwt")
    }

    /// One whose key has this name.
    pub(crate) fn named(kid: &str) -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap().with_kid(kid).unwrap();
        Self { signer: Signer::new(key, "at+jwt") }
    }

    /// Its metadata and its keys are there.
    pub(crate) fn publish(&self, elsewhere: &Elsewhere) {
        elsewhere.publish(AS_METADATA, &json!({"issuer": AS, "jwks_uri": AS_KEYS}));
        self.publish_keys(elsewhere);
    }

    pub(crate) fn publish_keys(&self, elsewhere: &Elsewhere) {
        let keys = JwkSet::new([self.signer.key().public().clone()]);
        elsewhere.publish(AS_KEYS, &serde_json::from_str(&keys.to_json()).unwrap());
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.signer.sign(claims.to_string().as_bytes()).unwrap()
    }

    /// A token for a client of ours, good for ten minutes from `now`.
    pub(crate) fn token(&self, client: &str, scope: &str, now: i64) -> String {
        self.sign(&claims(client, scope, now))
    }
}

pub(crate) fn claims(client: &str, scope: &str, now: i64) -> Value {
    json!({
        "iss": AS, "aud": ["https://tr.example", "https://elsewhere.example"], "sub": "somebody", "client_id": client,
        "scope": scope, "iat": now, "exp": now + 600, "jti": "x",
    })
}
