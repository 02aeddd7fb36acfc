//! Keys: what is read, what is refused, what is written.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode;
use secevent_jose::{Algorithm, AlgorithmError, Jwk, JwkSet, KeyError, KeyType, RsaSize, SigningKey};
use serde_json::{Value, json};

fn public_json(algorithm: Algorithm) -> Value {
    serde_json::from_str(&SigningKey::generate(algorithm).unwrap().public().to_json()).unwrap()
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn read(jwk: &Value) -> Result<Jwk, KeyError> {
    Jwk::from_json(jwk.to_string())
}

fn modulus(bytes: usize) -> Value {
    let mut n = vec![0; bytes];
    n[0] = 0x80;
    n[bytes - 1] = 1;
    URL_SAFE_NO_PAD.encode(n).into()
}

#[test]
fn what_is_written_is_read_again() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let public = key.public();
        assert_eq!(Jwk::from_json(public.to_json()).as_ref(), Ok(public));

        let from_pem = Jwk::from_pem(&public.to_pem()).unwrap();
        assert_eq!((from_pem.kid(), from_pem.algorithm()), (None, None));
        let named = from_pem.with_kid(key.kid()).unwrap().with_algorithm(algorithm).unwrap();
        assert_eq!(&named, public);
        assert_eq!(Jwk::from_der(&public.to_der()).unwrap().to_der(), public.to_der());

        let key = key.with_kid("2026-11").unwrap();
        let copy = SigningKey::from_json(key.to_json_secret().expose()).unwrap();
        assert_eq!((copy.public(), copy.algorithm()), (key.public(), algorithm));
        assert_eq!(copy.to_json_secret(), key.to_json_secret());
        let copy = SigningKey::from_pem(key.to_pem_secret().expose(), algorithm).unwrap();
        assert_eq!(copy.to_pem_secret(), key.to_pem_secret());
    }
}

#[test]
fn older_der_forms_are_read() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        let key = SigningKey::generate(algorithm).unwrap();
        let pkcs8 = pem::parse(key.to_pem_secret().expose()).unwrap().into_contents();
        assert_eq!(SigningKey::from_der(&pkcs8, algorithm).unwrap().public(), key.public());
        // Inside of PKCS#8 stands PKCS#1, or SEC 1 without the name of the curve.
        let inner = PrivateKeyInfoRef::from_der(&pkcs8).unwrap().private_key.as_bytes();
        assert_eq!(SigningKey::from_der(inner, algorithm).unwrap().public(), key.public(), "{algorithm}");
    }

    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let spki = key.public().to_der();
    let pkcs1 = pkcs8::SubjectPublicKeyInfoRef::try_from(spki.as_slice()).unwrap();
    let pkcs1 = pem::Pem::new("RSA PUBLIC KEY", pkcs1.subject_public_key.as_bytes().unwrap());
    assert_eq!(Jwk::from_pem(&pem::encode(&pkcs1)).unwrap().thumbprint(), key.kid());
}

#[test]
fn private_members_do_not_get_into_a_public_key() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let public = Jwk::from_json(key.to_json_secret().expose()).unwrap();
        assert_eq!(public.to_json(), key.public().to_json());
        let written: Value = serde_json::from_str(&JwkSet::new([public]).to_json()).unwrap();
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert_eq!(written["keys"][0].get(member), None, "{member}");
        }
    }
}

#[test]
fn debug_shows_no_private_numbers() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let json: Value = serde_json::from_str(key.to_json_secret().expose()).unwrap();
        let shown = format!("{key:?} {:?} {:?}", key.to_json_secret(), key.to_pem_secret());
        assert!(!shown.contains(json["d"].as_str().unwrap()));
        assert!(shown.ends_with("SecretText(..) SecretText(..)"), "{shown}");
        assert!(shown.len() < 300, "{shown}");
    }
}

// spec: JWTBCP-06, JWTBCP-07
#[test]
fn unsound_keys_are_refused() {
    let rsa = public_json(Algorithm::Rs256);
    let p256 = public_json(Algorithm::Es256);
    let ed25519 = public_json(Algorithm::EdDsa);
    let other_point = public_json(Algorithm::Es256);
    let malformed = |part, problem| KeyError::Malformed { part, problem };
    let encoding = "must be base64url without padding";
    let shape = "must be a JSON object of JWK members, each at most once";

    for (jwk, error) in [
        (with(rsa.clone(), "n", modulus(255)), KeyError::RsaSize { bits: 2040 }),
        (with(rsa.clone(), "n", modulus(128)), KeyError::RsaSize { bits: 1024 }),
        (with(rsa.clone(), "n", modulus(1025)), KeyError::RsaSize { bits: 8200 }),
        (with(rsa.clone(), "n", json!("")), KeyError::RsaSize { bits: 0 }),
        (with(rsa.clone(), "e", json!("AQ")), KeyError::Unsound),
        (with(rsa.clone(), "e", json!("Ag")), KeyError::Unsound),
        (with(rsa.clone(), "e", json!("")), KeyError::Unsound),
        (with(rsa.clone(), "e", json!("AQAAAAE")), KeyError::Unsound),
        (with(rsa.clone(), "e", json!("AQAB=")), malformed("e", encoding)),
        (with(rsa.clone(), "n", Value::Null), malformed("n", "is missing")),
        (with(rsa.clone(), "n", json!(5)), malformed("jwk", shape)),
        (with(p256.clone(), "y", other_point["y"].clone()), KeyError::Unsound),
        (with(p256.clone(), "x", json!("AAAA")), malformed("x, y", "must be as long as the curve's numbers")),
        (
            with(p256.clone(), "crv", json!("secp256k1")),
            KeyError::UnsupportedType { name: "secp256k1".into() },
        ),
        (with(p256.clone(), "crv", Value::Null), malformed("crv", "is missing")),
        (with(ed25519.clone(), "x", json!("AAAA")), malformed("x", "must have 32 bytes")),
        (with(ed25519.clone(), "crv", json!("X25519")), KeyError::UnsupportedType { name: "X25519".into() }),
        (json!({"kty": "oct", "k": "cGFzc3dvcmQ"}), KeyError::UnsupportedType { name: "oct".into() }),
        (with(rsa.clone(), "use", json!("enc")), KeyError::NotForSignatures { member: "use" }),
        (with(rsa.clone(), "key_ops", json!(["encrypt"])), KeyError::NotForSignatures { member: "key_ops" }),
        (with(rsa.clone(), "key_ops", json!(["sign"])), KeyError::NotForSignatures { member: "key_ops" }),
        (
            with(rsa.clone(), "alg", json!("HS256")),
            KeyError::Algorithm(AlgorithmError::Symmetric { name: "HS256".into() }),
        ),
        (
            with(rsa.clone(), "alg", json!("RSA-OAEP")),
            KeyError::Algorithm(AlgorithmError::Unsupported { name: "RSA-OAEP".into() }),
        ),
        (
            with(rsa.clone(), "alg", json!("ES256")),
            KeyError::AlgorithmMismatch { algorithm: Algorithm::Es256, key_type: KeyType::Rsa },
        ),
        (with(p256.clone(), "kid", json!("k".repeat(513))), KeyError::TooLarge { part: "kid", max: 512 }),
        (with(p256.clone(), "kid", json!(7)), malformed("jwk", shape)),
        (json!([]), malformed("jwk", shape)),
        (json!({}), malformed("jwk", shape)),
    ] {
        assert_eq!(read(&jwk).unwrap_err(), error, "{jwk}");
    }
    assert!(Jwk::from_json(p256.to_string().replacen('{', r#"{"kty":"EC","#, 1)).is_err(), "twice `kty`");

    for (jwk, why) in [
        (with(rsa.clone(), "n", modulus(256)), "the smallest"),
        (with(rsa.clone(), "n", modulus(1024)), "the largest"),
        (with(rsa.clone(), "e", json!("Aw")), "the exponent 3"),
        (with(rsa.clone(), "e", json!("AAEAAQ")), "a leading zero"),
        (with(rsa.clone(), "key_ops", json!(["verify"])), "the right purpose"),
        (with(p256.clone(), "x5c", json!(["AAAA"])), "members we do not know"),
    ] {
        assert!(read(&jwk).is_ok(), "{why}");
    }
}

#[test]
fn one_bad_key_does_not_spoil_a_set() {
    let good = public_json(Algorithm::Es256);
    let twin = with(public_json(Algorithm::Es256), "kid", good["kid"].clone());
    let set = json!({"keys": [
        {"kty": "future", "kid": "a"},
        good,
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "b"},
        with(public_json(Algorithm::Rs256), "use", json!("enc")),
        7,
        good,
        twin,
        with(public_json(Algorithm::Rs256), "n", modulus(128)),
    ], "extra": true});
    let set = JwkSet::from_json(set.to_string()).unwrap();
    assert_eq!(set.keys(), [read(&good).unwrap(), read(&twin).unwrap()]);
    assert_eq!(set.with_kid(good["kid"].as_str().unwrap()).count(), 2);
    assert_eq!(set.skipped().iter().map(|key| key.place).collect::<Vec<_>>(), [0, 2, 3, 4, 5, 7]);
    assert_eq!(set.skipped()[0].kid.as_deref(), Some("a"));
    assert_eq!(set.skipped()[3].kid, None);
    assert_eq!(set.skipped()[4].reason, KeyError::Duplicate);
    assert_eq!(set.skipped()[5].reason, KeyError::RsaSize { bits: 1024 });

    let again = JwkSet::from_json(set.to_json()).unwrap();
    assert_eq!((again.keys(), again.skipped()), (set.keys(), &[][..]));
}

// spec: JWTBCP-19
#[test]
fn a_set_has_a_largest_size() {
    let keys = |count: usize| json!({"keys": vec![json!({}); count]}).to_string();
    assert_eq!(JwkSet::from_json(keys(100)).unwrap().skipped().len(), 100);
    assert_eq!(JwkSet::from_json(keys(101)), Err(KeyError::TooLarge { part: "keys", max: 100 }));
    let padded = |length: usize| r#"{"keys":[]}"#.to_owned() + &" ".repeat(length - 11);
    assert!(JwkSet::from_json(padded(JwkSet::JSON_BYTES_MAX)).is_ok());
    assert!(JwkSet::from_json(padded(JwkSet::JSON_BYTES_MAX + 1)).is_err());
    for json in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[}"#] {
        assert!(JwkSet::from_json(json).is_err(), "{json}");
    }
    let deep = format!(r#"{{"keys":[{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(JwkSet::from_json(deep).unwrap().skipped().len(), 1);
}

#[test]
fn private_keys_that_contradict_themselves_are_refused() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let secret =
            |key: SigningKey| -> Value { serde_json::from_str(key.to_json_secret().expose()).unwrap() };
        let jwk = secret(SigningKey::generate(algorithm).unwrap());
        let other = secret(SigningKey::generate(algorithm).unwrap());
        let read = |jwk: Value| SigningKey::from_json(jwk.to_string()).map(drop);
        assert_eq!(read(jwk.clone()), Ok(()));
        assert_eq!(read(with(jwk.clone(), "d", other["d"].clone())), Err(KeyError::Unsound), "{algorithm}");
        let missing = KeyError::Malformed { part: "d", problem: "is missing" };
        assert_eq!(read(with(jwk.clone(), "d", Value::Null)), Err(missing));
        assert_eq!(
            read(with(jwk.clone(), "key_ops", json!(["verify"]))),
            Err(KeyError::NotForSignatures { member: "key_ops" })
        );
        assert_eq!(read(with(jwk, "key_ops", json!(["sign"]))), Ok(()));
    }
}

#[test]
fn pem_texts_that_hold_no_usable_key_say_so() {
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let encrypted = block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=");
    for (pem, error) in [
        (block("ENCRYPTED PRIVATE KEY", "MAA="), KeyError::Encrypted),
        (encrypted, KeyError::Encrypted),
        (block("CERTIFICATE", "MAA="), KeyError::UnsupportedType { name: "CERTIFICATE".into() }),
        (
            block("PRIVATE KEY", "MAA="),
            KeyError::Malformed { part: "der", problem: "must be a private key in PKCS#8, PKCS#1 or SEC 1" },
        ),
        (String::new(), KeyError::Malformed { part: "pem", problem: "must hold a PEM block" }),
        ("x".repeat(65_537), KeyError::TooLarge { part: "pem", max: 65_536 }),
    ] {
        assert_eq!(SigningKey::from_pem(&pem, Algorithm::Rs256).unwrap_err(), error);
    }
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let mismatch = KeyError::AlgorithmMismatch { algorithm: Algorithm::Es384, key_type: KeyType::P256 };
    assert_eq!(SigningKey::from_pem(key.to_pem_secret().expose(), Algorithm::Es384).unwrap_err(), mismatch);
    let mismatch = KeyError::AlgorithmMismatch { algorithm: Algorithm::Es256, key_type: KeyType::Rsa };
    assert_eq!(SigningKey::generate_rsa(Algorithm::Es256, RsaSize::Bits2048).unwrap_err(), mismatch);

    // Some tools put the curve in front of the key.
    let text = format!("{}{}", block("EC PARAMETERS", "BggqhkjOPQMBBw=="), key.to_pem_secret().expose());
    assert_eq!(SigningKey::from_pem(&text, Algorithm::Es256).unwrap().public(), key.public());
}

#[test]
fn a_private_rsa_key_that_is_too_short_is_refused() {
    let error = SigningKey::from_pem(RSA_1024, Algorithm::Rs256).unwrap_err();
    assert_eq!(error, KeyError::RsaSize { bits: 1024 });
    assert_eq!(error.to_string(), "an RSA key must have 2048 to 8192 bits, not 1024");
}

/// Made for this test and used nowhere.
const RSA_1024: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAJxeeloZ6QCwycLA
aOinMbZ7R1yMHB9leQtRJ9y49L0KCyeHTsACbv/FPzeEOscJ63AIKXm17Ew0g/bT
lCPiYg2zUMgbv7xfeecdcDmi7q/W+fdad2Hkcrda9NLEmN8uFa+uzq68I8t7Cj9Q
CGOkK/JgcudL80RLKMvpIbGCX53hAgMBAAECgYEAi0fgRbdEgrf1zwHhsDGUp00h
oD6wogqZicoM7p7UaDm0+82bCI5iXnJMP+AJFtcwHgc3IlE4HBy+2rFVB62S1eqd
/fW3FruOlJCkeENTtswZRsKQRyLElcqNnFroneqF8I/pQnA2wXaEkHm347zy3F0S
BjTnhQBMvaa8sMJzsI0CQQDO0/2o3IT3l6vjcuzOIAJisCsVJz2u3D+Cncvj/1Gq
ueNUibBQaNCf78pdu9HGPH92ZEPrECzcGvCGHRUUAr6bAkEAwYtwpkEF/OLrWWJ4
/TlAf7QIC4RmT5O86kZOOwTX47mQHWi/LSP7XQa3zj6rmxTCQqVOuOZPlNTYs2fv
R7q/MwJAaVGRrVb9boaRRLTU2PF7xX0nsxHUWyJURNLNbEAq+eDGXdnvKkL1WTvl
tG1bmLJdxY+w9hW6gipFqEVO4m2zWQJAHTgV66OJaeJAMaBiL6iDCkR9qm90mrLt
JFk02kgi56hOD4KOyhvSiPrIqQRhF+qMYU9fkR6ECS4RARTB1QxmbQJAGn2ZgRur
ecccEaKN+6DYPvT6L4JAyo74lNhlOMxpShrp7Mu2TWhHtJp4jRe0sXJVQsmjF+M7
uV82EFH2zaJi0w==
-----END PRIVATE KEY-----
";
