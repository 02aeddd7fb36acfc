//! Certificates of our listeners: read from files, and read again when the files change.

use crate::config::CertificateFiles;
use anyhow::Context as _;
use secevent::Timestamp;
use secevent_server::ServerTls;
use std::path::Path;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use x509_parser::pem::Pem;

/// A certificate in use, and what its files held when they were last looked at.
pub(crate) struct Certificate {
    files: CertificateFiles,
    tls: ServerTls,
    seen: Held,
    /// Why the files could not be read when they were last looked at.
    unread: Option<String>,
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
        Ok(Self { files, tls, seen, unread: None })
    }

    /// When the first certificate of the chain ends.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        ends(&self.seen.certificate)
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
                let error = format!("{error:#}");
                if self.unread.as_ref() != Some(&error) {
                    warn!("The certificate cannot be read, the one before stays in use: {error}");
                }
                self.unread = Some(error);
                return false;
            }
        };
        self.unread = None;
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

/// When the first certificate of a chain ends: all of them are needed. None if there is none that can be read.
pub(crate) fn ends(chain_pem: &[u8]) -> Option<Timestamp> {
    let end = |pem: Pem| Some(pem.parse_x509().ok()?.validity().not_after.timestamp());
    let ends = Pem::iter_from_buffer(chain_pem).map_while(Result::ok).filter_map(end);
    ends.min().map(Timestamp::from_seconds)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;

    fn write(files: &CertificateFiles) -> String {
        let pair = rcgen::generate_simple_self_signed(["secevent.internal".to_owned()]).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        pair.cert.pem()
    }

    fn files(folder: &Path) -> CertificateFiles {
        let look_every = Duration::from_secs(3600);
        CertificateFiles { certificate: folder.join("a.pem"), key: folder.join("a.key"), look_every }
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_looked_at_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        write(&files);
        let certificate = Certificate::read(files.clone()).unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let keeping = tokio::spawn(certificate.keep(move |pem| tell.send(pem.to_owned()).unwrap()));
        let second = write(&files);
        let bare = |pem: &str| pem.split_whitespace().collect::<String>();
        assert_eq!(bare(&told.recv().await.unwrap()), bare(&second));
        keeping.abort();
    }

    #[test]
    fn files_that_cannot_be_read_are_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        write(&files);
        let mut certificate = Certificate::read(files.clone()).unwrap();
        std::fs::remove_file(&files.certificate).unwrap();
        assert!(!certificate.look());
        assert!(certificate.unread.as_ref().is_some_and(|told| told.contains("a.pem")));
        write(&files);
        assert!(certificate.look() && certificate.unread.is_none());
    }

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        let chain: String = [2040, 2030]
            .map(|year| {
                let mut of = rcgen::CertificateParams::new(["secevent.internal".to_owned()]).unwrap();
                of.not_after = rcgen::date_time_ymd(year, 1, 1);
                of.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
            })
            .concat();
        assert_eq!(crate::output::utc(ends(chain.as_bytes()).unwrap()), "2030-01-01T00:00:00Z");
        assert_eq!(ends(b"no certificate"), None);
    }
}
