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
    AddSubject, Change, CreateStream, DeliverBy, Delivery, DeliveryRequest, Endpoint, RemoveSubject,
    ReplaceStream, ResponseLimit, ResponseTime, StreamConfiguration, StreamId, StreamStatus, Supplied,
    TransmitterMetadata, Transport, TransportError, UpdateStatus, UpdateStream, VerificationRequest,
};
use std::sync::Arc;
use std::time::Duration;

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
        Self { peer: discovery.peer, metadata: discovery.metadata, caller: Arc::new(caller) }
    }

    pub(crate) async fn discover_with(
        peer: &Peer,
        transport: &dyn Transport,
        caller: Arc<Caller>,
    ) -> Result<Self, ClientError> {
        let Discovery { peer, metadata, .. } = Discovery::of(peer, transport).await?;
        Ok(Self { peer, metadata, caller })
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

    /// Creates a stream, or takes over the one that exists already (409): the one with the same delivery, or
    /// else the only one, brought into line with `create` (E-05, SSF-92).
    pub async fn create_or_adopt(&self, create: &CreateStream) -> Result<StreamConfiguration, ClientError> {
        match self.create(create).await {
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => {}
            other => return other,
        }
        let mut streams = self.list().await?;
        streams.retain(|stream| stream.iss == self.peer.issuer);
        let existing = match streams.iter().position(|stream| has_delivery(stream, create.delivery.as_ref()))
        {
            Some(place) => streams.swap_remove(place),
            None if streams.len() == 1 => streams.swap_remove(0),
            None => return Err(ClientError::Ambiguous { streams: streams.len() }),
        };
        self.bring_into_line(existing.stream_id, create).await
    }

    /// Changes an existing stream into what `create` asks for. Only members that are the receiver's to supply
    /// are sent (E-10).
    pub(crate) async fn bring_into_line(
        &self,
        stream_id: StreamId,
        create: &CreateStream,
    ) -> Result<StreamConfiguration, ClientError> {
        let mut update = UpdateStream::new(stream_id);
        update.delivery = create.delivery.clone().map_or(Change::Keep, Change::Set);
        update.events_requested = create.events_requested.clone().map_or(Change::Keep, Change::Set);
        update.description = create.description.clone().map_or(Change::Keep, Change::Set);
        let answer = match self.update(&update).await {
            // Some know no partial change. What we leave open stays as it is there too.
            Err(error) if is_unknown_method(error.status()) => {
                let current = self.read(&update.stream_id).await?;
                let replace = ReplaceStream {
                    stream_id: update.stream_id.clone(),
                    delivery: create.delivery.clone().or_else(|| Some(as_request(&current.delivery))),
                    events_requested: create.events_requested.clone().or(current.events_requested),
                    description: create.description.clone().or(current.description),
                    format: create.format.clone().or(current.format),
                    supplied: Supplied::default(),
                };
                self.replace(&replace).await?
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

    /// Reads the configurations of all streams that are ours.
    pub async fn list(&self) -> Result<Vec<StreamConfiguration>, ClientError> {
        let request = get(self.configuration_endpoint()?.uri().clone());
        let response = match self.expect_success(request, None).await {
            // Older transmitters have one stream or none, and no list (LEGACY-09, LEGACY-22).
            Err(error) if self.peer.tolerance.legacy && error.status() == Some(StatusCode::NOT_FOUND) => {
                return Ok(Vec::new());
            }
            response => response?,
        };
        if self.peer.tolerance.legacy && response.body().trim_ascii_start().starts_with(b"{") {
            return Ok(vec![self.configuration(&response)?]);
        }
        StreamConfiguration::read_list(response.body(), self.peer.tolerance).map_err(ClientError::Malformed)
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
        let mut request = post(self.configuration_endpoint()?, replace.to_exposed_json());
        *request.method_mut() = Method::PUT;
        let response = self.expect_success(request, replace.delivery.as_ref()).await?;
        answer(&response, |response| self.configuration(response))
    }

    /// Polls a stream once (RFC 8936). A request that waits is given `patience`, one that does not as long as
    /// any other.
    pub async fn poll(
        &self,
        stream: &StreamConfiguration,
        poll: &PollRequest,
        patience: Duration,
    ) -> Result<PollResponse, ClientError> {
        let limits = PollSettings::default().answer;
        let mut request = secevent_ssf::poll::request(&stream.delivery.endpoint_url, poll, None);
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
        let response = self.expect_success(post(endpoint, update.to_json()), None).await?;
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
        self.expect_success(post(endpoint, request.to_json()), None).await.map(drop)
    }

    /// Reads a configuration and makes sure that it is of the issuer whose metadata led here.
    fn configuration(&self, response: &Response<Bytes>) -> Result<StreamConfiguration, ClientError> {
        let configuration = StreamConfiguration::read(response.body(), self.peer.tolerance)
            .map_err(ClientError::Malformed)?;
        configuration.check_issuer(&self.peer.issuer).map_err(ClientError::Issuer)?;
        Ok(configuration)
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

/// The delivery that a stream has, asked for once more. A credential in it is not shown, and stays (E-19).
fn as_request(delivery: &Delivery) -> DeliveryRequest {
    let request = match delivery.method {
        secevent_ssf::Method::Push => DeliveryRequest::push(delivery.endpoint_url.clone(), None),
        secevent_ssf::Method::Poll => DeliveryRequest::poll(),
    };
    DeliveryRequest { spelling: delivery.spelling, ..request }
}

fn has_delivery(stream: &StreamConfiguration, wanted: Option<&DeliveryRequest>) -> bool {
    match wanted.map(|wanted| &wanted.by) {
        Some(DeliverBy::Push { endpoint_url, .. }) => stream.delivery.endpoint_url == *endpoint_url,
        Some(DeliverBy::Poll) | None => stream.delivery.method == secevent_ssf::Method::Poll,
    }
}
