//! What the transmitter has to know of its clients: who is switched off, and which event types each may have.
//!
//! A client that is switched off is sent nothing, whatever its streams say of themselves. The switch is the
//! operator's, for the day when a receiver's credentials are in the wrong hands: one order, obeyed by match, queue,
//! push and poll, and by the next process too.

use crate::manage::ManageError;
use crate::transmitter::{Transmitter, TransmitterError};
use bytes::Bytes;
use secevent_ssf::StreamId;
use secevent_store::{StoreError, Version};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing::info;

/// Who is switched off, and who may not have everything. Clients of whom nothing is said may.
#[derive(Debug, Default)]
pub(crate) struct ClientRules {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    off: HashSet<String>,
    /// The event types that a client may have, by URI.
    events: HashMap<String, BTreeSet<String>>,
}

/// Begins the name of the document that says that a client is switched off.
const DOCUMENTS: &str = "switched-off/";

impl Transmitter {
    /// Switches a client off, or on again.
    ///
    /// Once this has answered, nothing is sent to the streams of a client that is switched off: no attempt begins, no
    /// poll is answered with a SET, and what happens from here on is not owed to them. What was owed before is kept,
    /// and goes on its way when the client is switched on again; what was on its way ends. The streams' own status
    /// stays what it is.
    ///
    /// If the store fails, the client is off all the same, but only for this process: repeat the call.
    pub async fn switch_client(&self, client: &str, on: bool) -> Result<(), TransmitterError> {
        // No stream of the client comes to be meanwhile that would miss it.
        let _alone = self.creating.lock().await;
        if on {
            self.store_switch(client, on).await?;
            self.turn(client, on);
        } else {
            self.turn(client, on);
            self.store_switch(client, on).await?;
        }
        info!(client.id = client, on, "A client is switched");
        Ok(())
    }

    /// Whether a client is not switched off.
    pub fn client_is_on(&self, client: &str) -> bool {
        !self.clients.read().off.contains(client)
    }

    /// States which event types a client may have, by URI; none lifts the restriction. Its streams follow at once:
    /// what it asked for and may not have is not delivered.
    pub async fn limit_events(&self, client: &str, uris: Option<BTreeSet<String>>) {
        let _alone = self.creating.lock().await;
        match uris {
            Some(uris) => drop(self.clients.write().events.insert(client.to_owned(), uris)),
            None if self.clients.write().events.remove(client).is_none() => return,
            None => {}
        }
        for entry in self.table.of_client(client) {
            let _alone = entry.changing.lock().await;
            let settings = entry.settings();
            // It may have been deleted meanwhile.
            if self.table.has(&entry) {
                self.table.replace(&entry, self.settings(settings.stream.clone(), settings.version));
            }
        }
    }

    /// How many streams a client has, of all issuers.
    pub fn streams_of_client(&self, client: &str) -> usize {
        self.table.of_client(client).len()
    }

    /// Deletes all streams of a client.
    pub async fn delete_streams_of(&self, client: &str) -> Result<(), ManageError> {
        for entry in self.table.of_client(client) {
            let settings = entry.settings();
            let id: StreamId = settings.stream.stream_id();
            match self.delete_stream(&settings.stream.issuer, client, &id).await {
                Ok(()) | Err(ManageError::NoSuchStream) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets the streams of clients rest that nobody knows any more, until they are switched on. Unlike a switch this is
    /// not kept: who is known is to be said at each start. Returns whose streams they are.
    pub fn rest_unknown(&self, is_known: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let clients = self.table.all().into_iter().map(|entry| entry.settings().stream.client.clone());
        let unknown: BTreeSet<String> = clients.filter(|client| !is_known(client)).collect();
        for client in &unknown {
            self.turn(client, false);
        }
        unknown
    }

    /// Whether a client may have events of this type.
    pub(crate) fn client_may_have(&self, client: &str, uri: &str) -> bool {
        self.clients.read().events.get(client).is_none_or(|allowed| allowed.contains(uri))
    }

    /// Reads who is switched off. This comes before the streams are read.
    pub(crate) async fn read_switches(&self) -> Result<(), StoreError> {
        const PAGE: usize = 500;
        let mut after: Option<String> = None;
        loop {
            let documents = self.store.list(DOCUMENTS, after.as_deref(), PAGE).await?;
            let names = documents.iter().filter_map(|document| document.name.strip_prefix(DOCUMENTS));
            self.clients.write().off.extend(names.map(str::to_owned));
            match documents.into_iter().last() {
                Some(last) => after = Some(last.name),
                None => return Ok(()),
            }
        }
    }

    fn turn(&self, client: &str, on: bool) {
        {
            let mut rules = self.clients.write();
            let _ = if on { rules.off.remove(client) } else { rules.off.insert(client.to_owned()) };
        }
        for entry in self.table.of_client(client) {
            entry.switch(on);
            self.wake(&entry);
        }
    }

    async fn store_switch(&self, client: &str, on: bool) -> Result<(), StoreError> {
        let name = format!("{DOCUMENTS}{client}");
        let there = self.store.get(&name).await?.map(|document| document.version);
        let body = (!on).then(|| Bytes::from_static(b"{\"form\":1}"));
        if there.is_some() != body.is_some() {
            self.store.put(&name, there.unwrap_or(Version(0)), body).await?;
        }
        Ok(())
    }
}

impl ClientRules {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}
