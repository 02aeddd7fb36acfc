//! Key sets of strangers: each key that is taken can be written and read again, and nothing private is in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secevent_jose::{Jwk, JwkSet};

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = JwkSet::from_json(bytes) else { return };
    for key in set.keys() {
        let written = key.to_json();
        assert_eq!(Jwk::from_json(&written).as_ref(), Ok(key));
        assert!(!written.contains("\"d\":"), "private halves are left behind");
        let _ = key.thumbprint();
    }
    let again = JwkSet::from_json(set.to_json()).expect("what was written can be read");
    assert_eq!((again.keys(), again.skipped()), (set.keys(), &[][..]));
});
