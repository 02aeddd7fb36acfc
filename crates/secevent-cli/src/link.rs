//! Which transmitter is meant, how we prove to it who we are, and what its refusals come to.

use crate::clock::SystemClock;
use crate::network::{Trust, operator_client, reach_fix};
use crate::output::Failure;
use crate::set::sign::read_key;
use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue};
use secevent::{Invalid, Issuer};
use secevent_http::Client;
use secevent_jose::Signer;
use secevent_receiver::{
    AuthorizationServer, ClientError, Credentials, Discovery, Peer, Purpose, TransmitterClient,
};
use secevent_ssf::{Endpoint, Secret, StreamId, Tolerance, TransmitterMetadata, Transport};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

/// What all these commands say in their help.
pub(crate) const ACCESS: &str = "
Access tokens are requested with --client-id and the secret in SECEVENT_SECRET (or --client-key),
at the token endpoint that the transmitter's metadata leads to (RFC 9728, RFC 8414). Without --scope
that is for events.write to send events, and else for the scope in SECEVENT_SCOPE, or ssf.read to read
and poll and ssf.manage too to change, as far as the metadata lists them. A token that you have
already goes into SECEVENT_TOKEN, and wins. Secrets are never shown.";
pub(crate) const EXIT_CODES: &str = "
Exit codes: 0 done; 1 not done, such as when the transmitter refuses; 2 misuse. With --json an
error is one line on standard error: {error: {code, message, member?, rule?, fix?}}.";

const SECRET: &str = "SECEVENT_SECRET";
/// Not read where events are sent: that takes another scope.
const SCOPE: &str = "SECEVENT_SCOPE";
/// The scope for sending events to a secevent server.
const WRITE: &str = "events.write";

/// How a transmitter is found.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which transmitter")]
pub(crate) struct Reach {
    /// Take older dialects too (SSE, RISC): their names for the metadata, their spellings in messages, streams
    /// without a name (`-`)
    #[arg(long)]
    pub(crate) legacy: bool,
    /// The URL of its metadata, where that is at an address of its own choosing
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    #[command(flatten)]
    trust: Trust,
}

/// Which transmitter is meant, and how we prove to it who we are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which transmitter")]
pub(crate) struct Access {
    /// Its issuer, letter by letter
    #[arg(
        long,
        value_name = "URL",
        env = "SECEVENT_ISSUER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080"
    )]
    issuer: String,
    #[command(flatten)]
    reach: Reach,
    /// An access token; better given in the environment
    #[arg(long, env = "SECEVENT_TOKEN", hide_env_values = true, value_parser = secret, help_heading = "Who we are there")]
    token: Option<Secret<String>>,
    /// The client that we are; its secret comes from SECEVENT_SECRET
    #[arg(
        long,
        value_name = "ID",
        alias = "client",
        env = "SECEVENT_CLIENT",
        hide_env_values = true,
        help_heading = "Who we are there"
    )]
    client_id: Option<String>,
    /// The file with the client's private key (PEM or JWK), for private_key_jwt instead of a secret
    #[arg(long, value_name = "FILE", requires = "client_id", help_heading = "Who we are there")]
    client_key: Option<PathBuf>,
    /// Where access tokens are given, if the metadata does not say
    #[arg(long, value_name = "URL", help_heading = "Who we are there")]
    token_endpoint: Option<String>,
    /// How the client's secret is sent there [default: as the server's metadata says, else basic]
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        conflicts_with = "client_key",
        help_heading = "Who we are there"
    )]
    client_auth: Option<ClientAuth>,
    /// The scope to ask for; "" asks for none [default: the one for what is to be done]
    #[arg(long, help_heading = "Who we are there")]
    scope: Option<String>,
    /// A header of the transmitter's own choosing instead, such as `X-API-Key: env:API_KEY`, which takes the value
    /// from the environment
    #[arg(
        long,
        value_name = "NAME:VALUE",
        value_parser = secret,
        conflicts_with_all = ["client_key", "token_endpoint", "client_auth", "scope"],
        help_heading = "Who we are there"
    )]
    header: Option<Secret<String>>,
    /// Print JSON
    #[arg(long, help_heading = None::<&'static str>)]
    pub(crate) json: bool,
}

/// How a client proves itself with its secret (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientAuth {
    /// In the Authorization header (client_secret_basic)
    Basic,
    /// In the body (client_secret_post)
    Post,
}

/// By what we are known to a transmitter, for the words of its refusals.
#[derive(Clone, Debug)]
enum Given {
    Nothing,
    Token,
    Header(String),
    Client { id: String, token_endpoint: String, scope: Option<String> },
}

/// What is to be done at a transmitter, which decides what an access token is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Streams are read, or polled.
    Read,
    /// Streams are made or changed.
    Manage,
    /// Events are sent.
    Emit,
}

/// A transmitter that was found.
pub(crate) struct Link {
    pub(crate) client: TransmitterClient,
    pub(crate) peer: Peer,
    pub(crate) transport: Arc<dyn Transport>,
    given: Given,
    need: Need,
}

impl Link {
    pub(crate) fn issuer(&self) -> &Issuer {
        &self.peer.issuer
    }

    pub(crate) fn metadata(&self) -> &TransmitterMetadata {
        self.client.metadata()
    }

    /// What a refusal of this transmitter comes to, in the words of what was given to it.
    pub(crate) fn failure(&self, error: &ClientError) -> Failure {
        let failure = failure(error, self.peer.tolerance.legacy);
        let fix = match error {
            ClientError::Refused { status, .. } if status.as_u16() == 401 => {
                Some(self.given.not_accepted(self.granted().as_deref()))
            }
            // Most are refused for what they ask and not for who they are.
            ClientError::Refused { status, .. } if status.as_u16() == 403 => {
                let granted = self.granted().filter(|granted| !is_ssf(granted));
                granted.map(|granted| self.given.not_accepted(Some(&granted)))
            }
            ClientError::NoToken(message) => self.given.no_token(message),
            _ => None,
        };
        match fix {
            Some(fix) => failure.fix(fix),
            None => failure,
        }
    }

    /// The scope of the access token, where the authorization server said it and it has to be one of SSF.
    fn granted(&self) -> Option<String> {
        match self.need {
            Need::Read | Need::Manage => self.client.granted_scope(),
            Need::Emit => None,
        }
    }
}

/// Whether a list of scopes has one of SSF (E-84).
fn is_ssf(scope: &str) -> bool {
    scope.split(' ').any(|one| one.starts_with("ssf."))
}

impl Given {
    fn of(credentials: &Credentials) -> Self {
        match credentials {
            Credentials::None => Self::Nothing,
            Credentials::Bearer(_) => Self::Token,
            Credentials::Header { name, .. } => Self::Header(name.to_string()),
            Credentials::ClientCredentials { token_endpoint, client_id, scope, .. }
            | Credentials::ClientSecretPost { token_endpoint, client_id, scope, .. }
            | Credentials::ClientAssertion { token_endpoint, client_id, scope, .. } => Self::Client {
                id: client_id.clone(),
                token_endpoint: token_endpoint.to_string(),
                scope: scope.clone(),
            },
        }
    }

    /// What to do when the transmitter does not accept it. `granted` is the scope of the access token, where the
    /// authorization server said it.
    fn not_accepted(&self, granted: Option<&str>) -> String {
        match self {
            Self::Nothing => {
                "no credentials were given: name a client with --client-id and put its secret into \
                              SECEVENT_SECRET, or put an access token into SECEVENT_TOKEN"
                    .to_owned()
            }
            Self::Token => {
                "the token of SECEVENT_TOKEN (or --token) was sent and not accepted: it may have expired, \
                            be meant for another server, or lack a scope such as ssf.read or ssf.manage"
                    .to_owned()
            }
            Self::Header(name) => {
                format!("the header {name} of --header was sent and not accepted: check its value")
            }
            Self::Client { id, token_endpoint, scope } => match granted.filter(|granted| !is_ssf(granted)) {
                Some(granted) => format!(
                    "the access token of client {id} carries the scope {granted:?} and no ssf scope: allow the \
                         client ssf.read and ssf.manage at {token_endpoint}, or ask for other scopes with --scope"
                ),
                None => format!(
                    "the access token that client {id} got at {token_endpoint} with the scope {:?} was not \
                         accepted: ask for another scope with --scope, or see what the client may do",
                    granted.or(scope.as_deref()).unwrap_or_default()
                ),
            },
        }
    }

    /// What to do when the authorization server gives no token.
    fn no_token(&self, message: &str) -> Option<String> {
        let Self::Client { id, token_endpoint, .. } = self else { return None };
        Some(if message.contains("invalid_scope") {
            format!(
                "the server at {token_endpoint} does not give client {id} that scope: ask for another one with \
                 --scope or SECEVENT_SCOPE, or for none with --scope \"\""
            )
        } else {
            format!(
                "client {id} was not accepted at {token_endpoint}: check its secret in SECEVENT_SECRET or its key, and \
                 with --client-auth basic or post how the secret is sent"
            )
        })
    }
}

impl Reach {
    /// Finds a transmitter.
    pub(crate) async fn find(&self, issuer: &str) -> Result<(Discovery, Arc<Client>), Failure> {
        let issuer = Issuer::parse_insecure(issuer)
            .map_err(|error| Failure::misuse(format!("the issuer {issuer:?} {}", error.problem())))?;
        let client =
            operator_client(issuer.as_str(), self.trust.tls()?, self.trust.connect.of(issuer.as_str())?)
                .map_err(|error| Failure::misuse(format!("{error:#}")))?;
        let client = Arc::new(client);
        let plain_http = issuer.origin().starts_with("http:");
        let mut peer = Peer::new(issuer);
        peer.tolerance = Tolerance { legacy: self.legacy, plain_http };
        peer.metadata_at = self
            .metadata_url
            .as_deref()
            .map(|url| endpoint(url, plain_http).map_err(|error| misuse("--metadata-url", &error)))
            .transpose()?;
        let found = Discovery::of(&peer, &*client).await.map_err(|error| {
            let failure = failure(&error, self.legacy);
            match error {
                ClientError::Refused { .. } | ClientError::Malformed(_) if !self.legacy => failure.fix(
                    "is that the issuer? --legacy looks under older names too, --metadata-url takes an address as it is",
                ),
                _ => failure,
            }
        })?;
        Ok((found, client))
    }
}

impl Access {
    /// Finds the transmitter and gets ready to be its client, for what is to be done there.
    pub(crate) async fn meet(&self, need: Need) -> Result<Link, Failure> {
        let (mut found, client) = self.reach.find(&self.issuer).await?;
        found.peer.credentials = self.credentials(&found, &*client, need).await?;
        let given = Given::of(&found.peer.credentials);
        let (peer, transport) = (found.peer.clone(), client as Arc<dyn Transport>);
        let client = TransmitterClient::of(found, Arc::clone(&transport), Arc::new(SystemClock));
        Ok(Link { client, peer, transport, given, need })
    }

    async fn credentials(
        &self,
        found: &Discovery,
        transport: &dyn Transport,
        need: Need,
    ) -> Result<Credentials, Failure> {
        if let Some(header) = &self.header {
            return own_header(header.expose());
        }
        if let Some(token) = self.token.as_ref().filter(|token| !token.expose().is_empty()) {
            return Ok(Credentials::Bearer(token.clone()));
        }
        let Some(client_id) = self.client_id.clone().filter(|id| !id.is_empty()) else {
            return Ok(Credentials::None);
        };
        let tolerance = found.peer.tolerance;
        let (token_endpoint, server) = match &self.token_endpoint {
            Some(url) => {
                let endpoint = endpoint(url, tolerance.plain_http);
                (endpoint.map_err(|error| misuse("--token-endpoint", &error))?, None)
            }
            None => {
                let server = AuthorizationServer::of(&found.metadata, tolerance, transport).await;
                let server = server.map_err(|error| {
                    failure(&error, tolerance.legacy)
                        .fix("name the place with --token-endpoint, or give a token in SECEVENT_TOKEN")
                })?;
                (server.token_endpoint.clone(), Some(server))
            }
        };
        let environment = || std::env::var(SCOPE).ok();
        let known = |purpose| {
            server.as_ref().map_or_else(
                || AuthorizationServer::scope_of(&[], purpose),
                |server| server.scope_for(purpose),
            )
        };
        let scope = self.scope.clone().unwrap_or_else(|| match need {
            Need::Read => environment().unwrap_or_else(|| known(Purpose::Read)),
            Need::Manage => environment().unwrap_or_else(|| known(Purpose::Manage)),
            Need::Emit => WRITE.to_owned(),
        });
        let scope = Some(scope).filter(|scope| !scope.is_empty());
        if let Some(path) = &self.client_key {
            let key = Arc::new(Signer::new(read_key(path, None, None)?, "JWT"));
            return Ok(Credentials::ClientAssertion { token_endpoint, client_id, key, scope });
        }
        let secret = std::env::var(SECRET).ok().filter(|secret| !secret.is_empty()).ok_or_else(|| {
            Failure::misuse(format!("the client {client_id} has no secret: {SECRET} is not set"))
                .fix(format!("put the secret into the environment as {SECRET}, or use --client-key"))
        })?;
        let secret = Secret::new(secret);
        let ways = server.map(|server| server.client_authentication).unwrap_or_default();
        let knows = |way: &str| ways.iter().any(|one| one == way);
        let only_post = knows("client_secret_post") && !knows("client_secret_basic");
        let client_auth =
            self.client_auth.unwrap_or(if only_post { ClientAuth::Post } else { ClientAuth::Basic });
        Ok(match client_auth {
            ClientAuth::Post => Credentials::ClientSecretPost { token_endpoint, client_id, secret, scope },
            ClientAuth::Basic => Credentials::ClientCredentials { token_endpoint, client_id, secret, scope },
        })
    }
}

/// A stream as its transmitter names it; `-` is the only stream of an older one, which has no name.
pub(crate) fn stream_id(text: &str, link: &Link) -> Result<StreamId, Failure> {
    match text {
        "-" if link.peer.tolerance.legacy => Ok(StreamId::IMPLICIT),
        "-" => Err(Failure::misuse("only older transmitters have a stream without a name")
            .fix("name the stream, as `secevent stream list` does, or add --legacy")),
        text => StreamId::foreign(text).map_err(|error| misuse("the stream", &error)),
    }
}

/// What a refusal comes to. The decision is the status's alone (E-03).
pub(crate) fn failure(error: &ClientError, legacy: bool) -> Failure {
    let message = error.to_string();
    match error {
        ClientError::Refused { status, .. } => {
            let code = match status.as_u16() {
                400 | 415 | 422 => "invalid_request",
                401 => "authentication_failed",
                403 => "access_denied",
                404 => "not_found",
                405 | 501 => "unsupported",
                409 => "conflict",
                429 => "too_often",
                500.. => "unavailable",
                _ => "failed",
            };
            let failure = Failure::refused(code, message);
            match error.retry_after() {
                Some(wait) => failure.fix(format!("try again in {} seconds", wait.as_secs().max(1))),
                None => failure,
            }
        }
        ClientError::Malformed(breach) if !legacy => Failure::failed(message)
            .about(breach)
            .fix("--legacy reads the messages of older transmitters too"),
        ClientError::Malformed(breach) => Failure::failed(message).about(breach),
        ClientError::Issuer(breach) => Failure::failed(message)
            .about(breach)
            .fix("name the issuer as the transmitter names itself, letter by letter"),
        ClientError::NoEndpoint(_) => Failure::refused("unsupported", message),
        ClientError::NoToken(_) => Failure::refused("authentication_failed", message),
        ClientError::Transport(error) => {
            let failure = Failure::failed(message);
            match reach_fix(error) {
                Some(fix) => failure.fix(fix),
                None => failure,
            }
        }
        _ => Failure::failed(message),
    }
}

pub(crate) fn endpoint(url: &str, plain_http: bool) -> Result<Endpoint, Invalid> {
    if plain_http { Endpoint::parse_insecure(url) } else { url.parse() }
}

pub(crate) fn misuse(what: &str, error: &Invalid) -> Failure {
    Failure::misuse(format!("{what} {}", error.problem()))
}

/// The value of an environment variable that holds a secret.
pub(crate) fn from_environment(name: &str) -> Result<String, Failure> {
    std::env::var(name)
        .map_err(|_| Failure::misuse(format!("the environment variable {name} is not set, or is no text")))
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants parsers that can fail")]
fn secret(text: &str) -> Result<Secret<String>, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

fn own_header(text: &str) -> Result<Credentials, Failure> {
    // Nothing of the value is repeated: it is a secret.
    let wrong = || Failure::misuse("--header must be the name of a header, a colon and its value");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
    let value = match value.trim().strip_prefix("env:") {
        Some(variable) => from_environment(variable)?,
        None => value.trim().to_owned(),
    };
    let value = HeaderValue::try_from(value).map_err(|_| wrong())?;
    Ok(Credentials::Header { name, value: Secret::new(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_none_is_not_repeated() {
        for text in ["top-secret", "na me: top-secret", ": top-secret", "name: top\nsecret"] {
            let refused = own_header(text).unwrap_err();
            assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
        }
        let Credentials::Header { name, value } = own_header("X-Key:  a b ").unwrap() else { panic!() };
        assert_eq!((name.as_str(), value.expose().to_str().unwrap()), ("x-key", "a b"));
    }
}
