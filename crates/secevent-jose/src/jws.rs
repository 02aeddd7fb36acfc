//! The compact form of a signed token (RFC 7515 section 7.1): writing it and taking it apart.

use crate::signing_key::SignatureRoom;
use crate::{Header, SignError, SigningKey, VerifyError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::Invalid;
use serde::Serialize;
use std::fmt;

/// Signs payloads with one key as tokens of one type.
///
/// The header of such tokens never changes, so it is encoded once, here. A signature then costs one
/// allocation: the token.
///
/// ```
/// use secevent_jose::{Algorithm, Compact, Signer, SigningKey};
///
/// let signer = Signer::new(SigningKey::generate(Algorithm::EdDsa)?, Signer::SECURITY_EVENT);
/// let token = signer.sign(br#"{"iss":"https://idp.example/"}"#)?;
///
/// let compact = Compact::parse(&token)?;
/// assert_eq!(compact.header().typ(), Some("secevent+jwt"));
/// assert_eq!(compact.header().kid(), Some(signer.key().kid()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    /// The encoded header and the dot behind it.
    prefix: Box<str>,
}

impl Signer {
    /// The `typ` of a Security Event Token (RFC 8417 section 2.3).
    pub const SECURITY_EVENT: &'static str = "secevent+jwt";
    /// The `typ` of a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4).
    pub const LOGOUT_TOKEN: &'static str = "logout+jwt";

    /// Signs with this key tokens of this `typ`. The `typ` is not left out: it keeps one kind of token from
    /// being taken for another (RFC 8725 section 3.11).
    pub fn new(key: SigningKey, typ: &str) -> Self {
        #[derive(Serialize)]
        struct Written<'a> {
            typ: &'a str,
            alg: &'a str,
            kid: &'a str,
        }
        let header = Written { typ, alg: key.algorithm().as_str(), kid: key.kid() };
        let header = serde_json::to_vec(&header).expect("strings serialize");
        let mut prefix = URL_SAFE_NO_PAD.encode(header);
        prefix.push('.');
        Self { key, prefix: prefix.into() }
    }

    /// The compact token of this payload.
    pub fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        let length =
            self.prefix.len() + encoded_len(payload.len()) + 1 + encoded_len(self.key.signature_bytes());
        let mut token = String::with_capacity(length);
        token.push_str(&self.prefix);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let mut room: SignatureRoom = [0; _];
        let signature_bytes = self.key.sign(token.as_bytes(), &mut room)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&room[..signature_bytes], &mut token);
        debug_assert_eq!(token.len(), length, "the token was measured beforehand");
        Ok(token)
    }

    /// The key it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A compact token, taken apart but not yet believed.
///
/// Its form is checked to the letter: three parts of base64url without padding, white space or stray bits
/// (so that no two texts mean one token), a header that is understood in full, no encryption.
///
/// ```
/// use secevent_jose::{Compact, VerifyError};
///
/// let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PP\
///              Ot7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// let compact = Compact::parse(token)?;
/// assert_eq!(compact.header().algorithm().as_str(), "EdDSA");
/// assert_eq!(compact.unverified_payload(), b"Example of Ed25519 signing");
///
/// assert_eq!(Compact::parse("a.b.c.d.e"), Err(VerifyError::Encrypted));
/// # Ok::<(), VerifyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Compact<'a> {
    signing_input: &'a [u8],
    header: Header,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// The longest token that is read, unless the caller sets another bound.
    pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

    /// Takes a token of at most [`Compact::TOKEN_BYTES_MAX`] bytes apart.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(token: &'a T) -> Result<Self, VerifyError> {
        Self::parse_within(token, Self::TOKEN_BYTES_MAX)
    }

    /// Takes a token of at most `bytes_max` bytes apart.
    pub fn parse_within<T: AsRef<[u8]> + ?Sized>(
        token: &'a T,
        bytes_max: usize,
    ) -> Result<Self, VerifyError> {
        let token = token.as_ref();
        if token.len() > bytes_max {
            let problem = format!("must not be longer than {bytes_max} bytes");
            return Err(Invalid::new("", "JWTBCP-19", problem).into());
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (header_end, payload_end) = match [(); 5].map(|()| dots.next()) {
            [Some(first), Some(second), None, ..] => (first, second),
            [_, _, _, Some(_), None] => return Err(VerifyError::Encrypted),
            _ => return Err(Invalid::new("", "SET-01", "must be three parts with dots between them").into()),
        };
        let header = &token[..header_end];
        let payload = &token[header_end + 1..payload_end];
        let signature = &token[payload_end + 1..];
        Ok(Self {
            signing_input: &token[..payload_end],
            header: Header::from_json(&decode("header", header)?)?,
            payload: decode("payload", payload)?,
            signature: decode("signature", signature)?,
        })
    }

    /// What the token says about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The payload, which anybody may have written. Good for finding out whose keys to verify with.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The bytes the signature covers: header and payload as they were sent.
    pub(crate) fn signing_input(&self) -> &'a [u8] {
        self.signing_input
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact").field("header", &self.header).finish_non_exhaustive()
    }
}

fn decode(part: &'static str, text: &[u8]) -> Result<Vec<u8>, VerifyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        let problem = "must be base64url: no padding, no white space, no unused bits that are set";
        Invalid::new(part, "JWTBCP-21", problem).into()
    })
}

/// How many characters of base64url without padding these bytes take.
const fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn a_token_is_measured_beforehand() {
        for algorithm in Algorithm::ALL {
            let signer = Signer::new(SigningKey::generate(algorithm).unwrap(), Signer::SECURITY_EVENT);
            for length in [0, 1, 2, 3, 100, 5000] {
                let token = signer.sign(&vec![b'x'; length]).unwrap();
                assert_eq!(token.capacity(), token.len(), "{algorithm} {length}");
            }
        }
    }

    #[test]
    fn debug_shows_no_payload() {
        let token = "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0.AAAA";
        let shown = format!("{:?}", Compact::parse(token).unwrap());
        assert!(shown.contains("Es256") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
