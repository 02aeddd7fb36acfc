//! A transmitter at work: store, network, clock and endpoints, chosen and wired. `serve` runs one, and so does
//! `demo`.

use crate::admin::file::AdminFile;
use crate::certificates::{Certificate, ShownCertificate, keep_shown};
use crate::clock::SystemClock;
use crate::config::{AdminSettings, ListenSettings, MasterKey, Settings, StoreLimits};
use crate::descriptors::{self, Shares};
use anyhow::Context as _;
use rand::RngExt as _;
use secevent::{Clock, Issuer};
use secevent_http::{ClientConfig, Credentialed};
use secevent_server::{
    AdminConfig, ClientPorts, Clients, ClientsConfig, ListenCounts, ListenLimits, Listening, ServerConfig,
    ServerTls, TokenDigest, admin_router, serve_as, transmitter_router,
};
use secevent_sqlite::SqliteStore;
use secevent_ssf::{StreamId, Transport};
use secevent_store::{Backup, Store, Vault};
use secevent_transmitter::{Reconciled, Transmitter};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// A running transmitter.
pub(crate) struct Node {
    transmitter: Arc<Transmitter>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
    admin: Option<AdminSide>,
}

/// What its operators see of it.
struct AdminSide {
    file: Arc<AdminFile>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// How long operators' requests that are under way when the node shuts down may take: long ones can be repeated.
const ADMIN_PATIENCE: Duration = Duration::from_secs(1);

impl Node {
    /// Opens the store, starts the transmitter, and serves it on `listener`, and its operators on `admin`.
    pub(crate) async fn start(
        settings: Settings,
        listener: TcpListener,
        admin: Option<TcpListener>,
    ) -> anyhow::Result<Self> {
        Self::start_with(settings, listener, admin, |transport| transport).await
    }

    /// The same, with something between the transmitter and the network.
    pub(crate) async fn start_with(
        settings: Settings,
        listener: TcpListener,
        admin: Option<TcpListener>,
        between: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let ListenSettings { mut listening, tls, admin_tls } = settings.listen;
        let mut outgoing = settings.outgoing;
        let shares = share_descriptors(&mut listening, &mut outgoing);
        let certificate = tls.map(Certificate::read).transpose().context("server.tls")?;
        let admin_certificate = admin_tls.map(Certificate::read).transpose().context("server.admin_tls")?;
        let store = open_store(&settings.database, settings.store)?;
        let vault = vault(&settings.master_key, &settings.database)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shown = ShownCertificate::among(&settings.push_credentials);
        let credentials = settings.push_credentials.into_iter().map(|shown| shown.credential);
        let client = Credentialed::new(&outgoing, credentials.collect());
        let client = Arc::new(client.context("the outgoing network cannot be set up")?);
        let transport = between(Arc::clone(&client) as Arc<dyn Transport>);
        // It sends nothing before it is known which streams are declared, and whose rest.
        let transmitter = Transmitter::open(
            settings.transmitter,
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&transport),
            Arc::clone(&clock),
            vault.clone(),
            settings.vocabulary,
            rand::rng().random(),
        )
        .await
        .context("the transmitter cannot start")?;
        let changes = transmitter.reconcile_streams(settings.streams).await;
        for change in changes.context("the streams cannot be made as they are declared")? {
            let (name, client, issuer) = (change.name, change.client, change.issuer);
            match change.what {
                // What it was owed is lost, and somebody should see that this was meant.
                Reconciled::Withdrawn => {
                    warn!(stream.id = %change.stream_id, name, client.id = client, issuer, "A stream is declared no more, and disabled");
                }
                what => {
                    info!(stream.id = %change.stream_id, name, client.id = client, issuer, ?what, "A stream is made as it is declared");
                }
            }
        }
        let clients = ClientsConfig {
            public_url: settings.public_url,
            clients: settings.clients,
            built_in: settings.built_in_authorization,
            authorization_servers: settings.authorization_servers,
            limits: settings.limits,
        };
        let ports = ClientPorts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            vault,
            transport,
            clock: Arc::clone(&clock),
        };
        let clients = Clients::open(clients, ports, &transmitter).await?;
        transmitter.begin().await.context("the transmitter cannot begin")?;
        let config =
            ServerConfig { allow_plain_http: settings.allow_plain_http, health: settings.public_health };
        let (stop, _) = watch::channel(false);
        let stopped = || {
            let mut stopped = stop.subscribe();
            async move {
                // An error means that the node was dropped: that ends it too.
                let _ = stopped.wait_for(|stop| *stop).await;
            }
        };
        for certificate in shown {
            let client = Arc::clone(&client);
            until(stopped(), async move { keep_shown(certificate, &client).await });
        }
        let router = transmitter_router(&config, &transmitter, &clients);
        let public = Listening { tls: certificate.as_ref().map(Certificate::tls), ..listening.clone() };
        let counts = ListenCounts::default();
        let listeners = vec![("public", public.counts.clone()), ("admin", counts.clone())];
        let serving = tokio::spawn(serve_as(listener, router, public, stopped()));
        if let Some(certificate) = certificate {
            until(stopped(), certificate.keep(|_| {}));
        }
        let admin = match admin.zip(settings.admin) {
            None => None,
            Some((listener, settings_of_admin)) => {
                let token = local_token();
                let config =
                    admin_config(settings_of_admin, &listener, &token, Arc::clone(&store), listeners)?;
                let tls = admin_certificate.as_ref().map(Certificate::tls);
                let pem = tls.as_ref().map(ServerTls::certificate_pem);
                let write = || AdminFile::write(&settings.database, config.address, &token, pem.as_deref());
                let file = write().or_else(|error| {
                    if !is_disk_full(&error) {
                        return Err(error);
                    }
                    store.release_reserve();
                    write()
                });
                let file = Arc::new(file?);
                let router = admin_router(config, &transmitter, &clients, clock);
                if let Some(certificate) = admin_certificate {
                    let file = Arc::downgrade(&file);
                    let renewed = move |pem: &str| {
                        if let Some(Err(error)) = file.upgrade().map(|file| file.write_with(Some(pem))) {
                            warn!("Commands do not know the new certificate: {error:#}");
                        }
                    };
                    until(stopped(), certificate.keep(renewed));
                }
                let limits = ListenLimits { connections_max: shares.admin, ..listening.limits };
                let listening = Listening { tls, limits, counts, ..listening };
                Some(AdminSide {
                    file,
                    serving: tokio::spawn(serve_as(listener, router, listening, stopped())),
                })
            }
        };
        Ok(Self { transmitter, address, stop, serving, admin })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns once nothing is owed to a stream any more.
    pub(crate) async fn all_settled(
        &self,
        issuer: &Issuer,
        client: &str,
        stream: &StreamId,
    ) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while self.transmitter.backlog(issuer.as_str(), client, stream).await?.pending > 0 {
            look.tick().await;
        }
        Ok(())
    }

    /// Shuts down in order: nothing new is taken or sent, and what is under way ends. Deliveries and both listeners
    /// drain at the same time, so that this takes as long as the longest of them may, and not as long as all together.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        // While the store is still ours: the next server on it writes a file of the same name.
        let admin = self.admin.map(|admin| {
            drop(admin.file);
            admin.serving
        });
        self.stop.send_replace(true);
        let admin = async {
            let Some(mut serving) = admin else { return Ok(()) };
            match tokio::time::timeout(ADMIN_PATIENCE, &mut serving).await {
                Ok(served) => served?,
                Err(_) => {
                    serving.abort();
                    Ok(())
                }
            }
        };
        let ((), public, admin) =
            tokio::join!(self.transmitter.close(), async { self.serving.await? }, admin);
        public?;
        Ok(admin?)
    }
}

fn is_disk_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(StorageFull | QuotaExceeded))
}

/// Shares out the descriptors that the process may have, and reduces limits to what is left.
fn share_descriptors(listening: &mut Listening, outgoing: &mut ClientConfig) -> Shares {
    let wanted = listening.limits.connections_max;
    let shares = descriptors::share(descriptors::raise(), wanted, outgoing.connections_max);
    let Shares { limit, public, admin, outgoing: pushes, enough } = shares;
    if shares.is_reduced(wanted) {
        warn!(
            limit,
            public,
            admin,
            outgoing = pushes,
            enough,
            "Connection limits reduced to the limit of open files"
        );
    } else {
        info!(limit, public, admin, outgoing = pushes, "Open file limit is sufficient");
    }
    listening.limits.connections_max = public;
    outgoing.connections_max = pushes;
    outgoing.connections_per_host_max = outgoing.connections_per_host_max.min(pushes);
    shares
}

/// Keeps something up to date for as long as the node is there.
fn until(
    stopped: impl Future<Output = ()> + Send + 'static,
    keeping: impl Future<Output = ()> + Send + 'static,
) {
    tokio::spawn(async move {
        tokio::select! {
            () = stopped => {}
            () = keeping => {}
        }
    });
}

/// 256 bits that nobody guesses.
fn local_token() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 32]>())
}

fn admin_config(
    settings: AdminSettings,
    listener: &TcpListener,
    token: &str,
    store: Arc<SqliteStore>,
    listeners: Vec<(&'static str, ListenCounts)>,
) -> anyhow::Result<AdminConfig> {
    Ok(AdminConfig {
        address: listener.local_addr()?,
        names: settings.names,
        local_token: Some(TokenDigest::of(token)),
        metrics: settings.metrics,
        backup: Some(store as Arc<dyn Backup>),
        listeners,
    })
}

/// Opens the SQLite file, or says why not.
pub(crate) fn open_store(path: &Path, limits: StoreLimits) -> anyhow::Result<Arc<SqliteStore>> {
    let mut options = secevent_sqlite::Options::new(secevent_store::Epoch(rand::rng().random()));
    options.log_pages_max = limits.log_pages_max.unwrap_or(options.log_pages_max);
    options.bytes_max = limits.bytes_max.or(options.bytes_max);
    options.reserve_bytes = limits.reserve_bytes.unwrap_or(options.reserve_bytes);
    SqliteStore::open(path, options).with_context(|| format!("the store {} cannot be opened", path.display()))
}

fn vault(key: &MasterKey, database: &Path) -> anyhow::Result<Vault> {
    match key {
        MasterKey::Given(keys) => {
            let (first, others) = keys.split_first().context("there is no master key")?;
            Ok(Vault::with_keys(first, others))
        }
        MasterKey::BesideTheStore => Ok(Vault::new(&key_beside(database)?)),
    }
}

fn key_beside(database: &Path) -> anyhow::Result<[u8; 32]> {
    let path = database.with_extension("key");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return crate::config::master_key(&text).with_context(|| format!("{} holds no key", path.display()));
    }
    let key: [u8; 32] = rand::rng().random();
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    write_whole(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}

/// Writes a file that is there whole or not at all, whatever happens, and is there for good when this returns: what
/// is sealed with a key must not outlive it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&part)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    // The name has to be on the disk too. Elsewhere a directory cannot be opened, nor needs to be.
    #[cfg(unix)]
    {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The wish that the program end: Ctrl-C, or SIGTERM where there is such a thing.
pub(crate) struct Ending {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Ending {
    /// Listens for it from now on, before anything is started: a wish that comes early is not missed, and does not end
    /// the program in the middle of something.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Returns when it is wished for, or wished for once more.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        // An error means that there is nothing to listen to; then nothing can ask.
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets everything end in order, or at once if that is wished for meanwhile: nothing that was promised is lost by that.
    pub(crate) async fn stop(
        mut self,
        stopping: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            stopped = stopping => stopped,
            () = self.asked() => anyhow::bail!("asked to end once more: what was on its way is cut"),
        }
    }
}
