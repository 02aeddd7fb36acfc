//! The events of a run: about few users and devices, so that their subjects often overlap.

use crate::sim::Sim;
use secevent::Vocabulary;
use secevent_transmitter::Incoming;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of an event, which it carries so that it is known again wherever it turns up.
pub(crate) type Tag = u32;

/// The event types of a run: a stream asks for some of them.
pub(crate) const TYPES: [&str; 2] = [
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    "https://schemas.openid.net/secevent/caep/event-type/session-presented",
];

/// An event as its producer made it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) tag: Tag,
    pub(crate) kind: usize,
    pub(crate) subject: Value,
    pub(crate) identifiers: Arc<BTreeSet<String>>,
    pub(crate) txn: Option<String>,
}

impl Event {
    pub(crate) fn new(sim: &Sim, tag: Tag) -> Self {
        let subject = subject(sim);
        let kind = usize::from(sim.one_in(4));
        let txn = sim.one_in(2).then(|| format!("txn-{tag}"));
        let identifiers = Arc::new(identifiers(&subject));
        Self { tag, kind, subject, identifiers, txn }
    }

    pub(crate) fn json(&self) -> Value {
        let mut event = json!({"type": TYPES[self.kind], "subject": self.subject, "data": self.data()});
        if let Some(txn) = &self.txn {
            event["txn"] = txn.as_str().into();
        }
        event
    }

    pub(crate) fn incoming(&self) -> Incoming {
        let json = self.json().to_string();
        Incoming::read(json.as_bytes(), Vocabulary::standard()).expect("the simulator makes valid events")
    }

    /// The payload, which bears the tag.
    pub(crate) fn data(&self) -> Value {
        json!({"reason_admin": {"en": format!("e{}", self.tag)}})
    }
}

/// The tag of the event in these claims; none for a control event.
pub(crate) fn tag_of(events: &Value) -> Option<Tag> {
    let (_, data) = events.as_object()?.iter().next()?;
    data["reason_admin"]["en"].as_str()?.strip_prefix('e')?.parse().ok()
}

fn subject(sim: &Sim) -> Value {
    let user = || json!({"format": "email", "email": format!("user{}@example.com", sim.below(4))});
    let device = || json!({"format": "opaque", "id": format!("device{}", sim.below(3))});
    let tenant = || json!({"format": "opaque", "id": format!("tenant{}", sim.below(2))});
    match sim.below(8) {
        0..=3 => user(),
        4 => json!({"format": "aliases", "identifiers": [
            {"format": "email", "email": format!("user{}@example.com", sim.below(2))},
            {"format": "email", "email": format!("user{}@example.com", 2 + sim.below(2))},
        ]}),
        5 => json!({"format": "complex", "user": user(), "device": device(), "tenant": tenant()}),
        6 => json!({"format": "complex", "device": device(), "tenant": tenant()}),
        _ => json!({"format": "complex", "tenant": tenant()}),
    }
}

/// By what an event about this subject is kept in order (SEM-5): each identifier, every alias; of a complex
/// subject all members that name somebody, not those that say where he belongs; the whole if nothing is left.
pub(crate) fn identifiers(subject: &Value) -> BTreeSet<String> {
    const SCOPES: [&str; 4] = ["tenant", "group", "org_unit", "application"];
    let simple = |identifier: &Value| match identifier["identifiers"].as_array() {
        Some(aliases) => aliases.iter().map(canonical).collect(),
        None => BTreeSet::from([canonical(identifier)]),
    };
    if subject["format"] != "complex" {
        return simple(subject);
    }
    let members = subject.as_object().into_iter().flatten();
    let named = members.filter(|(name, _)| *name != "format" && !SCOPES.contains(&name.as_str()));
    let found: BTreeSet<String> = named.flat_map(|(_, member)| simple(member)).collect();
    if found.is_empty() { BTreeSet::from([canonical(subject)]) } else { found }
}

fn canonical(value: &Value) -> String {
    match value.as_object() {
        Some(members) => {
            let sorted: BTreeMap<&str, String> =
                members.iter().map(|(name, member)| (name.as_str(), canonical(member))).collect();
            format!("{sorted:?}")
        }
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_shares_an_identifier_conflicts() {
        let one = identifiers(&json!({"format": "email", "email": "a@x"}));
        let aliases = json!({"format": "aliases", "identifiers": [
            {"email": "a@x", "format": "email"}, {"format": "opaque", "id": "1"}]});
        let complex = json!({"format": "complex", "user": {"format": "opaque", "id": "1"},
            "tenant": {"format": "opaque", "id": "t"}});
        let tenant = json!({"format": "complex", "tenant": {"format": "opaque", "id": "t"}});
        assert!(!one.is_disjoint(&identifiers(&aliases)), "whatever the order of members");
        assert!(!identifiers(&aliases).is_disjoint(&identifiers(&complex)));
        assert!(one.is_disjoint(&identifiers(&complex)));
        assert!(identifiers(&tenant).is_disjoint(&identifiers(&complex)), "a tenant orders nothing");
        assert_eq!(identifiers(&tenant).len(), 1);
    }
}
