//! Tokens that other products signed, recorded in `specs/peers`: what a receiver makes of each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secevent::caep::AssuranceLevelChange;
use secevent::ssf::{StreamStatus, StreamUpdated};
use secevent::{Fault, Profile, Set, Strictness, Timestamp, Vocabulary};
use secevent_jose::{Algorithms, Compact, Expected, IssuerKeys, JwkSet, VerifyError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn recorded(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/peers").join(file);
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
}

/// A party whose tokens were recorded.
struct Peer {
    keys: IssuerKeys,
    audience: String,
}

impl Peer {
    fn new(issuer: &str, jwks: &Value, audience: &str) -> Self {
        let jwks = JwkSet::from_json(jwks.to_string().as_bytes()).unwrap();
        let keys = IssuerKeys::new(issuer, jwks);
        Self { keys, audience: audience.to_owned() }
    }

    fn keycloak(audience: &str) -> Self {
        Self::new("http://127.0.0.1:31881/realms/demo", &recorded("keycloak-jwks.json"), audience)
    }

    /// Verifies a SET under a profile, a moment after it was made.
    fn verify(&self, token: &str, profile: Profile) -> Result<Set, VerifyError> {
        let token = Compact::parse(token)?;
        let claims: Value = serde_json::from_slice(token.unverified_payload()).unwrap();
        let now = Timestamp::from_seconds(claims["iat"].as_i64().unwrap() + 1);
        let expected = Expected::new(profile).audience(&self.audience);
        self.keys.verify_set(&token, &expected, now)
    }
}

/// What a lenient receiver says of the payloads of a SET.
fn understood(set: &Set) -> bool {
    set.events().iter().all(|(uri, payload)| {
        Vocabulary::standard().check(uri, payload, set.subject().as_deref(), Strictness::Lenient).is_ok()
    })
}

fn tokens(sets: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match sets.as_array() {
        Some(sets) => sets.iter().map(|set| (text(&set["name"]), text(&set["token"]))).collect(),
        None => sets.as_object().unwrap().iter().map(|(name, token)| (name.clone(), text(token))).collect(),
    }
}

// finding: A8
#[test]
fn sets_of_keycloak_are_ssf_and_those_of_its_sse_clients_are_legacy() {
    let sets = tokens(&recorded("keycloak-sets.json")["sets"]);
    assert_eq!(sets.len(), 21);
    for (name, token) in &sets {
        let claims: Value =
            serde_json::from_slice(Compact::parse(token).unwrap().unverified_payload()).unwrap();
        let peer = Peer::keycloak(claims["aud"].as_str().unwrap());
        let is_old = name.starts_with("sse");
        let set = peer.verify(token, if is_old { Profile::Legacy } else { Profile::Ssf });
        let set = set.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(understood(&set), "{name}");
        assert!(set.subject().is_some(), "{name}");
        if is_old {
            assert_eq!(
                peer.verify(token, Profile::Ssf).unwrap_err().fault(),
                Fault::InvalidRequest,
                "{name}"
            );
        }
        if name.starts_with("stream-updated") || name == "push4" {
            let updated = set.events().get::<StreamUpdated>().unwrap().expect("that is the event");
            let inside = &claims["events"].as_object().unwrap().values().next().unwrap()["status"]["status"];
            assert_eq!(updated.status, StreamStatus::from(inside.as_str().unwrap()), "{name}");
        }
    }
    let token = &sets["cred-delete"];
    let error = Peer::keycloak("rx-push/someone-else").verify(token, Profile::Ssf).unwrap_err();
    assert_eq!(error.fault(), Fault::InvalidAudience);
}

/// Keycloak forgets the audience of a polled stream whose endpoint it was made to forget.
#[test]
fn a_set_without_an_audience_is_refused() {
    let recorded = recorded("keycloak-poll.json");
    let exchanges = recorded["exchanges"].as_array().unwrap();
    let exchange = exchanges.iter().find(|one| one["note"].as_str().unwrap().starts_with("SET without aud"));
    let answer: Value =
        serde_json::from_str(exchange.unwrap()["response"]["body"].as_str().unwrap()).unwrap();
    let sets = tokens(&answer["sets"]);
    assert!(!sets.is_empty());
    for token in sets.values() {
        let error = Peer::keycloak("rx-poll").verify(token, Profile::Ssf).unwrap_err();
        assert_eq!(error.fault(), Fault::InvalidAudience);
    }
}

// finding: A11
#[test]
fn sets_of_sgnl_are_understood_once_the_peer_is_known_to_be_legacy() {
    let recorded = recorded("caepdev-secevent-sets.json");
    let peer = Peer::new("https://idp.example.com", &recorded["jwks"], "https://rp.example.com");
    for (name, token) in tokens(&recorded["sets"]) {
        let set = peer.verify(&token, Profile::Legacy).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(set.subject().is_some(), "{name}");
        // The builder of its credential change writes the URI of another event type.
        assert_eq!(understood(&set), name != "ev-credential", "{name}");
        let is_ssf = peer.verify(&token, Profile::Ssf).is_ok();
        assert_eq!(is_ssf, !["multi", "sub-iss_sub"].contains(&&*name), "{name}");
    }
    let sets = tokens(&recorded["sets"]);
    let set = peer.verify(&sets["ev-assurance"], Profile::Legacy).unwrap();
    let change = set.events().get::<AssuranceLevelChange>().unwrap().expect("that is the event");
    assert_eq!((change.namespace.as_str(), &*change.current_level), ("NIST-AAL", "nist-aal2"));
    let set = peer.verify(&sets["sub-iss_sub"], Profile::Legacy).unwrap();
    let named = secevent::Subject::iss_sub("https://idp.example.com", "7").unwrap();
    assert!(set.subject().unwrap().matches(&named));
}

#[test]
fn sets_with_the_subject_in_the_payload_are_legacy() {
    let recorded = recorded("secevent-js-sets.json");
    let peer = Peer::new("https://idp.example.com", &recorded["jwks"], "https://app.example.com");
    for (name, token) in tokens(&recorded["sets"]) {
        assert!(peer.verify(&token, Profile::Ssf).is_err(), "{name}");
        let set = peer.verify(&token, Profile::Legacy).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(understood(&set), "{name}");
        assert_eq!(set.subject().is_some(), name != "ver", "{name}");
    }
}

#[test]
fn sets_of_i2gosignals_are_ssf() {
    let recorded = recorded("i2goSignals-transmitter.json");
    let peer = Peer::new("http://127.0.0.1:35335", &recorded["jwks"], "https://rx.example");
    let sets = tokens(&recorded["poll_answer"]["sets"]);
    assert_eq!(sets.len(), 3);
    for (jti, token) in sets {
        let set = peer.verify(&token, Profile::Ssf).unwrap();
        assert_eq!(set.jti(), jti);
        assert!(understood(&set));
    }
}

// spec: BCL-29
#[test]
fn logout_tokens_are_good_at_their_time_and_expire() {
    let form = |body: &str| body.trim().strip_prefix("logout_token=").unwrap().to_owned();
    let mut seen = Vec::new();
    for name in ["sid", "nosid", "rp"] {
        let recorded = recorded(&format!("keycloak-logout-{name}.json"));
        let token = form(recorded["exchanges"][0]["request"]["body"].as_str().unwrap());
        let bytes =
            STANDARD.decode(recorded["exchanges"][0]["keycloak_bytes_b64"].as_str().unwrap()).unwrap();
        assert!(String::from_utf8(bytes).unwrap().ends_with(&format!("logout_token={token}")));
        seen.push((name.to_owned(), token, "http://127.0.0.1:31881/realms/demo", recorded_keycloak_keys()));
    }
    let provider = recorded("oidc-provider-backchannel-logout.json");
    for request in provider["requests"].as_array().unwrap() {
        let token = form(request["body"].as_str().unwrap());
        let issuer = "http://127.0.0.1:38633";
        seen.push((request["url"].as_str().unwrap().to_owned(), token, issuer, provider["jwks"].clone()));
    }
    assert_eq!(seen.len(), 11);
    for (name, token, issuer, jwks) in seen {
        let compact = Compact::parse(&token).unwrap();
        let claims: Value = serde_json::from_slice(compact.unverified_payload()).unwrap();
        let mut peer = Peer::new(issuer, &jwks, claims["aud"].as_str().unwrap());
        // A key that names no algorithm is for one only: the one that the recipient expects.
        peer.keys = peer.keys.allow_only(Algorithms::of(&[compact.header().algorithm()]));
        let set = peer.verify(&token, Profile::Logout).unwrap_or_else(|error| panic!("{name}: {error}"));
        let names_session = !(name == "nosid" || name.ends_with("/false"));
        assert_eq!(set.claims().sid.is_some(), names_session, "{name}");
        assert!(peer.verify(&token, Profile::Ssf).is_err(), "{name}");
        let much_later = Timestamp::from_seconds(claims["exp"].as_i64().unwrap() + 3_600);
        let expected = Expected::new(Profile::Logout).audience(claims["aud"].as_str().unwrap());
        assert!(peer.keys.verify_set(&compact, &expected, much_later).is_err(), "{name}");
    }
}

fn recorded_keycloak_keys() -> Value {
    recorded("keycloak-jwks.json")
}

/// An access token is none of the tokens that a receiver takes.
#[test]
fn access_tokens_are_no_sets() {
    let recorded = recorded("keycloak-access-tokens.json");
    for token in recorded["tokens"].as_array().unwrap() {
        let peer = Peer::keycloak("http://127.0.0.1:31984");
        for profile in Profile::ALL {
            assert!(peer.verify(token["token"].as_str().unwrap(), profile).is_err(), "{profile}");
        }
    }
}
