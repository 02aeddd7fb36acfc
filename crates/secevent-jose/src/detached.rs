//! A signature apart from what it signs (RFC 7515 appendix F).

use crate::Header;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A compact token without its payload. Who can make the same payload again gets the same token back, and need not
/// keep it.
///
/// ```
/// use secevent_jose::{Algorithm, Detached, Signer, SigningKey};
///
/// let signer = Signer::new(SigningKey::generate(Algorithm::Es256)?, Signer::SECURITY_EVENT);
/// let token = signer.sign(br#"{"iss":"https://idp.example/"}"#)?;
///
/// let detached = Detached::of(&token).ok_or("it is a compact token")?;
/// assert_eq!(detached.kid().as_deref(), Some(signer.key().kid()));
/// assert_eq!(detached.attach(br#"{"iss":"https://idp.example/"}"#), token);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    header: String,
    signature: String,
}

impl Detached {
    /// Takes the payload out of a compact token, or out of a token that has none. None if it is neither.
    pub fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, _, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && !header.is_empty() && !signature.is_empty();
        whole.then(|| Self { header: header.to_owned(), signature: signature.to_owned() })
    }

    /// The key that signed, as the header names it. None if the header cannot be read.
    pub fn kid(&self) -> Option<String> {
        let header = URL_SAFE_NO_PAD.decode(&self.header).ok()?;
        Header::from_json(&header).ok()?.kid().map(str::to_owned)
    }

    /// The token with this payload. It is valid if the payload is the one that was signed.
    pub fn attach(&self, payload: &[u8]) -> String {
        let length = self.header.len() + payload.len().div_ceil(3) * 4 + self.signature.len() + 2;
        let mut token = String::with_capacity(length);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        token.push('.');
        token.push_str(&self.signature);
        token
    }
}

impl std::fmt::Display for Detached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.header, self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_writes_and_nothing_else() {
        let detached = Detached::of("aGVhZGVy.cGF5bG9hZA.c2ln").unwrap();
        assert_eq!(detached.to_string(), "aGVhZGVy..c2ln");
        assert_eq!(Detached::of(&detached.to_string()), Some(detached.clone()));
        assert_eq!(detached.attach(b"payload"), "aGVhZGVy.cGF5bG9hZA.c2ln");
        assert_eq!(detached.kid(), None, "that is no header");
        for wrong in ["", "a", "a.b", "a.b.c.d", ".b.c", "a.b."] {
            assert_eq!(Detached::of(wrong), None, "{wrong:?}");
        }
    }
}
