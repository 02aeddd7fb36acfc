//! `tokens-revoked`: all tokens of the account were revoked (OAuth Event Types 1.0 draft, section 3.3).

use crate::text_enum::text_enum;
use crate::{EventStatus, EventType, Member, Shape, Subject};
use serde::{Deserialize, Serialize};

/// All tokens of the account were revoked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokensRevoked {
    /// The account in the place where the draft has it, for peers that do not read `sub_id` (OAUTH-12).
    #[serde(default, deserialize_with = "super::legacy_subject", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<TokensRevokedReason>,
}

impl EventType for TokensRevoked {
    const URI: &'static str = "https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked";
    const NAME: &'static str = "oauth:tokens-revoked";
    const ABOUT: &'static str = "All tokens of the account were revoked.";
    const STATUS: EventStatus = EventStatus::Draft;
    const MEMBERS: &'static [Member] = &[
        Member::optional("subject", Shape::Subject, "OAUTH-10"),
        Member::optional("reason", Shape::Suggested(TokensRevokedReason::KNOWN), "OAUTH-10"),
    ];
}

text_enum! {
    /// Why all tokens were revoked (OAuth Event Types 1.0 draft, section 3.3).
    TokensRevokedReason {
        /// The user asked for it.
        User = "user",
        /// The issuer decided so.
        Issuer = "issuer",
    }
}
