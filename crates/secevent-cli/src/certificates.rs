//! Certificates of ours, of listeners and those that are shown to receivers: read from files, and read again when the
//! files change.

use crate::config::{CertificateFiles, ShownCredential};
use anyhow::Context as _;
use secevent::Timestamp;
use secevent_http::{Credentialed, Identity, Proof};
use secevent_server::ServerTls;
use secevent_ssf::Secret;
use std::path::Path;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use x509_parser::pem::Pem;

/// A certificate of a listener.
pub(crate) struct Certificate {
    tls: ServerTls,
    watch: Watch,
}

impl Certificate {
    /// Reads it. At the start it has to be good.
    pub(crate) fn read(files: CertificateFiles) -> anyhow::Result<Self> {
        let watch = Watch::over(files)?;
        let Held { certificate, key } = &watch.seen;
        let tls = ServerTls::new(certificate, key).with_context(|| watch.files.to_string())?;
        Ok(Self { tls, watch })
    }

    /// When the first certificate of the chain ends.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        ends(&self.watch.seen.certificate)
    }

    pub(crate) fn tls(&self) -> ServerTls {
        self.tls.clone()
    }

    /// Keeps it up to date. Each new certificate is told to `renewed`.
    pub(crate) async fn keep(self, renewed: impl Fn(&str)) {
        let Self { tls, watch } = self;
        let renew = |held: &Held| {
            tls.renew(&held.certificate, &held.key)?;
            renewed(&tls.certificate_pem());
            Ok(())
        };
        watch.keep(renew).await;
    }
}

/// A certificate that is shown to receivers.
pub(crate) struct ShownCertificate {
    /// Its number among the credentials.
    credential: usize,
    files: CertificateFiles,
    /// What the files held at first.
    identity: Identity,
}

impl ShownCertificate {
    /// The certificates among these credentials.
    pub(crate) fn among(shown: &[ShownCredential]) -> Vec<Self> {
        let certificate = |(credential, shown): (usize, &ShownCredential)| match &shown.credential.proof {
            Proof::Identity(identity) => {
                Some(Self { credential, files: shown.files.clone()?, identity: Identity::clone(identity) })
            }
            Proof::OAuth(_) => None,
        };
        shown.iter().enumerate().filter_map(certificate).collect()
    }
}

/// Keeps a certificate up to date that is shown to receivers.
pub(crate) async fn keep_shown(shown: ShownCertificate, client: &Credentialed) {
    let ShownCertificate { credential, files, identity } = shown;
    let renew = |held: &Held| {
        let text = |pem: &Vec<u8>| String::from_utf8(pem.clone());
        let identity =
            Identity { certificate_pem: text(&held.certificate)?, key_pem: Secret::new(text(&held.key)?) };
        Ok(client.renew(credential, identity)?)
    };
    let certificate = identity.certificate_pem.into_bytes();
    let seen = Held { certificate, key: identity.key_pem.expose().clone().into_bytes() };
    Watch { files, seen, unread: None }.keep(renew).await;
}

/// The files of a certificate in use, and what they held when they were last looked at.
struct Watch {
    files: CertificateFiles,
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

impl Watch {
    fn over(files: CertificateFiles) -> anyhow::Result<Self> {
        let seen = Held::read(&files)?;
        Ok(Self { files, seen, unread: None })
    }

    /// Looks at the files again and again, and at once on SIGHUP.
    async fn keep(mut self, renew: impl Fn(&Held) -> anyhow::Result<()>) {
        let mut looks = tokio::time::interval(self.files.look_every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        let mut asked = asked_to_look();
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = asked.next() => {}
            }
            self.look(&renew);
        }
    }

    /// Takes over what the files hold now, if it is new and good. What is not good is told once.
    fn look(&mut self, renew: impl Fn(&Held) -> anyhow::Result<()>) {
        let held = match Held::read(&self.files) {
            Ok(held) => held,
            Err(error) => {
                let error = format!("{error:#}");
                if self.unread.as_ref() != Some(&error) {
                    warn!("The certificate cannot be read, the one before stays in use: {error}");
                }
                self.unread = Some(error);
                return;
            }
        };
        self.unread = None;
        if held == self.seen {
            return;
        }
        let certificate = self.files.certificate.display();
        match renew(&held) {
            Ok(()) => info!(%certificate, "A new certificate is in use"),
            Err(error) => {
                let error = format!("{error:#}");
                warn!(%certificate, error, "The new certificate cannot be used, the one before stays in use");
            }
        }
        self.seen = held;
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
    use std::cell::Cell;
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
        let mut watch = Watch::over(files.clone()).unwrap();
        let renewed = Cell::new(0);
        let look = |watch: &mut Watch| {
            watch.look(|_| {
                renewed.set(renewed.get() + 1);
                Ok(())
            });
            renewed.get()
        };
        std::fs::remove_file(&files.certificate).unwrap();
        assert_eq!(look(&mut watch), 0);
        assert!(watch.unread.as_ref().is_some_and(|told| told.contains("a.pem")));
        write(&files);
        assert_eq!((look(&mut watch), look(&mut watch)), (1, 1));
        assert_eq!(watch.unread, None);
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
