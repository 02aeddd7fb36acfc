//! A private key that signs.

use crate::jwk::{Numbers, malformed};
use crate::{Algorithm, Jwk, KeyError, KeyType, SecretText, pem};
use aws_lc_rs::encoding::{AsBigEndian, AsDer};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs1::RsaPrivateKeyRef;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode;
use serde::Deserialize;
use std::fmt;
use zeroize::Zeroizing;

/// A private key with the one algorithm it signs with, parsed once and kept.
///
/// Its public half carries the algorithm and a `kid`, by default the thumbprint. The private half leaves
/// only through the methods that end in `_secret`, and `Debug` shows the public half alone.
///
/// ```
/// use secevent_jose::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// assert_eq!(key.kid(), key.public().thumbprint());
///
/// let copy = SigningKey::from_pem(key.to_pem_secret().expose(), Algorithm::Es256)?;
/// assert_eq!(copy.public(), key.public());
/// # Ok::<(), secevent_jose::KeyError>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
    public: Jwk,
}

/// How long a generated RSA key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RsaSize {
    /// 2048 bits: the default. Every bit more makes signing slower, 3072 bits three times.
    #[default]
    Bits2048,
    /// 3072 bits.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

/// The cryptography library refused to sign: it could not allocate, or noticed a fault in its own result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptography library could not sign")]
pub struct SignError;

/// Room on the stack for the longest signature.
pub(crate) type SignatureRoom = [u8; Jwk::RSA_BITS_MAX / 8];

#[derive(Clone)]
enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new key for this algorithm; an RSA key has 2048 bits.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        match algorithm.key_type() {
            KeyType::Rsa => Self::generate_rsa(algorithm, RsaSize::default()),
            KeyType::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NotGenerated)?;
                Self::new(Pair::Ed25519(pair), algorithm)
            }
            curve => {
                let pair = EcdsaKeyPair::generate(ecdsa(curve)).map_err(|_| KeyError::NotGenerated)?;
                Self::new(Pair::Ec(pair), algorithm)
            }
        }
    }

    /// A new RSA key of this size.
    pub fn generate_rsa(algorithm: Algorithm, size: RsaSize) -> Result<Self, KeyError> {
        let size = match size {
            RsaSize::Bits2048 => KeySize::Rsa2048,
            RsaSize::Bits3072 => KeySize::Rsa3072,
            RsaSize::Bits4096 => KeySize::Rsa4096,
        };
        Self::new(Pair::Rsa(RsaKeyPair::generate(size).map_err(|_| KeyError::NotGenerated)?), algorithm)
    }

    /// Reads the first private key of a PEM text: `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1) or
    /// `EC PRIVATE KEY` (SEC 1). Other blocks, such as the `EC PARAMETERS` that some tools put in front,
    /// are passed over.
    pub fn from_pem(pem: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        let blocks = pem::blocks(pem)?;
        let mut problem = KeyError::UnsupportedType { name: blocks[0].tag().into() };
        let mut key = None;
        for block in blocks {
            let label = block.tag().to_owned();
            let is_encrypted = label == "ENCRYPTED PRIVATE KEY" || block.headers().get("DEK-Info").is_some();
            // Every block is wiped, whether it is used or not.
            let contents = Zeroizing::new(block.into_contents());
            if is_encrypted {
                problem = KeyError::Encrypted;
            } else if matches!(label.as_str(), "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY") {
                key.get_or_insert(contents);
            }
        }
        Self::from_der(&key.ok_or(problem)?, algorithm)
    }

    /// Reads a DER private key: PKCS#8, PKCS#1 or SEC 1.
    pub fn from_der(der: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        let (key_type, is_pkcs8) = if let Ok(info) = PrivateKeyInfoRef::from_der(der) {
            (pem::key_type(&info.algorithm)?, true)
        } else if RsaPrivateKeyRef::from_der(der).is_ok() {
            (KeyType::Rsa, false)
        } else if let Ok(key) = sec1::EcPrivateKey::from_der(der) {
            (sec1_curve(&key)?, false)
        } else {
            return Err(malformed("der", "must be a private key in PKCS#8, PKCS#1 or SEC 1"));
        };
        let pair = match (key_type, is_pkcs8) {
            (KeyType::Rsa, true) => RsaKeyPair::from_pkcs8(der).map(Pair::Rsa),
            (KeyType::Rsa, false) => RsaKeyPair::from_der(der).map(Pair::Rsa),
            (KeyType::Ed25519, _) => Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519),
            (curve, true) => EcdsaKeyPair::from_pkcs8(ecdsa(curve), der).map(Pair::Ec),
            (curve, false) => EcdsaKeyPair::from_private_key_der(ecdsa(curve), der).map(Pair::Ec),
        };
        Self::new(pair.map_err(|_| rsa_size_of(der).unwrap_or(KeyError::Unsound))?, algorithm)
    }

    /// Reads a private JWK. Its `alg` is the algorithm, its `kid` the name. Without them the key gets
    /// [`KeyType::default_algorithm`] and its thumbprint.
    ///
    /// ```
    /// use secevent_jose::{Algorithm, SigningKey};
    ///
    /// let key = SigningKey::from_json(
    ///     r#"{"kty":"OKP","crv":"Ed25519","kid":"2026-11",
    ///         "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    ///         "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    /// )?;
    /// assert_eq!((key.kid(), key.algorithm()), ("2026-11", Algorithm::EdDsa));
    /// # Ok::<(), secevent_jose::KeyError>(())
    /// ```
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let public = Jwk::read(json.as_ref(), "sign")?;
        let secret: SecretMembers = serde_json::from_slice(json.as_ref())
            .map_err(|_| malformed("jwk", "must have each private member at most once, as text"))?;
        if secret.oth.is_some() {
            return Err(malformed("oth", "must be absent: keys of more than two primes are not supported"));
        }
        let d = octets("d", secret.d.as_ref())?;
        let pair = match public.numbers() {
            Numbers::Rsa { n, e } => RsaKeyPair::from_components(&KeyPairComponents {
                public_key: PublicKeyComponents { n, e },
                d: &d,
                p: &octets("p", secret.p.as_ref())?,
                q: &octets("q", secret.q.as_ref())?,
                dP: &octets("dp", secret.dp.as_ref())?,
                dQ: &octets("dq", secret.dq.as_ref())?,
                qInv: &octets("qi", secret.qi.as_ref())?,
            })
            .map(Pair::Rsa),
            Numbers::Ec { key_type, point } => {
                EcdsaKeyPair::from_private_key_and_public_key(ecdsa(*key_type), &d, point).map(Pair::Ec)
            }
            Numbers::Ed25519 { x } => Ed25519KeyPair::from_seed_and_public_key(&d, x).map(Pair::Ed25519),
        };
        let algorithm = public.algorithm().unwrap_or(public.key_type().default_algorithm());
        let key = Self::new(pair.map_err(|_| KeyError::Unsound)?, algorithm)?;
        match public.kid() {
            Some(kid) => key.with_kid(kid),
            None => Ok(key),
        }
    }

    fn new(pair: Pair, algorithm: Algorithm) -> Result<Self, KeyError> {
        let numbers = match &pair {
            Pair::Rsa(pair) => pem::rsa_numbers(pair.public_key().as_ref())?,
            Pair::Ec(pair) => Numbers::ec_point(curve_of(pair), pair.public_key().as_ref())?,
            Pair::Ed25519(pair) => Numbers::ed25519(pair.public_key().as_ref())?,
        };
        let public = Jwk::new(numbers, None, Some(algorithm))?;
        let thumbprint = public.thumbprint();
        Ok(Self { algorithm, pair, public: public.with_kid(thumbprint)? })
    }

    /// The same key under this name.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, KeyError> {
        self.public = self.public.with_kid(kid)?;
        Ok(self)
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its name: what stands in the header of every token it signs.
    pub fn kid(&self) -> &str {
        self.public.kid().expect("a signing key has a name from the start")
    }

    /// The public half, to be published.
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// The private key as a PEM block `PRIVATE KEY` (PKCS#8). Write it where nobody else reads.
    pub fn to_pem_secret(&self) -> SecretText {
        let der = self.to_pkcs8();
        SecretText::from(pem::encode("PRIVATE KEY", &der))
    }

    /// The private key as a JWK, with `alg` and `kid`. Write it where nobody else reads.
    pub fn to_json_secret(&self) -> SecretText {
        let secrets = self.secret_numbers();
        let mut json = self.public.to_json();
        // The room is taken at once, so that a growing string leaves no copy of a secret behind.
        json.reserve_exact(secrets.iter().map(|(_, number)| number.len() * 4 / 3 + 16).sum());
        json.pop();
        for (name, number) in &secrets {
            json.extend([",\"", name, "\":\""]);
            URL_SAFE_NO_PAD.encode_string(number, &mut json);
            json.push('"');
        }
        json.push('}');
        SecretText::from(json)
    }

    /// The length of every signature it makes.
    pub(crate) fn signature_bytes(&self) -> usize {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_modulus_len(),
            Pair::Ec(pair) => 2 * crate::jwk::coordinate_bytes(curve_of(pair)),
            Pair::Ed25519(_) => 64,
        }
    }

    /// Signs into `room` and says how much of it the signature takes.
    pub(crate) fn sign(&self, message: &[u8], room: &mut SignatureRoom) -> Result<usize, SignError> {
        let length = self.signature_bytes();
        let signature = &mut room[..length];
        match &self.pair {
            Pair::Rsa(pair) => {
                pair.sign(rsa_encoding(self.algorithm), &SystemRandom::new(), message, signature)
            }
            Pair::Ec(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|made| signature.copy_from_slice(made.as_ref()))
            }
            Pair::Ed25519(pair) => {
                pair.try_sign(message).map(|made| signature.copy_from_slice(made.as_ref()))
            }
        }
        .map_err(|_| SignError)?;
        Ok(length)
    }

    fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        const WRITABLE: &str = "a parsed key can be written";
        Zeroizing::new(match &self.pair {
            Pair::Rsa(pair) => pair.as_der().expect(WRITABLE).as_ref().to_vec(),
            Pair::Ec(pair) => pair.to_pkcs8v1().expect(WRITABLE).as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().expect(WRITABLE).as_ref().to_vec(),
        })
    }

    /// The private members of its JWK.
    fn secret_numbers(&self) -> Vec<(&'static str, Zeroizing<Vec<u8>>)> {
        let secret = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        match &self.pair {
            Pair::Rsa(_) => {
                let der = self.to_pkcs8();
                let info = PrivateKeyInfoRef::from_der(&der).expect("written by the library");
                let key = RsaPrivateKeyRef::try_from(info.private_key).expect("written by the library");
                [
                    ("d", key.private_exponent),
                    ("p", key.prime1),
                    ("q", key.prime2),
                    ("dp", key.exponent1),
                    ("dq", key.exponent2),
                    ("qi", key.coefficient),
                ]
                .map(|(name, number)| (name, secret(number.as_bytes())))
                .into()
            }
            Pair::Ec(pair) => {
                let d = pair.private_key().as_be_bytes().expect("a parsed key can be written");
                vec![("d", secret(d.as_ref()))]
            }
            Pair::Ed25519(pair) => {
                let seed =
                    pair.seed().and_then(|seed| seed.as_be_bytes()).expect("a parsed key can be written");
                vec![("d", secret(seed.as_ref()))]
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The private members of a JWK (RFC 7518 sections 6.2.2 and 6.3.2).
#[derive(Deserialize)]
struct SecretMembers {
    d: Option<SecretText>,
    p: Option<SecretText>,
    q: Option<SecretText>,
    dp: Option<SecretText>,
    dq: Option<SecretText>,
    qi: Option<SecretText>,
    oth: Option<serde::de::IgnoredAny>,
}

fn octets(member: &'static str, value: Option<&SecretText>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = value.ok_or_else(|| malformed(member, "is missing"))?;
    let octets = URL_SAFE_NO_PAD.decode(text.expose());
    octets.map(Zeroizing::new).map_err(|_| malformed(member, "must be base64url without padding"))
}

/// SEC 1 may leave the curve out; then the length of the number tells it.
fn sec1_curve(key: &sec1::EcPrivateKey<'_>) -> Result<KeyType, KeyError> {
    match key.parameters.and_then(sec1::EcParameters::named_curve) {
        Some(curve) => pem::curve_type(curve),
        None => [KeyType::P256, KeyType::P384, KeyType::P521]
            .into_iter()
            .find(|&curve| crate::jwk::coordinate_bytes(curve) == key.private_key.len())
            .ok_or_else(|| malformed("parameters", "must name a curve")),
    }
}

/// The library refuses an RSA key of a wrong size without saying so.
fn rsa_size_of(der: &[u8]) -> Option<KeyError> {
    let inner = PrivateKeyInfoRef::from_der(der).map_or(der, |info| info.private_key.as_bytes());
    let key = RsaPrivateKeyRef::from_der(inner).ok()?;
    Numbers::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes()).err()
}

fn curve_of(pair: &EcdsaKeyPair) -> KeyType {
    match pair.public_key().as_ref().len() {
        97 => KeyType::P384,
        133 => KeyType::P521,
        _ => KeyType::P256,
    }
}

fn ecdsa(curve: KeyType) -> &'static EcdsaSigningAlgorithm {
    match curve {
        KeyType::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        KeyType::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

fn rsa_encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}
