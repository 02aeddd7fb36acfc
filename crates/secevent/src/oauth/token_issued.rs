//! `token-issued`: a token was issued (OAuth Event Types 1.0 draft, section 3.1).

use crate::{EventStatus, EventType, Member, Shape, Subject, SubjectRule};
use serde::{Deserialize, Serialize};

/// A token was issued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenIssued {
    /// The subject in the place where the draft has it, for peers that do not read `sub_id` (OAUTH-12).
    #[serde(default, deserialize_with = "super::legacy_subject", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The account behind the token.
    #[serde(default, deserialize_with = "super::legacy_subject", skip_serializing_if = "Option::is_none")]
    pub token_subject: Option<Subject>,
}

impl EventType for TokenIssued {
    const URI: &'static str = "https://schemas.openid.net/secevent/oauth/event-type/token-issued";
    const NAME: &'static str = "oauth:token-issued";
    const ABOUT: &'static str = "A token was issued.";
    const STATUS: EventStatus = EventStatus::Draft;
    const MEMBERS: &'static [Member] = &[
        Member::optional("subject", Shape::Subject, "OAUTH-07"),
        Member::optional("token_subject", Shape::Subject, "OAUTH-07"),
    ];
    const SUBJECT: SubjectRule = SubjectRule::Formats(&["oauth_token"], "OAUTH-07");
}
