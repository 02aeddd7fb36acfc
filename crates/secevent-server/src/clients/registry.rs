//! The clients that there are: declared in configuration, or made at run time and kept in the store.

use super::attempts::Attempts;
use super::keys::ClientKeys;
use super::limits::{Buckets, Limits};
use super::secret::{self, KeptSecret};
use super::settings::{ClientConfig, ClientSettings, Rights};
use super::{Clients, ClientsError};
use crate::entity_tag::Condition;
use bytes::Bytes;
use secevent::{Invalid, Timestamp};
use secevent_ssf::Endpoint;
use secevent_store::{StoreError, Version};
use secevent_transmitter::{ManageError, TransmitterError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{error, warn};

/// A client at work.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) settings: ClientSettings,
    pub(crate) rights: Rights,
    pub(crate) keys: Option<ClientKeys>,
    pub(crate) secrets: Vec<KeptSecret>,
    pub(crate) buckets: Arc<Buckets>,
    /// Attempts at its credentials, whatever changes about it.
    pub(crate) attempts: Arc<Attempts>,
    /// When the newest of its tokens was made that others gave it and that was shown here, in microseconds.
    pub(crate) newest_token: Arc<AtomicI64>,
    /// None if configuration declares it.
    pub(crate) stored: Option<StoredAs>,
    /// Access tokens of another generation are worthless.
    pub(crate) generation: u64,
}

/// Where the store has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredAs {
    pub(crate) version: Version,
    pub(crate) created_at: Timestamp,
}

/// A client as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The form of this record: what was written under an older one is read for ever.
    form: u32,
    settings: ClientSettings,
    secrets: Vec<KeptSecret>,
    created_at: Timestamp,
}

impl Record {
    const FORM: u32 = 1;
}

/// When a client's tokens were ended, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct EndedTokens {
    form: u32,
    good_since: Timestamp,
}

impl EndedTokens {
    const FORM: u32 = 1;
}

/// A client that was changed, with its new secret if it has one, to be shown once.
pub(crate) struct Changed {
    pub(crate) client: Arc<Client>,
    pub(crate) secret: Option<String>,
}

/// Why a client is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotChanged {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("there is no such client")]
    NoSuchClient,
    #[error("there is a client of this id already")]
    Exists,
    #[error("the client is declared in configuration: change it there")]
    Declared,
    #[error("the client proves who it is by its keys, and has no secret")]
    NoSecret,
    #[error("there are {0} clients, and may not be more")]
    TooMany(usize),
    #[error("it was changed meanwhile")]
    Stale,
    #[error(transparent)]
    Ours(#[from] TransmitterError),
}

impl From<StoreError> for NotChanged {
    fn from(error: StoreError) -> Self {
        TransmitterError::from(error).into()
    }
}

impl From<ManageError> for NotChanged {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Ours(error) => Self::Ours(error),
            ManageError::Invalid(breach) => Self::Invalid(breach),
            // About a stream that is to go with its client: somebody changes it at this moment.
            ManageError::NoSuchStream
            | ManageError::TooManyStreams(_)
            | ManageError::TooManySubjects
            | ManageError::Held
            | ManageError::Declared(_)
            | ManageError::Changed
            | ManageError::Busy
            | ManageError::TooOften(_) => TransmitterError::from(StoreError::Conflict).into(),
        }
    }
}

/// Clients that are made at run time, at most.
const CLIENTS_MAX: usize = 10_000;
/// How long the id of a client may be that is made at run time.
const ID_CHARS_MAX: usize = 128;
/// How long a secret can live on beside its successor.
pub(crate) const GRACE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const DOCUMENTS: &str = "client/";
/// Begins the name of the document that says when a client's tokens were ended, declared clients' too.
const ENDED_TOKENS: &str = "ended-tokens/";
/// Documents that are read at once.
const PAGE: usize = 500;

impl Client {
    /// What changes with each change of it that an operator makes or sees: its ETag.
    pub(crate) fn etag(&self, enabled: bool) -> String {
        let version = self.stored.map_or(0, |stored| stored.version.0);
        format!("\"{version}-{}\"", if enabled { "on" } else { "off" })
    }
}

impl Clients {
    /// The client of this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Client>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether a client is not switched off.
    pub(crate) fn is_enabled(&self, id: &str) -> bool {
        self.transmitter.client_is_on(id)
    }

    /// Some clients, behind the one of this id, by id.
    pub(crate) fn list(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Client>> {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let behind = by_id.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        let sorted: BTreeMap<&String, &Arc<Client>> = behind.collect();
        sorted.into_values().take(limit).cloned().collect()
    }

    /// Makes a client. One without keys gets a secret, unless it is to have none because its tokens come from elsewhere.
    pub(crate) async fn create(
        &self,
        id: &str,
        settings: ClientSettings,
        with_secret: bool,
    ) -> Result<Changed, NotChanged> {
        check_id(id)?;
        let rights = self.rights(id, &settings, Some(&self.issuers()))?;
        self.check_reachable(&settings, None)?;
        let _alone = self.changing.lock().await;
        if self.find(id).is_some() {
            return Err(NotChanged::Exists);
        }
        let there = self.list(None, usize::MAX).len();
        if there >= CLIENTS_MAX {
            return Err(NotChanged::TooMany(there));
        }
        let secret = (rights.keys.is_none() && with_secret).then(secret::generate);
        let secrets: Vec<_> = secret.iter().map(|secret| self.kept(id, secret)).collect();
        let now = self.now();
        // One of this id may have been switched off before it was deleted. This comes first: what fails before the
        // client is stored can be asked for again.
        self.transmitter.switch_client(id, true).await?;
        // The log too: nobody is told the secret once more.
        self.enter("client.create", id, None, Some(told(&settings, true))).await?;
        let written = self.write(id, &settings, &secrets, now, Version(0)).await;
        let version = written.inspect_err(|_| self.rest_unknown())?;
        let stored = StoredAs { version, created_at: now };
        let client = self.put(id, settings, rights, secrets, Some(stored), None).await;
        Ok(Changed { client, secret })
    }

    /// Gives a client other settings. Its secrets stay.
    pub(crate) async fn update(
        &self,
        id: &str,
        settings: ClientSettings,
        seen: Option<Condition>,
    ) -> Result<Changed, NotChanged> {
        let rights = self.rights(id, &settings, Some(&self.issuers()))?;
        let _alone = self.changing.lock().await;
        let (client, stored) = self.to_be_changed(id, seen)?;
        self.check_reachable(&settings, Some(&client.settings))?;
        let secrets = if rights.keys.is_some() { Vec::new() } else { client.secrets.clone() };
        let version = self.write(id, &settings, &secrets, stored.created_at, stored.version).await?;
        let stored = StoredAs { version, ..stored };
        let before = self.told(&client);
        let client = self.put(id, settings, rights, secrets, Some(stored), Some(&client)).await;
        self.enter("client.update", id, Some(before), Some(self.told(&client))).await?;
        Ok(Changed { client, secret: None })
    }

    /// Gives a client a new secret. The one before stays good for as long as `grace`; without grace it ends at once,
    /// and so do the access tokens that were given so far, whoever gave them.
    pub(crate) async fn rotate(&self, id: &str, grace: Duration) -> Result<Changed, NotChanged> {
        let _alone = self.changing.lock().await;
        let (client, stored) = self.to_be_changed(id, None)?;
        if client.rights.keys.is_some() {
            return Err(NotChanged::NoSecret);
        }
        let now = self.now();
        let secret = secret::generate();
        let mut secrets = vec![self.kept(id, &secret)];
        if !grace.is_zero() {
            let until = now.plus(grace);
            let before = client.secrets.first().map(|before| KeptSecret {
                until: Some(before.until.map_or(until, |earlier| earlier.min(until))),
                ..before.clone()
            });
            secrets.extend(before);
        }
        let version = self.write(id, &client.settings, &secrets, stored.created_at, stored.version).await?;
        let rights = self.rights(id, &client.settings, None)?;
        let before = (!grace.is_zero()).then_some(&*client);
        let stored = StoredAs { version, ..stored };
        let client = self.put(id, client.settings.clone(), rights, secrets, Some(stored), before).await;
        if grace.is_zero() {
            self.end_tokens(id).await?;
        }
        let told = json!({ "grace_seconds": grace.as_secs() });
        self.enter("client.rotate", id, None, Some(told)).await?;
        Ok(Changed { client, secret: Some(secret) })
    }

    /// Switches a client off or on. Off means at once: its tokens are refused, it gets no new ones, and its streams are
    /// sent nothing. On means that it has to ask for a new token, and that its streams go on. None means that it was so
    /// already.
    pub(crate) async fn switch(&self, id: &str, on: bool) -> Result<Option<Arc<Client>>, NotChanged> {
        let _alone = self.changing.lock().await;
        let client = self.find(id).ok_or(NotChanged::NoSuchClient)?;
        let was_on = self.is_enabled(id);
        if on && was_on {
            return Ok(None);
        }
        let before = self.told(&client);
        let client = if on {
            // What was given before does not come back with it: not what others gave, ...
            self.end_tokens(id).await?;
            self.transmitter.switch_client(id, on).await?;
            client
        } else {
            self.transmitter.switch_client(id, on).await?;
            // ... and not what we gave.
            let rights = self.rights(id, &client.settings, None)?;
            let (settings, secrets) = (client.settings.clone(), client.secrets.clone());
            self.put(id, settings, rights, secrets, client.stored, None).await
        };
        let action = if on { "client.enable" } else { "client.disable" };
        self.enter(action, id, Some(before), Some(self.told(&client))).await?;
        Ok(Some(client))
    }

    /// Deletes a client, and its streams with it.
    pub(crate) async fn delete(&self, id: &str, seen: Option<Condition>) -> Result<(), NotChanged> {
        let _alone = self.changing.lock().await;
        let (client, stored) = self.to_be_changed(id, seen)?;
        let before = self.told(&client);
        // Off first: if what follows fails half-way, nothing is sent to what is left.
        self.transmitter.switch_client(id, false).await?;
        self.transmitter.delete_streams_of(id).await?;
        self.forget_ended_tokens(id).await?;
        self.ports.store.put(&format!("{DOCUMENTS}{id}"), stored.version, None).await?;
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.transmitter.limit_events(id, None).await;
        self.transmitter.switch_client(id, true).await?;
        self.enter("client.delete", id, Some(before), None).await
    }

    /// Whether a token is not one of those that were ended, if it was made then. Those that we give ourselves have a
    /// generation instead.
    pub(super) fn takes_token_of(&self, client: &Client, made_at: Option<Timestamp>) -> bool {
        let ended_at = self.ended_tokens.read().unwrap_or_else(PoisonError::into_inner);
        let good_since = ended_at.get(&client.id).copied();
        // What was made for another client of this id is not the new one's.
        let created_at = client.stored.map(|stored| stored.created_at);
        good_since.is_none_or(|since| made_at.is_some_and(|made_at| made_at >= since))
            && created_at.is_none_or(|created_at| made_at.is_none_or(|made_at| made_at >= created_at))
    }

    /// From now on, tokens of a client that others made before are worthless, after a restart too. What they say of
    /// their time is in whole seconds, rounded down: one of this second may be from before, and counts as such. A clock
    /// elsewhere may be ahead of ours, so no token that was shown here so far is good either.
    async fn end_tokens(&self, id: &str) -> Result<(), StoreError> {
        let shown = self.find(id).map_or(i64::MIN, |client| client.newest_token.load(Ordering::SeqCst));
        let good_since = self.now().max(Timestamp::from_micros(shown.saturating_add(1)));
        let ended = EndedTokens { form: EndedTokens::FORM, good_since };
        let body = serde_json::to_vec(&ended).expect("a time is a number");
        self.store_ended_tokens(id, Some(Bytes::from(body))).await?;
        self.ended_tokens.write().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), good_since);
        Ok(())
    }

    async fn forget_ended_tokens(&self, id: &str) -> Result<(), StoreError> {
        self.store_ended_tokens(id, None).await?;
        self.ended_tokens.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    async fn store_ended_tokens(&self, id: &str, body: Option<Bytes>) -> Result<(), StoreError> {
        let name = format!("{ENDED_TOKENS}{id}");
        let there = self.ports.store.get(&name).await?.map(|document| document.version);
        if there.is_some() || body.is_some() {
            self.ports.store.put(&name, there.unwrap_or(Version(0)), body).await?;
        }
        Ok(())
    }

    /// Takes up whose tokens were ended, and when.
    pub(super) async fn read_ended_tokens(&self) -> Result<(), ClientsError> {
        let mut after: Option<String> = None;
        loop {
            let documents = self.ports.store.list(ENDED_TOKENS, after.as_deref(), PAGE).await?;
            for document in &documents {
                let ended: EndedTokens = serde_json::from_slice(&document.body)
                    .map_err(|error| StoreError::Corrupt(format!("{}: {error}", document.name)))?;
                let id = document.name.strip_prefix(ENDED_TOKENS).unwrap_or_default().to_owned();
                let mut all = self.ended_tokens.write().unwrap_or_else(PoisonError::into_inner);
                all.insert(id, ended.good_since);
            }
            match documents.into_iter().last() {
                Some(last) => after = Some(last.name),
                None => return Ok(()),
            }
        }
    }

    /// A client as the log of changes tells it.
    fn told(&self, client: &Client) -> Value {
        told(&client.settings, self.is_enabled(&client.id))
    }

    /// Enters a change of a client in the log.
    async fn enter(
        &self,
        action: &str,
        id: &str,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<(), NotChanged> {
        let changed = secevent_transmitter::Changed {
            action: action.to_owned(),
            object: format!("client/{id}"),
            client: Some(id.to_owned()),
            stream: None,
            before,
            after,
        };
        Ok(self.transmitter.enter_change(changed).await?)
    }

    /// Takes up the clients that the store keeps.
    pub(super) async fn read_stored(&self) -> Result<(), ClientsError> {
        let mut after: Option<String> = None;
        loop {
            let documents = self.ports.store.list(DOCUMENTS, after.as_deref(), PAGE).await?;
            for document in &documents {
                let record: Record = serde_json::from_slice(&document.body)
                    .map_err(|error| StoreError::Corrupt(format!("{}: {error}", document.name)))?;
                let id = document.name.strip_prefix(DOCUMENTS).unwrap_or_default();
                let stored = StoredAs { version: document.version, created_at: record.created_at };
                match self.rights(id, &record.settings, None) {
                    Ok(rights) => {
                        self.put(id, record.settings, rights, record.secrets, Some(stored), None).await;
                    }
                    Err(breach) => {
                        error!(client.id = id, error = %breach, "A stored client makes no sense: it is refused");
                    }
                }
            }
            match documents.into_iter().last() {
                Some(last) => after = Some(last.name),
                None => return Ok(()),
            }
        }
    }

    /// Takes up the clients that configuration declares.
    pub(super) async fn declare(&self, clients: Vec<ClientConfig>) -> Result<(), ClientsError> {
        let issuers = self.issuers();
        for ClientConfig { id, secret, settings } in clients {
            let rights = self.rights(&id, &settings, Some(&issuers));
            let rights = rights.map_err(|breach| ClientsError::Client { id: id.clone(), breach })?;
            if self.find(&id).is_some() {
                warn!(
                    client.id = id,
                    "A client is declared in configuration and was made at run time too: configuration wins"
                );
            }
            let secret = secret.filter(|secret| !secret.is_empty());
            let kept = |secret: &String| KeptSecret {
                guessable: secret::is_guessable(secret),
                ..self.kept(&id, secret)
            };
            let secrets = secret.iter().map(kept).collect();
            self.put(&id, settings, rights, secrets, None, None).await;
        }
        Ok(())
    }

    /// A client that is made at run time, as the operator saw it last.
    fn to_be_changed(
        &self,
        id: &str,
        seen: Option<Condition>,
    ) -> Result<(Arc<Client>, StoredAs), NotChanged> {
        let client = self.find(id).ok_or(NotChanged::NoSuchClient)?;
        let stored = client.stored.ok_or(NotChanged::Declared)?;
        let now = client.etag(self.is_enabled(id));
        if seen.is_some_and(|seen| !seen.names_strongly(&now)) {
            return Err(NotChanged::Stale);
        }
        Ok((client, stored))
    }

    /// Refuses a place of keys from which nothing could ever be fetched (SEM-23), unless it was that before.
    fn check_reachable(
        &self,
        settings: &ClientSettings,
        before: Option<&ClientSettings>,
    ) -> Result<(), Invalid> {
        let Some(jwks_uri) = &settings.jwks_uri else { return Ok(()) };
        if before.is_some_and(|before| before.jwks_uri.as_ref() == Some(jwks_uri)) {
            return Ok(());
        }
        let endpoint = Endpoint::parse_insecure(jwks_uri).map_err(|error| error.within("jwks_uri"))?;
        let refused = |refused| Invalid::new("jwks_uri", "client", format!("cannot be reached: {refused}"));
        self.ports.transport.check_url(endpoint.uri()).map_err(refused)
    }

    fn kept(&self, id: &str, secret: &str) -> KeptSecret {
        KeptSecret { digest: self.digests.digest(id, secret), until: None, guessable: false }
    }

    async fn write(
        &self,
        id: &str,
        settings: &ClientSettings,
        secrets: &[KeptSecret],
        created_at: Timestamp,
        expected: Version,
    ) -> Result<Version, StoreError> {
        let (settings, secrets) = (settings.clone(), secrets.to_vec());
        let record = Record { form: Record::FORM, settings, secrets, created_at };
        let body = serde_json::to_vec(&record).expect("a client is text and numbers");
        self.ports.store.put(&format!("{DOCUMENTS}{id}"), expected, Some(Bytes::from(body))).await
    }

    /// Takes a client up. With `before` its access tokens stay good, and so does the count of what it asked.
    async fn put(
        &self,
        id: &str,
        settings: ClientSettings,
        rights: Rights,
        secrets: Vec<KeptSecret>,
        stored: Option<StoredAs>,
        before: Option<&Client>,
    ) -> Arc<Client> {
        self.transmitter.limit_events(id, rights.events.clone()).await;
        let limits: Limits = rights.limits;
        let same = before.filter(|before| before.rights.limits == limits);
        let buckets = same.map_or_else(|| Arc::new(Buckets::new(limits)), |same| Arc::clone(&same.buckets));
        let next = || self.generations.fetch_add(1, Ordering::SeqCst);
        let generation = before.map_or_else(next, |before| before.generation);
        let id = id.to_owned();
        let keys = rights.keys.as_ref().map(|keys| keys.at_work(&id, &self.ports));
        let same = self.find(&id);
        let attempts = same.as_ref().map_or_else(Arc::default, |same| Arc::clone(&same.attempts));
        let newest_token =
            same.map_or_else(|| Arc::new(AtomicI64::new(i64::MIN)), |same| Arc::clone(&same.newest_token));
        let client = Arc::new(Client {
            id: id.clone(),
            settings,
            rights,
            keys,
            secrets,
            buckets,
            attempts,
            newest_token,
            stored,
            generation,
        });
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&client));
        client
    }

    fn issuers(&self) -> Vec<String> {
        self.transmitter.issuers().map(|issuer| issuer.url.to_string()).collect()
    }
}

fn told(settings: &ClientSettings, enabled: bool) -> Value {
    let mut told = serde_json::to_value(settings).expect("settings are text and numbers");
    told["enabled"] = enabled.into();
    told
}

/// An id that is plain in URLs, headers, forms and logs.
fn check_id(id: &str) -> Result<(), Invalid> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte);
    let first = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && id.len() <= ID_CHARS_MAX && id.bytes().all(plain) {
        return Ok(());
    }
    let problem = format!(
        "must begin with a letter or digit, have {ID_CHARS_MAX} characters at most, and besides only - . _ ~ : @"
    );
    Err(Invalid::new("id", "client", problem))
}
