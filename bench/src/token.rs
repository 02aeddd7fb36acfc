//! One token's way, signed and checked: by the cryptography library alone, and by the product.
//!
//! This yardstick knows the product, because it measures what the product adds to a signature.

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, RsaEncoding, RsaKeyPair,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secevent::caep::{InitiatingEntity, SessionRevoked};
use secevent::{ByLanguage, Claims, Profile, Set, Subject, Timestamp};
use secevent_jose::{Algorithm, Algorithms, Compact, Expected, IssuerKeys, JwkSet, Signer, SigningKey};
use std::hint::black_box;

/// What is measured, in the order in which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The library signs the signing input of a finished token.
    RawSign,
    /// A transmitter's work: the claims put together from prepared JSON, then signed.
    RenderAndSign,
    /// A program's work: [`Claims`] filled in with typed values, proved, then signed.
    ProveAndSign,
    /// The library checks the signature with a key that was parsed beforehand.
    RawVerify,
    /// A receiver's work: from the compact token to a proved [`Set`].
    VerifyAndParse,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::RawSign, Self::RenderAndSign, Self::ProveAndSign, Self::RawVerify, Self::VerifyAndParse];
}

/// The algorithms that are measured.
pub const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

/// A key with all that signs and checks with it, and a token.
#[derive(Debug)]
pub struct Bench {
    pair: Pair,
    public: ParsedPublicKey,
    signer: Signer,
    issuer: IssuerKeys,
    expected: Expected,
    now: Timestamp,
    event: SessionRevoked,
    subject: Subject,
    /// What a transmitter has stored of the event: its claims from `txn` on.
    body: String,
    token: String,
    signature: Vec<u8>,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Bench {
    /// A new key of 2048 bits or on the algorithm's curve, and a token that it signed.
    pub fn new(algorithm: Algorithm) -> Result<Self> {
        let (pair, der, public) = match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256)?,
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256)?,
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?;
                let der = pair.to_pkcs8v1()?.as_ref().to_vec();
                let public =
                    ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())?;
                (Pair::Ec(pair), der, public)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate()?;
                let der = pair.to_pkcs8v1()?.as_ref().to_vec();
                let public = ParsedPublicKey::new(&signature::ED25519, pair.public_key().as_ref())?;
                (Pair::Ed25519(pair), der, public)
            }
            other => return Err(anyhow!("{other} is not measured")),
        };
        let signer = Signer::new(SigningKey::from_der(&der, algorithm)?, Signer::SECURITY_EVENT);
        let keys = JwkSet::new([signer.key().public().clone()]);
        let mut bench = Self {
            pair,
            public,
            signer,
            issuer: IssuerKeys::new(ISSUER, keys).allow_only(Algorithms::of(&[algorithm])),
            expected: Expected::new(Profile::Ssf).audience(AUDIENCE),
            now: Timestamp::from_seconds(1_900_000_000),
            event: SessionRevoked {
                event_timestamp: Some(Timestamp::from_seconds(1_899_999_990)),
                initiating_entity: Some(InitiatingEntity::Policy),
                reason_admin: Some(ByLanguage::english("Landspeed policy violation: C076E82F")),
                reason_user: Some(ByLanguage::english("Access attempt from multiple regions.")),
            },
            subject: Subject::iss_sub(ISSUER, "99beb27c-c1c2-4955-882a-e0dc4996fcbc")?,
            body: String::new(),
            token: String::new(),
            signature: Vec::new(),
        };
        let set = bench.prove()?;
        let (_, body) = set.as_json().split_once(r#","txn":"#).context("the claims have a `txn`")?;
        bench.body = format!(r#""txn":{}"#, body.strip_suffix('}').context("the claims are an object")?);
        assert_eq!(bench.render(), set.as_json().as_bytes(), "both ways make the same claims");
        bench.token = bench.signer.sign(set.as_json().as_bytes())?;
        let (_, signature) = bench.signing_input();
        bench.signature = URL_SAFE_NO_PAD.decode(signature)?;
        Ok(bench)
    }

    /// How long the claims are.
    pub fn claims_bytes(&self) -> usize {
        self.render().len()
    }

    /// How long the compact token is.
    pub fn token_bytes(&self) -> usize {
        self.token.len()
    }

    /// Goes one path once.
    pub fn run(&self, path: Path) -> Result<()> {
        match path {
            Path::RawSign => self.raw_sign()?,
            Path::RenderAndSign => drop(black_box(self.signer.sign(&self.render())?)),
            Path::ProveAndSign => drop(black_box(self.signer.sign(self.prove()?.as_json().as_bytes())?)),
            Path::RawVerify => self.public.verify_sig(self.signing_input().0.as_bytes(), &self.signature)?,
            Path::VerifyAndParse => drop(black_box(self.verify()?)),
        }
        Ok(())
    }

    fn raw_sign(&self) -> Result<()> {
        let message = self.signing_input().0.as_bytes();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = [0; 256];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature)?;
                black_box(signature);
            }
            Pair::Ec(pair) => drop(black_box(pair.sign(&SystemRandom::new(), message)?)),
            Pair::Ed25519(pair) => drop(black_box(pair.try_sign(message)?)),
        }
        Ok(())
    }

    fn prove(&self) -> Result<Set> {
        let mut claims = Claims::new(ISSUER, JTI, self.now);
        claims.aud = Some(AUDIENCE.into());
        claims.txn = Some(TXN.to_owned());
        claims.sub_id = Some(self.subject.clone());
        Ok(claims.with_event(&self.event)?.prove(Profile::Ssf)?)
    }

    /// What `secevent-transmitter` does with a stored delivery, but for the making of the `jti`.
    fn render(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.body.len() + 256);
        json.extend_from_slice(b"{\"iss\":");
        write(&mut json, &ISSUER);
        json.extend_from_slice(b",\"jti\":");
        write(&mut json, &JTI);
        json.extend_from_slice(b",\"iat\":");
        write(&mut json, &self.now.as_seconds());
        json.extend_from_slice(b",\"aud\":");
        write(&mut json, &AUDIENCE);
        json.push(b',');
        json.extend_from_slice(self.body.as_bytes());
        json.push(b'}');
        json
    }

    fn verify(&self) -> Result<Set> {
        Ok(self.issuer.verify_set(&Compact::parse(&self.token)?, &self.expected, self.now)?)
    }

    /// Header and payload, and behind the dot the signature.
    fn signing_input(&self) -> (&str, &str) {
        self.token.rsplit_once('.').expect("a token has dots")
    }
}

const ISSUER: &str = "https://idp.example.com/123456789/";
const AUDIENCE: &str = "https://sp.example.com/caep";
const JTI: &str = "0k7xq4mz2v9t6w1c8b5n3d";
const TXN: &str = "0k7xq4mz2v9t6w1c8b5n3a";

fn rsa(
    encoding: &'static dyn RsaEncoding,
    verification: &'static signature::RsaParameters,
) -> Result<(Pair, Vec<u8>, ParsedPublicKey)> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let der = pair.as_der()?.as_ref().to_vec();
    let public = ParsedPublicKey::new(verification, pair.public_key().as_ref())?;
    Ok((Pair::Rsa(pair, encoding), der, public))
}

fn write(json: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(json, value).expect("strings and numbers are JSON");
}
