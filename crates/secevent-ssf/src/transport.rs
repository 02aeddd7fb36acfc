//! The way out: one method, a request in, a response out.
//!
//! The engines of `secevent-transmitter` and `secevent-receiver` see the network through [`Transport`] alone.
//! `secevent-http` implements it for the real one, the simulator for a bad one.

use bytes::Bytes;
use http::{Request, Response, Uri};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future in a box, so that traits with such futures can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends a request to another party and waits for its whole answer, unless the request says that the head will do
/// ([`HeadDecides`]).
///
/// An implementation bounds everything: connecting, the time until the answer is complete, the size of the
/// answer. It follows no redirects, because a redirect would carry credentials elsewhere (E-99), and it
/// retries nothing: that is for the caller to decide. Dropping the future gives the attempt up; the other
/// party may have acted on it all the same.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use secevent_ssf::{BoxFuture, Transport, TransportError};
///
/// /// Answers every request with 202.
/// struct Agreeable;
///
/// impl Transport for Agreeable {
///     fn send(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
///         Box::pin(async { Ok(secevent_ssf::push::accepted()) })
///     }
/// }
///
/// let transport: std::sync::Arc<dyn Transport> = std::sync::Arc::new(Agreeable);
/// ```
pub trait Transport: Send + Sync {
    /// Sends `request`, whose URI is absolute. Every status code is an answer, not an error.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;

    /// Whether a request to `url` could ever be sent, as far as the URL alone decides that: by its scheme, its port, or
    /// an address in the place of a name. Nothing is sent, and no name is resolved. By default every URL will do.
    fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        let _ = url;
        Ok(())
    }
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self.as_ref().send(request)
    }

    fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        self.as_ref().check_url(url)
    }
}

/// Why no request is ever sent to a URL. The text is for the one who gave the URL, and continues "cannot be reached: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlRefused(pub String);

/// How many bytes the answer to one request may have, where that is not what the transport allows by default.
///
/// An extension of the request: keys, metadata and polled SETs are longer than the answer to a push.
///
/// ```
/// use secevent_ssf::ResponseLimit;
///
/// let request = http::Request::get("https://idp.example/jwks").extension(ResponseLimit(512 * 1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimit(pub usize);

/// How long one request may take until its answer is complete, where that is not what the transport allows by
/// default.
///
/// An extension of the request, as [`ResponseLimit`] is one: a poll waits for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseTime(pub Duration);

/// The head of the answer decides, whatever becomes of its body.
///
/// An extension of the request, as [`ResponseLimit`] is one. An answer that says success (2xx) is returned as soon as its
/// head is there, with an empty body: one that is long, cut or endless makes no failure of it. The body of any other
/// answer is read for the reason that it gives, within the bounds of the request; if it cannot be read the answer is
/// returned without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDecides;

/// The client on behalf of whose stream a request is sent, where its receiver wants other credentials than others do.
///
/// An extension of the request, as [`ResponseLimit`] is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBehalfOf(pub String);

/// Why there is no answer. The texts are for operators: they are never sent to the other party.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection: the name does not resolve, nobody listens, the connection broke.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// Connected or not, the answer did not come in time.
    #[error("the peer did not answer in time: {0}")]
    Timeout(String),
    /// The certificate does not hold, or the two ends share no version or cipher of TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Our own address guard forbids the address. Nothing was sent.
    #[error("the address is not allowed: {0}")]
    AddressRefused(String),
    /// There is nothing to prove with who we are: nobody gives us an access token. Nothing was sent.
    #[error("there are no credentials: {0}")]
    Credentials(String),
    /// The answer is longer than this many bytes, and was not read further.
    #[error("the answer is longer than {bytes_max} bytes")]
    BodyTooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// What came back is not HTTP.
    #[error("the peer does not speak HTTP: {0}")]
    Protocol(String),
}

impl TransportError {
    /// A short name of the class, for metrics and stored attempts.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Tls(_) => "tls",
            Self::AddressRefused(_) => "address_refused",
            Self::Credentials(_) => "credentials",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Protocol(_) => "protocol",
        }
    }
}
