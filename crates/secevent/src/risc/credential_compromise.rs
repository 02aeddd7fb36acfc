//! `credential-compromise`: a credential of the subject is no longer a secret (RISC 1.0 section 2.7).

use crate::caep::CredentialType;
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// A credential of the subject was found to be compromised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialCompromise {
    /// The kind of credential, as in [`CredentialChange`](crate::caep::CredentialChange).
    pub credential_type: CredentialType,
    /// When the transmitter found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_timestamp: Option<Timestamp>,
    /// The reason, for logs and auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<ByLanguage>,
    /// The reason, for the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<ByLanguage>,
}

impl CredentialCompromise {
    /// The event with its required member alone.
    pub fn new(credential_type: CredentialType) -> Self {
        Self { credential_type, event_timestamp: None, reason_admin: None, reason_user: None }
    }
}

impl EventType for CredentialCompromise {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/credential-compromise";
    const NAME: &'static str = "risc:credential-compromise";
    const ABOUT: &'static str = "A credential of the subject was found to be compromised.";
    // RISC does not say what the reasons look like; they are read as in CAEP (E-70).
    const MEMBERS: &'static [Member] = &[
        Member::required("credential_type", Shape::Suggested(CredentialType::KNOWN), "RISC-12"),
        Member::optional("event_timestamp", Shape::Time, "RISC-13"),
        Member::optional("reason_admin", Shape::ByLanguage, "RISC-13"),
        Member::optional("reason_user", Shape::ByLanguage, "RISC-13"),
    ];
}
