//! Who may call: clients, how they prove who they are, and the access tokens that they bring.
//!
//! A client is declared in configuration, or made through the admin API and kept in the store. It gets its access
//! tokens from the authorization server of this program, for a secret or for a signed assertion; or from one
//! elsewhere that configuration names. What a client may do is looked up at each request, never read from a token
//! alone: a client that is switched off is refused at once.

mod access_token;
mod assertion;
mod attempts;
mod caller;
mod checked;
mod external;
mod failures;
mod keys;
mod limits;
mod registry;
mod scope;
mod secret;
mod settings;

pub(crate) use access_token::{Shown, TokenError};
pub(crate) use assertion::ASSERTION_TYPE;
pub(crate) use attempts::Origin;
pub(crate) use caller::{
    Registered, authorization, bearer, invalid_token, token_missing, two_authorizations,
};
pub use external::AuthorizationServerConfig;
pub use limits::{ClientLimits, Limits, Rate};
pub(crate) use registry::{Changed, Client, GRACE_MAX, NotChanged};
pub use scope::Scope;
pub use settings::{ClientConfig, ClientSettings, SubjectLimits};

use access_token::BuiltIn;
use assertion::ReplayGuard;
use attempts::{Attempts, WaitingInSum};
use caller::Said;
use checked::Checked;
use external::ExternalServer;
use failures::Failures;
use secevent::{Clock, Invalid, Timestamp};
use secevent_jose::KeyError;
use secevent_ssf::Transport;
use secevent_store::{Store, StoreError, Unsealable, Vault};
use secevent_transmitter::Transmitter;
use secret::{DigestKey, NoDigestKey};
use settings::{Rights, World};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tracing::warn;

/// Who may call, as configuration says.
#[derive(Clone, Debug)]
pub struct ClientsConfig {
    /// The URL under which the world sees this server: the name of its authorization server.
    pub public_url: String,
    /// The clients that configuration declares. Others are made through the admin API.
    pub clients: Vec<ClientConfig>,
    /// Whether this program gives access tokens itself. Default: yes.
    pub built_in: bool,
    /// Authorization servers elsewhere whose access tokens are taken. Default: none.
    pub authorization_servers: Vec<AuthorizationServerConfig>,
    /// How often each client may ask, unless its own settings say otherwise.
    pub limits: Limits,
}

impl ClientsConfig {
    /// These clients, with the defaults for the rest.
    pub fn new(public_url: impl Into<String>, clients: Vec<ClientConfig>) -> Self {
        Self {
            public_url: public_url.into(),
            clients,
            built_in: true,
            authorization_servers: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// What clients need of the world around.
#[derive(Clone)]
pub struct ClientPorts {
    /// Where those are kept that were made at run time.
    pub store: Arc<dyn Store>,
    /// Seals what is secret there.
    pub vault: Vault,
    /// How the keys of others are fetched.
    pub transport: Arc<dyn Transport>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Why there are no clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored secret cannot be opened.
    #[error(transparent)]
    Sealed(#[from] Unsealable),
    /// There is no key for access tokens.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A client's settings make no sense.
    #[error("client {id:?}: {breach}")]
    Client {
        /// Which one.
        id: String,
        /// What is wrong.
        breach: Invalid,
    },
    /// The configuration of authorization makes no sense.
    #[error("{0}")]
    Config(String),
}

/// All clients, and the authorization server that gives them access tokens.
pub struct Clients {
    by_id: RwLock<HashMap<String, Arc<Client>>>,
    /// Held by whoever changes a client.
    changing: tokio::sync::Mutex<()>,
    /// Counts what makes earlier access tokens of a client worthless.
    generations: AtomicU64,
    /// Since when the tokens that others give to a client are good, if those from before were ended.
    ended_tokens: RwLock<HashMap<String, Timestamp>>,
    digests: DigestKey,
    /// The URL under which the world sees this server.
    server: String,
    built_in: Option<BuiltIn>,
    external: Vec<ExternalServer>,
    checked: Checked<Arc<Said>>,
    assertions: ReplayGuard,
    /// Attempts under names that are no client's, which share these by their hash: to a stranger they look the same.
    strangers: Vec<Attempts>,
    stranger: RandomState,
    waiting: WaitingInSum,
    failures: Failures,
    /// Bearer tokens that were refused.
    tokens_refused: AtomicU64,
    limits: Limits,
    transmitter: Arc<Transmitter>,
    ports: ClientPorts,
}

/// How many names that belong to no client are counted one by one.
const STRANGERS: usize = 256;
/// Clients whose failures are figures of their own.
const FIGURES_MAX: usize = 100;

/// How often authentication failed since the process started.
pub(crate) struct FailedAuthentications {
    /// By client: those with most failures.
    pub(crate) by_client: Vec<(String, u64)>,
    /// Of other clients.
    pub(crate) others: u64,
    /// Under names that are no client's.
    pub(crate) unknown: u64,
    /// Bearer tokens that were not valid.
    pub(crate) tokens: u64,
}

impl Clients {
    /// Takes up the clients that configuration declares and those that the store keeps.
    ///
    /// The key of the access tokens is made anew at each start: tokens are short-lived, and clients ask again when one
    /// is refused.
    pub async fn open(
        config: ClientsConfig,
        ports: ClientPorts,
        transmitter: &Arc<Transmitter>,
    ) -> Result<Arc<Self>, ClientsError> {
        let server = config.public_url.trim_end_matches('/').to_owned();
        let digests = DigestKey::open(&*ports.store, &ports.vault).await.map_err(|error| match error {
            NoDigestKey::Store(error) => ClientsError::Store(error),
            NoDigestKey::Sealed(error) => ClientsError::Sealed(error),
        })?;
        if !config.built_in && config.authorization_servers.is_empty() {
            let problem =
                "the built-in authorization server is off, and there is no other: nobody could get a token";
            return Err(ClientsError::Config(problem.to_owned()));
        }
        let mut external: Vec<ExternalServer> = Vec::new();
        for server_config in config.authorization_servers {
            let issuer = server_config.issuer.as_str();
            if issuer == server || external.iter().any(|other| other.issuer() == issuer) {
                return Err(ClientsError::Config(format!(
                    "the authorization server {issuer} is there twice"
                )));
            }
            external.push(ExternalServer::new(server_config, &ports));
        }
        let clients = Self {
            by_id: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            generations: AtomicU64::new(1),
            ended_tokens: RwLock::default(),
            digests,
            built_in: config.built_in.then(|| BuiltIn::new(&server)).transpose()?,
            server,
            external,
            checked: Checked::new(),
            assertions: ReplayGuard::default(),
            strangers: (0..STRANGERS).map(|_| Attempts::default()).collect(),
            stranger: RandomState::new(),
            waiting: WaitingInSum::default(),
            failures: Failures::default(),
            tokens_refused: AtomicU64::new(0),
            limits: config.limits,
            transmitter: Arc::clone(transmitter),
            ports,
        };
        clients.read_ended_tokens().await?;
        clients.read_stored().await?;
        clients.declare(config.clients).await?;
        clients.rest_unknown();
        Ok(Arc::new(clients))
    }

    /// The names of the authorization servers whose tokens are taken.
    pub(crate) fn authorization_servers(&self) -> Vec<&str> {
        let built_in = self.built_in.is_some().then_some(self.server.as_str());
        built_in.into_iter().chain(self.external.iter().map(ExternalServer::issuer)).collect()
    }

    /// Of how many parties the keys could not be fetched at the last try, and for how long the oldest of the keys that
    /// are used all the same are past their time.
    pub(crate) fn failing_keys(&self) -> (usize, Duration) {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let clients = by_id.values().filter_map(|client| Some(client.keys.as_ref()?.figures()));
        let all = self.external.iter().map(ExternalServer::key_figures).chain(clients);
        all.filter(|figures| figures.is_failing)
            .fold((0, Duration::ZERO), |(count, oldest), one| (count + 1, oldest.max(one.stale_for)))
    }

    /// Whether this program gives access tokens itself.
    pub(crate) fn gives_tokens(&self) -> bool {
        self.built_in.is_some()
    }

    /// The URL under which the world sees this server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Whether a URL is one of the resources for which access tokens are given here (RFC 8707): this server, an issuer,
    /// or what lies below one of them.
    pub(crate) fn is_resource(&self, url: &str) -> bool {
        let below = |base: &str| {
            let rest = url.strip_prefix(base.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // A fragment is an error, as anything is that no URL has.
        let plain = !url.contains('#') && url.bytes().all(|byte| byte.is_ascii_graphic());
        plain && (below(&self.server) || self.transmitter.issuers().any(|issuer| below(issuer.url.as_str())))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Streams of clients that are gone from configuration are sent nothing: nobody answers for them any more.
    fn rest_unknown(&self) {
        for client in self.transmitter.rest_unknown(|client| self.find(client).is_some()) {
            warn!(
                client.id = client,
                "There are streams of a client that is not known any more: nothing is sent to them"
            );
        }
    }

    /// The attempts under a name that is no client's.
    fn strangers_attempts(&self, name: &str) -> &Attempts {
        let place = usize::try_from(self.stranger.hash_one(name) % 256).unwrap_or(0);
        &self.strangers[place % STRANGERS]
    }

    /// How often authentication failed.
    pub(crate) fn failed_authentications(&self) -> FailedAuthentications {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let failed = by_id.values().map(|client| (client.attempts.failed(), &client.id));
        let mut failed: Vec<_> = failed.filter(|(failed, _)| *failed > 0).collect();
        failed.sort_unstable_by(|one, other| other.cmp(one));
        let others = failed.iter().skip(FIGURES_MAX).map(|(failed, _)| failed).sum();
        failed.truncate(FIGURES_MAX);
        FailedAuthentications {
            by_client: failed.into_iter().map(|(failed, id)| (id.clone(), failed)).collect(),
            others,
            unknown: self.strangers.iter().map(Attempts::failed).sum(),
            tokens: self.tokens_refused.load(Ordering::Relaxed),
        }
    }

    fn rights(
        &self,
        id: &str,
        settings: &ClientSettings,
        issuers: Option<&[String]>,
    ) -> Result<Rights, Invalid> {
        let world = World { vocabulary: self.transmitter.vocabulary(), issuers, limits: self.limits };
        Rights::of(id, settings, &world)
    }
}

impl fmt::Debug for ClientPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientPorts(..)")
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("server", &self.server).finish_non_exhaustive()
    }
}
