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
    assert_eq!(ring.next()[0].public().kid(), Some("b"));
    assert!(!ring.rotate(at(99), TIMES), "receivers may not have seen it yet");
    assert_eq!(ring.current().kid(), "a");
    assert_eq!(ring.next_change_at(), Some(at(100)));

    // The clock may be late; the grace begins when the key really stops signing.
    assert!(ring.rotate(at(105), TIMES));
    assert_eq!((ring.current().kid(), published(&ring)), ("b", vec!["b".to_owned(), "a".to_owned()]));
    assert_eq!(ring.previous()[0].retire_at, at(1_105));
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
fn several_keys_that_have_signed_are_published_until_each_has_had_its_time() {
    let mut ring = KeyRing::new(key("a"));
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    ring.rotate(at(100), TIMES);
    assert_eq!(ring.schedule(key("c"), at(200), TIMES), Ok(at(300)));
    assert_eq!(published(&ring), ["b", "c", "a"]);
    assert!(ring.rotate(at(300), TIMES));
    assert_eq!(published(&ring), ["c", "b", "a"]);
    assert!(ring.rotate(at(1_100), TIMES));
    assert_eq!(published(&ring), ["c", "b"]);

    // They are not published without bound.
    let mut ring = KeyRing::new(key("a"));
    for round in 0..KeyRing::PREVIOUS_MAX {
        ring.schedule(key(&format!("n{round}")), at(0), TIMES).unwrap();
        ring.rotate(at(100), TIMES);
    }
    assert_eq!(ring.schedule(key("z"), at(200), TIMES), Err(KeyRingError::TooManyPrevious));
    ring.rotate(at(1_100), TIMES);
    assert!(ring.schedule(key("z"), at(1_100), TIMES).is_ok());
}

#[test]
fn a_published_key_signs_when_that_is_asked_for_and_not_too_early() {
    let mut ring = KeyRing::new(key("a"));
    let missing = KeyRingError::NoNext { algorithm: Algorithm::EdDsa };
    assert_eq!(ring.promote(Algorithm::EdDsa, None, TIMES), Err(missing.clone()));
    assert_eq!(ring.promote_at_once(Algorithm::EdDsa, at(0)), Err(missing));
    ring.publish(key("b"), at(0)).unwrap();
    assert!(!ring.rotate(at(9_999), TIMES), "nobody asked");
    assert_eq!(ring.next_change_at(), None);
    let early = KeyRingError::TooEarly { earliest: at(100) };
    assert_eq!(ring.promote(Algorithm::EdDsa, Some(at(99)), TIMES), Err(early));
    assert_eq!(ring.promote(Algorithm::EdDsa, Some(at(500)), TIMES), Ok(at(500)));
    assert!(!ring.rotate(at(499), TIMES));
    ring.promote_at_once(Algorithm::EdDsa, at(1)).unwrap();
    assert!(ring.rotate(at(1), TIMES));
    assert_eq!((ring.current().kid(), ring.all_current()[0].since()), ("b", Some(at(1))));
}

#[test]
fn each_algorithm_has_a_key_of_its_own() {
    let other = |kid: &str| SigningKey::generate(Algorithm::Es256).unwrap().with_kid(kid).unwrap();
    let mut ring = KeyRing::new(key("a"));
    let algorithm = Algorithm::Es256;
    assert_eq!(ring.publish(other("e"), at(0)), Err(KeyRingError::OtherAlgorithm { algorithm }));
    assert!(!ring.end(Algorithm::EdDsa, at(0), TIMES), "the last one stays");
    ring.begin(other("e"), at(0)).unwrap();
    assert_eq!(ring.begin(other("f"), at(0)), Err(KeyRingError::NextExists { algorithm }));
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    ring.schedule(other("f"), at(50), TIMES).unwrap();
    assert_eq!(published(&ring), ["a", "e", "b", "f"]);
    ring.rotate(at(100), TIMES);
    assert_eq!(published(&ring), ["b", "e", "f", "a"], "each in its own time");

    assert!(ring.lead_with(Algorithm::Es256) && !ring.lead_with(Algorithm::Es256));
    assert_eq!(ring.current().kid(), "e");
    assert!(ring.end(Algorithm::EdDsa, at(200), TIMES));
    assert_eq!(published(&ring), ["e", "f", "b", "a"]);
    assert_eq!(ring.previous()[0].retire_at, at(1_200));
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
    assert_eq!(
        ring.schedule(key("c"), at(0), TIMES),
        Err(KeyRingError::NextExists { algorithm: Algorithm::EdDsa })
    );
}

#[test]
fn a_compromised_key_leaves_at_once() {
    let leaked = key("a");
    let mut ring = KeyRing::new(leaked.clone());
    let token = signed(&ring);
    assert_eq!(ring.withdraw("a", at(50)), Err(KeyRingError::NoSuccessor));
    assert_eq!(ring.withdraw("z", at(50)), Err(KeyRingError::UnknownKey));
    ring.schedule(key("b"), at(0), TIMES).unwrap();
    assert_eq!(ring.withdraw("a", at(50)), Ok(()));
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
    assert_eq!(ring.withdraw("c", at(50)), Ok(()));
    assert!(ring.next().is_empty());
    ring.schedule(key("d"), at(0), TIMES).unwrap();
    ring.rotate(at(100), TIMES);
    assert_eq!(ring.withdraw("b", at(50)), Ok(()), "the previous key");
    assert_eq!(published(&ring), ["d"]);
}

#[test]
fn the_memory_of_withdrawn_keys_is_bounded() {
    let mut ring = KeyRing::new(key("a"));
    for round in 0..KeyRing::WITHDRAWN_MAX {
        ring.schedule(key(&format!("n{round}")), at(0), TIMES).unwrap();
        ring.withdraw(&format!("n{round}"), at(50)).unwrap();
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
    ring.withdraw("x", at(50)).unwrap();
    ring.schedule(key("c"), at(200), TIMES).unwrap();

    let stored = ring.to_stored_secret();
    assert!(!format!("{stored:?}{ring:?}").contains(r#""d":"#));
    let json = serde_json::to_string(&stored).unwrap();
    let read = StoredKeyRing::from_json(json.as_bytes()).unwrap();
    assert_eq!(read, stored);
    let mut back = KeyRing::from_stored(&read).unwrap();
    assert_eq!(back.to_stored_secret(), stored);
    assert_eq!(back.public_keys(), ring.public_keys());
    assert!(check(&ring, &signed(&back)).is_ok());
    assert!(back.rotate(at(2_000), TIMES));
    assert_eq!((back.current().kid(), published(&back)), ("c", vec!["c".to_owned(), "b".to_owned()]));
    assert_eq!(back.all_current()[0].since(), Some(at(2_000)));

    let later = StoredKeyRing { version: 3, ..read.clone() };
    assert!(matches!(KeyRing::from_stored(&later), Err(KeyRingError::Stored(_))));
    let later = serde_json::to_string(&later).unwrap();
    assert!(matches!(StoredKeyRing::from_json(later.as_bytes()), Err(KeyRingError::Stored(_))));
    let mut damaged = read.clone();
    damaged.current[0].jwk = "{}".to_owned().into();
    let error = KeyRing::from_stored(&damaged).unwrap_err();
    assert!(matches!(error, KeyRingError::StoredKey(KeyError::Malformed { .. })), "{error}");
    let none = StoredKeyRing { current: Vec::new(), ..read };
    assert!(matches!(KeyRing::from_stored(&none), Err(KeyRingError::Stored(_))));
}

/// The first form had one algorithm and one previous key. It is read for ever.
#[test]
fn a_ring_that_was_stored_in_the_first_form_comes_back() {
    let (b, c) = (key("b"), key("c"));
    let (previous, b_text, c_text) = (key("a").public().to_json(), b.to_json_secret(), c.to_json_secret());
    let json = serde_json::json!({
        "version": 1,
        "previous": {"jwk": previous, "retire_at": at(1_000)},
        "current": b_text.expose(),
        "next": {"jwk": c_text.expose(), "promote_at": at(500)},
        "withdrawn": ["x"],
    });
    let stored = StoredKeyRing::from_json(json.to_string().as_bytes()).unwrap();
    let mut ring = KeyRing::from_stored(&stored).unwrap();
    assert_eq!(published(&ring), ["b", "c", "a"]);
    assert!(ring.is_withdrawn("x"));
    assert!(ring.count_from(at(7)) && !ring.count_from(at(8)));
    assert_eq!(ring.all_current()[0].since(), Some(at(7)));
    assert!(ring.rotate(at(500), TIMES));
    assert_eq!((ring.current().kid(), published(&ring)), ("c", ["c", "b", "a"].map(str::to_owned).to_vec()));
}
