//! Public keys as DER and PEM: SubjectPublicKeyInfo (RFC 5280, RFC 7468) and RSAPublicKey (RFC 8017).

use crate::jwk::{Numbers, malformed};
use crate::{Excerpt, Jwk, KeyError, KeyType};
use ::pem::Pem;
use aws_lc_rs::encoding::AsDer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs1::RsaPublicKeyRef;
use pkcs8::der::asn1::AnyRef;
use pkcs8::spki::AlgorithmIdentifier;
use pkcs8::{ObjectIdentifier, SubjectPublicKeyInfoRef};

impl Jwk {
    /// Reads a PEM block: `PUBLIC KEY` (SubjectPublicKeyInfo) or `RSA PUBLIC KEY` (PKCS#1). Further blocks
    /// are ignored. The key has no `kid` and names no algorithm until it is told.
    ///
    /// ```
    /// use secevent_jose::{Algorithm, Jwk, SigningKey};
    ///
    /// let jwk = SigningKey::generate(Algorithm::Es256)?.public().clone();
    /// let read = Jwk::from_pem(&jwk.to_pem())?;
    /// assert_eq!(read.thumbprint(), jwk.thumbprint());
    /// # Ok::<(), secevent_jose::KeyError>(())
    /// ```
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let blocks = blocks(pem)?;
        for block in &blocks {
            match block.tag() {
                "PUBLIC KEY" => return Self::from_der(block.contents()),
                "RSA PUBLIC KEY" => return Self::new(rsa_numbers(block.contents())?, None, None),
                _ => {}
            }
        }
        Err(KeyError::UnsupportedType { name: blocks[0].tag().into() })
    }

    /// Reads a DER SubjectPublicKeyInfo.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::try_from(der)
            .map_err(|_| malformed("der", "must be a SubjectPublicKeyInfo"))?;
        let key = info
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| malformed("subjectPublicKey", "must be whole bytes"))?;
        let numbers = match key_type(&info.algorithm)? {
            KeyType::Rsa => rsa_numbers(key)?,
            KeyType::Ed25519 => Numbers::ed25519(key)?,
            curve => Numbers::ec_point(curve, key)?,
        };
        Self::new(numbers, None, None)
    }

    /// The key as a PEM block `PUBLIC KEY`. A PEM block has no room for `kid` and `alg`.
    pub fn to_pem(&self) -> String {
        encode("PUBLIC KEY", &self.to_der())
    }

    /// The key as a DER SubjectPublicKeyInfo.
    pub fn to_der(&self) -> Vec<u8> {
        let algorithm = self.algorithm().unwrap_or(self.key_type().default_algorithm());
        let parsed = self.parsed(algorithm).expect("a key is parsed for its own algorithm");
        parsed.as_der().expect("a parsed key can be written").as_ref().to_vec()
    }
}

/// The key type an AlgorithmIdentifier means, in public and private keys alike (RFC 3279, 5480, 8410).
pub(crate) fn key_type(algorithm: &AlgorithmIdentifier<AnyRef<'_>>) -> Result<KeyType, KeyError> {
    match algorithm.oid {
        RSA_ENCRYPTION => Ok(KeyType::Rsa),
        ID_ED25519 => Ok(KeyType::Ed25519),
        ID_EC_PUBLIC_KEY => {
            let curve = algorithm
                .parameters_oid()
                .map_err(|_| malformed("parameters", "must be the name of a curve"))?;
            curve_type(curve)
        }
        other => Err(KeyError::UnsupportedType { name: Excerpt::from(other.to_string().as_str()) }),
    }
}

pub(crate) fn curve_type(curve: ObjectIdentifier) -> Result<KeyType, KeyError> {
    match curve {
        SECP256R1 => Ok(KeyType::P256),
        SECP384R1 => Ok(KeyType::P384),
        SECP521R1 => Ok(KeyType::P521),
        other => Err(KeyError::UnsupportedType { name: Excerpt::from(other.to_string().as_str()) }),
    }
}

pub(crate) fn rsa_numbers(der: &[u8]) -> Result<Numbers, KeyError> {
    let key = RsaPublicKeyRef::try_from(der).map_err(|_| malformed("der", "must be an RSAPublicKey"))?;
    Numbers::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}

/// The PEM blocks of a text; at least one.
pub(crate) fn blocks(pem: &str) -> Result<Vec<Pem>, KeyError> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(KeyError::TooLarge { part: "pem", max: PEM_BYTES_MAX });
    }
    let blocks = ::pem::parse_many(pem).map_err(|_| malformed("pem", "must be PEM blocks"))?;
    if blocks.is_empty() { Err(malformed("pem", "must hold a PEM block")) } else { Ok(blocks) }
}

/// Writes one PEM block. The room is taken at once, so that a growing string leaves no copy of a secret
/// behind.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    const LINE_BYTES: usize = 48;
    let lines = der.len().div_ceil(LINE_BYTES);
    let mut pem = String::with_capacity(der.len().div_ceil(3) * 4 + lines + 2 * label.len() + 32);
    pem.extend(["-----BEGIN ", label, "-----\n"]);
    for line in der.chunks(LINE_BYTES) {
        STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem.extend(["-----END ", label, "-----\n"]);
    pem
}

/// A private RSA key of 8192 bits fits seven times.
const PEM_BYTES_MAX: usize = 64 * 1024;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
