//! RISC 1.0, at the level of a token.

use super::{
    claims_for, definition, emit, emit_about, findings, identifiers_are_exact, is_empty, payload_of, read,
    received, refusal, subject_of,
};
use secevent::caep::CredentialType;
use secevent::risc::{
    AccountCredentialChangeRequired, AccountDisabled, AccountEnabled, AccountPurged, CredentialCompromise,
    DisabledReason, IdentifierChanged, IdentifierRecycled, NotPossible, OptIn, OptOutCancelled,
    OptOutEffective, OptOutInitiated, RecoveryActivated, RecoveryInformationChanged, RiscChange, RiscState,
    SessionsRevoked,
};
use secevent::ssf::Verification;
use secevent::{EventStatus, EventType, Identifier, Profile, Set, Strictness, Subject, Vocabulary};
use serde_json::json;

// spec: RISC-01
#[test]
fn identifiers() {
    identifiers_are_exact("risc:*", "https://schemas.openid.net/secevent/risc/event-type/", 14);
}

// spec: RISC-02, RISC-03, RISC-06, RISC-20, RISC-21
#[test]
fn events_without_members_are_empty_objects() {
    is_empty::<AccountCredentialChangeRequired>();
    is_empty::<AccountPurged>();
    is_empty::<AccountEnabled>();
    is_empty::<RecoveryActivated>();
    is_empty::<RecoveryInformationChanged>();
}

// spec: RISC-04, RISC-05
#[test]
fn why_an_account_was_disabled() {
    is_empty::<AccountDisabled>();
    for (text, reason) in [
        ("hijacking", DisabledReason::Hijacking),
        ("bulk-account", DisabledReason::BulkAccount),
        ("tea-time", DisabledReason::Other("tea-time".to_owned())),
    ] {
        let disabled = received::<AccountDisabled>(&json!({"reason": text}));
        assert_eq!(disabled.reason, Some(reason));
        assert_eq!(payload_of::<AccountDisabled>(&emit(&disabled).unwrap()), json!({"reason": text}));
    }
    assert_eq!(refusal(AccountDisabled::NAME, &json!({"reason": 1})), ("reason".to_owned(), "RISC-04"));
}

// spec: RISC-07, RISC-08
#[test]
fn identifier_changed_names_the_old_identifier() {
    let changed = IdentifierChanged { new_value: Some("john.roe@example.com".to_owned()) };
    let old = Subject::email("john.doe@example.com").unwrap();
    let set = emit_about(&changed, Some(old.clone())).unwrap();
    assert_eq!(set.subject().as_deref(), Some(&old));
    assert_eq!(payload_of::<IdentifierChanged>(&set), json!({"new-value": "john.roe@example.com"}));
    let other_spelling = received::<IdentifierChanged>(&json!({"new_value": "john.roe@example.com"}));
    assert_eq!(other_spelling.new_value, None, "the name is exact");

    assert!(emit_about(&changed, Some(subject_of("phone_number"))).is_ok());
    let complex = Subject::complex([("user", Identifier::email("john.doe@example.com").unwrap())]).unwrap();
    for wrong in [subject_of("iss_sub"), subject_of("opaque"), complex] {
        let error = emit_about(&changed, Some(wrong)).unwrap_err();
        assert_eq!((error.member(), error.rule()), ("sub_id", "RISC-07"));
    }
}

// spec: RISC-10
#[test]
fn identifier_recycled_is_about_an_identifier() {
    is_empty::<IdentifierRecycled>();
    assert!(emit_about(&IdentifierRecycled {}, Some(subject_of("phone_number"))).is_ok());
    let error = emit_about(&IdentifierRecycled {}, Some(subject_of("iss_sub"))).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("sub_id", "RISC-10"));
}

// spec: RISC-11
#[test]
fn phone_is_read_and_phone_number_is_sent() {
    let registered = json!({"format": "phone_number", "phone_number": "+12065550100"});
    let text = json!({"format": "phone", "phone_number": "+12065550100"});
    let read = |value| Subject::from_value(value, Strictness::Lenient).unwrap();
    assert_eq!(read(text.clone()), read(registered.clone()));
    let set = emit_about(&IdentifierRecycled {}, Some(read(text.clone()))).unwrap();
    assert_eq!(serde_json::to_value(set.claims()).unwrap()["sub_id"], registered);
    assert!(Subject::from_value(text, Strictness::Strict).is_err());
}

// spec: RISC-12, RISC-13
#[test]
fn credential_compromise() {
    let compromise = CredentialCompromise::new(CredentialType::Password);
    assert_eq!(
        payload_of::<CredentialCompromise>(&emit(&compromise).unwrap()),
        json!({"credential_type": "password"})
    );
    let full = json!({
        "credential_type": "fido2-roaming", "event_timestamp": 1_615_304_991,
        "reason_admin": {"en": "found in a dump"}, "reason_user": {"en": "Change it, please"},
    });
    assert_eq!(
        payload_of::<CredentialCompromise>(&emit(&received::<CredentialCompromise>(&full)).unwrap()),
        full
    );
    assert_eq!(refusal(CredentialCompromise::NAME, &json!({})), ("credential_type".to_owned(), "RISC-12"));
    assert!(read(CredentialCompromise::NAME, &json!({})).is_err());
    for (name, value) in [
        ("event_timestamp", json!("1615304991")),
        ("reason_admin", json!({})),
        ("reason_user", json!("text")),
    ] {
        let mut wrong = full.clone();
        wrong[name] = value;
        assert_eq!(refusal(CredentialCompromise::NAME, &wrong), (name.to_owned(), "RISC-13"));
    }
}

// spec: RISC-14, RISC-15, RISC-17
#[test]
fn opting_in_and_out() {
    is_empty::<OptIn>();
    is_empty::<OptOutInitiated>();
    is_empty::<OptOutCancelled>();
    is_empty::<OptOutEffective>();
    let after = |state: RiscState, uri| state.after(RiscChange::of_event(uri).unwrap());

    let leaving = after(RiscState::OptIn, OptOutInitiated::URI).unwrap();
    assert_eq!(leaving, RiscState::OptOutInitiated);
    assert_eq!(after(leaving, OptOutCancelled::URI), Ok(RiscState::OptIn));
    assert_eq!(after(leaving, OptOutEffective::URI), Ok(RiscState::OptOut));
    assert_eq!(after(RiscState::OptOut, OptIn::URI), Ok(RiscState::OptIn));
    let flow = [RiscState::OptIn, RiscState::OptOutInitiated, RiscState::OptOut].map(RiscState::events_flow);
    assert_eq!(flow, [true, true, false]);

    for (from, change) in [
        (RiscState::OptIn, RiscChange::OptOutEffective),
        (RiscState::OptOutInitiated, RiscChange::OptIn),
        (RiscState::OptOut, RiscChange::OptOutInitiated),
        (RiscState::OptOut, RiscChange::OptOutCancelled),
    ] {
        assert_eq!(from.after(change), Err(NotPossible { from, change }));
    }
    for change in [
        RiscChange::OptIn,
        RiscChange::OptOutInitiated,
        RiscChange::OptOutCancelled,
        RiscChange::OptOutEffective,
    ] {
        let state = change.leads_to();
        assert_eq!(state.after(change), Ok(state), "a redelivery changes nothing");
    }
    assert_eq!(RiscChange::of_event(AccountPurged::URI), None);
}

// spec: RISC-22, RISC-23
#[test]
fn sessions_revoked_is_read_and_not_sent() {
    assert_eq!(definition(SessionsRevoked::URI).status(), EventStatus::Deprecated);
    let sendable: Vec<_> = Vocabulary::standard().sendable().map(secevent::Definition::name).collect();
    assert!(!sendable.contains(&"risc:sessions-revoked"));
    assert!(sendable.contains(&"caep:session-revoked"));
    assert_eq!(sendable.len(), 42);
    received::<SessionsRevoked>(&json!({}));
    let rules: Vec<_> =
        findings(SessionsRevoked::NAME, &json!({})).iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["RISC-22"]);
}

// spec: RISC-24, RISC-25
#[test]
fn the_old_spelling_of_format_is_read_from_either_and_never_sent() {
    let old = json!({"subject_type": "iss-sub", "iss": "https://idp.example", "sub": "alice"});
    let new = json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "alice"});
    for subject in [&old, &new] {
        let token = json!({
            "iss": "https://idp.example", "jti": "1", "iat": 1_900_000_000, "aud": "rp",
            "events": {AccountDisabled::URI: {"subject": subject, "reason": "hijacking"}},
        });
        let set = Set::read(token.to_string().as_bytes(), Profile::Legacy).unwrap();
        let disabled = set.events().get::<AccountDisabled>().unwrap().unwrap();
        assert_eq!(disabled.reason, Some(DisabledReason::Hijacking));
        let subject = set.subject().unwrap().into_owned();
        assert_eq!(subject.to_value(), new);
        let sent = emit_about(&disabled, Some(subject)).unwrap();
        assert!(!sent.as_json().contains("subject_type"));
        assert!(sent.claims().clone().prove(Profile::Legacy).is_err(), "that profile is for reading");
    }
    assert!(Subject::from_value(old, Strictness::Strict).is_err());
}

// spec: RISC-26
#[test]
fn risc_events_follow_ssf() {
    let disabled =
        || claims_for(definition(AccountDisabled::NAME)).with_event(&AccountDisabled::default()).unwrap();
    assert_eq!(disabled().prove(Profile::Ssf).unwrap().profile().typ(), "secevent+jwt");
    let mut with_sub = disabled();
    with_sub.sub = Some("alice".to_owned());
    let mut with_exp = disabled();
    with_exp.exp = with_exp.iat;
    let mut without = disabled();
    without.sub_id = None;
    for (claims, member) in [(with_sub, "sub"), (with_exp, "exp"), (without, "sub_id")] {
        assert_eq!(claims.prove(Profile::Ssf).unwrap_err().member(), member);
    }
}

// spec: LEGACY-17, LEGACY-19
#[test]
fn events_of_google_are_read() {
    let subject =
        json!({"subject_type": "iss-sub", "iss": "https://accounts.google.com/", "sub": "7375626A656374"});
    for (uri, payload) in [
        ("https://schemas.openid.net/secevent/risc/event-type/sessions-revoked", json!({"subject": subject})),
        (AccountDisabled::URI, json!({"subject": subject, "reason": "bulk-account"})),
        (AccountEnabled::URI, json!({"subject": subject})),
        (AccountCredentialChangeRequired::URI, json!({"subject": subject})),
        ("https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked", json!({"subject": subject})),
        (
            "https://schemas.openid.net/secevent/oauth/event-type/token-revoked",
            json!({"subject": {
                "subject_type": "oauth_token", "token_type": "refresh_token",
                "token_identifier_alg": "hash_base64_sha512_sha512", "token": "cGhlbg==",
            }}),
        ),
        ("https://schemas.openid.net/secevent/risc/event-type/verification", json!({"state": "ANYTHING"})),
    ] {
        let token = json!({
            "iss": "https://accounts.google.com/", "aud": "123456789-abcedfgh.apps.googleusercontent.com",
            "iat": 1_508_184_845, "jti": "756E", "events": {uri: payload},
        });
        let set = Set::read(token.to_string().as_bytes(), Profile::Legacy).unwrap();
        let known = Vocabulary::standard();
        assert!(known.find(uri).is_some(), "{uri}");
        let (_, raw) = set.events().iter().next().unwrap();
        assert_eq!(known.check(uri, raw, set.subject().as_deref(), Strictness::Lenient), Ok(()), "{uri}");
        assert_eq!(set.subject().is_some(), payload.get("subject").is_some(), "{uri}");
        if let Some(verification) = set.events().get::<Verification>().unwrap() {
            assert_eq!(verification.state.as_deref(), Some("ANYTHING"));
        }
    }
}
