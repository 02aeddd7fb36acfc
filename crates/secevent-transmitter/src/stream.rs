//! A stream as the transmitter keeps it: who receives, what, how, and whether.

use crate::config::PollOptions;
use crate::declared::Declared;
use crate::render::RenderedAs;
use secevent::Timestamp;
use secevent_ssf::{DefaultSubjects, Endpoint, Secret, Spelling, Status, StreamId};
use secevent_store::{Rendering, StreamNumber, Unsealable, Vault};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// One receiver's subscription, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// The form of this record: what was written under an older one is read for ever.
    pub(crate) form: u32,
    /// Its identifier towards the receiver.
    pub(crate) id: String,
    /// Its number in the store, which is never given again.
    pub(crate) number: u32,
    /// The client that it belongs to.
    pub(crate) client: String,
    /// The issuer whose events it carries.
    pub(crate) issuer: String,
    /// Where its SETs go.
    pub(crate) target: Target,
    /// The event types that the receiver asked for, as it asked.
    pub(crate) events_requested: Option<Vec<String>>,
    /// The receiver's words about it.
    pub(crate) description: Option<String>,
    /// Whether it is sent to.
    #[serde(deserialize_with = "stored_status")]
    pub(crate) status: Status,
    /// Why.
    pub(crate) reason: Option<String>,
    /// The rendering that new deliveries get.
    pub(crate) rendering: u32,
    /// All renderings that deliveries may refer to.
    #[serde(with = "renderings")]
    pub(crate) renderings: Vec<(u32, RenderedAs)>,
    /// When it was created.
    pub(crate) created_at: Timestamp,
    /// Whether an operator set the status, so that the receiver cannot end it (SEM-8).
    #[serde(default)]
    pub(crate) held: bool,
    /// Whether its receiver is still to be told of the status (SEM-7).
    #[serde(default)]
    pub(crate) untold: bool,
    /// When its receiver was last heard of, roughly, if that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active_at: Option<Timestamp>,
    /// Whether it is to be deleted, once its receiver has been told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ending: bool,
    /// The subject format that a receiver of SSE ID1 wants (LEGACY-10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    /// How often its history was replayed as new SETs (SEM-1).
    #[serde(default)]
    pub(crate) generation: u16,
    /// Which subjects it has of which nothing was said: as its issuer had it when the stream was created.
    #[serde(default = "all_subjects")]
    pub(crate) default_subjects: DefaultSubjects,
    /// That configuration declares it, or did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) declared: Option<Declared>,
    /// How it is polled, where its declaration says so.
    #[serde(default, skip_serializing_if = "PollOptions::are_unset")]
    pub(crate) polls: PollOptions,
}

/// What streams had before there was a choice.
fn all_subjects() -> DefaultSubjects {
    DefaultSubjects::All
}

/// Where a stream's SETs go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub(crate) enum Target {
    /// They are pushed (RFC 8935).
    Push {
        /// To this URL.
        endpoint_url: String,
        /// With this value of the `Authorization` header, sealed.
        authorization: Option<String>,
        /// In the receiver's own words.
        #[serde(default)]
        words: Words,
    },
    /// They are fetched (RFC 8936).
    Poll {
        /// In the receiver's own words.
        #[serde(default)]
        words: Words,
    },
}

/// The spelling that a receiver used for its delivery, as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    risc_method: bool,
    old_names: bool,
}

impl From<Spelling> for Words {
    fn from(spelling: Spelling) -> Self {
        Self { risc_method: spelling.risc_method, old_names: spelling.old_names }
    }
}

impl From<Words> for Spelling {
    fn from(words: Words) -> Self {
        Self { risc_method: words.risc_method, old_names: words.old_names }
    }
}

impl Stream {
    /// Whether nothing is sent but the transmitter's own events: a status that its receiver is to be told is the last
    /// SET before silence, and the first one after it (SSF-168, SSF-169).
    pub(crate) fn is_silent(&self) -> bool {
        self.status != Status::Enabled || self.untold
    }

    /// The form in which records are written today.
    pub(crate) const FORM: u32 = 1;

    pub(crate) fn stream_id(&self) -> StreamId {
        self.id.parse().expect("the identifiers that we give are well-formed")
    }

    pub(crate) fn number(&self) -> StreamNumber {
        StreamNumber(self.number)
    }

    pub(crate) fn rendering(&self) -> Rendering {
        Rendering(self.rendering)
    }

    pub(crate) fn rendered_as(&self, rendering: Rendering) -> Option<&RenderedAs> {
        self.renderings.iter().find(|(number, _)| *number == rendering.0).map(|(_, rendered_as)| rendered_as)
    }

    /// The name of the document that keeps it.
    pub(crate) fn document(id: &str) -> String {
        format!("stream/{id}")
    }

    /// The place of its receiver's credential in the vault.
    pub(crate) fn authorization_place(id: &str) -> String {
        format!("stream/{id}/authorization")
    }

    /// Where to push to, and with which credential.
    pub(crate) fn push_target(&self, vault: &Vault) -> Result<PushTarget, NoPushTarget> {
        let Target::Push { endpoint_url, authorization, .. } = &self.target else {
            return Err(NoPushTarget::Polled);
        };
        let endpoint = Endpoint::parse_insecure(endpoint_url).map_err(|_| NoPushTarget::Damaged)?;
        let Some(sealed) = authorization else { return Ok(PushTarget { endpoint, authorization: None }) };
        let opened = vault.open(&Self::authorization_place(&self.id), sealed)?;
        let value = std::str::from_utf8(&opened).map_err(|_| NoPushTarget::Damaged)?;
        let authorization =
            secevent_ssf::delivery::authorization(value).map_err(|_| NoPushTarget::Damaged)?;
        Ok(PushTarget { endpoint, authorization: Some(authorization) })
    }
}

/// Renderings are stored as an object, by number. In memory they are a list: mostly of one, for which a map would keep
/// room for a dozen.
mod renderings {
    use super::RenderedAs;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(
        renderings: &[(u32, RenderedAs)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(renderings.iter().map(|(number, rendered_as)| (number, rendered_as)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(u32, RenderedAs)>, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

fn stored_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = Status::ALL.into_iter().find(|status| status.as_str() == name);
    known.ok_or_else(|| D::Error::custom(format!("no status is named {name:?}")))
}

/// Where to push to.
#[derive(Clone, Debug)]
pub(crate) struct PushTarget {
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<Secret<http::HeaderValue>>,
}

/// Why a stream cannot be pushed to: our own trouble, not the receiver's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPushTarget {
    #[error("the stream is polled now")]
    Polled,
    #[error("the stored endpoint makes no sense")]
    Damaged,
    #[error(transparent)]
    Sealed(#[from] Unsealable),
}
