//! An egress proxy: connections that leave through a tunnel (HTTP `CONNECT`, RFC 9110 section 9.3.6).

use crate::config::ConfigError;
use crate::destination::{Destination, Host};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use ipnet::IpNet;
use rustls::pki_types::DnsName;
use secevent_ssf::{Secret, TransportError};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How to leave through a proxy.
///
/// The proxy is the operator's choice, so the address guard has no say in its address. It has in those beyond: names are
/// resolved and vetted here, and the tunnel leads to the very address that was admitted.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where it is, such as `http://proxy.internal:3128`.
    pub url: String,
    /// `user:password`, if it wants that.
    pub credential: Option<Secret<String>>,
    /// Let the proxy resolve names. For networks in which nobody else can: then the proxy has to keep us from addresses
    /// that are not meant to be reached, because ports and literal addresses are all that can still be vetted here.
    pub resolves: bool,
    /// Destinations that are reached without it: names, which stand for those below them too, addresses and networks.
    /// A name whose addresses all lie in such networks is one, too, unless the proxy resolves names.
    pub exceptions: Vec<String>,
}

impl PartialEq for ProxyConfig {
    fn eq(&self, other: &Self) -> bool {
        let all = |config: &Self| {
            let credential = config.credential.as_ref().map(|secret| secret.expose().clone());
            (config.url.clone(), credential, config.resolves, config.exceptions.clone())
        };
        all(self) == all(other)
    }
}

impl Eq for ProxyConfig {}

/// A proxy, read and checked.
pub(crate) struct Proxy {
    pub(crate) at: Destination,
    pub(crate) resolves: bool,
    authorization: Option<Secret<String>>,
    exceptions: Vec<Exception>,
}

enum Exception {
    Name(String),
    Network(IpNet),
}

impl Proxy {
    pub(crate) fn new(config: &ProxyConfig) -> Result<Self, ConfigError> {
        let wrong = |reason: String| ConfigError::Proxy { reason };
        let uri: Uri = config.url.parse().map_err(|_| wrong(format!("{:?} is no URL", config.url)))?;
        if uri.scheme_str() != Some("http") || uri.port().is_none() || uri.path().len() > 1 {
            return Err(wrong("it must be http://, a host and a port, such as http://proxy:3128".to_owned()));
        }
        let at = Destination::of(&uri, true).map_err(|error| wrong(error.to_string()))?;
        let basic = |pair: &Secret<String>| Secret::new(STANDARD.encode(pair.expose()));
        let exceptions = config.exceptions.iter().map(|text| Exception::read(text).ok_or(text));
        let exceptions: Result<_, &String> = exceptions.collect();
        Ok(Self {
            at,
            resolves: config.resolves,
            authorization: config.credential.as_ref().map(basic),
            exceptions: exceptions.map_err(|text| {
                wrong(format!(
                    "its exception {text:?} is neither a name, such as .internal, nor an address or a network"
                ))
            })?,
        })
    }

    /// Whether this destination is reached without it.
    pub(crate) fn passes_by(&self, destination: &Destination) -> bool {
        self.exceptions.iter().any(|exception| match (exception, &destination.host) {
            (Exception::Network(network), Host::Address(address)) => network.contains(address),
            (Exception::Name(name), Host::Name(host)) => {
                host == name || host.strip_suffix(name.as_str()).is_some_and(|above| above.ends_with('.'))
            }
            _ => false,
        })
    }

    /// Whether all of these addresses of a name are reached without it.
    pub(crate) fn pass_by(&self, addresses: &[SocketAddr]) -> bool {
        let excepted = |address: &SocketAddr| {
            self.exceptions.iter().any(|exception| match exception {
                Exception::Network(network) => network.contains(&address.ip()),
                Exception::Name(_) => false,
            })
        };
        addresses.iter().all(excepted)
    }

    /// Asks, on a connection to it, for a tunnel to `target`.
    pub(crate) async fn tunnel(
        &self,
        mut tcp: TcpStream,
        target: &str,
        destination: &Destination,
    ) -> Result<TcpStream, TransportError> {
        let told = |reason: &dyn Display| format!("{destination}: the proxy {}: {reason}", self.at);
        let broken = |error: std::io::Error| TransportError::Unreachable(told(&error));
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request += &format!("Proxy-Authorization: Basic {}\r\n", authorization.expose());
        }
        request += "\r\n";
        tcp.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= HEAD_BYTES_MAX {
                return Err(TransportError::Protocol(told(&"its answer does not end")));
            }
            // One by one: what comes behind the head is not ours to read. It is a short one.
            head.push(tcp.read_u8().await.map_err(broken)?);
        }
        match status_of(&head) {
            Some(200..=299) => Ok(tcp),
            Some(status) => Err(TransportError::Unreachable(told(&format!("it answered {status}")))),
            None => Err(TransportError::Protocol(told(&"it does not speak HTTP"))),
        }
    }
}

impl Exception {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(network) = text.parse() {
            return Some(Self::Network(network));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        let name = text.strip_prefix('.').unwrap_or(text);
        DnsName::try_from(name).ok().map(|_| Self::Name(name.to_ascii_lowercase()))
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

const HEAD_BYTES_MAX: usize = 8 * 1024;
