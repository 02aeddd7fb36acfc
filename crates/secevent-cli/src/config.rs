//! The configuration file, `secevent.toml`: read, checked as a whole, and turned into what the parts need.

use anyhow::{Context as _, bail, ensure};
use secevent::{Audience, Issuer};
use secevent_http::ClientConfig as OutgoingConfig;
use secevent_jose::Algorithm;
use secevent_server::{ClientConfig, Scope};
use secevent_transmitter::{IssuerConfig, TransmitterConfig};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `secevent.toml`. A key that is not known is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    server: Server,
    #[serde(default)]
    store: Store,
    secrets: Option<Secrets>,
    #[serde(default)]
    outgoing: Outgoing,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default, rename = "issuer")]
    issuers: Vec<IssuerEntry>,
    #[serde(default, rename = "client")]
    clients: Vec<ClientEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    listen: Option<SocketAddr>,
    public_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    url: Option<String>,
    log_pages_max: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secrets {
    key: SecretSource,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    pushes_max: Option<usize>,
    pushes_per_stream_max: Option<usize>,
    push_timeout_seconds: Option<u64>,
    retry_delay_first_seconds: Option<u64>,
    retry_delay_max_seconds: Option<u64>,
    age_max_seconds: Option<u64>,
    poll_wait_max_seconds: Option<u64>,
    poll_sets_max: Option<usize>,
    poll_visibility_seconds: Option<u64>,
    streams_per_client_max: Option<usize>,
    history_seconds: Option<u64>,
    housekeeping_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerEntry {
    url: String,
    algorithm: Option<String>,
    default_subjects: String,
    events: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientEntry {
    id: String,
    secret: SecretSource,
    scopes: Vec<String>,
    audience: Option<OneOrMany>,
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
    /// Pages that the store's log may have before it is carried into the database; none means the default.
    pub(crate) log_pages_max: Option<usize>,
    pub(crate) master_key: MasterKey,
    pub(crate) outgoing: OutgoingConfig,
    pub(crate) transmitter: TransmitterConfig,
    pub(crate) clients: Vec<ClientConfig>,
    pub(crate) allow_plain_http: bool,
}

/// Where the key comes from that seals secrets in the store.
pub(crate) enum MasterKey {
    /// This one.
    Given([u8; 32]),
    /// One that is kept in a file beside the store, and made if there is none: for development.
    BesideTheStore,
}

/// What flags and environment say, which wins over the file.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) public_url: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) dev: bool,
}

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
const DEFAULT_STORE: &str = "sqlite:secevent.db";

impl File {
    /// Reads a file. An error names the file, the place and what is wrong.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Where to listen, as flags, environment and file say.
    pub(crate) fn listen(&self, overrides: &Overrides) -> SocketAddr {
        let default = || DEFAULT_LISTEN.parse().expect("the default is an address");
        overrides.listen.or(self.server.listen).unwrap_or_else(default)
    }

    /// Checks everything, and turns it into settings. The server starts whole or not at all.
    pub(crate) fn settle(self, overrides: Overrides) -> anyhow::Result<Settings> {
        let dev = overrides.dev;
        let listen = self.listen(&overrides);
        ensure!(
            !dev || listen.ip().is_loopback(),
            "server.listen is {listen}: --dev only listens on loopback, because it makes things easy for strangers too"
        );
        let public_url = match overrides.public_url.or(self.server.public_url) {
            Some(url) => url,
            None if listen.ip().is_loopback() => format!("http://{listen}"),
            None => {
                bail!("server.public_url is missing: state the https URL under which others see this server")
            }
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

        let store = overrides.store.or(self.store.url).unwrap_or_else(|| DEFAULT_STORE.to_owned());
        let Some(database) = store.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
            bail!("store.url is {store:?}: write sqlite: and the path of a file, such as sqlite:secevent.db");
        };
        let log_pages_max = self.store.log_pages_max;
        if let Some(pages) = log_pages_max {
            ensure!(
                (100..=1_000_000).contains(&pages),
                "store.log_pages_max is {pages}: it must be 100 to 1000000 pages"
            );
        }
        let master_key = match (self.secrets, dev) {
            (Some(secrets), _) => MasterKey::Given(master_key(&secrets.key.read("secrets.key")?)?),
            (None, true) => MasterKey::BesideTheStore,
            (None, false) => bail!(
                "secrets.key is missing: it seals private keys in the store. Make one with `openssl rand -hex 32`, put \
                 it into an environment variable and name that: key = {{ env = \"SECEVENT_MASTER_KEY\" }}"
            ),
        };
        let issuers = match self.issuers.is_empty() {
            true if dev => vec![IssuerConfig::new(issuer_url(&public_url).expect("checked above"))],
            true => bail!("there is no [[issuer]]: declare at least one, with its url"),
            false => self
                .issuers
                .into_iter()
                .map(|entry| entry.settle(&issuer_url))
                .collect::<anyhow::Result<_>>()?,
        };
        for (place, issuer) in issuers.iter().enumerate() {
            let twice = issuers[..place].iter().any(|other| other.url == issuer.url);
            ensure!(!twice, "issuer.url {} is declared twice", issuer.url);
        }
        let mut clients = Vec::new();
        for entry in self.clients {
            let client = entry.settle()?;
            let twice = clients.iter().any(|other: &ClientConfig| other.id == client.id);
            ensure!(!twice, "client.id {:?} is declared twice", client.id);
            clients.push(client);
        }
        let allow_plain_http = dev || self.outgoing.allow_plain_http;
        let outgoing = self.outgoing.settle(dev, listen)?;
        let transmitter = self.delivery.settle(issuers)?;
        Ok(Settings {
            public_url,
            database: PathBuf::from(database),
            log_pages_max,
            master_key,
            outgoing,
            transmitter,
            clients,
            allow_plain_http,
        })
    }
}

impl Outgoing {
    fn settle(self, dev: bool, listen: SocketAddr) -> anyhow::Result<OutgoingConfig> {
        let mut config = OutgoingConfig { own_listeners: vec![listen], ..OutgoingConfig::default() };
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
        seconds("housekeeping_seconds", self.housekeeping_seconds, &mut config.housekeeping, DAY)?;
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
    ) -> anyhow::Result<IssuerConfig> {
        let url = parse(&self.url)
            .map_err(|error| anyhow::anyhow!("issuer.url {:?} {}", self.url, error.problem()))?;
        let mut config = IssuerConfig::new(url);
        if let Some(name) = &self.algorithm {
            config.algorithm =
                name.parse::<Algorithm>().map_err(|error| anyhow::anyhow!("issuer.algorithm: {error}"))?;
        }
        match self.default_subjects.as_str() {
            "ALL" => {}
            "NONE" => bail!(
                "issuer.default_subjects is NONE: subjects cannot be added to streams yet, so nothing would ever be \
                 sent; use ALL"
            ),
            other => bail!("issuer.default_subjects is {other:?}: it must be ALL or NONE"),
        }
        if let Some(events) = self.events {
            ensure!(!events.is_empty(), "issuer.events is empty: leave it out for all CAEP and RISC events");
            config.events = events;
        }
        Ok(config)
    }
}

impl ClientEntry {
    fn settle(self) -> anyhow::Result<ClientConfig> {
        let at = |what: &str| format!("client {:?}: {what}", self.id);
        ensure!(!self.id.is_empty(), "client.id must not be empty");
        let secret = self.secret.read(&format!("client.secret of {:?}", self.id))?;
        ensure!(secret.len() >= 16, at("secret must have 16 characters or more, or it can be guessed"));
        let scope = |name: &String| {
            let known = Scope::ALL.map(Scope::name).join(", ");
            Scope::named(name).with_context(|| at(&format!("there is no scope {name:?}; known are {known}")))
        };
        let scopes = self.scopes.iter().map(scope).collect::<anyhow::Result<Vec<_>>>()?;
        let audience = match self.audience {
            Some(OneOrMany::One(name)) => Audience::One(name),
            Some(OneOrMany::Many(names)) if !names.is_empty() => Audience::Many(names),
            // Who only sends events receives no SETs, and needs no name in them.
            None if scopes.iter().all(|scope| *scope == Scope::Write) => Audience::One(self.id.clone()),
            _ => bail!(at("audience is missing: state what the receiver is called in the `aud` of its SETs")),
        };
        Ok(ClientConfig { id: self.id, secret, scopes, audience })
    }
}

impl SecretSource {
    fn read(&self, place: &str) -> anyhow::Result<String> {
        match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Env { env } => std::env::var(env)
                .with_context(|| format!("{place} names the environment variable {env}, which is not set")),
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
        assert_eq!(settings.clients[0].scopes, [Scope::Manage]);
        assert!(!format!("{settings:?}").contains("0123456789abcdef"), "secrets do not print");
        let moved = Overrides { listen: Some("127.0.0.1:9".parse().unwrap()), ..Overrides::default() };
        assert_eq!(File::parse(GOOD).unwrap().listen(&moved).port(), 9);
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
            ("[[client]]", "[outgoing]\nallow_networks = [\"10.0.0.0/99\"]\n[[client]]", "allow_networks"),
            ("[[client]]", "[store]\nlog_pages_max = 1\n[[client]]", "store.log_pages_max is 1"),
            ("[[client]]", "[store]\nurl = \"postgres://x\"\n[[client]]", "store.url is \"postgres://x\""),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let refused = File::parse(&text).and_then(|file| file.settle(Overrides::default())).unwrap_err();
            assert!(format!("{refused:#}").contains(told), "{told}: {refused:#}");
        }
        let open =
            Overrides { listen: Some("0.0.0.0:80".parse().unwrap()), dev: true, ..Overrides::default() };
        let refused = File::parse(GOOD).unwrap().settle(open).unwrap_err();
        assert!(refused.to_string().contains("--dev only listens on loopback"));
    }
}
