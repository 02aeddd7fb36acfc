//! Certificates of our listeners: read from files, and read again when the files change.

use crate::config::CertificateFiles;
use anyhow::Context as _;
use secevent_server::ServerTls;
use std::path::Path;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// A certificate in use, and what its files held when they were last looked at.
pub(crate) struct Certificate {
    files: CertificateFiles,
    tls: ServerTls,
    seen: Held,
}

/// What the two files hold.
#[derive(PartialEq, Eq)]
struct Held {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads it. At the start it has to be good.
    pub(crate) fn read(files: CertificateFiles) -> anyhow::Result<Self> {
        let seen = Held::read(&files)?;
        let tls = ServerTls::new(&seen.certificate, &seen.key);
        let tls =
            tls.with_context(|| format!("{} with {}", files.certificate.display(), files.key.display()))?;
        Ok(Self { files, tls, seen })
    }

    pub(crate) fn tls(&self) -> ServerTls {
        self.tls.clone()
    }

    /// Looks at the files again and again, and at once on SIGHUP. Each new certificate is told to `renewed`.
    pub(crate) async fn keep(mut self, renewed: impl Fn(&str)) {
        let mut looks = tokio::time::interval(self.files.look_every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        let mut asked = asked_to_look();
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = asked.next() => {}
            }
            if self.look() {
                renewed(&self.tls.certificate_pem());
            }
        }
    }

    /// Takes over what the files hold now, if it is new and good. What is not good is told once.
    fn look(&mut self) -> bool {
        let name = self.files.certificate.display().to_string();
        let held = match Held::read(&self.files) {
            Ok(held) => held,
            Err(error) => {
                warn!("The certificate cannot be read, the one before stays in use: {error:#}");
                return false;
            }
        };
        if held == self.seen {
            return false;
        }
        let renewed = self.tls.renew(&held.certificate, &held.key);
        match &renewed {
            Ok(()) => info!(certificate = name, "A new certificate is in use"),
            Err(error) => {
                warn!(certificate = name, %error, "The new certificate cannot be used, the one before stays in use");
            }
        }
        self.seen = held;
        renewed.is_ok()
    }
}

impl Held {
    fn read(files: &CertificateFiles) -> anyhow::Result<Self> {
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)? })
    }
}

/// SIGHUP, where there is such a thing.
struct Asked {
    #[cfg(unix)]
    hangups: Option<tokio::signal::unix::Signal>,
}

fn asked_to_look() -> Asked {
    Asked {
        #[cfg(unix)]
        hangups: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
    }
}

impl Asked {
    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(hangups) = &mut self.hangups
            && hangups.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
