//! How known peers differ from the standards, as data.
//!
//! Each [`Quirks`] describes one family of products. What it lists is read as the standard's own form where a reader may
//! be lenient; nothing here is ever written. Subjects decide who is affected, so their old shapes are read only under
//! [`crate::Profile::Legacy`] (LEGACY-27). Payload shapes are read under every profile: a receiver that does not
//! understand one member would otherwise miss the event.
//!
//! The recordings that prove an entry are named in it; they are in `specs/peers` of the repository.
//!
//! ```
//! use secevent::quirks;
//!
//! let keycloak = quirks::KNOWN.iter().find(|quirks| quirks.name == "keycloak").unwrap();
//! assert!(!keycloak.payloads.is_empty());
//! ```

use crate::event::EventType as _;
use crate::{caep, ssf};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// How the messages of one family of products differ from the standards.
#[derive(Clone, Copy, Debug)]
pub struct Quirks {
    /// A short name: lower case, for configuration and reports.
    pub name: &'static str,
    /// Which products these are, for people.
    pub about: &'static str,
    /// The recordings in `specs/peers` that show it.
    pub recorded: &'static [&'static str],
    /// Other names of subject formats: the peer's name, and the registered one.
    pub subject_formats: &'static [(&'static str, &'static str)],
    /// Other names of members of a subject: the format's registered name, the peer's member, and the standard's.
    pub subject_members: &'static [(&'static str, &'static str, &'static str)],
    /// Other shapes of payloads.
    pub payloads: &'static [PayloadQuirk],
}

/// How one member of one event type's payload differs.
#[derive(Clone, Copy, Debug)]
pub struct PayloadQuirk {
    /// The event type.
    pub event: &'static str,
    /// The member.
    pub member: &'static str,
    /// What the peer does with it.
    pub shape: PeerShape,
}

/// What a peer does with a member.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PeerShape {
    /// The value stands inside an object, in the member of this name.
    Nested(&'static str),
    /// The member is missing, and the older draft that the peer follows allowed values of this kind only.
    Assumed(&'static str),
}

/// All families of products that are known.
pub const KNOWN: &[Quirks] = &[
    Quirks {
        name: "sse-id1",
        about: "Transmitters of SSE ID1 and early RISC, among them Google",
        recorded: &[],
        subject_formats: &[
            ("iss-sub", "iss_sub"),
            ("jwt-id", "jwt_id"),
            ("saml-assertion-id", "saml_assertion_id"),
            ("ip_addresses", "ip-addresses"),
        ],
        subject_members: &[("ip-addresses", "ip_addresses", "ip-addresses")],
        payloads: &[],
    },
    Quirks {
        name: "sgnl",
        about: "SGNL's caep.dev and its libraries for Go and JavaScript",
        recorded: &["caepdev-secevent-sets.json", "secevent-js-sets.json"],
        subject_formats: &[],
        subject_members: &[("iss_sub", "issuer", "iss"), ("phone_number", "phone", "phone_number")],
        // CAEP draft 2 had no namespace; its levels were the three of NIST SP 800-63B.
        payloads: &[PayloadQuirk {
            event: caep::AssuranceLevelChange::URI,
            member: "namespace",
            shape: PeerShape::Assumed("NIST-AAL"),
        }],
    },
    Quirks {
        name: "keycloak",
        about: "Keycloak 26",
        recorded: &["keycloak-sets.json", "keycloak-poll.json", "keycloak-push.json"],
        subject_formats: &[],
        subject_members: &[],
        payloads: &[PayloadQuirk {
            event: ssf::StreamUpdated::URI,
            member: "status",
            shape: PeerShape::Nested("status"),
        }],
    },
];

/// The registered name of a subject format.
pub(crate) fn subject_format(format: &str) -> &str {
    let known = KNOWN.iter().flat_map(|quirks| quirks.subject_formats);
    known.into_iter().find(|(theirs, _)| *theirs == format).map_or(format, |(_, registered)| registered)
}

/// Gives the members of a subject of this format their standard names. A member that has both names keeps both: the
/// standard's counts, and the other is ignored.
pub(crate) fn name_subject_members(format: &str, members: &mut Map<String, Value>) {
    for (theirs, standard) in subject_members(format) {
        if !members.contains_key(standard)
            && let Some(value) = members.remove(theirs)
        {
            members.insert(standard.to_owned(), value);
        }
    }
}

/// The member of a subject that stands under a peer's name where the standard's is missing: both names.
pub(crate) fn misnamed_subject_member(members: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    let format = members.get("format")?.as_str()?;
    subject_members(format)
        .find(|(theirs, standard)| members.contains_key(*theirs) && !members.contains_key(*standard))
}

fn subject_members(format: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let known = KNOWN.iter().flat_map(|quirks| quirks.subject_members);
    known.filter(move |(of, ..)| *of == format).map(|(_, theirs, standard)| (*theirs, *standard))
}

/// The payload of an event in the standard's shape, if a known peer's was found in it.
pub(crate) fn standard_payload<'a>(
    uri: &str,
    payload: &'a Map<String, Value>,
) -> Cow<'a, Map<String, Value>> {
    let mut standard = Cow::Borrowed(payload);
    let known = KNOWN.iter().flat_map(|quirks| quirks.payloads);
    for PayloadQuirk { member, shape, .. } in known.filter(|quirk| quirk.event == uri) {
        match (shape, payload.get(*member)) {
            (PeerShape::Nested(inner), Some(Value::Object(outer))) => {
                if let Some(value) = outer.get(*inner) {
                    standard.to_mut().insert((*member).to_owned(), value.clone());
                }
            }
            (PeerShape::Assumed(value), None) => {
                standard.to_mut().insert((*member).to_owned(), Value::from(*value));
            }
            _ => {}
        }
    }
    standard
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Definition, Strictness, Vocabulary};
    use serde_json::json;

    #[test]
    fn names_are_unique_and_say_something() {
        for (place, quirks) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..place].iter().all(|other| other.name != quirks.name), "{}", quirks.name);
            assert!(
                !quirks.about.is_empty()
                    && quirks.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            );
        }
    }

    #[test]
    fn payload_quirks_name_members_that_their_event_types_have() {
        for quirk in KNOWN.iter().flat_map(|quirks| quirks.payloads) {
            let definition = Vocabulary::standard().find(quirk.event).unwrap();
            assert!(definition.members().iter().any(|member| member.name == quirk.member), "{quirk:?}");
        }
    }

    // finding: A8
    #[test]
    fn a_status_inside_an_object_is_found_by_readers_and_refused_by_writers() {
        let uri = ssf::StreamUpdated::URI;
        let theirs =
            json!({"status": {"stream_id": "s", "status": "paused", "reason": "nap"}, "reason": "nap"});
        let Value::Object(members) = &theirs else { panic!("it is an object") };
        assert_eq!(standard_payload(uri, members)["status"], "paused");
        let definition = Definition::of::<ssf::StreamUpdated>();
        assert_eq!(definition.check_value(&theirs, Strictness::Lenient), Ok(()));
        assert!(definition.check_value(&theirs, Strictness::Strict).is_err());
        let nothing_inside = json!({"status": {"state": "paused"}});
        assert!(definition.check_value(&nothing_inside, Strictness::Lenient).is_err());
    }

    // finding: A11
    #[test]
    fn a_missing_namespace_is_assumed_by_readers_alone() {
        let definition = Definition::of::<caep::AssuranceLevelChange>();
        let theirs = json!({"current_level": "nist-aal2"});
        assert_eq!(definition.check_value(&theirs, Strictness::Lenient), Ok(()));
        assert!(definition.check_value(&theirs, Strictness::Strict).is_err());
        let Value::Object(own) = json!({"namespace": "RFC8176", "current_level": "x"}) else { panic!() };
        assert!(matches!(standard_payload(caep::AssuranceLevelChange::URI, &own), Cow::Borrowed(_)));
    }
}
