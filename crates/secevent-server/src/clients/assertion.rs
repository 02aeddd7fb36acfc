//! Clients that prove who they are by a signature (RFC 7523): nothing that they send is of use to anybody else, and
//! each assertion is taken once.

use super::access_token::TokenError;
use super::attempts::Origin;
use super::failures::Failure;
use super::{Client, Clients};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use secevent::{Audience, Timestamp};
use secevent_jose::{Compact, TypRule};
use secevent_receiver::NotVerified;
use secevent_store::{Store, StoreError, Version};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tracing::warn;

/// The value of `client_assertion_type`.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far ahead the end of an assertion may lie: for as long it has to be remembered.
const LIFETIME_MAX: Duration = Duration::from_secs(300);
/// How far the clocks of clients may be ahead of ours, or behind.
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
        origin: Origin,
    ) -> Result<Arc<Client>, TokenError> {
        let compact = Compact::parse_within(assertion, BYTES_MAX);
        let compact = compact.map_err(|_| self.not_judged(None, "the assertion is no signed token"))?;
        let claims: Claims = serde_json::from_slice(compact.unverified_payload())
            .map_err(|_| self.not_judged(None, "the assertion lacks a claim, or one is malformed"))?;
        let id = claims.sub.as_str();
        let client = self.find(id);
        // What is cheap comes before the signature.
        if let Some(reason) = self.objection(&claims, named, self.now()) {
            return Err(self.not_judged(client.as_deref(), reason));
        }
        let attempts = client.as_ref().map_or_else(|| self.strangers_attempts(id), |client| &client.attempts);
        let attempt = self.admit(attempts, client.as_deref(), origin).await?;
        match self.judge(client.as_deref(), &compact, &claims).await {
            Ok(()) => {
                attempt.succeeded();
                client.ok_or(TokenError::InvalidClient(None))
            }
            Err(Judgement::Wrong { reason, told }) => {
                attempts.count_failed();
                let client = client.as_ref().map(|client| client.id.as_str());
                self.failures.record(&Failure { client, reason: &reason, judged: true });
                Err(TokenError::InvalidClient(told))
            }
            Err(Judgement::Open(error)) => {
                attempt.undecided();
                Err(error)
            }
        }
    }

    /// Refuses an assertion that nobody's key could make good. To know why costs a stranger nothing.
    fn not_judged(&self, client: Option<&Client>, reason: &'static str) -> TokenError {
        let attempts = client.map_or_else(|| self.strangers_attempts(""), |client| &client.attempts);
        attempts.count_failed();
        let client = client.map(|client| client.id.as_str());
        self.failures.record(&Failure { client, reason, judged: true });
        TokenError::InvalidClient(Some(reason))
    }

    /// Whether the client signed this, now and for the first time.
    async fn judge(
        &self,
        client: Option<&Client>,
        compact: &Compact<'_>,
        claims: &Claims,
    ) -> Result<(), Judgement> {
        let wrong = |reason: &str| Judgement::Wrong { reason: reason.to_owned(), told: None };
        let client = client.ok_or_else(|| wrong("there is no such client"))?;
        let id = client.id.as_str();
        if !self.is_enabled(id) {
            return Err(wrong("the client is switched off"));
        }
        let keys = client.keys.as_ref().ok_or_else(|| wrong("the client has no keys"))?;
        keys.verify(compact, TypRule::ClientAssertion).await.map_err(|error| match error {
            NotVerified::Refused(reason) | NotVerified::Doubtful { error: reason, .. } => {
                wrong(&reason.to_string())
            }
            // The key cache warns, once for each fetch.
            NotVerified::Unavailable(unavailable) => {
                Judgement::Open(TokenError::Unavailable(unavailable.retry_after))
            }
        })?;
        let elapsed = self.ports.clock.elapsed();
        client.count_token_request(elapsed).map_err(Judgement::Open)?;
        let forget = (self.transmitter.expiry_now(), elapsed);
        match self.assertions.is_first(&*self.ports.store, id, &claims.jti, claims.exp, forget).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let reason = "the assertion was used before";
                Err(Judgement::Wrong { reason: reason.to_owned(), told: Some(reason) })
            }
            Err(error) => {
                warn!(client.id = id, %error, "Assertion replay check failed");
                Err(Judgement::Open(TokenError::Unavailable(Duration::from_secs(1))))
            }
        }
    }

    /// What speaks against an assertion, whoever signed it.
    fn objection(&self, claims: &Claims, named: Option<&str>, now: Timestamp) -> Option<&'static str> {
        let for_us = |name: &str| name == self.server || name == format!("{}/oauth/token", self.server);
        let objections = [
            (claims.iss != claims.sub, "the assertion's iss is not its sub"),
            (named.is_some_and(|named| named != claims.sub), "client_id is not the assertion's sub"),
            (!claims.aud.iter().any(for_us), "the assertion's aud is not this authorization server"),
            (claims.exp.plus(SKEW) <= now, "the assertion has expired"),
            (claims.exp > now.plus(LIFETIME_MAX).plus(SKEW), "the assertion lasts longer than five minutes"),
            (claims.nbf.is_some_and(|nbf| nbf > now.plus(SKEW)), "the assertion's nbf is in the future"),
            (claims.iat.is_some_and(|iat| iat > now.plus(SKEW)), "the assertion's iat is in the future"),
            (
                claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX,
                "the assertion's jti is empty or too long",
            ),
        ];
        objections.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }
}

/// Why an assertion is not taken.
enum Judgement {
    /// It is not good. The reason is for the log; the text in the answer does not help a stranger.
    Wrong { reason: String, told: Option<&'static str> },
    /// Nobody can say.
    Open(TokenError),
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
        let end = exp.plus(SKEW).as_seconds().saturating_add(1);
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
