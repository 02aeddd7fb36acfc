//! `token-revoked`: one token was revoked (OAuth Event Types 1.0 draft, section 3.2).

use crate::text_enum::text_enum;
use crate::{EventStatus, EventType, Member, Shape, Subject, SubjectRule};
use serde::{Deserialize, Serialize};

/// One token was revoked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// The subject in the place where the draft has it, for peers that do not read `sub_id` (OAUTH-12).
    #[serde(default, deserialize_with = "super::legacy_subject", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The account behind the token.
    #[serde(default, deserialize_with = "super::legacy_subject", skip_serializing_if = "Option::is_none")]
    pub token_subject: Option<Subject>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<TokenRevokedReason>,
}

impl EventType for TokenRevoked {
    const URI: &'static str = "https://schemas.openid.net/secevent/oauth/event-type/token-revoked";
    const NAME: &'static str = "oauth:token-revoked";
    const ABOUT: &'static str = "One token was revoked.";
    const STATUS: EventStatus = EventStatus::Draft;
    const MEMBERS: &'static [Member] = &[
        Member::optional("subject", Shape::Subject, "OAUTH-08"),
        Member::optional("token_subject", Shape::Subject, "OAUTH-08"),
        Member::optional("reason", Shape::Suggested(TokenRevokedReason::KNOWN), "OAUTH-08"),
    ];
    const SUBJECT: SubjectRule = SubjectRule::Formats(&["oauth_token"], "OAUTH-08");
}

text_enum! {
    /// Why one token was revoked (OAuth Event Types 1.0 draft, section 3.2).
    TokenRevokedReason {
        /// It was not used for long.
        Inactive = "inactive",
        /// There were too many tokens.
        TooMany = "too_many",
        /// The client asked for it, as RFC 7009 lets it.
        Api = "api",
        /// The user asked for it.
        User = "user",
        /// The issuer decided so.
        Issuer = "issuer",
    }
}
