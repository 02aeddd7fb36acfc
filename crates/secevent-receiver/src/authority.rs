//! Which subjects a source or a producer may speak about (SEM-20, SEM-32).

use secevent::risc::IdentifierChanged;
use secevent::ssf::{StreamUpdated, Verification};
use secevent::{EventType, Identifier, Set, Subject, Vocabulary};
use serde_json::{Map, Value};

/// Which subjects a source may speak about (SEM-20). What it says about others is recorded and not acted on.
///
/// ```
/// use secevent::Subject;
/// use secevent_receiver::Authority;
///
/// let authority = Authority::Over { email_domains: vec!["a.example".into()], issuers: vec![] };
/// assert!(authority.covers(&Subject::email("alice@A.example")?));
/// assert!(!authority.covers(&Subject::email("bob@b.example")?));
/// assert!(!authority.covers(&Subject::opaque("bob")?), "the format does not say whose it is");
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// About everybody.
    #[default]
    Anybody,
    /// The subjects in these lists, and no others.
    Over {
        /// The domains of e-mail addresses (`email`) and the hosts of accounts (`account`). Letter case does not
        /// matter; a subdomain is another domain.
        email_domains: Vec<String>,
        /// The issuers of `iss_sub`, `jwt_id` and `saml_assertion_id` identifiers, to the letter.
        issuers: Vec<String>,
    },
}

/// Members of complex subjects that name no person, account or session. They neither extend a source's authority nor
/// limit it (SEM-32).
const IMPERSONAL_MEMBERS: [&str; 5] = ["device", "group", "tenant", "org_unit", "application"];

/// Members of payloads that hold a subject: in events older than `sub_id` (LEGACY-14), and in OAuth events (OAUTH-07).
const PAYLOAD_SUBJECTS: [&str; 3] = ["subject", "sub_id", "token_subject"];

impl Authority {
    /// Whether it extends to all of `subject` (SEM-32): to each alias, and to each member of a complex subject that
    /// names a person, an account or a session, of which there must be one. A device, group, tenant, organizational
    /// unit or application does not count either way. An identifier whose format does not say whose it is
    /// (`opaque`, `phone_number`, `uri`, unknown formats and so on) is not covered.
    pub fn covers(&self, subject: &Subject) -> bool {
        match (self, subject) {
            (Self::Anybody, _) => true,
            (_, Subject::Simple(identifier)) => self.covers_identifier(identifier),
            (_, Subject::Complex(complex)) => {
                let mut personal =
                    complex.iter().filter(|(name, _)| !IMPERSONAL_MEMBERS.contains(name)).peekable();
                personal.peek().is_some() && personal.all(|(_, member)| self.covers_identifier(member))
            }
        }
    }

    /// Whether it extends to every subject that the payload of an event names beside the event's subject: a receiver may
    /// read the subject there (LEGACY-14), and a new identifier of the subject is a further name of it. A payload
    /// that names nobody is covered.
    pub fn covers_payload(&self, event_type: &str, payload: &str) -> bool {
        if *self == Self::Anybody {
            return true;
        }
        let Ok(members) = serde_json::from_str::<Map<String, Value>>(payload) else { return false };
        let definition = Vocabulary::standard().find(event_type);
        let renames = definition.is_some_and(|definition| definition.uri() == IdentifierChanged::URI);
        members.iter().all(|(name, value)| match value {
            Value::String(new) if renames && name == "new-value" => {
                Identifier::email(new).is_ok_and(|new| self.covers_identifier(&new))
            }
            Value::Object(_) => !names_somebody(name, value) || self.covers_value(value),
            _ => true,
        })
    }

    /// Whether it extends to every subject that a SET names, in its claims and in its events. A SET that names nobody is
    /// not covered, unless it is about its stream.
    pub(crate) fn covers_set(&self, set: &Set) -> bool {
        let Self::Over { issuers, .. } = self else { return true };
        let (claims, subject) = (set.claims(), set.subject());
        let is_opaque = |subject: &Subject| matches!(subject, Subject::Simple(Identifier::Opaque { .. }));
        let about_stream = |uri: &str| [StreamUpdated::URI, Verification::URI].contains(&uri);
        if subject.as_deref().is_none_or(is_opaque) && set.events().iter().all(|(uri, _)| about_stream(uri)) {
            return true;
        }
        // `sub` and `sid` are names that the SET's own issuer gives.
        let by_issuer = [&claims.sub, &claims.sid].into_iter().flatten().any(|name| !name.is_empty());
        (subject.is_some() || by_issuer)
            && (!by_issuer || issuers.iter().any(|issuer| issuer == set.iss()))
            && claims.sub_id.iter().chain(subject.as_deref()).all(|subject| self.covers(subject))
            && set.events().iter().all(|(uri, payload)| self.covers_payload(uri, payload))
    }

    fn covers_value(&self, value: &Value) -> bool {
        Subject::from_legacy_value(value.clone()).is_ok_and(|subject| self.covers(&subject))
    }

    fn covers_identifier(&self, identifier: &Identifier) -> bool {
        let Self::Over { email_domains, issuers } = self else { return true };
        let in_domains = |host: &str| email_domains.iter().any(|known| known.eq_ignore_ascii_case(host));
        match identifier {
            Identifier::Email { email, .. } => {
                // A quoted local part may hold an at sign. Not every reader looks for the last one then.
                email.split_once('@').is_some_and(|(_, domain)| in_domains(domain))
            }
            Identifier::Account { uri, .. } => {
                // The host is never percent-decoded: an encoded one is none of ours.
                uri.split_once('@').is_some_and(|(_, host)| in_domains(host))
            }
            Identifier::IssSub { iss: issuer, .. }
            | Identifier::JwtId { iss: issuer, .. }
            | Identifier::SamlAssertionId { issuer, .. } => issuers.contains(issuer),
            Identifier::Aliases { identifiers, .. } => {
                !identifiers.is_empty() && identifiers.iter().all(|alias| self.covers_identifier(alias))
            }
            // Who may speak for one of these cannot be judged by domains and issuers.
            _ => false,
        }
    }
}

/// Whether a member of a payload is a subject: by its name, or because it has a known format.
fn names_somebody(name: &str, value: &Value) -> bool {
    let format = value.get("format").or_else(|| value.get("subject_type")).and_then(Value::as_str);
    let is_known = |format: &str| {
        // Older peers write hyphens (LEGACY-02).
        let same = |known: &str| known.replace('-', "_") == format.replace('-', "_");
        Subject::FORMATS.iter().any(|known| same(known)) || format == "id_token_claims"
    };
    PAYLOAD_SUBJECTS.contains(&name) || format.is_some_and(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent::{Profile, Strictness};
    use serde_json::json;
    use std::collections::BTreeSet;

    fn authority() -> Authority {
        Authority::Over {
            email_domains: vec!["own.example".to_owned()],
            issuers: vec!["https://idp.example".to_owned()],
        }
    }

    fn email(address: &str) -> Value {
        json!({"format": "email", "email": address})
    }

    fn iss_sub(iss: &str) -> Value {
        json!({"format": "iss_sub", "iss": iss, "sub": "7"})
    }

    fn aliases(identifiers: &[Value]) -> Value {
        json!({"format": "aliases", "identifiers": identifiers})
    }

    /// Whether a subject that can be read is covered, however leniently it is read.
    fn covers(subject: &Value) -> bool {
        let read = [
            Subject::from_value(subject.clone(), Strictness::Strict),
            Subject::from_value(subject.clone(), Strictness::Lenient),
            Subject::from_legacy_value(subject.clone()),
        ];
        let covered: Vec<bool> = read.into_iter().flatten().map(|one| authority().covers(&one)).collect();
        assert!(!covered.is_empty(), "cannot be read: {subject}");
        assert!(covered.iter().all(|one| *one == covered[0]), "{subject}: {covered:?}");
        covered[0]
    }

    // finding: B4
    #[test]
    fn every_format_is_judged() {
        let rows = [
            (json!({"format": "account", "uri": "acct:alice@own.example"}), true),
            (json!({"format": "account", "uri": "acct:alice@OWN.example"}), true),
            (json!({"format": "account", "uri": "acct:alice@victim.example"}), false),
            (json!({"format": "account", "uri": "acct:alice%40victim.example@own.example"}), true),
            (json!({"format": "account", "uri": "acct:alice%40own.example@victim.example"}), false),
            (json!({"format": "account", "uri": "acct:alice@own%2Eexample"}), false),
            (json!({"format": "account", "uri": "acct:alice@own.example%2Evictim.example"}), false),
            (email("alice@own.example"), true),
            (email("alice@Own.Example"), true),
            (email("alice@sub.own.example"), false),
            (email("alice@notown.example"), false),
            (email("alice@own.example.victim.example"), false),
            (email("alice@own.example."), false),
            (email("alice@xn--own-xyz.example"), false),
            (email("alice@оwn.example"), false),
            (email("\"bob smith\"@own.example"), true),
            (email("\"bob@victim.example\"@own.example"), false),
            (email("own.example@victim.example"), false),
            (iss_sub("https://idp.example"), true),
            (iss_sub("https://IDP.example"), false),
            (iss_sub("https://idp.example/"), false),
            (json!({"format": "opaque", "id": "alice@own.example"}), false),
            (json!({"format": "phone_number", "phone_number": "+12065550100"}), false),
            (json!({"format": "did", "url": "did:web:own.example"}), false),
            (json!({"format": "uri", "uri": "mailto:alice@own.example"}), false),
            (json!({"format": "uri", "uri": "https://idp.example/alice"}), false),
            (json!({"format": "jwt_id", "iss": "https://idp.example", "jti": "1"}), true),
            (json!({"format": "jwt_id", "iss": "https://other.example", "jti": "1"}), false),
            (
                json!({"format": "saml_assertion_id", "issuer": "https://idp.example", "assertion_id": "1"}),
                true,
            ),
            (
                json!({"format": "saml_assertion_id", "issuer": "https://other.example", "assertion_id": "1"}),
                false,
            ),
            (json!({"format": "ip-addresses", "ip-addresses": ["192.0.2.1"]}), false),
            (json!({"format": "scim", "uri": "/Users/1", "userName": "alice@own.example"}), false),
            (
                json!({"format": "oauth_token", "token_type": "access_token", "token_identifier_alg": "plain", "token": "t"}),
                false,
            ),
            (json!({"format": "oauth_client", "client_id": "c"}), false),
            (json!({"format": "https://own.example/format", "email": "alice@own.example"}), false),
            (aliases(&[email("alice@own.example")]), true),
            (aliases(&[email("alice@own.example"), iss_sub("https://idp.example")]), true),
            (aliases(&[email("alice@own.example"), email("bob@victim.example")]), false),
            (aliases(&[email("alice@own.example"), json!({"format": "opaque", "id": "bob"})]), false),
            (aliases(&[email("alice@own.example"), iss_sub("https://other.example")]), false),
            (aliases(&[email("alice@own.example"), json!({"format": "new", "who": "bob"})]), false),
            (json!({"format": "complex", "user": email("alice@own.example")}), true),
        ];
        let formats: BTreeSet<&str> = rows.iter().filter_map(|(row, _)| row["format"].as_str()).collect();
        for known in Subject::FORMATS {
            assert!(formats.contains(known), "{known} has no row");
        }
        for (subject, expected) in &rows {
            assert_eq!(covers(subject), *expected, "{subject}");
        }
    }

    // finding: B4
    #[test]
    fn every_person_of_a_complex_subject_is_judged() {
        let (own, foreign) = (email("alice@own.example"), email("bob@victim.example"));
        let opaque = json!({"format": "opaque", "id": "7"});
        // Of a name that no standard has, as of a known one that names a person.
        for member in ["user", "session", "account", "owner"] {
            for (other, expected) in [(&own, true), (&foreign, false), (&opaque, false)] {
                let mut subject = json!({"format": "complex", member: other});
                assert_eq!(covers(&subject), expected, "{subject}");
                subject["user"] = own.clone();
                subject[member] = other.clone();
                assert_eq!(covers(&subject), expected, "{subject}");
                subject[member] = aliases(&[own.clone(), other.clone()]);
                assert_eq!(covers(&subject), expected, "{subject}");
            }
        }
        for member in ["device", "group", "tenant", "org_unit", "application"] {
            for other in [&own, &foreign, &opaque] {
                assert!(
                    !covers(&json!({"format": "complex", member: other})),
                    "{member} alone vouches for nobody"
                );
                assert!(covers(&json!({"format": "complex", "user": own, member: other})), "{member}");
                assert!(!covers(&json!({"format": "complex", "user": foreign, member: other})), "{member}");
            }
        }
    }

    // finding: B4
    #[test]
    fn whoever_a_payload_names_is_judged() {
        const ISSUED: &str = "https://own.example/event/custom";
        let (own, foreign) = (email("alice@own.example"), email("bob@victim.example"));
        let rows = [
            (ISSUED, json!({}), true),
            (ISSUED, json!({"subject": "a heading", "report": {"format": "pdf"}, "n": [foreign]}), true),
            (ISSUED, json!({"subject": own}), true),
            (ISSUED, json!({"subject": foreign}), false),
            (ISSUED, json!({"subject": {"subject_type": "email", "email": "bob@victim.example"}}), false),
            (
                ISSUED,
                json!({"subject": {"subject_type": "iss-sub", "iss": "https://idp.example", "sub": "7"}}),
                true,
            ),
            (ISSUED, json!({"subject": {"user": own, "session": foreign}}), false),
            (ISSUED, json!({"subject": {"who": "bob"}}), false),
            (ISSUED, json!({"sub_id": foreign}), false),
            (ISSUED, json!({"token_subject": foreign}), false),
            (ISSUED, json!({"owner": foreign}), false),
            (
                ISSUED,
                json!({"owner": {"subject_type": "iss-sub", "iss": "https://other.example", "sub": "7"}}),
                false,
            ),
            (ISSUED, json!({"owner": own}), true),
            (ISSUED, json!({"new-value": "bob@victim.example"}), true),
            (IdentifierChanged::URI, json!({}), true),
            (IdentifierChanged::URI, json!({"new-value": "alicia@own.example"}), true),
            (IdentifierChanged::URI, json!({"new-value": "bob@victim.example"}), false),
            (IdentifierChanged::URI, json!({"new-value": "+12065550100"}), false),
        ];
        for (uri, payload, expected) in rows {
            assert_eq!(authority().covers_payload(uri, &payload.to_string()), expected, "{uri} {payload}");
            assert!(Authority::Anybody.covers_payload(uri, &payload.to_string()));
        }
    }

    // finding: B4
    #[test]
    fn everybody_whom_a_set_names_is_judged() {
        const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
        let (own, foreign) = (email("alice@own.example"), email("bob@victim.example"));
        let idp = "https://idp.example";
        let rows = [
            (json!({"sub_id": own, "events": {REVOKED: {}}}), true),
            (json!({"sub_id": foreign, "events": {REVOKED: {}}}), false),
            (json!({"sub_id": own, "events": {REVOKED: {"subject": foreign}}}), false),
            (json!({"events": {REVOKED: {"subject": own}}}), true),
            (json!({"events": {REVOKED: {"subject": own}, "urn:x:y": {"subject": foreign}}}), false),
            (json!({"sub": "bob", "events": {REVOKED: {}}}), false),
            (json!({"iss": idp, "sub": "alice", "events": {REVOKED: {}}}), true),
            (json!({"sub": "bob", "sub_id": own, "events": {REVOKED: {}}}), false),
            (json!({"iss": idp, "sub": "alice", "sub_id": foreign, "events": {REVOKED: {}}}), false),
            (json!({"iss": idp, "sub": "a", "sub_id": {"format": "new"}, "events": {REVOKED: {}}}), false),
            (json!({"events": {REVOKED: {}}}), false),
            (
                json!({"sub_id": {"format": "opaque", "id": "stream"}, "events": {StreamUpdated::URI: {"status": "paused"}}}),
                true,
            ),
            (
                json!({"sub_id": {"format": "opaque", "id": "bob"}, "events": {StreamUpdated::URI: {"status": "paused"}, REVOKED: {}}}),
                false,
            ),
        ];
        for (claims, expected) in rows {
            let mut whole =
                json!({"iss": "https://tr.example", "jti": "1", "iat": 1_700_000_000, "aud": "rp"});
            for (name, value) in claims.as_object().unwrap() {
                whole[name] = value.clone();
            }
            let set = Set::read(whole.to_string().as_bytes(), Profile::Plain).unwrap();
            assert_eq!(authority().covers_set(&set), expected, "{claims}");
            assert!(Authority::Anybody.covers_set(&set));
        }
    }
}
