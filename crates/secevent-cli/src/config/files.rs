//! The files that a configuration names: whether they are there, and what they should be.

use super::check::{Finding, Severity};
use super::document::Document;
use super::{CertificateFiles, Settings};
use crate::certificates::Certificate;
use secevent_http::{Client, ClientConfig, Credentialed, PushCredential, TlsConfig};
use std::path::Path;

/// What is wrong with them. Secrets and schemas were read when the settings were made.
pub(super) fn findings(document: &Document, settings: &Settings) -> Vec<Finding> {
    let mut files = Files { document, findings: Vec::new() };
    files.store(&settings.database);
    files.certificate("server.tls", settings.listen.tls.as_ref());
    files.certificate("server.admin_tls", settings.listen.admin_tls.as_ref());
    files.authorities(&settings.outgoing.tls);
    for (number, shown) in settings.push_credentials.iter().enumerate() {
        if shown.files.is_some() {
            files.shown_certificate(&format!("push_credential[{number}].certificate"), &shown.credential);
        }
    }
    files.findings
}

struct Files<'a> {
    document: &'a Document,
    findings: Vec<Finding>,
}

impl Files<'_> {
    fn note(&mut self, severity: Severity, place: &str, reason: &str, fix: &str) {
        self.findings.push(Finding {
            severity,
            file: self.document.path.as_ref().map(|path| path.display().to_string()),
            line: self.document.line(place),
            key: place.to_owned(),
            reason: format!("{place}: {reason}"),
            fix: Some(fix.to_owned()),
        });
    }

    /// The directory has to be there; the server makes the file.
    fn store(&mut self, database: &Path) {
        let folder = match database.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if database.is_dir() {
            let reason = format!("{} is a directory", database.display());
            return self.note(Severity::Error, "store.url", &reason, "name a file in it");
        }
        if !folder.is_dir() {
            let reason = format!("there is no directory {}", folder.display());
            let fix = "make the directory, and give it to the server's user";
            return self.note(Severity::Error, "store.url", &reason, fix);
        }
        #[cfg(unix)]
        if rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err() {
            let reason = format!("the user of this command cannot write in {}", folder.display());
            let fix = "run this as the server's user, or give the directory to it";
            self.note(Severity::Warning, "store.url", &reason, fix);
        }
    }

    fn certificate(&mut self, place: &str, files: Option<&CertificateFiles>) {
        let Some(files) = files else { return };
        if let Err(error) = Certificate::read(files.clone()) {
            let fix = "name PEM files that the server's user can read: a certificate and its own key";
            self.note(Severity::Error, place, &format!("{error:#}"), fix);
        }
    }

    fn authorities(&mut self, tls: &TlsConfig) {
        if tls.extra_ca_pem.is_empty() {
            return;
        }
        let config = ClientConfig { tls: tls.clone(), ..ClientConfig::default() };
        if let Err(error) = Client::new(config) {
            let fix = "name a PEM file with the certificates of authorities";
            self.note(Severity::Error, "outgoing.extra_ca", &error.to_string(), fix);
        }
    }

    fn shown_certificate(&mut self, place: &str, credential: &PushCredential) {
        let shown = Credentialed::new(&ClientConfig::default(), vec![credential.clone()]);
        let Err(error) = shown else { return };
        let fix = "name PEM files of a certificate and its own key";
        self.note(Severity::Error, place, &error.to_string(), fix);
    }
}
