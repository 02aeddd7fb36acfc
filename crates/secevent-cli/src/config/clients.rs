//! `[[client]]`, `[authorization]`, `[[authorization_server]]` and `[limits]`: who may call, who vouches for that, and
//! how often.

use super::{OneOrMany, SecretSource};
use anyhow::{Context as _, bail, ensure};
use secevent::{Audience, Issuer};
use secevent_jose::Algorithm;
use secevent_server::{
    AuthorizationServerConfig, ClientConfig, ClientLimits, ClientSettings, Limits, Scope, SubjectLimits,
};
use secevent_ssf::Endpoint;
use secevent_transmitter::{PollOptions, PollOrder};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientEntry {
    id: String,
    secret: Option<SecretSource>,
    scopes: Vec<String>,
    audience: Option<OneOrMany>,
    issuers: Option<Vec<String>>,
    events: Option<Vec<String>>,
    subjects: Option<SubjectLimits>,
    token_lifetime_seconds: Option<u32>,
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    algorithms: Option<Vec<String>>,
    limits: Option<ClientLimits>,
    algorithm: Option<String>,
    poll_visibility_seconds: Option<u64>,
    poll_order: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    built_in: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorizationServerEntry {
    issuer: String,
    audience: String,
    jwks_uri: Option<String>,
    algorithms: Option<Vec<String>>,
    #[serde(default)]
    untyped_tokens: bool,
    client_claim: Option<String>,
    #[serde(default)]
    scopes: BTreeMap<String, Scope>,
    clients: Option<Vec<String>>,
}

impl ClientEntry {
    /// The client and what its SETs are signed with, if that is not what its issuer signs with.
    pub(super) fn signed_with(&self) -> anyhow::Result<Option<(String, Algorithm)>> {
        let Some(name) = &self.algorithm else { return Ok(None) };
        let at = || format!("client {:?}: algorithm {name:?}", self.id);
        Ok(Some((self.id.clone(), name.parse().with_context(at)?)))
    }

    /// The client and how its streams are polled, if it says so.
    pub(super) fn polled(&self) -> anyhow::Result<Option<(String, PollOptions)>> {
        let read = poll_options(self.poll_visibility_seconds, self.poll_order.as_deref());
        let options = read.map_err(|error| anyhow::anyhow!("client {:?}: {error}", self.id))?;
        Ok((!options.are_unset()).then(|| (self.id.clone(), options)))
    }

    /// Reads a client. Whether its settings make sense is for the server's own check, which knows event types and
    /// issuers.
    pub(super) fn settle(self, built_in: bool) -> anyhow::Result<ClientConfig> {
        let at = |what: &str| format!("client {:?}: {what}", self.id);
        ensure!(!self.id.is_empty(), "client.id must not be empty");
        let by_keys = self.jwks.is_some() || self.jwks_uri.is_some();
        let secret = match &self.secret {
            Some(_) if by_keys => {
                bail!(at("secret and keys are both there: state one way to prove who it is"))
            }
            Some(source) => {
                let secret = source.read(&format!("client.secret of {:?}", self.id))?;
                ensure!(
                    secret.len() >= 16,
                    at("secret must have 16 characters or more, or it can be guessed")
                );
                Some(secret)
            }
            None if built_in && !by_keys => {
                bail!(at("secret is missing: state one, or jwks or jwks_uri for a client that signs"))
            }
            None => None,
        };
        let scope = |name: &String| {
            let known = Scope::ALL.map(Scope::name).join(", ");
            Scope::named(name).with_context(|| at(&format!("there is no scope {name:?}; known are {known}")))
        };
        let scopes = self.scopes.iter().map(scope).collect::<anyhow::Result<Vec<_>>>()?;
        let audience = match self.audience {
            Some(OneOrMany::One(name)) => Some(Audience::One(name)),
            Some(OneOrMany::Many(names)) if !names.is_empty() => Some(Audience::Many(names)),
            // Who only sends events or administers receives no SETs, and needs no name in them.
            None if scopes.iter().all(|scope| matches!(scope, Scope::Write | Scope::Admin)) => None,
            _ => bail!(at("audience is missing: state what the receiver is called in the `aud` of its SETs")),
        };
        let settings = ClientSettings {
            scopes,
            audience,
            issuers: self.issuers,
            events: self.events,
            subjects: self.subjects,
            token_lifetime_seconds: self.token_lifetime_seconds,
            jwks: self.jwks,
            jwks_uri: self.jwks_uri,
            algorithms: self.algorithms,
            limits: self.limits,
        };
        Ok(ClientConfig { id: self.id, secret, settings })
    }
}

/// How a client or a stream is polled. An error begins with the name of the setting.
pub(super) fn poll_options(
    visibility_seconds: Option<u64>,
    order: Option<&str>,
) -> anyhow::Result<PollOptions> {
    if let Some(seconds) = visibility_seconds {
        let most = 24 * 3600;
        ensure!(
            (1..=most).contains(&seconds),
            "poll_visibility_seconds is {seconds}: it must be 1 to {most} seconds"
        );
    }
    let read = |name| {
        PollOrder::named(name)
            .with_context(|| format!("poll_order is {name:?}: it must be per-subject or batched"))
    };
    Ok(PollOptions { visibility_seconds, order: order.map(read).transpose()? })
}

impl Authorization {
    /// Whether this program gives access tokens itself. `elsewhere` tells whether somebody else does.
    pub(super) fn built_in(&self, elsewhere: bool) -> anyhow::Result<bool> {
        let built_in = self.built_in.unwrap_or(true);
        ensure!(
            built_in || elsewhere,
            "authorization.built_in is false, and there is no [[authorization_server]]: nobody could get a token"
        );
        Ok(built_in)
    }
}

/// The authorization servers elsewhere, each there once, and none of them this server.
pub(super) fn authorization_servers(
    entries: Vec<AuthorizationServerEntry>,
    parse: &impl Fn(&str) -> Result<Issuer, secevent::Invalid>,
    public_url: &str,
) -> anyhow::Result<Vec<AuthorizationServerConfig>> {
    let mut servers: Vec<AuthorizationServerConfig> = Vec::new();
    for entry in entries {
        let server = entry.settle(parse)?;
        let issuer = server.issuer.as_str();
        ensure!(
            issuer != public_url,
            "authorization_server.issuer {issuer:?} is server.public_url, which names this server itself"
        );
        let twice = servers.iter().any(|other| other.issuer == server.issuer);
        ensure!(!twice, "authorization_server.issuer {issuer:?} is declared twice");
        servers.push(server);
    }
    Ok(servers)
}

impl AuthorizationServerEntry {
    fn settle(
        self,
        parse: &impl Fn(&str) -> Result<Issuer, secevent::Invalid>,
    ) -> anyhow::Result<AuthorizationServerConfig> {
        let name = self.issuer.clone();
        let at = |what: String| format!("authorization_server {name:?}: {what}");
        let issuer = parse(&self.issuer)
            .map_err(|error| anyhow::anyhow!("authorization_server.issuer {name:?} {}", error.problem()))?;
        ensure!(!self.audience.is_empty(), at("audience must not be empty".to_owned()));
        let mut config = AuthorizationServerConfig::new(issuer, self.audience);
        if let Some(uri) = &self.jwks_uri {
            let endpoint = match self.issuer.starts_with("https:") {
                true => uri.parse(),
                false => Endpoint::parse_insecure(uri),
            };
            let endpoint = endpoint.map_err(|error: secevent::Invalid| {
                anyhow::anyhow!(at(format!("jwks_uri {}", error.problem())))
            })?;
            config.jwks_uri = Some(endpoint);
        }
        if let Some(names) = self.algorithms {
            ensure!(!names.is_empty(), at("algorithms is empty: leave it out for the usual ones".to_owned()));
            let read = |name: &String| {
                let known = name.parse::<Algorithm>();
                known.map_err(|error| anyhow::anyhow!(at(format!("algorithms: {error}"))))
            };
            config.algorithms =
                names.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?.into_iter().collect();
        }
        config.untyped_tokens = self.untyped_tokens;
        config.client_claim = self.client_claim.unwrap_or(config.client_claim);
        config.scopes = self.scopes;
        config.clients = self.clients;
        Ok(config)
    }
}

/// `[limits]`: what holds for clients that say nothing of their own.
pub(super) fn limits(limits: Option<&ClientLimits>) -> anyhow::Result<Limits> {
    Limits::default().with(limits).map_err(|error| anyhow::anyhow!("{} {}", error.member(), error.problem()))
}

#[cfg(test)]
mod tests {
    use crate::config::{File, Overrides, Settings};
    use secevent_server::{Rate, Scope};

    const GOOD: &str = r#"
        [server]
        public_url = "https://events.example.com"
        [secrets]
        key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        [authorization]
        built_in = true
        [[authorization_server]]
        issuer = "https://as.example"
        audience = "https://events.example.com"
        untyped_tokens = true
        client_claim = "azp"
        scopes = { "events-reader" = "ssf.read" }
        clients = ["signer"]
        [limits]
        requests_per_second = 20
        events_per_second = 100
        [[issuer]]
        url = "https://events.example.com"
        default_subjects = "ALL"
        [[client]]
        id = "signer"
        jwks_uri = "https://signer.example/jwks.json"
        algorithms = ["ES256"]
        scopes = ["ssf.manage", "events.write"]
        audience = "https://signer.example"
        issuers = ["https://events.example.com"]
        events = ["caep:*"]
        subjects = { email_domains = ["example.com"], issuers = ["https://idp.example"] }
        token_lifetime_seconds = 300
        limits = { tokens_per_second = 2, tokens_burst = 4 }
    "#;

    fn settle(text: &str) -> anyhow::Result<Settings> {
        File::parse(text).and_then(|file| file.settle(Overrides::default()))
    }

    #[test]
    fn what_is_said_of_clients_is_what_they_get() {
        let settings = settle(GOOD).unwrap();
        let server = &settings.authorization_servers[0];
        assert!(settings.built_in_authorization && server.untyped_tokens);
        assert_eq!((server.issuer.as_str(), server.client_claim.as_str()), ("https://as.example", "azp"));
        assert_eq!(server.scopes["events-reader"], Scope::Read);
        assert_eq!(server.clients.as_deref(), Some(&["signer".to_owned()][..]));
        assert_eq!(settings.limits.requests, Rate { per_second: 20, burst: 1_000 });
        assert_eq!(settings.limits.events, Some(Rate { per_second: 100, burst: 100 }));
        let client = &settings.clients[0];
        assert_eq!((client.id.as_str(), &client.secret), ("signer", &None));
        assert_eq!(client.settings.events.as_deref(), Some(&["caep:*".to_owned()][..]));
        assert_eq!(client.settings.subjects.as_ref().unwrap().issuers, ["https://idp.example"]);
        assert_eq!(client.settings.token_lifetime_seconds, Some(300));
        assert_eq!(client.settings.limits.unwrap().tokens_burst, Some(4));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_place_and_the_fix() {
        for (from, to, told) in [
            ("built_in = true", "built_in = \"yes\"", "line 7, column 20: invalid type: string"),
            (
                "issuer = \"https://as",
                "issuer = \"http://as",
                "authorization_server.issuer \"http://as.example\"",
            ),
            ("untyped_tokens", "untyped", "unknown field `untyped`"),
            ("\"ssf.read\" }", "\"all\" }", "there is no scope \"all\""),
            (
                "requests_per_second = 20",
                "requests_per_second = 0",
                "limits.requests_per_second is 0: it must be 1",
            ),
            ("events_per_second = 100", "events_burst = 100", "limits.events_burst says nothing without"),
            (
                "jwks_uri = \"https://signer",
                "secret = \"0123456789abcdef\"\njwks_uri = \"https://signer",
                "both there",
            ),
            ("jwks_uri = \"https://signer.example/jwks.json\"", "", "secret is missing: state one, or jwks"),
            ("{ tokens_per_second", "{ tokens", "unknown field `tokens`"),
            // What the server says when it takes the client up.
            (
                "[\"https://events.example.com\"]\n        events",
                "[\"https://x.example\"]\n        events",
                "client \"signer\": issuers has \"https://x.example\", which is none of ours",
            ),
            ("[\"caep:*\"]", "[\"caep:nothing\"]", "client \"signer\": events has \"caep:nothing\""),
            ("[\"caep:*\"]", "[]", "client \"signer\": events is empty"),
            ("[\"ssf.manage\", \"events.write\"]", "[]", "client \"signer\": scopes is empty"),
            ("[\"ES256\"]", "[]", "client \"signer\": algorithms is empty"),
            (
                "[\"example.com\"], issuers",
                "[\"a@example.com\"], issuers",
                "client \"signer\": subjects has the domain",
            ),
            (
                "tokens_per_second = 2",
                "tokens_per_second = 0",
                "client \"signer\": limits.tokens_per_second is 0",
            ),
            (
                "jwks_uri = \"https://signer",
                "jwks = { keys = [] }\njwks_uri = \"https://signer",
                "client \"signer\": jwks_uri is there beside jwks",
            ),
            (
                "jwks_uri = \"https://signer.example/jwks.json\"",
                "jwks = { keys = [] }",
                "client \"signer\": jwks has no key",
            ),
            (
                "jwks_uri = \"https://signer.example/jwks.json\"",
                "secret = \"0123456789abcdef\"",
                "client \"signer\": algorithms says nothing without",
            ),
            (
                "issuer = \"https://as.example\"",
                "issuer = \"https://events.example.com\"",
                "authorization_server.issuer \"https://events.example.com\" is server.public_url",
            ),
            (
                "[limits]",
                "[[authorization_server]]\nissuer = \"https://as.example\"\naudience = \"x\"\n[limits]",
                "authorization_server.issuer \"https://as.example\" is declared twice",
            ),
        ] {
            let refused = settle(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(format!("{refused:#}").contains(told), "{told}: {refused:#}");
        }
        let alone = GOOD.replacen("built_in = true", "built_in = false", 1);
        assert!(!settle(&alone).unwrap().built_in_authorization);
        let (before, rest) = alone.split_once("[[authorization_server]]").unwrap();
        let (_, after) = rest.split_once("[limits]").unwrap();
        let refused = settle(&format!("{before}[limits]{after}")).unwrap_err();
        assert!(refused.to_string().contains("there is no [[authorization_server]]"), "{refused}");
    }
}
