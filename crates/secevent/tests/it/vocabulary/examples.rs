//! Every event that a specification prints is read by its type and written back the same.

use crate::specs_json;
use secevent::caep::{
    AssuranceLevelChange, CredentialChange, DeviceComplianceChange, RiskLevelChange, SessionEstablished,
    SessionPresented, SessionRevoked, TokenClaimsChange,
};
use secevent::logout::BackchannelLogout;
use secevent::oauth::{ClientDisabled, TokenIssued, TokenRevoked, TokensRevoked};
use secevent::risc::{
    AccountCredentialChangeRequired, AccountDisabled, AccountEnabled, CredentialCompromise,
    IdentifierChanged, IdentifierRecycled,
};
use secevent::scim::{
    AsyncResponse, FeedAdd, FeedRemove, ProvActivate, ProvCreateFull, ProvCreateNotice, ProvDelete,
    ProvPatchFull, ProvPatchNotice, ProvPutFull, ProvPutNotice,
};
use secevent::ssf::{StreamUpdated, Verification};
use secevent::{Claims, EventType, Events, Strictness, Subject, Vocabulary};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn every_printed_event_is_read_and_written_back() {
    let index = specs_json("examples/index.json");
    let examples = index["examples"].as_array().unwrap().iter();
    let mut types = BTreeSet::new();
    let mut count = 0;
    for example in examples.filter(|example| example["kind"].as_str().unwrap().starts_with("set-claims")) {
        let file = example["file"].as_str().unwrap();
        let printed = specs_json(&format!("examples/{file}"));
        let printed = printed.get("json_after_minimal_fix").unwrap_or(&printed);
        let Some(events) = printed["events"].as_object() else { continue };
        let claims = Claims::read(printed.to_string().as_bytes());
        for (uri, payload) in events {
            if Vocabulary::standard().find(uri).is_none() {
                assert!(OLD_OR_MADE_UP.contains(&uri.as_str()), "{file}: {uri}");
                continue;
            }
            let events = &claims.as_ref().unwrap_or_else(|error| panic!("{file}: {error}")).events;
            assert_eq!(typed(events, uri, file), expected(uri, payload), "{file}");
            let document = example["document"].as_str().unwrap();
            if document != "OAUTH" && document != "LEGACY" {
                let checked =
                    Vocabulary::standard().check(uri, &payload.to_string(), None, Strictness::Strict);
                assert_eq!(checked, Ok(()), "{file}");
            }
            types.insert(uri.clone());
            count += 1;
        }
    }
    assert_eq!((count, types.len()), (51, 32), "examples, and the types that they show");
}

/// Identifiers that RFC 8417 and RFC 9493 made up for their figures.
const OLD_OR_MADE_UP: [&str; 5] = [
    "urn:ietf:params:scim:event:passwordReset",
    "https://example.com/scim/event/passwordResetExt",
    "https://openid.net/heart/specs/consent.html",
    "urn:ietf:params:scim:event:create",
    "https://secevent.example.com/events/message-interception",
];

/// The event through its type: read, and written again.
fn typed(events: &Events, uri: &str, file: &str) -> Value {
    fn again<E: EventType>(events: &Events) -> Result<Option<Value>, String> {
        let event = events.get::<E>().map_err(|error| error.to_string())?;
        Ok(event.map(|event| serde_json::to_value(event).unwrap()))
    }
    let readers = [
        again::<Verification>,
        again::<StreamUpdated>,
        again::<SessionRevoked>,
        again::<TokenClaimsChange>,
        again::<CredentialChange>,
        again::<AssuranceLevelChange>,
        again::<DeviceComplianceChange>,
        again::<SessionEstablished>,
        again::<SessionPresented>,
        again::<RiskLevelChange>,
        again::<AccountCredentialChangeRequired>,
        again::<AccountDisabled>,
        again::<AccountEnabled>,
        again::<IdentifierChanged>,
        again::<IdentifierRecycled>,
        again::<CredentialCompromise>,
        again::<FeedAdd>,
        again::<FeedRemove>,
        again::<ProvCreateFull>,
        again::<ProvCreateNotice>,
        again::<ProvPatchFull>,
        again::<ProvPatchNotice>,
        again::<ProvPutFull>,
        again::<ProvPutNotice>,
        again::<ProvDelete>,
        again::<ProvActivate>,
        again::<AsyncResponse>,
        again::<TokenIssued>,
        again::<TokenRevoked>,
        again::<TokensRevoked>,
        again::<ClientDisabled>,
        again::<BackchannelLogout>,
    ];
    let mut found =
        readers.iter().filter_map(|reader| reader(events).unwrap_or_else(|error| panic!("{file}: {error}")));
    let event = found.next().unwrap_or_else(|| panic!("{file}: no type reads {uri}"));
    assert_eq!(found.next(), None, "{file}: two types read {uri}");
    event
}

/// What is printed, with subjects in today's shape. The types of RISC leave the subject to the token, where
/// it has been since SSF.
fn expected(uri: &str, payload: &Value) -> Value {
    let mut expected = payload.clone();
    let members = expected.as_object_mut().unwrap();
    if uri.contains("/risc/") {
        members.remove("subject");
    }
    for name in ["subject", "token_subject"] {
        if let Some(subject) = members.get_mut(name) {
            *subject = Subject::from_legacy_value(subject.clone()).unwrap().to_value();
        }
    }
    expected
}
