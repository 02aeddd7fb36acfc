//! Which tokens are believed, and what the others are told.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secevent::Fault;
use secevent_jose::{
    Algorithm, AlgorithmError, Algorithms, Compact, IssuerKeys, Jwk, JwkSet, KeyError, Signer, SigningKey,
    TypRule, VerifyError,
};
use serde_json::json;
use std::sync::LazyLock;

const ISSUER: &str = "https://idp.example/";
const PAYLOAD: &[u8] = br#"{"iss":"https://idp.example/","jti":"1>?"}"#;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).unwrap());

fn issuer(keys: impl IntoIterator<Item = Jwk>) -> IssuerKeys {
    IssuerKeys::new(ISSUER, JwkSet::new(keys))
}

/// Keys are used from many threads at once, and handed to them.
const _: fn() = || {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Signer>();
    shared::<IssuerKeys>();
};

fn outcome(issuer: &IssuerKeys, token: &str) -> Result<Vec<u8>, VerifyError> {
    let compact = Compact::parse(token)?;
    issuer.verify(&compact, TypRule::SecurityEvent).map(|verified| verified.payload().to_vec())
}

fn parts(header: &str, payload: &[u8], signature: &[u8]) -> String {
    let [header, payload, signature] =
        [header.as_bytes(), payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{payload}.{signature}")
}

/// A peer that puts into the header what it likes and signs it correctly.
struct Forger(Ed25519KeyPair);

impl Forger {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self) -> Jwk {
        Jwk::from_json(self.jwk_json("k").to_string()).unwrap()
    }

    fn jwk_json(&self, kid: &str) -> serde_json::Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
    }

    fn sign(&self, header: &str) -> String {
        let unsigned = parts(header, PAYLOAD, b"");
        let signature = self.0.sign(&unsigned.as_bytes()[..unsigned.len() - 1]);
        format!("{unsigned}{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

// spec: JWTBCP-16, SET-21, SET-22, INTEROP-19
#[test]
fn a_signed_token_names_its_type_algorithm_and_key() {
    let token = Signer::new(KEY.clone(), Signer::SECURITY_EVENT).sign(PAYLOAD).unwrap();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"typ": "secevent+jwt", "alg": "RS256", "kid": KEY.kid()}));
    let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).unwrap();
    assert_eq!(signature.len() * 8, 2048, "a signature is as long as the key");
    assert_eq!(outcome(&issuer([KEY.public().clone()]), &token), Ok(PAYLOAD.to_vec()));
}

// spec: JWTBCP-01, JWTBCP-02, JWTBCP-03, SET-25, BCL-28
#[test]
fn the_verifier_names_the_algorithms() {
    let issuer = issuer([KEY.public().clone()]);
    for name in ["none", "None", "NONE"] {
        let token = parts(&json!({"alg": name, "typ": "secevent+jwt"}).to_string(), PAYLOAD, b"");
        assert_eq!(outcome(&issuer, &token), Err(AlgorithmError::None.into()));
    }

    // The old confusion: the public key, which everybody knows, as the secret of an HMAC.
    let header = json!({"alg": "HS256", "typ": "secevent+jwt", "kid": KEY.kid()}).to_string();
    for secret in [KEY.public().to_pem().into_bytes(), KEY.public().to_der()] {
        let unsigned = parts(&header, PAYLOAD, b"");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let tag = hmac::sign(&secret, &unsigned.as_bytes()[..unsigned.len() - 1]);
        let error = outcome(&issuer, &parts(&header, PAYLOAD, tag.as_ref())).unwrap_err();
        assert_eq!(error, AlgorithmError::Symmetric { name: "HS256".into() }.into());
        assert_eq!(error.fault(), Fault::InvalidKey);
    }

    let token = parts(&json!({"alg": "RS1", "typ": "secevent+jwt"}).to_string(), PAYLOAD, b"x");
    assert_eq!(outcome(&issuer, &token), Err(AlgorithmError::Unsupported { name: "RS1".into() }.into()));

    let token = Signer::new(KEY.clone(), Signer::SECURITY_EVENT).sign(PAYLOAD).unwrap();
    let narrow = issuer.clone().allow_only(Algorithms::of(&[Algorithm::Es256]));
    let error = outcome(&narrow, &token).unwrap_err();
    assert_eq!(error, VerifyError::AlgorithmNotAllowed { algorithm: Algorithm::Rs256 });
    assert_eq!(error.fault(), Fault::InvalidKey);
}

// spec: JWTBCP-01
#[test]
fn a_key_has_one_algorithm() {
    let signed_with = |algorithm| {
        let key = SigningKey::from_pem(KEY.to_pem_secret().expose(), algorithm).unwrap();
        Signer::new(key, Signer::SECURITY_EVENT).sign(PAYLOAD).unwrap()
    };
    let [rs256, ps256] = [Algorithm::Rs256, Algorithm::Ps256].map(signed_with);
    let refused = Err(VerifyError::KeyAlgorithm { kid: KEY.kid().into(), algorithm: Algorithm::Ps256 });

    let named = issuer([KEY.public().clone()]).allow_only(Algorithms::ALL);
    assert_eq!(outcome(&named, &rs256), Ok(PAYLOAD.to_vec()));
    assert_eq!(outcome(&named, &ps256), refused);

    // A key that names no algorithm is taken for the first one on the list.
    let unnamed = Jwk::from_pem(&KEY.public().to_pem()).unwrap().with_kid(KEY.kid()).unwrap();
    let all = issuer([unnamed.clone()]).allow_only(Algorithms::ALL);
    assert_eq!(outcome(&all, &rs256), Ok(PAYLOAD.to_vec()));
    assert_eq!(outcome(&all, &ps256), refused);
    let pss = issuer([unnamed.clone()]).allow_only(Algorithms::of(&[Algorithm::Ps256]));
    assert_eq!(outcome(&pss, &ps256), Ok(PAYLOAD.to_vec()));
    let told = issuer([unnamed.with_algorithm(Algorithm::Ps256).unwrap()]).allow_only(Algorithms::ALL);
    assert_eq!(outcome(&told, &ps256), Ok(PAYLOAD.to_vec()));
}

#[test]
fn both_names_of_ed25519_mean_one_signature() {
    let forger = Forger::new();
    let [old, new] = ["EdDSA", "Ed25519"]
        .map(|name| forger.sign(&json!({"alg": name, "kid": "k", "typ": "secevent+jwt"}).to_string()));
    for name in [None, Some(Algorithm::EdDsa), Some(Algorithm::Ed25519)] {
        let key = name.map_or(forger.jwk(), |name| forger.jwk().with_algorithm(name).unwrap());
        let issuer = issuer([key]);
        assert_eq!(outcome(&issuer, &old), Ok(PAYLOAD.to_vec()));
        assert_eq!(outcome(&issuer, &new), Ok(PAYLOAD.to_vec()));

        let both = issuer.clone().allow_only(Algorithms::of(&[Algorithm::EdDsa]));
        assert!(outcome(&both, &new).is_ok());
        let newer = issuer.allow_only(Algorithms::of(&[Algorithm::Ed25519]));
        assert!(outcome(&newer, &new).is_ok());
        assert_eq!(
            outcome(&newer, &old),
            Err(VerifyError::AlgorithmNotAllowed { algorithm: Algorithm::EdDsa })
        );
    }
}

// spec: JWTBCP-05, JWTBCP-06, JWTBCP-08, JWTBCP-20
#[test]
fn encrypted_nested_compressed_and_extended_tokens_are_refused() {
    let forger = Forger::new();
    let issuer = issuer([forger.jwk()]);

    let jwe = json!({"alg": "ECDH-ES", "enc": "A256GCM", "epk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}});
    let jwe = format!("{}..AAAA.AAAA.AAAA", URL_SAFE_NO_PAD.encode(jwe.to_string()));
    let error = outcome(&issuer, &jwe).unwrap_err();
    assert_eq!(error.to_string(), "encrypted tokens are not accepted");
    assert_eq!(error.fault(), Fault::InvalidRequest);

    for (member, value, rule) in [
        ("cty", json!("JWT"), "JWTBCP-05"),
        ("zip", json!("DEF"), "JWTBCP-08"),
        ("crit", json!(["x"]), "JWTBCP-20"),
        ("crit", json!(["b64"]), "JWTBCP-20"),
        ("b64", json!(false), "JWTBCP-20"),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k", "typ": "secevent+jwt", "x": 1, member: value});
        let Err(VerifyError::Malformed(invalid)) = outcome(&issuer, &forger.sign(&header.to_string())) else {
            panic!("{member} must be refused");
        };
        assert_eq!((invalid.member(), invalid.rule()), (format!("header.{member}").as_str(), rule));
    }
}

// spec: JWTBCP-09
#[test]
fn a_header_that_is_not_utf8_is_refused() {
    let issuer = issuer([KEY.public().clone()]);
    let utf16 = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        r#"{"alg":"RS256","typ":"secevent+jwt"}"#.encode_utf16().flat_map(order).collect()
    };
    for header in [
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        b"{\"alg\":\"RS256\",\"typ\":\"secevent+jwt\",\"x\":\"\xff\"}".to_vec(),
        b"{\"alg\":\"RS256\",\"typ\":\"secevent+jwt\",\"x\":\"\xed\xa0\x80\"}".to_vec(),
    ] {
        let token = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(outcome(&issuer, &token).unwrap_err().fault(), Fault::InvalidRequest);
    }
}

// spec: JWTBCP-10, PUSH-19
#[test]
fn a_key_of_another_issuer_does_not_count() {
    let ours = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let theirs = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let issuer = issuer([ours.public().clone()]);

    let token = Signer::new(theirs.clone(), Signer::SECURITY_EVENT).sign(PAYLOAD).unwrap();
    let error = outcome(&issuer, &token).unwrap_err();
    assert_eq!(error, VerifyError::UnknownKey { kid: Some(theirs.kid().into()) });
    assert_eq!(error.fault(), Fault::InvalidKey);

    let disguised = theirs.with_kid(ours.kid()).unwrap();
    let token = Signer::new(disguised, Signer::SECURITY_EVENT).sign(PAYLOAD).unwrap();
    assert_eq!(outcome(&issuer, &token), Err(VerifyError::BadSignature));
}

// spec: JWTBCP-14
#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let forger = Forger::new();
    let issuer = issuer([forger.jwk()]);
    for kid in ["../../x", "' OR 1=1", "", "K", "k ", "k\0", "%00", "${jndi:ldap://x}", "http://localhost/"] {
        let token = forger.sign(&json!({"alg": "EdDSA", "kid": kid, "typ": "secevent+jwt"}).to_string());
        assert_eq!(outcome(&issuer, &token), Err(VerifyError::UnknownKey { kid: Some(kid.into()) }));
    }
    let long = "k".repeat(Jwk::KID_BYTES_MAX + 1);
    let token = forger.sign(&json!({"alg": "EdDSA", "kid": long, "typ": "secevent+jwt"}).to_string());
    assert!(matches!(outcome(&issuer, &token), Err(VerifyError::Malformed(_))));
}

// spec: JWTBCP-15
#[test]
fn a_key_that_the_token_brings_along_is_not_trusted() {
    let forger = Forger::new();
    let victim = Forger::new();
    let issuer = issuer([victim.jwk()]);
    for (member, value) in [
        ("jwk", forger.jwk_json("k")),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/cert.pem")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!(7)),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k", "typ": "secevent+jwt", member: value}).to_string();
        assert_eq!(outcome(&issuer, &forger.sign(&header)), Err(VerifyError::BadSignature), "{member}");
        // It does no harm to a token that is right without it.
        assert_eq!(outcome(&issuer, &victim.sign(&header)), Ok(PAYLOAD.to_vec()), "{member}");
    }
}

// spec: JWTBCP-18, SET-23
#[test]
fn the_type_is_checked() {
    let forger = Forger::new();
    let issuer = issuer([forger.jwk()]);
    let typed = |typ: &str| forger.sign(&json!({"alg": "EdDSA", "kid": "k", "typ": typ}).to_string());
    for typ in ["secevent+jwt", "application/secevent+jwt", "SECEVENT+JWT"] {
        assert_eq!(outcome(&issuer, &typed(typ)), Ok(PAYLOAD.to_vec()), "{typ}");
    }
    for typ in ["JWT", "at+jwt", "logout+jwt", "secevent", ""] {
        let error = outcome(&issuer, &typed(typ)).unwrap_err();
        let expected = TypRule::SecurityEvent;
        assert_eq!(error, VerifyError::Typ { found: Some(typ.into()), expected });
        assert_eq!(error.fault(), Fault::InvalidRequest);
    }
    let untyped = forger.sign(r#"{"alg":"EdDSA","kid":"k"}"#);
    assert!(matches!(outcome(&issuer, &untyped), Err(VerifyError::Typ { found: None, .. })));
    let compact = Compact::parse(&untyped).unwrap();
    assert!(issuer.verify(&compact, TypRule::LogoutTokenOrUntyped).is_ok());
}

// spec: JWTBCP-19
#[test]
fn a_token_has_a_largest_size() {
    let token = "A".repeat(1024 * 1024);
    let Err(VerifyError::Malformed(invalid)) = Compact::parse(&token) else { panic!("too large") };
    assert_eq!(invalid.to_string(), "the document must not be longer than 65536 bytes [JWTBCP-19]");

    let signer = Signer::new(SigningKey::generate(Algorithm::EdDsa).unwrap(), Signer::SECURITY_EVENT);
    let token = signer.sign(&[b' '; 1000]).unwrap();
    assert!(Compact::parse_within(&token, token.len()).is_ok());
    assert!(Compact::parse_within(&token, token.len() - 1).is_err());
}

// spec: JWTBCP-21
#[test]
fn base64url_is_read_to_the_letter() {
    let token = Signer::new(KEY.clone(), Signer::SECURITY_EVENT).sign(PAYLOAD).unwrap();
    let issuer = issuer([KEY.public().clone()]);
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let other_alphabet = STANDARD_NO_PAD.encode(&bytes);
    assert!(other_alphabet.contains(['+', '/']), "the payload shows the difference");
    for spoilt in [
        URL_SAFE.encode(&bytes) + if bytes.len().is_multiple_of(3) { "=" } else { "" },
        STANDARD.encode(&bytes),
        other_alphabet,
        format!("{payload}\n"),
        format!(" {payload}"),
        payload.replacen('J', "J\r\n", 1),
    ] {
        for token in [
            format!("{spoilt}.{payload}.{signature}"),
            format!("{header}.{spoilt}.{signature}"),
            format!("{header}.{payload}.{spoilt}"),
        ] {
            let Err(VerifyError::Malformed(invalid)) = outcome(&issuer, &token) else { panic!("{token}") };
            assert_eq!(invalid.rule(), "JWTBCP-21", "{token}");
        }
    }

    // Bits that are left over must be zero, or two texts would mean one token.
    assert!(Compact::parse("eyJhbGciOiJFUzI1NiJ9.QQ.QQ").is_ok());
    for token in ["eyJhbGciOiJFUzI1NiJ9.QR.QQ", "eyJhbGciOiJFUzI1NiJ9.QQ.QR", "eyJhbGciOiJFUzI1NiJ9.QUJ.QQ"] {
        assert!(Compact::parse(token).is_err(), "{token}");
    }
}

#[test]
fn a_token_has_three_parts() {
    for token in ["", ".", "a", "a.b", "a.b.c.d", "a.b.c.d.e.f", "a.b.c.d.e.f.g"] {
        let Err(VerifyError::Malformed(invalid)) = Compact::parse(token) else { panic!("{token}") };
        assert_eq!(invalid.rule(), "SET-01", "{token}");
    }
    assert_eq!(Compact::parse("...."), Err(VerifyError::Encrypted));
    assert!(Compact::parse("..").is_err());
}

#[test]
fn without_a_name_a_few_keys_are_tried() {
    let forger = Forger::new();
    let token = forger.sign(r#"{"alg":"EdDSA","typ":"secevent+jwt"}"#);
    let others =
        |count: usize| (0..count).map(|_| SigningKey::generate(Algorithm::EdDsa).unwrap().public().clone());
    let tried = IssuerKeys::KEYS_TRIED_MAX;

    // Keys of another type do not count.
    let keys: Vec<_> =
        [KEY.public().clone()].into_iter().chain(others(tried - 1)).chain([forger.jwk()]).collect();
    assert_eq!(outcome(&issuer(keys), &token), Ok(PAYLOAD.to_vec()));
    let keys = others(tried).chain([forger.jwk()]);
    assert_eq!(outcome(&issuer(keys), &token), Err(VerifyError::BadSignature));
    assert_eq!(outcome(&issuer([KEY.public().clone()]), &token), Err(VerifyError::UnknownKey { kid: None }));

    // A name that two keys share leads to both.
    let other = SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid("k").unwrap();
    let named = forger.sign(r#"{"alg":"EdDSA","typ":"secevent+jwt","kid":"k"}"#);
    assert_eq!(outcome(&issuer([other.public().clone(), forger.jwk()]), &named), Ok(PAYLOAD.to_vec()));
}

#[test]
fn a_published_key_that_is_too_weak_is_named_as_the_reason() {
    let n = URL_SAFE_NO_PAD.encode([&[0x80][..], &[0; 126], &[1]].concat());
    let jwks = json!({"keys": [{"kty": "RSA", "kid": "weak", "n": n, "e": "AQAB"}]});
    let issuer = IssuerKeys::new(ISSUER, JwkSet::from_json(jwks.to_string()).unwrap());
    let token = parts(r#"{"alg":"RS256","kid":"weak","typ":"secevent+jwt"}"#, PAYLOAD, &[0; 128]);
    let error = outcome(&issuer, &token).unwrap_err();
    let reason = KeyError::RsaSize { bits: 1024 };
    assert_eq!(error, VerifyError::UnusableKey { kid: "weak".into(), reason });
    assert_eq!(error.fault(), Fault::InvalidKey);
}
