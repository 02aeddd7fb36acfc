//! The network as an operator uses it, and whom it trusts there.

use crate::input;
use crate::output::Failure;
use anyhow::bail;
use clap::Args;
use http::Uri;
use secevent::Issuer;
use secevent_http::{Client, ClientConfig, ConnectTo, Ports, TlsConfig};
use secevent_ssf::TransportError;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};

/// Whom we trust to say who a server is.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Certificate authorities to trust beside the system's, as PEM
    #[arg(long, value_name = "FILE", env = "SECEVENT_CA", hide_env_values = true)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// Where connections are made, whatever a name resolves to.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Connect to this address instead of where the server's name leads, for example before that name resolves. The URL
    /// and the name in the certificate stay
    #[arg(long, value_name = "HOST:PORT")]
    connect_to: Option<String>,
}

impl Connect {
    /// For the server at this URL.
    pub(crate) fn of(&self, url: &str) -> Result<Option<ConnectTo>, Failure> {
        let Some(address) = &self.connect_to else { return Ok(None) };
        let uri: Uri = url.parse().map_err(|_| Failure::misuse(format!("{url} is not a URL")))?;
        ConnectTo::new(&uri, address).map(Some).map_err(|_| {
            Failure::misuse(format!("--connect-to {address} is not a host and a port"))
                .fix("write it as in --connect-to 127.0.0.1:8443")
        })
    }
}

impl Trust {
    pub(crate) fn tls(&self) -> Result<TlsConfig, Failure> {
        let Some(path) = &self.ca else { return Ok(TlsConfig::default()) };
        let read = input::file(path, "the certificate authorities")?;
        let extra_ca_pem = String::from_utf8(read).map_err(|_| {
            Failure::misuse(format!("{} is no PEM file", path.display()))
                .fix("--ca takes the certificates of authorities, each between BEGIN CERTIFICATE and END CERTIFICATE")
        })?;
        Ok(TlsConfig { extra_ca_pem, ..TlsConfig::default() })
    }
}

/// A client for an address of the operator's own choice, on this machine or inside the company; plain http goes to
/// this machine alone.
pub(crate) fn operator_client(
    url: &str,
    tls: TlsConfig,
    connect_to: Option<ConnectTo>,
) -> anyhow::Result<Client> {
    let issuer =
        Issuer::parse_insecure(url).map_err(|error| anyhow::anyhow!("{url:?} {}", error.problem()))?;
    let here = match &connect_to {
        Some(connect_to) => connect_to.is_loopback(),
        None => url.parse().is_ok_and(|uri| is_loopback(&uri)),
    };
    let config = ClientConfig {
        allow_networks: PRIVATE_NETWORKS.iter().map(|network| network.parse().expect("a network")).collect(),
        ports: Ports::Any,
        allow_plain_http: here,
        tls,
        connect_to,
        ..ClientConfig::default()
    };
    if issuer.origin().starts_with("http:") && !here {
        bail!(
            "{url} is plain http: that is taken for this machine alone, because tokens and secrets go over it"
        );
    }
    Ok(Client::new(config)?)
}

/// What to do about a server that is not reached.
pub(crate) fn reach_fix(error: &TransportError) -> Option<&'static str> {
    match error {
        TransportError::Unreachable(_) => Some(
            "check that the server is running, and the host and port of its URL; --connect-to names another address",
        ),
        TransportError::Timeout(_) => Some("check the address, and for a firewall that drops packets"),
        TransportError::Tls(_) => Some(
            "check the server's certificate, and that its authority is trusted here (--ca, or the system's list)",
        ),
        _ => None,
    }
}

/// Runs a command that talks to the network, and tells what comes in its way.
pub(crate) fn on_loop<T: Termination>(
    json: bool,
    command: impl Future<Output = Result<T, Failure>>,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(|error| Failure::failed(format!("the program cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(command));
    match result {
        Ok(done) => done.report(),
        Err(failure) => {
            failure.report(json);
            failure.exit()
        }
    }
}

/// Loopback and the networks of RFC 1918 and RFC 4193; link-local addresses stay closed.
pub(crate) const PRIVATE_NETWORKS: [&str; 6] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Whether this means this very machine.
pub(crate) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_does_without_tls() {
        for (url, loopback) in [
            ("http://localhost:8080/jwks", true),
            ("http://127.0.0.1/jwks", true),
            ("http://[::1]:8080/jwks", true),
            ("http://10.0.0.1/jwks", false),
            ("http://localhost.example/jwks", false),
            ("http://127.example/jwks", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), loopback, "{url}");
            assert_eq!(operator_client(url, TlsConfig::default(), None).is_ok(), loopback, "{url}");
        }
    }
}
