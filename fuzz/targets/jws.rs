//! Compact tokens of strangers: whatever is made of them, only what was signed is accepted.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use secevent::{Profile, Timestamp};
use secevent_jose::{Compact, Expected, IssuerKeys, JwkSet, TypRule};
use std::sync::LazyLock;

fuzz_target!(|bytes: &[u8]| {
    only_what_was_signed(bytes);
    // Chance seldom writes base64url that means something, so the same bytes also stand as a header and a payload.
    let encoded = URL_SAFE_NO_PAD.encode(bytes);
    let [header, payload, signature] = SIGNED[0].splitn(3, '.').collect::<Vec<_>>()[..] else { return };
    only_what_was_signed(format!("{encoded}.{payload}.{signature}").as_bytes());
    only_what_was_signed(format!("{header}.{encoded}.{signature}").as_bytes());
});

fn only_what_was_signed(token: &[u8]) {
    let Ok(compact) = Compact::parse(token) else { return };
    for rule in [TypRule::SecurityEventOrUntyped, TypRule::LogoutTokenOrUntyped, TypRule::SecurityEvent] {
        if let Ok(verified) = ISSUER.verify(&compact, rule) {
            assert_eq!(verified.payload(), compact.unverified_payload());
            assert!(SIGNED.iter().any(|signed| same_input(signed, token)), "this was never signed");
        }
    }
    let expected = Expected::new(Profile::Rfc8417);
    let set = ISSUER.verify_set(&compact, &expected, Timestamp::from_seconds(1_900_000_000));
    assert!(set.is_err(), "none of the signed payloads is a SET");
}

/// The keys that RFC 7515 and RFC 8037 print, and the tokens they made there.
static ISSUER: LazyLock<IssuerKeys> = LazyLock::new(|| {
    let keys = JwkSet::from_json(include_str!("../seeds/jwk_set/printed.json")).expect("the keys are sound");
    IssuerKeys::new("joe", keys)
});
const SIGNED: [&str; 4] = [
    include_str!("../seeds/jws/rs256"),
    include_str!("../seeds/jws/es256"),
    include_str!("../seeds/jws/es512"),
    include_str!("../seeds/jws/eddsa"),
];

/// Whether both have the same header and payload. A signature over these may have more than one form.
fn same_input(signed: &str, token: &[u8]) -> bool {
    let signing_input = |token: &[u8]| token.rsplitn(2, |&byte| byte == b'.').last().map(<[u8]>::to_vec);
    signing_input(signed.as_bytes()) == signing_input(token)
}
