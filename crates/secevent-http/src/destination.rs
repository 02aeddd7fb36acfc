//! Where a request goes, read from its URL once and strictly.

use http::Uri;
use http::uri::Scheme;
use rustls::pki_types::ServerName;
use secevent_ssf::TransportError;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The host and port of a URL, and whether it asks for TLS. Connections are pooled by it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) https: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// In lower case.
    Name(String),
    Address(IpAddr),
}

impl Destination {
    /// Reads an absolute URL.
    ///
    /// An address is an address only when it is written as one: four decimal numbers, or brackets around IPv6 without a
    /// zone. Resolvers also take `0x7f.1`, `0177.0.0.1` and `2130706433` for IPv4; such a host is refused without being
    /// resolved, because its last label is a number and no name ends in one (WHATWG URL, "ends in a number"). The
    /// URL parser of `url` turns these into addresses before they come here, which are then judged as such.
    pub(crate) fn of(uri: &Uri, allow_plain_http: bool) -> Result<Self, TransportError> {
        let refuse = |reason: &str| Err(TransportError::AddressRefused(reason.to_owned()));
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP && allow_plain_http => false,
            Some(scheme) if *scheme == Scheme::HTTP => return refuse("plain http is not allowed"),
            Some(_) => return refuse("the scheme of the URL is neither https nor http"),
            None => return refuse("the URL is not absolute"),
        };
        let Some(authority) = uri.authority() else { return refuse("the URL has no host") };
        // `https://good.example@evil.example/` reads like the one and leads to the other.
        if authority.as_str().contains('@') {
            return refuse("the URL carries a user name or password");
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if https => 443,
            None => 80,
        };
        let host = match authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => match inner.parse::<Ipv6Addr>() {
                Ok(address) => Host::Address(address.into()),
                Err(_) => return refuse("the host of the URL is in brackets and no IPv6 address"),
            },
            None => match ServerName::try_from(authority.host()) {
                Ok(ServerName::DnsName(_)) => Host::Name(authority.host().to_ascii_lowercase()),
                Ok(ServerName::IpAddress(address)) => Host::Address(address.into()),
                _ => return refuse("the host of the URL is neither a name nor an address in its plain form"),
            },
        };
        Ok(Self { https, host, port })
    }

    /// The name the certificate must have.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        match &self.host {
            Host::Name(name) => ServerName::try_from(name.clone()).expect("it was one in `of`"),
            Host::Address(address) => ServerName::from(*address),
        }
    }
}

/// For messages. Paths and queries of receivers' URLs may hold secrets; hosts and ports do not.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}
