//! A transmitter at work: store, network, clock and endpoints, chosen and wired. `serve` runs one, and so does
//! `demo`.

use crate::clock::SystemClock;
use crate::config::{MasterKey, Settings};
use anyhow::Context as _;
use rand::RngExt as _;
use secevent::{Clock, Issuer, Vocabulary};
use secevent_http::Client;
use secevent_server::{ServerConfig, serve, transmitter_router};
use secevent_sqlite::SqliteStore;
use secevent_ssf::{StreamId, Transport};
use secevent_store::{Store, Vault};
use secevent_transmitter::Transmitter;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running transmitter.
pub(crate) struct Node {
    transmitter: Arc<Transmitter>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Node {
    /// Opens the store, starts the transmitter, and serves it on `listener`.
    pub(crate) async fn start(settings: Settings, listener: TcpListener) -> anyhow::Result<Self> {
        Self::start_with(settings, listener, |transport| transport).await
    }

    /// The same, with something between the transmitter and the network.
    pub(crate) async fn start_with(
        settings: Settings,
        listener: TcpListener,
        between: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let store = open_store(&settings.database, settings.log_pages_max)?;
        let vault = Vault::new(&vault_key(&settings.master_key, &settings.database)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let client = Client::new(settings.outgoing).context("the outgoing network cannot be set up")?;
        let transmitter = Transmitter::start(
            settings.transmitter,
            store,
            between(Arc::new(client)),
            Arc::clone(&clock),
            vault,
            Vocabulary::standard().clone(),
            rand::rng().random(),
        )
        .await
        .context("the transmitter cannot start")?;
        let config = ServerConfig {
            public_url: settings.public_url,
            clients: settings.clients,
            allow_plain_http: settings.allow_plain_http,
        };
        let router = transmitter_router(&config, &transmitter, clock)?;
        let (stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, router, async move {
            // An error means that the node was dropped: that ends it too.
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        Ok(Self { transmitter, address, stop, serving })
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
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        while self.transmitter.backlog(issuer.as_str(), client, stream).await?.pending > 0 {
            look.tick().await;
        }
        Ok(())
    }

    /// Ends it in order: nothing new is taken or sent, and what is on its way ends.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.transmitter.close().await;
        self.stop.send_replace(true);
        self.serving.await??;
        Ok(())
    }
}

/// Opens the SQLite file, or says why not.
pub(crate) fn open_store(path: &Path, log_pages_max: Option<usize>) -> anyhow::Result<Arc<dyn Store>> {
    let mut options = secevent_sqlite::Options::new(secevent_store::Epoch(rand::rng().random()));
    options.log_pages_max = log_pages_max.unwrap_or(options.log_pages_max);
    let store = SqliteStore::open(path, options)
        .with_context(|| format!("the store {} cannot be opened", path.display()))?;
    Ok(store)
}

fn vault_key(key: &MasterKey, database: &Path) -> anyhow::Result<[u8; 32]> {
    let MasterKey::BesideTheStore = key else {
        let MasterKey::Given(key) = key else { unreachable!("there are two kinds") };
        return Ok(*key);
    };
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

/// Listens for the wish that the program end: Ctrl-C, or SIGTERM where there is such a thing.
///
/// The listening begins with the call, before anything is started: a wish that comes early is not missed, and does
/// not end the program in the middle of something.
pub(crate) fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // An error means that there is nothing to listen to; then nothing can ask.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
