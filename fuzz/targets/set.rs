//! Claims of strangers: reading, proving and linting never panic, and keep what they read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secevent::caep::SessionRevoked;
use secevent::lint::{self, Ruleset};
use secevent::{Claims, Profile, Set, Strictness, Timestamp, Vocabulary};

fuzz_target!(|bytes: &[u8]| {
    for profile in Profile::ALL {
        if let Ok(set) = Set::read(bytes, profile) {
            assert_eq!(set.as_json().as_bytes(), bytes, "a SET is kept byte for byte");
            look_around(&set);
        }
    }
    for ruleset in Ruleset::ALL {
        lint::check(None, bytes, ruleset, Some(NOW));
    }
    lint::check(Some(bytes), b"{}", Ruleset::Ssf, None);
    if let Ok(claims) = Claims::read(bytes) {
        write_and_read(&claims);
    }
});

const NOW: Timestamp = Timestamp::from_seconds(1_900_000_000);

/// Whatever was read can be asked everything.
fn look_around(set: &Set) {
    let _ = (set.iss(), set.jti(), set.iat(), set.aud(), set.event_time());
    let _ = set.events().get::<SessionRevoked>();
    let subject = set.subject();
    for (uri, payload) in set.events().iter() {
        let _ = Vocabulary::standard().check(uri, payload, subject.as_deref(), Strictness::Lenient);
    }
}

fn write_and_read(claims: &Claims) {
    let written = serde_json::to_string(claims).expect("claims can be written");
    let read = Claims::read(written.as_bytes()).expect("what was written can be read");
    let again = serde_json::to_string(&read).expect("claims can be written");
    assert_eq!(again, written, "what was read is what was written");
    for profile in Profile::ALL {
        if let Ok(set) = claims.clone().prove(profile) {
            Set::read(set.as_json().as_bytes(), profile).expect("what is strictly right is leniently right");
        }
    }
}
