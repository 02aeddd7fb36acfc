//! Who is let in: the right address, no foreign web page, and a token.

use super::{Admin, MetricsAccess};
use crate::clients::{Scope, authorization, bearer};
use crate::listen::prove;
use crate::peer::Peer;
use crate::problem::Problem;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Uri};
use secevent::escape;
use secevent_transmitter::Actor;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tracing::info;

/// The digest of a token: enough to recognise it, useless to whoever reads it.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of this token, which must be as long and as random as a key: nothing slows down guessing.
    pub fn of(token: &str) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    fn is_of(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// Whoever has the local token.
const COMMAND_LINE: &str = "the command line";

/// Lets a request through or answers it. What changed something is logged with the name of who asked for it.
pub(crate) async fn admit(State(admin): State<Arc<Admin>>, mut request: Request, next: Next) -> Response {
    let operator = match admin.admits(request.uri(), request.headers()).await {
        Ok(operator) => operator,
        Err(problem) => return problem.into_response(),
    };
    // Requests that need no token prove nothing.
    if !operator.is_empty() {
        prove(request.extensions());
    }
    let peer = request.extensions().get().map(|Peer(address)| *address);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let user = claimed_user(request.headers()).filter(|_| operator == COMMAND_LINE);
    let actor = match operator.as_str() {
        COMMAND_LINE => Actor::CommandLine(user.clone()),
        client => Actor::Operator(client.to_owned()),
    };
    request.extensions_mut().insert(actor);
    let response = next.run(request).await;
    if method != Method::GET && method != Method::HEAD {
        let status = response.status().as_u16();
        info!(operator, user, peer = peer.map(display), %method, path, status, "Operator requested a change");
    }
    response
}

/// The header in which the command line says which user of the operating system runs it. It proves nothing.
const USER: &str = "secevent-user";
const USER_CHARS_MAX: usize = 128;

fn claimed_user(headers: &HeaderMap) -> Option<String> {
    let user = headers.get(USER)?.to_str().ok()?.trim();
    (!user.is_empty()).then(|| escape(user, USER_CHARS_MAX).to_string())
}

impl Admin {
    /// Who asks. Where everybody may ask, nobody in particular.
    async fn admits(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
        let host = called(uri, headers)?;
        if !is_ours(&host, self.config.address, &self.config.names) {
            return Err(Problem::misdirected());
        }
        // A page of another site may send requests from the browser of somebody who is near this listener.
        for origin in headers.get_all(ORIGIN) {
            let own = [format!("http://{host}"), format!("https://{host}")];
            if !own.iter().any(|own| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())) {
                return Err(Problem::refused("requests from pages of other sites are refused"));
            }
        }
        let open = match uri.path() {
            "/healthz" | "/readyz" => true,
            "/metrics" => self.config.metrics == MetricsAccess::Open,
            _ => false,
        };
        if open {
            return Ok(String::new());
        }
        authorization(headers)?;
        let local = self.config.local_token.as_ref();
        if local.is_some_and(|local| bearer(headers).is_some_and(|token| local.is_of(token))) {
            return Ok(COMMAND_LINE.to_owned());
        }
        let caller = self.clients.authenticate(headers).await?;
        caller.count_request()?;
        caller.may(Scope::Admin)?;
        Ok(caller.client.id)
    }
}

/// The host, and port if there is one, that the request is addressed to.
fn called(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    // HTTP/2 and proxies say it in the target, which wins (RFC 9112 section 3.2.2).
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    host.filter(|_| hosts.next().is_none())
        .ok_or_else(|| Problem::bad_request("the request must have one Host header"))
}

/// Whether a browser that calls this host was not led here by a name that somebody else made point to us. An address
/// cannot be made to point anywhere, and the port is not part of the trick: it may be another one outside a container.
fn is_ours(host: &Authority, bound: SocketAddr, names: &[String]) -> bool {
    let host = host.host();
    let bound = bound.ip().to_canonical();
    let here = bound.is_loopback() || bound.is_unspecified();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => address == bound || bound.is_unspecified() || (here && address.is_loopback()),
        Err(_) => {
            let named = |name: &String| name.eq_ignore_ascii_case(host);
            (here && host.eq_ignore_ascii_case("localhost")) || names.iter().any(named)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_ours() {
        let names = ["secevent.internal".to_owned()];
        let ours = |bound: &str, host: &str| {
            is_ours(&host.parse().unwrap(), format!("{bound}:8081").parse().unwrap(), &names)
        };
        for (bound, host, expected) in [
            ("127.0.0.1", "127.0.0.1:8081", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "localhost:9000", true),
            ("127.0.0.1", "LOCALHOST", true),
            ("127.0.0.1", "[::1]:8081", true),
            ("[::1]", "127.0.0.1:8081", true),
            ("127.0.0.1", "Secevent.Internal:8081", true),
            ("127.0.0.1", "rebound.example:8081", false),
            ("127.0.0.1", "localhost.rebound.example", false),
            ("127.0.0.1", "127.0.0.1.rebound.example", false),
            ("127.0.0.1", "10.0.0.7:8081", false),
            ("10.0.0.7", "10.0.0.7:8081", true),
            ("10.0.0.7", "10.0.0.8:8081", false),
            ("10.0.0.7", "localhost:8081", false),
            ("10.0.0.7", "127.0.0.1:8081", false),
            ("0.0.0.0", "10.0.0.7:8081", true),
            ("0.0.0.0", "localhost", true),
            ("[::]", "[fd00::7]:8081", true),
            ("0.0.0.0", "rebound.example", false),
        ] {
            assert_eq!(ours(bound, host), expected, "{bound} {host}");
        }
    }

    #[test]
    fn a_token_is_recognised_and_not_shown() {
        let digest = TokenDigest::of("a token");
        assert!(digest.is_of("a token") && !digest.is_of("a tokem") && !digest.is_of(""));
        assert_eq!(format!("{digest:?}"), "TokenDigest(..)");
    }
}
