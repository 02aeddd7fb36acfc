//! `secevent serve`: a transmitter until it is asked to end.

use crate::config::command::report_errors;
use crate::config::given::Given;
use crate::config::{AdminListen, DEFAULT_ADMIN_LISTEN, File};
use crate::node::{Ending, Node};
use anyhow::Context as _;
use clap::Args;
use rand::RngExt as _;
use secevent::Audience;
use secevent_server::{ClientConfig, Scope};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// Run a transmitter.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  A server to try things out, without a configuration file:
    secevent serve --dev

  A server as configured; the environment wins over the file, flags over both:
    SECEVENT_LISTEN=127.0.0.1:9000 secevent serve --config /etc/secevent/secevent.toml

A configuration file:
    [server]
    listen = \"127.0.0.1:8080\"
    public_url = \"https://events.example.com\"
    admin_listen = \"127.0.0.1:8081\"                # for operators and metrics; or \"off\"
    [store]
    url = \"sqlite:/var/lib/secevent/secevent.db\"
    [secrets]
    key = { env = \"SECEVENT_MASTER_KEY\" }          # openssl rand -hex 32
    [[issuer]]
    url = \"https://events.example.com\"
    default_subjects = \"ALL\"
    [[client]]                                     # a receiver
    id = \"billing\"
    secret = { env = \"BILLING_SECRET\" }
    scopes = [\"ssf.manage\"]
    audience = \"https://billing.example.com\"
    [[client]]                                     # who tells what happens
    id = \"idp\"
    secret = { env = \"IDP_SECRET\" }
    scopes = [\"events.write\"]

  `secevent config example` prints one with every setting, and `secevent config check` tells all that
  is wrong with one.")]
pub(crate) struct Serve {
    #[command(flatten)]
    given: Given,
}

/// Runs until the program is asked to end.
pub(crate) async fn run(args: Serve) -> anyhow::Result<()> {
    let mut ending = Ending::listen()?;
    let others = OtherSignals::listen()?;
    let dev = args.given.is_dev();
    let invalid = |error| report_errors(&args.given).map_or(error, anyhow::Error::msg);
    let file = args.given.file()?.map_or_else(|| Ok(File::default()), File::read).map_err(invalid)?;
    let mut overrides = args.given.overrides();
    // Port 0 asks for any free port, and URLs have to name the one that it was.
    let listen = file.listen(&overrides);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    overrides.listen = Some(listener.local_addr()?);
    let admin = admin_listener(file.admin_listen(&overrides)).await?;
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    overrides.admin_listen = Some(admin_address.map_or(AdminListen::Off, AdminListen::At));
    let mut settings = file.settle(overrides).map_err(invalid)?;
    if dev && settings.clients.is_empty() {
        settings.clients.push(dev_client());
    }
    let issuers: Vec<String> =
        settings.transmitter.issuers.iter().map(|issuer| issuer.url.to_string()).collect();
    let database = settings.database.clone();
    let admin_tls = settings.listen.admin_tls.is_some();
    let certificates = admin_tls
        || settings.listen.tls.is_some()
        || settings.push_credentials.iter().any(|shown| shown.files.is_some());
    let node = Node::start(settings, listener, admin).await?;
    match admin_address {
        None => info!("Operators are not listened to"),
        Some(address) if admin_tls => info!(listen = %address, "Operators are listened to, over TLS"),
        Some(address) if address.ip().is_loopback() => info!(listen = %address, "Operators are listened to"),
        Some(address) => warn!(
            listen = %address,
            "Operators are listened to on an address that others may reach: tokens go over it in plain text, unless \
             something before it speaks TLS"
        ),
    }
    info!(listen = %node.address(), store = %database.display(), ?issuers, "The transmitter is ready");
    let ignoring = tokio::spawn(others.ignore(certificates));
    ending.asked().await;
    ignoring.abort();
    info!("Ending: nothing new is taken, what is on its way ends");
    ending.stop(node.stop()).await
}

/// Signals that must not end a server, although that is what they do to a program that does not handle them. SIGHUP asks
/// for certificates to be read again, which each certificate does by itself. Log rotation and supervisors send the others.
struct OtherSignals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(unix)]
    users: [tokio::signal::unix::Signal; 2],
}

impl OtherSignals {
    /// Handles them from now on.
    fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                hangup: signal(SignalKind::hangup())?,
                users: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Logs each of them.
    async fn ignore(self, has_certificates: bool) {
        #[cfg(unix)]
        {
            let Self { mut hangup, users: [mut first, mut second] } = self;
            loop {
                let signal = tokio::select! {
                    _ = hangup.recv() => "SIGHUP",
                    _ = first.recv() => "SIGUSR1",
                    _ = second.recv() => "SIGUSR2",
                };
                match (signal, has_certificates) {
                    ("SIGHUP", true) => info!(signal, "Certificates read again"),
                    ("SIGHUP", false) => info!(signal, "Nothing to reload: no certificate is configured"),
                    _ => info!(signal, "Signal ignored"),
                }
            }
        }
        #[cfg(not(unix))]
        let _ = has_certificates;
    }
}

/// Binds the listener for operators. Where nothing is said about it, a server beside another one finds a port too.
async fn admin_listener(listen: Option<AdminListen>) -> anyhow::Result<Option<TcpListener>> {
    let cannot = |address: SocketAddr| move || format!("cannot listen on {address} for operators");
    match listen {
        Some(AdminListen::Off) => Ok(None),
        Some(AdminListen::At(address)) => {
            TcpListener::bind(address).await.map(Some).with_context(cannot(address))
        }
        None => {
            let mut address: SocketAddr = DEFAULT_ADMIN_LISTEN.parse().expect("the default is an address");
            let mut bound = TcpListener::bind(address).await;
            if bound.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse) {
                address.set_port(0);
                bound = TcpListener::bind(address).await;
            }
            bound.map(Some).with_context(cannot(address))
        }
    }
}

/// A client that may do everything, for development. Its secret is printed: that is what it is for.
fn dev_client() -> ClientConfig {
    let secret = format!("{:032x}", rand::rng().random::<u128>());
    eprintln!("development client: SECEVENT_CLIENT=dev SECEVENT_SECRET={secret}");
    let audience = Audience::One("https://receiver.example".to_owned());
    ClientConfig::new("dev", secret, Scope::ALL.to_vec(), audience)
}
