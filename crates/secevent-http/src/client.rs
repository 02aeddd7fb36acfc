//! The client itself: one request through the guard, the limits and the clock.

use crate::address_guard::AddressGuard;
use crate::config::{ClientConfig, ConfigError};
use crate::connector::{Connector, tls_error};
use crate::destination::Destination;
use crate::inflow::is_too_much;
use crate::pool::{Body, ConnectionCounts, Lease, Limits, Pool, Room};
use crate::proxy::Proxy;
use crate::resolve::{Resolve, SystemResolver};
use bytes::{Bytes, BytesMut};
use http::header::{HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use secevent_ssf::{
    BoxFuture, HeadDecides, OnBehalfOf, ResponseLimit, ResponseTime, Transport, TransportError, UrlRefused,
};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// The one way out: a [`Transport`] that guards its addresses and bounds everything.
///
/// Cheap to clone; clones share connections and limits. It must be used within a tokio runtime.
///
/// What it never does: follow a redirect, repeat a request that may have been sent (but one that was answered with 421,
/// once, on another connection), read a proxy from the environment, keep cookies, decompress, or go on without a valid
/// certificate.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    allow_plain_http: bool,
    request_timeout: Duration,
    response_bytes_max: usize,
}

impl Client {
    /// A client that resolves names as the operating system does.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        Self::with_resolver(config, Arc::new(SystemResolver::new()))
    }

    /// A client with a resolver of your own.
    pub fn with_resolver(config: ClientConfig, resolver: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        let room = Room::new(config.connections_max as usize);
        Self::within(config, resolver, room)
    }

    /// A client that shares the bound of its connections with others.
    pub(crate) fn within(
        config: ClientConfig,
        resolver: Arc<dyn Resolve>,
        room: Arc<Room>,
    ) -> Result<Self, ConfigError> {
        config.check_amounts()?;
        let connector = Connector {
            guard: AddressGuard {
                allow_networks: config.allow_networks,
                ports: config.ports,
                own_listeners: config.own_listeners,
            },
            resolver,
            proxy: config.proxy.as_ref().map(Proxy::new).transpose()?,
            connect_to: config.connect_to,
            tls: TlsConnector::from(Arc::new(config.tls.client_config()?)),
            timeout: Duration::from_millis(config.connect_timeout_ms.into()),
        };
        let limits = Limits {
            connections_per_host_max: config.connections_per_host_max as usize,
            streams_per_connection_max: config.streams_per_connection_max as usize,
            idle_timeout: Duration::from_secs(config.idle_timeout_seconds.into()),
            response_head_bytes_max: config.response_head_bytes_max,
            response_headers_max: config.response_headers_max.into(),
        };
        Ok(Self {
            pool: Pool::new(connector, limits, room),
            allow_plain_http: config.allow_plain_http,
            request_timeout: Duration::from_millis(config.request_timeout_ms.into()),
            response_bytes_max: config.response_bytes_max,
        })
    }

    /// How many connections there are.
    pub fn connections(&self) -> ConnectionCounts {
        self.pool.counts()
    }

    async fn send_in_time(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let destination = Arc::new(Destination::of(request.uri(), self.allow_plain_http)?);
        let extensions = request.extensions();
        let time_max = extensions.get().map_or(self.request_timeout, |ResponseTime(time)| *time);
        let bytes_max = extensions.get().map_or(self.response_bytes_max, |ResponseLimit(bytes)| *bytes);
        let head_decides = extensions.get::<HeadDecides>().is_some();
        let head_only = request.method() == http::Method::HEAD;
        let late = |during: &str| {
            let after = time_max.as_millis();
            TransportError::Timeout(format!("{destination}: {after} ms were over while {during}"))
        };

        let ends_at = Instant::now() + time_max;
        let stage = AtomicUsize::new(0);
        let (lease, response) =
            match timeout_at(ends_at, self.exchange(request, bytes_max, &destination, &stage)).await {
                Ok(answered) => answered?,
                Err(_) => return Err(late(STAGES[stage.load(Ordering::Relaxed)])),
            };
        let (mut head, body) = response.into_parts();
        head.extensions.clear();
        if head_decides && head.status.is_success() {
            discard(lease, body);
            return Ok(Response::from_parts(head, Bytes::new()));
        }
        let read_until = match head_decides {
            true => ends_at.min(Instant::now() + REASON_WITHIN),
            false => ends_at,
        };
        let read = match timeout_at(read_until, read(body, bytes_max, head_only, &destination)).await {
            Ok(read) => read,
            Err(_) => Err(late("reading the answer")),
        };
        match read {
            Ok(body) => {
                // The other end says that this connection does not lead to what was asked for.
                if head.status == StatusCode::MISDIRECTED_REQUEST {
                    lease.retire();
                } else {
                    lease.finish();
                }
                Ok(Response::from_parts(head, body))
            }
            Err(_) if head_decides => Ok(Response::from_parts(head, Bytes::new())),
            Err(error) => Err(error),
        }
    }

    /// Sends the request, and waits for the head of the answer.
    async fn exchange(
        &self,
        mut request: Request<Bytes>,
        bytes_max: usize,
        destination: &Arc<Destination>,
        stage: &AtomicUsize,
    ) -> Result<(Lease, Response<Incoming>), TransportError> {
        let agent = HeaderValue::from_static(concat!("secevent/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(agent);
        let client = request.extensions().get().map(|OnBehalfOf(client)| client.as_str());
        let mut misdirected = false;
        for _ in 0..SENDINGS_MAX {
            stage.store(CONNECTING, Ordering::Relaxed);
            let mut lease = self.pool.lease(destination, client).await?;
            stage.store(ANSWERING, Ordering::Relaxed);
            match lease.send(wire_form(&request, lease.speaks_http2()), bytes_max).await {
                // A kept connection may lead elsewhere by now. Another one may be asked, since nothing was done (RFC
                // 9110, section 15.5.20).
                Ok(response)
                    if response.status() == StatusCode::MISDIRECTED_REQUEST
                        && lease.is_reused()
                        && !misdirected =>
                {
                    misdirected = true;
                    lease.retire();
                }
                Ok(response) => return Ok((lease, response)),
                // The other end closed a connection we had kept, and nothing of the request is on its way. Each
                // such connection is gone now.
                Err(error) if error.message().is_some() && lease.is_reused() => drop::<Lease>(lease),
                Err(error) => return Err(classify(&error.into_error(), destination)),
            }
        }
        Err(TransportError::Unreachable(format!(
            "{destination}: {SENDINGS_MAX} connections closed before the request"
        )))
    }
}

impl Transport for Client {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(self.send_in_time(request))
    }

    fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        self.pool.guard().check_url(url, self.allow_plain_http)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// The request as this version of HTTP wants it. The host is the URL's, whatever the caller's headers say.
fn wire_form(request: &Request<Bytes>, http2: bool) -> Request<Body> {
    let mut wire = Request::new(Full::new(request.body().clone()));
    *wire.method_mut() = request.method().clone();
    *wire.headers_mut() = request.headers().clone();
    wire.headers_mut().remove(HOST);
    if http2 {
        *wire.version_mut() = Version::HTTP_2;
        *wire.uri_mut() = request.uri().clone();
    } else {
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).expect("an authority is visible ASCII");
        wire.headers_mut().insert(HOST, host);
        *wire.uri_mut() = Uri::from(path);
    }
    wire
}

/// Reads the body of an answer up to the bound, and not a frame further.
async fn read(
    mut body: Incoming,
    bytes_max: usize,
    head_only: bool,
    destination: &Destination,
) -> Result<Bytes, TransportError> {
    // An announced length spares the reading; it binds nobody, so the bytes are counted all the same.
    if !head_only && usize::try_from(body.size_hint().lower()).is_ok_and(|announced| announced > bytes_max) {
        return Err(TransportError::BodyTooLarge { bytes_max });
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| classify(&error, destination))?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > bytes_max - bytes.len() {
            return Err(TransportError::BodyTooLarge { bytes_max });
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

/// Ends an exchange whose answer's body is of no use. Nobody waits for it; the connection is kept if the body is short
/// and comes soon.
fn discard(lease: Lease, body: Incoming) {
    if body.is_end_stream() {
        return lease.finish();
    }
    tokio::spawn(async move {
        let discarded = Limited::new(body, DISCARDED_BYTES_MAX).collect();
        if let Ok(Ok(_)) = timeout(DISCARDED_WITHIN, discarded).await {
            lease.finish();
        }
    });
}

/// What a failed exchange means: TLS, a broken connection, or something that is not HTTP.
fn classify(error: &hyper::Error, destination: &Destination) -> TransportError {
    let cause = innermost(error);
    let http2_error = cause.downcast_ref::<h2::Error>();
    let io_error = cause.downcast_ref::<io::Error>().or_else(|| http2_error?.get_io());
    // With TLS 1.3 the other end may refuse the handshake after we have finished it.
    if let Some(tls) = io_error.and_then(tls_error) {
        return TransportError::Tls(format!("{destination}: {tls}"));
    }
    if let Some(error) = io_error.filter(|error| is_too_much(error)) {
        return TransportError::Protocol(format!("{destination}: {error}"));
    }
    let broken =
        error.is_incomplete_message() || error.is_canceled() || error.is_closed() || error.is_timeout();
    // The other end says with GOAWAY or RST_STREAM that it will not answer; it speaks HTTP/2 well enough to.
    let gone = http2_error.is_some_and(|error| error.is_remote() && (error.is_go_away() || error.is_reset()));
    let text = match error.source() {
        Some(_) => format!("{destination}: {error}: {cause}"),
        None => format!("{destination}: {error}"),
    };
    match io_error.is_some() || broken || gone {
        true => TransportError::Unreachable(text),
        false => TransportError::Protocol(text),
    }
}

fn innermost(error: &hyper::Error) -> &(dyn Error + 'static) {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// How many connections may turn out to be closed before a byte of the request is sent.
const SENDINGS_MAX: usize = 8;

const STAGES: [&str; 3] = ["starting", "waiting for a connection", "waiting for an answer"];
const CONNECTING: usize = 1;
const ANSWERING: usize = 2;
/// How long the body of a refusal is waited for whose head decides: it is an error of a few lines.
const REASON_WITHIN: Duration = Duration::from_secs(2);
/// A body that nobody needs is read for the sake of the connection: so much of it, for so long.
const DISCARDED_BYTES_MAX: usize = 16 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_secs(1);
