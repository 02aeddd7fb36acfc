//! CAEP 1.0, at the level of a token.

use super::{
    below_event, definition, emit, emit_about, findings, identifiers_are_exact, is_empty, payload_of, read,
    received, refusal, subject_of, user, write,
};
use secevent::caep::{
    AssuranceLevelChange, ChangeDirection, ChangeType, ComplianceStatus, CredentialChange, CredentialType,
    DeviceComplianceChange, InitiatingEntity, Namespace, Principal, RiskLevel, RiskLevelChange,
    SessionEstablished, SessionPresented, SessionRevoked, TokenClaimsChange,
};
use secevent::{ByLanguage, EventType, Identifier, Subject, Timestamp};
use serde_json::{Value, json};

// spec: CAEP-01
#[test]
fn identifiers() {
    identifiers_are_exact("caep:*", "https://schemas.openid.net/secevent/caep/event-type/", 8);
    let set = read(SessionRevoked::URI, &json!({})).unwrap();
    assert!(set.events().get::<SessionRevoked>().unwrap().is_some());
    let slash = set.as_json().replace("session-revoked", "session-revoked/");
    let slash = secevent::Set::read(slash.as_bytes(), secevent::Profile::Ssf).unwrap();
    assert!(slash.events().get::<SessionRevoked>().unwrap().is_none(), "a slash makes it another event");
}

// spec: CAEP-02
#[test]
fn the_time_of_the_event_is_a_number_of_seconds() {
    let at = Timestamp::from_seconds(1_615_304_991);
    let revoked = SessionRevoked { event_timestamp: Some(at), ..SessionRevoked::default() };
    let set = emit(&revoked).unwrap();
    assert_eq!(set.events().raw(SessionRevoked::URI), Some(r#"{"event_timestamp":1615304991}"#));
    assert_eq!(received::<SessionRevoked>(&json!({"event_timestamp": 1_615_304_991})), revoked);

    let string = json!({"event_timestamp": "1615304991"});
    assert_eq!(refusal(SessionRevoked::NAME, &string), ("event_timestamp".to_owned(), "CAEP-10"));
    assert!(read(SessionRevoked::NAME, &string).is_err());

    let milliseconds = findings(SessionRevoked::NAME, &json!({"event_timestamp": 1_615_304_991_000_u64}));
    assert_eq!(milliseconds.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["CAEP-02"]);
}

// spec: CAEP-03, CAEP-04
#[test]
fn who_set_it_off() {
    for known in ["admin", "user", "policy", "system"] {
        let revoked = SessionRevoked { initiating_entity: Some(known.into()), ..SessionRevoked::default() };
        assert_eq!(
            payload_of::<SessionRevoked>(&emit(&revoked).unwrap()),
            json!({"initiating_entity": known})
        );
        assert!(!matches!(revoked.initiating_entity, Some(InitiatingEntity::Other(_))), "{known}");
    }
    let idp = SessionRevoked { initiating_entity: Some("idp".into()), ..SessionRevoked::default() };
    let error = emit(&idp).unwrap_err();
    assert_eq!(below_event(SessionRevoked::NAME, &error), ("initiating_entity".to_owned(), "CAEP-04"));
    assert_eq!(received::<SessionRevoked>(&json!({"initiating_entity": "idp"})), idp, "a reader keeps it");
}

// spec: CAEP-05, CAEP-06
#[test]
fn reasons_are_texts_by_language() {
    let both = ByLanguage::english("Landspeed").with("es-410", "Violación");
    let revoked = SessionRevoked { reason_admin: Some(both), ..SessionRevoked::default() };
    let payload = payload_of::<SessionRevoked>(&emit(&revoked).unwrap());
    assert_eq!(payload, json!({"reason_admin": {"en": "Landspeed", "es-410": "Violación"}}));

    let none = SessionRevoked { reason_user: Some(ByLanguage::default()), ..SessionRevoked::default() };
    let error = emit(&none).unwrap_err();
    assert_eq!(below_event(SessionRevoked::NAME, &error), ("reason_user".to_owned(), "CAEP-06"));
    for (name, wrong) in [
        ("reason_admin", json!({"reason_admin": {}})),
        ("reason_admin", json!({"reason_admin": "Landspeed"})),
        ("reason_user.en", json!({"reason_user": {"en": 7}})),
        ("reason_user.not a tag", json!({"reason_user": {"not a tag": "text"}})),
    ] {
        assert_eq!(refusal(SessionRevoked::NAME, &wrong), (name.to_owned(), "CAEP-06"), "{wrong}");
    }
}

// spec: CAEP-07, CAEP-08, LEGACY-05
#[test]
fn old_reasons_are_read_and_languages_fall_back() {
    let old =
        received::<SessionRevoked>(&json!({"reason_admin": "Landspeed", "reason_user": {"es-410": "Hola"}}));
    let reason_admin = old.reason_admin.unwrap();
    assert_eq!(reason_admin.iter().collect::<Vec<_>>(), [(ByLanguage::UNDETERMINED, "Landspeed")]);
    assert_eq!(reason_admin.best("de"), Some("Landspeed"));
    let reason_user = old.reason_user.unwrap();
    for asked in ["ES-410", "es", "es-MX", "fr"] {
        assert_eq!(reason_user.best(asked), Some("Hola"), "{asked}");
    }
}

// spec: CAEP-09
#[test]
fn session_revoked_has_no_member_of_its_own() {
    is_empty::<SessionRevoked>();
    let names: Vec<_> = definition(SessionRevoked::NAME).members().iter().map(|member| member.name).collect();
    assert_eq!(names, ["event_timestamp", "initiating_entity", "reason_admin", "reason_user"]);
}

// spec: CAEP-11
#[test]
fn a_complex_subject_covers_what_fits_all_its_members() {
    let device = |id: &str| Identifier::opaque(id).unwrap();
    let subject = Subject::complex([("user", user("alice")), ("device", device("laptop"))]).unwrap();
    let set = emit_about(&SessionRevoked::default(), Some(subject)).unwrap();
    let revoked = set.subject().unwrap().into_owned();
    let session = |name: &str, on: &str| {
        Subject::complex([("user", user(name)), ("device", device(on)), ("session", device("s-1"))]).unwrap()
    };
    assert!(revoked.matches(&session("alice", "laptop")));
    assert!(!revoked.matches(&session("alice", "phone")), "only that device's sessions end");
    assert!(!revoked.matches(&session("bob", "laptop")));
}

// spec: CAEP-12, CAEP-14
#[test]
fn token_claims_change_carries_the_new_values() {
    let mut change = TokenClaimsChange::default();
    change.claims.insert("trusted_network".to_owned(), Value::Bool(false));
    change.claims.insert("roles".to_owned(), json!(["ro-admin", null, 1]));
    for format in ["jwt_id", "saml_assertion_id"] {
        let set = emit_about(&change, Some(subject_of(format))).unwrap();
        assert_eq!(set.subject().unwrap().format(), format);
        let kept = set.events().get::<TokenClaimsChange>().unwrap().unwrap();
        assert_eq!(kept.claims["trusted_network"], Value::Bool(false), "false is a value");
        assert_eq!(kept, change);
    }
    for wrong in [json!({}), json!({"claims": {}}), json!({"claims": "role"}), json!({"claims": ["role"]})] {
        assert_eq!(refusal(TokenClaimsChange::NAME, &wrong), ("claims".to_owned(), "CAEP-12"), "{wrong}");
        assert!(read(TokenClaimsChange::NAME, &wrong).is_err(), "{wrong}");
    }
}

// spec: CAEP-15
#[test]
fn credential_types() {
    let known = [
        "password",
        "pin",
        "x509",
        "fido2-platform",
        "fido2-roaming",
        "fido-u2f",
        "verifiable-credential",
        "phone-voice",
        "phone-sms",
        "app",
    ];
    for text in known.into_iter().chain(["passkey"]) {
        let change = CredentialChange::new(text.into(), ChangeType::Create);
        let payload = payload_of::<CredentialChange>(&emit(&change).unwrap());
        assert_eq!(payload, json!({"credential_type": text, "change_type": "create"}));
        assert_eq!(received::<CredentialChange>(&payload), change);
        let is_known = !matches!(change.credential_type, CredentialType::Other(_));
        assert_eq!(is_known, text != "passkey", "{text}");
    }
    for wrong in [json!({"change_type": "create"}), json!({"credential_type": 7, "change_type": "create"})] {
        assert_eq!(refusal(CredentialChange::NAME, &wrong), ("credential_type".to_owned(), "CAEP-15"));
        assert!(read(CredentialChange::NAME, &wrong).is_err(), "{wrong}");
    }
}

// spec: CAEP-16
#[test]
fn change_types_are_a_closed_list() {
    for text in ["create", "revoke", "update", "delete"] {
        assert!(emit(&CredentialChange::new(CredentialType::Pin, text.into())).is_ok(), "{text}");
    }
    let other = json!({"credential_type": "pin", "change_type": "rotate"});
    assert_eq!(refusal(CredentialChange::NAME, &other), ("change_type".to_owned(), "CAEP-16"));
    assert_eq!(received::<CredentialChange>(&other).change_type.as_str(), "rotate", "a reader keeps it");
    let none = json!({"credential_type": "pin"});
    assert_eq!(refusal(CredentialChange::NAME, &none), ("change_type".to_owned(), "CAEP-16"));
    assert!(read(CredentialChange::NAME, &none).is_err());
}

// spec: CAEP-17
#[test]
fn what_else_credential_change_may_tell() {
    let payload = json!({
        "credential_type": "x509", "change_type": "update", "friendly_name": "Jane's card",
        "x509_issuer": "CN=ca", "x509_serial": "07", "fido2_aaguid": "accced6a-63f5-490a-9eea-e59bc1896cfc",
    });
    let change = received::<CredentialChange>(&payload);
    assert_eq!(change.x509_serial.as_deref(), Some("07"));
    assert_eq!(payload_of::<CredentialChange>(&emit(&change).unwrap()), payload);
    for name in ["friendly_name", "x509_issuer", "x509_serial", "fido2_aaguid"] {
        let mut wrong = payload.clone();
        wrong[name] = json!(7);
        assert_eq!(refusal(CredentialChange::NAME, &wrong), (name.to_owned(), "CAEP-17"));
    }
}

// spec: CAEP-19, CAEP-20, CAEP-21
#[test]
fn assurance_levels() {
    let aliases = ["RFC8176", "RFC6711", "ISO-IEC-29115", "NIST-IAL", "NIST-AAL", "NIST-FAL", "Retinal Scan"];
    for namespace in aliases {
        let change = AssuranceLevelChange::new(namespace.into(), "hi-res-scan");
        let payload = payload_of::<AssuranceLevelChange>(&emit(&change).unwrap());
        assert_eq!(payload, json!({"namespace": namespace, "current_level": "hi-res-scan"}));
        assert_eq!(received::<AssuranceLevelChange>(&payload), change);
    }
    for (name, rule, wrong) in [
        ("namespace", "CAEP-19", json!({"current_level": "1"})),
        ("namespace", "CAEP-19", json!({"namespace": 1, "current_level": "1"})),
        ("current_level", "CAEP-20", json!({"namespace": "NIST-AAL"})),
        ("current_level", "CAEP-20", json!({"namespace": "NIST-AAL", "current_level": 1})),
        (
            "event_timestamp",
            "CAEP-20",
            json!({"namespace": "x", "current_level": "1", "event_timestamp": "1"}),
        ),
        ("previous_level", "CAEP-21", json!({"namespace": "x", "current_level": "1", "previous_level": 1})),
    ] {
        assert_eq!(refusal(AssuranceLevelChange::NAME, &wrong), (name.to_owned(), rule), "{wrong}");
    }
}

// spec: CAEP-22, CAEP-34
#[test]
fn a_previous_level_that_is_not_told_is_not_known() {
    let change =
        received::<AssuranceLevelChange>(&json!({"namespace": "NIST-AAL", "current_level": "nist-aal2"}));
    assert_eq!(
        (change.previous_level, change.change_direction),
        (None, None),
        "neither none nor lower is assumed"
    );
    let risk = received::<RiskLevelChange>(&json!({"principal": "USER", "current_level": "HIGH"}));
    assert_eq!(risk.previous_level, None);
    let told = json!({"principal": "USER", "current_level": "HIGH", "previous_level": "LOW"});
    assert_eq!(received::<RiskLevelChange>(&told).previous_level, Some(RiskLevel::Low));
    let wrong = json!({"principal": "USER", "current_level": "HIGH", "previous_level": "low"});
    assert_eq!(refusal(RiskLevelChange::NAME, &wrong), ("previous_level".to_owned(), "CAEP-34"));
}

// spec: CAEP-23, CAEP-24
#[test]
fn the_direction_of_a_change() {
    for (text, direction) in
        [("increase", ChangeDirection::Increase), ("decrease", ChangeDirection::Decrease)]
    {
        let change = AssuranceLevelChange {
            previous_level: Some("nist-aal1".to_owned()),
            change_direction: Some(direction),
            ..AssuranceLevelChange::new(Namespace::NistAal, "nist-aal2")
        };
        let payload = payload_of::<AssuranceLevelChange>(&emit(&change).unwrap());
        assert_eq!(payload["change_direction"], text);
        assert_eq!(findings(AssuranceLevelChange::NAME, &payload), []);
    }
    let sideways = json!({"namespace": "NIST-AAL", "current_level": "2", "change_direction": "sideways"});
    assert_eq!(refusal(AssuranceLevelChange::NAME, &sideways), ("change_direction".to_owned(), "CAEP-24"));
    let untold = json!({"namespace": "NIST-AAL", "current_level": "2", "previous_level": "1"});
    let rules: Vec<_> =
        findings(AssuranceLevelChange::NAME, &untold).iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["CAEP-23"]);
}

// spec: CAEP-25
#[test]
fn device_compliance() {
    let change = DeviceComplianceChange::new(ComplianceStatus::Compliant, ComplianceStatus::NotCompliant);
    let payload = payload_of::<DeviceComplianceChange>(&emit(&change).unwrap());
    assert_eq!(payload, json!({"previous_status": "compliant", "current_status": "not-compliant"}));
    for name in ["previous_status", "current_status"] {
        let mut wrong = payload.clone();
        wrong[name] = json!("non-compliant");
        assert_eq!(refusal(DeviceComplianceChange::NAME, &wrong), (name.to_owned(), "CAEP-25"));
        wrong.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(DeviceComplianceChange::NAME, &wrong), (name.to_owned(), "CAEP-25"));
        assert!(read(DeviceComplianceChange::NAME, &wrong).is_err(), "{wrong}");
    }
    let mut wrong = payload;
    wrong["event_timestamp"] = json!("now");
    assert_eq!(refusal(DeviceComplianceChange::NAME, &wrong), ("event_timestamp".to_owned(), "CAEP-25"));
}

// spec: CAEP-26, CAEP-27
#[test]
fn session_established() {
    is_empty::<SessionEstablished>();
    let payload = json!({"fp_ua": "abb0b6e7", "acr": "AAL2", "amr": ["otp", "pwd"], "ext_id": "12345"});
    let established = received::<SessionEstablished>(&payload);
    assert_eq!(established.amr.as_deref(), Some(&["otp".to_owned(), "pwd".to_owned()][..]));
    assert_eq!(payload_of::<SessionEstablished>(&emit(&established).unwrap()), payload);
    for (name, rule, wrong) in [
        ("amr", "CAEP-27", json!({"amr": "otp"})),
        ("amr", "CAEP-27", json!({"amr": ["otp", 1]})),
        ("acr", "CAEP-26", json!({"acr": ["AAL2"]})),
        ("fp_ua", "CAEP-26", json!({"fp_ua": 1})),
        ("ext_id", "CAEP-26", json!({"ext_id": 12345})),
    ] {
        assert_eq!(refusal(SessionEstablished::NAME, &wrong), (name.to_owned(), rule), "{wrong}");
    }
}

// spec: CAEP-30
#[test]
fn session_presented() {
    is_empty::<SessionPresented>();
    let payload = json!({"fp_ua": "abb0b6e7", "ext_id": "12345"});
    assert_eq!(
        payload_of::<SessionPresented>(&emit(&received::<SessionPresented>(&payload)).unwrap()),
        payload
    );
    for name in ["fp_ua", "ext_id"] {
        let wrong = json!({name: 12345});
        assert_eq!(refusal(SessionPresented::NAME, &wrong), (name.to_owned(), "CAEP-30"));
    }
}

// spec: CAEP-32
#[test]
fn principals_at_risk() {
    for text in ["USER", "DEVICE", "SESSION", "TENANT", "ORG_UNIT", "GROUP", "APPLICATION"] {
        let change = RiskLevelChange::new(text.into(), RiskLevel::Medium);
        let payload = payload_of::<RiskLevelChange>(&emit(&change).unwrap());
        assert_eq!(payload, json!({"principal": text, "current_level": "MEDIUM"}));
        assert_eq!(received::<RiskLevelChange>(&payload), change);
        assert_eq!(matches!(change.principal, Principal::Other(_)), text == "APPLICATION");
    }
    for wrong in [json!({"current_level": "LOW"}), json!({"principal": 1, "current_level": "LOW"})] {
        assert_eq!(refusal(RiskLevelChange::NAME, &wrong), ("principal".to_owned(), "CAEP-32"), "{wrong}");
    }
}

// spec: CAEP-33, CAEP-35
#[test]
fn risk_levels() {
    for level in ["LOW", "MEDIUM", "HIGH"] {
        let change = RiskLevelChange {
            risk_reason: Some("PASSWORD_FOUND_IN_DATA_BREACH".to_owned()),
            ..RiskLevelChange::new(Principal::User, level.into())
        };
        let payload = payload_of::<RiskLevelChange>(&emit(&change).unwrap());
        let told = json!({
            "principal": "USER", "current_level": level, "risk_reason": "PASSWORD_FOUND_IN_DATA_BREACH",
        });
        assert_eq!(payload, told);
    }
    let low = RiskLevelChange::new(Principal::User, "low".into());
    let error = emit(&low).unwrap_err();
    assert_eq!(below_event(RiskLevelChange::NAME, &error), ("current_level".to_owned(), "CAEP-33"));
    let none = write(RiskLevelChange::NAME, &json!({"principal": "USER"})).unwrap_err();
    assert_eq!(below_event(RiskLevelChange::NAME, &none), ("current_level".to_owned(), "CAEP-33"));
    let reason = json!({"principal": "USER", "current_level": "LOW", "risk_reason": ["x"]});
    assert_eq!(refusal(RiskLevelChange::NAME, &reason), ("risk_reason".to_owned(), "CAEP-35"));
}
