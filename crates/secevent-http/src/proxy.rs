//! An egress proxy: connections that leave through a tunnel (HTTP `CONNECT`, RFC 9110 section 9.3.6).

use crate::config::ConfigError;
use crate::destination::{Destination, Host};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use ipnet::IpNet;
use secevent_ssf::{Secret, TransportError};
use std::fmt::Display;
use std::net::IpAddr;
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
        let exceptions = config.exceptions.iter().map(|text| Exception::read(text));
        Ok(Self {
            at,
            resolves: config.resolves,
            authorization: config.credential.as_ref().map(basic),
            exceptions: exceptions.collect(),
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
    fn read(text: &str) -> Self {
        let text = text.trim();
        if let Ok(network) = text.parse() {
            return Self::Network(network);
        }
        match text.parse::<IpAddr>() {
            Ok(address) => Self::Network(address.into()),
            Err(_) => Self::Name(text.trim_start_matches('.').to_ascii_lowercase()),
        }
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

const HEAD_BYTES_MAX: usize = 8 * 1024;
