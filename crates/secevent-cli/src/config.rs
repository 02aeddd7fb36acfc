//! The configuration file, `secevent.toml`: read, checked as a whole, and turned into what the parts need.

pub(crate) mod check;
mod clients;
pub(crate) mod command;
mod document;
mod event_types;
mod files;
pub(crate) mod given;
mod keys;
mod listen;
mod outgoing;
mod print;
#[cfg(test)]
mod proofs;
mod reference;
mod retention;
mod show;
mod streams;
mod subjects;
mod table;
mod warn;

pub(crate) use listen::{CertificateFiles, ListenSettings};
pub(crate) use outgoing::ShownCredential;
pub(crate) use warn::out_of_reach;

use anyhow::{Context as _, bail, ensure};
use clients::{Authorization, AuthorizationServerEntry, ClientEntry};
use document::NotToml;
use event_types::EventTypeEntry;
use retention::Retention;
use secevent::{Issuer, Vocabulary};
use secevent_http::ClientConfig as OutgoingConfig;
use secevent_jose::{Algorithm, RotationTimes};
use secevent_server::{AuthorizationServerConfig, ClientConfig, ClientLimits, Limits, MetricsAccess};
use secevent_transmitter::{
    DeclaredStream, Ending, Inactivity, IssuerConfig, Overflow, TransmitterConfig, in_one_place,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use streams::StreamEntry;

/// `secevent.toml`. A key that is not known is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    server: Server,
    #[serde(default)]
    store: Store,
    secrets: Option<keys::Secrets>,
    #[serde(default)]
    keys: keys::Keys,
    #[serde(default)]
    outgoing: Outgoing,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default)]
    subjects: subjects::Subjects,
    #[serde(default)]
    retention: Retention,
    #[serde(default, rename = "issuer")]
    issuers: Vec<IssuerEntry>,
    #[serde(default, rename = "push_credential")]
    push_credentials: Vec<outgoing::Entry>,
    #[serde(default, rename = "client")]
    clients: Vec<ClientEntry>,
    #[serde(default)]
    authorization: Authorization,
    #[serde(default, rename = "authorization_server")]
    authorization_servers: Vec<AuthorizationServerEntry>,
    limits: Option<ClientLimits>,
    #[serde(default, rename = "event_type")]
    event_types: Vec<EventTypeEntry>,
    #[serde(default, rename = "stream")]
    streams: Vec<StreamEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    #[serde(default, deserialize_with = "listen::address")]
    listen: Option<SocketAddr>,
    public_url: Option<String>,
    #[serde(default, deserialize_with = "listen::admin_address")]
    admin_listen: Option<AdminListen>,
    #[serde(default)]
    admin_names: Vec<String>,
    metrics: Option<String>,
    tls: Option<listen::Tls>,
    admin_tls: Option<listen::Tls>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    connections_max: Option<u32>,
    first_head_seconds: Option<u64>,
    bodies_bytes_max: Option<u64>,
    #[serde(default)]
    public_health: bool,
}

/// Where operators are listened to, if they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    url: Option<String>,
    log_pages_max: Option<usize>,
    bytes_max: Option<u64>,
    reserve_bytes: Option<u64>,
}

/// A secret: where to take it from, or (for a client's) the secret itself.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum SecretSource {
    Env { env: String },
    File { file: PathBuf },
    Plain(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outgoing {
    extra_ca: Option<PathBuf>,
    #[serde(default)]
    allow_networks: Vec<String>,
    #[serde(default)]
    allow_ports: Vec<u16>,
    #[serde(default)]
    allow_plain_http: bool,
    proxy: Option<String>,
    proxy_credential: Option<SecretSource>,
    #[serde(default)]
    proxy_resolves: bool,
    #[serde(default)]
    no_proxy: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    pushes_max: Option<usize>,
    pushes_per_stream_max: Option<usize>,
    push_timeout_seconds: Option<u64>,
    retry_delay_first_seconds: Option<u64>,
    retry_delay_max_seconds: Option<u64>,
    suspend_after_failures: Option<u32>,
    age_max_seconds: Option<u64>,
    poll_wait_max_seconds: Option<u64>,
    poll_sets_max: Option<usize>,
    poll_visibility_seconds: Option<u64>,
    streams_per_client_max: Option<usize>,
    history_seconds: Option<u64>,
    backlog_deliveries_max: Option<u64>,
    backlog_bytes_max: Option<u64>,
    overflow: Option<String>,
    pause_after_seconds: Option<u64>,
    poll_interval_min_milliseconds: Option<u64>,
    poll_order: Option<String>,
    dead_kept_seconds: Option<u64>,
    housekeeping_seconds: Option<u64>,
    verification_interval_min_seconds: Option<u64>,
    heartbeat_seconds: Option<u64>,
    inactivity_timeout_seconds: Option<u64>,
    inactivity_then: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerEntry {
    url: String,
    algorithm: Option<String>,
    default_subjects: String,
    events: Option<Vec<String>>,
    #[serde(default)]
    legacy: bool,
    rotate_every_days: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Everything that a server needs, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) public_url: String,
    pub(crate) database: PathBuf,
    pub(crate) store: StoreLimits,
    pub(crate) listen: ListenSettings,
    /// Whether the public listener serves `/healthz` and `/readyz` too.
    pub(crate) public_health: bool,
    pub(crate) admin: Option<AdminSettings>,
    pub(crate) master_key: MasterKey,
    pub(crate) outgoing: OutgoingConfig,
    pub(crate) push_credentials: Vec<ShownCredential>,
    pub(crate) transmitter: TransmitterConfig,
    pub(crate) clients: Vec<ClientConfig>,
    pub(crate) built_in_authorization: bool,
    pub(crate) authorization_servers: Vec<AuthorizationServerConfig>,
    pub(crate) limits: Limits,
    pub(crate) allow_plain_http: bool,
    /// The event types of the standards, and those of the file.
    pub(crate) vocabulary: Vocabulary,
    pub(crate) streams: Vec<DeclaredStream>,
}

/// How much the store may hold. None leaves its default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreLimits {
    /// Pages that its log may have before it is carried into the database.
    pub(crate) log_pages_max: Option<usize>,
    /// Bytes of all.
    pub(crate) bytes_max: Option<u64>,
    /// Bytes of disk space that new work may not use.
    pub(crate) reserve_bytes: Option<u64>,
}

/// How the server is administered.
#[derive(Clone, Debug)]
pub(crate) struct AdminSettings {
    pub(crate) address: SocketAddr,
    pub(crate) names: Vec<String>,
    pub(crate) metrics: MetricsAccess,
}

/// Where the key comes from that seals secrets in the store.
pub(crate) enum MasterKey {
    /// These: the first one seals, all open.
    Given(Vec<[u8; 32]>),
    /// One that is kept in a file beside the store, and made if there is none: for development.
    BesideTheStore,
}

/// What flags and environment say, which wins over the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin_listen: Option<AdminListen>,
    pub(crate) public_url: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) dev: bool,
}

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// If nothing is said and this is taken, any free port of loopback will do: the command line finds it.
pub(crate) const DEFAULT_ADMIN_LISTEN: &str = "127.0.0.1:8081";
const DEFAULT_STORE: &str = "sqlite:secevent.db";

impl File {
    /// Reads a file. An error names the file, the place and what is wrong.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    /// Reads a file's text. An error shows nothing that the text holds but names: a value may be a secret.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).map_err(|error| NotToml::of(text, &error).into())
    }

    /// The same of a file that is read already.
    fn from_table(table: toml::Table) -> anyhow::Result<Self> {
        Ok(table.try_into()?)
    }

    /// Where to listen, as flags, environment and file say.
    pub(crate) fn listen(&self, overrides: &Overrides) -> SocketAddr {
        let default = || DEFAULT_LISTEN.parse().expect("the default is an address");
        overrides.listen.or(self.server.listen).unwrap_or_else(default)
    }

    /// Where operators are to be listened to, if flags, environment or file say so.
    pub(crate) fn admin_listen(&self, overrides: &Overrides) -> Option<AdminListen> {
        overrides.admin_listen.or(self.server.admin_listen)
    }

    /// The file of the store, as flags, environment and file say.
    pub(crate) fn database(&self, store: Option<&str>) -> anyhow::Result<PathBuf> {
        let store = store.or(self.store.url.as_deref()).unwrap_or(DEFAULT_STORE);
        let Some(database) = store.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
            bail!("store.url is {store:?}: write sqlite: and the path of a file, such as sqlite:secevent.db");
        };
        // What other programs write so is no file of that name.
        let because = match database {
            database if database.starts_with(':') => "a store in memory would lose what it accepted",
            database if database.starts_with("//") && !database.starts_with("///") => "it names a host",
            database if database.contains('?') => "it has parameters, which are not supported",
            _ => return Ok(PathBuf::from(database.strip_prefix("//").unwrap_or(database))),
        };
        bail!(
            "store.url is {store:?}: {because}; write sqlite: and the path of a file, such as sqlite:secevent.db"
        )
    }

    /// Checks everything, and turns it into settings. The server starts whole or not at all.
    pub(crate) fn settle(self, overrides: Overrides) -> anyhow::Result<Settings> {
        let dev = overrides.dev;
        let listen = self.listen(&overrides);
        ensure!(
            !dev || listen.ip().is_loopback(),
            "server.listen is {listen}: --dev only listens on loopback, because it makes things easy for strangers too"
        );
        let admin = self.admin(&overrides)?;
        let public_url = match overrides.public_url.or(self.server.public_url.clone()) {
            Some(url) => url,
            None => default_public_url(listen, self.server.tls.is_some()).context(
                "server.public_url is missing: state the https URL under which others see this server",
            )?,
        };
        let public_url = public_url.trim_end_matches('/').to_owned();
        // Plain http is for this machine alone: names and tokens go over it.
        let here = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        let host_ends = |rest: &str| rest.is_empty() || rest.starts_with([':', '/']);
        let insecure = here.iter().any(|host| public_url.strip_prefix(host).is_some_and(host_ends));
        let issuer_url = |url: &str| match insecure {
            true => Issuer::parse_insecure(url),
            false => url.parse(),
        };
        issuer_url(&public_url).map_err(|error| anyhow::anyhow!("server.public_url: {}", error.problem()))?;

        let listening = listen::settle(&self.server)?;
        let database = self.database(overrides.store.as_deref())?;
        let store = self.store.limits()?;
        let master_key = match (self.secrets, dev) {
            (Some(secrets), _) => MasterKey::Given(secrets.settle()?),
            (None, true) => MasterKey::BesideTheStore,
            (None, false) => bail!(
                "secrets.key is missing: it seals private keys in the store. Make one with `openssl rand -hex 32`, put \
                 it into an environment variable and name that: key = {{ env = \"SECEVENT_MASTER_KEY\" }}"
            ),
        };
        let key_times = self.keys.settle()?;
        let vocabulary = event_types::vocabulary(&self.event_types)?;
        let names_events: Vec<bool> = match self.issuers.is_empty() {
            true => vec![false],
            false => self.issuers.iter().map(|entry| entry.events.is_some()).collect(),
        };
        let mut issuers = match self.issuers.is_empty() {
            true if dev => vec![IssuerConfig::new(issuer_url(&public_url).expect("checked above"))],
            true => bail!("there is no [[issuer]]: declare at least one, with its url"),
            false => self
                .issuers
                .into_iter()
                .map(|entry| entry.settle(&issuer_url, key_times))
                .collect::<anyhow::Result<_>>()?,
        };
        event_types::complete(&mut issuers, &self.event_types, &names_events, &vocabulary)?;
        for (place, issuer) in issuers.iter().enumerate() {
            let twice = issuers[..place].iter().any(|other| other.url == issuer.url);
            ensure!(!twice, "issuer.url {} is declared twice", issuer.url);
        }
        if let Some((one, other)) = in_one_place(&issuers) {
            bail!(
                "issuer.url {one} and {other} have the same path: where endpoints are served follows from the path \
                 alone, so give one of them another"
            );
        }
        let built_in_authorization = self.authorization.built_in(!self.authorization_servers.is_empty())?;
        let authorization_servers =
            clients::authorization_servers(self.authorization_servers, &issuer_url, &public_url)?;
        let limits = clients::limits(self.limits.as_ref())?;
        let mut clients = Vec::new();
        let (mut client_algorithms, mut client_polls) = (BTreeMap::new(), BTreeMap::new());
        let issuer_urls: Vec<String> = issuers.iter().map(|issuer| issuer.url.to_string()).collect();
        for entry in self.clients {
            if let Some((id, algorithm)) = entry.signed_with()? {
                client_algorithms.insert(id, algorithm);
            }
            client_polls.extend(entry.polled()?);
            let client = entry.settle(built_in_authorization)?;
            let twice = clients.iter().any(|other: &ClientConfig| other.id == client.id);
            ensure!(!twice, "client.id {:?} is declared twice", client.id);
            let checked = client.settings.check(&client.id, &vocabulary, &issuer_urls, limits);
            checked.map_err(|breach| {
                anyhow::anyhow!("client {:?}: {} {}", client.id, breach.member(), breach.problem())
            })?;
            clients.push(client);
        }
        let allow_plain_http = dev || self.outgoing.allow_plain_http;
        // Nothing that we send may come back to us (SEM-23).
        let own_listeners =
            std::iter::once(listen).chain(admin.as_ref().map(|admin| admin.address)).collect();
        let mut outgoing = self.outgoing.settle(dev, own_listeners)?;
        let around = streams::Around {
            issuers: &issuers,
            clients: &clients,
            vocabulary: &vocabulary,
            outgoing: &outgoing,
        };
        let streams = streams::settle(self.streams, &around)?;
        for client in &clients {
            let uri = client.settings.jwks_uri.as_ref().and_then(|uri| uri.parse::<http::Uri>().ok());
            let Some(uri) = uri else { continue };
            outgoing.check_url(&uri).map_err(|refused| {
                let (id, fix) = (&client.id, warn::admitting(&outgoing, &uri));
                anyhow::anyhow!("client {id:?}: jwks_uri cannot be reached: {refused}: {fix}")
            })?;
        }
        let credential = |entry: outgoing::Entry| entry.settle(&outgoing);
        let push_credentials =
            self.push_credentials.into_iter().map(credential).collect::<anyhow::Result<_>>()?;
        let mut transmitter = self.delivery.settle(issuers)?;
        transmitter.subjects = self.subjects.settle()?;
        // A push has a connection of its own where the receiver does not speak HTTP/2.
        let connections = |pushes: usize, least: u32| u32::try_from(pushes).unwrap_or(u32::MAX).max(least);
        outgoing.connections_per_host_max =
            connections(transmitter.pushes_per_stream_max, outgoing.connections_per_host_max);
        outgoing.connections_max = connections(transmitter.pushes_max, outgoing.connections_max);
        (transmitter.key_times, transmitter.client_algorithms) = (key_times, client_algorithms);
        transmitter.client_polls = client_polls;
        self.retention.settle(&mut transmitter)?;
        Ok(Settings {
            public_url,
            database,
            store,
            listen: listening,
            public_health: self.server.public_health,
            admin,
            master_key,
            outgoing,
            push_credentials,
            transmitter,
            clients,
            built_in_authorization,
            authorization_servers,
            limits,
            allow_plain_http,
            vocabulary,
            streams,
        })
    }
}

/// What others call a server that says nothing of that, if only this machine reaches it.
fn default_public_url(listen: SocketAddr, has_tls: bool) -> Option<String> {
    let scheme = if has_tls { "https" } else { "http" };
    listen.ip().is_loopback().then(|| format!("{scheme}://{listen}"))
}

impl File {
    fn admin(&self, overrides: &Overrides) -> anyhow::Result<Option<AdminSettings>> {
        let default = || AdminListen::At(DEFAULT_ADMIN_LISTEN.parse().expect("the default is an address"));
        let metrics = match self.server.metrics.as_deref() {
            None | Some("token") => MetricsAccess::Token,
            Some("open") => MetricsAccess::Open,
            Some("off") => MetricsAccess::Off,
            Some(other) => bail!("server.metrics is {other:?}: it must be open, token or off"),
        };
        for name in &self.server.admin_names {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            ensure!(
                !name.is_empty() && name.bytes().all(plain),
                "server.admin_names has {name:?}: write a name without port, such as secevent.internal"
            );
        }
        let AdminListen::At(address) = self.admin_listen(overrides).unwrap_or_else(default) else {
            return Ok(None);
        };
        ensure!(
            !overrides.dev || address.ip().is_loopback(),
            "server.admin_listen is {address}: --dev only listens on loopback, because it makes things easy for \
             strangers too"
        );
        Ok(Some(AdminSettings { address, names: self.server.admin_names.clone(), metrics }))
    }
}

impl Store {
    fn limits(&self) -> anyhow::Result<StoreLimits> {
        let (bytes_min, bytes_max) = (1 << 20, 1 << 50);
        if let Some(pages) = self.log_pages_max {
            ensure!(
                (100..=1_000_000).contains(&pages),
                "store.log_pages_max is {pages}: it must be 100 to 1000000 pages"
            );
        }
        if let Some(bytes) = self.bytes_max {
            ensure!(
                (bytes_min..=bytes_max).contains(&bytes),
                "store.bytes_max is {bytes}: it must be {bytes_min} to {bytes_max} bytes"
            );
        }
        if let Some(bytes) = self.reserve_bytes {
            let max = 1_u64 << 40;
            ensure!(bytes <= max, "store.reserve_bytes is {bytes}: it must be 0 to {max} bytes");
        }
        Ok(StoreLimits {
            log_pages_max: self.log_pages_max,
            bytes_max: self.bytes_max,
            reserve_bytes: self.reserve_bytes,
        })
    }
}

impl std::str::FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse().map(Self::At);
        address.map_err(|_| format!("{text:?} is neither an address such as {DEFAULT_ADMIN_LISTEN} nor off"))
    }
}

impl Outgoing {
    fn settle(self, dev: bool, own_listeners: Vec<SocketAddr>) -> anyhow::Result<OutgoingConfig> {
        let mut config = OutgoingConfig { own_listeners, ..OutgoingConfig::default() };
        for network in &self.allow_networks {
            let parsed = network.parse().map_err(|_| {
                anyhow::anyhow!(
                    "outgoing.allow_networks has {network:?}: write a network such as 10.1.0.0/16"
                )
            })?;
            config.allow_networks.push(parsed);
        }
        config.allow_plain_http = dev || self.allow_plain_http;
        if dev {
            for network in ["127.0.0.0/8", "::1/128"] {
                config.allow_networks.push(network.parse().expect("a network"));
            }
            config.ports = secevent_http::Ports::Any;
        } else if !self.allow_ports.is_empty() {
            config.ports = secevent_http::Ports::Only(self.allow_ports.into_iter().collect());
        }
        if let Some(path) = &self.extra_ca {
            let pem = std::fs::read_to_string(path)
                .with_context(|| format!("outgoing.extra_ca: cannot read {}", path.display()))?;
            config.tls.extra_ca_pem = pem;
        }
        let proxy = outgoing::ProxyEntry {
            url: self.proxy.as_deref(),
            credential: self.proxy_credential.as_ref(),
            resolves: self.proxy_resolves,
            exceptions: &self.no_proxy,
        };
        config.proxy = proxy.settle()?;
        Ok(config)
    }
}

impl Delivery {
    fn settle(self, issuers: Vec<IssuerConfig>) -> anyhow::Result<TransmitterConfig> {
        let mut config = TransmitterConfig::new(issuers);
        let count = |name: &str, value: Option<usize>, default: &mut usize, max: usize| {
            if let Some(value) = value {
                ensure!((1..=max).contains(&value), "delivery.{name} is {value}: it must be 1 to {max}");
                *default = value;
            }
            Ok(())
        };
        count("pushes_max", self.pushes_max, &mut config.pushes_max, 100_000)?;
        count(
            "pushes_per_stream_max",
            self.pushes_per_stream_max,
            &mut config.pushes_per_stream_max,
            10_000,
        )?;
        count("poll_sets_max", self.poll_sets_max, &mut config.poll_sets_max, 1_000)?;
        count(
            "streams_per_client_max",
            self.streams_per_client_max,
            &mut config.streams_per_client_max,
            100_000,
        )?;
        let seconds = |name: &str, value: Option<u64>, default: &mut Duration, max: u64| {
            if let Some(value) = value {
                ensure!(
                    (1..=max).contains(&value),
                    "delivery.{name} is {value}: it must be 1 to {max} seconds"
                );
                *default = Duration::from_secs(value);
            }
            Ok(())
        };
        const DAY: u64 = 24 * 3600;
        seconds("push_timeout_seconds", self.push_timeout_seconds, &mut config.push_timeout, 300)?;
        seconds(
            "retry_delay_first_seconds",
            self.retry_delay_first_seconds,
            &mut config.retry.delay_first,
            3600,
        )?;
        seconds("retry_delay_max_seconds", self.retry_delay_max_seconds, &mut config.retry.delay_max, DAY)?;
        seconds("age_max_seconds", self.age_max_seconds, &mut config.retry.age_max, 365 * DAY)?;
        seconds("poll_wait_max_seconds", self.poll_wait_max_seconds, &mut config.poll_wait_max, 600)?;
        seconds("poll_visibility_seconds", self.poll_visibility_seconds, &mut config.poll_visibility, DAY)?;
        seconds("history_seconds", self.history_seconds, &mut config.history, 365 * DAY)?;
        seconds("pause_after_seconds", self.pause_after_seconds, &mut config.pause_after, 365 * DAY)?;
        seconds("dead_kept_seconds", self.dead_kept_seconds, &mut config.dead_kept, 365 * DAY)?;
        seconds("housekeeping_seconds", self.housekeeping_seconds, &mut config.housekeeping, DAY)?;
        let interval = &mut config.verification_interval_min;
        seconds("verification_interval_min_seconds", self.verification_interval_min_seconds, interval, DAY)?;
        let optional = |name: &str, value: Option<u64>| {
            let mut period = Duration::ZERO;
            seconds(name, value, &mut period, 365 * DAY)?;
            anyhow::Ok(Some(period).filter(|period| !period.is_zero()))
        };
        config.heartbeat = optional("heartbeat_seconds", self.heartbeat_seconds)?;
        let timeout = optional("inactivity_timeout_seconds", self.inactivity_timeout_seconds)?;
        let then = match self.inactivity_then.as_deref() {
            None | Some("pause") => Ending::Pause,
            Some("disable") => Ending::Disable,
            Some("delete") => Ending::Delete,
            Some(other) => {
                bail!("delivery.inactivity_then is {other:?}: it must be pause, disable or delete")
            }
        };
        ensure!(
            timeout.is_some() || self.inactivity_then.is_none(),
            "delivery.inactivity_then says nothing without delivery.inactivity_timeout_seconds"
        );
        config.inactivity = timeout.map(|timeout| Inactivity { timeout, then });
        let amount = |name: &str, value: Option<u64>, default: &mut u64, max: u64| {
            if let Some(value) = value {
                ensure!((1..=max).contains(&value), "delivery.{name} is {value}: it must be 1 to {max}");
                *default = value;
            }
            Ok(())
        };
        if let Some(failures) = self.suspend_after_failures {
            ensure!(
                (1..=1_000).contains(&failures),
                "delivery.suspend_after_failures is {failures}: it must be 1 to 1000"
            );
            config.retry.failures_max = failures;
        }
        let backlog = &mut config.backlog;
        let (deliveries, bytes) = (self.backlog_deliveries_max, self.backlog_bytes_max);
        amount("backlog_deliveries_max", deliveries, &mut backlog.deliveries_max, 1_000_000_000)?;
        amount("backlog_bytes_max", bytes, &mut backlog.bytes_max, 1 << 50)?;
        backlog.overflow = match self.overflow.as_deref() {
            None | Some("pause") => Overflow::Pause,
            Some("drop") => Overflow::Drop,
            Some(other) => bail!("delivery.overflow is {other:?}: it must be pause or drop"),
        };
        if let Some(milliseconds) = self.poll_interval_min_milliseconds {
            ensure!(
                milliseconds <= 60_000,
                "delivery.poll_interval_min_milliseconds is {milliseconds}: it must be 0, which is none, to 60000"
            );
            config.poll_interval_min = Duration::from_millis(milliseconds);
        }
        let poll_options = clients::poll_options(None, self.poll_order.as_deref());
        let poll_options = poll_options.map_err(|error| anyhow::anyhow!("delivery.{error}"))?;
        config.poll_order = poll_options.order.unwrap_or(config.poll_order);
        ensure!(
            config.retry.delay_first <= config.retry.delay_max,
            "delivery.retry_delay_first_seconds is more than delivery.retry_delay_max_seconds"
        );
        Ok(config)
    }
}

impl IssuerEntry {
    fn settle(
        self,
        parse: &impl Fn(&str) -> Result<Issuer, secevent::Invalid>,
        key_times: RotationTimes,
    ) -> anyhow::Result<IssuerConfig> {
        let url = parse(&self.url)
            .map_err(|error| anyhow::anyhow!("issuer.url {:?} {}", self.url, error.problem()))?;
        let mut config = IssuerConfig::new(url);
        if let Some(name) = &self.algorithm {
            config.algorithm =
                name.parse::<Algorithm>().map_err(|error| anyhow::anyhow!("issuer.algorithm: {error}"))?;
        }
        config.default_subjects = subjects::default_subjects(&self.default_subjects)?;
        config.rotate_every = keys::rotate_every(self.rotate_every_days, key_times)?;
        if let Some(events) = self.events {
            ensure!(!events.is_empty(), "issuer.events is empty: leave it out for all CAEP and RISC events");
            config.events = events;
        }
        config.legacy = self.legacy;
        Ok(config)
    }
}

impl SecretSource {
    fn read(&self, place: &str) -> anyhow::Result<String> {
        match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Env { env } => match std::env::var(env) {
                Ok(secret) => Ok(secret),
                Err(std::env::VarError::NotPresent) => {
                    bail!("{place} names the environment variable {env}, which is not set")
                }
                // The error itself would tell what is in it.
                Err(std::env::VarError::NotUnicode(_)) => {
                    bail!("{place} names the environment variable {env}, which is no text in UTF-8")
                }
            },
            Self::File { file } => {
                let text = std::fs::read_to_string(file).with_context(|| {
                    format!("{place} names the file {}, which cannot be read", file.display())
                })?;
                Ok(text.trim_end().to_owned())
            }
        }
    }
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env { env } => write!(f, "env {env}"),
            Self::File { file } => write!(f, "file {}", file.display()),
            Self::Plain(_) => f.write_str("Secret(..)"),
        }
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// 32 bytes in hexadecimal, as `openssl rand -hex 32` prints them.
pub(crate) fn master_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let text = text.trim();
    let wrong = "secrets.key must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them";
    ensure!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), wrong);
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).expect("checked to be ASCII");
        *byte = u8::from_str_radix(digits, 16).expect("checked to be hexadecimal");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent_server::Scope;
    use secevent_ssf::DefaultSubjects;
    use secevent_transmitter::PollOrder;

    const GOOD: &str = r#"
        [server]
        public_url = "https://events.example.com"
        [secrets]
        key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        [[issuer]]
        url = "https://events.example.com/tenant-a"
        algorithm = "ES256"
        default_subjects = "ALL"
        [[client]]
        id = "billing"
        secret = "0123456789abcdef"
        scopes = ["ssf.manage"]
        audience = ["https://billing.example.com"]
    "#;

    #[test]
    fn a_good_file_is_settled() {
        let settings = File::parse(GOOD).unwrap().settle(Overrides::default()).unwrap();
        assert_eq!(settings.public_url, "https://events.example.com");
        assert_eq!(settings.transmitter.issuers[0].algorithm, Algorithm::Es256);
        assert_eq!(settings.clients[0].settings.scopes, [Scope::Manage]);
        assert!(!format!("{settings:?}").contains("0123456789abcdef"), "secrets do not print");
        let moved = Overrides { listen: Some("127.0.0.1:9".parse().unwrap()), ..Overrides::default() };
        assert_eq!(File::parse(GOOD).unwrap().listen(&moved).port(), 9);
    }

    /// Every bound of `delivery` and `store` answers where it is documented to lie: its ends are good, and what is
    /// beyond them is refused by its name.
    #[test]
    fn amounts_have_bounds() {
        const DAY: u64 = 24 * 3600;
        for (section, name, min, max) in [
            ("delivery", "backlog_deliveries_max", 1, 1_000_000_000),
            ("delivery", "backlog_bytes_max", 1, 1 << 50),
            ("delivery", "pause_after_seconds", 1, 365 * DAY),
            ("delivery", "suspend_after_failures", 1, 1_000),
            ("delivery", "poll_interval_min_milliseconds", 0, 60_000),
            ("delivery", "dead_kept_seconds", 1, 365 * DAY),
            ("delivery", "housekeeping_seconds", 1, DAY),
            ("subjects", "per_stream_max", 1, 1_000_000_000),
            ("subjects", "in_memory_max", 1, 1_000_000_000),
            ("subjects", "removal_grace_seconds", 0, 365 * DAY),
            ("store", "log_pages_max", 100, 1_000_000),
            ("store", "bytes_max", 1 << 20, 1 << 50),
        ] {
            let settle = |value: u64| {
                let with = format!("[{section}]\n{name} = {value}\n[[client]]");
                File::parse(&GOOD.replacen("[[client]]", &with, 1)).unwrap().settle(Overrides::default())
            };
            for good in [min, max] {
                settle(good).unwrap();
            }
            let wrong = [min.checked_sub(1), Some(max + 1)];
            for wrong in wrong.into_iter().flatten() {
                let refused = settle(wrong).unwrap_err().to_string();
                let told = format!("{section}.{name} is {wrong}: it must be {min}");
                assert!(refused.starts_with(&told) && refused.contains(&max.to_string()), "{refused}");
            }
        }
    }

    #[test]
    fn what_is_configured_is_what_is_used() {
        let with = "
            [delivery]
            backlog_deliveries_max = 10
            backlog_bytes_max = 1000
            overflow = \"drop\"
            pause_after_seconds = 60
            suspend_after_failures = 7
            poll_interval_min_milliseconds = 0
            poll_order = \"batched\"
            dead_kept_seconds = 3600
            housekeeping_seconds = 5
            [subjects]
            per_stream_max = 7
            in_memory_max = 8
            removal_grace_seconds = 9
            [store]
            bytes_max = 2000000
            [[client]]";
        let server = "[server]\nadmin_listen = \"10.0.0.7:9001\"\nadmin_names = [\"ops.internal\"]\nmetrics = \"open\"";
        let text = GOOD.replacen("[[client]]", with, 1).replacen("\"ALL\"", "\"NONE\"", 1);
        let text = text.replacen("[server]", server, 1);
        let settings = File::parse(&text).unwrap().settle(Overrides::default()).unwrap();
        let transmitter = &settings.transmitter;
        assert_eq!((transmitter.backlog.deliveries_max, transmitter.backlog.bytes_max), (10, 1000));
        assert_eq!(transmitter.backlog.overflow, Overflow::Drop);
        assert_eq!(transmitter.pause_after, Duration::from_secs(60));
        assert_eq!(transmitter.retry.failures_max, 7);
        assert_eq!(transmitter.poll_interval_min, Duration::ZERO);
        assert_eq!(transmitter.poll_order, PollOrder::Batched);
        assert_eq!(transmitter.dead_kept, Duration::from_secs(3600));
        assert_eq!(transmitter.housekeeping, Duration::from_secs(5));
        assert_eq!((transmitter.subjects.per_stream_max, transmitter.subjects.in_memory_max), (7, 8));
        assert_eq!(transmitter.subjects.removal_grace, Duration::from_secs(9));
        assert_eq!(transmitter.issuers[0].default_subjects, DefaultSubjects::None);
        assert_eq!(settings.store.bytes_max, Some(2_000_000));
        let admin = settings.admin.unwrap();
        assert_eq!(
            (admin.address.to_string(), admin.metrics),
            ("10.0.0.7:9001".to_owned(), MetricsAccess::Open)
        );
        assert_eq!(admin.names, ["ops.internal"]);
        assert!(settings.outgoing.own_listeners.contains(&admin.address), "nothing is pushed to it");

        let settings = File::parse(GOOD).unwrap().settle(Overrides::default()).unwrap();
        let admin = settings.admin.unwrap();
        assert_eq!(
            (admin.address.to_string(), admin.metrics),
            (DEFAULT_ADMIN_LISTEN.to_owned(), MetricsAccess::Token)
        );
        let off = GOOD.replacen("[server]", "[server]\nadmin_listen = \"off\"", 1);
        assert!(File::parse(&off).unwrap().settle(Overrides::default()).unwrap().admin.is_none());
        let wins = Overrides { admin_listen: Some(AdminListen::Off), ..Overrides::default() };
        assert!(File::parse(&text).unwrap().settle(wins).unwrap().admin.is_none());
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_place_and_the_fix() {
        for (from, to, told) in [
            ("[server]", "[server]\nlisten_on = 1", "unknown field `listen_on`"),
            ("public_url = \"https:", "public_url = \"http:", "server.public_url: must be an https URL"),
            ("\"ES256\"", "\"none\"", "issuer.algorithm"),
            ("\"ALL\"", "\"SOME\"", "issuer.default_subjects is \"SOME\""),
            ("\"ssf.manage\"", "\"ssf.all\"", "there is no scope \"ssf.all\""),
            ("\"0123456789abcdef\"", "\"short\"", "secret must have 16 characters"),
            (
                "\"0123456789abcdef\"",
                "{ env = \"SECEVENT_TEST_NOT_SET\" }",
                "SECEVENT_TEST_NOT_SET, which is not set",
            ),
            ("key = \"00", "key = \"", "secrets.key must be 64 hexadecimal digits"),
            ("audience = [\"https://billing.example.com\"]", "", "audience is missing"),
            ("[[client]]", "[delivery]\npoll_sets_max = 0\n[[client]]", "delivery.poll_sets_max is 0"),
            (
                "[server]",
                "[server]\nadmin_listen = \"8081\"",
                "server.admin_listen is \"8081\": write an address",
            ),
            (
                "[server]",
                "[server]\nmetrics = \"yes\"",
                "server.metrics is \"yes\": it must be open, token or off",
            ),
            ("[server]", "[server]\nadmin_names = [\"a:1\"]", "server.admin_names has \"a:1\""),
            ("[[client]]", "[outgoing]\nallow_networks = [\"10.0.0.0/99\"]\n[[client]]", "allow_networks"),
            (
                "[[client]]",
                "[[issuer]]\nurl = \"https://other.example.com/tenant-a/\"\ndefault_subjects = \"ALL\"\n[[client]]",
                "issuer.url https://events.example.com/tenant-a and https://other.example.com/tenant-a/ have the same path",
            ),
            ("[[client]]", "[delivery]\noverflow = \"block\"\n[[client]]", "delivery.overflow is \"block\""),
            ("[[client]]", "[delivery]\npoll_order = \"any\"\n[[client]]", "delivery.poll_order is \"any\""),
            // finding: B20
            (
                "[[client]]",
                "[[stream]]\nname = \"s\"\nclient = \"billing\"\nevents = [\"caep:*\"]\n\
                 delivery = { method = \"push\", endpoint_url = \"https://10.0.0.1/\" }\n[[client]]",
                "which cannot be reached: 10.0.0.1:443 is not global unicast",
            ),
            (
                "secret = \"0123456789abcdef\"",
                "jwks_uri = \"https://rp.example:8443/keys\"",
                "jwks_uri cannot be reached: rp.example:8443 has a port that is not allowed",
            ),
            // finding: A16
            (
                "[[client]]",
                "[[stream]]\nname = \"s\"\nclient = \"billing\"\nevents = [\"caep:*\"]\n\
                 delivery = { method = \"push\", endpoint_url = \"https://rp.example/\", poll_order = \"batched\" }\n\
                 [[client]]",
                "which are for poll alone",
            ),
            ("[[client]]", "[[client]]\npoll_order = \"any\"", "poll_order is \"any\""),
            (
                "[[client]]",
                "[[client]]\npoll_visibility_seconds = 0",
                "poll_visibility_seconds is 0: it must be 1 to",
            ),
            ("[[client]]", "[store]\nurl = \"postgres://x\"\n[[client]]", "store.url is \"postgres://x\""),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let refused = File::parse(&text).and_then(|file| file.settle(Overrides::default())).unwrap_err();
            assert!(format!("{refused:#}").contains(told), "{told}: {refused:#}");
        }
        // A slip beside a secret does not show it.
        for (from, to, told) in [
            ("secret = \"0123456789abcdef\"", "secret = \"0123456789abcdef", "line 12, column "),
            ("secret = \"0123456789abcdef\"", "secret = [\"0123456789abcdef\"]", "line 12, column "),
            (
                "secret = \"0123456789abcdef\"",
                "token_lifetime_seconds = \"0123456789abcdef\"",
                "string, expected u32",
            ),
            (
                "[server]",
                "outgoing = \"0123456789abcdef\"\n[server]",
                "line 2, column 20: invalid type: string, expected",
            ),
            ("[secrets]", "[secrets] 0123456789abcdef", "line 4, column "),
        ] {
            assert!(GOOD.contains(from));
            let refused = format!("{:#}", File::parse(&GOOD.replacen(from, to, 1)).unwrap_err());
            assert!(refused.contains(told) && !refused.contains("89abcdef"), "{told}: {refused}");
        }
        let open =
            Overrides { listen: Some("0.0.0.0:80".parse().unwrap()), dev: true, ..Overrides::default() };
        let refused = File::parse(GOOD).unwrap().settle(open).unwrap_err();
        assert!(refused.to_string().contains("--dev only listens on loopback"));
        let admin_listen = Some("[::]:8081".parse().unwrap());
        let open = Overrides { admin_listen, dev: true, ..Overrides::default() };
        let refused = File::parse(GOOD).unwrap().settle(open).unwrap_err();
        assert!(refused.to_string().starts_with("server.admin_listen is [::]:8081: --dev only"), "{refused}");
    }
}
