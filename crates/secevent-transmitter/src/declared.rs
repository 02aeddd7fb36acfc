//! Streams that configuration declares: made at start where they are not there, changed where the declaration changed,
//! and taken out of service where it is gone.
//!
//! A declared stream is known by its name among the streams of its client and issuer. What is declared is the
//! operator's: its receiver finds it, sets its status, and verifies it, but neither changes nor deletes it.

use crate::audit::{Acting, Actor};
use crate::config::PollOptions;
use crate::manage::{Client, ManageError};
use crate::render::RenderedAs;
use crate::stream::{Stream, Target};
use crate::table::{Entry, Settings};
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::Vocabulary;
use secevent_ssf::{Change, CreateStream, DeliverBy, DeliveryRequest, Status, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// A stream, as configuration declares it.
#[derive(Clone, Debug)]
pub struct DeclaredStream {
    /// What configuration calls it. No two streams of one client and issuer have the same name.
    pub name: String,
    /// The issuer whose events it carries.
    pub issuer: String,
    /// Its receiver.
    pub client: Client,
    /// The event types that it carries as far as its issuer supports them: URIs, short names or patterns (`caep:*`).
    pub events: Vec<String>,
    /// How its SETs are delivered. A credential that is left out is none.
    pub delivery: DeliveryRequest,
    /// How it is polled, where that is not as for its client's other streams.
    pub polls: PollOptions,
    /// Words about it, which its receiver sees.
    pub description: Option<String>,
}

/// What was done to one stream so that it is as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredChange {
    /// Its name in configuration.
    pub name: String,
    /// Its receiver.
    pub client: String,
    /// Its issuer.
    pub issuer: String,
    /// Its identifier towards the receiver.
    pub stream_id: StreamId,
    /// What was done.
    pub what: Reconciled,
}

/// What was done to a declared stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconciled {
    /// It was made.
    Created,
    /// These parts of it were changed: `delivery`, `polls`, `events`, `description`, `audience`.
    Changed(Vec<&'static str>),
    /// It is declared no more, and disabled for as long: nothing is sent, and what it was owed is dropped.
    Withdrawn,
    /// It was withdrawn and is declared again, so it is enabled again.
    Restored,
}

/// What a stream's record says of its declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Declared {
    name: String,
    /// Whether configuration declares it no more.
    #[serde(default)]
    withdrawn: bool,
}

/// Why a stream that is declared no more is disabled.
const WITHDRAWN: &str = "the transmitter's configuration does not declare the stream any more";

impl Transmitter {
    /// Makes the streams as they are declared, all of them, and says what it took. Repeated, it changes nothing.
    ///
    /// A stream that was declared and is not any more is disabled and held, so that a slip in a file loses no stream:
    /// declared again it is the same one, enabled again. An operator may enable it by hand, which stands; its receiver
    /// may delete it.
    ///
    /// Status is not what a declaration is about: a declared stream that its receiver or an operator has paused stays
    /// paused.
    pub async fn reconcile_streams(
        &self,
        declared: Vec<DeclaredStream>,
    ) -> Result<Vec<DeclaredChange>, ManageError> {
        Acting::new(Actor::Configuration, None).run(self.reconcile_all(declared)).await
    }

    async fn reconcile_all(&self, declared: Vec<DeclaredStream>) -> Result<Vec<DeclaredChange>, ManageError> {
        // Everything is looked at before anything is changed.
        let mut seen = HashSet::new();
        let mut wanted = Vec::new();
        for stream in declared {
            self.issuer(&stream.issuer)?;
            let events = events_of(&stream, &self.vocabulary)?;
            let key = (stream.issuer.clone(), stream.client.id.clone(), stream.name.clone());
            if !seen.insert(key) {
                let twice =
                    format!("the stream {:?} of {:?} is declared twice", stream.name, stream.client.id);
                return Err(TransmitterError::Config(twice).into());
            }
            wanted.push((stream, events));
        }
        // A client that creates a stream meanwhile waits.
        let _alone = self.creating.lock().await;
        let mut changes = Vec::new();
        for (stream, events) in wanted {
            changes.extend(self.reconcile(stream, events).await?);
        }
        for entry in self.table.all() {
            let settings = entry.settings();
            let Some(Declared { name, withdrawn: false }) = &settings.stream.declared else { continue };
            let key = (settings.stream.issuer.clone(), settings.stream.client.clone(), name.clone());
            if !seen.contains(&key) {
                self.withdraw(&entry).await?;
                changes.push(change(&settings.stream, name, Reconciled::Withdrawn));
            }
        }
        Ok(changes)
    }

    async fn reconcile(
        &self,
        declared: DeclaredStream,
        events: Vec<String>,
    ) -> Result<Vec<DeclaredChange>, ManageError> {
        let is_it = |entry: &Arc<Entry>| {
            let settings = entry.settings();
            let stream = &settings.stream;
            stream.issuer == declared.issuer
                && stream.declared.as_ref().is_some_and(|mark| mark.name == declared.name)
        };
        let Some(entry) = self.table.of_client(&declared.client.id).into_iter().find(is_it) else {
            return Ok(vec![self.make_declared(declared, events).await?]);
        };
        let _alone = entry.changing.lock().await;
        let before = entry.settings();
        let (stream, parts) = self.as_declared(&before, &declared, events);
        let mut changes = Vec::new();
        if !parts.is_empty() {
            self.change(&entry, &before, stream).await?;
            changes.push(change(&before.stream, &declared.name, Reconciled::Changed(parts)));
        }
        if before.stream.declared.as_ref().is_some_and(|mark| mark.withdrawn) {
            self.restore(&entry, declared.name.clone()).await?;
            changes.push(change(&before.stream, &declared.name, Reconciled::Restored));
        }
        Ok(changes)
    }

    async fn make_declared(
        &self,
        declared: DeclaredStream,
        events: Vec<String>,
    ) -> Result<DeclaredChange, ManageError> {
        let DeclaredStream { name, issuer, client, delivery, polls, description, .. } = declared;
        let request = CreateStream {
            events_requested: Some(events),
            delivery: Some(delivery),
            description,
            ..CreateStream::default()
        };
        let mark = Declared { name: name.clone(), withdrawn: false };
        let made = self.make_stream(&issuer, &client, request, (Some(mark), polls)).await?;
        Ok(DeclaredChange {
            name,
            client: client.id,
            issuer,
            stream_id: made.stream_id,
            what: Reconciled::Created,
        })
    }

    /// The stream as it is declared, and which parts of it are other than before.
    fn as_declared(
        &self,
        before: &Settings,
        declared: &DeclaredStream,
        events: Vec<String>,
    ) -> (Stream, Vec<&'static str>) {
        let mut stream = before.stream.clone();
        let mut parts = Vec::new();
        if !self.is_delivered_like(before, &declared.delivery) {
            stream.target = self.target(&stream.id, &declared.delivery, None);
            parts.push("delivery");
        }
        if stream.polls != declared.polls {
            stream.polls = declared.polls;
            parts.push("polls");
        }
        if stream.events_requested.as_ref() != Some(&events) {
            stream.events_requested = Some(events);
            parts.push("events");
        }
        if stream.description != declared.description {
            stream.description.clone_from(&declared.description);
            parts.push("description");
        }
        let current = stream.rendered_as(stream.rendering());
        let rendered_as =
            current.map(|current| RenderedAs { aud: declared.client.audience.clone(), ..current.clone() });
        if let Some(rendered_as) = rendered_as.filter(|wanted| Some(wanted) != current) {
            // What was recorded before keeps the rendering that it was recorded with (SEM-3).
            let latest = stream.renderings.iter().map(|(number, _)| *number).max().unwrap_or(0);
            stream.rendering = latest + 1;
            stream.renderings.push((latest + 1, rendered_as));
            parts.push("audience");
        }
        (stream, parts)
    }

    /// Whether SETs go where they are to go, with the credential that they are to have. What is sealed looks different
    /// each time, so it is opened.
    fn is_delivered_like(&self, settings: &Settings, asked: &DeliveryRequest) -> bool {
        match (&settings.stream.target, &asked.by) {
            (Target::Poll { .. }, DeliverBy::Poll { .. }) => true,
            (Target::Push { .. }, DeliverBy::Push { endpoint_url, authorization_header }) => {
                let Ok(target) = settings.push_target(&self.vault) else { return false };
                let wanted = match authorization_header {
                    Change::Set(secret) => Some(secret.expose().as_bytes()),
                    Change::Keep | Change::Clear => None,
                };
                let has = target.authorization.as_ref().map(|secret| secret.expose().as_bytes());
                target.endpoint == *endpoint_url && has == wanted
            }
            _ => false,
        }
    }

    async fn withdraw(&self, entry: &Arc<Entry>) -> Result<(), ManageError> {
        let _alone = entry.changing.lock().await;
        let before = entry.settings();
        let untold = before.stream.status != Status::Disabled || before.stream.untold;
        let also = |stream: &mut Stream| {
            if let Some(mark) = &mut stream.declared {
                mark.withdrawn = true;
            }
            (stream.held, stream.untold) = (true, untold);
        };
        self.change_status(entry, Status::Disabled, Some(WITHDRAWN.to_owned()), also).await?;
        if untold {
            self.tell_status(entry).await?;
        }
        Ok(())
    }

    async fn restore(&self, entry: &Arc<Entry>, name: String) -> Result<(), ManageError> {
        let settings = entry.settings();
        let mark = Declared { name, withdrawn: false };
        // An operator may have given it another status meanwhile: that stands.
        if settings.stream.reason.as_deref() != Some(WITHDRAWN) {
            let stream = Stream { declared: Some(mark), ..settings.stream.clone() };
            self.change(entry, &settings, stream).await?;
            return Ok(());
        }
        let also = |stream: &mut Stream| {
            stream.declared = Some(mark);
            (stream.held, stream.untold) = (false, true);
        };
        self.change_status(entry, Status::Enabled, None, also).await?;
        Ok(self.tell_status(entry).await?)
    }
}

impl Stream {
    /// The name by which configuration declares it, and whether it does so no more.
    pub(crate) fn declared_name(&self) -> Option<(&str, bool)> {
        self.declared.as_ref().map(|declared| (declared.name.as_str(), declared.withdrawn))
    }

    /// Whether it is disabled because configuration does not declare it any more, and nobody has set its status since.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.status == Status::Disabled && self.reason.as_deref() == Some(WITHDRAWN)
    }

    /// Whether its receiver may change and delete it.
    pub(crate) fn is_its_receivers(&self) -> Result<(), ManageError> {
        match &self.declared {
            Some(Declared { name, withdrawn: false }) => Err(ManageError::Declared(name.clone())),
            _ => Ok(()),
        }
    }
}

/// The event types that a declaration names, by URI.
fn events_of(declared: &DeclaredStream, vocabulary: &Vocabulary) -> Result<Vec<String>, TransmitterError> {
    let mut events = Vec::new();
    for pattern in &declared.events {
        let before = events.len();
        events.extend(vocabulary.matching(pattern).map(|definition| definition.uri().to_owned()));
        if events.len() == before {
            let name = &declared.name;
            return Err(TransmitterError::Config(format!(
                "the stream {name:?}: no event type is named {pattern:?}"
            )));
        }
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn change(stream: &Stream, name: &str, what: Reconciled) -> DeclaredChange {
    DeclaredChange {
        name: name.to_owned(),
        client: stream.client.clone(),
        issuer: stream.issuer.clone(),
        stream_id: stream.stream_id(),
        what,
    }
}
