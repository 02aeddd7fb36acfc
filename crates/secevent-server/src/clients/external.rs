//! Authorization servers elsewhere: their access tokens are JWTs (RFC 9068), checked here by their published keys.

use super::ClientPorts;
use super::caller::Said;
use super::scope::Scope;
use crate::problem::Problem;
use bytes::Bytes;
use http::Request;
use http::header::ACCEPT;
use secevent::json::{Limits, check, without_bom};
use secevent::{Audience, Clock, Issuer, Timestamp};
use secevent_jose::{Algorithms, Compact, TypRule};
use secevent_receiver::{JwksCache, KeyFigures, LogLimit, NotVerified};
use secevent_ssf::{BoxFuture, Endpoint, ResponseLimit, Transport};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// An authorization server elsewhere whose access tokens are taken.
#[derive(Clone, Debug)]
pub struct AuthorizationServerConfig {
    /// Its name, to the letter: the `iss` of its tokens.
    pub issuer: Issuer,
    /// What we are called in the `aud` of its tokens.
    pub audience: String,
    /// Where its keys are. Default: where its metadata says (RFC 8414, or OpenID discovery).
    pub jwks_uri: Option<Endpoint>,
    /// The algorithms that it may sign with. Default: [`Algorithms::DEFAULT`].
    pub algorithms: Algorithms,
    /// Take tokens that are not typed `at+jwt` too, from servers older than RFC 9068. Default: no.
    pub untyped_tokens: bool,
    /// The claim that names the client, as we know it. Default: `client_id`.
    pub client_claim: String,
    /// What scopes are called there, besides by our own names. Default: nothing else.
    pub scopes: BTreeMap<String, Scope>,
    /// The clients that it may speak for. Default: all.
    pub clients: Option<Vec<String>>,
}

impl AuthorizationServerConfig {
    /// The server of this name, with the defaults.
    pub fn new(issuer: Issuer, audience: impl Into<String>) -> Self {
        Self {
            issuer,
            audience: audience.into(),
            jwks_uri: None,
            algorithms: Algorithms::DEFAULT,
            untyped_tokens: false,
            client_claim: "client_id".to_owned(),
            scopes: BTreeMap::new(),
            clients: None,
        }
    }

    /// The keys that it publishes, none of them fetched yet.
    pub fn keys(&self, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> JwksCache {
        let whose = self.issuer.to_string();
        if let Some(endpoint) = self.jwks_uri.clone() {
            return JwksCache::at(whose, endpoint, self.algorithms, transport, clock);
        }
        let (issuer, asked) = (self.issuer.clone(), Arc::clone(&transport));
        let locate = move || -> BoxFuture<'static, Result<Endpoint, String>> {
            let (issuer, asked) = (issuer.clone(), Arc::clone(&asked));
            Box::pin(async move { find_keys(&issuer, &*asked).await })
        };
        JwksCache::located_by(whose, Box::new(locate), self.algorithms, transport, clock)
    }
}

/// One of them at work.
pub(super) struct ExternalServer {
    config: AuthorizationServerConfig,
    keys: Arc<JwksCache>,
    /// Bounds what the log says of refused tokens: anybody can send some.
    refused_log: LogLimit,
    /// The same for tokens that are not typed.
    untyped_log: LogLimit,
}

/// How far its clock may be ahead of ours, or behind.
const SKEW: Duration = Duration::from_secs(60);
/// How long a token is believed before its signature is looked at again: its key may have been withdrawn.
const BELIEVED_FOR: Duration = Duration::from_secs(300);
/// Log lines about refused tokens of one server, in one window.
const REFUSED_LINES_MAX: u32 = 5;

impl ExternalServer {
    pub(super) fn new(config: AuthorizationServerConfig, ports: &ClientPorts) -> Self {
        let keys = config.keys(Arc::clone(&ports.transport), Arc::clone(&ports.clock));
        let (refused_log, untyped_log) = (LogLimit::new(REFUSED_LINES_MAX), LogLimit::new(1));
        Self { config, keys: Arc::new(keys), refused_log, untyped_log }
    }

    pub(super) fn issuer(&self) -> &str {
        self.config.issuer.as_str()
    }

    /// What a token of this server says, if it is good and for us.
    pub(super) async fn check(&self, compact: &Compact<'_>, now: Timestamp) -> Result<Option<Said>, Problem> {
        let typ = match self.config.untyped_tokens {
            true => TypRule::AccessTokenOrUntyped,
            false => TypRule::AccessToken,
        };
        if !typ.admits(compact.header().typ()) {
            // Before any key is fetched for it.
            if TypRule::AccessTokenOrUntyped.admits(compact.header().typ()) {
                self.report_untyped();
            }
            return Ok(None);
        }
        match self.keys.verify(compact, typ).await {
            Ok(()) => {}
            // A client can ask for another token: to it this is not final.
            Err(NotVerified::Refused(reason) | NotVerified::Doubtful { error: reason, .. }) => {
                self.report_refused(&reason);
                return Ok(None);
            }
            Err(NotVerified::Unavailable(unavailable)) => {
                let detail = "the keys of the authorization server are unavailable or not fetched again yet, try again";
                return Err(Problem::unavailable_for(unavailable.retry_after, detail));
            }
        }
        let said = self.read(compact.unverified_payload(), now);
        if let Err(reason) = &said {
            self.report_refused(reason);
        }
        Ok(said.ok())
    }

    /// Whether its keys come as they should.
    pub(super) fn key_figures(&self) -> KeyFigures {
        self.keys.figures()
    }

    fn report_refused(&self, reason: &dyn fmt::Display) {
        let (issuer, example) = (self.config.issuer.clone(), reason.to_string());
        let report = move |count: u64| {
            info!(%issuer, count, error = example, "Further access tokens refused, not logged one by one");
        };
        if self.refused_log.admits(report) {
            info!(issuer = self.issuer(), error = %reason, "Access token of another authorization server refused");
        }
    }

    fn report_untyped(&self) {
        let issuer = self.config.issuer.clone();
        let warn = move |count: u64| {
            let setting = "authorization_server.untyped_tokens";
            warn!(%issuer, setting, count, "Access token refused, its typ is not at+jwt");
        };
        if self.untyped_log.admits(warn.clone()) {
            warn(1);
        }
    }

    /// Reads the claims of a token whose signature was checked.
    fn read(&self, payload: &[u8], now: Timestamp) -> Result<Said, &'static str> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
            aud: Option<Audience>,
            exp: Timestamp,
            nbf: Option<Timestamp>,
            iat: Option<Timestamp>,
            #[serde(flatten)]
            others: Map<String, Value>,
        }
        let claims: Claims =
            serde_json::from_slice(payload).map_err(|_| "it lacks iss or exp, or a claim is malformed")?;
        // Authorization servers leave it out as long as nobody has told them who the token is for.
        let audience = claims.aud.ok_or("it has no aud")?;
        let client = claims.others.get(&self.config.client_claim).and_then(Value::as_str);
        let client = client.ok_or("it names no client")?;
        let may_name =
            self.config.clients.as_ref().is_none_or(|clients| clients.iter().any(|one| one == client));
        let objections = [
            (claims.iss != self.issuer(), "it is of another issuer"),
            (!audience.contains(&self.config.audience), "it is for another audience"),
            (claims.exp.plus(SKEW) <= now, "it has expired"),
            (claims.nbf.is_some_and(|nbf| nbf > now.plus(SKEW)), "it is not good yet"),
            (claims.iat.is_some_and(|iat| iat > now.plus(SKEW)), "it was made in the future"),
            // One that is not typed could be a SET too (RFC 8417 section 4.6).
            (claims.others.contains_key("events"), "it is a security event token"),
            (!may_name, "its issuer may not speak for this client"),
        ];
        if let Some((_, reason)) = objections.into_iter().find(|(holds, _)| *holds) {
            return Err(reason);
        }
        let named = |name: &str| self.config.scopes.get(name).copied().or_else(|| Scope::named(name));
        let scopes = match claims.others.get("scope") {
            Some(Value::String(names)) => names.split_whitespace().filter_map(named).collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter_map(named).collect(),
            _ => Vec::new(),
        };
        let until = claims.exp.plus(SKEW).min(now.plus(BELIEVED_FOR));
        Ok(Said { client: client.to_owned(), scopes, generation: None, made_at: claims.iat, until })
    }
}

/// Finds where an authorization server publishes its keys: by RFC 8414, or else by OpenID discovery.
async fn find_keys(issuer: &Issuer, transport: &dyn Transport) -> Result<Endpoint, String> {
    let path = issuer.path().trim_end_matches('/');
    let urls = [
        format!("{}/.well-known/oauth-authorization-server{path}", issuer.origin()),
        format!("{}{path}/.well-known/openid-configuration", issuer.origin()),
    ];
    let mut reasons = Vec::new();
    for url in urls {
        match keys_by_metadata(&url, issuer, transport).await {
            Ok(endpoint) => return Ok(endpoint),
            Err(reason) => reasons.push(format!("{url}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

async fn keys_by_metadata(url: &str, issuer: &Issuer, transport: &dyn Transport) -> Result<Endpoint, String> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: Option<String>,
    }
    let request = Request::get(url).header(ACCEPT, "application/json");
    let request = request.extension(ResponseLimit(Limits::BODY.bytes_max)).body(Bytes::new());
    let request = request.map_err(|error| error.to_string())?;
    let response = transport.send(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("the answer is {}", response.status()));
    }
    let text = check(without_bom(response.body()), Limits::BODY).map_err(|error| error.to_string())?;
    let metadata: Metadata = serde_json::from_str(text)
        .map_err(|_| "that is no metadata of an authorization server".to_owned())?;
    // Otherwise anybody who can serve a document there could speak for it (RFC 8414 section 3.3).
    if metadata.issuer != issuer.as_str() {
        return Err("the metadata is of another issuer".to_owned());
    }
    let uri = metadata.jwks_uri.ok_or_else(|| "the metadata names no jwks_uri".to_owned())?;
    Endpoint::parse_insecure(&uri).map_err(|error| format!("jwks_uri {}", error.problem()))
}
