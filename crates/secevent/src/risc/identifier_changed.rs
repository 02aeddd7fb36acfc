//! `identifier-changed`: the identifier in the subject was replaced by another (RISC 1.0 section 2.5).

use crate::{EventType, Member, Shape, SubjectRule};
use serde::{Deserialize, Serialize};

/// The identifier in the subject was replaced by another.
///
/// The subject is an e-mail address or a telephone number and holds the *old* value. Only the authority over
/// the identifier should send this; others send
/// [`RecoveryInformationChanged`](super::RecoveryInformationChanged) (RISC-09).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentifierChanged {
    /// The new identifier.
    #[serde(rename = "new-value", skip_serializing_if = "Option::is_none")]
    pub new_value: Option<String>,
}

impl EventType for IdentifierChanged {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/identifier-changed";
    const NAME: &'static str = "risc:identifier-changed";
    const ABOUT: &'static str = "The identifier in the subject was replaced by another.";
    const MEMBERS: &'static [Member] = &[Member::optional("new-value", Shape::Text, "RISC-08")];
    const SUBJECT: SubjectRule = SubjectRule::Formats(super::IDENTIFIERS, "RISC-07");
}
