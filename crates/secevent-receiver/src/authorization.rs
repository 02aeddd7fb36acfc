//! Where a transmitter's access tokens are given: found through its own metadata (RFC 9728, RFC 8414).

use crate::ClientError;
use crate::transmitter::get;
use secevent::Issuer;
use secevent::json::{Limits, check, without_bom};
use secevent_ssf::{Endpoint, Tolerance, TransmitterMetadata, Transport};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The authorization server whose access tokens a transmitter takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationServer {
    /// Its name.
    pub issuer: String,
    /// Where it gives tokens.
    pub token_endpoint: Endpoint,
    /// How clients may prove themselves there; empty if it does not say.
    pub client_authentication: Vec<String>,
    /// The scopes that the transmitter knows (RFC 9728), or else those that the server says; empty if neither says any.
    pub scopes: Vec<String>,
}

/// What is to be done with an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Streams are read, and polled.
    Read,
    /// Streams are made and changed too.
    Manage,
}

impl AuthorizationServer {
    /// The scope to ask for: those of the interoperability profile, as far as they are known. To manage is asked for
    /// together with to read, because not everywhere the one includes the other. Lists of scopes may be partial or
    /// missing: one that names no scope of SSF counts as missing (E-83).
    ///
    /// ```
    /// use secevent_receiver::{AuthorizationServer, Purpose};
    ///
    /// assert_eq!(AuthorizationServer::scope_of(&[], Purpose::Manage), "ssf.manage ssf.read");
    /// let known = ["openid".to_owned(), "ssf.manage".to_owned()];
    /// assert_eq!(AuthorizationServer::scope_of(&known, Purpose::Read), "ssf.manage");
    /// ```
    pub fn scope_of(scopes: &[String], purpose: Purpose) -> String {
        let known = |name: &str| scopes.iter().any(|scope| scope == name);
        let wanted = match purpose {
            Purpose::Manage => [MANAGE, READ].into_iter().filter(|name| known(name)).collect(),
            Purpose::Read if known(READ) => vec![READ],
            Purpose::Read => [MANAGE].into_iter().filter(|name| known(name)).collect(),
        };
        match (wanted.is_empty(), purpose) {
            (false, _) => wanted.join(" "),
            (true, Purpose::Manage) => format!("{MANAGE} {READ}"),
            (true, Purpose::Read) => READ.to_owned(),
        }
    }

    /// The same, with the scopes that are known here.
    pub fn scope_for(&self, purpose: Purpose) -> String {
        Self::scope_of(&self.scopes, purpose)
    }

    /// Finds it. The resource metadata (RFC 9728) of the issuer, or else that of the configuration endpoint,
    /// names the server; where there is none the transmitter's issuer may be one itself. The server's own
    /// metadata, under OAuth's name (RFC 8414) or OpenID's, names the token endpoint.
    ///
    /// A document that speaks for another resource or another server is not used: our secret would go to
    /// whoever wrote it.
    pub async fn of(
        metadata: &TransmitterMetadata,
        tolerance: Tolerance,
        transport: &dyn Transport,
    ) -> Result<Self, ClientError> {
        let search = Search { tolerance, transport };
        let issuer = metadata.issuer.as_str();
        let named = [Some(issuer), metadata.configuration_endpoint.as_ref().map(Endpoint::as_str)];
        for resource in named.into_iter().flatten() {
            if let Some((server, scopes)) = search.server_of(resource).await? {
                return match search.server(&server).await? {
                    // A list that names no scope of SSF says nothing of it (E-83).
                    Some(found) if !names_ssf(&scopes) => Ok(found),
                    Some(found) => Ok(Self { scopes, ..found }),
                    None => Err(ClientError::NoToken(format!(
                        "the authorization server {server} does not tell its token endpoint"
                    ))),
                };
            }
        }
        search.server(issuer).await?.ok_or_else(|| {
            ClientError::NoToken("the transmitter does not tell where its access tokens are given".to_owned())
        })
    }
}

const READ: &str = "ssf.read";
const MANAGE: &str = "ssf.manage";

fn names_ssf(scopes: &[String]) -> bool {
    scopes.iter().any(|scope| scope == READ || scope == MANAGE)
}

struct Search<'a> {
    tolerance: Tolerance,
    transport: &'a dyn Transport,
}

impl Search<'_> {
    /// The authorization server that the metadata of a resource names, and the resource's scopes.
    async fn server_of(&self, resource: &str) -> Result<Option<(String, Vec<String>)>, ClientError> {
        #[derive(Deserialize)]
        struct Resource {
            resource: String,
            #[serde(default)]
            authorization_servers: Vec<String>,
            #[serde(default)]
            scopes_supported: Vec<String>,
        }
        let Some(url) = inserted(resource, "oauth-protected-resource") else { return Ok(None) };
        let Some(document) = self.get::<Resource>(&url).await? else { return Ok(None) };
        let own = is_same(&document.resource, resource);
        let server = document.authorization_servers.into_iter().next().filter(|_| own);
        Ok(server.map(|server| (server, document.scopes_supported)))
    }

    async fn server(&self, issuer: &str) -> Result<Option<AuthorizationServer>, ClientError> {
        #[derive(Deserialize)]
        struct Server {
            issuer: String,
            token_endpoint: Option<String>,
            #[serde(default)]
            token_endpoint_auth_methods_supported: Vec<String>,
            #[serde(default)]
            scopes_supported: Vec<String>,
        }
        let appended = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        for url in [inserted(issuer, "oauth-authorization-server"), Some(appended)].into_iter().flatten() {
            let Some(server) = self.get::<Server>(&url).await? else { continue };
            let Some(endpoint) = server.token_endpoint.filter(|_| is_same(&server.issuer, issuer)) else {
                continue;
            };
            let read = match self.tolerance.plain_http {
                true => Endpoint::parse_insecure(&endpoint),
                false => endpoint.parse(),
            };
            let token_endpoint = read
                .map_err(|breach| ClientError::NoToken(format!("the token endpoint {}", breach.problem())))?;
            return Ok(Some(AuthorizationServer {
                issuer: server.issuer,
                token_endpoint,
                client_authentication: server.token_endpoint_auth_methods_supported,
                scopes: server.scopes_supported,
            }));
        }
        Ok(None)
    }

    /// A document, if there is one that can be read.
    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<Option<T>, ClientError> {
        let secure = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let Ok(uri) = url.parse() else { return Ok(None) };
        if !secure && !self.tolerance.plain_http {
            return Ok(None);
        }
        let response = self.transport.send(get(uri)).await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        let text = check(without_bom(response.body()), Limits::BODY).ok();
        Ok(text.and_then(|text| serde_json::from_str(text).ok()))
    }
}

/// A well-known name between host and path.
fn inserted(url: &str, name: &str) -> Option<String> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let url = Issuer::parse_insecure(url).ok()?;
    Some(format!("{}/.well-known/{name}{}", url.origin(), url.path().trim_end_matches('/')))
}

/// To the letter; but a final slash comes and goes in the wild.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
