//! Streams and their life: created, read, changed, paused, verified, deleted (SSF 1.0 section 8.1).
//!
//! The story of each request is told here; the server's handlers translate it from and to HTTP.

use crate::audit::Changed;
use crate::config::PollOptions;
use crate::declared::Declared;
use crate::render::RenderedAs;
use crate::stream::{Stream, Target};
use crate::table::{Entry, Settings};
use crate::transmitter::{Transmitter, TransmitterError};
use secevent::ssf::Verification;
use secevent::{Audience, Invalid, Issuer, Span};
use secevent_ssf::{
    Change, CreateStream, DeliverBy, Delivery, DeliveryRequest, Endpoint, Method, ReplaceStream, Spelling,
    Status, StreamConfiguration, StreamId, StreamStatus, UpdateStatus, UpdateStream, VerificationRequest,
};
use secevent_store::{Backlog, DropReason, Queue, Sequence, StoreError, Version};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Why a stream is not what the receiver asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManageError {
    /// The request breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The client has no such stream. Whether somebody else has is not told.
    #[error("there is no such stream")]
    NoSuchStream,
    /// The client has as many streams as it may have.
    #[error("the client has {0} streams, and may not have more")]
    TooManyStreams(usize),
    /// The stream has as many subjects as it may have, or as can be held.
    #[error("the stream may not have more subjects")]
    TooManySubjects,
    /// An operator set the stream's status, or the transmitter for good, and only an operator ends that (SEM-8, E-34).
    #[error("the operator has paused or disabled the stream")]
    Held,
    /// The transmitter's configuration declares the stream, under this name, and alone changes it.
    #[error(
        "the stream is declared as {0:?} in the transmitter's configuration: its operator changes it there, and its \
         receiver may set its status and verify it"
    )]
    Declared(String),
    /// It was changed since the version that was asked for.
    #[error("the stream was changed meanwhile")]
    Changed,
    /// The stream is being changed by somebody else at this moment.
    #[error("the stream is being changed at this moment")]
    Busy,
    /// The receiver asks for verification again too soon (SSF-82).
    #[error("verification is asked for too often, the next request is carried out in {}", Span(*.0))]
    TooOften(Duration),
    /// Our own trouble.
    #[error(transparent)]
    Ours(TransmitterError),
}

impl From<TransmitterError> for ManageError {
    fn from(error: TransmitterError) -> Self {
        match error {
            TransmitterError::Store(StoreError::Conflict) => Self::Busy,
            error => Self::Ours(error),
        }
    }
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        TransmitterError::from(error).into()
    }
}

/// A receiver, as authorization tells it: whose streams it may see, and what it is called in `aud`.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// The `aud` of its SETs.
    pub audience: Audience,
}

/// How many verification events and the like may wait for a receiver that does not take them (I6), and when it may ask
/// for more.
const WAITING_MAX: usize = 100;
const WAIT: Duration = Duration::from_secs(60);

impl Transmitter {
    /// Creates a stream, and asks its receiver for a sign of life by a verification event.
    pub async fn create_stream(
        &self,
        issuer: &str,
        client: &Client,
        request: CreateStream,
    ) -> Result<StreamConfiguration, ManageError> {
        self.issuer(issuer)?;
        // One at a time: two requests at once must not both find room for the last stream.
        let _alone = self.creating.lock().await;
        let has = self.streams_of(issuer, &client.id).count();
        if has >= self.config.streams_per_client_max {
            return Err(ManageError::TooManyStreams(has));
        }
        self.make_stream(issuer, client, request, (None, PollOptions::default())).await
    }

    /// The same, unless the client has a stream here, and no other, already: of two requests at once, the second finds
    /// what the first has made.
    pub async fn create_first_stream(
        &self,
        issuer: &str,
        client: &Client,
        request: CreateStream,
    ) -> Result<Option<StreamConfiguration>, ManageError> {
        self.issuer(issuer)?;
        let _alone = self.creating.lock().await;
        let has = self.streams_of(issuer, &client.id).count();
        if has == 1 {
            return Ok(None);
        }
        if has >= self.config.streams_per_client_max {
            return Err(ManageError::TooManyStreams(has));
        }
        self.make_stream(issuer, client, request, (None, PollOptions::default())).await.map(Some)
    }

    /// Makes a stream, whoever wishes for it. The caller holds `creating`.
    pub(crate) async fn make_stream(
        &self,
        issuer: &str,
        client: &Client,
        request: CreateStream,
        (declared, polls): (Option<Declared>, PollOptions),
    ) -> Result<StreamConfiguration, ManageError> {
        let config = self.issuer(issuer)?.config();
        let default_subjects = config.default_subjects;
        let rendered_as =
            RenderedAs { iss: issuer.to_owned(), aud: client.audience.clone(), legacy: config.legacy };
        let id = self.random_id();
        let asked = request.delivery.unwrap_or_else(DeliveryRequest::poll);
        self.check_reachable(&asked, None)?;
        let stream = Stream {
            form: Stream::FORM,
            number: self.store.new_stream_number().await?.0,
            client: client.id.clone(),
            issuer: issuer.to_owned(),
            target: self.target(&id, &asked, None),
            events_requested: request.events_requested,
            description: request.description,
            status: Status::Enabled,
            reason: None,
            rendering: 1,
            renderings: vec![(1, rendered_as)],
            created_at: self.clock.now(),
            held: false,
            untold: false,
            active_at: None,
            ending: false,
            format: request.format,
            generation: 0,
            default_subjects,
            declared,
            polls,
            id,
        };
        let version = self.write(None, &stream, Version(0)).await?;
        let settings = self.settings(stream, version);
        warn_if_empty(&settings);
        let entry = self.table.insert(settings, self.config.pushes_per_stream_max);
        entry.activity.begin(self.steady_now(), self.expiry_now());
        entry.switch(self.client_is_on(&client.id));
        // Some receivers wait for it before they trust the stream; it carries no state (SSF 1.0 section 8.1.4.2).
        // The stream is there without it, and its receiver can ask for another one.
        if let Err(error) = self.record_control(&entry, &Verification::default()).await {
            warn!(stream.id = %entry.settings().stream.id, %error, "A new stream gets no verification event");
        }
        Ok(self.configuration(&entry.settings()))
    }

    /// The configuration of a client's stream.
    pub fn read_stream(
        &self,
        issuer: &str,
        client: &str,
        id: &StreamId,
    ) -> Result<StreamConfiguration, ManageError> {
        Ok(self.configuration(&self.stream_of(issuer, client, id)?.settings()))
    }

    /// The configurations of all streams of a client.
    pub fn list_streams(&self, issuer: &str, client: &str) -> Vec<StreamConfiguration> {
        self.streams_of(issuer, client).map(|entry| self.configuration(&entry.settings())).collect()
    }

    /// Changes what the request names, and leaves the rest (PATCH).
    pub async fn update_stream(
        &self,
        issuer: &str,
        client: &str,
        request: UpdateStream,
    ) -> Result<StreamConfiguration, ManageError> {
        let entry = self.stream_of(issuer, client, &request.stream_id)?;
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        settings.stream.is_its_receivers()?;
        // The values are compared as the receiver last saw them, before anything changes (E-10).
        request.supplied.check_against(&self.configuration(&settings))?;
        let mut stream = settings.stream.clone();
        match request.delivery {
            Change::Keep => {}
            Change::Clear => stream.target = self.target(&stream.id, &DeliveryRequest::poll(), None),
            Change::Set(asked) => stream.target = self.changed_target(&settings, &asked)?,
        }
        match request.events_requested {
            Change::Keep => {}
            change => stream.events_requested = change.set(),
        }
        match request.description {
            Change::Keep => {}
            change => stream.description = change.set(),
        }
        stream.format = request.format.or(stream.format);
        self.change(&entry, &settings, stream).await
    }

    /// Replaces everything that the receiver supplies (PUT): what the request leaves out is gone.
    pub async fn replace_stream(
        &self,
        issuer: &str,
        client: &str,
        request: ReplaceStream,
    ) -> Result<StreamConfiguration, ManageError> {
        let entry = self.stream_of(issuer, client, &request.stream_id)?;
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        settings.stream.is_its_receivers()?;
        request.supplied.check_against(&self.configuration(&settings))?;
        let asked = request.delivery.unwrap_or_else(DeliveryRequest::poll);
        let target = self.changed_target(&settings, &asked)?;
        let stream = Stream {
            target,
            events_requested: request.events_requested,
            description: request.description,
            format: request.format,
            ..settings.stream.clone()
        };
        self.change(&entry, &settings, stream).await
    }

    /// Deletes a stream. What was still owed to it is dropped, and counted as such.
    pub async fn delete_stream(&self, issuer: &str, client: &str, id: &StreamId) -> Result<(), ManageError> {
        let entry = self.stream_of(issuer, client, id)?;
        entry.settings().stream.is_its_receivers()?;
        self.end_stream(&entry).await
    }

    pub(crate) async fn end_stream(&self, entry: &Arc<Entry>) -> Result<(), ManageError> {
        self.end_stream_if(entry, None).await
    }

    /// The same, if the stream still has one of the versions that are expected.
    pub(crate) async fn end_stream_if(
        &self,
        entry: &Arc<Entry>,
        expected: Option<&[u64]>,
    ) -> Result<(), ManageError> {
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        if !self.table.has(entry) {
            return Err(ManageError::NoSuchStream);
        }
        if expected.is_some_and(|expected| !expected.contains(&settings.version.0)) {
            return Err(ManageError::Changed);
        }
        let changed = Changed::of_stream(Some(&settings.stream), None);
        self.put_and_enter(&Stream::document(&settings.stream.id), settings.version, None, changed).await?;
        self.table.remove(entry);
        self.gone.take_over(&entry.counts);
        // A driver that is at work sees this and ends; nothing new is sent (SEM-16).
        let stopped = Stream { status: Status::Disabled, untold: false, ..settings.stream.clone() };
        self.table.stop(entry, Settings::new(stopped, settings.version, Vec::new(), settings.polls));
        entry.outgoing().clear();
        self.drop_subjects(entry).await;
        if let Err(error) = self.drop_owed(settings.stream.number(), DropReason::Deleted).await {
            // The stream is gone all the same; the next start drops what is left.
            warn!(stream.id = %settings.stream.id, %error, "What was owed to a deleted stream is not dropped yet");
        }
        Ok(())
    }

    /// Refuses a stream that the client does not have. The error does not say whether another client has it.
    pub fn require_stream(&self, issuer: &str, client: &str, id: &StreamId) -> Result<(), ManageError> {
        self.stream_of(issuer, client, id).map(drop)
    }

    /// The status of a client's stream.
    pub fn stream_status(
        &self,
        issuer: &str,
        client: &str,
        id: &StreamId,
    ) -> Result<StreamStatus, ManageError> {
        Ok(status_of(&self.stream_of(issuer, client, id)?.settings().stream))
    }

    /// Sets a stream's status, as its receiver asks. A paused stream keeps what it is owed, a disabled one
    /// keeps nothing.
    pub async fn set_stream_status(
        &self,
        issuer: &str,
        client: &str,
        request: UpdateStatus,
    ) -> Result<StreamStatus, ManageError> {
        let entry = self.stream_of(issuer, client, &request.stream_id)?;
        let _alone = entry.changing.lock().await;
        let settings = entry.settings();
        let (held, status) = (settings.stream.held, settings.stream.status);
        let liveliness = |status: Status| Status::ALL.iter().rev().position(|other| *other == status);
        if held && liveliness(request.status) > liveliness(status) {
            return Err(ManageError::Held);
        }
        // What it is held for is not its receiver's to say.
        let reason =
            if held && request.status == status { settings.stream.reason.clone() } else { request.reason };
        self.change_status(&entry, request.status, reason, |stream| stream.untold = false).await?;
        Ok(status_of(&entry.settings().stream))
    }

    /// Gives a stream another status, and drops what a disabled one is owed. The caller holds `changing`.
    pub(crate) async fn change_status(
        &self,
        entry: &Arc<Entry>,
        status: Status,
        reason: Option<String>,
        also: impl FnOnce(&mut Stream),
    ) -> Result<(), ManageError> {
        let settings = entry.settings();
        let number = settings.stream.number();
        if settings.stream.untold {
            self.forget_status_events(entry).await?;
        }
        if settings.stream.status == Status::Disabled && status != Status::Disabled {
            // An event that was being accepted while the stream was disabled, or a failure of the store then.
            self.drop_owed(number, DropReason::Disabled).await?;
            // It may have been handed over too.
            entry.outgoing().clear();
        }
        let mut stream = Stream { status, reason, ..settings.stream.clone() };
        also(&mut stream);
        self.change(entry, &settings, stream).await?;
        if status == Status::Disabled {
            entry.outgoing().clear();
            self.drop_owed(number, DropReason::Disabled).await?;
        }
        self.wake(entry);
        Ok(())
    }

    /// Sends a verification event with the receiver's state. It goes ahead of the backlog, so that it is there
    /// within seconds (E-35).
    pub async fn verify_stream(
        &self,
        issuer: &str,
        client: &str,
        request: VerificationRequest,
    ) -> Result<(), ManageError> {
        let entry = self.stream_of(issuer, client, &request.stream_id)?;
        if entry.settings().stream.status != Status::Enabled {
            let problem = "is of a stream that is not enabled, so nothing can be sent to verify it";
            return Err(Invalid::new("stream_id", "E-14", problem).into());
        }
        let waiting = self
            .store
            .page(entry.settings().stream.number(), Queue::Control, Sequence(0), WAITING_MAX)
            .await?;
        if waiting.deliveries.len() >= WAITING_MAX {
            return Err(ManageError::TooOften(WAIT));
        }
        let interval = self.config.verification_interval_min;
        entry.activity.verify(self.steady_now(), interval).map_err(ManageError::TooOften)?;
        self.record_control(&entry, &Verification { state: request.state }).await?;
        Ok(())
    }

    /// How much is owed to a stream, and what became of what was.
    pub async fn backlog(&self, issuer: &str, client: &str, id: &StreamId) -> Result<Backlog, ManageError> {
        let number = self.stream_of(issuer, client, id)?.settings().stream.number();
        Ok(self.store.backlog(number).await?)
    }

    pub(crate) fn stream_of(
        &self,
        issuer: &str,
        client: &str,
        id: &StreamId,
    ) -> Result<Arc<Entry>, ManageError> {
        let own = |entry: &Arc<Entry>| {
            let settings = entry.settings();
            settings.stream.client == client && settings.stream.issuer == issuer
        };
        let entry = match id.is_implicit() {
            false => self.table.by_id(id.as_str()).filter(own),
            // Receivers of SSE ID1 have one stream and do not name it (LEGACY-09).
            true => {
                let mut all = self.streams_of(issuer, client);
                all.next().filter(|_| all.next().is_none())
            }
        };
        let entry = entry.ok_or(ManageError::NoSuchStream)?;
        entry.activity.heard(self.expiry_now());
        Ok(entry)
    }

    fn streams_of(&self, issuer: &str, client: &str) -> impl Iterator<Item = Arc<Entry>> {
        let of_issuer = move |entry: &Arc<Entry>| entry.settings().stream.issuer == issuer;
        self.table.of_client(client).into_iter().filter(of_issuer)
    }

    /// Gives a stream other settings. The caller holds `changing`; the stream may have been deleted while it waited for
    /// that.
    pub(crate) async fn change(
        &self,
        entry: &Arc<Entry>,
        before: &Settings,
        stream: Stream,
    ) -> Result<StreamConfiguration, ManageError> {
        if !self.table.has(entry) {
            return Err(ManageError::NoSuchStream);
        }
        let version = self.write(Some(&before.stream), &stream, before.version).await?;
        if stream.target != before.stream.target {
            entry.outgoing().start_afresh();
        }
        let silent = stream.is_silent();
        if silent {
            entry.outgoing().be_silent(true);
        }
        let settings = self.settings(stream, version);
        warn_if_empty(&settings);
        self.table.replace(entry, settings);
        entry.outgoing().be_silent(silent);
        self.wake(entry);
        Ok(self.configuration(&entry.settings()))
    }

    pub(crate) async fn write(
        &self,
        before: Option<&Stream>,
        stream: &Stream,
        expected: Version,
    ) -> Result<Version, StoreError> {
        let body = serde_json::to_vec(stream).expect("a stream is text and numbers");
        let changed = Changed::of_stream(before, Some(stream));
        self.put_and_enter(&Stream::document(&stream.id), expected, Some(body.into()), changed).await
    }

    fn changed_target(&self, settings: &Settings, asked: &DeliveryRequest) -> Result<Target, Invalid> {
        let current = &settings.stream.target;
        let stored = match current {
            Target::Push { authorization, .. } => authorization.as_deref(),
            Target::Poll { .. } => None,
        };
        self.check_reachable(asked, Some(current))?;
        asked.check_authorization_kept(&self.delivery(&settings.stream), stored.is_some())?;
        Ok(self.target(&settings.stream.id, asked, stored))
    }

    /// Refuses an endpoint to which nothing could ever be pushed (SEM-23). One that the stream has already is not looked at
    /// again: what may be reached may have changed since.
    fn check_reachable(&self, asked: &DeliveryRequest, current: Option<&Target>) -> Result<(), Invalid> {
        let DeliverBy::Push { endpoint_url: asked, .. } = &asked.by else { return Ok(()) };
        if matches!(current, Some(Target::Push { endpoint_url, .. }) if endpoint_url == asked.as_str()) {
            return Ok(());
        }
        let refused = |refused| {
            Invalid::new("delivery.endpoint_url", "SEM-23", format!("cannot be reached: {refused}"))
        };
        self.transport.check_url(asked.uri()).map_err(refused)
    }

    pub(crate) fn target(&self, id: &str, asked: &DeliveryRequest, stored: Option<&str>) -> Target {
        let words = asked.spelling.into();
        match &asked.by {
            DeliverBy::Poll { .. } => Target::Poll { words },
            DeliverBy::Push { endpoint_url, authorization_header } => Target::Push {
                endpoint_url: endpoint_url.as_str().to_owned(),
                authorization: match authorization_header {
                    Change::Keep => stored.map(str::to_owned),
                    Change::Clear => None,
                    Change::Set(value) => {
                        let place = Stream::authorization_place(id);
                        Some(self.vault.seal(&place, value.expose().as_bytes()))
                    }
                },
                words,
            },
        }
    }

    pub(crate) fn configuration(&self, settings: &Settings) -> StreamConfiguration {
        let stream = &settings.stream;
        let rendered_as = stream.rendered_as(stream.rendering()).expect("a stream has its current rendering");
        let supported = self.issuer(&stream.issuer).map(|issuer| {
            // What the receiver may not have is not supported, as far as it is concerned.
            let may = |event: &&String| self.client_may_have(&stream.client, event);
            issuer.events_supported().iter().filter(may).cloned().collect()
        });
        StreamConfiguration {
            stream_id: stream.stream_id(),
            iss: issuer_of(&stream.issuer),
            aud: rendered_as.aud.clone(),
            delivery: self.delivery(stream),
            events_supported: supported.ok(),
            events_requested: stream.events_requested.clone(),
            events_delivered: settings.events_delivered.clone(),
            min_verification_interval_seconds: seconds(self.config.verification_interval_min),
            inactivity_timeout_seconds: self.config.inactivity.and_then(|it| seconds(it.timeout)),
            description: stream.description.clone(),
            format: stream.format.clone(),
        }
    }

    fn delivery(&self, stream: &Stream) -> Delivery {
        let (method, url) = endpoint_of(stream);
        let (Target::Push { words, .. } | Target::Poll { words }) = &stream.target;
        let endpoint_url = Endpoint::parse_insecure(&url).expect("it was checked when the stream was made");
        Delivery { method, endpoint_url, spelling: Spelling::from(*words) }
    }
}

/// How a stream is delivered, and the URL: where it is pushed to, or where it is polled.
pub(crate) fn endpoint_of(stream: &Stream) -> (Method, String) {
    match &stream.target {
        Target::Push { endpoint_url, .. } => (Method::Push, endpoint_url.clone()),
        Target::Poll { .. } => (Method::Poll, poll_url(&issuer_of(&stream.issuer), &stream.id)),
    }
}

/// Where a stream is polled: below its issuer, a URL for each stream (SSF 1.0 section 6.1.2).
fn poll_url(issuer: &Issuer, id: &str) -> String {
    format!("{}/poll/{id}", issuer.as_str().trim_end_matches('/'))
}

/// Whole seconds, if there are any.
fn seconds(duration: Duration) -> Option<u64> {
    Some(duration.as_secs()).filter(|seconds| *seconds > 0)
}

fn issuer_of(url: &str) -> Issuer {
    Issuer::parse_insecure(url).expect("a stream's issuer was one that configuration declared")
}

/// Such a stream can be verified and then sends nothing, which nobody means.
fn warn_if_empty(settings: &Settings) {
    if settings.events_delivered.is_empty() {
        let (stream, client) = (&settings.stream.id, &settings.stream.client);
        warn!(stream.id = %stream, client.id = %client, "Stream carries no event types");
    }
}

fn status_of(stream: &Stream) -> StreamStatus {
    StreamStatus { stream_id: stream.stream_id(), status: stream.status, reason: stream.reason.clone() }
}
