//! `secevent doctor`: tries what looking at a configuration cannot tell.

use crate::admin::file::{AdminFile, beside};
use crate::certificates::{self, Certificate};
use crate::clock::SystemClock;
use crate::config::check::{Checked, Severity, check};
use crate::config::given::Given;
use crate::config::{
    AdminListen, CertificateFiles, DEFAULT_ADMIN_LISTEN, File, ListenSettings, MasterKey, Settings,
    ShownCredential, out_of_reach,
};
use crate::descriptors;
use crate::network::{is_loopback, on_loop, operator_client};
use crate::output::{BAD, BOLD, DIM, EXIT_FAILED, Failure, GOOD, WARNING, message, print, print_json, utc};
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri, header};
use secevent::{Clock as _, Issuer, Timestamp};
use secevent_http::{Client, ClientConfig, Credentialed, Proof, PushCredential, TlsConfig};
use secevent_jose::Algorithms;
use secevent_receiver::{ClientError, JwksCache};
use secevent_sqlite::{Contents, Inspection};
use secevent_ssf::metadata::well_known_url;
use secevent_ssf::{DeliverBy, Endpoint, ResponseTime, Transport, TransportError};
use secevent_store::{Document, Vault};
use secevent_transmitter::Transmitter;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Try what a check of the configuration cannot tell.
///
/// It looks at the store, the disk, the master key, the ports, the certificates, the network and the clock, beside a
/// running server or without one, and changes nothing. What a server does not work with fails; what one should know is a warning.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent doctor
  secevent doctor --config /etc/secevent/secevent.toml --json

Run it as the server's user, with the server's environment. While a server runs, its store is left
alone, and it is asked for its health and to check its store instead; whether it is reached under its public URL can only
be tried then. The clock is compared with that of an [[authorization_server]], or of the endpoint of
a [[stream]] that is pushed: they are asked for nothing but the time.

JSON: {healthy, findings: [{check, verdict, what, fix}]}; verdict is ok, warn, fail or skipped.

Exit codes: 0 healthy, with or without warnings; 1 not; 2 misuse, such as a file that cannot be
read.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    given: Given,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Whether the configured master key opens a store's own key.
pub(crate) fn opens(settings: &Settings, sealed: &[u8]) -> bool {
    let keys = match &settings.master_key {
        MasterKey::Given(keys) => keys.clone(),
        MasterKey::BesideTheStore => std::fs::read_to_string(settings.database.with_extension("key"))
            .ok()
            .and_then(|text| crate::config::master_key(&text).ok())
            .into_iter()
            .collect(),
    };
    keys.split_first().is_some_and(|(seals, others)| {
        let vault = Vault::with_keys(seals, others);
        std::str::from_utf8(sealed).is_ok_and(|sealed| vault.open(Transmitter::STORE_KEY, sealed).is_ok())
    })
}

/// What one trial has shown.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What was seen, and what follows from it.
    what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
    /// It could not be tried.
    Skipped,
}

/// Less free disk space than this is an alarm: a burst of events fills it.
const DISK_BYTES_WARN: u64 = 1 << 30;
/// With less than this the next checkpoint may fail.
const DISK_BYTES_FAIL: u64 = 64 << 20;
/// Each group of events waits for one `fsync`.
const FSYNC_SLOW: Duration = Duration::from_millis(50);
/// Certificates are renewed earlier than that where somebody looks after them.
const CERTIFICATE_WARN: Duration = Duration::from_secs(14 * 24 * 3600);
/// Receivers compare `iat` with their own clock, and some allow a few seconds only.
const SKEW_SECONDS_WARN: i64 = 5;
const SKEW_SECONDS_FAIL: i64 = 60;
/// Clients whose published keys are fetched, at most.
const CLIENT_KEYS_MAX: usize = 8;
/// Hosts that are asked for the time, at most.
const CLOCKS_MAX: usize = 3;
/// How long a running server may take to read its whole store.
const CHECK_PATIENCE: Duration = Duration::from_secs(3_600);

pub(crate) fn run(args: &Doctor) -> ExitCode {
    on_loop(args.json, examine(args))
}

async fn examine(args: &Doctor) -> Result<ExitCode, Failure> {
    let misuse = |error: anyhow::Error| Failure::misuse(format!("{error:#}"));
    let mut findings = Findings::default();
    let document = args.given.document().map_err(misuse)?;
    let settings = match &document {
        Ok(document) => findings.configuration(check(document, &args.given.overrides())),
        Err(error) => {
            let what = format!("the configuration is no TOML, line {}", error.line);
            findings.fail("configuration", what, "`secevent config check` tells what is wrong");
            None
        }
    };
    if let Some(settings) = settings {
        let file = args.given.file().map_err(misuse)?;
        let file = file.map_or_else(|| Ok(File::default()), File::read).map_err(misuse)?;
        let overrides = args.given.overrides();
        let (listen, admin_listen) = (file.listen(&overrides), file.admin_listen(&overrides));
        findings.all(settings, listen, admin_listen).await;
    }
    let findings = findings.0;
    let healthy = findings.iter().all(|finding| finding.verdict != Verdict::Fail);
    if args.json {
        print_json(&json!({ "healthy": healthy, "findings": findings }))?;
    } else {
        print(&told(&findings, healthy))?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn told(findings: &[Finding], healthy: bool) -> String {
    let mut text = String::new();
    for Finding { check, verdict, what, fix } in findings {
        let (style, word) = match verdict {
            Verdict::Ok => (GOOD, "ok"),
            Verdict::Warn => (WARNING, "warn"),
            Verdict::Fail => (BAD, "fail"),
            Verdict::Skipped => (DIM, "skipped"),
        };
        let _ = writeln!(text, "{style}{word:<7}{style:#}  {check}: {}", message(what));
        if let Some(fix) = fix {
            let _ = writeln!(text, "         {BOLD}fix:{BOLD:#} {}", message(fix));
        }
    }
    let (style, word) = if healthy { (GOOD, "healthy") } else { (BAD, "not healthy") };
    let _ = writeln!(text, "{style}{word}{style:#}");
    text
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, what: what.into(), fix: None });
    }

    fn skipped(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Skipped, what: what.into(), fix: None });
    }

    fn warn(&mut self, check: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Warn, what: what.into(), fix: Some(fix.into()) });
    }

    fn fail(&mut self, check: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Fail, what: what.into(), fix: Some(fix.into()) });
    }

    /// What the check says. Nothing more can be tried with a configuration that is not valid.
    fn configuration(&mut self, checked: Checked) -> Option<Settings> {
        let count = |severity| checked.findings.iter().filter(|finding| finding.severity == severity).count();
        match (count(Severity::Error), count(Severity::Warning)) {
            (0, 0) => self.ok("configuration", "it is valid"),
            (0, warnings) => {
                let what =
                    format!("it is valid, with {} of note", crate::admin::many(warnings as u64, "thing"));
                self.warn("configuration", what, "`secevent config check` tells more");
            }
            (errors, _) => {
                let what = format!("it is not valid: {}", crate::admin::many(errors as u64, "error"));
                self.fail("configuration", what, "`secevent config check` tells what is wrong");
            }
        }
        checked.settings
    }

    async fn all(&mut self, settings: Settings, listen: SocketAddr, admin_listen: Option<AdminListen>) {
        self.disk(&settings.database);
        self.open_files(&settings, descriptors::attainable());
        let is_running = self.store(&settings);
        self.permissions(&settings.database, is_running);
        if is_running {
            self.server(&settings.database).await;
        }
        self.listener("listener", "server.listen", listen, is_running);
        let ListenSettings { tls, admin_tls, .. } = &settings.listen;
        self.listeners_certificate("certificate", "server.tls", tls.as_ref());
        match admin_listen {
            Some(AdminListen::Off) => self.ok("admin listener", "it is off"),
            Some(AdminListen::At(address)) => {
                self.listener("admin listener", "server.admin_listen", address, is_running);
            }
            None => {
                self.ok("admin listener", format!("{DEFAULT_ADMIN_LISTEN}, or any free port of loopback"));
            }
        }
        self.listeners_certificate("admin certificate", "server.admin_tls", admin_tls.as_ref());
        self.network(settings, is_running).await;
    }

    /// Whether there is room, and whether what is written gets to the disk.
    fn disk(&mut self, database: &Path) {
        let folder = folder_of(database);
        #[cfg(unix)]
        match rustix::fs::statvfs(&folder) {
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                let what = format!("{} MiB are free in {}", free >> 20, folder.display());
                let fix = "make room, or move the store: when the disk is full, nothing is accepted";
                match free {
                    0..DISK_BYTES_FAIL => self.fail("disk", what, fix),
                    DISK_BYTES_FAIL..DISK_BYTES_WARN => self.warn("disk", what, fix),
                    _ => self.ok("disk", what),
                }
            }
            Err(error) => {
                let what = format!("{} cannot be looked at: {error}", folder.display());
                self.fail("disk", what, "make the directory of store.url, and give it to the server's user");
                return;
            }
        }
        match fsync_time(&folder) {
            Ok(time) => {
                let what =
                    format!("fsync in {} takes {:.2} ms", folder.display(), time.as_secs_f64() * 1000.0);
                if time > FSYNC_SLOW {
                    let fix = "use a faster disk: every event that is accepted waits for one";
                    self.warn("fsync", what, fix);
                } else {
                    self.ok("fsync", what);
                }
            }
            Err(error) => {
                let what = format!("nothing can be written in {}: {error}", folder.display());
                self.fail("fsync", what, "give the directory of the store to the server's user");
            }
        }
    }

    /// Whether as many connections can be open as the settings allow.
    fn open_files(&mut self, settings: &Settings, limit: Option<u64>) {
        let wanted = settings.listen.listening.limits.connections_max;
        let shares = descriptors::share(limit, wanted, settings.outgoing.connections_max);
        if !shares.is_reduced(wanted) {
            return self.ok("open files", shares.to_string());
        }
        let what = format!("server.connections_max is {wanted}, but {shares}");
        let fix = format!(
            "raise the hard limit to {} (LimitNOFILE= in systemd), or set server.connections_max to {}",
            shares.enough, shares.public
        );
        self.warn("open files", what, fix);
    }

    /// Whether a server can open the store, or has. Returns whether one has.
    fn store(&mut self, settings: &Settings) -> bool {
        let database = &settings.database;
        let name = database.display();
        if !database.exists() {
            self.ok("store", format!("{name} is not there yet: the first start makes it"));
            return false;
        }
        let mut sealed = None;
        let mut examine = |document: &Document| {
            if document.name == Transmitter::STORE_KEY {
                sealed = Some(document.body.clone());
            }
            Transmitter::check_document(document)
        };
        match secevent_sqlite::inspect(database, &mut examine) {
            Ok(Inspection::Held) => {
                self.ok("store", format!("{name} is open in a running server"));
                self.skipped("master key", "the running server has opened the store with its own");
                true
            }
            Ok(Inspection::Free(Contents { damage, .. })) if !damage.is_empty() => {
                self.damaged(&name.to_string(), &damage);
                false
            }
            Ok(Inspection::Free(Contents { schema, newest, .. })) if schema > newest => {
                let what =
                    format!("{name} was written by a newer release (schema {schema}, this one has {newest})");
                self.fail("store", what, "use that release, or a newer one");
                false
            }
            Ok(Inspection::Free(Contents { schema, newest, .. })) => {
                let what = match schema {
                    0 => format!("{name} is empty: the next start makes a store of it"),
                    _ if schema < newest => {
                        format!("{name} opens; the next start brings it from schema {schema} to {newest}")
                    }
                    _ => format!("{name} opens and is not damaged, and no server has it"),
                };
                self.ok("store", what);
                self.master_key(settings, sealed.as_deref());
                false
            }
            Err(error) => {
                let fix = "run this as the server's user; if the file is damaged, restore a backup (`secevent backup`)";
                self.fail("store", error.to_string(), fix);
                false
            }
        }
    }

    /// Whether the master key is the one under which the store's secrets are sealed.
    fn master_key(&mut self, settings: &Settings, sealed: Option<&[u8]>) {
        let Some(sealed) = sealed else {
            self.skipped("master key", "nothing is sealed in the store yet");
            return;
        };
        if opens(settings, sealed) {
            self.ok("master key", "it opens what is sealed in the store");
        } else {
            let fix = "give secrets.key the value that it had when the store was made";
            self.fail(
                "master key",
                "it does not open what is sealed in the store: a server would not start",
                fix,
            );
        }
    }

    fn damaged(&mut self, name: &str, damage: &[String]) {
        let what = format!("{name} is damaged: {}", damage.join("; "));
        self.fail("store", what, "stop the server and restore a backup, or have the disk examined first");
    }

    /// Whether others on this machine can read what they should not.
    fn permissions(&mut self, database: &Path, is_running: bool) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mut files = vec![("store file", database.to_owned())];
            if is_running {
                files.extend(beside(database).map(|path| ("admin token", path)));
            }
            for (check, path) in files {
                let Ok(found) = std::fs::metadata(&path) else { continue };
                let mode = found.permissions().mode() & 0o777;
                let what = format!("{} has mode {mode:03o}", path.display());
                if mode & 0o077 == 0 {
                    self.ok(check, what);
                } else if check == "admin token" {
                    self.fail(
                        check,
                        what + ": others can administer the server",
                        format!("chmod 600 {}", path.display()),
                    );
                } else {
                    self.warn(
                        check,
                        what + ": others can read who is concerned",
                        format!("chmod 600 {}", path.display()),
                    );
                }
            }
        }
        #[cfg(not(unix))]
        let _ = (database, is_running);
    }

    /// How the running server is.
    async fn server(&mut self, database: &Path) {
        let unknown = "run this as the server's user, and see that server.admin_listen is not off";
        let (url, token, certificate) = match AdminFile::read(database) {
            Ok(Some(entrance)) => (entrance.url, entrance.token, entrance.certificate),
            Ok(None) => {
                self.warn(
                    "server",
                    "one has the store open, and does not say where its admin listener is",
                    unknown,
                );
                return;
            }
            Err(error) => {
                self.warn("server", format!("where its admin listener is cannot be read: {error}"), unknown);
                return;
            }
        };
        let asked = async {
            let tls = TlsConfig { only_pem: certificate.unwrap_or_default(), ..TlsConfig::default() };
            let client = operator_client(&url, tls, None)?;
            let request = Request::get(format!("{url}/readyz")).body(Bytes::new())?;
            let ready = client.send(request).await?;
            let mut check = Request::get(format!("{url}/admin/v1/store/check")).body(Bytes::new())?;
            check.extensions_mut().insert(ResponseTime(CHECK_PATIENCE));
            check.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").try_into()?);
            anyhow::Ok((ready, client.send(check).await?))
        };
        let asked = asked.await;
        if let Ok((_, check)) = &asked {
            self.integrity(database, check);
        }
        match asked.map(|(ready, _)| ready) {
            Ok(answer) if answer.status() == StatusCode::OK => {
                self.ok("server", format!("it is ready, says {url}"));
                let told: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
                for warning in
                    told["warnings"].as_array().into_iter().flatten().filter_map(|one| one.as_str())
                {
                    self.warn("server", warning, "`secevent clock show` shows both times");
                }
            }
            Ok(answer) => {
                let what = format!("it is not ready: {}", ClientError::refused(&answer));
                self.fail("server", what, "look into its log; `secevent streams` shows how it goes");
            }
            Err(error) => {
                let what = format!("its admin listener at {url} does not answer: {error:#}");
                self.fail("server", what, "look into its log; it may hang, or be starting or ending");
            }
        }
    }

    /// What the running server says of its store.
    fn integrity(&mut self, database: &Path, answer: &http::Response<Bytes>) {
        #[derive(serde::Deserialize)]
        struct Told {
            damage: Vec<String>,
        }
        if answer.status() == StatusCode::CONFLICT {
            self.skipped("integrity", "the store is being copied or checked at the moment");
            return;
        }
        match serde_json::from_slice::<Told>(answer.body()) {
            Ok(told) if told.damage.is_empty() => self.ok("integrity", "the store is not damaged"),
            Ok(told) => self.damaged(&database.display().to_string(), &told.damage),
            Err(_) => {
                let what = format!("the server does not say: {}", ClientError::refused(answer));
                self.warn("integrity", what, "look into its log");
            }
        }
    }

    /// Whether a server could listen there, or does.
    fn listener(&mut self, check: &'static str, setting: &str, address: SocketAddr, is_running: bool) {
        match (TcpListener::bind(address), is_running) {
            (Ok(_), false) => self.ok(check, format!("{address} is free")),
            (Ok(_), true) if address.port() == 0 => self.ok(check, "any free port"),
            (Ok(_), true) => {
                let what = format!("{address} is free, although a server runs: it listens elsewhere");
                self.warn(
                    check,
                    what,
                    format!("start it again if {setting} was changed, or run this with its flags"),
                );
            }
            (Err(error), true) if error.kind() == std::io::ErrorKind::AddrInUse => {
                self.ok(check, format!("{address} is taken, and a server runs on this store"));
            }
            (Err(error), _) => {
                let what = format!("{address} cannot be listened on: {error}");
                self.fail(check, what, format!("end what listens there, or change {setting}"));
            }
        }
    }

    /// Whether a listener can show its certificate, and for how long.
    fn listeners_certificate(
        &mut self,
        check: &'static str,
        setting: &str,
        files: Option<&CertificateFiles>,
    ) {
        let Some(files) = files else { return };
        match Certificate::read(files.clone()) {
            Ok(certificate) => self.ends(check, &files.certificate.display().to_string(), certificate.ends()),
            Err(error) => {
                let fix = format!("mend {setting}, and see that the server's user can read both files");
                self.fail(check, format!("{error:#}"), fix);
            }
        }
    }

    /// For how long a certificate is good.
    fn ends(&mut self, check: &'static str, name: &str, ends: Option<Timestamp>) {
        let Some(end) = ends else {
            self.skipped(check, format!("when {name} ends cannot be read"));
            return;
        };
        let now = SystemClock.now();
        let (fix, at) = ("renew it", utc(end));
        if end <= now {
            self.fail(check, format!("{name} has ended, at {at}"), fix);
        } else if end.since(now) < CERTIFICATE_WARN {
            self.warn(check, format!("{name} ends soon, at {at}"), fix);
        } else {
            self.ok(check, format!("{name} is good until {at}"));
        }
    }

    /// The way out, and back in by the public URL.
    async fn network(&mut self, settings: Settings, is_running: bool) {
        let mut outgoing = settings.outgoing;
        // A server never talks to itself. This is not the server, and wants to see whether others can.
        outgoing.own_listeners = Vec::new();
        let config = outgoing.clone();
        let client = match Client::new(outgoing) {
            Ok(client) => client,
            Err(error) => {
                self.fail(
                    "outgoing",
                    error.to_string(),
                    "mend outgoing.extra_ca, or install the system's CA certificates",
                );
                return;
            }
        };
        self.ok("outgoing", "certificates of others can be verified");
        for ShownCredential { credential, .. } in settings.push_credentials {
            self.push_credential(&config, credential);
        }
        let transport: Arc<dyn Transport> = Arc::new(client.clone());
        for server in &settings.authorization_servers {
            let keys = server.keys(Arc::clone(&transport), Arc::new(SystemClock));
            let issuer = server.issuer.as_str();
            let url = server.jwks_uri.as_ref().map_or(issuer, Endpoint::as_str);
            self.keys("authorization server", issuer, keys, &config, url).await;
        }
        let uri = |client: &secevent_server::ClientConfig| {
            let uri = client.settings.jwks_uri.as_ref()?;
            Some((client.id.clone(), Endpoint::parse_insecure(uri).ok()?))
        };
        for (id, endpoint) in settings.clients.iter().filter_map(uri).take(CLIENT_KEYS_MAX) {
            let url = endpoint.as_str().to_owned();
            let (transport, clock) = (Arc::clone(&transport), Arc::new(SystemClock));
            let keys = JwksCache::at(id.as_str(), endpoint, Algorithms::DEFAULT, transport, clock);
            self.keys("client keys", &id, keys, &config, &url).await;
        }
        let ours = settings.transmitter.issuers.iter().map(|issuer| host_of(issuer.url.as_str()));
        let ours: Vec<_> = ours.chain([host_of(&settings.public_url)]).collect();
        let servers = settings.authorization_servers.iter().map(|server| server.issuer.as_str());
        let endpoints = settings.streams.iter().filter_map(|stream| match &stream.delivery.by {
            DeliverBy::Push { endpoint_url, .. } => Some(endpoint_url.as_str()),
            DeliverBy::Poll { .. } => None,
        });
        self.clock(&client, &clocks(servers.chain(endpoints), &ours)).await;
        for issuer in &settings.transmitter.issuers {
            if is_running {
                self.issuer(&client, &issuer.url).await;
            } else {
                self.skipped("metadata", format!("no server runs, so {} cannot be tried", issuer.url));
            }
        }
    }

    async fn issuer(&mut self, client: &Client, issuer: &Issuer) {
        let url = well_known_url(issuer);
        let Ok(request) = Request::get(&url).header(header::ACCEPT, "application/json").body(Bytes::new())
        else {
            self.fail("metadata", format!("{url} is no URL"), "mend issuer.url");
            return;
        };
        let answer = match client.send(request).await {
            Ok(answer) => answer,
            Err(error @ TransportError::AddressRefused(_)) => {
                let what = format!("{url} cannot be tried from here: {error}");
                self.warn("metadata", what, "try it from where receivers are");
                return;
            }
            Err(error) => {
                let fix = "see that the name leads to this server, and that what stands before it lets requests through";
                self.fail("metadata", format!("{url}: {error}"), fix);
                return;
            }
        };
        let named = serde_json::from_slice::<serde_json::Value>(answer.body()).ok();
        let named = named.and_then(|metadata| Some(metadata.get("issuer")?.as_str()?.to_owned()));
        match named {
            Some(named) if answer.status() == StatusCode::OK && named == issuer.as_str() => {
                self.ok("metadata", format!("{url} names the issuer"));
            }
            Some(named) if answer.status() == StatusCode::OK => {
                let what = format!("{url} names the issuer {named:?}, and receivers refuse it");
                self.fail("metadata", what, "see that issuer.url leads to this server, and to no other");
            }
            _ => {
                let what = format!("{url} gives no metadata, but {}", answer.status());
                self.fail("metadata", what, "see that what stands before the server passes /.well-known/ on");
            }
        }
    }

    /// Whether the keys can be fetched by which access tokens or assertions are checked.
    async fn keys(
        &mut self,
        check: &'static str,
        whose: &str,
        keys: JwksCache,
        config: &ClientConfig,
        url: &str,
    ) {
        match Arc::new(keys).keys().await {
            Ok(keys) => {
                let count = crate::admin::many(keys.keys().keys().len() as u64, "usable key");
                self.ok(check, format!("{whose} publishes {count}"));
            }
            Err(error) => {
                let general = "see that it is up, that outgoing.allow_ports and outgoing.allow_networks admit it, \
                               and that outgoing.extra_ca knows its certificate";
                let fix = out_of_reach(config, url).map_or_else(|| general.to_owned(), |(_, fix)| fix);
                self.fail(check, format!("{whose}: {error}; its tokens are answered 503"), fix);
            }
        }
    }

    /// Whether what is shown to a receiver can be used, and for how long.
    fn push_credential(&mut self, config: &ClientConfig, credential: PushCredential) {
        let whose = credential.client.clone().or_else(|| Some(credential.endpoint.as_ref()?.to_string()));
        let name = format!("the certificate for {}", whose.unwrap_or_default());
        let pem = match &credential.proof {
            Proof::Identity(identity) => identity.certificate_pem.clone(),
            Proof::OAuth(_) => return,
        };
        match Credentialed::new(config, vec![credential]) {
            Ok(_) => self.ends("push credential", &name, certificates::ends(pem.as_bytes())),
            Err(error) => self.fail(
                "push credential",
                format!("{name} cannot be used: {error}"),
                "mend certificate and key of its [[push_credential]]",
            ),
        }
    }

    /// Whether our clock agrees with that of somebody else.
    async fn clock(&mut self, network: &dyn Transport, origins: &[String]) {
        if origins.is_empty() {
            let what = "there is nobody else to compare it with: no [[authorization_server]], and no [[stream]] that is pushed";
            self.skipped("clock", what);
            return;
        }
        let mut silent = Vec::new();
        for origin in origins {
            let told = match Request::head(format!("{origin}/")).body(Bytes::new()) {
                Ok(request) => network.send(request).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let date = told.and_then(|answer| {
                let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
                date.and_then(seconds_of).ok_or_else(|| "it does not tell the time".to_owned())
            });
            let date = match date {
                Ok(date) => date,
                Err(why) => {
                    silent.push(format!("{origin}: {why}"));
                    continue;
                }
            };
            let skew = SystemClock.now().as_seconds() - date;
            let what = format!("the clock differs by {skew} s from that of {origin}");
            let fix = "set the clock by NTP: receivers refuse SETs from the future, and some compare ages";
            match skew.abs() {
                0..=SKEW_SECONDS_WARN => self.ok("clock", what),
                ..=SKEW_SECONDS_FAIL => self.warn("clock", what, fix),
                _ => self.fail("clock", what, fix),
            }
            return;
        }
        self.skipped("clock", format!("nobody else tells the time: {}", silent.join("; ")));
    }
}

/// Where to ask for the time: at machines that are not this one.
fn clocks<'a>(urls: impl Iterator<Item = &'a str>, ours: &[Option<String>]) -> Vec<String> {
    let mut origins: Vec<String> = Vec::new();
    for url in urls {
        let Ok(uri) = url.parse::<Uri>() else { continue };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { continue };
        let origin = format!("{scheme}://{authority}");
        if !is_loopback(&uri) && !ours.contains(&host_of(url)) && !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    origins.truncate(CLOCKS_MAX);
    origins
}

fn host_of(url: &str) -> Option<String> {
    Some(url.parse::<Uri>().ok()?.host()?.to_ascii_lowercase())
}

fn folder_of(database: &Path) -> PathBuf {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// How long it takes until a page is on the disk: the middle of a few tries.
fn fsync_time(folder: &Path) -> std::io::Result<Duration> {
    const TRIES: usize = 9;
    let mut file = tempfile::Builder::new().prefix(".secevent-doctor-").tempfile_in(folder)?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let began = tokio::time::Instant::now();
        file.write_all(&[0; 4096])?;
        file.as_file().sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[TRIES / 2])
}

/// The time of a `Date` header, in seconds since 1970.
fn seconds_of(date: &str) -> Option<i64> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(parsed.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use secevent_ssf::BoxFuture;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("yesterday"), None);
    }

    /// Others, who say what time it is where they are.
    struct Others(i64);

    impl Transport for Others {
        fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
            assert_eq!(request.method(), http::Method::HEAD);
            let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.0);
            let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let mut answer = Response::new(Bytes::new());
            if request.uri().host() != Some("mute.example") {
                answer.headers_mut().insert(header::DATE, date.parse().unwrap());
            }
            Box::pin(async { Ok(answer) })
        }
    }

    #[tokio::test]
    async fn the_clock_is_compared_with_that_of_others() {
        let urls = [
            "http://127.0.0.1:8443/events",
            "https://events.example.com/tenant",
            "https://mute.example/x",
            "https://rp.example:8443/events",
            "https://rp.example:8443/more",
        ];
        let ours = [host_of("https://EVENTS.example.com")];
        let origins = clocks(urls.into_iter(), &ours);
        assert_eq!(origins, ["https://mute.example", "https://rp.example:8443"]);
        for (ahead, verdict) in [
            (0, Verdict::Ok),
            (30, Verdict::Warn),
            (-30, Verdict::Warn),
            (3600, Verdict::Fail),
            (-3600, Verdict::Fail),
        ] {
            let mut findings = Findings::default();
            findings.clock(&Others(ahead), &origins).await;
            let [found] = &findings.0[..] else { panic!("{:?}", findings.0) };
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.what.ends_with("from that of https://rp.example:8443"), "{found:?}");
        }
        for (origins, told) in
            [(&origins[..1], "mute.example: it does not tell"), (&[], "nobody else to compare")]
        {
            let mut findings = Findings::default();
            findings.clock(&Others(0), origins).await;
            assert_eq!(findings.0[0].verdict, Verdict::Skipped);
            assert!(findings.0[0].what.contains(told), "{:?}", findings.0);
        }
    }

    #[test]
    fn certificates_are_told_of_before_they_end() {
        let now = SystemClock.now();
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        for (ends, verdict) in [
            (Some(now.plus(days(30))), Verdict::Ok),
            (Some(now.plus(days(13))), Verdict::Warn),
            (Some(now.minus(days(1))), Verdict::Fail),
            (None, Verdict::Skipped),
        ] {
            let mut findings = Findings::default();
            findings.ends("certificate", "tls.pem", ends);
            assert_eq!(findings.0[0].verdict, verdict);
        }
    }

    #[test]
    fn fsync_is_timed_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(fsync_time(folder.path()).unwrap() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(fsync_time(&folder.path().join("none")).is_err());
    }
}
