//! From a destination to a connection: resolve, ask the guard about every address, connect to the very address it
//! admitted, shake hands.

use crate::address_guard::AddressGuard;
use crate::config::ConnectTo;
use crate::destination::{Destination, Host};
use crate::inflow::Inflow;
use crate::proxy::Proxy;
use crate::resolve::Resolve;
use secevent_ssf::TransportError;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) struct Connector {
    pub(crate) guard: AddressGuard,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_to: Option<ConnectTo>,
    pub(crate) tls: TlsConnector,
    pub(crate) timeout: Duration,
}

impl Connector {
    /// A connection that is ready for HTTP. Not a byte is sent before the guard and the certificate agree.
    pub(crate) async fn connect(
        &self,
        destination: &Destination,
        client: Option<&str>,
    ) -> Result<Socket, TransportError> {
        let elsewhere = self.connect_to.as_ref().and_then(|connect_to| connect_to.redirect(destination));
        let reached_at = elsewhere.as_ref().unwrap_or(destination);
        let tcp = match self.proxy.as_ref().filter(|proxy| !proxy.passes_by(reached_at)) {
            Some(proxy) => self.through(proxy, reached_at, client).await?,
            None => {
                let addresses = self.vetted(reached_at, client).await?;
                self.connect_one_of(&addresses, reached_at).await?
            }
        };
        if !destination.https {
            return Ok(Socket::over(Stream::Plain(tcp)));
        }
        let handshake = self.tls.connect(destination.server_name(), tcp);
        match timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Socket::over(Stream::Tls(Box::new(stream)))),
            Ok(Err(error)) => Err(match tls_error(&error) {
                Some(tls) => TransportError::Tls(format!("{destination}: {tls}")),
                None => TransportError::Unreachable(format!(
                    "{destination}: the TLS handshake broke off: {error}"
                )),
            }),
            Err(_) => {
                Err(TransportError::Timeout(format!("{destination}: the TLS handshake did not finish")))
            }
        }
    }

    /// A connection through the proxy, to an address that the guard has admitted; or past it, to one that it is not for.
    async fn through(
        &self,
        proxy: &Proxy,
        destination: &Destination,
        client: Option<&str>,
    ) -> Result<TcpStream, TransportError> {
        let targets = match &destination.host {
            Host::Name(name) if proxy.resolves => {
                if !self.guard.ports.admits(destination.port) {
                    let refused = format!("{destination}: the port is not allowed");
                    return Err(TransportError::AddressRefused(refused));
                }
                vec![format!("{name}:{}", destination.port)]
            }
            _ => {
                let addresses = self.vetted(destination, client).await?;
                if proxy.pass_by(&addresses) {
                    return self.connect_one_of(&addresses, destination).await;
                }
                addresses.iter().map(ToString::to_string).collect()
            }
        };
        let unresolved = |error: &dyn Display| {
            let at = &proxy.at;
            TransportError::Unreachable(format!("{destination}: the proxy {at} is not resolved: {error}"))
        };
        let addresses = match timeout(self.timeout, self.addresses(&proxy.at)).await {
            Ok(addresses) => addresses.map_err(|error| unresolved(&error))?,
            Err(late) => return Err(unresolved(&late)),
        };
        let mut last = None;
        for target in targets {
            let tunnel = async {
                let tcp = TcpStream::connect(&addresses[..]).await.and_then(|tcp| {
                    tcp.set_nodelay(true)?;
                    Ok(tcp)
                });
                let at = &proxy.at;
                let broken =
                    |error| TransportError::Unreachable(format!("{destination}: the proxy {at}: {error}"));
                proxy.tunnel(tcp.map_err(broken)?, &target, destination).await
            };
            match timeout(self.timeout, tunnel).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    let late = format!("{destination}: the proxy {} did not answer in time", proxy.at);
                    last = Some(TransportError::Timeout(late));
                }
            }
        }
        Err(last.expect("there is at least one target"))
    }

    async fn addresses(&self, destination: &Destination) -> io::Result<Vec<SocketAddr>> {
        match &destination.host {
            Host::Address(address) => Ok(vec![SocketAddr::new(*address, destination.port)]),
            Host::Name(name) => self.resolver.resolve(name, destination.port, None).await,
        }
    }

    /// The addresses to try, each admitted by the guard.
    ///
    /// One refused address refuses the name. A name with public and private addresses is misconfigured or hostile, and
    /// picking the good ones would let it probe which of its answers we take.
    async fn vetted(
        &self,
        destination: &Destination,
        client: Option<&str>,
    ) -> Result<Vec<SocketAddr>, TransportError> {
        let port = destination.port;
        let mut addresses = match &destination.host {
            Host::Address(address) => vec![SocketAddr::new(*address, port)],
            Host::Name(name) => {
                match timeout(self.timeout, self.resolver.resolve(name, port, client)).await {
                    Ok(Ok(addresses)) => addresses,
                    Ok(Err(error)) => {
                        return Err(TransportError::Unreachable(format!(
                            "{destination}: not resolved: {error}"
                        )));
                    }
                    Err(_) => {
                        return Err(TransportError::Timeout(format!("{destination}: not resolved in time")));
                    }
                }
            }
        };
        if addresses.is_empty() {
            return Err(TransportError::Unreachable(format!("{destination}: the name has no address")));
        }
        for address in &mut addresses {
            address.set_port(port);
            self.guard
                .check(*address)
                .map_err(|refusal| TransportError::AddressRefused(format!("{destination}: {refusal}")))?;
        }
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }

    async fn connect_one_of(
        &self,
        addresses: &[SocketAddr],
        destination: &Destination,
    ) -> Result<TcpStream, TransportError> {
        let mut last = None;
        for address in addresses {
            // The address itself, never the name again: a second look-up may answer differently (DNS rebinding).
            let error = match timeout(self.timeout, TcpStream::connect(*address)).await {
                Ok(Ok(tcp)) => match self.accept(&tcp, destination) {
                    Ok(()) => return Ok(tcp),
                    Err(error @ TransportError::AddressRefused(_)) => return Err(error),
                    Err(error) => error,
                },
                Ok(Err(error)) if address.to_string() == destination.to_string() => {
                    TransportError::Unreachable(format!("{destination}: {error}"))
                }
                Ok(Err(error)) => TransportError::Unreachable(format!("{destination}: {address}: {error}")),
                Err(_) => TransportError::Timeout(format!("{destination}: {address} did not accept in time")),
            };
            last = Some(error);
        }
        Err(last.expect("there is at least one address"))
    }

    fn accept(&self, tcp: &TcpStream, destination: &Destination) -> Result<(), TransportError> {
        let broken = |error: io::Error| TransportError::Unreachable(format!("{destination}: {error}"));
        let (local, peer) = (tcp.local_addr().map_err(broken)?, tcp.peer_addr().map_err(broken)?);
        self.guard
            .check_connected(local, peer)
            .map_err(|refusal| TransportError::AddressRefused(format!("{destination}: {refusal}")))?;
        // A request is one small write, and its answer is waited for: there is nothing to gather.
        tcp.set_nodelay(true).map_err(broken)
    }
}

/// The TLS error inside an I/O error, if that is what it is.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 8;

/// A connected stream, with or without TLS.
///
/// Its permits are given back when it is closed and not before, whoever holds it until then.
pub(crate) struct Socket {
    stream: Stream,
    inflow: Option<Inflow>,
    permits: Vec<OwnedSemaphorePermit>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn over(stream: Stream) -> Self {
        Self { stream, inflow: None, permits: Vec::new() }
    }

    pub(crate) fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self.permits.push(permit);
    }

    /// Counts what comes in from here on.
    pub(crate) fn count(&mut self, inflow: Inflow) {
        self.inflow = Some(inflow);
    }

    /// Whether both ends chose HTTP/2. Without TLS nobody can choose, and HTTP/1.1 is spoken.
    pub(crate) fn speaks_http2(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        let counted = this.inflow.as_mut().map(|inflow| inflow.count(&buf.filled()[before..]));
        Poll::Ready(counted.unwrap_or(Ok(())))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
