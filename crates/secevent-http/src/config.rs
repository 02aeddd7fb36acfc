//! The settings of the client, with a safe default for each.

use crate::address_guard::{AddressGuard, Ports};
use crate::destination::{Destination, Host};
use crate::proxy::{Proxy, ProxyConfig};
use crate::tls::TlsConfig;
use http::Uri;
use http::uri::Authority;
use ipnet::IpNet;
use secevent_ssf::UrlRefused;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The settings of a [`Client`](crate::Client).
///
/// The defaults suit a server on the public internet: https to port 443 of public addresses and nothing else.
///
/// ```
/// use secevent_http::{ClientConfig, Ports};
///
/// // Receivers inside the company network, on two ports.
/// let config = ClientConfig {
///     allow_networks: vec!["10.20.0.0/16".parse().unwrap()],
///     ports: Ports::Only([443, 8443].into()),
///     ..ClientConfig::default()
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Networks that may be connected to although they are not global unicast. Default: none, because whoever may
    /// set the URL of a stream would reach everything in them that listens on an allowed port.
    pub allow_networks: Vec<IpNet>,
    /// The ports that may be connected to, inside `allow_networks` too. Default: 443.
    pub ports: Ports,
    /// Whether `http:` URLs are followed. Default: no. SETs name people, and requests carry bearer tokens; this is for
    /// development only.
    pub allow_plain_http: bool,
    /// Where this process itself listens: never connected to. Filled in by the program, not by a file.
    #[serde(skip)]
    pub own_listeners: Vec<SocketAddr>,
    /// The proxy to leave through. Default: none; the environment is not asked.
    #[serde(skip)]
    pub proxy: Option<ProxyConfig>,
    /// Trust in certificates. The program reads the files.
    #[serde(skip)]
    pub tls: TlsConfig,
    /// One host and port that is reached at another address. Default: none.
    #[serde(skip)]
    pub connect_to: Option<ConnectTo>,
    /// How long one address may take to accept a connection, a name to resolve, and a TLS handshake to finish; each
    /// has this long. Default: 5 000 ms, five lost first packets being rarer than a dead host.
    pub connect_timeout_ms: u32,
    /// How long a request may take in all: waiting for a free connection, connecting, sending, and reading the whole
    /// answer. A request that has to wait longer says so with a [`ResponseTime`](secevent_ssf::ResponseTime).
    /// Default: 15 000 ms. Receivers should answer at once (RFC 8935, section 2: validate, store, answer).
    pub request_timeout_ms: u32,
    /// The longest answer that is read. Default: 64 KiB; an answer to a push is empty or an error of a few lines. A
    /// request that expects more says so with a [`ResponseLimit`](secevent_ssf::ResponseLimit).
    pub response_bytes_max: usize,
    /// The longest head of an answer, status line and headers together. Default: 16 KiB.
    pub response_head_bytes_max: u32,
    /// How many headers an answer over HTTP/1.1 may have. Default: 64.
    pub response_headers_max: u16,
    /// How many connections may be open to one host and port. Default: 16. Requests beyond wait their turn. A host that
    /// speaks HTTP/2 gets one.
    pub connections_per_host_max: u32,
    /// How many requests may be on their way on an HTTP/2 connection. Default: 100, what most servers allow.
    pub streams_per_connection_max: u32,
    /// How many connections may be open in all. Default: 1 024. At the limit the connection that has been idle the
    /// longest, to whichever host, is closed for the new one.
    pub connections_max: u32,
    /// How long a connection is kept unused. Default: 60 s, below the 75 s after which common servers close it, so
    /// that few requests meet a connection that is just being closed.
    pub idle_timeout_seconds: u32,
}

/// Connections to one host and port are made to another address, such as that of a server whose name does not
/// resolve yet (`curl --connect-to`). The URL stays what it is: `Host` and the name in the certificate too.
///
/// ```
/// use secevent_http::{ClientConfig, ConnectTo};
///
/// let connect_to = ConnectTo::new(&"https://events.example.com".parse().unwrap(), "127.0.0.1:8443").unwrap();
/// let config = ClientConfig { connect_to: Some(connect_to), ..ClientConfig::default() };
/// assert!(ConnectTo::new(&"https://events.example.com".parse().unwrap(), "localhost").is_err(), "the port is missing");
/// # drop(config);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    from: (Host, u16),
    to: (Host, u16),
}

impl ConnectTo {
    /// Requests to the host and port of `url` go to `address`: a host name or an IP address, a colon, and a port.
    pub fn new(url: &Uri, address: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::ConnectTo;
        let from = Destination::of(url, true).map_err(|_| wrong())?;
        let authority: Authority = address.parse().map_err(|_| wrong())?;
        let port = authority.port_u16().ok_or_else(wrong)?;
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query("/").build();
        let to = Destination::of(&uri.map_err(|_| wrong())?, false).map_err(|_| wrong())?;
        Ok(Self { from: (from.host, from.port), to: (to.host, port) })
    }

    /// Whether connections are made to this machine itself, whatever it is called there.
    pub fn is_loopback(&self) -> bool {
        match &self.to.0 {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback(),
        }
    }

    /// The port that connections are made to.
    pub fn port(&self) -> u16 {
        self.to.1
    }

    /// Where connections to a destination are made.
    pub(crate) fn redirect(&self, destination: &Destination) -> Option<Destination> {
        let is_it = destination.host == self.from.0 && destination.port == self.from.1;
        is_it.then(|| Destination { https: destination.https, host: self.to.0.clone(), port: self.to.1 })
    }
}

impl ClientConfig {
    /// Finds the settings a client could not work with.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_amounts()?;
        self.proxy.as_ref().map(Proxy::new).transpose()?;
        self.tls.client_config().map(drop)
    }

    /// Whether a client with these settings could ever send a request to `url`, as far as the URL alone decides that. See
    /// [`Transport::check_url`](secevent_ssf::Transport::check_url).
    pub fn check_url(&self, url: &Uri) -> Result<(), UrlRefused> {
        let guard = AddressGuard {
            allow_networks: self.allow_networks.clone(),
            ports: self.ports.clone(),
            own_listeners: self.own_listeners.clone(),
        };
        guard.check_url(url, self.allow_plain_http)
    }

    pub(crate) fn check_amounts(&self) -> Result<(), ConfigError> {
        let amounts = [
            ("connect_timeout_ms", self.connect_timeout_ms as usize),
            ("request_timeout_ms", self.request_timeout_ms as usize),
            ("response_bytes_max", self.response_bytes_max),
            ("response_head_bytes_max", self.response_head_bytes_max as usize),
            ("response_headers_max", self.response_headers_max.into()),
            ("connections_per_host_max", self.connections_per_host_max as usize),
            ("streams_per_connection_max", self.streams_per_connection_max as usize),
            ("connections_max", self.connections_max as usize),
            ("idle_timeout_seconds", self.idle_timeout_seconds as usize),
        ];
        match amounts.into_iter().find(|(_, amount): &(_, usize)| *amount == 0) {
            Some((setting, _)) => Err(ConfigError::Zero { setting }),
            None => Ok(()),
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            ports: Ports::default(),
            allow_plain_http: false,
            own_listeners: Vec::new(),
            proxy: None,
            tls: TlsConfig::default(),
            connect_to: None,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 15_000,
            response_bytes_max: 64 * 1024,
            response_head_bytes_max: 16 * 1024,
            response_headers_max: 64,
            connections_per_host_max: 16,
            streams_per_connection_max: 100,
            connections_max: 1_024,
            idle_timeout_seconds: 60,
        }
    }
}

/// A setting the client cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit or a time of zero allows nothing at all.
    #[error("`{setting}` is 0, which allows nothing: set at least 1, or leave it out for the default")]
    Zero {
        /// The name of the setting.
        setting: &'static str,
    },
    /// A bundle is not PEM, or holds nothing of the kind it is for.
    #[error("`{setting}` is not a PEM bundle of {kind}: {reason}")]
    Pem {
        /// The name of the setting.
        setting: &'static str,
        /// What the bundle should hold.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy cannot be used.
    #[error("`proxy` cannot be used: {reason}")]
    Proxy {
        /// Why.
        reason: String,
    },
    /// The address of [`ConnectTo`] is none.
    #[error("`connect_to` must be a host and a port, such as 127.0.0.1:8443")]
    ConnectTo,
    /// There is no certificate to be renewed.
    #[error("the credential shows no certificate")]
    NoCertificate,
    /// No certificate could ever be verified.
    #[error(
        "certificates cannot be verified: {0}; install the system's CA certificates or set `extra_ca_pem`"
    )]
    NoTrust(String),
}
