//! The life of a signing key.

use secevent::Timestamp;
use secevent_jose::{
    Algorithm, Compact, IssuerKeys, KeyError, KeyRing, KeyRingError, RotationTimes, Signer, SigningKey,
    StoredKeyRing, TypRule, VerifyError,
};
use std::time::Duration;

const TIMES: RotationTimes =
    RotationTimes { publish_ahead: Duration::from_secs(100), keep_behind: Duration::from_secs(1_000) };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid(kid).unwrap()
}

fn published(ring: &KeyRing) -> Vec<String> {
    ring.public_keys().keys().iter().map(|key| key.kid().unwrap().to_owned()).collect()
}

fn signed(ring: &KeyRing) -> String {
    ring.signer(Signer::SECURITY_EVENT).sign(b"{}").unwrap()
}

fn check(ring: &KeyRing, token: &str) -> Result<(), VerifyError> {
    let issuer = IssuerKeys::new("https://idp.example/", ring.public_keys());
    let compact = Compact::parse(token)?;
    issuer.verify(&compact, TypRule::SecurityEvent).map(drop)
}

#[test]
fn a_key_is_published_before_it_signs_and_after() {
    let mut ring = KeyRing::new(key("a"));
    let old = signed(&ring);
    assert_eq!(ring.next_change_at(), None);

    assert_eq!(ring.schedule(key("b"), at(0), TIMES), Ok(at(100)));
    assert_eq!(published(&ring), ["a", "b"]);
    assert_eq!(ring.next().unwrap().public().kid(), Some("b"));
    assert!(!ring.rotate(at(99), TIMES), "receivers may not have seen it yet");
    assert_eq!(ring.current().kid(), "a");
    assert_eq!(ring.next_change_at(), Some(at(100)));

    // The clock may be late; the grace begins when the key really stops signing.
    assert!(ring.rotate(at(105), TIMES));
    assert_eq!((ring.current().kid(), published(&ring)), ("b", vec!["b".to_owned(), "a".to_owned()]));
    assert_eq!(ring.previous().unwrap().retire_at, at(1_105));
    let new = signed(&ring);
    assert_eq!((check(&ring, &old), check(&ring, &new)), (Ok(()), Ok(())));

    assert!(!ring.rotate(at(1_104), TIMES));
    assert!(ring.rotate(at(1_105), TIMES));
    assert_eq!(published(&ring), ["b"]);
    assert_eq!(check(&ring, &old), Err(VerifyError::UnknownKey { kid: Some("a".into()) }));
    assert_eq!(check(&ring, &new), Ok(()));
    assert!(!ring.rotate(at(9_999), TIMES));
}

#[test]
fn a_successor_waits_for_the_previous_key_to_leave() {
    let mut ring = KeyRing::new(key("a"));
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    ring.rotate(at(100), TIMES);
    assert_eq!(ring.schedule(key("c"), at(200), TIMES), Ok(at(1_100)), "or tokens of `a` would be lost");
    assert_eq!(published(&ring), ["b", "c", "a"]);
    assert!(ring.rotate(at(1_100), TIMES));
    assert_eq!(published(&ring), ["c", "b"]);
}

#[test]
fn a_scheduled_key_must_be_new_and_alone() {
    let current = key("a");
    let renamed = current.clone().with_kid("z").unwrap();
    let mut ring = KeyRing::new(current);
    for reused in [key("a"), renamed] {
        let kid = reused.kid().to_owned();
        assert_eq!(ring.schedule(reused, at(0), TIMES), Err(KeyRingError::KeyReused { kid }));
    }
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    assert_eq!(ring.schedule(key("c"), at(0), TIMES), Err(KeyRingError::NextExists));
}

#[test]
fn a_compromised_key_leaves_at_once() {
    let leaked = key("a");
    let mut ring = KeyRing::new(leaked.clone());
    let token = signed(&ring);
    assert_eq!(ring.withdraw("a"), Err(KeyRingError::NoSuccessor));
    assert_eq!(ring.withdraw("z"), Err(KeyRingError::UnknownKey));
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    assert_eq!(ring.withdraw("a"), Ok(()));
    assert_eq!((ring.current().kid(), published(&ring)), ("b", vec!["b".to_owned()]));
    assert!(ring.is_withdrawn("a") && !ring.is_withdrawn("b"));
    assert_eq!(check(&ring, &token), Err(VerifyError::UnknownKey { kid: Some("a".into()) }));
    assert!(check(&ring, &signed(&ring)).is_ok());

    // Neither the name nor the numbers come back.
    for reused in [leaked.with_kid("z").unwrap(), key("a")] {
        let kid = reused.kid().to_owned();
        assert_eq!(ring.schedule(reused, at(0), TIMES), Err(KeyRingError::KeyReused { kid }));
    }

    ring.schedule(key("c"), at(0), TIMES).unwrap();
    assert_eq!(ring.withdraw("c"), Ok(()));
    assert!(ring.next().is_none());
    ring.schedule(key("d"), at(0), TIMES).unwrap();
    ring.rotate(at(100), TIMES);
    assert_eq!(ring.withdraw("b"), Ok(()), "the previous key");
    assert_eq!(published(&ring), ["d"]);
}

#[test]
fn the_memory_of_withdrawn_keys_is_bounded() {
    let mut ring = KeyRing::new(key("a"));
    for round in 0..KeyRing::WITHDRAWN_MAX {
        ring.schedule(key(&format!("n{round}")), at(0), TIMES).unwrap();
        ring.withdraw(&format!("n{round}")).unwrap();
    }
    assert_eq!(ring.to_stored_secret().withdrawn.len(), KeyRing::WITHDRAWN_MAX);
    assert!(!ring.is_withdrawn("n0") && ring.is_withdrawn("n99"));
}

#[test]
fn a_stored_ring_comes_back_as_it_was() {
    let mut ring = KeyRing::new(key("a"));
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    ring.rotate(Timestamp::from_micros(100_000_001), TIMES);
    ring.schedule(key("x"), at(0), TIMES).unwrap();
    ring.withdraw("x").unwrap();
    ring.schedule(key("c"), at(200), TIMES).unwrap();

    let stored = ring.to_stored_secret();
    assert!(!format!("{stored:?}{ring:?}").contains(r#""d":"#));
    let json = serde_json::to_string(&stored).unwrap();
    let read: StoredKeyRing = serde_json::from_str(&json).unwrap();
    assert_eq!(read, stored);
    let mut back = KeyRing::from_stored(&read).unwrap();
    assert_eq!(back.to_stored_secret(), stored);
    assert_eq!(back.public_keys(), ring.public_keys());
    assert!(check(&ring, &signed(&back)).is_ok());
    assert!(back.rotate(at(2_000), TIMES));
    assert_eq!((back.current().kid(), published(&back)), ("c", vec!["c".to_owned(), "b".to_owned()]));

    let later = StoredKeyRing { version: 2, ..read.clone() };
    assert!(matches!(KeyRing::from_stored(&later), Err(KeyRingError::Stored(_))));
    let damaged = StoredKeyRing { current: "{}".to_owned().into(), ..read };
    let error = KeyRing::from_stored(&damaged).unwrap_err();
    assert!(matches!(error, KeyRingError::StoredKey(KeyError::Malformed { .. })), "{error}");
}
