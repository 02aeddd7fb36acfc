//! The client's side of SSF: finding a transmitter, and managing streams there.
//!
//! Decisions are made on status codes alone: the bodies of errors are nowhere defined (E-03). Where success
//! is expected every 2xx is one, because older peers mix them up (LEGACY-31); only 202 says less.

use crate::credentials::{Caller, withhold};
use crate::discovery::Discovery;
use crate::poll::PollSettings;
use crate::reason::Reason;
use crate::source::Peer;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use secevent::json::Limits;
use secevent::{Clock, Invalid, Subject};
use secevent_ssf::poll::{PollRequest, PollResponse};
use secevent_ssf::{
    AddSubject, Change, CreateStream, DeliverBy, DeliveryRequest, Endpoint, RemoveSubject, ReplaceStream,
    ResponseLimit, ResponseTime, Secret, StreamConfiguration, StreamId, StreamStatus, Supplied,
    TransmitterMetadata, Transport, TransportError, Unreadable, UpdateStatus, UpdateStream,
    VerificationRequest,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::warn;

/// Why a transmitter did not do what it was asked. The texts are safe to log: they hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer is no success.
    #[error("the transmitter answered {status}{}", reason.behind_a_colon())]
    Refused {
        /// What the answer was: all that decisions are made on.
        status: StatusCode,
        /// What its body says of the reason, for people.
        reason: Reason,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is a success and cannot be read.
    #[error("the transmitter's answer is malformed: {0}")]
    Malformed(#[source] Invalid),
    /// The answer speaks for another issuer; nothing of it is used (SSF-48, SSF-93).
    #[error("the transmitter's answer is of another issuer: {0}")]
    Issuer(#[source] Invalid),
    /// The transmitter's metadata does not name such an endpoint.
    #[error("the transmitter has no {0}")]
    NoEndpoint(&'static str),
    /// A new stream was accepted and is not there yet (202): list the streams later (E-12).
    #[error("the transmitter accepted the request, and has not carried it out yet")]
    NotYet,
    /// Our own credentials are of no use.
    #[error("no access token: {0}")]
    NoToken(String),
    /// A stream exists already, and none of those that exist can be adopted without a choice being made.
    #[error("a stream exists already, and which of {streams} to adopt is unclear")]
    Ambiguous {
        /// How many there are.
        streams: usize,
    },
}

impl ClientError {
    /// The status of the answer, if there was one and it was no success.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long the transmitter asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The error that an answer is which is no success.
    pub fn refused(response: &Response<Bytes>) -> Self {
        let (status, reason) = (response.status(), Reason::of(response.body()));
        Self::Refused { status, reason, retry_after: secevent_ssf::retry_after(response.headers()) }
    }
}

/// The answer to a request that a transmitter may carry out later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is carried out, and this is the result.
    Done(T),
    /// It is accepted and not yet decided (202, or a success without a body): read again later (E-12).
    Pending,
}

/// A transmitter whose metadata was read, for everything that a receiver can ask of it.
///
/// ```no_run
/// # async fn story(
/// #     transport: std::sync::Arc<dyn secevent_ssf::Transport>,
/// #     clock: std::sync::Arc<dyn secevent::Clock>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use secevent_receiver::{Peer, TransmitterClient};
///
/// let peer = Peer::new("https://tr.example".parse()?);
/// let client = TransmitterClient::discover(&peer, transport, clock).await?;
/// for stream in client.list().await? {
///     println!("{} sends {:?}", stream.stream_id, stream.events_delivered);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TransmitterClient {
    peer: Peer,
    metadata: TransmitterMetadata,
    caller: Arc<Caller>,
    /// What the transmitter shows as `authorization_header` of its streams, as far as it does.
    shown: Mutex<HashMap<StreamId, Secret<HeaderValue>>>,
}

/// What is done about the credential of pushes at a stream that exists already. Transmitters should not show it (E-19),
/// so that it can seldom be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PushCredential {
    /// It is sent if method or URL change, or if the transmitter shows another one; else it stays as it is.
    #[default]
    Compare,
    /// It is sent: it may be a new one.
    Send,
}

impl TransmitterClient {
    /// Reads the transmitter's metadata. If it is not the peer's own, nothing of it is used (SSF-48, SSF-61).
    pub async fn discover(
        peer: &Peer,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        Ok(Self::of(Discovery::of(peer, &*transport).await?, transport, clock))
    }

    /// A client of a transmitter whose metadata is here already, with the credentials of its peer.
    pub fn of(discovery: Discovery, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        let caller = Caller::new(transport, clock, discovery.peer.credentials.clone());
        Self::new(discovery, Arc::new(caller))
    }

    pub(crate) async fn discover_with(
        peer: &Peer,
        transport: &dyn Transport,
        caller: Arc<Caller>,
    ) -> Result<Self, ClientError> {
        Ok(Self::new(Discovery::of(peer, transport).await?, caller))
    }

    fn new(Discovery { peer, metadata, .. }: Discovery, caller: Arc<Caller>) -> Self {
        Self { peer, metadata, caller, shown: Mutex::default() }
    }

    /// What the transmitter says of itself.
    pub fn metadata(&self) -> &TransmitterMetadata {
        &self.metadata
    }

    /// Creates a stream. One that turns out to be of another issuer is deleted again (SSF-93).
    pub async fn create(&self, create: &CreateStream) -> Result<StreamConfiguration, ClientError> {
        let body = create.to_exposed_json();
        let request = post(self.configuration_endpoint()?, body);
        let response = self.expect_success(request, create.delivery.as_ref()).await?;
        if response.body().is_empty() {
            return Err(ClientError::NotYet);
        }
        match self.configuration(&response) {
            Ok(configuration) => Ok(configuration),
            Err(error) => {
                if let Some(made) = stream_id_of(response.body()) {
                    // The caller learns why; that the clean-up failed too would not help him.
                    let _ = self.delete(&made).await;
                }
                Err(error)
            }
        }
    }

    /// Takes over a stream that exists already, or creates one. Of those that are listed it takes the one with the same
    /// delivery, and the most similar one if there are several; where the transmitter refuses another one (409), the
    /// only one that there is (E-05, SSF-92). The stream is [brought into line](Self::bring_into_line) with `create`.
    pub async fn create_or_adopt(
        &self,
        create: &CreateStream,
        credential: PushCredential,
    ) -> Result<StreamConfiguration, ClientError> {
        let found = self.find_or_create(create, credential, |_| true, |_, _| true).await?;
        Ok(found.configuration)
    }

    /// The same, but for streams that `is_free` says no to; and of a listed one `is_ours` decides by what would have to
    /// be changed.
    pub(crate) async fn find_or_create(
        &self,
        create: &CreateStream,
        credential: PushCredential,
        is_free: impl Fn(&StreamId) -> bool,
        is_ours: impl Fn(&StreamConfiguration, &UpdateStream) -> bool,
    ) -> Result<Found, ClientError> {
        let free = |streams: Vec<StreamConfiguration>| -> Vec<StreamConfiguration> {
            let mine = |one: &StreamConfiguration| one.iss == self.peer.issuer && is_free(&one.stream_id);
            streams.into_iter().filter(mine).collect()
        };
        let listed = match self.list().await {
            Ok(streams) => free(streams),
            // Not every transmitter lists: whether there is one is then seen by creating another.
            Err(error) if has_no_list(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        if let Some(stream_id) = most_similar(&listed, create, is_ours) {
            let configuration = self.bring_into_line(stream_id, create, credential).await?;
            return Ok(Found { configuration, is_new: false });
        }
        let conflict = match self.create(create).await {
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => error,
            created => return created.map(|configuration| Found { configuration, is_new: true }),
        };
        // It may have been made since.
        let mut listed = free(self.list().await?);
        let existing = match listed.len() {
            0 => return Err(conflict),
            1 => listed.remove(0),
            streams => return Err(ClientError::Ambiguous { streams }),
        };
        let configuration = self.bring_into_line(existing.stream_id, create, credential).await?;
        Ok(Found { configuration, is_new: false })
    }

    /// Changes an existing stream into what `wanted` asks for, and leaves alone what it leaves open. The stream is read
    /// first, and only members that differ are sent; if none does, nothing is: some transmitters drop what is pending
    /// at every change. Event types compare as a set, as far as the transmitter supports them, and delivery by method and
    /// URL. Only members that are the receiver's to supply are sent (E-10).
    pub async fn bring_into_line(
        &self,
        stream_id: StreamId,
        wanted: &CreateStream,
        credential: PushCredential,
    ) -> Result<StreamConfiguration, ClientError> {
        let current = self.read(&stream_id).await?;
        let update = differences(&current, self.shown().get(&current.stream_id), wanted, credential);
        if update.is_empty() {
            return Ok(current);
        }
        let update = UpdateStream { stream_id, ..update };
        let answer = match self.update(&update).await {
            // Some know no partial change. What is left open stays as it is there too.
            Err(error) if is_unknown_method(error.status()) => {
                self.replace(&replacement(update.stream_id.clone(), current, wanted)).await?
            }
            answer => answer?,
        };
        match answer {
            Answer::Done(configuration) => Ok(configuration),
            Answer::Pending => self.read(&update.stream_id).await,
        }
    }

    /// Reads the configuration of a stream.
    pub async fn read(&self, stream_id: &StreamId) -> Result<StreamConfiguration, ClientError> {
        let uri = with_query(self.configuration_endpoint()?, stream_id)?;
        let response = self.expect_success(get(uri), None).await?;
        self.configuration(&response)
    }

    /// Reads the configurations of all streams that are ours. One that cannot be read is left out, with a line in the
    /// log: [`Self::list_each`] gives those too.
    pub async fn list(&self) -> Result<Vec<StreamConfiguration>, ClientError> {
        let readable = |entry: Result<StreamConfiguration, Unreadable>| match entry {
            Ok(stream) => Some(stream),
            Err(Unreadable { stream_id, breach }) => {
                warn!(stream.id = ?stream_id, error = %breach, "Stream in list not readable");
                None
            }
        };
        Ok(self.list_each().await?.into_iter().filter_map(readable).collect())
    }

    /// Reads the configurations of all streams that are ours, each by itself: one that is malformed does not hide the
    /// others.
    pub async fn list_each(&self) -> Result<Vec<Result<StreamConfiguration, Unreadable>>, ClientError> {
        let request = get(self.configuration_endpoint()?.uri().clone());
        let response = match self.expect_success(request, None).await {
            // Older transmitters have one stream or none, and no list (LEGACY-09, LEGACY-22).
            Err(error) if self.peer.tolerance.legacy && error.status() == Some(StatusCode::NOT_FOUND) => {
                return Ok(Vec::new());
            }
            response => response?,
        };
        if self.peer.tolerance.legacy && response.body().trim_ascii_start().starts_with(b"{") {
            return Ok(vec![Ok(self.configuration(&response)?)]);
        }
        StreamConfiguration::read_each(response.body(), self.peer.tolerance).map_err(ClientError::Malformed)
    }

    /// Changes some properties of a stream: `PATCH`.
    pub async fn update(&self, update: &UpdateStream) -> Result<Answer<StreamConfiguration>, ClientError> {
        let mut request = post(self.configuration_endpoint()?, update.to_exposed_json());
        *request.method_mut() = Method::PATCH;
        let delivery = match &update.delivery {
            Change::Set(delivery) => Some(delivery),
            Change::Keep | Change::Clear => None,
        };
        let response = self.expect_success(request, delivery).await?;
        answer(&response, |response| self.configuration(response))
    }

    /// Replaces all that is ours of a stream: `PUT`. What the request leaves out is gone (SSF-112).
    pub async fn replace(&self, replace: &ReplaceStream) -> Result<Answer<StreamConfiguration>, ClientError> {
        let mut request =
            self.post_about(self.configuration_endpoint()?, &replace.stream_id, replace.to_exposed_json())?;
        *request.method_mut() = Method::PUT;
        let response = self.expect_success(request, replace.delivery.as_ref()).await?;
        answer(&response, |response| self.configuration(response))
    }

    /// Polls a stream once (RFC 8936). A request that waits is given `patience`, one that does not as long as
    /// any other. Where an older transmitter handed out a credential for polling with the stream, it is used.
    pub async fn poll(
        &self,
        stream: &StreamConfiguration,
        poll: &PollRequest,
        patience: Duration,
    ) -> Result<PollResponse, ClientError> {
        let limits = PollSettings::default().answer;
        let authorization = self.poll_authorization(stream);
        let mut request =
            secevent_ssf::poll::request(&stream.delivery.endpoint_url, poll, authorization.as_ref());
        request.extensions_mut().insert(ResponseLimit(limits.bytes_max));
        if !poll.return_immediately {
            request.extensions_mut().insert(ResponseTime(patience));
        }
        let response = self.expect_success(request, None).await?;
        PollResponse::read(response.body(), limits).map_err(ClientError::Malformed)
    }

    /// Any other request to an endpoint of this transmitter, with our credentials: for what it offers beside the
    /// standards. The answer is returned whatever its status is.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        self.caller.send(request).await
    }

    /// The scope of the access token that is in use, if one was fetched and the authorization server said its scope.
    pub fn granted_scope(&self) -> Option<String> {
        self.caller.granted_scope()
    }

    /// Deletes a stream.
    pub async fn delete(&self, stream_id: &StreamId) -> Result<(), ClientError> {
        let mut request = get(with_query(self.configuration_endpoint()?, stream_id)?);
        *request.method_mut() = Method::DELETE;
        self.expect_success(request, None).await.map(drop)
    }

    /// Reads the status of a stream.
    pub async fn status(&self, stream_id: &StreamId) -> Result<StreamStatus, ClientError> {
        let uri =
            with_query(self.endpoint("status_endpoint", self.metadata.status_endpoint.as_ref())?, stream_id)?;
        let response = self.expect_success(get(uri), None).await?;
        StreamStatus::read(response.body(), self.peer.tolerance).map_err(ClientError::Malformed)
    }

    /// Sets the status of a stream.
    pub async fn set_status(&self, update: &UpdateStatus) -> Result<Answer<StreamStatus>, ClientError> {
        let endpoint = self.endpoint("status_endpoint", self.metadata.status_endpoint.as_ref())?;
        let request = self.post_about(endpoint, &update.stream_id, update.to_json())?;
        let response = self.expect_success(request, None).await?;
        answer(&response, |response| {
            StreamStatus::read(response.body(), self.peer.tolerance).map_err(ClientError::Malformed)
        })
    }

    /// Adds a subject to a stream. Success is no promise that events about it will come (SSF-143).
    pub async fn add_subject(
        &self,
        stream_id: &StreamId,
        subject: &Subject,
        verified: bool,
    ) -> Result<(), ClientError> {
        let endpoint = self.endpoint("add_subject_endpoint", self.metadata.add_subject_endpoint.as_ref())?;
        let add = AddSubject { stream_id: stream_id.clone(), subject: subject.clone(), verified };
        self.expect_success(post(endpoint, add.to_json()), None).await.map(drop)
    }

    /// Removes a subject from a stream. Events about it may still come for a while (SSF-151).
    pub async fn remove_subject(&self, stream_id: &StreamId, subject: &Subject) -> Result<(), ClientError> {
        let endpoint =
            self.endpoint("remove_subject_endpoint", self.metadata.remove_subject_endpoint.as_ref())?;
        let remove = RemoveSubject { stream_id: stream_id.clone(), subject: subject.clone() };
        self.expect_success(post(endpoint, remove.to_json()), None).await.map(drop)
    }

    /// Asks for a verification event. It comes on the stream, at its own time (SSF-160, SSF-161).
    pub async fn verify(&self, stream_id: &StreamId, state: Option<&str>) -> Result<(), ClientError> {
        let endpoint =
            self.endpoint("verification_endpoint", self.metadata.verification_endpoint.as_ref())?;
        let request = VerificationRequest { stream_id: stream_id.clone(), state: state.map(str::to_owned) };
        let request = self.post_about(endpoint, stream_id, request.to_json())?;
        self.expect_success(request, None).await.map(drop)
    }

    /// A request whose body names a stream. Older transmitters look for the name in the query.
    fn post_about(
        &self,
        endpoint: &Endpoint,
        stream_id: &StreamId,
        json: String,
    ) -> Result<Request<Bytes>, ClientError> {
        let mut request = post(endpoint, json);
        if self.peer.tolerance.legacy {
            *request.uri_mut() = with_query(endpoint, stream_id)?;
        }
        Ok(request)
    }

    /// Reads a configuration and makes sure that it is of the issuer whose metadata led here.
    fn configuration(&self, response: &Response<Bytes>) -> Result<StreamConfiguration, ClientError> {
        let configuration = StreamConfiguration::read(response.body(), self.peer.tolerance)
            .map_err(ClientError::Malformed)?;
        configuration.check_issuer(&self.peer.issuer).map_err(ClientError::Issuer)?;
        let mut shown = self.shown();
        match StreamConfiguration::shown_authorization(response.body()) {
            Some(authorization) if shown.len() < SHOWN_MAX => {
                shown.insert(configuration.stream_id.clone(), authorization);
            }
            _ => drop(shown.remove(&configuration.stream_id)),
        }
        drop(shown);
        Ok(configuration)
    }

    /// What each poll of this stream has to carry as `Authorization` instead of our own credentials, if an older
    /// transmitter has handed that out with the stream.
    pub(crate) fn poll_authorization(&self, stream: &StreamConfiguration) -> Option<Secret<HeaderValue>> {
        let is_handed_out =
            self.peer.tolerance.legacy && stream.delivery.method == secevent_ssf::Method::Poll;
        self.shown().get(&stream.stream_id).filter(|_| is_handed_out).cloned()
    }

    fn shown(&self) -> MutexGuard<'_, HashMap<StreamId, Secret<HeaderValue>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn expect_success(
        &self,
        request: Request<Bytes>,
        delivery: Option<&DeliveryRequest>,
    ) -> Result<Response<Bytes>, ClientError> {
        let mut response = self.caller.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        if let Some(DeliverBy::Push { authorization_header: Change::Set(secret), .. }) =
            delivery.map(|one| &one.by)
        {
            withhold(&mut response, secret.expose());
        }
        Err(ClientError::refused(&response))
    }

    fn configuration_endpoint(&self) -> Result<&Endpoint, ClientError> {
        self.endpoint("configuration_endpoint", self.metadata.configuration_endpoint.as_ref())
    }

    #[expect(clippy::unused_self, reason = "it reads as what it is: an endpoint of this transmitter")]
    fn endpoint<'a>(
        &self,
        name: &'static str,
        named: Option<&'a Endpoint>,
    ) -> Result<&'a Endpoint, ClientError> {
        named.ok_or(ClientError::NoEndpoint(name))
    }
}

pub(crate) fn get(uri: Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    // Keys, metadata and lists of streams: as long as their readers take.
    request.extensions_mut().insert(ResponseLimit(Limits::BODY.bytes_max));
    request
}

fn post(endpoint: &Endpoint, json: String) -> Request<Bytes> {
    let mut request = get(endpoint.uri().clone());
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Bytes::from(json);
    request
}

fn with_query(endpoint: &Endpoint, stream_id: &StreamId) -> Result<Uri, ClientError> {
    if stream_id.is_implicit() {
        return Ok(endpoint.uri().clone());
    }
    let joint = if endpoint.as_str().contains('?') { '&' } else { '?' };
    let url = format!("{endpoint}{joint}{}", stream_id.query());
    url.parse()
        .map_err(|_| ClientError::Malformed(Invalid::new("stream_id", "SSF-72", "does not fit into a URL")))
}

fn answer<T>(
    response: &Response<Bytes>,
    read: impl FnOnce(&Response<Bytes>) -> Result<T, ClientError>,
) -> Result<Answer<T>, ClientError> {
    if response.status() == StatusCode::ACCEPTED || response.body().is_empty() {
        return Ok(Answer::Pending);
    }
    read(response).map(Answer::Done)
}

/// The stream that an answer names, whatever else is wrong with it.
fn stream_id_of(body: &[u8]) -> Option<StreamId> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    StreamId::foreign(body.get("stream_id")?.as_str()?).ok()
}

fn is_unknown_method(status: Option<StatusCode>) -> bool {
    matches!(status, Some(StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED))
}

/// A stream that was found, or made.
pub(crate) struct Found {
    pub(crate) configuration: StreamConfiguration,
    pub(crate) is_new: bool,
}

/// For how many streams it is remembered what the transmitter shows as their `authorization_header`.
const SHOWN_MAX: usize = 256;

/// From how many characters on a description may be the beginning of a longer one, cut by the transmitter (SSF-83).
const CUT_CHARS_MIN: usize = 64;

/// Whether the transmitter answers in a way in which one does that does not list.
fn has_no_list(error: &ClientError) -> bool {
    let status = error.status().map(|status| status.as_u16());
    matches!(error, ClientError::Malformed(_)) || matches!(status, Some(400 | 404 | 405 | 501))
}

/// The stream with the same delivery; of several, the one at which the least would have to be changed.
fn most_similar(
    streams: &[StreamConfiguration],
    wanted: &CreateStream,
    is_ours: impl Fn(&StreamConfiguration, &UpdateStream) -> bool,
) -> Option<StreamId> {
    let poll = DeliveryRequest::poll();
    let delivery = wanted.delivery.as_ref().unwrap_or(&poll);
    let rank = |stream: &StreamConfiguration| {
        let changes = differences(stream, None, wanted, PushCredential::Compare);
        let kept =
            [matches!(changes.events_requested, Change::Keep), matches!(changes.description, Change::Keep)];
        let changed = kept.into_iter().filter(|kept| !kept).count();
        is_ours(stream, &changes).then(|| (changed, stream.stream_id.clone()))
    };
    let same = streams.iter().filter(|stream| delivery.is_met_by(&stream.delivery));
    same.filter_map(rank).min().map(|(_, stream_id)| stream_id)
}

/// What has to be changed so that a stream is what `wanted` asks for. `shown` is the credential of pushes, where the
/// transmitter shows it.
fn differences(
    current: &StreamConfiguration,
    shown: Option<&Secret<HeaderValue>>,
    wanted: &CreateStream,
    credential: PushCredential,
) -> UpdateStream {
    let mut update = UpdateStream::new(current.stream_id.clone());
    if let Some(delivery) = &wanted.delivery
        && !(delivery.is_met_by(&current.delivery) && has_credential(shown, delivery, credential))
    {
        update.delivery = Change::Set(delivery.clone());
    }
    if let Some(events) = wanted.events_requested.as_ref().filter(|events| !is_requested(current, events)) {
        update.events_requested = Change::Set(events.clone());
    }
    let described = current.description.as_deref().unwrap_or_default();
    let is_described = |text: &str| {
        text == described || (described.chars().count() >= CUT_CHARS_MIN && text.starts_with(described))
    };
    if let Some(text) = wanted.description.as_ref().filter(|text| !is_described(text)) {
        update.description = Change::Set(text.clone());
    }
    update.format = wanted.format.clone().filter(|format| current.format.as_ref() != Some(format));
    update
}

/// Whether pushes carry the right credential already, as far as anybody can know.
fn has_credential(
    shown: Option<&Secret<HeaderValue>>,
    delivery: &DeliveryRequest,
    credential: PushCredential,
) -> bool {
    match &delivery.by {
        DeliverBy::Push { authorization_header: Change::Set(wanted), .. } => match shown {
            Some(shown) => shown.expose() == wanted.expose(),
            None => credential == PushCredential::Compare,
        },
        DeliverBy::Push { authorization_header: Change::Clear, .. } => {
            shown.is_none() && credential == PushCredential::Compare
        }
        DeliverBy::Push { authorization_header: Change::Keep, .. } | DeliverBy::Poll { .. } => true,
    }
}

/// Whether these event types are what the stream asks for. What the transmitter does not support makes no difference,
/// and some leave it out of what they show.
fn is_requested(current: &StreamConfiguration, wanted: &[String]) -> bool {
    let supported =
        |event: &&String| current.events_supported.as_ref().is_none_or(|supported| supported.contains(event));
    let set = |events: &[String]| -> BTreeSet<String> { events.iter().filter(supported).cloned().collect() };
    let requested = current.events_requested.as_deref().unwrap_or(&current.events_delivered);
    set(requested) == set(wanted)
}

/// Everything that a stream is to be, for transmitters that know no partial change. What is left out would be gone, and
/// the URL of a polled stream with it at some.
fn replacement(stream_id: StreamId, current: StreamConfiguration, wanted: &CreateStream) -> ReplaceStream {
    let asked = wanted.delivery.as_ref().filter(|delivery| match delivery.by {
        DeliverBy::Push { .. } => true,
        DeliverBy::Poll { .. } => !delivery.is_met_by(&current.delivery),
    });
    ReplaceStream {
        stream_id,
        delivery: Some(asked.cloned().unwrap_or_else(|| (&current.delivery).into())),
        events_requested: wanted.events_requested.clone().or(current.events_requested),
        description: wanted.description.clone().or(current.description),
        format: wanted.format.clone().or(current.format),
        supplied: Supplied::default(),
    }
}
