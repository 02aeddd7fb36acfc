//! What a receiver asks of a stream, as flags: delivery, events, description.

use crate::link::{Link, endpoint, from_environment, misuse};
use crate::output::Failure;
use clap::Args;
use secevent::Vocabulary;
use secevent_ssf::delivery::{Spelling, authorization};
use secevent_ssf::{Change, DeliverBy, DeliveryRequest, Method};

/// How the SETs shall come.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to ask for")]
pub(super) struct DeliveryArgs {
    /// Have SETs pushed to this URL (RFC 8935)
    #[arg(long, value_name = "URL")]
    push: Option<String>,
    /// The environment variable with the whole value of the Authorization header that each push shall carry
    #[arg(long, value_name = "VAR", requires = "push")]
    authorization_env: Option<String>,
    /// Poll for SETs (RFC 8936)
    #[arg(long, conflicts_with = "push")]
    poll: bool,
}

impl DeliveryArgs {
    /// The delivery that is asked for, in words that the transmitter knows.
    pub(super) fn request(&self, link: &Link) -> Result<Option<DeliveryRequest>, Failure> {
        let mut request = match &self.push {
            Some(url) => {
                let url = endpoint(url, link.peer.tolerance.plain_http)
                    .map_err(|error| misuse("the URL of --push", &error))?;
                let secret = self.authorization_env.as_deref().map(|name| {
                    authorization(&from_environment(name)?)
                        .map_err(|error| misuse(&format!("the value of {name}"), &error))
                });
                DeliveryRequest::push(url, secret.transpose()?)
            }
            None if self.poll => DeliveryRequest::poll(),
            None => return Ok(None),
        };
        request.spelling = spelling(link, request.method());
        let named = &link.metadata().delivery_methods_supported;
        let method = request.method();
        if !named.is_empty() && !link.metadata().supports(method) {
            let (flag, name) = match method {
                Method::Push => ("--push", "push"),
                Method::Poll => ("--poll", "poll"),
            };
            crate::output::note(&format!(
                "the transmitter's metadata does not name {name}: {flag} may be refused"
            ));
        }
        Ok(Some(request))
    }

    /// The same, and polling where nothing is said.
    pub(super) fn request_or_poll(&self, link: &Link) -> Result<DeliveryRequest, Failure> {
        Ok(self.request(link)?.unwrap_or_else(|| {
            let poll = DeliveryRequest::poll();
            DeliveryRequest { spelling: spelling(link, poll.method()), ..poll }
        }))
    }

    /// A request, with the credential that is there taken away.
    pub(super) fn without_authorization(mut request: DeliveryRequest) -> DeliveryRequest {
        if let DeliverBy::Push { authorization_header, .. } = &mut request.by {
            *authorization_header = Change::Clear;
        }
        request
    }
}

/// The name of a method that this transmitter knows.
fn spelling(link: &Link, method: Method) -> Spelling {
    let named = &link.metadata().delivery_methods_supported;
    let knows = |name: &str| named.iter().any(|known| known == name);
    let risc_method = link.peer.tolerance.legacy && !knows(method.urn()) && knows(method.risc_url());
    Spelling { risc_method, ..Spelling::default() }
}

/// Which events are asked for: short names of the standards, patterns of them (`caep:*`), or any URIs.
pub(super) fn events(names: &[String]) -> Result<Option<Vec<String>>, Failure> {
    let mut events: Vec<String> = Vec::new();
    for name in names {
        let known: Vec<&str> = Vocabulary::standard().matching(name).map(secevent::Definition::uri).collect();
        // A URI is asked for as it is: what is known here under another one may not be known there.
        let is_uri = name.contains("://") || name.starts_with("urn:");
        match (is_uri && !name.ends_with('*'), known.is_empty()) {
            (true, _) => events.push(name.clone()),
            (false, false) => events.extend(known.into_iter().map(str::to_owned)),
            (false, true) => {
                return Err(Failure::misuse(format!("there is no event type {name:?}")).fix(
                    "write a short name such as caep:session-revoked, a pattern such as caep:*, or a URI",
                ));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    events.retain(|uri| seen.insert(uri.clone()));
    Ok(Some(events).filter(|events| !events.is_empty()))
}

/// An event type in few characters.
pub(super) fn short(uri: &str) -> &str {
    Vocabulary::standard().find(uri).map_or(uri, secevent::Definition::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_in_three_ways() {
        let asked = |names: &[&str]| {
            events(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .map(Option::unwrap_or_default)
        };
        const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
        assert_eq!(asked(&["caep:session-revoked", REVOKED]).unwrap(), [REVOKED]);
        assert_eq!(asked(&["https://x.example/e", "urn:x:y"]).unwrap(), ["https://x.example/e", "urn:x:y"]);
        assert!(asked(&["caep:*"]).unwrap().len() > 5);
        assert_eq!(asked(&[]).unwrap(), Vec::<String>::new());
        assert!(asked(&["caep:session-revokd"]).is_err() && asked(&["x:*"]).is_err());
    }
}
