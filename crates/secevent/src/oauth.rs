//! OAuth Event Types 1.0, a draft of 2018: what happened to a token or a client.
//!
//! The draft has the subject inside the event; over SSF it is the token's `sub_id`, in the format
//! `oauth_token` or `oauth_client` (OAUTH-12). [`TokenIdentifier`] names a token without giving it away.
//!
//! ```
//! use secevent::oauth::{TokenRevoked, TokenRevokedReason};
//!
//! let revoked = TokenRevoked { reason: Some(TokenRevokedReason::Api), ..TokenRevoked::default() };
//! assert_eq!(serde_json::to_string(&revoked).unwrap(), r#"{"reason":"api"}"#);
//! ```

mod client_credential_changed;
mod client_disabled;
mod client_enabled;
mod token_identifier;
mod token_issued;
mod token_revoked;
mod tokens_revoked;

pub use client_credential_changed::ClientCredentialChanged;
pub use client_disabled::ClientDisabled;
pub use client_enabled::ClientEnabled;
pub use token_identifier::{Sha512, TokenIdentifier, TokenIdentifierAlg, TokenType};
pub use token_issued::TokenIssued;
pub use token_revoked::{TokenRevoked, TokenRevokedReason};
pub use tokens_revoked::{TokensRevoked, TokensRevokedReason};

use crate::Subject;
use crate::event::{Definition, SubjectRule};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;

/// All event types of the draft, in the order of its text.
pub(crate) static DEFINITIONS: [Definition; 6] = [
    Definition::of::<TokenIssued>(),
    Definition::of::<TokenRevoked>(),
    Definition::of::<TokensRevoked>(),
    Definition::of::<ClientDisabled>(),
    Definition::of::<ClientEnabled>(),
    Definition::of::<ClientCredentialChanged>(),
];

/// The draft has no subject here; SSF needs one (OAUTH-12).
const CLIENT: SubjectRule = SubjectRule::Formats(&["oauth_client"], "OAUTH-12");

/// A subject inside an event: today's shape, or the draft's own with `subject_type` (OAUTH-13).
fn legacy_subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Subject>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Subject::from_legacy_value(value).map(Some).map_err(D::Error::custom)
}
