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
    /// The scopes that the transmitter knows; empty if it does not say (INTEROP-22).
    pub scopes: Vec<String>,
}

impl AuthorizationServer {
    /// The scope to ask for in order to read streams and poll, or to change them too: the one of the
    /// interoperability profile, if the transmitter knows it.
    pub fn scope_for(&self, changes: bool) -> Option<&str> {
        let wanted: &[&str] = if changes { &["ssf.manage"] } else { &["ssf.read", "ssf.manage"] };
        let known = |name: &&&str| self.scopes.iter().any(|scope| scope == **name);
        wanted.iter().find(known).copied()
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
                scopes: Vec::new(),
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
