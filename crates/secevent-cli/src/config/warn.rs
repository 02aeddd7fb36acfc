//! What a server starts with, and one should know all the same.

use super::check::{Finding, Severity};
use super::document::Document;
use super::reference::SECTIONS;
use super::table::{Kind, Setting};
use super::{Overrides, Settings};
use crate::descriptors;
use http::Uri;
use secevent_http::{ClientConfig, Ports};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use toml::Value;

/// All of it.
pub(super) fn warnings(document: &Document, overrides: &Overrides, settings: &Settings) -> Vec<Finding> {
    let mut warnings = Warnings { document, findings: Vec::new() };
    warnings.of_listeners(overrides, settings);
    warnings.of_secrets();
    if !overrides.dev {
        warnings.of_the_network(settings);
    }
    warnings.of_authorization_servers(settings);
    warnings.of_times(settings);
    warnings.of_issuers(settings);
    warnings.findings
}

/// That fewer connections fit into the limit of open files than the settings allow.
pub(super) fn of_descriptors(
    document: &Document,
    settings: &Settings,
    limit: Option<u64>,
) -> Option<Finding> {
    let wanted = settings.listen.listening.limits.connections_max;
    let shares = descriptors::share(limit, wanted, settings.outgoing.connections_max);
    if !shares.is_reduced(wanted) {
        return None;
    }
    let mut warnings = Warnings { document, findings: Vec::new() };
    let reason = format!("server.connections_max is {wanted}, but {shares}");
    let fix = format!(
        "raise the hard limit to {} (LimitNOFILE= in systemd, `ulimit -Hn`), or set server.connections_max to {}",
        shares.enough, shares.public
    );
    warnings.note("server.connections_max", reason, &fix);
    warnings.findings.pop()
}

struct Warnings<'a> {
    document: &'a Document,
    findings: Vec<Finding>,
}

impl Warnings<'_> {
    fn note(&mut self, place: &str, reason: impl Into<String>, fix: &str) {
        self.findings.push(Finding {
            severity: Severity::Warning,
            file: self.document.path.as_ref().map(|path| path.display().to_string()),
            line: self.document.line(place),
            key: place.to_owned(),
            reason: reason.into(),
            fix: Some(fix.to_owned()),
        });
    }

    fn of_listeners(&mut self, overrides: &Overrides, settings: &Settings) {
        let url = &settings.public_url;
        if url.starts_with("http:") && !overrides.dev {
            let reason = format!("server.public_url is {url}: the server can only be used on this machine");
            self.note("server.public_url", reason, "write the https URL under which others see this server");
        }
        let written = self.document.value("server", "listen").and_then(Value::as_str);
        let listen = overrides.listen.or_else(|| written?.parse().ok());
        let open = listen.filter(|listen| !listen.ip().is_loopback());
        if let (Some(listen), None) = (open, self.document.value("server", "tls")) {
            let reason = format!(
                "server.listen is {listen}, where others reach it over plain http: tokens can be read on the way"
            );
            self.note(
                "server.listen",
                reason,
                "give it a certificate with server.tls, or see to it that only what speaks TLS for it can reach it",
            );
        }
        let admin = settings.admin.as_ref().map(|admin| admin.address);
        let open = admin.filter(|address| !address.ip().is_loopback());
        if let (Some(address), None) = (open, &settings.listen.admin_tls) {
            let reason = format!("server.admin_listen is {address}, where others reach it over plain http");
            self.note(
                "server.admin_listen",
                reason,
                "give it a certificate with server.admin_tls, or listen on loopback",
            );
        }
    }

    fn of_secrets(&mut self) {
        let document = self.document;
        let mut places = Vec::new();
        for section in SECTIONS {
            let Some(value) = document.table.get(section.name) else { continue };
            let entries = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for (number, entry) in entries.iter().enumerate() {
                let place = if section.many {
                    format!("{}[{number}]", section.name)
                } else {
                    section.name.to_owned()
                };
                plain_secrets(&place, section.settings, entry, &mut places);
            }
        }
        let fix = "write { env = \"VARIABLE\" } or { file = \"FILE\" } instead";
        for place in &places {
            self.note(place, format!("{place} stands in the file, which may be copied and shown"), fix);
        }
        #[cfg(unix)]
        if !places.is_empty() {
            self.of_readable_secrets();
        }
    }

    /// A file with secrets that everybody on the machine may read.
    #[cfg(unix)]
    fn of_readable_secrets(&mut self) {
        use std::os::unix::fs::PermissionsExt as _;
        let Some(path) = &self.document.path else { return };
        let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) {
            let reason =
                format!("{} holds secrets, and everybody on this machine may read it", path.display());
            self.note("", reason, "chmod o-r, or keep the secrets elsewhere");
        }
    }

    fn of_the_network(&mut self, settings: &Settings) {
        if settings.allow_plain_http {
            let reason =
                "outgoing.allow_plain_http is true: SETs and credentials go over the network in the clear";
            self.note("outgoing.allow_plain_http", reason, "remove it, and give receivers https URLs");
        }
        let wide: Vec<String> = settings
            .outgoing
            .allow_networks
            .iter()
            .filter(|network| network.prefix_len() < 8)
            .map(ToString::to_string)
            .collect();
        for network in wide {
            let reason = format!(
                "outgoing.allow_networks has {network}: whoever may set the URL of a stream reaches nearly everything"
            );
            self.note("outgoing.allow_networks", reason, "name the networks in which receivers are");
        }
        if matches!(&settings.outgoing.ports, Ports::Only(ports) if !ports.contains(&443)) {
            let reason =
                "outgoing.allow_ports is without 443: receivers at https URLs without a port are not reached";
            self.note("outgoing.allow_ports", reason, "add 443, unless no receiver is to be reached there");
        }
    }

    /// Authorization servers that `[outgoing]` keeps the server from. (With clients' keys and push credentials out of
    /// reach it does not start.)
    fn of_authorization_servers(&mut self, settings: &Settings) {
        for (number, server) in settings.authorization_servers.iter().enumerate() {
            let (key, url) = match &server.jwks_uri {
                Some(uri) => ("jwks_uri", uri.as_str()),
                None => ("issuer", server.issuer.as_str()),
            };
            let Some((why, fix)) = out_of_reach(&settings.outgoing, url) else { continue };
            let place = format!("authorization_server[{number}].{key}");
            let lost = "its keys cannot be fetched, and its clients get 503";
            self.note(&place, format!("{place} is {url}, {why}: {lost}"), &fix);
        }
    }

    fn of_times(&mut self, settings: &Settings) {
        let transmitter = &settings.transmitter;
        let age_max = transmitter.retry.age_max;
        let seconds = age_max.as_secs();
        if age_max <= transmitter.retry.delay_max {
            let reason = format!(
                "delivery.age_max_seconds is {seconds}, no more than delivery.retry_delay_max_seconds: a SET may be given up before it is tried again"
            );
            self.note(
                "delivery.age_max_seconds",
                reason,
                "make it several times delivery.retry_delay_max_seconds",
            );
        }
        if age_max < transmitter.pause_after {
            let reason = format!(
                "delivery.age_max_seconds is {seconds}, less than delivery.pause_after_seconds: SETs of a receiver in trouble are given up before its stream is paused"
            );
            self.note("delivery.age_max_seconds", reason, "make it more than delivery.pause_after_seconds");
        }
        let kept = transmitter.key_times.keep_behind;
        if age_max > kept {
            let reason = format!(
                "delivery.age_max_seconds is {seconds}, more than keys.keep_behind_seconds ({}): when a key is published no more, SETs that it signed may still be tried, and have to be signed anew",
                kept.as_secs()
            );
            self.note("delivery.age_max_seconds", reason, "make keys.keep_behind_seconds more than it");
        }
        if age_max < transmitter.push_timeout {
            let reason =
                format!("delivery.age_max_seconds is {seconds}, less than delivery.push_timeout_seconds");
            self.note("delivery.age_max_seconds", reason, "make it more than delivery.push_timeout_seconds");
        }
    }

    fn of_issuers(&mut self, settings: &Settings) {
        let below = |url: &str| {
            url.strip_prefix(settings.public_url.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for (number, issuer) in settings.transmitter.issuers.iter().enumerate() {
            let url = issuer.url.as_str();
            if !below(url) {
                let reason = format!(
                    "issuer.url is {url}, which is not below server.public_url ({}): others may not find its metadata here",
                    settings.public_url
                );
                self.note(
                    &format!("issuer[{number}].url"),
                    reason,
                    "make sure that this URL leads to this server",
                );
            }
        }
    }
}

/// Why `[outgoing]` keeps the server from this URL, as far as the URL alone shows, and what to do about it.
pub(crate) fn out_of_reach(outgoing: &ClientConfig, url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let refused = outgoing.check_url(&uri).err()?;
    Some((format!("which cannot be reached ({refused})"), admitting(outgoing, &uri)))
}

/// All that has to change so that `[outgoing]` admits a URL that it does not admit.
pub(super) fn admitting(outgoing: &ClientConfig, uri: &Uri) -> String {
    let plain = uri.scheme_str() == Some("http");
    let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
    let mut changes = Vec::new();
    if plain && !outgoing.allow_plain_http {
        changes.push("set outgoing.allow_plain_http = true".to_owned());
    }
    if let Ports::Only(ports) = &outgoing.ports
        && !outgoing.ports.admits(port)
    {
        let ports: BTreeSet<u16> = ports.iter().copied().chain([port]).collect();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        changes.push(format!("set outgoing.allow_ports = [{}]", ports.join(", ")));
    }
    // What is left is the address.
    let mut trial = ClientConfig { allow_plain_http: true, ports: Ports::Any, ..outgoing.clone() };
    let network = network_of(uri);
    if trial.check_url(uri).is_err()
        && let Some(network) = &network
    {
        if let Ok(network) = network.parse() {
            trial.allow_networks.push(network);
        }
        if trial.check_url(uri).is_err() {
            return "use the address of the receiver: this server itself listens here".to_owned();
        }
        changes.push(format!("add \"{network}\" to outgoing.allow_networks"));
    }
    let is_loopback = network.is_some_and(|network| [LOOPBACK_4, LOOPBACK_6].contains(&network.as_str()));
    let development = if is_loopback { " (--dev permits all of this for receivers on loopback)" } else { "" };
    let https =
        if plain && !outgoing.allow_plain_http { "use an https URL, or for development " } else { "" };
    format!("{https}{}{development}", changes.join(", "))
}

const LOOPBACK_4: &str = "127.0.0.0/8";
const LOOPBACK_6: &str = "::1/128";

/// The smallest network that one would allow for the address in a URL. None for a name, which is judged when it is resolved.
fn network_of(uri: &Uri) -> Option<String> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let ip = match host.to_ascii_lowercase().as_str() {
        "localhost" | "localhost." => IpAddr::from(Ipv4Addr::LOCALHOST),
        host if host.ends_with(".localhost") => IpAddr::from(Ipv4Addr::LOCALHOST),
        host => host.parse().ok()?,
    };
    Some(match ip {
        IpAddr::V4(ip) if ip.is_loopback() => LOOPBACK_4.to_owned(),
        IpAddr::V4(ip) => format!("{ip}/32"),
        IpAddr::V6(ip) => format!("{ip}/128"),
    })
}

/// The places of secrets that are written down as they are.
fn plain_secrets(place: &str, settings: &[Setting], value: &Value, places: &mut Vec<String>) {
    for setting in settings {
        let Some(value) = value.get(setting.key) else { continue };
        let place = format!("{place}.{}", setting.key);
        match (setting.kind, value) {
            (Kind::Secret, Value::String(_)) => places.push(place),
            (Kind::Secrets, Value::Array(all)) => {
                let plain = all.iter().enumerate().filter(|(_, one)| one.is_str());
                places.extend(plain.map(|(number, _)| format!("{place}[{number}]")));
            }
            (Kind::Table(inner), value) => plain_secrets(&place, inner, value, places),
            _ => {}
        }
    }
}
