//! `identifier-recycled`: the identifier in the subject now belongs to somebody else (RISC 1.0 section 2.6).

use crate::{EventType, SubjectRule};
use serde::{Deserialize, Serialize};

/// The identifier in the subject now belongs to somebody else.
///
/// The subject is an e-mail address or a telephone number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentifierRecycled {}

impl EventType for IdentifierRecycled {
    const URI: &'static str = "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled";
    const NAME: &'static str = "risc:identifier-recycled";
    const ABOUT: &'static str = "The identifier in the subject now belongs to somebody else.";
    const SUBJECT: SubjectRule = SubjectRule::Formats(super::IDENTIFIERS, "RISC-10");
}
