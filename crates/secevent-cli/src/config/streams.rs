//! `[[stream]]`: streams that the operator declares.

use super::SecretSource;
use super::clients::poll_options;
use anyhow::{Context as _, bail, ensure};
use secevent::{Audience, Issuer, Vocabulary};
use secevent_http::ClientConfig as OutgoingConfig;
use secevent_server::{ClientConfig, Scope};
use secevent_ssf::{DESCRIPTION_CHARS_MAX, DeliveryRequest, Endpoint};
use secevent_transmitter::{Client, DeclaredStream, IssuerConfig, PollOptions};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamEntry {
    name: String,
    client: String,
    issuer: Option<String>,
    events: Vec<String>,
    delivery: DeliveryEntry,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryEntry {
    method: String,
    endpoint_url: Option<String>,
    authorization: Option<SecretSource>,
    poll_visibility_seconds: Option<u64>,
    poll_order: Option<String>,
}

/// What the rest of the file says, as streams are concerned.
pub(super) struct Around<'a> {
    pub(super) issuers: &'a [IssuerConfig],
    pub(super) clients: &'a [ClientConfig],
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) outgoing: &'a OutgoingConfig,
}

/// The streams that are declared.
pub(super) fn settle(entries: Vec<StreamEntry>, around: &Around<'_>) -> anyhow::Result<Vec<DeclaredStream>> {
    let mut streams: Vec<DeclaredStream> = Vec::new();
    for entry in entries {
        let stream = entry.settle(around)?;
        let twice = streams.iter().any(|other| other.name == stream.name);
        ensure!(!twice, "stream.name {:?} is declared twice", stream.name);
        streams.push(stream);
    }
    Ok(streams)
}

impl StreamEntry {
    fn settle(self, around: &Around<'_>) -> anyhow::Result<DeclaredStream> {
        let name = self.name;
        let at = |what: &str| format!("stream {name:?}: {what}");
        ensure!(!name.is_empty(), "stream.name must not be empty");
        let client = around.clients.iter().find(|client| client.id == self.client);
        let client = client
            .with_context(|| at(&format!("client {:?} is none that a [[client]] declares", self.client)))?;
        ensure!(
            client.settings.scopes.iter().any(|scope| matches!(scope, Scope::Read | Scope::Manage)),
            at(&format!("client {:?} needs the scope ssf.read or ssf.manage to receive", self.client))
        );
        let issuer =
            issuer_of(self.issuer.as_deref(), around.issuers).map_err(|what| anyhow::anyhow!(at(&what)))?;
        let (mut carries, mut unknown) = (false, None);
        for pattern in &self.events {
            let mut found = around.vocabulary.matching(pattern).peekable();
            if found.peek().is_none() {
                unknown = unknown.or(Some(pattern));
            }
            carries |= found.any(|definition| is_supported(issuer, definition.uri(), around.vocabulary));
        }
        if let Some(unknown) = unknown {
            bail!(at(&format!("events has {unknown:?}, and no event type is named that")));
        }
        ensure!(
            carries,
            at(&format!(
                "events has no type that the issuer {} supports, so it would carry nothing",
                issuer.url
            ))
        );
        if let Some(description) = &self.description {
            let chars = description.chars().count();
            ensure!(
                chars <= DESCRIPTION_CHARS_MAX,
                at(&format!("description has {chars} characters, and {DESCRIPTION_CHARS_MAX} is the most"))
            );
        }
        let of_delivery = |error: anyhow::Error| anyhow::anyhow!(at(&format!("delivery {error:#}")));
        let polls = self.delivery.polls().map_err(of_delivery)?;
        let delivery = self.delivery.settle(&name, around.outgoing).map_err(of_delivery)?;
        let audience = client.settings.audience.clone();
        let audience = audience.unwrap_or_else(|| Audience::One(client.id.clone()));
        let client = Client { id: client.id.clone(), audience };
        let issuer = issuer.url.to_string();
        Ok(DeclaredStream {
            name,
            issuer,
            client,
            events: self.events,
            delivery,
            polls,
            description: self.description,
        })
    }
}

fn issuer_of<'a>(named: Option<&str>, issuers: &'a [IssuerConfig]) -> Result<&'a IssuerConfig, String> {
    match (named, issuers) {
        (None, [only]) => Ok(only),
        (None, _) => Err("issuer is missing: there are several, so say whose events it carries".to_owned()),
        (Some(named), issuers) => {
            let is_it = |issuer: &&IssuerConfig| Issuer::as_str(&issuer.url) == named;
            issuers
                .iter()
                .find(is_it)
                .ok_or_else(|| format!("issuer {named:?} is none that an [[issuer]] declares"))
        }
    }
}

fn is_supported(issuer: &IssuerConfig, uri: &str, vocabulary: &Vocabulary) -> bool {
    let has = |pattern: &String| vocabulary.matching(pattern).any(|definition| definition.uri() == uri);
    issuer.events.iter().any(has)
}

impl DeliveryEntry {
    fn polls(&self) -> anyhow::Result<PollOptions> {
        let options = poll_options(self.poll_visibility_seconds, self.poll_order.as_deref());
        let options = options.map_err(|error| anyhow::anyhow!("has the wrong {error}"))?;
        ensure!(
            options.are_unset() || self.method == "poll",
            "has poll_visibility_seconds or poll_order, which are for poll alone"
        );
        Ok(options)
    }

    fn settle(self, name: &str, outgoing: &OutgoingConfig) -> anyhow::Result<DeliveryRequest> {
        match (self.method.as_str(), self.endpoint_url) {
            ("poll", None) => {
                ensure!(self.authorization.is_none(), "has an authorization, which is for push alone");
                Ok(DeliveryRequest::poll())
            }
            ("poll", Some(_)) => {
                bail!("has an endpoint_url, which is for push alone: the server supplies that of poll")
            }
            ("push", None) => bail!("needs an endpoint_url for push: where the receiver takes SETs"),
            ("push", Some(url)) => {
                let endpoint = endpoint(&url, outgoing);
                let credential = self.authorization.map(|source| {
                    let text = source.read(&format!("stream.delivery of {name:?}: authorization"))?;
                    secevent_ssf::delivery::authorization(&text)
                        .map_err(|breach| anyhow::anyhow!("has an authorization that {}", breach.problem()))
                });
                match (endpoint, credential.transpose()) {
                    (Ok(endpoint), Ok(credential)) => Ok(DeliveryRequest::push(endpoint, credential)),
                    (Err(one), Err(other)) => bail!("{one:#}; and {other:#}"),
                    (Err(error), _) | (_, Err(error)) => Err(error),
                }
            }
            (method, _) => bail!("has the method {method:?}: it must be push or poll"),
        }
    }
}

/// Where a receiver takes SETs, if the server may send there.
fn endpoint(url: &str, outgoing: &OutgoingConfig) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::parse_insecure(url)
        .map_err(|breach| anyhow::anyhow!("has the endpoint_url {url:?}, which {}", breach.problem()))?;
    outgoing.check_url(endpoint.uri()).map_err(|refused| {
        let fix = super::warn::admitting(outgoing, endpoint.uri());
        anyhow::anyhow!("has the endpoint_url {url:?}, which cannot be reached: {refused}: {fix}")
    })?;
    Ok(endpoint)
}
