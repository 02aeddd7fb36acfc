//! How a token is named in an event without giving it away (OAuth Event Types 1.0 draft, section 2.1).

use crate::event::Strictness;
use crate::text_enum::text_enum;
use crate::{Invalid, Subject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fmt;

/// The name of a token in a subject of the format `oauth_token`.
///
/// Whoever reads an event may be able to use a live token that stands in it, so a token is named by its
/// beginning or by a hash; only [`TokenIdentifier::plain_in_the_clear`] sends it as it is.
///
/// ```
/// use secevent::oauth::{TokenIdentifier, TokenType};
///
/// let named = TokenIdentifier::prefix("1//0gXcTqYvLhBxSCgYIARAAGBASNwF");
/// assert_eq!(named.token(), "1//0gXcTqYvLhBxS");
/// let subject = named.subject(&TokenType::RefreshToken).unwrap();
/// # let _ = subject;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TokenIdentifier {
    alg: TokenIdentifierAlg,
    token: String,
}

/// A SHA-512 of your choice: this crate has no cryptography of its own.
pub type Sha512 = fn(&[u8]) -> [u8; 64];

impl TokenIdentifier {
    const PREFIX_CHARACTERS: usize = 16;

    /// Names a token by its first sixteen characters (`prefix`).
    pub fn prefix(token: &str) -> Self {
        let token = token.chars().take(Self::PREFIX_CHARACTERS).collect();
        Self { alg: TokenIdentifierAlg::Prefix, token }
    }

    /// Names a token by the base64 of the SHA-512 of its SHA-512 (`hash_base64_sha512_sha512`).
    pub fn hash(token: &str, sha512: Sha512) -> Self {
        let token = STANDARD.encode(sha512(&sha512(token.as_bytes())));
        Self { alg: TokenIdentifierAlg::HashBase64Sha512Sha512, token }
    }

    /// Names a token by itself (`plain`): whoever reads the event can use it. Only for tokens that are dead
    /// already, or for peers that leave no choice (OAUTH-04).
    pub fn plain_in_the_clear(token: &str) -> Self {
        Self { alg: TokenIdentifierAlg::Plain, token: token.to_owned() }
    }

    /// The name that an event gives, as the members `token_identifier_alg` and `token`.
    pub fn received(alg: &str, token: impl Into<String>) -> Self {
        Self { alg: alg.into(), token: token.into() }
    }

    /// How `token` is to be read: `token_identifier_alg`.
    pub fn alg(&self) -> &TokenIdentifierAlg {
        &self.alg
    }

    /// The identifier: `token`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether this names `token`; `None` if the algorithm is not known. A prefix does not tell tokens apart
    /// that begin alike, so look among the tokens of the account that `token_subject` names.
    pub fn names(&self, token: &str, sha512: Sha512) -> Option<bool> {
        let named = match self.alg {
            TokenIdentifierAlg::Plain => Self::plain_in_the_clear(token),
            TokenIdentifierAlg::Prefix => Self::prefix(token),
            TokenIdentifierAlg::HashBase64Sha512Sha512 => Self::hash(token, sha512),
            TokenIdentifierAlg::Other(_) => return None,
        };
        Some(*self == named)
    }

    /// The subject of an event about this token.
    pub fn subject(&self, token_type: &TokenType) -> Result<Subject, Invalid> {
        let members = json!({
            "format": "oauth_token",
            "token_type": token_type,
            "token_identifier_alg": self.alg,
            "token": self.token,
        });
        Subject::from_value(members, Strictness::Strict)
    }
}

/// A plain token is a secret and is not shown.
impl fmt::Debug for TokenIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TokenIdentifier");
        shown.field("alg", &self.alg);
        match self.alg {
            TokenIdentifierAlg::Plain => shown.finish_non_exhaustive(),
            _ => shown.field("token", &self.token).finish(),
        }
    }
}

text_enum! {
    /// The kind of a token.
    TokenType {
        /// An access token.
        AccessToken = "access_token",
        /// An authorization code.
        AuthorizationCode = "authorization_code",
        /// A refresh token.
        RefreshToken = "refresh_token",
    }
}

text_enum! {
    /// How the identifier of a token is made from the token.
    TokenIdentifierAlg {
        /// It is the token.
        Plain = "plain",
        /// Its first sixteen characters, as Google has it.
        Prefix = "prefix",
        /// The base64 of the SHA-512 of its SHA-512, as Google has it.
        HashBase64Sha512Sha512 = "hash_base64_sha512_sha512",
    }
}
