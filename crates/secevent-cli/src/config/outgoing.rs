//! `[[push_credential]]`, and the proxy of `[outgoing]`.

use super::SecretSource;
use super::listen::CertificateFiles;
use anyhow::{Context as _, bail, ensure};
use secevent_http::{ClientConfig, Identity, OAuth, Proof, ProxyConfig, PushCredential, SecretPlace};
use secevent_ssf::Secret;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// `[[push_credential]]`: what a receiver wants to see beyond a header that it has told us.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    client: Option<String>,
    endpoint: Option<String>,
    oauth: Option<OAuthEntry>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    reload_seconds: Option<u64>,
}

/// What is shown to receivers, and where it stands if it is a certificate.
#[derive(Clone, Debug)]
pub(crate) struct ShownCredential {
    pub(crate) credential: PushCredential,
    pub(crate) files: Option<CertificateFiles>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OAuthEntry {
    token_url: String,
    client_id: String,
    secret: SecretSource,
    scope: Option<String>,
    auth: Option<String>,
}

/// The proxy, as `[outgoing]` tells it.
#[derive(Debug, Default)]
pub(super) struct ProxyEntry<'a> {
    pub(super) url: Option<&'a str>,
    pub(super) credential: Option<&'a SecretSource>,
    pub(super) resolves: bool,
    pub(super) exceptions: &'a [String],
}

impl Entry {
    pub(super) fn settle(self, outgoing: &ClientConfig) -> anyhow::Result<ShownCredential> {
        let name = self.client.as_deref().or(self.endpoint.as_deref()).unwrap_or_default().to_owned();
        let at = |what: &str| format!("push_credential {name:?}: {what}");
        ensure!(!name.is_empty(), "push_credential: say for whom it is, with client, endpoint or both");
        let url = |name: &str, text: &str| {
            let uri = text.parse::<http::Uri>().ok().filter(|uri| uri.authority().is_some());
            let scheme = |uri: &http::Uri| {
                uri.scheme_str() == Some("https")
                    || (outgoing.allow_plain_http && uri.scheme_str() == Some("http"))
            };
            let uri = uri.filter(scheme).with_context(|| at(&format!("{name} must be an https URL")))?;
            let refused = |refused: secevent_ssf::UrlRefused| {
                let fix = super::warn::admitting(outgoing, &uri);
                at(&format!("{name} cannot be reached: {refused}: {fix}"))
            };
            outgoing.check_url(&uri).map_err(|error| anyhow::anyhow!(refused(error)))?;
            anyhow::Ok(uri)
        };
        let mut files = None;
        let proof = match (&self.oauth, &self.certificate, &self.key) {
            (Some(_), None, None) if self.reload_seconds.is_some() => {
                bail!(at("reload_seconds belongs to certificate and key"))
            }
            (Some(oauth), None, None) => Proof::OAuth(OAuth {
                token_url: url("oauth.token_url", &oauth.token_url)?,
                client_id: oauth.client_id.clone(),
                secret: Secret::new(oauth.secret.read(&at("oauth.secret"))?),
                scope: oauth.scope.clone(),
                place: match oauth.auth.as_deref() {
                    None | Some("basic") => SecretPlace::Basic,
                    Some("post") => SecretPlace::Post,
                    Some(other) => bail!(at(&format!("oauth.auth is {other:?}: it must be basic or post"))),
                },
            }),
            (None, Some(certificate), Some(key)) => {
                let read = |name: &str, path: &Path| {
                    let what = || at(&format!("{name}: cannot read {}", path.display()));
                    std::fs::read_to_string(path).with_context(what)
                };
                let name = at("reload_seconds");
                files = Some(CertificateFiles::new(certificate, key, self.reload_seconds, &name)?);
                Proof::Identity(Box::new(Identity {
                    certificate_pem: read("certificate", certificate)?,
                    key_pem: Secret::new(read("key", key)?),
                }))
            }
            _ => bail!(at("it needs either oauth, or certificate and key")),
        };
        let endpoint = self.endpoint.as_deref().map(|text| url("endpoint", text)).transpose()?;
        Ok(ShownCredential { credential: PushCredential { client: self.client, endpoint, proof }, files })
    }
}

impl ProxyEntry<'_> {
    pub(super) fn settle(&self) -> anyhow::Result<Option<ProxyConfig>> {
        let Some(url) = self.url else {
            ensure!(
                self.credential.is_none() && !self.resolves && self.exceptions.is_empty(),
                "outgoing.proxy is missing: proxy_credential, proxy_resolves and no_proxy need one"
            );
            return Ok(None);
        };
        let credential =
            self.credential.map(|secret| secret.read("outgoing.proxy_credential")).transpose()?;
        Ok(Some(ProxyConfig {
            url: url.to_owned(),
            credential: credential.map(Secret::new),
            resolves: self.resolves,
            exceptions: self.exceptions.to_vec(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(toml: &str) -> Result<ShownCredential, String> {
        let entry: Entry = toml::from_str(toml).map_err(|error| error.to_string())?;
        entry.settle(&ClientConfig::default()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn credentials_are_read_and_wrong_ones_named() {
        let oauth = "oauth = { token_url = \"https://as.example/token\", client_id = \"us\", secret = \"hush-hush\" }";
        let good = settle(&format!("client = \"billing\"\n{oauth}")).unwrap();
        assert_eq!(good.credential.client.as_deref(), Some("billing"));
        assert!(!format!("{good:?}").contains("hush"), "{good:?}");
        for (toml, told) in [
            (oauth.to_owned(), "say for whom it is"),
            ("client = \"billing\"".to_owned(), "needs either oauth"),
            (format!("client = \"billing\"\nkey = \"k\"\n{oauth}"), "needs either oauth"),
            ("client = \"billing\"\ncertificate = \"absent.pem\"\nkey = \"k\"".to_owned(), "absent.pem"),
            (format!("client = \"billing\"\nreload_seconds = 5\n{oauth}"), "reload_seconds belongs to"),
            (
                "client = \"b\"\ncertificate = \"Cargo.toml\"\nkey = \"Cargo.toml\"\nreload_seconds = 0"
                    .to_owned(),
                "reload_seconds is 0: it must be 1 to 86400 seconds",
            ),
            (format!("endpoint = \"http://rp.example\"\n{oauth}"), "endpoint must be an https URL"),
            (format!("client = \"b\"\n{}", oauth.replace("https:", "http:")), "oauth.token_url must be"),
            (
                format!("client = \"b\"\n{}", oauth.replace(" }", ", auth = \"jwt\" }")),
                "it must be basic or post",
            ),
        ] {
            let refused = settle(&toml).unwrap_err();
            assert!(refused.contains(told), "{told}: {refused}");
        }
    }
}
