//! What `[server]` says of how it listens.

use super::{AdminListen, DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN, Server};
use anyhow::{Context as _, ensure};
use secevent_server::{ListenLimits, Listening};
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Fewer bytes would not hold a few requests of the longest kind.
const BODIES_BYTES_MIN: u64 = 8 << 20;
const BODIES_BYTES_MAX: u64 = 64 << 30;

/// `server.tls` and `server.admin_tls`: a certificate and its key, as PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    reload_seconds: Option<u64>,
}

/// Reads `server.listen`. The error names the setting: a parser of addresses knows only that one is wrong.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| {
        de::Error::custom(format!(
            "server.listen is {text:?}: write an address and a port, such as {DEFAULT_LISTEN} for this machine alone, or \
             0.0.0.0:8080 for every network"
        ))
    })
}

/// Reads `server.admin_listen`.
pub(super) fn admin_address<'de, D>(deserializer: D) -> Result<Option<AdminListen>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_: String| {
        de::Error::custom(format!(
            "server.admin_listen is {text:?}: write an address and a port, such as {DEFAULT_ADMIN_LISTEN}, or off"
        ))
    })
}

/// Where a certificate is found, and how often to look whether it is a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) look_every: Duration,
}

impl CertificateFiles {
    /// `name` is what the times are called in the file.
    pub(super) fn new(
        certificate: &Path,
        key: &Path,
        reload_seconds: Option<u64>,
        name: &str,
    ) -> anyhow::Result<Self> {
        let seconds = reload_seconds.unwrap_or(60);
        ensure!((1..=86_400).contains(&seconds), "{name} is {seconds}: it must be 1 to 86400 seconds");
        let look_every = Duration::from_secs(seconds);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), look_every })
    }
}

impl fmt::Display for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.certificate.display(), self.key.display())
    }
}

/// How the listeners listen, but for what their files hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenSettings {
    pub(crate) listening: Listening,
    pub(crate) tls: Option<CertificateFiles>,
    pub(crate) admin_tls: Option<CertificateFiles>,
}

impl Tls {
    fn settle(&self, name: &str) -> anyhow::Result<CertificateFiles> {
        let name = format!("server.{name}.reload_seconds");
        CertificateFiles::new(&self.certificate, &self.key, self.reload_seconds, &name)
    }
}

pub(super) fn settle(server: &Server) -> anyhow::Result<ListenSettings> {
    let Server { tls, admin_tls, trusted_proxies, .. } = server;
    let mut limits = ListenLimits::default();
    if let Some(connections) = server.connections_max {
        ensure!(
            (1..=1_000_000).contains(&connections),
            "server.connections_max is {connections}: it must be 1 to 1000000"
        );
        limits.connections_max = connections;
    }
    if let Some(seconds) = server.first_head_seconds {
        ensure!(
            (1..=75).contains(&seconds),
            "server.first_head_seconds is {seconds}: it must be 1 to 75 seconds"
        );
        limits.first_head_timeout = Duration::from_secs(seconds);
    }
    if let Some(bytes) = server.bodies_bytes_max {
        ensure!(
            (BODIES_BYTES_MIN..=BODIES_BYTES_MAX).contains(&bytes),
            "server.bodies_bytes_max is {bytes}: it must be {BODIES_BYTES_MIN} to {BODIES_BYTES_MAX} bytes"
        );
        limits.bodies_bytes_max = bytes;
        limits.unproven_bodies_bytes_max = bytes / 4;
    }
    let network = |text: &String| {
        let at = || {
            format!(
                "server.trusted_proxies has {text:?}: write a network such as 10.0.0.0/8, or 10.1.2.3/32 for one"
            )
        };
        text.parse().with_context(at)
    };
    let trusted_proxies = trusted_proxies.iter().map(network).collect::<anyhow::Result<_>>()?;
    Ok(ListenSettings {
        listening: Listening { trusted_proxies, limits, ..Listening::default() },
        tls: tls.as_ref().map(|tls| tls.settle("tls")).transpose()?,
        admin_tls: admin_tls.as_ref().map(|tls| tls.settle("admin_tls")).transpose()?,
    })
}
