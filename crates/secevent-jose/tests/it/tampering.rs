//! Whatever is changed about a token, it is refused.

use proptest::prelude::*;
use secevent_jose::{
    Algorithm, Algorithms, Compact, IssuerKeys, JwkSet, Signer, SigningKey, TypRule, VerifyError,
};
use std::sync::LazyLock;

/// One signer for each algorithm, and the receiver that knows all their keys.
static SIGNERS: LazyLock<Vec<(Signer, IssuerKeys)>> = LazyLock::new(|| {
    let signer = |algorithm| Signer::new(SigningKey::generate(algorithm).unwrap(), Signer::SECURITY_EVENT);
    let signers: Vec<_> = Algorithm::ALL.into_iter().map(signer).collect();
    let keys: JwkSet = signers.iter().map(|signer| signer.key().public().clone()).collect();
    let issuer = IssuerKeys::new("https://idp.example/", keys).allow_only(Algorithms::ALL);
    signers.into_iter().map(|signer| (signer, issuer.clone())).collect()
});

fn payload_of(issuer: &IssuerKeys, token: &[u8]) -> Result<Vec<u8>, VerifyError> {
    let compact = Compact::parse(token)?;
    issuer.verify(&compact, TypRule::SecurityEvent).map(|verified| verified.payload().to_vec())
}

proptest! {
    // spec: SET-24
    #[test]
    fn any_changed_byte_is_refused(
        signer in 0..Algorithm::ALL.len(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (signer, issuer) = &SIGNERS[signer];
        let token = signer.sign(&payload).unwrap();
        prop_assert_eq!(payload_of(issuer, token.as_bytes()), Ok(payload));

        let mut changed = token.clone().into_bytes();
        let place = place.index(changed.len());
        prop_assume!(changed[place] != byte);
        changed[place] = byte;
        prop_assert!(payload_of(issuer, &changed).is_err(), "byte {} of {}", place, token);
    }

    #[test]
    fn no_bytes_make_it_panic(token in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(payload_of(&SIGNERS[0].1, &token).is_err());
    }

    #[test]
    fn no_text_of_the_right_shape_makes_it_panic(token in "[A-Za-z0-9_-]{0,80}(\\.[A-Za-z0-9_-]{0,200}){0,5}") {
        prop_assert!(payload_of(&SIGNERS[0].1, token.as_bytes()).is_err());
    }
}

// spec: SET-24
#[test]
fn every_flipped_bit_cut_and_swap_is_refused() {
    for (signer, issuer) in &*SIGNERS {
        let token = signer.sign(br#"{"iss":"https://idp.example/"}"#).unwrap().into_bytes();
        let is_slow = matches!(signer.key().algorithm(), Algorithm::Es384 | Algorithm::Es512);
        for place in (0..token.len()).step_by(if is_slow { 7 } else { 1 }) {
            for bit in 0..8 {
                let mut changed = token.clone();
                changed[place] ^= 1 << bit;
                assert!(payload_of(issuer, &changed).is_err(), "bit {bit} of byte {place}");
            }
            assert!(payload_of(issuer, &token[..place]).is_err(), "cut at {place}");
        }
        for tail in ["=", "A", "\n", " ", ".", ".AA"] {
            assert!(payload_of(issuer, &[&token, tail.as_bytes()].concat()).is_err(), "{tail:?}");
        }

        // The parts of two good tokens do not make a third.
        let other = signer.sign(br#"{"iss":"https://evil.example/"}"#).unwrap();
        let token = String::from_utf8(token).unwrap();
        let (head, _) = other.rsplit_once('.').unwrap();
        let (_, signature) = token.rsplit_once('.').unwrap();
        let mixed = format!("{head}.{signature}");
        assert_eq!(payload_of(issuer, mixed.as_bytes()), Err(VerifyError::BadSignature));
    }
}
