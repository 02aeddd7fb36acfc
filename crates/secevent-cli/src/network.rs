//! The network as an operator uses it, and whom it trusts there.

use crate::input;
use crate::output::Failure;
use anyhow::bail;
use clap::Args;
use http::Uri;
use secevent::Issuer;
use secevent_http::{Client, ClientConfig, Ports, TlsConfig};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};

/// Whom we trust to say who a server is.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Certificate authorities to trust beside the system's, as PEM
    #[arg(long, value_name = "FILE", env = "SECEVENT_CA")]
    ca: Option<PathBuf>,
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
pub(crate) fn operator_client(url: &str, tls: TlsConfig) -> anyhow::Result<Client> {
    let issuer =
        Issuer::parse_insecure(url).map_err(|error| anyhow::anyhow!("{url:?} {}", error.problem()))?;
    let here = url.parse().is_ok_and(|uri| is_loopback(&uri));
    let config = ClientConfig {
        allow_networks: PRIVATE_NETWORKS.iter().map(|network| network.parse().expect("a network")).collect(),
        ports: Ports::Any,
        allow_plain_http: here,
        tls,
        ..ClientConfig::default()
    };
    if issuer.origin().starts_with("http:") && !here {
        bail!(
            "{url} is plain http: that is taken for this machine alone, because tokens and secrets go over it"
        );
    }
    Ok(Client::new(config)?)
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
            assert_eq!(operator_client(url, TlsConfig::default()).is_ok(), loopback, "{url}");
        }
    }
}
