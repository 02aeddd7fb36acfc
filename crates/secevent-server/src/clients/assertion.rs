//! Clients that prove who they are by a signature (RFC 7523): nothing that they send is of use to anybody else, and
//! each assertion is taken once.

use super::access_token::TokenError;
use super::keys::NotVerified;
use super::{Client, Clients};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use secevent::{Audience, Timestamp};
use secevent_jose::{Compact, TypRule};
use secevent_store::{Store, StoreError, Version};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tracing::{info, warn};

/// The value of `client_assertion_type`.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far ahead the end of an assertion may lie: for as long it has to be remembered.
const LIFETIME_MAX: Duration = Duration::from_secs(300);
/// How far the clocks of clients may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
/// The longest assertion that is read.
const BYTES_MAX: usize = 16 * 1_024;
/// The longest `jti`.
const JTI_BYTES_MAX: usize = 512;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Timestamp,
    jti: String,
    iat: Option<Timestamp>,
    nbf: Option<Timestamp>,
}

impl Clients {
    /// The client that signed this assertion, for us, just now, and for the first time.
    pub(super) async fn by_assertion(
        &self,
        named: Option<&str>,
        assertion: &str,
    ) -> Result<Arc<Client>, TokenError> {
        let now = self.now();
        let refused = |client: &str, reason: &str| match self.count_stranger(client, now) {
            Ok(()) => {
                info!(client = ?client.chars().take(64).collect::<String>(), reason, "A client's assertion is refused");
                TokenError::InvalidClient
            }
            Err(too_often) => too_often,
        };
        let compact = Compact::parse_within(assertion, BYTES_MAX);
        let compact = compact.map_err(|_| refused("", "it is no signed token"))?;
        let claims: Claims = serde_json::from_slice(compact.unverified_payload())
            .map_err(|_| refused("", "it lacks a claim, or one is malformed"))?;
        let id = claims.sub.as_str();
        // What is cheap comes before the signature.
        if let Some(reason) = self.objection(&claims, named, now) {
            return Err(refused(id, reason));
        }
        let client = self.find(id).ok_or_else(|| refused(id, "there is no such client"))?;
        if !self.is_enabled(id) {
            return Err(refused(id, "the client is switched off"));
        }
        let keys = client.keys.as_ref().ok_or_else(|| refused(id, "the client has no keys"))?;
        keys.verify(&compact, TypRule::ClientAssertion).await.map_err(|error| match error {
            NotVerified::Refused(reason) => refused(id, &reason.to_string()),
            NotVerified::Unavailable(reason) => {
                warn!(client = id, %reason, "A client's keys cannot be had");
                TokenError::Unavailable
            }
        })?;
        client.count_token_request(now)?;
        let forget = (self.transmitter.expiry_now(), self.ports.clock.elapsed());
        match self.assertions.is_first(&*self.ports.store, id, &claims.jti, claims.exp, forget).await {
            Ok(true) => Ok(client),
            Ok(false) => Err(refused(id, "it was shown before")),
            Err(error) => {
                warn!(client = id, %error, "Whether an assertion was shown before cannot be told");
                Err(TokenError::Unavailable)
            }
        }
    }

    /// What speaks against an assertion, whoever signed it.
    fn objection(&self, claims: &Claims, named: Option<&str>, now: Timestamp) -> Option<&'static str> {
        let for_us = |name: &str| name == self.server || name == format!("{}/oauth/token", self.server);
        let objections = [
            (claims.iss != claims.sub, "its iss is not its sub"),
            (named.is_some_and(|named| named != claims.sub), "client_id is another one"),
            (!claims.aud.iter().any(for_us), "it is not for this authorization server"),
            (claims.exp <= now, "it has expired"),
            (claims.exp > now.plus(LIFETIME_MAX).plus(SKEW), "it lasts longer than five minutes"),
            (claims.nbf.is_some_and(|nbf| nbf > now.plus(SKEW)), "it is not good yet"),
            (claims.iat.is_some_and(|iat| iat > now.plus(SKEW)), "it was signed in the future"),
            (claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX, "its jti is empty or too long"),
        ];
        objections.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }
}

/// Remembers which assertions were shown, in the store, until they are worthless anyway (SEM-21).
#[derive(Debug, Default)]
pub(super) struct ReplayGuard {
    /// About how many are remembered.
    kept: AtomicUsize,
    /// When those that are over are to be forgotten next, in seconds of elapsed time.
    forget_at: AtomicU64,
}

impl ReplayGuard {
    const DOCUMENTS: &'static str = "assertion/";
    /// So many are remembered. Each client's own limit is far below.
    const KEPT_MAX: usize = 100_000;
    const FORGET_EVERY_SECONDS: u64 = 60;

    /// Whether this is the first time. Once this returns a repeat is known for one, after a crash too.
    async fn is_first(
        &self,
        store: &dyn Store,
        client: &str,
        jti: &str,
        exp: Timestamp,
        (expiry_now, elapsed): (Timestamp, Duration),
    ) -> Result<bool, StoreError> {
        if self.forget_at.load(Ordering::Relaxed) <= elapsed.as_secs() {
            self.forget_at.store(elapsed.as_secs() + Self::FORGET_EVERY_SECONDS, Ordering::Relaxed);
            self.forget(store, expiry_now).await?;
        }
        if self.kept.load(Ordering::Relaxed) >= Self::KEPT_MAX {
            return Err(StoreError::Busy);
        }
        let digest = digest(&SHA256, format!("{client}\n{jti}").as_bytes());
        // The end comes first, so that those that are over are found at the beginning.
        let end = exp.as_seconds().saturating_add(1);
        let name = format!("{}{end:012}/{}", Self::DOCUMENTS, URL_SAFE_NO_PAD.encode(digest));
        match store.put(&name, Version(0), Some(Bytes::new())).await {
            Ok(_) => {
                self.kept.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn forget(&self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        const PAGE: usize = 256;
        loop {
            let page = store.list(Self::DOCUMENTS, None, PAGE).await?;
            let end = |name: &str| name.strip_prefix(Self::DOCUMENTS)?.split('/').next()?.parse::<i64>().ok();
            let over = page.iter().filter(|one| end(&one.name).is_none_or(|end| end <= now.as_seconds()));
            // All are on their way before the first is waited for: they share one commit.
            let leaving: Vec<_> = over.map(|one| store.put(&one.name, one.version, None)).collect();
            let count = leaving.len();
            for left in leaving {
                match left.await {
                    Ok(_) | Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
            let fewer = |kept: usize| Some(kept.saturating_sub(count));
            let _ = self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
            if count < PAGE {
                return Ok(());
            }
        }
    }
}
