//! Which configuration is meant: the file, and the flags and environment variables that win over it.

use super::document::{Document, NotToml};
use super::{AdminListen, Overrides};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What `serve` is started with, and what looks at its configuration takes too.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// The configuration file. Without this flag, secevent.toml if it is there
    #[arg(long, value_name = "FILE", env = "SECEVENT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// For development: plain http on loopback, a client with a generated secret, a key kept beside the store
    #[arg(long)]
    dev: bool,
    /// Where to listen; wins over server.listen
    #[arg(long, value_name = "ADDRESS", env = "SECEVENT_LISTEN", hide_env_values = true)]
    listen: Option<SocketAddr>,
    /// Where to listen for operators, or off; wins over server.admin_listen
    #[arg(long, value_name = "ADDRESS", env = "SECEVENT_ADMIN_LISTEN", hide_env_values = true)]
    admin_listen: Option<AdminListen>,
    /// The URL under which others see this server; wins over server.public_url
    #[arg(long, value_name = "URL", env = "SECEVENT_PUBLIC_URL", hide_env_values = true)]
    public_url: Option<String>,
    /// The store, such as sqlite:secevent.db; wins over store.url
    #[arg(long, value_name = "URL", env = "SECEVENT_STORE", hide_env_values = true)]
    store: Option<String>,
}

const DEFAULT_FILE: &str = "secevent.toml";

impl Given {
    /// Whether it is for development.
    pub(crate) fn is_dev(&self) -> bool {
        self.dev
    }

    /// The configuration file. None where --dev does without.
    pub(crate) fn file(&self) -> anyhow::Result<Option<&Path>> {
        match &self.config {
            Some(path) => Ok(Some(path)),
            None if Path::new(DEFAULT_FILE).exists() => Ok(Some(DEFAULT_FILE.as_ref())),
            None if self.dev => Ok(None),
            None => anyhow::bail!("there is no {DEFAULT_FILE} here: name one with --config, or try --dev"),
        }
    }

    /// What the file says, with its lines.
    pub(crate) fn document(&self) -> anyhow::Result<Result<Document, NotToml>> {
        self.file()?.map_or_else(|| Ok(Ok(Document::default())), Document::read)
    }

    /// What wins over the file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen,
            admin_listen: self.admin_listen,
            public_url: self.public_url.clone(),
            store: self.store.clone(),
            dev: self.dev,
        }
    }

    /// What a flag or an environment variable says in place of a setting, as the file would say it.
    pub(crate) fn wins(&self, section: &str, key: &str) -> Option<toml::Value> {
        let text = match (section, key) {
            ("server", "listen") => self.listen.map(|address| address.to_string()),
            ("server", "admin_listen") => self.admin_listen.map(|listen| match listen {
                AdminListen::Off => "off".to_owned(),
                AdminListen::At(address) => address.to_string(),
            }),
            ("server", "public_url") => self.public_url.clone(),
            ("store", "url") => self.store.clone(),
            _ => None,
        };
        text.map(toml::Value::String)
    }
}
