//! Other people's libraries must take our tokens and keys, and we theirs.

use josekit::jwk::Jwk as JosekitJwk;
use josekit::jws::{self as josekit_jws, JwsHeader, JwsSigner, JwsVerifier};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use secevent_jose::{
    Algorithm, Algorithms, Compact, IssuerKeys, Jwk, JwkSet, RsaSize, Signer, SigningKey, TypRule,
};
use serde_json::{Value, json};

fn claims() -> Value {
    json!({"iss": "https://idp.example/", "events": {"https://example.com/e": {"ü": 1}}})
}

/// The verifier of a receiver that knows this key and allows this algorithm alone.
fn issuer(key: Jwk, algorithm: Algorithm) -> IssuerKeys {
    IssuerKeys::new("https://idp.example/", JwkSet::new([key])).allow_only(Algorithms::of(&[algorithm]))
}

fn verified(issuer: &IssuerKeys, token: &str) -> Value {
    let compact = Compact::parse(token).unwrap();
    let verified = issuer.verify(&compact, TypRule::SecurityEvent).unwrap();
    serde_json::from_slice(verified.payload()).unwrap()
}

#[test]
fn jsonwebtoken_agrees_both_ways() {
    for (ours, theirs) in [
        (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
        (Algorithm::Rs384, jsonwebtoken::Algorithm::RS384),
        (Algorithm::Rs512, jsonwebtoken::Algorithm::RS512),
        (Algorithm::Ps256, jsonwebtoken::Algorithm::PS256),
        (Algorithm::Ps384, jsonwebtoken::Algorithm::PS384),
        (Algorithm::Ps512, jsonwebtoken::Algorithm::PS512),
        (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
        (Algorithm::Es384, jsonwebtoken::Algorithm::ES384),
        (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
    ] {
        let key = SigningKey::generate(ours).unwrap();
        let token = Signer::new(key.clone(), Signer::SECURITY_EVENT).sign(claims().to_string().as_bytes());

        // They verify with the JWK that we publish.
        let jwk = serde_json::from_str(&key.public().to_json()).unwrap();
        let mut validation = Validation::new(theirs);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let read: jsonwebtoken::TokenData<Value> =
            jsonwebtoken::decode(token.unwrap(), &DecodingKey::from_jwk(&jwk).unwrap(), &validation).unwrap();
        assert_eq!(read.claims, claims(), "{ours}");
        assert_eq!(read.header.kid.as_deref(), Some(key.kid()));
        assert_eq!(read.header.typ.as_deref(), Some("secevent+jwt"));

        // They sign with the PEM that we export.
        let pem = key.to_pem_secret();
        let pem = pem.expose().as_bytes();
        let encoding_key = match ours {
            Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDsa => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        };
        let mut header = jsonwebtoken::Header::new(theirs);
        header.typ = Some("secevent+jwt".to_owned());
        header.kid = Some(key.kid().to_owned());
        let token = jsonwebtoken::encode(&header, &claims(), &encoding_key.unwrap()).unwrap();
        assert_eq!(verified(&issuer(key.public().clone(), ours), &token), claims(), "{ours}");
    }
}

#[test]
fn josekit_agrees_both_ways() {
    for algorithm in Algorithm::ALL {
        // josekit does not know the name of RFC 9864.
        if algorithm == Algorithm::Ed25519 {
            continue;
        }
        let key = SigningKey::generate(algorithm).unwrap();
        let token =
            Signer::new(key.clone(), Signer::SECURITY_EVENT).sign(claims().to_string().as_bytes()).unwrap();

        // They verify with the JWK that we publish.
        let verifier = josekit_verifier(algorithm, &JosekitJwk::from_bytes(key.public().to_json()).unwrap());
        let (payload, header) = josekit_jws::deserialize_compact(&token, &*verifier).unwrap();
        assert_eq!(payload, claims().to_string().as_bytes(), "{algorithm}");
        assert_eq!(header.key_id(), Some(key.kid()));

        // They sign with the private JWK that we export.
        let secret = JosekitJwk::from_bytes(key.to_json_secret().expose()).unwrap();
        let mut header = JwsHeader::new();
        header.set_token_type("secevent+jwt");
        header.set_key_id(key.kid());
        let signer = josekit_signer(algorithm, &secret);
        let token =
            josekit_jws::serialize_compact(claims().to_string().as_bytes(), &header, &*signer).unwrap();
        assert_eq!(verified(&issuer(key.public().clone(), algorithm), &token), claims(), "{algorithm}");
    }
}

#[test]
fn keys_of_openssl_are_read_in_every_format() {
    let rsa = josekit_jws::RS256.generate_key_pair(2048).unwrap();
    let p256 = josekit_jws::ES256.generate_key_pair().unwrap();
    let p384 = josekit_jws::ES384.generate_key_pair().unwrap();
    let p521 = josekit_jws::ES512.generate_key_pair().unwrap();
    let ed25519 = josekit_jws::EdDSA.generate_key_pair(josekit::jwk::alg::ed::EdCurve::Ed25519).unwrap();

    for (algorithm, pkcs8, traditional, public, jwk) in [
        (
            Algorithm::Rs256,
            rsa.to_pem_private_key(),
            rsa.to_traditional_pem_private_key(),
            rsa.to_pem_public_key(),
            rsa.to_jwk_key_pair(),
        ),
        (
            Algorithm::Es256,
            p256.to_pem_private_key(),
            p256.to_traditional_pem_private_key(),
            p256.to_pem_public_key(),
            p256.to_jwk_key_pair(),
        ),
        (
            Algorithm::Es384,
            p384.to_pem_private_key(),
            p384.to_traditional_pem_private_key(),
            p384.to_pem_public_key(),
            p384.to_jwk_key_pair(),
        ),
        (
            Algorithm::Es512,
            p521.to_pem_private_key(),
            p521.to_traditional_pem_private_key(),
            p521.to_pem_public_key(),
            p521.to_jwk_key_pair(),
        ),
        (
            Algorithm::EdDsa,
            ed25519.to_pem_private_key(),
            // There is no older format for this one.
            ed25519.to_pem_private_key(),
            ed25519.to_pem_public_key(),
            ed25519.to_jwk_key_pair(),
        ),
    ] {
        let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
        let key = SigningKey::from_pem(&text(pkcs8), algorithm).unwrap();
        let older = SigningKey::from_pem(&text(traditional), algorithm).unwrap();
        let from_jwk = SigningKey::from_json(jwk.to_string()).unwrap();
        assert_eq!(older.public(), key.public(), "{algorithm}");
        assert_eq!(from_jwk.public().thumbprint(), key.kid(), "{algorithm}");

        let public = text(public);
        assert_eq!(Jwk::from_pem(&public).unwrap().thumbprint(), key.kid(), "{algorithm}");
        assert_eq!(key.public().to_pem(), public.replace("\r\n", "\n"), "{algorithm}");
    }
}

#[test]
fn larger_rsa_keys_work() {
    let key = SigningKey::generate_rsa(Algorithm::Ps384, RsaSize::Bits3072).unwrap();
    let token = Signer::new(key.clone(), Signer::SECURITY_EVENT).sign(b"{}").unwrap();
    let verifier =
        josekit_verifier(Algorithm::Ps384, &JosekitJwk::from_bytes(key.public().to_json()).unwrap());
    assert_eq!(josekit_jws::deserialize_compact(&token, &*verifier).unwrap().0, b"{}");
    assert_eq!(verified(&issuer(key.public().clone(), Algorithm::Ps384), &token), json!({}));
}

fn josekit_verifier(algorithm: Algorithm, jwk: &JosekitJwk) -> Box<dyn JwsVerifier> {
    match algorithm {
        Algorithm::Rs256 => Box::new(josekit_jws::RS256.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Rs384 => Box::new(josekit_jws::RS384.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Rs512 => Box::new(josekit_jws::RS512.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Ps256 => Box::new(josekit_jws::PS256.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Ps384 => Box::new(josekit_jws::PS384.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Ps512 => Box::new(josekit_jws::PS512.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Es256 => Box::new(josekit_jws::ES256.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Es384 => Box::new(josekit_jws::ES384.verifier_from_jwk(jwk).unwrap()),
        Algorithm::Es512 => Box::new(josekit_jws::ES512.verifier_from_jwk(jwk).unwrap()),
        Algorithm::EdDsa | Algorithm::Ed25519 => Box::new(josekit_jws::EdDSA.verifier_from_jwk(jwk).unwrap()),
    }
}

fn josekit_signer(algorithm: Algorithm, jwk: &JosekitJwk) -> Box<dyn JwsSigner> {
    match algorithm {
        Algorithm::Rs256 => Box::new(josekit_jws::RS256.signer_from_jwk(jwk).unwrap()),
        Algorithm::Rs384 => Box::new(josekit_jws::RS384.signer_from_jwk(jwk).unwrap()),
        Algorithm::Rs512 => Box::new(josekit_jws::RS512.signer_from_jwk(jwk).unwrap()),
        Algorithm::Ps256 => Box::new(josekit_jws::PS256.signer_from_jwk(jwk).unwrap()),
        Algorithm::Ps384 => Box::new(josekit_jws::PS384.signer_from_jwk(jwk).unwrap()),
        Algorithm::Ps512 => Box::new(josekit_jws::PS512.signer_from_jwk(jwk).unwrap()),
        Algorithm::Es256 => Box::new(josekit_jws::ES256.signer_from_jwk(jwk).unwrap()),
        Algorithm::Es384 => Box::new(josekit_jws::ES384.signer_from_jwk(jwk).unwrap()),
        Algorithm::Es512 => Box::new(josekit_jws::ES512.signer_from_jwk(jwk).unwrap()),
        Algorithm::EdDsa | Algorithm::Ed25519 => Box::new(josekit_jws::EdDSA.signer_from_jwk(jwk).unwrap()),
    }
}
