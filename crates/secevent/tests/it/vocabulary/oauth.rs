//! OAuth Event Types 1.0 (draft), at the level of a token.

use super::{
    claims_for, definition, emit, emit_about, identifiers_are_exact, is_empty, payload_of, received, refusal,
    subject_of,
};
use secevent::oauth::{
    ClientCredentialChanged, ClientDisabled, ClientEnabled, TokenIdentifier, TokenIdentifierAlg, TokenIssued,
    TokenRevoked, TokenRevokedReason, TokenType, TokensRevoked, TokensRevokedReason,
};
use secevent::{EventStatus, EventType, Profile, Set, Strictness, Subject, Vocabulary};
use serde_json::{Value, json};

// spec: OAUTH-01
#[test]
fn identifiers() {
    identifiers_are_exact("oauth:*", "https://schemas.openid.net/secevent/oauth/event-type/", 6);
    assert!(Vocabulary::standard().matching("oauth:*").all(|known| known.status() == EventStatus::Draft));
}

// spec: OAUTH-03, OAUTH-06
#[test]
fn subjects_of_tokens_and_clients_are_complete() {
    for (format, rule, members) in [
        ("oauth_token", "OAUTH-03", &["token_type", "token_identifier_alg", "token"][..]),
        ("oauth_client", "OAUTH-06", &["client_id"]),
    ] {
        let whole = subject_of(format).to_value();
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            assert_eq!(Subject::from_value(whole.clone(), strictness).unwrap().format(), format);
            for name in members {
                let mut wrong = whole.clone();
                wrong.as_object_mut().unwrap().remove(*name);
                let error = Subject::from_value(wrong, strictness).unwrap_err();
                assert_eq!((error.member(), error.rule()), (*name, rule));
            }
        }
    }
}

// spec: OAUTH-04
#[test]
fn a_live_token_is_not_given_away_by_accident() {
    for named in [TokenIdentifier::prefix(TOKEN), TokenIdentifier::hash(TOKEN, sha512)] {
        let subject = named.subject(&TokenType::RefreshToken).unwrap();
        let set = emit_about(&TokenRevoked::default(), Some(subject)).unwrap();
        assert!(!set.as_json().contains(TOKEN), "{named:?}");
    }
    let plain = TokenIdentifier::plain_in_the_clear(TOKEN);
    assert_eq!((plain.alg(), plain.token()), (&TokenIdentifierAlg::Plain, TOKEN));
    assert!(!format!("{plain:?}").contains(TOKEN), "nor is it logged");
}

// spec: OAUTH-05
#[test]
fn the_identifiers_that_google_uses() {
    let prefix = TokenIdentifier::prefix(TOKEN);
    assert_eq!((prefix.alg().as_str(), prefix.token()), ("prefix", "7265667265736820"));
    let hash = TokenIdentifier::hash(TOKEN, sha512);
    assert_eq!((hash.alg().as_str(), hash.token()), ("hash_base64_sha512_sha512", HASH));
    assert_eq!(TokenIdentifier::prefix("kurz").token(), "kurz");

    for (alg, token) in
        [("plain", TOKEN), ("prefix", "7265667265736820"), ("hash_base64_sha512_sha512", HASH)]
    {
        let received = TokenIdentifier::received(alg, token);
        assert_eq!(received.names(TOKEN, sha512), Some(true), "{alg}");
        assert_eq!(received.names("another", sha512), Some(false), "{alg}");
    }
    assert_eq!(TokenIdentifier::received("hash_rot13", TOKEN).names(TOKEN, sha512), None);
}

// spec: OAUTH-07
#[test]
fn token_issued_is_about_a_token() {
    is_empty::<TokenIssued>();
    let issued = TokenIssued { token_subject: Some(subject_of("iss_sub")), ..TokenIssued::default() };
    let payload = payload_of::<TokenIssued>(&emit(&issued).unwrap());
    assert_eq!(payload, json!({"token_subject": subject_of("iss_sub").to_value()}));
    assert_eq!(received::<TokenIssued>(&payload), issued);
    let mut nobody = claims_for(definition(TokenIssued::NAME)).with_event(&issued).unwrap();
    nobody.sub_id = None;
    assert_eq!(nobody.prove(Profile::Ssf).unwrap_err().member(), "sub_id");
    let error = emit_about(&issued, Some(subject_of("iss_sub"))).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("sub_id", "OAUTH-07"));
    let wrong = json!({"token_subject": {"format": "email"}});
    assert_eq!(refusal(TokenIssued::NAME, &wrong).0, "token_subject.email");
}

// spec: OAUTH-08
#[test]
fn token_revoked_is_about_a_token() {
    is_empty::<TokenRevoked>();
    for text in ["inactive", "too_many", "api", "user", "issuer", "bored"] {
        let revoked = TokenRevoked { reason: Some(text.into()), ..TokenRevoked::default() };
        assert_eq!(payload_of::<TokenRevoked>(&emit(&revoked).unwrap()), json!({"reason": text}));
        assert_eq!(matches!(revoked.reason, Some(TokenRevokedReason::Other(_))), text == "bored");
    }
    let error = emit_about(&TokenRevoked::default(), Some(subject_of("oauth_client"))).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("sub_id", "OAUTH-08"));
    assert_eq!(refusal(TokenRevoked::NAME, &json!({"reason": 1})), ("reason".to_owned(), "OAUTH-08"));
    assert_eq!(refusal(TokenRevoked::NAME, &json!({"token_subject": "alice"})).0, "token_subject");
}

// spec: OAUTH-10
#[test]
fn tokens_revoked_is_about_an_account() {
    is_empty::<TokensRevoked>();
    for (text, reason) in [("user", TokensRevokedReason::User), ("issuer", TokensRevokedReason::Issuer)] {
        let revoked = received::<TokensRevoked>(&json!({"reason": text}));
        assert_eq!(revoked.reason, Some(reason));
        let set = emit(&revoked).unwrap();
        assert_eq!(payload_of::<TokensRevoked>(&set), json!({"reason": text}));
        assert_eq!(set.subject().unwrap().format(), "iss_sub");
    }
    assert_eq!(refusal(TokensRevoked::NAME, &json!({"reason": 1})), ("reason".to_owned(), "OAUTH-10"));
}

// spec: OAUTH-11
#[test]
fn events_of_clients_are_empty_objects() {
    is_empty::<ClientDisabled>();
    is_empty::<ClientEnabled>();
    is_empty::<ClientCredentialChanged>();
}

// spec: OAUTH-12
#[test]
fn over_ssf_the_subject_is_the_tokens() {
    let revoked = emit(&TokenRevoked::default()).unwrap();
    assert_eq!(revoked.subject().unwrap().format(), "oauth_token");
    assert_eq!(payload_of::<TokenRevoked>(&revoked), json!({}), "and not in the payload");
    assert_eq!(emit(&ClientDisabled {}).unwrap().subject().unwrap().format(), "oauth_client");
    let error = emit_about(&ClientEnabled {}, Some(subject_of("email"))).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("sub_id", "OAUTH-12"));
    let for_old_peers = TokenRevoked { subject: Some(subject_of("oauth_token")), ..TokenRevoked::default() };
    let payload = payload_of::<TokenRevoked>(&emit(&for_old_peers).unwrap());
    assert_eq!(payload, json!({"subject": subject_of("oauth_token").to_value()}));
}

// spec: OAUTH-13
#[test]
fn the_subject_is_read_from_either_place_in_either_spelling() {
    let members =
        json!({"token_type": "refresh_token", "token_identifier_alg": "prefix", "token": "7265667265736820"});
    let spelt = |name: &str| {
        let mut subject = members.clone();
        subject[name] = json!("oauth_token");
        subject
    };
    let token = |sub_id: Option<Value>, payload: Value| {
        let mut token = json!({
            "iss": "https://idp.example", "jti": "1", "iat": 1_900_000_000, "aud": "rp",
            "events": {TokenRevoked::URI: payload},
        });
        if let Some(sub_id) = sub_id {
            token["sub_id"] = sub_id;
        }
        Set::read(token.to_string().as_bytes(), Profile::Legacy).unwrap()
    };
    let wanted = subject_of("oauth_token");
    for set in [
        token(Some(spelt("format")), json!({})),
        token(Some(spelt("format")), json!({"subject": {"format": "opaque", "id": "another"}})),
        token(None, json!({"subject": spelt("format")})),
        token(None, json!({"subject": spelt("subject_type")})),
    ] {
        assert_eq!(set.subject().as_deref(), Some(&wanted), "{}", set.as_json());
    }
    let old = received::<TokenRevoked>(&json!({"subject": spelt("subject_type"), "reason": "user"}));
    assert_eq!(old.subject, Some(wanted));
}

/// The token of the draft's figures.
const TOKEN: &str = "7265667265736820746F6B656E20737472696E67";
const HASH: &str = "y7yqHWJJ+VdPWLi1PEr25iuRWK70g+Lac68xgbYbTIhgc9NQQVoVVH0fetK+pmxzavKmSrDRVF+HdoebC2VBVg==";

/// SHA-512 of the token and of its digest, worked out elsewhere; of anything else, nothing in particular.
fn sha512(bytes: &[u8]) -> [u8; 64] {
    let once = unhex(
        "d78b75468e5cb6f2be1af0c7a3a1db0de3f536a4d03dabd1e961a24e56542fbb\
         74815eb1a38e53988a79aa68843fcff0f586899b984a77f0124288ec8f0c870b",
    );
    let twice = unhex(
        "cbbcaa1d6249f9574f58b8b53c4af6e62b9158aef483e2da73af3181b61b4c88\
         6073d350415a15547d1f7ad2bea66c736af2a64ab0d1545f8776879b0b654156",
    );
    if bytes == TOKEN.as_bytes() {
        once
    } else if bytes == once {
        twice
    } else {
        [0; 64]
    }
}

fn unhex(text: &str) -> [u8; 64] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}
